// SPDX-License-Identifier: Apache-2.0
/*
 * What the watch over money knows, as metrics: sums of this month, what is below its floor, and
 * what nobody priced. A series is written as one, so each is a walk of its own.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "metrics.h"
#include "money.h"
#include "money_watch.h"

enum figure { PRICE, COST, BELOW };

struct series {
	FILE *f;
	const char *name;
	bool of_tenants;
	enum figure figure;
	size_t n;
};

static void put_sums(void *ctx, const struct weir_money_sums *s)
{
	struct series *to = ctx;
	char text[WEIR_MONEY_TEXT];

	if (!!s->tenant != to->of_tenants || to->n++ >= WEIR_METRICS_TENANTS)
		return;
	fprintf(to->f, "%s{card=\"%s\"", to->name, s->card);
	if (s->tenant) {
		fprintf(to->f, ",tenant=\"%s\"", s->tenant);
	} else {
		fputs(",entry=\"", to->f);
		weir_metrics_label(to->f, s->entry);
		fputc('"', to->f);
	}
	weir_money_format(to->figure == PRICE  ? s->price_nano
			  : to->figure == COST ? s->cost_nano
			  : s->below	       ? WEIR_NANO
					       : 0,
			  text);
	fprintf(to->f, "} %s\n", text);
}

static void no_sums(void *ctx, const struct weir_money_sums *s)
{
}

static void put_unpriced(void *ctx, const struct weir_money_unpriced *u)
{
	struct series *to = ctx;

	fputs("weir_unpriced_total{what=\"", to->f);
	weir_metrics_label(to->f, u->what);
	fprintf(to->f, "\",service=\"%s\"} %" PRId64 "\n", u->service ? u->service : "", u->count);
}

static void no_unpriced(void *ctx, const struct weir_money_unpriced *u)
{
}

void weir_metrics_money(const struct weir_agent_view *v, FILE *f)
{
	static const struct {
		const char *name, *help;
		bool of_tenants;
		enum figure figure;
	} sums[] = {
		{ "weir_tenant_month_price_credits",
		  "What a tenant was charged by a card this month, less refunds.", true, PRICE },
		{ "weir_tenant_month_cost_credits", "What that cost.", true, COST },
		{ "weir_tenant_margin_below_floor",
		  "1: what is left of it is below the card's margin_floor.", true, BELOW },
		{ "weir_entry_month_price_credits",
		  "What was charged by an entry of a card this month, less refunds.", false,
		  PRICE },
		{ "weir_entry_month_cost_credits", "What that cost.", false, COST },
		{ "weir_entry_margin_below_floor",
		  "1: what is left of it is below the card's margin_floor.", false, BELOW },
	};
	struct series to = { .f = f };

	if (!v->money)
		return;
	for (size_t i = 0; i < sizeof(sums) / sizeof(*sums); i++) {
		to = (struct series){ f, sums[i].name, sums[i].of_tenants, sums[i].figure, 0 };
		weir_metrics_head(f, sums[i].name, "gauge", sums[i].help);
		weir_money_watch_visit(v->money,
				       &(struct weir_money_visitor){ &to, put_sums, no_unpriced });
	}
	weir_metrics_head(f, "weir_unpriced_total", "counter",
			  "Uses of what no card in force has a price for.");
	weir_money_watch_visit(v->money,
			       &(struct weir_money_visitor){ &to, no_sums, put_unpriced });
}
