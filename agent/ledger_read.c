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

#include "agent/ledger_book.h"
#include "agent/ledger_bytes.h"
#include "agent/ledger_read_priv.h"
#include "agent/price.h"
#include "agent/store.h"

/* Entries looked at under one snapshot: a few ms, which the WAL does not feel; and how many of
 * them are kept to be handed out after it. */
#define PAGE	  4096
#define FOUND_MAX 256

int weir_reader_open(const char *path, struct weir_reader **out, struct weir_error *err)
{
	struct weir_reader *rd = calloc(1, sizeof(*rd));
	int ret;

	if (!rd)
		return weir_fail(err, ENOMEM, "%s: out of memory", path);
	ret = weir_store_open_read(path, &rd->db, err);
	weir_log_init(&rd->log, rd->db);
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
	weir_log_clear(&rd->log);
	weir_named_cache_free(rd->named);
	sqlite3_finalize(rd->walk_back);
	weir_store_close(rd->db);
	for (size_t i = 0; i < rd->n_names; i++)
		free(rd->names[i]);
	free(rd->names);
	for (size_t i = 0; i < rd->n_cards; i++) {
		if (rd->cards[i])
			weir_card_free(rd->cards[i]);
	}
	free(rd->cards);
	free(rd->post.moves);
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

int weir_reader_begin(struct weir_reader *rd, bool *begun, struct weir_error *err)
{
	*begun = sqlite3_get_autocommit(rd->db);
	return *begun ? weir_store_exec(rd->db, "BEGIN", err, "reading") : 0;
}

void weir_reader_end(struct weir_reader *rd, bool begun)
{
	if (begun)
		sqlite3_exec(rd->db, "COMMIT", NULL, NULL, NULL);
}

int weir_reader_newest(struct weir_reader *rd, uint64_t *seq, struct weir_error *err)
{
	return weir_store_number(rd->db,
				 "SELECT seq FROM entry WHERE seq > ? ORDER BY seq DESC LIMIT 1", 0,
				 seq, err);
}

/* ------------------------------------------------------------- names and cards */

int weir_reader_tenant(struct weir_reader *rd, const char *name, uint32_t *index,
		       struct weir_error *err)
{
	uint64_t v;
	int ret;

	ret = weir_store_number_of(rd->db, "SELECT idx FROM tenant WHERE name = ?", name, &v, err);
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
		       struct weir_op *op, struct weir_entry *out)
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
	bool old;
	int ret;

	if (h->kind >= WEIR_ENTRY_KIND_MAX)
		return -EBADMSG;
	if (h->kind == WEIR_ENTRY_USAGE) {
		ret = weir_decode_usage(h, r->body, r->n_body, row, &rd->post, &old);
		e.row = row;
	} else {
		ret = weir_decode_op(h, r->body, r->n_body, op, &rd->post, &old);
		e.op = op;
		if (op->actor[0])
			e.actor = op->actor;
	}
	if (ret)
		return ret;
	e.moves = rd->post.moves;
	e.n_moves = rd->post.n_moves;
	e.positions = rd->post.positions;
	e.n_positions = rd->post.n_positions;
	e.session_begins = rd->post.session_begins;
	e.tenant_name = weir_reader_tenant_name(rd, h->tenant);
	e.wallet_name = weir_reader_tenant_name(rd, h->wallet);
	memcpy(e.prev_hash, prev, sizeof(e.prev_hash));
	memcpy(e.hash, r->hash, sizeof(e.hash));
	*out = e;
	return 0;
}

/* --------------------------------------------------------------------- walking */

/* An entry that was read, until it is handed out. */
struct found {
	struct weir_entry_row row; /* body: NULL; it is at */
	size_t body_at;
	uint8_t prev[WEIR_HASH_BYTES];
};

struct walk {
	struct weir_reader *rd;
	const struct weir_entry_query *q;
	weir_entry_fn fn;
	void *ctx;
	uint64_t lo, hi; /* seqs still to look at, inclusive */
	size_t left;	 /* entries still to hand out */
	int result;	 /* of fn */
	struct found *found;
	size_t n_found;
	struct weir_bytes bodies;
};

static bool wanted(const struct walk *w, const struct weir_entry_row *r)
{
	const struct weir_entry_query *q = w->q;
	const struct weir_entry_head *h = &r->head;

	return (!q->tenant || h->tenant == q->tenant || h->wallet == q->tenant) &&
	       (!q->kinds || (h->kind < 32 && q->kinds & 1u << h->kind)) &&
	       (!q->maybe || q->maybe(r->body, r->n_body, w->ctx));
}

/* Without the hash before it. */
static int keep(struct walk *w, const struct weir_entry_row *r, struct weir_error *err)
{
	struct found *f = &w->found[w->n_found];

	if (weir_bytes_reserve(&w->bodies, r->n_body))
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	f->row = *r;
	f->body_at = w->bodies.len;
	memcpy(w->bodies.p + w->bodies.len, r->body, r->n_body);
	w->bodies.len += r->n_body;
	w->n_found++;
	return 0;
}

/*
 * Entries from lo to hi, which one database has; *last: the last one looked at, 0 if none. The hash
 * that an entry chains to is that of the row before: upwards it is at hand, downwards it comes with
 * the next row. Only at an end it is asked for.
 */
static int walk_rows(struct walk *w, sqlite3 *db, uint64_t lo, uint64_t hi, uint64_t *last,
		     struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	bool down = w->q->newest_first;
	struct found *open = NULL; /* kept, and lacks the hash before it */
	uint8_t prev[WEIR_HASH_BYTES];
	struct weir_entry_row r;
	int rc = SQLITE_DONE, ret;

	ret = weir_store_prepare(db,
				 down ? "SELECT " WEIR_ENTRY_COLUMNS " FROM entry WHERE seq"
					" BETWEEN ? AND ? ORDER BY seq DESC"
				      : "SELECT " WEIR_ENTRY_COLUMNS " FROM entry WHERE seq"
					" BETWEEN ? AND ? ORDER BY seq",
				 &st, err);
	if (ret)
		return ret;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)lo);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)hi);
	while (w->n_found < w->left && w->n_found < FOUND_MAX &&
	       (rc = sqlite3_step(st)) == SQLITE_ROW) {
		bool first = !*last;

		*last = (uint64_t)sqlite3_column_int64(st, 0);
		if (weir_entry_row_read(st, &r))
			return weir_reader_damaged(w->rd, *last, err);
		/* A gap in the numbers leaves zeros; verify names it. */
		if (open && open->row.head.seq == *last + 1)
			memcpy(open->prev, r.hash, sizeof(open->prev));
		else if (open)
			memset(open->prev, 0, sizeof(open->prev));
		open = NULL;
		if (wanted(w, &r)) {
			struct found *f = &w->found[w->n_found];

			ret = keep(w, &r, err);
			if (!ret && down)
				open = f;
			else if (!ret && first)
				ret = weir_log_hash(&w->rd->log, *last - 1, f->prev, err);
			else if (!ret)
				memcpy(f->prev, prev, sizeof(f->prev));
			if (ret)
				return ret;
		}
		memcpy(prev, r.hash, sizeof(prev));
	}
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		return weir_store_fail(db, err, "reading the log");
	/* All that there are were looked at, or as far as *last. */
	if (rc == SQLITE_DONE && *last)
		*last = down ? lo : hi;
	return open ? weir_log_hash(&w->rd->log, open->row.head.seq - 1, open->prev, err) : 0;
}

/* A page at most, of what the database has that the next entry is in. */
static int walk_page(struct walk *w, struct weir_error *err)
{
	uint64_t lo = w->lo, hi = w->hi, last = 0;
	struct weir_log_part part;
	int ret;

	ret = weir_log_at(&w->rd->log, w->q->newest_first ? hi : lo, &part, err);
	if (ret)
		return ret;
	if (part.last < hi)
		hi = part.last;
	if (part.first > lo)
		lo = part.first;
	if (hi - lo >= PAGE && w->q->newest_first)
		lo = hi - PAGE + 1;
	else if (hi - lo >= PAGE)
		hi = lo + PAGE - 1;
	ret = walk_rows(w, part.db, lo, hi, &last, err);
	if (ret)
		return ret;
	if (!last)
		return weir_reader_damaged(w->rd, lo, err); /* all of them are missing */
	if (w->q->newest_first)
		w->hi = last - 1;
	else
		w->lo = last + 1;
	return 0;
}

static int hand_out(struct walk *w, struct found *f, struct weir_error *err)
{
	struct weir_row row;
	struct weir_op op;
	struct weir_entry e;
	int ret;

	f->row.body = w->bodies.p + f->body_at;
	ret = weir_reader_decode(w->rd, &f->row, f->prev, &row, &op, &e);
	if (ret == -ENOMEM)
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	if (ret)
		return weir_reader_damaged(w->rd, f->row.head.seq, err);
	w->left--;
	w->result = w->fn(&e, w->ctx);
	weir_reader_walked(w->rd, &e);
	return 0;
}

/* Whoever is given the entries may take his time (a slow client): by then the snapshot that they
 * were read in is gone, or the WAL could not start over. */
static int walk(struct walk *w, struct weir_error *err)
{
	bool begun;
	int ret = 0;

	w->found = calloc(FOUND_MAX, sizeof(*w->found));
	if (!w->found)
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	while (!ret && !w->result && w->left && w->lo <= w->hi) {
		uint64_t at = w->q->newest_first ? w->hi : w->lo;

		if (w->q->page)
			w->result = w->q->page(at, w->ctx);
		if (w->result)
			break;
		w->n_found = w->bodies.len = 0;
		ret = weir_reader_begin(w->rd, &begun, err);
		if (ret)
			break;
		ret = walk_page(w, err);
		weir_reader_end(w->rd, begun);
		for (size_t i = 0; i < w->n_found && !w->result; i++) {
			int r = hand_out(w, &w->found[i], err);

			if (r) {
				ret = r;
				break;
			}
		}
	}
	free(w->found);
	free(w->bodies.p);
	return ret ? ret : w->result;
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
		ret = weir_log_seq_at(&rd->log, q->since_ns, w.hi, &first, err);
	if (!ret && q->until_ns)
		ret = weir_log_seq_at(&rd->log, q->until_ns, w.hi, &end, err);
	if (ret)
		return ret;
	if (first > w.lo)
		w.lo = first;
	if (q->until_ns)
		w.hi = end - 1;
	return walk(&w, err);
}

int weir_reader_since(struct weir_reader *rd, uint64_t since_ns, uint64_t *seq,
		      struct weir_error *err)
{
	uint64_t newest;
	int ret = weir_reader_newest(rd, &newest, err);

	return ret ? ret : weir_log_seq_at(&rd->log, since_ns, newest, seq, err);
}

int weir_reader_find(struct weir_reader *rd, const struct weir_id *id, weir_entry_fn fn, void *ctx,
		     struct weir_error *err)
{
	static const struct weir_entry_query any;
	struct walk w = { .rd = rd, .q = &any, .fn = fn, .ctx = ctx, .left = 1 };
	int ret;

	ret = weir_log_find(&rd->log, id, &w.lo, err);
	if (ret)
		return ret;
	if (!w.lo)
		return weir_fail(err, ENOENT, "no entry of that id in the ledger");
	w.hi = w.lo;
	return walk(&w, err);
}
