/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYNs to guarded ports, in XDP and in TC: passed, dropped or reset, and what
 * that does to a tenant's gauges. Every claim is made of both hooks and of both
 * address families.
 */
#include "tests/bpf/lab.h"

/* Each kind of packet: the hook, and the addresses. */
static const struct way {
	bool xdp;
	const char *net, *client, *server;
	uint32_t len;
} ways[] = {
	{ false, "10.%u.0.0", "10.%u.3.4", "192.0.2.1", 16 },
	{ true, "10.%u.0.0", "10.%u.3.4", "192.0.2.1", 16 },
	{ false, "2001:db8:%u::", "2001:db8:%u::9", "2001:db8::1", 48 },
	{ true, "2001:db8:%u::", "2001:db8:%u::9", "2001:db8::1", 48 },
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static const int passes[2] = { OUT_PASS, X_PASS };
static const int drops[2] = { OUT_DROP, X_DROP };

/* A tenant known by its source, and a connection of it. */
static struct weir_tenant *tenant_at(const struct way *w, struct conn *c)
{
	char net[46], client[46];
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	snprintf(net, sizeof(net), w->net, index % 200);
	snprintf(client, sizeof(client), w->client, index % 200);
	add_source(net, w->len, index);
	*c = new_conn(client, w->server);
	return t;
}

static void is_reset(const struct way *w, const struct conn *c, const struct verdict *v)
{
	struct segment s;
	uint8_t client[16], server[16];
	const char *wrong;
	bool v6;

	assert_int_equal(v->code, w->xdp ? X_TX : OUT_REDIRECT);
	wrong = read_frame(v->frame, v->frame_len, &s);
	if (wrong)
		fail_msg("reset: %s", wrong);
	address(c->client, client, &v6);
	address(c->server, server, &v6);
	assert_int_equal(s.flags, TCP_RST | TCP_ACK);
	assert_int_equal(s.seq, 0);
	assert_int_equal(s.ack, c->next + 1);
	assert_int_equal(s.len, 0);
	assert_int_equal(s.sport, c->server_port);
	assert_int_equal(s.dport, c->client_port);
	assert_memory_equal(s.src, server, 16);
	assert_memory_equal(s.dst, client, 16);
	assert_memory_equal(s.to_mac, "\2\0\0\0\0\1", 6);
	assert_memory_equal(s.from_mac, "\2\0\0\0\0\2", 6);
}

static void a_syn_within_limits_passes_and_is_counted(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		struct weir_tenant *t;

		lab_reset(NULL);
		t = tenant_at(&ways[i], &c);
		t->flags |= WEIR_TENANT_LIMIT_CONNS;
		t->max_connections = 1;
		assert_int_equal(send_syn(&c, ways[i].xdp).code, passes[ways[i].xdp]);
		assert_int_equal(t->connections, 1);
		is_counted(WEIR_ADMIT_CONNECTION, 1);
		is_counted(WEIR_FLOW_NEW, 1);
	}
}

static void a_syn_sent_again_is_no_new_connection(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		struct weir_tenant *t = tenant_at(&ways[i], &c);

		t->flags |= WEIR_TENANT_LIMIT_CONNS;
		t->max_connections = 1;
		for (int again = 0; again < 3; again++)
			assert_int_equal(send_syn(&c, ways[i].xdp).code, passes[ways[i].xdp]);
		/* XDP and TC see the same SYN. */
		assert_int_equal(send_syn(&c, !ways[i].xdp).code, passes[!ways[i].xdp]);
		assert_int_equal(t->connections, 1);
	}
}

static void one_connection_too_many_is_reset(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c, other;
		struct weir_tenant *t, before;
		struct verdict v;

		lab_reset(NULL);
		t = tenant_at(&ways[i], &c);
		t->flags |= WEIR_TENANT_LIMIT_CONNS;
		t->max_connections = 2;
		assert_int_equal(send_syn(&c, ways[i].xdp).code, passes[ways[i].xdp]);
		c.client_port = lab.next_port++;
		assert_int_equal(send_syn(&c, ways[i].xdp).code, passes[ways[i].xdp]);
		before = *t;
		other = c;
		other.client_port = lab.next_port++;
		v = send_syn(&other, ways[i].xdp);
		is_reset(&ways[i], &other, &v);
		uses_up_nothing(&before, t);
		assert_int_equal(t->refused, before.refused + 1);
		is_counted(WEIR_DENY_CONNECTIONS, 1);
		is_counted(WEIR_FLOW_NEW, 2);

		const struct weir_rec_deny *d = record(WEIR_REC_DENY, 0);

		assert_non_null(d);
		assert_int_equal(d->reason, WEIR_DENY_CONNECTIONS);
		assert_int_equal(d->limit, 2);
		assert_int_equal(d->value, 2);
		assert_int_equal(d->count, 1);
	}
}

static void the_connect_rate_holds_and_a_refusal_takes_no_token(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		struct weir_tenant *t = tenant_at(&ways[i], &c), before;
		struct verdict v;

		t->flags |= WEIR_TENANT_LIMIT_CONN_RATE;
		t->connect_interval_ns = 3600 * SECOND;
		t->connect_burst = 3;
		for (int n = 0; n < 3; n++, c.client_port = lab.next_port++)
			assert_int_equal(send_syn(&c, ways[i].xdp).code, passes[ways[i].xdp]);
		before = *t;
		v = send_syn(&c, ways[i].xdp);
		is_reset(&ways[i], &c, &v);
		uses_up_nothing(&before, t);
		assert_int_equal(t->connections, 3);
	}
	is_counted(WEIR_DENY_CONNECT_RATE, WAYS);
}

static void on_limit_drop_drops(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		struct weir_tenant *t = tenant_at(&ways[i], &c);

		t->flags |= WEIR_TENANT_LIMIT_CONNS | WEIR_TENANT_DROP;
		assert_int_equal(send_syn(&c, ways[i].xdp).code, drops[ways[i].xdp]);
		assert_int_equal(t->connections, 0);
	}
}

static void a_suspended_tenant_is_reset_at_connect(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		struct weir_tenant *t = tenant_at(&ways[i], &c);
		struct verdict v;

		t->flags |= WEIR_TENANT_SUSPENDED;
		v = send_syn(&c, ways[i].xdp);
		is_reset(&ways[i], &c, &v);
		assert_int_equal(t->connections, 0);
	}
	is_counted(WEIR_DENY_SUSPENDED, WAYS);
}

static void shadow_counts_what_it_would_refuse_and_passes_it(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		struct weir_tenant *t = tenant_at(&ways[i], &c);

		t->flags |= WEIR_TENANT_LIMIT_CONNS | WEIR_TENANT_SHADOW;
		assert_int_equal(send_syn(&c, ways[i].xdp).code, passes[ways[i].xdp]);
		assert_int_equal(t->connections, 1);
		assert_int_equal(t->refused, 0);
		assert_int_equal(denied(t, WEIR_DENY_CONNECTIONS, true), 1);
		assert_int_equal(denied(t, WEIR_DENY_CONNECTIONS, false), 0);
	}
	is_counted(WEIR_ADMIT_SHADOW, WAYS);
	is_counted(WEIR_DENY_CONNECTIONS, 0);
}

static void with_enforcement_off_everything_passes(void **state)
{
	lab.config->enforce = 0;
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		struct weir_tenant *t = tenant_at(&ways[i], &c);

		t->flags |= WEIR_TENANT_LIMIT_CONNS;
		assert_int_equal(send_syn(&c, ways[i].xdp).code, passes[ways[i].xdp]);
	}
}

static void the_longest_prefix_wins(void **state)
{
	uint32_t wide, narrow;
	struct weir_tenant *w = new_tenant(&wide), *n = new_tenant(&narrow);
	struct conn c = new_conn("172.20.7.200", "192.0.2.1");

	add_source("172.20.0.0", 16, wide);
	add_source("172.20.7.128", 25, narrow);
	assert_int_equal(send_syn(&c, false).code, OUT_PASS);
	assert_int_equal(n->connections, 1);
	c = new_conn("172.20.7.100", "192.0.2.1");
	assert_int_equal(send_syn(&c, false).code, OUT_PASS);
	assert_int_equal(w->connections, 1);
}

static void any_prefix_length_matches_its_own_hosts_only(void **state)
{
	static const uint32_t lens[] = { 0, 1, 31, 32, 33, 63, 64, 65, 95, 127, 128 };
	uint32_t fallback;
	struct weir_tenant *other = new_tenant(&fallback);

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint32_t index;
		struct weir_tenant *t;
		uint8_t host[16], net[16] = {};
		char text[46];
		struct conn c;

		lab_reset(NULL);
		lab.config->default_tenant = fallback;
		t = new_tenant(&index);
		memset(host, 0xa5, 16);
		host[0] = 0x2a;
		for (uint32_t b = 0; b < lens[i]; b++)
			net[b / 8] |= host[b / 8] & (0x80 >> b % 8);
		inet_ntop(AF_INET6, net, text, sizeof(text));
		add_source(text, lens[i], index);
		inet_ntop(AF_INET6, host, text, sizeof(text));
		c = new_conn(text, "2001:db8::1");
		assert_int_equal(send_syn(&c, false).code, OUT_PASS);
		assert_int_equal(t->connections, 1);
		if (!lens[i])
			continue;
		host[(lens[i] - 1) / 8] ^= 0x80 >> (lens[i] - 1) % 8;
		inet_ntop(AF_INET6, host, text, sizeof(text));
		c = new_conn(text, "2001:db8::1");
		int before = other->connections;
		assert_int_equal(send_syn(&c, false).code, OUT_PASS);
		assert_int_equal(t->connections, 1);
		assert_int_equal(other->connections, before + 1);

		struct weir_source gone = { .prefix_len = lens[i] };

		memcpy(gone.addr, net, 16);
		bpf_map_delete_elem(bpf_map__fd(lab.skel->maps.sources), &gone);
	}
}

static void nobody_is_let_in_until_a_request_says_who(void **state)
{
	struct conn c = new_conn("198.51.100.7", "192.0.2.1");

	assert_int_equal(send_syn(&c, false).code, OUT_PASS);
	assert_int_equal(lab.tenants[0].connections, 1);
}

static void a_syn_with_data_is_dropped(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		uint8_t frame[FRAME_MAX];
		size_t n;

		tenant_at(&ways[i], &c);
		n = conn_frame(&c, true, TCP_SYN, c.next, 0, "GET /", 5, frame);
		assert_int_equal(
			run(ways[i].xdp ? lab.skel->progs.weir_xdp : lab.skel->progs.weir_ingress,
			    frame, n)
				.code,
			drops[ways[i].xdp]);
	}
	is_counted(WEIR_DROP_TFO_DATA, WAYS);
}

static void another_port_is_left_alone(void **state)
{
	for (int i = 0; i < WAYS; i++) {
		struct conn c;
		struct weir_tenant *t = tenant_at(&ways[i], &c);

		t->flags |= WEIR_TENANT_SUSPENDED;
		c.server_port = FREE_PORT;
		assert_int_equal(send_syn(&c, ways[i].xdp).code, passes[ways[i].xdp]);
	}
	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
		is_counted(r, 0);
}

/* Short frames, later fragments, other protocols: never a verdict. Which forms of TCP
 * there are is test_network.c's. */
static void what_is_no_plain_tcp_passes(void **state)
{
	struct conn c = new_conn("198.51.100.8", "192.0.2.1");
	struct conn c6 = new_conn("2001:db8:9::8", "2001:db8::1");
	uint8_t frame[FRAME_MAX];
	size_t n = conn_frame(&c, true, TCP_SYN, c.next, 0, NULL, 0, frame);

	/* A test run refuses frames without a whole IPv4 header itself. The TCP header
	 * may be cut, or the IP length be longer than the frame. */
	for (size_t cut = 34; cut < n; cut++) {
		assert_int_equal(run(lab.skel->progs.weir_ingress, frame, cut).code, OUT_PASS);
		assert_int_equal(run(lab.skel->progs.weir_xdp, frame, cut).code, X_PASS);
	}
	is_counted(WEIR_FLOW_NEW, 0);
	frame[20] = 0x20; /* a later fragment */
	frame[21] = 0x10;
	assert_int_equal(run(lab.skel->progs.weir_ingress, frame, n).code, OUT_PASS);
	is_counted(WEIR_PASS_FRAGMENT, 1);
	frame[20] = 0x40;
	frame[21] = 0;
	frame[23] = 17;
	assert_int_equal(run(lab.skel->progs.weir_ingress, frame, n).code, OUT_PASS);
	n = conn_frame(&c6, true, TCP_SYN, c6.next, 0, NULL, 0, frame);
	frame[20] = 50; /* ESP */
	assert_int_equal(run(lab.skel->progs.weir_ingress, frame, n).code, OUT_PASS);
	is_counted(WEIR_FLOW_NEW, 0);
}

static void a_padded_syn_is_a_syn(void **state)
{
	struct conn c = new_conn("198.51.100.9", "192.0.2.1");
	uint8_t frame[FRAME_MAX] = {};
	size_t n;

	c.has_ts = false;
	n = conn_frame(&c, true, TCP_SYN, c.next, 0, NULL, 0, frame);
	memset(frame + n, 0x55, 60 - n); /* Ethernet's shortest frame */
	assert_int_equal(run(lab.skel->progs.weir_xdp, frame, 60).code, X_PASS);
	is_counted(WEIR_ADMIT_CONNECTION, 1);
}

/* A half-open connection is given back by the sweep, and by nobody before. */
static void a_handshake_that_never_completes_is_swept(void **state)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);
	struct conn c = new_conn("198.51.100.10", "192.0.2.1");
	uint8_t frame[64] = {};

	lab.config->default_tenant = index;
	assert_int_equal(send_syn(&c, false).code, OUT_PASS);
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(t->connections, 1);
	lab.config->half_open_ns = 0;
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(t->connections, 0);
	assert_true(counter(WEIR_HALF_OPEN_EXPIRED) > lab.before[WEIR_HALF_OPEN_EXPIRED]);
}

/* No room to follow a connection: the tier says whether it comes in untracked, and
 * no gauge keeps it. */
static void with_the_map_full_the_tier_decides(void **state)
{
	int fd = bpf_map__fd(lab.skel->maps.free_slots);
	static uint32_t slots[FLOWS];
	size_t n = 0;

	while (n < FLOWS && !bpf_map_lookup_and_delete_elem(fd, NULL, &slots[n]))
		n++;
	for (int i = 0; i < WAYS; i++)
		for (int closed = 0; closed < 2; closed++) {
			struct conn c;
			struct weir_tenant *t = tenant_at(&ways[i], &c), before;
			struct verdict v;

			t->flags |= WEIR_TENANT_LIMIT_CONN_RATE;
			t->connect_interval_ns = SECOND;
			t->connect_burst = 100;
			t->connect_tat_ns = now_ns() + 10 * SECOND;
			t->flags |= closed ? WEIR_TENANT_DOWN_CLOSED : 0;
			before = *t;
			v = send_syn(&c, ways[i].xdp);
			if (closed)
				is_reset(&ways[i], &c, &v);
			else
				assert_int_equal(v.code, passes[ways[i].xdp]);
			uses_up_nothing(&before, t);
		}
	is_counted(WEIR_FLOW_NEW, 0);
	is_counted(WEIR_DENY_MAP_FULL, WAYS);
	/* What XDP passes comes to TC, where it is counted. */
	is_counted(WEIR_PASS_UNTRACKED, WAYS / 2);
	while (n)
		assert_int_equal(bpf_map_update_elem(fd, NULL, &slots[--n], BPF_ANY), 0);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(a_syn_within_limits_passes_and_is_counted),
		CLAIM(a_syn_sent_again_is_no_new_connection),
		CLAIM(one_connection_too_many_is_reset),
		CLAIM(the_connect_rate_holds_and_a_refusal_takes_no_token),
		CLAIM(on_limit_drop_drops),
		CLAIM(a_suspended_tenant_is_reset_at_connect),
		CLAIM(shadow_counts_what_it_would_refuse_and_passes_it),
		CLAIM(with_enforcement_off_everything_passes),
		CLAIM(the_longest_prefix_wins),
		CLAIM(any_prefix_length_matches_its_own_hosts_only),
		CLAIM(nobody_is_let_in_until_a_request_says_who),
		CLAIM(a_syn_with_data_is_dropped),
		CLAIM(another_port_is_left_alone),
		CLAIM(what_is_no_plain_tcp_passes),
		CLAIM(a_padded_syn_is_a_syn),
		CLAIM(with_the_map_full_the_tier_decides),
		CLAIM(a_handshake_that_never_completes_is_swept),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
