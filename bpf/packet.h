/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A TCP packet's headers, read in place: up to two VLAN tags, IPv4 with options or IPv6
 * with extension headers, TCP. One cursor for XDP and TC, which both hand over data and
 * data_end.
 *
 * It goes in two steps. weir_find_plain knows the packets nearly all are, and costs the
 * packets of other ports next to nothing; weir_find_ip and weir_find_tcp walk whatever
 * else there is. What they find is one word, because that is what a global function can
 * take and return: the walk is then verified by itself, not once for each way to it
 * (tc_packet.h, xdp_reply.h).
 */
#ifndef WEIR_PACKET_H
#define WEIR_PACKET_H

#include "base.h"

#define WEIR_ETH_LEN  14
#define WEIR_VLAN_LEN 4
#define WEIR_TCP_LEN  20
#define WEIR_TS_LEN   12 /* NOP NOP TS */

#define WEIR_TCP_OPTIONS_MAX 40

/* How far IPv6 extension headers are followed: no stack or router of the field sends
 * nearly as many, and RFC 8504 lets a host set limits. */
#define WEIR_CHAIN_HEADERS 6
#define WEIR_CHAIN_MAX	   512

/* The furthest byte that is looked at: two tags, IPv6, extension headers, TCP. */
#define WEIR_READ_MAX                                                                              \
	(WEIR_ETH_LEN + 2 * WEIR_VLAN_LEN + 40 + WEIR_CHAIN_MAX + WEIR_TCP_LEN +                   \
	 WEIR_TCP_OPTIONS_MAX)

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
	weir_u32 l3_off;  /* from the start of the frame: behind Ethernet and tags */
	weir_u32 tcp_off; /* 〃 */
	weir_u32 pay_off; /* 〃 */
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
	WEIR_PARSE_FIRST,	 /* first fragment, its ports can be read */
	WEIR_PARSE_FRAGMENT,	 /* a later one */
	WEIR_PARSE_BAD_FRAGMENT, /* TCP cut so that its ports or flags are elsewhere */
	WEIR_PARSE_CHAIN,	 /* more IPv6 extension headers than are followed */
	WEIR_PARSE_UNSUPPORTED,	 /* a third VLAN tag */
	WEIR_PARSE_OTHER,	 /* not TCP over IP: not ours */
	WEIR_PARSE_SHORT,	 /* headers are not in the linear part */
	WEIR_PARSE_LOOK,	 /* weir_find_plain only: it takes weir_find_ip to say */
};

/* What was found, and where: l3 and l4 from the start of the frame. The offsets are
 * there for PARSE_TCP and PARSE_FIRST only. */
weir_inline weir_u32 weir_found(enum weir_parse parse, bool v6, weir_u32 l3, weir_u32 l4)
{
	return parse | v6 << 4 | l3 << 8 | l4 << 16;
}

weir_inline enum weir_parse weir_found_parse(weir_u32 found)
{
	return found & 15;
}

weir_inline weir_u8 weir_found_v6(weir_u32 found)
{
	return found >> 4 & 1;
}

weir_inline weir_u32 weir_found_l3(weir_u32 found)
{
	return found >> 8 & 31;
}

weir_inline weir_u32 weir_found_l4(weir_u32 found)
{
	return found >> 16 & 1023;
}

weir_inline void weir_map_v4(weir_u8 *out, const weir_u8 *v4)
{
	weir_u32 mark = weir_swap32(0x0000ffff), addr = weir_load32(v4);

	weir_store32(out, 0);
	weir_store32(out + 4, 0);
	weir_store32(out + 8, mark);
	weir_store32(out + 12, addr);
}

/* Extension headers that TCP may stand behind: hop-by-hop, routing, fragment, AH,
 * destination options. Behind ESP nothing can be read. */
weir_inline bool weir_is_extension(weir_u32 next)
{
	const weir_u64 set = 1ULL << 0 | 1ULL << 43 | 1ULL << 44 | 1ULL << 51 | 1ULL << 60;

	return next < 64 && set >> next & 1;
}

weir_inline bool weir_is_vlan(weir_u16 type_be)
{
	return type_be == weir_swap16(0x8100) || type_be == weir_swap16(0x88a8);
}

/* The packets that nearly all are: no tags, no options, no extension headers, whole.
 * l2_len: WEIR_ETH_LEN, or 0 for devices without a header of their own. On PARSE_TCP the
 * TCP header's fixed part is readable. */
weir_inline weir_u32 weir_find_plain(const weir_u8 *data, const weir_u8 *end, weir_u32 l2_len)
{
	const weir_u8 *ip = data + l2_len;
	bool v4, v6;

	if (ip + 20 > end)
		return WEIR_PARSE_LOOK;
	if (l2_len) {
		weir_u16 type_be = weir_load16(data + 12);

		v4 = type_be == weir_swap16(0x0800);
		v6 = type_be == weir_swap16(0x86dd);
		if (!v4 && !v6)
			return weir_is_vlan(type_be) ? WEIR_PARSE_LOOK : WEIR_PARSE_OTHER;
		if (v6 && ip[0] >> 4 != 6)
			return WEIR_PARSE_OTHER;
	} else {
		v4 = ip[0] >> 4 == 4;
		v6 = ip[0] >> 4 == 6;
		if (!v4 && !v6)
			return WEIR_PARSE_OTHER;
	}
	if (v4) {
		if (ip[9] != 6)
			return WEIR_PARSE_OTHER;
		if (ip[0] != 0x45 || weir_load16(ip + 6) & weir_swap16(0x3fff) || ip + 40 > end)
			return WEIR_PARSE_LOOK;
		return weir_found(WEIR_PARSE_TCP, false, l2_len, l2_len + 20);
	}
	if (ip[6] != 6)
		return weir_is_extension(ip[6]) ? WEIR_PARSE_LOOK : WEIR_PARSE_OTHER;
	if (ip + 60 > end)
		return WEIR_PARSE_LOOK;
	return weir_found(WEIR_PARSE_TCP, true, l2_len, l2_len + 40);
}

weir_inline weir_u32 weir_find_v4(const weir_u8 *ip, const weir_u8 *end, weir_u32 l3)
{
	weir_u32 len, total, place;

	if (ip + 20 > end)
		return WEIR_PARSE_SHORT;
	len = (ip[0] & 15) * 4;
	total = ip[2] << 8 | ip[3];
	place = (ip[6] << 8 | ip[7]) & 0x3fff;
	if (ip[9] != 6 || ip[0] >> 4 != 4 || len < 20)
		return WEIR_PARSE_OTHER;
	/* A fragment at offset 1 could overwrite the first one's flags (RFC 1858). */
	if (place & 0x1fff)
		return (place & 0x1fff) == 1 ? WEIR_PARSE_BAD_FRAGMENT : WEIR_PARSE_FRAGMENT;
	if (place) {
		/* Its own length counts: what the frame holds behind it is padding. */
		if (total < len + 4)
			return WEIR_PARSE_BAD_FRAGMENT;
		if (ip + len + 4 > end)
			return WEIR_PARSE_SHORT;
		return weir_found(WEIR_PARSE_FIRST, false, l3, l3 + len);
	}
	if (ip + len + WEIR_TCP_LEN > end)
		return WEIR_PARSE_SHORT;
	return weir_found(WEIR_PARSE_TCP, false, l3, l3 + len);
}

weir_inline weir_u32 weir_find_v6(const weir_u8 *ip, const weir_u8 *end, weir_u32 l3)
{
	weir_u32 off = 40, next, total;
	bool first = false;

	if (ip + 40 > end)
		return WEIR_PARSE_SHORT;
	if (ip[0] >> 4 != 6)
		return WEIR_PARSE_OTHER;
	next = ip[6];
	total = (ip[4] << 8 | ip[5]) + 40;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i <= WEIR_CHAIN_HEADERS; i++) {
		const weir_u8 *h;
		weir_u32 len;

		weir_opaque(off); /* the offset is what is bounded, not a pointer made of it */
		if (off > 40 + WEIR_CHAIN_MAX)
			return WEIR_PARSE_CHAIN;
		h = ip + off;
		if (next == 6) {
			if (first && total < off + 4)
				return WEIR_PARSE_BAD_FRAGMENT;
			if (h + (first ? 4 : WEIR_TCP_LEN) > end)
				return WEIR_PARSE_SHORT;
			return weir_found(first ? WEIR_PARSE_FIRST : WEIR_PARSE_TCP, true, l3,
					  l3 + off);
		}
		if (!weir_is_extension(next))
			return WEIR_PARSE_OTHER;
		/* A first fragment holds all headers (RFC 7112), or its ports are hidden. */
		if (first && total < off + 8)
			return WEIR_PARSE_BAD_FRAGMENT;
		if (h + 8 > end)
			return WEIR_PARSE_SHORT;
		len = (h[1] + 1) * 8;
		if (next == 51)
			len = (h[1] + 2) * 4;
		if (next == 44) {
			weir_u32 place = h[2] << 8 | h[3];

			/* A fragment of a fragment is nothing anybody sends. */
			if (first)
				return WEIR_PARSE_BAD_FRAGMENT;
			if (place >> 3)
				return place >> 3 == 1 && h[0] == 6 ? WEIR_PARSE_BAD_FRAGMENT
								    : WEIR_PARSE_FRAGMENT;
			first = place & 1; /* else an atomic one (RFC 6946): whole */
			len = 8;
		}
		next = h[0];
		off += len;
	}
	return WEIR_PARSE_CHAIN;
}

/* Any packet, first half: the IP header. PARSE_TCP is still to be proved. */
weir_inline weir_u32 weir_find_ip(const weir_u8 *data, const weir_u8 *end, weir_u32 l2_len)
{
	weir_u32 l3 = l2_len;
	weir_u16 type_be;

	if (!l2_len) {
		if (data + 1 > end)
			return WEIR_PARSE_SHORT;
		return weir_found(WEIR_PARSE_TCP, data[0] >> 4 == 6, 0, 0);
	}
	if (data + WEIR_ETH_LEN > end)
		return WEIR_PARSE_SHORT;
	type_be = weir_load16(data + 12);
#pragma clang loop unroll(full)
	for (int tags = 0; tags < 2; tags++) {
		if (!weir_is_vlan(type_be))
			break;
		if (data + l3 + WEIR_VLAN_LEN > end)
			return WEIR_PARSE_SHORT;
		type_be = weir_load16(data + l3 + 2);
		l3 += WEIR_VLAN_LEN;
	}
	if (weir_is_vlan(type_be))
		return WEIR_PARSE_UNSUPPORTED;
	if (type_be == weir_swap16(0x0800))
		return weir_found(WEIR_PARSE_TCP, false, l3, 0);
	if (type_be == weir_swap16(0x86dd))
		return weir_found(WEIR_PARSE_TCP, true, l3, 0);
	return WEIR_PARSE_OTHER;
}

/* Second half: as weir_find_plain, but never PARSE_LOOK. */
weir_inline weir_u32 weir_find_tcp(const weir_u8 *data, const weir_u8 *end, weir_u32 ip)
{
	weir_u32 l3 = weir_found_l3(ip);

	if (weir_found_parse(ip) != WEIR_PARSE_TCP)
		return ip;
	if (weir_found_v6(ip))
		return weir_find_v6(data + l3, end, l3);
	return weir_find_v4(data + l3, end, l3);
}

/* The rest of the headers; found is a PARSE_TCP of above, or any word at all. frame_len
 * is the whole frame's (data may end earlier). false: lengths contradict each other. Of
 * timestamps only the layout every common stack sends is seen: weir_read_ts has the rest. */
weir_inline bool weir_read_tcp(const weir_u8 *data, const weir_u8 *end, weir_u32 found,
			       weir_u32 frame_len, struct weir_packet *p)
{
	weir_u32 l3 = weir_found_l3(found), l4_off = weir_found_l4(found), doff, total;
	const weir_u8 *ip = data + l3, *l4 = data + l4_off;

	if (l4 + WEIR_TCP_LEN > end)
		return false;
	p->v6 = weir_found_v6(found);
	p->l3_off = l3;
	p->tcp_off = l4_off;
	if (p->v6) {
		if (ip + 40 > end)
			return false;
		weir_copy16(p->src, ip + 8);
		weir_copy16(p->dst, ip + 24);
		total = (ip[4] << 8 | ip[5]) + 40;
		if (total == 40)
			total = frame_len - l3; /* BIG TCP */
	} else {
		if (ip + 20 > end)
			return false;
		weir_map_v4(p->src, ip + 12);
		weir_map_v4(p->dst, ip + 16);
		total = ip[2] << 8 | ip[3];
		if (!total)
			total = frame_len - l3; /* GSO, IPv4 BIG TCP */
	}
	if (total > frame_len - l3)
		return false;
	doff = (l4[12] >> 4) * 4;
	p->sport_be = weir_load16(l4);
	p->dport_be = weir_load16(l4 + 2);
	p->seq = weir_swap32(weir_load32(l4 + 4));
	p->ack = weir_swap32(weir_load32(l4 + 8));
	p->flags = l4[13];
	p->pay_off = l4_off + doff;
	if (doff < WEIR_TCP_LEN || total + l3 < p->pay_off)
		return false;
	p->pay_len = total + l3 - p->pay_off;
	p->has_ts = 0;
	if (doff >= WEIR_TCP_LEN + WEIR_TS_LEN && l4 + WEIR_TCP_LEN + WEIR_TS_LEN <= end &&
	    weir_load32(l4 + 20) == weir_swap32(0x0101080a)) {
		p->has_ts = 1;
		p->tsval_be = weir_load32(l4 + 24);
		p->tsecr_be = weir_load32(l4 + 28);
	}
	return true;
}

weir_inline weir_u32 weir_options_len(const struct weir_packet *p)
{
	return p->pay_off - p->tcp_off - WEIR_TCP_LEN;
}

/*
 * A walk over a list of TCP options. It is map memory, from which the verifier takes
 * nothing for known: held in registers, what is left of an option makes every byte
 * another state, a million instructions of them.
 */
struct weir_options {
	weir_u8 list[WEIR_TCP_OPTIONS_MAX + 8] __attribute__((aligned(8))); /* zeros behind len */
	weir_u32 len;  /* at most WEIR_TCP_OPTIONS_MAX */
	weir_u32 next; /* where the next option begins */
	/* syn_options.h: is this one taken out, and how many were */
	weir_u32 strip;
	weir_u32 stripped;
};

enum weir_option_step {
	WEIR_OPTION_WITHIN, /* byte i belongs to the option before */
	WEIR_OPTION_BEGINS,
	WEIR_OPTION_END, /* of the list, or of what can be made sense of */
};

/* What byte i is, i going up from 0 by one: that costs a look at each byte, but every
 * access is at a place the verifier knows. */
weir_inline enum weir_option_step weir_option_step(struct weir_options *o, weir_u32 i)
{
	weir_u32 len;

	if (i >= o->len)
		return WEIR_OPTION_END;
	if (i < o->next)
		return WEIR_OPTION_WITHIN;
	if (o->list[i] == 0)
		return WEIR_OPTION_END;
	if (o->list[i] == 1) {
		o->next = i + 1;
		return WEIR_OPTION_BEGINS;
	}
	len = o->list[i + 1];
	if (len < 2 || i + len > o->len)
		return WEIR_OPTION_END;
	o->next = i + len;
	return WEIR_OPTION_BEGINS;
}

/* Timestamps anywhere among the options of p. */
weir_inline void weir_read_ts(struct weir_options *o, struct weir_packet *p)
{
	o->next = 0;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_TCP_OPTIONS_MAX - 9; i++) {
		enum weir_option_step step = weir_option_step(o, i);

		if (step == WEIR_OPTION_END)
			return;
		if (step == WEIR_OPTION_BEGINS && o->list[i] == 8 && o->list[i + 1] == 10) {
			p->has_ts = 1;
			p->tsval_be = weir_load32(o->list + i + 2);
			p->tsecr_be = weir_load32(o->list + i + 6);
			return;
		}
	}
}

#endif
