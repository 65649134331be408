/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers and names, both ways, in constant time. A name that was put stays where it
 * is in memory for as long as the table lives. Not for two threads without a lock.
 */
#ifndef WEIR_NAMES_H
#define WEIR_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"

struct weir_names {
	struct weir_arena arena;
	const char **v; /* by number */
	uint32_t n;	/* highest number put, and 1 */
	uint32_t room;
	uint32_t *slot; /* numbers by hash of their names; 0: none */
	uint32_t slots; /* a power of two, or 0 */
	uint32_t used;
};

/* Copies the name. Number 0 is nobody's. 0; -EEXIST: the number or the name is taken;
 * -ENOMEM. */
int weir_names_put(struct weir_names *t, uint32_t number, const char *name);
/* As if it had never been put, but for the memory. */
void weir_names_drop(struct weir_names *t, uint32_t number);
const char *weir_names_get(const struct weir_names *t, uint32_t number); /* NULL: none */
uint32_t weir_names_find(const struct weir_names *t, const char *name);	 /* 0: none */
void weir_names_free(struct weir_names *t);

#endif
