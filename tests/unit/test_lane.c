/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about reading a lane, against Debian's nats-server: whatever gets lost or dies on the way,
 * the read is complete, or it fails; it never just ends early.
 */
#include "nats_fixture.h"

#include <errno.h>
#include <pthread.h>

#include "agent/lane_event.h"

#define LEDGER "00112233445566778899aabbccddeeff"
#define SOURCE "/weir/" LEDGER "/gpu-01"

static char dir[64];
static const struct weir_lane_query query = {
	.stream = "METER", .topic = "meter", .node = "gpu-01", .ledger_id = LEDGER, .data = true
};

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/weir-lane-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(store, sizeof(store), "%s/nats", dir);
	pick_port();
	server_start();
	make_stream("METER", "meter.v1.>", INT64_C(3600) * 1000000000);
	look();
	return 0;
}

static int teardown(void **state)
{
	char command[96];

	look_away();
	server_end(SIGKILL);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* ------------------------------------------------------------------- publishing */

static void publish(const char *subject, const void *data, size_t n)
{
	assert_int_equal(js_PublishAsync(js, subject, data, (int)n, NULL), NATS_OK);
}

static void published(void)
{
	assert_int_equal(js_PublishAsyncComplete(js, NULL), NATS_OK);
}

static void event_text(char *out, size_t room, const char *source, uint64_t seq)
{
	snprintf(out, room,
		 "{\"specversion\":\"1.0\",\"id\":\"%032llx\",\"source\":\"%s\",\"subject\":"
		 "\"acme\",\"data\":{\"tenant\":\"acme\",\"lines\":[{\"seq\":9}],"
		 "\"ledger_seq\":%llu,\"previous_seq\":%llu}}",
		 (unsigned long long)seq, source, (unsigned long long)seq,
		 (unsigned long long)(seq - 1));
}

static void event(uint64_t seq)
{
	char text[512];

	event_text(text, sizeof(text), SOURCE, seq);
	publish(seq % 2 ? "meter.v1.acme.gpu-01" : "meter.v1.blue.gpu-01", text, strlen(text));
}

static void events(uint64_t from, uint64_t to)
{
	for (; from <= to; from++)
		event(from);
	published();
}

static void foreign(const char *source)
{
	char text[512];

	event_text(text, sizeof(text), source, 77);
	publish("meter.v1.acme.gpu-01", text, strlen(text));
	published();
}

/* ---------------------------------------------------------------------- reading */

struct seen {
	uint64_t n, first, last, last_stream;
	uint64_t at; /* after so many, do: */
	void (*then)(void);
	int result;
};

static int see(const struct weir_lane_event *e, void *ctx)
{
	struct seen *s = ctx;
	struct weir_id id = { { 0 } };

	for (size_t i = 0; i < 8; i++)
		id.b[15 - i] = (uint8_t)(e->ledger_seq >> 8 * i);
	assert_memory_equal(&id, &e->id, sizeof(id));
	assert_int_equal(e->previous_seq, e->ledger_seq - 1);
	assert_true(e->stream_seq > s->last_stream);
	if (s->n)
		assert_int_equal(e->ledger_seq, s->last + 1);
	assert_string_equal(e->subject,
			    e->ledger_seq % 2 ? "meter.v1.acme.gpu-01" : "meter.v1.blue.gpu-01");
	assert_true(e->stored_ns > UINT64_C(1700000000) * 1000000000);
	s->first = s->n ? s->first : e->ledger_seq;
	s->last = e->ledger_seq;
	s->last_stream = e->stream_seq;
	if (++s->n == s->at && s->then)
		s->then();
	return s->n == s->at ? s->result : 0;
}

static int read_lane(const struct weir_lane_query *q, struct seen *s, struct weir_lane_others *o)
{
	struct weir_error err = { "" };
	int r = weir_lane_read(js, q, see, s, o, &err);

	if (r < 0)
		assert_non_null(strstr(err.text, "METER"));
	else if (r == 0 && err.text[0])
		print_message("%s\n", err.text);
	return r;
}

static void all_of(uint64_t n, struct seen s)
{
	assert_int_equal(read_lane(&query, &s, NULL), 0);
	assert_int_equal(s.n, n);
	assert_int_equal(s.first, 1);
	assert_int_equal(s.last, n);
}

static void nothing_is_there(void **state)
{
	struct weir_lane_query q = query;
	struct weir_error err = { "" };
	struct weir_lane_stream st;
	struct weir_lane_event last;
	struct seen s = { 0 };

	assert_int_equal(read_lane(&query, &s, NULL), 0);
	assert_int_equal(s.n, 0);
	assert_int_equal(weir_lane_last(js, &query, &last, NULL, &err), -ENODATA);
	assert_int_equal(weir_lane_stream(js, "METER", &st, &err), 0);
	assert_int_equal(st.last_seq, 0);
	assert_int_equal(st.replicas, 1);
	assert_int_equal(st.duplicates_ns, UINT64_C(3600) * 1000000000);
	assert_true(st.made_ns > UINT64_C(1700000000) * 1000000000);
	q.stream = "METERS";
	assert_int_equal(weir_lane_read(js, &q, see, &s, NULL, &err), -ENOENT);
	assert_string_equal(err.text, "nats: there is no stream METERS");
	assert_int_equal(weir_lane_last(js, &q, &last, NULL, &err), -ENOENT);
	assert_int_equal(weir_lane_stream(js, "METERS", &st, &err), -ENOENT);
	q = query;
	q.node = "gpu.*";
	assert_int_equal(weir_lane_read(js, &q, see, &s, NULL, &err), -EINVAL);
}

static void a_lane_is_one_nodes_and_one_ledgers(void **state)
{
	struct weir_lane_others o = { 0 };
	struct weir_lane_query q = query;
	struct weir_error err = { "" };
	struct weir_lane_event last;
	struct seen s = { 0 };
	char other[512];

	event_text(other, sizeof(other), SOURCE, 78);
	events(1, 3);
	publish("meter.v1.acme.gpu-02", other, strlen(other));
	publish("meter.v1.acme.gpu-01", "{\"id\":", 6);
	publish("meter.v1.acme.gpu-01", "", 0);
	events(4, 5);
	foreign("/weir/ffffffffffffffffffffffffffffffff/gpu-01");
	foreign("/weir/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee/gpu-01");
	assert_int_equal(read_lane(&query, &s, &o), 0);
	assert_int_equal(s.n, 5);
	assert_int_equal(o.malformed, 2);
	assert_int_equal(o.foreign, 2);
	assert_int_equal(o.malformed_seq, 6);
	assert_int_equal(o.foreign_seq, 10);
	assert_string_equal(o.foreign_source, "/weir/ffffffffffffffffffffffffffffffff/gpu-01");
	/* The last of ours, behind what is not. */
	o = (struct weir_lane_others){ 0 };
	assert_int_equal(weir_lane_last(js, &query, &last, &o, &err), 0);
	assert_int_equal(o.foreign, 1);
	assert_string_equal(o.foreign_source, "/weir/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee/gpu-01");
	assert_int_equal(last.ledger_seq, 5);
	assert_int_equal(last.previous_seq, 4);
	assert_int_equal(last.stream_seq, 8);
	assert_null(last.json);
	events(6, 6);
	assert_int_equal(weir_lane_last(js, &query, &last, NULL, &err), 0);
	assert_int_equal(last.ledger_seq, 6);
	/* From a place on; fn's own result ends it. */
	q.from_seq = 7;
	s = (struct seen){ .at = 2, .result = 42 };
	assert_int_equal(read_lane(&q, &s, NULL), 42);
	assert_int_equal(s.first, 4);
	assert_int_equal(s.last, 5);
	q.ledger_id = "ffffffffffffffffffffffffffffff00";
	assert_int_equal(weir_lane_last(js, &q, &last, NULL, &err), -ENODATA);
}

/* ------------------------------------------------------- what happens meanwhile */

static uint64_t more_from;

static void more(void)
{
	events(more_from, more_from + 400);
}

/* Deletes every consumer of METER, as an operator or a lost server would. */
static void delete_consumers(void)
{
	natsMsg *names = NULL;
	const char *p;

	assert_int_equal(
		natsConnection_RequestString(&names, nc, "$JS.API.CONSUMER.NAMES.METER", "", 5000),
		NATS_OK);
	p = strstr(natsMsg_GetData(names), "\"consumers\":[\"");
	assert_non_null(p);
	for (p += strlen("\"consumers\":["); *p == '"'; p += *p == ',') {
		char name[64];
		size_t n = strcspn(++p, "\"");

		snprintf(name, sizeof(name), "%.*s", (int)n, p);
		assert_int_equal(js_DeleteConsumer(js, "METER", name, NULL, NULL), NATS_OK);
		p += n + 1;
	}
	natsMsg_Destroy(names);
}

static void purge(void)
{
	assert_int_equal(js_PurgeStream(js, "METER", NULL, NULL), NATS_OK);
}

static void it_ends_where_the_lane_did(void **state)
{
	struct seen s = { .at = 1, .then = more };

	events(1, 3000);
	more_from = 3001;
	all_of(3000, s);
	all_of(3401, (struct seen){ 0 });
}

static void a_lost_consumer_is_made_anew(void **state)
{
	events(1, 3000);
	all_of(3000, (struct seen){ .at = 700, .then = delete_consumers });
	all_of(3000, (struct seen){ .at = 2999, .then = delete_consumers });
}

static void what_is_purged_is_not_waited_for(void **state)
{
	struct seen s = { .at = 100, .then = purge };

	events(1, 3000);
	assert_int_equal(read_lane(&query, &s, NULL), 0);
	assert_true(s.n >= 100 && s.n < 3000);
}

static void consumers_end_with_the_read(void **state)
{
	struct seen s = { .at = 5, .result = 1 };
	jsStreamInfo *si = NULL;

	events(1, 10);
	all_of(10, (struct seen){ 0 });
	assert_int_equal(read_lane(&query, &s, NULL), 1);
	assert_int_equal(js_GetStreamInfo(&si, js, "METER", NULL, NULL), NATS_OK);
	assert_int_equal(si->State.Consumers, 0);
	jsStreamInfo_Destroy(si);
}

/* More than there is room for on the way: what was dropped is read again. */
static void large_messages_are_read_in_small_batches(void **state)
{
	struct weir_lane_others o = { 0 };
	struct seen s = { 0 };
	size_t n = 900000;
	char *junk = malloc(n);

	assert_non_null(junk);
	memset(junk, 'x', n);
	events(1, 10);
	for (int i = 0; i < 60; i++)
		publish("meter.v1.acme.gpu-01", junk, n);
	published();
	events(11, 20);
	free(junk);
	assert_int_equal(read_lane(&query, &s, &o), 0);
	assert_int_equal(s.n, 20);
	assert_true(o.malformed >= 60);
}

/* ---------------------------------------------------------------- a server that dies */

static void kill_server(void)
{
	server_end(SIGKILL);
}

static pthread_t waker;

static void *wake_later(void *arg)
{
	pause_ms(2500); /* longer than it waits for one answer */
	kill(server, SIGCONT);
	return NULL;
}

static void hang_server(void)
{
	kill(server, SIGSTOP);
	assert_int_equal(pthread_create(&waker, NULL, wake_later, NULL), 0);
}

static void a_server_that_hangs_is_waited_for(void **state)
{
	events(1, 3000);
	all_of(3000, (struct seen){ .at = 100, .then = hang_server });
	assert_int_equal(pthread_join(waker, NULL), 0);
}

static void a_server_that_dies_ends_it_with_an_error(void **state)
{
	struct weir_error err = { "" };
	struct seen s = { .at = 100, .then = kill_server };
	natsOptions *o = NULL;

	events(1, 3000);
	look_away();
	/* As all of Weir's: it does not connect again by itself. */
	assert_int_equal(natsOptions_Create(&o), NATS_OK);
	assert_int_equal(natsOptions_SetURL(o, url), NATS_OK);
	assert_int_equal(natsOptions_SetAllowReconnect(o, false), NATS_OK);
	assert_int_equal(natsConnection_Connect(&nc, o), NATS_OK);
	natsOptions_Destroy(o);
	assert_int_equal(natsConnection_JetStream(&js, nc, NULL), NATS_OK);
	assert_int_equal(weir_lane_read(js, &query, see, &s, NULL, &err), -EIO);
	assert_true(s.n >= 100 && s.n < 3000);
	assert_non_null(strstr(err.text, "cannot be read behind message "));
}

/* ------------------------------------------------------------- what anybody may send */

static void an_event_is_read_strictly(void **state)
{
	static const char id[] = "000102030405060708090a0b0c0d0e0f";
	static const struct {
		const char *json;
		enum weir_lane_kind kind;
		uint64_t seq, previous;
	} cases[] = {
		{ "{'id':'ID','source':'SRC','data':{'ledger_seq':7,'previous_seq':0}}",
		  WEIR_LANE_OURS, 7, 0 },
		{ "{ 'data' : {'previous_seq': 6, 'x':[{'ledger_seq':1}], 'ledger_seq': 7} , "
		  "'source' : 'SRC' , 'id' : 'ID' }\n",
		  WEIR_LANE_OURS, 7, 6 },
		/* LEDGER's entries, as they are since before lanes were linked */
		{ "{'id':'ID','source':'SRC','data':{'seq':8}}", WEIR_LANE_OURS, 8, UINT64_MAX },
		{ "{'id':'ID','source':'SRC','data':{}}", WEIR_LANE_OURS, 0, UINT64_MAX },
		{ "{'id':'ID','source':'SRC','data':{'ledger_seq':'7'}}", WEIR_LANE_OURS, 0,
		  UINT64_MAX },
		{ "{'id':'ID','source':'SRC','data':{'ledger_seq':99999999999999999999}}",
		  WEIR_LANE_OURS, 0, UINT64_MAX },
		{ "{'id':'ID','source':'SRCx','data':{}}", WEIR_LANE_FOREIGN, 0, 0 },
		{ "{'id':'ID','source':'x','data':{}}", WEIR_LANE_FOREIGN, 0, 0 },
		{ "{'id':'ID','source':'','data':{}}", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'ID','data':{}}", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'ID0','source':'SRC','data':{}}", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'zz','source':'SRC','data':{}}", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'source':'SRC','data':{}}", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'ID','id':'ID','source':'SRC','data':{}}", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'ID','source':'SRC','data':{'ledger_seq':1,'ledger_seq':2}}",
		  WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'ID','source':'SRC','data':{},'data':{'ledger_seq':2}}",
		  WEIR_LANE_MALFORMED, 0, 0 },
		{ "[{'id':'ID','source':'SRC','data':{}}]", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'ID','source':'SRC','data':{}", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'ID','source':'SRC','data':{}}}", WEIR_LANE_MALFORMED, 0, 0 },
		{ "{'id':'ID','source':'SRC','data':{}} x", WEIR_LANE_MALFORMED, 0, 0 },
		{ "null", WEIR_LANE_MALFORMED, 0, 0 },
		{ "", WEIR_LANE_MALFORMED, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512] = "", found[WEIR_LANE_SOURCE];
		struct weir_lane_event e = { 0 };
		size_t n = 0;

		for (const char *p = cases[i].json; *p; p++) {
			if (!strncmp(p, "ID", 2))
				n += (size_t)sprintf(text + n, "%s", id), p++;
			else if (!strncmp(p, "SRC", 3))
				n += (size_t)sprintf(text + n, "%s", SOURCE), p += 2;
			else
				text[n++] = *p == '\'' ? '"' : *p;
		}
		if (weir_lane_event_read(text, n, SOURCE, &e, found) != cases[i].kind)
			fail_msg("%s", text);
		if (cases[i].kind != WEIR_LANE_OURS)
			continue;
		assert_int_equal(e.ledger_seq, cases[i].seq);
		assert_int_equal(e.previous_seq, cases[i].previous);
		assert_int_equal(e.id.b[15], 15);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_is_read_strictly),
		TEST(nothing_is_there),
		TEST(a_lane_is_one_nodes_and_one_ledgers),
		TEST(it_ends_where_the_lane_did),
		TEST(a_lost_consumer_is_made_anew),
		TEST(what_is_purged_is_not_waited_for),
		TEST(consumers_end_with_the_read),
		TEST(large_messages_are_read_in_small_batches),
		TEST(a_server_that_hangs_is_waited_for),
		TEST(a_server_that_dies_ends_it_with_an_error),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	nats_Close();
	return r;
}
