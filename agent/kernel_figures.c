// SPDX-License-Identifier: Apache-2.0
/*
 * What the kernel's side counts, and what it takes of memory.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>

#include "kernel.h"
#include "weir.skel.h"

void weir_kernel_counters(const struct weir_kernel *k, uint64_t out[static WEIR_REASON_MAX])
{
	uint64_t per_cpu[256];

	for (uint32_t i = 0; i < WEIR_REASON_MAX; i++) {
		out[i] = 0;
		if (k->cpus > 256 || bpf_map_lookup_elem(k->counters_fd, &i, per_cpu))
			continue;
		for (int c = 0; c < k->cpus; c++)
			out[i] += per_cpu[c];
	}
}

/* What the kernel says of a map's memory in /proc/self/fdinfo. */
static uint64_t memory_of(int fd)
{
	char path[64], line[256];
	unsigned long long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	if (f)
		fclose(f);
	return bytes;
}

/* What the map takes at the least: before 6.4 the kernel tells of one CPU's part, and of a ring
 * nothing. */
static uint64_t least_of(const struct bpf_map *map, int cpus)
{
	uint64_t entries = bpf_map__max_entries(map);

	if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF)
		return entries;
	if (bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_ARRAY)
		return ((uint64_t)bpf_map__value_size(map) + 7) / 8 * 8 * entries * cpus;
	return 0;
}

size_t weir_kernel_maps(const struct weir_kernel *k, struct weir_map_size *out, size_t max)
{
	struct bpf_map *map;
	size_t n = 0;

	bpf_object__for_each_map(map, k->skel->obj)
	{
		const char *name = bpf_map__name(map);
		uint64_t least;

		if (n == max)
			break;
		if (strchr(name, '.'))
			continue;
		out[n] = (struct weir_map_size){ .entries = bpf_map__max_entries(map),
						 .bytes = memory_of(bpf_map__fd(map)) };
		snprintf(out[n].name, sizeof(out[n].name), "%s", name);
		least = least_of(map, k->cpus);
		if (out[n].bytes < least)
			out[n].bytes = least;
		n++;
	}
	return n;
}

uint64_t weir_kernel_memory(const struct weir_kernel *k)
{
	struct weir_map_size maps[64];
	size_t n = weir_kernel_maps(k, maps, 64);
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += maps[i].bytes;
	return bytes;
}
