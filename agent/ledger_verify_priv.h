/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of verify: what was worked out from the log so far. Entries (ledger_verify_entry.c) are
 * worked out one by one; then tables (ledger_verify_tables.c) are held against the result.
 */
#ifndef WEIR_LEDGER_VERIFY_PRIV_H
#define WEIR_LEDGER_VERIFY_PRIV_H

#include <glib.h>

#include "agent/ledger_book.h"
#include "agent/ledger_read_priv.h"

struct weir_check {
	struct weir_reader *rd;
	struct weir_verify *out;
	bool replay;	       /* false: only the chain */
	uint64_t seq, time_ns; /* of the entry before */
	uint8_t hash[WEIR_HASH_BYTES];
	/* what follows from the entries so far */
	struct weir_book book;
	struct weir_posting is;	    /* what the entry says */
	struct weir_posting should; /* what it should say */
	struct weir_posting taken;  /* by the entry that is refunded */
	GHashTable *unpriced;	    /* "service|what" -> struct weir_check_unpriced */
	uint64_t writes;
	size_t sessions;    /* rows of those that are not over */
	uint64_t priced_ns; /* the latest start of what was priced */
	sqlite3_stmt *find_write;
};

struct weir_check_unpriced {
	int64_t count;
	uint64_t first_ns, last_ns;
};

/* Both: -EBADMSG, and out->wrong filled. */
int weir_check_wrong(struct weir_check *c, uint64_t seq, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int weir_check_money(struct weir_check *c, uint64_t seq, const char *what, int64_t is,
		     int64_t should);

/* What the entry says (c->is) against what it should (c->should, and a head that was planned). old:
 * of a version that did not tell an expired lot from a live one. */
int weir_check_effect(struct weir_check *c, const struct weir_entry_head *is,
		      const struct weir_entry_head *should, bool old);
int weir_check_positions(struct weir_check *c, uint64_t seq);
/* What is given of a head; the rest is to be planned. */
struct weir_entry_head weir_check_head(const struct weir_entry_head *is);
/* If anything is due by its time, the entry must be that, the first of it. *done: it is, and was
 * checked and applied. op: NULL for usage. */
int weir_check_due(struct weir_check *c, const struct weir_entry_head *is, const struct weir_op *op,
		   bool *done);

/* One entry, whose number, time and hash are as they must be. */
int weir_check_entry(struct weir_check *c, const struct weir_entry_row *r, struct weir_error *err);

/* All tables, at the end; under the snapshot that the last entry was read in. */
int weir_check_tables(struct weir_check *c, struct weir_error *err);

#endif
