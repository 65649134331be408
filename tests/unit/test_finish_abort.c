// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about answers whose client left: what each kind of `abort` makes of them.
 */
#include "tests/unit/finish_fixture.h"

#define STREAM "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
#define WORD   "data: {\"model\":\"llama-3\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
#define FINISH                                                                                     \
	"data: "                                                                                   \
	"{\"model\":\"llama-3\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"

#define GUESSED (WEIR_ROW_INPUT_GUESSED | WEIR_ROW_OUTPUT_GUESSED)

static struct weir_finish_with with(const struct weir_terms *t)
{
	return (struct weir_finish_with){ .terms = t };
}

static const struct weir_terms produced = {
	.name = "acme", .tier = "pro", .abort = WEIR_ABORT_PRODUCED, .reserve_output_tokens = 500
};
static const struct weir_terms full = {
	.name = "acme", .tier = "pro", .abort = WEIR_ABORT_FULL, .reserve_output_tokens = 500
};
static const struct weir_terms nothing = {
	.name = "acme", .tier = "pro", .abort = WEIR_ABORT_FREE, .reserve_output_tokens = 500
};

static struct weir_rec_end left_record(void)
{
	struct weir_rec_end e = end_record();

	e.h.flags = WEIR_END_CLOSE;
	e.flags = WEIR_SLOT_LEFT;
	return e;
}

static struct weir_row left(const struct weir_terms *t, const char *text)
{
	struct weir_rec_end e = left_record();
	struct weir_open o;

	answer(&o, &e, text);
	return finish_as(card_json, &o, &e, with(t));
}

static void what_had_come_is_billed(void **state)
{
	struct weir_row r = left(&produced, STREAM WORD WORD);

	assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
	assert_int_equal(r.usage.output, 2);
	assert_int_equal(r.flags2, GUESSED | WEIR_ROW_LEFT);
	assert_int_equal(r.price_nano, 20 * 500000 + 2 * 1500000);
	assert_true(r.flags & WEIR_ROW_BILLABLE);
	assert_false(weir_finish_broke_off(&r));
}

/* The head alone: the server may not have begun. */
static void of_a_head_alone_nothing_is_guessed(void **state)
{
	struct weir_row r = left(&produced, STREAM);

	assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
	assert_int_equal(r.usage.input, WEIR_UNKNOWN);
	assert_int_equal(r.price_nano, 0);
	assert_int_equal(r.flags2, WEIR_ROW_LEFT);
}

static void full_is_what_was_asked_for(void **state)
{
	struct weir_rec_end e = left_record();
	struct weir_terms t = full;
	struct weir_open o;
	struct weir_row r;

	r = left(&full, STREAM WORD WORD);
	assert_int_equal(r.usage.output, 500); /* nobody said how much */
	assert_int_equal(r.flags2, GUESSED | WEIR_ROW_LEFT | WEIR_ROW_ABORT_FULL);
	answer(&o, &e, STREAM WORD WORD);
	asked.text.max_tokens = 100;
	assert_int_equal(finish_as(card_json, &o, &e, with(&t)).usage.output, 100);
	asked.text.choices = 3;
	assert_int_equal(finish_as(card_json, &o, &e, with(&t)).usage.output, 300);
	t.max_output_tokens = 40;
	assert_int_equal(finish_as(card_json, &o, &e, with(&t)).usage.output, 120);
	/* What rules read is what was asked for, before it was lowered to the limit. */
	asked.body.max_tokens = 9000;
	asked.body.flags = WEIR_BODY_TOKENS_CUT;
	asked.text.choices = WEIR_UNKNOWN;
	r = finish_as(card_json, &o, &e, with(&t));
	assert_int_equal(r.max_tokens_requested, 9000);
	assert_int_equal(r.usage.output, 40);
	/* And never less than what came. */
	asked.body.max_tokens = 1;
	assert_int_equal(finish_as(card_json, &o, &e, with(&t)).usage.output, 2);
	/* Before a byte of the body, too: the model was asked for. */
	answer(&o, &e, STREAM);
	strcpy(asked.text.model, "llama-3");
	r = finish_as(card_json, &o, &e, with(&full));
	assert_int_equal(r.usage.output, 500);
	assert_int_equal(r.price_nano, 20 * 500000 + 500 * 1500000);
}

/* Else it had no price, and who asks for the most paid nothing. */
static void nobody_asks_for_more_than_there_is(void **state)
{
	static const int64_t most[] = { INT64_MAX, INT64_C(1) << 40, (1 << 20) + 1 };
	struct weir_rec_end e = left_record();
	struct weir_open o;

	for (size_t i = 0; i < 2 * sizeof(most) / sizeof(*most); i++) {
		struct weir_row r;

		answer(&o, &e, STREAM WORD);
		asked.text.max_tokens = most[i / 2];
		asked.text.choices = i & 1 ? most[i / 2] : WEIR_UNKNOWN;
		r = finish_as(card_json, &o, &e, with(&full));
		assert_int_equal(r.usage.output, 1 << 20);
		assert_int_equal(r.flags & WEIR_ROW_UNPRICED, 0);
		assert_true(r.price_nano > 0);
	}
}

static void free_is_an_event_without_a_price(void **state)
{
	struct weir_row r = left(&nothing, STREAM WORD WORD);

	assert_int_equal(r.usage.output, 2);
	assert_int_equal(r.price_nano, 0);
	assert_int_equal(r.flags & (WEIR_ROW_BILLABLE | WEIR_ROW_UNPRICED), 0);
	assert_int_equal(r.flags2, GUESSED | WEIR_ROW_LEFT | WEIR_ROW_ABORT_FREE);
}

/* SDKs close at "[DONE]", and are not there for the framing's last chunk. */
static void who_leaves_when_the_model_is_done_has_had_it_all(void **state)
{
	const struct weir_terms *const all[] = { &produced, &full, &nothing };

	for (size_t i = 0; i < 3; i++) {
		struct weir_row r = left(all[i], STREAM WORD WORD FINISH DONE);

		assert_int_equal(r.usage.output, 2);
		assert_int_equal(r.flags2, GUESSED | WEIR_ROW_LEFT);
		assert_int_equal(r.price_nano, 20 * 500000 + 2 * 1500000);
	}
}

/* Of two answers one is done. */
static void of_several_answers_one_is_not_all(void **state)
{
	struct weir_rec_end e = left_record();
	struct weir_open o;

	answer(&o, &e, STREAM WORD FINISH WORD);
	asked.text.choices = 2;
	assert_true(finish_as(card_json, &o, &e, with(&nothing)).flags2 & WEIR_ROW_ABORT_FREE);
}

/* A half-closed connection: the answer came whole all the same. */
static void a_whole_answer_was_not_left(void **state)
{
	struct weir_rec_end e = left_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, ok(BODY, 0));
	r = finish_as(card_json, &o, &e, with(&nothing));
	assert_int_equal(r.usage_source, WEIR_USAGE_REPORTED);
	assert_int_equal(r.flags2, 0);
	assert_int_equal(r.price_nano, 10 * 500000 + 4 * 1500000);
}

/* That the server broke it off, or we did, is not the client's leaving. */
static void what_was_cut_is_billed_for_what_came(void **state)
{
	static const int causes[] = { WEIR_END_CUT, WEIR_END_REFUSED };
	struct weir_rec_end e = left_record();
	struct weir_open o;

	for (size_t i = 0; i < 2; i++) {
		struct weir_row r;

		e.h.flags = causes[i];
		answer(&o, &e, STREAM WORD WORD);
		r = finish_as(card_json, &o, &e, with(&nothing));
		assert_int_equal(r.flags2, GUESSED);
		assert_int_equal(r.price_nano, 20 * 500000 + 2 * 1500000);
		assert_int_equal(finish_as(card_json, &o, &e, with(&full)).usage.output, 2);
	}
}

/* A page, a file, the server's own figures: nobody produced anything. */
static void what_no_model_made_is_not_billed_in_full(void **state)
{
	static const struct {
		const char *kind, *method, *path;
	} cases[] = {
		{ "text/html", "POST ", "/v1/chat/completions" },
		{ "text/plain", "GET ", "/metrics" },
		{ "text/plain", "POST ", "/tokenize" },
		{ "application/octet-stream", "GET ", "/v1/files/7" },
	};
	const struct weir_terms *const all[] = { &full, &produced };

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		struct weir_rec_end e = left_record();
		struct weir_open o;
		struct weir_row r;
		char text[256];

		snprintf(text, sizeof(text),
			 "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: 100\r\n\r\nhello",
			 cases[i / 2].kind);
		answer(&o, &e, text);
		ask_for(cases[i / 2].method, cases[i / 2].path);
		if (strstr(cases[i / 2].path, "tokenize"))
			strcpy(asked.text.model, "llama-3");
		r = finish_as(card_json, &o, &e, with(all[i & 1]));
		assert_int_equal(r.usage.output, WEIR_UNKNOWN);
		assert_int_equal(r.flags2, WEIR_ROW_LEFT);
		assert_int_equal(r.price_nano, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_had_come_is_billed),
		cmocka_unit_test(of_a_head_alone_nothing_is_guessed),
		cmocka_unit_test(full_is_what_was_asked_for),
		cmocka_unit_test(nobody_asks_for_more_than_there_is),
		cmocka_unit_test(free_is_an_event_without_a_price),
		cmocka_unit_test(who_leaves_when_the_model_is_done_has_had_it_all),
		cmocka_unit_test(of_several_answers_one_is_not_all),
		cmocka_unit_test(a_whole_answer_was_not_left),
		cmocka_unit_test(what_was_cut_is_billed_for_what_came),
		cmocka_unit_test(what_no_model_made_is_not_billed_in_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
