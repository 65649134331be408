/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets: what a burst lets through, when the next one may come, and that no
 * two takers get the same token. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>

#include "agent/enforce_limits.h"
#include "bpf/gcra.h"

#define SECOND 1000000000ULL

static void a_burst_comes_at_once_then_one_each_interval(void **state)
{
	const uint64_t interval = 6 * SECOND, tau = 10 * interval;
	uint64_t tat = 0, now = 1000 * SECOND;

	for (int i = 0; i < 10; i++)
		assert_int_equal(weir_gcra_take(&tat, now, interval, tau), 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(weir_gcra_take(&tat, now, interval, tau), interval);
		assert_int_equal(weir_gcra_take(&tat, now + interval - 1, interval, tau), 1);
		now += interval;
		assert_int_equal(weir_gcra_take(&tat, now, interval, tau), 0);
	}
}

static void an_idle_bucket_holds_a_burst_and_no_more(void **state)
{
	const uint64_t interval = SECOND, tau = 3 * SECOND;
	uint64_t tat = 5 * SECOND, now = 1000000 * SECOND;
	int taken = 0;

	while (!weir_gcra_take(&tat, now, interval, tau))
		taken++;
	assert_int_equal(taken, 3);
}

static void waiting_as_told_is_enough(void **state)
{
	const uint64_t interval = 7919, tau = 5 * interval;
	uint64_t tat = 0, now = 1, wait;

	srand(1);
	for (int i = 0; i < 100000; i++) {
		wait = weir_gcra_take(&tat, now, interval, tau);
		if (wait) {
			uint64_t seen = tat;

			assert_true(weir_gcra_take(&tat, now + wait - 1, interval, tau));
			assert_int_equal(tat, seen);
			now += wait;
			assert_int_equal(weir_gcra_take(&tat, now, interval, tau), 0);
		}
		now += rand() % (2 * interval);
	}
}

/* Against a bucket kept as a fraction: tokens = min(burst, tokens + elapsed / interval). */
static void it_agrees_with_a_bucket_kept_as_a_count(void **state)
{
	const uint64_t interval = 1000, burst = 4;
	uint64_t tat = 0, now = 1000000, fill = burst * interval, last = now;

	srand(2);
	for (int i = 0; i < 200000; i++) {
		uint64_t left;

		now += rand() % 1500;
		fill += now - last;
		if (fill > burst * interval)
			fill = burst * interval;
		last = now;
		left = weir_gcra_left(tat, now, burst * interval, burst);
		assert_int_equal(left, fill / interval);
		if (fill >= interval) {
			fill -= interval;
			assert_int_equal(weir_gcra_take(&tat, now, interval, burst * interval), 0);
		} else {
			assert_int_equal(weir_gcra_take(&tat, now, interval, burst * interval),
					 interval - fill);
		}
		assert_int_equal(weir_gcra_full_in(tat, now), burst * interval - fill);
	}
}

static void a_token_given_back_can_be_taken_again(void **state)
{
	uint64_t tat = 100 * SECOND, now = 100 * SECOND;

	assert_int_equal(weir_gcra_take(&tat, now, SECOND, SECOND), 0);
	assert_int_equal(weir_gcra_take(&tat, now, SECOND, SECOND), SECOND);
	weir_gcra_give_back(&tat, SECOND);
	assert_int_equal(tat, now);
	assert_int_equal(weir_gcra_take(&tat, now, SECOND, SECOND), 0);
}

static void a_burst_of_zero_lets_nothing_through(void **state)
{
	uint64_t tat = 0;

	assert_true(weir_gcra_take(&tat, SECOND, SECOND, 0));
	assert_int_equal(tat, 0);
}

static void a_debt_is_let_in_until_it_is_as_large_as_the_burst(void **state)
{
	const uint64_t tau = 60 * SECOND, now = 1000 * SECOND;

	assert_int_equal(weir_gcra_debt_wait(0, now, tau), 0);
	assert_int_equal(weir_gcra_debt_wait(now + tau - 1, now, tau), 0);
	assert_int_equal(weir_gcra_debt_wait(now + tau, now, tau), 1);
	assert_int_equal(weir_gcra_debt_wait(now + tau + SECOND, now, tau), SECOND + 1);
	assert_int_equal(weir_gcra_debt_wait(now + tau + SECOND, now + SECOND + 1, tau), 0);
}

static void what_is_left_is_never_more_than_the_burst_and_never_negative(void **state)
{
	assert_int_equal(weir_gcra_left(0, SECOND, 10 * SECOND, 10), 10);
	assert_int_equal(weir_gcra_left(200 * SECOND, SECOND, 10 * SECOND, 10), 0);
	assert_int_equal(weir_gcra_left(0, SECOND, 0, 0), 0);
	assert_int_equal(weir_gcra_left(0, SECOND, 5, 10), 0); /* under 1 ns each */
	assert_int_equal(weir_gcra_full_in(3, 5), 0);
}

/* -- any clock, any limits */

enum { ROUNDS = 3000, STEPS = 300 };

static uint64_t seed;

static uint64_t random_below(uint64_t n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return n ? (seed >> 11) % n : 0;
}

/* From ns to days. */
static uint64_t random_interval(void)
{
	return 1 + random_below(1ULL << random_below(47));
}

/* CLOCK_MONOTONIC as it may be seen: it stands still while the machine is suspended and for two
 * in the same instant, and it may jump for an age (a guest that was stopped). */
static uint64_t random_step(uint64_t interval)
{
	switch (random_below(8)) {
	case 0:
	case 1:
		return 0;
	case 2:
		return 1;
	case 3:
		return random_below(1ULL << random_below(60));
	default:
		return random_below(2 * interval + 1);
	}
}

/* However the clock goes: in any window no more than a burst and what the time is worth. */
static void no_window_ever_has_more_than_burst_and_time_allow(void **state)
{
	static uint64_t times[STEPS];

	seed = 11;
	for (int round = 0; round < ROUNDS; round++) {
		const uint64_t interval = random_interval(), burst = random_below(20);
		uint64_t now = 1 + random_below(1ULL << 50), tat = random_below(now + 1);
		size_t n = 0;

		for (int i = 0; i < STEPS && now < 1ULL << 61; i++) {
			if (!weir_gcra_take(&tat, now, interval, burst * interval))
				times[n++] = now;
			now += random_step(interval);
		}
		for (size_t i = 0; i < n; i++)
			for (size_t k = i; k < n; k++)
				assert_true(k - i + 1 <= burst + (times[k] - times[i]) / interval);
	}
}

/* And no fewer: who is sent away waits no longer than for one interval, if the bucket has any
 * depth; after `taken` intervals it is as full as ever. */
static void it_never_locks_longer_than_what_was_taken_is_worth(void **state)
{
	seed = 12;
	for (int round = 0; round < ROUNDS; round++) {
		const uint64_t interval = random_interval(), burst = 1 + random_below(20);
		const uint64_t tau = burst * interval;
		uint64_t now = 1 + random_below(1ULL << 50), tat = 0, taken = 0, began = now;

		for (int i = 0; i < STEPS && now < 1ULL << 61; i++) {
			uint64_t wait = weir_gcra_take(&tat, now, interval, tau);

			assert_true(wait <= interval);
			taken += !wait;
			assert_true(weir_gcra_full_in(tat, now) <= tau);
			assert_true(tat <= (now > began ? now : began) + taken * interval);
			assert_int_equal(weir_gcra_left(tat, now + tau, tau, burst), burst);
			now += random_step(interval);
		}
	}
}

/* A new interval with the old tat in units (agent/enforce_limits.c) forgives nothing. */
static void limits_that_change_never_give_more_than_the_larger_of_both(void **state)
{
	seed = 13;
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t interval = 1 + random_below(1ULL << random_below(40)), burst = 1;
		uint64_t now = 1 + random_below(1ULL << 50), tat = 0, most = 1, n = 0;

		/* The clock stands: nothing comes back, whatever the limit becomes. */
		for (int i = 0; i < STEPS; i++) {
			if (!random_below(10)) {
				uint64_t next = 1 + random_below(1ULL << random_below(40));

				tat = weir_tat_rescaled(tat, now, next, interval);
				interval = next;
				burst = 1 + random_below(30);
				most = burst > most ? burst : most;
			}
			n += !weir_gcra_take(&tat, now, interval, burst * interval);
			assert_true(n <= most);
		}
		assert_true(n >= 1);
		/* Nor is anybody shut out for more than a burst. */
		assert_true(weir_gcra_full_in(tat, now) <= (most + 1) * interval + STEPS);
	}
}

static void what_is_given_back_is_what_was_taken_as_long_as_the_bucket_is_in_use(void **state)
{
	seed = 14;
	for (int round = 0; round < ROUNDS; round++) {
		const uint64_t interval = random_interval(), burst = 1 + random_below(20);
		uint64_t now = 1 + random_below(1ULL << 50), tat = now + interval, before;

		for (int i = 0; i < STEPS; i++) {
			before = tat;
			if (weir_gcra_take(&tat, now, interval, burst * interval))
				break;
			weir_gcra_give_back(&tat, interval);
			assert_int_equal(tat, before);
			weir_gcra_take(&tat, now, interval, burst * interval);
		}
	}
}

#define TAKERS 4
#define BURST  200000

static uint64_t shared_tat;
static uint64_t taken[TAKERS];

static void *take_all(void *arg)
{
	uint64_t *mine = arg, wait;

	do {
		wait = weir_gcra_take(&shared_tat, SECOND, 1000, BURST * 1000ULL);
		if (!wait)
			++*mine;
	} while (!wait || wait == ~0ULL);
	return NULL;
}

static void takers_that_race_get_exactly_the_burst(void **state)
{
	pthread_t t[TAKERS];
	uint64_t sum = 0;

	for (int i = 0; i < TAKERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, take_all, &taken[i]), 0);
	for (int i = 0; i < TAKERS; i++) {
		pthread_join(t[i], NULL);
		sum += taken[i];
	}
	assert_int_equal(sum, BURST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_comes_at_once_then_one_each_interval),
		cmocka_unit_test(an_idle_bucket_holds_a_burst_and_no_more),
		cmocka_unit_test(waiting_as_told_is_enough),
		cmocka_unit_test(it_agrees_with_a_bucket_kept_as_a_count),
		cmocka_unit_test(a_token_given_back_can_be_taken_again),
		cmocka_unit_test(a_burst_of_zero_lets_nothing_through),
		cmocka_unit_test(a_debt_is_let_in_until_it_is_as_large_as_the_burst),
		cmocka_unit_test(what_is_left_is_never_more_than_the_burst_and_never_negative),
		cmocka_unit_test(no_window_ever_has_more_than_burst_and_time_allow),
		cmocka_unit_test(it_never_locks_longer_than_what_was_taken_is_worth),
		cmocka_unit_test(limits_that_change_never_give_more_than_the_larger_of_both),
		cmocka_unit_test(
			what_is_given_back_is_what_was_taken_as_long_as_the_bucket_is_in_use),
		cmocka_unit_test(takers_that_race_get_exactly_the_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
