// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about months that were sealed: whoever reads the log does not notice, until a file is
 * gone, and then he is told which; nothing leaves the log that is not in a file. And about
 * readers that take their time.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <sys/stat.h>

#include "agent/backup.h"
#include "agent/calendar.h"
#include "agent/ledger_keep.h"
#include "agent/ledger_log.h"

#define HOUR (UINT64_C(3600) * SECOND)
#define DAY  (24 * HOUR)

/* January, February and March 2030, whatever today is; and a month in which all of them are over.
 */
enum { JANUARY = 60 * 12, FEBRUARY, MARCH, APRIL };

static uint64_t start_of(uint32_t month)
{
	return weir_month_start_ns(month);
}

/* 8 entries in January, 5 in February (a grant among them), 3 in March. */
static void fill(struct fixture *f)
{
	struct weir_op g = make_grant(f->acme, "january", "100");

	post_at(f, &g, start_of(JANUARY) + HOUR);
	for (uint64_t i = 1; i < 8; i++)
		spend(f, i % 2 ? f->acme : f->beta, start_of(JANUARY) + i * DAY, "1");
	g = make_grant(f->beta, "february", "50");
	post_at(f, &g, start_of(FEBRUARY) + HOUR);
	for (uint64_t i = 1; i < 5; i++)
		spend(f, f->acme, start_of(FEBRUARY) + i * DAY, "2");
	for (uint64_t i = 1; i < 4; i++)
		spend(f, f->beta, start_of(MARCH) + i * DAY, "3");
	assert_int_equal(weir_ledger_newest(f->l), 16);
}

static void seal(struct fixture *f, uint32_t month, struct weir_segment *s)
{
	bool left = true;

	ok(f, weir_segment_make(f->path, month, start_of(APRIL), true, s, &f->err));
	ok(f, weir_ledger_seal(f->l, s, &f->err));
	while (left)
		ok(f, weir_ledger_shed(f->l, 2, &left, &f->err));
}

static void path_of(struct fixture *f, const struct weir_segment *s, char out[static 300])
{
	snprintf(out, 300, "%s/segments/%s", f->dir, s->file);
}

static int64_t count(struct fixture *f, const char *query)
{
	sqlite3_stmt *st;
	int64_t n;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, query, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

static int down(void **state)
{
	struct fixture *f = *state;
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "rm -rf %s/segments %s/away.db", f->dir, f->dir);
	assert_int_equal(system(cmd), 0);
	return fixture_down(state);
}

#define SEGMENT_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, down)

/* ------------------------------------------------------------------ reading */

struct seen {
	uint64_t seq[32];
	uint8_t hash[32][WEIR_HASH_BYTES];
	size_t n;
};

static int note(const struct weir_entry *e, void *ctx)
{
	struct seen *s = ctx;

	assert_true(s->n < 32);
	/* Each says the hash of the one before, also over the edge of a file. */
	for (size_t i = 0; i < s->n; i++) {
		if (s->seq[i] == e->seq - 1)
			assert_memory_equal(e->prev_hash, s->hash[i], WEIR_HASH_BYTES);
		if (s->seq[i] == e->seq + 1)
			assert_memory_not_equal(e->hash, s->hash[i], WEIR_HASH_BYTES);
	}
	memcpy(s->hash[s->n], e->hash, WEIR_HASH_BYTES);
	s->seq[s->n++] = e->seq;
	return 0;
}

static struct seen read_all(struct fixture *f, const struct weir_entry_query *q)
{
	struct weir_reader *rd = reader(f);
	struct seen s = { .n = 0 };

	ok(f, weir_reader_entries(rd, q, note, &s, &f->err));
	weir_reader_close(rd);
	return s;
}

static void assert_same(struct fixture *f, const struct weir_entry_query *q,
			const struct seen *before)
{
	struct seen now = read_all(f, q);

	assert_int_equal(now.n, before->n);
	assert_memory_equal(now.seq, before->seq, now.n * sizeof(now.seq[0]));
	assert_memory_equal(now.hash, before->hash, now.n * WEIR_HASH_BYTES);
}

static void readers_do_not_notice(void **state)
{
	struct fixture *f = *state;
	const struct weir_entry_query queries[] = {
		{ .limit = 0 },
		{ .newest_first = true },
		{ .newest_first = true, .limit = 12 },
		{ .from_seq = 7 },
		{ .from_seq = 9, .limit = 4 },
		{ .since_ns = start_of(FEBRUARY) },
		{ .until_ns = start_of(FEBRUARY) },
		{ .since_ns = start_of(JANUARY) + 3 * DAY, .until_ns = start_of(MARCH) + 2 * DAY },
		{ .since_ns = start_of(APRIL) },
		{ .tenant = f->beta },
		{ .kinds = 1u << WEIR_ENTRY_GRANT },
	};
	enum { N = sizeof(queries) / sizeof(queries[0]) };
	struct seen before[N];
	struct weir_balance b;
	struct weir_segment s;
	struct weir_reader *old;

	fill(f);
	for (int i = 0; i < N; i++)
		before[i] = read_all(f, &queries[i]);
	assert_int_equal(before[0].n, 16);
	assert_int_equal(before[5].n, 8);
	assert_int_equal(before[6].n, 8);
	old = reader(f);
	seal(f, JANUARY, &s);
	assert_int_equal(s.first, 1);
	assert_int_equal(s.last, 8);
	assert_int_equal(count(f, "SELECT min(seq) FROM entry"), 9);
	for (int i = 0; i < N; i++)
		assert_same(f, &queries[i], &before[i]);
	seal(f, FEBRUARY, &s);
	assert_int_equal(s.first, 9);
	assert_int_equal(s.last, 13);
	for (int i = 0; i < N; i++)
		assert_same(f, &queries[i], &before[i]);
	/* One that was open all the time, too. */
	struct seen seen = { .n = 0 };
	ok(f, weir_reader_entries(old, &queries[0], note, &seen, &f->err));
	assert_int_equal(seen.n, 16);
	/* By id, and the ids of lots. */
	ok(f, weir_reader_balance(old, f->acme, start_of(APRIL), &b, &f->err));
	assert_int_equal(b.n_lots, 1);
	seen.n = 0;
	ok(f, weir_reader_find(old, &b.ids[0], note, &seen, &f->err));
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.seq[0], 1);
	weir_balance_clear(&b);
	weir_reader_close(old);
	assert_verifies(f);
}

static void the_log_goes_on(void **state)
{
	struct fixture *f = *state;
	struct weir_op refund = { .kind = WEIR_ENTRY_REFUND, .of = 2, .key = "sorry" };
	struct weir_op again = make_grant(f->acme, "january", "100");
	struct weir_done done;
	struct weir_segment s;

	fill(f);
	seal(f, FEBRUARY, &s);
	assert_int_equal(s.last, 13);
	reopen(f);
	assert_balance(f, f->acme, "88"); /* 100, 4 of 1, 4 of 2 */
	spend(f, f->acme, start_of(MARCH) + 10 * DAY, "1");
	/* What was sealed is refunded, and known when it is asked for again. */
	refund.tenant = refund.wallet = f->acme;
	ok(f, weir_ledger_post(f->l, &refund, start_of(MARCH) + 11 * DAY, &done, &f->err));
	assert_balance(f, f->acme, "88");
	ok(f, weir_ledger_post(f->l, &again, start_of(MARCH) + 11 * DAY, &done, &f->err));
	assert_true(done.repeated);
	assert_int_equal(done.seq, 1);
	assert_verifies(f);
	ok(f, weir_ledger_rebuild(f->l, &f->err));
	assert_balance(f, f->acme, "88");
	assert_verifies(f);
}

static void a_crash_before_entries_are_gone_is_no_matter(void **state)
{
	const struct weir_entry_query all_of_them = { .limit = 0 };
	struct fixture *f = *state;
	struct weir_segment s;
	struct seen before;
	bool left;

	fill(f);
	before = read_all(f, &all_of_them);
	/* The file alone: it is made again. */
	ok(f, weir_segment_make(f->path, JANUARY, start_of(APRIL), true, &s, &f->err));
	ok(f, weir_segment_make(f->path, JANUARY, start_of(APRIL), true, &s, &f->err));
	ok(f, weir_ledger_seal(f->l, &s, &f->err));
	assert_int_equal(count(f, "SELECT count(*) FROM entry"), 16);
	assert_same(f, &all_of_them, &before);
	assert_verifies(f);
	ok(f, weir_ledger_shed(f->l, 3, &left, &f->err));
	assert_true(left);
	assert_same(f, &all_of_them, &before);
	reopen(f);
	for (left = true; left;)
		ok(f, weir_ledger_shed(f->l, 3, &left, &f->err));
	assert_int_equal(count(f, "SELECT count(*) FROM entry"), 8);
	assert_same(f, &all_of_them, &before);
	/* It is entered once. */
	assert_int_not_equal(weir_ledger_seal(f->l, &s, &f->err), 0);
}

/* ------------------------------------------------------------------ a file that is gone */

static void a_segment_that_is_gone_is_named(void **state)
{
	const struct weir_entry_query from_march = { .since_ns = start_of(MARCH) },
				      newest = { .newest_first = true, .limit = 3 },
				      first = { .from_seq = 1 }, up_to = { .newest_first = true };
	struct fixture *f = *state;
	struct seen seen = { .n = 0 };
	char path[300], away[300];
	struct weir_segment s, s2;
	struct weir_reader *rd;
	struct weir_balance b;
	struct weir_verify v;

	fill(f);
	seal(f, JANUARY, &s);
	seal(f, FEBRUARY, &s2);
	path_of(f, &s2, path);
	snprintf(away, sizeof(away), "%s/away.db", f->dir);
	assert_int_equal(rename(path, away), 0);

	rd = reader(f);
	assert_int_equal(weir_reader_entries(rd, &up_to, note, &seen, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "entries 9-13 are in segment"));
	assert_non_null(strstr(f->err.text, s2.file));
	assert_int_equal(seen.n, 3); /* those after it */
	seen.n = 0;
	assert_int_equal(weir_reader_entries(rd, &first, note, &seen, &f->err), -ENOENT);
	assert_int_equal(seen.n, 8);
	assert_int_equal(read_all(f, &from_march).n, 3);
	assert_int_equal(read_all(f, &newest).n, 3);
	ok(f, weir_reader_balance(rd, f->beta, start_of(APRIL), &b, &f->err));
	assert_int_equal(b.balance_nano, nano("38")); /* 50, 3 of 1, 3 of 3 */
	weir_balance_clear(&b);
	/* The chain is taken up behind it, and it is said what was not looked at. */
	ok(f, weir_reader_verify(rd, &v, &f->err));
	assert_int_equal(v.missing, 5);
	assert_int_equal(v.entries, 11);
	assert_non_null(strstr(v.missing_why, s2.file));
	weir_reader_close(rd);
	/* Sealing on needs none of them. */
	spend(f, f->acme, start_of(APRIL) + DAY, "1");
	spend(f, f->acme, start_of(APRIL) + 2 * DAY, "1");
	ok(f, weir_segment_make(f->path, MARCH, start_of(APRIL) + 3 * DAY, true, &s, &f->err));
	assert_int_equal(s.first, 14);
	assert_int_equal(s.last, 16);
	assert_int_equal(rename(away, path), 0);
	assert_verifies(f);
}

static void another_file_in_its_place_is_noticed(void **state)
{
	const struct weir_entry_query first = { .from_seq = 1 };
	struct fixture *f = *state;
	struct seen seen = { .n = 0 };
	char path[300], other[300], cmd[1024];
	struct weir_segment s, s2;
	struct weir_reader *rd;
	struct weir_verify v;
	sqlite3 *db;

	fill(f);
	seal(f, JANUARY, &s);
	seal(f, FEBRUARY, &s2);
	path_of(f, &s, path);
	path_of(f, &s2, other);
	snprintf(cmd, sizeof(cmd), "cp %s %s/away.db && cp %s %s", path, f->dir, other, path);
	assert_int_equal(system(cmd), 0);
	rd = reader(f);
	assert_int_equal(weir_reader_entries(rd, &first, note, &seen, &f->err), -EBADMSG);
	assert_non_null(strstr(f->err.text, "not the segment with entries 1-8"));
	weir_reader_close(rd);
	/* The right one, with an entry that says something else. */
	snprintf(cmd, sizeof(cmd), "cp %s/away.db %s", f->dir, path);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(db, "UPDATE entry SET amount = 7 WHERE seq = 3", NULL, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
	rd = reader(f);
	assert_int_equal(weir_reader_verify(rd, &v, &f->err), -EBADMSG);
	assert_int_equal(v.wrong_seq, 3);
	weir_reader_close(rd);
}

/* ------------------------------------------------------------------ what is refused */

static void only_what_is_over_and_passed_on_is_sealed(void **state)
{
	struct fixture *f = *state;
	struct weir_backup_info info;
	struct weir_segment s;

	fill(f);
	assert_int_equal(weir_segment_make(f->path, MARCH, start_of(APRIL) - 1, true, &s, &f->err),
			 -EINVAL);
	assert_non_null(strstr(f->err.text, "not over"));
	assert_int_equal(
		weir_segment_make(f->path, JANUARY - 1, start_of(APRIL), true, &s, &f->err),
		-ENODATA);
	ok(f, weir_ledger_cursor_set(f->l, "nats", 7, &f->err));
	assert_int_equal(weir_segment_make(f->path, JANUARY, start_of(APRIL), true, &s, &f->err),
			 -EINVAL);
	assert_non_null(strstr(f->err.text, "\"nats\" has passed on only those up to 7"));
	/* Without NATS nobody waits for it. */
	ok(f, weir_segment_make(f->path, JANUARY, start_of(APRIL), false, &s, &f->err));
	ok(f, weir_ledger_cursor_set(f->l, "nats", 8, &f->err));
	seal(f, JANUARY, &s);
	assert_int_equal(weir_segment_make(f->path, JANUARY, start_of(APRIL), true, &s, &f->err),
			 -ENODATA);
	/* Of the newest month the last entry stays: the next one chains to it. */
	ok(f, weir_ledger_cursor_set(f->l, "nats", 16, &f->err));
	seal(f, MARCH, &s);
	assert_int_equal(s.last, 15);
	assert_int_equal(count(f, "SELECT count(*) FROM entry"), 1);
	/* It is enough for a backup to be looked at. */
	ok(f, weir_backup_check(f->path, &info, &f->err));
	assert_int_equal(info.entries, 1);
	assert_int_equal(info.newest, 16);
	assert_int_equal(info.segments, 2);
	reopen(f);
	spend(f, f->acme, start_of(APRIL) + DAY, "1");
	assert_verifies(f);
}

static void the_schema_lets_go_of_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct weir_segment s;

	fill(f);
	ok(f, weir_segment_make(f->path, JANUARY, start_of(APRIL), true, &s, &f->err));
	assert_int_not_equal(sql(f, "DELETE FROM entry WHERE seq = 1"), SQLITE_OK);
	/* A segment that does not end with an entry of the log, or not where the last began. */
	s.closing[0] ^= 1;
	assert_int_not_equal(weir_ledger_seal(f->l, &s, &f->err), 0);
	s.closing[0] ^= 1;
	s.first = 2;
	assert_int_not_equal(weir_ledger_seal(f->l, &s, &f->err), 0);
	s.first = 1;
	ok(f, weir_ledger_seal(f->l, &s, &f->err));
	assert_int_not_equal(sql(f, "DELETE FROM entry WHERE seq = 9"), SQLITE_OK);
	assert_int_not_equal(sql(f, "UPDATE entry SET amount = 1 WHERE seq = 1"), SQLITE_OK);
	assert_int_not_equal(sql(f, "UPDATE segment SET last = 16"), SQLITE_OK);
	assert_int_not_equal(sql(f, "DELETE FROM segment"), SQLITE_OK);
	assert_int_equal(sql(f, "DELETE FROM entry WHERE seq = 1"), SQLITE_OK);
}

static void what_is_damaged_is_not_sealed(void **state)
{
	struct fixture *f = *state;
	struct weir_segment s;

	fill(f);
	assert_int_equal(sql(f, "DROP TRIGGER entry_update; UPDATE entry SET amount = 1"
				" WHERE seq = 4"),
			 SQLITE_OK);
	assert_int_equal(weir_segment_make(f->path, JANUARY, start_of(APRIL), true, &s, &f->err),
			 -EBADMSG);
	assert_non_null(strstr(f->err.text, "entry 4 is damaged"));
}

/* ------------------------------------------------------------------ slow readers */

static int64_t wal_bytes(const struct fixture *f)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s-wal", f->path);
	return stat(path, &st) ? 0 : st.st_size;
}

/* 24 MiB of WAL, if it could not start over. */
static void write_much(struct fixture *f)
{
	static struct weir_row rows[2048];

	for (int group = 0; group < 24; group++) {
		for (size_t i = 0; i < 2048; i++)
			rows[i] = make_row(f, f->acme, f->t0, "0.001");
		append(f, rows, 2048);
	}
}

static int write_meanwhile(const struct weir_entry *e, void *ctx)
{
	if (e->seq == 1)
		write_much(ctx);
	return e->seq < 100 ? 0 : 1;
}

/* Somebody on the other end of a socket who does not read on. */
static void a_slow_reader_does_not_make_the_wal_grow(void **state)
{
	const struct weir_entry_query q = { .from_seq = 1 };
	struct fixture *f = *state;
	struct weir_reader *rd;
	int64_t bound = 4096 * 4120 + (INT64_C(4) << 20); /* what it starts over at, and a group */
	sqlite3 *held;

	for (int i = 0; i < 100; i++)
		spend(f, f->acme, f->t0, "1");
	rd = reader(f);
	assert_int_equal(weir_reader_entries(rd, &q, write_meanwhile, f, &f->err), 1);
	weir_reader_close(rd);
	assert_in_range(wal_bytes(f), 1, bound);
	/* It would have been noticed: a snapshot that is held does. */
	assert_int_equal(sqlite3_open(f->path, &held), SQLITE_OK);
	assert_int_equal(sqlite3_exec(held, "BEGIN; SELECT count(*) FROM tenant", NULL, NULL, NULL),
			 SQLITE_OK);
	write_much(f);
	assert_true(wal_bytes(f) > bound);
	sqlite3_close(held);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SEGMENT_TEST(readers_do_not_notice),
		SEGMENT_TEST(the_log_goes_on),
		SEGMENT_TEST(a_crash_before_entries_are_gone_is_no_matter),
		SEGMENT_TEST(a_segment_that_is_gone_is_named),
		SEGMENT_TEST(another_file_in_its_place_is_noticed),
		SEGMENT_TEST(only_what_is_over_and_passed_on_is_sealed),
		SEGMENT_TEST(the_schema_lets_go_of_nothing_else),
		SEGMENT_TEST(what_is_damaged_is_not_sealed),
		SEGMENT_TEST(a_slow_reader_does_not_make_the_wal_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
