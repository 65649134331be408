/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a connection in a differential run: how it is opened, what its two ends send
 * next, whole or cut, in order or not, and how it is forgotten.
 */
#ifndef TEST_DIFF_LIFE_H
#define TEST_DIFF_LIFE_H

#include "tests/bpf/diff_drive.h"
#include "tests/bpf/diff_grammar.h"

enum { SEGMENT_MAX = 2800 };

static const char *const clients[] = { "198.51.100.10", "198.51.100.70", "2001:db8:1::5",
				       "203.0.113.9",	"192.0.2.77",	 "2001:db8:2::7" };

/* -- the client's and the server's packets */

static UNUSED uint32_t client_seq(const struct peer *p, size_t at)
{
	return p->m.first_seq + at;
}

static UNUSED struct expect server_sends(struct peer *p, uint8_t flags, const void *bytes,
					 size_t len)
{
	return diff_packet(p, false, flags, p->m.c.sent, client_seq(p, p->received + p->fin), bytes,
			   len);
}

static UNUSED void server_acks(struct peer *p)
{
	server_sends(p, TCP_ACK, NULL, 0);
}

static UNUSED void deliver(struct peer *p, size_t at, size_t len)
{
	memset(p->got + at, 1, len);
	while (p->received < p->made && p->got[p->received])
		p->received++;
}

/* The client sends len bytes at `at` of its stream; changed: not as they are, with a
 * checksum that the server's TCP will find wrong. */
static UNUSED struct expect client_sends(struct peer *p, size_t at, size_t len, bool changed)
{
	uint8_t bytes[FRAME_MAX];
	uint32_t ack = p->m.c.sent;
	struct expect e;

	memcpy(bytes, p->out + at, len);
	if (changed)
		for (uint32_t i = 1 + rnd(3); i; i--)
			bytes[rnd(len)] ^= chance(50) ? 0x20 : 1 + rnd(255);
	if (chance(5) && p->last_len)
		ack = p->last_seq;
	e = diff_packet(p, true, TCP_PSH | TCP_ACK, client_seq(p, at), ack, bytes, len);
	if (e.code == OUT_PASS && !changed)
		deliver(p, at, len);
	if (at + len > p->sent)
		p->sent = at + len;
	if (!changed) {
		p->cuts[p->n_cuts % CUTS].at = at;
		p->cuts[p->n_cuts++ % CUTS].len = len;
	}
	if (!has(F_ACK_ORDER) && e.code == OUT_PASS)
		server_acks(p);
	return e;
}

/* -- the life of a connection */

static UNUSED void sweep(void)
{
	static uint8_t frame[64];
	struct expect e = {};

	lab.config->half_open_ns = 0;
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	lab.config->half_open_ns = 100000 * SECOND;
	for (int i = 0; i < PEERS; i++)
		if (diff.peers[i].live && diff.peers[i].m.state == M_SYN) {
			m_count(&e, WEIR_HALF_OPEN_EXPIRED);
			m_gone(&diff.peers[i].m, &e);
			diff.peers[i].live = false;
		}
	diff_check_counts(&e);
	diff_check_tenants();
}

/* A connection without a socket ends as one whose port is used again and whose
 * handshake then is never completed. */
static UNUSED void forget(struct peer *p)
{
	p->live = false;
	if (p->m.state == M_GONE)
		return;
	if (p->m.state == M_REFUSED) {
		diff_packet(p, true, TCP_RST, client_seq(p, p->sent), p->m.c.sent, NULL, 0);
		return;
	}
	if (p->m.state == M_CLOSED) {
		diff_packet(p, true, TCP_SYN, client_seq(p, p->sent + 999999), 0, NULL, 0);
		if (p->m.state == M_GONE)
			return;
	}
	p->m.c.sent += 1000000;
	diff_packet(p, false, TCP_SYN | TCP_ACK, p->m.c.sent, client_seq(p, p->sent + 1000000),
		    NULL, 0);
	p->live = true;
	sweep();
}

static UNUSED void open_peer(struct peer *p)
{
	struct m_conn *m = &p->m;
	bool v6;

	memset(p, 0, sizeof(*p));
	m->c = new_conn(PICK(clients), "192.0.2.1");
	if (strchr(m->c.client, ':'))
		snprintf(m->c.server, sizeof(m->c.server), "2001:db8::1");
	if (lab.next_port > 60000)
		lab.next_port = 20000;
	m->c.has_ts = chance(70);
	m->service = 1 + rnd(3);
	m->dialect = m->service - 1;
	m->c.server_port = PORT + m->dialect;
	m->c.next = chance(50) ? 0xffffff00 + rnd(256) : rnd(0xffffffff);
	m->c.sent = chance(50) ? 0x7fffff00 + rnd(256) : rnd(0xffffffff);
	address(m->c.client, m->client, &v6);
	p->live = true;
	diff_packet(p, true, TCP_SYN, m->c.next, 0, NULL, 0);
	if (m->state == M_GONE) {
		p->live = false;
		return;
	}
	if (chance(3))
		diff_packet(p, true, TCP_SYN, m->c.next, 0, NULL, 0);
	diff_packet(p, false, TCP_SYN | TCP_ACK, m->c.sent, m->c.next + 1, NULL, 0);
	m->c.sent++;
	if (chance(80))
		diff_packet(p, true, TCP_ACK, m->c.next + 1, m->c.sent, NULL, 0);
}

static UNUSED void ask(struct peer *p)
{
	struct text t = { p->out, p->made, STREAM - 1 };

	p->message = p->made;
	put_request(&t, &p->head_len);
	p->made = t.len;
	p->requests++;
}

static UNUSED size_t cut(const struct peer *p)
{
	size_t left = p->made - p->sent, most = left < SEGMENT_MAX ? left : SEGMENT_MAX;
	size_t len = chance(70) ? most : 1 + rnd(chance(50) ? most : most < 40 ? most : 40);
	size_t head = p->message + p->head_len;

	if (!has(F_PARTS) && p->sent <= p->message && p->sent + len < head)
		len = head - p->sent;
	return len;
}

/* What else may happen to a segment on its way. */
static UNUSED void client_mischief(struct peer *p)
{
	size_t at, len, missing = p->received;

	switch (rnd(5)) {
	case 0: /* again, as it was cut */
		if (p->n_cuts) {
			uint32_t i = rnd(p->n_cuts < 8 ? p->n_cuts : 8);

			i = (p->n_cuts - 1 - i) % CUTS;
			client_sends(p, p->cuts[i].at, p->cuts[i].len, false);
		}
		break;
	case 1: /* again, cut elsewhere */
		if (p->sent) {
			at = p->sent - 1 - rnd(p->sent < 3000 ? p->sent : 3000);
			if (chance(30))
				at = missing < p->sent ? missing : at;
			len = 1 + rnd(p->sent - at < SEGMENT_MAX ? p->sent - at : SEGMENT_MAX);
			client_sends(p, at, len, false);
		}
		break;
	case 2: /* a later one first */
		if (p->made - p->sent > 2) {
			at = p->sent + 1 + rnd(p->made - p->sent - 1);
			len = 1 + rnd(p->made - at < SEGMENT_MAX ? p->made - at : SEGMENT_MAX);
			client_sends(p, at, len, false);
		}
		break;
	case 3: /* a changed copy first */
		if (p->made > p->sent)
			client_sends(p, p->sent, cut(p), true);
		break;
	case 4: /* a changed copy afterwards */
		if (p->n_cuts && chance(30)) {
			uint32_t i = (p->n_cuts - 1) % CUTS;

			client_sends(p, p->cuts[i].at, p->cuts[i].len, true);
		}
		break;
	}
}

static UNUSED void client_turn(struct peer *p)
{
	bool waiting = p->m.slot_state != WEIR_SLOT_IDLE || p->answered < p->answer_len;

	if (has(F_REPEAT) && chance(8)) {
		client_mischief(p);
		return;
	}
	if (chance(3)) {
		diff_packet(p, true, TCP_ACK, client_seq(p, p->sent), p->m.c.sent, NULL, 0);
		return;
	}
	if (chance(1)) { /* its FIN, or one that nobody takes for it */
		uint32_t at = chance(60) ? 0 : rnd(200) - 100;

		diff_packet(p, true, TCP_ACK | TCP_FIN, client_seq(p, p->sent) + at, p->m.c.sent,
			    NULL, 0);
		return;
	}
	if (p->received < p->sent) {
		/* What is missing again. */
		size_t len = p->sent - p->received;

		for (uint32_t i = 0; i < p->n_cuts && i < CUTS; i++)
			if (p->cuts[i].at == p->received && chance(80))
				len = p->cuts[i].len;
		if (len > SEGMENT_MAX)
			len = SEGMENT_MAX;
		client_sends(p, p->received, len, false);
		return;
	}
	if (p->sent < p->made) {
		client_sends(p, p->sent, cut(p), false);
		return;
	}
	if (p->requests > 8 || p->made > STREAM - 28000) {
		forget(p);
		return;
	}
	if (waiting && !chance(p->answer_closes ? 20 : 1))
		return;
	if (!has(F_ACK_ORDER) && waiting && !p->answer_closes && !chance(10))
		return;
	ask(p);
}

static UNUSED void server_turn(struct peer *p)
{
	struct m_conn *m = &p->m;
	struct text t = { p->answer, 0, sizeof(p->answer) };
	size_t len, left;

	if (chance(40))
		server_acks(p);
	if (p->last_len && chance(4)) {
		diff_packet(p, false, TCP_ACK | TCP_PSH, p->last_seq, client_seq(p, p->received),
			    p->answer + p->last_at, p->last_len);
		return;
	}
	if (m->slot_state == WEIR_SLOT_IDLE) {
		if (chance(1)) {
			bool closes;

			put_answer(&t, false, &len, &closes);
			p->answer_len = t.len < SEGMENT_MAX ? t.len : SEGMENT_MAX;
			p->answered = p->answer_len;
			p->last_len = 0;
			server_sends(p, TCP_ACK | TCP_PSH, p->answer, p->answer_len);
			m->c.sent += p->answer_len;
		}
		return;
	}
	if (p->answer_to != m->ordinal) {
		if (p->received < p->made && !chance(10))
			return;
		p->answer_to = m->ordinal;
		if (has(F_PROTOCOL) && chance(2)) {
			put(&t, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nfree words");
			p->answer_head = t.len - 10;
			p->answer_closes = true;
		} else if (m->vectors && !(m->slot_flags & WEIR_SLOT_HEAD_METHOD) && chance(40)) {
			put_vectors(&t, &p->answer_head);
			p->answer_closes = false;
		} else {
			put_answer(&t, m->slot_flags & WEIR_SLOT_HEAD_METHOD, &p->answer_head,
				   &p->answer_closes);
		}
		if (has(F_UNJUDGED) && chance(1) && !p->answer_closes) {
			bool closes;

			put_answer(&t, false, &len, &closes);
		}
		p->answer_len = t.len;
		p->answered = p->last_len = 0;
	}
	left = p->answer_len - p->answered;
	if (!left) {
		if (p->answer_closes && chance(50)) {
			server_sends(p, TCP_ACK | TCP_FIN, NULL, 0);
			forget(p);
		} else if (!p->answer_closes && chance(10)) {
			forget(p); /* a hole had its end */
		}
		return;
	}
	len = left < SEGMENT_MAX ? left : SEGMENT_MAX;
	if (chance(40))
		len = 1 + rnd(len);
	if (!has(F_ANSWER_CUT) && p->answered < p->answer_head &&
	    p->answered + len < p->answer_head)
		len = p->answer_head - p->answered;
	if (p->answered && chance(1)) {
		m->c.sent += len;
		p->answered += len;
		return;
	}
	p->last_at = p->answered;
	p->last_len = len;
	p->last_seq = m->c.sent;
	server_sends(p, TCP_ACK | TCP_PSH, p->answer + p->answered, len);
	m->c.sent += len;
	p->answered += len;
}

/* A refused one: it asks again, reads some of it, goes. */
static UNUSED void refused_turn(struct peer *p)
{
	struct m_conn *m = &p->m;
	uint32_t end = m->reply_seq + m->reply_len + 1, ack = m->c.sent;
	uint32_t i = p->n_cuts ? (p->n_cuts - 1) % CUTS : 0;

	if (chance(30))
		ack = chance(50) ? end : m->reply_seq + rnd(m->reply_len + 1);
	switch (rnd(6)) {
	case 0:
		if (p->n_cuts)
			diff_packet(p, true, TCP_ACK | TCP_PSH, client_seq(p, p->cuts[i].at), ack,
				    p->out + p->cuts[i].at, p->cuts[i].len);
		break;
	case 1:
		diff_packet(p, true, TCP_ACK, m->reply_acked, ack, NULL, 0);
		break;
	case 2:
		diff_packet(p, true, TCP_ACK | TCP_PSH, m->reply_acked, ack, "more of it", 10);
		break;
	case 3:
		diff_packet(p, true, TCP_ACK | TCP_FIN, m->reply_acked - m->reply_fin, ack, NULL,
			    0);
		break;
	case 4:
		diff_packet(p, false, chance(20) ? TCP_RST : TCP_ACK, m->c.sent,
			    client_seq(p, p->received), "late", chance(50) ? 4 : 0);
		break;
	case 5:
		diff_packet(p, true, TCP_RST, m->reply_acked, ack, NULL, 0);
		break;
	}
	p->live = m->state != M_GONE;
}

static UNUSED void turn(struct peer *p)
{
	if (!p->live) {
		open_peer(p);
		return;
	}
	if (p->m.state == M_REFUSED)
		refused_turn(p);
	else if (chance(p->m.state == M_CLOSED ? 40 : 1))
		forget(p);
	else if (chance(50))
		client_turn(p);
	else
		server_turn(p);
}

#endif
