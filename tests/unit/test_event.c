// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about events: what is in them, what is left out, and that they are
 * JSON whatever a server put into its answer. Parsed back with jansson.
 */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/entry_json.h"
#include "agent/event.h"
#include "agent/price.h"
#include "bpf/weir_abi.h"

static const char card_json[] =
	"{\"name\":\"list\",\"version\":\"2026-11\",\"effective_from\":\"2026-11-01T00:00:00Z\","
	"\"models\":[{\"match\":\"*\",\"price\":{\"input\":\"0.5\",\"output\":\"1.5\","
	"\"per\":1000}}]}";

static const struct weir_event_origin origin = {
	.ledger_id = "0b0e7bd2-5a4b-4c00-8000-000000000001",
	.node = "gpu-01",
	.service = "llm",
	.previous_seq = 5,
};

static struct weir_row row;
static struct weir_entry entry;
static struct weir_text text;

/* 2026-11-01T00:00:00Z */
#define T0 UINT64_C(1793491200000000000)

static int set_up(void **unused)
{
	row = (struct weir_row){
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
		.usage = { 100, 20, WEIR_UNKNOWN, 0, WEIR_UNKNOWN },
		.audio = WEIR_UNKNOWN,
		.image = WEIR_UNKNOWN,
		.price_nano = 60000000,
		.path = "/v1/chat/completions",
		.model = "llama",
		.response_id = "chatcmpl-1",
		.finish_reason = "stop",
	};
	entry = (struct weir_entry){
		.seq = 7,
		.time_ns = T0 + 2000000000,
		.kind = WEIR_ENTRY_USAGE,
		.id = { { 0x18, 0xab, 15 } },
		.tenant_name = "acme",
		.amount_nano = -60000000,
		.balance_before_nano = 100000000,
		.balance_after_nano = 40000000,
		.row = &row,
		.actor = "agent",
	};
	return 0;
}

static int tear_down(void **unused)
{
	weir_text_free(&text);
	return 0;
}

static struct weir_card *card(void)
{
	struct weir_card *c = NULL;
	struct weir_error err;

	assert_int_equal(weir_card_parse(card_json, "test", &c, &err), 0);
	return c;
}

/* The event of `entry`, parsed; its text has no newline. */
static json_t *event(const struct weir_card *c)
{
	json_error_t err;
	json_t *v;

	assert_int_equal(weir_event_json(&entry, &origin, c, &text), 0);
	assert_int_equal(strlen(text.p), text.len);
	assert_null(strchr(text.p, '\n'));
	v = json_loadb(text.p, text.len, JSON_REJECT_DUPLICATES, &err);
	if (!v)
		fail_msg("%s in %s", err.text, text.p);
	return v;
}

static void a_usage_event_is_this(void **unused)
{
	static const struct weir_move moves[] = { { WEIR_PURSE_EXPIRED, 3, -50000000 },
						  { WEIR_PURSE_REMAINING, 5, -9000000 },
						  { WEIR_PURSE_DEBT, 0, 1000000 } };
	struct weir_card *c = card();

	entry.moves = moves;
	entry.n_moves = 3;
	assert_int_equal(weir_event_json(&entry, &origin, c, &text), 0);
	assert_string_equal(
		text.p,
		"{\"specversion\":\"1.0\",\"id\":\"18ab0f00000000000000000000000000\","
		"\"source\":\"/weir/0b0e7bd2-5a4b-4c00-8000-000000000001/gpu-01\","
		"\"type\":\"weir.usage.v1\",\"subject\":\"acme\","
		"\"time\":\"2026-11-01T00:00:01.234567Z\",\"datacontenttype\":\"application/json\","
		"\"data\":{\"request_id\":\"18ab0f00000000000000000000000000\","
		"\"response_id\":\"chatcmpl-1\",\"tenant\":\"acme\",\"path\":[\"acme\"],"
		"\"service\":\"llm\",\"request_type\":\"chat\",\"model\":\"llama\",\"stream\":true,"
		"\"status\":200,\"billable\":true,\"input_tokens\":100,\"cache_read_tokens\":20,"
		"\"output_tokens\":0,\"usage_source\":\"reported\","
		"\"started_at\":\"2026-11-01T00:00:00Z\",\"ttft_ms\":250.5,\"latency_ms\":1234.567,"
		"\"finish_reason\":\"stop\","
		"\"rate_card\":{\"name\":\"list\",\"version\":\"2026-11\",\"entry\":0},"
		"\"price\":\"0.06\",\"cost\":\"0\",\"lines\":["
		"{\"dimension\":\"input\",\"quantity\":100,\"unit_price\":\"0.5\",\"per\":1000,"
		"\"amount\":\"0.05\"},"
		"{\"dimension\":\"cache_read\",\"priced_as\":\"input\",\"quantity\":20,"
		"\"unit_price\":\"0.5\",\"per\":1000,\"amount\":\"0.01\"}],"
		"\"burn\":[{\"grant_seq\":3,\"amount\":\"0.05\",\"expired\":true},"
		"{\"grant_seq\":5,\"amount\":\"0.009\"}],\"debt\":\"0.001\",\"ledger_seq\":7,"
		"\"previous_seq\":5}}");
	weir_card_free(c);
}

static void what_is_not_known_is_absent(void **unused)
{
	static const char *const gone[] = {
		"response_id",
		"service",
		"request_type",
		"model",
		"status",
		"input_tokens",
		"ttft_ms",
		"cache_read_tokens",
		"finish_reason",
		"usage_source",
		"rate_card",
		"lines",
		"debt",
		"degraded",
		"unjudged",
		"model_requested",
		"max_tokens_requested",
		"audio_tokens",
		"image_tokens",
		"user",
		"team",
		"feature",
		"cost_center",
		"session",
		"trace_id",
		"client_request_id",
		"model_version",
		"retry_count",
		"cache_status",
		"labels_trusted",
		"lost_bytes",
		"left",
		"abort",
		"retry_free",
		"cache_free",
		"encoded",
		"estimated_counts",
		"wallet",
		"discount",
		"unit",
		"dimension",
		"previous_seq",
	};
	static const struct weir_event_origin nowhere = { "ledger", "gpu-01", NULL, NULL,
							  WEIR_EVENT_UNKNOWN_SEQ };
	json_t *v, *data;

	row = (struct weir_row){ .started_wall_ns = T0, .ended_wall_ns = T0, .service = 9 };
	row.usage = (struct weir_usage){ -1, -1, -1, -1, -1 };
	row.audio = row.image = WEIR_UNKNOWN;
	assert_int_equal(weir_event_json(&entry, &nowhere, NULL, &text), 0);
	v = json_loadb(text.p, text.len, 0, NULL);
	data = json_object_get(v, "data");
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		assert_null(json_object_get(data, gone[i]));
	assert_true(json_is_false(json_object_get(data, "billable")));
	assert_string_equal(json_string_value(json_object_get(data, "price")), "0");
	assert_int_equal(json_integer_value(json_object_get(data, "latency_ms")), 0);
	json_decref(v);
}

static void an_unpriced_request_says_so(void **unused)
{
	struct weir_card *c = card();
	json_t *v, *data;

	row.flags |= WEIR_ROW_UNPRICED;
	row.price_nano = 0;
	v = event(c);
	data = json_object_get(v, "data");
	assert_true(json_is_true(json_object_get(data, "unpriced")));
	assert_null(json_object_get(data, "rate_card"));
	json_decref(v);
	row.flags &= (uint16_t)~WEIR_ROW_UNPRICED;
	row.card_entry = 99; /* no such entry: never read past the card */
	json_decref(event(c));
	weir_card_free(c);
}

static void a_degraded_request_has_both_models(void **unused)
{
	json_t *v, *data;

	strcpy(row.model_requested, "gpt-huge");
	row.max_tokens_requested = 9000;
	row.flags |= WEIR_ROW_DEGRADED | WEIR_ROW_TOKENS_CUT;
	v = event(NULL);
	data = json_object_get(v, "data");
	assert_string_equal(json_string_value(json_object_get(data, "model_requested")),
			    "gpt-huge");
	assert_string_equal(json_string_value(json_object_get(data, "model")), "llama");
	assert_true(json_is_true(json_object_get(data, "degraded")));
	assert_int_equal(json_integer_value(json_object_get(data, "max_tokens_requested")), 9000);
	assert_null(json_object_get(data, "unjudged"));
	json_decref(v);
	/* It is there to say that it was lowered. */
	row.flags &= (uint16_t)~WEIR_ROW_TOKENS_CUT;
	v = event(NULL);
	assert_null(json_object_get(json_object_get(v, "data"), "max_tokens_requested"));
	json_decref(v);
}

static void an_unjudged_answer_has_no_type_and_is_billed(void **unused)
{
	struct weir_card *c = card();
	json_t *v, *data;

	row.flags |= WEIR_ROW_UNJUDGED;
	memset(row.path, 0, sizeof(row.path));
	row.path[0] = row.method[0] = '-';
	v = event(c);
	data = json_object_get(v, "data");
	assert_true(json_is_true(json_object_get(data, "unjudged")));
	assert_true(json_is_true(json_object_get(data, "billable")));
	assert_string_equal(json_string_value(json_object_get(data, "price")), "0.06");
	assert_null(json_object_get(data, "request_type"));
	json_decref(v);
	weir_card_free(c);
}

static void hostile_text_stays_text(void **unused)
{
	static const struct {
		const char *is, *becomes;
	} t[] = {
		{ "\",\"price\":\"0", "\",\"price\":\"0" },
		{ "a\\b", "a\\b" },
		{ "\b\f\n\r\t\x01\x1f", "\b\f\n\r\t\x01\x1f" },
		{ "\x7f", "\x7f" },
		{ "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80", "na\xc3\xafve € 😀" },
		{ "\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },		    /* overlong */
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* surrogate */
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		json_t *v;

		memset(row.model, 0, sizeof(row.model));
		memcpy(row.model, t[i].is, strlen(t[i].is));
		v = event(NULL);
		assert_string_equal(
			json_string_value(json_object_get(json_object_get(v, "data"), "model")),
			t[i].becomes);
		json_decref(v);
	}
}

/* Random bytes in every field there is, strings that are full: always JSON. */
static void any_row_gives_json(void **unused)
{
	static struct weir_move moves[3000];
	struct weir_card *c = card();

	srandom(1);
	for (int i = 0; i < 3000; i++) {
		for (size_t b = 0; b < sizeof(row); b++)
			((uint8_t *)&row)[b] = (uint8_t)(random() % (i % 2 ? 256 : 32));
		/* Times are the ledger's own. */
		row.started_wall_ns = T0 + (uint64_t)random();
		row.ended_wall_ns = T0 + (uint64_t)random();
		/* jansson reads no larger number than int64's */
		for (int m = 0; m <= i; m++)
			moves[m] = (struct weir_move){ (uint8_t)(m % 3), INT64_MAX, -INT64_MAX };
		entry.moves = moves;
		entry.n_moves = i % 50 ? (size_t)i % 50 : (size_t)i;
		entry.seq = INT64_MAX;
		entry.wallet = (uint32_t)i;
		json_decref(event(i % 3 ? c : NULL));
	}
	weir_card_free(c);
}

static void long_names_fit(void **unused)
{
	static char name[5000];
	struct weir_event_origin o = { name, name, name, name, UINT64_MAX - 1 };
	struct weir_denied d = { .tenant = name, .reason = "requests" };

	memset(name, 1, sizeof(name) - 1); /* six bytes each, escaped */
	entry.tenant_name = name;
	assert_int_equal(weir_event_json(&entry, &o, NULL, &text), 0);
	assert_int_equal(weir_event_denied_json(&d, &o, &text, NULL), 0);
	entry.wallet = 2;
	entry.wallet_name = name;
	assert_int_equal(weir_event_json(&entry, &o, NULL, &text), 0);
}

/* Anybody can make the charge again from what the event says. */
static void steps_and_factors_are_told(void **unused)
{
	static const char stepped[] =
		"{\"name\":\"list\",\"version\":\"2\",\"effective_from\":\"2026-11-01T00:00:00Z\","
		"\"discounts\":{\"gold\":\"0.1\"},\"models\":[{\"match\":\"*\",\"price\":{"
		"\"input\":{\"steps\":[{\"up_to\":1000,\"price\":\"5\"},{\"price\":\"4\"}],"
		"\"mode\":\"graduated\"},\"per\":1000}}]}";
	static const struct weir_position at[] = { { WEIR_DIM_INPUT, 950 } };
	struct weir_error err = { "" };
	struct weir_card *c = NULL;

	if (weir_card_parse(stepped, "test", &c, &err))
		fail_msg("%s", err.text);
	row.usage = (struct weir_usage){ 100, -1, -1, -1, -1 };
	row.discount_milli = 100;
	row.price_nano = 405000000;
	entry.positions = at;
	entry.n_positions = 1;
	assert_int_equal(weir_event_json(&entry, &origin, c, &text), 0);
	assert_non_null(strstr(text.p, "\"rate_card\":{\"name\":\"list\",\"version\":\"2\","
				       "\"entry\":0,\"factor\":\"0.9\"},\"discount\":\"0.1\","
				       "\"price\":\"0.405\""));
	assert_non_null(strstr(text.p, "\"quantity\":50,\"unit_price\":\"5\",\"per\":1000,"
				       "\"position\":950"));
	assert_non_null(strstr(text.p, "\"quantity\":50,\"unit_price\":\"4\",\"per\":1000,"
				       "\"position\":1000"));
	weir_card_free(c);
}

static struct weir_op op;

static void enter(enum weir_entry_kind kind)
{
	op.kind = (uint8_t)kind;
	entry.kind = kind;
	entry.row = NULL;
	entry.op = &op;
}

static void reported_usage_is_this(void **unused)
{
	static const char metered[] =
		"{\"name\":\"list\",\"version\":\"3\",\"effective_from\":\"2026-11-01T00:00:00Z\","
		"\"models\":[{\"meter\":\"storage_gb\",\"price\":{\"unit\":\"0.02\"},"
		"\"cost\":{\"unit\":\"0.01\"}}]}";
	static const struct weir_move moves[] = { { WEIR_PURSE_REMAINING, 5, -30000000 } };
	struct weir_error err = { "" };
	struct weir_card *c = NULL;

	if (weir_card_parse(metered, "test", &c, &err))
		fail_msg("%s", err.text);
	op = (struct weir_op){ .flags = WEIR_OP_POSTED | WEIR_OP_TRUSTED,
			       .quantity_nano = 1500000000,
			       .card_id = 1,
			       .price_nano = 30000000,
			       .cost_nano = 15000000,
			       .started_ns = T0,
			       .dimension = "storage_gb",
			       .feature = "search",
			       .key = "day-17" };
	enter(WEIR_ENTRY_METER);
	entry.moves = moves;
	entry.n_moves = 1;
	assert_int_equal(weir_event_json(&entry, &origin, c, &text), 0);
	assert_string_equal(weir_event_topic(&entry), "meter");
	assert_string_equal(
		text.p,
		"{\"specversion\":\"1.0\",\"id\":\"18ab0f00000000000000000000000000\","
		"\"source\":\"/weir/0b0e7bd2-5a4b-4c00-8000-000000000001/gpu-01\","
		"\"type\":\"weir.usage.v1\",\"subject\":\"acme\","
		"\"time\":\"2026-11-01T00:00:00Z\",\"datacontenttype\":\"application/json\","
		"\"data\":{\"request_id\":\"18ab0f00000000000000000000000000\","
		"\"usage_id\":\"day-17\",\"tenant\":\"acme\",\"path\":[\"acme\"],"
		"\"feature\":\"search\",\"labels_trusted\":true,\"dimension\":\"storage_gb\","
		"\"quantity\":\"1.5\",\"billable\":true,\"usage_source\":\"reported\","
		"\"started_at\":\"2026-11-01T00:00:00Z\","
		"\"rate_card\":{\"name\":\"list\",\"version\":\"3\",\"entry\":0},"
		"\"price\":\"0.03\",\"cost\":\"0.015\",\"lines\":[{\"dimension\":\"unit\","
		"\"quantity\":\"1.5\",\"unit_price\":\"0.02\",\"per\":1,\"amount\":\"0.03\"}],"
		"\"burn\":[{\"grant_seq\":5,\"amount\":\"0.03\"}],\"ledger_seq\":7,\"previous_"
		"seq\":5}}");
	weir_card_free(c);
	/* No card had a price: it says so, with price 0, and is not silent. */
	op.flags |= WEIR_OP_UNPRICED;
	op.price_nano = op.cost_nano = 0;
	assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), 0);
	assert_non_null(strstr(text.p, "\"unpriced\":true,\"price\":\"0\""));
	assert_null(strstr(text.p, "rate_card"));
}

static void a_top_up_is_this(void **unused)
{
	op = (struct weir_op){ .amount_nano = 50000000000, .threshold_nano = 1000000000 };
	enter(WEIR_ENTRY_TOP_UP);
	entry.wallet_name = "acme";
	assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), 0);
	assert_string_equal(weir_event_topic(&entry), "alert");
	assert_string_equal(
		text.p,
		"{\"specversion\":\"1.0\",\"id\":\"18ab0f00000000000000000000000000\","
		"\"source\":\"/weir/0b0e7bd2-5a4b-4c00-8000-000000000001/gpu-01\","
		"\"type\":\"weir.topup.v1\",\"subject\":\"acme\","
		"\"time\":\"2026-11-01T00:00:02Z\",\"datacontenttype\":\"application/json\","
		"\"data\":{\"tenant\":\"acme\",\"wallet\":\"acme\",\"balance\":\"0.04\","
		"\"threshold\":\"1\",\"ask\":\"50\",\"ledger_seq\":7,\"previous_seq\":5}}");
}

/* A refund is as much of the bill as what it refunds. */
static void other_entries_are_told_as_the_ledger_lists_them(void **unused)
{
	static const struct weir_move moves[] = { { WEIR_PURSE_REMAINING, 7, 5000000000 } };
	struct weir_text listed = { 0 };
	char *data;

	op = (struct weir_op){ .amount_nano = 5000000000, .key = "order-17", .reason = "hello" };
	entry.moves = moves;
	entry.n_moves = 1;
	for (int kind = 0; kind <= WEIR_ENTRY_KIND_MAX; kind++) {
		if (kind == WEIR_ENTRY_USAGE || kind == WEIR_ENTRY_METER ||
		    kind == WEIR_ENTRY_TOP_UP)
			continue;
		enter((enum weir_entry_kind)kind);
		if (kind == WEIR_ENTRY_KIND_MAX) {
			assert_null(weir_event_topic(&entry));
			assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), -EINVAL);
			continue;
		}
		assert_string_equal(weir_event_topic(&entry), "ledger");
		json_decref(event(NULL));
		assert_int_equal(weir_entry_json(&entry, NULL, &listed), 0);
		data = strstr(text.p, "\"data\":") + strlen("\"data\":");
		assert_memory_equal(data, listed.p, listed.len - 1);
		assert_string_equal(data + listed.len - 1,
				    ",\"ledger_seq\":7,\"previous_seq\":5}}");
		assert_non_null(strstr(text.p, "\"type\":\"weir.ledger.v1\",\"subject\":\"acme\","
					       "\"time\":\"2026-11-01T00:00:02Z\""));
	}
	weir_text_free(&listed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_usage_event_is_this),
		TEST(what_is_not_known_is_absent),
		TEST(an_unpriced_request_says_so),
		TEST(hostile_text_stays_text),
		TEST(any_row_gives_json),
		TEST(long_names_fit),
		TEST(steps_and_factors_are_told),
		TEST(reported_usage_is_this),
		TEST(a_top_up_is_this),
		TEST(other_entries_are_told_as_the_ledger_lists_them),
		TEST(a_degraded_request_has_both_models),
		TEST(an_unjudged_answer_has_no_type_and_is_billed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
