/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON string, read in any cut: unescaped into a small buffer, or used in
 * place where it lies whole in the piece at hand and has no escapes.
 */
#ifndef WEIR_JSON_TEXT_H
#define WEIR_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "find.h"

#define WEIR_TEXT_BYTES 64 /* kept of a string */

/* Plain data, between the opening quote and the closing one. */
struct weir_string {
	uint16_t unit;	    /* code unit being read from its hex digits */
	uint16_t surrogate; /* high one that waits for its pair, or 0 */
	uint8_t escaping;   /* 0: outside of an escape */
	uint8_t cut;	    /* bytes does not hold the whole: too long, or not valid from there */
	uint8_t len;
	uint8_t pad;
	char bytes[WEIR_TEXT_BYTES];
};
_Static_assert(sizeof(struct weir_string) == 72, "weir_string");

/* The opening quote was read. */
static inline void weir_string_start(struct weir_string *t)
{
	t->surrogate = 0;
	t->escaping = 0;
	t->cut = 0;
	t->len = 0;
}

/* What weir_string_read does when the string is cut or has escapes. */
bool weir_string_read_on(struct weir_string *t, const uint8_t **p, const uint8_t *end,
			 const char **text, size_t *len);

/* On from *p, which moves. True once the closing quote is taken: *text and *len
 * are what the string held (UTF-8 unchecked), in t or in the piece itself, where
 * it may be longer than WEIR_TEXT_BYTES. With t->cut they are its start only. */
WEIR_FIND_INLINE bool weir_string_read(struct weir_string *t, const uint8_t **p, const uint8_t *end,
				       const char **text, size_t *len)
{
	if (!(t->len | t->cut | t->escaping)) {
		const uint8_t *quote = weir_find(*p, end, WEIR_FIND_STRING_END);

		if (quote < end && *quote == '"') {
			*text = (const char *)*p;
			*len = (size_t)(quote - *p);
			*p = quote + 1;
			return true;
		}
	}
	return weir_string_read_on(t, p, end, text, len);
}

/* On through a string that nobody wants. True once the closing quote is taken. */
WEIR_FIND_INLINE bool weir_string_skip(struct weir_string *t, const uint8_t **p, const uint8_t *end)
{
	while (*p < end) {
		if (t->escaping) { /* of \u only the u matters: hex digits close nothing */
			t->escaping = 0;
			++*p;
			continue;
		}
		*p = weir_find(*p, end, WEIR_FIND_STRING_END);
		if (*p == end)
			return false;
		if (*(*p)++ == '"')
			return true;
		t->escaping = 1;
	}
	return false;
}

#endif
