// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what a usage event says beyond counts and price: whose it is, in the order that
 * design.md fixes, how the answer went, and what was asked for.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "agent/event.h"
#include "agent/request_type.h"
#include "bpf/weir_abi.h"

static struct weir_event_origin origin = { "ledger", "gpu-01", "llm", NULL, 5 };

/* 2026-11-01T00:00:00Z */
#define T0 UINT64_C(1793491200000000000)

static struct weir_row row;
static struct weir_entry entry;
static struct weir_text text;

static int set_up(void **unused)
{
	row = (struct weir_row){
		.started_wall_ns = T0,
		.ended_wall_ns = T0 + 1000000,
		.service = 1,
		.status = 200,
		.usage_source = WEIR_USAGE_REPORTED,
		.flags = WEIR_ROW_BILLABLE,
		.usage = { 1, WEIR_UNKNOWN, WEIR_UNKNOWN, 2, WEIR_UNKNOWN },
		.audio = WEIR_UNKNOWN,
		.image = WEIR_UNKNOWN,
		.path = "/v1/messages",
		.model = "m",
	};
	entry = (struct weir_entry){ .seq = 7,
				     .kind = WEIR_ENTRY_USAGE,
				     .tenant_name = "acme",
				     .row = &row,
				     .actor = "agent" };
	return 0;
}

static int tear_down(void **unused)
{
	weir_text_free(&text);
	return 0;
}

static const char *told(void)
{
	assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), 0);
	return text.p;
}

static void says(const char *what)
{
	if (!strstr(told(), what))
		fail_msg("no %s in %s", what, text.p);
}

static void never_says(const char *what)
{
	if (strstr(told(), what))
		fail_msg("%s in %s", what, text.p);
}

/* ---------------------------------------------------------------- whose it is */

static void all_fields_stand_in_the_order_of_the_design(void **unused)
{
	strcpy(row.user, "alice");
	strcpy(row.team, "search");
	strcpy(row.feature, "rag");
	strcpy(row.cost_center, "4711");
	strcpy(row.session, "s-1");
	for (size_t i = 0; i < sizeof(row.trace_id); i++)
		row.trace_id[i] = (uint8_t)(0xf0 + i);
	strcpy(row.client_request_id, "req-9");
	strcpy(row.model_requested, "M");
	strcpy(row.model_version, "fp_1");
	strcpy(row.response_id, "msg_1");
	row.flags |= WEIR_ROW_TRUSTED;
	row.retry_count = 255;
	row.cache_status = WEIR_CACHE_REVALIDATED;
	says("\"response_id\":\"msg_1\",\"tenant\":\"acme\",\"path\":[\"acme\"],"
	     "\"user\":\"alice\",\"team\":\"search\",\"feature\":\"rag\",\"cost_center\":\"4711\","
	     "\"session\":\"s-1\",\"labels_trusted\":true,"
	     "\"trace_id\":\"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff\",\"client_request_id\":\"req-9\","
	     "\"service\":\"llm\",\"request_type\":\"message\",\"model_requested\":\"M\","
	     "\"model\":\"m\",\"model_version\":\"fp_1\",\"stream\":false,\"status\":200,"
	     "\"billable\":true,\"input_tokens\":1,\"output_tokens\":2,"
	     "\"usage_source\":\"reported\",\"retry_count\":255,\"cache_status\":\"revalidated\","
	     "\"started_at\":");
}

static void who_may_not_be_believed_is_said_with_any_label(void **unused)
{
	char *const labels[] = { row.user, row.team, row.feature, row.cost_center, row.session };

	for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++) {
		strcpy(labels[i], "x");
		says("\"labels_trusted\":false");
		labels[i][0] = 0;
	}
	row.trace_id[3] = 1; /* is nobody's word for who pays */
	never_says("labels_trusted");
	says("\"trace_id\":\"00000001000000000000000000000000\"");
}

static void labels_wallet_and_modes_are_told(void **unused)
{
	json_t *v, *data;

	strcpy(row.session, "s-1");
	strcpy(row.feature, "search");
	row.flags |= WEIR_ROW_TRUSTED;
	row.audio = 7;
	row.image = 0;
	entry.tenant = 1;
	entry.wallet = 2;
	entry.wallet_name = "org";
	assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), 0);
	v = json_loadb(text.p, text.len, 0, NULL);
	data = json_object_get(v, "data");
	assert_string_equal(json_string_value(json_object_get(data, "session")), "s-1");
	assert_string_equal(json_string_value(json_object_get(data, "feature")), "search");
	assert_true(json_is_true(json_object_get(data, "labels_trusted")));
	assert_string_equal(json_string_value(json_object_get(data, "wallet")), "org");
	assert_int_equal(json_integer_value(json_object_get(data, "audio_tokens")), 7);
	assert_true(json_is_integer(json_object_get(data, "image_tokens")));
	json_decref(v);
	/* A header that the client can set. */
	row.flags &= (uint16_t)~WEIR_ROW_TRUSTED;
	assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), 0);
	v = json_loadb(text.p, text.len, 0, NULL);
	assert_true(json_is_false(json_object_get(json_object_get(v, "data"), "labels_trusted")));
	json_decref(v);
}

static void a_path_is_told_level_by_level(void **unused)
{
	origin.path = "org/team/acme";
	says("\"path\":[\"org\",\"team\",\"acme\"],\"");
	origin.path = NULL;
	says("\"path\":[\"acme\"],\"");
	origin.previous_seq = 0;
	says("\"ledger_seq\":7,\"previous_seq\":0}");
	origin.previous_seq = 5;
}

static void a_label_that_fills_its_field_ends_there(void **unused)
{
	memset(row.user, 'Q', sizeof(row.user));
	memset(row.team, 'Z', sizeof(row.team));
	never_says("QZ");
	says("QQQQ\",\"team\":\"ZZZZ");
}

/* ---------------------------------------------------------------- how the answer went */

static void marks_are_there_when_they_hold(void **unused)
{
	static const struct {
		uint16_t flags;
		uint32_t flags2;
		const char *mark;
	} t[] = {
		{ WEIR_ROW_LOST_BYTES, 0, "\"lost_bytes\":true" },
		{ 0, WEIR_ROW_LEFT, "\"left\":true" },
		{ 0, WEIR_ROW_ABORT_FREE, "\"abort\":\"free\"" },
		{ 0, WEIR_ROW_ABORT_FULL, "\"abort\":\"full\"" },
		{ 0, WEIR_ROW_RETRY_FREE, "\"retry_free\":true" },
		{ 0, WEIR_ROW_CACHE_FREE, "\"cache_free\":true" },
		{ 0, WEIR_ROW_ENCODED, "\"encoded\":true" },
		{ 0, WEIR_ROW_INPUT_GUESSED, "\"estimated_counts\":[\"input\"]" },
		{ 0, WEIR_ROW_OUTPUT_GUESSED, "\"estimated_counts\":[\"output\"]" },
		{ 0, WEIR_ROW_INPUT_GUESSED | WEIR_ROW_OUTPUT_GUESSED,
		  "\"estimated_counts\":[\"input\",\"output\"]" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		row.flags = WEIR_ROW_BILLABLE | t[i].flags;
		row.flags2 = t[i].flags2;
		says(t[i].mark);
		row.flags = WEIR_ROW_BILLABLE;
		row.flags2 = 0;
		never_says(t[i].mark);
	}
}

/* By the agent, for its cost or its tenant's suspension: what was produced is billed. */
static void an_answer_that_was_cut_says_so(void **unused)
{
	row.end_cause = WEIR_END_CUT;
	row.usage_source = WEIR_USAGE_PARTIAL;
	row.finish_reason[0] = '\0';
	assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), 0);
	assert_non_null(strstr(text.p, "\"cut\":true,\"finish_reason\":\"cut\""));
	assert_non_null(strstr(text.p, "\"usage_source\":\"partial\""));
	assert_non_null(strstr(text.p, "\"billable\":true"));
	strcpy(row.finish_reason, "stop"); /* it was over, but for the last bytes */
	assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), 0);
	assert_non_null(strstr(text.p, "\"cut\":true,\"finish_reason\":\"stop\""));
	row.end_cause = WEIR_END_CLOSE;
	assert_int_equal(weir_event_json(&entry, &origin, NULL, &text), 0);
	assert_null(strstr(text.p, "cut"));
}

static void a_cache_status_of_another_time_is_left_out(void **unused)
{
	static const char *const names[] = { NULL,	"hit",	 "miss",       "bypass",
					     "expired", "stale", "revalidated" };

	for (uint8_t s = 1; s < WEIR_CACHE_STATUS_MAX; s++) {
		row.cache_status = s;
		assert_non_null(strstr(told(), "cache_status"));
		assert_non_null(strstr(text.p, names[s]));
	}
	row.cache_status = WEIR_CACHE_STATUS_MAX;
	never_says("cache_status");
	row.cache_status = 255;
	never_says("cache_status");
}

/* ---------------------------------------------------------------- what was asked for */

static void every_endpoint_has_a_type(void **unused)
{
	static const char *const t[][2] = {
		{ "/v1/chat/completions", "chat" },
		{ "/openai/deployments/x/chat/completions", "chat" },
		{ "/v1/chat/completions/", "chat" },
		{ "/v1/completions", "completion" },
		{ "/v1/responses", "response" },
		{ "/v1/embeddings", "embedding" },
		{ "/v1/messages", "message" },
		{ "/v1/messages/count_tokens", "count_tokens" },
		{ "/v1/audio/transcriptions", "transcription" },
		{ "/v1/audio/translations", "translation" },
		{ "/v1/audio/speech", "speech" },
		{ "/v1/models", "models" },
		{ "/v1/models/llama-3", "models" },
		{ "/score", "score" }, /* vLLM */
		{ "/v1/score", "score" },
		{ "/rerank", "rerank" },
		{ "/v1/rerank", "rerank" },
		{ "/v2/rerank", "rerank" },
		{ "/pooling", "pooling" },
		{ "/classify", "classify" },
		{ "/tokenize", "tokenize" },
		{ "/detokenize", "detokenize" },
		{ "/generate", "generate" }, /* SGLang, TGI */
		{ "/generate_stream", "generate" },
		{ "/encode", "embedding" },
		{ "/embed", "embedding" },	 /* TEI */
		{ "/completion", "completion" }, /* llama.cpp */
		{ "/infill", "infill" },
		{ "/embedding", "embedding" },
		{ "/api/chat", "chat" }, /* Ollama */
		{ "/api/generate", "generate" },
		{ "/api/embed", "embedding" },
		{ "/api/embeddings", "embedding" },
		{ "/v1/chat", "chat" }, /* Cohere */
		{ "/v2/chat", "chat" },
		{ "/v2/embed", "embedding" },
		{ "/v2/models/llama/generate", "generate" }, /* Triton */
		{ "/v2/models/llama/versions/1/generate_stream", "generate" },
		{ "/v2/models/llama/infer", "infer" },
	};
	static const char *const none[] = { "",	  "/",	      "-",	 "completion",
					    "*",  "/healthz", "/v1chat", "generate",
					    "//", "/chatty" };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const char *type = weir_request_type(t[i][0], strlen(t[i][0]));

		if (!type || strcmp(type, t[i][1]))
			fail_msg("%s is %s, not %s", t[i][0], type ? type : "nothing", t[i][1]);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_null(weir_request_type(none[i], strlen(none[i])));
	assert_null(weir_request_type("/v1/chat/completions", 10)); /* so many bytes and no more */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_fields_stand_in_the_order_of_the_design),
		TEST(who_may_not_be_believed_is_said_with_any_label),
		TEST(labels_wallet_and_modes_are_told),
		TEST(a_path_is_told_level_by_level),
		TEST(a_label_that_fills_its_field_ends_there),
		TEST(marks_are_there_when_they_hold),
		TEST(an_answer_that_was_cut_says_so),
		TEST(a_cache_status_of_another_time_is_left_out),
		TEST(every_endpoint_has_a_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
