/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bodies are held to, from a policy into the kernel's map `rules`. Tenants with
 * the same rules share an entry, and tenants that have none point to entry 0.
 *
 * An entry is written while nobody points to it, and used for other rules only when
 * nobody has pointed to it for WEIR_RULES_REST_NS: a body that is being read goes on
 * by the entry it began with.
 */
#ifndef WEIR_ENFORCE_RULES_H
#define WEIR_ENFORCE_RULES_H

#include "kernel.h"
#include "policy.h"

#define WEIR_RULES_REST_NS (600 * WEIR_SECOND) /* no body takes longer to send */

struct weir_rules_table;

/* Takes over what an earlier agent left in the maps. */
int weir_rules_new(struct weir_kernel *k, uint64_t now_ns, struct weir_rules_table **out,
		   struct weir_error *err);
void weir_rules_free(struct weir_rules_table *t); /* NULL is fine */

/* An entry for each of p's tenants into entries[], new ones written. Nobody points to
 * them yet. -ENOSPC: they do not fit; what is in force stays as it is. */
int weir_rules_place(struct weir_rules_table *t, const struct weir_policy *p, uint64_t now_ns,
		     uint32_t *entries, struct weir_error *err);

/* From now on `tenant` (one of k->tenants) is held to that entry. */
void weir_rules_point(struct weir_rules_table *t, struct weir_tenant *tenant, uint32_t entry,
		      uint64_t now_ns);

#endif
