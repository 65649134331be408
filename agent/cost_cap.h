/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tenant's request_cost_cap: what an answer has cost so far is looked at while it runs, and
 * one that costs more is marked, for the kernel to cut. For the ring thread.
 */
#ifndef WEIR_COST_CAP_H
#define WEIR_COST_CAP_H

#include <stdint.h>

#include "enforce.h"
#include "finish.h"
#include "kernel.h"
#include "state.h"

/* Starts with kernel, enforce, pricing and learnt; counters may be read by any thread. */
struct weir_cost_cap {
	struct weir_kernel *kernel;
	struct weir_enforce *enforce;
	struct weir_pricing *pricing; /* set to the policy in force */
	const struct weir_learnt *learnt;
	uint64_t cut;		/* answers marked */
	uint64_t cut_in_shadow; /* that would have been: a tenant in shadow, enforcement off */
};

/* Bytes of the answer to `asked` took its parser in a slot from `before` to `now`. Under
 * weir_enforce_read_lock. Costs two loads where the tenant has no cap. */
void weir_cost_cap_check(struct weir_cost_cap *c, const struct weir_asked *asked,
			 const struct weir_open *before, const struct weir_open *now,
			 uint32_t slot);

#endif
