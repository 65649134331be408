// SPDX-License-Identifier: Apache-2.0
/*
 * Sealing months. What goes into a file is checked against the chain while it is copied, so that
 * nothing damaged is ever put away; the file is durable before the main log hears of it.
 */
#include "agent/ledger_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/calendar.h"
#include "agent/ledger_log.h"
#include "agent/ledger_sql.h"
#include "agent/store.h"

#define SEGMENT_ID 0x57656953 /* "WeiS" in PRAGMA application_id */

/* Entries copied under one snapshot. */
#define PAGE 4096

/* ------------------------------------------------------------------ files */

int weir_segment_open(const char *path, sqlite3 **out, struct weir_error *err)
{
	int app = 0, ret;
	sqlite3 *db;

	ret = weir_store_connect(path, SQLITE_OPEN_READONLY, &db, err);
	if (ret)
		return ret;
	ret = weir_store_int(db, "PRAGMA application_id", &app, err);
	if (!ret && app != SEGMENT_ID)
		ret = weir_fail(err, EBADMSG, "%s: not a segment of a ledger", path);
	if (ret) {
		weir_store_close(db);
		return ret;
	}
	*out = db;
	return 0;
}

/* An empty one. Without a journal: after a crash it is made again. */
static int make_file(const char *path, sqlite3 **out, struct weir_error *err)
{
	static const char sql[] =
		"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;"
		"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
		"CREATE TABLE entry (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
		" kind INTEGER NOT NULL, time INTEGER NOT NULL, tenant INTEGER NOT NULL,"
		" wallet INTEGER NOT NULL, amount INTEGER NOT NULL, before INTEGER NOT NULL,"
		" after INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);";
	char ids[96];
	sqlite3 *db;
	int fd, ret;

	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return weir_fail(err, errno, "%s: %s", path, strerror(errno));
	close(fd);
	ret = weir_store_connect(path, SQLITE_OPEN_READWRITE, &db, err);
	if (ret)
		return ret;
	snprintf(ids, sizeof(ids), "PRAGMA user_version=%d; PRAGMA application_id=%d",
		 weir_store_version(), SEGMENT_ID);
	ret = weir_store_exec(db, ids, err, "making a segment");
	if (!ret)
		ret = weir_store_exec(db, sql, err, "making a segment");
	if (ret) {
		weir_store_close(db);
		return ret;
	}
	*out = db;
	return 0;
}

int weir_segment_hash(const char *path, uint8_t out[static 32], struct weir_error *err)
{
	weir_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	weir_autofree uint8_t *buf = malloc(1 << 20);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = fd >= 0 && buf && ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
	ssize_t n = 1;

	while (good && n > 0) {
		n = read(fd, buf, 1 << 20);
		good = n >= 0 && EVP_DigestUpdate(ctx, buf, (size_t)n) == 1;
	}
	good = good && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	if (good)
		return 0;
	return weir_fail(err, errno ? errno : EIO, "%s: cannot be read: %s", path, strerror(errno));
}

static int sync_path(const char *path, int flags, struct weir_error *err)
{
	weir_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | flags);

	if (fd >= 0 && !fsync(fd))
		return 0;
	return weir_fail(err, errno, "%s: not made durable: %s", path, strerror(errno));
}

/* ------------------------------------------------------------------ what to seal */

static int check_cursors(sqlite3 *main, uint64_t last, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(main, "SELECT name, seq FROM cursor WHERE seq < ? LIMIT 1", -1, &st,
			       NULL) != SQLITE_OK)
		return weir_store_fail(main, err, "reading cursors");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)last);
	switch (sqlite3_step(st)) {
	case SQLITE_DONE:
		return 0;
	case SQLITE_ROW:
		return weir_fail(err, EINVAL,
				 "entries up to %" PRIu64
				 " would be sealed, but \"%s\" has passed on "
				 "only those up to %lld; seal when it has caught up",
				 last, (const char *)sqlite3_column_text(st, 0),
				 (long long)sqlite3_column_int64(st, 1));
	default:
		return weir_store_fail(main, err, "reading cursors");
	}
}

/* first, last, since, until, opening and file of s; the hashes come with the copy. */
static int choose(sqlite3 *main, uint32_t month, uint64_t now_ns, bool passed_on,
		  struct weir_segment *s, struct weir_error *err)
{
	uint64_t end = weir_month_start_ns(month + 1), newest, sealed, behind;
	struct weir_log log;
	char id[40];
	int ret;

	if (now_ns < end)
		return weir_fail(err, EINVAL,
				 "the month is not over; only one that is can be sealed");
	weir_log_init(&log, main);
	ret = weir_store_number(main, "SELECT max(seq) FROM entry WHERE seq > ?", 0, &newest, err);
	if (!ret)
		ret = weir_store_number(main, "SELECT max(last) FROM segment WHERE last > ?", 0,
					&sealed, err);
	if (!ret && newest)
		ret = weir_log_seq_at(&log, end, newest, &behind, err);
	if (!ret)
		ret = weir_store_meta(main, "ledger_id", id, sizeof(id), err);
	weir_log_clear(&log);
	if (ret)
		return ret;
	s->first = sealed + 1;
	/* The next entry chains to the newest: that one stays. */
	s->last = !newest ? 0 : behind - 1 < newest - 1 ? behind - 1 : newest - 1;
	if (s->last < s->first)
		return weir_fail(err, ENODATA,
				 "nothing to seal: the log has no entries of that month or earlier "
				 "that are not sealed yet");
	snprintf(s->file, sizeof(s->file), "%s-%" PRIu64 "-%" PRIu64 ".db", id, s->first, s->last);
	return passed_on ? check_cursors(main, s->last, err) : 0;
}

/* ------------------------------------------------------------------ copying */

struct copy {
	sqlite3 *main, *to;
	sqlite3_stmt *insert;
	struct weir_chain chain;
	struct weir_segment *s;
	uint64_t next;
	uint8_t hash[WEIR_HASH_BYTES]; /* of the entry before */
};

static int copy_entry(struct copy *c, const struct weir_entry_row *r, struct weir_error *err)
{
	uint8_t hash[WEIR_HASH_BYTES];
	int ret;

	if (weir_chain_hash(&c->chain, c->hash, &r->head, r->body, r->n_body, hash))
		return weir_fail(err, EIO, "ledger: SHA-256 failed in libcrypto");
	if (r->head.seq != c->next || memcmp(hash, r->hash, sizeof(hash)))
		return weir_fail(err, EBADMSG,
				 "entry %" PRIu64 " is damaged and is not sealed; run `weirctl "
				 "ledger verify`, then restore a backup",
				 c->next);
	weir_entry_row_bind(c->insert, r);
	ret = sqlite3_step(c->insert) == SQLITE_DONE
		      ? 0
		      : weir_store_fail(c->to, err, "writing a segment");
	sqlite3_reset(c->insert);
	if (c->next == c->s->first)
		c->s->since_ns = r->head.time_ns;
	c->s->until_ns = r->head.time_ns;
	memcpy(c->hash, hash, sizeof(hash));
	c->next++;
	return ret;
}

static int copy_page(struct copy *c, sqlite3_stmt *st, struct weir_error *err)
{
	uint64_t end = c->next + PAGE - 1 < c->s->last ? c->next + PAGE - 1 : c->s->last;
	struct weir_entry_row r;
	int rc, ret = 0;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)c->next);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)end);
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (weir_entry_row_read(st, &r))
			ret = weir_fail(err, EBADMSG, "entry %" PRIu64 " is damaged", c->next);
		else
			ret = copy_entry(c, &r, err);
	}
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(c->main, err, "reading the log");
	if (!ret && c->next != end + 1)
		ret = weir_fail(err, EBADMSG, "entry %" PRIu64 " is missing", c->next);
	sqlite3_reset(st);
	return ret;
}

static int put_meta(struct copy *c, struct weir_error *err)
{
	char sql[512], id[40], opening[65], closing[65];
	int ret = weir_store_meta(c->main, "ledger_id", id, sizeof(id), err);

	if (ret)
		return ret;
	weir_hex(c->s->opening, sizeof(c->s->opening), opening);
	weir_hex(c->s->closing, sizeof(c->s->closing), closing);
	snprintf(sql, sizeof(sql),
		 "INSERT INTO meta VALUES ('ledger_id', '%.36s'), ('opening', '%s'),"
		 " ('closing', '%s')",
		 id, opening, closing);
	return weir_store_exec(c->to, sql, err, "writing a segment");
}

static int copy_all(struct copy *c, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int ret;

	ret = weir_store_prepare(c->main,
				 "SELECT " WEIR_ENTRY_COLUMNS
				 " FROM entry WHERE seq BETWEEN ? AND ? ORDER BY seq",
				 &st, err);
	if (!ret)
		ret = weir_store_prepare(c->to,
					 "INSERT INTO entry (" WEIR_ENTRY_COLUMNS
					 ") VALUES (?,?,?,?,?,?,?,?,?,?,?)",
					 &c->insert, err);
	if (!ret)
		ret = weir_store_exec(c->to, "BEGIN", err, "writing a segment");
	while (!ret && c->next <= c->s->last)
		ret = copy_page(c, st, err);
	memcpy(c->s->closing, c->hash, sizeof(c->hash));
	if (!ret)
		ret = put_meta(c, err);
	if (!ret)
		ret = weir_store_exec(c->to, "COMMIT", err, "writing a segment");
	sqlite3_finalize(c->insert);
	return ret;
}

static int write_file(sqlite3 *main, const char *path, struct weir_segment *s,
		      struct weir_error *err)
{
	struct copy c = { .main = main, .s = s, .next = s->first };
	struct weir_log log;
	int ret;

	weir_log_init(&log, main);
	ret = weir_log_hash(&log, s->first - 1, s->opening, err);
	weir_log_clear(&log);
	memcpy(c.hash, s->opening, sizeof(c.hash));
	if (!ret && weir_chain_init(&c.chain))
		ret = weir_fail(err, ENOMEM, "ledger: SHA-256 is not to be had from libcrypto");
	if (!ret)
		ret = make_file(path, &c.to, err);
	if (!ret)
		ret = copy_all(&c, err);
	weir_store_close(c.to);
	weir_chain_clear(&c.chain);
	return ret;
}

/* Under its name only when all of it is on the disk. */
static int put_in_place(const char *part, const char *path, const char *dir, struct weir_error *err)
{
	int ret = sync_path(part, 0, err);

	if (!ret && rename(part, path))
		ret = weir_fail(err, errno, "%s: %s", path, strerror(errno));
	return ret ? ret : sync_path(dir, O_DIRECTORY, err);
}

static int make(sqlite3 *main, uint32_t month, uint64_t now_ns, bool passed_on,
		struct weir_segment *s, struct weir_error *err)
{
	char dir[PATH_MAX], path[PATH_MAX], part[PATH_MAX + 8];
	int ret = choose(main, month, now_ns, passed_on, s, err);

	if (ret)
		return ret;
	if (weir_log_segment_path(main, "", dir, sizeof(dir)) ||
	    weir_log_segment_path(main, s->file, path, sizeof(path)))
		return weir_fail(err, ENAMETOOLONG, "%s: the path is too long", s->file);
	if (mkdir(dir, 0700) && errno != EEXIST)
		return weir_fail(err, errno, "%s: %s", dir, strerror(errno));
	snprintf(part, sizeof(part), "%s.part", path);
	ret = write_file(main, part, s, err);
	if (!ret)
		ret = weir_segment_hash(part, s->sha256, err);
	if (!ret)
		ret = put_in_place(part, path, dir, err);
	if (ret)
		unlink(part);
	return ret;
}

int weir_segment_make(const char *path, uint32_t month, uint64_t now_ns, bool passed_on,
		      struct weir_segment *out, struct weir_error *err)
{
	struct weir_segment s = { 0 };
	sqlite3 *main;
	int ret;

	ret = weir_store_open_read(path, &main, err);
	if (ret)
		return ret;
	ret = make(main, month, now_ns, passed_on, &s, err);
	weir_store_close(main);
	if (!ret)
		*out = s;
	return ret;
}

/* ------------------------------------------------------------------ the main log */

static int insert(sqlite3 *main, const struct weir_segment *s, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL, *ids = NULL;

	if (sqlite3_prepare_v2(main, "INSERT INTO segment VALUES (?,?,?,?,?,?,?,?)", -1, &st,
			       NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(main,
			       "INSERT INTO sealed_lot SELECT seq, id FROM entry WHERE seq IN"
			       " (SELECT seq FROM lot WHERE seq BETWEEN ? AND ?)",
			       -1, &ids, NULL) != SQLITE_OK)
		return weir_store_fail(main, err, "entering a segment");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)s->first);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)s->last);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)s->since_ns);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)s->until_ns);
	sqlite3_bind_text(st, 5, s->file, -1, SQLITE_STATIC);
	sqlite3_bind_blob(st, 6, s->sha256, sizeof(s->sha256), SQLITE_STATIC);
	sqlite3_bind_blob(st, 7, s->opening, sizeof(s->opening), SQLITE_STATIC);
	sqlite3_bind_blob(st, 8, s->closing, sizeof(s->closing), SQLITE_STATIC);
	sqlite3_bind_int64(ids, 1, (sqlite3_int64)s->first);
	sqlite3_bind_int64(ids, 2, (sqlite3_int64)s->last);
	if (sqlite3_step(st) != SQLITE_DONE || sqlite3_step(ids) != SQLITE_DONE)
		return weir_store_fail(main, err, "entering a segment");
	return 0;
}

int weir_segment_enter(sqlite3 *main, const struct weir_segment *s, struct weir_error *err)
{
	int ret = weir_store_exec(main, "BEGIN IMMEDIATE", err, "entering a segment");

	if (ret)
		return ret;
	ret = insert(main, s, err);
	if (!ret)
		ret = weir_store_exec(main, "COMMIT", err, "entering a segment");
	if (ret && !sqlite3_get_autocommit(main))
		sqlite3_exec(main, "ROLLBACK", NULL, NULL, NULL);
	return ret;
}

int weir_segment_shed(sqlite3 *main, int max, bool *left, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(main,
			       "DELETE FROM entry WHERE seq IN (SELECT seq FROM entry WHERE seq <="
			       " (SELECT max(last) FROM segment) ORDER BY seq LIMIT ?)",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(main, err, "shedding sealed entries");
	sqlite3_bind_int(st, 1, max);
	if (sqlite3_step(st) != SQLITE_DONE)
		return weir_store_fail(main, err, "shedding sealed entries");
	*left = sqlite3_changes(main) == max;
	return 0;
}
