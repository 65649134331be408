/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The request gate, at TC ingress: finds the head of each request on a guarded
 * connection, judges it, and lets it pass or answers it in the server's place.
 */
#ifndef WEIR_REQUEST_H
#define WEIR_REQUEST_H

#include "admit.h"
#include "denial.h"
#include "flow.h"
#include "linger.h"
#include "send.h"
#include "tenant.h"

/* Bodies that long are not followed by sequence number, which would wrap. */
#define WEIR_BODY_FOLLOWED_MAX (1ULL << 30)

/* Paths that cost nothing and are asked by machines without a key. */
weir_inline bool weir_free_path(const weir_u8 *path)
{
	weir_u64 w = weir_load64(path), w2 = weir_load64(path + 8);

	if ((w & 0x00ffffffffffffffULL) == WEIR_WORD('/', 'h', 'e', 'a', 'l', 't', 'h', 0))
		return true;
	if (w == WEIR_WORD('/', 'm', 'e', 't', 'r', 'i', 'c', 's'))
		return true;
	if (w == WEIR_WORD('/', 'v', '1', '/', 'm', 'o', 'd', 'e') &&
	    (w2 & 0xffff) == ('l' | 's' << 8))
		return true;
	if (w == WEIR_WORD('/', 'v', 'e', 'r', 's', 'i', 'o', 'n'))
		return true;
	return (w & 0x000000ffffffffffULL) == WEIR_WORD('/', 'p', 'i', 'n', 'g', 0, 0, 0);
}

weir_inline bool weir_anthropic_path(const weir_u8 *path)
{
	return weir_load64(path) == WEIR_WORD('/', 'v', '1', '/', 'm', 'e', 's', 's') &&
	       (weir_load32(path + 8) & 0xffffffff) ==
		       ('a' | 'g' << 8 | 'e' << 16 | (weir_u32)'s' << 24);
}

/* Read the scanned head into rq. false: not a request we understand. */
weir_inline bool weir_read_request(struct weir_head *h, struct weir_request *rq)
{
	weir_u64 first = weir_load64(h->bytes);
	weir_u32 method = weir_word_find(first, ' ');

	weir_opaque(method);
	if (!weir_head_is_request(h) || method > 7 || method < 3)
		return false;
	const weir_u8 *path = h->bytes + method + 1;

	rq->path_off = method + 1;
	rq->body_bytes = weir_head_chunked(h) ? WEIR_NO_LENGTH : weir_head_content_length(h);
	if (!weir_head_chunked(h) && !h->value[WEIR_HDR_CONTENT_LENGTH].end)
		rq->body_bytes = 0;
	rq->head_method = (first & 0xffffffffff) == WEIR_WORD('H', 'E', 'A', 'D', ' ', 0, 0, 0);
	if (rq->head_method || (first & 0xffffffff) == WEIR_WORD('G', 'E', 'T', ' ', 0, 0, 0, 0))
		rq->free = weir_free_path(path);
	else
		rq->free = first == WEIR_WORD('O', 'P', 'T', 'I', 'O', 'N', 'S', ' ');
	if (weir_anthropic_path(path))
		rq->dialect = WEIR_API_ANTHROPIC;
	return true;
}

/* Whose request is it? 0 with *tenant set, or the reason to refuse. */
weir_inline weir_u32 weir_whose(const struct weir_config *c, struct weir_scratch *s,
				const struct weir_packet *p, weir_u64 now, weir_u32 *tenant)
{
	enum weir_key_found k = weir_tenant_by_key(c, s, now, tenant);

	if (k == WEIR_KEY_KNOWN)
		return 0;
	*tenant = weir_tenant_of_source(c, p->src);
	if (k == WEIR_KEY_UNKNOWN && c->unknown_key == WEIR_UNKNOWN_KEY_REFUSE)
		return WEIR_DENY_UNKNOWN_KEY;
	return *tenant ? 0 : WEIR_DENY_NO_TENANT;
}

/* The connection is its tenant's by source until a key says otherwise: move it
 * to the gauge of the key's tenant. 0, or the reason that tenant may not have it. */
weir_inline weir_u32 weir_move_connection(struct weir_flow *f, weir_u32 tenant,
					  struct weir_tenant *t, weir_u64 now,
					  struct weir_refusal *r)
{
	struct weir_tenant *old;
	weir_u32 reason;

	if (f->tenant == tenant)
		return 0;
	reason = weir_admit_connection(t, now, r);
	if (reason)
		return reason;
	old = weir_tenant(f->tenant);
	if (__sync_val_compare_and_swap(&f->counted, 1, 0) != 1) {
		/* Closing at this moment: nobody would give this one back. */
		__sync_fetch_and_add(&t->connections, -1);
		return 0;
	}
	if (old) {
		__sync_fetch_and_add(&old->connections, -1);
		if (f->gate_charged)
			weir_connect_give_back(old);
	}
	f->tenant = tenant;
	f->gate_charged = 1;
	__sync_val_compare_and_swap(&f->counted, 0, 1);
	return 0;
}

/* The slot becomes this request's, and user space is told. */
weir_inline void weir_request_open(const struct weir_config *c, struct weir_scratch *s,
				   const struct weir_packet *p, struct weir_flow *f,
				   struct weir_slot *slot, const struct weir_request *rq,
				   weir_u32 tenant, weir_u32 wallet, weir_s64 reserved,
				   weir_u32 flags)
{
	struct weir_rec_request *rec;
	weir_u32 path = rq->path_off;

	f->ordinal++;
	f->resp_phase = WEIR_RESP_HEAD;
	f->resp_offset = 0;
	f->lost = 0;
	slot->tenant = tenant;
	slot->wallet = wallet;
	slot->ordinal = f->ordinal;
	slot->service = rq->service;
	slot->started_ns = rq->now_ns;
	slot->started_wall_ns = rq->now_ns + c->wall_offset_ns;
	slot->reserved_nano = reserved;
	slot->flags = flags;
	__sync_val_compare_and_swap(&slot->state, WEIR_SLOT_IDLE,
				    rq->free ? WEIR_SLOT_FREE : WEIR_SLOT_OPEN);
	if (rq->free)
		return;
	/* The last of the room is kept for END records, which settle by themselves. */
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > c->ring_data_max) {
		weir_count(WEIR_TAP_LOST);
		return;
	}
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		weir_count(WEIR_TAP_LOST);
		return;
	}
	rec->h.type = WEIR_REC_REQUEST;
	rec->h.flags = 0;
	rec->h.service = rq->service;
	rec->h.slot = f->slot;
	rec->h.ordinal = f->ordinal;
	rec->h.len = 0;
	rec->h.time_ns = rq->now_ns;
	rec->started_wall_ns = slot->started_wall_ns;
	rec->reserved_nano = reserved;
	rec->body_bytes = rq->body_bytes;
	rec->tenant = tenant;
	rec->wallet = wallet;
	rec->flags = flags;
	rec->pad = 0;
	__builtin_memcpy(rec->method, s->head.bytes, WEIR_METHOD_BYTES);
	weir_opaque(path);
	if (path <= 8)
		__builtin_memcpy(rec->path, s->head.bytes + path, WEIR_PATH_BYTES);
	else
		rec->path[0] = 0;
	weir_copy16(rec->client, p->src);
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
}

/* The figures that a reply may quote. */
weir_inline void weir_figures(const struct weir_config *c, const struct weir_tenant *t,
			      const struct weir_refusal *r, weir_u64 now, weir_u64 *fig)
{
	weir_u64 tat = weir_tokens_tat(t);

	fig[WEIR_FIG_LIMIT] = r->limit;
	fig[WEIR_FIG_VALUE] = r->value;
	fig[WEIR_FIG_ASKED] = r->asked;
	fig[WEIR_FIG_RETRY_NS] = r->retry_ns;
	fig[WEIR_FIG_REQUESTS_LIMIT] = t->requests_per_minute;
	fig[WEIR_FIG_REQUESTS_REMAINING] =
		weir_gcra_left(t->request_tat_ns, now, t->request_tau_ns, t->request_burst);
	fig[WEIR_FIG_REQUESTS_RESET_NS] = weir_gcra_full_in(t->request_tat_ns, now);
	fig[WEIR_FIG_TOKENS_LIMIT] = t->tokens_per_minute;
	fig[WEIR_FIG_TOKENS_REMAINING] =
		weir_gcra_left(tat, now, t->tokens_tau_ns, t->tokens_burst);
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

/* Refuse in place: the server gets a RST where the request would have begun, the
 * client a complete answer. From here on the flow is linger.h's. */
weir_inline int weir_refuse(struct __sk_buff *skb, const struct weir_config *c,
			    struct weir_scratch *s, const struct weir_packet *p,
			    struct weir_flow *f, const struct weir_request *rq,
			    const struct weir_refusal *r)
{
	struct weir_linger *l = &s->linger;
	struct weir_tenant *t = weir_tenant(r->tenant);
	struct weir_segment *out = &s->out;
	weir_u32 len;
	int partial;

	weir_count(r->reason);
	weir_note_denial(c, r, p->src, rq->now_ns);
	if (!t)
		return TC_ACT_SHOT;
	if (!f->ordinal && f->gate_charged) {
		struct weir_tenant *held = weir_tenant(f->tenant);

		if (held)
			weir_connect_give_back(held);
	}
	l->until_ns = rq->now_ns + c->linger_ns;
	/* Behind all that the server has sent, as the tap saw it. */
	l->reply_seq = p->ack;
	if (f->tapped && (weir_s32)(f->resp_seq - p->ack) > 0)
		l->reply_seq = f->resp_seq;
	l->acked = p->seq + p->pay_len + !!(p->flags & WEIR_FIN);
	l->fin = !!(p->flags & WEIR_FIN);
	l->pad = 0;
	l->template = rq->dialect * WEIR_REASON_MAX + r->reason;
	weir_figures(c, t, r, rq->now_ns, l->figures);
	len = weir_render(s, l);
	l->reply_len = len;
	f->state = WEIR_FLOW_REFUSED;
	/* No room for lingering: this one reply is then all the client gets. */
	if (bpf_map_update_elem(&lingers, &s->key, l, BPF_ANY))
		weir_count(WEIR_DENY_MAP_FULL);

	partial = weir_sum_is_partial(skb, p->tcp_off);
	if (partial < 0)
		goto lost;
	weir_to_server(p, rq->head_seq, out);
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

/* Two answers at once on one connection cannot be told apart: close both ends. */
weir_inline int weir_close_both(struct __sk_buff *skb, struct weir_scratch *s,
				const struct weir_packet *p, weir_u32 head_seq)
{
	int partial = weir_sum_is_partial(skb, p->tcp_off);
	struct weir_segment *out = &s->out;

	weir_count(WEIR_DROP_PIPELINED);
	if (partial < 0)
		return TC_ACT_SHOT;
	weir_to_server(p, head_seq, out);
	out->partial = partial;
	if (weir_make_bare(skb, out, s->headers))
		return TC_ACT_SHOT;
	skb->mark = WEIR_MARK;
	bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
	weir_to_client(p, p->ack, p->seq + p->pay_len, WEIR_RST | WEIR_ACK, out);
	out->partial = partial;
	return weir_send_bare(skb, s, out);
}

/* What a segment holds behind a request's body: nothing, the empty line that old
 * clients send there (RFC 9112 2.2), or more (-1), which can only be another
 * request: it would reach the server unjudged. */
weir_inline int weir_behind_body(struct __sk_buff *skb, const struct weir_scratch *s,
				 const struct weir_packet *p, const struct weir_request *rq)
{
	weir_u32 rest = p->seq + p->pay_len - rq->head_seq - s->head.head_len;
	weir_u16 last = 0;

	if (rest <= rq->body_bytes)
		return 0;
	if (rest - rq->body_bytes == 2 &&
	    !bpf_skb_load_bytes(skb, p->pay_off + p->pay_len - 2, &last, 2) &&
	    last == ('\r' | '\n' << 8))
		return 2;
	return -1;
}

/* Judge the request whose head was scanned into s->head. */
weir_inline int weir_judge(struct __sk_buff *skb, const struct weir_config *c,
			   struct weir_scratch *s, const struct weir_packet *p, struct weir_flow *f,
			   struct weir_request *rq)
{
	struct weir_slot *slot = bpf_map_lookup_elem(&slots, &f->slot);
	weir_u32 tenant = WEIR_NO_TENANT, wallet_index, reason, flags = 0;
	struct weir_tenant *t, *wallet;
	struct weir_refusal *r = &s->refusal;
	weir_s64 reserve = 0;
	bool unchecked = false;
	int behind = weir_behind_body(skb, s, p, rq);

	if (!slot) {
		weir_count(WEIR_PASS_INTERNAL);
		return TC_ACT_UNSPEC;
	}
	if (behind < 0)
		return weir_close_both(skb, s, p, rq->head_seq);
	if (slot->state != WEIR_SLOT_IDLE) {
		if (f->resp_phase != WEIR_RESP_CLOSE)
			return weir_close_both(skb, s, p, rq->head_seq);
		weir_request_end(f, WEIR_END_NEXT, rq->now_ns);
	}
	/* Where the next head will be. */
	f->head_seq = rq->head_seq + s->head.head_len + (weir_u32)rq->body_bytes + behind;
	f->request_phase = WEIR_REQ_HEAD;
	if (rq->body_bytes > WEIR_BODY_FOLLOWED_MAX)
		f->request_phase = WEIR_REQ_UNSURE;
	if (rq->head_method)
		flags |= WEIR_SLOT_HEAD_METHOD;
	if (rq->free) {
		weir_count(WEIR_PASS_FREE);
		weir_request_open(c, s, p, f, slot, rq, 0, 0, 0, flags);
		return TC_ACT_UNSPEC;
	}

	__builtin_memset(r, 0, sizeof(*r));
	reason = weir_whose(c, s, p, rq->now_ns, &tenant);
	r->tenant = tenant;
	t = weir_tenant(tenant);
	if (!t) {
		weir_count(WEIR_PASS_INTERNAL);
		return TC_ACT_UNSPEC;
	}
	wallet_index = t->wallet;
	wallet = weir_tenant(wallet_index);
	if (!wallet) {
		weir_count(WEIR_PASS_INTERNAL);
		return TC_ACT_UNSPEC;
	}
	if (!reason) {
		reason = weir_move_connection(f, tenant, t, rq->now_ns, r);
		if (!reason &&
		    (weir_agent_down(c, rq->now_ns) ||
		     bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > c->ring_request_max)) {
			unchecked = t->on_agent_down == WEIR_DOWN_OPEN;
			if (t->on_agent_down == WEIR_DOWN_CLOSED) {
				r->retry_ns = WEIR_RETRY_GAUGE_NS;
				reason = WEIR_DENY_AGENT_DOWN;
			}
		}
		if (!reason) {
			reserve = weir_reservation(t, rq->body_bytes);
			reason = weir_admit_request(t, wallet, unchecked, reserve, rq->now_ns, r);
		}
	}
	if (reason) {
		r->reason = reason;
		if (c->enforce && !(t->flags & WEIR_TENANT_SHADOW))
			return weir_refuse(skb, c, s, p, f, rq, r);
		/* Would have been refused: counted as such, then on as if admitted. */
		weir_count(WEIR_ADMIT_SHADOW);
		weir_note_denial(c, r, p->src, rq->now_ns);
		__sync_fetch_and_add(&t->inflight, 1);
		__sync_fetch_and_add(&t->admitted, 1);
		__sync_fetch_and_add(&wallet->reserved_nano, reserve);
		flags |= WEIR_SLOT_SHADOW;
	} else {
		weir_count(WEIR_ADMIT_REQUEST);
	}
	weir_request_open(c, s, p, f, slot, rq, tenant, wallet_index, reserve, flags);
	return TC_ACT_UNSPEC;
}

/* A segment with payload on an open flow. */
weir_inline int weir_segment_in(struct __sk_buff *skb, const struct weir_config *c,
				struct weir_scratch *s, const struct weir_packet *p,
				struct weir_flow *f, weir_u8 service)
{
	struct weir_request *rq = &s->request;
	weir_u32 off = 0, len, dialect = service;

	if (f->request_phase == WEIR_REQ_HEAD) {
		weir_s32 before = f->head_seq - p->seq;

		if (before >= (weir_s32)p->pay_len) {
			weir_count(WEIR_PASS_BODY);
			return TC_ACT_UNSPEC;
		}
		if (before < 0) {
			weir_count(WEIR_DROP_OUT_OF_ORDER);
			return TC_ACT_SHOT;
		}
		off = before;
	} else {
		struct weir_slot *slot = bpf_map_lookup_elem(&slots, &f->slot);

		if (slot && slot->state != WEIR_SLOT_IDLE && f->resp_phase != WEIR_RESP_CLOSE) {
			weir_count(WEIR_PASS_BODY);
			return TC_ACT_UNSPEC;
		}
	}
	len = p->pay_len - off;
	if (len > WEIR_HEAD_MAX)
		len = WEIR_HEAD_MAX;
	if (!weir_within(&len, WEIR_HEAD_MAX) ||
	    bpf_skb_load_bytes(skb, p->pay_off + off, s->head.bytes, len)) {
		weir_count(WEIR_PASS_INTERNAL);
		return TC_ACT_UNSPEC;
	}
	if (!weir_head_maybe_request(weir_load64(s->head.bytes))) {
		f->request_phase = WEIR_REQ_UNSURE;
		weir_count(WEIR_PASS_MALFORMED);
		return TC_ACT_UNSPEC;
	}
	weir_head_start(&s->head, len);
	if (weir_head_scan(&s->head) != WEIR_HEAD_DONE) {
		f->request_phase = WEIR_REQ_UNSURE;
		weir_count(WEIR_PASS_SPLIT_HEAD);
		return TC_ACT_UNSPEC;
	}
	weir_opaque(dialect);
	__builtin_memset(rq, 0, sizeof(*rq));
	rq->service = service;
	if (dialect < WEIR_MAX_SERVICES)
		rq->dialect = c->services[dialect].dialect;
	if (!weir_read_request(&s->head, rq) || rq->dialect >= WEIR_API_MAX) {
		f->request_phase = WEIR_REQ_UNSURE;
		weir_count(WEIR_PASS_MALFORMED);
		return TC_ACT_UNSPEC;
	}
	rq->head_seq = p->seq + off;
	rq->now_ns = bpf_ktime_get_ns();
	return weir_judge(skb, c, s, p, f, rq);
}

#endif
