// SPDX-License-Identifier: Apache-2.0
/*
 * Plain stores, in an order by which a packet that meets half of a change is judged by
 * the stricter of what was and what will be: never by half a number, never by a limit
 * whose figures are not there yet. For the same reason an agent that is killed in the
 * midst of one leaves more used than there was, not less.
 */
#include "enforce_limits.h"

#include <assert.h>

#include "util.h"

#define RESERVE_PRICE_MAX (INT64_C(1) << 38)  /* see bpf/admit.h: token x price in 63 bits */
#define TOKEN_NS_MAX	  (UINT64_C(1) << 37) /* likewise: tokens in flight x interval */
#define AHEAD_MAX_NS	  (UINT64_C(1) << 61)
#define MINUTE_NS	  (60 * WEIR_SECOND)

#define LIMITS                                                                                     \
	(WEIR_TENANT_LIMIT_CONNS | WEIR_TENANT_LIMIT_INFLIGHT | WEIR_TENANT_LIMIT_CONN_RATE |      \
	 WEIR_TENANT_LIMIT_REQUESTS | WEIR_TENANT_LIMIT_TOKENS)
#define NOT_LIMITS (WEIR_TENANT_SUSPENDED | WEIR_TENANT_SCOPED)

uint64_t weir_tat_rescaled(uint64_t tat_ns, uint64_t now_ns, uint64_t num, uint64_t den)
{
	unsigned __int128 ahead;

	if (tat_ns <= now_ns)
		return tat_ns; /* nothing is used */
	ahead = ((unsigned __int128)(tat_ns - now_ns) * num + den - 1) / den;
	return now_ns + (ahead < AHEAD_MAX_NS ? (uint64_t)ahead : AHEAD_MAX_NS);
}

static uint64_t interval_ns(const struct weir_rate *r)
{
	return r->count ? (r->period_ns + r->count - 1) / r->count : 0;
}

static uint64_t per(const struct weir_rate *r, uint64_t period_ns)
{
	return r->period_ns ? (unsigned __int128)r->count * period_ns / r->period_ns : 0;
}

/* The same for people: what is less than one a period is not told as none. */
static uint64_t per_shown(const struct weir_rate *r, uint64_t period_ns)
{
	unsigned __int128 n = (unsigned __int128)r->count * period_ns;

	return r->period_ns ? (n + r->period_ns - 1) / r->period_ns : 0;
}

/* -- buckets that requests and connections take from */

static void rescale(uint64_t *tat_ns, uint64_t now_ns, uint64_t num, uint64_t den)
{
	uint64_t tat = __atomic_load_n(tat_ns, __ATOMIC_RELAXED);

	/* The kernel takes from it meanwhile, by compare-and-swap too. */
	while (!__atomic_compare_exchange_n(tat_ns, &tat, weir_tat_rescaled(tat, now_ns, num, den),
					    false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

struct bucket {
	uint64_t *interval_ns;
	uint64_t *tat_ns;
	uint32_t *burst;
};

/* was: the limit is in force already. */
static void store_bucket(const struct bucket *b, bool was, const struct weir_rate *r,
			 uint64_t now_ns)
{
	uint64_t next = interval_ns(r), last = was ? *b->interval_ns : 0;

	assert(r->burst <= UINT32_MAX); /* policy_limits.c */
	if (next && !last)
		__atomic_store_n(b->tat_ns, 0, __ATOMIC_RELAXED);
	if (last && next > last)
		rescale(b->tat_ns, now_ns, next, last);
	__atomic_store_n(b->interval_ns, next, __ATOMIC_RELEASE);
	__atomic_store_n(b->burst, (uint32_t)r->burst, __ATOMIC_RELEASE);
	if (next && next < last)
		rescale(b->tat_ns, now_ns, next, last);
}

/* -- tokens, a debt that the agent settles */

static uint64_t *tokens_tat(struct weir_tenant *t)
{
	return &t->settled[t->settled[1].ring_pos > t->settled[0].ring_pos].tokens_tat_ns;
}

static void rescale_tokens(struct weir_tenant *t, uint64_t now_ns, uint64_t num, uint64_t den)
{
	uint64_t *tat = tokens_tat(t);

	__atomic_store_n(tat, weir_tat_rescaled(*tat, now_ns, num, den), __ATOMIC_RELEASE);
}

static uint64_t token_ns(const struct weir_rate *r)
{
	uint64_t ns = r->count ? r->period_ns / r->count : 0;

	if (r->count && !ns)
		return 1;
	return ns < TOKEN_NS_MAX ? ns : TOKEN_NS_MAX;
}

/* A token's interval is no whole number of ns: the rate, which is, says how it changed. */
static void store_tokens(struct weir_tenant *t, bool was, const struct weir_rate *r,
			 uint64_t now_ns)
{
	uint64_t rate = per(r, MINUTE_NS), next = rate < UINT32_MAX ? rate : UINT32_MAX;
	uint64_t last = was ? t->tokens_per_minute : 0;
	uint64_t tau = 0;

	if (r->count)
		tau = (unsigned __int128)r->burst * r->period_ns / r->count;
	if (next && !last)
		__atomic_store_n(tokens_tat(t), 0, __ATOMIC_RELEASE);
	if (last && next && next < last)
		rescale_tokens(t, now_ns, last, next);
	__atomic_store_n(&t->tokens_interval_ns, token_ns(r), __ATOMIC_RELEASE);
	__atomic_store_n(&t->tokens_tau_ns, tau, __ATOMIC_RELEASE);
	__atomic_store_n(&t->tokens_per_minute, (uint32_t)next, __ATOMIC_RELEASE);
	if (last && next > last)
		rescale_tokens(t, now_ns, last, next);
}

/* -- an entry */

static uint32_t flags_of(const struct weir_limits *l)
{
	uint32_t flags = WEIR_TENANT_LIVE;

	if (l->shadow)
		flags |= WEIR_TENANT_SHADOW;
	if (l->drop)
		flags |= WEIR_TENANT_DROP;
	if (l->credit != WEIR_CREDIT_NONE)
		flags |= WEIR_TENANT_CREDIT;
	if (l->connections >= 0)
		flags |= WEIR_TENANT_LIMIT_CONNS;
	if (l->concurrency >= 0)
		flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	if (l->connect_rate.count)
		flags |= WEIR_TENANT_LIMIT_CONN_RATE;
	if (l->requests.count)
		flags |= WEIR_TENANT_LIMIT_REQUESTS;
	if (l->tokens.count)
		flags |= WEIR_TENANT_LIMIT_TOKENS;
	if (l->pass_protocols)
		flags |= WEIR_TENANT_PASS_PROTOCOLS;
	if (l->free_retries)
		flags |= WEIR_TENANT_ASKED_WHOLE;
	if (l->on_agent_down == WEIR_DOWN_OPEN)
		flags |= WEIR_TENANT_DOWN_OPEN;
	if (l->on_agent_down == WEIR_DOWN_CLOSED)
		flags |= WEIR_TENANT_DOWN_CLOSED;
	return flags;
}

static int64_t reserve_price(int64_t nano)
{
	return nano > RESERVE_PRICE_MAX ? RESERVE_PRICE_MAX : nano;
}

static void store_reservation(struct weir_tenant *t, const struct weir_limits *l,
			      const struct weir_reserve_price *price)
{
	static const struct weir_reserve_price nothing;

	if (!price || l->credit == WEIR_CREDIT_NONE)
		price = &nothing;
	t->reserve_nano_per_input_token = reserve_price(price->input_nano);
	t->reserve_nano_per_output_token = reserve_price(price->output_nano);
	t->reserve_nano_per_request = reserve_price(price->request_nano);
	t->reserve_input_tokens = l->reserve_input_tokens;
	t->reserve_output_tokens = l->reserve_output_tokens;
}

void weir_limits_store(struct weir_tenant *t, uint32_t wallet, const struct weir_limits *l,
		       const struct weir_reserve_price *price, uint64_t now_ns)
{
	const struct bucket connects = { &t->connect_interval_ns, &t->connect_tat_ns,
					 &t->connect_burst };
	const struct bucket requests = { &t->request_interval_ns, &t->request_tat_ns,
					 &t->request_burst };
	uint32_t last = t->flags, next = flags_of(l) | (last & NOT_LIMITS);

	/* A limit that goes is switched off before its figures do, and one that comes is
	 * switched on behind them. */
	__atomic_store_n(&t->flags, last & (next | ~LIMITS), __ATOMIC_SEQ_CST);
	t->wallet = wallet;
	t->max_half_open = l->half_open < UINT16_MAX ? l->half_open : UINT16_MAX;
	t->max_connections = l->connections < 0 ? 0 : l->connections;
	t->max_inflight = l->concurrency < 0 ? 0 : l->concurrency;
	store_bucket(&connects, last & WEIR_TENANT_LIMIT_CONN_RATE, &l->connect_rate, now_ns);
	store_bucket(&requests, last & WEIR_TENANT_LIMIT_REQUESTS, &l->requests, now_ns);
	store_tokens(t, last & WEIR_TENANT_LIMIT_TOKENS, &l->tokens, now_ns);
	t->requests_per_minute = per_shown(&l->requests, MINUTE_NS);
	store_reservation(t, l, price);
	__atomic_store_n(&t->flags, next, __ATOMIC_RELEASE);
}

void weir_limits_clear(struct weir_tenant *t)
{
	__atomic_store_n(&t->flags, t->flags & WEIR_TENANT_SUSPENDED, __ATOMIC_RELEASE);
	__atomic_store_n(&t->parent, WEIR_NO_TENANT, __ATOMIC_RELEASE);
}
