/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closed months as files of their own, in state_dir/segments: an SQLite file with the entries of
 * a stretch of the log, which can be moved away and put back. Which there are is in table
 * `segment` of the main database; there the schema lets an entry go only if one of them has it.
 *
 * Sealing is done in three steps, each of which can be done again after a crash: the file is
 * made (by anybody, from a connection of his own), it is entered, and then its entries leave the
 * main log piece by piece (by the writer, who owns the log).
 */
#ifndef WEIR_LEDGER_SEGMENT_H
#define WEIR_LEDGER_SEGMENT_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/ledger_encode.h"
#include "util.h"

struct weir_segment {
	uint64_t first, last;
	uint64_t since_ns, until_ns; /* time of the first and of the last entry */
	uint8_t opening[WEIR_HASH_BYTES], closing[WEIR_HASH_BYTES];
	uint8_t sha256[32]; /* of the file */
	char file[96];	    /* its name in the folder */
};

/*
 * What would be sealed of the months up to `month` (weir_month_of), and make the file of it.
 * -EINVAL: the month is not over, or (passed_on) somebody has not passed on so much of the log, by
 * table cursor; -ENODATA: nothing is left of it in the main log. path: the main database.
 */
int weir_segment_make(const char *path, uint32_t month, uint64_t now_ns, bool passed_on,
		      struct weir_segment *out, struct weir_error *err);

/* Enter it into `main`, the writer's connection. Durable on return. */
int weir_segment_enter(sqlite3 *main, const struct weir_segment *s, struct weir_error *err);

/* Let go of at most max entries that a segment has, the oldest first; *left: there are more. */
int weir_segment_shed(sqlite3 *main, int max, bool *left, struct weir_error *err);

/* A sealed segment's file, read-only. What is in it is the caller's matter. */
int weir_segment_open(const char *path, sqlite3 **out, struct weir_error *err);

/* SHA-256 of a file. -errno with err. */
int weir_segment_hash(const char *path, uint8_t out[static 32], struct weir_error *err);

#endif
