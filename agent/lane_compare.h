/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event as the stream has it, beside the same entry's as the ledger would tell it now.
 */
#ifndef WEIR_LANE_COMPARE_H
#define WEIR_LANE_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weir_lane_alike {
	WEIR_LANE_SAME,	    /* to the byte */
	WEIR_LANE_REWORDED, /* nothing that is billed differs: told by an older or newer agent */
	WEIR_LANE_DIFFERENT,
};

#define WEIR_LANE_WHY 192

struct weir_lane_compared {
	enum weir_lane_alike alike;
	bool unlinked; /* it has no previous_seq */
	char why[WEIR_LANE_WHY];
};

/* again: the entry was made once more, after an older database was put back: its number, and who
 * gave the credit, may be others. */
void weir_lane_compare(const char *stream, size_t n, const char *ledger, size_t m, bool again,
		       struct weir_lane_compared *out);

/* What a subscriber would make of it: whose, and what it costs. -EBADMSG: it does not say. */
int weir_lane_price(const char *json, size_t n, char tenant[static 64], int64_t *nano);

#endif
