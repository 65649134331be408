// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about ledgers that an older agent wrote. The bytes here came out of that
 * agent's encoder and hash, and are kept as they came: what is in a database
 * somewhere can not be changed any more.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>

#include "agent/ledger_encode.h"

/* 2026-11-01T00:00:00Z */
#define T0 UINT64_C(1793491200000000000)

/* A usage body of version 1: 1000 input tokens (1000 nano by the fixture's card),
 * nothing granted, so all of it debt. */
#define BODY_1                                                                                     \
	"0100b0fdaf990984a50f01c8010100230100d00f28013c01d00f00904ea11fe807040a00000704504f5354"   \
	"142f76312f636861742f636f6d706c6574696f6e730d6c6c616d612d332e332d3730620a63686174636d706c" \
	"2d310473746f70d00f00"
#define ID_1   "18e3c2be7bca0000ab00000000000002"
#define HASH_1 "3fa0545d1493184a83979aa6e46dee01eb0765f096e31ee4561bced9f8e309bc"

static struct weir_row row_1(void)
{
	struct weir_row r = {
		.started_wall_ns = T0,
		.ended_wall_ns = T0 + 1234567000,
		.ttft_us = 250500,
		.tenant = 1,
		.wallet = 1,
		.service = 1,
		.status = 200,
		.usage_source = WEIR_USAGE_REPORTED,
		.flags = WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_STREAM,
		.card_id = 1,
		.usage = { 1000, 20, WEIR_UNKNOWN, 30, WEIR_UNKNOWN },
		.price_nano = 1000,
		.reserved_nano = 5000,
		.request_bytes = 4000,
		.response_bytes = 999,
		.client = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 7 },
		.method = "POST",
		.path = "/v1/chat/completions",
		.model = "llama-3.3-70b",
		.response_id = "chatcmpl-1",
		.finish_reason = "stop",
		.max_tokens_requested = WEIR_UNKNOWN,
	};

	for (int i = 0; i < 8; i++)
		r.id.b[i] = (uint8_t)(T0 >> (56 - 8 * i));
	r.id.b[8] = 0xab;
	r.id.b[15] = 2;
	return r;
}

/* The database as the older agent left it: its schema number, one entry, and the
 * projections of a checkpoint before it. */
static void make_old(struct fixture *f, const char *body)
{
	char text[1024];

	assert_int_equal(f->acme, 1);
	assert_int_equal(f->card, 1);
	weir_ledger_close(f->l);
	f->l = NULL;
	snprintf(
		text, sizeof(text),
		"INSERT INTO entry VALUES (1, x'%s', 1, %llu, 1, 1, -1000, 0, -1000, x'%s', x'%s');"
		" DROP TABLE switches; PRAGMA user_version = 1",
		ID_1, (unsigned long long)(T0 + 1234567000), body, HASH_1);
	assert_int_equal(sql(f, text), SQLITE_OK);
}

static void an_old_ledger_is_read_verified_and_continued(void **state)
{
	struct weir_row was = row_1(), now;
	struct fixture *f = *state;
	struct kept *k;

	make_old(f, BODY_1);
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	assert_balance(f, f->acme, "-0.000001");
	assert_verifies(f);
	now = make_row(f, f->acme, f->t0, "1");
	snprintf(now.model_requested, sizeof(now.model_requested), "llama-3.3-70b-instruct");
	now.max_tokens_requested = 99999;
	now.flags |= WEIR_ROW_DEGRADED | WEIR_ROW_TOKENS_CUT;
	append(f, &now, 1);
	assert_verifies(f);
	k = all(f);
	assert_int_equal(k->n, 2);
	assert_memory_equal(&k->row[0], &was, sizeof(was));
	assert_memory_equal(&k->row[1], &now, sizeof(now));
	assert_memory_equal(k->e[1].prev_hash, k->e[0].hash, WEIR_HASH_BYTES);
	ok(f, weir_ledger_rebuild(f->l, &f->err));
	assert_balance(f, f->acme, "-1.000001");
}

static void an_old_entry_that_was_touched_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd;
	char body[] = BODY_1, *status = strstr(body, "01c80101");
	struct weir_verify v;

	assert_non_null(status);
	status[3] = '9'; /* 200 made 201: still a body that can be decoded */
	make_old(f, body);
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	rd = reader(f);
	assert_int_equal(weir_reader_verify(rd, &v, &f->err), -EBADMSG);
	assert_int_equal(v.wrong_seq, 1);
	weir_reader_close(rd);
}

static void a_body_of_a_version_to_come_is_refused(void **state)
{
	struct fixture *f = *state;
	struct weir_row r = make_row(f, f->acme, f->t0, "1"), out;
	struct weir_entry_head h = { .id = r.id, .tenant = 1, .wallet = 1 };
	struct weir_posting post = { 0 };
	struct weir_bytes b = { 0 };

	assert_int_equal(weir_encode_usage(&b, &r, &post), 0);
	assert_int_equal(b.p[0], 2);
	assert_int_equal(weir_decode_usage(&h, b.p, b.len, &out, &post), 0);
	/* What version 2 has more is not taken for something else of version 1. */
	b.p[0] = 1;
	assert_int_equal(weir_decode_usage(&h, b.p, b.len, &out, &post), -EBADMSG);
	b.p[0] = 3;
	assert_int_equal(weir_decode_usage(&h, b.p, b.len, &out, &post), -EBADMSG);
	b.p[0] = 0;
	assert_int_equal(weir_decode_usage(&h, b.p, b.len, &out, &post), -EBADMSG);
	free(b.p);
	free(post.burns);
}

/* An old agent must not call what it cannot read damaged: the schema says it. */
static void the_schema_says_that_bodies_changed(void **state)
{
	struct fixture *f = *state;
	struct weir_reader *rd;
	sqlite3_stmt *q;
	sqlite3 *db;

	make_old(f, BODY_1);
	/* A reader never migrates. */
	assert_int_equal(weir_reader_open(f->path, &rd, &f->err), -ENOTSUP);
	ok(f, weir_store_open(f->path, &db, &f->err));
	ok(f, weir_store_prepare(db, "PRAGMA user_version", &q, &f->err));
	assert_int_equal(sqlite3_step(q), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(q, 0), weir_store_version());
	assert_true(weir_store_version() >= 2);
	sqlite3_finalize(q);
	weir_store_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_old_ledger_is_read_verified_and_continued),
		TEST(an_old_entry_that_was_touched_is_noticed),
		TEST(a_body_of_a_version_to_come_is_refused),
		TEST(the_schema_says_that_bodies_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
