/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of the ledger, decoded: what the reader hands out and the event
 * writer turns into JSON. Plain data; nothing here touches a database. What
 * entries mean is in ledger.md.
 */
#ifndef WEIR_LEDGER_ENTRY_H
#define WEIR_LEDGER_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "calendar.h"
#include "price.h"
#include "row.h"

#define WEIR_HASH_BYTES 32

/* Numbers are stored for ever: append only. */
enum weir_entry_kind {
	WEIR_ENTRY_USAGE = 1,
	WEIR_ENTRY_GRANT = 2,
	WEIR_ENTRY_VOID = 3, /* of a grant, or of a schedule: it stops */
	WEIR_ENTRY_REFUND = 4,
	WEIR_ENTRY_ADJUST = 5,
	WEIR_ENTRY_EXPIRE = 6,
	WEIR_ENTRY_ACTIVATE = 7, /* a grant becomes effective */
	WEIR_ENTRY_DEDUCT = 8,
	WEIR_ENTRY_METER = 9,	  /* usage that no request was */
	WEIR_ENTRY_SCHEDULE = 10, /* a recurrence begins */
	WEIR_ENTRY_RECUR = 11,	  /* a grant by a schedule */
	WEIR_ENTRY_TRUE_UP = 12,
	WEIR_ENTRY_TOP_UP = 13, /* the balance fell below a threshold: somebody is to be asked */
	WEIR_ENTRY_KIND_MAX
};
/* "usage", "grant", …; indexed by kind, [0] is "". */
extern const char *const weir_entry_kind_names[WEIR_ENTRY_KIND_MAX];

/* Where a lot comes from. Stored: append only. */
enum weir_grant_source {
	WEIR_GRANT_PAID,
	WEIR_GRANT_PROMO,
	WEIR_GRANT_TRIAL,
	/* not to be asked for */
	WEIR_GRANT_ADJUST,
	WEIR_GRANT_REFUND,
	WEIR_GRANT_TRUE_UP,
	WEIR_GRANT_SOURCE_MAX
};
extern const char *const weir_grant_source_names[WEIR_GRANT_SOURCE_MAX + 1]; /* NULL-ended */

/* What an entry moves within its wallet. Stored: append only. */
enum weir_purse {
	WEIR_PURSE_REMAINING, /* of a lot */
	WEIR_PURSE_EXPIRED,   /* of a lot */
	WEIR_PURSE_PENDING,   /* of a lot */
	WEIR_PURSE_DEBT,      /* + more is owed */
};
struct weir_move {
	uint8_t purse; /* enum weir_purse */
	uint64_t lot;  /* seq of the entry that made it; 0 for debt */
	int64_t nano;  /* + it grows, - it shrinks */
};

enum weir_op_flags {
	WEIR_OP_NOW = 1 << 0,	     /* effective was asked for as "now" */
	WEIR_OP_AS_GRANT = 1 << 1,   /* refund: what would expire at once becomes a lot */
	WEIR_OP_ALLOW_DEBT = 1 << 2, /* deduct */
	WEIR_OP_POSTED = 1 << 3,     /* meter, true-up: the wallet pays */
	WEIR_OP_UNPRICED = 1 << 4,   /* meter: no card has a price for it */
	WEIR_OP_TRUSTED = 1 << 5,    /* meter: the session is to be believed */
	WEIR_OP_SCHEDULE = 1 << 6,   /* expire, void: `of` is a schedule */
	WEIR_OP_REST = 1 << 7,	     /* refund: asked for as "all that is left" */
};

/*
 * What every entry but usage says: who wants what. Fields that a kind has no use for are 0.
 * Filled by whoever asks; the ledger fills those marked *.
 */
struct weir_op {
	uint8_t kind;	/* enum weir_entry_kind */
	uint8_t source; /* enum weir_grant_source; of grant, schedule, recur */
	uint8_t priority;
	uint8_t every; /* enum weir_every; schedule */
	uint32_t flags;
	uint32_t tenant;       /* whose */
	uint32_t wallet;       /* whose credit moves; tenant for all but meter and true-up */
	int64_t amount_nano;   /* > 0; of adjust any sign but 0; refund 0: all that is left */
	uint64_t effective_ns; /* wall; 0: now (WEIR_OP_NOW is then set) */
	uint64_t expires_ns;   /* 0: never */
	uint64_t of; /* seq: the grant or schedule voided, the entry refunded, *the schedule of a
		      * recur or an expire, *the lot of an activate or an expire without schedule */
	int64_t cost_basis_nano; /* what was paid for it, in `currency` */
	int64_t roll_min_nano, roll_max_nano;
	int64_t rolled_nano; /* expire of a schedule: goes to a lot of this entry's own */
	char currency[4];
	char zone[48];
	char pack[64]; /* of the catalogue, if it was sold */
	/* meter (and of the counter: true-up) */
	char dimension[48];
	int64_t quantity_nano;
	char model[64];
	char feature[48];
	char session[64];
	uint32_t card_id, card_entry; /* 0: none */
	uint32_t discount_milli;
	uint64_t started_ns;	       /* when it was used; 0: now */
	int64_t price_nano, cost_nano; /* * */
	char text[512];		       /* true-up: the counter's key */
	/* top_up */
	int64_t threshold_nano;
	/* deduct */
	int64_t overage_nano; /* how far below zero it may go; below 0: what must stay */
	/* of the write */
	char key[64]; /* idempotency key; "": the ledger's own entries have none */
	char actor[64];
	char reason[128];
};

/* Credit with one set of terms (ledger.md, 2). */
struct weir_lot {
	uint64_t seq; /* of the entry that made it */
	uint32_t wallet;
	uint8_t source; /* enum weir_grant_source */
	uint8_t priority;
	bool voided;
	uint64_t effective_ns, expires_ns, created_ns; /* wall; expires 0: never */
	uint64_t schedule;			       /* seq; 0: of none */
	int64_t amount, pending, remaining, expired;   /* nano */
};

/* Where counters of dimensions with steps stood before the entry. */
struct weir_position {
	uint8_t dimension; /* enum weir_dimension */
	int64_t at;
};

/* Pointers live as long as the call that was given the entry. */
struct weir_entry {
	uint64_t seq;
	uint64_t time_ns; /* wall; of the ledger: never goes back from one seq to the next */
	enum weir_entry_kind kind;
	struct weir_id id;
	uint32_t tenant;	 /* who used it, or was granted it */
	uint32_t wallet;	 /* who pays; balances are this one's */
	const char *tenant_name; /* NULL: the number has no name */
	const char *wallet_name;
	int64_t amount_nano;	     /* what it is about: usage -price (0: not posted), grant + */
	int64_t balance_before_nano; /* of the wallet */
	int64_t balance_after_nano;
	const struct weir_move *moves;
	size_t n_moves;
	const struct weir_position *positions;
	size_t n_positions;
	bool session_begins;	    /* it paid a session's price */
	const struct weir_row *row; /* WEIR_ENTRY_USAGE, else NULL */
	const struct weir_op *op;   /* any other kind, else NULL */
	const char *actor;	    /* "agent" for what the agent does by itself, else who asked */
	uint8_t prev_hash[WEIR_HASH_BYTES];
	uint8_t hash[WEIR_HASH_BYTES];
};

#endif
