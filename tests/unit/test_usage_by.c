// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about usage summed by what it was for: whatever the key, the lines add up to what the
 * ledger's own sums say; and which line a request is in.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>

#include "agent/usage_by.h"

static struct weir_usage_group got[256];
static struct weir_usage_group total;
static char keys[256][80], tenants[256][16];
static size_t n_got;

static int take(const struct weir_usage_group *g, void *ctx)
{
	assert_true(n_got < 256);
	got[n_got] = *g;
	if (g->key)
		got[n_got].key = strcpy(keys[n_got], g->key);
	if (g->tenant)
		got[n_got].tenant = strcpy(tenants[n_got], g->tenant);
	n_got++;
	return 0;
}

static int add(const struct weir_margin_item *i, void *ctx)
{
	return weir_usage_by_add(ctx, i);
}

static void sum(struct fixture *f, enum weir_usage_key key, struct weir_margin_query q)
{
	struct weir_usage_by *u = weir_usage_by_new(key);
	struct weir_reader *rd = reader(f);

	n_got = 0;
	ok(f, weir_margin_walk(rd, &q, add, u, &f->err));
	assert_int_equal(weir_usage_by_each(u, take, NULL), 0);
	total = *weir_usage_by_total(u);
	weir_usage_by_free(u);
	weir_reader_close(rd);
}

static const struct weir_usage_group *line(const char *key)
{
	for (size_t i = 0; i < n_got; i++) {
		if (key ? got[i].key && !strcmp(got[i].key, key) : !got[i].key)
			return &got[i];
	}
	fail_msg("no line of %s", key ? key : "nobody");
	return NULL;
}

/* ------------------------------------------------------------------ a ledger of all kinds */

#define N 40

static void fill(struct fixture *f)
{
	static const char *const users[] = { "", "alice", "bob" };
	struct weir_row rows[N];
	struct weir_op op;
	struct kept *k;

	for (unsigned i = 0; i < N; i++) {
		struct weir_row *r = &rows[i];

		*r = make_row(f, i % 4 ? f->acme : f->beta, f->t0 + i * 60 * SECOND, "0.001");
		strcpy(r->user, users[i % 3]);
		snprintf(r->team, sizeof(r->team), "%s", i % 2 ? "red" : "");
		snprintf(r->cost_center, sizeof(r->cost_center), "%u", i % 5);
		snprintf(r->session, sizeof(r->session), "s%u", i % 2);
		snprintf(r->feature, sizeof(r->feature), "f%u", i / 10);
		if (i % 7 == 0)
			r->usage_source = WEIR_USAGE_ESTIMATED;
		if (i % 7 == 1)
			r->usage_source = WEIR_USAGE_PARTIAL;
		if (i % 11 == 0)
			r->flags |= WEIR_ROW_DEGRADED;
		if (i % 13 == 0)
			r->flags |= WEIR_ROW_UNJUDGED;
		if (i % 9 == 8)
			r->flags &= (uint16_t)~WEIR_ROW_BILLABLE;
		r->audio = i % 3 ? WEIR_UNKNOWN : 5;
	}
	append(f, rows, N);
	k = all(f);
	assert_int_equal(k->n, N);
	/* alice's second, and bob's of beta. */
	for (size_t i = 0; i < N; i++) {
		char key[16];

		if (i != 4 && i != 8)
			continue;
		snprintf(key, sizeof(key), "r%zu", i);
		op = make_op(k->e[i].tenant, WEIR_ENTRY_REFUND, key, "0");
		op.of = k->e[i].seq;
		op.amount_nano = i == 4 ? 1000 : 0;
		if (i == 4)
			post_at(f, &op, f->t0 + N * 60 * SECOND);
	}
	op = make_op(f->acme, WEIR_ENTRY_METER, "gb", "0");
	op.quantity_nano = 5;
	op.flags = WEIR_OP_UNPRICED;
	strcpy(op.dimension, "storage_gb");
	strcpy(op.feature, "f0");
	op.started_ns = f->t0;
	post_at(f, &op, f->t0 + N * 60 * SECOND);
}

static const struct weir_margin_query everything;

/* ------------------------------------------------------------------ claims */

static int64_t of_projection[7];

static int take_projection(const struct weir_usage_sum *s, void *ctx)
{
	of_projection[0] += s->requests;
	of_projection[1] += s->estimated;
	of_projection[2] += s->partial;
	of_projection[3] += s->tokens.input + s->tokens.output + s->tokens.cache_read;
	of_projection[4] += s->audio;
	of_projection[5] += s->price_nano;
	of_projection[6] += s->refunded_nano;
	return 0;
}

static void put(int64_t out[static 7], const struct weir_usage_group *g)
{
	out[0] += g->requests;
	out[1] += g->estimated;
	out[2] += g->partial;
	out[3] += g->tokens.input + g->tokens.output + g->tokens.cache_read;
	out[4] += g->audio;
	out[5] += g->price_nano;
	out[6] += g->refunded_nano;
}

static void lines_of_any_key_add_up_to_the_projection(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd;

	fill(f);
	memset(of_projection, 0, sizeof(of_projection));
	rd = reader(f);
	ok(f, weir_reader_usage(rd, 0, take_projection, NULL, &f->err));
	weir_reader_close(rd);
	assert_int_equal(of_projection[0], N);
	assert_int_equal(of_projection[6], 1000);
	for (int key = 0; key < WEIR_USAGE_KEY_MAX; key++) {
		int64_t lines[7] = { 0 }, whole[7] = { 0 };

		sum(f, (enum weir_usage_key)key, everything);
		for (size_t i = 0; i < n_got; i++)
			put(lines, &got[i]);
		put(whole, &total);
		assert_memory_equal(lines, of_projection, sizeof(lines));
		assert_memory_equal(whole, of_projection, sizeof(whole));
		assert_int_equal(total.meters, 1);
		assert_int_equal(total.unpriced, 1);
	}
}

static void a_request_is_in_the_line_of_its_label(void **state)
{
	struct fixture *f = *state;

	fill(f);
	sum(f, WEIR_USAGE_BY_USER, everything);
	assert_int_equal(n_got, 3);
	assert_int_equal(line("alice")->requests, 13);
	assert_int_equal(line("alice")->refunded_nano, 1000);
	assert_int_equal(line("bob")->requests, 13);
	assert_int_equal(line(NULL)->requests, 14);
	assert_int_equal(line(NULL)->meters, 1); /* has no user */
	assert_null(got[2].key);		 /* nobody is last */
	sum(f, WEIR_USAGE_BY_TEAM, everything);
	assert_int_equal(line("red")->requests, 20);
	sum(f, WEIR_USAGE_BY_COST_CENTER, everything);
	assert_int_equal(n_got, 6); /* and the meter, of none */
	assert_int_equal(line("4")->requests, 8);
	sum(f, WEIR_USAGE_BY_FEATURE, everything);
	assert_int_equal(line("f0")->meters, 1);
	assert_int_equal(line("f0")->requests, 10);
	sum(f, WEIR_USAGE_BY_MODEL, everything);
	assert_int_equal(line("llama-3.3-70b")->requests, N);
	assert_int_equal(line("meter:storage_gb")->meters, 1);
	assert_int_equal(line("meter:storage_gb")->requests, 0);
	sum(f, WEIR_USAGE_BY_TENANT, everything);
	assert_int_equal(line("acme")->requests, 30);
	assert_int_equal(line("acme")->unbilled, 3); /* 17, 26, 35; 8 is beta's */
	assert_int_equal(line("beta")->unbilled, 1);
	assert_int_equal(total.degraded, 4);
	assert_int_equal(total.unjudged, 4);
}

/* Of two tenants sessions are two, though they have one name. */
static void a_session_is_one_line_with_its_first_and_last_time(void **state)
{
	struct fixture *f = *state;
	const struct weir_usage_group *g;

	fill(f);
	sum(f, WEIR_USAGE_BY_SESSION, everything);
	assert_int_equal(n_got, 4); /* s0 and s1 of acme, s0 of beta; the meter has none */
	assert_null(got[3].key);
	for (size_t i = 0; i < 3; i++)
		assert_non_null(got[i].tenant);
	g = line("s1");
	assert_string_equal(g->tenant, "acme");
	assert_int_equal(g->requests, 20);
	assert_int_equal(g->first_ns, f->t0 + 60 * SECOND);
	assert_int_equal(g->last_ns, f->t0 + (39 * 60 + 1) * SECOND);
	/* 17 and 35 are unbilled; audio is priced as input. */
	assert_int_equal(g->price_nano, 18 * 1000000 + 7 * 5);
}

static void days_and_hours_follow_on_one_another(void **state)
{
	struct fixture *f = *state;
	uint64_t day = f->t0 - f->t0 % (86400 * SECOND) + 86400 * SECOND;
	char text[WEIR_TIME_TEXT], key[32];
	struct weir_margin_query q = { .since_ns = day + 3600 * SECOND };

	for (int i = 3; i >= 0; i--) /* entered the other way round */
		spend(f, f->acme,
		      day + (uint64_t)i * 1800 * SECOND + (uint64_t)(i == 3) * 86400 * SECOND,
		      "0.001");
	sum(f, WEIR_USAGE_BY_DAY, everything);
	assert_int_equal(n_got, 2);
	weir_time_format(day, text);
	snprintf(key, sizeof(key), "%.10s", text);
	assert_string_equal(got[0].key, key);
	assert_int_equal(got[0].requests, 3);
	sum(f, WEIR_USAGE_BY_HOUR, everything);
	assert_int_equal(n_got, 3);
	assert_string_equal(got[0].key, text); /* a whole time, so that it can be read as one */
	assert_int_equal(got[0].requests, 2);
	/* By when it started, from since to until. */
	sum(f, WEIR_USAGE_BY_DAY, q);
	assert_int_equal(total.requests, 2);
	q.until_ns = day + 86400 * SECOND;
	sum(f, WEIR_USAGE_BY_DAY, q);
	assert_int_equal(total.requests, 1);
	q.tenant = f->beta;
	sum(f, WEIR_USAGE_BY_DAY, q);
	assert_int_equal(n_got, 0);
}

static void the_dearest_is_first(void **state)
{
	struct fixture *f = *state;
	static const char *const prices[] = { "1", "3", "2" };

	for (size_t i = 0; i < 3; i++) {
		struct weir_row r = make_row(f, f->acme, f->t0 + i * SECOND, prices[i]);

		snprintf(r.user, sizeof(r.user), "u%s", prices[i]);
		append(f, &r, 1);
	}
	sum(f, WEIR_USAGE_BY_USER, everything);
	assert_string_equal(got[0].key, "u3");
	assert_string_equal(got[1].key, "u2");
	assert_string_equal(got[2].key, "u1");
}

static void groups_are_bounded_and_sums_stay_in_range(void **state)
{
	struct weir_usage_by *u = weir_usage_by_new(WEIR_USAGE_BY_USER);
	struct weir_row row = { .usage = { INT64_MAX, -1, -1, -1, -1 } };
	struct weir_entry e = { .kind = WEIR_ENTRY_USAGE, .row = &row };
	struct weir_margin_item i = { .kind = WEIR_ENTRY_USAGE,
				      .entry = &e,
				      .price_nano = INT64_MAX };

	memset(row.user, 'u', sizeof(row.user)); /* no NUL at its end */
	for (int n = 0; n < WEIR_USAGE_GROUPS; n++) {
		memcpy(row.user, &n, sizeof(n));
		for (size_t b = 0; b < sizeof(n); b++)
			row.user[b] = (char)('0' + (n >> 4 * b) % 16);
		row.user[4] = (char)('0' + (n >> 16));
		assert_int_equal(weir_usage_by_add(u, &i), 0);
	}
	strcpy(row.user, "one too many");
	assert_int_equal(weir_usage_by_add(u, &i), -E2BIG);
	assert_int_equal(weir_usage_by_total(u)->requests, WEIR_USAGE_GROUPS);
	assert_int_equal(weir_usage_by_total(u)->tokens.input, INT64_MAX);
	assert_int_equal(weir_usage_by_total(u)->price_nano, INT64_MAX);
	weir_usage_by_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_of_any_key_add_up_to_the_projection),
		TEST(a_request_is_in_the_line_of_its_label),
		TEST(a_session_is_one_line_with_its_first_and_last_time),
		TEST(days_and_hours_follow_on_one_another),
		TEST(the_dearest_is_first),
		cmocka_unit_test(groups_are_bounded_and_sums_stay_in_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
