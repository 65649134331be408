/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads a SYN in XDP, and refuses it: the frame at hand becomes the RST and goes back.
 */
#ifndef WEIR_XDP_REPLY_H
#define WEIR_XDP_REPLY_H

#include "gate.h"

weir_global int weir_xdp_find_tcp(struct xdp_md *ctx, weir_u32 ip)
{
	return weir_find_tcp((void *)(long)ctx->data, (void *)(long)ctx->data_end, ip);
}

weir_global int weir_xdp_find(struct xdp_md *ctx)
{
	weir_u32 ip =
		weir_find_ip((void *)(long)ctx->data, (void *)(long)ctx->data_end, WEIR_ETH_LEN);

	return weir_found_parse(ip) == WEIR_PARSE_TCP ? (weir_u32)weir_xdp_find_tcp(ctx, ip) : ip;
}

/* Read the packet that was found; false: it cannot be one. */
weir_inline bool weir_xdp_read(struct xdp_md *ctx, weir_u32 found, struct weir_packet *p)
{
	return weir_read_tcp((void *)(long)ctx->data, (void *)(long)ctx->data_end, found,
			     bpf_xdp_get_buff_len(ctx), p);
}

/* Cut or fill the frame to the segment in out, and swap its MACs. 0, or -1. */
weir_global int weir_xdp_put(struct xdp_md *ctx, const struct weir_segment *out,
			     struct weir_headers *h)
{
	weir_u8 *data, *end;
	weir_u8 mac[6];
	weir_u32 len;

	if (!out || !h)
		return -1;
	len = weir_build_headers(out, h);
	if (!weir_within(&len, WEIR_HEADERS_MAX))
		return -1;
	/* A frame in several buffers is cut by its whole length, not its first part's. */
	if (bpf_xdp_adjust_tail(ctx, (int)(out->l3_off + len - bpf_xdp_get_buff_len(ctx))))
		return -1;
	if (!weir_within(&len, WEIR_HEADERS_MAX) ||
	    bpf_xdp_store_bytes(ctx, out->l3_off, h->bytes, len))
		return -1;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + WEIR_ETH_LEN > end)
		return -1;
	__builtin_memcpy(mac, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, mac, 6);
	return 0;
}

weir_inline int weir_xdp_reset(struct xdp_md *ctx, struct weir_scratch *s,
			       const struct weir_packet *p)
{
	weir_gate_reset(p, &s->out);
	if (weir_xdp_put(ctx, &s->out, (struct weir_headers *)s->headers)) {
		weir_count(WEIR_DROP_CHANGE_TAIL);
		return XDP_DROP;
	}
	return XDP_TX;
}

#endif
