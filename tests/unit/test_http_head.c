/* SPDX-License-Identifier: Apache-2.0 */
/* The head scanner: where a head ends, which forms are bad, what the first line says; at every
 * cut, and with the leavings of an earlier head behind it. */
#include "tests/unit/head_fixture.h"

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
		cmocka_unit_test(statuses),
		cmocka_unit_test(any_bytes_are_survived),
		cmocka_unit_test(the_first_byte_equal_to_one_sought_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
