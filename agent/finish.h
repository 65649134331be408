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
#include "learnt.h"
#include "pricing.h"
#include "row.h"
#include "state.h"

/* Name a request for ever: its start, who runs here since when, slot, ordinal. */
void weir_request_id(uint64_t started_wall_ns, uint32_t boot, uint32_t slot, uint32_t ordinal,
		     struct weir_id *out);

/* What it is judged with. */
struct weir_finish_with {
	const struct weir_terms *terms;
	struct weir_pricing *pricing;
	const struct weir_learnt *learnt; /* NULL: nothing was */
	uint32_t boot;
	bool is_retry; /* weir_retries_take: not to be billed */
};

/* open and asked: NULL when the request's own record was lost. Its price is provisional: that of
 * the dearest steps, and of a session that begins. */
void weir_finish(const struct weir_open *open, const struct weir_asked *asked,
		 const struct weir_rec_end *end, const struct weir_finish_with *with,
		 struct weir_row *out);

/* Did its answer break off, through no doing of the client's, after something of it was billed?
 * Then the same request, come again, may be a retry that is not billed. */
bool weir_finish_broke_off(const struct weir_row *row);

/*
 * Is it a request to record? Not one whose body was refused in its middle: like any
 * refusal it used nothing up, is told by its DENY record, and is only settled, which
 * its ring position makes happen once. Unless the server was answering already:
 * then a bad tail must not make what came before it free.
 */
bool weir_finish_leaves_row(const struct weir_row *row);

/* Did an answer's counts move between two states of its parser? */
bool weir_counts_moved(const struct weir_open *a, const struct weir_open *b);

/* A request whose answer is running: whose, and for how long. */
struct weir_runs {
	uint32_t tenant;
	uint16_t service;
	bool degraded; /* the slot says so */
	uint64_t for_ns;
};

/* What an answer that is still running has cost: as its row would say if it were cut now, less
 * what a session costs. 0 where no card prices it. */
int64_t weir_cost_so_far(const struct weir_open *open, const struct weir_asked *asked,
			 const struct weir_runs *runs, const struct weir_finish_with *with);

/* Tokens that count against tokens per minute. */
uint64_t weir_counted_tokens(const struct weir_row *row, uint32_t cached_weight_ppm);

#endif
