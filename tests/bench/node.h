/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node with up to a million tenants: each has a source, a key, every limit there is, and
 * connections that are open. Filled through the programs themselves.
 */
#ifndef BENCH_NODE_H
#define BENCH_NODE_H

#include "bench.h"

/*
 * Connections by what is done with them and on which CPU: one of each kind for every tenant, up
 * to as many as are worth their memory.
 */
enum kind { ASKS, STREAMS, OTHER_ASKS, OTHER_STREAMS, KINDS };
enum { PLENTY = 1000000, TEAMS = 4096, ORGANISATIONS = 64, SCOPES = 40000 };
enum {
	FIRST_TEAM = PLENTY + 1,
	FIRST_ORGANISATION = FIRST_TEAM + TEAMS,
	FIRST_SCOPE = FIRST_ORGANISATION + ORGANISATIONS
};
_Static_assert(FIRST_SCOPE + SCOPES <= LAB_TENANTS, "room for levels");

static const uint32_t most_of[KINDS] = { PLENTY, 100000, 10000, 10000 };

static struct {
	uint32_t tenants; /* numbers 1 to this */
	struct {
		uint32_t next, sent; /* sequence numbers, as in struct conn */
	} at[KINDS][PLENTY + 1];
} node;

static uint16_t port_of(enum kind kind)
{
	return 30000 + kind;
}

static uint32_t how_many(enum kind kind)
{
	return node.tenants < most_of[kind] ? node.tenants : most_of[kind];
}

static struct conn conn_at(enum kind kind, uint32_t i)
{
	struct conn c = client_of(i, port_of(kind));

	c.next = node.at[kind][i].next;
	c.sent = node.at[kind][i].sent;
	return c;
}

static void conn_moved(enum kind kind, uint32_t i, const struct conn *c)
{
	node.at[kind][i].next = c->next;
	node.at[kind][i].sent = c->sent;
}

/* 51 bytes, of which those behind the prefix are the number. */
enum { KEY_LEN = 51, KEY_DIGITS_AT = 8, KEY_DIGITS = 8 };

static void key_of(uint32_t i, char key[KEY_LEN + 1])
{
	int n = snprintf(key, KEY_LEN + 1, "sk-weir-%08x", i);

	memset(key + n, 'k', KEY_LEN - n);
	key[KEY_LEN] = 0;
}

static void make_tenant(uint32_t i)
{
	lab.tenants[i] = (struct weir_tenant){
		.flags = WEIR_TENANT_LIVE | WEIR_TENANT_LIMIT_CONNS | WEIR_TENANT_LIMIT_CONN_RATE |
			 WEIR_TENANT_LIMIT_INFLIGHT | WEIR_TENANT_LIMIT_REQUESTS |
			 WEIR_TENANT_LIMIT_TOKENS | WEIR_TENANT_CREDIT,
		.wallet = i,
		.max_connections = 1000000,
		.max_half_open = 1024,
		.connect_interval_ns = 1,
		.connect_burst = SECOND,
		.max_inflight = 1000000,
		.request_interval_ns = 1,
		.request_burst = SECOND,
		.tokens_interval_ns = 1,
		.tokens_tau_ns = SECOND,
		.reserve_nano_per_request = 1,
		.ceiling_nano = INT64_MAX,
	};
}

static void open_one(enum kind kind, uint32_t i)
{
	struct conn c = client_of(i, port_of(kind));
	uint8_t frame[FRAME_MAX];
	char key[KEY_LEN + 1], head[512];
	int code;

	mean_ns(bpf_program__fd(lab.skel->progs.weir_xdp), frame, syn_of(i, port_of(kind), frame),
		1, &code);
	if (code != X_PASS)
		die("a SYN of a new tenant was refused");
	c.next++;
	from_server(&c, TCP_SYN | TCP_ACK, c.sent++, c.next, NULL, 0);
	from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0);
	if (kind == STREAMS || kind == OTHER_STREAMS) {
		key_of(i, key);
		make_head(head, 433, key);
		assert_int_equal(send_text(&c, head).code, OUT_PASS);
		answer_text(&c, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
	}
	conn_moved(kind, i, &c);
	if (i % 4096 == 0)
		drain();
}

/* More of them, up to n. */
static void node_grow(uint32_t n)
{
	uint32_t before[KINDS], first = node.tenants + 1;
	int sources = bpf_map__fd(lab.skel->maps.sources), scopes;

	scopes = bpf_map__fd(lab.skel->maps.scopes);
	for (int kind = 0; kind < KINDS; kind++)
		before[kind] = how_many(kind);
	for (uint32_t i = first; i <= n; i++) {
		struct weir_source s = { .prefix_len = 128 };
		struct weir_scope scope = { .tenant = i, .service = 1 };
		uint32_t index = FIRST_SCOPE + i % SCOPES;
		struct conn c = client_of(i, 0);
		char key[KEY_LEN + 1];
		bool v6;

		make_tenant(i);
		address(c.client, s.addr, &v6);
		key_of(i, key);
		add_key(key, i, 0);
		if (bpf_map_update_elem(sources, &s, &i, BPF_ANY) ||
		    bpf_map_update_elem(scopes, &scope, &index, BPF_ANY))
			die("a source or a scope");
	}
	node.tenants = n;
	for (int kind = 0; kind < KINDS; kind++)
		for (uint32_t i = before[kind] + 1; i <= how_many(kind); i++)
			open_one(kind, i);
	drain();
}

static void node_begin(void)
{
	for (uint32_t i = FIRST_TEAM; i < FIRST_SCOPE + SCOPES; i++)
		make_tenant(i);
	for (uint32_t i = 0; i < TEAMS; i++)
		lab.tenants[FIRST_TEAM + i].parent = FIRST_ORGANISATION + i % ORGANISATIONS;
}

/* Every tenant with a scope, a parent and that one's parent, or none of them. */
static void node_levels(bool on)
{
	for (uint32_t i = 1; i <= node.tenants; i++) {
		lab.tenants[i].parent = on ? FIRST_TEAM + i % TEAMS : 0;
		if (on)
			lab.tenants[i].flags |= WEIR_TENANT_SCOPED;
		else
			lab.tenants[i].flags &= ~WEIR_TENANT_SCOPED;
	}
}

static void node_connections(uint32_t most)
{
	for (uint32_t i = 1; i <= node.tenants; i++) {
		lab.tenants[i].max_connections = most;
		lab.tenants[i].flags |= WEIR_TENANT_DROP;
	}
}

#endif
