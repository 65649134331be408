/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of TCP options: timestamps found wherever they stand, MPTCP and fast open taken
 * out, beside a reader that goes by the book. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/packet.h"
#include "bpf/syn_options.h"
#include "tests/bpf/packets.h"

static struct weir_options options(const uint8_t *list, size_t len)
{
	struct weir_options o = { .len = len };

	memcpy(o.list, list, len);
	return o;
}

static void timestamps_are_found_behind_any_options(void **state)
{
	static const struct {
		uint8_t list[40];
		size_t len;
		int at; /* of the option, -1: none */
	} lists[] = {
		{ { 1, 1, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 }, 12, 2 },
		{ { 8, 10, 0, 0, 0, 11, 0, 0, 0, 22, 1, 1 }, 12, 0 },
		{ { 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 }, 16, 6 },
		{ { 1, 1, 5, 10, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 },
		  24,
		  14 },
		{ { [0 ... 29] = 1, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 }, 40, 30 },
		{ { 0, 0, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 }, 12, -1 }, /* behind the end */
		{ { 5, 0, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 }, 12, -1 }, /* behind nonsense */
		{ { 5, 1, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 }, 12, -1 },
		{ { 5, 99, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 }, 12, -1 },
		{ { 3, 12, 8, 10, 0, 0, 0, 11, 0, 0, 0, 22 }, 12, -1 }, /* inside another */
		{ { 1, 1, 1, 8, 10, 0, 0, 0, 11, 0, 0, 0 }, 12, -1 },	/* cut */
		{ { 1, 1, 8, 8, 0, 0, 0, 11 }, 8, -1 },			/* of another length */
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct weir_options o = options(lists[i].list, lists[i].len);
		struct weir_packet p = {};

		weir_read_ts(&o, &p);
		assert_int_equal(p.has_ts, lists[i].at >= 0);
		if (p.has_ts) {
			assert_int_equal(ntohl(p.tsval_be), 11);
			assert_int_equal(ntohl(p.tsecr_be), 22);
		}
	}
}

static void mptcp_and_fast_open_become_nops(void **state)
{
	static const struct {
		uint8_t was[40], now[40];
		size_t len, stripped;
	} lists[] = {
		{ { 2, 4, 5, 0xb4, 30, 4, 0, 1 }, { 2, 4, 5, 0xb4, 1, 1, 1, 1 }, 8, 1 },
		{ { 30, 12, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9 },
		  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
		  12,
		  1 },
		{ { 34, 2, 1, 1 }, { 1, 1, 1, 1 }, 4, 1 },
		{ { 34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2 },
		  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 2 },
		  12,
		  1 },
		{ { 254, 4, 0xf9, 0x89, 3, 3, 7, 1 }, { 1, 1, 1, 1, 3, 3, 7, 1 }, 8, 1 },
		{ { 254, 8, 0xf9, 0x89, 9, 9, 9, 9 }, { 1, 1, 1, 1, 1, 1, 1, 1 }, 8, 1 },
		{ { 254, 4, 0xf9, 0x88, 3, 3, 7, 1 }, { 254, 4, 0xf9, 0x88, 3, 3, 7, 1 }, 8, 0 },
		{ { 254, 2, 0xf9, 0x89 }, { 254, 2, 0xf9, 0x89 }, 4, 0 },
		{ { 253, 4, 0xf9, 0x89 }, { 253, 4, 0xf9, 0x89 }, 4, 0 },
		{ { 30, 4, 0, 1, 34, 2, 1, 0 }, { 1, 1, 1, 1, 1, 1, 1, 0 }, 8, 2 },
		/* inside another option, behind the end, behind nonsense: no server sees it */
		{ { 5, 10, 30, 4, 0, 1, 30, 4, 0, 1, 1, 1 },
		  { 5, 10, 30, 4, 0, 1, 30, 4, 0, 1, 1, 1 },
		  12,
		  0 },
		{ { 0, 30, 4, 0 }, { 0, 30, 4, 0 }, 4, 0 },
		{ { 9, 0, 30, 4, 0, 1, 1, 1 }, { 9, 0, 30, 4, 0, 1, 1, 1 }, 8, 0 },
		{ { 30, 9, 0, 1, 1, 1, 1, 1 }, { 30, 9, 0, 1, 1, 1, 1, 1 }, 8, 0 },
		{ { 30, 1, 1, 1 }, { 30, 1, 1, 1 }, 4, 0 },
		/* before nonsense: a server sees it */
		{ { 30, 4, 0, 1, 9, 99, 1, 1 }, { 1, 1, 1, 1, 9, 99, 1, 1 }, 8, 1 },
		{ { 1, 1, 1, 30 }, { 1, 1, 1, 30 }, 4, 0 },
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct weir_options o = options(lists[i].was, lists[i].len);

		assert_int_equal(weir_strip_list(&o), lists[i].stripped);
		assert_memory_equal(o.list, lists[i].now, lists[i].len);
	}
}

/* A list as a server reads it, by the book and apart from the walk above. Returns a mask
 * of the kinds 30 and 34 (and the other fast open) that it would act on. */
static int server_sees(const uint8_t *list, size_t len)
{
	int seen = 0;

	for (size_t i = 0; i < len && list[i];) {
		size_t n = 1;

		if (list[i] != 1) {
			if (i + 1 == len || list[i + 1] < 2 || list[i + 1] > len - i)
				break;
			n = list[i + 1];
			if (list[i] == 30)
				seen |= 1;
			if (list[i] == 34)
				seen |= 2;
			if (list[i] == 254 && n >= 4 && get16(list + i + 2) == 0xf989)
				seen |= 4;
		}
		i += n;
	}
	return seen;
}

static void in_any_list_nothing_is_left_and_nothing_else_is_touched(void **state)
{
	static const uint8_t likely[] = { 0, 1, 1, 2, 3, 4, 5, 8, 10, 30, 34, 254, 0xf9, 0x89 };
	size_t stripped = 0;

	srand(11);
	for (int round = 0; round < 1000000; round++) {
		size_t len = rand() % 11 * 4;
		uint8_t *list = malloc(len ? len : 1);
		struct weir_options o;
		uint32_t n;

		for (size_t i = 0; i < len; i++)
			list[i] = rand() % 16 ? likely[rand() % sizeof(likely)] : rand();
		if (len >= 4 && !(rand() % 8))
			memcpy(list + len - 4, "\xfe\x04\xf9\x89", 4);
		o = options(list, len);
		n = weir_strip_list(&o);
		assert_int_equal(!!n, !!server_sees(list, len));
		assert_int_equal(server_sees(o.list, len), 0);
		for (size_t i = 0; i < len; i++)
			assert_true(o.list[i] == list[i] || (n && o.list[i] == 1));
		for (size_t i = len; i < sizeof(o.list); i++)
			assert_int_equal(o.list[i], 0);
		stripped += !!n;
		free(list);
	}
	assert_true(stripped > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timestamps_are_found_behind_any_options),
		cmocka_unit_test(mptcp_and_fast_open_become_nops),
		cmocka_unit_test(in_any_list_nothing_is_left_and_nothing_else_is_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
