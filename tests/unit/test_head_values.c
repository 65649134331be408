/* SPDX-License-Identifier: Apache-2.0 */
/* What a head's headers say: the key and where it is looked for, how the body is framed, what
 * is asked for beside. */
#include "tests/unit/head_fixture.h"

static const char *key_of(const char *headers)
{
	static char text[WEIR_HEAD_MAX];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n\r\n", headers);
	assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
	return key();
}

static uint64_t length_of(const char *value)
{
	char text[256];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nContent-Length:%s\r\n\r\n", value);
	assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
	return weir_head_content_length(&h);
}

static void the_key_is_found_in_any_case_and_with_any_blanks(void **state)
{
	assert_string_equal(key_of("Authorization: Bearer sk-1"), "sk-1");
	assert_string_equal(key_of("authorization:bearer sk-1"), "sk-1");
	assert_string_equal(key_of("AUTHORIZATION:  BEARER   sk-1  "), "sk-1");
	assert_string_equal(key_of("Authorization:\tBeArEr sk-1"), "sk-1");
	/* Some servers take a TAB at the end for part of the value. */
	assert_string_equal(key_of("x-api-key: sk-1\t"), "sk-1\t");
	assert_string_equal(key_of("X-API-KEY:sk-1"), "sk-1");
	assert_string_equal(key_of("Api-Key: sk-1"), "sk-1");
	assert_string_equal(key_of("A: b\r\napi-key: sk-1\r\nC: d"), "sk-1");
}

static void authorization_comes_before_the_others(void **state)
{
	assert_string_equal(key_of("x-api-key: two\r\napi-key: three\r\nAuthorization: Bearer one"),
			    "one");
	assert_string_equal(key_of("api-key: three\r\nx-api-key: two"), "two");
	assert_string_equal(key_of("x-api-key: first\r\nx-api-key: second"), "first");
}

static void what_only_looks_like_a_key_header_is_none(void **state)
{
	static const char *const headers[] = {
		"Authorizatio: Bearer x",
		"Authorizations: Bearer x",
		"X-Authorization: Bearer x",
		"x-api-keys: x",
		"x-api-ke: x",
		"my-api-key: x",
		"Authorization: Basic eDp5",
		"Authorization: Bearer",
		"Authorization: Bearerx",
		"Authorization:",
		"Cookie: api-key: x",
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		if (key_of(headers[i]))
			fail_msg("\"%s\" gives the key \"%s\"", headers[i], key());
}

/* Folding case must not turn 0d into '-' and 1a into ':': both are bad anyway; or 0e, 5f
 * and the like into letters. */
static void only_letters_have_a_case(void **state)
{
	static const char name[] = "transfer-encoding";

	for (size_t i = 0; i < sizeof(name) - 1; i++)
		for (int c = 0x21; c < 256; c++) {
			char text[100];
			bool same = (c | 0x20) == name[i] && name[i] != '-';

			if (c == ':')
				continue;
			same |= c == name[i];
			snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s: chunked\r\n\r\n",
				 name);
			text[17 + i] = c;
			assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
			assert_int_equal(weir_head_coding(&h) == WEIR_CODING_CHUNKED, same);
		}
}

static void lengths_are_plain_numbers(void **state)
{
	assert_int_equal(length_of(" 0"), 0);
	assert_int_equal(length_of("42"), 42);
	assert_int_equal(length_of("\t 000042 "), 42);
	assert_int_equal(length_of(" 42\t"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 999999999999999999"), 999999999999999999ULL);
	assert_int_equal(length_of(" 1000000000000000000"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 99999999999999999999999999"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" -1"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" +1"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 0x10"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 1,1"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(""), WEIR_NO_LENGTH);
	scan_text("GET / HTTP/1.1\r\n\r\n");
	assert_int_equal(weir_head_content_length(&h), WEIR_NO_LENGTH);
}

/* "1 2" is no number: a server would refuse it, or read one of the two. */
static void two_numbers_are_none(void **state)
{
	assert_int_equal(length_of(" 1 2"), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 1\t2 "), WEIR_NO_LENGTH);
	assert_int_equal(length_of(" 12  "), 12);
}

/* What is longer than we look is unknown, and not the number it begins with. */
static void a_number_behind_many_blanks_is_whole_or_unknown(void **state)
{
	for (int blanks = 0; blanks < 40; blanks++) {
		char value[64];
		uint64_t n;

		snprintf(value, sizeof(value), "%*s1234", blanks, "");
		n = length_of(value);
		assert_true(n == 1234 || n == WEIR_NO_LENGTH);
		assert_true(n == 1234 || blanks > 16);
	}
}

static uint32_t coding_of(const char *value)
{
	char text[256];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\ntransfer-ENCODING:%s\r\n\r\n", value);
	assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
	return weir_head_coding(&h);
}

static void chunked_and_nothing_else_is_chunked(void **state)
{
	static const char *const others[] = {
		"",
		" ",
		" identity",
		" gzip, chunked",
		" chunked, chunked",
		" chunked;a=b",
		" \"chunked\"",
		" chunke",
		" chunkedx",
		" xchunked",
		"      chunked",
		" chunked\t",
		" chunked     ",
		",chunked",
	};

	assert_int_equal(coding_of(" chunked"), WEIR_CODING_CHUNKED);
	assert_int_equal(coding_of("CHUNKED"), WEIR_CODING_CHUNKED);
	assert_int_equal(coding_of("\t \t ChUnKeD    "), WEIR_CODING_CHUNKED);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(coding_of(others[i]), WEIR_CODING_OTHER);
	scan_text("POST / HTTP/1.1\r\ntransfer-encodings: chunked\r\n\r\n");
	assert_int_equal(weir_head_coding(&h), WEIR_CODING_NONE);
}

static uint32_t asks(uint32_t (*what)(const struct weir_head *), const char *line)
{
	char text[256];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n\r\n", line);
	assert_int_equal(scan_text(text), WEIR_HEAD_DONE);
	return what(&h);
}

static void an_upgrade_to_h2c_is_only_an_offer(void **state)
{
	assert_false(asks(weir_head_upgrades, "A: b"));
	assert_false(asks(weir_head_upgrades, "Upgrade: h2c"));
	assert_false(asks(weir_head_upgrades, "upgrade:h2c  "));
	assert_true(asks(weir_head_upgrades, "Upgrade: websocket"));
	assert_true(asks(weir_head_upgrades, "Upgrade: h2c, websocket"));
	assert_true(asks(weir_head_upgrades, "Upgrade: H2C"));
	assert_true(asks(weir_head_upgrades, "Upgrade: h2"));
	assert_true(asks(weir_head_upgrades, "Upgrade:"));
}

static void identity_is_no_encoding(void **state)
{
	assert_false(asks(weir_head_encoded, "A: b"));
	assert_false(asks(weir_head_encoded, "Content-Encoding: Identity "));
	assert_true(asks(weir_head_encoded, "Content-Encoding: gzip"));
	assert_true(asks(weir_head_encoded, "Content-Encoding: identity, gzip"));
	assert_true(asks(weir_head_encoded, "content-encoding: xidentity"));
	assert_true(asks(weir_head_encoded, "Content-Encoding:"));
}

/* -- lines that are kept */

static const char *const wanted[] = { "x-weir-user:", "x-stainless-retry-count:", "baggage:" };

static uint64_t bits_of(const char *const *names, size_t n)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < n; i++)
		bits |= weir_line_bit(weir_load64(names[i]) | WEIR_LOWER);
	return bits;
}

/* A head with these lines, cut at `cut`, with the bits of `wanted` or others. */
static void keep(const char *lines, size_t cut, uint64_t bits)
{
	char text[4096];
	size_t n = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n\r\n", lines);

	spoil();
	weir_head_start(&h, true);
	h.line_bits = bits;
	if (cut >= n)
		cut = 0; /* whole */
	if (cut)
		assert_int_equal(add(text, cut), WEIR_HEAD_MORE);
	assert_int_equal(add(text + cut, n - cut), WEIR_HEAD_DONE);
}

static uint64_t wanted_bits(void)
{
	return bits_of(wanted, sizeof(wanted) / sizeof(wanted[0]));
}

static void is_kept(uint32_t i, const char *line)
{
	assert_true(i < h.n_kept);
	assert_int_equal(h.kept[i].end - h.kept[i].off, strlen(line));
	assert_memory_equal(h.bytes + h.kept[i].off, line, strlen(line));
}

static void lines_are_kept_as_they_are_wherever_a_head_is_cut(void **state)
{
	static const char lines[] =
		"Host: llm\r\nX-WEIR-User:  alice \r\nAuthorization: Bearer sk\r\n"
		"baggage: a=b\nx-stainless-lang: python\r\nX-Stainless-Retry-Count: 0";

	for (size_t cut = 1; cut <= sizeof(lines) + 16; cut++) {
		keep(lines, cut, wanted_bits());
		assert_int_equal(h.n_kept, 4);
		is_kept(0, "X-WEIR-User:  alice ");
		is_kept(1, "baggage: a=b");
		is_kept(2, "x-stainless-lang: python"); /* begins alike: looked at later */
		is_kept(3, "X-Stainless-Retry-Count: 0");
		assert_string_equal(key(), "sk");
	}
}

/* Whatever the bits say: they may be of any name. */
static void headers_that_a_verdict_depends_on_are_never_kept(void **state)
{
	keep("Authorization: Bearer sk\r\nx-api-key: a\r\napi-key: b\r\nContent-Length: 0\r\n"
	     "Transfer-Encoding: chunked\r\nUpgrade: h2c\r\nx-weir-tenant: t\r\n"
	     "Content-Encoding: gzip\r\nHost: llm",
	     0, ~0ULL);
	assert_int_equal(h.n_kept, 1);
	is_kept(0, "Host: llm");
	assert_int_equal(h.repeated, 0);
}

static void nothing_is_kept_of_what_nobody_asked_for(void **state)
{
	keep("x-weir-user: alice\r\nbaggage: a=b", 0, 0);
	assert_int_equal(h.n_kept, 0);
	keep("x-weir-usex: alice\r\nBagger: a=b\r\nb: c", 0, wanted_bits());
	is_kept(0, "x-weir-usex: alice"); /* eight bytes alike */
	assert_int_equal(h.n_kept, 1);
}

static void the_first_lines_are_kept_of_too_many(void **state)
{
	char lines[2048], line[32];
	size_t n = 0;

	for (int i = 0; i < WEIR_HEAD_KEPT + 5; i++)
		n += sprintf(lines + n, "baggage: n=%d\r\n", i);
	lines[n - 2] = '\0';
	keep(lines, 0, wanted_bits());
	assert_int_equal(h.n_kept, WEIR_HEAD_KEPT);
	for (int i = 0; i < WEIR_HEAD_KEPT; i++) {
		sprintf(line, "baggage: n=%d", i);
		is_kept(i, line);
	}
	assert_int_equal(h.repeated, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_key_is_found_in_any_case_and_with_any_blanks),
		cmocka_unit_test(authorization_comes_before_the_others),
		cmocka_unit_test(what_only_looks_like_a_key_header_is_none),
		cmocka_unit_test(only_letters_have_a_case),
		cmocka_unit_test(lengths_are_plain_numbers),
		cmocka_unit_test(two_numbers_are_none),
		cmocka_unit_test(a_number_behind_many_blanks_is_whole_or_unknown),
		cmocka_unit_test(chunked_and_nothing_else_is_chunked),
		cmocka_unit_test(an_upgrade_to_h2c_is_only_an_offer),
		cmocka_unit_test(identity_is_no_encoding),
		cmocka_unit_test(lines_are_kept_as_they_are_wherever_a_head_is_cut),
		cmocka_unit_test(headers_that_a_verdict_depends_on_are_never_kept),
		cmocka_unit_test(nothing_is_kept_of_what_nobody_asked_for),
		cmocka_unit_test(the_first_lines_are_kept_of_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
