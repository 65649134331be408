/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of struct weir_ledger, shared by the ledger_*.c files that write.
 */
#ifndef WEIR_LEDGER_PRIV_H
#define WEIR_LEDGER_PRIV_H

#include <glib.h>
#include <sqlite3.h>

#include "agent/ledger.h"
#include "agent/ledger_book.h"
#include "agent/ledger_log.h"
#include "agent/ledger_sql.h"
#include "agent/names.h"

/* The newest entry: what the next one continues. */
struct weir_ledger_tip {
	uint64_t seq;
	uint64_t time_ns;
	uint64_t priced_ns; /* the latest start of what was priced */
	uint8_t hash[WEIR_HASH_BYTES];
};

/* Statements that are kept. */
enum weir_ledger_statement {
	WEIR_ST_ENTRY,
	WEIR_ST_ACCOUNT,
	WEIR_ST_LOT,
	WEIR_ST_SCHEDULE,
	WEIR_ST_COUNTER,
	WEIR_ST_VOLUME,
	WEIR_ST_VOLUME_GONE,
	WEIR_ST_SESSION,
	WEIR_ST_REFUND,
	WEIR_ST_WRITE,
	WEIR_ST_UNPRICED,
	WEIR_ST_META,
	WEIR_ST_MAX
};

struct weir_ledger {
	sqlite3 *db;
	char id[40];
	sqlite3_stmt *st[WEIR_ST_MAX];
	struct weir_ledger_tip tip;  /* committed */
	struct weir_ledger_tip next; /* of the open transaction */
	struct weir_book book;
	struct weir_log log; /* entries by number, sealed ones too */
	struct weir_chain chain;
	struct weir_posting post, taken; /* scratch, as is body */
	struct weir_bytes body;
	struct weir_names names; /* of tenants and scopes */
	GHashTable *cards;	 /* id -> struct weir_card, parsed, as they are wanted */
	GHashTable *thresholds;	 /* wallet -> struct weir_threshold */
	int failed; /* of a read that its caller cannot be told of; nothing may be written then */
	struct weir_error failure;
	uint64_t pruned_ns; /* ledger time when what is over was forgotten last */
	GArray *changes;    /* struct weir_wallet_change, of the transaction */
	void (*on_change)(void *ctx, const struct weir_wallet_change *c);
	void *on_change_ctx;
};

/* One transaction on the log: begin, entries, end (which writes the projections and commits if ret
 * is 0, else rolls back). weir_ledger_end returns what came of it. */
int weir_ledger_begin(struct weir_ledger *l, struct weir_error *err);
int weir_ledger_end(struct weir_ledger *l, int ret, struct weir_error *err);

/* l->post of an entry that nothing is known of yet. */
void weir_ledger_new_posting(struct weir_ledger *l);

/* Hash and insert the entry whose head and body (in l->body) are given; h->seq is the next.
 * -EEXIST: an entry of that id is there. */
int weir_ledger_put(struct weir_ledger *l, struct weir_entry_head *h, struct weir_error *err);
/* A planned op: encode, put, apply. */
int weir_ledger_put_op(struct weir_ledger *l, const struct weir_op *op, struct weir_entry_head *h,
		       struct weir_error *err);
/* Head of an entry to be made: number, time not before the last. */
void weir_ledger_head(const struct weir_ledger *l, enum weir_entry_kind kind, uint32_t tenant,
		      uint32_t wallet, uint64_t at_ns, struct weir_entry_head *h);

/* Enter what is due at or before an instant. */
int weir_ledger_due(struct weir_ledger *l, uint64_t to_ns, struct weir_error *err);
/* Ask for a top-up, if the wallet's balance is below its threshold and nobody asked. */
int weir_ledger_ask(struct weir_ledger *l, uint32_t wallet, struct weir_error *err);

/* Price a row, a meter. What has no price is marked; -ENOMEM. sale and charge are for counting. */
int weir_ledger_price_row(struct weir_ledger *l, struct weir_row *row, uint64_t time_ns,
			  struct weir_sale *sale, struct weir_charge *charge);
int weir_ledger_price_meter(struct weir_ledger *l, struct weir_op *op, uint64_t time_ns,
			    struct weir_sale *sale, struct weir_charge *charge);
/* What was priced goes into counters, what was not into the list of what nobody prices.
 * sale->card NULL: neither. */
int weir_ledger_count_row(struct weir_ledger *l, const struct weir_row *row,
			  const struct weir_sale *sale, const struct weir_charge *charge,
			  struct weir_error *err);
int weir_ledger_count_meter(struct weir_ledger *l, const struct weir_op *op,
			    const struct weir_sale *sale, const struct weir_charge *charge,
			    struct weir_error *err);

/* May the transaction go on? Not after a read that failed (what it gave is made up), and not once
 * SQLite has taken the transaction back, which it does by itself on some errors: a statement would
 * then be a commit of its own. */
int weir_ledger_holds(const struct weir_ledger *l, struct weir_error *err);
/* A read for which there is no other way to say so has failed: of l->db. */
void weir_ledger_read_failed(struct weir_ledger *l, const char *doing);

/* A stored card, parsed; NULL: there is none, or it could not be read (weir_ledger_holds tells).
 * Lives as long as the ledger. */
const struct weir_card *weir_ledger_card_of(struct weir_ledger *l, uint32_t id);
/* The latest start of anything priced; 0: nothing was. */
uint64_t weir_ledger_latest_priced(const struct weir_ledger *l);

/* Which entry a write became: its row in `write`. */
int weir_ledger_put_write(struct weir_ledger *l, const struct weir_op *op, uint64_t seq,
			  struct weir_error *err);

/* Statements, and stepping one to its end. */
int weir_ledger_prepare(struct weir_ledger *l, struct weir_error *err);
int weir_ledger_step(struct weir_ledger *l, enum weir_ledger_statement which, const char *doing,
		     struct weir_error *err);
/* The projections of the open transaction. */
int weir_ledger_flush(struct weir_ledger *l, struct weir_error *err);

/* Memory from the last checkpoint and the entries after it. */
int weir_ledger_load(struct weir_ledger *l, struct weir_error *err);
int weir_ledger_load_names(struct weir_ledger *l, struct weir_error *err);
/* A lot that is not in memory, from its table. 0 also if there is none. */
int weir_ledger_load_lot(struct weir_ledger *l, uint64_t seq, struct weir_error *err);

#endif
