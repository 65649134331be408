/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Admission: check every limit, then commit all; if one was lost to a race, roll
 * back in full and look again. A refusal uses up nothing.
 */
#ifndef WEIR_ADMIT_H
#define WEIR_ADMIT_H

#include "denial.h"
#include "gcra.h"
#include "maps.h"

#define WEIR_ADMIT_TRIES    3
#define WEIR_RETRY_GAUGE_NS 1000000000ULL /* for gauges nobody can tell when: a second */

/* -- connections */

weir_inline bool weir_gauge_take(weir_s32 *gauge, bool limited, weir_u32 max)
{
	weir_s32 n = __sync_fetch_and_add(gauge, 1) + 1;

	if (limited && n > (weir_s32)max) {
		__sync_fetch_and_add(gauge, -1);
		return false;
	}
	return true;
}

/* Judge a connection for a tenant: state, gauge, rate. 0: taken; else the reason,
 * r's figures set. */
weir_inline weir_u32 weir_admit_connection(struct weir_tenant *t, weir_u64 now_ns,
					   struct weir_refusal *r)
{
	weir_u32 flags = t->flags;
	weir_u64 wait;

	r->asked = 1;
	r->retry_ns = WEIR_RETRY_GAUGE_NS;
	if (flags & WEIR_TENANT_SUSPENDED) {
		r->limit = 0;
		r->value = t->connections;
		return WEIR_DENY_SUSPENDED;
	}
	if (!weir_gauge_take(&t->connections, flags & WEIR_TENANT_LIMIT_CONNS,
			     t->max_connections)) {
		r->limit = t->max_connections;
		r->value = t->connections;
		return WEIR_DENY_CONNECTIONS;
	}
	if (!(flags & WEIR_TENANT_LIMIT_CONN_RATE)) {
		__sync_fetch_and_add(&t->connected, 1);
		return 0;
	}
	wait = weir_gcra_take(&t->connect_tat_ns, now_ns, t->connect_interval_ns,
			      t->connect_tau_ns);
	if (!wait) {
		__sync_fetch_and_add(&t->connected, 1);
		return 0;
	}
	__sync_fetch_and_add(&t->connections, -1);
	r->limit = t->connects_per_second;
	r->value = t->connects_per_second;
	if (wait == ~0ULL)
		return WEIR_DENY_BUSY;
	r->retry_ns = wait;
	return WEIR_DENY_CONNECT_RATE;
}

weir_inline void weir_connect_give_back(struct weir_tenant *t)
{
	if (t->flags & WEIR_TENANT_LIMIT_CONN_RATE)
		weir_gcra_give_back(&t->connect_tat_ns, t->connect_interval_ns);
}

/* -- requests */

#define WEIR_BYTES_PER_TOKEN 4 /* of a JSON body; an estimate */

/* What is not looked at. */
enum weir_unchecked {
	WEIR_UNCHECKED_TOKENS = 1 << 0,
	WEIR_UNCHECKED_CREDIT = 1 << 1,
};

/* More tokens than any context holds; keeps token x price within 63 bits (the
 * agent keeps a token's price below 2^38 nano). */
#define WEIR_RESERVE_TOKENS_MAX (1U << 24)

weir_inline weir_s64 weir_reservation(const struct weir_tenant *t, weir_u64 body_bytes)
{
	weir_u64 in = t->reserve_input_tokens;

	if (body_bytes != WEIR_NO_LENGTH)
		in = body_bytes / WEIR_BYTES_PER_TOKEN;
	if (in > WEIR_RESERVE_TOKENS_MAX)
		in = WEIR_RESERVE_TOKENS_MAX;
	return (weir_s64)in * t->reserve_nano_per_input_token +
	       (weir_s64)t->reserve_output_tokens * t->reserve_nano_per_output_token +
	       t->reserve_nano_per_request;
}

/* Two settled copies; the later tat is the true one, whichever is being written. */
weir_inline weir_u64 weir_tokens_tat(const struct weir_tenant *t)
{
	weir_u64 a = t->settled[0].tokens_tat_ns, b = t->settled[1].tokens_tat_ns;

	return a > b ? a : b;
}

weir_inline weir_s64 weir_credit_left(const struct weir_tenant *w)
{
	return (weir_s64)((weir_u64)w->ceiling_nano - w->reserved_nano);
}

/* Every limit, without taking anything. 0, or the first one in the way. */
weir_inline weir_u32 weir_check_request(struct weir_tenant *t, struct weir_tenant *wallet,
					weir_u32 unchecked, weir_s64 reserve, weir_u64 now_ns,
					struct weir_refusal *r)
{
	weir_u32 flags = t->flags;

	r->asked = 1;
	r->retry_ns = WEIR_RETRY_GAUGE_NS;
	if (flags & WEIR_TENANT_SUSPENDED) {
		r->limit = 0;
		r->value = 0;
		return WEIR_DENY_SUSPENDED;
	}
	if ((flags & WEIR_TENANT_LIMIT_INFLIGHT) && t->inflight >= (weir_s32)t->max_inflight) {
		r->limit = t->max_inflight;
		r->value = t->inflight;
		return WEIR_DENY_CONCURRENCY;
	}
	if (flags & WEIR_TENANT_LIMIT_REQUESTS) {
		struct weir_gcra g = weir_gcra_peek(t->request_tat_ns, now_ns,
						    t->request_interval_ns, t->request_tau_ns);

		if (g.wait_ns) {
			r->limit = t->requests_per_minute;
			r->value = t->request_burst;
			r->retry_ns = g.wait_ns;
			return WEIR_DENY_REQUESTS;
		}
	}
	if ((flags & WEIR_TENANT_LIMIT_TOKENS) && !(unchecked & WEIR_UNCHECKED_TOKENS)) {
		weir_u64 wait = weir_gcra_debt_wait(weir_tokens_tat(t), now_ns, t->tokens_tau_ns);

		if (wait) {
			r->limit = t->tokens_per_minute;
			r->value = t->tokens_burst;
			r->retry_ns = wait;
			return WEIR_DENY_TOKENS;
		}
	}
	if ((flags & WEIR_TENANT_CREDIT) && !(unchecked & WEIR_UNCHECKED_CREDIT) &&
	    weir_credit_left(wallet) < reserve) {
		r->limit = wallet->balance_nano;
		r->value = weir_credit_left(wallet);
		r->asked = reserve;
		r->retry_ns = 0;
		return WEIR_DENY_CREDIT;
	}
	return 0;
}

/* Check all, then commit all. `unchecked`: enum weir_unchecked (the agent is down and the tier
 * says "open"; credit is out and it says "degrade"). 0: admitted, in flight counted,
 * one request taken, *reserve nano reserved; else the reason. */
weir_inline weir_u32 weir_admit_request(struct weir_tenant *t, struct weir_tenant *wallet,
					weir_u32 unchecked, weir_s64 reserve, weir_u64 now_ns,
					struct weir_refusal *r)
{
	weir_u32 reason = WEIR_DENY_BUSY;

	for (int i = 0; i < WEIR_ADMIT_TRIES; i++) {
		weir_u32 flags = t->flags;

		reason = weir_check_request(t, wallet, unchecked, reserve, now_ns, r);
		if (reason)
			return reason;
		reason = WEIR_DENY_BUSY;
		if (!weir_gauge_take(&t->inflight, flags & WEIR_TENANT_LIMIT_INFLIGHT,
				     t->max_inflight))
			continue;
		if ((flags & WEIR_TENANT_LIMIT_REQUESTS) &&
		    weir_gcra_take(&t->request_tat_ns, now_ns, t->request_interval_ns,
				   t->request_tau_ns)) {
			__sync_fetch_and_add(&t->inflight, -1);
			continue;
		}
		weir_u64 after = __sync_fetch_and_add(&wallet->reserved_nano, reserve) + reserve;

		/* Ours is in `reserved` before the ceiling is read: of two that race for
		 * the last credit at least one sees the other. */
		if (!(unchecked & WEIR_UNCHECKED_CREDIT) && (flags & WEIR_TENANT_CREDIT) &&
		    (weir_s64)((weir_u64)wallet->ceiling_nano - after) < 0) {
			__sync_fetch_and_add(&wallet->reserved_nano, -reserve);
			if (flags & WEIR_TENANT_LIMIT_REQUESTS)
				weir_gcra_give_back(&t->request_tat_ns, t->request_interval_ns);
			__sync_fetch_and_add(&t->inflight, -1);
			continue;
		}
		__sync_fetch_and_add(&t->admitted, 1);
		return 0;
	}
	return reason;
}

#endif
