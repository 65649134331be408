// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about how many bytes a token has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/learnt.h"

static struct weir_row row(const char *model, uint64_t body_bytes, int64_t input, int64_t output)
{
	struct weir_row r = {
		.usage_source = WEIR_USAGE_REPORTED,
		.request_bytes = body_bytes,
		.usage = { .input = input,
			   .cache_read = WEIR_UNKNOWN,
			   .cache_write = WEIR_UNKNOWN,
			   .output = output,
			   .reasoning = WEIR_UNKNOWN },
		.audio = WEIR_UNKNOWN,
		.image = WEIR_UNKNOWN,
	};

	snprintf(r.model, sizeof(r.model), "%s", model);
	return r;
}

static void teach(struct weir_learnt *l, const struct weir_row *r, uint64_t text, int times)
{
	for (int i = 0; i < times; i++)
		weir_learnt_note(l, r, text);
}

static void four_bytes_until_three_answers_were_seen(void **state)
{
	struct weir_learnt *l = weir_learnt_new(8);
	struct weir_row r = row("m", 800, 100, 50);

	assert_int_equal(weir_learnt_input(NULL, "m", 800), 200);
	teach(l, &r, 300, 2);
	assert_int_equal(weir_learnt_input(l, "m", 800), 200);
	assert_int_equal(weir_learnt_output(l, "m", 300), 75);
	teach(l, &r, 300, 1);
	assert_int_equal(weir_learnt_input(l, "m", 800), 100);
	assert_int_equal(weir_learnt_output(l, "m", 300), 50);
	assert_int_equal(weir_learnt_input(l, "other", 800), 200);
	assert_int_equal(weir_learnt_input(l, "m", 0), 0);
	assert_int_equal(weir_learnt_input(l, "m", 1), 1);
	assert_int_equal(weir_learnt_input(l, "m", UINT64_MAX), INT64_C(2305843009213693951));
	weir_learnt_free(l);
}

/* A sixteenth of the way with each answer. */
static void an_average_follows_what_comes(void **state)
{
	struct weir_learnt *l = weir_learnt_new(8);
	struct weir_row before = row("m", 200, 100, 0), after = row("m", 1000, 100, 0);

	teach(l, &before, 0, 100);
	assert_int_equal(weir_learnt_input(l, "m", 10000), 5000);
	teach(l, &after, 0, 1); /* 2 + 8/16 */
	assert_int_equal(weir_learnt_input(l, "m", 10000), 4000);
	teach(l, &after, 0, 300);
	assert_in_range(weir_learnt_input(l, "m", 10000), 1000, 1001);
	weir_learnt_free(l);
}

static void a_token_has_one_to_sixteen_bytes(void **state)
{
	struct weir_learnt *l = weir_learnt_new(8);
	struct weir_row small = row("small", 10, INT64_MAX, INT64_MAX);
	struct weir_row large = row("large", UINT64_MAX - 1, 1, 1);

	teach(l, &small, 1, 5);
	teach(l, &large, UINT64_MAX, 5);
	assert_int_equal(weir_learnt_input(l, "small", 160), 160);
	assert_int_equal(weir_learnt_output(l, "small", 160), 160);
	assert_int_equal(weir_learnt_input(l, "large", 160), 10);
	assert_int_equal(weir_learnt_output(l, "large", 160), 10);
	weir_learnt_free(l);
}

static void cached_input_is_input(void **state)
{
	struct weir_learnt *l = weir_learnt_new(8);
	struct weir_row r = row("m", 800, 20, 0);

	r.usage.cache_read = 50;
	r.usage.cache_write = 30;
	teach(l, &r, 0, 3);
	assert_int_equal(weir_learnt_input(l, "m", 800), 100);
	weir_learnt_free(l);
}

/* Guesses, parts, pictures and sound, hidden thoughts, unknown lengths. */
static void what_is_not_reported_of_plain_text_teaches_nothing(void **state)
{
	struct weir_row of[] = {
		row("m", 1600, 100, 50),
		row("m", 1600, 100, 50),
		row("m", 1600, 100, 50),
		row("m", 1600, 100, 50),
		row("m", 1600, WEIR_UNKNOWN, WEIR_UNKNOWN),
		row("m", 1600, 0, 0),
	};
	struct weir_row thinks = row("m", UINT64_MAX, 100, 50);
	struct weir_learnt *l = weir_learnt_new(8);

	of[0].usage_source = WEIR_USAGE_ESTIMATED;
	of[1].usage_source = WEIR_USAGE_PARTIAL;
	of[2].audio = 1;
	of[3].image = 1;
	thinks.usage.reasoning = 1;
	for (size_t i = 0; i < sizeof(of) / sizeof(*of); i++)
		teach(l, &of[i], 800, 5);
	teach(l, &thinks, 800, 5);
	assert_int_equal(weir_learnt_input(l, "m", 1600), 400);
	assert_int_equal(weir_learnt_output(l, "m", 800), 200);
	weir_learnt_free(l);
}

/* Ten thousand names, of which eight are remembered: those of late. */
static void the_longest_unused_is_forgotten(void **state)
{
	struct weir_learnt *l = weir_learnt_new(8);
	struct weir_row kept = row("kept", 800, 100, 0);

	for (int i = 0; i < 10000; i++) {
		char name[64];
		struct weir_row r;

		snprintf(name, sizeof(name), "m%d", i);
		r = row(name, 1600, 100, 0);
		teach(l, &r, 0, 3);
		teach(l, &kept, 0, 1);
		assert_int_equal(weir_learnt_input(l, name, 1600), 100);
		if (i >= 7)
			snprintf(name, sizeof(name), "m%d", i - 7);
		assert_int_equal(weir_learnt_input(l, name, 1600), i >= 7 ? 400 : 100);
		if (i >= 7)
			snprintf(name, sizeof(name), "m%d", i - 6);
		assert_int_equal(weir_learnt_input(l, name, 1600), 100);
	}
	assert_int_equal(weir_learnt_input(l, "kept", 800), 100);
	weir_learnt_free(l);
}

/* One answer's model may have the longest name there is, or none. */
static void names_of_any_length_are_told_apart(void **state)
{
	struct weir_learnt *l = weir_learnt_new(4);
	struct weir_row none = row("", 800, 100, 0), longest = row("", 1600, 100, 0);
	char name[64];

	memset(longest.model, 'x', sizeof(longest.model) - 1);
	memcpy(name, longest.model, sizeof(name));
	teach(l, &none, 0, 3);
	teach(l, &longest, 0, 3);
	assert_int_equal(weir_learnt_input(l, "", 800), 100);
	assert_int_equal(weir_learnt_input(l, name, 1600), 100);
	weir_learnt_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(four_bytes_until_three_answers_were_seen),
		cmocka_unit_test(an_average_follows_what_comes),
		cmocka_unit_test(a_token_has_one_to_sixteen_bytes),
		cmocka_unit_test(cached_input_is_input),
		cmocka_unit_test(what_is_not_reported_of_plain_text_teaches_nothing),
		cmocka_unit_test(the_longest_unused_is_forgotten),
		cmocka_unit_test(names_of_any_length_are_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
