// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about services that hide their usage: what is counted, for how long, and which server it
 * seems to be. And about the sums that metrics show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/hidden.h"
#include "agent/tally.h"
#include "agent/util.h"

#define MINUTE	(60 * WEIR_SECOND)
#define NOW	(UINT64_C(29000000) * MINUTE) /* a minute's start */
#define LLM	1
#define GUESSED WEIR_ROW_OUTPUT_GUESSED

static struct weir_row row(uint8_t source, uint16_t flags, uint32_t flags2)
{
	return (struct weir_row){ .service = LLM,
				  .usage_source = source,
				  .flags = flags,
				  .flags2 = flags2,
				  .ended_wall_ns = NOW };
}

static struct weir_hidden_counts look(struct weir_hidden *h, uint64_t at)
{
	struct weir_hidden_counts n;

	weir_hidden_look(h, LLM, at, &n);
	return n;
}

static void whole_answers_without_usage_are_counted(void **state)
{
	struct weir_row rows[] = {
		row(WEIR_USAGE_REPORTED, WEIR_ROW_STREAM, 0),
		row(WEIR_USAGE_ESTIMATED, WEIR_ROW_STREAM, GUESSED | WEIR_ROW_INPUT_GUESSED),
		row(WEIR_USAGE_ESTIMATED, WEIR_ROW_STREAM, GUESSED),
		row(WEIR_USAGE_REPORTED, 0, 0),
		row(WEIR_USAGE_ESTIMATED, 0, GUESSED),
		/* Ollama tells no prompt that it had in its cache: it hides nothing. */
		row(WEIR_USAGE_ESTIMATED, WEIR_ROW_STREAM, WEIR_ROW_INPUT_GUESSED),
		/* One that was cut had not come to its usage; a list of models has none. */
		row(WEIR_USAGE_PARTIAL, WEIR_ROW_STREAM, GUESSED | WEIR_ROW_LEFT),
		row(WEIR_USAGE_NONE, 0, 0),
	};
	struct weir_asked wants = { .text.flags = WEIR_ASKED_INCLUDE_USAGE };
	struct weir_hidden *h = weir_hidden_new();
	struct weir_hidden_counts n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		weir_hidden_note(h, &rows[i], i == 2 || i == 4 ? &wants : NULL);
	n = look(h, NOW);
	assert_int_equal(n.streamed, 4);
	assert_int_equal(n.streamed_hidden, 2);
	assert_int_equal(n.asked, 1); /* a plain answer needs no asking */
	assert_int_equal(n.plain, 2);
	assert_int_equal(n.plain_hidden, 1);
	weir_hidden_look(h, LLM + 1, NOW, &n); /* another service's */
	assert_int_equal(n.streamed + n.plain, 0);
	weir_hidden_look(h, UINT16_MAX, NOW, &n);
	assert_int_equal(n.streamed + n.plain, 0);
	rows[1].service = UINT16_MAX; /* nobody's */
	weir_hidden_note(h, &rows[1], NULL);
	weir_hidden_free(h);
}

/* That it is compressed hides nothing, if it can be read. */
static void what_is_in_no_coding_of_ours_is_counted_apart(void **state)
{
	struct weir_row r = row(WEIR_USAGE_ESTIMATED, WEIR_ROW_STREAM, GUESSED | WEIR_ROW_ENCODED);
	struct weir_hidden *h = weir_hidden_new();

	weir_hidden_note(h, &r, NULL);
	strcpy(r.response_id, "chatcmpl-1");
	weir_hidden_note(h, &r, NULL);
	assert_int_equal(look(h, NOW).unread, 1);
	assert_int_equal(look(h, NOW).streamed_hidden, 1);
	assert_int_equal(look(h, NOW).streamed, 2);
	weir_hidden_free(h);
}

/* Of ten minutes, the one that runs included. */
static void what_was_cured_is_forgotten(void **state)
{
	struct weir_row r = row(WEIR_USAGE_ESTIMATED, WEIR_ROW_STREAM, GUESSED);
	struct weir_hidden *h = weir_hidden_new();

	weir_hidden_note(h, &r, NULL);
	assert_int_equal(look(h, NOW + 10 * MINUTE - 1).streamed_hidden, 1);
	assert_int_equal(look(h, NOW + 10 * MINUTE).streamed_hidden, 0);
	r.ended_wall_ns = NOW + 9 * MINUTE;
	weir_hidden_note(h, &r, NULL);
	assert_int_equal(look(h, NOW + 9 * MINUTE).streamed_hidden, 2);
	/* The place of the first minute is another's now. */
	r.ended_wall_ns = NOW + 10 * MINUTE;
	weir_hidden_note(h, &r, NULL);
	weir_hidden_note(h, &r, NULL);
	assert_int_equal(look(h, NOW + 10 * MINUTE).streamed_hidden, 3);
	/* A clock that was set back: what it says is to come is not counted. */
	assert_int_equal(look(h, NOW + 9 * MINUTE).streamed_hidden, 1);
	weir_hidden_free(h);
}

static void a_server_is_told_by_what_it_writes(void **state)
{
	static const struct {
		const char *path, *id, *version;
		enum weir_server server;
	} cases[] = {
		{ "/v1/chat/completions", "chatcmpl-0123456789abcdef0123456789abcdef", "",
		  WEIR_SERVER_VLLM },
		{ "/v1/chat/completions", "chatcmpl-0123456789abcdef", "", WEIR_SERVER_VLLM },
		{ "/v1/completions", "cmpl-0123456789abcdef0123456789abcdef", "",
		  WEIR_SERVER_VLLM },
		{ "/v1/chat/completions", "e1b9eecee85b4379a5806f53b6d9ec94", "",
		  WEIR_SERVER_SGLANG },
		{ "/v1/chat/completions", "", "3.3.6-sha-24c7af5", WEIR_SERVER_TGI },
		{ "/v1/chat/completions", "", "3.3.6-native", WEIR_SERVER_TGI },
		{ "/v1/chat/completions", "chatcmpl-Ca3q6j8NlTmm9h34TBbwr3wjgO47kWpz",
		  "b6497-cd08fc3e", WEIR_SERVER_LLAMA_CPP },
		{ "/v1/chat/completions", "chatcmpl-123", "fp_ollama", WEIR_SERVER_OLLAMA },
		{ "/v2/models/llama/generate_stream", "", "1", WEIR_SERVER_TRITON },
		/* OpenAI's own, or who writes like it, or nothing at all. */
		{ "/v1/chat/completions", "chatcmpl-CJ3nVgeWxXaP1SKKr9bQvUIVXVrmK", "fp_44709d6fcb",
		  WEIR_SERVER_MAX },
		{ "/v1/chat/completions", "chatcmpl-0123456789abcdef0123456789abcdeg", "",
		  WEIR_SERVER_MAX },
		{ "/v1/chat/completions", "chatcmpl-", "b-", WEIR_SERVER_MAX },
		{ "/v1/chat/completions", "0123456789abcdef0123456789abcdef0", "b1-",
		  WEIR_SERVER_MAX },
		{ "/v1/chat/completions", "resp_0123456789abcdef0123456789abcdef", "-native",
		  WEIR_SERVER_MAX },
		{ "", "", "", WEIR_SERVER_MAX },
	};
	struct weir_hidden *h = weir_hidden_new();
	uint64_t want[WEIR_SERVER_MAX] = { 0 };
	struct weir_hidden_counts n;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct weir_row r = row(WEIR_USAGE_ESTIMATED, i & 1 ? WEIR_ROW_STREAM : 0, GUESSED);

		snprintf(r.path, sizeof(r.path), "%s", cases[i].path);
		snprintf(r.response_id, sizeof(r.response_id), "%s", cases[i].id);
		snprintf(r.model_version, sizeof(r.model_version), "%s", cases[i].version);
		assert_int_equal(weir_hidden_server(&r), cases[i].server);
		weir_hidden_note(h, &r, NULL);
		if (cases[i].server < WEIR_SERVER_MAX)
			want[cases[i].server]++;
	}
	n = look(h, NOW);
	assert_memory_equal(n.of, want, sizeof(want));
	weir_hidden_free(h);
}

static void sums_are_of_what_rows_say(void **state)
{
	struct weir_row rows[] = {
		row(WEIR_USAGE_REPORTED, 0, 0),
		row(WEIR_USAGE_REPORTED, 0, WEIR_ROW_RETRY_FREE | WEIR_ROW_ENCODED),
		row(WEIR_USAGE_ESTIMATED, 0, GUESSED | WEIR_ROW_INPUT_GUESSED),
		row(WEIR_USAGE_PARTIAL, WEIR_ROW_LOST_BYTES, WEIR_ROW_LEFT | WEIR_ROW_ABORT_FREE),
		row(WEIR_USAGE_PARTIAL, 0, WEIR_ROW_LEFT | WEIR_ROW_ABORT_FULL | GUESSED),
		row(WEIR_USAGE_NONE, 0, WEIR_ROW_CACHE_FREE),
	};
	const struct weir_tally want = {
		.sources = { 1, 2, 1, 2 },
		.lost = 1,
		.left = 2,
		.input_guessed = 1,
		.output_guessed = 2,
		.retry_free = 1,
		.cache_free = 1,
		.abort_free = 1,
		.abort_full = 1,
		.encoded = 1,
	};
	struct weir_tally t = { 0 }, out;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		weir_tally_note(&t, &rows[i]);
	weir_tally_read(&t, &out);
	assert_memory_equal(&out, &want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_answers_without_usage_are_counted),
		cmocka_unit_test(what_is_in_no_coding_of_ours_is_counted_apart),
		cmocka_unit_test(what_was_cured_is_forgotten),
		cmocka_unit_test(a_server_is_told_by_what_it_writes),
		cmocka_unit_test(sums_are_of_what_rows_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
