// SPDX-License-Identifier: Apache-2.0
/*
 * The bodies of all that is not usage: what somebody asked for (struct weir_op), or what fell
 * due. One table says what an op consists of. A body is a version byte, a mask of the fields
 * that are not 0, those fields in the table's order, and what the entry did.
 *
 * Versions: 1 was of grants only, with fixed fields; 2 is as above. A new field is a new line at
 * the end of the table, and bodies without it stay as they are.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger_bytes.h"

#define OP_VERSION	 2
#define OP_VERSION_GRANT 1
#define CONTENT_VERSION	 1

enum type { U8, U32, U64, I64, STR };

#define OF(type, member)                                                                           \
	{                                                                                          \
		type, offsetof(struct weir_op, member), sizeof(((struct weir_op *)0)->member)      \
	}

/* kind, tenant and wallet are columns. Stored: append only. */
static const struct field {
	enum type type;
	size_t at, size;
} fields[] = {
	OF(I64, amount_nano),
	OF(U8, source),
	OF(U8, priority),
	OF(U32, flags),
	OF(U64, effective_ns),
	OF(U64, expires_ns),
	OF(U64, of),
	OF(STR, key),
	OF(STR, actor),
	OF(STR, reason),
	OF(I64, price_nano),
	OF(I64, cost_nano),
	OF(STR, dimension),
	OF(I64, quantity_nano),
	OF(STR, model),
	OF(STR, feature),
	OF(STR, session),
	OF(U32, card_id),
	OF(U32, card_entry),
	OF(U32, discount_milli),
	OF(U64, started_ns),
	OF(I64, cost_basis_nano),
	OF(STR, currency),
	OF(STR, pack),
	OF(U8, every),
	OF(STR, zone),
	OF(I64, roll_min_nano),
	OF(I64, roll_max_nano),
	OF(I64, rolled_nano),
	OF(STR, text),
	OF(I64, threshold_nano),
	OF(I64, overage_nano),
};
#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

/* Bits of the mask; then one per field. */
#define HAS_POSITIONS	  (UINT64_C(1) << 0)
#define HAS_SESSION_BEGUN (UINT64_C(1) << 1) /* the bit is all there is */
#define HAS_FIELD(i)	  (UINT64_C(4) << (i))
_Static_assert(N_FIELDS <= 62, "a bit per field");

/* Longest body without moves: strings are 788 bytes, numbers at most 10 each. */
#define FIXED_MAX 1536

/* ------------------------------------------------------------------ fields */

static const void *member(const struct weir_op *op, const struct field *f)
{
	return (const uint8_t *)op + f->at;
}

static uint64_t number(const struct weir_op *op, const struct field *f)
{
	uint64_t v = 0;

	/* Little-endian, as all that the ledger is hashed and kept in. */
	memcpy(&v, member(op, f), f->size);
	return v;
}

static bool is_set(const struct weir_op *op, const struct field *f)
{
	return f->type == STR ? *(const char *)member(op, f) != 0 : number(op, f) != 0;
}

static uint8_t *put_field(uint8_t *p, const struct weir_op *op, const struct field *f)
{
	if (f->type == STR)
		return weir_put_str(p, member(op, f), f->size - 1);
	if (f->type == I64)
		return weir_put_signed(p, (int64_t)number(op, f));
	return weir_put(p, number(op, f));
}

static void get_field(struct weir_cursor *c, struct weir_op *op, const struct field *f)
{
	void *p = (uint8_t *)op + f->at;

	switch (f->type) {
	case U8:
		*(uint8_t *)p = (uint8_t)weir_get_max(c, UINT8_MAX);
		break;
	case U32:
		*(uint32_t *)p = (uint32_t)weir_get_max(c, UINT32_MAX);
		break;
	case U64:
		*(uint64_t *)p = weir_get(c);
		break;
	case I64:
		*(int64_t *)p = weir_get_signed(c);
		break;
	case STR:
		weir_get_str(c, p, f->size - 1);
		break;
	}
}

static uint64_t mask_of(const struct weir_op *op, const struct weir_posting *post)
{
	uint64_t mask = (post->n_positions ? HAS_POSITIONS : 0) |
			(post->session_begins ? HAS_SESSION_BEGUN : 0);

	for (size_t i = 0; i < N_FIELDS; i++) {
		if (is_set(op, &fields[i]))
			mask |= HAS_FIELD(i);
	}
	return mask;
}

static uint8_t *put_fields(uint8_t *p, const struct weir_op *op, const struct weir_posting *post)
{
	uint64_t mask = mask_of(op, post);

	p = weir_put(p, mask);
	for (size_t i = 0; i < N_FIELDS; i++) {
		if (mask & HAS_FIELD(i))
			p = put_field(p, op, &fields[i]);
	}
	if (mask & HAS_POSITIONS)
		p = weir_put_positions(p, post);
	return p;
}

static void get_fields(struct weir_cursor *c, struct weir_op *op, struct weir_posting *post)
{
	uint64_t mask = weir_get_max(c, HAS_FIELD(N_FIELDS) - 1);

	for (size_t i = 0; i < N_FIELDS; i++) {
		if (mask & HAS_FIELD(i))
			get_field(c, op, &fields[i]);
	}
	if (mask & HAS_POSITIONS)
		weir_get_positions(c, post);
	post->session_begins = mask & HAS_SESSION_BEGUN;
}

/* ------------------------------------------------------------------ bodies */

int weir_encode_op(struct weir_bytes *out, const struct weir_op *op,
		   const struct weir_posting *post)
{
	uint8_t *p;

	if (weir_bytes_reserve(out, FIXED_MAX + WEIR_MOVES_MAX(post->n_moves)))
		return -ENOMEM;
	p = out->p + out->len;
	*p++ = OP_VERSION;
	p = put_fields(p, op, post);
	p = weir_put_moves(p, post);
	out->len = (size_t)(p - out->p);
	return 0;
}

/* A grant as version 1 had it: it said what it repaid; that the rest went to the lot went
 * without saying. */
static int get_grant(struct weir_cursor *c, const struct weir_entry_head *h, struct weir_op *op,
		     struct weir_posting *post)
{
	int64_t debt = 0, rest;
	int ret;

	op->amount_nano = weir_get_signed(c);
	op->source = (uint8_t)weir_get_max(c, UINT8_MAX);
	op->priority = (uint8_t)weir_get_max(c, UINT8_MAX);
	op->effective_ns = weir_get(c);
	op->flags = weir_get_max(c, 1) ? WEIR_OP_NOW : 0;
	op->expires_ns = weir_get(c);
	weir_get_str(c, op->key, sizeof(op->key) - 1);
	weir_get_str(c, op->reason, sizeof(op->reason) - 1);
	weir_get_str(c, op->actor, sizeof(op->actor) - 1);
	ret = weir_get_burns(c, post);
	if (ret || c->bad)
		return ret;
	if (post->n_moves)
		debt = post->moves[0].nano;
	if (post->n_moves > 1 || debt > 0 || (post->n_moves && post->moves[0].lot) ||
	    __builtin_add_overflow(op->amount_nano, debt, &rest) || rest < 0) {
		c->bad = true;
		return 0;
	}
	if (weir_posting_reserve(post, 2))
		return -ENOMEM;
	post->n_moves = 0;
	if (rest)
		post->moves[post->n_moves++] = (struct weir_move){
			.purse = op->effective_ns <= h->time_ns ? WEIR_PURSE_REMAINING
								: WEIR_PURSE_PENDING,
			.lot = h->seq,
			.nano = rest,
		};
	if (debt)
		post->moves[post->n_moves++] = (struct weir_move){ WEIR_PURSE_DEBT, 0, debt };
	return 0;
}

int weir_decode_op(const struct weir_entry_head *h, const void *body, size_t n, struct weir_op *op,
		   struct weir_posting *post, bool *old)
{
	struct weir_cursor c = { body, (const uint8_t *)body + n, false };
	uint8_t version = 0;
	int ret;

	memset(op, 0, sizeof(*op));
	post->n_moves = post->n_positions = 0;
	post->session_begins = false;
	weir_get_bytes(&c, &version, 1);
	*old = h->kind == WEIR_ENTRY_GRANT && version == OP_VERSION_GRANT;
	if (version != OP_VERSION && !*old)
		return -EBADMSG;
	op->kind = h->kind;
	op->tenant = h->tenant;
	op->wallet = h->wallet;
	if (*old) {
		ret = get_grant(&c, h, op, post);
	} else {
		get_fields(&c, op, post);
		ret = weir_get_moves(&c, post);
	}
	if (ret)
		return ret;
	return c.bad || c.p != c.end ? -EBADMSG : 0;
}

/* ------------------------------------------------------------------ content */

/* What is left of an op when all is taken away that its asker did not say, or that may come out
 * otherwise when it is asked again: the clock, cards, policy, what the ledger fills in. */
static struct weir_op asked(const struct weir_op *op)
{
	struct weir_op a = *op;

	a.actor[0] = 0;
	a.wallet = 0;
	if (a.kind == WEIR_ENTRY_VOID || a.flags & WEIR_OP_REST)
		a.amount_nano = 0;
	if (a.kind == WEIR_ENTRY_REFUND && !a.amount_nano)
		a.flags |= WEIR_OP_REST;
	a.flags &= WEIR_OP_NOW | WEIR_OP_AS_GRANT | WEIR_OP_ALLOW_DEBT | WEIR_OP_SCHEDULE |
		   WEIR_OP_REST;
	if (!a.effective_ns && a.kind != WEIR_ENTRY_METER) /* whose time is `started` */
		a.flags |= WEIR_OP_NOW;
	if (a.flags & WEIR_OP_NOW)
		a.effective_ns = a.started_ns = 0;
	a.card_id = a.card_entry = a.discount_milli = 0;
	a.price_nano = a.cost_nano = a.overage_nano = a.threshold_nano = a.rolled_nano = 0;
	a.text[0] = 0;
	if (a.kind == WEIR_ENTRY_ADJUST)
		a.source = a.priority = 0; /* the ledger's */
	if (a.pack[0]) {
		/* The terms are the catalogue's, reckoned from when it was sold. */
		a.amount_nano = a.cost_basis_nano = 0;
		a.expires_ns = 0;
		a.source = a.priority = 0;
		a.currency[0] = 0;
	}
	return a;
}

int weir_op_content(const struct weir_op *op, uint8_t out[static WEIR_HASH_BYTES])
{
	static const struct weir_posting nothing;
	struct weir_op a = asked(op);
	uint8_t buf[FIXED_MAX], *p = buf;

	*p++ = CONTENT_VERSION;
	*p++ = a.kind;
	p = weir_put(p, a.tenant);
	p = put_fields(p, &a, &nothing);
	if (EVP_Digest(buf, (size_t)(p - buf), out, NULL, EVP_sha256(), NULL) != 1)
		return -EIO;
	return 0;
}
