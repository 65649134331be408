/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The gate: a SYN to a guarded port is judged. The tenant is known by its source
 * address only; connection limits of tenants known by key are judged with their
 * first request. One logic for XDP and TC.
 */
#ifndef WEIR_GATE_H
#define WEIR_GATE_H

#include "admit.h"
#include "denial.h"
#include "flow.h"
#include "tcp_reply.h"
#include "tenant.h"

enum weir_gate_verdict {
	WEIR_GATE_PASS,
	WEIR_GATE_DROP,
	WEIR_GATE_RESET,
};

/* Judge the SYN in scratch->packet. Returns enum weir_gate_verdict. */
weir_global int weir_gate(weir_u32 service)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	weir_u64 now = bpf_ktime_get_ns();
	const struct weir_packet *p;
	struct weir_refusal *r;
	struct weir_flow *f;
	struct weir_tenant *t;
	weir_u32 reason;

	if (!c || !s)
		return WEIR_GATE_PASS;
	p = &s->packet;
	r = &s->refusal;
	/* TCP fast open would carry a request past us in the handshake: the client
	 * falls back to a plain SYN. */
	if (p->pay_len) {
		weir_count(WEIR_DROP_TFO_DATA);
		return WEIR_GATE_DROP;
	}
	weir_flow_key_of(&s->key, p, true);
	f = bpf_map_lookup_elem(&flows, &s->key);
	if (f && f->state >= WEIR_FLOW_REFUSED) {
		/* The client has done with that connection and uses its port again. */
		bpf_map_delete_elem(&lingers, &s->key);
		weir_flow_uncount(f);
		weir_flow_gone(&s->key, f);
		f = NULL;
	}
	if (f) {
		/* Sent again, or judged in XDP already, or a new SYN on a live flow: the
		 * server's SYN-ACK will tell (tap.h). */
		weir_count(WEIR_PASS_NO_PAYLOAD);
		return WEIR_GATE_PASS;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->tenant = weir_tenant_of_source(c, p->src);
	t = weir_tenant(r->tenant);
	if (!t) {
		weir_count(WEIR_PASS_INTERNAL);
		return WEIR_GATE_PASS;
	}
	reason = weir_admit_connection(t, now, r);
	if (reason) {
		r->reason = reason;
		weir_count(reason);
		weir_note_denial(c, r, p->src, now);
		if (c->enforce && !(t->flags & WEIR_TENANT_SHADOW))
			return t->flags & WEIR_TENANT_DROP ? WEIR_GATE_DROP : WEIR_GATE_RESET;
		__sync_fetch_and_add(&t->connections, 1);
	}
	f = weir_flow_new(&s->key, r->tenant, WEIR_FLOW_SYN, service, now);
	if (!f) {
		__sync_fetch_and_add(&t->connections, -1);
		if (!reason)
			weir_connect_give_back(t);
		r->reason = WEIR_DENY_MAP_FULL;
		weir_note_denial(c, r, p->src, now);
		if (t->on_agent_down == WEIR_DOWN_CLOSED) {
			weir_count(WEIR_DENY_MAP_FULL);
			return WEIR_GATE_RESET;
		}
		weir_count(WEIR_PASS_UNTRACKED);
		return WEIR_GATE_PASS;
	}
	if (!reason)
		f->flags |= WEIR_FLOW_GATE_CHARGED;
	weir_count(WEIR_ADMIT_CONNECTION);
	return WEIR_GATE_PASS;
}

/* The RST that tells a refused SYN's sender at once. */
weir_inline void weir_gate_reset(const struct weir_packet *p, struct weir_segment *out)
{
	__builtin_memset(out, 0, sizeof(*out));
	weir_copy16(out->src, p->dst);
	weir_copy16(out->dst, p->src);
	out->sport_be = p->dport_be;
	out->dport_be = p->sport_be;
	out->ack = p->seq + 1;
	out->flags = WEIR_RST | WEIR_ACK;
	weir_segment_like(out, p);
}

#endif
