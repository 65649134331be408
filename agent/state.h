/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that outlives the agent: a tmpfs file with what is known of every open request, its
 * answer's parser, the retries, and the queue of finished rows that are not committed yet. With the
 * pinned ring it makes a kill -9 at any instant lose nothing: what is in the file is folded in,
 * what is not is still in the ring.
 *
 * A change is made in a spare copy, and then put in the slot's place through a journal: whole, or
 * not at all. next_pos says up to where in the ring a copy has read, so that records seen again
 * after a crash are skipped. The file is sparse: a slot that was never used costs nothing.
 */
#ifndef WEIR_STATE_H
#define WEIR_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "asked.h"
#include "labels.h"
#include "request_body.h"
#include "response.h"
#include "retries.h"
#include "row.h"
#include "util.h"
#include "writer.h"

/* What a request said of itself. Kept beside its answer's parser, so that a record of the answer
 * does not copy it; each has a position of its own, since a record changes but one of the two. */
struct weir_asked {
	uint64_t next_pos; /* ring position after the last record folded in */
	uint64_t started_wall_ns;
	uint64_t body_bytes;
	uint32_t ordinal;
	uint32_t pad;
	char method[8];
	char path[64];
	uint8_t client[16];
	struct weir_labels labels;
	struct weir_body body; /* of tenants whose bodies are held to rules */
	struct weir_asked_text text;
};

/* Its answer, as far as it is known. */
struct weir_open {
	uint64_t next_pos; /* likewise */
	uint64_t started_wall_ns;
	uint64_t started_ns;
	uint64_t offset; /* response bytes accounted for */
	uint32_t ordinal;
	uint32_t ttft_us;
	struct weir_response response;
};

struct weir_state;

/* Open or create the file. maps_id names the kernel's set of maps: when it is
 * another than last time, ring positions began anew and parsers are forgotten
 * (queued rows are kept: they are committed by id). A file of an older version is
 * written anew with its rows, and with what is open if it is of the version before. */
int weir_state_open(const char *path, uint64_t maps_id, uint32_t max_slots, struct weir_state **out,
		    struct weir_error *err);
void weir_state_close(struct weir_state *s); /* the file stays */

/* Was there no file, or one that an agent left which ended by itself (weir_state_end)? */
bool weir_state_is_new(const struct weir_state *s);
bool weir_state_was_ended(const struct weir_state *s);
/* All that was in the ring is in here: for an agent that ends, and cannot write so in the ledger.
 */
void weir_state_end(struct weir_state *s);

/* What a slot holds; never NULL for slot < max_slots. */
const struct weir_open *weir_state_open_of(const struct weir_state *s, uint32_t slot);

/* The spare copy, to be filled in wholly; weir_state_flip makes it what the slot holds. There is
 * one: what was not flipped is gone with the next. */
struct weir_open *weir_state_spare(struct weir_state *s, uint32_t slot);
void weir_state_flip(struct weir_state *s, uint32_t slot);

/* The same of what the request said. */
const struct weir_asked *weir_state_asked_of(const struct weir_state *s, uint32_t slot);
struct weir_asked *weir_state_asked_spare(struct weir_state *s, uint32_t slot);
void weir_state_asked_flip(struct weir_state *s, uint32_t slot);

/* Forgotten with the parsers, when ring positions begin anew. */
struct weir_retries *weir_state_retries(struct weir_state *s);

/* What the queue cannot take goes from now on into a spill of at most max_bytes (spill.h), beside
 * the state file at path; what an earlier agent left there follows the queue's. */
int weir_state_add_spill(struct weir_state *s, const char *path, uint64_t max_bytes,
			 struct weir_error *err);

/* Append a finished row. false: queue and spill are full (the ring holds what follows). */
bool weir_state_put_row(struct weir_state *s, const struct weir_row *row);
size_t weir_state_rows(const struct weir_state *s);

struct weir_state_room {
	uint64_t rows;			/* that still fit */
	uint64_t spill_used, spill_max; /* bytes */
};
void weir_state_room(const struct weir_state *s, struct weir_state_room *out); /* any thread */

/* The queue's reading end, for the writer. */
struct weir_row_source weir_state_row_source(struct weir_state *s);

/* Do the file at path and its spill hold no row (or are not there)? Needs no open state. */
bool weir_state_file_empty(const char *path);
void weir_state_remove(const char *path);

#endif
