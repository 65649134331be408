/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the running kernel's verifier made of the programs, as a table. It gives up at a
 * million instructions, and kernels differ in how many they need, so a program must stay
 * well below on each. By its name this is the last of the packet tests.
 */
#include "tests/bpf/lab.h"

#include <sys/utsname.h>

enum { LIMIT = 1000000, ROOM = LIMIT / 5 };

static int open_lab(void **state)
{
	lab_open();
	return 0;
}

static void every_program_stays_well_below_the_limit(void **state)
{
	struct bpf_program *prog;
	struct utsname kernel;
	uint32_t most = 0;

	assert_int_equal(uname(&kernel), 0);
	printf("\n%-16s %-20s %10s %14s\n", "program", "kernel", "verified", "machine code");
	bpf_object__for_each_program(prog, lab.skel->obj)
	{
		struct bpf_prog_info info = {};
		uint32_t size = sizeof(info);

		assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &size), 0);
		assert_true(info.verified_insns);
		printf("%-16s %-20s %10u %12u B\n", bpf_program__name(prog), kernel.release,
		       info.verified_insns, info.jited_prog_len);
		if (info.verified_insns > most)
			most = info.verified_insns;
	}
	printf("%-16s %-20s %10d\n\n", "limit", "", LIMIT);
	fflush(stdout);
	if (most > LIMIT - ROOM)
		fail_msg("%u verified instructions: less than a fifth of the limit is left", most);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_program_stays_well_below_the_limit),
	};

	return cmocka_run_group_tests(tests, open_lab, NULL);
}
