// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP/1.1 response framing, a byte's memory at a time: of a header line only
 * the start is kept, which is all that the headers we read need; a chunk's
 * size line is a number. Bare LF is taken for CRLF (RFC 9112 2.2). What cannot
 * be framed for certain is bad, never guessed: a wrong guess would bill the
 * next answer's bytes to this request.
 */
#include "http1.h"

#include <string.h>
#include <strings.h>

enum phase {
	STATUS_LINE,
	HEADER_LINE,
	BODY_LENGTH,
	BODY_CLOSE,
	CHUNK_SIZE, /* line_len counts digits */
	CHUNK_EXT,
	CHUNK_DATA,
	CHUNK_END,
	TRAILER, /* line_len: enum trailer_line */
	DONE,
	BAD,
};

enum trailer_line { EMPTY, FILLED, EMPTY_CR };

#define LINE_CUT (WEIR_HTTP1_LINE + 1) /* line_len of a line not kept whole */

void weir_http1_init(struct weir_http1 *h, bool head_method)
{
	memset(h, 0, sizeof(*h));
	h->flags = head_method ? WEIR_HTTP1_HEAD_METHOD : 0;
}

bool weir_http1_done(const struct weir_http1 *h)
{
	return h->phase == DONE;
}

bool weir_http1_bad(const struct weir_http1 *h)
{
	return h->phase == BAD;
}

/* The value if the line is this header, without blanks before it; else NULL. */
static const char *header(const char *line, const char *name_colon)
{
	size_t n = strlen(name_colon);

	if (strncasecmp(line, name_colon, n))
		return NULL;
	line += n;
	return line + strspn(line, " \t");
}

/* "Content-Length : 5": some read it, some do not. */
static bool blank_before_colon(const char *line, const char *name)
{
	size_t n = strlen(name);
	size_t blanks;

	if (strncasecmp(line, name, n))
		return false;
	blanks = strspn(line + n, " \t");
	return blanks && line[n + blanks] == ':';
}

/* "5", or "5, 5" as a proxy may have merged it (RFC 9110 8.6). */
static bool content_length(struct weir_http1 *h, const char *value)
{
	do {
		uint64_t length = 0;
		const char *digits = value;

		for (; *value >= '0' && *value <= '9'; value++)
			if (__builtin_mul_overflow(length, 10, &length) ||
			    __builtin_add_overflow(length, *value - '0', &length))
				return false;
		if (value == digits || length > INT64_MAX)
			return false;
		if ((h->flags & WEIR_HTTP1_LENGTH) && h->left != length)
			return false;
		h->left = length;
		h->flags |= WEIR_HTTP1_LENGTH;
		value += strspn(value, " \t");
		if (!*value)
			return true;
		if (*value++ != ',')
			return false;
		value += strspn(value, " \t");
	} while (true);
}

/* Only the last coding frames the body (RFC 9112 6.3); any other one hides it. */
static void transfer_encoding(struct weir_http1 *h, const char *value)
{
	h->flags |= WEIR_HTTP1_TRANSFER;
	while (*value) {
		size_t n = strcspn(value, " \t,;");

		if (n) {
			if (h->flags & WEIR_HTTP1_CHUNKED) /* chunked must be the last */
				h->flags |= WEIR_HTTP1_OPAQUE;
			h->flags &= ~WEIR_HTTP1_CHUNKED;
			if (n == 7 && !strncasecmp(value, "chunked", 7))
				h->flags |= WEIR_HTTP1_CHUNKED;
			else
				h->flags |= WEIR_HTTP1_OPAQUE;
			value += n;
		}
		value += strcspn(value, ","); /* parameters */
		value += strspn(value, " \t,");
	}
}

static void content_type(struct weir_http1 *h, const char *value)
{
	size_t n = strcspn(value, " \t;,");

#define IS(word) (n == sizeof(word) - 1 && !strncasecmp(value, word, n))
	if (IS("text/event-stream"))
		h->type = WEIR_HTTP1_SSE;
	else if (IS("application/x-ndjson") || IS("application/ndjson") ||
		 IS("application/jsonl") || IS("application/x-jsonlines") ||
		 IS("application/stream+json"))
		h->type = WEIR_HTTP1_NDJSON;
	else if (IS("application/json"))
		h->type = WEIR_HTTP1_JSON;
	else if (IS("text/plain") || IS("text/vtt") || IS("text/srt") || IS("application/x-subrip"))
		h->type = WEIR_HTTP1_TEXT;
	else if (IS("application/octet-stream") || !strncasecmp(value, "audio/", 6))
		h->type = WEIR_HTTP1_BYTES;
	else
		h->type = WEIR_HTTP1_OTHER;
#undef IS
}

/* False: the answer is bad. */
static bool header_line(struct weir_http1 *h, bool cut)
{
	const char *line = h->line, *value;
	bool folded_bad = h->flags & WEIR_HTTP1_FOLDED_BAD;

	h->flags &= ~WEIR_HTTP1_FOLDED_BAD;
	if (*line == ' ' || *line == '\t') /* goes on with the line before (RFC 9112 5.2) */
		return !folded_bad;
	if ((*line | 0x20) != 'c' && (*line | 0x20) != 't') {
		h->line_is = cut ? WEIR_HTTP1_LINE_START : WEIR_HTTP1_A_LINE;
		return true;
	}
	if ((value = header(line, "content-length:"))) {
		h->flags |= WEIR_HTTP1_FOLDED_BAD;
		return !cut && content_length(h, value);
	}
	if ((value = header(line, "transfer-encoding:"))) {
		h->flags |= WEIR_HTTP1_FOLDED_BAD;
		if (cut)
			return false;
		transfer_encoding(h, value);
		return true;
	}
	if ((value = header(line, "content-type:")))
		content_type(h, value);
	else
		h->line_is = cut ? WEIR_HTTP1_LINE_START : WEIR_HTTP1_A_LINE;
	return !blank_before_colon(line, "content-length") &&
	       !blank_before_colon(line, "transfer-encoding");
}

static bool status_line(struct weir_http1 *h, const char *line)
{
	const char *digit = line + 9;
	uint16_t status = 0;
	int i;

	if (strncmp(line, "HTTP/1.", 7) || line[7] < '0' || line[7] > '9' || line[8] != ' ')
		return false;
	for (i = 0; i < 3; i++) {
		if (digit[i] < '0' || digit[i] > '9')
			return false;
		status = status * 10 + (digit[i] - '0');
	}
	if (status < 100 || (digit[3] != ' ' && digit[3]))
		return false;
	h->status = status;
	return true;
}

/* The empty line: what follows (RFC 9112 6.3). */
static enum phase head_end(struct weir_http1 *h)
{
	if (h->status == 101) { /* another protocol from here on */
		h->flags |= WEIR_HTTP1_OPAQUE;
		return BODY_CLOSE;
	}
	if (h->status < 200) { /* not the answer yet; head_bytes runs on, so that they end */
		h->flags &= WEIR_HTTP1_HEAD_METHOD;
		h->type = WEIR_HTTP1_OTHER;
		h->status = 0;
		h->left = 0;
		return STATUS_LINE;
	}
	if ((h->flags & WEIR_HTTP1_HEAD_METHOD) || h->status == 204 || h->status == 304)
		return DONE;
	if (h->flags & WEIR_HTTP1_CHUNKED) {
		h->left = 0;
		h->head_bytes = 0;
		return CHUNK_SIZE;
	}
	if ((h->flags & WEIR_HTTP1_TRANSFER) || !(h->flags & WEIR_HTTP1_LENGTH))
		return BODY_CLOSE;
	return h->left ? BODY_LENGTH : DONE;
}

static enum phase head_line_end(struct weir_http1 *h)
{
	bool cut = h->line_len == LINE_CUT;
	size_t n = cut ? WEIR_HTTP1_LINE : h->line_len;

	if (n && !cut && h->line[n - 1] == '\r')
		n--;
	h->line[n] = '\0';
	h->line_len = 0;

	if (memchr(h->line, '\0', n))
		return BAD; /* who reads on after the NUL, and who does not? */
	if (h->phase == STATUS_LINE) {
		if (!n)
			return STATUS_LINE; /* a stray line end after the last answer */
		return status_line(h, h->line) ? HEADER_LINE : BAD;
	}
	if (!n)
		return head_end(h);
	if (!header_line(h, cut))
		return BAD;
	if (h->status < 200)
		h->line_is = WEIR_HTTP1_NO_LINE;
	return HEADER_LINE;
}

static size_t head(struct weir_http1 *h, const uint8_t *p, size_t n)
{
	const uint8_t *eol = memchr(p, '\n', n);
	size_t len = eol ? (size_t)(eol - p) : n;
	size_t took = eol ? len + 1 : n;

	if (len > WEIR_HTTP1_HEAD_MAX - h->head_bytes) {
		h->phase = BAD;
		return took;
	}
	h->head_bytes += len;
	if (h->line_len != LINE_CUT) {
		size_t room = WEIR_HTTP1_LINE - h->line_len;

		memcpy(h->line + h->line_len, p, len < room ? len : room);
		h->line_len = len <= room ? h->line_len + len : LINE_CUT;
	}
	if (eol)
		h->phase = head_line_end(h);
	return took;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum phase chunk_line_end(struct weir_http1 *h)
{
	if (!h->line_len)
		return BAD; /* no digit */
	h->line_len = 0;
	h->head_bytes = 0;
	return h->left ? CHUNK_DATA : TRAILER;
}

static enum phase chunk_size(struct weir_http1 *h, uint8_t c)
{
	int digit = hex(c);

	if (digit >= 0) {
		if (h->left >> 59) /* stays below 2^63 */
			return BAD;
		h->left = h->left << 4 | (unsigned)digit;
		h->line_len = 1;
		return ++h->head_bytes > WEIR_HTTP1_HEAD_MAX ? BAD : CHUNK_SIZE;
	}
	if (c == '\n')
		return chunk_line_end(h);
	return h->line_len && (c == ';' || c == '\r' || c == ' ' || c == '\t') ? CHUNK_EXT : BAD;
}

static enum phase trailer(struct weir_http1 *h, uint8_t c)
{
	if (c == '\n') {
		if (h->line_len != FILLED)
			return DONE;
		h->line_len = EMPTY;
	} else {
		h->line_len = c == '\r' && h->line_len == EMPTY ? EMPTY_CR : FILLED;
	}
	return ++h->head_bytes > WEIR_HTTP1_HEAD_MAX ? BAD : TRAILER;
}

/* The lines around chunks; ends with the phase. */
static size_t chunk_lines(struct weir_http1 *h, const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint8_t c = p[i++];

		switch (h->phase) {
		case CHUNK_SIZE:
			h->phase = chunk_size(h, c);
			break;
		case CHUNK_EXT:
			if (c == '\n')
				h->phase = chunk_line_end(h);
			else if (++h->head_bytes > WEIR_HTTP1_HEAD_MAX)
				h->phase = BAD;
			break;
		case CHUNK_END:
			if (c == '\n')
				h->phase = CHUNK_SIZE;
			else if (c != '\r' || h->line_len++)
				h->phase = BAD;
			if (h->phase != CHUNK_END)
				h->line_len = 0;
			break;
		case TRAILER:
			h->phase = trailer(h, c);
			break;
		default:
			return i - 1;
		}
	}
	return i;
}

static void body_took(struct weir_http1 *h, uint64_t n)
{
	if (h->phase == BODY_CLOSE)
		return;
	h->left -= n;
	if (!h->left)
		h->phase = h->phase == BODY_LENGTH ? DONE : CHUNK_END;
}

size_t weir_http1_step(struct weir_http1 *h, const uint8_t *p, size_t n, const uint8_t **body,
		       size_t *body_len)
{
	*body_len = 0;
	h->line_is = WEIR_HTTP1_NO_LINE;
	switch (h->phase) {
	case STATUS_LINE:
	case HEADER_LINE:
		return head(h, p, n);
	case CHUNK_SIZE:
	case CHUNK_EXT:
	case CHUNK_END:
	case TRAILER:
		return chunk_lines(h, p, n);
	case BODY_LENGTH:
	case CHUNK_DATA:
		if (n > h->left)
			n = h->left;
		break;
	case BODY_CLOSE:
		break;
	default:
		return n;
	}
	*body = p;
	*body_len = n;
	body_took(h, n);
	return n;
}

void weir_http1_skip(struct weir_http1 *h, uint64_t n)
{
	switch (h->phase) {
	case BODY_CLOSE:
	case DONE:
		return;
	case BODY_LENGTH:
		body_took(h, n < h->left ? n : h->left);
		return;
	case CHUNK_DATA:
		if (n <= h->left) {
			body_took(h, n);
			return;
		}
		break;
	}
	h->phase = BAD;
}

void weir_http1_close(struct weir_http1 *h)
{
	if (h->phase == BODY_CLOSE)
		h->phase = DONE;
}
