// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the ledger: what a charge burns, what survives, what is refused,
 * and that it is read back as it was written.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>
#include <sys/resource.h>
#include <signal.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)

/* ---------------------------------------------------------------- reading back */

struct kept {
	size_t n;
	struct weir_entry e[64];
	struct weir_row row[64];
	struct weir_grant grant[64];
	struct weir_burn burns[64][8];
	char tenant[64][16], wallet[64][16]; /* "" if there is no name */
};

static int keep(const struct weir_entry *e, void *ctx)
{
	struct kept *k = ctx;
	size_t i = k->n++;

	assert_true(i < 64 && e->n_burns <= 8);
	k->e[i] = *e;
	snprintf(k->tenant[i], 16, "%s", e->tenant_name ? e->tenant_name : "");
	snprintf(k->wallet[i], 16, "%s", e->wallet_name ? e->wallet_name : "");
	if (e->row)
		k->row[i] = *e->row;
	if (e->grant)
		k->grant[i] = *e->grant;
	if (e->n_burns)
		memcpy(k->burns[i], e->burns, e->n_burns * sizeof(*e->burns));
	return 0;
}

static struct kept *entries(struct fixture *f, struct weir_entry_query q)
{
	static struct kept k;
	struct weir_reader *rd = reader(f);

	memset(&k, 0, sizeof(k));
	ok(f, weir_reader_entries(rd, &q, keep, &k, &f->err));
	weir_reader_close(rd);
	return &k;
}

static struct kept *all(struct fixture *f)
{
	return entries(f, (struct weir_entry_query){ 0 });
}

static void assert_money(int64_t is, const char *credits)
{
	assert_int_equal(is, nano(credits));
}

static void a_row_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct weir_row r[3];
	struct kept *k;

	for (int i = 0; i < 3; i++)
		r[i] = make_row(f, f->acme, f->t0 + i, "0.000000001");
	/* All that can be odd about one. */
	memset(r[1].model, 'm', sizeof(r[1].model)); /* full: no NUL */
	memset(r[1].client, 0xab, sizeof(r[1].client));
	r[1].usage = (struct weir_usage){ INT64_MAX, WEIR_UNKNOWN, 0, -1, 7 };
	r[1].cost_nano = INT64_MAX;
	r[1].reserved_nano = INT64_MIN;
	r[1].request_bytes = 0;
	r[1].response_bytes = UINT64_MAX;
	r[1].ended_wall_ns = r[1].started_wall_ns - 5; /* the clock was set back */
	r[1].flags = WEIR_ROW_STREAM | WEIR_ROW_LOST_BYTES;
	r[1].card_id = 3;
	r[1].card_entry = UINT32_MAX;
	memset(&r[2].method, 0, sizeof(r[2]) - offsetof(struct weir_row, method));
	append(f, r, 3);
	k = all(f);
	assert_int_equal(k->n, 3);
	for (int i = 0; i < 3; i++) {
		assert_memory_equal(&k->row[i], &r[i], sizeof(r[i]));
		assert_string_equal(k->tenant[i], "acme");
		assert_int_equal(k->e[i].seq, i + 1);
	}
	assert_memory_equal(k->e[1].prev_hash, k->e[0].hash, WEIR_HASH_BYTES);
}

static void ledger_time_never_goes_back(void **state)
{
	struct fixture *f = *state;
	struct kept *k;

	spend(f, f->acme, f->t0 + 5 * SECOND, "1");
	spend(f, f->acme, f->t0, "1");
	spend(f, f->acme, f->t0 + 9 * SECOND, "1");
	k = all(f);
	assert_int_equal(k->e[0].time_ns, f->t0 + 6 * SECOND);
	assert_int_equal(k->e[1].time_ns, f->t0 + 6 * SECOND);
	assert_int_equal(k->e[2].time_ns, f->t0 + 10 * SECOND);
	assert_int_equal(k->row[1].ended_wall_ns, f->t0 + SECOND);
}

static void entries_are_picked_by_seq_time_tenant_and_kind(void **state)
{
	struct fixture *f = *state;
	uint64_t t = f->t0 + 100 * SECOND;
	struct weir_reader *rd;
	struct kept *k;
	uint8_t hash[WEIR_HASH_BYTES];
	struct weir_id id;

	give(f, f->acme, "g", "5");
	for (int i = 0; i < 8; i++)
		spend(f, i & 1 ? f->beta : f->acme, t + i * SECOND, "1");
	k = entries(f, (struct weir_entry_query){ .from_seq = 8 });
	assert_int_equal(k->n, 2);
	k = entries(f, (struct weir_entry_query){ .since_ns = t + 3 * SECOND, .limit = 2 });
	assert_int_equal(k->n, 2);
	assert_int_equal(k->e[0].seq, 4); /* ended at t + 3 s */
	k = entries(f, (struct weir_entry_query){ .until_ns = t + 3 * SECOND });
	assert_int_equal(k->n, 3);
	k = entries(f, (struct weir_entry_query){ .since_ns = t + 1000 * SECOND });
	assert_int_equal(k->n, 0);
	k = entries(f, (struct weir_entry_query){ .tenant = f->beta, .newest_first = true });
	assert_int_equal(k->n, 4);
	assert_int_equal(k->e[0].seq, 9);
	assert_int_equal(k->e[3].seq, 3);
	memcpy(hash, k->e[0].prev_hash, sizeof(hash));
	assert_memory_equal(hash, all(f)->e[7].hash, sizeof(hash));
	k = entries(f, (struct weir_entry_query){ .kinds = 1u << WEIR_ENTRY_GRANT });
	assert_int_equal(k->n, 1);
	assert_string_equal(k->grant[0].key, "g");

	rd = reader(f);
	id = all(f)->e[5].id;
	memset(k, 0, sizeof(*k));
	ok(f, weir_reader_find(rd, &id, keep, k, &f->err));
	assert_int_equal(k->e[0].seq, 6);
	id.b[0] ^= 1;
	assert_int_equal(weir_reader_find(rd, &id, keep, k, &f->err), -ENOENT);
	weir_reader_close(rd);
}

static void a_long_walk_crosses_pages(void **state)
{
	struct fixture *f = *state;
	static struct weir_row rows[9000];
	struct weir_entry_query q = { .tenant = f->beta };
	struct kept *k;

	for (size_t i = 0; i < 9000; i++)
		rows[i] = make_row(f, i % 1000 ? f->acme : f->beta, f->t0 + i, "0");
	append(f, rows, 9000);
	k = entries(f, q);
	assert_int_equal(k->n, 9);
	assert_int_equal(k->e[8].seq, 8001);
	q.newest_first = true;
	k = entries(f, q);
	assert_int_equal(k->n, 9);
	assert_int_equal(k->e[8].seq, 1);
	assert_verifies(f);
}

static int stop_at_two(const struct weir_entry *e, void *ctx)
{
	return e->seq == 2 ? 77 : 0;
}

static void a_walk_ends_when_told(void **state)
{
	struct fixture *f = *state;
	struct weir_entry_query q = { 0 };
	struct weir_reader *rd;

	for (int i = 0; i < 4; i++)
		spend(f, f->acme, f->t0 + i, "1");
	rd = reader(f);
	assert_int_equal(weir_reader_entries(rd, &q, stop_at_two, NULL, &f->err), 77);
	weir_reader_close(rd);
}

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
						" DELETE FROM credit"),
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
	tamper(f, "UPDATE credit SET remaining = 6000000000", 1, "what remains of the grant is 6,");
	tamper(f, "UPDATE credit SET remaining = 5000000000; UPDATE account SET price = 1", 0,
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

/* Whoever can recompute hashes still cannot make burns, prices, balances agree:
 * here the database says one price and the card another. */
static void verify_prices_again(void **state)
{
	static const char json[] =
		"{\"version\":\"2\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":["
		"{\"match\":\"*\",\"price\":{\"input\":\"0.5\",\"output\":\"1.5\",\"per\":1000},"
		"\"cost\":{\"input\":\"0.1\",\"output\":\"0.4\",\"per\":1000}}]}";
	struct fixture *f = *state;
	struct weir_card *card;
	struct weir_charge charge;
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
	assert_int_equal(weir_card_charge(card, 0, &r.usage, &charge), 0);
	r.price_nano = charge.price_nano;
	r.cost_nano = charge.cost_nano;
	append(f, &r, 1);
	rd = reader(f);
	ok(f, weir_reader_verify(rd, &v, &f->err));
	assert_int_equal(v.repriced, 1);
	assert_string_equal(weir_reader_card(rd, id)->version, "2");
	assert_null(weir_reader_card(rd, id + 1));
	weir_reader_close(rd);

	r = make_row(f, f->acme, f->t0, "0");
	r.card_id = id;
	r.price_nano = charge.price_nano + 1;
	r.cost_nano = charge.cost_nano;
	append(f, &r, 1);
	tamper(f, "", 2, "price is");

	/* The same version, said differently. */
	card->sha256[0] ^= 1;
	assert_int_equal(weir_ledger_card(f->l, card, &id, &f->err), -EEXIST);
	assert_non_null(strstr(f->err.text, "immutable"));
	weir_card_free(card);
}

/* ----------------------------------------------------------------- other tables */

static void tenants_keep_their_numbers(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd;
	uint32_t i;

	assert_int_equal(f->acme, 1);
	assert_int_equal(f->beta, 2);
	reopen(f);
	ok(f, weir_ledger_tenant(f->l, "beta", &i, &f->err));
	assert_int_equal(i, 2);
	assert_string_equal(weir_ledger_tenant_name(f->l, 1), "acme");
	assert_null(weir_ledger_tenant_name(f->l, 0));
	assert_null(weir_ledger_tenant_name(f->l, 3));
	assert_int_equal(weir_ledger_tenant(f->l, "No Name", &i, &f->err), -EINVAL);
	ok(f, weir_ledger_tenant(f->l, "gamma", &i, &f->err));
	assert_int_equal(i, 3);
	rd = reader(f);
	ok(f, weir_reader_tenant(rd, "gamma", &i, &f->err));
	assert_int_equal(i, 3);
	assert_int_equal(weir_reader_tenant(rd, "delta", &i, &f->err), -ENOENT);
	weir_reader_close(rd);
}

static void keys_are_kept_by_hash_and_revoked_once(void **state)
{
	struct fixture *f = *state;
	struct weir_stored_key k = {
		.tenant = f->acme, .hint = "sk-weir-ab", .created_ns = 5, .expires_ns = 9
	};
	struct weir_stored_key *v = NULL;
	uint64_t revoked;
	size_t n = 0;

	k.sha256[31] = 1;
	ok(f, weir_ledger_key_add(f->l, &k, &f->err));
	assert_int_equal(weir_ledger_key_add(f->l, &k, &f->err), -EEXIST);
	ok(f, weir_ledger_key_revoke(f->l, k.sha256, &f->err));
	ok(f, weir_ledger_keys(f->l, &v, &n, &f->err));
	assert_int_equal(n, 1);
	revoked = v[0].revoked_ns;
	assert_true(revoked != 0);
	assert_int_equal(v[0].expires_ns, 9);
	assert_string_equal(v[0].hint, "sk-weir-ab");
	free(v);
	ok(f, weir_ledger_key_revoke(f->l, k.sha256, &f->err));
	ok(f, weir_ledger_keys(f->l, &v, &n, &f->err));
	assert_int_equal(v[0].revoked_ns, revoked);
	free(v);
	k.sha256[0] = 1;
	assert_int_equal(weir_ledger_key_revoke(f->l, k.sha256, &f->err), -ENOENT);
	k.tenant = 99;
	assert_int_equal(weir_ledger_key_add(f->l, &k, &f->err), -ENOENT);
}

static void a_cursor_is_remembered(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd = reader(f);
	uint64_t seq = 9;

	ok(f, weir_reader_cursor(rd, "nats", &seq, &f->err));
	assert_int_equal(seq, 0);
	ok(f, weir_ledger_cursor_set(f->l, "nats", 5, &f->err));
	ok(f, weir_ledger_cursor_set(f->l, "nats", 7, &f->err));
	ok(f, weir_reader_cursor(rd, "nats", &seq, &f->err));
	assert_int_equal(seq, 7);
	ok(f, weir_reader_newest(rd, &seq, &f->err));
	assert_int_equal(seq, 0);
	weir_reader_close(rd);
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
		TEST(a_row_comes_back_as_it_was),
		TEST(ledger_time_never_goes_back),
		TEST(entries_are_picked_by_seq_time_tenant_and_kind),
		TEST(a_long_walk_crosses_pages),
		TEST(a_walk_ends_when_told),
		TEST(grants_burn_in_order),
		TEST(at_one_instant_the_earlier_grant_burns_first),
		TEST(what_no_grant_covers_is_debt_and_the_next_grant_repays_it),
		TEST(a_grant_is_judged_by_when_the_request_started),
		TEST(postpaid_is_priced_but_never_posted),
		TEST(a_wallet_pays_for_another_tenant),
		TEST(what_cannot_be_posted_is_recorded_all_the_same),
		TEST(asking_again_finds_the_first_grant),
		TEST(a_grant_that_cannot_be_is_refused_and_nothing_written),
		TEST(a_request_is_billed_once),
		TEST(projections_survive_and_can_be_rebuilt),
		TEST(a_group_that_cannot_be_written_leaves_no_trace),
		TEST(nothing_is_updated_or_deleted),
		TEST(verify_names_the_first_wrong_entry),
		TEST(a_cut_off_tail_is_noticed),
		TEST(verify_prices_again),
		TEST(tenants_keep_their_numbers),
		TEST(keys_are_kept_by_hash_and_revoked_once),
		TEST(a_cursor_is_remembered),
		TEST(random_histories_agree_with_a_second_opinion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
