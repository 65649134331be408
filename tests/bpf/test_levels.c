/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests charged at several levels at once (limits.md): each limit at each level refuses for
 * its own reason, with that level's figures, and a refusal takes nothing at any of them. What
 * was charged is what comes back. Connections are test_level_connections.c's.
 */
#include "tests/bpf/levels.h"

/* -- each limit at each level */

/* The chain's connection, moved to it by a first request that was answered. */
static struct conn connected(const char *key)
{
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, chat(key)));
	answer_ok(&c);
	return c;
}

static void limit_suspended(struct weir_tenant *t)
{
	t->flags |= WEIR_TENANT_SUSPENDED;
}

static void limit_concurrency(struct weir_tenant *t)
{
	t->max_inflight = 7;
	t->inflight += 7; /* of other connections */
}

static void limit_requests(struct weir_tenant *t)
{
	t->requests_per_minute = 77;
	t->request_interval_ns = 20 * SECOND;
	t->request_burst = 3;
	t->request_tat_ns = now_ns() + 60 * SECOND;
}

static void limit_tokens(struct weir_tenant *t)
{
	t->tokens_per_minute = 60;
	t->tokens_interval_ns = SECOND;
	t->tokens_tau_ns = 50 * SECOND;
	t->settled[0].tokens_tat_ns = now_ns() + 80 * SECOND;	/* of settled ones */
	t->reserved_tokens += 10 - weir_reserved_tokens_now(t); /* of those in flight */
}

static void says_concurrency(const struct answer *a)
{
	assert_non_null(strstr(a->body, "7 requests in flight, limit 7."));
	assert_string_equal(header(a, "retry-after"), "1");
}

static void says_requests(const struct answer *a)
{
	assert_non_null(strstr(a->body, "limit 77 requests per minute, burst 3."));
	assert_string_equal(header(a, "x-ratelimit-limit-requests"), "77");
	assert_string_equal(header(a, "x-ratelimit-remaining-requests"), "0");
	assert_string_equal(header(a, "x-ratelimit-reset-requests"), "1m0s");
	assert_string_equal(header(a, "retry-after"), "20");
}

/* 80 s of settled ones and 10 s in flight, of which the bucket holds 50. */
static void says_tokens(const struct answer *a)
{
	assert_non_null(strstr(a->body, "limit 60 tokens per minute, burst 50."));
	assert_string_equal(header(a, "x-ratelimit-limit-tokens"), "60");
	assert_string_equal(header(a, "x-ratelimit-remaining-tokens"), "0");
	assert_string_equal(header(a, "x-ratelimit-reset-tokens"), "1m30s");
	assert_string_equal(header(a, "retry-after"), "40");
}

/* In the order in which they are looked at. */
static const struct limit {
	uint32_t reason;
	int status;
	void (*set)(struct weir_tenant *t);
	void (*says)(const struct answer *a);
	int64_t limit;
} limits[] = {
	{ WEIR_DENY_SUSPENDED, 403, limit_suspended, NULL, 0 },
	{ WEIR_DENY_CONCURRENCY, 429, limit_concurrency, says_concurrency, 7 },
	{ WEIR_DENY_REQUESTS, 429, limit_requests, says_requests, 77 },
	{ WEIR_DENY_TOKENS, 429, limit_tokens, says_tokens, 60 },
};
enum { LIMITS = sizeof(limits) / sizeof(limits[0]) };

/* Refused for limit l of entry `level`, and that is all that happened. */
static void is_refused_for(struct conn *c, const struct chain *chain, const char *key,
			   const struct limit *l, int level)
{
	struct chain_copy was = chain_copy(chain);
	const struct weir_rec_deny *d;
	struct verdict v;
	struct answer a;

	lab.n_records = 0;
	v = send_text(c, chat(key));
	a = is_refused(c, &v, l->status);
	if (l->says)
		l->says(&a);
	chain_is(chain, &was, 1);
	assert_int_equal(denied(chain->at[0], l->reason, false), 1);
	d = record(WEIR_REC_DENY, 0);
	assert_non_null(d);
	assert_int_equal(d->reason, l->reason);
	assert_int_equal(d->tenant, chain->index[WEIR_LEVEL_TENANT]);
	assert_int_equal(d->level, chain->index[level]);
	assert_int_equal(d->limit, l->limit);
	assert_int_equal(d->shadow, 0);
	hang_up(c);
}

static void each_limit_at_each_level_refuses_with_its_own_figures(void **state)
{
	for (int level = 0; level < WEIR_LEVELS; level++)
		for (int i = 0; i < LIMITS; i++) {
			struct chain chain;
			struct conn c;
			char key[40];

			stream_recount();
			snprintf(key, sizeof(key), "sk-each-%d-%d", level, i);
			chain = new_chain(key);
			for (int k = 0; k < WEIR_LEVELS; k++)
				limit_widely(chain.at[k]);
			c = connected(key);
			limits[i].set(chain.at[level]);
			is_refused_for(&c, &chain, key, &limits[i], level);
			is_counted(limits[i].reason, 1);
			chain.at[level]->inflight = 0;
			chain_holds(&chain, 0, 0);
		}
}

/* The tenant's own limits first, then those of the level above it; suspended, concurrency,
 * requests, tokens. */
static void of_several_limits_the_first_is_told(void **state)
{
	for (int one = 0; one < WEIR_LEVELS * LIMITS; one++)
		for (int other = one + 1; other < WEIR_LEVELS * LIMITS; other += 3) {
			struct chain chain;
			struct conn c;
			char key[40];

			snprintf(key, sizeof(key), "sk-first-%d-%d", one, other);
			chain = new_chain(key);
			c = connected(key);
			for (int k = 0; k < WEIR_LEVELS; k++)
				limit_widely(chain.at[k]);
			limits[one % LIMITS].set(chain.at[one / LIMITS]);
			limits[other % LIMITS].set(chain.at[other / LIMITS]);
			is_refused_for(&c, &chain, key, &limits[one % LIMITS], one / LIMITS);
			for (int k = 0; k < WEIR_LEVELS; k++)
				chain.at[k]->inflight = 0;
		}
}

/* All levels have room, the wallet has not: nothing is taken at any. */
static void credit_comes_last_and_takes_nothing_at_any_level(void **state)
{
	struct chain chain = new_chain("sk-level-credit"), payer = new_chain(NULL);
	const struct weir_rec_deny *d;
	struct chain_copy was, payers;
	struct verdict v;
	struct conn c;

	for (int k = 0; k < WEIR_LEVELS; k++)
		limit_widely(chain.at[k]);
	chain.at[0]->flags |= WEIR_TENANT_CREDIT;
	chain.at[0]->wallet = payer.index[0];
	chain.at[0]->reserve_nano_per_request = 10;
	payer.at[0]->ceiling_nano = payer.at[0]->balance_nano = 19;
	c = connected("sk-level-credit");
	assert_int_equal(payer.at[0]->reserved_nano, 10);
	was = chain_copy(&chain);
	payers = chain_copy(&payer);
	lab.n_records = 0;
	v = send_text(&c, chat("sk-level-credit"));
	is_refused(&c, &v, 429);
	chain_is(&chain, &was, 1);
	chain_is(&payer, &payers, 0);
	d = record(WEIR_REC_DENY, 0);
	assert_int_equal(d->reason, WEIR_DENY_CREDIT);
	assert_int_equal(d->value, 9);
	assert_int_equal(d->asked, 10);
	hang_up(&c);
	chain_holds(&chain, 0, 0);
}

/* -- what an admitted request holds */

static void a_request_is_in_flight_at_every_level_until_it_ends(void **state)
{
	struct chain chain = new_chain("sk-all-levels");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_end *e;
	struct weir_slot *slot;
	uint64_t tat[WEIR_LEVELS];

	for (int k = 0; k < WEIR_LEVELS; k++) {
		limit_widely(chain.at[k]);
		tat[k] = chain.at[k]->request_tat_ns;
	}
	passes(send_text(&c, chat("sk-all-levels")));
	chain_holds(&chain, 1, 1);
	for (int k = 0; k < WEIR_LEVELS; k++)
		assert_int_equal(chain.at[k]->request_tat_ns, tat[k] + 3600 * SECOND);
	/* A request is the tenant's; what is above only holds it. */
	assert_int_equal(chain.at[0]->admitted, 1);
	for (int k = 1; k < WEIR_LEVELS; k++)
		assert_int_equal(chain.at[k]->admitted, 0);
	slot = &lab.slots[((const struct weir_record *)record(WEIR_REC_REQUEST, 0))->slot];
	assert_int_equal(slot->tenant, chain.index[0]);
	assert_memory_equal(slot->others, chain.index + 1, sizeof(slot->others));
	answer_ok(&c);
	chain_holds(&chain, 1, 0);
	e = record(WEIR_REC_END, 0);
	assert_int_equal(e->tenant, chain.index[0]);
	assert_memory_equal(e->others, chain.index + 1, sizeof(e->others));
	hang_up(&c);
	chain_holds(&chain, 0, 0);
}

/* The limits of two children do not add up to more than their parent's. */
static void children_share_what_their_parent_allows(void **state)
{
	struct chain a = new_chain("sk-child-a"), b = new_chain("sk-child-b");
	struct conn c[6];
	struct verdict v;

	b.at[0]->parent = a.index[WEIR_LEVEL_PARENT];
	a.at[0]->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	b.at[0]->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	a.at[WEIR_LEVEL_PARENT]->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	a.at[0]->max_inflight = b.at[0]->max_inflight = 4;
	a.at[WEIR_LEVEL_PARENT]->max_inflight = 5;
	for (int i = 0; i < 6; i++)
		c[i] = open_conn(nobody, host);
	for (int i = 0; i < 5; i++)
		passes(send_text(&c[i], chat(i < 3 ? "sk-child-a" : "sk-child-b")));
	v = send_text(&c[5], chat("sk-child-b"));
	is_refused(&c[5], &v, 429);
	assert_int_equal(a.at[0]->inflight, 3);
	assert_int_equal(b.at[0]->inflight, 2);
	assert_int_equal(a.at[WEIR_LEVEL_PARENT]->inflight, 5);
	assert_int_equal(b.at[WEIR_LEVEL_PARENT]->inflight, 0);
	answer_ok(&c[0]);
	hang_up(&c[5]);
	c[5] = open_conn(nobody, host);
	passes(send_text(&c[5], chat("sk-child-b")));
	for (int i = 0; i < 6; i++)
		hang_up(&c[i]);
	chain_holds(&a, 0, 0);
	chain_holds(&b, 0, 0);
}

/* -- levels that change while a request runs */

static void what_was_charged_is_given_back_when_the_parent_changed_meanwhile(void **state)
{
	struct chain chain = new_chain("sk-moved-up"), elsewhere = new_chain(NULL);
	struct conn c = open_conn(nobody, host);
	struct chain_copy was;

	for (int k = 0; k < WEIR_LEVELS; k++) {
		limit_widely(chain.at[k]);
		limit_widely(elsewhere.at[k]);
	}
	was = chain_copy(&elsewhere);
	passes(send_text(&c, chat("sk-moved-up")));
	chain_holds(&chain, 1, 1);
	chain.at[0]->parent = elsewhere.index[WEIR_LEVEL_PARENT];
	scope_for(chain.index[0], SERVICE, elsewhere.index[WEIR_LEVEL_SCOPE]);
	answer_ok(&c);
	chain_holds(&chain, 1, 0);
	chain_is(&elsewhere, &was, 0);
	/* The next one is charged at the new ones; the connection stays where it was counted. */
	passes(send_text(&c, chat("sk-moved-up")));
	assert_int_equal(chain.at[WEIR_LEVEL_PARENT]->inflight, 0);
	assert_int_equal(chain.at[WEIR_LEVEL_TOP]->inflight, 0);
	for (int k = 1; k < WEIR_LEVELS; k++)
		assert_int_equal(elsewhere.at[k]->inflight, 1);
	hang_up(&c);
	chain_holds(&chain, 0, 0);
	chain_holds(&elsewhere, 0, 0);
}

static void a_level_that_goes_away_meanwhile_gets_all_back(void **state)
{
	struct chain chain = new_chain("sk-gone-up");
	struct conn c = open_conn(nobody, host);

	passes(send_text(&c, chat("sk-gone-up")));
	chain.at[0]->flags &= ~WEIR_TENANT_SCOPED;
	chain.at[0]->parent = 0;
	answer_ok(&c);
	chain_holds(&chain, 1, 0);
	passes(send_text(&c, chat("sk-gone-up")));
	for (int k = 1; k < WEIR_LEVELS; k++)
		assert_int_equal(chain.at[k]->inflight, 0);
	hang_up(&c);
	chain_holds(&chain, 0, 0);
}

static void a_scope_counts_what_comes_to_its_service_alone(void **state)
{
	struct chain chain = new_chain("sk-scope");
	struct weir_tenant *scope = chain.at[WEIR_LEVEL_SCOPE];
	struct conn here = open_conn(nobody, host), there = new_conn(nobody, host);
	struct verdict v;

	scope->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
	there.server_port = PLAIN_PORT;
	passes(send_syn(&there, false));
	there.next++;
	passes(from_server(&there, TCP_SYN | TCP_ACK, there.sent++, there.next, NULL, 0));
	passes(send_text(&there, chat("sk-scope")));
	assert_int_equal(scope->inflight, 0);
	assert_int_equal(scope->connections, 0);
	assert_int_equal(chain.at[0]->inflight, 1);
	assert_int_equal(chain.at[WEIR_LEVEL_TOP]->inflight, 1);
	v = send_text(&here, chat("sk-scope"));
	is_refused(&here, &v, 429);
	hang_up(&there);
	hang_up(&here);
	chain_holds(&chain, 0, 0);
}

/* A parent's own scope is for what is its own, not for what its children do. */
static void a_parents_scope_does_not_hold_its_children(void **state)
{
	struct chain chain = new_chain("sk-below"), other = new_chain(NULL);
	struct conn c = open_conn(nobody, host);

	scope_for(chain.index[WEIR_LEVEL_PARENT], SERVICE, other.index[0]);
	other.at[0]->flags |= WEIR_TENANT_LIMIT_INFLIGHT | WEIR_TENANT_SUSPENDED;
	passes(send_text(&c, chat("sk-below")));
	assert_int_equal(other.at[0]->inflight, 0);
	hang_up(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(each_limit_at_each_level_refuses_with_its_own_figures),
		STREAM_CLAIM(of_several_limits_the_first_is_told),
		STREAM_CLAIM(credit_comes_last_and_takes_nothing_at_any_level),
		STREAM_CLAIM(a_request_is_in_flight_at_every_level_until_it_ends),
		STREAM_CLAIM(children_share_what_their_parent_allows),
		STREAM_CLAIM(what_was_charged_is_given_back_when_the_parent_changed_meanwhile),
		STREAM_CLAIM(a_level_that_goes_away_meanwhile_gets_all_back),
		STREAM_CLAIM(a_scope_counts_what_comes_to_its_service_alone),
		STREAM_CLAIM(a_parents_scope_does_not_hold_its_children),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
