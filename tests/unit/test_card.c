// SPDX-License-Identifier: Apache-2.0
/* Claims about reading rate cards: what is one, what is the same one, and what is none. */
#include "tests/unit/price_fixture.h"

/* ---------------------------------------------------------------- text, identity */

static struct weir_card *parsed(const char *json)
{
	struct weir_card *c = NULL;
	struct weir_error err;

	if (weir_card_parse(json, "x", &c, &err))
		fail_msg("%s", err.text);
	return c;
}

static void a_card_is_the_same_however_it_is_written(void **state)
{
	struct weir_card *a =
		parsed("{\"name\": \"list\", \"version\": \"v1\", \"effective_from\": "
		       "\"2026-11-01T00:00:00Z\", \"models\": [{\"match\": \"a\", \"price\": "
		       "{\"input\": \"1\", \"per\": 1}}]}");
	struct weir_card *b = parsed(
		"{ \"models\": [ {\"price\": {\"per\": 1, \"input\": \"1\"}, \"match\":"
		"\"a\"}],\n\"effective_from\": \"2026-11-01T00:00:00Z\",\"version\":\"v1\"}");
	struct weir_card *other = parsed(
		"{ \"models\": [ {\"price\": {\"per\": 1, \"input\": \"2\"}, \"match\":"
		"\"a\"}],\n\"effective_from\": \"2026-11-01T00:00:00Z\",\"version\":\"v1\"}");
	struct weir_card *again = parsed(a->json);

	assert_string_equal(
		a->json,
		"{\"effective_from\":\"2026-11-01T00:00:00Z\",\"models\":[{\"match\":\"a\","
		"\"price\":{\"input\":\"1\",\"per\":1}}],\"name\":\"list\",\"version\":"
		"\"v1\"}");
	assert_string_equal(a->json, b->json);
	assert_memory_equal(a->sha256, b->sha256, 32);
	assert_string_equal(a->json, again->json);
	assert_memory_not_equal(a->sha256, other->sha256, 32);
	assert_string_equal(b->name, "list");
	assert_string_equal(a->version, "v1");
	assert_true(a->effective_from_ns == 1793491200000000000u);
	assert_int_equal(a->scope, WEIR_SCOPE_ALL);
	assert_null(a->scope_names);
	assert_string_equal(a->currency, "");
	assert_true(a->credit_price_nano == 0);
	assert_true(a->margin_floor_milli == INT64_MIN);
	weir_card_free(a);
	weir_card_free(b);
	weir_card_free(other);
	weir_card_free(again);
	weir_card_free(NULL);
}

static void a_card_says_for_whom_it_is_and_what_a_credit_costs(void **state)
{
	struct weir_card *c = card_of("\"name\": \"vip\", \"tenants\": [\"zeta\", \"acme\"],"
				      "\"currency\": \"EUR\", \"credit_price\": \"0.01\","
				      "\"margin_floor\": \"-0.125\"",
				      "{\"match\": \"*\", \"price\": {\"input\": \"1\"}}");

	assert_string_equal(c->name, "vip");
	assert_int_equal(c->scope, WEIR_SCOPE_TENANT);
	assert_string_equal(c->scope_names[0], "acme"); /* sorted */
	assert_string_equal(c->scope_names[1], "zeta");
	assert_null(c->scope_names[2]);
	assert_string_equal(c->currency, "EUR");
	assert_true(c->credit_price_nano == nano("0.01"));
	assert_int_equal(c->margin_floor_milli, -125);
	assert_int_equal(c->n_entries, 1);
	weir_card_free(c);
}

/* Counters hang on it: it must not change with what an entry costs or where it stands. */
static void the_key_of_an_entry_is_its_conditions(void **state)
{
	static const struct {
		const char *entry, *key;
	} cases[] = {
		{ "\"match\": \"llama*\"", "match=llama*" },
		{ "\"match\": \"default\"", "match=default" },
		{ "\"match\": \"*\"", "match=default" },
		{ "\"match\": \"default\", \"status\": 404", "match=default status=404" },
		{ "\"path\": \"/v1/x\", \"status\": \"2xx\"", "path=/v1/x status=2xx" },
		{ "\"path\": \"/v1/x\", \"match\": \"*\"", "path=/v1/x" },
		{ "\"path\": \"/v1/x\", \"match\": \"m\"", "match=m path=/v1/x" },
		{ "\"match\": \"a path=/b\"", "match=a\\x20path=/b" },
		{ "\"match\": \"a\\\\x\"", "match=a\\x5cx" },
		{ "\"match\": \"a|b\"", "match=a\\x7cb" },
	};
	struct weir_card *c = card_with("{\"meter\": \"gpu\", \"match\": \"h100\","
					" \"price\": {\"unit\": \"1\"}}");
	char json[256];

	assert_string_equal(weir_card_entry_key(c, 0), "match=h100 meter=gpu");
	weir_card_free(c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(json, sizeof(json), "{%s, \"price\": {\"request\": \"1\"}}",
			 cases[i].entry);
		c = card_with(json);
		assert_string_equal(weir_card_entry_key(c, 0), cases[i].key);
		weir_card_free(c);
	}
}

/* ------------------------------------------------------------------- what is none */

static void is_refused(const char *json, const char *error)
{
	struct weir_card *c = NULL;
	struct weir_error err;

	assert_int_equal(weir_card_parse(json, "t: rate_cards[0]", &c, &err), -EINVAL);
	assert_string_equal(err.text, error);
	assert_null(c);
}

#define HEAD "{\"version\": \"v1\", \"effective_from\": \"2026-11-01T00:00:00Z\", \"models\": "

static void what_is_no_card_is_refused_with_place_and_value(void **state)
{
	static const struct {
		const char *json, *error;
	} bad[] = {
		{ "[]", "t: rate_cards[0]: an array is not an object" },
		{ "{\"version\": \"v1\"",
		  "t: rate_cards[0]: version: line 1, column 16: '}' expected near end of file" },
		{ "{\"effective_from\": \"2026-11-01T00:00:00Z\", \"models\": []}",
		  "t: rate_cards[0]: has no \"version\"" },
		{ "{\"version\": \"v 1\", \"effective_from\": \"x\", \"models\": []}",
		  "t: rate_cards[0].version: \"v 1\" is not a version of a-z A-Z 0-9 . _ -" },
		{ "{\"version\": \"v1\", \"effective_from\": \"soon\", \"models\": []}",
		  "t: rate_cards[0].effective_from: \"soon\" is not a time such as "
		  "\"2026-11-01T00:00:00Z\" (RFC 3339)" },
		{ HEAD "[]}", "t: rate_cards[0].models: 0 elements, at least 1 must be there" },
		{ HEAD "{}}", "t: rate_cards[0].models: an object is not an array" },
		{ HEAD "[{\"match\": \"a\", \"price\": {\"input\": \"1\", \"input\": \"2\"}}]}",
		  "t: rate_cards[0]: models[0].price.input: line 1, column 117: duplicate object "
		  "key near '\"input\"'" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is_refused(bad[i].json, bad[i].error);
}

static void what_holds_for_all_of_a_card_is_checked(void **state)
{
	static const struct {
		const char *fields, *error;
	} bad[] = {
		{ "\"tenants\": [\"a\"], \"tiers\": [\"b\"]",
		  ".tiers: a card is for \"tenants\" or \"tiers\", not for both" },
		{ "\"tenants\": []", ".tenants: 0 elements, at least 1 must be there" },
		{ "\"tenants\": \"a\"", ".tenants: \"a\" is not an array" },
		{ "\"services\": [\"L\"]",
		  ".services[0]: \"L\" is not a name of 1 to 63 of a-z 0-9 _ -" },
		{ "\"tiers\": [\"b\", \"a\", \"b\"]", ".tiers: has \"b\" twice" },
		{ "\"currency\": \"usd\", \"credit_price\": \"1\"",
		  ".currency: \"usd\" is not a currency of three letters (\"USD\")" },
		{ "\"currency\": \"USD\"",
		  ": has a \"currency\" and no \"credit_price\", which says what a credit costs in "
		  "it" },
		{ "\"credit_price\": \"1\"", ".credit_price: \"1\" is of no \"currency\"" },
		{ "\"currency\": \"USD\", \"credit_price\": \"0\"",
		  ".credit_price: \"0\" is not from 0.000000001 to 9223372036.854775807" },
		{ "\"cost_unit\": \"currency\"",
		  ".cost_unit: \"currency\" needs a \"credit_price\"" },
		{ "\"cost_unit\": \"cent\"",
		  ".cost_unit: \"cent\" is not \"credit\" or \"currency\"" },
		{ "\"margin_floor\": \"0.1234\"",
		  ".margin_floor: \"0.1234\" has more than three decimals" },
		{ "\"margin_floor\": \"1.1\"", ".margin_floor: \"1.1\" is not from -1000000 to 1" },
		{ "\"margin_floor\": \"NaN\"", ".margin_floor: \"NaN\" is not a decimal string "
					       "with at most nine decimals" },
		{ "\"discounts\": {\"pro\": \"1.001\"}",
		  ".discounts.pro: \"1.001\" is not from 0 to 1" },
		{ "\"discounts\": {\"pro\": \"0.0001\"}",
		  ".discounts.pro: \"0.0001\" has more than three decimals" },
		{ "\"discounts\": {\"Pro\": \"0.1\"}",
		  ".discounts.Pro: is not the name of a tier" },
		{ "\"discounts\": [\"0.1\"]", ".discounts: an array is not an object" },
		{ "\"discount\": {}", ".discount: no such field (value an object; did you mean "
				      "\"discounts\"?)" },
	};
	char json[512], error[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(json, sizeof(json),
			 "{\"version\": \"v1\", \"effective_from\": \"2026-11-01T00:00:00Z\", %s, "
			 "\"models\": [{\"match\": \"a\", \"price\": {\"input\": \"1\"}}]}",
			 bad[i].fields);
		snprintf(error, sizeof(error), "t: rate_cards[0]%s", bad[i].error);
		is_refused(json, error);
	}
}

#define PRICE ", \"price\": {\"request\": \"1\"}"

static void an_entry_is_checked(void **state)
{
	static const struct {
		const char *entry, *error;
	} bad[] = {
		/* conditions */
		{ "\"price\": {\"input\": \"1\"}", ": has no \"match\", \"path\" or \"meter\"" },
		{ "\"status\": 200" PRICE, ": has no \"match\", \"path\" or \"meter\"" },
		{ "\"match\": \"\"" PRICE, ".match: \"\" is not a string of 1 to 127 bytes" },
		{ "\"match\": 5" PRICE, ".match: 5 is not a string" },
		{ "\"path\": \"v1/x\"" PRICE,
		  ".path: \"v1/x\" does not begin with \"/\", as every path does" },
		{ "\"path\": "
		  "\"/23456789/23456789/23456789/23456789/23456789/23456789/23456789\"" PRICE,
		  ".path: \"/23456789/23456789/23456789/23456789/23456789/23456789/23456789\" is "
		  "not a string of 1 to "
		  "62 bytes" },
		{ "\"path\": \"/\", \"status\": 100" PRICE,
		  ".status: 100 is not a whole number from 200 to 599" },
		{ "\"path\": \"/\", \"status\": \"20x\"" PRICE,
		  ".status: \"20x\" is not \"2xx\", \"3xx\", \"4xx\" or \"5xx\"" },
		{ "\"path\": \"/\", \"status\": 200.5" PRICE,
		  ".status: 200.5 is not a whole number from 200 to 599" },
		{ "\"meter\": \"Storage\", \"price\": {\"unit\": \"1\"}",
		  ".meter: \"Storage\" is not a name of 1 to 63 of a-z 0-9 _ -" },
		{ "\"meter\": \"a23456789_123456789_123456789_123456789_12345678\", \"price\": "
		  "{\"unit\": \"1\"}",
		  ".meter: \"a23456789_123456789_123456789_123456789_12345678\" is longer than 47 "
		  "bytes" },
		{ "\"meter\": \"gb\", \"path\": \"/\", \"price\": {\"unit\": \"1\"}",
		  ".path: an entry with \"meter\" has none: it is about no request" },
		{ "\"meter\": \"gb\", \"bands\": [], \"price\": {\"unit\": \"1\"}",
		  ".bands: an entry with \"meter\" has none: it is about no request" },
		{ "\"match\": \"a\", \"unit\": \"report\"" PRICE,
		  ".unit: \"report\" needs a \"path\": which answers are one" },
		/* prices */
		{ "\"match\": \"a\"", ": has no \"price\"" },
		{ "\"match\": \"a\", \"cost\": {\"input\": \"1\"}", ": has no \"price\"" },
		{ "\"match\": \"a\", \"price\": {}",
		  ".price: prices nothing (what is free says \"input\": \"0\")" },
		{ "\"match\": \"a\", \"price\": {\"per\": 5}",
		  ".price: prices nothing (what is free says \"input\": \"0\")" },
		{ "\"match\": \"a\", \"price\": {\"input\": 0.5}",
		  ".price.input: 0.5 is not a decimal string (write it in quotes)" },
		{ "\"match\": \"a\", \"price\": {\"input\": \"1e3\"}",
		  ".price.input: \"1e3\" is not a decimal string with at most nine decimals" },
		{ "\"match\": \"a\", \"price\": {\"input\": \"-1\"}",
		  ".price.input: \"-1\" is not from 0 to 9223372036.854775807" },
		{ "\"match\": \"a\", \"price\": {\"input\": \"9223372037\"}",
		  ".price.input: \"9223372037\" is not from 0 to 9223372036.854775807" },
		{ "\"match\": \"a\", \"price\": {\"input\": \"1\", \"per\": 0}",
		  ".price.per: 0 is not a whole number from 1 to 1000000000" },
		{ "\"match\": \"a\", \"price\": {\"unit\": \"1\"}",
		  ".price.unit: no such field (value \"1\")" },
		{ "\"meter\": \"gb\", \"price\": {\"request\": \"1\"}",
		  ".price.request: no such field (value \"1\")" },
		{ "\"path\": \"/\", \"unit\": \"report\", \"price\": {\"output\": \"1\"}",
		  ".price.output: no such field (value \"1\")" },
		{ "\"match\": \"a\", \"price\": {\"input\": \"1\"}, \"cost\": {\"inptu\": \"1\"}",
		  ".cost.inptu: no such field (value \"1\"; did you mean \"input\"?)" },
		{ "\"match\": \"a\", \"price\": {\"input\": \"1\"}, \"cost\": {\"input\": "
		  "{\"steps\": [{\"price\": \"1\"}]}}",
		  ".cost.input: an object is not a decimal string with at most nine decimals" },
		/* markup */
		{ "\"match\": \"a\", \"markup\": \"0.4\"", ".markup: \"0.4\" is over no \"cost\"" },
		{ "\"match\": \"a\", \"markup\": \"0.4\", \"cost\": {\"input\": \"1\"}" PRICE,
		  ".markup: \"0.4\" is beside a \"price\": say one of them" },
		{ "\"match\": \"a\", \"markup\": \"-1.5\", \"cost\": {\"input\": \"1\"}",
		  ".markup: \"-1.5\" is not from -1 to 9999" },
		{ "\"match\": \"a\", \"markup\": \"0.4\", \"multiplier\": \"2\", \"cost\": "
		  "{\"input\": \"1\"}",
		  ".multiplier: \"2\" is beside a \"markup\": multiply it into that" },
		{ "\"path\": \"/\", \"unit\": \"x\", \"markup\": \"0.4\", \"cost\": {\"input\": "
		  "\"1\"}",
		  ".markup: \"0.4\" is beside a \"unit\", which has a price per request" },
		{ "\"match\": \"a\", \"multiplier\": \"1.2345\"" PRICE,
		  ".multiplier: \"1.2345\" has more than three decimals" },
		{ "\"match\": \"a\", \"multiplier\": \"10000.001\"" PRICE,
		  ".multiplier: \"10000.001\" is not from 0 to 10000" },
		/* bands */
		{ "\"match\": \"a\", \"bands\": []" PRICE,
		  ".bands: 0 elements, at least 1 must be there" },
		{ "\"match\": \"a\", \"bands\": [{\"up_to\": 5, \"multiplier\": \"1\"}]" PRICE,
		  ".bands[0].up_to: 5 bounds the last band, which has to have no end" },
		{ "\"match\": \"a\", \"bands\": [{\"multiplier\": \"1\"}, {\"multiplier\": "
		  "\"1\"}]" PRICE,
		  ".bands[0]: has no \"up_to\", and bands behind it" },
		{ "\"match\": \"a\", \"bands\": [{\"up_to\": 5, \"multiplier\": \"1\"}, "
		  "{\"up_to\": "
		  "5, \"multiplier\": \"1\"}, {\"multiplier\": \"1\"}]" PRICE,
		  ".bands[1].up_to: 5 is not above the band before it" },
		{ "\"match\": \"a\", \"bands\": [{}]" PRICE, ".bands[0]: has no \"multiplier\"" },
		{ "\"match\": \"a\", \"bands\": [{\"multiplier\": 1.8}]" PRICE,
		  ".bands[0].multiplier: 1.8 is not a decimal string (write it in quotes)" },
		{ "\"path\": \"/\", \"unit\": \"x\", \"bands\": [{\"multiplier\": \"1\"}]" PRICE,
		  ".bands: an entry with \"unit\" is priced whatever its tokens" },
		{ "\"match\": \"a\", \"bands\": [{\"multiplier\": \"1\"}], \"price\": {\"output\": "
		  "{\"mode\": \"volume\", \"steps\": [{\"price\": \"1\"}]}}",
		  ".bands: stand beside steps by volume (output): a month's volume has no one "
		  "band" },
	};
	char json[512], error[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(json, sizeof(json), HEAD "[{%s}]}", bad[i].entry);
		snprintf(error, sizeof(error), "t: rate_cards[0].models[0]%s", bad[i].error);
		is_refused(json, error);
	}
}

static void steps_are_checked(void **state)
{
	static const struct {
		const char *input, *error;
	} bad[] = {
		{ "{}", ": has no \"steps\"" },
		{ "{\"steps\": []}", ".steps: 0 elements, at least 1 must be there" },
		{ "{\"steps\": [{\"up_to\": 5, \"price\": \"1\"}]}",
		  ".steps[0].up_to: 5 bounds the last step, which has to have no end" },
		{ "{\"steps\": [{\"price\": \"1\"}, {\"price\": \"1\"}]}",
		  ".steps[0]: has no \"up_to\", and steps behind it" },
		{ "{\"steps\": [{\"up_to\": 5, \"price\": \"1\"}, {\"up_to\": 5, \"price\": \"1\"},"
		  " {\"price\": \"1\"}]}",
		  ".steps[1].up_to: 5 is not above the step before it" },
		{ "{\"steps\": [{\"up_to\": 0, \"price\": \"1\"}, {\"price\": \"1\"}]}",
		  ".steps[0].up_to: 0 is not a whole number from 1 to 1000000000000000" },
		{ "{\"steps\": [{}]}", ".steps[0]: has no \"price\"" },
		{ "{\"steps\": [{\"price\": \"x\"}]}",
		  ".steps[0].price: \"x\" is not a decimal string with at most nine decimals" },
		{ "{\"steps\": [{\"price\": \"1\"}], \"mode\": \"flat\"}",
		  ".mode: \"flat\" is not \"graduated\" or \"volume\"" },
		{ "{\"steps\": [{\"price\": \"1\"}], \"pool\": \"\"}",
		  ".pool: \"\" is not a name of 1 to 63 of a-z 0-9 _ -" },
	};
	char json[8192], error[512];
	size_t n;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(json, sizeof(json),
			 HEAD "[{\"match\": \"a\", \"price\": {\"input\": %s}}]}", bad[i].input);
		snprintf(error, sizeof(error), "t: rate_cards[0].models[0].price.input%s",
			 bad[i].error);
		is_refused(json, error);
	}
	is_refused(
		HEAD "[{\"meter\": \"gb\", \"price\": {\"unit\": {\"steps\": [{\"up_to\":"
		     " 9000000001, \"price\": \"1\"}, {\"price\": \"1\"}]}}}]}",
		"t: rate_cards[0].models[0].price.unit.steps[0].up_to: 9000000001 is not a whole "
		"number from 1 to 9000000000");
	/* 59 ends of steps and the five kinds of input: 64 lines at most; one more is too many. */
	for (int steps = 60; steps <= 61; steps++) {
		struct weir_card *c = NULL;
		struct weir_error err;

		n = (size_t)snprintf(json, sizeof(json),
				     HEAD "[{\"match\": \"a\", \"price\": "
					  "{\"input\": {\"steps\": [");
		for (int i = 1; i < steps; i++)
			n += (size_t)snprintf(json + n, sizeof(json) - n,
					      "{\"up_to\": %d, \"price\": \"1\"},", i);
		snprintf(json + n, sizeof(json) - n, "{\"price\": \"1\"}]}}}]}");
		if (steps == 60) {
			assert_int_equal(weir_card_parse(json, "t", &c, &err), 0);
			weir_card_free(c);
		} else {
			is_refused(json, "t: rate_cards[0].models[0].price: has so many steps that "
					 "one charge could have more than 64 lines");
		}
	}
}

static void conditions_of_hundreds_of_bytes_are_refused(void **state)
{
	char json[1024];

	snprintf(json, sizeof(json),
		 HEAD "[{\"match\": \"%100s\", \"price\": {\"output\": \"1\"}}]}", "");
	is_refused(json,
		   "t: rate_cards[0].models[0]: its conditions are 406 bytes long as one text, "
		   "255 at most may be");
}

static void no_two_entries_have_the_same_conditions(void **state)
{
	static const struct {
		const char *a, *b, *error;
	} bad[] = {
		{ "\"match\": \"a\"", "\"match\": \"a\"",
		  ".match: \"a\" matches what entry [0] does already" },
		{ "\"match\": \"*\"", "\"match\": \"default\"",
		  ".match: \"default\" matches what entry [0] does already" },
		{ "\"path\": \"/x\"", "\"path\": \"/x\", \"match\": \"*\"",
		  ": matches what entry [0] does already" },
		{ "\"path\": \"/x\", \"status\": 200", "\"status\": 200, \"path\": \"/x\"",
		  ": matches what entry [0] does already" },
	};
	char json[512], error[512];
	struct weir_card *c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(json, sizeof(json), HEAD "[{%s" PRICE "}, {%s" PRICE "}]}", bad[i].a,
			 bad[i].b);
		snprintf(error, sizeof(error), "t: rate_cards[0].models[1]%s", bad[i].error);
		is_refused(json, error);
	}
	c = card_with("{\"match\": \"a\"" PRICE "}, {\"path\": \"/a\"" PRICE "},"
		      "{\"match\": \"a\", \"path\": \"/a\"" PRICE "},"
		      "{\"match\": \"a\", \"status\": 200" PRICE "},"
		      "{\"match\": \"a\", \"status\": \"2xx\"" PRICE "},"
		      "{\"match\": \"a\", \"meter\": \"a\", \"price\": {\"unit\": \"1\"}}");
	assert_int_equal(c->n_entries, 6);
	weir_card_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_card_is_the_same_however_it_is_written),
		cmocka_unit_test(a_card_says_for_whom_it_is_and_what_a_credit_costs),
		cmocka_unit_test(the_key_of_an_entry_is_its_conditions),
		cmocka_unit_test(what_is_no_card_is_refused_with_place_and_value),
		cmocka_unit_test(what_holds_for_all_of_a_card_is_checked),
		cmocka_unit_test(an_entry_is_checked),
		cmocka_unit_test(steps_are_checked),
		cmocka_unit_test(conditions_of_hundreds_of_bytes_are_refused),
		cmocka_unit_test(no_two_entries_have_the_same_conditions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
