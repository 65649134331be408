// SPDX-License-Identifier: Apache-2.0
/*
 * The lane METER is read behind the cursor, in the stream's order, which is the ledger's. What the
 * ledger knows by its id is passed over, so that a run that was cut short goes on where it was.
 * Of LEDGER it is only told what is missing: these were acts of somebody.
 */
#include "agent/rederive.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "agent/lane.h"
#include "agent/ledger_read_priv.h"
#include "agent/publisher_stream.h"
#include "agent/rederive_priv.h"
#include "agent/store.h"

/* Where a message is may be off by some, after a cluster chose another leader: looked at from so
 * far before. What is there is known. */
#define BEFORE 4096

/* *seq 0: the ledger does not know it. */
static int find(struct weir_rederive_run *u, const struct weir_lane_event *e, uint64_t *seq)
{
	sqlite3 *db = u->r->reader->db;
	int rc, ret = 0;

	if (!u->find)
		ret = weir_store_prepare(db, "SELECT seq FROM entry WHERE id = ?", &u->find,
					 u->err);
	if (ret)
		return ret;
	sqlite3_bind_blob(u->find, 1, e->id.b, sizeof(e->id.b), SQLITE_STATIC);
	rc = sqlite3_step(u->find);
	*seq = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(u->find, 0) : 0;
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		ret = weir_store_fail(db, u->err, "looking up an entry");
	sqlite3_reset(u->find);
	/* What is newer than the mark is in no sealed month. */
	if (ret || *seq || e->ledger_seq > u->mark.newest)
		return ret;
	ret = weir_log_find(&u->r->reader->log, &e->id, seq, u->err);
	if (ret != -ENOENT)
		return ret;
	/* That month was taken away: but all that is older than the mark was there. */
	*seq = e->ledger_seq;
	return 0;
}

/* ------------------------------------------------------------------ the lane of usage */

/* Events chain by previous_seq: one that is behind what nobody saw lacks others. What was sent
 * again comes late, but was seen. */
static void look_for_gap(struct weir_rederive_run *u, const struct weir_lane_event *e)
{
	uint64_t before = e->previous_seq;

	if (before != UINT64_MAX && before > u->mark.newest && before > u->last_seq)
		u->report.gaps++;
	if (e->ledger_seq > u->last_seq)
		u->last_seq = e->ledger_seq;
}

static int on_usage(const struct weir_lane_event *e, void *ctx)
{
	struct weir_rederive_run *u = ctx;
	struct weir_error err;
	uint64_t seq;
	bool again;
	int ret = find(u, e, &seq);

	if (ret)
		return ret;
	/* Twice on the lane: the first time counts. */
	again = seq && e->ledger_seq <= u->last_seq;
	u->report.read_to = e->stream_seq;
	look_for_gap(u, e);
	if (again || (seq && seq <= u->mark.newest))
		return 0;
	if (weir_event_read(e->json, e->n, &u->batch[u->n], &err)) {
		weir_rederive_strange(u, err.text);
		return 0;
	}
	u->known[u->n] = seq;
	ret = weir_rederive_resolve(u, &u->batch[u->n]);
	if (ret)
		return ret;
	return ++u->n == WEIR_REDERIVE_BATCH ? weir_rederive_flush(u) : 0;
}

static struct weir_lane_query query(const struct weir_rederive_run *u, enum weir_stream stream,
				    const char *topic)
{
	return (struct weir_lane_query){
		.stream = weir_stream_name(stream),
		.topic = topic,
		.node = u->r->node,
		.ledger_id = weir_reader_ledger_id(u->r->reader),
		.from_seq = 1,
		.data = true,
	};
}

/* Behind what the cursor says, if it is of this very stream. */
static uint64_t from(const struct weir_stream_cursor *c, const struct weir_lane_stream *s)
{
	return c->made_ns == s->made_ns && c->stream_from > BEFORE ? c->stream_from - BEFORE : 1;
}

static int read_usage(struct weir_rederive_run *u)
{
	struct weir_lane_query q = query(u, WEIR_STREAM_METER, "meter");
	struct weir_lane_others others = { 0 };
	struct weir_stream_cursor cursor = { 0 };
	struct weir_lane_stream stream;
	int ret = weir_lane_stream(u->r->js, q.stream, &stream, u->err);

	if (ret)
		return ret;
	ret = weir_reader_stream_cursor(u->r->reader, "nats", &cursor, u->err);
	if (ret)
		return ret;
	q.from_seq = from(&cursor, &stream);
	u->report.stream = true;
	ret = weir_lane_read(u->r->js, &q, on_usage, u, &others, u->err);
	u->report.strange += others.malformed;
	return ret ? ret : weir_rederive_flush(u);
}

/* ------------------------------------------------------------------ acts of others */

static const char *member(const json_t *v, const char *name)
{
	const char *text = json_string_value(json_object_get(v, name));

	return text ? text : "";
}

static void tell_act(struct weir_rederive_run *u, const json_t *data)
{
	struct weir_restored_report *t = &u->report;
	size_t n = strlen(t->first_acts);

	if (!member(data, "id")[0])
		return; /* what falls due is the ledger's own, and falls due again */
	if (t->acts++ < WEIR_REDERIVE_LOGS)
		weir_log(WEIR_WARN,
			 "restored: not in the ledger: %s %s of %s, by %s at %s, id %s; repeat it "
			 "with that --id, if it is to hold",
			 member(data, "kind"), member(data, "amount"), member(data, "tenant"),
			 member(data, "actor"), member(data, "time"), member(data, "id"));
	snprintf(t->first_acts + n, sizeof(t->first_acts) - n, "%s%.16s %.24s of %.63s --id %.64s",
		 n ? ", " : "", member(data, "kind"), member(data, "amount"),
		 member(data, "tenant"), member(data, "id"));
}

static int on_act(const struct weir_lane_event *e, void *ctx)
{
	struct weir_rederive_run *u = ctx;
	json_t *event;
	uint64_t seq;
	int ret = find(u, e, &seq);

	if (ret || seq)
		return ret;
	event = json_loadb(e->json, e->n, 0, NULL);
	tell_act(u, json_object_get(event, "data"));
	json_decref(event);
	return 0;
}

static int read_acts(struct weir_rederive_run *u)
{
	struct weir_lane_query q = query(u, WEIR_STREAM_LEDGER, "ledger");
	struct weir_stream_cursor cursor = { 0 };
	struct weir_lane_stream stream;
	int ret = weir_lane_stream(u->r->js, q.stream, &stream, u->err);

	if (ret == -ENOENT)
		return 0;
	if (!ret)
		ret = weir_reader_stream_cursor(u->r->reader, "nats.LEDGER", &cursor, u->err);
	if (ret)
		return ret;
	q.from_seq = from(&cursor, &stream);
	return weir_lane_read(u->r->js, &q, on_act, u, NULL, u->err);
}

/* ------------------------------------------------------------------ all of it */

static int call_mark(struct weir_ledger *l, void *arg)
{
	struct weir_rederive_run *u = arg;

	return weir_restored_mark_put(l, &u->mark, u->err);
}

static int call_done(struct weir_ledger *l, void *arg)
{
	struct weir_rederive_run *u = arg;

	return weir_restored_done(l, weir_wall_ns(), &u->report, u->err);
}

static int nothing(const struct weir_entry *e, void *ctx)
{
	return 0;
}

static int newest(const struct weir_entry *e, void *ctx)
{
	struct weir_restored_mark *m = ctx;

	m->newest = e->seq;
	m->newest_time_ns = e->time_ns;
	memcpy(m->head, e->hash, sizeof(m->head));
	return 0;
}

/* Somebody may have copied files by hand, or rolled a disk back: then the stream ends with what the
 * ledger does not know. An event is published after its entry is durable. */
static int look_for_loss(struct weir_rederive_run *u)
{
	struct weir_lane_query q = query(u, WEIR_STREAM_METER, "meter");
	struct weir_reader *rd = u->r->reader;
	struct weir_lane_event last;
	uint64_t read_to = 0;
	int ret = weir_lane_last(u->r->js, &q, &last, NULL, u->err);

	if (ret == -ENODATA || ret == -ENOENT)
		return 0;
	if (!ret)
		ret = weir_restored_read_to(rd, &read_to, u->err);
	if (ret || last.stream_seq <= read_to)
		return ret;
	ret = weir_reader_find(rd, &last.id, nothing, NULL, u->err);
	if (ret != -ENOENT)
		return ret;
	u->mark = (struct weir_restored_mark){ .time_ns = weir_wall_ns() };
	ret = weir_reader_entries(rd,
				  &(struct weir_entry_query){ .newest_first = true, .limit = 1 },
				  newest, &u->mark, u->err);
	if (ret)
		return ret;
	weir_log(WEIR_WARN,
		 "ledger: METER has an event of entry %" PRIu64
		 " that the ledger does not know: it is older than its stream; what it lacks is "
		 "entered again",
		 last.ledger_seq);
	ret = u->r->call(u->r->ctx, call_mark, u);
	return ret ? ret : weir_restored_pending(rd, &u->mark, u->err);
}

static int work_off(struct weir_rederive_run *u)
{
	int ret = read_usage(u);

	if (ret == -ENOENT && !u->report.stream)
		ret = 0; /* no stream: nobody knows */
	if (!ret)
		ret = read_acts(u);
	if (!ret)
		ret = u->r->call(u->r->ctx, call_done, u);
	return ret;
}

int weir_rederive_run(const struct weir_rederive *r, struct weir_error *err)
{
	struct weir_rederive_run u = { .r = r, .err = err };
	struct weir_restored_status s;
	int ret = weir_restored_pending(r->reader, &u.mark, err);

	if (!ret && !u.mark.seq && !r->marked_only)
		ret = look_for_loss(&u);
	if (ret || !u.mark.seq)
		return ret;
	u.cards = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	u.batch = g_new(struct weir_event_usage, WEIR_REDERIVE_BATCH);
	u.known = g_new0(bool, WEIR_REDERIVE_BATCH);
	ret = work_off(&u);
	sqlite3_finalize(u.find);
	g_hash_table_destroy(u.cards);
	g_free(u.batch);
	g_free(u.known);
	if (!ret && !weir_restored_look(r->reader, &s, err) && s.any)
		weir_log(WEIR_WARN, "%s", s.text);
	return ret;
}
