/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next expiry of a wallet, as the kernel holds it: bpf/weir_abi.h says what it does with
 * it, bpf/admit.h in which order it reads.
 */
#ifndef WEIR_EXPIRY_H
#define WEIR_EXPIRY_H

#include <stdint.h>

#include "bpf/weir_abi.h"

/*
 * From wall_ns on (Unix; 0: never) nano less is left. What was stored before and is due must
 * have been taken off the ceiling already: killed in between, it counts twice until an agent
 * starts again and sets both. One thread per wallet.
 *
 * While the two change there is none, so that nobody takes one's amount for the other's: who
 * reads then, finds the ceiling without what was due, and nothing else is.
 */
static inline void weir_expiry_store(struct weir_tenant *t, uint64_t wall_ns, int64_t nano)
{
	if (__atomic_load_n(&t->expiry_wall_ns, __ATOMIC_RELAXED) == wall_ns) {
		__atomic_store_n(&t->expiry_nano, nano, __ATOMIC_RELEASE);
		return;
	}
	__atomic_store_n(&t->expiry_wall_ns, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&t->expiry_nano, nano, __ATOMIC_SEQ_CST);
	__atomic_store_n(&t->expiry_wall_ns, wall_ns, __ATOMIC_SEQ_CST);
}

#endif
