/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Takes in a connection that is older than the agent, or that the full map forgot.
 */
#ifndef WEIR_ADOPT_H
#define WEIR_ADOPT_H

#include "flow.h"
#include "tenant.h"
#include "wire.h"

/* A connection that is older than the agent, or that the full map forgot: taken
 * in from its next request on, if the server really has it open. */
weir_global int weir_adopt(struct __sk_buff *skb, weir_u32 service)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	const struct weir_packet *p;
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	struct weir_tenant *t;
	struct weir_flow *f;
	weir_u64 now = bpf_ktime_get_ns();
	weir_u32 tenant, state;

	if (!c || !s)
		return 0;
	p = &s->packet;
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
	if (sk) {
		state = sk->state;
		bpf_sk_release(sk);
		/* established, or half closed by the client (close wait); a listener has no
		 * such connection */
		if (state != 1 && state != 8)
			return 0;
	}
	tenant = weir_tenant_of_source(c, p->src);
	t = weir_tenant(tenant);
	if (!t)
		return 0;
	__sync_fetch_and_add(&t->connections, 1);
	/* No socket: the server is elsewhere, if it is; its next packet will show. */
	f = weir_flow_new(&s->key, tenant, sk ? WEIR_FLOW_OPEN : WEIR_FLOW_SYN, service, now);
	if (!f) {
		__sync_fetch_and_add(&t->connections, -1);
		return 0;
	}
	f->flags = WEIR_FLOW_GRACE | (sk ? 0 : WEIR_FLOW_FORWARDED);
	f->client_seq = p->seq;
	f->acked = p->seq;
	f->seen_s = now / WEIR_NS_PER_S;
	weir_count(WEIR_FLOW_ADOPTED);
	return 1;
}

#endif
