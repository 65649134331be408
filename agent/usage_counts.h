/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token counts as servers name them, and how they become disjoint ones (row.h). Counts are set,
 * never added: streams repeat cumulative figures. What is added are parts of one answer of which
 * each has counts of its own: `weir_counts_bank`.
 */
#ifndef WEIR_USAGE_COUNTS_H
#define WEIR_USAGE_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "response.h"

/* They overlap in ways that differ by server. */
enum weir_count {
	WEIR_COUNT_PROMPT,	/* prompt_tokens: cached ones included */
	WEIR_COUNT_INPUT,	/* input_tokens: cached ones included iff in its details */
	WEIR_COUNT_COMPLETION,	/* completion_tokens: reasoning included */
	WEIR_COUNT_OUTPUT,	/* output_tokens, likewise */
	WEIR_COUNT_CACHED,	/* in details: part of the input */
	WEIR_COUNT_CACHE_WRITE, /* likewise */
	WEIR_COUNT_AUDIO,	/* likewise */
	WEIR_COUNT_IMAGE,	/* likewise */
	WEIR_COUNT_READ_BESIDE, /* Anthropic's, beside the input */
	WEIR_COUNT_WRITE_BESIDE,
	WEIR_COUNT_REASONING,
	WEIR_COUNT_TOTAL, /* input where nothing else is said */
	/* of servers' own fields, used where no `usage` says */
	WEIR_COUNT_NATIVE_PROMPT, /* whole prompt */
	WEIR_COUNT_NATIVE_FRESH,  /* prompt less what was cached */
	WEIR_COUNT_NATIVE_CACHED,
	WEIR_COUNT_NATIVE_OUTPUT,
	WEIR_COUNTS
};

/* Plain data. */
struct weir_counts {
	int64_t of[WEIR_COUNTS];   /* WEIR_UNKNOWN */
	struct weir_usage base;	   /* what was banked */
	uint8_t from[WEIR_COUNTS]; /* place that said so in this document; 0: it did not */
	uint8_t banked;
	uint8_t settled; /* there was something to settle since the last hole */
	uint16_t loose;	 /* bit i: of[i] was set since they were last settled */
	uint8_t pad[2];
};
_Static_assert(sizeof(struct weir_counts) == 192, "weir_counts");

void weir_counts_init(struct weir_counts *c);

/* `place` (not 0) says it. Of several places of a document that say the same the lower one is
 * believed: proxies write both of two spellings, and zeros into one. */
void weir_counts_set(struct weir_counts *c, enum weir_count what, uint8_t place, int64_t n);

/* A place says it anew: of what it said in this document the last counts. */
void weir_counts_forget(struct weir_counts *c, enum weir_count what, uint8_t place);
void weir_counts_forget_place(struct weir_counts *c, uint8_t place);

/* Another document starts. What was not settled is not known. */
void weir_counts_document(struct weir_counts *c);

/* Bytes are missing. */
void weir_counts_lost(struct weir_counts *c);

/* Into seen: usage, audio, image, has_usage. */
void weir_counts_settle(struct weir_counts *c, struct weir_response_seen *seen);

/* The document said something. */
bool weir_counts_any(const struct weir_counts *c);

/* What is settled is whole: counts from here on are of another part, and come on top. */
void weir_counts_bank(struct weir_counts *c, const struct weir_response_seen *seen);

#endif
