/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window of events in flight, and the connection. Answers come from threads
 * of the library; the mutex guards the window and the status, and is never held
 * across a call into the library.
 */
#include "publisher_window.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nats_connect.h"

#define CONNECT_AGAIN_NS UINT64_C(300000000)
#define REFUSING_NS	 (60 * WEIR_SECOND)
#define REFUSED_MAX	 5 /* by when some 3 s have passed (publisher.c, retry) */

/* ----------------------------------------------------------- acknowledgements */

/* Answers come in order but for failures: the first look nearly always finds it. */
static struct weir_pub_slot *find_sent(struct weir_publisher *p, const natsMsg *msg)
{
	for (uint64_t i = p->head; i != p->tail; i++) {
		struct weir_pub_slot *s = &p->window[i & WEIR_PUBLISHER_MASK];

		if (s->state == WEIR_PUB_SENT && s->msg == msg)
			return s;
	}
	return NULL;
}

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* With the lock held. */
static void move_head(struct weir_publisher *p)
{
	while (p->head != p->tail) {
		const struct weir_pub_slot *s = &p->window[p->head & WEIR_PUBLISHER_MASK];
		struct weir_pub_lane *l = &p->lanes[s->stream];

		if (s->state != WEIR_PUB_DONE)
			break;
		if (s->seq)
			p->status.seq = s->seq;
		l->highest = max(l->highest, s->stream_seq);
		p->head++;
	}
}

static uint64_t *acked_of(struct weir_publisher *p, enum weir_stream stream)
{
	switch (stream) {
	case WEIR_STREAM_METER:
		return &p->status.acked;
	case WEIR_STREAM_DENY:
		return &p->status.denied;
	case WEIR_STREAM_ALERT:
		return &p->status.alerts;
	default:
		return &p->status.entries;
	}
}

/* With the lock held. */
static void acked(struct weir_publisher *p, struct weir_pub_slot *s, const jsPubAck *pa)
{
	struct weir_pub_lane *l = &p->lanes[s->stream];

	s->state = WEIR_PUB_DONE;
	s->msg = NULL;
	s->stream_seq = pa->Sequence;
	/* New, and has a number that was given before. */
	if (s->seq && !pa->Duplicate && pa->Sequence <= s->after)
		p->suspect = true;
	l->top = max(l->top, pa->Sequence);
	++*acked_of(p, s->stream);
	if (s->ended_ns && p->view->lags)
		weir_lag_note(&p->view->lags->published, s->ended_ns, weir_wall_ns());
}

/* What the server says by itself is over soon, or nobody answers: not what it refuses. */
static bool is_unavailable(const jsPubAckErr *e)
{
	return !e || e->Err == NATS_NO_RESPONDERS || e->Err == NATS_TIMEOUT ||
	       e->ErrCode == JSClusterNotAvailErr || e->ErrCode == JSClusterNoPeersErr;
}

/* With the lock held. */
static void failed(struct weir_publisher *p, struct weir_pub_slot *s, const jsPubAckErr *e)
{
	if (s->stream == WEIR_STREAM_DENY) {
		weir_pub_hold_denial(p, s, !is_unavailable(e));
		return;
	}
	s->state = WEIR_PUB_FAILED;
	s->definite = !is_unavailable(e);
	if (e && e->ErrCode == JSStreamMessageExceedsMaximumErr)
		p->too_large[s->stream] = s->seq;
	p->status.retried++;
	if (p->n_failed++)
		return;
	snprintf(p->failure, sizeof(p->failure), "%s: %s", weir_stream_name(s->stream),
		 !e			     ? "no answer"
		 : e->ErrText && *e->ErrText ? e->ErrText
					     : natsStatus_GetText(e->Err));
}

static void on_ack(jsCtx *js, natsMsg *msg, jsPubAck *pa, jsPubAckErr *pae, void *closure)
{
	struct weir_publisher *p = closure;
	struct weir_pub_slot *s;
	uint64_t before;

	pthread_mutex_lock(&p->lock);
	before = p->tail - p->head;
	s = find_sent(p, msg);
	if (s)
		p->n_sent--;
	if (s && pa) {
		acked(p, s, pa);
	} else if (s) {
		failed(p, s, pae);
		msg = NULL; /* kept: a refusal is sent again */
	}
	move_head(p);
	/* Wake the thread for room worth having, not for every ack. */
	if (p->n_failed || p->suspect || p->head == p->tail ||
	    (before > WEIR_PUBLISHER_WINDOW / 2 &&
	     p->tail - p->head <= WEIR_PUBLISHER_WINDOW / 2)) {
		p->woken = true;
		pthread_cond_signal(&p->cond);
	}
	pthread_mutex_unlock(&p->lock);
	natsMsg_Destroy(msg);
}

/* Hand a message to the library. The slot is SENT, in the window and counted; msg is taken. */
static void send_slot(struct weir_publisher *p, struct weir_pub_slot *s, natsMsg *msg)
{
	jsPubOptions o;
	natsStatus st;

	jsPubOptions_Init(&o);
	o.MaxWait = WEIR_PUBLISHER_ACK_MS;
	o.MsgId = s->id;
	o.ExpectStream = weir_stream_name(s->stream);
	st = js_PublishMsgAsync(p->js, &msg, &o);
	if (st == NATS_OK)
		return;
	pthread_mutex_lock(&p->lock);
	/* Not taken, so no answer will come: the slot is still as it was left. */
	s->msg = msg;
	p->n_sent--;
	failed(p, s, &(jsPubAckErr){ .Err = st });
	s->definite = false;
	move_head(p);
	pthread_mutex_unlock(&p->lock);
}

/* With the lock held: a new slot at the window's end. */
static struct weir_pub_slot *add_slot(struct weir_publisher *p, enum weir_stream stream,
				      uint64_t seq)
{
	const struct weir_pub_lane *l = &p->lanes[stream];
	struct weir_pub_slot *s = &p->window[p->tail++ & WEIR_PUBLISHER_MASK];

	*s = (struct weir_pub_slot){
		.stream = stream,
		.seq = seq,
		.from = l->known && seq > l->until ? l->top : l->from,
		.after = l->top,
	};
	return s;
}

void weir_pub_push_message(struct weir_publisher *p, enum weir_stream stream, natsMsg *msg,
			   uint64_t seq, uint64_t ended_ns, const char *id)
{
	struct weir_pub_slot *s;

	pthread_mutex_lock(&p->lock);
	s = add_slot(p, stream, seq);
	s->state = WEIR_PUB_SENT;
	s->msg = msg;
	s->ended_ns = ended_ns;
	snprintf(s->id, sizeof(s->id), "%s", id);
	p->n_sent++;
	pthread_mutex_unlock(&p->lock);
	send_slot(p, s, msg);
}

int weir_pub_push(struct weir_publisher *p, enum weir_stream stream, uint64_t seq,
		  uint64_t ended_ns, const char *id, const char *subject)
{
	natsMsg *msg = NULL;

	if (natsMsg_Create(&msg, subject, NULL, p->text.p, (int)p->text.len) != NATS_OK)
		return -ENOMEM;
	weir_pub_push_message(p, stream, msg, seq, ended_ns, id);
	return 0;
}

void weir_pub_pass(struct weir_publisher *p, enum weir_stream stream, uint64_t seq,
		   uint64_t stream_seq)
{
	struct weir_pub_slot *s;

	pthread_mutex_lock(&p->lock);
	s = add_slot(p, stream, seq);
	s->state = WEIR_PUB_DONE;
	s->stream_seq = stream_seq;
	move_head(p);
	pthread_mutex_unlock(&p->lock);
}

size_t weir_pub_room(struct weir_publisher *p)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->n_failed || p->suspect || !p->resumed ? 0
						     : WEIR_PUBLISHER_WINDOW - (p->tail - p->head);
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* -------------------------------------------------------------------- connection */

static natsStatus open_connection(struct weir_publisher *p, char why[static WEIR_NATS_WHY])
{
	natsStatus s = weir_nats_connect(p->nats, "weir-agent", &p->nc, why, WEIR_NATS_WHY);
	jsOptions jo;

	jsOptions_Init(&jo);
	jo.PublishAsync.MaxPending = 2 * WEIR_PUBLISHER_WINDOW;
	jo.PublishAsync.AckHandler = on_ack;
	jo.PublishAsync.AckHandlerClosure = p;
	if (s == NATS_OK) {
		s = natsConnection_JetStream(&p->js, p->nc, &jo);
		if (s != NATS_OK)
			snprintf(why, WEIR_NATS_WHY, "%s: %s", p->where, natsStatus_GetText(s));
	}
	return s;
}

/* Take back what the connection left unanswered, rather than wait for its
 * time-out. Answers already on their way are discarded by the library; the stream
 * knows those events by id. */
static void take_back(struct weir_publisher *p)
{
	natsMsgList pending = { 0 };
	size_t sent;

	pthread_mutex_lock(&p->lock);
	sent = p->n_sent;
	pthread_mutex_unlock(&p->lock);
	/* libnats 3.4.1 follows a NULL pointer where nothing was ever published. */
	if (!sent || js_PublishAsyncGetPendingList(&pending, p->js) != NATS_OK)
		return;
	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < pending.Count; i++) {
		struct weir_pub_slot *s = find_sent(p, pending.Msgs[i]);

		if (!s)
			continue;
		s->state = WEIR_PUB_FAILED;
		pending.Msgs[i] = NULL; /* the slot's now */
		p->n_sent--;
		p->n_failed++;
		p->status.retried++;
	}
	snprintf(p->failure, sizeof(p->failure), "the connection was lost");
	pthread_mutex_unlock(&p->lock);
	natsMsgList_Destroy(&pending);
}

void weir_pub_disconnect(struct weir_publisher *p)
{
	if (p->js)
		take_back(p);
	jsCtx_Destroy(p->js);
	natsConnection_Destroy(p->nc);
	p->js = NULL;
	p->nc = NULL;
	memset(p->ready, 0, sizeof(p->ready));
	memset(p->unready_ns, 0, sizeof(p->unready_ns));
	p->check_at_ns = 0;
	p->retry_at_ns = 0;
	p->resumed = false;
}

bool weir_pub_connected(struct weir_publisher *p, uint64_t now_ns)
{
	char why[WEIR_NATS_WHY];
	natsStatus s;

	if (p->nc && natsConnection_Status(p->nc) == NATS_CONN_STATUS_CONNECTED)
		return true;
	if (p->nc) {
		weir_log(WEIR_WARN, "nats: connection to %s lost, trying again", p->where);
		weir_pub_disconnect(p);
	}
	if (now_ns < p->connect_at_ns)
		return false;
	s = open_connection(p, why);
	if (s == NATS_OK) {
		weir_log(WEIR_NOTE, "nats: connected to %s", p->where);
		p->unreachable[0] = 0;
		return true;
	}
	weir_pub_disconnect(p);
	if (strcmp(p->unreachable, why))
		weir_log(WEIR_WARN, "nats: %s; trying again for ever, events wait in the ledger",
			 why);
	memcpy(p->unreachable, why, sizeof(p->unreachable));
	p->connect_at_ns = weir_mono_ns() + CONNECT_AGAIN_NS;
	return false;
}

void weir_pub_rewind(struct weir_publisher *p)
{
	bool given_up = weir_pub_given_up(p, WEIR_STREAM_DENY);
	uint64_t to = p->head;
	size_t n = 0;

	/* Nothing is unanswered, and only this thread adds and sends. */
	pthread_mutex_lock(&p->lock);
	for (uint64_t i = p->head; i != p->tail; i++) {
		struct weir_pub_slot *s = &p->window[i & WEIR_PUBLISHER_MASK];

		if (s->state != WEIR_PUB_FAILED)
			continue;
		if (s->seq || given_up) {
			natsMsg_Destroy(s->msg);
			p->status.skipped += !s->seq;
			continue;
		}
		s->state = WEIR_PUB_SENT;
		p->n_sent++;
		p->window[to++ & WEIR_PUBLISHER_MASK] = *s;
		n++;
	}
	p->tail = to;
	p->n_failed = 0;
	p->suspect = false;
	pthread_mutex_unlock(&p->lock);
	for (to -= n; n; n--, to++) {
		struct weir_pub_slot *s = &p->window[to & WEIR_PUBLISHER_MASK];

		send_slot(p, s, s->msg);
	}
}

void weir_pub_discard(struct weir_publisher *p)
{
	pthread_mutex_lock(&p->lock);
	for (; p->head != p->tail; p->head++) {
		struct weir_pub_slot *s = &p->window[p->head & WEIR_PUBLISHER_MASK];

		if (s->state == WEIR_PUB_FAILED)
			natsMsg_Destroy(s->msg);
	}
	p->n_failed = 0;
	pthread_mutex_unlock(&p->lock);
}
