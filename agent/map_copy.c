// SPDX-License-Identifier: Apache-2.0
/*
 * Hashes go in batches: 100,000 connections are 25 system calls each way, not 300,000.
 */
#include "map_copy.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BATCH 4096 /* more than any hash bucket holds */

int weir_map_open(const char *path, struct bpf_map_info *info)
{
	uint32_t len = sizeof(*info);
	int fd = bpf_obj_get(path), r;

	if (fd < 0)
		return -errno;
	memset(info, 0, sizeof(*info));
	if (!bpf_obj_get_info_by_fd(fd, info, &len))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

/* An array's elements are 8 bytes apart, however small. */
static size_t stride_of(const struct bpf_map_info *info)
{
	return ((size_t)info->value_size + 7) & ~(size_t)7;
}

static size_t memory_bytes(const struct bpf_map_info *info)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return (stride_of(info) * info->max_entries + page - 1) & ~(page - 1);
}

void *weir_map_memory(int fd, const struct bpf_map_info *info)
{
	return mmap(NULL, memory_bytes(info), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		    0);
}

void weir_map_memory_free(void *memory, const struct bpf_map_info *info)
{
	if (memory && memory != MAP_FAILED)
		munmap(memory, memory_bytes(info));
}

static bool all_zero(const void *p, size_t n)
{
	const char *bytes = p;

	return !n || (!bytes[0] && !memcmp(bytes, bytes + 1, n - 1));
}

static int no_fit(const struct weir_map_copy *c, const char *field, struct weir_error *err)
{
	return weir_fail(err, ERANGE, "map %s: a value of %s does not fit in the new layout",
			 c->name, field);
}

static int no_room(const struct weir_map_copy *c, struct weir_error *err)
{
	return weir_fail(err, ENOSPC, "map %s: what is in use does not fit in %u entries", c->name,
			 c->to_info.max_entries);
}

static int cannot(const struct weir_map_copy *c, int e, struct weir_error *err)
{
	if (e == E2BIG || e == ENOSPC)
		return no_room(c, err);
	return weir_fail(err, e, "map %s: cannot be copied: %s", c->name, strerror(e));
}

/* -- hashes */

int weir_map_each(int fd, const struct bpf_map_info *info,
		  int (*each)(void *ctx, const void *key, void *value), void *ctx,
		  struct weir_error *err)
{
	weir_autofree char *keys = calloc(BATCH, info->key_size);
	weir_autofree char *values = calloc(BATCH, info->value_size);
	uint32_t at = 0, n;
	bool first = true, last = false;

	if (!keys || !values)
		return weir_fail(err, ENOMEM, "out of memory");
	while (!last) {
		n = BATCH;
		if (bpf_map_lookup_batch(fd, first ? NULL : &at, &at, keys, values, &n, NULL)) {
			if (errno != ENOENT)
				return weir_fail(err, errno, "map %s: cannot be read: %s",
						 info->name, strerror(errno));
			last = true;
		}
		first = false;
		for (uint32_t i = 0; i < n; i++) {
			int r = each(ctx, keys + (size_t)i * info->key_size,
				     values + (size_t)i * info->value_size);

			if (r)
				return r;
		}
	}
	return 0;
}

struct hash_copy {
	const struct weir_map_copy *c;
	char *keys, *values; /* BATCH of them, as they will be */
	uint32_t n;
	struct weir_error *err;
};

static int flush(struct hash_copy *h)
{
	uint32_t n = h->n;

	h->n = 0;
	if (n && bpf_map_update_batch(h->c->to, h->keys, h->values, &n, NULL))
		return cannot(h->c, errno, h->err);
	return 0;
}

static int copy_pair(void *ctx, const void *key, void *value)
{
	struct hash_copy *h = ctx;
	const struct weir_map_copy *c = h->c;
	char *to_key = h->keys + (size_t)h->n * c->to_info.key_size;
	char *to_value = h->values + (size_t)h->n * c->to_info.value_size;
	const char *field = weir_layout_copy(c->key, key, to_key);
	int r = 0;

	if (!field)
		field = weir_layout_copy(c->value, value, to_value);
	if (field)
		return no_fit(c, field, h->err);
	if (c->each)
		r = c->each(c->ctx, to_key, to_value);
	if (r)
		return r == 1 ? 0 : cannot(c, -r, h->err);
	return ++h->n == BATCH ? flush(h) : 0;
}

static int copy_hash(const struct weir_map_copy *c, struct weir_error *err)
{
	weir_autofree char *keys = calloc(BATCH, c->to_info.key_size);
	weir_autofree char *values = calloc(BATCH, c->to_info.value_size);
	struct hash_copy h = { .c = c, .keys = keys, .values = values, .err = err };
	int r;

	if (!keys || !values)
		return weir_fail(err, ENOMEM, "out of memory");
	r = weir_map_each(c->from, &c->from_info, copy_pair, &h, err);
	return r ? r : flush(&h);
}

/* -- arrays */

static int copy_element(const struct weir_map_copy *c, uint32_t i, const void *from, void *to,
			struct weir_error *err)
{
	const char *field = weir_layout_copy(c->value, from, to);
	int r;

	if (field)
		return no_fit(c, field, err);
	r = c->each ? c->each(c->ctx, &i, to) : 0;
	return r < 0 ? cannot(c, -r, err) : r;
}

static int copy_memory(const struct weir_map_copy *c, struct weir_error *err)
{
	size_t from_stride = stride_of(&c->from_info), to_stride = stride_of(&c->to_info);
	uint32_t have = c->from_info.max_entries, room = c->to_info.max_entries;
	char *from = weir_map_memory(c->from, &c->from_info);
	char *to = weir_map_memory(c->to, &c->to_info);
	int r = 0;

	if (from == MAP_FAILED || to == MAP_FAILED)
		r = cannot(c, errno, err);
	for (uint32_t i = 0; i < have && !r; i++) {
		const char *element = from + i * from_stride;

		if (all_zero(element, c->from_info.value_size))
			continue;
		if (i >= room) {
			r = no_room(c, err);
		} else {
			r = copy_element(c, i, element, to + i * to_stride, err);
			if (r == 1)
				memset(to + i * to_stride, 0, c->to_info.value_size);
			r = r < 0 ? r : 0;
		}
	}
	weir_map_memory_free(from, &c->from_info);
	weir_map_memory_free(to, &c->to_info);
	return r;
}

static int copy_array(const struct weir_map_copy *c, struct weir_error *err)
{
	weir_autofree char *from = calloc(1, stride_of(&c->from_info));
	weir_autofree char *to = calloc(1, stride_of(&c->to_info));
	int r = 0;

	if (!from || !to)
		return weir_fail(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < c->from_info.max_entries; i++) {
		if (bpf_map_lookup_elem(c->from, &i, from))
			return cannot(c, errno, err);
		if (all_zero(from, c->from_info.value_size))
			continue;
		if (i >= c->to_info.max_entries)
			return no_room(c, err);
		r = copy_element(c, i, from, to, err);
		if (r < 0)
			return r;
		if (!r && bpf_map_update_elem(c->to, &i, to, BPF_ANY))
			return cannot(c, errno, err);
	}
	return 0;
}

static int copy_per_cpu(const struct weir_map_copy *c, struct weir_error *err)
{
	size_t from_stride = stride_of(&c->from_info), to_stride = stride_of(&c->to_info);
	int cpus = libbpf_num_possible_cpus();
	weir_autofree char *from = calloc(cpus, from_stride);
	weir_autofree char *to = calloc(cpus, to_stride);

	if (!from || !to)
		return weir_fail(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < c->from_info.max_entries && i < c->to_info.max_entries; i++) {
		if (bpf_map_lookup_elem(c->from, &i, from))
			return cannot(c, errno, err);
		for (int cpu = 0; cpu < cpus; cpu++) {
			const char *field = weir_layout_copy(c->value, from + cpu * from_stride,
							     to + cpu * to_stride);

			if (field)
				return no_fit(c, field, err);
		}
		if (bpf_map_update_elem(c->to, &i, to, BPF_ANY))
			return cannot(c, errno, err);
	}
	return 0;
}

int weir_map_copy(const struct weir_map_copy *c, struct weir_error *err)
{
	if (c->from_info.type != c->to_info.type)
		return weir_fail(err, ENOTSUP, "map %s: is of another type than it was", c->name);
	switch (c->from_info.type) {
	case BPF_MAP_TYPE_HASH:
		return copy_hash(c, err);
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		return copy_per_cpu(c, err);
	case BPF_MAP_TYPE_ARRAY:
		return c->from_info.map_flags & c->to_info.map_flags & BPF_F_MMAPABLE
			       ? copy_memory(c, err)
			       : copy_array(c, err);
	}
	return weir_fail(err, ENOTSUP, "map %s: cannot copy maps of type %u", c->name,
			 c->from_info.type);
}
