// SPDX-License-Identifier: Apache-2.0
/*
 * Which members each kind of entry has, and in which order. How JSON is spelt is json_out.h's
 * business; what a charge is made of, entry_out.h's.
 */
#include "agent/entry_json.h"

#include <errno.h>
#include <string.h>

#include "agent/entry_out.h"
#include "agent/util.h"

/* All strings of a struct weir_op and two names, six bytes a byte, and what is between them. */
#define FIXED_BYTES (6 * (sizeof(struct weir_op) + 2 * 2 * WEIR_NAME_BYTES) + 4096)

static void put_text(struct weir_out *o, const char *name, const char *s, size_t max)
{
	size_t n = strnlen(s, max);

	if (n)
		weir_out_str(o, name, s, n);
}
#define PUT_TEXT(o, name, array) put_text(o, name, array, sizeof(array))

static void put_nano(struct weir_out *o, const char *name, int64_t nano)
{
	if (nano)
		weir_out_money(o, name, nano);
}

static void put_time(struct weir_out *o, const char *name, uint64_t wall_ns)
{
	if (wall_ns)
		weir_out_time(o, name, wall_ns);
}

/* Of everything but usage, whose burn says it all. */
static void put_moves(struct weir_out *o, const struct weir_entry *e)
{
	static const char *const purses[] = {
		[WEIR_PURSE_REMAINING] = "remaining",
		[WEIR_PURSE_EXPIRED] = "expired",
		[WEIR_PURSE_PENDING] = "pending",
		[WEIR_PURSE_DEBT] = "debt",
	};

	weir_out_open(o, "moves", '[');
	for (size_t i = 0; i < e->n_moves; i++) {
		const struct weir_move *m = &e->moves[i];

		weir_out_open(o, NULL, '{');
		if (m->purse < sizeof(purses) / sizeof(*purses))
			weir_out_cstr(o, "purse", purses[m->purse]);
		if (m->lot)
			weir_out_u64(o, "grant_seq", m->lot);
		weir_out_money(o, "amount", m->nano);
		weir_out_close(o, '}');
	}
	weir_out_close(o, ']');
}

/* ---------------------------------------------------------------------- kinds */

static void put_lot_terms(struct weir_out *o, const struct weir_op *op)
{
	weir_out_open(o, "grant", '{');
	if (op->source < WEIR_GRANT_SOURCE_MAX)
		weir_out_cstr(o, "source", weir_grant_source_names[op->source]);
	weir_out_u64(o, "priority", op->priority);
	put_time(o, "effective_at", op->effective_ns);
	put_time(o, "expires_at", op->expires_ns);
	PUT_TEXT(o, "pack", op->pack);
	put_nano(o, "cost_basis", op->cost_basis_nano);
	PUT_TEXT(o, "currency", op->currency);
	weir_out_close(o, '}');
}

static void put_schedule(struct weir_out *o, const struct weir_op *op)
{
	weir_out_open(o, "schedule", '{');
	weir_out_money(o, "amount", op->amount_nano);
	if (op->every && op->every <= WEIR_EVERY_MONTH)
		weir_out_cstr(o, "every", weir_every_names[op->every]);
	PUT_TEXT(o, "zone", op->zone);
	weir_out_money(o, "rollover_min", op->roll_min_nano);
	weir_out_money(o, "rollover_max", op->roll_max_nano);
	weir_out_close(o, '}');
}

static void put_use(struct weir_out *o, const struct weir_op *op)
{
	PUT_TEXT(o, "dimension", op->dimension);
	if (op->quantity_nano)
		weir_out_money(o, "quantity", op->quantity_nano);
	PUT_TEXT(o, "model", op->model);
	PUT_TEXT(o, "feature", op->feature);
	PUT_TEXT(o, "session", op->session);
	put_time(o, "started_at", op->started_ns);
	PUT_TEXT(o, "counter", op->text);
	weir_out_money(o, "price", op->price_nano);
	weir_out_money(o, "cost", op->cost_nano);
	weir_out_bool(o, "posted", op->flags & WEIR_OP_POSTED);
	if (op->flags & WEIR_OP_UNPRICED)
		weir_out_bool(o, "unpriced", true);
}

static void put_of(struct weir_out *o, const struct weir_op *op)
{
	if (op->of)
		weir_out_u64(o, op->flags & WEIR_OP_SCHEDULE ? "schedule_seq" : "of_seq", op->of);
}

static void put_op(struct weir_out *o, const struct weir_entry *e)
{
	const struct weir_op *op = e->op;

	put_moves(o, e);
	switch (e->kind) {
	case WEIR_ENTRY_GRANT:
		put_lot_terms(o, op);
		break;
	case WEIR_ENTRY_RECUR:
		put_lot_terms(o, op);
		weir_out_u64(o, "schedule_seq", op->of);
		break;
	case WEIR_ENTRY_SCHEDULE:
		put_lot_terms(o, op);
		put_schedule(o, op);
		break;
	case WEIR_ENTRY_EXPIRE:
		put_of(o, op);
		put_nano(o, "rolled", op->rolled_nano);
		break;
	case WEIR_ENTRY_REFUND:
		put_of(o, op);
		if (op->flags & WEIR_OP_AS_GRANT)
			weir_out_bool(o, "as_grant", true);
		break;
	case WEIR_ENTRY_DEDUCT:
		if (op->flags & WEIR_OP_ALLOW_DEBT)
			weir_out_bool(o, "allow_debt", true);
		break;
	case WEIR_ENTRY_METER:
	case WEIR_ENTRY_TRUE_UP:
		put_use(o, op);
		break;
	case WEIR_ENTRY_TOP_UP:
		weir_out_money(o, "threshold", op->threshold_nano);
		weir_out_money(o, "asked", op->amount_nano);
		break;
	default:
		put_of(o, op);
	}
	PUT_TEXT(o, "id", op->key);
	PUT_TEXT(o, "reason", op->reason);
}

static void put_row(struct weir_out *o, const struct weir_row *r)
{
	PUT_TEXT(o, "model", r->model);
	PUT_TEXT(o, "user", r->user);
	PUT_TEXT(o, "team", r->team);
	PUT_TEXT(o, "feature", r->feature);
	PUT_TEXT(o, "cost_center", r->cost_center);
	PUT_TEXT(o, "session", r->session);
	weir_out_time(o, "started_at", r->started_wall_ns);
	weir_out_money(o, "price", r->price_nano);
	weir_out_money(o, "cost", r->cost_nano);
	weir_out_bool(o, "posted", r->flags & WEIR_ROW_POSTED);
	if (r->flags & WEIR_ROW_UNPRICED)
		weir_out_bool(o, "unpriced", true);
}

static void put_hash(struct weir_out *o, const char *name,
		     const uint8_t hash[static WEIR_HASH_BYTES])
{
	char hex[2 * WEIR_HASH_BYTES + 1];

	weir_hex(hash, WEIR_HASH_BYTES, hex);
	weir_out_cstr(o, name, hex);
}

static size_t bytes_for(const struct weir_entry *e)
{
	return FIXED_BYTES + WEIR_OUT_CARD_BYTES + WEIR_OUT_LINES_BYTES +
	       6 * (strlen(e->actor ? e->actor : "") + sizeof(struct weir_row)) +
	       2 * e->n_moves * WEIR_OUT_MOVE_BYTES;
}

int weir_entry_json(const struct weir_entry *e, const struct weir_card *card, struct weir_text *out)
{
	struct weir_priced priced;
	struct weir_out o;
	char id[2 * WEIR_ID_BYTES + 1];

	if (weir_text_reserve(out, bytes_for(e)))
		return -ENOMEM;
	weir_entry_priced(e, card, &priced);
	o = (struct weir_out){ .p = out->p };
	weir_out_open(&o, NULL, '{');
	weir_out_u64(&o, "seq", e->seq);
	weir_out_time(&o, "time", e->time_ns);
	weir_out_cstr(&o, "kind",
		      e->kind < WEIR_ENTRY_KIND_MAX ? weir_entry_kind_names[e->kind] : "");
	weir_out_money(&o, "amount", e->amount_nano);
	weir_out_money(&o, "balance_before", e->balance_before_nano);
	weir_out_money(&o, "balance_after", e->balance_after_nano);
	weir_hex(e->id.b, WEIR_ID_BYTES, id);
	weir_out_cstr(&o, "event_id", id);
	if (priced.card) {
		weir_put_card(&o, &priced);
		weir_put_lines(&o, &priced);
	} else {
		weir_out_null(&o, "rate_card");
		weir_out_open(&o, "lines", '[');
		weir_out_close(&o, ']');
	}
	weir_put_burn(&o, e);
	weir_out_cstr(&o, "tenant", e->tenant_name ? e->tenant_name : "unknown");
	if (e->wallet != e->tenant)
		weir_out_cstr(&o, "wallet", e->wallet_name ? e->wallet_name : "unknown");
	if (e->row)
		put_row(&o, e->row);
	else if (e->op)
		put_op(&o, e);
	weir_out_cstr(&o, "actor", e->actor ? e->actor : "");
	put_hash(&o, "prev_hash", e->prev_hash);
	put_hash(&o, "hash", e->hash);
	weir_out_close(&o, '}');
	weir_text_end(out, o.p);
	return 0;
}
