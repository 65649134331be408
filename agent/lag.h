/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long things take on their way, as histograms for metrics and the benchmark: from the record
 * that ends a request to its effect. One writer each, read by any thread; noting costs some ns.
 */
#ifndef WEIR_LAG_H
#define WEIR_LAG_H

#include <stdint.h>

/* Bounds 100 µs · 2^i; the last has no bound. */
#define WEIR_LAG_BUCKETS 20

struct weir_lag {
	uint64_t count[WEIR_LAG_BUCKETS];
	uint64_t sum_ns;
};

/* All of an agent's. */
struct weir_lags {
	struct weir_lag settled;   /* the kernel's END record to the moved balance */
	struct weir_lag committed; /* the request's end to its durable entry */
	struct weir_lag published; /* the request's end to the PubAck */
};

/* One writer; relaxed stores. */
void weir_lag_note(struct weir_lag *l, uint64_t ns);
void weir_lag_read(const struct weir_lag *l, struct weir_lag *out);
/* Upper bound of bucket i; UINT64_MAX of the last. */
uint64_t weir_lag_bound_ns(unsigned i);
/* The bucket's upper bound below which at least that share (0..1000 per mille) of all lie; 0: none.
 */
uint64_t weir_lag_quantile_ns(const struct weir_lag *l, unsigned per_mille);

#endif
