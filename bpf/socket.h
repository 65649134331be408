/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The server's socket of the connection in scratch->key, as this network namespace has it.
 */
#ifndef WEIR_SOCKET_H
#define WEIR_SOCKET_H

#include "flow.h"

enum weir_tcp_state { /* include/net/tcp_states.h */
		      WEIR_TCP_ESTABLISHED = 1,
		      WEIR_TCP_SYN_RECV = 3,
		      WEIR_TCP_CLOSE_WAIT = 8,
		      WEIR_TCP_LISTEN = 10,
		      WEIR_TCP_NEW_SYN_RECV = 12,
};

/* The socket, or a listener if there is only that; to be released. NULL: none. */
weir_inline struct bpf_sock *weir_server_socket(struct __sk_buff *skb, const struct weir_scratch *s)
{
	struct bpf_sock_tuple tuple = {};

	if (s->packet.v6) {
		weir_copy16(tuple.ipv6.saddr, s->key.client);
		weir_copy16(tuple.ipv6.daddr, s->key.server);
		tuple.ipv6.sport = s->key.client_port_be;
		tuple.ipv6.dport = s->key.server_port_be;
		return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	tuple.ipv4.saddr = weir_load32(s->key.client + 12);
	tuple.ipv4.daddr = weir_load32(s->key.server + 12);
	tuple.ipv4.sport = s->key.client_port_be;
	tuple.ipv4.dport = s->key.server_port_be;
	return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
}

/* Its state; 0: none. */
weir_global int weir_server_state(struct __sk_buff *skb)
{
	struct weir_scratch *s = weir_scratch();
	struct bpf_sock *sk;
	int state;

	if (!s)
		return 0;
	sk = weir_server_socket(skb, s);
	if (!sk)
		return 0;
	state = sk->state;
	bpf_sk_release(sk);
	return state;
}

/* The client resets. What becomes of a socket is told by its close; but a connection that the
 * server had no room to accept yet is only a request, which ends without a word. */
weir_inline void weir_client_reset(struct __sk_buff *skb, struct weir_scratch *s,
				   struct weir_flow *f)
{
	int state;

	if ((f->flags & WEIR_FLOW_FORWARDED) || s->packet.seq - f->acked > 0xffff)
		return;
	state = weir_server_state(skb);
	if (!state || state == WEIR_TCP_NEW_SYN_RECV || state == WEIR_TCP_LISTEN)
		weir_flow_close(&s->key, f, bpf_ktime_get_ns());
}

#endif
