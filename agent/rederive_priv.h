/* SPDX-License-Identifier: Apache-2.0 */
/* What rederive.c and rederive_enter.c share: one run of it. Nobody else includes this. */
#ifndef WEIR_REDERIVE_PRIV_H
#define WEIR_REDERIVE_PRIV_H

#include <glib.h>

#include "agent/event_read.h"
#include "agent/rederive.h"

#define WEIR_REDERIVE_BATCH 512 /* events entered with one call */
#define WEIR_REDERIVE_LOGS  10	/* lines of each sort */

struct weir_rederive_run {
	const struct weir_rederive *r;
	struct weir_restored_mark mark;
	struct weir_restored_report report;
	sqlite3_stmt *find; /* in the main database */
	GHashTable *cards;  /* "name\nversion" -> id */
	struct weir_event_usage *batch;
	bool *known; /* by an earlier try */
	size_t n;
	size_t told;	   /* of the batch: those before are counted */
	uint64_t last_seq; /* ledger_seq of the event before, as the event says */
	struct weir_error *err;
};

/* Numbers for what the ledger has already: card, service. */
int weir_rederive_resolve(struct weir_rederive_run *u, struct weir_event_usage *e);
/* Enter the batch, and count it. */
int weir_rederive_flush(struct weir_rederive_run *u);
/* Count and log what is no event of ours, or cannot be entered. */
void weir_rederive_strange(struct weir_rederive_run *u, const char *what);

#endif
