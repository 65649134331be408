/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the publisher: where each stream stands (delivery.md, 12 to 14).
 *
 * An acknowledgement is a promise that a server may break: it did not fsync, or (nats-server 2.9)
 * it led a group of replicas that went on without it. So the cursor that counts is some seconds
 * old (a mark), and whenever anything is amiss (a new connection, an event that was not taken,
 * stream numbers that go back) all begins anew from it: what the lane has behind it is read, and
 * of the ledger what is not there is sent. If the stream has lost even what was acknowledged
 * before the mark, then from the last event that it does have.
 */
#ifndef WEIR_PUBLISHER_LANE_H
#define WEIR_PUBLISHER_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"
#include "lane.h"
#include "publisher_stream.h"

#define WEIR_PUB_MARKS 20 /* seconds between what is acknowledged and what is stored as such */

struct weir_publisher;

/* An event that its stream has. */
struct weir_pub_had {
	struct weir_id id;
	uint64_t stream_seq;
};

struct weir_pub_lane {
	uint64_t made_ns;  /* when the stream was created; 0: it was never seen */
	uint32_t replicas; /* 1: a broken connection tells of every loss */
	bool known;	   /* it was read since all began anew */
	uint64_t done_seq; /* entries up to here are acknowledged, although the cursor, which is
			    * of all streams, may be behind */
	uint64_t highest;  /* number of an event up to the cursor */
	uint64_t top;	   /* highest number of any event */
	uint64_t from;	   /* the lane was read from behind this one */
	uint64_t until;	   /* entries up to here may be on it: if they are in had */
	struct weir_pub_had *had; /* by id */
	size_t n_had, cap_had;
	uint64_t lost_until;   /* entries up to here were there once, and are published again ... */
	uint64_t since_ns;     /* ... if they are not older than this: the stream's max_age */
	char loss[200];	       /* what is said of it meanwhile */
	uint64_t skipped_seq;  /* the last entry that was given up */
	char foreign[256];     /* another ledger publishes here; "": none seen lately */
	uint64_t foreign_seen; /* looked up to here ... */
	uint64_t foreign_of_ns; /* ... on the stream that was made then */
	uint64_t foreign_ns;
};

/* Where all stood at an instant. */
struct weir_pub_mark {
	struct weir_stream_cursor at[WEIR_STREAM_PUBLISHED];
};

/* Name of its row in table cursor; NULL: DENY, which has none. */
const char *weir_pub_cursor_name(enum weir_stream which);

/* How all stands becomes the only mark, and is stored. */
void weir_pub_mark_anew(struct weir_publisher *p);
/* From the database; all begins there. */
int weir_pub_load_cursors(struct weir_publisher *p, struct weir_error *err);
/* Once a second: one more mark; the oldest is stored. now: at once, for the end; of streams
 * without replicas how all stands. */
void weir_pub_store_cursors(struct weir_publisher *p, uint64_t now_ns, bool now);

/* Begin anew: read the lanes behind the oldest mark. Nothing may be unanswered. False: it could
 * not be, p->ledger_problem says why. Blocks for seconds. */
bool weir_pub_resume(struct weir_publisher *p);
/* The ids on a lane behind a cursor into out, which is all zero, its had to be freed. */
int weir_pub_read_lane(struct weir_publisher *p, enum weir_stream which,
		       const struct weir_stream_cursor *c, struct weir_pub_lane *out,
		       struct weir_error *err);
/* Of streams with replicas: read back what was acknowledged between two marks (delivery.md, 12a).
 * 0: all of it is there. 1: it is not. -errno. */
int weir_pub_confirm(struct weir_publisher *p, const struct weir_pub_mark *from,
		     const struct weir_pub_mark *to, struct weir_error *err);
/* Does its stream have it, from before? Its number there; 0: no. */
uint64_t weir_pub_had(const struct weir_pub_lane *l, const struct weir_id *id);
/* Is each stream still the one it was, and is it ours alone? Every some seconds. */
void weir_pub_look(struct weir_publisher *p, uint64_t now_ns);
void weir_pub_lanes_free(struct weir_publisher *p);

#endif
