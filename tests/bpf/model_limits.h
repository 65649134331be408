/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who it is, and what it may (bpf/limits.md): tenants looked up in arrays, limits of each
 * level as plain comparisons, buckets as counts of tokens taken.
 */
#ifndef TEST_MODEL_LIMITS_H
#define TEST_MODEL_LIMITS_H

#include "tests/bpf/model.h"

static UNUSED bool m_in_prefix(const uint8_t *addr, const struct m_source *s)
{
	for (uint32_t bit = 0; bit < s->len; bit++)
		if ((addr[bit / 8] ^ s->addr[bit / 8]) & (0x80 >> bit % 8))
			return false;
	return true;
}

static UNUSED uint32_t m_tenant_of_source(const uint8_t *addr)
{
	const struct m_source *best = NULL;

	for (uint32_t i = 0; i < model.n_sources; i++)
		if (m_in_prefix(addr, &model.sources[i]) &&
		    (!best || model.sources[i].len > best->len))
			best = &model.sources[i];
	return best ? best->tenant : model.default_tenant;
}

/* 0, or the reason why it is nobody's; *tenant is set in any case. */
static UNUSED uint32_t m_whose(const struct m_conn *c, const struct m_head *h, uint32_t *tenant)
{
	*tenant = m_tenant_of_source(c->client);
	if (h->has_key) {
		for (uint32_t i = 0; i < model.n_keys; i++)
			if (!strcmp(model.keys[i].text, h->key) && !model.keys[i].expired) {
				*tenant = model.keys[i].tenant;
				return 0;
			}
		if (model.refuse_unknown)
			return WEIR_DENY_UNKNOWN_KEY;
	} else if (h->has_name && !memcmp(c->client, model.trusted, 16)) {
		for (uint32_t i = 1; i < model.n_named; i++)
			if (!strcmp(model.tenants[i].name, h->named)) {
				*tenant = i;
				return 0;
			}
		if (model.refuse_unknown)
			return WEIR_DENY_UNKNOWN_KEY;
	}
	return *tenant ? 0 : WEIR_DENY_NO_TENANT;
}

/* -- levels */

/* What a request or a connection asks of all its levels. */
struct m_demand {
	uint32_t level[WEIR_LEVELS];
	uint32_t over;	/* bit per level: in shadow, and objects */
	uint32_t taken; /* bit per level: a token of a rate was taken */
	uint32_t tokens;
	int64_t nano;
};

static UNUSED void m_levels(uint32_t tenant, uint32_t service, struct m_demand *d)
{
	uint32_t parent = model.tenants[tenant].t.parent;

	memset(d, 0, sizeof(*d));
	d->level[WEIR_LEVEL_TENANT] = tenant;
	if (model.tenants[tenant].t.flags & WEIR_TENANT_SCOPED)
		d->level[WEIR_LEVEL_SCOPE] = model.tenants[tenant].scope[service];
	d->level[WEIR_LEVEL_PARENT] = parent;
	d->level[WEIR_LEVEL_TOP] = parent ? model.tenants[parent].t.parent : 0;
}

/* Entry of level i; NULL: there is none. */
static UNUSED struct m_tenant *m_level(const struct m_demand *d, int i)
{
	return i && !d->level[i] ? NULL : &model.tenants[d->level[i]];
}

/* Entry of level i of who was charged once. */
static UNUSED struct m_tenant *m_charged(uint32_t tenant, const uint32_t *others, int i)
{
	uint32_t index = i ? others[i - 1] : tenant;

	return i && !index ? NULL : &model.tenants[index];
}

/* Is nobody refused for this one's sake? */
static UNUSED bool m_lenient(uint32_t tenant)
{
	return !model.enforce || (model.tenants[tenant].t.flags & WEIR_TENANT_SHADOW);
}

/* Level i objects. Returns the reason, or 0 where it is in shadow, which does not go for what
 * is suspended. */
static UNUSED uint32_t m_no(struct m_demand *d, int i, struct m_refusal *r, uint32_t reason,
			    int64_t limit, int64_t value)
{
	r->level = d->level[i];
	r->reason = reason;
	r->limit = limit;
	r->value = value;
	r->asked = 1;
	r->retry_ns = SECOND;
	if (!m_lenient(d->level[i]) || (reason == WEIR_DENY_SUSPENDED && model.enforce))
		return reason;
	d->over |= 1 << i;
	return 0;
}

/* -- connections */

static UNUSED uint32_t m_connect_level(struct m_demand *d, int i, bool rate, struct m_refusal *r)
{
	struct m_tenant *m = m_level(d, i);
	struct weir_tenant *t = &m->t;
	uint32_t reason = 0;

	if (t->flags & WEIR_TENANT_SUSPENDED) {
		reason = m_no(d, i, r, WEIR_DENY_SUSPENDED, 0, t->connections);
	} else if ((t->flags & WEIR_TENANT_LIMIT_CONNS) &&
		   t->connections >= (int32_t)t->max_connections) {
		reason = m_no(d, i, r, WEIR_DENY_CONNECTIONS, t->max_connections, t->connections);
	} else if (rate && (t->flags & WEIR_TENANT_LIMIT_CONN_RATE)) {
		if (m->connects_taken < t->connect_burst) {
			m->connects_taken++;
			d->taken |= 1 << i;
		} else {
			reason = m_no(d, i, r, WEIR_DENY_CONNECT_RATE, 1, 1);
			r->retry_ns = MODEL_INTERVAL_NS;
		}
	}
	t->connections += !reason;
	return reason;
}

/* 0: the connection is counted at all levels. rate: a token of the connect rate is asked. */
static UNUSED uint32_t m_admit_connection(struct m_demand *d, bool rate, struct m_refusal *r)
{
	uint32_t reason = 0;

	for (int i = 0; i < WEIR_LEVELS && !reason; i++) {
		if (!m_level(d, i))
			continue;
		reason = m_connect_level(d, i, rate, r);
		for (int k = 0; reason && k < i; k++) {
			if (!m_level(d, k))
				continue;
			m_level(d, k)->t.connections--;
			m_level(d, k)->connects_taken -= d->taken >> k & 1;
		}
	}
	return reason;
}

/* Tokens of the connect rate go back to who was charged for the connection. */
static UNUSED void m_connect_give_back(struct m_conn *c)
{
	for (int i = 0; i < WEIR_LEVELS; i++)
		if (c->charged & 1 << i)
			m_charged(c->tenant, c->others, i)->connects_taken--;
	c->charged = 0;
}

/* Its handshake is complete, or will never be. */
static UNUSED void m_half_open_over(struct m_conn *c)
{
	model.tenants[c->tenant].t.half_open -= c->half_open;
	c->half_open = false;
}

static UNUSED void m_uncount(struct m_conn *c)
{
	m_half_open_over(c);
	for (int i = 0; c->counted && i < WEIR_LEVELS; i++)
		if (m_charged(c->tenant, c->others, i))
			m_charged(c->tenant, c->others, i)->t.connections--;
	c->counted = false;
}

/* The connection is counted at these levels from here on. */
static UNUSED void m_count_at(struct m_conn *c, const struct m_demand *d)
{
	c->tenant = d->level[0];
	memcpy(c->others, d->level + 1, sizeof(c->others));
	c->counted = true;
	c->charged = d->taken;
}

/* -- requests */

static UNUSED void m_reservation(struct m_demand *d, uint64_t body_bytes)
{
	const struct weir_tenant *t = &model.tenants[d->level[0]].t;
	uint64_t in = body_bytes == ~0ULL ? t->reserve_input_tokens : body_bytes / 4;

	if (in > 1 << 24)
		in = 1 << 24;
	d->nano = (int64_t)in * t->reserve_nano_per_input_token +
		  (int64_t)t->reserve_output_tokens * t->reserve_nano_per_output_token +
		  t->reserve_nano_per_request;
	for (int i = 0; i < WEIR_LEVELS; i++)
		if (m_level(d, i) && (m_level(d, i)->t.flags & WEIR_TENANT_LIMIT_TOKENS))
			d->tokens = in + t->reserve_output_tokens;
}

/* What a bucket that fills in tau holds at the rate that is told, which here is another than
 * its own. */
static UNUSED int64_t m_burst_shown(const struct weir_tenant *t)
{
	unsigned __int128 tokens = (unsigned __int128)t->tokens_tau_ns * t->tokens_per_minute;

	return (int64_t)((tokens + 60 * SECOND - 1) / (60 * SECOND));
}

/* 0, or the first limit of level i that is in the way. */
static UNUSED uint32_t m_check_level(struct m_demand *d, int i, struct m_refusal *r)
{
	const struct m_tenant *m = m_level(d, i);
	const struct weir_tenant *t = &m->t;
	uint64_t used = m->debt + (uint32_t)(t->reserved_tokens - m->released);
	uint32_t reason;

	if (t->flags & WEIR_TENANT_SUSPENDED)
		return m_no(d, i, r, WEIR_DENY_SUSPENDED, 0, 0);
	if ((t->flags & WEIR_TENANT_LIMIT_INFLIGHT) && t->inflight >= (int32_t)t->max_inflight)
		return m_no(d, i, r, WEIR_DENY_CONCURRENCY, t->max_inflight, t->inflight);
	if ((t->flags & WEIR_TENANT_LIMIT_REQUESTS) && m->requests_taken >= t->request_burst) {
		reason =
			m_no(d, i, r, WEIR_DENY_REQUESTS, t->requests_per_minute, t->request_burst);
		r->retry_ns = MODEL_INTERVAL_NS;
		return reason;
	}
	if ((t->flags & WEIR_TENANT_LIMIT_TOKENS) && used && used >= m->burst) {
		reason = m_no(d, i, r, WEIR_DENY_TOKENS, t->tokens_per_minute, m_burst_shown(t));
		r->asked = d->tokens;
		r->retry_ns = (used - m->burst + 1) * MODEL_TOKEN_NS;
		return reason;
	}
	return 0;
}

/* Counted at all levels; a token of the rate only where the level did not object. */
static UNUSED void m_take(struct m_demand *d, struct m_tenant *wallet)
{
	for (int i = 0; i < WEIR_LEVELS; i++) {
		struct m_tenant *m = m_level(d, i);

		if (!m)
			continue;
		m->t.inflight++;
		m->t.reserved_tokens += d->tokens;
		if (d->over & 1 << i || !(m->t.flags & WEIR_TENANT_LIMIT_REQUESTS))
			continue;
		m->requests_taken++;
		d->taken |= 1 << i;
	}
	model.tenants[d->level[0]].t.admitted++;
	wallet->t.reserved_nano += d->nano;
}

/* 0: admitted and taken. */
static UNUSED uint32_t m_admit_request(struct m_demand *d, struct m_refusal *r)
{
	const struct weir_tenant *t = &model.tenants[d->level[0]].t;
	struct m_tenant *wallet = &model.tenants[t->wallet];
	int64_t left = wallet->t.ceiling_nano - (int64_t)wallet->t.reserved_nano - wallet->expired;
	uint32_t reason = 0;

	d->over = d->taken = 0;
	for (int i = 0; i < WEIR_LEVELS && !reason; i++)
		if (m_level(d, i))
			reason = m_check_level(d, i, r);
	if (!reason && (t->flags & WEIR_TENANT_CREDIT) && left < d->nano) {
		reason = m_no(d, WEIR_LEVEL_TENANT, r, WEIR_DENY_CREDIT,
			      wallet->t.balance_nano - wallet->expired, left);
		r->asked = d->nano;
		r->retry_ns = 0;
	}
	if (!reason)
		m_take(d, wallet);
	return reason;
}

static UNUSED void m_note_denial(struct expect *e, const struct m_refusal *r, bool shadow)
{
	struct m_record *rec = m_record(e, WEIR_REC_DENY);

	rec->optional = true;
	rec->tenant = r->tenant;
	rec->reason = r->reason;
	rec->level = r->level;
	rec->shadow = shadow;
	model.tenants[r->tenant].t.refused += !shadow;
	model.denials[r->tenant][r->reason][shadow]++;
}

#endif
