/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The publisher's thread. It keeps a window of events in flight, in ledger
 * order. When one fails (no ack within 3 s, an error, a new connection) it
 * sends nothing new until all the others are answered, then sends the failed
 * ones again, in order: later events get ahead of an earlier one only where
 * the server itself took them so. The cursor follows the window's end and is
 * stored about once a second, so a crash repeats a second of events at most;
 * the stream knows them by id.
 */
#include "publisher.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "denials.h"
#include "entry_out.h"
#include "event.h"
#include "ledger_read.h"
#include "nats_connect.h"
#include "publisher_stream.h"
#include "publisher_window.h"
#include "reason.h"
#include "writer.h"

#define NICE		 10 /* about a tenth of a contended core */
#define CURSOR		 "nats"
#define CURSOR_EVERY_NS	 UINT64_C(1000000000)
#define RETRY_MIN_NS	 UINT64_C(100000000)
#define RETRY_MAX_NS	 UINT64_C(5000000000)
#define DENIALS_EVERY_NS UINT64_C(250000000)
#define SKIP_LOG_NS	 (10 * WEIR_SECOND)
#define NOBODY		 "~nobody" /* no tenant can be called so */

/* --------------------------------------------------------------- ledger entries */

static struct weir_event_origin origin(struct weir_publisher *p)
{
	return (struct weir_event_origin){
		.ledger_id = weir_reader_ledger_id(p->reader),
		.node = p->node,
	};
}

static enum weir_stream stream_of(const struct weir_entry *e)
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

static void pass(struct weir_publisher *p, const struct weir_entry *e, bool skipped)
{
	weir_pub_pass(p, e->seq);
	p->next_seq = e->seq + 1;
	if (!skipped)
		return;
	pthread_mutex_lock(&p->lock);
	p->status.skipped++;
	pthread_mutex_unlock(&p->lock);
	if (p->skip_logged_ns && weir_mono_ns() - p->skip_logged_ns < SKIP_LOG_NS)
		return;
	p->skip_logged_ns = weir_mono_ns();
	weir_log(WEIR_WARN,
		 "nats: ledger entry %" PRIu64 " is not published (as others since the last such "
		 "message may not be): %s",
		 e->seq,
		 p->problem[stream_of(e)][0] ? p->problem[stream_of(e)] : "its stream refuses it");
}

static int push_entry(struct weir_publisher *p, const struct weir_entry *e, enum weir_stream stream)
{
	struct weir_event_origin o;
	char id[WEIR_PUB_ID_TEXT], subject[WEIR_EVENT_SUBJECT];
	struct weir_error err = { "" };
	int r = weir_event_origin_of(p->reader, e, p->node, &o, &err);

	if (!r)
		r = weir_event_json(e, &o, weir_reader_card(p->reader, weir_entry_card_id(e)),
				    &p->text);
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

static int publish_entry(const struct weir_entry *e, void *ctx)
{
	struct weir_publisher *p = ctx;
	const char *topic = weir_event_topic(e);
	enum weir_stream stream = stream_of(e);

	if (!weir_pub_room(p))
		return 1;
	if (!topic || weir_pub_given_up(p, stream)) {
		pass(p, e, topic);
		return 0;
	}
	return p->ready[stream] ? push_entry(p, e, stream) : 1;
}

static void publish_ledger(struct weir_publisher *p)
{
	for (;;) {
		struct weir_entry_query q = { .from_seq = p->next_seq, .limit = weir_pub_room(p) };
		struct weir_error err = { "" };
		uint64_t before = p->next_seq;
		int r;

		if (!q.limit || !p->ready[WEIR_STREAM_METER])
			return;
		r = weir_reader_entries(p->reader, &q, publish_entry, p, &err);
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

/* --------------------------------------------------------------------- refusals */

static int push_denial(struct weir_publisher *p, const struct weir_denial_sum *s)
{
	char name[WEIR_ENTRY_NAME_BYTES] = NOBODY, limit_of[WEIR_ENTRY_NAME_BYTES];
	char subject[256], id[WEIR_EVENT_ID_TEXT];
	struct weir_event_origin o = origin(p);
	struct weir_denied d = {
		.tenant = name,
		.reason = weir_reason_name(s->reason),
		.limit = s->limit,
		.limit_is_nano = weir_reason_is_money(s->reason),
		.count = s->count,
		.first_wall_ns = s->first_wall_ns,
		.last_wall_ns = s->last_wall_ns,
		.shadow = s->shadow,
	};
	int r;

	if (s->tenant != WEIR_NO_TENANT && p->view->tenant_name(p->view->ctx, s->tenant, name))
		snprintf(name, sizeof(name), "~%u", s->tenant);
	if (s->level && !p->view->tenant_name(p->view->ctx, s->level, limit_of))
		d.limit_of = limit_of;
	r = weir_event_denied_json(&d, &o, &p->text, id);
	if (r)
		return r;
	snprintf(subject, sizeof(subject), "deny.v1.%s.%s", name, p->node);
	return weir_pub_push(p, WEIR_STREAM_DENY, 0, 0, id, subject);
}

static void publish_denials(struct weir_publisher *p, uint64_t now_ns, bool all)
{
	struct weir_denial_sum sums[64];
	size_t n;

	if (!p->ready[WEIR_STREAM_DENY] || weir_pub_given_up(p, WEIR_STREAM_DENY) ||
	    (!all && now_ns < p->denials_at_ns))
		return;
	p->denials_at_ns = now_ns + DENIALS_EVERY_NS;
	do {
		size_t max = weir_pub_room(p);

		/* Half of the window stays for what is billed. */
		max = max > WEIR_PUBLISHER_WINDOW / 2 ? max - WEIR_PUBLISHER_WINDOW / 2 : 0;
		n = weir_denials_take(p->view->denials, all ? 0 : weir_wall_ns(),
				      p->view->denial_counts, p->view->ctx, sums,
				      max < 64 ? max : 64);
		for (size_t i = 0; i < n; i++)
			push_denial(p, &sums[i]);
	} while (n == 64);
}

/* ----------------------------------------------------------------------- trying again */

/* All are answered and some failed: look at the streams again, then send those
 * in order. Slower and slower while nothing at all gets through. */
static void retry(struct weir_publisher *p, uint64_t now_ns)
{
	uint64_t acked;
	size_t failed, sent;
	char why[sizeof(p->failure)];

	pthread_mutex_lock(&p->lock);
	failed = p->n_failed;
	sent = p->n_sent;
	acked = p->status.acked + p->status.denied + p->status.alerts + p->status.entries;
	memcpy(why, p->failure, sizeof(why));
	pthread_mutex_unlock(&p->lock);
	if (!failed || sent)
		return;
	if (!p->retry_at_ns) {
		if (acked != p->acked_at_retry || !p->retry_ns)
			p->retry_ns = RETRY_MIN_NS;
		else if (p->retry_ns < RETRY_MAX_NS)
			p->retry_ns *= 2;
		p->acked_at_retry = acked;
		p->retry_at_ns = now_ns + p->retry_ns;
		memset(p->ready, 0, sizeof(p->ready));
		p->check_at_ns = 0;
		weir_log(WEIR_WARN, "nats: %zu events were not taken (%s); sending them again",
			 failed, why);
		return;
	}
	if (now_ns < p->retry_at_ns || !p->ready[WEIR_STREAM_METER])
		return;
	p->retry_at_ns = 0;
	weir_pub_resend(p);
}

/* ------------------------------------------------------------------------ thread */

static int store_cursor_call(struct weir_ledger *l, void *arg)
{
	struct weir_error err = { "" };

	return weir_ledger_cursor_set(l, CURSOR, *(uint64_t *)arg, &err);
}

/* A commit of its own, so not for every event. A failure is not an error: the
 * writer reports its health itself, and the cursor is stored the next time. */
static void store_cursor(struct weir_publisher *p, uint64_t now_ns, bool at_once)
{
	uint64_t seq;

	pthread_mutex_lock(&p->lock);
	seq = p->status.seq;
	pthread_mutex_unlock(&p->lock);
	if (seq == p->stored_seq || (!at_once && now_ns < p->stored_at_ns + CURSOR_EVERY_NS))
		return;
	p->stored_at_ns = now_ns;
	if (!weir_writer_call(p->view->writer, store_cursor_call, &seq))
		p->stored_seq = seq;
}

static void update_status(struct weir_publisher *p, bool connected)
{
	struct weir_error err = { "" };
	uint64_t newest = 0;
	int r = weir_reader_newest(p->reader, &newest, &err);

	pthread_mutex_lock(&p->lock);
	p->status.connected = connected;
	p->status.stream_ok = connected && p->ready[WEIR_STREAM_METER];
	if (!r) {
		p->newest_seq = newest;
		p->status.backlog = newest > p->status.seq ? newest - p->status.seq : 0;
	}
	if (!connected)
		snprintf(p->status.warning, sizeof(p->status.warning),
			 "NATS: %s; %" PRIu64 " events wait in the ledger, trying again for ever",
			 p->unreachable[0] ? p->unreachable : p->where, p->status.backlog);
	else if (weir_pub_stream_problem(p)[0])
		snprintf(p->status.warning, sizeof(p->status.warning), "%s",
			 weir_pub_stream_problem(p));
	else if (p->n_failed)
		snprintf(p->status.warning, sizeof(p->status.warning),
			 "nats: %zu events were not taken (%s); sending them again", p->n_failed,
			 p->failure);
	else
		snprintf(p->status.warning, sizeof(p->status.warning), "%s", p->ledger_problem);
	pthread_mutex_unlock(&p->lock);
}

static void wait_for_work(struct weir_publisher *p, unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += (long)ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_mutex_lock(&p->lock);
	if (!p->woken && !p->stop)
		pthread_cond_timedwait(&p->cond, &p->lock, &t);
	p->woken = false;
	pthread_mutex_unlock(&p->lock);
}

/* Stopping: done when all is published and answered, or when time is up. */
static bool finished(struct weir_publisher *p, uint64_t now_ns)
{
	bool done;

	pthread_mutex_lock(&p->lock);
	done = p->stop && (now_ns >= p->stop_by_ns || !p->status.connected ||
			   (p->head == p->tail && !p->status.backlog));
	pthread_mutex_unlock(&p->lock);
	return done;
}

static void *run(void *arg)
{
	struct weir_publisher *p = arg;

	/* The cores belong to the model server, and the ledger keeps what waits. Not
	 * SCHED_IDLE: on a node that is never idle events would never go out. The
	 * library's threads are started from here and inherit it. */
	if (setpriority(PRIO_PROCESS, gettid(), NICE))
		weir_log(WEIR_WARN, "publisher: cannot lower its priority: %s", strerror(errno));
	for (;;) {
		uint64_t now_ns = weir_mono_ns();
		bool connected = weir_pub_connected(p, now_ns);
		bool stopping;

		pthread_mutex_lock(&p->lock);
		stopping = p->stop;
		pthread_mutex_unlock(&p->lock);
		if (connected) {
			weir_pub_check_streams(p, now_ns);
			retry(p, now_ns);
			publish_denials(p, now_ns, stopping);
			publish_ledger(p);
		}
		store_cursor(p, now_ns, false);
		update_status(p, connected);
		if (finished(p, now_ns))
			break;
		wait_for_work(p, stopping ? 10 : connected ? 250 : 100);
	}
	store_cursor(p, 0, true);
	return NULL;
}

int weir_publisher_start(const struct weir_nats_config *nats, const char *node,
			 const struct weir_agent_view *view, struct weir_publisher **out,
			 struct weir_error *err)
{
	struct weir_publisher *p = calloc(1, sizeof(*p));
	pthread_condattr_t ca;
	int r;

	if (!p)
		return weir_fail(err, ENOMEM, "nats: out of memory");
	p->view = view;
	snprintf(p->node, sizeof(p->node), "%s", node);
	p->nats = nats;
	weir_nats_where(nats->url, p->where, sizeof(p->where));
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&p->cond, &ca);
	pthread_condattr_destroy(&ca);

	r = weir_reader_open(view->db_path, &p->reader, err);
	if (!r)
		r = weir_reader_cursor(p->reader, CURSOR, &p->status.seq, err);
	p->stored_seq = p->status.seq;
	p->next_seq = p->status.seq + 1;
	if (!r) {
		r = -pthread_create(&p->thread, NULL, run, p);
		if (r)
			weir_fail(err, -r, "nats: cannot start a thread: %s", strerror(-r));
	}
	if (r) {
		weir_reader_close(p->reader);
		free(p);
		return r;
	}
	*out = p;
	return 0;
}

void weir_publisher_wake(struct weir_publisher *p)
{
	pthread_mutex_lock(&p->lock);
	p->woken = true;
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

void weir_publisher_status(struct weir_publisher *p, struct weir_publisher_status *out)
{
	struct weir_writer_stats w;
	uint64_t newest;

	weir_writer_stats(p->view->writer, &w);
	pthread_mutex_lock(&p->lock);
	*out = p->status;
	newest = p->newest_seq;
	pthread_mutex_unlock(&p->lock);
	/* Not the thread's last look: what is committed counts at once. */
	if (w.newest_seq > newest)
		newest = w.newest_seq;
	out->backlog = newest > out->seq ? newest - out->seq : 0;
}

/* The library answers for every message within MaxWait; until it has, its
 * threads may touch p. */
static bool wait_for_answers(struct weir_publisher *p)
{
	uint64_t until = weir_mono_ns() + (WEIR_PUBLISHER_ACK_MS + 1000) * UINT64_C(1000000);
	size_t n;

	do {
		pthread_mutex_lock(&p->lock);
		n = p->n_sent;
		pthread_mutex_unlock(&p->lock);
		if (n)
			nats_Sleep(5);
	} while (n && weir_mono_ns() < until);
	return !n;
}

void weir_publisher_stop(struct weir_publisher *p, unsigned drain_ms)
{
	bool quiet;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	p->stop_by_ns = weir_mono_ns() + drain_ms * UINT64_C(1000000);
	pthread_cond_signal(&p->cond);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	weir_pub_disconnect(p);
	quiet = wait_for_answers(p);
	weir_reader_close(p->reader);
	weir_text_free(&p->text);
	if (!quiet)
		weir_log(WEIR_WARN, "nats: %zu answers never came; their memory is left behind",
			 p->n_sent);
	p->quiet = quiet;
}

void weir_publisher_free(struct weir_publisher *p)
{
	if (!p || !p->quiet)
		return;
	weir_pub_discard(p);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
