// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the ledger: it is read back as it was written, and its other
 * tables keep what they are given.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>

/* ---------------------------------------------------------------- reading back */

static void a_row_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct weir_row r[3];
	struct kept *k;

	for (int i = 0; i < 3; i++)
		r[i] = make_row(f, f->acme, f->t0 + i, "0.000000001");
	/* All that can be odd about one. */
	memset(r[1].model, 'm', sizeof(r[1].model)); /* full: no NUL */
	memset(r[1].model_requested, 'q', sizeof(r[1].model_requested));
	r[1].max_tokens_requested = INT64_MAX;
	memset(r[1].client, 0xab, sizeof(r[1].client));
	r[1].usage = (struct weir_usage){ INT64_MAX, WEIR_UNKNOWN, 0, -1, 7 };
	r[1].cost_nano = 0;
	r[1].reserved_nano = INT64_MIN;
	r[1].request_bytes = 0;
	r[1].response_bytes = UINT64_MAX;
	r[1].ended_wall_ns = r[1].started_wall_ns - 5; /* the clock was set back */
	r[1].flags = WEIR_ROW_STREAM | WEIR_ROW_LOST_BYTES | WEIR_ROW_DEGRADED | WEIR_ROW_UNJUDGED |
		     WEIR_ROW_TOKENS_CUT;
	r[1].price_nano = 0; /* not billable */
	r[1].card_id = 3;
	r[1].card_entry = UINT32_MAX;
	r[1].discount_milli = 999;
	r[1].audio = 5;
	r[1].image = 0;
	memset(r[1].session, 's', sizeof(r[1].session));
	memset(r[1].feature, 'f', sizeof(r[1].feature));
	memset(&r[2].method, 0,
	       offsetof(struct weir_row, model_requested) - offsetof(struct weir_row, method));
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
	assert_string_equal(k->op[0].key, "g");

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

static void many_tenants_get_numbers_or_none_does(void **state)
{
	static const char *const bad[] = { "gamma", "gamma@embed", "gamma@", "delta" };
	static const char *const good[] = { "delta", "beta", "delta@embed", "gamma", "delta" };
	struct fixture *f = *state;
	uint32_t i[5];

	assert_int_equal(weir_ledger_tenants(f->l, bad, 4, 100, i, &f->err), -EINVAL);
	assert_null(weir_ledger_tenant_name(f->l, 3));
	/* as many as there is room for, and one more */
	assert_int_equal(weir_ledger_tenants(f->l, good, 4, 5, i, &f->err), -ERANGE);
	assert_string_equal(f->err.text, "tenant \"gamma\": its number 5 is past the last, 4");
	assert_null(weir_ledger_tenant_name(f->l, 3));
	reopen(f);
	assert_null(weir_ledger_tenant_name(f->l, 3));
	ok(f, weir_ledger_tenants(f->l, good, 5, 6, i, &f->err));
	assert_int_equal(i[0], 3);
	assert_int_equal(i[1], 2);
	assert_int_equal(i[2], 4);
	assert_int_equal(i[3], 5);
	assert_int_equal(i[4], 3); /* named twice */
	reopen(f);
	assert_string_equal(weir_ledger_tenant_name(f->l, 4), "delta@embed");
	/* known ones are held to the limit too */
	assert_int_equal(weir_ledger_tenants(f->l, good, 4, 5, i, &f->err), -ERANGE);
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

static void a_stream_s_cursor_knows_where_it_is_on_which_stream(void **state)
{
	static const char *const names[] = { "nats", "nats.LEDGER" };
	const struct weir_stream_cursor set[] = { { 7, 70, 60, 1700 }, { 7, 3, 2, 1900 } };
	struct fixture *f = *state;
	struct weir_reader *rd = reader(f);
	struct weir_stream_cursor c = { 1, 1, 1, 1 };
	uint64_t seq;

	ok(f, weir_reader_stream_cursor(rd, "nats", &c, &f->err));
	assert_int_equal(c.seq | c.stream_seq | c.stream_from | c.made_ns, 0);
	ok(f, weir_ledger_stream_cursors_set(f->l, names, set, 2, &f->err));
	for (size_t i = 0; i < 2; i++) {
		ok(f, weir_reader_stream_cursor(rd, names[i], &c, &f->err));
		assert_memory_equal(&c, &set[i], sizeof(c));
	}
	/* One that knows the ledger alone moves only that. */
	ok(f, weir_ledger_cursor_set(f->l, "nats", 9, &f->err));
	ok(f, weir_reader_stream_cursor(rd, "nats", &c, &f->err));
	assert_int_equal(c.seq, 9);
	assert_int_equal(c.stream_seq, 70);
	ok(f, weir_reader_cursor(rd, "nats.LEDGER", &seq, &f->err));
	assert_int_equal(seq, 7);
	weir_reader_close(rd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_row_comes_back_as_it_was),
		TEST(ledger_time_never_goes_back),
		TEST(entries_are_picked_by_seq_time_tenant_and_kind),
		TEST(a_long_walk_crosses_pages),
		TEST(a_walk_ends_when_told),
		TEST(tenants_keep_their_numbers),
		TEST(many_tenants_get_numbers_or_none_does),
		TEST(keys_are_kept_by_hash_and_revoked_once),
		TEST(a_cursor_is_remembered),
		TEST(a_stream_s_cursor_knows_where_it_is_on_which_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
