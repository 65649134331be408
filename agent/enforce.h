/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a policy in force: numbers for tenants, limits, wallets and reservation prices
 * into the kernel's tenant entries, keys and sources into its maps. Keeps what the
 * consumer needs of it per tenant. The kernel never sees half a policy that does
 * not fit: everything is checked before the first store.
 *
 * And keeps the wallets' ceilings in step with the ledger. Every number has one, in the
 * policy or not: what was in flight when a wallet changed is settled at the old one.
 */
#ifndef WEIR_ENFORCE_H
#define WEIR_ENFORCE_H

#include <pthread.h>

#include "kernel.h"
#include "ledger.h"
#include "policy.h"

/* What a tenant's finished requests are settled by, or a scope's ("acme@embed"): live,
 * tokens and cached_weight_ppm. */
struct weir_terms {
	const char *name; /* lives as long as e; NULL: the number is not given out */
	const char *tier; /* likewise; NULL: not in the policy, or a scope */
	uint32_t wallet;  /* number of who pays; 0: itself */
	bool live;	  /* in the policy in force */
	bool is_scope;
	bool has_top_up; /* the ledger was told of a threshold */
	enum weir_credit credit;
	int64_t overage_nano; /* its ceiling has it in; used where it pays */
	struct weir_rate tokens;
	uint32_t cached_weight_ppm;
	uint64_t lost_nano;	       /* of the tenant's lost_nano, what the ceiling has in it */
	int64_t request_cost_cap_nano; /* a running answer is cut when it costs more; 0: none */
	uint32_t reserve_output_tokens;
	uint32_t max_output_tokens; /* 0: no limit */
	int abort;		    /* enum weir_abort */
	bool free_retries, free_cache_hits;
};

struct weir_enforce;

/* Both must live as long as *out. */
int weir_enforce_new(struct weir_kernel *k, const struct weir_agent_config *cfg,
		     struct weir_enforce **out, struct weir_error *err);
void weir_enforce_free(struct weir_enforce *e);

/* Put p in force (takes a reference). To be called where the ledger may be used:
 * before the writer starts, or through it. On failure what was in force stays. */
int weir_enforce_apply(struct weir_enforce *e, struct weir_policy *p, struct weir_ledger *l,
		       struct weir_error *err);

/* -- credit: where the ledger may be used */

/* Ceilings and next expiries from the ledger, for every wallet. Only while nothing settles. */
void weir_enforce_ceilings(struct weir_enforce *e, struct weir_ledger *l);

/* A wallet moved (weir_ledger_on_change). Before weir_enforce_ceilings: nothing to do. */
void weir_enforce_moved(struct weir_enforce *e, struct weir_ledger *l,
			const struct weir_wallet_change *c);

/* weir_ledger_post, with what struct weir_agent_view says of it. */
int weir_enforce_post(struct weir_enforce *e, struct weir_ledger *l, const struct weir_op *op,
		      struct weir_done *done, struct weir_error *err);

/* Who pays for a tenant: its own number for who is not in the policy. -ENOENT. Any thread. */
int weir_enforce_wallet(struct weir_enforce *e, uint32_t tenant, uint32_t *out);

/* Give back what was reserved by requests whose END record was lost, and say so:
 * they were served and are not billed. */
void weir_enforce_lost(struct weir_enforce *e);

/* -- doors */

/* A stored key was added, or revoked (revoked_ns != 0). */
int weir_enforce_key(struct weir_enforce *e, const struct weir_stored_key *key,
		     struct weir_error *err);

/* The policy in force, with a reference for the caller. */
struct weir_policy *weir_enforce_policy(struct weir_enforce *e);

/* Refuse all that comes from the tenant or from below it, in the policy or not; or no
 * more. Holds from the next packet on, and through every apply. -ENOENT: no such number. */
int weir_enforce_suspend(struct weir_enforce *e, uint32_t tenant, bool on);
bool weir_enforce_suspended(const struct weir_enforce *e, uint32_t tenant);

/* Name of a number: a tenant's, or a scope's. -ENOENT. */
int weir_enforce_name(struct weir_enforce *e, uint32_t number,
		      char out[static WEIR_ENTRY_NAME_BYTES]);
bool weir_enforce_is_scope(struct weir_enforce *e, uint32_t number);
/* Number of a tenant, and of its scope for a service. -ENOENT. */
int weir_enforce_index(struct weir_enforce *e, const char *tenant, uint32_t *out);
int weir_enforce_scope(struct weir_enforce *e, const char *tenant, const char *service,
		       uint32_t *out);
/* The highest number given out. */
uint32_t weir_enforce_count(struct weir_enforce *e);

/* Terms and policy for reading; hold for a batch of records, not for a wait. */
void weir_enforce_read_lock(struct weir_enforce *e);
void weir_enforce_read_unlock(struct weir_enforce *e);
const struct weir_terms *weir_enforce_terms(const struct weir_enforce *e, uint32_t tenant);
const struct weir_policy *weir_enforce_policy_locked(const struct weir_enforce *e);
/* The cards that price: the policy's, and those that were in force before them. */
struct weir_card *const *weir_enforce_cards_locked(const struct weir_enforce *e, size_t *n);

#endif
