/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All of one kernel map into another, whose elements may be laid out otherwise (layout.h) and
 * which may have another size. Nobody else writes either map meanwhile.
 */
#ifndef WEIR_MAP_COPY_H
#define WEIR_MAP_COPY_H

#include <linux/bpf.h>
#include <stddef.h>

#include "layout.h"
#include "util.h"

struct weir_map_copy {
	const char *name;
	int from, to; /* fds */
	struct bpf_map_info from_info, to_info;
	const struct weir_layout *key, *value;
	/* What becomes of each element, as it will be; may change the value. 0: it is written,
	 * 1: it is left out, or -errno. NULL: nothing. */
	int (*each)(void *ctx, const void *key, void *value);
	void *ctx;
};

/* Hashes, arrays, per-CPU arrays. An array's elements that are all zero are not written: `to`
 * is new. Those that `to` has no room for must be zero, but per-CPU ones, which are counters.
 * -ENOSPC: no room; -ERANGE: a value that does not fit in its field. */
int weir_map_copy(const struct weir_map_copy *c, struct weir_error *err);

/* Every element of a hash: 0, or what each() returned that was not 0. */
int weir_map_each(int fd, const struct bpf_map_info *info,
		  int (*each)(void *ctx, const void *key, void *value), void *ctx,
		  struct weir_error *err);

/* An array's memory, whole; MAP_FAILED with errno. */
void *weir_map_memory(int fd, const struct bpf_map_info *info);
void weir_map_memory_free(void *memory, const struct bpf_map_info *info);

/* What the kernel says of a map; returns an fd to close, or -errno. */
int weir_map_open(const char *path, struct bpf_map_info *info);

#endif
