/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch over money: what was used and nobody priced, and margins of this month that are
 * below their card's floor. A thread of its own follows the ledger in pages, at low priority;
 * an alarm is logged once when it begins, and status and metrics show what lasts.
 */
#ifndef WEIR_MONEY_WATCH_H
#define WEIR_MONEY_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "agent_view.h"
#include "util.h"

struct weir_money_watch;

/* The view must outlive the watch. wait_ms: between two looks; 0: 2000. */
int weir_money_watch_start(const struct weir_agent_view *view, unsigned wait_ms,
			   struct weir_money_watch **out, struct weir_error *err);
void weir_money_watch_stop(struct weir_money_watch *w); /* NULL is fine */

/* Its warnings, behind those that are there; w NULL: none. Any thread. */
void weir_money_watch_warn(struct weir_money_watch *w, struct weir_status *s);

/* What lasts, for metrics. w NULL: nothing is called. */
struct weir_money_sums {
	const char *tenant; /* NULL: of a card's entry */
	const char *card, *entry;
	int64_t price_nano, cost_nano; /* of this month; refunds are taken off the price */
	bool below;
};
struct weir_money_unpriced {
	const char *what, *service; /* service NULL: it has no name */
	int64_t count;
};
struct weir_money_visitor {
	void *ctx;
	void (*sums)(void *ctx, const struct weir_money_sums *s);
	void (*unpriced)(void *ctx, const struct weir_money_unpriced *u);
};
void weir_money_watch_visit(struct weir_money_watch *w, const struct weir_money_visitor *v);

#endif
