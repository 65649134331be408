// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about paths: however one is spelled that a server takes for the same, prices take it for
 * the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/plain_path.h"

static void assert_plain(const char *path, const char *is)
{
	char out[64];

	weir_plain_path(path, out, sizeof(out));
	assert_string_equal(out, is);
}

static void spellings_of_one_path_are_one(void **state)
{
	assert_plain("/v1/reports", "/v1/reports");
	assert_plain("/v1/%72eports", "/v1/reports");
	assert_plain("/v1/%72%65ports", "/v1/reports");
	assert_plain("/v1%2freports", "/v1/reports");
	assert_plain("/v1%2Freports", "/v1/reports");
	assert_plain("//v1///reports", "/v1/reports");
	assert_plain("/./v1/./reports", "/v1/reports");
	assert_plain("/v1/x/../reports", "/v1/reports");
	assert_plain("/v1/x/%2e%2e/reports", "/v1/reports");
	assert_plain("/v1/x/y/../../reports/", "/v1/reports/");
	assert_plain("/../../v1/reports", "/v1/reports");
	assert_plain("/v1/reports/.", "/v1/reports/");
	assert_plain("/v1/reports/..", "/v1/");
	assert_plain("/v1/...", "/v1/...");
	assert_plain("/v1/a..", "/v1/a..");
	assert_plain("/", "/");
	assert_plain("", "");
	assert_plain("*", "*");
	assert_plain("v1", "v1");
}

static void what_is_no_escape_stays(void **state)
{
	assert_plain("/v1/%", "/v1/%");
	assert_plain("/v1/%7", "/v1/%7");
	assert_plain("/v1/%zz", "/v1/%zz");
	assert_plain("/v1/%00", "/v1/%00");
	assert_plain("/v1/%0a", "/v1/%0a");
	assert_plain("/v1/%7f", "/v1/%7f");
	assert_plain("/v1/%2572", "/v1/%72"); /* decoded once, as servers do */
}

/* Any bytes: it ends, stays within bounds (the sanitizer sees to it), and never grows. */
static void any_path_has_a_plain_form(void **state)
{
	static const char alphabet[] = "/.%2eEfFa5";
	char path[64], out[64], small[8], again[64];

	srandom(17);
	for (int i = 0; i < 100000; i++) {
		size_t n = (size_t)random() % 63;

		for (size_t k = 0; k < n; k++)
			path[k] = alphabet[(size_t)random() % (sizeof(alphabet) - 1)];
		path[n] = 0;
		weir_plain_path(path, out, sizeof(out));
		assert_true(strlen(out) <= n);
		assert_null(strstr(out, "//"));
		assert_null(strstr(out, "/./"));
		assert_null(strstr(out, "/../"));
		weir_plain_path(path, small, sizeof(small));
		assert_true(strlen(small) < sizeof(small));
		if (!strchr(out, '%')) {
			weir_plain_path(out, again, sizeof(again));
			assert_string_equal(again, out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spellings_of_one_path_are_one),
		cmocka_unit_test(what_is_no_escape_stays),
		cmocka_unit_test(any_path_has_a_plain_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
