/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of the agent, on record in the ledger's database (delivery.md, rule 8): so that a start can
 * say how the last run ended and what that may have cost.
 */
#ifndef WEIR_RUN_RECORD_H
#define WEIR_RUN_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger.h"
#include "util.h"

#define WEIR_RUN_ALIVE_NS (10 * WEIR_SECOND) /* between two signs of life */

#define WEIR_BOOT_ID 40
/* Names this boot of the machine; "" if the kernel does not say. */
void weir_boot_id(char out[static WEIR_BOOT_ID]);

/* This run. */
struct weir_run {
	char boot[WEIR_BOOT_ID];
	uint64_t started_ns; /* wall */
	bool maps_are_new;   /* nothing was left of an earlier run in the kernel, or in memory */
	uint64_t seq;	     /* by weir_run_begin */
};

enum weir_run_last {
	WEIR_RUN_FIRST,	 /* there was none, or this is a database that was put back */
	WEIR_RUN_ENDED,	 /* by itself */
	WEIR_RUN_KILLED, /* the agent alone: nothing is lost */
	WEIR_RUN_POWER,	 /* with the machine */
	WEIR_RUN_TAKEN,	 /* and then its maps, or the memory of its rows, were removed */
	WEIR_RUN_LAST_MAX
};

/* What cannot be in the ledger since the last clean start. */
struct weir_run_gap {
	bool any;
	bool power_loss;	 /* else its memory was taken away */
	uint64_t from_ns, to_ns; /* wall: last sign of life, the next start */
	uint64_t open;		 /* requests that were open at that sign of life */
};

/* Enter this run; at the start, before anybody else writes. */
int weir_run_begin(struct weir_ledger *l, struct weir_run *run, enum weir_run_last *last,
		   struct weir_run_gap *gap, struct weir_error *err);

/* A sign of life. open: requests begun and not ended. */
int weir_run_alive(struct weir_ledger *l, const struct weir_run *run, uint64_t open,
		   uint64_t now_ns, struct weir_error *err);

/* It ends by itself. kept: the programs stay in the kernel, and requests go on without us. */
int weir_run_end(struct weir_ledger *l, const struct weir_run *run, bool kept, uint64_t open,
		 uint64_t now_ns, struct weir_error *err);

/* It never got to run. */
int weir_run_forget(struct weir_ledger *l, const struct weir_run *run, struct weir_error *err);

/* Say it in the log. */
void weir_run_tell(enum weir_run_last last, const struct weir_run_gap *gap);

#endif
