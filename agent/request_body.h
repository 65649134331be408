/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request's body said, as the kernel tells it of tenants whose bodies are
 * held to rules (bpf/weir_abi.h, struct weir_rec_body). Plain data: it is part of
 * the memory that outlives the agent.
 */
#ifndef WEIR_REQUEST_BODY_H
#define WEIR_REQUEST_BODY_H

#include <stdint.h>

#include "bpf/weir_abi.h"
#include "row.h"

struct weir_body {
	int64_t max_tokens; /* asked for; WEIR_UNKNOWN: not seen */
	uint32_t flags;	    /* enum weir_body_flags */
	uint32_t pad;
	char model[64]; /* asked for, clean text, NUL padded; "": not seen */
};
_Static_assert(sizeof(((struct weir_body *)0)->model) ==
		       sizeof(((struct weir_row *)0)->model_requested),
	       "a name fits into the row");

/* Nothing is known. */
void weir_body_init(struct weir_body *b);

/* A record says what it knows by then: a later one adds to it or corrects it, and
 * takes nothing back. */
void weir_body_fold(struct weir_body *b, const struct weir_rec_body *rec);

#endif
