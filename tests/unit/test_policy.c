/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: what a good one says, and how files merge. */
#include "policy_fixture.h"

#include "agent/price.h"

/* ---------------------------------------------------------------- what it says */

static void a_tenant_has_its_tiers_limits(void **state)
{
	struct weir_policy *p = load_text(
		"{\"tiers\": {\"free\": {\"connections\": 8,"
		" \"connect_rate\": {\"per_second\": 5, \"burst\": 10}, \"concurrency\": 2,"
		" \"requests\": {\"per_minute\": 60, \"burst\": 10},"
		" \"tokens\": {\"per_minute\": 100000, \"burst\": 5, \"cached_weight\": \"0.1\"},"
		" \"credit\": \"soft\", \"overage_limit\": \"0.5\", \"reserve_input_tokens\": 0,"
		" \"reserve_output_tokens\": 7, \"on_limit\": \"drop\", \"on_agent_down\": "
		"\"closed\","
		" \"abort\": \"full\", \"bill_retries\": false, \"bill_cache_hits\": false,"
		" \"shadow\": true, \"max_output_tokens\": null, \"max_input_tokens\": null,"
		" \"on_exhausted\": \"reject\", \"fallback_model\": null}},"
		" \"tenants\": {\"acme\": {\"tier\": \"free\", \"parent\": null, \"wallet\": "
		"\"self\"}}}");
	const struct weir_tenant_policy *t = weir_policy_tenant(p, "acme");
	const struct weir_limits *l = &t->limits;

	assert_string_equal(t->tier, "free");
	assert_int_equal(l->connections, 8);
	assert_int_equal(l->concurrency, 2);
	assert_int_equal(l->connect_rate.count, 5);
	assert_int_equal(l->connect_rate.period_ns, 1000000000);
	assert_int_equal(l->connect_rate.burst, 10);
	assert_int_equal(l->requests.count, 60);
	assert_int_equal(l->requests.period_ns, 60000000000);
	assert_int_equal(l->tokens.count, 100000);
	assert_int_equal(l->tokens.burst, 5);
	assert_int_equal(l->cached_weight_ppm, 100000);
	assert_int_equal(l->credit, WEIR_CREDIT_SOFT);
	assert_int_equal(l->overage_nano, 500000000);
	assert_int_equal(l->reserve_input_tokens, 0);
	assert_int_equal(l->reserve_output_tokens, 7);
	assert_int_equal(l->on_agent_down, WEIR_DOWN_CLOSED);
	assert_true(l->drop);
	assert_true(l->shadow);
	assert_int_equal(l->abort, WEIR_ABORT_FULL);
	assert_true(l->free_retries);
	assert_true(l->free_cache_hits);
	weir_policy_unref(p);
}

static void an_absent_or_null_limit_is_none(void **state)
{
	struct weir_policy *p = load_text(
		"{\"tiers\": {\"open\": {}, \"null\": {\"connections\": null, \"concurrency\": "
		"null,"
		" \"connect_rate\": null, \"requests\": null, \"tokens\": null}},"
		" \"tenants\": {\"a\": {\"tier\": \"open\"}, \"b\": {\"tier\": \"null\"}}}");

	for (size_t i = 0; i < 2; i++) {
		const struct weir_limits *l = &p->tenants[i].limits;

		assert_int_equal(l->connections, -1);
		assert_int_equal(l->concurrency, -1);
		assert_int_equal(l->connect_rate.count, 0);
		assert_int_equal(l->requests.count, 0);
		assert_int_equal(l->tokens.count, 0);
		assert_int_equal(l->cached_weight_ppm, 1000000);
		assert_int_equal(l->credit, WEIR_CREDIT_NONE);
		assert_int_equal(l->overage_nano, 0);
		assert_int_equal(l->reserve_input_tokens, 1000);
		assert_int_equal(l->reserve_output_tokens, 512);
		assert_int_equal(l->on_agent_down, WEIR_DOWN_HOLD);
		assert_false(l->drop);
		assert_false(l->shadow);
		assert_int_equal(l->abort, WEIR_ABORT_PRODUCED);
		assert_false(l->free_retries);
		assert_false(l->free_cache_hits);
	}
	assert_null(p->default_tenant);
	assert_false(p->unknown_key_default);
	weir_policy_unref(p);
}

static void burst_is_a_minutes_worth_unless_it_says_otherwise(void **state)
{
	struct weir_policy *p =
		load_text("{\"tiers\": {\"t\": {\"connect_rate\": {\"per_second\": 5},"
			  " \"requests\": {\"per_minute\": 60}, \"tokens\": {\"per_minute\": 7}}},"
			  " \"tenants\": {\"a\": {\"tier\": \"t\"}}}");

	assert_int_equal(p->tenants[0].limits.connect_rate.burst, 300);
	assert_int_equal(p->tenants[0].limits.requests.burst, 60);
	assert_int_equal(p->tenants[0].limits.tokens.burst, 7);
	weir_policy_unref(p);
}

static void an_override_replaces_the_tiers_field_whole(void **state)
{
	struct weir_policy *p = load_text(
		"{\"tiers\": {\"t\": {\"concurrency\": 2, \"connections\": 9,"
		" \"requests\": {\"per_minute\": 60, \"burst\": 3}, \"credit\": \"soft\","
		" \"overage_limit\": \"5\"}},"
		" \"tenants\": {\"a\": {\"tier\": \"t\", \"overrides\": {\"concurrency\": 4,"
		" \"requests\": {\"per_minute\": 100}, \"credit\": \"hard\", \"connections\": "
		"null}},"
		" \"b\": {\"tier\": \"t\"}}}");
	const struct weir_limits *a = &weir_policy_tenant(p, "a")->limits;
	const struct weir_limits *b = &weir_policy_tenant(p, "b")->limits;

	assert_int_equal(a->concurrency, 4);
	assert_int_equal(a->connections, -1);
	assert_int_equal(a->requests.burst, 100);
	assert_int_equal(a->overage_nano, 0); /* hard: the tier's overage goes too */
	assert_int_equal(b->concurrency, 2);
	assert_int_equal(b->requests.burst, 3);
	assert_int_equal(b->overage_nano, 5000000000);
	weir_policy_unref(p);
}

static void bodies_and_protocols_have_limits_too(void **state)
{
	struct weir_policy *p =
		load_text("{\"tiers\": {\"t\": " DEGRADES ", \"open\": {}}, \"tenants\": {"
			  "\"a\": {\"tier\": \"t\"},"
			  "\"b\": {\"tier\": \"t\", \"overrides\": {\"max_input_tokens\": null,"
			  " \"max_output_tokens\": 1, \"on_max_output\": \"rewrite\","
			  " \"fallback_model\": \"b\", \"other_protocols\": \"refuse\"}},"
			  "\"c\": {\"tier\": \"t\", \"overrides\": {\"credit\": \"none\"}},"
			  "\"d\": {\"tier\": \"t\", \"overrides\": {\"on_exhausted\": \"reject\","
			  " \"fallback_model\": null}},"
			  "\"e\": {\"tier\": \"open\"},"
			  "\"f\": {\"tier\": \"open\", \"overrides\": {\"credit\": \"hard\","
			  " \"on_exhausted\": \"degrade\", \"fallback_model\": \"~\"}}}}");
	static const char zeros[WEIR_MODEL_BYTES] = "b";
	const struct weir_limits *l = &weir_policy_tenant(p, "a")->limits;

	assert_int_equal(l->max_input_tokens, 32768);
	assert_int_equal(l->max_output_tokens, 2147483647);
	assert_true(l->refuse_output && l->degrade && l->pass_protocols);
	assert_string_equal(l->fallback_model, "small model/1");
	l = &weir_policy_tenant(p, "b")->limits;
	assert_int_equal(l->max_input_tokens, 0);
	assert_int_equal(l->max_output_tokens, 1);
	assert_true(!l->refuse_output && l->degrade && !l->pass_protocols);
	assert_memory_equal(l->fallback_model, zeros, sizeof(zeros));
	/* nothing to run out of: the tier's word goes with its credit */
	l = &weir_policy_tenant(p, "c")->limits;
	assert_false(l->degrade);
	l = &weir_policy_tenant(p, "d")->limits;
	assert_false(l->degrade);
	assert_string_equal(l->fallback_model, "");
	l = &weir_policy_tenant(p, "e")->limits;
	assert_int_equal(l->max_input_tokens, 0);
	assert_int_equal(l->max_output_tokens, 0);
	assert_true(!l->refuse_output && !l->degrade && !l->pass_protocols);
	l = &weir_policy_tenant(p, "f")->limits;
	assert_true(l->degrade);
	assert_string_equal(l->fallback_model, "~");
	weir_policy_unref(p);
}

static void tenants_and_tiers_are_sorted_and_found_by_name(void **state)
{
	struct weir_policy *p = load_text(
		"{\"tiers\": {\"z\": {}, \"a\": {}}, \"tenants\": {\"zeta\": {\"tier\": \"a\"},"
		" \"acme\": {\"tier\": \"z\"}, \"b2\": {\"tier\": \"a\"}},"
		" \"default_tenant\": \"b2\", \"unknown_key\": \"default\"}");

	assert_int_equal(p->n_tenants, 3);
	assert_string_equal(p->tenants[0].name, "acme");
	assert_string_equal(p->tenants[2].name, "zeta");
	assert_int_equal(p->n_tiers, 2);
	assert_string_equal(p->tiers[0], "a");
	assert_ptr_equal(weir_policy_tenant(p, "b2"), &p->tenants[1]);
	assert_null(weir_policy_tenant(p, "b"));
	assert_string_equal(p->default_tenant, "b2");
	assert_true(p->unknown_key_default);
	weir_policy_unref(p);
}

static void keys_and_sources_are_bytes(void **state)
{
	struct weir_policy *p =
		load_text("{\"tiers\": {\"t\": {}}, \"tenants\": {\"a\": {\"tier\": \"t\", "
			  "\"keys\": [\"" KEY_A_UPPER "\", \"" KEY_B
			  "\"], \"sources\": [\"10.1.0.0/16\", \"0.0.0.0/0\", \"192.0.2.7/32\","
			  " \"2001:db8::/33\", \"::/0\", \"::1/128\"]}}}");
	const struct weir_tenant_policy *t = &p->tenants[0];
	static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, [13] = 1 };
	static const uint8_t six[16] = { 0x20, 0x01, 0x0d, 0xb8 };

	assert_int_equal(t->n_keys, 2);
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(t->keys[0][i], 0xaa);
	assert_int_equal(t->keys[1][31], 0xbb);
	assert_int_equal(t->n_sources, 6);
	assert_memory_equal(t->sources[0].addr, mapped, 16);
	assert_int_equal(t->sources[0].len, 112);
	assert_int_equal(t->sources[1].len, 96);
	assert_int_equal(t->sources[2].len, 128);
	assert_memory_equal(t->sources[3].addr, six, 16);
	assert_int_equal(t->sources[3].len, 33);
	assert_int_equal(t->sources[4].len, 0);
	assert_int_equal(t->sources[5].len, 128);
	weir_policy_unref(p);
}

static void a_policy_lives_as_long_as_someone_holds_it(void **state)
{
	struct weir_policy *p =
		load_text("{\"tiers\": {\"t\": {}}, \"tenants\": {\"a\": {\"tier\": \"t\"}}}");
	struct weir_policy *second = weir_policy_ref(p);

	weir_policy_unref(p);
	assert_string_equal(second->tenants[0].name, "a");
	weir_policy_unref(second);
	weir_policy_unref(NULL);
}

/* --------------------------------------------------------------------- merging */

#define CARD(version, from)                                                                        \
	"{\"version\": \"" version "\", \"effective_from\": \"" from                               \
	"T00:00:00Z\", \"models\": [{\"match\": \"default\", \"price\": {\"input\": \"1\"}}]}"

static void files_are_one_document(void **state)
{
	struct weir_policy *p, *again;

	put("20-b.json", "{\"tenants\": {\"a\": {\"tier\": \"t\"}}, \"unknown_key\": \"refuse\","
			 " \"rate_cards\": [" CARD("v1", "2026-01-01") "]}");
	put("10-a.json", "{\"tiers\": {\"t\": {\"concurrency\": 3}}, \"rate_cards\": [" CARD(
				 "v2", "2026-02-01") "]}");
	put(".hidden.json", "not JSON");
	put("README", "not JSON");
	put("x.json.bak", "not JSON");
	p = load();
	assert_int_equal(p->tenants[0].limits.concurrency, 3);
	assert_int_equal(p->n_cards, 2);
	assert_string_equal(p->cards[0]->version, "v1"); /* by effective_from */
	assert_string_equal(p->cards[1]->version, "v2");
	assert_string_equal(
		p->json,
		"{\"default_tenant\":null,\"packs\":{},\"rate_cards\":["
		"{\"effective_from\":\"2026-02-01T00:00:00Z\",\"models\":[{\"match\":\"default\","
		"\"price\":{\"input\":\"1\"}}],\"version\":\"v2\"},"
		"{\"effective_from\":\"2026-01-01T00:00:00Z\",\"models\":[{\"match\":\"default\","
		"\"price\":{\"input\":\"1\"}}],\"version\":\"v1\"}],"
		"\"tenants\":{\"a\":{\"tier\":\"t\"}},\"tiers\":{\"t\":{\"concurrency\":3}},"
		"\"unknown_key\":\"refuse\"}");

	/* what is shown is itself a policy that says the same */
	remove_dir(NULL);
	assert_int_equal(mkdir(dir, 0700), 0);
	again = load_text(p->json);
	assert_string_equal(again->json, p->json);
	weir_policy_unref(again);
	weir_policy_unref(p);
}

static void local_replaces_whole_objects_of_files_before_it(void **state)
{
	struct weir_policy *p;

	put("10-a.json", "{\"tiers\": {\"t\": {\"concurrency\": 3, \"connections\": 1}, \"u\": {}},"
			 " \"tenants\": {\"a\": {\"tier\": \"t\", \"keys\": [\"" KEY_A "\"]}},"
			 " \"default_tenant\": \"a\"}");
	put("90-local.json",
	    "{\"tiers\": {\"t\": {\"concurrency\": 9}}, \"tenants\": {\"a\": "
	    "{\"tier\": \"t\"}, \"b\": {\"tier\": \"u\"}}, \"default_tenant\": null}");
	p = load();
	assert_int_equal(weir_policy_tenant(p, "a")->limits.concurrency, 9);
	assert_int_equal(weir_policy_tenant(p, "a")->limits.connections, -1);
	assert_int_equal(weir_policy_tenant(p, "a")->n_keys, 0);
	assert_null(p->default_tenant);
	weir_policy_unref(p);

	put("95-late.json", "{\"tiers\": {\"t\": {}}}");
	refused("95-late.json: tiers.t: \"t\" is defined in 90-local.json already");
}

static void an_error_in_a_replacing_object_names_the_replacing_file(void **state)
{
	put("10-a.json", "{\"tiers\": {\"t\": {}}}");
	put("90-local.json", "{\"tiers\": {\"t\": {\"concurrency\": 0}}}");
	refused("90-local.json: tiers.t.concurrency: 0 is not a whole number from 1 to 1000000000");
}

static void two_files_may_not_define_the_same(void **state)
{
	put("10-a.json", "{\"tiers\": {\"t\": {}}, \"tenants\": {\"a\": {\"tier\": \"t\"}},"
			 " \"default_tenant\": null}");
	put("20-b.json", "{\"tiers\": {\"t\": {}}}");
	refused("20-b.json: tiers.t: \"t\" is defined in 10-a.json already");
	put("20-b.json", "{\"tenants\": {\"a\": {\"tier\": \"t\"}}}");
	refused("20-b.json: tenants.a: \"a\" is defined in 10-a.json already");
	put("20-b.json", "{\"default_tenant\": null}");
	refused("20-b.json: default_tenant: \"default_tenant\" is defined in 10-a.json already");
	put("20-b.json", "{\"rate_cards\": [" CARD("v1", "2026-01-01") "]}");
	put("30-c.json",
	    "{\"rate_cards\": [" CARD("v0", "2025-01-01") ", " CARD("v1", "2026-02-01") "]}");
	refused("30-c.json: rate_cards[1].version: \"v1\" is a version of \"list\" that is defined "
		"already");
	put("30-c.json", "{\"rate_cards\": [" CARD("v2", "2026-01-01") "]}");
	refused("30-c.json: rate_cards[0].effective_from: \"2026-01-01T00:00:00Z\" is when version "
		"\"v1\" takes effect too");
}

static void a_key_or_a_prefix_has_one_owner_across_files(void **state)
{
	put("10-a.json", "{\"tiers\": {\"t\": {}}, \"tenants\": {\"zeta\": {\"tier\": \"t\","
			 " \"keys\": [\"" KEY_A "\"], \"sources\": [\"10.0.0.0/8\"]}}}");
	put("20-b.json", "{\"tenants\": {\"acme\": {\"tier\": \"t\", \"keys\": [\"" KEY_B
			 "\", \"" KEY_A_UPPER "\"]}}}");
	refused("20-b.json: tenants.acme.keys[1]: \"" KEY_A_UPPER
		"\" is also a key of tenant \"zeta\" (10-a.json)");
	put("20-b.json", "{\"tenants\": {\"acme\": {\"tier\": \"t\", \"sources\": "
			 "[\"10.0.0.0/9\", \"::ffff:10.0.0.0/104\"]}}}");
	refused("20-b.json: tenants.acme.sources[1]: \"::ffff:10.0.0.0/104\" is also a source of "
		"tenant \"zeta\" (10-a.json)");
}

static void a_folder_must_be_there_and_have_a_file(void **state)
{
	struct weir_policy *p = NULL;
	struct weir_error err;
	char text[128];

	assert_int_equal(weir_policy_load("/nonexistent/weir", &p, &err), -ENOENT);
	assert_string_equal(err.text,
			    "/nonexistent/weir: cannot be read: No such file or directory");
	assert_int_equal(weir_policy_load(dir, &p, &err), -ENOENT);
	snprintf(text, sizeof(text), "%s: no *.json file in it", dir);
	assert_string_equal(err.text, text);
	snprintf(text, sizeof(text), "%s/d.json", dir);
	assert_int_equal(mkdir(text, 0700), 0);
	refused("d.json: is not a file");
	assert_null(p);
}

/* -------------------------------------------------------------- the default set */

static void the_default_policies_load(void **state)
{
	struct weir_policy *p = NULL;
	struct weir_error err;
	const struct weir_use use = { .model = "a-model-nobody-knows", .started_ns = UINT64_MAX };
	struct weir_pick pick;

	if (weir_policy_load("policies", &p, &err))
		fail_msg("%s", err.text);
	assert_int_equal(p->n_tiers, 3);
	assert_string_equal(p->tiers[0], "enterprise");
	assert_string_equal(p->tiers[1], "free");
	assert_string_equal(p->tiers[2], "pro");
	assert_true(weir_cards_pick(p->cards, p->n_cards, &use, &pick));
	weir_policy_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(a_tenant_has_its_tiers_limits),
		in_dir(an_absent_or_null_limit_is_none),
		in_dir(burst_is_a_minutes_worth_unless_it_says_otherwise),
		in_dir(an_override_replaces_the_tiers_field_whole),
		in_dir(bodies_and_protocols_have_limits_too),
		in_dir(tenants_and_tiers_are_sorted_and_found_by_name),
		in_dir(keys_and_sources_are_bytes),
		in_dir(a_policy_lives_as_long_as_someone_holds_it),
		in_dir(files_are_one_document),
		in_dir(local_replaces_whole_objects_of_files_before_it),
		in_dir(an_error_in_a_replacing_object_names_the_replacing_file),
		in_dir(two_files_may_not_define_the_same),
		in_dir(a_key_or_a_prefix_has_one_owner_across_files),
		in_dir(a_folder_must_be_there_and_have_a_file),
		cmocka_unit_test(the_default_policies_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
