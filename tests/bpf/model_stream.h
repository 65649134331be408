/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's packets: the stream they carry, where its heads and bodies are, and
 * what a packet may be that comes too early, again, or with other bytes than before.
 * Offsets count from the client's first byte.
 */
#ifndef TEST_MODEL_STREAM_H
#define TEST_MODEL_STREAM_H

#include "tests/bpf/model_head.h"
#include "tests/bpf/model_linger.h"

/* A SYN. */
static UNUSED void m_syn(struct m_conn *c, struct expect *e)
{
	struct m_refusal r = {};
	struct m_tenant *t;
	uint32_t reason;

	if (c->state == M_REFUSED)
		m_gone(c, e);
	if (c->state != M_GONE) {
		m_pass(e, WEIR_PASS_NO_PAYLOAD);
		return;
	}
	r.tenant = m_tenant_of_source(c->client);
	t = &model.tenants[r.tenant];
	reason = m_admit_connection(t, &r);
	if (reason) {
		m_count(e, reason);
		m_note_denial(e, &r);
		if (!m_lenient(r.tenant)) {
			m_drop(e, M_UNCOUNTED);
			if (t->t.flags & WEIR_TENANT_DROP)
				return;
			e->code = OUT_REDIRECT;
			e->frame = OUT_RST;
			return;
		}
		t->t.connections++;
	}
	c->state = M_SYN;
	c->tenant = r.tenant;
	c->counted = true;
	c->charged = !reason;
	m_count(e, WEIR_FLOW_NEW);
	m_pass(e, WEIR_ADMIT_CONNECTION);
}

static UNUSED bool m_free(const struct m_head *h)
{
	static const char *const paths[] = { "/health", "/metrics", "/v1/models", "/version",
					     "/ping" };
	size_t n = strcspn(h->target, "? ");

	if (!strcmp(h->method, "OPTIONS"))
		return true;
	if (strcmp(h->method, "GET") && strcmp(h->method, "HEAD"))
		return false;
	if (n >= 128 || memchr(h->target, '%', n) || memmem(h->target, n, "..", 2) ||
	    memmem(h->target, n, "//", 2) || memchr(h->target, ' ', h->target_len))
		return false;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (!strncmp(h->target, paths[i], strlen(paths[i])))
			return true;
	return false;
}

/* Move the connection to the tenant that its key names. */
static UNUSED uint32_t m_move(struct m_conn *c, uint32_t tenant, struct m_refusal *r)
{
	uint32_t reason;

	if (c->tenant == tenant)
		return 0;
	reason = m_admit_connection(&model.tenants[tenant], r);
	if (reason)
		return reason;
	model.tenants[c->tenant].t.connections--;
	if (c->charged)
		m_connect_give_back(&model.tenants[c->tenant]);
	c->tenant = tenant;
	c->charged = true;
	return 0;
}

static UNUSED void m_open_slot(struct m_conn *c, const struct m_head *h, uint32_t state,
			       uint32_t tenant, int64_t reserve, uint32_t flags, struct expect *e)
{
	size_t path = strcspn(h->target, "? ");
	struct m_record *r;

	c->ordinal++;
	c->slot_state = state;
	c->slot_tenant = tenant;
	c->slot_wallet = model.tenants[tenant].t.wallet;
	c->slot_reserved = reserve;
	c->slot_flags = flags;
	c->answer = A_HEAD;
	c->ahead_len = 0;
	c->abytes = 0;
	c->lost = 0;
	if (state == WEIR_SLOT_FREE)
		return;
	r = m_record(e, WEIR_REC_REQUEST);
	r->tenant = tenant;
	r->wallet = c->slot_wallet;
	r->ordinal = c->ordinal;
	r->reserved = reserve;
	r->body_bytes = h->body == M_CHUNKED ? ~0ULL : h->body_bytes;
	r->flags = flags;
	memcpy(r->method, h->method, sizeof(r->method));
	memcpy(r->path, h->target, path < sizeof(r->path) ? path : sizeof(r->path));
}

/* Judge a whole head of the right form. true: it may pass. */
static UNUSED bool m_judge(struct m_conn *c, const struct m_packet *p, const struct m_head *h,
			   uint32_t due, struct expect *e)
{
	uint32_t flags = !strcmp(h->method, "HEAD") ? WEIR_SLOT_HEAD_METHOD : 0, reason, tenant;
	uint32_t dialect = strncmp(h->target, "/v1/messages", 12) ? c->dialect : WEIR_API_ANTHROPIC;
	struct m_tenant *t, *wallet;
	struct m_refusal r = {};
	int64_t reserve = 0;
	bool foreign = h->upgrade || !strcmp(h->method, "CONNECT");

	if (m_free(h)) {
		m_pass(e, WEIR_PASS_FREE);
		m_open_slot(c, h, WEIR_SLOT_FREE, 0, 0, flags, e);
		return true;
	}
	reason = m_whose(c, h, &tenant);
	r.tenant = tenant;
	r.reason = reason;
	t = &model.tenants[tenant];
	wallet = &model.tenants[t->t.wallet];
	if (!reason)
		reason = m_move(c, tenant, &r);
	if (!reason && foreign && !(t->t.flags & WEIR_TENANT_PASS_PROTOCOLS))
		reason = r.reason = WEIR_DENY_PROTOCOL;
	if (!reason) {
		reserve = m_reservation(t, h->body == M_CHUNKED ? ~0ULL : h->body_bytes);
		reason = m_admit_request(t, wallet, reserve, &r);
	}
	if (reason && !m_lenient(tenant)) {
		m_refuse(c, p, &r, dialect, due, e);
		return false;
	}
	if (reason) {
		m_note_denial(e, &r);
		flags |= WEIR_SLOT_SHADOW;
	}
	t->t.inflight++;
	t->t.admitted++;
	wallet->t.reserved_nano += reserve;
	m_pass(e, reason ? WEIR_ADMIT_SHADOW : WEIR_ADMIT_REQUEST);
	m_open_slot(c, h, WEIR_SLOT_OPEN, tenant, reserve, flags, e);
	return true;
}

/* Follow a chunked body through n bytes. 0, or the reason to close both ends. */
static UNUSED uint32_t m_follow(struct m_conn *c, const uint8_t *p, size_t n)
{
	struct m_request *rq = &c->rq;

	if (rq->n_starts < M_CHUNK_STARTS)
		rq->starts[rq->n_starts++] = (struct m_start){ rq->have, rq->chunk };
	for (size_t i = 0; i < n; i++) {
		if (rq->ended) {
			if (p[i] != '\r' && p[i] != '\n')
				return WEIR_DROP_PIPELINED;
			c->next++;
			continue;
		}
		if (rq->have - rq->body_at < (int64_t)sizeof(rq->chunks))
			rq->chunks[rq->have - rq->body_at] = p[i];
		rq->have++;
		m_chunk_byte(&rq->chunk, p[i]);
		if (rq->chunk.at == CH_BAD)
			return WEIR_DROP_BAD_CHUNK;
		if (rq->chunk.at == CH_DONE) {
			rq->ended = true;
			rq->end = c->next = rq->have;
		}
	}
	return 0;
}

/* Is the empty line that ends a head there, or is it too long to have one? */
static UNUSED bool m_is_whole(const uint8_t *p, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (p[i] == '\n' &&
		    (p[i - 1] == '\n' || (i > 1 && p[i - 1] == '\r' && p[i - 2] == '\n')))
			return true;
	return n > M_HEAD_MAX;
}

/* Bytes from stream offset at on, n of them, where a head begins or goes on. */
static UNUSED void m_new_head(struct m_conn *c, const struct m_packet *p, int64_t at,
			      const uint8_t *b, size_t n, struct expect *e)
{
	struct m_head h;
	uint32_t due = c->first_seq + at, reason;
	bool parts = c->part_len, other;
	size_t before = c->part_len, rest;

	while (!c->part_len && n && (*b == '\r' || *b == '\n')) {
		b++;
		n--;
		at++;
		c->next++;
	}
	if (!n) {
		m_pass(e, WEIR_PASS_BODY);
		return;
	}
	if (!parts)
		due = c->first_seq + at;
	if (!parts && !m_token(*b)) {
		c->raw = n > 1 && b[0] == 0x16 && b[1] == 3 ? WEIR_PASS_TLS : WEIR_PASS_MALFORMED;
		c->raw_at = at;
		m_pass(e, c->raw);
		return;
	}
	rest = n < sizeof(c->part) - before ? n : sizeof(c->part) - before;
	memcpy(c->part + before, b, rest);
	m_read_head(c->part, before + rest, &h);
	if (h.state == HEAD_WRONG && model.passed_part && !m_is_whole(c->part, before + rest))
		h.state = HEAD_MORE;
	if (h.state == HEAD_MORE) {
		c->part_len = before + n;
		m_pass(e, WEIR_PASS_HEAD_PART);
		return;
	}
	if (h.state == HEAD_WRONG || h.state == HEAD_PREFACE) {
		struct m_refusal r = { .reason = h.reason, .tenant = c->tenant };

		if (c->slot_state != WEIR_SLOT_IDLE)
			m_request_end(c, WEIR_END_NEXT, e);
		if (h.state == HEAD_PREFACE) {
			r.reason = WEIR_DENY_PROTOCOL;
			r.tenant = m_tenant_of_source(c->client);
			if (model.tenants[r.tenant].t.flags & WEIR_TENANT_PASS_PROTOCOLS) {
				c->raw = WEIR_PASS_OTHER_PROTOCOL;
				c->raw_at = at;
				m_pass(e, c->raw);
				return;
			}
		}
		if (m_lenient(r.tenant)) {
			c->raw = WEIR_PASS_MALFORMED;
			c->raw_at = at;
			m_note_denial(e, &r);
			m_pass(e, WEIR_ADMIT_SHADOW);
			return;
		}
		m_refuse(c, p, &r, c->dialect, due, e);
		return;
	}
	/* Whole: h.len bytes from c->next on; what is left of this segment is body. */
	rest = h.len - before;
	b += rest;
	n -= rest;
	other = false;
	if (h.body != M_CHUNKED)
		for (size_t i = h.body_bytes; i < n; i++)
			other |= b[i] != '\r' && b[i] != '\n';
	if (other) {
		m_close_both(c, p, WEIR_DROP_PIPELINED, due, e);
		return;
	}
	if (c->slot_state != WEIR_SLOT_IDLE)
		m_request_end(c, WEIR_END_NEXT, e);
	if (!m_judge(c, p, &h, due, e))
		return;
	memcpy(c->rq.head, c->part, h.len);
	c->rq.any = true;
	c->rq.at = c->next;
	c->rq.parts = parts;
	c->rq.body = h.body;
	c->rq.body_at = c->next + h.len;
	c->rq.ended = h.body != M_CHUNKED;
	c->part_len = 0;
	if (h.body != M_CHUNKED) {
		c->rq.end = c->next = c->rq.body_at + h.body_bytes;
		if (n > h.body_bytes)
			c->next += n - h.body_bytes;
		return;
	}
	memset(&c->rq.chunk, 0, sizeof(c->rq.chunk));
	c->rq.have = c->next = c->rq.body_at;
	c->rq.n_starts = 0;
	reason = m_follow(c, b, n);
	if (c->rq.n_starts)
		c->rq.starts[0].at = -1; /* the segment began at the head */
	if (reason)
		m_close_both(c, p, reason, due, e);
}

/* Is what is sent again from `from` to `to` what it was? b: the byte at `from`. */
static UNUSED bool m_same(const struct m_conn *c, int64_t seg, int64_t from, int64_t to,
			  const uint8_t *b)
{
	const struct m_request *rq = &c->rq;
	int64_t next_head = c->next;

	for (int64_t i = from; i < to; i++) {
		uint8_t now = b[i - from];

		if (i >= next_head && c->part_len) {
			if (c->part[i - next_head] != now)
				return false;
		} else if (rq->any && i >= rq->at && i < rq->body_at) {
			if (rq->head[i - rq->at] != now)
				return false;
			if (!rq->parts && (seg > rq->at || to < rq->body_at))
				return false;
		} else if (rq->any && i >= rq->body_at && rq->body == M_CHUNKED && i < rq->have) {
			if (rq->chunks[i - rq->body_at] != now)
				return false;
		}
	}
	return true;
}

/* In a chunked body: wholly in data that is known, or from a segment's start. */
static UNUSED bool m_chunk_again(const struct m_conn *c, int64_t a, int64_t b, const uint8_t *p)
{
	const struct m_request *rq = &c->rq;
	struct m_chunk was = {}, now;
	int i;

	if (a <= rq->at)
		a = rq->body_at;
	for (i = 0; i < rq->n_starts; i++)
		if (rq->starts[i].at == a)
			break;
	if (a == rq->body_at)
		now = (struct m_chunk){};
	else if (i < rq->n_starts)
		now = rq->starts[i].chunk;
	else
		return false;
	was = now;
	for (int64_t at = a; at < b && at < rq->have; at++) {
		m_chunk_byte(&was, rq->chunks[at - rq->body_at]);
		m_chunk_byte(&now, p[at]);
	}
	return !memcmp(&was, &now, sizeof(now));
}

/* A packet from the client. */
static UNUSED void m_client(struct m_conn *c, const struct m_packet *p, struct expect *e)
{
	struct m_request *rq = &c->rq;
	int64_t a = (int32_t)(p->seq - c->first_seq), b = a + p->len, seen, from;
	uint32_t due, reason;

	if (c->state == M_GONE) {
		m_pass(e, p->len && !(p->flags & TCP_RST) ? WEIR_PASS_UNTRACKED
							  : WEIR_PASS_NO_PAYLOAD);
		return;
	}
	if (c->state == M_REFUSED) {
		m_linger(c, p, e);
		return;
	}
	if (c->state == M_SYN && (p->flags & TCP_ACK) && c->tapped && p->ack == c->sent)
		c->state = M_OPEN;
	if (!p->len || (p->flags & TCP_RST)) {
		m_pass(e, WEIR_PASS_NO_PAYLOAD);
		return;
	}
	if (c->raw && !(a <= c->raw_at && c->acked <= c->raw_at && b > c->raw_at)) {
		m_pass(e, c->raw);
		return;
	}
	c->raw = 0;
	if (b <= c->acked) {
		m_pass(e, WEIR_PASS_REPEAT);
		return;
	}
	/* Followed so far. In data of known length every offset is as good. */
	seen = c->next + c->part_len;
	if (rq->any && rq->body == M_CHUNKED && !rq->ended) {
		if (rq->chunk.at == CH_DATA && c->acked > rq->have) {
			rq->chunk.left -= c->acked - rq->have;
			if (!rq->chunk.left)
				rq->chunk.at = CH_DATA_CR;
			rq->have = c->acked;
		}
		seen = rq->have;
	}
	from = a > c->acked ? a : c->acked;
	due = c->first_seq + (seen > from ? seen : from);
	/* Wholly in a body of known length. */
	if (rq->any && rq->body != M_CHUNKED && a >= rq->body_at && b <= rq->end) {
		m_pass(e, WEIR_PASS_BODY);
		return;
	}
	if (a > seen && rq->any && rq->body != M_CHUNKED && a < rq->end)
		seen = a; /* begins in the body, ends behind it */
	if (rq->any && rq->body == M_CHUNKED && !rq->ended && rq->chunk.at == CH_DATA && a > seen &&
	    b <= seen + (int64_t)rq->chunk.left) {
		m_pass(e, WEIR_PASS_BODY);
		return;
	}
	if (a > seen) {
		m_drop(e, WEIR_DROP_OUT_OF_ORDER);
		return;
	}
	/* What was there before must be the same. */
	if (from < seen && from < b) {
		int64_t to = b < seen ? b : seen;

		if (!m_same(c, a, from, to, p->bytes + (from - a)) ||
		    (rq->any && rq->body == M_CHUNKED && to > rq->body_at && from < rq->have &&
		     !m_chunk_again(c, a, to, p->bytes - a))) {
			m_close_both(c, p, WEIR_DROP_CHANGED, due, e);
			return;
		}
	}
	if (b <= seen) {
		bool body = rq->any && rq->body != M_CHUNKED && a >= rq->body_at;

		m_pass(e, body ? WEIR_PASS_BODY : WEIR_PASS_REPEAT);
		return;
	}
	/* New bytes, from `seen` on. */
	if (rq->any && rq->body == M_CHUNKED && !rq->ended) {
		m_pass(e, WEIR_PASS_BODY);
		reason = m_follow(c, p->bytes + (seen - a), b - seen);
		if (reason) {
			memset(e->counts, 0, sizeof(e->counts));
			m_close_both(c, p, reason, due, e);
		}
		return;
	}
	from = c->next + c->part_len;
	if (from < seen)
		from = seen;
	if (c->slot_state != WEIR_SLOT_IDLE && c->answer != A_CLOSE) {
		int64_t at = from;

		while (at < b && (p->bytes[at - a] == '\r' || p->bytes[at - a] == '\n'))
			at++;
		if (at < b) {
			m_close_both(c, p, WEIR_DROP_PIPELINED, due, e);
			return;
		}
		c->next = b;
		m_pass(e, WEIR_PASS_BODY);
		return;
	}
	if (!c->part_len && c->acked < a) {
		m_drop(e, WEIR_DROP_OUT_OF_ORDER);
		return;
	}
	m_new_head(c, p, from, p->bytes + (from - a), b - from, e);
}

#endif
