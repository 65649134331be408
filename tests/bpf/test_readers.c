/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers, of which there are few (forms.md, rule 3): without a free one what needs it waits,
 * and each comes back, whatever ends the head, the body or the answer it was taken for.
 */
#include "tests/bpf/streams.h"

static void without_a_free_reader_parts_wait(void **state)
{
	struct weir_tenant *t = tenant_with("sk-room");
	const char *text = chat("sk-room");
	struct conn c = open_conn(nobody, host), whole = open_conn(nobody, host);
	uint32_t all[READERS];
	size_t n = take_readers(all);

	drops(send_at(&c, c.next, text, 30));
	drops(send_at(&c, c.next, text, 30));
	is_counted(WEIR_DROP_HEAD_ROOM, 2);
	/* Whole ones need none. */
	passes(send_text(&whole, text));
	answer_ok(&whole);
	assert_int_equal(t->admitted, 1);
	give_readers(all, 1);
	passes(send_bytes(&c, text, 30));
	assert_int_equal(free_readers(), 0);
	passes(send_text(&c, text + 30));
	assert_int_equal(t->admitted, 2);
	answer_ok(&c);
	give_readers(all + 1, n - 1);
}

/* One address has at most so many heads in parts; what it gives back it may take again. */
static void one_address_does_not_hold_all_readers(void **state)
{
	struct weir_tenant *t = tenant_with("sk-share");
	const char *text = chat("sk-share");
	struct conn c[3], other;

	lab.config->max_heads_per_source = 2;
	for (int i = 0; i < 3; i++)
		c[i] = open_conn(nobody, host);
	other = open_conn("198.51.100.41", host);
	for (int i = 0; i < 2; i++)
		passes(send_bytes(&c[i], text, 30));
	drops(send_at(&c[2], c[2].next, text, 30));
	is_counted(WEIR_DROP_HEAD_ROOM, 1);
	assert_int_equal(free_readers(), READERS - 2);
	passes(send_bytes(&other, text, 30));
	/* Whole: it counts no more, though its connection is there. */
	passes(send_text(&c[0], text + 30));
	answer_ok(&c[0]);
	passes(send_bytes(&c[2], text, 30));
	drops(send_at(&c[0], c[0].next, text, 30));
	/* Given up. */
	passes(from_client(&c[1], TCP_RST, c[1].next, 0, NULL, 0));
	lab.config->max_heads_per_source = READERS;
	passes(send_text(&c[2], text + 30));
	passes(send_text(&other, text + 30));
	assert_int_equal(t->admitted, 3);
}

/* A chunked body's framing needs a reader too: nothing is admitted that cannot be followed. */
static void without_a_free_reader_a_chunked_request_waits(void **state)
{
	static const char text[] = "POST / HTTP/1.1\r\nx-api-key: sk-chroom\r\nTransfer-Encoding: "
				   "chunked\r\n\r\n0\r\n\r\n";
	struct weir_tenant *t = tenant_with("sk-chroom");
	struct conn c = open_conn(nobody, host);
	uint32_t all[READERS];
	size_t n = take_readers(all);

	drops(text_at(&c, c.next, text));
	assert_int_equal(t->admitted, 0);
	assert_int_equal(t->inflight, 0);
	assert_int_equal(t->refused, 0);
	give_readers(all, n);
	passes(send_text(&c, text));
	assert_int_equal(t->admitted, 1);
	answer_ok(&c);
}

/* -- they come back, whatever ends the head */

static struct conn with_a_part(void)
{
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, "POST /v1/x HTTP/1.1\r\nHost: a"));
	assert_int_equal(free_readers(), readers_before - 1);
	return c;
}

/* The server is on another host: only the wire tells (bpf/wire.h). */
static struct conn forwarded_with_a_part(void)
{
	struct conn c = new_conn(nobody, host);

	nobody_listens();
	passes(send_text(&c, "POST /v1/x HTTP/1.1\r\nHost: a"));
	assert_int_equal(free_readers(), readers_before - 1);
	server_acks(&c);
	return c;
}

static void a_reset_gives_the_reader_back(void **state)
{
	struct conn c = forwarded_with_a_part();

	from_client(&c, TCP_RST, c.next, c.sent, NULL, 0);
	assert_int_equal(free_readers(), readers_before);
	c = forwarded_with_a_part();
	from_server(&c, TCP_RST, c.sent, c.next, NULL, 0);
	assert_int_equal(free_readers(), readers_before);
	is_counted(WEIR_WIRE_CLOSED, 2);
}

static void a_close_gives_the_reader_back(void **state)
{
	struct conn c = forwarded_with_a_part();

	from_client(&c, TCP_FIN | TCP_ACK, c.next++, c.sent, NULL, 0);
	from_server(&c, TCP_FIN | TCP_ACK, c.sent++, c.next, NULL, 0);
	from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0);
	assert_int_equal(free_readers(), readers_before);
}

static void a_handshake_anew_gives_the_reader_back(void **state)
{
	struct conn c = with_a_part();

	c.next += 90000;
	passes(send_syn(&c, false));
	assert_int_equal(free_readers(), readers_before - 1);
	passes(from_server(&c, TCP_SYN | TCP_ACK, c.sent, c.next + 1, NULL, 0));
	assert_int_equal(free_readers(), readers_before);
}

static void the_servers_ack_gives_the_reader_back(void **state)
{
	struct conn c = with_a_part();

	tenant_with("sk-acked");
	passes(send_text(&c, "\r\nx-api-key: sk-acked\r\n\r\n"));
	server_acks(&c);
	/* Seen with the client's next segment. */
	from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0);
	assert_int_equal(free_readers(), readers_before);
	answer_ok(&c);
}

/* A client that never says anything again must not keep it. */
static void the_sweep_takes_the_reader_of_a_silent_client(void **state)
{
	struct conn c = with_a_part();
	uint8_t frame[64] = { 0 };

	tenant_with("sk-silent");
	passes(send_text(&c, "\r\nx-api-key: sk-silent\r\n\r\n"));
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(free_readers(), readers_before - 1);
	server_acks(&c);
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(free_readers(), readers_before - 1);
	usleep(1100000); /* a second after it began */
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(free_readers(), readers_before);
	answer_ok(&c);
}

static void a_next_request_gives_the_reader_back(void **state)
{
	struct conn c = with_a_part();

	tenant_with("sk-again");
	passes(send_text(&c, "\r\nx-api-key: sk-again\r\n\r\n"));
	answer_ok(&c);
	passes(send_text(&c, chat("sk-again")));
	assert_int_equal(free_readers(), readers_before);
	answer_ok(&c);
}

static void an_answers_reader_comes_back_too(void **state)
{
	struct weir_tenant *t = tenant_with("sk-resp");
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, chat("sk-resp")));
	passes(answer_text(&c, "HTTP/1.1 200 OK\r\nContent-"));
	assert_int_equal(free_readers(), readers_before - 1);
	passes(answer_text(&c, "Length: 2\r\n\r\n{}"));
	assert_int_equal(free_readers(), readers_before);
	/* A hole in the head: its end is not known, the next request ends the answer. */
	passes(send_text(&c, chat("sk-resp")));
	passes(answer_text(&c, "HTTP/1.1 200 OK\r\nContent-"));
	c.sent += 20;
	passes(answer_text(&c, "words"));
	passes(send_text(&c, chat("sk-resp")));
	passes(answer_text(&c, "HTTP/1.1 200 OK\r\nContent-"));
	passes(answer_text(&c, "Length: 2\r\n\r\n{}"));
	assert_int_equal(free_readers(), readers_before);
	assert_int_equal(t->inflight, 0);
}

static void a_head_that_takes_too_long_closes_the_connection(void **state)
{
	struct conn c = with_a_part(), soon;
	uint8_t frame[64] = {};

	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(free_readers(), readers_before - 1);
	lab.config->head_timeout_ns = 0;
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(free_readers(), readers_before);
	next_closes(&c, "llm\r\n", WEIR_HEAD_EXPIRED);
	/* Whole ones, and bodies, have no such limit. */
	tenant_with("sk-soon");
	soon = open_conn(nobody, host);
	passes(send_text(&soon, chat("sk-soon")));
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	answer_ok(&soon);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(without_a_free_reader_parts_wait),
		STREAM_CLAIM(one_address_does_not_hold_all_readers),
		STREAM_CLAIM(without_a_free_reader_a_chunked_request_waits),
		STREAM_CLAIM(a_reset_gives_the_reader_back),
		STREAM_CLAIM(a_close_gives_the_reader_back),
		STREAM_CLAIM(a_handshake_anew_gives_the_reader_back),
		STREAM_CLAIM(the_servers_ack_gives_the_reader_back),
		STREAM_CLAIM(the_sweep_takes_the_reader_of_a_silent_client),
		STREAM_CLAIM(a_next_request_gives_the_reader_back),
		STREAM_CLAIM(an_answers_reader_comes_back_too),
		STREAM_CLAIM(a_head_that_takes_too_long_closes_the_connection),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
