// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about settlement: once, whatever comes between two stores.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* ------------------------------------------------- killed between two instructions */

/* What anybody reads of a settlement. */
struct figures {
	uint64_t released, tat;
	int64_t reserved;
	int32_t tokens;
};

static struct figures figures_of(const struct weir_tenant *t)
{
	return (struct figures){ weir_released(t), weir_tokens_tat(t), weir_reserved_now(t),
				 weir_reserved_tokens_now(t) };
}

static bool same(const struct figures *a, const struct figures *b)
{
	return a->released == b->released && a->tat == b->tat && a->reserved == b->reserved &&
	       a->tokens == b->tokens;
}

/* An agent was killed and left this. Readers see the settlement or do not see it, and the next
 * agent, which finds the record again, ends where one that was not killed does. */
static void assert_recovers(const struct weir_tenant *left, const struct figures *before,
			    const struct figures *after, const struct weir_settlement *s)
{
	struct weir_tenant t = *left;
	struct figures now = figures_of(&t);
	bool done = same(&now, after);

	if (!done && !same(&now, before))
		fail_msg("released %llu, tokens in flight %d, tat %llu: neither before nor after",
			 (unsigned long long)now.released, now.tokens, (unsigned long long)now.tat);
	assert_int_equal(weir_settle(&t, s), !done);
	now = figures_of(&t);
	assert_true(same(&now, after));
	assert_false(weir_settle(&t, s));
}

/* weir_settle in a process that is stopped after every instruction: in how many ways did it
 * leave the memory it shares with us? */
static unsigned settle_step_by_step(struct weir_tenant *t, const struct weir_settlement *s)
{
	struct figures before = figures_of(t), after, now;
	struct weir_tenant done = *t, last = *t;
	unsigned images = 0, steps = 0;
	pid_t pid;
	int status;

	assert_true(weir_settle(&done, s));
	after = figures_of(&done);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		weir_settle(t, s);
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL), 0);
	do {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, 0, 0), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status) && steps++ < 100000);
		if (memcmp(&last, t, sizeof(last))) {
			last = *t;
			images++;
			assert_recovers(t, &before, &after, s);
		}
	} while (WSTOPSIG(status) != SIGSTOP);
	now = figures_of(t);
	assert_true(same(&now, &after));
	assert_int_equal(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return images;
}

static void a_kill_at_any_instruction_neither_loses_nor_repeats(void **state)
{
	struct weir_tenant *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(t != MAP_FAILED);
	t->reserved_nano = UINT64_MAX - 5; /* all of them wrap on the way */
	t->reserved_tokens = UINT32_MAX - 5;
	for (int i = 0; i < 2; i++) {
		t->settled[i].released_nano = UINT64_MAX - 90;
		t->released_tokens[i] = UINT32_MAX - 90;
	}
	for (uint64_t i = 1; i <= 6; i++) {
		struct weir_settlement s = { .ring_pos = 8 * i,
					     .released_nano = (int64_t)(10 * i),
					     .released_tokens = (uint32_t)(20 + i),
					     .tokens_ns = 100 * i,
					     .now_ns = 1000 * i };
		unsigned images = settle_step_by_step(t, &s);

		/* The position's 0 (not the first time: it is one), three figures, the position. */
		assert_int_equal(images, i > 2 ? 5 : 4);
	}
	munmap(t, sizeof(*t));
}

static void tokens_in_flight_are_what_was_taken_and_not_released(void **state)
{
	struct weir_tenant t = { .reserved_tokens = 300 };
	struct weir_settlement a = { .ring_pos = 8, .released_tokens = 100 };
	struct weir_settlement b = { .ring_pos = 16, .released_tokens = 150 };

	weir_settle(&t, &a);
	assert_int_equal(weir_reserved_tokens_now(&t), 200);
	weir_settle(&t, &b);
	weir_settle(&t, &a);
	assert_int_equal(weir_reserved_tokens_now(&t), 50);
	t.reserved_tokens += UINT32_MAX - 299; /* to 0, past the wrap */
	t.released_tokens[0] = t.released_tokens[1] = UINT32_MAX - 9;
	assert_int_equal(weir_reserved_tokens_now(&t), 10);
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
	assert_int_equal(weir_tokens_tat(&t), 1100);
}

/* A raised limit shortens the debt (enforce_limits.c): what is in force is the valid copy,
 * even if the other is later. */
static void a_debt_may_shrink(void **state)
{
	struct weir_tenant t = { .settled = { { 16, 0, 1000 }, { 8, 0, 5000 } } };
	struct weir_settlement a = { .ring_pos = 24, .tokens_ns = 10, .now_ns = 900 };

	weir_settle(&t, &a);
	assert_int_equal(weir_tokens_tat(&t), 1010);
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

static struct weir_tenant metered(uint32_t reserved_tokens, int64_t reserved_nano)
{
	return (struct weir_tenant){ .flags = WEIR_TENANT_LIMIT_TOKENS | WEIR_TENANT_CREDIT,
				     .tokens_interval_ns = 10,
				     .tokens_tau_ns = 10000, /* 1000 tokens */
				     .ceiling_nano = 5000,
				     .reserved_tokens = reserved_tokens,
				     .reserved_nano = (uint64_t)reserved_nano };
}

static void who_has_little_left_for_what_is_reserved_is_tight(void **state)
{
	struct weir_tenant t = metered(0, 0);

	assert_false(weir_is_tight(&t, 0)); /* nothing to settle */
	t = metered(200, 0);
	assert_false(weir_is_tight(&t, 0)); /* four more of the same find room */
	t = metered(201, 0);
	assert_true(weir_is_tight(&t, 0));
	t.flags = 0;
	assert_false(weir_is_tight(&t, 0)); /* no limit */
	t = metered(100, 0);
	t.settled[1] = (struct weir_settled){ 8, 0, 5000 };
	assert_false(weir_is_tight(&t, 0));
	t.settled[1].tokens_tat_ns = 5010; /* 501 used, 100 in flight */
	assert_true(weir_is_tight(&t, 0));
	assert_false(weir_is_tight(&t, 10)); /* one has leaked */
	t = metered(0, 1000);
	assert_false(weir_is_tight(&t, 0));
	t = metered(0, 1001);
	assert_true(weir_is_tight(&t, 0));
	t.ceiling_nano = -5000; /* below zero, and something to come back */
	assert_true(weir_is_tight(&t, 0));
	t = metered(1U << 30, 0); /* more than fits 64 bits of time */
	t.tokens_interval_ns = UINT64_C(1) << 37;
	assert_true(weir_is_tight(&t, 0));
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
		cmocka_unit_test(a_kill_at_any_instruction_neither_loses_nor_repeats),
		cmocka_unit_test(tokens_in_flight_are_what_was_taken_and_not_released),
		cmocka_unit_test(a_debt_may_shrink),
		cmocka_unit_test(tokens_are_a_debt_from_now_or_from_the_debt_before),
		cmocka_unit_test(what_is_left_is_balance_and_overage_less_reservations),
		cmocka_unit_test(who_has_little_left_for_what_is_reserved_is_tight),
		cmocka_unit_test(sums_may_wrap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
