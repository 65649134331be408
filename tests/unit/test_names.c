/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and names: found both ways, whatever came and went before. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/names.h"

#define N 3000

static void a_name_is_found_by_number_and_back(void **state)
{
	struct weir_names t = { 0 };

	assert_int_equal(weir_names_find(&t, "acme"), 0);
	assert_null(weir_names_get(&t, 1));
	assert_int_equal(weir_names_put(&t, 7, "acme"), 0);
	assert_int_equal(weir_names_put(&t, 3, "acme@embed"), 0);
	assert_int_equal(weir_names_find(&t, "acme"), 7);
	assert_int_equal(weir_names_find(&t, "acme@embed"), 3);
	assert_int_equal(weir_names_find(&t, "acme@"), 0);
	assert_string_equal(weir_names_get(&t, 7), "acme");
	assert_null(weir_names_get(&t, 4));
	assert_null(weir_names_get(&t, 8));
	assert_null(weir_names_get(&t, UINT32_MAX));
	weir_names_free(&t);
}

static void what_is_taken_stays_whose_it_is(void **state)
{
	struct weir_names t = { 0 };

	assert_int_equal(weir_names_put(&t, 1, "acme"), 0);
	assert_int_equal(weir_names_put(&t, 1, "beta"), -EEXIST);
	assert_int_equal(weir_names_put(&t, 2, "acme"), -EEXIST);
	assert_int_equal(weir_names_put(&t, 0, "nobody"), -EEXIST);
	assert_int_equal(weir_names_find(&t, "acme"), 1);
	assert_int_equal(weir_names_find(&t, "beta"), 0);
	assert_null(weir_names_get(&t, 2));
	weir_names_free(&t);
}

static const char *name_of(uint32_t i)
{
	static char text[16];

	snprintf(text, sizeof(text), "t%u", i);
	return text;
}

/* Against a plain list of who is there. */
static void many_come_and_go(void **state)
{
	static bool there[N + 1];
	const char *kept[N + 1] = { NULL };
	struct weir_names t = { 0 };

	srand(5);
	for (int round = 0; round < 20000; round++) {
		uint32_t i = 1 + (uint32_t)rand() % N;

		if (there[i]) {
			if (rand() % 4)
				continue;
			weir_names_drop(&t, i);
		} else {
			assert_int_equal(weir_names_put(&t, i, name_of(i)), 0);
			kept[i] = weir_names_get(&t, i);
		}
		there[i] = !there[i];
	}
	for (uint32_t i = 1; i <= N; i++) {
		assert_int_equal(weir_names_find(&t, name_of(i)), there[i] ? i : 0);
		if (!there[i]) {
			assert_null(weir_names_get(&t, i));
			continue;
		}
		assert_string_equal(weir_names_get(&t, i), name_of(i));
		assert_ptr_equal(weir_names_get(&t, i), kept[i]); /* it did not move */
	}
	weir_names_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_found_by_number_and_back),
		cmocka_unit_test(what_is_taken_stays_whose_it_is),
		cmocka_unit_test(many_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
