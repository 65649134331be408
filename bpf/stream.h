/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The client's bytes of a connection as one stream: where the next head begins, what is
 * body, what was seen before, what comes out of order. forms.md has the rules, by number.
 */
#ifndef WEIR_STREAM_H
#define WEIR_STREAM_H

#include "act.h"
#include "chunk_walk.h"
#include "reader.h"
#include "repeat.h"
#include "refuse.h"
#include "request.h"
#include "rules.h"

/* A judged request's answer is still to come, or coming. */
weir_inline bool weir_answering(const struct weir_flow *f)
{
	struct weir_slot *slot = weir_slot(f);

	return slot && slot->state != WEIR_SLOT_IDLE && f->resp_phase != WEIR_RESP_CLOSE;
}

/* -- bodies */

/* A chunked body's next len bytes at off, the first of them f->next_seq. */
weir_global int weir_chunks_in(struct __sk_buff *skb, struct weir_flow *f, weir_u32 off,
			       weir_u32 len)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_rules *rules;
	struct weir_chunk_walk *w;
	weir_u32 seq, end, rest;
	struct weir_reader *r;

	if (!f || !s)
		return WEIR_ACT_DROP;
	r = weir_reader(f->reader);
	if (!r)
		return WEIR_ACT_DROP;
	seq = f->next_seq;
	end = seq + len;
	r->body_bytes += len;
	rules = weir_rules_at(r->rule);
	if (rules && rules->max_input_tokens &&
	    r->body_bytes / WEIR_BYTES_PER_TOKEN > rules->max_input_tokens) {
		__builtin_memset(&s->refusal, 0, sizeof(s->refusal));
		s->refusal.reason = WEIR_DENY_INPUT_TOKENS;
		s->refusal.limit = rules->max_input_tokens;
		s->refusal.value = r->body_bytes / WEIR_BYTES_PER_TOKEN;
		s->refusal.asked = s->refusal.value;
		return WEIR_ACT_REFUSE_BODY;
	}
	if (r->chunk.phase == WEIR_CHUNK_DATA && r->chunk.left > len) {
		r->chunk.left -= len;
		f->next_seq = end;
		return WEIR_ACT_PASS;
	}
	if (r->chunk.phase == WEIR_CHUNK_DATA)
		weir_data_add(r, seq);
	w = &s->walk;
	w->chunk = r->chunk;
	w->off = off;
	w->end = off + len;
	w->strict = 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < WEIR_WALKS; i++)
		if (weir_walk_chunks(skb, w))
			break;
	r->chunk = w->chunk;
	if (w->chunk.phase == WEIR_CHUNK_DONE) {
		rest = w->end - w->off;
		if (!weir_only_blank(skb, w->off, rest))
			return weir_close(s, WEIR_DROP_PIPELINED);
		f->request_phase = WEIR_REQ_HEAD;
		f->blank_seq = end;
	} else if (w->chunk.phase == WEIR_CHUNK_BAD || w->off < w->end) {
		return weir_close(s, WEIR_DROP_BAD_CHUNK);
	}
	weir_part_add(r, seq, end, weir_packet_hash(skb, off, len));
	r->until = end;
	r->data_seq = end;
	f->next_seq = end;
	return WEIR_ACT_PASS;
}

/* The request was admitted: its body begins, maybe in this packet. BODY: what is there has to
 * be looked at. */
weir_global int weir_body_begins(struct weir_flow *f)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_request *rq;
	weir_u32 end, len, body_end;
	struct weir_reader *r;
	struct weir_slot *slot;
	struct weir_tenant *t;

	if (!f || !s)
		return WEIR_ACT_DROP;
	rq = &s->request;
	end = s->packet.seq + s->packet.pay_len;
	len = end - rq->body_seq;
	f->next_seq = rq->body_seq;
	r = f->reader ? weir_reader(f->reader) : NULL;
	slot = weir_slot(f);
	if (!slot)
		return WEIR_ACT_DROP;
	t = weir_tenant(slot->tenant);
	if (r) {
		r->body_seq = rq->body_seq;
		r->dialect = rq->dialect;
		r->degrade = !!(slot->flags & WEIR_SLOT_DEGRADED);
		r->rule = rq->rules_hold && t ? t->rules : 0;
		r->max_tokens = ~0ULL;
		r->told = 0;
		r->taken_until = s->demand.until;
	}
	if (rq->body_bytes == WEIR_NO_LENGTH) {
		if (!r)
			return WEIR_ACT_DROP;
		f->request_phase = WEIR_REQ_CHUNKS;
		r->chunk.left = 0;
		r->chunk.phase = WEIR_CHUNK_SIZE;
		r->chunk.digits = 0;
		r->data_seq = rq->body_seq;
		r->n_data = 0;
		r->body_bytes = 0;
		return len ? WEIR_ACT_BODY_MORE : WEIR_ACT_PASS;
	}
	body_end = rq->body_seq + (weir_u32)rq->body_bytes;
	if (r && r->rule && rq->body_bytes) {
		f->request_phase = WEIR_REQ_RULES;
		r->body_end = body_end;
		weir_body_start(&r->body);
		return len ? WEIR_ACT_BODY_MORE : WEIR_ACT_PASS;
	}
	f->request_phase = WEIR_REQ_HEAD;
	f->blank_seq = body_end;
	f->next_seq = weir_before(body_end, end) ? end : body_end;
	return WEIR_ACT_PASS;
}

/* -- heads */

weir_inline void weir_see(weir_u32 service, weir_u32 what)
{
	weir_u32 *flags = bpf_map_lookup_elem(&seen, &service);

	if (flags && !(*flags & what))
		__sync_fetch_and_or(flags, what);
}

/* From here on nothing is looked at, unless the byte at `seq`, by which that was decided,
 * comes again before the server has it. */
weir_inline void weir_go_raw(struct weir_flow *f, weir_u32 seq)
{
	weir_reader_drop(f);
	f->request_phase = WEIR_REQ_RAW;
	f->head_seq = seq;
	f->head_end = seq;
}

/* Judge the request whose head is in s->request.reader. */
weir_global int weir_request_in(struct __sk_buff *skb, struct weir_flow *f)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	struct weir_request *rq;
	struct weir_reader *r;
	weir_u32 end, rest;
	bool kept;

	if (!f || !s || !c)
		return WEIR_ACT_DROP;
	rq = &s->request;
	r = weir_reader(rq->reader);
	if (!r)
		return WEIR_ACT_DROP;
	end = s->packet.seq + s->packet.pay_len;
	kept = f->reader;
	rq->now_ns = bpf_ktime_get_ns();
	rq->body_seq = f->head_seq + r->head.head_len;
	if (rq->result == WEIR_HEAD_DONE) {
		weir_read_request(rq);
	} else {
		rq->path_off = 0;
		rq->form = rq->result == WEIR_HEAD_TOO_LARGE ? WEIR_DENY_HEAD_TOO_LARGE
							     : WEIR_DENY_MALFORMED;
	}
	if (rq->form == WEIR_DENY_PROTOCOL)
		weir_see(rq->service, rq->path_off ? WEIR_SEEN_UPGRADE : WEIR_SEEN_H2C);
	if ((!rq->form || (rq->form == WEIR_DENY_PROTOCOL && rq->path_off)) &&
	    rq->body_bytes != WEIR_NO_LENGTH) {
		rest = end - rq->body_seq;
		if (rest > rq->body_bytes) {
			rest -= rq->body_bytes;
			if (!weir_only_blank(skb, s->packet.pay_off + s->packet.pay_len - rest,
					     rest))
				return weir_close(s, WEIR_DROP_PIPELINED);
		}
	}
	weir_request_end(f, WEIR_END_NEXT, rq->now_ns);
	if (!rq->free)
		weir_whose(rq, weir_hash_key(s));
	switch (weir_judge(f)) {
	case WEIR_JUDGED_REFUSE:
		return WEIR_ACT_REFUSE;
	case WEIR_JUDGED_DROP:
		return weir_drop(WEIR_DROP_HEAD_ROOM);
	case WEIR_JUDGED_RAW:
		weir_go_raw(f, f->head_seq);
		return WEIR_ACT_PASS;
	}
	if (!kept) {
		/* It came whole: known again by its hash. */
		f->head_end = rq->body_seq;
		f->head_hash = weir_head_hash(rq->reader, r->head.head_len);
	}
	return WEIR_ACT_BODY;
}

/* More of a head in parts: len bytes at off. */
weir_inline int weir_head_more(struct __sk_buff *skb, struct weir_scratch *s, struct weir_flow *f,
			       weir_u32 off, weir_u32 len)
{
	weir_u32 seq = f->next_seq, part = len;
	struct weir_reader *r;
	int result;

	result = weir_reader_add(skb, f->reader, off, len);
	r = weir_reader(f->reader);
	if (!r)
		return weir_pass(WEIR_PASS_INTERNAL);
	if (result == WEIR_HEAD_DONE)
		part = f->head_seq + r->head.head_len - seq;
	weir_part_add(r, seq, seq + part, weir_packet_hash(skb, off, part));
	r->until = seq + part;
	f->next_seq = seq + part;
	if (result == WEIR_HEAD_MORE)
		return weir_pass(WEIR_PASS_HEAD_PART);
	weir_head_place_back(r);
	s->request.reader = f->reader;
	s->request.result = result;
	return WEIR_ACT_REQUEST;
}

/* A head begins: len bytes at off. */
weir_inline int weir_head_begins(struct __sk_buff *skb, struct weir_scratch *s, struct weir_flow *f,
				 weir_u32 off, weir_u32 len)
{
	weir_u32 seq = f->next_seq, end = seq + len, own = weir_reader_own(), start;
	struct weir_reader *r = weir_reader(own);
	int result;
	weir_u8 c;

	if (!r)
		return weir_pass(WEIR_PASS_INTERNAL);
	weir_head_start(&r->head, true);
	r->head.line_bits = s->request.line_bits;
	result = weir_reader_add(skb, own, off, len);
	if (r->head.phase == WEIR_HEAD_EMPTY && result == WEIR_HEAD_MORE &&
	    end - f->blank_seq <= WEIR_HEAD_BLANK) {
		f->next_seq = end;
		return weir_pass(WEIR_PASS_BODY);
	}
	/* Two answers at once on one connection cannot be told apart. */
	if (weir_answering(f))
		return weir_close(s, WEIR_DROP_PIPELINED);
	/* Rule 2. */
	if ((f->flags & WEIR_FLOW_TAPPED) && weir_before(f->acked, s->packet.seq))
		return weir_drop(WEIR_DROP_OUT_OF_ORDER);
	weir_reader_drop(f);
	f->head_seq = seq;
	f->head_end = seq;
	start = r->head.start;
	weir_opaque(start);
	if (start > WEIR_HEAD_BLANK)
		return weir_pass(WEIR_PASS_INTERNAL);
	c = r->head.bytes[start];
	if (!start && c == 0x16 && (len < 2 || r->head.bytes[1] == 3)) {
		weir_see(s->request.service, WEIR_SEEN_TLS);
		weir_go_raw(f, seq);
		return weir_pass(WEIR_PASS_TLS);
	}
	/* Leading blanks and the like: not every server throws these out. */
	if (r->head.phase != WEIR_HEAD_EMPTY && !weir_token_char(c))
		result = WEIR_HEAD_BAD;
	if (result == WEIR_HEAD_MORE) {
		weir_u32 index = weir_reader_take(bpf_ktime_get_ns());

		r = weir_reader(index);
		if (!index || !r)
			return weir_drop(WEIR_DROP_HEAD_ROOM);
		if (!weir_head_place_take(s, r)) {
			weir_reader_back(index);
			return weir_drop(WEIR_DROP_HEAD_ROOM);
		}
		weir_head_start(&r->head, true);
		r->head.line_bits = s->request.line_bits;
		f->reader = index;
		f->request_phase = WEIR_REQ_PARTS;
		return weir_head_more(skb, s, f, off, len);
	}
	s->request.reader = own;
	s->request.result = result;
	return WEIR_ACT_REQUEST;
}

/* -- segments */

/* An adopted connection: does the segment begin with a method, a blank, and a target? */
weir_inline bool weir_looks_like_request(struct __sk_buff *skb, const struct weir_packet *p)
{
	weir_u8 b[16] = {};
	bool method = true;

	if (p->pay_len < 16 || bpf_skb_load_bytes(skb, p->pay_off, b, 16))
		return false;
#pragma clang loop unroll(full)
	for (int i = 0; i < 15; i++) {
		if (method && b[i] == ' ')
			return i > 2 && (b[i + 1] == '/' || b[i + 1] == 'h');
		if (b[i] < 'A' || b[i] > 'Z')
			method = false;
	}
	return false;
}

/* Bytes behind what comes next. */
weir_inline int weir_ahead(struct weir_flow *f, const struct weir_packet *p)
{
	weir_u32 to_end = p->seq + p->pay_len - f->next_seq;
	struct weir_reader *r;

	if (f->request_phase != WEIR_REQ_CHUNKS)
		return weir_drop(WEIR_DROP_OUT_OF_ORDER);
	r = weir_reader(f->reader);
	/* In the data of the chunk at hand: it is data whatever is missing before it. */
	if (!r || r->chunk.phase != WEIR_CHUNK_DATA || to_end > WEIR_BODY_MAX ||
	    to_end >= r->chunk.left)
		return weir_drop(WEIR_DROP_OUT_OF_ORDER);
	r->chunk.left -= to_end;
	f->next_seq += to_end;
	return weir_pass(WEIR_PASS_BODY);
}

/* The packet's bytes from f->next_seq on, of a head. */
weir_inline int weir_head_bytes(struct __sk_buff *skb, struct weir_scratch *s, struct weir_flow *f)
{
	weir_u32 off = s->packet.pay_off + (f->next_seq - s->packet.seq);
	weir_u32 len = s->packet.seq + s->packet.pay_len - f->next_seq;

	if (f->request_phase == WEIR_REQ_PARTS)
		return weir_head_more(skb, s, f, off, len);
	return weir_head_begins(skb, s, f, off, len);
}

/* The same, of a body that is read. */
weir_global int weir_body_in(struct __sk_buff *skb, struct weir_flow *f)
{
	struct weir_scratch *s = weir_scratch();
	weir_u32 off, len;

	if (!s || !f)
		return WEIR_ACT_DROP;
	off = s->packet.pay_off + (f->next_seq - s->packet.seq);
	len = s->packet.seq + s->packet.pay_len - f->next_seq;
	weir_reader_goes_on(f);
	if (f->request_phase == WEIR_REQ_CHUNKS)
		return weir_chunks_in(skb, f, off, len);
	return weir_rules_in(skb, f, off, len);
}

/* A segment with payload on an open flow. Returns enum weir_act. */
weir_global int weir_look(struct __sk_buff *skb, struct weir_flow *f)
{
	struct weir_scratch *s = weir_scratch();
	const struct weir_config *c = weir_config();
	const struct weir_packet *p;
	weir_u32 end, service;
	weir_s32 before;

	if (!f || !s || !c)
		return WEIR_ACT_PASS;
	p = &s->packet;
	end = p->seq + p->pay_len;
	service = f->service;
	__builtin_memset(&s->request, 0, sizeof(s->request));
	s->request.service = service;
	s->request.line_bits = c->line_bits;
	weir_opaque(service);
	if (service < WEIR_MAX_SERVICES)
		s->request.dialect = c->services[service].dialect;
	if (s->request.dialect >= WEIR_API_MAX)
		s->request.dialect = WEIR_API_OPENAI;

	if ((f->flags & WEIR_FLOW_OVER) &&
	    (f->request_phase == WEIR_REQ_RAW || f->request_phase == WEIR_REQ_ADOPTED))
		f->request_phase = WEIR_REQ_HEAD; /* closed below */
	switch (f->request_phase) {
	case WEIR_REQ_RAW:
		/* Is what decided it sent again before the server has it? */
		if (weir_before(f->head_seq, f->acked) || weir_before(f->head_seq, p->seq) ||
		    !weir_before(f->head_seq, end))
			return weir_pass(WEIR_PASS_BODY);
		f->request_phase = WEIR_REQ_HEAD;
		f->next_seq = f->head_seq;
		f->blank_seq = f->head_seq;
		break;
	case WEIR_REQ_ADOPTED:
		f->blank_seq = p->seq;
		if ((f->flags & WEIR_FLOW_TAPPED) && !weir_before(f->acked, end))
			return weir_pass(WEIR_PASS_REPEAT);
		if (!weir_looks_like_request(skb, p))
			return weir_pass(WEIR_PASS_BODY);
		f->next_seq = p->seq;
		f->acked = p->seq;
		f->request_phase = WEIR_REQ_HEAD;
		break;
	}
	s->request.reset_seq = f->next_seq;
	if (f->request_phase == WEIR_REQ_EXPIRED)
		return weir_close(s, WEIR_HEAD_EXPIRED);
	if (f->flags & WEIR_FLOW_OVER) {
		if (!weir_before(f->acked, end))
			return weir_pass(WEIR_PASS_REPEAT);
		s->request.reset_seq = f->acked;
		return weir_close(s, WEIR_DROP_AFTER_ANSWER);
	}
	before = f->next_seq - p->seq;
	if (before < 0)
		return weir_ahead(f, p);
	if (before > 0) {
		weir_u32 upto = weir_before(end, f->next_seq) ? end : f->next_seq;

		int again = weir_seen_before(skb, f, upto);

		if (again == WEIR_AGAIN_CHANGED) {
			s->request.reset_seq = f->acked;
			return weir_close(s, WEIR_DROP_CHANGED);
		}
		if (again == WEIR_AGAIN_SAME && f->reader && weir_edits_again(skb, f->reader))
			return weir_drop(WEIR_DROP_CHANGE_TAIL);
		if (upto == end)
			return weir_pass(again == WEIR_AGAIN_BODY ? WEIR_PASS_BODY
								  : WEIR_PASS_REPEAT);
	}
	if (f->request_phase == WEIR_REQ_CHUNKS || f->request_phase == WEIR_REQ_RULES)
		return WEIR_ACT_BODY_MORE;
	return weir_head_bytes(skb, s, f);
}

/* Look at a segment, and do what is to be done. Returns the TC verdict. */
weir_inline int weir_segment_in(struct __sk_buff *skb, struct weir_scratch *s, struct weir_flow *f)
{
	int act = weir_look(skb, f);
	bool counts = true;

	if (act == WEIR_ACT_REQUEST)
		act = weir_request_in(skb, f);
	if (act == WEIR_ACT_BODY) {
		act = weir_body_begins(f);
		counts = false;
	}
	/* As the client sent it, before anything is written over. */
	if ((act == WEIR_ACT_PASS || act == WEIR_ACT_BODY_MORE) && f->asked_left)
		weir_asked_in(skb, f);
	if (act == WEIR_ACT_BODY_MORE) {
		act = weir_body_in(skb, f);
		if (act == WEIR_ACT_PASS && counts)
			weir_count(WEIR_PASS_BODY);
	}
	if (act == WEIR_ACT_REFUSE_BODY) {
		weir_take_back(f);
		act = WEIR_ACT_REFUSE;
	}
	switch (act) {
	case WEIR_ACT_PASS:
		return TC_ACT_UNSPEC;
	case WEIR_ACT_REFUSE:
		return weir_refuse(skb, f);
	case WEIR_ACT_CLOSE:
		return weir_close_both(skb, f, s->request.reset_seq, s->reason);
	}
	return TC_ACT_SHOT;
}

#endif
