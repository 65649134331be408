/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: in any cut, the parser of an answer (agent/response.c) says what a reader says that has
 * all of it at hand: status, counts and their source, names, events and text, where it ends.
 */
#ifndef WEIR_AGREE_RESPONSE_H
#define WEIR_AGREE_RESPONSE_H

#include "make_answer.h"
#include "ref_response.h"

static inline struct weir_decoders *response_decoders(void)
{
	static struct weir_decoders *d;
	struct weir_error err;

	if (!d)
		CHECK(!weir_decoders_new(64 << 20, &d, &err));
	return d;
}

/* How many bytes were the answer's. */
static inline size_t response_feed(struct weir_response *r, const uint8_t *p, size_t n,
				   struct cut cut, bool head_method, bool closed)
{
	size_t at = 0, take, took;

	weir_response_init(r, head_method);
	for (took = take = 0; at < n && took == take; at += took) {
		uint8_t *piece;

		take = cut_next(&cut, n - at);
		piece = own_copy(p + at, take);
		took = weir_response_feed(r, response_decoders(), piece, take);
		free(piece);
		CHECK(took == take || (took < take && r->seen.done));
	}
	if (closed)
		weir_response_close(r);
	return at;
}

static inline bool response_same(const struct weir_response_seen *a,
				 const struct weir_response_seen *b)
{
	return a->status == b->status && a->stream == b->stream && a->done == b->done &&
	       a->bad == b->bad && a->body_started == b->body_started && a->coding == b->coding;
}

static inline bool response_same_counts(const struct weir_response_seen *a,
					const struct weir_response_seen *b)
{
	return !memcmp(&a->usage, &b->usage, sizeof(a->usage)) && a->audio == b->audio &&
	       a->image == b->image && a->has_usage == b->has_usage;
}

static inline bool response_same_names(const struct weir_response_seen *a,
				       const struct weir_response_seen *b)
{
	return !memcmp(a->model, b->model, sizeof(a->model)) &&
	       !memcmp(a->model_version, b->model_version, sizeof(a->model_version)) &&
	       !memcmp(a->response_id, b->response_id, sizeof(a->response_id)) &&
	       !memcmp(a->request_id, b->request_id, sizeof(a->request_id)) &&
	       !memcmp(a->finish_reason, b->finish_reason, sizeof(a->finish_reason));
}

static inline void response_say(const char *who, const struct weir_response_seen *s, int source)
{
	fprintf(stderr,
		"%s: status %u cache %u stream %u done %u bad %u body %u coding %u usage %u: in "
		"%lld out "
		"%lld "
		"read %lld write %lld reasoning %lld audio %lld image %lld source %d chunks %u "
		"text "
		"%llu model \"%s\" version \"%s\" id \"%s\" request \"%s\" finish \"%s\"\n",
		who, s->status, s->cache_status, s->stream, s->done, s->bad, s->body_started,
		s->coding, s->has_usage, (long long)s->usage.input, (long long)s->usage.output,
		(long long)s->usage.cache_read, (long long)s->usage.cache_write,
		(long long)s->usage.reasoning, (long long)s->audio, (long long)s->image, source,
		s->chunks, (unsigned long long)s->text_bytes, s->model, s->model_version,
		s->response_id, s->request_id, s->finish_reason);
}

static inline void response_agrees(const uint8_t *p, size_t n, bool head_method, bool closed)
{
	static struct ref_response ref;
	static struct weir_response got, first;

	ref_response(&ref, p, n, head_method, closed);
	for (size_t i = 0; i < CUTS; i++) {
		size_t used =
			response_feed(&got, p, n, (struct cut){ seed_of(p, n), cut_longest[i] },
				      head_method, closed);
		enum weir_usage_source source = weir_response_source(&got);
		const struct weir_response_seen *e = &ref.a.seen, *g = &got.seen;
		bool same = response_same(g, e) &&
			    (g->cache_status == e->cache_status || ref.unsure_cache) &&
			    response_same_counts(g, e) && response_same_names(g, e) &&
			    g->chunks == e->chunks && g->text_bytes == e->text_bytes &&
			    source == ref.source && (used == ref.used || e->bad);

		if (!i)
			first = got;
		/* Once a compressed body turns out bad, how far it was read hangs on the pieces. */
		AGREE(p, n, ref.damaged || !memcmp(&got.seen, &first.seen, sizeof(got.seen)));
		weir_response_end(&got, response_decoders());
		if ((ref.unsure && g->bad != e->bad) ||
		    (e->coding == WEIR_BODY_ZSTD && source == WEIR_USAGE_PARTIAL))
			continue; /* see agree_decode.h */
		if (ref.damaged) {
			AGREE(p, n, response_same(g, e) && source == ref.source);
			continue;
		}
		if (!same) {
			response_say("expected", e, ref.source);
			response_say("got", g, source);
		}
		AGREE(p, n, same);
	}
}

/* Input: an answer's bytes if that is how it begins; else how, and what it is made of. */
static inline void response_claim(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	struct bytes b = { 0 };
	uint8_t how = 4;

	if (size > 5 && !memcmp(data, "HTTP/", 5)) {
		put_rest(&b, &in);
	} else {
		how = take(&in, 1);
		put_answer(&b, &in);
		if ((how & 24) == 24)
			hurt(&b, &in);
	}
	response_agrees(b.p, b.n, (how & 3) == 3, !(how & 4));
	bytes_free(&b);
}

#endif
