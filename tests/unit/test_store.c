// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the database file: what is refused, and in which words.
 */
#include "tests/unit/ledger_fixture.h"
#include "tests/unit/old_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "agent/ledger_switch.h"

static void put_file(struct fixture *f, const char *bytes, size_t n)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

/* Take the fixture's own database away. */
static void away(struct fixture *f)
{
	weir_ledger_close(f->l);
	f->l = NULL;
	unlink(f->path);
}

static void a_new_database_has_an_id_for_ever(void **state)
{
	struct fixture *f = *state;
	char id[64];

	snprintf(id, sizeof(id), "%s", weir_ledger_id(f->l));
	assert_int_equal(strlen(id), 36);
	assert_int_equal(id[14], '4'); /* a random UUID */
	reopen(f);
	assert_string_equal(weir_ledger_id(f->l), id);
}

static void it_is_durable_and_not_for_everybody(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	sqlite3 *db;
	sqlite3_stmt *q;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07007, 0);
	ok(f, weir_store_open(f->path, &db, &f->err));
	ok(f, weir_store_prepare(db, "PRAGMA synchronous", &q, &f->err));
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(q, 0), 2);
	sqlite3_finalize(q);
	ok(f, weir_store_prepare(db, "PRAGMA journal_mode", &q, &f->err));
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_string_equal(sqlite3_column_text(q, 0), "wal");
	sqlite3_finalize(q);
	weir_store_close(db);
}

static void a_newer_schema_is_refused_and_left_alone(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd;
	sqlite3 *db;
	char back[64];

	assert_int_equal(sql(f, "PRAGMA user_version=77"), SQLITE_OK);
	assert_int_equal(weir_store_open(f->path, &db, &f->err), -ENOTSUP);
	assert_non_null(strstr(f->err.text, "schema 77 is newer"));
	assert_int_equal(weir_reader_open(f->path, &rd, &f->err), -ENOTSUP);
	snprintf(back, sizeof(back), "PRAGMA user_version=%d", weir_store_version());
	assert_int_equal(sql(f, back), SQLITE_OK);
	reopen(f);
}

/* The fixture's ledger moved, row by row, into a file of the old schema. */
static void make_schema_2(struct fixture *f)
{
	/* Projections are made anew, whatever they were. Columns that came later are left out. */
	static const char *const tables[][2] = {
		{ "meta", "*" },  { "tenant", "*" }, { "card", "*" },
		{ "entry", "*" }, { "apikey", "*" }, { "cursor", "name, seq" },
	};
	char text[256], now[128];

	weir_ledger_close(f->l);
	f->l = NULL;
	snprintf(now, sizeof(now), "%s.now", f->path);
	assert_int_equal(rename(f->path, now), 0);
	assert_int_equal(sql(f, schema_2_as_it_was), SQLITE_OK);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		snprintf(text, sizeof(text),
			 "ATTACH '%s' AS now; INSERT INTO main.%s SELECT %s FROM now.%s", now,
			 tables[i][0], tables[i][1], tables[i][0]);
		assert_int_equal(sql(f, text), SQLITE_OK);
	}
	assert_int_equal(unlink(now), 0);
}

static void schema_2_becomes_ours_with_every_row(void **state)
{
	struct fixture *f = *state;
	struct weir_stored_key key = { .tenant = f->beta, .hint = "wk-abc", .created_ns = 1 },
			       *keys;
	struct weir_switch s = { .id = "s1", .tenant = f->acme, .on = true };
	char id[64];
	bool repeated;
	size_t n;

	snprintf(id, sizeof(id), "%s", weir_ledger_id(f->l));
	give(f, f->acme, "g1", "5");
	spend(f, f->acme, f->t0, "2");
	ok(f, weir_ledger_key_add(f->l, &key, &f->err));
	ok(f, weir_ledger_cursor_set(f->l, "nats", 1, &f->err));
	make_schema_2(f);
	assert_int_not_equal(sql(f, "SELECT * FROM switches"), SQLITE_OK);

	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	assert_string_equal(weir_ledger_id(f->l), id);
	assert_string_equal(weir_ledger_tenant_name(f->l, f->beta), "beta");
	assert_int_equal(weir_ledger_newest(f->l), 2);
	assert_balance(f, f->acme, "3");
	assert_verifies(f);
	ok(f, weir_ledger_keys(f->l, &keys, &n, &f->err));
	assert_int_equal(n, 1);
	free(keys);
	/* What the new schema is for works, and the old log goes on. */
	ok(f, weir_ledger_switch(f->l, &s, &repeated, &f->err));
	spend(f, f->acme, f->t0 + SECOND, "1");
	assert_verifies(f);
	reopen(f);
	assert_balance(f, f->acme, "2");
}

/* -------------------------------------------------------------------- switches */

static struct weir_switch throw(struct fixture * f, uint32_t tenant, const char *id, bool on)
{
	struct weir_switch s = { .tenant = tenant,
				 .name = tenant ? WEIR_SWITCH_SUSPENDED : WEIR_SWITCH_ENFORCE,
				 .on = on,
				 .actor = "root",
				 .reason = "late" };
	bool repeated = true;

	snprintf(s.id, sizeof(s.id), "%s", id);
	ok(f, weir_ledger_switch(f->l, &s, &repeated, &f->err));
	assert_false(repeated);
	assert_true(s.time_ns >= f->t0);
	return s;
}

static struct weir_switch state_of(struct fixture *f, enum weir_switch_name name, uint32_t tenant)
{
	struct weir_switch s;

	ok(f, weir_ledger_switch_state(f->l, name, tenant, &s, &f->err));
	return s;
}

static void a_switch_rests_until_thrown_and_the_last_throw_holds(void **state)
{
	struct fixture *f = *state;
	struct weir_switch s, *v;
	size_t n;

	s = state_of(f, WEIR_SWITCH_SUSPENDED, f->acme);
	assert_int_equal(s.seq, 0);
	assert_false(s.on);
	assert_true(state_of(f, WEIR_SWITCH_ENFORCE, 0).on);
	throw(f, f->acme, "a", true);
	throw(f, f->beta, "b", true);
	throw(f, 0, "c", false);
	throw(f, f->acme, "d", false);
	reopen(f);
	assert_false(state_of(f, WEIR_SWITCH_SUSPENDED, f->acme).on);
	assert_false(state_of(f, WEIR_SWITCH_ENFORCE, 0).on);
	s = state_of(f, WEIR_SWITCH_SUSPENDED, f->beta);
	assert_true(s.on);
	assert_string_equal(s.reason, "late");
	assert_string_equal(s.actor, "root");
	ok(f, weir_ledger_switches(f->l, WEIR_SWITCH_SUSPENDED, &v, &n, &f->err));
	assert_int_equal(n, 2);
	assert_string_equal(v[0].id, "d");
	assert_string_equal(v[1].id, "b");
	free(v);
}

static void a_throw_is_done_once_and_a_conflict_is_told(void **state)
{
	struct fixture *f = *state;
	struct weir_switch s = throw(f, f->acme, "a", true), again = s;
	bool repeated = false;

	throw(f, f->acme, "b", false);
	again.time_ns = 1;
	again.seq = 0;
	snprintf(again.actor, sizeof(again.actor), "another");
	ok(f, weir_ledger_switch(f->l, &again, &repeated, &f->err));
	assert_true(repeated);
	assert_int_equal(again.seq, s.seq);
	assert_int_equal(again.time_ns, s.time_ns);
	assert_string_equal(again.actor, "root");
	assert_false(state_of(f, WEIR_SWITCH_SUSPENDED, f->acme).on); /* not thrown anew */
#define CONFLICTS(change)                                                                          \
	again = s;                                                                                 \
	change;                                                                                    \
	assert_int_equal(weir_ledger_switch(f->l, &again, &repeated, &f->err), -EEXIST);           \
	assert_non_null(strstr(f->err.text, "id \"a\""))
	CONFLICTS(again.on = false);
	CONFLICTS(again.now = true);
	CONFLICTS(again.tenant = f->beta);
	CONFLICTS(strcpy(again.reason, "other"));
	CONFLICTS((again.name = WEIR_SWITCH_ENFORCE, again.tenant = 0));
	again = s;
	again.tenant = 99;
	assert_int_equal(weir_ledger_switch(f->l, &again, &repeated, &f->err), -ENOENT);
	again = s;
	again.id[0] = 0;
	assert_int_equal(weir_ledger_switch(f->l, &again, &repeated, &f->err), -EINVAL);
}

static int count_throw(const struct weir_switch *s, void *ctx)
{
	char *ids = ctx;

	strcat(ids, s->id);
	return 0;
}

static void the_history_stays_and_cannot_be_changed(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd;
	char ids[64] = "";

	throw(f, f->acme, "a", true);
	throw(f, f->beta, "x", true);
	throw(f, f->acme, "b", false);
	throw(f, f->acme, "c", true);
	assert_int_not_equal(sql(f, "UPDATE switches SET is_on = 0"), SQLITE_OK);
	assert_int_not_equal(sql(f, "DELETE FROM switches"), SQLITE_OK);
	rd = reader(f);
	ok(f, weir_reader_switch_history(rd, WEIR_SWITCH_SUSPENDED, f->acme, 0, count_throw, ids,
					 &f->err));
	assert_string_equal(ids, "cba");
	ids[0] = 0;
	ok(f, weir_reader_switch_history(rd, WEIR_SWITCH_SUSPENDED, f->acme, 2, count_throw, ids,
					 &f->err));
	assert_string_equal(ids, "cb");
	weir_reader_close(rd);
}

static void another_programs_database_is_refused(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;

	away(f);
	assert_int_equal(sql(f, "CREATE TABLE theirs (x)"), SQLITE_OK);
	assert_int_equal(weir_store_open(f->path, &db, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "another program"));
	assert_int_equal(sql(f, "INSERT INTO theirs VALUES (1)"), SQLITE_OK);
}

static void garbage_is_called_corrupt(void **state)
{
	struct fixture *f = *state;
	char junk[8192];
	sqlite3 *db;

	away(f);
	memset(junk, 'x', sizeof(junk));
	put_file(f, junk, sizeof(junk));
	assert_int_equal(weir_store_open(f->path, &db, &f->err), -EBADMSG);
	assert_non_null(strstr(f->err.text, f->path));
	assert_non_null(strstr(f->err.text, "restore a backup"));
}

static void a_folder_that_is_not_there_is_named(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd;
	sqlite3 *db;

	assert_int_equal(weir_store_open("/nowhere/weir.db", &db, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.text, "/nowhere/weir.db"));
	assert_int_equal(weir_reader_open("/nowhere/weir.db", &rd, &f->err), -ENOENT);
}

static void a_folder_is_not_a_database(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;

	assert_int_equal(weir_store_open(f->dir, &db, &f->err), -EISDIR);
	assert_non_null(strstr(f->err.text, f->dir));
}

static void an_interrupted_creation_is_finished(void **state)
{
	struct fixture *f = *state;

	away(f);
	put_file(f, "", 0);
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	assert_int_equal(weir_ledger_newest(f->l), 0);
}

static void a_locked_database_is_called_locked(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db, *other;

	ok(f, weir_store_open(f->path, &db, &f->err));
	ok(f, weir_store_open(f->path, &other, &f->err));
	sqlite3_busy_timeout(db, 0);
	ok(f, weir_store_exec(other, "BEGIN IMMEDIATE", &f->err, "locking"));
	assert_int_equal(weir_store_exec(db, "BEGIN IMMEDIATE", &f->err, "locking"), -EBUSY);
	assert_non_null(strstr(f->err.text, "locked by another program"));
	weir_store_close(other);
	weir_store_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_database_has_an_id_for_ever),
		TEST(it_is_durable_and_not_for_everybody),
		TEST(a_newer_schema_is_refused_and_left_alone),
		TEST(schema_2_becomes_ours_with_every_row),
		TEST(a_switch_rests_until_thrown_and_the_last_throw_holds),
		TEST(a_throw_is_done_once_and_a_conflict_is_told),
		TEST(the_history_stays_and_cannot_be_changed),
		TEST(another_programs_database_is_refused),
		TEST(garbage_is_called_corrupt),
		TEST(a_folder_that_is_not_there_is_named),
		TEST(a_folder_is_not_a_database),
		TEST(an_interrupted_creation_is_finished),
		TEST(a_locked_database_is_called_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
