/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to a tenant, from a policy into the kernel's maps: API keys, source
 * prefixes and names.
 */
#ifndef WEIR_ENFORCE_MAPS_H
#define WEIR_ENFORCE_MAPS_H

#include "kernel.h"
#include "ledger.h"
#include "policy.h"

/* Is there room for all of them? Asked before anything is stored. */
int weir_check_maps(const struct weir_kernel *k, const struct weir_policy *p, struct weir_ledger *l,
		    struct weir_error *err);

/* Make the maps hold exactly the names, keys and prefixes of p and the keys that the
 * ledger keeps. numbers[i] is the number of p->tenants[i]. New ones come first, then
 * stale ones go: nobody who keeps a key is ever without it. */
int weir_sync_maps(struct weir_kernel *k, const struct weir_policy *p, const uint32_t *numbers,
		   struct weir_ledger *l, struct weir_error *err);

#endif
