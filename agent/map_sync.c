// SPDX-License-Identifier: Apache-2.0
#include "map_sync.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define BATCH 4096 /* at first; more if a bucket of the map's hash is larger */

static int compare(const void *a, const void *b, void *key_bytes)
{
	return memcmp(a, b, *(size_t *)key_bytes);
}

static size_t stride(const struct weir_map_want *w)
{
	return w->key_bytes + w->value_bytes;
}

void weir_map_want_sort(const struct weir_map_want *w)
{
	size_t key_bytes = w->key_bytes;

	qsort_r(w->entries, w->n, stride(w), compare, &key_bytes);
}

static const uint8_t *entry(const struct weir_map_want *w, size_t i)
{
	return (const uint8_t *)w->entries + i * stride(w);
}

/* w->n: not wanted. */
static size_t find(const struct weir_map_want *w, const void *key)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = memcmp(key, entry(w, mid), w->key_bytes);

		if (!order)
			return mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return w->n;
}

/* -- what is there */

typedef int (*each_fn)(const struct weir_map_want *w, const uint8_t *key, const uint8_t *value,
		       void *arg);

static int walk_batches(const struct weir_map_want *w, uint32_t room, each_fn each, void *arg)
{
	weir_autofree uint8_t *keys = calloc(room, w->key_bytes);
	weir_autofree uint8_t *values = calloc(room, w->value_bytes);
	uint64_t at = 0; /* opaque; of a hash, a bucket's number */
	bool first = true;
	int r = 0, end = 0;

	if (!keys || !values)
		return -ENOMEM;
	while (!r && !end) {
		uint32_t n = room;

		if (bpf_map_lookup_batch(w->fd, first ? NULL : &at, &at, keys, values, &n, NULL)) {
			if (errno != ENOENT)
				return -errno;
			end = 1; /* with the last ones */
		}
		first = false;
		for (uint32_t i = 0; i < n && !r; i++)
			r = each(w, keys + i * w->key_bytes, values + i * w->value_bytes, arg);
	}
	return r;
}

static int walk(const struct weir_map_want *w, each_fn each, void *arg)
{
	int r = -ENOSPC;

	/* -ENOSPC: a bucket does not fit. What was seen before it is seen again. */
	for (uint32_t room = BATCH; r == -ENOSPC && room <= BATCH << 8; room *= 4)
		r = walk_batches(w, room, each, arg);
	return r;
}

/* -- what differs */

static int note_same(const struct weir_map_want *w, const uint8_t *key, const uint8_t *value,
		     void *arg)
{
	bool *there = arg;
	size_t i = find(w, key);

	if (i < w->n && !memcmp(value, entry(w, i) + w->key_bytes, w->value_bytes))
		there[i] = true;
	return 0;
}

int weir_map_add(const struct weir_map_want *w)
{
	weir_autofree bool *there = calloc(w->n + 1, sizeof(*there));
	int r;

	if (!there)
		return -ENOMEM;
	r = walk(w, note_same, there);
	for (size_t i = 0; i < w->n && !r; i++)
		if (!there[i] &&
		    bpf_map_update_elem(w->fd, entry(w, i), entry(w, i) + w->key_bytes, BPF_ANY))
			r = -errno;
	return r;
}

struct stale {
	uint8_t *keys;
	size_t n, room;
};

static int note_stale(const struct weir_map_want *w, const uint8_t *key, const uint8_t *value,
		      void *arg)
{
	struct stale *s = arg;

	if (find(w, key) < w->n)
		return 0;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 64;
		uint8_t *more = reallocarray(s->keys, room, w->key_bytes);

		if (!more)
			return -ENOMEM;
		s->keys = more;
		s->room = room;
	}
	memcpy(s->keys + s->n++ * w->key_bytes, key, w->key_bytes);
	return 0;
}

int weir_map_drop(const struct weir_map_want *w)
{
	struct stale s = { 0 };
	int r = walk(w, note_stale, &s);

	/* One that was seen twice is gone the second time. */
	for (size_t i = 0; i < s.n && !r; i++)
		if (bpf_map_delete_elem(w->fd, s.keys + i * w->key_bytes) && errno != ENOENT)
			r = -errno;
	free(s.keys);
	return r;
}
