/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of struct weir_ledger, shared by the ledger_*.c files that write.
 */
#ifndef WEIR_LEDGER_PRIV_H
#define WEIR_LEDGER_PRIV_H

#include <sqlite3.h>

#include "agent/ledger.h"
#include "agent/ledger_accounts.h"
#include "agent/ledger_sql.h"
#include "agent/names.h"

/* The newest entry: what the next one continues. */
struct weir_ledger_tip {
	uint64_t seq;
	uint64_t time_ns;
	uint8_t hash[WEIR_HASH_BYTES];
};

struct weir_ledger {
	sqlite3 *db;
	char id[40];
	sqlite3_stmt *insert;
	sqlite3_stmt *put_account, *put_credit, *set_remaining, *set_checkpoint;
	struct weir_ledger_tip tip;  /* committed */
	struct weir_ledger_tip next; /* of the open transaction */
	struct weir_accounts accounts;
	struct weir_chain chain;
	struct weir_posting post; /* scratch, as is body */
	struct weir_bytes body;
	struct weir_names names; /* of tenants and scopes */
};

/* A transaction over the log. end: flush the projections and commit if ret is
 * 0, else (or if that fails) undo everything; gives the result. */
int weir_ledger_begin(struct weir_ledger *l, struct weir_error *err);
int weir_ledger_end(struct weir_ledger *l, int ret, struct weir_error *err);

/* Hash and insert the entry whose head (but seq), and body in l->body, are
 * given; fills h->seq. -EEXIST: an entry of that id is there. */
int weir_ledger_put(struct weir_ledger *l, struct weir_entry_head *h, struct weir_error *err);

/* The grant's row in the projection. */
int weir_ledger_put_credit(struct weir_ledger *l, const struct weir_entry_head *h,
			   const struct weir_grant *g, int64_t remaining, struct weir_error *err);

/* Memory from the last checkpoint and the entries after it. */
int weir_ledger_load(struct weir_ledger *l, struct weir_error *err);
int weir_ledger_load_names(struct weir_ledger *l, struct weir_error *err);

#endif
