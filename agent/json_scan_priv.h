/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the JSON scanner share: its states, and the step from a value to the next key.
 */
#ifndef WEIR_JSON_SCAN_PRIV_H
#define WEIR_JSON_SCAN_PRIV_H

#include "find.h"
#include "json_scan.h"

enum state {
	DOCUMENT,  /* before one */
	FIRST_KEY, /* { was read */
	NEXT_KEY,  /* { … , was read */
	KEY,	   /* in it */
	COLON,
	VALUE,
	FIRST_ELEMENT, /* [ was read */
	NEXT,	       /* , or the container's end */
	STRING,	       /* in one that is wanted */
	BYTES,	       /* in one whose length is */
	SKIP_STRING,
	NUMBER,	     /* in one that is wanted */
	SKIP_SCALAR, /* in a number or literal that is not */
	NESTED,	     /* in a container that is not */
	NESTED_STRING,
	OVER, /* behind the document */
	DEAD,
};

enum flags {
	NUMBER_BAD = 1 << 0,
	NUMBER_DIGITS = 1 << 1,
	NUMBER_FRACTION = 1 << 2,
	TOO_DEEP = 1 << 3,
};

struct cursor {
	struct weir_scan *j;
	const struct weir_scan_schema *s;
	void *ctx;
	const uint8_t *p;
	const uint8_t *end;
};

static inline bool blank(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool ends_scalar(uint8_t c)
{
	return c == ',' || c == '}' || c == ']' || blank(c);
}

static inline const uint8_t *scalar_end(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (uint8_t)(*p - '+') <= 'z' - '+' && *p != ',' && *p != ':' && *p != '[' &&
	       *p != ']')
		p++;
	return p;
}

static inline void report(struct cursor *s, uint8_t node, enum weir_scan_event event)
{
	struct weir_scan_found f = { .event = event };

	s->s->found(s->ctx, node, &f);
}

static inline void report_bytes(struct cursor *s, uint8_t node, size_t n)
{
	struct weir_scan_found f = { .event = WEIR_SCAN_IS_BYTES, .number = (int64_t)n };

	if (n)
		s->s->found(s->ctx, node, &f);
}

static inline bool in_array(const struct weir_scan *j)
{
	return j->arrays >> (j->depth - 1) & 1;
}

/* p: behind its quote. */
static inline void start_key(struct cursor *s, const uint8_t *p)
{
	s->p = p;
	weir_string_start(&s->j->text);
	s->j->state = KEY;
}

/* A value is over. Where the next bytes are the usual ones, a comma and the next
 * key's quote, go on to the inside of that key. */
static inline __attribute__((always_inline)) void to_next_key(struct cursor *s)
{
	struct weir_scan *j = s->j;
	const uint8_t *p = s->p;

	j->state = NEXT;
	if (s->end - p < 3 || *p != ',' || in_array(j))
		return;
	p += p[1] == ' ' ? 2 : 1;
	if (*p != '"')
		return;
	start_key(s, p + 1);
}

/* json_value.c: in values that are no strings, each on as far as the piece goes. */
void weir_scan_number(struct cursor *s);
void weir_scan_skip_scalar(struct cursor *s);
void weir_scan_nest(struct weir_scan *j, bool array); /* a container that is not descended into */
void weir_scan_nested(struct cursor *s);

#endif
