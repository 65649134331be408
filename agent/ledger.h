/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what was used, what it cost, who had how much. Append-only, hash
 * chained, in SQLite (store.h opens it). One thread, the writer, owns a
 * struct weir_ledger; readers open the database themselves, read-only.
 *
 * Balances, grants and counters are projections of the log: kept in memory,
 * flushed with each group, rebuilt from the log when asked.
 */
#ifndef WEIR_LEDGER_H
#define WEIR_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "row.h"
#include "util.h"

struct weir_ledger;

/* Opens or creates the database, migrates an older schema, replays the tail. */
int weir_ledger_open(const char *path, struct weir_ledger **out, struct weir_error *err);
void weir_ledger_close(struct weir_ledger *l);

/* Numbers for names, given once and for ever; starts at 1. A name is a tenant's, or a
 * scope's: "tenant@service". Commits on its own; of many, all or none: -ERANGE if one of
 * the numbers is not below limit. */
int weir_ledger_tenant(struct weir_ledger *l, const char *name, uint32_t *index,
		       struct weir_error *err);
int weir_ledger_tenants(struct weir_ledger *l, const char *const *names, size_t n, uint32_t limit,
			uint32_t *indexes, struct weir_error *err);
/* NULL if there is no such index. The string lives as long as the ledger. */
const char *weir_ledger_tenant_name(struct weir_ledger *l, uint32_t index);

/* Store a card (idempotent by hash) and give its row id. The same name and
 * version with another hash is -EEXIST: a card is immutable. */
struct weir_card;
int weir_ledger_card(struct weir_ledger *l, const struct weir_card *c, uint32_t *id,
		     struct weir_error *err);

/* Commit a group of requests in one durable transaction. A row whose id is
 * there already is skipped and counted in *known. All or nothing. */
int weir_ledger_append(struct weir_ledger *l, const struct weir_row *rows, size_t n, size_t *known,
		       struct weir_error *err);

enum weir_grant_source { WEIR_GRANT_PAID, WEIR_GRANT_PROMO, WEIR_GRANT_TRIAL };

struct weir_grant {
	char key[64]; /* idempotency key; "" is refused */
	uint32_t tenant;
	int64_t amount_nano; /* > 0 */
	uint8_t source;	     /* enum weir_grant_source */
	uint8_t priority;
	uint64_t effective_ns; /* wall; 0: now */
	uint64_t expires_ns;   /* wall; 0: never */
	char reason[128];
	char actor[64]; /* who asked */
};

/* Durable on return. *seq is the entry's number. The same key again with the
 * same content gives the same seq and *repeated; with other content -EEXIST. */
int weir_ledger_grant(struct weir_ledger *l, const struct weir_grant *g, uint64_t *seq,
		      bool *repeated, struct weir_error *err);

/* Σ effective remaining of grants - debt. 0 for a tenant without entries. */
int64_t weir_ledger_balance(struct weir_ledger *l, uint32_t tenant);

/* The same, judged at an instant (wall): effective by then and not yet expired. */
int64_t weir_ledger_balance_at(struct weir_ledger *l, uint32_t tenant, uint64_t now_ns);

/* Random UUID made with the database, as text; seq of the newest entry, 0: none. */
const char *weir_ledger_id(const struct weir_ledger *l);
uint64_t weir_ledger_newest(const struct weir_ledger *l);

/* Drop the projections and make them again from the log. */
int weir_ledger_rebuild(struct weir_ledger *l, struct weir_error *err);

/* Where a consumer of the log (the outbox) stands. Durable on return. */
int weir_ledger_cursor_set(struct weir_ledger *l, const char *name, uint64_t seq,
			   struct weir_error *err);

/* API keys made by `weirctl key add` (policy files list others). */
struct weir_stored_key {
	uint8_t sha256[32];
	uint32_t tenant;
	char hint[16];				     /* first characters, for listings */
	uint64_t created_ns, expires_ns, revoked_ns; /* wall; 0: not */
};
int weir_ledger_key_add(struct weir_ledger *l, const struct weir_stored_key *k,
			struct weir_error *err);
int weir_ledger_key_revoke(struct weir_ledger *l, const uint8_t sha256[static 32],
			   struct weir_error *err);
int weir_ledger_keys(struct weir_ledger *l, struct weir_stored_key **out, size_t *n,
		     struct weir_error *err); /* caller frees */

#endif
