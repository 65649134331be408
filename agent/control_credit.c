/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers of `credit`: grants through the writer, balances from the ledger.
 */
#include "control_call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "money.h"
#include "writer.h"

static const char *const sources[] = { "paid", "promo", "trial", NULL };

struct grant_write {
	struct weir_grant g;
	uint64_t seq;
	bool repeated;
	int64_t balance_nano;
	const struct weir_agent_view *view;
	struct weir_error *err;
};

static int call_grant(struct weir_ledger *l, void *arg)
{
	struct grant_write *w = arg;
	int r = weir_ledger_grant(l, &w->g, &w->seq, &w->repeated, w->err);

	if (r)
		return r;
	w->balance_nano = weir_ledger_balance_at(l, w->g.tenant, weir_wall_ns());
	return w->repeated ? 0 : w->view->grant_posted(w->view->ctx, l, &w->g);
}

static int grant_args(struct weir_call *c, struct weir_grant *g, const char **tenant,
		      struct weir_error *err)
{
	const char *id = NULL, *reason = "";
	struct weir_json at;
	int64_t priority = 100;
	int source = WEIR_GRANT_PAID;
	int r = weir_call_tenant(c, false, tenant, &g->tenant, err);

	if (r)
		return r;
	if (!weir_json_get(&c->args, "amount", &at))
		return weir_fail(err, EINVAL, "request: \"amount\" is missing");
	r = weir_json_decimal(&at, 1, INT64_MAX, &g->amount_nano, err);
	if (!r && weir_json_get(&c->args, "source", &at))
		r = weir_json_choice(&at, sources, &source, err);
	if (!r)
		r = weir_call_int(c, "priority", 0, 255, &priority, err);
	if (!r)
		r = weir_call_time(c, "effective", &g->effective_ns, err);
	if (!r)
		r = weir_call_time(c, "expires", &g->expires_ns, err);
	if (!r && weir_json_get(&c->args, "reason", &at))
		r = weir_json_string(&at, sizeof(g->reason) - 1, &reason, err);
	if (!r)
		r = weir_call_string(c, "id", sizeof(g->key) - 1, &id, err);
	if (r)
		return r;
	if (!id)
		return weir_fail(err, EINVAL,
				 "request: \"id\" is missing: it makes a repetition safe");
	if (g->expires_ns && g->expires_ns <= (g->effective_ns ? g->effective_ns : weir_wall_ns()))
		return weir_fail(err, EINVAL, "request: expires: is before it takes effect");
	g->source = (uint8_t)source;
	g->priority = (uint8_t)priority;
	snprintf(g->key, sizeof(g->key), "%s", id);
	snprintf(g->reason, sizeof(g->reason), "%s", reason);
	snprintf(g->actor, sizeof(g->actor), "%s", c->actor);
	return 0;
}

int weir_do_credit_grant(struct weir_call *c, struct weir_error *err)
{
	struct grant_write w = { .view = c->view, .err = err };
	const char *tenant = NULL;
	char amount[WEIR_MONEY_TEXT];
	int r = grant_args(c, &w.g, &tenant, err);

	if (!r)
		r = weir_writer_call(c->view->writer, call_grant, &w);
	if (r)
		return r;
	if (!w.repeated) {
		weir_money_format(w.g.amount_nano, amount);
		weir_log(WEIR_NOTE, "credit: %s granted to %s by %s (id %s)", amount, tenant,
			 c->actor, w.g.key);
	}
	return weir_call_result(c, json_pack("{s:s,s:s,s:o,s:o,s:o,s:b}", "id", w.g.key, "tenant",
					     tenant, "amount", weir_json_money(w.g.amount_nano),
					     "balance", weir_json_money(w.balance_nano), "seq",
					     weir_json_count(w.seq), "repeated", (int)w.repeated));
}

static json_t *grant_json(const struct weir_grant_state *s)
{
	char id[2 * WEIR_ID_BYTES + 1];

	weir_hex(s->id.b, sizeof(s->id.b), id);
	return json_pack("{s:s,s:o,s:o,s:i,s:o,s:o,s:s}", "id", id, "amount",
			 weir_json_money(s->grant.amount_nano), "remaining",
			 weir_json_money(s->remaining_nano), "priority", (int)s->grant.priority,
			 "effective_at", weir_json_time(s->grant.effective_ns), "expires_at",
			 weir_json_time(s->grant.expires_ns), "source",
			 s->grant.source <= WEIR_GRANT_TRIAL ? sources[s->grant.source] : "paid");
}

int weir_do_credit_balance(struct weir_call *c, struct weir_error *err)
{
	struct weir_reader *reader;
	struct weir_balance b = { 0 };
	struct weir_tenant t;
	struct weir_live live = { .reserved_nano = 0 };
	const char *tenant = NULL;
	uint32_t index = 0;
	json_t *grants;
	int r = weir_call_tenant(c, false, &tenant, &index, err);

	if (r)
		return r;
	reader = weir_call_reader(c, err);
	if (!reader)
		return -EIO;
	r = weir_reader_balance(reader, index, weir_wall_ns(), &b, err);
	if (r)
		return r;
	if (!c->view->tenant_live(c->view->ctx, index, &t))
		weir_live_figures(&t, weir_mono_ns(), &live);
	grants = json_array();
	for (size_t i = 0; i < b.n_grants; i++)
		json_array_append_new(grants, grant_json(&b.grants[i]));
	r = weir_call_result(c, json_pack("{s:s,s:o,s:o,s:o,s:o}", "tenant", tenant, "balance",
					  weir_json_money(b.balance_nano), "reserved",
					  weir_json_money(live.reserved_nano), "debt",
					  weir_json_money(b.debt_nano), "grants", grants));
	weir_balance_clear(&b);
	return r;
}
