/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: what every bad one gets told. */
#include "policy_fixture.h"

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
	{ TIER("\"abort\": \"half\""),
	  IN_T "abort: \"half\" is not \"produced\", \"full\" or \"free\"" },
	{ TIER("\"abort\": true"), IN_T "abort: true is not \"produced\", \"full\" or \"free\"" },
	{ TIER("\"abort\": null"), IN_T "abort: null is not \"produced\", \"full\" or \"free\"" },
	{ TIER("\"bill_retries\": \"no\""), IN_T "bill_retries: \"no\" is not true or false" },
	{ TENANT("\"overrides\": {\"bill_cache_hits\": 0}"),
	  IN_A "overrides.bill_cache_hits: 0 is not true or false" },
	{ TIER("\"services\": {\"llm\": {\"abort\": \"free\"}}"),
	  IN_T "services.llm.abort: no such field (value \"free\")" },
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(every_bad_policy_is_told_file_path_and_value),
		in_dir(prefix_lengths_in_use_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
