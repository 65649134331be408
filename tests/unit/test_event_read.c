// SPDX-License-Identifier: Apache-2.0
/*
 * Claims about reading a usage event back: nothing that an event tells is lost on the way, and what
 * is no event of ours is none.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/event.h"
#include "agent/event_read.h"
#include "bpf/weir_abi.h"

#define NODE "gpu-01"

/* Whatever a row has that an event tells comes back, whichever way round. */
static void any_row_survives_its_event(void **state)
{
	static const struct weir_event_origin o = { "ledger", NODE, "llm", NULL, 3 };
	static struct weir_text first, again;
	struct weir_event_usage u;
	struct weir_error err;

	srandom(7);
	for (int i = 0; i < 2000; i++) {
		struct weir_row row;
		struct weir_entry e = { .kind = WEIR_ENTRY_USAGE,
					.seq = 4,
					.tenant_name = "acme",
					.wallet_name = i % 2 ? "acme" : "org",
					.tenant = 1,
					.wallet = i % 2 ? 1 : 2,
					.row = &row };

		for (size_t b = 0; b < sizeof(row); b++)
			((uint8_t *)&row)[b] = (uint8_t)(' ' + random() % 90);
		memset(row.path, 0, sizeof(row.path)); /* not told */
		row.started_wall_ns = UINT64_C(1900000000000000000) + (uint64_t)random();
		row.ended_wall_ns = row.started_wall_ns + (uint64_t)random();
		row.usage_source = (uint8_t)(random() % 4);
		row.cache_status = (uint8_t)(random() % WEIR_CACHE_STATUS_MAX);
		row.end_cause = i % 5 ? WEIR_END_RESPONSE : WEIR_END_CUT;
		row.flags2 &= ~(i % 3 ? WEIR_ROW_ABORT_FREE : WEIR_ROW_ABORT_FULL);
		row.model[random() % 64] = 0;
		memset(row.user, 0, i % 4 ? 0 : sizeof(row.user));
		row.discount_milli = 0;
		memcpy(e.id.b, row.id.b, sizeof(e.id.b));
		assert_int_equal(weir_event_json(&e, &o, NULL, &first), 0);
		if (weir_event_read(first.p, first.len, &u, &err))
			fail_msg("%s\n%s", err.text, first.p);
		assert_string_equal(u.tenant, "acme");
		assert_string_equal(u.wallet, e.wallet_name);
		assert_string_equal(u.service, "llm");
		u.row.price_nano = u.price_nano;
		u.row.cost_nano = u.cost_nano;
		e.id = u.id;
		e.row = &u.row;
		assert_int_equal(weir_event_json(&e, &o, NULL, &again), 0);
		assert_string_equal(again.p, first.p);
	}
	weir_text_free(&first);
	weir_text_free(&again);
}

static void bytes_that_are_no_event_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"null",
		"{\"type\":\"weir.usage.v1\"}",
		"{\"type\":\"weir.usage.v1\",\"id\":\"zz\",\"time\":\"2026-11-01T00:00:00Z\","
		"\"data\":{}}",
		"{\"type\":\"weir.usage.v1\",\"id\":\"00112233445566778899aabbccddeeff\","
		"\"time\":\"2026-11-01T00:00:00Z\",\"data\":{\"tenant\":7}}",
		"{\"type\":\"weir.usage.v1\",\"id\":\"00112233445566778899aabbccddeeff\","
		"\"time\":\"2026-11-01T00:00:00Z\",\"data\":{\"tenant\":\"a\","
		"\"started_at\":\"2026-11-01T00:00:00Z\",\"price\":0.5}}",
		"{\"type\":\"weir.usage.v1\",\"id\":\"00112233445566778899aabbccddeeff\","
		"\"time\":\"2026-11-01T00:00:00Z\",\"data\":{\"tenant\":\"a\","
		"\"started_at\":\"2026-11-01T00:00:00Z\",\"input_tokens\":-5}}",
		"{\"type\":\"weir.usage.v1\",\"id\":\"00112233445566778899aabbccddeeff\","
		"\"time\":\"2026-11-01T00:00:00Z\",\"data\":{\"tenant\":\"a\","
		"\"dimension\":\"gb\",\"quantity\":\"-1\",\"usage_id\":\"x\","
		"\"started_at\":\"2026-11-01T00:00:00Z\"}}",
	};
	struct weir_event_usage u;
	struct weir_error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(weir_event_read(bad[i], strlen(bad[i]), &u, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_row_survives_its_event),
		cmocka_unit_test(bytes_that_are_no_event_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
