// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about answers that a parser of version 3 was in the midst of: today's ends as if it had
 * read them from their start. States are those that the old one had at these places.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "agent/response.h"
#include "agent/state_old.h"

/* Phases of its HTTP, states and places of its scanner, as it numbered them. */
enum { STATUS_LINE, HEADER_LINE, BODY_LENGTH, BODY_CLOSE, CHUNK_SIZE, CHUNK_EXT, CHUNK_DATA };
enum { CHUNK_END = 7, TRAILER, DONE, BAD };
enum { HEAD_METHOD = 1, LENGTH = 2, CHUNKED = 4 | 8, OPAQUE = 16 };
enum { JSON, SSE, NDJSON };
enum { MARK, LINE_START, NAME, VALUE_START, VALUE, SKIP };
enum {
	KEY = 3,
	COLON,
	FOR_VALUE,
	FIRST_ELEMENT,
	NEXT,
	STRING,
	NUMBER = 11,
	NESTED = 13,
	DEAD = 15
};
enum { ROOT = 1, MODEL, CHOICES = 6, CHOICE, USAGE = 12, INPUT_DETAILS = 14, OUTPUT = 26 };

static struct weir_response_3 answer(uint8_t phase, uint8_t flags, uint8_t type, uint64_t left)
{
	struct weir_response_3 o = {
		.status = 200,
		.stream = type != JSON,
		.body_started = phase > HEADER_LINE,
		.http = { .status = 200,
			  .phase = phase,
			  .flags = flags,
			  .type = type,
			  .left = left },
	};

	for (size_t i = 0; i < WEIR_COUNTS_3; i++)
		o.counts[i] = WEIR_UNKNOWN;
	return o;
}

/* Read on: `rest` is what came after. */
static struct weir_response read_on(const struct weir_response_3 *o, const char *rest)
{
	struct weir_response r;
	size_t n = strlen(rest);

	weir_response_of_3(o, &r);
	assert_int_equal(r.seen.status, o->http.phase == STATUS_LINE ? 0 : o->status);
	assert_int_equal(r.seen.done, o->done);
	assert_int_equal(r.seen.bad, o->bad);
	assert_int_equal(weir_response_feed(&r, NULL, rest, n), n);
	return r;
}

/* The same, of an answer that `rest` ends. */
static struct weir_response read_last(struct weir_response_3 *o, const char *rest)
{
	o->http.left = strlen(rest);
	return read_on(o, rest);
}

static void reported(const struct weir_response *r, int64_t input, int64_t cached, int64_t output)
{
	assert_true(r->seen.done);
	assert_int_equal(r->seen.usage.input, input);
	assert_int_equal(r->seen.usage.cache_read, cached);
	assert_int_equal(r->seen.usage.output, output);
	assert_int_equal(weir_response_source(r), WEIR_USAGE_REPORTED);
}

#define EVENT                                                                                      \
	"data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,"                   \
	"\"completion_tokens\":3}}\n\n"

static void in_the_head(void **state)
{
	struct weir_response_3 o = answer(HEADER_LINE, LENGTH, SSE, sizeof(EVENT) - 1);
	struct weir_response r;

	memcpy(o.http.line, "x-request-", o.http.line_len = 10);
	r = read_on(&o, "id: q-1\r\n\r\n" EVENT);
	reported(&r, 12, WEIR_UNKNOWN, 3);
	assert_string_equal(r.seen.request_id, "q-1");
	assert_string_equal(r.seen.model, "m");
	o = answer(STATUS_LINE, 0, JSON, 0);
	memcpy(o.http.line, "HTTP/1.1 40", o.http.line_len = 11);
	r = read_on(&o, "4 Not Found\r\ncontent-length: 0\r\n\r\n");
	assert_int_equal(r.seen.status, 404);
	assert_true(r.seen.done);
}

/* {"model":"m","usage":{"prompt_tokens":12|0,"completion_tokens":34}} */
static void in_a_count(void **state)
{
	struct weir_response_3 o = answer(BODY_LENGTH, LENGTH, JSON, 0);
	struct weir_response r;

	strcpy(o.model, "m");
	o.scan = (struct weir_scan_3){ .state = NUMBER,
				       .depth = 2,
				       .stack = { ROOT, USAGE },
				       .node = 24, /* prompt_tokens */
				       .number = 12,
				       .flags = 2 };
	r = read_last(&o, "0,\"completion_tokens\":34}} ");
	reported(&r, 120, WEIR_UNKNOWN, 34);
	assert_string_equal(r.seen.model, "m");
}

/* Details were read before the whole that they are of, in the same object. */
static void behind_counts_of_the_same_object(void **state)
{
	struct weir_response_3 o = answer(BODY_LENGTH, LENGTH, JSON, 0);
	struct weir_response r;

	o.counts[3] = 20; /* cached_tokens */
	o.scan = (struct weir_scan_3){ .state = NEXT, .depth = 2, .stack = { ROOT, USAGE } };
	o.document_output = 1;
	r = read_last(&o, ",\"prompt_tokens\":120,\"completion_tokens\":34}}  ");
	reported(&r, 100, 20, 34);
}

/* In the name of a key, with an escape of it half read; then in a chunk of a stream. */
#define CUT "5ftokens\":120,\"completion_tokens\":34}"

static void in_a_key_of_a_streams_event(void **state)
{
	struct weir_response_3 o = answer(CHUNK_DATA, CHUNKED, SSE, sizeof(CUT) - 1);
	struct weir_response r;

	o.chunks = 7;
	o.produced = o.answered = 1;
	o.sse_phase = VALUE;
	o.sse_has_data = 1;
	o.scan = (struct weir_scan_3){
		.state = KEY,
		.depth = 2,
		.stack = { ROOT, USAGE },
		.text = { .len = 6, .bytes = "prompt", .escaping = 4, .unit = 0 }
	};
	r = read_on(&o, CUT "\r\n6\r\n}\n\nx:\n\r\n0\r\n\r\n");
	reported(&r, 120, WEIR_UNKNOWN, 34);
	assert_int_equal(r.seen.chunks, 7);
}

/* Anthropic's start was read, its end comes: counts are cumulative. */
static void counts_of_earlier_events_stay(void **state)
{
	struct weir_response_3 o = answer(BODY_CLOSE, 0, SSE, 0);
	struct weir_response r;

	o.chunks = 5;
	o.produced = o.answered = o.provisional = o.has_usage = 1;
	o.counts[1] = 25; /* input_tokens */
	o.counts[5] = 4;  /* read beside */
	o.counts[2] = 1;
	o.sse_phase = LINE_START;
	r = read_on(&o, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
			"\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n");
	weir_response_close(&r);
	reported(&r, 25, 4, 15);
	assert_int_equal(r.seen.chunks, 5);
	assert_string_equal(r.seen.finish_reason, "end_turn");
	/* Without that end they are a start's. */
	r = read_on(&o, "");
	weir_response_close(&r);
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_PARTIAL);
}

/* In what nobody reads: [[{"…  */
static void in_what_is_skipped(void **state)
{
	struct weir_response_3 o = answer(BODY_LENGTH, LENGTH, JSON, 0);
	struct weir_response r;

	o.answered = 1;
	o.scan = (struct weir_scan_3){
		.state = NESTED, .depth = 1, .stack = { ROOT }, .nested = 3, .nested_arrays = 3
	};
	r = read_last(&o,
		      "\"usage\":{}}]],\"usage\":{\"prompt_tokens\":12,\"total_tokens\":12}}    ");
	reported(&r, 12, WEIR_UNKNOWN, WEIR_UNKNOWN);
}

static void between_lines_and_chunks(void **state)
{
	static const char *const rests[] = { "\r\n0\r\n\r\n", "0\r\n\r\n", ";x\r\n\r\n", "\r\n" };
	static const uint8_t phases[] = { CHUNK_END, CHUNK_SIZE, CHUNK_EXT, TRAILER };

	for (size_t i = 0; i < 4; i++) {
		struct weir_response_3 o = answer(phases[i], CHUNKED, NDJSON, 0);
		struct weir_response r;

		o.counts[8] = 26; /* prompt_eval_count */
		o.counts[11] = 298;
		o.produced = o.answered = o.has_usage = 1;
		r = read_on(&o, rests[i]);
		reported(&r, 26, WEIR_UNKNOWN, 298);
	}
}

static void what_was_over_is_over(void **state)
{
	struct weir_response_3 o = answer(DONE, LENGTH, JSON, 0);
	struct weir_response r;

	o.done = 1;
	weir_response_of_3(&o, &r);
	assert_true(r.seen.done);
	assert_int_equal(weir_response_feed(&r, NULL, "HTTP/1.1", 8), 0);
	o = answer(DONE, LENGTH | HEAD_METHOD, JSON, 500);
	o.body_started = 0;
	weir_response_of_3(&o, &r);
	assert_true(r.seen.done);
	o = answer(BAD, 0, JSON, 0);
	o.bad = 1;
	weir_response_of_3(&o, &r);
	assert_true(r.seen.bad);
	assert_int_equal(r.seen.status, 200);
}

static void what_was_not_readable_is_not(void **state)
{
	struct weir_response_3 o = answer(BODY_LENGTH, LENGTH | OPAQUE, JSON, 0);
	struct weir_response r = read_last(&o, "{\"usage\":{\"prompt_tokens\":120}}");

	assert_int_equal(r.seen.usage.input, WEIR_UNKNOWN);
	o = answer(BODY_CLOSE, 0, JSON, 0);
	o.scan.state = DEAD;
	r = read_on(&o, "{\"usage\":{\"prompt_tokens\":120}}");
	assert_int_equal(r.seen.usage.input, WEIR_UNKNOWN);
	o = answer(BODY_CLOSE, 0, SSE, 0);
	o.lost = 1;
	o.sse_phase = LINE_START;
	r = read_on(&o, "");
	weir_response_close(&r);
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_PARTIAL);
}

/* A state file is ours, but whatever is in it nothing is read or written past an end. */
static void any_bytes_are_a_state(void **state)
{
	uint64_t seed = 1;

	for (int i = 0; i < 20000; i++) {
		struct weir_response_3 o;
		struct weir_response r;
		uint8_t *bytes = (uint8_t *)&o;

		for (size_t b = 0; b < sizeof(o); b++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
			bytes[b] = (uint8_t)(seed >> 56) & (i & 1 ? 0xff : 0x0f);
		}
		weir_response_of_3(&o, &r);
		weir_response_feed(&r, NULL, "}}]}\n\ndata: {}\n\n0\r\n\r\n", 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_the_head),
		cmocka_unit_test(in_a_count),
		cmocka_unit_test(behind_counts_of_the_same_object),
		cmocka_unit_test(in_a_key_of_a_streams_event),
		cmocka_unit_test(counts_of_earlier_events_stay),
		cmocka_unit_test(in_what_is_skipped),
		cmocka_unit_test(between_lines_and_chunks),
		cmocka_unit_test(what_was_over_is_over),
		cmocka_unit_test(what_was_not_readable_is_not),
		cmocka_unit_test(any_bytes_are_a_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
