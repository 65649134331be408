/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every frame it is run on becomes a SYN of another source address and port, and goes out of a
 * device: run with BPF_F_TEST_XDP_LIVE_FRAMES it is a packet generator (synflood.c).
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Set by synflood.c. */
unsigned int device;
unsigned int first;		/* source address, host order */
unsigned int count;		/* addresses from there on */
unsigned int stride;		/* to the next one, modulo count; 0: at random */
unsigned int ip_sum, tcp_sum;	/* of the frame with source address and port 0, not folded */
unsigned long long interval_ns; /* between two of them, if they are not to go as fast as can be */

unsigned int number;
unsigned long long due_ns;

/* One run makes all of them: what sets it up takes milliseconds. So it is here that we wait. */
static __always_inline void wait_for_turn(void)
{
	__u64 now = bpf_ktime_get_ns();

#pragma clang loop unroll(disable)
	for (int i = 0; i < 4096 && now < due_ns; i++)
		now = bpf_ktime_get_ns();
	due_ns = now + interval_ns; /* what was held up is not made up for in a burst */
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

SEC("xdp") int synflood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u32 random = bpf_get_prandom_u32(), source, sum;

	if ((void *)(tcp + 1) > end)
		return XDP_ABORTED;
	if (interval_ns)
		wait_for_turn();
	source = stride ? (__u64)number++ * stride % count : random % count;
	ip->saddr = bpf_htonl(first + source);
	tcp->source = bpf_htons(1024 + (random >> 17));
	sum = (ip->saddr & 0xffff) + (ip->saddr >> 16);
	ip->check = fold(ip_sum + sum);
	tcp->check = fold(tcp_sum + sum + tcp->source);
	return bpf_redirect(device, 0);
}

const char LICENSE[] SEC("license") = "GPL";
