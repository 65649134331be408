// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about retries: the same request, in time, three times, and each change once, wherever a
 * kill -9 came.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/retries.h"

#define T0     UINT64_C(1700000000000000000)
#define SECOND UINT64_C(1000000000)

static struct weir_retries table;
static const uint64_t key[2] = { 12345, 67890 };

static int fresh(void **state)
{
	memset(&table, 0, sizeof(table));
	return 0;
}

static bool take(uint64_t started_ns, uint64_t pos)
{
	return weir_retries_take(&table, key, started_ns, pos);
}

static void three_of_one_are_free(void **state)
{
	assert_false(take(T0, 100));
	weir_retries_note(&table, key, T0, 200);
	assert_true(take(T0 + 1, 300));
	assert_true(take(T0 + 2, 400));
	assert_true(take(T0 + 3, 500));
	assert_false(take(T0 + 4, 600));
	/* That one was billed: if it breaks off as well, it has three of its own. */
	weir_retries_note(&table, key, T0 + 5, 600);
	assert_true(take(T0 + 6, 700));
}

static void one_that_began_before_it_broke_off_is_no_retry(void **state)
{
	weir_retries_note(&table, key, T0, 200);
	assert_false(take(T0 - 1, 300));
	assert_true(take(T0, 400));
}

static void after_ten_minutes_it_is_a_new_request(void **state)
{
	weir_retries_note(&table, key, T0, 200);
	assert_true(take(T0 + 600 * SECOND, 300));
	assert_false(take(T0 + 600 * SECOND + 1, 400));
}

static void others_are_not_it(void **state)
{
	const uint64_t other[][2] = { { 12345, 67891 }, { 12345 + WEIR_RETRIES, 67890 }, { 0, 0 } };

	weir_retries_note(&table, key, T0, 200);
	for (size_t i = 0; i < 3; i++)
		assert_false(weir_retries_take(&table, other[i], T0, 300));
}

/* The record is folded again after a kill -9, as often as that happens. */
static void asked_again_it_says_the_same(void **state)
{
	weir_retries_note(&table, key, T0, 200);
	weir_retries_note(&table, key, T0, 200);
	assert_false(take(T0, 200)); /* what broke off itself was none */
	for (int i = 0; i < 5; i++)
		assert_true(take(T0 + 1, 300));
	weir_retries_note(&table, key, T0 + 9, 200); /* of before: changes nothing */
	assert_true(take(T0 + 2, 400));
	assert_true(take(T0 + 3, 500));
	assert_false(take(T0 + 4, 600));
}

static void a_whole_answer_ends_them(void **state)
{
	weir_retries_note(&table, key, T0, 200);
	assert_true(take(T0 + 1, 300));
	weir_retries_done(&table, key, 250); /* not of that one */
	assert_true(take(T0 + 2, 400));
	for (int killed = 0; killed < 3; killed++) {
		assert_true(take(T0 + 2, 400));
		weir_retries_done(&table, key, 400);
	}
	assert_false(take(T0 + 3, 500));
	weir_retries_note(&table, key, T0 + 3, 500); /* which was billed, and broke off too */
	assert_true(take(T0 + 4, 600));
}

/* Killed before the word that makes the entry, there is none, and it is made again. */
static void half_an_entry_is_none(void **state)
{
	weir_retries_note(&table, key, T0, 200);
	for (size_t i = 0; i < WEIR_RETRIES; i++)
		table.of[i].state = 0;
	assert_false(take(T0, 300));
	weir_retries_note(&table, key, T0, 200);
	assert_true(take(T0, 300));
}

static void the_first_to_end_is_forgotten_when_it_is_full(void **state)
{
	uint64_t others[2] = { key[0], 0 };

	weir_retries_note(&table, key, T0, 100);
	for (uint64_t i = 1; i <= 64; i++) { /* of the same set, whatever its size */
		others[0] += WEIR_RETRIES;
		others[1] = i;
		weir_retries_note(&table, others, T0 + i, 100 + i);
		assert_true(weir_retries_take(&table, others, T0 + i, 1000 + i));
	}
	assert_false(take(T0, 2000));
}

static void many_are_known(void **state)
{
	uint64_t k[2] = { 0, 7 };
	size_t found = 0;

	srandom(1);
	for (uint64_t i = 0; i < WEIR_RETRIES / 2; i++) {
		k[0] = i * UINT64_C(0x9e3779b97f4a7c15);
		weir_retries_note(&table, k, T0, 1 + i);
	}
	for (uint64_t i = 0; i < WEIR_RETRIES / 2; i++) {
		k[0] = i * UINT64_C(0x9e3779b97f4a7c15);
		found += weir_retries_take(&table, k, T0, 100000 + i);
	}
	assert_true(found > WEIR_RETRIES / 2 * 95 / 100);
}

static bool same_key(uint32_t tenant_a, const char *path_a, uint64_t body_a, uint32_t tenant_b,
		     const char *path_b, uint64_t body_b)
{
	const uint64_t body[2][2] = { { body_a, 5 }, { body_b, 5 } };
	char path[2][64] = { "", "" };
	uint64_t k[2][2];

	strcpy(path[0], path_a);
	strcpy(path[1], path_b);
	weir_retry_key(tenant_a, path[0], body[0], k[0]);
	weir_retry_key(tenant_b, path[1], body[1], k[1]);
	return k[0][0] == k[1][0] && k[0][1] == k[1][1];
}

static void tenant_path_and_body_make_the_key(void **state)
{
	assert_true(same_key(1, "/v1/x", 9, 1, "/v1/x", 9));
	assert_false(same_key(1, "/v1/x", 9, 2, "/v1/x", 9));
	assert_false(same_key(1, "/v1/x", 9, 1, "/v1/y", 9));
	assert_false(same_key(1, "/v1/x", 9, 1, "/v1/x", 8));
	assert_true(same_key(1, "/v1/x", 9, 1, "/v1/./x?a=b", 9));
	assert_true(same_key(1, "/v1/x", 9, 1, "/v1/%78", 9));
}

/* The request line's word, which the kernel ships without an end. */
static void a_path_that_fills_its_field_is_a_path(void **state)
{
	char field[65], text[64];
	const uint64_t body[2] = { 1, 2 };
	uint64_t a[2], b[2];

	memset(field, 'p', sizeof(field));
	field[0] = '/';
	memcpy(text, field, 63);
	text[63] = '\0';
	weir_retry_key(1, field, body, a);
	weir_retry_key(1, text, body, b);
	assert_memory_equal(a, b, sizeof(a));
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, fresh)
	const struct CMUnitTest tests[] = {
		CLAIM(three_of_one_are_free),
		CLAIM(one_that_began_before_it_broke_off_is_no_retry),
		CLAIM(after_ten_minutes_it_is_a_new_request),
		CLAIM(others_are_not_it),
		CLAIM(asked_again_it_says_the_same),
		CLAIM(a_whole_answer_ends_them),
		CLAIM(half_an_entry_is_none),
		CLAIM(the_first_to_end_is_forgotten_when_it_is_full),
		CLAIM(many_are_known),
		CLAIM(tenant_path_and_body_make_the_key),
		CLAIM(a_path_that_fills_its_field_is_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
