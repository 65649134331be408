// SPDX-License-Identifier: Apache-2.0
/*
 * zlib and libzstd, by their stable interfaces, and what these leave to their caller: members that
 * follow one another, which deflate it is, growth without end, formats that nobody asked for.
 */
#include "coded.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define ZSTD_WINDOW_LOG 23 /* RFC 9659: senders must not use more than 8 MiB */
#define ZLIB_BLOCK	(10 * 1024 + 32768)

/* Where a run of next() hands its bytes. */
struct out {
	uint8_t *room;
	weir_decoded_fn fn;
	void *ctx;
};

/* ------------------------------------------------------------------------ zlib */

/*
 * What inflate takes, 7 KiB and a window of 32, as one block from the start: blocks of one size
 * leave no holes that fit nobody.
 */
static void *z_alloc(void *opaque, unsigned n, unsigned size)
{
	size_t bytes = ((size_t)n * size + 63) & ~(size_t)63;
	struct weir_coded *c = opaque;
	void *p;

	if (bytes <= ZLIB_BLOCK - c->block_used) {
		p = c->block + c->block_used;
		c->block_used += bytes;
		return p;
	}
	p = malloc(bytes); /* another zlib than those we know */
	c->bytes += malloc_usable_size(p);
	return p;
}

static void z_free(void *opaque, void *p)
{
	struct weir_coded *c = opaque;

	if ((uint8_t *)p >= c->block && (uint8_t *)p < c->block + ZLIB_BLOCK)
		return;
	c->bytes -= malloc_usable_size(p);
	free(p);
}

static int z_init(struct weir_coded *c)
{
	/* 15: windows up to 32 KiB; + 16: of gzip; negative: bare deflate. */
	int window = c->coding == WEIR_BODY_GZIP ? 15 + 16 : -15;

	c->block = malloc(ZLIB_BLOCK);
	if (!c->block)
		return -ENOMEM;
	c->bytes = ZLIB_BLOCK;
	c->z.zalloc = z_alloc;
	c->z.zfree = z_free;
	c->z.opaque = c;
	if (inflateInit2(&c->z, window) == Z_OK)
		return 0;
	free(c->block);
	return -ENOMEM;
}

static void z_end(struct weir_coded *c)
{
	inflateEnd(&c->z);
	free(c->block);
}

static int emit(struct weir_coded *c, const struct out *out, size_t n)
{
	if (!n)
		return 0;
	c->out += n;
	if (c->out > WEIR_DECODED_FREE && c->out / WEIR_DECODED_RATIO > c->in)
		return -EFBIG;
	out->fn(out->ctx, out->room, n);
	return 0;
}

static int z_next(struct weir_coded *c, const uint8_t *bytes, size_t n, const struct out *out)
{
	bool full = false; /* the room was: there may be more without more input */

	c->z.next_in = (uint8_t *)bytes;
	c->z.avail_in = n;
	while (c->z.avail_in || full) {
		int z, r;

		if (c->ended) {
			if (c->coding != WEIR_BODY_GZIP)
				return -EBADMSG;
			inflateReset(&c->z);
			c->ended = false;
		}
		c->z.next_out = out->room;
		c->z.avail_out = WEIR_CODED_PIECE;
		z = inflate(&c->z, Z_NO_FLUSH);
		if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
			return -EBADMSG; /* a preset dictionary is none that we have */
		c->ended = z == Z_STREAM_END;
		full = !c->z.avail_out && !c->ended;
		r = emit(c, out, WEIR_CODED_PIECE - c->z.avail_out);
		if (r)
			return r;
		if (z == Z_BUF_ERROR) /* nothing more to be had of what came */
			break;
	}
	return 0;
}

/* RFC 1950 2.2: deflate with a window of 32 KiB at most, and a check of both bytes. A bare block
 * begins like that only if it is a stored one with padding that no encoder writes. */
static bool is_zlib_header(uint8_t cmf, uint8_t flg)
{
	return (cmf & 15) == 8 && cmf >> 4 <= 7 && (cmf << 8 | flg) % 31 == 0;
}

static int deflate_next(struct weir_coded *c, const uint8_t *bytes, size_t n, const struct out *out)
{
	int r;

	if (!c->firsts) {
		c->first = *bytes++;
		n--;
		c->firsts = 1;
	}
	if (c->firsts == 1) {
		if (!n)
			return 0;
		if (is_zlib_header(c->first, *bytes))
			inflateReset2(&c->z, 15);
		c->firsts = 2;
		r = z_next(c, &c->first, 1, out);
		if (r)
			return r;
	}
	return z_next(c, bytes, n, out);
}

/* ------------------------------------------------------------------------ zstd */

static int zstd_init(struct weir_coded *c)
{
	c->zstd = ZSTD_createDStream();
	if (!c->zstd)
		return -ENOMEM;
	if (ZSTD_isError(ZSTD_DCtx_setParameter(c->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG))) {
		ZSTD_freeDStream(c->zstd);
		return -EINVAL;
	}
	c->bytes = ZSTD_sizeof_DStream(c->zstd);
	return 0;
}

/* A library may be built to read what zstd was before RFC 8878, by decoders that heed no limit of
 * ours: none but its frames, and those to be passed over, get to it. */
static bool zstd_magic(struct weir_coded *c, const uint8_t *p, size_t n)
{
	static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd };
	static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18 };

	for (; n && c->magic < sizeof(frame); p++, n--, c->magic++) {
		if (!c->magic)
			c->skippable = (*p & 0xf0) == skippable[0];
		if (!c->magic && c->skippable)
			continue;
		if (*p != (c->skippable ? skippable : frame)[c->magic])
			return false;
	}
	return true;
}

static int zstd_next(struct weir_coded *c, const uint8_t *bytes, size_t n, const struct out *out)
{
	ZSTD_inBuffer in = { .src = bytes, .size = n };
	bool full = false;

	while (in.pos < in.size || full) {
		ZSTD_outBuffer o = { .dst = out->room, .size = WEIR_CODED_PIECE };
		size_t z;
		int r;

		if (!zstd_magic(c, bytes + in.pos, in.size - in.pos))
			return -EBADMSG;
		z = ZSTD_decompressStream(c->zstd, &o, &in);
		if (ZSTD_isError(z))
			return -EBADMSG;
		c->ended = !z;
		if (c->ended)
			c->magic =
				0; /* it stops there, and begins another frame when asked again */
		full = o.pos == o.size && !c->ended;
		r = emit(c, out, o.pos);
		if (r)
			return r;
	}
	return 0;
}

/* ------------------------------------------------------------------------ either */

int weir_coded_init(struct weir_coded *c, enum weir_body_coding coding)
{
	memset(c, 0, sizeof(*c));
	c->coding = coding;
	switch (coding) {
	case WEIR_BODY_GZIP:
	case WEIR_BODY_DEFLATE:
		return z_init(c);
	case WEIR_BODY_ZSTD:
		return zstd_init(c);
	default:
		return -EINVAL;
	}
}

void weir_coded_end(struct weir_coded *c)
{
	if (c->coding == WEIR_BODY_ZSTD)
		ZSTD_freeDStream(c->zstd);
	else
		z_end(c);
}

int weir_coded_next(struct weir_coded *c, const uint8_t *bytes, size_t n, uint8_t *room,
		    weir_decoded_fn fn, void *ctx)
{
	struct out out = { .room = room, .fn = fn, .ctx = ctx };

	if (!n)
		return 0;
	if (n > UINT32_MAX) /* more than zlib counts: no record is */
		return -EFBIG;
	c->in += n;
	switch (c->coding) {
	case WEIR_BODY_GZIP:
		return z_next(c, bytes, n, &out);
	case WEIR_BODY_DEFLATE:
		return deflate_next(c, bytes, n, &out);
	default:
		return zstd_next(c, bytes, n, &out);
	}
}

bool weir_coded_whole(const struct weir_coded *c)
{
	return c->ended || !c->in;
}

size_t weir_coded_bytes(const struct weir_coded *c)
{
	size_t whole;

	if (c->coding != WEIR_BODY_ZSTD)
		return c->bytes;
	/* It allocates the window that the frame names, but what was not written to is not there.
	 */
	whole = ZSTD_sizeof_DStream(c->zstd) - c->bytes;
	return c->bytes + (whole < c->in + c->out ? whole : c->in + c->out);
}
