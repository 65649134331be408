/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One request: reads what its head asks for, finds whose it is, and judges it. Where in
 * the stream a head is, is stream.h's.
 */
#ifndef WEIR_REQUEST_H
#define WEIR_REQUEST_H

#include "admit.h"
#include "asked_tap.h"
#include "denial.h"
#include "flow.h"
#include "lines.h"
#include "reader.h"
#include "refuse.h"
#include "tenant.h"

/* No request to a model is longer; also keeps a body's end within reach of its start in
 * sequence numbers. */
#define WEIR_BODY_MAX (1ULL << 30)

/* -- what a head asks for */

/* Longest path that a free one with '*' may have. */
#define WEIR_FREE_PATH_LOOK 128

/* Nothing in the path that a server could take for another path. */
weir_global int weir_plain_path(const struct weir_head *h, weir_u32 at, weir_u32 len)
{
	weir_u8 last = 0;

	if (!h || len >= WEIR_FREE_PATH_LOOK)
		return 0;
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_FREE_PATH_LOOK; i++) {
		weir_u32 off = at + i;
		weir_u8 c;

		weir_opaque(off);
		if (i >= len || off >= WEIR_HEAD_MAX)
			break;
		c = h->bytes[off];
		if (c == '%' || c == '\\' || c == ' ' || (c == last && (c == '.' || c == '/')))
			return 0;
		last = c;
	}
	return 1;
}

/* Is the path, len bytes up to '?' or blank, one that costs nothing? */
weir_global int weir_free_path(const struct weir_head *h, weir_u32 at, weir_u32 len, weir_u32 get)
{
	const struct weir_config *c = weir_config();
	weir_u64 w[WEIR_FREE_PATH_BYTES / 8];

	if (!h || !c || at >= WEIR_HEAD_MAX)
		return 0;
	/* 6.1 forgets the bound of what was on the stack meanwhile. */
	weir_opaque(at);
	at &= WEIR_HEAD_MAX - 1;
	for (int k = 0; k < WEIR_FREE_PATH_BYTES / 8; k++)
		w[k] = weir_load64(h->bytes + at + k * 8);
#pragma clang loop unroll(disable)
	for (weir_u32 i = 0; i < WEIR_FREE_PATHS; i++) {
		const struct weir_free_path *f = &c->free_paths[i];

		if (i >= c->n_free_paths)
			break;
		if (((w[0] & f->mask[0]) ^ f->word[0]) | ((w[1] & f->mask[1]) ^ f->word[1]) |
		    ((w[2] & f->mask[2]) ^ f->word[2]) | ((w[3] & f->mask[3]) ^ f->word[3]))
			continue;
		if (!get && !(f->flags & WEIR_FREE_ANY_METHOD))
			continue;
		if (f->flags & WEIR_FREE_PREFIX) {
			if (len >= f->len && weir_plain_path(h, at, len))
				return 1;
		} else if (len == f->len && len < WEIR_FREE_PATH_LOOK) {
			return 1;
		}
	}
	return 0;
}

weir_inline bool weir_anthropic_path(const weir_u8 *path)
{
	return weir_load64(path) == WEIR_WORD('/', 'v', '1', '/', 'm', 'e', 's', 's') &&
	       (weir_load32(path + 8) & 0xffffffff) ==
		       ('a' | 'g' << 8 | 'e' << 16 | (weir_u32)'s' << 24);
}

/* Does the path end in "/embeddings" or "/embed"? */
weir_inline bool weir_vectors_path(const struct weir_head *h, weir_u32 at, weir_u32 len)
{
	weir_u32 end = at + len;
	weir_u64 last;

	weir_opaque(end);
	if (len < 6 || end < 8 || end > WEIR_HEAD_MAX)
		return false;
	last = weir_load64(h->bytes + end - 8);
	if (last >> 16 == WEIR_WORD('/', 'e', 'm', 'b', 'e', 'd', 0, 0))
		return true;
	return last == WEIR_WORD('b', 'e', 'd', 'd', 'i', 'n', 'g', 's') && end >= 16 &&
	       len >= 11 &&
	       weir_load64(h->bytes + end - 16) >> 40 == WEIR_WORD('/', 'e', 'm', 0, 0, 0, 0, 0);
}

/* Length of the path: the target up to '?'. */
weir_global weir_u32 weir_path_len(const struct weir_head *h, weir_u32 at, weir_u32 end)
{
	weir_u32 i = 0;

	if (!h || end < at)
		return 0;
#pragma clang loop unroll(disable)
	for (int n = 0; n < WEIR_FREE_PATH_LOOK / 8; n++) {
		weir_u32 off = at + i, found;

		weir_opaque(off);
		if (off >= WEIR_HEAD_MAX || off >= end)
			break;
		found = weir_word_find(weir_load64(h->bytes + off), '?');
		i += found;
		if (found < 8)
			break;
	}
	return i < end - at ? i : end - at;
}

/* The reason to refuse a scanned head for how its body is framed, or 0. */
weir_inline weir_u32 weir_read_framing(struct weir_head *h, struct weir_request *rq, weir_u32 minor)
{
	bool length = h->value[WEIR_HDR_CONTENT_LENGTH].end;

	rq->body_bytes = 0;
	switch (weir_head_coding(h)) {
	case WEIR_CODING_CHUNKED:
		rq->body_bytes = WEIR_NO_LENGTH;
		return length || !minor ? WEIR_DENY_MALFORMED : 0;
	case WEIR_CODING_OTHER:
		return WEIR_DENY_MALFORMED;
	}
	if (!length)
		return 0;
	rq->body_bytes = weir_head_content_length(h);
	return rq->body_bytes > WEIR_BODY_MAX ? WEIR_DENY_MALFORMED : 0;
}

weir_inline bool weir_method_with_body(weir_u64 first)
{
	return (first & 0xffffffffff) == WEIR_WORD('P', 'O', 'S', 'T', ' ', 0, 0, 0) ||
	       (first & 0xffffffff) == WEIR_WORD('P', 'U', 'T', ' ', 0, 0, 0, 0) ||
	       (first & 0xffffffffffff) == WEIR_WORD('P', 'A', 'T', 'C', 'H', ' ', 0, 0) ||
	       (first & 0xffffffffffffff) == WEIR_WORD('D', 'E', 'L', 'E', 'T', 'E', ' ', 0);
}

/* Read the whole head in reader rq->reader into *rq: what it asks for, and in rq->form the
 * reason to refuse it for its form. 0: the reader is not there. */
weir_global int weir_read_request(struct weir_request *rq)
{
	const struct weir_config *c = weir_config();
	struct weir_request_line l = {};
	struct weir_reader *r;
	struct weir_head *h;
	weir_u32 start, path;
	weir_u64 first;

	if (!rq || !c)
		return 0;
	r = weir_reader(rq->reader);
	if (!r)
		return 0;
	h = &r->head;
	rq->form = WEIR_DENY_MALFORMED;
	rq->body_bytes = 0;
	rq->path_off = 0;
	rq->tunnel = 0;
	start = h->start;
	rq->start = start;
	weir_opaque(start);
	if (start > WEIR_HEAD_BLANK)
		return 1;
	first = weir_load64(h->bytes + start);
	if (!weir_head_request_line(h, &l)) {
		/* The whole preface of h2c, of which a head is the first part (RFC 9113 3.4). */
		if (!start && h->len >= 24 &&
		    first == WEIR_WORD('P', 'R', 'I', ' ', '*', ' ', 'H', 'T') &&
		    weir_load64(h->bytes + 8) ==
			    WEIR_WORD('T', 'P', '/', '2', '.', '0', '\r', '\n') &&
		    weir_load64(h->bytes + 16) ==
			    WEIR_WORD('\r', '\n', 'S', 'M', '\r', '\n', '\r', '\n'))
			rq->form = WEIR_DENY_PROTOCOL;
		return 1;
	}
	rq->form = h->repeated & ((1U << WEIR_HDR_MAX) - 1) ? WEIR_DENY_MALFORMED
							    : weir_read_framing(h, rq, l.minor);
	rq->head_method = (first & 0xffffffffff) == WEIR_WORD('H', 'E', 'A', 'D', ' ', 0, 0, 0);
	path = l.target;
	weir_opaque(path);
	if (path > WEIR_HEAD_BLANK + WEIR_METHOD_MAX + 1)
		return 1;
	rq->path_off = path;
	rq->path_len = weir_path_len(h, path, l.target_end);
	rq->free = weir_free_path(h, path, rq->path_len,
				  rq->head_method ||
					  (first & 0xffffffff) ==
						  WEIR_WORD('G', 'E', 'T', ' ', 0, 0, 0, 0));
	if (first == WEIR_WORD('O', 'P', 'T', 'I', 'O', 'N', 'S', ' '))
		rq->free |= c->free_options;
	rq->vectors = weir_vectors_path(h, path, rq->path_len);
	if (weir_anthropic_path(h->bytes + path))
		rq->dialect = WEIR_API_ANTHROPIC;
	rq->encoded = weir_head_encoded(h);
	/* Some servers do not read the body of other methods, and take it for a request. */
	if (!rq->form && rq->body_bytes && !weir_method_with_body(first))
		rq->form = WEIR_DENY_MALFORMED;
	rq->tunnel = first == WEIR_WORD('C', 'O', 'N', 'N', 'E', 'C', 'T', ' ');
	if (!rq->form && (rq->tunnel || weir_head_upgrades(h))) {
		rq->form = WEIR_DENY_PROTOCOL;
		rq->free = 0;
	}
	return 1;
}

/* -- whose it is */

/* Whose request is it? Sets tenant, and unknown: 0 or the reason to refuse. `hashed`: what
 * weir_hash_key() said; called from here it would need more stack than 6.1 has. */
weir_global int weir_whose(struct weir_request *rq, int hashed)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	weir_u32 tenant = WEIR_NO_TENANT;
	enum weir_key_found k;

	if (!rq || !c || !s)
		return 0;
	rq->unknown = 0;
	k = weir_tenant_by_key(c, s, hashed, rq->now_ns, &tenant);
	if (k == WEIR_KEY_ABSENT)
		k = weir_tenant_by_name(c, s, &s->packet, &tenant);
	if (k != WEIR_KEY_KNOWN) {
		tenant = weir_tenant_of_source(c, s->packet.src);
		if (k == WEIR_KEY_UNKNOWN && c->unknown_key == WEIR_UNKNOWN_KEY_REFUSE)
			rq->unknown = WEIR_DENY_UNKNOWN_KEY;
		else if (!tenant)
			rq->unknown = WEIR_DENY_NO_TENANT;
	}
	rq->tenant = tenant;
	return 0;
}

/* The connection is its tenant's by source until a key says otherwise: move it to the gauges of
 * the levels in s->demand, which are charged a connection for its first request, and hold it
 * for later ones. 0, or the reason why they may not have it. */
weir_global int weir_move_connection(struct weir_flow *f, weir_u64 now)
{
	struct weir_scratch *s = weir_scratch();
	weir_u32 reason, held, index;
	struct weir_tenant *t;

	if (!s || !f)
		return 0;
	index = s->demand.level[0];
	t = weir_tenant(index);
	if (!t)
		return 0;
	reason = weir_admit_connection(s, t, f->flags & WEIR_FLOW_USED ? WEIR_UNCHECKED_RATE : 0,
				       now);
	if (reason)
		return reason;
	/* Nobody counts or gives back meanwhile: it is marked as not counted. */
	held = __sync_fetch_and_and(&f->flags, ~WEIR_FLOW_COUNTED) & WEIR_FLOW_COUNTED;
	if (!held) {
		/* Closing at this moment: nobody would give this one back. */
		weir_connection_back(s);
		return 0;
	}
	weir_half_open_over(f);
	weir_levels_add(f->tenant, f->others, weir_gauge(connections), -1);
	/* Its first request: whose it was by source had no use of it. */
	if (!(f->flags & WEIR_FLOW_USED))
		weir_connect_give_back(f, now);
	__sync_fetch_and_and(&f->flags, ~WEIR_FLOW_CHARGED_ALL);
	f->tenant = s->demand.level[0];
	f->others[0] = s->demand.level[1];
	f->others[1] = s->demand.level[2];
	f->others[2] = s->demand.level[3];
	weir_connect_charged(s, f);
	held = __sync_fetch_and_or(&f->flags, WEIR_FLOW_COUNTED);
	/* Closed since: who did that found it not counted. */
	if (held & WEIR_FLOW_RELEASED)
		weir_flow_uncount(f);
	return 0;
}

/* -- the verdict */

/* The slot becomes this request's, with what s->demand took, and user space is told. */
weir_global int weir_request_open(struct weir_flow *f, weir_u32 flags)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	struct weir_rec_request *rec;
	const struct weir_request *rq;
	struct weir_reader *r;
	struct weir_slot *slot;
	weir_u32 path, start, vectors;

	if (!f || !c || !s)
		return 0;
	rq = &s->request;
	slot = weir_slot(f);
	if (!slot)
		return 0;
	vectors = rq->vectors && !rq->free ? WEIR_FLOW_VECTORS : 0;
	f->ordinal++;
	f->resp_phase = WEIR_RESP_HEAD;
	f->resp_offset = 0;
	f->lost = 0;
	f->skip_to = 0;
	f->asked_left = 0;
	slot->tenant = s->demand.level[0];
	slot->others[0] = s->demand.level[1];
	slot->others[1] = s->demand.level[2];
	slot->others[2] = s->demand.level[3];
	slot->wallet = s->demand.wallet;
	slot->ordinal = f->ordinal;
	slot->service = rq->service;
	slot->started_ns = rq->now_ns;
	slot->started_wall_ns = rq->now_ns + c->wall_offset_ns;
	slot->reserved_nano = s->demand.nano;
	slot->reserved_tokens = s->demand.tokens;
	slot->cut = 0;
	slot->flags = flags | s->demand.taken * WEIR_SLOT_TAKEN;
	__sync_val_compare_and_swap(&slot->state, WEIR_SLOT_IDLE,
				    rq->free ? WEIR_SLOT_FREE : WEIR_SLOT_OPEN);
	/* A client that goes on had not left. */
	if ((f->flags & (WEIR_FLOW_VECTORS | WEIR_FLOW_LEFT)) != vectors) {
		__sync_fetch_and_and(&f->flags, ~(WEIR_FLOW_VECTORS | WEIR_FLOW_LEFT));
		__sync_fetch_and_or(&f->flags, vectors);
	}
	if (rq->free)
		return 0;
	if (rq->body_bytes && rq->body_bytes != WEIR_NO_LENGTH)
		weir_asked_begins(c, rq, weir_tenant(slot->tenant), f);
	/* The last of the room is kept for END records, which settle by themselves. */
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > c->ring_data_max) {
		weir_count(WEIR_TAP_LOST);
		return 0;
	}
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		weir_count(WEIR_TAP_LOST);
		return 0;
	}
	rec->h.type = WEIR_REC_REQUEST;
	rec->h.flags = 0;
	rec->h.service = rq->service;
	rec->h.slot = f->slot;
	rec->h.ordinal = f->ordinal;
	rec->h.len = 0;
	rec->h.time_ns = rq->now_ns;
	rec->started_wall_ns = slot->started_wall_ns;
	rec->reserved_nano = s->demand.nano;
	rec->body_bytes = rq->body_bytes;
	rec->tenant = s->demand.level[0];
	rec->wallet = s->demand.wallet;
	rec->flags = flags;
	rec->pad = 0;
	r = weir_reader(rq->reader);
	path = rq->path_off;
	start = rq->start;
	weir_opaque(path);
	weir_opaque(start);
	if ((flags & WEIR_SLOT_UNJUDGED) || !r || path > WEIR_HEAD_MAX || start > WEIR_HEAD_MAX) {
		__builtin_memset(rec->method, 0, sizeof(rec->method));
		__builtin_memset(rec->path, 0, sizeof(rec->path));
		rec->method[0] = '-';
		rec->path[0] = '-';
	} else {
		__builtin_memcpy(rec->method, r->head.bytes + start, WEIR_METHOD_BYTES);
		__builtin_memcpy(rec->path, r->head.bytes + path, WEIR_PATH_BYTES);
	}
	weir_copy16(rec->client, s->key.client);
	bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP);
	return 0;
}

/* What its body is held to; NULL is nothing. */
weir_inline const struct weir_rules *weir_rules_of(const struct weir_tenant *t)
{
	weir_u32 index = t->rules;

	return index ? bpf_map_lookup_elem(&rules, &index) : NULL;
}

/* What the head alone tells against the rules: 0, or the reason to refuse. */
weir_inline weir_u32 weir_rules_head(const struct weir_rules *rules, const struct weir_request *rq,
				     struct weir_refusal *r)
{
	r->level = r->tenant;
	r->limit = rules->max_input_tokens;
	r->value = rq->body_bytes / WEIR_BYTES_PER_TOKEN;
	r->asked = r->value;
	if (rq->body_bytes == WEIR_NO_LENGTH)
		return rules->max_output_tokens ? WEIR_DENY_LENGTH_REQUIRED : 0;
	if (rules->max_input_tokens && r->value > rules->max_input_tokens)
		return WEIR_DENY_INPUT_TOKENS;
	if (rq->encoded && rq->body_bytes)
		return WEIR_DENY_BODY; /* cannot be read */
	return 0;
}

/* A reader of the flow's own, for a body that is looked at. false: none is free. */
weir_inline bool weir_reader_for(struct weir_flow *f, const struct weir_request *rq)
{
	if (!f->reader)
		f->reader = weir_reader_take(rq->now_ns);
	return f->reader;
}

enum weir_judgement {
	WEIR_JUDGED_ADMIT,  /* or free, or shadow: the request is open */
	WEIR_JUDGED_REFUSE, /* s->refusal says why */
	WEIR_JUDGED_RAW,    /* passed for what it is: no more heads are looked for */
	WEIR_JUDGED_DROP,   /* no reader is free: it will be sent again */
};

/* Form first: nobody needs to be known for it. */
weir_inline int weir_judge_form(const struct weir_config *c, struct weir_scratch *s,
				struct weir_flow *f)
{
	struct weir_tenant *t = weir_tenant(f->tenant);
	struct weir_refusal *r = &s->refusal;

	r->tenant = f->tenant;
	r->reason = s->request.form;
	if (!t) {
		weir_count(WEIR_PASS_INTERNAL);
		return WEIR_JUDGED_RAW;
	}
	if (r->reason == WEIR_DENY_PROTOCOL && (t->flags & WEIR_TENANT_PASS_PROTOCOLS)) {
		weir_count(WEIR_PASS_OTHER_PROTOCOL);
		return WEIR_JUDGED_RAW;
	}
	if (c->enforce && !(t->flags & WEIR_TENANT_SHADOW))
		return WEIR_JUDGED_REFUSE;
	weir_count(WEIR_ADMIT_SHADOW);
	r->shadow = 1;
	weir_note_denial(c, r, s->packet.src, s->request.now_ns);
	return WEIR_JUDGED_RAW;
}

/* Nothing is asked of anybody. */
weir_inline void weir_demand_none(struct weir_scratch *s)
{
	__builtin_memset(&s->demand, 0, sizeof(s->demand));
}

/* What the request asks of all its levels. */
weir_inline void weir_demand_of(const struct weir_config *c, struct weir_scratch *s,
				const struct weir_tenant *t)
{
	const struct weir_request *rq = &s->request;
	struct weir_demand *d = &s->demand;
	weir_u32 in = weir_input_estimate(t, rq->body_bytes), flags = t->flags;

	d->enforce = c->enforce;
	d->now_ns = rq->now_ns;
	d->wall_ns = rq->now_ns + c->wall_offset_ns;
	d->wallet = t->wallet;
	weir_levels(rq->tenant, t, rq->service, d->level);
	d->nano = weir_reservation(t, in, t->reserve_output_tokens);
	if (weir_has_others(s)) {
#pragma clang loop unroll(full)
		for (int i = 1; i < WEIR_LEVELS; i++) {
			const struct weir_tenant *other = weir_other(s, i);

			if (other)
				flags |= other->flags;
		}
	}
	d->tokens = flags & WEIR_TENANT_LIMIT_TOKENS ? in + t->reserve_output_tokens : 0;
	if (d->tokens > WEIR_TOKENS_FLIGHT_MAX)
		d->tokens = WEIR_TOKENS_FLIGHT_MAX;
}

/* The agent is gone, or does not keep up: 0, or the reason to refuse. */
weir_inline weir_u32 weir_judge_unmetered(const struct weir_config *c, struct weir_scratch *s,
					  const struct weir_tenant *t)
{
	if (!weir_agent_down(c, s->demand.now_ns) &&
	    bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) <= c->ring_request_max)
		return 0;
	if (t->flags & WEIR_TENANT_DOWN_OPEN)
		s->demand.unchecked = WEIR_UNCHECKED_TOKENS | WEIR_UNCHECKED_CREDIT;
	if (!(t->flags & WEIR_TENANT_DOWN_CLOSED))
		return 0;
	s->refusal.retry_ns = WEIR_RETRY_GAUGE_NS;
	return WEIR_DENY_AGENT_DOWN;
}

/* Judge the request in s->request, whose tenant is known, against its limits, and open it if
 * it may pass. */
weir_global int weir_judge(struct weir_flow *f)
{
	const struct weir_config *c = weir_config();
	struct weir_scratch *s = weir_scratch();
	weir_u32 reason, moved, flags = 0;
	const struct weir_rules *rules;
	struct weir_refusal *r;
	struct weir_request *rq;
	struct weir_tenant *t;
	bool whole_body, degrade, objected;

	if (!f || !c || !s)
		return WEIR_JUDGED_RAW;
	r = &s->refusal;
	rq = &s->request;
	__builtin_memset(r, 0, sizeof(*r));
	weir_demand_none(s);
	if (rq->form && (rq->form != WEIR_DENY_PROTOCOL || !rq->path_off))
		return weir_judge_form(c, s, f);
	if (rq->head_method)
		flags |= WEIR_SLOT_HEAD_METHOD;
	if (rq->free) {
		if (rq->body_bytes == WEIR_NO_LENGTH && !weir_reader_for(f, rq))
			return WEIR_JUDGED_DROP;
		weir_count(WEIR_PASS_FREE);
		weir_request_open(f, flags);
		return WEIR_JUDGED_ADMIT;
	}
	reason = rq->unknown;
	r->tenant = rq->tenant;
	t = weir_tenant(r->tenant);
	if (!t) {
		weir_count(WEIR_PASS_INTERNAL);
		return WEIR_JUDGED_RAW;
	}
	if (!reason && rq->form && (rq->tunnel || !(t->flags & WEIR_TENANT_PASS_PROTOCOLS)))
		reason = rq->form;
	rules = weir_rules_of(t);
	whole_body = rq->body_bytes != WEIR_NO_LENGTH;
	rq->rules_hold = rules && c->enforce && !(t->flags & WEIR_TENANT_SHADOW);
	if ((!whole_body || (rq->body_bytes && rq->rules_hold)) && !reason &&
	    !weir_reader_for(f, rq))
		return WEIR_JUDGED_DROP;
	weir_demand_of(c, s, t);
	if (!reason && rules)
		reason = weir_rules_head(rules, rq, r);
	objected = reason; /* by what is no limit of a level */
	if (!reason && f->tenant != r->tenant) {
		reason = weir_move_connection(f, rq->now_ns);
		moved = s->demand.over;
	} else {
		moved = 0;
	}
	s->demand.unchecked = 0;
	if (!reason) {
		reason = weir_judge_unmetered(c, s, t);
		objected = reason;
	}
	if (!reason) {
		reason = weir_admit_request(s);
		degrade = reason == WEIR_DENY_CREDIT && rules && rq->rules_hold &&
			  (rules->flags & WEIR_RULE_DEGRADE);
		if (degrade && !whole_body) {
			reason = WEIR_DENY_LENGTH_REQUIRED;
		} else if (degrade && rq->body_bytes) {
			s->demand.unchecked |= WEIR_UNCHECKED_CREDIT;
			reason = weir_admit_request(s);
			flags |= WEIR_SLOT_DEGRADED;
		}
	}
	if (reason) {
		r->reason = reason;
		if (c->enforce && !(objected && (t->flags & WEIR_TENANT_SHADOW)))
			return WEIR_JUDGED_REFUSE;
		s->demand.taken = 0;
		/* What no level decides, and the tenant is in shadow: on, as if admitted. */
		flags &= ~WEIR_SLOT_DEGRADED;
		s->demand.over = 1;
		if (!whole_body && !weir_reader_for(f, rq))
			return WEIR_JUDGED_RAW; /* its body cannot be followed */
		weir_admit_anyway(s);
	}
	if (s->demand.over | moved) {
		weir_count(WEIR_ADMIT_SHADOW);
		r->shadow = 1;
		weir_note_denial(c, r, s->packet.src, rq->now_ns);
		flags |= WEIR_SLOT_SHADOW;
	} else {
		weir_count(WEIR_ADMIT_REQUEST);
	}
	if (!(f->flags & WEIR_FLOW_USED)) {
		__sync_fetch_and_or(&f->flags, WEIR_FLOW_USED);
		flags |= WEIR_SLOT_FIRST;
	}
	weir_request_open(f, flags);
	if (rq->line_bits)
		weir_lines_tell(f);
	/* Closed since: who did that found nothing open. */
	if (f->flags & WEIR_FLOW_RELEASED)
		weir_request_end(f, WEIR_END_CLOSE, rq->now_ns);
	return WEIR_JUDGED_ADMIT;
}

#endif
