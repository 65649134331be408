/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside a rate card, shared by the files that know: card.c reads one,
 * card_entry.c its entries, card_find.c puts them in the order in which they are
 * tried, price.c reckons. Nobody else includes this but policy.c, for
 * weir_card_from.
 */
#ifndef WEIR_CARD_H
#define WEIR_CARD_H

#include "json.h"
#include "price.h"

#define WEIR_CARD_NAME "list" /* the default name */

#define CARD_MILLI 1000 /* a factor of 1, in thousandths */

/* Counts up to and with up_to (INT64_MAX: all) cost so much; in parts of a quantity. */
struct card_step {
	int64_t up_to;
	int64_t unit_nano;
};

struct card_steps {
	enum weir_steps mode;
	char *pool; /* NULL: counted per tenant */
	size_t n;
	struct card_step *v;
};

/* What each dimension costs, fall-backs resolved. */
struct card_rates {
	int64_t per;			 /* as the card says it; see card_per */
	int64_t common;			 /* a multiple of card_per of each dimension with a price */
	int64_t unit_nano[WEIR_DIM_MAX]; /* of steps: the dearest */
	uint8_t priced_as[WEIR_DIM_MAX]; /* enum weir_dimension; WEIR_DIM_MAX: not charged */
};

struct card_band {
	int64_t up_to; /* INT64_MAX: all */
	uint32_t milli;
};

/* What it has to be for an entry to match. */
struct card_condition {
	char *glob;	/* NULL: anything, also nothing */
	size_t literal; /* bytes before the first wildcard */
	bool exact;	/* no wildcard at all */
};

struct card_entry {
	char *key; /* weir_card_entry_key */
	struct card_condition model, path;
	uint16_t status;  /* 200 to 599; 2 to 5: that hundred; 0: any */
	char *meter;	  /* NULL: prices requests */
	char *unit;	  /* NULL: no value metric */
	uint32_t milli;	  /* multiplier, or 1 + markup */
	bool in_currency; /* price is a markup over costs in the card's currency */
	size_t n_bands;
	struct card_band *bands;
	struct card_rates price, cost;
	struct card_steps *steps; /* of price, [WEIR_DIM_MAX]; NULL: none has any */
};

struct card_discount {
	char *tier;
	uint32_t milli;
};

/* weir_card.entries */
struct card_entries {
	struct card_entry *v;
	uint32_t *order;	       /* indexes of v, as tried; see card_find.c */
	uint32_t exact, globs, meters; /* where in it these begin */
	size_t n_scope;		       /* names in weir_card.scope_names, which is sorted */
	bool cost_in_currency;
	struct weir_reserve_price dearest; /* without discount: asked of every tenant's cards */
};

/* weir_card.discounts */
struct card_discounts {
	size_t n;
	struct card_discount *v; /* by tier */
};

static inline const struct card_entry *card_entry(const struct weir_card *c, uint32_t entry)
{
	return &((const struct card_entries *)c->entries)->v[entry];
}

/* How many parts of a quantity unit_nano is the price of. */
static inline int64_t card_per(const struct card_rates *r, enum weir_dimension d)
{
	switch (d) {
	case WEIR_DIM_REQUEST:
	case WEIR_DIM_SESSION:
		return 1;
	case WEIR_DIM_SECOND:
		return WEIR_SECOND;
	case WEIR_DIM_UNIT:
		return r->per * (int64_t)WEIR_SECOND; /* per is below 1e9 + 1 */
	default:
		return r->per;
	}
}

/* One card from where the cursor stands. */
int weir_card_from(const struct weir_json *at, struct weir_card **out, struct weir_error *err);

/* What "models" says into c->entries; name, credit_price and cost_in_currency are there already. */
int card_entries_read(const struct weir_json *at, struct weir_card *c, struct weir_error *err);
void card_entries_free(struct card_entries *e, size_t n);

/* Three decimals at most: in thousandths. */
int card_milli(const struct weir_json *at, int64_t min, int64_t max, int64_t *milli,
	       struct weir_error *err);

/* The order in which entries are tried. -EINVAL and *first < *second: these two have the same
 * conditions. */
int card_entries_rank(struct card_entries *e, size_t n, size_t *first, size_t *second);

/* What a reservation without discount is reckoned with, from the entries. */
void card_dearest(const struct weir_card *c, struct weir_reserve_price *out);

/* The entry for what is used, by ledger.md, 17; -1: none. */
int card_find(const struct weir_card *c, const struct weir_use *use);

#endif
