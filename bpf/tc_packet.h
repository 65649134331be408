/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads a TC packet of a guarded port into the scratch memory, or says what becomes of
 * one that cannot be read so. Other ports pay for the first look and nothing else.
 *
 * Fragments. The first one of a guarded port is dropped: what TCP it would be part of can
 * be judged by nobody but who reassembles it, and no stack of the field fragments TCP.
 * Without it the later ones, which name no port, are assembled into nothing: they pass.
 */
#ifndef WEIR_TC_PACKET_H
#define WEIR_TC_PACKET_H

#include "flow.h"
#include "send.h"

weir_inline weir_u8 weir_service(const struct weir_config *c, weir_u16 port_be)
{
	weir_u32 port = weir_swap16(port_be);

	weir_opaque(port); /* 6.1 forgets that a swapped half word is one */
	return c->port_service[port & 0xffff];
}

weir_global int weir_tc_find_tcp(struct __sk_buff *skb, weir_u32 ip)
{
	return weir_find_tcp((void *)(long)skb->data, (void *)(long)skb->data_end, ip);
}

weir_global int weir_tc_find(struct __sk_buff *skb, weir_u32 l2_len)
{
	weir_u32 ip = weir_find_ip((void *)(long)skb->data, (void *)(long)skb->data_end,
				   l2_len ? WEIR_ETH_LEN : 0);

	return weir_found_parse(ip) == WEIR_PARSE_TCP ? (weir_u32)weir_tc_find_tcp(skb, ip) : ip;
}

/* Any packet, with headers that lie in fragments of the skb pulled in. */
weir_global int weir_tc_look(struct __sk_buff *skb, weir_u32 l2_len)
{
	weir_u32 found = weir_tc_find(skb, l2_len);
	weir_u32 want = skb->len < WEIR_READ_MAX ? skb->len : WEIR_READ_MAX;

	if (weir_found_parse(found) != WEIR_PARSE_SHORT || skb->len <= skb->data_end - skb->data)
		return found;
	if (bpf_skb_pull_data(skb, want))
		return found;
	return weir_tc_find(skb, l2_len);
}

/* The options of p, if it has any. */
weir_inline bool weir_load_options(struct __sk_buff *skb, const struct weir_packet *p,
				   struct weir_options *o)
{
	weir_u32 len = weir_options_len(p);

	__builtin_memset(o, 0, sizeof(*o));
	o->len = len;
	return weir_within(&len, WEIR_TCP_OPTIONS_MAX) &&
	       !bpf_skb_load_bytes(skb, p->tcp_off + WEIR_TCP_LEN, o->list, len);
}

/* Timestamps where they stand behind other options. */
weir_global int weir_tc_timestamps(struct __sk_buff *skb, struct weir_packet *p,
				   struct weir_options *o)
{
	if (p && o && weir_load_options(skb, p, o))
		weir_read_ts(o, p);
	return 0;
}

/* Read the packet that was found; false: it cannot be one. Not a global function: the call
 * would cost every packet of a guarded port 7 ns, and the verifier no less. */
weir_inline bool weir_tc_read(struct __sk_buff *skb, weir_u32 found, struct weir_packet *p)
{
	return weir_read_tcp((void *)(long)skb->data, (void *)(long)skb->data_end, found, skb->len,
			     p);
}

/* What becomes of a packet whose port cannot be seen, or that is a guarded port's first
 * fragment. With enforcement off nothing is kept from anybody. */
weir_inline int weir_unread(const struct weir_config *c, enum weir_parse parse)
{
	switch (parse) {
	case WEIR_PARSE_FIRST:
	case WEIR_PARSE_BAD_FRAGMENT:
		if (!c->enforce)
			break;
		weir_count(WEIR_DROP_FRAGMENT);
		return TC_ACT_SHOT;
	case WEIR_PARSE_CHAIN:
		if (!c->enforce) {
			weir_count(WEIR_PASS_UNSUPPORTED);
			return TC_ACT_UNSPEC;
		}
		weir_count(WEIR_DROP_HEADERS);
		return TC_ACT_SHOT;
	case WEIR_PARSE_FRAGMENT:
		break;
	case WEIR_PARSE_UNSUPPORTED:
		weir_count(WEIR_PASS_UNSUPPORTED);
		return TC_ACT_UNSPEC;
	default:
		return TC_ACT_UNSPEC;
	}
	weir_count(WEIR_PASS_FRAGMENT);
	return TC_ACT_UNSPEC;
}

/* Read a TC packet of a guarded port. l2_len: of the device's own header, 0 where it has
 * none (tun, WireGuard). NULL: not for us, or made by us; *verdict says what becomes of it. */
weir_inline struct weir_scratch *weir_tc_packet(struct __sk_buff *skb, const struct weir_config *c,
						bool ingress, weir_u32 l2_len, weir_u8 *service,
						int *verdict)
{
	weir_u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct weir_scratch *s;
	enum weir_parse parse;
	weir_u32 found;
	weir_u8 *l4;

	*verdict = TC_ACT_UNSPEC;
	if (!c)
		return NULL;
	if (skb->mark == WEIR_MARK) {
		skb->mark = 0;
		return NULL;
	}
	found = weir_find_plain(data, end, l2_len);
	if (found == WEIR_PARSE_LOOK) {
		found = weir_tc_look(skb, l2_len);
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	parse = weir_found_parse(found);
	if (parse != WEIR_PARSE_TCP && parse != WEIR_PARSE_FIRST) {
		if (ingress)
			*verdict = weir_unread(c, parse);
		return NULL;
	}
	l4 = data + weir_found_l4(found);
	if (l4 + 4 > end)
		return NULL;
	*service = weir_service(c, weir_load16(ingress ? l4 + 2 : l4));
	if (!*service)
		return NULL;
	if (parse == WEIR_PARSE_FIRST) {
		if (ingress)
			*verdict = weir_unread(c, parse);
		return NULL;
	}
	s = weir_scratch();
	if (!s || !weir_tc_read(skb, found, &s->packet)) {
		weir_count(WEIR_PASS_MALFORMED);
		return NULL;
	}
	/* For what is answered; 10: the shortest list with timestamps. */
	if (ingress && !s->packet.has_ts && !(s->packet.flags & (WEIR_SYN | WEIR_RST)) &&
	    weir_options_len(&s->packet) >= 10)
		weir_tc_timestamps(skb, &s->packet, (struct weir_options *)s->headers);
	weir_flow_key_of(&s->key, &s->packet, ingress);
	return s;
}

#endif
