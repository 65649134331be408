// SPDX-License-Identifier: Apache-2.0
/*
 * Emptying the WAL into the database, after a commit that made it long. SQLite's own
 * (wal_autocheckpoint) does the same, but keeps to itself that it failed: commits go on, and the
 * WAL grows until the disk is full.
 */
#include <inttypes.h>

#include "agent/store.h"

#define SAY_AGAIN_NS  (60 * WEIR_SECOND)
#define LONG_WAL_MANY 16 /* times as long: a reader keeps it from being emptied */

static void say(sqlite3 *db, int pages, const char *why)
{
	static uint64_t said_ns; /* of all databases of the process */
	uint64_t now = weir_mono_ns(), last = __atomic_load_n(&said_ns, __ATOMIC_RELAXED);

	if (last && now - last < SAY_AGAIN_NS)
		return;
	__atomic_store_n(&said_ns, now, __ATOMIC_RELAXED);
	weir_log(WEIR_WARN,
		 "%s; its WAL is %d MiB long and grows: commits go on, until the disk is full", why,
		 pages / 256);
}

static int checkpoint(void *ctx, sqlite3 *db, const char *name, int pages)
{
	struct weir_error err;
	int rc, most = (int)(intptr_t)ctx;

	if (pages < most)
		return SQLITE_OK;
	rc = sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
		weir_store_fail(db, &err, "emptying the WAL");
		say(db, pages, err.text);
	} else if (pages > LONG_WAL_MANY * most) {
		weir_fail(&err, 0, "%s: somebody has been reading in one transaction for long",
			  sqlite3_db_filename(db, name));
		say(db, pages, err.text);
	}
	return SQLITE_OK; /* the commit itself went well */
}

void weir_store_checkpoints(sqlite3 *db, int pages)
{
	sqlite3_wal_hook(db, checkpoint, (void *)(intptr_t)pages);
}
