// SPDX-License-Identifier: Apache-2.0
/*
 * What the projections say, as a reader sees them: usage per tenant, counters, refunds, writes.
 * All are as of the last commit, never behind the log.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
		.audio = sqlite3_column_int64(st, 9),
		.image = sqlite3_column_int64(st, 10),
		.price_nano = sqlite3_column_int64(st, 11),
		.cost_nano = sqlite3_column_int64(st, 12),
		.refunded_nano = sqlite3_column_int64(st, 13),
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
			       " cache_write, output, reasoning, audio, image, price, cost,"
			       " refunded FROM account"
			       " WHERE (requests > 0 OR price > 0 OR refunded > 0)"
			       " AND (?1 = 0 OR idx = ?1) ORDER BY idx",
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

/* ------------------------------------------------------------------ schedules */

static int read_schedule(struct weir_reader *rd, sqlite3_stmt *st, struct weir_schedule_state *s,
			 struct weir_error *err)
{
	struct weir_entry_head h = { .kind = WEIR_ENTRY_SCHEDULE,
				     .seq = (uint64_t)sqlite3_column_int64(st, 0),
				     .tenant = (uint32_t)sqlite3_column_int64(st, 1),
				     .wallet = (uint32_t)sqlite3_column_int64(st, 1) };
	const void *body = sqlite3_column_blob(st, 3);
	bool old;

	s->seq = h.seq;
	s->next_ns = (uint64_t)sqlite3_column_int64(st, 2);
	if (!body ||
	    weir_decode_op(&h, body, (size_t)sqlite3_column_bytes(st, 3), &s->op, &rd->post, &old))
		return weir_reader_damaged(rd, h.seq, err);
	return 0;
}

int weir_reader_schedules(struct weir_reader *rd, uint32_t wallet,
			  int (*fn)(const struct weir_schedule_state *s, void *ctx), void *ctx,
			  struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_schedule_state s;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(rd->db,
			       "SELECT seq, wallet, next, body FROM schedule"
			       " WHERE ?1 = 0 OR wallet = ?1 ORDER BY seq",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading schedules");
	sqlite3_bind_int64(st, 1, wallet);
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		ret = read_schedule(rd, st, &s, err);
		if (!ret)
			ret = fn(&s, ctx);
	}
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(rd->db, err, "reading schedules");
	return ret;
}

/* ------------------------------------------------------------------ single figures */

int weir_reader_by_key(struct weir_reader *rd, const char *key, uint64_t *seq,
		       struct weir_error *err)
{
	uint64_t found;
	int ret = weir_store_number_of(rd->db, "SELECT seq FROM write WHERE key = ?", key, &found,
				       err);

	if (ret)
		return ret;
	if (!found)
		return weir_fail(err, ENOENT, "id \"%s\": no entry was made under it", key);
	*seq = found;
	return 0;
}

int weir_reader_refunded(struct weir_reader *rd, uint64_t seq, int64_t *nano,
			 struct weir_error *err)
{
	uint64_t n;
	int ret = weir_store_number(rd->db, "SELECT nano FROM refund WHERE seq = ?", seq, &n, err);

	if (!ret)
		*nano = (int64_t)n;
	return ret;
}

int weir_reader_counter(struct weir_reader *rd, const char *key, uint32_t month, int64_t *at,
			struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(rd->db, "SELECT at FROM counter WHERE key = ? AND month = ?", -1,
			       &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading a counter");
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, month);
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(rd->db, err, "reading a counter");
	*at = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
	return 0;
}

/* ------------------------------------------------------------------ unpriced */

int weir_reader_unpriced(struct weir_reader *rd,
			 int (*fn)(const struct weir_unpriced *u, void *ctx), void *ctx,
			 struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(rd->db,
			       "SELECT what, service, count, first, last FROM unpriced"
			       " ORDER BY last DESC, what, service",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading what is unpriced");
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct weir_unpriced u = {
			.what = (const char *)sqlite3_column_text(st, 0),
			.service = (uint16_t)sqlite3_column_int64(st, 1),
			.count = sqlite3_column_int64(st, 2),
			.first_ns = (uint64_t)sqlite3_column_int64(st, 3),
			.last_ns = (uint64_t)sqlite3_column_int64(st, 4),
		};

		if (!u.what)
			return weir_fail(err, ENOMEM, "ledger: out of memory");
		ret = fn(&u, ctx);
	}
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(rd->db, err, "reading what is unpriced");
	return ret;
}
