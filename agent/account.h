/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's view of an entry's credit and tokens, as the agent moves it:
 * settlement of finished requests, and the ceiling. Layout and rules are in
 * bpf/weir_abi.h. Settling is idempotent by ring position; the ceiling is not,
 * and is therefore recomputed from the ledger at every start.
 */
#ifndef WEIR_ACCOUNT_H
#define WEIR_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/weir_abi.h"

/* Most that one request adds to the debt of tokens/min: a year. */
#define WEIR_DEBT_MAX_NS (UINT64_C(366) * 86400 * 1000000000)

/* What one finished request changes at one level it was charged at. */
struct weir_settlement {
	uint64_t ring_pos;     /* behind its END record */
	int64_t released_nano; /* 0 but at the wallet */
	uint64_t tokens_ns;    /* tokens x ns per token of the level's rate; 0: none */
	uint64_t now_ns;       /* monotonic; when the tokens were used */
	uint32_t released_tokens;
};

/* Apply once. false: it was applied before (a crash came between). One thread. */
bool weir_settle(struct weir_tenant *t, const struct weir_settlement *s);

/* Σ reservations given back so far: settled, or lost with their END record. */
uint64_t weir_released(const struct weir_tenant *t);

/* Reservations that are open or not settled yet. */
int64_t weir_reserved_now(const struct weir_tenant *t);
int32_t weir_reserved_tokens_now(const struct weir_tenant *t);

/* The bucket of tokens, as the kernel reads it: how far ahead of now it is, is its debt. */
uint64_t weir_tokens_tat(const struct weir_tenant *t);

/* Might somebody be refused for what is in flight, and be let in once that is settled? True
 * where less is left of the bucket of tokens or of the credit than a few times what is
 * reserved. Of the wallet's own flags and credit. */
bool weir_is_tight(const struct weir_tenant *t, uint64_t now_ns);

/* ceiling := balance + overage + settled + lost. Only while nothing settles. */
void weir_ceiling_set(struct weir_tenant *t, int64_t balance_nano, int64_t overage_nano,
		      uint64_t lost_nano);

/* Credit came, went, or was spent: any thread. balance: also move the figure that
 * refusals quote. */
void weir_ceiling_add(struct weir_tenant *t, int64_t delta_nano, int64_t balance_delta_nano);

/* Take nano (> 0) off ceiling and balance, if as much is left beside what is reserved. In any
 * case *left is what that was. What was taken is given back by weir_ceiling_add. */
bool weir_ceiling_hold(struct weir_tenant *t, int64_t nano, int64_t *left);

/* A commit moved a wallet: by how much, and what of it expires next (0, 0: nothing does). */
struct weir_wallet_move {
	int64_t nano;	 /* of ceiling and balance */
	uint64_t now_ns; /* wall */
	uint64_t expiry_wall_ns;
	int64_t expiry_nano;
};
/* Whenever a request is judged meanwhile, and whenever we are killed, nothing is spent that is
 * not there. One thread. */
void weir_wallet_moved(struct weir_tenant *t, const struct weir_wallet_move *m);

#endif
