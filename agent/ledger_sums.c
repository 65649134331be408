// SPDX-License-Identifier: Apache-2.0
/*
 * What the projections say, as a reader sees them: usage per tenant, a wallet's
 * balance and grants. Both are as of the last commit, never behind the log.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_accounts.h"
#include "agent/ledger_read_priv.h"
#include "agent/store.h"

static void read_sum(struct weir_reader *rd, sqlite3_stmt *st, struct weir_usage_sum *s)
{
	*s = (struct weir_usage_sum){
		.tenant = (uint32_t)sqlite3_column_int64(st, 0),
		.requests = sqlite3_column_int64(st, 1),
		.estimated = sqlite3_column_int64(st, 2),
		.partial = sqlite3_column_int64(st, 3),
		.tokens.input = sqlite3_column_int64(st, 4),
		.tokens.cache_read = sqlite3_column_int64(st, 5),
		.tokens.cache_write = sqlite3_column_int64(st, 6),
		.tokens.output = sqlite3_column_int64(st, 7),
		.tokens.reasoning = sqlite3_column_int64(st, 8),
		.price_nano = sqlite3_column_int64(st, 9),
		.cost_nano = sqlite3_column_int64(st, 10),
	};
	s->name = weir_reader_tenant_name(rd, s->tenant);
}

int weir_reader_usage(struct weir_reader *rd, uint32_t tenant,
		      int (*fn)(const struct weir_usage_sum *s, void *ctx), void *ctx,
		      struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_usage_sum s;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(rd->db,
			       "SELECT idx, requests, estimated, partial, input, cache_read,"
			       " cache_write, output, reasoning, price, cost FROM account"
			       " WHERE requests > 0 AND (?1 = 0 OR idx = ?1) ORDER BY idx",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading usage");
	sqlite3_bind_int64(st, 1, tenant);
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		read_sum(rd, st, &s);
		ret = fn(&s, ctx);
	}
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(rd->db, err, "reading usage");
	return ret;
}

/* --------------------------------------------------------------------- balance */

void weir_balance_clear(struct weir_balance *b)
{
	free(b->grants);
	*b = (struct weir_balance){ 0 };
}

static void as_lot(const struct weir_grant_state *s, struct weir_credit_lot *lot)
{
	weir_lot_from_grant(lot, &s->grant, s->seq, s->created_ns);
}

static int by_burn_order(const void *x, const void *y)
{
	struct weir_credit_lot a, b;

	as_lot(x, &a);
	as_lot(y, &b);
	return weir_lot_compare(&a, &b);
}

static int add_grant(struct weir_reader *rd, sqlite3_stmt *st, struct weir_balance *b, size_t *cap,
		     struct weir_error *err)
{
	struct weir_grant_state *s;
	struct weir_entry_row r;
	bool now;

	if (b->n_grants == *cap) {
		size_t want = *cap ? 2 * *cap : 16;

		s = reallocarray(b->grants, want, sizeof(*s));
		if (!s)
			return weir_fail(err, ENOMEM, "ledger: out of memory for grants");
		b->grants = s;
		*cap = want;
	}
	s = &b->grants[b->n_grants];
	if (weir_entry_row_read(st, &r) || r.head.kind != WEIR_ENTRY_GRANT ||
	    weir_decode_grant(&r.head, r.body, r.n_body, &s->grant, &now, &rd->post))
		return weir_reader_damaged(rd, (uint64_t)sqlite3_column_int64(st, 0), err);
	s->seq = r.head.seq;
	s->id = r.head.id;
	s->created_ns = r.head.time_ns;
	s->remaining_nano = sqlite3_column_int64(st, WEIR_ENTRY_N_COLUMNS);
	b->n_grants++;
	return 0;
}

static int read_grants(struct weir_reader *rd, uint32_t tenant, struct weir_balance *b,
		       struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	size_t cap = 0;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(rd->db,
			       "SELECT " WEIR_ENTRY_COLUMNS ", rest FROM (SELECT seq,"
			       " remaining AS rest FROM credit WHERE wallet = ?)"
			       " JOIN entry USING (seq)",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading grants");
	sqlite3_bind_int64(st, 1, tenant);
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW)
		ret = add_grant(rd, st, b, &cap, err);
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(rd->db, err, "reading grants");
	return ret;
}

static int read_debt(struct weir_reader *rd, uint32_t tenant, int64_t *debt, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(rd->db, "SELECT debt FROM account WHERE idx = ?", -1, &st, NULL) !=
	    SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading a wallet");
	sqlite3_bind_int64(st, 1, tenant);
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(rd->db, err, "reading a wallet");
	*debt = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	return 0;
}

int weir_reader_balance(struct weir_reader *rd, uint32_t tenant, uint64_t now_ns,
			struct weir_balance *out, struct weir_error *err)
{
	struct weir_balance b = { 0 };
	int ret;

	/* One snapshot: grants and debt of the same commit. */
	ret = weir_store_exec(rd->db, "BEGIN", err, "reading a balance");
	if (ret)
		return ret;
	ret = read_grants(rd, tenant, &b, err);
	if (!ret)
		ret = read_debt(rd, tenant, &b.debt_nano, err);
	sqlite3_exec(rd->db, "COMMIT", NULL, NULL, NULL);
	if (ret) {
		weir_balance_clear(&b);
		return ret;
	}
	b.balance_nano = -b.debt_nano;
	for (size_t i = 0; i < b.n_grants; i++) {
		const struct weir_grant_state *s = &b.grants[i];

		if (s->grant.effective_ns <= now_ns &&
		    (!s->grant.expires_ns || now_ns < s->grant.expires_ns))
			b.balance_nano += s->remaining_nano;
	}
	if (b.n_grants)
		qsort(b.grants, b.n_grants, sizeof(*b.grants), by_burn_order);
	*out = b;
	return 0;
}
