// SPDX-License-Identifier: Apache-2.0
/*
 * The projections as rows: written with each group, so that what is read is never behind the log.
 */
#include <errno.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/store.h"

static const char *const sql[WEIR_ST_MAX] = {
	[WEIR_ST_ENTRY] =
		"INSERT INTO entry (" WEIR_ENTRY_COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?)",
	[WEIR_ST_ACCOUNT] = "INSERT OR REPLACE INTO account (idx, " WEIR_FIGURE_COLUMNS
			    ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[WEIR_ST_LOT] = "INSERT OR REPLACE INTO lot (seq, wallet, source, priority, voided,"
			" effective, expires, created, schedule, amount, pending, remaining,"
			" expired) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[WEIR_ST_SCHEDULE] = "INSERT INTO schedule (seq, wallet, next, body) VALUES (?1,?2,?3,?4)"
			     " ON CONFLICT (seq) DO UPDATE SET next=?3",
	[WEIR_ST_COUNTER] = "INSERT OR REPLACE INTO counter (key, month, at) VALUES (?,?,?)",
	[WEIR_ST_VOLUME] =
		"INSERT OR REPLACE INTO volume (key, month, tenant, card, entry, wallet, posted,"
		" dimension, weighted, charged) VALUES (?,?,?,?,?,?,?,?,?,?)",
	[WEIR_ST_VOLUME_GONE] = "DELETE FROM volume WHERE key=? AND month=? AND tenant=? AND"
				" card=? AND entry=?",
	[WEIR_ST_SESSION] = "INSERT OR REPLACE INTO session (tenant, key, started) VALUES (?,?,?)",
	[WEIR_ST_REFUND] = "INSERT OR REPLACE INTO refund (seq, nano) VALUES (?,?)",
	[WEIR_ST_WRITE] = "INSERT INTO write (key, seq, content) VALUES (?,?,?)",
	[WEIR_ST_UNPRICED] =
		"INSERT INTO unpriced (what, service, count, first, last) VALUES (?1,?2,1,?3,?3)"
		" ON CONFLICT (what, service) DO UPDATE SET count=count+1, first=min(first,?3),"
		" last=max(last,?3)",
	[WEIR_ST_META] = "INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)",
};

int weir_ledger_prepare(struct weir_ledger *l, struct weir_error *err)
{
	int ret = 0;

	for (int i = 0; i < WEIR_ST_MAX && !ret; i++)
		ret = weir_store_prepare(l->db, sql[i], &l->st[i], err);
	return ret;
}

int weir_ledger_step(struct weir_ledger *l, enum weir_ledger_statement which, const char *doing,
		     struct weir_error *err)
{
	int ret = weir_ledger_holds(l, err);

	if (ret)
		return ret;
	/* The error is the connection's until the next call, and reset is one. */
	if (sqlite3_step(l->st[which]) != SQLITE_DONE)
		ret = weir_store_fail(l->db, err, doing);
	sqlite3_reset(l->st[which]);
	return ret;
}

static void bind(sqlite3_stmt *st, int at, int64_t v)
{
	sqlite3_bind_int64(st, at, v);
}

struct flush {
	struct weir_ledger *l;
	struct weir_error *err;
};

static int put_account(void *ctx, uint32_t index, const struct weir_account *a,
		       int64_t balance_before)
{
	struct flush *c = ctx;
	const struct weir_figures *f = &a->f;
	int64_t v[WEIR_N_FIGURES];
	struct weir_wallet_change change = {
		.wallet = index,
		.delta_nano = a->remaining - f->debt - balance_before,
		.taken_nano = a->taken,
	};

	if (change.delta_nano || change.taken_nano)
		g_array_append_val(c->l->changes, change);
	memcpy(v, f, sizeof(v));
	bind(c->l->st[WEIR_ST_ACCOUNT], 1, index);
	for (int i = 0; i < WEIR_N_FIGURES; i++)
		bind(c->l->st[WEIR_ST_ACCOUNT], i + 2, v[i]);
	return weir_ledger_step(c->l, WEIR_ST_ACCOUNT, "writing an account", c->err);
}

static int put_lot(void *ctx, const struct weir_lot *lot)
{
	struct flush *c = ctx;
	const int64_t v[] = {
		(int64_t)lot->seq,
		lot->wallet,
		lot->source,
		lot->priority,
		lot->voided,
		(int64_t)lot->effective_ns,
		(int64_t)lot->expires_ns,
		(int64_t)lot->created_ns,
		(int64_t)lot->schedule,
		lot->amount,
		lot->pending,
		lot->remaining,
		lot->expired,
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		bind(c->l->st[WEIR_ST_LOT], (int)i + 1, v[i]);
	return weir_ledger_step(c->l, WEIR_ST_LOT, "writing a grant", c->err);
}

static int put_schedule(void *ctx, const struct weir_schedule *s)
{
	struct flush *c = ctx;
	sqlite3_stmt *st = c->l->st[WEIR_ST_SCHEDULE];
	static const struct weir_posting none;
	int ret;

	c->l->body.len = 0;
	if (weir_encode_op(&c->l->body, &s->op, &none))
		return weir_fail(c->err, ENOMEM, "ledger: out of memory");
	bind(st, 1, (int64_t)s->seq);
	bind(st, 2, s->wallet);
	bind(st, 3, (int64_t)s->next_ns);
	sqlite3_bind_blob(st, 4, c->l->body.p, (int)c->l->body.len, SQLITE_STATIC);
	ret = weir_ledger_step(c->l, WEIR_ST_SCHEDULE, "writing a schedule", c->err);
	return ret;
}

static int put_counter(void *ctx, const struct weir_counter *n)
{
	struct flush *c = ctx;
	sqlite3_stmt *st = c->l->st[WEIR_ST_COUNTER];

	sqlite3_bind_text(st, 1, n->key, -1, SQLITE_STATIC);
	bind(st, 2, n->month);
	bind(st, 3, n->at);
	return weir_ledger_step(c->l, WEIR_ST_COUNTER, "writing a counter", c->err);
}

static int put_volume(void *ctx, const struct weir_volume_sum *v, bool gone)
{
	struct flush *c = ctx;
	enum weir_ledger_statement which = gone ? WEIR_ST_VOLUME_GONE : WEIR_ST_VOLUME;
	sqlite3_stmt *st = c->l->st[which];

	sqlite3_bind_text(st, 1, v->key, -1, SQLITE_STATIC);
	bind(st, 2, v->month);
	bind(st, 3, v->tenant);
	bind(st, 4, v->card);
	bind(st, 5, v->entry);
	if (!gone) {
		bind(st, 6, v->wallet);
		bind(st, 7, v->posted);
		bind(st, 8, v->dimension);
		/* Little-endian, as is all that we hash. */
		sqlite3_bind_blob(st, 9, &v->sum.weighted, 16, SQLITE_STATIC);
		sqlite3_bind_blob(st, 10, &v->sum.charged, 16, SQLITE_STATIC);
	}
	return weir_ledger_step(c->l, which, "writing a month's sum", c->err);
}

static int put_session(void *ctx, const struct weir_session *s)
{
	struct flush *c = ctx;
	sqlite3_stmt *st = c->l->st[WEIR_ST_SESSION];

	bind(st, 1, s->tenant);
	sqlite3_bind_text(st, 2, s->key, -1, SQLITE_STATIC);
	bind(st, 3, (int64_t)s->started_ns);
	return weir_ledger_step(c->l, WEIR_ST_SESSION, "writing a session", c->err);
}

static int put_refund(void *ctx, uint64_t seq, int64_t nano)
{
	struct flush *c = ctx;

	bind(c->l->st[WEIR_ST_REFUND], 1, (int64_t)seq);
	bind(c->l->st[WEIR_ST_REFUND], 2, nano);
	return weir_ledger_step(c->l, WEIR_ST_REFUND, "writing a refund", c->err);
}

static int put_meta(struct weir_ledger *l, const char *key, uint64_t v, struct weir_error *err)
{
	sqlite3_stmt *st = l->st[WEIR_ST_META];

	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	bind(st, 2, (int64_t)v);
	return weir_ledger_step(l, WEIR_ST_META, "writing the checkpoint", err);
}

int weir_ledger_put_write(struct weir_ledger *l, const struct weir_op *op, uint64_t seq,
			  struct weir_error *err)
{
	sqlite3_stmt *st = l->st[WEIR_ST_WRITE];
	uint8_t content[WEIR_HASH_BYTES];

	if (weir_op_content(op, content))
		return weir_fail(err, EIO, "ledger: SHA-256 failed in libcrypto");
	sqlite3_bind_text(st, 1, op->key, -1, SQLITE_STATIC);
	bind(st, 2, (int64_t)seq);
	sqlite3_bind_blob(st, 3, content, sizeof(content), SQLITE_STATIC);
	return weir_ledger_step(l, WEIR_ST_WRITE, "writing a write's id", err);
}

/* The checkpoint goes with the group. */
int weir_ledger_flush(struct weir_ledger *l, struct weir_error *err)
{
	struct flush c = { l, err };
	const struct weir_book_changes changes = {
		.ctx = &c,
		.account = put_account,
		.lot = put_lot,
		.schedule = put_schedule,
		.counter = put_counter,
		.volume = put_volume,
		.session = put_session,
		.refund = put_refund,
	};
	int ret;

	g_array_set_size(l->changes, 0);
	ret = weir_book_changes(&l->book, &changes);
	if (!ret && l->next.priced_ns != l->tip.priced_ns)
		ret = put_meta(l, "latest_priced", l->next.priced_ns, err);
	return ret ? ret : put_meta(l, "checkpoint", l->next.seq, err);
}
