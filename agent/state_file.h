/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the state file is laid out: a page for the header, the queue of rows, and what is of one set
 * of maps: the journal, the retries, the slots. For state.c, and for state_old.c, which makes such
 * a file of an older one.
 */
#ifndef WEIR_STATE_FILE_H
#define WEIR_STATE_FILE_H

#include "state.h"

#define WEIR_STATE_MAGIC   0x5745495253544154ULL /* "WEIRSTAT" */
#define WEIR_STATE_VERSION 4
#define WEIR_STATE_PAGE	   4096
/* rows; at 100 k/s and 20 ms a group, four groups deep and then some */
#define WEIR_STATE_QUEUE 16384

struct weir_state_header {
	uint64_t magic;
	uint32_t version, row_version;
	uint32_t row_bytes, slot_bytes;
	uint32_t max_slots, queue;
	uint64_t maps_id;
	uint64_t ended;				    /* see weir_state_end; else 0 */
	uint64_t head __attribute__((aligned(64))); /* rows committed, ever */
	uint64_t tail __attribute__((aligned(64))); /* rows put, ever */
};

/* In one place, so that who is asked for and what is answered share pages: numbers of slots are
 * handed out lowest first, and so the pages in use are as many as the open requests need. */
struct weir_state_slot {
	struct weir_open open;
	struct weir_asked asked;
};

/* What is about to be copied into a slot; being copied while the number says so. */
struct weir_state_journal {
	uint64_t open_of, asked_of; /* 0: nothing; slot + 1 */
	struct weir_open open;
	struct weir_asked asked;
};

/* All zero once the maps are others. */
struct weir_state_of_maps {
	struct weir_state_journal journal __attribute__((aligned(64)));
	struct weir_retries retries __attribute__((aligned(64)));
	struct weir_state_slot slots[] __attribute__((aligned(64)));
};

static inline size_t weir_state_round_up(size_t n)
{
	return (n + WEIR_STATE_PAGE - 1) & ~(size_t)(WEIR_STATE_PAGE - 1);
}

/* Where in a file the queue begins; what is behind it, with rows of that length. */
static inline size_t weir_state_queue_at(void)
{
	return weir_state_round_up(sizeof(struct weir_state_header));
}

static inline size_t weir_state_maps_at(size_t row_bytes)
{
	return weir_state_queue_at() + weir_state_round_up(WEIR_STATE_QUEUE * row_bytes);
}

static inline size_t weir_state_bytes(size_t slots)
{
	return weir_state_maps_at(sizeof(struct weir_row)) +
	       weir_state_round_up(sizeof(struct weir_state_of_maps) +
				   slots * sizeof(struct weir_state_slot));
}

/* A file of an older version is written anew, with its rows and open requests; any other, or
 * none, is left as it is. */
int weir_state_upgrade(const char *path, struct weir_error *err);

#endif
