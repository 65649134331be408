/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Builds the IP and TCP headers of a segment that we send: an answer to a
 * client, a reset to either end. Checksums included, either in full or, when the
 * skb leaves its sum to the device (CHECKSUM_PARTIAL), the pseudo-header's only.
 */
#ifndef WEIR_TCP_REPLY_H
#define WEIR_TCP_REPLY_H

#include "base.h"
#include "packet.h"

#define WEIR_HEADERS_MAX (40 + WEIR_TCP_LEN + WEIR_TS_LEN)

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
	weir_u8 flags;
	weir_u8 v6;
	weir_u8 has_ts;
	weir_u8 partial;
};

/* Frame s like the packet it answers. */
weir_inline void weir_segment_like(struct weir_segment *s, const struct weir_packet *p)
{
	s->v6 = p->v6;
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

/* IPv4 header, 20 bytes, do-not-fragment. */
weir_inline void weir_build_v4(const struct weir_segment *s, weir_u8 *ip)
{
	weir_store32(ip, weir_swap32(0x45000000 | (20 + weir_segment_tcp_len(s) + s->payload_len)));
	weir_store32(ip + 4, weir_swap32(0x00004000));
	weir_store32(ip + 8, weir_swap32(0x40060000));
	weir_store32(ip + 12, weir_load32(s->src + 12));
	weir_store32(ip + 16, weir_load32(s->dst + 12));
	weir_store16(ip + 10, ~weir_fold(weir_sum16(ip, 20, 0)));
}

/* IPv6 header, 40 bytes. */
weir_inline void weir_build_v6(const struct weir_segment *s, weir_u8 *ip)
{
	weir_store32(ip, weir_swap32(0x60000000));
	weir_store32(ip + 4,
		     weir_swap32((weir_segment_tcp_len(s) + s->payload_len) << 16 | 0x0640));
	weir_copy16(ip + 8, s->src);
	weir_copy16(ip + 24, s->dst);
}

#endif
