// SPDX-License-Identifier: Apache-2.0
/*
 * Hostile JSON bodies. One claim: the scanner that works in words, in windows cut
 * anywhere, tells what a slow and simple reader of the whole text tells: the same
 * events, in the same order, at the same bytes.
 *
 * Input: three bytes that say how it is cut, what lies behind the windows and how the
 * rest is meant; then the body. Meant as pieces, bytes below 32 stand for whole keys
 * and the like, which come up seldom by chance.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bpf/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(truth)                                                                               \
	do {                                                                                       \
		if (!(truth)) {                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define TEXT_MAX   4096 /* the reader goes down a call for each bracket */
#define EVENTS_MAX 1024

struct told {
	uint32_t event, at, len, plain, quoted, model_len;
	uint64_t number;
	char model[WEIR_MODEL_BYTES];
};

struct list {
	struct told told[EVENTS_MAX];
	size_t n;
};

static struct told *tell(struct list *l, uint32_t event)
{
	CHECK(l->n < EVENTS_MAX);
	memset(&l->told[l->n], 0, sizeof(l->told[0]));
	l->told[l->n].event = event;
	return &l->told[l->n++];
}

/* ---------------------------------------------------------------- the slow reader */

struct text {
	const uint8_t *p, *end;
	const uint8_t *start;
	struct list *list;
};

enum how { GOES_ON, ENDS, BAD };

static bool is_blank(int c)
{
	return c && strchr(" \t\r\n", c);
}

static bool is_word(int c)
{
	return c && strchr("0123456789+-.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c);
}

static int peek(struct text *t)
{
	while (t->p < t->end && is_blank(*t->p))
		t->p++;
	return t->p < t->end ? *t->p : -1;
}

/* t->p behind the opening quote; then behind the closing one. */
static enum how string(struct text *t)
{
	for (; t->p < t->end; t->p++) {
		if (*t->p == '"') {
			t->p++;
			return GOES_ON;
		}
		if (*t->p == '\\' && ++t->p == t->end)
			return ENDS;
	}
	return ENDS;
}

/* t->p behind the opening bracket. */
static enum how inside(struct text *t)
{
	bool fresh = true; /* a string may begin */

	for (;;) {
		int c = peek(t);
		enum how how = GOES_ON;

		if (c < 0)
			return ENDS;
		t->p++;
		switch (c) {
		case '{':
		case '[':
			how = inside(t);
			fresh = false;
			break;
		case '}':
		case ']':
			return GOES_ON;
		case ',':
		case ':':
			fresh = true;
			break;
		case '"':
			if (!fresh)
				return BAD;
			how = string(t);
			fresh = false;
			break;
		default:
			if (!is_word(c))
				return BAD;
			fresh = false;
		}
		if (how != GOES_ON)
			return how;
	}
}

static enum how key(struct text *t, char *name, size_t room)
{
	size_t n = 0;

	for (; t->p < t->end; t->p++) {
		if (*t->p == '"') {
			t->p++;
			name[n] = 0;
			return GOES_ON;
		}
		if (*t->p < 0x20 || *t->p > 0x7e || *t->p == '\\')
			return BAD;
		if (n < room - 1)
			name[n++] = *t->p;
	}
	return ENDS;
}

static uint64_t decimal(const uint8_t *p, size_t n)
{
	unsigned __int128 v = 0;

	for (size_t i = 0; i < n; i++) {
		v = v * 10 + (p[i] - '0');
		if (v > UINT64_MAX)
			return UINT64_MAX;
	}
	return v;
}

static enum how number(struct text *t, bool limit)
{
	const uint8_t *from = t->p;
	bool plain = true;
	struct told *told;

	for (; t->p < t->end && is_word(*t->p); t->p++)
		plain = plain && *t->p >= '0' && *t->p <= '9';
	if (t->p == t->end)
		return ENDS;
	if (!limit || strchr("-ntf", *from))
		return GOES_ON;
	told = tell(t->list, WEIR_BODY_TOKENS);
	told->at = from - t->start;
	told->len = t->p - from;
	told->plain = plain;
	told->number = plain ? decimal(from, told->len) : UINT64_MAX;
	return GOES_ON;
}

static enum how value(struct text *t, const char *name)
{
	bool limit = !strcasecmp(name, "max_tokens") ||
		     !strcasecmp(name, "max_completion_tokens") ||
		     !strcasecmp(name, "max_output_tokens");
	bool model = !strcasecmp(name, "model");
	int c = peek(t);
	struct told *told;
	const uint8_t *from;
	enum how how;

	if (c < 0)
		return ENDS;
	if (c == '{' || c == '[') {
		t->p++;
		return inside(t);
	}
	if (c != '"')
		return is_word(c) ? number(t, limit) : BAD;
	from = ++t->p;
	how = string(t);
	if (how != GOES_ON || (!limit && !model))
		return how;
	told = tell(t->list, limit ? WEIR_BODY_TOKENS : WEIR_BODY_MODEL);
	told->at = from - t->start;
	told->len = t->p - 1 - from;
	told->quoted = limit;
	told->number = limit ? UINT64_MAX : 0;
	if (model) {
		told->model_len = told->len < WEIR_MODEL_BYTES ? told->len : WEIR_MODEL_BYTES;
		memcpy(told->model, from, told->model_len);
	}
	return GOES_ON;
}

static enum how object(struct text *t)
{
	for (;;) {
		int c = peek(t);
		char name[100]; /* cut, a long one is none of ours */
		enum how how;

		if (c < 0)
			return ENDS;
		t->p++;
		if (c == '}')
			return GOES_ON;
		if (c != '"')
			return BAD;
		how = key(t, name, sizeof(name));
		if (how != GOES_ON)
			return how;
		c = peek(t);
		if (c != ':')
			return c < 0 ? ENDS : BAD;
		t->p++;
		how = value(t, name);
		if (how != GOES_ON)
			return how;
		c = peek(t);
		if (c == ',')
			t->p++;
		else if (c != '}')
			return c < 0 ? ENDS : BAD;
	}
}

static void read_slowly(const uint8_t *p, size_t n, struct list *list)
{
	struct text t = { .p = p, .end = p + n, .start = p, .list = list };
	int c = peek(&t);

	if (c < 0)
		return;
	if (c != '{') {
		tell(list,
		     c < 0x20 || c > 0x7e || strchr("/#)", c) ? WEIR_BODY_BAD : WEIR_BODY_OTHER);
		return;
	}
	t.p++;
	switch (object(&t)) {
	case ENDS:
		return;
	case BAD:
		tell(list, WEIR_BODY_BAD);
		return;
	case GOES_ON:
		tell(list, WEIR_BODY_END);
		if (peek(&t) >= 0)
			tell(list, WEIR_BODY_OTHER);
	}
}

/* --------------------------------------------------------------------- the scanner */

static void note(struct list *l, const struct weir_body_state *s)
{
	struct told *told = tell(l, s->event);

	if (s->event != WEIR_BODY_TOKENS && s->event != WEIR_BODY_MODEL)
		return;
	told->at = s->value_at;
	told->len = s->value_len;
	if (s->event == WEIR_BODY_MODEL) {
		told->model_len = s->model_len;
		memcpy(told->model, s->model, sizeof(told->model));
		return;
	}
	told->plain = s->plain;
	told->quoted = s->quoted;
	told->number = s->number;
}

/* Windows of 1 to `size` bytes, as chance has it. */
static void read_in_windows(const uint8_t *p, size_t n, unsigned size, uint8_t leavings,
			    uint8_t seed, struct list *list)
{
	static struct weir_body b;
	uint32_t chance = seed * 2654435761U + 1;

	weir_body_start(&b);
	for (size_t at = 0, take; at < n; at += take) {
		unsigned runs = 0;

		chance = chance * 1664525 + 1013904223;
		take = seed ? 1 + (chance >> 16) % size : size;
		if (take > n - at)
			take = n - at;
		memset(b.bytes, leavings, sizeof(b.bytes));
		memcpy(b.bytes, p + at, take);
		weir_body_window(&b, at, take);
		for (;;) {
			CHECK(runs++ < WEIR_BODY_RUNS);
			if (!weir_body_run(&b))
				continue;
			if (b.state.event == WEIR_BODY_MORE)
				break;
			note(list, &b.state);
			if (b.state.event >= WEIR_BODY_OTHER)
				return;
		}
		CHECK(b.pos == take);
	}
}

static size_t spell(const uint8_t *data, size_t size, uint8_t *text, size_t room)
{
	static const char *const pieces[32] = {
		"\"max_tokens\":",
		"\"max_completion_tokens\"",
		"\"Max_Output_Tokens\" : ",
		"\"model\":",
		"\"MODEL\" :\"",
		"\"messages\":[{\"role\": \"user\",",
		"\"content\":\"",
		"12345678",
		"1234, 56, 7, ",
		"        ",
		"\\\"",
		"\\\\",
		"\"}]",
		"},{",
		"\":\"",
		"\", \"",
		"\\u0041",
		"4096",
		"null",
		"-1.5e3",
		"\"a\":",
		"[[",
		"]]",
		"},",
		",\"",
		"18446744073709551615",
		"01234567890123456789012345678901",
		"Infinity",
		"\"\"",
		"\n  ",
		"\xef\xbb\xbf",
		"\xe2\x84\xaa",
	};
	size_t n = 0;

	for (size_t i = 0; i < size; i++) {
		char one[2] = { data[i], 0 };
		const char *piece = data[i] < 32 ? pieces[data[i]] : one;
		size_t len = strlen(piece);

		if (n + len > room)
			break;
		memcpy(text + n, piece, len);
		n += len;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct list slowly, quickly;
	static uint8_t text[TEXT_MAX];
	unsigned windows;
	uint8_t seed, leavings;

	if (size < 3)
		return 0;
	windows = data[0] & 1 ? WEIR_BODY_WINDOW : 1 + data[0] / 2;
	seed = data[1];
	leavings = data[2];
	data += 3;
	size -= 3;
	if (leavings & 1) {
		size = spell(data, size, text, sizeof(text));
	} else {
		if (size > sizeof(text))
			size = sizeof(text);
		memcpy(text, data, size);
	}
	slowly.n = quickly.n = 0;
	read_slowly(text, size, &slowly);
	read_in_windows(text, size, windows, leavings, seed, &quickly);
	CHECK(slowly.n == quickly.n);
	CHECK(!memcmp(slowly.told, quickly.told, slowly.n * sizeof(slowly.told[0])));
	return 0;
}
