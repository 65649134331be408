/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked on the control socket: the name of each operation, the fields
 * its request may have, its handler. Nothing else knows all of them.
 */
#include "control_call.h"

#include <errno.h>
#include <string.h>

#include "suggest.h"

#define FIELDS(...) ((const char *const[]){ "op", ##__VA_ARGS__, NULL })

static const struct weir_operation operations[] = {
	{ "status", weir_do_status, FIELDS(), false },
	{ "top", weir_do_top, FIELDS(), false },
	{ "policy.show", weir_do_policy_show, FIELDS(), false },
	{ "policy.apply", weir_do_policy_apply, FIELDS("dir", "id"), false },
	{ "tenant.list", weir_do_tenant_list, FIELDS(), false },
	{ "tenant.show", weir_do_tenant_show, FIELDS("tenant"), false },
	{ "tenant.suspend", weir_do_tenant_suspend, FIELDS("tenant", "now", "reason", "id"),
	  false },
	{ "tenant.resume", weir_do_tenant_resume, FIELDS("tenant", "reason", "id"), false },
	{ "enforce.show", weir_do_enforce_show, FIELDS(), false },
	{ "enforce.set", weir_do_enforce_set, FIELDS("on", "reason", "id"), false },
	{ "key.add", weir_do_key_add, FIELDS("tenant", "sha256", "hint", "expires", "id"), false },
	{ "key.list", weir_do_key_list, FIELDS("tenant"), false },
	{ "key.revoke", weir_do_key_revoke, FIELDS("tenant", "key", "id"), false },
	{ "credit.grant", weir_do_credit_grant,
	  FIELDS("tenant", "amount", "source", "priority", "effective", "expires", "cost_basis",
		 "currency", "reason", "id"),
	  false },
	{ "credit.packs", weir_do_credit_packs, FIELDS(), false },
	{ "credit.sell", weir_do_credit_sell, FIELDS("tenant", "pack", "reason", "id"), false },
	{ "credit.recur", weir_do_credit_recur,
	  FIELDS("tenant", "amount", "every", "zone", "starts", "rollover_min", "rollover_max",
		 "source", "priority", "reason", "id"),
	  false },
	{ "credit.schedules", weir_do_credit_schedules, FIELDS("tenant"), false },
	{ "credit.stop", weir_do_credit_stop, FIELDS("schedule", "reason", "id"), false },
	{ "credit.void", weir_do_credit_void, FIELDS("grant", "reason", "id"), false },
	{ "credit.refund", weir_do_credit_refund,
	  FIELDS("entry", "amount", "as_grant", "reason", "id"), false },
	{ "credit.adjust", weir_do_credit_adjust, FIELDS("tenant", "amount", "reason", "id"),
	  false },
	{ "credit.deduct", weir_do_credit_deduct,
	  FIELDS("tenant", "amount", "allow_debt", "reason", "id"), false },
	{ "credit.balance", weir_do_credit_balance, FIELDS("tenant"), false },
	{ "credit.breakage", weir_do_credit_breakage, FIELDS("tenant", "since", "until", "by"),
	  false },
	{ "ledger.list", weir_do_ledger_list, FIELDS("tenant", "since", "limit"), false },
	{ "ledger.verify", weir_do_ledger_verify, FIELDS(), false },
	{ "ledger.seal", weir_do_ledger_seal, FIELDS("month"), false },
	{ "backup", weir_do_backup, FIELDS("file", "force", "progress"), false },
	{ "usage", weir_do_usage, FIELDS("tenant", "by", "since", "until", "progress"), false },
	{ "trace", weir_do_trace, FIELDS("id", "since", "progress"), false },
	{ "events", weir_do_events, FIELDS("tenant", "since", "limit", "follow"), true },
	{ "events.verify", weir_do_events_verify, FIELDS("progress"), false },
	{ "why", weir_do_why, FIELDS("tenant"), false },
	{ "price.list", weir_do_price_list, FIELDS(), false },
	{ "price.show", weir_do_price_show, FIELDS("card"), false },
	{ "price.unpriced", weir_do_price_unpriced, FIELDS(), false },
	{ "price.estimate", weir_do_price_estimate,
	  FIELDS("model", "path", "service", "tenant", "at", "input", "output", "cache_read",
		 "cache_write", "reasoning", "audio", "image", "seconds", "session_begins"),
	  false },
	{ "margin", weir_do_margin, FIELDS("tenant", "by", "since", "until", "progress"), false },
	{ "meter.add", weir_do_meter_add,
	  FIELDS("tenant", "dimension", "quantity", "model", "service", "feature", "session", "at",
		 "reason", "id"),
	  false },
};

const struct weir_operation *weir_operation_find(const char *name, struct weir_error *err)
{
	struct weir_suggest s;

	weir_suggest_init(&s, name);
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		if (!strcmp(operations[i].name, name))
			return &operations[i];
		weir_suggest_offer(&s, operations[i].name);
	}
	if (s.best)
		weir_fail(err, EOPNOTSUPP, "op \"%.64s\": no such operation (did you mean \"%s\"?)",
			  name, s.best);
	else
		weir_fail(err, EOPNOTSUPP, "op \"%.64s\": no such operation", name);
	return NULL;
}
