/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the files that read a policy share the work: policy_merge.c makes one
 * document of many and remembers who said what, policy_limits.c, policy_scopes.c,
 * policy_tenants.c and policy_packs.c read its parts, policy_parents.c looks at the
 * tenants' chains and policy_wallets.c at who pays, policy.c puts them together. Nobody
 * else includes this.
 */
#ifndef WEIR_POLICY_READ_H
#define WEIR_POLICY_READ_H

#include "arena.h"
#include "json.h"
#include "policy.h"

/* ------------------------------------------------------- one document of many */

enum policy_section { POLICY_TOP, POLICY_TIERS, POLICY_TENANTS, POLICY_PACKS, POLICY_SECTIONS };

struct policy_files {
	char **names; /* base names, in name order */
	json_t **documents;
	size_t n;
	json_t *items[POLICY_SECTIONS]; /* name to value, of all files together */
	json_t *owner[POLICY_SECTIONS]; /* name to index of the file it is from */
};

int policy_files_read(const char *dir, struct policy_files *f, struct weir_error *err);
void policy_files_free(struct policy_files *f);

/* A cursor that says where the item is written; it keeps its own parents. */
struct policy_place {
	struct weir_json root, section, item;
};
/* false if no file has it. */
bool policy_place(const struct policy_files *f, enum policy_section s, const char *name,
		  struct policy_place *out);

/* ------------------------------------------------------------------ the parts */

/* Limits of a tier of no fields; then a tier's or an override's fields over them. */
void policy_limits_init(struct weir_limits *l);
int policy_limits_read(const struct weir_json *at, struct weir_limits *l, struct weir_error *err);

/* A scope's, from none; not its name. */
int policy_scope_limits_read(const struct weir_json *at, struct weir_scope_policy *out,
			     struct weir_error *err);

/* Scopes by service name; memory from the arena. */
struct policy_scopes {
	const struct weir_scope_policy *v;
	size_t n;
};
/* Those of the tier's or override's "services" over those in *s: each replaces the one of
 * its service whole, null takes it out. Untouched without the field. */
int policy_scopes_read(const struct weir_json *at, struct weir_arena *arena,
		       struct policy_scopes *s, struct weir_error *err);
/* For a tenant in shadow: so are its scopes, unless they say otherwise. */
int policy_scopes_shadow(struct weir_arena *arena, struct policy_scopes *s, struct weir_error *err);

struct policy_tier {
	const char *name;
	struct weir_limits limits;
	struct policy_scopes scopes;
};

/* All tenants into p->tenants, sorted; memory from the arena. `wallet` is as it is written. */
int policy_tenants_read(const struct policy_files *f, const struct policy_tier *tiers,
			struct weir_arena *arena, struct weir_policy *p, struct weir_error *err);

/* Every parent is a tenant, and no chain of them longer than the kernel follows. */
int policy_parents_check(const struct policy_files *f, const struct weir_policy *p,
			 struct weir_error *err);

/* What "wallet" may say but the name of a tenant. */
#define POLICY_WALLET_SELF   "self"
#define POLICY_WALLET_PARENT "parent"

/* `wallet` of all tenants: from what is written to who pays. After policy_parents_check. */
int policy_wallets_find(const struct policy_files *f, struct weir_policy *p,
			struct weir_error *err);

/* Where a tenant's field is written, which it is. */
void policy_field_place(const struct policy_files *f, const char *tenant, const char *field,
			struct policy_place *place, struct weir_json *at);

/* Refuse a name that is no tenant's, and say whose it may be meant for. */
int policy_no_tenant(const struct weir_policy *p, const struct weir_json *at, const char *name,
		     struct weir_error *err);

/* All packs into p->packs, sorted; memory from the arena. */
int policy_packs_read(const struct policy_files *f, struct weir_arena *arena, struct weir_policy *p,
		      struct weir_error *err);

#endif
