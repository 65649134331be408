/* SPDX-License-Identifier: Apache-2.0 */
/* Chunk framing: its end is found at its very byte, however the bytes come, and
 * data is stepped over unread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/chunked.h"

static bool strict; /* as of requests, else of answers */

/* As the gate and the tap walk: windows over a segment of n bytes. Returns the bytes used. */
static size_t walk(struct weir_chunk *c, const char *p, size_t n)
{
	size_t off = 0;

	while (off < n && c->phase < WEIR_CHUNK_DONE) {
		size_t rest = n - off, look = rest < WEIR_CHUNK_WINDOW ? rest : WEIR_CHUNK_WINDOW;
		uint8_t window[WEIR_CHUNK_WINDOW];
		uint32_t used;

		memcpy(window, p + off, look);
		used = weir_chunk_window(c, window, look, rest, strict);
		assert_in_range(used, 1, rest);
		off += used;
	}
	return off;
}

/* The whole text is one body, whichever two places it is cut at; bytes behind it are left. */
static void is_one_body(const char *text)
{
	size_t n = strlen(text);

	for (size_t a = 0; a <= n; a++)
		for (size_t b = a; b <= n; b++) {
			struct weir_chunk c = {};
			char more[300];

			assert_int_equal(walk(&c, text, a), a);
			assert_int_equal(walk(&c, text + a, b - a), b - a);
			snprintf(more, sizeof(more), "%sHTTP/1.1 200 OK", text + b);
			if (b < n)
				assert_true(c.phase < WEIR_CHUNK_DONE);
			assert_int_equal(walk(&c, more, strlen(more)), n - b);
			assert_int_equal(c.phase, WEIR_CHUNK_DONE);
		}
}

static void the_end_is_found_however_it_is_cut(void **state)
{
	is_one_body("0\r\n\r\n");
	is_one_body("5\r\nhello\r\n0\r\n\r\n");
	is_one_body("00005\r\nhello\r\n000\r\n\r\n");
	is_one_body("1;a=\"b\"\r\nx\r\na ; q\r\n0123456789\r\n0;end\r\n\r\n");
	is_one_body("5\nhello\n0\n\n"); /* bare LF, as servers read it */
	is_one_body("1\r\nx\r\n0\r\nX-A: b\r\nX-B: 0\r\n\r\n");
	is_one_body("0\r\n\rx: y\r\n\r\n"); /* a CR is not yet an empty line */
}

static void data_that_looks_like_the_end_is_data(void **state)
{
	is_one_body("5\r\n0\r\n\r\n\r\n0\r\n\r\n");
	is_one_body("14\r\n\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n..!\r\n0\r\n\r\n");
}

static void sizes_are_hexadecimal_in_either_case(void **state)
{
	char text[600];

	for (int size = 1; size < 300; size += 37) {
		struct weir_chunk c = {};
		int n = sprintf(text, size % 2 ? "%x\r\n" : "%X\r\n", size);

		memset(text + n, '\n', size);
		strcpy(text + n + size, "\r\n0\r\n\r\n");
		assert_int_equal(walk(&c, text, strlen(text + n + size) + n + size), n + size + 7);
		assert_int_equal(c.phase, WEIR_CHUNK_DONE);
	}
}

static void broken_framing_is_told(void **state)
{
	static const char *const texts[] = {
		"x\r\n",     "\r\n",
		";a\r\n",    "-5\r\n",
		"5x\r\n",    "0x5\r\n",
		"3\r\nabcd", "3\r\nabc\rX",
		"3\r\nabcX", "1234567890123\r\n", /* thirteen digits */
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct weir_chunk c = {};

		walk(&c, texts[i], strlen(texts[i]));
		assert_int_equal(c.phase, WEIR_CHUNK_BAD);
	}
}

static void a_large_chunk_is_stepped_over_in_one_go(void **state)
{
	struct weir_chunk c = {};
	static char data[65536];

	walk(&c, "ffffffffffff\r\n", 14);
	assert_int_equal(c.phase, WEIR_CHUNK_DATA);
	assert_int_equal(c.left, 0xffffffffffffULL);
	assert_int_equal(weir_chunk_window(&c, (const uint8_t *)data, 8, sizeof(data), strict),
			 sizeof(data));
	assert_int_equal(c.left, 0xffffffffffffULL - sizeof(data));
}

static void any_bytes_are_survived(void **state)
{
	static const char alphabet[] = "0123aF\r\n\r\n; x";

	srand(3);
	for (int i = 0; i < 200000; i++) {
		struct weir_chunk c = {};
		char text[64];
		size_t n = rand() % sizeof(text);

		for (size_t j = 0; j < n; j++)
			text[j] = rand() % 20 ? alphabet[rand() % (sizeof(alphabet) - 1)] : rand();
		assert_true(walk(&c, text, n) <= n);
	}
}

/* -- strict: a request's */

static int strictly(void **state)
{
	strict = true;
	return 0;
}

static int loosely(void **state)
{
	strict = false;
	return 0;
}

static void what_all_servers_read_alike_is_strict(void **state)
{
	is_one_body("0\r\n\r\n");
	is_one_body("5\r\nhello\r\n0\r\n\r\n");
	is_one_body("000000000005\r\nhello\r\n000\r\n\r\n");
	is_one_body("1;a=\"b\"\r\nx\r\na ; \xc3\xa4\tq\r\n0123456789\r\n0;end\r\n\r\n");
	is_one_body("1\r\nx\r\n0\r\nX-A: b\r\nX-B:\t0\r\n\r\n");
	is_one_body("5\r\n0\r\n\r\n\r\n0\r\n\r\n");
}

/* A slow reader of strict framing. Returns where the body ends, or -1 - the place of the
 * first byte that is wrong; *whole: neither came. */
static long read_strictly(const uint8_t *p, long n, bool *whole)
{
	long at = 0, size, digits;

	*whole = true;
	for (;;) {
		for (size = digits = 0; at < n && strchr("0123456789abcdefABCDEF", p[at]) && p[at];
		     at++) {
			char digit[2] = { (char)p[at] };

			if (++digits > 12)
				return -1 - at;
			size = size * 16 + strtol(digit, NULL, 16);
		}
		if (at < n && (!digits || !p[at] || !strchr("\r; \t", p[at])))
			return -1 - at;
		for (; at < n && p[at] != '\r'; at++)
			if (p[at] < 0x20 && p[at] != '\t')
				return -1 - at;
		at++;
		if (at < n && p[at] != '\n')
			return -1 - at;
		at++;
		if (at > n)
			break;
		if (!size)
			goto trailers;
		if (at + size >= n)
			break;
		at += size;
		for (const char *end = "\r\n"; *end && at < n; end++, at++)
			if (p[at] != *end)
				return -1 - at;
		if (at >= n)
			break;
	}
	*whole = false;
	return 0;
trailers:
	for (bool any = false;;) {
		for (any = false; at < n && p[at] != '\r'; at++, any = true)
			if (p[at] < 0x20 && p[at] != '\t')
				return -1 - at;
		at++;
		if (at < n && p[at] != '\n')
			return -1 - at;
		at++;
		if (at > n)
			break;
		if (!any)
			return at;
	}
	*whole = false;
	return 0;
}

static void strict_framing_is_what_a_slow_reader_says(void **state)
{
	static const char alphabet[] = "0123aF\r\n\r\n\r\n; x\t\x01";
	unsigned int ends = 0, bad = 0;

	srand(4);
	for (int i = 0; i < 400000; i++) {
		static const char *const pieces[] = { "0\r\n",	 "\r\n",       "2\r\nxy\r\n",
						      "A;b\r\n", "0123456789", "X: y\r\n" };
		char text[80];
		size_t n = 0, used;
		struct weir_chunk c = {};
		bool whole;
		long end;

		while (n < 40 && rand() % 8) {
			const char *piece = pieces[rand() % 6];

			memcpy(text + n, piece, strlen(piece));
			n += strlen(piece);
		}
		if (n && rand() % 2)
			text[rand() % n] = alphabet[rand() % (sizeof(alphabet) - 1)];
		end = read_strictly((const uint8_t *)text, n, &whole);
		used = rand() % (n + 1);
		used = walk(&c, text, used);
		used += walk(&c, text + used, n - used);
		if (!whole) {
			assert_true(c.phase < WEIR_CHUNK_DONE);
			assert_int_equal(used, n);
		} else if (end < 0) {
			assert_int_equal(c.phase, WEIR_CHUNK_BAD);
			assert_int_equal(used, -end);
			bad++;
		} else {
			assert_int_equal(c.phase, WEIR_CHUNK_DONE);
			assert_int_equal(used, end);
			ends++;
		}
	}
	assert_true(ends > 1000 && bad > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_end_is_found_however_it_is_cut, loosely),
		cmocka_unit_test_setup(data_that_looks_like_the_end_is_data, loosely),
		cmocka_unit_test_setup(sizes_are_hexadecimal_in_either_case, loosely),
		cmocka_unit_test_setup(broken_framing_is_told, loosely),
		cmocka_unit_test_setup(a_large_chunk_is_stepped_over_in_one_go, loosely),
		cmocka_unit_test_setup(any_bytes_are_survived, loosely),
		cmocka_unit_test_setup(what_all_servers_read_alike_is_strict, strictly),
		cmocka_unit_test_setup(strict_framing_is_what_a_slow_reader_says, strictly),
		cmocka_unit_test_setup(any_bytes_are_survived, strictly),
		cmocka_unit_test_setup(data_that_looks_like_the_end_is_data, strictly),
		cmocka_unit_test_setup(sizes_are_hexadecimal_in_either_case, strictly),
		cmocka_unit_test_setup(broken_framing_is_told, strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
