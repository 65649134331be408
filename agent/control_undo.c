// SPDX-License-Identifier: Apache-2.0
/*
 * Handlers of what is about an entry that is there: void of a grant or a schedule, refund of
 * what was used. Nothing is ever changed: each is an entry of its own.
 */
#include <errno.h>
#include <stdio.h>

#include "control_write.h"
#include "money.h"

/* Whose it was, whoever pays for them today. */
static void about(struct weir_op *op, const struct weir_named *of)
{
	op->of = of->seq;
	op->tenant = of->tenant;
	op->wallet = of->wallet;
}

static bool makes_a_grant(const struct weir_named *n)
{
	switch (n->kind) {
	case WEIR_ENTRY_GRANT:
	case WEIR_ENTRY_RECUR:
	case WEIR_ENTRY_REFUND: /* if it made one, which the ledger knows */
	case WEIR_ENTRY_EXPIRE: /* likewise: what it rolled over */
		return true;
	case WEIR_ENTRY_ADJUST:
		return n->amount_nano > 0;
	case WEIR_ENTRY_TRUE_UP:
		return n->amount_nano > 0;
	default:
		return false;
	}
}

static int wrong_kind(const char *field, const struct weir_named *n, const char *what,
		      struct weir_error *err)
{
	return weir_fail(err, EINVAL, "request: %s: entry %llu is a %s, not %s", field,
			 (unsigned long long)n->seq, weir_entry_kind_names[n->kind], what);
}

static int void_it(struct weir_call *c, const char *field, const struct weir_named *of,
		   struct weir_op *op, struct weir_error *err)
{
	char amount[WEIR_MONEY_TEXT];
	struct weir_done done;
	json_t *o;
	int r;

	about(op, of);
	r = weir_write_post(c, op, &done, err);
	if (r)
		return r;
	weir_money_format(done.amount_nano, amount);
	if (op->flags & WEIR_OP_SCHEDULE)
		weir_write_log(c, op, &done, "schedule %llu of %s stopped",
			       (unsigned long long)of->seq, of->tenant_name);
	else
		weir_write_log(c, op, &done, "grant %llu of %s voided, %s of it was left",
			       (unsigned long long)of->seq, of->tenant_name, amount);
	o = weir_write_json(op, &done, of->tenant_name, done.amount_nano);
	if (o)
		json_object_set_new(o, field, weir_json_count(of->seq));
	return weir_call_result(c, o);
}

int weir_do_credit_void(struct weir_call *c, struct weir_error *err)
{
	struct weir_op op = { .kind = WEIR_ENTRY_VOID };
	struct weir_named of;
	int r = weir_write_words(c, &op, err);

	if (!r)
		r = weir_call_entry(c, "grant", &of, err);
	if (r)
		return r;
	if (of.kind == WEIR_ENTRY_SCHEDULE)
		return weir_fail(err, EINVAL,
				 "request: grant: entry %llu is a schedule: stop it instead; its "
				 "grants are entries of their own",
				 (unsigned long long)of.seq);
	if (!makes_a_grant(&of))
		return wrong_kind("grant", &of, "a grant", err);
	return void_it(c, "grant_seq", &of, &op, err);
}

int weir_do_credit_stop(struct weir_call *c, struct weir_error *err)
{
	struct weir_op op = { .kind = WEIR_ENTRY_VOID, .flags = WEIR_OP_SCHEDULE };
	struct weir_named of;
	int r = weir_write_words(c, &op, err);

	if (!r)
		r = weir_call_entry(c, "schedule", &of, err);
	if (r)
		return r;
	if (of.kind != WEIR_ENTRY_SCHEDULE)
		return wrong_kind("schedule", &of, "a schedule", err);
	return void_it(c, "schedule_seq", &of, &op, err);
}

int weir_do_credit_refund(struct weir_call *c, struct weir_error *err)
{
	struct weir_op op = { .kind = WEIR_ENTRY_REFUND };
	char amount[WEIR_MONEY_TEXT];
	struct weir_done done;
	struct weir_named of;
	bool as_grant = false;
	json_t *o;
	int r = weir_write_words(c, &op, err);

	if (!r)
		r = weir_call_entry(c, "entry", &of, err);
	if (!r)
		r = weir_call_decimal(c, "amount", 1, INT64_MAX, &op.amount_nano, err);
	if (!r)
		r = weir_call_bool(c, "as_grant", &as_grant, err);
	if (r)
		return r;
	if (of.kind != WEIR_ENTRY_USAGE && of.kind != WEIR_ENTRY_DEDUCT &&
	    of.kind != WEIR_ENTRY_METER && of.kind != WEIR_ENTRY_TRUE_UP)
		return wrong_kind("entry", &of, "usage, meter, deduct or true_up", err);
	about(&op, &of);
	if (as_grant)
		op.flags |= WEIR_OP_AS_GRANT;
	r = weir_write_post(c, &op, &done, err);
	if (r)
		return r;
	weir_money_format(done.amount_nano, amount);
	weir_write_log(c, &op, &done, "%s of entry %llu refunded to %s", amount,
		       (unsigned long long)of.seq, of.tenant_name);
	o = weir_write_json(&op, &done, of.tenant_name, done.amount_nano);
	if (o)
		json_object_set_new(o, "of_seq", weir_json_count(of.seq));
	return weir_call_result(c, o);
}
