/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections charged at several levels at once: with the SYN for whoever the source is of,
 * with the first request for whoever the key is of. What a refusal takes, what a move gives
 * back, and that a connection is worth one token of the connect rate and no more.
 */
#include "tests/bpf/levels.h"

/* A tenant of a source with all its levels, and a connection of it. */
static struct chain chain_at(const char *net, const char *client, struct conn *c)
{
	struct chain chain = new_chain(NULL);

	for (int k = 0; k < WEIR_LEVELS; k++)
		limit_widely(chain.at[k]);
	add_source(net, 24, chain.index[0]);
	*c = new_conn(client, host);
	return chain;
}

static struct chain chain_by_key(const char *key)
{
	struct chain chain = new_chain(key);

	for (int k = 0; k < WEIR_LEVELS; k++)
		limit_widely(chain.at[k]);
	return chain;
}

/* Tokens of the connect rate taken since, at every level. */
static void has_taken(const struct chain *chain, const struct chain_copy *was, int tokens)
{
	for (int k = 0; k < WEIR_LEVELS; k++) {
		int64_t taken = chain->at[k]->connect_tat_ns - was->at[k].connect_tat_ns;

		if (taken != tokens * (int64_t)(3600 * SECOND))
			fail_msg("%s: %lld s of the connect rate taken, expected %d h",
				 level_names[k], (long long)(taken / (int64_t)SECOND), tokens);
	}
}

static void limit_suspended(struct weir_tenant *t)
{
	t->flags |= WEIR_TENANT_SUSPENDED;
}

static void limit_connections(struct weir_tenant *t)
{
	t->max_connections = t->connections;
}

static void limit_connect_rate(struct weir_tenant *t)
{
	t->connect_burst = 100; /* as many as limit_widely() says are taken */
	t->connect_tat_ns += 60 * SECOND;
}

static const struct limit {
	uint32_t reason;
	void (*set)(struct weir_tenant *t);
	int status; /* of a request */
} limits[] = {
	{ WEIR_DENY_SUSPENDED, limit_suspended, 403 },
	{ WEIR_DENY_CONNECTIONS, limit_connections, 429 },
	{ WEIR_DENY_CONNECT_RATE, limit_connect_rate, 429 },
};
enum { LIMITS = sizeof(limits) / sizeof(limits[0]) };

/* -- by source */

static void a_syn_is_refused_by_each_limit_at_each_level(void **state)
{
	for (int level = 0; level < WEIR_LEVELS; level++)
		for (int i = 0; i < LIMITS; i++) {
			bool xdp = (level + i) % 2, drop = i == 2;
			const struct weir_rec_deny *d;
			struct chain_copy was;
			struct chain chain;
			struct verdict v;
			struct conn c;
			char net[20], client[20];

			stream_recount();
			snprintf(net, sizeof(net), "10.77.%d.0", level * LIMITS + i);
			snprintf(client, sizeof(client), "10.77.%d.9", level * LIMITS + i);
			chain = chain_at(net, client, &c);
			chain.at[0]->flags |= drop ? WEIR_TENANT_DROP : 0;
			limits[i].set(chain.at[level]);
			was = chain_copy(&chain);
			lab.n_records = 0;
			v = send_syn(&c, xdp);
			assert_int_equal(v.code, drop  ? (xdp ? X_DROP : OUT_DROP)
						 : xdp ? X_TX
						       : OUT_REDIRECT);
			chain_is(&chain, &was, 1);
			is_counted(limits[i].reason, 1);
			is_counted(WEIR_FLOW_NEW, 0);
			d = record(WEIR_REC_DENY, 0);
			assert_non_null(d);
			assert_int_equal(d->reason, limits[i].reason);
			assert_int_equal(d->tenant, chain.index[0]);
			assert_int_equal(d->level, chain.index[level]);
		}
}

static void a_syn_is_counted_at_every_level_until_the_connection_goes(void **state)
{
	struct chain_copy was;
	struct conn c;
	struct chain chain = chain_at("10.78.0.0", "10.78.0.9", &c);

	was = chain_copy(&chain);
	passes(send_syn(&c, false));
	chain_holds(&chain, 1, 0);
	has_taken(&chain, &was, 1);
	passes(send_syn(&c, false));
	chain_holds(&chain, 1, 0);
	has_taken(&chain, &was, 1);
	hang_up(&c);
	chain_holds(&chain, 0, 0);
	/* A rate is not given back by going. */
	has_taken(&chain, &was, 1);
}

/* -- by key */

/* From a source of A's to a key of B's. */
static void the_first_request_moves_a_connection_at_all_levels(void **state)
{
	struct conn c;
	struct chain a = chain_at("10.79.0.0", "10.79.0.9", &c), b = chain_by_key("sk-mv-b");
	struct chain_copy as = chain_copy(&a), bs = chain_copy(&b);

	c = open_conn("10.79.0.9", host);
	chain_holds(&a, 1, 0);
	has_taken(&a, &as, 1);
	passes(send_text(&c, chat("sk-mv-b")));
	chain_holds(&a, 0, 0);
	chain_holds(&b, 1, 1);
	/* It is B's alone: A was charged for nothing. */
	has_taken(&a, &as, 0);
	has_taken(&b, &bs, 1);
	answer_ok(&c);
	hang_up(&c);
	chain_holds(&b, 0, 0);
	has_taken(&b, &bs, 1);
}

static void a_key_is_refused_by_each_limit_at_each_level(void **state)
{
	for (int level = 0; level < WEIR_LEVELS; level++)
		for (int i = 0; i < LIMITS; i++) {
			const struct weir_rec_deny *d;
			struct chain a, b;
			struct chain_copy as, bs;
			struct verdict v;
			struct conn c;
			char key[40], net[20], client[20];

			stream_recount();
			snprintf(key, sizeof(key), "sk-mv-%d-%d", level, i);
			snprintf(net, sizeof(net), "10.80.%d.0", level * LIMITS + i);
			snprintf(client, sizeof(client), "10.80.%d.9", level * LIMITS + i);
			a = chain_at(net, client, &c);
			b = chain_by_key(key);
			c = open_conn(client, host);
			limits[i].set(b.at[level]);
			as = chain_copy(&a);
			bs = chain_copy(&b);
			lab.n_records = 0;
			v = send_text(&c, chat(key));
			is_refused(&c, &v, limits[i].status);
			/* The connection is still A's, whose first request it was: no token. */
			chain_is(&b, &bs, 1);
			chain_holds(&a, 1, 0);
			has_taken(&a, &as, -1);
			d = record(WEIR_REC_DENY, 0);
			assert_int_equal(d->reason, limits[i].reason);
			assert_int_equal(d->level, b.index[level]);
			hang_up(&c);
			chain_holds(&a, 0, 0);
		}
}

/* The connection comes in, its first request does not: the token goes back at all levels. */
static void a_first_request_that_is_refused_is_no_connection(void **state)
{
	for (int level = 0; level < WEIR_LEVELS; level++) {
		struct conn c = open_conn(nobody, host);
		struct chain_copy was;
		struct chain chain;
		struct verdict v;
		char key[40];

		snprintf(key, sizeof(key), "sk-1st-%d", level);
		chain = chain_by_key(key);
		was = chain_copy(&chain);
		chain.at[level]->max_inflight = 0;
		v = send_text(&c, chat(key));
		is_refused(&c, &v, 429);
		has_taken(&chain, &was, 0);
		hang_up(&c);
		chain_holds(&chain, 0, 0);
		has_taken(&chain, &was, 0);
	}
}

static void a_later_request_that_is_refused_gives_no_connection_back(void **state)
{
	struct chain chain = chain_by_key("sk-2nd");
	struct chain_copy was = chain_copy(&chain);
	struct conn c = open_conn(nobody, host);
	struct verdict v;

	passes(send_text(&c, chat("sk-2nd")));
	answer_ok(&c);
	has_taken(&chain, &was, 1);
	chain.at[WEIR_LEVEL_TOP]->max_inflight = 0;
	v = send_text(&c, chat("sk-2nd"));
	is_refused(&c, &v, 429);
	has_taken(&chain, &was, 1);
	hang_up(&c);
	chain_holds(&chain, 0, 0);
	has_taken(&chain, &was, 1);
}

/* Or two keys of one customer would be no rate at all. */
static void a_connection_that_changes_hands_later_is_charged_once(void **state)
{
	struct chain a = chain_by_key("sk-hop-a"), b = chain_by_key("sk-hop-b");
	struct chain_copy as = chain_copy(&a), bs = chain_copy(&b);
	struct conn c = open_conn(nobody, host);

	for (int i = 0; i < 4; i++) {
		passes(send_text(&c, chat(i % 2 ? "sk-hop-b" : "sk-hop-a")));
		chain_holds(&a, i % 2 == 0, i % 2 == 0);
		chain_holds(&b, i % 2, i % 2);
		answer_ok(&c);
		has_taken(&a, &as, 1);
		has_taken(&b, &bs, 0);
	}
	hang_up(&c);
	chain_holds(&a, 0, 0);
	chain_holds(&b, 0, 0);
}

/* The connections of a key are judged where it changes hands, too. */
static void a_later_hop_needs_room_among_the_connections(void **state)
{
	struct chain a = chain_by_key("sk-room-a"), b = chain_by_key("sk-room-b");
	struct conn c = open_conn(nobody, host);
	struct chain_copy was;
	struct verdict v;

	passes(send_text(&c, chat("sk-room-a")));
	answer_ok(&c);
	b.at[WEIR_LEVEL_PARENT]->max_connections = 0;
	was = chain_copy(&b);
	v = send_text(&c, chat("sk-room-b"));
	is_refused(&c, &v, 429);
	chain_is(&b, &was, 1);
	chain_holds(&a, 1, 0);
	hang_up(&c);
	chain_holds(&a, 0, 0);
}

/* A path that costs nothing is no way around the rate. */
static void a_free_request_first_does_not_make_the_connection_free(void **state)
{
	struct chain chain = chain_by_key("sk-health");
	struct chain_copy was = chain_copy(&chain);
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	passes(send_text(&c, "GET /health HTTP/1.1\r\n\r\n"));
	answer_ok(&c);
	has_taken(&chain, &was, 0);
	passes(send_text(&c, chat("sk-health")));
	answer_ok(&c);
	has_taken(&chain, &was, 1);
	/* Nor does it make a refused one count. */
	passes(send_text(&d, "GET /health HTTP/1.1\r\n\r\n"));
	answer_ok(&d);
	chain.at[WEIR_LEVEL_SCOPE]->max_inflight = 0;
	v = send_text(&d, chat("sk-health"));
	is_refused(&d, &v, 429);
	has_taken(&chain, &was, 1);
	hang_up(&c);
	hang_up(&d);
}

/* An idle connection's token has come back by itself when its first request is refused. */
static void a_token_that_time_gave_back_is_not_given_back_again(void **state)
{
	struct conn idle, later;
	struct chain chain = chain_at("10.81.0.0", "10.81.0.9", &idle);
	struct verdict v;
	uint64_t tat;

	for (int k = 0; k < WEIR_LEVELS; k++) {
		chain.at[k]->connect_tat_ns = 0;
		chain.at[k]->connect_interval_ns = 20000000;
	}
	idle = open_conn("10.81.0.9", host);
	while (now_ns() <= chain.at[0]->connect_tat_ns + 2000000)
		usleep(500);
	later = open_conn("10.81.0.9", host);
	tat = chain.at[0]->connect_tat_ns;
	v = send_text(&idle, chat("sk-nobody-has-this"));
	is_refused(&idle, &v, 401);
	for (int k = 0; k < WEIR_LEVELS; k++)
		assert_int_equal(chain.at[k]->connect_tat_ns, tat);
	/* In time it is. */
	for (int k = 0; k < WEIR_LEVELS; k++)
		chain.at[k]->connect_interval_ns = 3600 * SECOND;
	hang_up(&later);
	later = open_conn("10.81.0.9", host);
	assert_true(chain.at[0]->connect_tat_ns > tat);
	v = send_text(&later, chat("sk-nobody-has-this"));
	is_refused(&later, &v, 401);
	for (int k = 0; k < WEIR_LEVELS; k++)
		assert_true(chain.at[k]->connect_tat_ns < now_ns() + SECOND);
	hang_up(&idle);
	hang_up(&later);
	chain_holds(&chain, 0, 0);
}

static void a_connection_is_given_back_where_it_was_counted(void **state)
{
	struct chain chain = chain_by_key("sk-conn-up"), elsewhere = new_chain(NULL);
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct chain_copy was = chain_copy(&elsewhere);

	passes(send_text(&c, chat("sk-conn-up")));
	answer_ok(&c);
	chain_holds(&chain, 1, 0);
	chain.at[0]->parent = elsewhere.index[WEIR_LEVEL_PARENT];
	chain.at[0]->flags &= ~WEIR_TENANT_SCOPED;
	hang_up(&c);
	chain_holds(&chain, 0, 0);
	chain_is(&elsewhere, &was, 0);
	passes(send_text(&d, chat("sk-conn-up")));
	assert_int_equal(elsewhere.at[WEIR_LEVEL_PARENT]->connections, 1);
	assert_int_equal(elsewhere.at[WEIR_LEVEL_TOP]->connections, 1);
	assert_int_equal(chain.at[WEIR_LEVEL_PARENT]->connections, 0);
	assert_int_equal(chain.at[WEIR_LEVEL_SCOPE]->connections, 0);
	hang_up(&d);
	chain_holds(&chain, 0, 0);
	chain_holds(&elsewhere, 0, 0);
}

/* What is lowered holds from the next one on; what is open stays. */
static void a_limit_that_is_lowered_holds_at_once_and_loses_no_count(void **state)
{
	struct chain chain = chain_by_key("sk-lower");
	struct conn c[4];
	struct verdict v;

	for (int i = 0; i < 3; i++) {
		c[i] = open_conn(nobody, host);
		passes(send_text(&c[i], chat("sk-lower")));
	}
	chain.at[WEIR_LEVEL_TOP]->max_inflight = chain.at[WEIR_LEVEL_TOP]->max_connections = 2;
	c[3] = open_conn(nobody, host);
	v = send_text(&c[3], chat("sk-lower"));
	is_refused(&c[3], &v, 429);
	hang_up(&c[3]);
	chain_holds(&chain, 3, 3);
	answer_ok(&c[0]);
	v = send_text(&c[0], chat("sk-lower"));
	is_refused(&c[0], &v, 429);
	chain.at[WEIR_LEVEL_TOP]->max_inflight = 3;
	answer_ok(&c[1]);
	passes(send_text(&c[1], chat("sk-lower")));
	for (int i = 0; i < 3; i++)
		hang_up(&c[i]);
	chain_holds(&chain, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_CLAIM(a_syn_is_refused_by_each_limit_at_each_level),
		STREAM_CLAIM(a_syn_is_counted_at_every_level_until_the_connection_goes),
		STREAM_CLAIM(the_first_request_moves_a_connection_at_all_levels),
		STREAM_CLAIM(a_key_is_refused_by_each_limit_at_each_level),
		STREAM_CLAIM(a_first_request_that_is_refused_is_no_connection),
		STREAM_CLAIM(a_later_request_that_is_refused_gives_no_connection_back),
		STREAM_CLAIM(a_connection_that_changes_hands_later_is_charged_once),
		STREAM_CLAIM(a_later_hop_needs_room_among_the_connections),
		STREAM_CLAIM(a_free_request_first_does_not_make_the_connection_free),
		STREAM_CLAIM(a_token_that_time_gave_back_is_not_given_back_again),
		STREAM_CLAIM(a_connection_is_given_back_where_it_was_counted),
		STREAM_CLAIM(a_limit_that_is_lowered_holds_at_once_and_loses_no_count),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
