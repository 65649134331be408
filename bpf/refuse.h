/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Refuses: the client gets a complete answer and the server a reset, so that it never
 * has the whole request. And closes connections that cannot be followed, both ends.
 */
#ifndef WEIR_REFUSE_H
#define WEIR_REFUSE_H

#include "admit.h"
#include "denial.h"
#include "flow.h"
#include "linger.h"
#include "send.h"

/* The figures that a reply may quote. */
weir_inline void weir_figures(const struct weir_config *c, const struct weir_tenant *t,
			      const struct weir_refusal *r, weir_u64 now, weir_u64 *fig)
{
	weir_u64 tat = weir_tokens_ahead(t, t->reserved_tokens, 0, now);

	fig[WEIR_FIG_LIMIT] = r->limit;
	fig[WEIR_FIG_VALUE] = r->value;
	fig[WEIR_FIG_ASKED] = r->asked;
	fig[WEIR_FIG_RETRY_NS] = r->retry_ns;
	fig[WEIR_FIG_REQUESTS_LIMIT] = t->requests_per_minute;
	fig[WEIR_FIG_REQUESTS_REMAINING] =
		weir_gcra_left(t->request_tat_ns, now, t->request_interval_ns * t->request_burst,
			       t->request_burst);
	fig[WEIR_FIG_REQUESTS_RESET_NS] = weir_gcra_full_in(t->request_tat_ns, now);
	fig[WEIR_FIG_TOKENS_LIMIT] = t->tokens_per_minute;
	fig[WEIR_FIG_TOKENS_REMAINING] =
		weir_gcra_left(tat, now, t->tokens_tau_ns, weir_tokens_burst(t));
	fig[WEIR_FIG_TOKENS_RESET_NS] = weir_gcra_full_in(tat, now);
	fig[WEIR_FIG_WALL_NS] = now + c->wall_offset_ns;
}

/* The RST that makes the server forget: from the client, where its next byte is due. */
weir_inline void weir_to_server(const struct weir_packet *p, weir_u32 seq, struct weir_segment *out)
{
	weir_copy16(out->src, p->src);
	weir_copy16(out->dst, p->dst);
	out->sport_be = p->sport_be;
	out->dport_be = p->dport_be;
	out->seq = seq;
	out->ack = p->ack;
	out->payload_len = 0;
	out->payload_sum = 0;
	out->flags = WEIR_RST | WEIR_ACK;
	weir_segment_like(out, p);
	out->has_ts = 0;
}

/* Refuse the request in s->request for the reasons in s->refusal. From here on the flow is
 * linger.h's. */
weir_global int weir_refuse(struct __sk_buff *skb, struct weir_flow *f)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	const struct weir_packet *p;
	struct weir_linger *l;
	struct weir_refusal *r;
	struct weir_segment *out;
	struct weir_tenant *t;
	weir_u32 len;
	int partial;

	if (!f || !c || !s)
		return TC_ACT_SHOT;
	p = &s->packet;
	l = &s->linger;
	r = &s->refusal;
	out = &s->out;
	t = weir_tenant(r->tenant);
	weir_count(r->reason);
	weir_note_denial(c, r, p->src, s->request.now_ns);
	if (!t)
		return TC_ACT_SHOT;
	if (!(f->flags & WEIR_FLOW_USED))
		weir_connect_give_back(f, s->request.now_ns);
	if (r->level) {
		struct weir_tenant *level = weir_tenant(r->level);

		if (level)
			t = level;
	}
	l->until_ns = s->request.now_ns + c->linger_ns;
	/* Behind all that the server has sent, as the tap saw it. */
	l->reply_seq = p->ack;
	if ((f->flags & WEIR_FLOW_TAPPED) && (weir_s32)(f->resp_seq - p->ack) > 0)
		l->reply_seq = f->resp_seq;
	l->acked = p->seq + p->pay_len + !!(p->flags & WEIR_FIN);
	l->fin = !!(p->flags & WEIR_FIN);
	l->pad = 0;
	l->template = s->request.dialect * WEIR_REASON_MAX + r->reason;
	weir_figures(c, t, r, s->request.now_ns, l->figures);
	len = weir_render(s, l);
	l->reply_len = len;
	f->state = WEIR_FLOW_REFUSED;
	weir_reader_drop(f);
	/* No room for lingering: this one reply is then all the client gets. */
	if (bpf_map_update_elem(&lingers, &s->key, l, BPF_ANY))
		weir_count(WEIR_DENY_MAP_FULL);

	partial = weir_sum_is_partial(skb, p->tcp_off);
	if (partial < 0)
		goto lost;
	weir_to_server(p, s->request.reset_seq, out);
	out->partial = partial;
	if (weir_make_bare(skb, out, s->headers))
		goto lost;
	skb->mark = WEIR_MARK;
	/* Should this one be lost, the server's next packet is answered with another. */
	bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
	return weir_send_reply(skb, s, p, l, len, partial);
lost:
	weir_count(WEIR_DROP_CHANGE_TAIL);
	return TC_ACT_SHOT;
}

/* Nothing more passes: what either end still says is answered with a RST, in case the first
 * was lost, or challenged since something before it was. */
weir_inline void weir_flow_shut(struct weir_flow *f)
{
	weir_u64 now = bpf_ktime_get_ns();

	if (f->state == WEIR_FLOW_CLOSED)
		return;
	weir_request_end(f, WEIR_END_CLOSE, now);
	weir_reader_drop(f);
	if (f->flags & WEIR_FLOW_FORWARDED)
		weir_flow_uncount(f); /* no socket will */
	f->opened_ns = now;
	f->state = WEIR_FLOW_CLOSED;
}

/* Close both ends on a packet from the client: the server waits for reset_seq. */
weir_global int weir_close_both(struct __sk_buff *skb, struct weir_flow *f, weir_u32 reset_seq,
				weir_u32 reason)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_packet *p;
	struct weir_segment *out;
	int partial;

	weir_count(reason);
	if (!s || !f)
		return TC_ACT_SHOT;
	p = &s->packet;
	out = &s->out;
	partial = weir_sum_is_partial(skb, p->tcp_off);
	weir_flow_shut(f);
	if (partial < 0)
		return TC_ACT_SHOT;
	weir_to_server(p, reset_seq, out);
	out->partial = partial;
	if (weir_make_bare(skb, out, s->headers))
		return TC_ACT_SHOT;
	skb->mark = WEIR_MARK;
	bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
	weir_to_client(p, p->ack, p->seq + p->pay_len, WEIR_RST | WEIR_ACK, out);
	out->partial = partial;
	return weir_send_bare(skb, s, out);
}

/* Close both ends on a packet from the server, which becomes the client's RST. */
weir_global int weir_close_from_server(struct __sk_buff *skb, struct weir_flow *f, weir_u32 reason)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_packet *p;
	struct weir_segment *out;
	int partial;

	weir_count(reason);
	if (!s || !f)
		return TC_ACT_SHOT;
	p = &s->packet;
	out = &s->out;
	partial = weir_sum_is_partial(skb, p->tcp_off);
	weir_flow_shut(f);
	if (partial < 0)
		return TC_ACT_SHOT;
	weir_to_client(p, p->ack, p->seq + p->pay_len, WEIR_RST | WEIR_ACK, out);
	out->partial = partial;
	if (weir_make_bare(skb, out, s->headers) || weir_swap_macs(skb))
		return TC_ACT_SHOT;
	skb->mark = WEIR_MARK;
	bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
	skb->mark = 0;
	weir_to_server(p, p->seq, out);
	out->partial = partial;
	if (weir_make_bare(skb, out, s->headers) || weir_swap_macs(skb))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}

#endif
