// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about HTTP/1.1 framing: which bytes are the body, when the answer is
 * over, and that what cannot be framed for certain is bad. Each answer is fed
 * whole and byte by byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/http1.h"

struct result {
	struct weir_http1 h;
	char body[256];
	size_t body_len;
	size_t took;
};

static void feed(struct result *r, const char *bytes, size_t n, size_t piece, bool head_method)
{
	memset(r, 0, sizeof(*r));
	weir_http1_init(&r->h, head_method);
	while (r->took < n && !weir_http1_done(&r->h) && !weir_http1_bad(&r->h)) {
		size_t len = n - r->took < piece ? n - r->took : piece;
		const uint8_t *body;
		size_t body_len;

		len = weir_http1_step(&r->h, (const uint8_t *)bytes + r->took, len, &body,
				      &body_len);
		assert_true(len > 0);
		assert_true(r->body_len + body_len < sizeof(r->body));
		if (body_len)
			memcpy(r->body + r->body_len, body, body_len);
		r->body_len += body_len;
		r->took += len;
	}
}

enum end { OPEN, IS_DONE, IS_BAD };

static void frames(const char *bytes, size_t n, const char *body, size_t surplus, enum end end,
		   bool head_method)
{
	size_t piece;

	for (piece = 1; piece <= n; piece += piece < 8 ? 1 : n - 8 ? n - 8 : 1) {
		struct result r;

		feed(&r, bytes, n, piece, head_method);
		assert_int_equal(weir_http1_bad(&r.h), end == IS_BAD);
		assert_int_equal(weir_http1_done(&r.h), end == IS_DONE);
		if (end == IS_BAD)
			continue;
		assert_string_equal(r.body, body);
		assert_int_equal(n - r.took, surplus);
	}
}

#define FRAMES(bytes, body, surplus, end)                                                          \
	frames(bytes, sizeof(bytes) - 1, body, surplus, end, false)
#define DONE(bytes, body) FRAMES(bytes, body, 0, IS_DONE)
#define BAD(bytes)	  FRAMES(bytes, "", 0, IS_BAD)

static void content_length_is_obeyed(void **unused)
{
	DONE("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello");
	FRAMES("HTTP/1.1 200 OK\r\ncontent-length:5 \r\n\r\nhelloHTTP", "hello", 4, IS_DONE);
	FRAMES("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello", "hello", 0, OPEN);
	DONE("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "");
	DONE("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\ncontent-length: 02\r\n\r\nab", "ab");
	DONE("HTTP/1.1 200\nCONTENT-LENGTH:\t2\nx:\n\nab", "ab"); /* LF only, no reason */
	DONE("\r\n\nHTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab", "ab");
}

static void length_that_is_no_length_is_bad(void **unused)
{
	BAD("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello");
	BAD("HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello");
	BAD("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n");
	BAD("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n");
	BAD("HTTP/1.1 200 OK\r\ncontent-length: 5x\r\n\r\n");
	BAD("HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\n");
	BAD("HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\n");
	BAD("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551617\r\n\r\n");
	BAD("HTTP/1.1 200 OK\r\ncontent-length: 5\0x\r\n\r\nhello");
	BAD("HTTP/1.1 200 OK\r\ncontent-length:          "
	    "                                                                                "
	    "5\r\n\r\n");
}

static void headers_that_some_read_otherwise_are_bad(void **unused)
{
	BAD("HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello");
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding\t: chunked\r\n\r\n");
	BAD("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n 6\r\n\r\nhello");
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: x,\r\n\tchunked\r\n\r\n");
	DONE("HTTP/1.1 200 OK\r\nx-folded: a\r\n b\r\ncontent-lengths : 7\r\ncontent-length: "
	     "2\r\n\r\nab",
	     "ab");
}

static void other_header_lines_are_shown(void **unused)
{
	static const char bytes[] = "HTTP/1.1 103 x\r\nX-A: early\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1 "
				    "\r\nContent-Length: 2\r\n"
				    "Content-Type: text/plain\r\ncache-status: "
				    "789012345678901234567890123456789012345678901234"
				    "567890123456789012345678901234567890\r\nc: \r\n\r\nab";
	static const char want[] =
		"A X-A: 1 |S cache-status: 78901234567890123456789012345678901234567890123456"
		"7890123456789012345678901234|A c: |";
	size_t piece;

	for (piece = 1; piece < 400; piece = piece * 2 + 1) {
		char got[400] = "";
		struct weir_http1 h;
		size_t at = 0, len, n = sizeof(bytes) - 1;
		const uint8_t *body;

		weir_http1_init(&h, false);
		while (at < n) {
			at += weir_http1_step(&h, (const uint8_t *)bytes + at,
					      n - at < piece ? n - at : piece, &body, &len);
			if (h.line_is)
				sprintf(got + strlen(got), "%c %s|",
					h.line_is == WEIR_HTTP1_A_LINE ? 'A' : 'S', h.line);
		}
		assert_string_equal(got, want);
	}
}

static void chunks_are_joined(void **unused)
{
	DONE("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
	     "chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
	     "hello!");
	FRAMES("HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\ncontent-length: 3\r\n\r\n"
	       "000a ; a=\"b\\\"\"\r\n0123456789\r\n0;x\r\nTrailer: x\r\nb: c\r\n\r\nnext",
	       "0123456789", 4, IS_DONE);
	DONE("HTTP/1.1 200 OK\ntransfer-encoding:chunked\n\n1\na\n0\n\n", "a");
	FRAMES("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffff\r\nabc", "abc",
	       0, OPEN);
	FRAMES("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", "a", 0, OPEN);
}

static void chunks_that_are_not_framed_are_bad(void **unused)
{
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n");
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n;x\r\n");
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n");
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n");
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\r\n");
	FRAMES("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\r\n", "", 0, OPEN);
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8000000000000000\r\n");
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000001\r\n");
	BAD("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked          "
	    "                                                                     \r\n\r\n");
}

static void the_last_coding_frames_the_body(void **unused)
{
	struct result r;
	static const char gzip[] =
		"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";

	feed(&r, gzip, sizeof(gzip) - 1, 7, false);
	assert_true(weir_http1_done(&r.h));
	assert_true(r.h.flags & WEIR_HTTP1_OPAQUE);
	FRAMES("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, x\r\ncontent-length: "
	       "1\r\n\r\n1\r\na",
	       "1\r\na", 0, OPEN);
}

static void without_either_the_close_ends_it(void **unused)
{
	static const char bytes[] = "HTTP/1.1 200 OK\r\n\r\nab";
	struct result r;

	FRAMES("HTTP/1.1 200 OK\r\n\r\nab\r\n\r\n", "ab\r\n\r\n", 0, OPEN);
	feed(&r, bytes, sizeof(bytes) - 1, 100, false);
	weir_http1_close(&r.h);
	assert_true(weir_http1_done(&r.h));
	feed(&r, bytes, 17, 100, false); /* in the head */
	weir_http1_close(&r.h);
	assert_false(weir_http1_done(&r.h));
}

static void some_answers_have_no_body(void **unused)
{
	static const char head[] = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHTTP";

	FRAMES("HTTP/1.1 204 No Content\r\n\r\nHTTP", "", 4, IS_DONE);
	FRAMES("HTTP/1.1 304 x\r\ncontent-length: 5\r\n\r\nHTTP", "", 4, IS_DONE);
	frames(head, sizeof(head) - 1, "", 4, IS_DONE, true);
}

static void interim_answers_are_not_the_answer(void **unused)
{
	struct result r;
	static const char bytes[] =
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\ncontent-length: 9\r\n"
		"content-type: text/event-stream\r\n\r\n"
		"HTTP/1.1 201 x\r\ncontent-length: 1\r\n\r\na";

	DONE("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\ncontent-length: 9\r\n\r\n"
	     "HTTP/1.1 200 x\r\ncontent-length: 1\r\n\r\na",
	     "a");
	feed(&r, bytes, sizeof(bytes) - 1, 5, false);
	assert_int_equal(r.h.status, 201);
	assert_int_equal(r.h.type, WEIR_HTTP1_OTHER);
	FRAMES("HTTP/1.1 101 x\r\n\r\nanything", "anything", 0, OPEN);
}

static void what_is_not_http_is_bad(void **unused)
{
	struct result r;

	BAD("HTTP/2 200\r\n\r\n");
	BAD("HTTP/1.1  200 OK\r\n\r\n");
	BAD("HTTP/1.1 2000 OK\r\n\r\n");
	BAD("HTTP/1.1 099 OK\r\n\r\n");
	BAD("HTTP/1.1 20\r\n\r\n");
	BAD("\x16\x03\x01\x02\n");
	feed(&r, "HTTP/1.1 2000 OK\r\n", 18, 18, false);
	assert_int_equal(r.h.status, 0);
	BAD("HTTP/1.\0 200 OK\r\n");
	BAD("HTTP/1.1 200\0OK\r\n");
}

static void a_head_that_never_ends_is_bad(void **unused)
{
	static const char *const starts[] = {
		"HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
	};
	static const char *const more[] = { "x: y\r\n", "xxxx", "x: y\r\n", "0000" };
	const uint8_t *body;
	size_t i, n, len;

	for (i = 0; i < 4; i++) {
		struct weir_http1 h;
		const char *p = starts[i];

		weir_http1_init(&h, false);
		while (*p)
			p += weir_http1_step(&h, (const uint8_t *)p, strlen(p), &body, &len);
		for (n = 0; n < WEIR_HTTP1_HEAD_MAX && !weir_http1_bad(&h); n++)
			weir_http1_step(&h, (const uint8_t *)more[i], strlen(more[i]), &body, &len);
		assert_true(weir_http1_bad(&h));
	}
}

static void interim_answers_do_not_go_on_for_ever(void **unused)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct weir_http1 h;
	const uint8_t *body;
	size_t n, len;

	weir_http1_init(&h, false);
	for (n = 0; n < WEIR_HTTP1_HEAD_MAX && !weir_http1_bad(&h); n++) {
		const char *p = interim;

		while (*p && !weir_http1_bad(&h))
			p += weir_http1_step(&h, (const uint8_t *)p, strlen(p), &body, &len);
	}
	assert_true(weir_http1_bad(&h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_length_is_obeyed),
		cmocka_unit_test(length_that_is_no_length_is_bad),
		cmocka_unit_test(headers_that_some_read_otherwise_are_bad),
		cmocka_unit_test(other_header_lines_are_shown),
		cmocka_unit_test(chunks_are_joined),
		cmocka_unit_test(chunks_that_are_not_framed_are_bad),
		cmocka_unit_test(the_last_coding_frames_the_body),
		cmocka_unit_test(without_either_the_close_ends_it),
		cmocka_unit_test(some_answers_have_no_body),
		cmocka_unit_test(interim_answers_are_not_the_answer),
		cmocka_unit_test(what_is_not_http_is_bad),
		cmocka_unit_test(a_head_that_never_ends_is_bad),
		cmocka_unit_test(interim_answers_do_not_go_on_for_ever),
	};

	return cmocka_run_group_tests_name("http1", tests, NULL, NULL);
}
