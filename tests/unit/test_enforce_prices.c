/* SPDX-License-Identifier: Apache-2.0 */
/* Which cards price, and what a request reserves by them. */
#include "enforce_fixture.h"

#define CREDIT INT64_C(1000000000)

#define CARD(name, more, price)                                                                    \
	"{\"name\": \"" name "\", \"version\": \"1\", \"effective_from\": "                        \
	"\"2020-01-01T00:00:00Z\"" more ", \"models\": [{\"match\": \"default\", \"price\": "      \
	"{\"input\": \"" price "\", \"output\": \"0\"}}]}"
#define ANY(name)     CARD(name, "", "2")
#define SLOW	      CARD("slow", ", \"services\": [\"embed\"]", "3")
#define ELSEWHERE     CARD("far", ", \"services\": [\"elsewhere\"]", "100")
#define OF_TIER	      CARD("vip", ", \"tiers\": [\"soft\"]", "5")
#define DEAR_OF_Y     CARD("deal", ", \"tenants\": [\"y\"]", "7")
#define CHEAP_OF_X    CARD("late", ", \"tenants\": [\"x\"]", "1")
#define T(name, tier) "\"" name "\": {\"tier\": \"" tier "\"}"
#define RESERVES(cards)                                                                            \
	"{\"tiers\": {\"none\": {}, \"hard\": {\"credit\": \"hard\"}, \"soft\": {\"credit\": "     \
	"\"soft\"}}, \"rate_cards\": [" cards "], \"tenants\": {" T("org", "soft") "," T(          \
		"a", "hard") "," T("b", "none") "," T("x", "hard") "," T("y", "hard") "}}"

static int64_t reserves(const char *tenant)
{
	return entry(tenant)->reserve_nano_per_input_token;
}

static void a_request_reserves_by_the_dearest_card_that_may_price_it(void **state)
{
	static const char json[] = RESERVES(ANY("list") "," SLOW "," ELSEWHERE "," OF_TIER
							"," DEAR_OF_Y "," CHEAP_OF_X);

	if (try_policy(json))
		fail_msg("%s", f.err.text);
	assert_int_equal(reserves("x"), 3 * CREDIT); /* its own card is cheap, others may price */
	assert_int_equal(reserves("a"), 3 * CREDIT);
	assert_int_equal(reserves("org"), 5 * CREDIT);
	assert_int_equal(reserves("y"), 7 * CREDIT);
	assert_int_equal(reserves("b"), 0); /* nothing is paid */
	if (try_policy(RESERVES(CARD("cheap", "", "1"))))
		fail_msg("%s", f.err.text);
	assert_int_equal(reserves("org"), CREDIT);
	assert_int_equal(reserves("y"), CREDIT);
}

static void a_discount_is_taken_off_what_is_reserved(void **state)
{
	static const char json[] =
		RESERVES(CARD("list", ", \"discounts\": {\"hard\": \"0.25\"}", "2"));

	if (try_policy(json))
		fail_msg("%s", f.err.text);
	assert_int_equal(reserves("x"), 1500000000);
	assert_int_equal(reserves("org"), 2 * CREDIT);
}

/* -- cards */

static size_t cards_in_force(void)
{
	size_t n;

	weir_enforce_cards_locked(f.enforce, &n);
	return n;
}

static void older_versions_price_what_comes_late(void **state)
{
#define VERSION(v, from)                                                                           \
	"{\"name\": \"list\", \"version\": \"" v "\", \"effective_from\": \"" from                 \
	"T00:00:00Z\", \"models\": [{\"match\": \"default\", \"price\": {\"input\": \"1\"}}]}"
	if (try_policy(RESERVES(VERSION("1", "2020-01-01"))) ||
	    try_policy(RESERVES(VERSION("2", "2021-01-01"))))
		fail_msg("%s", f.err.text);
	assert_int_equal(cards_in_force(), 2);
	/* One that was taken back is not in force again; what was before it is. */
	if (try_policy(RESERVES(VERSION("1", "2020-01-01"))))
		fail_msg("%s", f.err.text);
	assert_int_equal(cards_in_force(), 1);
	if (try_policy(RESERVES("")))
		fail_msg("%s", f.err.text);
	assert_int_equal(cards_in_force(), 0);
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, up, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(a_request_reserves_by_the_dearest_card_that_may_price_it),
		CLAIM(a_discount_is_taken_off_what_is_reserved),
		CLAIM(older_versions_price_what_comes_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
