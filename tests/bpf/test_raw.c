/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that are not read: TLS, and those older than the agent (forms.md, rules 9
 * and 10). Either may hide a request only from a client that had no other choice.
 */
#include "tests/bpf/streams.h"

static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/* -- TLS */

static void tls_passes_and_is_looked_at_no_more(void **state)
{
	struct conn c = open_conn(nobody, host);
	uint32_t first = c.next;
	struct verdict v;

	default_tenant();
	v = send_bytes(&c, hello, sizeof(hello) - 1);
	passes(v);
	assert_int_equal(v.frame_len, 14 + 20 + 32 + sizeof(hello) - 1);
	is_counted(WEIR_PASS_TLS, 1);
	/* Even what looks like a request, in order or not. */
	passes(send_text(&c, chat(NULL)));
	passes(text_at(&c, c.next + 500, chat(NULL)));
	server_acks(&c);
	passes(text_at(&c, first, chat(NULL)));
	passes(send_text(&c, chat(NULL)));
	is_counted(WEIR_ADMIT_REQUEST, 0);
	passes(answer_text(&c, "\x16\x03\x03 a certificate"));
	is_counted(WEIR_TAP_UNJUDGED, 1);
}

static void the_first_byte_alone_is_enough(void **state)
{
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	default_tenant();
	passes(send_bytes(&c, hello, 1));
	passes(send_bytes(&c, hello + 1, sizeof(hello) - 2));
	is_counted(WEIR_PASS_TLS, 1);
	v = send_text(&d, "\x16\x02\x01");
	is_refused(&d, &v, 400);
}

static void a_first_byte_that_comes_again_is_looked_at_anew(void **state)
{
	struct weir_tenant *t = default_tenant();
	struct conn c = open_conn(nobody, host);
	const char *text = chat(NULL);
	uint32_t seq = c.next;

	passes(send_bytes(&c, hello, sizeof(hello) - 1));
	/* The same again is TLS again. */
	passes(send_at(&c, seq, hello, sizeof(hello) - 1));
	is_counted(WEIR_PASS_TLS, 2);
	/* The server has none of it yet. */
	passes(text_at(&c, seq, text));
	assert_int_equal(t->admitted, 1);
	c.next = seq + strlen(text);
	answer_ok(&c);
	assert_int_equal(t->inflight, 0);
}

static void and_refused_anew(void **state)
{
	struct weir_tenant *t = default_tenant();
	struct conn c = open_conn(nobody, host);
	uint32_t seq = c.next;
	struct verdict v;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	passes(send_bytes(&c, hello, sizeof(hello) - 1));
	v = text_at(&c, seq, chat(NULL));
	is_refused(&c, &v, 429);
	server_is_reset(&c, seq);
}

static void tls_behind_a_request_is_none(void **state)
{
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	default_tenant();
	passes(send_text(&c, chat(NULL)));
	answer_ok(&c);
	passes(send_bytes(&c, hello, sizeof(hello) - 1));
	is_counted(WEIR_PASS_TLS, 1);
	/* Behind blanks it is no TLS to any server. */
	v = send_bytes(&d, "\r\n\x16\x03\x01", 5);
	is_refused(&d, &v, 400);
}

/* -- adopted: the server is elsewhere, and only the wire tells of it */

static void an_adopted_connection_is_read_from_its_next_head_on(void **state)
{
	struct weir_tenant *t = tenant_with("sk-adopt");
	struct conn c = new_conn(nobody, host);

	nobody_listens();
	passes(send_text(&c, "the end of some body"));
	is_counted(WEIR_FLOW_ADOPTED, 1);
	is_counted(WEIR_PASS_BODY, 1);
	passes(send_text(&c, "and more of it"));
	passes(send_text(&c, chat("sk-adopt")));
	assert_int_equal(t->admitted, 1);
	answer_ok(&c);
	assert_int_equal(t->inflight, 0);
	/* From there on all holds. */
	passes(send_text(&c, chat("sk-adopt")));
	server_acks(&c);
	next_closes(&c, chat("sk-adopt"), WEIR_DROP_PIPELINED);
}

static void only_a_plain_head_ends_adoption(void **state)
{
	static const struct {
		const char *text;
		bool head;
	} texts[] = {
		{ "GET /health HTTP/1.1\r\n\r\n", true },
		{ "OPTIONS /v1/chat HTTP/1.1\r\n\r\n", true },
		{ "GET http://llm/health HTTP/1.1\r\n\r\n", true },
		{ "get /health HTTP/1.1\r\n\r\n", false },
		{ "GE /health HTTP/1.1\r\n\r\n", false },
		{ "GET metrics HTTP/1.1\r\n\r\n", false },
		{ "GET * HTTP/1.1\r\n\r\n", false },
		{ "{\"max_tokens\":100000}", false },
		{ "GET / HTTP", false },
	};
	size_t bodies = 0;

	nobody_listens();
	lab.config->free_options = 1;
	default_tenant();
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct conn c = new_conn(nobody, host);

		passes(send_text(&c, texts[i].text));
		bodies += !texts[i].head;
		is_counted(WEIR_PASS_BODY, bodies);
	}
	is_counted(WEIR_PASS_FREE, 2); /* an absolute target is never free */
	is_counted(WEIR_ADMIT_REQUEST, 1);
}

static void one_answer_to_what_nobody_saw_is_let_through(void **state)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
	struct conn c = new_conn(nobody, host);
	struct verdict v;

	nobody_listens();
	default_tenant();
	passes(send_text(&c, "the end of some body"));
	passes(answer_text(&c, ok));
	passes(answer_text(&c, "more of it"));
	passes(send_text(&c, chat(NULL)));
	answer_ok(&c);
	/* The next one has no such excuse. */
	v = from_server(&c, TCP_PSH | TCP_ACK, c.sent, c.next, ok, strlen(ok));
	passes(v);
	is_counted(WEIR_DROP_UNJUDGED, 1);
}

static void a_refused_head_on_an_adopted_connection(void **state)
{
	struct weir_tenant *t = default_tenant();
	struct conn c = new_conn(nobody, host);
	struct verdict v;
	uint32_t seq;

	nobody_listens();
	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	passes(send_text(&c, "the end of some body"));
	server_acks(&c);
	seq = c.next;
	v = send_text(&c, chat(NULL));
	is_refused(&c, &v, 429);
	server_is_reset(&c, seq);
}

static void a_head_in_parts_on_an_adopted_connection(void **state)
{
	struct weir_tenant *t = tenant_with("sk-adparts");
	struct conn c = new_conn(nobody, host);
	const char *text = chat("sk-adparts");

	nobody_listens();
	passes(send_bytes(&c, text, 40));
	passes(send_text(&c, text + 40));
	assert_int_equal(t->admitted, 1);
	answer_ok(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(tls_passes_and_is_looked_at_no_more),
		STREAM_CLAIM(the_first_byte_alone_is_enough),
		STREAM_CLAIM(a_first_byte_that_comes_again_is_looked_at_anew),
		STREAM_CLAIM(and_refused_anew),
		STREAM_CLAIM(tls_behind_a_request_is_none),
		STREAM_CLAIM(an_adopted_connection_is_read_from_its_next_head_on),
		STREAM_CLAIM(only_a_plain_head_ends_adoption),
		STREAM_CLAIM(one_answer_to_what_nobody_saw_is_let_through),
		STREAM_CLAIM(a_refused_head_on_an_adopted_connection),
		STREAM_CLAIM(a_head_in_parts_on_an_adopted_connection),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
