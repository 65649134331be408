// SPDX-License-Identifier: Apache-2.0
/*
 * The words and figures of the watch over money. It changes nothing.
 */
#include <inttypes.h>
#include <string.h>

#include "clean_text.h"
#include "margin.h"
#include "money_watch_priv.h"

#define LISTED 3 /* warnings of a kind; the rest is a number */

void money_describe(const struct money_sum *s, char out[static MONEY_TEXT])
{
	char percent[WEIR_PERCENT_TEXT], floor[WEIR_PERCENT_TEXT] = "";

	if (!weir_margin_percent(s->price, s->refunds, s->cost, percent))
		snprintf(percent, sizeof(percent), "below 0");
	/* floor/1000 of 1, as a percentage: what a price of 1000 with that margin has. */
	weir_margin_percent(1000, 0, 1000 - (__int128)s->floor_milli, floor);
	if (s->tenant)
		snprintf(
			out, MONEY_TEXT,
			"margin: %.63s is at %.21s %% this month by card %.63s, below its floor of "
			"%.21s %%",
			s->tenant, percent, s->card, floor);
	else
		snprintf(out, MONEY_TEXT,
			 "margin: card %.63s, %.80s is at %.21s %% this month, below its floor of "
			 "%.21s %%",
			 s->card, s->entry[0] ? s->entry : "default", percent, floor);
}

const char *money_what(const struct money_unpriced *u)
{
	return u->what[0] ? u->what : "an answer that names no model";
}

/* ----------------------------------------------------------------------- showing */

static void warn(struct weir_status *s, const char *text)
{
	if (s->n_warnings < WEIR_STATUS_WARNINGS)
		weir_clean_text(s->warnings[s->n_warnings++], sizeof(s->warnings[0]), text,
				strlen(text));
}

static void warn_margins(struct weir_money_watch *w, struct weir_status *s)
{
	GHashTableIter it;
	size_t n = 0;
	char text[256];
	gpointer v;

	g_hash_table_iter_init(&it, w->sums);
	while (g_hash_table_iter_next(&it, NULL, &v)) {
		if (!((struct money_sum *)v)->below || n++ >= LISTED)
			continue;
		money_describe(v, text);
		warn(s, text);
	}
	if (n <= LISTED)
		return;
	snprintf(text, sizeof(text),
		 "margin: %zu more are below their floor this month; see weirctl margin",
		 n - LISTED);
	warn(s, text);
}

static void warn_unpriced(struct weir_money_watch *w, struct weir_status *s)
{
	GHashTableIter it;
	size_t n = 0;
	char text[256];
	gpointer v;

	g_hash_table_iter_init(&it, w->unpriced);
	while (g_hash_table_iter_next(&it, NULL, &v)) {
		const struct money_unpriced *u = v;

		if (n++ >= LISTED)
			continue;
		snprintf(text, sizeof(text),
			 "unpriced: %.80s%s%.63s: used %" PRId64
			 " times for nothing; give it a price in a rate card",
			 money_what(u), u->service ? " of service " : "",
			 u->service ? u->service : "", u->count);
		warn(s, text);
	}
	if (n <= LISTED)
		return;
	snprintf(text, sizeof(text),
		 "unpriced: %zu more models or meters have no price; see weirctl price unpriced",
		 n - LISTED);
	warn(s, text);
}

void weir_money_watch_warn(struct weir_money_watch *w, struct weir_status *s)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	warn_unpriced(w, s);
	warn_margins(w, s);
	pthread_mutex_unlock(&w->lock);
}

void weir_money_watch_visit(struct weir_money_watch *w, const struct weir_money_visitor *visitor)
{
	GHashTableIter it;
	gpointer v;

	pthread_mutex_lock(&w->lock);
	g_hash_table_iter_init(&it, w->sums);
	while (g_hash_table_iter_next(&it, NULL, &v)) {
		const struct money_sum *s = v;

		visitor->sums(visitor->ctx,
			      &(struct weir_money_sums){
				      .tenant = s->tenant,
				      .card = s->card,
				      .entry = s->entry,
				      .price_nano = weir_margin_nano(s->price - s->refunds),
				      .cost_nano = weir_margin_nano(s->cost),
				      .below = s->below,
			      });
	}
	g_hash_table_iter_init(&it, w->unpriced);
	while (g_hash_table_iter_next(&it, NULL, &v)) {
		const struct money_unpriced *u = v;

		visitor->unpriced(visitor->ctx,
				  &(struct weir_money_unpriced){ .what = u->what,
								 .service = u->service,
								 .count = u->count });
	}
	pthread_mutex_unlock(&w->lock);
}
