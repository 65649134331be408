/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Takes out of a client's SYN what would let data by us: MPTCP (RFC 8684), whose other
 * subflows may come over any address, and TCP fast open (RFC 7413), which puts a request
 * into the handshake. NOPs take their place; both ends then speak plain TCP, as they do
 * through any middlebox that knows neither.
 */
#ifndef WEIR_SYN_OPTIONS_H
#define WEIR_SYN_OPTIONS_H

#include "packet.h"

enum {
	WEIR_OPTION_MPTCP = 30,
	WEIR_OPTION_FAST_OPEN = 34,
	WEIR_OPTION_EXPERIMENT = 254, /* RFC 6994: then a magic number */
	WEIR_FAST_OPEN_MAGIC = 0xf989,
};

/* Overwrites those options. The list is read as a server reads it: up to its end, or to
 * where it makes no sense; what stands behind is left alone. Returns how many they were. */
weir_inline weir_u32 weir_strip_list(struct weir_options *o)
{
	o->next = 0;
	o->strip = 0;
	o->stripped = 0;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_TCP_OPTIONS_MAX; i++) {
		enum weir_option_step step = weir_option_step(o, i);

		if (step == WEIR_OPTION_END)
			break;
		if (step == WEIR_OPTION_BEGINS) {
			weir_u32 kind = o->list[i];

			o->strip = 0;
			if (kind == WEIR_OPTION_MPTCP || kind == WEIR_OPTION_FAST_OPEN)
				o->strip = 1;
			if (kind == WEIR_OPTION_EXPERIMENT && o->list[i + 1] >= 4 &&
			    o->list[i + 2] == WEIR_FAST_OPEN_MAGIC >> 8 &&
			    o->list[i + 3] == (WEIR_FAST_OPEN_MAGIC & 255))
				o->strip = 1;
			o->stripped += o->strip;
		}
		if (o->strip)
			o->list[i] = 1;
	}
	return o->stripped;
}

#ifdef __bpf__
#include "tc_packet.h"

/* A list as it is, and as it will be: in scratch's `headers`, which is free till
 * something is answered. */
struct weir_syn_options {
	struct weir_options now;
	weir_u8 was[WEIR_TCP_OPTIONS_MAX] __attribute__((aligned(8)));
};
_Static_assert(sizeof(struct weir_syn_options) <= WEIR_HEADERS_MAX, "room for both lists");

/* p: a SYN in TC, with options. */
weir_global int weir_strip_syn(struct __sk_buff *skb, const struct weir_packet *p,
			       struct weir_syn_options *o)
{
	weir_u32 len, off;
	weir_s64 diff;

	if (!p || !o)
		return 0;
	off = p->tcp_off + WEIR_TCP_LEN;
	len = weir_options_len(p);
	if (!weir_load_options(skb, p, &o->now))
		return 0;
#pragma clang loop unroll(full)
	for (int i = 0; i < WEIR_TCP_OPTIONS_MAX; i += 8)
		weir_store64(o->was + i, weir_load64(o->now.list + i));
	if (!weir_strip_list(&o->now))
		return 0;
	weir_count(WEIR_STRIP_OPTION);
	/*
	 * The field first: should the second write fail, the server throws the SYN away
	 * instead of taking its option. Without a flag the sum of a CHECKSUM_PARTIAL skb is
	 * left alone, right for a change outside the pseudo header; and what a
	 * CHECKSUM_COMPLETE one remembers stays right, since the field makes up for the list.
	 */
	diff = bpf_csum_diff((__be32 *)o->was, WEIR_TCP_OPTIONS_MAX, (__be32 *)o->now.list,
			     WEIR_TCP_OPTIONS_MAX, 0);
	if (diff < 0 || bpf_l4_csum_replace(skb, p->tcp_off + 16, 0, diff, 0) ||
	    !weir_within(&len, WEIR_TCP_OPTIONS_MAX) ||
	    bpf_skb_store_bytes(skb, off, o->now.list, len, 0))
		weir_count(WEIR_PASS_INTERNAL);
	return 0;
}

/* A SYN that goes on to the server. */
weir_inline void weir_syn_passes(struct __sk_buff *skb, struct weir_scratch *s)
{
	if (weir_options_len(&s->packet))
		weir_strip_syn(skb, &s->packet, (struct weir_syn_options *)s->headers);
}
#endif

#endif
