/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and checking the streams. An existing stream is somebody's decision
 * (replicas, age, placement): what we cannot live with is reported, never
 * changed.
 */
#include "publisher_stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAY_NS	    (INT64_C(24) * 3600 * 1000000000)
#define EVENT_BYTES 2048 /* about what one needs */

static const struct {
	const char *name;
	const char *subject;
	const char *wider[3]; /* subjects that take all of it too */
	const char *description;
	const char *meanwhile; /* what happens while it cannot be used */
	jsRetentionPolicy retention;
	jsDiscardPolicy discard;
	int64_t max_age_ns; /* 0: none */
	int64_t max_msgs;   /* not bytes: those would be reserved on the server's disk at once */
} streams[] = {
	[WEIR_STREAM_METER] = { "METER",
				"meter.v1.>",
				{ "meter.>", ">", "meter.v1.*.*" },
				"Weir: usage, one event per request or report",
				"events wait in the ledger",
				js_LimitsPolicy,
				js_DiscardNew,
				90 * DAY_NS,
				-1 },
	[WEIR_STREAM_DENY] = { "DENY",
			       "deny.v1.>",
			       { "deny.>", ">", "deny.v1.*.*" },
			       "Weir: refusals, one event per tenant, reason and second",
			       "refusals are not published",
			       js_LimitsPolicy,
			       js_DiscardOld,
			       7 * DAY_NS,
			       1000000 },
	[WEIR_STREAM_ALERT] = { "ALERT",
				"alert.v1.>",
				{ "alert.>", ">", "alert.v1.*.*" },
				"Weir: what somebody is asked to do, such as top-ups",
				"alerts are not published",
				js_LimitsPolicy,
				js_DiscardOld,
				30 * DAY_NS,
				1000000 },
	[WEIR_STREAM_LEDGER] = { "LEDGER",
				 "ledger.v1.>",
				 { "ledger.>", ">", "ledger.v1.*.*" },
				 "Weir: grants, refunds, expiries: what moves credit and is no "
				 "usage",
				 "such entries are not published",
				 js_LimitsPolicy,
				 js_DiscardNew,
				 90 * DAY_NS,
				 -1 },
	[WEIR_STREAM_USAGE] = { "USAGE",
				"usage.v1.>",
				{ "usage.>", ">", NULL },
				"Weir: usage that others report, until it is in a ledger",
				"usage that is reported is not entered",
				js_WorkQueuePolicy,
				js_DiscardNew,
				0,
				-1 },
	[WEIR_STREAM_USAGE_REFUSED] = { "USAGE_REFUSED",
					"usage_refused.v1.>",
					{ "usage_refused.>", ">", "usage_refused.v1.*.*" },
					"Weir: reported usage that could not be entered, and why",
					"usage that is reported is not entered",
					js_LimitsPolicy,
					js_DiscardOld,
					90 * DAY_NS,
					1000000 },
};

const char *weir_stream_name(enum weir_stream which)
{
	return streams[which].name;
}

static const char *create_hint(jsErrCode code)
{
	switch (code) {
	case JSStreamSubjectOverlapErr:
		return ", another stream takes its subjects";
	case JSStreamReplicasNotSupportedErr:
		return ", the server is no cluster: set \"replicas\" to 1";
	case JSClusterNoPeersErr:
		return ", fewer servers than \"replicas\" can take it";
	default:
		return "";
	}
}

static enum weir_stream_state create(jsCtx *js, enum weir_stream which, uint32_t replicas,
				     char *problem, size_t n)
{
	const char *subjects[1] = { streams[which].subject };
	jsStreamConfig c;
	jsOptions o;
	jsErrCode code = 0;
	natsStatus s;

	jsStreamConfig_Init(&c);
	jsOptions_Init(&o);
	o.Wait = 2000;
	c.Name = streams[which].name;
	c.Description = streams[which].description;
	c.Subjects = subjects;
	c.SubjectsLen = 1;
	c.Retention = streams[which].retention;
	c.MaxAge = streams[which].max_age_ns;
	c.MaxMsgs = streams[which].max_msgs;
	c.Discard = streams[which].discard;
	c.Duplicates = WEIR_STREAM_DEDUP_NS;
	c.Replicas = replicas ? replicas : 1;
	s = js_AddStream(NULL, js, &c, &o, &code);
	if (s == NATS_OK)
		return WEIR_STREAM_READY;
	snprintf(problem, n,
		 "nats: stream %s is not there and could not be made: %s%s (JetStream error %d); "
		 "%s, trying again",
		 streams[which].name, natsStatus_GetText(s), create_hint(code), (int)code,
		 streams[which].meanwhile);
	/* Who has no servers enough, or is electing, may have them soon. */
	return !code || code == JSClusterNotAvailErr || code == JSClusterNoPeersErr
		       ? WEIR_STREAM_SILENT
		       : WEIR_STREAM_UNFIT;
}

/* Does a subject of the stream take all there is to it? */
static bool covers(const char *subject, enum weir_stream which)
{
	const char *const *wider = streams[which].wider;

	if (!strcmp(subject, streams[which].subject))
		return true;
	for (size_t i = 0; i < sizeof(streams[which].wider) / sizeof(*wider); i++) {
		if (wider[i] && !strcmp(subject, wider[i]))
			return true;
	}
	return false;
}

static bool check(const jsStreamConfig *c, enum weir_stream which, char *problem, size_t n)
{
	const char *name = streams[which].name;
	bool covered = false;

	for (int i = 0; i < c->SubjectsLen; i++)
		covered = covered || covers(c->Subjects[i], which);
	if (!covered) {
		snprintf(problem, n, "nats: stream %s does not take %s; %s until its subjects do",
			 name, streams[which].subject, streams[which].meanwhile);
		return false;
	}
	/* Of a work queue the server lets two nodes have no message in common. */
	if (streams[which].retention == js_WorkQueuePolicy && c->Retention != js_WorkQueuePolicy) {
		snprintf(problem, n,
			 "nats: stream %s is not a work queue: two nodes could both enter a "
			 "message; %s until its retention is",
			 name, streams[which].meanwhile);
		return false;
	}
	if (c->NoAck || c->Sealed || c->Mirror) {
		snprintf(problem, n, "nats: stream %s is %s; %s until it is not", name,
			 c->Sealed   ? "sealed"
			 : c->Mirror ? "a mirror"
				     : "without acknowledgements (no_ack)",
			 streams[which].meanwhile);
		return false;
	}
	/* What others send is known by its id for ever: by the ledger. */
	if (which == WEIR_STREAM_USAGE) {
		if (c->MaxAge > 0 ||
		    (c->Discard == js_DiscardOld && (c->MaxMsgs > 0 || c->MaxBytes > 0)))
			snprintf(problem, n,
				 "nats: stream %s drops messages that are old, or the oldest when "
				 "it is full: usage that nobody entered; set max age 0 and discard "
				 "new",
				 name);
		return true;
	}
	if (c->Duplicates < WEIR_STREAM_DEDUP_MIN_NS)
		snprintf(problem, n,
			 "nats: stream %s remembers ids for %" PRId64
			 " s, less than an hour: an event that was on its way for longer may come "
			 "twice",
			 name, c->Duplicates / INT64_C(1000000000));
	else if (which == WEIR_STREAM_METER && c->Discard == js_DiscardOld &&
		 (c->MaxMsgs > 0 || c->MaxBytes > 0))
		snprintf(problem, n,
			 "nats: stream %s drops its oldest events when it is full; set discard to "
			 "new",
			 name);
	return true;
}

/* Will it take another event? What it says may be out of date at once. */
static void check_room(const jsStreamInfo *si, enum weir_stream which, char *problem, size_t n)
{
	const jsStreamConfig *c = si->Config;
	bool msgs = c->MaxMsgs > 0 && si->State.Msgs >= (uint64_t)c->MaxMsgs;
	bool bytes = c->MaxBytes > 0 && si->State.Bytes + EVENT_BYTES > (uint64_t)c->MaxBytes;

	if (c->Discard != js_DiscardNew || (!msgs && !bytes))
		return;
	snprintf(problem, n,
		 "nats: stream %s is full (maximum %s exceeded): %" PRIu64 " of %s %" PRId64
		 "; raise it or make room; until then %s",
		 streams[which].name, msgs ? "messages" : "bytes",
		 msgs ? si->State.Msgs : si->State.Bytes, msgs ? "max_msgs" : "max_bytes",
		 msgs ? c->MaxMsgs : c->MaxBytes, streams[which].meanwhile);
}

static void check_replicas(const jsStreamConfig *c, enum weir_stream which, uint32_t replicas,
			   char *problem, size_t n)
{
	if (replicas > 1 && c->Replicas < replicas)
		snprintf(problem, n,
			 "nats: stream %s has %" PRId64 " replicas, not %u as agent.json says; "
			 "nats stream edit --replicas %u %s",
			 streams[which].name, (int64_t)c->Replicas, replicas, replicas,
			 streams[which].name);
}

enum weir_stream_state weir_stream_look(jsCtx *js, enum weir_stream which, uint32_t replicas,
					char *problem, size_t n)
{
	jsStreamInfo *si = NULL;
	jsErrCode code = 0;
	jsOptions o;
	natsStatus s;
	bool ok;

	problem[0] = 0;
	jsOptions_Init(&o);
	o.Wait = which == WEIR_STREAM_METER ? 2000 : 1000; /* usage waits meanwhile */
	s = js_GetStreamInfo(&si, js, streams[which].name, &o, &code);
	if (s == NATS_NOT_FOUND || code == JSStreamNotFoundErr)
		return create(js, which, replicas, problem, n);
	if (s != NATS_OK || !si || !si->Config) {
		snprintf(problem, n,
			 "nats: cannot look at stream %s: %s%s (JetStream error %d); trying again",
			 streams[which].name, natsStatus_GetText(s),
			 s == NATS_NO_RESPONDERS ? ", is JetStream on?" : "", (int)code);
		jsStreamInfo_Destroy(si);
		return WEIR_STREAM_SILENT;
	}
	ok = check(si->Config, which, problem, n);
	if (ok && !problem[0])
		check_room(si, which, problem, n);
	if (ok && !problem[0])
		check_replicas(si->Config, which, replicas, problem, n);
	jsStreamInfo_Destroy(si);
	return ok ? WEIR_STREAM_READY : WEIR_STREAM_UNFIT;
}
