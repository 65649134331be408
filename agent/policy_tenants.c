/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tenants: whose tier, who is above, which keys and source prefixes, what is
 * different for them. It makes sure that a key and a prefix have one owner.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/weir_abi.h"
#include "policy_read.h"
#include "suggest.h"

#define KEYS_MAX    10000
#define SOURCES_MAX 10000

struct reader {
	const struct policy_files *files;
	const struct policy_tier *tiers;
	size_t n_tiers;
	struct weir_arena *arena;
	json_t *claims; /* "sha256:…" or a prefix, in one spelling, to its tenant */
	bool lens[129]; /* prefix lengths in use */
	unsigned n_lens;
};

/* The tenant says that this is its own; it must be the first to. */
static int claim(struct reader *rd, const struct weir_json *at, const char *what,
		 const char *spelling, const char *tenant, struct weir_error *err)
{
	const char *owner = json_string_value(json_object_get(rd->claims, spelling));
	struct policy_place place;

	if (!owner) {
		if (json_object_set_new(rd->claims, spelling, json_string(tenant)))
			return weir_fail(err, ENOMEM, "out of memory");
		return 0;
	}
	if (!strcmp(owner, tenant))
		return weir_json_refuse(at, err, "is listed twice");
	if (!policy_place(rd->files, POLICY_TENANTS, owner, &place))
		abort(); /* it was read from there */
	return weir_json_refuse(at, err, "is also a %s of tenant \"%s\" (%s)", what, owner,
				place.root.key);
}

static int read_keys(struct reader *rd, const struct weir_json *at, struct weir_tenant_policy *t,
		     struct weir_error *err)
{
	static const char prefix[] = "sha256:";
	char spelling[sizeof(prefix) + 64];
	struct weir_json item;
	uint8_t(*keys)[32];
	const char *text;
	size_t n;
	int r = weir_json_array(at, 0, KEYS_MAX, err);

	if (r)
		return r;
	n = json_array_size(at->v);
	keys = weir_arena_alloc(rd->arena, n, sizeof(*keys));
	if (!keys)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		item = weir_json_element(at, i);
		text = json_string_value(item.v);
		/* Someone may have put the key itself here: not into a message, then. */
		if (!text || strncmp(text, prefix, sizeof(prefix) - 1) != 0 ||
		    weir_unhex(text + sizeof(prefix) - 1, keys[i], 32))
			return weir_json_fail(&item, err,
					      "is not \"sha256:\" and 64 hex digits (the value is "
					      "not shown: it might be a key)");
		memcpy(spelling, prefix, sizeof(prefix));
		weir_hex(keys[i], 32, spelling + sizeof(prefix) - 1);
		r = claim(rd, &item, "key", spelling, t->name, err);
		if (r)
			return r;
	}
	t->keys = keys;
	t->n_keys = n;
	return 0;
}

static int read_source(struct reader *rd, const struct weir_json *at, const char *tenant,
		       struct weir_source_prefix *out, struct weir_error *err)
{
	char addr[2 * sizeof(out->addr) + 1], spelling[sizeof(addr) + 8];
	int r = weir_json_prefix(at, out, err);

	if (r)
		return r;
	weir_hex(out->addr, sizeof(out->addr), addr);
	snprintf(spelling, sizeof(spelling), "%s/%u", addr, out->len % 1000);
	r = claim(rd, at, "source", spelling, tenant, err);
	if (r)
		return r;
	/* The kernel probes its hash once per length in use. */
	if (!rd->lens[out->len] && rd->n_lens == WEIR_MAX_PREFIX_LENS)
		return weir_json_refuse(at, err, "is one prefix length too many: %d may be in use",
					WEIR_MAX_PREFIX_LENS);
	rd->n_lens += !rd->lens[out->len];
	rd->lens[out->len] = true;
	return 0;
}

static int read_sources(struct reader *rd, const struct weir_json *at, struct weir_tenant_policy *t,
			struct weir_error *err)
{
	struct weir_source_prefix *sources;
	struct weir_json item;
	size_t n;
	int r = weir_json_array(at, 0, SOURCES_MAX, err);

	if (r)
		return r;
	n = json_array_size(at->v);
	sources = weir_arena_alloc(rd->arena, n, sizeof(*sources));
	if (!sources)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n && !r; i++) {
		item = weir_json_element(at, i);
		r = read_source(rd, &item, t->name, &sources[i], err);
	}
	t->sources = sources;
	t->n_sources = n;
	return r;
}

static int compare_tier(const void *name, const void *tier)
{
	return strcmp(name, ((const struct policy_tier *)tier)->name);
}

static int read_tier_name(struct reader *rd, const struct weir_json *at,
			  struct weir_tenant_policy *t, struct weir_error *err)
{
	const struct policy_tier *tier;
	struct weir_json child;
	struct weir_suggest near;
	const char *name;
	int r;

	if (!weir_json_get(at, "tier", &child))
		return weir_json_fail(at, err, "has no \"tier\"");
	r = weir_json_name(&child, &name, err);
	if (r)
		return r;
	tier = bsearch(name, rd->tiers, rd->n_tiers, sizeof(*tier), compare_tier);
	if (tier) {
		t->tier = tier->name;
		t->limits = tier->limits;
		t->scopes = tier->scopes.v;
		t->n_scopes = tier->scopes.n;
		return 0;
	}
	weir_suggest_init(&near, name);
	for (size_t i = 0; i < rd->n_tiers; i++)
		weir_suggest_offer(&near, rd->tiers[i].name);
	if (near.best)
		return weir_json_refuse(&child, err, "is not a tier (did you mean \"%s\"?)",
					near.best);
	return weir_json_refuse(&child, err, "is not a tier");
}

static int read_overrides(struct reader *rd, const struct weir_json *at,
			  struct weir_tenant_policy *t, struct weir_error *err)
{
	struct policy_scopes scopes = { .v = t->scopes, .n = t->n_scopes };
	struct weir_json child;
	int r = 0;

	if (weir_json_get(at, "overrides", &child)) {
		r = policy_limits_read(&child, &t->limits, err);
		if (!r)
			r = policy_scopes_read(&child, rd->arena, &scopes, err);
	}
	if (!r && t->limits.shadow)
		r = policy_scopes_shadow(rd->arena, &scopes, err);
	t->scopes = scopes.v;
	t->n_scopes = scopes.n;
	return r;
}

/* Whether there is such a tenant is seen when all are read. */
static int read_parent(struct reader *rd, const struct weir_json *at, struct weir_tenant_policy *t,
		       struct weir_error *err)
{
	struct weir_json child;
	const char *name;
	int r;

	if (!weir_json_get(at, "parent", &child) || json_is_null(child.v))
		return 0;
	r = weir_json_name(&child, &name, err);
	if (r)
		return r;
	t->parent = weir_arena_text(rd->arena, name);
	return t->parent ? 0 : weir_fail(err, ENOMEM, "out of memory");
}

/* As it is written; who that is comes when all are read. */
static int read_wallet(struct reader *rd, const struct weir_json *at, struct weir_tenant_policy *t,
		       struct weir_error *err)
{
	struct weir_json child;
	const char *name;
	int r;

	if (!weir_json_get(at, "wallet", &child))
		return 0;
	r = weir_json_name(&child, &name, err);
	if (r || !strcmp(name, POLICY_WALLET_SELF))
		return r;
	t->wallet = weir_arena_text(rd->arena, name);
	return t->wallet ? 0 : weir_fail(err, ENOMEM, "out of memory");
}

static int read_tenant(struct reader *rd, const struct weir_json *at, struct weir_tenant_policy *t,
		       struct weir_error *err)
{
	static const char *const fields[] = { "tier",	 "parent",    "wallet", "keys",
					      "sources", "overrides", NULL };
	struct weir_json child;
	int r = 0;

	if (!weir_name_ok(at->key))
		return weir_json_fail(at, err, "\"%s\" is not a name of 1 to 63 of a-z 0-9 _ -",
				      at->key);
	t->name = weir_arena_text(rd->arena, at->key);
	if (!t->name)
		return weir_fail(err, ENOMEM, "out of memory");
	r = weir_json_object(at, fields, err);
	if (!r)
		r = read_tier_name(rd, at, t, err);
	if (!r)
		r = read_parent(rd, at, t, err);
	if (!r)
		r = read_wallet(rd, at, t, err);
	if (!r)
		r = read_overrides(rd, at, t, err);
	if (!r && weir_json_get(at, "keys", &child))
		r = read_keys(rd, &child, t, err);
	if (!r && weir_json_get(at, "sources", &child))
		r = read_sources(rd, &child, t, err);
	return r;
}

static int compare_tenant(const void *a, const void *b)
{
	return strcmp(((const struct weir_tenant_policy *)a)->name,
		      ((const struct weir_tenant_policy *)b)->name);
}

int policy_tenants_read(const struct policy_files *f, const struct policy_tier *tiers,
			struct weir_arena *arena, struct weir_policy *p, struct weir_error *err)
{
	weir_autojson json_t *claims = json_object();
	struct reader rd = {
		.files = f,
		.tiers = tiers,
		.n_tiers = p->n_tiers,
		.arena = arena,
		.claims = claims,
	};
	size_t n = json_object_size(f->items[POLICY_TENANTS]), i = 0;
	struct policy_place place;
	const char *name;
	json_t *v;
	int r = 0;

	p->tenants = weir_arena_alloc(arena, n, sizeof(*p->tenants));
	if (!claims || !p->tenants)
		return weir_fail(err, ENOMEM, "out of memory");
	json_object_foreach(f->items[POLICY_TENANTS], name, v)
	{
		if (!policy_place(f, POLICY_TENANTS, name, &place))
			abort(); /* it is being listed */
		r = read_tenant(&rd, &place.item, &p->tenants[i++], err);
		if (r)
			return r;
	}
	qsort(p->tenants, n, sizeof(*p->tenants), compare_tenant);
	p->n_tenants = n;
	r = policy_parents_check(f, p, err);
	return r ? r : policy_wallets_find(f, p, err);
}
