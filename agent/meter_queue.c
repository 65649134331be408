// SPDX-License-Identifier: Apache-2.0
/* Making and checking the consumer. */
#include "meter_queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "publisher_stream.h"

/* Past it a message is given out again, which does no harm but the work. */
#define ACK_WAIT_NS INT64_C(5000000000)
#define MAX_PENDING 1024
#define WAIT_MS	    2000

/* The consumers that are there, for people: "weir-gpu-02 (usage.v1.>)". */
static void name_others(jsCtx *js, char *out, size_t n)
{
	jsConsumerInfoList *list = NULL;
	size_t len = 0;

	out[0] = '\0';
	if (js_Consumers(&list, js, weir_stream_name(WEIR_STREAM_USAGE), NULL, NULL) != NATS_OK)
		return;
	for (int i = 0; i < list->Count && len < n; i++) {
		const jsConsumerInfo *ci = list->List[i];
		const char *filter = ci->Config ? ci->Config->FilterSubject : NULL;

		len += (size_t)snprintf(out + len, n - len, "%s%.64s (%.64s)", len ? ", " : "",
					ci->Name, filter && filter[0] ? filter : "all");
	}
	jsConsumerInfoList_Destroy(list);
}

static bool create(jsCtx *js, const struct weir_meter_queue *q, char *problem, size_t n)
{
	jsConsumerConfig c;
	jsOptions o;
	jsErrCode code = 0;
	natsStatus s;
	char others[160];

	jsConsumerConfig_Init(&c);
	jsOptions_Init(&o);
	o.Wait = WAIT_MS;
	c.Durable = q->name;
	c.Description = q->owner;
	c.FilterSubject = q->subject;
	c.DeliverPolicy = js_DeliverAll;
	c.AckPolicy = js_AckExplicit;
	c.AckWait = ACK_WAIT_NS;
	c.MaxAckPending = MAX_PENDING;
	s = js_AddConsumer(NULL, js, weir_stream_name(WEIR_STREAM_USAGE), &c, &o, &code);
	if (s == NATS_OK)
		return true;
	if (code == JSConsumerWQConsumerNotUniqueErr || code == JSConsumerWQMultipleUnfilteredErr) {
		name_others(js, others, sizeof(others));
		snprintf(problem, n,
			 "nats: usage_subject %s: another consumer of USAGE takes some of it: %s; "
			 "delete it, or divide the subjects between the nodes",
			 q->subject, others);
		return false;
	}
	snprintf(problem, n,
		 "nats: consumer %s of USAGE is not there and could not be made: %s (JetStream "
		 "error %d); trying again",
		 q->name, natsStatus_GetText(s), (int)code);
	return false;
}

static bool check(const jsConsumerConfig *c, const struct weir_meter_queue *q, char *problem,
		  size_t n)
{
	const char *why = NULL;

	if (!c->Description || strcmp(c->Description, q->owner))
		why = "is not this ledger's: a message could be entered twice; if that ledger is "
		      "gone for good, delete the consumer";
	else if (!c->FilterSubject || strcmp(c->FilterSubject, q->subject))
		why = "takes other subjects than usage_subject; delete it once it is empty";
	else if (c->DeliverSubject && c->DeliverSubject[0])
		why = "is a push consumer; delete it";
	else if (c->AckPolicy != js_AckExplicit || c->MaxDeliver > 0 || c->HeadersOnly)
		why = "gives messages up by itself (ack policy, max deliver, headers only); delete "
		      "it";
	if (!why)
		return true;
	snprintf(problem, n, "nats: consumer %s of USAGE %s", q->name, why);
	return false;
}

bool weir_meter_queue_ready(jsCtx *js, const struct weir_meter_queue *q, uint64_t *waiting,
			    char *problem, size_t n)
{
	jsConsumerInfo *ci = NULL;
	jsErrCode code = 0;
	jsOptions o;
	natsStatus s;
	bool ok;

	problem[0] = '\0';
	jsOptions_Init(&o);
	o.Wait = WAIT_MS;
	s = js_GetConsumerInfo(&ci, js, weir_stream_name(WEIR_STREAM_USAGE), q->name, &o, &code);
	if (s == NATS_NOT_FOUND || code == JSConsumerNotFoundErr) {
		*waiting = 0;
		return create(js, q, problem, n);
	}
	if (s != NATS_OK || !ci || !ci->Config) {
		snprintf(problem, n,
			 "nats: cannot look at consumer %s of USAGE: %s (JetStream error %d); "
			 "trying "
			 "again",
			 q->name, natsStatus_GetText(s), (int)code);
		jsConsumerInfo_Destroy(ci);
		return false;
	}
	ok = check(ci->Config, q, problem, n);
	*waiting = ci->NumPending + (ci->NumAckPending > 0 ? (uint64_t)ci->NumAckPending : 0);
	jsConsumerInfo_Destroy(ci);
	return ok;
}
