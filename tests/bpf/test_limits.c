/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tenant's limits: which one refuses a request, with which figures, what an admitted one
 * holds and when it lets go. More than one level is test_levels.c's.
 */
#include "tests/bpf/streams.h"

static void an_admitted_request_is_counted_until_its_answer_ends(void **state)
{
	struct weir_tenant *t = tenant_with("sk-plain");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_request *r;
	const struct weir_rec_end *e;

	t->reserve_nano_per_input_token = 100;
	t->reserve_nano_per_output_token = 1000;
	t->reserve_nano_per_request = 7;
	t->reserve_output_tokens = 50;
	assert_int_equal(send_text(&c, chat("sk-plain")).code, OUT_PASS);
	is_counted(WEIR_ADMIT_REQUEST, 1);
	assert_int_equal(t->inflight, 1);
	assert_int_equal(t->admitted, 1);
	/* 27 bytes of body: six tokens. */
	assert_int_equal(t->reserved_nano, 6 * 100 + 50 * 1000 + 7);
	r = record(WEIR_REC_REQUEST, 0);
	assert_non_null(r);
	assert_int_equal(r->h.ordinal, 1);
	assert_int_equal(r->h.service, 1);
	assert_int_equal(r->reserved_nano, t->reserved_nano);
	assert_int_equal(r->body_bytes, 27);
	assert_int_equal(r->tenant, t - lab.tenants);
	assert_int_equal(r->wallet, t - lab.tenants);
	assert_memory_equal(r->method, "POST", 4);
	assert_memory_equal(r->path, "/v1/chat/completions", 20);
	assert_memory_equal(r->client + 12, "\306\63\144\50", 4);
	answer_ok(&c);
	assert_int_equal(t->inflight, 0);
	e = record(WEIR_REC_END, 0);
	assert_non_null(e);
	assert_int_equal(e->h.flags, WEIR_END_RESPONSE);
	assert_int_equal(e->h.slot, r->h.slot);
	assert_int_equal(e->h.ordinal, 1);
	assert_int_equal(e->started_wall_ns, r->started_wall_ns);
	assert_int_equal(e->reserved_nano, r->reserved_nano);
	assert_int_equal(e->lost_bytes, 0);
	/* The agent releases what is reserved, once it has settled. */
	assert_int_equal(t->reserved_nano, 6 * 100 + 50 * 1000 + 7);
}

static void requests_per_minute_hold(void **state)
{
	struct weir_tenant *t = tenant_with("sk-rpm"), before;
	struct conn c = open_conn(nobody, host);
	struct verdict v;
	struct answer a;

	t->flags |= WEIR_TENANT_LIMIT_REQUESTS | WEIR_TENANT_LIMIT_CONN_RATE;
	t->connect_interval_ns = SECOND;
	t->connect_burst = 100;
	t->request_interval_ns = 600 * SECOND;
	t->requests_per_minute = 60;
	t->request_burst = 3;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send_text(&c, chat("sk-rpm")).code, OUT_PASS);
		answer_ok(&c);
	}
	before = *t;
	v = send_text(&c, chat("sk-rpm"));
	a = is_refused(&c, &v, 429);
	uses_up_nothing(&before, t);
	is_counted(WEIR_DENY_REQUESTS, 1);
	assert_string_equal(json_at(&a, "error", "type"), "requests");
	assert_string_equal(json_at(&a, "error", "code"), "rate_limit_exceeded");
	assert_non_null(strstr(a.body, "limit 60 requests per minute, burst 3."));
	assert_string_equal(header(&a, "retry-after"), "60");
	assert_in_range(atoi(header(&a, "retry-after-ms")), 590000, 600000);
	assert_string_equal(header(&a, "x-ratelimit-limit-requests"), "60");
	assert_string_equal(header(&a, "x-ratelimit-remaining-requests"), "0");
	assert_string_equal(header(&a, "x-ratelimit-reset-requests"), "30m0s");
}

static void a_refused_first_request_gives_the_connect_token_back(void **state)
{
	struct weir_tenant *t = tenant_with("sk-first");
	struct conn c = open_conn(nobody, host);
	struct verdict v;
	uint64_t tat;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT | WEIR_TENANT_LIMIT_CONN_RATE;
	t->connect_interval_ns = 60 * SECOND;
	t->connect_burst = 100;
	t->connect_tat_ns = tat = now_ns() + 120 * SECOND;
	v = send_text(&c, chat("sk-first"));
	is_refused(&c, &v, 429);
	is_counted(WEIR_DENY_CONCURRENCY, 1);
	assert_int_equal(t->connect_tat_ns, tat);
}

static void connection_limits_of_a_key_are_judged_with_its_first_request(void **state)
{
	struct weir_tenant *t = tenant_with("sk-conns");
	struct conn a = open_conn(nobody, host), b = open_conn(nobody, host);
	struct verdict v;

	t->flags |= WEIR_TENANT_LIMIT_CONNS;
	t->max_connections = 1;
	assert_int_equal(send_text(&a, chat("sk-conns")).code, OUT_PASS);
	assert_int_equal(t->connections, 1);
	v = send_text(&b, chat("sk-conns"));
	is_refused(&b, &v, 429);
	assert_int_equal(t->connections, 1);
	assert_int_equal(t->inflight, 1);
	is_counted(WEIR_DENY_CONNECTIONS, 1);
	answer_ok(&a);
	/* A connection that is in already is not judged again. */
	assert_int_equal(send_text(&a, chat("sk-conns")).code, OUT_PASS);
	assert_int_equal(t->connections, 1);
}

static void the_connect_rate_of_a_key_is_judged_with_its_first_request(void **state)
{
	struct weir_tenant *t = tenant_with("sk-crate"), before;
	struct conn a = open_conn(nobody, host), b = open_conn(nobody, host);
	struct verdict v;

	t->flags |= WEIR_TENANT_LIMIT_CONN_RATE;
	t->connect_interval_ns = 600 * SECOND;
	t->connect_burst = 1;
	assert_int_equal(send_text(&a, chat("sk-crate")).code, OUT_PASS);
	before = *t;
	v = send_text(&b, chat("sk-crate"));
	is_refused(&b, &v, 429);
	uses_up_nothing(&before, t);
	is_counted(WEIR_DENY_CONNECT_RATE, 1);
}

static void concurrency_admits_exactly_its_limit(void **state)
{
	struct weir_tenant *t = tenant_with("sk-conc"), before;
	struct conn c[4];
	struct verdict v;
	struct answer a;

	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT | WEIR_TENANT_LIMIT_REQUESTS;
	t->max_inflight = 3;
	t->request_interval_ns = SECOND;
	t->request_burst = 100;
	for (int i = 0; i < 4; i++)
		c[i] = open_conn(nobody, host);
	for (int i = 0; i < 3; i++)
		assert_int_equal(send_text(&c[i], chat("sk-conc")).code, OUT_PASS);
	before = *t;
	v = send_text(&c[3], chat("sk-conc"));
	a = is_refused(&c[3], &v, 429);
	assert_non_null(strstr(a.body, "3 requests in flight, limit 3."));
	assert_string_equal(header(&a, "retry-after"), "1");
	before.connections++; /* the connection itself is the tenant's */
	uses_up_nothing(&before, t);
	answer_ok(&c[0]);
	c[3] = open_conn(nobody, host);
	assert_int_equal(send_text(&c[3], chat("sk-conc")).code, OUT_PASS);
	assert_int_equal(t->inflight, 3);
}

static void tokens_are_a_debt_that_must_be_worked_off(void **state)
{
	struct weir_tenant *t = tenant_with("sk-tok"), before;
	struct conn c = open_conn(nobody, host);
	struct verdict v;
	struct answer a;

	t->flags |= WEIR_TENANT_LIMIT_TOKENS;
	t->tokens_per_minute = 1000;
	t->tokens_tau_ns = 60 * SECOND;
	t->tokens_interval_ns = 60 * SECOND / 1000;
	/* 7 s more than the bucket holds, in the newer copy; the other one is being written. */
	t->settled[1].tokens_tat_ns = now_ns() + 67 * SECOND;
	t->settled[1].ring_pos = 99;
	t->settled[0].tokens_tat_ns = now_ns() + 900 * SECOND;
	assert_int_equal(t->connections, 0);
	before = *t;
	v = send_text(&c, chat("sk-tok"));
	a = is_refused(&c, &v, 429);
	before.connections++;
	uses_up_nothing(&before, t);
	is_counted(WEIR_DENY_TOKENS, 1);
	assert_string_equal(json_at(&a, "error", "type"), "tokens");
	assert_string_equal(header(&a, "retry-after"), "7");
	assert_string_equal(header(&a, "x-ratelimit-limit-tokens"), "1000");
	assert_string_equal(header(&a, "x-ratelimit-remaining-tokens"), "0");
	assert_string_equal(header(&a, "x-ratelimit-reset-tokens"), "1m7s");
	t->settled[1].tokens_tat_ns = now_ns() + 59 * SECOND;
	c = open_conn(nobody, host);
	assert_int_equal(send_text(&c, chat("sk-tok")).code, OUT_PASS);
}

/* Reservations of requests in flight count: the last credit is not spent twice. */
static void credit_is_reserved_before_it_is_spent(void **state)
{
	struct weir_tenant *t = tenant_with("sk-credit"), before;
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	const struct weir_rec_deny *deny;
	struct verdict v;
	struct answer a;

	t->flags |= WEIR_TENANT_CREDIT;
	t->reserve_nano_per_request = 600000000;
	t->ceiling_nano = t->balance_nano = 1000000000;
	assert_int_equal(send_text(&c, chat("sk-credit")).code, OUT_PASS);
	before = *t;
	v = send_text(&d, chat("sk-credit"));
	a = is_refused(&d, &v, 429);
	before.connections++;
	uses_up_nothing(&before, t);
	assert_string_equal(json_at(&a, "error", "type"), "insufficient_quota");
	assert_string_equal(json_at(&a, "error", "code"), "insufficient_quota");
	assert_string_equal(header(&a, "x-should-retry"), "false");
	assert_null(header(&a, "retry-after"));
	assert_non_null(strstr(a.body, "balance 1 credits"));
	assert_non_null(strstr(a.body, " 0.4 are available"));
	assert_non_null(strstr(a.body, "may cost 0.6."));
	deny = record(WEIR_REC_DENY, 0);
	assert_non_null(deny);
	assert_int_equal(deny->reason, WEIR_DENY_CREDIT);
	assert_int_equal(deny->limit, 1000000000);
	assert_int_equal(deny->value, 400000000);
	assert_int_equal(deny->asked, 600000000);
	/* Released: what was reserved comes back into the ceiling. */
	t->ceiling_nano += 600000000;
	d = open_conn(nobody, host);
	assert_int_equal(send_text(&d, chat("sk-credit")).code, OUT_PASS);
}

static void credit_exactly_enough_is_enough(void **state)
{
	struct weir_tenant *t = tenant_with("sk-exact");
	struct conn c = open_conn(nobody, host);
	struct verdict v;

	t->flags |= WEIR_TENANT_CREDIT;
	t->reserve_nano_per_request = 5;
	t->ceiling_nano = 5;
	assert_int_equal(send_text(&c, chat("sk-exact")).code, OUT_PASS);
	answer_ok(&c);
	v = send_text(&c, chat("sk-exact"));
	is_refused(&c, &v, 429);
	assert_int_equal(t->reserved_nano, 5);
}

static void a_parents_wallet_pays(void **state)
{
	struct weir_tenant *org = tenant_with("sk-org"), *user = tenant_with("sk-user");
	struct conn c = open_conn(nobody, host);
	struct verdict v;

	user->flags |= WEIR_TENANT_CREDIT;
	user->wallet = org - lab.tenants;
	user->reserve_nano_per_request = 10;
	org->ceiling_nano = 15;
	assert_int_equal(send_text(&c, chat("sk-user")).code, OUT_PASS);
	answer_ok(&c);
	assert_int_equal(org->reserved_nano, 10);
	assert_int_equal(user->reserved_nano, 0);
	v = send_text(&c, chat("sk-user"));
	is_refused(&c, &v, 429);
	assert_int_equal(org->reserved_nano, 10);
}

static void a_body_of_unknown_length_reserves_the_configured_tokens(void **state)
{
	struct weir_tenant *t = tenant_with("sk-chunked");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_request *r;
	char chunk[1200];

	t->reserve_nano_per_input_token = 3;
	t->reserve_input_tokens = 1000;
	assert_int_equal(send_text(&c,
				   "POST /v1/chat/completions HTTP/1.1\r\nAuthorization: Bearer "
				   "sk-chunked\r\nTransfer-Encoding: chunked\r\n\r\n")
				 .code,
			 OUT_PASS);
	assert_int_equal(t->reserved_nano, 3000);
	r = record(WEIR_REC_REQUEST, 0);
	assert_int_equal(r->body_bytes, ~0ULL);
	/* Its body is body, whatever it looks like, until its last chunk. */
	snprintf(chunk, sizeof(chunk), "%zx\r\n%s\r\n", strlen(chat("sk-chunked")),
		 chat("sk-chunked"));
	assert_int_equal(send_text(&c, chunk).code, OUT_PASS);
	assert_int_equal(send_text(&c, "0\r\n\r\n").code, OUT_PASS);
	assert_int_equal(t->admitted, 1);
	is_counted(WEIR_PASS_BODY, 2);
	answer_ok(&c);
	assert_int_equal(send_text(&c, chat("sk-chunked")).code, OUT_PASS);
	assert_int_equal(t->admitted, 2);
}

static void a_suspended_tenants_request_is_refused_for_good(void **state)
{
	struct weir_tenant *t = tenant_with("sk-susp"), before;
	struct conn c = open_conn(nobody, host);
	struct verdict v;

	assert_int_equal(send_text(&c, chat("sk-susp")).code, OUT_PASS);
	answer_ok(&c);
	t->flags |= WEIR_TENANT_SUSPENDED;
	before = *t;
	v = send_text(&c, chat("sk-susp"));
	is_refused(&c, &v, 403);
	uses_up_nothing(&before, t);
	is_counted(WEIR_DENY_SUSPENDED, 1);
}

static void shadow_passes_what_it_would_refuse(void **state)
{
	struct weir_tenant *t = tenant_with("sk-shadow");
	struct conn c = open_conn(nobody, host);
	const struct weir_rec_request *r;

	t->flags |= WEIR_TENANT_SHADOW | WEIR_TENANT_LIMIT_INFLIGHT;
	assert_int_equal(send_text(&c, chat("sk-shadow")).code, OUT_PASS);
	is_counted(WEIR_ADMIT_SHADOW, 1);
	is_counted(WEIR_ADMIT_REQUEST, 0);
	assert_int_equal(t->inflight, 1);
	assert_int_equal(t->refused, 0);
	assert_int_equal(denied(t, WEIR_DENY_CONCURRENCY, true), 1);
	r = record(WEIR_REC_REQUEST, 0);
	assert_non_null(r);
	assert_int_equal(r->flags, WEIR_SLOT_SHADOW | WEIR_SLOT_FIRST);
	answer_ok(&c);
	assert_int_equal(t->inflight, 0);
}

static void with_enforcement_off_all_is_metered_and_nobody_refused(void **state)
{
	struct weir_tenant *t = tenant_with("sk-off");
	struct conn c = open_conn(nobody, host), unknown = open_conn(nobody, host);

	lab.config->enforce = 0;
	t->flags |= WEIR_TENANT_LIMIT_INFLIGHT | WEIR_TENANT_SUSPENDED;
	assert_int_equal(send_text(&c, chat("sk-off")).code, OUT_PASS);
	assert_int_equal(send_text(&unknown, chat("sk-nobody-knows")).code, OUT_PASS);
	is_counted(WEIR_ADMIT_SHADOW, 2);
	assert_non_null(record(WEIR_REC_REQUEST, 1));
	answer_ok(&c);
	answer_ok(&unknown);
	assert_int_equal(t->inflight, 0);
	assert_int_equal(lab.tenants[WEIR_NO_TENANT].inflight, 0);
}

static void with_the_agent_down_the_tier_decides(void **state)
{
	static const char *const keys[] = { "sk-hold", "sk-open", "sk-closed" };
	static const uint32_t down[] = { 0, WEIR_TENANT_DOWN_OPEN, WEIR_TENANT_DOWN_CLOSED };

	lab.config->heartbeat_ns = now_ns() - 10 * SECOND;
	lab.config->agent_timeout_ns = SECOND;
	for (int i = 0; i < 3; i++) {
		struct weir_tenant *t = tenant_with(keys[i]);
		struct conn c = open_conn(nobody, host);
		struct verdict v;

		t->flags |= WEIR_TENANT_CREDIT | down[i];
		t->reserve_nano_per_request = 10;
		t->ceiling_nano = 10;
		v = send_text(&c, chat(keys[i]));
		if (down[i] == WEIR_TENANT_DOWN_CLOSED) {
			struct answer a = is_refused(&c, &v, 503);

			assert_string_equal(header(&a, "retry-after"), "1");
			assert_int_equal(t->inflight, 0);
			continue;
		}
		assert_int_equal(v.code, OUT_PASS);
		answer_ok(&c);
		/* The credit is used up: held to it, or not. */
		v = send_text(&c, chat(keys[i]));
		if (!down[i])
			is_refused(&c, &v, 429);
		else
			assert_int_equal(v.code, OUT_PASS);
	}
	is_counted(WEIR_DENY_AGENT_DOWN, 1);
	is_counted(WEIR_DENY_CREDIT, 1);
}

static void a_full_ring_is_as_good_as_no_agent(void **state)
{
	struct weir_tenant *t = tenant_with("sk-ring");
	struct conn c = open_conn(nobody, host), d = open_conn(nobody, host);
	struct verdict v;

	t->flags |= WEIR_TENANT_DOWN_CLOSED;
	assert_int_equal(send_text(&c, chat("sk-ring")).code, OUT_PASS);
	lab.config->ring_request_max = 0; /* that request's record is above it */
	v = send_text(&d, chat("sk-ring"));
	is_refused(&d, &v, 503);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(an_admitted_request_is_counted_until_its_answer_ends),
		CLAIM(requests_per_minute_hold),
		CLAIM(a_refused_first_request_gives_the_connect_token_back),
		CLAIM(connection_limits_of_a_key_are_judged_with_its_first_request),
		CLAIM(the_connect_rate_of_a_key_is_judged_with_its_first_request),
		CLAIM(concurrency_admits_exactly_its_limit),
		CLAIM(tokens_are_a_debt_that_must_be_worked_off),
		CLAIM(credit_is_reserved_before_it_is_spent),
		CLAIM(credit_exactly_enough_is_enough),
		CLAIM(a_parents_wallet_pays),
		CLAIM(a_body_of_unknown_length_reserves_the_configured_tokens),
		CLAIM(a_suspended_tenants_request_is_refused_for_good),
		CLAIM(shadow_passes_what_it_would_refuse),
		CLAIM(with_enforcement_off_all_is_metered_and_nobody_refused),
		CLAIM(with_the_agent_down_the_tier_decides),
		CLAIM(a_full_ring_is_as_good_as_no_agent),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
