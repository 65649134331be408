/* SPDX-License-Identifier: Apache-2.0 */
/* Claims about reports of usage: what is read of them, and what every bad one gets told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "agent/meter_message.h"

#define T0 UINT64_C(1793491200000000000) /* 2026-11-01T00:00:00Z */

static void a_report_has_an_id_a_dimension_and_a_quantity(void **state)
{
	static const char text[] =
		"{\"id\":\"d-1\",\"dimension\":\"gpu_seconds\",\"quantity\":\"0.5\"}";
	struct weir_meter_message m;
	struct weir_error err;

	assert_int_equal(weir_meter_message_read(text, strlen(text), "usage.v1.acme", T0, &m, &err),
			 0);
	assert_string_equal(m.use.tenant, "acme");
	assert_string_equal(m.use.key, "d-1");
	assert_string_equal(m.use.dimension, "gpu_seconds");
	assert_int_equal(m.use.quantity_nano, 500000000);
	assert_null(m.use.model);
	assert_null(m.use.session);
	/* It was used when it came; told again later it is still the same. */
	assert_int_equal(m.use.started_ns, T0);
	assert_false(m.use.said_when);
	assert_true(m.use.trusted);
	weir_meter_message_clear(&m);
}

static void a_report_may_say_more(void **state)
{
	static const char text[] =
		"{\"id\":\"d-1\",\"dimension\":\"gpu_seconds\",\"quantity\":\"9223372036."
		"854775807\","
		"\"at\":\"2026-11-01T01:00:00+01:00\",\"model\":\"m\",\"service\":\"llm\","
		"\"feature\":\"f\",\"session\":\"s\",\"reason\":\"r\",\"tenant\":\"acme\"}";
	struct weir_meter_message m;
	struct weir_error err;

	assert_int_equal(
		weir_meter_message_read(text, strlen(text), "usage.v1.acme.gpu-01", 1, &m, &err),
		0);
	assert_int_equal(m.use.quantity_nano, INT64_MAX);
	assert_int_equal(m.use.started_ns, T0);
	assert_true(m.use.said_when);
	assert_string_equal(m.use.model, "m");
	assert_string_equal(m.use.service, "llm");
	assert_string_equal(m.use.feature, "f");
	assert_string_equal(m.use.session, "s");
	assert_string_equal(m.use.reason, "r");
	weir_meter_message_clear(&m);
}

static void refused(const char *text, size_t len, const char *subject, const char *error)
{
	struct weir_meter_message m;
	struct weir_error err = { "" };

	assert_int_equal(weir_meter_message_read(text, len, subject, T0, &m, &err), -EINVAL);
	if (!strstr(err.text, error))
		fail_msg("%.100s: \"%s\" is not in \"%s\"", text, error, err.text);
}

static void bad_reports_are_told_what_is_wrong(void **state)
{
#define REPORT(more) "{\"id\":\"d-1\",\"dimension\":\"gb\",\"quantity\":\"1\"" more "}"
#define QUANTITY(q)  "{\"id\":\"d-1\",\"dimension\":\"gb\",\"quantity\":" q "}"
#define LONG_64	     "0123456789012345678901234567890123456789012345678901234567890123"
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ "", "message: line 1" },
		{ "[]", "message: an array is not an object" },
		{ "{\"id\":\"a\",\"id\":\"b\"}", "duplicate" },
		{ "{\"dimension\":\"gb\",\"quantity\":\"1\"}", "message: has no \"id\"" },
		{ "{\"id\":\"d-1\",\"quantity\":\"1\"}", "message: has no \"dimension\"" },
		{ "{\"id\":\"d-1\",\"dimension\":\"gb\"}", "message: has no \"quantity\"" },
		{ REPORT(",\"prise\":\"1\""), "prise" },
		{ QUANTITY("1"), "quantity: 1 is not" },
		{ QUANTITY("1.5"), "quantity: 1.5 is not" },
		{ QUANTITY("\"-1\""), "quantity: \"-1\" is not" },
		{ QUANTITY("\"0\""), "quantity: \"0\" is not" },
		{ QUANTITY("\"NaN\""), "quantity: \"NaN\" is not" },
		{ QUANTITY("\"1e3\""), "quantity: \"1e3\" is not" },
		{ QUANTITY("\"0.0000000001\""), "quantity: \"0.0000000001\"" },
		{ QUANTITY("\"9223372036.854775808\""), "quantity: \"9223372036.854775808\"" },
		{ QUANTITY("null"), "quantity: null" },
		{ REPORT(",\"at\":\"yesterday\""), "at: \"yesterday\" is not a time" },
		{ REPORT(",\"at\":1793491200"), "at: 1793491200 is not" },
		{ REPORT(",\"tenant\":\"globex\""),
		  "tenant: \"globex\" is not the tenant of its subject, acme" },
		{ REPORT(",\"session\":\"" LONG_64 "\""), "session" },
		{ "{\"id\":\"" LONG_64 "\",\"dimension\":\"gb\",\"quantity\":\"1\"}", "id" },
		{ "{\"id\":\"\",\"dimension\":\"gb\",\"quantity\":\"1\"}", "id" },
		{ "{\"id\":\"\xff\",\"dimension\":\"gb\",\"quantity\":\"1\"}", "message: " },
	};
	static char large[WEIR_METER_MESSAGE_MAX + 1];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refused(bad[i].text, strlen(bad[i].text), "usage.v1.acme", bad[i].error);
	memset(large, ' ', sizeof(large));
	refused(large, sizeof(large), "usage.v1.acme", "has 16385 bytes, more than 16384");
	refused("{\0}", 3, "usage.v1.acme", "message: ");
	refused(REPORT(""), strlen(REPORT("")), "usage.v1.ACME", "names no tenant");
}

static void the_tenant_is_the_subjects_third_word(void **state)
{
	static const struct {
		const char *subject, *tenant;
	} t[] = {
		{ "usage.v1.acme", "acme" },	     { "usage.v1.acme.gpu-01", "acme" },
		{ "usage.v1.Acme", "~unknown" },     { "usage.v1.", "~unknown" },
		{ "usage.v1", "~unknown" },	     { "usage.v1." LONG_64, "~unknown" },
		{ "usage.v1.~unknown", "~unknown" },
	};
	char name[WEIR_NAME_BYTES];

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		weir_meter_subject_tenant(t[i].subject, name);
		assert_string_equal(name, t[i].tenant);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_has_an_id_a_dimension_and_a_quantity),
		cmocka_unit_test(a_report_may_say_more),
		cmocka_unit_test(bad_reports_are_told_what_is_wrong),
		cmocka_unit_test(the_tenant_is_the_subjects_third_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
