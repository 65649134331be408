/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is filled once and freed at once: many small things that live and
 * die together. Nothing in it can be freed or grown alone.
 */
#ifndef WEIR_ARENA_H
#define WEIR_ARENA_H

#include <stddef.h>

struct arena_block;

struct weir_arena {
	struct arena_block *blocks;
};

/* n x size zeroed bytes, aligned for anything; NULL when there is no memory. n = 0 is
 * a valid pointer to nothing. */
void *weir_arena_alloc(struct weir_arena *a, size_t n, size_t size);
const char *weir_arena_text(struct weir_arena *a, const char *text);
void weir_arena_free(struct weir_arena *a);

#endif
