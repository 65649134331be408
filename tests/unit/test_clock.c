/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that is believed (agent/delivery.md, 2), with a kernel whose clocks the test sets. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/clock.h"
#include "agent/util.h"

#define MINUTE (60 * (int64_t)WEIR_SECOND)
#define HOUR   (60 * MINUTE)
#define START  UINT64_C(1793500000000000000)

static uint64_t real_ns, boot_ns;
static int synchronised, asked;

static uint64_t get_real(void)
{
	return real_ns;
}

static uint64_t get_boot(void)
{
	return boot_ns;
}

static int get_synchronised(void)
{
	asked++;
	return synchronised;
}

static void pass(int64_t ns)
{
	real_ns += (uint64_t)ns;
	boot_ns += (uint64_t)ns;
}

static void step(int64_t ns)
{
	real_ns += (uint64_t)ns;
}

/* A second goes by between ticks. */
static bool tick(void)
{
	pass(WEIR_SECOND);
	return weir_clock_tick();
}

static struct weir_clock_status status(void)
{
	struct weir_clock_status s;

	weir_clock_status(&s);
	return s;
}

static int setup(void **state)
{
	static const struct weir_clock_source source = { get_real, get_boot, get_synchronised };

	real_ns = START;
	boot_ns = 7 * WEIR_SECOND;
	synchronised = 0;
	weir_clock_use(&source);
	weir_log_max(WEIR_ERR - 1);
	return 0;
}

static int teardown(void **state)
{
	weir_clock_use(NULL);
	return 0;
}

static void before_the_first_tick_any_time_is_believed(void **state)
{
	step(-100 * HOUR);
	assert_int_equal(weir_wall_ns(), real_ns);
	assert_false(status().held);
	assert_int_equal(weir_clock_real_ns(5), 5);
	assert_false(weir_clock_tick());
	assert_int_equal(weir_wall_ns(), real_ns);
}

static void a_step_of_up_to_two_hours_is_followed_at_once(void **state)
{
	static const int64_t steps[] = { HOUR, -HOUR, 2 * HOUR, -2 * HOUR };

	tick();
	for (size_t i = 0; i < 4; i++) {
		step(steps[i]);
		assert_int_equal(weir_wall_ns(), real_ns);
		assert_false(tick());
		assert_int_equal(weir_wall_ns(), real_ns);
		assert_false(status().held);
	}
}

static void a_longer_one_is_not_followed_while_nobody_synchronises(void **state)
{
	static const int64_t steps[] = { 2 * HOUR + 1, -2 * HOUR - 1, 24 * 365 * HOUR,
					 -24 * 365 * HOUR };

	for (size_t i = 0; i < 4; i++) {
		uint64_t before;

		setup(NULL);
		tick();
		before = weir_wall_ns();
		pass(MINUTE / 2);
		step(steps[i]);
		/* By whoever looks first, be it before the tick. */
		assert_int_equal(weir_wall_ns(), before + MINUTE / 2);
		assert_int_equal(weir_clock_real_ns(before), before + (uint64_t)steps[i]);
		tick();
		pass(10 * MINUTE);
		assert_int_equal(weir_wall_ns(), before + MINUTE / 2 + WEIR_SECOND + 10 * MINUTE);
		assert_true(status().held);
		assert_int_equal(status().step_ns, steps[i]);
		assert_int_equal(status().since_ns, before + MINUTE / 2);
	}
}

static void one_that_is_synchronised_is_followed(void **state)
{
	tick();
	synchronised = 1;
	step(-5 * HOUR);
	assert_int_equal(weir_wall_ns(), real_ns);
	assert_false(tick());
	assert_int_equal(weir_wall_ns(), real_ns);
	assert_true(status().synchronised);
	assert_false(status().held);
	/* That it is no more does not make that step one. */
	synchronised = 0;
	tick();
	assert_int_equal(weir_wall_ns(), real_ns);
	assert_false(status().synchronised);
}

/* Nobody sets the clock then: who waits for an instant must be told. */
static void it_is_followed_once_it_is_synchronised(void **state)
{
	tick();
	step(3 * HOUR);
	assert_true(tick());
	assert_false(tick());
	assert_true(status().held);
	synchronised = 1;
	assert_int_equal(weir_wall_ns(), real_ns - 3 * HOUR);
	assert_true(tick());
	assert_int_equal(weir_wall_ns(), real_ns);
	assert_int_equal(weir_clock_real_ns(9), 9);
	assert_false(status().held);
	assert_int_equal(status().step_ns, 0);
	assert_false(tick());
}

static void it_is_followed_once_it_is_set_back(void **state)
{
	tick();
	step(-3 * HOUR);
	tick();
	step(2 * HOUR + 30 * MINUTE); /* half an hour behind the old time */
	assert_int_equal(weir_wall_ns(), real_ns);
	assert_int_equal(weir_clock_real_ns(9), 9);
	assert_false(status().held);
	tick();
	assert_int_equal(weir_wall_ns(), real_ns);
}

static void a_held_clock_that_is_set_again_is_held_by_the_first_time(void **state)
{
	uint64_t before;

	tick();
	before = weir_wall_ns();
	step(3 * HOUR);
	assert_int_equal(weir_wall_ns(), before);
	step(4 * HOUR);
	assert_int_equal(weir_wall_ns(), before);
	assert_int_equal(weir_clock_real_ns(before), real_ns);
	assert_int_equal(status().step_ns, 7 * HOUR);
	assert_int_equal(status().since_ns, before);
}

/* Each by itself would be followed. */
static void two_steps_within_a_second_are_one(void **state)
{
	uint64_t before;

	tick();
	before = weir_wall_ns();
	step(90 * MINUTE);
	assert_int_equal(weir_wall_ns(), before + 90 * MINUTE);
	step(90 * MINUTE);
	assert_int_equal(weir_wall_ns(), before);
	assert_true(status().held);
}

static void sleep_and_slow_drift_are_no_steps(void **state)
{
	tick();
	pass(100 * HOUR); /* CLOCK_BOOTTIME goes on */
	assert_int_equal(weir_wall_ns(), real_ns);
	for (int i = 0; i < 10; i++) {
		step(HOUR);
		tick();
		assert_int_equal(weir_wall_ns(), real_ns);
	}
	assert_false(status().held);
}

static void a_kernel_that_does_not_say_is_not_synchronised(void **state)
{
	synchronised = -EPERM;
	tick();
	assert_false(status().synchronised);
	assert_int_equal(status().error, EPERM);
	step(3 * HOUR);
	tick();
	assert_true(status().held);
	synchronised = 1;
	tick();
	assert_false(status().held);
	assert_int_equal(status().error, 0);
}

/* It is asked once a second and at a step, not by each who wants to know the time. */
static void reading_the_clock_asks_nobody(void **state)
{
	tick();
	step(3 * HOUR);
	tick();
	asked = 0;
	for (int i = 0; i < 100; i++)
		weir_wall_ns();
	assert_int_equal(asked, 0);
}

static void the_kernel_has_such_clocks(void **state)
{
	uint64_t before;

	weir_clock_use(NULL);
	before = weir_wall_ns();
	assert_true(before > UINT64_C(1600000000) * WEIR_SECOND);
	assert_false(weir_clock_tick());
	assert_in_range(weir_wall_ns(), before, before + 60 * WEIR_SECOND);
	assert_int_equal(status().error, 0);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(before_the_first_tick_any_time_is_believed),
		CLAIM(a_step_of_up_to_two_hours_is_followed_at_once),
		CLAIM(a_longer_one_is_not_followed_while_nobody_synchronises),
		CLAIM(one_that_is_synchronised_is_followed),
		CLAIM(it_is_followed_once_it_is_synchronised),
		CLAIM(it_is_followed_once_it_is_set_back),
		CLAIM(a_held_clock_that_is_set_again_is_held_by_the_first_time),
		CLAIM(two_steps_within_a_second_are_one),
		CLAIM(sleep_and_slow_drift_are_no_steps),
		CLAIM(a_kernel_that_does_not_say_is_not_synchronised),
		CLAIM(reading_the_clock_asks_nobody),
		CLAIM(the_kernel_has_such_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
