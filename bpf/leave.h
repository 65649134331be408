/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Clients that go before their answer is over: what that means for the bill is user space's, which
 * asks whether the answer was whole. A FIN may be half a close, of a client that reads on.
 */
#ifndef WEIR_LEAVE_H
#define WEIR_LEAVE_H

#include "flow.h"

#define WEIR_LEAVE_WINDOW (1U << 30) /* no receive window is larger (RFC 7323) */

/* A FIN or RST of the client's passes. It counts if the server will take it: a FIN where the next
 * byte is due or before it, but not what it has acknowledged; a RST in the window. */
weir_inline void weir_client_leaves(struct weir_flow *f, const struct weir_packet *p)
{
	weir_u32 at = p->seq + p->pay_len - f->acked, due = f->next_seq - f->acked;
	const struct weir_slot *slot;

	if (!(f->flags & WEIR_FLOW_TAPPED) || (f->flags & WEIR_FLOW_LEFT))
		return;
	if (f->request_phase == WEIR_REQ_RAW || (p->flags & WEIR_RST))
		due = WEIR_LEAVE_WINDOW; /* where it stands is not followed, or does not matter */
	if (at > due)
		return;
	slot = weir_slot(f);
	if (slot && slot->state == WEIR_SLOT_OPEN)
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_LEFT);
}

#endif
