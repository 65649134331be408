/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's packets: what they acknowledge, and the answers in them, each byte
 * once, to their ends.
 */
#ifndef TEST_MODEL_ANSWER_H
#define TEST_MODEL_ANSWER_H

#include "tests/bpf/model_head.h"
#include "tests/bpf/model_linger.h"

/* The answer ends, or refuses: has the server the whole request? */
static UNUSED void m_too_early(struct m_conn *c)
{
	bool chunks = c->rq.any && c->rq.body == M_CHUNKED && !c->rq.ended;

	if (!c->raw && has_feature(F_UNJUDGED) && (c->part_len || chunks || c->acked < c->next))
		c->over = true;
}

/* What an answer's head says, if it is whole in c->ahead. 0: not yet; else the status;
 * 1: not to be understood. */
static UNUSED int m_status(struct m_conn *c)
{
	char *head = (char *)c->ahead, *line;
	bool length = false, chunked = false;
	int status;

	head[c->ahead_len] = 0;
	if (c->ahead_len < 4 || memcmp(head + c->ahead_len - 4, "\r\n\r\n", 4))
		return 0;
	if (strncmp(head, "HTTP/1.", 7) || sscanf(head + 8, " %d", &status) != 1)
		return 1;
	for (line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
		if (!strncasecmp(line + 2, "content-length:", 15)) {
			length = true;
			c->aleft = strtoull(line + 17, NULL, 10);
		}
		chunked |= !strncasecmp(line + 2, "transfer-encoding:", 18);
	}
	if (length && !chunked && c->vectors && c->apos <= WEIR_SKIP_HEAD &&
	    c->apos + c->aleft > WEIR_SKIP_MIN)
		c->tail = c->apos + c->aleft - WEIR_SKIP_TAIL;
	c->answer = chunked ? A_CHUNKS : length ? A_LENGTH : A_CLOSE;
	memset(&c->achunk, 0, sizeof(c->achunk));
	return status;
}

/* One byte of the answer. true: it was the last. */
static UNUSED bool m_answer_byte(struct m_conn *c, uint8_t byte, struct expect *e)
{
	int status;

	switch (c->answer) {
	case A_HEAD:
		if (c->ahead_len + 1 < sizeof(c->ahead))
			c->ahead[c->ahead_len++] = byte;
		status = m_status(c);
		if (!status)
			return false;
		c->ahead_len = 0;
		if (status == 1) {
			c->answer = A_CLOSE;
		} else if (status == 101) {
			c->answer = A_CLOSE;
			c->upgraded = has_feature(F_PROTOCOL);
		} else if (status < 200) {
			c->answer = A_HEAD;
		} else {
			if (status >= 400)
				m_too_early(c);
			return (c->slot_flags & WEIR_SLOT_HEAD_METHOD) || status == 204 ||
			       status == 304 || (c->answer == A_LENGTH && !c->aleft);
		}
		return false;
	case A_LENGTH:
		return !--c->aleft;
	case A_CHUNKS:
		m_chunk_byte(&c->achunk, byte);
		if (c->achunk.at == CH_BAD)
			c->answer = A_CLOSE;
		return c->achunk.at == CH_DONE;
	default:
		return false;
	}
}

/* Bytes of the server on a connection where nothing is asked. false: they pass. */
static UNUSED bool m_unjudged(struct m_conn *c, const struct m_packet *p, const uint8_t *b,
			      size_t n, struct expect *e)
{
	bool answer = !memcmp(b, "HTTP/1.", n < 7 ? n : 7);
	int status = 0;
	struct m_record *r;

	if (n >= 12 && answer)
		status = (b[9] - '0') * 100 + (b[10] - '0') * 10 + b[11] - '0';
	m_count(e, WEIR_TAP_UNJUDGED);
	if (!has_feature(F_UNJUDGED) || c->answer == A_STRAY || !answer ||
	    (status >= 100 && status < 200))
		return false;
	if (status >= 400 || m_lenient(c->tenant)) {
		c->over |= !m_lenient(c->tenant);
		c->answer = A_STRAY;
		return false;
	}
	c->ordinal++;
	for (int end = 0; end < 2; end++) {
		if (end) {
			m_count(e, WEIR_TAP_SHIPPED);
			r = m_record(e, WEIR_REC_DATA);
			r->ordinal = c->ordinal;
			r->data = b;
			r->len = n;
		}
		r = m_record(e, end ? WEIR_REC_END : WEIR_REC_REQUEST);
		r->tenant = c->tenant;
		memcpy(r->others, c->others, sizeof(r->others));
		r->wallet = model.tenants[c->tenant].t.wallet;
		r->ordinal = c->ordinal;
		r->flags = WEIR_SLOT_UNJUDGED;
	}
	m_close_from_server(c, p, WEIR_DROP_UNJUDGED, e);
	return true;
}

/* The server has switched to another protocol. true: that closes both ends. */
static UNUSED bool m_upgrade(struct m_conn *c, const struct m_packet *p, struct expect *e)
{
	c->upgraded = false;
	if (m_lenient(c->slot_tenant) ||
	    (model.tenants[c->slot_tenant].t.flags & WEIR_TENANT_PASS_PROTOCOLS)) {
		m_count(e, WEIR_PASS_OTHER_PROTOCOL);
		c->raw = WEIR_PASS_OTHER_PROTOCOL;
		c->raw_at = -1;
		return false;
	}
	m_request_end(c, WEIR_END_CLOSE, e);
	m_close_from_server(c, p, WEIR_DROP_UPGRADE, e);
	return true;
}

/* The server accepts a SYN: the connection is new, whatever it was before. */
static UNUSED void m_syn_ack(struct m_conn *c, const struct m_packet *p, struct expect *e)
{
	m_pass(e, M_UNCOUNTED);
	if (c->state == M_SYN && c->tapped && c->sent == p->seq + 1)
		return;
	if (c->state != M_SYN) {
		m_request_end(c, WEIR_END_CLOSE, e);
		c->state = M_SYN;
		c->ordinal = 0;
	}
	c->sent = p->seq + 1;
	c->tapped = true;
	c->answer = A_IDLE;
	c->first_seq = p->ack;
	c->acked = c->next = c->blank_at = c->part_len = 0;
	c->rq.any = false;
	c->raw = 0;
	c->over = c->judged = false;
}

/* How many of n bytes of the answer from c->abytes on nobody wants; *before: those in front. */
static UNUSED size_t m_unwanted(const struct m_conn *c, size_t n, size_t *before)
{
	size_t k = 0;

	*before = n;
	for (size_t i = 0; i < n; i++) {
		uint64_t at = c->abytes + i;

		if (!c->tail || at < WEIR_SKIP_HEAD || at >= c->tail)
			continue;
		if (!k++)
			*before = i;
	}
	return k;
}

static UNUSED void m_told(struct m_conn *c, const uint8_t *bytes, uint64_t at, size_t n,
			  struct expect *e)
{
	struct m_record *r;

	if (!n)
		return;
	r = m_record(e, WEIR_REC_DATA);
	r->ordinal = c->ordinal;
	r->offset = at;
	r->data = bytes;
	r->len = n;
}

/* A packet from the server. */
static UNUSED void m_server(struct m_conn *c, const struct m_packet *p, struct expect *e)
{
	int64_t acked = (int32_t)(p->ack - c->first_seq);
	size_t skip = 0, n, before_it;
	int32_t before;

	if (c->state == M_GONE) {
		m_pass(e, M_UNCOUNTED);
		return;
	}
	if (c->state == M_REFUSED || c->state == M_CLOSED) {
		m_again_reset(p, e);
		return;
	}
	if (p->flags & TCP_SYN) {
		m_syn_ack(c, p, e);
		return;
	}
	if ((p->flags & TCP_ACK) && acked > c->acked)
		c->acked = acked;
	m_pass(e, M_UNCOUNTED);
	before = c->sent - p->seq;
	if (p->len) {
		if (before >= (int32_t)p->len) {
			m_count(e, WEIR_TAP_RETRANSMIT);
			return;
		}
		if (before < 0) {
			uint32_t missing = -before;

			m_count(e, WEIR_TAP_HOLE);
			c->lost += missing - m_unwanted(c, missing, &before_it);
			c->abytes += missing;
			c->apos += missing;
			if (c->answer == A_LENGTH && c->aleft > missing)
				c->aleft -= missing;
			else if (c->slot_state != WEIR_SLOT_IDLE)
				c->answer = A_CLOSE;
		} else {
			skip = before;
		}
		n = p->len - skip;
		c->sent = p->seq + p->len;
		if (c->slot_state == WEIR_SLOT_IDLE) {
			if (m_unjudged(c, p, p->bytes + skip, n, e))
				return;
			skip = p->len;
			n = 0;
		}
		if (c->slot_state == WEIR_SLOT_OPEN && n) {
			size_t unwanted = m_unwanted(c, n, &before_it);
			size_t behind = before_it + unwanted;

			m_count(e, unwanted ? WEIR_TAP_SKIPPED : WEIR_TAP_SHIPPED);
			m_told(c, p->bytes + skip, c->abytes, before_it, e);
			m_told(c, p->bytes + skip + behind, c->abytes + behind, n - behind, e);
		}
		c->abytes += n;
		for (size_t i = skip; i < p->len; i++) {
			if (c->upgraded)
				break;
			c->apos++;
			if (!m_answer_byte(c, p->bytes[i], e))
				continue;
			m_too_early(c);
			m_request_end(c, WEIR_END_RESPONSE, e);
			/* What is behind its end nobody asked for. */
			if (i + 1 < p->len && has_feature(F_UNJUDGED) &&
			    m_unjudged(c, p, p->bytes + i + 1, p->len - i - 1, e))
				return;
			break;
		}
		if (c->upgraded && m_upgrade(c, p, e))
			return;
	}
	if ((p->flags & TCP_FIN) && c->sent == p->seq + p->len)
		m_request_end(c, WEIR_END_CLOSE, e);
}

#endif
