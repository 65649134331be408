/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connections whose server is not on this host (a container behind DNAT, a VM, a pod): no
 * socket here tells when they end. FIN and RST on the wire do, if their sequence numbers
 * are those that the other end will accept; and silence, in the end (weir_sweep).
 */
#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H

#include "flow.h"

#define WEIR_NS_PER_S 1000000000ULL

weir_inline void weir_wire_closed(struct weir_scratch *s, struct weir_flow *f)
{
	weir_count(WEIR_WIRE_CLOSED);
	weir_flow_close(&s->key, f, bpf_ktime_get_ns());
}

/* Both ends have sent FIN, and each has the other's. */
weir_inline bool weir_wire_over(const struct weir_flow *f)
{
	weir_u32 fins = WEIR_FLOW_CLIENT_FIN | WEIR_FLOW_FIN_ACKED;

	return (f->flags & fins) == fins && (weir_s32)(f->acked - f->client_seq) >= 0;
}

/* A packet from the client of a forwarded connection passes. */
weir_inline void weir_wire_in(struct weir_scratch *s, struct weir_flow *f,
			      const struct weir_packet *p)
{
	weir_u32 end = p->seq + p->pay_len;

	f->seen_s = bpf_ktime_get_ns() / WEIR_NS_PER_S;
	if (p->flags & WEIR_RST) {
		/* What the server expects next: anything else is challenged (RFC 5961). */
		if (p->seq == f->acked || p->seq == f->client_seq)
			weir_wire_closed(s, f);
		return;
	}
	if ((weir_s32)(end - f->client_seq) > 0 && (weir_s32)(p->seq - f->client_seq) <= 0 &&
	    !(f->flags & WEIR_FLOW_CLIENT_FIN))
		f->client_seq = end;
	if ((p->flags & WEIR_FIN) && end == f->client_seq && !(f->flags & WEIR_FLOW_CLIENT_FIN)) {
		f->client_seq = end + 1;
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_CLIENT_FIN);
	}
	if ((f->flags & WEIR_FLOW_SERVER_FIN) && (p->flags & WEIR_ACK) && p->ack == f->resp_seq)
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_FIN_ACKED);
	if (weir_wire_over(f))
		weir_wire_closed(s, f);
}

/* A packet from the server of a forwarded connection. */
weir_inline void weir_wire_out(struct weir_scratch *s, struct weir_flow *f,
			       const struct weir_packet *p)
{
	weir_u32 end = p->seq + p->pay_len;

	f->seen_s = bpf_ktime_get_ns() / WEIR_NS_PER_S;
	if ((p->flags & WEIR_FIN) && end == f->resp_seq && !(f->flags & WEIR_FLOW_SERVER_FIN)) {
		f->resp_seq = end + 1;
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_SERVER_FIN);
	}
	if (weir_wire_over(f))
		weir_wire_closed(s, f);
}

/* The server resets. For local ones the socket tells. */
weir_inline int weir_server_reset(struct weir_scratch *s, struct weir_flow *f,
				  const struct weir_packet *p)
{
	if ((f->flags & WEIR_FLOW_FORWARDED) &&
	    (p->seq == f->resp_seq || f->state == WEIR_FLOW_SYN))
		weir_wire_closed(s, f);
	return TC_ACT_UNSPEC;
}

#endif
