// SPDX-License-Identifier: Apache-2.0
/*
 * Which of its streams the publisher can have. METER it waits for, for ever; the others
 * are done without: after some seconds where the server says no, after longer where it may be
 * electing a leader (of three servers of 2.9: 5 to 9 s, of which it says "no responders").
 */
#include "publisher_window.h"

#include <string.h>

#define CHECK_AGAIN_NS UINT64_C(2000000000) /* a stream that was not ready */
#define REFUSED_NS     (3 * WEIR_SECOND)    /* so long usage waits for another stream */
#define SILENT_NS      (20 * WEIR_SECOND)
#define REFUSING_NS    (60 * WEIR_SECOND) /* what refused is not tried again */

void weir_pub_check_streams(struct weir_publisher *p, uint64_t now_ns)
{
	if (now_ns < p->check_at_ns)
		return;
	p->check_at_ns = now_ns + CHECK_AGAIN_NS;
	for (int i = 0; i < WEIR_STREAM_PUBLISHED; i++) {
		char before[sizeof(p->problem[i])];
		enum weir_stream_state state;

		if (p->ready[i])
			continue;
		memcpy(before, p->problem[i], sizeof(before));
		state = weir_stream_look(p->js, i, p->nats->replicas, p->problem[i],
					 sizeof(p->problem[i]));
		p->ready[i] = state == WEIR_STREAM_READY;
		p->definite[i] = state == WEIR_STREAM_UNFIT;
		if (p->ready[i]) {
			p->unready_ns[i] = 0;
			p->resumed = p->resumed && !weir_pub_cursor_name(i);
		} else if (!p->unready_ns[i]) {
			p->unready_ns[i] = now_ns;
		}
		if (p->problem[i][0] && strcmp(before, p->problem[i]))
			weir_log(WEIR_WARN, "%s", p->problem[i]);
		/* Nothing goes on without it, and each of the others would take as long. */
		if (i == WEIR_STREAM_METER && state == WEIR_STREAM_SILENT)
			break;
	}
}

bool weir_pub_given_up(const struct weir_publisher *p, enum weir_stream which)
{
	uint64_t since = p->unready_ns[which], now_ns = weir_mono_ns();
	uint64_t wait_ns = p->definite[which] ? REFUSED_NS : SILENT_NS;

	return which != WEIR_STREAM_METER &&
	       ((since && now_ns - since > wait_ns) || now_ns < p->refusing_until_ns[which]);
}

/* What a stream took so far, with the lock held. */
static uint64_t taken(const struct weir_publisher *p, enum weir_stream which)
{
	return which == WEIR_STREAM_DENY    ? p->status.denied
	       : which == WEIR_STREAM_ALERT ? p->status.alerts
					    : p->status.entries;
}

void weir_pub_refused(struct weir_publisher *p, enum weir_stream which, bool definite,
		      uint64_t now_ns)
{
	uint64_t wait_ns = definite ? REFUSED_NS : SILENT_NS;

	if (!p->refused_ns[which] || p->refused_at[which] != taken(p, which)) {
		p->refused_ns[which] = now_ns;
		p->refused_at[which] = taken(p, which);
	} else if (now_ns - p->refused_ns[which] > wait_ns) {
		p->refused_ns[which] = 0;
		p->refusing_until_ns[which] = now_ns + REFUSING_NS;
	}
}

void weir_pub_note_refusal(struct weir_publisher *p, uint64_t now_ns)
{
	bool refused[WEIR_STREAM_PUBLISHED] = { 0 }, definite[WEIR_STREAM_PUBLISHED] = { 0 };

	pthread_mutex_lock(&p->lock);
	for (uint64_t i = p->head; i != p->tail; i++) {
		const struct weir_pub_slot *s = &p->window[i & WEIR_PUBLISHER_MASK];

		if (s->state != WEIR_PUB_FAILED)
			continue;
		refused[s->stream] = true;
		definite[s->stream] = definite[s->stream] || s->definite;
		if (s->definite)
			p->answered_ns = now_ns;
	}
	for (int i = 0; i < WEIR_STREAM_PUBLISHED; i++) {
		if (i != WEIR_STREAM_METER && refused[i])
			weir_pub_refused(p, i, definite[i], now_ns);
	}
	pthread_mutex_unlock(&p->lock);
}

const char *weir_pub_stream_problem(const struct weir_publisher *p)
{
	static const enum weir_stream order[] = { WEIR_STREAM_METER, WEIR_STREAM_LEDGER,
						  WEIR_STREAM_ALERT, WEIR_STREAM_DENY };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (p->status.problem[order[i]][0])
			return p->status.problem[order[i]];
	}
	return "";
}
