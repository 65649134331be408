/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims on a request's body (agent/asked.c): in any cut, and with bytes that come again, it says
 * the same, and what jansson says of it; its hash is that of its bytes, and nothing else's.
 */
#ifndef WEIR_AGREE_ASKED_H
#define WEIR_AGREE_ASKED_H

#include "make_json.h"
#include "ref_asked.h"

/* In pieces, each beginning up to `again` bytes before the end of the one before. */
static inline void asked_feed(struct weir_asked_text *a, const uint8_t *p, size_t n, struct cut cut,
			      size_t again, uint64_t key)
{
	size_t at = 0, take;

	weir_asked_init(a);
	for (; at < n; at += take) {
		size_t back = at < again ? at : again;
		uint8_t *piece;

		take = cut_next(&cut, n - at);
		piece = own_copy(p + at - back, back + take);
		weir_asked_feed(a, at - back, piece, back + take, key);
		free(piece);
	}
}

static inline bool asked_same(const struct weir_asked_text *a, const struct weir_asked_text *b)
{
	return a->max_tokens == b->max_tokens && a->choices == b->choices && a->flags == b->flags &&
	       !memcmp(a->model, b->model, sizeof(a->model)) &&
	       !memcmp(a->user, b->user, sizeof(a->user));
}

/* Brackets that no document of 64 levels has: where we give up, jansson does not. */
static inline bool asked_deep(const uint8_t *p, size_t n)
{
	size_t open = 0;

	for (size_t i = 0; i < n; i++)
		open += p[i] == '{' || p[i] == '[';
	return open > 64;
}

static inline void asked_agrees(const uint8_t *p, size_t n)
{
	const uint64_t key = 0x5eed;
	struct weir_asked_text whole, got;
	uint64_t hash[2], other[2];
	struct ref_asked ref;
	uint8_t *changed;

	asked_feed(&whole, p, n, (struct cut){ 0 }, 0, key);
	AGREE(p, n, weir_asked_hash(&whole, n, hash));
	AGREE(p, n, !weir_asked_hash(&whole, n + 1, other));
	for (size_t i = 0; i < CUTS; i++) {
		asked_feed(&got, p, n, (struct cut){ seed_of(p, n), cut_longest[i] }, i * 3, key);
		AGREE(p, n, asked_same(&whole, &got));
		AGREE(p, n, weir_asked_hash(&got, n, other) && !memcmp(hash, other, sizeof(hash)));
	}
	asked_feed(&got, p, n, (struct cut){ 0 }, 0, key + 1);
	AGREE(p, n, !n || (weir_asked_hash(&got, n, other) && memcmp(hash, other, sizeof(hash))));
	if (n) {
		size_t at = seed_of(p, n) % n;

		changed = own_copy(p, n);
		changed[at] ^= 1 << at % 8;
		asked_feed(&got, changed, n, (struct cut){ 0 }, 0, key);
		AGREE(p, n, weir_asked_hash(&got, n, other) && memcmp(hash, other, sizeof(hash)));
		free(changed);
		/* a hole: nothing that is behind it, and no hash */
		weir_asked_init(&got);
		weir_asked_feed(&got, 0, p, at, key);
		weir_asked_feed(&got, at + 1, p + at + 1, n - at - 1, key);
		AGREE(p, n, at + 1 == n || got.flags & WEIR_ASKED_HOLE);
		AGREE(p, n, at + 1 == n || !weir_asked_hash(&got, n, other));
	}
	if (asked_deep(p, n) || !ref_asked(p, n, &ref))
		return;
	AGREE(p, n, !!(whole.flags & WEIR_ASKED_STREAM) == ref.stream);
	AGREE(p, n, !!(whole.flags & WEIR_ASKED_INCLUDE_USAGE) == ref.include_usage);
	AGREE(p, n, ref.unsure || whole.max_tokens == ref.max_tokens);
	AGREE(p, n, ref.unsure || whole.choices == ref.choices);
	AGREE(p, n, !memcmp(whole.model, ref.model, sizeof(ref.model)));
	AGREE(p, n, !memcmp(whole.user, ref.user, sizeof(ref.user)));
}

/* Input: a request of a shape, hurt or not; or (first byte odd) the body itself. */
static inline void asked_claim(const uint8_t *data, size_t size)
{
	static const char *const words[] = {
		"model",
		"user",
		"metadata",
		"user_id",
		"stream",
		"max_tokens",
		"n",
		"max_completion_tokens",
		"stream_options",
		"include_usage",
		"best_of",
		"parameters",
		"sampling_params",
		"options",
		"num_predict",
		"max_new_tokens",
		"n_predict",
		"messages",
		"max_output_tokens",
	};
	static const char *const shapes[] = {
		"{'model':~,'messages':[{'role':'user','content':~},*],'max_tokens':#,'n':#}",
		"{@'stream':true,'stream_options':{@'include_usage':true},'user':~,'model':~}",
		"{'metadata':{'user_id':~},@'model':'claude-9','max_tokens':#}",
		"{'inputs':~,'parameters':{@'max_new_tokens':#,'best_of':#},'stream':false}",
		"{'text':~,'sampling_params':{'max_new_tokens':#,'n':#},'stream':true}",
		"{'prompt':~,'options':{'num_predict':#},'n_predict':#,'stream':*,'user':*}",
		"{'a':*,@'model':*,@'user':*}",
	};
	struct make_words list = { words, sizeof(words) / sizeof(words[0]) };
	struct input in = { data, data + size };
	uint8_t how = take(&in, 1);
	struct bytes b = { 0 };

	if (how & 1) {
		put_rest(&b, &in);
	} else {
		put_shape(&b, &in, PICK(&in, shapes), list);
		if (how & 2)
			hurt(&b, &in);
	}
	asked_agrees(b.p, b.n);
	bytes_free(&b);
}

#endif
