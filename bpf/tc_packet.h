/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads a TC packet of a guarded port into the scratch memory, or says that it is
 * none of ours. Other ports pay for this and nothing else.
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

/* Read a TC packet of a guarded port. l2_len: of the device's own header, 0 where it has
 * none (tun, WireGuard). NULL: not for us, or made by us. */
weir_inline struct weir_scratch *weir_tc_packet(struct __sk_buff *skb, const struct weir_config *c,
						bool ingress, weir_u32 l2_len, weir_u8 *service)
{
	weir_u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct weir_scratch *s;
	enum weir_parse parse;
	const weir_u8 *l4;
	weir_u8 v6 = 0;

	if (!c)
		return NULL;
	if (skb->mark == WEIR_MARK) {
		skb->mark = 0;
		return NULL;
	}
	parse = weir_find_tcp(data, end, &l4, &v6);
	if (parse == WEIR_PARSE_SHORT && skb->len > (weir_u32)(end - data)) {
		/* Headers in fragments of the skb: pull in as much as any could take. */
		weir_u32 want = skb->len < 134 ? skb->len : 134;

		if (bpf_skb_pull_data(skb, want))
			return NULL;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
		parse = weir_find_tcp(data, end, &l4, &v6);
	}
	if (parse != WEIR_PARSE_TCP) {
		if (ingress && parse == WEIR_PARSE_FRAGMENT)
			weir_count(WEIR_PASS_FRAGMENT);
		if (ingress && parse == WEIR_PARSE_UNSUPPORTED)
			weir_count(WEIR_PASS_UNSUPPORTED);
		return NULL;
	}
	*service = weir_service(c, weir_load16(ingress ? l4 + 2 : l4));
	if (!*service)
		return NULL;
	s = weir_scratch();
	if (!s || !weir_read_tcp(data, end, l4, v6, skb->len, &s->packet)) {
		weir_count(WEIR_PASS_MALFORMED);
		return NULL;
	}
	weir_flow_key_of(&s->key, &s->packet, ingress);
	return s;
}

#endif
