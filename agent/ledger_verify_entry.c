// SPDX-License-Identifier: Apache-2.0
/*
 * What an entry should say, worked out from those before it: what was due, the price by card,
 * counters and sessions, which lots paid, the balance.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_verify_priv.h"
#include "agent/store.h"

/* ------------------------------------------------------------------ prices */

/* What is sold: by the entry itself. charge->factor 0: it has no price. */
static int price(struct weir_check *c, uint64_t seq, struct weir_sale *s, uint32_t card_id,
		 struct weir_quantities *q, struct weir_charge *charge)
{
	int ret;

	s->card = weir_reader_card(c->rd, card_id);
	if (!s->card)
		return weir_check_wrong(c, seq, "rate card %" PRIu32 " is not in the database",
					card_id);
	if (s->entry >= s->card->n_entries)
		return weir_check_wrong(c, seq, "rate card %s/%s has no entry %" PRIu32,
					s->card->name, s->card->version, s->entry);
	if (s->started_ns < s->card->effective_from_ns)
		return weir_check_wrong(c, seq, "rate card %s/%s was not in force yet",
					s->card->name, s->card->version);
	if (s->discount_milli && !weir_card_has_discount(s->card, s->discount_milli))
		return weir_check_wrong(c, seq,
					"rate card %s/%s gives nobody %" PRIu32 " thousandths off",
					s->card->name, s->card->version, s->discount_milli);
	ret = weir_book_price(&c->book, s, q, &c->should, charge);
	if (ret == -ENOMEM)
		return ret;
	if (ret)
		return weir_check_wrong(c, seq, "by rate card %s/%s the price does not fit",
					s->card->name, s->card->version);
	c->out->repriced++;
	return weir_check_positions(c, seq);
}

static int check_price(struct weir_check *c, uint64_t seq, const struct weir_charge *charge,
		       int64_t price_nano, int64_t cost_nano)
{
	if (price_nano != charge->price_nano)
		return weir_check_money(c, seq, "price", price_nano, charge->price_nano);
	if (cost_nano != charge->cost_nano)
		return weir_check_money(c, seq, "cost", cost_nano, charge->cost_nano);
	return 0;
}

static void no_price(struct weir_check *c)
{
	c->should.n_positions = 0;
	c->should.session_begins = false;
}

static int count(struct weir_check *c, const struct weir_sale *s, const struct weir_charge *charge)
{
	if (s->started_ns > c->priced_ns)
		c->priced_ns = s->started_ns;
	return weir_book_count(&c->book, s, &c->should, charge);
}

static void count_unpriced(struct weir_check *c, const char *what, uint16_t service,
			   uint64_t started_ns)
{
	char *key = g_strdup_printf("%u|%s", service, what);
	struct weir_check_unpriced *u = g_hash_table_lookup(c->unpriced, key);

	if (!u) {
		u = g_new0(struct weir_check_unpriced, 1);
		u->first_ns = started_ns;
		g_hash_table_insert(c->unpriced, g_strdup(key), u);
	}
	u->count++;
	u->first_ns = started_ns < u->first_ns ? started_ns : u->first_ns;
	u->last_ns = started_ns > u->last_ns ? started_ns : u->last_ns;
	g_free(key);
}

/* ------------------------------------------------------------------ usage */

static int price_usage(struct weir_check *c, uint64_t seq, const struct weir_row *row,
		       struct weir_sale *s, struct weir_charge *charge)
{
	struct weir_quantities q;
	int ret;

	no_price(c);
	if (!(row->flags & WEIR_ROW_BILLABLE) || row->flags & WEIR_ROW_UNPRICED || !row->card_id) {
		*charge = (struct weir_charge){ 0 };
		ret = weir_check_positions(c, seq);
		return ret ? ret : check_price(c, seq, charge, row->price_nano, row->cost_nano);
	}
	weir_quantities_of(row, false, &q);
	ret = price(c, seq, s, row->card_id, &q, charge);
	return ret ? ret : check_price(c, seq, charge, row->price_nano, row->cost_nano);
}

static int check_usage(struct weir_check *c, const struct weir_entry_row *r)
{
	struct weir_entry_head h = weir_check_head(&r->head);
	struct weir_charge charge;
	struct weir_row row;
	bool old, done;
	int ret;

	ret = weir_decode_usage(&r->head, r->body, r->n_body, &row, &c->is, &old);
	if (ret)
		return ret == -EBADMSG ? weir_check_wrong(c, h.seq, "its body cannot be decoded")
				       : ret;
	struct weir_sale s = {
		.entry = row.card_entry,
		.discount_milli = row.discount_milli,
		.tenant = row.tenant,
		.wallet = row.wallet,
		.posted = row.flags & WEIR_ROW_POSTED,
		.session = row.flags & WEIR_ROW_TRUSTED ? row.session : NULL,
		.started_ns = row.started_wall_ns,
		.time_ns = h.time_ns,
	};
	/* Before what falls due had entries, it happened without. */
	ret = old ? weir_book_pass(&c->book, h.time_ns) : weir_check_due(c, &r->head, NULL, &done);
	if (ret)
		return ret;
	ret = price_usage(c, h.seq, &row, &s, &charge);
	if (ret)
		return ret;
	ret = weir_book_plan_usage(&c->book, &row, &h, &c->should);
	if (ret == -ERANGE)
		return weir_check_wrong(c, h.seq, "its price is posted, but cannot be");
	if (!ret)
		ret = weir_check_effect(c, &r->head, &h, old);
	if (!ret)
		ret = weir_book_apply_usage(&c->book, &row, &r->head, &c->is, old);
	if (!ret && s.card)
		ret = count(c, &s, &charge);
	else if (!ret && row.flags & WEIR_ROW_UNPRICED)
		count_unpriced(c, row.model, row.service, row.started_wall_ns);
	return ret;
}

/* ------------------------------------------------------------------ acts */

static int check_write(struct weir_check *c, uint64_t seq, const struct weir_op *op)
{
	uint8_t content[WEIR_HASH_BYTES];
	int rc, ret = 0;

	if (!op->key[0])
		return 0;
	if (weir_op_content(op, content))
		return -EIO;
	c->writes++;
	sqlite3_bind_text(c->find_write, 1, op->key, -1, SQLITE_STATIC);
	rc = sqlite3_step(c->find_write);
	if (rc == SQLITE_ROW && (uint64_t)sqlite3_column_int64(c->find_write, 0) != seq)
		ret = weir_check_wrong(c, seq, "its id \"%s\" is kept as that of entry %lld",
				       op->key, (long long)sqlite3_column_int64(c->find_write, 0));
	else if (rc == SQLITE_ROW &&
		 (sqlite3_column_bytes(c->find_write, 1) != WEIR_HASH_BYTES ||
		  memcmp(sqlite3_column_blob(c->find_write, 1), content, WEIR_HASH_BYTES)))
		ret = weir_check_wrong(
			c, seq, "what was asked under its id \"%s\" is kept otherwise", op->key);
	else if (rc == SQLITE_DONE)
		ret = weir_check_wrong(c, seq, "its id \"%s\" is not kept in table write", op->key);
	else if (rc != SQLITE_ROW)
		ret = -EIO;
	sqlite3_reset(c->find_write);
	return ret;
}

/* What the refunded entry took. */
static int read_taken(struct weir_check *c, uint64_t seq, uint64_t of, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_log_part part;
	struct weir_entry_row r;
	struct weir_row row;
	struct weir_op op;
	bool old;
	int ret;

	if (!of || of >= seq)
		return weir_check_wrong(c, seq,
					"it refunds entry %" PRIu64 ", which is not before it", of);
	ret = weir_log_at(&c->rd->log, of, &part, err);
	if (!ret)
		ret = weir_store_prepare(part.db,
					 "SELECT " WEIR_ENTRY_COLUMNS " FROM entry WHERE seq = ?",
					 &st, err);
	if (ret)
		return ret;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)of);
	if (sqlite3_step(st) != SQLITE_ROW || weir_entry_row_read(st, &r))
		return weir_check_wrong(c, seq, "it refunds entry %" PRIu64 ", which is damaged",
					of);
	return r.head.kind == WEIR_ENTRY_USAGE
		       ? weir_decode_usage(&r.head, r.body, r.n_body, &row, &c->taken, &old)
		       : weir_decode_op(&r.head, r.body, r.n_body, &op, &c->taken, &old);
}

static int price_meter(struct weir_check *c, const struct weir_entry_head *h,
		       const struct weir_op *op, struct weir_sale *s, struct weir_charge *charge)
{
	struct weir_quantities q;
	uint64_t seq = h->seq;
	int ret;

	no_price(c);
	*s = (struct weir_sale){
		.entry = op->card_entry,
		.discount_milli = op->discount_milli,
		.tenant = op->tenant,
		.wallet = op->wallet,
		.posted = op->flags & WEIR_OP_POSTED,
		.session = op->flags & WEIR_OP_TRUSTED ? op->session : NULL,
		.started_ns = op->started_ns,
		.time_ns = h->time_ns,
	};
	*charge = (struct weir_charge){ 0 };
	if (op->flags & WEIR_OP_UNPRICED || !op->card_id) {
		ret = weir_check_positions(c, seq);
		return ret ? ret : check_price(c, seq, charge, op->price_nano, op->cost_nano);
	}
	for (int d = 0; d < WEIR_DIM_MAX; d++)
		q.of[d] = WEIR_UNKNOWN;
	q.of[WEIR_DIM_UNIT] = op->quantity_nano;
	ret = price(c, seq, s, op->card_id, &q, charge);
	return ret ? ret : check_price(c, seq, charge, op->price_nano, op->cost_nano);
}

static int count_meter(struct weir_check *c, const struct weir_op *op, const struct weir_sale *s,
		       const struct weir_charge *charge)
{
	char what[sizeof(op->dimension) + sizeof(op->model) + 8];

	if (s->card)
		return count(c, s, charge);
	snprintf(what, sizeof(what), "meter:%s%s%s", op->dimension, op->model[0] ? "/" : "",
		 op->model);
	count_unpriced(c, what, 0, op->started_ns);
	return 0;
}

static const char *plan_error(int ret)
{
	switch (ret) {
	case -ENODATA:
		return "it takes more credit than there was";
	case -ENOENT:
		return "what it is about is not there";
	case -EINVAL:
		return "what it is about does not allow it";
	case -ERANGE:
		return "its amount does not fit";
	default:
		return NULL;
	}
}

static int check_top_up(struct weir_check *c, const struct weir_op *op)
{
	const struct weir_account *acc = weir_book_account(&c->book, op->wallet, false);

	if (acc && acc->f.asked)
		return weir_check_wrong(c, c->seq + 1, "it asks for a top-up again");
	if (weir_book_balance(&c->book, op->wallet) >= op->threshold_nano)
		return weir_check_wrong(c, c->seq + 1, "it asks for a top-up above the threshold");
	return 0;
}

static int check_act(struct weir_check *c, const struct weir_entry_row *r, const struct weir_op *op,
		     bool old, struct weir_error *err)
{
	struct weir_entry_head h = weir_check_head(&r->head);
	struct weir_op should = *op;
	struct weir_charge charge;
	struct weir_sale s;
	int ret = 0;

	no_price(c);
	if (op->kind == WEIR_ENTRY_METER)
		ret = price_meter(c, &h, op, &s, &charge);
	else if (op->kind == WEIR_ENTRY_TOP_UP)
		ret = check_top_up(c, op);
	if (!ret && op->kind == WEIR_ENTRY_REFUND)
		ret = read_taken(c, h.seq, op->of, err);
	if (ret)
		return ret;
	ret = op->kind == WEIR_ENTRY_REFUND
		      ? weir_book_plan_refund(&c->book, &should, &c->taken, &h, &c->should)
		      : weir_book_plan_op(&c->book, &should, &h, &c->should);
	if (ret)
		return plan_error(ret) ? weir_check_wrong(c, h.seq, "%s", plan_error(ret)) : ret;
	if (should.amount_nano != op->amount_nano)
		return weir_check_money(c, h.seq, "what it is about", op->amount_nano,
					should.amount_nano);
	ret = weir_check_effect(c, &r->head, &h, old);
	if (!ret)
		ret = weir_book_apply_op(&c->book, op, &r->head, &c->is, old);
	if (!ret && op->kind == WEIR_ENTRY_METER)
		ret = count_meter(c, op, &s, &charge);
	return ret ? ret : check_write(c, h.seq, op);
}

/* ------------------------------------------------------------------ an entry */

static int check_op(struct weir_check *c, const struct weir_entry_row *r, struct weir_error *err)
{
	const struct weir_entry_head *h = &r->head;
	bool old, done = false;
	struct weir_op op;
	int ret;

	ret = weir_decode_op(h, r->body, r->n_body, &op, &c->is, &old);
	if (ret)
		return ret == -EBADMSG ? weir_check_wrong(c, h->seq, "its body cannot be decoded")
				       : ret;
	if (old)
		ret = weir_book_pass(&c->book, h->time_ns);
	else if (op.kind != WEIR_ENTRY_TOP_UP) /* which comes between two that are due at once */
		ret = weir_check_due(c, h, &op, &done);
	if (!ret && !done)
		ret = check_act(c, r, &op, old, err);
	return ret;
}

int weir_check_entry(struct weir_check *c, const struct weir_entry_row *r, struct weir_error *err)
{
	const struct weir_entry_head *h = &r->head;
	int ret;

	if (!h->kind || h->kind >= WEIR_ENTRY_KIND_MAX)
		return weir_check_wrong(c, h->seq, "of an unknown kind (%u)", h->kind);
	ret = h->kind == WEIR_ENTRY_USAGE ? check_usage(c, r) : check_op(c, r, err);
	if (ret == -EBADMSG && !c->out->wrong[0])
		return weir_check_wrong(c, h->seq, "its moves do not add up");
	if (ret)
		return ret;
	if (h->wallet < WEIR_ACCOUNT_MAX && weir_book_balance(&c->book, h->wallet) != h->after_nano)
		return weir_check_money(c, h->seq, "balance after", h->after_nano,
					weir_book_balance(&c->book, h->wallet));
	weir_book_commit(&c->book);
	return 0;
}
