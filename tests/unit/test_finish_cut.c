// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about answers that are not whole: what one that was cut or broke off is billed,
 * and what one that is still running has cost.
 */
#include "tests/unit/finish_fixture.h"

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
	struct weir_runs runs = { .tenant = e.tenant };
	struct weir_finish_with with = { .terms = &terms };
	struct weir_card *card = NULL;
	struct weir_open o;
	int64_t sum = 0;

	e.h.flags = WEIR_END_CUT;
	assert_int_equal(weir_card_parse(card_json, "test", &card, NULL), 0);
	assert_int_equal(weir_pricing_new(services, 3, &with.pricing, NULL), 0);
	weir_pricing_set(with.pricing, &card, 1, 1);
	for (size_t i = 0; i < 2 * sizeof(texts) / sizeof(texts[0]); i++) {
		int64_t cost;

		runs.degraded = i & 1;
		answer(&o, &e, texts[i / 2]);
		strcpy(asked.body.model, "llama-2");
		o.started_wall_ns = e.started_wall_ns;
		e.flags = runs.degraded ? WEIR_SLOT_DEGRADED : 0;
		cost = weir_cost_so_far(&o, &asked, &runs, &with);
		if (i >= 2) /* a head alone is no answer yet */
			assert_int_equal(cost, finish(&o, &e).price_nano);
		sum += cost;
	}
	assert_true(sum > 0);
	o.started_wall_ns = 1; /* before any card */
	assert_int_equal(weir_cost_so_far(&o, &asked, &runs, &with), 0);
	weir_pricing_free(with.pricing);
	weir_card_free(card);
}

/* A session is paid once, whatever its answers cost; seconds and requests are counted. */
static void what_an_answer_has_cost_is_without_its_session(void **state)
{
	static const char json[] =
		"{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\",\"models\":["
		"{\"match\":\"default\",\"price\":{\"output\":\"1\",\"session\":\"50\","
		"\"request\":\"100\",\"second\":\"1000\"}}]}";
	struct weir_rec_end e = end_record();
	struct weir_runs runs = { .tenant = e.tenant, .for_ns = 1500000000 };
	struct weir_finish_with with = { .terms = &terms };
	struct weir_card *card = NULL;
	struct weir_open o;

	assert_int_equal(weir_card_parse(json, "test", &card, NULL), 0);
	assert_int_equal(weir_pricing_new(services, 3, &with.pricing, NULL), 0);
	weir_pricing_set(with.pricing, &card, 1, 1);
	answer(&o, &e, HEAD START WORD WORD);
	o.started_wall_ns = e.started_wall_ns;
	assert_int_equal(weir_cost_so_far(&o, &asked, &runs, &with), INT64_C(1602000000000));
	weir_pricing_free(with.pricing);
	weir_card_free(card);
}

static void counts_move_with_events_and_with_usage(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open a, b;

	answer(&a, &e, HEAD START WORD);
	b = a;
	assert_false(weir_counts_moved(&a, &b));
	weir_response_feed(&b.response, NULL, ": ping\n\n", 8);
	assert_false(weir_counts_moved(&a, &b));
	weir_response_feed(&b.response, NULL, WORD, strlen(WORD));
	assert_true(weir_counts_moved(&a, &b));
	answer(&a, &e, HEAD);
	answer(&b, &e, HEAD START);
	assert_true(weir_counts_moved(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_that_was_cut_is_not_whole),
		cmocka_unit_test(a_stream_that_broke_off_is_billed_for_its_events),
		cmocka_unit_test(what_an_answer_has_cost_is_what_a_cut_one_pays),
		cmocka_unit_test(what_an_answer_has_cost_is_without_its_session),
		cmocka_unit_test(counts_move_with_events_and_with_usage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
