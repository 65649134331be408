/* SPDX-License-Identifier: Apache-2.0 */
/* The head scanner: where a head ends, what frames its body, where its key is; at
 * every cut, and with the leavings of an earlier head behind it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/http_head.h"

static struct weir_head h;

/* Scan n bytes; what lies behind them is hostile. */
static uint32_t scan(const char *text, size_t n)
{
	static const char trap[] = "\nAuthorization: Bearer trap\r\n\r\nContent-Length: 9\r\n\r\n";

	for (size_t i = 0; i < sizeof(h.bytes); i++)
		h.bytes[i] = trap[i % (sizeof(trap) - 1)];
	memcpy(h.bytes, text, n);
	weir_head_start(&h, n);
	return weir_head_scan(&h);
}

static uint32_t scan_text(const char *text)
{
	return scan(text, strlen(text));
}

static const char *key(void)
{
	static char out[WEIR_HEAD_MAX];
	uint32_t place = weir_head_key(&h);

	if (!place)
		return NULL;
	snprintf(out, sizeof(out), "%.*s", (int)(place & 0xffff), h.bytes + (place >> 16));
	return out;
}

static const char *key_of(const char *headers)
{
	static char text[WEIR_HEAD_MAX];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n\r\n", headers);
	assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
	return key();
}

static uint64_t length_of(const char *value)
{
	char text[256];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nContent-Length:%s\r\n\r\n", value);
	assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
	return weir_head_content_length(&h);
}

static void a_head_is_found_whole_or_not_at_all(void **state)
{
	static const char text[] =
		"POST /v1/chat/completions HTTP/1.1\r\nHost: llm:8000\r\nUser-Agent: "
		"OpenAI/Python 1.2\r\nAuthorization: Bearer sk-abc\r\nContent-Length: 123\r\nX-Api-"
		"Key: other\r\nAccept: */*\r\n\r\n{\"model\": \"m\"}\r\n\r\n";
	size_t head = strstr(text, "\r\n\r\n") + 4 - text;

	for (size_t n = 1; n < sizeof(text); n++) {
		uint32_t phase = scan(text, n);

		if (n < head) {
			assert_int_equal(phase, WEIR_HEAD_SHORT);
			continue;
		}
		assert_int_equal(phase, WEIR_HEAD_DONE);
		assert_int_equal(h.head_len, head);
		assert_int_equal(weir_head_content_length(&h), 123);
		assert_false(weir_head_chunked(&h));
		assert_true(weir_head_is_request(&h));
		assert_string_equal(key(), "sk-abc");
	}
}

static void heads_of_every_length_up_to_the_longest(void **state)
{
	static char text[WEIR_HEAD_MAX + 64];

	for (int pad = 1; pad < WEIR_HEAD_MAX; pad += pad < 40 ? 1 : 13) {
		int n = sprintf(text, "GET / HTTP/1.1\r\nA: %0*d\r\nx-api-key: k\r\n\r\n", pad, 0);

		if (n > WEIR_HEAD_MAX)
			break;
		assert_int_equal(scan(text, n), WEIR_HEAD_DONE);
		assert_int_equal(h.head_len, n);
		assert_string_equal(key(), "k");
	}
	memset(text, 'a', sizeof(text));
	assert_int_equal(scan(text, WEIR_HEAD_MAX), WEIR_HEAD_SHORT);
}

static void the_worst_head_is_still_scanned_to_its_end(void **state)
{
	static char text[WEIR_HEAD_MAX + 1];

	/* A line a byte: one step a line, and one a word. */
	for (size_t i = 0; i < 1360; i++)
		memcpy(text + 3 * i, "a\r\n", 3);
	memcpy(text + 4080, "x-api-key:k\r\n\r\n", 15);
	scan(text, 4095);
	/* Steps are bounded: such a head may be told short, never wrongly whole. */
	if (h.phase == WEIR_HEAD_DONE)
		assert_int_equal(h.head_len, 4095);
}

static void bare_line_feeds_end_lines(void **state)
{
	assert_int_equal(scan_text("GET / HTTP/1.1\nx-api-key: k\n\nbody"), WEIR_HEAD_DONE);
	assert_int_equal(h.head_len, 29);
	assert_string_equal(key(), "k");
	assert_true(weir_head_is_request(&h));
}

static void only_a_request_line_makes_a_request(void **state)
{
	static const struct {
		const char *line;
		bool is;
	} lines[] = {
		{ "GET / HTTP/1.1", true },
		{ "POST /v1/chat/completions?a=b HTTP/1.0", true },
		{ "OPTIONS * HTTP/1.1", true },
		{ "get / HTTP/1.1", false },
		{ "GET / HTTP/2.0", false },
		{ "GET / HTTP/11.1", false },
		{ "GET /HTTP/1.1", false },
		{ "GET / http/1.1", false },
		{ "HTTP/1.1 200 OK", false },
		{ "PRI * HTTP/2.0", false },
		{ "GET /", false },
		{ "G", false },
		{ "", false },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "%s\r\nA: b\r\n\r\n", lines[i].line);
		scan_text(text);
		assert_int_equal(weir_head_is_request(&h), lines[i].is);
	}
}

static void the_key_is_found_in_any_case_and_with_any_blanks(void **state)
{
	assert_string_equal(key_of("Authorization: Bearer sk-1"), "sk-1");
	assert_string_equal(key_of("authorization:bearer sk-1"), "sk-1");
	assert_string_equal(key_of("AUTHORIZATION:  BEARER   sk-1  "), "sk-1");
	assert_string_equal(key_of("Authorization:\tBeArEr sk-1\t"), "sk-1");
	assert_string_equal(key_of("X-API-KEY:sk-1"), "sk-1");
	assert_string_equal(key_of("Api-Key: sk-1"), "sk-1");
	assert_string_equal(key_of("A: b\r\napi-key: sk-1\r\nC: d"), "sk-1");
}

static void authorization_comes_before_the_others(void **state)
{
	assert_string_equal(key_of("x-api-key: two\r\napi-key: three\r\nAuthorization: Bearer one"),
			    "one");
	assert_string_equal(key_of("api-key: three\r\nx-api-key: two"), "two");
	assert_string_equal(key_of("x-api-key: first\r\nx-api-key: second"), "first");
}

static void what_only_looks_like_a_key_header_is_none(void **state)
{
	static const char *const headers[] = {
		"Authorizatio: Bearer x",
		"Authorizations: Bearer x",
		"Authorization : Bearer x",
		"X-Authorization: Bearer x",
		"x-api-keys: x",
		"x-api-ke: x",
		"my-api-key: x",
		"Authorization: Basic eDp5",
		"Authorization: Bearer",
		"Authorization: Bearerx",
		"Authorization:",
		"Cookie: api-key: x",
		"A: b\r\n Authorization: Bearer x", /* a folded line */
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		if (key_of(headers[i]))
			fail_msg("\"%s\" gives the key \"%s\"", headers[i], key());
}

/* Folding case must not turn CR into '-' and 1a into ':', which some servers ignore. */
static void only_letters_have_a_case(void **state)
{
	assert_null(key_of("api\rkey: x"));
	assert_null(key_of("api-key\x1a x"));
	assert_null(key_of("x\rapi-key: x"));
	assert_null(key_of("x-api\rkey: x"));
	assert_null(key_of("x-api-key\x1a x"));
	assert_null(key_of("Authorization\x1a Bearer x"));
	scan_text("POST / HTTP/1.1\r\nContent\rLength: 9\r\n\r\n");
	assert_int_equal(weir_head_content_length(&h), WEIR_NO_LENGTH);
	scan_text("POST / HTTP/1.1\r\nContent-Length\x1a 9\r\n\r\n");
	assert_int_equal(weir_head_content_length(&h), WEIR_NO_LENGTH);
	scan_text("POST / HTTP/1.1\r\nTransfer\rEncoding: chunked\r\n\r\n");
	assert_false(weir_head_chunked(&h));
}

static void lengths_are_plain_numbers(void **state)
{
	assert_int_equal(length_of(" 0"), 0);
	assert_int_equal(length_of("42"), 42);
	assert_int_equal(length_of("\t 000042 "), 42);
	assert_int_equal(length_of(" 999999999999999999"), 999999999999999999ULL);
	assert_int_equal(length_of(" 1000000000000000000"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 99999999999999999999999999"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" -1"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" +1"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 0x10"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 1,1"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(""), WEIR_NO_LENGTH);
	scan_text("GET / HTTP/1.1\r\n\r\n");
	assert_int_equal(weir_head_content_length(&h), WEIR_NO_LENGTH);
}

/* "1 2" is no number: a server would refuse it, or read one of the two. */
static void two_numbers_are_none(void **state)
{
	assert_int_equal(length_of(" 1 2"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 1\t2 "), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 12 \t "), 12);
}

/* What is longer than we look is unknown, and not the number it begins with. */
static void a_number_behind_many_blanks_is_whole_or_unknown(void **state)
{
	for (int blanks = 0; blanks < 40; blanks++) {
		char value[64];
		uint64_t n;

		snprintf(value, sizeof(value), "%*s1234", blanks, "");
		n = length_of(value);
		assert_true(n == 1234 || n == WEIR_NO_LENGTH);
		assert_true(n == 1234 || blanks > 16);
	}
}

static void transfer_encoding_is_told(void **state)
{
	scan_text("POST / HTTP/1.1\r\ntransfer-ENCODING: chunked\r\n\r\n");
	assert_true(weir_head_chunked(&h));
	scan_text("POST / HTTP/1.1\r\ntransfer-encodings: chunked\r\n\r\n");
	assert_false(weir_head_chunked(&h));
}

static void statuses(void **state)
{
	static const struct {
		const char *line;
		uint32_t status;
	} lines[] = {
		{ "HTTP/1.1 200 OK", 200 },	  { "HTTP/1.0 404 Not Found", 404 },
		{ "HTTP/1.1 100 Continue", 100 }, { "HTTP/1.1 599", 599 },
		{ "HTTP/1.1 099 x", 0 },	  { "HTTP/1.1 600 x", 0 },
		{ "HTTP/1.1  200 OK", 0 },	  { "HTTP/2.0 200 OK", 0 },
		{ "GET / HTTP/1.1", 0 },	  { "HTTP/1.1 2x0 OK", 0 },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "%s\r\n\r\n", lines[i].line);
		assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
		assert_int_equal(weir_head_status(&h), lines[i].status);
	}
}

static void any_bytes_are_survived(void **state)
{
	static const char alphabet[] = "\r\n\r\n: ABCabc019\t-";
	static char text[WEIR_HEAD_MAX];

	srand(5);
	for (int i = 0; i < 3000; i++) {
		size_t n = 1 + rand() % (i % 8 ? 200 : WEIR_HEAD_MAX);

		for (size_t j = 0; j < n; j++)
			text[j] = rand() % 30 ? alphabet[rand() % (sizeof(alphabet) - 1)] : rand();
		if (scan(text, n) == WEIR_HEAD_DONE)
			assert_true(h.head_len <= n);
		weir_head_key(&h);
		weir_head_content_length(&h);
		weir_head_is_request(&h);
		weir_head_status(&h);
	}
}

static void the_first_byte_equal_to_one_sought_is_found(void **state)
{
	srand(6);
	for (int i = 0; i < 200000; i++) {
		uint8_t bytes[8];
		uint64_t word;
		uint32_t at = 0;

		for (int j = 0; j < 8; j++)
			bytes[j] = rand() % 3 ? rand() : '\n' + rand() % 3 - 1;
		memcpy(&word, bytes, 8);
		while (at < 8 && bytes[at] != '\n')
			at++;
		assert_int_equal(weir_word_find(word, '\n'), at);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_is_found_whole_or_not_at_all),
		cmocka_unit_test(heads_of_every_length_up_to_the_longest),
		cmocka_unit_test(the_worst_head_is_still_scanned_to_its_end),
		cmocka_unit_test(bare_line_feeds_end_lines),
		cmocka_unit_test(only_a_request_line_makes_a_request),
		cmocka_unit_test(the_key_is_found_in_any_case_and_with_any_blanks),
		cmocka_unit_test(authorization_comes_before_the_others),
		cmocka_unit_test(what_only_looks_like_a_key_header_is_none),
		cmocka_unit_test(only_letters_have_a_case),
		cmocka_unit_test(lengths_are_plain_numbers),
		cmocka_unit_test(two_numbers_are_none),
		cmocka_unit_test(a_number_behind_many_blanks_is_whole_or_unknown),
		cmocka_unit_test(transfer_encoding_is_told),
		cmocka_unit_test(statuses),
		cmocka_unit_test(any_bytes_are_survived),
		cmocka_unit_test(the_first_byte_equal_to_one_sought_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
