/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of struct weir_reader, shared by the files that read the ledger.
 */
#ifndef WEIR_LEDGER_READ_PRIV_H
#define WEIR_LEDGER_READ_PRIV_H

#include <sqlite3.h>

#include "agent/ledger_log.h"
#include "agent/ledger_read.h"
#include "agent/ledger_sql.h"

struct weir_card;
struct weir_named_cache;
void weir_named_cache_free(struct weir_named_cache *c); /* NULL is fine */

/* weir_reader_previous: before seq, `found` is the newest of these kinds. */
struct weir_reader_previous {
	uint32_t kinds;
	uint64_t seq, found;
};
#define WEIR_READER_PREVIOUS 4
/* This entry was met: who asks for its successor's need not look. */
void weir_reader_walked(struct weir_reader *rd, const struct weir_entry *e);

struct weir_reader {
	sqlite3 *db;
	struct weir_log log; /* where entries are */
	char id[40];
	char **names; /* by number, filled as they are met */
	size_t n_names;
	struct weir_card **cards; /* by row id, likewise */
	size_t n_cards;
	struct weir_posting post;	/* scratch of decoding */
	struct weir_named_cache *named; /* NULL until it is asked for */
	struct weir_reader_previous previous[WEIR_READER_PREVIOUS];
	sqlite3_stmt *walk_back; /* of weir_reader_previous */
};

/* Decode r; the entry points into r, *row or *op, and the reader's scratch. prev
 * is the hash of the entry before. 0, -EBADMSG, -ENOMEM. */
int weir_reader_decode(struct weir_reader *rd, const struct weir_entry_row *r,
		       const uint8_t prev[static WEIR_HASH_BYTES], struct weir_row *row,
		       struct weir_op *op, struct weir_entry *out);

/* One snapshot for several queries; inside of another it is that one. */
int weir_reader_begin(struct weir_reader *rd, bool *begun, struct weir_error *err);
void weir_reader_end(struct weir_reader *rd, bool begun);

/* A damaged entry, in words. */
int weir_reader_damaged(struct weir_reader *rd, uint64_t seq, struct weir_error *err);

#endif
