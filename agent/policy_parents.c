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

static int refuse(const struct policy_files *f, const struct weir_tenant_policy *t,
		  struct weir_error *err, const char *what, const char *names)
{
	struct policy_place place;
	struct weir_json at;

	if (!policy_place(f, POLICY_TENANTS, t->name, &place) ||
	    !weir_json_get(&place.item, "parent", &at))
		abort(); /* it was read from there */
	return weir_json_refuse(&at, err, "%s%s", what, names);
}

static int unknown(const struct policy_files *f, const struct weir_policy *p,
		   const struct weir_tenant_policy *t, struct weir_error *err)
{
	struct weir_suggest near;
	char text[128] = "";

	weir_suggest_init(&near, t->parent);
	for (size_t i = 0; i < p->n_tenants; i++)
		weir_suggest_offer(&near, p->tenants[i].name);
	if (near.best)
		snprintf(text, sizeof(text), " (did you mean \"%s\"?)", near.best);
	return refuse(f, t, err, "is not a tenant", text);
}

/* Upwards from t, naming who is met. Every parent is known to be a tenant. */
static int climb(const struct policy_files *f, const struct weir_policy *p,
		 const struct weir_tenant_policy *t, struct weir_error *err)
{
	const struct weir_tenant_policy *chain[CHAIN_MAX + 1] = { t };
	char names[(CHAIN_MAX + 1) * (WEIR_NAME_BYTES + 4)];
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
	if (again)
		return refuse(f, t, err, "leads in a circle: ", names);
	if (n > CHAIN_MAX)
		return refuse(f, t, err, "makes a chain of more than three tenants: ", names);
	return 0;
}

int policy_parents_check(const struct policy_files *f, const struct weir_policy *p,
			 struct weir_error *err)
{
	int r = 0;

	for (size_t i = 0; i < p->n_tenants && !r; i++)
		if (p->tenants[i].parent && !weir_policy_tenant(p, p->tenants[i].parent))
			r = unknown(f, p, &p->tenants[i], err);
	for (size_t i = 0; i < p->n_tenants && !r; i++)
		if (p->tenants[i].parent)
			r = climb(f, p, &p->tenants[i], err);
	return r;
}
