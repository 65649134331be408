/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levels in shadow, enforcement off, the agent gone (limits.md 12 to 14): what would have been
 * refused is counted apart and goes on; gauges are right afterwards.
 */
#include "tests/bpf/levels.h"

static void limit_concurrency(struct weir_tenant *t)
{
	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	t->max_inflight = 0;
}

static void limit_requests(struct weir_tenant *t)
{
	t->flags |= WEIR_TENANT_LIMIT_REQUESTS;
	t->request_interval_ns = 3600 * SECOND;
	t->request_burst = 0;
	t->request_tat_ns = now_ns() + 3600 * SECOND;
}

static void limit_tokens(struct weir_tenant *t)
{
	t->flags |= WEIR_TENANT_LIMIT_TOKENS;
	t->tokens_interval_ns = SECOND;
	t->tokens_tau_ns = SECOND;
	t->settled[0].tokens_tat_ns = t->settled[1].tokens_tat_ns = now_ns() + 3600 * SECOND;
}

static void limit_suspended(struct weir_tenant *t)
{
	t->flags |= WEIR_TENANT_SUSPENDED;
}

static void limit_connections(struct weir_tenant *t)
{
	t->flags |= WEIR_TENANT_LIMIT_CONNS;
	t->max_connections = 0;
}

static void limit_connect_rate(struct weir_tenant *t)
{
	t->flags |= WEIR_TENANT_LIMIT_CONN_RATE;
	t->connect_interval_ns = 3600 * SECOND;
	t->connect_burst = 0;
	t->connect_tat_ns = now_ns() + 3600 * SECOND;
}

static const struct limit {
	uint32_t reason;
	void (*set)(struct weir_tenant *t);
} limits[] = {
	{ WEIR_DENY_CONCURRENCY, limit_concurrency },
	{ WEIR_DENY_REQUESTS, limit_requests },
	{ WEIR_DENY_TOKENS, limit_tokens },
	{ WEIR_DENY_CONNECTIONS, limit_connections },
	{ WEIR_DENY_CONNECT_RATE, limit_connect_rate },
	{ WEIR_DENY_SUSPENDED, limit_suspended },
};
enum { LIMITS = sizeof(limits) / sizeof(limits[0]) };

/* A request that limit l of that level would refuse goes on, held at every level, and no token
 * of any of that level's rates is taken; then all comes back. */
static void goes_on_noted(const struct chain *chain, const char *key, const struct limit *l,
			  int level)
{
	struct weir_tenant *t = chain->at[level];
	uint64_t request_tat = t->request_tat_ns, connect_tat = t->connect_tat_ns;
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_request *r;
	const struct weir_rec_deny *d;
	const struct weir_rec_end *e;

	stream_recount();
	take_records();
	lab.n_records = 0;
	passes(send_text(&c, chat(key)));
	is_counted(WEIR_ADMIT_SHADOW, 1);
	is_counted(WEIR_ADMIT_REQUEST, 0);
	is_counted(l->reason, 0);
	chain_holds(chain, 1, 1);
	for (int k = 0; k < WEIR_LEVELS; k++)
		assert_int_equal(chain->at[k]->refused, 0);
	assert_int_equal(denied(chain->at[0], l->reason, true), 1);
	assert_int_equal(denied(chain->at[0], l->reason, false), 0);
	d = record(WEIR_REC_DENY, 0);
	assert_non_null(d);
	assert_int_equal(d->reason, l->reason);
	assert_int_equal(d->level, chain->index[level]);
	assert_int_equal(d->shadow, 1);
	r = record(WEIR_REC_REQUEST, 0);
	assert_int_equal(r->flags, WEIR_SLOT_SHADOW | WEIR_SLOT_FIRST);
	answer_ok(&c);
	hang_up(&c);
	chain_holds(chain, 0, 0);
	if (l->reason == WEIR_DENY_REQUESTS)
		assert_int_equal(t->request_tat_ns, request_tat);
	if (l->reason == WEIR_DENY_CONNECT_RATE)
		assert_int_equal(t->connect_tat_ns, connect_tat);
	/* It is metered. */
	assert_non_null(record(WEIR_REC_DATA, 0));
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->h.flags, WEIR_END_RESPONSE);
	settle(e, 1, 0);
	for (int k = 0; k < WEIR_LEVELS; k++)
		assert_int_equal(weir_reserved_tokens_now(chain->at[k]), 0);
}

static void one_level_in_shadow_refuses_nothing_and_the_others_do(void **state)
{
	for (int level = 0; level < WEIR_LEVELS; level++)
		for (int i = 0; i < LIMITS; i++) {
			struct conn c = open_conn(nobody, host);
			bool suspended = limits[i].reason == WEIR_DENY_SUSPENDED;
			struct chain chain;
			struct verdict v;
			char key[40];

			snprintf(key, sizeof(key), "sk-shadow-%d-%d", level, i);
			chain = new_chain(key);
			limits[i].set(chain.at[level]);
			chain.at[level]->flags |= WEIR_TENANT_SHADOW;
			/* Who suspends somebody means it. */
			if (!suspended)
				goes_on_noted(&chain, key, &limits[i], level);
			/* The same limit one level up, or down, is no shadow's. */
			if (!suspended)
				limits[i].set(chain.at[(level + 1) % WEIR_LEVELS]);
			v = send_text(&c, chat(key));
			is_refused(&c, &v, suspended ? 403 : 429);
			assert_int_equal(denied(chain.at[0], limits[i].reason, false), 1);
			hang_up(&c);
			chain_holds(&chain, 0, 0);
		}
}

static void with_enforcement_off_every_level_is_in_shadow(void **state)
{
	lab.config->enforce = 0;
	for (int level = 0; level < WEIR_LEVELS; level++)
		for (int i = 0; i < LIMITS; i++) {
			struct chain chain;
			char key[40];

			snprintf(key, sizeof(key), "sk-off-%d-%d", level, i);
			chain = new_chain(key);
			limits[i].set(chain.at[level]);
			goes_on_noted(&chain, key, &limits[i], level);
		}
}

/* Several object: told is the last, and nobody is refused. Where none objects, tokens are taken
 * as ever. */
static void in_shadow_at_all_levels_only_those_that_object_take_no_token(void **state)
{
	struct chain chain = new_chain("sk-all-shadow");
	struct conn c = open_conn(nobody, host);
	struct chain_copy was;

	for (int k = 0; k < WEIR_LEVELS; k++) {
		limit_widely(chain.at[k]);
		chain.at[k]->flags |= WEIR_TENANT_SHADOW;
	}
	limit_requests(chain.at[WEIR_LEVEL_SCOPE]);
	limit_requests(chain.at[WEIR_LEVEL_TOP]);
	was = chain_copy(&chain);
	passes(send_text(&c, chat("sk-all-shadow")));
	assert_int_equal(chain.at[WEIR_LEVEL_SCOPE]->request_tat_ns,
			 was.at[WEIR_LEVEL_SCOPE].request_tat_ns);
	assert_int_equal(chain.at[WEIR_LEVEL_TOP]->request_tat_ns,
			 was.at[WEIR_LEVEL_TOP].request_tat_ns);
	for (int k = 0; k < WEIR_LEVELS; k += 2) /* tenant and parent */
		assert_int_equal(chain.at[k]->request_tat_ns,
				 was.at[k].request_tat_ns + 3600 * SECOND);
	assert_int_equal(((const struct weir_rec_deny *)record(WEIR_REC_DENY, 0))->level,
			 chain.index[WEIR_LEVEL_TOP]);
	answer_ok(&c);
	hang_up(&c);
	chain_holds(&chain, 0, 0);
}

static void credit_in_shadow_is_overdrawn_and_comes_back(void **state)
{
	struct chain chain = new_chain("sk-shadow-credit");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_end *e;

	chain.at[0]->flags |= WEIR_TENANT_SHADOW | WEIR_TENANT_CREDIT;
	chain.at[0]->reserve_nano_per_request = 10;
	passes(send_text(&c, chat("sk-shadow-credit")));
	assert_int_equal(denied(chain.at[0], WEIR_DENY_CREDIT, true), 1);
	assert_int_equal(weir_reserved_now(chain.at[0]), 10);
	answer_ok(&c);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->reserved_nano, 10);
	settle(e, 1, 0);
	assert_int_equal(weir_reserved_now(chain.at[0]), 0);
	hang_up(&c);
}

/* An unknown key is nobody's limit: with enforcement off it goes on all the same, held by
 * nobody, and lets go. */
static void without_enforcement_strangers_are_held_and_let_go(void **state)
{
	struct conn c = open_conn(nobody, host);
	struct weir_tenant *none = &lab.tenants[0];

	lab.config->enforce = 0;
	passes(send_text(&c, chat("sk-stranger")));
	assert_int_equal(none->inflight, 1);
	assert_int_equal(denied(none, WEIR_DENY_UNKNOWN_KEY, false), 0);
	assert_int_equal(denied(none, WEIR_DENY_UNKNOWN_KEY, true), 1);
	answer_ok(&c);
	assert_int_equal(none->inflight, 0);
	hang_up(&c);
	assert_int_equal(none->connections, 0);
}

/* -- the agent is gone */

/* What the tenant's tier says counts for all its levels. */
static void with_the_agent_down_the_tenants_tier_decides_for_all_levels(void **state)
{
	static const uint32_t down[] = { 0, WEIR_TENANT_DOWN_OPEN, WEIR_TENANT_DOWN_CLOSED };

	for (int i = 0; i < 3; i++)
		for (int level = 0; level < WEIR_LEVELS; level++) {
			struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
			struct chain_copy was;
			struct chain chain;
			struct verdict v;
			char key[40];

			snprintf(key, sizeof(key), "sk-down-%d-%d", i, level);
			chain = new_chain(key);
			passes(send_text(&c, chat(key)));
			answer_ok(&c);
			chain.at[0]->flags |= down[i];
			/* The parents' own settings do not matter. */
			chain.at[WEIR_LEVEL_PARENT]->flags |= down[(i + 1) % 3];
			limit_tokens(chain.at[level]);
			lab.config->agent_timeout_ns = SECOND;
			lab.config->heartbeat_ns = now_ns() - 10 * SECOND;
			was = chain_copy(&chain);
			v = send_text(&c, chat(key));
			if (down[i] == WEIR_TENANT_DOWN_OPEN) {
				passes(v);
				chain_holds(&chain, 1, 1);
				answer_ok(&c);
				/* Gauges hold all the same. */
				limit_concurrency(chain.at[level]);
				v = send_text(&d, chat(key));
				is_refused(&d, &v, 429);
			} else {
				is_refused(&c, &v, down[i] ? 503 : 429);
				chain_is(&chain, &was, 1);
			}
			lab.config->heartbeat_ns = now_ns();
			lab.config->agent_timeout_ns = 3600 * SECOND;
			hang_up(&c);
			hang_up(&d);
			chain_holds(&chain, 0, 0);
		}
	is_counted(WEIR_DENY_AGENT_DOWN, WEIR_LEVELS);
	is_counted(WEIR_DENY_TOKENS, WEIR_LEVELS);
	is_counted(WEIR_DENY_CONCURRENCY, WEIR_LEVELS);
}

/* On a node that enforces nothing, or a tenant in shadow, nobody is sent away for that either. */
static void an_agent_that_is_down_refuses_nobody_in_shadow(void **state)
{
	struct chain chain = new_chain("sk-down-shadow");
	struct conn c = open_conn(nobody, host);

	chain.at[0]->flags |= WEIR_TENANT_DOWN_CLOSED | WEIR_TENANT_SHADOW;
	lab.config->agent_timeout_ns = SECOND;
	lab.config->heartbeat_ns = now_ns() - 10 * SECOND;
	passes(send_text(&c, chat("sk-down-shadow")));
	assert_int_equal(denied(chain.at[0], WEIR_DENY_AGENT_DOWN, true), 1);
	chain_holds(&chain, 1, 1);
	answer_ok(&c);
	chain_holds(&chain, 1, 0);
	hang_up(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(one_level_in_shadow_refuses_nothing_and_the_others_do),
		STREAM_CLAIM(with_enforcement_off_every_level_is_in_shadow),
		STREAM_CLAIM(in_shadow_at_all_levels_only_those_that_object_take_no_token),
		STREAM_CLAIM(credit_in_shadow_is_overdrawn_and_comes_back),
		STREAM_CLAIM(without_enforcement_strangers_are_held_and_let_go),
		STREAM_CLAIM(with_the_agent_down_the_tenants_tier_decides_for_all_levels),
		STREAM_CLAIM(an_agent_that_is_down_refuses_nobody_in_shadow),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
