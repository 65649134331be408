/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on the database of a ledger that is in use, in the writer's thread: a copy of it, in
 * steps between which rows are committed, and months that leave it for segments.
 */
#ifndef WEIR_LEDGER_KEEP_H
#define WEIR_LEDGER_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/ledger.h"
#include "agent/ledger_segment.h"

struct weir_copy;

/* Start copying into the file at path, which is there and empty. What is committed between steps
 * is in the copy too: it is the database as of the last step. */
int weir_ledger_copy_start(struct weir_ledger *l, const char *path, struct weir_copy **out,
			   struct weir_error *err);
/* Copy some pages. *left 0: that was the last step; of *total. */
int weir_ledger_copy_step(struct weir_copy *c, int pages, int *left, int *total,
			  struct weir_error *err);
/* Also of one that is not complete. NULL is fine. */
void weir_ledger_copy_end(struct weir_copy *c);

/* weir_segment_enter and _shed on the ledger's own connection. */
int weir_ledger_seal(struct weir_ledger *l, const struct weir_segment *s, struct weir_error *err);
int weir_ledger_shed(struct weir_ledger *l, int max, bool *left, struct weir_error *err);

#endif
