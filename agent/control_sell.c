// SPDX-License-Identifier: Apache-2.0
/*
 * Handlers of credit packs: the catalogue, and the sale of one. A sale is a grant that names its
 * pack and its price; a bonus is a grant of its own with the id of the sale and "/bonus".
 *
 * The two are two entries, written one after the other. An agent that is killed between them has
 * sold without the bonus, and nobody was told that it was done: repeating the sale makes up for
 * it. What was sold is what its entry says, whatever the catalogue says by then.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control_write.h"
#include "money.h"
#include "suggest.h"
#include "writer.h"

#define BONUS  "/bonus"
#define DAY_NS (86400 * WEIR_SECOND)

static json_t *pack_json(const struct weir_pack *p)
{
	return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:i}", "pack", p->name, "amount",
			 weir_json_money(p->amount_nano), "bonus", weir_json_money(p->bonus_nano),
			 "price", weir_json_money(p->price_nano), "currency",
			 weir_json_text(p->currency[0] ? p->currency : NULL), "expires_days",
			 p->expires_days ? json_integer(p->expires_days) : json_null(), "source",
			 weir_json_text(weir_grant_source_names[p->source]), "priority",
			 (int)p->priority);
}

int weir_do_credit_packs(struct weir_call *c, struct weir_error *err)
{
	struct weir_policy *p = c->view->policy(c->view->ctx);
	json_t *rows = json_array();
	int r = rows ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < p->n_packs; i++) {
		if (json_array_append_new(rows, pack_json(&p->packs[i])))
			r = -ENOMEM;
	}
	weir_policy_unref(p);
	if (!r)
		return weir_call_result(c, rows);
	json_decref(rows);
	return r;
}

/* --------------------------------------------------------------------------- selling */

struct sale {
	const struct weir_agent_view *view;
	struct weir_op pack, bonus; /* bonus: amount 0: none */
	struct weir_done sold, given;
	int64_t balance_nano;	  /* after both */
	bool had_sold, had_given; /* written before: not again */
	struct weir_error *err;
};

static int call_sell(struct weir_ledger *l, void *arg)
{
	struct sale *s = arg;
	int r = 0;

	if (!s->had_sold)
		r = s->view->post(s->view->ctx, l, &s->pack, &s->sold, s->err);
	if (!r && s->bonus.amount_nano && !s->had_given)
		r = s->view->post(s->view->ctx, l, &s->bonus, &s->given, s->err);
	if (!r)
		s->balance_nano = weir_ledger_balance(l, s->pack.wallet);
	return r;
}

/* A copy, so that no policy has to be kept. */
static int find_pack(struct weir_call *c, const char *name, struct weir_pack *out,
		     struct weir_error *err)
{
	struct weir_policy *p = c->view->policy(c->view->ctx);
	const struct weir_pack *pack = weir_policy_pack(p, name);
	struct weir_suggest s;
	int r = 0;

	if (pack) {
		*out = *pack;
		out->name = NULL; /* the policy's */
	} else {
		weir_suggest_init(&s, name);
		for (size_t i = 0; i < p->n_packs; i++)
			weir_suggest_offer(&s, p->packs[i].name);
		if (s.best)
			r = weir_fail(err, ENOENT,
				      "pack \"%s\": not in the catalogue (did you mean \"%s\"?)",
				      name, s.best);
		else
			r = weir_fail(err, ENOENT,
				      "pack \"%s\": not in the catalogue (see credit packs)", name);
	}
	weir_policy_unref(p);
	return r;
}

static void bonus_of(struct sale *s, int64_t nano)
{
	s->bonus = (struct weir_op){
		.kind = WEIR_ENTRY_GRANT,
		.tenant = s->pack.tenant,
		.wallet = s->pack.wallet,
		.source = WEIR_GRANT_PROMO,
		.priority = s->pack.priority,
		.amount_nano = nano,
		.expires_ns = s->pack.expires_ns,
	};
	memcpy(s->bonus.pack, s->pack.pack, sizeof(s->bonus.pack));
	memcpy(s->bonus.reason, s->pack.reason, sizeof(s->bonus.reason));
	memcpy(s->bonus.actor, s->pack.actor, sizeof(s->bonus.actor));
	snprintf(s->bonus.key, sizeof(s->bonus.key), "%.*s" BONUS,
		 (int)(sizeof(s->bonus.key) - sizeof(BONUS)), s->pack.key);
}

/* Sold under this id before? 0: yes, and s is as it was then; -ENOENT: no; -EEXIST: the id was
 * used for something else. */
static int sold_before(struct weir_call *c, struct sale *s, struct weir_error *err)
{
	struct weir_named was, bonus;
	struct weir_pack pack;
	int r = weir_call_written(c, s->pack.key, &was, err);

	if (r)
		return r;
	if (was.kind != WEIR_ENTRY_GRANT || was.tenant != s->pack.tenant ||
	    strcmp(was.op.pack, s->pack.pack) || strcmp(was.op.reason, s->pack.reason))
		return weir_fail(err, EEXIST,
				 "id \"%s\": was used for something else (entry %llu); take a new "
				 "one",
				 s->pack.key, (unsigned long long)was.seq);
	s->had_sold = true;
	s->pack.amount_nano = was.op.amount_nano;
	s->pack.cost_basis_nano = was.op.cost_basis_nano;
	memcpy(s->pack.currency, was.op.currency, sizeof(s->pack.currency));
	s->pack.expires_ns = was.op.expires_ns;
	s->pack.priority = was.op.priority;
	s->pack.source = was.op.source;
	s->sold = (struct weir_done){ .seq = was.seq, .id = was.id, .repeated = true };
	bonus_of(s, 0);
	r = weir_call_written(c, s->bonus.key, &bonus, err);
	if (!r) {
		s->bonus.amount_nano = bonus.op.amount_nano;
		s->given = (struct weir_done){ .seq = bonus.seq, .id = bonus.id, .repeated = true };
		s->had_given = true;
		return 0;
	}
	if (r != -ENOENT)
		return r;
	/* Cut short between the two, unless that pack never had a bonus. */
	if (!find_pack(c, s->pack.pack, &pack, NULL) && pack.bonus_nano &&
	    pack.amount_nano == s->pack.amount_nano && pack.price_nano == s->pack.cost_basis_nano)
		bonus_of(s, pack.bonus_nano);
	return 0;
}

static int fresh_sale(struct weir_call *c, struct sale *s, struct weir_error *err)
{
	struct weir_pack pack;
	int r = find_pack(c, s->pack.pack, &pack, err);

	if (r)
		return r;
	if (pack.bonus_nano && strlen(s->pack.key) + sizeof(BONUS) > sizeof(s->pack.key))
		return weir_fail(err, EINVAL,
				 "request: id: has more than %zu bytes: the bonus takes the rest",
				 sizeof(s->pack.key) - sizeof(BONUS));
	s->pack.amount_nano = pack.amount_nano;
	s->pack.source = pack.source;
	s->pack.priority = pack.priority;
	s->pack.cost_basis_nano = pack.price_nano;
	memcpy(s->pack.currency, pack.currency, sizeof(s->pack.currency));
	if (pack.expires_days)
		s->pack.expires_ns = weir_wall_ns() + pack.expires_days * DAY_NS;
	bonus_of(s, pack.bonus_nano);
	return 0;
}

static json_t *sale_json(const struct sale *s, const char *tenant)
{
	struct weir_done sold = s->sold, given = s->given;
	json_t *o;

	sold.balance_nano = given.balance_nano = s->balance_nano;
	o = weir_write_json(&s->pack, &sold, tenant, s->pack.amount_nano);
	if (!o)
		return NULL;
	json_object_set_new(o, "pack", weir_json_text(s->pack.pack));
	json_object_set_new(o, "price", weir_json_money(s->pack.cost_basis_nano));
	json_object_set_new(o, "currency",
			    weir_json_text(s->pack.currency[0] ? s->pack.currency : NULL));
	json_object_set_new(o, "expires_at", weir_json_time(s->pack.expires_ns));
	json_object_set_new(o, "bonus",
			    s->bonus.amount_nano ? weir_write_json(&s->bonus, &given, tenant,
								   s->bonus.amount_nano)
						 : json_null());
	return o;
}

int weir_do_credit_sell(struct weir_call *c, struct weir_error *err)
{
	struct sale s = { .view = c->view, .pack = { .kind = WEIR_ENTRY_GRANT }, .err = err };
	const char *tenant = NULL, *pack = NULL;
	char amount[WEIR_MONEY_TEXT];
	int r = weir_write_words(c, &s.pack, err);

	if (!r)
		r = weir_write_tenant(c, &s.pack, &tenant, err);
	if (!r)
		r = weir_call_string(c, "pack", sizeof(s.pack.pack) - 1, &pack, err);
	if (r)
		return r;
	if (!pack)
		return weir_fail(err, EINVAL, "request: \"pack\" is missing (see credit packs)");
	snprintf(s.pack.pack, sizeof(s.pack.pack), "%s", pack);

	r = sold_before(c, &s, err);
	if (r == -ENOENT) {
		r = fresh_sale(c, &s, err);
		if (!r)
			r = weir_writer_call(c->view->writer, call_sell, &s);
		/* Somebody sold it under this id just now: on terms of that instant. */
		if (r == -EEXIST || (!r && s.sold.repeated))
			r = sold_before(c, &s, err);
	}
	if (!r && s.had_sold)
		r = weir_writer_call(c->view->writer, call_sell, &s);
	if (r)
		return r;
	weir_money_format(s.pack.amount_nano, amount);
	weir_write_log(c, &s.pack, &s.sold, "pack %s (%s) sold to %s", s.pack.pack, amount, tenant);
	if (s.bonus.amount_nano) {
		weir_money_format(s.bonus.amount_nano, amount);
		weir_write_log(c, &s.bonus, &s.given, "bonus %s of pack %s granted to %s", amount,
			       s.pack.pack, tenant);
	}
	return weir_call_result(c, sale_json(&s, tenant));
}
