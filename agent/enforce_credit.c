// SPDX-License-Identifier: Apache-2.0
/*
 * Wallets' ceilings, in step with the ledger: set once from its balances, then moved by what
 * each commit changed. The consumer takes what a request cost off the ceiling before the row
 * is written, and a deduct is held off it: both are told apart from what the commit changes,
 * so that nothing is taken twice.
 */
#include "enforce_priv.h"

#include <errno.h>

#include "account.h"
#include "expiry.h"
#include "money.h"

static void set_ceiling(struct weir_enforce *e, uint32_t i, struct weir_ledger *l)
{
	struct weir_tenant *t = &e->kernel->tenants[i];
	uint64_t expiry_ns;
	int64_t expiry_nano;

	/* Read first: what is lost in between is given back by weir_enforce_lost. */
	e->terms[i].lost_nano = __atomic_load_n(&t->lost_nano, __ATOMIC_ACQUIRE);
	weir_ledger_next_expiry(l, i, &expiry_ns, &expiry_nano);
	weir_ceiling_set(t, weir_ledger_balance(l, i), e->terms[i].overage_nano,
			 e->terms[i].lost_nano);
	weir_expiry_store(t, expiry_ns, expiry_nano);
}

void weir_enforce_ceilings(struct weir_enforce *e, struct weir_ledger *l)
{
	e->settled = true;
	for (uint32_t i = 1; i <= e->count; i++)
		if (!e->terms[i].is_scope)
			set_ceiling(e, i, l);
}

void weir_enforce_moved(struct weir_enforce *e, struct weir_ledger *l,
			const struct weir_wallet_change *c)
{
	struct weir_wallet_move move = { .nano = c->delta_nano + c->taken_nano,
					 .now_ns = weir_wall_ns() };

	if (!e->settled || c->wallet >= e->kernel->max_tenants)
		return;
	if (c->wallet == e->held_wallet) {
		move.nano += e->held_nano;
		e->held_wallet = WEIR_NO_TENANT;
	}
	weir_ledger_next_expiry(l, c->wallet, &move.expiry_wall_ns, &move.expiry_nano);
	weir_wallet_moved(&e->kernel->tenants[c->wallet], &move);
}

/* -- top-ups */

int weir_enforce_top_ups(struct weir_enforce *e, const struct weir_plan *plan,
			 struct weir_ledger *l)
{
	const struct weir_policy *p = plan->policy;
	int r = 0;

	for (size_t i = 0; i < p->n_tenants && !r; i++) {
		const struct weir_limits *limits = &p->tenants[i].limits;
		struct weir_terms *terms = &e->terms[plan->numbers[i]];
		bool wants = limits->top_up_ask_nano && !p->tenants[i].wallet;

		if (wants || terms->has_top_up)
			r = weir_ledger_threshold(l, plan->numbers[i],
						  wants ? limits->top_up_below_nano : INT64_MIN,
						  limits->top_up_ask_nano);
		terms->has_top_up = wants;
	}
	for (uint32_t i = 1; i <= e->count && !r; i++) {
		if (e->terms[i].live || !e->terms[i].has_top_up)
			continue;
		r = weir_ledger_threshold(l, i, INT64_MIN, 0);
		e->terms[i].has_top_up = false;
	}
	return r;
}

/* -- deducts */

/* What the ledger says of a deduct that finds too little, in words that the wallet's owner can
 * do something with. */
static int too_little(struct weir_enforce *e, const struct weir_op *op, int64_t left,
		      int64_t balance, struct weir_error *err)
{
	char asked[WEIR_MONEY_TEXT], there[WEIR_MONEY_TEXT], has[WEIR_MONEY_TEXT];

	weir_money_format(op->amount_nano, asked);
	weir_money_format(left > 0 ? left : 0, there);
	weir_money_format(balance, has);
	return weir_fail(err, ENODATA,
			 "%s: %s cannot be deducted: %s is left (balance %s, overage and what "
			 "requests in flight have reserved counted in)",
			 e->terms[op->tenant].name, asked, there, has);
}

static int deduct(struct weir_enforce *e, struct weir_ledger *l, struct weir_op *op,
		  uint64_t now_ns, struct weir_done *done, struct weir_error *err)
{
	struct weir_tenant *t = &e->kernel->tenants[op->wallet];
	int64_t left = 0, balance;
	bool held;
	int r;

	/* So that the ceiling has what falls due until then. */
	r = weir_ledger_advance(l, now_ns, err);
	if (r)
		return r;
	balance = weir_ledger_balance(l, op->wallet);
	held = weir_ceiling_hold(t, op->amount_nano, &left);
	if (held) {
		e->held_wallet = op->wallet;
		e->held_nano = op->amount_nano;
	} else {
		/* By this it is refused, if it is not the repetition of one that was done. */
		op->overage_nano = left - balance;
	}
	r = weir_ledger_post(l, op, now_ns, done, err);
	if (e->held_wallet) /* nothing was written */
		weir_ceiling_add(t, e->held_nano, e->held_nano);
	e->held_wallet = WEIR_NO_TENANT;
	return r == -ENODATA ? too_little(e, op, left, balance, err) : r;
}

int weir_enforce_post(struct weir_enforce *e, struct weir_ledger *l, const struct weir_op *op,
		      struct weir_done *done, struct weir_error *err)
{
	struct weir_op ours = *op;
	uint64_t now_ns = weir_wall_ns();

	if (op->kind != WEIR_ENTRY_DEDUCT || op->wallet >= e->kernel->max_tenants)
		return weir_ledger_post(l, &ours, now_ns, done, err);
	ours.overage_nano = e->terms[op->wallet].live ? e->terms[op->wallet].overage_nano : 0;
	if (op->amount_nano <= 0 || op->flags & WEIR_OP_ALLOW_DEBT || !e->settled)
		return weir_ledger_post(l, &ours, now_ns, done, err);
	return deduct(e, l, &ours, now_ns, done, err);
}

int weir_enforce_wallet(struct weir_enforce *e, uint32_t tenant, uint32_t *out)
{
	const struct weir_terms *terms = NULL;
	uint32_t wallet = 0;

	pthread_rwlock_rdlock(&e->lock);
	if (tenant < e->kernel->max_tenants && e->terms[tenant].name &&
	    !e->terms[tenant].is_scope) {
		terms = &e->terms[tenant];
		wallet = terms->wallet;
	}
	pthread_rwlock_unlock(&e->lock);
	if (!terms)
		return -ENOENT;
	*out = wallet ? wallet : tenant;
	return 0;
}

/* -- what cannot be billed */

void weir_enforce_lost(struct weir_enforce *e)
{
	for (uint32_t i = 1; i <= e->count; i++) {
		struct weir_tenant *t = &e->kernel->tenants[i];
		uint64_t lost = __atomic_load_n(&t->lost_nano, __ATOMIC_ACQUIRE);
		int64_t delta = (int64_t)(lost - e->terms[i].lost_nano);
		char text[WEIR_MONEY_TEXT];

		if (!delta)
			continue;
		e->terms[i].lost_nano = lost;
		weir_ceiling_add(t, delta, 0);
		weir_money_format(delta, text);
		weir_log(WEIR_ERR,
			 "wallet %s: the ring was full: requests that had reserved %s of it were "
			 "served and cannot be billed; raise \"ring_bytes\"",
			 e->terms[i].name, text);
	}
}
