/* SPDX-License-Identifier: Apache-2.0 */
/*
 * END says whether the client had gone before it: its FIN or RST, if it is one that the server
 * takes, while the request was open. Whether the answer was whole nobody asks here.
 */
#include "tests/bpf/streams.h"

#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789"

/* A connection whose answer is half there. */
static struct conn answering(const char *key)
{
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, chat(key)));
	passes(answer_text(&c, HEAD));
	return c;
}

static void client_says(struct conn *c, uint8_t flags, uint32_t seq)
{
	passes(from_client(c, flags, seq, c->sent, NULL, 0));
}

/* The server closes in mid-answer. */
static void server_closes(struct conn *c)
{
	from_server(c, TCP_FIN | TCP_ACK, c->sent, c->next, NULL, 0);
}

static void ended(size_t nth, uint8_t cause, bool left)
{
	const struct weir_rec_end *e = record(WEIR_REC_END, nth);

	assert_non_null(e);
	assert_int_equal(e->h.flags, cause);
	assert_int_equal(e->flags & WEIR_SLOT_LEFT, left ? WEIR_SLOT_LEFT : 0);
	assert_null(record(WEIR_REC_END, nth + 1));
}

static void a_client_that_stays_did_not_leave(void **state)
{
	struct conn c;

	tenant_with("sk-stays");
	c = answering("sk-stays");
	client_says(&c, TCP_ACK, c.next);
	passes(answer_text(&c, "0123456789"));
	ended(0, WEIR_END_RESPONSE, false);
	client_says(&c, TCP_FIN | TCP_ACK, c.next); /* the answer was over */
	c = answering("sk-stays");
	server_closes(&c);
	client_says(&c, TCP_FIN | TCP_ACK, c.next);
	ended(1, WEIR_END_CLOSE, false);
}

static void a_fin_before_the_answers_end_is_leaving(void **state)
{
	struct conn c;

	tenant_with("sk-fin");
	c = answering("sk-fin");
	client_says(&c, TCP_FIN | TCP_ACK, c.next);
	assert_null(record(WEIR_REC_END, 0)); /* the server may say more */
	server_closes(&c);
	ended(0, WEIR_END_CLOSE, true);
	/* Half a close: the answer may still come whole. */
	c = answering("sk-fin");
	client_says(&c, TCP_FIN | TCP_ACK, c.next);
	c.next++;
	passes(answer_text(&c, "0123456789"));
	ended(1, WEIR_END_RESPONSE, true);
}

/* With the request's last bytes, and before any answer. */
static void a_fin_with_the_request_is_leaving(void **state)
{
	static const char body[] =
		"POST / HTTP/1.1\r\nx-api-key: sk-both\r\nContent-Length: 5\r\n\r\n";
	struct conn c = open_conn(nobody, host);
	const char *text;

	tenant_with("sk-both");
	text = chat("sk-both");
	passes(from_client(&c, TCP_FIN | TCP_PSH | TCP_ACK, c.next, c.sent, text, strlen(text)));
	c.next += strlen(text) + 1;
	passes(answer_text(&c, HEAD "0123456789"));
	ended(0, WEIR_END_RESPONSE, true);
	c = open_conn(nobody, host);
	passes(send_text(&c, body));
	passes(from_client(&c, TCP_FIN | TCP_PSH | TCP_ACK, c.next, c.sent, "hello", 5));
	c.next += 6;
	server_closes(&c);
	ended(1, WEIR_END_CLOSE, true);
}

/* An old one, or one behind what is missing, of which the server does not know yet. */
static void a_fin_in_another_place_is_none(void **state)
{
	struct conn c;

	tenant_with("sk-place");
	c = answering("sk-place");
	client_says(&c, TCP_FIN | TCP_ACK, c.next - 1);
	client_says(&c, TCP_FIN | TCP_ACK, c.next - 100000);
	client_says(&c, TCP_FIN | TCP_ACK, c.next + 1);
	client_says(&c, TCP_FIN | TCP_ACK, c.next + 100000);
	client_says(&c, TCP_RST, c.next - 1);
	client_says(&c, TCP_RST, c.next + (1U << 30) + 1);
	server_closes(&c);
	ended(0, WEIR_END_CLOSE, false);
}

static void a_reset_in_the_window_is_leaving(void **state)
{
	struct conn c;

	tenant_with("sk-rst");
	c = answering("sk-rst");
	client_says(&c, TCP_RST | TCP_ACK, c.next);
	server_closes(&c);
	ended(0, WEIR_END_CLOSE, true);
	c = answering("sk-rst");
	client_says(&c, TCP_RST, c.next + 1000);
	server_closes(&c);
	ended(1, WEIR_END_CLOSE, true);
}

/* No socket here: the reset itself ends it, and the flag is in that END. */
static void forwarded_ones_leave_alike(void **state)
{
	struct weir_tenant *t = tenant_with("sk-wire");
	struct conn c;

	nobody_listens();
	c = answering("sk-wire");
	client_says(&c, TCP_RST, c.next);
	ended(0, WEIR_END_CLOSE, true);
	assert_int_equal(t->inflight, 0);
	c = answering("sk-wire");
	client_says(&c, TCP_FIN | TCP_ACK, c.next);
	c.next++;
	server_closes(&c);
	ended(1, WEIR_END_CLOSE, true);
	c = answering("sk-wire");
	server_closes(&c);
	client_says(&c, TCP_FIN | TCP_ACK, c.next);
	ended(2, WEIR_END_CLOSE, false);
}

/* The port is used again: another connection, of which nothing is known. */
static void a_new_connection_has_not_left(void **state)
{
	struct conn c, other;

	tenant_with("sk-port");
	c = answering("sk-port");
	client_says(&c, TCP_FIN | TCP_ACK, c.next);
	other = c;
	other.next += 5000000;
	other.sent += 5000000;
	passes(send_syn(&other, false));
	other.next++;
	from_server(&other, TCP_SYN | TCP_ACK, other.sent++, other.next, NULL, 0);
	ended(0, WEIR_END_CLOSE, true);
	passes(send_text(&other, chat("sk-port")));
	passes(answer_text(&other, HEAD "0123456789"));
	ended(1, WEIR_END_RESPONSE, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(a_client_that_stays_did_not_leave),
		STREAM_CLAIM(a_fin_before_the_answers_end_is_leaving),
		STREAM_CLAIM(a_fin_with_the_request_is_leaving),
		STREAM_CLAIM(a_fin_in_another_place_is_none),
		STREAM_CLAIM(a_reset_in_the_window_is_leaving),
		STREAM_CLAIM(forwarded_ones_leave_alike),
		STREAM_CLAIM(a_new_connection_has_not_left),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
