/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that has ended is settled at each level it was charged at: what it reserved goes,
 * what it used comes.
 */
#ifndef WEIR_SETTLE_H
#define WEIR_SETTLE_H

#include <stdbool.h>

#include "bpf/weir_abi.h"
#include "enforce.h"
#include "kernel.h"
#include "row.h"

/* pos: in the ring, behind its END record; each level is settled once by it. Under the policy's
 * read lock. true: the wallet has its reservation back by this call, and the caller moves its
 * ceiling; false: that was done before. */
bool weir_settle_levels(struct weir_kernel *k, const struct weir_enforce *e,
			const struct weir_rec_end *rec, const struct weir_row *row, uint64_t pos);

#endif
