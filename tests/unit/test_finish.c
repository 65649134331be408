// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what a finished request becomes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/finish.h"

static const char card_json[] = "{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\","
				"\"models\":[{\"match\":\"llama*\","
				"\"price\":{\"input\":\"0.5\",\"output\":\"1.5\",\"per\":1000}}]}";

static const struct weir_terms terms = { .name = "acme", .live = true, .credit = WEIR_CREDIT_HARD };

static struct weir_rec_end end_record(void)
{
	return (struct weir_rec_end){
		.h = { .type = WEIR_REC_END,
		       .flags = WEIR_END_RESPONSE,
		       .slot = 5,
		       .ordinal = 2,
		       .time_ns = 3000 },
		.started_ns = 1000,
		.started_wall_ns = UINT64_C(1795000000000000000),
		.reserved_nano = 9,
		.tenant = 4,
		.wallet = 4,
	};
}

static void answer(struct weir_open *o, struct weir_rec_end *e, const char *text)
{
	memset(o, 0, sizeof(*o));
	strcpy(o->method, "POST /v");
	memcpy(o->path, "/v1/chat/completions?x=1 HTTP/1.1\r\n", 36);
	o->body_bytes = 80;
	weir_body_init(&o->body);
	weir_response_init(&o->response, false);
	weir_response_feed(&o->response, text, strlen(text));
	o->offset = e->response_bytes = strlen(text);
}

static struct weir_row finish(const struct weir_open *o, const struct weir_rec_end *e)
{
	struct weir_card *card = NULL;
	struct weir_error err;
	struct weir_row row;

	if (weir_card_parse(card_json, "test", &card, &err))
		fail_msg("%s", err.text);
	card->id = 1;
	weir_finish(o, e, &terms, &card, 1, 0xabcd, &row);
	weir_card_free(card);
	return row;
}

/* A whole answer with this body; `more` bytes of it do not come. */
static const char *ok(const char *body, int more)
{
	static char text[1024];

	snprintf(text, sizeof(text),
		 "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
		 "%zu\r\n\r\n%s",
		 strlen(body) + more, body);
	return text;
}

#define BODY                                                                                       \
	"{\"id\":\"chatcmpl-1\",\"model\":\"llama-3\",\"choices\":[{\"finish_reason\":\"stop\"}]," \
	"\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":4,\"total_tokens\":14}}"

static void a_reported_answer_is_priced(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e, ok(BODY, 0));
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.status, 200);
	assert_int_equal(r.usage_source, WEIR_USAGE_REPORTED);
	assert_int_equal(r.usage.input, 10);
	assert_int_equal(r.usage.output, 4);
	assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
	assert_int_equal(r.flags, WEIR_ROW_BILLABLE | WEIR_ROW_POSTED);
	assert_string_equal(r.method, "POST");
	assert_string_equal(r.path, "/v1/chat/completions");
	assert_int_equal(r.ended_wall_ns - r.started_wall_ns, 2000);
}

static void done_twice_it_is_the_same_row(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e, ok(BODY, 0));
	struct weir_row a = finish(&o, &e), b = finish(&o, &e);

	assert_memory_equal(&a, &b, sizeof(a));
}

static void ids_sort_by_start_and_tell_requests_apart(void **state)
{
	struct weir_id a, b, c, d;

	weir_request_id(100, 1, 9, 9, &a);
	weir_request_id(101, 1, 0, 0, &b);
	weir_request_id(101, 1, 0, 1, &c);
	weir_request_id(101, 1, 1, 0, &d);
	assert_true(memcmp(&a, &b, sizeof(a)) < 0);
	assert_true(memcmp(&b, &c, sizeof(a)) < 0);
	assert_true(memcmp(&c, &d, sizeof(a)) < 0);
}

static void an_error_costs_nothing(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e, "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.status, 500);
	assert_int_equal(r.price_nano, 0);
	assert_int_equal(r.flags & WEIR_ROW_BILLABLE, 0);
	assert_int_equal(r.reserved_nano, 9); /* given back all the same */
}

static void no_answer_at_all_costs_nothing(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	e.h.flags = WEIR_END_CLOSE;
	answer(&o, &e, "");
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.status, 0);
	assert_int_equal(r.price_nano, 0);
}

static void an_unknown_model_is_marked_and_not_guessed(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e,
	       ok("{\"model\":\"other\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,"
		  "\"completion_tokens\":1}}",
		  0));
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.price_nano, 0);
	assert_true(r.flags & WEIR_ROW_UNPRICED);
}

static void a_lost_request_record_is_partial_and_releases_its_reservation(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_row r = finish(NULL, &e);

	assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
	assert_int_equal(r.reserved_nano, 9);
	assert_int_equal(r.usage.output, WEIR_UNKNOWN);
}

static void bytes_that_were_never_shipped_make_it_partial(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e, ok(BODY, 1000));
	e.response_bytes += 1000;
	e.lost_bytes = 1000;
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
	assert_true(r.flags & WEIR_ROW_LOST_BYTES);
}

#define NAMELESS                                                                                   \
	"{\"choices\":[{\"finish_reason\":\"stop\"}],"                                             \
	"\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":4,\"total_tokens\":14}}"

static void the_model_that_answered_is_paid_not_the_one_asked_for(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	e.flags = WEIR_SLOT_DEGRADED;
	answer(&o, &e, ok(BODY, 0));
	strcpy(o.body.model, "gpt-huge");
	o.body.flags = WEIR_BODY_MODEL_REPLACED | WEIR_BODY_TOKENS_CUT;
	o.body.max_tokens = 9000;
	struct weir_row r = finish(&o, &e);

	assert_string_equal(r.model_requested, "gpt-huge");
	assert_string_equal(r.model, "llama-3");
	assert_int_equal(r.max_tokens_requested, 9000);
	assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
	assert_int_equal(r.flags, WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_DEGRADED |
					  WEIR_ROW_TOKENS_CUT);
}

static void an_answer_that_names_no_model_came_from_the_one_asked_for(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e, ok(NAMELESS, 0));
	strcpy(o.body.model, "llama-2");
	struct weir_row r = finish(&o, &e);

	assert_string_equal(r.model, "llama-2");
	assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
	assert_int_equal(r.flags & (WEIR_ROW_UNPRICED | WEIR_ROW_DEGRADED), 0);
}

/* Unless that one was replaced: its price is not the price of what answered. */
static void a_replaced_model_is_never_paid(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e, ok(NAMELESS, 0));
	strcpy(o.body.model, "llama-2");
	o.body.flags = WEIR_BODY_MODEL_REPLACED; /* alone says it, whatever the slot said */
	struct weir_row r = finish(&o, &e);

	assert_string_equal(r.model_requested, "llama-2");
	assert_string_equal(r.model, "");
	assert_int_equal(r.price_nano, 0);
	assert_true(r.flags & WEIR_ROW_UNPRICED);
	assert_true(r.flags & WEIR_ROW_DEGRADED);
	o.body.flags = 0; /* the record that says so was lost: the slot's flag is enough */
	e.flags = WEIR_SLOT_DEGRADED;
	r = finish(&o, &e);
	assert_string_equal(r.model, "");
	assert_int_equal(r.price_nano, 0);
}

static void an_unjudged_answer_is_paid_and_its_request_is_not_guessed(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	e.flags = WEIR_SLOT_UNJUDGED;
	answer(&o, &e, ok(BODY, 0));
	memset(o.method, 0, sizeof(o.method));
	memset(o.path, 0, sizeof(o.path));
	o.method[0] = o.path[0] = '-';
	o.body_bytes = 0;
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.flags, WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_UNJUDGED);
	assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
	assert_string_equal(r.method, "-");
	assert_string_equal(r.path, "-");
	assert_int_equal(r.request_bytes, UINT64_MAX);

	/* No usage in it: output is counted, of the input nothing is known. */
	answer(&o, &e, ok("{\"model\":\"llama-3\",\"choices\":[{}]}", 0));
	o.body_bytes = 0;
	r = finish(&o, &e);
	assert_int_equal(r.usage_source, WEIR_USAGE_ESTIMATED);
	assert_int_equal(r.usage.input, WEIR_UNKNOWN);
}

static void a_request_refused_in_its_body_leaves_no_row(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	e.h.flags = WEIR_END_REFUSED;
	answer(&o, &e, "");
	struct weir_row r = finish(&o, &e);

	assert_false(weir_finish_leaves_row(&r));
	assert_int_equal(r.price_nano, 0);
	assert_int_equal(r.reserved_nano, 9); /* to be given back */
	/* The server asked for the body, or refused it by itself: that is no answer to pay. */
	answer(&o, &e, "HTTP/1.1 100 Continue\r\n\r\n");
	r = finish(&o, &e);
	assert_false(weir_finish_leaves_row(&r));
	answer(&o, &e, "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n");
	r = finish(&o, &e);
	assert_false(weir_finish_leaves_row(&r));
	r = finish(NULL, &e); /* its first record was lost */
	assert_false(weir_finish_leaves_row(&r));
}

/* Else whoever sends a bad tail late enough would have the answer for nothing. */
static void what_was_answered_before_the_refusal_is_paid(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	e.h.flags = WEIR_END_REFUSED;
	answer(&o, &e, ok(BODY, 5));
	struct weir_row r = finish(&o, &e);

	assert_true(weir_finish_leaves_row(&r));
	assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
	assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
}

/* ------------------------------------------------------------------ cut short */

#define HEAD "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
#define WORD "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"x\"}}\n\n"
#define START                                                                                      \
	"data: {\"type\":\"message_start\",\"message\":{\"model\":\"llama-3\","                    \
	"\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n"

/* The same bytes are a whole answer where the server closed, and half of one where it was cut. */
static void an_answer_that_was_cut_is_not_whole(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" BODY;
	struct weir_rec_end e = end_record();
	struct weir_open o;

	e.h.flags = WEIR_END_CLOSE;
	answer(&o, &e, text);
	assert_int_equal(finish(&o, &e).usage_source, WEIR_USAGE_REPORTED);
	e.h.flags = WEIR_END_CUT;
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
	assert_int_equal(r.end_cause, WEIR_END_CUT);
	assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
	assert_true(r.flags & WEIR_ROW_BILLABLE);
}

/* Anthropic's first event says 1 token of output; what came after it is not free. */
static void a_stream_that_broke_off_is_billed_for_its_events(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	for (e.h.flags = WEIR_END_NEXT; e.h.flags <= WEIR_END_CUT; e.h.flags++) {
		if (e.h.flags == WEIR_END_REFUSED)
			continue;
		answer(&o, &e, HEAD START WORD WORD WORD);
		struct weir_row r = finish(&o, &e);

		assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
		assert_int_equal(r.usage.input, 10);
		assert_int_equal(r.usage.output, 3);
		assert_int_equal(r.price_nano, 10 * 500000 + 3 * 1500000);
	}
	/* What the server counted last holds where it is more. */
	e.h.flags = WEIR_END_CUT;
	answer(&o, &e,
	       HEAD START WORD WORD "data: {\"type\":\"message_delta\",\"usage\":"
				    "{\"output_tokens\":17}}\n\n");
	assert_int_equal(finish(&o, &e).usage.output, 17);
}

/* It costs what its row will say if it is cut now. */
static void what_an_answer_has_cost_is_what_a_cut_one_pays(void **state)
{
	static const char *const texts[] = {
		HEAD,
		HEAD START,
		HEAD START WORD,
		HEAD START WORD WORD WORD,
		HEAD
		"data: {\"model\":\"llama-3\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
		HEAD
		"data: {\"model\":\"other\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
		HEAD "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
		"HTTP/1.1 500 Oops\r\ncontent-type: text/event-stream\r\n\r\n" START WORD,
	};
	struct weir_rec_end e = end_record();
	struct weir_card *card = NULL;
	struct weir_open o;
	int64_t sum = 0;

	e.h.flags = WEIR_END_CUT;
	assert_int_equal(weir_card_parse(card_json, "test", &card, NULL), 0);
	for (size_t i = 0; i < 2 * sizeof(texts) / sizeof(texts[0]); i++) {
		bool degraded = i & 1;
		int64_t cost;

		answer(&o, &e, texts[i / 2]);
		strcpy(o.body.model, "llama-2");
		o.started_wall_ns = e.started_wall_ns;
		e.flags = degraded ? WEIR_SLOT_DEGRADED : 0;
		cost = weir_cost_so_far(&o, degraded, &card, 1);
		if (i >= 2) /* a head alone is no answer yet */
			assert_int_equal(cost, finish(&o, &e).price_nano);
		sum += cost;
	}
	assert_true(sum > 0);
	o.started_wall_ns = 1; /* before any card */
	assert_int_equal(weir_cost_so_far(&o, false, &card, 1), 0);
	weir_card_free(card);
}

static void counts_move_with_events_and_with_usage(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open a, b;

	answer(&a, &e, HEAD START WORD);
	b = a;
	assert_false(weir_counts_moved(&a, &b));
	weir_response_feed(&b.response, ": ping\n\n", 8);
	assert_false(weir_counts_moved(&a, &b));
	weir_response_feed(&b.response, WORD, strlen(WORD));
	assert_true(weir_counts_moved(&a, &b));
	answer(&a, &e, HEAD);
	answer(&b, &e, HEAD START);
	assert_true(weir_counts_moved(&a, &b));
}

static void cached_tokens_weigh_what_the_tier_says(void **state)
{
	struct weir_usage u = { .input = 10,
				.cache_read = 3,
				.cache_write = 2,
				.output = WEIR_UNKNOWN,
				.reasoning = 1 };

	assert_int_equal(weir_counted_tokens(&u, 0), 13);
	assert_int_equal(weir_counted_tokens(&u, 1000000), 16);
	assert_int_equal(weir_counted_tokens(&u, 500000), 15); /* 1.5, rounded up */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reported_answer_is_priced),
		cmocka_unit_test(done_twice_it_is_the_same_row),
		cmocka_unit_test(ids_sort_by_start_and_tell_requests_apart),
		cmocka_unit_test(an_error_costs_nothing),
		cmocka_unit_test(no_answer_at_all_costs_nothing),
		cmocka_unit_test(an_unknown_model_is_marked_and_not_guessed),
		cmocka_unit_test(a_lost_request_record_is_partial_and_releases_its_reservation),
		cmocka_unit_test(bytes_that_were_never_shipped_make_it_partial),
		cmocka_unit_test(the_model_that_answered_is_paid_not_the_one_asked_for),
		cmocka_unit_test(an_answer_that_names_no_model_came_from_the_one_asked_for),
		cmocka_unit_test(a_replaced_model_is_never_paid),
		cmocka_unit_test(an_unjudged_answer_is_paid_and_its_request_is_not_guessed),
		cmocka_unit_test(a_request_refused_in_its_body_leaves_no_row),
		cmocka_unit_test(what_was_answered_before_the_refusal_is_paid),
		cmocka_unit_test(an_answer_that_was_cut_is_not_whole),
		cmocka_unit_test(a_stream_that_broke_off_is_billed_for_its_events),
		cmocka_unit_test(what_an_answer_has_cost_is_what_a_cut_one_pays),
		cmocka_unit_test(counts_move_with_events_and_with_usage),
		cmocka_unit_test(cached_tokens_weigh_what_the_tier_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
