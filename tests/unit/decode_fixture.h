/* SPDX-License-Identifier: Apache-2.0 */
/* Encoders of every compressed form that servers send, and somewhere for the text to come back to.
 */
#ifndef WEIR_DECODE_FIXTURE_H
#define WEIR_DECODE_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <zlib.h>
#include <zstd.h>

#include "agent/decode.h"

#define POOL (16u << 20)

static inline struct weir_decoders *pool(size_t bytes)
{
	struct weir_decoders *d;
	struct weir_error err;

	assert_int_equal(weir_decoders_new(bytes, &d, &err), 0);
	return d;
}

static inline struct weir_decoders_stats stats(const struct weir_decoders *d)
{
	struct weir_decoders_stats s;

	weir_decoders_stats(d, &s);
	return s;
}

struct bytes {
	uint8_t *p;
	size_t n;
	size_t flushed; /* bytes that the first flush had made of them */
};

/* 15 + 16: gzip; 15: zlib; -15: bare. flush: after so many bytes, as a server that streams does. */
static inline struct bytes deflated(const void *text, size_t n, int window, int level, size_t flush)
{
	z_stream z = { 0 };
	struct bytes b;
	size_t at = 0;
	int r;

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
	b.n = n + n / 2 + 1024;
	b.p = malloc(b.n);
	assert_non_null(b.p);
	z.next_out = b.p;
	z.avail_out = b.n;
	do {
		size_t piece = flush && n - at > flush ? flush : n - at;

		z.next_in = (uint8_t *)text + at;
		z.avail_in = piece;
		at += piece;
		r = deflate(&z, at == n ? Z_FINISH : Z_SYNC_FLUSH);
		if (at == piece)
			b.flushed = b.n - z.avail_out;
	} while (at < n);
	assert_int_equal(r, Z_STREAM_END);
	b.n -= z.avail_out;
	deflateEnd(&z);
	return b;
}

/* Its size is in the frame's head only where window is 0; 2^window otherwise. */
static inline struct bytes zstd(const void *text, size_t n, int window, size_t flush)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();
	struct bytes b = { .n = n + n / 2 + 1024 };
	ZSTD_outBuffer out;
	size_t at = 0, r;

	assert_non_null(z);
	b.p = malloc(b.n);
	assert_non_null(b.p);
	out = (ZSTD_outBuffer){ .dst = b.p, .size = b.n };
	ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
	if (window)
		ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window);
	else
		ZSTD_CCtx_setPledgedSrcSize(z, n);
	do {
		size_t piece = flush && n - at > flush ? flush : n - at;
		ZSTD_inBuffer in = { .src = (const char *)text + at, .size = piece };

		at += piece;
		r = ZSTD_compressStream2(z, &out, &in, at == n ? ZSTD_e_end : ZSTD_e_flush);
		assert_false(ZSTD_isError(r));
		assert_int_equal(in.pos, in.size);
		if (at == piece)
			b.flushed = out.pos;
	} while (at < n);
	assert_int_equal(r, 0);
	b.n = out.pos;
	ZSTD_freeCCtx(z);
	return b;
}

static inline struct bytes joined(struct bytes a, struct bytes b)
{
	a.p = realloc(a.p, a.n + b.n);
	assert_non_null(a.p);
	memcpy(a.p + a.n, b.p, b.n);
	a.n += b.n;
	free(b.p);
	return a;
}

static uint32_t seed = 1;
static inline uint32_t rnd(void)
{
	return seed = seed * 1664525 + 1013904223;
}

/* Text such as a chat stream's: compressible, not trivially. */
static inline char *chat(size_t n)
{
	char *text = malloc(n + 128);
	size_t at = 0;

	assert_non_null(text);
	while (at < n)
		at += snprintf(text + at, 128,
			       "data: {\"id\":\"chatcmpl-7\",\"choices\":[{\"delta\":"
			       "{\"content\":\" %u\"}}]}\n\n",
			       rnd() >> 20);
	return text;
}

struct sink {
	const uint8_t *want;
	size_t n, at;
	bool differs;
};

static inline void sink(void *ctx, const uint8_t *bytes, size_t n)
{
	struct sink *s = ctx;

	assert_true(n > 0 && n <= 16384);
	if (s->want && (s->at + n > s->n || memcmp(s->want + s->at, bytes, n)))
		s->differs = true;
	s->at += n;
}

/* In pieces that end where cut says: at a and b, or every `every` bytes. The input is copied, so
 * that reading past its end is seen. */
static inline int decode_pieces(struct weir_decoders *d, uint64_t t, struct bytes b, size_t from,
				size_t every, struct sink *s)
{
	size_t at = 0;
	int r = 0;

	while (!r && at < b.n) {
		size_t n = at < from ? from - at : every;
		uint8_t *copy;

		if (n > b.n - at)
			n = b.n - at;
		copy = malloc(n);
		assert_non_null(copy);
		memcpy(copy, b.p + at, n);
		r = weir_decode(d, t, copy, n, sink, s);
		free(copy);
		at += n;
	}
	return r;
}

#endif
