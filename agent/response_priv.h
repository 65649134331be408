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
	struct weir_sse sse;
	uint8_t lost; /* bytes are missing */
	uint8_t pad[3];
};
_Static_assert(sizeof(struct weir_response_state) <= sizeof(((struct weir_response *)0)->state),
	       "state fits");
_Static_assert(offsetof(struct weir_response, state) % _Alignof(struct weir_response_state) == 0,
	       "and is aligned");

#endif
