/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where finished rows wait when the state file's queue is full, for the ledger cannot be written
 * (delivery.md, rule 3): a ring of rows in a tmpfs file of its own, which takes memory as it fills
 * and gives it back as it drains. One thread puts, one takes; a kill -9 at any instant loses no row
 * and repeats at most some that the ledger knows.
 */
#ifndef WEIR_SPILL_H
#define WEIR_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "row.h"
#include "util.h"

struct weir_spill;

/* Open or create; max_bytes is rounded down, and 0 takes nothing. What an earlier agent left in it
 * is there, and while there is some the file keeps the length it has. */
int weir_spill_open(const char *path, uint64_t max_bytes, struct weir_spill **out,
		    struct weir_error *err);
void weir_spill_close(struct weir_spill *s); /* the file stays; NULL is fine */

/* false: it is full, or its file system nearly is. */
bool weir_spill_put(struct weir_spill *s, const struct weir_row *row);

/* The oldest rows, contiguous, as of weir_row_source. */
const struct weir_row *weir_spill_peek(struct weir_spill *s, size_t *n);
void weir_spill_pop(struct weir_spill *s, size_t n);

uint64_t weir_spill_rows(const struct weir_spill *s);

/* Memory it takes, and the most that it may come to as things are. Any thread. */
void weir_spill_bytes(const struct weir_spill *s, uint64_t *used, uint64_t *max);

/* Does the file at path hold no row (or is it not there)? */
bool weir_spill_file_empty(const char *path);

#endif
