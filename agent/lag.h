/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long things take on their way, as histograms for metrics and the benchmark: from the record
 * that ends a request to its effect. One writer each, read by any thread; noting costs some ns.
 */
#ifndef WEIR_LAG_H
#define WEIR_LAG_H

#include <stdint.h>

/* Bounds 1, 2, 3 and 5 of each power of ten, from 100 µs to 50 s; the last has none. */
#define WEIR_LAG_BUCKETS 25

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

/* From one instant to another of the same clock; one that was set back meanwhile makes it 0. One
 * writer; l NULL: nobody wants to know. */
void weir_lag_note(struct weir_lag *l, uint64_t from_ns, uint64_t to_ns);
void weir_lag_read(const struct weir_lag *l, struct weir_lag *out);
uint64_t weir_lag_total(const struct weir_lag *l);
/* Upper bound of bucket i, which it includes; UINT64_MAX of the last. */
uint64_t weir_lag_bound_ns(unsigned i);
/* The bucket's upper bound below which at least that share (0..1000 per mille) of all lie; 0: none.
 */
uint64_t weir_lag_quantile_ns(const struct weir_lag *l, unsigned per_mille);

#endif
