// SPDX-License-Identifier: Apache-2.0
#include "flows.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "weir.skel.h"

#define BATCH 4096

/*
 * An element stays in its bucket, and a batch takes buckets whole: hence "once". The value
 * is the kernel programs' own struct, which is longer than what we look at and may grow.
 */
int weir_flows_read(const struct weir_kernel *k, weir_flow_fn fn, void (*between)(void *arg),
		    void *arg)
{
	weir_autofree struct weir_flow_key *keys = NULL;
	weir_autofree uint8_t *values = NULL;
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info), batch = BATCH, at, n;
	int fd = bpf_map__fd(k->skel->maps.flows);
	void *from = NULL;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.key_size != sizeof(*keys) || info.value_size < sizeof(struct weir_flow_view))
		return -EPROTO;
	for (;;) {
		int r = 0;

		if (!keys) {
			keys = calloc(batch, sizeof(*keys));
			values = calloc(batch, info.value_size);
			if (!keys || !values)
				return -ENOMEM;
		}
		n = batch;
		if (bpf_map_lookup_batch(fd, from, &at, keys, values, &n, NULL))
			r = -errno;
		if (r == -ENOSPC && batch < info.max_entries) { /* a bucket with more than that */
			batch *= 2;
			free(keys);
			free(values);
			keys = NULL;
			values = NULL;
			continue;
		}
		if (r && r != -ENOENT) /* which is the end */
			return r;
		for (uint32_t i = 0; i < n; i++) {
			struct weir_flow_view view;

			memcpy(&view, values + (size_t)i * info.value_size, sizeof(view));
			fn(&keys[i], &view, arg);
		}
		if (between)
			between(arg);
		if (r)
			return 0;
		from = &at;
	}
}
