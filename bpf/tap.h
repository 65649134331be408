/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The response tap, at TC egress: copies what the server answers to judged
 * requests into the ring, in order, each byte once, and finds where an answer
 * ends, so that its place in flight is free at that moment, agent or no agent.
 */
#ifndef WEIR_TAP_H
#define WEIR_TAP_H

#include "chunk_walk.h"
#include "flow.h"
#include "linger.h"
#include "reader.h"
#include "refuse.h"
#include "socket.h"
#include "request.h"
#include "send.h"
#include "ship.h"
#include "wire.h"

/* -- vectors: of their answers only the start and the end are shipped */

/* A plain body of `length` bytes begins, at byte `at` of its answer: what of it is wanted? */
weir_inline void weir_skip_begins(struct weir_flow *f, weir_u64 at, weir_u64 length)
{
	if (at <= WEIR_SKIP_HEAD && at + length > WEIR_SKIP_MIN)
		f->skip_to = at + length - WEIR_SKIP_TAIL;
}

/* How many of the answer's next n bytes are not wanted? They are all in a row. */
weir_inline weir_u32 weir_skipped(const struct weir_flow *f, weir_u32 n)
{
	weir_u64 from = f->resp_offset, to = from + n;

	if (from < WEIR_SKIP_HEAD)
		from = WEIR_SKIP_HEAD;
	if (to > f->skip_to)
		to = f->skip_to;
	return from < to ? to - from : 0;
}

/* Ship a segment of an answer of vectors, len bytes at off; `shipped` of it was before. */
weir_global int weir_ship_around(struct __sk_buff *skb, struct weir_flow *f, weir_u32 off,
				 weir_u32 len, weir_u32 shipped)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	weir_u32 skipped, before = 0, lost = 0;
	weir_u64 at;

	if (!f || !c || !s)
		return 0;
	at = f->resp_offset;
	skipped = weir_skipped(f, len);
	if (at < WEIR_SKIP_HEAD)
		before = WEIR_SKIP_HEAD - at;
	if (!skipped)
		before = len;
	if (before > len)
		before = len;
	if (before > shipped)
		lost = weir_ship(skb, c, s, f, WEIR_REC_DATA, off + shipped, before - shipped,
				 at + shipped);
	before += skipped;
	if (before < len)
		lost += weir_ship(skb, c, s, f, WEIR_REC_DATA, off + before, len - before,
				  at + before);
	f->lost += lost;
	if (skipped)
		weir_count(WEIR_TAP_SKIPPED);
	else if (!lost)
		weir_count(WEIR_TAP_SHIPPED);
	return 0;
}

/* -- heads and bodies */

/* What came of a response head. */
enum weir_answer {
	WEIR_ANSWER_ON,	     /* its head is read, or more of it is to come */
	WEIR_ANSWER_BODY,    /* s->answer_off is where its body begins */
	WEIR_ANSWER_ENDS,    /* it has no body; as above */
	WEIR_ANSWER_UPGRADE, /* 101 */
};

weir_inline void weir_resp_reader_drop(struct weir_flow *f)
{
	weir_u32 index = f->resp_reader;

	if (!index)
		return;
	f->resp_reader = 0;
	bpf_map_push_elem(&free_readers, &index, BPF_ANY);
}

/* An answer ends, or refuses, while its request is not whole: where the server reads on is not
 * known, so nothing of the client's passes any more. */
weir_inline void weir_answer_early(struct weir_flow *f)
{
	if ((f->request_phase == WEIR_REQ_HEAD && (weir_s32)(f->acked - f->next_seq) < 0) ||
	    f->request_phase == WEIR_REQ_PARTS || f->request_phase == WEIR_REQ_CHUNKS ||
	    f->request_phase == WEIR_REQ_RULES)
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_OVER);
}

/* Read an answer's head from off on, in one packet or in parts; interim answers (1xx) are
 * stepped over. Byte f->resp_offset of the answer is at off. */
weir_global int weir_answer_head(struct __sk_buff *skb, struct weir_flow *f, weir_u32 off,
				 weir_u32 end)
{
	struct weir_scratch *s = weir_scratch();
	struct weir_slot *slot;
	weir_u32 start = off;

	if (!s || !f)
		return WEIR_ANSWER_ON;
	slot = weir_slot(f);
	if (!slot)
		return WEIR_ANSWER_ON;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 4; i++) {
		weir_u32 index = weir_reader_own(), had = 0, status;
		struct weir_reader *r;
		weir_u64 length;
		bool vectors;
		int result;

		if (off >= end)
			return WEIR_ANSWER_ON;
		if (f->resp_phase == WEIR_RESP_PARTS)
			index = f->resp_reader;
		r = weir_reader(index);
		f->chunk.left = 0;
		if (!r)
			goto unframed;
		if (f->resp_phase == WEIR_RESP_PARTS)
			had = r->head.len;
		else
			weir_head_start(&r->head, false);
		result = weir_reader_add(skb, index, off, end - off);
		if (result == WEIR_HEAD_MORE && f->resp_phase != WEIR_RESP_PARTS) {
			index = weir_reader_take(0);
			r = weir_reader(index);
			if (!index || !r)
				goto unframed;
			weir_head_start(&r->head, false);
			f->resp_reader = index;
			f->resp_phase = WEIR_RESP_PARTS;
			result = weir_reader_add(skb, index, off, end - off);
		}
		if (result == WEIR_HEAD_MORE)
			return WEIR_ANSWER_ON;
		status = result == WEIR_HEAD_DONE ? weir_head_status(&r->head) : 0;
		off += r->head.head_len - had;
		s->answer_off = off;
		length = weir_head_content_length(&r->head);
		result = weir_head_coding(&r->head);
		vectors = (f->flags & WEIR_FLOW_VECTORS) && !weir_head_encoded(&r->head);
		weir_resp_reader_drop(f);
		if (!status)
			goto unframed;
		if (status == 101) {
			f->resp_phase = WEIR_RESP_CLOSE;
			return WEIR_ANSWER_UPGRADE;
		}
		if (status < 200) {
			f->resp_phase = WEIR_RESP_HEAD;
			continue;
		}
		if (status >= 400)
			weir_answer_early(f);
		f->resp_phase = WEIR_RESP_CLOSE;
		if ((slot->flags & WEIR_SLOT_HEAD_METHOD) || status == 204 || status == 304)
			return WEIR_ANSWER_ENDS;
		if (result != WEIR_CODING_NONE) {
			f->resp_phase = WEIR_RESP_CHUNKS;
			f->chunk.phase = WEIR_CHUNK_SIZE;
			f->chunk.left = 0;
			f->chunk.digits = 0;
		} else if (length != WEIR_NO_LENGTH) {
			f->resp_phase = WEIR_RESP_LENGTH;
			f->chunk.left = length;
			if (vectors)
				weir_skip_begins(f, f->resp_offset + (off - start), length);
		}
		return WEIR_ANSWER_BODY;
	}
	return WEIR_ANSWER_ON;
unframed:
	weir_resp_reader_drop(f);
	f->resp_phase = WEIR_RESP_CLOSE;
	return WEIR_ANSWER_BODY;
}

/* Follow the framing of an answer's body from off on. Returns where in the packet it ends, 0 if
 * it goes on. */
weir_global weir_u32 weir_answer_body(struct __sk_buff *skb, struct weir_flow *f, weir_u32 off,
				      weir_u32 end)
{
	struct weir_scratch *s = weir_scratch();
	struct weir_chunk_walk *w;

	if (!s || !f)
		return 0;
	if (f->resp_phase == WEIR_RESP_LENGTH) {
		weir_u64 n = off < end ? end - off : 0;

		if (n < f->chunk.left) {
			f->chunk.left -= n;
			return 0;
		}
		off += f->chunk.left;
		f->chunk.left = 0;
		return off;
	}
	if (f->resp_phase != WEIR_RESP_CHUNKS)
		return 0;
	w = &s->walk;
	w->chunk = f->chunk;
	w->off = off;
	w->end = end;
	w->strict = 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_WALKS; i++)
		if (weir_walk_chunks(skb, w))
			break;
	f->chunk = w->chunk;
	if (w->chunk.phase == WEIR_CHUNK_DONE)
		return w->off;
	/* More tiny chunks in one segment than we follow: the end is then the
	 * next request or the close. */
	if (w->chunk.phase == WEIR_CHUNK_BAD || w->off < end)
		f->resp_phase = WEIR_RESP_CLOSE;
	return 0;
}

/* Bytes between resp_seq and this segment were never seen. */
weir_inline void weir_hole(struct weir_flow *f, weir_u32 missing)
{
	weir_count(WEIR_TAP_HOLE);
	weir_resp_reader_drop(f);
	f->lost += missing - weir_skipped(f, missing);
	f->resp_offset += missing;
	if (f->resp_phase == WEIR_RESP_LENGTH && f->chunk.left > missing)
		f->chunk.left -= missing;
	else if (f->resp_phase != WEIR_RESP_NOBODY && f->resp_phase != WEIR_RESP_UNASKED)
		f->resp_phase = WEIR_RESP_CLOSE;
}

/* What a server that was reset still sends: dropped, and answered with a RST that
 * it must accept, should the first one have been lost or challenged. */
weir_inline int weir_reset_server(struct __sk_buff *skb, struct weir_scratch *s,
				  const struct weir_packet *p)
{
	struct weir_segment *out = &s->out;
	int partial;

	weir_count(WEIR_DROP_REFUSED_FLOW);
	if (p->flags & WEIR_RST)
		return TC_ACT_SHOT;
	partial = weir_sum_is_partial(skb, p->tcp_off);
	if (partial < 0)
		return TC_ACT_SHOT;
	weir_to_client(p, p->ack, p->seq + p->pay_len, WEIR_RST | WEIR_ACK, out);
	out->partial = partial;
	if (weir_make_bare(skb, out, s->headers) || weir_swap_macs(skb))
		return TC_ACT_SHOT;
	skb->mark = WEIR_MARK;
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* Does a socket of this host, of the address and port on the wire, hold the server's end? One
 * behind a redirect has another port; a packet that came in somewhere is forwarded, whoever
 * else listens on its port here (docker-proxy). None of those tells when it closes. The skb's
 * own socket is not asked: a SYN cookie has none, a bridged container's is elsewhere. */
weir_inline bool weir_socket_here(struct __sk_buff *skb)
{
	return !skb->ingress_ifindex && weir_server_state(skb);
}

/* The server accepted a SYN: now, and not before, a flow that looked live is
 * known to be a new one. */
weir_inline void weir_handshake(struct __sk_buff *skb, struct weir_flow *f,
				const struct weir_packet *p)
{
	weir_u64 now;

	/* Open: the ACK was seen, but the server had no room for it, or not yet. */
	if ((f->flags & WEIR_FLOW_TAPPED) && f->resp_seq == p->seq + 1 &&
	    f->state <= WEIR_FLOW_OPEN)
		return; /* sent again */
	now = bpf_ktime_get_ns();
	if (f->state != WEIR_FLOW_SYN) {
		weir_request_end(f, WEIR_END_CLOSE, now);
		f->state = WEIR_FLOW_SYN;
		f->opened_ns = now;
		f->ordinal = 0;
	}
	weir_reader_drop(f);
	weir_resp_reader_drop(f);
	f->resp_seq = p->seq + 1;
	f->resp_phase = WEIR_RESP_NOBODY;
	f->acked = p->ack;
	f->next_seq = p->ack;
	f->blank_seq = p->ack;
	f->head_seq = p->ack;
	f->head_end = p->ack;
	f->client_seq = p->ack;
	f->request_phase = WEIR_REQ_HEAD;
	__sync_fetch_and_and(&f->flags, WEIR_FLOW_COUNTED | WEIR_FLOW_HALF_OPEN |
						WEIR_FLOW_CHARGED_ALL | WEIR_FLOW_RELEASED);
	__sync_fetch_and_or(&f->flags,
			    WEIR_FLOW_TAPPED | (weir_socket_here(skb) ? 0 : WEIR_FLOW_FORWARDED));
	f->seen_s = now / WEIR_NS_PER_S;
}

/* An answer begins that no judged request explains; `len` bytes of it at off. Below 400 it is
 * metered, and the connection closed: what let it happen is not known (forms.md, 11). */
weir_global int weir_unasked(struct __sk_buff *skb, struct weir_flow *f, weir_u32 off, weir_u32 len)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	struct weir_tenant *t;
	struct weir_slot *slot;
	weir_u8 b[16] = {};
	weir_u32 n = len < 12 ? len : 12, in_line;
	weir_u64 mask, line;

	if (!c || !s || !f)
		return TC_ACT_UNSPEC;
	slot = weir_slot(f);
	t = weir_tenant(f->tenant);
	weir_count(WEIR_TAP_UNJUDGED);
	if (!t || !slot || f->resp_phase == WEIR_RESP_UNASKED)
		return TC_ACT_UNSPEC;
	if (!weir_within(&n, 12) || bpf_skb_load_bytes(skb, off, b, n))
		return TC_ACT_UNSPEC;
	in_line = len < 7 ? len : 7;
	mask = ~0ULL >> (64 - in_line * 8);
	__builtin_memcpy(&line, b, 8);
	if ((line ^ WEIR_WORD('H', 'T', 'T', 'P', '/', '1', '.', 0)) & mask)
		return TC_ACT_UNSPEC;
	if (!c->enforce || (t->flags & WEIR_TENANT_SHADOW)) {
		f->resp_phase = WEIR_RESP_UNASKED;
		return TC_ACT_UNSPEC;
	}
	if (len >= 12 && b[9] != '2' && b[9] != '3') {
		if (b[9] != '1') {
			f->resp_phase = WEIR_RESP_UNASKED;
			__sync_fetch_and_or(&f->flags, WEIR_FLOW_OVER);
		}
		return TC_ACT_UNSPEC;
	}
	if (f->flags & WEIR_FLOW_GRACE) {
		__sync_fetch_and_and(&f->flags, ~WEIR_FLOW_GRACE);
		f->resp_phase = WEIR_RESP_UNASKED;
		return TC_ACT_UNSPEC;
	}
	__builtin_memset(&s->request, 0, sizeof(s->request));
	s->request.service = f->service;
	s->request.now_ns = bpf_ktime_get_ns();
	__builtin_memset(&s->demand, 0, sizeof(s->demand));
	s->demand.level[0] = f->tenant;
	s->demand.level[1] = f->others[0];
	s->demand.level[2] = f->others[1];
	s->demand.level[3] = f->others[2];
	s->demand.wallet = t->wallet;
	weir_levels_add(f->tenant, f->others, weir_gauge(inflight), 1);
	weir_request_open(f, WEIR_SLOT_UNJUDGED);
	f->lost = weir_ship(skb, c, s, f, WEIR_REC_DATA, off, len, 0);
	if (!f->lost)
		weir_count(WEIR_TAP_SHIPPED);
	f->resp_offset = len;
	weir_request_end(f, WEIR_END_CLOSE, s->request.now_ns);
	return weir_close_from_server(skb, f, WEIR_DROP_UNJUDGED);
}

/* The server switches to another protocol. */
weir_inline int weir_upgraded(struct __sk_buff *skb, const struct weir_config *c,
			      struct weir_flow *f, const struct weir_slot *slot)
{
	struct weir_tenant *t = weir_tenant(slot->tenant);

	if (!t || !c->enforce || (t->flags & (WEIR_TENANT_PASS_PROTOCOLS | WEIR_TENANT_SHADOW))) {
		/* The byte that decides is the server's: nothing of the client's is looked at
		 * again. */
		f->head_seq = f->acked - 1;
		f->request_phase = WEIR_REQ_RAW;
		weir_count(WEIR_PASS_OTHER_PROTOCOL);
		return TC_ACT_UNSPEC;
	}
	weir_request_end(f, WEIR_END_CLOSE, bpf_ktime_get_ns());
	return weir_close_from_server(skb, f, WEIR_DROP_UPGRADE);
}

/* New bytes of an answer: len at off. */
weir_inline int weir_answer_out(struct __sk_buff *skb, const struct weir_config *c,
				struct weir_scratch *s, struct weir_flow *f,
				const struct weir_slot *slot, weir_u32 off, weir_u32 len)
{
	bool head = f->resp_phase == WEIR_RESP_HEAD || f->resp_phase == WEIR_RESP_PARTS;
	weir_u32 end = off + len, ends = 0, n = len, lost;
	int came = WEIR_ANSWER_BODY;

	if (slot->state == WEIR_SLOT_IDLE)
		return weir_unasked(skb, f, off, len);
	if (slot->cut && slot->cut == weir_cut_mark(slot->started_wall_ns)) {
		weir_request_end(f, WEIR_END_CUT, bpf_ktime_get_ns());
		return weir_close_from_server(skb, f, WEIR_DROP_CUT);
	}
	/* A large segment may hold vectors behind the head: first it must be known. */
	if (f->skip_to)
		n = 0;
	else if (head && len > WEIR_SKIP_HEAD && (f->flags & WEIR_FLOW_VECTORS))
		n = WEIR_SKIP_HEAD;
	if (slot->state == WEIR_SLOT_OPEN && n) {
		lost = weir_ship(skb, c, s, f, WEIR_REC_DATA, off, n, f->resp_offset);
		f->lost += lost;
		if (!lost && n == len)
			weir_count(WEIR_TAP_SHIPPED);
	}
	if (head)
		came = weir_answer_head(skb, f, off, end);
	if (n < len && slot->state == WEIR_SLOT_OPEN)
		weir_ship_around(skb, f, off, len, n);
	f->resp_offset += len;
	if (head) {
		switch (came) {
		case WEIR_ANSWER_ON:
			return TC_ACT_UNSPEC;
		case WEIR_ANSWER_UPGRADE:
			return weir_upgraded(skb, c, f, slot);
		case WEIR_ANSWER_ENDS:
			ends = s->answer_off;
			break;
		}
		off = s->answer_off;
	}
	if (!ends)
		ends = weir_answer_body(skb, f, off, end);
	if (!ends)
		return TC_ACT_UNSPEC;
	weir_answer_early(f);
	weir_request_end(f, WEIR_END_RESPONSE, bpf_ktime_get_ns());
	return ends < end ? weir_unasked(skb, f, ends, end - ends) : TC_ACT_UNSPEC;
}

/* A packet from a guarded port to the client of flow f. */
weir_inline int weir_segment_out(struct __sk_buff *skb, const struct weir_config *c,
				 struct weir_scratch *s, const struct weir_packet *p,
				 struct weir_flow *f)
{
	struct weir_slot *slot = weir_slot(f);
	weir_u32 len, end = p->seq + p->pay_len;
	int verdict = TC_ACT_UNSPEC;
	weir_s32 before;

	if (f->state >= WEIR_FLOW_REFUSED)
		return weir_reset_server(skb, s, p);
	if (p->flags & WEIR_SYN) {
		weir_handshake(skb, f, p);
		return TC_ACT_UNSPEC;
	}
	if (!slot)
		return TC_ACT_UNSPEC;
	if (!(f->flags & WEIR_FLOW_TAPPED)) {
		f->resp_seq = p->seq;
		f->acked = p->ack;
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_TAPPED);
		/* Taken in as half open: the server is there, and has it open. */
		if (f->state == WEIR_FLOW_SYN && !(p->flags & WEIR_RST)) {
			f->state = WEIR_FLOW_OPEN;
			weir_half_open_over(f);
		}
	}
	if (p->flags & WEIR_RST)
		return weir_server_reset(s, f, p);
	if ((p->flags & WEIR_ACK) && (weir_s32)(p->ack - f->acked) > 0)
		f->acked = p->ack;
	before = f->resp_seq - p->seq;
	if (p->pay_len) {
		if (before >= (weir_s32)p->pay_len) {
			weir_count(WEIR_TAP_RETRANSMIT);
			return TC_ACT_UNSPEC;
		}
		if (before < 0) {
			weir_hole(f, -before);
			before = 0;
		}
		len = p->pay_len - before;
		f->resp_seq = end;
		verdict = weir_answer_out(skb, c, s, f, slot, p->pay_off + before, len);
		if (verdict != TC_ACT_UNSPEC)
			return verdict;
	}
	/* Nothing follows a FIN: an answer that is delimited by the close is over. */
	if ((p->flags & WEIR_FIN) && f->resp_seq == end)
		weir_request_end(f, WEIR_END_CLOSE, bpf_ktime_get_ns());
	if (f->flags & WEIR_FLOW_FORWARDED)
		weir_wire_out(s, f, p);
	return TC_ACT_UNSPEC;
}

#endif
