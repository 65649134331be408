/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of the client's stream share: heads to send, in as many segments as a test
 * likes; how both ends of a closed connection are told; that no reader is lost. Rules for
 * bodies are filled in as the agent does (agent/enforce_rules.c).
 */
#ifndef TEST_STREAMS_H
#define TEST_STREAMS_H

#include "tests/bpf/lab.h"

static const char nobody[] = "198.51.100.40", host[] = "192.0.2.1";

/* As forms.md says. */
enum { WEIR_HEAD_LIMIT = 16384, WEIR_BLANK_LIMIT = 64 };

/* -- readers */

/* Take all free readers out of the map. Returns how many there were. */
static UNUSED size_t take_readers(uint32_t out[READERS])
{
	int fd = bpf_map__fd(lab.skel->maps.free_readers);
	size_t n = 0;

	while (n < READERS && !bpf_map_lookup_and_delete_elem(fd, NULL, &out[n]))
		n++;
	return n;
}

static UNUSED void give_readers(const uint32_t *readers, size_t n)
{
	int fd = bpf_map__fd(lab.skel->maps.free_readers);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(bpf_map_update_elem(fd, NULL, &readers[i], BPF_ANY), 0);
}

/* How many are free; each must be there once. */
static UNUSED size_t free_readers(void)
{
	uint32_t all[READERS];
	size_t n = take_readers(all);

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(all[i], all[j]);
	give_readers(all, n);
	return n;
}

/* What an earlier head left behind is hostile. */
static UNUSED void spoil_readers(void)
{
	static const char trap[] = "\nAuthorization: Bearer trap\r\n\r\nContent-Length: 9\r\n";
	struct bpf_map *map = lab.skel->maps.readers;
	size_t size = bpf_map__value_size(map);
	static char *junk;

	if (!junk)
		junk = malloc(size);
	assert_non_null(junk);
	for (uint32_t i = 0; i < (uint32_t)lab.cpus + READERS; i++) {
		for (size_t j = 0; j < size; j++)
			junk[j] = trap[(i + j) % (sizeof(trap) - 1)];
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &i, junk, BPF_ANY), 0);
	}
}

static size_t readers_before;

/* Counters are told from here on. */
static UNUSED void stream_recount(void)
{
	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
		lab.before[r] = counter(r);
}

static UNUSED int stream_reset(void **state)
{
	lab_reset(state);
	spoil_readers();
	readers_before = free_readers();
	return 0;
}

/* After each test: every connection is forgotten, as a new one that never completes its
 * handshake. No reader, no slot and nothing in flight may be left behind. */
static UNUSED int stream_over(void **state)
{
	int flows = bpf_map__fd(lab.skel->maps.flows);
	struct weir_flow_key key, *at = NULL;
	struct conn all[FLOWS];
	uint8_t frame[64] = {};
	size_t n = 0;

	for (; !bpf_map_get_next_key(flows, at, &key) && n < FLOWS; at = &key) {
		struct conn *c = &all[n++];
		bool v4 = !memcmp(key.client, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);

		memset(c, 0, sizeof(*c));
		c->client_port = ntohs(key.client_port_be);
		c->server_port = ntohs(key.server_port_be);
		inet_ntop(v4 ? AF_INET : AF_INET6, key.client + (v4 ? 12 : 0), c->client,
			  sizeof(c->client));
		inet_ntop(v4 ? AF_INET : AF_INET6, key.server + (v4 ? 12 : 0), c->server,
			  sizeof(c->server));
	}
	for (size_t i = 0; i < n; i++) {
		from_client(&all[i], TCP_RST, 0, 0, NULL, 0); /* a refused or closed one goes */
		send_syn(&all[i], false);
		from_server(&all[i], TCP_SYN | TCP_ACK, 77, 1, NULL, 0);
	}
	lab.config->half_open_ns = 0;
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_not_equal(bpf_map_get_next_key(flows, NULL, &key), 0);
	if (free_readers() != readers_before)
		fail_msg("%zu readers were free before the test, %zu are after it", readers_before,
			 free_readers());
	for (uint32_t i = 0; i < lab.next_tenant; i++) {
		assert_int_equal(lab.tenants[i].inflight, 0);
		assert_int_equal(lab.tenants[i].connections, 0);
		assert_int_equal(lab.tenants[i].half_open, 0);
	}
	return 0;
}

#define STREAM_CLAIM(f) cmocka_unit_test_setup_teardown(f, stream_reset, stream_over)

/* -- requests and answers */

static UNUSED struct weir_tenant *tenant_with(const char *key)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	add_key(key, index, 0);
	return t;
}

/* The tenant of whoever sends no key. */
static UNUSED struct weir_tenant *default_tenant(void)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	lab.config->default_tenant = index;
	return t;
}

/* Peers of this prefix are trusted. */
static UNUSED void trust(const char *prefix, int len)
{
	struct weir_trusted *t = &lab.config->trusted[lab.config->n_trusted++];
	uint8_t addr[16], mask[16] = {};
	bool v6;

	address(prefix, addr, &v6);
	len += v6 ? 0 : 96;
	for (int i = 0; i < len; i++)
		mask[i / 8] |= 0x80 >> i % 8;
	memset(t, 0, sizeof(*t));
	for (int i = 0; i < 8; i++) {
		t->mask_hi = t->mask_hi << 8 | mask[i];
		t->mask_lo = t->mask_lo << 8 | mask[8 + i];
		t->hi = t->hi << 8 | (addr[i] & mask[i]);
		t->lo = t->lo << 8 | (addr[8 + i] & mask[8 + i]);
	}
}

/* A whole answer, and the client's acknowledgement. */
static UNUSED void answer_ok(struct conn *c)
{
	assert_int_equal(answer_text(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").code,
			 OUT_PASS);
	assert_int_equal(from_client(c, TCP_ACK, c->next, c->sent, NULL, 0).code, OUT_PASS);
}

/* The server acknowledges all the client sent. */
static UNUSED void server_acks(struct conn *c)
{
	assert_int_equal(from_server(c, TCP_ACK, c->sent, c->next, NULL, 0).code, OUT_PASS);
}

/* What was counted since the test began, for messages. */
static UNUSED const char *counted(void)
{
	static char text[1024];
	size_t n = 0;

	for (uint32_t r = 0; r < WEIR_REASON_MAX; r++)
		if (counter(r) != lab.before[r] && n < sizeof(text) - 64)
			n += sprintf(text + n, " %s %lu", weir_reason_name(r),
				     (unsigned long)(counter(r) - lab.before[r]));
	return text;
}

#define passes(v) comes_to(v, OUT_PASS, __FILE__, __LINE__)
#define drops(v)  comes_to(v, OUT_DROP, __FILE__, __LINE__)

static UNUSED void comes_to(struct verdict v, int code, const char *file, int line)
{
	if (v.code != code)
		fail_msg("%s:%d: verdict %d, not %d; counted:%s", file, line, v.code, code,
			 counted());
}

/* Send bytes anew from seq on: what was sent before, or what is ahead. */
static UNUSED struct verdict send_at(const struct conn *c, uint32_t seq, const void *bytes,
				     size_t len)
{
	return from_client(c, TCP_PSH | TCP_ACK, seq, c->sent, bytes, len);
}

static UNUSED struct verdict text_at(const struct conn *c, uint32_t seq, const char *text)
{
	return send_at(c, seq, text, strlen(text));
}

/* A RST that the server must accept: at reset_seq, from the client. */
static UNUSED void server_is_reset(const struct conn *c, uint32_t reset_seq)
{
	uint8_t client[16], server[16];
	struct segment rst;
	bool v6;

	assert_true(on_the_wire(&rst));
	address(c->client, client, &v6);
	address(c->server, server, &v6);
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.seq, reset_seq);
	assert_int_equal(rst.ack, c->sent);
	assert_int_equal(rst.sport, c->client_port);
	assert_int_equal(rst.dport, c->server_port);
	assert_memory_equal(rst.src, client, 16);
	assert_memory_equal(rst.dst, server, 16);
	assert_int_equal(rst.len, 0);
	assert_false(on_the_wire(&rst));
}

/* Both ends are closed on a segment from the client that ends at client_end. */
static UNUSED void closes(const struct conn *c, const struct verdict *v, uint32_t reset_seq,
			  uint32_t client_end)
{
	const char *wrong;
	struct segment rst;

	assert_int_equal(v->code, OUT_REDIRECT);
	wrong = read_frame(v->frame, v->frame_len, &rst);
	if (wrong)
		fail_msg("RST to the client: %s", wrong);
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.seq, c->sent);
	assert_int_equal(rst.ack, client_end);
	assert_int_equal(rst.sport, c->server_port);
	assert_int_equal(rst.dport, c->client_port);
	assert_int_equal(rst.len, 0);
	server_is_reset(c, reset_seq);
}

/* Both ends are closed on a segment from the server of len bytes, which goes on as the client's
 * RST; the server's is on the wire. */
static UNUSED void closes_from_server(const struct conn *c, const struct verdict *v, size_t len)
{
	struct segment rst;
	const char *wrong;

	passes(*v);
	wrong = read_frame(v->frame, v->frame_len, &rst);
	if (wrong)
		fail_msg("RST to the client: %s", wrong);
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.seq, c->sent);
	assert_int_equal(rst.ack, c->next);
	assert_int_equal(rst.sport, c->server_port);
	assert_int_equal(rst.dport, c->client_port);
	assert_memory_equal(rst.to_mac, "\2\0\0\0\0\2", 6);
	assert_int_equal(rst.len, 0);
	assert_true(on_the_wire(&rst));
	assert_int_equal(rst.flags, TCP_RST | TCP_ACK);
	assert_int_equal(rst.seq, c->next);
	assert_int_equal(rst.ack, c->sent + len);
	assert_int_equal(rst.sport, c->client_port);
	assert_int_equal(rst.dport, c->server_port);
	assert_int_equal(rst.len, 0);
	assert_false(on_the_wire(&rst));
}

/* The segment that begins at c->next is what closes both ends. */
static UNUSED void next_closes(struct conn *c, const char *text, uint32_t reason)
{
	uint32_t seq = c->next;
	uint64_t had = counter(reason);
	struct verdict v = send_text(c, text);

	closes(c, &v, seq, c->next);
	assert_int_equal(counter(reason), had + 1);
}

/* Bytes that were sent before, now others: both ends are closed, the server where it stands. */
static UNUSED void change_closes(const struct conn *c, uint32_t seq, const char *text,
				 uint32_t server_has)
{
	uint64_t had = counter(WEIR_DROP_CHANGED);
	struct verdict v = text_at(c, seq, text);

	closes(c, &v, server_has, seq + strlen(text));
	assert_int_equal(counter(WEIR_DROP_CHANGED), had + 1);
}

/* -- rules */

/* What the kernel writes over a value: the text, then blanks. */
static UNUSED void write_over(char out[WEIR_EDIT_MAX], const char *text)
{
	memset(out, ' ', WEIR_EDIT_MAX);
	memcpy(out, text, strlen(text));
}

static UNUSED struct weir_rules *new_rules(struct weir_tenant *t, struct weir_rules r)
{
	static struct weir_rules *map;
	static uint32_t next = 1;
	char text[WEIR_EDIT_MAX];

	if (!map)
		map = map_memory(lab.skel->maps.rules, WEIR_RULES_MAX * sizeof(*map));
	assert_true(next < WEIR_RULES_MAX);
	if (r.max_output_tokens) {
		snprintf(text, sizeof(text), "%u", r.max_output_tokens);
		write_over(r.tokens_text, text);
	}
	if (r.flags & WEIR_RULE_DEGRADE) {
		r.fallback_len = strlen(r.fallback_model);
		snprintf(text, sizeof(text), "%s\"", r.fallback_model);
		write_over(r.model_text, text);
	}
	map[next] = r;
	t->rules = next;
	return &map[next++];
}

#endif
