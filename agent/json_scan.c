// SPDX-License-Identifier: Apache-2.0
/*
 * The JSON scanner: one state per kind of token, so that a cut may fall
 * anywhere. A token that lies whole in the piece at hand is used in place; only
 * one that is cut or has escapes goes through `text`.
 *
 * Each level descended into costs a byte of stack.
 */
#include "json_scan_priv.h"

#include <string.h>

void weir_scan_reset(struct weir_scan *j)
{
	j->state = DOCUMENT;
	j->depth = 0;
	j->flags = 0;
}

void weir_scan_kill(struct weir_scan *j)
{
	j->state = DEAD;
}

bool weir_scan_over(const struct weir_scan *j)
{
	return j->state == OVER;
}

bool weir_scan_dead(const struct weir_scan *j)
{
	return j->state == DEAD;
}

bool weir_scan_too_deep(const struct weir_scan *j)
{
	return j->state == DEAD && (j->flags & TOO_DEEP);
}

/* ------------------------------------------------------------ containers */

static void open_container(struct cursor *s, bool array)
{
	struct weir_scan *j = s->j;
	uint16_t want = s->s->want[j->node];

	s->p++;
	if ((want & (array ? WEIR_SCAN_ARRAY : WEIR_SCAN_OBJECT)) && j->depth < WEIR_SCAN_DEPTH) {
		if (array)
			j->arrays |= 1u << j->depth;
		else
			j->arrays &= ~(1u << j->depth);
		j->stack[j->depth++] = j->node;
		j->state = array ? FIRST_ELEMENT : FIRST_KEY;
	} else {
		j->nested = 0;
		j->state = NESTED;
		weir_scan_nest(j, array);
		if (want == WEIR_SCAN_BYTES)
			report_bytes(s, j->node, 1);
	}
	if (j->state == FIRST_KEY && s->p < s->end && *s->p == '"')
		start_key(s, s->p + 1);
	if (want & WEIR_SCAN_OPEN)
		report(s, j->node, WEIR_SCAN_IS_OPEN);
}

static void close_container(struct cursor *s, bool array)
{
	struct weir_scan *j = s->j;
	uint8_t node = j->stack[j->depth - 1];

	if (array != in_array(j)) {
		j->state = DEAD;
		return;
	}
	s->p++;
	j->state = --j->depth ? NEXT : OVER;
	if (s->s->want[node] & WEIR_SCAN_END)
		report(s, node, WEIR_SCAN_IS_END);
}

/* ------------------------------------------------------------ tokens */

static inline __attribute__((always_inline)) void value(struct cursor *s, uint8_t c)
{
	struct weir_scan *j = s->j;
	uint16_t want = s->s->want[j->node];

	if (c == '"') {
		j->state = want & WEIR_SCAN_STRING  ? STRING
			   : want & WEIR_SCAN_BYTES ? BYTES
						    : SKIP_STRING;
		weir_string_start(&j->text);
		s->p++;
	} else if (c == '{' || c == '[') {
		open_container(s, c == '[');
	} else if (c == '-' || (c >= '0' && c <= '9')) {
		j->state = want & WEIR_SCAN_NUMBER ? NUMBER : SKIP_SCALAR;
		j->number = 0;
		j->flags = 0;
	} else if (c == 'n' || c == 't' || c == 'f' || c == 'N' || c == 'I') {
		/* NaN and Infinity are not JSON, but Python writes them */
		j->state = SKIP_SCALAR;
		if (c == 't' && (want & WEIR_SCAN_TRUE))
			report(s, j->node, WEIR_SCAN_IS_TRUE);
	} else {
		j->state = DEAD;
	}
}

/* After a value, inside a container. */
static void next(struct cursor *s, uint8_t c)
{
	struct weir_scan *j = s->j;

	if (c == ',') {
		s->p++;
		if (in_array(j)) {
			j->node = s->s->child(j->stack[j->depth - 1], NULL, 0);
			j->state = VALUE;
		} else {
			j->state = NEXT_KEY;
		}
	} else if (c == '}' || c == ']') {
		close_container(s, c == ']');
		while (j->state == NEXT && s->p < s->end && (*s->p == '}' || *s->p == ']'))
			close_container(s, *s->p == ']');
		if (j->state == NEXT)
			to_next_key(s);
	} else {
		j->state = DEAD;
	}
}

static inline void key_is(struct cursor *s, const char *text, size_t len)
{
	struct weir_scan *j = s->j;

	j->node = j->text.cut ? 0 : s->s->child(j->stack[j->depth - 1], text, len);
	j->state = COLON;
	if (s->s->want[j->node] & WEIR_SCAN_KEY)
		report(s, j->node, WEIR_SCAN_IS_KEY);
}

/* A key that is cut, or has escapes, or is the piece's last. */
static void odd_key(struct cursor *s)
{
	const char *text;
	size_t len;

	if (weir_string_read(&s->j->text, &s->p, s->end, &text, &len))
		key_is(s, text, len);
}

/* A string of which the inside begins at *p, whole in this piece and without escapes: reports it as
 * its node wants, moves *p behind it. False: it is left to the states. */
static inline bool plain_string(struct cursor *s, uint16_t want, const uint8_t **p)
{
	const uint8_t *quote = weir_find(*p, s->end, WEIR_FIND_STRING_END);

	if (quote == s->end || *quote != '"')
		return false;
	if (want & WEIR_SCAN_STRING) {
		struct weir_scan_found f = { .event = WEIR_SCAN_IS_STRING,
					     .text = (const char *)*p,
					     .len = (size_t)(quote - *p) };

		s->s->found(s->ctx, s->j->node, &f);
	} else if (want & WEIR_SCAN_BYTES) {
		report_bytes(s, s->j->node, (size_t)(quote - *p));
	}
	*p = quote + 1;
	return true;
}

/*
 * From the inside of a key through the members of an object, as long as they lie whole in the piece
 * and are written as servers write them, without a step through the states. What is not so is left
 * to these.
 */
static void members(struct cursor *s)
{
	struct weir_scan *j = s->j;
	const uint8_t *p = s->p, *end = s->end;

	while (true) {
		const uint8_t *quote = weir_find(p, end, WEIR_FIND_STRING_END);
		uint16_t want;

		s->p = p;
		if (end - quote < 4 || *quote != '"' || quote[1] != ':') {
			odd_key(s);
			return;
		}
		key_is(s, (const char *)p, (size_t)(quote - p));
		want = s->s->want[j->node];
		p = quote + (quote[2] == ' ' ? 3 : 2);
		j->state = VALUE;
		s->p = p;
		if (*p == '"') {
			p++;
			if (!plain_string(s, want, &p)) {
				value(s, '"');
				return;
			}
		} else if ((*p == 'n' || *p == 'f' || *p == 't' || (*p >= '0' && *p <= '9')) &&
			   !(want & (WEIR_SCAN_NUMBER | WEIR_SCAN_TRUE))) {
			p = scalar_end(p, end);
			if (p == end || !ends_scalar(*p))
				return;
		} else {
			return;
		}
		s->p = p;
		to_next_key(s);
		if (j->state != KEY)
			return;
		p = s->p;
	}
}

static void wanted_string(struct cursor *s)
{
	struct weir_scan_found f = { .event = WEIR_SCAN_IS_STRING };

	if (!weir_string_read(&s->j->text, &s->p, s->end, &f.text, &f.len))
		return;
	s->s->found(s->ctx, s->j->node, &f);
	to_next_key(s);
}

/* One whose length is asked for: as JSON has it, escapes and all. */
static void measured_string(struct cursor *s)
{
	const uint8_t *from = s->p;
	bool whole = weir_string_skip(&s->j->text, &s->p, s->end);

	report_bytes(s, s->j->node, (size_t)(s->p - from) - whole);
	if (whole)
		to_next_key(s);
}

/* States in which blanks mean nothing and one byte decides. */
static void structure(struct cursor *s)
{
	struct weir_scan *j = s->j;
	uint8_t c = *s->p;

	if (blank(c)) {
		s->p++;
		return;
	}
	switch (j->state) {
	case DOCUMENT:
		j->node = c == '[' ? 2 : 1;
		if (c == '{' || c == '[')
			value(s, c);
		else
			j->state = DEAD;
		break;
	case FIRST_KEY:
	case NEXT_KEY:
		if (c == '"') {
			s->p++;
			weir_string_start(&j->text);
			j->state = KEY;
		} else if (c == '}' && j->state == FIRST_KEY) {
			close_container(s, false);
		} else {
			j->state = DEAD;
		}
		break;
	case COLON:
		if (c == ':')
			s->p++;
		j->state = c == ':' ? VALUE : DEAD;
		break;
	case FIRST_ELEMENT:
		if (c == ']') {
			close_container(s, true);
			break;
		}
		j->node = s->s->child(j->stack[j->depth - 1], NULL, 0);
		if (j->depth == 1 && c != '{')
			j->state = DEAD; /* an array that is no answer: [1, …], [DONE] */
		else
			value(s, c);
		break;
	case VALUE:
		value(s, c);
		break;
	default:
		next(s, c);
	}
}

void weir_scan_enter(struct weir_scan *j, const struct weir_scan_schema *schema, void *ctx)
{
	struct cursor s = { .j = j, .s = schema, .ctx = ctx };

	weir_scan_reset(j);
	j->stack[j->depth++] = 1;
	j->arrays = 0;
	key_is(&s, j->text.bytes, j->text.len);
	j->state = VALUE;
}

size_t weir_scan_feed(struct weir_scan *j, const struct weir_scan_schema *schema, void *ctx,
		      const uint8_t *bytes, size_t n)
{
	struct cursor s = { .j = j, .s = schema, .ctx = ctx, .p = bytes, .end = bytes + n };

	while (s.p < s.end) {
		switch (j->state) {
		case KEY:
			if (j->text.len | j->text.cut | j->text.escaping)
				odd_key(&s);
			else
				members(&s);
			break;
		case STRING:
			wanted_string(&s);
			break;
		case BYTES:
			measured_string(&s);
			break;
		case SKIP_STRING:
			if (weir_string_skip(&j->text, &s.p, s.end))
				to_next_key(&s);
			break;
		case NUMBER:
			weir_scan_number(&s);
			break;
		case SKIP_SCALAR:
			weir_scan_skip_scalar(&s);
			break;
		case NESTED_STRING:
		case NESTED:
			weir_scan_nested(&s);
			break;
		case OVER:
		case DEAD:
			return (size_t)(s.p - bytes);
		default:
			structure(&s);
		}
	}
	return n;
}
