// SPDX-License-Identifier: Apache-2.0
/*
 * Beginning anew (delivery.md, 13 and 14): what a stream has of the lane behind the oldest mark
 * is read, and not sent again; or the stream has lost what was acknowledged, and it is published
 * from the last event that it does have.
 *
 * Events of a lane are on it in ledger order but for what was sent again: an entry is in the
 * window, so unacknowledged, while at most a window's entries behind it are sent. So whoever has
 * found entry n on the lane knows that all up to n - WINDOW came before, unless lost.
 */
#include "publisher_window.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger_read.h"

#define FIRST_LOOK 4096 /* messages from the stream's end; four times as many each time */
/* Of several replicas a message may be stored under another number than its acknowledgement said,
 * by a few (nats-server 2.9, after a leader was cut off): so many more are looked through. */
#define MARGIN 4096

struct reading {
	struct weir_publisher *p;
	struct weir_pub_lane *l;
	uint64_t first_stream_seq, first_seq; /* of the first event read, and its entry */
	uint64_t newest, ahead;		      /* entries that this ledger does not have */
};

static const char *topic_of(enum weir_stream which)
{
	return which == WEIR_STREAM_METER   ? "meter"
	       : which == WEIR_STREAM_ALERT ? "alert"
					    : "ledger";
}

static struct weir_lane_query query(const struct weir_publisher *p, enum weir_stream which)
{
	return (struct weir_lane_query){
		.stream = weir_stream_name(which),
		.topic = topic_of(which),
		.node = p->node,
		.ledger_id = weir_reader_ledger_id(p->reader),
	};
}

/* ------------------------------------------------------------------------- reading */

static int keep_seq(const struct weir_entry *e, void *ctx)
{
	*(uint64_t *)ctx = e->seq;
	return 0;
}

/* The entry of an event; what this ledger does not have counts by what the event says. */
static int entry_of(struct weir_publisher *p, const struct weir_lane_event *e, uint64_t *seq,
		    struct weir_error *err)
{
	int r = weir_reader_find(p->reader, &e->id, keep_seq, seq, err);

	if (r == -ENOENT) {
		*seq = e->ledger_seq;
		r = 0;
	}
	return r;
}

static int nothing(const struct weir_entry *e, void *ctx)
{
	return 0;
}

/* Usage that no entry here is of, though its number would have to be here. After a restore that
 * lost acts of others the same entries have other numbers (rederive.h): only its id tells. */
static bool is_ahead(const struct reading *r, const struct weir_lane_event *e)
{
	struct weir_error err = { "" };

	return e->ledger_seq > r->newest && r->l == &r->p->lanes[WEIR_STREAM_METER] &&
	       weir_reader_find(r->p->reader, &e->id, nothing, NULL, &err) == -ENOENT;
}

static int take(const struct weir_lane_event *e, void *ctx)
{
	struct reading *r = ctx;
	struct weir_pub_lane *l = r->l;

	if (__atomic_load_n(&r->p->stop, __ATOMIC_RELAXED))
		return -ECANCELED;
	if (!r->first_stream_seq) {
		struct weir_error err = { "" };
		int ret = entry_of(r->p, e, &r->first_seq, &err);

		if (ret)
			return ret;
		r->first_stream_seq = e->stream_seq;
	}
	if (l->n_had == l->cap_had) {
		size_t cap = l->cap_had ? 2 * l->cap_had : 2048;
		struct weir_pub_had *more = realloc(l->had, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->had = more;
		l->cap_had = cap;
	}
	l->had[l->n_had++] = (struct weir_pub_had){ e->id, e->stream_seq };
	if (e->stream_seq > l->top)
		l->top = e->stream_seq;
	r->ahead += is_ahead(r, e);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	return memcmp(((const struct weir_pub_had *)a)->id.b,
		      ((const struct weir_pub_had *)b)->id.b, WEIR_ID_BYTES);
}

uint64_t weir_pub_had(const struct weir_pub_lane *l, const struct weir_id *id)
{
	const struct weir_pub_had key = { .id = *id }, *at;

	at = l->n_had ? bsearch(&key, l->had, l->n_had, sizeof(key), by_id) : NULL;
	return at ? at->stream_seq : 0;
}

/* What is on the lane behind `from`, into r->l. */
static int read_ids(enum weir_stream which, uint64_t from, struct reading *r,
		    struct weir_error *err)
{
	struct weir_lane_query q = query(r->p, which);
	struct weir_pub_lane *l = r->l;
	int ret = weir_reader_newest(r->p->reader, &r->newest, err);

	if (ret)
		return ret;
	l->n_had = 0;
	l->top = l->from = from;
	q.from_seq = from + 1;
	ret = weir_lane_read(r->p->js, &q, take, r, NULL, err);
	if (ret)
		return ret;
	if (l->n_had)
		qsort(l->had, l->n_had, sizeof(*l->had), by_id);
	l->until = r->newest;
	return 0;
}

int weir_pub_read_lane(struct weir_publisher *p, enum weir_stream which,
		       const struct weir_stream_cursor *c, struct weir_pub_lane *out,
		       struct weir_error *err)
{
	struct reading r = { .p = p, .l = out };

	return read_ids(which, c->stream_from > MARGIN ? c->stream_from - MARGIN : 0, &r, err);
}

static int read_behind(struct weir_publisher *p, enum weir_stream which, uint64_t from,
		       struct reading *r, struct weir_error *err)
{
	int ret;

	*r = (struct reading){ .p = p, .l = &p->lanes[which] };
	ret = read_ids(which, from, r, err);
	if (ret)
		return ret;
	if (r->ahead)
		weir_log(WEIR_WARN,
			 "nats: stream %s has %" PRIu64
			 " events of this ledger with entries behind "
			 "its newest, %" PRIu64 ": this database is an older copy; put one back "
			 "with weir-agent --restore, which enters again what is missing",
			 weir_stream_name(which), r->ahead, r->newest);
	return 0;
}

/* Back from the stream's end until all of the entries behind `seq` that are there were read. */
static int read_back(struct weir_publisher *p, enum weir_stream which, uint64_t seq,
		     const struct weir_lane_stream *s, struct weir_error *err)
{
	uint64_t before = s->first_seq ? s->first_seq - 1 : 0;

	for (uint64_t n = FIRST_LOOK;; n *= 4) {
		uint64_t from =
			s->last_seq > n && s->last_seq - n > before ? s->last_seq - n : before;
		struct reading r;
		int ret = read_behind(p, which, from, &r, err);

		if (ret || from == before ||
		    (r.first_stream_seq && r.first_seq + WEIR_PUBLISHER_WINDOW <= seq))
			return ret;
	}
}

/* ---------------------------------------------------------------------- is it there? */

/* The message with the number of what was acknowledged: is it that still? 1: it is not. */
static int look_at(struct weir_publisher *p, enum weir_stream which,
		   const struct weir_stream_cursor *c, struct weir_error *err)
{
	char hex[WEIR_EVENT_ID_TEXT];
	const char *text = NULL;
	natsMsg *msg = NULL;
	jsOptions o;
	jsErrCode code = 0;
	struct weir_id id;
	uint64_t seq = 0;
	natsStatus s;
	int r = 0;

	jsOptions_Init(&o);
	o.Wait = 2000;
	s = js_GetMsg(&msg, p->js, weir_stream_name(which), c->stream_seq, &o, &code);
	if (s == NATS_NOT_FOUND || code == JSNoMessageFoundErr)
		return 0; /* somebody took it out */
	if (s != NATS_OK)
		return weir_fail(err, EIO, "nats: stream %s: cannot read message %" PRIu64 ": %s",
				 weir_stream_name(which), c->stream_seq, natsStatus_GetText(s));
	if (natsMsgHeader_Get(msg, "Nats-Msg-Id", &text) != NATS_OK || strlen(text) < 32)
		r = 1;
	if (!r) {
		snprintf(hex, sizeof(hex), "%.32s", text);
		r = weir_unhex(hex, id.b, sizeof(id.b)) ? 1 : 0;
	}
	natsMsg_Destroy(msg);
	if (r)
		return r;
	r = weir_reader_find(p->reader, &id, keep_seq, &seq, err);
	if (r == -ENOENT)
		return 1;
	return r ? r : seq > c->seq;
}

/* Has the stream lost what the cursor says? 1: *why says what is known of it. */
static int is_lost(struct weir_publisher *p, enum weir_stream which,
		   const struct weir_stream_cursor *c, const struct weir_lane_stream *s,
		   const char **why, struct weir_error *err)
{
	*why = "was deleted and made again";
	if (s->made_ns != c->made_ns)
		return 1;
	*why = "has lost its last messages";
	if (s->last_seq < c->stream_seq)
		return 1;
	if (!c->stream_seq || c->stream_seq < s->first_seq)
		return 0;
	*why = "has lost messages, and others have their numbers";
	return look_at(p, which, c, err);
}

/* -------------------------------------------------------------------------- going on */

/* Entries that are too old for the stream are not looked for. */
static int not_before(struct weir_publisher *p, struct weir_pub_lane *l,
		      const struct weir_lane_stream *s, uint64_t *seq, struct weir_error *err)
{
	uint64_t now_ns = weir_wall_ns(), first;
	int r;

	l->since_ns = s->max_age_ns && s->max_age_ns < now_ns ? now_ns - s->max_age_ns : 0;
	if (!l->since_ns)
		return 0;
	r = weir_reader_since(p->reader, l->since_ns, &first, err);
	if (!r && first > *seq + 1)
		*seq = first - 1;
	return r;
}

static int go_back(struct weir_publisher *p, enum weir_stream which,
		   const struct weir_stream_cursor *c, const struct weir_lane_stream *s,
		   const char *why, struct weir_error *err)
{
	struct weir_pub_lane *l = &p->lanes[which];
	struct weir_lane_query q = query(p, which);
	struct weir_lane_event last;
	uint64_t seq = 0;
	int r = weir_lane_last(p->js, &q, &last, NULL, err);

	if (!r)
		r = entry_of(p, &last, &seq, err);
	else if (r == -ENODATA)
		r = 0;
	if (r)
		return r;
	seq = seq > WEIR_PUBLISHER_WINDOW ? seq - WEIR_PUBLISHER_WINDOW : 0;
	r = not_before(p, l, s, &seq, err);
	if (seq > c->seq)
		seq = c->seq;
	if (!r)
		r = read_back(p, which, seq, s, err);
	if (r)
		return r;
	l->done_seq = seq;
	l->lost_until = p->status.seq > c->seq ? p->status.seq : c->seq;
	l->highest = 0;
	snprintf(l->loss, sizeof(l->loss),
		 "nats: stream %s %s; what it has not of ledger entries %" PRIu64 " to %" PRIu64
		 " is published again",
		 weir_stream_name(which), why, seq + 1, l->lost_until);
	weir_log(WEIR_WARN, "%s", l->loss);
	return 0;
}

static uint64_t behind(const struct weir_stream_cursor *c, const struct weir_lane_stream *s)
{
	uint64_t margin = s->replicas > 1 ? MARGIN : 0;

	return c->stream_from > margin ? c->stream_from - margin : 0;
}

static int resume(struct weir_publisher *p, enum weir_stream which,
		  const struct weir_stream_cursor *c, struct weir_error *err)
{
	struct weir_pub_lane *l = &p->lanes[which];
	struct weir_lane_stream s;
	struct reading reading;
	const char *why;
	int r = weir_lane_stream(p->js, weir_stream_name(which), &s, err);

	if (r)
		return r;
	l->done_seq = c->seq;
	l->highest = c->stream_seq;
	/* What was acknowledged behind the mark, and is not found, was taken back. */
	if (p->status.seq > l->lost_until)
		l->lost_until = p->status.seq;
	l->loss[0] = 0;
	if (!c->made_ns) {
		/* Never seen, or by a program that did not note where. */
		r = read_back(p, which, c->seq, &s, err);
	} else {
		r = is_lost(p, which, c, &s, &why, err);
		if (r == 1)
			r = go_back(p, which, c, &s, why, err);
		else if (!r)
			r = read_behind(p, which, behind(c, &s), &reading, err);
	}
	if (r)
		return r;
	if (l->foreign_of_ns != s.made_ns)
		l->foreign_seen = s.last_seq;
	l->foreign_of_ns = s.made_ns;
	l->made_ns = s.made_ns;
	l->replicas = s.replicas;
	l->known = true;
	return 0;
}

/* A stream that is not to be had: as it stood. */
static void leave(struct weir_pub_lane *l, const struct weir_stream_cursor *c)
{
	l->known = false;
	l->made_ns = c->made_ns;
	l->done_seq = c->seq;
	l->highest = l->top = c->stream_seq;
	l->from = c->stream_from;
	l->n_had = 0;
}

bool weir_pub_resume(struct weir_publisher *p)
{
	const struct weir_pub_mark m = p->marks[p->first_mark];
	uint64_t seq = UINT64_MAX;

	for (int i = 0; i < WEIR_STREAM_PUBLISHED; i++) {
		struct weir_error err = { "" };
		int r = 0;

		if (!weir_pub_cursor_name(i))
			continue;
		if (p->ready[i])
			r = resume(p, i, &m.at[i], &err);
		else
			leave(&p->lanes[i], &m.at[i]);
		if (r) {
			p->lanes[i].known = false;
			p->ready[i] = r != -ENOENT && p->ready[i];
			p->check_at_ns = r == -ENOENT ? 0 : p->check_at_ns;
			snprintf(p->ledger_problem, sizeof(p->ledger_problem),
				 "%.200s; trying again", err.text[0] ? err.text : strerror(-r));
			return false;
		}
		if (p->lanes[i].done_seq < seq)
			seq = p->lanes[i].done_seq;
	}
	pthread_mutex_lock(&p->lock);
	p->status.seq = seq;
	pthread_mutex_unlock(&p->lock);
	p->next_seq = seq + 1;
	p->ledger_problem[0] = 0;
	return true;
}

void weir_pub_lanes_free(struct weir_publisher *p)
{
	for (int i = 0; i < WEIR_STREAM_PUBLISHED; i++) {
		free(p->lanes[i].had);
		p->lanes[i].had = NULL;
	}
}
