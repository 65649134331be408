/* SPDX-License-Identifier: Apache-2.0 */
/* Boundaries of days, weeks and months. Samples are worked out by hand from the rules of each
 * zone; tests/model compares with another implementation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <glib.h>

#include "agent/calendar.h"
#include "agent/util.h"

static uint64_t at(const char *text)
{
	uint64_t ns;

	if (weir_time_parse(text, &ns))
		fail_msg("\"%s\" is not a time", text);
	return ns;
}

static void next_is(enum weir_every every, const char *zone, const char *after, const char *want)
{
	char got[WEIR_TIME_TEXT];
	uint64_t ns;

	assert_int_equal(weir_calendar_next(every, zone, at(after), &ns), 0);
	weir_time_format(ns, got);
	if (ns != at(want))
		fail_msg("%s in %s after %s: %s, not %s", weir_every_names[every], zone, after, got,
			 want);
}

static void day(const char *zone, const char *after, const char *want)
{
	next_is(WEIR_EVERY_DAY, zone, after, want);
}

static void a_boundary_is_behind_what_was_asked(void **state)
{
	day("UTC", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z");
	day("UTC", "2026-11-21T23:59:59.999999999Z", "2026-11-22T00:00:00Z");
	day("UTC", "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z");
	/* at the epoch it is still the day before in New York */
	day("America/New_York", "1970-01-01T00:00:00Z", "1970-01-01T05:00:00Z");
}

static void weeks_begin_on_monday_and_months_on_the_first(void **state)
{
	/* 2026-11-23 is a Monday */
	next_is(WEIR_EVERY_WEEK, "UTC", "2026-11-21T12:00:00Z", "2026-11-23T00:00:00Z");
	next_is(WEIR_EVERY_WEEK, "UTC", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z");
	next_is(WEIR_EVERY_WEEK, "UTC", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
	next_is(WEIR_EVERY_MONTH, "UTC", "2026-11-21T12:00:00Z", "2026-12-01T00:00:00Z");
	next_is(WEIR_EVERY_MONTH, "UTC", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z");
	next_is(WEIR_EVERY_MONTH, "UTC", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z");
	/* February begins on the last of January, as UTC counts, and on the 1st with a delay */
	next_is(WEIR_EVERY_MONTH, "Asia/Kathmandu", "2026-01-31T18:14:59Z", "2026-01-31T18:15:00Z");
	next_is(WEIR_EVERY_MONTH, "Asia/Kathmandu", "2026-01-31T18:15:00Z", "2026-02-28T18:15:00Z");
	next_is(WEIR_EVERY_MONTH, "Etc/GMT+12", "2026-02-01T00:00:00Z", "2026-02-01T12:00:00Z");
	/* summer time begins within the month */
	next_is(WEIR_EVERY_MONTH, "Europe/Berlin", "2026-03-05T00:00:00Z", "2026-03-31T22:00:00Z");
	next_is(WEIR_EVERY_WEEK, "Europe/Berlin", "2026-03-27T00:00:00Z", "2026-03-29T22:00:00Z");
}

static void days_are_23_24_and_25_hours_long(void **state)
{
	day("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
	day("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
	/* half an hour's change */
	day("Australia/Lord_Howe", "2026-04-04T12:59:59Z", "2026-04-04T13:00:00Z");
	day("Australia/Lord_Howe", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z");
}

static void a_day_without_midnight_begins_at_one(void **state)
{
	day("America/Havana", "2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z");
	day("America/Havana", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z");
	day("Asia/Beirut", "2026-03-28T12:00:00Z", "2026-03-28T22:00:00Z");
	day("America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z");
	day("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z");
}

static void of_two_midnights_the_first_counts(void **state)
{
	day("America/Havana", "2026-10-31T12:00:00Z", "2026-11-01T04:00:00Z");
	day("America/Havana", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z");
	day("America/Havana", "2026-11-01T05:00:00Z", "2026-11-02T05:00:00Z");
	/* Clocks went back from 00:01 to 23:01: the 7th had begun. */
	day("America/St_Johns", "2010-11-07T02:29:59Z", "2010-11-07T02:30:00Z");
	day("America/St_Johns", "2010-11-07T02:30:30Z", "2010-11-08T03:30:00Z");
	day("America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-08T03:30:00Z");
}

/* Clocks that go back at midnight repeat the evening: the day has not begun until they are done. */
static void an_evening_that_repeats_belongs_to_its_day(void **state)
{
	day("Asia/Beirut", "2026-10-23T21:00:00Z", "2026-10-24T22:00:00Z");
	day("Asia/Beirut", "2026-10-24T21:30:00Z", "2026-10-24T22:00:00Z");
	day("America/Sao_Paulo", "2019-02-17T01:59:59Z", "2019-02-17T03:00:00Z");
	day("America/Sao_Paulo", "2019-02-17T02:00:00Z", "2019-02-17T03:00:00Z");
}

/* Samoa went from the 29th of December 2011 to the 31st. */
static void a_day_that_never_was_has_no_boundary_of_its_own(void **state)
{
	day("Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-30T10:00:00Z");
	day("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
	next_is(WEIR_EVERY_MONTH, "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-31T10:00:00Z");
}

static void it_holds_until_the_numbers_end(void **state)
{
	uint64_t ns = 77;

	next_is(WEIR_EVERY_MONTH, "Europe/Berlin", "2100-06-15T00:00:00Z", "2100-06-30T22:00:00Z");
	next_is(WEIR_EVERY_MONTH, "Europe/Berlin", "2261-06-15T00:00:00Z", "2261-06-30T22:00:00Z");
	next_is(WEIR_EVERY_MONTH, "Europe/Berlin", "2261-11-15T00:00:00Z", "2261-11-30T23:00:00Z");
	day("UTC", "2262-04-10T12:00:00Z", "2262-04-11T00:00:00Z");
	assert_int_equal(weir_calendar_next(WEIR_EVERY_DAY, "UTC", at("2262-04-11T12:00:00Z"), &ns),
			 -ERANGE);
	assert_int_equal(
		weir_calendar_next(WEIR_EVERY_MONTH, "UTC", at("2262-04-01T00:00:00Z"), &ns),
		-ERANGE);
	assert_int_equal(weir_calendar_next(WEIR_EVERY_DAY, "UTC", UINT64_MAX, &ns), -ERANGE);
	assert_true(ns == 77); /* untouched */
}

static void what_is_no_zone_of_the_database_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"Europe/Berlim",
		"europe/berlin",
		"Europe",
		"Europe/",
		"CEST",
		"EST5",
		"EST5EDT,M3.2.0,M11.1.0",
		"+02:00",
		"Z",
		"UTC+1",
		"right/UTC",
		"posix/Europe/Berlin",
		"localtime",
		"/usr/share/zoneinfo/UTC",
		"../zoneinfo/UTC",
		"Europe/../UTC",
		" UTC",
		"UTC ",
		"Europe/Berlin/Mitte",
		"America/Argentina/ComodRivadavia/and/what/is/more/it/is/too/long",
	};
	static const char *const good[] = {
		"UTC",
		"Etc/GMT-14",
		"EST5EDT",
		"W-SU",
		"America/Port-au-Prince",
		"America/Argentina/Buenos_Aires",
		"America/North_Dakota/New_Salem",
	};
	uint64_t ns = 77;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (weir_zone_check(bad[i]) != -EINVAL)
			fail_msg("\"%s\" passes as a zone", bad[i]);
		assert_int_equal(weir_calendar_next(WEIR_EVERY_DAY, bad[i], 0, &ns), -EINVAL);
	}
	assert_int_equal(weir_calendar_next(WEIR_EVERY_NEVER, "UTC", 0, &ns), -EINVAL);
	assert_true(ns == 77);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (weir_zone_check(good[i]))
			fail_msg("\"%s\" is refused", good[i]);
}

/* Answers are kept: one must not be given for another question. */
static void going_back_in_time_gives_what_held_then(void **state)
{
	for (int i = 0; i < 3; i++) {
		day("America/Havana", "2026-03-09T12:00:00Z", "2026-03-10T04:00:00Z");
		day("America/Havana", "2026-03-07T12:00:00Z", "2026-03-08T05:00:00Z");
		next_is(WEIR_EVERY_MONTH, "America/Havana", "2026-03-07T12:00:00Z",
			"2026-04-01T04:00:00Z");
		day("America/Havana", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z");
	}
}

static const char *const some_zones[] = { "Europe/Berlin", "America/Havana", "Asia/Beirut",
					  "Australia/Lord_Howe", "Africa/Casablanca" };

#define STEPS 2000
static uint64_t walk(size_t zone)
{
	uint64_t t = at("2026-01-01T00:00:00Z"), sum = 0;

	for (int i = 0; i < STEPS; i++) {
		if (weir_calendar_next(WEIR_EVERY_DAY, some_zones[zone], t, &t))
			return 0;
		sum = sum * 31 + t;
	}
	return sum;
}

static gpointer walk_all(gpointer out)
{
	uint64_t *sums = out;

	for (size_t z = 0; z < 5; z++)
		sums[z] = walk(z);
	return NULL;
}

static void threads_may_ask_at_once(void **state)
{
	uint64_t want[5], got[4][5];
	GThread *threads[4];

	for (int i = 0; i < 4; i++)
		threads[i] = g_thread_new("walk", walk_all, got[i]);
	for (int i = 0; i < 4; i++)
		g_thread_join(threads[i]);
	walk_all(want);
	for (int i = 0; i < 4; i++)
		for (size_t z = 0; z < 5; z++)
			assert_true(want[z] && got[i][z] == want[z]);
}

static void months_in_utc_are_counted_from_1970(void **state)
{
	assert_int_equal(weir_month_of(0), 0);
	assert_int_equal(weir_month_of(at("1970-01-31T23:59:59.999999999Z")), 0);
	assert_int_equal(weir_month_of(at("1970-02-01T00:00:00Z")), 1);
	assert_int_equal(weir_month_of(at("2026-11-21T00:00:00Z")), 56 * 12 + 10);
	assert_true(weir_month_start_ns(0) == 0);
	assert_true(weir_month_start_ns(56 * 12 + 10) == at("2026-11-01T00:00:00Z"));
	assert_true(weir_month_start_ns(58 * 12 + 2) == at("2028-03-01T00:00:00Z"));
	assert_true(weir_month_start_ns(130 * 12 + 2) == at("2100-03-01T00:00:00Z"));
	for (uint32_t m = 0; m < 292 * 12; m++) {
		assert_int_equal(weir_month_of(weir_month_start_ns(m)), m);
		assert_int_equal(weir_month_of(weir_month_start_ns(m + 1) - 1), m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_boundary_is_behind_what_was_asked),
		cmocka_unit_test(weeks_begin_on_monday_and_months_on_the_first),
		cmocka_unit_test(days_are_23_24_and_25_hours_long),
		cmocka_unit_test(a_day_without_midnight_begins_at_one),
		cmocka_unit_test(of_two_midnights_the_first_counts),
		cmocka_unit_test(an_evening_that_repeats_belongs_to_its_day),
		cmocka_unit_test(a_day_that_never_was_has_no_boundary_of_its_own),
		cmocka_unit_test(it_holds_until_the_numbers_end),
		cmocka_unit_test(what_is_no_zone_of_the_database_is_refused),
		cmocka_unit_test(going_back_in_time_gives_what_held_then),
		cmocka_unit_test(threads_may_ask_at_once),
		cmocka_unit_test(months_in_utc_are_counted_from_1970),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
