/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A TCP packet's headers, read once, in place: Ethernet, IPv4 or IPv6, TCP. One
 * cursor for XDP and TC, which both hand over data and data_end.
 */
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include "base.h"

#define WEIR_ETH_LEN 14
#define WEIR_TCP_LEN 20
#define WEIR_TS_LEN  12 /* NOP NOP TS */

enum weir_tcp_flag {
	WEIR_FIN = 0x01,
	WEIR_SYN = 0x02,
	WEIR_RST = 0x04,
	WEIR_PSH = 0x08,
	WEIR_ACK = 0x10,
};

struct weir_packet {
	weir_u8 src[16] __attribute__((aligned(8))); /* v4 as v4-mapped v6 */
	weir_u8 dst[16];
	weir_u16 sport_be;
	weir_u16 dport_be;
	weir_u32 seq;
	weir_u32 ack;
	weir_u32 tcp_off; /* from the start of the frame */
	weir_u32 pay_off;
	weir_u32 pay_len;
	weir_u32 tsval_be;
	weir_u32 tsecr_be;
	weir_u8 flags; /* enum weir_tcp_flag */
	weir_u8 v6;
	weir_u8 has_ts;
	weir_u8 pad;
};

enum weir_parse {
	WEIR_PARSE_TCP,
	WEIR_PARSE_OTHER,	/* not TCP over IP: not ours */
	WEIR_PARSE_SHORT,	/* headers are not in the linear part */
	WEIR_PARSE_FRAGMENT,	/* IP fragment: ports may be elsewhere */
	WEIR_PARSE_UNSUPPORTED, /* IPv6 extension headers */
};

weir_inline void weir_map_v4(weir_u8 *out, const weir_u8 *v4)
{
	weir_u32 mark = weir_swap32(0x0000ffff), addr = weir_load32(v4);

	weir_store32(out, 0);
	weir_store32(out + 4, 0);
	weir_store32(out + 8, mark);
	weir_store32(out + 12, addr);
}

/* Ports only: the one thing the packets of other ports pay for. On PARSE_TCP
 * *l4 points at the TCP header, with WEIR_TCP_LEN bytes readable. */
weir_inline enum weir_parse weir_find_tcp(const weir_u8 *data, const weir_u8 *end,
					  const weir_u8 **l4, weir_u8 *v6)
{
	const weir_u8 *ip = data + WEIR_ETH_LEN;

	if (ip + 20 > end)
		return WEIR_PARSE_SHORT;
	if (data[12] == 0x08 && data[13] == 0x00) {
		weir_u32 ihl = (ip[0] & 15) * 4;

		if (ip[9] != 6)
			return WEIR_PARSE_OTHER;
		if ((ip[6] & 0x3f) || ip[7])
			return WEIR_PARSE_FRAGMENT;
		if (ihl < 20)
			return WEIR_PARSE_OTHER;
		*v6 = 0;
		*l4 = ip + ihl;
	} else if (data[12] == 0x86 && data[13] == 0xdd) {
		if (ip + 40 > end)
			return WEIR_PARSE_SHORT;
		if (ip[6] != 6) {
			/* hop-by-hop, routing, fragment, destination options */
			if (ip[6] == 0 || ip[6] == 43 || ip[6] == 44 || ip[6] == 60)
				return WEIR_PARSE_UNSUPPORTED;
			return WEIR_PARSE_OTHER;
		}
		*v6 = 1;
		*l4 = ip + 40;
	} else {
		return WEIR_PARSE_OTHER;
	}
	if (*l4 + WEIR_TCP_LEN > end)
		return WEIR_PARSE_SHORT;
	return WEIR_PARSE_TCP;
}

/* The rest of the headers, l4 being as weir_find_tcp left it. frame_len is the
 * whole frame's (data may end earlier). false: lengths contradict each other. */
weir_inline bool weir_read_tcp(const weir_u8 *data, const weir_u8 *end, const weir_u8 *l4,
			       weir_u8 v6, weir_u32 frame_len, struct weir_packet *p)
{
	const weir_u8 *ip = data + WEIR_ETH_LEN;
	weir_u32 doff = (l4[12] >> 4) * 4, total;

	p->v6 = v6;
	if (v6) {
		if (ip + 40 > end)
			return false;
		weir_copy16(p->src, ip + 8);
		weir_copy16(p->dst, ip + 24);
		p->tcp_off = WEIR_ETH_LEN + 40;
		total = (ip[4] << 8 | ip[5]) + 40;
		if (total == 40)
			total = frame_len - WEIR_ETH_LEN; /* BIG TCP */
	} else {
		if (ip + 20 > end)
			return false;
		weir_map_v4(p->src, ip + 12);
		weir_map_v4(p->dst, ip + 16);
		p->tcp_off = WEIR_ETH_LEN + (ip[0] & 15) * 4;
		total = ip[2] << 8 | ip[3];
		if (!total)
			total = frame_len - WEIR_ETH_LEN; /* GSO, IPv4 BIG TCP */
	}
	if (total > frame_len - WEIR_ETH_LEN)
		return false;
	p->sport_be = weir_load16(l4);
	p->dport_be = weir_load16(l4 + 2);
	p->seq = weir_swap32(weir_load32(l4 + 4));
	p->ack = weir_swap32(weir_load32(l4 + 8));
	p->flags = l4[13];
	p->pay_off = p->tcp_off + doff;
	if (doff < WEIR_TCP_LEN || total + WEIR_ETH_LEN < p->pay_off)
		return false;
	p->pay_len = total + WEIR_ETH_LEN - p->pay_off;
	/* The layout every common stack sends on an open connection. */
	p->has_ts = 0;
	if (doff >= WEIR_TCP_LEN + WEIR_TS_LEN && l4 + WEIR_TCP_LEN + WEIR_TS_LEN <= end &&
	    weir_load32(l4 + 20) == weir_swap32(0x0101080a)) {
		p->has_ts = 1;
		p->tsval_be = weir_load32(l4 + 24);
		p->tsecr_be = weir_load32(l4 + 28);
	}
	return true;
}

#endif
