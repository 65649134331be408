// SPDX-License-Identifier: Apache-2.0
/* Claims about which card and which of its entries prices something. */
#include "tests/unit/price_fixture.h"

#include <stdlib.h>

#include "agent/pricing.h"

#define AT UINT64_C(1800000000000000000) /* after every card of card_with */

static int entry_for(struct weir_card *c, struct weir_use use)
{
	struct weir_pick pick;

	use.started_ns = AT;
	return weir_cards_pick(&c, 1, &use, &pick) ? (int)pick.entry : -1;
}

static int entry_of(struct weir_card *c, const char *model)
{
	return entry_for(c, (struct weir_use){ .model = model });
}

/* ---------------------------------------------------------------------- entries */

static void the_most_specific_entry_prices(void **state)
{
	struct weir_card *c =
		card_with("{\"match\": \"default\", \"price\": {\"input\": \"0\"}},"
			  "{\"match\": \"llama*\", \"price\": {\"input\": \"1\"}},"
			  "{\"match\": \"llama-3.3-70b*\", \"price\": {\"input\": \"2\"}},"
			  "{\"match\": \"llama-3.3-70b\", \"price\": {\"input\": \"3\"}},"
			  "{\"match\": \"?lama*x\", \"price\": {\"input\": \"4\"}},"
			  "{\"match\": \"llama*y\", \"price\": {\"input\": \"5\"}}");

	assert_int_equal(entry_of(c, "llama-3.3-70b"), 3);
	assert_int_equal(entry_of(c, "llama-3.3-70b-instruct"), 2);
	assert_int_equal(entry_of(c, "llama-2"), 1);
	assert_int_equal(entry_of(c, "llama-y"), 1); /* of equals the first listed */
	assert_int_equal(entry_of(c, "olamax"), 4);
	assert_int_equal(entry_of(c, "gpt-4"), 0);
	assert_int_equal(entry_of(c, ""), 0);
	assert_int_equal(entry_of(c, NULL), 0);
	assert_int_equal(entry_of(c, "Llama-2"), 0); /* case counts */
	weir_card_free(c);
}

static void without_a_default_a_model_may_have_no_entry(void **state)
{
	struct weir_card *c = card_with("{\"match\": \"a*\", \"price\": {\"input\": \"1\"}}");
	struct weir_card *star = card_with("{\"match\": \"*\", \"price\": {\"input\": \"1\"}},"
					   "{\"match\": \"*b\", \"price\": {\"input\": \"1\"}}");

	assert_int_equal(entry_of(c, "b"), -1);
	assert_int_equal(entry_of(c, ""), -1);
	assert_int_equal(entry_of(star, "a"), 0);
	assert_int_equal(entry_of(star, "ab"), 1); /* "*" comes last, like default */
	weir_card_free(c);
	weir_card_free(star);
}

#define PRICE ", \"price\": {\"request\": \"1\"}}"

static void paths_go_before_models_and_statuses_before_none(void **state)
{
	struct weir_card *c = card_with(
		"{\"match\": \"m\"" PRICE ",{\"match\": \"*\"" PRICE ",{\"path\": \"/v1/*\"" PRICE
		",{\"path\": \"/v1/chat/*\"" PRICE ",{\"path\": \"/v1/chat/done\"" PRICE
		",{\"path\": \"/v1/chat/*\", \"match\": \"m*\"" PRICE
		",{\"path\": \"/v1/chat/*\", \"status\": \"2xx\"" PRICE
		",{\"path\": \"/v1/chat/*\", \"status\": 201" PRICE
		",{\"match\": \"*\", \"status\": 404" PRICE);
	static const struct {
		const char *model, *path;
		uint16_t status;
		int entry;
	} cases[] = {
		{ "m", "/", 200, 0 },
		{ "n", "/", 200, 1 },
		{ NULL, NULL, 0, 1 },
		{ "m", "/v1/x", 200, 2 },	  /* any path before any model */
		{ "m", "/v1/x", 404, 2 },	  /* and before any status */
		{ "m", "/v1/chat/x", 200, 6 },	  /* a status before a model */
		{ "m", "/v1/chat/x", 201, 7 },	  /* a number before a hundred */
		{ "m", "/v1/chat/x", 302, 5 },	  /* a model before none */
		{ "x", "/v1/chat/x", 302, 3 },	  /* */
		{ "m", "/v1/chat/done", 201, 4 }, /* the whole path before all of that */
		{ "m", "/", 404, 8 },
		{ "m", "/", 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(entry_for(c, (struct weir_use){ .model = cases[i].model,
								 .path = cases[i].path,
								 .status = cases[i].status }),
				 cases[i].entry);
	assert_true(weir_card_names_path(c, 2));
	assert_false(weir_card_names_path(c, 8));
	assert_true(weir_card_names_status(c, 8));
	assert_true(weir_card_names_status(c, 6));
	assert_false(weir_card_names_status(c, 2));
	weir_card_free(c);
}

static void a_meter_is_priced_by_its_own_entries_only(void **state)
{
	struct weir_card *c = card_with("{\"match\": \"*\"" PRICE
					",{\"meter\": \"gpu\", \"price\": {\"unit\": \"1\"}}"
					",{\"meter\": \"gpu\", \"match\": \"h100*\","
					" \"price\": {\"unit\": \"2\"}}");

	assert_int_equal(entry_for(c, (struct weir_use){ .meter = "gpu" }), 1);
	assert_int_equal(entry_for(c, (struct weir_use){ .meter = "gpu", .model = "a10" }), 1);
	assert_int_equal(entry_for(c, (struct weir_use){ .meter = "gpu", .model = "h100-80" }), 2);
	assert_int_equal(entry_for(c, (struct weir_use){ .meter = "storage" }), -1);
	assert_int_equal(entry_of(c, "h100-80"), 0);
	weir_card_free(c);
}

/* An import of a provider's list: thousands of names, each found among all. */
static void whole_names_are_found_among_thousands(void **state)
{
	enum { N = 3000 };
	char *models = malloc(N * 64), name[32];
	struct weir_card *c = NULL;
	size_t n = 0;

	for (int i = 0; i < N; i++)
		n += (size_t)sprintf(models + n, "%s{\"match\": \"m%d\"" PRICE, i ? "," : "",
				     i * 7 % N);
	n += (size_t)sprintf(models + n, ",{\"match\": \"m1*\"" PRICE);
	{
		char *json = malloc(n + 128);

		sprintf(json,
			"{\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\","
			"\"models\":[%s]}",
			models);
		assert_int_equal(weir_card_parse(json, "t", &c, NULL), 0);
		free(json);
	}
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "m%d", i * 7 % N);
		assert_int_equal(entry_of(c, name), i);
	}
	assert_int_equal(entry_of(c, "m10001"), N);
	assert_int_equal(entry_of(c, "m30001"), -1);
	assert_int_equal(weir_card_entry_at(c, N), N); /* tried last */
	weir_card_free(c);
	free(models);
}

/* ------------------------------------------------------------------------ cards */

struct shelf {
	struct weir_card *cards[16];
	size_t n;
};

/* day: of November 2026. */
static struct weir_card *put(struct shelf *s, const char *name, int day, const char *scope,
			     const char *match)
{
	char json[512];
	struct weir_error err;

	snprintf(json, sizeof(json),
		 "{\"name\":\"%s\",\"version\":\"%d\",\"effective_from\":\"2026-11-%02dT00:00:00Z\""
		 "%s,\"models\":[{\"match\":\"%s\",\"price\":{\"input\":\"1\"}}]}",
		 name, day, day, scope, match);
	if (weir_card_parse(json, "t", &s->cards[s->n], &err))
		fail_msg("%s", err.text);
	return s->cards[s->n++];
}

static void clear(struct shelf *s)
{
	while (s->n)
		weir_card_free(s->cards[--s->n]);
}

static uint64_t on_day(int day)
{
	char text[32];
	uint64_t ns;

	snprintf(text, sizeof(text), "2026-11-%02dT00:00:00Z", day);
	assert_int_equal(weir_time_parse(text, &ns), 0);
	return ns;
}

static const struct weir_card *card_for(struct shelf *s, int day, const char *model)
{
	struct weir_use use = { .tenant = "acme",
				.tier = "pro",
				.service = "llm",
				.model = model,
				.started_ns = on_day(day) };
	struct weir_pick pick = { 0 };

	weir_cards_pick(s->cards, s->n, &use, &pick);
	return pick.card;
}

static void of_a_name_the_latest_that_has_begun_is_in_force(void **state)
{
	struct shelf s = { 0 };
	struct weir_card *b = put(&s, "list", 10, "", "*"), *a = put(&s, "list", 5, "", "*");
	struct weir_use use = { .started_ns = on_day(10) - 1 };
	struct weir_pick pick;

	assert_null(card_for(&s, 4, "m"));
	assert_ptr_equal(card_for(&s, 5, "m"), a);
	assert_ptr_equal(card_for(&s, 9, "m"), a);
	assert_true(weir_cards_pick(s.cards, s.n, &use, &pick));
	assert_ptr_equal(pick.card, a);
	assert_ptr_equal(card_for(&s, 10, "m"), b);
	assert_ptr_equal(card_for(&s, 30, "m"), b);
	assert_null(card_for(&(struct shelf){ 0 }, 30, "m"));
	clear(&s);
}

static void the_closest_card_that_has_an_entry_prices(void **state)
{
	struct shelf s = { 0 };
	struct weir_card *all = put(&s, "list", 1, "", "*");
	struct weir_card *service = put(&s, "s", 1, ",\"services\":[\"llm\"]", "s*");
	struct weir_card *tier = put(&s, "t", 1, ",\"tiers\":[\"pro\"]", "[st]*");
	struct weir_card *tenant = put(&s, "x", 1, ",\"tenants\":[\"zeta\",\"acme\"]", "x*");
	struct weir_card *other = put(&s, "y", 1, ",\"tenants\":[\"beta\"]", "*");

	assert_ptr_equal(card_for(&s, 2, "x1"), tenant);
	assert_ptr_equal(card_for(&s, 2, "s1"), service);
	assert_ptr_equal(card_for(&s, 2, "[st]1"), tier); /* no classes of characters */
	assert_ptr_equal(card_for(&s, 2, "m"), all);
	assert_true(other != card_for(&s, 2, "y"));
	clear(&s);
}

static void a_tenant_may_be_taken_out_of_a_card(void **state)
{
	struct shelf s = { 0 };
	struct weir_card *all = put(&s, "list", 1, "", "*");
	struct weir_card *vip = put(&s, "vip", 1, ",\"tenants\":[\"acme\",\"beta\"]", "*");

	put(&s, "vip", 10, ",\"tenants\":[\"beta\"]", "*");
	assert_ptr_equal(card_for(&s, 9, "m"), vip);
	assert_ptr_equal(card_for(&s, 10, "m"), all);
	clear(&s);
}

static void a_pick_tells_the_discount_of_the_tier(void **state)
{
	struct weir_card *c = card_of("\"discounts\": {\"pro\": \"0.25\"}",
				      "{\"match\": \"*\", \"price\": {\"input\": \"1\"}}");
	struct weir_use use = { .tier = "pro", .started_ns = AT };
	struct weir_pick pick;

	assert_true(weir_cards_pick(&c, 1, &use, &pick));
	assert_int_equal(pick.discount_milli, 250);
	use.tier = "free";
	assert_true(weir_cards_pick(&c, 1, &use, &pick));
	assert_int_equal(pick.discount_milli, 0);
	weir_card_free(c);
}

static void a_reservation_looks_at_all_that_may_price(void **state)
{
	struct shelf s = { 0 };
	struct weir_card *all = put(&s, "list", 1, "", "*");
	struct weir_card *llm = put(&s, "s", 1, ",\"services\":[\"llm\"]", "*");
	struct weir_card *embed = put(&s, "e", 1, ",\"services\":[\"embed\"]", "*");
	struct weir_card *tenant = put(&s, "x", 1, ",\"tenants\":[\"acme\"]", "x*");
	struct weir_use use = { .tenant = "acme", .tier = "pro", .started_ns = on_day(2) };
	const struct weir_card *out[8];

	assert_int_equal(weir_cards_for(s.cards, s.n, &use, out, 8), 4); /* of any service */
	assert_ptr_equal(out[0], tenant);
	assert_ptr_equal(out[1], llm);
	assert_ptr_equal(out[2], embed);
	assert_ptr_equal(out[3], all);
	assert_int_equal(weir_cards_for(s.cards, s.n, &use, out, 2), 2);
	/* Behind one that prices all nobody is asked. */
	use.service = "llm";
	assert_int_equal(weir_cards_for(s.cards, s.n, &use, out, 8), 2);
	assert_ptr_equal(out[1], llm);
	put(&s, "t", 1, ",\"tiers\":[\"pro\"]", "*");
	use.service = NULL;
	assert_int_equal(weir_cards_for(s.cards, s.n, &use, out, 8), 2);
	use.started_ns = on_day(1) - 1;
	assert_int_equal(weir_cards_for(s.cards, s.n, &use, out, 8), 0);
	clear(&s);
}

static void two_cards_for_the_same_at_one_time_are_refused(void **state)
{
	struct shelf s = { 0 };
	struct weir_error err;

	put(&s, "list", 1, "", "*");
	put(&s, "list", 5, "", "*");
	put(&s, "a", 1, ",\"tenants\":[\"acme\",\"beta\"]", "*");
	put(&s, "b", 1, ",\"tenants\":[\"zeta\"]", "*");
	put(&s, "c", 1, ",\"tiers\":[\"acme\"]", "*");
	assert_int_equal(weir_cards_check(s.cards, s.n, &err), 0);
	put(&s, "d", 9, ",\"tenants\":[\"aaa\",\"beta\",\"zzz\"]", "*");
	assert_int_equal(weir_cards_check(s.cards, s.n, &err), -EINVAL);
	assert_string_equal(err.text,
			    "rate_cards: \"a\" 1 and \"d\" 9 are both for tenant \"beta\" "
			    "at one time: take it out of one of them");
	/* From then on the first one leaves it alone. */
	put(&s, "a", 9, ",\"tenants\":[\"acme\"]", "*");
	assert_int_equal(weir_cards_check(s.cards, s.n, &err), 0);
	put(&s, "other", 3, "", "*");
	assert_int_equal(weir_cards_check(s.cards, s.n, &err), -EINVAL);
	assert_string_equal(err.text,
			    "rate_cards: \"list\" 1 and \"other\" 3 are both for everybody "
			    "at one time: take it out of one of them");
	clear(&s);
}

/* ----------------------------------------------------------------- what is remembered */

static uint32_t random_below(uint32_t n)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x % n);
}

/* Cards that come into effect between requests of many tenants, in any order of time; then
 * other cards at the same address. */
static void what_is_remembered_is_what_a_pick_says(void **state)
{
	static const char *const tiers[] = { "free", "pro", NULL };
	static const char *const services[] = { NULL, "llm", "embed" };
	static const char *const models[] = { "a", "ab", "b", "", "abc" };
	struct weir_pricing *p;
	struct shelf s = { 0 };
	size_t priced = 0;

	assert_int_equal(weir_pricing_new(services, 3, &p, NULL), 0);
	for (uint64_t serial = 1; serial <= 2; serial++) {
		const char *last = serial == 1 ? "a*" : "ab*";

		put(&s, "list", 3, "", last);
		put(&s, "list", 9, "", "*");
		put(&s, "x", 5, ",\"tenants\":[\"t1\",\"t7\",\"t99\"]", "ab*");
		put(&s, "x", 7, ",\"tenants\":[\"t1\",\"t8\"]", "a");
		put(&s, "t", 4, ",\"tiers\":[\"pro\"]", "b");
		put(&s, "s", 6, ",\"services\":[\"embed\"]", "abc");
		weir_pricing_set(p, s.cards, s.n, serial);
		for (int i = 0; i < 40000; i++) {
			uint32_t tenant = random_below(3000);
			uint16_t service = (uint16_t)random_below(5);
			struct weir_pick a = { 0 }, b = { 0 };
			char name[16];
			struct weir_use use = { .tenant = name,
						.tier = tiers[tenant % 3],
						.model = models[random_below(5)],
						.started_ns = on_day(1) + random_below(10) * 86400 *
										  WEIR_SECOND };
			bool one, other;

			if (i % 2)
				tenant %= 20;
			use.tier = tiers[tenant % 3];
			snprintf(name, sizeof(name), "t%u", tenant);
			one = weir_pricing_pick(p, tenant, service, &use, &a);
			use.service = service < 3 ? services[service] : NULL;
			other = weir_cards_pick(s.cards, s.n, &use, &b);
			assert_int_equal(one, other);
			assert_ptr_equal(a.card, b.card);
			assert_int_equal(a.entry, b.entry);
			priced += one;
		}
		clear(&s);
	}
	assert_true(priced > 20000);
	weir_pricing_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_specific_entry_prices),
		cmocka_unit_test(without_a_default_a_model_may_have_no_entry),
		cmocka_unit_test(paths_go_before_models_and_statuses_before_none),
		cmocka_unit_test(a_meter_is_priced_by_its_own_entries_only),
		cmocka_unit_test(whole_names_are_found_among_thousands),
		cmocka_unit_test(of_a_name_the_latest_that_has_begun_is_in_force),
		cmocka_unit_test(the_closest_card_that_has_an_entry_prices),
		cmocka_unit_test(a_tenant_may_be_taken_out_of_a_card),
		cmocka_unit_test(a_pick_tells_the_discount_of_the_tier),
		cmocka_unit_test(a_reservation_looks_at_all_that_may_price),
		cmocka_unit_test(two_cards_for_the_same_at_one_time_are_refused),
		cmocka_unit_test(what_is_remembered_is_what_a_pick_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
