/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events (WHATWG HTML 9.2): the data of each event out of a stream,
 * in any cut. Data lines are handed on in place, nothing is kept; fields other
 * than `data`, and comments, are passed over.
 */
#ifndef WEIR_SSE_H
#define WEIR_SSE_H

#include <stddef.h>
#include <stdint.h>

/* Plain data; all zero is the start of a stream. */
struct weir_sse {
	uint8_t phase;
	uint8_t matched; /* bytes of "data" or of the byte order mark seen */
	uint8_t after_cr;
	uint8_t has_data; /* the event has a data line */
};

enum weir_sse_item {
	WEIR_SSE_MORE,	/* all bytes taken */
	WEIR_SSE_DATA,	/* *data, *len: a piece of the event's data */
	WEIR_SSE_EVENT, /* the event is over */
};

/* The next item of [*p, end); moves *p. Lines of one event are joined by "\n". */
enum weir_sse_item weir_sse_next(struct weir_sse *s, const uint8_t **p, const uint8_t *end,
				 const uint8_t **data, size_t *len);

/* Bytes are missing: what is left of this line is not believed. */
void weir_sse_lost(struct weir_sse *s);

#endif
