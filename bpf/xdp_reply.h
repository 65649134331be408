/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Refuses a SYN from XDP: the frame at hand becomes the RST and goes back.
 */
#ifndef WEIR_XDP_REPLY_H
#define WEIR_XDP_REPLY_H

#include "gate.h"

/* Refuse a SYN from XDP: the frame becomes the RST and goes back. */
weir_inline int weir_xdp_reset(struct xdp_md *ctx, struct weir_scratch *s,
			       const struct weir_packet *p)
{
	weir_u32 want = WEIR_ETH_LEN + (p->v6 ? 40 : 20) + WEIR_TCP_LEN;
	weir_u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct weir_segment *out = &s->out;
	weir_u8 *h = s->headers;
	weir_u8 mac[6];

	weir_gate_reset(p, out);
	long have = end - data;

	weir_opaque(have); /* else the pointers are subtracted in 32 bits, which is refused */
	if (bpf_xdp_adjust_tail(ctx, (int)(want - have)))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	/* Headers are built with room for an option; what is cut off is not sent. */
	if (p->v6) {
		weir_build_v6(out, h);
		weir_build_tcp(out, h + 40);
		if (data + WEIR_ETH_LEN + 60 > end)
			return XDP_DROP;
		__builtin_memcpy(data + WEIR_ETH_LEN, h, 60);
	} else {
		weir_build_v4(out, h);
		weir_build_tcp(out, h + 20);
		if (data + WEIR_ETH_LEN + 40 > end)
			return XDP_DROP;
		__builtin_memcpy(data + WEIR_ETH_LEN, h, 40);
	}
	__builtin_memcpy(mac, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, mac, 6);
	return XDP_TX;
}

#endif
