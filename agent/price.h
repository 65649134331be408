/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rate cards and what a thing costs by them (ledger.md, 4). A card is immutable; integer
 * arithmetic, one rounding (half to even) per price; every charge can be recomputed from
 * card, entry, quantities and positions. Pure: no clock, no state, no database.
 */
#ifndef WEIR_PRICE_H
#define WEIR_PRICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "row.h"
#include "util.h"

/* Stored in ledgers: append only. */
enum weir_dimension {
	WEIR_DIM_INPUT,
	WEIR_DIM_CACHE_READ,
	WEIR_DIM_CACHE_WRITE,
	WEIR_DIM_AUDIO,
	WEIR_DIM_IMAGE,
	WEIR_DIM_OUTPUT,
	WEIR_DIM_REASONING,
	WEIR_DIM_REQUEST,
	WEIR_DIM_SECOND, /* quantity in nanoseconds */
	WEIR_DIM_SESSION,
	WEIR_DIM_UNIT, /* of a meter; quantity in 1e-9 units */
	WEIR_DIM_MAX
};
extern const char *const weir_dimension_names[WEIR_DIM_MAX];

/* How much of each; WEIR_UNKNOWN is not charged. */
struct weir_quantities {
	int64_t of[WEIR_DIM_MAX];
};

/* Of a finished request: tokens, one request, its duration; session: 1 if it begins one. */
void weir_quantities_of(const struct weir_row *row, bool session_begins,
			struct weir_quantities *out);

/* One line of a charge: quantity x unit / per, in nano. */
struct weir_price_line {
	enum weir_dimension dimension;
	enum weir_dimension priced_as; /* the parent whose price was used, or itself */
	int64_t quantity;	       /* as in weir_quantities */
	int64_t unit_nano;	       /* price of `per` of what the quantity counts */
	int64_t per;		       /* of seconds and units, counted in 1e-9, 1e9 as many */
	int64_t position;	       /* of the counter before this line; -1: no steps */
};

/* What a volume counter needs for its true-up. */
struct weir_volume {
	__int128 weighted; /* quantity x factors (in WEIR_FACTOR parts) */
	__int128 charged;  /* the same x unit_nano */
};

#define WEIR_LINES_MAX	  64
#define WEIR_COUNTER_TEXT 512		      /* of a counter's name, with its NUL */
#define WEIR_FACTOR	  INT64_C(1000000000) /* a factor of 1 */

struct weir_charge {
	int64_t price_nano;
	int64_t cost_nano;
	int64_t factor;		       /* of all lines, x WEIR_FACTOR */
	int64_t lines_credit_nano;     /* 0: lines are in credits. A markup over costs in currency:
					* lines are in that, of which one credit costs so much */
	int64_t counted[WEIR_DIM_MAX]; /* what the counter of a dimension with steps moves by */
	struct weir_volume volume[WEIR_DIM_MAX]; /* of those that are volume */
	size_t n_lines;
	struct weir_price_line lines[WEIR_LINES_MAX]; /* no more than n_lines are written */
};

enum weir_card_scope { WEIR_SCOPE_ALL, WEIR_SCOPE_SERVICE, WEIR_SCOPE_TIER, WEIR_SCOPE_TENANT };

struct weir_card {
	const char *name;
	const char *version;
	uint64_t effective_from_ns; /* wall */
	uint32_t id;		    /* in the database; 0 until stored (the agent sets it) */
	uint8_t sha256[32];	    /* of json */
	char *json;		    /* canonical text, as kept in the database */
	enum weir_card_scope scope;
	const char *const *scope_names; /* whom it is for; NULL-ended; NULL: all */
	char currency[4];		/* "USD"; "": none said */
	int64_t credit_price_nano;	/* of a credit, in nano of the currency; 0: none said */
	int64_t margin_floor_milli;	/* warn below; INT64_MIN: none */
	size_t n_entries;
	void *entries;	 /* private */
	void *discounts; /* private */
};

/*
 * One card from its JSON object text (as in a policy's rate_cards[]). where: prefix for
 * errors, such as "10-cards.json: rate_cards[0]". json is canonical (sorted, compact, `name`
 * filled in): sha256 is of it.
 */
int weir_card_parse(const char *json, const char *where, struct weir_card **out,
		    struct weir_error *err);
void weir_card_free(struct weir_card *c);

/* -- which card, which entry */

/* What is asked of the cards. Strings may be NULL or "": then what wants them does not match. */
struct weir_use {
	const char *tenant, *tier, *service;
	const char *model, *path;
	const char *meter; /* NULL: a request */
	uint16_t status;
	uint64_t started_ns; /* wall */
};

struct weir_pick {
	const struct weir_card *card; /* NULL: nothing prices it */
	uint32_t entry;
	uint32_t discount_milli;
};

/* By rules 16 and 17, of any cards in any order. false: none prices it. */
bool weir_cards_pick(struct weir_card *const *cards, size_t n, const struct weir_use *use,
		     struct weir_pick *out);

/* Of each name the version that is in force at an instant; out has room for n. */
size_t weir_cards_in_force(struct weir_card *const *cards, size_t n, uint64_t at_ns,
			   struct weir_card **out);

/* The cards in force at an instant that could price a request of this tenant, tier and service
 * (NULL: any), best first; at most max. What reservations are reckoned with. */
size_t weir_cards_for(struct weir_card *const *cards, size_t n, const struct weir_use *use,
		      const struct weir_card **out, size_t max);

/* 0, or -EINVAL: two cards of different names are for the same tenant, tier, service or all. */
int weir_cards_check(struct weir_card *const *cards, size_t n, struct weir_error *err);

/* What is off for a tier, in thousandths. */
uint32_t weir_card_discount(const struct weir_card *c, const char *tier);
/* Is it a discount that the card gives to somebody, or 0? */
bool weir_card_has_discount(const struct weir_card *c, uint32_t milli);

/* Conditions of an entry as one line of text, the same for the same conditions in every
 * version: "match=llama*", "path=/v1/x status=2xx", "meter=storage_gb". */
const char *weir_card_entry_key(const struct weir_card *c, uint32_t entry);
/* Its place in "models" is `entry` everywhere; this is the entry that is tried as the rank-th:
 * those for requests, then those for meters. */
uint32_t weir_card_entry_at(const struct weir_card *c, size_t rank);
/* Does it want a path, a status? */
bool weir_card_names_path(const struct weir_card *c, uint32_t entry);
bool weir_card_names_status(const struct weir_card *c, uint32_t entry);
/* Does an entry price sessions? */
bool weir_card_has_session(const struct weir_card *c, uint32_t entry);
/* The unit that a value metric bills ("clinical-report"); NULL: none. */
const char *weir_card_unit(const struct weir_card *c, uint32_t entry);

/* -- steps */

enum weir_steps { WEIR_STEPS_NONE, WEIR_STEPS_GRADUATED, WEIR_STEPS_VOLUME };

/* The steps of a dimension itself, not of its parent. pool may be NULL; *pool NULL: counted per
 * tenant. */
enum weir_steps weir_card_steps(const struct weir_card *c, uint32_t entry, enum weir_dimension d,
				const char **pool);
/* The dimension whose price d has: itself, its parent; WEIR_DIM_MAX: not charged. */
enum weir_dimension weir_card_priced_as(const struct weir_card *c, uint32_t entry,
					enum weir_dimension d);
/* Unit and per of a dimension with steps where a month's total is `total`. */
void weir_card_unit_at(const struct weir_card *c, uint32_t entry, enum weir_dimension d,
		       int64_t total, int64_t *unit_nano, int64_t *per);
/* numerator / (per x WEIR_FACTOR), rounded half to even: of weir_volume. 0 or -ERANGE. */
int weir_volume_price(__int128 numerator, int64_t per, int64_t *nano);

/* -- charging */

/*
 * Price quantities by an entry. positions: where the counter of each dimension with steps
 * stands (others are not looked at); NULL: not known, each is charged at its dearest step and
 * `counted` is 0. 0 or -ERANGE (it does not fit, or a count is negative; out is untouched).
 */
int weir_card_charge(const struct weir_card *c, uint32_t entry, uint32_t discount_milli,
		     const struct weir_quantities *q, const int64_t positions[WEIR_DIM_MAX],
		     struct weir_charge *out);

/* The dearest nano per input token (any kind of input), per output token and per request
 * (session included) that any entry for requests asks, bands and all (rounded up, and again after
 * the discount): what a reservation is reckoned with. */
struct weir_reserve_price {
	int64_t input_nano, output_nano, request_nano;
};
void weir_card_reserve_price(const struct weir_card *c, uint32_t discount_milli,
			     struct weir_reserve_price *out);

#endif
