/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel programs on a bench, driven one packet at a time through BPF_PROG_TEST_RUN: as
 * lab_setup.h sets it up, connections and their packets here, what came of them in
 * lab_claims.h.
 *
 * What a program redirects is in data_out. What it clones into a device (the RST
 * for the server) is read from a packet socket on the namespace's loopback.
 */
#ifndef TEST_LAB_H
#define TEST_LAB_H

#include "tests/bpf/lab_setup.h"

/* What came of a packet. */
struct verdict {
	int code;
	uint8_t frame[FRAME_MAX];
	size_t frame_len;
};

/* One end of a connection as its client sees it. */
struct conn {
	char client[46];
	char server[46];
	uint16_t client_port, server_port;
	uint32_t next; /* client's next sequence number */
	uint32_t sent; /* server's next sequence number, as seen on the wire */
	bool has_ts;
};

static UNUSED struct conn new_conn(const char *client, const char *server)
{
	struct conn c = { .client_port = lab.next_port++, .server_port = PORT };

	snprintf(c.client, sizeof(c.client), "%s", client);
	snprintf(c.server, sizeof(c.server), "%s", server);
	c.next = 0xfffffe00 + c.client_port; /* wraps soon */
	c.sent = 0x7ffffff0 + c.client_port;
	c.has_ts = true;
	return c;
}

static UNUSED size_t conn_frame(const struct conn *c, bool from_client, uint8_t flags, uint32_t seq,
				uint32_t ack, const void *payload, size_t len, uint8_t *frame)
{
	struct segment s = {
		.from_mac = { 2, 0, 0, 0, 0, 1 },
		.to_mac = { 2, 0, 0, 0, 0, 2 },
		.sport = from_client ? c->client_port : c->server_port,
		.dport = from_client ? c->server_port : c->client_port,
		.seq = seq,
		.ack = ack,
		.flags = flags,
		.has_ts = c->has_ts,
		.tsval = from_client ? 1000 : 2000,
		.tsecr = from_client ? 2000 : 1000,
		.payload = payload,
		.len = len,
	};

	address(from_client ? c->client : c->server, s.src, &s.v6);
	address(from_client ? c->server : c->client, s.dst, &s.v6);
	return build_frame(&s, frame);
}

static UNUSED struct verdict run(struct bpf_program *prog, const uint8_t *frame, size_t len)
{
	struct verdict v = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len,
		    .data_out = v.frame, .data_size_out = sizeof(v.frame), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts), 0);
	v.code = (int32_t)opts.retval;
	v.frame_len = opts.data_size_out;
	return v;
}

static UNUSED struct weir_flow_key flow_key(const struct conn *c)
{
	struct weir_flow_key k = { .client_port_be = htons(c->client_port),
				   .server_port_be = htons(c->server_port) };
	bool v6;

	address(c->client, k.client, &v6);
	address(c->server, k.server, &v6);
	return k;
}

/* What the programs know of it; false: nothing. */
static UNUSED bool flow_of(const struct conn *c, struct weir_flow_view *out)
{
	struct bpf_map *map = lab.skel->maps.flows;
	struct weir_flow_key k = flow_key(c);
	char value[256] __attribute__((aligned(8)));

	assert_true(bpf_map__value_size(map) <= sizeof(value));
	if (bpf_map_lookup_elem(bpf_map__fd(map), &k, value))
		return false;
	memcpy(out, value, sizeof(*out));
	return true;
}

/* The agent found that it has no socket. */
static UNUSED void reap(const struct conn *c, uint64_t opened_ns)
{
	struct weir_reap r = { .key = flow_key(c), .opened_ns = opened_ns };
	uint8_t frame[WEIR_REAP_OFFSET + sizeof(r)] = {};

	memcpy(frame + WEIR_REAP_OFFSET, &r, sizeof(r));
	run(lab.skel->progs.weir_reap, frame, sizeof(frame));
}

static UNUSED struct verdict from_client(const struct conn *c, uint8_t flags, uint32_t seq,
					 uint32_t ack, const void *payload, size_t len)
{
	uint8_t frame[FRAME_MAX];
	size_t n = conn_frame(c, true, flags, seq, ack, payload, len, frame);

	return run(lab.skel->progs.weir_ingress, frame, n);
}

static UNUSED struct verdict from_server(const struct conn *c, uint8_t flags, uint32_t seq,
					 uint32_t ack, const void *payload, size_t len)
{
	uint8_t frame[FRAME_MAX];
	size_t n = conn_frame(c, false, flags, seq, ack, payload, len, frame);

	return run(lab.skel->progs.weir_egress, frame, n);
}

static UNUSED struct verdict send_syn(const struct conn *c, bool xdp)
{
	uint8_t frame[FRAME_MAX];
	size_t n = conn_frame(c, true, TCP_SYN, c->next, 0, NULL, 0, frame);

	return run(xdp ? lab.skel->progs.weir_xdp : lab.skel->progs.weir_ingress, frame, n);
}

/* The whole handshake; it must pass. */
static UNUSED struct conn open_conn(const char *client, const char *server)
{
	struct conn c = new_conn(client, server);

	assert_int_equal(send_syn(&c, false).code, OUT_PASS);
	c.next++;
	assert_int_equal(from_server(&c, TCP_SYN | TCP_ACK, c.sent, c.next, NULL, 0).code,
			 OUT_PASS);
	c.sent++;
	assert_int_equal(from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0).code, OUT_PASS);
	return c;
}

/* Payload from the client, in order. */
static UNUSED struct verdict send_bytes(struct conn *c, const void *payload, size_t len)
{
	struct verdict v = from_client(c, TCP_PSH | TCP_ACK, c->next, c->sent, payload, len);

	c->next += len;
	return v;
}

static UNUSED struct verdict send_text(struct conn *c, const char *text)
{
	return send_bytes(c, text, strlen(text));
}

/* Payload from the server, in order. */
static UNUSED struct verdict answer_bytes(struct conn *c, const void *payload, size_t len)
{
	struct verdict v = from_server(c, TCP_PSH | TCP_ACK, c->sent, c->next, payload, len);

	c->sent += len;
	return v;
}

static UNUSED struct verdict answer_text(struct conn *c, const char *text)
{
	return answer_bytes(c, text, strlen(text));
}

/* A chat request as SDKs send it, head and body in one. */
static UNUSED const char *chat(const char *key)
{
	static char text[1024];
	static const char body[] = "{\"model\":\"m\",\"messages\":[]}";

	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: llm\r\nContent-Type: "
		 "application/json\r\n%s%s%sContent-Length: %zu\r\n\r\n%s",
		 key ? "Authorization: Bearer " : "", key ? key : "", key ? "\r\n" : "",
		 sizeof(body) - 1, body);
	return text;
}

/*
 * The next frame on the namespace's loopback; 0: there is none. What a program clones into
 * a device goes to this CPU's backlog, which is mostly worked off before the test run
 * returns; but 6.1 leaves it to ksoftirqd while that one runs. A marker sent behind it
 * arrives after it.
 */
static UNUSED ssize_t next_on_the_wire(uint8_t frame[FRAME_MAX])
{
	static uint32_t number;
	uint8_t marker[60] = {};
	struct pollfd wire = { .fd = lab.wire, .events = POLLIN };
	bool sent = false;

	put16(marker + 12, MARKER_TYPE);
	put32(marker + 14, ++number);
	for (;;) {
		ssize_t n = recv(lab.wire, frame, FRAME_MAX, 0);

		if (n <= 0 && !sent) {
			if (send(lab.wire, marker, sizeof(marker), 0) != sizeof(marker))
				die("a marker on the wire");
			sent = true;
		} else if (n <= 0) {
			if (poll(&wire, 1, 10000) != 1)
				fail_msg("a marker never came out of loopback");
		} else if (n < 18 || get16(frame + 12) != MARKER_TYPE) {
			return n;
		} else if (get32(frame + 14) == number) {
			return 0; /* one of before may still be there */
		}
	}
}

/* The next packet that a program put there; false: none. Loopback shows a packet that
 * arrives once. */
static UNUSED bool on_the_wire(struct segment *s)
{
	static uint8_t frame[FRAME_MAX];
	ssize_t n;

	while ((n = next_on_the_wire(frame)) > 0) {
		const char *wrong = read_frame(frame, n, s);

		if (n > 14 && get16(frame + 12) != 0x0800 && get16(frame + 12) != 0x86dd)
			continue;
		if (wrong)
			fail_msg("packet on the wire: %s", wrong);
		return true;
	}
	return false;
}

#include "tests/bpf/lab_claims.h"

#endif
