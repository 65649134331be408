// SPDX-License-Identifier: Apache-2.0
/*
 * What a wallet has, as a reader sees it: its lots as of the last commit, and what has fallen due
 * since then as if it were entered (rules 4 and 7 of ledger.md).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_book.h"
#include "agent/ledger_read_priv.h"
#include "agent/store.h"

void weir_balance_clear(struct weir_balance *b)
{
	free(b->lots);
	free(b->ids);
	*b = (struct weir_balance){ 0 };
}

/* A lot and the id of its entry, kept together until they are sorted. */
struct held {
	struct weir_lot lot;
	struct weir_id id;
};

struct helds {
	struct held *v;
	size_t n, cap;
};

static int burn_order(const void *x, const void *y)
{
	return weir_lot_compare(&((const struct held *)x)->lot, &((const struct held *)y)->lot);
}

static int by_effective(const void *x, const void *y)
{
	const struct weir_lot *a = &((const struct held *)x)->lot,
			      *b = &((const struct held *)y)->lot;

	if (a->effective_ns != b->effective_ns)
		return a->effective_ns < b->effective_ns ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

static struct weir_lot read_lot(sqlite3_stmt *st, uint32_t wallet)
{
	return (struct weir_lot){
		.seq = (uint64_t)sqlite3_column_int64(st, 0),
		.wallet = wallet,
		.source = (uint8_t)sqlite3_column_int64(st, 1),
		.priority = (uint8_t)sqlite3_column_int64(st, 2),
		.voided = sqlite3_column_int64(st, 3),
		.effective_ns = (uint64_t)sqlite3_column_int64(st, 4),
		.expires_ns = (uint64_t)sqlite3_column_int64(st, 5),
		.created_ns = (uint64_t)sqlite3_column_int64(st, 6),
		.schedule = (uint64_t)sqlite3_column_int64(st, 7),
		.amount = sqlite3_column_int64(st, 8),
		.pending = sqlite3_column_int64(st, 9),
		.remaining = sqlite3_column_int64(st, 10),
		.expired = sqlite3_column_int64(st, 11),
	};
}

static int add_lot(struct weir_reader *rd, sqlite3_stmt *st, uint32_t wallet, struct helds *h,
		   struct weir_error *err)
{
	struct held *one;

	if (h->n == h->cap) {
		size_t want = h->cap ? 2 * h->cap : 16;

		one = reallocarray(h->v, want, sizeof(*one));
		if (!one)
			return weir_fail(err, ENOMEM, "ledger: out of memory for lots");
		h->v = one;
		h->cap = want;
	}
	one = &h->v[h->n];
	one->lot = read_lot(st, wallet);
	if (one->lot.source >= WEIR_GRANT_SOURCE_MAX ||
	    sqlite3_column_bytes(st, 12) != WEIR_ID_BYTES)
		return weir_reader_damaged(rd, one->lot.seq, err);
	memcpy(one->id.b, sqlite3_column_blob(st, 12), WEIR_ID_BYTES);
	h->n++;
	return 0;
}

static int read_lots(struct weir_reader *rd, uint32_t wallet, struct helds *h,
		     struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(rd->db,
			       "SELECT lot.seq, source, priority, voided, effective, expires,"
			       " created, schedule, lot.amount, pending, remaining, expired,"
			       " ifnull(entry.id, sealed_lot.id) FROM lot"
			       " LEFT JOIN entry ON entry.seq = lot.seq"
			       " LEFT JOIN sealed_lot ON sealed_lot.seq = lot.seq"
			       " WHERE lot.wallet = ?",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(rd->db, err, "reading lots");
	sqlite3_bind_int64(st, 1, wallet);
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW)
		ret = add_lot(rd, st, wallet, h, err);
	if (!ret && rc != SQLITE_DONE)
		ret = weir_store_fail(rd->db, err, "reading lots");
	return ret;
}

/* What is due and was not entered yet. Activating repays debt, in order of time; expiring only
 * moves what a lot has, so that its turn does not matter. */
static void pass(struct helds *h, uint64_t now_ns, int64_t *debt)
{
	if (h->n)
		qsort(h->v, h->n, sizeof(*h->v), by_effective);
	for (size_t i = 0; i < h->n; i++) {
		struct weir_lot *lot = &h->v[i].lot;

		if (lot->pending && lot->effective_ns <= now_ns) {
			int64_t repaid = lot->pending < *debt ? lot->pending : *debt;

			*debt -= repaid;
			lot->remaining = lot->pending - repaid;
			lot->pending = 0;
		}
		if (lot->remaining && lot->expires_ns && lot->expires_ns <= now_ns) {
			lot->expired += lot->remaining;
			lot->remaining = 0;
		}
	}
}

static int hand_over(struct helds *h, int64_t debt, struct weir_balance *out,
		     struct weir_error *err)
{
	struct weir_balance b = { .debt_nano = debt, .balance_nano = -debt, .n_lots = h->n };

	b.lots = calloc(h->n + !h->n, sizeof(*b.lots));
	b.ids = calloc(h->n + !h->n, sizeof(*b.ids));
	if (!b.lots || !b.ids) {
		weir_balance_clear(&b);
		return weir_fail(err, ENOMEM, "ledger: out of memory for lots");
	}
	if (h->n)
		qsort(h->v, h->n, sizeof(*h->v), burn_order);
	for (size_t i = 0; i < h->n; i++) {
		b.lots[i] = h->v[i].lot;
		b.ids[i] = h->v[i].id;
		b.balance_nano += h->v[i].lot.remaining;
	}
	*out = b;
	return 0;
}

int weir_reader_balance(struct weir_reader *rd, uint32_t wallet, uint64_t now_ns,
			struct weir_balance *out, struct weir_error *err)
{
	struct helds h = { 0 };
	uint64_t debt = 0;
	int64_t owed;
	bool begun;
	int ret;

	/* One snapshot: lots and debt of the same commit. */
	ret = weir_reader_begin(rd, &begun, err);
	if (ret)
		return ret;
	ret = read_lots(rd, wallet, &h, err);
	if (!ret)
		ret = weir_store_number(rd->db, "SELECT debt FROM account WHERE idx = ?", wallet,
					&debt, err);
	weir_reader_end(rd, begun);
	owed = (int64_t)debt;
	if (!ret) {
		pass(&h, now_ns, &owed);
		ret = hand_over(&h, owed, out, err);
	}
	free(h.v);
	return ret;
}
