/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's packets: the stream they carry, where its heads and bodies are, and
 * what a packet may be that comes too early, again, or with other bytes than before.
 * Offsets count from the client's first byte.
 */
#ifndef TEST_MODEL_STREAM_H
#define TEST_MODEL_STREAM_H

#include "tests/bpf/model_judge.h"

/* Should these bytes come again they must be the same. */
static UNUSED void m_keep(struct m_conn *c, int64_t at, const uint8_t *b, size_t n)
{
	struct m_kept *k = &c->kept[c->n_kept++ % M_KEPT];

	k->a = at;
	k->b = at + n;
	memcpy(k->bytes, b, n);
}

/* Have n bytes more than CR LF behind a body? */
static UNUSED bool m_more_behind(const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((b[i] != '\r' && b[i] != '\n') || i >= M_BLANK_BEHIND)
			return true;
	return false;
}

/* Follow a chunked body through n bytes, of which the first comes next. 0, or the reason to
 * close both ends. */
static UNUSED uint32_t m_follow(struct m_conn *c, const uint8_t *p, size_t n)
{
	struct m_request *rq = &c->rq;
	int64_t from = rq->have;
	bool framing = false, in_data = rq->chunk.at == CH_DATA;

	for (size_t i = 0; i < n; i++) {
		framing |= rq->chunk.at != CH_DATA;
		rq->have++;
		m_chunk_byte(&rq->chunk, p[i]);
		if (rq->chunk.at == CH_BAD)
			return WEIR_DROP_BAD_CHUNK;
		if (rq->chunk.at != CH_DONE)
			continue;
		if (m_more_behind(p + i + 1, n - i - 1))
			return WEIR_DROP_PIPELINED;
		rq->ended = true;
		rq->have += n - i - 1;
		rq->end = c->next = c->blank_at = rq->have;
		break;
	}
	/* The chunk's last byte is framing: what is behind it is. */
	if (framing || rq->chunk.at != CH_DATA) {
		m_keep(c, from, p, n);
		if (in_data && c->data_at != from) {
			c->data[c->n_data % M_DATA].from = c->data_at;
			c->data[c->n_data++ % M_DATA].to = from;
		}
		c->data_at = rq->have;
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
	return n > M_HEAD_MAX + 2048; /* it may be found out a little later */
}

/* A head of a form that is refused, or the h2c preface. */
static UNUSED void m_wrong_head(struct m_conn *c, const struct m_packet *p, const struct m_head *h,
				uint32_t due, struct expect *e)
{
	struct m_refusal r = { .reason = h->reason, .tenant = c->tenant };
	bool passes = h->state == HEAD_PREFACE &&
		      (model.tenants[r.tenant].t.flags & WEIR_TENANT_PASS_PROTOCOLS);

	if (h->len > M_HEAD_MAX && model.said_malformed)
		r.reason = WEIR_DENY_MALFORMED;
	if (c->slot_state != WEIR_SLOT_IDLE)
		m_request_end(c, WEIR_END_NEXT, e);
	if (!passes && !m_lenient(r.tenant)) {
		m_refuse(c, p, &r, WEIR_API_MAX, due, e);
		return;
	}
	if (!passes)
		m_note_denial(e, &r, true);
	m_pass(e, passes ? WEIR_PASS_OTHER_PROTOCOL : WEIR_ADMIT_SHADOW);
	c->raw = WEIR_PASS_MALFORMED;
	c->raw_at = c->next;
	c->part_len = 0;
	c->rq.any = false;
}

/* n bytes from where a head begins or goes on. */
static UNUSED void m_new_head(struct m_conn *c, const struct m_packet *p, const uint8_t *b,
			      size_t n, struct expect *e)
{
	struct m_request *rq = &c->rq;
	bool parts = c->part_len;
	size_t before = c->part_len, blank = 0, room = sizeof(c->part) - before;
	int64_t from = c->next + before;
	uint32_t due = c->first_seq + from, reason;
	struct m_head h;

	while (!parts && blank < n && (b[blank] == '\r' || b[blank] == '\n'))
		blank++;
	if (blank == n) {
		c->next += n;
		m_pass(e, WEIR_PASS_BODY);
		return;
	}
	if (!parts && b[0] == 0x16 && (n == 1 || b[1] == 3)) {
		c->raw = WEIR_PASS_TLS;
		c->raw_at = c->next;
		rq->any = false;
		m_pass(e, c->raw);
		return;
	}
	memcpy(c->part + before, b, n < room ? n : room);
	m_read_head(c->part, before + (n < room ? n : room), &h);
	if (h.state == HEAD_WRONG && model.passed_part && !m_is_whole(c->part, before + n))
		h.state = HEAD_MORE;
	if (h.state == HEAD_MORE) {
		c->part_len = before + n;
		m_keep(c, from, b, n);
		m_pass(e, WEIR_PASS_HEAD_PART);
		return;
	}
	if (h.state == HEAD_WRONG || h.state == HEAD_PREFACE) {
		m_wrong_head(c, p, &h, due, e);
		return;
	}
	/* Whole: what is left of this segment is body. */
	if (parts)
		m_keep(c, from, b, h.len - before);
	b += h.len - before;
	n -= h.len - before;
	if (h.body != M_CHUNKED && n > h.body_bytes &&
	    m_more_behind(b + h.body_bytes, n - h.body_bytes)) {
		m_close_both(c, p, WEIR_DROP_PIPELINED, due, e);
		return;
	}
	if (c->slot_state != WEIR_SLOT_IDLE)
		m_request_end(c, WEIR_END_NEXT, e);
	if (!m_judge(c, p, &h, due, e))
		return;
	memcpy(rq->head, c->part, h.len);
	rq->any = true;
	rq->at = c->next;
	rq->parts = parts;
	rq->body = h.body;
	rq->body_at = c->next + h.len;
	rq->ended = h.body != M_CHUNKED;
	c->part_len = 0;
	if (h.body != M_CHUNKED) {
		rq->end = c->next = c->blank_at = rq->body_at + h.body_bytes;
		if (n > h.body_bytes)
			c->next += n - h.body_bytes;
		return;
	}
	memset(&rq->chunk, 0, sizeof(rq->chunk));
	rq->have = c->next = c->data_at = rq->body_at;
	c->n_data = 0;
	reason = n ? m_follow(c, b, n) : 0;
	if (reason)
		m_close_both(c, p, reason, due, e);
}

/* Are the bytes from a to b such as were kept, part by part? */
static UNUSED bool m_as_kept(const struct m_conn *c, int64_t a, int64_t b, const uint8_t *bytes)
{
	for (int step = 0; a < b && step <= M_KEPT; step++) {
		const struct m_kept *k = NULL;

		for (int i = 0; i < M_KEPT; i++)
			if (c->kept[i].b > a && c->kept[i].a == a)
				k = &c->kept[i];
		if (!k || k->b > b || memcmp(k->bytes, bytes, k->b - a))
			return false;
		bytes += k->b - a;
		a = k->b;
	}
	return a >= b;
}

/* Data of a chunk that is over, and nothing else? */
static UNUSED bool m_in_data(const struct m_conn *c, int64_t a, int64_t b)
{
	for (uint32_t i = 0; i < M_DATA && i < c->n_data; i++)
		if (a >= c->data[i].from && b <= c->data[i].to)
			return true;
	return false;
}

/* Is what is sent again from a to b as it was? Bytes up to c->acked do not matter. */
static UNUSED bool m_same(const struct m_conn *c, const struct m_packet *p, int64_t a, int64_t b)
{
	const struct m_request *rq = &c->rq;
	int64_t from = a > c->acked ? a : c->acked, first = a, kept_to;
	const uint8_t *bytes = p->bytes;

	if (rq->any && !rq->parts && from < rq->body_at && b > rq->at) {
		/* A head that came whole comes whole. */
		if (a > rq->at || b < rq->body_at ||
		    memcmp(p->bytes + (rq->at - a), rq->head, rq->body_at - rq->at))
			return false;
		from = rq->body_at;
		bytes += from - a;
		a = from;
	}
	/* Empty lines come again as that. */
	if (!c->part_len && (!rq->any || rq->ended))
		for (int64_t at = from > c->blank_at ? from : c->blank_at; at < b; at++)
			if (p->bytes[at - first] != '\r' && p->bytes[at - first] != '\n')
				return false;
	/* To where it was kept; behind is body that nobody has to read. */
	kept_to = c->part_len			     ? c->next + c->part_len
		  : rq->any && rq->body == M_CHUNKED ? c->data_at
		  : rq->any && rq->parts	     ? rq->body_at
						     : 0;
	if (kept_to > b)
		kept_to = b;
	if (rq->any && rq->body == M_CHUNKED && m_in_data(c, from, b))
		return true;
	return from >= kept_to || m_as_kept(c, a, kept_to, bytes);
}

/* What becomes of a packet from the client. */
static UNUSED void m_client_packet(struct m_conn *c, const struct m_packet *p, struct expect *e)
{
	struct m_request *rq = &c->rq;
	int64_t a = (int32_t)(p->seq - c->first_seq), b = a + p->len, seen, to;
	bool chunks = rq->any && rq->body == M_CHUNKED && !rq->ended;
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
	if (c->state == M_CLOSED) {
		if ((p->flags & TCP_RST) && a != c->acked) {
			m_drop(e, WEIR_DROP_REFUSED_FLOW);
			return;
		}
		if (p->flags & TCP_RST) {
			m_pass(e, WEIR_PASS_NO_PAYLOAD);
			m_gone(c, e);
			return;
		}
		m_close_both(c, p, WEIR_DROP_REFUSED_FLOW, c->first_seq + c->acked, e);
		return;
	}
	if (c->state == M_SYN && (p->flags & TCP_ACK) && c->tapped && p->ack == c->sent) {
		c->state = M_OPEN;
		m_half_open_over(c);
	}
	if (!p->len || (p->flags & TCP_RST)) {
		m_pass(e, WEIR_PASS_NO_PAYLOAD);
		return;
	}
	if (c->over) {
		if (b <= c->acked)
			m_pass(e, WEIR_PASS_REPEAT);
		else
			m_close_both(c, p, WEIR_DROP_AFTER_ANSWER, c->first_seq + c->acked, e);
		return;
	}
	if (c->raw) {
		/* What decided it, once more, before the server has it? */
		if (a > c->raw_at || b <= c->raw_at || c->acked > c->raw_at) {
			m_pass(e, WEIR_PASS_BODY);
			return;
		}
		c->raw = 0;
		c->next = c->blank_at = c->raw_at;
		c->part_len = 0;
	}
	seen = chunks ? rq->have : c->next + c->part_len;
	due = c->first_seq + seen;
	if (a > seen) {
		/* In the data of the chunk at hand, short of its end, it is data whatever
		 * is missing before it. */
		if (chunks && rq->chunk.at == CH_DATA && b < seen + (int64_t)rq->chunk.left) {
			rq->chunk.left -= b - seen;
			rq->have = b;
			m_pass(e, WEIR_PASS_BODY);
			return;
		}
		m_drop(e, WEIR_DROP_OUT_OF_ORDER);
		return;
	}
	to = b < seen ? b : seen;
	if (a < seen && to > c->acked && !m_same(c, p, a, to)) {
		m_close_both(c, p, WEIR_DROP_CHANGED, due, e);
		return;
	}
	if (b <= seen) {
		/* Bytes of a body that nobody reads, or such as were read? */
		int64_t from = a > c->acked ? a : c->acked;
		int64_t read_to = c->part_len		  ? seen
				  : !rq->any		  ? 0
				  : rq->body == M_CHUNKED ? c->data_at
							  : rq->body_at;

		if (rq->any && rq->body == M_CHUNKED && a >= rq->body_at && m_in_data(c, from, b))
			read_to = 0;
		m_pass(e, b <= c->acked || from < read_to ? WEIR_PASS_REPEAT : WEIR_PASS_BODY);
		return;
	}
	if (chunks) {
		m_pass(e, WEIR_PASS_BODY);
		reason = m_follow(c, p->bytes + (seen - a), b - seen);
		if (reason) {
			memset(e->counts, 0, sizeof(e->counts));
			m_close_both(c, p, reason, due, e);
		}
		return;
	}
	if (c->slot_state != WEIR_SLOT_IDLE && c->answer != A_CLOSE) {
		for (int64_t at = seen; at < b; at++)
			if (p->bytes[at - a] != '\r' && p->bytes[at - a] != '\n') {
				m_close_both(c, p, WEIR_DROP_PIPELINED, due, e);
				return;
			}
		c->next = b;
		m_pass(e, WEIR_PASS_BODY);
		return;
	}
	for (to = seen; to < b && (p->bytes[to - a] == '\r' || p->bytes[to - a] == '\n');)
		to++;
	if (to < b && !c->part_len && c->acked < a) {
		m_drop(e, WEIR_DROP_OUT_OF_ORDER);
		return;
	}
	m_new_head(c, p, p->bytes + (seen - a), b - seen, e);
}

/* What it has of the request's body is told: in order, each byte once, up to a hole. */
static UNUSED void m_asked(struct m_conn *c, const struct m_packet *p, struct expect *e)
{
	int64_t a = (int32_t)(p->seq - c->first_seq), b = a + p->len;
	struct m_record *r;

	if (!c->asked_left || !p->len || (p->flags & TCP_RST))
		return;
	if (c->slot_state != WEIR_SLOT_OPEN || a > c->asked_at) {
		c->asked_left = 0;
		return;
	}
	if (b <= c->asked_at)
		return;
	r = m_record(e, WEIR_REC_ASKED);
	r->ordinal = c->ordinal;
	r->offset = c->asked_off;
	r->data = p->bytes + (c->asked_at - a);
	r->len = b - c->asked_at;
	if (r->len > c->asked_left)
		r->len = c->asked_left;
	c->asked_at += r->len;
	c->asked_off += r->len;
	c->asked_left -= r->len;
}

/* Its FIN, where one is due. */
static UNUSED void m_leaves(struct m_conn *c, const struct m_packet *p)
{
	int64_t at = (int32_t)(p->seq - c->first_seq) + (int64_t)p->len;
	bool chunks = c->rq.any && c->rq.body == M_CHUNKED && !c->rq.ended;
	int64_t due = chunks ? c->rq.have : c->next + c->part_len;

	if (c->raw)
		due = c->acked + (1 << 30);
	if ((p->flags & TCP_FIN) && c->slot_state == WEIR_SLOT_OPEN && at >= c->acked && at <= due)
		c->left = true;
}

/* A packet from the client. */
static UNUSED void m_client(struct m_conn *c, const struct m_packet *p, struct expect *e)
{
	m_client_packet(c, p, e);
	if (e->code != OUT_PASS || c->state == M_GONE)
		return;
	m_asked(c, p, e);
	m_leaves(c, p);
}

#endif
