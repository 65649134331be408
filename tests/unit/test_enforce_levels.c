/* SPDX-License-Identifier: Apache-2.0 */
/* A policy in force: which entries it takes, who is above whom, which service leads where;
 * what stays of it when it changes, and when the agent is a new one. The maps are real
 * (root), what the kernel programs would do is not. */
#include "enforce_fixture.h"

static int try(const char *tenants)
{
	char json[16384];
	int n = snprintf(
		json, sizeof(json),
		"{\"tiers\": {\"t\": {\"concurrency\": 9}, \"s\": {\"concurrency\": 9, "
		"\"services\": "
		"{\"embed\": {\"concurrency\": 2, \"requests\": {\"per_minute\": 60, \"burst\": 5},"
		" \"tokens\": {\"per_minute\": 1000, \"cached_weight\": \"0.5\"}},"
		" \"elsewhere\": {\"concurrency\": 1}}}}, \"tenants\": {%s}}",
		tenants);

	assert_true(n > 0 && (size_t)n < sizeof(json));
	return try_policy(json);
}

static void apply(const char *tenants)
{
	if (try(tenants))
		fail_msg("%s", f.err.text);
}

/* Where the map leads for what comes to a service; 0: nowhere. */
static uint32_t scope(const char *tenant, uint32_t service_number)
{
	struct weir_scope key = { .tenant = number(tenant), .service = service_number };
	uint32_t n = 0;

	bpf_map_lookup_elem(f.kernel.scopes_fd, &key, &n);
	return n;
}

static size_t count(int fd)
{
	char at[128], next[128];
	size_t n = 0;

	for (; !bpf_map_get_next_key(fd, n ? at : NULL, next); n++)
		memcpy(at, next, sizeof(at));
	return n;
}

#define T(name, rest)	 "\"" name "\": {\"tier\": \"t\"" rest "}"
#define S(name, rest)	 "\"" name "\": {\"tier\": \"s\"" rest "}"
#define BELOW(parent)	 ", \"parent\": \"" parent "\""
#define OVERRIDE(fields) ", \"overrides\": {" fields "}"

/* -- levels */

static void parents_are_numbers(void **state)
{
	apply(T("user", BELOW("team")) "," T("team", BELOW("org")) "," T("org", "") "," T("x", ""));
	assert_int_equal(entry("user")->parent, number("team"));
	assert_int_equal(entry("team")->parent, number("org"));
	assert_int_equal(entry("org")->parent, WEIR_NO_TENANT);
	assert_int_equal(entry("x")->parent, WEIR_NO_TENANT);
	assert_int_equal(entry("user")->wallet, number("user"));
	/* moved, and let go */
	apply(T("user", BELOW("x")) "," T("team", "") "," T("org", BELOW("team")) "," T("x", ""));
	assert_int_equal(entry("user")->parent, number("x"));
	assert_int_equal(entry("team")->parent, WEIR_NO_TENANT);
	assert_int_equal(entry("org")->parent, number("team"));
}

static void a_scope_is_an_entry_of_its_own(void **state)
{
	const struct weir_terms *terms;
	uint32_t n;

	apply(S("acme", "") "," T("beta", ""));
	assert_int_equal(weir_enforce_scope(f.enforce, "acme", "embed", &n), 0);
	assert_int_equal(scope("acme", 2), n);
	assert_int_equal(scope("acme", 1), 0);
	assert_int_equal(count(f.kernel.scopes_fd), 1);
	assert_true(entry("acme")->flags & WEIR_TENANT_SCOPED);
	assert_false(entry("beta")->flags & WEIR_TENANT_SCOPED);
	assert_int_equal(f.tenants[n].flags, WEIR_TENANT_LIVE | WEIR_TENANT_LIMIT_INFLIGHT |
						     WEIR_TENANT_LIMIT_REQUESTS |
						     WEIR_TENANT_LIMIT_TOKENS);
	assert_int_equal(f.tenants[n].max_inflight, 2);
	assert_int_equal(f.tenants[n].request_burst, 5);
	assert_int_equal(f.tenants[n].parent, WEIR_NO_TENANT);
	assert_int_equal(f.tenants[n].max_half_open, 0);
	assert_int_equal(entry("acme")->max_inflight, 9);
	terms = weir_enforce_terms(f.enforce, n);
	assert_true(terms->live && terms->is_scope);
	assert_string_equal(terms->name, "acme@embed");
	assert_int_equal(terms->tokens.count, 1000);
	assert_int_equal(terms->cached_weight_ppm, 500000);
	assert_int_equal(terms->request_cost_cap_nano, 0);
}

static void a_scope_is_nobody_to_those_who_ask_for_tenants(void **state)
{
	char name[WEIR_ENTRY_NAME_BYTES];
	uint32_t n, acme;

	apply(S("acme", ""));
	acme = number("acme");
	assert_int_equal(weir_enforce_index(f.enforce, "acme@embed", &n), -ENOENT);
	assert_int_equal(weir_enforce_scope(f.enforce, "acme", "chat", &n), -ENOENT);
	assert_int_equal(weir_enforce_scope(f.enforce, "acme", "elsewhere", &n), -ENOENT);
	assert_int_equal(weir_enforce_scope(f.enforce, "acme", "embed", &n), 0);
	assert_true(weir_enforce_is_scope(f.enforce, n));
	assert_false(weir_enforce_is_scope(f.enforce, acme));
	assert_false(weir_enforce_is_scope(f.enforce, TENANTS));
	assert_int_equal(weir_enforce_name(f.enforce, n, name), 0);
	assert_string_equal(name, "acme@embed");
	assert_int_equal(weir_enforce_count(f.enforce), 2);
	/* no way in by name */
	assert_int_equal(count(f.kernel.names_fd), 1);
}

static void limits_of_a_service_come_and_go(void **state)
{
	uint32_t n, again;

	apply(S("acme", "") "," S("beta", ""));
	n = scope("acme", 2);
	assert_int_equal(count(f.kernel.scopes_fd), 2);
	f.tenants[n].inflight = 1; /* whoever is in flight gives it back there */
	apply(S("acme", OVERRIDE("\"services\": null")) "," S("beta", ""));
	assert_int_equal(count(f.kernel.scopes_fd), 1);
	assert_int_equal(scope("acme", 2), 0);
	assert_false(entry("acme")->flags & WEIR_TENANT_SCOPED);
	assert_int_equal(f.tenants[n].flags, 0);
	assert_false(weir_enforce_terms(f.enforce, n)->live);
	assert_int_equal(f.tenants[n].inflight, 1);
	/* the tenant itself goes: its scopes too */
	apply(S("acme", ""));
	assert_int_equal(scope("beta", 2), 0);
	assert_int_equal(count(f.kernel.scopes_fd), 1);
	assert_int_equal(entry("beta")->flags, 0);
	assert_int_equal(weir_enforce_scope(f.enforce, "acme", "embed", &again), 0);
	assert_int_equal(again, n); /* the number is for ever */
	assert_true(f.tenants[n].flags & WEIR_TENANT_LIVE);
}

static void nobody_has_a_share_of_half_open_connections(void **state)
{
	assert_int_equal(f.tenants[WEIR_NO_TENANT].max_half_open, 1024);
	assert_int_equal(f.tenants[WEIR_NO_TENANT].flags, 0);
	f.kernel.max_flows = 1 << 20;
	stop();
	start();
	assert_int_equal(f.tenants[WEIR_NO_TENANT].max_half_open, UINT16_MAX);
}

/* -- changes, restarts */

/* What the ring's thread bills by, of a tenant; a scope of it bills nobody. */
static void terms_are_the_tenants_own(void **state)
{
	const struct weir_terms *terms;
	uint32_t n;

	apply(S("acme", OVERRIDE("\"abort\": \"full\", \"bill_retries\": false, "
				 "\"bill_cache_hits\": false, \"reserve_output_tokens\": 77, "
				 "\"max_output_tokens\": 99")) "," S("beta", ""));
	terms = weir_enforce_terms(f.enforce, number("acme"));
	assert_int_equal(terms->abort, WEIR_ABORT_FULL);
	assert_true(terms->free_retries && terms->free_cache_hits);
	assert_int_equal(terms->reserve_output_tokens, 77);
	assert_int_equal(terms->max_output_tokens, 99);
	assert_true(entry("acme")->flags & WEIR_TENANT_ASKED_WHOLE);
	assert_int_equal(weir_enforce_scope(f.enforce, "acme", "embed", &n), 0);
	assert_false(f.tenants[n].flags & WEIR_TENANT_ASKED_WHOLE);
	terms = weir_enforce_terms(f.enforce, number("beta"));
	assert_int_equal(terms->abort, WEIR_ABORT_PRODUCED);
	assert_false(terms->free_retries || terms->free_cache_hits);
	assert_int_equal(terms->max_output_tokens, 0);
	/* And back. */
	apply(S("acme", "") "," S("beta", ""));
	assert_false(weir_enforce_terms(f.enforce, number("acme"))->free_retries);
	assert_false(entry("acme")->flags & WEIR_TENANT_ASKED_WHOLE);
}

static void a_suspension_outlives_policies(void **state)
{
	uint32_t acme;

	apply(T("acme", "") "," T("beta", ""));
	acme = number("acme");
	assert_int_equal(weir_enforce_suspend(f.enforce, acme, true), 0);
	assert_true(weir_enforce_suspended(f.enforce, acme));
	assert_false(weir_enforce_suspended(f.enforce, number("beta")));
	apply(T("acme", OVERRIDE("\"concurrency\": 3")) "," T("beta", ""));
	assert_true(entry("acme")->flags & WEIR_TENANT_SUSPENDED);
	assert_int_equal(entry("acme")->max_inflight, 3);
	apply(T("beta", "")); /* gone, and back */
	assert_int_equal(entry("acme")->flags, WEIR_TENANT_SUSPENDED);
	apply(T("acme", "") "," T("beta", ""));
	assert_true(entry("acme")->flags & WEIR_TENANT_SUSPENDED);
	stop();
	start();
	apply(T("acme", "") "," T("beta", ""));
	assert_true(weir_enforce_suspended(f.enforce, acme));
	assert_int_equal(weir_enforce_suspend(f.enforce, acme, false), 0);
	assert_false(entry("acme")->flags & WEIR_TENANT_SUSPENDED);
	assert_int_equal(weir_enforce_suspend(f.enforce, WEIR_NO_TENANT, true), -ENOENT);
	assert_int_equal(weir_enforce_suspend(f.enforce, TENANTS, true), -ENOENT);
}

static void a_new_agent_finds_what_the_last_one_left(void **state)
{
	char name[WEIR_ENTRY_NAME_BYTES];
	uint32_t gone;
	uint64_t now, ahead;

	apply(S("acme", OVERRIDE("\"requests\": {\"per_minute\": 60, \"burst\": 10}")) "," S("gone",
											     ""));
	gone = scope("gone", 2);
	now = weir_mono_ns();
	entry("acme")->request_tat_ns = now + 5 * WEIR_SECOND; /* five are used */
	stop();
	start();
	/* changed while no agent ran: one left, one has another rate */
	apply(S("acme", OVERRIDE("\"requests\": {\"per_minute\": 6, \"burst\": 10}")));
	assert_int_equal(entry("gone")->flags, 0);
	assert_int_equal(f.tenants[gone].flags, 0);
	assert_int_equal(scope("gone", 2), 0);
	assert_int_equal(weir_enforce_name(f.enforce, gone, name), 0);
	assert_string_equal(name, "gone@embed");
	assert_true(weir_enforce_is_scope(f.enforce, gone));
	/* still five, but for the time that passed: of ten seconds each now */
	ahead = entry("acme")->request_tat_ns - now;
	assert_true(ahead > 10 * WEIR_SECOND && ahead <= 50 * WEIR_SECOND);
}

static void services_may_be_renumbered_between_agents(void **state)
{
	uint32_t n;

	apply(S("acme", ""));
	n = scope("acme", 2);
	stop();
	f.cfg.n_services = 0;
	service("embed");
	service("chat");
	service("elsewhere");
	start();
	apply(S("acme", ""));
	assert_int_equal(scope("acme", 1), n);
	assert_int_equal(scope("acme", 2), 0);
	assert_int_not_equal(scope("acme", 3), 0);
}

static void what_does_not_fit_changes_nothing(void **state)
{
	char many[8192] = T("acme", ""), *end = many + strlen(many);

	apply(T("acme", OVERRIDE("\"concurrency\": 3")));
	/* tenants fit, but their scopes do not */
	for (int i = 0; i < 32; i++)
		end += sprintf(end, "," S("t%d", ""), i);
	assert_int_equal(try(many), -ENOSPC);
	assert_string_equal(
		f.err.text,
		"tenant \"t8@embed\": its number 64 is past the last, 63; raise "
		"\"max_tenants\" in agent.json (limits of a tenant for a service take a "
		"number too), then run weir-agent --detach and start again");
	assert_int_equal(entry("acme")->max_inflight, 3);
	assert_int_equal(count(f.kernel.scopes_fd), 0);
	assert_int_equal(weir_enforce_count(f.enforce), 1); /* no number is lost by that */
	apply(T("acme", "") "," T("next", ""));
	assert_int_equal(entry("acme")->max_inflight, 9);
	assert_int_equal(number("next"), 2);
}

/* Against a model: who is there, with which services and parent, after each of many policies. */
static void policies_come_and_go_for_long(void **state)
{
	enum { N = 8 };

	srand(7);
	for (int round = 0; round < 150; round++) {
		char text[4096] = T("top", ""), *end = text + strlen(text);
		bool in[N], scoped[N];
		int parent[N]; /* N: top; -1: none */
		size_t scopes = 0;

		for (int i = 0; i < N; i++) {
			in[i] = rand() % 3;
			scoped[i] = rand() % 2;
			/* an even one may have a smaller odd one above, that has top or nobody */
			parent[i] = i % 2 ? (rand() % 2 ? N : -1) : -1;
			if (!(i % 2) && i && in[i - 1] && rand() % 2)
				parent[i] = i - 1;
			if (!in[i])
				continue;
			end += sprintf(end, ",\"t%d\": {\"tier\": \"%s\"", i,
				       scoped[i] ? "s" : "t");
			if (parent[i] == N)
				end += sprintf(end, BELOW("top"));
			else if (parent[i] >= 0)
				end += sprintf(end, BELOW("t%d"), parent[i]);
			end += sprintf(end, "}");
			scopes += scoped[i];
		}
		if (rand() % 10 == 0) {
			stop();
			start();
		}
		apply(text);
		assert_int_equal(count(f.kernel.scopes_fd), scopes);
		for (int i = 0; i < N; i++) {
			char name[16], above[16];
			uint32_t n;

			snprintf(name, sizeof(name), "t%d", i);
			snprintf(above, sizeof(above), parent[i] == N ? "top" : "t%d", parent[i]);
			if (weir_enforce_index(f.enforce, name, &n)) {
				assert_false(in[i]);
				continue;
			}
			assert_int_equal(!!(f.tenants[n].flags & WEIR_TENANT_LIVE), in[i]);
			assert_int_equal(!!(f.tenants[n].flags & WEIR_TENANT_SCOPED),
					 in[i] && scoped[i]);
			assert_int_equal(f.tenants[n].parent,
					 in[i] && parent[i] >= 0 ? number(above) : 0);
			assert_int_equal(!!scope(name, 2), in[i] && scoped[i]);
		}
	}
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, up, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(parents_are_numbers),
		CLAIM(a_scope_is_an_entry_of_its_own),
		CLAIM(a_scope_is_nobody_to_those_who_ask_for_tenants),
		CLAIM(limits_of_a_service_come_and_go),
		CLAIM(nobody_has_a_share_of_half_open_connections),
		CLAIM(terms_are_the_tenants_own),
		CLAIM(a_suspension_outlives_policies),
		CLAIM(a_new_agent_finds_what_the_last_one_left),
		CLAIM(services_may_be_renumbered_between_agents),
		CLAIM(what_does_not_fit_changes_nothing),
		CLAIM(policies_come_and_go_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
