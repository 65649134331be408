// SPDX-License-Identifier: Apache-2.0
/*
 * What is sold and by which card: between a row or a meter and the book's counters.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/store.h"

const struct weir_card *weir_ledger_card_of(struct weir_ledger *l, uint32_t id)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_card *card = g_hash_table_lookup(l->cards, GUINT_TO_POINTER(id));
	struct weir_error err;
	int rc;

	if (card || !id)
		return card;
	rc = sqlite3_prepare_v2(l->db, "SELECT json FROM card WHERE id = ?", -1, &st, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(st, 1, id);
		rc = sqlite3_step(st);
	}
	if (rc == SQLITE_DONE)
		return NULL;
	/* Not "it has no price": the request would be given away for a disk's error. */
	if (rc != SQLITE_ROW || !sqlite3_column_text(st, 0)) {
		weir_ledger_read_failed(l, "reading a rate card");
		return NULL;
	}
	rc = weir_card_parse((const char *)sqlite3_column_text(st, 0), "ledger", &card, &err);
	if (rc == -ENOMEM) {
		l->failed = weir_fail(&l->failure, ENOMEM, "ledger: out of memory");
		return NULL;
	}
	if (rc)
		return NULL;
	card->id = id;
	g_hash_table_insert(l->cards, GUINT_TO_POINTER(id), card);
	return card;
}

/* 0 and sale->card NULL: it has no price. */
static int price(struct weir_ledger *l, struct weir_sale *sale, struct weir_quantities *q,
		 struct weir_charge *charge)
{
	int ret;

	if (sale->card && sale->entry >= sale->card->n_entries)
		sale->card = NULL;
	if (!sale->card)
		return 0;
	ret = weir_book_price(&l->book, sale, q, &l->post, charge);
	if (ret != -ENOMEM && ret) {
		sale->card = NULL;
		weir_ledger_new_posting(l);
		return 0;
	}
	return ret;
}

int weir_ledger_price_row(struct weir_ledger *l, struct weir_row *row, uint64_t time_ns,
			  struct weir_sale *sale, struct weir_charge *charge)
{
	struct weir_quantities q;
	int ret;

	*sale = (struct weir_sale){
		.entry = row->card_entry,
		.discount_milli = row->discount_milli,
		.tenant = row->tenant,
		.wallet = row->wallet,
		.posted = row->flags & WEIR_ROW_POSTED,
		.session = row->flags & WEIR_ROW_TRUSTED ? row->session : NULL,
		.started_ns = row->started_wall_ns,
		.time_ns = time_ns,
	};
	row->price_nano = row->cost_nano = 0;
	weir_ledger_new_posting(l);
	if (!(row->flags & WEIR_ROW_BILLABLE) || !row->card_id)
		return 0;
	sale->card = weir_ledger_card_of(l, row->card_id);
	weir_quantities_of(row, false, &q);
	ret = price(l, sale, &q, charge);
	if (ret)
		return ret;
	if (!sale->card) {
		row->flags |= WEIR_ROW_UNPRICED;
		row->card_id = row->card_entry = row->discount_milli = 0;
		return 0;
	}
	row->price_nano = charge->price_nano;
	row->cost_nano = charge->cost_nano;
	return 0;
}

int weir_ledger_price_meter(struct weir_ledger *l, struct weir_op *op, uint64_t time_ns,
			    struct weir_sale *sale, struct weir_charge *charge)
{
	struct weir_quantities q;
	int ret;

	*sale = (struct weir_sale){
		.card = weir_ledger_card_of(l, op->card_id),
		.entry = op->card_entry,
		.discount_milli = op->discount_milli,
		.tenant = op->tenant,
		.wallet = op->wallet,
		.posted = op->flags & WEIR_OP_POSTED,
		.session = op->flags & WEIR_OP_TRUSTED ? op->session : NULL,
		.started_ns = op->started_ns,
		.time_ns = time_ns,
	};
	op->price_nano = op->cost_nano = 0;
	weir_ledger_new_posting(l);
	for (int d = 0; d < WEIR_DIM_MAX; d++)
		q.of[d] = WEIR_UNKNOWN;
	q.of[WEIR_DIM_UNIT] = op->quantity_nano;
	ret = price(l, sale, &q, charge);
	if (ret)
		return ret;
	if (!sale->card) {
		op->flags |= WEIR_OP_UNPRICED;
		op->card_id = op->card_entry = op->discount_milli = 0;
		return 0;
	}
	op->price_nano = charge->price_nano;
	op->cost_nano = charge->cost_nano;
	return 0;
}

static int count(struct weir_ledger *l, const struct weir_sale *sale,
		 const struct weir_charge *charge, struct weir_error *err)
{
	int ret = weir_book_count(&l->book, sale, &l->post, charge);

	if (sale->started_ns > l->next.priced_ns)
		l->next.priced_ns = sale->started_ns;
	return ret ? weir_fail(err, -ret, "ledger: counting: %s", strerror(-ret)) : 0;
}

static int count_unpriced(struct weir_ledger *l, const char *what, uint16_t service,
			  uint64_t started_ns, struct weir_error *err)
{
	sqlite3_stmt *st = l->st[WEIR_ST_UNPRICED];

	sqlite3_bind_text(st, 1, what, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, service);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)started_ns);
	return weir_ledger_step(l, WEIR_ST_UNPRICED, "noting what has no price", err);
}

int weir_ledger_count_row(struct weir_ledger *l, const struct weir_row *row,
			  const struct weir_sale *sale, const struct weir_charge *charge,
			  struct weir_error *err)
{
	if (sale->card)
		return count(l, sale, charge, err);
	if (row->flags & WEIR_ROW_UNPRICED)
		return count_unpriced(l, row->model, row->service, row->started_wall_ns, err);
	return 0;
}

int weir_ledger_count_meter(struct weir_ledger *l, const struct weir_op *op,
			    const struct weir_sale *sale, const struct weir_charge *charge,
			    struct weir_error *err)
{
	char what[sizeof(op->dimension) + sizeof(op->model) + 8];

	if (sale->card)
		return count(l, sale, charge, err);
	snprintf(what, sizeof(what), "meter:%s%s%s", op->dimension, op->model[0] ? "/" : "",
		 op->model);
	return count_unpriced(l, what, 0, op->started_ns, err);
}
