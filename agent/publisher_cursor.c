// SPDX-License-Identifier: Apache-2.0
/*
 * Cursors: where all streams stand, noted each second as a mark. The oldest mark is what is
 * stored, and what all begins anew from: where a stream has replicas it is some seconds old.
 */
#include "publisher_window.h"

#include <string.h>

#include "ledger_read.h"
#include "writer.h"

#define EVERY_NS WEIR_SECOND
#define TRAIL	 5 /* seconds; so long an acknowledgement is not believed */

static const enum weir_stream lanes[] = { WEIR_STREAM_METER, WEIR_STREAM_LEDGER,
					  WEIR_STREAM_ALERT };
#define N_LANES (sizeof(lanes) / sizeof(lanes[0]))

const char *weir_pub_cursor_name(enum weir_stream which)
{
	static const char *const names[WEIR_STREAM_PUBLISHED] = {
		[WEIR_STREAM_METER] = "nats",
		[WEIR_STREAM_LEDGER] = "nats.LEDGER",
		[WEIR_STREAM_ALERT] = "nats.ALERT",
	};

	return names[which];
}

/* With the lock held. */
static struct weir_stream_cursor stand(const struct weir_publisher *p, enum weir_stream which)
{
	const struct weir_pub_lane *l = &p->lanes[which];
	struct weir_stream_cursor c = {
		.seq = p->status.seq > l->done_seq ? p->status.seq : l->done_seq,
		.stream_seq = l->highest,
		.stream_from = l->known && p->next_seq > l->until ? l->top : l->from,
		.made_ns = l->made_ns,
	};

	/* What is on its way may be anywhere behind what was there when it was sent. */
	for (uint64_t i = p->head; i != p->tail; i++) {
		const struct weir_pub_slot *s = &p->window[i & WEIR_PUBLISHER_MASK];

		if (s->stream != which || !s->seq)
			continue;
		c.stream_from = s->from;
		break;
	}
	return c;
}

static struct weir_pub_mark now_mark(struct weir_publisher *p)
{
	struct weir_pub_mark m = { 0 };

	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < N_LANES; i++)
		m.at[lanes[i]] = stand(p, lanes[i]);
	pthread_mutex_unlock(&p->lock);
	return m;
}

/* A stream of one replica loses nothing that a broken connection does not tell of. */
static bool replicated(const struct weir_publisher *p)
{
	for (size_t i = 0; i < N_LANES; i++) {
		if (p->lanes[lanes[i]].replicas > 1)
			return true;
	}
	return false;
}

static struct weir_pub_mark *mark(struct weir_publisher *p, unsigned i)
{
	return &p->marks[(p->first_mark + i) % WEIR_PUB_MARKS];
}

/* The oldest marks may go once the stream is seen to have what was acknowledged up to some seconds
 * ago. False: it has not, or cannot be read. */
static bool confirmed(struct weir_publisher *p)
{
	const unsigned n = WEIR_PUB_MARKS - TRAIL;
	struct weir_error err = { "" };
	int r = weir_pub_confirm(p, mark(p, 0), mark(p, n), &err);

	if (r == 1)
		p->resumed = false;
	if (r)
		return false;
	p->first_mark = (p->first_mark + n) % WEIR_PUB_MARKS;
	p->n_marks -= n;
	return true;
}

static void add_mark(struct weir_publisher *p)
{
	if (!replicated(p))
		p->n_marks = 0;
	else if (p->n_marks == WEIR_PUB_MARKS && !confirmed(p))
		return;
	*mark(p, p->n_marks++) = now_mark(p);
}

struct store {
	const char *names[N_LANES];
	struct weir_stream_cursor cursors[N_LANES];
};

static int store_call(struct weir_ledger *l, void *arg)
{
	struct store *s = arg;
	struct weir_error err = { "" };

	return weir_ledger_stream_cursors_set(l, s->names, s->cursors, N_LANES, &err);
}

/* A commit of its own, so not for every event. A failure is not an error: the
 * writer reports its health itself, and the cursor is stored the next time. */
static void store(struct weir_publisher *p, const struct weir_pub_mark *m)
{
	struct store s;

	if (!memcmp(m->at, p->stored, sizeof(p->stored)))
		return;
	for (size_t i = 0; i < N_LANES; i++) {
		s.names[i] = weir_pub_cursor_name(lanes[i]);
		s.cursors[i] = m->at[lanes[i]];
	}
	if (!weir_writer_call(p->view->writer, store_call, &s))
		memcpy(p->stored, m->at, sizeof(p->stored));
}

void weir_pub_store_cursors(struct weir_publisher *p, uint64_t now_ns, bool now)
{
	struct weir_pub_mark m;

	if (now && !replicated(p)) {
		m = now_mark(p);
		store(p, &m);
		return;
	}
	if (!now && now_ns < p->stored_at_ns + EVERY_NS)
		return;
	p->stored_at_ns = now_ns;
	if (p->resumed)
		add_mark(p);
	store(p, &p->marks[p->first_mark]);
}

void weir_pub_mark_anew(struct weir_publisher *p)
{
	p->first_mark = 0;
	p->n_marks = 1;
	p->marks[0] = now_mark(p);
	store(p, &p->marks[0]);
}

int weir_pub_load_cursors(struct weir_publisher *p, struct weir_error *err)
{
	struct weir_pub_mark m = { 0 };
	struct weir_stream_cursor *meter = &m.at[WEIR_STREAM_METER];

	for (size_t i = 0; i < N_LANES; i++) {
		struct weir_stream_cursor *c = &m.at[lanes[i]];
		int r = weir_reader_stream_cursor(p->reader, weir_pub_cursor_name(lanes[i]), c,
						  err);

		if (r)
			return r;
		/* A ledger of schema 5 has one for all. */
		if (!c->seq && !c->made_ns)
			c->seq = meter->seq;
	}
	memcpy(p->stored, m.at, sizeof(p->stored));
	p->first_mark = 0;
	p->n_marks = 1;
	p->marks[0] = m;
	pthread_mutex_lock(&p->lock);
	p->status.seq = meter->seq;
	for (size_t i = 0; i < N_LANES; i++) {
		const struct weir_stream_cursor *c = &m.at[lanes[i]];
		struct weir_pub_lane *l = &p->lanes[lanes[i]];

		if (c->seq < p->status.seq)
			p->status.seq = c->seq;
		l->made_ns = c->made_ns;
		l->done_seq = c->seq;
		l->highest = l->top = c->stream_seq;
		l->from = c->stream_from;
		l->known = false;
	}
	p->next_seq = p->status.seq + 1;
	pthread_mutex_unlock(&p->lock);
	return 0;
}
