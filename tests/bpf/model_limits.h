/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who it is, and what it may: tenants looked up in arrays, limits as plain
 * comparisons, buckets as counts of tokens taken.
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
		for (uint32_t i = 1; i < model.n_tenants; i++)
			if (!strcmp(model.tenants[i].name, h->named)) {
				*tenant = i;
				return 0;
			}
		if (model.refuse_unknown)
			return WEIR_DENY_UNKNOWN_KEY;
	}
	return *tenant ? 0 : WEIR_DENY_NO_TENANT;
}

static UNUSED uint32_t m_no(struct m_refusal *r, uint32_t reason, int64_t limit, int64_t value)
{
	r->reason = reason;
	r->limit = limit;
	r->value = value;
	return reason;
}

/* 0: the connection is taken. */
static UNUSED uint32_t m_admit_connection(struct m_tenant *t, struct m_refusal *r)
{
	r->asked = 1;
	r->retry_ns = SECOND;
	if (t->t.flags & WEIR_TENANT_SUSPENDED)
		return m_no(r, WEIR_DENY_SUSPENDED, 0, t->t.connections);
	if ((t->t.flags & WEIR_TENANT_LIMIT_CONNS) &&
	    t->t.connections >= (int32_t)t->t.max_connections)
		return m_no(r, WEIR_DENY_CONNECTIONS, t->t.max_connections, t->t.connections);
	if (t->t.flags & WEIR_TENANT_LIMIT_CONN_RATE) {
		if (t->connects_taken >= t->connect_burst) {
			r->retry_ns = MODEL_INTERVAL_NS;
			return m_no(r, WEIR_DENY_CONNECT_RATE, t->t.connects_per_second,
				    t->t.connects_per_second);
		}
		t->connects_taken++;
	}
	t->t.connections++;
	t->t.connected++;
	return 0;
}

static UNUSED void m_connect_give_back(struct m_tenant *t)
{
	if ((t->t.flags & WEIR_TENANT_LIMIT_CONN_RATE) && t->connects_taken)
		t->connects_taken--;
}

static UNUSED int64_t m_reservation(const struct m_tenant *t, uint64_t body_bytes)
{
	uint64_t in = body_bytes == ~0ULL ? t->t.reserve_input_tokens : body_bytes / 4;

	if (in > 1 << 24)
		in = 1 << 24;
	return (int64_t)in * t->t.reserve_nano_per_input_token +
	       (int64_t)t->t.reserve_output_tokens * t->t.reserve_nano_per_output_token +
	       t->t.reserve_nano_per_request;
}

/* 0: admitted and taken. */
static UNUSED uint32_t m_admit_request(struct m_tenant *t, struct m_tenant *wallet, int64_t reserve,
				       struct m_refusal *r)
{
	int64_t left = wallet->t.ceiling_nano - (int64_t)wallet->t.reserved_nano;

	r->asked = 1;
	r->retry_ns = SECOND;
	if (t->t.flags & WEIR_TENANT_SUSPENDED)
		return m_no(r, WEIR_DENY_SUSPENDED, 0, 0);
	if ((t->t.flags & WEIR_TENANT_LIMIT_INFLIGHT) &&
	    t->t.inflight >= (int32_t)t->t.max_inflight)
		return m_no(r, WEIR_DENY_CONCURRENCY, t->t.max_inflight, t->t.inflight);
	if ((t->t.flags & WEIR_TENANT_LIMIT_REQUESTS) && t->requests_taken >= t->t.request_burst) {
		r->retry_ns = MODEL_INTERVAL_NS;
		return m_no(r, WEIR_DENY_REQUESTS, t->t.requests_per_minute, t->t.request_burst);
	}
	if ((t->t.flags & WEIR_TENANT_LIMIT_TOKENS) && t->tokens_out) {
		r->retry_ns = MODEL_INTERVAL_NS;
		return m_no(r, WEIR_DENY_TOKENS, t->t.tokens_per_minute, t->t.tokens_burst);
	}
	if ((t->t.flags & WEIR_TENANT_CREDIT) && left < reserve) {
		r->asked = reserve;
		r->retry_ns = 0;
		return m_no(r, WEIR_DENY_CREDIT, wallet->t.balance_nano, left);
	}
	if (t->t.flags & WEIR_TENANT_LIMIT_REQUESTS)
		t->requests_taken++;
	return 0;
}

static UNUSED void m_note_denial(struct expect *e, const struct m_refusal *r)
{
	struct m_record *rec = m_record(e, WEIR_REC_DENY);

	rec->optional = true;
	rec->tenant = r->tenant;
	rec->reason = r->reason;
	model.tenants[r->tenant].t.refused++;
	model.denials[r->tenant][r->reason]++;
}

/* Is nobody refused for this tenant's sake? */
static UNUSED bool m_lenient(uint32_t tenant)
{
	return !model.enforce || (model.tenants[tenant].t.flags & WEIR_TENANT_SHADOW);
}

#endif
