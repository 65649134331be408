// SPDX-License-Identifier: Apache-2.0
/*
 * Making, checking and putting back. Nothing is believed that was not read again from the file
 * that it is about.
 */
#include "agent/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/ledger_keep.h"
#include "agent/ledger_log.h"
#include "agent/ledger_read.h"
#include "agent/ledger_sql.h"
#include "agent/store.h"

/* Pages per step: 2 MiB, for which the writer is held up a millisecond or two. */
#define STEP_PAGES 512

/* ------------------------------------------------------------------ checking */

/* Of ours, and of a schema that we know; the file is not written. */
static int check_kind(sqlite3 *db, const char *file, struct weir_backup_info *info,
		      struct weir_error *err)
{
	int app = 0, ret;

	ret = weir_store_int(db, "PRAGMA application_id", &app, err);
	if (!ret)
		ret = weir_store_int(db, "PRAGMA user_version", &info->schema, err);
	if (ret)
		return ret;
	if (app != WEIR_STORE_APPLICATION_ID || info->schema < 1)
		return weir_fail(err, EINVAL, "%s: not a backup of a ledger", file);
	if (info->schema > weir_store_version())
		return weir_fail(
			err, ENOTSUP,
			"%s: schema %d is newer than this program knows (%d); use the newer "
			"agent",
			file, info->schema, weir_store_version());
	return 0;
}

/* quick: not whether each index has what its table has, which takes as long again. */
static int check_pages(sqlite3 *db, const char *file, bool quick, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	const char *said;

	if (sqlite3_prepare_v2(db, quick ? "PRAGMA quick_check(1)" : "PRAGMA integrity_check(1)",
			       -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		return weir_store_fail(db, err, "checking");
	said = (const char *)sqlite3_column_text(st, 0);
	if (said && !strcmp(said, "ok"))
		return 0;
	return weir_fail(err, EBADMSG, "%s: damaged: %s", file, said ? said : "out of memory");
}

/* What the only entry behind a segment chains to. */
static int closing_of(sqlite3 *db, uint64_t last, uint8_t out[static WEIR_HASH_BYTES],
		      struct weir_error *err)
{
	struct weir_log log;
	int ret;

	weir_log_init(&log, db);
	ret = weir_log_hash(&log, last, out, err);
	weir_log_clear(&log);
	return ret;
}

/* The last entry is what its hash says, and the tables are as of it. */
static int check_head(sqlite3 *db, const char *file, struct weir_backup_info *info,
		      struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	uint8_t before[WEIR_HASH_BYTES] = { 0 }, hash[WEIR_HASH_BYTES];
	struct weir_chain chain;
	struct weir_entry_row r;
	char checkpoint[24];
	int ret;

	ret = weir_store_meta(db, "checkpoint", checkpoint, sizeof(checkpoint), err);
	if (!ret)
		ret = weir_store_prepare(
			db, "SELECT " WEIR_ENTRY_COLUMNS " FROM entry ORDER BY seq DESC LIMIT 2",
			&st, err);
	if (ret || sqlite3_step(st) != SQLITE_ROW)
		return ret;
	info->newest = (uint64_t)sqlite3_column_int64(st, 0);
	info->time_ns = (uint64_t)sqlite3_column_int64(st, 3);
	if (sqlite3_column_bytes(st, 10) == WEIR_HASH_BYTES)
		memcpy(info->head, sqlite3_column_blob(st, 10), WEIR_HASH_BYTES);
	if (strtoull(checkpoint, NULL, 10) > info->newest)
		return weir_fail(err, EBADMSG, "%s: damaged: entries after %" PRIu64 " are missing",
				 file, info->newest);
	if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_bytes(st, 10) == WEIR_HASH_BYTES)
		memcpy(before, sqlite3_column_blob(st, 10), WEIR_HASH_BYTES);
	else if (info->newest > 1)
		ret = closing_of(db, info->newest - 1, before, err);
	if (ret)
		return ret;
	sqlite3_reset(st);
	if (sqlite3_step(st) != SQLITE_ROW || weir_entry_row_read(st, &r) ||
	    weir_chain_init(&chain))
		return weir_fail(err, EBADMSG, "%s: entry %" PRIu64 " is damaged", file,
				 info->newest);
	if (weir_chain_hash(&chain, before, &r.head, r.body, r.n_body, hash) ||
	    memcmp(hash, info->head, sizeof(hash)))
		ret = weir_fail(err, EBADMSG, "%s: entry %" PRIu64 " is damaged", file,
				info->newest);
	weir_chain_clear(&chain);
	return ret;
}

static int check(sqlite3 *db, const char *file, bool quick, struct weir_backup_info *info,
		 struct weir_error *err)
{
	struct stat st;
	int ret = check_kind(db, file, info, err);

	if (!ret)
		ret = check_pages(db, file, quick, err);
	if (!ret)
		ret = weir_store_meta(db, "ledger_id", info->ledger_id, sizeof(info->ledger_id),
				      err);
	if (!ret)
		ret = weir_store_number(db, "SELECT count(*) FROM entry WHERE seq > ?", 0,
					&info->entries, err);
	if (!ret && info->schema >= WEIR_STORE_SEGMENTS)
		ret = weir_store_number(db, "SELECT count(*) FROM segment WHERE last > ?", 0,
					&info->segments, err);
	if (!ret)
		ret = check_head(db, file, info, err);
	if (!ret && !stat(file, &st))
		info->bytes = (uint64_t)st.st_size;
	return ret;
}

int weir_backup_check(const char *file, struct weir_backup_info *out, struct weir_error *err)
{
	struct weir_backup_info info = { 0 };
	sqlite3 *db;
	int ret;

	if (access(file, R_OK))
		return weir_fail(err, errno, "%s: %s", file, strerror(errno));
	ret = weir_store_connect(file, SQLITE_OPEN_READONLY, &db, err);
	if (ret)
		return ret;
	ret = check(db, file, false, &info, err);
	weir_store_close(db);
	if (!ret)
		*out = info;
	return ret;
}

/* ------------------------------------------------------------------ files */

static int sync_file(const char *path, struct weir_error *err)
{
	weir_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && !fsync(fd))
		return 0;
	return weir_fail(err, errno, "%s: not made durable: %s", path, strerror(errno));
}

static int sync_folder_of(const char *path, struct weir_error *err)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash + 1 - path) : 1, slash ? path : ".");
	return sync_file(dir, err);
}

/* Under its name, durably; not in place of another unless that may go. */
static int name_file(const char *part, const char *file, bool replace, struct weir_error *err)
{
	int ret = sync_file(part, err);

	if (!ret && renameat2(AT_FDCWD, part, AT_FDCWD, file, replace ? 0 : RENAME_NOREPLACE))
		ret = weir_fail(err, errno, "%s: %s", file, strerror(errno));
	return ret ? ret : sync_folder_of(file, err);
}

/* ------------------------------------------------------------------ making */

struct making {
	const char *part;
	struct weir_copy *copy;
	int left, total;
	struct weir_error err;
};

static int start_in_writer(struct weir_ledger *l, void *arg)
{
	struct making *m = arg;

	return weir_ledger_copy_start(l, m->part, &m->copy, &m->err);
}

static int step_in_writer(struct weir_ledger *l, void *arg)
{
	struct making *m = arg;

	return weir_ledger_copy_step(m->copy, STEP_PAGES, &m->left, &m->total, &m->err);
}

static int end_in_writer(struct weir_ledger *l, void *arg)
{
	struct making *m = arg;

	weir_ledger_copy_end(m->copy);
	m->copy = NULL;
	return 0;
}

static int copy_all(struct weir_writer *w, struct making *m,
		    int (*progress)(void *ctx, enum weir_backup_phase phase, int done, int total),
		    void *ctx)
{
	int ret = weir_writer_call(w, start_in_writer, m);

	m->left = 1;
	while (!ret && m->left) {
		ret = weir_writer_call(w, step_in_writer, m);
		if (!ret && progress)
			ret = progress(ctx, WEIR_BACKUP_COPYING, m->total - m->left, m->total);
	}
	/* It has a hold on the writer's connection. A writer that has ended uses it no more. */
	if (m->copy && weir_writer_call(w, end_in_writer, m))
		end_in_writer(NULL, m);
	return ret;
}

/* A backup is one file: not one with a WAL beside it, as the database is. */
static int settle(const char *part, struct weir_backup_info *info, struct weir_error *err)
{
	sqlite3 *db;
	int ret = weir_store_connect(part, SQLITE_OPEN_READWRITE, &db, err);

	if (ret)
		return ret;
	ret = weir_store_exec(db, "PRAGMA journal_mode=DELETE", err, "finishing a backup");
	if (!ret)
		ret = check(db, part, true, info, err);
	weir_store_close(db);
	return ret;
}

/* Only a backup is ever replaced: a slip of the pen costs no other file. */
static int may_make(const char *file, bool force, struct weir_error *err)
{
	struct weir_backup_info info = { 0 };
	struct stat st;
	sqlite3 *db = NULL;
	int ret;

	if (lstat(file, &st))
		return errno == ENOENT ? 0 : weir_fail(err, errno, "%s: %s", file, strerror(errno));
	if (!force)
		return weir_fail(err, EEXIST, "%s: is there already; take another name, or --force",
				 file);
	if (!S_ISREG(st.st_mode))
		return weir_fail(err, EINVAL, "%s: not a file, so it is not replaced", file);
	ret = weir_store_connect(file, SQLITE_OPEN_READONLY, &db, err);
	if (!ret)
		ret = check_kind(db, file, &info, err);
	weir_store_close(db);
	return ret ? weir_fail(err, EINVAL,
			       "%s: not a backup of a ledger, so it is not replaced; take another "
			       "name",
			       file)
		   : 0;
}

static int make_part(const char *part, struct weir_error *err)
{
	int fd;

	unlink(part);
	fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return weir_fail(err, errno, "%s: %s", part, strerror(errno));
	close(fd);
	return 0;
}

int weir_backup_make(struct weir_writer *w, const char *file, bool force,
		     int (*progress)(void *ctx, enum weir_backup_phase phase, int done, int total),
		     void *ctx, struct weir_backup_info *out, struct weir_error *err)
{
	struct weir_backup_info info = { 0 };
	char part[PATH_MAX];
	struct making m = { .part = part };
	int ret;

	if (snprintf(part, sizeof(part), "%s.part", file) >= (int)sizeof(part))
		return weir_fail(err, ENAMETOOLONG, "%s: the path is too long", file);
	ret = may_make(file, force, err);
	if (!ret)
		ret = make_part(part, err);
	if (ret)
		return ret;
	ret = copy_all(w, &m, progress, ctx);
	if (ret && m.err.text[0])
		*err = m.err;
	else if (ret)
		weir_fail(err, -ret, "%s: the backup was broken off", file);
	if (!ret && progress)
		ret = progress(ctx, WEIR_BACKUP_CHECKING, m.total, m.total);
	if (!ret)
		ret = settle(part, &info, err);
	if (!ret)
		ret = name_file(part, file, force, err);
	if (ret)
		unlink(part);
	else
		*out = info;
	return ret;
}
