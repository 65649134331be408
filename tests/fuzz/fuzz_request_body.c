// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile REC_BODY records: names cut anywhere, with any escapes. One claim: what is kept is
 * the name's characters one by one (RFC 8259 7, RFC 3629), up to the first that is none, a
 * control, or would not fit; and a record that says nothing takes nothing back.
 *
 * Input: two records, each a byte that says how long its name is, one that says how the rest
 * is meant, the tokens asked for, then the name.
 */
#include <stdbool.h>

#include "agent/request_body.h"
#include "fuzz.h"

struct name {
	const uint8_t *p, *end;
};

static int hex4(const uint8_t *p, const uint8_t *end)
{
	char digits[5] = { 0 };

	if (end - p < 4)
		return -1;
	memcpy(digits, p, 4);
	return strspn(digits, "0123456789abcdefABCDEF") == 4 ? (int)strtol(digits, NULL, 16) : -1;
}

/* An escape, n->p on its backslash: its code point, -1: none. */
static int32_t escaped(struct name *n)
{
	static const char spelt[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *at;
	int high, low;

	if (n->end - n->p < 2)
		return -1;
	n->p += 2;
	at = n->p[-1] ? strchr(spelt, n->p[-1]) : NULL;
	if (at)
		return meant[at - spelt];
	high = n->p[-1] == 'u' ? hex4(n->p, n->end) : -1;
	if (high < 0 || (high & 0xfc00) == 0xdc00)
		return -1;
	n->p += 4;
	if ((high & 0xfc00) != 0xd800)
		return high;
	if (n->end - n->p < 6 || n->p[0] != '\\' || n->p[1] != 'u')
		return -1;
	low = hex4(n->p + 2, n->end);
	n->p += 6;
	return (low & 0xfc00) == 0xdc00 && low > 0
		       ? 0x10000 + ((high & 0x3ff) * 1024) + (low & 0x3ff)
		       : -1;
}

/* The least code point of each length: a shorter form of it would do. */
static const int32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };

/* A character as it stands: its code point, -1: none. */
static int32_t raw(struct name *n)
{
	uint8_t first = *n->p++;
	size_t len = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : 4;
	int32_t c = len == 1 ? first : first & (0xff >> (len + 1));

	if (len == 4 && first >> 3 != 30)
		return -1;
	for (size_t i = 1; i < len; i++) {
		if (n->p == n->end || (*n->p & 0xc0) != 0x80)
			return -1;
		c = c * 64 + (*n->p++ & 0x3f);
	}
	return c >= least[len] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? c : -1;
}

static size_t put(int32_t c, char *out)
{
	static const uint8_t mark[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = len; i-- > 1; c /= 64)
		out[i] = (char)(0x80 + c % 64);
	out[0] = (char)(len == 1 ? c : mark[len] + c);
	return len;
}

static void read_slowly(const uint8_t *p, size_t size, char *out, size_t room)
{
	struct name n = { p, p + size };
	size_t used = 0;

	memset(out, 0, room);
	while (n.p < n.end && *n.p != '"') {
		int32_t c = *n.p == '\\' ? escaped(&n) : raw(&n);
		char utf8[4];
		size_t len;

		if (c < 0x20 || (c >= 0x7f && c < 0xa0))
			return;
		len = put(c, utf8);
		if (used + len > room - 1)
			return;
		memcpy(out + used, utf8, len);
		used += len;
	}
}

/* Bytes below 32 stand for what comes up seldom by chance: the first and the last code point
 * of each kind, in each spelling. */
static size_t spell(struct input *in, char *text, size_t room)
{
	static const char *const pieces[32] = {
		"\\u0041",
		"\\ud800",
		"\\udbff",
		"\\udc00",
		"\\uDFFF",
		"\\u007f",
		"\\u00a0",
		"\\u07ff",
		"\\u0800",
		"\\uffff",
		"\\ud83d\\ude00",
		"\xc1\xbf",
		"\xc2\x80",
		"\xc2\xa0",
		"\xdf\xbf",
		"\xe0\x9f\xbf",
		"\xe0\xa0\x80",
		"\xed\x9f\xbf",
		"\xed\xa0\x80",
		"\xee\x80\x80",
		"\xef\xbf\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xf0\x90\x80\x80",
		"\xf4\x8f\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\\",
		"\\u",
		"\\/",
		"\\n",
		"llama-3.3-",
		"0123456789012345678901234567890",
		"\xf5\x80\x80\x80",
	};
	size_t n = 0;

	while (n < room && input_left(in)) {
		uint8_t c = take(in, 1);
		char one[2] = { (char)c, 0 };
		const char *piece = c < 32 ? pieces[c] : one;
		size_t len = strlen(piece) < room - n ? strlen(piece) : room - n;

		memcpy(text + n, piece, len);
		n += len;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	struct weir_body b;
	char expected[sizeof(b.model)] = { 0 }, name[sizeof(b.model)];
	int64_t tokens = WEIR_UNKNOWN;
	uint32_t flags = 0;

	weir_body_init(&b);
	for (int i = 0; i < 2; i++) {
		struct weir_rec_body *rec = calloc(1, sizeof(*rec));
		uint8_t len = take(&in, 1), said = take(&in, 1);

		CHECK(rec);
		rec->max_tokens = said & 1 ? UINT64_MAX : take_scaled(&in);
		rec->flags = said >> 4;
		/* longer than the field: the kernel's word is not taken for it */
		rec->model_len = said & 2 ? 0xffffff00u + len : len % (WEIR_MODEL_BYTES + 4);
		len = rec->model_len < WEIR_MODEL_BYTES ? rec->model_len : WEIR_MODEL_BYTES;
		if (said & 4)
			spell(&in, rec->model, len);
		for (size_t k = 0; !(said & 4) && k < len; k++)
			rec->model[k] = (char)take(&in, 1);
		read_slowly((const uint8_t *)rec->model, len, name, sizeof(name));
		if (*name)
			memcpy(expected, name, sizeof(name));
		if (rec->max_tokens != UINT64_MAX)
			tokens = rec->max_tokens >> 63 ? INT64_MAX : (int64_t)rec->max_tokens;
		flags |= rec->flags;
		weir_body_fold(&b, rec);
		free(rec);
		CHECK(!memcmp(b.model, expected, sizeof(expected)));
		CHECK(b.max_tokens == tokens);
		CHECK(b.flags == flags);
	}
	return 0;
}
