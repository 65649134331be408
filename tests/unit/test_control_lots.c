/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about what becomes of credit on the control socket: packs, schedules, breakage. */
#include "credit_fixture.h"

#include "agent/money.h"
#include "agent/price.h"

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
		CLAIM(a_pack_is_sold_with_price_expiry_and_bonus),
		CLAIM(a_bonus_that_is_missing_is_given_when_the_sale_is_repeated),
		CLAIM(a_schedule_grants_is_listed_and_stops),
		CLAIM(what_is_left_at_the_months_end_is_rolled_over),
		CLAIM(breakage_is_what_was_never_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
