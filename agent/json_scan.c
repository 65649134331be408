// SPDX-License-Identifier: Apache-2.0
/*
 * The JSON scanner: one state per kind of token, so that a cut may fall
 * anywhere. A token that lies whole in the piece at hand is used in place; only
 * one that is cut or has escapes goes through `text`.
 *
 * Each level descended into costs a byte of stack; levels of a container that
 * is skipped cost a bit, which is there so that "[}" cannot lift what follows
 * to a place where it would be taken for something else.
 */
#include "json_scan.h"

#include <stdbool.h>
#include <string.h>

#include "find.h"

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
	FILLED,	       /* at the first byte of one that is wanted if not empty */
	SKIP_STRING,
	NUMBER,	     /* in one that is wanted */
	SKIP_SCALAR, /* in a number or literal that is not */
	NESTED,	     /* in a container that is not */
	NESTED_STRING,
	DEAD,
};

enum flags {
	CUT = 1 << 0, /* text does not hold the whole string */
	NUMBER_BAD = 1 << 1,
	NUMBER_DIGITS = 1 << 2,
	NUMBER_FRACTION = 1 << 3,
};

enum escaping { PLAIN, BACKSLASH, HEX4, HEX3, HEX2, HEX1, PAIR_BACKSLASH, PAIR_U };

struct cursor {
	struct weir_scan *j;
	const struct weir_scan_schema *s;
	void *ctx;
	const uint8_t *p;
	const uint8_t *end;
};

void weir_scan_reset(struct weir_scan *j)
{
	j->state = DOCUMENT;
	j->depth = 0;
}

void weir_scan_kill(struct weir_scan *j)
{
	j->state = DEAD;
}

static inline bool blank(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void report(struct cursor *s, uint8_t node, enum weir_scan_event event)
{
	struct weir_scan_found f = { .event = event };

	s->s->found(s->ctx, node, &f);
}

/* ------------------------------------------------------------ strings */

static void keep(struct weir_scan *j, const void *bytes, size_t n)
{
	size_t room = sizeof(j->text) - j->len;

	if (j->flags & CUT)
		return;
	if (n > room) {
		j->flags |= CUT;
		n = room;
	}
	memcpy(j->text + j->len, bytes, n);
	j->len += n;
}

static void keep_code_point(struct weir_scan *j, uint32_t c)
{
	uint8_t utf8[4];
	size_t n = 0;

	if (c < 0x80) {
		utf8[n++] = c;
	} else {
		if (c < 0x800) {
			utf8[n++] = 0xc0 | c >> 6;
		} else {
			if (c < 0x10000) {
				utf8[n++] = 0xe0 | c >> 12;
			} else {
				utf8[n++] = 0xf0 | c >> 18;
				utf8[n++] = 0x80 | (c >> 12 & 0x3f);
			}
			utf8[n++] = 0x80 | (c >> 6 & 0x3f);
		}
		utf8[n++] = 0x80 | (c & 0x3f);
	}
	keep(j, utf8, n);
}

/* Four hex digits are read: a code point, or half of one. */
static void code_unit(struct weir_scan *j)
{
	uint16_t c = j->escape;

	j->escaping = PLAIN;
	if (j->surrogate) {
		if (c >= 0xdc00 && c <= 0xdfff)
			keep_code_point(j,
					0x10000 + ((j->surrogate - 0xd800u) << 10) + (c - 0xdc00u));
		else
			j->flags |= CUT;
		j->surrogate = 0;
	} else if (c >= 0xd800 && c <= 0xdbff) {
		j->surrogate = c;
		j->escaping = PAIR_BACKSLASH;
	} else if (c >= 0xdc00 && c <= 0xdfff) {
		j->flags |= CUT; /* a low half alone means nothing */
	} else {
		keep_code_point(j, c);
	}
}

/* One byte inside an escape; false: it is not part of it and is to be read again. */
static bool escape(struct weir_scan *j, uint8_t c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	uint8_t digit;

	switch (j->escaping) {
	case BACKSLASH:
		j->escaping = PLAIN;
		if (c == 'u') {
			j->escape = 0;
			j->escaping = HEX4;
		} else if (c && (at = strchr(from, c))) {
			keep(j, &to[at - from], 1);
		} else {
			j->flags |= CUT;
		}
		return true;
	case PAIR_BACKSLASH:
	case PAIR_U:
		if (c == (j->escaping == PAIR_U ? 'u' : '\\')) {
			j->escape = 0;
			j->escaping = j->escaping == PAIR_U ? HEX4 : PAIR_U;
			return true;
		}
		j->flags |= CUT; /* a high half alone; "\x" after it is an escape like any */
		j->surrogate = 0;
		j->escaping = j->escaping == PAIR_U ? BACKSLASH : PLAIN;
		return false;
	default:
		digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')) {
			j->escape = j->escape << 4 | digit;
			if (j->escaping++ == HEX1)
				code_unit(j);
			return true;
		}
		j->flags |= CUT;
		j->surrogate = 0;
		j->escaping = PLAIN;
		return false;
	}
}

static void string_start(struct weir_scan *j, enum state state)
{
	j->state = state;
	j->len = 0;
	j->flags = 0;
	j->escaping = PLAIN;
	j->surrogate = 0;
}

/* On with a string that is wanted. True once its closing quote is taken: then
 * text and len say what it held, in place if nothing stood against it. */
static bool string(struct cursor *s, const char **text, size_t *len)
{
	struct weir_scan *j = s->j;

	while (s->p < s->end) {
		const uint8_t *from = s->p;

		if (j->escaping) {
			if (escape(j, *from))
				s->p++;
			continue;
		}
		s->p = weir_find(from, s->end, WEIR_FIND_STRING_END);
		if (s->p < s->end && *s->p == '"' && !j->len && !(j->flags & CUT)) {
			*text = (const char *)from;
			*len = (size_t)(s->p++ - from);
			return true;
		}
		keep(j, from, (size_t)(s->p - from));
		if (s->p == s->end)
			return false;
		if (*s->p++ == '"') {
			*text = j->text;
			*len = j->len;
			return true;
		}
		j->escaping = BACKSLASH;
	}
	return false;
}

/* On to the end of a string that is not wanted. True once its quote is taken. */
static bool skip_string(struct cursor *s)
{
	while (s->p < s->end) {
		if (s->j->escaping) { /* of \u only the u matters: hex digits close nothing */
			s->j->escaping = PLAIN;
			s->p++;
			continue;
		}
		s->p = weir_find(s->p, s->end, WEIR_FIND_STRING_END);
		if (s->p == s->end)
			return false;
		if (*s->p++ == '"')
			return true;
		s->j->escaping = BACKSLASH;
	}
	return false;
}

/* ------------------------------------------------------------ numbers */

static void number_end(struct cursor *s)
{
	struct weir_scan *j = s->j;
	struct weir_scan_found f = { .event = WEIR_SCAN_IS_NUMBER, .number = (int64_t)j->number };

	j->state = NEXT;
	if ((j->flags & NUMBER_DIGITS) && !(j->flags & NUMBER_BAD) && j->number <= INT64_MAX)
		s->s->found(s->ctx, j->node, &f);
}

/* A number that is wanted. 12.0 is 12; a sign, an exponent or a true fraction is no count. */
static void number(struct cursor *s)
{
	struct weir_scan *j = s->j;

	for (; s->p < s->end; s->p++) {
		uint8_t c = *s->p;

		if (c >= '0' && c <= '9') {
			if (j->flags & NUMBER_FRACTION) {
				if (c != '0')
					j->flags |= NUMBER_BAD;
				continue;
			}
			j->flags |= NUMBER_DIGITS;
			if (__builtin_mul_overflow(j->number, 10, &j->number) ||
			    __builtin_add_overflow(j->number, c - '0', &j->number))
				j->flags |= NUMBER_BAD;
		} else if (c == '.' && !(j->flags & NUMBER_FRACTION)) {
			j->flags |= NUMBER_FRACTION;
		} else if (c == '.' || c == '-' || c == '+' || (c | 0x20) == 'e') {
			j->flags |= NUMBER_BAD;
		} else {
			number_end(s);
			return;
		}
	}
}

static void skip_scalar(struct cursor *s)
{
	for (; s->p < s->end; s->p++) {
		uint8_t c = *s->p;

		if (c == ',' || c == '}' || c == ']' || blank(c)) {
			s->j->state = NEXT;
			return;
		}
		if (c < '+' || c == ':' || c == '[' || c > 'z') {
			s->j->state = DEAD;
			return;
		}
	}
}

/* ------------------------------------------------------------ containers */

static void nest(struct weir_scan *j, bool array)
{
	if (j->nested == WEIR_SCAN_NESTED) {
		j->state = DEAD;
		return;
	}
	if (array)
		j->nested_arrays |= UINT64_C(1) << j->nested;
	else
		j->nested_arrays &= ~(UINT64_C(1) << j->nested);
	j->nested++;
}

/* A container that is not wanted, with all it holds. */
static void nested(struct cursor *s)
{
	struct weir_scan *j = s->j;

	while (j->state == NESTED) {
		uint8_t c;

		s->p = weir_find(s->p, s->end, WEIR_FIND_NESTING);
		if (s->p == s->end)
			return;
		c = *s->p++;
		if (c == '"') {
			j->escaping = PLAIN;
			if (!skip_string(s))
				j->state = NESTED_STRING;
		} else if (c == '{' || c == '[') {
			nest(j, c == '[');
		} else if ((c == ']') != (j->nested_arrays >> (j->nested - 1) & 1)) {
			j->state = DEAD;
		} else if (!--j->nested) {
			j->state = NEXT;
		}
	}
}

static void open_container(struct cursor *s, bool array)
{
	struct weir_scan *j = s->j;
	uint8_t want = s->s->want[j->node];

	if ((want & (array ? WEIR_SCAN_ARRAY : WEIR_SCAN_OBJECT)) && j->depth < WEIR_SCAN_DEPTH) {
		if (array)
			j->arrays |= 1u << j->depth;
		else
			j->arrays &= ~(1u << j->depth);
		j->stack[j->depth++] = j->node;
		j->state = array ? FIRST_ELEMENT : FIRST_KEY;
		return;
	}
	if (want & WEIR_SCAN_BEGIN)
		report(s, j->node, WEIR_SCAN_IS_BEGIN);
	j->nested = 0;
	j->state = NESTED;
	nest(j, array);
}

static inline bool in_array(const struct weir_scan *j)
{
	return j->arrays >> (j->depth - 1) & 1;
}

static void close_container(struct cursor *s, bool array)
{
	struct weir_scan *j = s->j;
	uint8_t node = j->stack[j->depth - 1];

	if (array != in_array(j)) {
		j->state = DEAD;
		return;
	}
	j->state = --j->depth ? NEXT : DOCUMENT;
	if (s->s->want[node] & WEIR_SCAN_END)
		report(s, node, WEIR_SCAN_IS_END);
}

/* ------------------------------------------------------------ tokens */

static void value(struct cursor *s, uint8_t c)
{
	struct weir_scan *j = s->j;
	uint8_t want = s->s->want[j->node];

	if (c == '"') {
		string_start(j, want & WEIR_SCAN_STRING	  ? STRING
				: want & WEIR_SCAN_FILLED ? FILLED
							  : SKIP_STRING);
		s->p++;
	} else if (c == '{' || c == '[') {
		s->p++;
		open_container(s, c == '[');
	} else if (c == '-' || (c >= '0' && c <= '9')) {
		j->state = want & WEIR_SCAN_NUMBER ? NUMBER : SKIP_SCALAR;
		j->number = 0;
		j->flags = 0;
	} else if (c == 'n' || c == 't' || c == 'f') {
		j->state = SKIP_SCALAR;
	} else {
		j->state = DEAD;
	}
}

/* After a value, inside a container. */
static void next(struct cursor *s, uint8_t c)
{
	struct weir_scan *j = s->j;

	s->p++;
	if (c == ',') {
		if (in_array(j)) {
			j->node = s->s->child(j->stack[j->depth - 1], NULL, 0);
			j->state = VALUE;
		} else {
			j->state = NEXT_KEY;
		}
	} else if (c == '}' || c == ']') {
		close_container(s, c == ']');
	} else {
		j->state = DEAD;
	}
}

static void key(struct cursor *s)
{
	struct weir_scan *j = s->j;
	const char *text;
	size_t len;

	if (!string(s, &text, &len))
		return;
	j->node = j->flags & CUT ? 0 : s->s->child(j->stack[j->depth - 1], text, len);
	j->state = COLON;
}

static void wanted_string(struct cursor *s)
{
	struct weir_scan_found f = { .event = WEIR_SCAN_IS_STRING };

	if (!string(s, &f.text, &f.len))
		return;
	s->j->state = NEXT;
	s->s->found(s->ctx, s->j->node, &f);
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
		j->node = 1;
		if (c == '{')
			value(s, c);
		else
			j->state = DEAD;
		break;
	case FIRST_KEY:
	case NEXT_KEY:
		s->p++;
		if (c == '"')
			string_start(j, KEY);
		else if (c == '}' && j->state == FIRST_KEY)
			close_container(s, false);
		else
			j->state = DEAD;
		break;
	case COLON:
		s->p++;
		j->state = c == ':' ? VALUE : DEAD;
		break;
	case FIRST_ELEMENT:
		if (c == ']') {
			s->p++;
			close_container(s, true);
			break;
		}
		j->node = s->s->child(j->stack[j->depth - 1], NULL, 0);
		value(s, c);
		break;
	case VALUE:
		value(s, c);
		break;
	default:
		next(s, c);
	}
}

void weir_scan_feed(struct weir_scan *j, const struct weir_scan_schema *schema, void *ctx,
		    const uint8_t *bytes, size_t n)
{
	struct cursor s = { .j = j, .s = schema, .ctx = ctx, .p = bytes, .end = bytes + n };

	while (s.p < s.end) {
		switch (j->state) {
		case KEY:
			key(&s);
			break;
		case STRING:
			wanted_string(&s);
			break;
		case FILLED:
			if (*s.p != '"')
				report(&s, j->node, WEIR_SCAN_IS_FILLED);
			j->state = SKIP_STRING;
			/* fall through */
		case SKIP_STRING:
			if (skip_string(&s))
				j->state = NEXT;
			break;
		case NUMBER:
			number(&s);
			break;
		case SKIP_SCALAR:
			skip_scalar(&s);
			break;
		case NESTED_STRING:
			if (skip_string(&s))
				j->state = NESTED;
			break;
		case NESTED:
			nested(&s);
			break;
		case DEAD:
			return;
		default:
			structure(&s);
		}
	}
}
