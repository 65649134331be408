/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LiteLLM's prices, exactly as they are written, into a card that the agent reads; what does
 * not go in is told.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The CLI has no library of its own. */
#include "ctl/exact.c"
#include "ctl/litellm.c"
#include "ctl/price_import.c"

/* ------------------------------------------------------------------------- exact */

static void assert_nano(const char *text, int shift, int64_t nano, bool whole)
{
	struct exact x;
	int64_t got = -1;
	bool is_whole;

	assert_int_equal(exact_parse(text, &x), 0);
	assert_int_equal(exact_nano(x, shift, &got, &is_whole), 0);
	if (got != nano || is_whole != whole)
		fail_msg("%s: %lld, %s", text, (long long)got, is_whole ? "whole" : "rounded");
}

static void numbers_are_read_as_they_are_written(void **state)
{
	assert_nano("1.5e-07", 6, 150000000, true);
	assert_nano("0.00000015", 6, 150000000, true);
	assert_nano("1.5E-7", 6, 150000000, true);
	assert_nano("15e-8", 6, 150000000, true);
	assert_nano("0.000000150000000000000000000000", 6, 150000000, true);
	assert_nano("3e-06", 6, 3000000000, true);
	assert_nano("0", 6, 0, true);
	assert_nano("-0.0", 6, 0, true);
	assert_nano("0e99", 6, 0, true);
	assert_nano("1e+3", 0, INT64_C(1000000000000), true);
	assert_nano("120", 0, INT64_C(120000000000), true);
	/* 0.1 + 0.2 of doubles; a double would have hidden it */
	assert_nano("0.30000000000000004", 0, 300000000, false);
	assert_nano("3.3333333333333335e-05", 6, 33333333333, false);
}

static void what_has_no_place_is_rounded_half_to_even(void **state)
{
	assert_nano("0.0000000005", 0, 0, false);
	assert_nano("0.0000000015", 0, 2, false);
	assert_nano("0.0000000025", 0, 2, false);
	assert_nano("0.00000000250000001", 0, 3, false);
	assert_nano("1e-300", 6, 0, false);
}

static void what_is_no_number_is_refused(void **state)
{
	static const char *const bad[] = { "",	   "-",	  "+1",	  ".5",	  "5.",	     "01",
					   "1e",   "1e+", "1.e5", "0x10", "1 ",	     "NaN",
					   "1.5.", "--1", "1e5e", "1-2",  "Infinity" };
	struct exact x = { 7, 7 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (exact_parse(bad[i], &x) != -EINVAL)
			fail_msg("\"%s\" is a number", bad[i]);
	}
	assert_int_equal(exact_parse("-1e-9", &x), -EDOM);
	assert_int_equal(exact_parse("1e999999999999", &x), -ERANGE);
	assert_int_equal(exact_parse("12345678901234567890123", &x), -ERANGE);
	assert_true(x.digits == 7 && x.exponent == 7);
}

static void what_is_too_large_is_refused(void **state)
{
	struct exact x;
	int64_t nano = 7;
	bool whole;

	assert_int_equal(exact_parse("1e10", &x), 0);
	assert_int_equal(exact_nano(x, 0, &nano, &whole), -ERANGE);
	assert_int_equal(exact_parse("1e300", &x), 0);
	assert_int_equal(exact_nano(x, 6, &nano, &whole), -ERANGE);
	assert_int_equal(nano, 7);
}

static void only_numbers_outside_of_strings_are_quoted(void **state)
{
	static const char text[] = "{\"a 1\": -1.5e-07, \"b\\\"2\": [3,4], \"c\": \"5\"}";
	size_t n;
	char *out = exact_quote_numbers(text, strlen(text), &n);

	assert_string_equal(out,
			    "{\"a 1\": \"#-1.5e-07\", \"b\\\"2\": [\"#3\",\"#4\"], \"c\": \"5\"}");
	assert_int_equal(n, strlen(out));
	free(out);
}

/* ------------------------------------------------------------------------- import */

static const struct price_import plain = {
	.name = "list",
	.version = "2026-12",
	.effective_from = "2026-12-01T00:00:00Z",
	.currency = "USD",
	.credit_price = "0.01",
	.markup = "0.4",
};

static struct price_imported got;
static struct weir_error err;

static int clean(void **state)
{
	price_imported_free(&got);
	return 0;
}

static int import(const struct price_import *how, const char *text)
{
	err.text[0] = 0;
	price_imported_free(&got);
	return price_import(text, strlen(text), "prices.json", how, &got, &err);
}

/* The card's entry of a model, as text; "" if it has none. */
static const char *entry(const char *model)
{
	static char text[1024];
	json_t *file = json_loads(got.card, JSON_REJECT_DUPLICATES, NULL), *e;
	json_t *card = json_array_get(json_object_get(file, "rate_cards"), 0);
	size_t i;

	text[0] = 0;
	assert_non_null(card);
	json_array_foreach(json_object_get(card, "models"), i, e)
	{
		if (!strcmp(json_string_value(json_object_get(e, "match")), model)) {
			char *dump = json_dumps(e, JSON_COMPACT);

			snprintf(text, sizeof(text), "%s", dump);
			free(dump);
		}
	}
	json_decref(file);
	return text;
}

/* Why a field of a model is not there; "": it is not told. *imported: the rest is. */
static const char *why(const char *model, const char *field, bool *imported)
{
	json_t *note;
	size_t i;

	json_array_foreach(got.skipped, i, note)
	{
		if (strcmp(json_string_value(json_object_get(note, "model")), model) ||
		    strcmp(json_string_value(json_object_get(note, "field")), field))
			continue;
		*imported = json_is_true(json_object_get(note, "imported"));
		return json_string_value(json_object_get(note, "why"));
	}
	return "";
}

static void assert_told(const char *model, const char *field, bool rest, const char *words)
{
	bool imported = !rest;
	const char *text = why(model, field, &imported);

	if (!strstr(text, words))
		fail_msg("%s, %s: \"%s\" does not say \"%s\"", model, field, text, words);
	assert_int_equal(imported, rest);
}

static void a_model_is_an_entry_with_our_cost_per_million(void **state)
{
	assert_int_equal(
		import(&plain,
		       "{\"sample_spec\":{\"input_cost_per_token\":0.0},\"gpt-9\":{\"mode\":"
		       "\"chat\","
		       "\"litellm_provider\":\"openai\",\"max_tokens\":8192,"
		       "\"input_cost_per_token\":1.5e-07,\"output_cost_per_token\":6e-07,"
		       "\"cache_read_input_token_cost\":7.5e-08,"
		       "\"cache_creation_input_token_cost\":1.875e-07,"
		       "\"output_cost_per_reasoning_token\":9e-07,"
		       "\"input_cost_per_audio_token\":1e-05,"
		       "\"input_cost_per_image_token\":2.5e-06,\"input_cost_per_request\":0.005,"
		       "\"supports_vision\":true}}"),
		0);
	assert_string_equal(entry("gpt-9"),
			    "{\"match\":\"gpt-9\",\"cost\":{\"input\":\"0.15\",\"cache_read\":"
			    "\"0.075\",\"cache_write\":\"0.1875\",\"audio\":\"10\",\"image\":"
			    "\"2.5\",\"output\":\"0.6\",\"reasoning\":\"0.9\",\"request\":"
			    "\"0.005\",\"per\":1000000},\"markup\":\"0.4\"}");
	assert_int_equal(got.models, 1);
	assert_int_equal(got.entries, 1);
	assert_int_equal(json_array_size(got.skipped), 0);
}

/* 0.15 a million tokens cost at 0.01 a credit 15 credits; 40 % more is the price. */
static void the_card_prices_what_the_file_says(void **state)
{
	struct weir_card *card = NULL;
	struct weir_quantities q = {
		.of = { [WEIR_DIM_INPUT] = 1000000, [WEIR_DIM_OUTPUT] = 500000 }
	};
	struct weir_charge charge;
	json_t *file;
	char *text;

	assert_int_equal(import(&plain, "{\"m\":{\"input_cost_per_token\":1.5e-07,"
					"\"output_cost_per_token\":6e-07}}"),
			 0);
	file = json_loads(got.card, 0, NULL);
	text = json_dumps(json_array_get(json_object_get(file, "rate_cards"), 0), 0);
	if (weir_card_parse(text, "card", &card, &err))
		fail_msg("%s", err.text);
	assert_int_equal(weir_card_charge(card, 0, 0, &q, NULL, &charge), 0);
	assert_int_equal(charge.cost_nano, (15 + 30) * WEIR_NANO);
	assert_int_equal(charge.price_nano, (15 + 30) * WEIR_NANO / 10 * 14);
	weir_card_free(card);
	free(text);
	json_decref(file);
}

static void levels_of_one_factor_become_bands(void **state)
{
	assert_int_equal(
		import(&plain,
		       "{\"a\":{\"input_cost_per_token\":3e-06,\"output_cost_per_token\":1.5e-05,"
		       "\"cache_read_input_token_cost\":3e-07,"
		       "\"input_cost_per_token_above_200k_tokens\":6e-06,"
		       "\"output_cost_per_token_above_200k_tokens\":3e-05,"
		       "\"cache_read_input_token_cost_above_200k_tokens\":6e-07},"
		       "\"b\":{\"tiered_pricing\":[{\"range\":[0,256000.0],"
		       "\"input_cost_per_token\":5e-08,\"output_cost_per_token\":4e-07},{\"range\":"
		       "["
		       "256000.0,1000000.0],\"input_cost_per_token\":2.5e-07,"
		       "\"output_cost_per_token\":2e-06}]}}"),
		0);
	assert_non_null(strstr(entry("a"), "\"bands\":[{\"up_to\":200000,\"multiplier\":\"1\"},{"
					   "\"multiplier\":\"2\"}]"));
	assert_told("a", "cost", true, "not our cost");
	assert_non_null(strstr(entry("b"), "\"input\":\"0.05\""));
	assert_non_null(strstr(entry("b"), "\"bands\":[{\"up_to\":256000,\"multiplier\":\"1\"},{"
					   "\"multiplier\":\"5\"}]"));
}

static void levels_of_other_factors_are_told(void **state)
{
	assert_int_equal(
		import(&plain,
		       "{\"a\":{\"input_cost_per_token\":3e-06,\"output_cost_per_token\":1.5e-05,"
		       "\"input_cost_per_token_above_200k_tokens\":6e-06,"
		       "\"output_cost_per_token_above_200k_tokens\":2.25e-05},"
		       "\"b\":{\"input_cost_per_token\":3e-06,\"output_cost_per_token\":1.5e-05,"
		       "\"cache_read_input_token_cost\":3e-07,"
		       "\"input_cost_per_token_above_128k_tokens\":6e-06,"
		       "\"output_cost_per_token_above_128k_tokens\":3e-05},"
		       "\"c\":{\"input_cost_per_token\":3e-06,\"output_cost_per_token\":3e-06,"
		       "\"input_cost_per_token_above_128k_tokens\":4e-06,"
		       "\"output_cost_per_token_above_128k_tokens\":4e-06}}"),
		0);
	assert_null(strstr(entry("a"), "bands"));
	assert_told("a", "above 200000 tokens", true, "too little");
	assert_told("b", "above 128000 tokens", true, "too little"); /* cache_read stays */
	assert_told("c", "above 128000 tokens", true, "too little"); /* 1.333… */
}

static void what_a_card_cannot_say_is_told(void **state)
{
	assert_int_equal(
		import(&plain,
		       "{\"a\":{\"mode\":\"chat\",\"input_cost_per_token\":1e-06,"
		       "\"output_cost_per_token\":1e-06,\"input_cost_per_token_batches\":5e-07,"
		       "\"search_context_cost_per_query\":{\"search_context_size_low\":0.01},"
		       "\"input_cost_per_image\":0.001,\"output_cost_per_second\":0.0,"
		       "\"some_new_cost\":1e-09,\"input_cost_per_token_priority\":2e-06}}"),
		0);
	assert_int_equal(got.entries, 1);
	assert_told("a", "input_cost_per_token_batches", true, "batches");
	assert_told("a", "search_context_cost_per_query", true, "tool");
	assert_told("a", "input_cost_per_image", true, "images are not counted");
	assert_told("a", "some_new_cost", true, "not known");
	assert_told("a", "input_cost_per_token_priority", true, "service tier");
	assert_int_equal(json_array_size(got.skipped), 5); /* 0 is nothing to tell */
}

static void a_model_without_its_main_price_is_left_out(void **state)
{
	assert_int_equal(
		import(&plain,
		       "{\"ok\":{\"input_cost_per_token\":1e-06,\"output_cost_per_token\":"
		       "1e-06},\"pics\":{\"mode\":\"image_generation\","
		       "\"input_cost_per_token\":1e-06,\"output_cost_per_image\":0.04},"
		       "\"ear\":{\"mode\":\"audio_transcription\",\"input_cost_per_second\":"
		       "0.0001},\"run\":{\"mode\":\"chat\",\"output_cost_per_second\":0.0007,"
		       "\"input_cost_per_second\":0.0007},\"none\":{\"mode\":\"chat\"},"
		       "\"web\":{\"mode\":\"search\",\"input_cost_per_query\":0.003}}"),
		0);
	assert_int_equal(got.models, 6);
	assert_int_equal(got.entries, 3);
	assert_told("pics", "output_cost_per_image", false, "images");
	assert_string_equal(entry("pics"), "");
	assert_told("ear", "input_cost_per_second", false, "seconds");
	assert_told("none", "", false, "no price");
	assert_non_null(strstr(entry("run"), "\"second\":\"0.0007\"")); /* billed by its time */
	assert_non_null(strstr(entry("web"), "\"request\":\"0.003\""));
}

static void odd_values_leave_a_model_out_and_no_other(void **state)
{
	char name[80];

	memset(name, 'n', 64);
	name[64] = 0;
	assert_int_equal(
		import(&plain,
		       "{\"ok\":{\"input_cost_per_token\":1e-06,\"output_cost_per_token\":0.0},"
		       "\"minus\":{\"input_cost_per_token\":-1e-06},"
		       "\"text\":{\"input_cost_per_token\":\"1e-06\"},"
		       "\"huge\":{\"input_cost_per_token\":1e30},"
		       "\"wild*\":{\"input_cost_per_token\":1e-06},\"list\":[1],\"null\":{"
		       "\"input_cost_per_token\":null},\"default\":{\"input_cost_per_token\":1e-06}"
		       ","
		       "\"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\":{"
		       "\"input_cost_per_token\":1e-06},\"thin\":{\"input_cost_per_token\":"
		       "1.23456789012345e-06,\"output_cost_per_token\":1e-06}}"),
		0);
	assert_int_equal(got.entries, 2);
	assert_told("minus", "input_cost_per_token", false, "below zero");
	assert_told("text", "input_cost_per_token", false, "not a number");
	assert_told("huge", "input", false, "more than a card can say");
	assert_told("wild*", "", false, "pattern");
	assert_told("default", "", false, "pattern");
	assert_told("list", "", false, "not an object");
	assert_told("null", "", false, "no price");
	assert_told(name, "", false, "longer than 63");
	assert_told("thin", "input", true, "rounded");
	assert_non_null(strstr(entry("thin"), "\"input\":\"1.23456789\""));
}

static void only_what_is_asked_for_is_taken(void **state)
{
	static const char text[] =
		"{\"azure/gpt-9\":{\"litellm_provider\":\"azure\",\"input_cost_per_token\":1e-06,"
		"\"output_cost_per_token\":1e-06},\"gpt-9\":{\"litellm_provider\":\"openai\","
		"\"input_cost_per_token\":2e-06,\"output_cost_per_token\":1e-06},\"o9\":{"
		"\"litellm_provider\":\"openai\",\"input_cost_per_token\":3e-06,"
		"\"output_cost_per_token\":1e-06},\"openai/o9\":{\"litellm_provider\":\"openai\","
		"\"input_cost_per_token\":4e-06,\"output_cost_per_token\":1e-06}}";
	struct price_import how = plain;

	how.provider = "azure";
	assert_int_equal(import(&how, text), 0);
	assert_int_equal(got.models, 1);
	assert_non_null(strstr(entry("gpt-9"), "\"input\":\"1\""));
	how.provider = NULL;
	how.match = "gpt*,none";
	assert_int_equal(import(&how, text), 0);
	assert_int_equal(got.models, 1);
	assert_non_null(strstr(entry("gpt-9"), "\"input\":\"2\""));
	how.match = NULL;
	how.provider = "openai";
	assert_int_equal(import(&how, text), 0);
	assert_non_null(strstr(entry("o9"), "\"input\":\"3\""));
	assert_told("o9", "", false, "twice");
	how.match = "claude*";
	assert_int_equal(import(&how, text), -ENOENT);
	assert_non_null(strstr(err.text, "no model"));
}

static void what_is_no_price_file_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[1,2]",
		"{\"a\":{\"input_cost_per_token\":NaN}}",
		"{\"a\":{\"input_cost_per_token\":1e-06}",
		"{\"a\":{\"input_cost_per_token\":1e-06},\"a\":{}}",
		"{\"a\":{\"input_cost_per_token\":1e-06,\"input_cost_per_token\":2e-06}}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (import(&plain, bad[i]) != -EINVAL)
			fail_msg("%s: was taken", bad[i]);
		assert_memory_equal(err.text, "prices.json: line ", 18);
		assert_null(got.card);
	}
}

static void options_that_no_card_can_have_are_refused(void **state)
{
	static const char text[] =
		"{\"a\":{\"input_cost_per_token\":1e-06,\"output_cost_per_token\":1e-06}}";
	struct price_import how = plain;

	how.markup = "0.4005";
	assert_int_equal(import(&how, text), -EINVAL);
	assert_non_null(strstr(err.text, "markup"));
	how = plain;
	how.credit_price = "0";
	assert_int_equal(import(&how, text), -EINVAL);
	assert_non_null(strstr(err.text, "credit_price"));
	how = plain;
	how.name = "no\"name";
	assert_int_equal(import(&how, text), -EINVAL);
	how = plain;
	how.version = "a b";
	assert_int_equal(import(&how, text), -EINVAL);
	how = plain;
	how.currency = "dollars";
	assert_int_equal(import(&how, text), -EINVAL);
}

#define CLAIM(test) cmocka_unit_test_teardown(test, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_read_as_they_are_written),
		cmocka_unit_test(what_has_no_place_is_rounded_half_to_even),
		cmocka_unit_test(what_is_no_number_is_refused),
		cmocka_unit_test(what_is_too_large_is_refused),
		cmocka_unit_test(only_numbers_outside_of_strings_are_quoted),
		CLAIM(a_model_is_an_entry_with_our_cost_per_million),
		CLAIM(the_card_prices_what_the_file_says),
		CLAIM(levels_of_one_factor_become_bands),
		CLAIM(levels_of_other_factors_are_told),
		CLAIM(what_a_card_cannot_say_is_told),
		CLAIM(a_model_without_its_main_price_is_left_out),
		CLAIM(odd_values_leave_a_model_out_and_no_other),
		CLAIM(only_what_is_asked_for_is_taken),
		CLAIM(what_is_no_price_file_is_refused),
		CLAIM(options_that_no_card_can_have_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
