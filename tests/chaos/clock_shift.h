/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the chaos run tells an agent that lives: a file, mapped by both. node.py has the same
 * struct as ctypes. Relaxed atomics; each field has one writer.
 */
#ifndef WEIR_CLOCK_SHIFT_H
#define WEIR_CLOCK_SHIFT_H

#include <stdint.h>

#define CLOCK_SHIFT_FILE "WEIR_CLOCK_SHIFT" /* the environment names it */

struct clock_shift {
	int64_t shift_ns; /* by the driver: the wall clock is so far off */
	/* by the agent, for the driver to see that it is under the preload */
	uint64_t clocks;  /* readings of a shifted wall clock */
	uint64_t waits;	  /* waits for an instant of it */
	uint64_t timers;  /* timers that were set to an instant of it */
	uint64_t stepped; /* steps that such timers were told of */
};
_Static_assert(sizeof(struct clock_shift) == 40, "clock_shift");

#endif
