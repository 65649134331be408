/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of ledger.md in memory: lots, wallets, schedules, counters, sessions; what an entry
 * will do (planning), and doing it (applying). Pure: no database, no clock. The ledger keeps one
 * in step with what it commits; verify builds a second one from the log and compares.
 *
 * Planning changes nothing. Applying changes what was planned, and everything it changes can be
 * taken back until the book is told that the transaction is durable.
 */
#ifndef WEIR_LEDGER_BOOK_H
#define WEIR_LEDGER_BOOK_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/ledger_encode.h"

/* Tenant numbers are array indexes; past this one is taken for garbage. */
#define WEIR_ACCOUNT_MAX (1u << 20)

#define WEIR_LATE_NS                                                                               \
	(UINT64_C(86400) * 1000000000) /* an expired lot still gives to older requests */
#define WEIR_SESSION_NS (UINT64_C(86400) * 1000000000) /* how long a session is one */
#define WEIR_CLOSE_NS	(UINT64_C(3600) * 1000000000)  /* from a month's end to its true-up */
#define WEIR_PRIORITY	100			       /* where nobody says one */

/* What a tenant used, and what a wallet has. Counts stop at INT64_MAX instead of wrapping. Columns
 * of table `account`. */
struct weir_figures {
	int64_t debt;			   /* nano, >= 0 */
	uint64_t issued, consumed, voided; /* nano, of its whole life; wrap */
	int64_t requests, estimated, partial;
	struct weir_usage tokens;
	int64_t audio, image;
	int64_t price, cost, refunded; /* nano */
	int64_t asked;		       /* 1: a top-up was asked for, below `asked_below` */
	int64_t asked_below;
};

/* Its columns, in the order of its fields. */
#define WEIR_FIGURE_COLUMNS                                                                        \
	"debt, issued, consumed, voided, requests, estimated, partial, input, cache_read,"         \
	" cache_write, output, reasoning, audio, image, price, cost, refunded, asked, asked_below"
#define WEIR_N_FIGURES 19
_Static_assert(sizeof(struct weir_figures) == WEIR_N_FIGURES * sizeof(int64_t), "a column each");

struct weir_account {
	struct weir_figures f;
	int64_t remaining; /* Σ of lots */
	uint64_t held; /* Σ pending + remaining + expired, of all lots there ever were; wraps */
	struct weir_lot **lots; /* in burn order; those that can still give or get */
	uint32_t n_lots, cap_lots;
	bool dirty;    /* in the open transaction */
	int64_t taken; /* in it: what the consumer had taken off the ceiling for its rows */
};

struct weir_schedule {
	uint64_t seq;
	uint32_t wallet;
	uint64_t next_ns;   /* 0: stopped */
	uint64_t rolled_ns; /* the boundary at which its lots were rolled last */
	bool begun;	    /* its first grant was made */
	bool dirty;
	struct weir_op op;
};

/* Where a dimension with steps stands in a month. */
struct weir_counter {
	uint32_t month;
	bool dirty;
	int64_t at;
	char key[]; /* owner|card|entry|dimension */
};

/* What a true-up needs of one tenant, counter, month and version of a card. */
struct weir_volume_sum {
	uint32_t month, tenant, wallet, card, entry;
	uint8_t dimension;
	bool posted;
	bool gone; /* trued up */
	bool dirty;
	struct weir_volume sum;
	char key[];
};

struct weir_session {
	uint32_t tenant;
	bool dirty;
	uint64_t started_ns;
	char key[]; /* card|entry|session */
};

struct weir_due;  /* ledger_due.c */
struct weir_undo; /* ledger_book.c */

struct weir_book {
	struct weir_account *v; /* by tenant number */
	size_t n;
	GHashTable *lots;      /* seq -> struct weir_lot, of those in accounts */
	GHashTable *schedules; /* seq -> struct weir_schedule */
	GHashTable *counters, *volumes, *sessions;
	GHashTable *refunds;  /* seq -> nano refunded */
	struct weir_due *due; /* a heap */
	size_t n_due, cap_due;
	bool due_stale; /* to be made anew from what there is */
	struct weir_undo *undo;
	size_t n_undo, cap_undo;
	GPtrArray *closing; /* sums of the month that is being trued up, in order; NULL: none is */
	uint32_t closing_month;
	guint closing_at; /* those before it are done with */
	bool keep;	  /* used-up lots too: verify */
	/* A counter of a month that is not in memory; NULL: it is 0. */
	int64_t (*counter_at)(void *ctx, const char *key, uint32_t month);
	const struct weir_card *(*card)(void *ctx, uint32_t id); /* NULL: there is none */
	void *ctx;
};

int weir_book_init(struct weir_book *b); /* 0 or -ENOMEM */
void weir_book_clear(struct weir_book *b);

/* NULL: nothing known of it. make: so that it exists; NULL is then -ENOMEM or past the limit. */
struct weir_account *weir_book_account(struct weir_book *b, uint32_t index, bool make);
struct weir_lot *weir_book_lot(struct weir_book *b, uint64_t seq); /* NULL: not in memory */
struct weir_schedule *weir_book_schedule(struct weir_book *b, uint64_t seq);
int64_t weir_book_balance(const struct weir_book *b, uint32_t wallet);
int64_t weir_book_refunded(const struct weir_book *b, uint64_t seq);

/* As a checkpoint has them; copied. 0 or -ENOMEM. */
int weir_book_load_lot(struct weir_book *b, const struct weir_lot *lot);
int weir_book_load_schedule(struct weir_book *b, const struct weir_schedule *s);
int weir_book_load_counter(struct weir_book *b, const char *key, uint32_t month, int64_t at);
int weir_book_load_volume(struct weir_book *b, const struct weir_volume_sum *v, const char *key);
int weir_book_load_session(struct weir_book *b, uint32_t tenant, const char *key,
			   uint64_t started_ns);
int weir_book_load_refund(struct weir_book *b, uint64_t seq, int64_t nano);

/* -- planning: h->time_ns, tenant and wallet are given; amount, before, after and the moves are
 * filled in. -ENOMEM; -ERANGE: a number past its limit, a negative price, or credit or debt that
 * would not fit. */

/* A row that is priced; one that is not WEIR_ROW_POSTED moves nothing and never is -ERANGE. */
int weir_book_plan_usage(struct weir_book *b, const struct weir_row *row, struct weir_entry_head *h,
			 struct weir_posting *post);

/* An act: grant, void, adjust, deduct, meter, schedule. -ENOENT, -EINVAL: of what is not there, or
 * cannot be voided; -ENODATA: not so much credit. op->amount_nano of a void is filled in. */
int weir_book_plan_op(struct weir_book *b, struct weir_op *op, struct weir_entry_head *h,
		      struct weir_posting *post);

/* A refund of the entry op->of, which took what `taken` says. op->amount_nano 0 is filled in.
 * -EINVAL: it took nothing, or so much is not left. */
int weir_book_plan_refund(struct weir_book *b, struct weir_op *op, const struct weir_posting *taken,
			  struct weir_entry_head *h, struct weir_posting *post);

/* -- applying. -EBADMSG: it does not add up (a log that was tampered with), -ENOMEM. */
int weir_book_apply_usage(struct weir_book *b, const struct weir_row *row,
			  const struct weir_entry_head *h, const struct weir_posting *post,
			  bool old);
int weir_book_apply_op(struct weir_book *b, const struct weir_op *op,
		       const struct weir_entry_head *h, const struct weir_posting *post, bool old);

/* -- what falls due (ledger_due.c) */

/* Fill op and the instant of the first thing that is due at or before to_ns. 1, 0: nothing is;
 * -ENOMEM. It stays due until it is applied, or dropped. */
int weir_book_due(struct weir_book *b, uint64_t to_ns, struct weir_op *op, uint64_t *at_ns);
/* It cannot be done (-ERANGE): go on without it. */
int weir_book_due_drop(struct weir_book *b);
/* Its moves, at h->time_ns. */
int weir_book_plan_due(struct weir_book *b, struct weir_op *op, struct weir_entry_head *h,
		       struct weir_posting *post);
uint64_t weir_book_next_due(const struct weir_book *b); /* UINT64_MAX: nothing */
/* Before lots expired and became effective by entries: let it happen without one. */
int weir_book_pass(struct weir_book *b, uint64_t to_ns);

/* What leaves the balance next, by expiry: when, 0 never. */
void weir_book_next_expiry(const struct weir_book *b, uint32_t wallet, uint64_t *at_ns,
			   int64_t *nano);

/* -- prices (ledger_count.c) */

/* What is priced: by which entry, for whom. session: NULL where there is none to be believed. */
struct weir_sale {
	const struct weir_card *card;
	uint32_t entry, discount_milli;
	uint32_t tenant, wallet;
	bool posted;
	const char *session;
	uint64_t started_ns, time_ns;
};

/* Price it, with counters and sessions as they stand: post's positions and session_begins, and
 * the charge. q's session is filled in. 0, -ERANGE, -ENOMEM. */
int weir_book_price(struct weir_book *b, const struct weir_sale *s, struct weir_quantities *q,
		    struct weir_posting *post, struct weir_charge *charge);
/* And count it. */
int weir_book_count(struct weir_book *b, const struct weir_sale *s, const struct weir_posting *post,
		    const struct weir_charge *charge);

/* Text of a counter's key. */
#define WEIR_COUNTER_KEY WEIR_COUNTER_TEXT
_Static_assert(sizeof(((struct weir_op *)0)->text) == WEIR_COUNTER_KEY, "a true-up names it");
int weir_counter_key(const struct weir_card *c, uint32_t entry, enum weir_dimension d,
		     uint32_t tenant, char out[static WEIR_COUNTER_KEY]);

/* -- transactions */

/* What the open transaction changed, as it is now; to be written. Each once. */
struct weir_book_changes {
	void *ctx;
	int (*account)(void *ctx, uint32_t index, const struct weir_account *a,
		       int64_t balance_before);
	int (*lot)(void *ctx, const struct weir_lot *lot);
	int (*schedule)(void *ctx, const struct weir_schedule *s);
	int (*counter)(void *ctx, const struct weir_counter *c);
	int (*volume)(void *ctx, const struct weir_volume_sum *v, bool gone);
	int (*session)(void *ctx, const struct weir_session *s);
	int (*refund)(void *ctx, uint64_t seq, int64_t nano);
};
int weir_book_changes(struct weir_book *b, const struct weir_book_changes *c);
void weir_book_commit(struct weir_book *b);
void weir_book_rollback(struct weir_book *b);

/* Forget what can change nothing any more, or is looked up when it does. Between transactions. */
void weir_book_prune(struct weir_book *b, uint64_t now_ns);

/* The consumer had taken so much off the ceiling for what was just applied. Wraps, as ceilings do.
 */
static inline void weir_book_took(struct weir_book *b, uint32_t wallet, int64_t nano)
{
	b->v[wallet].taken = (int64_t)((uint64_t)b->v[wallet].taken + (uint64_t)nano);
}

/* Burn order of two lots: < 0, 0, > 0. */
int weir_lot_compare(const struct weir_lot *x, const struct weir_lot *y);

#endif
