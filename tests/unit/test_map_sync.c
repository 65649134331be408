/* SPDX-License-Identifier: Apache-2.0 */
/* A map holds what is wanted of it, whatever it held before. Real maps: root. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/map_sync.h"

#define N 10000 /* more than a batch */

struct pair {
	uint64_t key;
	uint32_t value;
} __attribute__((packed));

static int fd;

static int up(void **state)
{
	LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = BPF_F_NO_PREALLOC);

	fd = bpf_map_create(BPF_MAP_TYPE_HASH, NULL, sizeof(uint64_t), sizeof(uint32_t), N, &o);
	if (fd < 0 && errno == EPERM)
		fail_msg("needs root: it makes BPF maps");
	assert_true(fd >= 0);
	srand(2);
	return 0;
}

static int down(void **state)
{
	return close(fd);
}

static int sync_to(struct pair *v, size_t n, enum weir_map_sync how)
{
	struct weir_map_want w = { fd, sizeof(v->key), sizeof(v->value), v, n };

	weir_map_want_sort(&w);
	return weir_map_sync(&w, how);
}

/* 0: not there. */
static uint32_t at(uint64_t key)
{
	uint32_t value = 0;

	bpf_map_lookup_elem(fd, &key, &value);
	return value;
}

static size_t count(void)
{
	uint64_t key, next;
	size_t n = 0;

	for (; !bpf_map_get_next_key(fd, n ? &key : NULL, &next); n++)
		key = next;
	return n;
}

static void it_holds_what_is_wanted_and_nothing_else(void **state)
{
	static struct pair v[N];

	for (int round = 0; round < 40; round++) {
		size_t n = 0;

		for (uint64_t key = 1; key <= N; key++)
			if (rand() % (1 + round % 7) == 0)
				v[n++] = (struct pair){ key, 1 + (uint32_t)rand() % 3 };
		/* keys come from a range the map has room for: both orders fit */
		assert_int_equal(sync_to(v, n, round % 2 ? WEIR_MAP_DROP_ADD : WEIR_MAP_ADD_DROP),
				 0);
		assert_int_equal(count(), n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(at(v[i].key), v[i].value);
	}
	assert_int_equal(sync_to(v, 0, WEIR_MAP_DROP), 0);
	assert_int_equal(count(), 0);
}

static void adding_takes_nothing_out_and_dropping_puts_nothing_in(void **state)
{
	struct pair first[] = { { 1, 10 }, { 2, 20 }, { 3, 30 } };
	struct pair then[] = { { 4, 40 }, { 2, 21 } };

	assert_int_equal(sync_to(first, 3, WEIR_MAP_ADD), 0);
	assert_int_equal(sync_to(then, 2, WEIR_MAP_ADD), 0);
	assert_int_equal(count(), 4);
	assert_int_equal(at(2), 21);
	assert_int_equal(sync_to(first, 2, WEIR_MAP_DROP), 0);
	assert_int_equal(count(), 2);
	assert_int_equal(at(1), 10);
	assert_int_equal(at(2), 21); /* dropping does not mend values */
}

static void a_full_map_takes_others_if_the_old_go_first(void **state)
{
	static struct pair v[N];

	for (size_t i = 0; i < N; i++)
		v[i] = (struct pair){ i, 1 };
	assert_int_equal(sync_to(v, N, WEIR_MAP_ADD), 0);
	for (size_t i = 0; i < N; i++)
		v[i] = (struct pair){ N + i, 2 };
	assert_int_equal(sync_to(v, N, WEIR_MAP_ADD_DROP), -E2BIG);
	assert_int_equal(at(0), 1); /* and it is as it was */
	assert_int_equal(sync_to(v, N, WEIR_MAP_DROP_ADD), 0);
	assert_int_equal(count(), N);
	assert_int_equal(at(2 * N - 1), 2);
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, up, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(it_holds_what_is_wanted_and_nothing_else),
		CLAIM(adding_takes_nothing_out_and_dropping_puts_nothing_in),
		CLAIM(a_full_map_takes_others_if_the_old_go_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
