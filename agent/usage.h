/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the JSON of an answer says about itself, whichever server wrote it: what is found at the
 * places (usage_places.h) becomes counts (usage_counts.h), names, and how much text there was.
 */
#ifndef WEIR_USAGE_H
#define WEIR_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json_scan.h"
#include "json_tail.h"
#include "response.h"
#include "usage_counts.h"

/* Plain data. */
struct weir_usage_scan {
	struct weir_scan scan;
	struct weir_counts counts;
	uint64_t document_bytes; /* of text_bytes: this document's */
	struct weir_json_tail tail;
	/* of the document being read */
	uint8_t output;	  /* it carries some */
	uint8_t repeats;  /* what was streamed already */
	uint8_t whole;	  /* its text is all there was so far */
	uint8_t indexed;  /* it is about one prompt of several … */
	uint8_t finished; /* … of which nothing more will come */
	/* of the answer */
	uint8_t first_whole;  /* one document was read; if another comes, it is a stream … */
	uint8_t first_output; /* … of which this one was an event */
	uint8_t produced;     /* text was */
	uint8_t answered;     /* something metered was: text or vectors */
	uint8_t provisional;  /* usage is that of a stream's start only */
	uint8_t several;      /* its usage is a sum over documents */
	uint8_t behind;	      /* enum: what is read stands behind a hole */
};
_Static_assert(sizeof(struct weir_usage_scan) == 320, "weir_usage_scan");

void weir_usage_init(struct weir_usage_scan *u);

/* The head says so. A document knows better. */
void weir_usage_head(struct weir_usage_scan *u, struct weir_response_seen *seen,
		     enum weir_count what, int64_t n);

/* The next n bytes of a document, in any cut; what they say goes into seen. Behind a hole the
 * model's name is not certain at first: it goes into `model` (of seen->model's size), which is kept
 * for u from call to call. Returns n, or less if the document ended there, or nests too deep. */
size_t weir_usage_feed(struct weir_usage_scan *u, struct weir_response_seen *seen, char *model,
		       const uint8_t *bytes, size_t n);

/* The event or line is over, whether or not its document was whole; another starts. */
void weir_usage_next(struct weir_usage_scan *u);

/* Bytes are missing: nothing is believed until the next document. */
void weir_usage_lost(struct weir_usage_scan *u);

/* Bytes of a document are missing that is the only one, and whose end is known. Usage that it had
 * settled stays. If there was none, what follows is searched for it, and is believed once
 * weir_usage_end shows that it was the document's own. */
void weir_usage_behind_hole(struct weir_usage_scan *u, const struct weir_response_seen *seen,
			    char *model);

/* The body ended here. */
void weir_usage_end(struct weir_usage_scan *u, struct weir_response_seen *seen, const char *model);

/* More levels than are followed: a hole of a kind. */
bool weir_usage_too_deep(const struct weir_usage_scan *u);

/* Everything there is to bill was reported. */
bool weir_usage_complete(const struct weir_usage_scan *u, const struct weir_response_seen *seen);

#endif
