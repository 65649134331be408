/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Takes in a connection that is older than the agent, or that the full map forgot.
 */
#ifndef WEIR_ADOPT_H
#define WEIR_ADOPT_H

#include "flow.h"
#include "tenant.h"

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

#endif
