/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this ledger has on a stream (delivery.md, 3): reading back what was published. For resuming,
 * for `events verify`, and for what a restored database has lost. It changes nothing on the server
 * but for a consumer of its own, which ends with the read. One thread per context.
 */
#ifndef WEIR_LANE_H
#define WEIR_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nats/nats.h>

#include "row.h"
#include "util.h"

/* A stream as the server has it. */
struct weir_lane_stream {
	uint64_t made_ns; /* when it was created, by the server's clock: names this stream */
	uint64_t first_seq, last_seq, messages;
	uint64_t max_age_ns; /* 0: for ever */
	uint64_t duplicates_ns;
	uint32_t replicas;
};
/* -ENOENT: no such stream; -EIO with err. */
int weir_lane_stream(jsCtx *js, const char *stream, struct weir_lane_stream *out,
		     struct weir_error *err);

/* A message that is an event of this ledger and node. Strings live as long as the call. */
struct weir_lane_event {
	uint64_t stream_seq;
	uint64_t stored_ns;    /* by the server's clock */
	struct weir_id id;     /* of the CloudEvent, the entry's */
	uint64_t ledger_seq;   /* 0: it says none */
	uint64_t previous_seq; /* UINT64_MAX: it says none */
	const char *subject;
	const char *json; /* the event, n bytes */
	size_t n;
};

/* What was on the lane and is no event of ours. */
struct weir_lane_others {
	uint64_t malformed;		     /* not an event, or without what ours have */
	uint64_t foreign;		     /* of another ledger under our node's name */
	uint64_t malformed_seq, foreign_seq; /* the last one's stream sequence number */
	char foreign_source[128];
};

struct weir_lane_query {
	const char *stream;
	const char *topic; /* "meter": messages of <topic>.v1.*.<node> */
	const char *node;
	const char *ledger_id; /* events of other sources are counted only */
	uint64_t from_seq;     /* stream sequence numbers >= this */
	bool data;	       /* json is wanted; else only headers and the few fields are read */
};

/* Not 0 ends the read and is its result. */
typedef int (*weir_lane_fn)(const struct weir_lane_event *e, void *ctx);

/* From from_seq up to what the lane had when it was asked, in stream order. 0 or -errno with err:
 * -EIO the server does not answer, -ENOENT no such stream. */
int weir_lane_read(jsCtx *js, const struct weir_lane_query *q, weir_lane_fn fn, void *ctx,
		   struct weir_lane_others *others, struct weir_error *err);

/* The last event on the lane. -ENODATA: there is none. out->json is not set. others (may be NULL):
 * what the lane's last message is, if it is no event of ours. */
int weir_lane_last(jsCtx *js, const struct weir_lane_query *q, struct weir_lane_event *out,
		   struct weir_lane_others *others, struct weir_error *err);

#endif
