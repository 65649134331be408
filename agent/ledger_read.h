/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the ledger, from any thread but one reader per thread: a connection
 * of its own, read-only. It never writes and never holds a snapshot for long
 * (a long reader makes the WAL grow): walks are cut into pages inside.
 */
#ifndef WEIR_LEDGER_READ_H
#define WEIR_LEDGER_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"
#include "ledger_entry.h"
#include "util.h"

struct weir_reader;

/* The database must exist and have the schema of this program. */
int weir_reader_open(const char *path, struct weir_reader **out, struct weir_error *err);
void weir_reader_close(struct weir_reader *r); /* NULL is fine */

/* Random UUID made with the database, as text. Lives as long as the reader. */
const char *weir_reader_ledger_id(const struct weir_reader *r);

/* seq of the newest entry, 0 if there is none. */
int weir_reader_newest(struct weir_reader *r, uint64_t *seq, struct weir_error *err);

/* seq of the first entry whose time is at or past since_ns; newest + 1 if none is. */
int weir_reader_since(struct weir_reader *r, uint64_t since_ns, uint64_t *seq,
		      struct weir_error *err);

/* Numbers and names of tenants that the ledger knows. -ENOENT / NULL if it does
 * not. The string lives as long as the reader. */
int weir_reader_tenant(struct weir_reader *r, const char *name, uint32_t *index,
		       struct weir_error *err);
const char *weir_reader_tenant_name(struct weir_reader *r, uint32_t index);

/* A stored card, parsed, by its row id; NULL if there is none (or id is 0).
 * Lives as long as the reader. */
struct weir_card;
const struct weir_card *weir_reader_card(struct weir_reader *r, uint32_t id);

/* Entries that match all of it, in seq order. Zero means "no such condition". */
struct weir_entry_query {
	uint64_t from_seq; /* seq >= this */
	uint64_t since_ns; /* wall; time >= this */
	uint64_t until_ns; /* wall; time < this */
	uint32_t tenant;   /* its own entries, and those its wallet paid */
	uint32_t kinds;	   /* bits 1u << enum weir_entry_kind */
	size_t limit;	   /* at most so many are handed out */
	bool newest_first; /* in falling seq order instead */
	/* Asked with fn's ctx before an entry is decoded: can this body be meant? NULL: any. Of
	 * few among many it makes the walk fast. */
	bool (*maybe)(const void *body, size_t n, void *ctx);
	/* How far the walk is, every few thousand entries, whether or not any of them matched;
	 * called with fn's ctx. Not 0 ends the walk and is its result. NULL: not wanted. */
	int (*page)(uint64_t seq, void *ctx);
};

/* Called per entry; not 0 ends the walk and is its result. */
typedef int (*weir_entry_fn)(const struct weir_entry *e, void *ctx);
int weir_reader_entries(struct weir_reader *r, const struct weir_entry_query *q, weir_entry_fn fn,
			void *ctx, struct weir_error *err);

/* The one entry of that id (a request's, a grant's): fn is called once. -ENOENT. */
int weir_reader_find(struct weir_reader *r, const struct weir_id *id, weir_entry_fn fn, void *ctx,
		     struct weir_error *err);

/* The newest entry before seq whose kind is one of these bits; *out 0: there is none. -ENOENT: it
 * would be in a sealed month that is not there. */
int weir_reader_previous(struct weir_reader *r, uint64_t seq, uint32_t kinds, uint64_t *out,
			 struct weir_error *err);

/* Sums of everything a tenant ever used. Counts are disjoint; unknown counts
 * add nothing; a sum past int64 stays there. */
struct weir_usage_sum {
	uint32_t tenant;
	const char *name; /* may be NULL */
	int64_t requests;
	int64_t estimated; /* requests whose usage was estimated */
	int64_t partial;
	struct weir_usage tokens; /* sums, never WEIR_UNKNOWN */
	int64_t audio, image;
	int64_t price_nano;
	int64_t cost_nano;
	int64_t refunded_nano;
};
/* tenant 0: each tenant that has any, in index order. */
int weir_reader_usage(struct weir_reader *r, uint32_t tenant,
		      int (*fn)(const struct weir_usage_sum *s, void *ctx), void *ctx,
		      struct weir_error *err);

/* Σ remaining - debt as of the last commit; but what was due by now_ns (wall) and is not entered
 * yet counts as if it were, but for recurrences. Lots in burn order; used up, expired and pending
 * ones too. */
struct weir_balance {
	int64_t balance_nano;
	int64_t debt_nano;
	size_t n_lots;
	struct weir_lot *lots;
	struct weir_id *ids; /* of their entries, [n_lots] */
};
int weir_reader_balance(struct weir_reader *r, uint32_t wallet, uint64_t now_ns,
			struct weir_balance *out, struct weir_error *err);
void weir_balance_clear(struct weir_balance *b);

/* A recurrence: as its entry said, and where it stands. */
struct weir_schedule_state {
	uint64_t seq;
	uint64_t next_ns; /* the next boundary; 0: stopped */
	struct weir_op op;
};
/* wallet 0: of all. */
int weir_reader_schedules(struct weir_reader *r, uint32_t wallet,
			  int (*fn)(const struct weir_schedule_state *s, void *ctx), void *ctx,
			  struct weir_error *err);

/* How much of an entry was refunded. */
int weir_reader_refunded(struct weir_reader *r, uint64_t seq, int64_t *nano,
			 struct weir_error *err);

/* The entry that somebody made under a key (a write's id). -ENOENT. */
int weir_reader_by_key(struct weir_reader *r, const char *key, uint64_t *seq,
		       struct weir_error *err);

/* Where a counter of steps stands (weir_counter_key, weir_month_of); 0 if it never moved. */
int weir_reader_counter(struct weir_reader *r, const char *key, uint32_t month, int64_t *at,
			struct weir_error *err);

/* Models, paths and meters that no card had a price for, by service; latest first. */
struct weir_unpriced {
	const char *what; /* model, or "meter:storage_gb", "meter:gpu_second/a100"; "" where the
			     answer named none */
	uint16_t service;
	int64_t count;
	uint64_t first_ns, last_ns; /* started, wall */
};
int weir_reader_unpriced(struct weir_reader *r, int (*fn)(const struct weir_unpriced *u, void *ctx),
			 void *ctx, struct weir_error *err);

/* Where a consumer of the log stands (weir_ledger_cursor_set); 0 if never set. */
int weir_reader_cursor(struct weir_reader *r, const char *name, uint64_t *seq,
		       struct weir_error *err);
/* All 0 if never set. */
int weir_reader_stream_cursor(struct weir_reader *r, const char *name,
			      struct weir_stream_cursor *out, struct weir_error *err);

/* Recompute everything from the log: hash chain, time, prices from the stored cards (positions,
 * sessions), what falls due, burns, balances, and the projections at the end. */
struct weir_verify {
	uint64_t entries;   /* looked at */
	uint64_t repriced;  /* of these, prices recomputed from a card */
	uint64_t wrong_seq; /* first wrong entry; 0: none, or none in particular */
	char wrong[256];    /* what is wrong with it, or with a projection */
	/* Not 0: so many entries are in segments that are not there. The chain was taken up again
	 * from the hashes that were noted when they were sealed; nothing behind them was
	 * recomputed but the chain. */
	uint64_t missing;
	char missing_why[256]; /* of the first one */
	uint8_t head[WEIR_HASH_BYTES];
};
/* 0: all agrees. -EBADMSG: it does not, see out. Else it could not be read. */
int weir_reader_verify(struct weir_reader *r, struct weir_verify *out, struct weir_error *err);
/* The chain only: numbers, time, hashes. */
int weir_reader_verify_chain(struct weir_reader *r, struct weir_verify *out,
			     struct weir_error *err);

#endif
