/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tenant with all its levels (limits.md): its scope for the service at PORT, its parent, its
 * parent's parent. Each may be looked at, and compared with what it was byte for byte.
 */
#ifndef TEST_LEVELS_H
#define TEST_LEVELS_H

#include "agent/account.h"
#include "tests/bpf/streams.h"

enum { SERVICE = 1 }; /* at PORT */

static const char *const level_names[WEIR_LEVELS] = { "tenant", "scope", "parent", "top" };

struct chain {
	uint32_t index[WEIR_LEVELS];
	struct weir_tenant *at[WEIR_LEVELS];
};

struct chain_copy {
	struct weir_tenant at[WEIR_LEVELS];
};

static UNUSED void scope_for(uint32_t tenant, uint32_t service, uint32_t entry)
{
	struct weir_scope key = { .tenant = tenant, .service = service };

	lab.tenants[tenant].flags |= WEIR_TENANT_SCOPED;
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(lab.skel->maps.scopes), &key, &entry, BPF_ANY), 0);
}

/* A tenant with this key below new others; none has a limit. */
static UNUSED struct chain new_chain(const char *key)
{
	struct chain c;

	for (int i = 0; i < WEIR_LEVELS; i++)
		c.at[i] = new_tenant(&c.index[i]);
	c.at[WEIR_LEVEL_TENANT]->parent = c.index[WEIR_LEVEL_PARENT];
	c.at[WEIR_LEVEL_PARENT]->parent = c.index[WEIR_LEVEL_TOP];
	scope_for(c.index[WEIR_LEVEL_TENANT], SERVICE, c.index[WEIR_LEVEL_SCOPE]);
	if (key)
		add_key(key, c.index[WEIR_LEVEL_TENANT], 0);
	return c;
}

static UNUSED struct chain_copy chain_copy(const struct chain *c)
{
	struct chain_copy copy;

	for (int i = 0; i < WEIR_LEVELS; i++)
		copy.at[i] = *c->at[i];
	return copy;
}

/* Nothing moved at any level since, but the tenant's own count of what was refused. */
static UNUSED void chain_is(const struct chain *c, const struct chain_copy *was, uint64_t refused)
{
	for (int i = 0; i < WEIR_LEVELS; i++) {
		struct weir_tenant want = was->at[i], is = *c->at[i];

		want.refused += i ? 0 : refused;
		if (!memcmp(&want, &is, sizeof(is)))
			continue;
		fail_msg("%s: connections %d was %d, in flight %d was %d, request tat %+lld, "
			 "connect tat %+lld, reserved %lld and %u tokens was %lld and %u, "
			 "refused %llu expected %llu",
			 level_names[i], is.connections, want.connections, is.inflight,
			 want.inflight, (long long)(is.request_tat_ns - want.request_tat_ns),
			 (long long)(is.connect_tat_ns - want.connect_tat_ns),
			 (long long)is.reserved_nano, is.reserved_tokens,
			 (long long)want.reserved_nano, want.reserved_tokens,
			 (unsigned long long)is.refused, (unsigned long long)want.refused);
	}
}

/* The gauges of each level. */
static UNUSED void chain_holds(const struct chain *c, int connections, int inflight)
{
	for (int i = 0; i < WEIR_LEVELS; i++)
		if (c->at[i]->connections != connections || c->at[i]->inflight != inflight)
			fail_msg("%s: %d connections, %d in flight; expected %d and %d",
				 level_names[i], c->at[i]->connections, c->at[i]->inflight,
				 connections, inflight);
}

/* Limits of every kind that are far away, so that something is taken at this level. Buckets
 * have been used: giving back one too many would show. */
static UNUSED void limit_widely(struct weir_tenant *t)
{
	uint64_t later = now_ns() + 100 * 3600 * SECOND;

	t->flags |= WEIR_TENANT_LIMIT_CONNS | WEIR_TENANT_LIMIT_INFLIGHT |
		    WEIR_TENANT_LIMIT_CONN_RATE | WEIR_TENANT_LIMIT_REQUESTS |
		    WEIR_TENANT_LIMIT_TOKENS;
	t->max_connections = t->max_inflight = 1000;
	t->connect_interval_ns = t->request_interval_ns = 3600 * SECOND;
	t->connect_burst = t->request_burst = 1000;
	t->connect_tat_ns = t->request_tat_ns = later;
	t->tokens_interval_ns = 3600 * SECOND;
	t->tokens_tau_ns = 1000000 * t->tokens_interval_ns;
}

/* The connection's socket closes, as far as the programs can tell: what the agent found to
 * have none. One that was refused goes with its client's reset. */
static UNUSED void hang_up(const struct conn *c)
{
	struct weir_flow_view f;

	if (flow_of(c, &f))
		reap(c, f.opened_ns);
	from_client(c, TCP_RST, c->next, c->sent, NULL, 0);
	assert_false(flow_of(c, &f));
}

/* The agent's part of a request that is over: its reservation goes, `used` tokens come, at
 * every level that was charged; at each level's own rate. */
static UNUSED void settle(const struct weir_rec_end *e, uint64_t ring_pos, uint64_t used)
{
	for (int i = 0; i < WEIR_LEVELS; i++) {
		uint32_t index = i ? e->others[i - 1] : e->tenant;
		struct weir_tenant *t = &lab.tenants[index];

		if (i && !index)
			continue;
		weir_settle(t, &(struct weir_settlement){
				       .ring_pos = ring_pos,
				       .released_nano = i ? 0 : e->reserved_nano,
				       .released_tokens = e->reserved_tokens,
				       .tokens_ns = used * t->tokens_interval_ns,
				       .now_ns = now_ns(),
			       });
	}
}

#endif
