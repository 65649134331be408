// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about credit: which grants a charge burns, in which order, what becomes
 * debt, what is refused; and a second opinion on random histories.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>

/* --------------------------------------------------------------------- burning */

static void assert_burnt(const struct kept *k, size_t i, size_t n, const uint64_t *seqs,
			 const char *const *credits)
{
	assert_int_equal(k->e[i].n_burns, n);
	for (size_t b = 0; b < n; b++) {
		assert_int_equal(k->burns[i][b].grant, seqs[b]);
		assert_money(k->burns[i][b].nano, credits[b]);
	}
}

static void grants_burn_in_order(void **state)
{
	struct fixture *f = *state;
	uint64_t t = f->t0 - 1000 * SECOND, year = f->t0 + 365 * 86400 * SECOND;
	struct weir_grant g[6];
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
	assert_burnt(k, 0, 6, (uint64_t[]){ seq[5], seq[4], seq[3], seq[2], seq[1], seq[0] },
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
	struct weir_grant a = make_grant(f->acme, "a", "1"), b = make_grant(f->acme, "b", "1");
	uint64_t first;

	a.effective_ns = b.effective_ns = f->t0 - SECOND;
	first = grant(f, &b);
	grant(f, &a);
	spend(f, f->acme, weir_wall_ns(), "0.25");
	assert_int_equal(all(f)->burns[2][0].grant, first);
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
	assert_money(k->e[1].debt_nano, "2.5");
	assert_money(k->e[2].debt_nano, "-2");
	assert_money(k->e[3].debt_nano, "-0.5");
	assert_money(k->e[3].amount_nano, "2");
	assert_money(k->e[3].balance_before_nano, "-0.5");
	assert_money(k->e[3].balance_after_nano, "1.5");
	rd = reader(f);
	ok(f, weir_reader_balance(rd, f->acme, weir_wall_ns() + SECOND, &b, &f->err));
	assert_money(b.balance_nano, "1.5");
	assert_money(b.debt_nano, "0");
	assert_int_equal(b.n_grants, 3);
	assert_string_equal(b.grants[2].grant.key, "c");
	assert_money(b.grants[2].remaining_nano, "1.5");
	weir_balance_clear(&b);
	weir_reader_close(rd);
	assert_verifies(f);
}

static void a_grant_is_judged_by_when_the_request_started(void **state)
{
	struct fixture *f = *state;
	struct weir_grant late = make_grant(f->acme, "late", "1");
	struct weir_grant brief = make_grant(f->acme, "brief", "1");
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
	assert_int_equal(k->e[2].n_burns, 0);
	assert_burnt(k, 3, 1, (uint64_t[]){ 1 }, (const char *[]){ "0.1" });
	assert_int_equal(k->e[4].n_burns, 0);
	assert_burnt(k, 5, 1, (uint64_t[]){ 2 }, (const char *[]){ "0.1" });
	/* At each entry's own time what is expired or not yet effective does not count. */
	assert_money(k->e[2].balance_before_nano, "1");
	assert_money(k->e[2].balance_after_nano, "0.9");
	assert_money(k->e[3].balance_before_nano, "-0.1");
	assert_money(k->e[3].balance_after_nano, "-0.1");
	assert_money(k->e[5].balance_before_nano, "0.8");
	assert_money(k->e[5].balance_after_nano, "0.7");
	assert_int_equal(weir_ledger_balance_at(f->l, f->acme, f->t0 + 50 * SECOND),
			 nano("0.7")); /* 0.9 of brief, 0.2 debt */
	assert_int_equal(weir_ledger_balance_at(f->l, f->acme, f->t0 + 100 * SECOND), nano("-0.2"));
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
	assert_int_equal(k->e[1].n_burns, 0);
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
	r[2].price_nano = -7;
	r[3] = make_row(f, UINT32_MAX, f->t0, "1"); /* garbage from shared memory */
	append(f, r, 4);
	k = all(f);
	assert_int_equal(k->n, 4);
	assert_true(k->row[0].flags & WEIR_ROW_POSTED);
	for (int i = 1; i < 4; i++)
		assert_false(k->row[i].flags & WEIR_ROW_POSTED);
	assert_balance(f, f->acme, "-9223372036");
	assert_string_equal(k->tenant[3], "");
	reopen(f);
	assert_balance(f, f->acme, "-9223372036");
}

/* ---------------------------------------------------------------------- grants */

static void asking_again_finds_the_first_grant(void **state)
{
	struct fixture *f = *state;
	struct weir_grant g = make_grant(f->acme, "once", "1");
	uint64_t first = grant(f, &g), seq = 0;
	bool repeated = false;

	strcpy(g.actor, "somebody else");
	ok(f, weir_ledger_grant(f->l, &g, &seq, &repeated, &f->err));
	assert_true(repeated);
	assert_int_equal(seq, first);
	reopen(f);
	repeated = false;
	ok(f, weir_ledger_grant(f->l, &g, &seq, &repeated, &f->err));
	assert_true(repeated);
	assert_balance(f, f->acme, "1");

	g.amount_nano++;
	seq = 42;
	assert_int_equal(weir_ledger_grant(f->l, &g, &seq, &repeated, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "once"));
	assert_int_equal(seq, 42); /* untouched */
	assert_int_equal(weir_ledger_newest(f->l), 1);
}

static void a_grant_that_cannot_be_is_refused_and_nothing_written(void **state)
{
	struct fixture *f = *state;
	struct weir_grant good = make_grant(f->acme, "k", "1"), g;
	uint64_t seq;
	bool rep;

#define REFUSED(change, why)                                                                       \
	do {                                                                                       \
		g = good;                                                                          \
		change;                                                                            \
		assert_int_equal(weir_ledger_grant(f->l, &g, &seq, &rep, &f->err), -(why));        \
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

/* ------------------------------------------------------------------ by the dice */

/* A second opinion, written as the rules are, slow and plain: every grant of a
 * wallet in an array, looked through for the first in order each time. */
struct toy_grant {
	uint64_t seq, effective, expires;
	int64_t left;
	uint8_t priority, source;
};
struct toy {
	struct toy_grant g[64];
	size_t n;
	int64_t debt;
};

static bool before(const struct toy_grant *a, const struct toy_grant *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	if (a->expires != b->expires)
		return a->expires && (!b->expires || a->expires < b->expires);
	if ((a->source == WEIR_GRANT_PAID) != (b->source == WEIR_GRANT_PAID))
		return a->source != WEIR_GRANT_PAID;
	if (a->effective != b->effective)
		return a->effective < b->effective;
	return a->seq < b->seq;
}

static void toy_spend(struct toy *t, uint64_t at, int64_t price)
{
	while (price) {
		struct toy_grant *best = NULL;
		int64_t take;

		for (size_t i = 0; i < t->n; i++) {
			struct toy_grant *g = &t->g[i];

			if (g->left && g->effective <= at && (!g->expires || at < g->expires) &&
			    (!best || before(g, best)))
				best = g;
		}
		if (!best) {
			t->debt += price;
			return;
		}
		take = price < best->left ? price : best->left;
		best->left -= take;
		price -= take;
	}
}

static int64_t toy_balance(const struct toy *t, uint64_t at)
{
	int64_t sum = -t->debt;

	for (size_t i = 0; i < t->n; i++) {
		if (t->g[i].effective <= at && (!t->g[i].expires || at < t->g[i].expires))
			sum += t->g[i].left;
	}
	return sum;
}

static void toy_give(struct fixture *f, struct toy *t, uint32_t tenant, int n)
{
	struct weir_grant g = make_grant(tenant, "", "1");
	int64_t repaid = 0;
	uint64_t now = weir_wall_ns();
	struct kept *k;

	snprintf(g.key, sizeof(g.key), "dice-%u-%d", tenant, n);
	g.amount_nano = 1 + random() % 4000;
	g.priority = (uint8_t)(99 + random() % 3);
	g.source = (uint8_t)(random() % 3);
	g.effective_ns = now + (uint64_t)(random() % 40) * SECOND - 20 * SECOND;
	if (random() % 2)
		g.expires_ns = now + (uint64_t)(21 + random() % 60) * SECOND;
	t->g[t->n] = (struct toy_grant){ grant(f, &g),	g.effective_ns, g.expires_ns,
					 g.amount_nano, g.priority,	g.source };
	/* Judged at ledger time, which rows may have moved ahead of the wall. */
	k = entries(f, (struct weir_entry_query){ .newest_first = true, .limit = 1 });
	if (g.effective_ns <= k->e[0].time_ns && (!g.expires_ns || k->e[0].time_ns < g.expires_ns))
		repaid = t->debt < g.amount_nano ? t->debt : g.amount_nano;
	t->g[t->n].left -= repaid;
	t->debt -= repaid;
	t->n++;
}

static void random_histories_agree_with_a_second_opinion(void **state)
{
	struct fixture *f = *state;
	static struct toy toys[3];

	memset(toys, 0, sizeof(toys));
	srandom(20261101);
	for (int i = 0; i < 3000; i++) {
		uint32_t tenant = random() % 2 ? f->acme : f->beta;
		struct toy *t = &toys[tenant];
		uint64_t start = f->t0 + (uint64_t)(random() % 100) * SECOND - 40 * SECOND;
		int64_t price = random() % 300;
		struct weir_row r;

		if (t->n < 20 && random() % 60 == 0)
			toy_give(f, t, tenant, i);
		r = make_row(f, tenant, start, "0");
		r.ended_wall_ns = start; /* so that ledger time stays near */
		r.price_nano = r.usage.input = price;
		append(f, &r, 1);
		toy_spend(t, start, price);
		if (i % 500 == 250)
			reopen(f);
		assert_int_equal(weir_ledger_balance_at(f->l, tenant, start),
				 toy_balance(t, start));
	}
	assert_verifies(f);
	ok(f, weir_ledger_rebuild(f->l, &f->err));
	for (uint32_t tenant = 1; tenant <= 2; tenant++) {
		for (int s = -40; s < 100; s++)
			assert_int_equal(weir_ledger_balance_at(f->l, tenant, f->t0 + s * SECOND),
					 toy_balance(&toys[tenant], f->t0 + s * SECOND));
	}
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
		TEST(random_histories_agree_with_a_second_opinion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
