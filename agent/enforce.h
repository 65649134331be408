/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a policy in force: numbers for tenants, limits and reservation prices into
 * the kernel's tenant entries, keys and sources into its maps. Keeps what the
 * consumer needs of it per tenant. The kernel never sees half a policy that does
 * not fit: everything is checked before the first store.
 */
#ifndef WEIR_ENFORCE_H
#define WEIR_ENFORCE_H

#include <pthread.h>

#include "kernel.h"
#include "ledger.h"
#include "policy.h"

/* What a tenant's finished requests are settled by. */
struct weir_terms {
	char name[WEIR_NAME_BYTES]; /* "": the number is not given out */
	bool live;		    /* in the policy in force */
	enum weir_credit credit;
	int64_t overage_nano;
	struct weir_rate tokens;
	uint32_t cached_weight_ppm;
	uint64_t lost_nano; /* of the tenant's lost_nano, what the ceiling has in it */
	int64_t request_cost_cap_nano; /* a running answer is cut when it costs more; 0: none */
};

struct weir_enforce;

int weir_enforce_new(struct weir_kernel *k, struct weir_enforce **out, struct weir_error *err);
void weir_enforce_free(struct weir_enforce *e);

/* Put p in force (takes a reference). To be called where the ledger may be used:
 * before the writer starts, or through it. On failure what was in force stays. */
int weir_enforce_apply(struct weir_enforce *e, struct weir_policy *p, struct weir_ledger *l,
		       struct weir_error *err);

/* Ceilings from the ledger's balances, for every tenant. Only while nothing settles. */
void weir_enforce_ceilings(struct weir_enforce *e, struct weir_ledger *l);

/* Time passed: grants expired or became effective between then and now. Where the
 * ledger may be used. */
void weir_enforce_passage(struct weir_enforce *e, struct weir_ledger *l, uint64_t then_wall_ns,
			  uint64_t now_wall_ns);

/* Give back what was reserved by requests whose END record was lost, and say so:
 * they were served and are not billed. Same thread as the two above. */
void weir_enforce_lost(struct weir_enforce *e);

/* A stored key was added, or revoked (revoked_ns != 0). */
int weir_enforce_key(struct weir_enforce *e, const struct weir_stored_key *key,
		     struct weir_error *err);

/* The policy in force, with a reference for the caller. */
struct weir_policy *weir_enforce_policy(struct weir_enforce *e);

/* Number and name; -ENOENT. */
int weir_enforce_name(struct weir_enforce *e, uint32_t tenant, char out[static WEIR_NAME_BYTES]);
int weir_enforce_index(struct weir_enforce *e, const char *name, uint32_t *out);
uint32_t weir_enforce_count(struct weir_enforce *e);

/* Terms and policy for reading; hold for a batch of records, not for a wait. */
void weir_enforce_read_lock(struct weir_enforce *e);
void weir_enforce_read_unlock(struct weir_enforce *e);
const struct weir_terms *weir_enforce_terms(const struct weir_enforce *e, uint32_t tenant);
const struct weir_policy *weir_enforce_policy_locked(const struct weir_enforce *e);

#endif
