// SPDX-License-Identifier: Apache-2.0
#include "enforce_maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "map_sync.h"

_Static_assert(WEIR_TENANT_NAME_BYTES == WEIR_NAME_BYTES, "a tenant's name is a key of `names`");

struct wanted_key {
	struct weir_key key;
	struct weir_key_value value;
};
_Static_assert(sizeof(struct wanted_key) == 48, "the value is right behind the key");

struct wanted_source {
	struct weir_source source;
	uint32_t tenant;
};
_Static_assert(sizeof(struct wanted_source) == 24, "the value is right behind the key");

struct wanted_name {
	char name[WEIR_TENANT_NAME_BYTES];
	uint32_t tenant;
};
_Static_assert(sizeof(struct wanted_name) == 68, "the value is right behind the key");

/* What a policy and the ledger want of the maps. */
struct wanted {
	const struct weir_policy *policy;
	const uint32_t *numbers;
	struct weir_stored_key *stored;
	size_t n_stored;
};

/* -- keys */

static struct weir_map_want keys_of_policy(const struct wanted *w, struct wanted_key *out)
{
	size_t n = 0;

	for (size_t i = 0; i < w->policy->n_tenants; i++) {
		const struct weir_tenant_policy *t = &w->policy->tenants[i];

		for (size_t j = 0; j < t->n_keys; j++) {
			memcpy(out[n].key.sha256, t->keys[j], sizeof(out[n].key.sha256));
			out[n++].value.tenant = w->numbers[i];
		}
	}
	return (struct weir_map_want){ .key_bytes = sizeof(out->key),
				       .value_bytes = sizeof(out->value),
				       .entries = out,
				       .n = n };
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct weir_key));
}

static int sync_keys(struct weir_kernel *k, const struct wanted *w, struct weir_error *err)
{
	weir_autofree struct wanted_key *v = NULL;
	struct weir_map_want want;
	size_t n = w->n_stored, in_policy;
	int r;

	for (size_t i = 0; i < w->policy->n_tenants; i++)
		n += w->policy->tenants[i].n_keys;
	v = calloc(n + 1, sizeof(*v));
	if (!v)
		return weir_fail(err, ENOMEM, "out of memory");
	want = keys_of_policy(w, v);
	weir_map_want_sort(&want);
	in_policy = want.n;
	for (size_t i = 0; i < w->n_stored; i++) {
		const struct weir_stored_key *s = &w->stored[i];

		/* What a policy file says of a key holds. */
		if (s->revoked_ns || bsearch(s->sha256, v, in_policy, sizeof(*v), by_key))
			continue;
		memcpy(v[want.n].key.sha256, s->sha256, sizeof(v->key.sha256));
		v[want.n].value.tenant = s->tenant;
		v[want.n++].value.expires_wall_ns = s->expires_ns;
	}
	weir_map_want_sort(&want);
	want.fd = k->keys_fd;
	/* New ones first: nobody who keeps a key is ever without it. */
	r = weir_map_sync(&want, WEIR_MAP_ADD_DROP);
	return r ? weir_fail(err, -r, "key map: no room for %zu keys (%s); raise \"max_keys\"",
			     want.n, strerror(-r))
		 : 0;
}

/* -- sources */

static int longest_first(const void *a, const void *b)
{
	return (int)*(const uint8_t *)b - (int)*(const uint8_t *)a;
}

static void store_lengths(struct weir_config *c, const struct wanted_source *v, size_t n)
{
	uint8_t lens[WEIR_MAX_PREFIX_LENS];
	size_t n_lens = 0;

	for (size_t i = 0; i < n; i++)
		if (!memchr(lens, (int)v[i].source.prefix_len, n_lens))
			lens[n_lens++] = (uint8_t)v[i].source.prefix_len;
	qsort(lens, n_lens, 1, longest_first);
	/* A packet between these stores may miss a prefix or try one twice; it is
	 * then judged by its key or the default tenant, as before it was listed. */
	memcpy(c->prefix_lens, lens, n_lens);
	__atomic_store_n(&c->n_prefix_lens, n_lens, __ATOMIC_RELEASE);
}

static int sync_sources(struct weir_kernel *k, const struct wanted *w, struct weir_error *err)
{
	struct weir_map_want want = { .fd = k->sources_fd,
				      .key_bytes = sizeof(struct weir_source),
				      .value_bytes = sizeof(uint32_t) };
	weir_autofree struct wanted_source *v = NULL;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < w->policy->n_tenants; i++)
		n += w->policy->tenants[i].n_sources;
	want.entries = v = calloc(n + 1, sizeof(*v));
	if (!v)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < w->policy->n_tenants; i++) {
		const struct weir_tenant_policy *t = &w->policy->tenants[i];

		for (size_t j = 0; j < t->n_sources; j++) {
			memcpy(v[want.n].source.addr, t->sources[j].addr, 16);
			v[want.n].source.prefix_len = t->sources[j].len;
			v[want.n++].tenant = w->numbers[i];
		}
	}
	weir_map_want_sort(&want);
	r = weir_map_sync(&want, WEIR_MAP_ADD);
	if (!r) {
		store_lengths(k->config, v, want.n);
		r = weir_map_sync(&want, WEIR_MAP_DROP);
	}
	return r ? weir_fail(err, -r,
			     "source map: no room for %zu prefixes (%s); raise \"max_tenants\"",
			     want.n, strerror(-r))
		 : 0;
}

/* -- names */

/* A name that stays keeps its number. */
static int sync_names(struct weir_kernel *k, const struct wanted *w, struct weir_error *err)
{
	weir_autofree struct wanted_name *v = calloc(w->policy->n_tenants + 1, sizeof(*v));
	struct weir_map_want want = { .fd = k->names_fd,
				      .key_bytes = sizeof(v->name),
				      .value_bytes = sizeof(v->tenant),
				      .entries = v,
				      .n = w->policy->n_tenants };
	int r;

	if (!v)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < want.n; i++) {
		const char *name = w->policy->tenants[i].name;

		memcpy(v[i].name, name, strnlen(name, sizeof(v[i].name) - 1));
		v[i].tenant = w->numbers[i];
	}
	weir_map_want_sort(&want);
	/* Who left first: the map has room for every tenant there can be, not for more. */
	r = weir_map_sync(&want, WEIR_MAP_DROP_ADD);
	return r ? weir_fail(err, -r, "name map: no room for %zu tenants: %s", want.n, strerror(-r))
		 : 0;
}

int weir_check_maps(const struct weir_kernel *k, const struct weir_policy *p, struct weir_ledger *l,
		    struct weir_error *err)
{
	weir_autofree struct weir_stored_key *stored = NULL;
	size_t keys = 0, sources = 0, room = (size_t)k->max_tenants * WEIR_WAYS_PER_TENANT;
	int r = weir_ledger_keys(l, &stored, &keys, err);

	if (r)
		return r;
	for (size_t i = 0; i < p->n_tenants; i++) {
		keys += p->tenants[i].n_keys;
		sources += p->tenants[i].n_sources;
	}
	if (keys > k->max_keys)
		return weir_fail(err, ENOSPC,
				 "%zu API keys: \"max_keys\" in agent.json makes room for %u", keys,
				 k->max_keys);
	if (sources > room)
		return weir_fail(err, ENOSPC,
				 "%zu source prefixes: \"max_tenants\" %u in agent.json makes room "
				 "for %zu",
				 sources, k->max_tenants, room);
	return 0;
}

int weir_sync_maps(struct weir_kernel *k, const struct weir_policy *p, const uint32_t *numbers,
		   struct weir_ledger *l, struct weir_error *err)
{
	weir_autofree struct weir_stored_key *stored = NULL;
	struct wanted w = { .policy = p, .numbers = numbers };
	int r = weir_ledger_keys(l, &stored, &w.n_stored, err);

	if (r)
		return r;
	w.stored = stored;
	r = sync_keys(k, &w, err);
	if (!r)
		r = sync_sources(k, &w, err);
	return r ? r : sync_names(k, &w, err);
}
