/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: in any cut, the framing of an answer (agent/http1.c) finds the body, the end, and the bad
 * answers that a reader of the whole buffer finds.
 */
#ifndef WEIR_AGREE_HTTP1_H
#define WEIR_AGREE_HTTP1_H

#include "agent/http1.h"
#include "make_http1.h"
#include "ref_http1.h"

struct http1_got {
	struct weir_http1 h;
	struct bytes body;
	size_t used;
};

static inline void http1_feed(struct http1_got *g, const uint8_t *p, size_t n, struct cut cut,
			      bool head_method, bool closed)
{
	memset(g, 0, sizeof(*g));
	weir_http1_init(&g->h, head_method);
	for (size_t take; g->used < n && !weir_http1_done(&g->h) && !weir_http1_bad(&g->h);
	     g->used += take) {
		size_t piece = cut_next(&cut, n - g->used), len;
		uint8_t *copy = own_copy(p + g->used, piece);
		const uint8_t *body;

		take = weir_http1_step(&g->h, copy, piece, &body, &len);
		CHECK(take > 0 && take <= piece);
		CHECK(!len || (body >= copy && body + len <= copy + take));
		if (len)
			put(&g->body, body, len);
		free(copy);
	}
	if (closed)
		weir_http1_close(&g->h);
}

static inline void http1_agrees(const uint8_t *p, size_t n, bool head_method, bool closed)
{
	static struct ref_http1 ref;

	ref_http1(&ref, p, n, head_method, closed);
	for (size_t i = 0; i < CUTS; i++) {
		struct http1_got got;

		http1_feed(&got, p, n, (struct cut){ seed_of(p, n), cut_longest[i] }, head_method,
			   closed);
		AGREE(p, n, weir_http1_bad(&got.h) == ref.bad || ref.unsure);
		if (!ref.unsure || weir_http1_bad(&got.h) == ref.bad) {
			AGREE(p, n, weir_http1_done(&got.h) == ref.done);
			AGREE(p, n, bytes_same(&got.body, &ref.body));
			AGREE(p, n, ref.bad || got.used == ref.used);
			AGREE(p, n, !ref.head || got.h.status == ref.status);
		}
		bytes_free(&got.body);
	}
	ref_http1_free(&ref);
}

/* Input: how; then a status, a body's length and how it is framed; or (bit 0) the bytes. */
static inline void http1_claim(const uint8_t *data, size_t size)
{
	static const char *const statuses[] = {
		"HTTP/1.1 200 OK",	 "HTTP/1.1 200 OK",  "HTTP/1.0 200",
		"HTTP/1.1 204 No Body",	 "HTTP/1.1 304 x",   "HTTP/1.1 101 Switching",
		"HTTP/1.1 429 Too Many", "HTTP/1.1 2000 x",  "HTTP/2 200",
		"HTTP/1.1 099 x",	 "HTTP/1.1\t200 OK",
	};
	static const char text[] = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{\"a\": [1, 2]}";
	struct input in = { data, data + size };
	uint8_t how = take(&in, 1);
	struct bytes b = { 0 };

	if (how & 1) {
		put_rest(&b, &in);
	} else {
		put_interim(&b, &in);
		put_head(&b, &in, PICK(&in, statuses));
		put_framed(&b, &in, (const uint8_t *)text, choose(&in, sizeof(text)));
		if (how & 8)
			put_text(&b, "HTTP/1.1 200 OK\r\n\r\nthe next");
		hurt(&b, &in);
		put_rest(&b, &in);
	}
	http1_agrees(b.p, b.n, how & 2, how & 4);
	bytes_free(&b);
}

#endif
