// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about credit: which grants a charge burns, in which order, what becomes
 * debt, what comes back, what is refused. Random histories are tests/model's.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>

/* --------------------------------------------------------------------- burning */

/* Lots that a charge was taken from, in order; nothing else moved. */
static void assert_taken(const struct kept *k, size_t i, enum weir_purse purse, size_t n,
			 const uint64_t *seqs, const char *const *credits)
{
	assert_int_equal(k->e[i].n_moves, n);
	for (size_t b = 0; b < n; b++) {
		assert_int_equal(k->moves[i][b].purse, purse);
		assert_int_equal(k->moves[i][b].lot, seqs[b]);
		assert_money(-k->moves[i][b].nano, credits[b]);
	}
}

static void grants_burn_in_order(void **state)
{
	struct fixture *f = *state;
	uint64_t t = f->t0 - 1000 * SECOND, year = f->t0 + 365 * 86400 * SECOND;
	struct weir_op g[6];
	uint64_t seq[6];
	struct kept *k;

	for (int i = 0; i < 6; i++) {
		char key[16];

		snprintf(key, sizeof(key), "g%d", i);
		g[i] = make_grant(f->acme, key, "1");
		g[i].effective_ns = t;
	}
	/* In reverse: what makes each come before the one above it. */
	g[1].effective_ns = t - 1;
	g[2].source = WEIR_GRANT_TRIAL;
	g[3].expires_ns = year;
	g[4].expires_ns = year - 1;
	g[5].priority = 99;
	for (int i = 0; i < 6; i++)
		seq[i] = grant(f, &g[i]);
	spend(f, f->acme, weir_wall_ns(), "5.5");
	k = entries(f, (struct weir_entry_query){ .kinds = 1u << WEIR_ENTRY_USAGE });
	assert_taken(k, 0, WEIR_PURSE_REMAINING, 6,
		     (uint64_t[]){ seq[5], seq[4], seq[3], seq[2], seq[1], seq[0] },
		     (const char *[]){ "1", "1", "1", "1", "1", "0.5" });
	assert_money(k->e[0].balance_before_nano, "6");
	assert_money(k->e[0].balance_after_nano, "0.5");
	assert_money(k->e[0].amount_nano, "-5.5");
	assert_balance(f, f->acme, "0.5");
	assert_verifies(f);
}

static void at_one_instant_the_earlier_grant_burns_first(void **state)
{
	struct fixture *f = *state;
	struct weir_op a = make_grant(f->acme, "a", "1"), b = make_grant(f->acme, "b", "1");
	uint64_t first;

	a.effective_ns = b.effective_ns = f->t0 - SECOND;
	first = grant(f, &b);
	grant(f, &a);
	spend(f, f->acme, weir_wall_ns(), "0.25");
	assert_int_equal(all(f)->moves[2][0].lot, first);
}

static void what_no_grant_covers_is_debt_and_the_next_grant_repays_it(void **state)
{
	struct fixture *f = *state;
	struct weir_balance b;
	struct weir_reader *rd;
	struct kept *k;

	give(f, f->acme, "a", "1");
	spend(f, f->acme, weir_wall_ns(), "3.5");
	assert_balance(f, f->acme, "-2.5");
	give(f, f->acme, "b", "2");
	assert_balance(f, f->acme, "-0.5");
	give(f, f->acme, "c", "2");
	assert_balance(f, f->acme, "1.5");
	k = all(f);
	assert_money(debt_of(k, 1), "2.5");
	assert_money(debt_of(k, 2), "-2");
	assert_money(debt_of(k, 3), "-0.5");
	assert_money(k->e[3].amount_nano, "2");
	assert_money(k->e[3].balance_before_nano, "-0.5");
	assert_money(k->e[3].balance_after_nano, "1.5");
	rd = reader(f);
	ok(f, weir_reader_balance(rd, f->acme, weir_wall_ns() + SECOND, &b, &f->err));
	assert_money(b.balance_nano, "1.5");
	assert_money(b.debt_nano, "0");
	assert_int_equal(b.n_lots, 3);
	assert_int_equal(b.lots[2].seq, 4);
	assert_money(b.lots[2].remaining, "1.5");
	weir_balance_clear(&b);
	weir_reader_close(rd);
	assert_verifies(f);
}

static void a_grant_is_judged_by_when_the_request_started(void **state)
{
	struct fixture *f = *state;
	struct weir_op late = make_grant(f->acme, "late", "1");
	struct weir_op brief = make_grant(f->acme, "brief", "1");
	struct kept *k;

	brief.effective_ns = f->t0;
	brief.expires_ns = f->t0 + 100 * SECOND;
	late.effective_ns = f->t0 + 200 * SECOND;
	grant(f, &brief);
	grant(f, &late);
	spend(f, f->acme, f->t0 - 1, "0.1");		/* before either */
	spend(f, f->acme, f->t0 + 99 * SECOND, "0.1");	/* ends at brief's expiry: burns it yet */
	spend(f, f->acme, f->t0 + 100 * SECOND, "0.1"); /* neither */
	spend(f, f->acme, f->t0 + 200 * SECOND, "0.1");
	k = all(f);
	assert_int_equal(k->n, 8);
	assert_money(debt_of(k, 2), "0.1");
	assert_money(k->e[2].balance_before_nano, "1");
	assert_money(k->e[2].balance_after_nano, "0.9");
	/* What expired is not in the balance, and still pays for what began before. */
	assert_int_equal(k->e[3].kind, WEIR_ENTRY_EXPIRE);
	assert_int_equal(k->e[3].time_ns, brief.expires_ns);
	assert_money(k->e[3].amount_nano, "-1");
	assert_taken(k, 4, WEIR_PURSE_EXPIRED, 1, (uint64_t[]){ 1 }, (const char *[]){ "0.1" });
	assert_money(k->e[4].balance_before_nano, "-0.1");
	assert_money(k->e[4].balance_after_nano, "-0.1");
	assert_money(debt_of(k, 5), "0.1");
	/* What becomes effective repays the debt first. */
	assert_int_equal(k->e[6].kind, WEIR_ENTRY_ACTIVATE);
	assert_int_equal(k->e[6].time_ns, late.effective_ns);
	assert_money(debt_of(k, 6), "-0.2");
	assert_taken(k, 7, WEIR_PURSE_REMAINING, 1, (uint64_t[]){ 2 }, (const char *[]){ "0.1" });
	assert_money(k->e[7].balance_before_nano, "0.8");
	assert_money(k->e[7].balance_after_nano, "0.7");
	assert_verifies(f);
}

static void postpaid_is_priced_but_never_posted(void **state)
{
	struct fixture *f = *state;
	struct weir_row r = make_row(f, f->acme, f->t0, "3");
	struct kept *k;

	give(f, f->acme, "a", "1");
	r.flags &= (uint16_t)~WEIR_ROW_POSTED;
	append(f, &r, 1);
	assert_balance(f, f->acme, "1");
	k = all(f);
	assert_money(k->e[1].amount_nano, "0");
	assert_money(k->row[1].price_nano, "3");
	assert_int_equal(k->e[1].n_moves, 0);
}

static void a_wallet_pays_for_another_tenant(void **state)
{
	struct fixture *f = *state;
	struct weir_row r;
	struct kept *k;

	give(f, f->acme, "a", "5");
	r = make_row(f, f->beta, weir_wall_ns(), "2");
	r.wallet = f->acme;
	append(f, &r, 1);
	assert_balance(f, f->acme, "3");
	assert_balance(f, f->beta, "0");
	k = entries(f, (struct weir_entry_query){ .tenant = f->acme });
	assert_int_equal(k->n, 2);
	assert_string_equal(k->tenant[1], "beta");
	assert_string_equal(k->wallet[1], "acme");
	assert_verifies(f);
}

static void what_cannot_be_posted_is_recorded_all_the_same(void **state)
{
	struct fixture *f = *state;
	struct weir_row r[4];
	struct kept *k;

	r[0] = make_row(f, f->acme, f->t0, "9223372036");
	r[1] = make_row(f, f->acme, f->t0, "9223372036"); /* would not fit the debt */
	r[2] = make_row(f, f->acme, f->t0, "0");
	r[2].usage.input = -7;
	r[3] = make_row(f, UINT32_MAX, f->t0, "1"); /* garbage from shared memory */
	append(f, r, 4);
	k = all(f);
	assert_int_equal(k->n, 4);
	assert_true(k->row[0].flags & WEIR_ROW_POSTED);
	assert_false(k->row[1].flags & WEIR_ROW_POSTED);
	assert_true(k->row[2].flags & WEIR_ROW_UNPRICED);
	assert_false(k->row[3].flags & WEIR_ROW_POSTED);
	assert_balance(f, f->acme, "-9223372036");
	assert_string_equal(k->tenant[3], "");
	reopen(f);
	assert_balance(f, f->acme, "-9223372036");
}

/* ---------------------------------------------------------------------- grants */

static void asking_again_finds_the_first_grant(void **state)
{
	struct fixture *f = *state;
	struct weir_op g = make_grant(f->acme, "once", "1");
	struct weir_done done = { 0 };
	uint64_t first = grant(f, &g);

	strcpy(g.actor, "somebody else");
	ok(f, weir_ledger_post(f->l, &g, weir_wall_ns(), &done, &f->err));
	assert_true(done.repeated);
	assert_int_equal(done.seq, first);
	assert_money(done.amount_nano, "1");
	reopen(f);
	done = (struct weir_done){ 0 };
	ok(f, weir_ledger_post(f->l, &g, weir_wall_ns(), &done, &f->err));
	assert_true(done.repeated);
	ok(f, weir_ledger_rebuild(f->l, &f->err));
	done = (struct weir_done){ 0 };
	ok(f, weir_ledger_post(f->l, &g, weir_wall_ns(), &done, &f->err));
	assert_true(done.repeated);
	assert_balance(f, f->acme, "1");

	g.amount_nano++;
	done.seq = 42;
	assert_int_equal(weir_ledger_post(f->l, &g, weir_wall_ns(), &done, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "once"));
	assert_int_equal(done.seq, 42); /* untouched */
	assert_int_equal(weir_ledger_newest(f->l), 1);
}

static void a_grant_that_cannot_be_is_refused_and_nothing_written(void **state)
{
	struct fixture *f = *state;
	struct weir_op good = make_grant(f->acme, "k", "1"), g;
	struct weir_done done;

#define REFUSED(change, why)                                                                       \
	do {                                                                                       \
		g = good;                                                                          \
		change;                                                                            \
		assert_int_equal(weir_ledger_post(f->l, &g, weir_wall_ns(), &done, &f->err),       \
				 -(why));                                                          \
	} while (0)
	REFUSED(g.key[0] = 0, EINVAL);
	REFUSED(memset(g.key, 'x', sizeof(g.key)), EINVAL);
	REFUSED(memset(g.reason, 'x', sizeof(g.reason)), EINVAL);
	REFUSED(g.amount_nano = 0, EINVAL);
	REFUSED(g.amount_nano = -1, EINVAL);
	REFUSED(g.tenant = 0, ENOENT);
	REFUSED(g.tenant = 999, ENOENT);
	REFUSED(g.source = 9, EINVAL);
	REFUSED(g.expires_ns = f->t0 - SECOND, EINVAL);
	REFUSED((g.effective_ns = f->t0 + 9 * SECOND, g.expires_ns = f->t0 + 9 * SECOND), EINVAL);
	REFUSED(g.effective_ns = UINT64_MAX, EINVAL);
	assert_int_equal(weir_ledger_newest(f->l), 0);

	give(f, f->acme, "most", "9223372036");
	REFUSED(g.amount_nano = nano("1"), ERANGE);
	assert_int_equal(weir_ledger_newest(f->l), 1);
	assert_verifies(f);
}

/* ------------------------------------------------------------- taking it back */

static void a_refund_gives_back_in_reverse(void **state)
{
	struct fixture *f = *state;
	uint64_t now = weir_wall_ns(), usage;
	struct weir_op brief = make_grant(f->acme, "brief", "2"), r;
	struct weir_done done;
	struct kept *k;

	brief.expires_ns = now + 50 * SECOND;
	grant(f, &brief);
	give(f, f->acme, "long", "3");
	spend(f, f->acme, weir_wall_ns(), "6"); /* 2 of brief, 3 of long, 1 owed */
	usage = weir_ledger_newest(f->l);
	assert_balance(f, f->acme, "-1");
	r = make_op(f->acme, WEIR_ENTRY_REFUND, "r1", "2.5");
	r.of = usage;
	post_at(f, &r, now + 10 * SECOND); /* the debt, and 1.5 of long */
	assert_balance(f, f->acme, "1.5");
	/* The rest, when brief has expired: it comes back and is gone at once. */
	r = make_op(f->acme, WEIR_ENTRY_REFUND, "r2", "0");
	r.of = usage;
	post_at(f, &r, now + 60 * SECOND);
	assert_balance(f, f->acme, "3");
	k = entries(f, (struct weir_entry_query){ .kinds = 1u << WEIR_ENTRY_REFUND });
	assert_money(k->e[1].amount_nano, "3.5");
	assert_int_equal(k->moves[1][1].purse, WEIR_PURSE_EXPIRED);
	assert_money(k->moves[1][1].nano, "2");
	/* The same again is the same; one more is too much. */
	ok(f, weir_ledger_post(f->l, &r, now + 70 * SECOND, &done, &f->err));
	assert_true(done.repeated);
	strcpy(r.key, "r3");
	assert_int_equal(weir_ledger_post(f->l, &r, now + 70 * SECOND, &done, &f->err), -EINVAL);
	reopen(f);
	assert_int_equal(weir_ledger_post(f->l, &r, now + 70 * SECOND, &done, &f->err), -EINVAL);
	assert_verifies(f);
}

static void a_refund_as_a_grant_survives_its_lots(void **state)
{
	struct fixture *f = *state;
	uint64_t now = weir_wall_ns(), lot;
	struct weir_op v, r;

	lot = give(f, f->acme, "a", "2");
	spend(f, f->acme, weir_wall_ns(), "1.5");
	v = make_op(f->acme, WEIR_ENTRY_VOID, "v", "0");
	v.of = lot;
	post_at(f, &v, now + 10 * SECOND);
	assert_balance(f, f->acme, "0");
	r = make_op(f->acme, WEIR_ENTRY_REFUND, "r", "0.5");
	r.of = 2;
	post_at(f, &r, now + 11 * SECOND); /* into the voided: forfeited */
	assert_balance(f, f->acme, "0");
	r = make_op(f->acme, WEIR_ENTRY_REFUND, "r-grant", "0");
	r.of = 2;
	r.flags = WEIR_OP_AS_GRANT;
	post_at(f, &r, now + 12 * SECOND);
	assert_balance(f, f->acme, "1");
	spend(f, f->acme, now + 13 * SECOND, "0.25");
	assert_balance(f, f->acme, "0.75");
	assert_verifies(f);
}

static void a_deduct_takes_what_is_there_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct weir_op d = make_op(f->acme, WEIR_ENTRY_DEDUCT, "d1", "2");
	struct weir_done done;

	give(f, f->acme, "a", "3");
	post_at(f, &d, weir_wall_ns());
	assert_balance(f, f->acme, "1");
	strcpy(d.key, "d2");
	assert_int_equal(weir_ledger_post(f->l, &d, weir_wall_ns(), &done, &f->err), -ENODATA);
	assert_non_null(strstr(f->err.text, "balance 1"));
	d.overage_nano = nano("1");
	post_at(f, &d, weir_wall_ns());
	assert_balance(f, f->acme, "-1");
	strcpy(d.key, "d3");
	d.flags = WEIR_OP_ALLOW_DEBT;
	post_at(f, &d, weir_wall_ns());
	assert_balance(f, f->acme, "-3");
	assert_verifies(f);
}

/* ------------------------------------------------------------------ recurrence */

static void a_schedule_grants_rolls_over_and_stops(void **state)
{
	struct fixture *f = *state;
	uint64_t day = 86400 * SECOND, start = (f->t0 / day + 2) * day; /* a midnight to come */
	struct weir_op s = make_op(f->acme, WEIR_ENTRY_SCHEDULE, "daily", "10"), stop;
	uint64_t seq;
	struct kept *k;

	s.every = WEIR_EVERY_DAY;
	strcpy(s.zone, "UTC");
	s.effective_ns = start;
	s.roll_max_nano = nano("4");
	seq = post_at(f, &s, f->t0);
	assert_balance(f, f->acme, "0");
	ok(f, weir_ledger_advance(f->l, start, &f->err));
	assert_balance(f, f->acme, "10");
	reopen(f);
	spend(f, f->acme, start + SECOND, "3");
	ok(f, weir_ledger_advance(f->l, start + day - 1, &f->err));
	assert_balance(f, f->acme, "7");
	ok(f, weir_ledger_advance(f->l, start + day, &f->err)); /* 4 stay, 3 expire */
	assert_balance(f, f->acme, "14");
	ok(f, weir_ledger_rebuild(f->l, &f->err));
	assert_balance(f, f->acme, "14");
	/* An agent that was away for three days. */
	ok(f, weir_ledger_advance(f->l, start + 4 * day, &f->err));
	assert_balance(f, f->acme, "14");
	stop = make_op(f->acme, WEIR_ENTRY_VOID, "stop", "0");
	stop.of = seq;
	stop.flags = WEIR_OP_SCHEDULE;
	post_at(f, &stop, start + 4 * day + SECOND);
	ok(f, weir_ledger_advance(f->l, start + 9 * day, &f->err));
	assert_balance(f, f->acme, "0");
	assert_int_equal(weir_ledger_next_due(f->l), UINT64_MAX);
	k = entries(f, (struct weir_entry_query){ .kinds = 1u << WEIR_ENTRY_RECUR });
	assert_int_equal(k->n, 5);
	for (size_t i = 0; i < k->n; i++)
		assert_int_equal(k->e[i].time_ns, start + i * day);
	assert_verifies(f);
}

static void a_top_up_is_asked_for_once(void **state)
{
	struct fixture *f = *state;
	struct kept *k;

	assert_int_equal(weir_ledger_threshold(f->l, f->acme, nano("2"), nano("50")), 0);
	give(f, f->acme, "a", "3");
	spend(f, f->acme, weir_wall_ns(), "1"); /* 2: not below */
	spend(f, f->acme, weir_wall_ns(), "0.5");
	spend(f, f->acme, weir_wall_ns(), "0.5");
	reopen(f);
	assert_int_equal(weir_ledger_threshold(f->l, f->acme, nano("2"), nano("50")), 0);
	spend(f, f->acme, weir_wall_ns(), "0.5");
	give(f, f->acme, "b", "5");
	spend(f, f->acme, weir_wall_ns(), "5");
	k = entries(f, (struct weir_entry_query){ .kinds = 1u << WEIR_ENTRY_TOP_UP });
	assert_int_equal(k->n, 2);
	assert_money(k->op[0].amount_nano, "50");
	assert_money(k->op[0].threshold_nano, "2");
	assert_money(k->e[0].balance_after_nano, "1.5");
	assert_money(k->e[1].balance_after_nano, "0.5");
	assert_verifies(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(grants_burn_in_order),
		TEST(at_one_instant_the_earlier_grant_burns_first),
		TEST(what_no_grant_covers_is_debt_and_the_next_grant_repays_it),
		TEST(a_grant_is_judged_by_when_the_request_started),
		TEST(postpaid_is_priced_but_never_posted),
		TEST(a_wallet_pays_for_another_tenant),
		TEST(what_cannot_be_posted_is_recorded_all_the_same),
		TEST(asking_again_finds_the_first_grant),
		TEST(a_grant_that_cannot_be_is_refused_and_nothing_written),
		TEST(a_refund_gives_back_in_reverse),
		TEST(a_refund_as_a_grant_survives_its_lots),
		TEST(a_deduct_takes_what_is_there_and_no_more),
		TEST(a_schedule_grants_rolls_over_and_stops),
		TEST(a_top_up_is_asked_for_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
