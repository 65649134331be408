/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of struct weir_writer: writer.c is the thread and its work, writer_health.c what it tells
 * of a ledger that cannot be written.
 */
#ifndef WEIR_WRITER_PRIV_H
#define WEIR_WRITER_PRIV_H

#include "agent/writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* A call waits on its caller's stack. */
struct call {
	struct call *next;
	int (*fn)(struct weir_ledger *l, void *arg);
	void *arg;
	int result;
	bool done;
};

enum urgency { AT_LEISURE, URGENT, PRESSED };

struct weir_writer {
	struct weir_ledger *ledger;
	struct weir_row_source src;
	struct weir_writer_options o;
	pthread_t thread;
	int wake;  /* eventfd */
	int alarm; /* timerfd, of the wall clock */

	/* Set while the thread may be asleep, so that a kick is usually one load. */
	atomic_bool idle;
	atomic_bool stopping;
	atomic_bool keeps_time;
	_Atomic enum urgency urgency; /* see set_urgency */
	_Atomic pid_t tid;
	_Atomic uint64_t ill_ns;   /* monotonic, since when no commit goes well; 0: well */
	_Atomic uint64_t since_ns; /* monotonic, first kick since the last commit; 0: none */

	pthread_mutex_t lock;
	pthread_cond_t called; /* a call is done */
	struct call *calls, **last_call;
	struct weir_writer_stats stats;

	/* The thread's own. */
	uint64_t first_ns; /* monotonic, when the group's first row was seen; 0: none */
	uint64_t retry_at_ns, backoff_ns; /* retry_at_ns 0: well */
	uint64_t chore_at_ns;		  /* monotonic */
	int ill_ret;			  /* of the last try, 0: well */
	uint64_t said_ns;		  /* monotonic, when the log was told last */
	uint64_t alarm_ns; /* CLOCK_REALTIME, what the alarm is set to; NEVER: not set */
};

/* A commit failed with ret: say so, and set the instant of the next try. In the writer's thread,
 * as is the other. */
void weir_writer_fell_ill(struct weir_writer *w, int ret, const struct weir_error *err);
/* A commit went well. */
void weir_writer_got_well(struct weir_writer *w);

#endif
