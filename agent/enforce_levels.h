/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entries of the kernel's `tenants` a policy asks for, and how they hang together:
 * tenants, their scopes for services, and who is above whom (bpf/limits.md, "Levels").
 */
#ifndef WEIR_ENFORCE_LEVELS_H
#define WEIR_ENFORCE_LEVELS_H

#include "arena.h"
#include "config.h"
#include "kernel.h"
#include "ledger.h"
#include "policy.h"

/* A scope of a service that this agent has. */
struct weir_plan_scope {
	const struct weir_tenant_policy *tenant;
	const struct weir_limits *limits;
	struct weir_scope key;
};

/* Entries in the order of the policy's tenants, then of scopes; borrows from the policy. */
struct weir_plan {
	const struct weir_policy *policy;
	uint32_t *numbers; /* of tenants, then of scopes */
	struct weir_plan_scope *scopes;
	size_t n_scopes;
	struct weir_arena arena; /* private */
};

/* Numbers for all that p asks for; new ones are in the ledger then. Warns of scopes for
 * services that are not among these. -ENOSPC: a number does not fit the maps. */
int weir_plan_make(const struct weir_policy *p, const struct weir_config_service *services,
		   size_t n_services, uint32_t max_tenants, struct weir_ledger *l,
		   struct weir_plan *out, struct weir_error *err);
void weir_plan_free(struct weir_plan *plan);

/* The ways from tenants to scopes and parents, as the plan has them. What they lead to
 * must have its limits. */
int weir_levels_link(struct weir_kernel *k, const struct weir_plan *plan, struct weir_error *err);

/* Take out of `scopes` what the plan does not have. */
int weir_levels_prune(struct weir_kernel *k, const struct weir_plan *plan, struct weir_error *err);

#endif
