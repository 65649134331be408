/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Token buckets as GCRA (ITU-T I.371 annex A, virtual scheduling): one u64, the
 * theoretical arrival time. A bucket that nobody touches refills by itself,
 * costs nothing, and cannot be left half updated.
 */
#ifndef WEIR_GCRA_H
#define WEIR_GCRA_H

#include "base.h"

struct weir_gcra {
	weir_u64 tat_ns;  /* what the bucket becomes if one is taken */
	weir_u64 wait_ns; /* 0: one may be taken now; else until when it may */
};

/* May one be taken at now, given the bucket's tat? tau is burst x interval. */
weir_inline struct weir_gcra weir_gcra_peek(weir_u64 tat_ns, weir_u64 now_ns, weir_u64 interval_ns,
					    weir_u64 tau_ns)
{
	struct weir_gcra g;
	weir_u64 start = tat_ns > now_ns ? tat_ns : now_ns;

	g.tat_ns = start + interval_ns;
	g.wait_ns = g.tat_ns - now_ns > tau_ns ? g.tat_ns - now_ns - tau_ns : 0;
	return g;
}

/* Debt buckets (tokens, known only afterwards): anything left? 0, or ns until there is. */
weir_inline weir_u64 weir_gcra_debt_wait(weir_u64 tat_ns, weir_u64 now_ns, weir_u64 tau_ns)
{
	if (tat_ns <= now_ns || tat_ns - now_ns < tau_ns)
		return 0;
	return tat_ns - now_ns - tau_ns + 1;
}

/* Units left, and ns until the bucket is full again. */
weir_inline weir_u64 weir_gcra_left(weir_u64 tat_ns, weir_u64 now_ns, weir_u64 tau_ns,
				    weir_u64 burst)
{
	weir_u64 used = tat_ns > now_ns ? tat_ns - now_ns : 0;
	weir_u64 interval = burst ? tau_ns / burst : 0;

	if (used >= tau_ns || !interval)
		return 0;
	used = (tau_ns - used) / interval;
	return used < burst ? used : burst;
}

weir_inline weir_u64 weir_gcra_full_in(weir_u64 tat_ns, weir_u64 now_ns)
{
	return tat_ns > now_ns ? tat_ns - now_ns : 0;
}

/* Take one by compare-and-swap. 0: taken, and *until is when time alone will have given it back;
 * else ns to wait; ~0: lost every race. */
weir_inline weir_u64 weir_gcra_take_until(weir_u64 *tat_ns, weir_u64 now_ns, weir_u64 interval_ns,
					  weir_u64 tau_ns, weir_u64 *until)
{
	for (int i = 0; i < 4; i++) {
		weir_u64 seen = *(volatile weir_u64 *)tat_ns;
		struct weir_gcra g = weir_gcra_peek(seen, now_ns, interval_ns, tau_ns);

		if (g.wait_ns)
			return g.wait_ns;
		if (__sync_val_compare_and_swap(tat_ns, seen, g.tat_ns) == seen) {
			*until = g.tat_ns;
			return 0;
		}
	}
	return ~0ULL;
}

weir_inline weir_u64 weir_gcra_take(weir_u64 *tat_ns, weir_u64 now_ns, weir_u64 interval_ns,
				    weir_u64 tau_ns)
{
	weir_u64 until;

	return weir_gcra_take_until(tat_ns, now_ns, interval_ns, tau_ns, &until);
}

/* Such a time in 32 bits, for what keeps it with what was taken: about milliseconds, rounded down.
 */
#define WEIR_UNTIL_SHIFT 20

weir_inline weir_u32 weir_until(weir_u64 ns)
{
	return ns >> WEIR_UNTIL_SHIFT;
}

/* May what was taken still be given back? Later it would be a second time. */
weir_inline bool weir_until_open(weir_u32 until, weir_u64 now_ns)
{
	return (weir_s32)(weir_until(now_ns) - until) < 0;
}

/* Give one back, before its time (weir_until_open): until then the bucket was never full, so a
 * tat moved by whole intervals, and this is exact. */
weir_inline void weir_gcra_give_back(weir_u64 *tat_ns, weir_u64 interval_ns)
{
	/* A limit that is younger than what was taken under it has nothing to give back: below
	 * zero the bucket would be shut for centuries. */
#pragma clang loop unroll(disable)
	for (int i = 0; i < 8; i++) {
		weir_u64 tat = *(volatile weir_u64 *)tat_ns;
		weir_u64 back = tat > interval_ns ? tat - interval_ns : 0;

		if (__sync_val_compare_and_swap(tat_ns, tat, back) == tat)
			return;
	}
}

#endif
