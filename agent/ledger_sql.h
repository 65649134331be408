/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table `entry` as rows in memory: which columns, in which order, for the
 * ledger's own reading and writing and for the reader. Private to these.
 */
#ifndef WEIR_LEDGER_SQL_H
#define WEIR_LEDGER_SQL_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/ledger_encode.h"

#define WEIR_ENTRY_COLUMNS   "seq,id,kind,time,tenant,wallet,amount,before,after,body,hash"
#define WEIR_ENTRY_N_COLUMNS 11

/* A row of table `entry`; pointers live until the statement is stepped or reset. */
struct weir_entry_row {
	struct weir_entry_head head;
	const void *body;
	size_t n_body;
	uint8_t hash[WEIR_HASH_BYTES];
};

/* From a statement that stands on a row with WEIR_ENTRY_COLUMNS first. 0, or
 * -EBADMSG if a column is not of the kind we write. */
int weir_entry_row_read(sqlite3_stmt *st, struct weir_entry_row *out);

/* Bind all of them, from parameter 1. The body must stay until the step. */
void weir_entry_row_bind(sqlite3_stmt *st, const struct weir_entry_row *r);

#endif
