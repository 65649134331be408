// SPDX-License-Identifier: Apache-2.0
/*
 * A quote behind a comma or an opening brace. It is not escaped, for no backslash is before it; so
 * it begins a key, or it ends a string that ends in a comma or a brace. In the latter case what
 * looks like the key is the structure up to the next string, and its end begins that one: it must
 * not be lost, and is looked at as a beginning in its turn.
 */
#include "json_tail.h"

#include <string.h>

enum phase { OUTSIDE, IN_KEY, BEHIND_KEY };

static bool blank(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool may_open(uint8_t last)
{
	return last == ',' || last == '{';
}

/* One byte inside what may be a key. */
static void in_key(struct weir_json_tail *t, struct weir_string *text, const uint8_t *byte)
{
	const uint8_t *p = byte;
	const char *key;
	size_t len;

	if (!weir_string_read_on(text, &p, byte + 1, &key, &len))
		return;
	t->again = may_open(t->last);
	t->gap = 0;
	t->phase = BEHIND_KEY;
}

/* It was none, for no colon follows. */
static void no_key(struct weir_json_tail *t, struct weir_string *text)
{
	t->phase = t->again ? IN_KEY : OUTSIDE;
	if (!t->again)
		return;
	weir_string_start(text);
	text->cut = t->gap; /* what begins with a blank is no key of ours */
}

bool weir_json_tail_next(struct weir_json_tail *t, struct weir_string *text, const uint8_t **p,
			 const uint8_t *end)
{
	while (*p < end) {
		uint8_t c = **p;

		if (t->phase == BEHIND_KEY && !blank(c)) {
			if (c == ':') {
				++*p;
				memset(t, 0, sizeof(*t));
				return true;
			}
			no_key(t, text);
		}
		switch (t->phase) {
		case OUTSIDE:
			if (c == '"' && may_open(t->last)) {
				weir_string_start(text);
				t->phase = IN_KEY;
			}
			break;
		case IN_KEY:
			in_key(t, text, *p);
			break;
		default:
			t->gap = 1;
		}
		if (!blank(c))
			t->last = c;
		++*p;
	}
	return false;
}
