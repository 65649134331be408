/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log in pages, read ahead by a thread with a connection of its own: for verify, which has
 * more to do than to wait for SQLite. A hash is checked against what the entry before says its
 * own is, so that either of the two threads can do it.
 */
#ifndef WEIR_LEDGER_FEED_H
#define WEIR_LEDGER_FEED_H

#include <stdbool.h>

#include "agent/ledger_sql.h"
#include "util.h"

struct weir_feed;

struct weir_page {
	struct weir_entry_row *rows;
	size_t n;
	/* Rows before this one have the hash that they must have, n: all; by weir_page_hash. */
	size_t good;
	/* Not 0: the row after these has a column of another type than we write. */
	uint64_t garbled;
	/* Not 0: entries first to last are in a file that is not there, and rows is empty; what
	 * they end with was noted when they were sealed. */
	uint64_t missing_first, missing_last;
	uint64_t missing_until_ns;
	uint8_t missing_closing[WEIR_HASH_BYTES];
	char missing_why[256];
	/* private */
	uint8_t *bytes;
	size_t n_bytes, cap_bytes;
	uint8_t before[WEIR_HASH_BYTES];
};

/* Entries first to last of the database at path. hash: pages come with weir_page_hash done. 0 or
 * -errno with err. */
int weir_feed_start(const char *path, uint64_t first, uint64_t last, bool hash,
		    struct weir_feed **out, struct weir_error *err);
/* The next page, to be looked at until the next call. 1; 0: that was all; -errno with err. */
int weir_feed_next(struct weir_feed *f, struct weir_page **page, struct weir_error *err);
/* Recompute the hashes. 0 or -EIO. */
int weir_page_hash(struct weir_chain *chain, struct weir_page *p);
void weir_feed_stop(struct weir_feed *f); /* NULL is fine */

#endif
