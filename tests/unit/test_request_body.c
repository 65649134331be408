// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about what is kept of a request's body: the name that the server will
 * read, in text that may stand in an event, and nothing that was not said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/request_body.h"

static struct weir_rec_body record(const char *model, size_t n, uint64_t max_tokens)
{
	struct weir_rec_body r = { .max_tokens = max_tokens, .model_len = (uint32_t)n };

	memcpy(r.model, model, n < sizeof(r.model) ? n : sizeof(r.model));
	return r;
}

static struct weir_body body_of(const char *model, size_t n)
{
	struct weir_rec_body r = record(model, n, UINT64_MAX);
	struct weir_body b;

	weir_body_init(&b);
	weir_body_fold(&b, &r);
	return b;
}

static void what_was_not_said_is_not_known(void **state)
{
	struct weir_body b = body_of("", 0);

	assert_int_equal(b.max_tokens, WEIR_UNKNOWN);
	assert_int_equal(b.flags, 0);
	assert_string_equal(b.model, "");
}

static void a_name_is_what_the_server_reads(void **state)
{
	static const struct {
		const char *raw, *name;
	} t[] = {
		{ "llama-3.3-70b", "llama-3.3-70b" },
		{ "meta\\/llama", "meta/llama" },
		{ "\\u006clama-3", "llama-3" },
		{ "\\ud83d\\ude00", "\xf0\x9f\x98\x80" },
		{ "na\xc3\xafve", "na\xc3\xafve" },
		/* what is not text ends it */
		{ "llama\\n-3", "llama" },
		{ "llama\\u0000x", "llama" },
		{ "llama\xff", "llama" },
		{ "llama\\x", "llama" },
		/* cut by the kernel, inside of an escape or of a character */
		{ "llama\\", "llama" },
		{ "llama\\u00", "llama" },
		{ "llama\\ud83d", "llama" },
		{ "llama\xe2\x82", "llama" },
		{ "\\u0001", "" },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct weir_body b = body_of(t[i].raw, strlen(t[i].raw));

		if (strcmp(b.model, t[i].name))
			fail_msg("%s: %s", t[i].raw, b.model);
	}
}

static void a_long_name_is_cut_and_ends(void **state)
{
	char raw[WEIR_MODEL_BYTES];
	struct weir_body b;

	memset(raw, 'm', sizeof(raw));
	b = body_of(raw, sizeof(raw));
	assert_int_equal(strlen(b.model), sizeof(b.model) - 1);
	b = body_of(raw, 5000); /* it was longer than what came: nothing behind it is read */
	assert_int_equal(strlen(b.model), sizeof(b.model) - 1);
}

static void a_later_record_adds_and_takes_nothing_back(void **state)
{
	struct weir_rec_body first = record("llama", 5, UINT64_MAX);
	struct weir_rec_body second = record("", 0, 9000), third = record("other", 5, UINT64_MAX);
	struct weir_body b;

	weir_body_init(&b);
	first.flags = WEIR_BODY_MODEL_REPLACED;
	second.flags = WEIR_BODY_TOKENS_CUT;
	weir_body_fold(&b, &first);
	weir_body_fold(&b, &second);
	assert_string_equal(b.model, "llama");
	assert_int_equal(b.max_tokens, 9000);
	assert_int_equal(b.flags, WEIR_BODY_MODEL_REPLACED | WEIR_BODY_TOKENS_CUT);
	weir_body_fold(&b, &third); /* the key came twice: servers take the last */
	assert_string_equal(b.model, "other");
	assert_int_equal(b.max_tokens, 9000);
}

static void a_number_that_is_too_large_stays_a_number(void **state)
{
	struct weir_rec_body r = record("", 0, UINT64_MAX - 1);
	struct weir_body b;

	weir_body_init(&b);
	weir_body_fold(&b, &r);
	assert_int_equal(b.max_tokens, INT64_MAX);
}

/* Whatever bytes come, the name ends within its field and is padded with NULs. */
static void any_record_gives_text(void **state)
{
	srandom(5);
	for (int i = 0; i < 20000; i++) {
		struct weir_rec_body r;
		struct weir_body b;
		size_t n;

		for (size_t k = 0; k < sizeof(r); k++)
			((uint8_t *)&r)[k] =
				i % 2 ? (uint8_t)random() : "\\u0d8\"a/e"[random() % 9];
		weir_body_init(&b);
		weir_body_fold(&b, &r);
		n = strnlen(b.model, sizeof(b.model));
		assert_true(n < sizeof(b.model));
		for (size_t k = 0; k < sizeof(b.model); k++)
			assert_true(k < n ? (uint8_t)b.model[k] >= 0x20 : !b.model[k]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_not_said_is_not_known),
		cmocka_unit_test(a_name_is_what_the_server_reads),
		cmocka_unit_test(a_long_name_is_cut_and_ends),
		cmocka_unit_test(a_later_record_adds_and_takes_nothing_back),
		cmocka_unit_test(a_number_that_is_too_large_stays_a_number),
		cmocka_unit_test(any_record_gives_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
