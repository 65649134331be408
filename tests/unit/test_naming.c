// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what an event takes from the ledger: an entry keeps the names that held when it was
 * made, whoever asks and whenever; and the entry before it in its lane, over sealed months too.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <ftw.h>

#include "agent/event.h"
#include "agent/ledger_keep.h"
#include "agent/ledger_log.h"
#include "agent/naming.h"
#include "agent/policy.h"

#define ALL_USAGE (1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER)
#define ALERTS	  (1u << WEIR_ENTRY_TOP_UP)

/* A policy of which only the tree matters. */
static struct weir_policy *tree(struct weir_tenant_policy *tenants, size_t n, uint64_t serial)
{
	static struct weir_policy p;

	p = (struct weir_policy){ .tenants = tenants, .n_tenants = n, .serial = serial };
	return &p;
}

static struct weir_tenant_policy flat[] = { { .name = "acme" }, { .name = "beta" } };
static struct weir_tenant_policy below[] = { { .name = "acme", .parent = "beta" },
					     { .name = "beta" } };
static const char *const llm[] = { NULL, "llm" }, *const chat[] = { NULL, "chat", "embed" };

static void note(struct fixture *f, const char *const *services, size_t n, struct weir_policy *p)
{
	struct weir_naming *naming;

	ok(f, weir_naming_new(f->l, &naming, &f->err));
	ok(f, weir_naming_put(naming, f->l, services, n, p, &f->err));
	weir_naming_free(naming);
}

static void assert_named(struct fixture *f, struct weir_reader *rd, enum weir_named kind,
			 uint32_t number, uint64_t seq, const char *is)
{
	const char *text = "";

	ok(f, weir_reader_named(rd, kind, number, seq, &text, &f->err));
	if (is)
		assert_string_equal(text, is);
	else
		assert_null(text);
}

static int64_t rows(struct fixture *f)
{
	struct weir_reader *rd = reader(f);
	sqlite3_stmt *st;
	sqlite3 *db;
	int64_t n;

	weir_reader_close(rd);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM named", -1, &st, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

static void an_entry_keeps_the_names_of_its_time(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd = reader(f);

	give(f, f->acme, "a", "1"); /* 1 */
	note(f, llm, 2, tree(flat, 2, 1));
	assert_int_equal(rows(f), 1);	 /* who is at the top needs none */
	spend(f, f->acme, f->t0, "0.1"); /* 2 */
	/* Before anything was noted it was what is noted first. */
	assert_named(f, rd, WEIR_NAMED_SERVICE, 1, 1, "llm");
	assert_named(f, rd, WEIR_NAMED_SERVICE, 1, 2, "llm");
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 2, NULL);
	note(f, chat, 3, tree(below, 2, 2));
	spend(f, f->acme, f->t0, "0.1"); /* 3: of a reader that is open, and knew another */
	assert_named(f, rd, WEIR_NAMED_SERVICE, 1, 3, "chat");
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 3, "beta/acme");
	assert_named(f, rd, WEIR_NAMED_PATH, f->beta, 3, NULL);
	assert_named(f, rd, WEIR_NAMED_SERVICE, 1, 2, "llm");
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 2, NULL);
	assert_named(f, rd, WEIR_NAMED_SERVICE, 2, 1, "embed");
	assert_named(f, rd, WEIR_NAMED_SERVICE, 9, 3, NULL);
	weir_reader_close(rd);
	/* And of one that never saw the others. */
	rd = reader(f);
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 3, "beta/acme");
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 1, NULL);
	assert_named(f, rd, WEIR_NAMED_SERVICE, 1, 1, "llm");
	weir_reader_close(rd);
}

static void who_leaves_keeps_its_place_and_who_rises_loses_it(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd = reader(f);

	note(f, llm, 2, tree(below, 2, 1));
	spend(f, f->acme, f->t0, "0.1");
	note(f, llm, 2, tree(below + 1, 1, 2)); /* acme left */
	spend(f, f->acme, f->t0, "0.1");
	note(f, llm, 2, tree(flat, 2, 3));
	spend(f, f->acme, f->t0, "0.1");
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 1, "beta/acme");
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 2, "beta/acme");
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 3, "acme");
	weir_reader_close(rd);
}

/* A policy that is put in force again and again, as once a minute, writes nothing; one that is
 * taken back before anything was entered leaves no trace. */
static void what_did_not_change_is_not_written(void **state)
{
	struct fixture *f = *state;
	struct weir_naming *n;
	struct weir_reader *rd;

	ok(f, weir_naming_new(f->l, &n, &f->err));
	ok(f, weir_naming_put(n, f->l, llm, 2, tree(flat, 2, 1), &f->err));
	spend(f, f->acme, f->t0, "0.1");
	ok(f, weir_naming_put(n, f->l, llm, 2, tree(flat, 2, 2), &f->err));
	assert_int_equal(rows(f), 1);
	ok(f, weir_naming_put(n, f->l, llm, 2, tree(below, 2, 3), &f->err));
	ok(f, weir_naming_put(n, f->l, llm, 2, tree(flat, 2, 4), &f->err));
	assert_int_equal(rows(f), 2); /* the later one in its place */
	spend(f, f->acme, f->t0, "0.1");
	rd = reader(f);
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 2, "acme");
	weir_reader_close(rd);
	weir_naming_free(n);
}

/* A disk that refuses is asked again with the next policy, or with the same one. */
static void what_could_not_be_written_is_written_later(void **state)
{
	struct fixture *f = *state;
	struct weir_naming *n;
	struct weir_reader *rd = reader(f);

	ok(f, weir_naming_new(f->l, &n, &f->err));
	assert_int_equal(sql(f, "CREATE TRIGGER no BEFORE INSERT ON named BEGIN"
				" SELECT RAISE(ABORT, 'no'); END"),
			 SQLITE_OK);
	assert_int_not_equal(weir_naming_put(n, f->l, llm, 2, tree(below, 2, 1), &f->err), 0);
	spend(f, f->acme, f->t0, "0.1"); /* no transaction was left open */
	assert_int_equal(sql(f, "DROP TRIGGER no"), SQLITE_OK);
	ok(f, weir_naming_put(n, f->l, llm, 2, tree(below, 2, 1), &f->err));
	assert_named(f, rd, WEIR_NAMED_PATH, f->acme, 1, "beta/acme");
	weir_reader_close(rd);
	weir_naming_free(n);
}

/* ------------------------------------------------------------------ the one before */

static uint64_t before(struct fixture *f, struct weir_reader *rd, uint64_t seq, uint32_t kinds)
{
	uint64_t out = 99;

	ok(f, weir_reader_previous(rd, seq, kinds, &out, &f->err));
	return out;
}

/* u: usage, g: a grant, m: a meter */
static void write_log(struct fixture *f, const char *log)
{
	char key[16];

	for (size_t i = 0; log[i]; i++) {
		struct weir_op op;

		snprintf(key, sizeof(key), "k%zu", i);
		op = make_grant(f->acme, key, "1");
		if (log[i] == 'u') {
			spend(f, f->acme, f->t0, "0.001");
			continue;
		}
		if (log[i] != 'g') {
			op.kind = WEIR_ENTRY_METER;
			op.quantity_nano = 1;
			op.amount_nano = 0;
			strcpy(op.dimension, "gb");
		}
		post_at(f, &op, f->t0);
	}
}

/* By looking at each, with readers that know nothing yet. */
static uint64_t slowly(struct fixture *f, uint64_t seq, uint32_t kinds)
{
	struct kept *k = all(f);

	for (uint64_t i = seq - 1; i; i--)
		if (1u << k->e[i - 1].kind & kinds)
			return i;
	return 0;
}

static void the_one_before_is_found_in_any_order(void **state)
{
	static const uint32_t lanes[] = { ALL_USAGE, ALERTS, ~(ALL_USAGE | ALERTS) & 0x1ffe };
	static const uint64_t order[] = { 3, 1, 12, 7, 8, 9, 2, 12, 11, 1, 13 };
	struct fixture *f = *state;
	struct weir_reader *rd = reader(f);

	write_log(f, "guugmgguugug");
	for (size_t lane = 0; lane < 3; lane++) {
		for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
			assert_int_equal(before(f, rd, order[i], lanes[lane]),
					 slowly(f, order[i], lanes[lane]));
		for (uint64_t seq = 1; seq <= 13; seq++)
			assert_int_equal(before(f, rd, seq, lanes[lane]),
					 slowly(f, seq, lanes[lane]));
	}
	weir_reader_close(rd);
}

static void lanes_are_kinds(void **state)
{
	assert_int_equal(weir_event_lane(WEIR_ENTRY_USAGE), ALL_USAGE);
	assert_int_equal(weir_event_lane(WEIR_ENTRY_METER), ALL_USAGE);
	assert_int_equal(weir_event_lane(WEIR_ENTRY_TOP_UP), ALERTS);
	assert_int_equal(weir_event_lane(WEIR_ENTRY_REFUND),
			 ((1u << WEIR_ENTRY_KIND_MAX) - 2) & ~(ALL_USAGE | ALERTS));
	assert_int_equal(weir_event_lane(0), 0);
	assert_int_equal(weir_event_lane(WEIR_ENTRY_KIND_MAX), 0);
}

/* ------------------------------------------------------------------ all of it, as text */

static char made[64][2048];

static int make_event(const struct weir_entry *e, void *ctx)
{
	static struct weir_text text;
	struct weir_event_origin o;
	struct weir_reader *rd = ctx;
	struct weir_error err;

	assert_int_equal(weir_event_origin_of(rd, e, "gpu-01", &o, &err), 0);
	assert_int_equal(weir_event_json(e, &o, NULL, &text), 0);
	snprintf(made[e->seq], sizeof(made[0]), "%s", text.p);
	weir_text_free(&text);
	return 0;
}

static void an_event_is_the_same_however_late_it_is_made(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd = reader(f);
	static char first[64][2048];

	note(f, llm, 2, tree(flat, 2, 1));
	write_log(f, "gumu");
	ok(f, weir_reader_entries(rd, &(struct weir_entry_query){ 0 }, make_event, rd, &f->err));
	memcpy(first, made, sizeof(first));
	note(f, chat, 3, tree(below, 2, 2));
	weir_reader_close(rd);
	spend(f, f->acme, f->t0, "0.001");
	rd = reader(f);
	ok(f, weir_reader_entries(rd, &(struct weir_entry_query){ .newest_first = true },
				  make_event, rd, &f->err));
	for (int i = 1; i <= 4; i++)
		assert_string_equal(made[i], first[i]);
	assert_non_null(strstr(made[1], "\"ledger_seq\":1,\"previous_seq\":0}"));
	assert_non_null(strstr(made[2], "\"path\":[\"acme\"],\"service\":\"llm\""));
	assert_non_null(strstr(made[2], "\"ledger_seq\":2,\"previous_seq\":0}"));
	assert_non_null(strstr(made[4], "\"ledger_seq\":4,\"previous_seq\":3}"));
	assert_non_null(strstr(made[5], "\"path\":[\"beta\",\"acme\"],\"service\":\"chat\""));
	assert_non_null(strstr(made[5], "\"ledger_seq\":5,\"previous_seq\":4}"));
	weir_reader_close(rd);
}

/* ------------------------------------------------------------------ sealed months */

enum { JANUARY = 60 * 12, FEBRUARY };

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int down(void **state)
{
	struct fixture *f = *state;
	char dir[64];

	strcpy(dir, f->dir);
	weir_ledger_close(f->l);
	free(f);
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void the_one_before_may_be_in_a_sealed_month(void **state)
{
	uint64_t january = weir_month_start_ns(JANUARY), out;
	struct fixture *f = *state;
	struct weir_segment s;
	struct weir_op g = make_grant(f->acme, "january", "100");
	struct weir_event_origin o;
	struct weir_entry e = { .kind = WEIR_ENTRY_GRANT, .seq = 4, .tenant = f->acme };
	struct weir_reader *rd;
	bool left = true;
	char path[300];

	post_at(f, &g, january + SECOND);
	spend(f, f->acme, january + 2 * SECOND, "1");
	spend(f, f->acme, weir_month_start_ns(FEBRUARY) + SECOND, "1");
	g = make_grant(f->acme, "february", "100");
	post_at(f, &g, weir_month_start_ns(FEBRUARY) + 5 * SECOND);
	ok(f, weir_segment_make(f->path, JANUARY, weir_month_start_ns(FEBRUARY + 2), false, &s,
				&f->err));
	ok(f, weir_ledger_seal(f->l, &s, &f->err));
	while (left)
		ok(f, weir_ledger_shed(f->l, 100, &left, &f->err));
	rd = reader(f);
	assert_int_equal(before(f, rd, 4, weir_event_lane(WEIR_ENTRY_GRANT)), 1);
	assert_int_equal(before(f, rd, 3, ALL_USAGE), 2);
	assert_int_equal(before(f, rd, 4, ALERTS), 0);
	weir_reader_close(rd);
	/* Taken away: it is not known, which is not "there is none". */
	snprintf(path, sizeof(path), "%s/segments/%s", f->dir, s.file);
	assert_int_equal(unlink(path), 0);
	rd = reader(f);
	assert_int_equal(
		weir_reader_previous(rd, 4, weir_event_lane(WEIR_ENTRY_GRANT), &out, &f->err),
		-ENOENT);
	ok(f, weir_event_origin_of(rd, &e, "gpu-01", &o, &f->err));
	assert_true(o.previous_seq == WEIR_EVENT_UNKNOWN_SEQ);
	weir_reader_close(rd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_entry_keeps_the_names_of_its_time),
		TEST(who_leaves_keeps_its_place_and_who_rises_loses_it),
		TEST(what_did_not_change_is_not_written),
		TEST(what_could_not_be_written_is_written_later),
		TEST(the_one_before_is_found_in_any_order),
		TEST(lanes_are_kinds),
		TEST(an_event_is_the_same_however_late_it_is_made),
		cmocka_unit_test_setup_teardown(the_one_before_may_be_in_a_sealed_month, fixture_up,
						down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
