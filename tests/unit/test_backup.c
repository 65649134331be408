// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about backups: made while rows are committed, they have all of them up to the end; what
 * is not whole gets no name; what is put back is a ledger, and what was there stays.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/backup.h"

/* A writer without rows: they come by calls. */
struct running {
	struct fixture *f;
	struct weir_writer *w;
	char file[128];
	int copying, checking; /* calls of progress */
	int group;
};

static const struct weir_row *no_rows(void *ctx, size_t *n)
{
	*n = 0;
	return NULL;
}

static void pop_none(void *ctx, size_t n)
{
}

static struct running start(struct fixture *f)
{
	const struct weir_row_source src = { .peek = no_rows, .pop = pop_none };
	const struct weir_writer_options o = { .group_rows = 0 };
	struct running r = { .f = f };

	snprintf(r.file, sizeof(r.file), "%s/backup.db", f->dir);
	ok(f, weir_writer_start(f->l, &src, &o, &r.w, &f->err));
	return r;
}

static int down(void **state)
{
	struct fixture *f = *state;
	char cmd[256];

	weir_ledger_close(f->l);
	f->l = NULL;
	snprintf(cmd, sizeof(cmd), "rm -rf %s/*", f->dir);
	assert_int_equal(system(cmd), 0);
	return fixture_down(state);
}

#define BACKUP_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, down)

static int add_group(struct weir_ledger *l, void *arg)
{
	static struct weir_row rows[512];
	struct fixture *f = arg;
	size_t known;

	for (size_t i = 0; i < 512; i++)
		rows[i] = make_row(f, f->acme, f->t0, "0.001");
	return weir_ledger_append(l, rows, 512, &known, &f->err);
}

static int write_on(void *ctx, enum weir_backup_phase phase, int done, int total)
{
	struct running *r = ctx;

	r->copying += phase == WEIR_BACKUP_COPYING;
	r->checking += phase == WEIR_BACKUP_CHECKING;
	assert_in_range(done, 0, total);
	if (phase != WEIR_BACKUP_COPYING || done == total || r->group >= 8)
		return 0;
	r->group++;
	return weir_writer_call(r->w, add_group, r->f);
}

static bool is_there(const char *path)
{
	return !access(path, F_OK);
}

static int64_t newest_of(const char *path)
{
	struct weir_error err;
	struct weir_reader *rd;
	struct weir_verify v;
	uint64_t newest;
	int ret = weir_reader_open(path, &rd, &err);

	if (ret)
		fail_msg("%s", err.text);
	ret = weir_reader_newest(rd, &newest, &err);
	if (!ret)
		ret = weir_reader_verify(rd, &v, &err);
	if (ret)
		fail_msg("%s", err.text);
	weir_reader_close(rd);
	return (int64_t)newest;
}

static void it_has_what_is_committed_meanwhile(void **state)
{
	struct fixture *f = *state;
	struct running r = start(f);
	struct weir_backup_info info;
	struct stat st;
	char part[160];

	for (int i = 0; i < 20; i++)
		assert_int_equal(weir_writer_call(r.w, add_group, f), 0);
	ok(f, weir_backup_make(r.w, r.file, false, write_on, &r, &info, &f->err));
	assert_true(r.copying >= 2); /* or it was no copy in steps */
	assert_int_equal(r.checking, 1);
	assert_true(r.group >= 1);
	assert_int_equal(info.newest, (20 + r.group) * 512);
	assert_int_equal(info.entries, info.newest);
	assert_string_equal(info.ledger_id, weir_ledger_id(f->l));
	snprintf(part, sizeof(part), "%s.part", r.file);
	assert_false(is_there(part));
	assert_int_equal(stat(r.file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, info.bytes);
	weir_writer_stop(r.w);
	assert_int_equal(newest_of(r.file), info.newest);
}

static int give_up(void *ctx, enum weir_backup_phase phase, int done, int total)
{
	return -ECANCELED;
}

static void what_is_broken_off_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct running r = start(f);
	struct weir_backup_info info;
	char part[160];

	assert_int_equal(weir_writer_call(r.w, add_group, f), 0);
	assert_int_equal(weir_backup_make(r.w, r.file, false, give_up, NULL, &info, &f->err),
			 -ECANCELED);
	snprintf(part, sizeof(part), "%s.part", r.file);
	assert_false(is_there(part));
	assert_false(is_there(r.file));
	/* The writer is not held. */
	assert_int_equal(weir_writer_call(r.w, add_group, f), 0);
	ok(f, weir_backup_make(r.w, r.file, false, NULL, NULL, &info, &f->err));
	assert_int_equal(info.newest, 1024);
	/* A folder that is not there. */
	assert_int_equal(
		weir_backup_make(r.w, "/nowhere/at/all.db", false, NULL, NULL, &info, &f->err),
		-ENOENT);
	weir_writer_stop(r.w);
}

static void only_a_backup_is_replaced_and_only_by_force(void **state)
{
	struct fixture *f = *state;
	struct running r = start(f);
	struct weir_backup_info info;
	char other[160], text[8] = { 0 };
	FILE *file;

	ok(f, weir_backup_make(r.w, r.file, false, NULL, NULL, &info, &f->err));
	assert_int_equal(info.newest, 0);
	assert_int_equal(weir_writer_call(r.w, add_group, f), 0);
	assert_int_equal(weir_backup_make(r.w, r.file, false, NULL, NULL, &info, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "--force"));
	assert_int_equal(newest_of(r.file), 0);
	ok(f, weir_backup_make(r.w, r.file, true, NULL, NULL, &info, &f->err));
	assert_int_equal(newest_of(r.file), 512);

	snprintf(other, sizeof(other), "%s/letter", f->dir);
	file = fopen(other, "w");
	assert_non_null(file);
	fputs("dear", file);
	fclose(file);
	assert_int_equal(weir_backup_make(r.w, other, true, NULL, NULL, &info, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "not a backup"));
	file = fopen(other, "r");
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "dear");
	weir_writer_stop(r.w);
}

/* ------------------------------------------------------------------ putting back */

static void make_backup(struct fixture *f, char file[static 128])
{
	struct running r = start(f);
	struct weir_backup_info info;

	assert_int_equal(weir_writer_call(r.w, add_group, f), 0);
	ok(f, weir_backup_make(r.w, r.file, false, NULL, NULL, &info, &f->err));
	weir_writer_stop(r.w);
	snprintf(file, 128, "%s", r.file);
}

static void a_backup_is_put_back(void **state)
{
	struct fixture *f = *state;
	struct weir_backup_info info;
	char file[128], aside[256];
	struct weir_row row;
	pid_t pid;

	make_backup(f, file);
	/* An agent that was killed: entries after the backup, some only in the WAL. */
	weir_ledger_close(f->l);
	f->l = NULL;
	row = make_row(f, f->acme, f->t0, "1");
	pid = fork();
	if (!pid) {
		struct weir_ledger *l;
		size_t known;
		int ret = weir_ledger_open(f->path, &l, &f->err);

		_exit(ret || weir_ledger_append(l, &row, 1, &known, &f->err));
	}
	int status = 1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(newest_of(f->path), 513);

	ok(f, weir_backup_restore(file, f->path, aside, &info, &f->err));
	assert_int_equal(info.newest, 512);
	assert_int_equal(newest_of(f->path), 512);
	assert_non_null(strstr(aside, "weir.db.before-"));
	assert_int_equal(newest_of(aside), 513);
	/* And the log goes on from there. */
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	append(f, &row, 1);
	assert_verifies(f);
	weir_ledger_close(f->l);
	f->l = NULL;
	/* Where nothing is, nothing is moved aside. */
	assert_int_equal(unlink(f->path), 0);
	ok(f, weir_backup_restore(file, f->path, aside, &info, &f->err));
	assert_string_equal(aside, "");
	assert_int_equal(newest_of(f->path), 512);
}

static void poke(const char *file, const char *how)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, how, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void refused(struct fixture *f, const char *file, int with, const char *says)
{
	char aside[256], part[160];
	struct weir_backup_info info;
	int ret = weir_backup_restore(file, f->path, aside, &info, &f->err);

	if (ret != with || !strstr(f->err.text, says))
		fail_msg("%d: %s", ret, f->err.text);
	/* What is there was not touched. */
	assert_int_equal(newest_of(f->path), 512);
	snprintf(part, sizeof(part), "%s.restore", f->path);
	assert_false(is_there(part));
}

static void what_is_no_whole_ledger_is_not_put_back(void **state)
{
	struct fixture *f = *state;
	char file[128], cmd[512];
	int fd;

	make_backup(f, file);
	weir_ledger_close(f->l);
	f->l = NULL;
	refused(f, "/nowhere.db", -ENOENT, "/nowhere.db");
	refused(f, "/etc/passwd", -EBADMSG, "/etc/passwd");
	poke(file, "PRAGMA user_version = 99");
	refused(f, file, -ENOTSUP, "schema 99");
	snprintf(cmd, sizeof(cmd),
		 "PRAGMA user_version = %d; DROP TRIGGER entry_update;"
		 " UPDATE entry SET amount = 3 WHERE seq = 77",
		 weir_store_version());
	poke(file, cmd);
	refused(f, file, -EBADMSG, "entry 77");
	poke(file, "UPDATE entry SET amount = 3 WHERE seq = 512");
	refused(f, file, -EBADMSG, "entry 512");
	poke(file, "PRAGMA application_id = 1");
	refused(f, file, -EINVAL, "not a backup");
	poke(file, "PRAGMA application_id = 1466263922");
	/* A hole in the middle of it. */
	fd = open(file, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, cmd, sizeof(cmd), 20 * 4096), sizeof(cmd));
	close(fd);
	refused(f, file, -EBADMSG, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BACKUP_TEST(it_has_what_is_committed_meanwhile),
		BACKUP_TEST(what_is_broken_off_leaves_nothing),
		BACKUP_TEST(only_a_backup_is_replaced_and_only_by_force),
		BACKUP_TEST(a_backup_is_put_back),
		BACKUP_TEST(what_is_no_whole_ledger_is_not_put_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
