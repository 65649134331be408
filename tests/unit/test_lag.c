// SPDX-License-Identifier: Apache-2.0
/* Claims about the histograms of delays: where one is counted, and what is read off them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/lag.h"

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)

static void bounds_grow_and_the_last_has_none(void **state)
{
	assert_int_equal(weir_lag_bound_ns(0), 100 * US);
	assert_int_equal(weir_lag_bound_ns(3), 500 * US);
	assert_int_equal(weir_lag_bound_ns(7), 5 * MS);
	assert_int_equal(weir_lag_bound_ns(WEIR_LAG_BUCKETS - 2), 50000 * MS);
	for (unsigned i = 1; i < WEIR_LAG_BUCKETS; i++)
		assert_true(weir_lag_bound_ns(i) > weir_lag_bound_ns(i - 1));
	assert_int_equal(weir_lag_bound_ns(WEIR_LAG_BUCKETS - 1), UINT64_MAX);
}

static void a_delay_is_in_the_bucket_that_includes_its_bound(void **state)
{
	struct weir_lag l = { .sum_ns = 0 };

	weir_lag_note(&l, 7, 7 + 5 * MS);
	weir_lag_note(&l, 7, 8 + 5 * MS);
	weir_lag_note(&l, 0, UINT64_MAX / 2);
	assert_int_equal(l.count[7], 1);
	assert_int_equal(l.count[8], 1);
	assert_int_equal(l.count[WEIR_LAG_BUCKETS - 1], 1);
	assert_int_equal(l.sum_ns, 10 * MS + 1 + UINT64_MAX / 2);
}

static void a_clock_that_was_set_back_is_no_delay(void **state)
{
	struct weir_lag l = { .sum_ns = 0 };

	weir_lag_note(&l, 9 * MS, 3 * MS);
	assert_int_equal(l.count[0], 1);
	assert_int_equal(l.sum_ns, 0);
	weir_lag_note(NULL, 0, 1);
}

static void quantiles_are_bounds_below_which_the_share_lies(void **state)
{
	struct weir_lag l = { .sum_ns = 0 }, got;

	assert_int_equal(weir_lag_quantile_ns(&l, 500), 0);
	for (int i = 0; i < 990; i++)
		weir_lag_note(&l, 0, MS);
	for (int i = 0; i < 10; i++)
		weir_lag_note(&l, 0, 4 * MS);
	weir_lag_read(&l, &got);
	assert_int_equal(weir_lag_total(&got), 1000);
	assert_int_equal(weir_lag_quantile_ns(&got, 0), MS);
	assert_int_equal(weir_lag_quantile_ns(&got, 500), MS);
	assert_int_equal(weir_lag_quantile_ns(&got, 990), MS);
	assert_int_equal(weir_lag_quantile_ns(&got, 991), 5 * MS);
	assert_int_equal(weir_lag_quantile_ns(&got, 1000), 5 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_grow_and_the_last_has_none),
		cmocka_unit_test(a_delay_is_in_the_bucket_that_includes_its_bound),
		cmocka_unit_test(a_clock_that_was_set_back_is_no_delay),
		cmocka_unit_test(quantiles_are_bounds_below_which_the_share_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
