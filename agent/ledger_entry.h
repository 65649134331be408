/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of the ledger, decoded: what the reader hands out and the event
 * writer turns into JSON. Plain data; nothing here touches a database.
 */
#ifndef WEIR_LEDGER_ENTRY_H
#define WEIR_LEDGER_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "ledger.h"
#include "row.h"

#define WEIR_HASH_BYTES 32

/* Numbers are stored for ever: append only. */
enum weir_entry_kind {
	WEIR_ENTRY_USAGE = 1,
	WEIR_ENTRY_GRANT = 2,
	WEIR_ENTRY_VOID = 3, /* from here on: not written yet */
	WEIR_ENTRY_REFUND = 4,
	WEIR_ENTRY_ADJUST = 5,
	WEIR_ENTRY_EXPIRE = 6,
	WEIR_ENTRY_REPAY = 7,
	WEIR_ENTRY_KIND_MAX
};
/* "usage", "grant", …; indexed by kind, [0] is "". */
extern const char *const weir_entry_kind_names[WEIR_ENTRY_KIND_MAX];

/* So much was taken from the grant whose entry is `grant`. */
struct weir_burn {
	uint64_t grant; /* seq */
	int64_t nano;	/* > 0 */
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
	int64_t amount_nano; /* effect on the wallet: usage -price (0: not posted), grant + */
	int64_t balance_before_nano; /* of the wallet, at time_ns */
	int64_t balance_after_nano;
	int64_t debt_nano; /* usage: what no grant covered, >= 0; grant: debt repaid, <= 0 */
	const struct weir_burn *burns;
	size_t n_burns;
	const struct weir_row *row;	/* WEIR_ENTRY_USAGE, else NULL */
	const struct weir_grant *grant; /* WEIR_ENTRY_GRANT, else NULL */
	const char *actor;		/* "agent" for usage, else who asked */
	uint8_t prev_hash[WEIR_HASH_BYTES];
	uint8_t hash[WEIR_HASH_BYTES];
};

#endif
