/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Copies bytes of the packet at hand into the ring, for user space: of answers and of request
 * bodies, in pieces of a few sizes. What the ring has no room for is not waited for.
 */
#ifndef WEIR_SHIP_H
#define WEIR_SHIP_H

#include "maps.h"

/* Size classes: a reservation in the ring must be a constant. */
#define WEIR_PIECE_SMALL  216
#define WEIR_PIECE_MEDIUM 984
#define WEIR_PIECE_LARGE  4096
#define WEIR_PIECES	  130 /* BIG TCP: 512 KiB, and some. Loopback has 128 KiB at any time */

weir_inline void weir_data_header(struct weir_rec_data *rec, const struct weir_slot *slot,
				  const struct weir_flow *f, const struct weir_span *span,
				  weir_u32 len)
{
	rec->h.type = span->type;
	rec->h.flags = 0;
	rec->h.service = slot->service;
	rec->h.slot = f->slot;
	rec->h.ordinal = slot->ordinal;
	rec->h.len = len;
	rec->h.time_ns = span->now_ns;
	rec->started_wall_ns = slot->started_wall_ns;
	rec->offset = span->hash;
}

/* One piece of at most CLASS bytes; a macro, since both the reservation and the
 * bound of the copy must be constants. */
#define WEIR_SHIP_CLASS(CLASS)                                                                     \
	do {                                                                                       \
		struct weir_rec_data *rec = bpf_ringbuf_reserve(&ring, sizeof(*rec) + (CLASS), 0); \
		if (!rec)                                                                          \
			return -1;                                                                 \
		weir_data_header(rec, slot, f, &s->span, len);                                     \
		if (!weir_within(&len, CLASS) ||                                                   \
		    bpf_skb_load_bytes(skb, s->span.off, rec + 1, len))                            \
			rec->h.len = 0;                                                            \
		bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);                                         \
	} while (0)

/* Copy the next piece of s->span into a record. -1: no room. */
weir_global int weir_ship_piece(struct __sk_buff *skb, struct weir_flow *f)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_slot *slot;
	weir_u32 len, taken;

	if (!s || !f)
		return -1;
	slot = weir_slot(f);
	len = s->span.len;
	if (!slot || !len)
		return -1;
	if (len > WEIR_PIECE_LARGE)
		len = WEIR_PIECE_LARGE;
	taken = len;
	if (len <= WEIR_PIECE_SMALL)
		WEIR_SHIP_CLASS(WEIR_PIECE_SMALL);
	else if (len <= WEIR_PIECE_MEDIUM)
		WEIR_SHIP_CLASS(WEIR_PIECE_MEDIUM);
	else
		WEIR_SHIP_CLASS(WEIR_PIECE_LARGE);
	s->span.hash += taken;
	s->span.off += taken;
	s->span.len -= taken;
	return 0;
}

/* len bytes at off of the packet, as records of that type; the first is byte `at` of its answer or
 * body. Returns how many had no room, which is counted. */
weir_inline weir_u32 weir_ship(struct __sk_buff *skb, const struct weir_config *c,
			       struct weir_scratch *s, struct weir_flow *f, weir_u32 type,
			       weir_u32 off, weir_u32 len, weir_u64 at)
{
	s->span.type = type;
	s->span.off = off;
	s->span.len = len;
	s->span.hash = at;
	s->span.now_ns = bpf_ktime_get_ns();
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) <= c->ring_data_max) {
#pragma clang loop unroll(disable)
		for (int i = 0; i < WEIR_PIECES; i++)
			if (!s->span.len || weir_ship_piece(skb, f))
				break;
	}
	if (s->span.len)
		weir_count(WEIR_TAP_LOST);
	return s->span.len;
}

#endif
