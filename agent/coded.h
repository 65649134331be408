/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One compressed body, undone as it comes, in any cut: gzip (members one after another), deflate as
 * servers mean it (RFC 9110 says zlib's, some send it bare), zstd (frames one after another,
 * windows up to 8 MiB: RFC 9659). Every byte is hostile: what grows beyond reason is a bomb. For
 * decode.c, which says how many of these there are.
 */
#ifndef WEIR_CODED_H
#define WEIR_CODED_H

#include <stdbool.h>

#include <zlib.h>
#include <zstd.h>

#include "decode.h"

#define WEIR_CODED_PIECE 16384 /* bytes handed on at a time */

/* Stays where it is while it is in use: zlib points into it. */
struct weir_coded {
	union {
		z_stream z;
		ZSTD_DStream *zstd;
	};
	uint8_t *block; /* zlib's: what it asks for is cut from it */
	size_t block_used;
	uint64_t in, out;
	size_t bytes;	       /* that it has, but for a window of zstd's */
	uint8_t coding;	       /* enum weir_body_coding */
	uint8_t ended;	       /* the last byte seen ended the data, a member or a frame of it */
	uint8_t first, firsts; /* deflate: its first byte, held back until the second tells which */
	uint8_t magic;	       /* zstd: so many bytes of this frame's magic number were seen */
	uint8_t skippable;     /* and it is that of a frame to be passed over */
};

/* 0 or -ENOMEM, -EINVAL. c is not in need of weir_coded_end after a failure. */
int weir_coded_init(struct weir_coded *c, enum weir_body_coding coding);
void weir_coded_end(struct weir_coded *c);

/* As weir_decode: 0, -EBADMSG, -EFBIG. room: WEIR_CODED_PIECE bytes to decode into. */
int weir_coded_next(struct weir_coded *c, const uint8_t *bytes, size_t n, uint8_t *room,
		    weir_decoded_fn fn, void *ctx);

/* Is what came whole? A body of no bytes is, too: HEAD, or a server that had nothing to say. */
bool weir_coded_whole(const struct weir_coded *c);

/* Memory it takes: a window counts as far as it was written to. */
size_t weir_coded_bytes(const struct weir_coded *c);

#endif
