// SPDX-License-Identifier: Apache-2.0
/*
 * Sums of price and cost over the log. Exact: added up in 128 bits, rounded once where they are
 * shown.
 */
#include "margin.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "money.h"

/* ---------------------------------------------------------------------- the walk */

struct refund {
	uint64_t of;
	int64_t nano;
};

struct walk {
	const struct weir_margin_query *q;
	weir_margin_fn fn;
	void *ctx;
	GArray *refunds;
	const struct refund *refund; /* whose entry is looked for; NULL: of none */
};

static void of_usage(const struct weir_entry *e, struct weir_margin_item *i)
{
	const struct weir_row *row = e->row;

	i->price_nano = row->price_nano;
	i->cost_nano = row->cost_nano;
	i->unpriced = row->flags & WEIR_ROW_UNPRICED;
	i->card_id = row->card_id;
	i->card_entry = row->card_entry;
	i->started_ns = row->started_wall_ns;
	i->model = row->model;
	i->feature = row->feature;
	i->session = row->session;
}

static void of_op(const struct weir_entry *e, struct weir_margin_item *i)
{
	const struct weir_op *op = e->op;

	i->price_nano = op->price_nano;
	i->cost_nano = op->cost_nano;
	i->unpriced = op->flags & WEIR_OP_UNPRICED;
	i->card_id = op->card_id;
	i->card_entry = op->card_entry;
	i->started_ns = op->started_ns;
	i->model = op->model;
	i->feature = op->feature;
	i->session = op->session;
	i->meter = op->dimension;
	i->counter = op->text;
}

static bool asked_for(const struct weir_margin_query *q, const struct weir_margin_item *i)
{
	return (!q->tenant || i->tenant == q->tenant) && i->started_ns >= q->since_ns &&
	       (!q->until_ns || i->started_ns < q->until_ns);
}

static int look(const struct weir_entry *e, void *ctx)
{
	struct walk *w = ctx;
	struct weir_margin_item i = {
		.kind = e->kind,
		.tenant = e->tenant,
		.tenant_name = e->tenant_name,
		.entry = e,
		.meter = "",
		.counter = "",
	};

	if (!w->refund && w->q->last_seq)
		*w->q->last_seq = e->seq;
	if (e->kind == WEIR_ENTRY_REFUND) {
		struct refund r = { e->op->of, e->op->amount_nano };

		if (!w->refund)
			g_array_append_val(w->refunds, r);
		return 0;
	}
	if (e->kind == WEIR_ENTRY_USAGE)
		of_usage(e, &i);
	else if (e->kind == WEIR_ENTRY_METER || e->kind == WEIR_ENTRY_TRUE_UP)
		of_op(e, &i);
	else
		return 0;
	if (!asked_for(w->q, &i))
		return 0;
	if (w->refund) {
		i.kind = WEIR_ENTRY_REFUND;
		i.refund_nano = w->refund->nano;
		i.price_nano = i.cost_nano = 0;
	}
	return w->fn(&i, w->ctx);
}

static int page(uint64_t seq, void *ctx)
{
	struct walk *w = ctx;

	/* Refunds are looked up when the walk is at its end. */
	return w->q->page ? w->q->page(w->refund ? UINT64_MAX : seq, w->ctx) : 0;
}

int weir_margin_walk(struct weir_reader *rd, const struct weir_margin_query *q, weir_margin_fn fn,
		     void *ctx, struct weir_error *err)
{
	struct walk w = { .q = q, .fn = fn, .ctx = ctx };
	/* Entered when it ended or later: never before it started. */
	struct weir_entry_query all = {
		.from_seq = q->from_seq,
		.since_ns = q->since_ns,
		.tenant = q->tenant,
		.limit = q->limit,
		.page = page,
		.kinds = 1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER |
			 1u << WEIR_ENTRY_TRUE_UP | 1u << WEIR_ENTRY_REFUND,
	};
	int r;

	w.refunds = g_array_new(FALSE, FALSE, sizeof(struct refund));
	r = weir_reader_entries(rd, &all, look, &w, err);
	for (guint i = 0; !r && i < w.refunds->len; i++) {
		struct weir_entry_query one = { .limit = 1, .page = page };

		w.refund = &g_array_index(w.refunds, struct refund, i);
		one.from_seq = w.refund->of;
		r = weir_reader_entries(rd, &one, look, &w, err);
	}
	g_array_free(w.refunds, TRUE);
	return r;
}

/* ------------------------------------------------------------------------- sums */

static struct weir_margin_currency *currency(struct weir_margin *m, const char *code)
{
	for (size_t i = 0; i < m->n_in; i++) {
		if (!strcmp(m->in[i].code, code))
			return &m->in[i];
	}
	if (m->n_in == WEIR_MARGIN_CURRENCIES)
		return NULL;
	snprintf(m->in[m->n_in].code, sizeof(m->in[0].code), "%s", code);
	return &m->in[m->n_in++];
}

static bool add_product(__int128 *sum, int64_t nano, int64_t price)
{
	return __builtin_add_overflow(*sum, (__int128)nano * price, sum);
}

int weir_margin_add(struct weir_margin *m, const struct weir_margin_item *i,
		    const struct weir_card *card)
{
	struct weir_margin_currency *c;

	m->requests += i->kind == WEIR_ENTRY_USAGE;
	m->meters += i->kind == WEIR_ENTRY_METER;
	m->unpriced += i->unpriced && i->kind != WEIR_ENTRY_REFUND;
	m->price += i->price_nano;
	m->refunds += i->refund_nano;
	m->cost += i->cost_nano;
	if (!card || !card->credit_price_nano)
		return 0;
	c = currency(m, card->currency);
	if (!c)
		return -E2BIG;
	return add_product(&c->price, i->price_nano, card->credit_price_nano) ||
			       add_product(&c->refunds, i->refund_nano, card->credit_price_nano) ||
			       add_product(&c->cost, i->cost_nano, card->credit_price_nano)
		       ? -ERANGE
		       : 0;
}

int64_t weir_margin_nano(__int128 sum)
{
	return sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t)sum;
}

int64_t weir_margin_money(__int128 sum)
{
	int64_t nano;

	return weir_money_div(sum, WEIR_NANO, &nano) ? weir_margin_nano(sum) : nano;
}

bool weir_margin_percent(__int128 price, __int128 refunds, __int128 cost,
			 char out[static WEIR_PERCENT_TEXT])
{
	__int128 net = price - refunds, left;
	char text[WEIR_MONEY_TEXT];
	int64_t hundredths;

	if (net <= 0 || __builtin_mul_overflow(net - cost, 10000, &left) ||
	    weir_money_div(left, net, &hundredths) || hundredths > INT64_MAX / 10000000 ||
	    hundredths < INT64_MIN / 10000000)
		return false;
	weir_money_format(hundredths * (WEIR_NANO / 100), text);
	snprintf(out, WEIR_PERCENT_TEXT, "%s", text);
	return true;
}

bool weir_margin_below(__int128 price, __int128 refunds, __int128 cost, int64_t floor_milli)
{
	__int128 net = price - refunds;

	if (floor_milli == INT64_MIN || (!net && !cost))
		return false;
	return (net - cost) * 1000 < net * floor_milli;
}
