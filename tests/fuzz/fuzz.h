/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of the logic headers share: a check that stays on, and figures taken
 * from the front of an input.
 */
#ifndef WEIR_FUZZ_H
#define WEIR_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(truth)                                                                               \
	do {                                                                                       \
		if (!(truth)) {                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct input {
	const uint8_t *p, *end;
};

static inline size_t input_left(const struct input *in)
{
	return in->end - in->p;
}

/* So many bytes as a number; an input that is over is all zeros. */
static inline uint64_t take(struct input *in, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes && in->p < in->end; i++)
		v |= (uint64_t)*in->p++ << (8 * i);
	return v;
}

/* A number of any magnitude: its first byte says how many bits it has. */
static inline uint64_t take_scaled(struct input *in)
{
	uint64_t bits = take(in, 1) % 65;

	return bits ? take(in, 8) >> (64 - bits) : 0;
}

/* n bytes of their own, so that the sanitizer sees one too many; to be freed. */
static inline void *own_copy(const void *from, size_t n)
{
	void *copy = malloc(n ? n : 1);

	CHECK(copy);
	if (n)
		memcpy(copy, from, n);
	return copy;
}

#endif
