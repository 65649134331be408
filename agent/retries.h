/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests whose answer broke off, so that the same request coming again is known for what it
 * is (metering.md, 18). A small table in the state file: a kill -9 changes nothing. Each change
 * carries the ring position it follows from, in the one word that makes it: one that was made
 * before is not made again. One thread.
 */
#ifndef WEIR_RETRIES_H
#define WEIR_RETRIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_RETRIES_MAX    3				 /* of one request that are not billed */
#define WEIR_RETRIES_FOR_NS (600 * UINT64_C(1000000000)) /* after that it is a new request */
#define WEIR_RETRIES	    4096			 /* known at a time; power of two */

struct weir_retry {
	uint64_t key[2];   /* of tenant, path, body */
	uint64_t until_ns; /* wall: WEIR_RETRIES_FOR_NS after it broke off */
	uint64_t state;	   /* 0: free; ring position of the last change << 2 | how many it counts */
};
_Static_assert(WEIR_RETRIES_MAX < 4, "two bits");

struct weir_retries {
	struct weir_retry of[WEIR_RETRIES];
};

/* tenant, path (as the request line has it: its dots and %XX mean nothing) and the body's hash, as
 * a key. */
void weir_retry_key(uint32_t tenant, const char *path, const uint64_t body[2], uint64_t out[2]);

/* The answer to this request broke off at now_ns, wall. pos: not 0. Full: that is forgotten which
 * would be first. */
void weir_retries_note(struct weir_retries *r, const uint64_t key[2], uint64_t now_ns,
		       uint64_t pos);

/* Is the request that ended at ring position `pos`, begun at started_ns, a retry that is not
 * billed? Asked again for the same pos it says the same. */
bool weir_retries_take(struct weir_retries *r, const uint64_t key[2], uint64_t started_ns,
		       uint64_t pos);

/* The retry taken at `pos` had its answer whole: others of the same are new requests. */
void weir_retries_done(struct weir_retries *r, const uint64_t key[2], uint64_t pos);

#endif
