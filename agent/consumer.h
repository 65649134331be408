/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring consumer: one thread that folds the kernel's records into parsers,
 * finishes requests, settles them against the kernel's figures and queues their
 * rows. It is also the heartbeat: while it runs, and the ledger can be written, the kernel knows
 * that an agent does.
 */
#ifndef WEIR_CONSUMER_H
#define WEIR_CONSUMER_H

#include <stdbool.h>
#include <stdint.h>

#include "decode.h"
#include "denials.h"
#include "enforce.h"
#include "hidden.h"
#include "kernel.h"
#include "labels.h"
#include "lag.h"
#include "state.h"
#include "tally.h"
#include "writer.h"

struct weir_consumer;

struct weir_consumer_stats {
	uint64_t records;
	uint64_t rows;
	uint64_t orphans;	/* response bytes or ends of requests that are not known */
	uint64_t ring_used;	/* bytes */
	uint64_t open;		/* requests begun and not ended, since start */
	uint64_t capped;	/* answers that are cut for what they cost (request_cost_cap) */
	uint64_t capped_shadow; /* would have been */
	bool silent; /* no heartbeat for longer than agent_timeout: on_agent_down decides */
	struct weir_tally tally;
	struct weir_decoders_stats decoders;
};

/* All must live as long as the consumer, not this struct. */
struct weir_consumer_parts {
	struct weir_kernel *kernel;
	struct weir_enforce *enforce;
	struct weir_state *state;
	struct weir_denials *denials;
	const struct weir_label_config *labels;
	const char *const *services; /* their names by number, [0] is nobody's */
	size_t n_services;
	size_t decoder_bytes; /* for compressed answers that are open */
	struct weir_lag *lag; /* from a request's end to its settlement; may be NULL */
};
int weir_consumer_new(const struct weir_consumer_parts *p, struct weir_consumer **out,
		      struct weir_error *err);

/* Before the thread runs: fold what an earlier agent left in the ring. Ceilings are
 * not moved; the caller sets them once the rows are committed. w may be kicked. */
int weir_consumer_recover(struct weir_consumer *c, struct weir_writer *w);

int weir_consumer_start(struct weir_consumer *c, struct weir_writer *w, struct weir_error *err);
void weir_consumer_stats(struct weir_consumer *c, struct weir_consumer_stats *out);

/* Which services hide usage; lives as long as c, any thread. */
struct weir_hidden *weir_consumer_hidden(struct weir_consumer *c);

/* Folds what is in the ring, ends the thread, frees c. false: there was no room for
 * the rows for five seconds; the rest is still in the ring. NULL is fine. */
bool weir_consumer_stop(struct weir_consumer *c);

#endif
