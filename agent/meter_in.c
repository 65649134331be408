// SPDX-License-Identifier: Apache-2.0
/*
 * The thread that takes reported usage from NATS. It asks for a batch, enters it in one
 * commit through the writer, and answers each: acknowledged (it is durable), terminated
 * (it is wrong, and that is published), or put back with a delay (the ledger cannot take
 * it now). What it leaves unanswered the server gives out again.
 */
#include "meter_in_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "ledger_read.h"
#include "publisher_stream.h"

#define NICE		 10 /* as the publisher's */
#define FEW		 8
#define MUCH_BYTES	 (1 << 20)
#define FETCH_MS	 500 /* it stops within this, too */
#define CONNECT_AGAIN_NS UINT64_C(300000000)
#define CHECK_EVERY_NS	 (5 * WEIR_SECOND)
#define CHECK_AGAIN_NS	 WEIR_SECOND

bool weir_meter_stopping(struct weir_meter_in *m)
{
	bool stop;

	pthread_mutex_lock(&m->lock);
	stop = m->stop;
	pthread_mutex_unlock(&m->lock);
	return stop;
}

void weir_meter_pause(struct weir_meter_in *m, uint64_t ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	ns += (uint64_t)t.tv_nsec;
	t.tv_sec += (time_t)(ns / WEIR_SECOND);
	t.tv_nsec = (long)(ns % WEIR_SECOND);
	pthread_mutex_lock(&m->lock);
	while (!m->stop && !pthread_cond_timedwait(&m->cond, &m->lock, &t))
		;
	pthread_mutex_unlock(&m->lock);
}

/* ------------------------------------------------------------------- connection */

static void disconnect(struct weir_meter_in *m)
{
	natsSubscription_Destroy(m->sub);
	jsCtx_Destroy(m->js);
	natsConnection_Destroy(m->nc);
	m->sub = NULL;
	m->js = NULL;
	m->nc = NULL;
	m->check_at_ns = 0;
}

static bool connected(struct weir_meter_in *m)
{
	natsStatus s;

	if (m->nc && natsConnection_Status(m->nc) == NATS_CONN_STATUS_CONNECTED)
		return true;
	disconnect(m);
	s = weir_nats_connect(m->nats, "weir-agent usage", &m->nc, m->unreachable,
			      sizeof(m->unreachable));
	if (s != NATS_OK) {
		disconnect(m);
		return false;
	}
	s = natsConnection_JetStream(&m->js, m->nc, NULL);
	if (s != NATS_OK)
		snprintf(m->unreachable, sizeof(m->unreachable), "%s: %s", m->where,
			 natsStatus_GetText(s));
	return s == NATS_OK;
}

static bool subscribe(struct weir_meter_in *m)
{
	jsSubOptions o;
	jsErrCode code = 0;
	natsStatus s;

	jsSubOptions_Init(&o);
	o.Stream = weir_stream_name(WEIR_STREAM_USAGE);
	o.Consumer = m->queue.name;
	s = js_PullSubscribe(&m->sub, m->js, NULL, NULL, NULL, &o, &code);
	if (s == NATS_OK)
		return true;
	m->sub = NULL;
	snprintf(m->problem, sizeof(m->problem),
		 "nats: cannot take from consumer %s of USAGE: %s (JetStream error %d); trying "
		 "again",
		 m->queue.name, natsStatus_GetText(s), (int)code);
	return false;
}

static bool streams_ready(struct weir_meter_in *m)
{
	char before[sizeof(m->stream_problem)];

	memcpy(before, m->stream_problem, sizeof(before));
	m->stream_problem[0] = '\0';
	if (weir_stream_look(m->js, WEIR_STREAM_USAGE_REFUSED, m->nats->replicas, m->problem,
			     sizeof(m->problem)) != WEIR_STREAM_READY ||
	    weir_stream_look(m->js, WEIR_STREAM_USAGE, m->nats->replicas, m->problem,
			     sizeof(m->problem)) != WEIR_STREAM_READY)
		return false;
	memcpy(m->stream_problem, m->problem, sizeof(m->problem));
	if (m->stream_problem[0] && strcmp(before, m->stream_problem))
		weir_log(WEIR_WARN, "%s", m->stream_problem);
	return true;
}

/* The streams once per subscription, the consumer now and then: its owner may have changed. */
static bool check(struct weir_meter_in *m)
{
	char before[sizeof(m->problem)];
	uint64_t now_ns = weir_mono_ns();
	bool ok;

	if (now_ns < m->check_at_ns)
		return m->sub;
	memcpy(before, m->problem, sizeof(before));
	ok = m->sub || streams_ready(m);
	ok = ok &&
	     weir_meter_queue_ready(m->js, &m->queue, &m->waiting, m->problem, sizeof(m->problem));
	ok = ok && (m->sub || subscribe(m));
	if (!ok) {
		natsSubscription_Destroy(m->sub);
		m->sub = NULL;
	}
	if (m->problem[0] && strcmp(before, m->problem))
		weir_log(WEIR_WARN, "%s", m->problem);
	m->check_at_ns = weir_mono_ns() + (ok ? CHECK_EVERY_NS : CHECK_AGAIN_NS);
	return ok;
}

static void update_status(struct weir_meter_in *m)
{
	struct weir_meter_in_status *s = &m->status;

	pthread_mutex_lock(&m->lock);
	s->ready = m->sub;
	s->waiting = m->waiting;
	if (!m->nc)
		snprintf(s->warning, sizeof(s->warning),
			 "NATS: %s; reported usage waits there, trying again for ever",
			 m->unreachable[0] ? m->unreachable : m->where);
	else
		snprintf(s->warning, sizeof(s->warning), "%s",
			 m->problem[0]	 ? m->problem
			 : m->trouble[0] ? m->trouble
					 : m->stream_problem);
	pthread_mutex_unlock(&m->lock);
}

/* ----------------------------------------------------------------------- thread */

/* Who reports may send messages as large as the server takes, which are refused, but are in memory
 * first: after such few are asked for at a time, and more again from there. (A fetch can be given a
 * limit of bytes, but then nats-server never gives out what is larger.) */
static void choose_batch(struct weir_meter_in *m, const natsMsgList *list)
{
	size_t bytes = 0;

	for (int i = 0; i < list->Count; i++)
		bytes += (size_t)natsMsg_GetDataLength(list->Msgs[i]);
	if (bytes > MUCH_BYTES)
		m->ask_for = FEW;
	else if (m->ask_for < WEIR_METER_BATCH)
		m->ask_for *= 2;
}

static void fetch(struct weir_meter_in *m)
{
	natsMsgList list = { 0 };
	jsErrCode code = 0;
	natsStatus s = natsSubscription_Fetch(&list, m->sub, m->ask_for, FETCH_MS, &code);

	if (s == NATS_OK) {
		m->waiting -= m->waiting < (uint64_t)list.Count ? m->waiting : (uint64_t)list.Count;
		choose_batch(m, &list);
		weir_meter_take(m, &list);
		natsMsgList_Destroy(&list);
	} else if (s != NATS_TIMEOUT) {
		/* The consumer may be gone: look. */
		natsSubscription_Destroy(m->sub);
		m->sub = NULL;
		m->check_at_ns = 0;
		weir_meter_pause(m, CONNECT_AGAIN_NS);
	}
}

static void *run(void *arg)
{
	struct weir_meter_in *m = arg;

	/* As the publisher: the library's threads are started from here and inherit it. */
	if (setpriority(PRIO_PROCESS, gettid(), NICE))
		weir_log(WEIR_WARN, "usage over NATS: cannot lower its priority: %s",
			 strerror(errno));
	while (!weir_meter_stopping(m)) {
		bool ready = connected(m) && check(m);

		update_status(m);
		if (ready)
			fetch(m);
		else
			weir_meter_pause(m, CONNECT_AGAIN_NS);
	}
	/* Answers that are on their way. */
	if (m->nc)
		natsConnection_FlushTimeout(m->nc, 1000);
	disconnect(m);
	return NULL;
}

static int read_ledger_id(struct weir_meter_in *m, struct weir_error *err)
{
	struct weir_reader *r;
	int ret = weir_reader_open(m->view->db_path, &r, err);

	if (ret)
		return ret;
	snprintf(m->ledger_id, sizeof(m->ledger_id), "%s", weir_reader_ledger_id(r));
	weir_reader_close(r);
	return 0;
}

static void free_it(struct weir_meter_in *m)
{
	weir_text_free(&m->text);
	free(m->batch);
	pthread_cond_destroy(&m->cond);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

int weir_meter_in_start(const struct weir_nats_config *c, const char *node,
			const struct weir_agent_view *view, struct weir_meter_in **out,
			struct weir_error *err)
{
	struct weir_meter_in *m = calloc(1, sizeof(*m));
	pthread_condattr_t ca;
	int r;

	if (m)
		m->batch = malloc(sizeof(*m->batch));
	if (!m || !m->batch) {
		free(m);
		return weir_fail(err, ENOMEM, "nats: out of memory");
	}
	m->view = view;
	m->ask_for = FEW;
	snprintf(m->node, sizeof(m->node), "%s", node);
	m->nats = c;
	weir_nats_where(c->url, m->where, sizeof(m->where));
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&m->cond, &ca);
	pthread_condattr_destroy(&ca);
	r = read_ledger_id(m, err);
	m->queue.subject = c->usage_subject;
	snprintf(m->queue.name, sizeof(m->queue.name), "weir-%s", m->node);
	snprintf(m->queue.owner, sizeof(m->queue.owner), "Weir: usage for ledger %s", m->ledger_id);
	if (!r) {
		r = -pthread_create(&m->thread, NULL, run, m);
		if (r)
			weir_fail(err, -r, "nats: cannot start a thread: %s", strerror(-r));
	}
	if (r) {
		free_it(m);
		return r;
	}
	*out = m;
	return 0;
}

void weir_meter_in_status(struct weir_meter_in *m, struct weir_meter_in_status *out)
{
	pthread_mutex_lock(&m->lock);
	*out = m->status;
	pthread_mutex_unlock(&m->lock);
}

void weir_meter_in_stop(struct weir_meter_in *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_signal(&m->cond);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->thread, NULL);
	free_it(m);
}
