// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what a finished request becomes.
 */
#include "tests/unit/finish_fixture.h"

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
	strcpy(asked.body.model, "gpt-huge");
	asked.body.flags = WEIR_BODY_MODEL_REPLACED | WEIR_BODY_TOKENS_CUT;
	asked.body.max_tokens = 9000;
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
	strcpy(asked.body.model, "llama-2");
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
	strcpy(asked.body.model, "llama-2");
	asked.body.flags = WEIR_BODY_MODEL_REPLACED; /* alone says it, whatever the slot said */
	struct weir_row r = finish(&o, &e);

	assert_string_equal(r.model_requested, "llama-2");
	assert_string_equal(r.model, "");
	assert_int_equal(r.price_nano, 0);
	assert_true(r.flags & WEIR_ROW_UNPRICED);
	assert_true(r.flags & WEIR_ROW_DEGRADED);
	asked.body.flags = 0; /* the record that says so was lost: the slot's flag is enough */
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
	memset(asked.method, 0, sizeof(asked.method));
	memset(asked.path, 0, sizeof(asked.path));
	asked.method[0] = asked.path[0] = '-';
	asked.body_bytes = 0;
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.flags, WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_UNJUDGED);
	assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
	assert_string_equal(r.method, "-");
	assert_string_equal(r.path, "-");
	assert_int_equal(r.request_bytes, UINT64_MAX);

	/* No usage in it: output is counted, of the input nothing is known. */
	answer(&o, &e, ok("{\"model\":\"llama-3\",\"choices\":[{}]}", 0));
	asked.body_bytes = 0;
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

static void cached_tokens_weigh_what_the_tier_says(void **state)
{
	struct weir_row row = { .usage = { .input = 10,
					   .cache_read = 3,
					   .cache_write = 2,
					   .output = WEIR_UNKNOWN,
					   .reasoning = 1 },
				.audio = WEIR_UNKNOWN,
				.image = WEIR_UNKNOWN };

	assert_int_equal(weir_counted_tokens(&row, 0), 13);
	assert_int_equal(weir_counted_tokens(&row, 1000000), 16);
	assert_int_equal(weir_counted_tokens(&row, 500000), 15); /* 1.5, rounded up */
	row.audio = 100; /* taken out of the input, and tokens like others */
	row.image = 20;
	assert_int_equal(weir_counted_tokens(&row, 1000000), 136);
}

/* ----------------------------------------------------------- by what a card asks for */

#define CARD(fields, models)                                                                       \
	"{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\"," fields                   \
	"\"models\":[" models "]}"
#define PLAIN "HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

/* Of an answer that names no model and has no tokens, to a path that is no model's. */
static struct weir_row plain(int status, const char *card)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;
	char text[128];

	snprintf(text, sizeof(text), PLAIN, status);
	answer(&o, &e, text);
	memcpy(asked.path, "/v1/files/7 HTTP/1.1\r\n", 23);
	return finish_by(card, &o, &e);
}

static void what_has_no_tokens_is_priced_by_its_path_alone(void **state)
{
	struct weir_row r = plain(200, CARD("", "{\"match\":\"default\","
						"\"price\":{\"request\":\"1\"}}"));

	assert_int_equal(r.usage_source, WEIR_USAGE_NONE);
	assert_int_equal(r.card_id, 0);
	assert_int_equal(r.flags & (WEIR_ROW_BILLABLE | WEIR_ROW_UNPRICED), WEIR_ROW_BILLABLE);
	r = plain(200, CARD("", "{\"match\":\"default\",\"price\":{\"request\":\"1\"}},"
				"{\"path\":\"/v1/files/*\",\"unit\":\"report\","
				"\"price\":{\"request\":\"5\"}}"));
	assert_int_equal(r.card_id, 1);
	assert_int_equal(r.card_entry, 1);
	assert_int_equal(r.price_nano, 5000000000);
	assert_false(r.flags & WEIR_ROW_UNPRICED);
	/* A credit a call, whatever it is. */
	r = plain(200, CARD("", "{\"path\":\"*\",\"price\":{\"request\":\"1\"}}"));
	assert_int_equal(r.price_nano, 1000000000);
	/* Nobody has a price for it, and nobody misses one. */
	r = plain(200, CARD("", "{\"path\":\"/other\",\"price\":{\"request\":\"5\"}}"));
	assert_false(r.flags & WEIR_ROW_UNPRICED);
}

static void an_error_costs_what_a_card_says_of_its_status(void **state)
{
	static const char any[] = CARD("", "{\"path\":\"/v1/*\",\"price\":{\"request\":\"5\"}}");
	static const char some[] = CARD("", "{\"match\":\"default\",\"status\":\"4xx\","
					    "\"price\":{\"request\":\"5\"}}");

	assert_true(plain(200, any).flags & WEIR_ROW_BILLABLE);
	assert_int_equal(plain(302, any).price_nano, 5000000000);
	assert_false(plain(404, any).flags & WEIR_ROW_BILLABLE);
	assert_int_equal(plain(404, any).price_nano, 0);
	assert_true(plain(404, some).flags & WEIR_ROW_BILLABLE);
	assert_int_equal(plain(404, some).price_nano, 5000000000);
	assert_false(plain(503, some).flags & WEIR_ROW_BILLABLE);
	assert_false(plain(503, some).flags & WEIR_ROW_UNPRICED);
}

static void tenant_tier_and_service_choose_the_card(void **state)
{
	static const struct {
		const char *fields;
		bool prices;
	} cases[] = {
		{ "\"tenants\":[\"acme\"],", true },  { "\"tenants\":[\"beta\"],", false },
		{ "\"tiers\":[\"pro\"],", true },     { "\"tiers\":[\"free\"],", false },
		{ "\"services\":[\"llm\"],", false }, { "\"services\":[\"embed\"],", true },
	};
	struct weir_rec_end e = end_record();
	struct weir_open o;
	char card[512];

	e.h.service = 2;
	answer(&o, &e, ok(BODY, 0));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(card, sizeof(card),
			 CARD("%s", "{\"match\":\"*\",\"price\":{\"input\":\"1\"}}"),
			 cases[i].fields);
		struct weir_row r = finish_by(card, &o, &e);

		assert_int_equal(!(r.flags & WEIR_ROW_UNPRICED), cases[i].prices);
		assert_int_equal(r.price_nano, cases[i].prices ? 10000000000 : 0);
	}
}

/* 10 x 1 + 4 x 2, of which the tier has a tenth off; and a session that may be new. */
static void a_provisional_price_is_the_dearest_with_the_discount(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, ok(BODY, 0));
	r = finish_by(CARD("\"discounts\":{\"pro\":\"0.1\"},",
			   "{\"match\":\"*\",\"price\":{\"input\":\"1\",\"session\":\"100\","
			   "\"output\":{\"steps\":[{\"up_to\":1,\"price\":\"1\"},"
			   "{\"price\":\"2\"}]}},\"cost\":{\"input\":\"0.5\"}}"),
		      &o, &e);
	assert_int_equal(r.discount_milli, 100);
	assert_int_equal(r.price_nano, 106200000000);
	assert_int_equal(r.cost_nano, 5000000000);
}

static void audio_and_images_are_told_apart_from_the_input(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e,
	       ok("{\"model\":\"llama-3\",\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{"
		  "\"prompt_tokens\":100,\"completion_tokens\":4,\"prompt_tokens_details\":{"
		  "\"cached_tokens\":10,\"audio_tokens\":20,\"image_tokens\":30}}}",
		  0));
	r = finish(&o, &e);
	assert_int_equal(r.usage.input, 40);
	assert_int_equal(r.usage.cache_read, 10);
	assert_int_equal(r.audio, 20);
	assert_int_equal(r.image, 30);
	assert_int_equal(r.price_nano, 100 * 500000 + 4 * 1500000);
	answer(&o, &e, ok(BODY, 0));
	assert_int_equal(finish(&o, &e).audio, WEIR_UNKNOWN);
	assert_int_equal(finish(NULL, &e).image, WEIR_UNKNOWN);
}

static void what_was_said_of_a_request_is_kept_with_who_said_it(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, ok(BODY, 0));
	assert_string_equal(finish(&o, &e).session, "");
	assert_false(finish(&o, &e).flags & WEIR_ROW_TRUSTED);
	strcpy(asked.labels.session, "s-1");
	strcpy(asked.labels.feature, "search");
	r = finish(&o, &e);
	assert_string_equal(r.session, "s-1");
	assert_string_equal(r.feature, "search");
	assert_false(r.flags & WEIR_ROW_TRUSTED);
	asked.labels.trusted = 1;
	assert_true(finish(&o, &e).flags & WEIR_ROW_TRUSTED);
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
		cmocka_unit_test(cached_tokens_weigh_what_the_tier_says),
		cmocka_unit_test(what_has_no_tokens_is_priced_by_its_path_alone),
		cmocka_unit_test(an_error_costs_what_a_card_says_of_its_status),
		cmocka_unit_test(tenant_tier_and_service_choose_the_card),
		cmocka_unit_test(a_provisional_price_is_the_dearest_with_the_discount),
		cmocka_unit_test(audio_and_images_are_told_apart_from_the_input),
		cmocka_unit_test(what_was_said_of_a_request_is_kept_with_who_said_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
