// SPDX-License-Identifier: Apache-2.0
/*
 * What an entry did against what it should have done: moves, balances, positions; and whether it
 * is the one that was due.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_verify_priv.h"

static const char *const purse_names[] = { "remaining", "expired", "pending", "debt" };

/* ------------------------------------------------------------------ effects */

int weir_check_positions(struct weir_check *c, uint64_t seq)
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

int weir_check_effect(struct weir_check *c, const struct weir_entry_head *is,
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

struct weir_entry_head weir_check_head(const struct weir_entry_head *is)
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
int weir_check_due(struct weir_check *c, const struct weir_entry_head *is, const struct weir_op *op,
		   bool *done)
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
	ret = weir_check_effect(c, is, &should, false);
	return ret ? ret : weir_book_apply_op(&c->book, op, is, &c->is, false);
}
