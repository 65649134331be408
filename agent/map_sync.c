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

struct diff {
	bool *there; /* by entry: with the wanted value */
	uint8_t *stale;
	size_t n_stale, room;
};

static int note(const struct weir_map_want *w, struct diff *d, const uint8_t *key,
		const uint8_t *value)
{
	size_t i = find(w, key);

	if (i < w->n) {
		d->there[i] = !memcmp(value, entry(w, i) + w->key_bytes, w->value_bytes);
		return 0;
	}
	if (d->n_stale == d->room) {
		size_t room = d->room ? 2 * d->room : 64;
		uint8_t *more = reallocarray(d->stale, room, w->key_bytes);

		if (!more)
			return -ENOMEM;
		d->stale = more;
		d->room = room;
	}
	memcpy(d->stale + d->n_stale++ * w->key_bytes, key, w->key_bytes);
	return 0;
}

static int read_in_batches(const struct weir_map_want *w, uint32_t room, struct diff *d)
{
	weir_autofree uint8_t *keys = calloc(room, w->key_bytes);
	weir_autofree uint8_t *values = calloc(room, w->value_bytes);
	uint64_t at = 0; /* opaque; of a hash, a bucket's number */
	bool first = true, end = false;
	int r = 0;

	if (!keys || !values)
		return -ENOMEM;
	while (!r && !end) {
		uint32_t n = room;

		if (bpf_map_lookup_batch(w->fd, first ? NULL : &at, &at, keys, values, &n, NULL)) {
			if (errno != ENOENT)
				return -errno;
			end = true; /* with the last ones */
		}
		first = false;
		for (uint32_t i = 0; i < n && !r; i++)
			r = note(w, d, keys + i * w->key_bytes, values + i * w->value_bytes);
	}
	return r;
}

static int read_map(const struct weir_map_want *w, struct diff *d)
{
	int r = -ENOSPC;

	/* -ENOSPC: a bucket of the hash does not fit. */
	for (uint32_t room = BATCH; r == -ENOSPC && room <= BATCH << 8; room *= 4) {
		d->n_stale = 0;
		r = read_in_batches(w, room, d);
	}
	return r;
}

static int add(const struct weir_map_want *w, const struct diff *d)
{
	for (size_t i = 0; i < w->n; i++)
		if (!d->there[i] &&
		    bpf_map_update_elem(w->fd, entry(w, i), entry(w, i) + w->key_bytes, BPF_ANY))
			return -errno;
	return 0;
}

static int drop(const struct weir_map_want *w, const struct diff *d)
{
	for (size_t i = 0; i < d->n_stale; i++)
		if (bpf_map_delete_elem(w->fd, d->stale + i * w->key_bytes) && errno != ENOENT)
			return -errno;
	return 0;
}

int weir_map_sync(const struct weir_map_want *w, enum weir_map_sync how)
{
	struct diff d = { .there = calloc(w->n + 1, sizeof(bool)) };
	int r = d.there ? read_map(w, &d) : -ENOMEM;

	if (!r && how == WEIR_MAP_DROP_ADD)
		r = drop(w, &d);
	if (!r && how != WEIR_MAP_DROP)
		r = add(w, &d);
	if (!r && (how == WEIR_MAP_DROP || how == WEIR_MAP_ADD_DROP))
		r = drop(w, &d);
	free(d.there);
	free(d.stale);
	return r;
}
