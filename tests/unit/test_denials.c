/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about the memory of refusals: what is kept, how it is summed, and that it is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/denials.h"

#define SECOND UINT64_C(1000000000)
#define T0     (UINT64_C(1790000000) * SECOND)

static struct weir_denials *d;

static int setup(void **state)
{
	return weir_denials_new(20000, true, &d, NULL);
}

static int teardown(void **state)
{
	weir_denials_free(d);
	return 0;
}

static void note(uint32_t tenant, uint32_t reason, uint64_t at, uint64_t count)
{
	struct weir_rec_deny r = {
		.wall_ns = at, .count = count, .tenant = tenant, .reason = reason, .limit = 60
	};

	weir_denials_note(d, &r);
}

static uint64_t in_kernel, in_shadow;
static int counts(void *ctx, uint32_t tenant, bool shadow, uint64_t out[static WEIR_REASON_MAX])
{
	memset(out, 0, WEIR_REASON_MAX * sizeof(*out));
	out[WEIR_DENY_REQUESTS] = shadow ? in_shadow : in_kernel;
	return 0;
}

static void the_last_refusals_come_newest_first(void **state)
{
	struct weir_refusal last[WEIR_DENIALS_KEPT + 4];

	assert_int_equal(weir_denials_last(d, 7, last, 20), 0);
	for (unsigned i = 1; i <= 40; i++)
		note(7, WEIR_DENY_REQUESTS, T0 + i, i);
	assert_int_equal(weir_denials_last(d, 7, last, 20), WEIR_DENIALS_KEPT);
	for (unsigned i = 0; i < WEIR_DENIALS_KEPT; i++)
		assert_int_equal(last[i].count, 40 - i);
	assert_int_equal(weir_denials_last(d, 7, last, 3), 3);
	assert_int_equal(weir_denials_last(d, 8, last, 3), 0);
	assert_int_equal(weir_denials_last(d, 4000000000u, last, 3), 0);
}

static void the_tenant_longest_quiet_makes_room(void **state)
{
	struct weir_refusal last[1];

	for (uint32_t t = 1; t <= WEIR_DENIALS_TENANTS; t++)
		note(t, WEIR_DENY_TOKENS, T0, 1);
	note(1, WEIR_DENY_TOKENS, T0, 2);
	note(WEIR_DENIALS_TENANTS + 1, WEIR_DENY_TOKENS, T0, 1);
	assert_int_equal(weir_denials_last(d, 1, last, 1), 1);
	assert_int_equal(weir_denials_last(d, 2, last, 1), 0);
	assert_int_equal(weir_denials_last(d, 3, last, 1), 1);
	assert_int_equal(weir_denials_last(d, WEIR_DENIALS_TENANTS + 1, last, 1), 1);
}

static void a_record_that_makes_no_sense_is_only_counted(void **state)
{
	note(20001, WEIR_DENY_TOKENS, T0, 1);
	note(1, WEIR_REASON_MAX, T0, 1);
	note(UINT32_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX);
	assert_int_equal(weir_denials_dropped(d), 3);
}

static void a_second_is_summed_once_it_is_over(void **state)
{
	struct weir_denial_sum s[4];

	note(3, WEIR_DENY_REQUESTS, T0 + 100, 1);
	note(3, WEIR_DENY_REQUESTS, T0 + 200000000, 5);
	note(3, WEIR_DENY_CREDIT, T0 + 200000000, 1);
	assert_int_equal(weir_denials_take(d, T0 + SECOND / 2, NULL, NULL, s, 4), 0);
	assert_int_equal(weir_denials_take(d, T0 + SECOND, NULL, NULL, s, 4), 0);
	assert_int_equal(weir_denials_take(d, T0 + 2 * SECOND, NULL, NULL, s, 4), 2);
	if (s[0].reason == WEIR_DENY_CREDIT)
		s[0] = s[1];
	assert_int_equal(s[0].tenant, 3);
	assert_int_equal(s[0].count, 5);
	assert_int_equal(s[0].first_wall_ns, T0 + 100);
	assert_int_equal(s[0].last_wall_ns, T0 + 200000000);
	assert_int_equal(s[0].limit, 60);
	assert_int_equal(weir_denials_take(d, T0 + 9 * SECOND, NULL, NULL, s, 4), 0);
}

static void refusals_that_were_not_shown_are_asked_for(void **state)
{
	struct weir_denial_sum s[4];

	/* 50 within 50 ms: the kernel shows the first only. */
	note(3, WEIR_DENY_REQUESTS, T0, 1);
	in_kernel = 50;
	assert_int_equal(weir_denials_take(d, T0 + 2 * SECOND, counts, NULL, s, 4), 1);
	assert_int_equal(s[0].count, 50);
	/* The next one shown is the 51st. */
	note(3, WEIR_DENY_REQUESTS, T0 + 3 * SECOND, 51);
	in_kernel = 52;
	assert_int_equal(weir_denials_take(d, T0 + 5 * SECOND, counts, NULL, s, 4), 1);
	assert_int_equal(s[0].count, 2);
	/* One that the last look has counted already gives no sum of its own. */
	note(3, WEIR_DENY_REQUESTS, T0 + 6 * SECOND, 52);
	assert_int_equal(weir_denials_take(d, T0 + 9 * SECOND, counts, NULL, s, 4), 0);
}

static void a_flood_over_many_seconds_loses_no_count(void **state)
{
	struct weir_denial_sum s[64];
	uint64_t sum = 0, count = 0;
	size_t n;

	for (unsigned sec = 0; sec < 30; sec++) {
		for (unsigned i = 0; i < 10; i++)
			note(9, WEIR_DENY_REQUESTS, T0 + sec * SECOND + i * SECOND / 10,
			     count += 1000);
	}
	in_kernel = count + 777;
	n = weir_denials_take(d, 0, counts, NULL, s, 64);
	assert_int_equal(n, 30);
	for (size_t i = 0; i < n; i++)
		sum += s[i].count;
	/* The very first record was taken to be the first refusal it speaks of. */
	assert_int_equal(sum, in_kernel - 999);
	assert_int_equal(weir_denials_dropped(d), 0);
}

static void more_pairs_and_seconds_than_fit_are_dropped_and_counted(void **state)
{
	static struct weir_denial_sum s[WEIR_DENIALS_QUEUE + 1];
	uint64_t dropped;

	for (uint32_t t = 0; t < WEIR_DENIALS_PAIRS + 100; t++)
		note(t, WEIR_DENY_TOKENS, T0, 1);
	assert_int_equal(weir_denials_dropped(d), 100);
	assert_int_equal(weir_denials_take(d, 0, NULL, NULL, s, WEIR_DENIALS_QUEUE + 1),
			 WEIR_DENIALS_QUEUE);
	dropped = weir_denials_dropped(d);
	assert_int_equal(dropped, 100 + WEIR_DENIALS_PAIRS - WEIR_DENIALS_QUEUE);
	/* The pairs of then are quiet: they make room for others. */
	for (uint32_t t = 0; t < 100; t++)
		note(WEIR_DENIALS_PAIRS + 200 + t, WEIR_DENY_TOKENS, T0 + 5 * SECOND, 1);
	assert_int_equal(weir_denials_dropped(d), dropped);
	assert_int_equal(weir_denials_take(d, 0, NULL, NULL, s, 200), 100);
}

static void counts_that_start_over_are_followed(void **state)
{
	struct weir_denial_sum s[4];

	note(5, WEIR_DENY_REQUESTS, T0, 1000);
	assert_int_equal(weir_denials_take(d, 0, NULL, NULL, s, 4), 1);
	note(5, WEIR_DENY_REQUESTS, T0 + 2 * SECOND, 1);
	assert_int_equal(weir_denials_take(d, 0, NULL, NULL, s, 4), 1);
	assert_int_equal(s[0].count, 1);
}

/* Never in one sum with what was refused, nor taken for it by its count. */
static void what_would_have_been_refused_is_summed_apart(void **state)
{
	struct weir_rec_deny r = { .wall_ns = T0,
				   .count = 1,
				   .tenant = 3,
				   .reason = WEIR_DENY_REQUESTS,
				   .level = 9,
				   .limit = 60 };
	struct weir_refusal last[4];
	struct weir_denial_sum s[4];

	weir_denials_note(d, &r);
	r.shadow = 1;
	r.level = 8;
	weir_denials_note(d, &r);
	assert_int_equal(weir_denials_last(d, 3, last, 4), 2);
	assert_true(last[0].shadow && !last[1].shadow);
	assert_int_equal(last[0].level, 8);
	assert_int_equal(last[1].level, 9);
	in_kernel = 50;
	in_shadow = 7;
	assert_int_equal(weir_denials_take(d, T0 + 2 * SECOND, counts, NULL, s, 4), 2);
	if (s[0].shadow) {
		struct weir_denial_sum first = s[0];

		s[0] = s[1];
		s[1] = first;
	}
	assert_false(s[0].shadow);
	assert_int_equal(s[0].count, 50);
	assert_int_equal(s[0].level, 9);
	assert_true(s[1].shadow);
	assert_int_equal(s[1].count, 7);
	assert_int_equal(s[1].level, 8);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(the_last_refusals_come_newest_first),
		CLAIM(the_tenant_longest_quiet_makes_room),
		CLAIM(a_record_that_makes_no_sense_is_only_counted),
		CLAIM(a_second_is_summed_once_it_is_over),
		CLAIM(refusals_that_were_not_shown_are_asked_for),
		CLAIM(a_flood_over_many_seconds_loses_no_count),
		CLAIM(more_pairs_and_seconds_than_fit_are_dropped_and_counted),
		CLAIM(what_would_have_been_refused_is_summed_apart),
		CLAIM(counts_that_start_over_are_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
