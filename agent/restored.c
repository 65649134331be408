// SPDX-License-Identifier: Apache-2.0
/*
 * A mark is a row with done 0. What came of it is kept as JSON in the row: only this file reads it.
 */
#include "agent/restored.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/ledger_read_priv.h"
#include "agent/money.h"
#include "agent/store.h"

/* ------------------------------------------------------------------ leaving a mark */

#define INSERT                                                                                     \
	"INSERT INTO restored (time, newest, newest_time, hash, done, report)"                     \
	" VALUES (?, ?, ?, ?, 0, '')"
/* Before schema 6 there is no such table, but always this one. */
#define META_KEY "restored"

static int insert(sqlite3 *db, const struct weir_restored_mark *m, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, INSERT, -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(db, err, "leaving a mark");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)m->time_ns);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)m->newest);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)m->newest_time_ns);
	sqlite3_bind_blob(st, 4, m->head, sizeof(m->head), SQLITE_STATIC);
	return sqlite3_step(st) == SQLITE_DONE ? 0 : weir_store_fail(db, err, "leaving a mark");
}

static int insert_meta(sqlite3 *db, const struct weir_restored_mark *m, struct weir_error *err)
{
	char sql[256], head[2 * WEIR_HASH_BYTES + 1];

	weir_hex(m->head, sizeof(m->head), head);
	snprintf(sql, sizeof(sql),
		 "INSERT OR REPLACE INTO meta VALUES ('" META_KEY "', '%" PRIu64 " %" PRIu64
		 " %" PRIu64 " %s')",
		 m->time_ns, m->newest, m->newest_time_ns, head);
	return weir_store_exec(db, sql, err, "leaving a mark");
}

int weir_restored_put_mark(const char *path, const struct weir_restored_mark *m,
			   struct weir_error *err)
{
	sqlite3 *db;
	int has = 0, ret = weir_store_connect(path, SQLITE_OPEN_READWRITE, &db, err);

	if (ret)
		return ret;
	ret = weir_store_exec(db, "PRAGMA synchronous=FULL", err, "leaving a mark");
	if (!ret)
		ret = weir_store_int(db,
				     "SELECT count(*) FROM sqlite_schema WHERE name = 'restored'",
				     &has, err);
	if (!ret)
		ret = has ? insert(db, m, err) : insert_meta(db, m, err);
	weir_store_close(db); /* and empties its WAL */
	return ret;
}

int weir_restored_adopt(struct weir_ledger *l, struct weir_error *err)
{
	struct weir_restored_mark m = { 0 };
	char text[256] = "", head[2 * WEIR_HASH_BYTES + 1] = "";
	int ret = weir_store_meta(l->db, META_KEY, text, sizeof(text), err);

	if (ret == -ENOENT)
		return 0;
	if (ret)
		return ret;
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %64s", &m.time_ns, &m.newest,
		   &m.newest_time_ns, head) != 4 ||
	    weir_unhex(head, m.head, sizeof(m.head)))
		return weir_fail(err, EBADMSG, "%s: meta." META_KEY " is damaged",
				 sqlite3_db_filename(l->db, "main"));
	ret = weir_store_exec(l->db, "BEGIN IMMEDIATE", err, "taking over a mark");
	if (ret)
		return ret;
	ret = insert(l->db, &m, err);
	if (!ret)
		ret = weir_store_exec(l->db, "DELETE FROM meta WHERE key = '" META_KEY "'; COMMIT",
				      err, "taking over a mark");
	if (ret)
		sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	return ret;
}

int weir_restored_mark_put(struct weir_ledger *l, const struct weir_restored_mark *m,
			   struct weir_error *err)
{
	return insert(l->db, m, err);
}

/* ------------------------------------------------------------------ working it off */

static void read_mark(sqlite3_stmt *st, struct weir_restored_mark *m)
{
	m->seq = (uint64_t)sqlite3_column_int64(st, 0);
	m->time_ns = (uint64_t)sqlite3_column_int64(st, 1);
	m->newest = (uint64_t)sqlite3_column_int64(st, 2);
	m->newest_time_ns = (uint64_t)sqlite3_column_int64(st, 3);
	if (sqlite3_column_bytes(st, 4) == sizeof(m->head))
		memcpy(m->head, sqlite3_column_blob(st, 4), sizeof(m->head));
}

#define COLUMNS "seq, time, newest, newest_time, hash, done, report"

/* The first of those that are not worked off has the fewest entries. */
int weir_restored_pending(struct weir_reader *rd, struct weir_restored_mark *out,
			  struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(rd->db,
			       "SELECT " COLUMNS " FROM restored WHERE done = 0 ORDER BY seq", -1,
			       &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading table restored");
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(rd->db, err, "reading table restored");
	*out = (struct weir_restored_mark){ 0 };
	if (rc == SQLITE_ROW)
		read_mark(st, out);
	return 0;
}

static json_t *report_json(const struct weir_restored_report *r)
{
	return json_pack(
		"{s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "stream", (int)r->stream,
		"usage", (json_int_t)r->usage, "usage_time", (json_int_t)r->usage_time_ns, "price",
		(json_int_t)r->price_nano, "differing", (json_int_t)r->differing, "difference",
		(json_int_t)r->difference_nano, "no_card", (json_int_t)r->no_card, "gaps",
		(json_int_t)r->gaps, "strange", (json_int_t)r->strange, "acts", (json_int_t)r->acts,
		"read_to", (json_int_t)r->read_to, "first_acts", r->first_acts);
}

static uint64_t number(const json_t *v, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(v, name));
}

static void read_report(const char *text, struct weir_restored_report *r)
{
	json_t *v = json_loads(text ? text : "", 0, NULL);
	const char *acts = json_string_value(json_object_get(v, "first_acts"));

	*r = (struct weir_restored_report){
		.stream = json_is_true(json_object_get(v, "stream")),
		.usage = number(v, "usage"),
		.usage_time_ns = number(v, "usage_time"),
		.price_nano = (int64_t)number(v, "price"),
		.differing = number(v, "differing"),
		.difference_nano = (int64_t)number(v, "difference"),
		.no_card = number(v, "no_card"),
		.gaps = number(v, "gaps"),
		.strange = number(v, "strange"),
		.acts = number(v, "acts"),
		.read_to = number(v, "read_to"),
	};
	snprintf(r->first_acts, sizeof(r->first_acts), "%s", acts ? acts : "");
	json_decref(v);
}

int weir_restored_done(struct weir_ledger *l, uint64_t now_ns, const struct weir_restored_report *r,
		       struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	json_t *v = report_json(r);
	char *text = json_dumps(v, JSON_COMPACT);
	int ret = 0;

	json_decref(v);
	if (!text)
		return weir_fail(err, ENOMEM, "restored: out of memory");
	if (sqlite3_prepare_v2(l->db, "UPDATE restored SET done = ?, report = ? WHERE done = 0", -1,
			       &st, NULL) != SQLITE_OK)
		ret = weir_store_fail(l->db, err, "noting what was restored");
	if (!ret) {
		sqlite3_bind_int64(st, 1, (sqlite3_int64)now_ns);
		sqlite3_bind_text(st, 2, text, -1, SQLITE_STATIC);
		if (sqlite3_step(st) != SQLITE_DONE)
			ret = weir_store_fail(l->db, err, "noting what was restored");
	}
	free(text);
	return ret;
}

/* ------------------------------------------------------------------ for people */

/* Grows to the right; what does not fit is left out. */
struct line {
	char *p;
	size_t n, cap;
};

static void __attribute__((format(printf, 2, 3))) say(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->p + l->n, l->cap - l->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->n = l->n + (size_t)n < l->cap ? l->n + (size_t)n : l->cap - 1;
}

static void say_time(struct line *l, const char *before, uint64_t ns)
{
	char text[WEIR_TIME_TEXT];

	weir_time_format(ns, text);
	say(l, "%s%.19sZ", before, text);
}

static void say_usage(struct line *l, const struct weir_restored_report *r)
{
	char credits[WEIR_MONEY_TEXT], more[WEIR_MONEY_TEXT];

	weir_money_format(r->price_nano, credits);
	weir_money_format(r->difference_nano, more);
	say(l,
	    "; entered again from the stream: %" PRIu64 " requests and reports, worth %s credits",
	    r->usage, credits);
	if (r->usage)
		say_time(l, ", the last of ", r->usage_time_ns);
	if (r->differing)
		say(l,
		    "; the price of %" PRIu64
		    " of them is another than when they were published, by %s in all",
		    r->differing, more);
	if (r->no_card)
		say(l,
		    "; %" PRIu64
		    " have no price, for their rate card is not in the ledger or the policy",
		    r->no_card);
	if (r->gaps)
		say(l,
		    "; the stream lacks events at %" PRIu64 " places: what these were is not known",
		    r->gaps);
	if (r->strange)
		say(l, "; %" PRIu64 " messages cannot be read as events of ours, or not be entered",
		    r->strange);
	if (r->acts)
		say(l,
		    "; not in the ledger, and to be repeated with their --id: %" PRIu64
		    " acts (%s)",
		    r->acts, r->first_acts);
}

static void describe(const struct weir_restored_mark *m, struct weir_restored_status *s)
{
	struct line l = { .p = s->text, .cap = sizeof(s->text) };

	say(&l, "the ledger is an older one that was put back");
	say_time(&l, " at ", m->time_ns);
	say(&l, ": it ended with entry %" PRIu64, m->newest);
	if (m->newest)
		say_time(&l, " of ", m->newest_time_ns);
	if (s->pending) {
		say(&l, "; what the stream has behind that is looked at when NATS can be had, and "
			"nothing is published before");
		return;
	}
	if (s->report.stream)
		say_usage(&l, &s->report);
	else
		say(&l, "; there is no stream that could say what came behind it");
	say_time(&l, "; of what was not published, nothing is known from ",
		 s->known_ns ? s->known_ns : m->newest_time_ns);
	say_time(&l, " to ", m->time_ns);
}

/* A run that began after it was done, when the one before had ended by itself, ends the telling. */
static int acknowledged(struct weir_reader *rd, uint64_t done_ns, bool *out, struct weir_error *err)
{
	uint64_t n = 0;
	int ret = weir_store_number(
		rd->db,
		"SELECT count(*) FROM run AS r WHERE r.started > ?1 AND EXISTS (SELECT 1 FROM run"
		" AS p WHERE p.seq = (SELECT max(seq) FROM run WHERE seq < r.seq) AND p.ended > 0"
		" AND p.ended >= ?1)",
		done_ns, &n, err);

	*out = n;
	return ret;
}

int weir_restored_look(struct weir_reader *rd, struct weir_restored_status *out,
		       struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_restored_mark m = { 0 };
	bool over = false;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(rd->db, "SELECT " COLUMNS " FROM restored ORDER BY seq DESC LIMIT 1",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading table restored");
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(rd->db, err, "reading table restored");
	*out = (struct weir_restored_status){ 0 };
	if (rc == SQLITE_DONE)
		return 0;
	read_mark(st, &m);
	out->pending = !sqlite3_column_int64(st, 5);
	if (!out->pending)
		ret = acknowledged(rd, (uint64_t)sqlite3_column_int64(st, 5), &over, err);
	if (ret || over)
		return ret;
	read_report((const char *)sqlite3_column_text(st, 6), &out->report);
	out->any = true;
	out->at_ns = out->to_ns = m.time_ns;
	out->from_ns = m.newest_time_ns;
	out->known_ns = out->report.usage_time_ns ? out->report.usage_time_ns : m.newest_time_ns;
	describe(&m, out);
	return 0;
}

int weir_restored_read_to(struct weir_reader *rd, uint64_t *stream_seq, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_restored_report r = { 0 };
	int rc;

	if (sqlite3_prepare_v2(rd->db,
			       "SELECT report FROM restored WHERE done > 0"
			       " ORDER BY seq DESC LIMIT 1",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading table restored");
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(rd->db, err, "reading table restored");
	if (rc == SQLITE_ROW)
		read_report((const char *)sqlite3_column_text(st, 0), &r);
	*stream_seq = r.read_to;
	return 0;
}
