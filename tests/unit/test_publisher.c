/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about the publisher, against Debian's nats-server on a loopback port of
 * its own: each ledger entry is on the stream once and in order, whatever dies.
 */
#include "publisher_fixture.h"

/* ------------------------------------------------------------------------- claims */

static int call_threshold(struct weir_ledger *l, void *arg)
{
	return weir_ledger_threshold(l, 1, 1000, 5000);
}

/* A balance that falls below what it is asked to be filled up at, i times over. */
static void ask_for_more(unsigned i)
{
	char key[16];

	assert_int_equal(weir_writer_call(f->view.writer, call_threshold, NULL), 0);
	snprintf(key, sizeof(key), "g%u", i);
	post(WEIR_ENTRY_GRANT, 2000, key);
	snprintf(key, sizeof(key), "d%u", i);
	post(WEIR_ENTRY_DEDUCT, 2000, key);
}

static void every_entry_is_published_once_and_in_order(void **state)
{
	server_start();
	fake_requests(f, 1, 0, 1500);
	publisher_start();
	post(WEIR_ENTRY_GRANT, 5, "g");
	fake_requests(f, 2, 5000, 2500);
	wait_drained();
	assert_int_equal(status().acked, 4000);
	assert_int_equal(status().retried, 0);
	assert_string_equal(status().warning, "");
	assert_stream_is_the_ledger();
}

static void reported_usage_and_top_ups_are_published_too(void **state)
{
	natsMsg *m = NULL;

	server_start();
	publisher_start();
	post(WEIR_ENTRY_METER, 1500000000, "m1");
	ask_for_more(1);
	fake_requests(f, 2, 0, 20);
	ask_for_more(2);
	post(WEIR_ENTRY_METER, 1, "m2");
	wait_drained();
	assert_int_equal(status().acked, 22);
	assert_int_equal(status().alerts, 2);
	assert_int_equal(status().entries, 4);
	assert_int_equal(status().skipped, 0);
	assert_stream_is_the_ledger();
	look();
	assert_int_equal(js_GetLastMsg(&m, js, "ALERT", "alert.v1.acme.gpu-01", NULL, NULL),
			 NATS_OK);
	assert_true(message_has(m, "\"type\":\"weir.topup.v1\""));
	assert_true(message_has(m, "\"balance\":\"0\",\"threshold\":\"0.000001\","
				   "\"ask\":\"0.000005\""));
	natsMsg_Destroy(m);
	look_away();
}

/* Usage is money that is owed; it does not wait for an alert for ever. */
static void alerts_without_a_stream_are_counted_and_usage_goes_on(void **state)
{
	server_start();
	make_stream("OTHER", "alert.v1.>", 0);
	publisher_start();
	ask_for_more(1);
	fake_requests(f, 2, 0, 20);
	wait_warning("stream ALERT is not there and could not be made");
	wait_drained();
	assert_int_equal(status().acked, 20);
	assert_int_equal(status().alerts, 0);
	assert_int_equal(status().skipped, 1);
	look();
	assert_int_equal(stream_messages("METER"), 20);
	assert_int_equal(stream_messages("OTHER"), 0);
	assert_int_equal(js_DeleteStream(js, "OTHER", NULL, NULL), NATS_OK);
	look_away();
	/* It is looked for again. */
	for (unsigned ms = 0; status().warning[0]; ms += 5) {
		assert_true(ms < PATIENCE_MS);
		pause_ms(5);
	}
	ask_for_more(2);
	wait_drained();
	assert_int_equal(status().alerts, 1);
}

/* The stream was there and is full for ever: what is in flight is given up. */
static void a_stream_that_refuses_alerts_does_not_hold_up_usage(void **state)
{
	const char *subjects[1] = { "alert.v1.>" };
	jsStreamConfig c;
	uint64_t retried;

	server_start();
	look();
	jsStreamConfig_Init(&c);
	c.Name = "ALERT";
	c.Subjects = subjects;
	c.SubjectsLen = 1;
	c.MaxMsgs = 1;
	c.Discard = js_DiscardNew;
	assert_int_equal(js_AddStream(NULL, js, &c, NULL, NULL), NATS_OK);
	look_away();
	publisher_start();
	ask_for_more(1);
	ask_for_more(2);
	fake_requests(f, 2, 0, 20);
	wait_drained();
	assert_int_equal(status().acked, 20);
	assert_int_equal(status().alerts, 1);
	assert_int_equal(status().skipped, 1);
	/* The next ones are not even tried, for a while. */
	retried = status().retried;
	ask_for_more(3);
	fake_requests(f, 2, 5000, 20);
	wait_drained();
	assert_int_equal(status().acked, 40);
	assert_int_equal(status().skipped, 2);
	assert_int_equal(status().retried, retried);
}

static void a_restarted_publisher_goes_on_where_it_was(void **state)
{
	server_start();
	publisher_start();
	fake_requests(f, 1, 0, 300);
	wait_drained();
	publisher_end(1000);
	fake_requests(f, 1, 1000, 20);
	publisher_start();
	wait_drained();
	assert_int_equal(status().acked, 20);
	assert_stream_is_the_ledger();
}

static int call_forget(struct weir_ledger *l, void *arg)
{
	return weir_ledger_cursor_set(l, "nats", *(uint64_t *)arg, NULL);
}

static void what_is_published_again_is_not_stored_again(void **state)
{
	uint64_t zero = 0;

	server_start();
	publisher_start();
	fake_requests(f, 1, 0, 300);
	wait_drained();
	publisher_end(1000);
	/* As after a crash before the cursor was stored. */
	assert_int_equal(weir_writer_call(f->view.writer, call_forget, &zero), 0);
	publisher_start();
	wait_drained();
	assert_int_equal(status().acked, 0);
	assert_int_equal(status().known, 300);
	assert_stream_is_the_ledger();
}

static void without_nats_the_backlog_waits(void **state)
{
	publisher_start();
	fake_requests(f, 1, 0, 50);
	assert_int_equal(status().backlog, 50);
	wait_warning("NATS");
	assert_non_null(strstr(status().warning, port));
	assert_false(status().connected);
	server_start();
	wait_drained();
	assert_stream_is_the_ledger();
}

static void a_killed_server_loses_and_doubles_nothing(void **state)
{
	unsigned at = 0;

	server_start();
	publisher_start();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 10; i++) {
			fake_requests(f, 1, at, 200);
			at += 200;
			if (i == 3 + round)
				server_end(SIGKILL);
		}
		server_start();
	}
	wait_drained();
	assert_stream_is_the_ledger();
}

static void stopping_publishes_what_there_is(void **state)
{
	server_start();
	publisher_start();
	wait_drained();
	fake_requests(f, 1, 0, 2000);
	publisher_end(10000);
	assert_stream_is_the_ledger();
}

static void stopping_without_nats_is_quick(void **state)
{
	uint64_t before;

	publisher_start();
	fake_requests(f, 1, 0, 10);
	wait_warning("NATS");
	before = weir_mono_ns();
	publisher_end(5000);
	assert_true(weir_mono_ns() - before < UINT64_C(3000000000));
}

static void a_stream_that_forgets_ids_soon_is_reported_and_left_alone(void **state)
{
	jsStreamInfo *si = NULL;

	server_start();
	make_stream("METER", "meter.v1.>", INT64_C(120000000000));
	publisher_start();
	fake_requests(f, 1, 0, 10);
	wait_drained();
	wait_warning("METER remembers ids for 120 s");
	assert_stream_is_the_ledger();
	look();
	assert_int_equal(js_GetStreamInfo(&si, js, "METER", NULL, NULL), NATS_OK);
	assert_int_equal(si->Config->Duplicates, INT64_C(120000000000));
	jsStreamInfo_Destroy(si);
	look_away();
}

static void a_stream_of_other_subjects_holds_events_back(void **state)
{
	server_start();
	make_stream("METER", "other.>", 0);
	publisher_start();
	fake_requests(f, 1, 0, 10);
	wait_warning("METER does not take meter.v1.>");
	assert_false(status().stream_ok);
	assert_int_equal(status().backlog, 10);
	look();
	assert_int_equal(stream_messages("METER"), 0);
	assert_int_equal(js_DeleteStream(js, "METER", NULL, NULL), NATS_OK);
	look_away();
	wait_drained();
	assert_stream_is_the_ledger();
}

static void a_deleted_stream_is_made_again_and_publishing_goes_on(void **state)
{
	server_start();
	publisher_start();
	fake_requests(f, 1, 0, 10);
	wait_drained();
	look();
	assert_int_equal(js_DeleteStream(js, "METER", NULL, NULL), NATS_OK);
	look_away();
	fake_requests(f, 1, 100, 10);
	wait_drained();
	assert_int_equal(status().again, 10);
	assert_stream_is_the_ledger();
}

static void refusals_are_published_by_the_second(void **state)
{
	struct weir_rec_deny rec = { .wall_ns = weir_wall_ns(),
				     .tenant = 1,
				     .reason = WEIR_DENY_REQUESTS,
				     .count = 1,
				     .limit = 60 };
	natsMsg *m = NULL;
	const char *data;

	server_start();
	publisher_start();
	wait_drained();
	weir_denials_note(f->view.denials, &rec);
	rec.reason = WEIR_DENY_UNKNOWN_KEY;
	rec.tenant = WEIR_NO_TENANT;
	weir_denials_note(f->view.denials, &rec);
	pthread_mutex_lock(&f->lock);
	f->denied[1][WEIR_DENY_REQUESTS] = 17;
	pthread_mutex_unlock(&f->lock);
	for (unsigned ms = 0; status().denied < 2; ms += 5) {
		assert_true(ms < PATIENCE_MS);
		pause_ms(5);
	}
	look();
	assert_int_equal(stream_messages("DENY"), 2);
	assert_int_equal(js_GetLastMsg(&m, js, "DENY", "deny.v1.acme.gpu-01", NULL, NULL), NATS_OK);
	data = natsMsg_GetData(m);
	assert_non_null(memmem(data, (size_t)natsMsg_GetDataLength(m), "\"count\":17", 10));
	natsMsg_Destroy(m);
	assert_int_equal(js_GetLastMsg(&m, js, "DENY", "deny.v1.~nobody.gpu-01", NULL, NULL),
			 NATS_OK);
	natsMsg_Destroy(m);
	look_away();
}

static void a_wrong_url_is_a_warning(void **state)
{
	snprintf(url, sizeof(url), "nats://somebody:secret@127.0.0.1:port");
	publisher_start();
	wait_warning("127.0.0.1:port");
	assert_null(strstr(status().warning, "secret"));
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(every_entry_is_published_once_and_in_order),
		CLAIM(reported_usage_and_top_ups_are_published_too),
		CLAIM(alerts_without_a_stream_are_counted_and_usage_goes_on),
		CLAIM(a_stream_that_refuses_alerts_does_not_hold_up_usage),
		CLAIM(a_restarted_publisher_goes_on_where_it_was),
		CLAIM(what_is_published_again_is_not_stored_again),
		CLAIM(without_nats_the_backlog_waits),
		CLAIM(a_killed_server_loses_and_doubles_nothing),
		CLAIM(stopping_publishes_what_there_is),
		CLAIM(stopping_without_nats_is_quick),
		CLAIM(a_stream_that_forgets_ids_soon_is_reported_and_left_alone),
		CLAIM(a_stream_of_other_subjects_holds_events_back),
		CLAIM(a_deleted_stream_is_made_again_and_publishing_goes_on),
		CLAIM(refusals_are_published_by_the_second),
		CLAIM(a_wrong_url_is_a_warning),
	};
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	nats_Close();
	return failed;
}
