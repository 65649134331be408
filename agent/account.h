/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's view of a tenant's credit and tokens, as the agent moves it:
 * settlement of finished requests, and the ceiling. Layout and rules are in
 * bpf/weir_abi.h. Settling is idempotent by ring position; the ceiling is not,
 * and is therefore recomputed from the ledger at every start.
 */
#ifndef WEIR_ACCOUNT_H
#define WEIR_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/weir_abi.h"

/* What one finished request changes for a tenant. */
struct weir_settlement {
	uint64_t ring_pos; /* behind its END record */
	int64_t released_nano;
	uint64_t tokens_ns; /* tokens x ns per token; 0: none */
	uint64_t now_ns;    /* monotonic */
};

/* Apply once. false: it was applied before (a crash came between). */
bool weir_settle(struct weir_tenant *t, const struct weir_settlement *s);

/* Σ reservations given back so far: settled, or lost with their END record. */
uint64_t weir_released(const struct weir_tenant *t);

/* Reservations that are open or not settled yet. */
int64_t weir_reserved_now(const struct weir_tenant *t);

/* ceiling := balance + overage + settled + lost. Only while nothing settles. */
void weir_ceiling_set(struct weir_tenant *t, int64_t balance_nano, int64_t overage_nano,
		      uint64_t lost_nano);

/* Credit came, went, or was spent: any thread. balance: also move the figure that
 * refusals quote. */
void weir_ceiling_add(struct weir_tenant *t, int64_t delta_nano, int64_t balance_delta_nano);

#endif
