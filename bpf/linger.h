/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A refused flow, between its 429 and its last ACK. The server was reset and
 * knows nothing of it; we answer the client in its place: every segment with the
 * whole reply until the client has acknowledged it all, for a lost reply is
 * resent by nobody else, then with ACKs until the client closes. Bounded in time.
 */
#ifndef WEIR_LINGER_H
#define WEIR_LINGER_H

#include "flow.h"
#include "send.h"

#ifndef TC_ACT_UNSPEC
#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT   2
#endif

/* A segment from the server to the client of packet p (which the client sent). */
weir_inline void weir_to_client(const struct weir_packet *p, weir_u32 seq, weir_u32 ack,
				weir_u8 flags, struct weir_segment *out)
{
	weir_copy16(out->src, p->dst);
	weir_copy16(out->dst, p->src);
	out->sport_be = p->dport_be;
	out->dport_be = p->sport_be;
	out->seq = seq;
	out->ack = ack;
	out->tsval_be = p->tsecr_be;
	out->tsecr_be = p->tsval_be;
	out->payload_len = 0;
	out->payload_sum = 0;
	out->flags = flags;
	weir_segment_like(out, p);
	out->has_ts = p->has_ts && !(flags & WEIR_RST);
	out->partial = 0;
}

/* Write the reply of l's template and figures into s->text. Returns its length. */
weir_inline weir_u32 weir_render(struct weir_scratch *s, const struct weir_linger *l)
{
	weir_u32 index = l->template;
	struct weir_reply *t = bpf_map_lookup_elem(&replies, &index);

	if (!t)
		return 0;
	__builtin_memcpy(s->text.figures, l->figures, sizeof(s->text.figures));
	return weir_reply_write(&s->text, t);
}

/* Turn the skb into the whole reply in s->text (len bytes) and send it back. */
weir_inline int weir_send_reply(struct __sk_buff *skb, struct weir_scratch *s,
				const struct weir_packet *p, const struct weir_linger *l,
				weir_u32 len, int partial)
{
	struct weir_segment *out = &s->out;

	weir_to_client(p, l->reply_seq, l->acked, WEIR_PSH | WEIR_ACK | WEIR_FIN, out);
	if (!weir_within(&len, WEIR_REPLY_MAX))
		goto lost;
	out->payload_len = len;
	out->payload_sum = weir_payload_sum(s->text.bytes, len);
	out->partial = partial;
	if (bpf_skb_change_tail(skb, weir_segment_len(out), 0))
		goto lost;
	if (!weir_within(&len, WEIR_REPLY_MAX))
		goto lost;
	if (bpf_skb_store_bytes(skb, weir_segment_len(out) - out->payload_len, s->text.bytes, len,
				BPF_F_RECOMPUTE_CSUM) ||
	    weir_store_headers(skb, out, s->headers))
		goto lost;
	return weir_send_back(skb);
lost:
	weir_count(WEIR_DROP_CHANGE_TAIL);
	return TC_ACT_SHOT;
}

weir_inline int weir_send_bare(struct __sk_buff *skb, struct weir_scratch *s,
			       const struct weir_segment *out)
{
	if (weir_make_bare(skb, out, s->headers)) {
		weir_count(WEIR_DROP_CHANGE_TAIL);
		return TC_ACT_SHOT;
	}
	return weir_send_back(skb);
}

weir_inline void weir_linger_over(const struct weir_flow_key *key, struct weir_flow *f)
{
	bpf_map_delete_elem(&lingers, key);
	weir_flow_uncount(f);
	weir_flow_gone(key, f);
	weir_count(WEIR_LINGER_DONE);
}

/* A packet from the client of a refused flow. It never reaches the server. */
weir_global int weir_linger(struct __sk_buff *skb, struct weir_flow *f)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_packet *p;
	struct weir_linger *l;
	weir_u32 end, seq_end;
	weir_u64 now = bpf_ktime_get_ns();
	struct weir_segment *out;
	bool probe;
	int partial;

	if (!s || !f)
		return TC_ACT_SHOT;
	p = &s->packet;
	out = &s->out;
	l = bpf_map_lookup_elem(&lingers, &s->key);
	seq_end = p->seq + p->pay_len + !!(p->flags & WEIR_FIN);
	if (!l || (p->flags & WEIR_RST)) {
		weir_linger_over(&s->key, f);
		return TC_ACT_SHOT;
	}
	end = l->reply_seq + l->reply_len + 1;
	if ((weir_s64)(now - l->until_ns) > 0) {
		weir_to_client(p, end, l->acked, WEIR_RST | WEIR_ACK, out);
		weir_linger_over(&s->key, f);
		out->partial = weir_sum_is_partial(skb, p->tcp_off) == 1;
		return weir_send_bare(skb, s, out);
	}
	/* A probe repeats a byte that was acknowledged: it wants an ACK. */
	probe = (weir_s32)(p->seq - l->acked) < 0;
	if ((weir_s32)(seq_end - l->acked) > 0)
		l->acked = seq_end;
	if (p->flags & WEIR_FIN)
		l->fin = 1;
	if ((weir_s32)(p->ack - end) < 0) {
		weir_u32 len;

		partial = weir_sum_is_partial(skb, p->tcp_off);
		if (partial < 0) {
			weir_count(WEIR_DROP_CHANGE_TAIL);
			return TC_ACT_SHOT;
		}
		s->linger = *l;
		len = weir_render(s, &s->linger);
		weir_count(WEIR_LINGER_REPLY);
		return weir_send_reply(skb, s, p, &s->linger, len, partial);
	}
	/* It has read everything. */
	weir_to_client(p, end, l->acked, WEIR_ACK, out);
	if (l->fin)
		weir_linger_over(&s->key, f);
	if (!p->pay_len && !(p->flags & WEIR_FIN) && !probe)
		return TC_ACT_SHOT;
	partial = weir_sum_is_partial(skb, p->tcp_off);
	out->partial = partial == 1;
	weir_count(WEIR_LINGER_ACK);
	return weir_send_bare(skb, s, out);
}

#endif
