/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of struct weir_book, shared by its files: before a thing is changed it is touched, so
 * that the change can be taken back.
 */
#ifndef WEIR_LEDGER_BOOK_PRIV_H
#define WEIR_LEDGER_BOOK_PRIV_H

#include "agent/ledger_book.h"

struct book_lot {
	struct weir_lot lot; /* first: one is the other */
	bool dirty;
};

/* made: it did not exist before; taking it back removes it. -ENOMEM. */
int book_touch_account(struct weir_book *b, uint32_t index);
int book_touch_lot(struct weir_book *b, struct weir_lot *lot, bool made);
int book_touch_schedule(struct weir_book *b, struct weir_schedule *s, bool made);
int book_touch_counter(struct weir_book *b, struct weir_counter *c, bool made);
int book_touch_volume(struct weir_book *b, struct weir_volume_sum *v, bool made);
int book_touch_session(struct weir_book *b, struct weir_session *s, bool made);
int book_touch_refund(struct weir_book *b, uint64_t seq);

/* Room for one more element of size bytes. */
int book_grow(void **v, size_t n, size_t *cap, size_t size);

/* A lot into its wallet's order, and what it will be due for. out may be NULL. -ENOMEM. */
int book_insert_lot(struct weir_book *b, const struct weir_lot *from, struct weir_lot **out);
/* A lot out of its wallet's order, and out of memory. */
void book_drop_lot(struct weir_book *b, struct weir_lot *lot);

/* What it will be due for. */
int book_due_lot(struct weir_book *b, const struct weir_lot *lot);
int book_due_expiry(struct weir_book *b, const struct weir_lot *lot);
int book_due_schedule(struct weir_book *b, const struct weir_schedule *s);
int book_due_month(struct weir_book *b, uint32_t month);

int64_t book_counter_at(struct weir_book *b, const char *key, uint32_t month);

/* The first true-up of a month that is due: 1, or 0; its moves; going on without it. */
int book_true_up(struct weir_book *b, uint32_t month, uint64_t at_ns, struct weir_op *op);
int book_plan_true_up(struct weir_book *b, const struct weir_op *op, struct weir_entry_head *h,
		      struct weir_posting *post);
int book_true_up_drop(struct weir_book *b);
/* The sums that a true-up settles are done with. */
int book_trued_up(struct weir_book *b, const struct weir_op *op);

/* Moves of new credit into a lot: pending, or effective, and then debt is repaid first. */
int book_plan_grant(const struct weir_account *acc, int64_t amount, uint64_t lot, bool effective,
		    struct weir_posting *post);
/* Moves that take nano of a wallet for something begun at started_ns; what no lot gives is debt. */
int book_plan_take(struct weir_book *b, uint32_t wallet, int64_t nano, uint64_t started_ns,
		   uint64_t time_ns, struct weir_posting *post);
/* Would so much more credit fit? */
bool book_has_room(const struct weir_account *acc, int64_t amount);
/* before and after, from the moves. -ERANGE. */
int book_balances(struct weir_book *b, struct weir_entry_head *h, const struct weir_posting *post);
int book_add_move(struct weir_posting *post, enum weir_purse purse, uint64_t lot, int64_t nano);

#endif
