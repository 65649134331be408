// SPDX-License-Identifier: Apache-2.0
/*
 * The messages of one fetch: read, entered in one commit, and only then answered, each by what
 * came of it.
 */
#include "meter_in_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "meter.h"
#include "meter_message.h"
#include "publisher_stream.h"
#include "writer.h"

#define LATER_MS     1000
#define FAILED_MAX   3
#define LOG_EVERY_NS (10 * WEIR_SECOND)
#define PUBLISH_MS   3000

static void count(struct weir_meter_in *m, uint64_t *n)
{
	pthread_mutex_lock(&m->lock);
	++*n;
	pthread_mutex_unlock(&m->lock);
}

/* -------------------------------------------------------------------- refusals */

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

/* Of an error: it would be the same the next time. */
static bool is_final(int r)
{
	return r == -EINVAL || r == -ENOENT || r == -ERANGE || r == -EEXIST || r == -ENODATA;
}

struct call {
	const struct weir_agent_view *view;
	struct weir_post *posts;
	size_t n;
	struct weir_error *err;
};

static int call_post(struct weir_ledger *l, void *arg)
{
	struct call *c = arg;

	return c->view->post_all(c->view->ctx, l, c->posts, c->n, c->err);
}

static int post(struct weir_meter_in *m, struct weir_post *posts, size_t n, struct weir_error *err)
{
	struct call c = { m->view, posts, n, err };

	return weir_writer_call(m->view->writer, call_post, &c);
}

static int read_op(struct weir_meter_in *m, natsMsg *msg, const jsMsgMetaData *at,
		   struct weir_post *p)
{
	struct weir_meter_message message;
	int r = weir_meter_message_read(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg),
					natsMsg_GetSubject(msg), (uint64_t)at->Timestamp, &message,
					&p->err);

	if (r)
		return r;
	r = weir_meter_op(m->view, &message.use, &p->op, &p->err);
	weir_meter_message_clear(&message);
	return r;
}

static void read_batch(struct weir_meter_in *m, const natsMsgList *list)
{
	for (int i = 0; i < list->Count; i++) {
		struct weir_post *p = &m->batch->posts[i];

		memset(p, 0, sizeof(*p));
		m->batch->at[i] = NULL;
		if (natsMsg_GetMetaData(&m->batch->at[i], list->Msgs[i]))
			p->ret = weir_fail(&p->err, EIO, "a message without JetStream's data");
		else
			p->ret = read_op(m, list->Msgs[i], m->batch->at[i], p);
	}
}

/* Together; and if that fails each by itself, for one may have trouble of its own. */
static void enter_batch(struct weir_meter_in *m, size_t n)
{
	struct weir_post *p = m->batch->posts;
	struct weir_error err = { "" };
	int failed = 0; /* in a row */

	if (!post(m, p, n, &err))
		return;
	for (size_t i = 0; i < n; i++) {
		int r = 0;

		if (p[i].ret)
			continue;
		if (failed < FAILED_MAX && !weir_meter_stopping(m)) {
			r = post(m, &p[i], 1, &err);
			failed = r ? failed + 1 : 0;
		} else {
			r = -EAGAIN;
		}
		if (r) {
			p[i].ret = is_final(r) ? -EIO : r;
			p[i].err = err;
		}
	}
}

/* False: not now; m->trouble says why. */
static bool answer(struct weir_meter_in *m, natsMsg *msg, const jsMsgMetaData *at,
		   const struct weir_post *p)
{
	char tenant[WEIR_NAME_BYTES];

	if (!p->ret) {
		/* Were the answer lost, it would come again, and be known. */
		natsMsg_Ack(msg, NULL);
		count(m, p->done.repeated ? &m->status.repeated : &m->status.entered);
		return true;
	}
	if (!is_final(p->ret)) {
		snprintf(m->trouble, sizeof(m->trouble),
			 "nats: usage stays in the queue, for it cannot be entered: %.150s",
			 p->err.text[0] ? p->err.text : strerror(-p->ret));
		return false;
	}
	weir_meter_subject_tenant(natsMsg_GetSubject(msg), tenant);
	if (!publish_refusal(m, msg, at, tenant, p->err.text))
		return false;
	natsMsg_Term(msg, NULL);
	tell_refusal(m, tenant, p->err.text);
	return true;
}

static void put_back(struct weir_meter_in *m, natsMsg *msg, int64_t delay_ms)
{
	natsMsg_NakWithDelay(msg, delay_ms, NULL);
	count(m, &m->status.retried);
}

/* A refusal that cannot be published takes its time: others go on, but not for ever. */
static int answer_batch(struct weir_meter_in *m, natsMsgList *list)
{
	int failed = 0;

	for (int i = 0; i < list->Count; i++) {
		const struct weir_post *p = &m->batch->posts[i];

		if (p->ret && (failed >= FAILED_MAX || weir_meter_stopping(m))) {
			put_back(m, list->Msgs[i], weir_meter_stopping(m) ? 1 : LATER_MS);
		} else if (answer(m, list->Msgs[i], m->batch->at[i], p)) {
			failed = 0;
		} else {
			put_back(m, list->Msgs[i], LATER_MS);
			failed++;
		}
	}
	return failed;
}

void weir_meter_take(struct weir_meter_in *m, natsMsgList *list)
{
	char before[sizeof(m->trouble)];
	int failed;

	memcpy(before, m->trouble, sizeof(before));
	m->trouble[0] = '\0';
	read_batch(m, list);
	enter_batch(m, (size_t)list->Count);
	failed = answer_batch(m, list);
	for (int i = 0; i < list->Count; i++)
		jsMsgMetaData_Destroy(m->batch->at[i]);
	if (m->trouble[0] && !before[0])
		weir_log(WEIR_WARN, "%s; trying again", m->trouble);
	if (failed)
		weir_meter_pause(m, LATER_MS * UINT64_C(1000000));
}
