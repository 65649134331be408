/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Takes in a connection that is older than the agent, or that was given up.
 */
#ifndef WEIR_ADOPT_H
#define WEIR_ADOPT_H

#include "admit.h"
#include "flow.h"
#include "socket.h"
#include "tenant.h"
#include "wire.h"

/* Is the packet the last of a handshake by SYN cookie? Anybody could send a listener bytes
 * from anybody's address; only who got the SYN-ACK knows the cookie. */
weir_inline bool weir_cookie_fits(struct __sk_buff *skb, struct weir_scratch *s,
				  struct bpf_sock *listener)
{
	const struct weir_packet *p = &s->packet;
	weir_u8 *tcp = s->headers + 40;

	if (bpf_skb_load_bytes(skb, p->l3_off, s->headers, p->v6 ? 40 : 20) ||
	    bpf_skb_load_bytes(skb, p->tcp_off, tcp, WEIR_TCP_LEN))
		return false;
	return !bpf_tcp_check_syncookie(listener, s->headers, 40, (struct tcphdr *)tcp,
					WEIR_TCP_LEN);
}

enum weir_adopted {
	WEIR_ADOPT_NOT,
	WEIR_ADOPT_TAKEN, /* there is a flow now */
	WEIR_ADOPT_REFUSED,
};

/* A connection that is older than the agent, that the full map forgot, or whose handshake took too
 * long: taken in from here on, if the server really has it open. Where this very segment
 * opens it, it is judged like a SYN, or a slow handshake would be a way past the limits. */
weir_global int weir_adopt(struct __sk_buff *skb, weir_u32 service)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	const struct weir_packet *p;
	struct bpf_sock *sk;
	struct weir_tenant *t;
	struct weir_flow *f;
	weir_u64 now = bpf_ktime_get_ns();
	weir_u32 reason, tenant, state, acked = 0, sent = 0;
	struct bpf_tcp_sock *tcp;
	struct bpf_sock *full;
	bool open = false, cookie;

	if (!c || !s)
		return WEIR_ADOPT_NOT;
	p = &s->packet;
	sk = weir_server_socket(skb, s);
	if (sk) {
		full = bpf_sk_fullsock(sk);
		tcp = full ? bpf_tcp_sock(full) : NULL;
		state = sk->state;
		if (tcp) {
			acked = tcp->rcv_nxt;
			sent = tcp->snd_nxt;
		}
		cookie = state == WEIR_TCP_LISTEN && weir_cookie_fits(skb, s, sk);
		bpf_sk_release(sk);
		/* Established, or half closed by the client (close wait). With SYN_RECV, or
		 * SYN cookies and so only a listener, this very segment may open it. */
		if (state == WEIR_TCP_ESTABLISHED || state == WEIR_TCP_CLOSE_WAIT)
			open = true;
		else if (state != WEIR_TCP_SYN_RECV && state != WEIR_TCP_NEW_SYN_RECV && !cookie)
			return WEIR_ADOPT_NOT;
	}
	/* Anybody can send an ACK to nobody. */
	if (!sk && !p->pay_len)
		return WEIR_ADOPT_NOT;
	tenant = weir_tenant_of_source(c, p->src);
	t = weir_tenant(tenant);
	if (!t)
		return WEIR_ADOPT_NOT;
	/* Nobody's are taken in whatever their number: else their requests passed unjudged. */
	if (!open && tenant && t->max_half_open && t->half_open >= t->max_half_open && c->enforce &&
	    !(t->flags & WEIR_TENANT_SHADOW)) {
		weir_count(WEIR_DENY_HALF_OPEN);
		return WEIR_ADOPT_REFUSED;
	}
	weir_levels(tenant, t, service, s->demand.level);
	s->demand.taken = 0;
	if (open || !sk) {
		weir_levels_add(tenant, s->demand.level + 1, weir_gauge(connections), 1);
	} else {
		__builtin_memset(&s->refusal, 0, sizeof(s->refusal));
		s->refusal.tenant = tenant;
		s->demand.enforce = c->enforce;
		reason = weir_admit_connection(s, t, WEIR_UNCHECKED_RATE, now);
		if (reason) {
			s->refusal.reason = reason;
			weir_count(reason);
			weir_note_denial(c, &s->refusal, p->src, now);
			return WEIR_ADOPT_REFUSED;
		}
	}
	/* No socket: the server is elsewhere, if it is; its next packet will show. */
	f = weir_flow_new(&s->key, s->demand.level, open ? WEIR_FLOW_OPEN : WEIR_FLOW_SYN, service,
			  now);
	if (!f) {
		weir_levels_add(tenant, s->demand.level + 1, weir_gauge(connections), -1);
		return WEIR_ADOPT_NOT;
	}
	if (!open)
		weir_half_open_begins(s, f, t, now);
	if (!sk)
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_FORWARDED);
	f->client_seq = p->seq;
	f->acked = p->seq;
	f->seen_s = now / WEIR_NS_PER_S;
	if (open) {
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_GRACE | WEIR_FLOW_TAPPED);
		f->acked = acked;
		f->resp_seq = sent;
	} else if (sk) {
		/* Nothing came before: a head begins here. */
		f->request_phase = WEIR_REQ_HEAD;
		f->next_seq = p->seq;
		f->blank_seq = p->seq;
		f->head_seq = p->seq;
		f->head_end = p->seq;
	} else {
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_GRACE);
	}
	weir_count(WEIR_FLOW_ADOPTED);
	return WEIR_ADOPT_TAKEN;
}

#endif
