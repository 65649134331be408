/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A connection's life: made once, its request ended once, released once. The
 * gate, the request gate, the tap and the socket's close all come through here.
 */
#ifndef WEIR_FLOW_H
#define WEIR_FLOW_H

#include "levels.h"
#include "maps.h"

weir_inline void weir_flow_key_of(struct weir_flow_key *k, const struct weir_packet *p,
				  bool from_client)
{
	weir_copy16(k->client, from_client ? p->src : p->dst);
	weir_copy16(k->server, from_client ? p->dst : p->src);
	k->client_port_be = from_client ? p->sport_be : p->dport_be;
	k->server_port_be = from_client ? p->dport_be : p->sport_be;
}

/* Enter a connection that was just counted at these levels. NULL: the map or the slots are
 * full; nothing is kept. */
weir_inline struct weir_flow *weir_flow_new(const struct weir_flow_key *key, const weir_u32 *level,
					    weir_u8 state, weir_u8 service, weir_u64 now_ns)
{
	struct weir_flow f = {
		.opened_ns = now_ns,
		.tenant = level[0],
		.others = { level[1], level[2], level[3] },
		.flags = WEIR_FLOW_COUNTED,
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

/* The handshake is over, or the connection: it is not half open any more. Once. */
weir_inline void weir_half_open_over(struct weir_flow *f)
{
	struct weir_tenant *t;

	if (!(f->flags & WEIR_FLOW_HALF_OPEN) ||
	    !(__sync_fetch_and_and(&f->flags, ~WEIR_FLOW_HALF_OPEN) & WEIR_FLOW_HALF_OPEN))
		return;
	t = weir_tenant(f->tenant);
	if (t)
		__sync_fetch_and_add(&t->half_open, -1);
}

/* Give the connection back to the gauges of its levels, once and for good. */
weir_inline void weir_flow_uncount(struct weir_flow *f)
{
	__sync_fetch_and_or(&f->flags, WEIR_FLOW_RELEASED); /* see weir_move_connection */
	weir_half_open_over(f);
	if (!(__sync_fetch_and_and(&f->flags, ~WEIR_FLOW_COUNTED) & WEIR_FLOW_COUNTED))
		return;
	weir_levels_add(f->tenant, f->others, weir_gauge(connections), -1);
	weir_count_in_task(WEIR_CLOSE_RELEASED);
}

/* End the request in the flow's slot, if one is open: whoever moves the state
 * gives the in-flight place back and writes the END record. The reservation
 * goes with the record; the agent releases it when it has settled. */
weir_inline void weir_request_end(struct weir_flow *f, weir_u8 cause, weir_u64 now_ns)
{
	struct weir_slot *s = weir_slot(f);
	struct weir_rec_end *rec;
	weir_u32 state, tokens;
	weir_s64 nano;

	if (!s)
		return;
	state = s->state;
	if (state == WEIR_SLOT_IDLE ||
	    __sync_val_compare_and_swap(&s->state, state, WEIR_SLOT_IDLE) != state)
		return;
	if (state != WEIR_SLOT_OPEN)
		return;
	weir_levels_add(s->tenant, s->others, weir_gauge(inflight), -1);
	/* By exchange: what its body adds meanwhile is in one place only (weir_reserve_more). */
	nano = __sync_lock_test_and_set(&s->reserved_nano, 0);
	tokens = __sync_lock_test_and_set(&s->reserved_tokens, 0);
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		/* Its price will never be known. The credit stays held while no agent runs, so
		 * that spending is bounded; the agent gives it back. Tokens are only a rate. */
		struct weir_tenant *wallet = weir_tenant(s->wallet);

		if (wallet)
			__sync_fetch_and_add(&wallet->lost_nano, nano);
		if (tokens)
			weir_levels_add(s->tenant, s->others, weir_gauge(reserved_tokens),
					-(weir_s32)tokens);
		weir_count_in_task(WEIR_END_LOST);
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
	rec->reserved_nano = nano;
	rec->tenant = s->tenant;
	rec->wallet = s->wallet;
	rec->response_bytes = f->resp_offset;
	rec->lost_bytes = f->lost;
	rec->flags = s->flags | (f->flags & WEIR_FLOW_LEFT ? WEIR_SLOT_LEFT : 0);
	rec->others[0] = s->others[0];
	rec->others[1] = s->others[1];
	rec->others[2] = s->others[2];
	rec->reserved_tokens = tokens;
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
}

/* The head in a reader is whole, or given up: one less of its address. */
weir_inline void weir_head_place_back(struct weir_reader *r)
{
	weir_u32 place, *n;

	if (!r->place)
		return;
	place = __sync_lock_test_and_set(&r->place, 0) - 1;
	n = bpf_map_lookup_elem(&heads_waiting, &place); /* not there: another was faster */
	if (n)
		__sync_fetch_and_add(n, -1);
}

/* A reader is free again. */
weir_inline void weir_reader_back(weir_u32 index)
{
	struct weir_reader *r = bpf_map_lookup_elem(&readers, &index);

	if (r)
		weir_head_place_back(r);
	bpf_map_push_elem(&free_readers, &index, BPF_ANY);
}

/* So is the flow's, if it has one. Once, whoever comes first: a packet, or the sweep. */
weir_inline void weir_reader_drop(struct weir_flow *f)
{
	weir_u32 index;

	if (!f->reader)
		return;
	index = __sync_lock_test_and_set(&f->reader, 0);
	if (index)
		weir_reader_back(index);
}

/* Forget a connection. Only the caller whose delete succeeds returns what it held. */
weir_inline void weir_flow_gone(const struct weir_flow_key *key, struct weir_flow *f)
{
	weir_u32 slot = f->slot, reader = f->reader, resp_reader = f->resp_reader;

	if (bpf_map_delete_elem(&flows, key))
		return;
	bpf_map_push_elem(&free_slots, &slot, BPF_ANY);
	if (reader)
		weir_reader_back(reader);
	if (resp_reader)
		bpf_map_push_elem(&free_readers, &resp_reader, BPF_ANY);
	weir_count_in_task(WEIR_FLOW_GONE);
}

/* The socket is closed: everything it held goes back. A refused flow stays until
 * its client has read the answer (linger.h). */
weir_inline void weir_flow_close(const struct weir_flow_key *key, struct weir_flow *f,
				 weir_u64 now_ns)
{
	/* First, for a request that is being admitted on another CPU (weir_judge). */
	__sync_fetch_and_or(&f->flags, WEIR_FLOW_RELEASED);
	weir_request_end(f, WEIR_END_CLOSE, now_ns);
	weir_flow_uncount(f);
	if (f->state < WEIR_FLOW_REFUSED)
		weir_flow_gone(key, f);
}

/* Times in the queue are u32 of milliseconds, compared signed. */
#define WEIR_HALF_OPEN_MAX_NS (1000000ULL << 30)

/* Handshakes that are never completed: give up the oldest if its time is over. 0: it is not, or
 * there is none. */
weir_global int weir_half_open_expire(weir_u64 now_ns)
{
	struct weir_half_open h __attribute__((aligned(8)));
	const struct weir_config *c = weir_config();
	weir_u32 now_ms = now_ns / 1000000, ms;
	struct weir_flow *f;

	if (!c)
		return 0;
	ms = c->half_open_ns < WEIR_HALF_OPEN_MAX_NS ? c->half_open_ns / 1000000
						     : WEIR_HALF_OPEN_MAX_NS / 1000000;
	if (bpf_map_peek_elem(&half_open, &h) || (weir_s32)(now_ms - h.opened_ms) <= (weir_s32)ms)
		return 0;
	if (bpf_map_pop_elem(&half_open, &h))
		return 0;
	if ((weir_s32)(now_ms - h.opened_ms) <= (weir_s32)ms) {
		/* Another CPU took that one. */
		bpf_map_push_elem(&half_open, &h, BPF_ANY);
		return 0;
	}
	f = bpf_map_lookup_elem(&flows, &h.key);
	if (f && f->state == WEIR_FLOW_SYN && (weir_u32)(f->opened_ns / 1000000) == h.opened_ms) {
		weir_flow_close(&h.key, f, now_ns);
		weir_count(WEIR_HALF_OPEN_EXPIRED);
	}
	return 1;
}

/* A connection was let in whose handshake is not complete. */
weir_inline void weir_half_open_begins(struct weir_scratch *s, struct weir_flow *f,
				       struct weir_tenant *t, weir_u64 now_ns)
{
	struct weir_half_open h __attribute__((aligned(8))) = { .key = s->key };

	h.opened_ms = now_ns / 1000000;
	__sync_fetch_and_add(&t->half_open, 1);
	__sync_fetch_and_or(&f->flags, WEIR_FLOW_HALF_OPEN);
	/* One out for one in, also where nobody waits for the place: it must not fill up. */
	weir_half_open_expire(now_ns);
	bpf_map_push_elem(&half_open, &h, BPF_ANY);
}

#endif
