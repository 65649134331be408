/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be on a lane: it ends at the publisher's cursor, taken before the stream's end is. It
 * begins with the stream's first event of this ledger, as far as that is not about to be dropped
 * for its age; or, where nothing was ever dropped, with the ledger's first entry.
 */
#include <errno.h>

#include "lane_verify_priv.h"
#include "publisher_stream.h"

#define MARGIN_NS (600 * WEIR_SECOND) /* to max_age: by then the check is over */

struct start {
	uint64_t after_ns; /* stored since */
	bool any;
	uint64_t stream_seq, ledger_seq;
	struct weir_id id;
};

/* The first that the one behind it says it follows: what was sent again late is not where the
 * stream begins. */
static int find_start(const struct weir_lane_event *e, void *ctx)
{
	struct start *s = ctx;

	if (e->stored_ns < s->after_ns || !e->ledger_seq)
		return 0;
	if (s->any && (e->previous_seq == s->ledger_seq || e->previous_seq == UINT64_MAX))
		return 1;
	s->any = true;
	s->stream_seq = e->stream_seq;
	s->ledger_seq = e->ledger_seq;
	s->id = e->id;
	return 0;
}

static int take_seq(const struct weir_entry *e, void *ctx)
{
	*(uint64_t *)ctx = e->seq;
	return 0;
}

static uint64_t margin(uint64_t max_age_ns)
{
	return max_age_ns / 10 < MARGIN_NS ? max_age_ns / 10 : MARGIN_NS;
}

/* Nothing was ever dropped: all since the ledger began, but what was too old when the stream was
 * made. */
static int from_the_beginning(const struct weir_lane_check *c, struct weir_lane_verified *v,
			      struct weir_error *err)
{
	const struct weir_lane_stream *st = &v->stream;
	uint64_t age = st->max_age_ns - margin(st->max_age_ns);

	v->from_seq = 1;
	if (!st->max_age_ns || st->made_ns < age)
		return 0;
	return weir_reader_since(c->reader, st->made_ns - age, &v->from_seq, err);
}

int weir_lane_expect(const struct weir_lane_check *c, const struct weir_lane_query *lane,
		     struct weir_lane_verified *v, uint64_t *start, struct weir_error *err)
{
	struct weir_lane_query q = *lane;
	struct start s = { 0 };
	uint64_t now_ns = weir_wall_ns();
	uint64_t age = v->stream.max_age_ns - margin(v->stream.max_age_ns);
	int r;

	v->to_seq = v->stream.replicas > 1 ? c->confirmed_seq : c->acked_seq;
	v->to_stream = v->stream.last_seq;
	v->from_stream = v->stream.first_seq ? v->stream.first_seq : 1;
	if (v->stream.first_seq <= 1) {
		*start = 1;
		return from_the_beginning(c, v, err);
	}
	s.after_ns = v->stream.max_age_ns && now_ns > age ? now_ns - age : 0;
	q.from_seq = v->from_stream;
	r = weir_lane_read(c->js, &q, find_start, &s, NULL, err);
	if (r < 0)
		return r;
	if (!s.any) {
		v->from_seq = v->to_seq + 1;
		*start = v->from_stream;
		return 0;
	}
	/* An unknown one is said later. */
	v->from_seq = s.ledger_seq;
	v->from_stream = *start = s.stream_seq;
	r = weir_reader_find(c->reader, &s.id, take_seq, &v->from_seq, err);
	return r == -ENOENT ? 0 : r;
}

/* What was dropped while it was read might have been what is missing. */
int weir_lane_expect_still(const struct weir_lane_check *c, const struct weir_lane_verified *v,
			   uint64_t start, struct weir_error *err)
{
	const struct weir_lane_stream *before = &v->stream;
	struct weir_lane_stream now;
	int r = weir_lane_stream(c->js, weir_stream_name(WEIR_STREAM_METER), &now, err);

	if (r)
		return r;
	if (now.made_ns != before->made_ns || now.last_seq < before->last_seq ||
	    (now.first_seq > start && now.first_seq > 1))
		return weir_fail(err, EAGAIN,
				 "nats: stream METER dropped messages while they were looked at; "
				 "try again");
	return 0;
}
