/* SPDX-License-Identifier: Apache-2.0 */
/* Small tools everyone leans on: errors, times, hex, names, globs, the log. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/util.h"

static void an_error_is_one_line_and_gives_its_number(void **state)
{
	struct weir_error err;

	assert_int_equal(weir_fail(&err, ENOENT, "a\nb\t%s\x1b[31m", "c"), -ENOENT);
	assert_string_equal(err.text, "a?b?c?[31m");
	assert_int_equal(weir_fail(NULL, EINVAL, "x"), -EINVAL);
	weir_fail(&err, EINVAL, "first");
	weir_fail(&err, EINVAL, "%s, then", err.text); /* wrapping its own text */
	assert_string_equal(err.text, "first, then");
}

static void a_long_error_is_cut_between_characters(void **state)
{
	char text[600];
	struct weir_error err;

	for (size_t shift = 0; shift < 3; shift++) {
		memset(text, 'x', shift);
		for (size_t i = shift; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 4); /* a euro sign */
		weir_fail(&err, EINVAL, "%s", text);
		assert_true(strlen(err.text) >= sizeof(err.text) - 4);
		assert_int_equal((strlen(err.text) - shift) % 3, 0);
	}
}

static void an_error_is_utf8_whatever_it_quotes(void **state)
{
	struct weir_error err;

	weir_fail(&err, EINVAL, "%s",
		  "a\xff"
		  "b\xc0\x80"
		  "c\xed\xa0\x80"
		  "d\xe2\x82"
		  "e\xf4\x90\x80\x80"
		  "f\xc3\xa9");
	assert_string_equal(err.text, "a?b??c???d??e????f\xc3\xa9");
	weir_fail(&err, EINVAL, "%s", "torn \xe2\x82");
	assert_string_equal(err.text, "torn ");
}

static void time_is(const char *text, uint64_t want)
{
	uint64_t ns = 77;

	if (weir_time_parse(text, &ns))
		fail_msg("%s: refused", text);
	if (ns != want)
		fail_msg("%s: %llu, not %llu", text, (unsigned long long)ns,
			 (unsigned long long)want);
}

static void times_are_read_with_zone_and_fraction(void **state)
{
	time_is("1970-01-01T00:00:00Z", 0);
	time_is("2026-11-01T00:00:00Z", 1793491200000000000u);
	time_is("2026-11-01T00:00:00.25Z", 1793491200250000000u);
	time_is("2026-11-01T00:00:00.000000001Z", 1793491200000000001u);
	time_is("2026-11-01T01:30:00+01:30", 1793491200000000000u);
	time_is("2026-10-31T19:00:00-05:00", 1793491200000000000u);
	time_is("2026-11-01t00:00:00z", 1793491200000000000u);
	time_is("2000-02-29T00:00:00Z", 951782400000000000u);
	time_is("2554-07-21T23:34:33.709551615Z", UINT64_MAX);
}

static void what_is_no_time_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"now",
		"2026-11-01",
		"2026-11-01T00:00:00",
		"2026-11-01 00:00:00Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"2026-11-31T00:00:00Z",
		"2026-11-00T00:00:00Z",
		"2026-11-01T24:00:00Z",
		"2026-11-01T00:60:00Z",
		"2026-12-31T23:59:60Z", /* no leap seconds in Unix time */
		"2026-11-01T00:00:00.Z",
		"2026-11-01T00:00:00.1234567890Z",
		"2026-11-01T00:00:00+1:00",
		"2026-11-01T00:00:00+24:00",
		"2026-11-01T00:00:00+01:60",
		"2026-11-01T00:00:00Zx",
		"2026-11-1T00:00:00Z",
		"1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+00:01",
		"2554-07-21T23:34:33.709551616Z",
		"9999-01-01T00:00:00Z",
	};
	uint64_t ns = 77;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (weir_time_parse(bad[i], &ns) != -EINVAL)
			fail_msg("\"%s\" was not refused", bad[i]);
	assert_int_equal(ns, 77);
}

static void times_are_written_as_short_as_they_are_exact(void **state)
{
	char text[WEIR_TIME_TEXT];

	weir_time_format(1793491200000000000u, text);
	assert_string_equal(text, "2026-11-01T00:00:00Z");
	weir_time_format(1793491200250000000u, text);
	assert_string_equal(text, "2026-11-01T00:00:00.25Z");
	weir_time_format(UINT64_MAX, text);
	assert_string_equal(text, "2554-07-21T23:34:33.709551615Z");
}

static void times_agree_with_libc_day_by_day(void **state)
{
	char text[WEIR_TIME_TEXT], want[64];
	uint64_t back;

	for (time_t s = 12345; s < 18446744073; s += 86400) {
		struct tm tm;

		gmtime_r(&s, &tm);
		strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%SZ", &tm);
		weir_time_format((uint64_t)s * 1000000000, text);
		assert_string_equal(text, want);
		assert_int_equal(weir_time_parse(text, &back), 0);
		assert_true(back == (uint64_t)s * 1000000000);
	}
}

static void clocks_run_forward(void **state)
{
	uint64_t a = weir_mono_ns(), b = weir_mono_ns();

	assert_true(a <= b);
	assert_true(weir_wall_ns() / 1000000000 - (uint64_t)time(NULL) <= 1);
}

static void hex_goes_there_and_back(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x7f, 0x80, 0xff };
	uint8_t back[4] = { 1, 2, 3, 4 };
	char text[9];

	weir_hex(bytes, 4, text);
	assert_string_equal(text, "007f80ff");
	assert_int_equal(weir_unhex("007F80ff", back, 4), 0);
	assert_memory_equal(bytes, back, 4);
	assert_int_equal(weir_unhex("007f80f", back, 4), -EINVAL);
	assert_int_equal(weir_unhex("007f80ff0", back, 4), -EINVAL);
	assert_int_equal(weir_unhex("007f80fg", back, 4), -EINVAL);
	assert_int_equal(weir_unhex("", back, 4), -EINVAL);
	assert_memory_equal(bytes, back, 4); /* untouched by errors */
}

static void names_are_subject_tokens(void **state)
{
	char name[65];

	assert_true(weir_name_ok("acme"));
	assert_true(weir_name_ok("a-1_b"));
	assert_true(weir_name_ok("0"));
	assert_false(weir_name_ok(NULL));
	assert_false(weir_name_ok(""));
	assert_false(weir_name_ok("Acme"));
	assert_false(weir_name_ok("a.b"));
	assert_false(weir_name_ok("a b"));
	assert_false(weir_name_ok("*"));
	assert_false(weir_name_ok(">"));
	assert_false(weir_name_ok("caf\xc3\xa9"));
	memset(name, 'a', sizeof(name));
	name[63] = '\0';
	assert_true(weir_name_ok(name));
	name[63] = 'a';
	name[64] = '\0';
	assert_false(weir_name_ok(name));
}

static void globs_match_the_whole_text(void **state)
{
	assert_true(weir_glob("", ""));
	assert_true(weir_glob("*", ""));
	assert_true(weir_glob("*", "anything"));
	assert_true(weir_glob("llama-3.3-70b*", "llama-3.3-70b-instruct"));
	assert_true(weir_glob("llama-3.3-70b*", "llama-3.3-70b"));
	assert_false(weir_glob("llama-3.3-70b*", "llama-3.3-7"));
	assert_false(weir_glob("llama", "llama-3"));
	assert_false(weir_glob("llama", "Llama"));
	assert_true(weir_glob("a?c", "abc"));
	assert_false(weir_glob("a?c", "ac"));
	assert_true(weir_glob("*b*d", "abcbcd"));
	assert_true(weir_glob("a*b*c", "aXbXbXc"));
	assert_false(weir_glob("a*b*c", "aXbXbX"));
	assert_true(weir_glob("**", "x"));
	assert_false(weir_glob("", "x"));
	assert_true(weir_glob("[a]", "[a]")); /* no classes, no escapes */
}

static void a_hostile_glob_takes_no_time(void **state)
{
	char text[4001];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(weir_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
}

/* What weir_log writes to stderr, as text. */
static size_t logged(char *out, size_t size, enum weir_level level, const char *text)
{
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t n;

	assert_non_null(f);
	assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
	weir_log(level, "%s", text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	fclose(f);
	return n;
}

static void the_log_is_one_line_a_message(void **state)
{
	char out[4096], text[3000];

	logged(out, sizeof(out), WEIR_WARN, "a\nb");
	assert_string_equal(out, "test_util: warning: a b\n");
	logged(out, sizeof(out), WEIR_INFO, "ready");
	assert_string_equal(out, "test_util: ready\n");
	assert_int_equal(logged(out, sizeof(out), WEIR_DEBUG, "hidden"), 0);
	weir_log_max(WEIR_DEBUG);
	logged(out, sizeof(out), WEIR_DEBUG, "shown");
	assert_string_equal(out, "test_util: debug: shown\n");
	weir_log_max(WEIR_INFO);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_true(logged(out, sizeof(out), WEIR_ERR, text) <= 2048);
	assert_int_equal(out[strlen(out) - 1], '\n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_is_one_line_and_gives_its_number),
		cmocka_unit_test(a_long_error_is_cut_between_characters),
		cmocka_unit_test(an_error_is_utf8_whatever_it_quotes),
		cmocka_unit_test(times_are_read_with_zone_and_fraction),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(times_are_written_as_short_as_they_are_exact),
		cmocka_unit_test(times_agree_with_libc_day_by_day),
		cmocka_unit_test(clocks_run_forward),
		cmocka_unit_test(hex_goes_there_and_back),
		cmocka_unit_test(names_are_subject_tokens),
		cmocka_unit_test(globs_match_the_whole_text),
		cmocka_unit_test(a_hostile_glob_takes_no_time),
		cmocka_unit_test(the_log_is_one_line_a_message),
	};

	unsetenv("JOURNAL_STREAM");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
