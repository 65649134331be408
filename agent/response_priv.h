/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parser of one answer remembers. For response.c, and for state_old.c, which reads
 * what an older agent had of it.
 */
#ifndef WEIR_RESPONSE_PRIV_H
#define WEIR_RESPONSE_PRIV_H

#include "http1.h"
#include "response.h"
#include "sse.h"
#include "usage.h"

/* Lives in weir_response.state. */
struct weir_response_state {
	struct weir_http1 http;
	struct weir_usage_scan usage;
	uint64_t decoder; /* ticket; 0: none */
	struct weir_sse sse;
	uint8_t lost;	     /* bytes are missing, or could not be decoded */
	uint8_t dark;	     /* what follows cannot be read */
	uint8_t lines;	     /* the body is a document a line */
	uint8_t request_ids; /* header lines that gave one */
};
_Static_assert(sizeof(struct weir_response_state) <= sizeof(((struct weir_response *)0)->state),
	       "state fits");
_Static_assert(offsetof(struct weir_response, state) % _Alignof(struct weir_response_state) == 0,
	       "and is aligned");
_Static_assert(sizeof(((struct weir_http1 *)0)->line) >=
		       sizeof(((struct weir_response_seen *)0)->model),
	       "a line has room for a model's name");

#endif
