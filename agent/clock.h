/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wall clock as the agent believes it (delivery.md, 2): CLOCK_REALTIME, but for a step of more
 * than two hours while nobody synchronises it, which is not followed. weir_wall_ns is this clock.
 * One per process; any thread may read it. Without weir_clock_tick (weirctl) it is CLOCK_REALTIME.
 */
#ifndef WEIR_CLOCK_H
#define WEIR_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define WEIR_CLOCK_STEP_NS (UINT64_C(7200) * 1000000000)

struct weir_clock_status {
	bool synchronised; /* as the kernel says */
	bool held;	   /* CLOCK_REALTIME stepped, and is not followed */
	int64_t step_ns;   /* by how much, if held */
	uint64_t since_ns; /* believed wall time when it stepped */
	int error;	   /* the kernel does not say (errno); then it is not synchronised. 0 */
};

/* Look at the clock; at the start, then once a second, by the agent's tick, before anybody uses the
 * time for what is due. Before the first tick CLOCK_REALTIME is believed. True: what is believed is
 * another time than before, though nobody has set CLOCK_REALTIME just now: alarms are to be set
 * anew. A step that is held, and its end, are said in the log. */
bool weir_clock_tick(void);
void weir_clock_status(struct weir_clock_status *out);

/* What CLOCK_REALTIME will be when the believed clock is wall_ns: for timers of the kernel. */
uint64_t weir_clock_real_ns(uint64_t wall_ns);

/* Where the time comes from; for tests. NULL: the kernel. Begins anew, as before the first tick. */
struct weir_clock_source {
	uint64_t (*real_ns)(void);
	uint64_t (*boot_ns)(void);
	int (*synchronised)(void); /* 1, 0, or -errno */
};
void weir_clock_use(const struct weir_clock_source *s);

#endif
