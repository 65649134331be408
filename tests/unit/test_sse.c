// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the SSE splitter. Each stream is cut at every byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/find.h"
#include "agent/sse.h"

static void feed(struct weir_sse *s, const char *bytes, size_t n, char *log)
{
	const uint8_t *p = (const uint8_t *)bytes, *end = p + n, *data;
	enum weir_sse_item item;
	size_t len;

	while ((item = weir_sse_next(s, &p, end, &data, &len)) != WEIR_SSE_MORE) {
		if (item == WEIR_SSE_DATA)
			strncat(log, (const char *)data, len);
		else
			strcat(log, "|");
	}
}

static void split(const char *stream, size_t n, const char *events)
{
	char log[1024];
	size_t cut;

	for (cut = 0; cut <= n; cut++) {
		struct weir_sse s = { 0 };

		log[0] = '\0';
		feed(&s, stream, cut, log);
		feed(&s, stream + cut, n - cut, log);
		assert_string_equal(log, events);
	}
}

#define SPLIT(stream, events) split(stream, sizeof(stream) - 1, events)

static void every_line_ending_ends_a_line(void **unused)
{
	SPLIT("data: a\n\ndata: b\n\n", "a|b|");
	SPLIT("data: a\r\n\r\ndata: b\r\n\r\n", "a|b|");
	SPLIT("data: a\r\rdata: b\r\r", "a|b|");
	SPLIT("data: a\r\n\ndata: b\n\r\ndata: c\r\r\ndata: d\n\r", "a|b|c|d|");
}

static void data_lines_are_joined(void **unused)
{
	SPLIT("data: a\ndata: b\ndata:c\n\n", "a\nb\nc|");
	SPLIT("data:\ndata\ndata:  b\n\n", "\n\n b|"); /* "data" alone is a line of nothing */
	SPLIT("data\n\n", "|");
}

static void the_rest_is_passed_over(void **unused)
{
	SPLIT(": comment\n:\nevent: data: x\nid: 1\ndata: a\nretry: 5\n\n\n\n: x\n\n", "a|");
	SPLIT("dat: x\ndata : x\nDATA: x\n data: x\ndatax: x\ndata: y\n\n", "y|");
}

static void a_byte_order_mark_may_come_first_only(void **unused)
{
	SPLIT("\xef\xbb\xbf"
	      "data: a\n\n\xef\xbb\xbf"
	      "data: b\n\n",
	      "a|");
	SPLIT("\xef\xbbx\ndata: a\n\n", "a|");
}

static void an_unfinished_event_is_not_reported(void **unused)
{
	SPLIT("data: a\n\ndata: b\n", "a|b");
	SPLIT("data: a\n\ndata: b", "a|b");
}

static void after_a_loss_the_line_is_not_believed(void **unused)
{
	struct weir_sse s = { 0 };
	char log[64] = "";

	feed(&s, "data: a\n\ndata: b", 16, log);
	weir_sse_lost(&s);
	feed(&s, "data: c\n\ndata: d\n\n", 18, log);
	assert_string_equal(log, "a|b|d|");
}

static void finding_agrees_with_looking(void **unused)
{
	static const char alphabet[] = "aaaaaaaaaaaa\x02\x0b\x5c\"[]{}\r\n\xdb\xfb\xa2\x80";
	uint8_t bytes[80];
	size_t i, n, from;
	unsigned what;

	srandom(1);
	for (i = 0; i < 20000; i++) {
		uint8_t *piece = malloc(n = (size_t)random() % sizeof(bytes) + 1);

		assert_non_null(piece);
		for (from = 0; from < n; from++)
			piece[from] =
				(size_t)random() % 4
					? 'a'
					: (uint8_t)alphabet[(size_t)random() % sizeof(alphabet)];
		for (what = 0; what <= WEIR_FIND_LINE_END; what++) {
			const uint8_t *want = piece;

			while (want < piece + n && !weir_find_is(*want, what))
				want++;
			assert_ptr_equal(weir_find(piece, piece + n, what), want);
		}
		free(piece);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_line_ending_ends_a_line),
		cmocka_unit_test(data_lines_are_joined),
		cmocka_unit_test(the_rest_is_passed_over),
		cmocka_unit_test(a_byte_order_mark_may_come_first_only),
		cmocka_unit_test(an_unfinished_event_is_not_reported),
		cmocka_unit_test(after_a_loss_the_line_is_not_believed),
		cmocka_unit_test(finding_agrees_with_looking),
	};

	return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
