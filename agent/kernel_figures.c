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

static bool is_per_cpu(const struct bpf_map *map)
{
	return bpf_map__type(map) == BPF_MAP_TYPE_PERCPU_ARRAY;
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
		/* Before 6.4 the kernel counts one CPU's. */
		least = ((uint64_t)bpf_map__value_size(map) + 7) / 8 * 8 * out[n].entries * k->cpus;
		if (is_per_cpu(map) && out[n].bytes < least)
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
