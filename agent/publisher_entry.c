// SPDX-License-Identifier: Apache-2.0
/* Ledger entries, in their order, as events into the window. */
#include "publisher_window.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "entry_out.h"
#include "ledger_read.h"

#define SKIP_LOG_NS	(10 * WEIR_SECOND)
#define HEADER_BYTES	256 /* of a message: its id and stream; they count towards max_payload */
#define ENTRY_TOO_LARGE 2

enum weir_stream weir_pub_stream_of(const struct weir_entry *e)
{
	switch (e->kind) {
	case WEIR_ENTRY_USAGE:
	case WEIR_ENTRY_METER:
		return WEIR_STREAM_METER;
	case WEIR_ENTRY_TOP_UP:
		return WEIR_STREAM_ALERT;
	default:
		return WEIR_STREAM_LEDGER;
	}
}

static int pass(struct weir_publisher *p, const struct weir_entry *e, uint64_t stream_seq)
{
	weir_pub_pass(p, weir_pub_stream_of(e), e->seq, stream_seq);
	p->next_seq = e->seq + 1;
	return 0;
}

static int skip(struct weir_publisher *p, const struct weir_entry *e, const char *why)
{
	pass(p, e, 0);
	p->lanes[weir_pub_stream_of(e)].skipped_seq = e->seq;
	pthread_mutex_lock(&p->lock);
	p->status.skipped++;
	pthread_mutex_unlock(&p->lock);
	if (p->skip_logged_ns && weir_mono_ns() - p->skip_logged_ns < SKIP_LOG_NS)
		return 0;
	p->skip_logged_ns = weir_mono_ns();
	weir_log(WEIR_WARN,
		 "nats: ledger entry %" PRIu64 " is not published (as others since the last such "
		 "message may not be): %s",
		 e->seq, why);
	return 0;
}

/* The server would close the connection over it. */
static int too_large(struct weir_publisher *p, const struct weir_entry *e)
{
	int64_t max = natsConnection_GetMaxPayload(p->nc);

	if (max <= 0 || p->text.len + HEADER_BYTES <= (uint64_t)max)
		return 0;
	p->answered_ns = weir_mono_ns(); /* another would say the same */
	snprintf(p->ledger_problem, sizeof(p->ledger_problem),
		 "nats: the event of ledger entry %" PRIu64 " has %zu bytes, more than the "
		 "server's max_payload of %" PRId64 " allows (with %d for headers); raise it%s",
		 e->seq, p->text.len, max, HEADER_BYTES,
		 weir_pub_stream_of(e) == WEIR_STREAM_METER ? "; usage waits in the ledger" : "");
	return ENTRY_TOO_LARGE;
}

static int push(struct weir_publisher *p, const struct weir_entry *e, enum weir_stream stream)
{
	char id[WEIR_PUB_ID_TEXT], subject[WEIR_EVENT_SUBJECT];
	struct weir_event_origin o;
	struct weir_error err = { "" };
	int r = weir_event_origin_of(p->reader, e, p->node, &o, &err);

	if (!r)
		r = weir_event_json(e, &o, weir_reader_card(p->reader, weir_entry_card_id(e)),
				    &p->text);
	if (!r)
		r = too_large(p, e);
	if (r)
		return r;
	weir_hex(e->id.b, sizeof(e->id.b), id);
	/* What falls due has the id of its instant and its number: at midnight two ledgers may
	 * have the same. */
	if (stream != WEIR_STREAM_METER)
		snprintf(id + 2 * sizeof(e->id.b), sizeof(id) - 2 * sizeof(e->id.b), "-%.8s",
			 o.ledger_id);
	weir_event_subject(e, p->node, subject);
	r = weir_pub_push(p, stream, e->seq, e->row ? e->row->ended_wall_ns : 0, id, subject);
	if (!r)
		p->next_seq = e->seq + 1;
	return r;
}

/* It was acknowledged once, and its stream has lost it. */
static int push_again(struct weir_publisher *p, const struct weir_entry *e, enum weir_stream stream)
{
	int r;

	if (e->time_ns < p->lanes[stream].since_ns)
		return pass(p, e, 0); /* it would be gone by now */
	r = push(p, e, stream);
	if (r)
		return r;
	pthread_mutex_lock(&p->lock);
	p->status.again++;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* 1: later. */
static int publish(const struct weir_entry *e, void *ctx)
{
	struct weir_publisher *p = ctx;
	enum weir_stream stream = weir_pub_stream_of(e);
	const struct weir_pub_lane *l = &p->lanes[stream];
	uint64_t had;
	int r;

	if (!weir_pub_room(p))
		return 1;
	if (!weir_event_topic(e) || e->seq <= l->done_seq)
		return pass(p, e, 0);
	if (weir_pub_given_up(p, stream))
		return skip(p, e,
			    p->problem[stream][0] ? p->problem[stream] : "its stream refuses it");
	if (e->seq == p->too_large[stream] && stream != WEIR_STREAM_METER)
		return skip(p, e, "it is larger than its stream's max_msg_size");
	if (!l->known)
		return 1;
	had = e->seq <= l->until ? weir_pub_had(l, &e->id) : 0;
	if (had) {
		pthread_mutex_lock(&p->lock);
		p->status.known += e->seq > l->lost_until; /* else it was acknowledged, too */
		pthread_mutex_unlock(&p->lock);
		return pass(p, e, had);
	}
	r = e->seq <= l->lost_until ? push_again(p, e, stream) : push(p, e, stream);
	if (r == ENTRY_TOO_LARGE)
		return stream == WEIR_STREAM_METER ? r : skip(p, e, p->ledger_problem);
	return r;
}

void weir_pub_ledger(struct weir_publisher *p)
{
	uint64_t first = p->next_seq;

	for (;;) {
		struct weir_entry_query q = { .from_seq = p->next_seq, .limit = weir_pub_room(p) };
		struct weir_error err = { "" };
		uint64_t before = p->next_seq;
		int r;

		/* Not for a few: a walk costs as much as some tens of entries. */
		if (!q.limit || (q.limit < WEIR_PUBLISHER_WINDOW / 4 && p->next_seq != first))
			return;
		r = weir_reader_entries(p->reader, &q, publish, p, &err);
		if (r == ENTRY_TOO_LARGE)
			return;
		if (r < 0) {
			snprintf(p->ledger_problem, sizeof(p->ledger_problem),
				 "nats: ledger entry %" PRIu64 " cannot be published: %.180s",
				 p->next_seq, err.text[0] ? err.text : strerror(-r));
			return;
		}
		p->ledger_problem[0] = 0;
		if (p->next_seq == before)
			return;
	}
}
