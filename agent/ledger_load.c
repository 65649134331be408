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

static int out_of_memory(struct weir_error *err)
{
	return weir_fail(err, ENOMEM, "ledger: out of memory");
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

/* ---------------------------------------------------------------- projections */

/* Reads every row of a query. */
static int each(struct weir_ledger *l, const char *sql, int64_t arg,
		int (*fn)(struct weir_ledger *l, sqlite3_stmt *st), const char *doing,
		struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc, ret;

	if (sqlite3_prepare_v2(l->db, sql, -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, doing);
	if (sqlite3_bind_parameter_count(st))
		sqlite3_bind_int64(st, 1, arg);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		ret = fn(l, st);
		if (ret == -ENOMEM)
			return out_of_memory(err);
		if (ret)
			return weir_fail(err, -ret,
					 "%s: %s: a damaged row; run `weirctl ledger verify`",
					 sqlite3_db_filename(l->db, "main"), doing);
	}
	return rc == SQLITE_DONE ? 0 : weir_store_fail(l->db, err, doing);
}

static int load_account(struct weir_ledger *l, sqlite3_stmt *st)
{
	sqlite3_int64 index = sqlite3_column_int64(st, 0);
	int64_t v[WEIR_N_FIGURES];
	struct weir_account *acc;
	struct weir_figures *f;

	if (index < 0 || index >= WEIR_ACCOUNT_MAX)
		return -EBADMSG;
	acc = weir_book_account(&l->book, (uint32_t)index, true);
	if (!acc)
		return -ENOMEM;
	for (int i = 0; i < WEIR_N_FIGURES; i++)
		v[i] = sqlite3_column_int64(st, i + 1);
	f = &acc->f;
	memcpy(f, v, sizeof(v));
	/* Lots that are used up stay where they are: their sum is what the figures say. */
	acc->held = f->issued - f->consumed - f->voided + (uint64_t)f->debt;
	return 0;
}

static int load_lot(struct weir_ledger *l, sqlite3_stmt *st)
{
	struct weir_lot lot = {
		.seq = (uint64_t)sqlite3_column_int64(st, 0),
		.wallet = (uint32_t)sqlite3_column_int64(st, 1),
		.source = (uint8_t)sqlite3_column_int(st, 2),
		.priority = (uint8_t)sqlite3_column_int(st, 3),
		.voided = sqlite3_column_int(st, 4),
		.effective_ns = (uint64_t)sqlite3_column_int64(st, 5),
		.expires_ns = (uint64_t)sqlite3_column_int64(st, 6),
		.created_ns = (uint64_t)sqlite3_column_int64(st, 7),
		.schedule = (uint64_t)sqlite3_column_int64(st, 8),
		.amount = sqlite3_column_int64(st, 9),
		.pending = sqlite3_column_int64(st, 10),
		.remaining = sqlite3_column_int64(st, 11),
		.expired = sqlite3_column_int64(st, 12),
	};

	return lot.wallet < WEIR_ACCOUNT_MAX ? weir_book_load_lot(&l->book, &lot) : -EBADMSG;
}

#define LOT_COLUMNS                                                                                \
	"seq, wallet, source, priority, voided, effective, expires, created, schedule, amount,"    \
	" pending, remaining, expired"

int weir_ledger_load_lot(struct weir_ledger *l, uint64_t seq, struct weir_error *err)
{
	/* Of the open transaction it is newer in memory. */
	if (weir_book_lot(&l->book, seq))
		return 0;
	return each(l, "SELECT " LOT_COLUMNS " FROM lot WHERE seq = ?", (int64_t)seq, load_lot,
		    "reading a grant", err);
}

static int load_schedule(struct weir_ledger *l, sqlite3_stmt *st)
{
	struct weir_schedule s = {
		.seq = (uint64_t)sqlite3_column_int64(st, 0),
		.wallet = (uint32_t)sqlite3_column_int64(st, 1),
		.next_ns = (uint64_t)sqlite3_column_int64(st, 2),
	};
	struct weir_entry_head h = { .kind = WEIR_ENTRY_SCHEDULE,
				     .tenant = s.wallet,
				     .wallet = s.wallet };
	bool old;

	if (weir_decode_op(&h, sqlite3_column_blob(st, 3), (size_t)sqlite3_column_bytes(st, 3),
			   &s.op, &l->post, &old))
		return -EBADMSG;
	s.begun = s.next_ns != s.op.effective_ns;
	return weir_book_load_schedule(&l->book, &s);
}

static int load_counter(struct weir_ledger *l, sqlite3_stmt *st)
{
	return weir_book_load_counter(&l->book, (const char *)sqlite3_column_text(st, 0),
				      (uint32_t)sqlite3_column_int64(st, 1),
				      sqlite3_column_int64(st, 2));
}

static int load_volume(struct weir_ledger *l, sqlite3_stmt *st)
{
	struct weir_volume_sum v = {
		.month = (uint32_t)sqlite3_column_int64(st, 1),
		.tenant = (uint32_t)sqlite3_column_int64(st, 2),
		.card = (uint32_t)sqlite3_column_int64(st, 3),
		.entry = (uint32_t)sqlite3_column_int64(st, 4),
		.wallet = (uint32_t)sqlite3_column_int64(st, 5),
		.posted = sqlite3_column_int(st, 6),
		.dimension = (uint8_t)sqlite3_column_int(st, 7),
	};

	if (v.tenant >= WEIR_ACCOUNT_MAX || v.wallet >= WEIR_ACCOUNT_MAX ||
	    v.dimension >= WEIR_DIM_MAX || sqlite3_column_bytes(st, 8) != 16 ||
	    sqlite3_column_bytes(st, 9) != 16)
		return -EBADMSG;
	memcpy(&v.sum.weighted, sqlite3_column_blob(st, 8), 16);
	memcpy(&v.sum.charged, sqlite3_column_blob(st, 9), 16);
	return weir_book_load_volume(&l->book, &v, (const char *)sqlite3_column_text(st, 0));
}

static int load_session(struct weir_ledger *l, sqlite3_stmt *st)
{
	return weir_book_load_session(&l->book, (uint32_t)sqlite3_column_int64(st, 0),
				      (const char *)sqlite3_column_text(st, 1),
				      (uint64_t)sqlite3_column_int64(st, 2));
}

static int load_refund(struct weir_ledger *l, sqlite3_stmt *st)
{
	return weir_book_load_refund(&l->book, (uint64_t)sqlite3_column_int64(st, 0),
				     sqlite3_column_int64(st, 1));
}

static int load_priced(struct weir_ledger *l, sqlite3_stmt *st)
{
	l->tip.priced_ns = strtoull((const char *)sqlite3_column_text(st, 0), NULL, 10);
	return 0;
}

/* What is older can change nothing any more, or is looked up when it does. */
static int64_t before_tip(const struct weir_ledger *l, uint64_t ns)
{
	return l->tip.time_ns > ns ? (int64_t)(l->tip.time_ns - ns) : 0;
}

static int load_projections(struct weir_ledger *l, struct weir_error *err)
{
	uint32_t month = weir_month_of(l->tip.time_ns);
	int ret;

	ret = each(l, "SELECT idx, " WEIR_FIGURE_COLUMNS " FROM account", 0, load_account,
		   "reading accounts", err);
	if (!ret)
		ret = each(l,
			   "SELECT " LOT_COLUMNS " FROM lot WHERE (pending > 0 OR remaining > 0 OR"
			   " expired > 0) AND (pending > 0 OR remaining > 0 OR expires > ?)",
			   before_tip(l, WEIR_LATE_NS), load_lot, "reading grants", err);
	if (!ret)
		ret = each(l, "SELECT seq, wallet, next, body FROM schedule", 0, load_schedule,
			   "reading schedules", err);
	if (!ret)
		ret = each(l, "SELECT key, month, at FROM counter WHERE month >= ?",
			   month > 1 ? month - 1 : 0, load_counter, "reading counters", err);
	if (!ret)
		ret = each(l,
			   "SELECT key, month, tenant, card, entry, wallet, posted, dimension,"
			   " weighted, charged FROM volume",
			   0, load_volume, "reading months' sums", err);
	if (!ret)
		ret = each(l, "SELECT tenant, key, started FROM session WHERE started > ?",
			   before_tip(l, 2 * WEIR_SESSION_NS), load_session, "reading sessions",
			   err);
	if (!ret)
		ret = each(l, "SELECT seq, nano FROM refund", 0, load_refund, "reading refunds",
			   err);
	return ret ? ret
		   : each(l, "SELECT value FROM meta WHERE key = 'latest_priced'", 0, load_priced,
			  "reading the last price", err);
}

/* ---------------------------------------------------------------------- replay */

/* What it was priced with is in the entry: count it again. */
static int recount(struct weir_ledger *l, struct weir_sale *sale, struct weir_quantities *q)
{
	int64_t positions[WEIR_DIM_MAX] = { 0 };
	struct weir_charge charge;

	if (!sale->card || sale->entry >= sale->card->n_entries)
		return -EBADMSG;
	for (size_t i = 0; i < l->post.n_positions; i++) {
		if (l->post.positions[i].dimension >= WEIR_DIM_MAX)
			return -EBADMSG;
		positions[l->post.positions[i].dimension] = l->post.positions[i].at;
	}
	if (weir_card_charge(sale->card, sale->entry, sale->discount_milli, q, positions, &charge))
		return -EBADMSG;
	if (sale->started_ns > l->next.priced_ns)
		l->next.priced_ns = sale->started_ns;
	return weir_book_count(&l->book, sale, &l->post, &charge);
}

/* What was due and left no entry (a true-up of nothing, a grant that did not fit) is done with
 * where it was then. */
static int pass_by(struct weir_ledger *l, uint64_t time_ns)
{
	struct weir_op due;
	uint64_t at_ns;
	int ret;

	while ((ret = weir_book_due(&l->book, time_ns, &due, &at_ns)) > 0) {
		struct weir_entry_head h = { .time_ns = time_ns,
					     .tenant = due.tenant,
					     .wallet = due.wallet };

		ret = weir_book_plan_due(&l->book, &due, &h, &l->taken);
		if (ret != -ERANGE)
			return ret;
		ret = weir_book_due_drop(&l->book);
		if (ret)
			return ret;
	}
	return ret;
}

static int replay_usage(struct weir_ledger *l, const struct weir_entry_row *r,
			struct weir_error *err)
{
	struct weir_quantities q;
	struct weir_row row;
	bool old;
	int ret = weir_decode_usage(&r->head, r->body, r->n_body, &row, &l->post, &old);
	struct weir_sale sale = {
		.card = !ret && row.card_id ? weir_ledger_card_of(l, row.card_id) : NULL,
		.entry = row.card_entry,
		.discount_milli = row.discount_milli,
		.tenant = row.tenant,
		.wallet = row.wallet,
		.posted = row.flags & WEIR_ROW_POSTED,
		.session = row.flags & WEIR_ROW_TRUSTED ? row.session : NULL,
		.started_ns = row.started_wall_ns,
		.time_ns = r->head.time_ns,
	};

	if (!ret)
		ret = old ? weir_book_pass(&l->book, r->head.time_ns) : pass_by(l, r->head.time_ns);
	if (!ret)
		ret = weir_book_apply_usage(&l->book, &row, &r->head, &l->post, old);
	if (ret)
		return ret;
	if (row.card_id && row.flags & WEIR_ROW_BILLABLE) {
		weir_quantities_of(&row, l->post.session_begins, &q);
		return recount(l, &sale, &q);
	}
	sale.card = NULL;
	return weir_ledger_count_row(l, &row, &sale, NULL, err);
}

static int replay_op(struct weir_ledger *l, const struct weir_entry_row *r, struct weir_error *err)
{
	struct weir_quantities q;
	struct weir_op op;
	bool old;
	int ret = weir_decode_op(&r->head, r->body, r->n_body, &op, &l->post, &old);
	struct weir_sale sale = {
		.card = !ret && op.card_id ? weir_ledger_card_of(l, op.card_id) : NULL,
		.entry = op.card_entry,
		.discount_milli = op.discount_milli,
		.tenant = op.tenant,
		.wallet = op.wallet,
		.posted = op.flags & WEIR_OP_POSTED,
		.session = op.flags & WEIR_OP_TRUSTED ? op.session : NULL,
		.started_ns = op.started_ns,
		.time_ns = r->head.time_ns,
	};

	if (!ret)
		ret = old ? weir_book_pass(&l->book, r->head.time_ns) : pass_by(l, r->head.time_ns);
	if (!ret)
		ret = weir_book_apply_op(&l->book, &op, &r->head, &l->post, old);
	if (!ret && op.key[0])
		ret = weir_ledger_put_write(l, &op, r->head.seq, err);
	if (ret || op.kind != WEIR_ENTRY_METER)
		return ret;
	if (op.card_id) {
		for (int d = 0; d < WEIR_DIM_MAX; d++)
			q.of[d] = WEIR_UNKNOWN;
		q.of[WEIR_DIM_UNIT] = op.quantity_nano;
		q.of[WEIR_DIM_SESSION] = l->post.session_begins;
		return recount(l, &sale, &q);
	}
	return weir_ledger_count_meter(l, &op, &sale, NULL, err);
}

static int replay_part(struct weir_ledger *l, const struct weir_log_part *part, uint64_t from,
		       struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_entry_row r;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(part->db,
			       "SELECT " WEIR_ENTRY_COLUMNS
			       " FROM entry WHERE seq BETWEEN ? AND ? ORDER BY seq",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(part->db, err, "reading the log");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)from);
	sqlite3_bind_int64(st, 2, part->last < INT64_MAX ? (sqlite3_int64)part->last : INT64_MAX);
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (weir_entry_row_read(st, &r))
			return broken(l, (uint64_t)sqlite3_column_int64(st, 0), err);
		ret = r.head.kind == WEIR_ENTRY_USAGE ? replay_usage(l, &r, err)
						      : replay_op(l, &r, err);
		if (ret == -EBADMSG || ret == -ERANGE)
			return broken(l, r.head.seq, err);
		if (ret == -ENOMEM)
			return out_of_memory(err);
	}
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(part->db, err, "reading the log");
	return ret;
}

/* Segments and the main database, one after the other. */
static int replay(struct weir_ledger *l, uint64_t after, struct weir_error *err)
{
	int ret = 0;

	while (!ret && after < l->tip.seq) {
		struct weir_log_part part;

		ret = weir_log_at(&l->log, after + 1, &part, err);
		if (!ret)
			ret = replay_part(l, &part, after + 1, err);
		after = part.last;
	}
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
		ret = load_projections(l, err);
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

static int start_over(struct weir_ledger *l)
{
	struct weir_book fresh;

	if (weir_book_init(&fresh))
		return -ENOMEM;
	fresh.card = l->book.card;
	fresh.counter_at = l->book.counter_at;
	fresh.ctx = l->book.ctx;
	weir_book_clear(&l->book);
	l->book = fresh;
	return 0;
}

int weir_ledger_rebuild(struct weir_ledger *l, struct weir_error *err)
{
	int ret;

	ret = weir_ledger_begin(l, err);
	if (ret)
		return ret;
	ret = weir_store_exec(l->db,
			      "DELETE FROM account; DELETE FROM lot; DELETE FROM schedule;"
			      "DELETE FROM counter; DELETE FROM volume; DELETE FROM session;"
			      "DELETE FROM refund; DELETE FROM write; DELETE FROM unpriced",
			      err, "dropping the projections");
	if (!ret) {
		ret = start_over(l);
		l->next.priced_ns = 0;
		if (!ret)
			ret = replay(l, 0, err);
	}
	ret = weir_ledger_end(l, ret, err);
	if (ret) {
		/* The database is as it was: have memory agree with it again. */
		if (start_over(l) || weir_ledger_load(l, NULL))
			weir_log(WEIR_ERR, "ledger: balances are lost until the agent restarts");
	}
	return ret;
}
