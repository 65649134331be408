/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request is over: what was it, and what does it cost? From the parser's state
 * and the kernel's END record to one row. No side effects: done twice it gives
 * the same row.
 */
#ifndef WEIR_FINISH_H
#define WEIR_FINISH_H

#include "bpf/weir_abi.h"
#include "enforce.h"
#include "price.h"
#include "row.h"
#include "state.h"

/* Name a request for ever: its start, who runs here since when, slot, ordinal. */
void weir_request_id(uint64_t started_wall_ns, uint32_t boot, uint32_t slot, uint32_t ordinal,
		     struct weir_id *out);

/* open: NULL when the request's own record was lost. */
void weir_finish(const struct weir_open *open, const struct weir_rec_end *end,
		 const struct weir_terms *terms, struct weir_card *const *cards, size_t n_cards,
		 uint32_t boot, struct weir_row *out);

/*
 * Is it a request to record? Not one whose body was refused in its middle: like any
 * refusal it used nothing up, is told by its DENY record, and is only settled, which
 * its ring position makes happen once. Unless the server was answering already:
 * then a bad tail must not make what came before it free.
 */
bool weir_finish_leaves_row(const struct weir_row *row);

/* Did an answer's counts move between two states of its parser? */
bool weir_counts_moved(const struct weir_open *a, const struct weir_open *b);

/* Which entry of a card a model was found to have: a card may have thousands, and a stream
 * asks after every event. Starts all zero. */
#define WEIR_MEMO_MODELS 16

struct weir_entry_memo {
	struct {
		uint32_t card_id; /* 0: none */
		int entry;
		char model[sizeof(((struct weir_row *)0)->model)];
	} of[WEIR_MEMO_MODELS];
};

/* What an answer that is still running has cost: as it would be billed if it were cut now.
 * 0 where no card prices it. degraded: the slot says so. */
int64_t weir_cost_so_far(const struct weir_open *open, bool degraded,
			 struct weir_card *const *cards, size_t n_cards,
			 struct weir_entry_memo *memo);

/* Tokens that count against tokens per minute. */
uint64_t weir_counted_tokens(const struct weir_usage *u, uint32_t cached_weight_ppm);

#endif
