/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about what a publisher makes of streams that take nothing, or not all (delivery.md, 15
 * to 17), against a real nats-server.
 */
#include "publisher_fixture.h"

static void put_stream(const char *name, const char *subject, int64_t max_msgs, int32_t max_size,
		       bool update)
{
	const char *subjects[1] = { subject };
	jsStreamConfig c;

	look();
	jsStreamConfig_Init(&c);
	c.Name = name;
	c.Subjects = subjects;
	c.SubjectsLen = 1;
	c.MaxMsgs = max_msgs ? max_msgs : -1;
	c.MaxMsgSize = max_size ? max_size : -1;
	c.Discard = js_DiscardNew;
	c.Duplicates = INT64_C(7200000000000);
	if (update)
		assert_int_equal(js_UpdateStream(NULL, js, &c, NULL, NULL), NATS_OK);
	else
		assert_int_equal(js_AddStream(NULL, js, &c, NULL, NULL), NATS_OK);
	look_away();
}

static void a_full_stream_is_told_and_waited_for(void **state)
{
	server_start();
	put_stream("METER", "meter.v1.>", 50, 0, false);
	publisher_start();
	fake_requests(f, 1, 0, 120);
	wait_warning("stream METER is full (maximum messages exceeded): 50 of max_msgs 50");
	assert_string_equal(status().problem[WEIR_STREAM_METER], status().warning);
	assert_int_equal(status().skipped, 0);
	assert_in_range(status().backlog, 70, 120);
	assert_true(status().lag_ns > 0);
	put_stream("METER", "meter.v1.>", 0, 0, true);
	wait_drained();
	assert_int_equal(status().skipped, 0);
	assert_stream_is_the_ledger();
}

/* A grant of a long reason; usage is much longer, and of another stream. */
static void an_entry_too_large_for_its_stream_is_skipped_alone(void **state)
{
	server_start();
	put_stream("LEDGER", "ledger.v1.>", 0, 10, false);
	publisher_start();
	post(WEIR_ENTRY_GRANT, 5, "g1");
	fake_requests(f, 1, 0, 20);
	wait_drained();
	assert_int_equal(status().acked, 20);
	assert_int_equal(status().skipped, 1);
	assert_int_equal(status().entries, 0);
	put_stream("LEDGER", "ledger.v1.>", 0, 0, true);
	post(WEIR_ENTRY_GRANT, 5, "g2");
	wait_drained();
	assert_int_equal(status().entries, 1);
}

static void refusals_that_are_not_taken_hold_up_nothing(void **state)
{
	struct weir_rec_deny rec = { .wall_ns = weir_wall_ns(),
				     .tenant = 1,
				     .reason = WEIR_DENY_REQUESTS,
				     .count = 1,
				     .limit = 60 };

	server_start();
	put_stream("DENY", "deny.v1.>", 1, 0, false);
	publisher_start();
	wait_drained();
	for (unsigned i = 0; i < 3; i++) {
		weir_denials_note(f->view.denials, &rec);
		rec.reason = i ? WEIR_DENY_TOKENS : WEIR_DENY_CONCURRENCY;
	}
	for (unsigned ms = 0; !status().retried; ms += 5) {
		assert_true(ms < PATIENCE_MS);
		pause_ms(5);
	}
	fake_requests(f, 1, 0, 500);
	wait_drained();
	assert_int_equal(status().acked, 500);
	put_stream("DENY", "deny.v1.>", 0, 0, true);
	for (unsigned ms = 0; status().denied + status().skipped < 3; ms += 5) {
		assert_true(ms < PATIENCE_MS);
		pause_ms(5);
	}
	assert_stream_is_the_ledger();
}

static void another_ledger_under_this_node_s_name_is_reported(void **state)
{
	static const char theirs[] = "{\"specversion\":\"1.0\",\"source\":\"/weir/"
				     "11111111-2222-4333-8444-555555555555/gpu-01\"}";

	server_start();
	publisher_start();
	fake_requests(f, 1, 0, 5);
	wait_drained();
	assert_string_equal(status().warning, "");
	look();
	assert_int_equal(js_Publish(NULL, js, "meter.v1.acme.gpu-01", theirs, sizeof(theirs) - 1,
				    NULL, NULL),
			 NATS_OK);
	look_away();
	/* Seen at the next look, at the latest: with a new connection at once. */
	server_end(SIGTERM);
	server_start();
	wait_warning("another ledger publishes on METER under this node's name: "
		     "/weir/11111111-2222-4333-8444-555555555555/gpu-01");
	fake_requests(f, 1, 5, 5);
	wait_drained();
	assert_int_equal(status().acked, 10);
}

/* Numbers of replicas without a cluster: somebody's to put right, and said so. */
static void replicas_without_a_cluster_are_told(void **state)
{
	struct weir_nats_config c = { .replicas = 3 };
	struct weir_error err = { "" };
	struct weir_publisher *made;

	server_start();
	snprintf(c.url, sizeof(c.url), "%s", url);
	if (weir_publisher_start(&c, "gpu-01", &f->view, &made, &err))
		fail_msg("%s", err.text);
	p = made;
	fake_requests(f, 1, 0, 5);
	wait_warning("stream METER is not there and could not be made");
	wait_warning("set \"replicas\" to 1");
	assert_int_equal(status().backlog, 5);
	publisher_end(0);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(a_full_stream_is_told_and_waited_for),
		CLAIM(an_entry_too_large_for_its_stream_is_skipped_alone),
		CLAIM(refusals_that_are_not_taken_hold_up_nothing),
		CLAIM(another_ledger_under_this_node_s_name_is_reported),
		CLAIM(replicas_without_a_cluster_are_told),
	};
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	nats_Close();
	return failed;
}
