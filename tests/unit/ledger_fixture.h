/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger in a folder of its own, and rows to put into it. For the tests of
 * what writes and reads ledgers.
 */
#ifndef WEIR_LEDGER_FIXTURE_H
#define WEIR_LEDGER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/ledger.h"
#include "agent/ledger_read.h"
#include "agent/money.h"
#include "agent/price.h"
#include "agent/store.h"

#define SECOND UINT64_C(1000000000)

struct fixture {
	char dir[64], path[96];
	struct weir_ledger *l;
	struct weir_error err;
	uint32_t acme, beta; /* tenants */
	uint64_t t0;	     /* about now, wall */
	uint64_t made;	     /* rows */
	uint32_t card;
};

#define ok(f, expr)                                                                                \
	do {                                                                                       \
		int ok_ret = (expr);                                                               \
		if (ok_ret)                                                                        \
			fail_msg("%s: %d: %s", #expr, ok_ret, (f)->err.text);                      \
	} while (0)

/* An input token costs a nano-credit, all else nothing: any price is so many tokens. */
static inline void fixture_card(struct fixture *f)
{
	static const char json[] =
		"{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":["
		"{\"match\":\"llama*\",\"price\":{\"input\":\"0.000000001\",\"output\":\"0\","
		"\"cache_read\":\"0\",\"cache_write\":\"0\",\"per\":1}}]}";
	struct weir_card *card;

	ok(f, weir_card_parse(json, "test", &card, &f->err));
	ok(f, weir_ledger_card(f->l, card, &f->card, &f->err));
	weir_card_free(card);
}

static inline int fixture_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	/* In memory: hundreds of small commits, and what a disk makes of them is not tested here.
	 */
	strcpy(f->dir, access("/dev/shm", W_OK) ? "/tmp/weir-ledger-XXXXXX"
						: "/dev/shm/weir-ledger-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/weir.db", f->dir);
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	ok(f, weir_ledger_tenant(f->l, "acme", &f->acme, &f->err));
	ok(f, weir_ledger_tenant(f->l, "beta", &f->beta, &f->err));
	fixture_card(f);
	f->t0 = weir_wall_ns();
	*state = f;
	return 0;
}

static inline int fixture_down(void **state)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	struct fixture *f = *state;
	char name[128];

	weir_ledger_close(f->l);
	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", f->path, ends[i]);
		unlink(name);
	}
	rmdir(f->dir);
	free(f);
	return 0;
}

static inline void reopen(struct fixture *f)
{
	weir_ledger_close(f->l);
	f->l = NULL;
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
}

static inline int64_t nano(const char *credits)
{
	int64_t v;

	assert_int_equal(weir_money_parse(credits, &v), 0);
	return v;
}

/* A billable, posted request that started and ended then, at that price. */
static inline struct weir_row make_row(struct fixture *f, uint32_t tenant, uint64_t started_ns,
				       const char *price)
{
	struct weir_row r = {
		.started_wall_ns = started_ns,
		.ended_wall_ns = started_ns + SECOND,
		.ttft_us = 12345,
		.tenant = tenant,
		.wallet = tenant,
		.service = 1,
		.status = 200,
		.usage_source = WEIR_USAGE_REPORTED,
		.flags = WEIR_ROW_BILLABLE | WEIR_ROW_POSTED,
		.card_id = f->card,
		.usage = { nano(price), 20, WEIR_UNKNOWN, 30, WEIR_UNKNOWN },
		.audio = WEIR_UNKNOWN,
		.image = WEIR_UNKNOWN,
		.price_nano = nano(price),
		.reserved_nano = 5,
		.request_bytes = ~UINT64_C(0),
		.response_bytes = 999,
		.client = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 7 },
		.method = "POST",
		.path = "/v1/chat/completions",
		.model = "llama-3.3-70b",
		.response_id = "chatcmpl-1",
		.finish_reason = "stop",
	};
	uint64_t n = ++f->made;

	for (int i = 0; i < 8; i++) {
		r.id.b[i] = (uint8_t)(started_ns >> (56 - 8 * i));
		r.id.b[8 + i] = (uint8_t)(n >> (56 - 8 * i));
	}
	return r;
}

static inline void append(struct fixture *f, const struct weir_row *rows, size_t n)
{
	size_t known = 99;

	ok(f, weir_ledger_append(f->l, rows, n, &known, &f->err));
	assert_int_equal(known, 0);
}

static inline void spend(struct fixture *f, uint32_t tenant, uint64_t started_ns, const char *price)
{
	struct weir_row r = make_row(f, tenant, started_ns, price);

	append(f, &r, 1);
}

static inline struct weir_op make_op(uint32_t tenant, enum weir_entry_kind kind, const char *key,
				     const char *amount)
{
	struct weir_op op = {
		.kind = (uint8_t)kind,
		.tenant = tenant,
		.wallet = tenant,
		.amount_nano = nano(amount),
		.priority = 100,
		.actor = "root",
		.reason = "test",
	};

	snprintf(op.key, sizeof(op.key), "%s", key);
	return op;
}

static inline struct weir_op make_grant(uint32_t tenant, const char *key, const char *amount)
{
	return make_op(tenant, WEIR_ENTRY_GRANT, key, amount);
}

static inline uint64_t post_at(struct fixture *f, const struct weir_op *op, uint64_t now_ns)
{
	struct weir_done done = { .repeated = true };

	ok(f, weir_ledger_post(f->l, op, now_ns, &done, &f->err));
	assert_false(done.repeated);
	return done.seq;
}

static inline uint64_t grant(struct fixture *f, const struct weir_op *g)
{
	return post_at(f, g, weir_wall_ns());
}

static inline uint64_t give(struct fixture *f, uint32_t tenant, const char *key, const char *amount)
{
	struct weir_op g = make_grant(tenant, key, amount);

	return grant(f, &g);
}

static inline void assert_balance(struct fixture *f, uint32_t tenant, const char *credits)
{
	char text[WEIR_MONEY_TEXT];

	weir_money_format(weir_ledger_balance(f->l, tenant), text);
	assert_string_equal(text, credits);
}

static inline struct weir_reader *reader(struct fixture *f)
{
	struct weir_reader *rd;

	ok(f, weir_reader_open(f->path, &rd, &f->err));
	return rd;
}

/* Outside of every rule of ours, as somebody with a shell would. */
static inline int sql(struct fixture *f, const char *text)
{
	sqlite3 *db;
	int rc;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	rc = sqlite3_exec(db, text, NULL, NULL, NULL);
	sqlite3_close(db);
	return rc;
}

static inline void assert_verifies(struct fixture *f)
{
	struct weir_reader *rd = reader(f);
	struct weir_verify v;

	ok(f, weir_reader_verify(rd, &v, &f->err));
	assert_int_equal(v.wrong_seq, 0);
	weir_reader_close(rd);
}

/* Entries as copies that outlive the reader. */
struct kept {
	size_t n;
	struct weir_entry e[64];
	struct weir_row row[64];
	struct weir_op op[64];
	struct weir_move moves[64][8];
	char tenant[64][16], wallet[64][16]; /* "" if there is no name */
};

static inline int keep(const struct weir_entry *e, void *ctx)
{
	struct kept *k = ctx;
	size_t i = k->n++;

	assert_true(i < 64 && e->n_moves <= 8);
	k->e[i] = *e;
	snprintf(k->tenant[i], 16, "%s", e->tenant_name ? e->tenant_name : "");
	snprintf(k->wallet[i], 16, "%s", e->wallet_name ? e->wallet_name : "");
	if (e->row)
		k->row[i] = *e->row;
	if (e->op)
		k->op[i] = *e->op;
	if (e->n_moves)
		memcpy(k->moves[i], e->moves, e->n_moves * sizeof(*e->moves));
	return 0;
}

static inline struct kept *entries(struct fixture *f, struct weir_entry_query q)
{
	static struct kept k;
	struct weir_reader *rd = reader(f);

	memset(&k, 0, sizeof(k));
	ok(f, weir_reader_entries(rd, &q, keep, &k, &f->err));
	weir_reader_close(rd);
	return &k;
}

static inline struct kept *all(struct fixture *f)
{
	return entries(f, (struct weir_entry_query){ 0 });
}

static inline void assert_money(int64_t is, const char *credits)
{
	assert_int_equal(is, nano(credits));
}

/* What an entry owes more, or less. */
static inline int64_t debt_of(const struct kept *k, size_t i)
{
	int64_t sum = 0;

	for (size_t m = 0; m < k->e[i].n_moves; m++)
		sum += k->moves[i][m].purse == WEIR_PURSE_DEBT ? k->moves[i][m].nano : 0;
	return sum;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

#endif
