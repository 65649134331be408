// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the writer's clock: what falls due is entered at its instant, by itself, and
 * nothing else wakes it.
 */
#include "tests/unit/writer_fixture.h"

#include "agent/clock.h"

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

/* ------------------------------------------------------------ a step that is held */

static _Atomic int64_t set_ns; /* how far CLOCK_REALTIME is set wrong */
static _Atomic int synchronised;

static uint64_t now_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t get_real(void)
{
	return now_of(CLOCK_REALTIME) + (uint64_t)set_ns;
}

static uint64_t get_boot(void)
{
	return now_of(CLOCK_BOOTTIME);
}

static int get_synchronised(void)
{
	return synchronised;
}

/* A writer whose clock was that much ahead of the kernel's, which was then put right: the kernel's
 * alarm is by that. Nobody synchronises it. */
static struct bench *start_held(struct fixture *f, int64_t ahead_ns)
{
	static const struct weir_clock_source source = { get_real, get_boot, get_synchronised };
	struct bench *b;

	set_ns = ahead_ns;
	synchronised = 0;
	weir_clock_use(&source);
	weir_clock_tick();
	b = start(f, (struct weir_writer_options){ 0 });
	weir_writer_keep_time(b->w);
	set_ns = 0;
	weir_clock_tick();
	return b;
}

static void while_a_step_is_held_the_alarm_rings_by_the_old_time(void **state)
{
	struct fixture *f = *state;
	struct bench *b = start_held(f, 5 * (int64_t)HOUR);
	uint64_t soon = weir_wall_ns() + SECOND / 10;
	struct kept *k;

	assert_true(soon > now_of(CLOCK_REALTIME) + 4 * HOUR);
	grant_until(b, "later", soon + HOUR);
	grant_until(b, "soon", soon);
	await_commits(b, 3);
	stop(b);
	weir_clock_use(NULL);
	k = all(f);
	assert_int_equal(k->n, 3);
	assert_int_equal(k->e[2].kind, WEIR_ENTRY_EXPIRE);
	assert_int_equal(k->e[2].time_ns, soon);
	assert_verifies(f);
}

static void once_the_new_time_is_followed_what_it_has_passed_is_due(void **state)
{
	struct fixture *f = *state;
	struct bench *b = start_held(f, -5 * (int64_t)HOUR);
	uint64_t due = weir_wall_ns() + HOUR;
	struct kept *k;

	grant_until(b, "k", due);
	assert_int_equal(weir_writer_call(b->w, nothing, NULL), 0);
	assert_int_equal(weir_ledger_newest(f->l), 1);
	synchronised = 1;
	assert_true(weir_clock_tick());
	weir_writer_keep_time(b->w);
	await_commits(b, 2);
	stop(b);
	weir_clock_use(NULL);
	k = all(f);
	assert_int_equal(k->n, 2);
	assert_int_equal(k->e[1].time_ns, due);
	assert_balance(f, f->acme, "0");
	assert_verifies(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_falls_due_is_entered_at_its_instant),
		TEST(what_falls_due_without_an_entry_is_past_too),
		TEST(nothing_falls_due_before_time_is_kept),
		TEST(what_is_due_waits_for_a_disk_that_fails),
		TEST(while_a_step_is_held_the_alarm_rings_by_the_old_time),
		TEST(once_the_new_time_is_followed_what_it_has_passed_is_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
