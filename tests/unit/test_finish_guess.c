// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about counts that nobody reported.
 */
#include "tests/unit/finish_fixture.h"

#define STREAM "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
#define WORD   "data: {\"model\":\"llama-3\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"
#define FINISH                                                                                     \
	"data: "                                                                                   \
	"{\"model\":\"llama-3\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"

#define GUESSED (WEIR_ROW_INPUT_GUESSED | WEIR_ROW_OUTPUT_GUESSED)

/* 30 bytes of text. */
#define PLAIN                                                                                      \
	"{\"model\":\"llama-3\",\"choices\":[{\"message\":{\"content\":"                           \
	"\"abcdefghijklmnopqrstuvwxyz0123\"},\"finish_reason\":\"stop\"}]}"

static struct weir_finish_with with(const struct weir_terms *t)
{
	return (struct weir_finish_with){ .terms = t };
}

/* ---------------------------------------------------------------------- estimates */

static void a_stream_without_usage_has_a_token_an_event(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	e.h.flags = WEIR_END_CLOSE;
	answer(&o, &e, STREAM WORD WORD WORD FINISH DONE);
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.usage_source, WEIR_USAGE_ESTIMATED);
	assert_int_equal(r.usage.output, 3);
	assert_int_equal(r.usage.input, 20); /* 80 bytes by 4 */
	assert_int_equal(r.flags2, GUESSED);
	assert_int_equal(r.price_nano, 20 * 500000 + 3 * 1500000);
}

static void a_plain_answer_without_usage_is_measured_by_its_text(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e, ok(PLAIN, 0));
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.usage_source, WEIR_USAGE_ESTIMATED);
	assert_int_equal(r.usage.output, 7);
	assert_int_equal(r.usage.input, 20);
	assert_int_equal(r.flags2, GUESSED);
}

/* What is reported stays as it is, and only what is not is marked. */
static void counts_are_guessed_one_by_one(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e,
	       ok("{\"model\":\"llama3.2\",\"message\":{\"content\":\"hello\"},\"done\":true,"
		  "\"done_reason\":\"stop\",\"eval_count\":9}",
		  0));
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.usage_source, WEIR_USAGE_ESTIMATED);
	assert_int_equal(r.usage.output, 9);
	assert_int_equal(r.usage.input, 20);
	assert_int_equal(r.flags2, WEIR_ROW_INPUT_GUESSED);
	answer(&o, &e, ok(BODY, 0));
	assert_int_equal(finish(&o, &e).flags2, 0);
}

/* An explicit 0 is a count. */
static void nothing_reported_is_not_guessed_over(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;

	answer(&o, &e,
	       ok("{\"model\":\"llama-3\",\"choices\":[{\"message\":{\"content\":\"hello\"}}],"
		  "\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}",
		  0));
	struct weir_row r = finish(&o, &e);

	assert_int_equal(r.usage.input, 0);
	assert_int_equal(r.usage.output, 0);
	assert_int_equal(r.flags2, 0);
}

/* Else whoever asks for it in a form that cannot be read has it for nothing. */
static void what_a_model_made_is_metered_in_whatever_form(void **state)
{
	static const char *const made[] = { "/v1/embeddings", "/pooling", "/v1/audio/speech",
					    "/v1/chat/completions" };
	static const struct {
		const char *method, *path;
	} not_made[] = {
		{ "POST ", "/tokenize" },
		{ "POST ", "/detokenize" },
		{ "POST ", "/v1/messages/count_tokens" },
		{ "GET ", "/v1/models" },
		{ "GET ", "/v1/chat/completions" },
		{ "POST ", "/metrics" },
	};
	static const char vectors[] =
		"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
		"content-length: 9\r\n\r\n\1\2\3\4\5\6\7\10\11";
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++) {
		answer(&o, &e, vectors);
		ask_for("POST ", made[i]);
		r = finish(&o, &e);
		assert_int_equal(r.usage_source, WEIR_USAGE_ESTIMATED);
		assert_int_equal(r.usage.input, 20);
		assert_int_equal(r.usage.output, WEIR_UNKNOWN);
		assert_int_equal(r.flags2, WEIR_ROW_INPUT_GUESSED);
	}
	for (size_t i = 0; i < sizeof(not_made) / sizeof(*not_made); i++) {
		answer(&o, &e, vectors);
		ask_for(not_made[i].method, not_made[i].path);
		r = finish(&o, &e);
		assert_int_equal(r.usage_source, WEIR_USAGE_NONE);
		assert_int_equal(r.flags2, 0);
	}
	/* A page, a document that says nothing of a model; nothing at all; an error. */
	answer(&o, &e, ok("{\"done\":true,\"done_reason\":\"load\"}", 0));
	assert_int_equal(finish(&o, &e).usage_source, WEIR_USAGE_NONE);
	answer(&o, &e, "HTTP/1.1 204 Nothing\r\n\r\n");
	assert_int_equal(finish(&o, &e).usage_source, WEIR_USAGE_NONE);
	answer(&o, &e, "HTTP/1.1 404 Not here\r\ncontent-length: 2\r\n\r\n{}");
	assert_int_equal(finish(&o, &e).usage_source, WEIR_USAGE_NONE);
}

#define BROTLI(type)                                                                               \
	"HTTP/1.1 200 OK\r\ncontent-type: " type "\r\ncontent-encoding: br\r\n"                    \
	"content-length: 4\r\n\r\n\1\2\3\4"

/* Else a coding that is not read has the output for nothing; and leaving before its end all. */
static void what_is_in_a_coding_that_is_not_read_is_guessed_by_its_length(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e, BROTLI("application/json"));
	e.response_bytes = o.offset = 4000;
	r = finish(&o, &e);
	assert_int_equal(r.usage_source, WEIR_USAGE_ESTIMATED);
	assert_int_equal(r.usage.output, 1000);
	assert_int_equal(r.flags2, GUESSED | WEIR_ROW_ENCODED);
	answer(&o, &e, BROTLI("text/event-stream"));
	e.response_bytes = o.offset = 4000;
	assert_int_equal(finish(&o, &e).usage.output, 250);
	/* Vectors are no output; a page or a list of models is nobody's at all. */
	ask_for("POST ", "/v1/embeddings");
	r = finish(&o, &e);
	assert_int_equal(r.usage.output, WEIR_UNKNOWN);
	assert_int_equal(r.usage.input, 20);
	ask_for("GET ", "/");
	assert_int_equal(finish(&o, &e).usage_source, WEIR_USAGE_NONE);
	ask_for("GET ", "/v1/models");
	assert_int_equal(finish(&o, &e).usage_source, WEIR_USAGE_NONE);
	/* Left before its last byte. */
	answer(&o, &e,
	       "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: br\r\n"
	       "content-length: 9999\r\n\r\n\1\2\3\4");
	e.response_bytes = o.offset = 4000;
	e.h.flags = WEIR_END_CLOSE;
	e.flags = WEIR_SLOT_LEFT;
	r = finish(&o, &e);
	assert_int_equal(r.usage_source, WEIR_USAGE_PARTIAL);
	assert_int_equal(r.usage.output, 250);
}

/* A megabyte of sound is not a quarter of a million tokens. */
static void the_length_of_sound_is_no_measure(void **state)
{
	struct weir_rec_end e = end_record();
	struct weir_open o;
	struct weir_row r;

	answer(&o, &e,
	       "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n"
	       "content-length: 28\r\n\r\nabcdefghijklmnopqrstuvwxyz01");
	ask_for("POST ", "/v1/audio/transcriptions");
	r = finish(&o, &e);
	assert_int_equal(r.usage_source, WEIR_USAGE_ESTIMATED);
	assert_int_equal(r.usage.output, 7);
	answer(&o, &e, ok("{\"text\":\"abcdefghijklmnopqrstuvwxyz01\"}", 0));
	ask_for("POST ", "/v1/audio/transcriptions");
	asked.body_bytes = 1 << 20;
	r = finish(&o, &e);
	assert_int_equal(r.usage_source, WEIR_USAGE_ESTIMATED);
	assert_int_equal(r.usage.input, WEIR_UNKNOWN);
	assert_int_equal(r.usage.output, 7);
	assert_int_equal(r.flags2, WEIR_ROW_OUTPUT_GUESSED);
}

static void what_others_reported_is_the_measure(void **state)
{
	struct weir_finish_with w = with(&terms);
	struct weir_rec_end e = end_record();
	struct weir_learnt *l = weir_learnt_new(4);
	struct weir_open o;
	struct weir_row r;

	assert_non_null(l);
	w.learnt = l;
	/* 80 bytes are 10 tokens, 60 of text 4. */
	answer(&o, &e, ok(BODY, 0));
	for (int i = 0; i < 3; i++) {
		answer(&o, &e, ok(PLAIN, 0));
		assert_int_equal(finish_as(card_json, &o, &e, w).usage.input, 20);
		answer(&o, &e, ok(BODY, 0));
		r = finish_as(card_json, &o, &e, w);
		weir_learnt_note(l, &r, 60);
	}
	answer(&o, &e, ok(PLAIN, 0));
	r = finish_as(card_json, &o, &e, w);
	assert_int_equal(r.usage.input, 10);
	assert_int_equal(r.usage.output, 2); /* 30 by 15 */
	weir_learnt_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_without_usage_has_a_token_an_event),
		cmocka_unit_test(a_plain_answer_without_usage_is_measured_by_its_text),
		cmocka_unit_test(counts_are_guessed_one_by_one),
		cmocka_unit_test(nothing_reported_is_not_guessed_over),
		cmocka_unit_test(what_a_model_made_is_metered_in_whatever_form),
		cmocka_unit_test(what_is_in_a_coding_that_is_not_read_is_guessed_by_its_length),
		cmocka_unit_test(the_length_of_sound_is_no_measure),
		cmocka_unit_test(what_others_reported_is_the_measure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
