/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request head read a byte at a time, by the table of bpf/forms.md: whole, not
 * whole yet, or the first mistake in it. Also the framing of a chunked body.
 */
#ifndef TEST_MODEL_HEAD_H
#define TEST_MODEL_HEAD_H

#include "tests/bpf/model.h"

static UNUSED bool m_token(uint8_t c)
{
	return c > 0x20 && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

/* What of the headers that matter was seen. */
struct m_seen {
	int content_length, transfer_encoding, authorization, x_api_key, api_key, tenant;
	bool bearer;
	char keys[3][300];
};

/* The line cannot be read on from: refused with these bytes. */
static UNUSED bool m_wrong(struct m_head *h, uint32_t reason)
{
	h->state = HEAD_WRONG;
	h->reason = reason;
	return false;
}

/* A form that is refused once the head is whole. */
static UNUSED bool m_later(struct m_head *h, uint32_t reason)
{
	h->later = reason;
	return true;
}

static UNUSED bool m_request_line(struct m_head *h, const char *s, size_t n)
{
	size_t m = 0, v;

	while (m < n && s[m] != ' ')
		m++;
	if (!m || m > 24 || m == n || s[m] != ' ')
		return m_later(h, WEIR_DENY_MALFORMED);
	for (v = n; v > m && s[v - 1] != ' ';)
		v--;
	/* v: behind the last blank */
	if (n == 14 && !memcmp(s, "PRI * HTTP/2.0", 14)) {
		return m_later(h, WEIR_DENY_PROTOCOL);
	}
	if (v <= m + 2 || n - v != 8 || memcmp(s + v, "HTTP/1.", 7) ||
	    (s[v + 7] != '0' && s[v + 7] != '1'))
		return m_later(h, WEIR_DENY_MALFORMED);
	memcpy(h->method, s, m);
	h->http10 = s[v + 7] == '0';
	h->target_len = v - 1 - (m + 1);
	memcpy(h->target, s + m + 1,
	       h->target_len < sizeof(h->target) - 1 ? h->target_len : sizeof(h->target) - 1);
	return true;
}

static UNUSED void m_copy_text(char *out, size_t size, const char *s, size_t n)
{
	memset(out, 0, size);
	memcpy(out, s, n < size - 1 ? n : size - 1);
}

/* A line of n bytes that may be one to tell; its value is cut from `at` to `end`. */
static UNUSED void m_line(struct m_head *h, const char *name, const char *s, size_t n, size_t at,
			  size_t end)
{
	for (uint32_t i = 0; i < 4 && model.lines[i]; i++) {
		if (strcasecmp(name, model.lines[i]) || h->n_lines == M_LINES)
			continue;
		if (i == M_NOT_ZERO && end - at == 1 && s[at] == '0')
			continue;
		h->lines[h->n_lines].at = (const uint8_t *)s;
		h->lines[h->n_lines].len = n;
		h->lines[h->n_lines++].name = i;
	}
}

static UNUSED bool m_header_line(struct m_head *h, struct m_seen *seen, const char *s, size_t n)
{
	size_t colon = 0, at, whole = n;
	char name[40] = {};

	if (s[0] == ' ' || s[0] == '\t')
		return m_wrong(h, WEIR_DENY_MALFORMED);
	while (colon < n && s[colon] != ':') {
		if (s[colon] == ' ')
			return m_wrong(h, WEIR_DENY_MALFORMED);
		colon++;
	}
	if (!colon || colon == n)
		return m_wrong(h, WEIR_DENY_MALFORMED);
	if (colon < sizeof(name))
		memcpy(name, s, colon);
	at = colon + 1;
	while (at < n && (s[at] == ' ' || s[at] == '\t'))
		at++;
	while (n > at && s[n - 1] == ' ') /* a TAB there is part of it to some servers */
		n--;
	m_line(h, name, s, whole, at, n);
	s += at;
	n -= at;
	if (!strcasecmp(name, "content-length")) {
		if (seen->content_length++ || !n || n > 18)
			return m_later(h, WEIR_DENY_MALFORMED);
		h->body_bytes = 0;
		for (size_t i = 0; i < n; i++) {
			if (s[i] < '0' || s[i] > '9')
				return m_later(h, WEIR_DENY_MALFORMED);
			h->body_bytes = h->body_bytes * 10 + (s[i] - '0');
		}
		if (h->body_bytes > 1 << 30)
			return m_later(h, WEIR_DENY_MALFORMED);
		h->body = M_LENGTH;
	} else if (!strcasecmp(name, "transfer-encoding")) {
		if (seen->transfer_encoding++ || n != 7 || strncasecmp(s, "chunked", 7) ||
		    h->http10)
			return m_later(h, WEIR_DENY_MALFORMED);
		h->body = M_CHUNKED;
		h->body_bytes = ~0ULL;
	} else if (!strcasecmp(name, "authorization")) {
		if (seen->authorization++)
			return m_later(h, WEIR_DENY_MALFORMED);
		if (n > 7 && !strncasecmp(s, "bearer ", 7)) {
			at = 7;
			while (at < n && s[at] == ' ')
				at++;
			m_copy_text(seen->keys[0], sizeof(seen->keys[0]), s + at, n - at);
		}
	} else if (!strcasecmp(name, "x-api-key")) {
		if (seen->x_api_key++)
			return m_later(h, WEIR_DENY_MALFORMED);
		m_copy_text(seen->keys[1], sizeof(seen->keys[1]), s, n);
	} else if (!strcasecmp(name, "api-key")) {
		if (seen->api_key++)
			return m_later(h, WEIR_DENY_MALFORMED);
		m_copy_text(seen->keys[2], sizeof(seen->keys[2]), s, n);
	} else if (!strcasecmp(name, "x-weir-tenant")) {
		if (seen->tenant++)
			return m_later(h, WEIR_DENY_MALFORMED);
		m_copy_text(h->named, sizeof(h->named), s, n);
		h->has_name = true;
	} else if (!strcasecmp(name, "upgrade")) {
		if (n != 3 || strncasecmp(s, "h2c", 3))
			h->upgrade = true;
	}
	if (seen->content_length && seen->transfer_encoding)
		return m_later(h, WEIR_DENY_MALFORMED);
	return true;
}

static UNUSED bool m_may_have_body(const char *method)
{
	return !strcmp(method, "POST") || !strcmp(method, "PUT") || !strcmp(method, "PATCH") ||
	       !strcmp(method, "DELETE");
}

/* Read the head at p, of which n bytes are there. */
static UNUSED void m_read_head(const uint8_t *p, size_t n, struct m_head *h)
{
	struct m_seen seen = {};
	size_t line = 0, lines = 0, first = 0;
	bool colon = false;

	memset(h, 0, sizeof(*h));
	while (first < n && (p[first] == '\r' || p[first] == '\n'))
		first++;
	if (first < n && !m_token(p[first])) {
		h->len = first + 1;
		m_wrong(h, WEIR_DENY_MALFORMED);
		return;
	}
	line = first;
	for (size_t i = first; i < n; i++) {
		size_t end = i;

		h->len = i + 1;
		if (i >= M_HEAD_MAX) {
			m_wrong(h, WEIR_DENY_HEAD_TOO_LARGE);
			return;
		}
		if (i > first && p[i - 1] == '\r' && p[i] != '\n') {
			m_wrong(h, WEIR_DENY_MALFORMED);
			return;
		}
		if (lines && !colon && (p[i] == ' ' || (p[i] == ':' && i == line))) {
			m_wrong(h, WEIR_DENY_MALFORMED);
			return;
		}
		/* One line more than there may be has begun. */
		if (i == line && lines == M_LINES_MAX && !strchr("\t\r\n", p[i])) {
			m_wrong(h, WEIR_DENY_HEAD_TOO_LARGE);
			return;
		}
		if (p[i] == ':')
			colon = true;
		if (p[i] < 0x20 && p[i] != '\r' && p[i] != '\n' &&
		    !(p[i] == '\t' && lines && colon)) {
			m_wrong(h, WEIR_DENY_MALFORMED);
			return;
		}
		if (p[i] != '\n')
			continue;
		if (end > line && p[end - 1] == '\r')
			end--;
		if (lines && end == line) {
			if (h->body_bytes && !m_may_have_body(h->method))
				m_later(h, WEIR_DENY_MALFORMED);
			if (h->later == WEIR_DENY_PROTOCOL &&
			    (n < 24 || memcmp(p, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24)))
				h->later = WEIR_DENY_MALFORMED;
			h->state = h->later == WEIR_DENY_PROTOCOL ? HEAD_PREFACE
				   : h->later			  ? HEAD_WRONG
								  : HEAD_WHOLE;
			h->reason = h->later;
			for (int k = 0; k < 3 && !h->has_key; k++)
				if (seen.keys[k][0]) {
					h->has_key = true;
					memcpy(h->key, seen.keys[k], sizeof(h->key));
				}
			return;
		}
		lines++;
		if (!(lines == 1 ? m_request_line(h, (const char *)p + line, end - line)
				 : m_header_line(h, &seen, (const char *)p + line, end - line)))
			return;
		line = i + 1;
		colon = false;
	}
	h->state = HEAD_MORE;
	h->len = n;
}

static UNUSED void m_chunk_byte(struct m_chunk *k, uint8_t c)
{
	int digit = c >= '0' && c <= '9'		 ? c - '0'
		    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
							 : -1;

	switch (k->at) {
	case CH_SIZE:
		if (digit >= 0) {
			k->left = k->left * 16 + digit;
			if (++k->digits > 12)
				k->at = CH_BAD;
		} else if (!k->digits) {
			k->at = CH_BAD;
		} else {
			k->at = c && strchr("; \t", c) ? CH_EXT : c == '\r' ? CH_SIZE_LF : CH_BAD;
		}
		break;
	case CH_EXT:
		if (c == '\r')
			k->at = CH_SIZE_LF;
		else if (c < 0x20 && c != '\t')
			k->at = CH_BAD;
		break;
	case CH_SIZE_LF:
		k->at = c != '\n' ? CH_BAD : k->left ? CH_DATA : CH_LINE;
		break;
	case CH_DATA:
		if (!--k->left)
			k->at = CH_DATA_CR;
		break;
	case CH_DATA_CR:
		k->at = c == '\r' ? CH_DATA_LF : CH_BAD;
		break;
	case CH_DATA_LF:
		k->at = c == '\n' ? CH_SIZE : CH_BAD;
		k->digits = 0;
		k->left = 0;
		break;
	case CH_LINE:
		if (c == '\r')
			k->at = CH_LAST_LF;
		else
			k->at = c < 0x20 && c != '\t' ? CH_BAD : CH_TRAILER;
		break;
	case CH_TRAILER:
		if (c == '\r')
			k->at = CH_TRAILER_LF;
		else if (c < 0x20 && c != '\t')
			k->at = CH_BAD;
		break;
	case CH_TRAILER_LF:
		k->at = c == '\n' ? CH_LINE : CH_BAD;
		break;
	case CH_LAST_LF:
		k->at = c == '\n' ? CH_DONE : CH_BAD;
		break;
	case CH_DONE:
	case CH_BAD:
		break;
	}
}

#endif
