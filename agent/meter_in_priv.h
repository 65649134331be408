/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of usage over NATS: the thread and its connection (meter_in.c), and what it does with the
 * messages of one fetch (meter_batch.c). Nobody else includes this.
 */
#ifndef WEIR_METER_IN_PRIV_H
#define WEIR_METER_IN_PRIV_H

#include <pthread.h>

#include <nats/nats.h>

#include "event.h"
#include "ledger.h"
#include "meter_in.h"
#include "meter_queue.h"
#include "nats_connect.h"

#define WEIR_METER_BATCH 256 /* entered well within the consumer's ACK_WAIT_NS */

/* Messages that came together are entered in one commit, and only then answered. */
struct weir_meter_batch {
	struct weir_post posts[WEIR_METER_BATCH];
	jsMsgMetaData *at[WEIR_METER_BATCH];
};

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
	struct weir_meter_batch *batch;
	int ask_for;			 /* messages at a time; up to WEIR_METER_BATCH */
	char unreachable[WEIR_NATS_WHY]; /* why the last attempt to connect failed */
	char problem[256], trouble[256];
	char stream_problem[256]; /* one that it can live with */
	uint64_t check_at_ns, waiting;
	uint64_t logged_ns, not_logged; /* refusals */
};

/* For the thread only, as is what follows. */
bool weir_meter_stopping(struct weir_meter_in *m);
/* Or until it is to stop. */
void weir_meter_pause(struct weir_meter_in *m, uint64_t ns);

/* Enter what came and answer it. */
void weir_meter_take(struct weir_meter_in *m, natsMsgList *list);

#endif
