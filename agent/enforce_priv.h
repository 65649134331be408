/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in force, shared by the two files that put it there: enforce.c a policy,
 * enforce_credit.c the wallets' credit.
 */
#ifndef WEIR_ENFORCE_PRIV_H
#define WEIR_ENFORCE_PRIV_H

#include <pthread.h>

#include "enforce.h"
#include "enforce_levels.h"
#include "names.h"

struct weir_rules_table;

struct weir_enforce {
	struct weir_kernel *kernel;
	const struct weir_agent_config *cfg;
	pthread_rwlock_t lock; /* of what follows */
	struct weir_policy *policy;
	struct weir_rules_table *rules;
	struct weir_card **cards; /* that price (weir_cards_load) */
	size_t n_cards;
	struct weir_terms *terms; /* by number, max_tenants of them */
	struct weir_names names;
	struct weir_names tiers; /* every name that a tier ever had: terms point to them */
	uint32_t count;		 /* highest number given out */

	/* Of the writer's thread. */
	bool settled; /* weir_enforce_ceilings was called */
	uint32_t held_wallet;
	int64_t held_nano; /* off its ceiling for a deduct that is being written */
};

/* Tell the ledger whose balance is to be told of when it falls, and whose no longer. -ENOMEM. */
int weir_enforce_top_ups(struct weir_enforce *e, const struct weir_plan *plan,
			 struct weir_ledger *l);

#endif
