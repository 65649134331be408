// SPDX-License-Identifier: Apache-2.0
/* Handler of `credit balance`: what a wallet has, lot by lot. */
#include <errno.h>
#include <stdio.h>

#include "control_call.h"

static json_t *grant_json(const struct weir_lot *lot, const struct weir_id *entry)
{
	char id[2 * WEIR_ID_BYTES + 1];

	weir_hex(entry->b, sizeof(entry->b), id);
	return json_pack(
		"{s:s,s:o,s:o,s:o,s:o,s:o,s:i,s:o,s:o,s:s,s:o,s:b}", "id", id, "seq",
		weir_json_count(lot->seq), "amount", weir_json_money(lot->amount), "remaining",
		weir_json_money(lot->remaining), "pending", weir_json_money(lot->pending),
		"expired", weir_json_money(lot->expired), "priority", (int)lot->priority,
		"effective_at", weir_json_time(lot->effective_ns), "expires_at",
		weir_json_time(lot->expires_ns), "source",
		lot->source < WEIR_GRANT_SOURCE_MAX ? weir_grant_source_names[lot->source] : "?",
		"schedule_seq", lot->schedule ? weir_json_count(lot->schedule) : json_null(),
		"voided", (int)lot->voided);
}

static json_t *balance_json(const char *tenant, const char *wallet, int64_t reserved_nano,
			    const struct weir_balance *b)
{
	json_t *grants = json_array();
	int64_t pending = 0;

	for (size_t i = 0; grants && i < b->n_lots; i++) {
		/* No overflow: what is pending and what remains fit together. */
		pending += b->lots[i].pending;
		if (json_array_append_new(grants, grant_json(&b->lots[i], &b->ids[i]))) {
			json_decref(grants);
			grants = NULL;
		}
	}
	/* NULL for grants makes json_pack fail, and let go of the rest. */
	return json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:o}", "tenant", tenant, "wallet", wallet,
			 "balance", weir_json_money(b->balance_nano), "reserved",
			 weir_json_money(reserved_nano), "debt", weir_json_money(b->debt_nano),
			 "pending", weir_json_money(pending), "grants", grants);
}

int weir_do_credit_balance(struct weir_call *c, struct weir_error *err)
{
	char wallet[WEIR_ENTRY_NAME_BYTES];
	struct weir_reader *reader;
	struct weir_balance b = { 0 };
	struct weir_tenant t;
	struct weir_live live = { .reserved_nano = 0 };
	const char *tenant = NULL;
	uint32_t index = 0, payer;
	int r = weir_call_tenant(c, false, &tenant, &index, err);

	if (r)
		return r;
	/* Of a tenant that somebody else pays for, that one's credit is what counts. */
	if (c->view->wallet_of(c->view->ctx, index, &payer) ||
	    c->view->tenant_name(c->view->ctx, payer, wallet)) {
		payer = index;
		snprintf(wallet, sizeof(wallet), "%s", tenant);
	}
	reader = weir_call_reader(c, err);
	if (!reader)
		return -EIO;
	r = weir_reader_balance(reader, payer, weir_wall_ns(), &b, err);
	if (r)
		return r;
	if (!c->view->tenant_live(c->view->ctx, payer, &t))
		weir_live_figures(&t, weir_mono_ns(), &live);
	r = weir_call_result(c, balance_json(tenant, wallet, live.reserved_nano, &b));
	weir_balance_clear(&b);
	return r;
}
