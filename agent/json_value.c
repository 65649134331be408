// SPDX-License-Identifier: Apache-2.0
/*
 * Values that are no strings: numbers that are wanted, scalars that are not, and containers that
 * nobody descends into. A level of these costs a bit, which is there so that "[}" cannot lift what
 * follows to a place where it would be taken for something else.
 */
#include "json_scan_priv.h"

/* ------------------------------------------------------------ numbers */

static void number_end(struct cursor *s)
{
	struct weir_scan *j = s->j;
	struct weir_scan_found f = { .event = WEIR_SCAN_IS_NUMBER, .number = (int64_t)j->number };

	if (!ends_scalar(*s->p)) {
		j->state = DEAD;
		return;
	}
	if ((j->flags & NUMBER_DIGITS) && !(j->flags & NUMBER_BAD) && j->number <= INT64_MAX)
		s->s->found(s->ctx, j->node, &f);
	to_next_key(s);
}

/* A number that is wanted. 12.0 is 12; a sign, an exponent or a true fraction is no count. */
void weir_scan_number(struct cursor *s)
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
			if ((j->flags & NUMBER_DIGITS) && !j->number)
				j->flags |= NUMBER_BAD; /* 012 */
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

void weir_scan_skip_scalar(struct cursor *s)
{
	s->p = scalar_end(s->p, s->end);
	if (s->p == s->end)
		return;
	if (ends_scalar(*s->p))
		to_next_key(s);
	else
		s->j->state = DEAD;
}

/* ------------------------------------------------------------ containers */

void weir_scan_nest(struct weir_scan *j, bool array)
{
	if (j->nested == WEIR_SCAN_NESTED) {
		j->flags = TOO_DEEP;
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
static void skip_nested(struct cursor *s)
{
	struct weir_scan *j = s->j;

	if (j->state == NESTED_STRING) {
		if (!weir_string_skip(&j->text, &s->p, s->end))
			return;
		j->state = NESTED;
	}
	while (j->state == NESTED) {
		uint8_t c;

		s->p = weir_find(s->p, s->end, WEIR_FIND_NESTING);
		if (s->p == s->end)
			return;
		c = *s->p++;
		if (c == '"') {
			weir_string_start(&j->text);
			if (!weir_string_skip(&j->text, &s->p, s->end)) {
				j->state = NESTED_STRING;
				return;
			}
		} else if (c == '{' || c == '[') {
			weir_scan_nest(j, c == '[');
		} else if ((c == ']') != (j->nested_arrays >> (j->nested - 1) & 1)) {
			j->state = DEAD;
		} else if (!--j->nested) {
			j->state = NEXT;
		}
	}
	if (j->state == DEAD)
		s->p--;
}

void weir_scan_nested(struct cursor *s)
{
	const uint8_t *from = s->p;
	uint8_t node = s->j->node;

	skip_nested(s);
	if (s->s->want[node] == WEIR_SCAN_BYTES)
		report_bytes(s, node, (size_t)(s->p - from));
}
