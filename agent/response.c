// SPDX-License-Identifier: Apache-2.0
/*
 * The parser of one answer: framing (http1) cuts the body out, sse or a line
 * splitter cuts documents out of the body, usage reads them. Here they are
 * joined, and here it is decided what the counts are worth when bytes are
 * missing.
 */
#include "response.h"

#include <string.h>

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

static void feed_sse(struct weir_response *r, const uint8_t *p, size_t n)
{
	struct weir_response_state *s = state(r);
	const uint8_t *end = p + n, *data;
	enum weir_sse_item item;
	size_t len;

	while ((item = weir_sse_next(&s->sse, &p, end, &data, &len)) != WEIR_SSE_MORE) {
		if (item == WEIR_SSE_DATA)
			weir_usage_feed(&s->usage, &r->seen, data, len);
		else
			weir_usage_reset(&s->usage);
	}
}

/* One document a line. */
static void feed_ndjson(struct weir_response *r, const uint8_t *p, size_t n)
{
	struct weir_response_state *s = state(r);
	const uint8_t *end = p + n;

	while (p < end) {
		const uint8_t *eol = weir_find(p, end, WEIR_FIND_LINE_END);

		weir_usage_feed(&s->usage, &r->seen, p, (size_t)(eol - p));
		if (eol == end)
			return;
		weir_usage_reset(&s->usage);
		p = eol + 1;
	}
}

static void feed_body(struct weir_response *r, const uint8_t *p, size_t n)
{
	struct weir_response_state *s = state(r);

	r->seen.body_started = 1;
	if (s->http.flags & WEIR_HTTP1_OPAQUE)
		return;
	switch (s->http.type) {
	case WEIR_HTTP1_SSE:
		r->seen.stream = 1;
		feed_sse(r, p, n);
		break;
	case WEIR_HTTP1_NDJSON:
		r->seen.stream = 1;
		feed_ndjson(r, p, n);
		break;
	default:
		weir_usage_feed(&s->usage, &r->seen, p, n);
	}
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
		if (len)
			feed_body(r, body, len);
	}
	note_framing(r);
	return r->seen.bad ? n : (size_t)(p - (const uint8_t *)bytes);
}

void weir_response_skip(struct weir_response *r, uint64_t n)
{
	struct weir_response_state *s = state(r);

	if (!n || r->seen.done || r->seen.bad)
		return;
	s->lost = 1;
	weir_http1_skip(&s->http, n);
	weir_usage_lost(&s->usage);
	/* a stream is picked up again at its next event: figures there are cumulative */
	weir_sse_lost(&s->sse);
	note_framing(r);
}

void weir_response_end(struct weir_response *r, struct weir_decoders *d)
{
}

void weir_response_close(struct weir_response *r)
{
	weir_http1_close(&state(r)->http);
	note_framing(r);
}

enum weir_usage_source weir_response_source(const struct weir_response *r)
{
	const struct weir_response_state *s =
		(const struct weir_response_state *)(const void *)r->state;
	const struct weir_response_seen *seen = &r->seen;

	if (seen->status && (seen->status < 200 || seen->status >= 300))
		return WEIR_USAGE_NONE;
	if (s->lost)
		return WEIR_USAGE_PARTIAL;
	if (!seen->status)
		return WEIR_USAGE_NONE; /* no answer came, or none that is HTTP */
	if (!seen->done)
		return WEIR_USAGE_PARTIAL;
	if (seen->has_usage && weir_usage_complete(&s->usage, seen))
		return WEIR_USAGE_REPORTED;
	if (seen->has_usage && s->usage.provisional)
		return WEIR_USAGE_PARTIAL; /* a stream that ended before its own end */
	return seen->has_usage || s->usage.answered ? WEIR_USAGE_ESTIMATED : WEIR_USAGE_NONE;
}
