/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: what a good one says, how files merge, and what every bad one gets told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/policy.h"
#include "agent/price.h"
#include "bpf/weir_abi.h"

#define KEY_A	    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_A_UPPER "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KEY_B	    "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char dir[64];

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/weir-policy-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int remove_dir(void **state)
{
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static struct weir_policy *load(void)
{
	struct weir_policy *p = NULL;
	struct weir_error err;

	if (weir_policy_load(dir, &p, &err))
		fail_msg("%s", err.text);
	return p;
}

static struct weir_policy *load_text(const char *text)
{
	put("10-p.json", text);
	return load();
}

static void refused(const char *error)
{
	struct weir_policy *p = (void *)&dir;
	struct weir_error err;

	assert_int_equal(weir_policy_load(dir, &p, &err), -EINVAL);
	assert_string_equal(err.text, error);
	assert_ptr_equal(p, &dir); /* untouched */
}

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

#define DEGRADES                                                                                   \
	"{\"credit\": \"soft\", \"overage_limit\": \"1\", \"max_input_tokens\": 32768,"            \
	" \"max_output_tokens\": 2147483647, \"on_max_output\": \"refuse\","                       \
	" \"on_exhausted\": \"degrade\", \"fallback_model\": \"small model/1\","                   \
	" \"other_protocols\": \"pass\"}"

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
	assert_ptr_equal(weir_card_at(p->cards, p->n_cards, UINT64_MAX), p->cards[1]);
	assert_string_equal(
		p->json,
		"{\"default_tenant\":null,\"rate_cards\":["
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

/* ------------------------------------------------------------------ every bad case */

#define TIER(fields) "{\"tiers\": {\"t\": {" fields "}}}"
#define TENANT(fields)                                                                             \
	"{\"tiers\": {\"t\": {}}, \"tenants\": {\"a\": {\"tier\": \"t\", " fields "}}}"
/* user below its parent, a team below its own, and org. */
#define PARENTS(of_user, team, of_team, of_org)                                                    \
	"{\"tiers\": {\"t\": {}}, \"tenants\": {\"user\": {\"tier\": \"t\", \"parent\": "          \
	"\"" of_user "\"}, \"" team "\": {\"tier\": \"t\", \"parent\": \"" of_team                 \
	"\"}, \"org\": {\"tier\": \"t\", \"parent\": " of_org "}}}"
#define IN_T		 "10-p.json: tiers.t."
#define IN_A		 "10-p.json: tenants.a."
#define WHOLE(low, high) " is not a whole number from " low " to " high
#define SIXTEEN		 "0123456789abcdef"
#define UNPRINTABLE	 " is not printable ASCII without quotes and backslashes"
#define UNSUPPORTED	 " is not supported by this version (only "

static const struct {
	const char *json, *error;
} bad[] = {
	/* not a policy at all */
	{ "", "10-p.json: line 1, column 0: '[' or '{' expected near end of file" },
	{ "[]", "10-p.json: an array is not an object" },
	{ "{", "10-p.json: line 1, column 1: string or '}' expected near end of file" },
	{ "{\"tiers\": {\"t\": {}}} x",
	  "10-p.json: line 1, column 22: end of file expected near 'x'" },
	/* unknown fields, on every level */
	{ "{\"tires\": {}}",
	  "10-p.json: tires: no such field (value an object; did you mean \"tiers\"?)" },
	{ TIER("\"concurency\": 4"),
	  IN_T "concurency: no such field (value 4; did you mean \"concurrency\"?)" },
	{ TIER("\"zzz\": \"v\""), IN_T "zzz: no such field (value \"v\")" },
	{ TIER("\"requests\": {\"per_hour\": 4}"),
	  IN_T "requests.per_hour: no such field (value 4)" },
	{ TIER("\"tokens\": {\"per_second\": 4}"),
	  IN_T "tokens.per_second: no such field (value 4)" },
	{ TENANT("\"key\": []"),
	  IN_A "key: no such field (value an array; did you mean \"keys\"?)" },
	{ TENANT("\"overrides\": {\"burst\": 1}"),
	  IN_A "overrides.burst: no such field (value 1)" },
	/* wrong types */
	{ "{\"tiers\": []}", "10-p.json: tiers: an array is not an object" },
	{ "{\"tiers\": {\"t\": 3}}", "10-p.json: tiers.t: 3 is not an object" },
	{ TIER("\"concurrency\": \"two\""), IN_T "concurrency: \"two\"" WHOLE("1", "1000000000") },
	{ TIER("\"concurrency\": 1.5"), IN_T "concurrency: 1.5" WHOLE("1", "1000000000") },
	{ TIER("\"concurrency\": true"), IN_T "concurrency: true" WHOLE("1", "1000000000") },
	{ TIER("\"requests\": 60"), IN_T "requests: 60 is not an object" },
	{ TIER("\"shadow\": \"yes\""), IN_T "shadow: \"yes\" is not true or false" },
	{ TIER("\"shadow\": null"), IN_T "shadow: null is not true or false" },
	{ TIER("\"credit\": 3"), IN_T "credit: 3 is not \"none\", \"hard\" or \"soft\"" },
	{ TENANT("\"keys\": {}"), IN_A "keys: an object is not an array" },
	{ TENANT("\"sources\": [3]"), IN_A "sources[0]: 3 is not a string" },
	{ "{\"rate_cards\": {}}", "10-p.json: rate_cards: an object is not an array" },
	{ "{\"unknown_key\": true}",
	  "10-p.json: unknown_key: true is not \"refuse\" or \"default\"" },
	{ "{\"default_tenant\": 3}",
	  "10-p.json: default_tenant: 3 is not a name of 1 to 63 of a-z 0-9 _ -" },
	/* out of bounds */
	{ TIER("\"requests\": {\"per_minute\": -3}"),
	  IN_T "requests.per_minute: -3" WHOLE("1", "1000000000") },
	{ TIER("\"requests\": {\"per_minute\": 0}"),
	  IN_T "requests.per_minute: 0" WHOLE("1", "1000000000") },
	{ TIER("\"requests\": {\"per_minute\": 1e30}"),
	  IN_T "requests.per_minute: 1e30" WHOLE("1", "1000000000") },
	{ TIER("\"requests\": {\"per_minute\": 1000000001}"),
	  IN_T "requests.per_minute: 1000000001" WHOLE("1", "1000000000") },
	{ TIER("\"requests\": {\"per_minute\": 10000000000000000000}"),
	  IN_T "requests.per_minute: line 1, column 64: too big integer near "
	       "'10000000000000000000'" },
	{ TIER("\"requests\": {\"per_minute\": 1e999}"),
	  IN_T "requests.per_minute: line 1, column 49: real number overflow near '1e999'" },
	{ TIER("\"requests\": {\"per_minute\": 60, \"burst\": 4294967296}"),
	  IN_T "requests.burst: 4294967296" WHOLE("1", "4294967295") },
	{ TIER("\"connect_rate\": {\"per_second\": 60, \"burst\": 4294967296}"),
	  IN_T "connect_rate.burst: 4294967296" WHOLE("1", "4294967295") },
	{ TIER("\"requests\": {\"per_second\": 71582789}"),
	  IN_T "requests: needs a \"burst\": a minute's worth is more than 4294967295" },
	{ TIER("\"requests\": {\"per_minute\": 1, \"burst\": 4294967295}"),
	  IN_T "requests.burst: 4294967295 takes more than a hundred years to fill" },
	{ TIER("\"tokens\": {\"per_minute\": 60, \"burst\": 1099511627777}"),
	  IN_T "tokens.burst: 1099511627777" WHOLE("1", "1099511627776") },
	{ TIER("\"tokens\": {\"per_minute\": 1, \"burst\": 1099511627776}"),
	  IN_T "tokens.burst: 1099511627776 takes more than a hundred years to fill" },
	{ TIER("\"half_open\": 0"), IN_T "half_open: 0" WHOLE("1", "65535") },
	{ TIER("\"half_open\": 65536"), IN_T "half_open: 65536" WHOLE("1", "65535") },
	{ TIER("\"half_open\": \"many\""), IN_T "half_open: \"many\"" WHOLE("1", "65535") },
	{ TIER("\"request_cost_cap\": \"0\""),
	  IN_T "request_cost_cap: \"0\" is not from 0.000000001 to 9223372036.854775807" },
	{ TIER("\"request_cost_cap\": 0.5"),
	  IN_T "request_cost_cap: 0.5 is not a decimal string (write it in quotes)" },
	{ TIER("\"request_cost_cap\": \"half\""),
	  IN_T "request_cost_cap: \"half\" is not a decimal string with at most nine decimals" },
	{ TIER("\"connections\": -1"), IN_T "connections: -1" WHOLE("1", "1000000000") },
	{ TIER("\"reserve_input_tokens\": -1"),
	  IN_T "reserve_input_tokens: -1" WHOLE("0", "1000000000") },
	{ TIER("\"reserve_output_tokens\": 4294967296"),
	  IN_T "reserve_output_tokens: 4294967296" WHOLE("0", "1000000000") },
	/* rates */
	{ TIER("\"requests\": {}"), IN_T "requests: has no \"per_minute\"" },
	{ TIER("\"tokens\": {\"burst\": 3}"), IN_T "tokens: has no \"per_minute\"" },
	{ TIER("\"requests\": {\"per_minute\": 60, \"per_second\": 1}"),
	  IN_T "requests: has both \"per_second\" and \"per_minute\"" },
	/* decimals */
	{ TIER("\"credit\": \"soft\", \"overage_limit\": 5"),
	  IN_T "overage_limit: 5 is not a decimal string (write it in quotes)" },
	{ TIER("\"credit\": \"soft\", \"overage_limit\": \"5,0\""),
	  IN_T "overage_limit: \"5,0\" is not a decimal string with at most nine decimals" },
	{ TIER("\"credit\": \"soft\", \"overage_limit\": \"0.0000000001\""), IN_T
	  "overage_limit: \"0.0000000001\" is not a decimal string with at most nine decimals" },
	{ TIER("\"credit\": \"soft\", \"overage_limit\": \"-5\""),
	  IN_T "overage_limit: \"-5\" is not from 0 to 9223372036.854775807" },
	{ TIER("\"credit\": \"soft\", \"overage_limit\": \"9223372037\""),
	  IN_T "overage_limit: \"9223372037\" is not from 0 to 9223372036.854775807" },
	{ TIER("\"credit\": \"hard\", \"overage_limit\": \"5\""),
	  IN_T "overage_limit: \"5\" has no effect unless credit is \"soft\"" },
	{ TIER("\"tokens\": {\"per_minute\": 1, \"cached_weight\": \"1.1\"}"),
	  IN_T "tokens.cached_weight: \"1.1\" is not from 0 to 1" },
	{ TIER("\"tokens\": {\"per_minute\": 1, \"cached_weight\": \"0.1234567\"}"),
	  IN_T "tokens.cached_weight: \"0.1234567\" has more than six decimals" },
	/* words */
	{ TIER("\"credit\": \"firm\""),
	  IN_T "credit: \"firm\" is not \"none\", \"hard\" or \"soft\"" },
	{ TIER("\"on_limit\": \"queue\""),
	  IN_T "on_limit: \"queue\" is not \"reject\" or \"drop\"" },
	{ TIER("\"on_agent_down\": \"die\""),
	  IN_T "on_agent_down: \"die\" is not \"hold\", \"open\" or \"closed\"" },
	/* bodies and protocols */
	{ TIER("\"max_output_tokens\": 0"), IN_T "max_output_tokens: 0" WHOLE("1", "2147483647") },
	{ TIER("\"max_input_tokens\": 2147483648"),
	  IN_T "max_input_tokens: 2147483648" WHOLE("1", "2147483647") },
	{ TIER("\"max_input_tokens\": \"many\""),
	  IN_T "max_input_tokens: \"many\"" WHOLE("1", "2147483647") },
	{ TENANT("\"overrides\": {\"max_output_tokens\": -1}"),
	  IN_A "overrides.max_output_tokens: -1" WHOLE("1", "2147483647") },
	{ TIER("\"on_max_output\": \"cut\""),
	  IN_T "on_max_output: \"cut\" is not \"rewrite\" or \"refuse\"" },
	{ TIER("\"other_protocols\": true"),
	  IN_T "other_protocols: true is not \"refuse\" or \"pass\"" },
	{ TIER("\"on_exhausted\": \"fallback\""),
	  IN_T "on_exhausted: \"fallback\" is not \"reject\" or \"degrade\"" },
	{ TIER("\"credit\": \"hard\", \"on_exhausted\": \"degrade\""),
	  IN_T "on_exhausted: \"degrade\" needs a \"fallback_model\"" },
	{ TIER("\"credit\": \"hard\", \"on_exhausted\": \"degrade\", \"fallback_model\": null"),
	  IN_T "on_exhausted: \"degrade\" needs a \"fallback_model\"" },
	{ TIER("\"on_exhausted\": \"degrade\", \"fallback_model\": \"m\""),
	  IN_T "on_exhausted: \"degrade\" has no effect unless credit is \"hard\" or \"soft\"" },
	{ TENANT("\"overrides\": {\"on_exhausted\": \"degrade\", \"fallback_model\": \"m\"}"),
	  IN_A "overrides.on_exhausted: \"degrade\" has no effect unless credit is \"hard\" or "
	       "\"soft\"" },
	{ "{\"tiers\": {\"t\": " DEGRADES
	  "}, \"tenants\": {\"a\": {\"tier\": \"t\", \"overrides\": {\"fallback_model\": null}}}}",
	  IN_A "overrides.fallback_model: null leaves the tier's \"on_exhausted\" \"degrade\" "
	       "without a model" },
	{ TIER("\"fallback_model\": \"\""),
	  IN_T "fallback_model: \"\" is not a string of 1 to 63 bytes" },
	{ TIER("\"fallback_model\": \"" SIXTEEN SIXTEEN SIXTEEN SIXTEEN "\""),
	  IN_T "fallback_model: \"" SIXTEEN SIXTEEN SIXTEEN SIXTEEN
	       "\" is not a string of 1 to 63 bytes" },
	{ TIER("\"fallback_model\": 7"), IN_T "fallback_model: 7 is not a string" },
	{ TIER("\"fallback_model\": \"a\\\"b\""), IN_T "fallback_model: \"a\\\"b\"" UNPRINTABLE },
	{ TIER("\"fallback_model\": \"a\\\\b\""), IN_T "fallback_model: \"a\\\\b\"" UNPRINTABLE },
	{ TIER("\"fallback_model\": \"a\\tb\""), IN_T "fallback_model: \"a\\tb\"" UNPRINTABLE },
	{ TIER("\"fallback_model\": \"\xc3\xa4\""),
	  IN_T "fallback_model: \"\xc3\xa4\"" UNPRINTABLE },
	/* named in the design, not enforced yet */
	{ TENANT("\"wallet\": \"parent\""), IN_A "wallet: \"parent\"" UNSUPPORTED "\"self\" is)" },
	{ "{\"rate_cards\": [{\"name\": \"vip\", \"version\": \"v1\", \"effective_from\": "
	  "\"2026-01-01T00:00:00Z\", \"models\": [{\"match\": \"a\", \"price\": {\"input\": "
	  "\"1\"}}]}]}",
	  "10-p.json: rate_cards[0].name: \"vip\"" UNSUPPORTED "\"list\" is)" },
	/* names */
	{ "{\"tiers\": {\"Free Tier\": {}}}", "10-p.json: tiers[\"Free Tier\"]: \"Free Tier\" is "
					      "not a name of 1 to 63 of a-z 0-9 _ -" },
	{ "{\"tiers\": {\"t\": {}}, \"tenants\": {\"a.b\": {\"tier\": \"t\"}}}",
	  "10-p.json: tenants[\"a.b\"]: \"a.b\" is not a name of 1 to 63 of a-z 0-9 _ -" },
	{ "{\"tiers\": {\"\": {}}}",
	  "10-p.json: tiers[\"\"]: \"\" is not a name of 1 to 63 of a-z 0-9 _ -" },
	/* tenants */
	{ "{\"tenants\": {\"a\": {}}}", "10-p.json: tenants.a: has no \"tier\"" },
	{ "{\"tiers\": {\"gold\": {}}, \"tenants\": {\"a\": {\"tier\": \"glod\"}}}",
	  IN_A "tier: \"glod\" is not a tier (did you mean \"gold\"?)" },
	{ "{\"tenants\": {\"a\": {\"tier\": \"gold\"}}}", IN_A "tier: \"gold\" is not a tier" },
	{ "{\"tiers\": {\"t\": {}}, \"tenants\": {\"acme\": {\"tier\": \"t\"}}, "
	  "\"default_tenant\": "
	  "\"acmee\"}",
	  "10-p.json: default_tenant: \"acmee\" is not a tenant (did you mean \"acme\"?)" },
	{ "{\"unknown_key\": \"default\"}",
	  "10-p.json: unknown_key: \"default\" needs a \"default_tenant\"" },
	/* limits of services */
	{ TIER("\"services\": []"), IN_T "services: an array is not an object" },
	{ TIER("\"services\": {\"embed\": 2}"), IN_T "services.embed: 2 is not an object" },
	{ TIER("\"services\": {\"Em bed\": {}}"),
	  IN_T "services[\"Em bed\"]: \"Em bed\" is not a name of 1 to 63 of a-z 0-9 _ -" },
	{ TIER("\"services\": {\"a@b\": {}}"),
	  IN_T "services[\"a@b\"]: \"a@b\" is not a name of 1 to 63 of a-z 0-9 _ -" },
	{ TIER("\"services\": {\"embed\": {\"credit\": \"hard\"}}"),
	  IN_T "services.embed.credit: no such field (value \"hard\")" },
	{ TIER("\"services\": {\"embed\": {\"concurency\": 2}}"),
	  IN_T "services.embed.concurency: no such field (value 2; did you mean "
	       "\"concurrency\"?)" },
	{ TIER("\"services\": {\"embed\": {\"services\": {}}}"),
	  IN_T "services.embed.services: no such field (value an object)" },
	{ TENANT("\"overrides\": {\"services\": {\"embed\": {\"concurrency\": 0}}}"),
	  IN_A "overrides.services.embed.concurrency: 0" WHOLE("1", "1000000000") },
	{ TIER("\"services\": {\"embed\": {\"shadow\": null}}"),
	  IN_T "services.embed.shadow: null is not true or false" },
	/* parents */
	{ TENANT("\"parent\": \"org\""), IN_A "parent: \"org\" is not a tenant" },
	{ TENANT("\"parent\": 3"), IN_A "parent: 3 is not a name of 1 to 63 of a-z 0-9 _ -" },
	{ TENANT("\"parent\": \"a@b\""),
	  IN_A "parent: \"a@b\" is not a name of 1 to 63 of a-z 0-9 _ -" },
	{ TENANT("\"parent\": \"a\""), IN_A "parent: \"a\" leads in a circle: a -> a" },
	{ PARENTS("team-b", "team-a", "org", "null"),
	  "10-p.json: tenants.user.parent: \"team-b\" is not a tenant (did you mean "
	  "\"team-a\"?)" },
	{ PARENTS("team-a", "team-a", "org", "\"user\""),
	  "10-p.json: tenants.org.parent: \"user\" leads in a circle: org -> user -> team-a -> "
	  "org" },
	{ PARENTS("team-a", "team-a", "org", "\"team-a\""),
	  "10-p.json: tenants.org.parent: \"team-a\" leads in a circle: org -> team-a -> org" },
	/* keys: what may be a key is never shown */
	{ TENANT("\"keys\": [\"sk-secret\"]"), IN_A
	  "keys[0]: is not \"sha256:\" and 64 hex digits (the value is not shown: it might be a "
	  "key)" },
	{ TENANT("\"keys\": [\"" KEY_B "\", \"" KEY_A "0\"]"), IN_A
	  "keys[1]: is not \"sha256:\" and 64 hex digits (the value is not shown: it might be a "
	  "key)" },
	{ TENANT("\"keys\": [3]"), IN_A
	  "keys[0]: is not \"sha256:\" and 64 hex digits (the value is not shown: it might be a "
	  "key)" },
	{ TENANT("\"keys\": [\"" KEY_A "\", \"" KEY_A_UPPER "\"]"),
	  IN_A "keys[1]: \"" KEY_A_UPPER "\" is listed twice" },
	/* sources */
	{ TENANT("\"sources\": [\"10.1.0.1/16\"]"),
	  IN_A "sources[0]: \"10.1.0.1/16\" has bits set past its prefix length" },
	{ TENANT("\"sources\": [\"2001:db8::1/64\"]"),
	  IN_A "sources[0]: \"2001:db8::1/64\" has bits set past its prefix length" },
	{ TENANT("\"sources\": [\"10.1.0.0\"]"),
	  IN_A "sources[0]: \"10.1.0.0\" is not a prefix such as \"10.1.0.0/16\" or "
	       "\"2001:db8::/32\"" },
	{ TENANT("\"sources\": [\"10.1.0.0/33\"]"),
	  IN_A "sources[0]: \"10.1.0.0/33\" is not a prefix such as \"10.1.0.0/16\" or "
	       "\"2001:db8::/32\"" },
	{ TENANT("\"sources\": [\"::/129\"]"),
	  IN_A "sources[0]: \"::/129\" is not a prefix such as \"10.1.0.0/16\" or "
	       "\"2001:db8::/32\"" },
	{ TENANT("\"sources\": [\"10.1/16\"]"),
	  IN_A "sources[0]: \"10.1/16\" is not a prefix such as \"10.1.0.0/16\" or "
	       "\"2001:db8::/32\"" },
	{ TENANT("\"sources\": [\"10.1.0.0/+8\"]"),
	  IN_A "sources[0]: \"10.1.0.0/+8\" is not a prefix such as \"10.1.0.0/16\" or "
	       "\"2001:db8::/32\"" },
	{ TENANT("\"sources\": [\"10.0.0.0/8\", \"10.0.0.0/8\"]"),
	  IN_A "sources[1]: \"10.0.0.0/8\" is listed twice" },
	/* duplicate JSON keys, on every level; what looks like structure in strings is not */
	{ "{\"tiers\": {\"t\": {}, \"t\": {}}}",
	  "10-p.json: tiers.t: line 1, column 23: duplicate object key near '\"t\"'" },
	{ "{\"tiers\": {}, \"tiers\": {}}",
	  "10-p.json: tiers: line 1, column 21: duplicate object key near '\"tiers\"'" },
	{ TENANT("\"keys\": [\"{[,\\\"\", {\"a\": 1, \"a\": 2}]"),
	  IN_A "keys[1].a: line 1, column 82: duplicate object key near '\"a\"'" },
	/* rate cards: test_price.c has the rest; here the file is named */
	{ "{\"rate_cards\": [{\"version\": \"v1\", \"effective_from\": \"2026-01-01T00:00:00Z\", "
	  "\"models\": []}]}",
	  "10-p.json: rate_cards[0].models: 0 elements, at least 1 must be there" },
	{ "{\"rate_cards\": [{\"version\": \"v1\", \"effective_from\": \"2026-01-01T00:00:00Z\", "
	  "\"models\": [{\"match\": \"a\", \"price\": {\"input\": \"1.0000000001\"}}]}]}",
	  "10-p.json: rate_cards[0].models[0].price.input: \"1.0000000001\" is not a decimal "
	  "string "
	  "with at most nine decimals" },
};

static void every_bad_policy_is_told_file_path_and_value(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put("10-p.json", bad[i].json);
		refused(bad[i].error);
	}
}

static void prefix_lengths_in_use_are_bounded(void **state)
{
	char text[8192];
	size_t n = (size_t)sprintf(text, "{\"tiers\": {\"t\": {}}, \"tenants\": {\"a\": {\"tier\": "
					 "\"t\", \"sources\": [");

	for (int i = 0; i <= WEIR_MAX_PREFIX_LENS; i++)
		n += (size_t)sprintf(text + n, "%s\"::/%d\"", i ? ", " : "", i);
	sprintf(text + n, "]}}}");
	put("10-p.json", text);
	refused(IN_A "sources[64]: \"::/64\" is one prefix length too many: 64 may be in use");
}

/* -------------------------------------------------------------- the default set */

static void the_default_policies_load(void **state)
{
	struct weir_policy *p = NULL;
	struct weir_error err;
	const struct weir_card *card;

	if (weir_policy_load("policies", &p, &err))
		fail_msg("%s", err.text);
	assert_int_equal(p->n_tiers, 3);
	assert_string_equal(p->tiers[0], "enterprise");
	assert_string_equal(p->tiers[1], "free");
	assert_string_equal(p->tiers[2], "pro");
	card = weir_card_at(p->cards, p->n_cards, UINT64_MAX);
	assert_non_null(card);
	assert_true(weir_card_entry(card, "a-model-nobody-knows") >= 0);
	weir_policy_unref(p);
}

#define in_dir(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(a_tenant_has_its_tiers_limits),
		in_dir(an_absent_or_null_limit_is_none),
		in_dir(burst_is_a_minutes_worth_unless_it_says_otherwise),
		in_dir(an_override_replaces_the_tiers_field_whole),
		in_dir(bodies_and_protocols_have_limits_too),
		in_dir(half_open_and_the_cost_cap),
		in_dir(a_service_can_have_limits_of_its_own),
		in_dir(an_override_replaces_the_limits_of_a_service_whole),
		in_dir(a_service_is_in_shadow_when_its_tenant_is),
		in_dir(a_tenant_may_have_two_above_it),
		in_dir(tenants_and_tiers_are_sorted_and_found_by_name),
		in_dir(keys_and_sources_are_bytes),
		in_dir(a_policy_lives_as_long_as_someone_holds_it),
		in_dir(files_are_one_document),
		in_dir(local_replaces_whole_objects_of_files_before_it),
		in_dir(an_error_in_a_replacing_object_names_the_replacing_file),
		in_dir(two_files_may_not_define_the_same),
		in_dir(a_key_or_a_prefix_has_one_owner_across_files),
		in_dir(a_folder_must_be_there_and_have_a_file),
		in_dir(every_bad_policy_is_told_file_path_and_value),
		in_dir(prefix_lengths_in_use_are_bounded),
		cmocka_unit_test(the_default_policies_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
