/* SPDX-License-Identifier: Apache-2.0 */
/* The words of refusals: figures in every form, and every template of every dialect
 * with the smallest and the largest figures there can be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <strings.h>
#include <time.h>

#include "agent/reason.h"
#include "agent/replies.h"
#include "bpf/reply_text.h"

#define SECOND 1000000000ULL

static struct weir_writer_state w;

/* One figure, as it stands in a reply. */
static const char *written(uint8_t op, uint64_t v)
{
	static char out[8][80];
	static unsigned int turn;
	char *text = out[turn++ % 8];
	struct weir_reply t = { .ops = { { .op = op, .arg = WEIR_FIG_VALUE } } };

	memset(&w, 0xcc, sizeof(w));
	w.figures[WEIR_FIG_VALUE] = v;
	w.figures[WEIR_FIG_WALL_NS] = 0;
	snprintf(text, 80, "%.*s", (int)weir_reply_write(&w, &t), w.bytes);
	return text;
}

static void numbers(void **state)
{
	assert_string_equal(written(WEIR_OP_NUMBER, 0), "0");
	assert_string_equal(written(WEIR_OP_NUMBER, 7), "7");
	assert_string_equal(written(WEIR_OP_NUMBER, 1000000), "1000000");
	assert_string_equal(written(WEIR_OP_NUMBER, -12LL), "-12");
	assert_string_equal(written(WEIR_OP_NUMBER, INT64_MAX), "9223372036854775807");
	assert_string_equal(written(WEIR_OP_NUMBER, INT64_MIN), "-9223372036854775808");
}

static void credits_have_no_needless_decimals(void **state)
{
	assert_string_equal(written(WEIR_OP_CREDITS, 0), "0");
	assert_string_equal(written(WEIR_OP_CREDITS, 1), "0.000000001");
	assert_string_equal(written(WEIR_OP_CREDITS, SECOND), "1");
	assert_string_equal(written(WEIR_OP_CREDITS, 10 * SECOND), "10");
	assert_string_equal(written(WEIR_OP_CREDITS, 1500000000), "1.5");
	assert_string_equal(written(WEIR_OP_CREDITS, 1050000000), "1.05");
	assert_string_equal(written(WEIR_OP_CREDITS, -1LL), "-0.000000001");
	assert_string_equal(written(WEIR_OP_CREDITS, -2500000000LL), "-2.5");
	assert_string_equal(written(WEIR_OP_CREDITS, INT64_MAX), "9223372036.854775807");
	assert_string_equal(written(WEIR_OP_CREDITS, INT64_MIN), "-9223372036.854775808");
}

static void waits_are_rounded_up(void **state)
{
	assert_string_equal(written(WEIR_OP_SECONDS, 0), "0");
	assert_string_equal(written(WEIR_OP_SECONDS, 1), "1");
	assert_string_equal(written(WEIR_OP_SECONDS, SECOND), "1");
	assert_string_equal(written(WEIR_OP_SECONDS, SECOND + 1), "2");
	assert_string_equal(written(WEIR_OP_SECONDS, 60 * SECOND), "60");
	assert_string_equal(written(WEIR_OP_SECONDS, 3600 * SECOND), "60");
	assert_string_equal(written(WEIR_OP_MILLIS, 0), "0");
	assert_string_equal(written(WEIR_OP_MILLIS, 1), "1");
	assert_string_equal(written(WEIR_OP_MILLIS, 1500000001), "1501");
	assert_string_equal(written(WEIR_OP_MILLIS, 90 * SECOND), "90000");
}

static void durations_are_written_as_openai_does(void **state)
{
	assert_string_equal(written(WEIR_OP_DURATION, 0), "0s");
	assert_string_equal(written(WEIR_OP_DURATION, 1), "1ms");
	assert_string_equal(written(WEIR_OP_DURATION, 12 * 1000000), "12ms");
	assert_string_equal(written(WEIR_OP_DURATION, SECOND), "1s");
	assert_string_equal(written(WEIR_OP_DURATION, SECOND + 1), "2s");
	assert_string_equal(written(WEIR_OP_DURATION, 59 * SECOND), "59s");
	assert_string_equal(written(WEIR_OP_DURATION, 60 * SECOND), "1m0s");
	assert_string_equal(written(WEIR_OP_DURATION, 69 * SECOND), "1m9s");
	assert_string_equal(written(WEIR_OP_DURATION, 70 * SECOND), "1m10s");
	assert_string_equal(written(WEIR_OP_DURATION, 360 * SECOND), "6m0s");
	assert_string_equal(written(WEIR_OP_DURATION, 3599 * SECOND), "59m59s");
	assert_string_equal(written(WEIR_OP_DURATION, 86400 * SECOND), "1440m0s");
}

static void times_agree_with_the_c_library(void **state)
{
	srand(4);
	for (int i = 0; i < 100000; i++) {
		time_t t = i < 40000 ? (time_t)i * 86400 + 86399
				     : ((time_t)rand() << 4 | rand() % 16) % 9000000000LL;
		char text[32];
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_string_equal(written(WEIR_OP_TIME, t * SECOND), text);
		if (t)
			assert_string_equal(written(WEIR_OP_TIME, t * SECOND - 999999999), text);
	}
}

static const weir_u64 extremes[] = { 0, 1, 999999999, 1ULL << 63, INT64_MAX, -1ULL };

static const struct weir_reply *template(int dialect, int reason)
{
	static struct weir_reply all[WEIR_REPLIES];

	weir_replies_build(all);
	return &all[dialect * WEIR_REASON_MAX + reason];
}

/* By its name in the list: what is not on the way, passed, admitted or dropped. */
static bool of_a_request(int reason)
{
	static const char *const others[] = {
		"pass_",     "admit_",	     "drop_", "linger_",  "tap_",
		"end_",	     "close_",	     "flow_", "rewrite_", "strip_",
		"half_open", "head_expired", "idle_", "wire_",	  "drift_",
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strncmp(weir_reason_name(reason), others[i], strlen(others[i])))
			return false;
	return true;
}

static void there_is_a_template_for_every_refusal_and_no_other(void **state)
{
	for (int d = 0; d < WEIR_API_MAX; d++)
		for (int r = 0; r < WEIR_REASON_MAX; r++) {
			assert_int_equal(template(d, r)->ops[0].op != WEIR_OP_END, of_a_request(r));
			/* Too many handshakes: only ever a SYN, which is dropped. */
			assert_int_equal(of_a_request(r) || r == WEIR_DENY_HALF_OPEN,
					 weir_reason_is_denial(r));
		}
}

static void texts_start_on_words_and_end_within_the_template(void **state)
{
	for (int d = 0; d < WEIR_API_MAX; d++)
		for (int r = 0; r < WEIR_REASON_MAX; r++) {
			const struct weir_reply *t = template(d, r);

			assert_int_equal(t->ops[WEIR_REPLY_OPS - 1].op, WEIR_OP_END);
			for (int i = 0; t->ops[i].op; i++) {
				if (t->ops[i].op != WEIR_OP_TEXT)
					continue;
				assert_true(t->ops[i].len);
				assert_int_equal(t->ops[i].off % 8, 0);
				assert_true(t->ops[i].off + (t->ops[i].len + 7) / 8 * 8 <=
					    WEIR_REPLY_TEXT);
			}
		}
}

/* The reply is whole HTTP whatever the figures: length right, JSON valid. */
static void every_reply_is_whole_with_any_figures(void **state)
{
	for (int d = 0; d < WEIR_API_MAX; d++)
		for (int r = 0; r < WEIR_REASON_MAX; r++)
			for (size_t x = 0;
			     of_a_request(r) && x < sizeof(extremes) / sizeof(extremes[0]); x++) {
				char text[WEIR_REPLY_MAX + 1], *body, *length;
				uint32_t n;

				memset(&w, 0xcc, sizeof(w));
				for (int f = 0; f < WEIR_FIG_MAX; f++)
					w.figures[f] = extremes[x];
				n = weir_reply_write(&w, template(d, r));
				assert_in_range(n, 100, WEIR_REPLY_MAX);
				for (uint32_t i = n; i < n + 8; i++)
					assert_int_equal(w.bytes[i], 0);
				snprintf(text, sizeof(text), "%.*s", (int)n, w.bytes);
				assert_int_equal(strlen(text), n);
				assert_null(strchr(text, '%'));
				body = strstr(text, "\r\n\r\n");
				assert_non_null(body);
				length = strstr(text, "Content-Length: ");
				assert_non_null(length);
				assert_int_equal(atoi(length + 16), strlen(body + 4));
				assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
				assert_memory_equal(text, "HTTP/1.1 ", 9);
				if (d == WEIR_API_PLAIN)
					continue;
				json_t *root = json_loads(body + 4, 0, NULL);

				assert_non_null(root);
				assert_true(json_is_string(json_object_get(
					json_object_get(root, "error"), "message")));
				json_decref(root);
			}
}

/* Whatever level refused, its figures are in the reply: the limit's, where there are headers
 * for it, and when to come again, where waiting helps. */
static void a_window_that_refused_is_shown_whole(void **state)
{
	static const struct {
		int dialect, reason;
		const char *header[5];
	} want[] = {
		{ WEIR_API_OPENAI,
		  WEIR_DENY_REQUESTS,
		  { "x-ratelimit-limit-requests: 31", "x-ratelimit-remaining-requests: 32",
		    "x-ratelimit-reset-requests: 33s", "Retry-After: 40",
		    "retry-after-ms: 40000" } },
		{ WEIR_API_OPENAI,
		  WEIR_DENY_TOKENS,
		  { "x-ratelimit-limit-tokens: 34", "x-ratelimit-remaining-tokens: 35",
		    "x-ratelimit-reset-tokens: 36s", "Retry-After: 40", "retry-after-ms: 40000" } },
		{ WEIR_API_ANTHROPIC,
		  WEIR_DENY_REQUESTS,
		  { "anthropic-ratelimit-requests-limit: 31",
		    "anthropic-ratelimit-requests-remaining: 32",
		    "anthropic-ratelimit-requests-reset: 1970-01-01T00:00:33Z", "Retry-After: 40",
		    "retry-after-ms: 40000" } },
		{ WEIR_API_ANTHROPIC,
		  WEIR_DENY_TOKENS,
		  { "anthropic-ratelimit-tokens-limit: 34",
		    "anthropic-ratelimit-tokens-remaining: 35",
		    "anthropic-ratelimit-tokens-reset: 1970-01-01T00:00:36Z", "Retry-After: 40",
		    "retry-after-ms: 40000" } },
		{ WEIR_API_PLAIN,
		  WEIR_DENY_CONCURRENCY,
		  { "Retry-After: 40", "retry-after-ms: 40000", "28 requests in flight",
		    "limit 27" } },
		{ WEIR_API_PLAIN,
		  WEIR_DENY_CONNECTIONS,
		  { "Retry-After: 40", "retry-after-ms: 40000", "28 connections open",
		    "limit 27" } },
		{ WEIR_API_PLAIN,
		  WEIR_DENY_CONNECT_RATE,
		  { "Retry-After: 40", "retry-after-ms: 40000", "limit 27 new", "in 40s" } },
	};
	char text[WEIR_REPLY_MAX + 1];

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		uint32_t n;

		memset(&w, 0, sizeof(w));
		w.figures[WEIR_FIG_LIMIT] = 27;
		w.figures[WEIR_FIG_VALUE] = 28;
		w.figures[WEIR_FIG_RETRY_NS] = 40 * SECOND;
		w.figures[WEIR_FIG_REQUESTS_LIMIT] = 31;
		w.figures[WEIR_FIG_REQUESTS_REMAINING] = 32;
		w.figures[WEIR_FIG_REQUESTS_RESET_NS] = 33 * SECOND;
		w.figures[WEIR_FIG_TOKENS_LIMIT] = 34;
		w.figures[WEIR_FIG_TOKENS_REMAINING] = 35;
		w.figures[WEIR_FIG_TOKENS_RESET_NS] = 36 * SECOND;
		n = weir_reply_write(&w, template(want[i].dialect, want[i].reason));
		snprintf(text, sizeof(text), "%.*s", (int)n, w.bytes);
		for (int k = 0; k < 5 && want[i].header[k]; k++) {
			if (!strstr(text, want[i].header[k]))
				fail_msg("no \"%s\" in %s", want[i].header[k], text);
		}
	}
}

static void statuses_are_those_that_sdks_act_upon(void **state)
{
	static const struct {
		int dialect, reason, status;
	} want[] = {
		{ WEIR_API_OPENAI, WEIR_DENY_REQUESTS, 429 },
		{ WEIR_API_OPENAI, WEIR_DENY_TOKENS, 429 },
		{ WEIR_API_OPENAI, WEIR_DENY_CONCURRENCY, 429 },
		{ WEIR_API_OPENAI, WEIR_DENY_CREDIT, 429 },
		{ WEIR_API_ANTHROPIC, WEIR_DENY_CREDIT, 402 },
		{ WEIR_API_OPENAI, WEIR_DENY_UNKNOWN_KEY, 401 },
		{ WEIR_API_ANTHROPIC, WEIR_DENY_NO_TENANT, 401 },
		{ WEIR_API_OPENAI, WEIR_DENY_SUSPENDED, 403 },
		{ WEIR_API_PLAIN, WEIR_DENY_AGENT_DOWN, 503 },
		{ WEIR_API_OPENAI, WEIR_DENY_MALFORMED, 400 },
		{ WEIR_API_ANTHROPIC, WEIR_DENY_HEAD_TOO_LARGE, 431 },
		{ WEIR_API_PLAIN, WEIR_DENY_PROTOCOL, 403 },
		{ WEIR_API_OPENAI, WEIR_DENY_LENGTH_REQUIRED, 411 },
		{ WEIR_API_OPENAI, WEIR_DENY_INPUT_TOKENS, 400 },
		{ WEIR_API_ANTHROPIC, WEIR_DENY_OUTPUT_TOKENS, 400 },
		{ WEIR_API_OPENAI, WEIR_DENY_FALLBACK, 429 },
		{ WEIR_API_ANTHROPIC, WEIR_DENY_FALLBACK, 402 },
		{ WEIR_API_OPENAI, WEIR_DENY_BODY, 400 },
	};

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		weir_reply_write(&w, template(want[i].dialect, want[i].reason));
		assert_int_equal(atoi((char *)w.bytes + 9), want[i].status);
	}
}

static const char *said(int dialect, int reason)
{
	static char text[WEIR_REPLY_MAX + 1];
	uint32_t n;

	w.figures[WEIR_FIG_LIMIT] = 4096;
	w.figures[WEIR_FIG_VALUE] = 5000;
	w.figures[WEIR_FIG_ASKED] = 9000;
	n = weir_reply_write(&w, template(dialect, reason));
	snprintf(text, sizeof(text), "%.*s", (int)n, w.bytes);
	return text;
}

/* The rule of openai-node, openai-python and Anthropic's: the header if there is one,
 * else 408, 409, 429 and 500 up. */
static bool sdk_retries(const char *reply)
{
	int status = atoi(reply + 9);

	if (strcasestr(reply, "\r\nx-should-retry: "))
		return strcasestr(reply, "\r\nx-should-retry: true\r\n");
	return status == 408 || status == 409 || status == 429 || status >= 500;
}

static void only_what_waiting_helps_is_tried_again(void **state)
{
	static const int helps[] = { WEIR_DENY_CONNECTIONS, WEIR_DENY_CONNECT_RATE,
				     WEIR_DENY_CONCURRENCY, WEIR_DENY_REQUESTS,
				     WEIR_DENY_TOKENS,	    WEIR_DENY_AGENT_DOWN,
				     WEIR_DENY_BUSY,	    WEIR_DENY_MAP_FULL };

	for (int d = 0; d < WEIR_API_MAX; d++)
		for (int r = 0; r < WEIR_REASON_MAX; r++) {
			bool want = false;

			if (!of_a_request(r))
				continue;
			for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++)
				want |= helps[i] == r;
			assert_int_equal(sdk_retries(said(d, r)), want);
		}
}

static void refusals_of_bodies_say_limit_and_what_was_asked(void **state)
{
	assert_non_null(
		strstr(said(WEIR_API_OPENAI, WEIR_DENY_INPUT_TOKENS),
		       "about 5000 tokens (a quarter of its bytes), limit 4096 per request"));
	assert_non_null(strstr(said(WEIR_API_OPENAI, WEIR_DENY_INPUT_TOKENS),
			       "\"type\":\"invalid_request_error\",\"param\":null,"
			       "\"code\":\"context_length_exceeded\""));
	assert_non_null(
		strstr(said(WEIR_API_ANTHROPIC, WEIR_DENY_OUTPUT_TOKENS), "asks for 9000 tokens"));
	assert_non_null(
		strstr(said(WEIR_API_PLAIN, WEIR_DENY_OUTPUT_TOKENS), "limit 4096 per request"));
	assert_non_null(strstr(said(WEIR_API_OPENAI, WEIR_DENY_FALLBACK),
			       "\"code\":\"insufficient_quota\""));
	assert_non_null(strstr(said(WEIR_API_ANTHROPIC, WEIR_DENY_HEAD_TOO_LARGE),
			       "\"type\":\"invalid_request_error\""));
	assert_non_null(strstr(said(WEIR_API_ANTHROPIC, WEIR_DENY_PROTOCOL),
			       "\"type\":\"permission_error\""));
}

static void a_template_too_long_is_not_sent(void **state)
{
	struct weir_reply t = {};

	assert_int_equal(weir_reply_write(&w, &t), 0);
	for (int i = 0; i < WEIR_REPLY_OPS; i++)
		t.ops[i] = (struct weir_op_entry){ .op = WEIR_OP_TEXT, .len = 1000 };
	assert_int_equal(weir_reply_write(&w, &t), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(credits_have_no_needless_decimals),
		cmocka_unit_test(waits_are_rounded_up),
		cmocka_unit_test(durations_are_written_as_openai_does),
		cmocka_unit_test(times_agree_with_the_c_library),
		cmocka_unit_test(there_is_a_template_for_every_refusal_and_no_other),
		cmocka_unit_test(texts_start_on_words_and_end_within_the_template),
		cmocka_unit_test(every_reply_is_whole_with_any_figures),
		cmocka_unit_test(a_window_that_refused_is_shown_whole),
		cmocka_unit_test(statuses_are_those_that_sdks_act_upon),
		cmocka_unit_test(only_what_waiting_helps_is_tried_again),
		cmocka_unit_test(refusals_of_bodies_say_limit_and_what_was_asked),
		cmocka_unit_test(a_template_too_long_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
