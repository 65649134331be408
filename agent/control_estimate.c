/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handler of `price.estimate`: what a request would cost, by the same functions that the
 * ledger bills with, from where the tenant's counters stand now.
 */
#include "control_call.h"

#include <errno.h>
#include <string.h>

#include "calendar.h"
#include "ledger_book.h"
#include "margin.h"
#include "money.h"
#include "policy.h"
#include "price.h"

#define TOKENS_MAX INT64_C(1000000000000000)

struct estimate {
	struct weir_call *c;
	const char *tenant;
	uint32_t tenant_index;
	struct weir_use use;
	struct weir_pick pick;
	struct weir_quantities q;
	int64_t positions[WEIR_DIM_MAX];
	struct weir_charge charge;
};

/* -------------------------------------------------------------------- what is asked */

static int read_quantities(struct estimate *e, struct weir_error *err)
{
	static const struct {
		const char *name;
		enum weir_dimension dimension;
	} fields[] = {
		{ "input", WEIR_DIM_INPUT },	       { "output", WEIR_DIM_OUTPUT },
		{ "cache_read", WEIR_DIM_CACHE_READ }, { "cache_write", WEIR_DIM_CACHE_WRITE },
		{ "reasoning", WEIR_DIM_REASONING },   { "audio", WEIR_DIM_AUDIO },
		{ "image", WEIR_DIM_IMAGE },
	};
	struct weir_json at;
	bool begins = false;
	int r = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields) && !r; i++)
		r = weir_call_int(e->c, fields[i].name, 0, TOKENS_MAX,
				  &e->q.of[fields[i].dimension], err);
	e->q.of[WEIR_DIM_REQUEST] = 1;
	/* Nano of a second are nanoseconds. */
	if (!r && weir_json_get(&e->c->args, "seconds", &at))
		r = weir_json_decimal(&at, 0, INT64_MAX, &e->q.of[WEIR_DIM_SECOND], err);
	if (!r)
		r = weir_call_bool(e->c, "session_begins", &begins, err);
	e->q.of[WEIR_DIM_SESSION] = begins;
	return r;
}

static int read_use(struct estimate *e, struct weir_error *err)
{
	int r = weir_call_string(e->c, "model", 255, &e->use.model, err);

	if (!r)
		r = weir_call_string(e->c, "path", 255, &e->use.path, err);
	if (!r)
		r = weir_call_string(e->c, "service", WEIR_NAME_BYTES - 1, &e->use.service, err);
	e->use.started_ns = weir_wall_ns();
	if (!r)
		r = weir_call_time(e->c, "at", &e->use.started_ns, err);
	e->use.status = 200;
	if (!r)
		r = weir_call_tenant(e->c, true, &e->tenant, &e->tenant_index, err);
	if (r)
		return r;
	if (!e->use.model && !e->use.path)
		return weir_fail(err, EINVAL, "request: neither \"model\" nor \"path\" is there");
	for (size_t i = 1; e->use.service && i <= e->c->view->n_services; i++) {
		if (i == e->c->view->n_services)
			return weir_fail(err, ENOENT, "service \"%s\": no such service",
					 e->use.service);
		if (!strcmp(e->c->view->services[i], e->use.service))
			break;
	}
	return 0;
}

/* ---------------------------------------------------------------------- the figures */

/* Where the counters of the entry's steps stand; 0 where nobody is named. */
static int read_positions(struct estimate *e, struct weir_error *err)
{
	struct weir_reader *reader = e->tenant ? weir_call_reader(e->c, err) : NULL;
	uint32_t month = weir_month_of(e->use.started_ns);
	char key[WEIR_COUNTER_KEY];
	const char *pool;

	if (e->tenant && !reader)
		return -EIO;
	for (int d = 0; d < WEIR_DIM_MAX && reader; d++) {
		int r;

		if (weir_card_steps(e->pick.card, e->pick.entry, d, &pool) == WEIR_STEPS_NONE)
			continue;
		r = weir_counter_key(e->pick.card, e->pick.entry, d, e->tenant_index, key);
		if (!r)
			r = weir_reader_counter(reader, key, month, &e->positions[d], err);
		if (r)
			return r;
	}
	return 0;
}

static int reckon(struct estimate *e, const struct weir_policy *p, struct weir_error *err)
{
	const struct weir_tenant_policy *t = e->tenant ? weir_policy_tenant(p, e->tenant) : NULL;
	int r;

	e->use.tenant = e->tenant;
	e->use.tier = t ? t->tier : NULL;
	if (!weir_cards_pick(p->cards, p->n_cards, &e->use, &e->pick)) {
		e->pick.card = NULL;
		return 0;
	}
	r = read_positions(e, err);
	if (r)
		return r;
	r = weir_card_charge(e->pick.card, e->pick.entry, e->pick.discount_milli, &e->q,
			     e->positions, &e->charge);
	if (r == -ERANGE)
		weir_fail(err, ERANGE, "request: so much has a price that does not fit");
	return r;
}

/* --------------------------------------------------------------------------- in JSON */

static json_t *decimal(int64_t nano)
{
	return weir_json_money(nano);
}

/* Of what is counted in parts of 1e-9, whole ones with decimals. */
static json_t *count(enum weir_dimension d, int64_t n)
{
	return d == WEIR_DIM_SECOND || d == WEIR_DIM_UNIT ? decimal(n) : json_integer(n);
}

static json_t *line_json(const struct weir_charge *charge, const struct weir_price_line *l)
{
	__int128 amount = (__int128)l->quantity * l->unit_nano;
	int64_t nano = 0;
	json_t *o;

	weir_money_div(amount, l->per, &nano);
	o = json_pack("{s:s,s:s,s:o,s:o,s:o,s:o}", "dimension", weir_dimension_names[l->dimension],
		      "priced_as", weir_dimension_names[l->priced_as], "quantity",
		      count(l->dimension, l->quantity), "unit_price", decimal(l->unit_nano), "per",
		      count(l->dimension, l->per), "amount", decimal(nano));
	if (o && l->position >= 0)
		json_object_set_new(o, "position", count(l->dimension, l->position));
	return o;
}

static json_t *currency_json(const struct weir_card *card, const struct weir_charge *charge)
{
	__int128 price = (__int128)charge->price_nano * card->credit_price_nano;
	__int128 cost = (__int128)charge->cost_nano * card->credit_price_nano;

	return json_pack("{s:s,s:o,s:o}", "currency", card->currency, "price",
			 decimal(weir_margin_money(price)), "cost",
			 decimal(weir_margin_money(cost)));
}

static json_t *priced_json(const struct estimate *e)
{
	const struct weir_card *card = e->pick.card;
	const struct weir_charge *charge = &e->charge;
	char percent[WEIR_PERCENT_TEXT];
	json_t *lines = json_array(), *o;
	bool said = weir_margin_percent(charge->price_nano, 0, charge->cost_nano, percent);

	for (size_t i = 0; i < charge->n_lines; i++)
		json_array_append_new(lines, line_json(charge, &charge->lines[i]));
	o = json_pack("{s:b,s:{s:s,s:s,s:i,s:s},s:o,s:o,s:o,s:o,s:o}", "priced", 1, "rate_card",
		      "name", card->name, "version", card->version, "entry", (int)e->pick.entry,
		      "key", weir_card_entry_key(card, e->pick.entry), "lines", lines, "factor",
		      decimal(charge->factor), "price", decimal(charge->price_nano), "cost",
		      decimal(charge->cost_nano), "margin_percent",
		      said ? json_string(percent) : json_null());
	/* Markup over cost in currency: then so are the lines. */
	if (o)
		json_object_set_new(o, "lines_in",
				    charge->lines_credit_nano ? json_string(card->currency)
							      : json_string("credits"));
	if (o && card->credit_price_nano)
		json_object_set_new(o, "in_currency", currency_json(card, charge));
	return o;
}

int weir_do_price_estimate(struct weir_call *c, struct weir_error *err)
{
	struct estimate e = { .c = c };
	struct weir_policy *p;
	json_t *o = NULL;
	int r = read_quantities(&e, err);

	if (!r)
		r = read_use(&e, err);
	if (r)
		return r;
	p = c->view->policy(c->view->ctx);
	r = reckon(&e, p, err);
	if (!r) {
		o = e.pick.card ? priced_json(&e) : json_pack("{s:b}", "priced", 0);
		if (o) {
			json_object_set_new(o, "model", weir_json_text(e.use.model));
			json_object_set_new(o, "tenant", weir_json_text(e.tenant));
			json_object_set_new(o, "at", weir_json_time(e.use.started_ns));
		}
	}
	weir_policy_unref(p);
	return r ? r : weir_call_result(c, o);
}
