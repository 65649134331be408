// SPDX-License-Identifier: Apache-2.0
/*
 * Every parser of bytes from outside on the metering path against a reader that has all of them at
 * hand (tests/fuzz/ref_*.h), on inputs that a generator makes: valid ones, nearly valid ones, cut
 * in every way. The same comparisons as `make fuzz`, for a moment; at length with
 * WEIR_REF_CASES=1000000, others with WEIR_REF_SEED. What they found is below, case by case.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/fuzz/agree_asked.h"
#include "tests/fuzz/agree_decode.h"
#include "tests/fuzz/agree_http1.h"
#include "tests/fuzz/agree_json.h"
#include "tests/fuzz/agree_labels.h"
#include "tests/fuzz/agree_response.h"
#include "tests/fuzz/agree_sse.h"
#include "tests/fuzz/agree_tail.h"
#include "tests/fuzz/agree_usage.h"

/* ------------------------------------------------------------ generated */

static const struct claim {
	const char *name;
	void (*of)(const uint8_t *data, size_t size);
	unsigned weight; /* cases: those that cost more are fewer */
} claims[] = {
	{ "sse", sse_claim, 8 },     { "http1", http1_claim, 8 },
	{ "json", json_claim, 8 },   { "labels", labels_claim, 4 },
	{ "asked", asked_claim, 4 }, { "decode", decode_claim, 1 },
	{ "usage", usage_claim, 4 }, { "response", response_claim, 2 },
	{ "tail", tail_claim, 4 },
};

#define CASES 300 /* times the weight */

static uint64_t seed = 6;
static struct {
	const char *name;
	uint64_t of;
} running;

static uint64_t env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* splitmix64. */
static uint64_t chance(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void on_abort(int sig)
{
	dprintf(STDERR_FILENO, "claim \"%s\", case %llu, WEIR_REF_SEED=%llu\n", running.name,
		(unsigned long long)running.of, (unsigned long long)seed);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* An input whose bytes are decisions; small ones now and then, for they end things. */
static size_t make_input(uint64_t *state, uint8_t *data, size_t room)
{
	uint64_t how = chance(state);
	size_t n = 8 + how % (room - 8);

	for (size_t i = 0; i < n; i++) {
		uint64_t c = chance(state);

		data[i] = (uint8_t)(c >> 8 & 1 && how >> 32 & 1 ? c % 32 : c);
	}
	return n;
}

static void parsers_say_what_a_reader_of_all_of_it_says(void **unused)
{
	uint64_t cases = env("WEIR_REF_CASES", CASES);
	uint8_t data[400];

	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
		running.name = claims[i].name;
		for (running.of = 0; running.of < cases * claims[i].weight; running.of++) {
			uint64_t state = seed ^ (running.of + 1) << 8 ^ i;
			size_t n = make_input(&state, data, sizeof(data));

			claims[i].of(data, n);
		}
	}
}

/* ------------------------------------------------------------ found */

#define TEXT(text) (const uint8_t *)(text), sizeof(text) - 1

/* By fuzz_sse: the second of two data lines without a colon joined nothing. */
static void data_lines_without_a_colon_are_joined(void **unused)
{
	sse_agrees(TEXT("data\rdata\r\n\r\n"));
	sse_agrees(TEXT("data: a\ndata\ndata\n\ndata"));
}

/* By fuzz_http1: lines that two readers frame in two ways were taken, or passed over. */
static void framing_that_can_be_read_in_two_ways_is_bad(void **unused)
{
	static const char *const heads[] = {
		"HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\ncontent-length: 2\r\n\r\nab",
		"HTTP/1.1 200 OK\r\ncontent-length\t: 2\r\n\r\nab",
		"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n 3\r\n\r\nab",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: x\r\n\tchunked\r\n\r\n0\r\n\r\n",
	};
	static const char nul[] = "HTTP/1.1 200\0OK\r\n\r\n";
	struct http1_got got;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		http1_agrees((const uint8_t *)heads[i], strlen(heads[i]), false, true);
		http1_feed(&got, (const uint8_t *)heads[i], strlen(heads[i]), (struct cut){ 0 },
			   false, false);
		assert_true(weir_http1_bad(&got.h));
		bytes_free(&got.body);
	}
	http1_agrees(TEXT(nul), false, false);
	http1_agrees(
		TEXT("HTTP/1.1 103 x\r\ncontent-length: 9\r\n\r\nHTTP/1.1 304 x\r\n y\r\n\r\n"),
		false, false);
}

/* By fuzz_http1: a bare CR on the line was taken for an empty one. */
static void a_trailer_of_a_bare_cr_is_not_the_end(void **unused)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
				     "1\r\na\r\n0\r\n\r\r\n";
	struct http1_got got;

	http1_agrees(TEXT(answer), false, false);
	http1_feed(&got, TEXT(answer), (struct cut){ 0 }, false, false);
	assert_false(weir_http1_done(&got.h));
	bytes_free(&got.body);
}

/* By reading: one-api and its like write both spellings, the second one in vain. */
static void two_spellings_of_a_count_do_not_undo_each_other(void **unused)
{
	static const char answer[] =
		"HTTP/1.1 200 "
		"OK\r\n\r\n{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"usage\":{"
		"\"prompt_tokens\":13,\"completion_tokens\":10,\"total_tokens\":23,"
		"\"prompt_tokens_details\":{\"cached_tokens\":5},\"input_tokens\":0,"
		"\"output_tokens\":0,\"input_tokens_details\":null}}";
	static struct weir_response r;

	response_agrees(TEXT(answer), false, true);
	response_feed(&r, TEXT(answer), (struct cut){ 0 }, false, true);
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_REPORTED);
	assert_int_equal(r.seen.usage.input, 8);
	assert_int_equal(r.seen.usage.cache_read, 5);
	assert_int_equal(r.seen.usage.output, 10);
}

/* By fuzz_asked: the first word of a body was hashed without the key. */
static void a_body_has_another_hash_under_another_key(void **unused)
{
	asked_agrees(TEXT("\377\377\377\377\377\377\377\377\377\377"));
	asked_agrees(TEXT("\0\0\0\0\0\0\0\0\0\0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_lines_without_a_colon_are_joined),
		cmocka_unit_test(framing_that_can_be_read_in_two_ways_is_bad),
		cmocka_unit_test(a_trailer_of_a_bare_cr_is_not_the_end),
		cmocka_unit_test(two_spellings_of_a_count_do_not_undo_each_other),
		cmocka_unit_test(a_body_has_another_hash_under_another_key),
		cmocka_unit_test(parsers_say_what_a_reader_of_all_of_it_says),
	};

	seed = env("WEIR_REF_SEED", seed);
	printf("# WEIR_REF_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	signal(SIGABRT, on_abort);
	return cmocka_run_group_tests_name("reference", tests, NULL, NULL);
}
