/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is judged: a SYN, and a head that is whole. Who is charged for it at which levels, and
 * what the connection and its slot then hold.
 */
#ifndef TEST_MODEL_JUDGE_H
#define TEST_MODEL_JUDGE_H

#include "tests/bpf/model_head.h"
#include "tests/bpf/model_linger.h"

/* A SYN. */
static UNUSED void m_syn(struct m_conn *c, struct expect *e)
{
	struct m_refusal r = {};
	struct m_demand d;
	struct m_tenant *t;
	uint32_t reason;

	if (c->state == M_REFUSED || c->state == M_CLOSED)
		m_gone(c, e);
	if (c->state != M_GONE) {
		m_pass(e, WEIR_PASS_NO_PAYLOAD);
		return;
	}
	r.tenant = m_tenant_of_source(c->client);
	t = &model.tenants[r.tenant];
	if (t->t.max_half_open && t->t.half_open >= t->t.max_half_open) {
		bool passes = !r.tenant || m_lenient(r.tenant);

		r.reason = WEIR_DENY_HALF_OPEN;
		r.level = r.tenant;
		if (r.tenant)
			m_note_denial(e, &r, passes);
		if (passes)
			m_pass(e, WEIR_PASS_HALF_OPEN);
		else
			m_drop(e, WEIR_DENY_HALF_OPEN);
		return;
	}
	m_levels(r.tenant, c->service, &d);
	reason = m_admit_connection(&d, true, &r);
	if (reason) {
		m_count(e, reason);
		m_note_denial(e, &r, false);
		m_drop(e, M_UNCOUNTED);
		if (t->t.flags & WEIR_TENANT_DROP)
			return;
		e->code = OUT_REDIRECT;
		e->frame = OUT_RST;
		return;
	}
	if (d.over) {
		m_count(e, WEIR_ADMIT_SHADOW);
		m_note_denial(e, &r, true);
	}
	c->state = M_SYN;
	m_count_at(c, &d);
	c->half_open = true;
	t->t.half_open++;
	m_count(e, WEIR_FLOW_NEW);
	m_pass(e, WEIR_ADMIT_CONNECTION);
}

static UNUSED bool m_free(const struct m_head *h)
{
	bool get = !strcmp(h->method, "GET") || !strcmp(h->method, "HEAD");
	size_t n = strcspn(h->target, "?");

	if (!strcmp(h->method, "OPTIONS"))
		return true;
	if (memchr(h->target, ' ', n))
		return false;
	for (uint32_t i = 0; i < model.n_free_paths; i++) {
		const struct m_path *f = &model.free_paths[i];
		size_t len = strlen(f->text);

		if (!get && !f->any_method)
			continue;
		if (strncmp(h->target, f->text, len) || (!f->prefix && n != len))
			continue;
		if (!f->prefix ||
		    (n < 128 && !memchr(h->target, '%', n) && !memmem(h->target, n, "..", 2) &&
		     !memmem(h->target, n, "//", 2)))
			return true;
	}
	return false;
}

/* Move the connection to the levels of the tenant that its key names. */
static UNUSED uint32_t m_move(struct m_conn *c, struct m_demand *d, struct m_refusal *r)
{
	uint32_t reason;

	if (c->tenant == d->level[0])
		return 0;
	reason = m_admit_connection(d, !c->judged, r);
	if (reason)
		return reason;
	m_uncount(c);
	if (!c->judged)
		m_connect_give_back(c);
	m_count_at(c, d);
	return 0;
}

static UNUSED void m_open_slot(struct m_conn *c, const struct m_head *h, uint32_t state,
			       const struct m_demand *d, uint32_t flags, struct expect *e)
{
	uint32_t tenant = d->level[0];
	size_t path = strcspn(h->target, "? ");
	struct m_record *r;

	c->ordinal++;
	c->slot_state = state;
	c->slot_tenant = tenant;
	c->slot_wallet = model.tenants[tenant].t.wallet;
	memcpy(c->slot_others, d->level + 1, sizeof(c->slot_others));
	c->slot_reserved = d->nano;
	c->slot_tokens = d->tokens;
	c->slot_flags = flags | d->taken * WEIR_SLOT_TAKEN;
	c->answer = A_HEAD;
	c->ahead_len = 0;
	c->abytes = c->apos = 0;
	c->vectors = c->left = false;
	c->tail = 0;
	c->asked_left = 0;
	c->lost = 0;
	if (state == WEIR_SLOT_FREE)
		return;
	c->judged = true;
	r = m_record(e, WEIR_REC_REQUEST);
	r->tenant = tenant;
	r->wallet = c->slot_wallet;
	r->ordinal = c->ordinal;
	r->reserved = d->nano;
	r->body_bytes = h->body == M_CHUNKED ? ~0ULL : h->body_bytes;
	r->flags = flags;
	memcpy(r->method, h->method, sizeof(r->method));
	memcpy(r->path, h->target, path < sizeof(r->path) ? path : sizeof(r->path));
	for (uint32_t i = 0; i < h->n_lines; i++) {
		r = m_record(e, WEIR_REC_LINE);
		r->ordinal = c->ordinal;
		r->name = h->lines[i].name;
		r->data = h->lines[i].at;
		r->len = h->lines[i].len;
		r->flags = memcmp(c->client, model.trusted, 16) ? 0 : WEIR_LABELS_TRUSTED;
		if (r->len > WEIR_LINE_LARGE) {
			r->len = WEIR_LINE_LARGE;
			r->flags |= WEIR_LINE_CUT;
		}
	}
	c->vectors = (path >= 11 && !memcmp(h->target + path - 11, "/embeddings", 11)) ||
		     (path >= 6 && !memcmp(h->target + path - 6, "/embed", 6));
	if (h->body != M_LENGTH)
		return;
	c->asked_at = c->next + h->len;
	c->asked_off = 0;
	c->asked_left = model.tenants[tenant].t.flags & WEIR_TENANT_ASKED_WHOLE ? WEIR_ASKED_MAX
										: model.asked_bytes;
	if (c->asked_left > h->body_bytes)
		c->asked_left = h->body_bytes;
}

/* Judge a whole head of the right form. true: it may pass. */
static UNUSED bool m_judge(struct m_conn *c, const struct m_packet *p, const struct m_head *h,
			   uint32_t due, struct expect *e)
{
	uint32_t flags = !strcmp(h->method, "HEAD") ? WEIR_SLOT_HEAD_METHOD : 0, reason, tenant;
	uint32_t dialect = strncmp(h->target, "/v1/messages", 12) ? c->dialect : WEIR_API_ANTHROPIC;
	struct m_refusal r = {};
	struct m_demand d = {};
	uint32_t moved = 0;
	struct m_tenant *t;
	bool tunnel = !strcmp(h->method, "CONNECT"), foreign = h->upgrade || tunnel;

	if (!foreign && m_free(h)) {
		m_pass(e, WEIR_PASS_FREE);
		m_open_slot(c, h, WEIR_SLOT_FREE, &d, flags, e);
		return true;
	}
	reason = m_whose(c, h, &tenant);
	r.tenant = tenant;
	r.reason = reason;
	t = &model.tenants[tenant];
	m_levels(tenant, c->service, &d);
	m_reservation(&d, h->body == M_CHUNKED ? ~0ULL : h->body_bytes);
	if (!reason && foreign && (tunnel || !(t->t.flags & WEIR_TENANT_PASS_PROTOCOLS)))
		reason = r.reason = WEIR_DENY_PROTOCOL;
	if (reason && m_lenient(tenant)) {
		/* No level decides that. On, as if admitted: counted, nothing taken of a rate. */
		d.over = (1 << WEIR_LEVELS) - 1;
		d.tokens = 0;
		m_take(&d, &model.tenants[t->t.wallet]);
		reason = 0;
	} else if (!reason) {
		reason = m_move(c, &d, &r);
		moved = d.over;
		if (!reason)
			reason = m_admit_request(&d, &r);
	}
	if (reason) {
		m_refuse(c, p, &r, dialect, due, e);
		return false;
	}
	if (d.over | moved) {
		m_note_denial(e, &r, true);
		flags |= WEIR_SLOT_SHADOW;
	}
	flags |= c->judged ? 0 : WEIR_SLOT_FIRST;
	m_pass(e, d.over | moved ? WEIR_ADMIT_SHADOW : WEIR_ADMIT_REQUEST);
	m_open_slot(c, h, WEIR_SLOT_OPEN, &d, flags, e);
	return true;
}

#endif
