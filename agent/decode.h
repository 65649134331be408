/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed bodies (gzip, deflate, zstd) undone as they come. What a decoder remembers (windows of
 * 32 KiB to 8 MiB) does not fit into a parser's state, so it is in this process's memory, in a
 * bounded pool, and the parser keeps a ticket. Tickets of an earlier process, or of a decoder that
 * was given to another meanwhile, are not valid: what they stood for is then not readable any more.
 * One thread.
 */
#ifndef WEIR_DECODE_H
#define WEIR_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

enum weir_body_coding {
	WEIR_BODY_PLAIN,
	WEIR_BODY_GZIP, /* x-gzip too */
	WEIR_BODY_DEFLATE,
	WEIR_BODY_ZSTD,
	WEIR_BODY_CODED, /* otherwise, or more than once: not readable */
};

/* Of Content-Encoding's len bytes, a list; "identity" and nothing are plain. */
enum weir_body_coding weir_body_coding_of(const char *value, size_t len);

struct weir_decoders;

#define WEIR_DECODED_RATIO 1024	     /* a body that grows more than so many times … */
#define WEIR_DECODED_FREE  (8 << 20) /* … and beyond so many bytes is a bomb */

#define WEIR_DECODERS_LEAST (1 << 20)

/* bytes: of memory for all decoders, WEIR_DECODERS_LEAST or more; when it is used up the longest
 * unused is given up. The one in use may take up to 9 MiB more until its call returns (zstd's
 * largest window). */
int weir_decoders_new(size_t bytes, struct weir_decoders **out, struct weir_error *err);
void weir_decoders_free(struct weir_decoders *d); /* NULL is fine */

/* A decoder for a body that starts. 0: none (no memory). */
uint64_t weir_decoder_open(struct weir_decoders *d, enum weir_body_coding coding);

/* 0, or not valid: fine. Did what came end where its format says it does (or was there none)? */
bool weir_decoder_close(struct weir_decoders *d, uint64_t ticket);

/* The next n bytes; what they decode to is handed to fn, in pieces of 16 KiB at most. 0; -ESTALE:
 * the ticket is not valid; -EBADMSG: not of that coding; -EFBIG: a bomb. After an error the decoder
 * is closed. Bytes behind the end of the data are an error, further gzip members and zstd frames
 * are not. fn must not call into the pool. */
typedef void (*weir_decoded_fn)(void *ctx, const uint8_t *bytes, size_t n);
int weir_decode(struct weir_decoders *d, uint64_t ticket, const uint8_t *bytes, size_t n,
		weir_decoded_fn fn, void *ctx);

/* For status: any thread. */
struct weir_decoders_stats {
	uint64_t open, bytes, opened, given_up, failed;
};
void weir_decoders_stats(const struct weir_decoders *d, struct weir_decoders_stats *out);

#endif
