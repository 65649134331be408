/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal text to nano-credits and back, and the one way to round. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "agent/money.h"

static void parses(const char *text, int64_t want)
{
	int64_t nano = 77;

	assert_int_equal(weir_money_parse(text, &nano), 0);
	assert_true(nano == want);
}

static void refuses(const char *text, int want)
{
	int64_t nano = 77;

	if (weir_money_parse(text, &nano) != want)
		fail_msg("\"%s\" was not refused with %d", text, want);
	assert_true(nano == 77); /* untouched */
}

static void formats(int64_t nano, const char *want)
{
	char text[WEIR_MONEY_TEXT];

	weir_money_format(nano, text);
	assert_string_equal(text, want);
}

static void plain_decimals_are_read(void **state)
{
	parses("0", 0);
	parses("12", 12 * WEIR_NANO);
	parses("-0.5", -WEIR_NANO / 2);
	parses("1.000000001", WEIR_NANO + 1);
	parses("0.000000001", 1);
	parses("0.100000000", 100000000);
	parses("-0", 0);
	parses("-0.000", 0);
}

static void what_is_no_plain_decimal_is_refused(void **state)
{
	static const char *const bad[] = {
		"",	 "-",	 "+1",	 " 1",	"1 ",  ".5",	"5.",	"-.5",
		"1e3",	 "1E3",	 "0x10", "1,5", "007", "00",	"-01",	"--1",
		"1.2.3", "1.-2", "NaN",	 "nan", "inf", "1_000", "1.5x", "\xd9\xa1",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refuses(bad[i], -EINVAL);
}

static void nine_decimals_and_no_more(void **state)
{
	parses("0.123456789", 123456789);
	refuses("0.1234567891", -EINVAL);
	refuses("1.0000000000", -EINVAL); /* zeros too: nine is nine */
}

static void the_ends_of_int64_are_reached_and_not_passed(void **state)
{
	parses("9223372036.854775807", INT64_MAX);
	parses("-9223372036.854775808", INT64_MIN);
	refuses("9223372036.854775808", -ERANGE);
	refuses("-9223372036.854775809", -ERANGE);
	refuses("9223372037", -ERANGE);
	refuses("99999999999999999999999999999999", -ERANGE);
	refuses("-99999999999999999999999999999999.5", -ERANGE);
	refuses("99999999999999999999999999999999x", -EINVAL); /* no number, however long */
}

static void text_is_the_shortest(void **state)
{
	formats(0, "0");
	formats(WEIR_NANO * 3 / 2, "1.5");
	formats(-1, "-0.000000001");
	formats(10 * WEIR_NANO, "10");
	formats(-WEIR_NANO, "-1");
	formats(WEIR_NANO + 10, "1.00000001");
	formats(INT64_MAX, "9223372036.854775807");
	formats(INT64_MIN, "-9223372036.854775808");
}

static void text_and_back_is_the_same(void **state)
{
	uint64_t x = 88172645463325252u; /* xorshift64: the same values each run */
	char text[WEIR_MONEY_TEXT];

	for (int i = 0; i < 100000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		weir_money_format((int64_t)x >> (i % 60), text);
		parses(text, (int64_t)x >> (i % 60));
	}
}

static int64_t div_of(__int128 n, __int128 d)
{
	int64_t out = 77;

	assert_int_equal(weir_money_div(n, d, &out), 0);
	return out;
}

static void ties_go_to_even_on_both_sides_of_zero(void **state)
{
	assert_int_equal(div_of(1, 2), 0);
	assert_int_equal(div_of(3, 2), 2);
	assert_int_equal(div_of(5, 2), 2);
	assert_int_equal(div_of(7, 2), 4);
	assert_int_equal(div_of(-1, 2), 0);
	assert_int_equal(div_of(-3, 2), -2);
	assert_int_equal(div_of(-5, 2), -2);
	assert_int_equal(div_of(-7, 2), -4);
	assert_int_equal(div_of(2500, 1000), 2);
	assert_int_equal(div_of(3500, 1000), 4);
}

static void what_is_no_tie_goes_to_the_nearest(void **state)
{
	assert_int_equal(div_of(2501, 1000), 3);
	assert_int_equal(div_of(2499, 1000), 2);
	assert_int_equal(div_of(-2501, 1000), -3);
	assert_int_equal(div_of(1, 3), 0);
	assert_int_equal(div_of(2, 3), 1);
	assert_int_equal(div_of(-2, 3), -1);
	assert_int_equal(div_of(6, 3), 2);
	assert_int_equal(div_of(0, 3), 0);
}

static void division_knows_its_range(void **state)
{
	const __int128 max = (__int128)(~(unsigned __int128)0 >> 1), min = -max - 1;
	int64_t out = 77;

	assert_true(div_of(INT64_MAX, 1) == INT64_MAX);
	assert_true(div_of(INT64_MIN, 1) == INT64_MIN);
	assert_true(div_of((__int128)INT64_MAX * 2, 2) == INT64_MAX);
	assert_int_equal(weir_money_div((__int128)INT64_MAX + 1, 1, &out), -ERANGE);
	assert_int_equal(weir_money_div((__int128)INT64_MIN - 1, 1, &out), -ERANGE);
	/* INT64_MAX and a half: the even neighbour is past the end */
	assert_int_equal(weir_money_div((__int128)INT64_MAX * 2 + 1, 2, &out), -ERANGE);
	assert_int_equal(weir_money_div(max, 1, &out), -ERANGE);
	assert_int_equal(weir_money_div(min, 1, &out), -ERANGE);
	assert_int_equal(out, 77);
	assert_int_equal(div_of(max, max), 1);
	assert_int_equal(div_of(min, max), -1);
	assert_int_equal(div_of(max / 2, max), 0); /* just below a half */
	assert_int_equal(div_of(max / 2 + 1, max), 1);
}

static int64_t scale_of(__int128 n, int64_t factor, __int128 d)
{
	int64_t out;

	assert_int_equal(weir_money_scale(n, factor, d, &out), 0);
	return out;
}

/* Products of up to 190 bits, divided as exactly as short ones. */
static void a_factor_is_applied_before_the_rounding(void **state)
{
	const __int128 one = 1, max = ((one << 126) - 1) * 2 + 1;
	int64_t out = 77;

	assert_int_equal(scale_of(7, 3, 2), 10); /* 10.5 */
	assert_int_equal(scale_of(0, INT64_MAX, 1), 0);
	assert_int_equal(scale_of(max, 0, 1), 0);
	/* 4.5, 5.5 and next to them: x 2^124 over 2^125 */
	assert_int_equal(scale_of(9 * (one << 100), 1 << 24, one << 125), 4);
	assert_int_equal(scale_of(11 * (one << 100), 1 << 24, one << 125), 6);
	assert_int_equal(scale_of(9 * (one << 100) + 1, 1 << 24, one << 125), 5);
	assert_int_equal(scale_of(11 * (one << 100) - 1, 1 << 24, one << 125), 5);
	/* the ends: INT64_MAX, and a half beyond it */
	assert_true(scale_of((__int128)INT64_MAX << 60, INT64_C(1) << 60, one << 120) == INT64_MAX);
	assert_int_equal(weir_money_scale(((__int128)INT64_MAX << 60) + (one << 59),
					  INT64_C(1) << 60, one << 120, &out),
			 -ERANGE);
	assert_int_equal(weir_money_scale(max, INT64_MAX, one << 125, &out), -ERANGE);
	assert_int_equal(weir_money_scale(max, INT64_MAX, 1, &out), -ERANGE);
	assert_int_equal(out, 77);
	assert_true(scale_of(max, INT64_C(1) << 50, (one << 126) - 1) == INT64_C(1) << 51);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_decimals_are_read),
		cmocka_unit_test(what_is_no_plain_decimal_is_refused),
		cmocka_unit_test(nine_decimals_and_no_more),
		cmocka_unit_test(the_ends_of_int64_are_reached_and_not_passed),
		cmocka_unit_test(text_is_the_shortest),
		cmocka_unit_test(text_and_back_is_the_same),
		cmocka_unit_test(ties_go_to_even_on_both_sides_of_zero),
		cmocka_unit_test(what_is_no_tie_goes_to_the_nearest),
		cmocka_unit_test(division_knows_its_range),
		cmocka_unit_test(a_factor_is_applied_before_the_rounding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
