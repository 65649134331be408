// SPDX-License-Identifier: Apache-2.0
/*
 * Stores to the shared tenant entries: the only file that settles and moves ceilings.
 */
#include "account.h"

#include "expiry.h"

/* Index of the copy that holds: as the kernel chooses it (bpf/admit.h). */
static int valid(const struct weir_tenant *t)
{
	return __atomic_load_n(&t->settled[1].ring_pos, __ATOMIC_ACQUIRE) >
	       __atomic_load_n(&t->settled[0].ring_pos, __ATOMIC_ACQUIRE);
}

/*
 * A kill -9 leaves the stores up to some point done and none after it; the memory is the
 * kernel's and stays. Wherever that point is:
 *
 *   before `ring_pos = 0`         nothing has changed;
 *   from there to the last store  the spare's position is 0: readers take the old copy, which
 *                                 nobody touches; whoever settles this record again finds the
 *                                 old copy's position below it and writes the spare anew, from
 *                                 the old copy's sums;
 *   after the last store          the spare is the valid copy, and a settlement of this record
 *                                 again is refused by its position.
 *
 * The fence keeps the figures from overtaking the 0, the release keeps the position from
 * overtaking them: for the compiler and for a reader on another CPU.
 */
bool weir_settle(struct weir_tenant *t, const struct weir_settlement *s)
{
	int now = valid(t), spare = !now;
	const struct weir_settled *old = &t->settled[now];
	struct weir_settled *new = &t->settled[spare];
	uint64_t tat = old->tokens_tat_ns;

	if (s->ring_pos <= old->ring_pos)
		return false;
	if (s->tokens_ns) {
		if (tat < s->now_ns)
			tat = s->now_ns;
		tat += s->tokens_ns;
	}
	__atomic_store_n(&new->ring_pos, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	__atomic_store_n(&new->released_nano, old->released_nano + (uint64_t)s->released_nano,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&new->tokens_tat_ns, tat, __ATOMIC_RELAXED);
	__atomic_store_n(&t->released_tokens[spare], t->released_tokens[now] + s->released_tokens,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&new->ring_pos, s->ring_pos, __ATOMIC_RELEASE);
	return true;
}

uint64_t weir_released(const struct weir_tenant *t)
{
	return t->settled[valid(t)].released_nano +
	       __atomic_load_n(&t->lost_nano, __ATOMIC_ACQUIRE);
}

/* What was released is read first: only what was reserved can be, so the difference is never
 * below 0 for one that looks while others move it. */
int64_t weir_reserved_now(const struct weir_tenant *t)
{
	uint64_t released = weir_released(t);

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return (int64_t)(__atomic_load_n(&t->reserved_nano, __ATOMIC_ACQUIRE) - released);
}

int32_t weir_reserved_tokens_now(const struct weir_tenant *t)
{
	uint32_t released = __atomic_load_n(&t->released_tokens[valid(t)], __ATOMIC_ACQUIRE);

	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return (int32_t)(__atomic_load_n(&t->reserved_tokens, __ATOMIC_ACQUIRE) - released);
}

uint64_t weir_tokens_tat(const struct weir_tenant *t)
{
	return __atomic_load_n(&t->settled[valid(t)].tokens_tat_ns, __ATOMIC_ACQUIRE);
}

#define TIGHT 4 /* times what is reserved */

bool weir_is_tight(const struct weir_tenant *t, uint64_t now_ns)
{
	uint32_t flags = __atomic_load_n(&t->flags, __ATOMIC_RELAXED);
	uint64_t tat = weir_tokens_tat(t);
	int64_t tokens = weir_reserved_tokens_now(t), nano = weir_reserved_now(t);
	int64_t credit = (int64_t)((uint64_t)__atomic_load_n(&t->ceiling_nano, __ATOMIC_RELAXED) -
				   __atomic_load_n(&t->reserved_nano, __ATOMIC_RELAXED));

	if (flags & WEIR_TENANT_LIMIT_TOKENS && tokens > 0) {
		unsigned __int128 used = (unsigned __int128)tokens * (TIGHT + 1);

		used *= t->tokens_interval_ns;
		used += tat > now_ns ? tat - now_ns : 0;
		if (used > t->tokens_tau_ns)
			return true;
	}
	return flags & WEIR_TENANT_CREDIT && nano > 0 && credit / TIGHT < nano;
}

void weir_ceiling_set(struct weir_tenant *t, int64_t balance_nano, int64_t overage_nano,
		      uint64_t lost_nano)
{
	uint64_t sum = (uint64_t)balance_nano + (uint64_t)overage_nano +
		       t->settled[valid(t)].released_nano + lost_nano;

	__atomic_store_n(&t->balance_nano, balance_nano, __ATOMIC_RELAXED);
	__atomic_store_n(&t->ceiling_nano, (int64_t)sum, __ATOMIC_RELEASE);
}

void weir_ceiling_add(struct weir_tenant *t, int64_t delta_nano, int64_t balance_delta_nano)
{
	__atomic_fetch_add(&t->balance_nano, balance_delta_nano, __ATOMIC_RELAXED);
	__atomic_fetch_add(&t->ceiling_nano, delta_nano, __ATOMIC_RELEASE);
}

bool weir_ceiling_hold(struct weir_tenant *t, int64_t nano, int64_t *left)
{
	uint64_t reserved = __atomic_load_n(&t->reserved_nano, __ATOMIC_SEQ_CST);
	int64_t after;

	*left = (int64_t)((uint64_t)__atomic_load_n(&t->ceiling_nano, __ATOMIC_SEQ_CST) - reserved);
	if (*left < nano) /* also keeps the difference below from wrapping */
		return false;
	__atomic_fetch_sub(&t->balance_nano, nano, __ATOMIC_RELAXED);
	after = __atomic_sub_fetch(&t->ceiling_nano, nano, __ATOMIC_SEQ_CST);
	/* Ours is off before `reserved` is looked at, as a request's is in before the ceiling is:
	 * of two that race for the last of it at least one sees the other. */
	reserved = __atomic_load_n(&t->reserved_nano, __ATOMIC_SEQ_CST);
	after = (int64_t)((uint64_t)after - reserved);
	if (after >= 0)
		return true;
	weir_ceiling_add(t, nano, nano);
	*left = after + nano;
	return false;
}

/*
 * The kernel takes what was stored as the next expiry off what is left, from its instant on.
 * When that has been entered, the next one is stored: between the two stores the amount is
 * counted twice, never not at all. What comes, comes last: a request that is let in for it
 * finds its expiry there.
 */
void weir_wallet_moved(struct weir_tenant *t, const struct weir_wallet_move *m)
{
	uint64_t was_ns = __atomic_load_n(&t->expiry_wall_ns, __ATOMIC_RELAXED);
	int64_t entered = 0;

	if (was_ns && was_ns <= m->now_ns && was_ns != m->expiry_wall_ns)
		entered = t->expiry_nano;
	weir_ceiling_add(t, -entered, -entered);
	weir_expiry_store(t, m->expiry_wall_ns, m->expiry_nano);
	weir_ceiling_add(t, m->nano + entered, m->nano + entered);
}
