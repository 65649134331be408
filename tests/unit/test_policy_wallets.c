/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: who pays for whom, when somebody is to be asked for more, and what is sold. */
#include "agent/ledger_entry.h"
#include "policy_fixture.h"

#define TIERS                                                                                      \
	"\"tiers\": {\"none\": {}, \"hard\": {\"credit\": \"hard\"},"                              \
	" \"soft\": {\"credit\": \"soft\", \"overage_limit\": \"2\"}}"
#define ORG(tier, more) "\"org\": {\"tier\": \"" tier "\"" more "}"
#define TEAM(more)	"\"team\": {\"tier\": \"hard\", \"parent\": \"org\"" more "}"
#define USER(more)	"\"user\": {\"tier\": \"hard\", \"parent\": \"team\"" more "}"
#define WALLET(who)	", \"wallet\": \"" who "\""
#define POLICY(tenants) "{" TIERS ", \"tenants\": {" tenants "}}"
#define AT(tenant)	"10-p.json: tenants." tenant ".wallet: "

static const char *payer(const struct weir_policy *p, const char *tenant)
{
	const char *wallet = weir_policy_tenant(p, tenant)->wallet;

	return wallet ? wallet : "itself";
}

static void everybody_pays_for_themselves_unless_they_say_otherwise(void **state)
{
	struct weir_policy *p = load_text(
		POLICY(ORG("none", WALLET("self")) "," TEAM("") "," USER(WALLET("self"))));

	for (size_t i = 0; i < 3; i++)
		assert_null(p->tenants[i].wallet);
	weir_policy_unref(p);
}

static void a_parent_pays_or_whoever_pays_for_it(void **state)
{
	static const struct {
		const char *json, *user, *team;
	} cases[] = {
		{ POLICY(ORG("soft", "") "," TEAM(WALLET("parent")) "," USER(WALLET("parent"))),
		  "org", "org" },
		{ POLICY(ORG("soft", "") "," TEAM("") "," USER(WALLET("parent"))), "team",
		  "itself" },
		/* over a parent that pays for itself */
		{ POLICY(ORG("hard", "") "," TEAM("") "," USER(WALLET("org"))), "org", "itself" },
		/* somebody elsewhere pays for the team, and so for whom it pays */
		{ POLICY(ORG("none", "") "," TEAM(WALLET("bank")) "," USER(
			  WALLET("parent")) ", \"bank\": {\"tier\": \"hard\"}"),
		  "bank", "bank" },
		{ POLICY(ORG("none", WALLET("bank")) "," TEAM(WALLET("parent")) "," USER(
			  WALLET("parent")) ", \"bank\": {\"tier\": \"hard\"}"),
		  "bank", "bank" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct weir_policy *p = load_text(cases[i].json);

		assert_string_equal(payer(p, "user"), cases[i].user);
		assert_string_equal(payer(p, "team"), cases[i].team);
		weir_policy_unref(p);
	}
}

/* Names are no reason to be mistaken: "parent" is what it says, also where one is called so. */
static void a_tenant_may_be_called_parent(void **state)
{
	struct weir_policy *p = load_text(POLICY(
		"\"parent\": {\"tier\": \"hard\"}, \"a\": {\"tier\": \"hard\", \"parent\": "
		"\"parent\", \"wallet\": \"parent\"}, \"b\": {\"tier\": \"hard\", \"parent\": "
		"\"a\", \"wallet\": \"parent\"}"));

	assert_string_equal(payer(p, "a"), "parent");
	assert_string_equal(payer(p, "b"), "parent");
	assert_string_equal(payer(p, "parent"), "itself");
	weir_policy_unref(p);
}

static void what_is_paid_by_nobody_needs_no_credit_above(void **state)
{
	struct weir_policy *p = load_text(
		POLICY(ORG("none", "") ", \"a\": {\"tier\": \"none\", \"parent\": \"org\"" WALLET(
			"parent") "}"));

	assert_string_equal(payer(p, "a"), "org");
	weir_policy_unref(p);
}

static void a_wallet_that_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *json, *error;
	} bad[] = {
		{ POLICY(ORG("hard", WALLET("parent"))),
		  AT("org") "\"parent\" needs a \"parent\": nobody is above \"org\"" },
		/* however far up it is asked for */
		{ POLICY(ORG("hard", WALLET("parent")) "," TEAM(WALLET("parent"))),
		  AT("org") "\"parent\" needs a \"parent\": nobody is above \"org\"" },
		{ POLICY(ORG("hard", "") "," TEAM(WALLET("orgg"))),
		  AT("team") "\"orgg\" is not a tenant (did you mean \"org\"?)" },
		{ POLICY(ORG("hard", WALLET("nobody-knows"))),
		  AT("org") "\"nobody-knows\" is not a tenant" },
		{ POLICY(ORG("hard", WALLET("org"))),
		  AT("org") "\"org\" is this tenant: write \"self\"" },
		{ POLICY(ORG("hard", "") "," TEAM(WALLET("parent")) "," USER(WALLET("team"))),
		  AT("user") "\"team\" does not pay for itself (its wallet is \"parent\"): name "
			     "who does" },
		/* a circle has somebody who pays for another and is paid for */
		{ POLICY("\"a\": {\"tier\": \"hard\"" WALLET(
			  "b") "}, \"b\": {\"tier\": \"hard\"" WALLET("a") "}"),
		  AT("a") "\"b\" does not pay for itself (its wallet is \"a\"): name who does" },
		{ POLICY(ORG("none", "") "," TEAM(WALLET("parent"))),
		  AT("team") "\"parent\" makes \"org\" pay, whose credit is \"none\": make it "
			     "\"hard\" or \"soft\" in its tier or overrides" },
		{ POLICY(ORG("none", "") ", \"x\": {\"tier\": \"soft\"" WALLET("org") "}"),
		  AT("x") "\"org\" makes \"org\" pay, whose credit is \"none\": make it \"hard\" "
			  "or \"soft\" in its tier or overrides" },
		{ POLICY(ORG("hard", ", \"wallet\": null")),
		  AT("org") "null is not a name of 1 to 63 of a-z 0-9 _ -" },
		{ POLICY(ORG("hard", WALLET("The Org"))),
		  AT("org") "\"The Org\" is not a name of 1 to 63 of a-z 0-9 _ -" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put("10-p.json", bad[i].json);
		refused(bad[i].error);
	}
}

static void the_file_that_says_it_is_named(void **state)
{
	put("10-a.json", POLICY(TEAM(WALLET("parent"))));
	put("20-b.json", "{\"tenants\": {\"org\": {\"tier\": \"none\"}}}");
	refused("10-a.json: tenants.team.wallet: \"parent\" makes \"org\" pay, whose credit is "
		"\"none\": make it \"hard\" or \"soft\" in its tier or overrides");
	put("20-b.json", "{\"tenants\": {\"org\": {\"tier\": \"none\", \"overrides\": {\"credit\": "
			 "\"hard\"}}}}");
	weir_policy_unref(load());
}

/* -- top-ups */

static void a_top_up_is_asked_for_below_a_balance(void **state)
{
	struct weir_policy *p = load_text(
		"{\"tiers\": {\"t\": {\"credit\": \"hard\", \"topup\": {\"below\": \"10\", "
		"\"ask\": "
		"\"50.5\"}}}, \"tenants\": {\"a\": {\"tier\": \"t\"},"
		"\"b\": {\"tier\": \"t\", \"overrides\": {\"topup\": null}},"
		"\"c\": {\"tier\": \"t\", \"overrides\": {\"topup\": {\"below\": \"0\", \"ask\": "
		"\"0.000000001\"}}},"
		"\"d\": {\"tier\": \"t\", \"overrides\": {\"credit\": \"none\"}}}}");
	static const int64_t want[][2] = {
		{ 10000000000, 50500000000 }, { 0, 0 }, { 0, 1 }, { 0, 0 }
	};

	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(p->tenants[i].limits.top_up_below_nano, want[i][0]);
		assert_int_equal(p->tenants[i].limits.top_up_ask_nano, want[i][1]);
	}
	weir_policy_unref(p);
}

#define TOP_UP(credit, top_up)                                                                     \
	"{\"tiers\": {\"t\": {\"credit\": \"" credit "\", \"topup\": " top_up "}}}"
#define IN_T "10-p.json: tiers.t.topup"

/* -- packs */

static void packs_are_a_catalogue(void **state)
{
	struct weir_policy *p;
	const struct weir_pack *k;

	put("10-a.json", "{\"packs\": {\"starter\": {\"amount\": \"5000\", \"price\": \"50\", "
			 "\"currency\": \"USD\", \"expires_days\": 365, \"source\": \"paid\","
			 " \"priority\": 90, \"bonus\": \"2.5\"}}}");
	put("20-b.json", "{\"packs\": {\"gift\": {\"amount\": \"0.000000001\", \"source\": "
			 "\"promo\", \"expires_days\": null},"
			 " \"big\": {\"amount\": \"9223372036.854775807\"}}}");
	p = load();
	assert_int_equal(p->n_packs, 3);
	assert_string_equal(p->packs[0].name, "big"); /* by name */
	assert_int_equal(p->packs[0].amount_nano, INT64_MAX);
	k = weir_policy_pack(p, "starter");
	assert_int_equal(k->amount_nano, 5000000000000);
	assert_int_equal(k->price_nano, 50000000000);
	assert_string_equal(k->currency, "USD");
	assert_int_equal(k->expires_days, 365);
	assert_int_equal(k->source, WEIR_GRANT_PAID);
	assert_int_equal(k->priority, 90);
	assert_int_equal(k->bonus_nano, 2500000000);
	k = weir_policy_pack(p, "gift");
	assert_int_equal(k->amount_nano, 1);
	assert_int_equal(k->price_nano, 0);
	assert_string_equal(k->currency, "");
	assert_int_equal(k->expires_days, 0);
	assert_int_equal(k->source, WEIR_GRANT_PROMO);
	assert_int_equal(k->priority, 100);
	assert_int_equal(k->bonus_nano, 0);
	assert_null(weir_policy_pack(p, "start"));
	assert_non_null(strstr(p->json, "\"packs\":{\"big\":"));
	weir_policy_unref(p);

	put("90-local.json", "{\"packs\": {\"gift\": {\"amount\": \"7\"}}}");
	p = load();
	assert_int_equal(weir_policy_pack(p, "gift")->amount_nano, 7000000000);
	assert_int_equal(weir_policy_pack(p, "gift")->source, WEIR_GRANT_PAID); /* whole */
	weir_policy_unref(p);
	put("30-c.json", "{\"packs\": {\"big\": {\"amount\": \"7\"}}}");
	refused("30-c.json: packs.big: \"big\" is defined in 20-b.json already");
}

static void the_default_packs_are_50_200_and_500_dollars(void **state)
{
	static const struct {
		const char *name;
		int64_t dollars;
	} want[] = { { "starter", 50 }, { "growth", 200 }, { "scale", 500 } };
	struct weir_policy *p = NULL;
	struct weir_error err;

	if (weir_policy_load("policies", &p, &err))
		fail_msg("%s", err.text);
	assert_int_equal(p->n_packs, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct weir_pack *k = weir_policy_pack(p, want[i].name);

		assert_int_equal(k->price_nano, want[i].dollars * 1000000000);
		assert_string_equal(k->currency, "USD");
		/* a credit is a cent */
		assert_int_equal(k->amount_nano, 100 * k->price_nano);
	}
	weir_policy_unref(p);
}

#define PACK(fields) "{\"packs\": {\"p\": {" fields "}}}"
#define IN_P	     "10-p.json: packs.p"
#define MONEY	     " is not a decimal string with at most nine decimals"

static void bad_top_ups_and_packs_are_refused(void **state)
{
	static const struct {
		const char *json, *error;
	} bad[] = {
		{ TOP_UP("hard", "{\"below\": \"1\"}"), IN_T ": has no \"ask\"" },
		{ TOP_UP("hard", "{\"ask\": \"1\"}"), IN_T ": has no \"below\"" },
		{ TOP_UP("hard", "{\"below\": 1, \"ask\": \"1\"}"),
		  IN_T ".below: 1 is not a decimal string (write it in quotes)" },
		{ TOP_UP("hard", "{\"below\": \"-1\", \"ask\": \"1\"}"),
		  IN_T ".below: \"-1\" is not from 0 to 9223372036.854775807" },
		{ TOP_UP("soft", "{\"below\": \"1\", \"ask\": \"0\"}"),
		  IN_T ".ask: \"0\" is not from 0.000000001 to 9223372036.854775807" },
		{ TOP_UP("none", "{\"below\": \"1\", \"ask\": \"1\"}"),
		  IN_T ": has no effect unless credit is \"hard\" or \"soft\"" },
		{ TOP_UP("hard", "{\"below\": \"1\", \"ask\": \"1\", \"every\": 1}"),
		  IN_T ".every: no such field (value 1)" },
		{ TOP_UP("hard", "\"10\""), IN_T ": \"10\" is not an object" },

		{ PACK(""), IN_P ": has no \"amount\"" },
		{ PACK("\"amount\": 5"),
		  IN_P ".amount: 5 is not a decimal string (write it in quotes)" },
		{ PACK("\"amount\": \"0\""),
		  IN_P ".amount: \"0\" is not from 0.000000001 to 9223372036.854775807" },
		{ PACK("\"amount\": \"-5\""),
		  IN_P ".amount: \"-5\" is not from 0.000000001 to 9223372036.854775807" },
		{ PACK("\"amount\": \"nan\""), IN_P ".amount: \"nan\"" MONEY },
		{ PACK("\"amount\": \"1e3\""), IN_P ".amount: \"1e3\"" MONEY },
		{ PACK("\"amount\": \"9223372037\""),
		  IN_P ".amount: \"9223372037\" is not from 0.000000001 to 9223372036.854775807" },
		{ PACK("\"amount\": \"9223372036\", \"bonus\": \"1\""),
		  IN_P ".bonus: \"1\" and \"amount\" together do not fit" },
		{ PACK("\"amount\": \"1\", \"price\": \"5\""),
		  IN_P ".price: \"5\" needs a \"currency\"" },
		{ PACK("\"amount\": \"1\", \"price\": \"0\""),
		  IN_P ".price: \"0\" needs a \"currency\"" },
		{ PACK("\"amount\": \"1\", \"price\": \"-5\", \"currency\": \"USD\""),
		  IN_P ".price: \"-5\" is not from 0 to 9223372036.854775807" },
		{ PACK("\"amount\": \"1\", \"currency\": \"usd\""),
		  IN_P ".currency: \"usd\" is not three capital letters, as \"USD\"" },
		{ PACK("\"amount\": \"1\", \"currency\": \"EU\""),
		  IN_P ".currency: \"EU\" is not three capital letters, as \"USD\"" },
		{ PACK("\"amount\": \"1\", \"expires_days\": 0"),
		  IN_P ".expires_days: 0 is not a whole number from 1 to 36500" },
		{ PACK("\"amount\": \"1\", \"priority\": 256"),
		  IN_P ".priority: 256 is not a whole number from 0 to 255" },
		{ PACK("\"amount\": \"1\", \"source\": \"refund\""),
		  IN_P ".source: \"refund\" is not \"paid\", \"promo\" or \"trial\"" },
		{ PACK("\"amount\": \"1\", \"prize\": \"1\""),
		  IN_P ".prize: no such field (value \"1\"; did you mean \"price\"?)" },
		{ "{\"packs\": {\"Big One\": {\"amount\": \"1\"}}}",
		  "10-p.json: packs[\"Big One\"]: \"Big One\" is not a name of 1 to 63 of a-z 0-9 "
		  "_ -" },
		{ "{\"packs\": []}", "10-p.json: packs: an array is not an object" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put("10-p.json", bad[i].json);
		refused(bad[i].error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(everybody_pays_for_themselves_unless_they_say_otherwise),
		in_dir(a_parent_pays_or_whoever_pays_for_it),
		in_dir(a_tenant_may_be_called_parent),
		in_dir(what_is_paid_by_nobody_needs_no_credit_above),
		in_dir(a_wallet_that_cannot_be_is_refused),
		in_dir(the_file_that_says_it_is_named),
		in_dir(a_top_up_is_asked_for_below_a_balance),
		in_dir(packs_are_a_catalogue),
		in_dir(the_default_packs_are_50_200_and_500_dollars),
		in_dir(bad_top_ups_and_packs_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
