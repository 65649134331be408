/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim: in any cut, the scanner (agent/json_scan.c) tells of the places that a schema names what
 * a reader of the whole document tells, in the same order, whatever the bytes.
 */
#ifndef WEIR_AGREE_JSON_H
#define WEIR_AGREE_JSON_H

#include "make_json.h"
#include "ref_json.h"

/* A schema that has each kind of place, and one that goes down as far as there is room. */
enum json_node {
	JN_NOWHERE,
	JN_ROOT,
	JN_DOCUMENTS,
	JN_A,
	JN_B,
	JN_N,
	JN_S,
	JN_T,
	JN_LIST,
	JN_E,
	JN_X,
	JN_NODES
};

static const struct {
	const char *path;
	uint8_t node;
} json_places[] = {
	{ "", JN_ROOT },      { "a", JN_A },	    { "a.b", JN_B },	{ "n", JN_N },
	{ "s", JN_S },	      { "t", JN_T },	    { "x", JN_X },	{ "a.n", JN_N },
	{ "a.s", JN_S },      { "list", JN_LIST },  { "list[]", JN_E }, { "list[].n", JN_N },
	{ "list[].s", JN_S }, { "list[].x", JN_X }, { "a.b.n", JN_N },
};

static const uint16_t json_want[JN_NODES] = {
	[JN_ROOT] = WEIR_SCAN_OBJECT | WEIR_SCAN_END,
	[JN_DOCUMENTS] = WEIR_SCAN_ARRAY | WEIR_SCAN_OPEN | WEIR_SCAN_END,
	[JN_A] = WEIR_SCAN_OBJECT | WEIR_SCAN_BYTES | WEIR_SCAN_OPEN,
	[JN_B] = WEIR_SCAN_OBJECT | WEIR_SCAN_END | WEIR_SCAN_OPEN | WEIR_SCAN_KEY,
	[JN_N] = WEIR_SCAN_NUMBER | WEIR_SCAN_TRUE,
	[JN_S] = WEIR_SCAN_STRING | WEIR_SCAN_NUMBER | WEIR_SCAN_KEY,
	[JN_T] = WEIR_SCAN_BYTES | WEIR_SCAN_ARRAY,
	[JN_LIST] = WEIR_SCAN_ARRAY | WEIR_SCAN_END,
	[JN_E] = WEIR_SCAN_OBJECT | WEIR_SCAN_STRING,
	[JN_X] = WEIR_SCAN_BYTES,
};

/* As the scanner asks; a.b.a is a again, so that there is a way down without end. */
static inline uint8_t json_child(uint8_t node, const char *key, size_t len)
{
#define JN_KEY(word) (len == sizeof(word) - 1 && !memcmp(key, word, len))
	if (!key)
		return node == JN_DOCUMENTS ? JN_ROOT : node == JN_LIST ? JN_E : JN_NOWHERE;
	switch (node) {
	case JN_ROOT:
		return JN_KEY("a")	? JN_A
		       : JN_KEY("n")	? JN_N
		       : JN_KEY("s")	? JN_S
		       : JN_KEY("t")	? JN_T
		       : JN_KEY("x")	? JN_X
		       : JN_KEY("list") ? JN_LIST
					: JN_NOWHERE;
	case JN_A:
		return JN_KEY("b") ? JN_B : JN_KEY("n") ? JN_N : JN_KEY("s") ? JN_S : JN_NOWHERE;
	case JN_B:
		return JN_KEY("n") ? JN_N : JN_KEY("a") ? JN_A : JN_NOWHERE;
	case JN_E:
		return JN_KEY("n") ? JN_N : JN_KEY("s") ? JN_S : JN_KEY("x") ? JN_X : JN_NOWHERE;
	}
	return JN_NOWHERE;
#undef JN_KEY
}

/* As the reader asks: by path, a.b.a taken for a. */
static inline uint8_t json_node_of(const struct ref_json *r)
{
	struct ref_path p = r->path;

	if (r->array)
		return JN_DOCUMENTS;

	while (p.n >= 3 && ref_path_is(&(struct ref_path){ { p.step[0], p.step[1], p.step[2] }, 3 },
				       "a.b.a", false, NULL)) {
		memmove(p.step, p.step + 2, (p.n - 2) * sizeof(p.step[0]));
		p.n -= 2;
	}
	for (size_t i = 0; i < sizeof(json_places) / sizeof(json_places[0]); i++)
		if (ref_path_is(&p, json_places[i].path, false, NULL))
			return json_places[i].node;
	return JN_NOWHERE;
}

static inline unsigned json_ref_want(void *ctx, const struct ref_json *r)
{
	(void)ctx;
	return json_want[json_node_of(r)];
}

/* What was told, as a text to compare; bytes of one place added up. */
struct json_list {
	struct bytes text;
	int64_t bytes;
	uint8_t node;
};

static inline void json_flush(struct json_list *l)
{
	if (l->bytes)
		put_format(&l->text, "%u holds %lld\n", l->node, (long long)l->bytes);
	l->bytes = 0;
}

static inline void json_note(struct json_list *l, uint8_t node, enum weir_scan_event event,
			     int64_t number, const void *text, size_t len)
{
	if (event == WEIR_SCAN_IS_BYTES && (!l->bytes || l->node == node)) {
		l->bytes += number;
		l->node = node;
		return;
	}
	/* its bracket is counted before or behind the word that it is there */
	if (event != WEIR_SCAN_IS_OPEN || l->node != node)
		json_flush(l);
	if (event == WEIR_SCAN_IS_BYTES) {
		l->bytes = number;
		l->node = node;
		return;
	}
	put_format(&l->text, "%u:%u ", node, event);
	if (event == WEIR_SCAN_IS_NUMBER)
		put_format(&l->text, "%lld", (long long)number);
	if (event == WEIR_SCAN_IS_STRING)
		put(&l->text, text, len < WEIR_TEXT_BYTES ? len : WEIR_TEXT_BYTES);
	put_byte(&l->text, '\n');
}

static inline void json_ref_told(void *ctx, const struct ref_json *r, const struct ref_told *t)
{
	json_note(ctx, json_node_of(r), t->event, t->number, t->text ? t->text->p : NULL,
		  t->text ? t->text->n : 0);
}

static inline void json_found(void *ctx, uint8_t node, const struct weir_scan_found *f)
{
	CHECK(f->event != WEIR_SCAN_IS_BYTES || f->number > 0);
	json_note(ctx, node, f->event, f->number, f->text, f->len);
}

static inline void json_agrees(const uint8_t *p, size_t n)
{
	static const struct weir_scan_schema schema = { json_want, json_child, json_found };
	struct json_list expected = { 0 };
	struct ref_json ref = { .want = json_ref_want, .told = json_ref_told, .ctx = &expected };
	bool over = ref_json(&ref, p, n);
	size_t ends = (size_t)(ref.p - p);

	json_flush(&expected);
	for (size_t i = 0; i < CUTS; i++) {
		struct cut cut = { seed_of(p, n), cut_longest[i] };
		struct json_list got = { 0 };
		struct weir_scan scan = { 0 };
		size_t at = 0, take, took;

		for (took = take = 0; at < n && took == take; at += took) {
			uint8_t *piece;

			take = cut_next(&cut, n - at);
			piece = own_copy(p + at, take);
			took = weir_scan_feed(&scan, &schema, &got, piece, take);
			AGREE(p, n, took <= take);
			free(piece);
			if (took < take)
				AGREE(p, n, weir_scan_over(&scan) || weir_scan_dead(&scan));
		}
		json_flush(&got);
		AGREE(p, n, weir_scan_over(&scan) == over);
		AGREE(p, n, !over || at == ends);
		if (!bytes_same(&got.text, &expected.text))
			fprintf(stderr, "expected\n%.*s\ngot\n%.*s\n", (int)expected.text.n,
				(char *)expected.text.p, (int)got.text.n, (char *)got.text.p);
		AGREE(p, n, bytes_same(&got.text, &expected.text));
		bytes_free(&got.text);
	}
	bytes_free(&expected.text);
}

/* Input: a few documents, hurt or not; or (first byte odd) the text itself. */
static inline void json_claim(const uint8_t *data, size_t size)
{
	static const char *const words[] = { "a", "b", "n", "s", "t", "x", "list", "y", "aa" };
	static const char *const shapes[] = {
		"{@'a':{'n':#,'s':~,'b':{'n':#}},'n':#}",
		"{'list':[{'n':#,@'s':~},*,~],@'s':~}",
		"{'a':{'b':{'a':{'b':{'a':{'b':{'a':{'b':{'n':#},'n':#}}}}}}},'n':#}",
		"{'s':~,'x':*,'t':~,'n':#}",
		"{'y':[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]"
		"]]]]"
		"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],'n':#}",
		"{'n':#,'y':*,'n':#}{'s':~}",
		"[{'n':#,'s':~},{'a':{'n':#}},*]",
		"[{'a':{'b':{'a':{'b':{'a':{'b':{'a':{'b':{'n':#},'n':#}}}}}}},'n':#}]",
		"[*]",
	};
	struct make_words list = { words, sizeof(words) / sizeof(words[0]) };
	struct input in = { data, data + size };
	struct bytes b = { 0 };
	uint8_t how = take(&in, 1);

	if (how & 1) {
		put_rest(&b, &in);
	} else {
		put_blanks(&b, &in);
		if (how & 2)
			put_shape(&b, &in, PICK(&in, shapes), list);
		else
			put_shape(&b, &in, "{@@@'n':#}", list);
		if (how & 4)
			hurt(&b, &in);
	}
	json_agrees(b.p, b.n);
	bytes_free(&b);
}

#endif
