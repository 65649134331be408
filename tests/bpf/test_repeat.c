/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that come again, bytes that come too early, and what is said on a closed connection
 * (forms.md, rules 4, 5, 6 and 13): nothing that the server has not acknowledged may come
 * again as something else.
 */
#include "tests/bpf/streams.h"

static const char body_of_20[] = "POST /v1/x HTTP/1.1\r\nx-api-key: sk-20\r\n"
				 "Content-Length: 20\r\n\r\n";

static void a_body_may_come_again_as_anything(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");
	struct conn c = open_conn(nobody, host);
	uint32_t body;

	passes(send_text(&c, body_of_20));
	body = c.next;
	passes(send_text(&c, "0123456789"));
	passes(text_at(&c, body, "abcdefghij"));
	/* Out of order, and some of it new. */
	passes(text_at(&c, body + 15, "56789"));
	passes(text_at(&c, body + 5, "567890123456789"));
	c.next = body + 20;
	is_counted(WEIR_PASS_BODY, 4);
	assert_int_equal(t->admitted, 1);
	answer_ok(&c);
	passes(text_at(&c, body, "abcdefghij"));
	passes(send_text(&c, body_of_20));
	assert_int_equal(t->admitted, 2);
}

static void behind_the_end_of_a_body_nothing_comes_early(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-20");
	passes(send_text(&c, body_of_20));
	drops(text_at(&c, c.next + 21, body_of_20));
	is_counted(WEIR_DROP_OUT_OF_ORDER, 1);
}

/* -- a head that came whole */

static void a_whole_head_comes_again_whole_and_the_same(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");
	size_t n = sizeof(body_of_20) - 1;
	char text[200];
	struct conn c = open_conn(nobody, host);
	uint32_t seq = c.next;

	passes(send_text(&c, body_of_20));
	passes(text_at(&c, seq, body_of_20));
	is_counted(WEIR_PASS_REPEAT, 1);
	/* With the body's first bytes behind it, then with others. */
	snprintf(text, sizeof(text), "%s01234", body_of_20);
	passes(text_at(&c, seq, text));
	text[n] = 'x';
	passes(text_at(&c, seq, text));
	assert_int_equal(t->admitted, 1);
	assert_int_equal(t->inflight, 1);
}

static void every_byte_of_a_whole_head_is_compared(void **state)
{
	size_t n = sizeof(body_of_20) - 1;
	char text[200];

	tenant_with("sk-20");
	for (size_t i = 0; i < n; i++) {
		struct conn c = open_conn(nobody, host);
		uint32_t seq = c.next;

		passes(send_text(&c, body_of_20));
		memcpy(text, body_of_20, n + 1);
		text[i] ^= 1;
		change_closes(&c, seq, text, seq);
	}
}

static void a_part_of_a_whole_head_cannot_come_again(void **state)
{
	size_t n = sizeof(body_of_20) - 1;
	char half[200];

	tenant_with("sk-20");
	for (size_t i = 1; i < n; i += 9) {
		struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
		uint32_t seq = c.next;

		passes(send_text(&c, body_of_20));
		change_closes(&c, seq + i, body_of_20 + i, seq);
		seq = d.next;
		passes(send_text(&d, body_of_20));
		snprintf(half, sizeof(half), "%.*s", (int)i, body_of_20);
		change_closes(&d, seq, half, seq);
	}
}

static void what_the_server_has_may_come_again_as_anything(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");
	struct conn c = open_conn(nobody, host);
	size_t n = sizeof(body_of_20) - 1;
	uint32_t seq = c.next;
	char text[200];

	passes(send_text(&c, body_of_20));
	/* Half of the head: the whole head must still be the same. */
	passes(from_server(&c, TCP_ACK, c.sent, seq + n / 2, NULL, 0));
	passes(text_at(&c, seq, body_of_20));
	memset(text, 'x', n);
	text[n / 2] = 0;
	passes(text_at(&c, seq, text));
	server_acks(&c);
	memset(text, 'x', n);
	text[n] = 0;
	passes(text_at(&c, seq, text));
	is_counted(WEIR_PASS_REPEAT, 3);
	assert_int_equal(t->admitted, 1);
}

static void a_half_acknowledged_head_still_may_not_change(void **state)
{
	struct conn c;
	size_t n = sizeof(body_of_20) - 1;
	uint32_t seq;
	char text[200];

	tenant_with("sk-20");
	c = open_conn(nobody, host);
	seq = c.next;
	passes(send_text(&c, body_of_20));
	passes(from_server(&c, TCP_ACK, c.sent, seq + n / 2, NULL, 0));
	snprintf(text, sizeof(text), "%s", body_of_20);
	text[n - 6] = '3'; /* of its length */
	change_closes(&c, seq, text, seq + n / 2);
}

/* -- a head that came in parts */

static void each_part_comes_again_as_it_was(void **state)
{
	const size_t n = sizeof(body_of_20) - 1, cut = 30;

	tenant_with("sk-20");
	for (int whole = 0; whole < 2; whole++) {
		for (size_t i = 0; i < (whole ? n : cut); i++) {
			struct conn c = open_conn(nobody, host);
			uint32_t seq = c.next, part;
			char text[200];

			passes(send_bytes(&c, body_of_20, cut));
			if (whole)
				passes(send_text(&c, body_of_20 + cut));
			passes(send_at(&c, seq, body_of_20, cut));
			snprintf(text, sizeof(text), "%s", body_of_20);
			text[i] ^= 1;
			part = i < cut ? 0 : cut;
			if (!part)
				text[cut] = 0;
			change_closes(&c, seq + part, text + part, seq);
		}
	}
}

static void a_part_comes_again_from_its_start_to_its_end(void **state)
{
	static const size_t from[] = { 0, 0, 1, 10, 29 }, to[] = { 1, 29, 30, 20, 30 };

	tenant_with("sk-20");
	for (size_t i = 0; i < 5; i++) {
		struct conn c = open_conn(nobody, host);
		uint32_t seq = c.next;
		char text[200];

		passes(send_bytes(&c, body_of_20, 30));
		snprintf(text, sizeof(text), "%.*s", (int)(to[i] - from[i]), body_of_20 + from[i]);
		change_closes(&c, seq + from[i], text, seq);
	}
}

static void the_last_eight_parts_are_known_again(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");
	struct conn c = open_conn(nobody, host);
	uint32_t seq = c.next;

	for (size_t i = 0; i < 10; i++)
		passes(send_bytes(&c, body_of_20 + i * 4, 4));
	for (size_t i = 2; i < 10; i++)
		passes(send_at(&c, seq + i * 4, body_of_20 + i * 4, 4));
	is_counted(WEIR_PASS_REPEAT, 8);
	/* Older ones only if the server has them. */
	passes(from_server(&c, TCP_ACK, c.sent, seq + 4, NULL, 0));
	passes(text_at(&c, seq, "xxxx"));
	change_closes(&c, seq + 4, " /v1", seq + 4);
	assert_int_equal(t->admitted, 0);
}

/* -- new bytes behind repeated ones */

static void what_is_new_behind_repeated_bytes_is_read(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");
	struct conn c = open_conn(nobody, host);
	char text[300];
	struct verdict v;
	uint32_t head;

	passes(send_text(&c, body_of_20));
	passes(send_text(&c, "01234567890123456789"));
	answer_ok(&c);
	/* The body's end again, and a head. */
	snprintf(text, sizeof(text), "56789%s", body_of_20);
	drops(text_at(&c, c.next - 5 + 200, text));
	c.next -= 5;
	passes(send_text(&c, text));
	assert_int_equal(t->admitted, 2);
	passes(send_text(&c, "01234567890123456789"));
	answer_ok(&c);
	/* The same, refused. */
	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	head = c.next;
	c.next -= 5;
	v = send_text(&c, text);
	is_refused(&c, &v, 429);
	server_is_reset(&c, head);
}

static void a_part_and_the_next_one_in_one_segment(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");
	struct conn c = open_conn(nobody, host);

	passes(send_bytes(&c, body_of_20, 30));
	c.next -= 30;
	passes(send_text(&c, body_of_20));
	assert_int_equal(t->admitted, 1);
}

/* -- pipelining */

static void a_next_head_before_the_answer_closes_both_ends(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");

	/* Whole, and its first byte. */
	for (int i = 0; i < 4; i++) {
		struct conn c = open_conn(nobody, host);
		char text[300];

		snprintf(text, sizeof(text), "%s%s", i & 1 ? "\r\n" : "", body_of_20);
		if (i & 2)
			text[i & 1 ? 3 : 1] = 0;
		passes(send_text(&c, body_of_20));
		passes(send_text(&c, "01234567890123456789"));
		server_acks(&c);
		next_closes(&c, text, WEIR_DROP_PIPELINED);
		assert_int_equal(t->inflight, 0);
	}
	assert_int_equal(t->admitted, 4);
}

static void a_next_head_in_the_midst_of_the_answer_too(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-20");
	passes(send_text(&c, body_of_20));
	passes(send_text(&c, "01234567890123456789"));
	passes(answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"));
	next_closes(&c, body_of_20, WEIR_DROP_PIPELINED);
}

static void behind_a_free_request_too(void **state)
{
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);

	passes(send_text(&c, "GET /health HTTP/1.1\r\n\r\n"));
	server_acks(&c);
	next_closes(&c, "GET /health HTTP/1.1\r\n\r\n", WEIR_DROP_PIPELINED);
	next_closes(&d, "GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
		    WEIR_DROP_PIPELINED);
}

static void behind_a_body_are_four_blanks_and_nothing_else(void **state)
{
	static const char *const behind[] = { "\r",	"\n",	      "\r\n",	     "\r\n\r\n",
					      "\n\n\n", "\r\n\r\n\n", "x",	     " ",
					      "\r\nG",	"\0",	      "\r\n\r\n\r\n" };

	tenant_with("sk-20");
	for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++) {
		struct conn c = open_conn(nobody, host);
		char text[300];
		size_t n = snprintf(text, sizeof(text), "%s01234567890123456789%s", body_of_20,
				    behind[i]);

		n += !behind[i][0]; /* a NUL */
		if (i < 5) {
			passes(send_bytes(&c, text, n));
			answer_ok(&c);
		} else {
			uint32_t seq = c.next;
			struct verdict v = send_bytes(&c, text, n);

			closes(&c, &v, seq, c.next);
		}
	}
	is_counted(WEIR_DROP_PIPELINED, 6);
}

static void blanks_before_the_answer_pass(void **state)
{
	struct conn c = open_conn(nobody, host);

	tenant_with("sk-20");
	passes(send_text(&c, body_of_20));
	passes(send_text(&c, "01234567890123456789"));
	passes(send_text(&c, "\r\n"));
	server_acks(&c);
	answer_ok(&c);
}

/* -- closed connections */

static void a_closed_connection_stays_closed(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");
	struct conn c = open_conn(nobody, host);
	uint8_t frame[64] = {};
	struct verdict v;
	struct segment rst;
	uint32_t has;

	passes(send_text(&c, body_of_20));
	passes(send_text(&c, "01234567890123456789"));
	server_acks(&c);
	has = c.next;
	next_closes(&c, body_of_20, WEIR_DROP_PIPELINED);
	assert_int_equal(t->inflight, 0);
	assert_int_equal(((const struct weir_rec_end *)record(WEIR_REC_END, 0))->h.flags,
			 WEIR_END_CLOSE);
	/* The client, once more: both are told again. */
	v = text_at(&c, has, body_of_20);
	closes(&c, &v, has, has + strlen(body_of_20));
	v = from_client(&c, TCP_ACK, has, c.sent, NULL, 0);
	closes(&c, &v, has, has);
	/* The server: its answer goes nowhere. */
	v = from_server(&c, TCP_PSH | TCP_ACK, c.sent, has, "HTTP/1.1 200 OK\r\n\r\n", 19);
	assert_int_equal(v.code, OUT_REDIRECT);
	assert_null(read_frame(v.frame, v.frame_len, &rst));
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.seq, has);
	assert_int_equal(rst.dport, PORT);
	is_counted(WEIR_DROP_REFUSED_FLOW, 3);
	/* It is known for the linger time, and then forgotten. */
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	is_counted(WEIR_FLOW_GONE, 0);
	assert_int_equal(t->connections, 1);
	lab.config->linger_ns = 0;
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	is_counted(WEIR_FLOW_GONE, 1);
	assert_int_equal(t->connections, 0);
}

static void a_clients_reset_ends_a_closed_one(void **state)
{
	struct conn c = open_conn(nobody, host);
	uint32_t has = c.next;

	tenant_with("sk-20");
	next_closes(&c, "GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
		    WEIR_DROP_PIPELINED);
	/* One that the server would not accept ends nothing. */
	drops(from_client(&c, TCP_RST, c.next, c.sent, NULL, 0));
	is_counted(WEIR_FLOW_GONE, 0);
	passes(from_client(&c, TCP_RST, has, c.sent, NULL, 0));
	is_counted(WEIR_FLOW_GONE, 1);
	is_counted(WEIR_CLOSE_RELEASED, 1);
}

static void its_port_can_be_used_again(void **state)
{
	struct weir_tenant *t = tenant_with("sk-20");
	struct conn c = open_conn(nobody, host);

	next_closes(&c, "GET /health HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
		    WEIR_DROP_PIPELINED);
	c.next += 100000;
	passes(send_syn(&c, false));
	c.next++;
	passes(from_server(&c, TCP_SYN | TCP_ACK, c.sent++, c.next, NULL, 0));
	passes(send_text(&c, body_of_20));
	assert_int_equal(t->admitted, 1);
	assert_int_equal(t->connections, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(a_body_may_come_again_as_anything),
		STREAM_CLAIM(behind_the_end_of_a_body_nothing_comes_early),
		STREAM_CLAIM(a_whole_head_comes_again_whole_and_the_same),
		STREAM_CLAIM(every_byte_of_a_whole_head_is_compared),
		STREAM_CLAIM(a_part_of_a_whole_head_cannot_come_again),
		STREAM_CLAIM(what_the_server_has_may_come_again_as_anything),
		STREAM_CLAIM(a_half_acknowledged_head_still_may_not_change),
		STREAM_CLAIM(each_part_comes_again_as_it_was),
		STREAM_CLAIM(a_part_comes_again_from_its_start_to_its_end),
		STREAM_CLAIM(the_last_eight_parts_are_known_again),
		STREAM_CLAIM(what_is_new_behind_repeated_bytes_is_read),
		STREAM_CLAIM(a_part_and_the_next_one_in_one_segment),
		STREAM_CLAIM(a_next_head_before_the_answer_closes_both_ends),
		STREAM_CLAIM(a_next_head_in_the_midst_of_the_answer_too),
		STREAM_CLAIM(behind_a_free_request_too),
		STREAM_CLAIM(behind_a_body_are_four_blanks_and_nothing_else),
		STREAM_CLAIM(blanks_before_the_answer_pass),
		STREAM_CLAIM(a_closed_connection_stays_closed),
		STREAM_CLAIM(a_clients_reset_ends_a_closed_one),
		STREAM_CLAIM(its_port_can_be_used_again),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
