/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request's body says, read as the kernel ships it (WEIR_REC_ASKED): the model asked for,
 * who it is for, how many answers, whether usage is wanted in the stream; and a hash, by which a
 * request that comes again is known. Constant memory, no text of a prompt kept. Plain data.
 */
#ifndef WEIR_ASKED_H
#define WEIR_ASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json_scan.h"

enum weir_asked_flags {
	WEIR_ASKED_STREAM = 1 << 0,	   /* "stream": true */
	WEIR_ASKED_INCLUDE_USAGE = 1 << 1, /* stream_options.include_usage: true */
	WEIR_ASKED_HOLE = 1 << 2,	   /* bytes are missing: nothing more is believed */
	WEIR_ASKED_USER = 1 << 3,	   /* `user` was there: metadata.user_id is not asked */
};

struct weir_asked_text {
	struct weir_scan scan;
	uint64_t offset;    /* bytes folded in so far */
	uint64_t hash[2];   /* of these, by two keys */
	uint64_t carry;	    /* bytes of a word that is not whole yet */
	int64_t max_tokens; /* the largest limit of output tokens, under any name; WEIR_UNKNOWN */
	int64_t choices;    /* n or best_of, the larger; WEIR_UNKNOWN */
	uint32_t flags;	    /* enum weir_asked_flags */
	uint32_t pad;
	char model[64];
	char user[64];
};

void weir_asked_init(struct weir_asked_text *a);

/* n bytes of the body from `offset` on. */
void weir_asked_feed(struct weir_asked_text *a, uint64_t offset, const void *bytes, size_t n,
		     uint64_t key);

/* A hash of the whole body of body_bytes. false: not all of it was seen. */
bool weir_asked_hash(const struct weir_asked_text *a, uint64_t body_bytes, uint64_t out[2]);

#endif
