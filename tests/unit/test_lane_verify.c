/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about holding a lane to its ledger, against Debian's nats-server: what must be there
 * begins where the stream does, order does not matter, and what the stream drops meanwhile is no
 * gap.
 */
#include "fake_agent.h"
#include "nats_fixture.h"

#include "agent/event.h"
#include "agent/lane_verify.h"

static struct fake *f;
static struct weir_reader *reader;
static uint64_t at; /* requests made so far */

static int setup(void **state)
{
	struct weir_error err = { "" };

	f = fake_new(NULL);
	snprintf(store, sizeof(store), "%s/nats", f->dir);
	pick_port();
	server_start();
	make_stream("METER", "meter.v1.>", INT64_C(3600) * 1000000000);
	look();
	assert_int_equal(weir_reader_open(f->db, &reader, &err), 0);
	at = 0;
	return 0;
}

static int teardown(void **state)
{
	weir_reader_close(reader);
	look_away();
	server_end(SIGKILL);
	fake_free(f);
	return 0;
}

static int make_event(const struct weir_entry *e, struct weir_text *out, void *ctx)
{
	struct weir_event_origin o;
	int r = weir_event_origin_of(reader, e, "gpu-01", &o, NULL);

	return r ? r : weir_event_json(e, &o, NULL, out);
}

static int publish_entry(const struct weir_entry *e, void *ctx)
{
	struct weir_text text = { 0 };
	char subject[WEIR_EVENT_SUBJECT];

	assert_int_equal(make_event(e, &text, NULL), 0);
	weir_event_subject(e, "gpu-01", subject);
	assert_int_equal(js_PublishAsync(js, subject, text.p, (int)text.len, NULL), NATS_OK);
	weir_text_free(&text);
	return 0;
}

/* Entries from one number on, so many of them, as a publisher would send them. */
static void publish(uint64_t from, size_t n)
{
	struct weir_entry_query q = { .from_seq = from, .limit = n };

	assert_int_equal(weir_reader_entries(reader, &q, publish_entry, NULL, NULL), 0);
	assert_int_equal(js_PublishAsyncComplete(js, NULL), NATS_OK);
}

static void requests(size_t n)
{
	for (size_t part; n; n -= part) {
		part = n < 4096 ? n : 4096;
		fake_requests(f, 1, (unsigned)at, (unsigned)part);
		at += part;
	}
}

static void delete_message(uint64_t seq)
{
	assert_int_equal(js_EraseMsg(js, "METER", seq, NULL, NULL), NATS_OK);
}

static int no_page(const char *phase, uint64_t done, uint64_t all, void *ctx)
{
	return 0;
}

static int (*page)(const char *, uint64_t, uint64_t, void *);

static int verify(uint64_t acked, struct weir_lane_verified *v)
{
	const struct weir_lane_check c = { .js = js,
					   .node = "gpu-01",
					   .reader = reader,
					   .acked_seq = acked,
					   .event = make_event,
					   .page = page ? page : no_page };
	struct weir_error err = { "" };
	int r = weir_lane_verify(&c, v, &err);

	if (r)
		print_message("%s\n", err.text);
	return r;
}

static struct weir_lane_verified verified(uint64_t acked)
{
	struct weir_lane_verified v;

	assert_int_equal(verify(acked, &v), 0);
	return v;
}

static void a_stream_that_dropped_nothing_must_have_all(void **state)
{
	struct weir_lane_verified v;

	requests(20);
	publish(3, 18);
	v = verified(20);
	assert_int_equal(v.from_seq, 1);
	assert_int_equal(v.wrong[WEIR_LANE_IS_MISSING], 2);
	assert_int_equal(v.findings[1].ledger_seq, 2);
	assert_false(weir_lane_agrees(&v));
	publish(1, 2);
	v = verified(20);
	assert_true(weir_lane_agrees(&v));
	assert_int_equal(v.same, 20);
	assert_int_equal(v.all.events, 20);
	/* What is not acknowledged need not be there. */
	requests(5);
	v = verified(20);
	assert_true(weir_lane_agrees(&v));
	v = verified(25);
	assert_int_equal(v.wrong[WEIR_LANE_IS_MISSING], 5);
	assert_int_equal(v.tenants_wrong, 1);
	assert_int_equal(v.sums[0].entries, 25);
}

/* The stream begins with an event that was sent again late: what is before it in the ledger, and
 * behind it, was dropped with the others. */
static void what_was_dropped_is_not_missing(void **state)
{
	struct weir_lane_verified v;

	requests(30);
	publish(1, 10);
	publish(12, 5);
	publish(11, 1); /* message 16 */
	publish(17, 14);
	for (uint64_t seq = 1; seq <= 15; seq++)
		delete_message(seq);
	v = verified(30);
	assert_true(weir_lane_agrees(&v));
	assert_int_equal(v.from_seq, 17);
	assert_int_equal(v.entries, 14);
	delete_message(20);
	v = verified(30);
	assert_int_equal(v.wrong[WEIR_LANE_IS_MISSING], 1);
	assert_int_equal(v.findings[0].ledger_seq, 20);
}

static void many_in_any_order_are_each_there_once(void **state)
{
	struct weir_lane_verified v;

	requests(30000);
	publish(20001, 10000);
	publish(1, 10000); /* farther away than it reads over */
	publish(10001, 10000);
	v = verified(30000);
	assert_true(weir_lane_agrees(&v));
	assert_int_equal(v.same, 30000);
	publish(29000, 1);
	publish(1, 1);
	v = verified(30000);
	assert_int_equal(v.wrong[WEIR_LANE_IS_DOUBLED], 2);
	assert_int_equal(v.all.events, 30000);
}

static int purge_at_stream(const char *phase, uint64_t done, uint64_t all, void *ctx)
{
	assert_true(done <= all);
	if (!strcmp(phase, "stream"))
		assert_int_equal(js_PurgeStream(js, "METER", NULL, NULL), NATS_OK);
	return 0;
}

static int hang_up(const char *phase, uint64_t done, uint64_t all, void *ctx)
{
	return -EPIPE;
}

static void what_is_dropped_meanwhile_is_no_gap(void **state)
{
	struct weir_lane_verified v;

	requests(5000);
	publish(1, 5000);
	page = hang_up;
	assert_int_equal(verify(5000, &v), -EPIPE);
	page = purge_at_stream;
	assert_int_equal(verify(5000, &v), -EAGAIN);
	page = NULL;
	v = verified(5000);
	assert_true(weir_lane_agrees(&v));
	assert_int_equal(v.entries, 0);
	assert_true(v.from_seq > v.to_seq);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_stream_that_dropped_nothing_must_have_all),
		TEST(what_was_dropped_is_not_missing),
		TEST(many_in_any_order_are_each_there_once),
		TEST(what_is_dropped_meanwhile_is_no_gap),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	nats_Close();
	return r;
}
