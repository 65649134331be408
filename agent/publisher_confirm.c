// SPDX-License-Identifier: Apache-2.0
/*
 * Reading back what replicas acknowledged. nats-server 2.9 may lose such messages without a sign,
 * when a leader comes back that was cut off; what follows then has their numbers. What is known
 * is what was seen on the lane.
 */
#include "publisher_window.h"

#include <inttypes.h>
#include <stdlib.h>

#include "ledger_read.h"

struct check {
	const struct weir_pub_lane *lane; /* as the publisher knows it */
	const struct weir_pub_lane *read; /* as it is */
	uint64_t until, missing, first;
};

static int is_there(const struct weir_entry *e, void *ctx)
{
	struct check *c = ctx;

	if (e->seq > c->until)
		return 1;
	/* What was not sent is not missed. */
	if (e->seq <= c->lane->skipped_seq || e->time_ns < c->lane->since_ns)
		return 0;
	if (!weir_pub_had(c->read, &e->id) && !c->missing++)
		c->first = e->seq;
	return 0;
}

static uint32_t kinds_of(enum weir_stream which)
{
	return weir_event_lane(which == WEIR_STREAM_METER   ? WEIR_ENTRY_USAGE
			       : which == WEIR_STREAM_ALERT ? WEIR_ENTRY_TOP_UP
							    : WEIR_ENTRY_GRANT);
}

static int confirm(struct weir_publisher *p, enum weir_stream which,
		   const struct weir_stream_cursor *from, uint64_t until, struct weir_error *err)
{
	struct weir_entry_query q = { .from_seq = from->seq + 1, .kinds = kinds_of(which) };
	struct weir_pub_lane read = { 0 };
	struct check c = { .lane = &p->lanes[which], .read = &read, .until = until };
	int r = weir_pub_read_lane(p, which, from, &read, err);

	if (!r)
		r = weir_reader_entries(p->reader, &q, is_there, &c, err);
	free(read.had);
	if (r < 0)
		return r;
	if (c.missing)
		weir_log(WEIR_WARN,
			 "nats: stream %s has lost %" PRIu64
			 " events that it had acknowledged, the "
			 "first of ledger entry %" PRIu64 "; they are published again",
			 weir_stream_name(which), c.missing, c.first);
	return c.missing > 0;
}

int weir_pub_confirm(struct weir_publisher *p, const struct weir_pub_mark *from,
		     const struct weir_pub_mark *to, struct weir_error *err)
{
	int worst = 0;

	for (int i = 0; i < WEIR_STREAM_PUBLISHED; i++) {
		int r = 0;

		if (weir_pub_cursor_name(i) && p->lanes[i].known && p->lanes[i].replicas > 1 &&
		    to->at[i].seq > from->at[i].seq)
			r = confirm(p, i, &from->at[i], to->at[i].seq, err);
		if (r < 0)
			return r;
		worst = r ? r : worst;
	}
	return worst;
}
