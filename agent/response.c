// SPDX-License-Identifier: Apache-2.0
/*
 * The parser of one answer: framing (http1) cuts the body out, decode undoes
 * its compression, sse or a line splitter cuts documents out of it, usage reads
 * them. Here they are joined, and here it is decided what the counts are worth
 * when bytes are missing.
 */
#include "response.h"

#include <string.h>

#include "answer_head.h"
#include "find.h"
#include "response_priv.h"

static struct weir_response_state *state(struct weir_response *r)
{
	return (struct weir_response_state *)(void *)r->state;
}

void weir_response_init(struct weir_response *r, bool head_method)
{
	struct weir_response_state *s = state(r);

	memset(r, 0, sizeof(*r));
	r->seen.usage = (struct weir_usage){ WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN,
					     WEIR_UNKNOWN };
	r->seen.audio = r->seen.image = WEIR_UNKNOWN;
	weir_http1_init(&s->http, head_method);
	weir_usage_init(&s->usage);
}

/* ------------------------------------------------------------ documents */

/* The line that http1 needs no more is where a model's name waits for its proof. */
static size_t feed_usage(struct weir_response *r, const uint8_t *p, size_t n)
{
	struct weir_response_state *s = state(r);

	return weir_usage_feed(&s->usage, &r->seen, s->http.line, p, n);
}

static void feed_sse(struct weir_response *r, const uint8_t *p, size_t n)
{
	struct weir_response_state *s = state(r);
	const uint8_t *end = p + n, *data;
	enum weir_sse_item item;
	size_t len;

	while ((item = weir_sse_next(&s->sse, &p, end, &data, &len)) != WEIR_SSE_MORE) {
		if (item == WEIR_SSE_DATA)
			feed_usage(r, data, len);
		else
			weir_usage_next(&s->usage);
	}
}

/* One document a line. */
static void feed_ndjson(struct weir_response *r, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;

	while (p < end) {
		const uint8_t *eol = weir_find(p, end, WEIR_FIND_LINE_END);

		feed_usage(r, p, (size_t)(eol - p));
		if (eol == end)
			return;
		weir_usage_next(&state(r)->usage);
		p = eol + 1;
	}
}

/* One document; if a line end follows, it may have been the first of several. */
static void feed_document(struct weir_response *r, const uint8_t *p, size_t n)
{
	struct weir_response_state *s = state(r);
	size_t took = feed_usage(r, p, n);

	if (weir_usage_too_deep(&s->usage)) {
		weir_usage_behind_hole(&s->usage, &r->seen, s->http.line);
		took += feed_usage(r, p + took, n - took);
	}
	while (took < n && (p[took] == ' ' || p[took] == '\t'))
		took++;
	if (took == n)
		return;
	if (p[took] == '\n' || p[took] == '\r') {
		s->lines = 1;
		feed_ndjson(r, p + took, n - took);
	} else {
		weir_usage_lost(&s->usage);
	}
}

static void read_body(void *ctx, const uint8_t *p, size_t n)
{
	struct weir_response *r = ctx;
	struct weir_response_state *s = state(r);

	if (r->seen.opaque && !r->seen.text_bytes && n && (*p == '{' || *p == '['))
		r->seen.opaque = 0; /* JSON that is called something else */
	if (s->http.type == WEIR_HTTP1_SSE)
		feed_sse(r, p, n);
	else if (r->seen.opaque)
		r->seen.text_bytes += s->http.type == WEIR_HTTP1_TEXT ? n : 0;
	else if (s->lines)
		feed_ndjson(r, p, n);
	else
		feed_document(r, p, n);
}

/* ------------------------------------------------------------ the body */

static void body_starts(struct weir_response *r, struct weir_decoders *d)
{
	struct weir_response_state *s = state(r);

	r->seen.body_started = 1;
	r->seen.stream = s->http.type == WEIR_HTTP1_SSE || s->http.type == WEIR_HTTP1_NDJSON;
	r->seen.opaque = s->http.type >= WEIR_HTTP1_TEXT;
	s->lines = s->http.type == WEIR_HTTP1_NDJSON;
	if (s->http.flags & WEIR_HTTP1_OPAQUE)
		r->seen.coding = WEIR_BODY_CODED;
	if (r->seen.coding == WEIR_BODY_PLAIN)
		return;
	if (r->seen.coding != WEIR_BODY_CODED && d && !s->lost)
		s->decoder = weir_decoder_open(d, r->seen.coding);
	s->dark = !s->decoder;
	/* Not readable, but of a type that is metered: there was something to meter. */
	if (s->dark && s->http.type != WEIR_HTTP1_OTHER && !r->seen.opaque)
		s->usage.answered = 1;
}

static void feed_body(struct weir_response *r, struct weir_decoders *d, const uint8_t *p, size_t n)
{
	struct weir_response_state *s = state(r);

	if (!r->seen.body_started)
		body_starts(r, d);
	if (s->dark)
		return;
	if (r->seen.coding == WEIR_BODY_PLAIN) {
		read_body(r, p, n);
	} else if (!d || weir_decode(d, s->decoder, p, n, read_body, r)) {
		s->decoder = 0;
		s->dark = 1;
		s->lost = 1;
	}
}

/* Code that ends before its own end hides what would have followed. */
static void body_ends(struct weir_response *r, struct weir_decoders *d)
{
	struct weir_response_state *s = state(r);

	if (d && s->decoder && !weir_decoder_close(d, s->decoder))
		s->lost = 1;
	s->decoder = 0;
}

static void note_framing(struct weir_response *r)
{
	const struct weir_http1 *h = &state(r)->http;

	if (h->status >= 200 || h->status == 101)
		r->seen.status = h->status;
	r->seen.done = weir_http1_done(h);
	r->seen.bad = weir_http1_bad(h);
}

size_t weir_response_feed(struct weir_response *r, struct weir_decoders *d, const void *bytes,
			  size_t n)
{
	struct weir_response_state *s = state(r);
	const uint8_t *p = bytes, *end = p + n, *body = NULL;
	size_t len;

	if (r->seen.bad)
		return n;
	while (p < end && !weir_http1_done(&s->http) && !weir_http1_bad(&s->http)) {
		p += weir_http1_step(&s->http, p, (size_t)(end - p), &body, &len);
		if (s->http.line_is)
			weir_answer_head(s->http.line, s->http.line_is == WEIR_HTTP1_LINE_START,
					 &s->usage, &r->seen, &s->request_ids);
		else if (len)
			feed_body(r, d, body, len);
	}
	note_framing(r);
	if (r->seen.done) {
		weir_usage_end(&s->usage, &r->seen, s->http.line);
		body_ends(r, d);
	}
	return r->seen.bad ? n : (size_t)(p - (const uint8_t *)bytes);
}

void weir_response_end(const struct weir_response *r, struct weir_decoders *d)
{
	const struct weir_response_state *s =
		(const struct weir_response_state *)(const void *)r->state;

	/* The ticket stays: it is not valid any more. */
	if (d && s->decoder)
		weir_decoder_close(d, s->decoder);
}

/* ------------------------------------------------------------ missing bytes */

static bool framed_by_length(const struct weir_http1 *h)
{
	return (h->flags & WEIR_HTTP1_LENGTH) && !(h->flags & WEIR_HTTP1_TRANSFER);
}

void weir_response_skip(struct weir_response *r, uint64_t n)
{
	struct weir_response_state *s = state(r);

	if (!n || r->seen.done || r->seen.bad)
		return;
	s->lost = 1;
	s->dark |= r->seen.coding != WEIR_BODY_PLAIN;
	if (s->http.type == WEIR_HTTP1_SSE || s->http.type == WEIR_HTTP1_NDJSON || s->lines ||
	    !framed_by_length(&s->http))
		weir_usage_lost(&s->usage);
	else
		weir_usage_behind_hole(&s->usage, &r->seen, s->http.line);
	/* a stream is picked up again at its next event: figures there are cumulative */
	weir_sse_lost(&s->sse);
	weir_http1_skip(&s->http, n);
	note_framing(r);
}

void weir_response_close(struct weir_response *r)
{
	weir_http1_close(&state(r)->http);
	note_framing(r);
}

/* Bytes are missing, and yet the usage is known: of a stream it was reported after them; of one
 * document there is but one, and it stood before them or is proven. Of a sum a part is missing. */
static bool usage_survived(const struct weir_response_state *s,
			   const struct weir_response_seen *seen)
{
	if (seen->coding != WEIR_BODY_PLAIN || !seen->has_usage || s->usage.several)
		return false;
	if (seen->stream)
		return s->usage.counts.settled;
	return s->http.flags & (WEIR_HTTP1_LENGTH | WEIR_HTTP1_CHUNKED);
}

enum weir_usage_source weir_response_source(const struct weir_response *r)
{
	const struct weir_response_state *s =
		(const struct weir_response_state *)(const void *)r->state;
	const struct weir_response_seen *seen = &r->seen;

	if (seen->status && (seen->status < 200 || seen->status >= 300))
		return WEIR_USAGE_NONE;
	if (!seen->status) /* no answer came, or none that is HTTP, or its start is missing */
		return s->lost ? WEIR_USAGE_PARTIAL : WEIR_USAGE_NONE;
	if (!seen->done || (s->lost && !usage_survived(s, seen)))
		return WEIR_USAGE_PARTIAL;
	if (seen->has_usage && weir_usage_complete(&s->usage, seen))
		return WEIR_USAGE_REPORTED;
	if (s->lost || (seen->has_usage && s->usage.provisional))
		return WEIR_USAGE_PARTIAL; /* likewise a stream that ended before its own end */
	return seen->has_usage || s->usage.answered ? WEIR_USAGE_ESTIMATED : WEIR_USAGE_NONE;
}
