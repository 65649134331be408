/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of policy files, and what reading it gives. For the tests of policies.
 */
#ifndef WEIR_POLICY_FIXTURE_H
#define WEIR_POLICY_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/policy.h"
#include "bpf/weir_abi.h"

#define KEY_A	    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_A_UPPER "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KEY_B	    "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char dir[64];

static inline int make_dir(void **state)
{
	strcpy(dir, "/tmp/weir-policy-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline int remove_dir(void **state)
{
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static inline struct weir_policy *load(void)
{
	struct weir_policy *p = NULL;
	struct weir_error err;

	if (weir_policy_load(dir, &p, &err))
		fail_msg("%s", err.text);
	return p;
}

static inline struct weir_policy *load_text(const char *text)
{
	put("10-p.json", text);
	return load();
}

static inline void refused(const char *error)
{
	struct weir_policy *p = (void *)&dir;
	struct weir_error err;

	assert_int_equal(weir_policy_load(dir, &p, &err), -EINVAL);
	assert_string_equal(err.text, error);
	assert_ptr_equal(p, &dir); /* untouched */
}

#define DEGRADES                                                                                   \
	"{\"credit\": \"soft\", \"overage_limit\": \"1\", \"max_input_tokens\": 32768,"            \
	" \"max_output_tokens\": 2147483647, \"on_max_output\": \"refuse\","                       \
	" \"on_exhausted\": \"degrade\", \"fallback_model\": \"small model/1\","                   \
	" \"other_protocols\": \"pass\"}"

#define in_dir(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

#endif
