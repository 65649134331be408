/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed bodies, with an input's decisions: members, frames, levels, flushes. */
#ifndef WEIR_MAKE_CODED_H
#define WEIR_MAKE_CODED_H

#include <zlib.h>
#include <zstd.h>

#include "bytes.h"

/* window_bits: as of deflateInit2. */
static inline void put_deflated(struct bytes *b, struct input *in, const uint8_t *p, size_t n,
				int window_bits)
{
	static const int strategies[] = { Z_DEFAULT_STRATEGY, Z_FIXED, Z_HUFFMAN_ONLY, Z_RLE };
	gz_header header = { .name = (Bytef *)"usage.json", .hcrc = 1 };
	size_t room = 2 * n + 1024;
	uint8_t *out = malloc(room), how = take(in, 1);
	z_stream z = { .next_in = (uint8_t *)p, .next_out = out, .avail_out = room };

	CHECK(out);
	CHECK(deflateInit2(&z, how % 10, Z_DEFLATED, window_bits, 1 + how % 9,
			   strategies[how % 4]) == Z_OK);
	if (window_bits > 15 && how & 64)
		CHECK(deflateSetHeader(&z, &header) == Z_OK);
	if (how & 128) { /* as a server that flushes in mid-stream */
		z.avail_in = n / 2;
		CHECK(deflate(&z, Z_SYNC_FLUSH) == Z_OK);
	}
	z.avail_in = n - z.total_in;
	CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	put(b, out, z.total_out);
	deflateEnd(&z);
	free(out);
}

static inline void put_zstd(struct bytes *b, struct input *in, const uint8_t *p, size_t n)
{
	static ZSTD_CCtx *c;
	size_t room = ZSTD_compressBound(n), len;
	uint8_t *out = malloc(room), how = take(in, 1);

	if (!c)
		c = ZSTD_createCCtx();
	CHECK(out && c);
	ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, 1 + how % 4);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, how >> 4 & 1);
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, how >> 5 & 1);
	len = ZSTD_compress2(c, out, room, p, n);
	CHECK(!ZSTD_isError(len));
	put(b, out, len);
	free(out);
}

/* The text in that coding: "gzip", "deflate", "zstd"; in one part, or in two. */
static inline void put_coded(struct bytes *b, struct input *in, const char *coding,
			     const uint8_t *p, size_t n)
{
	size_t how = choose(in, 8), first = how & 1 ? n / 2 : n;

	if (*coding == 'd') {
		put_deflated(b, in, p, n, how & 2 ? -15 : 15);
		return;
	}
	if (*coding == 'z' && how & 4) /* a frame to be passed over */
		put(b, "\x52\x2a\x4d\x18\x03\0\0\0abc", 11);
	for (size_t at = 0; at < n || !at; at += first ? first : 1, first = n - at) {
		if (*coding == 'g')
			put_deflated(b, in, p + at, first, 15 + 16);
		else
			put_zstd(b, in, p + at, first);
	}
}

#endif
