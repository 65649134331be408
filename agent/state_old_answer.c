// SPDX-License-Identifier: Apache-2.0
/*
 * A parser of version 3, taken on by today's, which has nothing in common with it: it is told an
 * answer that would have led the old one to where it was, as short as there is one, and reads on
 * from there. Numbers of states, phases and places are those of then.
 */
#include "state_old.h"

#include <string.h>
#include <strings.h>

#include "response_priv.h"

enum {
	STATUS_LINE,
	HEADER_LINE,
	BODY_LENGTH,
	BODY_CLOSE,
	CHUNK_SIZE,
	CHUNK_EXT,
	CHUNK_DATA,
	CHUNK_END,
	TRAILER,
	DONE,
	BAD,
};

enum { HEAD_METHOD = 1, LENGTH = 2, TRANSFER = 4, CHUNKED = 8, OPAQUE = 16 };
enum { OTHER, SSE, NDJSON };
enum { MARK, LINE_START, NAME, VALUE_START, VALUE, SKIP };

/* ---------------------------------------------------------------- bodies */

static void tell_events(struct weir_story *s)
{
	const struct weir_response_3 *o = s->old;
	bool begun = weir_story_in_document(o);
	/* A data line before the one that is read? */
	bool line =
		o->sse_has_data && (o->sse_phase == LINE_START || o->sse_phase == NAME ||
				    o->sse_phase == SKIP || (o->sse_phase == VALUE_START && begun));

	if (o->sse_phase == MARK) {
		weir_story_tell(s, "%.*s", o->sse_matched < 2 ? o->sse_matched : 2, "\xef\xbb");
		return;
	}
	weir_story_earlier(s, "data: ", "\n\n");
	if (!s->n)
		weir_story_tell(s, "\n");
	if (line || o->sse_phase == VALUE) {
		weir_story_tell(s, "data: ");
		weir_story_document(s, false);
	}
	if (line)
		weir_story_tell(s, o->sse_after_cr && o->sse_phase == LINE_START ? "\r" : "\n");
	else if (o->sse_after_cr && o->sse_phase == LINE_START)
		weir_story_tell(s, "\r");
	if (o->sse_phase == NAME)
		weir_story_tell(s, "%.*s", o->sse_matched <= 4 ? o->sse_matched : 4, "data");
	else if (o->sse_phase == VALUE_START)
		weir_story_tell(s, "data:");
	else if (o->sse_phase == SKIP)
		weir_story_tell(s, ":");
}

static void tell_lines(struct weir_story *s)
{
	weir_story_earlier(s, "", "\n");
	if (!s->n)
		weir_story_tell(s, "\n");
	weir_story_document(s, false);
}

/* One document, that is read or was. */
static void tell_one(struct weir_story *s)
{
	if (weir_story_in_document(s->old)) {
		weir_story_document(s, true);
		return;
	}
	weir_story_earlier(s, "", "");
	if (!s->n)
		weir_story_tell(s, " ");
}

/* ---------------------------------------------------------------- framing */

static const char *const types[] = { "application/json", "text/event-stream",
				     "application/x-ndjson" };

static void tell_head(struct weir_story *s, uint64_t length)
{
	const struct weir_http1_3 *h = &s->old->http;

	weir_story_tell(s, "HTTP/1.1 %03u X\r\ncontent-type: %s\r\n", h->status,
			types[h->type <= NDJSON ? h->type : OTHER]);
	if (h->flags & TRANSFER)
		weir_story_tell(s, "transfer-encoding: %s\r\n",
				h->flags & CHUNKED ? "chunked" : "other");
	else if (h->flags & LENGTH)
		weir_story_tell(s, "content-length: %llu\r\n", (unsigned long long)length);
	if (h->flags & OPAQUE && !(h->flags & TRANSFER && !(h->flags & CHUNKED)))
		weir_story_tell(s, "content-encoding: other\r\n");
}

static void feed(struct weir_response *r, const struct weir_story *s)
{
	weir_response_feed(r, NULL, s->text, s->n);
}

/* In the head: its lines so far, and the start of the one that is read. Of a longer one bytes are
 * missing: of a type that is its parameters, any other header is not told. */
static void feed_head(struct weir_response *r, struct weir_story *s)
{
	const struct weir_http1_3 *h = &s->old->http;
	bool cut = h->line_len > sizeof(h->line);

	if (h->phase == HEADER_LINE)
		tell_head(s, h->left);
	if (cut && strncasecmp(h->line, "content-type:", 13))
		weir_story_tell(s, "x:");
	else
		weir_story_tell(s, "%.*s", cut ? (int)sizeof(h->line) : h->line_len, h->line);
	feed(r, s);
}

/* Behind the body's bytes: where among the lines around chunks. */
static void tell_chunk_lines(struct weir_story *s)
{
	const struct weir_http1_3 *h = &s->old->http;

	switch (h->phase) {
	case CHUNK_SIZE:
		if (h->line_len)
			weir_story_tell(s, "%llx", (unsigned long long)h->left);
		break;
	case CHUNK_EXT:
		weir_story_tell(s, "%llx;", (unsigned long long)h->left);
		break;
	case TRAILER:
		weir_story_tell(s, "0\r\n%s", h->line_len ? "x" : "");
		break;
	case DONE:
		weir_story_tell(s, "0\r\n\r\n");
		break;
	}
}

static void feed_body(struct weir_response *r, const struct weir_story *body)
{
	const struct weir_http1_3 *h = &body->old->http;
	bool chunked = h->flags & TRANSFER && h->flags & CHUNKED;
	uint64_t left = h->phase == BODY_LENGTH || h->phase == CHUNK_DATA ? h->left : 0;
	struct weir_story s = { .old = body->old };

	tell_head(&s, body->n + left);
	weir_story_tell(&s, "\r\n");
	if (chunked && (body->n || left))
		weir_story_tell(&s, "%llx\r\n", (unsigned long long)(body->n + left));
	feed(r, &s);
	feed(r, body);
	if (!chunked)
		return;
	s.n = 0;
	if (h->phase == CHUNK_END)
		weir_story_tell(&s, h->line_len ? "\r" : "");
	else if (h->phase != CHUNK_DATA && body->n)
		weir_story_tell(&s, "\r\n");
	tell_chunk_lines(&s);
	feed(r, &s);
}

/* -------------------------------------------------------------------------------- */

/* What it knew, and the story did not say. Counts it did: today's rules are to judge them. */
static void put_seen(const struct weir_response_3 *o, struct weir_response_seen *seen)
{
	seen->chunks = o->chunks;
	memcpy(seen->model, o->model, sizeof(seen->model));
	memcpy(seen->response_id, o->response_id, sizeof(seen->response_id));
	memcpy(seen->finish_reason, o->finish_reason, sizeof(seen->finish_reason));
}

void weir_response_of_3(const struct weir_response_3 *o, struct weir_response *r)
{
	struct weir_story s = { .old = o };

	weir_response_init(r, o->http.flags & HEAD_METHOD);
	if (o->http.phase >= BAD) {
		weir_story_tell(&s, "bad\r\n");
		feed(r, &s);
		r->seen.status = o->status;
	} else if (o->http.phase <= HEADER_LINE) {
		feed_head(r, &s);
	} else {
		if (o->body_started && !(o->http.flags & OPAQUE)) {
			if (o->http.type == SSE)
				tell_events(&s);
			else if (o->http.type == NDJSON)
				tell_lines(&s);
			else
				tell_one(&s);
		}
		if (o->http.phase == CHUNK_END && !s.n) /* there was a chunk */
			weir_story_tell(&s, " ");
		feed_body(r, &s);
	}
	put_seen(o, &r->seen);
	if (o->lost)
		((struct weir_response_state *)(void *)r->state)->lost = 1;
}
