// SPDX-License-Identifier: Apache-2.0
/*
 * Numbers first, in one transaction of the ledger; then, when the entries have their
 * limits, the ways to them.
 */
#include "enforce_levels.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map_sync.h"
#include "suggest.h"

/* -- numbers */

/* Service names without a service that were warned of; of more than these none is. */
struct unknown {
	const char *names[16];
	size_t n;
};

static void warn(struct unknown *u, const char *name, const struct weir_config_service *services,
		 size_t n_services)
{
	struct weir_suggest near;

	for (size_t i = 0; i < u->n; i++)
		if (!strcmp(u->names[i], name))
			return;
	if (u->n == sizeof(u->names) / sizeof(*u->names))
		return;
	u->names[u->n++] = name;
	weir_suggest_init(&near, name);
	for (size_t i = 0; i < n_services; i++)
		weir_suggest_offer(&near, services[i].name);
	weir_log(WEIR_WARN,
		 "policy: limits for service \"%s\", which agent.json does not have%s%s%s", name,
		 near.best ? " (did you mean \"" : "", near.best ? near.best : "",
		 near.best ? "\"?)" : ": they limit nothing on this node");
}

static uint32_t service_number(const struct weir_config_service *services, size_t n,
			       const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(services[i].name, name))
			return (uint32_t)i + 1;
	return 0;
}

static int list_scopes(struct weir_plan *plan, const struct weir_config_service *services,
		       size_t n_services, struct weir_error *err)
{
	const struct weir_policy *p = plan->policy;
	struct unknown unknown = { .n = 0 };
	size_t n = 0;

	for (size_t i = 0; i < p->n_tenants; i++)
		n += p->tenants[i].n_scopes;
	plan->scopes = weir_arena_alloc(&plan->arena, n, sizeof(*plan->scopes));
	if (!plan->scopes)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < p->n_tenants; i++) {
		const struct weir_tenant_policy *t = &p->tenants[i];

		for (size_t j = 0; j < t->n_scopes; j++) {
			const struct weir_scope_policy *s = &t->scopes[j];
			uint32_t service = service_number(services, n_services, s->service);

			if (!service) {
				warn(&unknown, s->service, services, n_services);
				continue;
			}
			plan->scopes[plan->n_scopes++] = (struct weir_plan_scope){
				.tenant = t,
				.limits = &s->limits,
				.key = { .service = service },
			};
		}
	}
	return 0;
}

static const char *scope_name(struct weir_plan *plan, const struct weir_plan_scope *s,
			      const struct weir_config_service *services)
{
	char name[WEIR_ENTRY_NAME_BYTES];

	snprintf(name, sizeof(name), "%s@%s", s->tenant->name, services[s->key.service - 1].name);
	return weir_arena_text(&plan->arena, name);
}

static int number(struct weir_plan *plan, const struct weir_config_service *services,
		  uint32_t max_tenants, struct weir_ledger *l, struct weir_error *err)
{
	const struct weir_policy *p = plan->policy;
	size_t n = p->n_tenants + plan->n_scopes;
	const char **names = weir_arena_alloc(&plan->arena, n, sizeof(*names));
	struct weir_error why;
	int r;

	plan->numbers = weir_arena_alloc(&plan->arena, n, sizeof(*plan->numbers));
	if (!names || !plan->numbers)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		names[i] = i < p->n_tenants
				   ? p->tenants[i].name
				   : scope_name(plan, &plan->scopes[i - p->n_tenants], services);
		if (!names[i])
			return weir_fail(err, ENOMEM, "out of memory");
	}
	r = weir_ledger_tenants(l, names, n, max_tenants, plan->numbers, &why);
	if (r == -ERANGE)
		return weir_fail(
			err, ENOSPC,
			"%s; raise \"max_tenants\" in agent.json (limits of a tenant for a "
			"service take a number too), then run weir-agent --detach and start "
			"again",
			why.text);
	if (r)
		return weir_fail(err, -r, "%s", why.text);
	for (size_t i = 0; i < plan->n_scopes; i++)
		plan->scopes[i].key.tenant = plan->numbers[plan->scopes[i].tenant - p->tenants];
	return 0;
}

int weir_plan_make(const struct weir_policy *p, const struct weir_config_service *services,
		   size_t n_services, uint32_t max_tenants, struct weir_ledger *l,
		   struct weir_plan *out, struct weir_error *err)
{
	struct weir_plan plan = { .policy = p };
	int r = list_scopes(&plan, services, n_services, err);

	if (!r)
		r = number(&plan, services, max_tenants, l, err);
	if (r)
		weir_plan_free(&plan);
	else
		*out = plan;
	return r;
}

void weir_plan_free(struct weir_plan *plan)
{
	weir_arena_free(&plan->arena);
	*plan = (struct weir_plan){ 0 };
}

/* -- ways */

static const struct weir_tenant_policy *parent_of(const struct weir_plan *plan,
						  const struct weir_tenant_policy *t)
{
	return t->parent ? weir_policy_tenant(plan->policy, t->parent) : NULL;
}

struct wanted_scope {
	struct weir_scope scope;
	uint32_t number;
};
_Static_assert(sizeof(struct wanted_scope) == 12, "the value is right behind the key");

static int sync_scopes(struct weir_kernel *k, const struct weir_plan *plan, enum weir_map_sync how,
		       struct weir_error *err)
{
	weir_autofree struct wanted_scope *v = calloc(plan->n_scopes + 1, sizeof(*v));
	struct weir_map_want want = { .fd = k->scopes_fd,
				      .key_bytes = sizeof(v->scope),
				      .value_bytes = sizeof(v->number),
				      .entries = v,
				      .n = plan->n_scopes };
	int r;

	if (!v)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < want.n; i++)
		v[i] = (struct wanted_scope){ plan->scopes[i].key,
					      plan->numbers[plan->policy->n_tenants + i] };
	weir_map_want_sort(&want);
	r = weir_map_sync(&want, how);
	return r ? weir_fail(err, -r,
			     "scope map: no room for %zu limits of tenants for a service (%s); "
			     "raise \"max_tenants\"",
			     want.n, strerror(-r))
		 : 0;
}

int weir_levels_link(struct weir_kernel *k, const struct weir_plan *plan, struct weir_error *err)
{
	const struct weir_policy *p = plan->policy;
	const struct weir_plan_scope *s = plan->scopes, *end = s + plan->n_scopes;
	int r = sync_scopes(k, plan, WEIR_MAP_ADD, err);

	if (r)
		return r;
	for (size_t i = 0; i < p->n_tenants; i++) {
		struct weir_tenant *t = &k->tenants[plan->numbers[i]];

		/* Scopes are in the order of their tenants. */
		if (s < end && s->tenant == &p->tenants[i])
			__atomic_fetch_or(&t->flags, WEIR_TENANT_SCOPED, __ATOMIC_RELEASE);
		else
			__atomic_fetch_and(&t->flags, ~WEIR_TENANT_SCOPED, __ATOMIC_RELEASE);
		while (s < end && s->tenant == &p->tenants[i])
			s++;
	}
	/* Who has nobody above but one first: others find the way on from there. */
	for (int below_child = 0; below_child < 2; below_child++)
		for (size_t i = 0; i < p->n_tenants; i++) {
			const struct weir_tenant_policy *parent = parent_of(plan, &p->tenants[i]);
			bool is_below_child = parent && parent->parent;
			uint32_t n = parent ? plan->numbers[parent - p->tenants] : WEIR_NO_TENANT;

			if (is_below_child == below_child)
				__atomic_store_n(&k->tenants[plan->numbers[i]].parent, n,
						 __ATOMIC_RELEASE);
		}
	return 0;
}

int weir_levels_prune(struct weir_kernel *k, const struct weir_plan *plan, struct weir_error *err)
{
	return sync_scopes(k, plan, WEIR_MAP_DROP, err);
}
