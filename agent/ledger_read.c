// SPDX-License-Identifier: Apache-2.0
/*
 * Reading entries back. Time never goes back along seq, so a time is found by
 * bisection and needs no index; a tenant's entries are found by walking.
 */
#include "agent/ledger_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_accounts.h"
#include "agent/ledger_read_priv.h"
#include "agent/price.h"
#include "agent/store.h"

/* Entries walked under one snapshot: a few ms, which the WAL does not feel. */
#define PAGE 4096

int weir_reader_open(const char *path, struct weir_reader **out, struct weir_error *err)
{
	struct weir_reader *rd = calloc(1, sizeof(*rd));
	int ret;

	if (!rd)
		return weir_fail(err, ENOMEM, "%s: out of memory", path);
	ret = weir_store_open_read(path, &rd->db, err);
	if (!ret)
		ret = weir_store_meta(rd->db, "ledger_id", rd->id, sizeof(rd->id), err);
	if (ret) {
		weir_reader_close(rd);
		return ret;
	}
	*out = rd;
	return 0;
}

void weir_reader_close(struct weir_reader *rd)
{
	if (!rd)
		return;
	weir_store_close(rd->db);
	for (size_t i = 0; i < rd->n_names; i++)
		free(rd->names[i]);
	free(rd->names);
	for (size_t i = 0; i < rd->n_cards; i++) {
		if (rd->cards[i])
			weir_card_free(rd->cards[i]);
	}
	free(rd->cards);
	free(rd->post.burns);
	free(rd);
}

const char *weir_reader_ledger_id(const struct weir_reader *rd)
{
	return rd->id;
}

int weir_reader_damaged(struct weir_reader *rd, uint64_t seq, struct weir_error *err)
{
	return weir_fail(err, EBADMSG,
			 "%s: entry %" PRIu64 " is damaged; run `weirctl ledger verify`, then "
			 "restore a backup",
			 sqlite3_db_filename(rd->db, "main"), seq);
}

/* One number, 0 if there is no row. */
static int get_u64(struct weir_reader *rd, const char *sql, const char *text, uint64_t arg,
		   uint64_t *out, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(rd->db, sql, -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading");
	if (text)
		sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
	else
		sqlite3_bind_int64(st, 1, (sqlite3_int64)arg);
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(rd->db, err, "reading");
	*out = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	return 0;
}

int weir_reader_newest(struct weir_reader *rd, uint64_t *seq, struct weir_error *err)
{
	return get_u64(rd, "SELECT seq FROM entry WHERE seq > ? ORDER BY seq DESC LIMIT 1", NULL, 0,
		       seq, err);
}

int weir_reader_cursor(struct weir_reader *rd, const char *name, uint64_t *seq,
		       struct weir_error *err)
{
	return get_u64(rd, "SELECT seq FROM cursor WHERE name = ?", name, 0, seq, err);
}

/* ------------------------------------------------------------- names and cards */

int weir_reader_tenant(struct weir_reader *rd, const char *name, uint32_t *index,
		       struct weir_error *err)
{
	uint64_t v;
	int ret;

	ret = get_u64(rd, "SELECT idx FROM tenant WHERE name = ?", name, 0, &v, err);
	if (ret)
		return ret;
	if (!v)
		return weir_fail(err, ENOENT, "tenant \"%s\": not in the ledger", name);
	*index = (uint32_t)v;
	return 0;
}

/* Makes v[index] exist; NULL if it cannot. */
static void **slot(void ***v, size_t *n, size_t index)
{
	void **p;
	size_t want = *n ? *n : 64;

	if (index < *n)
		return &(*v)[index];
	while (want <= index)
		want *= 2;
	p = reallocarray(*v, want, sizeof(*p));
	if (!p)
		return NULL;
	memset(p + *n, 0, (want - *n) * sizeof(*p));
	*v = p;
	*n = want;
	return &p[index];
}

/* Column 0 of the row with that number, as a copy to free; NULL if none. */
static char *text_of(struct weir_reader *rd, const char *sql, uint32_t id)
{
	weir_autostmt sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(rd->db, sql, -1, &st, NULL) != SQLITE_OK)
		return NULL;
	sqlite3_bind_int64(st, 1, id);
	if (sqlite3_step(st) != SQLITE_ROW || !sqlite3_column_text(st, 0))
		return NULL;
	return strdup((const char *)sqlite3_column_text(st, 0));
}

const char *weir_reader_tenant_name(struct weir_reader *rd, uint32_t index)
{
	char *name;
	void **v = (void **)rd->names, **p;

	if (index < rd->n_names && rd->names[index])
		return rd->names[index];
	if (!index || index >= WEIR_ACCOUNT_MAX)
		return NULL;
	name = text_of(rd, "SELECT name FROM tenant WHERE idx = ?", index);
	if (!name)
		return NULL;
	p = slot(&v, &rd->n_names, index);
	rd->names = (char **)v;
	if (!p) {
		free(name);
		return NULL;
	}
	*p = name;
	return name;
}

const struct weir_card *weir_reader_card(struct weir_reader *rd, uint32_t id)
{
	weir_autofree char *json = NULL;
	void **v = (void **)rd->cards, **p;
	struct weir_card *card;
	struct weir_error err;

	if (id < rd->n_cards && rd->cards[id])
		return rd->cards[id];
	if (!id || id >= WEIR_ACCOUNT_MAX)
		return NULL;
	json = text_of(rd, "SELECT json FROM card WHERE id = ?", id);
	if (!json || weir_card_parse(json, "ledger", &card, &err))
		return NULL;
	p = slot(&v, &rd->n_cards, id);
	rd->cards = (struct weir_card **)v;
	if (!p) {
		weir_card_free(card);
		return NULL;
	}
	card->id = id;
	*p = card;
	return card;
}

/* -------------------------------------------------------------------- decoding */

int weir_reader_decode(struct weir_reader *rd, const struct weir_entry_row *r,
		       const uint8_t prev[static WEIR_HASH_BYTES], struct weir_row *row,
		       struct weir_grant *g, struct weir_entry *out)
{
	const struct weir_entry_head *h = &r->head;
	struct weir_entry e = {
		.seq = h->seq,
		.time_ns = h->time_ns,
		.kind = h->kind,
		.id = h->id,
		.tenant = h->tenant,
		.wallet = h->wallet,
		.amount_nano = h->amount_nano,
		.balance_before_nano = h->before_nano,
		.balance_after_nano = h->after_nano,
		.actor = "agent",
	};
	bool now;
	int ret;

	switch (h->kind) {
	case WEIR_ENTRY_USAGE:
		ret = weir_decode_usage(h, r->body, r->n_body, row, &rd->post);
		e.row = row;
		break;
	case WEIR_ENTRY_GRANT:
		ret = weir_decode_grant(h, r->body, r->n_body, g, &now, &rd->post);
		e.grant = g;
		e.actor = g->actor;
		break;
	default:
		ret = -EBADMSG;
	}
	if (ret)
		return ret;
	e.debt_nano = rd->post.debt_nano;
	e.burns = rd->post.burns;
	e.n_burns = rd->post.n_burns;
	e.tenant_name = weir_reader_tenant_name(rd, h->tenant);
	e.wallet_name = weir_reader_tenant_name(rd, h->wallet);
	memcpy(e.prev_hash, prev, sizeof(e.prev_hash));
	memcpy(e.hash, r->hash, sizeof(e.hash));
	*out = e;
	return 0;
}

static int prev_hash(struct weir_reader *rd, uint64_t seq, uint8_t out[static WEIR_HASH_BYTES],
		     struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc;

	memset(out, 0, WEIR_HASH_BYTES);
	if (seq <= 1)
		return 0;
	if (sqlite3_prepare_v2(rd->db, "SELECT hash FROM entry WHERE seq = ?", -1, &st, NULL) !=
	    SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading the log");
	sqlite3_bind_int64(st, 1, (sqlite3_int64)(seq - 1));
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return weir_store_fail(rd->db, err, "reading the log");
	/* A gap in the numbers leaves zeros; verify names it. */
	if (rc == SQLITE_ROW && sqlite3_column_bytes(st, 0) == WEIR_HASH_BYTES)
		memcpy(out, sqlite3_column_blob(st, 0), WEIR_HASH_BYTES);
	return 0;
}

/* --------------------------------------------------------------------- walking */

struct walk {
	struct weir_reader *rd;
	const struct weir_entry_query *q;
	weir_entry_fn fn;
	void *ctx;
	uint64_t lo, hi; /* seqs still to look at, inclusive */
	size_t left;	 /* entries still to hand out */
	int result;	 /* of fn */
};

static bool wanted(const struct weir_entry_query *q, const struct weir_entry_head *h)
{
	return (!q->tenant || h->tenant == q->tenant || h->wallet == q->tenant) &&
	       (!q->kinds || (h->kind < 32 && q->kinds & 1u << h->kind));
}

static int hand_out(struct walk *w, const struct weir_entry_row *r,
		    const uint8_t prev[static WEIR_HASH_BYTES], struct weir_error *err)
{
	struct weir_row row;
	struct weir_grant g;
	struct weir_entry e;
	int ret;

	ret = weir_reader_decode(w->rd, r, prev, &row, &g, &e);
	if (ret == -ENOMEM)
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	if (ret)
		return weir_reader_damaged(w->rd, r->head.seq, err);
	w->left--;
	w->result = w->fn(&e, w->ctx);
	return 0;
}

/* At the end of a page the statement is reset, and so the snapshot let go. */
static int walk_page(struct walk *w, sqlite3_stmt *st, struct weir_error *err)
{
	uint8_t prev[WEIR_HASH_BYTES];
	struct weir_entry_row r;
	uint64_t last = 0;
	int rc = SQLITE_DONE, n, ret = 0;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)w->lo);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)w->hi);
	for (n = 0; n < PAGE && w->left && !w->result && !ret; n++) {
		rc = sqlite3_step(st);
		if (rc != SQLITE_ROW)
			break;
		last = (uint64_t)sqlite3_column_int64(st, 0);
		if (weir_entry_row_read(st, &r)) {
			ret = weir_reader_damaged(w->rd, last, err);
			break;
		}
		if (wanted(w->q, &r.head)) {
			/* Upwards the row before is at hand, but for the first. */
			if (w->q->newest_first || !n)
				ret = prev_hash(w->rd, last, prev, err);
			if (!ret)
				ret = hand_out(w, &r, prev, err);
		}
		memcpy(prev, r.hash, sizeof(prev));
	}
	if (!ret && rc != SQLITE_ROW && rc != SQLITE_DONE)
		ret = weir_store_fail(w->rd->db, err, "reading the log");
	sqlite3_reset(st);
	if (rc != SQLITE_ROW || !last) {
		w->lo = w->hi + 1; /* nothing left */
	} else if (w->q->newest_first) {
		w->hi = last - 1;
	} else {
		w->lo = last + 1;
	}
	return ret;
}

static int walk(struct walk *w, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int ret;

	ret = weir_store_prepare(w->rd->db,
				 w->q->newest_first
					 ? "SELECT " WEIR_ENTRY_COLUMNS " FROM entry WHERE seq"
					   " BETWEEN ? AND ? ORDER BY seq DESC"
					 : "SELECT " WEIR_ENTRY_COLUMNS " FROM entry WHERE seq"
					   " BETWEEN ? AND ? ORDER BY seq",
				 &st, err);
	while (!ret && !w->result && w->left && w->lo <= w->hi)
		ret = walk_page(w, st, err);
	return ret ? ret : w->result;
}

/* The first seq whose time is at or past t; newest + 1 if there is none. */
static int seq_at(struct weir_reader *rd, uint64_t t, uint64_t newest, uint64_t *out,
		  struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	uint64_t lo = 1, hi = newest + 1;

	if (sqlite3_prepare_v2(rd->db, "SELECT time FROM entry WHERE seq >= ? ORDER BY seq LIMIT 1",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading the log");
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		sqlite3_bind_int64(st, 1, (sqlite3_int64)mid);
		if (sqlite3_step(st) != SQLITE_ROW)
			return weir_store_fail(rd->db, err, "reading the log");
		if ((uint64_t)sqlite3_column_int64(st, 0) >= t)
			hi = mid;
		else
			lo = mid + 1;
		sqlite3_reset(st);
	}
	*out = lo;
	return 0;
}

int weir_reader_entries(struct weir_reader *rd, const struct weir_entry_query *q, weir_entry_fn fn,
			void *ctx, struct weir_error *err)
{
	struct walk w = {
		.rd = rd,
		.q = q,
		.fn = fn,
		.ctx = ctx,
		.lo = q->from_seq ? q->from_seq : 1,
		.left = q->limit ? q->limit : SIZE_MAX,
	};
	uint64_t first = 0, end = 0;
	int ret;

	ret = weir_reader_newest(rd, &w.hi, err);
	if (!ret && q->since_ns)
		ret = seq_at(rd, q->since_ns, w.hi, &first, err);
	if (!ret && q->until_ns)
		ret = seq_at(rd, q->until_ns, w.hi, &end, err);
	if (ret)
		return ret;
	if (first > w.lo)
		w.lo = first;
	if (q->until_ns)
		w.hi = end - 1;
	return walk(&w, err);
}

int weir_reader_find(struct weir_reader *rd, const struct weir_id *id, weir_entry_fn fn, void *ctx,
		     struct weir_error *err)
{
	static const struct weir_entry_query any;
	weir_autostmt sqlite3_stmt *st = NULL;
	struct walk w = { .rd = rd, .q = &any, .fn = fn, .ctx = ctx, .left = 1 };
	int rc;

	if (sqlite3_prepare_v2(rd->db, "SELECT seq FROM entry WHERE id = ?", -1, &st, NULL) !=
	    SQLITE_OK)
		return weir_store_fail(rd->db, err, "looking up an entry");
	sqlite3_bind_blob(st, 1, id->b, sizeof(id->b), SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return weir_fail(err, ENOENT, "no entry of that id in the ledger");
	if (rc != SQLITE_ROW)
		return weir_store_fail(rd->db, err, "looking up an entry");
	w.lo = w.hi = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return walk(&w, err);
}
