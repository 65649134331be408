// SPDX-License-Identifier: Apache-2.0
/*
 * Doing what an entry says, whoever says it: the ledger that has just planned it, or the log when
 * it is read again. What does not add up is not believed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_book_priv.h"

/* Counts and sums only ever grow; unknown (-1) adds nothing. */
static void add(int64_t *sum, int64_t v)
{
	if (v > 0 && __builtin_add_overflow(*sum, v, sum))
		*sum = INT64_MAX;
}

static void add_sale(struct weir_figures *f, int64_t price, int64_t cost)
{
	if (__builtin_add_overflow(f->price, price, &f->price)) /* a true-up may be negative */
		f->price = INT64_MAX;
	add(&f->cost, cost);
}

static void count_usage(struct weir_figures *f, const struct weir_row *row)
{
	add(&f->requests, 1);
	add(&f->estimated, row->usage_source == WEIR_USAGE_ESTIMATED);
	add(&f->partial, row->usage_source == WEIR_USAGE_PARTIAL);
	add(&f->tokens.input, row->usage.input);
	add(&f->tokens.cache_read, row->usage.cache_read);
	add(&f->tokens.cache_write, row->usage.cache_write);
	add(&f->tokens.output, row->usage.output);
	add(&f->tokens.reasoning, row->usage.reasoning);
	add(&f->audio, row->audio);
	add(&f->image, row->image);
	add_sale(f, row->price_nano > 0 ? row->price_nano : 0, row->cost_nano);
}

static int64_t *purse_of(struct weir_lot *lot, const struct weir_move *m)
{
	switch (m->purse) {
	case WEIR_PURSE_REMAINING:
		return &lot->remaining;
	case WEIR_PURSE_EXPIRED:
		return &lot->expired;
	case WEIR_PURSE_PENDING:
		return &lot->pending;
	default:
		return NULL;
	}
}

static int move_lot(struct weir_book *b, struct weir_account *acc, uint32_t wallet,
		    const struct weir_move *m, bool old)
{
	struct weir_lot *lot = weir_book_lot(b, m->lot);
	int64_t *purse, sum;
	int ret;

	if (!lot || lot->wallet != wallet)
		return -EBADMSG;
	purse = purse_of(lot, m);
	/* Old usage took from an expired lot without saying so. */
	if (old && purse == &lot->remaining && lot->remaining + m->nano < 0)
		purse = &lot->expired;
	if (!purse || __builtin_add_overflow(*purse, m->nano, &sum) || sum < 0)
		return -EBADMSG;
	ret = book_touch_lot(b, lot, false);
	/* Of one that was used up nobody expects that it expires. */
	if (!ret && purse == &lot->remaining && !*purse && lot->expires_ns)
		ret = book_due_expiry(b, lot);
	if (ret)
		return ret;
	*purse = sum;
	if (purse == &lot->remaining &&
	    __builtin_add_overflow(acc->remaining, m->nano, &acc->remaining))
		return -EBADMSG;
	acc->held += (uint64_t)m->nano;
	if ((__int128)lot->pending + lot->remaining + lot->expired > lot->amount)
		return -EBADMSG;
	return 0;
}

/* All moves of an entry; *net: what the wallet as a whole has more. */
static int move_all(struct weir_book *b, uint32_t wallet, const struct weir_posting *post,
		    int64_t *net, bool old)
{
	struct weir_account *acc = weir_book_account(b, wallet, true);
	uint64_t held;
	int64_t debt, sum;
	int ret = 0;

	if (!acc)
		return wallet >= WEIR_ACCOUNT_MAX ? -EBADMSG : -ENOMEM;
	ret = book_touch_account(b, wallet);
	held = acc->held;
	debt = acc->f.debt;
	for (size_t i = 0; i < post->n_moves && !ret; i++) {
		const struct weir_move *m = &post->moves[i];

		if (m->purse != WEIR_PURSE_DEBT) {
			ret = move_lot(b, acc, wallet, m, old);
			continue;
		}
		if (__builtin_add_overflow(acc->f.debt, m->nano, &sum) || sum < 0)
			return -EBADMSG;
		acc->f.debt = sum;
	}
	*net = (int64_t)(acc->held - held - (uint64_t)(acc->f.debt - debt));
	return ret;
}

/* What was issued is somewhere: in a lot, used, or forfeited; or owed. Sums of a wallet's life
 * wrap, all of them alike. */
static int balanced(const struct weir_account *acc)
{
	const struct weir_figures *f = &acc->f;

	return acc->held - (uint64_t)f->debt == f->issued - f->consumed - f->voided &&
			       acc->remaining >= 0 && f->debt >= 0
		       ? 0
		       : -EBADMSG;
}

/* The balance is well again: the next fall is asked for anew. */
static void forget_asking(struct weir_account *acc)
{
	if (acc->f.asked && acc->remaining - acc->f.debt >= acc->f.asked_below)
		acc->f.asked = acc->f.asked_below = 0;
}

int weir_book_apply_usage(struct weir_book *b, const struct weir_row *row,
			  const struct weir_entry_head *h, const struct weir_posting *post,
			  bool old)
{
	int64_t posted = row->flags & WEIR_ROW_POSTED ? row->price_nano : 0, net = 0;
	struct weir_account *acc;
	int ret;

	/* A row whose numbers are garbage is kept in the log and counted nowhere. */
	if (row->tenant >= WEIR_ACCOUNT_MAX || row->wallet >= WEIR_ACCOUNT_MAX)
		return posted || post->n_moves ? -EBADMSG : 0;
	ret = book_touch_account(b, row->tenant);
	if (!ret)
		ret = move_all(b, row->wallet, post, &net, old);
	if (ret)
		return ret;
	acc = &b->v[row->wallet];
	if (net != -posted || posted < 0)
		return -EBADMSG;
	acc->f.consumed += (uint64_t)posted;
	count_usage(&b->v[row->tenant].f, row);
	forget_asking(acc);
	return balanced(acc);
}

/* Terms of the lot that an entry makes; false: it makes none. */
static bool lot_of(const struct weir_op *op, const struct weir_entry_head *h,
		   const struct weir_posting *post, struct weir_lot *lot)
{
	*lot = (struct weir_lot){
		.seq = h->seq,
		.wallet = h->wallet,
		.source = op->source,
		.priority = op->priority,
		.effective_ns = op->effective_ns,
		.expires_ns = op->expires_ns,
		.created_ns = h->time_ns,
		.amount = op->amount_nano,
	};
	switch (op->kind) {
	case WEIR_ENTRY_GRANT:
		return true;
	case WEIR_ENTRY_RECUR:
		lot->schedule = op->of;
		return true;
	case WEIR_ENTRY_EXPIRE:
		lot->schedule = op->of;
		lot->amount = op->rolled_nano;
		return op->flags & WEIR_OP_SCHEDULE && op->rolled_nano;
	case WEIR_ENTRY_ADJUST:
		return op->amount_nano > 0;
	case WEIR_ENTRY_TRUE_UP:
		lot->amount = -op->price_nano;
		return op->price_nano < 0 && op->flags & WEIR_OP_POSTED;
	case WEIR_ENTRY_REFUND:
		lot->source = WEIR_GRANT_REFUND;
		lot->priority = WEIR_PRIORITY;
		for (size_t i = 0; i < post->n_moves; i++) {
			if (post->moves[i].lot != h->seq)
				continue;
			lot->amount = post->moves[i].nano;
			return true;
		}
		return false;
	default:
		return false;
	}
}

/* Of what an entry says, what the wallet's sums say after it. */
static int apply_sums(struct weir_book *b, const struct weir_op *op,
		      const struct weir_entry_head *h, int64_t net)
{
	struct weir_account *acc = &b->v[h->wallet];
	struct weir_figures *f = &acc->f, *of = &b->v[h->tenant].f;
	int64_t price = op->price_nano, posted = op->flags & WEIR_OP_POSTED ? price : 0;
	int64_t should = 0;

	switch (op->kind) {
	case WEIR_ENTRY_GRANT:
	case WEIR_ENTRY_RECUR:
	case WEIR_ENTRY_ADJUST:
		should = op->amount_nano;
		break;
	case WEIR_ENTRY_DEDUCT:
		should = -op->amount_nano;
		break;
	case WEIR_ENTRY_METER:
		add_sale(of, price, op->cost_nano);
		should = -posted;
		break;
	case WEIR_ENTRY_TRUE_UP:
		add_sale(of, price, 0);
		should = -posted;
		break;
	case WEIR_ENTRY_VOID:
		should = op->flags & WEIR_OP_SCHEDULE ? 0 : -op->amount_nano;
		if (net != should)
			return -EBADMSG;
		f->voided -= (uint64_t)net;
		return 0;
	case WEIR_ENTRY_REFUND:
		add(&of->refunded, op->amount_nano);
		if (net < 0 || net > op->amount_nano)
			return -EBADMSG;
		/* What is not there was taken, is given back, and is forfeited. */
		f->consumed -= (uint64_t)op->amount_nano;
		f->voided += (uint64_t)(op->amount_nano - net);
		return 0;
	case WEIR_ENTRY_EXPIRE:
		should = net > 0 ? net : 0; /* a schedule's least is issued */
		break;
	}
	if (net != should)
		return -EBADMSG;
	if (net > 0)
		f->issued += (uint64_t)net;
	else
		f->consumed -= (uint64_t)net;
	return 0;
}

static int apply_of(struct weir_book *b, const struct weir_op *op, const struct weir_entry_head *h)
{
	struct weir_schedule *s = NULL, made;
	struct weir_lot *lot;
	int64_t *sum;
	int ret;

	if (op->kind == WEIR_ENTRY_RECUR || op->flags & WEIR_OP_SCHEDULE) {
		s = weir_book_schedule(b, op->of);
		if (!s || s->wallet != h->wallet)
			return -EBADMSG;
		ret = book_touch_schedule(b, s, false);
		if (ret)
			return ret;
	}
	switch (op->kind) {
	case WEIR_ENTRY_RECUR:
		s->begun = true;
		s->next_ns = op->expires_ns;
		return book_due_schedule(b, s);
	case WEIR_ENTRY_EXPIRE:
		if (s)
			s->rolled_ns = s->next_ns;
		return 0;
	case WEIR_ENTRY_VOID:
		if (s) {
			s->next_ns = 0;
			return 0;
		}
		lot = weir_book_lot(b, op->of);
		if (!lot)
			return -EBADMSG;
		lot->voided = true;
		return 0;
	case WEIR_ENTRY_SCHEDULE:
		made = (struct weir_schedule){
			.seq = h->seq, .wallet = h->wallet, .next_ns = op->effective_ns, .op = *op
		};
		ret = weir_book_load_schedule(b, &made);
		return ret ? ret : book_touch_schedule(b, weir_book_schedule(b, h->seq), true);
	case WEIR_ENTRY_REFUND:
		ret = book_touch_refund(b, op->of);
		if (ret)
			return ret;
		sum = g_hash_table_lookup(b->refunds, &op->of);
		return __builtin_add_overflow(*sum, op->amount_nano, sum) ? -EBADMSG : 0;
	case WEIR_ENTRY_TRUE_UP:
		return book_trued_up(b, op);
	case WEIR_ENTRY_TOP_UP:
		b->v[h->wallet].f.asked = 1;
		b->v[h->wallet].f.asked_below = op->threshold_nano;
		return 0;
	default:
		return 0;
	}
}

int weir_book_apply_op(struct weir_book *b, const struct weir_op *op,
		       const struct weir_entry_head *h, const struct weir_posting *post, bool old)
{
	struct weir_lot terms, *lot;
	int64_t net = 0;
	int ret;

	if (h->tenant >= WEIR_ACCOUNT_MAX || h->wallet >= WEIR_ACCOUNT_MAX)
		return -EBADMSG;
	/* Both first: making one may move the array. */
	ret = book_touch_account(b, h->tenant);
	if (!ret)
		ret = book_touch_account(b, h->wallet);
	if (!ret && lot_of(op, h, post, &terms)) {
		if (terms.amount <= 0 || weir_book_lot(b, h->seq))
			return -EBADMSG;
		ret = book_insert_lot(b, &terms, &lot);
		if (!ret)
			ret = book_touch_lot(b, lot, true);
	}
	if (!ret)
		ret = move_all(b, h->wallet, post, &net, old);
	if (!ret)
		ret = apply_sums(b, op, h, net);
	if (!ret)
		ret = apply_of(b, op, h);
	/* Pending is known now. */
	if (!ret && weir_book_lot(b, h->seq))
		ret = book_due_lot(b, weir_book_lot(b, h->seq));
	if (ret)
		return ret;
	if (op->kind != WEIR_ENTRY_TOP_UP)
		forget_asking(&b->v[h->wallet]);
	return balanced(&b->v[h->wallet]);
}
