/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the publisher: the window of events in flight and the connection they
 * go over (publisher_window.c), as the thread that fills it sees them
 * (publisher.c). Nobody else includes this.
 */
#ifndef WEIR_PUBLISHER_WINDOW_H
#define WEIR_PUBLISHER_WINDOW_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nats/nats.h>

#include "event.h"
#include "nats_connect.h"
#include "publisher.h"
#include "publisher_stream.h"

#define WEIR_PUBLISHER_ACK_MS 3000 /* an event without an answer so long has failed */
#define WEIR_PUBLISHER_MASK   (WEIR_PUBLISHER_WINDOW - 1)
_Static_assert((WEIR_PUBLISHER_WINDOW & WEIR_PUBLISHER_MASK) == 0, "the window is masked");

enum weir_pub_state { WEIR_PUB_SENT, WEIR_PUB_FAILED, WEIR_PUB_DONE };

#define WEIR_PUB_ID_TEXT (WEIR_EVENT_ID_TEXT + 9) /* with 8 digits of the ledger's id */

struct weir_pub_slot {
	enum weir_pub_state state;
	enum weir_stream stream;
	unsigned refused;  /* so often, by the server */
	uint64_t seq;	   /* ledger entry; 0: a refusal of a request */
	natsMsg *msg;	   /* SENT: the library's, only compared; FAILED: ours */
	uint64_t ended_ns; /* wall: when the request ended that it tells of; 0: of none */
	char id[WEIR_PUB_ID_TEXT];
};

struct weir_publisher {
	const struct weir_agent_view *view;
	char node[WEIR_NAME_BYTES];
	const struct weir_nats_config *nats;
	char where[WEIR_NATS_WHERE]; /* url without a user and password, for people */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond; /* CLOCK_MONOTONIC */
	bool woken, stop;
	bool quiet; /* stopped, and the library has let go of it */
	uint64_t stop_by_ns;

	struct weir_pub_slot window[WEIR_PUBLISHER_WINDOW];
	uint64_t head, tail; /* head: oldest not done; both only grow */
	size_t n_sent, n_failed;
	uint64_t newest_seq; /* of the ledger, as last looked */
	struct weir_publisher_status status;
	char failure[160]; /* why the last event was not taken */

	/* the thread's own */
	struct weir_reader *reader;
	natsConnection *nc; /* NULL: not connected */
	jsCtx *js;
	char unreachable[WEIR_NATS_WHY]; /* why the last attempt to connect failed */
	uint64_t connect_at_ns;
	bool ready[WEIR_STREAM_PUBLISHED];
	uint64_t unready_ns[WEIR_STREAM_PUBLISHED]; /* since when it is not; 0: it is, or was not
						     * looked at on this connection */
	uint64_t refusing_until_ns[WEIR_STREAM_PUBLISHED]; /* what was given up is tried again */
	uint64_t skip_logged_ns;
	char problem[WEIR_STREAM_PUBLISHED][256];
	char ledger_problem[256];
	uint64_t check_at_ns;
	uint64_t next_seq; /* to read from the ledger */
	uint64_t stored_seq, stored_at_ns;
	uint64_t retry_ns, retry_at_ns, acked_at_retry;
	uint64_t denials_at_ns;
	struct weir_text text;
};

/* All of these are for the publisher's thread only. */

/* True while there is a connection; makes one if it is time to. */
bool weir_pub_connected(struct weir_publisher *p, uint64_t now_ns);
/* Events it leaves unanswered become failed ones. */
void weir_pub_disconnect(struct weir_publisher *p);

/* Look at those that are not ready, now and then (publisher_ready.c). */
void weir_pub_check_streams(struct weir_publisher *p, uint64_t now_ns);
/* Never METER. Others do not hold up usage for long: their stream has not been to be had for a
 * while, or takes nothing. */
bool weir_pub_given_up(const struct weir_publisher *p, enum weir_stream which);
/* The first, in the order of what matters most; "": all are well. */
const char *weir_pub_stream_problem(const struct weir_publisher *p);

/* How many events may be added now: none while failed ones wait. */
size_t weir_pub_room(struct weir_publisher *p);
/* A new event at the window's end, made of p->text; the caller has seen that there
 * is room. ended_ns: of its slot. 0 or -ENOMEM; one that could not be sent is in the window as
 * failed. */
int weir_pub_push(struct weir_publisher *p, enum weir_stream stream, uint64_t seq,
		  uint64_t ended_ns, const char *id, const char *subject);
/* An entry that is no event takes its place in the window, so that the cursor passes it. */
void weir_pub_pass(struct weir_publisher *p, uint64_t seq);
/* Send the failed events again, in order. None may be unanswered. What is not usage and was
 * refused too often is given up. */
void weir_pub_resend(struct weir_publisher *p);
/* Give failed events up; for the end. */
void weir_pub_discard(struct weir_publisher *p);

#endif
