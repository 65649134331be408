/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What LiteLLM's price file says of one model: prices by dimension and length of context, and
 * what of it a card cannot say. Private to price_import.c and its test.
 */
#ifndef WEIR_LITELLM_H
#define WEIR_LITELLM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/price.h"
#include "exact.h"

#define LITELLM_LEVELS 8 /* of context length */

/* Prices from so many tokens of input on. */
struct litellm_level {
	uint64_t above; /* 0: the first one */
	bool has[WEIR_DIM_MAX];
	struct exact price[WEIR_DIM_MAX]; /* of one token, request, second */
};

struct litellm_model {
	const char *name, *mode; /* mode "": it says none */
	json_t *notes;		 /* not said: [{"model","field","why","imported"}] */
	size_t n_levels;
	struct litellm_level levels[LITELLM_LEVELS]; /* in order of above */
	bool left_out;				     /* its main price is among the notes */
	bool failed;				     /* out of memory */
};

void litellm_note(struct litellm_model *m, const char *field, const char *why);
void litellm_leave_out(struct litellm_model *m, const char *field, const char *why);

/* Text in, tokens out: what is not said of it is an extra. */
bool litellm_is_text(const struct litellm_model *m);

/* Read the fields of o, whose numbers are quoted (exact_quote_numbers). name, mode and notes
 * are the caller's. */
void litellm_read(struct litellm_model *m, json_t *o);

#endif
