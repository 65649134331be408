/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handler of `margin`: the log summed by tenant, model, feature, session or day. It may be a
 * long walk: it says how far it is, and ends when the client goes.
 */
#include "control_call.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calendar.h"
#include "margin.h"
#include "price.h"

#define GROUPS_MAX 100000

enum by { BY_TENANT, BY_MODEL, BY_FEATURE, BY_SESSION, BY_DAY };
static const char *const by_names[] = { "tenant", "model", "feature", "session", "day", NULL };

struct group {
	char *key;
	bool known; /* false: of nobody, no feature said */
	struct weir_margin m;
};

struct walk {
	struct weir_call *c;
	struct weir_reader *reader;
	struct weir_error *err;
	int by;
	GHashTable *groups;
	struct group all;
	struct weir_call_progress far;
};

static void free_group(gpointer p)
{
	g_free(((struct group *)p)->key);
	g_free(p);
}

/* ------------------------------------------------------------------------- groups */

static const char *key_of(const struct walk *w, const struct weir_margin_item *i,
			  char text[static 160])
{
	switch (w->by) {
	case BY_TENANT:
		snprintf(text, 160, "%s", i->tenant_name ? i->tenant_name : "");
		return text;
	case BY_MODEL:
		if (i->counter[0])
			return "true-up";
		if (!i->model[0] && i->meter[0])
			snprintf(text, 160, "meter:%s", i->meter);
		else
			snprintf(text, 160, "%.64s", i->model);
		return text;
	case BY_FEATURE:
		snprintf(text, 160, "%.48s", i->feature);
		return text;
	case BY_SESSION:
		snprintf(text, 160, "%.64s", i->session);
		return text;
	default:
		weir_time_format(i->started_ns, text);
		text[10] = 0;
		return text;
	}
}

static struct group *group_of(struct walk *w, const char *key)
{
	struct group *g = g_hash_table_lookup(w->groups, key);

	if (g || g_hash_table_size(w->groups) >= GROUPS_MAX)
		return g;
	g = g_new0(struct group, 1);
	g->key = g_strdup(key);
	g_hash_table_insert(w->groups, g->key, g);
	return g;
}

/* A true-up says its counter ("owner|card|entry|dimension") and no version: the currency is
 * that of the newest card of the name. */
static const struct weir_card *card_of(const struct walk *w, const struct weir_margin_item *i)
{
	const char *at = strchr(i->counter, '|');
	const struct weir_card *card, *newest = NULL;
	size_t n = at ? strcspn(++at, "|") : 0;

	if (!n)
		return weir_reader_card(w->reader, i->card_id);
	for (uint32_t id = 1; (card = weir_reader_card(w->reader, id)); id++) {
		if (strlen(card->name) == n && !strncmp(card->name, at, n))
			newest = card;
	}
	return newest;
}

static int page(uint64_t seq, void *ctx)
{
	struct walk *w = ctx;

	return weir_call_page(w->c, &w->far, seq);
}

static int item(const struct weir_margin_item *i, void *ctx)
{
	struct walk *w = ctx;
	char text[160];
	struct group *g = group_of(w, key_of(w, i, text));
	const struct weir_card *card = card_of(w, i);
	int r;

	if (!g)
		return weir_fail(w->err, ERANGE,
				 "margin: more than %d groups; narrow it by a tenant or by --since "
				 "and --until",
				 GROUPS_MAX);
	r = weir_margin_add(&g->m, i, card);
	if (!r)
		r = weir_margin_add(&w->all.m, i, card);
	if (r)
		return weir_fail(w->err, ERANGE,
				 r == -E2BIG ? "margin: rate cards of more than %d currencies"
					     : "margin: sums of money do not fit",
				 WEIR_MARGIN_CURRENCIES);
	return 0;
}

/* ------------------------------------------------------------------------- in JSON */

static json_t *currencies_json(const struct weir_margin *m)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < m->n_in; i++) {
		const struct weir_margin_currency *c = &m->in[i];

		json_array_append_new(
			rows, json_pack("{s:s,s:o,s:o,s:o,s:o}", "currency", c->code, "price",
					weir_json_money(weir_margin_money(c->price)), "refunds",
					weir_json_money(weir_margin_money(c->refunds)), "cost",
					weir_json_money(weir_margin_money(c->cost)), "margin",
					weir_json_money(weir_margin_money(c->price - c->refunds -
									  c->cost))));
	}
	return rows;
}

static json_t *group_json(const struct group *g)
{
	const struct weir_margin *m = &g->m;
	char percent[WEIR_PERCENT_TEXT];
	bool said = weir_margin_percent(m->price, m->refunds, m->cost, percent);

	return json_pack("{s:o,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:o}", "key", weir_json_text(g->key),
			 "requests", (json_int_t)m->requests, "meters", (json_int_t)m->meters,
			 "unpriced", (json_int_t)m->unpriced, "price",
			 weir_json_money(weir_margin_nano(m->price)), "refunds",
			 weir_json_money(weir_margin_nano(m->refunds)), "cost",
			 weir_json_money(weir_margin_nano(m->cost)), "margin",
			 weir_json_money(weir_margin_nano(m->price - m->refunds - m->cost)),
			 "margin_percent", said ? json_string(percent) : json_null(), "currencies",
			 currencies_json(m));
}

static gint by_key(gconstpointer a, gconstpointer b)
{
	return strcmp(((const struct group *)a)->key, ((const struct group *)b)->key);
}

static json_t *result_json(struct walk *w, const struct weir_margin_query *q)
{
	GList *groups = g_list_sort(g_hash_table_get_values(w->groups), by_key);
	json_t *rows = json_array();

	for (GList *g = groups; g; g = g->next)
		json_array_append_new(rows, group_json(g->data));
	g_list_free(groups);
	return json_pack("{s:s,s:o,s:o,s:o,s:o}", "by", by_names[w->by], "since",
			 weir_json_time(q->since_ns), "until", weir_json_time(q->until_ns), "rows",
			 rows, "total", group_json(&w->all));
}

/* -------------------------------------------------------------------------- handler */

static int margin_args(struct weir_call *c, struct weir_margin_query *q, struct walk *w,
		       struct weir_error *err)
{
	const char *tenant = NULL;
	struct weir_json at;
	int r = weir_call_tenant(c, true, &tenant, &q->tenant, err);

	/* The month so far, if nothing else is said. */
	q->since_ns = weir_month_start_ns(weir_month_of(weir_wall_ns()));
	if (!r)
		r = weir_call_time(c, "since", &q->since_ns, err);
	if (!r)
		r = weir_call_time(c, "until", &q->until_ns, err);
	if (!r && weir_json_get(&c->args, "by", &at))
		r = weir_json_choice(&at, by_names, &w->by, err);
	if (!r)
		r = weir_call_bool(c, "progress", &w->far.wanted, err);
	if (!r && q->until_ns && q->until_ns <= q->since_ns)
		r = weir_fail(err, EINVAL, "request: until: is not after since");
	return r;
}

int weir_do_margin(struct weir_call *c, struct weir_error *err)
{
	struct walk w = { .c = c, .by = BY_TENANT, .err = err, .far.told_ns = weir_mono_ns() };
	struct weir_margin_query q = { .page = page };
	json_t *result = NULL;
	int r = margin_args(c, &q, &w, err);

	if (r)
		return r;
	w.reader = weir_call_reader(c, err);
	if (!w.reader)
		return -EIO;
	w.groups = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_group);
	r = weir_reader_newest(w.reader, &w.far.newest, err);
	if (!r)
		r = weir_margin_walk(w.reader, &q, item, &w, err);
	if (!r)
		result = result_json(&w, &q);
	g_hash_table_destroy(w.groups);
	return r ? r : weir_call_result(c, result);
}
