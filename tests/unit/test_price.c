// SPDX-License-Identifier: Apache-2.0
/* Claims about what things cost, with numbers that were reckoned by hand. */
#include "tests/unit/price_fixture.h"

/* ----------------------------------------------------------------- lines and sums */

static void a_request_costs_what_its_lines_add_up_to(void **state)
{
	struct weir_charge c = charge_of(
		"{\"match\": \"m\","
		" \"price\": {\"input\": \"0.5\", \"output\": \"1.5\", \"cache_read\": \"0.25\","
		" \"request\": \"0.01\", \"per\": 1000},"
		" \"cost\": {\"input\": \"0.1\", \"output\": \"0.4\", \"per\": 1000}}",
		tokens(100, 40, 10, 7, 3));

	/* (100 + 10) x 0.5 + 40 x 0.25 + (7 + 3) x 1.5, per 1000, and 0.01 */
	assert_true(c.price_nano == nano("0.09"));
	assert_true(c.cost_nano == nano("0.019"));
	assert_true(c.factor == WEIR_FACTOR);
	assert_int_equal(c.n_lines, 6);
	assert_int_equal(c.lines[1].dimension, WEIR_DIM_CACHE_READ);
	assert_int_equal(c.lines[1].priced_as, WEIR_DIM_CACHE_READ);
	assert_int_equal(c.lines[2].dimension, WEIR_DIM_CACHE_WRITE);
	assert_int_equal(c.lines[2].priced_as, WEIR_DIM_INPUT);
	assert_int_equal(c.lines[2].quantity, 10);
	assert_true(c.lines[2].unit_nano == nano("0.5"));
	assert_int_equal(c.lines[2].per, 1000);
	assert_int_equal(c.lines[2].position, -1);
	assert_int_equal(c.lines[4].dimension, WEIR_DIM_REASONING);
	assert_int_equal(c.lines[4].priced_as, WEIR_DIM_OUTPUT);
	assert_int_equal(c.lines[5].dimension, WEIR_DIM_REQUEST);
	assert_int_equal(c.lines[5].quantity, 1);
	assert_int_equal(c.lines[5].per, 1); /* whatever the others' per */
}

static void audio_and_images_are_input_unless_they_have_a_price(void **state)
{
	struct weir_quantities q = tokens(10, U, U, U, U);
	struct weir_charge c;

	q.of[WEIR_DIM_AUDIO] = 3;
	q.of[WEIR_DIM_IMAGE] = 2;
	c = charge_of("{\"match\": \"m\", \"price\": {\"input\": \"1\", \"audio\": \"10\"}}", q);
	assert_true(c.price_nano == nano("42")); /* 10 + 3 x 10 + 2 */
	assert_int_equal(c.lines[2].priced_as, WEIR_DIM_INPUT);
}

static void seconds_are_counted_to_the_nanosecond(void **state)
{
	struct weir_quantities q = none_but(WEIR_DIM_SECOND, 1500000000);
	struct weir_charge c =
		charge_of("{\"match\": \"m\", \"price\": {\"second\": \"0.1\", \"per\": 7},"
			  " \"cost\": {\"second\": \"0.02\", \"input\": \"1\"}}",
			  q);

	assert_true(c.price_nano == nano("0.15"));
	assert_true(c.cost_nano == nano("0.03"));
	assert_int_equal(c.lines[0].per, 1000000000);
	/* 10.5 nano of time and 3 / 7 of a token: 10.93, rounded once */
	q = tokens(1, U, U, U, U);
	q.of[WEIR_DIM_SECOND] = 105;
	c = charge_of("{\"match\": \"m\", \"price\": {\"second\": \"0.1\","
		      " \"input\": \"0.000000003\", \"per\": 7}}",
		      q);
	assert_int_equal(c.price_nano, 11);
}

static void a_quantity_of_a_meter_has_nine_decimals(void **state)
{
	struct weir_charge c =
		charge_of("{\"meter\": \"storage_gb\", \"price\": {\"unit\": \"0.02\"},"
			  " \"cost\": {\"unit\": \"5\", \"per\": 1000}}",
			  none_but(WEIR_DIM_UNIT, nano("12.5")));

	assert_true(c.price_nano == nano("0.25"));
	assert_true(c.cost_nano == nano("0.0625"));
	assert_int_equal(c.n_lines, 1);
	assert_int_equal(c.lines[0].dimension, WEIR_DIM_UNIT);
	assert_int_equal(c.lines[0].per, 1000000000);
}

static void a_zero_is_free_and_does_not_fall_back(void **state)
{
	struct weir_charge c = charge_of(
		"{\"match\": \"m\", \"price\": {\"input\": \"2\", \"cache_read\": \"0\"}}",
		tokens(1, 100, U, 100, U));

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
			  tokens(U, U, 0, 5, U));

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
	assert_int_equal(charge_of(models, tokens(1, U, U, U, U)).price_nano, 0);
	assert_int_equal(charge_of(models, tokens(3, U, U, U, U)).price_nano, 2);
	assert_int_equal(charge_of(models, tokens(5, U, U, U, U)).price_nano, 2);
	assert_int_equal(charge_of(models, tokens(1, U, U, U, U)).cost_nano, 2);
	/* two dimensions of half a nano each are one nano, not 0 + 0 */
	assert_int_equal(charge_of(models, tokens(1, 1, U, U, U)).price_nano, 1);
	/* and a factor comes before it: 0.5 x 3 */
	assert_int_equal(charge_of("{\"match\": \"m\", \"multiplier\": \"3\","
				   " \"price\": {\"input\": \"0.000000001\", \"per\": 2}}",
				   tokens(1, U, U, U, U))
				 .price_nano,
			 2);
}

static void what_does_not_fit_is_refused_and_nothing_written(void **state)
{
	struct weir_card *c =
		card_with("{\"match\": \"m\", \"price\": {\"input\": \"1\"}},"
			  "{\"match\": \"n\", \"price\": {\"input\": \"9223372036.854775807\"}},"
			  "{\"match\": \"o\", \"price\": {\"input\": \"0\"},"
			  " \"cost\": {\"input\": \"9223372036.854775807\"}},"
			  "{\"match\": \"p\", \"price\": {\"input\": {\"steps\":"
			  " [{\"price\": \"0\"}]}}}");
	int64_t m = INT64_MAX, positions[WEIR_DIM_MAX] = { 0 };
	struct weir_quantities fits = tokens(m / WEIR_NANO, U, U, U, U);
	struct weir_quantities over = tokens(m / WEIR_NANO + 1, U, U, U, U);
	struct weir_quantities huge = tokens(m, m, m, m, m);
	struct weir_quantities negative = tokens(1, -2, U, U, U);
	struct weir_charge out;

	assert_int_equal(weir_card_charge(c, 0, 0, &fits, NULL, &out), 0);
	memset(&out, 0x5a, sizeof(out));
	assert_int_equal(weir_card_charge(c, 0, 0, &over, NULL, &out), -ERANGE);
	assert_int_equal(weir_card_charge(c, 1, 0, &huge, NULL, &out), -ERANGE);
	assert_int_equal(weir_card_charge(c, 2, 0, &over, NULL, &out), -ERANGE);
	assert_int_equal(weir_card_charge(c, 0, 0, &negative, NULL, &out), -ERANGE);
	assert_int_equal(weir_card_charge(c, 0, 1001, &fits, NULL, &out), -ERANGE);
	/* a counter that would run over */
	assert_int_equal(weir_card_charge(c, 3, 0, &huge, positions, &out), -ERANGE);
	positions[WEIR_DIM_INPUT] = m;
	assert_int_equal(weir_card_charge(c, 3, 0, &fits, positions, &out), -ERANGE);
	positions[WEIR_DIM_INPUT] = -1;
	assert_int_equal(weir_card_charge(c, 3, 0, &fits, positions, &out), -ERANGE);
	assert_int_equal(out.n_lines, 0x5a5a5a5a5a5a5a5a);
	assert_int_equal(out.price_nano, 0x5a5a5a5a5a5a5a5a);
	weir_card_free(c);
}

/* ------------------------------------------------------------------------ factors */

#define BANDS                                                                                      \
	"\"bands\": [{\"up_to\": 8192, \"multiplier\": \"1\"}, {\"up_to\": 32768, "                \
	"\"multiplier\": \"1.8\"}, {\"up_to\": 131072, \"multiplier\": \"3.2\"}, "                 \
	"{\"multiplier\": \"5\"}]"

static void a_longer_context_costs_more_for_all_of_it(void **state)
{
	static const char models[] = "{\"match\": \"m\", " BANDS
				     ", \"price\": {\"input\": \"0.001\", \"output\": \"0.002\"},"
				     " \"cost\": {\"input\": \"0.001\"}}";
	static const struct {
		int64_t input, cached;
		const char *price;
	} cases[] = {
		{ 8192, U, "8.392" },	   /* 8.192 + 100 x 0.002 */
		{ 8193, U, "15.1074" },	   /* x 1.8 */
		{ 192, 8000, "8.392" },	   /* all kinds of input make the band */
		{ 193, 8000, "15.1074" },  /* */
		{ 32768, U, "59.3424" },   /* 32.968 x 1.8 */
		{ 32769, U, "105.5008" },  /* 32.969 x 3.2 */
		{ 131072, U, "420.0704" }, /* 131.272 x 3.2 */
		{ 131073, U, "656.365" },  /* 131.273 x 5 */
		{ U, U, "0.2" },	   /* nobody said: the first */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct weir_charge c =
			charge_of(models, tokens(cases[i].input, cases[i].cached, U, 100, U));

		assert_true(c.price_nano == nano(cases[i].price));
	}
	/* The cost has no factors. */
	assert_true(charge_of(models, tokens(10000, U, U, U, U)).cost_nano == nano("10"));
}

/* 10 x 0.1 x 1.5 x 1.8 x 0.9 */
static void factors_multiply(void **state)
{
	struct weir_card *c =
		card_of("\"discounts\": {\"pro\": \"0.1\", \"free\": \"0\"}",
			"{\"match\": \"m\", \"multiplier\": \"1.5\", \"bands\":"
			"[{\"up_to\": 9, \"multiplier\": \"1\"},"
			" {\"multiplier\": \"1.8\"}], \"price\": {\"input\": \"0.1\"}}");
	struct weir_quantities q = tokens(10, U, U, U, U);
	struct weir_charge charge;

	assert_int_equal(weir_card_discount(c, "pro"), 100);
	assert_int_equal(weir_card_discount(c, "free"), 0);
	assert_int_equal(weir_card_discount(c, "other"), 0);
	assert_int_equal(weir_card_discount(c, NULL), 0);
	assert_true(weir_card_has_discount(c, 100));
	assert_true(weir_card_has_discount(c, 0));
	assert_false(weir_card_has_discount(c, 101));
	assert_int_equal(weir_card_charge(c, 0, 100, &q, NULL, &charge), 0);
	assert_true(charge.price_nano == nano("2.43"));
	assert_true(charge.factor == nano("2.43"));
	assert_true(charge.lines[0].unit_nano == nano("0.1")); /* the list's */
	assert_int_equal(weir_card_charge(c, 0, 1000, &q, NULL, &charge), 0);
	assert_int_equal(charge.price_nano, 0);
	weir_card_free(c);
}

static void a_markup_is_over_cost(void **state)
{
	struct weir_charge c =
		charge_of("{\"match\": \"m\", \"markup\": \"0.4\","
			  " \"cost\": {\"input\": \"3\", \"output\": \"15\", \"per\": 1000}}",
			  tokens(1000, U, U, 200, U));

	assert_true(c.cost_nano == nano("6"));
	assert_true(c.price_nano == nano("8.4"));
	assert_true(c.factor == nano("1.4"));
	assert_int_equal(c.lines_credit_nano, 0);
	assert_true(c.lines[1].unit_nano == nano("15"));
	c = charge_of("{\"match\": \"m\", \"markup\": \"-0.25\", \"cost\": {\"request\": \"4\"}}",
		      tokens(U, U, U, U, U));
	assert_true(c.price_nano == nano("3"));
}

/* ------------------------------------------------------------------------ currency */

/* In thousandths of the price; what `weirctl margin` says. */
static int64_t margin_milli(const struct weir_charge *c)
{
	return (c->price_nano - c->cost_nano) * 1000 / c->price_nano;
}

#define USD "\"currency\": \"USD\", \"credit_price\": \"0.01\", \"cost_unit\": \"currency\""

/* A credit that costs 0.003 to make and sells at 0.01. */
static void a_margin_is_the_same_in_credits_and_in_dollars(void **state)
{
	struct weir_card *c =
		card_of(USD, "{\"path\": \"/simple\", \"price\": {\"request\": \"1\"},"
			     " \"cost\": {\"request\": \"0.003\"}},"
			     "{\"path\": \"/complex\", \"price\": {\"request\": \"1\"},"
			     " \"cost\": {\"request\": \"0.015\"}}");
	struct weir_charge simple = charged(c, 0, tokens(U, U, U, U, U), NULL);
	struct weir_charge complex = charged(c, 1, tokens(U, U, U, U, U), NULL);

	assert_true(simple.price_nano == nano("1"));
	assert_true(simple.cost_nano == nano("0.3"));
	assert_int_equal(margin_milli(&simple), 700);
	/* Five credits' worth of compute, sold for one: 0.015 USD for 0.01. */
	assert_true(complex.cost_nano == nano("1.5"));
	assert_int_equal(margin_milli(&complex), -500);
	weir_card_free(c);
}

/* 7 tokens at 0.000001 USD a token over 3 USD a credit: 7 / 3 millionths of a credit. */
static void costs_in_currency_become_credits_with_one_rounding(void **state)
{
	struct weir_card *c =
		card_of("\"currency\": \"USD\", \"credit_price\": \"3\", \"cost_unit\": "
			"\"currency\"",
			"{\"match\": \"m\", \"markup\": \"0.5\", \"cost\": {\"input\": \"1\","
			" \"per\": 1000000}},"
			"{\"match\": \"n\", \"price\": {\"input\": \"1\"},"
			" \"cost\": {\"input\": \"1\", \"per\": 1000000}}");
	struct weir_charge marked = charged(c, 0, tokens(7, U, U, U, U), NULL);
	struct weir_charge priced = charged(c, 1, tokens(7, U, U, U, U), NULL);

	assert_int_equal(marked.cost_nano, 2333);  /* 2333.33 */
	assert_int_equal(marked.price_nano, 3500); /* 3500.00, not 1.5 x 2333 */
	assert_true(marked.lines_credit_nano == nano("3"));
	assert_true(marked.lines[0].unit_nano == nano("1"));
	assert_int_equal(priced.cost_nano, 2333);
	assert_true(priced.price_nano == nano("7")); /* prices are in credits always */
	assert_int_equal(priced.lines_credit_nano, 0);
	weir_card_free(c);
}

/* ------------------------------------------------------------------- what a credit is */

static void a_credit_may_be_a_call_a_thousand_tokens_or_a_document(void **state)
{
	struct weir_card *c =
		card_with("{\"path\": \"/v1/call\", \"price\": {\"request\": \"1\"}},"
			  "{\"path\": \"/v1/simple\", \"price\": {\"request\": \"1\"}},"
			  "{\"path\": \"/v1/complex\", \"price\": {\"request\": \"5\"}},"
			  "{\"match\": \"m\", \"price\": {\"input\": \"1\", \"output\": \"1\", "
			  "\"per\": 1000}},"
			  "{\"path\": \"/v1/documents\", \"status\": 201, \"unit\": \"document\","
			  " \"price\": {\"request\": \"1\"}},"
			  "{\"meter\": \"documents\", \"price\": {\"unit\": \"1\"}}");
	struct weir_quantities call = tokens(1234, U, U, 567, U);

	assert_true(charged(c, 0, call, NULL).price_nano == nano("1"));
	assert_true(charged(c, 1, call, NULL).price_nano == nano("1"));
	assert_true(charged(c, 2, call, NULL).price_nano == nano("5"));
	assert_true(charged(c, 3, tokens(600, U, U, 400, U), NULL).price_nano == nano("1"));
	assert_true(charged(c, 4, call, NULL).price_nano == nano("1"));
	assert_string_equal(weir_card_unit(c, 4), "document");
	assert_null(weir_card_unit(c, 0));
	assert_true(charged(c, 5, none_but(WEIR_DIM_UNIT, nano("3")), NULL).price_nano ==
		    nano("3"));
	weir_card_free(c);
}

static void a_session_is_paid_by_the_request_that_begins_it(void **state)
{
	struct weir_card *c = card_with("{\"path\": \"/agent\", \"price\": {\"session\": \"20\"},"
					" \"cost\": {\"input\": \"0.001\"}},"
					"{\"match\": \"m\", \"price\": {\"request\": \"1\"}}");
	struct weir_row row = { .usage = { 100, U, U, U, U }, .audio = U, .image = U };
	struct weir_quantities q;
	struct weir_charge charge;

	assert_true(weir_card_has_session(c, 0));
	assert_false(weir_card_has_session(c, 1));
	weir_quantities_of(&row, true, &q);
	charge = charged(c, 0, q, NULL);
	assert_true(charge.price_nano == nano("20"));
	assert_int_equal(charge.lines[0].dimension, WEIR_DIM_SESSION);
	weir_quantities_of(&row, false, &q);
	charge = charged(c, 0, q, NULL);
	assert_int_equal(charge.price_nano, 0);
	assert_int_equal(charge.n_lines, 0);
	assert_true(charge.cost_nano == nano("0.1")); /* tokens cost, whoever pays */
	weir_card_free(c);
}

static void quantities_are_those_of_the_row(void **state)
{
	struct weir_row row = { .started_wall_ns = 1000,
				.ended_wall_ns = 2500,
				.usage = { 1, 2, 3, 4, 5 },
				.audio = 6,
				.image = 7 };
	struct weir_quantities q;

	weir_quantities_of(&row, false, &q);
	assert_memory_equal(
		&q, (&(struct weir_quantities){ .of = { 1, 2, 3, 6, 7, 4, 5, 1, 1500, 0, U } }),
		sizeof(q));
	row.ended_wall_ns = 999; /* a clock that went back */
	weir_quantities_of(&row, true, &q);
	assert_int_equal(q.of[WEIR_DIM_SECOND], 0);
	assert_int_equal(q.of[WEIR_DIM_SESSION], 1);
}

/* ----------------------------------------------------------------------- reservations */

static void a_reservation_reckons_with_the_dearest_rounded_up(void **state)
{
	struct weir_card *c = card_with("{\"match\": \"a\", \"price\": {\"input\": "
					"\"0.000000010\", \"cache_write\": \"0.000000013\","
					" \"output\": \"0.000000004\", \"per\": 4}},"
					"{\"match\": \"b\", \"price\": {\"output\": "
					"\"0.000000002\", \"reasoning\": \"0.000000005\","
					" \"request\": \"0.5\", \"per\": 1000}},"
					"{\"meter\": \"x\", \"price\": {\"unit\": \"900\"}}");
	struct weir_reserve_price r;

	weir_card_reserve_price(c, 0, &r);
	assert_int_equal(r.input_nano, 4);  /* 13 / 4 */
	assert_int_equal(r.output_nano, 1); /* 4 / 4 and 5 / 1000 */
	assert_true(r.request_nano == nano("0.5"));
	weir_card_free(c);
}

static void a_reservation_knows_bands_steps_sessions_and_discounts(void **state)
{
	struct weir_card *c = card_of(
		USD, "{\"match\": \"a\", \"multiplier\": \"2\", " BANDS ", \"price\": {\"input\":"
		     " {\"steps\": [{\"up_to\": 5, \"price\": \"0.3\"}, {\"price\": \"0.1\"}]},"
		     " \"request\": \"1\", \"session\": \"4\"}},"
		     "{\"match\": \"b\", \"markup\": \"0.5\", \"cost\": {\"output\": \"0.02\"}}");
	struct weir_reserve_price r;

	weir_card_reserve_price(c, 0, &r);
	assert_true(r.input_nano == nano("3"));	   /* 0.3 x 2 x 5 */
	assert_true(r.request_nano == nano("50")); /* (1 + 4) x 2 x 5 */
	assert_true(r.output_nano == nano("3"));   /* 0.02 / 0.01 x 1.5 */
	weir_card_reserve_price(c, 100, &r);
	assert_true(r.input_nano == nano("2.7"));
	weir_card_reserve_price(c, 1000, &r);
	assert_int_equal(r.request_nano, 0);
	weir_card_free(c);
	/* What is past the end of int64 is past it with half of it off, too. */
	c = card_with("{\"match\": \"a\", \"multiplier\": \"3\","
		      " \"price\": {\"input\": \"9223372036\"}}");
	weir_card_reserve_price(c, 500, &r);
	assert_true(r.input_nano == INT64_MAX);
	weir_card_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_costs_what_its_lines_add_up_to),
		cmocka_unit_test(audio_and_images_are_input_unless_they_have_a_price),
		cmocka_unit_test(seconds_are_counted_to_the_nanosecond),
		cmocka_unit_test(a_quantity_of_a_meter_has_nine_decimals),
		cmocka_unit_test(a_zero_is_free_and_does_not_fall_back),
		cmocka_unit_test(an_unknown_count_is_not_charged_and_a_zero_has_no_line),
		cmocka_unit_test(one_rounding_per_request_half_to_even),
		cmocka_unit_test(what_does_not_fit_is_refused_and_nothing_written),
		cmocka_unit_test(a_longer_context_costs_more_for_all_of_it),
		cmocka_unit_test(factors_multiply),
		cmocka_unit_test(a_markup_is_over_cost),
		cmocka_unit_test(a_margin_is_the_same_in_credits_and_in_dollars),
		cmocka_unit_test(costs_in_currency_become_credits_with_one_rounding),
		cmocka_unit_test(a_credit_may_be_a_call_a_thousand_tokens_or_a_document),
		cmocka_unit_test(a_session_is_paid_by_the_request_that_begins_it),
		cmocka_unit_test(quantities_are_those_of_the_row),
		cmocka_unit_test(a_reservation_reckons_with_the_dearest_rounded_up),
		cmocka_unit_test(a_reservation_knows_bands_steps_sessions_and_discounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
