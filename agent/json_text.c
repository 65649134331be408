// SPDX-License-Identifier: Apache-2.0
/*
 * JSON strings with escapes, or in pieces (RFC 8259 7). What is not a valid
 * escape ends what is kept, not the string: where the string closes is decided
 * by quotes and backslashes alone, here as in weir_string_skip.
 */
#include "json_text.h"

#include <string.h>

enum escaping { PLAIN, BACKSLASH, HEX4, HEX3, HEX2, HEX1, PAIR_BACKSLASH, PAIR_U };

static void keep(struct weir_string *t, const void *bytes, size_t n)
{
	size_t room = sizeof(t->bytes) - t->len;

	if (t->cut)
		return;
	if (n > room) {
		t->cut = 1;
		n = room;
	}
	memcpy(t->bytes + t->len, bytes, n);
	t->len += n;
}

static void keep_code_point(struct weir_string *t, uint32_t c)
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
	keep(t, utf8, n);
}

/* Four hex digits are read: a code point, or half of one. */
static void code_unit(struct weir_string *t)
{
	uint16_t c = t->unit;

	t->escaping = PLAIN;
	if (t->surrogate) {
		if (c >= 0xdc00 && c <= 0xdfff)
			keep_code_point(t,
					0x10000 + ((t->surrogate - 0xd800u) << 10) + (c - 0xdc00u));
		else
			t->cut = 1;
		t->surrogate = 0;
	} else if (c >= 0xd800 && c <= 0xdbff) {
		t->surrogate = c;
		t->escaping = PAIR_BACKSLASH;
	} else if (c >= 0xdc00 && c <= 0xdfff) {
		t->cut = 1; /* a low half alone means nothing */
	} else {
		keep_code_point(t, c);
	}
}

/* One byte inside an escape; false: it is not part of it and is to be read again. */
static bool escape(struct weir_string *t, uint8_t c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	uint8_t digit;

	switch (t->escaping) {
	case BACKSLASH:
		t->escaping = PLAIN;
		if (c == 'u') {
			t->unit = 0;
			t->escaping = HEX4;
		} else if (c && (at = strchr(from, c))) {
			keep(t, &to[at - from], 1);
		} else {
			t->cut = 1;
		}
		return true;
	case PAIR_BACKSLASH:
	case PAIR_U:
		if (c == (t->escaping == PAIR_U ? 'u' : '\\')) {
			t->unit = 0;
			t->escaping = t->escaping == PAIR_U ? HEX4 : PAIR_U;
			return true;
		}
		t->cut = 1; /* a high half alone; "\x" after it is an escape like any */
		t->surrogate = 0;
		t->escaping = t->escaping == PAIR_U ? BACKSLASH : PLAIN;
		return false;
	default:
		digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')) {
			t->unit = t->unit << 4 | digit;
			if (t->escaping++ == HEX1)
				code_unit(t);
			return true;
		}
		t->cut = 1;
		t->surrogate = 0;
		t->escaping = PLAIN;
		return false;
	}
}

bool weir_string_read_on(struct weir_string *t, const uint8_t **p, const uint8_t *end,
			 const char **text, size_t *len)
{
	while (*p < end) {
		const uint8_t *from = *p;

		if (t->escaping) {
			if (escape(t, *from))
				++*p;
			continue;
		}
		*p = weir_find(from, end, WEIR_FIND_STRING_END);
		keep(t, from, (size_t)(*p - from));
		if (*p == end)
			return false;
		if (*(*p)++ == '"') {
			*text = t->bytes;
			*len = t->len;
			return true;
		}
		t->escaping = BACKSLASH;
	}
	return false;
}
