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

/* What lies behind the bytes at hand is hostile. */
static void spoil(void)
{
	static const char trap[] = "\nAuthorization: Bearer trap\r\n\r\nContent-Length: 9\r\n\r\n";

	for (size_t i = 0; i < sizeof(h.bytes); i++)
		h.bytes[i] = trap[i % (sizeof(trap) - 1)];
}

/* More of a head, in pieces as the gate takes them from a packet. */
static uint32_t add(const char *text, size_t n)
{
	uint32_t result = h.result;

	while (n && result == WEIR_HEAD_MORE) {
		size_t piece = n < WEIR_HEAD_LOAD ? n : WEIR_HEAD_LOAD;

		if (h.len >= WEIR_HEAD_MAX)
			return WEIR_HEAD_TOO_LARGE;
		memcpy(h.bytes + h.len, text, piece);
		result = weir_head_scan(&h, piece);
		text += piece;
		n -= piece;
	}
	return result;
}

static uint32_t scan(const char *text, size_t n)
{
	spoil();
	weir_head_start(&h, true);
	return add(text, n);
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

static const char sample[] =
	"POST /v1/chat/completions HTTP/1.1\r\nHost: llm:8000\r\nUser-Agent: "
	"OpenAI/Python 1.2\r\nAuthorization: Bearer sk-abc\r\nContent-Length: 123\r\nX-Api-"
	"Key: other\r\nAccept: */*\r\n\r\n{\"model\": \"m\"}\r\n\r\n";

static void is_the_sample(void)
{
	struct weir_request_line l;

	assert_int_equal(h.head_len, strstr(sample, "\r\n\r\n") + 4 - sample);
	assert_int_equal(weir_head_content_length(&h), 123);
	assert_int_equal(weir_head_coding(&h), WEIR_CODING_NONE);
	assert_true(weir_head_request_line(&h, &l));
	assert_string_equal(key(), "sk-abc");
	assert_int_equal(h.repeated, 0);
}

static void a_head_is_found_whole_or_not_at_all(void **state)
{
	size_t head = strstr(sample, "\r\n\r\n") + 4 - sample;

	for (size_t n = 1; n < sizeof(sample); n++) {
		assert_int_equal(scan(sample, n), n < head ? WEIR_HEAD_MORE : WEIR_HEAD_DONE);
		if (n >= head)
			is_the_sample();
	}
}

static void a_head_goes_on_wherever_it_was_cut(void **state)
{
	size_t head = strstr(sample, "\r\n\r\n") + 4 - sample;

	for (size_t a = 1; a < head; a++)
		for (size_t b = a; b < head; b++) {
			assert_int_equal(scan(sample, a), WEIR_HEAD_MORE);
			if (b > a)
				assert_int_equal(add(sample + a, b - a), WEIR_HEAD_MORE);
			assert_int_equal(add(sample + b, sizeof(sample) - 1 - b), WEIR_HEAD_DONE);
			is_the_sample();
		}
	scan("", 0);
	for (size_t i = 0; i < head; i++)
		assert_int_equal(add(sample + i, 1),
				 i + 1 < head ? WEIR_HEAD_MORE : WEIR_HEAD_DONE);
	is_the_sample();
}

static void a_name_is_read_when_it_is_there_whole(void **state)
{
	static const char *const names[] = {
		"Authorization",     "X-Api-Key", "Api-Key",	   "Content-Length",
		"Transfer-Encoding", "Upgrade",	  "X-Weir-Tenant", "Content-Encoding",
	};
	static const char line[] = "POST / HTTP/1.1\r\n";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[200];
		size_t n = snprintf(text, sizeof(text), "%s%s: x\r\n\r\n", line, names[i]);

		for (size_t cut = 1; cut < n; cut++) {
			assert_int_equal(scan(text, cut), WEIR_HEAD_MORE);
			assert_int_equal(add(text + cut, n - cut), WEIR_HEAD_DONE);
			for (uint32_t v = 1; v < WEIR_HDR_MAX; v++)
				assert_int_equal(!!h.value[v].end, v == i + 1);
			assert_int_equal(h.value[i + 1].off,
					 sizeof(line) - 1 + strlen(names[i]) + 1);
			assert_int_equal(h.value[i + 1].end, n - 4);
		}
	}
}

static void heads_of_every_length_up_to_the_longest(void **state)
{
	static char text[WEIR_HEAD_MAX + 64];

	for (int pad = 1; pad < WEIR_HEAD_MAX + 16; pad += pad < 40 || pad > 16300 ? 1 : 13) {
		int n = sprintf(text, "GET / HTTP/1.1\r\nA: %0*d\r\nx-api-key: k\r\n\r\n", pad, 0);

		if (n > WEIR_HEAD_MAX) {
			assert_int_equal(scan(text, n), WEIR_HEAD_TOO_LARGE);
			continue;
		}
		assert_int_equal(scan(text, n), WEIR_HEAD_DONE);
		assert_int_equal(h.head_len, n);
		assert_string_equal(key(), "k");
	}
}

/* However slowly it is read: of the shortest lines, and of a line without end. */
static void the_worst_heads_are_read_to_their_end(void **state)
{
	static char text[WEIR_HEAD_MAX + 5000];
	size_t n = sprintf(text, "GET / HTTP/1.1\n");

	for (int i = 1; i < WEIR_HEAD_LINES; i++)
		n += sprintf(text + n, "a:\n");
	strcpy(text + n, "\n");
	assert_int_equal(scan(text, n + 1), WEIR_HEAD_DONE);
	assert_int_equal(h.head_len, n + 1);
	strcpy(text + n, "a:\n\n");
	assert_int_equal(scan(text, n + 4), WEIR_HEAD_TOO_LARGE);
	memset(text, 'a', sizeof(text));
	assert_int_equal(scan(text, WEIR_HEAD_MAX), WEIR_HEAD_MORE);
	assert_int_equal(scan(text, sizeof(text)), WEIR_HEAD_TOO_LARGE);
	memset(text, '\t', sizeof(text));
	memcpy(text, "GET / HTTP/1.1\na:", 17);
	assert_int_equal(scan(text, WEIR_HEAD_MAX), WEIR_HEAD_MORE);
	memcpy(text + WEIR_HEAD_MAX - 2, "\n\n", 2);
	assert_int_equal(scan(text, WEIR_HEAD_MAX), WEIR_HEAD_DONE);
}

static void bare_line_feeds_end_lines(void **state)
{
	struct weir_request_line l;

	assert_int_equal(scan_text("GET / HTTP/1.1\nx-api-key: k\n\nbody"), WEIR_HEAD_DONE);
	assert_int_equal(h.head_len, 29);
	assert_string_equal(key(), "k");
	assert_true(weir_head_request_line(&h, &l));
}

static void blank_lines_in_front_are_skipped_up_to_64(void **state)
{
	char text[200];

	for (int n = 0; n < 80; n++) {
		memset(text, n % 3 ? '\n' : '\r', n);
		strcpy(text + n, "GET / HTTP/1.1\r\n\r\n");
		assert_int_equal(scan_text(text),
				 n <= WEIR_HEAD_BLANK ? WEIR_HEAD_DONE : WEIR_HEAD_BAD);
		if (n <= WEIR_HEAD_BLANK) {
			assert_int_equal(h.start, n);
			assert_int_equal(h.head_len, n + 18);
		}
	}
}

static void what_servers_read_differently_is_bad(void **state)
{
	static const char *const heads[] = {
		"GET / HTTP/1.1\r\n A: folded\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n\tfolded\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n",
		"GET / HTTP/1.1\r\nno colon\r\n\r\n",
		"GET / HTTP/1.1\r\nnocolon\r\n\r\n",
		"GET / HTTP/1.1\r\nname : b\r\n\r\n",
		"GET / HTTP/1.1\r\nname\t: b\r\n\r\n",
		"GET / HTTP/1.1\r\n: b\r\n\r\n",
		"GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
		"GET / HTTP/1.1\r\nTransfer-Encoding\t: chunked\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n\rX\r\n\r\n",
		"GET / HTTP/1.1\r\nA: \x01\r\n\r\n",
		"GET / HTTP/1.1\r\nA: \x0b\r\n\r\n",
		"GET / HTTP/1.1\r\nA: \x1f\r\n\r\n",
		"GET / HTTP/1.1\r\nA\x1b: b\r\n\r\n",
		"GET\t/ HTTP/1.1\r\nA: b\r\n\r\n",
		"GET /a\tb HTTP/1.1\r\nA: b\r\n\r\n",
		"GET /a-target-that-is-longer-than-32-bytes-with-a\tb-in-it HTTP/1.1\r\n\r\n",
		"GET /\x7 HTTP/1.1\r\nA: b\r\n\r\n",
		"GET / HTTP/1.1\rA: b\r\n\r\n",
	};

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		size_t n = strlen(heads[i]);

		for (size_t cut = 0; cut < n; cut++) {
			scan(heads[i], cut);
			if (add(heads[i] + cut, n - cut) != WEIR_HEAD_BAD)
				fail_msg("\"%s\" cut at %zu is not bad", heads[i], cut);
		}
	}
	/* A NUL, anywhere. */
	for (size_t at = 0; at < 30; at++) {
		char text[] = "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";

		text[at] = 0;
		assert_int_equal(scan(text, sizeof(text) - 1), WEIR_HEAD_BAD);
	}
}

static void headers_that_came_twice_are_told(void **state)
{
	static const char *const lines[WEIR_HDR_MAX] = {
		"",
		"Authorization: Bearer x",
		"x-api-key: x",
		"api-key: x",
		"Content-Length: 5",
		"Transfer-Encoding: chunked",
		"Upgrade: h2c",
		"x-weir-tenant: x",
		"Content-Encoding: gzip",
	};

	for (int i = 1; i < WEIR_HDR_MAX; i++) {
		char text[300];

		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\nA: b\r\n\r\n", lines[i]);
		assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
		assert_int_equal(h.repeated, 0);
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\nA: b\r\n%s\r\n\r\n", lines[i],
			 lines[i]);
		assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
		assert_int_equal(h.repeated, 1 << i);
	}
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
		{ "get / HTTP/1.1", true },
		{ "GET  / HTTP/1.1", true },
		{ "GET / x HTTP/1.1", true },
		{ "ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1", true },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1", false },
		{ "GET / HTTP/1.2", false },
		{ "GET / HTTP/1.", false },
		{ "GET / HTTP/2.0", false },
		{ "GET / HTTP/11.1", false },
		{ "GET /HTTP/1.1", false },
		{ "GET HTTP/1.1", false },
		{ "GET  HTTP/1.1", false },
		{ " / HTTP/1.1", false },
		{ "GET / http/1.1", false },
		{ "GET / HTTP/1.1 ", false },
		{ "HTTP/1.1 200 OK", false },
		{ "PRI * HTTP/2.0", false },
		{ "GET /", false },
		{ "G", false },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct weir_request_line l;
		char text[128];

		snprintf(text, sizeof(text), "%s\r\nA: b\r\n\r\n", lines[i].line);
		assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
		if (weir_head_request_line(&h, &l) != lines[i].is)
			fail_msg("\"%s\"", lines[i].line);
	}
}

static void the_key_is_found_in_any_case_and_with_any_blanks(void **state)
{
	assert_string_equal(key_of("Authorization: Bearer sk-1"), "sk-1");
	assert_string_equal(key_of("authorization:bearer sk-1"), "sk-1");
	assert_string_equal(key_of("AUTHORIZATION:  BEARER   sk-1  "), "sk-1");
	assert_string_equal(key_of("Authorization:\tBeArEr sk-1"), "sk-1");
	/* Some servers take a TAB at the end for part of the value. */
	assert_string_equal(key_of("x-api-key: sk-1\t"), "sk-1\t");
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
		"X-Authorization: Bearer x",
		"x-api-keys: x",
		"x-api-ke: x",
		"my-api-key: x",
		"Authorization: Basic eDp5",
		"Authorization: Bearer",
		"Authorization: Bearerx",
		"Authorization:",
		"Cookie: api-key: x",
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		if (key_of(headers[i]))
			fail_msg("\"%s\" gives the key \"%s\"", headers[i], key());
}

/* Folding case must not turn 0d into '-' and 1a into ':': both are bad anyway; or 0e, 5f
 * and the like into letters. */
static void only_letters_have_a_case(void **state)
{
	static const char name[] = "transfer-encoding";

	for (size_t i = 0; i < sizeof(name) - 1; i++)
		for (int c = 0x21; c < 256; c++) {
			char text[100];
			bool same = (c | 0x20) == name[i] && name[i] != '-';

			if (c == ':')
				continue;
			same |= c == name[i];
			snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s: chunked\r\n\r\n",
				 name);
			text[17 + i] = c;
			assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
			assert_int_equal(weir_head_coding(&h) == WEIR_CODING_CHUNKED, same);
		}
}

static void lengths_are_plain_numbers(void **state)
{
	assert_int_equal(length_of(" 0"), 0);
	assert_int_equal(length_of("42"), 42);
	assert_int_equal(length_of("\t 000042 "), 42);
	assert_int_equal(length_of(" 42\t"), WEIR_NO_LENGTH);
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
	assert_int_equal(length_of(" 12  "), 12);
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

static uint32_t coding_of(const char *value)
{
	char text[256];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\ntransfer-ENCODING:%s\r\n\r\n", value);
	assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
	return weir_head_coding(&h);
}

static void chunked_and_nothing_else_is_chunked(void **state)
{
	static const char *const others[] = {
		"",
		" ",
		" identity",
		" gzip, chunked",
		" chunked, chunked",
		" chunked;a=b",
		" \"chunked\"",
		" chunke",
		" chunkedx",
		" xchunked",
		"      chunked",
		" chunked\t",
		" chunked     ",
		",chunked",
	};

	assert_int_equal(coding_of(" chunked"), WEIR_CODING_CHUNKED);
	assert_int_equal(coding_of("CHUNKED"), WEIR_CODING_CHUNKED);
	assert_int_equal(coding_of("\t \t ChUnKeD    "), WEIR_CODING_CHUNKED);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(coding_of(others[i]), WEIR_CODING_OTHER);
	scan_text("POST / HTTP/1.1\r\ntransfer-encodings: chunked\r\n\r\n");
	assert_int_equal(weir_head_coding(&h), WEIR_CODING_NONE);
}

static uint32_t asks(uint32_t (*what)(const struct weir_head *), const char *line)
{
	char text[256];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n\r\n", line);
	assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
	return what(&h);
}

static void an_upgrade_to_h2c_is_only_an_offer(void **state)
{
	assert_false(asks(weir_head_upgrades, "A: b"));
	assert_false(asks(weir_head_upgrades, "Upgrade: h2c"));
	assert_false(asks(weir_head_upgrades, "upgrade:h2c  "));
	assert_true(asks(weir_head_upgrades, "Upgrade: websocket"));
	assert_true(asks(weir_head_upgrades, "Upgrade: h2c, websocket"));
	assert_true(asks(weir_head_upgrades, "Upgrade: H2C"));
	assert_true(asks(weir_head_upgrades, "Upgrade: h2"));
	assert_true(asks(weir_head_upgrades, "Upgrade:"));
}

static void identity_is_no_encoding(void **state)
{
	assert_false(asks(weir_head_encoded, "A: b"));
	assert_false(asks(weir_head_encoded, "Content-Encoding: Identity "));
	assert_true(asks(weir_head_encoded, "Content-Encoding: gzip"));
	assert_true(asks(weir_head_encoded, "Content-Encoding: identity, gzip"));
	assert_true(asks(weir_head_encoded, "content-encoding: xidentity"));
	assert_true(asks(weir_head_encoded, "Content-Encoding:"));
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
		spoil();
		weir_head_start(&h, false);
		assert_int_equal(add(text, strlen(text)), WEIR_HEAD_DONE);
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
		struct weir_request_line l;

		for (size_t j = 0; j < n; j++)
			text[j] = rand() % 30 ? alphabet[rand() % (sizeof(alphabet) - 1)] : rand();
		if (scan(text, n) == WEIR_HEAD_DONE)
			assert_true(h.head_len <= n);
		weir_head_key(&h);
		weir_head_content_length(&h);
		weir_head_request_line(&h, &l);
		weir_head_coding(&h);
		weir_head_upgrades(&h);
		weir_head_encoded(&h);
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
		cmocka_unit_test(a_head_goes_on_wherever_it_was_cut),
		cmocka_unit_test(a_name_is_read_when_it_is_there_whole),
		cmocka_unit_test(heads_of_every_length_up_to_the_longest),
		cmocka_unit_test(the_worst_heads_are_read_to_their_end),
		cmocka_unit_test(blank_lines_in_front_are_skipped_up_to_64),
		cmocka_unit_test(what_servers_read_differently_is_bad),
		cmocka_unit_test(headers_that_came_twice_are_told),
		cmocka_unit_test(bare_line_feeds_end_lines),
		cmocka_unit_test(only_a_request_line_makes_a_request),
		cmocka_unit_test(the_key_is_found_in_any_case_and_with_any_blanks),
		cmocka_unit_test(authorization_comes_before_the_others),
		cmocka_unit_test(what_only_looks_like_a_key_header_is_none),
		cmocka_unit_test(only_letters_have_a_case),
		cmocka_unit_test(lengths_are_plain_numbers),
		cmocka_unit_test(two_numbers_are_none),
		cmocka_unit_test(a_number_behind_many_blanks_is_whole_or_unknown),
		cmocka_unit_test(chunked_and_nothing_else_is_chunked),
		cmocka_unit_test(an_upgrade_to_h2c_is_only_an_offer),
		cmocka_unit_test(identity_is_no_encoding),
		cmocka_unit_test(statuses),
		cmocka_unit_test(any_bytes_are_survived),
		cmocka_unit_test(the_first_byte_equal_to_one_sought_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
