/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What numbers stood for, and when (delivery.md, 11): an entry has the number of a service and of
 * a tenant; the names that an event is made with are those that held when the entry was made,
 * however late and however often it is made. Table `named`: the writer's side keeps it, the
 * reader's looks things up.
 */
#ifndef WEIR_NAMING_H
#define WEIR_NAMING_H

#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct weir_ledger;
struct weir_policy;
struct weir_reader;

/* Stored. */
enum weir_named {
	WEIR_NAMED_SERVICE = 1, /* its name */
	WEIR_NAMED_PATH = 2,	/* of a tenant in the tree, from the top: "acme/team/user" */
};

/* What the newest rows say, in memory. For the thread that owns the ledger. */
struct weir_naming;
int weir_naming_new(struct weir_ledger *l, struct weir_naming **out, struct weir_error *err);
void weir_naming_free(struct weir_naming *n); /* NULL is fine */

/*
 * From the next entry on these names hold. Writes what differs from before, in one transaction;
 * nothing, and quickly, if nothing does. A tenant that was never anywhere but at the top needs no
 * row; one that left the policy keeps its last place, for what comes late. The first names of all
 * hold for older entries too, as does that of a service's number that is new. services: by number,
 * [0] unused; NULLs are skipped.
 */
int weir_naming_put(struct weir_naming *n, struct weir_ledger *l, const char *const *services,
		    size_t n_services, const struct weir_policy *policy, struct weir_error *err);

/* What a number stood for when entry seq was made; *out NULL: nobody said (of a path: the tenant
 * was at the top). Lives until the next call for another entry. */
int weir_reader_named(struct weir_reader *r, enum weir_named kind, uint32_t number, uint64_t seq,
		      const char **out, struct weir_error *err);

#endif
