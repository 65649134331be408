// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about the JSON scanner: what it reports and when it stops believing.
 * Every document is fed whole and cut at every byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/json_scan.h"

/* {"s": string, "f": bytes of a string, "n": number, "o": the same again, "a": [same],
 * "b": container, "c": bytes of anything, "k": key, "t": true} */
enum { NOWHERE, DOC, DOCS, S, F, N, A, B, C, K, T };

static const uint16_t want[] = {
	[DOC] = WEIR_SCAN_OBJECT | WEIR_SCAN_END,
	[DOCS] = WEIR_SCAN_ARRAY | WEIR_SCAN_END,
	[S] = WEIR_SCAN_STRING,
	[F] = WEIR_SCAN_BYTES | WEIR_SCAN_KEY,
	[N] = WEIR_SCAN_NUMBER,
	[A] = WEIR_SCAN_ARRAY | WEIR_SCAN_END,
	[B] = WEIR_SCAN_OPEN,
	[C] = WEIR_SCAN_BYTES,
	[K] = WEIR_SCAN_KEY,
	[T] = WEIR_SCAN_TRUE,
};

static uint8_t child(uint8_t node, const char *key, size_t len)
{
	static const char keys[] = "sfnoabckt";
	static const uint8_t nodes[] = { S, F, N, DOC, A, B, C, K, T };
	const char *at;

	if (!key)
		return DOC;
	if (len != 1 || !*key || !(at = strchr(keys, *key)))
		return NOWHERE;
	return nodes[at - keys];
}

static void found(void *ctx, uint8_t node, const struct weir_scan_found *f)
{
	char *log = ctx;
	size_t used = strlen(log);
	const char *at;
	int n = 0;

	if (used && log[used - 1] != ' ' && f->event != WEIR_SCAN_IS_BYTES)
		strcpy(log + used++, " ");
	switch (f->event) {
	case WEIR_SCAN_IS_STRING: /* only what a cut string keeps is promised */
		snprintf(log + used, 4096 - used, "s=%.*s ",
			 (int)(f->len < WEIR_TEXT_BYTES ? f->len : WEIR_TEXT_BYTES), f->text);
		break;
	case WEIR_SCAN_IS_NUMBER:
		snprintf(log + used, 4096 - used, "n=%lld ", (long long)f->number);
		break;
	case WEIR_SCAN_IS_BYTES: /* in pieces; their sum is promised */
		at = strrchr(log, '#');
		if (at && !strchr(at, ' ')) {
			n = atoi(at + 1);
			used = (size_t)(at - log);
		}
		snprintf(log + used, 4096 - used, "#%d", n + (int)f->number);
		break;
	case WEIR_SCAN_IS_OPEN:
		snprintf(log + used, 4096 - used, "b ");
		break;
	case WEIR_SCAN_IS_KEY:
		snprintf(log + used, 4096 - used, "%s ", node == F ? "f" : "k");
		break;
	case WEIR_SCAN_IS_TRUE:
		snprintf(log + used, 4096 - used, "t ");
		break;
	case WEIR_SCAN_IS_END:
		snprintf(log + used, 4096 - used, "%s ",
			 node == A	? "]"
			 : node == DOCS ? "]]"
					: "}");
		break;
	}
}

static const struct weir_scan_schema schema = { .want = want, .child = child, .found = found };

static void scan(const char *doc, size_t n, const char *log)
{
	char got[4096];
	size_t cut;

	for (cut = 0; cut <= n; cut++) {
		struct weir_scan j = { 0 };

		got[0] = '\0';
		if (weir_scan_feed(&j, &schema, got, (const uint8_t *)doc, cut) == cut)
			weir_scan_feed(&j, &schema, got, (const uint8_t *)doc + cut, n - cut);
		assert_string_equal(got, log);
	}
}

#define SCAN(doc, log) scan(doc, sizeof(doc) - 1, log)

static void only_asked_for_values_are_reported(void **unused)
{
	SCAN("{}", "} ");
	SCAN(" { \"s\" : \"x\" , \"t\" : \"y\" , \"n\" : 12 }\r\n", "s=x n=12 } ");
	SCAN("{\"f\":\"\",\"f\":\"x\",\"f\":\"\\n\\\"..\",\"f\":1,\"f\":[2]}",
	     "f f #1 f #6 f f } ");
	SCAN("{\"c\":\"x\",\"n\":1,\"c\":[1,{\"y\":\"]\"}],\"n\":2,\"c\":7}", "#1 n=1 #13 n=2 } ");
	SCAN("{\"k\":null,\"k\":[],\"x\":{\"k\":1}}", "k k } ");
	SCAN("{\"t\":true,\"t\":false,\"t\":\"true\",\"t\":1,\"t\":true}", "t t } ");
	SCAN("{\"b\":{},\"b\":[],\"b\":1,\"b\":\"\"}", "b b } ");
	SCAN("{\"a\":[],\"a\":[{\"n\":1},{\"n\":2},3,[{\"n\":4}]],\"n\":5}",
	     "] n=1 } n=2 } ] n=5 } ");
	SCAN("{\"s\":1,\"s\":null,\"s\":[\"s\"],\"s\":{\"s\":\"x\"},\"n\":\"1\",\"n\":true}", "} ");
}

static void structure_inside_strings_is_text(void **unused)
{
	SCAN("{\"x\":\"}\\\",\\\"n\\\":1,{[\\\\\",\"n\":2}", "n=2 } ");
	SCAN("{\"x\":{\"y\":\"]}\\\"]}\"},\"n\":3}", "n=3 } ");
	SCAN("{\"s\":\"\\\"n\\\":1\"}", "s=\"n\":1 } ");
	SCAN("{\"x\":\"\\u\",\"n\":1}", "n=1 } ");
}

static void strings_are_unescaped(void **unused)
{
	SCAN("{\"s\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "s=\"\\/\b\f\n\r\t } ");
	SCAN("{\"s\":\"\\u0041\\u00e4\\u20AC\\ud83d\\ude00.\"}", "s=A\xc3\xa4\xe2\x82\xac"
								 "\xf0\x9f\x98\x80. } ");
	SCAN("{\"s\":\"\\ud83d\\ude00\\u0041\"}", "s=\xf0\x9f\x98\x80"
						  "A } ");
	SCAN("{\"\\u0073\":\"x\"}", "s=x } ");
	/* nothing is kept from where it is invalid */
	SCAN("{\"s\":\"a\\qb\",\"n\":1}", "s=a n=1 } ");
	SCAN("{\"s\":\"a\\ud83db\\n\",\"n\":1}", "s=a n=1 } ");
	SCAN("{\"s\":\"a\\ud83d\\nb\",\"n\":1}", "s=a n=1 } ");
	SCAN("{\"s\":\"a\\ud83d\\ud83db\",\"n\":1}", "s=a n=1 } ");
	SCAN("{\"s\":\"a\\ud83d\\\"b\",\"n\":1}", "s=a n=1 } ");
	SCAN("{\"s\":\"a\\ude00b\",\"s\":\"a\\u12g4\",\"s\":\"a\\u\"}", "s=a s=a s=a } ");
	SCAN("{\"s\\q\":\"x\"}", "} ");
}

static void long_strings_are_cut_and_long_keys_unknown(void **unused)
{
	SCAN("{\"s\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}",
	     "s=0123456789012345678901234567890123456789012345678901234567890123 } ");
	SCAN("{\"ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss\":"
	     "\"x\"}",
	     "} ");
}

static void numbers_are_exact_or_not_reported(void **unused)
{
	SCAN("{\"n\":0,\"n\":9223372036854775807,\"n\":7.0,\"n\":7.00}",
	     "n=0 n=9223372036854775807 n=7 n=7 } ");
	SCAN("{\"n\":9223372036854775808,\"n\":18446744073709551616,\"n\":99999999999999999999999}",
	     "} ");
	SCAN("{\"n\":-1,\"n\":-0,\"n\":1.5,\"n\":1e3,\"n\":1E+2,\"n\":1.0.0,\"n\":2}", "n=2 } ");
}

static void broken_structure_ends_belief(void **unused)
{
	SCAN("{\"n\":1,\"x\":[{]},\"n\":2}", "n=1 ");
	SCAN("{\"n\":1,\"x\":[}],\"n\":2}", "n=1 ");
	SCAN("{\"n\":1,\"a\":[},\"n\":2}", "n=1 ");
	SCAN("{\"n\":1]", "n=1 ");
	SCAN("{\"n\":1,}", "n=1 ");
	SCAN("{\"n\" 1}", "");
	SCAN("{\"n\":1 \"n\":2}", "n=1 ");
	SCAN("{\"n\":1x,\"n\":2}", "");
	SCAN("{\"x\":1\"n\":2}", "");
	SCAN("{\"n\":1\0,\"n\":2}", "");
	SCAN("{\"x\":[NaN,-Infinity],\"x\":NaN,\"n\":1}", "n=1 } ");
	SCAN("{n:1}", "");
	SCAN("{,}", "");
	SCAN("{\"n\":}", "");
	SCAN("{\"a\":[,]}", "");
	SCAN("{\"x\":nul:\"n\":1}", "");
	SCAN("[1,{\"n\":1}]", "");
	SCAN("[[{\"n\":1}]]", "");
	SCAN("[{\"n\":1},{\"n\":2}}", "n=1 } n=2 } ");
	SCAN("\"n\"", "");
	SCAN("[DONE]", "");
	SCAN("{\"n\":1", "");
}

static void depth_is_bounded(void **unused)
{
	static char doc[1 << 16];
	char got[4096] = "";
	struct weir_scan j = { 0 };
	size_t i, n;

	/* as deep as the scanner goes, then one more */
	for (n = WEIR_SCAN_NESTED; n <= WEIR_SCAN_NESTED + 1; n++) {
		size_t used = (size_t)sprintf(doc, "{\"x\":");

		for (i = 0; i < n; i++)
			doc[used++] = '[';
		for (i = 0; i < n; i++)
			doc[used++] = ']';
		used += (size_t)sprintf(doc + used, ",\"n\":1}");
		scan(doc, used, n == WEIR_SCAN_NESTED ? "n=1 } " : "");
	}
	for (i = 0; i < 100;
	     i++) { /* of itself: "o" descends for ever, as far as the schema goes */
		weir_scan_feed(&j, &schema, got, (const uint8_t *)"{\"o\":", 5);
	}
	memset(doc, '[', sizeof(doc));
	weir_scan_feed(&j, &schema, got, (const uint8_t *)doc, sizeof(doc));
	assert_string_equal(got, "");
	weir_scan_reset(&j);
	weir_scan_feed(&j, &schema, got, (const uint8_t *)"{\"n\":1}", 7);
	assert_string_equal(got, "n=1 } ");
}

static void deeper_than_the_schema_may_go_is_skipped(void **unused)
{
	SCAN("{\"o\":{\"o\":{\"o\":{\"o\":{\"o\":{\"o\":{\"o\":{\"n\":8,\"o\":{\"n\":9}}}}}}}},"
	     "\"n\":1}",
	     "n=8 } } } } } } } n=1 } ");
}

static void an_array_of_documents_is_read_as_them(void **unused)
{
	SCAN("[{\"n\":1}]", "n=1 } ]] ");
	SCAN(" [ {\"n\":1} , {\"s\":\"x\"}, 3, [{\"n\":4}], {\"n\":5}] ", "n=1 } s=x } n=5 } ]] ");
	SCAN("[]", "]] ");
}

/* What follows a document is for the caller to judge: it is not taken. */
static void nothing_is_read_behind_a_document(void **unused)
{
	static const char *const docs[] = { "{\"n\":1}{\"n\":2}", "{\"n\":1} ",
					    "{\"n\":1}\n{\"n\":3}", "{\"n\":1}]" };
	size_t i;

	for (i = 0; i < 4; i++) {
		char got[4096] = "";
		struct weir_scan j = { 0 };

		assert_int_equal(
			weir_scan_feed(&j, &schema, got, (const uint8_t *)docs[i], strlen(docs[i])),
			7);
		assert_true(weir_scan_over(&j) && !weir_scan_dead(&j));
		assert_int_equal(weir_scan_feed(&j, &schema, got, (const uint8_t *)"{\"n\":2}", 7),
				 0);
		assert_string_equal(got, "n=1 } ");
	}
}

/* … up to the byte that broke it, which is not taken. */
static void what_is_dead_takes_nothing(void **unused)
{
	static const struct {
		const char *doc;
		size_t took;
	} broken[] = {
		{ "{\"n\":1]", 6 },	  { "{\"n\" 1}", 5 },	  { "{\"x\":[{]},", 7 },
		{ "{\"n\":1 \"n\"}", 7 }, { "{\"n\":1x,", 6 },	  { "{,", 1 },
		{ "{\"n\":1,}", 7 },	  { "{\"x\":nul:1}", 8 }, { "x", 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		char got[4096] = "";
		struct weir_scan j = { 0 };

		assert_int_equal(weir_scan_feed(&j, &schema, got, (const uint8_t *)broken[i].doc,
						strlen(broken[i].doc)),
				 broken[i].took);
		assert_true(weir_scan_dead(&j));
	}
}

/* From the inside of a value on, as if all before had been read. */
static void a_document_may_be_entered_in_its_middle(void **unused)
{
	char got[4096] = "";
	struct weir_scan j = { 0 };

	weir_string_start(&j.text);
	j.text.bytes[0] = 'n';
	j.text.len = 1;
	weir_scan_enter(&j, &schema, got);
	weir_scan_feed(&j, &schema, got, (const uint8_t *)" 5,\"o\":{\"n\":6}}", 16);
	assert_string_equal(got, "n=5 n=6 } } ");
	assert_true(weir_scan_over(&j));
}

static void killed_means_silent_until_reset(void **unused)
{
	char got[4096] = "";
	struct weir_scan j = { 0 };

	weir_scan_feed(&j, &schema, got, (const uint8_t *)"{\"n\":1,", 7);
	weir_scan_kill(&j);
	weir_scan_feed(&j, &schema, got, (const uint8_t *)"\"n\":2}", 6);
	weir_scan_reset(&j);
	weir_scan_feed(&j, &schema, got, (const uint8_t *)"{\"n\":4}", 7);
	assert_string_equal(got, "n=1 n=4 } ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_asked_for_values_are_reported),
		cmocka_unit_test(structure_inside_strings_is_text),
		cmocka_unit_test(strings_are_unescaped),
		cmocka_unit_test(long_strings_are_cut_and_long_keys_unknown),
		cmocka_unit_test(numbers_are_exact_or_not_reported),
		cmocka_unit_test(broken_structure_ends_belief),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(deeper_than_the_schema_may_go_is_skipped),
		cmocka_unit_test(an_array_of_documents_is_read_as_them),
		cmocka_unit_test(nothing_is_read_behind_a_document),
		cmocka_unit_test(what_is_dead_takes_nothing),
		cmocka_unit_test(a_document_may_be_entered_in_its_middle),
		cmocka_unit_test(killed_means_silent_until_reset),
	};

	return cmocka_run_group_tests_name("json_scan", tests, NULL, NULL);
}
