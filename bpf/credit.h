/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is left of a wallet's credit. The agent lowers the ceiling when something has expired,
 * but credit ends at its instant, also while no agent runs: so the next expiry is looked at
 * with each request (limits.md). User space writes it in agent/expiry.h.
 */
#ifndef WEIR_BPF_CREDIT_H
#define WEIR_BPF_CREDIT_H

#include "base.h"

/*
 * What has expired and is still in the ceiling. To be read before the ceiling: an agent that
 * applies an expiry stores in the other order. Until it has, instant and amount are of one
 * expiry if the instant is the same before and behind the amount, which is read by an atomic:
 * BPF has no other way to keep loads in order on every CPU.
 */
weir_inline weir_s64 weir_expired(struct weir_tenant *wallet, weir_u64 wall_ns)
{
	weir_u64 at = *(volatile weir_u64 *)&wallet->expiry_wall_ns;
	weir_s64 nano;

	if (at - 1 >= wall_ns) /* 0 is never */
		return 0;
	nano = __sync_fetch_and_add(&wallet->expiry_nano, 0);
	return *(volatile weir_u64 *)&wallet->expiry_wall_ns == at ? nano : 0;
}

/* Beside what is reserved. All of them wrap, the difference does not. */
weir_inline weir_s64 weir_credit_left(const struct weir_tenant *wallet, weir_u64 reserved,
				      weir_s64 expired)
{
	weir_u64 ceiling = *(volatile weir_u64 *)&wallet->ceiling_nano;

	return (weir_s64)(ceiling - reserved - (weir_u64)expired);
}

#endif
