/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Builds the IP and TCP headers of a segment that we send: an answer to a
 * client, a reset to either end. Checksums included, either in full or, when the
 * skb leaves its sum to the device (CHECKSUM_PARTIAL), the pseudo-header's only.
 *
 * The segment keeps the layout of the packet it is made from: its VLAN tags, and an IP
 * header as long as that one's, for a CHECKSUM_PARTIAL skb remembers where its TCP header
 * begins. What IPv4 options or IPv6 extension headers said is not repeated: their room is
 * filled with what means nothing.
 */
#ifndef WEIR_TCP_REPLY_H
#define WEIR_TCP_REPLY_H

#include "base.h"
#include "packet.h"

/* The longest IP header that is answered; a packet with a longer one is not (a refused
 * one is dropped). */
#define WEIR_PAD_MAX	 64
#define WEIR_IP_MAX	 (40 + WEIR_PAD_MAX)
#define WEIR_HEADERS_MAX (WEIR_IP_MAX + WEIR_TCP_LEN + WEIR_TS_LEN)

struct weir_headers {
	weir_u8 bytes[WEIR_HEADERS_MAX] __attribute__((aligned(8)));
};

struct weir_segment {
	weir_u8 src[16] __attribute__((aligned(8))); /* v4-mapped for v4 */
	weir_u8 dst[16];
	weir_u16 sport_be;
	weir_u16 dport_be;
	weir_u32 seq;
	weir_u32 ack;
	weir_u32 tsval_be;
	weir_u32 tsecr_be;
	weir_u32 payload_len;
	weir_u32 payload_sum; /* ones' complement sum of the payload, folded or not */
	weir_u16 l3_off;      /* where the IP header goes in the frame */
	weir_u16 ip_len;      /* options or extension headers included */
	weir_u8 flags;
	weir_u8 v6;
	weir_u8 has_ts;
	weir_u8 partial;
};

/* Frame s like the packet it answers. */
weir_inline void weir_segment_like(struct weir_segment *s, const struct weir_packet *p)
{
	s->v6 = p->v6;
	s->l3_off = p->l3_off;
	s->ip_len = p->tcp_off - p->l3_off;
}

/* Can headers of that length be built? */
weir_inline bool weir_segment_fits(const struct weir_segment *s)
{
	if (s->v6)
		return s->ip_len >= 40 && s->ip_len <= WEIR_IP_MAX && s->ip_len % 8 == 0;
	return s->ip_len >= 20 && s->ip_len <= 60 && s->ip_len % 4 == 0;
}

weir_inline weir_u32 weir_sum16(const weir_u8 *p, int n, weir_u64 sum)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < n; i += 4)
		sum += weir_load32(p + i);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	return sum;
}

weir_inline weir_u16 weir_fold(weir_u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

weir_inline weir_u32 weir_segment_tcp_len(const struct weir_segment *s)
{
	return s->has_ts ? WEIR_TCP_LEN + WEIR_TS_LEN : WEIR_TCP_LEN;
}

weir_inline void weir_put16(weir_u8 *p, weir_u16 v)
{
	p[0] = v >> 8;
	p[1] = v;
}

weir_inline void weir_put32(weir_u8 *p, weir_u32 v)
{
	weir_store32(p, weir_swap32(v));
}

/* The TCP header at tcp (32 bytes of room). */
weir_inline void weir_build_tcp(const struct weir_segment *s, weir_u8 *tcp)
{
	weir_u32 len = weir_segment_tcp_len(s);

	weir_store16(tcp, s->sport_be);
	weir_store16(tcp + 2, s->dport_be);
	weir_put32(tcp + 4, s->seq);
	weir_put32(tcp + 8, s->ack);
	tcp[12] = len << 2;
	tcp[13] = s->flags;
	weir_put16(tcp + 14, s->flags & WEIR_RST ? 0 : 65535);
	weir_store32(tcp + 16, 0);
	weir_store32(tcp + 20, s->has_ts ? weir_swap32(0x0101080a) : 0);
	weir_store32(tcp + 24, s->has_ts ? s->tsval_be : 0);
	weir_store32(tcp + 28, s->has_ts ? s->tsecr_be : 0);

	/* Pseudo header. The v4-mapped prefix sums to ffff, which is zero in ones'
	 * complement, so both families can sum all 16 bytes. */
	weir_u64 sum = weir_sum16(s->src, 16, 0);

	sum = weir_sum16(s->dst, 16, sum);
	sum += weir_swap32(6);
	sum += weir_swap32(len + s->payload_len);
	if (s->partial) {
		weir_store16(tcp + 16, weir_fold(weir_sum16(tcp, 0, sum)));
		return;
	}
	sum += s->payload_sum;
	weir_store16(tcp + 16, ~weir_fold(weir_sum16(tcp, 32, sum)));
}

/* IPv4 header, do-not-fragment, NOPs as options. 60 bytes are written, whatever of
 * them the header is. */
weir_inline void weir_build_v4(const struct weir_segment *s, weir_u8 *ip)
{
	weir_u32 words = s->ip_len / 4;
	weir_u64 sum;

	weir_store32(ip, weir_swap32((0x40 | words) << 24 |
				     (s->ip_len + weir_segment_tcp_len(s) + s->payload_len)));
	weir_store32(ip + 4, weir_swap32(0x00004000));
	weir_store32(ip + 8, weir_swap32(0x40060000));
	weir_store32(ip + 12, weir_load32(s->src + 12));
	weir_store32(ip + 16, weir_load32(s->dst + 12));
#pragma clang loop unroll(full)
	for (int i = 20; i < 60; i += 4)
		weir_store32(ip + i, 0x01010101);
	sum = (words - 5) * 0x01010101ULL;
	weir_store16(ip + 10, ~weir_fold(weir_sum16(ip, 20, sum)));
}

/* IPv6 header, and one destination options header that is all padding in the room of
 * extension headers. WEIR_IP_MAX bytes are written, whatever of them the header is. */
weir_inline void weir_build_v6(const struct weir_segment *s, weir_u8 *ip)
{
	weir_u32 pad = s->ip_len - 40;

	weir_store32(ip, weir_swap32(0x60000000));
	weir_store32(ip + 4,
		     weir_swap32((pad + weir_segment_tcp_len(s) + s->payload_len) << 16 | 0x0640));
	weir_copy16(ip + 8, s->src);
	weir_copy16(ip + 24, s->dst);
#pragma clang loop unroll(full)
	for (int i = 0; i < WEIR_PAD_MAX; i += 8)
		weir_store64(ip + 40 + i, 0);
	if (!pad)
		return;
	ip[6] = 60;
	ip[40] = 6;
	ip[41] = pad / 8 - 1;
	ip[42] = 1; /* PadN */
	ip[43] = pad - 4;
}

/* Both headers. Returns their length, 0 if they would be longer than any we build. */
weir_inline weir_u32 weir_build_headers(const struct weir_segment *s, struct weir_headers *h)
{
	weir_u32 ip_len = s->ip_len;

	if (!weir_segment_fits(s))
		return 0;
	/* The TCP header goes over what the fill left behind the IP header. */
	if (s->v6)
		weir_build_v6(s, h->bytes);
	else
		weir_build_v4(s, h->bytes);
	weir_opaque(ip_len);
	if (ip_len > WEIR_IP_MAX)
		return 0; /* known, but not to the verifier */
	weir_build_tcp(s, h->bytes + ip_len);
	return ip_len + weir_segment_tcp_len(s);
}

#endif
