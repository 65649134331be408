// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the parser of an answer as a whole: what each server's usage
 * comes to, that no cut changes it, what is made of missing bytes. Framing,
 * SSE and the JSON scanner have tests of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/response_samples.h"

#define N_SAMPLES (sizeof(samples) / sizeof(samples[0]))

enum framing { LENGTH, CHUNKED, CLOSE, FRAMINGS };

struct wire {
	char bytes[8192];
	size_t n;
};

static void put(struct wire *w, const void *bytes, size_t n)
{
	assert_true(w->n + n < sizeof(w->bytes));
	memcpy(w->bytes + w->n, bytes, n);
	w->n += n;
	w->bytes[w->n] = '\0';
}

static void put_text(struct wire *w, const char *text)
{
	put(w, text, strlen(text));
}

/* A whole answer, an interim one before it, chunks of odd sizes with extensions and a trailer. */
static void wire_of(struct wire *w, const struct sample *s, enum framing framing)
{
	size_t len = strlen(s->body), at = 0, chunk = 1;
	char line[128];

	w->n = 0;
	put_text(w, "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\ncontent-length: 3\r\n\r\n"
		    "HTTP/1.1 200 OK\r\nDate: Fri, 21 Nov 2025 02:00:00 GMT\r\nContent-Type:");
	put_text(w, s->type);
	put_text(w, "\r\n");
	if (framing == LENGTH) {
		snprintf(line, sizeof(line), "Content-Length: %zu\r\n\r\n", len);
		put_text(w, line);
	} else {
		put_text(w, framing == CHUNKED ? "Transfer-Encoding: Chunked\r\n\r\n" : "\r\n");
	}
	if (framing != CHUNKED) {
		put_text(w, s->body);
		return;
	}
	for (; at < len; at += chunk, chunk = chunk * 3 % 61 + 1) {
		if (chunk > len - at)
			chunk = len - at;
		snprintf(line, sizeof(line), "%s%zX%s\r\n", chunk % 2 ? "00" : "", chunk,
			 chunk % 3 ? "" : ";ext=\"a;b\" ; x");
		put_text(w, line);
		put(w, s->body + at, chunk);
		put_text(w, "\r\n");
	}
	put_text(w, "0;last\r\nx-checksum: 0\r\nx: y\r\n\r\n");
}

/* Feed in pieces that end at the given places (ascending, n after the last). */
static void feed_cut(struct weir_response *r, const struct wire *w, const size_t *cuts, size_t n)
{
	size_t at = 0, i;

	weir_response_init(r, false);
	for (i = 0; i <= n; i++) {
		size_t to = i < n ? cuts[i] : w->n;
		/* a copy of the exact size, so that ASan sees a read beyond the piece */
		char *piece = malloc(to - at + 1);

		assert_non_null(piece);
		memcpy(piece + 1, w->bytes + at, to - at);
		assert_int_equal(weir_response_feed(r, NULL, piece + 1, to - at), to - at);
		free(piece);
		at = to;
	}
	weir_response_close(r);
}

static void assert_usage(const struct weir_usage *got, const struct weir_usage *want)
{
	assert_int_equal(got->input, want->input);
	assert_int_equal(got->cache_read, want->cache_read);
	assert_int_equal(got->cache_write, want->cache_write);
	assert_int_equal(got->output, want->output);
	assert_int_equal(got->reasoning, want->reasoning);
}

static void each_sample_means_what_it_says_in_every_framing(void **unused)
{
	struct weir_response r;
	struct wire w;
	size_t i, f;

	for (i = 0; i < N_SAMPLES; i++) {
		for (f = 0; f < FRAMINGS; f++) {
			const struct sample *s = &samples[i];

			wire_of(&w, s, f);
			feed_cut(&r, &w, NULL, 0);
			if (weir_response_source(&r) != s->source)
				print_error("%s\n", s->name);
			assert_int_equal(r.seen.status, 200);
			assert_true(r.seen.done && r.seen.body_started && !r.seen.bad);
			assert_usage(&r.seen.usage, &s->usage);
			assert_int_equal(r.seen.chunks, s->chunks);
			assert_string_equal(r.seen.model, s->model);
			assert_string_equal(r.seen.response_id, s->id);
			assert_string_equal(r.seen.finish_reason, s->finish);
			assert_int_equal(weir_response_source(&r), s->source);
		}
	}
}

static void assert_same(const struct weir_response *a, const struct weir_response *b)
{
	assert_memory_equal(&a->seen, &b->seen, sizeof(a->seen));
	assert_int_equal(weir_response_source(a), weir_response_source(b));
}

static void a_cut_at_any_byte_changes_nothing(void **unused)
{
	struct weir_response whole, cut;
	struct wire w;
	size_t i, f, at;

	for (i = 0; i < N_SAMPLES; i++) {
		for (f = 0; f < FRAMINGS; f++) {
			wire_of(&w, &samples[i], f);
			feed_cut(&whole, &w, NULL, 0);
			for (at = 0; at <= w.n; at++) {
				feed_cut(&cut, &w, &at, 1);
				assert_same(&whole, &cut);
			}
		}
	}
}

static void cuts_at_any_pair_of_bytes_change_nothing(void **unused)
{
	struct weir_response whole, cut;
	struct wire w;
	size_t i, f, k;

	srandom(2);
	for (i = 0; i < N_SAMPLES; i++) {
		for (f = 0; f < FRAMINGS; f++) {
			wire_of(&w, &samples[i], f);
			feed_cut(&whole, &w, NULL, 0);
			for (k = 0; k < 500; k++) {
				size_t a = (size_t)random() % (w.n + 1);
				size_t b = (size_t)random() % (w.n + 1);
				size_t cuts[2] = { a < b ? a : b, a < b ? b : a };

				feed_cut(&cut, &w, cuts, 2);
				assert_same(&whole, &cut);
			}
		}
	}
}

static void single_bytes_and_copies_between_them_change_nothing(void **unused)
{
	struct weir_response whole, r, copy;
	struct wire w;
	size_t i, at;

	for (i = 0; i < N_SAMPLES; i++) {
		wire_of(&w, &samples[i], CHUNKED);
		feed_cut(&whole, &w, NULL, 0);
		weir_response_init(&r, false);
		for (at = 0; at < w.n; at++) {
			memcpy(&copy, &r, sizeof(r)); /* an agent that was killed here */
			memset(&r, 0xa5, sizeof(r));
			assert_int_equal(weir_response_feed(&copy, NULL, w.bytes + at, 1), 1);
			memcpy(&r, &copy, sizeof(r));
		}
		assert_same(&whole, &r);
	}
}

static void an_answer_that_is_cut_short_is_never_reported(void **unused)
{
	struct weir_response r;
	struct wire w;
	size_t i, at;

	for (i = 0; i < N_SAMPLES; i++) {
		wire_of(&w, &samples[i], CHUNKED);
		for (at = 0; at < w.n; at++) {
			weir_response_init(&r, false);
			weir_response_feed(&r, NULL, w.bytes, at);
			weir_response_close(&r);
			assert_false(r.seen.done);
			assert_int_equal(weir_response_source(&r),
					 r.seen.status ? WEIR_USAGE_PARTIAL : WEIR_USAGE_NONE);
		}
	}
}

static void what_was_seen_before_an_abort_stays(void **unused)
{
	struct weir_usage want = { 5, WEIR_UNKNOWN, WEIR_UNKNOWN, 2, WEIR_UNKNOWN };
	struct weir_response r;

	weir_response_init(&r, false);
	static const char head[] = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: "
				   "text/event-stream\r\n"
				   "\r\nfff\r\n";
	static const char events[] =
		"data: "
		"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":5,"
		"\"completion_tokens\":1}}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}],"
		"\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\ndata: {\"choices\":[{"
		"\"delta\":{\"content\":\"b\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_"
		"tokens\":3";
	weir_response_feed(&r, NULL, head, sizeof(head) - 1);
	weir_response_feed(&r, NULL, events, sizeof(events) - 1);
	weir_response_close(&r);
	assert_usage(&r.seen.usage, &want);
	assert_int_equal(r.seen.chunks, 2);
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_PARTIAL);
}

static void answers_on_one_connection_are_told_apart(void **unused)
{
	struct weir_response r;
	struct wire w, two;
	size_t i, took;

	for (i = 0; i < N_SAMPLES; i++) {
		wire_of(&w, &samples[i], i % 2 ? LENGTH : CHUNKED);
		two = w;
		two.n = w.n;
		weir_response_init(&r, false);
		put_text(&two, "HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx");
		took = weir_response_feed(&r, NULL, two.bytes, two.n);
		assert_int_equal(took, w.n);
		assert_true(r.seen.done);
		assert_int_equal(weir_response_feed(&r, NULL, "x", 1), 0);
		weir_response_init(&r, false);
		assert_int_equal(weir_response_feed(&r, NULL, two.bytes + took, two.n - took),
				 two.n - took);
		assert_int_equal(r.seen.status, 404);
	}
}

static void an_error_is_parsed_but_not_metered(void **unused)
{
	static const char wire[] = "HTTP/1.1 500 x\r\ncontent-length: 39\r\n\r\n"
				   "{\"id\":\"e\",\"usage\":{\"prompt_tokens\":12}}";
	struct weir_response r;

	weir_response_init(&r, false);
	assert_int_equal(weir_response_feed(&r, NULL, wire, sizeof(wire) - 1), sizeof(wire) - 1);
	assert_true(r.seen.done && r.seen.has_usage);
	assert_string_equal(r.seen.response_id, "e");
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_NONE);
}

/* What a report says can be refined by what follows: a key that comes again, llama.cpp's timings.
 */
static bool is_refined(const struct sample *s)
{
	return strstr(s->name, "two keys") || strstr(s->name, "llama.cpp") ||
	       strstr(s->name, "wrong depth") || strstr(s->name, "broken");
}

static void after_a_hole_a_report_is_right_or_there_is_none(void **unused)
{
	struct weir_response r;
	size_t i, f, from, len, reports = 0;
	struct wire w;

	for (i = 0; i < N_SAMPLES; i++) {
		for (f = 0; f < FRAMINGS; f++) {
			wire_of(&w, &samples[i], f);
			for (from = 0; from < w.n; from += 3) {
				for (len = 1; from + len <= w.n && len < 400; len = len * 3 + 1) {
					weir_response_init(&r, false);
					weir_response_feed(&r, NULL, w.bytes, from);
					weir_response_skip(&r, len);
					weir_response_feed(&r, NULL, w.bytes + from + len,
							   w.n - from - len);
					weir_response_close(&r);
					assert_true(r.seen.done || r.seen.bad);
					if (weir_response_source(&r) == WEIR_USAGE_PARTIAL ||
					    is_refined(&samples[i]))
						continue;
					if (memcmp(&r.seen.usage, &samples[i].usage,
						   sizeof(r.seen.usage)))
						print_error("%s: %zu from %zu\n", samples[i].name,
							    len, from);
					assert_int_equal(weir_response_source(&r),
							 WEIR_USAGE_REPORTED);
					assert_usage(&r.seen.usage, &samples[i].usage);
					reports++;
				}
			}
		}
	}
	assert_true(reports > 1000);
}

static void framing_by_length_goes_on_past_a_hole(void **unused)
{
	static const char head[] = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"model\":\"m";
	struct weir_response r;

	weir_response_init(&r, false);
	weir_response_feed(&r, NULL, head, sizeof(head) - 1);
	weir_response_skip(&r, 0);
	weir_response_skip(&r, 900);
	assert_false(r.seen.done || r.seen.bad);
	assert_int_equal(weir_response_feed(&r, NULL, "\",\"usage\":{\"prompt_tokens\":1}}", 30),
			 30);
	assert_false(r.seen.has_usage);
	weir_response_skip(&r, UINT64_MAX);
	assert_true(r.seen.done);
	assert_string_equal(r.seen.model, "");
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_PARTIAL);
}

/* A hole that starts inside an event, or right after one. */
static void a_stream_is_picked_up_after_a_hole(void **unused)
{
	static const char before[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
				     "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"cho";
	static const char after[] = "0}}\n\ndata: {\"choices\":[{\"text\":\"z\"}],\"usage\":{"
				    "\"prompt_tokens\":3,\"completion_tokens\":9}}\n\n";
	struct weir_usage want = { 3, WEIR_UNKNOWN, WEIR_UNKNOWN, 9, WEIR_UNKNOWN };
	struct weir_response r;
	size_t less;

	for (less = 0; less <= 11; less += 11) {
		weir_response_init(&r, false);
		weir_response_feed(&r, NULL, before, sizeof(before) - 1 - less);
		weir_response_skip(&r, 500);
		weir_response_feed(&r, NULL, after, sizeof(after) - 1);
		weir_response_close(&r);
		assert_usage(&r.seen.usage, &want);
		assert_int_equal(r.seen.chunks, 2);
		assert_int_equal(weir_response_source(&r), WEIR_USAGE_REPORTED);
	}
}

static void no_answer_is_none_and_a_lost_one_is_partial(void **unused)
{
	struct weir_response r;

	weir_response_init(&r, false);
	weir_response_close(&r);
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_NONE);
	weir_response_init(&r, false);
	weir_response_skip(&r, 100);
	assert_true(r.seen.bad);
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_PARTIAL);
	weir_response_init(&r, false);
	assert_int_equal(weir_response_feed(&r, NULL, "SSH-2.0-x\r\n", 11), 11);
	assert_true(r.seen.bad);
	assert_int_equal(weir_response_feed(&r, NULL, "HTTP/1.1 200 OK\r\n\r\n", 19), 19);
	assert_int_equal(weir_response_source(&r), WEIR_USAGE_NONE);
}

static void a_compressed_body_is_not_read(void **unused)
{
	static const char wire[] =
		"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 28\r\n\r\n"
		"{\"usage\":{\"prompt_tokens\":1}}";
	struct weir_response r;

	weir_response_init(&r, false);
	weir_response_feed(&r, NULL, wire, sizeof(wire) - 1);
	assert_true(r.seen.done && !r.seen.has_usage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sample_means_what_it_says_in_every_framing),
		cmocka_unit_test(a_cut_at_any_byte_changes_nothing),
		cmocka_unit_test(cuts_at_any_pair_of_bytes_change_nothing),
		cmocka_unit_test(single_bytes_and_copies_between_them_change_nothing),
		cmocka_unit_test(an_answer_that_is_cut_short_is_never_reported),
		cmocka_unit_test(what_was_seen_before_an_abort_stays),
		cmocka_unit_test(answers_on_one_connection_are_told_apart),
		cmocka_unit_test(an_error_is_parsed_but_not_metered),
		cmocka_unit_test(after_a_hole_a_report_is_right_or_there_is_none),
		cmocka_unit_test(framing_by_length_goes_on_past_a_hole),
		cmocka_unit_test(a_stream_is_picked_up_after_a_hole),
		cmocka_unit_test(no_answer_is_none_and_a_lost_one_is_partial),
		cmocka_unit_test(a_compressed_body_is_not_read),
	};

	return cmocka_run_group_tests_name("response", tests, NULL, NULL);
}
