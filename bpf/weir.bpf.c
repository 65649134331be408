// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel programs. A packet's path, in the order it happens:
 *
 *   weir_xdp      a SYN to a guarded port        gate.h
 *   weir_ingress  the same where XDP is not, then request heads    stream.h, linger.h
 *   weir_egress   answers                        tap.h
 *   weir_state, weir_sockops   sockets that close    flow.h
 *   weir_sweep, weir_reap      what never closed (run by the agent)
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
#include "leave.h"
#include "linger.h"
#include "mac_header.h"
#include "stream.h"
#include "send.h"
#include "socket.h"
#include "syn_options.h"
#include "tap.h"
#include "adopt.h"
#include "tc_packet.h"
#include "xdp_reply.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TCP_CLOSE 7
#define AF_INET	  2
#define AF_INET6  10

/* -- XDP */

SEC("xdp.frags")
int weir_xdp(struct xdp_md *ctx)
{
	weir_u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct weir_config *c;
	struct weir_scratch *s;
	const weir_u8 *l4;
	weir_u32 found;
	weir_u8 service;

	/* Whatever cannot be read here, TC sees again; fragments too. */
	found = weir_find_plain(data, end, WEIR_ETH_LEN);
	if (found == WEIR_PARSE_LOOK) {
		found = weir_xdp_find(ctx);
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
	}
	if (weir_found_parse(found) != WEIR_PARSE_TCP)
		return XDP_PASS;
	l4 = data + weir_found_l4(found);
	if (l4 + WEIR_TCP_LEN > end)
		return XDP_PASS;
	if ((l4[13] & (WEIR_SYN | WEIR_ACK)) != WEIR_SYN)
		return XDP_PASS;
	c = weir_config();
	if (!c)
		return XDP_PASS;
	service = weir_service(c, weir_load16(l4 + 2));
	if (!service)
		return XDP_PASS;
	if (c->frozen) {
		weir_count(WEIR_DROP_FROZEN);
		return XDP_DROP;
	}
	s = weir_scratch();
	if (!s || !weir_xdp_read(ctx, found, &s->packet))
		return XDP_PASS;
	switch (weir_gate(service, true)) {
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

/* What the programs on the hooks have read and found to be of a guarded port goes on here: so
 * that this, which is most of it, is verified once and not for each kind of device. */
enum weir_back { WEIR_BACK_CLIENT, WEIR_BACK_SERVER, WEIR_BACKS };

int weir_client(struct __sk_buff *skb);
int weir_server(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, WEIR_BACKS);
	__uint(key_size, sizeof(weir_u32));
	__array(values, int(void *));
} backs SEC(".maps") = {
	.values = {
		[WEIR_BACK_CLIENT] = (void *)&weir_client,
		[WEIR_BACK_SERVER] = (void *)&weir_server,
	},
};

/* l2_len: of the device's own header. */
weir_inline int weir_hook(struct __sk_buff *skb, bool ingress, weir_u32 l2_len)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s;
	weir_u8 service = 0;
	int verdict;

	s = weir_tc_packet(skb, c, ingress, l2_len, &service, &verdict);
	if (!s)
		return verdict;
	if (c->frozen) {
		weir_count(WEIR_DROP_FROZEN);
		return TC_ACT_SHOT;
	}
	s->request.service = service;
	bpf_tail_call(skb, &backs, ingress ? WEIR_BACK_CLIENT : WEIR_BACK_SERVER);
	weir_count(WEIR_PASS_INTERNAL);
	return TC_ACT_UNSPEC;
}

/* A packet to a guarded port, in scratch. */
SEC("tc")
int weir_client(struct __sk_buff *skb)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_packet *p;
	struct weir_flow *f;
	weir_u32 service;
	int verdict = TC_ACT_UNSPEC;

	if (!s)
		return TC_ACT_UNSPEC;
	service = s->request.service;
	p = &s->packet;
	if ((p->flags & (WEIR_SYN | WEIR_ACK)) == WEIR_SYN) {
		switch (weir_gate(service, false)) {
		case WEIR_GATE_PASS:
			weir_syn_passes(skb, s);
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
		int adopted = WEIR_ADOPT_NOT;

		/* A bare ACK may be the last of a handshake that was given up. */
		if (!(p->flags & WEIR_RST) &&
		    (p->pay_len || (p->flags & (WEIR_ACK | WEIR_FIN)) == WEIR_ACK))
			adopted = weir_adopt(skb, service);
		if (adopted == WEIR_ADOPT_REFUSED)
			return TC_ACT_SHOT;
		f = bpf_map_lookup_elem(&flows, &s->key);
		if (!f) {
			weir_count(p->pay_len && !(p->flags & WEIR_RST) ? WEIR_PASS_UNTRACKED
									: WEIR_PASS_NO_PAYLOAD);
			return TC_ACT_UNSPEC;
		}
	}
	if (f->state == WEIR_FLOW_REFUSED)
		return weir_linger(skb, f);
	if (f->state == WEIR_FLOW_CLOSED) {
		if (!(p->flags & WEIR_RST))
			return weir_close_both(skb, f, f->acked, WEIR_DROP_REFUSED_FLOW);
		if (p->seq != f->acked) {
			weir_count(WEIR_DROP_REFUSED_FLOW);
			return TC_ACT_SHOT;
		}
		weir_count(WEIR_PASS_NO_PAYLOAD);
		weir_flow_uncount(f);
		weir_flow_gone(&s->key, f);
		return TC_ACT_UNSPEC;
	}
	/* Only who received the SYN-ACK knows its sequence number: a forged ACK would
	 * hold the place for ever, a half-open flow expires. */
	if (f->state == WEIR_FLOW_SYN && (p->flags & (WEIR_ACK | WEIR_RST)) == WEIR_ACK &&
	    (f->flags & WEIR_FLOW_TAPPED) && p->ack == f->resp_seq) {
		f->state = WEIR_FLOW_OPEN;
		weir_half_open_over(f);
	}
	/* What does not complete the handshake, its server will not take for a request: it may
	 * come from anybody, in anybody's name. */
	if (f->state == WEIR_FLOW_SYN && (f->flags & WEIR_FLOW_TAPPED) && p->pay_len) {
		weir_count(WEIR_DROP_OUT_OF_ORDER);
		return TC_ACT_SHOT;
	}
	if (f->reader)
		weir_reader_settle(f);
	if (!p->pay_len || (p->flags & WEIR_RST))
		weir_count(WEIR_PASS_NO_PAYLOAD);
	else
		verdict = weir_segment_in(skb, s, f);
	if ((p->flags & (WEIR_FIN | WEIR_RST)) && verdict == TC_ACT_UNSPEC)
		weir_client_leaves(f, p);
	if (verdict == TC_ACT_UNSPEC && (f->flags & WEIR_FLOW_FORWARDED))
		weir_wire_in(s, f, p);
	else if (p->flags & WEIR_RST)
		weir_client_reset(skb, s, f);
	return verdict;
}

/* A packet from a guarded port, in scratch. */
SEC("tc")
int weir_server(struct __sk_buff *skb)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	struct weir_flow *f;

	if (!c || !s)
		return TC_ACT_UNSPEC;
	f = bpf_map_lookup_elem(&flows, &s->key);
	if (!f)
		return TC_ACT_UNSPEC;
	return weir_segment_out(skb, c, s, &s->packet, f);
}

SEC("tc")
int weir_ingress(struct __sk_buff *skb)
{
	weir_put_header_back(skb);
	return weir_hook(skb, true, WEIR_ETH_LEN);
}

SEC("tc")
int weir_egress(struct __sk_buff *skb)
{
	return weir_hook(skb, false, WEIR_ETH_LEN);
}

/* On devices without a header of their own. */
SEC("tc")
int weir_ingress_l3(struct __sk_buff *skb)
{
	return weir_hook(skb, true, 0);
}

SEC("tc")
int weir_egress_l3(struct __sk_buff *skb)
{
	return weir_hook(skb, false, 0);
}

/* -- sockets */

weir_inline bool weir_our_netns(const struct weir_config *c, weir_u32 inum)
{
	if (!c->n_netns)
		return true;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_MAX_NETNS; i++)
		if (i < c->n_netns && c->netns[i] == inum)
			return true;
	return false;
}

/* The connection of a socket, if it is followed. The key is the caller's, on its stack. */
weir_inline struct weir_flow *weir_flow_of_socket(const struct weir_config *c, struct sock *sk,
						  struct weir_flow_key *key)
{
	weir_u16 sport_be, family;

	/* skc_num is 0 when it closes: the bind is undone before the state is told. */
	sport_be = BPF_CORE_READ((struct inet_sock *)sk, inet_sport);
	if (!weir_service(c, sport_be))
		return NULL;
	if (!weir_our_netns(c, sk->__sk_common.skc_net.net->ns.inum))
		return NULL;
	family = sk->__sk_common.skc_family;
	if (family == AF_INET) {
		weir_u32 local = sk->__sk_common.skc_rcv_saddr, peer = sk->__sk_common.skc_daddr;

		weir_map_v4(key->server, (const weir_u8 *)&local);
		weir_map_v4(key->client, (const weir_u8 *)&peer);
	} else if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&key->server, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&key->client, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	} else {
		return NULL;
	}
	key->server_port_be = sport_be;
	key->client_port_be = sk->__sk_common.skc_dport;
	return bpf_map_lookup_elem(&flows, key);
}

/* A socket closes. */
weir_inline int weir_socket_closes(struct sock *sk)
{
	struct weir_flow_key key __attribute__((aligned(8))) = {};
	const struct weir_config *c = weir_config();
	struct weir_flow *f;

	if (!c)
		return 0;
	f = weir_flow_of_socket(c, sk, &key);
	if (!f)
		return 0;
	/* A close is not sent again, as a packet is: the agent makes up for it. */
	if (c->frozen)
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_SOCKET_GONE);
	else
		weir_flow_close(&key, f, bpf_ktime_get_ns());
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(weir_state, struct sock *sk, int oldstate, int newstate)
{
	return newstate == TCP_CLOSE ? weir_socket_closes(sk) : 0;
}

/* The same once more, for connections that begin under it: the kernel does not run a tracing
 * program inside itself, so a socket that an interrupt closes while that one runs, for whatever
 * socket of whatever task, is not told. Programs of cgroups have no such guard. Who comes
 * second finds nothing to do. */
SEC("sockops")
int weir_sockops(struct bpf_sock_ops *ops)
{
	struct weir_flow_key key __attribute__((aligned(8))) = {};
	const struct weir_config *c = weir_config();
	struct tcp_sock *tcp;
	struct weir_flow *f;
	struct bpf_sock *sk;

	if (!c || !weir_service(c, weir_swap16(ops->local_port)))
		return 1;
	sk = ops->sk;
	tcp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	if (!tcp)
		return 1;
	switch (ops->op) {
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		bpf_sock_ops_cb_flags_set(ops,
					  ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		/* One whose SYN-ACK we did not see, for its handshake had been given up. */
		f = weir_flow_of_socket(c, (struct sock *)tcp, &key);
		if (f && f->state == WEIR_FLOW_SYN) {
			f->state = WEIR_FLOW_OPEN;
			weir_half_open_over(f);
		}
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == TCP_CLOSE)
			weir_socket_closes((struct sock *)tcp);
		break;
	}
	return 1;
}

/* -- sweep */

#define WEIR_SWEEP_EXPIRE 256

struct weir_sweep {
	weir_u64 now_ns;
	const struct weir_config *c;
};

static long weir_sweep_flow(struct bpf_map *map, const struct weir_flow_key *key,
			    struct weir_flow *f, struct weir_sweep *w)
{
	struct weir_flow_key k __attribute__((aligned(8))) = *key;

	/* Signed: a flow may have been opened since the sweep began. */
	if (f->state == WEIR_FLOW_SYN &&
	    (weir_s64)(w->now_ns - f->opened_ns) > (weir_s64)w->c->half_open_ns) {
		weir_flow_close(&k, f, w->now_ns);
		weir_count(WEIR_HALF_OPEN_EXPIRED);
	} else if (f->state == WEIR_FLOW_REFUSED) {
		struct weir_linger *l = bpf_map_lookup_elem(&lingers, &k);

		if (!l || (weir_s64)(w->now_ns - l->until_ns) > 0)
			weir_linger_over(&k, f);
	} else if (f->state == WEIR_FLOW_CLOSED) {
		if ((weir_s64)(w->now_ns - f->opened_ns) > (weir_s64)w->c->linger_ns) {
			weir_flow_uncount(f);
			weir_flow_gone(&k, f);
		}
	} else if (f->request_phase == WEIR_REQ_PARTS || f->request_phase == WEIR_REQ_CHUNKS ||
		   f->request_phase == WEIR_REQ_RULES) {
		struct weir_reader *r = weir_reader(f->reader);

		/* Its next segment closes it (stream.h). */
		if (r && (weir_s64)(w->now_ns - r->began_ns) > (weir_s64)w->c->head_timeout_ns) {
			f->request_phase = WEIR_REQ_EXPIRED;
			weir_reader_drop(f);
		}
	} else if (f->request_phase == WEIR_REQ_HEAD && f->reader) {
		struct weir_reader *r = weir_reader(f->reader);

		/* The server has it all, and the client says nothing any more. */
		if (r && (weir_s64)(w->now_ns - r->began_ns) > (weir_s64)WEIR_NS_PER_S &&
		    !weir_before(f->acked, r->until))
			weir_reader_drop(f);
	} else if ((f->flags & WEIR_FLOW_FORWARDED) &&
		   (weir_s32)(w->now_ns / WEIR_NS_PER_S - f->seen_s) >
			   (weir_s32)(w->c->idle_timeout_ns / WEIR_NS_PER_S)) {
		weir_flow_close(&k, f, w->now_ns);
		weir_count(WEIR_IDLE_EXPIRED);
	}
	return 0;
}

/* Not attached anywhere: the agent runs it now and then (BPF_PROG_TEST_RUN), for
 * what no packet and no socket will end. */
SEC("tc")
int weir_sweep(struct __sk_buff *skb)
{
	struct weir_sweep w = { .now_ns = bpf_ktime_get_ns(), .c = weir_config() };

	/* What found room in the queue goes without a walk over all. */
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_SWEEP_EXPIRE; i++)
		if (!weir_half_open_expire(w.now_ns))
			break;

	if (w.c)
		bpf_for_each_map_elem(&flows, weir_sweep_flow, &w, 0);
	return 0;
}

/* Not attached either: the agent found connections that have no socket, packed in the frame it
 * runs this on (struct weir_reap). What has changed since is left alone. */
SEC("tc")
int weir_reap(struct __sk_buff *skb)
{
	weir_u64 now = bpf_ktime_get_ns();

#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_REAP_MAX; i++) {
		struct weir_reap r __attribute__((aligned(8)));
		struct weir_flow *f;

		if (bpf_skb_load_bytes(skb, WEIR_REAP_OFFSET + i * sizeof(r), &r, sizeof(r)))
			break;
		f = bpf_map_lookup_elem(&flows, &r.key);
		if (!f || f->opened_ns != r.opened_ns || f->state >= WEIR_FLOW_REFUSED ||
		    (f->flags & WEIR_FLOW_FORWARDED))
			continue;
		weir_flow_close(&r.key, f, now);
		weir_count(WEIR_DRIFT_FLOW);
	}
	return 0;
}
