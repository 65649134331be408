// SPDX-License-Identifier: Apache-2.0
/*
 * Opening the database and keeping its schema. Migrations are one ordered
 * table; each runs in a transaction of its own together with the version it
 * reaches, so that a crash in between leaves a schema that some version knows.
 */
#include "agent/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is not ours is never migrated. */
#define APPLICATION_ID WEIR_STORE_APPLICATION_ID

#define BUSY_MS 5000

/* The WAL starts over at this many pages (16 MiB); a file that grew past the
 * limit under a slow reader is cut back to it. */
#define WAL_PAGES 4096
#define WAL_LIMIT "67108864"

static const char schema_1[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE tenant (idx INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE card (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL,"
	" sha256 BLOB NOT NULL UNIQUE, json TEXT NOT NULL, UNIQUE (name, version));"
	/* The log. hash chains over the row before; body is ledger_encode.c's. */
	"CREATE TABLE entry (seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,"
	" kind INTEGER NOT NULL, time INTEGER NOT NULL, tenant INTEGER NOT NULL,"
	" wallet INTEGER NOT NULL, amount INTEGER NOT NULL, before INTEGER NOT NULL,"
	" after INTEGER NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL);"
	"CREATE TRIGGER entry_update BEFORE UPDATE ON entry BEGIN"
	" SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
	"CREATE TRIGGER entry_delete BEFORE DELETE ON entry BEGIN"
	" SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
	"CREATE TRIGGER card_update BEFORE UPDATE ON card BEGIN"
	" SELECT RAISE(ABORT, 'a rate card is immutable'); END;"
	"CREATE TRIGGER card_delete BEFORE DELETE ON card BEGIN"
	" SELECT RAISE(ABORT, 'a rate card is immutable'); END;"
	/* Projections of the log as of meta.checkpoint (a seq): can be dropped and rebuilt. */
	"CREATE TABLE account (idx INTEGER PRIMARY KEY, debt INTEGER NOT NULL,"
	" requests INTEGER NOT NULL, estimated INTEGER NOT NULL, partial INTEGER NOT NULL,"
	" input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,"
	" output INTEGER NOT NULL, reasoning INTEGER NOT NULL, price INTEGER NOT NULL,"
	" cost INTEGER NOT NULL);"
	"CREATE TABLE credit (seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
	" wallet INTEGER NOT NULL, amount INTEGER NOT NULL, remaining INTEGER NOT NULL"
	" CHECK (remaining BETWEEN 0 AND amount));"
	"CREATE INDEX credit_wallet ON credit (wallet);"
	/* State of its own, not derived from the log. */
	"CREATE TABLE apikey (sha256 BLOB PRIMARY KEY, tenant INTEGER NOT NULL,"
	" hint TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
	" revoked INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE cursor (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO meta VALUES ('checkpoint', '0');";

/* The same tables. Entries are from here on written with a body that a program of
 * schema 1 cannot read (ledger_encode.c): it is to say so, and not "damaged". */
static const char schema_2[] = "";

/* Suspensions and the node's enforce switch: what holds is the last row of a (name, tenant). */
static const char schema_3[] =
	"CREATE TABLE switches (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
	" name TEXT NOT NULL CHECK (name IN ('suspended', 'enforce')), tenant INTEGER NOT NULL,"
	" is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)),"
	" now INTEGER NOT NULL CHECK (now IN (0, 1)), time INTEGER NOT NULL,"
	" actor TEXT NOT NULL, reason TEXT NOT NULL);"
	"CREATE INDEX switches_last ON switches (name, tenant, seq);"
	"CREATE TRIGGER switches_update BEFORE UPDATE ON switches BEGIN"
	" SELECT RAISE(ABORT, 'switches are append-only'); END;"
	"CREATE TRIGGER switches_delete BEFORE DELETE ON switches BEGIN"
	" SELECT RAISE(ABORT, 'switches are append-only'); END;";

/*
 * Money (ledger.md). Projections of the log are made anew, from entry 1: they have other columns.
 * volume: what a true-up needs; 128-bit numbers are 16 bytes, little-endian. write: which entry
 * somebody's write with that key became; content as weir_op_content.
 */
static const char schema_4[] =
	"DROP TABLE account; DROP TABLE credit;"
	"UPDATE meta SET value='0' WHERE key='checkpoint';"
	"CREATE TABLE account (idx INTEGER PRIMARY KEY, debt INTEGER NOT NULL,"
	" issued INTEGER NOT NULL, consumed INTEGER NOT NULL, voided INTEGER NOT NULL,"
	" requests INTEGER NOT NULL, estimated INTEGER NOT NULL, partial INTEGER NOT NULL,"
	" input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL,"
	" output INTEGER NOT NULL, reasoning INTEGER NOT NULL, audio INTEGER NOT NULL,"
	" image INTEGER NOT NULL, price INTEGER NOT NULL, cost INTEGER NOT NULL,"
	" refunded INTEGER NOT NULL, asked INTEGER NOT NULL, asked_below INTEGER NOT NULL);"
	"CREATE TABLE lot (seq INTEGER PRIMARY KEY, wallet INTEGER NOT NULL,"
	" source INTEGER NOT NULL, priority INTEGER NOT NULL, voided INTEGER NOT NULL,"
	" effective INTEGER NOT NULL, expires INTEGER NOT NULL, created INTEGER NOT NULL,"
	" schedule INTEGER NOT NULL, amount INTEGER NOT NULL,"
	" pending INTEGER NOT NULL CHECK (pending >= 0),"
	" remaining INTEGER NOT NULL CHECK (remaining >= 0),"
	" expired INTEGER NOT NULL CHECK (expired >= 0),"
	" CHECK (pending + remaining + expired <= amount));"
	"CREATE INDEX lot_wallet ON lot (wallet);"
	"CREATE INDEX lot_live ON lot (seq) WHERE pending > 0 OR remaining > 0 OR expired > 0;"
	"CREATE TABLE schedule (seq INTEGER PRIMARY KEY, wallet INTEGER NOT NULL,"
	" next INTEGER NOT NULL, body BLOB NOT NULL);"
	"CREATE TABLE counter (key TEXT NOT NULL, month INTEGER NOT NULL, at INTEGER NOT NULL,"
	" PRIMARY KEY (key, month)) WITHOUT ROWID;"
	"CREATE TABLE volume (key TEXT NOT NULL, month INTEGER NOT NULL, tenant INTEGER NOT NULL,"
	" card INTEGER NOT NULL, entry INTEGER NOT NULL, wallet INTEGER NOT NULL,"
	" posted INTEGER NOT NULL, dimension INTEGER NOT NULL, weighted BLOB NOT NULL,"
	" charged BLOB NOT NULL, PRIMARY KEY (key, month, tenant, card, entry)) WITHOUT ROWID;"
	"CREATE TABLE session (tenant INTEGER NOT NULL, key TEXT NOT NULL,"
	" started INTEGER NOT NULL, PRIMARY KEY (tenant, key)) WITHOUT ROWID;"
	"CREATE TABLE refund (seq INTEGER PRIMARY KEY, nano INTEGER NOT NULL);"
	"CREATE TABLE write (key TEXT PRIMARY KEY, seq INTEGER NOT NULL, content BLOB NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE unpriced (what TEXT NOT NULL, service INTEGER NOT NULL,"
	" count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
	" PRIMARY KEY (what, service)) WITHOUT ROWID;"
	/* Months that were sealed into files of their own (ledger_segment.h): they follow on one
	 * another, behind the last the log goes on here, and only then may entries leave it.
	 * opening is the hash before the first entry, closing that of the last. */
	"CREATE TABLE segment (first INTEGER PRIMARY KEY, last INTEGER NOT NULL UNIQUE,"
	" since INTEGER NOT NULL, until INTEGER NOT NULL, file TEXT NOT NULL UNIQUE,"
	" sha256 BLOB NOT NULL, opening BLOB NOT NULL, closing BLOB NOT NULL);"
	"CREATE TRIGGER segment_insert BEFORE INSERT ON segment WHEN NEW.last < NEW.first"
	" OR NEW.first <> (SELECT ifnull(max(last), 0) + 1 FROM segment)"
	" OR NOT EXISTS (SELECT 1 FROM entry WHERE seq = NEW.last AND hash = NEW.closing)"
	" OR NOT EXISTS (SELECT 1 FROM entry WHERE seq = NEW.last + 1) BEGIN"
	" SELECT RAISE(ABORT, 'a segment must continue the one before and end within the log');"
	" END;"
	"CREATE TRIGGER segment_update BEFORE UPDATE ON segment BEGIN"
	" SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
	"CREATE TRIGGER segment_delete BEFORE DELETE ON segment BEGIN"
	" SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
	"DROP TRIGGER entry_delete;"
	"CREATE TRIGGER entry_delete BEFORE DELETE ON entry WHEN NOT EXISTS"
	" (SELECT 1 FROM segment WHERE OLD.seq BETWEEN first AND last) BEGIN"
	" SELECT RAISE(ABORT, 'the ledger is append-only'); END;"
	/* Ids of sealed entries that made lots: who asks for a balance needs no segment. */
	"CREATE TABLE sealed_lot (seq INTEGER PRIMARY KEY, id BLOB NOT NULL);";

/* The same tables. Entries are from here on written with a body that a program of schema 4 cannot
 * read: as schema 2. */
static const char schema_5[] = "";

/*
 * Delivery (delivery.md). run: one of an agent; ended 0: it did not end by itself; open: requests
 * at its last sign of life, alive; kept: it left its limits in force. cursor: of a stream, with the
 * stream's own numbers (struct weir_stream_cursor) and when it was made. named: what a number was
 * called, or where a tenant was in the tree, from an entry on; kind 1 is a service, 2 a tenant's
 * path ("acme/team/user"). restored: this database was put back.
 */
static const char schema_6[] =
	"CREATE TABLE run (seq INTEGER PRIMARY KEY, boot TEXT NOT NULL, pid INTEGER NOT NULL,"
	" version TEXT NOT NULL, started INTEGER NOT NULL, alive INTEGER NOT NULL,"
	" ended INTEGER NOT NULL, open INTEGER NOT NULL, kept INTEGER NOT NULL);"
	"ALTER TABLE cursor ADD COLUMN stream_seq INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE cursor ADD COLUMN stream_from INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE cursor ADD COLUMN stream_made INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE cursor ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE named (kind INTEGER NOT NULL, number INTEGER NOT NULL,"
	" from_seq INTEGER NOT NULL, text TEXT NOT NULL,"
	" PRIMARY KEY (kind, number, from_seq)) WITHOUT ROWID;"
	/* Of what is neither usage nor a meter: the one before (ledger_previous.c). */
	"CREATE INDEX entry_rare ON entry (kind) WHERE kind NOT IN (1, 9);"
	"CREATE TABLE restored (seq INTEGER PRIMARY KEY, time INTEGER NOT NULL,"
	" newest INTEGER NOT NULL, newest_time INTEGER NOT NULL, hash BLOB NOT NULL,"
	" done INTEGER NOT NULL, report TEXT NOT NULL);";

/* Ordered; a step is never edited once released, only followed by another. */
static const struct migration {
	int version;
	const char *sql;
} migrations[] = {
	{ 1, schema_1 }, { 2, schema_2 }, { 3, schema_3 },
	{ 4, schema_4 }, { 5, schema_5 }, { 6, schema_6 },
};
#define N_MIGRATIONS (sizeof(migrations) / sizeof(migrations[0]))

int weir_store_version(void)
{
	return migrations[N_MIGRATIONS - 1].version;
}

void weir_store_finalize(sqlite3_stmt **st)
{
	sqlite3_finalize(*st);
	*st = NULL;
}

void weir_store_close(sqlite3 *db)
{
	/* Statements are finalized by whoever prepared them; _v2 never fails. */
	sqlite3_close_v2(db);
}

int weir_store_exec(sqlite3 *db, const char *sql, struct weir_error *err, const char *doing)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, doing);
	return 0;
}

int weir_store_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out, struct weir_error *err)
{
	sqlite3_stmt *st;

	if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, "preparing a statement");
	*out = st;
	return 0;
}

int weir_store_int(sqlite3 *db, const char *sql, int *out, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		return weir_store_fail(db, err, "reading the database");
	*out = sqlite3_column_int(st, 0);
	return 0;
}

static int number(sqlite3 *db, sqlite3_stmt *st, uint64_t *out, struct weir_error *err)
{
	int rc = sqlite3_step(st);

	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(db, err, "reading");
	*out = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	return 0;
}

int weir_store_number(sqlite3 *db, const char *sql, uint64_t arg, uint64_t *out,
		      struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, "reading");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)arg);
	return number(db, st, out, err);
}

int weir_store_number_of(sqlite3 *db, const char *sql, const char *arg, uint64_t *out,
			 struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, "reading");
	sqlite3_bind_text(st, 1, arg, -1, SQLITE_STATIC);
	return number(db, st, out, err);
}

int weir_store_meta(sqlite3 *db, const char *key, char *out, size_t cap, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE key = ?", -1, &st, NULL) !=
	    SQLITE_OK)
		return weir_store_fail(db, err, "reading table meta");
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return weir_fail(err, ENOENT, "%s: no \"%s\" in table meta",
				 sqlite3_db_filename(db, "main"), key);
	if (rc != SQLITE_ROW)
		return weir_store_fail(db, err, "reading table meta");
	snprintf(out, cap, "%s", (const char *)sqlite3_column_text(st, 0));
	return 0;
}

/* Version 4 (RFC 9562): names this ledger in events, for ever. */
static int put_ledger_id(sqlite3 *db, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	uint8_t b[16];
	char hex[33], text[37];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return weir_fail(err, EIO, "no random bytes for the ledger's id");
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	weir_hex(b, sizeof(b), hex);
	snprintf(text, sizeof(text), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
		 hex + 20);
	if (sqlite3_prepare_v2(db, "INSERT INTO meta VALUES ('ledger_id', ?)", -1, &st, NULL) !=
	    SQLITE_OK)
		return weir_store_fail(db, err, "writing the ledger's id");
	sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		return weir_store_fail(db, err, "writing the ledger's id");
	return 0;
}

/* Our file, or an empty one, and no newer than we are. */
static int check_schema(sqlite3 *db, const char *path, int *version, struct weir_error *err)
{
	int app = 0, tables = 0, ret;

	ret = weir_store_int(db, "PRAGMA user_version", version, err);
	if (!ret)
		ret = weir_store_int(db, "PRAGMA application_id", &app, err);
	if (!ret)
		ret = weir_store_int(db, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (ret)
		return ret;
	if (app != APPLICATION_ID && (app || *version || tables))
		return weir_fail(err, EINVAL,
				 "%s: a database of another program; point state_dir elsewhere",
				 path);
	if (*version > weir_store_version())
		return weir_fail(err, ENOTSUP,
				 "%s: schema %d is newer than this program knows (%d); start the "
				 "newer agent, or restore the backup made before its upgrade",
				 path, *version, weir_store_version());
	return 0;
}

static int migrate_step(sqlite3 *db, const struct migration *m, struct weir_error *err)
{
	char version[96];
	int ret;

	snprintf(version, sizeof(version), "PRAGMA user_version=%d; PRAGMA application_id=%d",
		 m->version, APPLICATION_ID);
	ret = weir_store_exec(db, m->sql, err, "migrating the schema");
	if (!ret && m->version == 1)
		ret = put_ledger_id(db, err);
	if (!ret)
		ret = weir_store_exec(db, version, err, "migrating the schema");
	return ret;
}

static int migrate(sqlite3 *db, const char *path, struct weir_error *err)
{
	int have, ret = 0;

	ret = weir_store_exec(db, "BEGIN IMMEDIATE", err, "opening");
	if (ret)
		return ret;
	/* Looked at under the lock: another process may have just migrated. */
	ret = check_schema(db, path, &have, err);
	for (size_t i = 0; !ret && i < N_MIGRATIONS; i++) {
		if (migrations[i].version > have)
			ret = migrate_step(db, &migrations[i], err);
	}
	if (!ret)
		ret = weir_store_exec(db, "COMMIT", err, "migrating the schema");
	if (ret)
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return ret;
}

/* SQLite would make the file 0644; who used what is not for everybody. */
static int make_file(const char *path, struct weir_error *err)
{
	weir_autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

	if (fd >= 0)
		return 0;
	return weir_fail(err, errno, "%s: cannot be opened to write: %s; check state_dir", path,
			 strerror(errno));
}

int weir_store_connect(const char *path, int flags, sqlite3 **out, struct weir_error *err)
{
	sqlite3 *db = NULL;
	int ret;

	if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		ret = weir_store_fail(db, err, "opening");
		sqlite3_close_v2(db);
		return ret;
	}
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, BUSY_MS);
	*out = db;
	return 0;
}

int weir_store_open(const char *path, sqlite3 **out, struct weir_error *err)
{
	static const char pragmas[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
				      "PRAGMA journal_size_limit=" WAL_LIMIT ";"
				      /* REPLACE must meet the delete triggers too. */
				      "PRAGMA recursive_triggers=ON; PRAGMA trusted_schema=OFF";
	sqlite3 *db;
	int version, ret;

	ret = make_file(path, err);
	if (ret)
		return ret;
	ret = weir_store_connect(path, SQLITE_OPEN_READWRITE, &db, err);
	if (ret)
		return ret;
	/* Before anything is written into a file that may not be ours. */
	ret = check_schema(db, path, &version, err);
	if (!ret && sqlite3_db_readonly(db, "main") == 1)
		ret = weir_fail(err, EROFS, "%s: not writable; check owner, mode and mount", path);
	if (!ret)
		ret = weir_store_exec(db, pragmas, err, "opening");
	if (!ret)
		ret = migrate(db, path, err);
	if (!ret)
		weir_store_checkpoints(db, WAL_PAGES);
	if (ret) {
		weir_store_close(db);
		return ret;
	}
	*out = db;
	return 0;
}

int weir_store_open_read(const char *path, sqlite3 **out, struct weir_error *err)
{
	sqlite3 *db;
	int version, ret;

	if (access(path, F_OK))
		return weir_fail(err, ENOENT, "%s: no such ledger", path);
	ret = weir_store_connect(path, SQLITE_OPEN_READONLY, &db, err);
	if (ret)
		return ret;
	ret = check_schema(db, path, &version, err);
	if (!ret && version < weir_store_version())
		ret = weir_fail(err, ENOTSUP,
				"%s: schema %d, this program reads %d; start the agent once to "
				"migrate it",
				path, version, weir_store_version());
	if (ret) {
		weir_store_close(db);
		return ret;
	}
	*out = db;
	return 0;
}
