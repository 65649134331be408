// SPDX-License-Identifier: Apache-2.0
/*
 * Stores to the shared tenant entries; the only file that writes their third line.
 */
#include "account.h"

static const struct weir_settled *valid(const struct weir_tenant *t)
{
	return &t->settled[t->settled[1].ring_pos > t->settled[0].ring_pos];
}

bool weir_settle(struct weir_tenant *t, const struct weir_settlement *s)
{
	const struct weir_settled *old = valid(t);
	struct weir_settled *spare = &t->settled[old == &t->settled[0]];
	uint64_t tat = old->tokens_tat_ns;

	if (s->ring_pos <= old->ring_pos)
		return false;
	if (s->tokens_ns) {
		if (tat < s->now_ns)
			tat = s->now_ns;
		tat += s->tokens_ns;
	}
	__atomic_store_n(&spare->ring_pos, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&spare->released_nano, old->released_nano + (uint64_t)s->released_nano,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&spare->tokens_tat_ns, tat, __ATOMIC_RELAXED);
	__atomic_store_n(&spare->ring_pos, s->ring_pos, __ATOMIC_RELEASE);
	return true;
}

uint64_t weir_released(const struct weir_tenant *t)
{
	return valid(t)->released_nano + __atomic_load_n(&t->lost_nano, __ATOMIC_ACQUIRE);
}

int64_t weir_reserved_now(const struct weir_tenant *t)
{
	return (int64_t)(__atomic_load_n(&t->reserved_nano, __ATOMIC_ACQUIRE) - weir_released(t));
}

void weir_ceiling_set(struct weir_tenant *t, int64_t balance_nano, int64_t overage_nano,
		      uint64_t lost_nano)
{
	uint64_t sum = (uint64_t)balance_nano + (uint64_t)overage_nano + valid(t)->released_nano +
		       lost_nano;

	__atomic_store_n(&t->balance_nano, balance_nano, __ATOMIC_RELAXED);
	__atomic_store_n(&t->ceiling_nano, (int64_t)sum, __ATOMIC_RELEASE);
}

void weir_ceiling_add(struct weir_tenant *t, int64_t delta_nano, int64_t balance_delta_nano)
{
	__atomic_fetch_add(&t->balance_nano, balance_delta_nano, __ATOMIC_RELAXED);
	__atomic_fetch_add(&t->ceiling_nano, delta_nano, __ATOMIC_RELEASE);
}
