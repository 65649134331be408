// SPDX-License-Identifier: Apache-2.0
/* A tenant's connections are known to `flows`, by name; their sockets to sock_diag. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "flows.h"
#include "sockdiag.h"

struct keys {
	uint32_t tenant;
	struct weir_flow_key *list;
	size_t n, room;
	bool full;
};

static void on_flow(const struct weir_flow_key *key, const struct weir_flow_view *f, void *arg)
{
	struct keys *k = arg;
	bool charged = f->tenant == k->tenant;

	for (size_t i = 0; i < WEIR_LEVELS - 1 && k->tenant; i++) /* 0 is no such level */
		charged |= f->others[i] == k->tenant;
	if (!charged)
		return;
	if (k->n == k->room) {
		size_t room = k->room ? k->room * 2 : 64;
		struct weir_flow_key *more = reallocarray(k->list, room, sizeof(*more));

		if (!more) {
			k->full = true;
			return;
		}
		k->list = more;
		k->room = room;
	}
	k->list[k->n++] = *key;
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct weir_flow_key));
}

static bool among(const struct weir_flow_key *key, void *arg)
{
	const struct keys *k = arg;

	return k->n && bsearch(key, k->list, k->n, sizeof(*key), by_key);
}

int weir_sockdiag_destroy_tenant(const struct weir_kernel *k, const struct weir_agent_config *cfg,
				 uint32_t tenant, struct weir_error *err)
{
	struct keys keys = { .tenant = tenant };
	struct weir_sockdiag *d = NULL;
	int r = weir_flows_read(k, on_flow, NULL, &keys);

	if (!r && keys.full)
		r = -ENOMEM;
	if (r)
		weir_fail(err, -r, "flows: cannot read them: %s", strerror(-r));
	if (!r)
		r = weir_sockdiag_open(cfg, k->config, &d, err);
	if (!r) {
		qsort(keys.list, keys.n, sizeof(*keys.list), by_key);
		r = weir_sockdiag_destroy(d, among, &keys, err);
	}
	weir_sockdiag_close(d);
	free(keys.list);
	return r;
}
