/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators ask of rate cards, margins and meters on the control socket; and the watch
 * over money, that looks by itself.
 */
#include "control_fixture.h"

#include "agent/margin.h"
#include "agent/money_watch.h"
#include "agent/unpriced.h"

#define LIST                                                                                       \
	"\"name\":\"list\",\"effective_from\":\"2026-11-01T00:00:00Z\",\"models\":[{\"match\":"    \
	"\"llama*\",\"price\":{\"output\":\"0.01\",\"per\":1},\"cost\":{\"output\":\"0.002\"}},{"  \
	"\"meter\":\"storage_gb\",\"price\":{\"unit\":\"0.5\"}}]"
#define TENANTS                                                                                    \
	"\"tiers\":{\"paid\":{\"credit\":\"soft\",\"overage_limit\":\"100\"},\"open\":{}},"        \
	"\"tenants\":{\"acme\":{\"tier\":\"paid\"},\"globex\":{\"tier\":\"open\"}}"

static int store_cards(struct weir_ledger *l, void *arg)
{
	int r = 0;

	for (size_t i = 0; !r && i < f->policy->n_cards; i++)
		r = weir_ledger_card(l, f->policy->cards[i], &f->policy->cards[i]->id, arg);
	return r;
}

/* The policy with these cards, in force and stored, as the agent does it. */
static void cards(const char *list)
{
	struct weir_error err = { "" };
	char text[4096];

	snprintf(text, sizeof(text), "{" TENANTS ",\"rate_cards\":[%s]}", list);
	fake_write(f->policies, "10.json", text);
	if (f->view.reload(f, f->policies, &err) ||
	    weir_writer_call(f->view.writer, store_cards, &err))
		fail_msg("%s", err.text);
}

static void assert_text(json_t *o, const char *name, const char *value)
{
	const char *got = text(o, name);

	if (!got || strcmp(got, value))
		fail_msg("%s: %s is not %s in %s", name, got ? got : "nothing", value,
			 json_dumps(o, 0));
}

/* ------------------------------------------------------------------------- cards */

static void cards_are_listed_with_what_they_are_for(void **state)
{
	json_t *rows, *row;

	cards("{\"version\":\"1\"," LIST "},{\"version\":\"2\",\"name\":\"list\","
	      "\"effective_from\":\"2100-01-01T00:00:00Z\",\"currency\":\"USD\",\"credit_price\":"
	      "\"0.01\",\"margin_floor\":\"0.25\",\"models\":[{\"match\":\"default\",\"price\":{"
	      "\"request\":\"1\"}}]},{\"name\":\"vip\",\"version\":\"1\",\"effective_from\":"
	      "\"2026-11-01T00:00:00Z\",\"tenants\":[\"acme\"],\"models\":[{\"match\":\"default\","
	      "\"price\":{\"request\":\"2\"}}]}");
	rows = result_of(ask("{\"op\":\"price.list\"}"));
	assert_int_equal(json_array_size(rows), 3);
	for (size_t i = 0; i < 3; i++) {
		row = json_array_get(rows, i);
		if (!strcmp(text(row, "name"), "vip")) {
			assert_text(row, "scope", "tenant");
			assert_string_equal(
				json_string_value(json_array_get(json_object_get(row, "for"), 0)),
				"acme");
		} else if (!strcmp(text(row, "version"), "2")) {
			assert_text(row, "state", "to_come");
			assert_text(row, "currency", "USD");
			assert_text(row, "credit_price", "0.01");
			assert_text(row, "margin_floor", "0.25");
		} else {
			assert_text(row, "state", "in_force");
			assert_text(row, "scope", "all");
			assert_int_equal(integer(row, "entries"), 2);
			assert_int_equal(strlen(text(row, "sha256")), 64);
			assert_true(json_is_null(json_object_get(row, "credit_price")));
		}
	}
	json_decref(rows);
}

static void cards_no_longer_in_files_are_listed_too(void **state)
{
	json_t *rows, *card;

	cards("{\"version\":\"1\"," LIST "}");
	cards("{\"version\":\"2\"," LIST "}");
	rows = result_of(ask("{\"op\":\"price.list\"}"));
	assert_int_equal(json_array_size(rows), 2);
	assert_text(json_array_get(rows, 0), "version", "2");
	assert_text(json_array_get(rows, 0), "state", "in_force");
	assert_text(json_array_get(rows, 1), "version", "1");
	assert_text(json_array_get(rows, 1), "state", "not_in_files");
	json_decref(rows);
	card = result_of(ask("{\"op\":\"price.show\",\"card\":\"list/1\"}"));
	assert_text(card, "state", "not_in_files");
	json_decref(card);
	card = result_of(ask("{\"op\":\"price.show\",\"card\":\"list\"}"));
	assert_text(card, "version", "2");
	json_decref(card);
	assert_refused(ask("{\"op\":\"price.show\",\"card\":\"list/3\"}"), "not_found", "list/3");
	assert_refused(ask("{\"op\":\"price.show\",\"card\":\"lis\"}"), "not_found",
		       "there is none");
	assert_refused(ask("{\"op\":\"price.show\"}"), "bad_request", "card");
}

static void entries_are_shown_in_the_order_they_are_tried(void **state)
{
	static const char *const keys[] = { "path=/v1/x", "match=llama-7b", "match=llama*",
					    "match=default" };
	json_t *row, *e;
	size_t i;

	cards("{\"name\":\"list\",\"version\":\"1\",\"effective_from\":\"2026-11-01T00:00:00Z\","
	      "\"models\":[{\"match\":\"default\",\"price\":{\"request\":\"1\"}},{\"match\":"
	      "\"llama*\",\"price\":{\"request\":\"1\"}},{\"match\":\"llama-7b\",\"price\":{"
	      "\"request\":\"1\"}},{\"path\":\"/v1/x\",\"price\":{\"request\":\"1\"}}]}");
	row = result_of(ask("{\"op\":\"price.show\",\"card\":\"list\"}"));
	assert_int_equal(json_array_size(json_object_get(row, "entries")), 4);
	json_array_foreach(json_object_get(row, "entries"), i, e)
	{
		assert_text(e, "key", keys[i]);
		assert_int_equal(integer(e, "entry"), 3 - i);
	}
	json_decref(row);
}

/* ---------------------------------------------------------------------- estimates */

static void an_estimate_has_lines_and_totals(void **state)
{
	json_t *e, *line;

	cards("{\"version\":\"1\"," LIST "}");
	e = result_of(ask("{\"op\":\"price.estimate\",\"model\":\"llama-7b\",\"output\":150,"
			  "\"input\":9,\"tenant\":\"acme\"}"));
	assert_true(truth(e, "priced"));
	assert_text(e, "price", "1.5");
	assert_text(e, "cost", "0.3");
	assert_text(e, "margin_percent", "80");
	line = json_array_get(json_object_get(e, "lines"), 0);
	assert_text(line, "dimension", "output");
	assert_int_equal(integer(line, "quantity"), 150);
	assert_text(line, "amount", "1.5");
	json_decref(e);
	e = result_of(ask("{\"op\":\"price.estimate\",\"model\":\"gpt-9\",\"output\":150}"));
	assert_false(truth(e, "priced"));
	json_decref(e);
	/* Nothing was in force then. */
	e = result_of(ask("{\"op\":\"price.estimate\",\"model\":\"llama-7b\",\"at\":"
			  "\"2026-10-31T23:59:59Z\"}"));
	assert_false(truth(e, "priced"));
	json_decref(e);
}

/* What a credit is, is the operator's to say. */
static void a_credit_can_be_a_call_or_tokens_or_a_document(void **state)
{
	json_t *o;

	cards("{\"name\":\"list\",\"version\":\"1\",\"effective_from\":\"2026-11-01T00:00:00Z\","
	      "\"models\":[{\"match\":\"simple\",\"price\":{\"request\":\"1\"}},{\"match\":"
	      "\"complex\",\"price\":{\"request\":\"5\"}},{\"match\":\"tokens\",\"price\":{"
	      "\"input\":\"1\",\"output\":\"1\",\"per\":1000}},{\"meter\":\"document\","
	      "\"price\":{\"unit\":\"1\"}}]}");
	o = result_of(ask("{\"op\":\"price.estimate\",\"model\":\"simple\",\"output\":9999}"));
	assert_text(o, "price", "1");
	json_decref(o);
	o = result_of(ask("{\"op\":\"price.estimate\",\"model\":\"complex\"}"));
	assert_text(o, "price", "5");
	json_decref(o);
	o = result_of(ask("{\"op\":\"price.estimate\",\"model\":\"tokens\",\"input\":1800,"
			  "\"output\":200}"));
	assert_text(o, "price", "2");
	json_decref(o);
	o = result_of(ask("{\"op\":\"meter.add\",\"tenant\":\"acme\",\"dimension\":\"document\","
			  "\"quantity\":\"3\",\"id\":\"d\"}"));
	assert_text(o, "price", "3");
	json_decref(o);
}

static void an_estimate_of_nothing_is_refused(void **state)
{
	cards("{\"version\":\"1\"," LIST "}");
	assert_refused(ask("{\"op\":\"price.estimate\",\"output\":1}"), "bad_request", "model");
	assert_refused(ask("{\"op\":\"price.estimate\",\"model\":\"m\",\"output\":-1}"),
		       "bad_request", "output");
	assert_refused(ask("{\"op\":\"price.estimate\",\"model\":\"m\",\"output\":\"1\"}"),
		       "bad_request", "output");
	assert_refused(ask("{\"op\":\"price.estimate\",\"model\":\"m\",\"seconds\":1}"),
		       "bad_request", "seconds");
	assert_refused(ask("{\"op\":\"price.estimate\",\"model\":\"m\",\"tenant\":\"acmee\"}"),
		       "not_found", "acme");
	assert_refused(ask("{\"op\":\"price.estimate\",\"model\":\"m\",\"service\":\"web\"}"),
		       "not_found", "web");
}

/* ------------------------------------------------------------------------- meters */

static void a_meter_is_priced_once(void **state)
{
	static const char add[] = "{\"op\":\"meter.add\",\"tenant\":\"acme\",\"dimension\":"
				  "\"storage_gb\",\"quantity\":\"2.5\",\"id\":\"k\",\"at\":"
				  "\"2026-11-01T12:00:00Z\"}";
	json_t *m;

	cards("{\"version\":\"1\"," LIST "}");
	m = result_of(ask(add));
	assert_text(m, "price", "1.25");
	assert_text(m, "balance", "-1.25");
	assert_text(json_object_get(m, "rate_card"), "key", "meter=storage_gb");
	assert_false(truth(m, "repeated"));
	json_decref(m);
	/* What it was then, whatever the card is now. */
	cards("{\"version\":\"2\",\"name\":\"list\",\"effective_from\":\"2026-11-02T00:00:00Z\","
	      "\"models\":[{\"meter\":\"storage_gb\",\"price\":{\"unit\":\"9\"}}]}");
	m = result_of(ask(add));
	assert_true(truth(m, "repeated"));
	assert_text(m, "price", "1.25");
	assert_text(json_object_get(m, "rate_card"), "version", "1");
	json_decref(m);
	assert_refused(ask("{\"op\":\"meter.add\",\"tenant\":\"acme\",\"dimension\":\"storage_gb\","
			   "\"quantity\":\"2\",\"id\":\"k\"}"),
		       "conflict", "k");
	/* credit "none": priced, and nobody pays. */
	m = result_of(ask("{\"op\":\"meter.add\",\"tenant\":\"globex\",\"dimension\":"
			  "\"storage_gb\",\"quantity\":\"1\",\"id\":\"g\"}"));
	assert_text(m, "price", "9");
	assert_text(m, "balance", "0");
	json_decref(m);
}

static void a_meter_is_paid_by_the_wallet_of_its_tenant(void **state)
{
	struct weir_reader *reader;
	struct weir_balance b;
	struct weir_error err = { "" };
	json_t *m;

	cards("{\"version\":\"1\"," LIST "}");
	f->kernel[1].wallet = 2;
	m = result_of(ask("{\"op\":\"meter.add\",\"tenant\":\"acme\",\"dimension\":\"storage_gb\","
			  "\"quantity\":\"4\",\"id\":\"w\"}"));
	assert_text(m, "tenant", "acme");
	assert_text(m, "wallet", "globex");
	assert_text(m, "balance", "-2");
	json_decref(m);
	assert_int_equal(weir_reader_open(f->db, &reader, &err), 0);
	assert_int_equal(weir_reader_balance(reader, 1, weir_wall_ns(), &b, &err), 0);
	assert_int_equal(b.balance_nano, 0);
	weir_balance_clear(&b);
	weir_reader_close(reader);
}

static void a_meter_nobody_prices_is_entered_and_listed(void **state)
{
	json_t *m, *rows;

	cards("{\"version\":\"1\"," LIST "}");
	m = result_of(ask("{\"op\":\"meter.add\",\"tenant\":\"acme\",\"dimension\":\"gpu\","
			  "\"quantity\":\"3\",\"id\":\"u\"}"));
	assert_true(truth(m, "unpriced"));
	assert_text(m, "price", "0");
	json_decref(m);
	rows = result_of(ask("{\"op\":\"price.unpriced\"}"));
	assert_int_equal(json_array_size(rows), 1);
	assert_text(json_array_get(rows, 0), "kind", "meter");
	assert_text(json_array_get(rows, 0), "meter", "gpu");
	json_decref(rows);
	json_decref(result_of(ask("{\"op\":\"meter.add\",\"tenant\":\"acme\",\"dimension\":\"gpu\","
				  "\"quantity\":\"3\",\"model\":\"a100\",\"id\":\"v\"}")));
	/* One that is priced by the model it is of is priced with it only. */
	cards("{\"version\":\"1b\",\"name\":\"list\",\"effective_from\":\"2026-11-01T00:00:00Z\","
	      "\"models\":[{\"meter\":\"gpu\",\"match\":\"a100*\",\"price\":{\"unit\":\"1\"}}]}");
	rows = result_of(ask("{\"op\":\"price.unpriced\"}"));
	assert_int_equal(json_array_size(rows), 1);
	assert_text(json_array_get(rows, 0), "model", "");
	json_decref(rows);
	/* A card for one tenant is no price for the others. */
	cards("{\"version\":\"1\"," LIST "},{\"name\":\"vip\",\"version\":\"1\","
	      "\"effective_from\":\"2026-11-01T00:00:00Z\",\"tenants\":[\"acme\"],\"models\":[{"
	      "\"meter\":\"gpu\",\"price\":{\"unit\":\"1\"}}]}");
	rows = result_of(ask("{\"op\":\"price.unpriced\"}"));
	assert_int_equal(json_array_size(rows), 2);
	json_decref(rows);
	cards("{\"version\":\"2\",\"name\":\"list\",\"effective_from\":\"2026-11-01T00:00:00Z\","
	      "\"models\":[{\"meter\":\"gpu\",\"price\":{\"unit\":\"1\"}}]}");
	rows = result_of(ask("{\"op\":\"price.unpriced\"}"));
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
}

static void a_meter_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *fields, *words;
	} bad[] = {
		{ "\"dimension\":\"d\",\"quantity\":\"1\"", "id" },
		{ "\"dimension\":\"d\",\"id\":\"k\"", "quantity" },
		{ "\"quantity\":\"1\",\"id\":\"k\"", "dimension" },
		{ "\"dimension\":\"d\",\"quantity\":1.5,\"id\":\"k\"", "decimal string" },
		{ "\"dimension\":\"d\",\"quantity\":\"0\",\"id\":\"k\"", "0.000000001" },
		{ "\"dimension\":\"d\",\"quantity\":\"1e9\",\"id\":\"k\"", "decimal" },
		{ "\"dimension\":\"D\",\"quantity\":\"1\",\"id\":\"k\"", "a-z" },
		{ "\"dimension\":\"d\",\"quantity\":\"1\",\"id\":\"k\\n\"", "control character" },
		{ "\"dimension\":\"d\",\"quantity\":\"1\",\"id\":\"k\",\"at\":\"soon\"", "time" },
		{ "\"dimension\":\"d\",\"quantity\":\"1\",\"id\":\"k\",\"at\":"
		  "\"2400-01-01T00:00:00Z\"",
		  "future" },
		{ "\"dimension\":\"d\",\"quantity\":\"1\",\"id\":\"k\",\"feature\":"
		  "\"ffffffffffffffffffffffffffffffffffffffffffffffff\"",
		  "47 bytes" },
	};
	struct weir_reader *reader;
	struct weir_error err = { "" };
	uint64_t newest = 9;
	char line[512];

	cards("{\"version\":\"1\"," LIST "}");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(line, sizeof(line), "{\"op\":\"meter.add\",\"tenant\":\"acme\",%s}",
			 bad[i].fields);
		assert_refused(ask(line), "bad_request", bad[i].words);
	}
	assert_refused(ask("{\"op\":\"meter.add\",\"tenant\":\"acm\",\"dimension\":\"d\","
			   "\"quantity\":\"1\",\"id\":\"k\"}"),
		       "not_found", "acme");
	assert_int_equal(weir_reader_open(f->db, &reader, &err), 0);
	assert_int_equal(weir_reader_newest(reader, &newest, &err), 0);
	assert_int_equal(newest, 0); /* nothing was written */
	weir_reader_close(reader);
}

/* ------------------------------------------------------------------------- margin */

static void a_margin_is_asked_for_rightly(void **state)
{
	json_t *m;

	cards("{\"version\":\"1\"," LIST "}");
	fake_requests(f, 1, 0, 3); /* long ago, and not priced */
	m = result_of(
		ask("{\"op\":\"margin\",\"since\":\"2026-01-01T00:00:00Z\",\"by\":\"model\"}"));
	assert_int_equal(integer(json_object_get(m, "total"), "requests"), 3);
	assert_true(json_is_null(json_object_get(json_object_get(m, "total"), "margin_percent")));
	assert_text(json_array_get(json_object_get(m, "rows"), 0), "key", "llama-3.3-70b");
	json_decref(m);
	assert_refused(ask("{\"op\":\"margin\",\"by\":\"colour\"}"), "bad_request", "colour");
	assert_refused(ask("{\"op\":\"margin\",\"since\":\"2026-11-02T00:00:00Z\",\"until\":"
			   "\"2026-11-02T00:00:00Z\"}"),
		       "bad_request", "until");
}

static void a_percentage_is_exact(void **state)
{
	char text[WEIR_PERCENT_TEXT];

	assert_true(weir_margin_percent(1000, 0, 300, text));
	assert_string_equal(text, "70");
	assert_true(weir_margin_percent(1000, 0, 1500, text));
	assert_string_equal(text, "-50");
	assert_true(weir_margin_percent(3, 0, 1, text));
	assert_string_equal(text, "66.67");
	assert_true(weir_margin_percent(1000, 900, 100, text));
	assert_string_equal(text, "0");
	assert_true(weir_margin_percent(1, 0, INT64_MAX / 1000000000000, text));
	assert_string_equal(text, "-922337100");
	assert_false(weir_margin_percent(0, 0, 5, text));
	assert_false(weir_margin_percent(5, 5, 5, text));
}

static void a_floor_is_undercut_exactly(void **state)
{
	assert_false(weir_margin_below(1000, 0, 700, 300));
	assert_true(weir_margin_below(1000, 0, 700, 301));
	assert_false(weir_margin_below(1000, 0, 700, INT64_MIN));
	assert_true(weir_margin_below(1000, 1, 700, 300));
	assert_true(weir_margin_below(0, 0, 1, 0)); /* cost, and no price at all */
	assert_false(weir_margin_below(0, 0, 0, 900));
}

/* -------------------------------------------------------------------------- watch */

struct counted {
	size_t unpriced, below;
	int64_t price_nano;
};

static void count_sums(void *ctx, const struct weir_money_sums *s)
{
	struct counted *c = ctx;

	c->below += s->below;
	if (s->tenant)
		c->price_nano = s->price_nano;
}

static void count_unpriced(void *ctx, const struct weir_money_unpriced *u)
{
	((struct counted *)ctx)->unpriced++;
}

static struct counted look_at(struct weir_money_watch *w)
{
	struct counted c = { 0 };

	weir_money_watch_visit(w, &(struct weir_money_visitor){ &c, count_sums, count_unpriced });
	return c;
}

/* Of a second at most in life; a machine that is very busy may take its time. */
#define WAIT_FOR(condition)                                                                        \
	for (int i = 0; !(condition); i++) {                                                       \
		if (i == 20000)                                                                    \
			fail_msg("waited for " #condition);                                        \
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);                         \
	}

static void the_watch_sees_what_goes_wrong_and_when_it_is_over(void **state)
{
	static struct weir_status s;
	char later[WEIR_TIME_TEXT], next[512];
	struct weir_money_watch *w;
	struct weir_error err = { "" };

	cards("{\"version\":\"1\",\"margin_floor\":\"0.2\",\"name\":\"list\",\"effective_from\":"
	      "\"2026-11-01T00:00:00Z\",\"models\":[{\"meter\":\"gpu\",\"price\":{\"unit\":\"1\"},"
	      "\"cost\":{\"unit\":\"0.9\"}}]}");
	assert_int_equal(weir_money_watch_start(&f->view, 5, &w, &err), 0);
	weir_money_watch_warn(NULL, &s);
	assert_int_equal(s.n_warnings, 0);
	json_decref(result_of(ask("{\"op\":\"meter.add\",\"tenant\":\"acme\",\"dimension\":\"gpu\","
				  "\"quantity\":\"3\",\"id\":\"1\"}")));
	json_decref(result_of(ask("{\"op\":\"meter.add\",\"tenant\":\"acme\",\"dimension\":"
				  "\"disk\",\"quantity\":\"3\",\"id\":\"2\"}")));
	WAIT_FOR(look_at(w).below == 2 && look_at(w).unpriced == 1); /* tenant and entry */
	assert_int_equal(look_at(w).price_nano, 3 * WEIR_SECOND);
	weir_money_watch_warn(w, &s);
	assert_int_equal(s.n_warnings, 3);
	assert_memory_equal(s.warnings[0], "unpriced: meter:disk", 20);
	assert_non_null(strstr(s.warnings[1], "10 % this month"));
	/* The next version is content with less, and prices the disk. It begins later than what
	 * was priced. */
	weir_time_format(weir_wall_ns() + WEIR_SECOND, later);
	snprintf(next, sizeof(next),
		 "{\"version\":\"2\",\"margin_floor\":\"0.1\",\"name\":\"list\",\"effective_from\":"
		 "\"%s\",\"models\":[{\"meter\":\"gpu\",\"price\":{\"unit\":\"1\"},"
		 "\"cost\":{\"unit\":\"0.9\"}},{\"meter\":\"disk\",\"price\":{\"unit\":\"1\"}}]}",
		 later);
	cards(next);
	WAIT_FOR(!look_at(w).below && !look_at(w).unpriced);
	/* What was refunded is no price any more. */
	json_decref(result_of(ask("{\"op\":\"credit.refund\",\"entry\":\"1\",\"amount\":\"1\","
				  "\"reason\":\"r\",\"id\":\"3\"}")));
	WAIT_FOR(look_at(w).price_nano == 2 * WEIR_SECOND && look_at(w).below == 2);
	weir_money_watch_stop(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(cards_are_listed_with_what_they_are_for),
		CLAIM(cards_no_longer_in_files_are_listed_too),
		CLAIM(entries_are_shown_in_the_order_they_are_tried),
		CLAIM(an_estimate_has_lines_and_totals),
		CLAIM(a_credit_can_be_a_call_or_tokens_or_a_document),
		CLAIM(an_estimate_of_nothing_is_refused),
		CLAIM(a_meter_is_priced_once),
		CLAIM(a_meter_is_paid_by_the_wallet_of_its_tenant),
		CLAIM(a_meter_nobody_prices_is_entered_and_listed),
		CLAIM(a_meter_that_makes_no_sense_is_refused),
		CLAIM(a_margin_is_asked_for_rightly),
		cmocka_unit_test(a_percentage_is_exact),
		cmocka_unit_test(a_floor_is_undercut_exactly),
		CLAIM(the_watch_sees_what_goes_wrong_and_when_it_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
