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

#include "ledger_entry.h"
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

/* All stored versions of cards of those names, with their ids; each name once. What began before
 * a newer version, and comes late, is priced by them. Free with weir_cards_free. */
int weir_ledger_cards_of(struct weir_ledger *l, const char *const *names, size_t n,
			 struct weir_card ***out, size_t *n_out, struct weir_error *err);
void weir_cards_free(struct weir_card **cards, size_t n); /* NULL is fine if n is 0 */

/* The latest start of anything that a card priced; 0: of nothing. No card may come into force
 * before it. */
uint64_t weir_ledger_latest_priced(const struct weir_ledger *l);

/* Commit a group of requests in one durable transaction, each priced by its card_id,
 * card_entry and discount_milli where it is billable (ledger.md, 4), and what falls due before
 * each. A row whose id is there already is skipped and counted in *known. All or nothing. */
int weir_ledger_append(struct weir_ledger *l, const struct weir_row *rows, size_t n, size_t *known,
		       struct weir_error *err);

/* What came of a write. */
struct weir_done {
	uint64_t seq;
	struct weir_id id;
	bool repeated;	      /* the same key and content was there: nothing was done */
	int64_t amount_nano;  /* what it moved: of a void the rest that is forfeited, of a refund
			       * what  was given back, of a meter its price */
	int64_t balance_nano; /* of the wallet, now */
};

/*
 * Enter what somebody asks for (struct weir_op; kinds grant, void, refund, adjust, deduct, meter,
 * schedule), durable on return, and what falls due before it. Where it must have a key, the same
 * key with the same content gives what was done then, with other content -EEXIST. -EINVAL: what
 * is asked makes no sense; -ENOENT: what it is about is not there; -ENODATA: not so much credit
 * (deduct); -ERANGE: it does not fit. Then nothing is written, and err says it.
 */
int weir_ledger_post(struct weir_ledger *l, const struct weir_op *op, uint64_t now_ns,
		     struct weir_done *done, struct weir_error *err);
/* The same under an id that it once had: of what a restored ledger has lost (rederive.h). */
int weir_ledger_post_as(struct weir_ledger *l, const struct weir_op *op, const struct weir_id *id,
			uint64_t now_ns, struct weir_done *done, struct weir_error *err);

/*
 * Many of them in one transaction, durable on return: each as by weir_ledger_post, in order, with
 * what came of it. What makes no sense, or is not to be had, has its own error, and does not hold
 * up the others. One whose ret is not 0 is left out. Else -errno: none is written, and ret of each
 * is as it was. No deducts: what they take is to be held first (struct weir_agent_view).
 */
struct weir_post {
	struct weir_op op;
	int ret; /* 0: done says what was done; else err says why not */
	struct weir_done done;
	struct weir_error err;
};
int weir_ledger_post_all(struct weir_ledger *l, struct weir_post *posts, size_t n, uint64_t now_ns,
			 struct weir_error *err);

/* Enter what is due by now; one transaction, none if nothing is. And when it is to be called
 * next (UINT64_MAX: nothing will fall due). */
int weir_ledger_advance(struct weir_ledger *l, uint64_t now_ns, struct weir_error *err);
uint64_t weir_ledger_next_due(const struct weir_ledger *l);

/* Σ remaining - debt as of the last entry. 0 for a wallet without any. */
int64_t weir_ledger_balance(struct weir_ledger *l, uint32_t wallet);

/* What of it expires next: when (0: nothing does), and how much leaves the balance then. */
void weir_ledger_next_expiry(struct weir_ledger *l, uint32_t wallet, uint64_t *at_ns,
			     int64_t *nano);

/* A commit moved wallets: told in the writer's thread, before weir_ledger_append, _post or
 * _advance returns, once per wallet. */
struct weir_wallet_change {
	uint32_t wallet;
	int64_t delta_nano; /* of the balance */
	int64_t taken_nano; /* what the consumer had taken off the ceiling for these rows */
};
void weir_ledger_on_change(struct weir_ledger *l,
			   void (*fn)(void *ctx, const struct weir_wallet_change *c), void *ctx);

/* A balance that falls below `below` leaves a WEIR_ENTRY_TOP_UP that asks for `ask`, once until it
 * was at or above it again. Not durable: said anew at every start. below INT64_MIN: none. */
int weir_ledger_threshold(struct weir_ledger *l, uint32_t wallet, int64_t below_nano,
			  int64_t ask_nano);

/* Random UUID made with the database, as text; seq of the newest entry, 0: none. */
const char *weir_ledger_id(const struct weir_ledger *l);
uint64_t weir_ledger_newest(const struct weir_ledger *l);
uint64_t weir_ledger_newest_ns(const struct weir_ledger *l); /* its time; it never goes back */

/* Drop the projections and make them again from the log. */
int weir_ledger_rebuild(struct weir_ledger *l, struct weir_error *err);

/* Where a consumer of the log (the outbox) stands. Durable on return. */
int weir_ledger_cursor_set(struct weir_ledger *l, const char *name, uint64_t seq,
			   struct weir_error *err);

/* Where the events of a stream stand (delivery.md, 12). Numbers are the stream's own. */
struct weir_stream_cursor {
	uint64_t seq;	      /* ledger entry up to which all is acknowledged */
	uint64_t stream_seq;  /* highest number of these; 0: none is known */
	uint64_t stream_from; /* events of later entries, if there, have higher ones than this */
	uint64_t made_ns;     /* when the stream was created: which one it is; 0: none yet */
};
/* Several at once, in one commit. Durable on return. */
int weir_ledger_stream_cursors_set(struct weir_ledger *l, const char *const *names,
				   const struct weir_stream_cursor *cursors, size_t n,
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
