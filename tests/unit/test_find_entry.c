// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about finding a request by any of its ids, and about the walk from the newest entry back
 * that does it.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>

#include "agent/find_entry.h"

#define N 1000 /* more than a walk keeps at a time */

static uint64_t seqs[N];
static enum weir_found_by by;
static size_t n_found, pages;

static int take(const struct weir_entry *e, enum weir_found_by how, void *ctx)
{
	seqs[n_found++] = e->seq;
	by = how;
	return 0;
}

static int page(uint64_t seq, void *ctx)
{
	pages++;
	return 0;
}

static size_t find(struct fixture *f, const char *id, uint64_t since_ns, size_t limit)
{
	struct weir_find q = {
		.id = id, .since_ns = since_ns, .limit = limit, .fn = take, .page = page
	};
	struct weir_reader *rd = reader(f);
	size_t found = 99;

	n_found = pages = 0;
	ok(f, weir_find_entries(rd, &q, &found, &f->err));
	assert_int_equal(found, n_found);
	weir_reader_close(rd);
	return found;
}

/* It is there, but it is no request. */
static void refused(struct fixture *f, const char *id)
{
	struct weir_find q = { .id = id, .fn = take };
	struct weir_reader *rd = reader(f);
	size_t found;

	assert_int_equal(weir_find_entries(rd, &q, &found, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "is a grant and no request"));
	weir_reader_close(rd);
}

static void fill(struct fixture *f)
{
	struct weir_row *rows = calloc(N, sizeof(*rows));

	assert_non_null(rows);
	for (unsigned i = 0; i < N; i++) {
		rows[i] = make_row(f, f->acme, f->t0 + i * SECOND, "0");
		snprintf(rows[i].response_id, 64, "chatcmpl-%u", i);
		snprintf(rows[i].client_request_id, 64, "req-%u", i);
		memset(rows[i].trace_id, 0xab, 16);
		rows[i].trace_id[15] = (uint8_t)(i / 100);
	}
	append(f, rows, N);
	free(rows);
}

static void one_request_is_found_by_any_of_its_ids(void **state)
{
	struct fixture *f = *state;
	struct kept *k;
	char id[33];

	fill(f);
	k = entries(f, (struct weir_entry_query){ .from_seq = 500, .limit = 1 });
	weir_hex(k->e[0].id.b, 16, id);
	assert_int_equal(find(f, id, 0, 0), 1);
	assert_int_equal(by, WEIR_FOUND_REQUEST_ID);
	assert_int_equal(seqs[0], 500);
	assert_int_equal(pages, 0); /* looked up */
	assert_int_equal(find(f, "#500", 0, 0), 1);
	assert_int_equal(by, WEIR_FOUND_SEQ);
	assert_int_equal(seqs[0], 500);
	assert_int_equal(find(f, "chatcmpl-499", 0, 0), 1);
	assert_int_equal(by, WEIR_FOUND_RESPONSE_ID);
	assert_int_equal(seqs[0], 500);
	assert_int_equal(find(f, "req-499", 0, 0), 1);
	assert_int_equal(by, WEIR_FOUND_CLIENT_REQUEST_ID);
	assert_int_equal(seqs[0], 500);
	assert_true(pages > 0);
}

static void a_trace_is_all_its_requests_the_newest_first(void **state)
{
	struct fixture *f = *state;

	fill(f);
	assert_int_equal(find(f, "abababababababababababababababAB", 0, 0), 0);
	assert_int_equal(find(f, "ababababababababababababababab05", 0, 0), 100);
	assert_int_equal(by, WEIR_FOUND_TRACE_ID);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(seqs[i], 600 - i);
	assert_int_equal(find(f, "00-ababababababababababababababab05-0123456789abcdef-01", 0, 0),
			 100);
	assert_int_equal(find(f, "ababababababababababababababab05", 0, 7), 7);
	assert_int_equal(seqs[6], 594);
	/* Entered a second after its start: no further back than that. */
	assert_int_equal(find(f, "ababababababababababababababab05", f->t0 + 591 * SECOND, 0), 10);
	assert_int_equal(find(f, "ababababababababababababababab05", f->t0 + 900 * SECOND, 0), 0);
}

static void what_only_looks_like_it_is_not_it(void **state)
{
	struct fixture *f = *state;
	static const char *const wrong[] = {
		"",
		"#",
		"#0",
		"#1001",
		"#5x",
		"#99999999999999999999999",
		"chatcmpl-",
		"hatcmpl-499",
		"req",
		"llama-3.3-70b", /* is in each body */
		"00000000000000000000000000000000",
	};
	struct weir_op g = make_grant(f->acme, "order-1", "5");
	struct weir_row r;
	char longer[80], id[33];
	struct kept *k;

	fill(f);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(find(f, wrong[i], 0, 0), 0);
	/* A grant is no request. */
	post_at(f, &g, f->t0 + 2 * N * SECOND);
	assert_int_equal(find(f, "order-1", 0, 0), 0);
	refused(f, "#1001");
	k = entries(f, (struct weir_entry_query){ .from_seq = N + 1 });
	weir_hex(k->e[0].id.b, 16, id);
	refused(f, id);
	/* Kept as far as it fits. */
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	r = make_row(f, f->acme, f->t0 + 3 * N * SECOND, "0");
	memcpy(r.response_id, longer, 63);
	append(f, &r, 1);
	assert_int_equal(find(f, longer, 0, 0), 1);
	longer[62] = 0;
	assert_int_equal(find(f, longer, 0, 0), 0);
}

static void a_report_of_usage_is_found_by_its_id(void **state)
{
	struct fixture *f = *state;
	struct weir_op op = make_op(f->acme, WEIR_ENTRY_METER, "2026-11-21/storage", "0");

	op.quantity_nano = 5;
	op.flags = WEIR_OP_UNPRICED;
	strcpy(op.dimension, "storage_gb");
	assert_int_equal(post_at(f, &op, f->t0), 1);
	assert_int_equal(find(f, "2026-11-21/storage", 0, 0), 1);
	assert_int_equal(by, WEIR_FOUND_USAGE_ID);
}

/* ------------------------------------------------------------------ the walk */

struct walk {
	uint64_t n;
	uint8_t hash[N + 2][WEIR_HASH_BYTES], prev[N + 2][WEIR_HASH_BYTES];
};

static int note(const struct weir_entry *e, void *ctx)
{
	struct walk *w = ctx;

	w->n++;
	memcpy(w->hash[e->seq], e->hash, WEIR_HASH_BYTES);
	memcpy(w->prev[e->seq], e->prev_hash, WEIR_HASH_BYTES);
	return 0;
}

/* Downwards the hash before an entry is read after it. */
static void each_entry_chains_to_the_one_before_whichever_way_one_walks(void **state)
{
	static const struct weir_entry_query ways[] = {
		{ .newest_first = false },
		{ .newest_first = true },
		{ .newest_first = true, .tenant = 2 },
		{ .newest_first = true, .limit = 300 },
		{ .newest_first = true, .kinds = 1u << WEIR_ENTRY_GRANT },
	};
	static const uint64_t expect[] = { N + 1, N + 1, N / 2, 300, 1 };
	static struct walk w;
	struct fixture *f = *state;
	struct weir_op g = make_grant(f->acme, "g", "5");
	struct weir_reader *rd;
	struct weir_row *rows;

	rows = calloc(N, sizeof(*rows));
	assert_non_null(rows);
	for (unsigned i = 0; i < N; i++)
		rows[i] = make_row(f, i % 2 ? f->beta : f->acme, f->t0 + i, "0");
	append(f, rows, N);
	free(rows);
	post_at(f, &g, f->t0 + 9 * SECOND);
	rd = reader(f);
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		static struct walk all;
		struct walk *now = i ? &w : &all;

		memset(now, 0, sizeof(*now));
		ok(f, weir_reader_entries(rd, &ways[i], note, now, &f->err));
		assert_int_equal(now->n, expect[i]);
		for (size_t s = 1; s <= N + 1; s++) {
			static const uint8_t none[WEIR_HASH_BYTES];

			if (!memcmp(now->hash[s], none, sizeof(none)))
				continue;
			assert_memory_equal(now->hash[s], all.hash[s], WEIR_HASH_BYTES);
			assert_memory_equal(now->prev[s], all.hash[s - 1], WEIR_HASH_BYTES);
		}
	}
	weir_reader_close(rd);
}

static int stop(uint64_t seq, void *ctx)
{
	return -ECANCELED;
}

static void a_walk_ends_when_its_page_says_so(void **state)
{
	struct fixture *f = *state;
	struct weir_entry_query q = { .page = stop, .kinds = 1u << WEIR_ENTRY_GRANT };
	struct weir_reader *rd;
	static struct walk w;

	fill(f);
	rd = reader(f);
	assert_int_equal(weir_reader_entries(rd, &q, note, &w, &f->err), -ECANCELED);
	weir_reader_close(rd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_request_is_found_by_any_of_its_ids),
		TEST(a_trace_is_all_its_requests_the_newest_first),
		TEST(what_only_looks_like_it_is_not_it),
		TEST(a_report_of_usage_is_found_by_its_id),
		TEST(each_entry_chains_to_the_one_before_whichever_way_one_walks),
		TEST(a_walk_ends_when_its_page_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
