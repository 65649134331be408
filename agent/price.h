/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rate cards and what a request costs by them. A card is immutable; integer
 * arithmetic, one rounding (half to even) per request; every charge can be
 * recomputed from card, entry and counts.
 */
#ifndef WEIR_PRICE_H
#define WEIR_PRICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "row.h"
#include "util.h"

enum weir_dimension {
	WEIR_DIM_INPUT,
	WEIR_DIM_CACHE_READ,
	WEIR_DIM_CACHE_WRITE,
	WEIR_DIM_OUTPUT,
	WEIR_DIM_REASONING,
	WEIR_DIM_REQUEST,
	WEIR_DIM_MAX
};
extern const char *const weir_dimension_names[WEIR_DIM_MAX];

struct weir_price_line {
	enum weir_dimension dimension;
	enum weir_dimension priced_as; /* the parent whose price was used, or itself */
	int64_t quantity;
	int64_t unit_nano; /* price of `per` units */
	int64_t per;
};

struct weir_charge {
	int64_t price_nano;
	int64_t cost_nano;
	size_t n_lines;
	struct weir_price_line lines[WEIR_DIM_MAX];
};

struct weir_card {
	const char *name;
	const char *version;
	uint64_t effective_from_ns; /* wall */
	uint32_t id;		    /* in the database; 0 until stored (the agent sets it) */
	uint8_t sha256[32];	    /* of json */
	char *json;		    /* canonical text, as kept in the database */
	size_t n_entries;
	void *entries; /* private */
};

/*
 * One card from its JSON object text (as in a policy's rate_cards[]). where:
 * prefix for errors, such as "10-cards.json: rate_cards[0]".
 *
 * A price or cost object has decimal strings per dimension and `per`, a whole
 * number from 1 (default 1) to 1e9: "input": "0.5", "per": 1000 is half a credit
 * for 1000 tokens. `request` is always per 1: one request is one. A dimension
 * without a price uses its parent's (cache_read, cache_write -> input; reasoning ->
 * output), within the same object; an explicit "0" is free; what has neither a
 * price nor a priced parent is not charged and gives no line. Without `cost`, the
 * cost is 0. json is canonical (sorted, compact, `name` filled in): sha256 is of it.
 */
int weir_card_parse(const char *json, const char *where, struct weir_card **out,
		    struct weir_error *err);
void weir_card_free(struct weir_card *c);

/* The card in force at an instant: of those named "list" the one with the latest
 * effective_from <= at (the later in the array of equals). NULL: none yet. */
const struct weir_card *weir_card_at(struct weir_card *const *cards, size_t n, uint64_t at_ns);

/* The entry for a model, an index into the card's models[] as written: an exact match
 * first, then the glob (* and ?) with the longest literal prefix, of equals the first
 * listed, and the entry that matches "default" or "*" last. -1: none. */
int weir_card_entry(const struct weir_card *c, const char *model);

/* Price usage by an entry. Unknown counts (WEIR_UNKNOWN) are not charged; a count of
 * 0 has no line. The sum over all dimensions is exact and rounded once, half to even;
 * the cost likewise. 0 or -ERANGE (the charge does not fit, or a count is negative;
 * nothing is written). */
int weir_card_charge(const struct weir_card *c, int entry, const struct weir_usage *u,
		     struct weir_charge *out);

/* The dearest nano per input token (cached or not), per output token (reasoning too)
 * and per request that any entry asks (rounded up): what a reservation is reckoned
 * with. */
struct weir_reserve_price {
	int64_t input_nano, output_nano, request_nano;
};
void weir_card_reserve_price(const struct weir_card *c, struct weir_reserve_price *out);

#endif
