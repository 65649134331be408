// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about bodies: what goes in comes out, whatever it is; what was cut or changed is refused
 * or decodes into something within bounds.
 */
#include "tests/unit/encode_fixture.h"

#define ROUNDS 20000

/* ------------------------------------------------------------------ making things up */

static uint64_t seed = 88172645463325252u;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Numbers where encoders go wrong: 0, the ends, powers of two and their neighbours. */
static uint64_t any(void)
{
	switch (rnd() % 8) {
	case 0:
	case 1:
		return 0;
	case 2:
		return UINT64_MAX;
	case 3:
		return INT64_MIN;
	case 4:
		return (UINT64_C(1) << rnd() % 64) - rnd() % 2;
	case 5:
		return rnd();
	default:
		return rnd() % 100000;
	}
}

static int64_t any_count(void)
{
	return rnd() % 3 ? (int64_t)any() : WEIR_UNKNOWN;
}

/* NUL padded, of any length up to max. */
static void any_str(char *s, size_t cap, size_t max)
{
	size_t n = rnd() % 3 ? rnd() % (max + 1) : 0;

	memset(s, 0, cap);
	for (size_t i = 0; i < n; i++)
		s[i] = (char)(1 + rnd() % 255);
}

static void any_posting(struct weir_posting *p)
{
	size_t n = rnd() % 4 ? rnd() % 3 : rnd() % 200;

	assert_int_equal(weir_posting_reserve(p, n), 0);
	p->n_moves = n;
	for (size_t i = 0; i < n; i++)
		p->moves[i] =
			(struct weir_move){ rnd() % (WEIR_PURSE_DEBT + 1), any(), (int64_t)any() };
	p->n_positions = rnd() % 3 ? 0 : rnd() % (WEIR_DIM_MAX + 1);
	for (size_t i = 0; i < p->n_positions; i++)
		p->positions[i] = (struct weir_position){ rnd() % WEIR_DIM_MAX, (int64_t)any() };
	p->session_begins = !(rnd() % 3);
}

static struct weir_row any_row(void)
{
	struct weir_row r;

	memset(&r, 0, sizeof(r)); /* padding too: rows are compared as bytes */
	for (size_t i = 0; i < sizeof(r.id.b); i++)
		r.id.b[i] = (uint8_t)rnd();
	r.started_wall_ns = any();
	r.ended_wall_ns = any();
	r.ttft_us = (uint32_t)any();
	r.tenant = (uint32_t)any();
	r.wallet = (uint32_t)any();
	r.service = (uint16_t)any();
	r.status = (uint16_t)any();
	r.usage_source = (uint8_t)any();
	r.end_cause = (uint8_t)any();
	r.flags = (uint16_t)any();
	r.card_id = (uint32_t)any();
	r.card_entry = (uint32_t)any();
	r.discount_milli = (uint32_t)any();
	r.usage = (struct weir_usage){ any_count(), any_count(), any_count(), any_count(),
				       any_count() };
	r.audio = any_count();
	r.image = any_count();
	r.price_nano = (int64_t)any();
	r.cost_nano = (int64_t)any();
	r.reserved_nano = (int64_t)any();
	r.request_bytes = any();
	r.response_bytes = any();
	r.client[10] = r.client[11] = rnd() % 2 ? 0xff : 0;
	for (size_t i = 12; i < 16; i++)
		r.client[i] = (uint8_t)rnd();
	any_str(r.method, sizeof(r.method), sizeof(r.method));
	any_str(r.path, sizeof(r.path), sizeof(r.path));
	any_str(r.model, sizeof(r.model), sizeof(r.model));
	any_str(r.response_id, sizeof(r.response_id), sizeof(r.response_id));
	any_str(r.finish_reason, sizeof(r.finish_reason), sizeof(r.finish_reason));
	any_str(r.model_requested, sizeof(r.model_requested), sizeof(r.model_requested));
	r.max_tokens_requested = any_count();
	any_str(r.session, sizeof(r.session), sizeof(r.session));
	any_str(r.feature, sizeof(r.feature), sizeof(r.feature));
	any_str(r.user, sizeof(r.user), sizeof(r.user));
	any_str(r.team, sizeof(r.team), sizeof(r.team));
	any_str(r.cost_center, sizeof(r.cost_center), sizeof(r.cost_center));
	any_str(r.client_request_id, sizeof(r.client_request_id), sizeof(r.client_request_id));
	any_str(r.model_version, sizeof(r.model_version), sizeof(r.model_version));
	for (size_t i = 0; rnd() % 2 && i < sizeof(r.trace_id); i++)
		r.trace_id[i] = (uint8_t)rnd();
	r.retry_count = (uint8_t)any();
	r.cache_status = (uint8_t)any();
	r.flags2 = (uint32_t)any();
	return r;
}

#define ANY_STR(s) any_str(s, sizeof(s), sizeof(s) - 1)

static struct weir_op any_op(void)
{
	struct weir_op o;

	memset(&o, 0, sizeof(o));
	o.kind = (uint8_t)(WEIR_ENTRY_GRANT + rnd() % (WEIR_ENTRY_KIND_MAX - WEIR_ENTRY_GRANT));
	o.source = (uint8_t)any();
	o.priority = (uint8_t)any();
	o.every = (uint8_t)any();
	o.flags = (uint32_t)any();
	o.tenant = (uint32_t)any();
	o.wallet = (uint32_t)any();
	o.amount_nano = (int64_t)any();
	o.effective_ns = any();
	o.expires_ns = any();
	o.of = any();
	o.cost_basis_nano = (int64_t)any();
	o.roll_min_nano = (int64_t)any();
	o.roll_max_nano = (int64_t)any();
	o.rolled_nano = (int64_t)any();
	ANY_STR(o.currency);
	ANY_STR(o.zone);
	ANY_STR(o.pack);
	ANY_STR(o.dimension);
	o.quantity_nano = (int64_t)any();
	ANY_STR(o.model);
	ANY_STR(o.feature);
	ANY_STR(o.session);
	o.card_id = (uint32_t)any();
	o.card_entry = (uint32_t)any();
	o.discount_milli = (uint32_t)any();
	o.started_ns = any();
	o.price_nano = (int64_t)any();
	o.cost_nano = (int64_t)any();
	ANY_STR(o.text);
	o.threshold_nano = (int64_t)any();
	o.overage_nano = (int64_t)any();
	ANY_STR(o.key);
	ANY_STR(o.actor);
	ANY_STR(o.reason);
	return o;
}

/* ------------------------------------------------------------------ claims */

static void usage_comes_out_as_it_went_in(void **state)
{
	struct weir_posting post = { 0 };
	struct decoded d = { .post = { 0 } };
	struct weir_bytes b = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		struct weir_row r = any_row();
		struct weir_entry_head h = {
			.kind = WEIR_ENTRY_USAGE, .id = r.id, .tenant = r.tenant, .wallet = r.wallet
		};

		any_posting(&post);
		b.len = 0;
		assert_int_equal(weir_encode_usage(&b, &r, &post), 0);
		assert_int_equal(decode(&d, &h, b.p, b.len), 0);
		assert_false(d.old);
		assert_memory_equal(&d.row, &r, sizeof(r));
		assert_posting_equal(&d.post, &post);
		if (i % 400 == 0)
			maul(&h, &b);
	}
	free(b.p);
	free(post.moves);
	free(d.post.moves);
}

static void ops_come_out_as_they_went_in(void **state)
{
	struct weir_posting post = { 0 };
	struct decoded d = { .post = { 0 } };
	struct weir_bytes b = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		struct weir_op o = any_op();
		struct weir_entry_head h = { .kind = o.kind,
					     .tenant = o.tenant,
					     .wallet = o.wallet };

		any_posting(&post);
		b.len = 0;
		assert_int_equal(weir_encode_op(&b, &o, &post), 0);
		assert_int_equal(decode(&d, &h, b.p, b.len), 0);
		assert_false(d.old);
		assert_memory_equal(&d.op, &o, sizeof(o));
		assert_posting_equal(&d.post, &post);
		if (i % 400 == 0)
			maul(&h, &b);
	}
	free(b.p);
	free(post.moves);
	free(d.post.moves);
}

static void bodies_are_appended_to_what_is_there(void **state)
{
	struct weir_row r = any_row();
	struct weir_posting post = { 0 };
	struct weir_bytes b = { 0 };
	struct weir_entry_head h = {
		.kind = WEIR_ENTRY_USAGE, .id = r.id, .tenant = r.tenant, .wallet = r.wallet
	};
	struct decoded d = { .post = { 0 } };
	size_t first;

	assert_int_equal(weir_encode_usage(&b, &r, &post), 0);
	first = b.len;
	for (int i = 1; i < 100; i++)
		assert_int_equal(weir_encode_usage(&b, &r, &post), 0);
	assert_int_equal(b.len, 100 * first);
	assert_int_equal(decode(&d, &h, b.p + 99 * first, first), 0);
	assert_memory_equal(&d.row, &r, sizeof(r));
	free(b.p);
	free(d.post.moves);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usage_comes_out_as_it_went_in),
		cmocka_unit_test(ops_come_out_as_they_went_in),
		cmocka_unit_test(bodies_are_appended_to_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
