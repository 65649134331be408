/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The response tap, at TC egress: copies what the server answers to judged
 * requests into the ring, in order, each byte once, and finds where an answer
 * ends, so that its place in flight is free at that moment, agent or no agent.
 */
#ifndef WEIR_TAP_H
#define WEIR_TAP_H

#include "flow.h"
#include "linger.h"
#include "send.h"

/* Size classes: a reservation in the ring must be a constant. */
#define WEIR_PIECE_SMALL  216
#define WEIR_PIECE_MEDIUM 984
#define WEIR_PIECE_LARGE  4096
#define WEIR_PIECES	  17 /* a 64 KiB super-packet, and one for the rest */

weir_inline void weir_data_header(struct weir_rec_data *rec, const struct weir_slot *slot,
				  const struct weir_flow *f, weir_u64 offset, weir_u32 len,
				  weir_u64 now)
{
	rec->h.type = WEIR_REC_DATA;
	rec->h.flags = 0;
	rec->h.service = slot->service;
	rec->h.slot = f->slot;
	rec->h.ordinal = slot->ordinal;
	rec->h.len = len;
	rec->h.time_ns = now;
	rec->started_wall_ns = slot->started_wall_ns;
	rec->offset = offset;
}

/* One piece of at most CLASS bytes; a macro, since both the reservation and the
 * bound of the copy must be constants. */
#define WEIR_SHIP_CLASS(CLASS)                                                                     \
	do {                                                                                       \
		struct weir_rec_data *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec) + (CLASS), 0); \
		if (!rec)                                                                          \
			return -1;                                                                 \
		weir_data_header(rec, slot, f, offset, len, now);                                  \
		if (!weir_within(&len, CLASS) || bpf_skb_load_bytes(skb, off, rec + 1, len))       \
			rec->h.len = 0;                                                            \
		bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);                                         \
		return 0;                                                                          \
	} while (0)

/* Copy len (<= WEIR_PIECE_LARGE) bytes at off into a record. -1: no room. */
weir_inline int weir_ship_piece(struct __sk_buff *skb, const struct weir_slot *slot,
				const struct weir_flow *f, weir_u64 offset, weir_u32 off,
				weir_u32 len, weir_u64 now)
{
	if (len <= WEIR_PIECE_SMALL)
		WEIR_SHIP_CLASS(WEIR_PIECE_SMALL);
	if (len <= WEIR_PIECE_MEDIUM)
		WEIR_SHIP_CLASS(WEIR_PIECE_MEDIUM);
	WEIR_SHIP_CLASS(WEIR_PIECE_LARGE);
}

/* Copy a segment's payload to user space. What does not fit is counted as lost. */
weir_inline void weir_ship(struct __sk_buff *skb, const struct weir_config *c,
			   const struct weir_slot *slot, struct weir_flow *f, weir_u32 off,
			   weir_u32 len)
{
	weir_u64 now = bpf_ktime_get_ns(), offset = f->resp_offset;
	bool room = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) <= c->ring_data_max;

#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_PIECES; i++) {
		weir_u32 n = len < WEIR_PIECE_LARGE ? len : WEIR_PIECE_LARGE;

		if (!len || !room)
			break;
		if (weir_ship_piece(skb, slot, f, offset, off, n, now))
			break;
		offset += n;
		off += n;
		len -= n;
	}
	if (!len) {
		weir_count(WEIR_TAP_SHIPPED);
		return;
	}
	weir_count(WEIR_TAP_LOST);
	f->lost += len;
}

#define WEIR_WALK_STEPS 32

/* Walk over chunk framing from w->off towards w->end. Returns 1 when the segment
 * or the body is over. */
weir_global int weir_walk_chunks(struct __sk_buff *skb, struct weir_chunk_walk *w)
{
	if (!w)
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_WALK_STEPS; i++) {
		weir_u32 off = *(volatile weir_u32 *)&w->off;
		weir_u32 rest = w->end - off, n = rest;

		if (off >= w->end || w->chunk.phase >= WEIR_CHUNK_DONE)
			return 1;
		if (n > WEIR_CHUNK_WINDOW)
			n = WEIR_CHUNK_WINDOW;
		if (!weir_within(&n, WEIR_CHUNK_WINDOW) ||
		    bpf_skb_load_bytes(skb, off, w->window, n)) {
			w->chunk.phase = WEIR_CHUNK_BAD;
			return 1;
		}
		w->off = off + weir_chunk_window(&w->chunk, w->window, n, rest);
	}
	return 0;
}

/* Follow the answer's framing through len bytes at off. true: it ends here. */
weir_inline bool weir_response_ends(struct __sk_buff *skb, struct weir_scratch *s,
				    struct weir_flow *f, const struct weir_slot *slot, weir_u32 off,
				    weir_u32 len)
{
	weir_u32 end = off + len;

	/* Twice: an interim answer (1xx) may share a segment with the real one. */
	for (int i = 0; i < 2 && f->resp_phase == WEIR_RESP_HEAD; i++) {
		weir_u32 n = end - off, status;
		weir_u64 length;

		if (n > WEIR_HEAD_MAX)
			n = WEIR_HEAD_MAX;
		f->resp_phase = WEIR_RESP_CLOSE;
		if (!weir_within(&n, WEIR_HEAD_MAX) ||
		    bpf_skb_load_bytes(skb, off, s->head.bytes, n))
			return false;
		weir_head_start(&s->head, n);
		if (weir_head_scan(&s->head) != WEIR_HEAD_DONE)
			return false;
		status = weir_head_status(&s->head);
		if (!status || status == 101)
			return false;
		off += s->head.head_len;
		if (status < 200) {
			f->resp_phase = WEIR_RESP_HEAD;
			if (off >= end)
				return false;
			continue;
		}
		if ((slot->flags & WEIR_SLOT_HEAD_METHOD) || status == 204 || status == 304)
			return true;
		length = weir_head_content_length(&s->head);
		if (weir_head_chunked(&s->head)) {
			f->resp_phase = WEIR_RESP_CHUNKS;
			f->chunk.phase = WEIR_CHUNK_SIZE;
			f->chunk.left = 0;
			f->chunk.digits = 0;
		} else if (length != WEIR_NO_LENGTH) {
			f->resp_phase = WEIR_RESP_LENGTH;
			f->chunk.left = length;
		}
	}
	if (f->resp_phase == WEIR_RESP_LENGTH) {
		weir_u64 n = off < end ? end - off : 0;

		f->chunk.left -= n < f->chunk.left ? n : f->chunk.left;
		return !f->chunk.left;
	}
	if (f->resp_phase == WEIR_RESP_CHUNKS) {
		struct weir_chunk_walk *w = &s->walk;

		w->chunk = f->chunk;
		w->off = off;
		w->end = end;
		for (int i = 0; i < 4; i++)
			if (weir_walk_chunks(skb, w))
				break;
		f->chunk = w->chunk;
		if (w->chunk.phase == WEIR_CHUNK_DONE)
			return true;
		/* More tiny chunks in one segment than we follow: the end is then the
		 * next request or the close. */
		if (w->chunk.phase == WEIR_CHUNK_BAD || w->off < end)
			f->resp_phase = WEIR_RESP_CLOSE;
	}
	return false;
}

/* Bytes between resp_seq and this segment were never seen. */
weir_inline void weir_hole(struct weir_flow *f, weir_u32 missing)
{
	weir_count(WEIR_TAP_HOLE);
	f->lost += missing;
	f->resp_offset += missing;
	if (f->resp_phase == WEIR_RESP_LENGTH && f->chunk.left > missing)
		f->chunk.left -= missing;
	else if (f->resp_phase != WEIR_RESP_NOBODY_OURS)
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

/* The server accepted a SYN: now, and not before, a flow that looked live is
 * known to be a new one. */
weir_inline void weir_handshake(struct weir_flow *f, const struct weir_packet *p)
{
	if (f->tapped && f->resp_seq == p->seq + 1 && f->state == WEIR_FLOW_SYN)
		return; /* sent again */
	if (f->state != WEIR_FLOW_SYN) {
		weir_request_end(f, WEIR_END_CLOSE, bpf_ktime_get_ns());
		f->state = WEIR_FLOW_SYN;
		f->ordinal = 0;
	}
	f->opened_ns = bpf_ktime_get_ns();
	f->resp_seq = p->seq + 1;
	f->tapped = 1;
	f->resp_phase = WEIR_RESP_NOBODY_OURS;
	f->head_seq = p->ack;
	f->request_phase = WEIR_REQ_HEAD;
}

/* A packet from a guarded port to the client of flow f. */
weir_inline int weir_segment_out(struct __sk_buff *skb, const struct weir_config *c,
				 struct weir_scratch *s, const struct weir_packet *p,
				 struct weir_flow *f)
{
	struct weir_slot *slot = bpf_map_lookup_elem(&slots, &f->slot);
	weir_s32 before;
	weir_u32 len;

	if (f->state == WEIR_FLOW_REFUSED)
		return weir_reset_server(skb, s, p);
	if (p->flags & WEIR_SYN) {
		weir_handshake(f, p);
		return TC_ACT_UNSPEC;
	}
	if (!slot)
		return TC_ACT_UNSPEC;
	if (!f->tapped) {
		f->resp_seq = p->seq;
		f->tapped = 1;
	}
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
		f->resp_seq = p->seq + p->pay_len;
		if (slot->state == WEIR_SLOT_IDLE) {
			f->resp_phase = WEIR_RESP_NOBODY_OURS;
			weir_count(WEIR_TAP_UNJUDGED);
			return TC_ACT_UNSPEC;
		}
		if (slot->state == WEIR_SLOT_OPEN)
			weir_ship(skb, c, slot, f, p->pay_off + before, len);
		f->resp_offset += len;
		if (weir_response_ends(skb, s, f, slot, p->pay_off + before, len))
			weir_request_end(f, WEIR_END_RESPONSE, bpf_ktime_get_ns());
	}
	/* Nothing follows a FIN: an answer that is delimited by the close is over. */
	if ((p->flags & WEIR_FIN) && f->resp_seq == p->seq + p->pay_len)
		weir_request_end(f, WEIR_END_CLOSE, bpf_ktime_get_ns());
	return TC_ACT_UNSPEC;
}

#endif
