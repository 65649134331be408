// SPDX-License-Identifier: Apache-2.0
/*
 * Burning grants. Every change first notes the figure from before, so that a
 * group that fails to commit leaves memory as the database is. The money
 * invariants (remaining within 0..amount, burns + debt = price) are asserted
 * here, where all of it passes.
 */
#include "agent/ledger_accounts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void weir_accounts_clear(struct weir_accounts *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->v[i].lots);
	free(a->v);
	free(a->accounts);
	free(a->lots);
	*a = (struct weir_accounts){ 0 };
}

/* Room for one more element of size bytes. */
static int grow(void **v, size_t n, size_t *cap, size_t size)
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

struct weir_account *weir_accounts_get(struct weir_accounts *a, uint32_t index, bool make)
{
	size_t n = a->n ? a->n : 16;
	struct weir_account *v;

	if (index < a->n)
		return &a->v[index];
	if (!make || index >= WEIR_ACCOUNT_MAX)
		return NULL;
	while (n <= index)
		n *= 2;
	v = reallocarray(a->v, n, sizeof(*v));
	if (!v)
		return NULL;
	memset(v + a->n, 0, (n - a->n) * sizeof(*v));
	a->v = v;
	a->n = n;
	return &v[index];
}

struct weir_credit_lot *weir_account_lot(struct weir_account *acc, uint64_t seq)
{
	for (uint32_t i = 0; i < acc->n_lots; i++) {
		if (acc->lots[i].seq == seq)
			return &acc->lots[i];
	}
	return NULL;
}

/* ---------------------------------------------------------------- burn order */

static int compare(uint64_t x, uint64_t y)
{
	return x < y ? -1 : x > y;
}

int weir_lot_compare(const struct weir_credit_lot *x, const struct weir_credit_lot *y)
{
	/* 0, never, wraps to the last instant there is. Paid credit goes last. */
	int ret = compare(x->priority, y->priority);

	ret = ret ? ret : compare(x->expires_ns - 1, y->expires_ns - 1);
	ret = ret ? ret : compare(x->source == WEIR_GRANT_PAID, y->source == WEIR_GRANT_PAID);
	ret = ret ? ret : compare(x->effective_ns, y->effective_ns);
	ret = ret ? ret : compare(x->created_ns, y->created_ns);
	return ret ? ret : compare(x->seq, y->seq);
}

void weir_lot_from_grant(struct weir_credit_lot *lot, const struct weir_grant *g, uint64_t seq,
			 uint64_t created_ns)
{
	*lot = (struct weir_credit_lot){
		.seq = seq,
		.effective_ns = g->effective_ns,
		.expires_ns = g->expires_ns,
		.created_ns = created_ns,
		.amount = g->amount_nano,
		.remaining = g->amount_nano,
		.priority = g->priority,
		.source = g->source,
	};
}

static bool live_at(const struct weir_credit_lot *lot, uint64_t t)
{
	return lot->effective_ns <= t && (!lot->expires_ns || t < lot->expires_ns);
}

/* Insertion keeps the order; grants are rare and wallets have few. */
static int insert_lot(struct weir_account *acc, const struct weir_credit_lot *lot)
{
	size_t cap = acc->cap_lots;
	void *v = acc->lots;
	uint32_t i;

	if (grow(&v, acc->n_lots, &cap, sizeof(*lot)))
		return -ENOMEM;
	acc->lots = v;
	acc->cap_lots = (uint32_t)cap;
	for (i = acc->n_lots; i && weir_lot_compare(lot, &acc->lots[i - 1]) < 0; i--)
		acc->lots[i] = acc->lots[i - 1];
	acc->lots[i] = *lot;
	acc->n_lots++;
	return 0;
}

int weir_accounts_load_lot(struct weir_accounts *a, uint32_t wallet,
			   const struct weir_credit_lot *lot)
{
	struct weir_account *acc = weir_accounts_get(a, wallet, true);

	return acc ? insert_lot(acc, lot) : -ENOMEM;
}

int64_t weir_accounts_balance(const struct weir_accounts *a, uint32_t index, uint64_t now_ns)
{
	const struct weir_account *acc = index < a->n ? &a->v[index] : NULL;
	int64_t sum;

	if (!acc)
		return 0;
	/* Cannot overflow: granting refuses to take a wallet's credit past int64. */
	sum = -acc->f.debt;
	for (uint32_t i = 0; i < acc->n_lots; i++) {
		if (live_at(&acc->lots[i], now_ns))
			sum += acc->lots[i].remaining;
	}
	return sum;
}

/* ------------------------------------------------------------------ planning */

int weir_accounts_plan_usage(struct weir_accounts *a, const struct weir_row *row, uint64_t time_ns,
			     struct weir_entry_head *h, struct weir_posting *post)
{
	struct weir_account *acc;
	int64_t left, debt, before, fallen = 0;

	post->n_burns = 0;
	post->debt_nano = 0;
	if (!(row->flags & WEIR_ROW_POSTED)) {
		h->amount_nano = 0;
		h->before_nano = h->after_nano = weir_accounts_balance(a, row->wallet, time_ns);
		return 0;
	}
	if (row->price_nano < 0 || row->tenant >= WEIR_ACCOUNT_MAX ||
	    row->wallet >= WEIR_ACCOUNT_MAX)
		return -ERANGE;
	/* The tenant first: making it may move the array. */
	if (!weir_accounts_get(a, row->tenant, true))
		return -ENOMEM;
	acc = weir_accounts_get(a, row->wallet, true);
	if (!acc)
		return -ENOMEM;
	if (weir_posting_reserve(post, acc->n_lots))
		return -ENOMEM;
	left = row->price_nano;
	h->amount_nano = -left;
	before = -acc->f.debt;
	for (uint32_t i = 0; i < acc->n_lots; i++) {
		const struct weir_credit_lot *lot = &acc->lots[i];
		bool counted = live_at(lot, time_ns);
		int64_t take;

		if (counted)
			before += lot->remaining;
		if (!left || !lot->remaining || !live_at(lot, row->started_wall_ns))
			continue;
		take = left < lot->remaining ? left : lot->remaining;
		post->burns[post->n_burns++] = (struct weir_burn){ lot->seq, take };
		left -= take;
		if (counted)
			fallen += take;
	}
	if (__builtin_add_overflow(acc->f.debt, left, &debt))
		return -ERANGE;
	post->debt_nano = left;
	h->before_nano = before;
	h->after_nano = before - fallen - left;
	return 0;
}

int weir_accounts_plan_grant(struct weir_accounts *a, const struct weir_grant *g, uint64_t time_ns,
			     struct weir_entry_head *h, struct weir_posting *post)
{
	struct weir_account *acc;
	struct weir_credit_lot lot;
	int64_t sum = g->amount_nano, repaid = 0;

	if (g->amount_nano <= 0 || g->tenant >= WEIR_ACCOUNT_MAX)
		return -ERANGE;
	acc = weir_accounts_get(a, g->tenant, true);
	if (!acc)
		return -ENOMEM;
	for (uint32_t i = 0; i < acc->n_lots; i++) {
		if (__builtin_add_overflow(sum, acc->lots[i].remaining, &sum))
			return -ERANGE;
	}
	weir_lot_from_grant(&lot, g, 0, time_ns);
	if (live_at(&lot, time_ns))
		repaid = acc->f.debt < g->amount_nano ? acc->f.debt : g->amount_nano;
	post->n_burns = 0;
	post->debt_nano = -repaid;
	h->amount_nano = g->amount_nano;
	h->before_nano = weir_accounts_balance(a, g->tenant, time_ns);
	h->after_nano = h->before_nano + (live_at(&lot, time_ns) ? g->amount_nano : 0);
	return 0;
}

/* ------------------------------------------------------------------ applying */

static int touch(struct weir_accounts *a, uint32_t index)
{
	struct weir_account *acc = weir_accounts_get(a, index, true);
	void *v = a->accounts;

	if (!acc)
		return -ENOMEM;
	if (acc->dirty)
		return 0;
	if (grow(&v, a->n_accounts, &a->cap_accounts, sizeof(*a->accounts)))
		return -ENOMEM;
	a->accounts = v;
	a->accounts[a->n_accounts++] = (struct weir_undo_account){ index, acc->f };
	acc->dirty = true;
	return 0;
}

static int touch_lot(struct weir_accounts *a, uint32_t index, uint64_t seq, int64_t remaining)
{
	void *v = a->lots;

	if (grow(&v, a->n_lots, &a->cap_lots, sizeof(*a->lots)))
		return -ENOMEM;
	a->lots = v;
	a->lots[a->n_lots++] = (struct weir_undo_lot){ index, seq, remaining };
	return 0;
}

/* Counts and sums only ever grow; unknown (-1) adds nothing. */
static void add(int64_t *sum, int64_t v)
{
	if (v > 0 && __builtin_add_overflow(*sum, v, sum))
		*sum = INT64_MAX;
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
	add(&f->price, row->price_nano);
	add(&f->cost, row->cost_nano);
}

static int burn(struct weir_accounts *a, uint32_t wallet, const struct weir_burn *b)
{
	struct weir_credit_lot *lot = weir_account_lot(&a->v[wallet], b->grant);

	if (!lot || b->nano <= 0 || b->nano > lot->remaining)
		return -EBADMSG;
	if (!lot->dirty) {
		if (touch_lot(a, wallet, lot->seq, lot->remaining))
			return -ENOMEM;
		lot->dirty = true;
	}
	lot->remaining -= b->nano;
	assert(lot->remaining >= 0 && lot->remaining <= lot->amount);
	return 0;
}

int weir_accounts_apply_usage(struct weir_accounts *a, const struct weir_row *row,
			      const struct weir_posting *post)
{
	int64_t posted = row->flags & WEIR_ROW_POSTED ? row->price_nano : 0;
	int64_t sum = post->debt_nano, debt;
	int ret;

	/* A row whose numbers are garbage is kept in the log and counted nowhere. */
	if (row->tenant >= WEIR_ACCOUNT_MAX || row->wallet >= WEIR_ACCOUNT_MAX)
		return posted || post->n_burns || post->debt_nano ? -EBADMSG : 0;
	ret = touch(a, row->tenant);
	if (!ret)
		ret = touch(a, row->wallet);
	for (size_t i = 0; !ret && i < post->n_burns; i++) {
		ret = burn(a, row->wallet, &post->burns[i]);
		if (!ret && __builtin_add_overflow(sum, post->burns[i].nano, &sum))
			ret = -EBADMSG;
	}
	if (ret)
		return ret;
	if (sum != posted || post->debt_nano < 0 ||
	    __builtin_add_overflow(a->v[row->wallet].f.debt, post->debt_nano, &debt))
		return -EBADMSG;
	a->v[row->wallet].f.debt = debt;
	count_usage(&a->v[row->tenant].f, row);
	return 0;
}

int weir_accounts_apply_grant(struct weir_accounts *a, const struct weir_grant *g,
			      const struct weir_entry_head *h, const struct weir_posting *post)
{
	struct weir_account *acc;
	struct weir_credit_lot lot;
	int64_t repaid = -post->debt_nano;
	int ret;

	ret = touch(a, g->tenant);
	if (ret)
		return ret;
	acc = &a->v[g->tenant];
	if (post->n_burns || g->amount_nano <= 0 || repaid < 0 || repaid > g->amount_nano ||
	    repaid > acc->f.debt)
		return -EBADMSG;
	weir_lot_from_grant(&lot, g, h->seq, h->time_ns);
	lot.remaining -= repaid;
	lot.dirty = true;
	ret = touch_lot(a, g->tenant, lot.seq, -1);
	if (!ret)
		ret = insert_lot(acc, &lot);
	if (ret)
		return ret;
	acc->f.debt -= repaid;
	assert(acc->f.debt >= 0 && lot.remaining >= 0);
	return 0;
}

/* --------------------------------------------------------------- transactions */

static void drop_lot(struct weir_account *acc, struct weir_credit_lot *lot)
{
	uint32_t i = (uint32_t)(lot - acc->lots);

	memmove(lot, lot + 1, (acc->n_lots - i - 1) * sizeof(*lot));
	acc->n_lots--;
}

void weir_accounts_commit(struct weir_accounts *a)
{
	for (size_t i = 0; i < a->n_lots; i++) {
		struct weir_account *acc = &a->v[a->lots[i].index];
		struct weir_credit_lot *lot = weir_account_lot(acc, a->lots[i].seq);

		lot->dirty = false;
		if (!lot->remaining)
			drop_lot(acc, lot);
	}
	for (size_t i = 0; i < a->n_accounts; i++)
		a->v[a->accounts[i].index].dirty = false;
	a->n_lots = a->n_accounts = 0;
}

void weir_accounts_rollback(struct weir_accounts *a)
{
	while (a->n_lots) {
		const struct weir_undo_lot *u = &a->lots[--a->n_lots];
		struct weir_account *acc = &a->v[u->index];
		struct weir_credit_lot *lot = weir_account_lot(acc, u->seq);

		if (!lot) /* noted, but there was no memory to insert it */
			continue;
		lot->dirty = false;
		if (u->remaining < 0)
			drop_lot(acc, lot);
		else
			lot->remaining = u->remaining;
	}
	while (a->n_accounts) {
		const struct weir_undo_account *u = &a->accounts[--a->n_accounts];

		a->v[u->index].f = u->f;
		a->v[u->index].dirty = false;
	}
}
