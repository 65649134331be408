/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This node's consumer of the stream USAGE: made if it is missing, otherwise only looked
 * at. One that is somebody else's, or not as it must be, is reported and never changed.
 */
#ifndef WEIR_METER_QUEUE_H
#define WEIR_METER_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nats/nats.h>

#define WEIR_METER_QUEUE_NAME 80 /* "weir-<node>" */

struct weir_meter_queue {
	char name[WEIR_METER_QUEUE_NAME];
	char owner[96]; /* the description: whose it is */
	const char *subject;
};

/* True: messages can be taken from it, waiting of them. problem (n bytes) says what is wrong,
 * "" if nothing is. Blocks for some seconds at most. */
bool weir_meter_queue_ready(jsCtx *js, const struct weir_meter_queue *q, uint64_t *waiting,
			    char *problem, size_t n);

#endif
