// SPDX-License-Identifier: Apache-2.0
/*
 * Segments that answer a packet, read back. Three claims: by the RFCs they say what they
 * were to say, with right checksums (RFC 1071, added up byte pair by byte pair), whatever
 * stood in the memory they are built in; one whose sum is left to the device is right once
 * that has added it up; and the packet cursor finds in them what they were made of.
 *
 * Input: how the packet is laid out, its fields, then the payload.
 */
#include <stdbool.h>

#include "bpf/tcp_reply.h"
#include "fuzz.h"

#define PAYLOAD_MAX 1200 /* a whole reply, and more */
#define FRAME_MAX   (WEIR_ETH_LEN + 2 * WEIR_VLAN_LEN + WEIR_HEADERS_MAX + PAYLOAD_MAX)

static unsigned be16(const uint8_t *p)
{
	return p[0] * 256u + p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return be16(p) * 65536u + be16(p + 2);
}

/* RFC 1071: pairs, the last one filled up with a zero, carries added in. */
static unsigned sum(unsigned before, const uint8_t *p, size_t n)
{
	uint64_t v = before;

	for (size_t i = 0; i < n; i++)
		v += i % 2 ? p[i] : p[i] * 256u;
	while (v > 0xffff)
		v = v / 65536 + v % 65536;
	return v;
}

/* RFC 9293 3.1, RFC 8200 8.1. */
static unsigned pseudo_sum(const uint8_t *ip, size_t tcp_bytes)
{
	const uint8_t rest[] = { 0, 0, tcp_bytes >> 8, tcp_bytes, 0, 0, 0, 6 };
	bool v6 = ip[0] / 16 == 6;

	return sum(sum(0, rest, sizeof(rest)), ip + (v6 ? 8 : 12), v6 ? 32 : 8);
}

/* The IP header: its length, and that nothing in it means more than it should. */
static void check_ip(const struct weir_segment *s, const uint8_t *ip, size_t n)
{
	if (s->v6) {
		CHECK(be32(ip) == 0x60000000);
		CHECK(be16(ip + 4) == n - 40);
		CHECK(ip[7] == 64);
		CHECK(!memcmp(ip + 8, s->src, 16) && !memcmp(ip + 24, s->dst, 16));
		CHECK(ip[6] == (s->ip_len > 40 ? 60 : 6));
		if (s->ip_len == 40)
			return;
		/* RFC 8200 4.2: PadN alone, which every node skips */
		CHECK(ip[40] == 6 && ip[41] * 8 + 8 == s->ip_len - 40);
		CHECK(ip[42] == 1 && ip[43] + 2 == s->ip_len - 42);
		for (size_t i = 44; i < s->ip_len; i++)
			CHECK(!ip[i]);
		return;
	}
	CHECK(ip[0] == 0x40 + s->ip_len / 4 && ip[1] == 0);
	CHECK(be16(ip + 2) == n);
	CHECK(be32(ip + 4) == 0x4000); /* whole, not to be cut */
	CHECK(ip[8] == 64 && ip[9] == 6);
	CHECK(!memcmp(ip + 12, s->src + 12, 4) && !memcmp(ip + 16, s->dst + 12, 4));
	for (size_t i = 20; i < s->ip_len; i++)
		CHECK(ip[i] == 1); /* NOP */
	CHECK(sum(0, ip, s->ip_len) == 0xffff);
}

static void check_tcp(const struct weir_segment *s, const uint8_t *tcp)
{
	CHECK(!memcmp(tcp, &s->sport_be, 2) && !memcmp(tcp + 2, &s->dport_be, 2));
	CHECK(be32(tcp + 4) == s->seq && be32(tcp + 8) == s->ack);
	CHECK(tcp[12] == (s->has_ts ? 0x80 : 0x50) && tcp[13] == s->flags);
	CHECK(be16(tcp + 14) == (s->flags & 4 ? 0 : 65535));
	CHECK(be16(tcp + 18) == 0);
	if (s->has_ts)
		CHECK(be32(tcp + 20) == 0x0101080a && !memcmp(tcp + 24, &s->tsval_be, 4) &&
		      !memcmp(tcp + 28, &s->tsecr_be, 4));
}

/* A frame that the cursor reads: s is then laid out like it. */
static void check_found(const struct weir_segment *s, const uint8_t *f, size_t n)
{
	uint32_t l2_len = s->l3_off ? WEIR_ETH_LEN : 0;
	uint32_t found = weir_find_tcp(f, f + n, weir_find_ip(f, f + n, l2_len));
	struct weir_segment like = {};
	struct weir_packet p;

	CHECK(weir_found_parse(found) == WEIR_PARSE_TCP);
	CHECK(weir_read_tcp(f, f + n, found, n, &p));
	weir_segment_like(&like, &p);
	CHECK(like.v6 == s->v6 && like.l3_off == s->l3_off && like.ip_len == s->ip_len);
	CHECK(!memcmp(p.src, s->src, 16) && !memcmp(p.dst, s->dst, 16));
	CHECK(p.sport_be == s->sport_be && p.dport_be == s->dport_be);
	CHECK(p.seq == s->seq && p.ack == s->ack && p.flags == s->flags);
	CHECK(p.pay_len == s->payload_len && p.has_ts == s->has_ts);
}

static void check(const struct weir_segment *s, const uint8_t *payload, uint8_t leavings)
{
	static const uint16_t tags[] = { 0x8100, 0x88a8 };
	size_t tcp_len = s->has_ts ? 32 : 20, n = s->ip_len + tcp_len + s->payload_len;
	struct weir_headers *h = malloc(sizeof(*h));
	uint8_t f[FRAME_MAX] = { 0 }, *ip = f + s->l3_off, *tcp = ip + s->ip_len;

	CHECK(h);
	memset(h, leavings, sizeof(*h));
	CHECK(weir_build_headers(s, h) == s->ip_len + tcp_len);
	for (size_t at = 12; at < s->l3_off; at += 4) {
		unsigned type = at + 2 < s->l3_off ? tags[leavings & 1] : s->v6 ? 0x86dd : 0x0800;

		f[at] = type / 256;
		f[at + 1] = type % 256;
	}
	memcpy(ip, h, s->ip_len + tcp_len);
	memcpy(tcp + tcp_len, payload, s->payload_len);
	free(h);
	check_ip(s, ip, n);
	check_tcp(s, tcp);
	if (s->partial) {
		unsigned device;

		/* not complemented; 0 and ffff are both zero */
		CHECK(be16(tcp + 16) % 0xffff == pseudo_sum(ip, n - s->ip_len) % 0xffff);
		device = 0xffff - sum(0, tcp, n - s->ip_len); /* the field is part of it */
		tcp[16] = device / 256;
		tcp[17] = device % 256;
	}
	CHECK(sum(pseudo_sum(ip, n - s->ip_len), tcp, n - s->ip_len) == 0xffff);
	check_found(s, f, s->l3_off + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t l3_offs[] = { 0, 14, 18, 22 };
	struct input in = { data, data + size };
	uint8_t how = take(&in, 1), leavings = take(&in, 1), payload[PAYLOAD_MAX + 4] = { 0 };
	struct weir_packet p = { .v6 = how & 1, .l3_off = l3_offs[how >> 1 & 3] };
	struct weir_segment s;
	struct weir_headers h;
	uint32_t ip_len;
	bool fits;

	memset(&s, leavings, sizeof(s));
	ip_len = how & 8 ? take(&in, 2)
			 : (p.v6 ? 40 + take(&in, 1) % 9 * 8 : 20 + take(&in, 1) % 11 * 4);
	p.tcp_off = p.l3_off + ip_len;
	weir_segment_like(&s, &p);
	s.has_ts = how >> 4 & 1;
	s.partial = how >> 5 & 1;
	s.flags = take(&in, 1);
	s.sport_be = take(&in, 2);
	s.dport_be = take(&in, 2);
	s.seq = take(&in, 4);
	s.ack = take(&in, 4);
	s.tsval_be = take(&in, 4);
	s.tsecr_be = take(&in, 4);
	for (int i = 0; i < 16; i++) {
		s.src[i] = p.v6 || i > 11 ? take(&in, 1) : i > 9 ? 0xff : 0;
		s.dst[i] = p.v6 || i > 11 ? take(&in, 1) : i > 9 ? 0xff : 0;
	}
	s.payload_len = input_left(&in) < PAYLOAD_MAX ? input_left(&in) : PAYLOAD_MAX;
	memcpy(payload, in.p, s.payload_len);
	s.payload_sum = 0; /* as bpf_csum_diff: whole words, zeros behind the last byte */
	for (size_t i = 0; i < s.payload_len; i += 2)
		s.payload_sum += payload[i] + payload[i + 1] * 256u;
	if (how & 64) /* folded or not */
		s.payload_sum = s.payload_sum % 65536 + s.payload_sum / 65536;
	fits = p.v6 ? ip_len >= 40 && ip_len <= 104 && !(ip_len % 8)
		    : ip_len >= 20 && ip_len <= 60 && !(ip_len % 4);
	CHECK(weir_segment_fits(&s) == fits);
	if (fits)
		check(&s, payload, leavings);
	else
		CHECK(!weir_build_headers(&s, &h));
	return 0;
}
