/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The publisher: ledger entries to NATS JetStream, each once, in ledger order.
 * Owns the NATS connection, the window of events in flight and the cursor
 * "how far is everything acknowledged". The ledger itself is the outbox: what
 * is not acknowledged is read from it again, with the same id; what the stream
 * has of it is read from there first.
 *
 * NATS away, a stream missing or refusing: it waits, counts the backlog, says
 * so in its status, and tries again for ever. It never holds up the ledger. What
 * is no usage waits for its stream only for some seconds: usage goes on without.
 * The rules are delivery.md's, 11 to 18.
 */
#ifndef WEIR_PUBLISHER_H
#define WEIR_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "agent_view.h"
#include "publisher_stream.h"
#include "util.h"

#define WEIR_PUBLISHER_WINDOW 1024 /* events in flight */

struct weir_publisher;

struct weir_publisher_status {
	bool connected;
	bool stream_ok;	   /* METER is there and as it must be */
	uint64_t backlog;  /* ledger entries not acknowledged yet */
	uint64_t lag_ns;   /* age of the oldest of these; 0: none */
	uint64_t rate;	   /* events acknowledged per second, over the last 10 s */
	uint64_t acked;	   /* usage events acknowledged since start */
	uint64_t denied;   /* deny.v1 events acknowledged since start */
	uint64_t alerts;   /* alert.v1 events acknowledged since start */
	uint64_t entries;  /* ledger.v1 events acknowledged since start */
	uint64_t skipped;  /* of these three, given up: their stream cannot be had */
	uint64_t retried;  /* sent again: no ack, or an error */
	uint64_t known;	   /* found on their stream when it was read, and not sent again */
	uint64_t again;	   /* ledger entries that were acknowledged, and that a stream lost since */
	uint64_t seq;	   /* ledger entry up to which all is acknowledged */
	char warning[400]; /* "": all is well */
	/* What is wrong with each stream, or was found there; "": nothing. */
	char problem[WEIR_STREAM_PUBLISHED][256];
};

/* Starts the thread. NATS need not be there. node: name of this node. The view
 * (writer, denials, db_path, tenant_name, denial_counts, policy) must outlive the publisher;
 * view->publisher may be set after this returns. */
struct weir_nats_config;
int weir_publisher_start(const struct weir_nats_config *nats, const char *node,
			 const struct weir_agent_view *view, struct weir_publisher **out,
			 struct weir_error *err);

/* There may be new entries. From any thread, cheap, never blocks. */
void weir_publisher_wake(struct weir_publisher *p);

void weir_publisher_status(struct weir_publisher *p, struct weir_publisher_status *out);

/* Publishes what there is for at most drain_ms, stores the cursor, ends the thread.
 * NULL is fine. Call before the writer stops: it is what stores the cursor. */
void weir_publisher_stop(struct weir_publisher *p, unsigned drain_ms);

/* After stop, and after whoever might wake it is gone: the writer calls on_commit
 * for that last cursor too. NULL is fine. */
void weir_publisher_free(struct weir_publisher *p);

#endif
