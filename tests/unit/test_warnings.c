/* SPDX-License-Identifier: Apache-2.0 */
/* Warnings: said where something can be done, and only there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "agent/look.h"
#include "agent/warnings.h"

static struct weir_status status;
static uint32_t seen[WEIR_MAX_SERVICES];
static struct weir_config_service services[WEIR_CONFIG_SERVICES];

static int begin(void **state)
{
	memset(&status, 0, sizeof(status));
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < WEIR_CONFIG_SERVICES; i++) {
		memset(services[i].name, 'x', sizeof(services[i].name) - 1);
		services[i].port = 60000;
	}
	strcpy(services[0].name, "llm");
	services[0].port = 8000;
	strcpy(services[1].name, "claude");
	services[1].port = 8001;
	return 0;
}

static void add(size_t n_services)
{
	weir_warnings_add(&status, services, n_services, seen);
}

static void all_well_is_no_warning(void **state)
{
	/* what comes to pass every day */
	status.verdicts[WEIR_FLOW_ADOPTED] = 9;
	status.verdicts[WEIR_PASS_UNTRACKED] = 9;
	status.flows_used = 89;
	status.flows_max = 100;
	status.verdicts[WEIR_TAP_UNJUDGED] = 9;
	status.verdicts[WEIR_HEAD_EXPIRED] = 9;
	status.verdicts[WEIR_DENY_MALFORMED] = 9;
	status.verdicts[WEIR_PASS_HEAD_PART] = 9;
	seen[0] = ~0u; /* not a service */
	seen[3] = ~0u; /* not configured any more */
	add(2);
	assert_int_equal(status.n_warnings, 0);
}

static void what_a_service_saw_is_said_of_it(void **state)
{
	seen[1] = WEIR_SEEN_TLS;
	seen[2] = WEIR_SEEN_H2C | WEIR_SEEN_UPGRADE;
	add(2);
	assert_int_equal(status.n_warnings, 3);
	assert_string_equal(status.warnings[0],
			    "service llm (port 8000): TLS was seen: only connection limits apply "
			    "to it; guard the port behind what ends TLS");
	assert_string_equal(status.warnings[1],
			    "service claude (port 8001): HTTP/2 without TLS was seen: refused, but "
			    "for tenants with \"other_protocols\": \"pass\", whom only connection "
			    "limits hold");
	assert_string_equal(status.warnings[2],
			    "service claude (port 8001): Upgrade or CONNECT was seen: refused, but "
			    "for tenants with \"other_protocols\": \"pass\", whom only connection "
			    "limits hold");
}

static void what_does_not_fit_names_the_setting(void **state)
{
	status.ring_lost = 1;
	status.decoders.given_up = 3;
	status.decoders.failed = 9; /* who sends these is the server */
	status.verdicts[WEIR_DENY_MAP_FULL] = 2;
	status.flows_used = 9;
	status.flows_max = 10;
	status.verdicts[WEIR_DROP_HEAD_ROOM] = 4;
	status.verdicts[WEIR_DROP_UNJUDGED] = 5;
	add(0);
	assert_int_equal(status.n_warnings, 6);
	assert_string_equal(status.warnings[0],
			    "ring: 1 records did not fit; raise \"ring_bytes\"");
	assert_string_equal(status.warnings[1],
			    "compressed answers: 3 were not read to their end for want of room, "
			    "and billed as far as they were; raise \"decoder_bytes\"");
	assert_string_equal(status.warnings[2],
			    "connections: 9 of 10 that can be followed; more would pass unjudged; "
			    "raise \"max_flows\"");
	assert_string_equal(status.warnings[3],
			    "kernel maps: 2 connections or refusals found one full; raise "
			    "\"max_flows\" and \"max_tenants\"");
	assert_string_equal(status.warnings[4],
			    "heads in parts: 4 segments were dropped for want of room, to come "
			    "again; raise \"max_split_heads\"");
	assert_memory_equal(status.warnings[5], "5 answers came to requests that nobody saw", 42);
}

static void enforcement_that_is_off_is_said_first(void **state)
{
	status.enforcing = WEIR_ENFORCE_CONFIGURED_OFF;
	status.ring_lost = 1;
	add(0);
	assert_int_equal(status.n_warnings, 2);
	assert_string_equal(status.warnings[0],
			    "enforcement is off by \"enforce\" in agent.json: nothing is refused, "
			    "all is metered");
	begin(NULL);
	status.enforcing = WEIR_ENFORCE_SWITCHED_OFF;
	status.enforce = (struct weir_switch){ .seq = 1,
					       .time_ns = UINT64_C(1793491200123456789),
					       .actor = "root",
					       .reason = "drill" };
	add(0);
	assert_string_equal(
		status.warnings[0],
		"enforcement is off since 2026-11-01T00:00:00Z: nothing is refused, all "
		"is metered; weirctl enforce on ends it (by root: drill)");
	begin(NULL);
	status.enforcing = WEIR_ENFORCE_SWITCHED_OFF;
	status.enforce = (struct weir_switch){ .seq = 1, .actor = "root" };
	add(0);
	assert_non_null(strstr(status.warnings[0], "ends it (by root)"));
}

static void a_full_map_is_said_while_it_lasts(void **state)
{
	status.no_room_passed = 7;
	status.no_room_reset = 2;
	add(0);
	assert_int_equal(status.n_warnings, 1);
	assert_string_equal(status.warnings[0],
			    "connections: there is no room to follow more: 7 packets passed "
			    "unjudged, 2 connections were reset; raise \"max_flows\"");
}

static void drift_that_was_found_is_said(void **state)
{
	status.drift.sweeps = 100;
	status.drift.unsure = 3;
	status.drift.untracked_sockets = 4;
	status.drift.failed = 2; /* now and then */
	add(0);
	assert_int_equal(status.n_warnings, 0);
	status.drift.reaped = 1;
	status.drift.corrected_half_open = 2;
	status.drift.corrected_inflight = 3;
	add(0);
	assert_int_equal(status.n_warnings, 1);
	assert_memory_equal(status.warnings[0],
			    "drift: 1 connections without a socket and 5 gauges were put right, 0 "
			    "sums",
			    70);
	begin(NULL);
	status.drift.reservations_off = 1;
	status.drift.failed = 9;
	add(0);
	assert_int_equal(status.n_warnings, 2);
}

#define OF_TEN(n, form)                                                                            \
	"service llm (port 8000): " n " " form                                                     \
	" answers of the last 10 minutes did not tell their usage and were estimated: "

static void whoever_hides_usage_is_told_how_to_stop(void **state)
{
	static const struct {
		struct weir_hidden_counts n;
		const char *warning;
	} cases[] = {
		{ { .streamed = 40, .streamed_hidden = 12, .of[WEIR_SERVER_VLLM] = 12 },
		  OF_TEN("12 of 40", "streamed") "start vLLM (0.11.1 or later) with "
						 "--enable-force-include-usage" },
		{ { .streamed = 2, .streamed_hidden = 2, .of[WEIR_SERVER_SGLANG] = 2 },
		  OF_TEN("2 of 2", "streamed") "start SGLang (0.5.10 or later) with "
					       "--stream-response-default-include-usage" },
		{ { .streamed = 2, .streamed_hidden = 2, .of[WEIR_SERVER_TGI] = 2 },
		  OF_TEN("2 of 2", "streamed") "TGI has no flag for it: let clients ask for it "
					       "with stream_options.include_usage" },
		{ { .streamed = 2, .streamed_hidden = 2, .asked = 1 },
		  OF_TEN("2 of 2", "streamed") "start vLLM with --enable-force-include-usage, "
					       "SGLang with "
					       "--stream-response-default-include-usage; with "
					       "other servers let clients ask for it with "
					       "stream_options.include_usage" },
		/* Two kinds behind one port: either may be it. */
		{ { .streamed = 2,
		    .streamed_hidden = 2,
		    .of = { [WEIR_SERVER_VLLM] = 1, [WEIR_SERVER_SGLANG] = 1 } },
		  OF_TEN("2 of 2", "streamed") "start vLLM with " },
		{ { .streamed = 2, .streamed_hidden = 2, .asked = 2, .of[WEIR_SERVER_VLLM] = 2 },
		  OF_TEN("2 of 2", "streamed") "all of them were asked for it "
					       "(stream_options.include_usage): upgrade the "
					       "server to one that knows the option" },
		{ { .streamed = 9, .streamed_hidden = 2, .asked = 2, .of[WEIR_SERVER_TRITON] = 2 },
		  OF_TEN("2 of 9", "streamed") "Triton's generate never tells it: serve the model "
					       "by Triton's OpenAI frontend" },
		{ { .plain = 5, .unread = 3 },
		  "service llm (port 8000): 3 answers of the last 10 minutes were in a content "
		  "coding that is not read, and were estimated by their length: let the server or "
		  "the proxy before it use gzip, zstd or none" },
		{ { .plain = 5, .plain_hidden = 5 },
		  OF_TEN("5 of 5", "plain") "serve the model by the server's OpenAI endpoints, "
					    "which tell it" },
		{ { .plain = 5, .plain_hidden = 5, .of[WEIR_SERVER_TRITON] = 5 },
		  OF_TEN("5 of 5", "plain") "Triton's generate never tells it: " },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		begin(NULL);
		status.hidden[1] = cases[i].n;
		status.hidden[0].plain_hidden = 3; /* not a service */
		status.hidden[3].plain_hidden = 3; /* not configured any more */
		status.hidden[2].streamed = status.hidden[2].plain = 9;
		add(2);
		assert_int_equal(status.n_warnings, 1);
		assert_memory_equal(status.warnings[0], cases[i].warning, strlen(cases[i].warning));
	}
}

/* Longest names, every warning: whole lines, and no more than there is room for. */
static void what_does_not_fit_into_the_list_is_left_out(void **state)
{
	status.n_warnings = 2; /* the wiring's own */
	status.enforcing = WEIR_ENFORCE_SWITCHED_OFF;
	memset(status.enforce.actor, 'a', sizeof(status.enforce.actor) - 1);
	memset(status.enforce.reason, 'r', sizeof(status.enforce.reason) - 1);
	for (int i = 0; i < WEIR_REASON_MAX; i++)
		status.verdicts[i] = UINT64_MAX;
	status.ring_lost = status.flows_used = status.flows_max = UINT64_MAX;
	memset(seen, 0xff, sizeof(seen));
	memset(status.hidden, 0xff, sizeof(status.hidden));
	add(WEIR_CONFIG_SERVICES);
	assert_int_equal(status.n_warnings, WEIR_STATUS_WARNINGS);
	for (size_t i = 2; i < status.n_warnings; i++) {
		size_t n = strlen(status.warnings[i]);

		assert_in_range(n, 20, sizeof(status.warnings[i]) - 2);
	}
	assert_non_null(strstr(status.warnings[4], "\"max_flows\""));
	assert_non_null(strstr(status.warnings[8], "service llm"));
}

#define CLAIM(test) cmocka_unit_test_setup(test, begin)

/* ------------------------------------------------------------ between request and event */

#define THEN UINT64_C(1793491200123456789) /* 2026-11-01T00:00:00Z */

static struct weir_look look;

static int begin_look(void **state)
{
	memset(&look, 0, sizeof(look));
	look.status.clock.synchronised = true;
	look.writer.healthy = true;
	look.full_in_s = UINT64_MAX;
	return 0;
}

/* The only one. */
static const char *warned(void)
{
	look.status.n_warnings = 0;
	weir_warnings_delivery(&look);
	assert_int_equal(look.status.n_warnings, 1);
	return look.status.warnings[0];
}

static void delivery_that_goes_well_is_no_warning(void **state)
{
	look.writer.failures = 3; /* that is over */
	look.writer.waiting = 12;
	look.nats.backlog = 9;
	look.nats.retried = 2;
	look.usage.repeated = 1;
	weir_warnings_delivery(&look);
	assert_int_equal(look.status.n_warnings, 0);
}

static void a_ledger_that_is_not_written_says_since_when_why_and_how_long_it_may(void **state)
{
	look.writer.healthy = false;
	look.writer.ill_since_ns = THEN;
	strcpy(look.writer.error, "/var/lib/weir/weir.db: committing: disk full; free some space");
	look.writer.waiting = 20000;
	look.status.room = (struct weir_state_room){ 300000, 3 << 20, 256 << 20 };
	look.full_in_s = 3 * 3600 + 20 * 60 + 7;
	assert_string_equal(warned(),
			    "ledger: not written since 2026-11-01T00:00:00Z: "
			    "/var/lib/weir/weir.db: committing: disk full; free some space; 20000 "
			    "finished requests wait in memory (spill: 3 of 256 MiB), their room is "
			    "full in 3 h 20 min at this rate");
	look.full_in_s = UINT64_MAX; /* none comes */
	look.status.silent = true;
	assert_non_null(strstr(warned(), ", there is room for 300000 more; new requests are judged "
					 "by each tier's \"on_agent_down\""));
	look.status.room.rows = 0;
	assert_non_null(strstr(warned(), ", their room is full, the ring holds what follows; new"));
}

static void a_clock_that_is_not_to_be_trusted_is_said(void **state)
{
	look.status.clock.synchronised = false;
	assert_string_equal(warned(), "clock: not synchronised: bills, expiries and days go by it; "
				      "run chrony or systemd-timesyncd");
	look.status.clock.error = EPERM;
	assert_non_null(strstr(warned(), "Operation not permitted"));
	look.status.clock = (struct weir_clock_status){ .held = true,
							.step_ns = -90000 * (int64_t)WEIR_SECOND,
							.since_ns = THEN };
	assert_string_equal(warned(),
			    "clock: it was set back by 1 d 1 h at 2026-11-01T00:00:00Z, which is "
			    "not followed, for nobody synchronises it: entries go on by the time "
			    "before. Synchronise it, set it back, or restart the agent if it is "
			    "right");
	look.status.clock.step_ns = 7201 * (int64_t)WEIR_SECOND;
	assert_non_null(strstr(warned(), "it was set ahead by 2 h at"));
}

static void a_ledger_ahead_of_the_clock_is_said(void **state)
{
	look.writer.newest_ns = weir_wall_ns();
	weir_warnings_delivery(&look);
	assert_int_equal(look.status.n_warnings, 0);
	look.writer.newest_ns = UINT64_C(4102444800) * WEIR_SECOND + 7;
	assert_string_equal(
		warned(), "clock: the ledger's last entry is of 2100-01-01T00:00:00Z, which is to "
			  "come: entries get that time until the clock has come there; see that "
			  "the clock is right");
}

static void what_a_power_loss_may_have_cost_is_said(void **state)
{
	look.status.gap = (struct weir_run_gap){ .any = true,
						 .power_loss = true,
						 .from_ns = THEN,
						 .to_ns = THEN + 90 * WEIR_SECOND,
						 .open = 7 };
	assert_string_equal(
		warned(),
		"the machine went down between 2026-11-01T00:00:00Z and 2026-11-01T00:01:30Z: what "
		"was served then and up to 20 ms before is not in the ledger, and 7 requests were "
		"open; compare with the model server's log; the next clean start ends this "
		"message");
	look.status.gap.power_loss = false;
	assert_memory_equal(warned(), "what the agent keeps in memory was lost between", 47);
}

static void a_ledger_that_was_put_back_is_said_in_its_own_words(void **state)
{
	strcpy(look.status.restored.text, "left from an earlier look");
	weir_warnings_delivery(&look);
	assert_int_equal(look.status.n_warnings, 0);
	look.status.restored.any = true;
	assert_string_equal(warned(), "left from an earlier look");
	memset(look.status.restored.text, 'x', sizeof(look.status.restored.text) - 1);
	assert_int_equal(strlen(warned()), sizeof(look.status.warnings[0]) - 1);
}

static void nats_that_has_trouble_is_said(void **state)
{
	strcpy(look.nats.warning, "nats: away");
	assert_string_equal(warned(), "nats: away");
	/* Each stream's, once. */
	strcpy(look.nats.problem[WEIR_STREAM_METER], "nats: away");
	assert_string_equal(warned(), "nats: away");
	look.nats.warning[0] = 0;
	look.nats.problem[WEIR_STREAM_METER][0] = 0;
	strcpy(look.nats.problem[WEIR_STREAM_LEDGER], "nats: stream LEDGER is full");
	assert_string_equal(warned(), "nats: stream LEDGER is full");
	look.nats.problem[WEIR_STREAM_LEDGER][0] = 0;
	look.nats.again = 4;
	assert_memory_equal(warned(), "nats: 4 events that were acknowledged were gone from", 51);
	look.nats.again = 0;
	look.nats.skipped = 3;
	assert_memory_equal(warned(), "nats: 3 alerts, refusals and ledger entries were not ", 52);
	look.nats.skipped = 0;
	look.usage.refused = 1;
	strcpy(look.usage.refusal, "no such tenant");
	assert_string_equal(warned(), "nats: 1 report of usage refused since the agent started "
				      "(stream USAGE_REFUSED has them); the last: no such tenant");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(all_well_is_no_warning),
		CLAIM(what_a_service_saw_is_said_of_it),
		CLAIM(what_does_not_fit_names_the_setting),
		CLAIM(enforcement_that_is_off_is_said_first),
		CLAIM(a_full_map_is_said_while_it_lasts),
		CLAIM(drift_that_was_found_is_said),
		CLAIM(whoever_hides_usage_is_told_how_to_stop),
		CLAIM(what_does_not_fit_into_the_list_is_left_out),
		cmocka_unit_test_setup(delivery_that_goes_well_is_no_warning, begin_look),
		cmocka_unit_test_setup(
			a_ledger_that_is_not_written_says_since_when_why_and_how_long_it_may,
			begin_look),
		cmocka_unit_test_setup(a_clock_that_is_not_to_be_trusted_is_said, begin_look),
		cmocka_unit_test_setup(a_ledger_ahead_of_the_clock_is_said, begin_look),
		cmocka_unit_test_setup(what_a_power_loss_may_have_cost_is_said, begin_look),
		cmocka_unit_test_setup(a_ledger_that_was_put_back_is_said_in_its_own_words,
				       begin_look),
		cmocka_unit_test_setup(nats_that_has_trouble_is_said, begin_look),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
