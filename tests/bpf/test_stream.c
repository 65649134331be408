/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads in the client's stream, however they are cut (forms.md, rules 1 to 4): where one
 * begins, and that no server has a whole one that was not admitted.
 */
#include "tests/bpf/streams.h"

/* A head that is n bytes long, and no body. */
static const char *long_head(const char *key, size_t n)
{
	static char text[20000];
	int at = snprintf(text, sizeof(text), "POST /v1/x HTTP/1.1\r\nx-api-key: %s\r\n", key);
	size_t left = n - at - 2;

	assert_true(n < sizeof(text) && left > 5);
	while (left) {
		size_t line = left < 1000 ? left : left < 1010 ? 900 : 1000;

		memcpy(text + at, "A: ", 3);
		memset(text + at + 3, 'a', line - 5);
		memcpy(text + at + line - 2, "\r\n", 2);
		at += line;
		left -= line;
	}
	memcpy(text + at, "\r\n", 3);
	assert_int_equal(strlen(text), n);
	return text;
}

static void send_cut(struct conn *c, const char *text, size_t n, const size_t *cuts, size_t n_cuts)
{
	size_t from = 0;

	for (size_t i = 0; i <= n_cuts; i++) {
		size_t to = i < n_cuts ? cuts[i] : n;

		if (to > from)
			passes(send_bytes(c, text + from, to - from));
		from = to;
	}
}

static void a_head_in_two_parts_is_judged_when_it_is_whole(void **state)
{
	struct weir_tenant *t = tenant_with("sk-two");
	const char *text = chat("sk-two");
	size_t n = strlen(text), head = strstr(text, "\r\n\r\n") + 4 - text;

	for (size_t cut = 1; cut < n; cut++) {
		struct conn c = open_conn(nobody, host);
		uint64_t parts = counter(WEIR_PASS_HEAD_PART);

		spoil_readers();
		passes(send_bytes(&c, text, cut));
		assert_int_equal(t->inflight, cut >= head);
		assert_int_equal(counter(WEIR_PASS_HEAD_PART) - parts, cut < head);
		passes(send_bytes(&c, text + cut, n - cut));
		assert_int_equal(t->inflight, 1);
		answer_ok(&c);
		assert_int_equal(t->inflight, 0);
		assert_int_equal(t->admitted, cut);
		/* And the next one on that connection. */
		if (cut % 16 == 0) {
			passes(send_text(&c, text));
			answer_ok(&c);
			t->admitted--;
		}
	}
}

static void a_refused_one_never_reaches_the_server_whole(void **state)
{
	struct weir_tenant *t = tenant_with("sk-shut");
	const char *text = chat("sk-shut");
	size_t n = strlen(text), head = strstr(text, "\r\n\r\n") + 4 - text;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	for (size_t cut = 1; cut < head; cut++) {
		struct conn c = open_conn(nobody, host);
		uint32_t part;
		struct verdict v;
		struct answer a;

		passes(send_bytes(&c, text, cut));
		part = c.next;
		v = send_bytes(&c, text + cut, n - cut);
		a = is_refused(&c, &v, 429);
		assert_int_equal(a.tcp.ack, c.next);
		server_is_reset(&c, part);
	}
	assert_int_equal(t->admitted, 0);
	assert_int_equal(free_readers(), readers_before);
}

static void a_malformed_one_is_refused_with_the_part_that_makes_it_so(void **state)
{
	static const char text[] = "POST / HTTP/1.1\r\nA: b\r\nB : c\r\n\r\n";
	size_t blank = strstr(text, "B :") + 1 - text;

	default_tenant();
	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		struct conn c = open_conn(nobody, host);
		struct verdict v = send_bytes(&c, text, cut);

		if (cut > strlen("POST / HTTP/1.1\r\nA: b\r\n") + 18) {
			is_refused(&c, &v, 400);
		} else if (v.code == OUT_PASS) {
			uint32_t part = c.next;
			struct segment rst;

			while (on_the_wire(&rst))
				;
			v = send_bytes(&c, text + cut, sizeof(text) - 1 - cut);
			is_refused(&c, &v, 400);
			server_is_reset(&c, part);
		} else {
			assert_true(cut > blank);
			is_refused(&c, &v, 400);
		}
	}
}

static void a_head_in_parts_of_one_byte_is_judged(void **state)
{
	struct weir_tenant *t = tenant_with("sk-1");
	const char *text = chat("sk-1");
	struct conn c = open_conn(nobody, host);

	for (size_t i = 0; text[i]; i++)
		passes(send_bytes(&c, text + i, 1));
	assert_int_equal(t->inflight, 1);
	is_counted(WEIR_PASS_HEAD_PART, strstr(text, "\r\n\r\n") + 3 - text);
	answer_ok(&c);
	passes(send_text(&c, text));
	answer_ok(&c);
	assert_int_equal(t->admitted, 2);
}

static int by_size(const void *a, const void *b)
{
	return *(const size_t *)a < *(const size_t *)b ? -1
						       : *(const size_t *)a > *(const size_t *)b;
}

static void a_head_in_many_parts_is_judged_wherever_it_is_cut(void **state)
{
	struct weir_tenant *t = tenant_with("sk-many");
	char text[3000];
	size_t n = snprintf(text, sizeof(text), "%s", long_head("sk-many", 2500));

	srand(11);
	for (int round = 1; round <= 300; round++) {
		struct conn c = open_conn(nobody, host);
		size_t cuts[11], n_cuts = 1 + rand() % 11;

		for (size_t i = 0; i < n_cuts; i++)
			cuts[i] = 1 + rand() % (round % 2 ? n - 1 : 60);
		qsort(cuts, n_cuts, sizeof(cuts[0]), by_size);
		send_cut(&c, text, n, cuts, n_cuts);
		assert_int_equal(t->admitted, round);
		assert_int_equal(t->inflight, 1);
		answer_ok(&c);
	}
}

static void a_head_of_16_kib_is_judged_and_not_a_byte_more(void **state)
{
	struct weir_tenant *t = tenant_with("sk-long");

	for (size_t segments = 5; segments <= 12; segments++)
		for (size_t n = WEIR_HEAD_LIMIT; n <= WEIR_HEAD_LIMIT + 1; n++) {
			const char *text = long_head("sk-long", n);
			struct conn c = open_conn(nobody, host);
			size_t each = n / segments, at = 0;
			struct verdict v = {};

			for (size_t i = 0; i < segments; i++) {
				size_t len = i + 1 < segments ? each : n - at;

				v = send_bytes(&c, text + at, len);
				at += len;
				if (i + 1 < segments)
					passes(v);
			}
			if (n == WEIR_HEAD_LIMIT) {
				passes(v);
				assert_int_equal(t->inflight, 1);
				answer_ok(&c);
			} else {
				is_refused(&c, &v, 431);
			}
		}
	assert_int_equal(t->admitted, 8);
}

/* Bytes that cost the reader most: it may not give up on a head that the server has whole. */
static void a_head_full_of_tabs_is_judged(void **state)
{
	struct weir_tenant *t = tenant_with("sk-tabs");

	for (size_t tabs = 100; tabs < 3000; tabs += 100) {
		struct conn c = open_conn(nobody, host);
		uint64_t had = t->admitted;
		char text[3200];
		int n = sprintf(text, "POST / HTTP/1.1\r\nx-api-key: sk-tabs\r\nA: ");

		memset(text + n, '\t', tabs);
		strcpy(text + n + tabs, "\r\n\r\n");
		passes(send_text(&c, text));
		if (t->admitted != had + 1)
			fail_msg("a head with %zu TABs passes unjudged", tabs);
		answer_ok(&c);
	}
}

static void a_head_without_end_is_refused_at_16_kib(void **state)
{
	struct conn c = open_conn(nobody, host);
	char part[1000];
	struct verdict v = {};
	size_t sent;

	default_tenant();
	memset(part, 'a', sizeof(part));
	passes(send_text(&c, "POST / HTTP/1.1\r\nA: "));
	for (sent = 20; sent <= 2 * WEIR_HEAD_LIMIT; sent += sizeof(part)) {
		v = send_bytes(&c, part, sizeof(part));
		if (v.code != OUT_PASS)
			break;
	}
	is_refused(&c, &v, 431);
	assert_in_range(sent, WEIR_HEAD_LIMIT - sizeof(part), WEIR_HEAD_LIMIT + 2048);
	is_counted(WEIR_DENY_HEAD_TOO_LARGE, 1);
}

static void parts_out_of_order_are_dropped_and_come_again(void **state)
{
	struct weir_tenant *t = tenant_with("sk-ooo");
	const char *text = chat("sk-ooo");
	struct conn c = open_conn(nobody, host);
	uint32_t first = c.next;

	drops(send_at(&c, first + 40, text + 40, strlen(text) - 40));
	passes(send_bytes(&c, text, 20));
	drops(send_at(&c, first + 40, text + 40, strlen(text) - 40));
	is_counted(WEIR_DROP_OUT_OF_ORDER, 2);
	passes(send_bytes(&c, text + 20, 20));
	assert_int_equal(t->inflight, 0);
	passes(send_text(&c, text + 40));
	assert_int_equal(t->inflight, 1);
	answer_ok(&c);
}

static void parts_sent_twice_count_once(void **state)
{
	struct weir_tenant *t = tenant_with("sk-twice");
	const char *text = chat("sk-twice");
	struct conn c = open_conn(nobody, host);
	uint32_t first = c.next;

	passes(send_bytes(&c, text, 20));
	passes(send_at(&c, first, text, 20));
	passes(send_bytes(&c, text + 20, 30));
	passes(send_at(&c, first, text, 20));
	passes(send_at(&c, first + 20, text + 20, 30));
	passes(send_text(&c, text + 50));
	assert_int_equal(t->admitted, 1);
	passes(send_at(&c, first, text, 20));
	passes(send_at(&c, first + 50, text + 50, strlen(text + 50)));
	assert_int_equal(t->admitted, 1);
	is_counted(WEIR_PASS_REPEAT, 5);
	answer_ok(&c);
}

/* -- rule 1 and 2: where a head begins */

static void a_head_waits_until_the_server_has_all_before_it(void **state)
{
	struct weir_tenant *t = tenant_with("sk-wait");
	const char *text = chat("sk-wait");
	struct conn c = open_conn(nobody, host);

	/* Answered to the close, before the server has the body. */
	passes(send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-wait\r\nContent-Length: 4\r\n\r\n"));
	server_acks(&c);
	passes(send_text(&c, "body"));
	passes(from_server(&c, TCP_PSH | TCP_ACK, c.sent, c.next - 4, "HTTP/1.1 200 OK\r\n\r\nx",
			   20));
	c.sent += 20;
	drops(text_at(&c, c.next, text));
	is_counted(WEIR_DROP_OUT_OF_ORDER, 1);
	assert_int_equal(t->admitted, 1);
	server_acks(&c);
	passes(send_text(&c, text));
	assert_int_equal(t->admitted, 2);
	answer_ok(&c);
}

static void empty_lines_before_a_head_are_skipped(void **state)
{
	struct weir_tenant *t = tenant_with("sk-crlf");
	char text[1200];

	for (int blanks = 1; blanks <= WEIR_BLANK_LIMIT; blanks += 7) {
		struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
		uint64_t had = t->admitted;

		memset(text, blanks % 2 ? '\r' : '\n', blanks);
		snprintf(text + blanks, sizeof(text) - blanks, "%s", chat("sk-crlf"));
		passes(send_text(&c, text));
		assert_int_equal(t->admitted, had + 1);
		answer_ok(&c);
		/* In a segment of their own. */
		passes(send_bytes(&d, text, blanks));
		drops(text_at(&d, d.next, text + blanks));
		server_acks(&d);
		passes(send_text(&d, text + blanks));
		assert_int_equal(t->admitted, had + 2);
		answer_ok(&d);
	}
}

/* What was skipped may not become a request by being sent again. */
static void empty_lines_may_not_change(void **state)
{
	static const char lines[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
	static const char other[] = "GET /v1/x HTTP/1.0\r\n\r\n\r\n";
	struct conn c = open_conn(nobody, host);
	uint32_t seq = c.next;

	_Static_assert(sizeof(lines) == sizeof(other), "as long");
	default_tenant();
	passes(send_text(&c, lines));
	change_closes(&c, seq, other, seq);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(a_head_in_two_parts_is_judged_when_it_is_whole),
		STREAM_CLAIM(a_refused_one_never_reaches_the_server_whole),
		STREAM_CLAIM(a_malformed_one_is_refused_with_the_part_that_makes_it_so),
		STREAM_CLAIM(a_head_in_parts_of_one_byte_is_judged),
		STREAM_CLAIM(a_head_in_many_parts_is_judged_wherever_it_is_cut),
		STREAM_CLAIM(a_head_of_16_kib_is_judged_and_not_a_byte_more),
		STREAM_CLAIM(a_head_full_of_tabs_is_judged),
		STREAM_CLAIM(a_head_without_end_is_refused_at_16_kib),
		STREAM_CLAIM(parts_out_of_order_are_dropped_and_come_again),
		STREAM_CLAIM(parts_sent_twice_count_once),
		STREAM_CLAIM(a_head_waits_until_the_server_has_all_before_it),
		STREAM_CLAIM(empty_lines_before_a_head_are_skipped),
		STREAM_CLAIM(empty_lines_may_not_change),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
