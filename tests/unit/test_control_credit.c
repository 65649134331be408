/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about credit on the control socket: what is given, taken and undone, what a repetition
 * does, and that nonsense writes nothing.
 */
#include "control_fixture.h"

#include "agent/money.h"
#include "agent/price.h"

static const char shop[] =
	"{\"tiers\":{\"paid\":{\"credit\":\"hard\"},\"soft\":{\"credit\":\"soft\","
	"\"overage_limit\":\"2\"}},"
	"\"tenants\":{\"acme\":{\"tier\":\"paid\"},\"globex\":{\"tier\":\"paid\"}},"
	"\"packs\":{\"small\":{\"amount\":\"50\",\"price\":\"50\",\"currency\":\"USD\"},"
	"\"large\":{\"amount\":\"500\",\"bonus\":\"25.5\",\"price\":\"450\",\"currency\":\"USD\","
	"\"expires_days\":365,\"priority\":50}}}";

static void open_shop(void)
{
	struct weir_error err = { "" };

	fake_write(f->policies, "10.json", shop);
	if (f->view.reload(f, f->policies, &err))
		fail_msg("%s", err.text);
}

static json_t *put(const char *request)
{
	return result_of(ask(request));
}

/* Entries there are; so that "nothing was written" is seen, not believed. */
static json_int_t entries(void)
{
	json_t *v = put("{\"op\":\"ledger.verify\"}");
	json_int_t n = integer(v, "entries");

	assert_true(truth(v, "ok"));
	json_decref(v);
	return n;
}

static void assert_balance(const char *tenant, const char *balance, const char *debt)
{
	char request[128];
	json_t *b;

	snprintf(request, sizeof(request), "{\"op\":\"credit.balance\",\"tenant\":\"%s\"}", tenant);
	b = put(request);
	assert_string_equal(text(b, "balance"), balance);
	assert_string_equal(text(b, "debt"), debt);
	json_decref(b);
}

#define ACME "\"tenant\":\"acme\","

static void grant(const char *amount, const char *id, const char *rest)
{
	char request[512];

	snprintf(request, sizeof(request),
		 "{\"op\":\"credit.grant\"," ACME "\"amount\":\"%s\",\"id\":\"%s\"%s%s}", amount,
		 id, *rest ? "," : "", rest);
	json_decref(put(request));
}

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

/* ----------------------------------------------------------------------------- packs */

static void a_pack_is_sold_with_price_expiry_and_bonus(void **state)
{
	static const char sell[] =
		"{\"op\":\"credit.sell\"," ACME "\"pack\":\"large\",\"id\":\"order-9\"}";
	json_t *s, *again, *bonus, *b, *g;

	open_shop();
	s = put("{\"op\":\"credit.packs\"}");
	assert_int_equal(json_array_size(s), 2);
	assert_string_equal(text(json_array_get(s, 0), "pack"), "large");
	assert_string_equal(text(json_array_get(s, 0), "bonus"), "25.5");
	json_decref(s);

	s = put(sell);
	bonus = json_object_get(s, "bonus");
	assert_string_equal(text(s, "amount"), "500");
	assert_string_equal(text(s, "price"), "450");
	assert_string_equal(text(s, "balance"), "525.5");
	assert_string_equal(text(bonus, "amount"), "25.5");
	assert_string_equal(text(bonus, "id"), "order-9/bonus");
	/* Later, its expiry would be another one: what was sold stays. */
	again = put(sell);
	assert_true(truth(again, "repeated"));
	assert_true(truth(json_object_get(again, "bonus"), "repeated"));
	assert_string_equal(text(s, "expires_at"), text(again, "expires_at"));
	assert_true(json_equal(json_object_get(s, "seq"), json_object_get(again, "seq")));
	json_decref(again);
	assert_refused(
		ask("{\"op\":\"credit.sell\"," ACME "\"pack\":\"small\",\"id\":\"order-9\"}"),
		"conflict", "order-9");
	assert_refused(ask("{\"op\":\"credit.sell\",\"tenant\":\"globex\",\"pack\":\"large\","
			   "\"id\":\"order-9\"}"),
		       "conflict", "order-9");
	assert_int_equal(entries(), 2);

	b = put("{\"op\":\"credit.balance\",\"tenant\":\"acme\"}");
	g = json_object_get(b, "grants");
	/* The bonus goes first: promotional before paid, all else alike. */
	assert_string_equal(text(json_array_get(g, 0), "source"), "promo");
	assert_string_equal(text(json_array_get(g, 1), "source"), "paid");
	assert_string_equal(text(json_array_get(g, 0), "expires_at"), text(s, "expires_at"));
	assert_int_equal(integer(json_array_get(g, 1), "priority"), 50);
	json_decref(b);
	json_decref(s);
}

/* As an agent leaves it that is killed between the two. */
static void a_bonus_that_is_missing_is_given_when_the_sale_is_repeated(void **state)
{
	json_t *s;

	open_shop();
	f->fail_post = 2;
	assert_refused(ask("{\"op\":\"credit.sell\"," ACME "\"pack\":\"large\",\"id\":\"o\"}"),
		       "failed", "");
	assert_balance("acme", "500", "0");
	s = put("{\"op\":\"credit.sell\"," ACME "\"pack\":\"large\",\"id\":\"o\"}");
	assert_true(truth(s, "repeated"));
	assert_false(truth(json_object_get(s, "bonus"), "repeated"));
	assert_string_equal(text(s, "balance"), "525.5");
	json_decref(s);
	assert_int_equal(entries(), 2);
}

/* ------------------------------------------------------------------------- the past */

#define MINUTE (60 * WEIR_SECOND)

/* A write as it was made some time ago. */
struct past {
	struct weir_op op;
	uint64_t when_ns;
};

static int call_past(struct weir_ledger *l, void *arg)
{
	const struct past *p = arg;
	struct weir_error err = { "" };
	struct weir_done done;
	int r = weir_ledger_post(l, &p->op, p->when_ns, &done, &err);

	if (r)
		print_message("%s\n", err.text);
	return r;
}

static void post_at(uint64_t when_ns, struct weir_op op, const char *key)
{
	struct past p = { op, when_ns };

	p.op.tenant = p.op.wallet = 1;
	strcpy(p.op.key, key);
	strcpy(p.op.actor, "test");
	assert_int_equal(weir_writer_call(f->view.writer, call_past, &p), 0);
}

static uint64_t at(const char *text)
{
	uint64_t ns;

	assert_int_equal(weir_time_parse(text, &ns), 0);
	return ns;
}

static int call_advance(struct weir_ledger *l, void *arg)
{
	struct weir_error err;

	return weir_ledger_advance(l, *(const uint64_t *)arg, &err);
}

/* ------------------------------------------------------------------------- schedules */

static void a_schedule_grants_is_listed_and_stops(void **state)
{
	static const char recur[] =
		"{\"op\":\"credit.recur\"," ACME "\"amount\":\"20\",\"every\":\"month\",\"zone\":"
		"\"Europe/Berlin\",\"rollover_max\":\"5\",\"id\":\"plan\"}";
	int fd = dial();
	json_t *s = put(recur), *item;

	assert_string_equal(text(s, "every"), "month");
	assert_string_equal(text(s, "balance"), "20");
	json_decref(s);
	s = put(recur);
	assert_true(truth(s, "repeated"));
	json_decref(s);
	say_line(fd, "{\"op\":\"credit.schedules\"," ACME "\"x\":0}\n");
	assert_refused(hear(fd), "bad_request", "x");
	say_line(fd, "{\"op\":\"credit.schedules\",\"tenant\":\"acme\"}\n");
	s = hear(fd);
	item = json_object_get(s, "item");
	assert_string_equal(text(item, "id"), "plan");
	assert_string_equal(text(item, "zone"), "Europe/Berlin");
	assert_string_equal(text(item, "rollover_max"), "5");
	assert_false(truth(item, "stopped"));
	assert_non_null(text(item, "next"));
	json_decref(s);
	json_decref(result_of(hear(fd)));
	assert_refused(ask("{\"op\":\"credit.void\",\"grant\":\"plan\",\"id\":\"v\"}"),
		       "bad_request", "stop it instead");
	s = put("{\"op\":\"credit.stop\",\"schedule\":\"plan\",\"id\":\"stop\"}");
	assert_string_equal(text(s, "balance"), "20");
	json_decref(s);
	s = put("{\"op\":\"credit.stop\",\"schedule\":\"plan\",\"id\":\"stop\"}");
	assert_true(truth(s, "repeated"));
	json_decref(s);
	say_line(fd, "{\"op\":\"credit.schedules\"}\n");
	s = hear(fd);
	assert_true(truth(json_object_get(s, "item"), "stopped"));
	json_decref(s);
	json_decref(result_of(hear(fd)));
	close(fd);
}

/* January's credit ends when February begins in Berlin: 5 of the 17 that are left go on. */
static void what_is_left_at_the_months_end_is_rolled_over(void **state)
{
	uint64_t until = at("2024-02-10T00:00:00Z");
	json_t *o[5];
	int fd = dial();

	post_at(at("2024-01-20T12:00:00Z"),
		(struct weir_op){ .kind = WEIR_ENTRY_SCHEDULE,
				  .every = WEIR_EVERY_MONTH,
				  .zone = "Europe/Berlin",
				  .amount_nano = 20 * WEIR_NANO,
				  .roll_max_nano = 5 * WEIR_NANO },
		"plan");
	post_at(at("2024-01-25T12:00:00Z"),
		(struct weir_op){ .kind = WEIR_ENTRY_DEDUCT, .amount_nano = 3 * WEIR_NANO },
		"used");
	assert_int_equal(weir_writer_call(f->view.writer, call_advance, &until), 0);
	say_line(fd, "{\"op\":\"ledger.list\"," ACME "\"limit\":5}\n");
	for (int i = 0; i < 5; i++) {
		json_t *line = hear(fd);

		o[i] = json_incref(json_object_get(line, "item"));
		json_decref(line);
	}
	close(fd);
	assert_string_equal(text(o[0], "kind"), "schedule");
	assert_string_equal(text(o[1], "kind"), "recur");
	assert_string_equal(text(json_object_get(o[1], "grant"), "expires_at"),
			    "2024-01-31T23:00:00Z");
	assert_string_equal(text(o[3], "kind"), "expire");
	assert_string_equal(text(o[3], "time"), "2024-01-31T23:00:00Z");
	assert_string_equal(text(o[3], "rolled"), "5");
	assert_string_equal(text(o[3], "balance_after"), "5");
	assert_int_equal(integer(o[3], "schedule_seq"), 1);
	assert_string_equal(text(o[4], "kind"), "recur");
	assert_string_equal(text(o[4], "time"), "2024-01-31T23:00:00Z");
	assert_string_equal(text(o[4], "balance_after"), "25");
	assert_string_equal(text(json_object_get(o[4], "grant"), "expires_at"),
			    "2024-02-29T23:00:00Z");
	for (int i = 0; i < 5; i++)
		json_decref(o[i]);
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

/* ------------------------------------------------------------------------- breakage */

/* Of a request that ended late: paid by what had expired meanwhile. */
static int call_late(struct weir_ledger *l, void *arg)
{
	uint64_t t0 = *(const uint64_t *)arg;
	struct weir_row row = { .id = { { 1 } },
				.tenant = 2, /* whom acme pays for */
				.wallet = 1,
				.started_wall_ns = t0 + 5 * MINUTE,
				.ended_wall_ns = t0 + 15 * MINUTE,
				.flags = WEIR_ROW_BILLABLE | WEIR_ROW_POSTED,
				.card_id = 1,
				.usage = { 250, 0, 0, 0, 0 } };
	static const char json[] =
		"{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":[{"
		"\"match\":\"*\",\"price\":{\"input\":\"0.001\",\"per\":1}}]}";
	struct weir_error err = { "" };
	struct weir_card *card;
	size_t known;
	int r = weir_card_parse(json, "test", &card, &err);

	if (!r)
		r = weir_ledger_card(l, card, &row.card_id, &err);
	weir_card_free(card);
	if (!r)
		r = weir_ledger_append(l, &row, 1, &known, &err);
	if (r)
		print_message("%s\n", err.text);
	return r;
}

static void breakage_is_what_was_never_used(void **state)
{
	uint64_t t0 = weir_wall_ns() - 60 * MINUTE;
	json_t *b, *row;

	post_at(t0,
		(struct weir_op){ .kind = WEIR_ENTRY_GRANT,
				  .source = WEIR_GRANT_PROMO,
				  .amount_nano = 4 * WEIR_NANO,
				  .expires_ns = t0 + 10 * MINUTE },
		"short");
	post_at(t0 + 1, (struct weir_op){ .kind = WEIR_ENTRY_DEDUCT, .amount_nano = WEIR_NANO },
		"used");
	post_at(t0 + 2, (struct weir_op){ .kind = WEIR_ENTRY_GRANT, .amount_nano = 10 * WEIR_NANO },
		"long");
	/* 3 of the promo expire, and 0.25 of them are taken after. */
	assert_int_equal(weir_writer_call(f->view.writer, call_late, &t0), 0);
	post_at(t0 + 20 * MINUTE,
		(struct weir_op){ .kind = WEIR_ENTRY_DEDUCT, .amount_nano = 2 * WEIR_NANO },
		"more");
	json_decref(put("{\"op\":\"credit.void\",\"grant\":\"long\",\"id\":\"v\"}"));
	/* It owes that to a grant that is void: forfeited with the rest. */
	json_decref(put("{\"op\":\"credit.refund\",\"entry\":\"more\",\"id\":\"r\"}"));

	b = put("{\"op\":\"credit.breakage\"}");
	row = json_object_get(b, "rows");
	assert_int_equal(json_array_size(row), 3);
	assert_string_equal(text(json_array_get(row, 0), "key"), "paid");
	assert_string_equal(text(json_array_get(row, 0), "voided"), "8");
	assert_string_equal(text(json_array_get(row, 1), "key"), "promo");
	assert_string_equal(text(json_array_get(row, 1), "expired"), "3");
	assert_string_equal(text(json_array_get(row, 1), "late"), "0.25");
	assert_string_equal(text(json_array_get(row, 1), "breakage"), "2.75");
	assert_string_equal(text(json_array_get(row, 2), "key"), "refund");
	assert_string_equal(text(json_array_get(row, 2), "voided"), "2");
	assert_string_equal(text(json_object_get(b, "total"), "breakage"), "12.75");
	json_decref(b);
	b = put("{\"op\":\"credit.breakage\",\"by\":\"tenant\"," ACME
		"\"since\":\"2026-01-01T00:00:00Z\"}");
	row = json_array_get(json_object_get(b, "rows"), 0);
	assert_string_equal(text(row, "key"), "acme");
	assert_string_equal(text(row, "breakage"), "12.75");
	json_decref(b);
	/* What is paid for globex is no breakage of globex. */
	b = put("{\"op\":\"credit.breakage\",\"tenant\":\"globex\"}");
	assert_int_equal(json_array_size(json_object_get(b, "rows")), 0);
	json_decref(b);
	b = put("{\"op\":\"credit.breakage\",\"by\":\"month\",\"until\":\"2026-01-01T00:00:00Z\"}");
	assert_int_equal(json_array_size(json_object_get(b, "rows")), 0);
	json_decref(b);
	assert_balance("acme", "0", "0");
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
		CLAIM(a_pack_is_sold_with_price_expiry_and_bonus),
		CLAIM(a_bonus_that_is_missing_is_given_when_the_sale_is_repeated),
		CLAIM(a_schedule_grants_is_listed_and_stops),
		CLAIM(what_is_left_at_the_months_end_is_rolled_over),
		CLAIM(who_is_paid_for_has_no_credit_of_its_own),
		CLAIM(breakage_is_what_was_never_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
