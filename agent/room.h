/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that find no room in the map of flows: told in the log, at most once a
 * minute while it goes on, and in status as long as the last one is less than a minute ago.
 */
#ifndef WEIR_ROOM_H
#define WEIR_ROOM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/weir_abi.h"

struct weir_room {
	pthread_mutex_t lock;
	uint64_t seen_passed, seen_reset; /* the kernel's counters at the last look */
	bool looked;
	uint64_t passed, reset; /* since it began; it is over after a minute without any */
	uint64_t grew_ns, told_ns;
};

void weir_room_init(struct weir_room *r);
void weir_room_destroy(struct weir_room *r);

/* To be called every second or so with the kernel's counters. used of max connections are
 * followed: well below that, what is not followed are late packets of closed ones. */
void weir_room_look(struct weir_room *r, const uint64_t verdicts[static WEIR_REASON_MAX],
		    uint64_t used, uint64_t max, uint64_t now_ns);

/* Packets passed unjudged and connections reset, while that goes on; else 0. Any thread. */
void weir_room_now(struct weir_room *r, uint64_t now_ns, uint64_t *passed, uint64_t *reset);

#endif
