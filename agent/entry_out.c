// SPDX-License-Identifier: Apache-2.0
/* Parts of entries and events. A charge is never stored in lines: it is made again. */
#include "agent/entry_out.h"

#include <string.h>

#include "agent/money.h"

uint32_t weir_entry_card_id(const struct weir_entry *e)
{
	const struct weir_row *r = e->row;

	if (r)
		return r->flags & WEIR_ROW_BILLABLE && !(r->flags & WEIR_ROW_UNPRICED) ? r->card_id
										       : 0;
	return e->op && e->kind == WEIR_ENTRY_METER && !(e->op->flags & WEIR_OP_UNPRICED)
		       ? e->op->card_id
		       : 0;
}

void weir_entry_priced(const struct weir_entry *e, const struct weir_card *card,
		       struct weir_priced *out)
{
	int64_t positions[WEIR_DIM_MAX] = { 0 };
	struct weir_quantities q;
	uint32_t discount;

	out->card = NULL;
	if (!card || !weir_entry_card_id(e))
		return;
	if (e->row) {
		weir_quantities_of(e->row, e->session_begins, &q);
		out->entry = e->row->card_entry;
		discount = e->row->discount_milli;
	} else {
		for (size_t d = 0; d < WEIR_DIM_MAX; d++)
			q.of[d] = WEIR_UNKNOWN;
		q.of[WEIR_DIM_UNIT] = e->op->quantity_nano;
		if (e->session_begins)
			q.of[WEIR_DIM_SESSION] = 1;
		out->entry = e->op->card_entry;
		discount = e->op->discount_milli;
	}
	if (out->entry >= card->n_entries)
		return;
	for (size_t i = 0; i < e->n_positions; i++) {
		if (e->positions[i].dimension < WEIR_DIM_MAX)
			positions[e->positions[i].dimension] = e->positions[i].at;
	}
	if (!weir_card_charge(card, out->entry, discount, &q, positions, &out->charge))
		out->card = card;
}

void weir_put_card(struct weir_out *o, const struct weir_priced *p)
{
	weir_out_open(o, "rate_card", '{');
	weir_out_str(o, "name", p->card->name, strnlen(p->card->name, WEIR_OUT_NAME_MAX));
	weir_out_str(o, "version", p->card->version, strnlen(p->card->version, WEIR_OUT_NAME_MAX));
	weir_out_u64(o, "entry", p->entry);
	if (p->charge.factor != WEIR_FACTOR)
		weir_out_money(o, "factor", p->charge.factor);
	weir_out_close(o, '}');
}

/* Of these a quantity, and what a price is per, is counted in 1e-9. */
static bool in_nano(enum weir_dimension d)
{
	return d == WEIR_DIM_SECOND || d == WEIR_DIM_UNIT;
}

static void put_quantity(struct weir_out *o, const char *name, enum weir_dimension d, int64_t v)
{
	if (in_nano(d))
		weir_out_money(o, name, v);
	else
		weir_out_int(o, name, v);
}

/* What the line comes to in credits, before the factor; rounded for itself, so that lines may
 * add up to a nano-credit more or less than the charge. */
static void put_amount(struct weir_out *o, const struct weir_price_line *line, int64_t credit_nano)
{
	__int128 n = (__int128)line->quantity * line->unit_nano, d = line->per;
	int64_t nano;

	/* Of a markup over cost in a currency the lines are in that one. */
	if (credit_nano && __builtin_mul_overflow(n, WEIR_NANO, &n))
		return;
	if (credit_nano)
		d *= credit_nano;
	if (!weir_money_div(n, d, &nano))
		weir_out_money(o, "amount", nano);
}

void weir_put_lines(struct weir_out *o, const struct weir_priced *p)
{
	weir_out_open(o, "lines", '[');
	for (size_t i = 0; i < p->charge.n_lines; i++) {
		const struct weir_price_line *line = &p->charge.lines[i];

		weir_out_open(o, NULL, '{');
		weir_out_cstr(o, "dimension", weir_dimension_names[line->dimension]);
		if (line->priced_as != line->dimension)
			weir_out_cstr(o, "priced_as", weir_dimension_names[line->priced_as]);
		put_quantity(o, "quantity", line->dimension, line->quantity);
		weir_out_money(o, "unit_price", line->unit_nano);
		weir_out_int(o, "per",
			     in_nano(line->dimension) ? line->per / WEIR_NANO : line->per);
		if (line->position >= 0)
			put_quantity(o, "position", line->dimension, line->position);
		put_amount(o, line, p->charge.lines_credit_nano);
		weir_out_close(o, '}');
	}
	weir_out_close(o, ']');
}

static bool uses(enum weir_entry_kind kind)
{
	return kind == WEIR_ENTRY_USAGE || kind == WEIR_ENTRY_DEDUCT || kind == WEIR_ENTRY_METER ||
	       kind == WEIR_ENTRY_ADJUST || kind == WEIR_ENTRY_TRUE_UP;
}

void weir_put_burn(struct weir_out *o, const struct weir_entry *e)
{
	int64_t debt = 0;

	weir_out_open(o, "burn", '[');
	for (size_t i = 0; i < e->n_moves; i++) {
		const struct weir_move *m = &e->moves[i];

		/* A log that was tampered with is shown as well: no figure may end the agent. */
		if (m->purse == WEIR_PURSE_DEBT && __builtin_add_overflow(debt, m->nano, &debt))
			debt = INT64_MAX;
		if (m->nano >= 0 || m->purse == WEIR_PURSE_DEBT || !uses(e->kind))
			continue;
		weir_out_open(o, NULL, '{');
		weir_out_u64(o, "grant_seq", m->lot);
		weir_out_money(o, "amount", m->nano == INT64_MIN ? INT64_MAX : -m->nano);
		if (m->purse == WEIR_PURSE_EXPIRED)
			weir_out_bool(o, "expired", true);
		weir_out_close(o, '}');
	}
	weir_out_close(o, ']');
	if (debt)
		weir_out_money(o, "debt", debt);
}
