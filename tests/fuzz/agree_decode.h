/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: in any cut, a compressed body (agent/decode.c) is what the libraries make of all of it at
 * once: the same bytes, and whole or not. Of one that is not, nothing is handed on that is not in
 * it.
 */
#ifndef WEIR_AGREE_DECODE_H
#define WEIR_AGREE_DECODE_H

#include <errno.h>

#include "make_coded.h"
#include "ref_decode.h"

static inline void decode_put(void *ctx, const uint8_t *bytes, size_t n)
{
	CHECK(n && n <= 16384);
	put(ctx, bytes, n);
}

/* 0 and whole or not, or what went wrong. */
static inline int decode_cut(struct weir_decoders *d, enum weir_body_coding coding,
			     const uint8_t *p, size_t n, struct cut cut, struct bytes *out,
			     bool *whole)
{
	uint64_t ticket = weir_decoder_open(d, coding);
	int r = 0;

	CHECK(ticket);
	for (size_t at = 0, take; at < n && !r; at += take) {
		uint8_t *piece;

		take = cut_next(&cut, n - at);
		piece = own_copy(p + at, take);
		r = weir_decode(d, ticket, piece, take, decode_put, out);
		free(piece);
	}
	CHECK(!r || r == -EBADMSG || r == -EFBIG);
	if (r)
		CHECK(weir_decode(d, ticket, p, 1, decode_put, out) == -ESTALE);
	*whole = weir_decoder_close(d, ticket) && !r;
	return r;
}

/* `hurt`: of a frame that no encoder made zstd's one call believes more than its stream does, such
 * as a block that is longer than the window. */
static inline void decode_agrees(enum weir_body_coding coding, const uint8_t *p, size_t n,
				 bool hurt)
{
	static struct weir_decoders *d;
	struct bytes expected = { 0 };
	bool too_wide, good = ref_decode(coding, p, n, &expected, &too_wide);

	if (!d) {
		struct weir_error err;

		CHECK(!weir_decoders_new(64 << 20, &d, &err));
	}
	for (size_t i = 0; i < CUTS; i++) {
		struct bytes got = { 0 };
		bool whole;
		int r = decode_cut(d, coding, p, n, (struct cut){ seed_of(p, n), cut_longest[i] },
				   &got, &whole);

		if (r != -EFBIG && got.n < REF_DECODED_MAX && !too_wide) {
			AGREE(p, n, whole == good || (hurt && good && coding == WEIR_BODY_ZSTD));
			AGREE(p, n, !whole || bytes_same(&got, &expected));
			/* zlib tells how far it came; zstd's one call does not */
			if (coding != WEIR_BODY_ZSTD)
				AGREE(p, n, got.n <= expected.n);
			if (coding != WEIR_BODY_ZSTD && got.n)
				AGREE(p, n, !memcmp(got.p, expected.p, got.n));
		}
		bytes_free(&got);
	}
	bytes_free(&expected);
}

/* Input: the coding and how it is done, then the text; or (bit 7) the compressed body. */
static inline void decode_claim(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "gzip", "deflate", "zstd" };
	struct input in = { data, data + size };
	struct bytes b = { 0 }, text = { 0 };
	uint8_t how = take(&in, 1);
	bool hurts = how & 128;
	const char *name = names[how % 3];

	put(&b, "", 0);
	if (how & 128) {
		put_rest(&b, &in);
	} else {
		size_t times = 1 + choose(&in, 64), n;
		struct input hurting = in;

		for (n = input_left(&in); times-- && text.n < 20000;)
			put(&text, in.p, n);
		hurts = choose(&in, 2);
		in.p = data;
		put_coded(&b, &in, name, text.p, text.n);
		if (hurts)
			hurt(&b, &hurting);
	}
	decode_agrees(weir_body_coding_of(name, strlen(name)), b.p, b.n, hurts);
	bytes_free(&text);
	bytes_free(&b);
}

#endif
