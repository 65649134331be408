// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about events of what did not happen: refused requests, reports that were not entered.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "agent/event.h"

static const struct weir_event_origin origin = {
	.ledger_id = "0b0e7bd2-5a4b-4c00-8000-000000000001",
	.node = "gpu-01",
};
static struct weir_text text;

/* 2026-11-01T00:00:00Z */
#define T0 UINT64_C(1793491200000000000)

static int tear_down(void **unused)
{
	weir_text_free(&text);
	return 0;
}

static void usage_that_is_refused_is_told_with_its_text(void **unused)
{
	static char junk[2 * WEIR_REFUSED_SHOWN];
	struct weir_usage_refused u = { .tenant = "acme",
					.reason = "quantity: is not above 0",
					.subject = "usage.v1.acme",
					.message = "{\"id\":\"x\"}",
					.message_len = 10,
					.stream_seq = 9,
					.received_wall_ns = T0 };
	char id[WEIR_EVENT_ID_TEXT], again[WEIR_EVENT_ID_TEXT];
	json_t *v;

	assert_int_equal(weir_event_usage_refused_json(&u, &origin, &text, id), 0);
	assert_non_null(strstr(text.p, "\"type\":\"weir.usage_refused.v1\""));
	assert_non_null(strstr(text.p,
			       "\"data\":{\"tenant\":\"acme\",\"reason\":"
			       "\"quantity: is not above 0\",\"subject\":\"usage.v1.acme\","
			       "\"stream_seq\":9,\"message\":\"{\\\"id\\\":\\\"x\\\"}\"}}"));
	assert_int_equal(weir_event_usage_refused_json(&u, &origin, &text, again), 0);
	assert_string_equal(id, again);
	u.stream_seq++;
	assert_int_equal(weir_event_usage_refused_json(&u, &origin, &text, again), 0);
	assert_string_not_equal(id, again);
	/* Any bytes, as many as there are. */
	memset(junk, 0xff, sizeof(junk));
	u.message = junk;
	u.message_len = sizeof(junk);
	assert_int_equal(weir_event_usage_refused_json(&u, &origin, &text, id), 0);
	v = json_loadb(text.p, text.len, 0, NULL);
	assert_non_null(v);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(v, "data"), "message_bytes")),
		sizeof(junk));
	json_decref(v);
}

static void a_refusal_is_this(void **unused)
{
	struct weir_denied d = { .tenant = "acme",
				 .reason = "requests",
				 .limit = 60,
				 .limit_of = "team-a",
				 .count = 12,
				 .first_wall_ns = T0 + 1,
				 .last_wall_ns = T0 + 900000000 };
	char id[WEIR_EVENT_ID_TEXT], again[WEIR_EVENT_ID_TEXT], other[WEIR_EVENT_ID_TEXT];
	char expect[600];

	assert_int_equal(weir_event_denied_json(&d, &origin, &text, id), 0);
	snprintf(expect, sizeof(expect),
		 "{\"specversion\":\"1.0\",\"id\":\"%s\","
		 "\"source\":\"/weir/0b0e7bd2-5a4b-4c00-8000-000000000001/gpu-01\","
		 "\"type\":\"weir.denied.v1\",\"subject\":\"acme\","
		 "\"time\":\"2026-11-01T00:00:00.9Z\",\"datacontenttype\":\"application/json\","
		 "\"data\":{\"tenant\":\"acme\",\"reason\":\"requests\",\"limit\":60,"
		 "\"limit_of\":\"team-a\",\"shadow\":false,\"count\":12,"
		 "\"first\":\"2026-11-01T00:00:00.000000001Z\",\"last\":\"2026-11-01T00:00:00.9Z\"}"
		 "}",
		 id);
	assert_string_equal(text.p, expect);

	/* The same second told again is the same event; another reason is not. */
	d.count = 13;
	d.first_wall_ns += 5;
	assert_int_equal(weir_event_denied_json(&d, &origin, &text, again), 0);
	assert_string_equal(id, again);
	d.reason = "tokens";
	assert_int_equal(weir_event_denied_json(&d, &origin, &text, other), 0);
	assert_string_not_equal(id, other);
	/* What was refused and what only would have been are two events. */
	d.shadow = true;
	d.limit_of = NULL;
	assert_int_equal(weir_event_denied_json(&d, &origin, &text, again), 0);
	assert_string_not_equal(again, other);
	assert_non_null(strstr(text.p, "\"limit\":60,\"shadow\":true,"));
	d.limit_is_nano = true;
	d.limit = 1500000000;
	assert_int_equal(weir_event_denied_json(&d, &origin, &text, NULL), 0);
	assert_non_null(strstr(text.p, "\"limit\":\"1.5\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(usage_that_is_refused_is_told_with_its_text, tear_down),
		cmocka_unit_test_teardown(a_refusal_is_this, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
