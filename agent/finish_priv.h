/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the files that make a row share the work: finish.c puts it together, finish_guess.c counts
 * what nobody reported, finish_free.c says who is not billed. Nobody else includes this.
 */
#ifndef WEIR_FINISH_PRIV_H
#define WEIR_FINISH_PRIV_H

#include "finish.h"

/* What a row is judged from. */
struct finish_case {
	const struct weir_response_seen *seen;
	const struct weir_asked *asked; /* NULL: its record was lost */
	const struct weir_finish_with *with;
};

/* A count that nobody reported adds nothing. */
static inline int64_t finish_known(int64_t n)
{
	return n > 0 ? n : 0;
}

/* Where the counts of a row are from, by what its parser says and what was asked for. */
enum weir_usage_source finish_source(const struct finish_case *c, const struct weir_row *row,
				     enum weir_usage_source parsed);

/* Counts that nobody reported, where the answer's or the request's bytes tell of them; marked
 * as guesses. The source, model and request's length are in the row. */
void finish_guess(const struct finish_case *c, struct weir_row *row);

/* Did the client leave before the answer's end, by no doing of ours? */
bool finish_left(const struct finish_case *c, const struct weir_rec_end *end);

/* Is it a model's answer that had not come to its end when the client left? By the row, which
 * has WEIR_ROW_LEFT: what the tier's `abort` is about. */
bool finish_aborted(const struct finish_case *c, const struct weir_row *row);

/* `abort` "full": as if it had run to the length that was asked for. */
void finish_guess_full(const struct finish_case *c, struct weir_row *row);

/* Is it billed? If not because of the tier's terms, the row is marked with which. */
bool finish_billable(const struct finish_case *c, struct weir_row *row, const struct weir_pick *p);

#endif
