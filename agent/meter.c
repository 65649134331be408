// SPDX-License-Identifier: Apache-2.0
/*
 * Usage that no request was, from what somebody said to an entry: every field is checked here,
 * the card is picked by the instant it was used, and the ledger does the rest.
 */
#include "meter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy.h"
#include "price.h"
#include "suggest.h"

/* ---------------------------------------------------------------------- checking */

static bool given(const char *text)
{
	return text && *text;
}

/* Into a field of the entry: whole, or not at all. */
static int put(char *to, size_t room, const char *what, const char *text, struct weir_error *err)
{
	if (!given(text))
		return 0;
	if (strlen(text) >= room)
		return weir_fail(err, EINVAL, "%s: is longer than %zu bytes", what, room - 1);
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 127)
			return weir_fail(err, EINVAL, "%s: has a control character", what);
	}
	snprintf(to, room, "%s", text);
	return 0;
}

static int put_dimension(const struct weir_meter_use *m, struct weir_op *op, struct weir_error *err)
{
	if (!given(m->dimension))
		return weir_fail(err, EINVAL, "dimension: is missing: what was used?");
	if (!weir_name_ok(m->dimension) || strlen(m->dimension) >= sizeof(op->dimension))
		return weir_fail(err, EINVAL,
				 "dimension: \"%.64s\" is not a name of 1 to %zu of a-z 0-9 _ -",
				 m->dimension, sizeof(op->dimension) - 1);
	snprintf(op->dimension, sizeof(op->dimension), "%s", m->dimension);
	return 0;
}

static int put_tenant(const struct weir_agent_view *v, const struct weir_policy *p,
		      const struct weir_meter_use *m, struct weir_op *op, struct weir_error *err)
{
	struct weir_suggest s;

	if (!given(m->tenant))
		return weir_fail(err, EINVAL, "tenant: is missing: who used it?");
	if (weir_name_ok(m->tenant) && !v->tenant_index(v->ctx, m->tenant, &op->tenant)) {
		if (v->wallet_of(v->ctx, op->tenant, &op->wallet))
			op->wallet = op->tenant;
		return 0;
	}
	weir_suggest_init(&s, m->tenant);
	for (size_t i = 0; i < p->n_tenants; i++)
		weir_suggest_offer(&s, p->tenants[i].name);
	if (s.best)
		return weir_fail(err, ENOENT,
				 "tenant \"%.64s\": no such tenant (did you mean \"%s\"?)",
				 m->tenant, s.best);
	return weir_fail(err, ENOENT, "tenant \"%.64s\": no such tenant", m->tenant);
}

static int check(const struct weir_agent_view *v, const struct weir_policy *p,
		 const struct weir_meter_use *m, struct weir_op *op, struct weir_error *err)
{
	int r = put_tenant(v, p, m, op, err);

	if (!r)
		r = put_dimension(m, op, err);
	if (!r && m->quantity_nano <= 0)
		r = weir_fail(err, EINVAL, "quantity: is not above 0");
	if (!r && !given(m->key))
		r = weir_fail(err, EINVAL, "id: is missing: it makes a repetition safe");
	if (!r)
		r = put(op->key, sizeof(op->key), "id", m->key, err);
	if (!r)
		r = put(op->model, sizeof(op->model), "model", m->model, err);
	if (!r)
		r = put(op->feature, sizeof(op->feature), "feature", m->feature, err);
	if (!r)
		r = put(op->session, sizeof(op->session), "session", m->session, err);
	if (!r)
		r = put(op->actor, sizeof(op->actor), "actor", m->actor, err);
	if (!r)
		r = put(op->reason, sizeof(op->reason), "reason", m->reason, err);
	if (!r && m->started_ns > weir_wall_ns() + WEIR_METER_AHEAD_NS)
		r = weir_fail(err, EINVAL,
			      "at: is in the future: what was not used yet cannot be billed");
	op->quantity_nano = m->quantity_nano;
	return r;
}

/* ----------------------------------------------------------------------- pricing */

static int price(const struct weir_policy *p, const struct weir_meter_use *m, struct weir_op *op,
		 struct weir_error *err)
{
	const struct weir_tenant_policy *t = weir_policy_tenant(p, m->tenant);
	const struct weir_use use = {
		.tenant = m->tenant,
		.tier = t ? t->tier : NULL,
		.service = m->service,
		.model = op->model,
		.meter = op->dimension,
		.started_ns = m->started_ns,
	};
	struct weir_pick pick;

	if (t && t->limits.credit != WEIR_CREDIT_NONE)
		op->flags |= WEIR_OP_POSTED;
	if (!weir_cards_pick(p->cards, p->n_cards, &use, &pick)) {
		op->flags |= WEIR_OP_UNPRICED;
		return 0;
	}
	/* The agent stores cards before it puts them in force. */
	if (!pick.card->id)
		return weir_fail(err, EIO, "rate card %s, version %s: is not in the database yet",
				 pick.card->name, pick.card->version);
	op->card_id = pick.card->id;
	op->card_entry = pick.entry;
	op->discount_milli = pick.discount_milli;
	return 0;
}

int weir_meter_op(const struct weir_agent_view *view, const struct weir_meter_use *use,
		  struct weir_op *op, struct weir_error *err)
{
	struct weir_policy *p = view->policy(view->ctx);
	struct weir_op o = {
		.kind = WEIR_ENTRY_METER,
		.started_ns = use->started_ns,
		.flags = (use->trusted ? WEIR_OP_TRUSTED : 0) | (use->said_when ? 0 : WEIR_OP_NOW),
	};
	int r = check(view, p, use, &o, err);

	if (!r)
		r = price(p, use, &o, err);
	weir_policy_unref(p);
	if (!r)
		*op = o;
	return r;
}
