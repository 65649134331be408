/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was earned: price, refunds and cost of what was used, summed, and the margin that is
 * left. Reads the ledger; what a sum is kept under (tenant, model, day) is the caller's.
 */
#ifndef WEIR_MARGIN_H
#define WEIR_MARGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger_read.h"
#include "price.h"
#include "util.h"

#define WEIR_MARGIN_CURRENCIES 4

/* One thing sold, or given back. Strings live as long as the call that is given it. */
struct weir_margin_item {
	enum weir_entry_kind kind; /* usage, meter, true_up; refund: of one of these */
	uint32_t tenant;
	const char *tenant_name; /* NULL: the number has no name */
	int64_t price_nano, refund_nano, cost_nano;
	bool unpriced;
	uint32_t card_id, card_entry;
	const char *counter; /* of a true-up: its key; else "" */
	uint64_t started_ns;
	const char *model, *feature, *session; /* "" where nobody said */
	const char *meter;		       /* "" of a request */
	const struct weir_entry *entry;	       /* what was sold, also of what is given back of it */
};

/* Sums; of nano, and of nano-credits x nano of the currency that a credit costs. */
struct weir_margin {
	int64_t requests, meters, unpriced;
	__int128 price, refunds, cost;
	struct weir_margin_currency {
		char code[4];
		__int128 price, refunds, cost;
	} in[WEIR_MARGIN_CURRENCIES];
	size_t n_in;
};

/*
 * What was used from since_ns to until_ns (0: no end), judged by its start, in the order of
 * the ledger from entry from_seq on, and, after it, what of that was refunded. tenant 0: all.
 * Not 0 from fn ends the walk and is its result.
 */
struct weir_margin_query {
	uint64_t from_seq, since_ns, until_ns;
	uint32_t tenant;
	size_t limit;	    /* entries looked at; 0: all */
	uint64_t *last_seq; /* the last of them; untouched if there was none; NULL: not wanted */
	int (*page)(uint64_t seq,
		    void *ctx); /* of struct weir_entry_query; UINT64_MAX: at refunds */
};
typedef int (*weir_margin_fn)(const struct weir_margin_item *i, void *ctx);
int weir_margin_walk(struct weir_reader *r, const struct weir_margin_query *q, weir_margin_fn fn,
		     void *ctx, struct weir_error *err);

/* card: that priced it, for the currency; NULL: none. 0, -E2BIG: too many currencies,
 * -ERANGE. */
int weir_margin_add(struct weir_margin *m, const struct weir_margin_item *i,
		    const struct weir_card *card);

/* Nano-credits, held to what fits. */
int64_t weir_margin_nano(__int128 sum);
/* Nano of a currency. */
int64_t weir_margin_money(__int128 sum);

/* What is left of (price - refunds), in percent with at most two decimals ("70", "-50"). false:
 * nothing was earned, so nothing can be said. */
#define WEIR_PERCENT_TEXT 32
bool weir_margin_percent(__int128 price, __int128 refunds, __int128 cost,
			 char out[static WEIR_PERCENT_TEXT]);
/* Is it below a floor, in thousandths? Cost without any price is. INT64_MIN: there is none. */
bool weir_margin_below(__int128 price, __int128 refunds, __int128 cost, int64_t floor_milli);

#endif
