// SPDX-License-Identifier: Apache-2.0
/*
 * Another server of the cluster. One that is cut off from the others keeps its clients, and takes
 * nothing: its stream has no leader, or one that nobody follows. That does not show in the
 * connection, and may last; the others may have elected one.
 */
#include "publisher_window.h"

#include <string.h>

#include "nats_connect.h"

#define MOVE_NS (10 * WEIR_SECOND) /* longer than an election */

/* Something was taken, or refused for good, or there is nothing to take. */
static bool answered(struct weir_publisher *p)
{
	uint64_t taken;
	bool idle;

	pthread_mutex_lock(&p->lock);
	taken = p->status.acked + p->status.denied + p->status.alerts + p->status.entries;
	idle = p->head == p->tail && !p->status.backlog;
	pthread_mutex_unlock(&p->lock);
	if (taken == p->taken_before && !idle && !p->definite[WEIR_STREAM_METER])
		return false;
	p->taken_before = taken;
	return true;
}

bool weir_pub_move(struct weir_publisher *p, uint64_t now_ns)
{
	uint64_t unready_ns[WEIR_STREAM_PUBLISHED];

	if (answered(p) || !p->answered_ns)
		p->answered_ns = now_ns;
	if (!weir_nats_several(p->nats) || now_ns - p->answered_ns < MOVE_NS)
		return false;
	p->answered_ns = now_ns;
	weir_log(WEIR_WARN,
		 "nats: the server has acknowledged nothing for %d s; connecting to another",
		 (int)(MOVE_NS / WEIR_SECOND));
	/* For how long the streams are not to be had does not begin anew with it. */
	memcpy(unready_ns, p->unready_ns, sizeof(unready_ns));
	weir_pub_disconnect(p);
	memcpy(p->unready_ns, unready_ns, sizeof(unready_ns));
	weir_nats_next();
	return true;
}
