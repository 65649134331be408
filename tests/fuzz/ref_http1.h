/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/1.1 response out of a buffer that holds all that came (RFC 9112 6, 7): its head, line
 * by line, then its body. What the RFC leaves open is as agent/metering.md has it: bare LF ends a
 * line, and what two readers could frame in two ways is bad.
 */
#ifndef WEIR_REF_HTTP1_H
#define WEIR_REF_HTTP1_H

#include <strings.h>

#include "bytes.h"

#define REF_FIELDS 256

/* A header line of the final head: value without blanks around it. */
struct ref_field {
	const uint8_t *line;
	size_t line_len, name_len;
	const char *value;
	size_t value_len;
};

struct ref_http1 {
	unsigned status; /* of the final head, 0 before its status line */
	bool bad, done, head;
	bool close;  /* the connection's close ends the body */
	bool opaque; /* a transfer coding, or another protocol */
	bool length; /* framed by Content-Length */
	bool unsure; /* a framing line too long to be kept: bad would be right as well */
	size_t used;
	struct bytes body;
	struct ref_field fields[REF_FIELDS];
	size_t n_fields;
};

#define REF_LINE_KEPT 40 /* framing lines up to here are always understood */

static inline bool ref_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static inline bool ref_is(const void *p, size_t n, const char *word)
{
	return n == strlen(word) && !strncasecmp(p, word, n);
}

/* The i-th (from 0) field of that name, or NULL. */
static inline const struct ref_field *ref_field(const struct ref_http1 *h, const char *name,
						size_t i)
{
	for (size_t k = 0; k < h->n_fields; k++)
		if (ref_is(h->fields[k].line, h->fields[k].name_len, name) && !i--)
			return &h->fields[k];
	return NULL;
}

/* The next element of a comma list at *p, without blanks around; false: there is none. */
static inline bool ref_list_element(const char **p, const char *end, const char **from, size_t *len)
{
	const char *stop;

	if (*p > end)
		return false;
	*from = *p;
	stop = memchr(*p, ',', (size_t)(end - *p));
	stop = stop ? stop : end;
	*p = stop + 1;
	while (*from < stop && ref_blank((uint8_t) * *from))
		++*from;
	while (stop > *from && ref_blank((uint8_t)stop[-1]))
		stop--;
	*len = (size_t)(stop - *from);
	return true;
}

/* Every Content-Length says the same (RFC 9110 8.6). */
static inline bool ref_content_length(const struct ref_http1 *h, bool *there, uint64_t *length)
{
	const struct ref_field *f;

	*there = false;
	for (size_t i = 0; (f = ref_field(h, "content-length", i)); i++) {
		const char *p = f->value, *from;
		size_t len;

		while (ref_list_element(&p, f->value + f->value_len, &from, &len)) {
			unsigned __int128 v = 0;

			for (size_t k = 0; k < len; k++) {
				if (from[k] < '0' || from[k] > '9')
					return false;
				v = v * 10 + (unsigned)(from[k] - '0');
				if (v > INT64_MAX)
					return false;
			}
			if (!len || (*there && v != *length))
				return false;
			*there = true;
			*length = (uint64_t)v;
		}
	}
	return true;
}

/* The last transfer coding is chunked; *opaque: there are others. */
static inline bool ref_chunked(const struct ref_http1 *h, bool *there, bool *opaque)
{
	const struct ref_field *f;
	bool chunked = false;

	*there = false;
	for (size_t i = 0; (f = ref_field(h, "transfer-encoding", i)); i++) {
		const char *p = f->value, *from;
		size_t len;

		*there = true;
		while (ref_list_element(&p, f->value + f->value_len, &from, &len)) {
			size_t name = 0;

			while (name < len && !strchr(" \t;", from[name]))
				name++;
			if (!name && !len)
				continue;
			*opaque |= chunked; /* not the last one */
			chunked = ref_is(from, name, "chunked");
			*opaque |= !chunked;
		}
	}
	return chunked;
}

static inline bool ref_status_line(const uint8_t *p, size_t n, unsigned *status)
{
	if (n < 12 || memcmp(p, "HTTP/1.", 7) || p[7] < '0' || p[7] > '9' || p[8] != ' ')
		return false;
	for (int i = 9; i < 12; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	if (p[9] == '0' || (n > 12 && p[12] != ' '))
		return false;
	*status = (p[9] - '0') * 100u + (p[10] - '0') * 10u + (p[11] - '0');
	return true;
}

/* A header line that could be read in two ways, where that matters: a name with blanks behind it,
 * or a value that goes on in the next line (RFC 9112 5.1, 5.2). */
static inline bool ref_line_bad(const struct ref_http1 *h, const uint8_t *p, size_t n)
{
	static const char *const framing[] = { "content-length", "transfer-encoding" };
	const struct ref_field *last = h->n_fields ? &h->fields[h->n_fields - 1] : NULL;

	for (size_t i = 0; i < 2; i++) {
		size_t name = strlen(framing[i]), colon = name;

		if (n > name && !strncasecmp((const char *)p, framing[i], name)) {
			while (colon < n && ref_blank(p[colon]))
				colon++;
			if (colon > name && colon < n && p[colon] == ':')
				return true;
		}
		if (ref_blank(p[0]) && last && ref_is(last->line, last->name_len, framing[i]))
			return true;
	}
	return false;
}

static inline void ref_put_field(struct ref_http1 *h, const uint8_t *p, size_t n)
{
	struct ref_field *f = &h->fields[h->n_fields];
	const uint8_t *colon = memchr(p, ':', n);

	CHECK(h->n_fields < REF_FIELDS);
	*f = (struct ref_field){ .line = p, .line_len = n };
	h->n_fields++;
	if (!colon)
		return;
	f->name_len = (size_t)(colon - p);
	f->value = (const char *)colon + 1;
	f->value_len = n - f->name_len - 1;
	while (f->value_len && ref_blank((uint8_t)*f->value))
		f->value++, f->value_len--;
	while (f->value_len && ref_blank((uint8_t)f->value[f->value_len - 1]))
		f->value_len--;
	if (n > REF_LINE_KEPT && (ref_is(p, f->name_len, "content-length") ||
				  ref_is(p, f->name_len, "transfer-encoding")))
		h->unsure = true;
}

static inline int ref_hex(uint8_t c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* The chunks at p + at; where reading stopped. */
static inline size_t ref_chunks(struct ref_http1 *h, const uint8_t *p, size_t n, size_t at)
{
	const uint8_t *eol;
	uint64_t size;

	do {
		size_t digits = 0;

		for (size = 0; at < n && ref_hex(p[at]) >= 0; at++, digits++) {
			if (size >> 59) {
				h->bad = true;
				return at;
			}
			size = size * 16 + (unsigned)ref_hex(p[at]);
		}
		if (at == n)
			return n;
		h->bad = !digits || !strchr(";\r\n \t", p[at]) || !p[at];
		if (h->bad)
			return at;
		eol = memchr(p + at, '\n', n - at);
		if (!eol)
			return n;
		at = (size_t)(eol - p) + 1;
		if (!size)
			break;
		if (size > n - at)
			size = n - at;
		put(&h->body, p + at, size);
		at += size;
		if (at < n && p[at] == '\r')
			at++;
		if (at < n && p[at++] != '\n')
			h->bad = true;
	} while (at < n && !h->bad);
	/* trailer lines */
	while (!h->bad && !size && (eol = memchr(p + at, '\n', n - at))) {
		size_t len = (size_t)(eol - p) - at;
		bool empty = !len || (len == 1 && p[at] == '\r');

		at += len + 1;
		if (empty) {
			h->done = true;
			return at;
		}
	}
	return h->bad ? at : n;
}

/* `closed`: the connection ended behind the buffer. To be freed with ref_http1_free. */
static inline void ref_http1(struct ref_http1 *h, const uint8_t *p, size_t n, bool head_method,
			     bool closed)
{
	bool has_length = false, transfer = false, chunked;
	uint64_t length = 0;
	const uint8_t *eol;
	size_t at = 0;

	memset(h, 0, sizeof(*h));
	h->used = n;
	while (!h->head && (eol = memchr(p + at, '\n', n - at))) {
		const uint8_t *line = p + at;
		size_t len = (size_t)(eol - line);

		at += len + 1;
		if (len && line[len - 1] == '\r')
			len--;
		/* who reads on behind it, and who does not? */
		h->bad = len && memchr(line, 0, len);
		h->unsure |= h->bad && !memchr(line, 0, len < REF_LINE_KEPT ? len : REF_LINE_KEPT);
		if (h->bad) {
			h->status = h->status > 199 ? h->status : 0;
		} else if (!h->status) {
			h->bad = len && !ref_status_line(line, len, &h->status);
		} else if (len) {
			h->bad = ref_line_bad(h, line, len);
			ref_put_field(h, line, len);
			h->bad |= !ref_content_length(h, &has_length, &length);
		} else if (h->status < 200 && h->status != 101) {
			h->status = 0; /* not the answer yet */
			h->n_fields = 0;
			has_length = false;
		} else {
			h->head = true;
		}
		if (h->bad)
			return;
	}
	if (!h->head)
		return;
	chunked = ref_chunked(h, &transfer, &h->opaque);
	if (h->status == 101) {
		h->opaque = h->close = true;
		put(&h->body, p + at, n - at);
	} else if (head_method || h->status == 204 || h->status == 304) {
		h->done = true;
		h->used = at;
	} else if (chunked) {
		h->used = ref_chunks(h, p, n, at);
		h->used = h->done ? h->used : n;
	} else if (transfer || !has_length) {
		h->close = true;
		put(&h->body, p + at, n - at);
	} else {
		h->length = true;
		h->done = length <= n - at;
		put(&h->body, p + at, h->done ? (size_t)length : n - at);
		h->used = h->done ? at + (size_t)length : n;
	}
	if (closed && h->close)
		h->done = true;
}

static inline void ref_http1_free(struct ref_http1 *h)
{
	bytes_free(&h->body);
}

#endif
