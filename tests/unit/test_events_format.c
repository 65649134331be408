/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about events in the words of others: amounts are written exactly, rows of a charge add up
 * to it, and text from outside breaks no line. The formats as a whole: tests/e2e/test_events.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/events_focus.c"
#include "ctl/events_format.c"
#include "ctl/output.c"

int ctl_fail(int status, const char *fmt, ...)
{
	fail_msg("%s", fmt);
	return status;
}

int ctl_request(struct ctl *c, json_t *request, ctl_item_fn item, void *ctx, json_t **result)
{
	fail_msg("nobody is asked");
	return CTL_REFUSED;
}

static const char *exact(__int128 n, unsigned decimals)
{
	static char text[EVENTS_EXACT];

	events_exact(n, decimals, text);
	return text;
}

static void amounts_are_exact(void **state)
{
	const __int128 most = ((__int128)INT64_MAX * INT64_MAX);
	const __int128 end = (__int128)(~(unsigned __int128)0 >> 1);

	assert_string_equal(exact(0, 0), "0");
	assert_string_equal(exact(0, 18), "0");
	assert_string_equal(exact(7, 0), "7");
	assert_string_equal(exact(-7, 1), "-0.7");
	assert_string_equal(exact(700, 2), "7");
	assert_string_equal(exact(705, 2), "7.05");
	assert_string_equal(exact(1, 18), "0.000000000000000001");
	assert_string_equal(exact(1, 27), "0.000000000000000000000000001");
	assert_string_equal(exact(-((__int128)WEIR_NANO * WEIR_NANO), 18), "-1");
	assert_string_equal(exact(most, 18), "85070591730234615847.396907784232501249");
	assert_string_equal(exact(end, 27), "170141183460.469231731687303715884105727");
	assert_string_equal(exact(-end - 1, 0), "-170141183460469231731687303715884105728");
}

/* What a format writes of an event, as one text. */
static const char *written(int (*write)(const json_t *, struct events_format *), const char *event,
			   struct events_format *f)
{
	static char text[16384];
	json_t *o = json_loads(event, 0, NULL);
	FILE *was = stdout;

	assert_non_null(o);
	memset(text, 0, sizeof(text));
	stdout = fmemopen(text, sizeof(text) - 1, "w");
	assert_non_null(stdout);
	assert_int_equal(write(o, f), CTL_DONE);
	fclose(stdout);
	stdout = was;
	json_decref(o);
	return text;
}

#define HEAD                                                                                       \
	"{\"id\":\"0102\",\"type\":\"weir.usage.v1\",\"time\":\"2026-12-31T23:59:59.5Z\","         \
	"\"data\":{\"tenant\":\"acme\",\"started_at\":\"2026-12-31T23:59:58.25Z\","

static void stripe_is_given_whole_numbers(void **state)
{
	static const char event[] = HEAD "\"billable\":true,\"wallet\":\"parent\",\"price\":\"0."
					 "000000125\",\"input_tokens\":7}}";
	struct events_format f = { .name = "tokens", .value = "price" };

	assert_string_equal(written(events_stripe, event, &f),
			    "{\"event_name\":\"tokens\",\"identifier\":\"0102-price\","
			    "\"timestamp\":1798761598,\"payload\":{\"stripe_customer_id\":"
			    "\"parent\",\"value\":\"125\"}}\n");
	f.value = "input_tokens";
	assert_non_null(strstr(written(events_stripe, event, &f), "\"value\":\"7\""));
	f.value = "output_tokens"; /* nobody said */
	assert_string_equal(written(events_stripe, event, &f), "");
	f.value = "input_tokens";
	assert_string_equal(written(events_stripe,
				    HEAD "\"billable\":false,\"price\":\"0\",\"input_tokens\":7}}",
				    &f),
			    "");
}

static void lago_is_given_exact_cents(void **state)
{
	struct events_format f = { .name = "weir", .rate_nano = 10000000 };

	assert_string_equal(
		written(events_lago,
			HEAD "\"billable\":true,\"price\":\"1.000000001\",\"model\":\"m\","
			     "\"input_tokens\":7}}",
			&f),
		"{\"transaction_id\":\"0102\",\"external_subscription_id\":\"acme\",\"code\":"
		"\"weir\",\"timestamp\":\"1798761598.250\",\"precise_total_amount_cents\":"
		"\"1.000000001\",\"properties\":{\"tenant\":\"acme\",\"model\":\"m\",\"price\":\"1."
		"000000001\","
		"\"input_tokens\":7}}\n");
}

/* The n-th cell (from 0) of the row-th line, without quotes. */
static const char *cell(const char *csv, unsigned row, enum column column)
{
	static char text[1024];
	size_t n = 0;

	while (row--)
		csv = strchr(csv, '\n') + 1;
	for (unsigned at = 0; *csv && *csv != '\n'; csv++) {
		bool quoted = *csv == '"';

		for (csv += quoted;
		     *csv && (quoted ? *csv != '"' || csv[1] == '"' : *csv != ',' && *csv != '\n');
		     csv++) {
			if (at == column)
				text[n++] = *csv;
			csv += quoted && *csv == '"';
		}
		csv += quoted;
		if (at++ == column || *csv != ',')
			break;
	}
	text[n] = 0;
	return text;
}

static void rows_add_up_and_cells_hold(void **state)
{
	struct events_format f = { .rate_nano = 500000000, .currency = "EUR", .issuer = "Weir" };
	const char *csv = written(
		events_focus,
		HEAD
		"\"billable\":true,\"price\":\"0.000000004\",\"model\":\"a \\\"b\\\", c\","
		"\"user\":\"x,y\",\"rate_card\":{\"name\":\"list\",\"version\":\"1\","
		"\"entry\":3,\"factor\":\"0.5\"},\"lines\":["
		"{\"dimension\":\"input\",\"quantity\":1500,\"unit_price\":\"0.002\",\"per\":"
		"1000,\"amount\":\"0.000000003\"},"
		"{\"dimension\":\"second\",\"quantity\":\"1.5\",\"unit_price\":\"1\",\"per\":7,"
		"\"amount\":\"0.000000003\"}]}}",
		&f);

	assert_string_equal(cell(csv, 0, BILLED_COST), "BilledCost");
	assert_string_equal(cell(csv, 0, X_EVENT_ID), "x_EventId");
	/* 1.5 n is 2 n to even; the other row has the rest of 4 n. Half a euro a credit. */
	assert_string_equal(cell(csv, 1, BILLED_COST), "0.000000001");
	assert_string_equal(cell(csv, 2, BILLED_COST), "0.000000001");
	assert_string_equal(cell(csv, 1, LIST_COST), "0.0000000015");
	assert_string_equal(cell(csv, 1, CONSUMED_QUANTITY), "1500");
	assert_string_equal(cell(csv, 1, PRICING_QUANTITY), "1.5");
	assert_string_equal(cell(csv, 1, PRICING_UNIT), "1000 Tokens");
	assert_string_equal(cell(csv, 1, LIST_UNIT_PRICE), "0.001");
	assert_string_equal(cell(csv, 1, CONTRACTED_UNIT_PRICE), "0.0005");
	assert_string_equal(cell(csv, 1, SKU_PRICE_ID), "list/1/3/input");
	assert_string_equal(cell(csv, 2, PRICING_QUANTITY), "1.5");
	assert_string_equal(cell(csv, 2, PRICING_UNIT), "Seconds");
	assert_string_equal(cell(csv, 2, LIST_UNIT_PRICE), "");
	assert_string_equal(cell(csv, 2, BILLING_PERIOD_START), "2026-12-01T00:00:00Z");
	assert_string_equal(cell(csv, 2, BILLING_PERIOD_END), "2027-01-01T00:00:00Z");
	assert_string_equal(cell(csv, 2, CHARGE_PERIOD_START), "2026-12-31T23:59:58Z");
	assert_string_equal(cell(csv, 2, CHARGE_PERIOD_END), "2027-01-01T00:00:00Z");
	assert_non_null(strstr(csv, "\"{\"\"user\"\":\"\"x,y\"\"}\""));
	assert_non_null(strstr(csv, "\"a \"\"b\"\", c/input\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(amounts_are_exact),
		cmocka_unit_test(stripe_is_given_whole_numbers),
		cmocka_unit_test(lago_is_given_exact_cents),
		cmocka_unit_test(rows_add_up_and_cells_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
