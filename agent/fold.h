/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record of the ring, folded into what is known: what requests say (fold_asked.c), what is
 * answered (fold_answer.c), how it ends (fold_end.c). For the ring's consumer and its files;
 * one thread.
 *
 * A record may come again after a kill -9: each is folded once, by its position in the ring.
 */
#ifndef WEIR_FOLD_H
#define WEIR_FOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "cost_cap.h"
#include "decode.h"
#include "denials.h"
#include "enforce.h"
#include "kernel.h"
#include "hidden.h"
#include "labels.h"
#include "lag.h"
#include "learnt.h"
#include "pricing.h"
#include "state.h"
#include "tally.h"

/* Read by any thread. */
struct weir_fold_counts {
	uint64_t records, rows;
	uint64_t orphans; /* of requests that are not known */
	uint64_t begun, ended;
};

struct weir_fold {
	struct weir_kernel *kernel;
	struct weir_enforce *enforce;
	struct weir_state *state;
	struct weir_denials *denials;
	const struct weir_label_config *labels;
	struct weir_lag *lag; /* END record to its settlement; may be NULL */
	struct weir_pricing *pricing;
	struct weir_decoders *decoders;
	struct weir_learnt *learnt;
	struct weir_hidden *hidden;
	struct weir_tally tally;
	struct weir_cost_cap cap;
	bool recovering;	 /* ceilings are not moved */
	uint64_t hurry_until_ns; /* monotonic: a tenant is near a limit till then */
	struct weir_fold_counts n;
};

/* The record that ends at ring position `end`; under weir_enforce_read_lock. -EAGAIN: the row
 * queue is full; it must be folded again later. */
int weir_fold(struct weir_fold *f, const struct weir_record *rec, uint32_t len, uint64_t end);

/* -- of its files */

void weir_fold_request(struct weir_fold *f, const struct weir_rec_request *rec, uint64_t end);
void weir_fold_line(struct weir_fold *f, const struct weir_rec_line *rec, uint32_t len,
		    uint64_t end);
void weir_fold_asked(struct weir_fold *f, const struct weir_rec_data *rec, uint32_t len,
		     uint64_t end);
void weir_fold_body(struct weir_fold *f, const struct weir_rec_body *rec, uint64_t end);
void weir_fold_labels(struct weir_fold *f, const struct weir_rec_labels *rec, uint64_t end);

/* A request begins in the slot: its answer's parser. false: folded before a crash. */
bool weir_fold_begin(struct weir_fold *f, const struct weir_rec_request *rec, uint64_t end);
void weir_fold_answer(struct weir_fold *f, const struct weir_rec_data *rec, uint32_t len,
		      uint64_t end);
/* Nothing more comes of the answer in that slot: what the decoders hold of it is given back. */
void weir_fold_forget(struct weir_fold *f, uint32_t slot);
int weir_fold_end(struct weir_fold *f, const struct weir_rec_end *rec, uint64_t end);

static inline void weir_fold_count(uint64_t *n)
{
	__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

#endif
