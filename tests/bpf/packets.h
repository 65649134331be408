/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet frames for packet tests: built from a description, and read back into
 * one. It shares no code with bpf/: checksums are the sum of RFC 1071, byte pair
 * by byte pair, over the frame as it stands.
 */
#ifndef TEST_PACKETS_H
#define TEST_PACKETS_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16 };
enum { FRAME_MAX = 4096 };

#define UNUSED __attribute__((unused))

struct segment {
	uint8_t from_mac[6], to_mac[6];
	uint8_t src[16], dst[16]; /* v4-mapped for v4 */
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	bool v6;
	bool has_ts;
	uint32_t tsval, tsecr;
	const uint8_t *payload;
	size_t len;
};

static UNUSED void put16(uint8_t *p, uint32_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static UNUSED void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static UNUSED uint32_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static UNUSED uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

/* RFC 1071, without the final complement. */
static UNUSED uint32_t sum_bytes(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The TCP checksum's sum over pseudo header and segment: ffff when it is right. */
static UNUSED uint32_t tcp_sum(bool v6, const uint8_t *src, const uint8_t *dst, const uint8_t *tcp,
			       size_t n)
{
	uint8_t tail[8] = { n >> 24, n >> 16, n >> 8, n, 0, 0, 0, 6 };
	size_t from = v6 ? 0 : 12;
	uint32_t sum = sum_bytes(0, src + from, 16 - from);

	sum = sum_bytes(sum, dst + from, 16 - from);
	sum = sum_bytes(sum, tail, 8);
	return sum_bytes(sum, tcp, n);
}

/* Textual address to 16 bytes, v4 as v4-mapped. */
static UNUSED void address(const char *text, uint8_t out[16], bool *v6)
{
	*v6 = strchr(text, ':');
	if (*v6) {
		inet_pton(AF_INET6, text, out);
		return;
	}
	memset(out, 0, 10);
	memset(out + 10, 0xff, 2);
	inet_pton(AF_INET, text, out + 12);
}

/* Returns the frame's length. */
static UNUSED size_t build_frame(const struct segment *s, uint8_t *f)
{
	size_t ip_len = s->v6 ? 40 : 20, tcp_len = s->has_ts ? 32 : 20;
	uint8_t *ip = f + 14, *tcp = ip + ip_len;

	memcpy(f, s->to_mac, 6);
	memcpy(f + 6, s->from_mac, 6);
	put16(f + 12, s->v6 ? 0x86dd : 0x0800);
	memset(ip, 0, ip_len + tcp_len);
	if (s->v6) {
		ip[0] = 0x60;
		put16(ip + 4, tcp_len + s->len);
		ip[6] = 6;
		ip[7] = 64;
		memcpy(ip + 8, s->src, 16);
		memcpy(ip + 24, s->dst, 16);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + tcp_len + s->len);
		put16(ip + 4, 0x1234);
		ip[6] = 0x40;
		ip[8] = 64;
		ip[9] = 6;
		memcpy(ip + 12, s->src + 12, 4);
		memcpy(ip + 16, s->dst + 12, 4);
		put16(ip + 10, 0xffff ^ sum_bytes(0, ip, 20));
	}
	put16(tcp, s->sport);
	put16(tcp + 2, s->dport);
	put32(tcp + 4, s->seq);
	put32(tcp + 8, s->ack);
	tcp[12] = tcp_len << 2;
	tcp[13] = s->flags;
	put16(tcp + 14, 64240);
	if (s->has_ts) {
		put32(tcp + 20, 0x0101080a);
		put32(tcp + 24, s->tsval);
		put32(tcp + 28, s->tsecr);
	}
	if (s->len)
		memcpy(tcp + tcp_len, s->payload, s->len);
	put16(tcp + 16, 0xffff ^ tcp_sum(s->v6, s->src, s->dst, tcp, tcp_len + s->len));
	return 14 + ip_len + tcp_len + s->len;
}

/* Read a whole frame back; NULL, or what is wrong with it. The payload points
 * into the frame. */
static UNUSED const char *read_frame(const uint8_t *f, size_t n, struct segment *s)
{
	const uint8_t *ip = f + 14, *tcp;
	size_t ip_len, total, tcp_len;

	memset(s, 0, sizeof(*s));
	if (n < 54)
		return "shorter than any TCP frame";
	memcpy(s->to_mac, f, 6);
	memcpy(s->from_mac, f + 6, 6);
	s->v6 = get16(f + 12) == 0x86dd;
	if (s->v6) {
		ip_len = 40;
		total = 40 + get16(ip + 4);
		if (ip[0] >> 4 != 6 || ip[6] != 6 || !ip[7])
			return "IPv6 header";
		memcpy(s->src, ip + 8, 16);
		memcpy(s->dst, ip + 24, 16);
	} else {
		if (get16(f + 12) != 0x0800 || ip[0] != 0x45 || ip[9] != 6 || !ip[8])
			return "IPv4 header";
		ip_len = 20;
		total = get16(ip + 2);
		if (sum_bytes(0, ip, 20) != 0xffff)
			return "IPv4 checksum";
		memset(s->src + 10, 0xff, 2);
		memset(s->dst + 10, 0xff, 2);
		memcpy(s->src + 12, ip + 12, 4);
		memcpy(s->dst + 12, ip + 16, 4);
	}
	if (total + 14 != n)
		return "IP length is not the frame's";
	tcp = ip + ip_len;
	tcp_len = (tcp[12] >> 4) * 4;
	if (tcp_len < 20 || ip_len + tcp_len > total)
		return "TCP data offset";
	if (tcp_sum(s->v6, s->src, s->dst, tcp, total - ip_len) != 0xffff)
		return "TCP checksum";
	s->sport = get16(tcp);
	s->dport = get16(tcp + 2);
	s->seq = get32(tcp + 4);
	s->ack = get32(tcp + 8);
	s->flags = tcp[13];
	if (tcp_len == 32 && get32(tcp + 20) == 0x0101080a) {
		s->has_ts = true;
		s->tsval = get32(tcp + 24);
		s->tsecr = get32(tcp + 28);
	} else if (tcp_len != 20) {
		return "TCP options";
	}
	s->payload = tcp + tcp_len;
	s->len = total - ip_len - tcp_len;
	return NULL;
}

#endif
