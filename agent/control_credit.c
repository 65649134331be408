// SPDX-License-Identifier: Apache-2.0
/*
 * Handlers of what gives and takes credit: grant, adjust, deduct. What undoes is
 * control_undo.c's, packs are control_sell.c's, schedules control_recur.c's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control_write.h"
#include "money.h"

/* What was paid for it: an amount and its currency, both or neither. */
static int cost_args(struct weir_call *c, struct weir_op *op, struct weir_error *err)
{
	const char *currency = NULL;
	int r = weir_call_decimal(c, "cost_basis", 0, INT64_MAX, &op->cost_basis_nano, err);
	struct weir_json at;

	if (!r)
		r = weir_call_string(c, "currency", 8, &currency, err);
	if (r)
		return r;
	if (weir_json_get(&c->args, "cost_basis", &at) != (currency != NULL))
		return weir_fail(err, EINVAL,
				 "request: \"cost_basis\" and \"currency\" go together");
	if (!currency)
		return 0;
	if (strlen(currency) != 3 || strspn(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
		return weir_fail(err, EINVAL,
				 "request: currency: \"%s\" is not a currency such as USD",
				 currency);
	memcpy(op->currency, currency, 4);
	return 0;
}

int weir_do_credit_grant(struct weir_call *c, struct weir_error *err)
{
	struct weir_op op = { .kind = WEIR_ENTRY_GRANT };
	struct weir_done done;
	const char *tenant = NULL;
	char amount[WEIR_MONEY_TEXT];
	int r = weir_write_words(c, &op, err);

	if (!r)
		r = weir_write_tenant(c, &op, &tenant, err);
	if (!r)
		r = weir_write_amount(c, "amount", 1, INT64_MAX, &op.amount_nano, err);
	if (!r)
		r = weir_write_terms(c, &op, err);
	if (!r)
		r = weir_call_time(c, "effective", &op.effective_ns, err);
	if (!r)
		r = weir_call_time(c, "expires", &op.expires_ns, err);
	if (!r)
		r = cost_args(c, &op, err);
	if (r)
		return r;
	/* Without "effective" it is against now, which is the ledger's to say: a repetition may
	 * come after it has expired. */
	if (op.expires_ns && op.effective_ns && op.expires_ns <= op.effective_ns)
		return weir_fail(err, EINVAL, "request: expires: is not after it takes effect");
	r = weir_write_post(c, &op, &done, err);
	if (r)
		return r;
	weir_money_format(op.amount_nano, amount);
	weir_write_log(c, &op, &done, "%s granted to %s", amount, tenant);
	return weir_call_result(c, weir_write_json(&op, &done, tenant, op.amount_nano));
}

int weir_do_credit_adjust(struct weir_call *c, struct weir_error *err)
{
	struct weir_op op = { .kind = WEIR_ENTRY_ADJUST };
	struct weir_done done;
	const char *tenant = NULL;
	char amount[WEIR_MONEY_TEXT];
	int r = weir_write_words(c, &op, err);

	if (!r)
		r = weir_write_tenant(c, &op, &tenant, err);
	if (!r)
		r = weir_write_amount(c, "amount", -INT64_MAX, INT64_MAX, &op.amount_nano, err);
	if (r)
		return r;
	if (!op.amount_nano)
		return weir_fail(err, EINVAL, "request: amount: \"0\" adjusts nothing");
	if (!op.reason[0])
		return weir_fail(err, EINVAL,
				 "request: \"reason\" is missing: an adjustment says why");
	r = weir_write_post(c, &op, &done, err);
	if (r)
		return r;
	weir_money_format(op.amount_nano, amount);
	weir_write_log(c, &op, &done, "%s adjusted by %s%s", tenant, op.amount_nano > 0 ? "+" : "",
		       amount);
	return weir_call_result(c, weir_write_json(&op, &done, tenant, op.amount_nano));
}

int weir_do_credit_deduct(struct weir_call *c, struct weir_error *err)
{
	struct weir_op op = { .kind = WEIR_ENTRY_DEDUCT };
	struct weir_done done;
	const char *tenant = NULL;
	char amount[WEIR_MONEY_TEXT];
	bool debt = false;
	int r = weir_write_words(c, &op, err);

	if (!r)
		r = weir_write_tenant(c, &op, &tenant, err);
	if (!r)
		r = weir_write_amount(c, "amount", 1, INT64_MAX, &op.amount_nano, err);
	if (!r)
		r = weir_call_bool(c, "allow_debt", &debt, err);
	if (r)
		return r;
	if (debt)
		op.flags |= WEIR_OP_ALLOW_DEBT;
	r = weir_write_post(c, &op, &done, err);
	if (r)
		return r;
	weir_money_format(op.amount_nano, amount);
	weir_write_log(c, &op, &done, "%s deducted from %s", amount, tenant);
	return weir_call_result(c, weir_write_json(&op, &done, tenant, op.amount_nano));
}
