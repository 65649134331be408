// SPDX-License-Identifier: Apache-2.0
/*
 * True-ups of volume prices (ledger.md, 21): when a month has closed, what each tenant owes by the
 * step that the month ended in, beyond what was charged on the way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_book_priv.h"

static int by_key(const void *a, const void *c)
{
	const struct weir_volume_sum *x = *(struct weir_volume_sum *const *)a;
	const struct weir_volume_sum *y = *(struct weir_volume_sum *const *)c;
	int ret = strcmp(x->key, y->key);

	if (ret)
		return ret;
	if (x->tenant != y->tenant)
		return x->tenant < y->tenant ? -1 : 1;
	if (x->card != y->card)
		return x->card < y->card ? -1 : 1;
	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* What one version of a card is owed beyond what was charged by it. */
static int owed(struct weir_book *b, const struct weir_volume_sum *v, int64_t total, int64_t *nano)
{
	const struct weir_card *c = b->card ? b->card(b->ctx, v->card) : NULL;
	int64_t unit, per, due, charged, sum;
	__int128 numerator;

	if (!c)
		return -ENOENT;
	weir_card_unit_at(c, v->entry, v->dimension, total, &unit, &per);
	if (__builtin_mul_overflow(v->sum.weighted, (__int128)unit, &numerator) ||
	    weir_volume_price(numerator, per, &due) ||
	    weir_volume_price(v->sum.charged, per, &charged) ||
	    __builtin_sub_overflow(due, charged, &sum) || __builtin_add_overflow(*nano, sum, nano))
		return -ERANGE;
	return 0;
}

/* A month's sums in the order of its true-ups. There may be one of every tenant, and each is
 * looked for once or twice. */
static GPtrArray *closing(struct weir_book *b, uint32_t month)
{
	GHashTableIter it;
	void *v;

	if (b->closing && b->closing_month == month)
		return b->closing;
	g_clear_pointer(&b->closing, g_ptr_array_unref);
	b->closing = g_ptr_array_new();
	b->closing_month = month;
	b->closing_at = 0;
	g_hash_table_iter_init(&it, b->volumes);
	while (g_hash_table_iter_next(&it, NULL, &v)) {
		if (((struct weir_volume_sum *)v)->month == month)
			g_ptr_array_add(b->closing, v);
	}
	if (b->closing->len)
		qsort(b->closing->pdata, b->closing->len, sizeof(b->closing->pdata[0]), by_key);
	return b->closing;
}

static struct weir_volume_sum *sum_at(const GPtrArray *all, guint i)
{
	return i < all->len ? all->pdata[i] : NULL;
}

/* How many sums from i on are of one tenant and counter: versions of a card. */
static guint group(const GPtrArray *all, guint i)
{
	const struct weir_volume_sum *first = sum_at(all, i), *s;
	guint n = 1;

	while ((s = sum_at(all, i + n)) && s->tenant == first->tenant &&
	       !strcmp(s->key, first->key))
		n++;
	return n;
}

static int done_with(struct weir_book *b, const GPtrArray *all, guint i, guint n)
{
	for (; n; n--, i++) {
		if (book_touch_volume(b, sum_at(all, i), false))
			return -ENOMEM;
		sum_at(all, i)->gone = true;
	}
	return 0;
}

/* The first true-up of a month that is not made yet. One of nothing is an entry too: that the month
 * is settled is to be seen in the log. */
int book_true_up(struct weir_book *b, uint32_t month, uint64_t at_ns, struct weir_op *op)
{
	const GPtrArray *all = closing(b, month);

	for (guint i = b->closing_at, n; i < all->len; i += n) {
		const struct weir_volume_sum *first = sum_at(all, i), *newest;
		int64_t total, nano = 0;
		int ret = 0;

		b->closing_at = i;
		n = group(all, i);
		newest = sum_at(all, i + n - 1);
		if (first->gone)
			continue;
		total = book_counter_at(b, first->key, month);
		for (guint k = 0; k < n && !ret; k++)
			ret = owed(b, sum_at(all, i + k), total, &nano);
		if (ret || nano == INT64_MIN)
			nano = 0; /* it cannot be reckoned: what was charged stands */
		*op = (struct weir_op){
			.kind = WEIR_ENTRY_TRUE_UP,
			.source = WEIR_GRANT_TRUE_UP,
			.priority = WEIR_PRIORITY,
			.flags = newest->posted ? WEIR_OP_POSTED : 0,
			.tenant = first->tenant,
			.wallet = newest->wallet,
			.price_nano = nano,
			.effective_ns = at_ns,
			.started_ns = weir_month_start_ns(month),
			.quantity_nano = total,
		};
		snprintf(op->text, sizeof(op->text), "%s", first->key);
		return 1;
	}
	return 0;
}

int book_trued_up(struct weir_book *b, const struct weir_op *op)
{
	const GPtrArray *all = closing(b, weir_month_of(op->started_ns));
	guint lo = 0, hi = all->len;

	while (lo < hi) {
		guint mid = lo + (hi - lo) / 2;
		const struct weir_volume_sum *s = sum_at(all, mid);
		int ret = strcmp(s->key, op->text);

		if (ret < 0 || (!ret && s->tenant < op->tenant))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!sum_at(all, lo) || strcmp(sum_at(all, lo)->key, op->text) ||
	    sum_at(all, lo)->tenant != op->tenant)
		return -EBADMSG;
	return done_with(b, all, lo, group(all, lo));
}

int book_true_up_drop(struct weir_book *b)
{
	return done_with(b, b->closing, b->closing_at, group(b->closing, b->closing_at));
}

int book_plan_true_up(struct weir_book *b, const struct weir_op *op, struct weir_entry_head *h,
		      struct weir_posting *post)
{
	const struct weir_account *acc = weir_book_account(b, h->wallet, true);

	h->amount_nano = op->flags & WEIR_OP_POSTED ? -op->price_nano : 0;
	if (!h->amount_nano)
		return 0;
	if (op->price_nano > 0)
		return book_plan_take(b, h->wallet, op->price_nano, h->time_ns, h->time_ns, post);
	if (!acc)
		return -ENOMEM;
	if (!book_has_room(acc, -op->price_nano))
		return -ERANGE;
	return book_plan_grant(acc, -op->price_nano, h->seq, true, post);
}
