/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: in any cut, an answer's documents, one after another, come to the counts, names and
 * figures that a reader of each whole document comes to (agent/usage.c).
 */
#ifndef WEIR_AGREE_USAGE_H
#define WEIR_AGREE_USAGE_H

#include "agent/usage.h"
#include "agree_response.h"

#define USAGE_DOCUMENTS 8

static inline void usage_agrees(const struct bytes *documents, size_t n, bool stream)
{
	static struct ref_answer ref;
	struct bytes all = { 0 };

	put(&all, "", 0);
	ref_answer_init(&ref);
	ref.seen.stream = stream;
	for (size_t i = 0; i < n; i++) {
		bool whole;

		ref_document(&ref, documents[i].p, documents[i].n, &whole);
		put(&all, documents[i].p, documents[i].n);
		put_byte(&all, '\n');
	}
	for (size_t c = 0; c < CUTS; c++) {
		struct cut cut = { seed_of(all.p, all.n), cut_longest[c] };
		struct weir_response got;
		struct weir_response_seen *g = &got.seen, *e = &ref.seen;
		struct weir_usage_scan u;
		char model[sizeof(g->model)] = { 0 };
		bool same;

		weir_response_init(&got, false);
		weir_usage_init(&u);
		g->stream = stream;
		for (size_t i = 0; i < n; i++) {
			for (size_t at = 0, take; at < documents[i].n; at += take) {
				uint8_t *piece;
				size_t took;

				take = cut_next(&cut, documents[i].n - at);
				piece = own_copy(documents[i].p + at, take);
				took = weir_usage_feed(&u, g, model, piece, take);
				free(piece);
				CHECK(took <= take);
				if (took < take)
					break;
			}
			weir_usage_next(&u);
		}
		same = response_same_counts(g, e) && response_same_names(g, e) &&
		       g->chunks == e->chunks && g->text_bytes == e->text_bytes &&
		       g->stream == e->stream;
		if (!same) {
			response_say("expected", e, 0);
			response_say("got", g, 0);
		}
		AGREE(all.p, all.n, same);
	}
	bytes_free(&all);
}

/* Input: how, then documents, some of them hurt. */
static inline void usage_claim(const uint8_t *data, size_t size)
{
	struct bytes documents[USAGE_DOCUMENTS] = { 0 };
	struct input in = { data, data + size };
	uint8_t how = take(&in, 1);
	size_t n = how & 1 ? 1 + how / 2 % USAGE_DOCUMENTS : 1;

	for (size_t i = 0; i < n; i++) {
		put(&documents[i], "", 0);
		if (how & 1)
			put_shape(&documents[i], &in, PICK(&in, event_shapes), answer_list);
		else
			put_document(&documents[i], &in);
		if (how & 128)
			hurt(&documents[i], &in);
	}
	usage_agrees(documents, n, how & 1);
	for (size_t i = 0; i < n; i++)
		bytes_free(&documents[i]);
}

#endif
