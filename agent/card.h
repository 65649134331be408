/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside a rate card, shared by the two files that know: card.c reads
 * one, price.c reckons with it. Nobody else includes this but policy.c, for
 * weir_card_from.
 */
#ifndef WEIR_CARD_H
#define WEIR_CARD_H

#include "json.h"
#include "price.h"

#define WEIR_CARD_NAME "list" /* the default name, and the card that prices */

/* What each dimension costs, fall-backs resolved. */
struct card_rates {
	int64_t per; /* of every dimension but request, which is per 1 */
	int64_t unit_nano[WEIR_DIM_MAX];
	uint8_t priced_as[WEIR_DIM_MAX]; /* enum weir_dimension; WEIR_DIM_MAX: not charged */
};

struct card_entry {
	char *match;
	size_t literal;	  /* bytes before the first wildcard */
	bool exact;	  /* no wildcard at all */
	bool fallback;	  /* "default" or "*" */
	uint32_t by_rank; /* entries[k].by_rank is the index of the k-th most specific one */
	struct card_rates price, cost;
};

/* One card from where the cursor stands. */
int weir_card_from(const struct weir_json *at, struct weir_card **out, struct weir_error *err);

#endif
