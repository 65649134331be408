// SPDX-License-Identifier: Apache-2.0
/* Names of pinned links: told back exactly, and nothing else is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/pins.h"

static void a_name_is_told_back(void **state)
{
	const struct weir_device devices[] = { { 4026531840, 2 },
					       { 1, 1 },
					       { UINT64_MAX, INT32_MAX } };

	for (int hook = 0; hook < WEIR_HOOKS; hook++) {
		for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
			struct weir_device d;
			enum weir_hook h;
			char path[WEIR_PIN_PATH];

			weir_pin_path("default", hook, &devices[i], path);
			assert_null(strchr(strrchr(path, '/'), '.')); /* bpffs refuses dots */
			assert_true(weir_pin_parse(strrchr(path, '/') + 1, &h, &d));
			assert_int_equal(h, hook);
			assert_true(d.netns == devices[i].netns);
			assert_int_equal(d.ifindex, devices[i].ifindex);
		}
	}
}

static void other_names_are_no_devices(void **state)
{
	static const char *const names[] = {
		"state",	"",	     "xdp",	    "xdp-1",
		"ingress-eth0", "xdp-1-2-3", "egress-1-",   "ingress-1-0",
		"ingress-1--2", "tcx-1-2",   "egress-1-2 ", "xegress-1-2",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct weir_device d = { 7, 7 };
		enum weir_hook h = WEIR_HOOK_EGRESS;

		assert_false(weir_pin_parse(names[i], &h, &d));
		assert_true(d.netns == 7 && d.ifindex == 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_told_back),
		cmocka_unit_test(other_names_are_no_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
