/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding a body as the tests of bodies do: from memory of its very size, cut and bent.
 */
#ifndef WEIR_ENCODE_FIXTURE_H
#define WEIR_ENCODE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "agent/ledger_encode.h"

/* 2026-11-01T00:00:00Z */
#define T0 UINT64_C(1793491200000000000)

struct decoded {
	struct weir_row row;
	struct weir_op op;
	struct weir_posting post;
	bool old;
};

/* From memory of exactly that size, so that the sanitizer sees a byte too many. */
static inline int decode(struct decoded *d, const struct weir_entry_head *h, const uint8_t *p,
			 size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	int ret;

	assert_non_null(copy);
	memcpy(copy, p, n);
	ret = h->kind == WEIR_ENTRY_USAGE
		      ? weir_decode_usage(h, copy, n, &d->row, &d->post, &d->old)
		      : weir_decode_op(h, copy, n, &d->op, &d->post, &d->old);
	free(copy);
	return ret;
}

static inline void assert_posting_equal(const struct weir_posting *a, const struct weir_posting *b)
{
	assert_int_equal(a->n_moves, b->n_moves);
	for (size_t i = 0; i < a->n_moves; i++) {
		assert_int_equal(a->moves[i].purse, b->moves[i].purse);
		assert_int_equal(a->moves[i].lot, b->moves[i].lot);
		assert_int_equal(a->moves[i].nano, b->moves[i].nano);
	}
	assert_int_equal(a->n_positions, b->n_positions);
	for (size_t i = 0; i < a->n_positions; i++) {
		assert_int_equal(a->positions[i].dimension, b->positions[i].dimension);
		assert_int_equal(a->positions[i].at, b->positions[i].at);
	}
	assert_int_equal(a->session_begins, b->session_begins);
}

/* Whatever the bytes were: what others index arrays and print strings by is within bounds. */
static inline void assert_harmless(const struct decoded *d, uint8_t kind)
{
	const struct weir_op *o = &d->op;

	for (size_t i = 0; i < d->post.n_moves; i++)
		assert_in_range(d->post.moves[i].purse, 0, WEIR_PURSE_DEBT);
	assert_in_range(d->post.n_positions, 0, WEIR_DIM_MAX);
	for (size_t i = 0; i < d->post.n_positions; i++)
		assert_in_range(d->post.positions[i].dimension, 0, WEIR_DIM_MAX - 1);
	if (kind == WEIR_ENTRY_USAGE)
		return;
	assert_non_null(memchr(o->currency, 0, sizeof(o->currency)));
	assert_non_null(memchr(o->zone, 0, sizeof(o->zone)));
	assert_non_null(memchr(o->pack, 0, sizeof(o->pack)));
	assert_non_null(memchr(o->dimension, 0, sizeof(o->dimension)));
	assert_non_null(memchr(o->model, 0, sizeof(o->model)));
	assert_non_null(memchr(o->feature, 0, sizeof(o->feature)));
	assert_non_null(memchr(o->session, 0, sizeof(o->session)));
	assert_non_null(memchr(o->text, 0, sizeof(o->text)));
	assert_non_null(memchr(o->key, 0, sizeof(o->key)));
	assert_non_null(memchr(o->actor, 0, sizeof(o->actor)));
	assert_non_null(memchr(o->reason, 0, sizeof(o->reason)));
}

/* Every cut is refused, and a byte too many; every flipped bit too, or it does no harm. */
static inline void maul(const struct weir_entry_head *h, const struct weir_bytes *b)
{
	uint8_t *p = malloc(b->len + 1);
	struct decoded d = { .post = { 0 } };

	assert_non_null(p);
	memcpy(p, b->p, b->len);
	for (size_t n = 0; n < b->len; n++)
		assert_int_equal(decode(&d, h, p, n), -EBADMSG);
	p[b->len] = 0;
	assert_int_equal(decode(&d, h, p, b->len + 1), -EBADMSG);
	for (size_t bit = 0; bit < 8 * b->len; bit++) {
		int ret;

		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ret = decode(&d, h, p, b->len);
		assert_true(ret == 0 || ret == -EBADMSG);
		if (!ret)
			assert_harmless(&d, h->kind);
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(p);
	free(d.post.moves);
}

#endif
