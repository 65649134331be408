/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of one HTTP/1.1 response: bytes in, in any cut; status, model and
 * usage out. It buffers no response: its whole state is this struct, plain data
 * without pointers, so that it can live in memory that outlives the agent and
 * be copied with memcpy.
 */
#ifndef WEIR_RESPONSE_H
#define WEIR_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode.h"
#include "row.h"

#define WEIR_RESPONSE_STATE 448 /* of framing, decoding, documents, counts; no matter how long */

/* What a caller may read at any time; WEIR_UNKNOWN and "" where not seen (yet). */
struct weir_response_seen {
	uint16_t status;      /* of the final answer; 0 before its status line */
	uint8_t stream;	      /* SSE or NDJSON */
	uint8_t done;	      /* the answer is complete by its own framing */
	uint8_t has_usage;    /* usage was reported at least once */
	uint8_t bad;	      /* not HTTP/1.1, or bytes are missing: nothing further is believed */
	uint8_t body_started; /* first byte of the body was seen */
	uint8_t cache_status; /* enum weir_cache_status */
	uint8_t coding;	      /* enum weir_body_coding: what was undone */
	uint8_t opaque;	      /* its type is no document's: text/plain, bytes, sound */
	uint8_t pad[2];
	uint32_t chunks;     /* stream events that carried output */
	uint64_t text_bytes; /* of output: text as the JSON has it, and what tool calls say */
	struct weir_usage usage;
	int64_t audio, image; /* of the input, beside usage.input */
	char model[64];
	char model_version[32];
	char response_id[64];
	char request_id[64]; /* x-request-id of its head */
	char finish_reason[16];
};

struct weir_response {
	struct weir_response_seen seen;
	uint8_t state[WEIR_RESPONSE_STATE] __attribute__((aligned(8)));
};
_Static_assert(sizeof(struct weir_response) == 768, "weir_response");

/* Ready for the first byte of an answer. head_method: a HEAD request, no body follows. */
void weir_response_init(struct weir_response *r, bool head_method);

/* The next n bytes. Never fails: garbage sets seen.bad. Returns how many bytes
 * belong to this answer; fewer than n only when seen.done (the rest is the next
 * answer's, or the server's surplus). d: for compressed answers, always the same;
 * NULL: they are not read. */
size_t weir_response_feed(struct weir_response *r, struct weir_decoders *d, const void *bytes,
			  size_t n);

/* n bytes were not seen. Content-Length framing goes on past them, and usage that
 * stands behind them is still a report if it is certain to be the document's own
 * (metering.md); with chunked framing, or compressed, the rest is bad. */
void weir_response_skip(struct weir_response *r, uint64_t n);

/* Nothing more will be fed, to r or a copy of it: gives its decoder back. */
void weir_response_end(const struct weir_response *r, struct weir_decoders *d);

/* The connection closed: completes an answer that is delimited by the close. */
void weir_response_close(struct weir_response *r);

/* Where the counts in r come from, judged as a finished request: reported,
 * partial (cut, lost bytes), estimated or none. */
enum weir_usage_source weir_response_source(const struct weir_response *r);

#endif
