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

/* -- labels */

/* NULL: there is none. */
static const char *label_of(uint32_t header, const char *headers)
{
	static struct weir_label l;
	static char text[WEIR_HEAD_MAX];
	size_t n = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n\r\n", headers);
	uint32_t room = header == WEIR_HDR_SESSION ? WEIR_SESSION_BYTES : WEIR_FEATURE_BYTES;

	assert_int_equal(scan(text, n), WEIR_HEAD_DONE);
	memset(&l, 0x55, sizeof(l));
	if (!weir_head_label(&h, header, room, &l))
		return NULL;
	n = strlen(l.text);
	assert_true(n < room);
	for (; n < sizeof(l.text); n++)
		assert_int_equal(l.text[n], 0);
	return l.text;
}

static const char *session_of(const char *headers)
{
	return label_of(WEIR_HDR_SESSION, headers);
}

static void labels_are_found_in_any_case_and_with_any_blanks(void **state)
{
	assert_string_equal(session_of("x-weir-session: s-1"), "s-1");
	assert_string_equal(session_of("X-WEIR-SESSION:s-1"), "s-1");
	assert_string_equal(session_of("A: b\r\nX-Weir-Session: \t s-1  \r\nC: d"), "s-1");
	assert_string_equal(session_of("x-weir-session: !~{\"a\":1}"), "!~{\"a\":1}");
	assert_string_equal(label_of(WEIR_HDR_FEATURE, "x-weir-feature: chat"), "chat");
	assert_string_equal(
		label_of(WEIR_HDR_FEATURE, "x-weir-session: s\r\nX-Weir-Feature: summary"),
		"summary");
	assert_null(label_of(WEIR_HDR_FEATURE, "x-weir-session: s"));
	assert_null(session_of("x-weir-feature: f"));
}

static void a_label_of_every_length_that_fits(void **state)
{
	const uint32_t headers[] = { WEIR_HDR_SESSION, WEIR_HDR_FEATURE };
	const char *const names[] = { "x-weir-session", "x-weir-feature" };
	const size_t longest[] = { 63, 47 };

	for (int i = 0; i < 2; i++)
		for (size_t n = 0; n < 80; n++) {
			char value[100] = "", text[200];
			const char *is;

			for (size_t k = 0; k < n; k++)
				value[k] = (char)('!' + (k * 7 + n) % 94);
			snprintf(text, sizeof(text), "%s: %s", names[i], value);
			is = label_of(headers[i], text);
			if (!n || n > longest[i])
				assert_null(is);
			else
				assert_string_equal(is, value);
		}
}

/* Any byte that is not visible ASCII, at any place: none at all, not what is before it. */
static void a_label_with_another_byte_is_none(void **state)
{
	for (int c = 1; c < 256; c++)
		for (size_t at = 1; at < 20; at++) {
			char text[] = "x-weir-session: 0123456789abcdef0123456789";
			bool visible = c >= '!' && c <= '~';

			if (c < ' ' && c != '\t')
				continue; /* no head at all */
			text[16 + at] = (char)c;
			if (!!session_of(text) != visible)
				fail_msg("byte %02x at %zu", c, at);
		}
	/* Blanks in it; more before it than are skipped. */
	assert_null(session_of("x-weir-session: a b"));
	assert_null(session_of("x-weir-session:      a"));
	assert_null(session_of("x-weir-session: a\t"));
	assert_null(session_of("x-weir-session:   "));
}

static void a_label_that_comes_twice_is_none(void **state)
{
	assert_null(session_of("x-weir-session: a\r\nx-weir-session: a"));
	assert_null(session_of("x-weir-session: a\r\nX-Weir-Session:"));
	assert_string_equal(label_of(WEIR_HDR_FEATURE, "x-weir-session: a\r\nx-weir-feature: f\r\n"
						       "x-weir-session: b"),
			    "f");
}

static void what_only_looks_like_a_label_is_none(void **state)
{
	static const char *const headers[] = {
		"x-weir-sessio: x",	     "x-weir-sessions: x",   "x-weir-session-id: x",
		"x_weir_session: x",	     "my-x-weir-session: x", "x-weir-session\x1a x:",
		"Cookie: x-weir-session: x", "x-weir-tenant: x",     "x\rweir-session: x",
	};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		char text[200];

		snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n\r\n", headers[i]);
		scan_text(text);
		if (h.value[WEIR_HDR_SESSION].end)
			fail_msg("\"%s\" gives a session", headers[i]);
	}
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
		cmocka_unit_test(labels_are_found_in_any_case_and_with_any_blanks),
		cmocka_unit_test(a_label_of_every_length_that_fits),
		cmocka_unit_test(a_label_with_another_byte_is_none),
		cmocka_unit_test(a_label_that_comes_twice_is_none),
		cmocka_unit_test(what_only_looks_like_a_label_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
