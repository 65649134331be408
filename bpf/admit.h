/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Admission (limits.md): check every limit of every level, then commit all; if one was lost to
 * a race, roll back in full and look again. A refusal uses up nothing. What is asked is in
 * scratch->demand, why it is refused in scratch->refusal.
 */
#ifndef WEIR_ADMIT_H
#define WEIR_ADMIT_H

#include "credit.h"
#include "denial.h"
#include "gcra.h"
#include "levels.h"
#include "maps.h"

#define WEIR_ADMIT_TRIES    3
#define WEIR_RETRY_GAUGE_NS 1000000000ULL /* for gauges nobody can tell when: a second */

/* What is not looked at. */
enum weir_unchecked {
	WEIR_UNCHECKED_TOKENS = 1 << 0,
	WEIR_UNCHECKED_CREDIT = 1 << 1,
	WEIR_UNCHECKED_RATE = 1 << 2, /* connections: no token of the rate is asked for */
};

/* -- levels */

/* The entry of one of the other levels, or NULL: there is none. */
weir_inline struct weir_tenant *weir_other(const struct weir_scratch *s, weir_u32 i)
{
	weir_u32 index = s->demand.level[i];

	return index ? weir_tenant(index) : NULL;
}

/* A token of a rate was taken at level i; time gives it back at until_ns. */
weir_inline void weir_level_took(struct weir_scratch *s, weir_u32 i, weir_u64 until_ns)
{
	weir_u32 until = weir_until(until_ns);

	if (!s->demand.taken || (weir_s32)(until - s->demand.until) < 0)
		s->demand.until = until;
	s->demand.taken |= 1U << i;
}

weir_inline bool weir_level_enforces(const struct weir_scratch *s, const struct weir_tenant *t)
{
	return s->demand.enforce && !(t->flags & WEIR_TENANT_SHADOW);
}

/* A limit of level i is in the way, for `reason`. Returns it, or 0 where the level is in
 * shadow: the refusal is then only noted, the last one of several. */
weir_inline weir_u32 weir_level_over(struct weir_scratch *s, weir_u32 i,
				     const struct weir_tenant *t, weir_u32 reason, weir_s64 limit,
				     weir_s64 value, weir_s64 asked, weir_u64 retry_ns)
{
	struct weir_refusal *r = &s->refusal;

	i &= WEIR_LEVELS - 1;
	r->level = s->demand.level[i];
	r->reason = reason;
	r->limit = limit;
	r->value = value;
	r->asked = asked;
	r->retry_ns = retry_ns;
	if (weir_level_enforces(s, t) ||
	    (reason == WEIR_DENY_SUSPENDED && s->demand.enforce)) /* was said on purpose */
		return reason;
	s->demand.over |= 1U << i;
	return 0;
}

/* Is anybody charged besides the tenant? */
weir_inline bool weir_has_others(const struct weir_scratch *s)
{
	return s->demand.level[WEIR_LEVEL_SCOPE] | s->demand.level[WEIR_LEVEL_PARENT];
}

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

/* Take a connection at one level: state, gauge, rate. 0: taken; else the reason. */
weir_inline weir_u32 weir_connect_level(struct weir_scratch *s, weir_u32 i, struct weir_tenant *t)
{
	weir_u32 flags = t->flags, reason;
	weir_u64 wait, until = 0;

	if (flags & WEIR_TENANT_SUSPENDED) {
		reason = weir_level_over(s, i, t, WEIR_DENY_SUSPENDED, 0, t->connections, 1,
					 WEIR_RETRY_GAUGE_NS);
		if (!reason)
			__sync_fetch_and_add(&t->connections, 1);
		return reason;
	}
	if (!weir_gauge_take(&t->connections, flags & WEIR_TENANT_LIMIT_CONNS,
			     t->max_connections)) {
		reason = weir_level_over(s, i, t, WEIR_DENY_CONNECTIONS, t->max_connections,
					 t->connections, 1, WEIR_RETRY_GAUGE_NS);
		if (!reason)
			__sync_fetch_and_add(&t->connections, 1);
		return reason;
	}
	if (!(flags & WEIR_TENANT_LIMIT_CONN_RATE) || (s->demand.unchecked & WEIR_UNCHECKED_RATE))
		return 0;
	wait = weir_gcra_take_until(&t->connect_tat_ns, s->demand.now_ns, t->connect_interval_ns,
				    t->connect_interval_ns * t->connect_burst, &until);
	if (!wait) {
		weir_level_took(s, i, until);
		return 0;
	}
	reason = WEIR_DENY_CONNECT_RATE;
	if (wait == ~0ULL) {
		reason = WEIR_DENY_BUSY;
		wait = WEIR_RETRY_GAUGE_NS;
	}
	reason = weir_level_over(s, i, t, reason, weir_connects_per_second(t),
				 weir_connects_per_second(t), 1, wait);
	if (reason)
		__sync_fetch_and_add(&t->connections, -1);
	return reason;
}

weir_inline void weir_connect_undo(struct weir_scratch *s, weir_u32 i, struct weir_tenant *t)
{
	__sync_fetch_and_add(&t->connections, -1);
	if (s->demand.taken & 1U << i)
		weir_gcra_give_back(&t->connect_tat_ns, t->connect_interval_ns);
}

/* The levels above the tenant: all of them, or none. 0, or the reason. */
weir_global int weir_connect_others(struct weir_scratch *s)
{
	weir_u32 reason = 0, got = 0;

	if (!s)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 1; i < WEIR_LEVELS; i++) {
		struct weir_tenant *t = reason ? NULL : weir_other(s, i);

		if (!t)
			continue;
		reason = weir_connect_level(s, i, t);
		if (!reason)
			got |= 1U << i;
	}
	if (!reason)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 1; i < WEIR_LEVELS; i++) {
		struct weir_tenant *t = got & 1U << i ? weir_other(s, i) : NULL;

		if (t)
			weir_connect_undo(s, i, t);
	}
	return reason;
}

/* Judge a connection at the levels in s->demand. 0: counted at all of them, demand.taken says
 * where a token of the connect rate was taken, demand.over where one in shadow objected; else
 * the reason, and nothing is. */
weir_inline weir_u32 weir_admit_connection(struct weir_scratch *s, struct weir_tenant *t,
					   weir_u32 unchecked, weir_u64 now_ns)
{
	weir_u32 reason;

	s->demand.over = 0;
	s->demand.taken = 0;
	s->demand.unchecked = unchecked;
	s->demand.now_ns = now_ns;
	reason = weir_connect_level(s, WEIR_LEVEL_TENANT, t);
	if (reason || !weir_has_others(s))
		return reason;
	reason = weir_connect_others(s);
	if (reason)
		weir_connect_undo(s, WEIR_LEVEL_TENANT, t);
	return reason;
}

/* Give back what weir_admit_connection took. */
weir_inline void weir_connection_back(struct weir_scratch *s)
{
#pragma clang loop unroll(full)
	for (int i = 0; i < WEIR_LEVELS; i++) {
		weir_u32 index = s->demand.level[i];
		struct weir_tenant *t = i && !index ? NULL : weir_tenant(index);

		if (t)
			weir_connect_undo(s, i, t);
	}
}

/* What s->demand took of the connect rates is the connection's. */
weir_inline void weir_connect_charged(const struct weir_scratch *s, struct weir_flow *f)
{
	f->charged_until = s->demand.until;
	__sync_fetch_and_or(&f->flags, s->demand.taken * WEIR_FLOW_CHARGED);
}

/* The connection of f had no request that was let in: its tokens of the connect rate go back,
 * as far as time has not given them back. */
weir_inline void weir_connect_give_back(struct weir_flow *f, weir_u64 now_ns)
{
	weir_u32 charged = __sync_fetch_and_and(&f->flags, ~WEIR_FLOW_CHARGED_ALL);

	if (!(charged & WEIR_FLOW_CHARGED_ALL) || !weir_until_open(f->charged_until, now_ns))
		return;
#pragma clang loop unroll(full)
	for (int i = 0; i < WEIR_LEVELS; i++) {
		weir_u32 index = i ? f->others[i - 1] : f->tenant;
		struct weir_tenant *t;

		if (!(charged & WEIR_FLOW_CHARGED << i))
			continue;
		t = weir_tenant(index);
		if (t)
			weir_gcra_give_back(&t->connect_tat_ns, t->connect_interval_ns);
	}
}

/* -- requests */

#define WEIR_BYTES_PER_TOKEN 4 /* of a JSON body; an estimate */

/* More tokens than any context holds; keeps token x price within 63 bits (the
 * agent keeps a token's price below 2^38 nano). */
#define WEIR_RESERVE_TOKENS_MAX (1U << 24)

weir_inline weir_u32 weir_input_estimate(const struct weir_tenant *t, weir_u64 body_bytes)
{
	weir_u64 in = t->reserve_input_tokens;

	if (body_bytes != WEIR_NO_LENGTH)
		in = body_bytes / WEIR_BYTES_PER_TOKEN;
	return in < WEIR_RESERVE_TOKENS_MAX ? in : WEIR_RESERVE_TOKENS_MAX;
}

weir_inline weir_s64 weir_reservation(const struct weir_tenant *t, weir_u32 in, weir_u32 out)
{
	return (weir_s64)in * t->reserve_nano_per_input_token +
	       (weir_s64)out * t->reserve_nano_per_output_token + t->reserve_nano_per_request;
}

/* Which of the two settled copies is valid. */
weir_inline int weir_settled_copy(const struct weir_tenant *t)
{
	return t->settled[1].ring_pos > t->settled[0].ring_pos;
}

weir_inline weir_u64 weir_tokens_tat(const struct weir_tenant *t)
{
	return weir_settled_copy(t) ? t->settled[1].tokens_tat_ns : t->settled[0].tokens_tat_ns;
}

/* Tokens in flight beyond this are as many as this; times an interval of the slowest rate
 * there is (agent: 2^37 ns) they fit 63 bits. */
#define WEIR_TOKENS_FLIGHT_MAX (1U << 25)

/* tat, as if what is in flight had been settled as reserved. `own`: tokens not counted. */
weir_inline weir_u64 weir_tokens_ahead(const struct weir_tenant *t, weir_u32 reserved, weir_u32 own,
				       weir_u64 now_ns)
{
	int copy = weir_settled_copy(t);
	weir_u64 tat = t->settled[0].tokens_tat_ns;
	weir_s32 n = reserved - own - t->released_tokens[0];

	if (copy) {
		tat = t->settled[1].tokens_tat_ns;
		n = reserved - own - t->released_tokens[1];
	}
	if (n <= 0) /* settled a moment ago */
		return tat;
	if (n > (weir_s32)WEIR_TOKENS_FLIGHT_MAX)
		n = WEIR_TOKENS_FLIGHT_MAX;
	return (tat > now_ns ? tat : now_ns) + n * t->tokens_interval_ns;
}

/* Every limit of level i, without taking anything. 0, or the first one in the way. */
weir_inline weir_u32 weir_check_level(struct weir_scratch *s, weir_u32 i, struct weir_tenant *t)
{
	weir_u64 now_ns = s->demand.now_ns;
	weir_u32 flags = t->flags;

	if (flags & WEIR_TENANT_SUSPENDED)
		return weir_level_over(s, i, t, WEIR_DENY_SUSPENDED, 0, 0, 1, WEIR_RETRY_GAUGE_NS);
	if ((flags & WEIR_TENANT_LIMIT_INFLIGHT) && t->inflight >= (weir_s32)t->max_inflight)
		return weir_level_over(s, i, t, WEIR_DENY_CONCURRENCY, t->max_inflight, t->inflight,
				       1, WEIR_RETRY_GAUGE_NS);
	if (flags & WEIR_TENANT_LIMIT_REQUESTS) {
		struct weir_gcra g =
			weir_gcra_peek(t->request_tat_ns, now_ns, t->request_interval_ns,
				       t->request_interval_ns * t->request_burst);

		if (g.wait_ns)
			return weir_level_over(s, i, t, WEIR_DENY_REQUESTS, t->requests_per_minute,
					       t->request_burst, 1, g.wait_ns);
	}
	if ((flags & WEIR_TENANT_LIMIT_TOKENS) && !(s->demand.unchecked & WEIR_UNCHECKED_TOKENS)) {
		weir_u64 ahead = weir_tokens_ahead(t, t->reserved_tokens, 0, now_ns);
		weir_u64 wait = weir_gcra_debt_wait(ahead, now_ns, t->tokens_tau_ns);

		if (wait)
			return weir_level_over(s, i, t, WEIR_DENY_TOKENS, t->tokens_per_minute,
					       weir_tokens_burst(t), s->demand.tokens, wait);
	}
	return 0;
}

/* Take what the request asks of level i. One in shadow that objects only counts. false:
 * somebody else was faster. */
weir_inline bool weir_take_level(struct weir_scratch *s, weir_u32 i, struct weir_tenant *t)
{
	bool over = s->demand.over & 1U << i, enforces = weir_level_enforces(s, t);
	weir_u32 flags = t->flags, after;

	if (!weir_gauge_take(&t->inflight, !over && (flags & WEIR_TENANT_LIMIT_INFLIGHT),
			     t->max_inflight)) {
		if (enforces)
			return false;
		__sync_fetch_and_add(&t->inflight, 1);
		over = true;
	}
	if (!over && (flags & WEIR_TENANT_LIMIT_REQUESTS)) {
		weir_u64 until = 0;

		if (!weir_gcra_take_until(&t->request_tat_ns, s->demand.now_ns,
					  t->request_interval_ns,
					  t->request_interval_ns * t->request_burst, &until))
			weir_level_took(s, i, until);
		else if (enforces)
			goto lost;
	}
	if (!s->demand.tokens)
		return true;
	/* Ours is in `reserved_tokens` before the rest is looked at: of two that race for the last
	 * of the bucket at least one sees the other. */
	after = __sync_fetch_and_add(&t->reserved_tokens, s->demand.tokens) + s->demand.tokens;
	if (over || !enforces || !(flags & WEIR_TENANT_LIMIT_TOKENS) ||
	    (s->demand.unchecked & WEIR_UNCHECKED_TOKENS) ||
	    !weir_gcra_debt_wait(weir_tokens_ahead(t, after, s->demand.tokens, s->demand.now_ns),
				 s->demand.now_ns, t->tokens_tau_ns))
		return true;
	__sync_fetch_and_add(&t->reserved_tokens, -s->demand.tokens);
	if (s->demand.taken & 1U << i) {
		s->demand.taken &= ~(1U << i);
		weir_gcra_give_back(&t->request_tat_ns, t->request_interval_ns);
	}
lost:
	__sync_fetch_and_add(&t->inflight, -1);
	return false;
}

/* Give back what weir_take_level() took. */
weir_inline void weir_undo_level(struct weir_scratch *s, weir_u32 i, struct weir_tenant *t)
{
	if (s->demand.tokens)
		__sync_fetch_and_add(&t->reserved_tokens, -s->demand.tokens);
	if (s->demand.taken & 1U << i) {
		s->demand.taken &= ~(1U << i);
		weir_gcra_give_back(&t->request_tat_ns, t->request_interval_ns);
	}
	__sync_fetch_and_add(&t->inflight, -1);
}

/* The levels above the tenant: 0, or the reason of the first in the way. */
weir_global int weir_check_others(struct weir_scratch *s)
{
	weir_u32 reason = 0;

	if (!s)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 1; i < WEIR_LEVELS; i++) {
		struct weir_tenant *t = reason ? NULL : weir_other(s, i);

		if (t)
			reason = weir_check_level(s, i, t);
	}
	return reason;
}

/* Give back at these levels above the tenant (a bit each). */
weir_global int weir_undo_others(struct weir_scratch *s, weir_u32 got)
{
	if (!s)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 1; i < WEIR_LEVELS; i++) {
		struct weir_tenant *t = got & 1U << i ? weir_other(s, i) : NULL;

		if (t)
			weir_undo_level(s, i, t);
	}
	return 0;
}

/* Take at all levels above the tenant, or at none. 0: taken. */
weir_global int weir_take_others(struct weir_scratch *s)
{
	weir_u32 got = 0;
	bool lost = false;

	if (!s)
		return 0;
#pragma clang loop unroll(full)
	for (int i = 1; i < WEIR_LEVELS; i++) {
		struct weir_tenant *t = lost ? NULL : weir_other(s, i);

		if (!t)
			continue;
		if (weir_take_level(s, i, t))
			got |= 1U << i;
		else
			lost = true;
	}
	if (lost)
		weir_undo_others(s, got);
	return lost;
}

#define WEIR_ALL_OTHERS (((1U << WEIR_LEVELS) - 1) & ~1U)

/* Is credit of the tenant's looked at, and is what is asked more than there is? */
weir_inline weir_u32 weir_check_credit(struct weir_scratch *s, const struct weir_tenant *t,
				       struct weir_tenant *wallet)
{
	weir_s64 expired, left;

	if (!(t->flags & WEIR_TENANT_CREDIT) || (s->demand.unchecked & WEIR_UNCHECKED_CREDIT))
		return 0;
	expired = weir_expired(wallet, s->demand.wall_ns);
	left = weir_credit_left(wallet, wallet->reserved_nano, expired);
	if (left >= s->demand.nano)
		return 0;
	return weir_level_over(s, WEIR_LEVEL_TENANT, t, WEIR_DENY_CREDIT,
			       wallet->balance_nano - expired, left, s->demand.nano, 0);
}

/* Reserve what the request may cost. false: somebody else was faster. */
weir_inline bool weir_take_credit(struct weir_scratch *s, const struct weir_tenant *t,
				  struct weir_tenant *wallet)
{
	bool checked = (t->flags & WEIR_TENANT_CREDIT) && weir_level_enforces(s, t) &&
		       !(s->demand.unchecked & WEIR_UNCHECKED_CREDIT);
	weir_s64 nano = s->demand.nano;
	weir_s64 expired = checked ? weir_expired(wallet, s->demand.wall_ns) : 0;
	weir_u64 after = __sync_fetch_and_add(&wallet->reserved_nano, nano) + nano;

	/* Ours is in `reserved` before the ceiling is read, and the expiry was read. */
	if (!checked || weir_credit_left(wallet, after, expired) >= 0)
		return true;
	__sync_fetch_and_add(&wallet->reserved_nano, -nano);
	return false;
}

/* Check all, then commit all, at the levels in s->demand. 0: admitted: in flight at every
 * level, a request and tokens taken there, demand.nano reserved of the wallet, demand.over
 * says where one in shadow objected; else the reason, and nothing is. */
weir_global int weir_admit_request(struct weir_scratch *s)
{
	struct weir_tenant *t, *wallet;
	weir_u32 index;
	bool others;

	if (!s)
		return WEIR_DENY_BUSY;
	index = s->demand.wallet;
	wallet = weir_tenant(index);
	index = s->demand.level[0];
	t = weir_tenant(index);
	if (!t || !wallet)
		return WEIR_DENY_BUSY;
	others = weir_has_others(s);
	for (int try = 0; try < WEIR_ADMIT_TRIES; try++) {
		weir_u32 reason;

		s->demand.over = 0;
		s->demand.taken = 0;
		reason = weir_check_level(s, WEIR_LEVEL_TENANT, t);
		if (!reason && others)
			reason = weir_check_others(s);
		if (!reason)
			reason = weir_check_credit(s, t, wallet);
		if (reason)
			return reason;
		if (!weir_take_level(s, WEIR_LEVEL_TENANT, t))
			continue;
		if (!others || !weir_take_others(s)) {
			if (weir_take_credit(s, t, wallet)) {
				__sync_fetch_and_add(&t->admitted, 1);
				return 0;
			}
			if (others)
				weir_undo_others(s, WEIR_ALL_OTHERS);
		}
		weir_undo_level(s, WEIR_LEVEL_TENANT, t);
	}
	s->refusal.level = 0;
	s->refusal.retry_ns = WEIR_RETRY_GAUGE_NS;
	return WEIR_DENY_BUSY;
}

/* Count the request at all its levels, whatever their limits. */
weir_inline void weir_admit_anyway(struct weir_scratch *s)
{
	struct weir_tenant *t = weir_tenant(s->demand.level[0]);
	struct weir_tenant *wallet = weir_tenant(s->demand.wallet);

	s->demand.tokens = 0;
	weir_levels_add(s->demand.level[0], s->demand.level + 1, weir_gauge(inflight), 1);
	if (t)
		__sync_fetch_and_add(&t->admitted, 1);
	if (wallet)
		__sync_fetch_and_add(&wallet->reserved_nano, s->demand.nano);
}

#endif
