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
	/* How it is framed. All zeros: plain Ethernet, nothing between IP and TCP. */
	size_t tags;		 /* VLAN tags in the frame, at most 2 */
	bool no_l2;		 /* an IP packet, as devices without a header have it */
	const uint8_t *ip_extra; /* v4: options. v6: extension headers, ready made */
	size_t ip_extra_len;
	uint8_t ip_next;	    /* v6: what the first of them is */
	const uint8_t *tcp_options; /* in place of timestamps; a multiple of 4 */
	size_t tcp_options_len;
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

static UNUSED size_t ip_offset(const struct segment *s)
{
	return s->no_l2 ? 0 : 14 + 4 * s->tags;
}

static UNUSED size_t tcp_offset(const struct segment *s)
{
	return ip_offset(s) + (s->v6 ? 40 : 20) + s->ip_extra_len;
}

/* MACs, tags (the outer one 802.1ad's where there are two) and the type. */
static UNUSED void build_l2(const struct segment *s, uint8_t *f)
{
	static const uint16_t types[3][2] = { { 0, 0 }, { 0x8100, 0 }, { 0x88a8, 0x8100 } };

	memcpy(f, s->to_mac, 6);
	memcpy(f + 6, s->from_mac, 6);
	for (size_t i = 0; i < s->tags; i++) {
		put16(f + 12 + 4 * i, types[s->tags][i]);
		put16(f + 14 + 4 * i, 100 + i);
	}
	put16(f + 12 + 4 * s->tags, s->v6 ? 0x86dd : 0x0800);
}

/* Returns the frame's length. */
static UNUSED size_t build_frame(const struct segment *s, uint8_t *f)
{
	size_t fixed = s->v6 ? 40 : 20, ip_len = fixed + s->ip_extra_len;
	size_t tcp_len = 20 + (s->tcp_options_len ? s->tcp_options_len : s->has_ts ? 12 : 0);
	uint8_t *ip = f + ip_offset(s), *tcp = ip + ip_len;

	if (!s->no_l2)
		build_l2(s, f);
	memset(ip, 0, ip_len + tcp_len);
	if (s->ip_extra_len)
		memcpy(ip + fixed, s->ip_extra, s->ip_extra_len);
	if (s->v6) {
		ip[0] = 0x60;
		put16(ip + 4, s->ip_extra_len + tcp_len + s->len);
		ip[6] = s->ip_extra_len ? s->ip_next : 6;
		ip[7] = 64;
		memcpy(ip + 8, s->src, 16);
		memcpy(ip + 24, s->dst, 16);
	} else {
		ip[0] = 0x40 | ip_len / 4;
		put16(ip + 2, ip_len + tcp_len + s->len);
		put16(ip + 4, 0x1234);
		ip[6] = 0x40;
		ip[8] = 64;
		ip[9] = 6;
		memcpy(ip + 12, s->src + 12, 4);
		memcpy(ip + 16, s->dst + 12, 4);
		put16(ip + 10, 0xffff ^ sum_bytes(0, ip, ip_len));
	}
	put16(tcp, s->sport);
	put16(tcp + 2, s->dport);
	put32(tcp + 4, s->seq);
	put32(tcp + 8, s->ack);
	tcp[12] = tcp_len << 2;
	tcp[13] = s->flags;
	put16(tcp + 14, 64240);
	if (s->tcp_options_len) {
		memcpy(tcp + 20, s->tcp_options, s->tcp_options_len);
	} else if (s->has_ts) {
		put32(tcp + 20, 0x0101080a);
		put32(tcp + 24, s->tsval);
		put32(tcp + 28, s->tsecr);
	}
	if (s->len)
		memcpy(tcp + tcp_len, s->payload, s->len);
	put16(tcp + 16, 0xffff ^ tcp_sum(s->v6, s->src, s->dst, tcp, tcp_len + s->len));
	return (size_t)(tcp - f) + tcp_len + s->len;
}

/* Ethernet and tags. NULL, or what is wrong. */
static UNUSED const char *read_l2(const uint8_t *f, size_t n, struct segment *s)
{
	if (n < 14)
		return "shorter than Ethernet";
	memcpy(s->to_mac, f, 6);
	memcpy(s->from_mac, f + 6, 6);
	while (get16(f + 12 + 4 * s->tags) == 0x8100 || get16(f + 12 + 4 * s->tags) == 0x88a8) {
		if (get16(f + 14 + 4 * s->tags) != 100 + s->tags)
			return "VLAN tag";
		if (++s->tags > 2 || n < 14 + 4 * s->tags)
			return "VLAN tags";
	}
	switch (get16(f + 12 + 4 * s->tags)) {
	case 0x86dd:
		s->v6 = true;
		return NULL;
	case 0x0800:
		return NULL;
	}
	return "Ethernet type";
}

/* What we send has room, and nothing in it, where the packet it answers had options or
 * extension headers. */
static UNUSED bool is_filler(bool v6, const uint8_t *p, size_t n)
{
	if (!v6) {
		for (size_t i = 0; i < n; i++)
			if (p[i] != 1) /* NOP */
				return false;
		return true;
	}
	if (n < 8 || p[0] != 6 || p[1] != n / 8 - 1 || p[2] != 1 || p[3] != n - 4)
		return false;
	for (size_t i = 4; i < n; i++)
		if (p[i])
			return false;
	return true;
}

enum frame_source {
	FROM_US,     /* what we send: filler only, no TCP options but timestamps */
	FROM_ANYONE, /* any options and extension headers, not looked at */
};

/* The length of everything up to TCP in a v6 packet; 0: none of it is TCP. */
static UNUSED size_t chain_end(const uint8_t *ip, size_t n)
{
	size_t at = 40;
	uint8_t next = ip[6];

	while (next != 6) {
		if (at + 8 > n ||
		    (next != 0 && next != 43 && next != 44 && next != 51 && next != 60))
			return 0;
		size_t len = next == 44	  ? 8
			     : next == 51 ? (ip[at + 1] + 2) * 4
					  : (ip[at + 1] + 1) * 8;

		next = ip[at];
		at += len;
	}
	return at;
}

/* Read a whole frame, or packet, back; NULL, or what is wrong with it. Its parts point
 * into it. */
static UNUSED const char *read_as(const uint8_t *f, size_t n, bool no_l2, enum frame_source from,
				  struct segment *s)
{
	const uint8_t *ip, *tcp;
	size_t fixed, ip_len, total, tcp_len;

	memset(s, 0, sizeof(*s));
	s->no_l2 = no_l2;
	if (no_l2) {
		s->v6 = n && f[0] >> 4 == 6;
	} else {
		const char *wrong = read_l2(f, n, s);

		if (wrong)
			return wrong;
	}
	ip = f + ip_offset(s);
	fixed = s->v6 ? 40 : 20;
	if (n < ip_offset(s) + fixed + 20)
		return "shorter than any TCP frame";
	n -= ip_offset(s);
	if (s->v6) {
		total = 40 + get16(ip + 4);
		ip_len = chain_end(ip, n);
		if (ip[0] >> 4 != 6 || !ip_len || !ip[7])
			return "IPv6 header";
		s->ip_next = ip[6];
		if (from == FROM_US && ip_len > 40 && ip[6] != 60)
			return "IPv6 extension header";
		memcpy(s->src, ip + 8, 16);
		memcpy(s->dst, ip + 24, 16);
	} else {
		ip_len = (ip[0] & 15) * 4;
		if (ip[0] >> 4 != 4 || ip_len < 20 || ip_len > n || ip[9] != 6 || !ip[8])
			return "IPv4 header";
		total = get16(ip + 2);
		if (sum_bytes(0, ip, ip_len) != 0xffff)
			return "IPv4 checksum";
		memset(s->src + 10, 0xff, 2);
		memset(s->dst + 10, 0xff, 2);
		memcpy(s->src + 12, ip + 12, 4);
		memcpy(s->dst + 12, ip + 16, 4);
	}
	s->ip_extra = ip + fixed;
	s->ip_extra_len = ip_len - fixed;
	if (from == FROM_US && s->ip_extra_len && !is_filler(s->v6, ip + fixed, ip_len - fixed))
		return "options or extension headers that are no filler";
	if (total != n)
		return "IP length is not the frame's";
	tcp = ip + ip_len;
	if (ip_len + 20 > total)
		return "no room for TCP";
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
	s->tcp_options = tcp + 20;
	s->tcp_options_len = tcp_len - 20;
	if (tcp_len == 32 && get32(tcp + 20) == 0x0101080a) {
		s->has_ts = true;
		s->tsval = get32(tcp + 24);
		s->tsecr = get32(tcp + 28);
	} else if (tcp_len != 20 && from == FROM_US) {
		return "TCP options";
	}
	s->payload = tcp + tcp_len;
	s->len = total - ip_len - tcp_len;
	return NULL;
}

/* A frame that we made. */
static UNUSED const char *read_frame(const uint8_t *f, size_t n, struct segment *s)
{
	return read_as(f, n, false, FROM_US, s);
}

#endif
