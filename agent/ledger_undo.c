// SPDX-License-Identifier: Apache-2.0
/*
 * Transactions of the book. What is changed is noted first, once, as it was: so a group that
 * fails to commit leaves memory as the database is, and one that succeeds knows what to write.
 */
#include "agent/ledger_book_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum what { ACCOUNT, LOT, SCHEDULE, COUNTER, VOLUME, SESSION, REFUND };

struct weir_undo {
	uint8_t what; /* enum what */
	bool made;    /* it was not there */
	union {
		struct {
			uint32_t index;
			struct weir_figures f;
			int64_t remaining;
			uint64_t held;
		} account;
		struct weir_lot lot;
		struct {
			uint64_t seq, next_ns, rolled_ns;
			bool begun;
		} schedule;
		struct {
			struct weir_counter *c;
			int64_t at;
		} counter;
		struct {
			struct weir_volume_sum *v;
			struct weir_volume sum;
			uint32_t wallet;
			bool posted;
		} volume;
		struct {
			struct weir_session *s;
			uint64_t started_ns;
		} session;
		struct {
			uint64_t seq;
			int64_t nano;
		} refund;
	};
};

static struct weir_undo *note(struct weir_book *b, enum what what, bool made)
{
	void *v = b->undo;
	struct weir_undo *u;

	if (book_grow(&v, b->n_undo, &b->cap_undo, sizeof(*b->undo)))
		return NULL;
	b->undo = v;
	u = &b->undo[b->n_undo++];
	memset(u, 0, sizeof(*u));
	u->what = what;
	u->made = made;
	return u;
}

int book_touch_account(struct weir_book *b, uint32_t index)
{
	struct weir_account *acc = weir_book_account(b, index, true);
	struct weir_undo *u;

	if (!acc)
		return -ENOMEM;
	if (acc->dirty)
		return 0;
	u = note(b, ACCOUNT, false);
	if (!u)
		return -ENOMEM;
	u->account.index = index;
	u->account.f = acc->f;
	u->account.remaining = acc->remaining;
	u->account.held = acc->held;
	acc->dirty = true;
	return 0;
}

int book_touch_lot(struct weir_book *b, struct weir_lot *lot, bool made)
{
	struct book_lot *mine = (struct book_lot *)lot;
	struct weir_undo *u;

	if (mine->dirty)
		return 0;
	u = note(b, LOT, made);
	if (!u)
		return -ENOMEM;
	u->lot = *lot;
	mine->dirty = true;
	return 0;
}

int book_touch_schedule(struct weir_book *b, struct weir_schedule *s, bool made)
{
	struct weir_undo *u;

	if (s->dirty)
		return 0;
	u = note(b, SCHEDULE, made);
	if (!u)
		return -ENOMEM;
	u->schedule.seq = s->seq;
	u->schedule.next_ns = s->next_ns;
	u->schedule.rolled_ns = s->rolled_ns;
	u->schedule.begun = s->begun;
	s->dirty = true;
	return 0;
}

int book_touch_counter(struct weir_book *b, struct weir_counter *c, bool made)
{
	struct weir_undo *u;

	if (c->dirty)
		return 0;
	u = note(b, COUNTER, made);
	if (!u)
		return -ENOMEM;
	u->counter.c = c;
	u->counter.at = c->at;
	c->dirty = true;
	return 0;
}

int book_touch_volume(struct weir_book *b, struct weir_volume_sum *v, bool made)
{
	struct weir_undo *u;

	if (v->dirty)
		return 0;
	u = note(b, VOLUME, made);
	if (!u)
		return -ENOMEM;
	u->volume.v = v;
	u->volume.sum = v->sum;
	u->volume.wallet = v->wallet;
	u->volume.posted = v->posted;
	v->dirty = true;
	return 0;
}

int book_touch_session(struct weir_book *b, struct weir_session *s, bool made)
{
	struct weir_undo *u;

	if (s->dirty)
		return 0;
	u = note(b, SESSION, made);
	if (!u)
		return -ENOMEM;
	u->session.s = s;
	u->session.started_ns = s->started_ns;
	s->dirty = true;
	return 0;
}

/* Refunds are rare, and few of one entry: each is noted, and all of them agree in the end. */
int book_touch_refund(struct weir_book *b, uint64_t seq)
{
	const int64_t *nano = g_hash_table_lookup(b->refunds, &seq);
	struct weir_undo *u = note(b, REFUND, !nano);

	if (!u)
		return -ENOMEM;
	u->refund.seq = seq;
	u->refund.nano = nano ? *nano : 0;
	return nano ? 0 : weir_book_load_refund(b, seq, 0);
}

/* -------------------------------------------------------------------- the writer */

static int told(struct weir_book *b, const struct weir_undo *u, const struct weir_book_changes *c)
{
	switch (u->what) {
	case ACCOUNT:
		return c->account(c->ctx, u->account.index, &b->v[u->account.index],
				  u->account.remaining - u->account.f.debt);
	case LOT:
		return c->lot(c->ctx, weir_book_lot(b, u->lot.seq));
	case SCHEDULE:
		return c->schedule(c->ctx, weir_book_schedule(b, u->schedule.seq));
	case COUNTER:
		return c->counter(c->ctx, u->counter.c);
	case VOLUME:
		return c->volume(c->ctx, u->volume.v, u->volume.v->gone);
	case SESSION:
		return c->session(c->ctx, u->session.s);
	case REFUND:
		return c->refund(c->ctx, u->refund.seq, weir_book_refunded(b, u->refund.seq));
	}
	return 0;
}

int weir_book_changes(struct weir_book *b, const struct weir_book_changes *c)
{
	int ret = 0;

	for (size_t i = 0; i < b->n_undo && !ret; i++)
		ret = told(b, &b->undo[i], c);
	return ret;
}

static void settle_lot(struct weir_book *b, uint64_t seq)
{
	struct book_lot *lot = (struct book_lot *)weir_book_lot(b, seq);

	lot->dirty = false;
	if (!lot->lot.pending && !lot->lot.remaining && !lot->lot.expired && !b->keep)
		book_drop_lot(b, &lot->lot);
}

void weir_book_commit(struct weir_book *b)
{
	for (size_t i = 0; i < b->n_undo; i++) {
		struct weir_undo *u = &b->undo[i];

		switch (u->what) {
		case ACCOUNT:
			b->v[u->account.index].dirty = false;
			b->v[u->account.index].taken = 0;
			break;
		case LOT:
			settle_lot(b, u->lot.seq);
			break;
		case SCHEDULE:
			weir_book_schedule(b, u->schedule.seq)->dirty = false;
			break;
		case COUNTER:
			u->counter.c->dirty = false;
			break;
		case VOLUME:
			u->volume.v->dirty = false;
			if (u->volume.v->gone)
				g_clear_pointer(&b->closing, g_ptr_array_unref);
			if (u->volume.v->gone)
				g_hash_table_remove(b->volumes, u->volume.v);
			break;
		case SESSION:
			u->session.s->dirty = false;
			break;
		}
	}
	b->n_undo = 0;
}

static void back_lot(struct weir_book *b, const struct weir_undo *u)
{
	struct book_lot *lot = (struct book_lot *)weir_book_lot(b, u->lot.seq);

	if (!lot)
		return;
	if (u->made) {
		book_drop_lot(b, &lot->lot);
		return;
	}
	lot->lot = u->lot;
	lot->dirty = false;
}

static void back(struct weir_book *b, struct weir_undo *u)
{
	struct weir_account *acc;
	struct weir_schedule *s;
	int64_t *nano;

	switch (u->what) {
	case ACCOUNT:
		acc = &b->v[u->account.index];
		acc->f = u->account.f;
		acc->remaining = u->account.remaining;
		acc->held = u->account.held;
		acc->taken = 0;
		acc->dirty = false;
		break;
	case LOT:
		back_lot(b, u);
		break;
	case SCHEDULE:
		if (u->made) {
			g_hash_table_remove(b->schedules, &u->schedule.seq);
			break;
		}
		s = weir_book_schedule(b, u->schedule.seq);
		s->next_ns = u->schedule.next_ns;
		s->rolled_ns = u->schedule.rolled_ns;
		s->begun = u->schedule.begun;
		s->dirty = false;
		break;
	case COUNTER:
		u->counter.c->at = u->counter.at;
		u->counter.c->dirty = false;
		if (u->made)
			g_hash_table_remove(b->counters, u->counter.c);
		break;
	case VOLUME:
		u->volume.v->sum = u->volume.sum;
		u->volume.v->wallet = u->volume.wallet;
		u->volume.v->posted = u->volume.posted;
		u->volume.v->gone = false;
		u->volume.v->dirty = false;
		if (u->made)
			g_hash_table_remove(b->volumes, u->volume.v);
		break;
	case SESSION:
		u->session.s->started_ns = u->session.started_ns;
		u->session.s->dirty = false;
		if (u->made)
			g_hash_table_remove(b->sessions, u->session.s);
		break;
	case REFUND:
		nano = g_hash_table_lookup(b->refunds, &u->refund.seq);
		*nano = u->refund.nano;
		if (u->made)
			g_hash_table_remove(b->refunds, &u->refund.seq);
		break;
	}
}

void weir_book_rollback(struct weir_book *b)
{
	while (b->n_undo)
		back(b, &b->undo[--b->n_undo]);
	g_clear_pointer(&b->closing, g_ptr_array_unref);
	b->due_stale = true;
}
