// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about who is not billed, and what of a request is kept for events.
 */
#include "tests/unit/finish_fixture.h"

#define STREAM "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
#define WORD   "data: {\"model\":\"llama-3\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"

static struct weir_terms lenient(void)
{
	return (struct weir_terms){ .name = "acme",
				    .tier = "pro",
				    .credit = WEIR_CREDIT_HARD,
				    .abort = WEIR_ABORT_FREE,
				    .free_retries = true,
				    .free_cache_hits = true };
}

/* A whole answer with one more line in its head. */
static const char *with_line(const char *line)
{
	static char text[1024];

	snprintf(text, sizeof(text),
		 "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%s\r\ncontent-length: "
		 "%zu\r\n\r\n%s",
		 line, strlen(BODY), BODY);
	return text;
}

static void a_free_retry_is_an_event_without_a_price(void **state)
{
	struct weir_finish_with with = { .terms = &terms, .is_retry = true };
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, ok(BODY, 0));
	r = finish_as(card_json, &o, &e, with);
	assert_int_equal(r.usage_source, WEIR_USAGE_REPORTED);
	assert_int_equal(r.usage.output, 4);
	assert_int_equal(r.price_nano, 0);
	assert_int_equal(r.card_id, 0);
	assert_int_equal(r.flags, WEIR_ROW_POSTED);
	assert_int_equal(r.flags2, WEIR_ROW_RETRY_FREE);
}

static void a_cache_hit_is_free_where_the_tier_says_so(void **state)
{
	static const struct {
		const char *line;
		uint8_t status;
		bool hit;
	} cases[] = {
		{ "x-cache: HIT", WEIR_CACHE_HIT, true },
		{ "X-Cache-Status: STALE", WEIR_CACHE_STALE, true },
		{ "cf-cache-status: REVALIDATED", WEIR_CACHE_REVALIDATED, true },
		{ "x-cache-status: MISS", WEIR_CACHE_MISS, false },
		{ "x-cache-status: EXPIRED", WEIR_CACHE_EXPIRED, false },
		{ "x-cache-status: BYPASS", WEIR_CACHE_BYPASS, false },
		{ "x-other: HIT", WEIR_CACHE_UNKNOWN, false },
	};
	struct weir_terms strict = terms, free_hits = lenient();
	struct weir_rec_end e = end_record();
	struct weir_open o;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct weir_row r;

		answer(&o, &e, with_line(cases[i].line));
		r = finish_as(card_json, &o, &e, (struct weir_finish_with){ .terms = &strict });
		assert_int_equal(r.cache_status, cases[i].status);
		assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
		r = finish_as(card_json, &o, &e, (struct weir_finish_with){ .terms = &free_hits });
		assert_int_equal(!(r.flags & WEIR_ROW_BILLABLE), cases[i].hit);
		assert_int_equal(r.flags2, cases[i].hit ? WEIR_ROW_CACHE_FREE : 0);
		assert_int_equal(!r.price_nano, cases[i].hit);
		assert_int_equal(r.usage.output, 4);
	}
}

/* One reason is enough, and an error needs none. */
static void an_error_is_not_free_for_a_reason(void **state)
{
	struct weir_terms t = lenient();
	struct weir_finish_with with = { .terms = &t, .is_retry = true };
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, "HTTP/1.1 503 Busy\r\nx-cache: HIT\r\ncontent-length: 0\r\n\r\n");
	r = finish_as(card_json, &o, &e, with);
	assert_int_equal(r.flags2, 0);
	assert_int_equal(r.price_nano, 0);
	answer(&o, &e, with_line("x-cache: HIT"));
	assert_int_equal(finish_as(card_json, &o, &e, with).flags2, WEIR_ROW_CACHE_FREE);
}

/* ------------------------------------------------------------------ broken off */

static struct weir_row ended(int cause, uint32_t flags, const char *text)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	e.h.flags = cause;
	e.flags = flags;
	answer(&o, &e, text);
	return finish(&o, &e);
}

static void only_what_broke_off_and_was_paid_may_come_again_for_nothing(void **state)
{
	static const char broken[] = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
				     "content-length: 1000\r\n\r\n" BODY;
	struct weir_terms t = lenient();
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	r = ended(WEIR_END_CLOSE, 0, broken);
	assert_true(weir_finish_broke_off(&r));
	r = ended(WEIR_END_CLOSE, WEIR_SLOT_LEFT, broken);
	assert_false(weir_finish_broke_off(&r)); /* the client did it */
	r = ended(WEIR_END_CUT, 0, broken);
	assert_false(weir_finish_broke_off(&r)); /* its cost did it */
	r = ended(WEIR_END_REFUSED, 0, broken);
	assert_false(weir_finish_broke_off(&r)); /* its body did it */
	r = ended(WEIR_END_NEXT, 0, broken);
	assert_false(weir_finish_broke_off(&r)); /* the connection goes on */
	r = ended(WEIR_END_CLOSE, 0, ok(BODY, 0));
	assert_false(weir_finish_broke_off(&r)); /* it is whole */
	r = ended(WEIR_END_CLOSE, 0, "HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nx");
	assert_false(weir_finish_broke_off(&r)); /* it cost nothing */
	e.h.flags = WEIR_END_CLOSE;
	e.lost_bytes = 5;
	answer(&o, &e, broken);
	e.response_bytes += 5;
	r = finish(&o, &e);
	assert_false(weir_finish_broke_off(&r)); /* perhaps it did not */
	/* A free retry that breaks off in its turn is the same request still. */
	e.lost_bytes = 0;
	answer(&o, &e, broken);
	r = finish_as(card_json, &o, &e,
		      (struct weir_finish_with){ .terms = &t, .is_retry = true });
	assert_int_equal(r.flags2 & WEIR_ROW_RETRY_FREE, WEIR_ROW_RETRY_FREE);
	assert_false(weir_finish_broke_off(&r));
}

/* ------------------------------------------------------------- what was said of it */

static void labels_are_in_the_row(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, ok(BODY, 0));
	strcpy(asked.labels.user, "ann");
	strcpy(asked.labels.team, "search");
	strcpy(asked.labels.cost_center, "cc-7");
	strcpy(asked.labels.session, "s-1");
	strcpy(asked.labels.feature, "f");
	strcpy(asked.labels.request_id, "req-1");
	memset(asked.labels.trace_id, 0xab, 16);
	asked.labels.retry_count = 2;
	r = finish(&o, &e);
	assert_string_equal(r.user, "ann");
	assert_string_equal(r.team, "search");
	assert_string_equal(r.cost_center, "cc-7");
	assert_string_equal(r.session, "s-1");
	assert_string_equal(r.feature, "f");
	assert_string_equal(r.client_request_id, "req-1");
	assert_memory_equal(r.trace_id, asked.labels.trace_id, 16);
	assert_int_equal(r.retry_count, 2);
	assert_false(r.flags & WEIR_ROW_TRUSTED);
	asked.labels.trusted = 1;
	assert_true(finish(&o, &e).flags & WEIR_ROW_TRUSTED);
}

static void the_answers_own_request_id_is_the_better_one(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e, with_line("x-request-id: of-the-server"));
	strcpy(asked.labels.request_id, "of-the-client");
	assert_string_equal(finish(&o, &e).client_request_id, "of-the-server");
	answer(&o, &e, with_line("x-other: of-the-server"));
	strcpy(asked.labels.request_id, "of-the-client");
	assert_string_equal(finish(&o, &e).client_request_id, "of-the-client");
}

static void the_bodys_own_words_stand_in_for_what_rules_read(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, ok(BODY, 0));
	strcpy(asked.text.model, "llama-9");
	asked.text.max_tokens = 77;
	r = finish(&o, &e);
	assert_string_equal(r.model_requested, "llama-9");
	assert_int_equal(r.max_tokens_requested, 77);
	strcpy(asked.body.model, "llama-8");
	asked.body.max_tokens = 66;
	r = finish(&o, &e);
	assert_string_equal(r.model_requested, "llama-8");
	assert_int_equal(r.max_tokens_requested, 66);
	/* Rules that change a body change what the server, and the scan, read of it. */
	asked.body.model[0] = 0;
	asked.body.max_tokens = WEIR_UNKNOWN;
	asked.body.flags = WEIR_BODY_MODEL_REPLACED | WEIR_BODY_TOKENS_CUT;
	r = finish(&o, &e);
	assert_string_equal(r.model_requested, "");
	assert_int_equal(r.max_tokens_requested, WEIR_UNKNOWN);
}

static void version_and_coding_of_the_answer_are_in_the_row(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e,
	       ok("{\"model\":\"llama-3\",\"system_fingerprint\":\"fp_1\",\"choices\":[],"
		  "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}",
		  0));
	assert_string_equal(finish(&o, &e).model_version, "fp_1");
	answer(&o, &e, with_line("content-encoding: br"));
	assert_true(finish(&o, &e).flags2 & WEIR_ROW_ENCODED);
}

/* What is known of either is kept when the other's record was lost. */
static void a_lost_parser_does_not_lose_who_asked(void **state)
{
	struct weir_finish_with with = { .terms = &terms };
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, ok(BODY, 0));
	strcpy(asked.labels.user, "ann");
	weir_finish(NULL, &asked, &e, &with, &r);
	assert_string_equal(r.user, "ann");
	assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
	assert_true(r.flags & WEIR_ROW_LOST_BYTES);
	assert_int_equal(weir_pricing_new(services, 3, &with.pricing, NULL), 0);
	weir_finish(&o, NULL, &e, &with, &r);
	assert_string_equal(r.user, "");
	assert_int_equal(r.usage.output, 4);
	assert_int_equal(r.request_bytes, UINT64_MAX);
	weir_pricing_free(with.pricing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_free_retry_is_an_event_without_a_price),
		cmocka_unit_test(a_cache_hit_is_free_where_the_tier_says_so),
		cmocka_unit_test(an_error_is_not_free_for_a_reason),
		cmocka_unit_test(only_what_broke_off_and_was_paid_may_come_again_for_nothing),
		cmocka_unit_test(labels_are_in_the_row),
		cmocka_unit_test(the_answers_own_request_id_is_the_better_one),
		cmocka_unit_test(the_bodys_own_words_stand_in_for_what_rules_read),
		cmocka_unit_test(version_and_coding_of_the_answer_are_in_the_row),
		cmocka_unit_test(a_lost_parser_does_not_lose_who_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
