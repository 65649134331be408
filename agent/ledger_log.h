/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an entry is: in the main database, or in a segment that it was sealed into
 * (ledger_segment.h). For whoever walks the log from a connection of his own.
 */
#ifndef WEIR_LEDGER_LOG_H
#define WEIR_LEDGER_LOG_H

#include <sqlite3.h>
#include <stdint.h>

#include "agent/ledger_entry.h"
#include "util.h"

/* Entries first to last are in db. */
struct weir_log_part {
	sqlite3 *db;
	uint64_t first, last; /* last UINT64_MAX: to the newest */
};

struct weir_log {
	sqlite3 *main;		      /* borrowed */
	struct weir_log_part segment; /* the one that is open; db NULL: none */
};

void weir_log_init(struct weir_log *log, sqlite3 *main);
void weir_log_clear(struct weir_log *log);

/* The part that has an entry. A segment's db is valid until the next call for another segment. What
 * is said holds for the snapshot that the caller has of the main database (BEGIN). -ENOENT: it is
 * in a segment whose file is not there; -EBADMSG: that file is not it. */
int weir_log_at(struct weir_log *log, uint64_t seq, struct weir_log_part *out,
		struct weir_error *err);

/* The hash of an entry; zeros for 0 or if there is none of that number. */
int weir_log_hash(struct weir_log *log, uint64_t seq, uint8_t out[static WEIR_HASH_BYTES],
		  struct weir_error *err);

/* The first entry whose time is at or past t; newest + 1 if none is. */
int weir_log_seq_at(struct weir_log *log, uint64_t t, uint64_t newest, uint64_t *out,
		    struct weir_error *err);

/* The number of the entry with that id: in the main database, then in segments, the newest first.
 * *seq 0 if none. A segment that is not there is -ENOENT with err, unless it was found before. */
int weir_log_find(struct weir_log *log, const struct weir_id *id, uint64_t *seq,
		  struct weir_error *err);

/* "…/state_dir/segments/<file>" of the database that `main` is. -ENAMETOOLONG. */
int weir_log_segment_path(sqlite3 *main, const char *file, char *out, size_t cap);

#endif
