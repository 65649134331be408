/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bodies that are held to rules: read as they pass, a value lowered or replaced in
 * place, or the request refused in mid-body. What was written over is kept until the
 * server has acknowledged it, for the client will resend what it sent.
 */
#ifndef WEIR_BODY_RULES_H
#define WEIR_BODY_RULES_H

#include "body.h"
#include "reader.h"
#include "refuse.h"
#include "act.h"

weir_inline const struct weir_rules *weir_rules_at(weir_u32 index)
{
	return bpf_map_lookup_elem(&rules, &index);
}

/* -- writing over */

/* Write a rule's value over `len` bytes of the packet at off, and mend the checksum.
 * 0, or -1: nothing was written. */
weir_global int weir_edit_write(struct __sk_buff *skb, weir_u32 rule, weir_u32 kind, weir_u32 off,
				weir_u32 len)
{
	const struct weir_rules *r = weir_rules_at(rule);
	struct weir_scratch *s = weir_scratch();
	weir_u32 span, lead, start, n, end;
	weir_s64 diff;

	if (!r || !s)
		return -1;
	span = len + (kind == WEIR_EDIT_MODEL); /* the closing quote moves */
	/* The checksum adds words that begin with the TCP header: so must the piece. */
	lead = (off - s->packet.tcp_off) & 3;
	start = off - lead;
	end = s->packet.pay_off + s->packet.pay_len;
	if (off < s->packet.pay_off || off + span > end || span < len)
		return -1;
	__builtin_memset(s->old_bytes, 0, sizeof(s->old_bytes));
	__builtin_memset(s->new_bytes, 0, sizeof(s->new_bytes));
	n = lead + span;
	if (!weir_within(&n, WEIR_EDIT_ROOM) || bpf_skb_load_bytes(skb, start, s->old_bytes, n))
		return -1;
	if (!weir_within(&span, WEIR_EDIT_MAX) ||
	    bpf_skb_store_bytes(skb, off, kind == WEIR_EDIT_MODEL ? r->model_text : r->tokens_text,
				span, 0))
		return -1;
	n = lead + span;
	if (!weir_within(&n, WEIR_EDIT_ROOM) || bpf_skb_load_bytes(skb, start, s->new_bytes, n))
		return -1;
	diff = bpf_csum_diff((__be32 *)s->old_bytes, WEIR_EDIT_ROOM, (__be32 *)s->new_bytes,
			     WEIR_EDIT_ROOM, 0);
	return bpf_l4_csum_replace(skb, s->packet.tcp_off + 16, 0, diff, 0) ? -1 : 0;
}

/* A segment with bytes that were seen: what was written over then is again. 0, or -1. */
weir_global int weir_edits_again(struct __sk_buff *skb, weir_u32 reader)
{
	struct weir_scratch *s = weir_scratch();
	struct weir_reader *r = weir_reader(reader);
	weir_u32 seq, len;

	if (!r || !s)
		return -1;
	seq = s->packet.seq;
	len = s->packet.pay_len;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_EDITS; i++) {
		weir_u32 at;

		if (i >= r->n_edits)
			break;
		at = r->edits[i].seq - seq;
		if (at < len && weir_edit_write(skb, r->rule, r->edits[i].kind,
						s->packet.pay_off + at, r->edits[i].len))
			return -1;
	}
	return 0;
}

/* -- reading */

/* What is to be done after an event. */
enum weir_rules_next {
	WEIR_RULES_ON,
	WEIR_RULES_WINDOW, /* the next window */
	WEIR_RULES_OVER,   /* nothing more can matter */
	WEIR_RULES_REFUSE, /* s->refusal.reason is set */
	WEIR_RULES_UNREAD, /* cannot be read: refused */
};

weir_inline int weir_rules_refuse(struct weir_scratch *s, weir_u32 reason)
{
	s->refusal.reason = reason;
	if (reason == WEIR_DENY_FALLBACK) {
		/* its figures are of credit */
		s->refusal.limit = 0;
		s->refusal.asked = 0;
	}
	return WEIR_RULES_REFUSE;
}

/* The value in r->body.state is to be written over. It must lie in the packet at hand. */
weir_inline int weir_rules_edit(struct __sk_buff *skb, struct weir_scratch *s,
				struct weir_reader *r, weir_u32 kind, weir_u32 reason)
{
	weir_u32 seq = r->body_seq + r->body.state.value_at, len = r->body.state.value_len;
	weir_u32 at = seq - s->packet.seq, i = r->n_edits;

	weir_opaque(i);
	if (i >= WEIR_EDITS || at >= s->packet.pay_len ||
	    weir_edit_write(skb, r->rule, kind, s->packet.pay_off + at, len))
		return weir_rules_refuse(s, reason);
	r->edits[i].seq = seq;
	r->edits[i].len = len;
	r->edits[i].kind = kind;
	r->n_edits = i + 1;
	return WEIR_RULES_ON;
}

/* The scanner stopped: judge what it found. */
weir_global int weir_rules_event(struct __sk_buff *skb, weir_u32 reader)
{
	struct weir_scratch *s = weir_scratch();
	struct weir_reader *r = weir_reader(reader);
	const struct weir_rules *rules;
	int next;

	if (!s || !r)
		return WEIR_RULES_UNREAD;
	rules = weir_rules_at(r->rule);
	if (!rules)
		return WEIR_RULES_UNREAD;
	s->refusal.limit = rules->max_output_tokens;
	s->refusal.value = 0;
	switch (r->body.state.event) {
	case WEIR_BODY_MORE:
		return WEIR_RULES_WINDOW;
	case WEIR_BODY_TOKENS:
		if (!rules->max_output_tokens)
			return WEIR_RULES_ON;
		if (r->body.state.plain &&
		    (r->max_tokens == ~0ULL || r->body.state.number > r->max_tokens))
			r->max_tokens = r->body.state.number;
		if (r->body.state.plain && r->body.state.number <= rules->max_output_tokens)
			return WEIR_RULES_ON;
		/* What is not plain, or beyond all counting, is told as the most there is. */
		s->refusal.asked =
			r->body.state.number < (~0ULL >> 1) ? r->body.state.number : ~0ULL >> 1;
		if (!r->body.state.plain || (rules->flags & WEIR_RULE_REFUSE_OUTPUT))
			return weir_rules_refuse(s, WEIR_DENY_OUTPUT_TOKENS);
		next = weir_rules_edit(skb, s, r, WEIR_EDIT_TOKENS, WEIR_DENY_OUTPUT_TOKENS);
		if (next == WEIR_RULES_ON) {
			weir_count(WEIR_REWRITE_TOKENS);
			r->told |= WEIR_BODY_TOKENS_CUT;
		}
		return next;
	case WEIR_BODY_MODEL:
		if (!r->degrade)
			return WEIR_RULES_ON;
		if (rules->fallback_len > r->body.state.value_len)
			return weir_rules_refuse(s, WEIR_DENY_FALLBACK);
		next = weir_rules_edit(skb, s, r, WEIR_EDIT_MODEL, WEIR_DENY_FALLBACK);
		if (next == WEIR_RULES_ON) {
			weir_count(WEIR_REWRITE_MODEL);
			r->told |= WEIR_BODY_MODEL_REPLACED;
		}
		return next;
	case WEIR_BODY_BAD:
		return weir_rules_refuse(s, WEIR_DENY_BODY);
	}
	/* END, or no object: nobody reads a model from it any more. */
	if (r->degrade && !(r->told & WEIR_BODY_MODEL_REPLACED))
		return weir_rules_refuse(s, WEIR_DENY_FALLBACK);
	return WEIR_RULES_OVER;
}

/* The window in r->body: until nothing is left of it, or it is over. */
weir_global int weir_rules_window(struct __sk_buff *skb, weir_u32 reader)
{
	struct weir_reader *r = weir_reader(reader);
	int next;

	if (!r)
		return WEIR_RULES_UNREAD;
#pragma clang loop unroll(disable)
	for (int k = 0; k < WEIR_BODY_RUNS; k++) {
		if (!weir_body_run(&r->body))
			continue;
		next = weir_rules_event(skb, reader);
		if (next != WEIR_RULES_ON)
			return next;
	}
	return WEIR_RULES_UNREAD; /* does not happen: WEIR_BODY_RUNS is enough */
}

/* The next window of s->span. Returns enum weir_rules_next: ON, or what the body came to. */
weir_global int weir_rules_piece(struct __sk_buff *skb, weir_u32 reader)
{
	struct weir_reader *r = weir_reader(reader);
	struct weir_scratch *s = weir_scratch();
	weir_u32 n, taken;
	int next;

	if (!r || !s)
		return WEIR_RULES_UNREAD;
	n = s->span.len;
	if (!n)
		return WEIR_RULES_WINDOW;
	if (n > WEIR_BODY_WINDOW)
		n = WEIR_BODY_WINDOW;
	if (!weir_within(&n, WEIR_BODY_WINDOW))
		return WEIR_RULES_UNREAD;
	taken = n;
	if (bpf_skb_load_bytes(skb, s->span.off, r->body.bytes, n))
		return WEIR_RULES_UNREAD;
	weir_body_window(&r->body, s->span.base, taken);
	next = weir_rules_window(skb, reader);
	s->span.base += taken;
	s->span.off += taken;
	s->span.len -= taken;
	return next == WEIR_RULES_WINDOW ? WEIR_RULES_ON : next;
}

#define WEIR_RULES_PIECES 520 /* 512 KiB (BIG TCP), and some */

/* Read len bytes at off of the packet, `base` bytes into the body. Returns enum weir_rules_next:
 * WINDOW, OVER or REFUSE. */
weir_global int weir_rules_scan(struct __sk_buff *skb, weir_u32 reader, weir_u32 base, weir_u32 off,
				weir_u32 len)
{
	struct weir_scratch *s = weir_scratch();

	if (!s)
		return WEIR_RULES_UNREAD;
	s->span.off = off;
	s->span.len = len;
	s->span.base = base;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_RULES_PIECES; i++) {
		int next = weir_rules_piece(skb, reader);

		if (next != WEIR_RULES_ON)
			return next;
	}
	return WEIR_RULES_UNREAD;
}

/* Tell user space what the body said. */
weir_global int weir_rules_tell(struct weir_flow *f)
{
	const struct weir_config *c = weir_config();
	struct weir_rec_body *rec;
	struct weir_reader *r;
	struct weir_slot *slot;

	if (!f || !c)
		return 0;
	r = weir_reader(f->reader);
	slot = weir_slot(f);
	if (!r || !slot || slot->state != WEIR_SLOT_OPEN)
		return 0;
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > c->ring_data_max)
		goto lost;
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec)
		goto lost;
	rec->h.type = WEIR_REC_BODY;
	rec->h.flags = 0;
	rec->h.service = slot->service;
	rec->h.slot = f->slot;
	rec->h.ordinal = slot->ordinal;
	rec->h.len = 0;
	rec->h.time_ns = bpf_ktime_get_ns();
	rec->started_wall_ns = slot->started_wall_ns;
	rec->max_tokens = r->max_tokens;
	rec->flags = r->told;
	rec->model_len = r->body.state.model_len;
	__builtin_memcpy(rec->model, r->body.state.model, sizeof(rec->model));
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
	return 0;
lost:
	weir_count(WEIR_TAP_LOST);
	return 0;
}

/* What the body asks for is known: the reservation becomes that. 0, or the reason to refuse: the
 * difference is more than there is. */
weir_global int weir_reserve_again(struct weir_flow *f)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_config *c = weir_config();
	struct weir_tenant *t, *wallet;
	const struct weir_rules *rules;
	struct weir_reader *r;
	struct weir_slot *slot;
	weir_u64 out;
	weir_s64 nano, left, expired = 0;
	weir_s32 tokens;

	if (!f || !s || !c)
		return 0;
	r = weir_reader(f->reader);
	slot = weir_slot(f);
	if (!r || !slot || r->max_tokens == ~0ULL || slot->state != WEIR_SLOT_OPEN)
		return 0;
	rules = weir_rules_at(r->rule);
	t = weir_tenant(slot->tenant);
	wallet = weir_tenant(slot->wallet);
	if (!rules || !t || !wallet)
		return 0;
	out = r->max_tokens;
	if (rules->max_output_tokens && out > rules->max_output_tokens)
		out = rules->max_output_tokens;
	if (out > WEIR_RESERVE_TOKENS_MAX)
		out = WEIR_RESERVE_TOKENS_MAX;
	tokens = (weir_s32)out - (weir_s32)t->reserve_output_tokens;
	nano = tokens * t->reserve_nano_per_output_token;
	if (nano > 0 && wallet->expiry_wall_ns)
		expired = weir_expired(wallet, bpf_ktime_get_ns() + c->wall_offset_ns);
	left = weir_credit_left(wallet, __sync_fetch_and_add(&wallet->reserved_nano, nano) + nano,
				expired);
	if (nano > 0 && left < 0 && (t->flags & WEIR_TENANT_CREDIT) &&
	    !(slot->flags & (WEIR_SLOT_SHADOW | WEIR_SLOT_DEGRADED)) &&
	    !((t->flags & WEIR_TENANT_DOWN_OPEN) && weir_agent_down(c, bpf_ktime_get_ns()))) {
		__sync_fetch_and_add(&wallet->reserved_nano, -nano);
		s->refusal.limit = wallet->balance_nano - expired;
		s->refusal.value = left + nano + slot->reserved_nano;
		s->refusal.asked = slot->reserved_nano + nano;
		return WEIR_DENY_CREDIT;
	}
	__sync_fetch_and_add(&slot->reserved_nano, nano);
	if (slot->reserved_tokens) {
		weir_levels_add(slot->tenant, slot->others, weir_gauge(reserved_tokens), tokens);
		__sync_fetch_and_add(&slot->reserved_tokens, tokens);
	}
	/* It may have ended meanwhile: who ended it took what was there then, by exchange, and
	 * what we find there now is nobody else's. */
	if (slot->state != WEIR_SLOT_OPEN) {
		nano = __sync_lock_test_and_set(&slot->reserved_nano, 0);
		tokens = __sync_lock_test_and_set(&slot->reserved_tokens, 0);
		__sync_fetch_and_add(&wallet->reserved_nano, -nano);
		weir_levels_add(slot->tenant, slot->others, weir_gauge(reserved_tokens), -tokens);
	}
	return 0;
}

/* A request that was admitted with its head is refused: what it took goes back. */
weir_global int weir_take_back(struct weir_flow *f)
{
	struct weir_scratch *s = weir_scratch();
	struct weir_reader *r;
	struct weir_slot *slot;
	struct weir_tenant *t;
	bool in_time;

	if (!f || !s)
		return 0;
	slot = weir_slot(f);
	r = weir_reader(f->reader);
	if (!slot || !r)
		return 0;
	s->refusal.tenant = slot->tenant;
	s->refusal.level = slot->tenant;
	s->refusal.retry_ns = 0;
	s->request.dialect = r->dialect;
	if (s->request.dialect >= WEIR_API_MAX)
		s->request.dialect = WEIR_API_OPENAI;
	s->request.now_ns = bpf_ktime_get_ns();
	in_time = weir_until_open(r->taken_until, s->request.now_ns);
	if (slot->flags & WEIR_SLOT_FIRST)
		__sync_fetch_and_and(&f->flags, ~WEIR_FLOW_USED);
	if (slot->state == WEIR_SLOT_OPEN) {
#pragma clang loop unroll(full)
		for (int i = 0; i < WEIR_LEVELS; i++) {
			weir_u32 index = i ? slot->others[i - 1] : slot->tenant;

			if (!(slot->flags & WEIR_SLOT_TAKEN << i) || !in_time)
				continue;
			t = weir_tenant(index);
			if (t)
				weir_gcra_give_back(&t->request_tat_ns, t->request_interval_ns);
		}
		t = weir_tenant(slot->tenant);
		if (t)
			__sync_fetch_and_add(&t->admitted, -1);
	}
	weir_request_end(f, WEIR_END_REFUSED, s->request.now_ns);
	f->ordinal--;
	return 0;
}

/* The body of the request just admitted, or more of it: len bytes at off, the first of them
 * f->next_seq. */
weir_global int weir_rules_in(struct __sk_buff *skb, struct weir_flow *f, weir_u32 off,
			      weir_u32 len)
{
	struct weir_scratch *s = weir_scratch();
	weir_u32 seq, end, in_body, rest;
	struct weir_reader *r;
	weir_u64 hash;
	int next;

	if (!f || !s)
		return WEIR_ACT_DROP;
	r = weir_reader(f->reader);
	if (!r)
		return WEIR_ACT_DROP;
	seq = f->next_seq;
	in_body = r->body_end - seq;
	if (in_body > len)
		in_body = len;
	end = seq + in_body;
	rest = len - in_body;
	if (!weir_only_blank(skb, off + in_body, rest))
		return weir_close(s, WEIR_DROP_PIPELINED);
	__builtin_memset(&s->refusal, 0, sizeof(s->refusal));
	/* As the client sent it, before anything is written over. */
	hash = weir_packet_hash(skb, off, in_body);
	next = weir_rules_scan(skb, f->reader, seq - r->body_seq, off, in_body);
	if (next == WEIR_RULES_WINDOW && end == r->body_end) {
		next = WEIR_RULES_OVER;
		if (r->degrade && !(r->told & WEIR_BODY_MODEL_REPLACED))
			next = weir_rules_refuse(s, WEIR_DENY_FALLBACK);
	}
	if (next == WEIR_RULES_UNREAD)
		next = weir_rules_refuse(s, WEIR_DENY_BODY);
	if (next == WEIR_RULES_OVER) {
		int reason = weir_reserve_again(f);

		if (reason)
			next = weir_rules_refuse(s, reason);
	}
	if (next == WEIR_RULES_REFUSE)
		return WEIR_ACT_REFUSE_BODY;
	weir_part_add(r, seq, end, hash);
	r->until = end;
	f->next_seq = end;
	if (next == WEIR_RULES_OVER) {
		weir_rules_tell(f);
		f->next_seq = r->body_end + rest;
		f->blank_seq = r->body_end;
		f->request_phase = WEIR_REQ_HEAD;
	}
	return WEIR_ACT_PASS;
}

#endif
