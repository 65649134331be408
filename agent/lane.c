/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a lane: an ephemeral pull consumer on its subjects, from a place on, in batches.
 *
 * Where the read ends is what the stream's leader says is the lane's last message: a consumer may
 * live on a replica that is behind, and "nothing more" from it proves nothing. Until that message
 * was seen (or the leader says that it is gone) the read is not over. A consumer counts what it
 * hands out, so a message that was lost on the way shows as a gap: then, and when the server does
 * not answer or has lost the consumer, a new one goes on behind the last message that was read.
 */
#include "lane.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lane_event.h"

#define BATCH	    256
#define BATCH_BYTES (32 << 20) /* beyond that the library drops, which shows as a gap */
#define ASK_MS	    2000
#define IDLE_NS	    (INT64_C(15) * 1000000000) /* then the server forgets a consumer */
#define PATIENCE_NS (10 * WEIR_SECOND)	       /* without a message, before it is an error */
#define AGAIN_NS    50000000
#define WINDOW	    4096 /* messages, looked through from the end */

struct read {
	jsCtx *js;
	const struct weir_lane_query *q;
	char filter[2 * WEIR_NAME_BYTES];
	char source[WEIR_LANE_SOURCE];
	weir_lane_fn fn;
	void *ctx;
	struct weir_lane_others *others;
	struct weir_error *err;

	natsSubscription *sub;
	uint64_t until;	  /* stream sequence number of the lane's last message */
	uint64_t next;	  /* to read */
	uint64_t handed;  /* by this consumer, so far */
	uint64_t pending; /* it has yet to hand out */
	uint64_t moved_ns;
	int batch;
	int result;  /* fn's, not 0 */
	bool closed; /* the connection: nothing more will come */
	char why[160];
};

/* ---------------------------------------------------------------------- asking */

static int fail_nats(struct weir_error *err, const char *stream, const char *doing, natsStatus s,
		     jsErrCode code)
{
	if (code == JSStreamNotFoundErr)
		return weir_fail(err, ENOENT, "nats: there is no stream %s", stream);
	return weir_fail(err, EIO, "nats: stream %s: cannot %s: %s%s (JetStream error %d)", stream,
			 doing, natsStatus_GetText(s),
			 s == NATS_NO_RESPONDERS ? ", is JetStream on?" : "", (int)code);
}

static jsOptions patience(void)
{
	jsOptions o;

	jsOptions_Init(&o);
	o.Wait = ASK_MS;
	return o;
}

int weir_lane_stream(jsCtx *js, const char *stream, struct weir_lane_stream *out,
		     struct weir_error *err)
{
	jsOptions o = patience();
	jsStreamInfo *si = NULL;
	jsErrCode code = 0;
	natsStatus s = js_GetStreamInfo(&si, js, stream, &o, &code);

	if (s == NATS_NOT_FOUND)
		code = JSStreamNotFoundErr;
	if (s != NATS_OK || !si || !si->Config) {
		jsStreamInfo_Destroy(si);
		return fail_nats(err, stream, "look at it", s == NATS_OK ? NATS_ERR : s, code);
	}
	*out = (struct weir_lane_stream){
		.made_ns = (uint64_t)si->Created,
		.first_seq = si->State.FirstSeq,
		.last_seq = si->State.LastSeq,
		.messages = si->State.Msgs,
		.max_age_ns = si->Config->MaxAge > 0 ? (uint64_t)si->Config->MaxAge : 0,
		.duplicates_ns = si->Config->Duplicates > 0 ? (uint64_t)si->Config->Duplicates : 0,
		.replicas = (uint32_t)si->Config->Replicas,
	};
	jsStreamInfo_Destroy(si);
	return 0;
}

/* The lane's last message, whoever's; the leader answers. *msg is to be destroyed. */
static int last_message(const struct read *r, natsMsg **msg, struct weir_error *err)
{
	jsOptions o = patience();
	jsErrCode code = 0;
	natsStatus s = js_GetLastMsg(msg, r->js, r->q->stream, r->filter, &o, &code);

	if (s == NATS_OK)
		return 0;
	*msg = NULL;
	if (code == JSNoMessageFoundErr || (s == NATS_NOT_FOUND && !code))
		return -ENODATA;
	return fail_nats(err, r->q->stream, "read the last message of this node", s, code);
}

static int find_end(struct read *r, struct weir_error *err)
{
	natsMsg *msg;
	int ret = last_message(r, &msg, err);

	if (!ret)
		r->until = natsMsg_GetSequence(msg);
	else if (ret == -ENODATA)
		r->until = 0;
	natsMsg_Destroy(msg);
	return ret == -ENODATA ? 0 : ret;
}

/* -------------------------------------------------------------------- messages */

static void count_other(struct weir_lane_others *o, enum weir_lane_kind kind, uint64_t seq,
			const char *source)
{
	if (kind == WEIR_LANE_MALFORMED) {
		o->malformed++;
		o->malformed_seq = seq;
	} else {
		if (!o->foreign++)
			memcpy(o->foreign_source, source, sizeof(o->foreign_source));
		o->foreign_seq = seq;
	}
}

static enum weir_lane_kind look_at(const struct read *r, natsMsg *msg, uint64_t seq,
				   struct weir_lane_event *e)
{
	char found[WEIR_LANE_SOURCE];
	enum weir_lane_kind kind;

	*e = (struct weir_lane_event){
		.stream_seq = seq,
		.subject = natsMsg_GetSubject(msg),
		.json = natsMsg_GetData(msg),
		.n = (size_t)natsMsg_GetDataLength(msg),
	};
	kind = weir_lane_event_read(e->json, e->n, r->source, e, found);
	if (kind != WEIR_LANE_OURS && r->others)
		count_other(r->others, kind, seq, found);
	if (!r->q->data) {
		e->json = NULL;
		e->n = 0;
	}
	return kind;
}

/* False: one before it was lost, or the read is over. */
static bool take(struct read *r, natsMsg *msg)
{
	struct weir_lane_event e;
	jsMsgMetaData *at = NULL;
	uint64_t seq, handed, stored_ns;

	if (natsMsg_GetMetaData(&at, msg) != NATS_OK) {
		snprintf(r->why, sizeof(r->why), "a message came without its place");
		return false;
	}
	seq = at->Sequence.Stream;
	handed = at->Sequence.Consumer;
	stored_ns = (uint64_t)at->Timestamp;
	r->pending = at->NumPending;
	jsMsgMetaData_Destroy(at);
	if (handed != r->handed + 1 || seq < r->next) {
		snprintf(r->why, sizeof(r->why), "messages were lost on the way");
		return false;
	}
	r->handed = handed;
	if (seq > r->until) { /* come since; those up to until were before it */
		r->next = r->until + 1;
		return false;
	}
	r->next = seq + 1;
	if (look_at(r, msg, seq, &e) == WEIR_LANE_OURS) {
		e.stored_ns = stored_ns;
		r->result = r->fn(&e, r->ctx);
	}
	r->moved_ns = weir_mono_ns();
	return !r->result;
}

static bool over(const struct read *r)
{
	return r->result || r->next > r->until;
}

static bool take_batch(struct read *r)
{
	jsFetchRequest ask;
	natsMsgList list = { 0 };
	natsStatus s;
	bool whole = true;

	jsFetchRequest_Init(&ask);
	/* What it does not have it would be waited for. */
	ask.Batch = r->pending < (uint64_t)r->batch ? (int)r->pending : r->batch;
	ask.Expires = ASK_MS * INT64_C(1000000);
	s = natsSubscription_FetchRequest(&list, r->sub, &ask);
	if (s != NATS_OK) {
		snprintf(r->why, sizeof(r->why), "%s", natsStatus_GetText(s));
		r->closed = s == NATS_CONNECTION_CLOSED;
		return false;
	}
	for (int i = 0; whole && i < list.Count; i++)
		whole = take(r, list.Msgs[i]);
	natsMsgList_Destroy(&list);
	r->batch = r->batch < BATCH / 2 ? r->batch * 2 : BATCH;
	return whole;
}

/* -------------------------------------------------------------------- consumer */

static bool subscribe(struct read *r)
{
	jsOptions o = patience();
	jsConsumerInfo *ci = NULL;
	jsErrCode code = 0;
	jsSubOptions so;
	natsStatus s;

	jsSubOptions_Init(&so);
	so.Stream = r->q->stream;
	so.Config.Description = "Weir: reads what it published";
	so.Config.DeliverPolicy = js_DeliverByStartSequence;
	so.Config.OptStartSeq = r->next;
	so.Config.AckPolicy = js_AckNone;
	so.Config.MemoryStorage = true;
	so.Config.Replicas = 1;
	so.Config.InactiveThreshold = IDLE_NS;
	s = js_PullSubscribe(&r->sub, r->js, r->filter, NULL, &o, &so, &code);
	if (s == NATS_OK)
		s = natsSubscription_SetPendingLimits(r->sub, 2 * BATCH, BATCH_BYTES);
	if (s == NATS_OK)
		s = natsSubscription_GetConsumerInfo(&ci, r->sub, &o, &code);
	r->handed = 0;
	r->pending = ci ? ci->NumPending : 0;
	jsConsumerInfo_Destroy(ci);
	if (s == NATS_OK)
		return true;
	r->closed = s == NATS_CONNECTION_CLOSED;
	snprintf(r->why, sizeof(r->why), "no consumer: %s (JetStream error %d)",
		 natsStatus_GetText(s), (int)code);
	return false;
}

static void unsubscribe(struct read *r)
{
	if (!r->sub)
		return;
	natsSubscription_Unsubscribe(r->sub); /* the server's consumer ends with it */
	natsSubscription_Destroy(r->sub);
	r->sub = NULL;
}

/* With one consumer, until the end, or until something is amiss. */
static void read_some(struct read *r)
{
	snprintf(r->why, sizeof(r->why), "a replica is behind");
	if (subscribe(r)) {
		while (!over(r) && r->pending && take_batch(r))
			;
	}
	unsubscribe(r);
}

static int read_all(struct read *r)
{
	const struct timespec again = { .tv_nsec = AGAIN_NS };
	int ret;

	r->moved_ns = weir_mono_ns();
	ret = find_end(r, r->err);
	while (!ret && !over(r)) {
		read_some(r);
		if (over(r))
			break;
		if (r->closed || weir_mono_ns() - r->moved_ns > PATIENCE_NS)
			return weir_fail(r->err, EIO,
					 "nats: stream %s: it cannot be read behind message "
					 "%" PRIu64 ", up to %" PRIu64 ": %s",
					 r->q->stream, r->next - 1, r->until, r->why);
		nanosleep(&again, NULL);
		r->batch = 1;
		/* A leader that is being elected does not answer: that is what the patience is for;
		 * a message that is gone since is not waited for. */
		ret = find_end(r, r->err);
		if (ret == -EIO)
			ret = 0;
	}
	return ret ? ret : r->result;
}

static int init(struct read *r, jsCtx *js, const struct weir_lane_query *q, struct weir_error *err)
{
	int n, m;

	*r = (struct read){
		.js = js, .q = q, .err = err, .batch = BATCH, .next = q->from_seq ? q->from_seq : 1
	};
	n = snprintf(r->filter, sizeof(r->filter), "%s.v1.*.%s", q->topic, q->node);
	m = snprintf(r->source, sizeof(r->source), "/weir/%s/%s", q->ledger_id, q->node);
	if ((size_t)n >= sizeof(r->filter) || (size_t)m >= sizeof(r->source) ||
	    !weir_name_ok(q->node))
		return weir_fail(err, EINVAL, "nats: \"%.80s\" is no node's name", q->node);
	return 0;
}

int weir_lane_read(jsCtx *js, const struct weir_lane_query *q, weir_lane_fn fn, void *ctx,
		   struct weir_lane_others *others, struct weir_error *err)
{
	struct read r;
	int ret = init(&r, js, q, err);

	r.fn = fn;
	r.ctx = ctx;
	r.others = others;
	return ret ? ret : read_all(&r);
}

/* -------------------------------------------------------------------- the last */

static int keep_last(const struct weir_lane_event *e, void *ctx)
{
	*(struct weir_lane_event *)ctx = *e;
	return 0;
}

/* The last message is not ours: look through the end of the lane, more and more of it. */
static int search_last(jsCtx *js, struct weir_lane_query q, uint64_t end,
		       struct weir_lane_event *out, struct weir_error *err)
{
	struct weir_lane_event e = { 0 };
	uint64_t window = WINDOW;
	int r;

	for (;;) {
		q.from_seq = end > window ? end - window : 1;
		r = weir_lane_read(js, &q, keep_last, &e, NULL, err);
		if (r || e.stream_seq || q.from_seq == 1)
			break;
		window *= 16;
	}
	if (!r && !e.stream_seq)
		r = -ENODATA;
	if (!r)
		*out = e;
	return r;
}

int weir_lane_last(jsCtx *js, const struct weir_lane_query *q, struct weir_lane_event *out,
		   struct weir_lane_others *others, struct weir_error *err)
{
	struct weir_lane_event e;
	enum weir_lane_kind kind;
	natsMsg *msg = NULL;
	struct read r;
	uint64_t end;
	int ret = init(&r, js, q, err);

	if (!ret)
		ret = last_message(&r, &msg, err);
	if (ret)
		return ret;
	r.others = others;
	end = natsMsg_GetSequence(msg);
	kind = look_at(&r, msg, end, &e);
	e.stored_ns = (uint64_t)natsMsg_GetTime(msg);
	natsMsg_Destroy(msg);
	if (kind != WEIR_LANE_OURS)
		ret = search_last(js, *q, end, &e, err);
	if (ret)
		return ret;
	*out = e;
	out->subject = out->json = NULL;
	out->n = 0;
	return 0;
}
