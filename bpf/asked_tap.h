/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Request bodies for user space (WEIR_REC_ASKED): the first bytes of those with Content-Length, in
 * order, each once, as the client sent them. Only what comes in order: behind a hole nothing more
 * is shipped. No packet waits for it, or is judged by it.
 */
#ifndef WEIR_ASKED_TAP_H
#define WEIR_ASKED_TAP_H

#include "ship.h"

/* A request that counts was opened: how much of its body is wanted? */
weir_inline void weir_asked_begins(const struct weir_config *c, const struct weir_request *rq,
				   const struct weir_tenant *t, struct weir_flow *f)
{
	weir_u32 most = c->asked_bytes;

	if (t && (t->flags & WEIR_TENANT_ASKED_WHOLE))
		most = WEIR_ASKED_MAX;
	if (most > WEIR_ASKED_MAX)
		most = WEIR_ASKED_MAX;
	f->asked_seq = rq->body_seq;
	f->asked_at = 0;
	f->asked_left = rq->body_bytes < most ? rq->body_bytes : most;
}

/* Ship what the packet at hand has of them, before anything is written over. */
weir_global int weir_asked_in(struct __sk_buff *skb, struct weir_flow *f)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	const struct weir_slot *slot;
	weir_u32 seen, len;

	if (!f || !c || !s)
		return 0;
	slot = weir_slot(f);
	if (!slot)
		return 0;
	seen = f->asked_seq - s->packet.seq; /* of this packet, already */
	if (slot->state != WEIR_SLOT_OPEN || (weir_s32)seen < 0) {
		f->asked_left = 0; /* it is over, or there is a hole */
		return 0;
	}
	if (seen >= s->packet.pay_len)
		return 0;
	len = s->packet.pay_len - seen;
	if (len > f->asked_left)
		len = f->asked_left;
	f->asked_left -= len;
	f->asked_seq += len;
	if (weir_ship(skb, c, s, f, WEIR_REC_ASKED, s->packet.pay_off + seen, len, f->asked_at))
		f->asked_left = 0;
	f->asked_at += len;
	return 0;
}

#endif
