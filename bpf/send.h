/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sends segments of our own from TC: rewrites the skb at hand into them. This is
 * the only file that changes a packet there.
 */
#ifndef WEIR_SEND_H
#define WEIR_SEND_H

#include "maps.h"
#include "tcp_reply.h"

#ifndef TC_ACT_UNSPEC
#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT   2
#endif

/* On packets we made, so that our own hooks let them by. Not seen on any wire. */
#define WEIR_MARK 0x77656972

/* CHECKSUM_PARTIAL (the device, or nobody, will add the sum) or not? Cutting the
 * frame inside the checksum field is refused for the one and done for the other. */
weir_inline int weir_sum_is_partial(struct __sk_buff *skb, weir_u32 tcp_off)
{
	long err = bpf_skb_change_tail(skb, tcp_off + 17, 0);

	if (!err)
		return 0;
	return err == -22 /* EINVAL */ ? 1 : -1;
}

/* The skb, which is already as long as the segment will be, gets the segment's headers.
 * 0, or -1. */
weir_global int weir_put_headers(struct __sk_buff *skb, const struct weir_segment *s,
				 struct weir_headers *h)
{
	weir_u32 len;

	if (!s || !h)
		return -1;
	len = weir_build_headers(s, h);
	if (!weir_within(&len, WEIR_HEADERS_MAX))
		return -1;
	return bpf_skb_store_bytes(skb, s->l3_off, h->bytes, len, BPF_F_RECOMPUTE_CSUM) ? -1 : 0;
}

/* h: struct weir_scratch's headers. */
weir_inline int weir_store_headers(struct __sk_buff *skb, const struct weir_segment *s,
				   weir_u8 h[WEIR_HEADERS_MAX])
{
	return weir_put_headers(skb, s, (struct weir_headers *)h);
}

weir_inline weir_u32 weir_segment_len(const struct weir_segment *s)
{
	return s->l3_off + s->ip_len + weir_segment_tcp_len(s) + s->payload_len;
}

/* Of the segment in scratch's `out`: a device without a header of its own has no MACs. */
weir_inline int weir_swap_macs(struct __sk_buff *skb)
{
	const struct weir_scratch *s = weir_scratch();
	weir_u8 mac[12], out[12];

	if (!s)
		return -1;
	if (!s->out.l3_off)
		return 0;
	if (bpf_skb_load_bytes(skb, 0, mac, 12))
		return -1;
	__builtin_memcpy(out, mac + 6, 6);
	__builtin_memcpy(out + 6, mac, 6);
	return bpf_skb_store_bytes(skb, 0, out, 12, 0) ? -1 : 0;
}

/* Ones' complement sum of the first len (<= WEIR_REPLY_MAX) bytes of p, which are
 * followed by zeros up to a multiple of eight. In pieces: 6.1 sums at most 512
 * bytes at a time. */
weir_inline weir_u32 weir_payload_sum(const weir_u8 *p, weir_u32 len)
{
	weir_s64 sum = 0;

#pragma clang loop unroll(full)
	for (weir_u32 i = 0; i < 3; i++) {
		weir_u32 off = i * 512, n;
		weir_u32 most = WEIR_REPLY_MAX - off < 512 ? WEIR_REPLY_MAX - off : 512;

		if (off >= len)
			break;
		n = (len - off + 3) & ~3U;
		weir_opaque(n);
		if (n > most)
			n = most;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)(p + off), n, sum);
	}
	return sum;
}

/* Turn the skb into segment s without a payload. */
weir_inline int weir_make_bare(struct __sk_buff *skb, const struct weir_segment *s,
			       weir_u8 h[WEIR_HEADERS_MAX])
{
	if (bpf_skb_change_tail(skb, weir_segment_len(s), 0))
		return -1;
	return weir_store_headers(skb, s, h);
}

/* Answer out of the interface the skb came in by. The caller returns the result. */
weir_inline int weir_send_back(struct __sk_buff *skb)
{
	if (weir_swap_macs(skb))
		return TC_ACT_SHOT;
	skb->mark = WEIR_MARK;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
