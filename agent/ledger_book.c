// SPDX-License-Identifier: Apache-2.0
/*
 * Wallets and their lots: what an entry will take, grant or give back, as a list of moves.
 */
#include "agent/ledger_book_priv.h"

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
int book_insert_lot(struct weir_book *b, const struct weir_lot *from, struct weir_lot **out)
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
	if (book_insert_lot(b, lot, NULL))
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
	const struct weir_account *acc = h->wallet < b->n ? &b->v[h->wallet] : NULL;
	int64_t remaining = acc ? acc->remaining : 0, debt = acc ? acc->f.debt : 0;

	h->before_nano = remaining - debt;
	for (size_t i = 0; i < post->n_moves; i++) {
		const struct weir_move *m = &post->moves[i];
		int64_t none = 0;
		int64_t *sum = m->purse == WEIR_PURSE_REMAINING ? &remaining
			       : m->purse == WEIR_PURSE_DEBT	? &debt
								: &none;

		if (__builtin_add_overflow(*sum, m->nano, sum))
			return -ERANGE;
	}
	h->after_nano = remaining - debt; /* both >= 0 */
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

int book_plan_grant(const struct weir_account *acc, int64_t amount, uint64_t lot, bool effective,
		    struct weir_posting *post)
{
	int64_t repaid = 0;
	int ret;

	if (effective)
		repaid = acc->f.debt < amount ? acc->f.debt : amount;
	ret = book_add_move(post, effective ? WEIR_PURSE_REMAINING : WEIR_PURSE_PENDING, lot,
			    amount - repaid);
	return ret ? ret : book_add_move(post, WEIR_PURSE_DEBT, 0, -repaid);
}

bool book_has_room(const struct weir_account *acc, int64_t amount)
{
	__int128 sum = (__int128)acc->remaining + amount;

	for (uint32_t i = 0; i < acc->n_lots; i++)
		sum += acc->lots[i]->pending;
	return sum <= INT64_MAX;
}

/* Credit that did not exist before, as a lot of the entry's own. */
static int plan_issue(struct weir_book *b, struct weir_entry_head *h, int64_t amount,
		      bool effective, struct weir_posting *post)
{
	struct weir_account *acc = weir_book_account(b, h->wallet, true);

	if (!acc || amount <= 0)
		return acc || h->wallet >= WEIR_ACCOUNT_MAX ? -ERANGE : -ENOMEM;
	if (!book_has_room(acc, amount))
		return -ERANGE;
	h->amount_nano = amount;
	return book_plan_grant(acc, amount, h->seq, effective, post);
}

static void begin_plan(struct weir_posting *post)
{
	post->n_moves = 0;
}

int weir_book_plan_usage(struct weir_book *b, const struct weir_row *row, struct weir_entry_head *h,
			 struct weir_posting *post)
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

int weir_book_plan_refund(struct weir_book *b, struct weir_op *op, const struct weir_posting *taken,
			  struct weir_entry_head *h, struct weir_posting *post)
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
