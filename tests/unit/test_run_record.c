// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what a start says of how the last run ended.
 */
#include "tests/unit/ledger_fixture.h"

#include "agent/run_record.h"

#define T(n) ((uint64_t)(n)*SECOND)

struct seen {
	struct weir_run run;
	enum weir_run_last last;
	struct weir_run_gap gap;
};

/* An agent starts at T(n), on that boot. */
static struct seen begin(struct fixture *f, const char *boot, uint64_t n, bool maps_are_new)
{
	struct seen s = { .run = { .started_ns = T(n), .maps_are_new = maps_are_new } };

	strcpy(s.run.boot, boot);
	ok(f, weir_run_begin(f->l, &s.run, &s.last, &s.gap, &f->err));
	assert_true(s.run.seq);
	return s;
}

static void alive(struct fixture *f, const struct seen *s, uint64_t n, uint64_t open)
{
	ok(f, weir_run_alive(f->l, &s->run, open, T(n), &f->err));
	reopen(f); /* it is on disk */
}

static void end(struct fixture *f, const struct seen *s, uint64_t n, bool kept)
{
	ok(f, weir_run_end(f->l, &s->run, kept, 0, T(n), &f->err));
}

static void assert_gap(const struct weir_run_gap *g, uint64_t from, uint64_t to, uint64_t open)
{
	assert_true(g->any);
	assert_int_equal(g->from_ns, T(from));
	assert_int_equal(g->to_ns, T(to));
	assert_int_equal(g->open, open);
}

static void the_first_and_a_clean_start_have_nothing_to_say(void **state)
{
	struct fixture *f = *state;
	struct seen s = begin(f, "a", 10, true);

	assert_int_equal(s.last, WEIR_RUN_FIRST);
	assert_false(s.gap.any);
	end(f, &s, 20, false);
	s = begin(f, "b", 30, true); /* the machine was restarted in between: nothing ran */
	assert_int_equal(s.last, WEIR_RUN_ENDED);
	assert_false(s.gap.any);
}

static void an_agent_that_was_killed_alone_lost_nothing(void **state)
{
	struct fixture *f = *state;
	struct seen s = begin(f, "a", 10, true);

	alive(f, &s, 20, 7);
	s = begin(f, "a", 22, false);
	assert_int_equal(s.last, WEIR_RUN_KILLED);
	assert_false(s.gap.any);
}

static void a_power_loss_says_from_when_to_when_until_a_clean_start(void **state)
{
	struct fixture *f = *state;
	struct seen s = begin(f, "a", 10, true);

	alive(f, &s, 20, 7);
	s = begin(f, "b", 50, true);
	assert_int_equal(s.last, WEIR_RUN_POWER);
	assert_gap(&s.gap, 20, 50, 7);
	assert_true(s.gap.power_loss);
	/* A kill -9 afterwards is no end of it. */
	s = begin(f, "b", 60, false);
	assert_int_equal(s.last, WEIR_RUN_KILLED);
	assert_gap(&s.gap, 20, 50, 7);
	end(f, &s, 70, true);
	s = begin(f, "b", 80, false);
	assert_int_equal(s.last, WEIR_RUN_ENDED);
	assert_false(s.gap.any);
}

static void limits_that_were_kept_go_down_with_the_machine(void **state)
{
	struct fixture *f = *state;
	struct seen s = begin(f, "a", 10, true);

	end(f, &s, 20, true);
	s = begin(f, "b", 30, true);
	assert_int_equal(s.last, WEIR_RUN_POWER);
	assert_gap(&s.gap, 20, 30, 0);
}

static void memory_that_was_removed_is_no_power_loss(void **state)
{
	struct fixture *f = *state;
	struct seen s = begin(f, "a", 10, true);

	alive(f, &s, 20, 3);
	s = begin(f, "a", 30, true);
	assert_int_equal(s.last, WEIR_RUN_TAKEN);
	assert_gap(&s.gap, 20, 30, 3);
	assert_false(s.gap.power_loss);
}

static void a_start_that_failed_is_none(void **state)
{
	struct fixture *f = *state;
	struct seen s = begin(f, "a", 10, true);

	end(f, &s, 20, false);
	s = begin(f, "a", 30, true);
	ok(f, weir_run_forget(f->l, &s.run, &f->err));
	s = begin(f, "a", 40, true);
	assert_int_equal(s.last, WEIR_RUN_ENDED);
}

/* What its runs say is of a time that this ledger knows nothing of. */
static void a_database_that_was_put_back_has_no_past(void **state)
{
	struct fixture *f = *state;
	struct seen s = begin(f, "a", 10, true);

	alive(f, &s, 20, 3);
	assert_int_equal(sql(f, "INSERT INTO restored VALUES"
				" (1, 25000000000, 1, 1, zeroblob(32), 0, '')"),
			 SQLITE_OK);
	s = begin(f, "b", 30, true);
	assert_int_equal(s.last, WEIR_RUN_FIRST);
	assert_false(s.gap.any);
	alive(f, &s, 40, 5);
	s = begin(f, "c", 50, true);
	assert_gap(&s.gap, 40, 50, 5);
}

static void old_runs_are_forgotten(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;
	int n = 0;

	assert_int_equal(sql(f,
			     "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c"
			     " WHERE i < 1500) INSERT INTO run SELECT i, 'a', 1, '1', i, i, i, 0,"
			     " 0 FROM c"),
			 SQLITE_OK);
	begin(f, "a", 10, true);
	ok(f, weir_store_open(f->path, &db, &f->err));
	ok(f, weir_store_int(db, "SELECT count(*) FROM run", &n, &f->err));
	weir_store_close(db);
	assert_int_equal(n, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_and_a_clean_start_have_nothing_to_say),
		TEST(an_agent_that_was_killed_alone_lost_nothing),
		TEST(a_power_loss_says_from_when_to_when_until_a_clean_start),
		TEST(limits_that_were_kept_go_down_with_the_machine),
		TEST(memory_that_was_removed_is_no_power_loss),
		TEST(a_start_that_failed_is_none),
		TEST(a_database_that_was_put_back_has_no_past),
		TEST(old_runs_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
