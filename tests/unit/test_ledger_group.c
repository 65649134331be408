/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about what is asked for together: weir_ledger_post_all. */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <sqlite3.h>

#define N 5

static struct weir_post asked(const struct fixture *f, const char *key, int64_t quantity)
{
	struct weir_post p = { .op = { .kind = WEIR_ENTRY_METER,
				       .tenant = f->acme,
				       .wallet = f->acme,
				       .quantity_nano = quantity * 1000000000,
				       .started_ns = f->t0,
				       .flags = WEIR_OP_UNPRICED | WEIR_OP_POSTED } };

	strcpy(p.op.dimension, "storage_gb");
	strcpy(p.op.key, key);
	strcpy(p.op.actor, "test");
	return p;
}

static struct weir_post given(const struct fixture *f, const char *key, const char *credits)
{
	struct weir_post p = { .op = make_grant(f->acme, key, credits) };

	return p;
}

static void fill(const struct fixture *f, struct weir_post p[static N])
{
	p[0] = asked(f, "a", 1);
	p[1] = given(f, "b", "7");
	p[2] = asked(f, "c", 2);
	p[3] = given(f, "d", "0.5");
	p[4] = asked(f, "e", 3);
}

/* A file written in one commit says the same as one that was written in many. */
static void a_group_makes_the_entries_that_one_by_one_would(void **state)
{
	struct fixture *f = *state, *g = NULL;
	struct weir_post p[N];
	uint64_t now = f->t0 + SECOND;

	assert_int_equal(fixture_up((void **)&g), 0);
	fill(f, p);
	ok(f, weir_ledger_post_all(f->l, p, N, now, &f->err));
	for (size_t i = 0; i < N; i++) {
		struct weir_done d;

		ok(g, weir_ledger_post(g->l, &p[i].op, now, &d, &g->err));
		assert_int_equal(p[i].ret, 0);
		assert_int_equal(p[i].done.seq, d.seq);
		assert_memory_equal(&p[i].done.id, &d.id, sizeof(d.id));
		assert_int_equal(p[i].done.amount_nano, d.amount_nano);
		assert_int_equal(p[i].done.balance_nano, d.balance_nano);
		assert_false(p[i].done.repeated);
	}
	assert_balance(f, f->acme, "7.5");
	assert_balance(g, g->acme, "7.5");
	assert_verifies(f);
	assert_int_equal(fixture_down((void **)&g), 0);
}

static void what_was_there_before_is_told_as_that(void **state)
{
	struct fixture *f = *state;
	struct weir_post p[N], again[3];

	fill(f, p);
	ok(f, weir_ledger_post_all(f->l, p, N, f->t0, &f->err));
	/* One of the group before, and one twice in this one. */
	again[0] = asked(f, "c", 2);
	again[1] = asked(f, "new", 2);
	again[2] = asked(f, "new", 2);
	ok(f, weir_ledger_post_all(f->l, again, 3, f->t0 + SECOND, &f->err));
	assert_true(again[0].done.repeated);
	assert_int_equal(again[0].done.seq, p[2].done.seq);
	assert_false(again[1].done.repeated);
	assert_true(again[2].done.repeated);
	assert_int_equal(again[2].done.seq, again[1].done.seq);
	assert_int_equal(weir_ledger_newest(f->l), N + 1);
	assert_verifies(f);
}

static void one_that_makes_no_sense_holds_up_no_other(void **state)
{
	struct fixture *f = *state;
	struct weir_post p[N];

	fill(f, p);
	p[0].op.quantity_nano = 0;
	p[1].op.tenant = p[1].op.wallet = 99;
	p[2].ret = -EPROTO; /* left out */
	p[3].op.amount_nano = INT64_MAX;
	ok(f, weir_ledger_post_all(f->l, p, N, f->t0, &f->err));
	assert_int_equal(p[0].ret, -EINVAL);
	assert_non_null(strstr(p[0].err.text, "\"a\": the quantity must be above 0"));
	assert_int_equal(p[1].ret, -ENOENT);
	assert_non_null(strstr(p[1].err.text, "no such tenant"));
	assert_int_equal(p[2].ret, -EPROTO);
	assert_int_equal(p[3].ret, 0);
	assert_int_equal(p[4].ret, 0);
	/* Now there is so much that no more fits. */
	p[0] = given(f, "more", "9223372036");
	p[1] = asked(f, "e", 4); /* "e" was 3 */
	p[2] = asked(f, "last", 1);
	ok(f, weir_ledger_post_all(f->l, p, 3, f->t0, &f->err));
	assert_int_equal(p[0].ret, -ERANGE);
	assert_int_equal(p[1].ret, -EEXIST);
	assert_non_null(strstr(p[1].err.text, "was used for another write"));
	assert_int_equal(p[2].ret, 0);
	assert_int_equal(weir_ledger_newest(f->l), 3);
	assert_verifies(f);
}

static void exec(const struct fixture *f, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void if_one_cannot_be_written_none_is(void **state)
{
	struct fixture *f = *state;
	struct weir_post p[N];

	fill(f, p);
	p[0].op.quantity_nano = 0; /* its own fault: it is not said of a group that is none */
	exec(f, "CREATE TRIGGER boom BEFORE INSERT ON write WHEN new.key = 'd' BEGIN SELECT "
		"RAISE(ABORT, 'boom'); END");
	assert_true(weir_ledger_post_all(f->l, p, N, f->t0, &f->err) < 0);
	assert_non_null(strstr(f->err.text, "boom"));
	for (size_t i = 0; i < N; i++)
		assert_int_equal(p[i].ret, 0);
	assert_int_equal(weir_ledger_newest(f->l), 0);
	assert_balance(f, f->acme, "0");
	exec(f, "DROP TRIGGER boom");
	ok(f, weir_ledger_post_all(f->l, p, N, f->t0, &f->err));
	assert_int_equal(p[0].ret, -EINVAL);
	assert_int_equal(weir_ledger_newest(f->l), N - 1);
	assert_balance(f, f->acme, "7.5");
	assert_verifies(f);
}

static void a_group_of_none_writes_nothing(void **state)
{
	struct fixture *f = *state;

	ok(f, weir_ledger_post_all(f->l, NULL, 0, f->t0, &f->err));
	assert_int_equal(weir_ledger_newest(f->l), 0);
	assert_verifies(f);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, fixture_up, fixture_down)
	const struct CMUnitTest tests[] = {
		CLAIM(a_group_makes_the_entries_that_one_by_one_would),
		CLAIM(what_was_there_before_is_told_as_that),
		CLAIM(one_that_makes_no_sense_holds_up_no_other),
		CLAIM(if_one_cannot_be_written_none_is),
		CLAIM(a_group_of_none_writes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
