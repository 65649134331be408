/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A frame's Ethernet header, put back. Where a generic XDP program runs (ours, or
 * anybody's), kernels from 6.9 on copy what was cloned and lose the length of its
 * header (mac_len; seen on 6.18): TC then gets the frame from its IP header on, and
 * would take the packet for none of ours.
 */
#ifndef WEIR_MAC_HEADER_H
#define WEIR_MAC_HEADER_H

#include "maps.h"
#include "packet.h"

#define WEIR_FROM_MAC 0 /* enum bpf_hdr_start_off */
#define WEIR_FROM_NET 1

/* Does the frame begin with its network header? A MAC address may look like the
 * beginning of one, so the kernel is asked where that is. */
weir_inline bool weir_header_is_lost(struct __sk_buff *skb)
{
	weir_u8 at_data[16] __attribute__((aligned(8))), at_net[16] __attribute__((aligned(8)));

	if (bpf_skb_load_bytes(skb, 0, at_data, 16) ||
	    bpf_skb_load_bytes_relative(skb, 0, at_net, 16, WEIR_FROM_NET))
		return false;
	return weir_load64(at_data) == weir_load64(at_net) &&
	       weir_load64(at_data + 8) == weir_load64(at_net + 8);
}

/* On a device with Ethernet headers, at ingress. */
weir_inline void weir_put_header_back(struct __sk_buff *skb)
{
	weir_u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	weir_u8 header[WEIR_ETH_LEN + 2];

	if (data + WEIR_ETH_LEN <= end && (data[0] >> 4) != 4 && (data[0] >> 4) != 6)
		return; /* no IP header begins so */
	if (!weir_header_is_lost(skb) ||
	    bpf_skb_load_bytes_relative(skb, 0, header, WEIR_ETH_LEN, WEIR_FROM_MAC))
		return;
	/* The room is taken from where the header still lies; mac_len is set anew. Refused for
	 * frames of more than 16 KiB that are not GSO: only loopback has them. */
	if (bpf_skb_change_head(skb, WEIR_ETH_LEN, 0) ||
	    bpf_skb_store_bytes(skb, 0, header, WEIR_ETH_LEN, 0))
		weir_count(WEIR_PASS_INTERNAL);
}

#endif
