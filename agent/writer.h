/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer: the one thread that owns the ledger. It takes finished requests
 * from a row queue that outlives the agent, commits them in groups, and only
 * then takes them off the queue; it runs what other threads want written; and it
 * enters what falls due at its instant. It knows nothing of rings, maps or NATS.
 */
#ifndef WEIR_WRITER_H
#define WEIR_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lag.h"
#include "ledger.h"
#include "util.h"

struct weir_writer;

/* The queue's reading end. Called from the writer's thread only. */
struct weir_row_source {
	/* The oldest rows not popped yet, contiguous: *n is at most how many on
	 * the way in, how many there are on the way out. NULL or *n 0: none. */
	const struct weir_row *(*peek)(void *ctx, size_t *n);
	/* The n oldest are durable: forget them. */
	void (*pop)(void *ctx, size_t n);
	/* How many wait, for weir_writer_stats; any thread. May be NULL. */
	size_t (*waiting)(void *ctx);
	void *ctx;
};

struct weir_writer_options {
	/* After a commit (of rows, of a call, of what was due) and the pop of its rows, in
	 * the writer's thread, where the ledger may be used. May be NULL. */
	void (*on_commit)(void *ctx, struct weir_ledger *l, uint64_t newest_seq);
	/* Health changed, in the writer's thread. error: NULL when it is well
	 * again. The writer has logged it already. May be NULL. */
	void (*on_health)(void *ctx, const char *error);
	/* A small write of somebody's, every chore_ns, and after that failed until it works: so it
	 * shows also while no row comes whether the ledger can be written. In the writer's thread.
	 * May be NULL. */
	int (*chore)(void *ctx, struct weir_ledger *l, struct weir_error *err);
	uint64_t chore_ns;
	void *ctx;
	struct weir_lag *lag;  /* from each row's end until it is durable; may be NULL */
	uint64_t group_ns;     /* 0: 20 ms from a group's first row to its commit */
	size_t group_rows;     /* 0: 4096 */
	uint64_t retry_ns;     /* 0: 50 ms before the first retry, doubling … */
	uint64_t retry_max_ns; /* 0: … up to 5 s */
};

/* The ledger is the writer's until weir_writer_stop; src and o are copied. */
int weir_writer_start(struct weir_ledger *l, const struct weir_row_source *src,
		      const struct weir_writer_options *o, struct weir_writer **out,
		      struct weir_error *err);

/* Commits what waits (one try; what cannot be committed stays in the queue) and
 * calls still pending, ends the thread, frees w. The ledger stays open. NULL is fine. */
void weir_writer_stop(struct weir_writer *w);

/* Rows are in the queue. Cheap, any thread, any time; again and again while they wait. */
void weir_writer_kick(struct weir_writer *w);

/* Run fn in the writer's thread, between groups, and wait for its result. Not
 * from the writer's thread itself (on_commit). -ESHUTDOWN once it is stopping. */
int weir_writer_call(struct weir_writer *w, int (*fn)(struct weir_ledger *l, void *arg), void *arg);

/* From now on enter what is due (weir_ledger_advance), when it is due and not before: a time of
 * the wall clock, however that is set. Once what an earlier run left is in the ledger, or late
 * rows would come behind what fell due since. Any thread. */
void weir_writer_keep_time(struct weir_writer *w);

struct weir_writer_stats {
	bool healthy;
	size_t waiting; /* rows in the queue */
	uint64_t rows;	/* committed since start */
	uint64_t known; /* of these, were in the ledger before */
	uint64_t groups;
	uint64_t newest_seq;
	uint64_t newest_ns;	 /* ledger time of that entry */
	uint64_t last_commit_ns; /* duration of the last group's commit */
	char error[512];	 /* the last one, "" if there was none */
	uint64_t failures;	 /* times that it fell ill */
	uint64_t ill_since_ns;	 /* wall; 0: it is well */
	size_t ill_waiting;	 /* rows in the queue when it fell ill */
};
void weir_writer_stats(struct weir_writer *w, struct weir_writer_stats *out);

/* Since when (monotonic) no commit goes well; 0: all is well. Cheap, any thread. */
uint64_t weir_writer_ill_ns(const struct weir_writer *w);

/* At the rate at which rows have come since it is ill: in how many seconds a room of so many more
 * is used up. UINT64_MAX: never, or it is well. now_ns: wall. */
uint64_t weir_writer_full_in_s(const struct weir_writer_stats *s, uint64_t room, uint64_t now_ns);

#endif
