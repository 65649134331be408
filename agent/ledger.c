// SPDX-License-Identifier: Apache-2.0
/*
 * The log's writing end: opening, and committing groups of requests. Per row it
 * does as little as it can (plan, encode, hash, one insert); whatever is slow to
 * build is built from the log by those who want it.
 */
#include "agent/ledger.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/store.h"

/* ------------------------------------------------------------- open and close */

static int prepare(struct weir_ledger *l, struct weir_error *err)
{
	static const char insert[] =
		"INSERT INTO entry (" WEIR_ENTRY_COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?)";
	static const char put_account[] =
		"INSERT INTO account VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)"
		" ON CONFLICT (idx) DO UPDATE SET debt=?2, requests=?3, estimated=?4, partial=?5,"
		" input=?6, cache_read=?7, cache_write=?8, output=?9, reasoning=?10, price=?11,"
		" cost=?12";
	static const char put_credit[] =
		"INSERT INTO credit (seq, key, wallet, amount, remaining) VALUES (?,?,?,?,?)";
	int ret;

	ret = weir_store_prepare(l->db, insert, &l->insert, err);
	if (!ret)
		ret = weir_store_prepare(l->db, put_account, &l->put_account, err);
	if (!ret)
		ret = weir_store_prepare(l->db, put_credit, &l->put_credit, err);
	if (!ret)
		ret = weir_store_prepare(l->db, "UPDATE credit SET remaining=? WHERE seq=?",
					 &l->set_remaining, err);
	if (!ret)
		ret = weir_store_prepare(l->db, "UPDATE meta SET value=? WHERE key='checkpoint'",
					 &l->set_checkpoint, err);
	return ret;
}

int weir_ledger_open(const char *path, struct weir_ledger **out, struct weir_error *err)
{
	struct weir_ledger *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return weir_fail(err, ENOMEM, "%s: out of memory", path);
	ret = weir_store_open(path, &l->db, err);
	if (!ret && weir_chain_init(&l->chain))
		ret = weir_fail(err, ENOMEM, "%s: SHA-256 is not to be had from libcrypto", path);
	if (!ret)
		ret = weir_store_meta(l->db, "ledger_id", l->id, sizeof(l->id), err);
	if (!ret)
		ret = prepare(l, err);
	if (!ret)
		ret = weir_ledger_load_names(l, err);
	if (!ret)
		ret = weir_ledger_load(l, err);
	if (ret) {
		weir_ledger_close(l);
		return ret;
	}
	*out = l;
	return 0;
}

void weir_ledger_close(struct weir_ledger *l)
{
	if (!l)
		return;
	weir_store_finalize(&l->insert);
	weir_store_finalize(&l->put_account);
	weir_store_finalize(&l->put_credit);
	weir_store_finalize(&l->set_remaining);
	weir_store_finalize(&l->set_checkpoint);
	weir_store_close(l->db);
	weir_chain_clear(&l->chain);
	weir_accounts_clear(&l->accounts);
	free(l->post.burns);
	free(l->body.p);
	weir_names_free(&l->names);
	free(l);
}

const char *weir_ledger_id(const struct weir_ledger *l)
{
	return l->id;
}

uint64_t weir_ledger_newest(const struct weir_ledger *l)
{
	return l->tip.seq;
}

int64_t weir_ledger_balance_at(struct weir_ledger *l, uint32_t tenant, uint64_t now_ns)
{
	return weir_accounts_balance(&l->accounts, tenant, now_ns);
}

int64_t weir_ledger_balance(struct weir_ledger *l, uint32_t tenant)
{
	return weir_accounts_balance(&l->accounts, tenant, weir_wall_ns());
}

/* ---------------------------------------------------------------- transactions */

int weir_ledger_begin(struct weir_ledger *l, struct weir_error *err)
{
	l->next = l->tip;
	return weir_store_exec(l->db, "BEGIN IMMEDIATE", err, "starting a transaction");
}

static int step_done(struct weir_ledger *l, sqlite3_stmt *st, const char *doing,
		     struct weir_error *err)
{
	int ret = 0;

	/* The error is the connection's until the next call, and reset is one. */
	if (sqlite3_step(st) != SQLITE_DONE)
		ret = weir_store_fail(l->db, err, doing);
	sqlite3_reset(st);
	return ret;
}

static int flush_account(struct weir_ledger *l, uint32_t index, struct weir_error *err)
{
	const struct weir_figures *f = &l->accounts.v[index].f;
	const int64_t v[] = {
		index,
		f->debt,
		f->requests,
		f->estimated,
		f->partial,
		f->tokens.input,
		f->tokens.cache_read,
		f->tokens.cache_write,
		f->tokens.output,
		f->tokens.reasoning,
		f->price,
		f->cost,
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		sqlite3_bind_int64(l->put_account, (int)i + 1, v[i]);
	return step_done(l, l->put_account, "writing an account", err);
}

/* The checkpoint goes with the group, so what is read is never behind the log. */
static int flush(struct weir_ledger *l, struct weir_error *err)
{
	struct weir_accounts *a = &l->accounts;
	int ret = 0;

	for (size_t i = 0; !ret && i < a->n_accounts; i++)
		ret = flush_account(l, a->accounts[i].index, err);
	for (size_t i = 0; !ret && i < a->n_lots; i++) {
		const struct weir_credit_lot *lot =
			weir_account_lot(&a->v[a->lots[i].index], a->lots[i].seq);

		sqlite3_bind_int64(l->set_remaining, 1, lot->remaining);
		sqlite3_bind_int64(l->set_remaining, 2, (sqlite3_int64)lot->seq);
		ret = step_done(l, l->set_remaining, "writing a grant's remainder", err);
	}
	if (ret)
		return ret;
	sqlite3_bind_int64(l->set_checkpoint, 1, (sqlite3_int64)l->next.seq);
	return step_done(l, l->set_checkpoint, "writing the checkpoint", err);
}

int weir_ledger_end(struct weir_ledger *l, int ret, struct weir_error *err)
{
	if (!ret)
		ret = flush(l, err);
	if (!ret)
		ret = weir_store_exec(l->db, "COMMIT", err, "committing");
	if (ret) {
		/* SQLite may have rolled back by itself already. */
		if (!sqlite3_get_autocommit(l->db))
			sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
		weir_accounts_rollback(&l->accounts);
		return ret;
	}
	weir_accounts_commit(&l->accounts);
	l->tip = l->next;
	return 0;
}

/* --------------------------------------------------------------------- entries */

int weir_ledger_put(struct weir_ledger *l, struct weir_entry_head *h, struct weir_error *err)
{
	struct weir_entry_row r;
	int rc, ret = 0;

	h->seq = l->next.seq + 1;
	r.head = *h;
	r.body = l->body.p;
	r.n_body = l->body.len;
	if (weir_chain_hash(&l->chain, l->next.hash, h, r.body, r.n_body, r.hash))
		return weir_fail(err, EIO, "ledger: SHA-256 failed in libcrypto");
	weir_entry_row_bind(l->insert, &r);
	rc = sqlite3_step(l->insert);
	if (rc == SQLITE_CONSTRAINT_UNIQUE) {
		ret = -EEXIST;
	} else if (rc != SQLITE_DONE) {
		ret = weir_store_fail(l->db, err, "writing an entry");
		/* Of all constraints only the id's means "known". */
		ret = ret == -EEXIST ? -EIO : ret;
	}
	sqlite3_reset(l->insert);
	if (ret)
		return ret;
	l->next.seq = h->seq;
	l->next.time_ns = h->time_ns;
	memcpy(l->next.hash, r.hash, sizeof(r.hash));
	return 0;
}

/* A request that cannot be posted (numbers that no sane card gives) is kept all
 * the same, as one that nobody pays, and said aloud: usage is never dropped. */
static const struct weir_row *unpost(const struct weir_row *row, struct weir_row *copy)
{
	weir_log(WEIR_ERR,
		 "ledger: tenant %" PRIu32 ", wallet %" PRIu32 ": a price of %" PRId64
		 " nano-credits cannot be posted; the request is recorded unposted, check the card",
		 row->tenant, row->wallet, row->price_nano);
	*copy = *row;
	copy->flags = (uint16_t)(copy->flags & ~WEIR_ROW_POSTED);
	return copy;
}

static int append_row(struct weir_ledger *l, const struct weir_row *row, struct weir_error *err)
{
	struct weir_entry_head h = {
		.id = row->id,
		.kind = WEIR_ENTRY_USAGE,
		.tenant = row->tenant,
		.wallet = row->wallet,
		.time_ns =
			row->ended_wall_ns > l->next.time_ns ? row->ended_wall_ns : l->next.time_ns,
	};
	struct weir_row copy;
	int ret;

	ret = weir_accounts_plan_usage(&l->accounts, row, h.time_ns, &h, &l->post);
	if (ret == -ERANGE) {
		row = unpost(row, &copy);
		ret = weir_accounts_plan_usage(&l->accounts, row, h.time_ns, &h, &l->post);
	}
	l->body.len = 0;
	if (!ret)
		ret = weir_encode_usage(&l->body, row, &l->post);
	if (ret)
		return weir_fail(err, -ret, "ledger: out of memory");
	ret = weir_ledger_put(l, &h, err);
	if (ret)
		return ret;
	ret = weir_accounts_apply_usage(&l->accounts, row, &l->post);
	if (ret == -ENOMEM)
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	assert(!ret); /* burns + debt = price, and each burn was there */
	assert(weir_accounts_balance(&l->accounts, row->wallet, h.time_ns) == h.after_nano);
	return 0;
}

int weir_ledger_append(struct weir_ledger *l, const struct weir_row *rows, size_t n, size_t *known,
		       struct weir_error *err)
{
	size_t again = 0;
	int ret;

	ret = weir_ledger_begin(l, err);
	if (ret)
		return ret;
	for (size_t i = 0; !ret && i < n; i++) {
		ret = append_row(l, &rows[i], err);
		if (ret == -EEXIST) {
			again++;
			ret = 0;
		}
	}
	ret = weir_ledger_end(l, ret, err);
	if (!ret && known)
		*known = again;
	return ret;
}
