/* SPDX-License-Identifier: Apache-2.0 */
/* Rate cards: which entry, which price, what sum, and what is no card. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/money.h"
#include "agent/price.h"

#define U WEIR_UNKNOWN

/* A card of one entry, "default", with these price and cost fields. */
static struct weir_card *card_with(const char *models)
{
	char json[4096];
	struct weir_card *c = NULL;
	struct weir_error err;

	snprintf(json, sizeof(json),
		 "{\"version\": \"v1\", \"effective_from\": \"2026-11-01T00:00:00Z\", "
		 "\"models\": [%s]}",
		 models);
	if (weir_card_parse(json, "t.json: rate_cards[0]", &c, &err))
		fail_msg("%s", err.text);
	return c;
}

static struct weir_charge charge_of(const char *models, struct weir_usage u)
{
	struct weir_card *c = card_with(models);
	struct weir_charge charge;

	assert_int_equal(weir_card_charge(c, 0, &u, &charge), 0);
	weir_card_free(c);
	return charge;
}

static int64_t nano(const char *text)
{
	int64_t n;

	assert_int_equal(weir_money_parse(text, &n), 0);
	return n;
}

/* ------------------------------------------------------------------ charges */

static void a_request_costs_what_its_lines_add_up_to(void **state)
{
	struct weir_charge c = charge_of(
		"{\"match\": \"m\","
		" \"price\": {\"input\": \"0.5\", \"output\": \"1.5\", \"cache_read\": \"0.25\","
		" \"request\": \"0.01\", \"per\": 1000},"
		" \"cost\": {\"input\": \"0.1\", \"output\": \"0.4\", \"per\": 1000}}",
		(struct weir_usage){ 100, 40, 10, 7, 3 });

	/* (100 + 10) x 0.5 + 40 x 0.25 + (7 + 3) x 1.5, per 1000, and 0.01 */
	assert_true(c.price_nano == nano("0.09"));
	assert_true(c.cost_nano == nano("0.019"));
	assert_int_equal(c.n_lines, 6);
	assert_int_equal(c.lines[1].dimension, WEIR_DIM_CACHE_READ);
	assert_int_equal(c.lines[1].priced_as, WEIR_DIM_CACHE_READ);
	assert_int_equal(c.lines[2].dimension, WEIR_DIM_CACHE_WRITE);
	assert_int_equal(c.lines[2].priced_as, WEIR_DIM_INPUT);
	assert_int_equal(c.lines[2].quantity, 10);
	assert_true(c.lines[2].unit_nano == nano("0.5"));
	assert_int_equal(c.lines[2].per, 1000);
	assert_int_equal(c.lines[4].dimension, WEIR_DIM_REASONING);
	assert_int_equal(c.lines[4].priced_as, WEIR_DIM_OUTPUT);
	assert_int_equal(c.lines[5].dimension, WEIR_DIM_REQUEST);
	assert_int_equal(c.lines[5].quantity, 1);
	assert_int_equal(c.lines[5].per, 1); /* whatever the others' per */
}

static void the_lines_alone_give_the_price_again(void **state)
{
	struct weir_charge c =
		charge_of("{\"match\": \"m\", \"price\": {\"input\": \"0.000000123\","
			  " \"output\": \"0.000000457\", \"request\": \"0.3\", \"per\": 7}}",
			  (struct weir_usage){ 1001, 13, U, 99, 5 });
	__int128 sum = 0;
	int64_t again;

	for (size_t i = 0; i < c.n_lines; i++)
		sum += (__int128)c.lines[i].quantity * c.lines[i].unit_nano * (7 / c.lines[i].per);
	assert_int_equal(weir_money_div(sum, 7, &again), 0);
	assert_true(again == c.price_nano);
}

static void a_zero_is_free_and_does_not_fall_back(void **state)
{
	struct weir_charge c = charge_of(
		"{\"match\": \"m\", \"price\": {\"input\": \"2\", \"cache_read\": \"0\"}}",
		(struct weir_usage){ 1, 100, U, 100, U });

	assert_true(c.price_nano == nano("2"));
	assert_int_equal(c.n_lines, 2); /* output has no price and no parent: no line */
	assert_int_equal(c.lines[1].quantity, 100);
	assert_true(c.lines[1].unit_nano == 0);
	assert_true(c.cost_nano == 0);
}

static void an_unknown_count_is_not_charged_and_a_zero_has_no_line(void **state)
{
	struct weir_charge c =
		charge_of("{\"match\": \"m\", \"price\": {\"input\": \"2\", \"output\": \"3\"}}",
			  (struct weir_usage){ U, U, 0, 5, U });

	assert_true(c.price_nano == nano("15"));
	assert_int_equal(c.n_lines, 1);
	assert_int_equal(c.lines[0].dimension, WEIR_DIM_OUTPUT);
}

static void one_rounding_per_request_half_to_even(void **state)
{
	static const char models[] =
		"{\"match\": \"m\", \"price\": {\"input\": \"0.000000001\", \"per\": 2},"
		" \"cost\": {\"input\": \"0.000000003\", \"per\": 2}}";

	/* 0.5, 1.5, 2.5 nano */
	assert_int_equal(charge_of(models, (struct weir_usage){ 1, U, U, U, U }).price_nano, 0);
	assert_int_equal(charge_of(models, (struct weir_usage){ 3, U, U, U, U }).price_nano, 2);
	assert_int_equal(charge_of(models, (struct weir_usage){ 5, U, U, U, U }).price_nano, 2);
	assert_int_equal(charge_of(models, (struct weir_usage){ 1, U, U, U, U }).cost_nano, 2);
	/* two dimensions of half a nano each are one nano, not 0 + 0 */
	assert_int_equal(charge_of(models, (struct weir_usage){ 1, 1, U, U, U }).price_nano, 1);
}

static void what_does_not_fit_is_refused_and_nothing_written(void **state)
{
	struct weir_card *c =
		card_with("{\"match\": \"m\", \"price\": {\"input\": \"1\"}},"
			  "{\"match\": \"n\", \"price\": {\"input\": \"9223372036.854775807\"}},"
			  "{\"match\": \"o\", \"price\": {\"input\": \"0\"},"
			  " \"cost\": {\"input\": \"9223372036.854775807\"}}");
	struct weir_charge out;
	struct weir_usage fits = { INT64_MAX / WEIR_NANO, U, U, U, U };
	struct weir_usage over = { INT64_MAX / WEIR_NANO + 1, U, U, U, U };
	struct weir_usage huge = { INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX };
	struct weir_usage negative = { 1, -2, U, U, U };

	assert_int_equal(weir_card_charge(c, 0, &fits, &out), 0);
	memset(&out, 0x5a, sizeof(out));
	assert_int_equal(weir_card_charge(c, 0, &over, &out), -ERANGE);
	assert_int_equal(weir_card_charge(c, 1, &huge, &out), -ERANGE);
	assert_int_equal(weir_card_charge(c, 2, &over, &out), -ERANGE);
	assert_int_equal(weir_card_charge(c, 0, &negative, &out), -ERANGE);
	assert_int_equal(out.n_lines, 0x5a5a5a5a5a5a5a5a);
	weir_card_free(c);
}

/* ------------------------------------------------------------------- matching */

static void the_most_specific_entry_prices(void **state)
{
	struct weir_card *c =
		card_with("{\"match\": \"default\", \"price\": {\"input\": \"0\"}},"
			  "{\"match\": \"llama*\", \"price\": {\"input\": \"1\"}},"
			  "{\"match\": \"llama-3.3-70b*\", \"price\": {\"input\": \"2\"}},"
			  "{\"match\": \"llama-3.3-70b\", \"price\": {\"input\": \"3\"}},"
			  "{\"match\": \"?lama*x\", \"price\": {\"input\": \"4\"}},"
			  "{\"match\": \"llama*y\", \"price\": {\"input\": \"5\"}}");

	assert_int_equal(weir_card_entry(c, "llama-3.3-70b"), 3);
	assert_int_equal(weir_card_entry(c, "llama-3.3-70b-instruct"), 2);
	assert_int_equal(weir_card_entry(c, "llama-2"), 1);
	assert_int_equal(weir_card_entry(c, "llama-y"), 1); /* of equals the first listed */
	assert_int_equal(weir_card_entry(c, "olamax"), 4);
	assert_int_equal(weir_card_entry(c, "gpt-4"), 0);
	assert_int_equal(weir_card_entry(c, ""), 0);
	assert_int_equal(weir_card_entry(c, "Llama-2"), 0); /* case counts */
	weir_card_free(c);
}

static void without_a_default_a_model_may_have_no_entry(void **state)
{
	struct weir_card *c = card_with("{\"match\": \"a*\", \"price\": {\"input\": \"1\"}}");
	struct weir_card *star = card_with("{\"match\": \"*\", \"price\": {\"input\": \"1\"}},"
					   "{\"match\": \"*b\", \"price\": {\"input\": \"1\"}}");

	assert_int_equal(weir_card_entry(c, "b"), -1);
	assert_int_equal(weir_card_entry(star, "a"), 0);
	assert_int_equal(weir_card_entry(star, "ab"), 1); /* "*" comes last, like default */
	weir_card_free(c);
	weir_card_free(star);
}

static void the_card_in_force_is_the_latest_begun(void **state)
{
	struct weir_card a = { .name = "list", .effective_from_ns = 100 };
	struct weir_card b = { .name = "list", .effective_from_ns = 200 };
	struct weir_card other = { .name = "vip", .effective_from_ns = 150 };
	struct weir_card *cards[] = { &a, &other, &b };

	assert_null(weir_card_at(cards, 3, 99));
	assert_ptr_equal(weir_card_at(cards, 3, 100), &a);
	assert_ptr_equal(weir_card_at(cards, 3, 199), &a);
	assert_ptr_equal(weir_card_at(cards, 3, 200), &b);
	assert_ptr_equal(weir_card_at(cards, 3, UINT64_MAX), &b);
	assert_null(weir_card_at(NULL, 0, 100));
}

static void a_reservation_reckons_with_the_dearest_rounded_up(void **state)
{
	struct weir_card *c = card_with("{\"match\": \"a\", \"price\": {\"input\": "
					"\"0.000000010\", \"cache_write\": \"0.000000013\","
					" \"output\": \"0.000000004\", \"per\": 4}},"
					"{\"match\": \"b\", \"price\": {\"output\": "
					"\"0.000000002\", \"reasoning\": \"0.000000005\","
					" \"request\": \"0.5\", \"per\": 1000}}");
	struct weir_reserve_price r;

	weir_card_reserve_price(c, &r);
	assert_int_equal(r.input_nano, 4);  /* 13 / 4 */
	assert_int_equal(r.output_nano, 1); /* 4 / 4 and 5 / 1000 */
	assert_true(r.request_nano == nano("0.5"));
	weir_card_free(c);
}

/* ---------------------------------------------------------------- text, identity */

static struct weir_card *parsed(const char *json)
{
	struct weir_card *c = NULL;
	struct weir_error err;

	if (weir_card_parse(json, "x", &c, &err))
		fail_msg("%s", err.text);
	return c;
}

static void a_card_is_the_same_however_it_is_written(void **state)
{
	struct weir_card *a =
		parsed("{\"name\": \"list\", \"version\": \"v1\", \"effective_from\": "
		       "\"2026-11-01T00:00:00Z\", \"models\": [{\"match\": \"a\", \"price\": "
		       "{\"input\": \"1\", \"per\": 1}}]}");
	struct weir_card *b = parsed(
		"{ \"models\": [ {\"price\": {\"per\": 1, \"input\": \"1\"}, \"match\":"
		"\"a\"}],\n\"effective_from\": \"2026-11-01T00:00:00Z\",\"version\":\"v1\"}");
	struct weir_card *other = parsed(
		"{ \"models\": [ {\"price\": {\"per\": 1, \"input\": \"2\"}, \"match\":"
		"\"a\"}],\n\"effective_from\": \"2026-11-01T00:00:00Z\",\"version\":\"v1\"}");
	struct weir_card *again = parsed(a->json);

	assert_string_equal(
		a->json,
		"{\"effective_from\":\"2026-11-01T00:00:00Z\",\"models\":[{\"match\":\"a\","
		"\"price\":{\"input\":\"1\",\"per\":1}}],\"name\":\"list\",\"version\":"
		"\"v1\"}");
	assert_string_equal(a->json, b->json);
	assert_memory_equal(a->sha256, b->sha256, 32);
	assert_string_equal(a->json, again->json);
	assert_memory_not_equal(a->sha256, other->sha256, 32);
	assert_string_equal(b->name, "list");
	assert_string_equal(a->version, "v1");
	assert_true(a->effective_from_ns == 1793491200000000000u);
	weir_card_free(a);
	weir_card_free(b);
	weir_card_free(other);
	weir_card_free(again);
	weir_card_free(NULL);
}

#define HEAD "{\"version\": \"v1\", \"effective_from\": \"2026-11-01T00:00:00Z\", \"models\": "

static void what_is_no_card_is_refused_with_place_and_value(void **state)
{
	static const struct {
		const char *json, *error;
	} bad[] = {
		{ "[]", "t: rate_cards[0]: an array is not an object" },
		{ "{\"version\": \"v1\"",
		  "t: rate_cards[0]: version: line 1, column 16: '}' expected "
		  "near end of file" },
		{ "{\"effective_from\": \"2026-11-01T00:00:00Z\", \"models\": []}",
		  "t: rate_cards[0]: has no \"version\"" },
		{ "{\"version\": \"v 1\", \"effective_from\": \"x\", \"models\": []}",
		  "t: rate_cards[0].version: \"v 1\" is not a version of a-z A-Z 0-9 . _ -" },
		{ "{\"version\": \"v1\", \"effective_from\": \"soon\", \"models\": []}",
		  "t: rate_cards[0].effective_from: \"soon\" is not a time such as "
		  "\"2026-11-01T00:00:00Z\" (RFC 3339)" },
		{ HEAD "[]}", "t: rate_cards[0].models: 0 elements, at least 1 must be there" },
		{ HEAD "{}}", "t: rate_cards[0].models: an object is not an array" },
		{ HEAD "[{\"price\": {\"input\": \"1\"}}]}",
		  "t: rate_cards[0].models[0]: has no \"match\"" },
		{ HEAD "[{\"match\": \"a\"}]}", "t: rate_cards[0].models[0]: has no \"price\"" },
		{ HEAD "[{\"match\": \"\", \"price\": {\"input\": \"1\"}}]}",
		  "t: rate_cards[0].models[0].match: \"\" is not a string of 1 to 127 bytes" },
		{ HEAD "[{\"match\": \"a\", \"price\": {}}]}",
		  "t: rate_cards[0].models[0].price: prices nothing (a free model says \"input\": "
		  "\"0\")" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": 0.5}}]}",
		  "t: rate_cards[0].models[0].price.input: 0.5 is not a decimal string (write it "
		  "in "
		  "quotes)" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": \"1e3\"}}]}",
		  "t: rate_cards[0].models[0].price.input: \"1e3\" is not a decimal string with at "
		  "most nine decimals" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": \"-1\"}}]}",
		  "t: rate_cards[0].models[0].price.input: \"-1\" is not from 0 to "
		  "9223372036.854775807" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": \"9223372037\"}}]}",
		  "t: rate_cards[0].models[0].price.input: \"9223372037\" is not from 0 to "
		  "9223372036.854775807" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": \"1\", \"per\": 0}}]}",
		  "t: rate_cards[0].models[0].price.per: 0 is not a whole number from 1 to "
		  "1000000000" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": \"1\"}, \"cost\": {\"inptu\": "
		       "\"1\"}}]}",
		  "t: rate_cards[0].models[0].cost.inptu: no such field (value \"1\"; did you mean "
		  "\"input\"?)" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": \"1\"}}, {\"match\": \"a\", "
		       "\"price\": {\"input\": \"2\"}}]}",
		  "t: rate_cards[0].models[1].match: \"a\" matches what entry [0] does already" },
		{ HEAD
		  "[{\"match\": \"*\", \"price\": {\"input\": \"1\"}}, {\"match\": \"default\","
		  " \"price\": {\"input\": \"2\"}}]}",
		  "t: rate_cards[0].models[1].match: \"default\" matches what entry [0] does "
		  "already" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": \"1\", \"input\": \"2\"}}]}",
		  "t: rate_cards[0]: models[0].price.input: line 1, column 117: duplicate object "
		  "key "
		  "near '\"input\"'" },
	};
	struct weir_card *c = NULL;
	struct weir_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(weir_card_parse(bad[i].json, "t: rate_cards[0]", &c, &err),
				 -EINVAL);
		assert_string_equal(err.text, bad[i].error);
		assert_null(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_costs_what_its_lines_add_up_to),
		cmocka_unit_test(the_lines_alone_give_the_price_again),
		cmocka_unit_test(a_zero_is_free_and_does_not_fall_back),
		cmocka_unit_test(an_unknown_count_is_not_charged_and_a_zero_has_no_line),
		cmocka_unit_test(one_rounding_per_request_half_to_even),
		cmocka_unit_test(what_does_not_fit_is_refused_and_nothing_written),
		cmocka_unit_test(the_most_specific_entry_prices),
		cmocka_unit_test(without_a_default_a_model_may_have_no_entry),
		cmocka_unit_test(the_card_in_force_is_the_latest_begun),
		cmocka_unit_test(a_reservation_reckons_with_the_dearest_rounded_up),
		cmocka_unit_test(a_card_is_the_same_however_it_is_written),
		cmocka_unit_test(what_is_no_card_is_refused_with_place_and_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
