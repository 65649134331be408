// SPDX-License-Identifier: Apache-2.0
/* Claims about the rate cards of a policy: all files' together, in order, none in another's way. */
#include "tests/unit/policy_fixture.h"

#include "agent/price.h"

#define CARD(name, day, fields)                                                                    \
	"{\"name\": \"" name "\", \"version\": \"" day "\", \"effective_from\": \"2026-11-" day    \
	"T00:00:00Z\", " fields "\"models\": [{\"match\": \"*\", \"price\": {\"input\": \"1\"}}]}"

static void file(const char *name, const char *cards)
{
	char text[2048];

	snprintf(text, sizeof(text), "{\"rate_cards\": [%s]}", cards);
	put(name, text);
}

static void cards_of_all_files_are_in_the_order_of_time(void **state)
{
	struct weir_policy *p;

	file("10-a.json", CARD("list", "09", "") ", " CARD("list", "05", ""));
	file("20-b.json", CARD("vip", "07", "\"tenants\": [\"acme\"], "));
	p = load();
	assert_int_equal(p->n_cards, 3);
	assert_string_equal(p->cards[0]->version, "05");
	assert_string_equal(p->cards[1]->name, "vip");
	assert_int_equal(p->cards[1]->scope, WEIR_SCOPE_TENANT);
	assert_string_equal(p->cards[2]->version, "09");
	weir_policy_unref(p);
}

static void cards_that_are_for_the_same_are_refused_across_files(void **state)
{
	file("10-a.json", CARD("list", "05", ""));
	file("20-b.json", CARD("other", "07", ""));
	refused("rate_cards: \"list\" 05 and \"other\" 07 are both for everybody at one time: take "
		"it "
		"out of one of them");
	file("20-b.json", CARD("other", "07", "\"tiers\": [\"pro\"], "));
	weir_policy_unref(load());
}

/* What is remembered of one must not be taken for another's that has its place in memory. */
static void no_two_policies_have_the_same_serial(void **state)
{
	uint64_t last = 0;

	file("10-a.json", CARD("list", "05", ""));
	for (int i = 0; i < 5; i++) {
		struct weir_policy *p = load();

		assert_true(p->serial > last);
		last = p->serial;
		weir_policy_unref(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(cards_of_all_files_are_in_the_order_of_time),
		in_dir(cards_that_are_for_the_same_are_refused_across_files),
		in_dir(no_two_policies_have_the_same_serial),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
