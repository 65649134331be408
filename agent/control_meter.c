/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handler of `meter.add`: usage that no request was, by somebody's word. What it came to is
 * told from the ledger's entry, so that a repetition tells what was done then.
 */
#include "control_call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control_write.h"
#include "meter.h"
#include "money.h"
#include "price.h"

static int read_use(struct weir_call *c, struct weir_meter_use *use, struct weir_error *err)
{
	struct weir_json at;
	int r = weir_call_string(c, "tenant", WEIR_NAME_BYTES, &use->tenant, err);

	if (!r)
		r = weir_call_string(c, "dimension", 255, &use->dimension, err);
	if (!r && !weir_json_get(&c->args, "quantity", &at))
		r = weir_fail(err, EINVAL, "request: \"quantity\" is missing");
	if (!r)
		r = weir_json_decimal(&at, 1, INT64_MAX, &use->quantity_nano, err);
	if (!r)
		r = weir_call_string(c, "model", 255, &use->model, err);
	if (!r)
		r = weir_call_string(c, "service", WEIR_NAME_BYTES - 1, &use->service, err);
	if (!r)
		r = weir_call_string(c, "feature", 255, &use->feature, err);
	if (!r)
		r = weir_call_string(c, "session", 255, &use->session, err);
	if (!r)
		r = weir_call_string(c, "reason", 255, &use->reason, err);
	if (!r)
		r = weir_call_string(c, "id", 255, &use->key, err);
	use->said_when = weir_json_get(&c->args, "at", &at);
	use->started_ns = weir_wall_ns();
	if (!r)
		r = weir_call_time(c, "at", &use->started_ns, err);
	return r;
}

struct told {
	struct weir_reader *reader;
	uint64_t seq;
	json_t *o;
};

static json_t *card_json(const struct told *t, const struct weir_op *op)
{
	const struct weir_card *card = weir_reader_card(t->reader, op->card_id);

	if (!card)
		return json_null();
	return json_pack("{s:s,s:s,s:i,s:s}", "name", card->name, "version", card->version, "entry",
			 (int)op->card_entry, "key", weir_card_entry_key(card, op->card_entry));
}

static int tell(const struct weir_entry *e, void *ctx)
{
	struct told *t = ctx;

	if (e->seq != t->seq || !e->op)
		return 0;
	t->o = json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:b,s:o,s:o}", "id", e->op->key,
			 "tenant", e->tenant_name ? e->tenant_name : "", "wallet",
			 e->wallet_name ? e->wallet_name : "", "dimension", e->op->dimension,
			 "quantity", weir_json_money(e->op->quantity_nano), "price",
			 weir_json_money(e->op->price_nano), "cost",
			 weir_json_money(e->op->cost_nano), "rate_card", card_json(t, e->op),
			 "unpriced", (e->op->flags & WEIR_OP_UNPRICED) != 0, "seq",
			 weir_json_count(e->seq), "at", weir_json_time(e->op->started_ns));
	return 0;
}

int weir_do_meter_add(struct weir_call *c, struct weir_error *err)
{
	/* Whoever may control the agent is believed. */
	struct weir_meter_use use = { .trusted = true, .actor = c->actor };
	struct weir_entry_query q = { .limit = 1 };
	struct weir_done done;
	struct weir_op op;
	struct told t = { .reader = weir_call_reader(c, err) };
	char quantity[WEIR_MONEY_TEXT];
	int r = t.reader ? read_use(c, &use, err) : -EIO;

	if (!r)
		r = weir_meter_op(c->view, &use, &op, err);
	if (!r)
		r = weir_write_post(c, &op, &done, err);
	if (r)
		return r;
	if (!done.repeated) {
		weir_money_format(op.quantity_nano, quantity);
		weir_log(WEIR_NOTE, "meter: %s %s of %s by %s%s (id %s)", quantity, op.dimension,
			 use.tenant, c->actor,
			 op.flags & WEIR_OP_UNPRICED ? ", which no card prices" : "", op.key);
	}
	q.from_seq = t.seq = done.seq;
	r = weir_reader_entries(t.reader, &q, tell, &t, err);
	if (!r && !t.o)
		r = weir_fail(err, EIO, "meter: entry %llu cannot be read again",
			      (unsigned long long)done.seq);
	if (r)
		return r;
	json_object_set_new(t.o, "balance", weir_json_money(done.balance_nano));
	json_object_set_new(t.o, "repeated", json_boolean(done.repeated));
	return weir_call_result(c, t.o);
}
