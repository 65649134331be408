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

#define DAY_NS (INT64_C(24) * 3600 * 1000000000)

static const struct {
	const char *name;
	const char *subject;
	const char *description;
	int64_t max_age_ns;
	int64_t max_msgs; /* not bytes: those would be reserved on the server's disk at once */
	jsDiscardPolicy discard;
} streams[] = {
	[WEIR_STREAM_IS_METER] = { WEIR_STREAM_METER, WEIR_STREAM_METER_SUBJECT,
				   "Weir: one event per metered request", 90 * DAY_NS, -1,
				   js_DiscardNew },
	[WEIR_STREAM_IS_DENY] = { WEIR_STREAM_DENY, WEIR_STREAM_DENY_SUBJECT,
				  "Weir: refusals, one event per tenant, reason and second",
				  7 * DAY_NS, 1000000, js_DiscardOld },
};

static bool create(jsCtx *js, enum weir_stream which, char *problem, size_t n)
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
	c.MaxAge = streams[which].max_age_ns;
	c.MaxMsgs = streams[which].max_msgs;
	c.Discard = streams[which].discard;
	c.Duplicates = WEIR_STREAM_DEDUP_NS;
	s = js_AddStream(NULL, js, &c, &o, &code);
	if (s == NATS_OK)
		return true;
	snprintf(problem, n,
		 "nats: stream %s is not there and could not be made: %s (JetStream error %d); "
		 "trying again",
		 streams[which].name, natsStatus_GetText(s), (int)code);
	return false;
}

/* Does a subject of the stream take all we publish? */
static bool covers(const char *subject, enum weir_stream which)
{
	static const char *const wider[][4] = {
		[WEIR_STREAM_IS_METER] = { WEIR_STREAM_METER_SUBJECT, "meter.>", ">",
					   "meter.v1.*.*" },
		[WEIR_STREAM_IS_DENY] = { WEIR_STREAM_DENY_SUBJECT, "deny.>", ">", "deny.v1.*.*" },
	};

	for (size_t i = 0; i < 4; i++) {
		if (!strcmp(subject, wider[which][i]))
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
		snprintf(problem, n,
			 "nats: stream %s does not take %s; events wait in the ledger until its "
			 "subjects do",
			 name, streams[which].subject);
		return false;
	}
	if (c->NoAck || c->Sealed || c->Mirror) {
		snprintf(problem, n,
			 "nats: stream %s is %s; events wait in the ledger until it is not", name,
			 c->Sealed   ? "sealed"
			 : c->Mirror ? "a mirror"
				     : "without acknowledgements (no_ack)");
		return false;
	}
	if (c->Duplicates < WEIR_STREAM_DEDUP_MIN_NS)
		snprintf(problem, n,
			 "nats: stream %s remembers ids for %" PRId64
			 " s, less than an hour: after a longer outage an event may come twice",
			 name, c->Duplicates / INT64_C(1000000000));
	else if (which == WEIR_STREAM_IS_METER && c->Discard == js_DiscardOld &&
		 (c->MaxMsgs > 0 || c->MaxBytes > 0))
		snprintf(problem, n,
			 "nats: stream %s drops its oldest events when it is full; set discard to "
			 "new",
			 name);
	return true;
}

bool weir_stream_ready(jsCtx *js, enum weir_stream which, char *problem, size_t n)
{
	jsStreamInfo *si = NULL;
	jsErrCode code = 0;
	jsOptions o;
	natsStatus s;
	bool ok;

	problem[0] = 0;
	jsOptions_Init(&o);
	o.Wait = 2000;
	s = js_GetStreamInfo(&si, js, streams[which].name, &o, &code);
	if (s == NATS_NOT_FOUND || code == JSStreamNotFoundErr)
		return create(js, which, problem, n);
	if (s != NATS_OK || !si || !si->Config) {
		snprintf(problem, n,
			 "nats: cannot look at stream %s: %s%s (JetStream error %d); trying again",
			 streams[which].name, natsStatus_GetText(s),
			 s == NATS_NO_RESPONDERS ? ", is JetStream on?" : "", (int)code);
		jsStreamInfo_Destroy(si);
		return false;
	}
	ok = check(si->Config, which, problem, n);
	jsStreamInfo_Destroy(si);
	return ok;
}
