/* SPDX-License-Identifier: Apache-2.0 */
/* A bump allocator over a list of blocks; see arena.h. */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 16384

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	alignas(max_align_t) char bytes[];
};

void *weir_arena_alloc(struct weir_arena *a, size_t n, size_t size)
{
	struct arena_block *b = a->blocks;
	size_t bytes, block;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes) ||
	    __builtin_add_overflow(bytes, alignof(max_align_t) - 1, &bytes))
		return NULL;
	bytes &= ~(alignof(max_align_t) - 1);
	if (!b || b->size - b->used < bytes) {
		block = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
		if (block > SIZE_MAX - sizeof(*b))
			return NULL;
		b = calloc(1, sizeof(*b) + block);
		if (!b)
			return NULL;
		b->size = block;
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->bytes + b->used;
	b->used += bytes;
	return p;
}

const char *weir_arena_text(struct weir_arena *a, const char *text)
{
	size_t n = strlen(text) + 1;
	char *copy = weir_arena_alloc(a, n, 1);

	if (copy)
		memcpy(copy, text, n);
	return copy;
}

void weir_arena_free(struct weir_arena *a)
{
	struct arena_block *next;

	for (struct arena_block *b = a->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	a->blocks = NULL;
}
