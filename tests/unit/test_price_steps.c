// SPDX-License-Identifier: Apache-2.0
/* Claims about steps: what a price is where the counter stands, and what a month's end adds. */
#include "tests/unit/price_fixture.h"

#include <stdlib.h>

/* The first million at 0.005 per thousand, the next nine at 0.004, the rest at 0.003. */
#define STEPS(mode)                                                                                \
	"{\"match\": \"m\", \"price\": {\"per\": 1000, \"output\": {\"mode\": \"" mode             \
	"\", \"steps\": [{\"up_to\": 1000000, \"price\": \"0.005\"}, {\"up_to\": 10000000,"        \
	" \"price\": \"0.004\"}, {\"price\": \"0.003\"}]}}}"

static struct weir_charge at(struct weir_card *c, int64_t position, int64_t output)
{
	int64_t positions[WEIR_DIM_MAX] = { [WEIR_DIM_OUTPUT] = position };

	return charged(c, 0, tokens(U, U, U, output, U), positions);
}

static void each_unit_is_priced_by_its_own_step(void **state)
{
	struct weir_card *c = card_with(STEPS("graduated"));
	static const struct {
		int64_t at, quantity;
		const char *price;
		size_t lines;
	} cases[] = {
		{ 0, 1000, "0.005", 1 },
		{ 0, 1000000, "5", 1 },		       /* the last one of a step is in it */
		{ 0, 1000001, "5.000004", 2 },	       /* */
		{ 999999, 1, "0.000005", 1 },	       /* */
		{ 1000000, 1, "0.000004", 1 },	       /* */
		{ 999999, 2, "0.000009", 2 },	       /* one of each */
		{ 0, 11000000, "44", 3 },	       /* 5 + 36 + 3 */
		{ 10000000, 5000000, "15", 1 },	       /* */
		{ 500000, 10000000, "40", 3 },	       /* 2.5 + 36 + 1.5 */
		{ INT64_C(1) << 60, 1000, "0.003", 1 } /* */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct weir_charge charge = at(c, cases[i].at, cases[i].quantity);

		assert_true(charge.price_nano == nano(cases[i].price));
		assert_int_equal(charge.n_lines, cases[i].lines);
		assert_int_equal(charge.lines[0].position, cases[i].at);
		assert_int_equal(charge.counted[WEIR_DIM_OUTPUT], cases[i].quantity);
		assert_true(charge.volume[WEIR_DIM_OUTPUT].weighted == 0);
	}
	weir_card_free(c);
}

/* However a month's tokens are cut into requests, together they cost the same. */
static void graduated_steps_do_not_mind_how_a_month_is_cut(void **state)
{
	struct weir_card *c = card_with(STEPS("graduated"));
	int64_t sum = 0, position = 0;

	while (position < 12000000) {
		int64_t n = position % 7000 + 1000;

		if (n > 12000000 - position)
			n = 12000000 - position;
		sum += at(c, position, n).price_nano;
		position += n;
	}
	assert_true(sum == at(c, 0, 12000000).price_nano);
	assert_true(sum == nano("47")); /* 5 + 36 + 6 */
	weir_card_free(c);
}

static void by_volume_all_of_it_is_priced_by_where_it_ends(void **state)
{
	struct weir_card *c = card_with(STEPS("volume"));
	struct weir_charge charge = at(c, 0, 1000000);

	assert_true(charge.price_nano == nano("5"));
	charge = at(c, 0, 1000001);
	assert_true(charge.price_nano == nano("4.000004"));
	assert_int_equal(charge.n_lines, 1);
	charge = at(c, 999000, 2000);
	assert_true(charge.price_nano == nano("0.008"));
	assert_int_equal(charge.counted[WEIR_DIM_OUTPUT], 2000);
	assert_true(charge.volume[WEIR_DIM_OUTPUT].weighted == (__int128)2000 * WEIR_FACTOR);
	assert_true(charge.volume[WEIR_DIM_OUTPUT].charged ==
		    (__int128)2000 * WEIR_FACTOR * nano("0.004"));
	weir_card_free(c);
}

/* 800 k, 800 k, then 10 M: charged 4 + 3.2 + 30; all of it at 0.003 is 34.8. */
static void a_true_up_is_what_the_final_step_makes_of_the_month(void **state)
{
	struct weir_card *c = card_with(STEPS("volume"));
	static const int64_t quantities[] = { 800000, 800000, 10000000 };
	int64_t position = 0, paid = 0, unit, per, should, was;
	__int128 weighted = 0, sum = 0;

	for (size_t i = 0; i < 3; i++) {
		struct weir_charge charge = at(c, position, quantities[i]);

		position += charge.counted[WEIR_DIM_OUTPUT];
		weighted += charge.volume[WEIR_DIM_OUTPUT].weighted;
		sum += charge.volume[WEIR_DIM_OUTPUT].charged;
		paid += charge.price_nano;
	}
	assert_true(paid == nano("37.2"));
	weir_card_unit_at(c, 0, WEIR_DIM_OUTPUT, position, &unit, &per);
	assert_true(unit == nano("0.003"));
	assert_int_equal(per, 1000);
	assert_int_equal(weir_volume_price(weighted * unit, per, &should), 0);
	assert_int_equal(weir_volume_price(sum, per, &was), 0);
	assert_true(should == nano("34.8"));
	assert_true(was == paid);
	assert_int_equal(weir_volume_price(weighted * unit - sum, per, &was), 0);
	assert_true(was == nano("-2.4"));
	assert_int_equal(weir_volume_price((__int128)INT64_MAX * WEIR_FACTOR * 2, 1, &was),
			 -ERANGE);
	weir_card_unit_at(c, 0, WEIR_DIM_OUTPUT, 1000000, &unit, &per);
	assert_true(unit == nano("0.005"));
	weir_card_free(c);
}

/* Input, then what was read from a cache: one counter, in that order. */
static void what_falls_back_counts_in_its_parents_steps(void **state)
{
	struct weir_card *c = card_with(
		"{\"match\": \"m\", \"price\": {\"input\": {\"steps\": [{\"up_to\": 10,"
		" \"price\": \"3\"}, {\"price\": \"1\"}]}, \"image\": \"7\"}},"
		"{\"match\": \"v\", \"price\": {\"input\": {\"mode\": \"volume\", \"steps\":"
		" [{\"up_to\": 10, \"price\": \"3\"}, {\"price\": \"1\"}]}}}");
	int64_t positions[WEIR_DIM_MAX] = { [WEIR_DIM_INPUT] = 2, [WEIR_DIM_CACHE_READ] = 99 };
	struct weir_quantities q = tokens(6, 4, U, U, U);
	struct weir_charge charge;

	q.of[WEIR_DIM_IMAGE] = 1;
	charge = charged(c, 0, q, positions);
	/* 3 to 8 at 3; 9 and 10 at 3, 11 and 12 at 1; an image */
	assert_true(charge.price_nano == nano("33"));
	assert_int_equal(charge.n_lines, 4);
	assert_int_equal(charge.lines[1].dimension, WEIR_DIM_CACHE_READ);
	assert_int_equal(charge.lines[1].priced_as, WEIR_DIM_INPUT);
	assert_int_equal(charge.lines[1].position, 8);
	assert_int_equal(charge.lines[1].quantity, 2);
	assert_int_equal(charge.lines[2].position, 10);
	assert_int_equal(charge.counted[WEIR_DIM_INPUT], 10);
	assert_int_equal(charge.counted[WEIR_DIM_CACHE_READ], 0);
	assert_int_equal(charge.counted[WEIR_DIM_IMAGE], 0);
	q.of[WEIR_DIM_IMAGE] = U;
	charge = charged(c, 1, q, positions);
	assert_true(charge.price_nano == nano("22")); /* 6 end at 8: 3; 4 end at 12: 1 */
	assert_true(charge.volume[WEIR_DIM_INPUT].weighted == (__int128)10 * WEIR_FACTOR);
	assert_true(charge.volume[WEIR_DIM_INPUT].charged == (__int128)nano("22") * WEIR_FACTOR);
	weir_card_free(c);
}

static void factors_are_in_what_a_volume_is_weighed_by(void **state)
{
	struct weir_card *c =
		card_of("\"discounts\": {\"pro\": \"0.5\"}",
			"{\"match\": \"m\", \"multiplier\": \"3\", \"price\": {\"request\":"
			" {\"mode\": \"volume\", \"steps\": [{\"up_to\": 1, \"price\": \"10\"},"
			" {\"price\": \"4\"}]}}}");
	int64_t positions[WEIR_DIM_MAX] = { 0 };
	struct weir_quantities q = tokens(U, U, U, U, U);
	struct weir_charge charge;

	assert_int_equal(weir_card_charge(c, 0, 500, &q, positions, &charge), 0);
	assert_true(charge.price_nano == nano("15"));
	assert_true(charge.volume[WEIR_DIM_REQUEST].weighted == WEIR_FACTOR * 3 / 2);
	weir_card_free(c);
}

static void seconds_and_units_have_steps_of_whole_ones(void **state)
{
	struct weir_card *c =
		card_with("{\"match\": \"m\", \"price\": {\"second\": {\"steps\": [{\"up_to\": 2,"
			  " \"price\": \"1\"}, {\"price\": \"0.5\"}]}}},"
			  "{\"meter\": \"gb\", \"price\": {\"per\": 10, \"unit\": {\"steps\":"
			  " [{\"up_to\": 2, \"price\": \"1\"}, {\"price\": \"0.5\"}]}}}");
	int64_t positions[WEIR_DIM_MAX] = {
		[WEIR_DIM_SECOND] = 500000000, [WEIR_DIM_UNIT] = 1999999999
	};
	struct weir_charge charge = charged(c, 0, none_but(WEIR_DIM_SECOND, 2500000000), positions);
	int64_t unit, per;

	assert_true(charge.price_nano == nano("2")); /* 1.5 + 1 x 0.5 */
	charge = charged(c, 1, none_but(WEIR_DIM_UNIT, 2), positions);
	assert_int_equal(charge.n_lines, 2); /* 1e-9 at a tenth, 1e-9 at a twentieth: 0.15 */
	assert_int_equal(charge.price_nano, 0);
	charge = charged(c, 1, none_but(WEIR_DIM_UNIT, nano("10.000000001")), positions);
	assert_true(charge.price_nano == nano("0.5"));
	weir_card_unit_at(c, 1, WEIR_DIM_UNIT, nano("2"), &unit, &per);
	assert_true(unit == nano("1"));
	assert_true(per == nano("10"));
	weir_card_free(c);
}

static void where_nobody_knows_the_counter_it_is_the_dearest_step(void **state)
{
	struct weir_card *c =
		card_with("{\"match\": \"m\", \"price\": {\"output\": {\"pool\": \"group-a\","
			  " \"steps\": [{\"up_to\": 5, \"price\": \"1\"}, {\"up_to\": 9, \"price\":"
			  " \"4\"}, {\"price\": \"2\"}]}, \"input\": \"1\"}}");
	struct weir_charge charge = charged(c, 0, tokens(U, U, U, 100, U), NULL);
	const char *pool;

	assert_true(charge.price_nano == nano("400"));
	assert_int_equal(charge.n_lines, 1);
	assert_int_equal(charge.lines[0].position, -1);
	assert_int_equal(charge.counted[WEIR_DIM_OUTPUT], 0);
	assert_int_equal(weir_card_steps(c, 0, WEIR_DIM_OUTPUT, &pool), WEIR_STEPS_GRADUATED);
	assert_string_equal(pool, "group-a");
	assert_int_equal(weir_card_steps(c, 0, WEIR_DIM_REASONING, &pool), WEIR_STEPS_NONE);
	assert_int_equal(weir_card_steps(c, 0, WEIR_DIM_INPUT, &pool), WEIR_STEPS_NONE);
	assert_null(pool);
	assert_int_equal(weir_card_priced_as(c, 0, WEIR_DIM_REASONING), WEIR_DIM_OUTPUT);
	assert_int_equal(weir_card_priced_as(c, 0, WEIR_DIM_INPUT), WEIR_DIM_INPUT);
	assert_int_equal(weir_card_priced_as(c, 0, WEIR_DIM_SECOND), WEIR_DIM_MAX);
	weir_card_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_unit_is_priced_by_its_own_step),
		cmocka_unit_test(graduated_steps_do_not_mind_how_a_month_is_cut),
		cmocka_unit_test(by_volume_all_of_it_is_priced_by_where_it_ends),
		cmocka_unit_test(a_true_up_is_what_the_final_step_makes_of_the_month),
		cmocka_unit_test(what_falls_back_counts_in_its_parents_steps),
		cmocka_unit_test(factors_are_in_what_a_volume_is_weighed_by),
		cmocka_unit_test(seconds_and_units_have_steps_of_whole_ones),
		cmocka_unit_test(where_nobody_knows_the_counter_it_is_the_dearest_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
