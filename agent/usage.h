/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the JSON of an answer says about its usage, whichever server wrote it:
 * places in the documents to counts, and counts that overlap to disjoint ones
 * (row.h). Counts are set, never added: streams repeat cumulative figures.
 */
#ifndef WEIR_USAGE_H
#define WEIR_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json_scan.h"
#include "response.h"

/* Counts as servers name them; they overlap in ways that differ by server. */
enum weir_count {
	WEIR_COUNT_PROMPT,	/* prompt_tokens: cached ones included */
	WEIR_COUNT_INPUT,	/* input_tokens: cached ones included iff in its details */
	WEIR_COUNT_OUTPUT,	/* reasoning included */
	WEIR_COUNT_CACHED,	/* in details: part of the input */
	WEIR_COUNT_CACHE_WRITE, /* in details: part of the input */
	WEIR_COUNT_READ_BESIDE, /* Anthropic's, beside the input */
	WEIR_COUNT_WRITE_BESIDE,
	WEIR_COUNT_REASONING,
	/* of servers' own fields, used where no `usage` says */
	WEIR_COUNT_NATIVE_PROMPT, /* whole prompt */
	WEIR_COUNT_NATIVE_FRESH,  /* prompt less what was cached */
	WEIR_COUNT_NATIVE_CACHED,
	WEIR_COUNT_NATIVE_OUTPUT,
	/* in details: part of the input; last, for state files have these numbers */
	WEIR_COUNT_AUDIO,
	WEIR_COUNT_IMAGE,
	WEIR_COUNTS
};

/* Plain data. */
struct weir_usage_scan {
	struct weir_scan scan;
	int64_t counts[WEIR_COUNTS]; /* WEIR_UNKNOWN */
	uint8_t document_output;     /* the document being read carries output */
	uint8_t produced;	     /* text was produced */
	uint8_t answered;	     /* something metered was: text or embeddings */
	uint8_t provisional;	     /* usage is that of a stream's start only */
	uint8_t pad[4];
};
_Static_assert(sizeof(struct weir_usage_scan) == 224, "weir_usage_scan");

void weir_usage_init(struct weir_usage_scan *u);

/* The next n bytes of a document, in any cut; what they say goes into seen. */
void weir_usage_feed(struct weir_usage_scan *u, struct weir_response_seen *seen,
		     const uint8_t *bytes, size_t n);

/* Another document starts, whether or not the last one was whole. */
void weir_usage_reset(struct weir_usage_scan *u);

/* Bytes are missing: nothing is believed until the next reset. */
void weir_usage_lost(struct weir_usage_scan *u);

/* Everything there is to bill was reported. */
bool weir_usage_complete(const struct weir_usage_scan *u, const struct weir_response_seen *seen);

#endif
