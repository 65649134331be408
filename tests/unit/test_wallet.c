// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about a wallet's ceiling while the agent moves it: what is held and what is reserved
 * are never the same credit, and whatever instruction the agent is killed at, no request is
 * let in for credit that is not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/account.h"
#include "agent/expiry.h"

/* As bpf/credit.h reads it. */
static int64_t spendable(const struct weir_tenant *t, uint64_t wall_ns)
{
	uint64_t at = __atomic_load_n(&t->expiry_wall_ns, __ATOMIC_SEQ_CST);
	int64_t nano = __atomic_load_n(&t->expiry_nano, __ATOMIC_SEQ_CST);

	if (!at || at > wall_ns || __atomic_load_n(&t->expiry_wall_ns, __ATOMIC_SEQ_CST) != at)
		nano = 0;
	return (int64_t)((uint64_t)__atomic_load_n(&t->ceiling_nano, __ATOMIC_SEQ_CST) -
			 __atomic_load_n(&t->reserved_nano, __ATOMIC_SEQ_CST) - (uint64_t)nano);
}

/* -- holding */

static void what_is_left_can_be_held_and_no_more(void **state)
{
	struct weir_tenant t = { .ceiling_nano = 1000, .balance_nano = 900, .reserved_nano = 300 };
	int64_t left = 0;

	assert_false(weir_ceiling_hold(&t, 701, &left));
	assert_int_equal(left, 700);
	assert_int_equal(t.ceiling_nano, 1000);
	assert_int_equal(t.balance_nano, 900);
	assert_true(weir_ceiling_hold(&t, 700, &left));
	assert_int_equal(left, 700);
	assert_int_equal(spendable(&t, 0), 0);
	assert_int_equal(t.balance_nano, 200);
	assert_false(weir_ceiling_hold(&t, 1, &left));
	assert_int_equal(left, 0);
	weir_ceiling_add(&t, 700, 700); /* it was not written */
	assert_int_equal(t.ceiling_nano, 1000);
	assert_int_equal(t.balance_nano, 900);
}

static void no_amount_wraps(void **state)
{
	struct weir_tenant t = { .ceiling_nano = -5, .reserved_nano = 0 };
	int64_t left;

	assert_false(weir_ceiling_hold(&t, INT64_MAX, &left));
	assert_int_equal(left, -5);
	t.ceiling_nano = INT64_MIN + 7; /* both have wrapped: 17 are left */
	t.reserved_nano = (uint64_t)INT64_MAX - 9;
	assert_false(weir_ceiling_hold(&t, 18, &left));
	assert_int_equal(left, 17);
	assert_true(weir_ceiling_hold(&t, 17, &left));
	assert_int_equal(spendable(&t, 0), 0);
}

#define CREDIT 200000
#define EACH   7

static struct weir_tenant shared;

/* Reserve, as bpf/admit.h does, until nothing is left: how much was that? */
static void *reserve(void *arg)
{
	int64_t *sum = arg;

	for (int misses = 0; misses < 100;) {
		uint64_t after = __atomic_add_fetch(&shared.reserved_nano, EACH, __ATOMIC_SEQ_CST);
		uint64_t ceiling =
			(uint64_t)__atomic_load_n(&shared.ceiling_nano, __ATOMIC_SEQ_CST);

		if ((int64_t)(ceiling - after) >= 0) {
			*sum += EACH;
			misses = 0;
			continue;
		}
		__atomic_sub_fetch(&shared.reserved_nano, EACH, __ATOMIC_SEQ_CST);
		misses++;
	}
	return NULL;
}

/* One writer holds at a time; every third is not written after all. */
static void *hold(void *arg)
{
	int64_t *sum = arg, left;

	for (int misses = 0, i = 0; misses < 100; i++) {
		if (!weir_ceiling_hold(&shared, EACH, &left)) {
			misses++;
		} else if (i % 3) {
			*sum += EACH;
			misses = 0;
		} else {
			weir_ceiling_add(&shared, EACH, EACH);
		}
	}
	return NULL;
}

static void deducts_and_requests_never_spend_the_same(void **state)
{
	pthread_t threads[4];
	int64_t sums[4], all;

	for (int round = 0; round < 20; round++) {
		memset(sums, 0, sizeof(sums));
		shared = (struct weir_tenant){ .ceiling_nano = CREDIT, .balance_nano = CREDIT };
		for (size_t i = 0; i < 4; i++)
			assert_int_equal(
				pthread_create(&threads[i], NULL, i ? reserve : hold, &sums[i]), 0);
		all = 0;
		for (size_t i = 0; i < 4; i++) {
			assert_int_equal(pthread_join(threads[i], NULL), 0);
			all += sums[i];
		}
		assert_true(all <= CREDIT);
		assert_true(all > CREDIT - 5 * EACH); /* and nothing is lost by a race */
		assert_int_equal(spendable(&shared, 0), CREDIT - all);
		assert_int_equal(shared.balance_nano, CREDIT - sums[0]);
	}
}

/* ------------------------------------------------- killed between two instructions */

#define NOW 5000

struct moved {
	const char *what;
	/* before: ceiling, and the expiry that is stored */
	int64_t ceiling;
	uint64_t expiry_ns;
	int64_t expiry_nano;
	struct weir_wallet_move move;
};

static const struct moved moves[] = {
	{ "usage that the consumer took already", 1000, 9000, 400, { 0, NOW, 9000, 350 } },
	{ "a deduct", 1000, 0, 0, { -600, NOW, 0, 0 } },
	{ "a grant that never expires", 1000, 0, 0, { 500, NOW, 0, 0 } },
	{ "a grant that expires first", 1000, 9000, 400, { 500, NOW, 8000, 500 } },
	{ "a grant that expires last", 1000, 8000, 400, { 500, NOW, 8000, 400 } },
	{ "a grant that expires with another", 1000, 8000, 400, { 500, NOW, 8000, 900 } },
	{ "an expiry, nothing behind it", 1000, 4000, 400, { -400, NOW, 0, 0 } },
	{ "an expiry at this very instant", 1000, NOW, 400, { -400, NOW, 7000, 50 } },
	{ "an expiry and a recurring grant", 1000, 4000, 400, { 600, NOW, 9000, 1000 } },
	{ "an expiry of less than was stored", 1000, 4000, 400, { -300, NOW, 9000, 10 } },
	{ "an expiry that came late, and the next one is due as well",
	  1000,
	  3000,
	  400,
	  { -400, NOW, 4000, 100 } },
};

/* At any instant: what there may be at most, of what is before and what is after. */
static void assert_nothing_is_made(const struct moved *m, const struct weir_tenant *before,
				   const struct weir_tenant *after, const struct weir_tenant *t)
{
	static const uint64_t instants[] = { NOW, NOW + 1, 6999, 7000, 7999, 8000, 8999, 9000 };

	for (size_t i = 0; i < sizeof(instants) / sizeof(*instants); i++) {
		int64_t was = spendable(before, instants[i]), is = spendable(after, instants[i]);
		int64_t now = spendable(t, instants[i]);

		if (now > (was > is ? was : is))
			fail_msg("%s: at %llu %lld can be spent, of %lld before and %lld after",
				 m->what, (unsigned long long)instants[i], (long long)now,
				 (long long)was, (long long)is);
	}
}

/* weir_wallet_moved in a process that is stopped after every instruction. */
static unsigned move_step_by_step(struct weir_tenant *t, const struct moved *m)
{
	struct weir_tenant before = *t, after = *t, last = *t;
	unsigned images = 0, steps = 0;
	pid_t pid;
	int status;

	weir_wallet_moved(&after, &m->move);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		weir_wallet_moved(t, &m->move);
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
			assert_nothing_is_made(m, &before, &after, t);
		}
	} while (WSTOPSIG(status) != SIGSTOP);
	assert_memory_equal(t, &after, sizeof(after));
	assert_int_equal(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return images;
}

static void a_kill_at_any_instruction_makes_no_credit(void **state)
{
	struct weir_tenant *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(t != MAP_FAILED);
	for (size_t i = 0; i < sizeof(moves) / sizeof(*moves); i++) {
		const struct moved *m = &moves[i];

		*t = (struct weir_tenant){ .ceiling_nano = m->ceiling,
					   .balance_nano = m->ceiling,
					   .expiry_wall_ns = m->expiry_ns,
					   .expiry_nano = m->expiry_nano };
		assert_true(move_step_by_step(t, m) > 0);
		assert_int_equal(t->ceiling_nano, m->ceiling + m->move.nano);
		assert_int_equal(t->balance_nano, m->ceiling + m->move.nano);
		assert_int_equal(t->expiry_wall_ns, m->move.expiry_wall_ns);
		assert_int_equal(t->expiry_nano, m->move.expiry_nano);
	}
	munmap(t, sizeof(*t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_left_can_be_held_and_no_more),
		cmocka_unit_test(no_amount_wraps),
		cmocka_unit_test(deducts_and_requests_never_spend_the_same),
		cmocka_unit_test(a_kill_at_any_instruction_makes_no_credit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
