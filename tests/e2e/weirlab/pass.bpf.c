/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of somebody else, that pass everything: a neighbour on our hooks, and
 * what a veth peer needs to receive XDP_TX (veth polls only where XDP runs).
 */
#define SEC(x) __attribute__((section(x)))

SEC("xdp.frags") int foreign_xdp(void *ctx)
{
	return 2; /* XDP_PASS */
}

SEC("tc") int foreign_tc(void *skb)
{
	return 0; /* TC_ACT_OK */
}

const char LICENSE[] SEC("license") = "GPL";
