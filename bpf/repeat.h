/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bytes that were seen before: what the server has not acknowledged may only come again as
 * it was (forms.md, rule 5).
 */
#ifndef WEIR_REPEAT_H
#define WEIR_REPEAT_H

#include "reader.h"

weir_inline bool weir_before(weir_u32 a, weir_u32 b)
{
	return (weir_s32)(a - b) < 0;
}

enum weir_again {
	WEIR_AGAIN_CHANGED, /* or cannot be compared */
	WEIR_AGAIN_ACKED,   /* the server has them and will throw them away */
	WEIR_AGAIN_SAME,
	WEIR_AGAIN_BODY, /* nobody reads them: resent or not */
};

/* May the packet's bytes before `upto`, behind which nothing was looked at yet, pass? */
weir_global int weir_seen_before(struct __sk_buff *skb, struct weir_flow *f, weir_u32 upto)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	weir_u32 seq, from, start, off;
	int same = WEIR_AGAIN_BODY;
	struct weir_reader *r;
	weir_u64 hash;

	if (!f || !s || !c)
		return WEIR_AGAIN_CHANGED;
	/* Answers leave by an interface without a tap: nobody can say what was accepted. */
	if (!(f->flags & WEIR_FLOW_TAPPED))
		return WEIR_AGAIN_ACKED;
	seq = s->packet.seq;
	off = s->packet.pay_off;
	from = weir_before(seq, f->acked) ? f->acked : seq;
	if (!weir_before(from, upto))
		return WEIR_AGAIN_ACKED;
	start = seq;
	if (!weir_before(f->head_seq, upto) && f->head_end != f->head_seq)
		return WEIR_AGAIN_BODY; /* of the request before */
	if (f->head_end != f->head_seq && weir_before(from, f->head_end)) {
		/* A head that came whole: whole again, and the same. */
		if (weir_before(f->head_seq, seq) || weir_before(upto, f->head_end))
			return WEIR_AGAIN_CHANGED;
		hash = weir_packet_hash(skb, off + (f->head_seq - seq), f->head_end - f->head_seq);
		if ((weir_u32)hash != f->head_hash)
			return WEIR_AGAIN_CHANGED;
		start = f->head_end;
		from = start;
		same = WEIR_AGAIN_SAME;
		if (!weir_before(start, upto))
			return same;
	}
	if (f->request_phase == WEIR_REQ_HEAD && weir_before(f->blank_seq, upto)) {
		/* Only empty lines may come again as that; what is before them is looked at below.
		 */
		weir_u32 blank = weir_before(from, f->blank_seq) ? f->blank_seq : from;

		if (!weir_blank_bytes(skb, off + (blank - seq), upto - blank))
			return WEIR_AGAIN_CHANGED;
		upto = f->blank_seq;
		if (!weir_before(from, upto))
			return same;
	}
	if (!f->reader)
		return same; /* a body whose length is known */
	r = weir_reader(f->reader);
	if (!r)
		return WEIR_AGAIN_CHANGED;
	if (!weir_before(from, r->until))
		return same;
	if (f->request_phase == WEIR_REQ_CHUNKS && !weir_before(from, r->data_seq))
		return same;
	if (weir_data_covers(r, from, upto))
		return same;
	if (weir_before(r->until, upto))
		upto = r->until;
	if (!weir_parts_same(skb, f->reader, off + (start - seq), start, upto))
		return WEIR_AGAIN_CHANGED;
	return WEIR_AGAIN_SAME;
}

#endif
