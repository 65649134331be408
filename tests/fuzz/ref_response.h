/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole answer, all of it at hand: its framing, then its body in one piece, undone at once, then
 * its documents one by one.
 */
#ifndef WEIR_REF_RESPONSE_H
#define WEIR_REF_RESPONSE_H

#include "ref_cache.h"
#include "ref_decode.h"
#include "ref_http1.h"
#include "ref_sse.h"
#include "ref_usage.h"

struct ref_response {
	struct ref_answer a;
	enum weir_usage_source source;
	size_t used;
	bool unsure; /* see ref_http1: bad would be right as well */
	bool unsure_cache;
	bool damaged; /* a compressed body that is not whole */
};

static inline void ref_event(void *ctx, const struct bytes *data, bool whole)
{
	bool good;

	(void)whole; /* what the cut last event said whole stands, as in metering.md 3 */
	ref_document(ctx, data->p, data->n, &good);
}

static inline void ref_lines(struct ref_answer *a, const uint8_t *p, size_t n)
{
	while (n) {
		size_t end, len;
		bool good;

		len = ref_line(p, n, &end, &good);
		if (len)
			ref_document(a, p, len, &good);
		p += end;
		n -= end;
	}
}

/* One document, and lines of them if a line end is what follows. */
static inline void ref_plain(struct ref_answer *a, const uint8_t *p, size_t n)
{
	bool good;
	size_t at = ref_document(a, p, n, &good);

	if (!good)
		return;
	while (at < n && ref_blank(p[at]))
		at++;
	if (at < n && (p[at] == '\r' || p[at] == '\n'))
		ref_lines(a, p + at, n - at);
}

enum ref_type { REF_PLAIN, REF_JSON_TYPE, REF_SSE, REF_LINES };

static inline enum ref_type ref_type_of(const struct ref_http1 *h)
{
	const struct ref_field *f = NULL, *next;
	size_t n = 0;

	for (size_t i = 0; (next = ref_field(h, "content-type", i)); i++)
		f = next;
	while (f && n < f->value_len && !strchr(" \t;,", f->value[n]))
		n++;
	if (!f)
		return REF_PLAIN;
	if (ref_is(f->value, n, "text/event-stream"))
		return REF_SSE;
	if (ref_is(f->value, n, "application/json"))
		return REF_JSON_TYPE;
	return ref_is(f->value, n, "application/x-ndjson") ||
			       ref_is(f->value, n, "application/ndjson") ||
			       ref_is(f->value, n, "application/jsonl") ||
			       ref_is(f->value, n, "application/x-jsonlines") ||
			       ref_is(f->value, n, "application/stream+json")
		       ? REF_LINES
		       : REF_PLAIN;
}

static inline enum weir_body_coding ref_coding_of(const struct ref_http1 *h)
{
	enum weir_body_coding coding = WEIR_BODY_PLAIN;
	const struct ref_field *f;

	for (size_t i = 0; (f = ref_field(h, "content-encoding", i)); i++) {
		const char *p = f->value, *word;
		size_t len;

		while (ref_list_element(&p, f->value + f->value_len, &word, &len)) {
			if (!len || ref_is(word, len, "identity"))
				continue;
			if (coding != WEIR_BODY_PLAIN)
				coding = WEIR_BODY_CODED;
			else if (ref_is(word, len, "gzip") || ref_is(word, len, "x-gzip"))
				coding = WEIR_BODY_GZIP;
			else
				coding = ref_is(word, len, "deflate") ? WEIR_BODY_DEFLATE
					 : ref_is(word, len, "zstd")  ? WEIR_BODY_ZSTD
								      : WEIR_BODY_CODED;
		}
	}
	return coding;
}

/* Counts that TGI puts into its head. */
static inline void ref_head_count(struct ref_answer *a, const struct ref_http1 *h, const char *name,
				  enum ref_count count)
{
	const struct ref_field *f;

	for (size_t i = 0; (f = ref_field(h, name, i)); i++) {
		unsigned __int128 n = 0;
		size_t k;

		for (k = 0;
		     k < f->value_len && f->value[k] >= '0' && f->value[k] <= '9' && n <= INT64_MAX;
		     k++)
			n = n * 10 + (unsigned)(f->value[k] - '0');
		if (f->value_len && k == f->value_len && n <= INT64_MAX) {
			a->counts[count] = (int64_t)n;
			ref_disjoint(a);
		}
	}
}

static inline void ref_request_id(struct ref_answer *a, const struct ref_http1 *h)
{
	const struct ref_field *f = ref_field(h, "x-request-id", 0);
	size_t n = f ? f->value_len : 0;

	if (!n || ref_field(h, "x-request-id", 1) || n >= sizeof(a->seen.request_id))
		return;
	for (size_t i = 0; i < n; i++)
		if (f->value[i] < ' ' || f->value[i] > '~')
			return;
	memcpy(a->seen.request_id, f->value, n);
}

static inline enum weir_usage_source ref_source(const struct ref_response *r)
{
	const struct ref_answer *a = &r->a;
	const struct weir_usage *u = &a->seen.usage;
	bool output = ref_known(u->output) || ref_known(u->reasoning);

	if (a->seen.status < 200 || a->seen.status >= 300)
		return WEIR_USAGE_NONE; /* 0: no answer */
	if (!a->seen.done || r->damaged)
		return WEIR_USAGE_PARTIAL;
	if (a->seen.has_usage && (!a->several || a->first_whole) && ref_known(u->input) &&
	    (output || !a->produced) && !a->provisional)
		return WEIR_USAGE_REPORTED;
	if (a->seen.has_usage && a->provisional)
		return WEIR_USAGE_PARTIAL;
	return a->seen.has_usage || a->answered ? WEIR_USAGE_ESTIMATED : WEIR_USAGE_NONE;
}

static inline void ref_body(struct ref_response *r, const struct ref_http1 *h)
{
	enum weir_body_coding coding =
		h->opaque ? WEIR_BODY_CODED : (enum weir_body_coding)r->a.seen.coding;
	enum ref_type type = ref_type_of(h);
	struct bytes body = { 0 };
	bool too_wide;

	r->a.seen.body_started = 1;
	r->a.seen.stream = type == REF_SSE || type == REF_LINES;
	r->a.seen.coding = (uint8_t)coding;
	if (coding == WEIR_BODY_CODED) {
		r->a.answered |= type != REF_PLAIN;
		return;
	}
	put(&body, "", 0);
	if (coding == WEIR_BODY_PLAIN)
		put(&body, h->body.p, h->body.n);
	else
		r->damaged = !ref_decode(coding, h->body.p, h->body.n, &body, &too_wide);
	if (type == REF_SSE)
		ref_sse(body.p, body.n, ref_event, &r->a);
	else if (type == REF_LINES)
		ref_lines(&r->a, body.p, body.n);
	else
		ref_plain(&r->a, body.p, body.n);
	bytes_free(&body);
}

static inline void ref_response(struct ref_response *r, const uint8_t *p, size_t n,
				bool head_method, bool closed)
{
	static struct ref_http1 h;

	memset(r, 0, sizeof(*r));
	ref_answer_init(&r->a);
	ref_http1(&h, p, n, head_method, closed);
	r->a.seen.status = (uint16_t)(h.status >= 200 || h.status == 101 ? h.status : 0);
	r->a.seen.done = h.done;
	r->a.seen.bad = h.bad;
	r->used = h.used;
	r->unsure = h.unsure;
	r->a.seen.coding = (uint8_t)ref_coding_of(&h);
	r->a.seen.cache_status = (uint8_t)ref_cache(&h, &r->unsure_cache);
	ref_request_id(&r->a, &h);
	ref_head_count(&r->a, &h, "x-prompt-tokens", REF_NATIVE_PROMPT);
	ref_head_count(&r->a, &h, "x-generated-tokens", REF_NATIVE_OUTPUT);
	if (h.body.n)
		ref_body(r, &h);
	r->source = ref_source(r);
	ref_http1_free(&h);
}

#endif
