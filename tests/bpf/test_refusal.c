/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refused client and its server are sent: the reply in each dialect, the
 * reset, and the life of the flow between the reply and its last ACK.
 */
#include "tests/bpf/lab.h"

static const char nobody[] = "198.51.100.30", host[] = "192.0.2.1";

/* A tenant that may have no request in flight. */
static struct weir_tenant *shut_tenant(const char *key)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	add_key(key, index, 0);
	return t;
}

/* A connection whose first request was just refused, its reply in *a. */
static struct conn refused_conn(const char *key, struct answer *a)
{
	struct conn c = open_conn(nobody, host);
	struct verdict v = send_text(&c, chat(key));

	*a = is_refused(&c, &v, 429);
	return c;
}

static void the_reply_continues_the_servers_stream(void **state)
{
	struct answer a;
	struct conn c;

	shut_tenant("sk-seq");
	c = refused_conn("sk-seq", &a);
	assert_int_equal(a.tcp.seq, c.sent);
	assert_int_equal(a.tcp.ack, c.next);
}

/* Bytes that the client has not acknowledged yet come before the reply. */
static void the_reply_stands_behind_all_the_server_sent(void **state)
{
	struct weir_tenant *t = shut_tenant("sk-behind");
	struct conn c = open_conn(nobody, host);
	uint32_t acked = c.sent;
	struct verdict v;
	struct answer a;

	t->max_inflight = 1;
	assert_int_equal(send_text(&c, chat("sk-behind")).code, OUT_PASS);
	answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
	t->max_inflight = 0;
	v = from_client(&c, TCP_ACK, c.next, acked, chat("sk-behind"), strlen(chat("sk-behind")));
	a = is_refused(&c, &v, 429);
	assert_int_equal(a.tcp.seq, c.sent);
}

static void the_server_is_reset_where_the_request_began(void **state)
{
	struct conn c = open_conn(nobody, host);
	uint32_t head_seq = c.next;
	struct segment rst;
	struct verdict v;
	uint8_t client[16];
	bool v6;

	shut_tenant("sk-rst");
	v = send_text(&c, chat("sk-rst"));
	is_refused(&c, &v, 429);
	assert_true(on_the_wire(&rst));
	address(c.client, client, &v6);
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.seq, head_seq);
	assert_int_equal(rst.ack, c.sent);
	assert_int_equal(rst.sport, c.client_port);
	assert_int_equal(rst.dport, PORT);
	assert_memory_equal(rst.src, client, 16);
	assert_memory_equal(rst.to_mac, "\2\0\0\0\0\2", 6);
	assert_int_equal(rst.len, 0);
	assert_false(on_the_wire(&rst));
}

/* A segment may begin with the end of a body: the RST stands where the head does. */
/* The server answered before it had the body: where it reads on is not known. */
static void nothing_passes_behind_an_answer_that_came_too_early(void **state)
{
	struct weir_tenant *t = shut_tenant("sk-tail");
	struct conn c = open_conn(nobody, host);
	char text[1200];
	struct segment rst;
	struct verdict v;

	t->max_inflight = 1;
	send_text(&c, "POST / HTTP/1.1\r\nx-api-key: sk-tail\r\nContent-Length: 10\r\n\r\n12345");
	answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(t->inflight, 0);
	snprintf(text, sizeof(text), "67890%s", chat("sk-tail"));
	v = send_text(&c, text);
	assert_int_equal(v.code, OUT_REDIRECT);
	assert_null(read_frame(v.frame, v.frame_len, &rst));
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_true(on_the_wire(&rst));
	assert_int_equal(rst.seq, c.next - strlen(text));
	is_counted(WEIR_DROP_AFTER_ANSWER, 1);
	assert_int_equal(t->admitted, 1);
}

/* Packet lengths change what change_tail and the checksum in pieces have to do. */
static void replies_are_whole_whatever_the_segments_length(void **state)
{
	struct weir_tenant *t = shut_tenant("sk-len");

	for (size_t pad = 0; pad < 3000; pad += pad < 40 ? 1 : 311) {
		struct conn c;
		struct verdict v;
		char text[FRAME_MAX];
		int n;

		for (int with_ts = 0; with_ts < 2; with_ts++) {
			const char *client = pad % 2 ? nobody : "2001:db8:30::7";

			c = open_conn(client, pad % 2 ? host : "2001:db8::1");
			c.has_ts = with_ts;
			n = snprintf(text, sizeof(text),
				     "POST / HTTP/1.1\r\nx-api-key: sk-len\r\nA: %0*d\r\n\r\n",
				     (int)pad, 0);
			v = send_bytes(&c, text, n);
			is_refused(&c, &v, 429);
			/* It goes, or the map of flows would be full soon. */
			from_client(&c, TCP_RST, c.next, c.sent, NULL, 0);
		}
	}
	assert_int_equal(t->inflight, 0);
}

/* Segments merged on receipt: what goes back is one plain packet. */
static void a_super_packet_is_answered_by_a_plain_one(void **state)
{
	struct conn c = open_conn(nobody, host);
	uint8_t frame[FRAME_MAX];
	char text[2000];
	struct __sk_buff ctx = { .gso_size = 500, .gso_segs = 4 };
	struct verdict v = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_out = v.frame,
		    .data_size_out = sizeof(v.frame), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		    .ctx_out = &ctx, .ctx_size_out = sizeof(ctx), .repeat = 1);

	shut_tenant("sk-gso");
	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nx-api-key: sk-gso\r\nA: %01500d\r\n\r\n",
		 0);
	opts.data_size_in =
		conn_frame(&c, true, TCP_PSH | TCP_ACK, c.next, c.sent, text, strlen(text), frame);
	assert_int_equal(
		bpf_prog_test_run_opts(bpf_program__fd(lab.skel->progs.weir_ingress), &opts), 0);
	v.code = opts.retval;
	v.frame_len = opts.data_size_out;
	is_refused(&c, &v, 429);
	assert_int_equal(ctx.gso_segs, 0);
}

static void ipv4_options_are_left_out_of_the_reply(void **state)
{
	struct conn c = open_conn(nobody, host);
	uint8_t plain[FRAME_MAX], frame[FRAME_MAX];
	const char *text;
	struct segment rst;
	struct verdict v;
	size_t n;

	shut_tenant("sk-opt");
	text = chat("sk-opt");
	n = conn_frame(&c, true, TCP_PSH | TCP_ACK, c.next, c.sent, text, strlen(text), plain);
	memcpy(frame, plain, 34);
	memset(frame + 34, 1, 12); /* twelve NOPs */
	memcpy(frame + 46, plain + 34, n - 34);
	frame[14] = 0x48;
	put16(frame + 16, n - 14 + 12);
	v = run(lab.skel->progs.weir_ingress, frame, n + 12);
	is_refused(&c, &v, 429);
	assert_true(on_the_wire(&rst));
	assert_int_equal(rst.seq, c.next);
}

static void a_segment_with_fin_is_answered_behind_the_fin(void **state)
{
	struct conn c = open_conn(nobody, host);
	const char *text;
	struct verdict v;
	struct answer a;

	shut_tenant("sk-fin");
	text = chat("sk-fin");
	v = from_client(&c, TCP_PSH | TCP_ACK | TCP_FIN, c.next, c.sent, text, strlen(text));
	a = is_refused(&c, &v, 429);
	assert_int_equal(a.tcp.ack, c.next + strlen(text) + 1);
	c.next += strlen(text) + 1;
	/* Reply and FIN acknowledged, its own FIN sent: nothing is left to do. */
	assert_int_equal(from_client(&c, TCP_ACK, c.next, a.tcp.seq + a.tcp.len + 1, NULL, 0).code,
			 OUT_DROP);
	is_counted(WEIR_LINGER_DONE, 1);
	is_counted(WEIR_FLOW_GONE, 1);
}

/* -- dialects */

static void the_port_or_the_path_says_which_dialect(void **state)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);
	struct conn c = open_conn(nobody, host);
	struct verdict v;
	struct answer a;

	add_key("sk-dialect", index, 0);
	t->flags |= WEIR_TENANT_LIMIT_REQUESTS;
	t->requests_per_minute = 30;
	t->request_burst = 1;
	t->request_interval_ns = 2 * SECOND;
	t->request_tat_ns = now_ns() + 2 * SECOND;
	v = send_text(&c, "POST /v1/messages?beta=true HTTP/1.1\r\nx-api-key: sk-dialect\r\n\r\n");
	a = is_refused(&c, &v, 429);
	assert_string_equal(json_at(&a, NULL, "type"), "error");
	assert_string_equal(json_at(&a, "error", "type"), "rate_limit_error");
	assert_string_equal(header(&a, "anthropic-ratelimit-requests-limit"), "30");
	assert_string_equal(header(&a, "anthropic-ratelimit-requests-remaining"), "0");
	assert_non_null(strstr(header(&a, "anthropic-ratelimit-requests-reset"), "T"));
	assert_null(header(&a, "x-ratelimit-limit-requests"));
	assert_in_range(atoi(header(&a, "retry-after")), 1, 2);

	for (int port = ANTHROPIC_PORT; port <= PLAIN_PORT; port++) {
		c = new_conn(nobody, host);
		c.server_port = port;
		send_syn(&c, false);
		c.next++;
		from_server(&c, TCP_SYN | TCP_ACK, c.sent++, c.next, NULL, 0);
		v = send_text(&c, "POST /x HTTP/1.1\r\nx-api-key: sk-dialect\r\n\r\n");
		a = is_refused(&c, &v, 429);
		if (port == ANTHROPIC_PORT)
			assert_string_equal(json_at(&a, "error", "type"), "rate_limit_error");
		else
			assert_string_equal(header(&a, "content-type"), "text/plain");
	}
}

static void anthropic_without_credit_is_402(void **state)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);
	struct conn c = open_conn(nobody, host);
	struct verdict v;
	struct answer a;

	add_key("sk-402", index, 0);
	t->flags |= WEIR_TENANT_CREDIT;
	t->ceiling_nano = t->balance_nano = -1500000000;
	v = send_text(&c, "POST /v1/messages HTTP/1.1\r\nx-api-key: sk-402\r\n\r\n");
	a = is_refused(&c, &v, 402);
	assert_string_equal(json_at(&a, "error", "type"), "billing_error");
	assert_non_null(strstr(a.body, "balance -1.5 credits"));
	c = open_conn(nobody, host);
	v = send_text(&c, "POST /v1/messages HTTP/1.1\r\nx-api-key: sk-wrong\r\n\r\n");
	a = is_refused(&c, &v, 401);
	assert_string_equal(json_at(&a, "error", "type"), "authentication_error");
}

/* -- lingering */

static void a_lost_reply_is_sent_again_word_for_word(void **state)
{
	struct answer a, again;
	struct verdict v;
	struct conn c;
	const char *text;

	shut_tenant("sk-linger");
	c = refused_conn("sk-linger", &a);
	text = chat("sk-linger");
	/* the request again, a bare ACK, the rest of a body, a keepalive probe, a window probe */
	v = from_client(&c, TCP_PSH | TCP_ACK, c.next - strlen(text), c.sent, text, strlen(text));
	again = is_refused(&c, &v, 429);
	assert_int_equal(again.tcp.seq, a.tcp.seq);
	assert_int_equal(again.tcp.ack, a.tcp.ack);
	assert_string_equal(again.head, a.head);
	assert_string_equal(again.body, a.body);
	v = from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0);
	again = is_refused(&c, &v, 429);
	assert_string_equal(again.body, a.body);
	v = send_text(&c, "more of the body");
	again = is_refused(&c, &v, 429);
	assert_int_equal(again.tcp.ack, c.next);
	assert_string_equal(again.body, a.body);
	v = from_client(&c, TCP_ACK, c.next - 1, c.sent, NULL, 0);
	again = is_refused(&c, &v, 429);
	assert_int_equal(again.tcp.ack, c.next);
	v = from_client(&c, TCP_ACK, c.next - 1, c.sent, "y", 1);
	is_refused(&c, &v, 429);
	/* Half of it acknowledged: still the whole. */
	v = from_client(&c, TCP_ACK, c.next, c.sent + 20, NULL, 0);
	again = is_refused(&c, &v, 429);
	assert_int_equal(again.tcp.seq, a.tcp.seq);
	/* All but the FIN: still the whole. */
	v = from_client(&c, TCP_ACK, c.next, c.sent + a.tcp.len, NULL, 0);
	is_refused(&c, &v, 429);
	is_counted(WEIR_LINGER_REPLY, 7);
	is_counted(WEIR_DENY_CONCURRENCY, 1);
	is_counted(WEIR_LINGER_DONE, 0);
}

static void once_read_only_acks_are_sent_until_the_client_closes(void **state)
{
	struct weir_tenant *t = shut_tenant("sk-read");
	struct answer a;
	struct verdict v;
	struct conn c = refused_conn("sk-read", &a);
	uint32_t end = a.tcp.seq + a.tcp.len + 1;
	struct segment ack;
	const char *wrong;

	assert_int_equal(t->connections, 1);
	assert_int_equal(from_client(&c, TCP_ACK, c.next, end, NULL, 0).code, OUT_DROP);
	/* A body that goes on is acknowledged and thrown away. */
	v = from_client(&c, TCP_ACK, c.next, end, "0123456789", 10);
	assert_int_equal(v.code, OUT_REDIRECT);
	wrong = read_frame(v.frame, v.frame_len, &ack);
	if (wrong)
		fail_msg("ACK: %s", wrong);
	assert_int_equal(ack.flags, TCP_ACK);
	assert_int_equal(ack.seq, end);
	assert_int_equal(ack.ack, c.next + 10);
	assert_int_equal(ack.len, 0);
	c.next += 10;
	is_counted(WEIR_LINGER_DONE, 0);
	v = from_client(&c, TCP_ACK | TCP_FIN, c.next, end, NULL, 0);
	assert_int_equal(v.code, OUT_REDIRECT);
	wrong = read_frame(v.frame, v.frame_len, &ack);
	if (wrong)
		fail_msg("last ACK: %s", wrong);
	assert_int_equal(ack.ack, c.next + 1);
	is_counted(WEIR_LINGER_DONE, 1);
	is_counted(WEIR_FLOW_GONE, 1);
	is_counted(WEIR_CLOSE_RELEASED, 1);
	assert_int_equal(t->connections, 0);
}

static void a_fin_before_the_reply_is_read_counts(void **state)
{
	struct answer a;
	struct verdict v;
	struct conn c;

	shut_tenant("sk-halfclose");
	c = refused_conn("sk-halfclose", &a);
	v = from_client(&c, TCP_ACK | TCP_FIN, c.next, c.sent, NULL, 0);
	a = is_refused(&c, &v, 429);
	assert_int_equal(a.tcp.ack, c.next + 1);
	assert_int_equal(
		from_client(&c, TCP_ACK, c.next + 1, a.tcp.seq + a.tcp.len + 1, NULL, 0).code,
		OUT_DROP);
	is_counted(WEIR_LINGER_DONE, 1);
}

static void a_clients_reset_ends_lingering(void **state)
{
	struct weir_tenant *t = shut_tenant("sk-gone");
	struct answer a;
	struct conn c = refused_conn("sk-gone", &a);

	assert_int_equal(from_client(&c, TCP_RST, c.next, c.sent, NULL, 0).code, OUT_DROP);
	is_counted(WEIR_LINGER_DONE, 1);
	assert_int_equal(t->connections, 0);
}

static void lingering_is_bounded_in_time(void **state)
{
	struct weir_tenant *t = shut_tenant("sk-late");
	struct segment rst;
	struct verdict v;
	struct answer a;
	struct conn c;
	const char *wrong;
	uint8_t frame[64] = {};

	lab.config->linger_ns = 0;
	c = refused_conn("sk-late", &a);
	v = send_text(&c, "x");
	assert_int_equal(v.code, OUT_REDIRECT);
	wrong = read_frame(v.frame, v.frame_len, &rst);
	if (wrong)
		fail_msg("RST: %s", wrong);
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.dport, c.client_port);
	assert_int_equal(t->connections, 0);
	is_counted(WEIR_LINGER_DONE, 1);
	/* A client that says nothing any more: the sweep. */
	refused_conn("sk-late", &a);
	assert_int_equal(t->connections, 1);
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(t->connections, 0);
}

static void the_servers_packets_of_a_refused_flow_are_answered_with_a_reset(void **state)
{
	struct segment rst;
	struct verdict v;
	struct answer a;
	struct conn c;
	const char *wrong;

	shut_tenant("sk-server");
	c = refused_conn("sk-server", &a);
	v = from_server(&c, TCP_ACK, c.sent, c.next - 30, "late words", 10);
	assert_int_equal(v.code, OUT_REDIRECT);
	wrong = read_frame(v.frame, v.frame_len, &rst);
	if (wrong)
		fail_msg("RST: %s", wrong);
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.seq, c.next - 30);
	assert_int_equal(rst.sport, c.client_port);
	assert_int_equal(rst.dport, PORT);
	/* A RST is not answered with another. */
	assert_int_equal(from_server(&c, TCP_RST, c.sent, 0, NULL, 0).code, OUT_DROP);
	is_counted(WEIR_DROP_REFUSED_FLOW, 2);
}

static void the_port_of_a_refused_connection_can_be_used_again(void **state)
{
	struct weir_tenant *t = shut_tenant("sk-reuse");
	struct answer a;
	struct conn c = refused_conn("sk-reuse", &a);

	c.next += 100000;
	c.sent += 100000;
	assert_int_equal(send_syn(&c, false).code, OUT_PASS);
	assert_int_equal(t->connections, 0);
	c.next++;
	from_server(&c, TCP_SYN | TCP_ACK, c.sent++, c.next, NULL, 0);
	t->max_inflight = 1;
	assert_int_equal(send_text(&c, chat("sk-reuse")).code, OUT_PASS);
	assert_int_equal(t->connections, 1);
	assert_int_equal(t->inflight, 1);
}

/* A flood of refusals is counted to the last one, and does not fill the ring. */
static void refusals_are_counted_exactly_and_told_seldom(void **state)
{
	struct weir_tenant *t = shut_tenant("sk-flood");
	struct weir_denial_key key = { .tenant = t - lab.tenants, .reason = WEIR_DENY_CONCURRENCY };
	struct weir_denial d;
	struct answer a;
	size_t told = 0;

	for (int i = 0; i < 50; i++) {
		struct conn c = refused_conn("sk-flood", &a);

		from_client(&c, TCP_RST, c.next, c.sent, NULL, 0);
	}
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(lab.skel->maps.denials), &key, &d), 0);
	assert_int_equal(d.count, 50);
	assert_int_equal(t->refused, 50);
	while (record(WEIR_REC_DENY, told))
		told++;
	assert_in_range(told, 1, 10);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(the_reply_continues_the_servers_stream),
		CLAIM(the_reply_stands_behind_all_the_server_sent),
		CLAIM(the_server_is_reset_where_the_request_began),
		CLAIM(nothing_passes_behind_an_answer_that_came_too_early),
		CLAIM(replies_are_whole_whatever_the_segments_length),
		CLAIM(a_super_packet_is_answered_by_a_plain_one),
		CLAIM(ipv4_options_are_left_out_of_the_reply),
		CLAIM(a_segment_with_fin_is_answered_behind_the_fin),
		CLAIM(the_port_or_the_path_says_which_dialect),
		CLAIM(anthropic_without_credit_is_402),
		CLAIM(a_lost_reply_is_sent_again_word_for_word),
		CLAIM(once_read_only_acks_are_sent_until_the_client_closes),
		CLAIM(a_fin_before_the_reply_is_read_counts),
		CLAIM(a_clients_reset_ends_lingering),
		CLAIM(lingering_is_bounded_in_time),
		CLAIM(the_servers_packets_of_a_refused_flow_are_answered_with_a_reset),
		CLAIM(the_port_of_a_refused_connection_can_be_used_again),
		CLAIM(refusals_are_counted_exactly_and_told_seldom),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
