// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the writer's thread: rows leave the queue only once they are
 * durable, groups are bounded in rows and time, nothing is dropped when the disk
 * fails, and it goes on by itself.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "agent/writer.h"

#define HOUR (3600 * SECOND)

/* A queue, and what the writer has told. */
struct bench {
	struct fixture *f;
	struct weir_writer *w;
	pthread_mutex_t lock;
	pthread_cond_t told;
	struct weir_row rows[20000];
	size_t head, tail; /* popped, put */
	size_t commits;
	uint64_t newest;
	bool ill;
	bool popped_early;
	int call_from_commit;
};

static const struct weir_row *peek(void *ctx, size_t *n)
{
	struct bench *b = ctx;
	size_t there;

	pthread_mutex_lock(&b->lock);
	there = b->tail - b->head;
	pthread_mutex_unlock(&b->lock);
	*n = there < *n ? there : *n;
	return &b->rows[b->head];
}

static void pop(void *ctx, size_t n)
{
	struct bench *b = ctx;

	pthread_mutex_lock(&b->lock);
	b->head += n;
	/* Every popped row is in the ledger. */
	if (weir_ledger_newest(b->f->l) < b->head)
		b->popped_early = true;
	pthread_mutex_unlock(&b->lock);
}

static size_t waiting(void *ctx)
{
	struct bench *b = ctx;
	size_t n;

	pthread_mutex_lock(&b->lock);
	n = b->tail - b->head;
	pthread_mutex_unlock(&b->lock);
	return n;
}

static int nothing(struct weir_ledger *l, void *arg)
{
	return 0;
}

static void on_commit(void *ctx, struct weir_ledger *l, uint64_t newest)
{
	struct bench *b = ctx;
	struct weir_writer *w;
	int ret;

	pthread_mutex_lock(&b->lock);
	w = b->w;
	pthread_mutex_unlock(&b->lock);
	ret = w ? weir_writer_call(w, nothing, NULL) : 0;
	pthread_mutex_lock(&b->lock);
	b->call_from_commit = ret;
	b->commits++;
	b->newest = newest;
	pthread_cond_broadcast(&b->told);
	pthread_mutex_unlock(&b->lock);
}

static void on_health(void *ctx, const char *error)
{
	struct bench *b = ctx;

	pthread_mutex_lock(&b->lock);
	b->ill = error;
	pthread_cond_broadcast(&b->told);
	pthread_mutex_unlock(&b->lock);
}

static struct bench *start(struct fixture *f, struct weir_writer_options o)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct weir_row_source src = { peek, pop, waiting, b };
	struct weir_writer *w;

	assert_non_null(b);
	b->f = f;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->told, NULL);
	o.on_commit = on_commit;
	o.on_health = on_health;
	o.ctx = b;
	ok(f, weir_writer_start(f->l, &src, &o, &w, &f->err));
	pthread_mutex_lock(&b->lock);
	b->w = w;
	pthread_mutex_unlock(&b->lock);
	return b;
}

static void put(struct bench *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct weir_row r = make_row(b->f, b->f->acme, b->f->t0 + i, "0.5");

		pthread_mutex_lock(&b->lock);
		b->rows[b->tail++] = r;
		pthread_mutex_unlock(&b->lock);
		weir_writer_kick(b->w);
	}
}

/* So that no look at the queue falls in between. */
static void put_at_once(struct bench *b, size_t n)
{
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < n; i++)
		b->rows[b->tail++] = make_row(b->f, b->f->acme, b->f->t0 + i, "0.5");
	pthread_mutex_unlock(&b->lock);
	weir_writer_kick(b->w);
}

static void await_newest(struct bench *b, uint64_t seq)
{
	pthread_mutex_lock(&b->lock);
	while (b->newest < seq)
		pthread_cond_wait(&b->told, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

static void await_health(struct bench *b, bool ill)
{
	pthread_mutex_lock(&b->lock);
	while (b->ill != ill)
		pthread_cond_wait(&b->told, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

static void stop(struct bench *b)
{
	weir_writer_stop(b->w);
	assert_false(b->popped_early);
	pthread_cond_destroy(&b->told);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

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

struct asked {
	struct weir_op g;
	uint64_t seq;
	pthread_t by;
};

static int grant_call(struct weir_ledger *l, void *arg)
{
	struct asked *a = arg;
	struct weir_error err;
	struct weir_done done = { 0 };
	int r;

	a->by = pthread_self();
	r = weir_ledger_post(l, &a->g, weir_wall_ns(), &done, &err);
	a->seq = done.seq;
	return r;
}

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

/* -------------------------------------------------------------------- the time */

static void await_commits(struct bench *b, size_t n)
{
	pthread_mutex_lock(&b->lock);
	while (b->commits < n)
		pthread_cond_wait(&b->told, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

/* Credit that expires, at an instant the writer is to find by itself. */
static void grant_until(struct bench *b, const char *key, uint64_t expires_ns)
{
	struct asked a = { .g = make_grant(b->f->acme, key, "5") };

	a.g.expires_ns = expires_ns;
	assert_int_equal(weir_writer_call(b->w, grant_call, &a), 0);
}

static void what_falls_due_is_entered_at_its_instant(void **state)
{
	struct fixture *f = *state;
	struct bench *b = start(f, (struct weir_writer_options){ 0 });
	uint64_t first = weir_wall_ns() + SECOND / 10, second = first + SECOND / 20;
	struct kept *k;

	grant_until(b, "far", first + HOUR);
	weir_writer_keep_time(b->w);
	/* The alarm is set to another time when something comes that is due before. */
	grant_until(b, "second", second);
	grant_until(b, "first", first);
	await_commits(b, 5);
	stop(b);
	k = all(f);
	assert_int_equal(k->n, 5); /* three grants, two expiries, and nothing in between */
	assert_int_equal(k->e[3].kind, WEIR_ENTRY_EXPIRE);
	assert_int_equal(k->e[3].time_ns, first);
	assert_int_equal(k->e[4].kind, WEIR_ENTRY_EXPIRE);
	assert_int_equal(k->e[4].time_ns, second);
	assert_balance(f, f->acme, "5");
	assert_verifies(f);
}

static int next_due(struct weir_ledger *l, void *arg)
{
	*(uint64_t *)arg = weir_ledger_next_due(l);
	return 0;
}

/* Or the alarm would ring for ever, and the thread never sleep. */
static void what_falls_due_without_an_entry_is_past_too(void **state)
{
	struct fixture *f = *state;
	struct weir_op used = make_grant(f->acme, "used", "5");
	struct weir_op voided = make_grant(f->beta, "voided", "5");
	struct weir_op later = make_grant(f->beta, "later", "5");
	struct weir_op undo = make_op(f->beta, WEIR_ENTRY_VOID, "undo", "0");
	uint64_t soon = f->t0 + SECOND / 10, due = 0;
	struct weir_row row;
	struct bench *b;

	used.expires_ns = voided.expires_ns = soon;
	later.effective_ns = soon;
	later.expires_ns = soon + HOUR;
	post_at(f, &used, f->t0);
	undo.of = post_at(f, &voided, f->t0);
	post_at(f, &undo, f->t0);
	row = make_row(f, f->acme, f->t0, "5");
	row.ended_wall_ns = f->t0;
	append(f, &row, 1);
	undo.of = post_at(f, &later, f->t0);
	snprintf(undo.key, sizeof(undo.key), "undo it too");
	post_at(f, &undo, f->t0);
	b = start(f, (struct weir_writer_options){ 0 });
	weir_writer_keep_time(b->w);
	while (weir_wall_ns() <= soon)
		usleep(1000);
	/* Behind the look at what is due that comes with the call. */
	for (int i = 0; i < 2; i++)
		assert_int_equal(weir_writer_call(b->w, next_due, &due), 0);
	assert_true(due > weir_wall_ns());
	assert_int_equal(weir_ledger_newest(f->l), 6);
	stop(b);
	assert_verifies(f);
}

/* What an earlier run left comes first. */
static void nothing_falls_due_before_time_is_kept(void **state)
{
	struct fixture *f = *state;
	struct weir_op g = make_grant(f->acme, "k", "5");
	struct bench *b;

	g.expires_ns = f->t0 + 1000;
	post_at(f, &g, f->t0);
	b = start(f, (struct weir_writer_options){ .group_ns = SECOND / 1000 });
	for (int i = 0; i < 3; i++)
		assert_int_equal(weir_writer_call(b->w, nothing, NULL), 0);
	assert_int_equal(weir_ledger_newest(f->l), 1);
	weir_writer_keep_time(b->w);
	await_newest(b, 2);
	stop(b);
	assert_balance(f, f->acme, "0");
}

/* ---------------------------------------------------------------------- faults */

static void what_is_due_waits_for_a_disk_that_fails(void **state)
{
	struct fixture *f = *state;
	struct weir_writer_options o = { .retry_ns = SECOND / 1000, .retry_max_ns = SECOND / 100 };
	struct weir_op g = make_grant(f->acme, "k", "5");
	struct rlimit old, none;
	struct bench *b;

	g.expires_ns = f->t0 + 1000;
	post_at(f, &g, f->t0);
	b = start(f, o);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	none = (struct rlimit){ 0, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &none);
	weir_writer_keep_time(b->w);
	await_health(b, true);
	assert_int_equal(weir_ledger_newest(f->l), 1);
	setrlimit(RLIMIT_FSIZE, &old);
	await_health(b, false);
	await_newest(b, 2);
	stop(b);
	assert_balance(f, f->acme, "0");
	assert_verifies(f);
}

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
		TEST(what_falls_due_is_entered_at_its_instant),
		TEST(what_falls_due_without_an_entry_is_past_too),
		TEST(nothing_falls_due_before_time_is_kept),
		TEST(what_is_due_waits_for_a_disk_that_fails),
		TEST(a_disk_that_fails_loses_nothing),
		TEST(a_disk_that_stays_full_does_not_hold_up_the_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
