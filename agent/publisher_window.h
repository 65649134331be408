/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the publisher: the window of events in flight and the connection they
 * go over (publisher_window.c), what of it fills the window (publisher_entry.c,
 * publisher_denials.c), and where each stream stands (publisher_lane.h), as the
 * thread that drives all of it sees them (publisher.c). Nobody else includes this.
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
#include "publisher_lane.h"
#include "publisher_stream.h"

#define WEIR_PUBLISHER_ACK_MS 3000 /* an event without an answer so long has failed */
#define WEIR_PUBLISHER_MASK   (WEIR_PUBLISHER_WINDOW - 1)
_Static_assert((WEIR_PUBLISHER_WINDOW & WEIR_PUBLISHER_MASK) == 0, "the window is masked");

enum weir_pub_state { WEIR_PUB_SENT, WEIR_PUB_FAILED, WEIR_PUB_DONE };

#define WEIR_PUB_ID_TEXT (WEIR_EVENT_ID_TEXT + 9) /* with 8 digits of the ledger's id */
#define WEIR_PUB_RATE_S	 10

struct weir_pub_slot {
	enum weir_pub_state state;
	enum weir_stream stream;
	bool definite;	     /* FAILED: the server refused it, and would again */
	uint64_t seq;	     /* ledger entry; 0: a refusal of a request */
	uint64_t ended_ns;   /* when what it tells ended, wall */
	uint64_t from;	     /* events of this entry and of later ones are behind this one */
	uint64_t after;	     /* the stream had given this number when it was sent */
	uint64_t stream_seq; /* DONE: its own; 0: it is not on a stream */
	natsMsg *msg;	     /* SENT: the library's, only compared; FAILED: ours */
	char id[WEIR_PUB_ID_TEXT];
};

/* A refusal that its stream did not take: nothing waits for it. */
struct weir_pub_held {
	natsMsg *msg;
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
	char failure[224];			   /* why the last event was not taken */
	uint64_t too_large[WEIR_STREAM_PUBLISHED]; /* entry that its stream has no message for */
	bool suspect;	    /* numbers of a stream went back: it lost what it had */
	uint64_t oldest_ns; /* wall; time of the oldest entry not acknowledged; 0: none */

	/* the thread's own */
	struct weir_reader *reader;
	natsConnection *nc; /* NULL: not connected */
	jsCtx *js;
	char unreachable[WEIR_NATS_WHY]; /* why the last attempt to connect failed */
	uint64_t connect_at_ns;
	bool ready[WEIR_STREAM_PUBLISHED];
	bool definite[WEIR_STREAM_PUBLISHED]; /* not ready, and that will not pass by itself */
	uint64_t unready_ns[WEIR_STREAM_PUBLISHED]; /* since when it is not; 0: it is, or was not
						     * looked at on this connection */
	uint64_t refused_ns[WEIR_STREAM_PUBLISHED]; /* since when it takes nothing; 0: it does */
	uint64_t refused_at[WEIR_STREAM_PUBLISHED]; /* what it had taken then */
	uint64_t refusing_until_ns[WEIR_STREAM_PUBLISHED]; /* what was given up is tried again */
	uint64_t skip_logged_ns;
	char problem[WEIR_STREAM_PUBLISHED][256];
	char ledger_problem[256];
	uint64_t check_at_ns, look_at_ns;
	uint64_t answered_ns, taken_before; /* publisher_move.c; when the server last did */
	uint64_t next_seq;		    /* to read from the ledger */
	uint64_t retry_ns, retry_at_ns, acked_at_retry;
	uint64_t denials_at_ns;
	struct weir_text text;

	/* publisher_denials.c; the first three with the lock held */
	struct weir_pub_held held[WEIR_PUBLISHER_WINDOW]; /* refusals that were not taken */
	size_t n_held;
	bool deny_failed, deny_definite;
	uint64_t held_at_ns;

	/* publisher_lane.h */
	struct weir_pub_lane lanes[WEIR_STREAM_PUBLISHED]; /* DENY has none */
	bool resumed; /* the lanes are known, and all may go on */
	bool rederived;
	struct weir_pub_mark marks[WEIR_PUB_MARKS]; /* the last seconds, in a ring */
	unsigned first_mark, n_marks;
	struct weir_stream_cursor stored[WEIR_STREAM_PUBLISHED];
	uint64_t stored_at_ns;

	/* publisher_status.c */
	uint64_t acked_by_second[WEIR_PUB_RATE_S + 1]; /* total at the end of each */
	uint64_t rate_second, rate_from;
	uint64_t lag_at_ns, lag_seq;
};

/* All of these are for the publisher's thread only. */

/* True while there is a connection; makes one if it is time to. */
bool weir_pub_connected(struct weir_publisher *p, uint64_t now_ns);
/* Events it leaves unanswered become failed ones. */
void weir_pub_disconnect(struct weir_publisher *p);

/* Several servers, and this one takes nothing: lets go of it, for another. True: it did. */
bool weir_pub_move(struct weir_publisher *p, uint64_t now_ns);

/* Look at those that are not ready, now and then (publisher_ready.c). */
void weir_pub_check_streams(struct weir_publisher *p, uint64_t now_ns);
/* Never METER. Others do not hold up usage for long: their stream has not been to be had for a
 * while, or takes nothing. */
bool weir_pub_given_up(const struct weir_publisher *p, enum weir_stream which);
/* The first, in the order of what matters most; "": all are well. */
const char *weir_pub_stream_problem(const struct weir_publisher *p);
/* One of its events was refused, once more: it is given up after a while. With the lock held. */
void weir_pub_refused(struct weir_publisher *p, enum weir_stream which, bool definite,
		      uint64_t now_ns);
/* All are answered and some failed: is it given up? Called once for each round. */
void weir_pub_note_refusal(struct weir_publisher *p, uint64_t now_ns);

/* How many events may be added now: none while failed ones wait. */
size_t weir_pub_room(struct weir_publisher *p);
/* A new event at the window's end, made of p->text; the caller has seen that there
 * is room. seq 0, ended_ns: as in the slot. 0 or -ENOMEM; one that could not be sent is in the
 * window as failed. */
int weir_pub_push(struct weir_publisher *p, enum weir_stream stream, uint64_t seq,
		  uint64_t ended_ns, const char *id, const char *subject);
/* An entry that is not sent takes its place in the window, so that the cursor passes it.
 * stream_seq: where its stream has it, 0: it has not. */
void weir_pub_pass(struct weir_publisher *p, enum weir_stream stream, uint64_t seq,
		   uint64_t stream_seq);
/* The window without entries: they are read again from the ledger. Refusals, which are in no
 * ledger, are sent again, or given up. Nothing may be unanswered. */
void weir_pub_rewind(struct weir_publisher *p);
/* Give failed events up; for the end. */
void weir_pub_discard(struct weir_publisher *p);

/* publisher_entry.c, publisher_denials.c: what there is and has room goes out. */
enum weir_stream weir_pub_stream_of(const struct weir_entry *e);
void weir_pub_ledger(struct weir_publisher *p);
void weir_pub_denials(struct weir_publisher *p, uint64_t now_ns, bool all);
/* With the lock held: a slot of DENY failed; it is DONE, and its message is kept. */
void weir_pub_hold_denial(struct weir_publisher *p, struct weir_pub_slot *s, bool definite);
void weir_pub_drop_denials(struct weir_publisher *p);
/* As weir_pub_push, of a message that is there. Takes it. */
void weir_pub_push_message(struct weir_publisher *p, enum weir_stream stream, natsMsg *msg,
			   uint64_t seq, uint64_t ended_ns, const char *id);

/* publisher_status.c */
void weir_pub_update_status(struct weir_publisher *p, bool connected);

#endif
