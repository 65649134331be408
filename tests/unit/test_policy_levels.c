/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: limits beside a tenant's own, for one service or of those above, and the bounds
 * on handshakes and on what an answer may cost. */
#include "policy_fixture.h"

static void half_open_and_the_cost_cap(void **state)
{
	struct weir_policy *p = load_text(
		"{\"tiers\": {\"t\": {\"half_open\": 65535, \"request_cost_cap\": \"0.000000001\"},"
		" \"open\": {}}, \"tenants\": {\"a\": {\"tier\": \"t\"}, \"b\": {\"tier\": "
		"\"open\"},"
		" \"c\": {\"tier\": \"t\", \"overrides\": {\"half_open\": null,"
		" \"request_cost_cap\": null}},"
		" \"d\": {\"tier\": \"t\", \"overrides\": {\"half_open\": 1,"
		" \"request_cost_cap\": \"2.5\"}}}}");
	static const struct {
		uint32_t half_open;
		int64_t cap_nano;
	} want[] = { { 65535, 1 }, { 1024, 0 }, { 0, 0 }, { 1, 2500000000 } };

	assert_int_equal(p->n_tenants, 4);
	for (size_t i = 0; i < p->n_tenants; i++) {
		assert_int_equal(p->tenants[i].limits.half_open, want[i].half_open);
		assert_int_equal(p->tenants[i].limits.request_cost_cap_nano, want[i].cap_nano);
	}
	weir_policy_unref(p);
}

#define TWO_SERVICES                                                                               \
	"\"services\": {\"embed\": {\"concurrency\": 2, \"requests\": {\"per_second\": 3},"        \
	" \"tokens\": {\"per_minute\": 7, \"cached_weight\": \"0.5\"}},"                           \
	" \"chat\": {\"connections\": 5, \"connect_rate\": {\"per_second\": 1, \"burst\": 4}}}"

static void a_service_can_have_limits_of_its_own(void **state)
{
	struct weir_policy *p = load_text("{\"tiers\": {\"t\": {\"concurrency\": 9, " TWO_SERVICES
					  "}}, \"tenants\": {\"a\": {\"tier\": \"t\"}}}");
	const struct weir_tenant_policy *t = &p->tenants[0];
	const struct weir_scope_policy *chat = &t->scopes[0], *embed = &t->scopes[1];

	assert_int_equal(t->limits.concurrency, 9);
	assert_int_equal(t->n_scopes, 2);
	assert_string_equal(chat->service, "chat");
	assert_int_equal(chat->limits.connections, 5);
	assert_int_equal(chat->limits.connect_rate.burst, 4);
	assert_int_equal(chat->limits.concurrency, -1);
	assert_string_equal(embed->service, "embed");
	assert_int_equal(embed->limits.concurrency, 2);
	assert_int_equal(embed->limits.requests.burst, 180);
	assert_int_equal(embed->limits.tokens.count, 7);
	assert_int_equal(embed->limits.cached_weight_ppm, 500000);
	/* nothing else is limited, bounded or reserved there */
	assert_int_equal(embed->limits.connections, -1);
	assert_int_equal(embed->limits.credit, WEIR_CREDIT_NONE);
	assert_int_equal(embed->limits.half_open, 0);
	assert_int_equal(embed->limits.reserve_output_tokens, 0);
	assert_int_equal(embed->limits.on_agent_down, WEIR_DOWN_HOLD);
	assert_false(embed->limits.shadow);
	weir_policy_unref(p);
}

static void an_override_replaces_the_limits_of_a_service_whole(void **state)
{
	struct weir_policy *p = load_text(
		"{\"tiers\": {\"t\": {" TWO_SERVICES "}, \"open\": {}}, \"tenants\": {"
		"\"a\": {\"tier\": \"t\", \"overrides\": {\"services\": {\"embed\": "
		"{\"connections\": 1},"
		" \"audio\": {\"concurrency\": 8}}}},"
		"\"b\": {\"tier\": \"t\", \"overrides\": {\"services\": {\"chat\": null}}},"
		"\"c\": {\"tier\": \"t\", \"overrides\": {\"services\": null}},"
		"\"d\": {\"tier\": \"open\", \"overrides\": {\"services\": {\"x\": {}}}},"
		"\"e\": {\"tier\": \"t\", \"overrides\": {\"concurrency\": 1}}}}");
	const struct weir_tenant_policy *t = weir_policy_tenant(p, "a");

	assert_int_equal(t->n_scopes, 3);
	assert_string_equal(t->scopes[0].service, "audio");
	assert_int_equal(t->scopes[0].limits.concurrency, 8);
	assert_string_equal(t->scopes[1].service, "chat");
	assert_int_equal(t->scopes[1].limits.connections, 5);
	assert_string_equal(t->scopes[2].service, "embed");
	assert_int_equal(t->scopes[2].limits.connections, 1);
	assert_int_equal(t->scopes[2].limits.concurrency, -1); /* the tier's is gone */
	assert_int_equal(t->scopes[2].limits.tokens.count, 0);
	t = weir_policy_tenant(p, "b");
	assert_int_equal(t->n_scopes, 1);
	assert_string_equal(t->scopes[0].service, "embed");
	assert_int_equal(weir_policy_tenant(p, "c")->n_scopes, 0);
	assert_int_equal(weir_policy_tenant(p, "d")->n_scopes, 1);
	assert_int_equal(weir_policy_tenant(p, "e")->n_scopes, 2);
	weir_policy_unref(p);
}

static void a_service_is_in_shadow_when_its_tenant_is(void **state)
{
	struct weir_policy *p = load_text(
		"{\"tiers\": {\"t\": {\"services\": {\"own\": {\"shadow\": false}, \"same\": {},"
		" \"dark\": {\"shadow\": true}}}}, \"tenants\": {\"a\": {\"tier\": \"t\"},"
		" \"b\": {\"tier\": \"t\", \"overrides\": {\"shadow\": true}}}}");
	/* dark, own, same */
	static const bool want[2][3] = { { true, false, false }, { true, false, true } };

	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < 3; j++)
			assert_int_equal(p->tenants[i].scopes[j].limits.shadow, want[i][j]);
	weir_policy_unref(p);
}

static void a_tenant_may_have_two_above_it(void **state)
{
	struct weir_policy *p;

	put("10-a.json", "{\"tiers\": {\"t\": {}}, \"tenants\": {"
			 "\"user\": {\"tier\": \"t\", \"parent\": \"team\"},"
			 "\"user2\": {\"tier\": \"t\", \"parent\": \"team\"},"
			 "\"alone\": {\"tier\": \"t\", \"parent\": null}}}");
	put("20-b.json", "{\"tenants\": {\"org\": {\"tier\": \"t\"},"
			 "\"team\": {\"tier\": \"t\", \"parent\": \"org\"}}}");
	p = load();
	assert_string_equal(weir_policy_tenant(p, "user")->parent, "team");
	assert_string_equal(weir_policy_tenant(p, "user2")->parent, "team");
	assert_string_equal(weir_policy_tenant(p, "team")->parent, "org");
	assert_null(weir_policy_tenant(p, "org")->parent);
	assert_null(weir_policy_tenant(p, "alone")->parent);
	weir_policy_unref(p);
	/* one more above, in another file: whose chain is too long is told */
	put("20-b.json", "{\"tenants\": {\"org\": {\"tier\": \"t\", \"parent\": \"world\"},"
			 "\"world\": {\"tier\": \"t\"},"
			 "\"team\": {\"tier\": \"t\", \"parent\": \"org\"}}}");
	refused("10-a.json: tenants.user.parent: \"team\" makes a chain of more than three "
		"tenants: user -> team -> org -> world");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(half_open_and_the_cost_cap),
		in_dir(a_service_can_have_limits_of_its_own),
		in_dir(an_override_replaces_the_limits_of_a_service_whole),
		in_dir(a_service_is_in_shadow_when_its_tenant_is),
		in_dir(a_tenant_may_have_two_above_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
