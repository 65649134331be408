// SPDX-License-Identifier: Apache-2.0
/*
 * What SQLite says went wrong, as an errno and a line for people: what, on what, what to do.
 */
#include <errno.h>
#include <string.h>

#include "agent/store.h"

/* Of a commit that failed SQLite does not keep what the system said; the file, the WAL's, does. */
static int system_error(sqlite3 *db, int rc)
{
	int os = sqlite3_system_errno(db);
	sqlite3_file *wal = NULL;

	if (os || (rc & 0xff) != SQLITE_IOERR)
		return os;
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) == SQLITE_OK &&
	    wal && wal->pMethods)
		wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &os);
	return os;
}

/* What SQLite calls an I/O error, by what the system said. */
static int io_class(int rc, int os)
{
	if ((rc & 0xff) == SQLITE_IOERR && (os == ENOSPC || os == EDQUOT))
		return SQLITE_FULL;
	if ((rc & 0xff) == SQLITE_IOERR && os == EROFS)
		return SQLITE_READONLY;
	return rc & 0xff;
}

int weir_store_fail(sqlite3 *db, struct weir_error *err, const char *doing)
{
	const char *path = db ? sqlite3_db_filename(db, "main") : NULL;
	int rc = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
	const char *text = db ? sqlite3_errmsg(db) : "out of memory";
	int os = db ? system_error(db, rc) : 0; /* not always known */

	if (!path || !*path)
		path = "ledger";
	switch (io_class(rc, os)) {
	case SQLITE_FULL:
		return weir_fail(err, ENOSPC, "%s: %s: disk full; free some space", path, doing);
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return weir_fail(err, EROFS,
				 "%s: %s: not writable; check owner, mode and mount of the folder",
				 path, doing);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return weir_fail(err, EBADMSG,
				 "%s: %s: %s; restore a backup, or move the file away to start "
				 "with an empty ledger",
				 path, doing, text);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return weir_fail(err, EBUSY,
				 "%s: %s: locked by another program; is a second agent or an "
				 "sqlite3 shell using it?",
				 path, doing);
	case SQLITE_NOMEM:
		return weir_fail(err, ENOMEM, "%s: %s: out of memory", path, doing);
	case SQLITE_CONSTRAINT:
		return weir_fail(err, EEXIST, "%s: %s: %s", path, doing, text);
	case SQLITE_IOERR:
		return weir_fail(err, EIO, "%s: %s: %s (SQLite %d%s%s); check disk and kernel log",
				 path, doing, text, rc, os ? ", " : "", os ? strerror(os) : "");
	default:
		return weir_fail(err, EIO, "%s: %s: %s (SQLite %d)", path, doing, text, rc);
	}
}
