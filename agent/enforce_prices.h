/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cards price what this agent meters, and what a request reserves of its wallet's
 * credit: the dearest that a card which may price it asks. One answer for every tier, but for
 * tenants that have a card of their own.
 */
#ifndef WEIR_ENFORCE_PRICES_H
#define WEIR_ENFORCE_PRICES_H

#include "config.h"
#include "ledger.h"
#include "policy.h"
#include "price.h"

/* The policy's cards, which are stored, and their older versions, which price what began before
 * these and comes late. A version that left the files and is newer than all that are there was
 * taken back: it is not among them. Free with weir_cards_free. */
int weir_cards_load(const struct weir_policy *p, struct weir_ledger *l, struct weir_card ***out,
		    size_t *n_out, struct weir_error *err);

struct weir_prices {
	const struct weir_policy *policy;
	const struct weir_agent_config *cfg;
	uint64_t at_ns;
	struct weir_reserve_price *tiers; /* as policy->tiers */
	const char **own;		  /* names of tenants with a card of their own, sorted */
	size_t n_own;
};

/* By the cards in force at an instant (wall) that may price what comes to our services.
 * Borrows from both. 0 or -ENOMEM. */
int weir_prices_make(const struct weir_policy *p, const struct weir_agent_config *cfg,
		     uint64_t at_ns, struct weir_prices *out);
void weir_prices_free(struct weir_prices *v);

void weir_prices_of(const struct weir_prices *v, const struct weir_tenant_policy *t,
		    struct weir_reserve_price *out);

/* Tell of cards for services that we do not have. */
void weir_prices_warn(const struct weir_policy *p, const struct weir_agent_config *cfg);

#endif
