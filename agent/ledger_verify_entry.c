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

static const char *const purse_names[] = { "remaining", "expired", "pending", "debt" };

/* ------------------------------------------------------------------ effects */

static int check_positions(struct weir_check *c, uint64_t seq)
{
	const struct weir_posting *is = &c->is, *should = &c->should;

	if (is->session_begins != should->session_begins)
		return weir_check_wrong(
			c, seq,
			should->session_begins
				? "it begins a session and does not say so"
				: "it says that it begins a session, which it does not");
	if (is->n_positions != should->n_positions)
		return weir_check_wrong(c, seq,
					"it has %zu positions of counters, but recomputed %zu",
					is->n_positions, should->n_positions);
	for (size_t i = 0; i < is->n_positions; i++) {
		const struct weir_position *a = &is->positions[i], *b = &should->positions[i];

		if (a->dimension != b->dimension || a->at != b->at)
			return weir_check_wrong(c, seq,
						"the counter of %s is said to be at %" PRId64
						", but recomputed that of %s is at %" PRId64,
						weir_dimension_names[a->dimension], a->at,
						weir_dimension_names[b->dimension], b->at);
	}
	return 0;
}

/* Entries of before took from an expired lot's rest without saying that it was expired. */
static uint8_t purse_of(const struct weir_move *m, bool old)
{
	return old && m->purse == WEIR_PURSE_EXPIRED ? WEIR_PURSE_REMAINING : m->purse;
}

static int check_moves(struct weir_check *c, uint64_t seq, bool old)
{
	const struct weir_posting *is = &c->is, *should = &c->should;

	for (size_t i = 0; i < is->n_moves && i < should->n_moves; i++) {
		const struct weir_move *a = &is->moves[i], *b = &should->moves[i];
		char what[96];

		if (purse_of(a, old) != purse_of(b, old) || a->lot != b->lot)
			return weir_check_wrong(
				c, seq,
				"it moves %s of lot %" PRIu64 ", but recomputed %s of lot %" PRIu64,
				purse_names[a->purse], a->lot, purse_names[b->purse], b->lot);
		snprintf(what, sizeof(what), "what it moves of lot %" PRIu64, a->lot);
		if (a->nano != b->nano)
			return weir_check_money(c, seq, a->lot ? what : "the debt it makes",
						a->nano, b->nano);
	}
	if (is->n_moves != should->n_moves)
		return weir_check_wrong(c, seq, "it has %zu moves, but recomputed %zu", is->n_moves,
					should->n_moves);
	return 0;
}

static int check_effect(struct weir_check *c, const struct weir_entry_head *is,
			const struct weir_entry_head *should, bool old)
{
	int ret;

	if (is->amount_nano != should->amount_nano)
		return weir_check_money(c, is->seq, "amount", is->amount_nano, should->amount_nano);
	ret = check_moves(c, is->seq, old);
	if (ret)
		return ret;
	if (is->before_nano != should->before_nano)
		return weir_check_money(c, is->seq, "balance before", is->before_nano,
					should->before_nano);
	if (is->after_nano != should->after_nano)
		return weir_check_money(c, is->seq, "balance after", is->after_nano,
					should->after_nano);
	return 0;
}

static struct weir_entry_head head_of(const struct weir_entry_head *is)
{
	return (struct weir_entry_head){
		.seq = is->seq,
		.id = is->id,
		.kind = is->kind,
		.time_ns = is->time_ns,
		.tenant = is->tenant,
		.wallet = is->wallet,
	};
}

/* ------------------------------------------------------------------ what falls due */

static bool is_due_kind(uint8_t kind)
{
	return kind == WEIR_ENTRY_EXPIRE || kind == WEIR_ENTRY_ACTIVATE ||
	       kind == WEIR_ENTRY_RECUR || kind == WEIR_ENTRY_TRUE_UP;
}

static bool same_op(const struct weir_op *a, const struct weir_op *b)
{
	static const struct weir_posting nothing;
	struct weir_bytes x = { 0 }, y = { 0 };
	bool same = !weir_encode_op(&x, a, &nothing) && !weir_encode_op(&y, b, &nothing) &&
		    x.len == y.len && !memcmp(x.p, y.p, x.len);

	free(x.p);
	free(y.p);
	return same;
}

/* 1: op is due at or before to_ns; h and c->should are what its entry must be. 0: nothing is. */
static int next_due(struct weir_check *c, uint64_t to_ns, struct weir_op *op,
		    struct weir_entry_head *h)
{
	uint64_t at;
	int ret;

	while ((ret = weir_book_due(&c->book, to_ns, op, &at)) > 0) {
		*h = (struct weir_entry_head){
			.seq = c->seq + 1,
			.kind = op->kind,
			.time_ns = at > c->time_ns ? at : c->time_ns,
			.tenant = op->tenant,
			.wallet = op->wallet,
		};
		ret = weir_book_plan_due(&c->book, op, h, &c->should);
		if (ret != -ERANGE)
			return ret ? ret : 1;
		/* It cannot be done, and was left out. */
		ret = weir_book_due_drop(&c->book);
		if (ret)
			return ret;
	}
	return ret;
}

/* If anything is due by its time, the entry must be that, the first of it. *done: it is. op: NULL
 * for usage. */
static int check_due(struct weir_check *c, const struct weir_entry_head *is,
		     const struct weir_op *op, bool *done)
{
	struct weir_entry_head should;
	struct weir_op due;
	int ret;

	*done = false;
	ret = next_due(c, is->time_ns, &due, &should);
	if (ret < 0)
		return ret;
	if (!ret && is_due_kind(is->kind))
		return weir_check_wrong(c, is->seq, "nothing was due, but it is a %s of %" PRIu64,
					weir_entry_kind_names[is->kind], op->of);
	if (!ret)
		return 0;
	if (is->kind != due.kind || op->of != due.of || is->tenant != should.tenant ||
	    is->wallet != should.wallet || is->time_ns != should.time_ns)
		return weir_check_wrong(
			c, is->seq, "before it the %s of %" PRIu64 " was due, and is not entered",
			weir_entry_kind_names[due.kind], due.of);
	if (!same_op(op, &due))
		return weir_check_wrong(c, is->seq,
					"the terms of the %s are not those that were due",
					weir_entry_kind_names[due.kind]);
	*done = true;
	ret = check_effect(c, is, &should, false);
	return ret ? ret : weir_book_apply_op(&c->book, op, is, &c->is, false);
}

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
	return check_positions(c, seq);
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
		ret = check_positions(c, seq);
		return ret ? ret : check_price(c, seq, charge, row->price_nano, row->cost_nano);
	}
	weir_quantities_of(row, false, &q);
	ret = price(c, seq, s, row->card_id, &q, charge);
	return ret ? ret : check_price(c, seq, charge, row->price_nano, row->cost_nano);
}

static int check_usage(struct weir_check *c, const struct weir_entry_row *r)
{
	struct weir_entry_head h = head_of(&r->head);
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
	ret = old ? weir_book_pass(&c->book, h.time_ns) : check_due(c, &r->head, NULL, &done);
	if (ret)
		return ret;
	ret = price_usage(c, h.seq, &row, &s, &charge);
	if (ret)
		return ret;
	ret = weir_book_plan_usage(&c->book, &row, &h, &c->should);
	if (ret == -ERANGE)
		return weir_check_wrong(c, h.seq, "its price is posted, but cannot be");
	if (!ret)
		ret = check_effect(c, &r->head, &h, old);
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
		ret = check_positions(c, seq);
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
	struct weir_entry_head h = head_of(&r->head);
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
	ret = check_effect(c, &r->head, &h, old);
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
		ret = check_due(c, h, &op, &done);
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
