/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was used, summed by who or what it was for. Fed from a walk over the ledger (margin.h), and
 * bounded: so many groups and no more. Sums stay at the end of int64 where they would pass it.
 */
#ifndef WEIR_USAGE_BY_H
#define WEIR_USAGE_BY_H

#include <stddef.h>
#include <stdint.h>

#include "margin.h"
#include "row.h"

#define WEIR_USAGE_GROUPS 100000

enum weir_usage_key {
	WEIR_USAGE_BY_TENANT,
	WEIR_USAGE_BY_USER,
	WEIR_USAGE_BY_TEAM,
	WEIR_USAGE_BY_FEATURE,
	WEIR_USAGE_BY_COST_CENTER,
	WEIR_USAGE_BY_MODEL,
	WEIR_USAGE_BY_SESSION, /* of a tenant: two tenants' may have the same name */
	WEIR_USAGE_BY_DAY,     /* of its start, UTC */
	WEIR_USAGE_BY_HOUR,
	WEIR_USAGE_KEY_MAX
};
extern const char *const weir_usage_key_names[WEIR_USAGE_KEY_MAX + 1]; /* NULL-ended */

struct weir_usage_group {
	const char *key;	    /* NULL: nobody said */
	const char *tenant;	    /* of a session; else NULL */
	uint64_t first_ns, last_ns; /* its first start and its last end, wall */
	int64_t requests, meters;   /* the rest counts requests, but unpriced: both */
	int64_t estimated, partial; /* by usage_source */
	int64_t degraded, unjudged; /* asked of the fallback model; seen to be answered only */
	int64_t unbilled, unpriced; /* not to be billed; no card has a price for it */
	struct weir_usage tokens;   /* never WEIR_UNKNOWN */
	int64_t audio, image;
	int64_t price_nano, cost_nano, refunded_nano;
};

struct weir_usage_by;

struct weir_usage_by *weir_usage_by_new(enum weir_usage_key key);
void weir_usage_by_free(struct weir_usage_by *u); /* NULL is fine */

/* -E2BIG: it would be one group too many. */
int weir_usage_by_add(struct weir_usage_by *u, const struct weir_margin_item *i);

/* All of it in one. */
const struct weir_usage_group *weir_usage_by_total(const struct weir_usage_by *u);

/* Each group: days and hours as they follow on one another, else the dearest first; what nobody
 * said last. Not 0 from fn ends it and is its result. */
int weir_usage_by_each(const struct weir_usage_by *u,
		       int (*fn)(const struct weir_usage_group *g, void *ctx), void *ctx);

#endif
