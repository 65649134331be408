/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who is charged at once (limits.md): a tenant, its scope for the service, its parent, and
 * that one's parent.
 */
#ifndef WEIR_LEVELS_H
#define WEIR_LEVELS_H

#include "maps.h"

/* Who is charged besides `tenant`, for what comes to `service`. */
weir_inline void weir_levels(weir_u32 tenant, const struct weir_tenant *t, weir_u32 service,
			     weir_u32 *level)
{
	weir_u32 parent = t->parent, top = 0;

	level[WEIR_LEVEL_TENANT] = tenant;
	level[WEIR_LEVEL_SCOPE] = 0;
	if (t->flags & WEIR_TENANT_SCOPED) {
		struct weir_scope key = { .tenant = tenant, .service = service };
		weir_u32 *scope = bpf_map_lookup_elem(&scopes, &key);

		if (scope)
			level[WEIR_LEVEL_SCOPE] = *scope;
	}
	if (parent) {
		struct weir_tenant *p = weir_tenant(parent);

		top = p ? p->parent : 0;
	}
	level[WEIR_LEVEL_PARENT] = parent;
	level[WEIR_LEVEL_TOP] = top;
}

/* Add n to a gauge of every level. */
weir_inline void weir_levels_add(weir_u32 tenant, const weir_u32 *others, weir_u32 gauge,
				 weir_s32 n)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < WEIR_LEVELS; i++) {
		weir_u32 index = i ? others[i - 1] : tenant;
		struct weir_tenant *t;

		if (i && !index)
			continue;
		t = weir_tenant(index);
		if (t)
			__sync_fetch_and_add((weir_s32 *)((weir_u8 *)t + gauge), n);
	}
}

#define weir_gauge(name) __builtin_offsetof(struct weir_tenant, name)

#endif
