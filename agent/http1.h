/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framing of one HTTP/1.1 response (RFC 9112): where its head ends, where
 * its body is, where the answer is over. Knows nothing of what a body means.
 */
#ifndef WEIR_HTTP1_H
#define WEIR_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a head (interim ones included), chunk line or trailer; more is bad. */
#define WEIR_HTTP1_HEAD_MAX 262144

enum weir_http1_type {
	WEIR_HTTP1_OTHER, /* nothing of ours, or JSON that is called something else */
	WEIR_HTTP1_SSE,
	WEIR_HTTP1_NDJSON,
	WEIR_HTTP1_JSON,
	WEIR_HTTP1_TEXT,  /* plain, or subtitles: what a model heard */
	WEIR_HTTP1_BYTES, /* vectors, sound */
};

enum weir_http1_flags {
	WEIR_HTTP1_HEAD_METHOD = 1 << 0,
	WEIR_HTTP1_LENGTH = 1 << 1,	/* Content-Length was given */
	WEIR_HTTP1_TRANSFER = 1 << 2,	/* Transfer-Encoding was given: Content-Length is void */
	WEIR_HTTP1_CHUNKED = 1 << 3,	/* and its last coding is chunked */
	WEIR_HTTP1_OPAQUE = 1 << 4,	/* coded for transfer, or another protocol: not readable */
	WEIR_HTTP1_FOLDED_BAD = 1 << 5, /* the last header line was framing: it must not go on */
};

#define WEIR_HTTP1_LINE 92 /* bytes of a header line that are kept */

enum weir_http1_line {
	WEIR_HTTP1_NO_LINE,
	WEIR_HTTP1_A_LINE,     /* a header line of the final answer just ended, and is in `line` */
	WEIR_HTTP1_LINE_START, /* likewise; it goes on beyond what is kept */
};

/* Plain data. Read status, flags and type; they are whole once the body starts. */
struct weir_http1 {
	uint64_t left; /* of body or chunk; Content-Length while the head is read */
	uint32_t head_bytes;
	uint16_t status;
	uint8_t phase;
	uint8_t flags; /* enum weir_http1_flags */
	uint8_t type;  /* enum weir_http1_type */
	uint8_t line_len;
	uint8_t line_is; /* enum weir_http1_line */
	/* Start of the header line being read. Once the body starts nobody here needs it. */
	char line[WEIR_HTTP1_LINE + 1];
};
_Static_assert(sizeof(struct weir_http1) == 112, "weir_http1");

void weir_http1_init(struct weir_http1 *h, bool head_method);

/* One step into [p, p + n), n > 0, not done and not bad: how many bytes it took
 * (at least 1). If they hold a piece of the body, *body and *body_len say where,
 * else *body_len is 0. If they end a header line that is not about framing, h->line_is
 * says so, until the next step. */
size_t weir_http1_step(struct weir_http1 *h, const uint8_t *p, size_t n, const uint8_t **body,
		       size_t *body_len);

/* n bytes were not seen: body bytes if framing can tell, else the answer is bad. */
void weir_http1_skip(struct weir_http1 *h, uint64_t n);
void weir_http1_close(struct weir_http1 *h);

bool weir_http1_done(const struct weir_http1 *h);
bool weir_http1_bad(const struct weir_http1 *h);

#endif
