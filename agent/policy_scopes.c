/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "services" of a tier and of a tenant's overrides: limits for one service each. Most
 * tenants have those of their tier, in the same memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy_read.h"

static int by_service(const void *a, const void *b)
{
	return strcmp(((const struct weir_scope_policy *)a)->service,
		      ((const struct weir_scope_policy *)b)->service);
}

static int read_scope(const struct weir_json *at, struct weir_arena *arena,
		      struct weir_scope_policy *out, struct weir_error *err)
{
	if (!weir_name_ok(at->key))
		return weir_json_fail(at, err, "\"%s\" is not a name of 1 to 63 of a-z 0-9 _ -",
				      at->key);
	out->service = weir_arena_text(arena, at->key);
	if (!out->service)
		return weir_fail(err, ENOMEM, "out of memory");
	return policy_scope_limits_read(at, out, err);
}

int policy_scopes_read(const struct weir_json *at, struct weir_arena *arena,
		       struct policy_scopes *s, struct weir_error *err)
{
	struct weir_json services, item;
	struct weir_scope_policy *v;
	const char *name;
	size_t n = 0;
	json_t *value;
	int r;

	if (!weir_json_get(at, "services", &services))
		return 0;
	if (json_is_null(services.v)) {
		*s = (struct policy_scopes){ 0 };
		return 0;
	}
	r = weir_json_map(&services, err);
	if (r)
		return r;
	v = weir_arena_alloc(arena, s->n + json_object_size(services.v), sizeof(*v));
	if (!v)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < s->n; i++)
		if (!json_object_get(services.v, s->v[i].service))
			v[n++] = s->v[i];
	json_object_foreach(services.v, name, value)
	{
		if (json_is_null(value))
			continue;
		item = weir_json_member(&services, name, value);
		r = read_scope(&item, arena, &v[n++], err);
		if (r)
			return r;
	}
	qsort(v, n, sizeof(*v), by_service);
	*s = (struct policy_scopes){ .v = v, .n = n };
	return 0;
}

int policy_scopes_shadow(struct weir_arena *arena, struct policy_scopes *s, struct weir_error *err)
{
	struct weir_scope_policy *v;

	if (!s->n)
		return 0;
	v = weir_arena_alloc(arena, s->n, sizeof(*v));
	if (!v)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < s->n; i++) {
		v[i] = s->v[i];
		if (!v[i].own_shadow)
			v[i].limits.shadow = true;
	}
	s->v = v;
	return 0;
}
