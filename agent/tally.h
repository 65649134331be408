/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the requests that ended were counted and why some were not billed: sums for /metrics.
 * Written by one thread, read by any.
 */
#ifndef WEIR_TALLY_H
#define WEIR_TALLY_H

#include <stdint.h>

#include "row.h"

/* Starts all zero. The names of metrics are in metrics.c. */
struct weir_tally {
	uint64_t sources[WEIR_USAGE_PARTIAL + 1]; /* by enum weir_usage_source */
	uint64_t lost;				  /* bytes of the answer were */
	uint64_t left;				  /* in mid-answer, by the client */
	uint64_t input_guessed, output_guessed;	  /* counts that are ours */
	uint64_t retry_free, cache_free, abort_free;
	uint64_t abort_full;
	uint64_t encoded; /* answers that were compressed */
};

void weir_tally_note(struct weir_tally *t, const struct weir_row *row);
void weir_tally_read(const struct weir_tally *t, struct weir_tally *out);

#endif
