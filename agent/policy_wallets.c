/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who pays for whom: from the tenants' "wallet" fields to the one tenant whose credit is
 * used. There are no chains of wallets: who pays for others pays for itself.
 */
#include <string.h>

#include "policy_read.h"

/* Of t, as it is written: who pays for its parent, and so on upwards; or by name. The chain
 * of parents is known to end, names are known to be tenants. NULL: nobody is above. */
static const struct weir_tenant_policy *payer_of(const struct weir_policy *p,
						 const struct weir_tenant_policy *t)
{
	while (t && t->wallet) {
		if (strcmp(t->wallet, POLICY_WALLET_PARENT) != 0)
			return weir_policy_tenant(p, t->wallet);
		t = t->parent ? weir_policy_tenant(p, t->parent) : NULL;
	}
	return t;
}

/* What one tenant's field says by itself, and of whom it names. */
static int check(const struct policy_files *f, const struct weir_policy *p,
		 const struct weir_tenant_policy *t, struct weir_error *err)
{
	bool of_parent = !strcmp(t->wallet, POLICY_WALLET_PARENT);
	const struct weir_tenant_policy *named =
		of_parent ? NULL : weir_policy_tenant(p, t->wallet);
	struct policy_place place;
	struct weir_json at;

	if (of_parent ? t->parent != NULL : named && named != t && !named->wallet)
		return 0;
	policy_field_place(f, t->name, "wallet", &place, &at);
	if (of_parent)
		return weir_json_refuse(&at, err, "needs a \"parent\": nobody is above \"%s\"",
					t->name);
	if (!named)
		return policy_no_tenant(p, &at, t->wallet, err);
	if (named == t)
		return weir_json_refuse(&at, err, "is this tenant: write \"self\"");
	return weir_json_refuse(&at, err,
				"does not pay for itself (its wallet is \"%s\"): name who does",
				named->wallet);
}

/* Who pays must have credit to pay with: the kernel looks at no other's ceiling. */
static int check_credit(const struct policy_files *f, const struct weir_tenant_policy *t,
			const struct weir_tenant_policy *payer, struct weir_error *err)
{
	struct policy_place place;
	struct weir_json at;

	if (t->limits.credit == WEIR_CREDIT_NONE || payer->limits.credit != WEIR_CREDIT_NONE)
		return 0;
	policy_field_place(f, t->name, "wallet", &place, &at);
	return weir_json_refuse(&at, err,
				"makes \"%s\" pay, whose credit is \"none\": make it \"hard\" or "
				"\"soft\" in its tier or overrides",
				payer->name);
}

int policy_wallets_find(const struct policy_files *f, struct weir_policy *p, struct weir_error *err)
{
	int r = 0;

	for (size_t i = 0; i < p->n_tenants && !r; i++)
		if (p->tenants[i].wallet)
			r = check(f, p, &p->tenants[i], err);
	if (r)
		return r;
	/* Who is found pays for itself, so what is overwritten is not needed to find others:
	 * a chain that passes here ends at the same one. */
	for (size_t i = 0; i < p->n_tenants && !r; i++) {
		struct weir_tenant_policy *t = &p->tenants[i];
		const struct weir_tenant_policy *payer = payer_of(p, t);

		if (payer == t)
			continue;
		r = check_credit(f, t, payer, err);
		t->wallet = payer->name;
	}
	return r;
}
