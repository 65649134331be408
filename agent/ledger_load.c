// SPDX-License-Identifier: Apache-2.0
/*
 * From the database to memory: the last checkpoint, then the entries after it.
 * A checkpoint of 0 rebuilds everything from the log.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/store.h"

static int broken(struct weir_ledger *l, uint64_t seq, struct weir_error *err)
{
	return weir_fail(err, EBADMSG,
			 "%s: entry %" PRIu64 " is damaged; run `weirctl ledger verify`, then "
			 "restore a backup",
			 sqlite3_db_filename(l->db, "main"), seq);
}

static int load_tip(struct weir_ledger *l, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_entry_row r;
	int rc;

	if (sqlite3_prepare_v2(l->db,
			       "SELECT " WEIR_ENTRY_COLUMNS " FROM entry ORDER BY seq DESC LIMIT 1",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading the newest entry");
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return weir_store_fail(l->db, err, "reading the newest entry");
	if (weir_entry_row_read(st, &r))
		return broken(l, (uint64_t)sqlite3_column_int64(st, 0), err);
	l->tip.seq = r.head.seq;
	l->tip.time_ns = r.head.time_ns;
	memcpy(l->tip.hash, r.hash, sizeof(r.hash));
	return 0;
}

static int load_accounts(struct weir_ledger *l, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(l->db,
			       "SELECT idx, debt, requests, estimated, partial, input, cache_read,"
			       " cache_write, output, reasoning, price, cost FROM account",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading accounts");
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct weir_account *acc = weir_accounts_get(
			&l->accounts, (uint32_t)sqlite3_column_int64(st, 0), true);

		if (!acc)
			return weir_fail(err, ENOMEM, "ledger: out of memory");
		acc->f.debt = sqlite3_column_int64(st, 1);
		acc->f.requests = sqlite3_column_int64(st, 2);
		acc->f.estimated = sqlite3_column_int64(st, 3);
		acc->f.partial = sqlite3_column_int64(st, 4);
		acc->f.tokens.input = sqlite3_column_int64(st, 5);
		acc->f.tokens.cache_read = sqlite3_column_int64(st, 6);
		acc->f.tokens.cache_write = sqlite3_column_int64(st, 7);
		acc->f.tokens.output = sqlite3_column_int64(st, 8);
		acc->f.tokens.reasoning = sqlite3_column_int64(st, 9);
		acc->f.price = sqlite3_column_int64(st, 10);
		acc->f.cost = sqlite3_column_int64(st, 11);
	}
	return rc == SQLITE_DONE ? 0 : weir_store_fail(l->db, err, "reading accounts");
}

/* Terms from the log, what is left from the checkpoint. */
static int load_lots(struct weir_ledger *l, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(l->db,
			       "SELECT " WEIR_ENTRY_COLUMNS
			       ", rest FROM (SELECT seq, remaining AS rest"
			       " FROM credit WHERE remaining > 0) JOIN entry USING (seq)",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading grants");
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct weir_entry_row r;
		struct weir_grant g;
		struct weir_credit_lot lot;
		bool now;

		if (weir_entry_row_read(st, &r) || r.head.kind != WEIR_ENTRY_GRANT ||
		    weir_decode_grant(&r.head, r.body, r.n_body, &g, &now, &l->post))
			return broken(l, (uint64_t)sqlite3_column_int64(st, 0), err);
		weir_lot_from_grant(&lot, &g, r.head.seq, r.head.time_ns);
		lot.remaining = sqlite3_column_int64(st, WEIR_ENTRY_N_COLUMNS);
		if (weir_accounts_load_lot(&l->accounts, g.tenant, &lot))
			return weir_fail(err, ENOMEM, "ledger: out of memory");
	}
	return rc == SQLITE_DONE ? 0 : weir_store_fail(l->db, err, "reading grants");
}

static int replay_entry(struct weir_ledger *l, const struct weir_entry_row *r,
			struct weir_error *err)
{
	struct weir_row row;
	struct weir_grant g;
	bool now;
	int ret;

	switch (r->head.kind) {
	case WEIR_ENTRY_USAGE:
		ret = weir_decode_usage(&r->head, r->body, r->n_body, &row, &l->post);
		if (!ret)
			ret = weir_accounts_apply_usage(&l->accounts, &row, &l->post);
		break;
	case WEIR_ENTRY_GRANT:
		ret = weir_decode_grant(&r->head, r->body, r->n_body, &g, &now, &l->post);
		if (!ret)
			ret = weir_accounts_apply_grant(&l->accounts, &g, &r->head, &l->post);
		if (!ret)
			return weir_ledger_put_credit(l, &r->head, &g, g.amount_nano, err);
		break;
	default:
		ret = -EBADMSG;
	}
	if (ret == -ENOMEM)
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	return ret ? broken(l, r->head.seq, err) : 0;
}

static int replay(struct weir_ledger *l, uint64_t after, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_entry_row r;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(
		    l->db, "SELECT " WEIR_ENTRY_COLUMNS " FROM entry WHERE seq > ? ORDER BY seq",
		    -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "reading the log");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)after);
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (weir_entry_row_read(st, &r))
			ret = broken(l, (uint64_t)sqlite3_column_int64(st, 0), err);
		else
			ret = replay_entry(l, &r, err);
	}
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(l->db, err, "reading the log");
	return ret;
}

int weir_ledger_load(struct weir_ledger *l, struct weir_error *err)
{
	char text[24];
	uint64_t checkpoint;
	int ret;

	ret = weir_store_meta(l->db, "checkpoint", text, sizeof(text), err);
	if (!ret)
		ret = load_tip(l, err);
	if (!ret)
		ret = load_accounts(l, err);
	if (!ret)
		ret = load_lots(l, err);
	if (ret)
		return ret;
	checkpoint = strtoull(text, NULL, 10);
	if (checkpoint == l->tip.seq)
		return 0;
	if (checkpoint > l->tip.seq)
		return weir_fail(err, EBADMSG,
				 "%s: entries after %" PRIu64 " are gone (checkpoint %" PRIu64
				 "); restore a backup",
				 sqlite3_db_filename(l->db, "main"), l->tip.seq, checkpoint);
	ret = weir_ledger_begin(l, err);
	if (ret)
		return ret;
	return weir_ledger_end(l, replay(l, checkpoint, err), err);
}

int weir_ledger_rebuild(struct weir_ledger *l, struct weir_error *err)
{
	int ret;

	ret = weir_ledger_begin(l, err);
	if (ret)
		return ret;
	ret = weir_store_exec(l->db, "DELETE FROM account; DELETE FROM credit", err,
			      "dropping the projections");
	if (!ret) {
		weir_accounts_clear(&l->accounts);
		ret = replay(l, 0, err);
	}
	ret = weir_ledger_end(l, ret, err);
	if (ret) {
		/* The database is as it was: have memory agree with it again. */
		weir_accounts_clear(&l->accounts);
		if (weir_ledger_load(l, NULL))
			weir_log(WEIR_ERR, "ledger: balances are lost until the agent restarts");
	}
	return ret;
}
