/* SPDX-License-Identifier: Apache-2.0 */
/* Limits in the kernel's entries: what the policy says is what is there, and a change
 * while traffic runs keeps what is used, in units, as the kernel's own buckets count. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/account.h"
#include "agent/enforce_limits.h"
#include "agent/util.h"
#include "bpf/gcra.h"

#define NOW    (1000000 * WEIR_SECOND)
#define MINUTE (60 * WEIR_SECOND)

static struct weir_tenant t;

static int begin(void **state)
{
	memset(&t, 0, sizeof(t));
	srand(4);
	return 0;
}

static const struct weir_limits none = { .connections = -1, .concurrency = -1 };

static void store(const struct weir_limits *l, uint64_t now_ns)
{
	weir_limits_store(&t, 1, l, NULL, now_ns);
}

static struct weir_rate rate(uint64_t count, uint64_t period_ns, uint64_t burst)
{
	return (struct weir_rate){ .count = count, .period_ns = period_ns, .burst = burst };
}

static uint64_t any(uint64_t max)
{
	uint64_t r = ((uint64_t)rand() << 40) ^ ((uint64_t)rand() << 20) ^ (uint64_t)rand();

	return r % max;
}

/* -- the arithmetic */

static void rescaling_is_exact_to_a_nanosecond(void **state)
{
	for (int i = 0; i < 200000; i++) {
		uint64_t now = any(UINT64_C(1) << (1 + rand() % 60));
		uint64_t ahead = 1 + any(UINT64_C(1) << (1 + rand() % 50));
		uint64_t num = 1 + any(UINT64_C(1) << (1 + rand() % 37));
		uint64_t den = 1 + any(UINT64_C(1) << (1 + rand() % 37));
		unsigned __int128 exact = (unsigned __int128)ahead * num;
		uint64_t next = weir_tat_rescaled(now + ahead, now, num, den) - now;

		if (exact > ((unsigned __int128)den << 61)) {
			assert_int_equal(next, UINT64_C(1) << 61);
			continue;
		}
		/* the least that is not less than was used */
		assert_true((unsigned __int128)next * den >= exact);
		assert_true((unsigned __int128)(next - 1) * den < exact);
	}
}

static void rescaling_forgives_nothing_and_never_wraps(void **state)
{
	static const uint64_t edges[] = {
		0, 1, 2, WEIR_SECOND, NOW, UINT64_C(1) << 61, INT64_MAX, UINT64_MAX - 1, UINT64_MAX
	};
	const size_t n = sizeof(edges) / sizeof(*edges);

	for (size_t i = 0; i < n * n * n; i++) {
		uint64_t tat = edges[i % n], num = edges[i / n % n], den = edges[i / n / n];
		uint64_t next;

		if (!num || !den)
			continue;
		next = weir_tat_rescaled(tat, NOW, num, den);
		assert_true(tat <= NOW ? next == tat : next > NOW);
		assert_true(next <= NOW + (UINT64_C(1) << 61) || next == tat);
	}
	for (uint64_t used = 1; used < 1000; used++)
		assert_true(weir_tat_rescaled(NOW + used, NOW, 1, UINT64_MAX) == NOW + 1);
}

/* -- buckets, taken from as the kernel does */

struct bucket {
	weir_u64 *tat, *interval;
	weir_u32 *burst;
	size_t rate; /* in struct weir_limits */
};

static const struct bucket buckets[] = {
	{ &t.request_tat_ns, &t.request_interval_ns, &t.request_burst,
	  offsetof(struct weir_limits, requests) },
	{ &t.connect_tat_ns, &t.connect_interval_ns, &t.connect_burst,
	  offsetof(struct weir_limits, connect_rate) },
};

static uint64_t take_all(const struct bucket *b, uint64_t n, uint64_t now_ns)
{
	uint64_t taken = 0;

	while (taken < n && !weir_gcra_take(b->tat, now_ns, *b->interval, *b->interval * *b->burst))
		taken++;
	return taken;
}

static void store_rate(const struct bucket *b, struct weir_rate r, uint64_t now_ns)
{
	struct weir_limits l = none;

	*(struct weir_rate *)((char *)&l + b->rate) = r;
	store(&l, now_ns);
}

static struct weir_rate any_rate(void)
{
	return rate(1 + any(UINT64_C(1) << (1 + rand() % 30)), rand() % 2 ? MINUTE : WEIR_SECOND,
		    1 + any(200));
}

static void what_is_used_is_kept_in_units(void **state)
{
	for (int i = 0; i < 20000; i++) {
		const struct bucket *b = &buckets[i % 2];
		struct weir_rate last = any_rate(), next = any_rate();
		uint64_t used, left, got;

		begin(NULL);
		srand(i);
		store_rate(b, last, NOW);
		used = take_all(b, any(last.burst + 1), NOW);
		store_rate(b, next, NOW);
		left = next.burst > used ? next.burst - used : 0;
		got = take_all(b, 1000, NOW);
		/* Rounded up: less than a unit, and none where intervals are microseconds. */
		assert_true(got <= left && got + 1 >= left);
		if (*b->interval > 1000 || last.count == next.count)
			assert_int_equal(got, left);
	}
}

static void raising_and_lowering_again_changes_nothing(void **state)
{
	const struct bucket *b = &buckets[0];

	store_rate(b, rate(60, MINUTE, 10), NOW);
	assert_int_equal(take_all(b, 4, NOW), 4);
	for (int i = 0; i < 1000; i++) {
		store_rate(b, rate(600, MINUTE, 100), NOW);
		store_rate(b, rate(60, MINUTE, 10), NOW);
	}
	assert_int_equal(take_all(b, 100, NOW), 6);
}

static void the_same_limit_again_touches_nothing(void **state)
{
	struct weir_limits l = none;
	struct weir_tenant before;

	l.requests = rate(61, MINUTE, 10);
	l.connect_rate = rate(7, WEIR_SECOND, 10);
	l.tokens = rate(1000003, MINUTE, 10);
	l.connections = 4;
	store(&l, NOW);
	take_all(&buckets[0], 3, NOW);
	take_all(&buckets[1], 3, NOW);
	t.settled[1] = (struct weir_settled){ .ring_pos = 9, .tokens_tat_ns = NOW + 12345 };
	before = t;
	store(&l, NOW + 1);
	assert_memory_equal(&t, &before, sizeof(t));
}

static void a_limit_that_appears_starts_full(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		const struct bucket *b = &buckets[i];

		store_rate(b, rate(60, MINUTE, 10), NOW);
		assert_int_equal(take_all(b, 100, NOW), 10);
		store(&none, NOW);
		assert_int_equal(*b->interval, 0);
		store_rate(b, rate(60, MINUTE, 5), NOW);
		assert_int_equal(take_all(b, 100, NOW), 5);
	}
}

/* -- tokens */

static uint64_t *debt(int copy)
{
	t.settled[copy].ring_pos = 100;
	t.settled[!copy].ring_pos = 99;
	return &t.settled[copy].tokens_tat_ns;
}

/* As the consumer settles them, rounded up. */
static uint64_t tokens_ns(uint64_t n, const struct weir_rate *r)
{
	return ((unsigned __int128)n * r->period_ns + r->count - 1) / r->count;
}

static void a_debt_of_tokens_is_kept_in_tokens(void **state)
{
	for (int i = 0; i < 20000; i++) {
		struct weir_limits l = none;
		uint64_t n = any(1000000), *tat, other;
		struct weir_rate last;

		begin(NULL);
		srand(i);
		tat = debt(i % 2);
		other = t.settled[!(i % 2)].tokens_tat_ns = any(UINT64_MAX);
		l.tokens = last = rate(1 + any(1000000000), MINUTE, 1 + any(1000000));
		store(&l, NOW);
		*tat = NOW + tokens_ns(n, &last);
		l.tokens = rate(1 + any(1000000000), MINUTE, 1 + any(1000000));
		store(&l, NOW);
		assert_true(*tat - NOW >= tokens_ns(n, &l.tokens));
		/* Within a token and what a nanosecond of the old rate is worth. */
		assert_true(*tat - NOW <= tokens_ns(n + 1 + last.count / MINUTE, &l.tokens) + 1);
		assert_int_equal(t.settled[!(i % 2)].tokens_tat_ns, other);
		assert_int_equal(t.settled[i % 2].ring_pos, 100);
	}
}

static void a_token_limit_that_appears_starts_full(void **state)
{
	struct weir_limits l = none;
	uint64_t *tat = debt(1);

	*tat = NOW + 50 * MINUTE; /* of a limit that went */
	l.tokens = rate(100, MINUTE, 100);
	store(&l, NOW);
	assert_int_equal(weir_gcra_debt_wait(*tat, NOW, t.tokens_tau_ns), 0);
	*tat = NOW + MINUTE;
	l.tokens.burst = 10;
	store(&l, NOW); /* the depth alone: what is used stays */
	assert_int_equal(*tat, NOW + MINUTE);
	assert_true(weir_gcra_debt_wait(*tat, NOW, t.tokens_tau_ns));
	store(&none, NOW);
	assert_int_equal(t.flags & WEIR_TENANT_LIMIT_TOKENS, 0);
	l.tokens.burst = 100;
	store(&l, NOW);
	assert_int_equal(weir_gcra_debt_wait(*tat, NOW, t.tokens_tau_ns), 0);
}

/* -- an entry */

static void figures_fit_what_the_kernel_computes_with_them(void **state)
{
	/* The extremes that a policy may have: a bucket fills within a hundred years. */
	static const struct {
		struct weir_rate rate;
		uint64_t token_ns; /* 0: of tokens there is no such rate */
	} edges[] = {
		{ { 1000000000, MINUTE, 1 }, 60 },
		{ { 1000000000, MINUTE, UINT32_MAX }, 60 },
		{ { 1000000000, WEIR_SECOND, UINT32_MAX }, 0 },
		{ { 1, MINUTE, 52704000 }, MINUTE },
		{ { 1, MINUTE, 1 }, MINUTE },
		{ { 7, WEIR_SECOND, 1 }, WEIR_SECOND / 7 },
	};

	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++) {
		const struct weir_rate *r = &edges[i].rate;
		struct weir_limits l = none;
		uint64_t tau;

		l.requests = l.connect_rate = *r;
		if (edges[i].token_ns)
			l.tokens = *r;
		store(&l, NOW);
		assert_int_equal(t.tokens_interval_ns, edges[i].token_ns);
		assert_true(t.tokens_interval_ns <= UINT64_C(1) << 37);
		assert_int_equal(t.request_burst, r->burst);
		assert_false(__builtin_mul_overflow(t.request_interval_ns, t.request_burst, &tau));
		assert_false(__builtin_mul_overflow(t.connect_interval_ns, t.connect_burst, &tau));
		assert_true(tau < UINT64_C(1) << 62 && t.tokens_tau_ns < UINT64_C(1) << 62);
		/* an interval is never shorter than was said, and less than a ns longer */
		assert_true(t.request_interval_ns * r->count >= r->period_ns);
		assert_true((t.request_interval_ns - 1) * r->count < r->period_ns);
	}
}

/* 30 a minute is not "0 a second". */
static void a_slow_rate_is_not_told_as_none(void **state)
{
	struct weir_limits l = none;

	l.connect_rate = rate(30, 60 * WEIR_SECOND, 5);
	l.requests = rate(10, 86400 * WEIR_SECOND, 10);
	store(&l, 1000 * WEIR_SECOND);
	assert_int_equal(weir_connects_per_second(&t), 1);
	assert_int_equal(t.requests_per_minute, 1);
	l.connect_rate = rate(300, 60 * WEIR_SECOND, 5);
	l.requests = rate(60, 60 * WEIR_SECOND, 10);
	store(&l, 1000 * WEIR_SECOND);
	assert_int_equal(weir_connects_per_second(&t), 5);
	assert_int_equal(t.requests_per_minute, 60);
}

/* What is not kept but told from the rest is what was configured: of tokens whatever a policy
 * allows, of connections up to 30,000 a second. */
static void figures_of_messages_are_those_of_the_policy(void **state)
{
	struct weir_limits l = none;

	for (int i = 0; i < 300000; i++) {
		uint64_t count = i < 100000 ? (uint64_t)i + 1 : 1 + any(1000000000);
		uint64_t burst = i % 3 ? 1 + any(UINT64_C(1) << 40) : count;
		uint64_t connects = 1 + any(30000), each = i % 2 ? WEIR_SECOND : MINUTE;

		while ((unsigned __int128)burst * MINUTE >
		       (unsigned __int128)100 * 366 * 86400 * WEIR_SECOND * count)
			burst /= 2; /* policy_limits.c */
		l.tokens = rate(count, MINUTE, burst);
		l.connect_rate = rate(connects, each, 1);
		store(&l, 1000 * WEIR_SECOND);
		assert_int_equal(t.tokens_per_minute, count);
		assert_int_equal(weir_tokens_burst(&t), burst);
		assert_int_equal(weir_connects_per_second(&t),
				 (connects * WEIR_SECOND + each - 1) / each);
	}
}

static void flags_say_which_limits_there_are(void **state)
{
	static const struct {
		struct weir_limits limits;
		uint32_t flags;
	} cases[] = {
		{ { .connections = -1, .concurrency = -1 }, 0 },
		{ { .connections = 1, .concurrency = -1 }, WEIR_TENANT_LIMIT_CONNS },
		{ { .connections = -1, .concurrency = 1 }, WEIR_TENANT_LIMIT_INFLIGHT },
		{ { .connections = -1, .concurrency = -1, .connect_rate = { 1, MINUTE, 1 } },
		  WEIR_TENANT_LIMIT_CONN_RATE },
		{ { .connections = -1, .concurrency = -1, .requests = { 1, MINUTE, 1 } },
		  WEIR_TENANT_LIMIT_REQUESTS },
		{ { .connections = -1, .concurrency = -1, .tokens = { 1, MINUTE, 1 } },
		  WEIR_TENANT_LIMIT_TOKENS },
		{ { .connections = -1, .concurrency = -1, .credit = WEIR_CREDIT_HARD },
		  WEIR_TENANT_CREDIT },
		{ { .connections = -1, .concurrency = -1, .shadow = true }, WEIR_TENANT_SHADOW },
		{ { .connections = -1, .concurrency = -1, .drop = true }, WEIR_TENANT_DROP },
		{ { .connections = -1, .concurrency = -1, .pass_protocols = true },
		  WEIR_TENANT_PASS_PROTOCOLS },
		{ { .connections = -1, .concurrency = -1, .on_agent_down = WEIR_DOWN_OPEN },
		  WEIR_TENANT_DOWN_OPEN },
		{ { .connections = -1, .concurrency = -1, .on_agent_down = WEIR_DOWN_CLOSED },
		  WEIR_TENANT_DOWN_CLOSED },
		/* To know a request that comes again all of its body is looked at. */
		{ { .connections = -1, .concurrency = -1, .free_retries = true },
		  WEIR_TENANT_ASKED_WHOLE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		store(&cases[i].limits, NOW);
		assert_int_equal(t.flags, WEIR_TENANT_LIVE | cases[i].flags);
	}
}

static void what_is_no_limit_stays(void **state)
{
	struct weir_limits l = { .connections = 5, .concurrency = 6, .half_open = 70000 };

	t.flags = WEIR_TENANT_SUSPENDED | WEIR_TENANT_SCOPED;
	t.parent = 8;
	t.rules = 9;
	t.connections = 3;
	t.inflight = 2;
	t.ceiling_nano = 77;
	t.reserved_tokens = 11;
	store(&l, NOW);
	assert_int_equal(t.flags & (WEIR_TENANT_SUSPENDED | WEIR_TENANT_SCOPED),
			 WEIR_TENANT_SUSPENDED | WEIR_TENANT_SCOPED);
	assert_int_equal(t.parent, 8);
	assert_int_equal(t.rules, 9);
	assert_int_equal(t.connections, 3);
	assert_int_equal(t.inflight, 2);
	assert_int_equal(t.ceiling_nano, 77);
	assert_int_equal(t.reserved_tokens, 11);
	assert_int_equal(t.max_connections, 5);
	assert_int_equal(t.max_inflight, 6);
	assert_int_equal(t.max_half_open, UINT16_MAX);
	weir_limits_clear(&t);
	assert_int_equal(t.flags, WEIR_TENANT_SUSPENDED);
	assert_int_equal(t.parent, WEIR_NO_TENANT);
	assert_int_equal(t.connections, 3);
}

#define CLAIM(test) cmocka_unit_test_setup(test, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(rescaling_is_exact_to_a_nanosecond),
		CLAIM(rescaling_forgives_nothing_and_never_wraps),
		CLAIM(what_is_used_is_kept_in_units),
		CLAIM(raising_and_lowering_again_changes_nothing),
		CLAIM(the_same_limit_again_touches_nothing),
		CLAIM(a_limit_that_appears_starts_full),
		CLAIM(a_debt_of_tokens_is_kept_in_tokens),
		CLAIM(a_token_limit_that_appears_starts_full),
		CLAIM(figures_fit_what_the_kernel_computes_with_them),
		CLAIM(a_slow_rate_is_not_told_as_none),
		CLAIM(figures_of_messages_are_those_of_the_policy),
		CLAIM(flags_say_which_limits_there_are),
		CLAIM(what_is_no_limit_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
