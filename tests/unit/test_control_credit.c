/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about credit on the control socket: what is given, taken and undone, what a repetition
 * does, and that nonsense writes nothing.
 */
#include "credit_fixture.h"

static void a_grant_is_done_once_and_a_conflict_is_told(void **state)
{
	static const char promo[] = "{\"op\":\"credit.grant\"," ACME "\"amount\":\"7.5\","
				    "\"source\":\"promo\",\"id\":\"order-1\"}";
	json_t *g = put(promo), *again;

	assert_string_equal(text(g, "balance"), "7.5");
	assert_false(truth(g, "repeated"));
	again = put(promo);
	assert_true(truth(again, "repeated"));
	assert_true(json_equal(json_object_get(g, "seq"), json_object_get(again, "seq")));
	assert_string_equal(text(g, "event_id"), text(again, "event_id"));
	json_decref(g);
	json_decref(again);
	assert_int_equal(f->posts, 2);
	assert_refused(ask("{\"op\":\"credit.grant\"," ACME
			   "\"amount\":\"8\",\"source\":\"promo\",\"id\":\"order-1\"}"),
		       "conflict", "order-1");
	/* Another kind of write, too. */
	assert_refused(
		ask("{\"op\":\"credit.deduct\"," ACME "\"amount\":\"7.5\",\"id\":\"order-1\"}"),
		"conflict", "order-1");
	assert_balance("acme", "7.5", "0");
	assert_int_equal(entries(), 1);
}

static void what_was_paid_for_a_grant_stays_with_it(void **state)
{
	int fd = dial();
	json_t *o, *g;

	grant("10", "g", "\"cost_basis\":\"8.5\",\"currency\":\"EUR\",\"reason\":\"invoice 7\"");
	say_line(fd, "{\"op\":\"ledger.list\"," ACME "\"limit\":1}\n");
	o = hear(fd);
	g = json_object_get(json_object_get(o, "item"), "grant");
	assert_string_equal(text(g, "cost_basis"), "8.5");
	assert_string_equal(text(g, "currency"), "EUR");
	assert_string_equal(text(json_object_get(o, "item"), "reason"), "invoice 7");
	assert_string_equal(text(json_object_get(o, "item"), "id"), "g");
	json_decref(o);
	close(fd);
}

/* Amounts that are none, wherever an amount goes. */
static void no_amount_that_is_none_is_taken(void **state)
{
	static const char *const amounts[] = {
		"\"0\"",
		"\"-1\"",
		"\"NaN\"",
		"\"inf\"",
		"\"1e5\"",
		"\"\"",
		"\" 1\"",
		"\"1 \"",
		"\"+1\"",
		"\"1.0000000001\"",
		"\"0x1\"",
		"\"1,5\"",
		"\".5\"",
		"\"5.\"",
		"\"01\"",
		"1.5",
		"5",
		"true",
		"null",
		"[\"1\"]",
		"\"--1\"",
		"\"\\u0661\"",
		"\"1\\u0000\"",
		"\"9223372036.854775808\"",
		"\"99999999999999999999999999\"",
	};
	static const char *const writes[] = {
		"{\"op\":\"credit.grant\"," ACME "\"id\":\"x\",\"amount\":%s}",
		"{\"op\":\"credit.deduct\"," ACME "\"id\":\"x\",\"amount\":%s}",
		"{\"op\":\"credit.recur\"," ACME "\"id\":\"x\",\"every\":\"month\",\"amount\":%s}",
		"{\"op\":\"credit.refund\",\"entry\":\"first\",\"id\":\"x\",\"amount\":%s}",
		"{\"op\":\"credit.adjust\"," ACME "\"id\":\"x\",\"reason\":\"r\",\"amount\":%s}",
	};
	char request[512];

	grant("100", "first", "");
	for (size_t w = 0; w < sizeof(writes) / sizeof(*writes); w++) {
		for (size_t i = 0; i < sizeof(amounts) / sizeof(*amounts); i++) {
			/* Down is what an adjustment may go. */
			if (w == 4 && !strcmp(amounts[i], "\"-1\""))
				continue;
			snprintf(request, sizeof(request), writes[w], amounts[i]);
			assert_refused(ask(request), "bad_request", "");
		}
	}
	assert_int_equal(entries(), 1);
	assert_balance("acme", "100", "0");
}

static void nothing_that_makes_no_sense_is_written(void **state)
{
	static const struct {
		const char *request, *code, *words;
	} bad[] = {
#define GRANT(rest) "{\"op\":\"credit.grant\"," ACME "\"amount\":\"1\",\"id\":\"x\"," rest "}"
		{ GRANT("\"priority\":256"), "bad_request", "256" },
		{ GRANT("\"priority\":-1"), "bad_request", "-1" },
		{ GRANT("\"priority\":\"1\""), "bad_request", "priority" },
		{ GRANT("\"source\":\"gift\""), "bad_request", "gift" },
		{ GRANT("\"source\":\"refund\""), "bad_request", "refund" },
		{ GRANT("\"expires\":\"2001-01-01T00:00:00Z\""), "bad_request", "expire" },
		{ GRANT("\"expires\":\"tomorrow\""), "bad_request", "tomorrow" },
		{ GRANT("\"expires\":\"2098-02-30T00:00:00Z\""), "bad_request", "2098-02-30" },
		{ GRANT("\"effective\":\"2099-01-01T00:00:00Z\",\"expires\":"
			"\"2099-01-01T00:00:00Z\""),
		  "bad_request", "expires" },
		{ GRANT("\"cost_basis\":\"5\""), "bad_request", "currency" },
		{ GRANT("\"currency\":\"USD\""), "bad_request", "cost_basis" },
		{ GRANT("\"cost_basis\":\"-5\",\"currency\":\"USD\""), "bad_request", "-5" },
		{ GRANT("\"cost_basis\":\"5\",\"currency\":\"usd\""), "bad_request", "usd" },
		{ GRANT("\"cost_basis\":\"5\",\"currency\":\"USDT\""), "bad_request", "USDT" },
		{ GRANT("\"reason\":\"a\\nb\""), "bad_request", "control character" },
		{ GRANT("\"surprise\":1"), "bad_request", "surprise" },
		{ GRANT("\"id\":\"y\""), "bad_request", "id" },
		{ "{\"op\":\"credit.grant\"," ACME "\"amount\":\"1\"}", "bad_request",
		  "\"id\" is missing" },
		{ "{\"op\":\"credit.grant\"," ACME "\"amount\":\"1\",\"id\":\"a\\u001b[2J\"}",
		  "bad_request", "id: has a control character" },
		{ "{\"op\":\"credit.grant\"," ACME "\"id\":\"x\"}", "bad_request",
		  "\"amount\" is missing" },
		{ "{\"op\":\"credit.grant\",\"tenant\":\"acmee\",\"amount\":\"1\",\"id\":\"x\"}",
		  "not_found", "did you mean \"acme\"" },
		{ "{\"op\":\"credit.deduct\",\"tenant\":\"nobody\",\"amount\":\"1\",\"id\":\"x\"}",
		  "not_found", "nobody" },
		{ "{\"op\":\"credit.deduct\"," ACME "\"amount\":\"100.000000001\",\"id\":\"x\"}",
		  "no_credit", "" },
		{ "{\"op\":\"credit.adjust\"," ACME "\"amount\":\"1\",\"id\":\"x\"}", "bad_request",
		  "\"reason\" is missing" },
		{ "{\"op\":\"credit.void\",\"grant\":\"nope\",\"id\":\"x\"}", "not_found",
		  "\"nope\"" },
		{ "{\"op\":\"credit.void\",\"grant\":\"#9\",\"id\":\"x\"}", "not_found", "#9" },
		{ "{\"op\":\"credit.void\",\"grant\":\"#0\",\"id\":\"x\"}", "not_found", "#0" },
		{ "{\"op\":\"credit.void\",\"grant\":\"#01\",\"id\":\"x\"}", "not_found", "#01" },
		{ "{\"op\":\"credit.void\",\"grant\":\"1\",\"id\":\"x\"}", "not_found", "#SEQ" },
		{ "{\"op\":\"credit.void\",\"grant\":\"ffffffffffffffffffffffffffffffff\","
		  "\"id\":\"x\"}",
		  "not_found", "no such entry" },
		{ "{\"op\":\"credit.void\",\"id\":\"x\"}", "bad_request", "\"grant\" is missing" },
		{ "{\"op\":\"credit.refund\",\"entry\":\"first\",\"id\":\"x\"}", "bad_request",
		  "is a grant" },
		{ "{\"op\":\"credit.stop\",\"schedule\":\"first\",\"id\":\"x\"}", "bad_request",
		  "is a grant" },
#define RECUR(rest) "{\"op\":\"credit.recur\"," ACME "\"amount\":\"1\",\"id\":\"x\"," rest "}"
		{ RECUR("\"zone\":\"UTC\""), "bad_request", "\"every\" is missing" },
		{ RECUR("\"every\":\"year\""), "bad_request", "year" },
		{ RECUR("\"every\":\"\""), "bad_request", "every" },
		{ RECUR("\"every\":\"day\",\"zone\":\"Europe/Berln\""), "bad_request",
		  "Europe/Berln" },
		{ RECUR("\"every\":\"day\",\"zone\":\"../../etc/passwd\""), "bad_request",
		  "time zone" },
		{ RECUR("\"every\":\"day\",\"starts\":\"2001-01-01T00:00:00Z\""), "bad_request",
		  "" },
		{ RECUR("\"every\":\"day\",\"rollover_min\":\"2\",\"rollover_max\":\"1\""),
		  "bad_request", "2 is above rollover_max" },
		{ RECUR("\"every\":\"day\",\"rollover_min\":\"2\""), "bad_request",
		  "rollover_max, which is 0" },
		{ RECUR("\"every\":\"day\",\"rollover_max\":\"-1\""), "bad_request", "-1" },
		{ "{\"op\":\"credit.sell\"," ACME "\"pack\":\"smal\",\"id\":\"x\"}", "not_found",
		  "did you mean \"small\"" },
		{ "{\"op\":\"credit.sell\"," ACME "\"id\":\"x\"}", "bad_request",
		  "\"pack\" is missing" },
		{ "{\"op\":\"credit.sell\"," ACME "\"pack\":\"large\",\"id\":"
		  "\"0123456789012345678901234567890123456789012345678901234567\"}",
		  "bad_request", "the bonus takes the rest" },
		{ "{\"op\":\"credit.breakage\",\"by\":\"weekday\"}", "bad_request", "weekday" },
		{ "{\"op\":\"credit.breakage\",\"since\":\"2026-01-02T00:00:00Z\",\"until\":"
		  "\"2026-01-01T00:00:00Z\"}",
		  "bad_request", "until" },
	};

	open_shop();
	grant("100", "first", "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_refused(ask(bad[i].request), bad[i].code, bad[i].words);
	}
	assert_int_equal(entries(), 1);
	assert_balance("acme", "100", "0");
}

/* Texts have an end that is told, and nothing is cut to fit. */
static void a_text_that_is_too_long_is_refused(void **state)
{
	char request[512], longest[129];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[128] = 0;
	snprintf(request, sizeof(request),
		 "{\"op\":\"credit.grant\"," ACME
		 "\"amount\":\"1\",\"id\":\"a\",\"reason\":\"%s\"}",
		 longest);
	assert_refused(ask(request), "bad_request", "reason");
	snprintf(request, sizeof(request),
		 "{\"op\":\"credit.grant\"," ACME "\"amount\":\"1\",\"id\":\"%.64s\"}", longest);
	assert_refused(ask(request), "bad_request", "id");
	assert_int_equal(entries(), 0);
	snprintf(request, sizeof(request),
		 "{\"op\":\"credit.grant\"," ACME
		 "\"amount\":\"1\",\"id\":\"%.63s\",\"reason\":\"%.127s\"}",
		 longest, longest);
	json_decref(put(request));
	assert_int_equal(entries(), 1);
}

static void more_credit_than_fits_is_refused(void **state)
{
	grant("9223372036.854775807", "all", "");
	assert_refused(
		ask("{\"op\":\"credit.grant\"," ACME "\"amount\":\"0.000000001\",\"id\":\"x\"}"),
		"bad_request", "");
	assert_refused(ask("{\"op\":\"credit.adjust\"," ACME
			   "\"amount\":\"1\",\"reason\":\"r\",\"id\":\"x\"}"),
		       "bad_request", "");
	assert_balance("acme", "9223372036.854775807", "0");
	assert_int_equal(entries(), 1);
}

static void a_deduction_takes_what_is_there_and_debt_only_if_asked(void **state)
{
	json_t *d;

	grant("5", "g", "");
	d = put("{\"op\":\"credit.deduct\"," ACME "\"amount\":\"2.5\",\"id\":\"d1\"}");
	assert_string_equal(text(d, "balance"), "2.5");
	assert_string_equal(text(d, "amount"), "2.5");
	json_decref(d);
	assert_refused(ask("{\"op\":\"credit.deduct\"," ACME "\"amount\":\"3\",\"id\":\"d2\"}"),
		       "no_credit", "");
	d = put("{\"op\":\"credit.deduct\"," ACME
		"\"amount\":\"3\",\"id\":\"d2\",\"allow_debt\":true}");
	assert_string_equal(text(d, "balance"), "-0.5");
	json_decref(d);
	assert_balance("acme", "-0.5", "0.5");
	/* Nothing is left, and yet the first one was done. */
	d = put("{\"op\":\"credit.deduct\"," ACME "\"amount\":\"2.5\",\"id\":\"d1\"}");
	assert_true(truth(d, "repeated"));
	json_decref(d);
	assert_balance("acme", "-0.5", "0.5");
}

static void adjustments_go_both_ways(void **state)
{
	json_t *a = put("{\"op\":\"credit.adjust\"," ACME
			"\"amount\":\"-3\",\"reason\":\"typo\",\"id\":\"a\"}");

	assert_string_equal(text(a, "amount"), "-3");
	assert_string_equal(text(a, "balance"), "-3");
	json_decref(a);
	a = put("{\"op\":\"credit.adjust\"," ACME
		"\"amount\":\"4\",\"reason\":\"typo\",\"id\":\"b\"}");
	assert_string_equal(text(a, "balance"), "1");
	json_decref(a);
	assert_balance("acme", "1", "0");
}

/* By each of the three names. */
static void a_void_takes_what_is_left_and_only_once(void **state)
{
	char request[256];
	json_t *v, *g;

	grant("5", "g", "");
	json_decref(put("{\"op\":\"credit.deduct\"," ACME "\"amount\":\"2\",\"id\":\"d\"}"));
	v = put("{\"op\":\"credit.void\",\"grant\":\"g\",\"id\":\"v\",\"reason\":\"fraud\"}");
	assert_string_equal(text(v, "amount"), "3");
	assert_string_equal(text(v, "balance"), "0");
	assert_string_equal(text(v, "tenant"), "acme");
	assert_int_equal(integer(v, "grant_seq"), 1);
	json_decref(v);
	v = put("{\"op\":\"credit.void\",\"grant\":\"#1\",\"id\":\"v\",\"reason\":\"fraud\"}");
	assert_true(truth(v, "repeated"));
	assert_string_equal(text(v, "amount"), "3");
	json_decref(v);
	assert_refused(ask("{\"op\":\"credit.void\",\"grant\":\"#1\",\"id\":\"w\"}"), "bad_request",
		       "");
	assert_int_equal(entries(), 3);

	g = put("{\"op\":\"credit.grant\"," ACME "\"amount\":\"1\",\"id\":\"g2\"}");
	snprintf(request, sizeof(request),
		 "{\"op\":\"credit.void\",\"grant\":\"%s\",\"id\":\"v2\"}", text(g, "event_id"));
	json_decref(g);
	v = put(request);
	assert_string_equal(text(v, "amount"), "1");
	json_decref(v);
	assert_balance("acme", "0", "0");
}

static void a_refund_goes_back_where_it_came_from(void **state)
{
	json_t *r, *b, *g;

	grant("2", "promo", "\"source\":\"promo\"");
	grant("5", "paid", "");
	json_decref(put("{\"op\":\"credit.deduct\"," ACME "\"amount\":\"4\",\"id\":\"d\"}"));
	assert_refused(ask("{\"op\":\"credit.void\",\"grant\":\"d\",\"id\":\"v\"}"), "bad_request",
		       "entry 3 is a deduct, not a grant");
	r = put("{\"op\":\"credit.refund\",\"entry\":\"d\",\"amount\":\"1.5\",\"id\":\"r1\"}");
	assert_string_equal(text(r, "amount"), "1.5");
	assert_int_equal(integer(r, "of_seq"), 3);
	json_decref(r);
	b = put("{\"op\":\"credit.balance\",\"tenant\":\"acme\"}");
	g = json_object_get(b, "grants");
	/* Taken last, given back first. */
	assert_string_equal(text(json_array_get(g, 0), "remaining"), "0");
	assert_string_equal(text(json_array_get(g, 1), "remaining"), "4.5");
	json_decref(b);
	assert_refused(ask("{\"op\":\"credit.refund\",\"entry\":\"d\",\"amount\":\"2.6\",\"id\":"
			   "\"r2\"}"),
		       "bad_request", "");
	r = put("{\"op\":\"credit.refund\",\"entry\":\"d\",\"id\":\"r2\"}");
	assert_string_equal(text(r, "amount"), "2.5");
	json_decref(r);
	r = put("{\"op\":\"credit.refund\",\"entry\":\"d\",\"id\":\"r2\"}");
	assert_true(truth(r, "repeated"));
	assert_string_equal(text(r, "amount"), "2.5");
	json_decref(r);
	assert_refused(ask("{\"op\":\"credit.refund\",\"entry\":\"d\",\"id\":\"r3\"}"),
		       "bad_request", "");
	assert_balance("acme", "7", "0");
}

/* ---------------------------------------------------------------------- whose credit */

static void who_is_paid_for_has_no_credit_of_its_own(void **state)
{
	json_t *b;

	grant("3", "before", "");
	f->kernel[1].wallet = 2; /* acme is paid for by globex */
	json_decref(put("{\"op\":\"credit.grant\",\"tenant\":\"globex\",\"amount\":\"9\",\"id\":"
			"\"g\"}"));
	b = put("{\"op\":\"credit.balance\",\"tenant\":\"acme\"}");
	assert_string_equal(text(b, "tenant"), "acme");
	assert_string_equal(text(b, "wallet"), "globex");
	assert_string_equal(text(b, "balance"), "9");
	json_decref(b);
	assert_refused(ask("{\"op\":\"credit.grant\"," ACME "\"amount\":\"1\",\"id\":\"x\"}"),
		       "bad_request", "\"globex\" pays for it");
	assert_refused(ask("{\"op\":\"credit.deduct\"," ACME "\"amount\":\"1\",\"id\":\"x\"}"),
		       "bad_request", "\"globex\" pays for it");
	/* What was done before it came to that was done. */
	b = put("{\"op\":\"credit.grant\"," ACME "\"amount\":\"3\",\"id\":\"before\"}");
	assert_true(truth(b, "repeated"));
	json_decref(b);
	assert_int_equal(entries(), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(a_grant_is_done_once_and_a_conflict_is_told),
		CLAIM(what_was_paid_for_a_grant_stays_with_it),
		CLAIM(no_amount_that_is_none_is_taken),
		CLAIM(nothing_that_makes_no_sense_is_written),
		CLAIM(a_text_that_is_too_long_is_refused),
		CLAIM(more_credit_than_fits_is_refused),
		CLAIM(a_deduction_takes_what_is_there_and_debt_only_if_asked),
		CLAIM(adjustments_go_both_ways),
		CLAIM(a_void_takes_what_is_left_and_only_once),
		CLAIM(a_refund_goes_back_where_it_came_from),
		CLAIM(who_is_paid_for_has_no_credit_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
