// SPDX-License-Identifier: Apache-2.0
/*
 * The log's writing end: opening, transactions, and committing groups of requests. Per row it
 * does as little as it can (price, plan, encode, hash, one insert); whatever is slow to build is
 * built from the log by those who want it.
 */
#include "agent/ledger.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/price.h"
#include "agent/store.h"

/* ------------------------------------------------------------- open and close */

static void free_card(void *card)
{
	weir_card_free(card);
}

static const struct weir_card *book_card(void *ctx, uint32_t id)
{
	return weir_ledger_card_of(ctx, id);
}

/* A counter of a month that is long past. */
static int64_t book_counter(void *ctx, const char *key, uint32_t month)
{
	struct weir_ledger *l = ctx;
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(l->db, "SELECT at FROM counter WHERE key = ? AND month = ?", -1,
				    &st, NULL);

	if (rc == SQLITE_OK) {
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 2, month);
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW)
			return sqlite3_column_int64(st, 0);
	}
	if (rc != SQLITE_DONE)
		weir_ledger_read_failed(l, "reading a counter");
	return 0;
}

static int init(struct weir_ledger *l)
{
	if (weir_book_init(&l->book) || weir_chain_init(&l->chain))
		return -ENOMEM;
	weir_log_init(&l->log, l->db);
	l->book.card = book_card;
	l->book.counter_at = book_counter;
	l->book.ctx = l;
	l->cards = g_hash_table_new_full(NULL, NULL, NULL, free_card);
	l->thresholds = g_hash_table_new_full(NULL, NULL, NULL, free);
	l->changes = g_array_new(false, false, sizeof(struct weir_wallet_change));
	return 0;
}

int weir_ledger_open(const char *path, struct weir_ledger **out, struct weir_error *err)
{
	struct weir_ledger *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return weir_fail(err, ENOMEM, "%s: out of memory", path);
	ret = weir_store_open(path, &l->db, err);
	if (!ret && init(l))
		ret = weir_fail(err, ENOMEM, "%s: SHA-256 is not to be had from libcrypto", path);
	if (!ret)
		ret = weir_store_meta(l->db, "ledger_id", l->id, sizeof(l->id), err);
	if (!ret)
		ret = weir_ledger_prepare(l, err);
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
	for (int i = 0; i < WEIR_ST_MAX; i++)
		weir_store_finalize(&l->st[i]);
	weir_log_clear(&l->log);
	weir_store_close(l->db);
	weir_chain_clear(&l->chain);
	weir_book_clear(&l->book);
	g_clear_pointer(&l->cards, g_hash_table_destroy);
	g_clear_pointer(&l->thresholds, g_hash_table_destroy);
	if (l->changes)
		g_array_free(l->changes, true);
	free(l->post.moves);
	free(l->taken.moves);
	free(l->body.p);
	weir_names_free(&l->names);
	free(l);
}

const char *weir_ledger_id(const struct weir_ledger *l)
{
	return l->id;
}

uint64_t weir_ledger_newest_ns(const struct weir_ledger *l)
{
	return l->tip.time_ns;
}

uint64_t weir_ledger_newest(const struct weir_ledger *l)
{
	return l->tip.seq;
}

uint64_t weir_ledger_latest_priced(const struct weir_ledger *l)
{
	return l->tip.priced_ns;
}

int64_t weir_ledger_balance(struct weir_ledger *l, uint32_t wallet)
{
	return weir_book_balance(&l->book, wallet);
}

void weir_ledger_next_expiry(struct weir_ledger *l, uint32_t wallet, uint64_t *at_ns, int64_t *nano)
{
	weir_book_next_expiry(&l->book, wallet, at_ns, nano);
}

uint64_t weir_ledger_next_due(const struct weir_ledger *l)
{
	return weir_book_next_due(&l->book);
}

void weir_ledger_on_change(struct weir_ledger *l,
			   void (*fn)(void *ctx, const struct weir_wallet_change *c), void *ctx)
{
	l->on_change = fn;
	l->on_change_ctx = ctx;
}

/* ---------------------------------------------------------------- transactions */

#define PRUNE_NS (UINT64_C(3600) * 1000000000)

/* Sessions that are over: nobody asks for them again. */
static int prune(struct weir_ledger *l, struct weir_error *err)
{
	char sql[80];

	if (l->tip.time_ns < l->pruned_ns + PRUNE_NS)
		return 0;
	l->pruned_ns = l->tip.time_ns;
	weir_book_prune(&l->book, l->tip.time_ns);
	snprintf(sql, sizeof(sql), "DELETE FROM session WHERE started <= %" PRId64,
		 (int64_t)(l->tip.time_ns - 2 * WEIR_SESSION_NS));
	return weir_store_exec(l->db, sql, err, "forgetting sessions that are over");
}

void weir_ledger_read_failed(struct weir_ledger *l, const char *doing)
{
	if (!l->failed)
		l->failed = weir_store_fail(l->db, &l->failure, doing);
}

int weir_ledger_holds(const struct weir_ledger *l, struct weir_error *err)
{
	if (l->failed) {
		if (err)
			*err = l->failure;
		return l->failed;
	}
	if (sqlite3_get_autocommit(l->db))
		return weir_fail(err, EIO, "%s: the transaction was taken back after an error",
				 sqlite3_db_filename(l->db, "main"));
	return 0;
}

int weir_ledger_begin(struct weir_ledger *l, struct weir_error *err)
{
	int ret;

	l->next = l->tip;
	l->failed = 0;
	ret = weir_store_exec(l->db, "BEGIN IMMEDIATE", err, "starting a transaction");
	if (ret)
		return ret;
	ret = prune(l, err);
	return ret ? weir_ledger_end(l, ret, err) : 0;
}

int weir_ledger_end(struct weir_ledger *l, int ret, struct weir_error *err)
{
	if (!ret)
		ret = weir_ledger_flush(l, err);
	if (!ret)
		ret = weir_ledger_holds(l, err);
	if (!ret)
		ret = weir_store_exec(l->db, "COMMIT", err, "committing");
	if (ret) {
		/* SQLite may have rolled back by itself already. */
		if (!sqlite3_get_autocommit(l->db))
			sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
		weir_book_rollback(&l->book);
		return ret;
	}
	weir_book_commit(&l->book);
	l->tip = l->next;
	for (guint i = 0; l->on_change && i < l->changes->len; i++)
		l->on_change(l->on_change_ctx,
			     &g_array_index(l->changes, struct weir_wallet_change, i));
	return 0;
}

/* --------------------------------------------------------------------- entries */

void weir_ledger_head(const struct weir_ledger *l, enum weir_entry_kind kind, uint32_t tenant,
		      uint32_t wallet, uint64_t at_ns, struct weir_entry_head *h)
{
	*h = (struct weir_entry_head){
		.seq = l->next.seq + 1,
		.kind = (uint8_t)kind,
		.tenant = tenant,
		.wallet = wallet,
		.time_ns = at_ns > l->next.time_ns ? at_ns : l->next.time_ns,
	};
}

void weir_ledger_new_posting(struct weir_ledger *l)
{
	l->post.n_moves = l->post.n_positions = 0;
	l->post.session_begins = false;
}

int weir_ledger_put(struct weir_ledger *l, struct weir_entry_head *h, struct weir_error *err)
{
	struct weir_entry_row r;
	int rc, ret = weir_ledger_holds(l, err);

	if (ret)
		return ret;
	assert(h->seq == l->next.seq + 1);
	r.head = *h;
	r.body = l->body.p;
	r.n_body = l->body.len;
	if (weir_chain_hash(&l->chain, l->next.hash, h, r.body, r.n_body, r.hash))
		return weir_fail(err, EIO, "ledger: SHA-256 failed in libcrypto");
	weir_entry_row_bind(l->st[WEIR_ST_ENTRY], &r);
	rc = sqlite3_step(l->st[WEIR_ST_ENTRY]);
	if (rc == SQLITE_CONSTRAINT_UNIQUE) {
		ret = -EEXIST;
	} else if (rc != SQLITE_DONE) {
		ret = weir_store_fail(l->db, err, "writing an entry");
		/* Of all constraints only the id's means "known". */
		ret = ret == -EEXIST ? -EIO : ret;
	}
	sqlite3_reset(l->st[WEIR_ST_ENTRY]);
	if (ret)
		return ret;
	l->next.seq = h->seq;
	l->next.time_ns = h->time_ns;
	memcpy(l->next.hash, r.hash, sizeof(r.hash));
	return 0;
}

/* What was planned has just been made durable, all but the commit: that it cannot be applied is a
 * bug of ours, and going on would make it everybody's. */
static int applied(int ret, struct weir_error *err)
{
	if (ret == -ENOMEM)
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	assert(!ret);
	return 0;
}

int weir_ledger_put_op(struct weir_ledger *l, const struct weir_op *op, struct weir_entry_head *h,
		       struct weir_error *err)
{
	int ret;

	l->body.len = 0;
	if (weir_encode_op(&l->body, op, &l->post))
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	ret = weir_ledger_put(l, h, err);
	if (ret == -EEXIST)
		return weir_fail(err, EIO, "ledger: the id of an entry is taken");
	if (ret)
		return ret;
	ret = applied(weir_book_apply_op(&l->book, op, h, &l->post, false), err);
	assert(ret || weir_book_balance(&l->book, h->wallet) == h->after_nano);
	return ret;
}

/* Time first, so that ids sort; then the number, marked: no request has such an id. */
static void own_id(const struct weir_entry_head *h, struct weir_id *id)
{
	for (int i = 0; i < 8; i++) {
		id->b[i] = (uint8_t)(h->time_ns >> (56 - 8 * i));
		id->b[8 + i] = (uint8_t)(h->seq >> (56 - 8 * i));
	}
	id->b[8] = 0xff;
}

static int enter_due(struct weir_ledger *l, struct weir_op *op, uint64_t at_ns,
		     struct weir_error *err)
{
	struct weir_entry_head h;
	int ret;

	weir_ledger_head(l, op->kind, op->tenant, op->wallet, at_ns, &h);
	own_id(&h, &h.id);
	weir_ledger_new_posting(l);
	ret = weir_book_plan_due(&l->book, op, &h, &l->post);
	if (ret == -ERANGE) {
		weir_log(WEIR_ERR,
			 "ledger: wallet %" PRIu32 ": a %s of %" PRId64
			 " nano-credits does not fit and is left out",
			 op->wallet, weir_entry_kind_names[op->kind], op->amount_nano);
		ret = weir_book_due_drop(&l->book);
		return ret ? weir_fail(err, -ret, "ledger: out of memory") : 0;
	}
	if (ret)
		return weir_fail(err, -ret, "ledger: out of memory");
	ret = weir_ledger_put_op(l, op, &h, err);
	return ret ? ret : weir_ledger_ask(l, op->wallet, err);
}

int weir_ledger_due(struct weir_ledger *l, uint64_t to_ns, struct weir_error *err)
{
	struct weir_op op;
	uint64_t at_ns;
	int ret;

	if (to_ns < l->next.time_ns) /* ledger time may be ahead of the clock */
		to_ns = l->next.time_ns;
	while ((ret = weir_book_due(&l->book, to_ns, &op, &at_ns)) > 0) {
		ret = enter_due(l, &op, at_ns, err);
		if (ret)
			return ret;
	}
	return ret ? weir_fail(err, -ret, "ledger: out of memory") : 0;
}

int weir_ledger_advance(struct weir_ledger *l, uint64_t now_ns, struct weir_error *err)
{
	int ret;

	if (weir_book_next_due(&l->book) > now_ns)
		return 0;
	ret = weir_ledger_begin(l, err);
	return ret ? ret : weir_ledger_end(l, weir_ledger_due(l, now_ns, err), err);
}

/* --------------------------------------------------------------------- top-ups */

struct weir_threshold {
	int64_t below, ask;
};

int weir_ledger_threshold(struct weir_ledger *l, uint32_t wallet, int64_t below_nano,
			  int64_t ask_nano)
{
	struct weir_threshold *t;

	if (below_nano == INT64_MIN) {
		g_hash_table_remove(l->thresholds, GUINT_TO_POINTER(wallet));
		return 0;
	}
	t = malloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = (struct weir_threshold){ below_nano, ask_nano };
	g_hash_table_replace(l->thresholds, GUINT_TO_POINTER(wallet), t);
	return 0;
}

int weir_ledger_ask(struct weir_ledger *l, uint32_t wallet, struct weir_error *err)
{
	const struct weir_threshold *t =
		g_hash_table_lookup(l->thresholds, GUINT_TO_POINTER(wallet));
	const struct weir_account *acc = weir_book_account(&l->book, wallet, false);
	struct weir_entry_head h;
	struct weir_op op;

	if (!t || (acc && acc->f.asked) || weir_book_balance(&l->book, wallet) >= t->below)
		return 0;
	op = (struct weir_op){ .kind = WEIR_ENTRY_TOP_UP,
			       .tenant = wallet,
			       .wallet = wallet,
			       .amount_nano = t->ask,
			       .threshold_nano = t->below };
	weir_ledger_head(l, WEIR_ENTRY_TOP_UP, wallet, wallet, 0, &h);
	own_id(&h, &h.id);
	weir_ledger_new_posting(l);
	if (weir_book_plan_op(&l->book, &op, &h, &l->post))
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	return weir_ledger_put_op(l, &op, &h, err);
}

/* ------------------------------------------------------------------------ rows */

/* A request that cannot be posted (numbers that no sane card gives) is kept all
 * the same, as one that nobody pays, and said aloud: usage is never dropped. */
static void unpost(struct weir_row *row)
{
	weir_log(WEIR_ERR,
		 "ledger: tenant %" PRIu32 ", wallet %" PRIu32 ": a price of %" PRId64
		 " nano-credits cannot be posted; the request is recorded unposted, check the card",
		 row->tenant, row->wallet, row->price_nano);
	row->flags = (uint16_t)(row->flags & ~WEIR_ROW_POSTED);
}

static int append_row(struct weir_ledger *l, const struct weir_row *from, struct weir_error *err)
{
	struct weir_row row = *from;
	struct weir_entry_head h;
	struct weir_charge charge;
	struct weir_sale sale;
	int ret;

	ret = weir_ledger_due(l, row.ended_wall_ns, err);
	if (ret)
		return ret;
	weir_ledger_head(l, WEIR_ENTRY_USAGE, row.tenant, row.wallet, row.ended_wall_ns, &h);
	h.id = row.id;
	ret = weir_ledger_price_row(l, &row, h.time_ns, &sale, &charge);
	if (!ret)
		ret = weir_book_plan_usage(&l->book, &row, &h, &l->post);
	if (ret == -ERANGE) {
		unpost(&row);
		sale.posted = false;
		ret = weir_book_plan_usage(&l->book, &row, &h, &l->post);
	}
	l->body.len = 0;
	if (!ret)
		ret = weir_encode_usage(&l->body, &row, &l->post);
	if (ret)
		return weir_fail(err, -ret, "ledger: out of memory");
	ret = weir_ledger_put(l, &h, err);
	if (ret)
		return ret;
	ret = applied(weir_book_apply_usage(&l->book, &row, &h, &l->post, false), err);
	if (!ret)
		ret = weir_ledger_count_row(l, &row, &sale, &charge, err);
	if (ret)
		return ret;
	assert(row.wallet >= WEIR_ACCOUNT_MAX ||
	       weir_book_balance(&l->book, row.wallet) == h.after_nano);
	if (from->flags & WEIR_ROW_POSTED && row.wallet < WEIR_ACCOUNT_MAX)
		weir_book_took(&l->book, row.wallet, from->price_nano);
	return weir_ledger_ask(l, row.wallet, err);
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
