/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bytes of JSON, eight at a time: where a string's text ends, what may stand outside
 * strings, and which keys of a request are asked for. Pure functions; body.h moves.
 */
#ifndef WEIR_JSON_WORDS_H
#define WEIR_JSON_WORDS_H

#include "base.h"
#include "http_head.h" /* words and their constants */

enum weir_body_name { WEIR_BODY_NO_NAME, WEIR_BODY_NAME_TOKENS, WEIR_BODY_NAME_MODEL };

/* High bits of the bytes of w that are a quote or a backslash. The lowest is
 * right; above it there may be false ones. */
weir_inline weir_u64 weir_json_marks(weir_u64 w)
{
	weir_u64 quote = w ^ (WEIR_ONES * '"'), slash = w ^ (WEIR_ONES * '\\');

	return (((quote - WEIR_ONES) & ~quote) | ((slash - WEIR_ONES) & ~slash)) & WEIR_HIGHS;
}

/* As above, of the bytes that end a key or must not be in it. */
weir_inline weir_u64 weir_json_key_marks(weir_u64 w)
{
	return weir_json_marks(w) | (((w - WEIR_LOWER) | (w + WEIR_ONES)) & WEIR_HIGHS);
}

/* Index of the lowest mark, 8 if none. */
weir_inline weir_u32 weir_json_first(weir_u64 marks)
{
	if (!marks)
		return 8;
	marks &= -marks;
	return ((((marks >> 7) - 1) & WEIR_ONES) * WEIR_ONES) >> 56;
}

/* Are all eight a blank, a digit, or one of + , - . ? Long arrays of numbers are. */
weir_inline bool weir_json_figures(weir_u64 w)
{
	weir_u64 from_plus = w + WEIR_ONES * (0x80 - '+'), past_nine = w + WEIR_ONES * (0x7f - '9');
	weir_u64 no_slash = (w ^ (WEIR_ONES * '/')) + ~WEIR_HIGHS;
	weir_u64 no_blank = (w ^ WEIR_LOWER) + ~WEIR_HIGHS;

	return !(w & WEIR_HIGHS) &&
	       (((from_plus & ~past_nine & no_slash) | ~no_blank) & WEIR_HIGHS) == WEIR_HIGHS;
}

weir_inline bool weir_json_blank(weir_u32 c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* What a number or a literal is made of; every letter, since Python has NaN and Infinity. */
weir_inline bool weir_json_word(weir_u32 c)
{
	return c - '0' < 10 || (c | 0x20) - 'a' < 26 || c == '-' || c == '+' || c == '.';
}

/* How many bytes of w, from its first, are the character blank. */
weir_inline weir_u32 weir_json_spaces(weir_u64 w)
{
	weir_u64 x = w ^ WEIR_LOWER;

	return weir_json_first((((x & ~WEIR_HIGHS) + ~WEIR_HIGHS) | x) & WEIR_HIGHS);
}

/* Which key is it? Folding by 32 is exact: its bytes are 20 to 7e, and of those
 * only '_' becomes 7f. */
weir_inline weir_u32 weir_json_key_name(const weir_u8 *key, weir_u32 len)
{
	weir_u64 a = weir_load64(key) | WEIR_LOWER;
	weir_u64 b = weir_load64(key + 8) | WEIR_LOWER;
	weir_u64 c = weir_load64(key + 16) | WEIR_LOWER;

	switch (len) {
	case 5:
		if (a << 24 == WEIR_WORD(0, 0, 0, 'm', 'o', 'd', 'e', 'l'))
			return WEIR_BODY_NAME_MODEL;
		break;
	case 9: /* llama.cpp's own, which counts before the others there */
		if (a == WEIR_WORD('n', 0x7f, 'p', 'r', 'e', 'd', 'i', 'c') &&
		    b << 56 == WEIR_WORD(0, 0, 0, 0, 0, 0, 0, 't'))
			return WEIR_BODY_NAME_TOKENS;
		break;
	case 10:
		if (a == WEIR_WORD('m', 'a', 'x', 0x7f, 't', 'o', 'k', 'e') &&
		    b << 48 == WEIR_WORD(0, 0, 0, 0, 0, 0, 'n', 's'))
			return WEIR_BODY_NAME_TOKENS;
		break;
	case 17:
		if (a == WEIR_WORD('m', 'a', 'x', 0x7f, 'o', 'u', 't', 'p') &&
		    b == WEIR_WORD('u', 't', 0x7f, 't', 'o', 'k', 'e', 'n') &&
		    c << 56 == WEIR_WORD(0, 0, 0, 0, 0, 0, 0, 's'))
			return WEIR_BODY_NAME_TOKENS;
		break;
	case 21:
		if (a == WEIR_WORD('m', 'a', 'x', 0x7f, 'c', 'o', 'm', 'p') &&
		    b == WEIR_WORD('l', 'e', 't', 'i', 'o', 'n', 0x7f, 't') &&
		    c << 24 == WEIR_WORD(0, 0, 0, 'o', 'k', 'e', 'n', 's'))
			return WEIR_BODY_NAME_TOKENS;
		break;
	}
	return WEIR_BODY_NO_NAME;
}

#endif
