// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about a ledger on a disk that fails (delivery.md, rules 3, 5 and 6): each write, sync,
 * truncate and read of a run fails once, in every way; each write is torn; and the power is lost at
 * each of them. What was acknowledged is there, once; what was not is done again, and no more than
 * that; and no failure needs a new connection.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "agent/ledger_priv.h"
#include "agent/ledger_switch.h"
#include "tests/chaos/faulty_vfs.h"

#define GROUPS	   5
#define GROUP_ROWS 4
#define TRIES	   8

/* A run: some of all that is written, so small that it can be had at each operation's fault. */
struct disk {
	struct fixture f;
	char synced[96], empty[96]; /* folder of the shadow; a database with nothing but names */
	struct weir_row rows[GROUPS][GROUP_ROWS];
	struct weir_op grants[2];
};

static struct disk disk;

/* ----------------------------------------------------------------------- files */

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char buf[65536];
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	assert_int_equal(n, 0);
	close(in);
	close(out);
}

static void remove_database(const char *dir)
{
	static const char *const ends[] = { "", "-wal", "-shm", "-journal" };

	for (size_t i = 0; i < 4; i++) {
		char *name = g_strconcat(dir, "/weir.db", ends[i], NULL);

		unlink(name);
		g_free(name);
	}
}

/* ------------------------------------------------------------------------ steps */

static int open_ledger(struct disk *d)
{
	int ret = weir_ledger_open(d->f.path, &d->f.l, &d->f.err);

	/* So that a run has checkpoints: of one in 16 MiB it would have none. */
	if (!ret)
		weir_store_checkpoints(d->f.l->db, 12);
	return ret;
}

/* Each is one thing that is acknowledged, or not; asked for again it is known. */
static int step(struct disk *d, unsigned n)
{
	struct weir_switch s = { .id = "s1", .tenant = 1, .on = true, .reason = "late" };
	struct fixture *f = &d->f;
	struct weir_done done;
	uint32_t idx;
	bool again;

	switch (n) {
	case 0:
		return weir_ledger_post(f->l, &d->grants[0], f->t0, &done, &f->err);
	case 2:
		return weir_ledger_post(f->l, &d->grants[1], f->t0, &done, &f->err);
	case 4:
		return weir_ledger_tenant(f->l, "gamma", &idx, &f->err);
	case 5:
		return weir_ledger_switch(f->l, &s, &again, &f->err);
	case 7:
		return weir_ledger_cursor_set(f->l, "nats", 9, &f->err);
	}
	n -= (n > 0) + (n > 2) + (n > 4) + (n > 5) + (n > 7);
	return weir_ledger_append(f->l, d->rows[n], GROUP_ROWS, NULL, &f->err);
}
#define STEPS (GROUPS + 5)

static void assert_complete(struct disk *d)
{
	struct fixture *f = &d->f;
	struct weir_switch s;
	uint64_t at = 0;
	uint32_t idx;

	/* Rows, two grants, what was left of the second when it expired. */
	assert_int_equal(weir_ledger_newest(f->l), GROUPS * GROUP_ROWS + 3);
	assert_balance(f, f->acme, "90");
	ok(f, weir_ledger_tenant(f->l, "gamma", &idx, &f->err));
	assert_int_equal(idx, f->beta + 1);
	ok(f, weir_ledger_switch_state(f->l, WEIR_SWITCH_SUSPENDED, 1, &s, &f->err));
	assert_true(s.on);
	ok(f, weir_store_number_of(f->l->db, "SELECT seq FROM cursor WHERE name = ?", "nats", &at,
				   &f->err));
	assert_int_equal(at, 9);
}

/* ------------------------------------------------------------------------- runs */

static void begin(struct disk *d)
{
	remove_database(d->f.dir);
	remove_database(d->synced);
	faulty_vfs_lose(d->f.path, d->synced, 0); /* nothing is known of those any more */
	copy_file(d->empty, d->f.path);
	ok(&d->f, open_ledger(d));
}

static void close_ledger(struct disk *d)
{
	weir_ledger_close(d->f.l);
	d->f.l = NULL;
}

/* All steps, each until it works, and on the one connection. */
static void run_to_the_end(struct disk *d, unsigned from)
{
	for (unsigned n = from; n < STEPS; n++) {
		int tries = 0;

		while (step(d, n))
			if (++tries > TRIES)
				fail_msg("step %u: %s", n, d->f.err.text);
	}
}

/* The power goes, with all that was not synced, or some of it; and a new start. */
static void lose_power(struct disk *d, uint64_t seed)
{
	close_ledger(d);
	faulty_vfs_off();
	assert_int_equal(faulty_vfs_lose(d->f.path, d->synced, seed), 0);
	ok(&d->f, open_ledger(d));
}

/* How many of them a run has. */
static uint64_t count_ops(struct disk *d, uint32_t ops)
{
	begin(d);
	faulty_vfs_arm(ops, 0, FAULT_EIO, UINT64_MAX, 0);
	run_to_the_end(d, 0);
	faulty_vfs_off();
	assert_complete(d);
	close_ledger(d);
	return faulty_vfs_control()->seen;
}

/* ---------------------------------------------------------------------- claims */

/* Fault k of a run, `times` in a row; then the power is lost too, to see what is durable. */
static void one_fault(struct disk *d, uint32_t ops, enum fault_how how, uint64_t k, uint64_t times)
{
	begin(d);
	faulty_vfs_arm(ops, 0, how, k, times);
	run_to_the_end(d, 0);
	assert_true(faulty_vfs_control()->failed > 0);
	faulty_vfs_off();
	assert_complete(d);
	lose_power(d, k % 3 ? k : 0);
	assert_complete(d);
	assert_verifies(&d->f);
	close_ledger(d);
}

static void each_fault(struct disk *d, uint32_t ops, enum fault_how how, uint64_t times)
{
	uint64_t n = count_ops(d, ops);

	assert_true(n > 0);
	for (uint64_t k = 0; k < n; k++)
		one_fault(d, ops, how, k, times);
	print_message("%llu faults\n", (unsigned long long)n);
}

static void each_write_fails(void **state)
{
	each_fault(&disk, FAULT_WRITE, FAULT_EIO, 1);
}

static void each_write_is_torn(void **state)
{
	each_fault(&disk, FAULT_WRITE, FAULT_TORN, 1);
}

static void the_disk_is_full_for_a_while_from_each_write_on(void **state)
{
	each_fault(&disk, FAULT_WRITE | FAULT_SHM, FAULT_ENOSPC, TRIES / 2);
}

/* And what was written before a sync that failed is gone for good, as Linux has it. */
static void each_sync_fails(void **state)
{
	each_fault(&disk, FAULT_SYNC, FAULT_EIO, 1);
	each_fault(&disk, FAULT_SYNC, FAULT_EIO, 3);
}

static void each_read_fails(void **state)
{
	each_fault(&disk, FAULT_READ, FAULT_EIO, 1);
}

/* Nothing more reaches the disk from the k-th change on. */
static void the_power_is_lost_at_each_change(void **state)
{
	struct disk *d = &disk;
	uint64_t n = count_ops(d, FAULT_CHANGES);

	for (uint64_t k = 0; k < n; k++) {
		unsigned done = 0;

		begin(d);
		faulty_vfs_arm(FAULT_CHANGES, 0, k % 3 ? FAULT_TORN : FAULT_EIO, k, UINT64_MAX);
		while (done < STEPS && !step(d, done))
			done++;
		assert_true(faulty_vfs_control()->failed > 0);
		lose_power(d, k % 2 ? k : 0);
		/* What was acknowledged is there already, so that it may be asked for again. */
		for (unsigned i = 0; i < done; i++) {
			uint64_t newest = weir_ledger_newest(d->f.l);

			ok(&d->f, step(d, i));
			assert_int_equal(weir_ledger_newest(d->f.l), newest);
		}
		run_to_the_end(d, done);
		assert_complete(d);
		assert_verifies(&d->f);
		close_ledger(d);
	}
	print_message("%llu losses\n", (unsigned long long)n);
}

/* The WAL cannot be emptied: nothing waits for that, and it is once it can. */
static void a_database_that_takes_nothing_holds_up_nothing(void **state)
{
	struct disk *d = &disk;

	begin(d);
	faulty_vfs_arm(FAULT_WRITE | FAULT_SYNC, FAULT_DB, FAULT_EIO, 0, UINT64_MAX);
	for (unsigned n = 0; n < STEPS; n++)
		ok(&d->f, step(d, n));
	assert_true(faulty_vfs_control()->failed > 0);
	assert_complete(d);
	lose_power(d, 5);
	assert_complete(d);
	assert_verifies(&d->f);
	close_ledger(d);
}

/* The check itself: a ledger that does not sync loses what it acknowledged, and that shows. */
static void without_syncs_it_would_show(void **state)
{
	struct disk *d = &disk;

	begin(d);
	ok(&d->f, weir_store_exec(d->f.l->db, "PRAGMA synchronous=OFF", &d->f.err, "switching"));
	run_to_the_end(d, 0);
	assert_complete(d);
	/* Closing would sync nothing either, but write. */
	faulty_vfs_arm(FAULT_CHANGES, 0, FAULT_EIO, 0, UINT64_MAX);
	lose_power(d, 0);
	assert_true(weir_ledger_newest(d->f.l) < GROUPS * GROUP_ROWS + 3);
	close_ledger(d);
}

/* A new database: each change of its making fails, and what is left there can be opened. */
static void it_is_made_or_not_at_all(void **state)
{
	struct disk *d = &disk;
	uint64_t failed = 0;
	char id[64];

	for (uint64_t k = 0;; k++) {
		int ret;

		remove_database(d->f.dir);
		remove_database(d->synced);
		faulty_vfs_lose(d->f.path, d->synced, 0);
		faulty_vfs_arm(FAULT_CHANGES, 0, k % 2 ? FAULT_TORN : FAULT_ENOSPC, k, UINT64_MAX);
		ret = open_ledger(d);
		if (!faulty_vfs_control()->failed) { /* it has no more than k */
			faulty_vfs_off();
			ok(&d->f, ret);
			break;
		}
		if (ret)
			failed++;
		lose_power(d, k);
		assert_int_equal(strlen(weir_ledger_id(d->f.l)), 36);
		snprintf(id, sizeof(id), "%s", weir_ledger_id(d->f.l));
		close_ledger(d);
		ok(&d->f, open_ledger(d));
		assert_string_equal(weir_ledger_id(d->f.l), id);
		close_ledger(d);
	}
	assert_true(failed > 10);
	close_ledger(d);
}

/* ------------------------------------------------------------------------ setup */

static int up(void **state)
{
	struct disk *d = &disk;
	struct fixture *f = &d->f;

	strcpy(f->dir, access("/dev/shm", W_OK) ? "/tmp/weir-faults-XXXXXX"
						: "/dev/shm/weir-faults-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(d->synced, sizeof(d->synced), "%s/synced", f->dir);
	snprintf(d->empty, sizeof(d->empty), "%s/empty", f->dir);
	snprintf(f->path, sizeof(f->path), "%s/weir.db", f->dir);
	assert_int_equal(mkdir(d->synced, 0700), 0);
	assert_int_equal(faulty_vfs_install(NULL, d->synced), 0);
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	ok(f, weir_ledger_tenant(f->l, "acme", &f->acme, &f->err));
	ok(f, weir_ledger_tenant(f->l, "beta", &f->beta, &f->err));
	fixture_card(f);
	close_ledger(d);
	copy_file(f->path, d->empty);
	f->t0 = weir_wall_ns();
	d->grants[0] = make_grant(f->acme, "g1", "100");
	d->grants[1] = make_grant(f->acme, "g2", "7");
	d->grants[1].expires_ns = f->t0 + (GROUPS - 2) * SECOND; /* amid the rows */
	d->grants[1].priority = 200;				 /* nobody gets to it */
	for (int g = 0; g < GROUPS; g++)
		for (int i = 0; i < GROUP_ROWS; i++)
			d->rows[g][i] = make_row(f, f->acme, f->t0 + (uint64_t)g * SECOND, "0.5");
	return 0;
}

static int down(void **state)
{
	remove_database(disk.f.dir);
	remove_database(disk.synced);
	rmdir(disk.synced);
	unlink(disk.empty);
	rmdir(disk.f.dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_write_fails),
		cmocka_unit_test(each_write_is_torn),
		cmocka_unit_test(the_disk_is_full_for_a_while_from_each_write_on),
		cmocka_unit_test(each_sync_fails),
		cmocka_unit_test(each_read_fails),
		cmocka_unit_test(the_power_is_lost_at_each_change),
		cmocka_unit_test(a_database_that_takes_nothing_holds_up_nothing),
		cmocka_unit_test(without_syncs_it_would_show),
		cmocka_unit_test(it_is_made_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, up, down);
}
