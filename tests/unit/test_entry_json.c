/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about ledger entries as JSON: each kind says what it did, and a charge can be redone. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/entry_json.h"
#include "agent/entry_out.h"
#include "agent/money.h"
#include "agent/price.h"

#define T0 UINT64_C(1793491200000000000) /* 2026-11-01T00:00:00Z */

static struct weir_text out;
static struct weir_card *card;

static int down(void **state)
{
	weir_text_free(&out);
	weir_card_free(card);
	card = NULL;
	return 0;
}

static void card_of(const char *json)
{
	struct weir_error err = { "" };

	if (weir_card_parse(json, "test", &card, &err))
		fail_msg("%s", err.text);
}

/* It must be JSON, whatever else. */
static json_t *json_of(const struct weir_entry *e)
{
	json_error_t why;
	json_t *o;

	assert_int_equal(weir_entry_json(e, card, &out), 0);
	assert_int_equal(strlen(out.p), out.len);
	o = json_loads(out.p, JSON_REJECT_DUPLICATES, &why);
	if (!o)
		fail_msg("%s: %s", why.text, out.p);
	return o;
}

static const char *text(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static json_int_t count(const json_t *o, const char *name)
{
	assert_true(json_is_integer(json_object_get(o, name)));
	return json_integer_value(json_object_get(o, name));
}

static void a_grant_is_this(void **state)
{
	struct weir_move moves[] = { { WEIR_PURSE_REMAINING, 2, 4999999999 },
				     { WEIR_PURSE_DEBT, 0, -1 } };
	struct weir_op op = { .kind = WEIR_ENTRY_GRANT,
			      .source = WEIR_GRANT_PROMO,
			      .priority = 100,
			      .amount_nano = 5000000000,
			      .effective_ns = T0,
			      .cost_basis_nano = 4500000000,
			      .currency = "USD",
			      .pack = "small",
			      .key = "order-17",
			      .reason = "hello" };
	struct weir_entry e = { .seq = 2,
				.time_ns = T0,
				.kind = WEIR_ENTRY_GRANT,
				.tenant = 1,
				.wallet = 1,
				.tenant_name = "acme",
				.amount_nano = 5000000000,
				.balance_before_nano = -1,
				.balance_after_nano = 4999999999,
				.moves = moves,
				.n_moves = 2,
				.op = &op,
				.actor = "uid 0" };

	e.hash[31] = 0xff;
	assert_int_equal(weir_entry_json(&e, NULL, &out), 0);
	assert_string_equal(
		out.p,
		"{\"seq\":2,\"time\":\"2026-11-01T00:00:00Z\",\"kind\":\"grant\",\"amount\":\"5\","
		"\"balance_before\":\"-0.000000001\",\"balance_after\":\"4.999999999\","
		"\"event_id\":\"00000000000000000000000000000000\",\"rate_card\":null,\"lines\":[],"
		"\"burn\":[],\"debt\":\"-0.000000001\",\"tenant\":\"acme\",\"moves\":["
		"{\"purse\":\"remaining\",\"grant_seq\":2,\"amount\":\"4.999999999\"},"
		"{\"purse\":\"debt\",\"amount\":\"-0.000000001\"}],\"grant\":{"
		"\"source\":\"promo\",\"priority\":100,\"effective_at\":\"2026-11-01T00:00:00Z\","
		"\"pack\":\"small\",\"cost_basis\":\"4.5\",\"currency\":\"USD\"},"
		"\"id\":\"order-17\",\"reason\":\"hello\",\"actor\":\"uid 0\",\"prev_hash\":"
		"\"0000000000000000000000000000000000000000000000000000000000000000\",\"hash\":"
		"\"00000000000000000000000000000000000000000000000000000000000000ff\"}");
}

/* From the entry alone: Σ lines x factor is the price, whatever steps and bands there are. */
static void a_charge_can_be_made_again_from_its_lines(void **state)
{
	struct weir_move moves[] = { { WEIR_PURSE_REMAINING, 1, -4 },
				     { WEIR_PURSE_EXPIRED, 3, -2 },
				     { WEIR_PURSE_DEBT, 0, 7 } };
	struct weir_position at = { WEIR_DIM_INPUT, 998500 };
	struct weir_row row = { .tenant = 1,
				.wallet = 2,
				.started_wall_ns = T0,
				.ended_wall_ns = T0,
				.flags = WEIR_ROW_BILLABLE | WEIR_ROW_POSTED,
				.card_id = 1,
				.discount_milli = 100,
				.usage = { 2000, 1000, WEIR_UNKNOWN, 0, WEIR_UNKNOWN },
				.audio = WEIR_UNKNOWN,
				.image = WEIR_UNKNOWN,
				.model = "llama-3.3-70b" };
	struct weir_entry e = { .kind = WEIR_ENTRY_USAGE,
				.tenant = 1,
				.wallet = 2,
				.tenant_name = "team",
				.wallet_name = "org",
				.moves = moves,
				.n_moves = 3,
				.positions = &at,
				.n_positions = 1,
				.row = &row,
				.actor = "agent" };
	struct weir_priced priced;
	__int128 sum = 0;
	int64_t nano, price;
	json_t *o, *lines, *l, *c;
	size_t i;

	card_of("{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"discounts\":{"
		"\"pro\":\"0.1\"},\"models\":[{\"match\":\"llama*\",\"price\":{\"input\":{\"mode\":"
		"\"graduated\",\"steps\":[{\"up_to\":1000000,\"price\":\"0.005\"},{\"price\":"
		"\"0.004\"}]},\"output\":\"0.01\",\"per\":1000}}]}");
	weir_entry_priced(&e, card, &priced);
	assert_non_null(priced.card);
	price = priced.charge.price_nano;
	o = json_of(&e);
	assert_string_equal(text(o, "tenant"), "team");
	assert_string_equal(text(o, "wallet"), "org");
	c = json_object_get(o, "rate_card");
	assert_string_equal(text(c, "factor"), "0.9");
	lines = json_object_get(o, "lines");
	/* Cached input counts behind the rest of the input, and the step is crossed within it. */
	assert_int_equal(json_array_size(lines), 3);
	json_array_foreach(lines, i, l)
	{
		assert_int_equal(weir_money_parse(text(l, "unit_price"), &nano), 0);
		sum += (__int128)count(l, "quantity") * nano * (1000000 / count(l, "per"));
		assert_true(count(l, "position") >= 998500);
	}
	l = json_array_get(lines, 0);
	assert_int_equal(count(l, "position"), 998500);
	assert_int_equal(count(l, "quantity"), 1500);
	assert_string_equal(text(l, "amount"), "0.0075");
	assert_int_equal(weir_money_div(sum * 9, 10000000, &nano), 0);
	assert_int_equal(nano, price);
	/* 3000 tokens: 1500 at 0.005 and 1500 at 0.004 per thousand, a tenth off. */
	assert_int_equal(price, 12150000);
	lines = json_object_get(o, "burn");
	assert_int_equal(json_array_size(lines), 2);
	assert_true(json_is_true(json_object_get(json_array_get(lines, 1), "expired")));
	assert_string_equal(text(o, "debt"), "0.000000007");
	assert_null(json_object_get(o, "moves"));
	json_decref(o);
}

static void a_request_says_what_it_was_for(void **state)
{
	struct weir_row row = { .user = "alice",
				.team = "red",
				.feature = "rag",
				.cost_center = "4711",
				.session = "s-1" };
	struct weir_entry e = { .kind = WEIR_ENTRY_USAGE, .row = &row, .actor = "agent" };
	json_t *o = json_of(&e);

	assert_string_equal(text(o, "user"), "alice");
	assert_string_equal(text(o, "team"), "red");
	assert_string_equal(text(o, "feature"), "rag");
	assert_string_equal(text(o, "cost_center"), "4711");
	assert_string_equal(text(o, "session"), "s-1");
	json_decref(o);
	memset(&row, 0, sizeof(row));
	o = json_of(&e);
	assert_null(json_object_get(o, "user"));
	assert_null(json_object_get(o, "team"));
	assert_null(json_object_get(o, "cost_center"));
	json_decref(o);
}

static void what_each_kind_has_to_say_is_there(void **state)
{
	struct weir_op op = { .kind = WEIR_ENTRY_VOID, .of = 7, .amount_nano = 3000000000 };
	struct weir_entry e = { .kind = WEIR_ENTRY_VOID, .op = &op, .actor = "root" };
	json_t *o = json_of(&e);

	assert_int_equal(count(o, "of_seq"), 7);
	json_decref(o);
	op.flags = WEIR_OP_SCHEDULE;
	o = json_of(&e);
	assert_int_equal(count(o, "schedule_seq"), 7);
	assert_null(json_object_get(o, "of_seq"));
	json_decref(o);

	e.kind = WEIR_ENTRY_EXPIRE;
	op.rolled_nano = 500000000;
	o = json_of(&e);
	assert_string_equal(text(o, "rolled"), "0.5");
	json_decref(o);

	e.kind = WEIR_ENTRY_REFUND;
	op.flags = WEIR_OP_AS_GRANT;
	o = json_of(&e);
	assert_true(json_is_true(json_object_get(o, "as_grant")));
	assert_int_equal(count(o, "of_seq"), 7);
	json_decref(o);

	e.kind = WEIR_ENTRY_SCHEDULE;
	op = (struct weir_op){ .every = WEIR_EVERY_MONTH,
			       .zone = "Europe/Berlin",
			       .amount_nano = 20000000000,
			       .roll_max_nano = 5000000000 };
	o = json_of(&e);
	assert_string_equal(text(json_object_get(o, "schedule"), "every"), "month");
	assert_string_equal(text(json_object_get(o, "schedule"), "zone"), "Europe/Berlin");
	assert_string_equal(text(json_object_get(o, "schedule"), "rollover_max"), "5");
	json_decref(o);

	e.kind = WEIR_ENTRY_METER;
	op = (struct weir_op){ .dimension = "storage_gb",
			       .quantity_nano = 1500000000,
			       .price_nano = 3,
			       .flags = WEIR_OP_POSTED | WEIR_OP_UNPRICED };
	o = json_of(&e);
	assert_string_equal(text(o, "dimension"), "storage_gb");
	assert_string_equal(text(o, "quantity"), "1.5");
	assert_true(json_is_true(json_object_get(o, "unpriced")));
	json_decref(o);

	e.kind = WEIR_ENTRY_TOP_UP;
	op = (struct weir_op){ .threshold_nano = 10000000000, .amount_nano = 100000000000 };
	o = json_of(&e);
	assert_string_equal(text(o, "threshold"), "10");
	assert_string_equal(text(o, "asked"), "100");
	json_decref(o);
}

/* Every string as long as it may be, of bytes that take the most room, and many moves. */
static void the_longest_entry_of_any_kind_fits(void **state)
{
	static struct weir_move moves[500];
	static char name[2 * WEIR_NAME_BYTES];
	struct weir_op op;
	struct weir_row row;
	struct weir_entry e = { .tenant = 1,
				.wallet = 2,
				.tenant_name = name,
				.wallet_name = name,
				.actor = name,
				.amount_nano = INT64_MIN,
				.moves = moves,
				.n_moves = 500,
				.seq = INT64_MAX };

	memset(name, 1, sizeof(name) - 1);
	for (size_t i = 0; i < 500; i++)
		moves[i] = (struct weir_move){ (uint8_t)(i % 4), INT64_MAX, INT64_MIN };
	for (unsigned kind = 0; kind < 256; kind++) {
		memset(&op, 1, sizeof(op));
		op.amount_nano = op.roll_min_nano = op.roll_max_nano = op.rolled_nano = INT64_MIN;
		op.flags = UINT32_MAX;
		memset(&row, 1, sizeof(row));
		e.kind = kind;
		e.op = kind == WEIR_ENTRY_USAGE ? NULL : &op;
		e.row = kind == WEIR_ENTRY_USAGE ? &row : NULL;
		json_decref(json_of(&e));
	}
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_teardown(f, down)
	const struct CMUnitTest tests[] = {
		CLAIM(a_grant_is_this),
		CLAIM(a_charge_can_be_made_again_from_its_lines),
		CLAIM(a_request_says_what_it_was_for),
		CLAIM(what_each_kind_has_to_say_is_there),
		CLAIM(the_longest_entry_of_any_kind_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
