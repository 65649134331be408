/* SPDX-License-Identifier: Apache-2.0 */
/* Credit ends at its instant: not a nanosecond before, and whatever an agent is about to store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "agent/account.h"
#include "agent/expiry.h"
#include "bpf/credit.h"

#define AT UINT64_C(1795000000000000007)

static int64_t left_at(struct weir_tenant *t, uint64_t wall_ns)
{
	int64_t expired = weir_expired(t, wall_ns);

	return weir_credit_left(t, t->reserved_nano, expired);
}

static void credit_ends_at_its_nanosecond(void **state)
{
	struct weir_tenant t = { .ceiling_nano = 100, .reserved_nano = 7 };

	weir_expiry_store(&t, AT, 30);
	assert_int_equal(left_at(&t, AT - 1), 93);
	assert_int_equal(left_at(&t, AT), 63);
	assert_int_equal(left_at(&t, AT + 1), 63);
	assert_int_equal(left_at(&t, UINT64_MAX), 63);
	weir_expiry_store(&t, AT, 29); /* some of it was spent */
	assert_int_equal(left_at(&t, AT), 64);
	weir_expiry_store(&t, 1, 5);
	assert_int_equal(left_at(&t, 0), 93);
	assert_int_equal(left_at(&t, 1), 88);
}

static void no_expiry_is_never(void **state)
{
	struct weir_tenant t = { .ceiling_nano = 100, .expiry_nano = 50 };

	assert_int_equal(left_at(&t, 0), 100);
	assert_int_equal(left_at(&t, AT), 100);
	assert_int_equal(left_at(&t, UINT64_MAX), 100);
	weir_expiry_store(&t, AT, 30);
	weir_expiry_store(&t, 0, 0);
	assert_int_equal(left_at(&t, AT), 100);
}

/* Sums of what was ever reserved wrap; more may expire than is left. */
static void figures_wrap_and_go_below_zero(void **state)
{
	struct weir_tenant t = { .ceiling_nano = INT64_MIN + 5,
				 .reserved_nano = (uint64_t)INT64_MAX - 4 };

	weir_expiry_store(&t, AT, 20);
	assert_int_equal(left_at(&t, AT - 1), 10);
	assert_int_equal(left_at(&t, AT), -10);
}

/* -- an agent applies one after the other, others look meanwhile */

enum { EACH = 1000, EXPIRIES = 100000, LOOKERS = 2 };

static struct weir_tenant shared __attribute__((aligned(64)));
static uint64_t clock_ns; /* the n-th expires at n */
static bool over;

static int64_t amount_of(uint64_t n)
{
	return n % 3 ? EACH : 7 * EACH; /* telling one from another */
}

/* Σ of those up to n. */
static int64_t gone_by(uint64_t n)
{
	return (int64_t)(n + n / 3 * 6) * EACH;
}

static void *look(void *arg)
{
	uint64_t *bad = arg;

	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		uint64_t before = __atomic_load_n(&clock_ns, __ATOMIC_SEQ_CST), after;
		int64_t left = left_at(&shared, before);

		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		after = __atomic_load_n(&clock_ns, __ATOMIC_SEQ_CST);
		/* Never more than there was; less by one that was counted twice at most. */
		if (left > -gone_by(before) || left < -gone_by(after) - 7 * EACH)
			++*bad;
	}
	return NULL;
}

static void nothing_expired_is_lent_while_the_agent_stores(void **state)
{
	pthread_t lookers[LOOKERS];
	uint64_t bad[LOOKERS] = {};

	weir_expiry_store(&shared, 1, amount_of(1));
	for (int i = 0; i < LOOKERS; i++)
		assert_int_equal(pthread_create(&lookers[i], NULL, look, &bad[i]), 0);
	for (uint64_t n = 1; n <= EXPIRIES; n++) {
		__atomic_store_n(&clock_ns, n, __ATOMIC_SEQ_CST);
		assert_int_equal(left_at(&shared, n), -gone_by(n));
		weir_ceiling_add(&shared, -amount_of(n), -amount_of(n));
		assert_int_equal(left_at(&shared, n), -gone_by(n) - amount_of(n));
		weir_expiry_store(&shared, n + 1, amount_of(n + 1));
		assert_int_equal(left_at(&shared, n), -gone_by(n));
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	for (int i = 0; i < LOOKERS; i++) {
		pthread_join(lookers[i], NULL);
		assert_int_equal(bad[i], 0);
	}
	assert_int_equal(shared.balance_nano, -gone_by(EXPIRIES));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(credit_ends_at_its_nanosecond),
		cmocka_unit_test(no_expiry_is_never),
		cmocka_unit_test(figures_wrap_and_go_below_zero),
		cmocka_unit_test(nothing_expired_is_lent_while_the_agent_stores),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
