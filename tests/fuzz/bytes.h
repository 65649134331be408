/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of the parsers share: bytes that grow, texts made of an input's decisions, and
 * the same text in pieces. An input that is over is all zeros, so decision 0 is always the one
 * that ends things.
 */
#ifndef WEIR_FUZZ_BYTES_H
#define WEIR_FUZZ_BYTES_H

#include <stdarg.h>
#include <stdbool.h>

#include "fuzz.h"

struct bytes {
	uint8_t *p;
	size_t n, room;
};

static inline void put(struct bytes *b, const void *from, size_t n)
{
	if (b->room - b->n <= n) { /* one more than is used, so that p is never NULL */
		b->room = 2 * (b->n + n) + 64;
		b->p = realloc(b->p, b->room);
		CHECK(b->p);
	}
	if (n)
		memcpy(b->p + b->n, from, n);
	b->n += n;
}

static inline void put_byte(struct bytes *b, uint8_t c)
{
	put(b, &c, 1);
}

static inline void put_text(struct bytes *b, const char *text)
{
	put(b, text, strlen(text));
}

static inline __attribute__((format(printf, 2, 3))) void put_format(struct bytes *b,
								    const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	CHECK(n >= 0 && (size_t)n < sizeof(text));
	put(b, text, (size_t)n);
}

/* As CHECK, and says what of: as text that a test can take over. */
static inline void agree(bool truth, const char *file, int line, const char *what, const uint8_t *p,
			 size_t n)
{
	if (truth)
		return;
	fprintf(stderr, "%s:%d: %s\nof \"", file, line, what);
	for (; n--; p++)
		if (*p == '\n' || *p == '\r')
			fputs(*p == '\n' ? "\\n" : "\\r", stderr);
		else if (*p < ' ' || *p > '~')
			fprintf(stderr, "\\%03o", *p);
		else
			fprintf(stderr, *p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
	fputs("\"\n", stderr);
	abort();
}

#define AGREE(p, n, truth) agree(truth, __FILE__, __LINE__, #truth, p, n)

/* The same bytes? n may be 0, and p then anything. */
static inline bool bytes_are(const struct bytes *b, const void *p, size_t n)
{
	return b->n == n && (!n || !memcmp(b->p, p, n));
}

static inline bool bytes_same(const struct bytes *a, const struct bytes *b)
{
	return bytes_are(a, b->p, b->n);
}

static inline void bytes_free(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){ 0 };
}

/* ------------------------------------------------------------ decisions */

static inline size_t choose(struct input *in, size_t n)
{
	return take(in, 1) % n;
}

#define PICK(in, list) ((list)[choose(in, sizeof(list) / sizeof((list)[0]))])

/* What is left of an input, as it is. */
static inline void put_rest(struct bytes *b, struct input *in)
{
	put(b, in->p, input_left(in));
	in->p = in->end;
}

/* A few bytes of any value, or of those that mean something somewhere. */
static inline void put_noise(struct bytes *b, struct input *in)
{
	static const char telling[] = "\r\n\t \"\\{}[]:,;=-%.0159aAeEudtn\x7f\x80\xc3\xef\xff";
	size_t n = choose(in, 12);

	while (n--) {
		uint8_t c = take(in, 1);

		put_byte(b, c & 0x80 ? (uint8_t)telling[c % sizeof(telling)] : c);
	}
}

/* Up to three hurts: a byte changed, some left out, some twice, some put in. */
static inline void hurt(struct bytes *b, struct input *in)
{
	for (size_t times = choose(in, 4); times-- && b->n;) {
		size_t at = take(in, 2) % b->n, left = b->n - at;
		size_t how = choose(in, 4), n = 1 + choose(in, 16);
		struct bytes was = { 0 };

		if (n > left)
			n = left;
		put(&was, b->p, b->n);
		b->n = at;
		if (how == 0)
			put_byte(b, take(in, 1)), n = 1;
		else if (how == 2)
			put(b, was.p + at, n), n = 0;
		else if (how == 3)
			put_noise(b, in), n = 0;
		put(b, was.p + at + n, left - n);
		bytes_free(&was);
	}
}

/* ------------------------------------------------------------ cuts */

/* Pieces of 1 to `longest` bytes, as chance has it; longest 0: all at once. */
struct cut {
	uint32_t seed;
	size_t longest;
};

static inline size_t cut_next(struct cut *c, size_t left)
{
	size_t n;

	if (!c->longest)
		return left;
	c->seed = c->seed * 1664525 + 1013904223;
	n = (c->seed >> 8) % c->longest + 1;
	return n < left ? n : left;
}

/* Ways to cut that are always tried: whole, byte by byte, short pieces, long ones. */
static const size_t cut_longest[] = { 0, 1, 7, 200 };
#define CUTS (sizeof(cut_longest) / sizeof(cut_longest[0]))

/* A seed that depends on the bytes alone. */
static inline uint32_t seed_of(const uint8_t *p, size_t n)
{
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *p++) * 16777619u;
	return h;
}

#endif
