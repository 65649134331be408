/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON made of an input's decisions: any value, with the keys and texts of a list, or a shape with
 * places to be filled in.
 */
#ifndef WEIR_MAKE_JSON_H
#define WEIR_MAKE_JSON_H

#include "bytes.h"

struct make_words {
	const char *const *of;
	size_t n;
};

static inline void put_blanks(struct bytes *b, struct input *in)
{
	static const char *const blanks[] = { "", "", "", "", "", " ", "\n", "\r\n\t", "  " };

	put_text(b, PICK(in, blanks));
}

static inline void put_number(struct bytes *b, struct input *in)
{
	static const char *const odd[] = {
		"12.0",
		"0",
		"-1",
		"1e3",
		"0.5",
		"9223372036854775807",
		"9223372036854775808",
		"18446744073709551616",
		"1.",
		"007",
		"-0",
		"12.00000000000000000000000000",
		"1E+2",
		"340282366920938463463374607431768211457",
	};
	size_t how = choose(in, 24);

	if (how >= 24 - sizeof(odd) / sizeof(odd[0]) && choose(in, 2))
		put_text(b, odd[how - (24 - sizeof(odd) / sizeof(odd[0]))]);
	else
		put_format(b, "%llu",
			   (unsigned long long)(how & 1 ? take_scaled(in) : take(in, 2)));
}

/* What stands between quotes; `words`: texts that should not be taken for what they say. */
static inline void put_string_inside(struct bytes *b, struct input *in, struct make_words words)
{
	static const char *const pieces[] = {
		"",
		"a",
		"hello, world",
		"\\\"",
		"\\\\",
		"\\u0041",
		"\\ud83d\\ude00",
		"\\ud800",
		"\\n",
		"},{",
		"\\\",\\\"usage\\\":{",
		"]}",
		",",
		"{",
		"\\u00e9",
		"\xc3\xa9",
		"\xff",
		"\x01",
		"\\/",
		"\\x",
		"sixty-four bytes and more than that, which is longer than what is kept",
		": ",
		"[[",
	};
	size_t c;

	while ((c = take(in, 1) % 64))
		if (c < sizeof(pieces) / sizeof(pieces[0]))
			put_text(b, pieces[c]);
		else if (c < 40 && words.n)
			put_text(b, words.of[take(in, 1) % words.n]);
		else
			put_byte(b, (uint8_t)('a' + c % 26));
}

static inline void put_string(struct bytes *b, struct input *in, struct make_words words)
{
	put_byte(b, '"');
	put_string_inside(b, in, words);
	put_byte(b, '"');
}

/* A key: mostly of the list, now and then spelt with an escape, or with more behind it. */
static inline void put_key(struct bytes *b, struct input *in, struct make_words words)
{
	const char *word = words.of[take(in, 1) % words.n];
	size_t how = choose(in, 16);

	put_byte(b, '"');
	if (how == 14 && *word != '\\')
		put_format(b, "\\u%04x%s", (unsigned char)*word, *word ? word + 1 : "");
	else if (how == 15)
		put_string_inside(b, in, words);
	else
		put_text(b, word);
	if (how == 13)
		put_text(b, "_x");
	put_byte(b, '"');
	put_blanks(b, in);
	put_byte(b, ':');
	put_blanks(b, in);
}

static inline void put_json(struct bytes *b, struct input *in, struct make_words words,
			    unsigned depth)
{
	static const char *const scalars[] = { "null", "true", "false", "NaN", "-Infinity" };
	size_t what = choose(in, 16), n;

	if (!depth && what > 7)
		what %= 8;
	if (what < 2) {
		put_text(b, PICK(in, scalars));
	} else if (what < 5) {
		put_number(b, in);
	} else if (what < 8) {
		put_string(b, in, words);
	} else {
		put_byte(b, what < 13 ? '{' : '[');
		put_blanks(b, in);
		for (n = choose(in, 5); n--;) {
			if (what < 13)
				put_key(b, in, words);
			put_json(b, in, words, depth - 1);
			put_blanks(b, in);
			if (n)
				put_byte(b, ',');
			put_blanks(b, in);
		}
		put_byte(b, what < 13 ? '}' : ']');
	}
}

/*
 * A shape: its text, with '#' for a number, '$' for a count, '~' for a string with its quotes, '*'
 * for any value,
 * '@' for a few members (or nothing), and ' for ". Blanks come in between now and then.
 */
static inline void put_shape(struct bytes *b, struct input *in, const char *shape,
			     struct make_words words)
{
	for (; *shape; shape++) {
		switch (*shape) {
		case '#':
			put_number(b, in);
			break;
		case '$':
			put_format(b, "%u", (unsigned)take(in, 2));
			break;
		case '~':
			put_string(b, in, words);
			break;
		case '*':
			put_json(b, in, words, 4);
			break;
		case '@': /* members with a comma behind each */
			for (size_t n = choose(in, 8); n-- > 5;) {
				put_key(b, in, words);
				put_json(b, in, words, 3);
				put_byte(b, ',');
				put_blanks(b, in);
			}
			break;
		case '\'':
			put_byte(b, '"');
			break;
		case ',':
		case ':':
			put_byte(b, (uint8_t)*shape);
			put_blanks(b, in);
			break;
		default:
			put_byte(b, (uint8_t)*shape);
		}
	}
}

#endif
