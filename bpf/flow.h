/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A connection's life: made once, its request ended once, released once. The
 * gate, the request gate, the tap and the socket's close all come through here.
 */
#ifndef WEIR_FLOW_H
#define WEIR_FLOW_H

#include "maps.h"

weir_inline void weir_flow_key_of(struct weir_flow_key *k, const struct weir_packet *p,
				  bool from_client)
{
	weir_copy16(k->client, from_client ? p->src : p->dst);
	weir_copy16(k->server, from_client ? p->dst : p->src);
	k->client_port_be = from_client ? p->sport_be : p->dport_be;
	k->server_port_be = from_client ? p->dport_be : p->sport_be;
}

/* Enter a connection that `tenant` was just charged for. NULL: the map or the
 * slots are full; nothing is kept. */
weir_inline struct weir_flow *weir_flow_new(const struct weir_flow_key *key, weir_u32 tenant,
					    weir_u8 state, weir_u8 service, weir_u64 now_ns)
{
	struct weir_flow f = {
		.opened_ns = now_ns,
		.tenant = tenant,
		.counted = 1,
		.state = state,
		.service = service,
		.request_phase = WEIR_REQ_ADOPTED,
		.resp_phase = WEIR_RESP_NOBODY,
	};
	struct weir_slot *s;

	if (bpf_map_pop_elem(&free_slots, &f.slot))
		return NULL;
	s = bpf_map_lookup_elem(&slots, &f.slot);
	if (s)
		s->state = WEIR_SLOT_IDLE;
	if (!s || bpf_map_update_elem(&flows, key, &f, BPF_NOEXIST)) {
		bpf_map_push_elem(&free_slots, &f.slot, BPF_ANY);
		return NULL;
	}
	weir_count(WEIR_FLOW_NEW);
	return bpf_map_lookup_elem(&flows, key);
}

/* Give the connection back to its tenant's gauge, once. */
weir_inline void weir_flow_uncount(struct weir_flow *f)
{
	struct weir_tenant *t;

	if (__sync_val_compare_and_swap(&f->counted, 1, 0) != 1)
		return;
	t = weir_tenant(f->tenant);
	if (t)
		__sync_fetch_and_add(&t->connections, -1);
	weir_count(WEIR_CLOSE_RELEASED);
}

/* End the request in the flow's slot, if one is open: whoever moves the state
 * gives the in-flight place back and writes the END record. The reservation
 * goes with the record; the agent releases it when it has settled. */
weir_inline void weir_request_end(struct weir_flow *f, weir_u8 cause, weir_u64 now_ns)
{
	struct weir_slot *s = weir_slot(f);
	struct weir_rec_end *rec;
	struct weir_tenant *t;
	weir_u32 state;

	if (!s)
		return;
	state = s->state;
	if (state == WEIR_SLOT_IDLE ||
	    __sync_val_compare_and_swap(&s->state, state, WEIR_SLOT_IDLE) != state)
		return;
	if (state != WEIR_SLOT_OPEN)
		return;
	t = weir_tenant(s->tenant);
	if (t)
		__sync_fetch_and_add(&t->inflight, -1);
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		/* Its price will never be known. The reservation stays held while no
		 * agent runs, so that spending is bounded; the agent gives it back. */
		struct weir_tenant *wallet = weir_tenant(s->wallet);

		if (wallet)
			__sync_fetch_and_add(&wallet->lost_nano, s->reserved_nano);
		weir_count(WEIR_END_LOST);
		return;
	}
	rec->h.type = WEIR_REC_END;
	rec->h.flags = cause;
	rec->h.service = s->service;
	rec->h.slot = f->slot;
	rec->h.ordinal = s->ordinal;
	rec->h.len = 0;
	rec->h.time_ns = now_ns;
	rec->started_ns = s->started_ns;
	rec->started_wall_ns = s->started_wall_ns;
	rec->reserved_nano = s->reserved_nano;
	rec->tenant = s->tenant;
	rec->wallet = s->wallet;
	rec->response_bytes = f->resp_offset;
	rec->lost_bytes = f->lost;
	rec->flags = s->flags;
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
}

/* The flow's reader, if any, is free again. */
weir_inline void weir_reader_drop(struct weir_flow *f)
{
	weir_u32 index = f->reader;

	if (!index)
		return;
	f->reader = 0;
	bpf_map_push_elem(&free_readers, &index, BPF_ANY);
}

/* Forget a connection. Only the caller whose delete succeeds returns what it held. */
weir_inline void weir_flow_gone(const struct weir_flow_key *key, struct weir_flow *f)
{
	weir_u32 slot = f->slot, reader = f->reader, resp_reader = f->resp_reader;

	if (bpf_map_delete_elem(&flows, key))
		return;
	bpf_map_push_elem(&free_slots, &slot, BPF_ANY);
	if (reader)
		bpf_map_push_elem(&free_readers, &reader, BPF_ANY);
	if (resp_reader)
		bpf_map_push_elem(&free_readers, &resp_reader, BPF_ANY);
	weir_count(WEIR_FLOW_GONE);
}

/* The socket is closed: everything it held goes back. A refused flow stays until
 * its client has read the answer (linger.h). */
weir_inline void weir_flow_close(const struct weir_flow_key *key, struct weir_flow *f,
				 weir_u64 now_ns)
{
	weir_request_end(f, WEIR_END_CLOSE, now_ns);
	weir_flow_uncount(f);
	if (f->state < WEIR_FLOW_REFUSED)
		weir_flow_gone(key, f);
}

#endif
