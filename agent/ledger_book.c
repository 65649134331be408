// SPDX-License-Identifier: Apache-2.0
/*
 * Wallets and their lots: taking, granting, giving back. What every entry does to a wallet is a
 * list of moves; applying them is the same for all kinds, and that nothing is lost or made on the
 * way is asserted here, where all of it passes.
 */
#include "agent/ledger_book_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------- wallets and lots */

int book_grow(void **v, size_t n, size_t *cap, size_t size)
{
	size_t want = *cap ? 2 * *cap : 16;
	void *p;

	if (n < *cap)
		return 0;
	p = reallocarray(*v, want, size);
	if (!p)
		return -ENOMEM;
	*v = p;
	*cap = want;
	return 0;
}

struct weir_account *weir_book_account(struct weir_book *b, uint32_t index, bool make)
{
	size_t n = b->n ? b->n : 16;
	struct weir_account *v;

	if (index < b->n)
		return &b->v[index];
	if (!make || index >= WEIR_ACCOUNT_MAX)
		return NULL;
	while (n <= index)
		n *= 2;
	v = reallocarray(b->v, n, sizeof(*v));
	if (!v)
		return NULL;
	memset(v + b->n, 0, (n - b->n) * sizeof(*v));
	b->v = v;
	b->n = n;
	return &v[index];
}

struct weir_lot *weir_book_lot(struct weir_book *b, uint64_t seq)
{
	return g_hash_table_lookup(b->lots, &seq);
}

struct weir_schedule *weir_book_schedule(struct weir_book *b, uint64_t seq)
{
	return g_hash_table_lookup(b->schedules, &seq);
}

int64_t weir_book_balance(const struct weir_book *b, uint32_t wallet)
{
	return wallet < b->n ? b->v[wallet].remaining - b->v[wallet].f.debt : 0;
}

int64_t weir_book_refunded(const struct weir_book *b, uint64_t seq)
{
	const int64_t *nano = g_hash_table_lookup(b->refunds, &seq);

	return nano ? *nano : 0;
}

static int compare(uint64_t x, uint64_t y)
{
	return x < y ? -1 : x > y;
}

int weir_lot_compare(const struct weir_lot *x, const struct weir_lot *y)
{
	/* 0, never, wraps to the last instant there is. Paid credit goes last. */
	int ret = compare(x->priority, y->priority);

	ret = ret ? ret : compare(x->expires_ns - 1, y->expires_ns - 1);
	ret = ret ? ret : compare(x->source == WEIR_GRANT_PAID, y->source == WEIR_GRANT_PAID);
	ret = ret ? ret : compare(x->effective_ns, y->effective_ns);
	ret = ret ? ret : compare(x->created_ns, y->created_ns);
	return ret ? ret : compare(x->seq, y->seq);
}

void book_drop_lot(struct weir_book *b, struct weir_lot *lot)
{
	struct weir_account *acc = &b->v[lot->wallet];
	uint32_t i = 0;

	while (acc->lots[i] != lot)
		i++;
	memmove(&acc->lots[i], &acc->lots[i + 1], (acc->n_lots - i - 1) * sizeof(acc->lots[0]));
	acc->n_lots--;
	g_hash_table_remove(b->lots, &lot->seq);
}

/* Wallets have few lots. */
static int insert_lot(struct weir_book *b, const struct weir_lot *from, struct weir_lot **out)
{
	struct weir_account *acc = weir_book_account(b, from->wallet, true);
	struct book_lot *lot;
	size_t cap;
	void *v;
	uint32_t i;

	if (!acc)
		return -ENOMEM;
	cap = acc->cap_lots;
	v = acc->lots;
	if (book_grow(&v, acc->n_lots, &cap, sizeof(acc->lots[0])))
		return -ENOMEM;
	acc->lots = v;
	acc->cap_lots = (uint32_t)cap;
	lot = calloc(1, sizeof(*lot));
	if (!lot)
		return -ENOMEM;
	lot->lot = *from;
	for (i = acc->n_lots; i && weir_lot_compare(from, acc->lots[i - 1]) < 0; i--)
		acc->lots[i] = acc->lots[i - 1];
	acc->lots[i] = &lot->lot;
	acc->n_lots++;
	g_hash_table_insert(b->lots, &lot->lot.seq, lot);
	if (out)
		*out = &lot->lot;
	return book_due_lot(b, from);
}

int weir_book_load_lot(struct weir_book *b, const struct weir_lot *lot)
{
	struct weir_account *acc;

	if (weir_book_lot(b, lot->seq))
		return 0;
	if (insert_lot(b, lot, NULL))
		return -ENOMEM;
	acc = &b->v[lot->wallet];
	/* Cannot overflow: granting refuses to take a wallet's credit past int64. */
	acc->remaining += lot->remaining;
	return 0;
}

/* ------------------------------------------------------------------ planning */

int book_add_move(struct weir_posting *post, enum weir_purse purse, uint64_t lot, int64_t nano)
{
	if (!nano)
		return 0;
	if (weir_posting_reserve(post, post->n_moves + 1))
		return -ENOMEM;
	post->moves[post->n_moves++] =
		(struct weir_move){ .purse = (uint8_t)purse, .lot = lot, .nano = nano };
	return 0;
}

int book_balances(struct weir_book *b, struct weir_entry_head *h, const struct weir_posting *post)
{
	int64_t sum = weir_book_balance(b, h->wallet);

	h->before_nano = sum;
	for (size_t i = 0; i < post->n_moves; i++) {
		const struct weir_move *m = &post->moves[i];
		int64_t by = m->purse == WEIR_PURSE_REMAINING ? m->nano
			     : m->purse == WEIR_PURSE_DEBT    ? -m->nano
							      : 0;

		if (__builtin_add_overflow(sum, by, &sum))
			return -ERANGE;
	}
	h->after_nano = sum;
	return 0;
}

int book_plan_take(struct weir_book *b, uint32_t wallet, int64_t nano, uint64_t started_ns,
		   uint64_t time_ns, struct weir_posting *post)
{
	const struct weir_account *acc = weir_book_account(b, wallet, true);
	int64_t left = nano, debt;
	int ret = 0;

	if (nano < 0 || !acc)
		return nano < 0 || wallet >= WEIR_ACCOUNT_MAX ? -ERANGE : -ENOMEM;
	for (uint32_t i = 0; i < acc->n_lots && left && !ret; i++) {
		const struct weir_lot *lot = acc->lots[i];
		int64_t take;

		if (lot->voided || lot->effective_ns > started_ns ||
		    (lot->expires_ns && started_ns >= lot->expires_ns))
			continue;
		take = left < lot->remaining ? left : lot->remaining;
		ret = book_add_move(post, WEIR_PURSE_REMAINING, lot->seq, -take);
		left -= take;
		if (ret || !lot->expired ||
		    (time_ns > lot->expires_ns && time_ns - lot->expires_ns >= WEIR_LATE_NS))
			continue;
		take = left < lot->expired ? left : lot->expired;
		ret = book_add_move(post, WEIR_PURSE_EXPIRED, lot->seq, -take);
		left -= take;
	}
	if (!ret && __builtin_add_overflow(acc->f.debt, left, &debt))
		return -ERANGE;
	return ret ? ret : book_add_move(post, WEIR_PURSE_DEBT, 0, left);
}

int book_plan_grant(struct weir_book *b, const struct weir_account *acc, int64_t amount,
		    uint64_t lot, bool effective, struct weir_posting *post)
{
	int64_t repaid = 0;
	int ret;

	if (effective)
		repaid = acc->f.debt < amount ? acc->f.debt : amount;
	ret = book_add_move(post, effective ? WEIR_PURSE_REMAINING : WEIR_PURSE_PENDING, lot,
			    amount - repaid);
	return ret ? ret : book_add_move(post, WEIR_PURSE_DEBT, 0, -repaid);
}

/* Credit that did not exist before, as a lot of the entry's own. */
static int plan_issue(struct weir_book *b, struct weir_entry_head *h, int64_t amount,
		      bool effective, struct weir_posting *post)
{
	struct weir_account *acc = weir_book_account(b, h->wallet, true);
	int64_t sum;

	if (!acc || amount <= 0)
		return acc || h->wallet >= WEIR_ACCOUNT_MAX ? -ERANGE : -ENOMEM;
	if (__builtin_add_overflow(acc->f.issued, amount, &sum) ||
	    __builtin_add_overflow(acc->held, amount, &sum))
		return -ERANGE;
	h->amount_nano = amount;
	return book_plan_grant(b, acc, amount, h->seq, effective, post);
}

static void begin_plan(struct weir_posting *post)
{
	post->n_moves = 0;
}

int weir_book_plan_usage(struct weir_book *b, const struct weir_row *row,
			 struct weir_entry_head *h, struct weir_posting *post)
{
	int ret = 0;

	begin_plan(post);
	h->amount_nano = 0;
	if (row->flags & WEIR_ROW_POSTED) {
		if (row->tenant >= WEIR_ACCOUNT_MAX)
			return -ERANGE;
		ret = book_plan_take(b, row->wallet, row->price_nano, row->started_wall_ns,
				     h->time_ns, post);
		h->amount_nano = -row->price_nano;
	}
	return ret ? ret : book_balances(b, h, post);
}

static int plan_void(struct weir_book *b, struct weir_op *op, struct weir_entry_head *h,
		     struct weir_posting *post)
{
	const struct weir_schedule *s;
	const struct weir_lot *lot;
	int ret;

	if (op->flags & WEIR_OP_SCHEDULE) {
		s = weir_book_schedule(b, op->of);
		if (!s || s->wallet != h->wallet)
			return -ENOENT;
		return s->next_ns ? 0 : -EINVAL;
	}
	lot = weir_book_lot(b, op->of);
	if (!lot || lot->wallet != h->wallet)
		return -ENOENT;
	op->amount_nano = lot->pending + lot->remaining;
	if (lot->voided || !op->amount_nano)
		return -EINVAL;
	h->amount_nano = -op->amount_nano;
	ret = book_add_move(post, WEIR_PURSE_PENDING, lot->seq, -lot->pending);
	return ret ? ret : book_add_move(post, WEIR_PURSE_REMAINING, lot->seq, -lot->remaining);
}

static int plan_deduct(struct weir_book *b, const struct weir_op *op, struct weir_entry_head *h,
		       struct weir_posting *post)
{
	__int128 left = (__int128)weir_book_balance(b, h->wallet) + op->overage_nano;

	if (!(op->flags & WEIR_OP_ALLOW_DEBT) && left < op->amount_nano)
		return -ENODATA;
	h->amount_nano = -op->amount_nano;
	return book_plan_take(b, h->wallet, op->amount_nano, h->time_ns, h->time_ns, post);
}

int weir_book_plan_op(struct weir_book *b, struct weir_op *op, struct weir_entry_head *h,
		      struct weir_posting *post)
{
	int ret = 0;

	begin_plan(post);
	h->amount_nano = 0;
	if (op->tenant >= WEIR_ACCOUNT_MAX || op->wallet >= WEIR_ACCOUNT_MAX)
		return -ERANGE;
	switch (op->kind) {
	case WEIR_ENTRY_GRANT:
		ret = plan_issue(b, h, op->amount_nano, op->effective_ns <= h->time_ns, post);
		break;
	case WEIR_ENTRY_ADJUST:
		if (op->amount_nano > 0) {
			ret = plan_issue(b, h, op->amount_nano, true, post);
			break;
		}
		if (op->amount_nano == INT64_MIN)
			return -ERANGE;
		h->amount_nano = op->amount_nano;
		ret = book_plan_take(b, h->wallet, -op->amount_nano, h->time_ns, h->time_ns, post);
		break;
	case WEIR_ENTRY_DEDUCT:
		ret = plan_deduct(b, op, h, post);
		break;
	case WEIR_ENTRY_VOID:
		ret = plan_void(b, op, h, post);
		break;
	case WEIR_ENTRY_METER:
		if (!(op->flags & WEIR_OP_POSTED))
			break;
		h->amount_nano = -op->price_nano;
		ret = book_plan_take(b, h->wallet, op->price_nano, op->started_ns, h->time_ns,
				     post);
		break;
	case WEIR_ENTRY_SCHEDULE:
	case WEIR_ENTRY_TOP_UP:
		break;
	default:
		return -EINVAL;
	}
	return ret ? ret : book_balances(b, h, post);
}

/* --------------------------------------------------------------------- refunds */

/* Give `nano` back to where a move took it from. */
static int give_back(struct weir_book *b, const struct weir_op *op, struct weir_entry_head *h,
		     const struct weir_move *from, int64_t nano, int64_t *debt, int64_t *own,
		     struct weir_posting *post)
{
	const struct weir_lot *lot;
	int64_t repaid;
	bool expired;

	if (from->purse == WEIR_PURSE_DEBT) {
		repaid = *debt < nano ? *debt : nano;
		*debt -= repaid;
		*own += nano - repaid;
		return book_add_move(post, WEIR_PURSE_DEBT, 0, -repaid);
	}
	lot = weir_book_lot(b, from->lot);
	if (!lot || lot->wallet != h->wallet)
		return -ENOENT;
	expired = lot->expires_ns && lot->expires_ns <= h->time_ns;
	if (!lot->voided && !expired)
		return book_add_move(post, WEIR_PURSE_REMAINING, lot->seq, nano);
	if (op->flags & WEIR_OP_AS_GRANT) {
		*own += nano;
		return 0;
	}
	/* To a voided one: forfeited, as it would have been. */
	return lot->voided ? 0 : book_add_move(post, WEIR_PURSE_EXPIRED, lot->seq, nano);
}

int weir_book_plan_refund(struct weir_book *b, struct weir_op *op,
			  const struct weir_posting *taken, struct weir_entry_head *h,
			  struct weir_posting *post)
{
	struct weir_account *acc = weir_book_account(b, h->wallet, true);
	int64_t before = weir_book_refunded(b, op->of), all = 0, skip = before, left, debt, own = 0;
	int ret = 0;

	begin_plan(post);
	if (!acc)
		return -ENOMEM;
	for (size_t i = 0; i < taken->n_moves; i++)
		all += taken->moves[i].purse == WEIR_PURSE_DEBT ? taken->moves[i].nano
								: -taken->moves[i].nano;
	if (!op->amount_nano)
		op->amount_nano = all - before;
	if (op->amount_nano <= 0 || op->amount_nano > all - before)
		return -EINVAL;
	left = op->amount_nano;
	debt = acc->f.debt;
	for (size_t i = taken->n_moves; i-- && left && !ret;) {
		const struct weir_move *m = &taken->moves[i];
		int64_t part = m->purse == WEIR_PURSE_DEBT ? m->nano : -m->nano;
		int64_t skipped = skip < part ? skip : part;

		skip -= skipped;
		part -= skipped;
		if (part > left)
			part = left;
		left -= part;
		if (part)
			ret = give_back(b, op, h, m, part, &debt, &own, post);
	}
	if (!ret)
		ret = book_add_move(post, WEIR_PURSE_REMAINING, h->seq, own);
	h->amount_nano = op->amount_nano;
	return ret ? ret : book_balances(b, h, post);
}

/* ------------------------------------------------------------------ applying */

/* Counts and sums only ever grow; unknown (-1) adds nothing. */
static void add(int64_t *sum, int64_t v)
{
	if (v > 0 && __builtin_add_overflow(*sum, v, sum))
		*sum = INT64_MAX;
}

/* Of a month: the newest there is any usage of. */
static void add_sale(struct weir_figures *f, uint64_t started_ns, int64_t price, int64_t cost)
{
	uint32_t month = weir_month_of(started_ns);

	if (__builtin_add_overflow(f->price, price, &f->price)) /* a true-up may be negative */
		f->price = INT64_MAX;
	add(&f->cost, cost);
	if ((int64_t)month > f->month) {
		f->month = month;
		f->month_price = f->month_cost = 0;
	}
	if ((int64_t)month != f->month)
		return;
	if (__builtin_add_overflow(f->month_price, price, &f->month_price))
		f->month_price = INT64_MAX;
	add(&f->month_cost, cost);
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
	add_sale(f, row->started_wall_ns, row->price_nano > 0 ? row->price_nano : 0,
		 row->cost_nano);
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
	if (purse == &lot->remaining)
		acc->remaining += m->nano;
	acc->held += m->nano;
	if ((__int128)lot->pending + lot->remaining + lot->expired > lot->amount)
		return -EBADMSG;
	return 0;
}

/* All moves of an entry; *net: what the wallet as a whole has more. */
static int move_all(struct weir_book *b, uint32_t wallet, const struct weir_posting *post,
		    int64_t *net, bool old)
{
	struct weir_account *acc = weir_book_account(b, wallet, true);
	int64_t held, debt, sum;
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
	*net = acc->held - held - (acc->f.debt - debt);
	return ret;
}

/* What was issued is somewhere: in a lot, used, or forfeited; or owed. */
static int balanced(const struct weir_account *acc)
{
	const struct weir_figures *f = &acc->f;
	__int128 is = (__int128)acc->held - f->debt;
	__int128 should = (__int128)f->issued - f->consumed - f->voided;

	return is == should && f->issued >= 0 && f->consumed >= 0 && f->voided >= 0 &&
			       acc->remaining >= 0
		       ? 0
		       : -EBADMSG;
}

static int add_checked(int64_t *sum, int64_t v)
{
	return __builtin_add_overflow(*sum, v, sum) ? -EBADMSG : 0;
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
	if (net != -posted || posted < 0 || add_checked(&acc->f.consumed, posted))
		return -EBADMSG;
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

	switch (op->kind) {
	case WEIR_ENTRY_GRANT:
	case WEIR_ENTRY_RECUR:
		return net == op->amount_nano ? add_checked(&f->issued, net) : -EBADMSG;
	case WEIR_ENTRY_ADJUST:
		if (net != op->amount_nano)
			return -EBADMSG;
		return net > 0 ? add_checked(&f->issued, net) : add_checked(&f->consumed, -net);
	case WEIR_ENTRY_DEDUCT:
		return net == -op->amount_nano ? add_checked(&f->consumed, -net) : -EBADMSG;
	case WEIR_ENTRY_METER:
		add_sale(of, op->started_ns, price, op->cost_nano);
		return net == -posted ? add_checked(&f->consumed, posted) : -EBADMSG;
	case WEIR_ENTRY_TRUE_UP:
		add_sale(of, op->started_ns, price, 0);
		if (net != -posted)
			return -EBADMSG;
		return posted > 0 ? add_checked(&f->consumed, posted)
				  : add_checked(&f->issued, -posted);
	case WEIR_ENTRY_VOID:
		if (net != (op->flags & WEIR_OP_SCHEDULE ? 0 : -op->amount_nano))
			return -EBADMSG;
		return add_checked(&f->voided, -net);
	case WEIR_ENTRY_REFUND:
		add(&of->refunded, op->amount_nano);
		if (net < 0 || net > op->amount_nano)
			return -EBADMSG;
		/* What is not there was taken, is given back, and is forfeited. */
		return add_checked(&f->consumed, -op->amount_nano) ||
				       add_checked(&f->voided, op->amount_nano - net)
			       ? -EBADMSG
			       : 0;
	case WEIR_ENTRY_EXPIRE:
		return net >= 0 ? add_checked(&f->issued, net) : -EBADMSG;
	default:
		return net ? -EBADMSG : 0;
	}
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
		made = (struct weir_schedule){ .seq = h->seq,
					       .wallet = h->wallet,
					       .next_ns = op->effective_ns,
					       .op = *op };
		ret = weir_book_load_schedule(b, &made);
		return ret ? ret : book_touch_schedule(b, weir_book_schedule(b, h->seq), true);
	case WEIR_ENTRY_REFUND:
		ret = book_touch_refund(b, op->of);
		if (ret)
			return ret;
		sum = g_hash_table_lookup(b->refunds, &op->of);
		return add_checked(sum, op->amount_nano);
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
		ret = insert_lot(b, &terms, &lot);
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
