/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage over NATS: messages of the stream USAGE (meter_message.h) become ledger entries,
 * each once. A message is acknowledged after its entry is durable; the same id is the same
 * write, whether it came again from NATS or was made with `weirctl meter add --id`.
 *
 * USAGE is a work queue, and each node takes its own subjects of it with a durable consumer
 * of its own, whose description names the ledger. That is what makes it exact: were one
 * consumer shared, a message that one node entered and could not acknowledge would be given
 * to another node, whose ledger does not know it. nats-server refuses a consumer that
 * would share messages with another.
 *
 * What cannot be entered, ever, is published on usage_refused.v1.<tenant>.<node> with the
 * reason, and only then taken off the queue. What cannot be entered now stays in it.
 */
#ifndef WEIR_METER_IN_H
#define WEIR_METER_IN_H

#include <stdbool.h>
#include <stdint.h>

#include "agent_view.h"
#include "util.h"

struct weir_meter_in;
struct weir_nats_config;

struct weir_meter_in_status {
	bool ready;	   /* connected, and the streams and the consumer are as they must be */
	uint64_t waiting;  /* messages in the queue for this node, as last looked */
	uint64_t entered;  /* since start, as are those below */
	uint64_t repeated; /* were in the ledger before */
	uint64_t refused;
	uint64_t retried;  /* put back: it could not be said whether */
	char refusal[256]; /* the last one's reason; "": none */
	char warning[400]; /* "": all is well */
};

/* Starts the thread. NATS need not be there. c (usage_subject: which messages are this node's) and
 * the view must outlive it. */
int weir_meter_in_start(const struct weir_nats_config *c, const char *node,
			const struct weir_agent_view *view, struct weir_meter_in **out,
			struct weir_error *err);

void weir_meter_in_status(struct weir_meter_in *m, struct weir_meter_in_status *out);

/* Before the writer stops. What was not entered is left in the queue. NULL is fine. */
void weir_meter_in_stop(struct weir_meter_in *m);

#endif
