// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what an answer's documents say: counts of each dialect that test_response has not,
 * keys that come twice, sums, text, the head's values, and what is proven behind a hole. (The
 * corpus has whole answers of every server; here are the rules, one by one.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "agent/response.h"

#define U WEIR_UNKNOWN

static struct weir_response r; /* the last answer */

static void answer(const char *head, const char *body)
{
	char wire[8192];
	int n = snprintf(wire, sizeof(wire), "HTTP/1.1 200 OK\r\n%scontent-length: %zu\r\n\r\n%s",
			 head, strlen(body), body);

	assert_true(n < (int)sizeof(wire));
	weir_response_init(&r, false);
	for (int i = 0; i < n; i += 7)
		weir_response_feed(&r, NULL, wire + i, n - i < 7 ? (size_t)(n - i) : 7);
	assert_true(r.seen.done);
}

static void json(const char *body)
{
	answer("content-type: application/json\r\n", body);
}

static void sse(const char *body)
{
	answer("content-type: text/event-stream\r\n", body);
}

static void is(int64_t input, int64_t read, int64_t write, int64_t output, int64_t reasoning,
	       enum weir_usage_source source)
{
	const struct weir_usage *u = &r.seen.usage;

	assert_int_equal(u->input, input);
	assert_int_equal(u->cache_read, read);
	assert_int_equal(u->cache_write, write);
	assert_int_equal(u->output, output);
	assert_int_equal(u->reasoning, reasoning);
	assert_int_equal(weir_response_source(&r), source);
}

#define REPORTED(...) is(__VA_ARGS__, WEIR_USAGE_REPORTED)
#define NOTHING(src)  is(U, U, U, U, U, WEIR_USAGE_##src)

/* ------------------------------------------------------------ dialects */

static void each_dialect_has_its_place(void **unused)
{
	json("{\"results\":[{\"index\":0,\"relevance_score\":0.5}],\"usage\":{\"total_tokens\":9}"
	     "}");
	REPORTED(9, U, U, U, U);
	json("{\"text\":\"hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,"
	     "\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":10},\"output_tokens\":5}"
	     "}");
	REPORTED(4, U, U, 5, U);
	assert_int_equal(r.seen.audio, 10);
	json("{\"text\":\"hi\",\"usage\":{\"type\":\"duration\",\"seconds\":7}}");
	NOTHING(ESTIMATED);
	json("[{\"generated_text\":\"hi\",\"details\":{\"finish_reason\":\"length\","
	     "\"generated_tokens\":2,\"prefill\":[{\"id\":1},{\"id\":2},{\"id\":3}]}}]");
	REPORTED(3, U, U, 2, U);
	assert_string_equal(r.seen.finish_reason, "length");
	sse("data:{\"token\":{\"text\":\"a\"},\"generated_text\":null}\n\ndata:{\"token\":{"
	    "\"text\":"
	    "\"b\"},\"generated_text\":\"ab\",\"details\":{\"generated_tokens\":2,"
	    "\"input_length\":4}}\n\n");
	REPORTED(4, U, U, 2, U);
	assert_int_equal(r.seen.chunks, 2);
	assert_int_equal(r.seen.text_bytes, 2);
	json("{\"id\":\"c\",\"finish_reason\":\"COMPLETE\",\"message\":{\"content\":[{\"text\":"
	     "\"hi\"}]},"
	     "\"usage\":{\"billed_units\":{\"input_tokens\":1,\"output_tokens\":2},\"tokens\":{"
	     "\"input_tokens\":70,\"output_tokens\":3},\"cached_tokens\":64}}");
	REPORTED(6, 64, U, 3, U);
	json("{\"text\":\"hi\",\"generation_id\":\"g\",\"meta\":{\"billed_units\":{"
	     "\"input_tokens\":5,\"output_tokens\":2}}}");
	REPORTED(5, U, U, 2, U);
	assert_string_equal(r.seen.response_id, "g");
	sse("data: "
	    "{\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"ab\"}}}}"
	    "\n\ndata: "
	    "{\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{"
	    "\"tokens\":{\"input_tokens\":5,\"output_tokens\":2}}}}\n\n");
	REPORTED(5, U, U, 2, U);
	assert_int_equal(r.seen.chunks, 1);
	json("{\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"hello\"}");
	NOTHING(ESTIMATED);
	assert_string_equal(r.seen.model, "m");
	assert_string_equal(r.seen.model_version, "1");
	assert_int_equal(r.seen.text_bytes, 5);
}

static void parts_of_an_answer_are_added(void **unused)
{
	json("[{\"text\":\"a\",\"meta_info\":{\"prompt_tokens\":5,\"completion_tokens\":2,"
	     "\"cached_tokens\":1}},{\"text\":\"b\",\"meta_info\":{\"prompt_tokens\":7,"
	     "\"completion_tokens\":3,\"cached_tokens\":0}},{}]");
	REPORTED(11, 1, U, 5, U);
	/* the sum of what is known and what is not is not known */
	json("[{\"meta_info\":{\"prompt_tokens\":5,\"completion_tokens\":2}},"
	     "{\"text\":\"b\",\"meta_info\":{\"prompt_tokens\":7}}]");
	is(12, U, U, U, U, WEIR_USAGE_ESTIMATED);
	/* two prompts, streamed in turn; each event has all of its prompt so far */
	sse("data: {\"index\":0,\"text\":\"a\",\"meta_info\":{\"prompt_tokens\":5,"
	    "\"completion_tokens\":1,\"finish_reason\":null}}\n\n"
	    "data: {\"index\":1,\"text\":\"b\",\"meta_info\":{\"prompt_tokens\":7,"
	    "\"completion_tokens\":1,\"finish_reason\":null}}\n\n"
	    "data: {\"index\":1,\"text\":\"bc\",\"meta_info\":{\"prompt_tokens\":7,"
	    "\"completion_tokens\":2,\"finish_reason\":{\"type\":\"stop\"}}}\n\n"
	    "data: {\"index\":0,\"text\":\"ab\",\"meta_info\":{\"prompt_tokens\":5,"
	    "\"completion_tokens\":9,\"finish_reason\":{\"type\":\"length\"}}}\n\ndata: "
	    "[DONE]\n\n");
	REPORTED(12, U, U, 11, U);
}

static void ndjson_is_known_by_its_second_line(void **unused)
{
	json("{\"model\":\"m\",\"response\":\"a\",\"done\":false}\n{\"response\":\"b\",\"done\":"
	     "false}\r\n"
	     "{\"response\":\"\",\"done\":true,\"prompt_eval_count\":4,\"eval_count\":2}\n");
	REPORTED(4, U, U, 2, U);
	assert_true(r.seen.stream);
	assert_int_equal(r.seen.chunks, 2);
	json("{\"response\":\"a\",\"prompt_eval_count\":4,\"eval_count\":2}\n");
	assert_false(r.seen.stream);
	/* two on a line are no documents */
	json("{\"response\":\"a\",\"prompt_eval_count\":4,\"eval_count\":2}{\"eval_count\":3}");
	REPORTED(4, U, U, 2, U);
	assert_false(r.seen.stream);
}

/* ------------------------------------------------------------ counts */

static void of_two_keys_the_last_counts_whole(void **unused)
{
	json("{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"prompt_tokens_details\":{"
	     "\"cached_tokens\":1}},\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}");
	REPORTED(5, U, U, 6, U);
	json("{\"choices\":[{}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2},\"usage\":"
	     "null}");
	NOTHING(ESTIMATED);
	json("{\"choices\":[{}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,"
	     "\"completion_tokens\":-2}}");
	is(1, U, U, U, U, WEIR_USAGE_ESTIMATED);
	/* but a later document's null says nothing */
	sse("data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n"
	    "data: {\"usage\":null}\n\ndata: {\"usage\":{\"prompt_tokens\":null,"
	    "\"completion_tokens\":3}}\n\n");
	REPORTED(1, U, U, 3, U);
}

static void of_two_spellings_the_first_counts(void **unused)
{
	json("{\"usage\":{\"prompt_tokens\":13,\"completion_tokens\":10,\"prompt_tokens_details\":{"
	     "\"cached_tokens\":5},\"completion_tokens_details\":{\"reasoning_tokens\":4},"
	     "\"input_tokens\":0,\"output_tokens\":0,\"input_tokens_details\":null,"
	     "\"output_tokens_details\":{\"reasoning_tokens\":0}}}");
	REPORTED(8, 5, U, 6, 4);
}

static void what_an_event_that_died_said_is_forgotten(void **unused)
{
	sse("data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n"
	    "data: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":8,]\n\n"
	    "data: {\"x\":1}\n\n");
	REPORTED(1, U, U, 2, U);
}

static void text_is_measured_where_it_is_text(void **unused)
{
	json("{\"choices\":[{\"text\":\"abc\"},{\"message\":{\"content\":\"\\n\\\"x\","
	     "\"reasoning\":\"12\","
	     "\"tool_calls\":[{\"id\":\"ignored\",\"function\":{\"name\":\"f\",\"arguments\":\"{}"
	     "\"}}]},"
	     "\"logprobs\":{\"content\":[{\"token\":\"abc\"}]}}]}");
	assert_int_equal(r.seen.text_bytes, 3 + 5 + 2 + 1 + 2);
	json("{\"content\":[{\"type\":\"text\",\"text\":\"ab\"},{\"type\":\"tool_use\",\"name\":"
	     "\"n\","
	     "\"input\":{\"a\":[1,\"}\"]}},{\"type\":\"thinking\",\"thinking\":\"hm\","
	     "\"signature\":\"xxxx\"}]}");
	assert_int_equal(r.seen.text_bytes, 2 + 1 + 13 + 2);
	sse("data: {\"type\":\"response.output_text.delta\",\"delta\":\"ab\"}\n\n"
	    "data: {\"type\":\"response.output_text.done\",\"text\":\"ab\"}\n\n"
	    "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\","
	    "\"partial_json\":\"\"}}\n\n"
	    "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\","
	    "\"partial_json\":\"{\\\"a\"}}\n\n"
	    "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"signature_delta\","
	    "\"signature\":\"xxx\"}}\n\n");
	assert_int_equal(r.seen.text_bytes, 2 + 4);
	assert_int_equal(r.seen.chunks, 2);
	sse("data: {\"text\":\"a\",\"meta_info\":{}}\n\ndata: "
	    "{\"text\":\"abc\",\"meta_info\":{}}\n\n");
	assert_int_equal(r.seen.text_bytes, 3);
}

/* ------------------------------------------------------------ the head */

static enum weir_cache_status cached(const char *head)
{
	answer(head, "{}");
	return r.seen.cache_status;
}

static void caches_say_what_they_did(void **unused)
{
	assert_int_equal(cached("x-cache: MISS\r\n"), WEIR_CACHE_MISS);
	assert_int_equal(cached("X-Cache: TCP_HIT from a.example\r\n"), WEIR_CACHE_HIT);
	assert_int_equal(cached("x-cache: MISS, HIT\r\n"), WEIR_CACHE_HIT);
	assert_int_equal(cached("x-cache-status: UPDATING\r\n"), WEIR_CACHE_STALE);
	assert_int_equal(cached("cf-cache-status: DYNAMIC\r\n"), WEIR_CACHE_UNKNOWN);
	assert_int_equal(cached("x-cache: what a hitch\r\n"), WEIR_CACHE_UNKNOWN);
	assert_int_equal(cached("x-cache: miss\r\nx-cache-status: HIT\r\n"), WEIR_CACHE_HIT);
	assert_int_equal(cached("x-cache-status: HIT\r\nx-cache: miss\r\n"), WEIR_CACHE_HIT);
	assert_int_equal(cached("cache-status: \"a; hit, b\"; fwd=uri-miss; stored\r\n"),
			 WEIR_CACHE_MISS);
	assert_int_equal(cached("cache-status: hit; fwd=bypass\r\n"), WEIR_CACHE_BYPASS);
	assert_int_equal(cached("cache-status: origin; fwd=stale , edge ; hit; ttl=3\r\n"),
			 WEIR_CACHE_HIT);
	assert_int_equal(cached("cache-status: origin; fwd=stale\r\n"), WEIR_CACHE_EXPIRED);
}

static void the_head_has_an_id_and_counts(void **unused)
{
	char head[300];

	answer("X-Request-Id:  req-1 \r\n", "{}");
	assert_string_equal(r.seen.request_id, "req-1");
	answer("x-request-id: a\r\nx-request-id: b\r\n", "{}");
	assert_string_equal(r.seen.request_id, "");
	answer("x-request-id: a\x80\r\n", "{}");
	assert_string_equal(r.seen.request_id, "");
	snprintf(head, sizeof(head), "x-request-id: %063d\r\n", 7);
	answer(head, "{}");
	assert_int_equal(strlen(r.seen.request_id), 63);
	snprintf(head, sizeof(head), "x-request-id: %064d\r\n", 7);
	answer(head, "{}");
	assert_string_equal(r.seen.request_id, "");
	answer("x-prompt-tokens: 17\r\nx-generated-tokens: 4\r\n", "{\"generated_text\":\"x\"}");
	REPORTED(17, U, U, 4, U);
	answer("x-prompt-tokens: 17\r\nx-generated-tokens: 4\r\n",
	       "{\"generated_text\":\"x\",\"details\":{\"generated_tokens\":5,\"prefill\":[]}}");
	REPORTED(17, U, U, 5, U);
	answer("x-prompt-tokens: 1e3\r\n", "{\"generated_text\":\"x\"}");
	NOTHING(ESTIMATED);
}

static void what_cannot_be_decoded_is_estimated(void **unused)
{
	answer("content-type: application/json\r\ncontent-encoding: br\r\n", "{\"usage\":{}}");
	NOTHING(ESTIMATED);
	assert_int_equal(r.seen.coding, WEIR_BODY_CODED);
	answer("content-type: text/html\r\ncontent-encoding: br\r\n", "x");
	NOTHING(NONE);
}

/* ------------------------------------------------------------ behind a hole */

/* `before`, some bytes that are missing, `after`: in pieces that are cut anywhere. */
static void hole(const char *before, const char *after)
{
	char head[128];
	size_t n = strlen(after), i;
	struct weir_response first;

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n",
		 strlen(before) + 1000 + n);
	for (i = 0; i <= n; i++) {
		weir_response_init(&r, false);
		weir_response_feed(&r, NULL, head, strlen(head));
		weir_response_feed(&r, NULL, before, strlen(before));
		weir_response_skip(&r, 1000);
		weir_response_feed(&r, NULL, after, i);
		weir_response_feed(&r, NULL, after + i, n - i);
		assert_true(r.seen.done);
		if (!i)
			first = r;
		assert_memory_equal(&first.seen, &r.seen, sizeof(r.seen));
	}
}

#define USAGE "\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}"

static void usage_behind_a_hole_is_proven_by_the_end(void **unused)
{
	hole("{\"data\":[{\"embedding\":[0.1,", "0.2]}],\"model\":\"m\"," USAGE "}");
	REPORTED(8, U, U, U, U);
	assert_string_equal(r.seen.model, "m");
	hole("{\"data\":[", "2]},{\"object\":\"x\",\"n\":[{}]} ], " USAGE " } \r\n");
	REPORTED(8, U, U, U, U);
	/* strings that end in what may come before a key */
	hole("{\"a\":\"", "b, \"," USAGE "}");
	REPORTED(8, U, U, U, U);
	hole("{\"a\":\"", " {\"  ,\"b\":\"c,\",\"d\":\"{\" , " USAGE "}");
	REPORTED(8, U, U, U, U);
	hole("{\"a\":\"", "\\\", \\\"usage\\\":{\\\"prompt_tokens\\\":1}}\"," USAGE "}");
	REPORTED(8, U, U, U, U);
	/* what was settled before the hole stays */
	hole("{" USAGE ",\"data\":[{\"x\":[", "]}],\"usage\":{\"prompt_tokens\":1}}");
	REPORTED(8, U, U, U, U);
}

static void what_is_not_proven_is_forgotten(void **unused)
{
	hole("{\"x\":{\"a\":[", "1]," USAGE "}}");
	NOTHING(PARTIAL);
	hole("[{\"a\":[", "1]," USAGE ",\"model\":\"m\"}]");
	NOTHING(PARTIAL);
	assert_string_equal(r.seen.model, "");
	hole("{\"model\":\"m\",\"a\":\"", "x\"," USAGE "} x");
	NOTHING(PARTIAL);
	assert_string_equal(r.seen.model, "m");
	hole("{\"a\":\"", "x\"," USAGE);
	NOTHING(PARTIAL);
	/* half of `usage` was before it */
	hole("{\"usage\":{\"prompt_tokens\":8,", "\"completion_tokens\":9}}");
	NOTHING(PARTIAL);
	/* what another object says, then the document */
	hole("{\"x\":{\"a\":[", "1],\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":{"
				"\"cached_tokens\":1}}},\"usage\":{\"prompt_tokens\":8}}");
	REPORTED(8, U, U, U, U);
	/* a text that looks like the rest of a document */
	hole("{\"a\":\"", "x, \\\"usage\\\":{\\\"prompt_tokens\\\":1}}\"}");
	NOTHING(PARTIAL);
}

/* More levels than are followed are stepped over in the same way. */
static void levels_without_end_hide_nothing(void **unused)
{
	char body[2000] = "{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"x\":";
	size_t n = strlen(body);

	memset(body + n, '[', 300);
	memset(body + n + 300, ']', 300);
	strcpy(body + n + 600, ",\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":1}}");
	json(body);
	REPORTED(8, U, U, 1, U);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_dialect_has_its_place),
		cmocka_unit_test(parts_of_an_answer_are_added),
		cmocka_unit_test(ndjson_is_known_by_its_second_line),
		cmocka_unit_test(of_two_keys_the_last_counts_whole),
		cmocka_unit_test(of_two_spellings_the_first_counts),
		cmocka_unit_test(what_an_event_that_died_said_is_forgotten),
		cmocka_unit_test(text_is_measured_where_it_is_text),
		cmocka_unit_test(caches_say_what_they_did),
		cmocka_unit_test(the_head_has_an_id_and_counts),
		cmocka_unit_test(what_cannot_be_decoded_is_estimated),
		cmocka_unit_test(usage_behind_a_hole_is_proven_by_the_end),
		cmocka_unit_test(what_is_not_proven_is_forgotten),
		cmocka_unit_test(levels_without_end_hide_nothing),
	};

	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
