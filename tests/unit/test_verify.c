// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about verify against somebody who knows how hashes are made: he changes an entry and
 * makes the chain anew behind it, and the projections fit what he wrote. What he cannot change is
 * what follows from the rules.
 */
#include "tests/unit/ledger_fixture.h"

#include <errno.h>

#include "agent/ledger_encode.h"
#include "agent/ledger_sql.h"

/* 2030-01-01, in seconds from there */
#define T(s) ((UINT64_C(1893456000) + (s)) * SECOND)

/* ------------------------------------------------------------------ the forger */

struct forged {
	struct weir_entry_head h;
	bool usage;
	struct weir_row row;
	struct weir_op op;
	struct weir_posting post;
};

typedef void forge_fn(struct forged *e);

static void forge_row(sqlite3 *db, const struct weir_entry_row *r, forge_fn *how,
		      struct weir_chain *chain, uint8_t prev[static WEIR_HASH_BYTES])
{
	struct forged e = { .h = r->head, .usage = r->head.kind == WEIR_ENTRY_USAGE };
	struct weir_bytes body = { 0 };
	struct weir_entry_row out;
	sqlite3_stmt *st;
	bool old;

	assert_int_equal(
		e.usage ? weir_decode_usage(&r->head, r->body, r->n_body, &e.row, &e.post, &old)
			: weir_decode_op(&r->head, r->body, r->n_body, &e.op, &e.post, &old),
		0);
	if (how)
		how(&e);
	assert_int_equal(e.usage ? weir_encode_usage(&body, &e.row, &e.post)
				 : weir_encode_op(&body, &e.op, &e.post),
			 0);
	out = (struct weir_entry_row){ .head = e.h, .body = body.p, .n_body = body.len };
	assert_int_equal(weir_chain_hash(chain, prev, &out.head, out.body, out.n_body, out.hash),
			 0);
	memcpy(prev, out.hash, WEIR_HASH_BYTES);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "INSERT OR REPLACE INTO entry (" WEIR_ENTRY_COLUMNS
					    ") VALUES (?,?,?,?,?,?,?,?,?,?,?)",
					    -1, &st, NULL),
			 SQLITE_OK);
	weir_entry_row_bind(st, &out);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	free(body.p);
	free(e.post.moves);
}

/* Rewrite entry seq, and the chain from it on. */
static void forge(struct fixture *f, uint64_t seq, forge_fn *how)
{
	uint8_t prev[WEIR_HASH_BYTES] = { 0 };
	struct weir_chain chain;
	struct weir_entry_row r;
	sqlite3_stmt *st;
	sqlite3 *db;

	assert_int_equal(weir_chain_init(&chain), 0);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "DROP TRIGGER entry_update; DROP TRIGGER entry_delete",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	for (uint64_t at = 1; at <= weir_ledger_newest(f->l); at++) {
		assert_int_equal(sqlite3_prepare_v2(db,
						    "SELECT " WEIR_ENTRY_COLUMNS
						    " FROM entry WHERE seq = ?",
						    -1, &st, NULL),
				 SQLITE_OK);
		sqlite3_bind_int64(st, 1, (sqlite3_int64)at);
		assert_int_equal(sqlite3_step(st), SQLITE_ROW);
		assert_int_equal(weir_entry_row_read(st, &r), 0);
		if (at < seq)
			memcpy(prev, r.hash, sizeof(prev));
		else
			forge_row(db, &r, at == seq ? how : NULL, &chain, prev);
		sqlite3_finalize(st);
	}
	sqlite3_close(db);
	weir_chain_clear(&chain);
}

static void found(struct fixture *f, uint64_t seq, const char *what)
{
	struct weir_reader *rd = reader(f);
	struct weir_verify v;
	int ret = weir_reader_verify(rd, &v, &f->err);

	if (ret != -EBADMSG || v.wrong_seq != seq || !strstr(v.wrong, what))
		fail_msg("%d, entry %d: %s", ret, (int)v.wrong_seq, v.wrong);
	/* The chain itself is whole: it is the rules that were broken. */
	ok(f, weir_reader_verify_chain(rd, &v, &f->err));
	weir_reader_close(rd);
}

/* ------------------------------------------------------------------ a log with all of it */

/*
 * 1 grant of 10 that expires at 1000; 2 one of 20 that does not; 3, 4, 5 usage of 1, 12 (9 of the
 * first, 3 of the second), 1; 6 a refund of 5 of entry 4, 2 of which go to the first; 7 one is
 * deducted; 8 a schedule of 5 a day; 9 its first grant; 10 the last one of the first expires; 11
 * usage of 2.
 */
static void fill(struct fixture *f)
{
	struct weir_op op = make_grant(f->acme, "a", "10");
	struct weir_row r;

	op.expires_ns = T(1000);
	post_at(f, &op, T(0));
	op = make_grant(f->acme, "b", "20");
	post_at(f, &op, T(0));
	spend(f, f->acme, T(10), "1");
	spend(f, f->acme, T(20), "12");
	spend(f, f->acme, T(30), "1");
	op = make_op(f->acme, WEIR_ENTRY_REFUND, "c", "5");
	op.of = 4;
	op.priority = 0;
	post_at(f, &op, T(40));
	op = make_op(f->acme, WEIR_ENTRY_DEDUCT, "d", "1");
	op.priority = 0;
	post_at(f, &op, T(50));
	op = make_op(f->acme, WEIR_ENTRY_SCHEDULE, "e", "5");
	op.every = WEIR_EVERY_DAY;
	snprintf(op.zone, sizeof(op.zone), "UTC");
	post_at(f, &op, T(60));
	r = make_row(f, f->acme, T(2000), "2");
	append(f, &r, 1);
	assert_verifies(f);
}

static uint64_t find_kind(struct fixture *f, enum weir_entry_kind kind)
{
	struct kept *k = all(f);

	for (size_t i = 0; i < k->n; i++) {
		if (k->e[i].kind == kind)
			return k->e[i].seq;
	}
	fail_msg("no %s", weir_entry_kind_names[kind]);
	return 0;
}

/* ------------------------------------------------------------------ forgeries */

static void cheaper(struct forged *e)
{
	e->row.price_nano /= 2;
	e->h.amount_nano /= 2;
	e->h.after_nano -= e->h.amount_nano;
	e->post.moves[0].nano /= 2;
}

static void cheaper_tokens(struct forged *e)
{
	e->row.usage.input--;
}

static void another_discount(struct forged *e)
{
	e->row.discount_milli = 500;
}

static void another_card(struct forged *e)
{
	e->row.card_id = 77;
}

static void unpaid(struct forged *e)
{
	e->row.flags = (uint16_t)(e->row.flags & ~WEIR_ROW_POSTED);
}

static void session(struct forged *e)
{
	e->post.session_begins = true;
}

static void position(struct forged *e)
{
	e->post.n_positions = 1;
	e->post.positions[0] = (struct weir_position){ WEIR_DIM_INPUT, 5 };
}

static void from_the_other_lot(struct forged *e)
{
	e->post.moves[0].lot = 3 - e->post.moves[0].lot;
}

static void as_debt(struct forged *e)
{
	e->post.moves[0] = (struct weir_move){ WEIR_PURSE_DEBT, 0, -e->post.moves[0].nano };
}

static void split(struct forged *e)
{
	assert_int_equal(weir_posting_reserve(&e->post, 8), 0);
	e->post.moves[0].nano += 1;
	e->post.moves[e->post.n_moves++] = (struct weir_move){ WEIR_PURSE_DEBT, 0, 1 };
}

static void richer(struct forged *e)
{
	e->h.after_nano += 5;
}

static void earlier(struct forged *e)
{
	e->h.before_nano -= 1;
	e->h.after_nano -= 1;
}

static void bigger_grant(struct forged *e)
{
	e->op.amount_nano *= 2;
}

static void longer_grant(struct forged *e)
{
	e->op.expires_ns += SECOND;
}

static void another_key(struct forged *e)
{
	e->op.key[0] = 'z';
}

static void another_entry(struct forged *e)
{
	e->op.of = 3;
}

static void later(struct forged *e)
{
	e->h.time_ns += SECOND;
}

static void unknown_kind(struct forged *e)
{
	e->h.kind = 99;
}

static void forgeries_are_found(void **state)
{
	static const struct {
		uint64_t seq; /* 0: of the kind */
		enum weir_entry_kind kind;
		forge_fn *how;
		const char *what;
	} cases[] = {
		{ 3, 0, cheaper, "price is 0.5, but recomputed it is 1" },
		{ 3, 0, cheaper_tokens, "price is 1, but recomputed it is 0.999999999" },
		{ 3, 0, another_discount, "gives nobody 500 thousandths off" },
		{ 3, 0, another_card, "rate card 77 is not in the database" },
		{ 3, 0, unpaid, "amount is -1, but recomputed it is 0" },
		{ 3, 0, session, "says that it begins a session" },
		{ 3, 0, position, "1 positions of counters, but recomputed 0" },
		{ 3, 0, from_the_other_lot, "it moves remaining of lot 2, but recomputed" },
		{ 3, 0, as_debt, "it moves debt of lot 0, but recomputed remaining of lot 1" },
		{ 3, 0, split, "what it moves of lot 1 is -0.999999999" },
		{ 3, 0, richer, "balance after" },
		{ 3, 0, earlier, "balance before" },
		{ 3, 0, unknown_kind, "unknown kind (99)" },
		{ 1, 0, bigger_grant, "amount is 10, but recomputed it is 20" },
		{ 1, 0, longer_grant, "what was asked under its id \"a\" is kept otherwise" },
		{ 1, 0, another_key, "its id \"z\" is not kept" },
		{ 4, 0, cheaper, "price is 6, but recomputed it is 12" },
		{ 0, WEIR_ENTRY_REFUND, another_entry, "does not allow it" },
		{ 0, WEIR_ENTRY_REFUND, bigger_grant, "amount is 5, but recomputed it is 10" },
		{ 0, WEIR_ENTRY_DEDUCT, bigger_grant, "amount is -1, but recomputed it is -2" },
		{ 0, WEIR_ENTRY_RECUR, bigger_grant, "the terms of the recur" },
		{ 0, WEIR_ENTRY_RECUR, longer_grant, "the terms of the recur" },
		{ 0, WEIR_ENTRY_EXPIRE, later, "the expire of 1 was due, and is not entered" },
		{ 0, WEIR_ENTRY_EXPIRE, bigger_grant, "the terms of the expire" },
		{ 0, WEIR_ENTRY_EXPIRE, as_debt, "it moves debt" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *f;
		uint64_t seq;

		fixture_up(state);
		f = *state;
		fill(f);
		seq = cases[i].seq ? cases[i].seq : find_kind(f, cases[i].kind);
		forge(f, seq, cases[i].how);
		found(f, seq, cases[i].what);
		fixture_down(state);
	}
}

/* ------------------------------------------------------------------ projections */

static void projections_are_held_against_the_log(void **state)
{
	static const struct {
		const char *how, *what;
	} cases[] = {
		{ "UPDATE lot SET priority = 7 WHERE seq = 2", "priority of the grant" },
		{ "UPDATE lot SET expires = 0 WHERE seq = 1", "expires of the grant" },
		{ "UPDATE lot SET expired = 0 WHERE seq = 1", "what expired of the grant" },
		{ "DELETE FROM lot WHERE seq = 2", "table lot has" },
		{ "INSERT INTO lot SELECT 3, wallet, source, priority, voided, effective, expires,"
		  " created, schedule, amount, pending, remaining, expired FROM lot WHERE seq = 2",
		  "granted nothing" },
		{ "UPDATE schedule SET next = next + 1", "its schedule is not kept" },
		{ "UPDATE account SET debt = 1", "debt is 1 in its account" },
		{ "UPDATE account SET refunded = 1", "refunded is 1 in its account" },
		{ "DELETE FROM account", "has entries but no account" },
		{ "UPDATE refund SET nano = 5", "what was refunded of it" },
		{ "DELETE FROM refund", "table refund has 0 rows" },
		{ "INSERT INTO write SELECT 'x', seq, content FROM write LIMIT 1",
		  "table write has" },
		{ "DELETE FROM write WHERE key = 'b'", "its id \"b\" is not kept" },
		{ "INSERT INTO counter VALUES ('k', 1, 5)", "counter k is kept as 5" },
		{ "INSERT INTO session VALUES (1, 'k', 9000000000000000000)", "session k is not" },
		{ "INSERT INTO unpriced VALUES ('m', 1, 1, 1, 1)", "unpriced \"m\"" },
		{ "UPDATE meta SET value = '3' WHERE key = 'checkpoint'", "checkpoint" },
		{ "UPDATE meta SET value = '3' WHERE key = 'latest_priced'", "latest start" },
		{ "DROP TRIGGER card_update; UPDATE card SET json = json || ' '",
		  "does not match its hash" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct weir_reader *rd;
		struct weir_verify v;
		struct fixture *f;

		fixture_up(state);
		f = *state;
		fill(f);
		assert_int_equal(sql(f, cases[i].how), SQLITE_OK);
		rd = reader(f);
		if (weir_reader_verify(rd, &v, &f->err) != -EBADMSG ||
		    !strstr(v.wrong, cases[i].what))
			fail_msg("%s: %s", cases[i].how, v.wrong);
		weir_reader_close(rd);
		fixture_down(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forgeries_are_found),
		cmocka_unit_test(projections_are_held_against_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
