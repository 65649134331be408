// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the database file: what is refused, and in which words.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

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

	assert_int_equal(sql(f, "PRAGMA user_version=77"), SQLITE_OK);
	assert_int_equal(weir_store_open(f->path, &db, &f->err), -ENOTSUP);
	assert_non_null(strstr(f->err.text, "schema 77 is newer"));
	assert_int_equal(weir_reader_open(f->path, &rd, &f->err), -ENOTSUP);
	assert_int_equal(sql(f, "PRAGMA user_version=1"), SQLITE_OK);
	reopen(f);
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
		TEST(another_programs_database_is_refused),
		TEST(garbage_is_called_corrupt),
		TEST(a_folder_that_is_not_there_is_named),
		TEST(a_folder_is_not_a_database),
		TEST(an_interrupted_creation_is_finished),
		TEST(a_locked_database_is_called_locked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
