/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The gate: a SYN to a guarded port is judged. The tenant is known by its source
 * address only; connection limits of tenants known by key are judged with their
 * first request. One logic for XDP and TC, which sees again what XDP lets through.
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

/* Too many handshakes of the tenant's are not complete. Nobody's pass unfollowed, and are taken
 * in when they are complete (adopt.h); others' are dropped: whoever floods in a tenant's name
 * is answered nothing. */
weir_inline int weir_gate_half_open(const struct weir_config *c, struct weir_scratch *s,
				    struct weir_tenant *t, bool xdp, weir_u64 now)
{
	struct weir_refusal *r = &s->refusal;

	r->shadow = !r->tenant || !c->enforce || (t->flags & WEIR_TENANT_SHADOW);
	if (r->shadow && xdp)
		return WEIR_GATE_PASS; /* TC counts it */
	if (!r->tenant) {
		weir_count(WEIR_PASS_HALF_OPEN);
		return WEIR_GATE_PASS;
	}
	r->reason = WEIR_DENY_HALF_OPEN;
	r->level = r->tenant;
	r->limit = t->max_half_open;
	r->value = t->half_open;
	r->asked = 1;
	r->retry_ns = c->half_open_ns;
	weir_note_denial(c, r, s->packet.src, now);
	if (r->shadow) {
		weir_count(WEIR_PASS_HALF_OPEN);
		return WEIR_GATE_PASS;
	}
	weir_count(WEIR_DENY_HALF_OPEN);
	return WEIR_GATE_DROP;
}

/* No room to follow the connection that was just counted. TC, which sees what XDP passes, is the
 * one that counts it. */
weir_inline int weir_gate_full(const struct weir_config *c, struct weir_scratch *s,
			       struct weir_tenant *t, bool xdp, weir_u64 now)
{
	struct weir_refusal *r = &s->refusal;
	bool closed = c->enforce && (t->flags & WEIR_TENANT_DOWN_CLOSED);

	weir_connection_back(s);
	if (xdp && !closed)
		return WEIR_GATE_PASS;
	__builtin_memset(r, 0, sizeof(*r));
	r->tenant = s->demand.level[0];
	r->reason = WEIR_DENY_MAP_FULL;
	r->shadow = !closed;
	weir_note_denial(c, r, s->packet.src, now);
	weir_count(closed ? WEIR_DENY_MAP_FULL : WEIR_PASS_UNTRACKED);
	return closed ? WEIR_GATE_RESET : WEIR_GATE_PASS;
}

/* Judge the SYN in scratch->packet. Returns enum weir_gate_verdict. */
weir_global int weir_gate(weir_u32 service, bool xdp)
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
	if (t->half_open && weir_half_open_expire(now))
		weir_half_open_expire(now);
	if (t->max_half_open && t->half_open >= t->max_half_open)
		return weir_gate_half_open(c, s, t, xdp, now);
	s->demand.enforce = c->enforce;
	weir_levels(r->tenant, t, service, s->demand.level);
	reason = weir_admit_connection(s, t, 0, now);
	/* A place may be held by a handshake of another's that is past its time. */
	if (reason == WEIR_DENY_CONNECTIONS && weir_half_open_expire(now))
		reason = weir_admit_connection(s, t, 0, now);
	if (reason) {
		r->reason = reason;
		weir_count(reason);
		weir_note_denial(c, r, p->src, now);
		return t->flags & WEIR_TENANT_DROP ? WEIR_GATE_DROP : WEIR_GATE_RESET;
	}
	if (s->demand.over) {
		weir_count(WEIR_ADMIT_SHADOW);
		r->shadow = 1;
		weir_note_denial(c, r, p->src, now);
	}
	f = weir_flow_new(&s->key, s->demand.level, WEIR_FLOW_SYN, service, now);
	if (!f)
		return weir_gate_full(c, s, t, xdp, now);
	weir_connect_charged(s, f);
	weir_half_open_begins(s, f, t, now);
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
