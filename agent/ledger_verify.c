// SPDX-License-Identifier: Apache-2.0
/*
 * Believing nothing: the log is read from its first entry and everything that
 * follows from something else is worked out again (hashes, prices, burns,
 * balances, projections). The first disagreement is named.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_accounts.h"
#include "agent/ledger_read_priv.h"
#include "agent/money.h"
#include "agent/price.h"
#include "agent/store.h"

#define PAGE 4096

struct check {
	struct weir_reader *rd;
	struct weir_verify *out;
	struct weir_chain chain;
	struct weir_accounts accounts;
	struct weir_posting post; /* worked out; the reader's scratch has what is written */
	uint64_t seq, time_ns;	  /* of the entry before */
	uint8_t hash[WEIR_HASH_BYTES];
};

static int __attribute__((format(printf, 3, 4)))
wrong(struct check *c, uint64_t seq, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->out->wrong, sizeof(c->out->wrong), fmt, ap);
	va_end(ap);
	c->out->wrong_seq = seq;
	return -EBADMSG;
}

static int wrong_money(struct check *c, uint64_t seq, const char *what, int64_t is, int64_t should)
{
	char a[WEIR_MONEY_TEXT], b[WEIR_MONEY_TEXT];

	weir_money_format(is, a);
	weir_money_format(should, b);
	return wrong(c, seq, "%s is %s, but recomputed it is %s", what, a, b);
}

/* --------------------------------------------------------------------- entries */

static int check_price(struct check *c, uint64_t seq, const struct weir_row *row)
{
	const struct weir_card *card;
	struct weir_charge charge;

	if (!(row->flags & WEIR_ROW_BILLABLE) || row->flags & WEIR_ROW_UNPRICED || !row->card_id)
		return row->price_nano ? wrong_money(c, seq, "price", row->price_nano, 0) : 0;
	card = weir_reader_card(c->rd, row->card_id);
	if (!card)
		return wrong(c, seq, "rate card %" PRIu32 " is not in the database", row->card_id);
	if (row->card_entry >= card->n_entries)
		return wrong(c, seq, "rate card %s/%s has no entry %" PRIu32, card->name,
			     card->version, row->card_entry);
	if (weir_card_charge(card, (int)row->card_entry, &row->usage, &charge))
		return wrong(c, seq, "by rate card %s/%s the price does not fit", card->name,
			     card->version);
	c->out->repriced++;
	if (charge.price_nano != row->price_nano)
		return wrong_money(c, seq, "price", row->price_nano, charge.price_nano);
	if (charge.cost_nano != row->cost_nano)
		return wrong_money(c, seq, "cost", row->cost_nano, charge.cost_nano);
	return 0;
}

static int check_effect(struct check *c, const struct weir_entry_head *is,
			const struct weir_entry_head *should)
{
	const struct weir_posting *p = &c->rd->post;

	if (is->amount_nano != should->amount_nano)
		return wrong_money(c, is->seq, "amount", is->amount_nano, should->amount_nano);
	if (p->debt_nano != c->post.debt_nano)
		return wrong_money(c, is->seq, "debt", p->debt_nano, c->post.debt_nano);
	if (p->n_burns != c->post.n_burns)
		return wrong(c, is->seq, "%zu grants are burnt, but recomputed %zu", p->n_burns,
			     c->post.n_burns);
	for (size_t i = 0; i < p->n_burns; i++) {
		const struct weir_burn *a = &p->burns[i], *b = &c->post.burns[i];

		if (a->grant != b->grant)
			return wrong(c, is->seq,
				     "grant %" PRIu64 " is burnt, but recomputed %" PRIu64,
				     a->grant, b->grant);
		if (a->nano != b->nano)
			return wrong_money(c, is->seq, "a burn", a->nano, b->nano);
	}
	if (is->before_nano != should->before_nano)
		return wrong_money(c, is->seq, "balance before", is->before_nano,
				   should->before_nano);
	if (is->after_nano != should->after_nano)
		return wrong_money(c, is->seq, "balance after", is->after_nano, should->after_nano);
	return 0;
}

static int check_usage(struct check *c, const struct weir_entry_row *r)
{
	struct weir_entry_head h = r->head;
	struct weir_row row;
	int ret;

	ret = weir_decode_usage(&r->head, r->body, r->n_body, &row, &c->rd->post);
	if (ret == -EBADMSG)
		return wrong(c, h.seq, "its body cannot be decoded");
	if (!ret)
		ret = check_price(c, h.seq, &row);
	if (!ret) {
		ret = weir_accounts_plan_usage(&c->accounts, &row, h.time_ns, &h, &c->post);
		if (ret == -ERANGE)
			return wrong(c, h.seq, "its price is posted, but cannot be");
	}
	if (!ret)
		ret = check_effect(c, &r->head, &h);
	return ret ? ret : weir_accounts_apply_usage(&c->accounts, &row, &c->post);
}

static int check_grant(struct check *c, const struct weir_entry_row *r)
{
	struct weir_entry_head h = r->head;
	struct weir_grant g;
	bool now;
	int ret;

	ret = weir_decode_grant(&r->head, r->body, r->n_body, &g, &now, &c->rd->post);
	if (ret == -EBADMSG)
		return wrong(c, h.seq, "its body cannot be decoded");
	if (!ret && h.wallet != h.tenant)
		return wrong(c, h.seq, "the grant's wallet is not its tenant");
	if (!ret) {
		ret = weir_accounts_plan_grant(&c->accounts, &g, h.time_ns, &h, &c->post);
		if (ret == -ERANGE)
			return wrong(c, h.seq, "the granted amount cannot be");
	}
	if (!ret)
		ret = check_effect(c, &r->head, &h);
	return ret ? ret : weir_accounts_apply_grant(&c->accounts, &g, &h, &c->post);
}

static int check_entry(struct check *c, const struct weir_entry_row *r)
{
	const struct weir_entry_head *h = &r->head;
	uint8_t hash[WEIR_HASH_BYTES];
	int ret;

	if (h->seq != c->seq + 1)
		return wrong(c, c->seq + 1, "missing; the next one is %" PRIu64, h->seq);
	if (h->time_ns < c->time_ns)
		return wrong(c, h->seq, "its time is before that of the entry before it");
	ret = weir_chain_hash(&c->chain, c->hash, h, r->body, r->n_body, hash);
	if (ret)
		return ret;
	if (memcmp(hash, r->hash, sizeof(hash)))
		return wrong(c, h->seq, "its hash does not match its content and the one before");
	switch (h->kind) {
	case WEIR_ENTRY_USAGE:
		ret = check_usage(c, r);
		break;
	case WEIR_ENTRY_GRANT:
		ret = check_grant(c, r);
		break;
	default:
		return wrong(c, h->seq, "of an unknown kind (%u)", h->kind);
	}
	if (ret == -EBADMSG && !c->out->wrong_seq)
		return wrong(c, h->seq, "burns or repays what is not there");
	if (ret)
		return ret;
	weir_accounts_commit(&c->accounts);
	c->seq = h->seq;
	c->time_ns = h->time_ns;
	memcpy(c->hash, hash, sizeof(hash));
	c->out->entries++;
	return 0;
}

/* Up to max entries after the last one checked; *more: there may be others. */
static int check_page(struct check *c, sqlite3_stmt *st, size_t max, bool *more,
		      struct weir_error *err)
{
	struct weir_entry_row r;
	int rc = SQLITE_DONE, ret = 0;

	sqlite3_bind_int64(st, 1, (sqlite3_int64)c->seq);
	for (size_t i = 0; i < max && !ret; i++) {
		rc = sqlite3_step(st);
		if (rc != SQLITE_ROW)
			break;
		if (weir_entry_row_read(st, &r))
			ret = wrong(c, (uint64_t)sqlite3_column_int64(st, 0),
				    "a column is not of the kind it must be");
		else
			ret = check_entry(c, &r);
	}
	*more = rc == SQLITE_ROW;
	if (!ret && rc != SQLITE_ROW && rc != SQLITE_DONE)
		ret = weir_store_fail(c->rd->db, err, "reading the log");
	sqlite3_reset(st);
	return ret;
}

/* ----------------------------------------------------------------- projections */

static int check_figure(struct check *c, uint32_t idx, const char *what, int64_t is, int64_t should)
{
	const char *name = weir_reader_tenant_name(c->rd, idx);

	if (is == should)
		return 0;
	return wrong(c, 0,
		     "tenant %s: %s is %" PRId64 " in its account, but by the log it is %" PRId64,
		     name ? name : "(no name)", what, is, should);
}

static int check_account(struct check *c, sqlite3_stmt *st)
{
	static const struct weir_figures none;
	uint32_t idx = (uint32_t)sqlite3_column_int64(st, 0);
	struct weir_account *acc = weir_accounts_get(&c->accounts, idx, false);
	const struct weir_figures *f = acc ? &acc->f : &none;
	const struct {
		const char *name;
		int64_t v;
	} should[] = {
		{ "debt", f->debt },
		{ "requests", f->requests },
		{ "estimated", f->estimated },
		{ "partial", f->partial },
		{ "input", f->tokens.input },
		{ "cache_read", f->tokens.cache_read },
		{ "cache_write", f->tokens.cache_write },
		{ "output", f->tokens.output },
		{ "reasoning", f->tokens.reasoning },
		{ "price", f->price },
		{ "cost", f->cost },
	};
	int ret = 0;

	for (size_t i = 0; !ret && i < sizeof(should) / sizeof(should[0]); i++)
		ret = check_figure(c, idx, should[i].name, sqlite3_column_int64(st, (int)i + 1),
				   should[i].v);
	if (acc)
		acc->f = none; /* seen; what is left over has no row */
	return ret;
}

static int check_accounts(struct check *c, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(c->rd->db,
			       "SELECT idx, debt, requests, estimated, partial, input, cache_read,"
			       " cache_write, output, reasoning, price, cost FROM account",
			       -1, &st, NULL) != SQLITE_OK)
		return weir_store_fail(c->rd->db, err, "reading accounts");
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW)
		ret = check_account(c, st);
	if (!ret && rc != SQLITE_DONE)
		return weir_store_fail(c->rd->db, err, "reading accounts");
	for (size_t i = 0; !ret && i < c->accounts.n; i++) {
		const struct weir_figures *f = &c->accounts.v[i].f;

		if (f->debt || f->requests)
			ret = wrong(c, 0, "tenant number %zu has entries but no account", i);
	}
	return ret;
}

static int check_credit(struct check *c, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	size_t left = 0;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(c->rd->db, "SELECT seq, wallet, remaining FROM credit", -1, &st,
			       NULL) != SQLITE_OK)
		return weir_store_fail(c->rd->db, err, "reading grants");
	for (size_t i = 0; i < c->accounts.n; i++)
		left += c->accounts.v[i].n_lots;
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		uint64_t seq = (uint64_t)sqlite3_column_int64(st, 0);
		struct weir_account *acc = weir_accounts_get(
			&c->accounts, (uint32_t)sqlite3_column_int64(st, 1), false);
		struct weir_credit_lot *lot = acc ? weir_account_lot(acc, seq) : NULL;
		int64_t is = sqlite3_column_int64(st, 2), should = lot ? lot->remaining : 0;

		left -= lot != NULL;
		if (is != should)
			ret = wrong_money(c, seq, "what remains of the grant", is, should);
	}
	if (!ret && rc != SQLITE_DONE)
		return weir_store_fail(c->rd->db, err, "reading grants");
	if (!ret && left)
		ret = wrong(c, 0, "%zu grants of the log are missing in table credit", left);
	return ret;
}

static int check_cards(struct check *c, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	int rc, ret = 0;

	if (sqlite3_prepare_v2(c->rd->db, "SELECT id, sha256, json FROM card", -1, &st, NULL) !=
	    SQLITE_OK)
		return weir_store_fail(c->rd->db, err, "reading rate cards");
	while (!ret && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		uint8_t hash[EVP_MAX_MD_SIZE];

		if (EVP_Digest(sqlite3_column_text(st, 2), (size_t)sqlite3_column_bytes(st, 2),
			       hash, NULL, c->chain.sha256, NULL) != 1)
			return weir_fail(err, EIO, "ledger: SHA-256 failed in libcrypto");
		if (sqlite3_column_bytes(st, 1) != WEIR_HASH_BYTES ||
		    memcmp(sqlite3_column_blob(st, 1), hash, WEIR_HASH_BYTES))
			ret = wrong(c, 0, "rate card %lld does not match its hash",
				    (long long)sqlite3_column_int64(st, 0));
	}
	if (!ret && rc != SQLITE_DONE)
		return weir_store_fail(c->rd->db, err, "reading rate cards");
	return ret;
}

/* What came since, and the projections, under one snapshot. */
static int check_rest(struct check *c, sqlite3_stmt *st, struct weir_error *err)
{
	char text[24];
	bool more;
	int ret;

	ret = weir_store_exec(c->rd->db, "BEGIN", err, "reading the log");
	if (ret)
		return ret;
	ret = check_page(c, st, SIZE_MAX, &more, err);
	if (!ret)
		ret = weir_store_meta(c->rd->db, "checkpoint", text, sizeof(text), err);
	if (!ret && strtoull(text, NULL, 10) != c->seq)
		ret = wrong(c, c->seq + 1, "missing; the checkpoint is at %s", text);
	if (!ret)
		ret = check_credit(c, err);
	if (!ret)
		ret = check_accounts(c, err);
	if (!ret)
		ret = check_cards(c, err);
	sqlite3_exec(c->rd->db, "COMMIT", NULL, NULL, NULL);
	return ret;
}

int weir_reader_verify(struct weir_reader *rd, struct weir_verify *out, struct weir_error *err)
{
	weir_autostmt sqlite3_stmt *st = NULL;
	struct check c = { .rd = rd, .out = out };
	bool more = true;
	int ret;

	*out = (struct weir_verify){ 0 };
	if (weir_chain_init(&c.chain))
		return weir_fail(err, ENOMEM, "ledger: SHA-256 is not to be had from libcrypto");
	ret = weir_store_prepare(
		rd->db, "SELECT " WEIR_ENTRY_COLUMNS " FROM entry WHERE seq > ? ORDER BY seq", &st,
		err);
	while (!ret && more)
		ret = check_page(&c, st, PAGE, &more, err);
	if (!ret)
		ret = check_rest(&c, st, err);
	memcpy(out->head, c.hash, sizeof(out->head));
	if (ret == -EBADMSG && out->wrong[0]) {
		if (out->wrong_seq)
			weir_fail(err, EBADMSG, "entry %" PRIu64 ": %s", out->wrong_seq,
				  out->wrong);
		else
			weir_fail(err, EBADMSG, "%s", out->wrong);
	}
	weir_chain_clear(&c.chain);
	weir_accounts_clear(&c.accounts);
	free(c.post.burns);
	return ret;
}
