// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the writer's thread: rows leave the queue only once they are
 * durable, groups are bounded in rows and time, nothing is dropped when the disk
 * fails, and it goes on by itself.
 */
#include "tests/unit/writer_fixture.h"

#include <sched.h>
#include <stdatomic.h>

static void rows_are_committed_and_told(void **state)
{
	struct fixture *f = *state;
	struct bench *b = start(f, (struct weir_writer_options){ 0 });
	struct weir_writer_stats s;

	for (uint64_t i = 1; i <= 20; i++) {
		put(b, 1);
		await_newest(b, i);
	}
	weir_writer_stats(b->w, &s);
	assert_true(s.healthy);
	assert_int_equal(s.rows, 20);
	assert_int_equal(s.newest_seq, 20);
	assert_int_equal(s.waiting, 0);
	assert_true(s.last_commit_ns > 0);
	assert_string_equal(s.error, "");
	stop(b);
	assert_balance(f, f->acme, "-10");
	assert_verifies(f);
}

static void a_full_group_does_not_wait(void **state)
{
	struct fixture *f = *state;
	struct weir_writer_options o = { .group_ns = HOUR, .group_rows = 50 };
	struct bench *b = start(f, o);

	put_at_once(b, 120);
	await_newest(b, 100);
	pthread_mutex_lock(&b->lock);
	assert_int_equal(b->newest, 100);
	assert_int_equal(b->tail - b->head, 20); /* the rest waits for more */
	pthread_mutex_unlock(&b->lock);
	stop(b); /* which does not */
	assert_int_equal(weir_ledger_newest(f->l), 120);
}

static void rows_of_a_moment_share_a_commit(void **state)
{
	struct fixture *f = *state;
	struct weir_writer_stats s;
	struct bench *b = start(f, (struct weir_writer_options){ .group_ns = SECOND / 50 });

	put_at_once(b, 1000);
	await_newest(b, 1000);
	weir_writer_stats(b->w, &s);
	assert_int_equal(s.groups, 1);
	stop(b);
}

static void what_waits_at_the_stop_is_committed(void **state)
{
	struct fixture *f = *state;
	struct bench *b = start(f, (struct weir_writer_options){ .group_ns = HOUR });

	put(b, 9000); /* three groups */
	stop(b);
	assert_int_equal(weir_ledger_newest(f->l), 9000);
	assert_verifies(f);
}

static void rows_there_before_the_start_are_taken(void **state)
{
	struct fixture *f = *state;
	struct bench *b = calloc(1, sizeof(*b));
	struct weir_row_source src = { peek, pop, NULL, b };
	struct weir_row again = make_row(f, f->acme, f->t0, "0.5");

	assert_non_null(b);
	append(f, &again, 1); /* committed, but the agent died before it could pop */
	b->f = f;
	b->rows[0] = again;
	b->rows[1] = make_row(f, f->acme, f->t0, "0.5");
	b->tail = 2;
	pthread_mutex_init(&b->lock, NULL);
	ok(f, weir_writer_start(f->l, &src, NULL, &b->w, &f->err));
	weir_writer_stop(b->w);
	assert_int_equal(b->head, 2);
	assert_int_equal(weir_ledger_newest(f->l), 2);
	assert_balance(f, f->acme, "-1");
	free(b);
}

/* ----------------------------------------------------------------------- calls */

static void a_call_runs_in_the_writers_thread_and_answers(void **state)
{
	struct fixture *f = *state;
	struct asked a = { .g = make_grant(f->acme, "k", "5") };
	struct bench *b = start(f, (struct weir_writer_options){ 0 });

	assert_int_equal(weir_writer_call(b->w, grant_call, &a), 0);
	assert_int_equal(a.seq, 1);
	assert_false(pthread_equal(a.by, pthread_self()));
	/* The commit was told before the answer. */
	pthread_mutex_lock(&b->lock);
	assert_int_equal(b->newest, 1);
	assert_int_equal(b->call_from_commit, -EDEADLK); /* and not hung */
	pthread_mutex_unlock(&b->lock);
	a.g.amount_nano++;
	assert_int_equal(weir_writer_call(b->w, grant_call, &a), -EEXIST);
	stop(b);
}

static void *many_calls(void *arg)
{
	struct bench *b = arg;
	struct asked a = { .g = make_grant(b->f->acme, "", "1") };

	for (int i = 0; i < 40; i++) {
		snprintf(a.g.key, sizeof(a.g.key), "%lx-%d", (unsigned long)pthread_self(), i);
		if (weir_writer_call(b->w, grant_call, &a))
			return b;
	}
	return NULL;
}

static void calls_from_many_threads_and_rows_go_together(void **state)
{
	struct fixture *f = *state;
	struct bench *b = start(f, (struct weir_writer_options){ .group_ns = SECOND / 1000 });
	pthread_t t[4];
	void *bad;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many_calls, b), 0);
	put(b, 500);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	await_newest(b, 660);
	stop(b);
	assert_balance(f, f->acme, "-90"); /* 160 granted, 250 spent */
	assert_verifies(f);
}

/* ---------------------------------------------------------------------- faults */

static void a_disk_that_fails_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct weir_writer_options o = { .group_ns = SECOND / 1000,
					 .retry_ns = SECOND / 1000,
					 .retry_max_ns = SECOND / 100 };
	struct bench *b = start(f, o);
	struct weir_writer_stats s;
	struct rlimit old, none;

	put(b, 10);
	await_newest(b, 10);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	none = (struct rlimit){ 4096, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &none);
	put(b, 3000);
	await_health(b, true);
	weir_writer_stats(b->w, &s);
	assert_false(s.healthy);
	assert_non_null(strstr(s.error, f->path));
	/* What came after the last good group is all there still. */
	assert_int_equal(s.waiting + s.newest_seq, 3010);
	assert_true(s.waiting > 0);
	setrlimit(RLIMIT_FSIZE, &old);
	await_health(b, false);
	await_newest(b, 3010);
	weir_writer_stats(b->w, &s);
	assert_true(s.healthy);
	assert_int_equal(s.known, 0);
	stop(b);
	assert_balance(f, f->acme, "-1505");
	assert_verifies(f);
}

static void a_disk_that_stays_full_does_not_hold_up_the_stop(void **state)
{
	struct fixture *f = *state;
	struct bench *b = start(f, (struct weir_writer_options){ .group_ns = SECOND / 1000 });
	struct rlimit old, none;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	none = (struct rlimit){ 0, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &none);
	put(b, 10);
	await_health(b, true);
	weir_writer_stop(b->w);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(b->head, 0); /* they stay where they survive the agent */
	assert_int_equal(weir_ledger_newest(f->l), 0);
	free(b);
}

/* Nothing is to be written but what somebody does now and then. */
struct chore {
	atomic_int done;
	atomic_bool fails;
};

static struct chore chore;

static int do_chore(void *ctx, struct weir_ledger *l, struct weir_error *err)
{
	if (atomic_load(&chore.fails))
		return weir_fail(err, EIO, "no disk");
	atomic_fetch_add(&chore.done, 1);
	return 0;
}

static void an_outage_is_known_without_rows_and_ends_without_them(void **state)
{
	struct fixture *f = *state;
	struct weir_writer_options o = { .chore = do_chore,
					 .chore_ns = SECOND / 100,
					 .retry_ns = SECOND / 1000,
					 .retry_max_ns = SECOND / 100 };
	struct bench *b = start(f, o);
	struct weir_writer_stats s;

	while (atomic_load(&chore.done) < 3)
		sched_yield();
	assert_int_equal(weir_writer_ill_ns(b->w), 0);
	atomic_store(&chore.fails, true);
	await_health(b, true);
	weir_writer_stats(b->w, &s);
	assert_string_equal(s.error, "no disk");
	assert_true(s.ill_since_ns >= f->t0 && s.ill_since_ns <= weir_wall_ns());
	assert_true(weir_writer_ill_ns(b->w) > 0);
	atomic_store(&chore.fails, false);
	await_health(b, false);
	weir_writer_stats(b->w, &s);
	assert_int_equal(s.failures, 1);
	assert_int_equal(s.ill_since_ns, 0);
	assert_int_equal(weir_writer_ill_ns(b->w), 0);
	stop(b);
}

/* What somebody else could write is a sign that rows can be too: they do not wait for their turn.
 */
static void a_call_that_works_ends_the_wait(void **state)
{
	struct fixture *f = *state;
	struct weir_writer_options o = { .group_ns = SECOND / 1000, .retry_ns = HOUR };
	struct asked a = { .g = make_grant(f->acme, "k", "5") };
	struct bench *b = start(f, o);
	struct rlimit old, none;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	none = (struct rlimit){ 0, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &none);
	put(b, 10);
	await_health(b, true);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(weir_writer_call(b->w, grant_call, &a), 0);
	await_health(b, false);
	await_newest(b, 11);
	stop(b);
}

static void when_the_room_ends_is_told_by_the_rate(void **state)
{
	struct weir_writer_stats s = { .ill_since_ns = 100 * SECOND, .ill_waiting = 50 };

	s.waiting = 150; /* 100 rows in 20 s */
	assert_int_equal(weir_writer_full_in_s(&s, 1000, 120 * SECOND), 200);
	assert_int_equal(weir_writer_full_in_s(&s, 0, 120 * SECOND), 0);
	assert_int_equal(weir_writer_full_in_s(&s, UINT64_MAX, 120 * SECOND),
			 UINT64_MAX / 100 * 20 + 3);
	s.waiting = 50;
	assert_int_equal(weir_writer_full_in_s(&s, 1000, 120 * SECOND), UINT64_MAX);
	s.waiting = 150;
	s.healthy = true;
	assert_int_equal(weir_writer_full_in_s(&s, 1000, 120 * SECOND), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_are_committed_and_told),
		TEST(a_full_group_does_not_wait),
		TEST(rows_of_a_moment_share_a_commit),
		TEST(what_waits_at_the_stop_is_committed),
		TEST(rows_there_before_the_start_are_taken),
		TEST(a_call_runs_in_the_writers_thread_and_answers),
		TEST(calls_from_many_threads_and_rows_go_together),
		TEST(a_disk_that_fails_loses_nothing),
		TEST(a_disk_that_stays_full_does_not_hold_up_the_stop),
		TEST(an_outage_is_known_without_rows_and_ends_without_them),
		TEST(a_call_that_works_ends_the_wait),
		cmocka_unit_test(when_the_room_ends_is_told_by_the_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
