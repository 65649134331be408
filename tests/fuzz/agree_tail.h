/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims on an answer of which bytes were not seen (agent/metering.md, 9 and 10). Whatever is
 * reported then is what the whole answer says, proven by reading all of it, hole and all. And of a
 * list of vectors whose middle is missing, which is what the kernel skips, the usage behind it is
 * found.
 */
#ifndef WEIR_AGREE_TAIL_H
#define WEIR_AGREE_TAIL_H

#include "agree_response.h"

struct tail_hole {
	size_t at, n;
};

/* In pieces, but for the holes, which are in order. */
static inline enum weir_usage_source tail_feed(struct weir_response *r, const uint8_t *p, size_t n,
					       const struct tail_hole *holes, size_t n_holes,
					       struct cut cut)
{
	size_t at = 0;

	weir_response_init(r, false);
	while (at < n) {
		size_t stop = n_holes ? holes->at : n, take, took;
		uint8_t *piece;

		if (at == stop) {
			weir_response_skip(r, holes->n);
			at += holes->n;
			holes++;
			n_holes--;
			continue;
		}
		take = cut_next(&cut, stop - at);
		piece = own_copy(p + at, take);
		took = weir_response_feed(r, response_decoders(), piece, take);
		free(piece);
		at += took;
		if (took < take || r->seen.done)
			break;
	}
	weir_response_end(r, response_decoders());
	return weir_response_source(r);
}

/* `must`: it is there to be found. */
static inline void tail_agrees(const uint8_t *p, size_t n, const struct tail_hole *holes,
			       size_t n_holes, bool must)
{
	static struct ref_response ref;
	static struct weir_response got, first;

	ref_response(&ref, p, n, false, false);
	for (size_t i = 0; i < CUTS; i++) {
		enum weir_usage_source source = tail_feed(
			&got, p, n, holes, n_holes, (struct cut){ seed_of(p, n), cut_longest[i] });
		const struct weir_response_seen *e = &ref.a.seen, *g = &got.seen;
		bool reported = source == WEIR_USAGE_REPORTED;
		bool missed = must && !reported && ref.source == WEIR_USAGE_REPORTED;
		/* Of a document that is none nobody knows what it says. What a hole hid may have
		 * been text, whose output nobody counts: weir_finish calls that partial. */
		bool right = !reported || (!e->stream && !ref.a.first_whole) ||
			     response_same_counts(g, e);

		if (!i)
			first = got;
		if (!right || missed) {
			response_say("expected", e, ref.source);
			response_say("got", g, source);
			for (size_t k = 0; k < n_holes; k++)
				fprintf(stderr, "hole at %zu, %zu bytes\n", holes[k].at,
					holes[k].n);
		}
		AGREE(p, n, right);
		AGREE(p, n, !missed);
		AGREE(p, n, !memcmp(&g->usage, &first.seen.usage, sizeof(g->usage)));
		/* a name is the answer's, or none */
		AGREE(p, n, !reported || e->stream || !*g->model || !strcmp(g->model, e->model));
	}
}

/* A list of vectors, in the ways that servers write it, usage before or behind; and where its
 * middle is. */
static inline void put_vectors(struct bytes *b, struct input *in, struct tail_hole *hole)
{
	size_t vectors = 1 + choose(in, 6), from, how = choose(in, 4);

	put_text(b, "{\"object\":\"list\",");
	if (how & 1)
		put_shape(b, in, "'model':'m-1',@", answer_list);
	put_text(b, "\"data\":[");
	from = b->n;
	for (size_t i = 0; i < vectors; i++) {
		put_text(b, i ? ",{\"object\":\"embedding\",\"embedding\":" : "{\"embedding\":");
		if (how & 2) {
			put_text(b, "\"AAAAgD8AAIC/zczMPQ==\"");
		} else {
			put_byte(b, '[');
			for (size_t k = 1 + choose(in, 30); k--;)
				put_text(b, k ? "-0.0123, " : "1e-05");
			put_byte(b, ']');
		}
		put_format(b, ",\"index\":%zu}", i);
	}
	hole->at = from + take(in, 2) % (b->n - from);
	hole->n = 1 + take(in, 2) % (b->n - hole->at);
	put_shape(b, in, "],@'model':'m-1','usage':{'prompt_tokens':1234,'total_tokens':1234}}",
		  answer_list);
}

/* Texts that would like to be taken for the rest of the document. */
static const char *const tail_words[] = {
	"{\\\"usage\\\":{\\\"prompt_tokens\\\":1,\\\"completion_tokens\\\":1}}",
	",",
	"{",
	",\\\"usage\\\":{\\\"prompt_tokens\\\":1}}",
	"}",
	"}}",
	"\\\\",
	"usage",
	":{",
	",\\\"",
	" ,",
	"{ ",
	"\\\\\\\"",
	"\\\",\\\"usage\\\":{},\\\"x\\\":\\\"",
	"prompt_tokens",
};

/* Input: how, then an answer of one document, or of a stream whose every event has cumulative
 * counts, and up to two holes in its body. */
static inline void tail_claim(const uint8_t *data, size_t size)
{
	static const char *const shapes[] = {
		"{'id':~,'model':~,@'choices':[{'message':{'content':~},'finish_reason':~}],"
		"'usage':{'prompt_tokens':#,'completion_tokens':#,'total_tokens':#}}",
		"{'usage':{'prompt_tokens':#,'completion_tokens':#},'model':~,'choices':[{'text':~,"
		"'usage':{'prompt_tokens':1,'completion_tokens':1}}]}",
		"{'x':{'usage':{'prompt_tokens':1,'completion_tokens':1}},'y':[~,~,{'model':~},~],"
		"@'usage':{'input_tokens':#,'output_tokens':#}}",
		"[{'usage':{'prompt_tokens':#,'completion_tokens':#}}]",
		"[{'text':~,'meta_info':{'prompt_tokens':#,'completion_tokens':#}},{'text':~,"
		"'meta_info':{'prompt_tokens':#,'completion_tokens':#}}]",
		"{'content':[{'type':'text','text':~},{'type':'text','text':~}],'model':~,"
		"'usage':{'input_tokens':#,'output_tokens':#}} ",
		"{'a':~,'b':{'c':{'usage':{'prompt_tokens':7,'completion_tokens':7}}}}",
		"{@@'choices':[*,*],@'usage':{@'prompt_tokens':#,'completion_tokens':#},@'z':~}",
	};
	static const struct make_words words = { tail_words,
						 sizeof(tail_words) / sizeof(tail_words[0]) };
	struct input in = { data, data + size };
	uint8_t how = take(&in, 1);
	struct bytes body = { 0 }, b = { 0 };
	struct tail_hole holes[2] = { { 0, 1 }, { 0, 1 } };
	size_t n_holes = 1, head;
	bool must = how % 4 == 1, stream = how % 4 == 2;

	put(&body, "", 0);
	if (must)
		put_vectors(&body, &in, &holes[0]);
	else if (stream)
		for (size_t n = 1 + choose(&in, 5); n--;)
			put_event(&body, &in,
				  "{'choices':[{@'delta':{'content':~}}],'usage':{"
				  "'prompt_tokens':$,'completion_tokens':$}}");
	else
		put_shape(&body, &in, PICK(&in, shapes), words);
	put_format(&b, "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %zu\r\n\r\n",
		   stream ? "text/event-stream" : "application/json", body.n);
	head = b.n;
	put(&b, body.p, body.n);
	if (!must) {
		holes[0].at = take(&in, 2) % body.n;
		holes[0].n = 1 + take(&in, 2) % (body.n - holes[0].at);
		holes[1].at = holes[0].at + holes[0].n + 1 + choose(&in, 64);
		holes[1].n = 1 + choose(&in, 64);
		if (how & 4 && holes[1].at + holes[1].n <= body.n)
			n_holes = 2;
	}
	holes[0].at += head;
	holes[1].at += head;
	tail_agrees(b.p, b.n, holes, n_holes, must);
	bytes_free(&body);
	bytes_free(&b);
}

#endif
