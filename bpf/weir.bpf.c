// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel programs. A packet's path, in the order it happens:
 *
 *   weir_xdp      a SYN to a guarded port        gate.h
 *   weir_ingress  the same where XDP is not, then request heads    request.h, linger.h
 *   weir_egress   answers                        tap.h
 *   weir_state    sockets that close             flow.h
 *   weir_sweep    what never closed (run by the agent)
 *
 * TC programs pass with TC_ACT_UNSPEC, so that a neighbour's filter still runs.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "base.h"
#include "packet.h"
#include "maps.h"
#include "gate.h"
#include "linger.h"
#include "request.h"
#include "send.h"
#include "tap.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TCP_CLOSE 7
#define AF_INET	  2
#define AF_INET6  10

weir_inline weir_u8 weir_service(const struct weir_config *c, weir_u16 port_be)
{
	weir_u32 port = weir_swap16(port_be);

	weir_opaque(port); /* 6.1 forgets that a swapped half word is one */
	return c->port_service[port & 0xffff];
}

/* -- XDP */

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

SEC("xdp.frags")
int weir_xdp(struct xdp_md *ctx)
{
	weir_u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct weir_config *c;
	struct weir_scratch *s;
	const weir_u8 *l4;
	weir_u8 v6, service;

	/* Whatever cannot be read here, TC sees again. */
	if (weir_find_tcp(data, end, &l4, &v6) != WEIR_PARSE_TCP)
		return XDP_PASS;
	if ((l4[13] & (WEIR_SYN | WEIR_ACK)) != WEIR_SYN)
		return XDP_PASS;
	c = weir_config();
	if (!c)
		return XDP_PASS;
	service = weir_service(c, weir_load16(l4 + 2));
	if (!service)
		return XDP_PASS;
	s = weir_scratch();
	if (!s || !weir_read_tcp(data, end, l4, v6, end - data, &s->packet))
		return XDP_PASS;
	switch (weir_gate(c, s, &s->packet, service)) {
	case WEIR_GATE_PASS:
		return XDP_PASS;
	case WEIR_GATE_DROP:
		return XDP_DROP;
	case WEIR_GATE_RESET:
		return weir_xdp_reset(ctx, s, &s->packet);
	}
	return XDP_PASS;
}

/* -- TC */

/* Read a TC packet of a guarded port. NULL: not for us, or made by us. */
weir_inline struct weir_scratch *weir_tc_packet(struct __sk_buff *skb, const struct weir_config *c,
						bool ingress, weir_u8 *service)
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

/* A connection that is older than the agent, or that the full map forgot: taken
 * in from its next request on, if the server really has it open. */
weir_inline struct weir_flow *weir_adopt(struct __sk_buff *skb, const struct weir_config *c,
					 struct weir_scratch *s, weir_u8 service)
{
	const struct weir_packet *p = &s->packet;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	struct weir_tenant *t;
	struct weir_flow *f;
	weir_u32 tenant, state;

	if (p->v6) {
		weir_copy16(tuple.ipv6.saddr, p->src);
		weir_copy16(tuple.ipv6.daddr, p->dst);
		tuple.ipv6.sport = p->sport_be;
		tuple.ipv6.dport = p->dport_be;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple.ipv4.saddr = weir_load32(p->src + 12);
		tuple.ipv4.daddr = weir_load32(p->dst + 12);
		tuple.ipv4.sport = p->sport_be;
		tuple.ipv4.dport = p->dport_be;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return NULL;
	state = sk->state;
	bpf_sk_release(sk);
	/* established, or half closed by the client (close wait) */
	if (state != 1 && state != 8)
		return NULL;
	tenant = weir_tenant_of_source(c, p->src);
	t = weir_tenant(tenant);
	if (!t)
		return NULL;
	__sync_fetch_and_add(&t->connections, 1);
	f = weir_flow_new(&s->key, tenant, WEIR_FLOW_OPEN, service, bpf_ktime_get_ns());
	if (!f) {
		__sync_fetch_and_add(&t->connections, -1);
		return NULL;
	}
	weir_count(WEIR_FLOW_ADOPTED);
	return f;
}

SEC("tc")
int weir_ingress(struct __sk_buff *skb)
{
	const struct weir_config *c = weir_config();
	const struct weir_packet *p;
	struct weir_scratch *s;
	struct weir_flow *f;
	weir_u8 service = 0;

	s = weir_tc_packet(skb, c, true, &service);
	if (!s)
		return TC_ACT_UNSPEC;
	p = &s->packet;
	if ((p->flags & (WEIR_SYN | WEIR_ACK)) == WEIR_SYN) {
		switch (weir_gate(c, s, p, service)) {
		case WEIR_GATE_PASS:
			return TC_ACT_UNSPEC;
		case WEIR_GATE_DROP:
			return TC_ACT_SHOT;
		case WEIR_GATE_RESET:
			weir_gate_reset(p, &s->out);
			s->out.partial = weir_sum_is_partial(skb, p->tcp_off) == 1;
			return weir_send_bare(skb, s, &s->out);
		}
		return TC_ACT_UNSPEC;
	}
	f = bpf_map_lookup_elem(&flows, &s->key);
	if (!f) {
		if (!p->pay_len || (p->flags & WEIR_RST)) {
			weir_count(WEIR_PASS_NO_PAYLOAD);
			return TC_ACT_UNSPEC;
		}
		f = weir_adopt(skb, c, s, service);
		if (!f) {
			weir_count(WEIR_PASS_UNTRACKED);
			return TC_ACT_UNSPEC;
		}
	}
	if (f->state == WEIR_FLOW_REFUSED)
		return weir_linger(skb, s, p, f);
	/* Only who received the SYN-ACK knows its sequence number: a forged ACK would
	 * hold the place for ever, a half-open flow expires. */
	if (f->state == WEIR_FLOW_SYN && (p->flags & WEIR_ACK) && f->tapped &&
	    p->ack == f->resp_seq)
		f->state = WEIR_FLOW_OPEN;
	if (!p->pay_len || (p->flags & WEIR_RST)) {
		weir_count(WEIR_PASS_NO_PAYLOAD);
		return TC_ACT_UNSPEC;
	}
	return weir_segment_in(skb, c, s, p, f, service);
}

SEC("tc")
int weir_egress(struct __sk_buff *skb)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s;
	struct weir_flow *f;
	weir_u8 service = 0;

	s = weir_tc_packet(skb, c, false, &service);
	if (!s)
		return TC_ACT_UNSPEC;
	f = bpf_map_lookup_elem(&flows, &s->key);
	if (!f)
		return TC_ACT_UNSPEC;
	return weir_segment_out(skb, c, s, &s->packet, f);
}

/* -- sockets */

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(weir_state, struct sock *sk, int oldstate, int newstate)
{
	const struct weir_config *c = weir_config();
	struct weir_flow_key key __attribute__((aligned(8))) = {};
	struct weir_flow *f;
	weir_u16 sport_be, family;

	if (newstate != TCP_CLOSE || !c)
		return 0;
	/* skc_num is 0 by now: the bind is undone before the state is told. */
	sport_be = BPF_CORE_READ((struct inet_sock *)sk, inet_sport);
	if (!weir_service(c, sport_be))
		return 0;
	family = sk->__sk_common.skc_family;
	if (family == AF_INET) {
		weir_u32 local = sk->__sk_common.skc_rcv_saddr, peer = sk->__sk_common.skc_daddr;

		weir_map_v4(key.server, (const weir_u8 *)&local);
		weir_map_v4(key.client, (const weir_u8 *)&peer);
	} else if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&key.server, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&key.client, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	} else {
		return 0;
	}
	key.server_port_be = sport_be;
	key.client_port_be = sk->__sk_common.skc_dport;
	f = bpf_map_lookup_elem(&flows, &key);
	if (f)
		weir_flow_close(&key, f, bpf_ktime_get_ns());
	return 0;
}

/* -- sweep */

struct weir_sweep {
	weir_u64 now_ns;
	const struct weir_config *c;
};

static long weir_sweep_flow(struct bpf_map *map, const struct weir_flow_key *key,
			    struct weir_flow *f, struct weir_sweep *w)
{
	struct weir_flow_key k __attribute__((aligned(8))) = *key;
	weir_u32 slot = f->slot;

	/* Signed: a flow may have been opened since the sweep began. */
	if (f->state == WEIR_FLOW_SYN &&
	    (weir_s64)(w->now_ns - f->opened_ns) > (weir_s64)w->c->half_open_ns) {
		weir_flow_uncount(f);
		weir_flow_gone(&k, slot);
		weir_count(WEIR_HALF_OPEN_EXPIRED);
	} else if (f->state == WEIR_FLOW_REFUSED) {
		struct weir_linger *l = bpf_map_lookup_elem(&lingers, &k);

		if (!l || (weir_s64)(w->now_ns - l->until_ns) > 0)
			weir_linger_over(&k, f);
	}
	return 0;
}

/* Not attached anywhere: the agent runs it now and then (BPF_PROG_TEST_RUN), for
 * what no packet and no socket will end. */
SEC("tc")
int weir_sweep(struct __sk_buff *skb)
{
	struct weir_sweep w = { .now_ns = bpf_ktime_get_ns(), .c = weir_config() };

	if (w.c)
		bpf_for_each_map_elem(&flows, weir_sweep_flow, &w, 0);
	return 0;
}
