/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every now and then, what the kernel programs hold is compared with the sockets that are
 * there and with itself (compare.h), and what has drifted is put right: a connection that has
 * no socket is given back, a gauge that is off is corrected. There should be none: each is
 * counted, and logged as a warning.
 *
 * One thread at low priority, that takes no more than a tenth of a core: after a round that
 * was long it waits longer.
 */
#ifndef WEIR_DRIFT_H
#define WEIR_DRIFT_H

#include "config.h"
#include "enforce.h"
#include "kernel.h"

struct weir_drift_stats {
	uint64_t sweeps; /* rounds that were carried through, and those that were not */
	uint64_t failed;
	uint64_t flows, sockets;    /* in the last round */
	uint64_t untracked_sockets; /* of `sockets`: none of `flows` is theirs */
	uint64_t reaped;	    /* connections; these and the next three are totals */
	uint64_t corrected_connections, corrected_half_open, corrected_inflight;
	uint64_t reservations_off; /* told of, not corrected */
	uint32_t unsure;	   /* gauges that moved too much to be told, in the last round */
	uint32_t last_ms;	   /* how long the last round took, */
	uint32_t last_cpu_ms;	   /* and of that on a core */
};

struct weir_drift;

/* All pointers stay the caller's, until weir_drift_stop. */
int weir_drift_start(struct weir_kernel *k, const struct weir_agent_config *cfg,
		     struct weir_enforce *e, struct weir_drift **out, struct weir_error *err);

/* Waits for a round under way. NULL is fine. */
void weir_drift_stop(struct weir_drift *d);

/* From any thread. NULL: all 0. */
void weir_drift_stats(struct weir_drift *d, struct weir_drift_stats *out);

#endif
