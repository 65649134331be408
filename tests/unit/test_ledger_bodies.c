// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about bodies that other versions wrote, what is asked under a key, and the size of a row.
 */
#include "tests/unit/encode_fixture.h"

/* ------------------------------------------------------------------ what older agents wrote */

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++) {
		char two[3] = { hex[2 * i], hex[2 * i + 1], 0 };

		out[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	return n;
}

static struct weir_row usual_row(void)
{
	struct weir_row r = {
		.started_wall_ns = T0,
		.ended_wall_ns = T0 + 1234567000,
		.ttft_us = 250500,
		.tenant = 1,
		.wallet = 1,
		.service = 1,
		.status = 200,
		.usage_source = WEIR_USAGE_REPORTED,
		.flags = WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_STREAM,
		.card_id = 1,
		.usage = { 1000, 20, WEIR_UNKNOWN, 30, WEIR_UNKNOWN },
		.audio = WEIR_UNKNOWN,
		.image = WEIR_UNKNOWN,
		.price_nano = 1000,
		.reserved_nano = 5000,
		.request_bytes = 4000,
		.response_bytes = 999,
		.client = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 7 },
		.method = "POST",
		.path = "/v1/chat/completions",
		.model = "llama-3.3-70b",
		.response_id = "chatcmpl-1",
		.finish_reason = "stop",
		.model_requested = "llama-3.3-70b-instruct",
		.max_tokens_requested = 4096,
	};

	for (int i = 0; i < 8; i++)
		r.id.b[i] = (uint8_t)(T0 >> (56 - 8 * i));
	r.id.b[8] = 0xab;
	r.id.b[15] = 2;
	return r;
}

static struct weir_entry_head usual_head(const struct weir_row *r)
{
	return (struct weir_entry_head){
		.kind = WEIR_ENTRY_USAGE, .id = r->id, .tenant = r->tenant, .wallet = r->wallet
	};
}

/* Written by the agent of schema 3: usual_row, of which lot 7 gave 600 and lot 9 300. */
#define USAGE_2_HEAD                                                                               \
	"0200b0fdaf990984a50f01c8010100230100d00f28013c01d00f00904ea11fe807040a00000704504f5354"   \
	"142f76312f636861742f636f6d706c6574696f6e730d6c6c616d612d332e332d3730620a63686174636d706c" \
	"2d310473746f70166c6c616d612d332e332d3730622d696e7374727563748040"
#define USAGE_2_BURNS "c8010207b00909d804"
/* Likewise: 5 credits, promo, priority 50, effective at once, for a day; 1000 nano repaid. */
#define GRANT_1                                                                                    \
	"0180c8afa02501328080a8dee7d7f0f118018080e4e8b0aa84f2180977656c636f6d652d310777656c636f6d" \
	"6504726f6f74cf0f00"

/* Written by the agent of schema 4: usual_row, with what few rows of that version had. */
#define USAGE_3                                                                                    \
	"0300b0fdaf990984a50f01c8010100230100d00f28013c01d00f00904ea11fe807040a00000704504f5354"   \
	"142f76312f636861742f636f6d706c6574696f6e730d6c6c616d612d332e332d3730620a63686174636d706c" \
	"2d310473746f70166c6c616d612d332e332d3730622d696e73747275637480407c0a03732d31037261670100" \
	"ec0e020107af090300a006"

static void usage_of_version_3_is_read(void **state)
{
	struct weir_row r = usual_row();
	const struct weir_entry_head h = usual_head(&r);
	struct decoded d = { .post = { 0 } };
	uint8_t b[256];
	size_t n = unhex(USAGE_3, b);

	r.image = 5;
	strcpy(r.session, "s-1");
	strcpy(r.feature, "rag");
	assert_int_equal(decode(&d, &h, b, n), 0);
	assert_false(d.old);
	assert_memory_equal(&d.row, &r, sizeof(r));
	assert_int_equal(d.post.n_moves, 2);
	assert_int_equal(d.post.moves[0].purse, WEIR_PURSE_EXPIRED);
	assert_int_equal(d.post.moves[0].nano, -600);
	assert_int_equal(d.post.moves[1].nano, 400);
	assert_int_equal(d.post.n_positions, 1);
	assert_int_equal(d.post.positions[0].at, 950);
	assert_true(d.post.session_begins);
	maul(&h, &(struct weir_bytes){ b, n, n });
	free(d.post.moves);
}

static void usage_of_version_2_is_read(void **state)
{
	struct weir_row r = usual_row();
	const struct weir_entry_head h = usual_head(&r);
	struct decoded d = { .post = { 0 } };
	uint8_t b[256];
	size_t n = unhex(USAGE_2_HEAD USAGE_2_BURNS, b);

	assert_int_equal(decode(&d, &h, b, n), 0);
	assert_true(d.old);
	assert_memory_equal(&d.row, &r, sizeof(r));
	assert_int_equal(d.post.n_moves, 3);
	assert_int_equal(d.post.moves[0].purse, WEIR_PURSE_REMAINING);
	assert_int_equal(d.post.moves[0].lot, 7);
	assert_int_equal(d.post.moves[0].nano, -600);
	assert_int_equal(d.post.moves[1].lot, 9);
	assert_int_equal(d.post.moves[1].nano, -300);
	assert_int_equal(d.post.moves[2].purse, WEIR_PURSE_DEBT);
	assert_int_equal(d.post.moves[2].lot, 0);
	assert_int_equal(d.post.moves[2].nano, 100);
	maul(&h, &(struct weir_bytes){ b, n, n });
	free(d.post.moves);
}

static void a_grant_of_version_1_is_read(void **state)
{
	struct weir_entry_head h = {
		.kind = WEIR_ENTRY_GRANT, .seq = 5, .time_ns = T0, .tenant = 3, .wallet = 3
	};
	struct decoded d = { .post = { 0 } };
	uint8_t b[256];
	size_t n = unhex(GRANT_1, b);

	assert_int_equal(decode(&d, &h, b, n), 0);
	assert_true(d.old);
	assert_int_equal(d.op.kind, WEIR_ENTRY_GRANT);
	assert_int_equal(d.op.tenant, 3);
	assert_int_equal(d.op.wallet, 3);
	assert_int_equal(d.op.amount_nano, 5000000000);
	assert_int_equal(d.op.source, WEIR_GRANT_PROMO);
	assert_int_equal(d.op.priority, 50);
	assert_int_equal(d.op.effective_ns, T0);
	assert_int_equal(d.op.flags, WEIR_OP_NOW);
	assert_int_equal(d.op.expires_ns, T0 + UINT64_C(86400000000000));
	assert_string_equal(d.op.key, "welcome-1");
	assert_string_equal(d.op.reason, "welcome");
	assert_string_equal(d.op.actor, "root");
	assert_int_equal(d.post.n_moves, 2);
	assert_int_equal(d.post.moves[0].purse, WEIR_PURSE_REMAINING);
	assert_int_equal(d.post.moves[0].lot, 5);
	assert_int_equal(d.post.moves[0].nano, 5000000000 - 1000);
	assert_int_equal(d.post.moves[1].purse, WEIR_PURSE_DEBT);
	assert_int_equal(d.post.moves[1].nano, -1000);
	/* Entered before it was effective. */
	h.time_ns--;
	assert_int_equal(decode(&d, &h, b, n), 0);
	assert_int_equal(d.post.moves[0].purse, WEIR_PURSE_PENDING);
	h.time_ns++;
	maul(&h, &(struct weir_bytes){ b, n, n });
	/* No other kind was ever written in that version. */
	h.kind = WEIR_ENTRY_VOID;
	assert_int_equal(decode(&d, &h, b, n), -EBADMSG);
	free(d.post.moves);
}

static void a_version_to_come_is_refused(void **state)
{
	struct weir_row r = usual_row();
	struct weir_op o = { .amount_nano = 5 };
	struct weir_entry_head h = usual_head(&r), ho = { .kind = WEIR_ENTRY_GRANT };
	struct weir_move move = { WEIR_PURSE_REMAINING, 7, -1000 };
	struct weir_posting post = { .moves = &move, .n_moves = 1 };
	struct decoded d = { .post = { 0 } };
	struct weir_bytes b = { 0 };

	strcpy(r.user, "alice"); /* what version 3 has no bit for */
	assert_int_equal(weir_encode_usage(&b, &r, &post), 0);
	for (int v = 0; v < 256; v++) {
		int now = b.p[0];

		b.p[0] = (uint8_t)v;
		assert_int_equal(decode(&d, &h, b.p, b.len), v == now ? 0 : -EBADMSG);
		b.p[0] = (uint8_t)now;
	}
	b.len = 0;
	assert_int_equal(weir_encode_op(&b, &o, &post), 0);
	b.p[0]++;
	assert_int_equal(decode(&d, &ho, b.p, b.len), -EBADMSG);
	free(b.p);
	free(d.post.moves);
}

/* A hundred million of them lie on a disk: what few have must cost the others nothing. */
static void a_usual_row_stays_small(void **state)
{
	struct weir_row r = usual_row();
	struct weir_move move = { WEIR_PURSE_REMAINING, 7, -1000 };
	struct weir_posting post = { .moves = &move, .n_moves = 1 };
	struct weir_op o = { .kind = WEIR_ENTRY_ACTIVATE, .of = 7 };
	struct weir_bytes b = { 0 };
	size_t version_2 = strlen(USAGE_2_HEAD "000107d00f") / 2;

	assert_int_equal(weir_encode_usage(&b, &r, &post), 0);
	assert_in_range(b.len, version_2, version_2 + 2);
	/* A label costs its own length, a trace its 16 bytes. */
	strcpy(r.user, "alice");
	memset(r.trace_id, 7, sizeof(r.trace_id));
	version_2 = b.len;
	b.len = 0;
	assert_int_equal(weir_encode_usage(&b, &r, &post), 0);
	assert_int_equal(b.len, version_2 + 1 + 6 + 16);
	b.len = 0;
	assert_int_equal(weir_encode_op(&b, &o, &post), 0);
	assert_in_range(b.len, 1, 12);
	free(b.p);
}

/* ------------------------------------------------------------------ content */

static bool same(const struct weir_op *a, const struct weir_op *b)
{
	uint8_t x[WEIR_HASH_BYTES], y[WEIR_HASH_BYTES];

	assert_int_equal(weir_op_content(a, x), 0);
	assert_int_equal(weir_op_content(b, y), 0);
	return !memcmp(x, y, sizeof(x));
}

static void content_is_what_was_asked(void **state)
{
	const struct weir_op grant = { .kind = WEIR_ENTRY_GRANT,
				       .tenant = 1,
				       .wallet = 1,
				       .amount_nano = 5,
				       .priority = 100,
				       .key = "k",
				       .actor = "uid 0",
				       .reason = "r" };
	struct weir_op o = grant;

	/* What the ledger fills in, or who asks. */
	o.effective_ns = T0;
	o.flags = WEIR_OP_NOW;
	snprintf(o.actor, sizeof(o.actor), "uid 7");
	assert_true(same(&grant, &o));
#define DIFFERS(what)                                                                              \
	do {                                                                                       \
		o = grant;                                                                         \
		o.what;                                                                            \
		assert_false(same(&grant, &o));                                                    \
	} while (0)
	DIFFERS(kind = WEIR_ENTRY_DEDUCT);
	DIFFERS(tenant = 2);
	DIFFERS(amount_nano = 6);
	DIFFERS(source = WEIR_GRANT_PROMO);
	DIFFERS(priority = 99);
	DIFFERS(effective_ns = T0);
	DIFFERS(expires_ns = T0);
	DIFFERS(of = 1);
	DIFFERS(flags = WEIR_OP_AS_GRANT);
	DIFFERS(flags = WEIR_OP_ALLOW_DEBT);
	DIFFERS(cost_basis_nano = 1);
	DIFFERS(currency[0] = 'U');
	DIFFERS(pack[0] = 'p');
	DIFFERS(dimension[0] = 'd');
	DIFFERS(quantity_nano = 1);
	DIFFERS(reason[0] = 'R');
	DIFFERS(every = WEIR_EVERY_DAY);
	DIFFERS(zone[0] = 'U');
	DIFFERS(roll_min_nano = 1);
	DIFFERS(roll_max_nano = 1);
#undef DIFFERS
}

/* By the time it is repeated, another card may be in force and the wallet another. */
static void content_of_a_meter_is_not_its_price(void **state)
{
	const struct weir_op meter = { .kind = WEIR_ENTRY_METER,
				       .tenant = 1,
				       .dimension = "gpu_seconds",
				       .quantity_nano = 3000000000,
				       .started_ns = T0,
				       .key = "k" };
	struct weir_op o = meter;

	o.wallet = 9;
	o.flags = WEIR_OP_POSTED | WEIR_OP_UNPRICED | WEIR_OP_TRUSTED;
	o.card_id = 4;
	o.card_entry = 2;
	o.discount_milli = 100;
	o.price_nano = 12;
	o.cost_nano = 11;
	assert_true(same(&meter, &o));
	o.started_ns++;
	assert_false(same(&meter, &o));
	/* Used "now": when that was does not count, but another day that is asked for does. */
	o.flags |= WEIR_OP_NOW;
	assert_false(same(&meter, &o));
	struct weir_op later = o;
	later.started_ns += 1000;
	assert_true(same(&o, &later));
}

/* The terms of a pack are reckoned from the moment of the sale. */
static void content_of_a_sale_is_the_pack(void **state)
{
	const struct weir_op sale = { .kind = WEIR_ENTRY_GRANT,
				      .tenant = 1,
				      .amount_nano = 5,
				      .expires_ns = T0,
				      .cost_basis_nano = 7,
				      .currency = "USD",
				      .pack = "p50",
				      .key = "k" };
	struct weir_op o = sale;

	o.expires_ns += 1000;
	o.amount_nano = 6;
	assert_true(same(&sale, &o));
	snprintf(o.pack, sizeof(o.pack), "p200");
	assert_false(same(&sale, &o));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usage_of_version_2_is_read),
		cmocka_unit_test(usage_of_version_3_is_read),
		cmocka_unit_test(a_grant_of_version_1_is_read),
		cmocka_unit_test(a_version_to_come_is_refused),
		cmocka_unit_test(a_usual_row_stays_small),
		cmocka_unit_test(content_is_what_was_asked),
		cmocka_unit_test(content_of_a_meter_is_not_its_price),
		cmocka_unit_test(content_of_a_sale_is_the_pack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
