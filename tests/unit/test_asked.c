// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what is read of a request's body: the places that servers read, nothing else, and
 * a hash that is of the bytes and not of how they came.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/asked.h"
#include "agent/row.h"

#define KEY 4711

static struct weir_asked_text of(const char *body)
{
	struct weir_asked_text a;

	weir_asked_init(&a);
	weir_asked_feed(&a, 0, body, strlen(body), KEY);
	return a;
}

static void what_is_not_said_is_unknown(void **state)
{
	struct weir_asked_text a = of("{}");

	assert_string_equal(a.model, "");
	assert_string_equal(a.user, "");
	assert_int_equal(a.max_tokens, WEIR_UNKNOWN);
	assert_int_equal(a.choices, WEIR_UNKNOWN);
	assert_int_equal(a.flags, 0);
}

static const char chat[] =
	"{\"model\":\"meta/llama\",\"messages\":[{\"role\":\"user\",\"content\":\"say "
	"\\\"user\\\":1\","
	"\"user\":\"inner\",\"max_tokens\":9}],\"user\":\"ann\",\"stream\":true,"
	"\"stream_options\":{\"include_usage\":true},\"max_tokens\":100,"
	"\"max_completion_tokens\":120,\"n\":2,\"metadata\":{\"user_id\":\"meta\"}}";

static void the_places_that_servers_read_count(void **state)
{
	struct weir_asked_text a = of(chat);

	assert_string_equal(a.model, "meta/llama");
	assert_string_equal(a.user, "ann");
	assert_int_equal(a.max_tokens, 120);
	assert_int_equal(a.choices, 2);
	assert_int_equal(a.flags, WEIR_ASKED_STREAM | WEIR_ASKED_INCLUDE_USAGE | WEIR_ASKED_USER);
}

static void every_servers_own_names_count(void **state)
{
	assert_int_equal(of("{\"max_output_tokens\":7}").max_tokens, 7);
	assert_int_equal(of("{\"n_predict\":7}").max_tokens, 7);
	assert_int_equal(of("{\"parameters\":{\"max_new_tokens\":7}}").max_tokens, 7);
	assert_int_equal(of("{\"parameters\":{\"max_tokens\":7}}").max_tokens, 7);
	assert_int_equal(of("{\"sampling_params\":{\"max_new_tokens\":7,\"n\":3}}").max_tokens, 7);
	assert_int_equal(of("{\"sampling_params\":{\"max_new_tokens\":7,\"n\":3}}").choices, 3);
	assert_int_equal(of("{\"options\":{\"num_predict\":7}}").max_tokens, 7);
	assert_int_equal(of("{\"n\":1,\"best_of\":4}").choices, 4);
	assert_string_equal(of("{\"metadata\":{\"user_id\":\"u-1\"}}").user, "u-1");
}

static void other_places_are_nothing(void **state)
{
	struct weir_asked_text a = of(
		"{\"messages\":[{\"model\":\"m\",\"user\":\"u\",\"n\":2}],\"tools\":{\"user\":"
		"\"u\"},"
		"\"x\":{\"metadata\":{\"user_id\":\"u\"}},\"prompt\":\"{\\\"user\\\":\\\"u\\\"}\","
		"\"options\":{\"user\":\"u\",\"stream\":true},\"include_usage\":true}");

	assert_string_equal(a.model, "");
	assert_string_equal(a.user, "");
	assert_int_equal(a.max_tokens, WEIR_UNKNOWN);
	assert_int_equal(a.choices, WEIR_UNKNOWN);
	assert_int_equal(a.flags, 0);
}

static void what_is_false_or_no_count_is_not_said(void **state)
{
	assert_int_equal(of("{\"stream\":false,\"n\":null}").flags, 0);
	assert_int_equal(of("{\"stream\":\"true\"}").flags, 0);
	assert_int_equal(of("{\"max_tokens\":-5}").max_tokens, WEIR_UNKNOWN);
	assert_int_equal(of("{\"max_tokens\":1e3}").max_tokens, WEIR_UNKNOWN);
	assert_int_equal(of("{\"max_tokens\":9223372036854775807}").max_tokens, INT64_MAX);
	assert_int_equal(of("{\"max_tokens\":9223372036854775808}").max_tokens, WEIR_UNKNOWN);
}

static void a_user_is_a_label_or_none(void **state)
{
	char body[160], longest[64] = "";

	assert_string_equal(of("{\"user\":\"a\\u0062c\"}").user, "abc");
	assert_string_equal(of("{\"user\":\"a b\"}").user, "");
	assert_string_equal(of("{\"user\":\"a\\u0000b\"}").user, "");
	assert_string_equal(of("{\"user\":\"\\u00e4\"}").user, "");
	assert_string_equal(of("{\"user\":7}").user, "");
	memset(longest, 'u', 63);
	snprintf(body, sizeof(body), "{\"user\":\"%s\"}", longest);
	assert_string_equal(of(body).user, longest);
	snprintf(body, sizeof(body), "{\"user\":\"%su\"}", longest);
	assert_string_equal(of(body).user, "");
	snprintf(body, sizeof(body), "{\"user\":\"\\u0075%s\"}", longest);
	assert_string_equal(of(body).user, "");
	/* Of two the last counts; whose place is better, in any order. */
	assert_string_equal(of("{\"user\":\"a\",\"user\":\"b\"}").user, "b");
	assert_string_equal(of("{\"user\":\"a\",\"user\":\"b c\"}").user, "");
	assert_string_equal(of("{\"metadata\":{\"user_id\":\"m\"},\"user\":\"a\"}").user, "a");
	assert_string_equal(of("{\"user\":\"a\",\"metadata\":{\"user_id\":\"m\"}}").user, "a");
}

static void what_is_no_json_says_nothing(void **state)
{
	assert_string_equal(of("--form\r\n\r\n{\"user\":\"a\"}").user, "");
	assert_string_equal(of("\x1f\x8b{\"user\":\"a\"}").user, "");
	assert_string_equal(of("[{\"user\":\"a\"}]").user, "");
	assert_string_equal(of("{\"x\":[}],\"user\":\"a\"}").user, "");
}

static void fed_in_pieces_it_is_the_same(void **state)
{
	struct weir_asked_text whole = of(chat);
	uint64_t hash[2], other[2];
	size_t n = strlen(chat);

	assert_true(weir_asked_hash(&whole, n, hash));
	for (size_t cut = 0; cut <= n; cut++) {
		for (size_t step = 1; step <= 17; step += 4) {
			struct weir_asked_text a;

			weir_asked_init(&a);
			weir_asked_feed(&a, 0, chat, cut, KEY);
			for (size_t at = cut; at < n; at += step)
				weir_asked_feed(&a, at, chat + at, n - at < step ? n - at : step,
						KEY);
			assert_true(weir_asked_hash(&a, n, other));
			assert_memory_equal(hash, other, sizeof(hash));
			assert_string_equal(a.model, whole.model);
			assert_string_equal(a.user, whole.user);
			assert_int_equal(a.max_tokens, whole.max_tokens);
			assert_int_equal(a.flags, whole.flags);
		}
	}
}

static void bytes_that_come_again_are_passed_over(void **state)
{
	struct weir_asked_text whole = of(chat), a;
	uint64_t hash[2], other[2];
	size_t n = strlen(chat);

	weir_asked_init(&a);
	weir_asked_feed(&a, 0, chat, 30, KEY);
	weir_asked_feed(&a, 0, chat, 30, KEY);
	weir_asked_feed(&a, 11, chat + 11, n - 11, KEY);
	weir_asked_feed(&a, 0, chat, n, KEY);
	assert_true(weir_asked_hash(&whole, n, hash));
	assert_true(weir_asked_hash(&a, n, other));
	assert_memory_equal(hash, other, sizeof(hash));
	assert_string_equal(a.user, "ann");
}

static void behind_a_hole_nothing_is_believed(void **state)
{
	struct weir_asked_text a;
	size_t n = strlen(chat), at = (size_t)(strstr(chat, "\"user\":\"ann\"") - chat);
	uint64_t hash[2];

	weir_asked_init(&a);
	weir_asked_feed(&a, 0, chat, at - 1, KEY);
	weir_asked_feed(&a, at, chat + at, n - at, KEY);
	assert_true(a.flags & WEIR_ASKED_HOLE);
	assert_string_equal(a.model, "meta/llama"); /* what was settled stays */
	assert_string_equal(a.user, "");
	assert_false(weir_asked_hash(&a, n, hash));
	assert_false(weir_asked_hash(&a, at - 1, hash));
}

static void only_a_whole_body_has_a_hash(void **state)
{
	struct weir_asked_text a = of(chat);
	uint64_t hash[2];

	assert_false(weir_asked_hash(&a, strlen(chat) + 1, hash));
	assert_false(weir_asked_hash(&a, strlen(chat) - 1, hash));
	assert_false(weir_asked_hash(&a, UINT64_MAX, hash)); /* chunked */
}

static void hash_of(const uint8_t *body, size_t n, uint64_t key, uint64_t out[2])
{
	struct weir_asked_text a;

	weir_asked_init(&a);
	weir_asked_feed(&a, 0, body, n, key);
	assert_true(weir_asked_hash(&a, n, out));
}

/* Each bit, each byte more, and the key: both words move, by some half of their bits. */
static void every_bit_of_the_body_is_in_the_hash(void **state)
{
	uint8_t body[40] = { 0 };
	uint64_t hash[2], other[2];
	uint64_t changed = 0, tried = 0;

	for (size_t n = 1; n <= sizeof(body); n++) {
		hash_of(body, n, KEY, hash);
		for (size_t bit = 0; bit < 8 * n; bit++) {
			body[bit / 8] ^= 1u << bit % 8;
			hash_of(body, n, KEY, other);
			body[bit / 8] ^= 1u << bit % 8;
			for (int i = 0; i < 2; i++) {
				assert_int_not_equal(hash[i], other[i]);
				changed += (uint64_t)__builtin_popcountll(hash[i] ^ other[i]);
				tried += 64;
			}
		}
		hash_of(body, n - 1, KEY, other);
		assert_int_not_equal(hash[0], other[0]);
		hash_of(body, n, KEY + 1, other);
		assert_int_not_equal(hash[0], other[0]);
		assert_int_not_equal(hash[1], other[1]);
	}
	assert_in_range(changed * 100 / tried, 48, 52);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_said_is_unknown),
		cmocka_unit_test(the_places_that_servers_read_count),
		cmocka_unit_test(every_servers_own_names_count),
		cmocka_unit_test(other_places_are_nothing),
		cmocka_unit_test(what_is_false_or_no_count_is_not_said),
		cmocka_unit_test(a_user_is_a_label_or_none),
		cmocka_unit_test(what_is_no_json_says_nothing),
		cmocka_unit_test(fed_in_pieces_it_is_the_same),
		cmocka_unit_test(bytes_that_come_again_are_passed_over),
		cmocka_unit_test(behind_a_hole_nothing_is_believed),
		cmocka_unit_test(only_a_whole_body_has_a_hash),
		cmocka_unit_test(every_bit_of_the_body_is_in_the_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
