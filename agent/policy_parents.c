/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is above whom: the chains that the tenants' "parent" fields make.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/weir_abi.h"
#include "policy_read.h"
#include "suggest.h"

/* A tenant, its parent, its parent's parent: what the kernel charges at once. */
#define CHAIN_MAX (WEIR_LEVELS - WEIR_LEVEL_PARENT + 1)

void policy_field_place(const struct policy_files *f, const char *tenant, const char *field,
			struct policy_place *place, struct weir_json *at)
{
	if (!policy_place(f, POLICY_TENANTS, tenant, place) ||
	    !weir_json_get(&place->item, field, at))
		abort(); /* it was read from there */
}

int policy_no_tenant(const struct weir_policy *p, const struct weir_json *at, const char *name,
		     struct weir_error *err)
{
	struct weir_suggest near;

	weir_suggest_init(&near, name);
	for (size_t i = 0; i < p->n_tenants; i++)
		weir_suggest_offer(&near, p->tenants[i].name);
	if (near.best)
		return weir_json_refuse(at, err, "is not a tenant (did you mean \"%s\"?)",
					near.best);
	return weir_json_refuse(at, err, "is not a tenant");
}

/* Upwards from t, naming who is met. Every parent is known to be a tenant. */
static int climb(const struct policy_files *f, const struct weir_policy *p,
		 const struct weir_tenant_policy *t, struct weir_error *err)
{
	const struct weir_tenant_policy *chain[CHAIN_MAX + 1] = { t };
	char names[(CHAIN_MAX + 1) * (WEIR_NAME_BYTES + 4)];
	struct policy_place place;
	struct weir_json at;
	size_t n = 1, len;
	bool again = false;

	len = (size_t)snprintf(names, sizeof(names), "%s", t->name);
	while (chain[n - 1]->parent && n <= CHAIN_MAX && !again) {
		chain[n] = weir_policy_tenant(p, chain[n - 1]->parent);
		for (size_t i = 0; i < n; i++)
			again = again || chain[i] == chain[n];
		len += (size_t)snprintf(names + len, sizeof(names) - len, " -> %s", chain[n]->name);
		n++;
	}
	if (!again && n <= CHAIN_MAX)
		return 0;
	policy_field_place(f, t->name, "parent", &place, &at);
	if (again)
		return weir_json_refuse(&at, err, "leads in a circle: %s", names);
	return weir_json_refuse(&at, err, "makes a chain of more than three tenants: %s", names);
}

int policy_parents_check(const struct policy_files *f, const struct weir_policy *p,
			 struct weir_error *err)
{
	struct policy_place place;
	struct weir_json at;
	int r = 0;

	for (size_t i = 0; i < p->n_tenants; i++) {
		const struct weir_tenant_policy *t = &p->tenants[i];

		if (!t->parent || weir_policy_tenant(p, t->parent))
			continue;
		policy_field_place(f, t->name, "parent", &place, &at);
		return policy_no_tenant(p, &at, t->parent, err);
	}
	for (size_t i = 0; i < p->n_tenants && !r; i++)
		if (p->tenants[i].parent)
			r = climb(f, p, &p->tenants[i], err);
	return r;
}
