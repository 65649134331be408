// SPDX-License-Identifier: Apache-2.0
/*
 * Open addressing, at most half full. Numbers are dense, so that the way back is an array.
 */
#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64

static uint32_t first_slot(const struct weir_names *t, const char *name)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	for (const char *c = name; *c; c++)
		h = (h ^ (uint8_t)*c) * UINT64_C(1099511628211);
	return (uint32_t)(h ^ h >> 32) & (t->slots - 1);
}

/* Where the name is, or would be. */
static uint32_t seek(const struct weir_names *t, const char *name)
{
	uint32_t at = first_slot(t, name);

	while (t->slot[at] && strcmp(t->v[t->slot[at]], name) != 0)
		at = (at + 1) & (t->slots - 1);
	return at;
}

static int grow_slots(struct weir_names *t)
{
	struct weir_names next = *t;

	if (t->slots > 2 * (t->used + 1))
		return 0;
	if (t->slots > UINT32_MAX / 2)
		return -ENOMEM;
	next.slots = t->slots ? 2 * t->slots : SLOTS_MIN;
	next.slot = calloc(next.slots, sizeof(*next.slot));
	if (!next.slot)
		return -ENOMEM;
	for (uint32_t i = 1; i < t->n; i++)
		if (t->v[i])
			next.slot[seek(&next, t->v[i])] = i;
	free(t->slot);
	*t = next;
	return 0;
}

static int grow_numbers(struct weir_names *t, uint32_t number)
{
	uint32_t room = t->room ? t->room : SLOTS_MIN;
	const char **v;

	if (number < t->room)
		return 0;
	if (number >= UINT32_MAX / 2)
		return -ENOMEM;
	while (room <= number)
		room *= 2;
	v = reallocarray(t->v, room, sizeof(*v));
	if (!v)
		return -ENOMEM;
	memset(v + t->room, 0, (room - t->room) * sizeof(*v));
	t->v = v;
	t->room = room;
	return 0;
}

int weir_names_put(struct weir_names *t, uint32_t number, const char *name)
{
	const char *copy;
	uint32_t at;

	if (!number || weir_names_get(t, number) || weir_names_find(t, name))
		return -EEXIST;
	if (grow_numbers(t, number) || grow_slots(t))
		return -ENOMEM;
	copy = weir_arena_text(&t->arena, name);
	if (!copy)
		return -ENOMEM;
	at = seek(t, name);
	t->v[number] = copy;
	t->slot[at] = number;
	t->used++;
	if (number >= t->n)
		t->n = number + 1;
	return 0;
}

void weir_names_drop(struct weir_names *t, uint32_t number)
{
	uint32_t hole;

	if (!weir_names_get(t, number))
		return;
	hole = seek(t, t->v[number]);
	t->v[number] = NULL;
	t->slot[hole] = 0;
	t->used--;
	/* What was pushed past the hole moves up. */
	for (uint32_t at = (hole + 1) & (t->slots - 1); t->slot[at];
	     at = (at + 1) & (t->slots - 1)) {
		uint32_t moved = t->slot[at];

		t->slot[at] = 0;
		t->slot[seek(t, t->v[moved])] = moved;
	}
	while (t->n && !t->v[t->n - 1])
		t->n--;
}

const char *weir_names_get(const struct weir_names *t, uint32_t number)
{
	return number < t->n ? t->v[number] : NULL;
}

uint32_t weir_names_find(const struct weir_names *t, const char *name)
{
	return t->slots ? t->slot[seek(t, name)] : 0;
}

void weir_names_free(struct weir_names *t)
{
	weir_arena_free(&t->arena);
	free(t->v);
	free(t->slot);
	*t = (struct weir_names){ 0 };
}
