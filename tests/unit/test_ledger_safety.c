// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what a ledger survives (kill -9, a full disk, lost checkpoints)
 * and what it notices (every kind of tampering).
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ------------------------------------------------------------------- surviving */

static void a_request_is_billed_once(void **state)
{
	struct fixture *f = *state;
	struct weir_row r[3];
	size_t known = 0;

	give(f, f->acme, "a", "10");
	for (int i = 0; i < 3; i++)
		r[i] = make_row(f, f->acme, weir_wall_ns(), "1");
	append(f, r, 2);
	ok(f, weir_ledger_append(f->l, r, 3, &known, &f->err)); /* redone after a crash */
	assert_int_equal(known, 2);
	assert_balance(f, f->acme, "7");
	r[0] = make_row(f, f->acme, weir_wall_ns(), "1");
	r[1] = r[0];
	ok(f, weir_ledger_append(f->l, r, 3, &known, &f->err)); /* twice in one group */
	assert_int_equal(known, 2);
	assert_balance(f, f->acme, "6");
	assert_verifies(f);
}

static int take_sum(const struct weir_usage_sum *s, void *ctx)
{
	*(struct weir_usage_sum *)ctx = *s;
	return 0;
}

static void projections_survive_and_can_be_rebuilt(void **state)
{
	struct fixture *f = *state;
	struct weir_usage_sum s = { 0 };
	struct weir_reader *rd;
	struct weir_row r;

	give(f, f->acme, "a", "10");
	give(f, f->beta, "b", "0.5");
	for (int i = 0; i < 5; i++)
		spend(f, f->acme, weir_wall_ns(), "1.25");
	spend(f, f->beta, weir_wall_ns(), "1");
	r = make_row(f, f->acme, weir_wall_ns(), "0");
	r.usage_source = WEIR_USAGE_ESTIMATED;
	append(f, &r, 1);
	for (int round = 0; round < 4; round++) {
		if (round == 1) {
			ok(f, weir_ledger_rebuild(f->l, &f->err));
		} else if (round == 2) {
			/* As if the last checkpoint were older: the tail is replayed. */
			assert_int_equal(sql(f, "UPDATE meta SET value = '0' WHERE key ="
						" 'checkpoint'; DELETE FROM account;"
						" DELETE FROM lot; DELETE FROM write"),
					 SQLITE_OK);
			reopen(f);
		} else if (round == 3) {
			reopen(f);
		}
		assert_balance(f, f->acme, "3.75");
		assert_balance(f, f->beta, "-0.5");
		rd = reader(f);
		ok(f, weir_reader_usage(rd, f->acme, take_sum, &s, &f->err));
		assert_string_equal(s.name, "acme");
		assert_int_equal(s.requests, 6);
		assert_int_equal(s.estimated, 1);
		assert_money(s.tokens.input, "6.25"); /* a token a nano */
		assert_int_equal(s.tokens.cache_read, 120);
		assert_int_equal(s.tokens.cache_write, 0); /* unknown adds nothing */
		assert_int_equal(s.tokens.output, 180);
		assert_money(s.price_nano, "6.25");
		weir_reader_close(rd);
		assert_verifies(f);
	}
	spend(f, f->acme, weir_wall_ns(), "1");
	assert_balance(f, f->acme, "2.75");
}

/* The disk is full: a limit on file size says so at once. */
static void a_group_that_cannot_be_written_leaves_no_trace(void **state)
{
	static struct weir_row rows[4096];
	struct fixture *f = *state;
	struct rlimit old, tiny;
	size_t known;
	int ret;

	give(f, f->acme, "a", "10000");
	spend(f, f->acme, weir_wall_ns(), "1");
	for (size_t i = 0; i < 4096; i++)
		rows[i] = make_row(f, f->acme, weir_wall_ns(), "1");
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	tiny = (struct rlimit){ 200 * 1024, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &tiny);
	ret = weir_ledger_append(f->l, rows, 4096, &known, &f->err);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_true(ret == -EIO || ret == -ENOSPC);
	assert_non_null(strstr(f->err.text, f->path));
	assert_balance(f, f->acme, "9999");
	assert_int_equal(weir_ledger_newest(f->l), 2);
	assert_verifies(f);

	append(f, rows, 4096); /* and it goes on by itself */
	assert_balance(f, f->acme, "5903");
	assert_verifies(f);
	reopen(f);
	assert_balance(f, f->acme, "5903");
}

#define KILL_GROUP 64

/* Row n of a run, the same each time it is made. */
static struct weir_row nth_row(struct fixture *f, uint64_t n)
{
	f->made = n;
	return make_row(f, f->acme, f->t0 + n, "0.25");
}

static void append_until_killed(struct fixture *f, uint64_t n, int tell)
{
	struct weir_row rows[KILL_GROUP];

	if (weir_ledger_open(f->path, &f->l, &f->err))
		_exit(1);
	for (;; n += KILL_GROUP) {
		for (uint64_t i = 0; i < KILL_GROUP; i++)
			rows[i] = nth_row(f, n + i);
		if (weir_ledger_append(f->l, rows, KILL_GROUP, NULL, &f->err) ||
		    write(tell, &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

/* Fork a writer, kill it at some instant. Gives the first row not acknowledged. */
static uint64_t run_and_kill(struct fixture *f, uint64_t from, int groups)
{
	uint64_t told, next = from;
	int fd[2], status;
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		append_until_killed(f, from, fd[1]);
	close(fd[1]);
	for (int i = 0; i < groups; i++) {
		assert_int_equal(read(fd[0], &told, sizeof(told)), sizeof(told));
		next = told + KILL_GROUP;
	}
	/* Not where it has just told, but somewhere inside of a later group. */
	for (volatile long i = random() % 2000000; i; i--)
		;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	while (read(fd[0], &told, sizeof(told)) == sizeof(told))
		next = told + KILL_GROUP;
	close(fd[0]);
	return next;
}

static void kill_9_loses_nothing_and_bills_nothing_twice(void **state)
{
	struct fixture *f = *state;
	struct weir_row rows[2 * KILL_GROUP];
	uint64_t next = 1;
	size_t known;

	srandom(7);
	weir_ledger_close(f->l);
	f->l = NULL;
	for (int round = 0; round < 12; round++) {
		uint64_t durable = run_and_kill(f, next, 1 + round % 4);

		ok(f, weir_ledger_open(f->path, &f->l, &f->err));
		/* All that was acknowledged, and whole groups only. */
		assert_true(weir_ledger_newest(f->l) >= durable - 1);
		assert_int_equal(weir_ledger_newest(f->l) % KILL_GROUP, 0);
		/* Work redone, from before what was durable, is recognised. */
		for (uint64_t i = 0; i < 2 * KILL_GROUP; i++)
			rows[i] = nth_row(f, durable - KILL_GROUP + i);
		ok(f, weir_ledger_append(f->l, rows, 2 * KILL_GROUP, &known, &f->err));
		assert_true(known >= KILL_GROUP);
		next = weir_ledger_newest(f->l) + 1;
		assert_int_equal(weir_ledger_balance(f->l, f->acme),
				 -(int64_t)(next - 1) * nano("0.25"));
		weir_ledger_close(f->l);
		f->l = NULL;
	}
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	assert_verifies(f);
}

/* ------------------------------------------------------------------- tampering */

static void nothing_is_updated_or_deleted(void **state)
{
	struct fixture *f = *state;

	spend(f, f->acme, f->t0, "1");
	assert_int_not_equal(sql(f, "UPDATE entry SET amount = 0"), SQLITE_OK);
	assert_int_not_equal(sql(f, "DELETE FROM entry"), SQLITE_OK);
	assert_int_equal(all(f)->n, 1);
}

static void tamper(struct fixture *f, const char *how, uint64_t seq, const char *what)
{
	struct weir_reader *rd;
	struct weir_verify v;

	assert_int_equal(sql(f, how), SQLITE_OK);
	rd = reader(f);
	assert_int_equal(weir_reader_verify(rd, &v, &f->err), -EBADMSG);
	weir_reader_close(rd);
	if (!strstr(v.wrong, what))
		fail_msg("after %s: %s", how, v.wrong);
	assert_int_equal(v.wrong_seq, seq);
}

#define UNLOCK "DROP TRIGGER IF EXISTS entry_update; DROP TRIGGER IF EXISTS entry_delete; "

static void verify_names_the_first_wrong_entry(void **state)
{
	struct fixture *f = *state;

	give(f, f->acme, "a", "10");
	for (int i = 0; i < 5; i++)
		spend(f, f->acme, weir_wall_ns(), "1");
	assert_verifies(f);
	tamper(f, "UPDATE lot SET remaining = 6000000000", 1, "what remains of the grant is 6,");
	tamper(f, "UPDATE lot SET remaining = 5000000000; UPDATE account SET price = 1", 0,
	       "acme: price is 1");
	tamper(f, UNLOCK "UPDATE entry SET amount = 5 WHERE seq = 3", 3, "hash");
	tamper(f,
	       "UPDATE entry SET amount = -1000000000 WHERE seq = 3;"
	       " UPDATE entry SET hash = zeroblob(32) WHERE seq = 2",
	       2, "hash");
	tamper(f, "DELETE FROM entry WHERE seq = 1", 1, "missing");
}

static void a_cut_off_tail_is_noticed(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++)
		spend(f, f->acme, weir_wall_ns(), "1");
	tamper(f, UNLOCK "DELETE FROM entry WHERE seq = 5", 5, "missing");
	weir_ledger_close(f->l);
	f->l = NULL;
	assert_int_equal(weir_ledger_open(f->path, &f->l, &f->err), -EBADMSG);
	assert_non_null(strstr(f->err.text, "entries after 4 are gone"));
}

/* By the card that the row says. */
static void verify_prices_again(void **state)
{
	static const char json[] =
		"{\"version\":\"2\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":["
		"{\"match\":\"*\",\"price\":{\"input\":\"0.5\",\"output\":\"1.5\",\"per\":1000},"
		"\"cost\":{\"input\":\"0.1\",\"output\":\"0.4\",\"per\":1000}}]}";
	struct fixture *f = *state;
	struct weir_card *card;
	struct weir_reader *rd;
	struct weir_verify v;
	struct weir_row r;
	uint32_t id = 0, again = 0;

	ok(f, weir_card_parse(json, "test", &card, &f->err));
	ok(f, weir_ledger_card(f->l, card, &id, &f->err));
	ok(f, weir_ledger_card(f->l, card, &again, &f->err));
	assert_int_equal(id, again);
	r = make_row(f, f->acme, f->t0, "0");
	r.card_id = id;
	append(f, &r, 1);
	rd = reader(f);
	ok(f, weir_reader_verify(rd, &v, &f->err));
	assert_int_equal(v.repriced, 1);
	assert_string_equal(weir_reader_card(rd, id)->version, "2");
	assert_null(weir_reader_card(rd, id + 1));
	weir_reader_close(rd);

	/* The same version, said differently. */
	card->sha256[0] ^= 1;
	assert_int_equal(weir_ledger_card(f->l, card, &id, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "immutable"));
	weir_card_free(card);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_billed_once),
		TEST(projections_survive_and_can_be_rebuilt),
		TEST(a_group_that_cannot_be_written_leaves_no_trace),
		TEST(kill_9_loses_nothing_and_bills_nothing_twice),
		TEST(nothing_is_updated_or_deleted),
		TEST(verify_names_the_first_wrong_entry),
		TEST(a_cut_off_tail_is_noticed),
		TEST(verify_prices_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
