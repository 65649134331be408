// SPDX-License-Identifier: Apache-2.0
#include "enforce_maps.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(WEIR_TENANT_NAME_BYTES == WEIR_NAME_BYTES, "a tenant's name is a key of `names`");

struct wanted_key {
	struct weir_key key;
	struct weir_key_value value;
};

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct weir_key));
}

/* Make the map hold exactly these, new ones first, so that nobody who keeps a key
 * is ever without it. */
static int sync_keys(struct weir_kernel *k, struct wanted_key *want, size_t n,
		     struct weir_error *err)
{
	struct weir_key at, next, *stale = NULL;
	size_t n_stale = 0, cap = 0;
	int fd = k->keys_fd, r = 0;
	bool first = true;

	for (size_t i = 0; i < n; i++)
		if (bpf_map_update_elem(fd, &want[i].key, &want[i].value, BPF_ANY))
			return weir_fail(err, errno,
					 "key map: no room for %zu keys (%s); raise \"max_keys\"",
					 n, strerror(errno));
	qsort(want, n, sizeof(*want), by_key);
	while (!bpf_map_get_next_key(fd, first ? NULL : &at, &next)) {
		first = false;
		at = next;
		if (bsearch(&next, want, n, sizeof(*want), by_key))
			continue;
		if (n_stale == cap) {
			struct weir_key *more =
				realloc(stale, (cap = cap * 2 + 64) * sizeof(*more));

			if (!more) {
				r = weir_fail(err, ENOMEM, "out of memory");
				break;
			}
			stale = more;
		}
		stale[n_stale++] = next;
	}
	for (size_t i = 0; i < n_stale; i++)
		bpf_map_delete_elem(fd, &stale[i]);
	free(stale);
	return r;
}

struct wanted_source {
	struct weir_source source;
	uint32_t tenant;
};

static int by_source(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct weir_source));
}

static int longest_first(const void *a, const void *b)
{
	return (int)*(const uint8_t *)b - (int)*(const uint8_t *)a;
}

static int sync_sources(struct weir_kernel *k, struct wanted_source *want, size_t n,
			struct weir_error *err)
{
	struct weir_config *c = k->config;
	uint8_t lens[WEIR_MAX_PREFIX_LENS];
	struct weir_source at, next, stale[256];
	size_t n_lens = 0, n_stale;
	int fd = k->sources_fd;
	bool first;

	for (size_t i = 0; i < n; i++) {
		if (bpf_map_update_elem(fd, &want[i].source, &want[i].tenant, BPF_ANY))
			return weir_fail(err, errno,
					 "source map: no room for %zu prefixes (%s); raise "
					 "\"max_tenants\"",
					 n, strerror(errno));
		if (!memchr(lens, want[i].source.prefix_len, n_lens))
			lens[n_lens++] = want[i].source.prefix_len;
	}
	qsort(lens, n_lens, 1, longest_first);
	/* A packet between these stores may miss a prefix or try one twice; it is
	 * then judged by its key or the default tenant, as before it was listed. */
	memcpy(c->prefix_lens, lens, n_lens);
	__atomic_store_n(&c->n_prefix_lens, n_lens, __ATOMIC_RELEASE);
	qsort(want, n, sizeof(*want), by_source);
	do {
		first = true;
		n_stale = 0;
		while (n_stale < 256 && !bpf_map_get_next_key(fd, first ? NULL : &at, &next)) {
			first = false;
			at = next;
			if (!bsearch(&next, want, n, sizeof(*want), by_source))
				stale[n_stale++] = next;
		}
		for (size_t i = 0; i < n_stale; i++)
			bpf_map_delete_elem(fd, &stale[i]);
	} while (n_stale == 256);
	return 0;
}

/* Make the map hold the names of p and no other. A name that stays keeps its number. */
static int sync_names(struct weir_kernel *k, const struct weir_policy *p, const uint32_t *numbers,
		      struct weir_error *err)
{
	char at[WEIR_TENANT_NAME_BYTES], next[WEIR_TENANT_NAME_BYTES];
	char stale[64][WEIR_TENANT_NAME_BYTES];
	size_t n_stale;
	bool first;

	/* Who left first: the map has room for every tenant there can be, not for more. */
	do {
		first = true;
		n_stale = 0;
		while (n_stale < 64 &&
		       !bpf_map_get_next_key(k->names_fd, first ? NULL : at, next)) {
			first = false;
			memcpy(at, next, sizeof(at));
			if (!weir_policy_tenant(p, next))
				memcpy(stale[n_stale++], next, sizeof(next));
		}
		for (size_t i = 0; i < n_stale; i++)
			bpf_map_delete_elem(k->names_fd, stale[i]);
	} while (n_stale == 64);
	for (size_t i = 0; i < p->n_tenants; i++) {
		char name[WEIR_TENANT_NAME_BYTES] = "";

		memcpy(name, p->tenants[i].name, strnlen(p->tenants[i].name, sizeof(name) - 1));
		if (bpf_map_update_elem(k->names_fd, name, &numbers[i], BPF_ANY))
			return weir_fail(err, errno, "name map: no room for \"%s\": %s", name,
					 strerror(errno));
	}
	return 0;
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
	weir_autofree struct wanted_key *keys = NULL;
	weir_autofree struct wanted_source *sources = NULL;
	size_t n_stored = 0, n_keys = 0, n_sources = 0;
	int r = weir_ledger_keys(l, &stored, &n_stored, err);

	if (r)
		return r;
	for (size_t i = 0; i < p->n_tenants; i++) {
		n_keys += p->tenants[i].n_keys;
		n_sources += p->tenants[i].n_sources;
	}
	keys = calloc(n_keys + n_stored + 1, sizeof(*keys));
	sources = calloc(n_sources + 1, sizeof(*sources));
	if (!keys || !sources)
		return weir_fail(err, ENOMEM, "out of memory");
	n_keys = n_sources = 0;
	for (size_t i = 0; i < n_stored; i++) {
		if (stored[i].revoked_ns)
			continue;
		memcpy(keys[n_keys].key.sha256, stored[i].sha256, 32);
		keys[n_keys].value.tenant = stored[i].tenant;
		keys[n_keys++].value.expires_wall_ns = stored[i].expires_ns;
	}
	for (size_t i = 0; i < p->n_tenants; i++) {
		const struct weir_tenant_policy *t = &p->tenants[i];

		for (size_t j = 0; j < t->n_keys; j++) {
			memcpy(keys[n_keys].key.sha256, t->keys[j], 32);
			keys[n_keys++].value.tenant = numbers[i];
		}
		for (size_t j = 0; j < t->n_sources; j++) {
			memcpy(sources[n_sources].source.addr, t->sources[j].addr, 16);
			sources[n_sources].source.prefix_len = t->sources[j].len;
			sources[n_sources++].tenant = numbers[i];
		}
	}
	r = sync_keys(k, keys, n_keys, err);
	if (!r)
		r = sync_sources(k, sources, n_sources, err);
	return r ? r : sync_names(k, p, numbers, err);
}
