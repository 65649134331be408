// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about a ledger that is older than its stream, against a real nats-server: usage comes back
 * from the events as it was, whoever was cut short; nothing else is entered, nothing is published.
 */
#include "tests/unit/ledger_fixture.h"
#include "tests/unit/nats_fixture.h"

#include <errno.h>

#include "agent/backup.h"
#include "agent/event.h"
#include "agent/naming.h"
#include "agent/rederive.h"

#define NODE "gpu-01"

static const char *const services[] = { NULL, "llm" };

/* The first thousand tokens at 5, the others at 4: what comes back must come back in order. */
static const char stepped[] =
	"{\"name\":\"steps\",\"version\":\"7\",\"effective_from\":\"2020-01-01T00:00:00Z\","
	"\"models\":[{\"match\":\"*\",\"price\":{\"input\":{\"steps\":[{\"up_to\":1000,"
	"\"price\":\"0.005\"},{\"price\":\"0.004\"}],\"mode\":\"graduated\"},\"per\":1}}]}";

struct lost {
	struct fixture *f;
	char backup[128];
	uint32_t card;
	uint64_t newest;
	int64_t acme, beta; /* balances */
	char event[64][4096];
};

/* ------------------------------------------------------------------ what is lost */

static struct weir_row request(struct lost *t, uint32_t tenant, int64_t tokens)
{
	struct fixture *f = t->f;
	struct weir_row r = make_row(f, tenant, f->t0 + f->made * SECOND, "0");

	r.card_id = t->card;
	r.price_nano = 0;
	r.usage = (struct weir_usage){ tokens, WEIR_UNKNOWN, WEIR_UNKNOWN, 0, WEIR_UNKNOWN };
	return r;
}

static void use(struct lost *t, uint32_t tenant, int64_t tokens)
{
	struct weir_row r = request(t, tenant, tokens);

	append(t->f, &r, 1);
}

static void report(struct lost *t, const char *key)
{
	struct weir_op op = {
		.kind = WEIR_ENTRY_METER,
		.tenant = t->f->acme,
		.wallet = t->f->acme,
		.quantity_nano = 1500000000,
		.dimension = "gb",
		.flags = WEIR_OP_POSTED | WEIR_OP_TRUSTED,
		.started_ns = t->f->t0,
		.reason = "disk",
		.session = "s",
		.actor = "nats",
	};

	snprintf(op.key, sizeof(op.key), "%s", key);
	post_at(t->f, &op, t->f->t0 + t->f->made++ * SECOND);
}

static int up(void **state)
{
	struct lost *t = calloc(1, sizeof(*t));
	struct weir_card *card;

	assert_int_equal(fixture_up((void **)&t->f), 0);
	t->f->t0 = UINT64_C(1900000000) * SECOND;
	ok(t->f, weir_card_parse(stepped, "test", &card, &t->f->err));
	ok(t->f, weir_ledger_card(t->f->l, card, &t->card, &t->f->err));
	weir_card_free(card);
	snprintf(t->backup, sizeof(t->backup), "%s/backup", t->f->dir);
	strcpy(store, "/dev/shm/weir-nats-XXXXXX");
	assert_non_null(mkdtemp(store));
	pick_port();
	server_start();
	look();
	*state = t;
	return 0;
}

static int down(void **state)
{
	struct lost *t = *state;
	char cmd[256];

	look_away();
	server_end(SIGKILL);
	weir_ledger_close(t->f->l);
	t->f->l = NULL;
	snprintf(cmd, sizeof(cmd), "rm -rf %s/* %s", t->f->dir, store);
	assert_int_equal(system(cmd), 0);
	fixture_down((void **)&t->f);
	free(t);
	return 0;
}

static void stream(const char *name, const char *subject)
{
	const char *subjects[1] = { subject };
	jsStreamConfig c;

	jsStreamConfig_Init(&c);
	c.Name = name;
	c.Subjects = subjects;
	c.SubjectsLen = 1;
	assert_int_equal(js_AddStream(NULL, js, &c, NULL, NULL), NATS_OK);
}

static int publish(const struct weir_entry *e, void *ctx)
{
	struct weir_reader *rd = ctx;
	static struct weir_text text;
	char subject[WEIR_EVENT_SUBJECT];
	struct weir_event_origin o;
	struct weir_error err;

	assert_int_equal(weir_event_origin_of(rd, e, NODE, &o, &err), 0);
	assert_int_equal(
		weir_event_json(e, &o, weir_reader_card(rd, e->row ? e->row->card_id : 0), &text),
		0);
	weir_event_subject(e, NODE, subject);
	assert_int_equal(js_Publish(NULL, js, subject, text.p, (int)text.len, NULL, NULL), NATS_OK);
	weir_text_free(&text);
	return 0;
}

static void publish_from(struct lost *t, uint64_t seq)
{
	struct weir_entry_query q = { .from_seq = seq };
	struct weir_reader *rd = reader(t->f);

	ok(t->f, weir_reader_entries(rd, &q, publish, rd, &t->f->err));
	weir_reader_close(rd);
}

static void copy(const char *from, const char *to)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "cp %s %s", from, to);
	assert_int_equal(system(cmd), 0);
}

/* A grant and three requests, all of it published; a backup; then what is lost. */
static void begin(struct lost *t)
{
	struct weir_op g = make_grant(t->f->acme, "credit", "100");
	struct weir_naming *naming;

	ok(t->f, weir_naming_new(t->f->l, &naming, &t->f->err));
	ok(t->f, weir_naming_put(naming, t->f->l, services, 2, NULL, &t->f->err));
	weir_naming_free(naming);
	stream("METER", "meter.v1.>");
	stream("LEDGER", "ledger.v1.>");
	post_at(t->f, &g, t->f->t0 - SECOND);
	for (int i = 0; i < 3; i++)
		use(t, t->f->acme, 300);
	weir_ledger_close(t->f->l);
	copy(t->f->path, t->backup);
	ok(t->f, weir_ledger_open(t->f->path, &t->f->l, &t->f->err));
	t->newest = weir_ledger_newest(t->f->l);
	publish_from(t, 1);
}

static void disaster(struct lost *t)
{
	t->acme = weir_ledger_balance(t->f->l, t->f->acme);
	t->beta = weir_ledger_balance(t->f->l, t->f->beta);
	weir_ledger_close(t->f->l);
	t->f->l = NULL;
}

static void put_back(struct lost *t)
{
	struct weir_backup_info info;
	char aside[256];

	disaster(t);
	ok(t->f, weir_backup_restore(t->backup, t->f->path, aside, &info, &t->f->err));
	assert_int_equal(info.newest, t->newest);
	ok(t->f, weir_ledger_open(t->f->path, &t->f->l, &t->f->err));
}

/* ------------------------------------------------------------------ doing it */

static int fail_at; /* the so manieth call is not done; 0: all are */

static int call(void *ctx, int (*fn)(struct weir_ledger *l, void *arg), void *arg)
{
	struct lost *t = ctx;

	if (fail_at && !--fail_at)
		return -EIO;
	return fn(t->f->l, arg);
}

static int try(struct lost *t)
{
	struct weir_rederive r = {
		.js = js,
		.node = NODE,
		.reader = reader(t->f),
		.services = services,
		.n_services = 2,
		.call = call,
		.ctx = t,
	};
	int ret = weir_rederive_run(&r, &t->f->err);

	weir_reader_close(r.reader);
	return ret;
}

static struct weir_restored_status status(struct lost *t)
{
	struct weir_reader *rd = reader(t->f);
	struct weir_restored_status s;

	ok(t->f, weir_restored_look(rd, &s, &t->f->err));
	weir_reader_close(rd);
	return s;
}

/* Every entry as it was, but for what an event does not say. */
static void assert_same(const struct kept *a, const struct kept *b, size_t i)
{
	assert_int_equal(a->e[i].kind, b->e[i].kind);
	assert_memory_equal(&a->e[i].id, &b->e[i].id, sizeof(a->e[i].id));
	assert_int_equal(a->e[i].time_ns, b->e[i].time_ns);
	assert_int_equal(a->e[i].balance_after_nano, b->e[i].balance_after_nano);
	assert_int_equal(a->e[i].n_moves, b->e[i].n_moves);
	assert_int_equal(a->row[i].price_nano, b->row[i].price_nano);
	assert_int_equal(a->row[i].started_wall_ns, b->row[i].started_wall_ns);
	assert_int_equal(a->row[i].service, b->row[i].service);
	assert_int_equal(a->row[i].card_id, b->row[i].card_id);
	assert_int_equal(a->row[i].flags, b->row[i].flags);
	assert_memory_equal(&a->row[i].usage, &b->row[i].usage, sizeof(a->row[i].usage));
	assert_string_equal(a->op[i].key, b->op[i].key);
	assert_int_equal(a->op[i].flags, b->op[i].flags);
	assert_string_equal(a->op[i].reason, b->op[i].reason);
}

static void what_was_used_comes_back_as_it_was(void **state)
{
	struct lost *t = *state;
	struct kept before;
	struct kept *after;
	struct weir_restored_status s;

	begin(t);
	use(t, t->f->acme, 700); /* over the step */
	report(t, "day-17");
	use(t, t->f->beta, 10);
	use(t, t->f->acme, 10);
	publish_from(t, t->newest + 1);
	before = *all(t->f);
	put_back(t);
	s = status(t);
	assert_true(s.any && s.pending);
	assert_non_null(strstr(s.text, "is looked at when NATS can be had"));
	ok(t->f, try(t));
	after = all(t->f);
	assert_int_equal(after->n, before.n);
	for (size_t i = 0; i < before.n; i++)
		assert_same(&before, after, i);
	assert_int_equal(weir_ledger_balance(t->f->l, t->f->acme), t->acme);
	assert_int_equal(weir_ledger_balance(t->f->l, t->f->beta), t->beta);
	assert_verifies(t->f);
	assert_int_equal(stream_messages("METER"), 7);
	assert_int_equal(stream_messages("LEDGER"), 1);
	s = status(t);
	assert_true(s.any && !s.pending && s.report.stream);
	assert_int_equal(s.report.usage, 4);
	/* 100 of 700 at 5, the rest at 4, in 1e-3 */
	assert_money(s.report.price_nano, "2.99");
	assert_int_equal(s.report.differing + s.report.gaps + s.report.strange + s.report.acts, 0);
	assert_int_equal(s.report.no_card, 0);
	assert_int_equal(s.known_ns, before.row[before.n - 1].ended_wall_ns);
	assert_non_null(strstr(s.text, "4 requests and reports, worth 2.99 credits"));
	/* It is over, and a second look finds nothing. */
	ok(t->f, try(t));
	assert_int_equal(all(t->f)->n, before.n);
	/* Who sends the report again is answered with what was done. */
	{
		struct weir_op op = before.op[5];
		struct weir_done done;

		ok(t->f, weir_ledger_post(t->f->l, &op, t->f->t0, &done, &t->f->err));
		assert_true(done.repeated);
	}
}

/* Wherever it is cut: what was entered is known, and counted once. */
static void a_run_that_was_cut_short_goes_on(void **state)
{
	static struct weir_row rows[520];
	struct lost *t = *state;
	struct weir_restored_status s;

	begin(t);
	for (int i = 0; i < 520; i++)
		rows[i] = request(t, t->f->acme, i % 7);
	append(t->f, rows, 520);
	publish_from(t, t->newest + 1);
	put_back(t);
	for (int i = 1; i <= 3; i++) { /* the first batch, the second, the note that it is done */
		fail_at = i == 1 ? 1 : 2;
		assert_int_equal(try(t), -EIO);
		assert_true(status(t).pending);
	}
	fail_at = 0;
	ok(t->f, try(t));
	s = status(t);
	assert_int_equal(s.report.usage, 520);
	assert_int_equal(s.report.gaps, 0);
	assert_int_equal(weir_ledger_newest(t->f->l), t->newest + 520);
	assert_int_equal(weir_ledger_balance(t->f->l, t->f->acme), t->acme);
	assert_verifies(t->f);
}

/* A grant was somebody's act. It is told; repeated under its id it is there once. */
static void acts_of_others_are_told_and_not_done(void **state)
{
	struct lost *t = *state;
	struct weir_restored_status s;
	struct weir_op g;

	begin(t);
	g = make_grant(t->f->beta, "order-18", "5");
	post_at(t->f, &g, t->f->t0 + 100 * SECOND);
	use(t, t->f->beta, 1000);
	publish_from(t, t->newest + 1);
	put_back(t);
	ok(t->f, try(t));
	s = status(t);
	assert_int_equal(s.report.acts, 1);
	assert_string_equal(s.report.first_acts, "grant 5 of beta --id order-18");
	assert_int_equal(s.report.usage, 1);
	assert_int_equal(weir_ledger_balance(t->f->l, t->f->beta), t->beta - nano("5"));
	post_at(t->f, &g, t->f->t0 + 200 * SECOND);
	assert_int_equal(weir_ledger_balance(t->f->l, t->f->beta), t->beta);
	assert_verifies(t->f);
}

/* Files copied by hand leave no mark; the stream tells. */
static void an_older_ledger_is_recognised_without_a_mark(void **state)
{
	struct lost *t = *state;

	begin(t);
	ok(t->f, try(t)); /* nothing is wrong */
	assert_false(status(t).any);
	use(t, t->f->acme, 700);
	publish_from(t, t->newest + 1);
	disaster(t);
	copy(t->backup, t->f->path);
	ok(t->f, weir_ledger_open(t->f->path, &t->f->l, &t->f->err));
	ok(t->f, try(t));
	assert_int_equal(weir_ledger_balance(t->f->l, t->f->acme), t->acme);
	assert_int_equal(status(t).report.usage, 1);
	assert_int_equal(weir_ledger_newest(t->f->l), t->newest + 1);
}

static void put_message(const char *subject, const char *text)
{
	assert_int_equal(js_Publish(NULL, js, subject, text, (int)strlen(text), NULL, NULL),
			 NATS_OK);
}

/* What is altered on its way, or was never ours, is counted and does no harm. */
static void strange_messages_are_counted(void **state)
{
	struct lost *t = *state;
	struct weir_restored_status s;
	natsMsg *msg;
	char text[4096], *price;

	begin(t);
	use(t, t->f->acme, 700);
	use(t, t->f->acme, 10);
	publish_from(t, t->newest + 1);
	/* The last one costs another price, and the one before it is not there. */
	assert_int_equal(js_GetMsg(&msg, js, "METER", 5, NULL, NULL), NATS_OK);
	snprintf(text, sizeof(text), "%.*s", natsMsg_GetDataLength(msg), natsMsg_GetData(msg));
	natsMsg_Destroy(msg);
	assert_int_equal(js_DeleteMsg(js, "METER", 5, NULL, NULL), NATS_OK);
	assert_int_equal(js_DeleteMsg(js, "METER", 4, NULL, NULL), NATS_OK);
	price = strstr(text, "\"price\":\"0.04\"");
	assert_non_null(price);
	memcpy(price, "\"price\":\"0.06\"", 14);
	put_message("meter.v1.acme." NODE, "not JSON at all");
	put_message("meter.v1.acme." NODE, text);
	price = strstr(text, "\"input_tokens\":10");
	memcpy(price, "\"input_tokens\":-1", 17);
	memcpy(strstr(text, "\"id\":\"") + 6, "0123", 4); /* another one's, damaged */
	put_message("meter.v1.acme." NODE, text);
	put_back(t);
	ok(t->f, try(t));
	s = status(t);
	assert_int_equal(s.report.usage, 1);
	assert_int_equal(s.report.strange, 2);
	assert_int_equal(s.report.gaps, 1);
	assert_int_equal(s.report.differing, 1);
	assert_int_equal(weir_ledger_newest(t->f->l), t->newest + 1);
	assert_verifies(t->f);
}

/* The card came after the backup, and is in no policy any more. */
static void usage_without_its_card_has_no_price(void **state)
{
	static const char later[] =
		"{\"name\":\"new\",\"version\":\"8\",\"effective_from\":\"2035-01-01T00:00:00Z\","
		"\"models\":[{\"match\":\"*\",\"price\":{\"input\":\"0.001\",\"per\":1}}]}";
	struct lost *t = *state;
	struct weir_restored_status s;
	struct weir_card *card;

	begin(t);
	ok(t->f, weir_card_parse(later, "test", &card, &t->f->err));
	ok(t->f, weir_ledger_card(t->f->l, card, &t->card, &t->f->err));
	weir_card_free(card);
	use(t, t->f->acme, 700);
	publish_from(t, t->newest + 1);
	put_back(t);
	ok(t->f, try(t));
	s = status(t);
	assert_int_equal(s.report.usage, 1);
	assert_int_equal(s.report.no_card, 1);
	assert_int_equal(s.report.differing, 1);
	assert_money(s.report.difference_nano, "-0.7");
	assert_true(all(t->f)->row[t->newest].flags & WEIR_ROW_UNPRICED);
	assert_verifies(t->f);
}

static void without_a_stream_it_says_what_is_not_known(void **state)
{
	struct lost *t = *state;
	struct weir_restored_status s;

	begin(t);
	use(t, t->f->acme, 700);
	put_back(t);
	assert_int_equal(js_DeleteStream(js, "METER", NULL, NULL), NATS_OK);
	assert_int_equal(js_DeleteStream(js, "LEDGER", NULL, NULL), NATS_OK);
	ok(t->f, try(t));
	s = status(t);
	assert_true(s.any && !s.pending && !s.report.stream);
	assert_non_null(strstr(s.text, "no stream that could say"));
	assert_non_null(strstr(s.text, "nothing is known from"));
	assert_int_equal(weir_ledger_newest(t->f->l), t->newest);
}

/* It is told until a run begins after one that ended by itself. */
static void it_is_told_until_the_next_clean_start(void **state)
{
	struct lost *t = *state;

	begin(t);
	put_back(t);
	ok(t->f, try(t));
	assert_true(status(t).any);
	assert_int_equal(
		sql(t->f, "INSERT INTO run (boot, pid, version, started, alive, ended, open, kept)"
			  " VALUES ('b', 1, '', 1, 1, 0, 0, 0),"
			  " ('b', 1, '', 9000000000000000000, 1, 0, 0, 0)"),
		SQLITE_OK);
	assert_true(status(t).any); /* the run before crashed */
	assert_int_equal(sql(t->f, "UPDATE run SET ended = 8999999999999999999 WHERE seq = 1"),
			 SQLITE_OK);
	assert_false(status(t).any);
}

/* A backup of before there was a table for it. */
static void a_mark_is_left_in_older_schemas_too(void **state)
{
	struct lost *t = *state;
	struct weir_restored_mark m = { .time_ns = 3, .newest = 2, .newest_time_ns = 1 };
	char path[96];

	begin(t);
	strcpy(path, t->f->path);
	strcpy(t->f->path, t->backup);
	assert_int_equal(sql(t->f, "DROP TABLE restored"), SQLITE_OK);
	strcpy(t->f->path, path);
	m.head[0] = 0xab;
	ok(t->f, weir_restored_put_mark(t->backup, &m, &t->f->err));
	weir_ledger_close(t->f->l);
	copy(t->backup, t->f->path);
	assert_int_equal(sql(t->f, "CREATE TABLE restored (seq INTEGER PRIMARY KEY, time INTEGER,"
				   " newest INTEGER, newest_time INTEGER, hash BLOB, done INTEGER,"
				   " report TEXT)"),
			 SQLITE_OK);
	ok(t->f, weir_ledger_open(t->f->path, &t->f->l, &t->f->err));
	ok(t->f, weir_restored_adopt(t->f->l, &t->f->err));
	ok(t->f, weir_restored_adopt(t->f->l, &t->f->err)); /* once */
	assert_true(status(t).pending);
	assert_int_equal(status(t).at_ns, 3);
	assert_int_equal(status(t).from_ns, 1);
}

#define LOST(name) cmocka_unit_test_setup_teardown(name, up, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOST(what_was_used_comes_back_as_it_was),
		LOST(a_run_that_was_cut_short_goes_on),
		LOST(acts_of_others_are_told_and_not_done),
		LOST(an_older_ledger_is_recognised_without_a_mark),
		LOST(strange_messages_are_counted),
		LOST(usage_without_its_card_has_no_price),
		LOST(without_a_stream_it_says_what_is_not_known),
		LOST(it_is_told_until_the_next_clean_start),
		LOST(a_mark_is_left_in_older_schemas_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
