// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about ledgers that an older agent wrote. The bytes here came out of that
 * agent's encoder and hash, and are kept as they came: what is in a database
 * somewhere can not be changed any more.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>

#include "agent/ledger_encode.h"
#include "tests/unit/old_schema.h"

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
		.audio = WEIR_UNKNOWN,
		.image = WEIR_UNKNOWN,
	};

	for (int i = 0; i < 8; i++)
		r.id.b[i] = (uint8_t)(T0 >> (56 - 8 * i));
	r.id.b[8] = 0xab;
	r.id.b[15] = 2;
	return r;
}

/* What every old ledger here has: names, and the fixture's card. */
static const char old_names[] =
	"INSERT INTO meta VALUES ('ledger_id','11111111-2222-4333-8444-555555555555');"
	"INSERT INTO tenant VALUES (1,'acme'),(2,'beta');"
	"INSERT INTO card VALUES(1,'list','1',x'6F1655A0B4E878A96B71B40AB0CE1B1"
	"6527A115B1988D63670089843D395CC7D','{\"effective_from\":\"2020-01-01T00:0"
	"0:00Z\",\"models\":[{\"match\":\"llama*\",\"price\":{\"cache_read\":\"0\",\"cache_wr"
	"ite\":\"0\",\"input\":\"0.000000001\",\"output\":\"0\",\"per\":1}}],\"name\":\"list\",\""
	"version\":\"1\"}');";

static void start_old(struct fixture *f)
{
	assert_int_equal(f->acme, 1);
	assert_int_equal(f->card, 1);
	weir_ledger_close(f->l);
	f->l = NULL;
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(sql(f, schema_2_as_it_was), SQLITE_OK);
	assert_int_equal(sql(f, old_names), SQLITE_OK);
}

/* The database as the oldest agent left it: its schema number, one entry, and the
 * projections of a checkpoint before it. */
static void make_old(struct fixture *f, const char *body)
{
	char text[1024];

	start_old(f);
	snprintf(
		text, sizeof(text),
		"INSERT INTO entry VALUES (1, x'%s', 1, %llu, 1, 1, -1000, 0, -1000, x'%s', x'%s');"
		" INSERT INTO meta VALUES ('checkpoint', '0'); PRAGMA user_version = 1",
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

/*
 * What the agent of schema 3 made of this, before lots expired and became effective by entries:
 * 1 a debt of 1000; 2 g1 of 5000 repays it, and expires at +100 s; 3 g2 of 3000, first to burn;
 * 4 g3 of 7000, effective at +200 s; 5 3500: all of g2, and g1; 6 600 of g1; 7 400 of g1, begun
 * before it expired and ended after; 8 100, for which there is nothing; 9 2000 of g3; 10 g4.
 */
static const char old_rows[] =
	"INSERT INTO entry VALUES(1,x'18E3C2BC27BE1C000000000000000001',1,1793491191000000000"
	",1,1,-1000,0,-1000,x'020080A8D6B90784A50F01C8010100220100D00F28013C01D00F00904EA11FE"
	"807040A00000704504F5354142F76312F636861742F636F6D706C6574696F6E730D6C6C616D612D332E3"
	"32D3730620A63686174636D706C2D310473746F70056C6C616D618040D00F00',x'4F180FE74418CA530"
	"E28D00E47D7C3572CE37C3C0D363826F7178A57FE727D90');"
	"INSERT INTO entry VALUES(2,x'18E3C2BEB764CA00711430F6164E9380',2,1793491201000000000"
	",1,1,5000,-1000,4000,x'01904E0064809493BBEBD7F0F1180180D083A2DCDAF0F1180267310474657"
	"37404726F6F74CF0F00',x'77F856958D0E17948A0F29E407F8DDE930B3E12CA28C58F18F719190E92CE"
	"B87');"
	"INSERT INTO entry VALUES(3,x'18E3C2BEF2FF94004D2F4B668CFC48E6',2,1793491202000000000"
	",1,1,3000,4000,7000,x'01F02E013280A8FE97EFD7F0F1180100026732047465737404726F6F740000"
	"',x'6C40610BE977DC2AE84FF0F17877F7D2E66B27D9B4C18B5277B6079CA8D30235');"
	"INSERT INTO entry VALUES(4,x'18E3C2BF2E9A5E003921871AA0881E3E',2,1793491203000000000"
	",1,1,7000,7000,7000,x'01B06D006480A0DFE5D0DDF0F1180000026733047465737404726F6F740000"
	"',x'A7F080E6D822CD98721FD45F9814561343D6C4C20A026A7138F0E4308FCC60EA');"
	"INSERT INTO entry VALUES(5,x'18E3C2C0CFD5E4000000000000000002',1,1793491211000000000"
	",1,1,-3500,7000,3500,x'020080A8D6B90784A50F01C8010100220100D83628013C01D83600904EA11"
	"FE807040A00000704504F5354142F76312F636861742F636F6D706C6574696F6E730D6C6C616D612D332"
	"E332D3730620A63686174636D706C2D310473746F70056C6C616D618040000203F02E02E807',x'607C5"
	"3BAF2DE814BB5516A1493D1421C1D2BB82A5A58BF5FFE51D74946EE2A75');"
	"INSERT INTO entry VALUES(6,x'18E3C2D56AD8B9000000000000000003',1,1793491299500000000"
	",1,1,-600,3500,2900,x'020080A8D6B90784A50F01C8010100220100B00928013C01B00900904EA11F"
	"E807040A00000704504F5354142F76312F636861742F636F6D706C6574696F6E730D6C6C616D612D332E"
	"332D3730620A63686174636D706C2D310473746F70056C6C616D618040000102B009',x'3CE2EE860D51"
	"EE12A7D6CCFC93757B3211EF716412E83A9210F40ED61BA77F4E');"
	"INSERT INTO entry VALUES(7,x'18E3C2D5A67383000000000000000004',1,1793491300500000000"
	",1,1,-400,0,0,x'020080A8D6B90784A50F01C8010100220100A00628013C01A00600904EA11FE80704"
	"0A00000704504F5354142F76312F636861742F636F6D706C6574696F6E730D6C6C616D612D332E332D37"
	"30620A63686174636D706C2D310473746F70056C6C616D618040000102A006',x'79856002B7D48356A4"
	"4D8DFCA1808D50E14B4A71ACB52E7EBF77D691575D28E1');"
	"INSERT INTO entry VALUES(8,x'18E3C2E1687C5C000000000000000005',1,1793491351000000000"
	",1,1,-100,0,-100,x'020080A8D6B90784A50F01C8010100220100C80128013C01C80100904EA11FE80"
	"7040A00000704504F5354142F76312F636861742F636F6D706C6574696F6E730D6C6C616D612D332E332"
	"D3730620A63686174636D706C2D310473746F70056C6C616D618040C80100',x'2DF97425D13D9D6034A"
	"04E83D8034286DA03F06672A3A78176DE7A4A20ED7264');"
	"INSERT INTO entry VALUES(9,x'18E3C2F8B0F344000000000000000006',1,1793491451000000000"
	",1,1,-2000,6900,4900,x'020080A8D6B90784A50F01C8010100220100A01F28013C01A01F00904EA11"
	"FE807040A00000704504F5354142F76312F636861742F636F6D706C6574696F6E730D6C6C616D612D332"
	"E332D3730620A63686174636D706C2D310473746F70056C6C616D618040000104A01F',x'AE344DE1BD6"
	"EC5291A920A6EC836F12B2BDA902BA279482E05DB97042E385F70');"
	"INSERT INTO entry VALUES(10,x'18E3C304552EB800C874BC29E99F2E67',2,179349150000000000"
	"0,2,2,1000,0,1000,x'01D00F026480F0BAA9C5E0F0F1180180C096EDB9E3F0F1180267340474657374"
	"04726F6F740000',x'321C8B84D43F90F5F150C3436FD3DBA58EE4CAAD248640E042BB1B730CB91C7E')"
	";"
	"INSERT INTO meta VALUES ('checkpoint','10'); INSERT INTO cursor VALUES ('nats',3);"
	"INSERT INTO credit VALUES (2,'g1',1,5000,2500),(3,'g2',1,3000,0),(4,'g3',1,7000,5000),"
	"(10,'g4',2,1000,1000); INSERT INTO account VALUES (1,100,6,0,0,7600,120,0,180,0,7600,0);";

/* The same lots, debt and chain, by the rules of now, and the log goes on. */
static void credit_of_before_is_carried_over(void **state)
{
	struct fixture *f = *state;
	struct weir_balance b;
	struct weir_reader *rd;
	uint64_t seq;
	int64_t rest[3];

	start_old(f);
	assert_int_equal(sql(f, old_rows), SQLITE_OK);
	ok(f, weir_ledger_open(f->path, &f->l, &f->err));
	assert_int_equal(weir_ledger_balance(f->l, 1), 4900);
	assert_verifies(f);
	rd = reader(f);
	/* Before g4 expires. */
	ok(f, weir_reader_balance(rd, 1, T0 + 300 * SECOND, &b, &f->err));
	assert_int_equal(b.n_lots, 3);
	assert_int_equal(b.debt_nano, 100);
	for (size_t i = 0; i < 3; i++)
		rest[b.lots[i].seq - 2] = b.lots[i].remaining + b.lots[i].expired;
	assert_int_equal(rest[0], 2500);
	assert_int_equal(rest[1], 0);
	assert_int_equal(rest[2], 5000);
	weir_balance_clear(&b);
	ok(f, weir_reader_by_key(rd, "g3", &seq, &f->err));
	assert_int_equal(seq, 4);
	weir_reader_close(rd);
	ok(f, weir_ledger_rebuild(f->l, &f->err));
	assert_int_equal(weir_ledger_balance(f->l, 1), 4900);
	/* From here on expiring is an entry. */
	ok(f, weir_ledger_advance(f->l, T0 + 500 * SECOND, &f->err));
	assert_int_equal(weir_ledger_newest(f->l), 11);
	assert_int_equal(weir_ledger_balance(f->l, 2), 0);
	assert_verifies(f);
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
		TEST(credit_of_before_is_carried_over),
		TEST(the_schema_says_that_bodies_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
