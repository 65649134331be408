// SPDX-License-Identifier: Apache-2.0
/*
 * Which database an entry is in. Table `segment` of the main one says it; it is asked anew each
 * time, since the agent may seal a month while somebody reads.
 */
#include "agent/ledger_log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/ledger_segment.h"
#include "agent/store.h"

void weir_log_init(struct weir_log *log, sqlite3 *main)
{
	*log = (struct weir_log){ .main = main };
}

static void close_segment(struct weir_log *log)
{
	weir_store_close(log->segment.db);
	log->segment = (struct weir_log_part){ 0 };
}

void weir_log_clear(struct weir_log *log)
{
	close_segment(log);
	log->main = NULL;
}

int weir_log_segment_path(sqlite3 *main, const char *file, char *out, size_t cap)
{
	const char *path = sqlite3_db_filename(main, "main"), *slash = strrchr(path, '/');
	int dir = slash ? (int)(slash + 1 - path) : 0;
	int n = snprintf(out, cap, "%.*ssegments/%s", dir, path, file);

	return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

/* ------------------------------------------------------------------ segments */

/* Is the file what the main database says? Its content is verify's matter. */
static int check_segment(const struct weir_log_part *s, const char *path, const void *closing,
			 struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(s->db,
			       "SELECT (SELECT min(seq) FROM entry), seq, hash FROM entry"
			       " ORDER BY seq DESC LIMIT 1",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(s->db, err, "opening a segment");
	if (sqlite3_step(st) != SQLITE_ROW || (uint64_t)sqlite3_column_int64(st, 0) != s->first ||
	    (uint64_t)sqlite3_column_int64(st, 1) != s->last ||
	    sqlite3_column_bytes(st, 2) != WEIR_HASH_BYTES ||
	    memcmp(sqlite3_column_blob(st, 2), closing, WEIR_HASH_BYTES))
		return weir_fail(err, EBADMSG,
				 "%s: not the segment with entries %" PRIu64 "-%" PRIu64
				 " that was sealed; put the right file there",
				 path, s->first, s->last);
	return 0;
}

/* st stands on the segment's row: first, last, file, closing. */
static int open_segment(struct weir_log *log, sqlite3_stmt *st, struct weir_error *err)
{
	struct weir_log_part s = { .first = (uint64_t)sqlite3_column_int64(st, 0),
				   .last = (uint64_t)sqlite3_column_int64(st, 1) };
	const char *file = (const char *)sqlite3_column_text(st, 2);
	char path[PATH_MAX];
	int ret;

	if (log->segment.db && log->segment.first == s.first)
		return 0;
	if (!file || strchr(file, '/') || sqlite3_column_bytes(st, 3) != WEIR_HASH_BYTES)
		return weir_fail(err, EBADMSG, "table segment: entry %" PRIu64 " is damaged",
				 s.first);
	if (weir_log_segment_path(log->main, file, path, sizeof(path)))
		return weir_fail(err, ENAMETOOLONG, "%s: the path is too long", file);
	if (access(path, F_OK))
		return weir_fail(err, ENOENT,
				 "entries %" PRIu64 "-%" PRIu64
				 " are in segment %s, which is not there; put it back",
				 s.first, s.last, path);
	ret = weir_segment_open(path, &s.db, err);
	if (!ret)
		ret = check_segment(&s, path, sqlite3_column_blob(st, 3), err);
	if (ret) {
		weir_store_close(s.db);
		return ret;
	}
	close_segment(log);
	log->segment = s;
	return 0;
}

int weir_log_at(struct weir_log *log, uint64_t seq, struct weir_log_part *out,
		struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	uint64_t sealed;
	int ret;

	/* The first segment that ends at or behind it has it: they follow on one another. */
	if (sqlite3_prepare_v2(log->main,
			       "SELECT first, last, file, closing FROM segment WHERE last >= ?"
			       " ORDER BY last LIMIT 1",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(log->main, err, "reading the log");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)seq);
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		ret = open_segment(log, st, err);
		if (!ret)
			*out = log->segment;
		return ret;
	case SQLITE_DONE:
		ret = weir_store_number(log->main, "SELECT max(last) FROM segment WHERE last > ?",
					0, &sealed, err);
		if (!ret)
			*out = (struct weir_log_part){ log->main, sealed + 1, UINT64_MAX };
		return ret;
	default:
		return weir_store_fail(log->main, err, "reading the log");
	}
}

/* ------------------------------------------------------------------ one entry */

/* 1 if there was a row with a hash. */
static int get_hash(sqlite3 *db, const char *sql, uint64_t arg, uint8_t out[static WEIR_HASH_BYTES],
		    struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, "reading the log");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)arg);
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(db, err, "reading the log");
	if (rc == SQLITE_DONE || sqlite3_column_bytes(st, 0) != WEIR_HASH_BYTES)
		return 0;
	memcpy(out, sqlite3_column_blob(st, 0), WEIR_HASH_BYTES);
	return 1;
}

int weir_log_hash(struct weir_log *log, uint64_t seq, uint8_t out[static WEIR_HASH_BYTES],
		  struct weir_error *err)
{
	struct weir_log_part part;
	int ret;

	memset(out, 0, WEIR_HASH_BYTES);
	if (!seq)
		return 0;
	/* What the first entry behind a segment chains to is known without the file. */
	ret = get_hash(log->main, "SELECT closing FROM segment WHERE last = ?", seq, out, err);
	if (ret)
		return ret < 0 ? ret : 0;
	ret = weir_log_at(log, seq, &part, err);
	if (!ret)
		ret = get_hash(part.db, "SELECT hash FROM entry WHERE seq = ?", seq, out, err);
	return ret < 0 ? ret : 0;
}

/* By bisection between lo and hi, which is what comes out if all before it are earlier. */
static int bisect(sqlite3 *db, uint64_t t, uint64_t lo, uint64_t hi, uint64_t *out,
		  struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, "SELECT time FROM entry WHERE seq >= ? ORDER BY seq LIMIT 1", -1,
			       &st, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, "reading the log");
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		sqlite3_bind_int64(st, 1, (sqlite3_int64)mid);
		if (sqlite3_step(st) != SQLITE_ROW)
			return weir_store_fail(db, err, "reading the log");
		if ((uint64_t)sqlite3_column_int64(st, 0) >= t)
			hi = mid;
		else
			lo = mid + 1;
		sqlite3_reset(st);
	}
	*out = lo;
	return 0;
}

int weir_log_seq_at(struct weir_log *log, uint64_t t, uint64_t newest, uint64_t *out,
		    struct weir_error *err)
{
	struct weir_log_part part;
	uint64_t last;
	int ret;

	/* Past a segment's end nothing of it is looked at: it may have been archived. */
	ret = weir_store_number(log->main,
				"SELECT first FROM segment WHERE until >= ? ORDER BY last LIMIT 1",
				t, &last, err);
	if (!ret)
		ret = weir_log_at(log, last ? last : newest + 1, &part, err);
	if (ret)
		return ret;
	return bisect(part.db, t, part.first, part.last == UINT64_MAX ? newest + 1 : part.last, out,
		      err);
}

static int find_in(sqlite3 *db, const struct weir_id *id, uint64_t *seq, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(db, "SELECT seq FROM entry WHERE id = ?", -1, &st, NULL) !=
	    SQLITE_OK)
		return weir_store_fail(db, err, "looking up an entry");
	sqlite3_bind_blob(st, 1, id->b, sizeof(id->b), SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(db, err, "looking up an entry");
	*seq = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	return 0;
}

int weir_log_find(struct weir_log *log, const struct weir_id *id, uint64_t *seq,
		  struct weir_error *err)
{
	struct weir_log_part part;
	uint64_t last = UINT64_MAX >> 1;
	int ret, missing = 0;

	ret = find_in(log->main, id, seq, err);
	while (!ret && !*seq) {
		ret = weir_store_number(log->main, "SELECT max(last) FROM segment WHERE last < ?",
					last, &last, err);
		if (ret || !last)
			break;
		ret = weir_log_at(log, last, &part, err);
		if (ret == -ENOENT) {
			missing = ret;
			ret = 0;
			continue;
		}
		if (!ret)
			ret = find_in(part.db, id, seq, err);
	}
	if (!ret && !*seq)
		ret = missing;
	return ret;
}
