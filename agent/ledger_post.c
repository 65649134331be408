// SPDX-License-Identifier: Apache-2.0
/*
 * What somebody asks for: grants, refunds and the like. Each is asked for under a key; asking
 * again finds the first one, so that a client that lost the answer can repeat.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_priv.h"
#include "agent/money.h"
#include "agent/store.h"

/* ------------------------------------------------------------------- the first one */

static int read_entry(struct weir_ledger *l, uint64_t seq, struct weir_entry_row *r,
		      sqlite3_stmt **st, struct weir_error *err)
{
	struct weir_log_part part;
	int rc, ret = weir_log_at(&l->log, seq, &part, err);

	if (ret)
		return ret;
	if (sqlite3_prepare_v2(part.db, "SELECT " WEIR_ENTRY_COLUMNS " FROM entry WHERE seq = ?",
			       -1, st, NULL) != SQLITE_OK)
		return weir_store_fail(part.db, err, "looking up an entry");
	sqlite3_bind_int64(*st, 1, (sqlite3_int64)seq);
	rc = sqlite3_step(*st);
	if (rc == SQLITE_DONE)
		return weir_fail(err, ENOENT, "entry %" PRIu64 ": no such entry", seq);
	if (rc != SQLITE_ROW)
		return weir_store_fail(part.db, err, "looking up an entry");
	if (weir_entry_row_read(*st, r))
		return weir_fail(err, EBADMSG, "entry %" PRIu64 " is damaged", seq);
	return 0;
}

static int tell_earlier(struct weir_ledger *l, uint64_t seq, struct weir_done *done,
			struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_entry_row r;
	struct weir_op op;
	bool old;
	int ret = read_entry(l, seq, &r, &st, err);

	if (!ret && weir_decode_op(&r.head, r.body, r.n_body, &op, &l->taken, &old))
		ret = weir_fail(err, EBADMSG, "entry %" PRIu64 " is damaged", seq);
	if (ret)
		return ret;
	*done = (struct weir_done){
		.seq = seq,
		.id = r.head.id,
		.repeated = true,
		.amount_nano = op.kind == WEIR_ENTRY_METER ? op.price_nano : op.amount_nano,
		.balance_nano = weir_book_balance(&l->book, r.head.wallet),
	};
	return 0;
}

/* The write made under that key before: 1, 0 if none, or an error. */
static int find_earlier(struct weir_ledger *l, const struct weir_op *op, struct weir_done *done,
			struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	uint8_t content[WEIR_HASH_BYTES];
	uint64_t seq;
	int rc, ret;

	if (weir_op_content(op, content))
		return weir_fail(err, EIO, "ledger: SHA-256 failed in libcrypto");
	if (sqlite3_prepare_v2(l->db, "SELECT seq, content FROM write WHERE key = ?", -1, &st,
			       NULL) != SQLITE_OK)
		return weir_store_fail(l->db, err, "looking up a write");
	sqlite3_bind_text(st, 1, op->key, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_DONE)
		return 0;
	if (rc != SQLITE_ROW)
		return weir_store_fail(l->db, err, "looking up a write");
	seq = (uint64_t)sqlite3_column_int64(st, 0);
	if (sqlite3_column_bytes(st, 1) != sizeof(content) ||
	    memcmp(sqlite3_column_blob(st, 1), content, sizeof(content)))
		return weir_fail(err, EEXIST,
				 "id \"%s\" was used for another write (entry %" PRIu64
				 "); repeat it unchanged, or take another id",
				 op->key, seq);
	ret = tell_earlier(l, seq, done, err);
	return ret ? ret : 1;
}

/* -------------------------------------------------------------------------- checks */

static bool ends(const char *text, size_t room)
{
	return memchr(text, 0, room);
}

static int check_texts(const struct weir_op *op, struct weir_error *err)
{
	if (!op->key[0] || !ends(op->key, sizeof(op->key)) ||
	    !ends(op->reason, sizeof(op->reason)) || !ends(op->actor, sizeof(op->actor)) ||
	    !ends(op->zone, sizeof(op->zone)) || !ends(op->pack, sizeof(op->pack)) ||
	    !ends(op->currency, sizeof(op->currency)) ||
	    !ends(op->dimension, sizeof(op->dimension)) || !ends(op->model, sizeof(op->model)) ||
	    !ends(op->feature, sizeof(op->feature)) || !ends(op->session, sizeof(op->session)))
		return weir_fail(err, EINVAL, "ledger: an id is empty, or a text too long");
	return 0;
}

/* Terms of a lot. Table `entry` keeps times as signed numbers. */
static int check_terms(const struct weir_op *op, uint64_t now_ns, struct weir_error *err)
{
	if (op->amount_nano <= 0)
		return weir_fail(err, EINVAL, "\"%s\": the amount must be above 0", op->key);
	if (op->source > WEIR_GRANT_TRIAL)
		return weir_fail(err, EINVAL, "\"%s\": no such source", op->key);
	if (op->effective_ns > INT64_MAX || op->expires_ns > INT64_MAX)
		return weir_fail(err, EINVAL, "\"%s\": a time past the year 2262", op->key);
	if (op->expires_ns && (op->expires_ns <= op->effective_ns || op->expires_ns <= now_ns))
		return weir_fail(err, EINVAL, "\"%s\": it expires before it is effective", op->key);
	if (op->cost_basis_nano < 0)
		return weir_fail(err, EINVAL, "\"%s\": a cost basis below 0", op->key);
	return 0;
}

static int check_schedule(const struct weir_op *op, uint64_t now_ns, struct weir_error *err)
{
	int ret = check_terms(op, now_ns, err);

	if (ret)
		return ret;
	if (op->every < WEIR_EVERY_DAY || op->every > WEIR_EVERY_MONTH)
		return weir_fail(err, EINVAL, "\"%s\": no such period", op->key);
	if (weir_zone_check(op->zone))
		return weir_fail(err, EINVAL,
				 "\"%s\": time zone \"%s\" is not known (one is \"Europe/Berlin\")",
				 op->key, op->zone);
	if (op->roll_min_nano < 0 || op->roll_max_nano < op->roll_min_nano)
		return weir_fail(err, EINVAL, "\"%s\": rollover must be 0 <= min <= max", op->key);
	if (op->expires_ns)
		return weir_fail(err, EINVAL, "\"%s\": what recurs expires when it recurs",
				 op->key);
	if (!(op->flags & WEIR_OP_NOW) && op->effective_ns < now_ns)
		return weir_fail(err, EINVAL, "\"%s\": it cannot start in the past", op->key);
	return 0;
}

static int check(struct weir_ledger *l, const struct weir_op *op, uint64_t now_ns,
		 struct weir_error *err)
{
	if (!weir_ledger_tenant_name(l, op->tenant) || !weir_ledger_tenant_name(l, op->wallet))
		return weir_fail(err, ENOENT, "\"%s\": no such tenant", op->key);
	switch (op->kind) {
	case WEIR_ENTRY_GRANT:
		return check_terms(op, now_ns, err);
	case WEIR_ENTRY_SCHEDULE:
		return check_schedule(op, now_ns, err);
	case WEIR_ENTRY_ADJUST:
		if (!op->amount_nano)
			return weir_fail(err, EINVAL, "\"%s\": an adjustment of nothing", op->key);
		return 0;
	case WEIR_ENTRY_DEDUCT:
		if (op->amount_nano <= 0)
			return weir_fail(err, EINVAL, "\"%s\": the amount must be above 0",
					 op->key);
		return 0;
	case WEIR_ENTRY_REFUND:
		if (op->amount_nano < 0)
			return weir_fail(err, EINVAL, "\"%s\": the amount must be above 0",
					 op->key);
		return 0;
	case WEIR_ENTRY_METER:
		if (op->quantity_nano <= 0 || !op->dimension[0])
			return weir_fail(err, EINVAL,
					 "\"%s\": the quantity must be above 0, of something",
					 op->key);
		if (op->started_ns > INT64_MAX)
			return weir_fail(err, EINVAL, "\"%s\": a time past the year 2262", op->key);
		return 0;
	case WEIR_ENTRY_VOID:
		return 0;
	default:
		return weir_fail(err, EINVAL, "\"%s\": nobody can ask for that", op->key);
	}
}

/* -------------------------------------------------------------------------- entering */

/* Time first, so that ids sort; the rest comes from the key. */
static int make_id(struct weir_ledger *l, const struct weir_op *op, uint64_t time_ns,
		   struct weir_id *id)
{
	uint8_t hash[EVP_MAX_MD_SIZE];

	if (EVP_Digest(op->key, strlen(op->key), hash, NULL, l->chain.sha256, NULL) != 1)
		return -EIO;
	for (int i = 0; i < 8; i++)
		id->b[i] = (uint8_t)(time_ns >> (56 - 8 * i));
	memcpy(id->b + 8, hash, 8);
	return 0;
}

static bool can_be_refunded(uint8_t kind)
{
	return kind == WEIR_ENTRY_USAGE || kind == WEIR_ENTRY_DEDUCT || kind == WEIR_ENTRY_METER ||
	       kind == WEIR_ENTRY_TRUE_UP;
}

/* What the entry took, into l->taken; and its lots into memory. */
static int read_taken(struct weir_ledger *l, const struct weir_op *op, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct weir_entry_row r;
	struct weir_row row;
	struct weir_op was;
	bool old;
	int ret = read_entry(l, op->of, &r, &st, err);

	if (ret)
		return ret;
	if (!can_be_refunded(r.head.kind) || r.head.amount_nano >= 0)
		return weir_fail(err, EINVAL, "entry %" PRIu64 " took nothing: a %s", op->of,
				 r.head.kind < WEIR_ENTRY_KIND_MAX
					 ? weir_entry_kind_names[r.head.kind]
					 : "kind that is not known");
	if (r.head.wallet != op->wallet)
		return weir_fail(err, EINVAL, "entry %" PRIu64 " was paid by another wallet",
				 op->of);
	ret = r.head.kind == WEIR_ENTRY_USAGE
		      ? weir_decode_usage(&r.head, r.body, r.n_body, &row, &l->taken, &old)
		      : weir_decode_op(&r.head, r.body, r.n_body, &was, &l->taken, &old);
	if (ret)
		return weir_fail(err, EBADMSG, "entry %" PRIu64 " is damaged", op->of);
	for (size_t i = 0; i < l->taken.n_moves && !ret; i++)
		if (l->taken.moves[i].lot)
			ret = weir_ledger_load_lot(l, l->taken.moves[i].lot, err);
	return ret;
}

static int fail_plan(int ret, const struct weir_ledger *l, const struct weir_op *op,
		     struct weir_error *err)
{
	char text[WEIR_MONEY_TEXT], left[WEIR_MONEY_TEXT];

	weir_money_format(op->amount_nano, text);
	weir_money_format(weir_book_balance(&l->book, op->wallet), left);
	switch (ret) {
	case -ENODATA:
		return weir_fail(err, ENODATA, "\"%s\": %s is more than there is (balance %s)",
				 op->key, text, left);
	case -ENOENT:
		return weir_fail(err, ENOENT, "\"%s\": entry %" PRIu64 " is no %s of this wallet",
				 op->key, op->of,
				 op->flags & WEIR_OP_SCHEDULE ? "schedule" : "grant");
	case -EINVAL:
		if (op->kind == WEIR_ENTRY_REFUND)
			return weir_fail(err, EINVAL,
					 "\"%s\": entry %" PRIu64 " has not so much left to refund",
					 op->key, op->of);
		return weir_fail(err, EINVAL, "\"%s\": entry %" PRIu64 " has nothing left to void",
				 op->key, op->of);
	case -ERANGE:
		return weir_fail(err, ERANGE,
				 "\"%s\": more credit than a wallet can hold (9223372036)",
				 op->key);
	default:
		return weir_fail(err, -ret, "\"%s\": %s", op->key, strerror(-ret));
	}
}

static int plan(struct weir_ledger *l, struct weir_op *op, struct weir_entry_head *h,
		struct weir_sale *sale, struct weir_charge *charge, struct weir_error *err)
{
	int ret = 0;

	weir_ledger_new_posting(l);
	if (op->kind == WEIR_ENTRY_REFUND) {
		ret = read_taken(l, op, err);
		if (ret)
			return ret;
		ret = weir_book_plan_refund(&l->book, op, &l->taken, h, &l->post);
		return ret ? fail_plan(ret, l, op, err) : 0;
	}
	if (op->kind == WEIR_ENTRY_VOID && !(op->flags & WEIR_OP_SCHEDULE))
		ret = weir_ledger_load_lot(l, op->of, err);
	if (ret)
		return ret;
	if (op->kind == WEIR_ENTRY_METER)
		ret = weir_ledger_price_meter(l, op, h->time_ns, sale, charge);
	if (!ret)
		ret = weir_book_plan_op(&l->book, op, h, &l->post);
	return ret ? fail_plan(ret, l, op, err) : 0;
}

/* What is to be entered, between its checks and its commit. */
struct entering {
	struct weir_op op;	  /* with what "now" is filled in */
	const struct weir_id *as; /* the id it is to have; NULL: one of its own */
	struct weir_entry_head head;
	struct weir_sale sale;
	struct weir_charge charge;
};

/* Nothing is written if this fails. */
static int plan_entry(struct weir_ledger *l, struct entering *e, uint64_t now_ns,
		      struct weir_error *err)
{
	weir_ledger_head(l, e->op.kind, e->op.tenant, e->op.wallet, now_ns, &e->head);
	if (e->as)
		e->head.id = *e->as;
	else if (make_id(l, &e->op, e->head.time_ns, &e->head.id))
		return weir_fail(err, EIO, "ledger: SHA-256 failed in libcrypto");
	e->sale = (struct weir_sale){ 0 };
	return plan(l, &e->op, &e->head, &e->sale, &e->charge, err);
}

static int put_entry(struct weir_ledger *l, const struct weir_op *asked, struct entering *e,
		     struct weir_error *err)
{
	int ret = weir_ledger_put_op(l, &e->op, &e->head, err);

	if (!ret && e->op.kind == WEIR_ENTRY_METER)
		ret = weir_ledger_count_meter(l, &e->op, &e->sale, &e->charge, err);
	if (!ret)
		ret = weir_ledger_put_write(l, asked, e->head.seq, err);
	/* What it began may be due at once. */
	if (!ret)
		ret = weir_ledger_due(l, e->head.time_ns, err);
	return ret ? ret : weir_ledger_ask(l, e->op.wallet, err);
}

/* What "now" is is filled in. */
static void fill_in(struct weir_op *op, uint64_t now_ns)
{
	if (!op->effective_ns && op->kind != WEIR_ENTRY_METER) {
		op->effective_ns = now_ns;
		op->flags |= WEIR_OP_NOW;
	}
	switch (op->kind) {
	case WEIR_ENTRY_METER:
		if (op->started_ns)
			break;
		op->started_ns = now_ns;
		op->flags |= WEIR_OP_NOW;
		break;
	case WEIR_ENTRY_ADJUST:
		op->source = WEIR_GRANT_ADJUST;
		op->priority = WEIR_PRIORITY;
		break;
	case WEIR_ENTRY_REFUND:
		if (!op->amount_nano)
			op->flags |= WEIR_OP_REST;
		break;
	}
}

/* 0: *op is to be entered; 1: it was before, which *done says. */
static int look_at(struct weir_ledger *l, const struct weir_op *asked, uint64_t now_ns,
		   struct weir_op *op, struct weir_done *done, struct weir_error *err)
{
	struct weir_done d = { 0 };
	int ret = check_texts(asked, err);

	/* Earlier first: what expired meanwhile was made all the same. */
	if (!ret)
		ret = find_earlier(l, asked, &d, err);
	if (ret > 0)
		*done = d;
	if (ret)
		return ret;
	*op = *asked;
	fill_in(op, now_ns);
	return check(l, op, now_ns, err);
}

static void tell_done(const struct weir_ledger *l, const struct entering *e, struct weir_done *done)
{
	*done = (struct weir_done){
		.seq = e->head.seq,
		.id = e->head.id,
		.amount_nano =
			e->op.kind == WEIR_ENTRY_METER ? e->op.price_nano : e->op.amount_nano,
		.balance_nano = weir_book_balance(&l->book, e->op.wallet),
	};
}

static int post(struct weir_ledger *l, const struct weir_op *asked, const struct weir_id *as,
		uint64_t now_ns, struct weir_done *done, struct weir_error *err)
{
	struct entering e = { .as = as };
	int ret = look_at(l, asked, now_ns, &e.op, done, err);

	if (ret)
		return ret < 0 ? ret : 0;
	ret = weir_ledger_begin(l, err);
	if (ret)
		return ret;
	ret = weir_ledger_due(l, now_ns, err);
	if (!ret)
		ret = plan_entry(l, &e, now_ns, err);
	if (!ret)
		ret = put_entry(l, asked, &e, err);
	ret = weir_ledger_end(l, ret, err);
	if (!ret)
		tell_done(l, &e, done);
	return ret;
}

int weir_ledger_post(struct weir_ledger *l, const struct weir_op *asked, uint64_t now_ns,
		     struct weir_done *done, struct weir_error *err)
{
	return post(l, asked, NULL, now_ns, done, err);
}

int weir_ledger_post_as(struct weir_ledger *l, const struct weir_op *asked,
			const struct weir_id *id, uint64_t now_ns, struct weir_done *done,
			struct weir_error *err)
{
	return post(l, asked, id, now_ns, done, err);
}

/* -------------------------------------------------------------------------- many */

/* The fault is that of what is asked: others can be entered. */
static bool is_its_own(int ret)
{
	return ret == -EINVAL || ret == -ENOENT || ret == -EEXIST || ret == -ENODATA ||
	       ret == -ERANGE;
}

static int post_one(struct weir_ledger *l, struct weir_post *p, uint64_t now_ns,
		    struct weir_error *err)
{
	struct entering e = { .as = NULL };
	int ret = look_at(l, &p->op, now_ns, &e.op, &p->done, &p->err);

	if (ret > 0)
		return 0;
	if (!ret) {
		ret = weir_ledger_due(l, now_ns, err);
		if (ret)
			return ret;
		ret = plan_entry(l, &e, now_ns, &p->err);
	}
	if (is_its_own(ret)) {
		p->ret = ret;
		return 0;
	}
	if (ret) {
		*err = p->err;
		return ret;
	}
	ret = put_entry(l, &p->op, &e, err);
	if (!ret)
		tell_done(l, &e, &p->done);
	return ret;
}

int weir_ledger_post_all(struct weir_ledger *l, struct weir_post *posts, size_t n, uint64_t now_ns,
			 struct weir_error *err)
{
	weir_autofree bool *asked = calloc(n ? n : 1, sizeof(*asked));
	int ret;

	if (!asked)
		return weir_fail(err, ENOMEM, "ledger: out of memory");
	ret = weir_ledger_begin(l, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < n && !ret; i++) {
		asked[i] = !posts[i].ret;
		if (asked[i])
			ret = post_one(l, &posts[i], now_ns, err);
	}
	ret = weir_ledger_end(l, ret, err);
	/* None of them: what was said of one before may have been for want of another. */
	for (size_t i = 0; i < n && ret; i++)
		if (asked[i])
			posts[i].ret = 0;
	return ret;
}
