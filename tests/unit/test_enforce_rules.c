/* SPDX-License-Identifier: Apache-2.0 */
/* What bodies are held to: entries are shared, never changed under anybody, and used
 * again in time; all of a policy fits or nothing of it comes into force. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/enforce_rules.h"

#define MAX	(WEIR_RULES_MAX - 1)
#define TENANTS 1100
#define NOW	(1000 * WEIR_SECOND)

/* The kernel's maps, and a policy whose i-th tenant has number i + 1. */
static struct weir_rules map[WEIR_RULES_MAX];
static struct weir_tenant kernel_tenants[TENANTS + 1];
static struct weir_kernel kernel = {
	.rules = map,
	.tenants = kernel_tenants,
	.max_tenants = TENANTS + 1,
};
static struct weir_tenant_policy tenants[TENANTS];
static struct weir_policy policy = { .tenants = tenants };
static struct weir_rules_table *table;

static void restart(uint64_t now_ns)
{
	weir_rules_free(table);
	assert_int_equal(weir_rules_new(&kernel, now_ns, &table, NULL), 0);
}

static int begin(void **state)
{
	memset(map, 0, sizeof(map));
	memset(kernel_tenants, 0, sizeof(kernel_tenants));
	memset(tenants, 0, sizeof(tenants));
	policy.n_tenants = 0;
	table = NULL;
	restart(NOW);
	return 0;
}

static int end(void **state)
{
	weir_rules_free(table);
	return 0;
}

/* n tenants with limits of their own, from `first` up. */
static void differ(size_t n, uint32_t first)
{
	policy.n_tenants = n;
	for (size_t i = 0; i < n; i++)
		tenants[i].limits = (struct weir_limits){ .max_input_tokens = first + i };
}

/* As weir_enforce_apply does it. */
static int apply(uint64_t now_ns, struct weir_error *err)
{
	static uint32_t entries[TENANTS];
	int r = weir_rules_place(table, &policy, now_ns, entries, err);

	for (size_t i = 0; !r && i < TENANTS; i++)
		weir_rules_point(table, &kernel_tenants[i + 1],
				 i < policy.n_tenants ? entries[i] : 0, now_ns);
	return r;
}

static uint32_t entry_of(size_t i)
{
	return kernel_tenants[i + 1].rules;
}

/* Every tenant points to an entry that says what the policy says. */
static void check(void)
{
	for (size_t i = 0; i < policy.n_tenants; i++) {
		const struct weir_limits *l = &tenants[i].limits;
		const struct weir_rules *r = &map[entry_of(i)];

		assert_true(entry_of(i) < WEIR_RULES_MAX);
		assert_int_equal(r->max_input_tokens, l->max_input_tokens);
		assert_int_equal(r->max_output_tokens, l->max_output_tokens);
		assert_int_equal(!!(r->flags & WEIR_RULE_REFUSE_OUTPUT),
				 l->refuse_output && l->max_output_tokens);
		assert_int_equal(!!(r->flags & WEIR_RULE_DEGRADE), l->degrade);
		assert_string_equal(r->fallback_model, l->degrade ? l->fallback_model : "");
		assert_int_equal(r->fallback_len, strlen(r->fallback_model));
	}
	assert_int_equal(map[0].max_input_tokens | map[0].max_output_tokens | map[0].flags, 0);
}

static void the_same_rules_share_an_entry_and_none_is_entry_0(void **state)
{
	static const struct weir_limits limits[] = {
		{ .connections = 4 }, /* nothing about bodies */
		{ .refuse_output = true, .fallback_model = "m", .pass_protocols = true },
		{ .max_output_tokens = 100 },
		{ .max_output_tokens = 100, .fallback_model = "unused", .connections = 9 },
		{ .max_output_tokens = 100, .refuse_output = true },
		{ .max_input_tokens = 100 },
		{ .degrade = true, .fallback_model = "small" },
		{ .degrade = true, .fallback_model = "smaller" },
		{ .degrade = true, .fallback_model = "small", .refuse_output = true },
	};

	policy.n_tenants = sizeof(limits) / sizeof(*limits);
	for (size_t i = 0; i < policy.n_tenants; i++)
		tenants[i].limits = limits[i];
	assert_int_equal(apply(NOW, NULL), 0);
	check();
	assert_int_equal(entry_of(0), 0);
	assert_int_equal(entry_of(1), 0);
	assert_int_equal(entry_of(3), entry_of(2));
	assert_int_not_equal(entry_of(4), entry_of(2));
	assert_int_not_equal(entry_of(5), entry_of(2));
	assert_int_not_equal(entry_of(7), entry_of(6));
	assert_int_equal(entry_of(8), entry_of(6));
}

static void placing_changes_nothing_for_anybody(void **state)
{
	static struct weir_rules before[WEIR_RULES_MAX];
	uint32_t entries[3];

	differ(3, 10);
	assert_int_equal(apply(NOW, NULL), 0);
	memcpy(before, map, sizeof(map));
	differ(3, 20);
	assert_int_equal(weir_rules_place(table, &policy, NOW + 1, entries, NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(map[entry_of(i)].max_input_tokens, 10 + i);
		assert_int_equal(map[entries[i]].max_input_tokens, 20 + i);
		for (size_t j = 0; j < 3; j++)
			assert_int_not_equal(entries[i], entry_of(j));
	}
}

static void an_entry_rests_before_it_says_something_else(void **state)
{
	uint64_t now = NOW;

	/* All entries are taken, and left. */
	differ(MAX, 1);
	assert_int_equal(apply(now, NULL), 0);
	check();
	policy.n_tenants = 0;
	assert_int_equal(apply(now, NULL), 0);
	differ(1, 5000);
	assert_int_equal(apply(now + WEIR_RULES_REST_NS - 1, NULL), -ENOSPC);
	assert_int_equal(entry_of(0), 0);
	/* who comes back to what an entry says need not wait */
	differ(1, 7);
	assert_int_equal(apply(now + 1, NULL), 0);
	check();
	differ(2, 5000);
	assert_int_equal(apply(now + WEIR_RULES_REST_NS, NULL), 0);
	check();
}

static void all_of_a_policy_fits_or_nothing(void **state)
{
	struct weir_error err;

	differ(2, 5000);
	assert_int_equal(apply(NOW, NULL), 0);
	differ(MAX + 1, 1);
	assert_int_equal(apply(NOW, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "no room for so many new sets"));
	assert_int_equal(map[entry_of(0)].max_input_tokens, 5000);
	assert_int_equal(map[entry_of(1)].max_input_tokens, 5001);
	differ(2, 5000);
	check();

	policy.n_tenants = 0;
	assert_int_equal(apply(NOW, NULL), 0);
	differ(MAX + 1, 1);
	assert_int_equal(apply(NOW + WEIR_RULES_REST_NS, &err), -ENOSPC);
	assert_string_equal(err.text,
			    "policy: more than 1023 different sets of \"max_input_tokens\", "
			    "\"max_output_tokens\", \"on_max_output\" and \"fallback_model\" among "
			    "all tenants");
	differ(MAX, 1);
	assert_int_equal(apply(NOW + WEIR_RULES_REST_NS, NULL), 0);
	check();
	/* and more tenants, as long as they are held to the same */
	policy.n_tenants = TENANTS;
	for (size_t i = MAX; i < TENANTS; i++)
		tenants[i].limits = tenants[i - MAX].limits;
	assert_int_equal(apply(NOW + WEIR_RULES_REST_NS, NULL), 0);
	check();
}

static void a_new_agent_finds_who_points_where(void **state)
{
	uint32_t before[2];

	differ(MAX, 1);
	assert_int_equal(apply(NOW, NULL), 0);
	policy.n_tenants = 2;
	assert_int_equal(apply(NOW, NULL), 0);
	before[0] = entry_of(0);
	before[1] = entry_of(1);
	restart(NOW + 1);
	assert_int_equal(apply(NOW + 2, NULL), 0);
	assert_int_equal(entry_of(0), before[0]);
	assert_int_equal(entry_of(1), before[1]);
	/* What nobody points to may still be read by a connection of before. */
	differ(1, 5000);
	assert_int_equal(apply(NOW + WEIR_RULES_REST_NS, NULL), -ENOSPC);
	assert_int_equal(apply(NOW + 1 + WEIR_RULES_REST_NS, NULL), 0);
	check();
	assert_int_not_equal(entry_of(0), before[0]);
	assert_int_not_equal(entry_of(0), before[1]);
}

static void policies_come_and_go_for_long(void **state)
{
	uint64_t now = NOW;

	srand(11);
	for (int round = 0; round < 300; round++) {
		now += WEIR_RULES_REST_NS / (1 + rand() % 4);
		if (rand() % 10 == 0)
			restart(now);
		policy.n_tenants = (size_t)(rand() % 200);
		for (size_t i = 0; i < policy.n_tenants; i++)
			tenants[i].limits = (struct weir_limits){
				.max_input_tokens = (uint32_t)(rand() % 3),
				.max_output_tokens = (uint32_t)(rand() % 60),
				.refuse_output = rand() % 2,
			};
		assert_int_equal(apply(now, NULL), 0);
		check();
	}
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(the_same_rules_share_an_entry_and_none_is_entry_0),
		CLAIM(placing_changes_nothing_for_anybody),
		CLAIM(an_entry_rests_before_it_says_something_else),
		CLAIM(all_of_a_policy_fits_or_nothing),
		CLAIM(a_new_agent_finds_who_points_where),
		CLAIM(policies_come_and_go_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
