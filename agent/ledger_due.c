// SPDX-License-Identifier: Apache-2.0
/*
 * What falls due: lots expire and become effective, schedules come to a boundary, months close. A
 * heap of instants says where to look; whether there is anything to do is asked of the book when
 * the instant has come, so nothing needs to be taken out of the heap when it changes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_book_priv.h"

/* At one instant in this order (ledger.md, 2). */
enum class { EXPIRE, RECUR, ACTIVATE, TRUE_UP };

struct weir_due {
	uint64_t at_ns;
	uint64_t number; /* seq of lot or schedule; the month */
	uint8_t class;
	bool schedule;
};

static bool before(const struct weir_due *x, const struct weir_due *y)
{
	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns;
	if (x->class != y->class)
		return x->class < y->class;
	return x->number < y->number;
}

static int push(struct weir_book *b, struct weir_due d)
{
	void *v = b->due;
	size_t i = b->n_due;

	if (book_grow(&v, b->n_due, &b->cap_due, sizeof(*b->due)))
		return -ENOMEM;
	b->due = v;
	b->n_due++;
	for (; i && before(&d, &b->due[(i - 1) / 2]); i = (i - 1) / 2)
		b->due[i] = b->due[(i - 1) / 2];
	b->due[i] = d;
	return 0;
}

static void pop(struct weir_book *b)
{
	struct weir_due d = b->due[--b->n_due];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < b->n_due) {
		if (child + 1 < b->n_due && before(&b->due[child + 1], &b->due[child]))
			child++;
		if (!before(&b->due[child], &d))
			break;
		b->due[i] = b->due[child];
		i = child;
	}
	if (b->n_due)
		b->due[i] = d;
}

int book_due_expiry(struct weir_book *b, const struct weir_lot *lot)
{
	return push(b, (struct weir_due){
			       .at_ns = lot->expires_ns, .number = lot->seq, .class = EXPIRE });
}

int book_due_lot(struct weir_book *b, const struct weir_lot *lot)
{
	int ret = 0;

	if (lot->pending)
		ret = push(b, (struct weir_due){ .at_ns = lot->effective_ns,
						 .number = lot->seq,
						 .class = ACTIVATE });
	if (!ret && lot->expires_ns && (lot->pending || lot->remaining))
		ret = book_due_expiry(b, lot);
	return ret;
}

int book_due_schedule(struct weir_book *b, const struct weir_schedule *s)
{
	struct weir_due d = {
		.at_ns = s->next_ns, .number = s->seq, .class = EXPIRE, .schedule = true
	};
	int ret;

	if (!s->next_ns)
		return 0;
	ret = push(b, d);
	d.class = RECUR;
	return ret ? ret : push(b, d);
}

int book_due_month(struct weir_book *b, uint32_t month)
{
	return push(b, (struct weir_due){ .at_ns = weir_month_start_ns(month + 1) + WEIR_CLOSE_NS,
					  .number = month,
					  .class = TRUE_UP });
}

static int refill(struct weir_book *b)
{
	GHashTableIter it;
	void *v;
	int ret = 0;

	b->n_due = 0;
	g_hash_table_iter_init(&it, b->lots);
	while (!ret && g_hash_table_iter_next(&it, NULL, &v))
		ret = book_due_lot(b, v);
	g_hash_table_iter_init(&it, b->schedules);
	while (!ret && g_hash_table_iter_next(&it, NULL, &v))
		ret = book_due_schedule(b, v);
	g_hash_table_iter_init(&it, b->volumes);
	while (!ret && g_hash_table_iter_next(&it, NULL, &v))
		ret = book_due_month(b, ((struct weir_volume_sum *)v)->month);
	b->due_stale = ret != 0;
	return ret;
}

/* -------------------------------------------------------------------- schedules */

/* What its lots have at the boundary, and what of it stays. */
static void roll(const struct weir_book *b, const struct weir_schedule *s, int64_t *sum,
		 int64_t *rolled)
{
	const struct weir_account *acc = &b->v[s->wallet];

	*sum = 0;
	for (uint32_t i = 0; s->wallet < b->n && i < acc->n_lots; i++) {
		if (acc->lots[i]->schedule == s->seq && acc->lots[i]->expires_ns == s->next_ns)
			*sum += acc->lots[i]->remaining;
	}
	*rolled = *sum > s->op.roll_min_nano ? *sum : s->op.roll_min_nano;
	if (*rolled > s->op.roll_max_nano)
		*rolled = s->op.roll_max_nano;
}

static int expire_schedule(struct weir_book *b, const struct weir_schedule *s, struct weir_op *op)
{
	const struct weir_account *acc = weir_book_account(b, s->wallet, true);
	uint64_t oldest = s->next_ns, next = 0;
	int64_t sum, rolled;

	if (!acc)
		return -ENOMEM;
	roll(b, s, &sum, &rolled);
	if (!sum && !rolled)
		return 0;
	for (uint32_t i = 0; i < acc->n_lots; i++) {
		const struct weir_lot *lot = acc->lots[i];

		if (lot->schedule == s->seq && lot->expires_ns == s->next_ns && lot->remaining &&
		    lot->effective_ns < oldest)
			oldest = lot->effective_ns;
	}
	if (weir_calendar_next(s->op.every, s->op.zone, s->next_ns, &next))
		rolled = 0;
	*op = (struct weir_op){
		.kind = WEIR_ENTRY_EXPIRE,
		.flags = WEIR_OP_SCHEDULE,
		.tenant = s->wallet,
		.wallet = s->wallet,
		.of = s->seq,
		.source = s->op.source,
		.priority = s->op.priority,
		.amount_nano = sum,
		.rolled_nano = rolled,
		.effective_ns = rolled ? oldest : 0,
		.expires_ns = rolled ? next : 0,
	};
	return 1;
}

static int recur(const struct weir_schedule *s, struct weir_op *op)
{
	uint64_t next;
	int ret = weir_calendar_next(s->op.every, s->op.zone, s->next_ns, &next);

	if (ret) /* behind the end of time */
		return 0;
	*op = (struct weir_op){
		.kind = WEIR_ENTRY_RECUR,
		.tenant = s->wallet,
		.wallet = s->wallet,
		.of = s->seq,
		.source = s->op.source,
		.priority = s->op.priority,
		.amount_nano = s->op.amount_nano,
		.effective_ns = s->next_ns,
		.expires_ns = next,
	};
	return 1;
}

/* ------------------------------------------------------------------------- due */

static int expire_lot(const struct weir_book *b, const struct weir_lot *lot, uint64_t at_ns,
		      struct weir_op *op)
{
	const struct weir_schedule *s;

	if (!lot || lot->expires_ns != at_ns || !lot->remaining)
		return 0;
	s = lot->schedule ? weir_book_schedule((struct weir_book *)b, lot->schedule) : NULL;
	if (s && s->next_ns && s->next_ns <= at_ns && s->rolled_ns != s->next_ns)
		return 0; /* with the others of its schedule */
	*op = (struct weir_op){
		.kind = WEIR_ENTRY_EXPIRE,
		.tenant = lot->wallet,
		.wallet = lot->wallet,
		.of = lot->seq,
		.amount_nano = lot->remaining,
	};
	return 1;
}

static int look(struct weir_book *b, const struct weir_due *d, struct weir_op *op)
{
	const struct weir_schedule *s;
	const struct weir_lot *lot;

	if (d->schedule) {
		s = weir_book_schedule(b, d->number);
		if (!s || !s->next_ns || s->next_ns != d->at_ns)
			return 0;
		if (d->class == RECUR)
			return recur(s, op);
		return s->begun && s->rolled_ns != s->next_ns ? expire_schedule(b, s, op) : 0;
	}
	if (d->class == TRUE_UP)
		return book_true_up(b, (uint32_t)d->number, d->at_ns, op);
	lot = weir_book_lot(b, d->number);
	if (d->class == EXPIRE)
		return expire_lot(b, lot, d->at_ns, op);
	if (!lot || !lot->pending || lot->effective_ns != d->at_ns)
		return 0;
	*op = (struct weir_op){
		.kind = WEIR_ENTRY_ACTIVATE,
		.tenant = lot->wallet,
		.wallet = lot->wallet,
		.of = lot->seq,
		.amount_nano = lot->pending,
	};
	return 1;
}

int weir_book_due(struct weir_book *b, uint64_t to_ns, struct weir_op *op, uint64_t *at_ns)
{
	int ret;

	if (b->due_stale && refill(b))
		return -ENOMEM;
	while (b->n_due && b->due[0].at_ns <= to_ns) {
		struct weir_due d = b->due[0];

		ret = look(b, &d, op);
		if (ret) {
			*at_ns = d.at_ns;
			return ret;
		}
		pop(b);
	}
	return 0;
}

int weir_book_due_drop(struct weir_book *b)
{
	struct weir_due d = b->due[0];
	struct weir_schedule *s;
	int ret;

	if (d.class == TRUE_UP) /* this one: the month has others */
		return book_true_up_drop(b);
	pop(b);
	if (!d.schedule)
		return 0;
	s = weir_book_schedule(b, d.number);
	ret = book_touch_schedule(b, s, false);
	if (ret || d.class != RECUR) {
		s->rolled_ns = s->next_ns;
		return ret;
	}
	if (weir_calendar_next(s->op.every, s->op.zone, s->next_ns, &s->next_ns))
		s->next_ns = 0;
	return book_due_schedule(b, s);
}

uint64_t weir_book_next_due(const struct weir_book *b)
{
	if (b->due_stale)
		return 0;
	return b->n_due ? b->due[0].at_ns : UINT64_MAX;
}

/* --------------------------------------------------------------------- planning */

static int plan_roll(struct weir_book *b, const struct weir_op *op, struct weir_entry_head *h,
		     struct weir_posting *post)
{
	const struct weir_schedule *s = weir_book_schedule(b, op->of);
	const struct weir_account *acc = &b->v[h->wallet];
	int64_t roll = op->rolled_nano;
	int ret = 0;

	for (uint32_t i = 0; i < acc->n_lots && !ret; i++) {
		const struct weir_lot *lot = acc->lots[i];
		int64_t take = roll < lot->remaining ? roll : lot->remaining;

		if (lot->schedule != s->seq || lot->expires_ns != s->next_ns || !lot->remaining)
			continue;
		roll -= take;
		ret = book_add_move(post, WEIR_PURSE_REMAINING, lot->seq, -lot->remaining);
		if (!ret)
			ret = book_add_move(post, WEIR_PURSE_EXPIRED, lot->seq,
					    lot->remaining - take);
	}
	return ret ? ret : book_add_move(post, WEIR_PURSE_REMAINING, h->seq, op->rolled_nano);
}

static int plan_expire(struct weir_book *b, const struct weir_op *op, struct weir_entry_head *h,
		       struct weir_posting *post)
{
	int ret;

	if (op->flags & WEIR_OP_SCHEDULE)
		return plan_roll(b, op, h, post);
	ret = book_add_move(post, WEIR_PURSE_REMAINING, op->of, -op->amount_nano);
	return ret ? ret : book_add_move(post, WEIR_PURSE_EXPIRED, op->of, op->amount_nano);
}

int weir_book_plan_due(struct weir_book *b, struct weir_op *op, struct weir_entry_head *h,
		       struct weir_posting *post)
{
	const struct weir_account *acc = weir_book_account(b, h->wallet, true);
	int ret;

	post->n_moves = 0;
	h->amount_nano = 0;
	if (!acc)
		return -ENOMEM;
	switch (op->kind) {
	case WEIR_ENTRY_EXPIRE:
		ret = plan_expire(b, op, h, post);
		break;
	case WEIR_ENTRY_RECUR:
		if (!book_has_room(acc, op->amount_nano))
			return -ERANGE;
		h->amount_nano = op->amount_nano;
		ret = book_plan_grant(acc, op->amount_nano, h->seq, true, post);
		break;
	case WEIR_ENTRY_ACTIVATE:
		ret = book_add_move(post, WEIR_PURSE_PENDING, op->of, -op->amount_nano);
		if (!ret)
			ret = book_plan_grant(acc, op->amount_nano, op->of, true, post);
		break;
	case WEIR_ENTRY_TRUE_UP:
		ret = book_plan_true_up(b, op, h, post);
		break;
	default:
		return -EINVAL;
	}
	if (!ret)
		ret = book_balances(b, h, post);
	if (!ret && op->kind == WEIR_ENTRY_EXPIRE)
		h->amount_nano = h->after_nano - h->before_nano;
	return ret;
}

/* --------------------------------------------------------------- without entries */

/* As it was before: at its instant, without a word, and without repaying a debt. */
int weir_book_pass(struct weir_book *b, uint64_t to_ns)
{
	struct weir_op op;
	uint64_t at;
	int ret;

	while ((ret = weir_book_due(b, to_ns, &op, &at)) > 0) {
		struct weir_lot *lot = weir_book_lot(b, op.of);
		struct weir_account *acc;

		if (op.flags & WEIR_OP_SCHEDULE || op.kind == WEIR_ENTRY_RECUR ||
		    op.kind == WEIR_ENTRY_TRUE_UP)
			return -EBADMSG;
		if (book_touch_lot(b, lot, false) || book_touch_account(b, lot->wallet))
			return -ENOMEM;
		acc = &b->v[lot->wallet];
		if (op.kind == WEIR_ENTRY_EXPIRE) {
			acc->remaining -= lot->remaining;
			lot->expired += lot->remaining;
			lot->remaining = 0;
		} else {
			acc->remaining += lot->pending;
			lot->remaining += lot->pending;
			lot->pending = 0;
		}
	}
	return ret;
}

void weir_book_next_expiry(const struct weir_book *b, uint32_t wallet, uint64_t *at_ns,
			   int64_t *nano)
{
	const struct weir_account *acc = wallet < b->n ? &b->v[wallet] : NULL;

	*at_ns = 0;
	*nano = 0;
	for (uint32_t i = 0; acc && i < acc->n_lots; i++) {
		const struct weir_lot *lot = acc->lots[i];

		if (!lot->expires_ns || !lot->remaining || (*at_ns && lot->expires_ns > *at_ns))
			continue;
		if (lot->expires_ns != *at_ns)
			*nano = 0;
		*at_ns = lot->expires_ns;
		*nano += lot->remaining;
	}
	/* What a schedule rolls does not leave. */
	for (uint32_t i = 0; acc && i < acc->n_lots; i++) {
		const struct weir_schedule *s =
			acc->lots[i]->schedule
				? weir_book_schedule((struct weir_book *)b, acc->lots[i]->schedule)
				: NULL;
		int64_t sum, rolled;

		if (!s || s->next_ns != *at_ns || acc->lots[i]->expires_ns != *at_ns ||
		    !acc->lots[i]->remaining)
			continue;
		roll(b, s, &sum, &rolled);
		/* Once per schedule: with the first of its lots. */
		for (uint32_t k = 0; k < i; k++) {
			if (acc->lots[k]->schedule == s->seq && acc->lots[k]->remaining &&
			    acc->lots[k]->expires_ns == *at_ns)
				rolled = 0;
		}
		*nano -= rolled < sum ? rolled : sum;
	}
}
