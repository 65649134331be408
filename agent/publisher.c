/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The publisher's thread. It keeps a window of events in flight, in ledger
 * order. When anything is amiss (a new connection, no ack within 3 s, an error)
 * it sends nothing until all is answered; then the lane is read and all goes on
 * behind the cursor with what is not there (publisher_lane.h): later events get
 * ahead of an earlier one only where the server itself took them so.
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

#include "ledger_read.h"
#include "nats_connect.h"
#include "publisher_window.h"
#include "rederive.h"

#define NICE	     10 /* about a tenth of a contended core */
#define RETRY_MIN_NS UINT64_C(100000000)
#define RETRY_MAX_NS UINT64_C(5000000000)

/* ----------------------------------------------------------------------- trying again */

/* Something was not taken, or numbers went back: once all is answered, all begins anew. Slower
 * and slower while nothing at all gets through. */
static void note_failure(struct weir_publisher *p, uint64_t now_ns)
{
	uint64_t acked;
	size_t failed;
	bool amiss, suspect;
	char why[sizeof(p->failure)];

	pthread_mutex_lock(&p->lock);
	failed = p->n_failed;
	suspect = p->suspect;
	amiss = (failed || suspect) && !p->n_sent;
	acked = p->status.acked + p->status.denied + p->status.alerts + p->status.entries;
	memcpy(why, p->failure, sizeof(why));
	pthread_mutex_unlock(&p->lock);
	if (!amiss || !p->resumed)
		return;
	weir_pub_note_refusal(p, now_ns);
	if (acked != p->acked_at_retry || !p->retry_ns)
		p->retry_ns = RETRY_MIN_NS;
	else if (p->retry_ns < RETRY_MAX_NS)
		p->retry_ns *= 2;
	p->acked_at_retry = acked;
	p->retry_at_ns = now_ns + p->retry_ns;
	memset(p->ready, 0, sizeof(p->ready));
	p->check_at_ns = 0;
	p->resumed = false;
	if (suspect)
		weir_log(WEIR_WARN,
			 "nats: a stream gave an event a number that another had: it has "
			 "lost some; looking at what it has");
	else
		weir_log(WEIR_WARN, "nats: %zu events were not taken (%s); sending them again",
			 failed, why);
}

/* Rule 21: what a restored database lacks is entered first. Once in a run. */
static bool rederived(struct weir_publisher *p)
{
	struct weir_error err = { "" };
	int r;

	if (p->rederived)
		return true;
	r = weir_rederive(p->js, p->node, p->view, p->reader, &err);
	if (!r)
		r = weir_pub_load_cursors(p, &err);
	p->rederived = !r;
	if (r) {
		snprintf(p->ledger_problem, sizeof(p->ledger_problem), "%.200s; trying again",
			 err.text[0] ? err.text : strerror(-r));
		p->retry_at_ns = weir_mono_ns() + RETRY_MAX_NS;
	}
	return p->rederived;
}

/* True: what there is may be sent. */
static bool go_on(struct weir_publisher *p, uint64_t now_ns)
{
	size_t sent;

	if (p->resumed)
		return true;
	pthread_mutex_lock(&p->lock);
	sent = p->n_sent;
	pthread_mutex_unlock(&p->lock);
	if (sent || now_ns < p->retry_at_ns || !p->ready[WEIR_STREAM_METER])
		return false;
	if (!rederived(p) || !weir_pub_resume(p))
		return false;
	p->retry_at_ns = 0;
	weir_pub_rewind(p);
	p->resumed = true;
	p->look_at_ns = 0;
	weir_pub_mark_anew(p);
	return true;
}

/* ------------------------------------------------------------------------ thread */

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
		if (connected && weir_pub_move(p, now_ns))
			connected = false;
		if (connected) {
			weir_pub_look(p, now_ns);
			weir_pub_check_streams(p, now_ns);
			note_failure(p, now_ns);
			if (go_on(p, now_ns)) {
				weir_pub_denials(p, now_ns, stopping);
				weir_pub_ledger(p);
			}
		}
		weir_pub_store_cursors(p, now_ns, false);
		weir_pub_update_status(p, connected);
		if (finished(p, now_ns))
			break;
		wait_for_work(p, stopping ? 10 : connected ? 250 : 100);
	}
	weir_pub_store_cursors(p, weir_mono_ns(), true);
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
		r = weir_pub_load_cursors(p, err);
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
	weir_pub_drop_denials(p);
	weir_pub_lanes_free(p);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
