/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many bytes a token has, by model, learnt from answers that report their usage: for those
 * that do not. Integers only; one thread. metering.md, "estimates".
 */
#ifndef WEIR_LEARNT_H
#define WEIR_LEARNT_H

#include <stddef.h>
#include <stdint.h>

#include "row.h"

#define WEIR_BYTES_PER_TOKEN_DEFAULT 4

struct weir_learnt;

/* max_models: known at a time; the longest unused is forgotten for another. NULL: no memory. */
struct weir_learnt *weir_learnt_new(size_t max_models);
void weir_learnt_free(struct weir_learnt *l); /* NULL is fine */

/* From a finished request: only what was reported, of plain text (no audio, no images), teaches. */
void weir_learnt_note(struct weir_learnt *l, const struct weir_row *row, uint64_t text_bytes);

/* Tokens of that many bytes, at least 1 of any; l NULL or model not known: 4 bytes each. */
int64_t weir_learnt_input(const struct weir_learnt *l, const char *model, uint64_t body_bytes);
int64_t weir_learnt_output(const struct weir_learnt *l, const char *model, uint64_t text_bytes);

#endif
