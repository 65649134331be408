// SPDX-License-Identifier: Apache-2.0
/*
 * The thread that takes reported usage from NATS. It asks for a batch, enters message by
 * message through the writer, and answers each: acknowledged (it is durable), terminated
 * (it is wrong, and that is published), or put back with a delay (the ledger cannot take
 * it now). What it leaves unanswered the server gives out again.
 */
#include "meter_in.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "event.h"
#include "ledger_read.h"
#include "meter.h"
#include "meter_message.h"
#include "meter_queue.h"
#include "nats_connect.h"
#include "publisher_stream.h"
#include "writer.h"

#define NICE		 10  /* as the publisher's */
#define BATCH		 32  /* entered well within the consumer's ACK_WAIT_NS */
#define FETCH_MS	 500 /* it stops within this, too */
#define LATER_MS	 1000
#define FAILED_MAX	 3
#define CONNECT_AGAIN_NS UINT64_C(300000000)
#define CHECK_EVERY_NS	 (5 * WEIR_SECOND)
#define CHECK_AGAIN_NS	 WEIR_SECOND
#define LOG_EVERY_NS	 (10 * WEIR_SECOND)
#define PUBLISH_MS	 3000

struct weir_meter_in {
	const struct weir_agent_view *view;
	const struct weir_nats_config *nats;
	char node[WEIR_NAME_BYTES], ledger_id[64];
	char where[WEIR_NATS_WHERE]; /* url without a user and password, for people */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond; /* CLOCK_MONOTONIC */
	bool stop;
	struct weir_meter_in_status status;

	/* the thread's own */
	natsConnection *nc; /* NULL: not connected */
	jsCtx *js;
	natsSubscription *sub; /* NULL: not ready */
	struct weir_meter_queue queue;
	struct weir_text text;
	char unreachable[WEIR_NATS_WHY]; /* why the last attempt to connect failed */
	char problem[256], trouble[256];
	char stream_problem[256]; /* one that it can live with */
	uint64_t check_at_ns, waiting;
	uint64_t logged_ns, not_logged; /* refusals */
};

static bool stopping(struct weir_meter_in *m)
{
	bool stop;

	pthread_mutex_lock(&m->lock);
	stop = m->stop;
	pthread_mutex_unlock(&m->lock);
	return stop;
}

/* Or until it is to stop. */
static void pause_ns(struct weir_meter_in *m, uint64_t ns)
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

static void count(struct weir_meter_in *m, uint64_t *n)
{
	pthread_mutex_lock(&m->lock);
	++*n;
	pthread_mutex_unlock(&m->lock);
}

/* --------------------------------------------------------------------- refusals */

static void tell_refusal(struct weir_meter_in *m, const char *tenant, const char *why)
{
	uint64_t now_ns = weir_mono_ns();
	char more[48] = "";

	pthread_mutex_lock(&m->lock);
	m->status.refused++;
	snprintf(m->status.refusal, sizeof(m->status.refusal), "%.64s: %.180s", tenant, why);
	pthread_mutex_unlock(&m->lock);
	if (m->logged_ns && now_ns - m->logged_ns < LOG_EVERY_NS) {
		m->not_logged++;
		return;
	}
	if (m->not_logged)
		snprintf(more, sizeof(more), "; %" PRIu64 " before it were, too", m->not_logged);
	weir_log(WEIR_WARN, "nats: usage of %s is refused: %s%s", tenant, why, more);
	m->logged_ns = now_ns;
	m->not_logged = 0;
}

/* Taken off the queue only once somebody can see why. */
static bool publish_refusal(struct weir_meter_in *m, natsMsg *msg, const jsMsgMetaData *at,
			    const char *tenant, const char *why)
{
	const struct weir_event_origin origin = { .ledger_id = m->ledger_id, .node = m->node };
	const struct weir_usage_refused u = {
		.tenant = tenant,
		.reason = why,
		.subject = natsMsg_GetSubject(msg),
		.message = natsMsg_GetData(msg),
		.message_len = (size_t)natsMsg_GetDataLength(msg),
		.stream_seq = at->Sequence.Stream,
		.received_wall_ns = (uint64_t)at->Timestamp,
	};
	char id[WEIR_EVENT_ID_TEXT], subject[192];
	jsPubOptions o;
	jsErrCode code = 0;
	natsStatus s;

	if (weir_event_usage_refused_json(&u, &origin, &m->text, id))
		return false;
	snprintf(subject, sizeof(subject), "usage_refused.v1.%s.%s", tenant, m->node);
	jsPubOptions_Init(&o);
	o.MsgId = id;
	o.MaxWait = PUBLISH_MS;
	o.ExpectStream = weir_stream_name(WEIR_STREAM_USAGE_REFUSED);
	s = js_Publish(NULL, m->js, subject, m->text.p, (int)m->text.len, &o, &code);
	if (s == NATS_OK)
		return true;
	snprintf(m->trouble, sizeof(m->trouble),
		 "nats: usage that is refused stays in the queue, for it cannot be published on "
		 "%.80s: "
		 "%.40s (JetStream error %d)",
		 subject, natsStatus_GetText(s), (int)code);
	return false;
}

/* --------------------------------------------------------------------- messages */

struct post {
	const struct weir_agent_view *view;
	struct weir_op op;
	struct weir_done done;
	struct weir_error *err;
};

static int call_post(struct weir_ledger *l, void *arg)
{
	struct post *p = arg;

	return p->view->post(p->view->ctx, l, &p->op, &p->done, p->err);
}

static int enter(struct weir_meter_in *m, natsMsg *msg, const jsMsgMetaData *at, bool *repeated,
		 struct weir_error *err)
{
	struct weir_meter_message message;
	struct post p = { .view = m->view, .err = err };
	int r = weir_meter_message_read(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg),
					natsMsg_GetSubject(msg), (uint64_t)at->Timestamp, &message,
					err);

	if (r)
		return r;
	r = weir_meter_op(m->view, &message.use, &p.op, err);
	weir_meter_message_clear(&message);
	if (!r)
		r = weir_writer_call(m->view->writer, call_post, &p);
	*repeated = p.done.repeated;
	return r;
}

/* Of an error: it would be the same the next time. */
static bool is_final(int r)
{
	return r == -EINVAL || r == -ENOENT || r == -ERANGE || r == -EEXIST || r == -ENODATA;
}

/* False: not now; m->trouble says why. */
static bool take(struct weir_meter_in *m, natsMsg *msg, const jsMsgMetaData *at)
{
	struct weir_error err = { "" };
	char tenant[WEIR_NAME_BYTES];
	bool repeated = false;
	int r = enter(m, msg, at, &repeated, &err);

	if (!r) {
		/* Were the answer lost, it would come again, and be known. */
		natsMsg_Ack(msg, NULL);
		count(m, repeated ? &m->status.repeated : &m->status.entered);
		return true;
	}
	if (!is_final(r)) {
		snprintf(m->trouble, sizeof(m->trouble),
			 "nats: usage stays in the queue, for it cannot be entered: %.150s",
			 err.text[0] ? err.text : strerror(-r));
		return false;
	}
	weir_meter_subject_tenant(natsMsg_GetSubject(msg), tenant);
	if (!publish_refusal(m, msg, at, tenant, err.text))
		return false;
	natsMsg_Term(msg, NULL);
	tell_refusal(m, tenant, err.text);
	return true;
}

static void put_back(struct weir_meter_in *m, natsMsg *msg, int64_t delay_ms)
{
	natsMsg_NakWithDelay(msg, delay_ms, NULL);
	count(m, &m->status.retried);
}

static void take_batch(struct weir_meter_in *m, natsMsgList *list)
{
	char before[sizeof(m->trouble)];
	int failed = 0; /* in a row: one may have trouble of its own, then others go on */

	memcpy(before, m->trouble, sizeof(before));
	m->trouble[0] = '\0';
	for (int i = 0; i < list->Count; i++) {
		jsMsgMetaData *at = NULL;

		if (stopping(m))
			put_back(m, list->Msgs[i], 1);
		else if (failed >= FAILED_MAX || natsMsg_GetMetaData(&at, list->Msgs[i]))
			put_back(m, list->Msgs[i], LATER_MS);
		else if (take(m, list->Msgs[i], at)) {
			failed = 0;
		} else {
			put_back(m, list->Msgs[i], LATER_MS);
			failed++;
		}
		jsMsgMetaData_Destroy(at);
	}
	if (m->trouble[0] && !before[0])
		weir_log(WEIR_WARN, "%s; trying again", m->trouble);
	if (failed)
		pause_ns(m, LATER_MS * UINT64_C(1000000));
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

static void fetch(struct weir_meter_in *m)
{
	natsMsgList list = { 0 };
	jsErrCode code = 0;
	natsStatus s = natsSubscription_Fetch(&list, m->sub, BATCH, FETCH_MS, &code);

	if (s == NATS_OK) {
		m->waiting -= m->waiting < (uint64_t)list.Count ? m->waiting : (uint64_t)list.Count;
		take_batch(m, &list);
		natsMsgList_Destroy(&list);
	} else if (s != NATS_TIMEOUT) {
		/* The consumer may be gone: look. */
		natsSubscription_Destroy(m->sub);
		m->sub = NULL;
		m->check_at_ns = 0;
		pause_ns(m, CONNECT_AGAIN_NS);
	}
}

static void *run(void *arg)
{
	struct weir_meter_in *m = arg;

	/* As the publisher: the library's threads are started from here and inherit it. */
	if (setpriority(PRIO_PROCESS, gettid(), NICE))
		weir_log(WEIR_WARN, "usage over NATS: cannot lower its priority: %s",
			 strerror(errno));
	while (!stopping(m)) {
		bool ready = connected(m) && check(m);

		update_status(m);
		if (ready)
			fetch(m);
		else
			pause_ns(m, CONNECT_AGAIN_NS);
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

	if (!m)
		return weir_fail(err, ENOMEM, "nats: out of memory");
	m->view = view;
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
