/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request says that it is for, from all lines of its head at hand, label by label: the
 * first of its sources that is there decides (agent/metering.md, 3). traceparent and baggage are
 * as W3C has them.
 */
#ifndef WEIR_REF_LABELS_H
#define WEIR_REF_LABELS_H

#include <strings.h>

#include "agent/labels.h"
#include "bytes.h"

struct ref_line {
	struct bytes text;
	uint32_t flags;
};

struct ref_lines {
	struct ref_line of[32];
	size_t n;
};

/* Without blanks at its ends, in place. */
static inline void ref_trim(struct bytes *b)
{
	size_t from = 0;

	while (b->n && (b->p[b->n - 1] == ' ' || b->p[b->n - 1] == '\t'))
		b->n--;
	while (from < b->n && (b->p[from] == ' ' || b->p[from] == '\t'))
		from++;
	b->n -= from;
	if (b->n)
		memmove(b->p, b->p + from, b->n);
}

/* Up to `stop`, or all: what is in front of it, and what is behind; false: it is not there. */
static inline bool ref_split(const struct bytes *b, char stop, struct bytes *front,
			     struct bytes *back)
{
	const uint8_t *at = b->n ? memchr(b->p, stop, b->n) : NULL;
	size_t n = at ? (size_t)(at - b->p) : b->n;

	front->n = back->n = 0;
	put(front, b->p, n);
	if (at)
		put(back, at + 1, b->n - n - 1);
	return at;
}

static inline bool ref_name_is(const struct bytes *b, const char *name)
{
	return b->n == strlen(name) && !strncasecmp((char *)b->p, name, b->n);
}

/* How often a source stands in the lines, and what it says there. */
struct ref_said {
	unsigned times;
	struct bytes value;
};

static inline int ref_percent(const struct bytes *b, size_t i)
{
	char digits[3] = { 0 };

	if (b->n - i < 3)
		return -1;
	memcpy(digits, b->p + i + 1, 2);
	return strspn(digits, "0123456789abcdefABCDEF") == 2 ? (int)strtol(digits, NULL, 16) : -1;
}

/* W3C baggage 3.3: key = value ; properties, a comma between. `text`: behind "baggage:". */
static inline void ref_baggage(const struct bytes *text, bool cut, const char *name,
			       struct ref_said *said)
{
	struct bytes rest = { 0 }, member = { 0 }, key = { 0 }, value = { 0 }, more = { 0 };
	bool comma = true;

	put(&rest, text->p, text->n);
	while (comma) {
		comma = ref_split(&rest, ',', &member, &more);
		rest.n = 0;
		put(&rest, more.p, more.n);
		if ((!comma && cut) || !ref_split(&member, '=', &key, &more))
			continue;
		ref_trim(&key);
		if (!bytes_are(&key, name, strlen(name)))
			continue;
		ref_split(&more, ';', &value, &member);
		ref_trim(&value);
		said->times++;
		said->value.n = 0;
		for (size_t i = 0; i < value.n; i++) {
			int c = value.p[i] == '%' ? ref_percent(&value, i) : value.p[i];

			if (c < 0) {
				said->value.n = 0;
				break;
			}
			i += value.p[i] == '%' ? 2 : 0;
			put_byte(&said->value, (uint8_t)c);
		}
	}
	bytes_free(&rest);
	bytes_free(&member);
	bytes_free(&key);
	bytes_free(&value);
	bytes_free(&more);
}

static inline void ref_label_source(const struct ref_lines *lines,
				    const struct weir_label_source *s, struct ref_said *said)
{
	struct bytes name = { 0 }, value = { 0 };

	put(&said->value, "", 0);
	for (size_t i = 0; i < lines->n; i++) {
		const struct ref_line *line = &lines->of[i];
		bool cut = line->flags & WEIR_LINE_CUT;

		if (!ref_split(&line->text, ':', &name, &value))
			continue;
		if (s->kind == WEIR_LABEL_BAGGAGE) {
			if (ref_name_is(&name, "baggage"))
				ref_baggage(&value, cut, s->name, said);
		} else if (ref_name_is(&name, s->name)) {
			said->times++;
			said->value.n = 0;
			ref_trim(&value);
			if (!cut)
				put(&said->value, value.p, value.n);
		}
	}
	if (said->times > 1)
		said->value.n = 0;
	bytes_free(&name);
	bytes_free(&value);
}

static inline bool ref_all_of(const uint8_t *p, size_t n, const char *set)
{
	while (n && *p && strchr(set, *p))
		p++, n--;
	return !n;
}

/* W3C trace context 3.2: version 00, or what a later one begins with. */
static inline bool ref_traceparent(const struct bytes *v, uint8_t out[16])
{
	static const char hex[] = "0123456789abcdef";
	const char *zeros = "00000000000000000000000000000000";
	const uint8_t *p = v->p;

	if (v->n < 55 || !ref_all_of(p, 2, hex) || !memcmp(p, "ff", 2) || p[2] != '-' ||
	    !ref_all_of(p + 3, 32, hex) || !memcmp(p + 3, zeros, 32) || p[35] != '-' ||
	    !ref_all_of(p + 36, 16, hex) || !memcmp(p + 36, zeros, 16) || p[52] != '-' ||
	    !ref_all_of(p + 53, 2, hex))
		return false;
	if (v->n > 55 && (!memcmp(p, "00", 2) || p[55] != '-'))
		return false;
	for (int i = 0; i < 16; i++) {
		char byte[3] = { (char)p[3 + 2 * i], (char)p[4 + 2 * i], 0 };

		out[i] = (uint8_t)strtol(byte, NULL, 16);
	}
	return true;
}

/* Visible ASCII that fits, or nothing. */
static inline void ref_label_text(const struct bytes *v, char *out, size_t size)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->p[i] < 0x21 || v->p[i] > 0x7e)
			return;
	if (v->n < size)
		memcpy(out, v->p, v->n);
}

static inline void ref_label(struct weir_labels *l, enum weir_label label, const struct bytes *v)
{
	struct bytes digits = { 0 };
	unsigned long count;

	switch (label) {
	case WEIR_LABEL_USER:
		ref_label_text(v, l->user, sizeof(l->user));
		break;
	case WEIR_LABEL_TEAM:
		ref_label_text(v, l->team, sizeof(l->team));
		break;
	case WEIR_LABEL_COST_CENTER:
		ref_label_text(v, l->cost_center, sizeof(l->cost_center));
		break;
	case WEIR_LABEL_SESSION:
		ref_label_text(v, l->session, sizeof(l->session));
		break;
	case WEIR_LABEL_FEATURE:
		ref_label_text(v, l->feature, sizeof(l->feature));
		break;
	case WEIR_LABEL_REQUEST_ID:
		ref_label_text(v, l->request_id, sizeof(l->request_id));
		break;
	case WEIR_LABEL_TRACE:
		ref_traceparent(v, l->trace_id);
		break;
	default:
		if (!ref_all_of(v->p, v->n, "0123456789"))
			break;
		put(&digits, v->p, v->n);
		put_byte(&digits, 0);
		count = strtoul((char *)digits.p, NULL, 10); /* ULONG_MAX where it is more */
		l->retry_count = count > 255 ? 255 : (uint8_t)count;
		bytes_free(&digits);
	}
}

/* `user`: what the body says, "" nothing. Of out, ranks are left out. */
static inline void ref_labels(const struct weir_label_config *c, const struct ref_lines *lines,
			      const struct bytes *user, struct weir_labels *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < lines->n; i++)
		out->trusted |= !!(lines->of[i].flags & WEIR_LABELS_TRUSTED);
	for (int label = 0; label < WEIR_LABEL_MAX; label++) {
		bool there = false;

		for (size_t i = 0; i < c->n_sources && !there; i++) {
			struct ref_said said = { 0 };

			if (c->sources[i].label != label)
				continue;
			ref_label_source(lines, &c->sources[i], &said);
			there = said.times;
			if (there)
				ref_label(out, (enum weir_label)label, &said.value);
			bytes_free(&said.value);
		}
		if (!there && label == WEIR_LABEL_USER && c->body_user)
			ref_label(out, WEIR_LABEL_USER, user);
	}
}

#endif
