/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How connections end in the model: a request's end, a refusal and what follows
 * it until the client has read it, a closing of both ends.
 */
#ifndef TEST_MODEL_LINGER_H
#define TEST_MODEL_LINGER_H

#include "tests/bpf/model_limits.h"

/* A packet, either way, and where its payload stands. */
struct m_packet {
	uint8_t flags;
	uint32_t seq, ack;
	const uint8_t *bytes;
	size_t len;
};

static UNUSED uint32_t m_seq_end(const struct m_packet *p)
{
	return p->seq + p->len + !!(p->flags & TCP_FIN);
}

static UNUSED void m_request_end(struct m_conn *c, uint8_t cause, struct expect *e)
{
	struct m_record *r;

	if (c->slot_state == WEIR_SLOT_OPEN) {
		for (int i = 0; i < WEIR_LEVELS; i++)
			if (m_charged(c->slot_tenant, c->slot_others, i))
				m_charged(c->slot_tenant, c->slot_others, i)->t.inflight--;
		r = m_record(e, WEIR_REC_END);
		r->cause = cause;
		r->tenant = c->slot_tenant;
		r->wallet = c->slot_wallet;
		r->ordinal = c->ordinal;
		r->reserved = c->slot_reserved;
		r->tokens = c->slot_tokens;
		memcpy(r->others, c->slot_others, sizeof(r->others));
		r->flags = c->slot_flags | (c->left ? WEIR_SLOT_LEFT : 0);
		r->bytes = c->abytes;
		r->lost = c->lost;
	}
	c->slot_state = WEIR_SLOT_IDLE;
	c->answer = A_IDLE;
}

/* The connection is given back and forgotten. */
static UNUSED void m_gone(struct m_conn *c, struct expect *e)
{
	if (c->counted)
		m_count(e, WEIR_CLOSE_RELEASED);
	m_uncount(c);
	c->state = M_GONE;
	m_count(e, WEIR_FLOW_GONE);
}

/* due: the client's sequence number that the server waits for. */
static UNUSED void m_refuse(struct m_conn *c, const struct m_packet *p, struct m_refusal *r,
			    uint32_t dialect, uint32_t due, struct expect *e)
{
	m_count(e, r->reason);
	m_note_denial(e, r, false);
	if (!c->judged)
		m_connect_give_back(c);
	c->state = M_REFUSED;
	c->reply_seq = p->ack;
	if (c->tapped && (int32_t)(c->sent - p->ack) > 0)
		c->reply_seq = c->sent;
	c->reply_acked = m_seq_end(p);
	c->reply_fin = p->flags & TCP_FIN;
	c->reply = *r;
	c->reply_dialect = dialect;
	e->code = OUT_REDIRECT;
	e->frame = OUT_REFUSAL;
	e->seq = c->reply_seq;
	e->ack = c->reply_acked;
	e->refusal = *r;
	e->dialect = dialect;
	e->wire = true;
	e->wire_seq = e->wire_from = due;
}

/* A RST to both. The server's must stand where its next byte is due. */
static UNUSED void m_close_both(struct m_conn *c, const struct m_packet *p, uint32_t reason,
				uint32_t due, struct expect *e)
{
	m_count(e, reason);
	m_request_end(c, WEIR_END_CLOSE, e);
	c->state = M_CLOSED;
	e->closes = true;
	e->code = OUT_REDIRECT;
	e->frame = OUT_RST;
	e->wire = true;
	e->wire_seq = due;
	e->wire_from = c->first_seq + c->acked;
}

/* The same on a packet of the server's, which becomes the client's RST. */
static UNUSED void m_close_from_server(struct m_conn *c, const struct m_packet *p, uint32_t reason,
				       struct expect *e)
{
	m_close_both(c, p, reason, p->ack, e);
	e->wire_from = p->ack;
	e->code = OUT_PASS;
}

/* A packet of either end of a connection that was closed or refused, and that its sender may
 * not know of. */
static UNUSED void m_again_reset(const struct m_packet *p, struct expect *e)
{
	m_drop(e, WEIR_DROP_REFUSED_FLOW);
	if (p->flags & TCP_RST)
		return;
	e->code = OUT_REDIRECT;
	e->frame = OUT_RST;
}

/* A packet of a refused connection's client. */
static UNUSED void m_linger(struct m_conn *c, const struct m_packet *p, struct expect *e)
{
	uint32_t end = c->reply_seq + c->reply_len + 1;
	bool probe = (int32_t)(p->seq - c->reply_acked) < 0, over;

	if (p->flags & TCP_RST) {
		m_drop(e, WEIR_LINGER_DONE);
		m_gone(c, e);
		return;
	}
	if ((int32_t)(m_seq_end(p) - c->reply_acked) > 0)
		c->reply_acked = m_seq_end(p);
	if (p->flags & TCP_FIN)
		c->reply_fin = true;
	e->seq = c->reply_seq;
	e->ack = c->reply_acked;
	if ((int32_t)(p->ack - end) < 0) {
		e->code = OUT_REDIRECT;
		e->frame = OUT_REFUSAL;
		e->refusal = c->reply;
		e->dialect = c->reply_dialect;
		m_count(e, WEIR_LINGER_REPLY);
		return;
	}
	over = c->reply_fin;
	if (over) {
		m_count(e, WEIR_LINGER_DONE);
		m_gone(c, e);
	}
	e->seq = end;
	if (!p->len && !(p->flags & TCP_FIN) && !probe) {
		m_drop(e, M_UNCOUNTED);
		return;
	}
	e->code = OUT_REDIRECT;
	e->frame = OUT_ACK;
	m_count(e, WEIR_LINGER_ACK);
}

#endif
