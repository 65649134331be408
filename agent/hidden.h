/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services whose answers do not say what they used: how many of late, whether usage was asked
 * for, and which server it seems to be, so that status can name the flag that cures it. Over a
 * few minutes: what was cured is forgotten. Any thread.
 */
#ifndef WEIR_HIDDEN_H
#define WEIR_HIDDEN_H

#include <stddef.h>
#include <stdint.h>

#include "row.h"
#include "state.h"

#define WEIR_HIDDEN_MINUTES 10 /* that are looked back on, the one that runs included */

/* What an answer says of its server, by the shape of its id or fingerprint, or by its path. */
enum weir_server {
	WEIR_SERVER_VLLM,
	WEIR_SERVER_SGLANG,
	WEIR_SERVER_TGI,
	WEIR_SERVER_LLAMA_CPP,
	WEIR_SERVER_OLLAMA,
	WEIR_SERVER_TRITON,
	WEIR_SERVER_MAX
};

/* Whole answers of one service with something to meter, in these minutes. */
struct weir_hidden_counts {
	uint64_t streamed, plain;		/* all of them */
	uint64_t streamed_hidden, plain_hidden; /* whose output nobody reported */
	uint64_t unread; /* in a coding that nobody here reads: likewise, and in neither of these */
	uint64_t asked;	 /* of streamed_hidden: the request said include_usage */
	uint64_t of[WEIR_SERVER_MAX]; /* of the hidden: that seem to be such a server's */
};

struct weir_hidden;

struct weir_hidden *weir_hidden_new(void);    /* NULL: no memory */
void weir_hidden_free(struct weir_hidden *h); /* NULL is fine */

/* A request that ended; asked: what it said, NULL if that is not known. */
void weir_hidden_note(struct weir_hidden *h, const struct weir_row *row,
		      const struct weir_asked *asked);

/* By the row's service number. */
void weir_hidden_look(struct weir_hidden *h, uint16_t service, uint64_t now_wall_ns,
		      struct weir_hidden_counts *out);

/* WEIR_SERVER_MAX: it cannot be told. */
enum weir_server weir_hidden_server(const struct weir_row *row);

#endif
