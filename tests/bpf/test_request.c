/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request heads on guarded connections: whose they are, where in a connection's stream each
 * is judged, and what passes unjudged.
 */
#include "tests/bpf/streams.h"

/* -- who is it? */

static void a_key_says_whose_request_it_is(void **state)
{
	static const char *const heads[] = {
		"Authorization: Bearer sk-whose-1",
		"authorization:bearer sk-whose-1",
		"AUTHORIZATION: BEARER sk-whose-1",
		"x-api-key: sk-whose-1",
		"X-Api-Key:sk-whose-1",
		"api-key: sk-whose-1",
		"Authorization:\tBearer sk-whose-1",
	};
	struct weir_tenant *t = tenant_with("sk-whose-1");

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct conn c = open_conn(nobody, host);
		char text[512];

		snprintf(text, sizeof(text),
			 "POST /v1/chat/completions HTTP/1.1\r\n%s\r\nContent-Length: 0\r\n\r\n",
			 heads[i]);
		assert_int_equal(send_text(&c, text).code, OUT_PASS);
		assert_int_equal(t->admitted, i + 1);
		/* The connection is that tenant's from here on. */
		assert_int_equal(t->connections, i + 1);
	}
}

static void keys_of_any_length_up_to_the_longest_are_known(void **state)
{
	char key[260];

	for (size_t n = 1; n <= 247; n += n < 70 ? 1 : 59) {
		struct weir_tenant *t;
		struct conn c = open_conn(nobody, host);

		if (lab.next_tenant + 80 > TENANTS)
			break;
		memset(key, 'a' + n % 26, n);
		key[n] = 0;
		t = tenant_with(key);
		assert_int_equal(send_text(&c, chat(key)).code, OUT_PASS);
		assert_int_equal(t->admitted, 1);
	}
	memset(key, 'z', 248);
	key[248] = 0;
	struct conn c = open_conn(nobody, host);
	struct verdict v = send_text(&c, chat(key));

	is_refused(&c, &v, 401);
}

static void without_a_key_the_source_says_it(void **state)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);
	struct conn c;

	add_source("198.51.100.0", 24, index);
	c = open_conn(nobody, host);
	assert_int_equal(send_text(&c, chat(NULL)).code, OUT_PASS);
	assert_int_equal(t->admitted, 1);
}

static void without_either_it_is_the_default_tenant(void **state)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);
	struct conn c;

	lab.config->default_tenant = index;
	c = open_conn(nobody, host);
	assert_int_equal(send_text(&c, chat(NULL)).code, OUT_PASS);
	assert_int_equal(t->admitted, 1);
}

static void nobody_at_all_is_refused(void **state)
{
	struct conn c = open_conn(nobody, host);
	struct verdict v = send_text(&c, chat(NULL));
	struct answer a = is_refused(&c, &v, 401);

	assert_string_equal(json_at(&a, "error", "code"), "invalid_api_key");
	is_counted(WEIR_DENY_NO_TENANT, 1);
}

static void an_unknown_key_is_refused_and_never_repeated(void **state)
{
	struct conn c = open_conn(nobody, host);
	struct verdict v = send_text(&c, chat("sk-never-heard-of"));
	struct answer a = is_refused(&c, &v, 401);

	assert_string_equal(json_at(&a, "error", "code"), "invalid_api_key");
	assert_null(strstr(a.body, "sk-never"));
	is_counted(WEIR_DENY_UNKNOWN_KEY, 1);
	is_counted(WEIR_ADMIT_REQUEST, 0);
}

static void an_unknown_key_may_be_the_default_tenants(void **state)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);
	struct conn c;

	lab.config->default_tenant = index;
	lab.config->unknown_key = WEIR_UNKNOWN_KEY_DEFAULT;
	c = open_conn(nobody, host);
	assert_int_equal(send_text(&c, chat("sk-never-heard-of")).code, OUT_PASS);
	assert_int_equal(t->admitted, 1);
}

static void a_key_expires_at_its_instant(void **state)
{
	uint32_t index;
	struct conn c = open_conn(nobody, host);
	struct verdict v;

	new_tenant(&index);
	add_key("sk-expires", index, wall_ns() - SECOND);
	v = send_text(&c, chat("sk-expires"));
	is_refused(&c, &v, 401);
	add_key("sk-expires", index, wall_ns() + 60 * SECOND);
	c = open_conn(nobody, host);
	assert_int_equal(send_text(&c, chat("sk-expires")).code, OUT_PASS);
}

/* -- one connection, many segments */

static void each_request_of_a_connection_is_judged(void **state)
{
	struct weir_tenant *t = tenant_with("sk-many");
	struct conn c = open_conn(nobody, host);

	for (int i = 1; i <= 20; i++) {
		const struct weir_rec_request *r;

		assert_int_equal(send_text(&c, chat("sk-many")).code, OUT_PASS);
		assert_int_equal(t->inflight, 1);
		answer_ok(&c);
		assert_int_equal(t->inflight, 0);
		assert_int_equal(t->admitted, i);
		r = record(WEIR_REC_REQUEST, i - 1);
		assert_int_equal(r->h.ordinal, i);
	}
	assert_int_equal(t->connections, 1);
}

static void a_body_in_segments_passes_even_when_it_looks_like_a_request(void **state)
{
	struct weir_tenant *t = tenant_with("sk-body");
	struct conn c = open_conn(nobody, host);
	const char *evil = chat("sk-body");
	char head[512];

	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer sk-body\r\n"
		 "Content-Length: %zu\r\n\r\n",
		 3 * strlen(evil));
	assert_int_equal(send_text(&c, head).code, OUT_PASS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(send_text(&c, evil).code, OUT_PASS);
	is_counted(WEIR_PASS_BODY, 3);
	assert_int_equal(t->admitted, 1);
	answer_ok(&c);
	assert_int_equal(send_text(&c, evil).code, OUT_PASS);
	assert_int_equal(t->admitted, 2);
}

static void a_retransmitted_head_is_not_a_second_request(void **state)
{
	struct weir_tenant *t = tenant_with("sk-again");
	struct conn c = open_conn(nobody, host);
	uint32_t seq = c.next;

	assert_int_equal(send_text(&c, chat("sk-again")).code, OUT_PASS);
	c.next = seq;
	assert_int_equal(send_text(&c, chat("sk-again")).code, OUT_PASS);
	assert_int_equal(t->admitted, 1);
	assert_int_equal(t->inflight, 1);
}

static void a_segment_ahead_of_its_turn_is_dropped(void **state)
{
	struct weir_tenant *t = tenant_with("sk-early");
	struct conn c = open_conn(nobody, host);
	const char *text = chat("sk-early");

	assert_int_equal(
		from_client(&c, TCP_PSH | TCP_ACK, c.next + 5, c.sent, text, strlen(text)).code,
		OUT_DROP);
	is_counted(WEIR_DROP_OUT_OF_ORDER, 1);
	assert_int_equal(t->admitted, 0);
	assert_int_equal(send_text(&c, text).code, OUT_PASS);
	assert_int_equal(t->admitted, 1);
}

static void a_second_request_before_the_first_answer_closes_both_ends(void **state)
{
	struct weir_tenant *t = tenant_with("sk-pipe");
	struct conn c = open_conn(nobody, host);
	uint32_t head_seq;
	struct segment rst;
	struct verdict v;
	const char *wrong;

	assert_int_equal(send_text(&c, chat("sk-pipe")).code, OUT_PASS);
	head_seq = c.next;
	v = send_text(&c, chat("sk-pipe"));
	assert_int_equal(v.code, OUT_REDIRECT);
	wrong = read_frame(v.frame, v.frame_len, &rst);
	if (wrong)
		fail_msg("RST to the client: %s", wrong);
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.dport, c.client_port);
	assert_int_equal(rst.seq, c.sent);
	assert_true(on_the_wire(&rst));
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.dport, PORT);
	assert_int_equal(rst.seq, head_seq);
	assert_int_equal(t->admitted, 1);
	is_counted(WEIR_DROP_PIPELINED, 1);
}

/* The same, both heads in one segment: neither may slip in behind the other. */
static void two_requests_in_one_segment_close_both_ends(void **state)
{
	struct weir_tenant *t = tenant_with("sk-pipe1");
	struct conn c = open_conn(nobody, host);
	char two[2048];

	snprintf(two, sizeof(two), "%s", chat("sk-pipe1"));
	strcat(two, chat("sk-pipe1"));
	assert_int_equal(send_text(&c, two).code, OUT_REDIRECT);
	is_counted(WEIR_DROP_PIPELINED, 1);
	assert_int_equal(t->inflight, 0);
}

/* RFC 9112 2.2: some old clients do that. */
static void an_empty_line_behind_a_body_belongs_to_it(void **state)
{
	struct weir_tenant *t = tenant_with("sk-crlf");
	struct conn c = open_conn(nobody, host);
	char text[1100];

	snprintf(text, sizeof(text), "%s\r\n", chat("sk-crlf"));
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(send_text(&c, text).code, OUT_PASS);
		assert_int_equal(t->admitted, i);
		answer_ok(&c);
	}
}

/* Behind an answer that only the close ends, a next request ends it. */
static void a_next_request_ends_an_answer_without_an_end(void **state)
{
	struct weir_tenant *t = tenant_with("sk-next");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_end *e;

	assert_int_equal(send_text(&c, chat("sk-next")).code, OUT_PASS);
	answer_text(&c, "HTTP/1.1 200 OK\r\n\r\nwords");
	assert_int_equal(t->inflight, 1);
	assert_int_equal(send_text(&c, chat("sk-next")).code, OUT_PASS);
	assert_int_equal(t->inflight, 1);
	assert_int_equal(t->admitted, 2);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->h.flags, WEIR_END_NEXT);
}

/* -- what is not judged */

static void free_paths_cost_nothing_and_need_no_key(void **state)
{
	static const char *const heads[] = {
		"GET /health HTTP/1.1\r\n\r\n",
		"GET /v1/models HTTP/1.1\r\n\r\n",
		"GET /metrics HTTP/1.1\r\n\r\n",
		"OPTIONS /v1/chat/completions HTTP/1.1\r\n\r\n",
		"HEAD /health HTTP/1.1\r\nA: b\r\n\r\n",
		"GET /version HTTP/1.1\r\n\r\n",
		"GET /ping HTTP/1.1\r\n\r\n",
	};
	struct conn c = open_conn(nobody, host);

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		assert_int_equal(send_text(&c, heads[i]).code, OUT_PASS);
		is_counted(WEIR_PASS_FREE, i + 1);
		if (heads[i][0] == 'H')
			answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n");
		else
			answer_ok(&c);
	}
	is_counted(WEIR_ADMIT_REQUEST, 0);
	assert_null(record(WEIR_REC_REQUEST, 0));
	assert_null(record(WEIR_REC_DATA, 0));
	assert_null(record(WEIR_REC_END, 0));
}

static void a_free_path_with_another_method_is_judged(void **state)
{
	struct conn c = open_conn(nobody, host);
	struct verdict v = send_text(&c, "POST /v1/models HTTP/1.1\r\n\r\n");

	is_refused(&c, &v, 401);
}

static void tls_passes_untouched_and_other_garbage_is_refused(void **state)
{
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
	static const char *const junk[] = {
		"hello there, this is not HTTP at all\r\n\r\n",
		"POST / HTTP/9.9\r\n\r\n",
		"{\"jsonrpc\":1}\r\n\r\n",
		" POST / HTTP/1.1\r\n\r\n",
	};
	struct conn c = open_conn(nobody, host);
	uint8_t frame[FRAME_MAX];
	size_t n = conn_frame(&c, true, TCP_ACK | TCP_PSH, c.next, c.sent, hello, sizeof(hello) - 1,
			      frame);
	struct verdict v = run(lab.skel->progs.weir_ingress, frame, n);

	assert_int_equal(v.code, OUT_PASS);
	assert_int_equal(v.frame_len, n);
	assert_memory_equal(v.frame, frame, n);
	is_counted(WEIR_PASS_TLS, 1);
	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
		c = open_conn(nobody, host);
		v = send_text(&c, junk[i]);
		is_refused(&c, &v, 400);
		is_counted(WEIR_DENY_MALFORMED, i + 1);
	}
}

static void a_head_cut_in_two_is_judged_with_its_second_part(void **state)
{
	const char *text = chat("sk-cut");
	size_t head = strstr(text, "\r\n\r\n") + 4 - text;
	struct weir_tenant *t = tenant_with("sk-cut");

	for (size_t cut = 1; cut < head; cut++) {
		struct conn c = open_conn(nobody, host);

		assert_int_equal(send_bytes(&c, text, cut).code, OUT_PASS);
		is_counted(WEIR_PASS_HEAD_PART, cut);
		assert_int_equal(t->inflight, 0);
		assert_int_equal(send_bytes(&c, text + cut, strlen(text) - cut).code, OUT_PASS);
		assert_int_equal(t->inflight, 1);
		answer_ok(&c);
		/* With the client's next packet its reader is free for others. */
		from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0);
	}
}

/* No socket here has it, so its server may be elsewhere: judged, and kept if it answers. */
static void a_connection_nobody_knows_is_judged(void **state)
{
	struct weir_tenant *t = tenant_with("sk-far");
	struct conn c = new_conn(nobody, host);

	nobody_listens();
	assert_int_equal(send_text(&c, chat("sk-far")).code, OUT_PASS);
	is_counted(WEIR_FLOW_ADOPTED, 1);
	assert_int_equal(t->admitted, 1);
}

static void another_port_is_left_alone(void **state)
{
	struct conn c = new_conn(nobody, host);

	c.server_port = FREE_PORT;
	assert_int_equal(send_text(&c, chat("sk-x")).code, OUT_PASS);
	assert_int_equal(answer_text(&c, "HTTP/1.1 200 OK\r\n\r\n").code, OUT_PASS);
	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
		is_counted(r, 0);
}

static void v6_is_judged_alike(void **state)
{
	struct weir_tenant *t = tenant_with("sk-v6");
	struct conn c = open_conn("2001:db8:77::5", "2001:db8::1");
	struct verdict v;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	t->max_inflight = 1;
	assert_int_equal(send_text(&c, chat("sk-v6")).code, OUT_PASS);
	answer_ok(&c);
	assert_int_equal(t->inflight, 0);
	t->max_inflight = 0;
	v = send_text(&c, chat("sk-v6"));
	is_refused(&c, &v, 429);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(a_key_says_whose_request_it_is),
		CLAIM(keys_of_any_length_up_to_the_longest_are_known),
		CLAIM(without_a_key_the_source_says_it),
		CLAIM(without_either_it_is_the_default_tenant),
		CLAIM(nobody_at_all_is_refused),
		CLAIM(an_unknown_key_is_refused_and_never_repeated),
		CLAIM(an_unknown_key_may_be_the_default_tenants),
		CLAIM(a_key_expires_at_its_instant),
		CLAIM(each_request_of_a_connection_is_judged),
		CLAIM(a_body_in_segments_passes_even_when_it_looks_like_a_request),
		CLAIM(a_retransmitted_head_is_not_a_second_request),
		CLAIM(a_segment_ahead_of_its_turn_is_dropped),
		CLAIM(a_second_request_before_the_first_answer_closes_both_ends),
		CLAIM(two_requests_in_one_segment_close_both_ends),
		CLAIM(an_empty_line_behind_a_body_belongs_to_it),
		CLAIM(a_next_request_ends_an_answer_without_an_end),
		CLAIM(free_paths_cost_nothing_and_need_no_key),
		CLAIM(a_free_path_with_another_method_is_judged),
		CLAIM(tls_passes_untouched_and_other_garbage_is_refused),
		CLAIM(a_head_cut_in_two_is_judged_with_its_second_part),
		CLAIM(a_connection_nobody_knows_is_judged),
		CLAIM(another_port_is_left_alone),
		CLAIM(v6_is_judged_alike),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
