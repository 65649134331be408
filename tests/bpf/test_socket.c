/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real sockets on the namespace's loopback: what a closing one gives back, and
 * how a connection that is older than the agent is taken in. The packets are
 * still ours, with the sockets' addresses.
 */
#include "tests/bpf/lab.h"

#include <netinet/tcp.h>

/* A connected pair, and the connection as packets see it. */
struct pair {
	int client, server;
	struct conn conn;
};

/* The sequence number of the next byte that a socket will send. */
static uint32_t next_byte(int fd)
{
	int on = TCP_REPAIR_ON, off = TCP_REPAIR_OFF_NO_WP, queue = TCP_SEND_QUEUE;
	uint32_t seq = 0;
	socklen_t len = sizeof(seq);

	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)), 0);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, &len), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)), 0);
	return seq;
}

static struct pair connect_pair(int family, const char *at)
{
	struct pair p = { .conn = new_conn(at, at) };
	int one = 1, listener = socket(family, SOCK_STREAM, 0);
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
	struct sockaddr_in to4 = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sockaddr *to = family == AF_INET ? (void *)&to4 : (void *)&to6;
	socklen_t len = family == AF_INET ? sizeof(to4) : sizeof(to6);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	inet_pton(AF_INET, at, &to4.sin_addr);
	inet_pton(AF_INET6, at, &to6.sin6_addr);
	assert_int_equal(bind(listener, to, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	p.client = socket(family, SOCK_STREAM, 0);
	assert_int_equal(connect(p.client, to, len), 0);
	p.server = accept(listener, NULL, NULL);
	assert_true(p.server >= 0);
	close(listener);
	assert_int_equal(getsockname(p.client, to, &len), 0);
	p.conn.next = next_byte(p.client);
	p.conn.sent = next_byte(p.server);
	p.conn.client_port = ntohs(family == AF_INET ? to4.sin_port : to6.sin6_port);
	return p;
}

/* Closed in a way that leaves no TIME_WAIT: CLOSE at once on both ends. */
static void close_pair(struct pair *p)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(p->client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(p->client);
	close(p->server);
}

static const struct {
	int family;
	const char *at;
} ends[] = { { AF_INET, "127.0.0.1" }, { AF_INET6, "::1" } };

static void a_closing_socket_gives_back_all_it_held(void **state)
{
	for (int i = 0; i < 2; i++) {
		uint32_t index;
		struct weir_tenant *t = new_tenant(&index);
		struct pair p = connect_pair(ends[i].family, ends[i].at);
		struct conn *c = &p.conn;
		const struct weir_rec_end *e;

		lab_reset(NULL);
		lab.config->default_tenant = index;
		assert_int_equal(send_syn(c, false).code, OUT_PASS);
		c->next++;
		from_server(c, TCP_SYN | TCP_ACK, c->sent++, c->next, NULL, 0);
		assert_int_equal(send_text(c, chat(NULL)).code, OUT_PASS);
		answer_text(c, "HTTP/1.1 200 OK\r\n\r\nsome words");
		assert_int_equal(t->connections, 1);
		assert_int_equal(t->inflight, 1);
		close_pair(&p);
		assert_int_equal(t->connections, 0);
		assert_int_equal(t->inflight, 0);
		is_counted(WEIR_FLOW_GONE, 1);
		e = record(WEIR_REC_END, 0);
		assert_non_null(e);
		assert_int_equal(e->h.flags, WEIR_END_CLOSE);
		assert_int_equal(e->response_bytes, strlen("HTTP/1.1 200 OK\r\n\r\nsome words"));
	}
}

/* The server's socket was reset; the client has not read its answer yet. */
static void a_refused_flow_outlives_the_servers_socket(void **state)
{
	struct pair p = connect_pair(AF_INET, "127.0.0.1");
	struct conn *c = &p.conn;
	struct verdict v;

	assert_int_equal(send_syn(c, false).code, OUT_PASS);
	c->next++;
	from_server(c, TCP_SYN | TCP_ACK, c->sent++, c->next, NULL, 0);
	v = send_text(c, chat(NULL));
	is_refused(c, &v, 401);
	close_pair(&p);
	is_counted(WEIR_FLOW_GONE, 0);
	v = from_client(c, TCP_ACK, c->next, c->sent, NULL, 0);
	is_refused(c, &v, 401);
	from_client(c, TCP_RST, c->next, c->sent, NULL, 0);
	is_counted(WEIR_FLOW_GONE, 1);
	/* The gauge was given back once, not twice. */
	is_counted(WEIR_CLOSE_RELEASED, 1);
}

static void a_connection_older_than_the_agent_is_judged_from_its_next_request(void **state)
{
	for (int i = 0; i < 2; i++) {
		uint32_t index;
		struct weir_tenant *t = new_tenant(&index);
		struct pair p = connect_pair(ends[i].family, ends[i].at);
		struct conn *c = &p.conn;

		lab_reset(NULL);
		lab.config->default_tenant = index;
		/* What the server has of before is not judged again. */
		assert_int_equal(from_client(c, TCP_ACK | TCP_PSH, c->next - 400, c->sent,
					     chat(NULL), strlen(chat(NULL)))
					 .code,
				 OUT_PASS);
		is_counted(WEIR_FLOW_ADOPTED, 1);
		is_counted(WEIR_PASS_REPEAT, 1);
		assert_int_equal(send_text(c, chat(NULL)).code, OUT_PASS);
		is_counted(WEIR_ADMIT_REQUEST, 1);
		assert_int_equal(t->connections, 1);
		assert_int_equal(t->inflight, 1);
		answer_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		assert_int_equal(t->inflight, 0);
		close_pair(&p);
		assert_int_equal(t->connections, 0);
	}
}

static void a_socket_of_another_port_is_not_looked_at(void **state)
{
	int before = counter(WEIR_FLOW_GONE);
	struct pair p;

	lab.config->port_service[PORT] = 0;
	p = connect_pair(AF_INET, "127.0.0.1");
	close_pair(&p);
	assert_int_equal(counter(WEIR_FLOW_GONE), before);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(a_closing_socket_gives_back_all_it_held),
		CLAIM(a_refused_flow_outlives_the_servers_socket),
		CLAIM(a_connection_older_than_the_agent_is_judged_from_its_next_request),
		CLAIM(a_socket_of_another_port_is_not_looked_at),
	};
	struct bpf_link *link;
	int failed;

	lab_open();
	lab.own_sockets = true;
	link = bpf_program__attach(lab.skel->progs.weir_state);
	if (!link)
		die("tracepoint");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	bpf_link__destroy(link);
	return failed;
}
