// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about settlement: once, whatever comes between two stores.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/account.h"

static struct weir_settlement at(uint64_t pos, int64_t released)
{
	return (struct weir_settlement){ .ring_pos = pos, .released_nano = released };
}

static void each_position_settles_once(void **state)
{
	struct weir_tenant t = {};
	struct weir_settlement a = at(100, 7), b = at(200, 5);

	assert_true(weir_settle(&t, &a));
	assert_false(weir_settle(&t, &a));
	assert_true(weir_settle(&t, &b));
	assert_false(weir_settle(&t, &a));
	assert_int_equal(weir_released(&t), 12);
}

static void reserved_is_what_was_taken_and_not_released(void **state)
{
	struct weir_tenant t = { .reserved_nano = 30 };
	struct weir_settlement a = at(8, 10);

	weir_settle(&t, &a);
	assert_int_equal(weir_reserved_now(&t), 20);
}

/* A kill -9 in the middle of the overwrite leaves the old copy in force. */
static void a_torn_copy_is_not_believed(void **state)
{
	struct weir_tenant t = {};
	struct weir_settlement a = at(100, 7), b = at(200, 5);

	weir_settle(&t, &a);
	/* The first store of settling b, and half of the second. */
	struct weir_settled *spare = &t.settled[t.settled[0].ring_pos == 100];

	spare->ring_pos = 0;
	spare->released_nano = 999;
	assert_int_equal(weir_released(&t), 7);
	assert_true(weir_settle(&t, &b));
	assert_int_equal(weir_released(&t), 12);
}

static void tokens_are_a_debt_from_now_or_from_the_debt_before(void **state)
{
	struct weir_tenant t = {};
	struct weir_settlement a = { .ring_pos = 1, .tokens_ns = 50, .now_ns = 1000 };
	struct weir_settlement b = { .ring_pos = 2, .tokens_ns = 50, .now_ns = 1010 };
	struct weir_settlement c = { .ring_pos = 3, .tokens_ns = 0, .now_ns = 9000 };

	weir_settle(&t, &a);
	weir_settle(&t, &b);
	weir_settle(&t, &c);
	uint64_t later = t.settled[0].tokens_tat_ns > t.settled[1].tokens_tat_ns
				 ? t.settled[0].tokens_tat_ns
				 : t.settled[1].tokens_tat_ns;
	assert_int_equal(later, 1100);
}

static int64_t left(const struct weir_tenant *t)
{
	return (int64_t)((uint64_t)t->ceiling_nano - t->reserved_nano);
}

/* bpf/admit.h looks at ceiling - reserved only. */
static void what_is_left_is_balance_and_overage_less_reservations(void **state)
{
	struct weir_tenant t = { .reserved_nano = 400 };
	struct weir_settlement a = at(8, 150);

	weir_settle(&t, &a); /* 250 are still reserved */
	weir_ceiling_set(&t, 1000, 100, 0);
	assert_int_equal(left(&t), 1000 + 100 - 250);
	/* A request that had reserved 100 and cost 30 ends. */
	struct weir_settlement b = at(16, 100);

	weir_settle(&t, &b);
	weir_ceiling_add(&t, 100 - 30, -30);
	assert_int_equal(left(&t), 970 + 100 - 150);
	assert_int_equal(t.balance_nano, 970);
	/* Computed anew, it comes out the same. */
	weir_ceiling_set(&t, 970, 100, 0);
	assert_int_equal(left(&t), 970 + 100 - 150);
}

static void sums_may_wrap(void **state)
{
	struct weir_tenant t = { .reserved_nano = UINT64_MAX - 10 };

	for (int i = 0; i < 2; i++)
		t.settled[i].released_nano = UINT64_MAX - 10;
	t.settled[0].ring_pos = 1;
	weir_ceiling_set(&t, 50, 0, 0);
	assert_int_equal(left(&t), 50);
	t.reserved_nano += 40; /* past the wrap */
	assert_int_equal(left(&t), 10);
	assert_int_equal(weir_reserved_now(&t), 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_position_settles_once),
		cmocka_unit_test(reserved_is_what_was_taken_and_not_released),
		cmocka_unit_test(a_torn_copy_is_not_believed),
		cmocka_unit_test(tokens_are_a_debt_from_now_or_from_the_debt_before),
		cmocka_unit_test(what_is_left_is_balance_and_overage_less_reservations),
		cmocka_unit_test(sums_may_wrap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
