// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about labels: which line says what, who is asked first, and that what cannot be a label
 * is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/labels.h"

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static struct weir_label_config defaults(void)
{
	struct weir_label_config c;

	weir_label_config_default(&c);
	return c;
}

/* A head's lines, NULL-terminated, by the defaults. */
static struct weir_labels of(const char *const *lines)
{
	struct weir_label_config c = defaults();
	struct weir_labels l = { 0 };

	for (; *lines; lines++)
		weir_labels_line(&c, &l, *lines, strlen(*lines), 0);
	return l;
}
#define OF(...) of((const char *const[]){ __VA_ARGS__, NULL })

static void each_label_has_a_header(void **state)
{
	struct weir_labels l =
		OF("x-weir-user: ann", "X-Weir-Team:ml", "x-weir-cost-center:  cc-7\t",
		   "X-WEIR-SESSION: s-1", "x-weir-feature: chat", "x-request-id: r-1",
		   "x-stainless-retry-count: 2", "traceparent: 00-" TRACE "-" PARENT "-01");
	static const uint8_t trace[16] = { 0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd,
					   0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c };

	assert_string_equal(l.user, "ann");
	assert_string_equal(l.team, "ml");
	assert_string_equal(l.cost_center, "cc-7");
	assert_string_equal(l.session, "s-1");
	assert_string_equal(l.feature, "chat");
	assert_string_equal(l.request_id, "r-1");
	assert_int_equal(l.retry_count, 2);
	assert_memory_equal(l.trace_id, trace, 16);
	assert_int_equal(l.trusted, 0);
}

static void what_is_not_said_is_not_known(void **state)
{
	static const struct weir_labels nothing;
	struct weir_labels l =
		OF("x-weir-users: ann", "x-weir-use: bob", "accept: */*", "", ":", ": x",
		   "x-weir-user", "x-weir-user : ann", "xbaggage: team=a", " x-weir-user: ann");

	assert_memory_equal(&l, &nothing, sizeof(l));
}

static void a_value_is_visible_ascii_that_fits(void **state)
{
	static const char *const bad[] = {
		"two words", "a\tb", "a\x7f", "\xc3\xa4", "", " ", "a\1",
	};
	char line[128], longest[64] = "";

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(line, sizeof(line), "x-weir-user: %s", bad[i]);
		assert_string_equal(OF(line).user, "");
	}
	memset(longest, 'u', 63);
	snprintf(line, sizeof(line), "x-weir-user:%s", longest);
	assert_string_equal(OF(line).user, longest);
	snprintf(line, sizeof(line), "x-weir-user:%su", longest);
	assert_string_equal(OF(line).user, "");
	longest[47] = '\0';
	snprintf(line, sizeof(line), "x-weir-team:%s", longest);
	assert_string_equal(OF(line).team, longest);
	snprintf(line, sizeof(line), "x-weir-team:%su", longest);
	assert_string_equal(OF(line).team, "");
}

/* Nothing of an earlier, longer one is left behind it. */
static void texts_are_padded(void **state)
{
	static const char zeros[64];
	struct weir_labels l = OF("baggage: user.id=a-long-name", "x-weir-user: b");

	assert_string_equal(l.user, "b");
	assert_memory_equal(l.user + 1, zeros, sizeof(l.user) - 1);
}

static void a_header_that_comes_twice_is_none(void **state)
{
	assert_string_equal(OF("x-weir-user: a", "x-weir-user: a").user, "");
	assert_string_equal(OF("x-weir-user: a", "x-weir-user: b", "x-weir-user: c").user, "");
	assert_string_equal(OF("x-weir-user:", "x-weir-user: b").user, "");
	assert_int_equal(OF("traceparent: 00-" TRACE "-" PARENT "-01",
			    "Traceparent: 00-" TRACE "-" PARENT "-01")
				 .trace_id[0],
			 0);
	assert_int_equal(OF("x-stainless-retry-count: 1", "x-stainless-retry-count: 2").retry_count,
			 0);
}

/* In whatever order the lines come, and be it that the one that is asked says nothing. */
static void an_earlier_source_decides(void **state)
{
	assert_string_equal(OF("x-weir-user: a", "baggage: user.id=b").user, "a");
	assert_string_equal(OF("baggage: user.id=b", "x-weir-user: a").user, "a");
	assert_string_equal(OF("baggage: enduser.id=c,user.id=b").user, "b");
	assert_string_equal(OF("baggage: enduser.id=c").user, "c");
	assert_string_equal(OF("baggage: user.id=b", "x-weir-user: a b").user, "");
	assert_string_equal(OF("x-weir-user: a b", "baggage: user.id=b").user, "");
	assert_string_equal(OF("x-weir-user: a", "baggage: user.id=b", "x-weir-user: a").user, "");
}

static void baggage_is_a_list_of_members(void **state)
{
	struct weir_labels l =
		OF("Baggage: user.id=ann , team = ml ;secret;ttl=7,cost_center=c%2D7",
		   "baggage: session.id=s-1,,feature=chat,x,=y");

	assert_string_equal(l.user, "ann");
	assert_string_equal(l.team, "ml");
	assert_string_equal(l.cost_center, "c-7");
	assert_string_equal(l.session, "s-1");
	assert_string_equal(l.feature, "chat");
}

static void baggage_keys_are_whole_and_of_one_case(void **state)
{
	assert_string_equal(OF("baggage: Team=a").team, "");
	assert_string_equal(OF("baggage: teams=a,tea=b, team.x=c").team, "");
	assert_string_equal(OF("baggage: team").team, "");
	assert_string_equal(OF("baggage: team=a=b").team, "a=b");
	assert_string_equal(OF("baggage: other=1;team=a").team, "");
}

static void a_baggage_key_that_comes_twice_is_none(void **state)
{
	assert_string_equal(OF("baggage: team=a,team=b").team, "");
	assert_string_equal(OF("baggage: team=a", "baggage: team=a").team, "");
	assert_string_equal(OF("baggage: team=a,feature=f,team=b").feature, "f");
}

static void baggage_is_percent_decoded(void **state)
{
	char line[256] = "baggage: team=";

	assert_string_equal(OF("baggage: team=%41%6c%6C").team, "All");
	assert_string_equal(OF("baggage: team=a%2Cb%3Bc%25").team, "a,b;c%");
	assert_string_equal(OF("baggage: team=a%20b").team, "");
	assert_string_equal(OF("baggage: team=a%00").team, "");
	assert_string_equal(OF("baggage: team=%C3%A4").team, "");
	assert_string_equal(OF("baggage: team=a%").team, "");
	assert_string_equal(OF("baggage: team=a%4").team, "");
	assert_string_equal(OF("baggage: team=a%4g").team, "");
	/* What is long only because it is encoded fits. */
	for (int i = 0; i < 47; i++)
		strcat(line, "%61");
	assert_int_equal(strlen(OF(line).team), 47);
	strcat(line, "%61");
	assert_string_equal(OF(line).team, "");
}

static void of_a_cut_line_the_end_is_not_believed(void **state)
{
	struct weir_label_config c = defaults();
	struct weir_labels l = { 0 };
	const char *baggage = "baggage: user.id=ann,team=ml,feature=cha";

	weir_labels_line(&c, &l, baggage, strlen(baggage), WEIR_LINE_CUT);
	assert_string_equal(l.user, "ann");
	assert_string_equal(l.team, "ml");
	assert_string_equal(l.feature, "");
	weir_labels_line(&c, &l, "baggage: feature=f", 18, WEIR_LINE_CUT);
	assert_string_equal(l.feature, "");
	weir_labels_line(&c, &l, "x-weir-session: s", 17, WEIR_LINE_CUT);
	assert_string_equal(l.session, "");
	weir_labels_line(&c, &l, "baggage: session.id=s", 21, 0);
	assert_string_equal(l.session, ""); /* the header was there */
}

static void traceparents_are_those_of_w3c(void **state)
{
	static const char *const bad[] = {
		"00-" TRACE "-" PARENT,
		"00-" TRACE "-" PARENT "-0",
		"00-" TRACE "-" PARENT "-01-",
		"00-" TRACE "-" PARENT "-01-extra",
		"ff-" TRACE "-" PARENT "-01",
		"0g-" TRACE "-" PARENT "-01",
		"00_" TRACE "-" PARENT "-01",
		"00-" TRACE "_" PARENT "-01",
		"00-" TRACE "-" PARENT "_01",
		"00-" TRACE "-" PARENT "-0x",
		"01-" TRACE "-" PARENT "-01x",
		"00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01",
		"00-00000000000000000000000000000000-" PARENT "-01",
		"00-" TRACE "-0000000000000000-01",
		TRACE,
		"",
	};
	static const char *const good[] = {
		"00-" TRACE "-" PARENT "-00",
		"00-" TRACE "-" PARENT "-ff",
		"01-" TRACE "-" PARENT "-01",
		"cc-" TRACE "-" PARENT "-01-what-comes-later",
	};
	static const uint8_t none[16];
	char line[128];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct weir_labels l;

		snprintf(line, sizeof(line), "traceparent: %s", bad[i]);
		l = OF(line);
		assert_memory_equal(l.trace_id, none, 16);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		snprintf(line, sizeof(line), "traceparent: %s", good[i]);
		assert_int_equal(OF(line).trace_id[0], 0x0a);
		assert_int_equal(OF(line).trace_id[15], 0x9c);
	}
}

static void retries_are_counted_to_255(void **state)
{
	assert_int_equal(OF("x-stainless-retry-count: 0").retry_count, 0);
	assert_int_equal(OF("x-stainless-retry-count: 007").retry_count, 7);
	assert_int_equal(OF("x-stainless-retry-count: 255").retry_count, 255);
	assert_int_equal(OF("x-stainless-retry-count: 256").retry_count, 255);
	assert_int_equal(OF("x-stainless-retry-count: 99999999999999999999999").retry_count, 255);
	assert_int_equal(OF("x-stainless-retry-count: -1").retry_count, 0);
	assert_int_equal(OF("x-stainless-retry-count: 2x").retry_count, 0);
}

static void whoever_sent_them_is_remembered(void **state)
{
	struct weir_label_config c = defaults();
	struct weir_labels l = { 0 };

	weir_labels_line(&c, &l, "x-weir-user: a", 14, WEIR_LABELS_TRUSTED);
	assert_int_equal(l.trusted, 1);
}

static void the_body_is_asked_last(void **state)
{
	struct weir_label_config c = defaults();
	struct weir_labels l = { 0 };

	weir_labels_body_user(&c, &l, "", 0);
	assert_int_equal(l.rank[WEIR_LABEL_USER], 0);
	weir_labels_body_user(&c, &l, "body", 4);
	assert_string_equal(l.user, "body");
	weir_labels_body_user(&c, &l, "later", 5); /* the last of two counts */
	assert_string_equal(l.user, "later");
	weir_labels_body_user(&c, &l, "", 0); /* and if it is none, none */
	assert_string_equal(l.user, "");
	weir_labels_body_user(&c, &l, "body", 4);
	weir_labels_line(&c, &l, "baggage: enduser.id=ann", 23, 0);
	assert_string_equal(l.user, "ann");
	weir_labels_body_user(&c, &l, "body", 4);
	assert_string_equal(l.user, "ann");
	c.body_user = false;
	l = (struct weir_labels){ 0 };
	weir_labels_body_user(&c, &l, "body", 4);
	assert_string_equal(l.user, "");
}

/* One header may say several things, a label may have many. */
static void sources_are_those_of_the_configuration(void **state)
{
	struct weir_label_config c = { .sources = { { WEIR_LABEL_USER, WEIR_LABEL_HEADER, "x-who" },
						    { WEIR_LABEL_USER, WEIR_LABEL_HEADER, "from" },
						    { WEIR_LABEL_TEAM, WEIR_LABEL_HEADER, "x-who" },
						    { WEIR_LABEL_SESSION, WEIR_LABEL_BAGGAGE,
						      "Session" } },
				       .n_sources = 4 };
	struct weir_labels l = { 0 };

	weir_labels_line(&c, &l, "from: b", 7, 0);
	weir_labels_line(&c, &l, "x-weir-user: c", 14, 0);
	assert_string_equal(l.user, "b");
	weir_labels_line(&c, &l, "X-Who: a", 8, 0);
	assert_string_equal(l.user, "a");
	assert_string_equal(l.team, "a");
	weir_labels_line(&c, &l, "baggage: session=x,Session=y", 28, 0);
	assert_string_equal(l.session, "y");
}

/* ---------------------------------------------------------------- what the kernel looks for */

static struct weir_line_name names[WEIR_LINE_NAMES];

/* Would the kernel ship that line? As bpf does it. */
static bool shipped(uint32_t n, uint64_t bits, const char *line)
{
	uint64_t word[2] = { 0, 0 };
	uint8_t padded[16] = { 0 };

	memcpy(padded, line, strnlen(line, 16));
	for (int i = 0; i < 16; i++)
		padded[i] |= 0x20;
	memcpy(word, padded, 16);
	if (!(bits & weir_line_bit(word[0])))
		return false;
	for (uint32_t i = 0; i < n; i++)
		if ((word[0] & names[i].mask[0]) == names[i].word[0] &&
		    (word[1] & names[i].mask[1]) == names[i].word[1] &&
		    strlen(line) >= names[i].len && line[names[i].len - 1] == ':')
			return true;
	return false;
}

static void the_kernel_looks_for_each_header_once(void **state)
{
	struct weir_label_config c = defaults();
	uint64_t bits;
	uint32_t n = weir_label_lines(&c, names, &bits);

	assert_int_equal(n, 9); /* eight headers and baggage */
	for (size_t i = 0; i < c.n_sources; i++) {
		char line[80];

		if (c.sources[i].kind != WEIR_LABEL_HEADER)
			continue;
		snprintf(line, sizeof(line), "%s: x", c.sources[i].name);
		assert_true(shipped(n, bits, line));
		line[0] &= ~0x20;
		assert_true(shipped(n, bits, line));
	}
	assert_true(shipped(n, bits, "Baggage:"));
	assert_false(shipped(n, bits, "x-weir-users: x"));
	assert_false(shipped(n, bits, "authorization: Bearer x"));
	assert_false(shipped(n, bits, "x-weir-tenant: x"));
	assert_false(shipped(n, bits, "content-length: 7"));
	assert_true(__builtin_popcountll(bits) <= 9); /* of 64: most lines are passed over */
}

static void only_the_retry_count_is_not_worth_a_zero(void **state)
{
	struct weir_label_config c = defaults();
	uint64_t bits;
	uint32_t n = weir_label_lines(&c, names, &bits), zeros = 0;

	for (uint32_t i = 0; i < n; i++)
		zeros += names[i].flags == WEIR_LINE_NOT_ZERO;
	assert_int_equal(zeros, 1);
	strcpy(c.sources[0].name, "x-stainless-retry-count"); /* a user may be called 0 */
	n = weir_label_lines(&c, names, &bits);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(names[i].flags, 0);
}

static void short_names_are_found_whatever_their_value(void **state)
{
	struct weir_label_config c = {
		.sources = { { WEIR_LABEL_USER, WEIR_LABEL_HEADER, "from" } }, .n_sources = 1
	};
	uint64_t bits;
	uint32_t n = weir_label_lines(&c, names, &bits);

	assert_int_equal(n, 1);
	assert_true(shipped(n, bits, "From: a@b"));
	assert_true(shipped(n, bits, "from:zzzz"));
	assert_false(shipped(n, bits, "fromm: a"));
}

static void no_configuration_looks_for_nothing(void **state)
{
	struct weir_label_config c = { 0 };
	uint64_t bits = 7;

	assert_int_equal(weir_label_lines(&c, names, &bits), 0);
	assert_int_equal(bits, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_label_has_a_header),
		cmocka_unit_test(what_is_not_said_is_not_known),
		cmocka_unit_test(a_value_is_visible_ascii_that_fits),
		cmocka_unit_test(texts_are_padded),
		cmocka_unit_test(a_header_that_comes_twice_is_none),
		cmocka_unit_test(an_earlier_source_decides),
		cmocka_unit_test(baggage_is_a_list_of_members),
		cmocka_unit_test(baggage_keys_are_whole_and_of_one_case),
		cmocka_unit_test(a_baggage_key_that_comes_twice_is_none),
		cmocka_unit_test(baggage_is_percent_decoded),
		cmocka_unit_test(of_a_cut_line_the_end_is_not_believed),
		cmocka_unit_test(traceparents_are_those_of_w3c),
		cmocka_unit_test(retries_are_counted_to_255),
		cmocka_unit_test(whoever_sent_them_is_remembered),
		cmocka_unit_test(the_body_is_asked_last),
		cmocka_unit_test(sources_are_those_of_the_configuration),
		cmocka_unit_test(the_kernel_looks_for_each_header_once),
		cmocka_unit_test(only_the_retry_count_is_not_worth_a_zero),
		cmocka_unit_test(short_names_are_found_whatever_their_value),
		cmocka_unit_test(no_configuration_looks_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
