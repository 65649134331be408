/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wall clock as the agent believes it (delivery.md, 2): CLOCK_REALTIME, but for a step of more
 * than two hours while nobody synchronises it, which is not followed. weir_wall_ns is this clock.
 * One per process; any thread may read it.
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
};

/* Look at the clock; once a second, by the agent's tick, before anybody uses the time for what is
 * due. Before the first tick CLOCK_REALTIME is believed. */
void weir_clock_tick(void);
void weir_clock_status(struct weir_clock_status *out);

#endif
