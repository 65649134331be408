// SPDX-License-Identifier: Apache-2.0
#include "lag.h"

#include <stddef.h>

static void add(uint64_t *n, uint64_t more)
{
	__atomic_store_n(n, *n + more, __ATOMIC_RELAXED);
}

uint64_t weir_lag_bound_ns(unsigned i)
{
	static const uint64_t steps[] = { 1, 2, 3, 5 };
	uint64_t bound = 100000;

	if (i >= WEIR_LAG_BUCKETS - 1)
		return UINT64_MAX;
	for (unsigned tens = i / 4; tens; tens--)
		bound *= 10;
	return bound * steps[i % 4];
}

void weir_lag_note(struct weir_lag *l, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t ns = to_ns > from_ns ? to_ns - from_ns : 0;
	unsigned i = 0;

	if (!l)
		return;
	while (ns > weir_lag_bound_ns(i))
		i++;
	add(&l->count[i], 1);
	add(&l->sum_ns, ns);
}

void weir_lag_read(const struct weir_lag *l, struct weir_lag *out)
{
	for (unsigned i = 0; i < WEIR_LAG_BUCKETS; i++)
		out->count[i] = __atomic_load_n(&l->count[i], __ATOMIC_RELAXED);
	out->sum_ns = __atomic_load_n(&l->sum_ns, __ATOMIC_RELAXED);
}

uint64_t weir_lag_total(const struct weir_lag *l)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WEIR_LAG_BUCKETS; i++)
		n += l->count[i];
	return n;
}

uint64_t weir_lag_quantile_ns(const struct weir_lag *l, unsigned per_mille)
{
	uint64_t all = weir_lag_total(l), below = 0;
	unsigned i = 0;

	if (!all)
		return 0;
	for (;; i++) {
		below += l->count[i];
		/* Of none at least one. */
		if (below && (unsigned __int128)below * 1000 >= (unsigned __int128)all * per_mille)
			return weir_lag_bound_ns(i);
	}
}
