/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQLite file: opened the one way that is safe here, brought to the schema
 * of this program, and SQLite's results turned into ours. It knows tables, not
 * what their rows mean.
 */
#ifndef WEIR_STORE_H
#define WEIR_STORE_H

#include <sqlite3.h>
#include <stdint.h>

#include "util.h"

#define WEIR_STORE_APPLICATION_ID 0x57656972 /* "Weir", in PRAGMA application_id */
#define WEIR_STORE_SEGMENTS	  4	     /* the schema that began to have segments */

/* Open to write: made if missing, WAL, synchronous=FULL, migrated. A schema
 * newer than ours, a file of another program, a corrupt or read-only one are
 * refused with a line that says so. One thread at a time. */
int weir_store_open(const char *path, sqlite3 **out, struct weir_error *err);

/* Open to read; the file must be there and have exactly our schema. */
int weir_store_open_read(const char *path, sqlite3 **out, struct weir_error *err);

/* A connection as all of ours are, with flags of sqlite3_open_v2; nothing is looked at. */
int weir_store_connect(const char *path, int flags, sqlite3 **out, struct weir_error *err);

/* Empty the WAL into the database once it is so many pages long; that this fails is said in the
 * log, and is no failure of the commit. weir_store_open does so. */
void weir_store_checkpoints(sqlite3 *db, int pages);

/* NULL is fine. The last connection to close empties the WAL into the file. */
void weir_store_close(sqlite3 *db);

/* The schema that this program writes. */
int weir_store_version(void);

/* Fill err with what went wrong while doing `doing`, return the -errno for it:
 * -ENOSPC, -EIO, -EROFS, -EBUSY, -EBADMSG (corrupt), -ENOMEM, else -EIO. */
int weir_store_fail(sqlite3 *db, struct weir_error *err, const char *doing);

int weir_store_exec(sqlite3 *db, const char *sql, struct weir_error *err, const char *doing);

/* A statement that is kept and used again. Finalize with sqlite3_finalize. */
int weir_store_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct weir_error *err);

void weir_store_finalize(sqlite3_stmt **st); /* for WEIR_CLEANUP */
#define weir_autostmt WEIR_CLEANUP(weir_store_finalize)

/* One text value from `meta`, copied into out (cap bytes). -ENOENT. */
int weir_store_meta(sqlite3 *db, const char *key, char *out, size_t cap, struct weir_error *err);

/* The number that a query without parameters gives. */
int weir_store_int(sqlite3 *db, const char *sql, int *out, struct weir_error *err);

/* The number that a query of one parameter gives; 0 for NULL, or if there is no row. */
int weir_store_number(sqlite3 *db, const char *sql, uint64_t arg, uint64_t *out,
		      struct weir_error *err);
int weir_store_number_of(sqlite3 *db, const char *sql, const char *arg, uint64_t *out,
			 struct weir_error *err);

#endif
