/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about usage over NATS, against Debian's nats-server: each report is entered once,
 * in one ledger, whatever dies; what cannot be entered is told, and never lost.
 */
#include "fake_agent.h"
#include "nats_fixture.h"

#include "agent/ledger_read.h"
#include "agent/meter_in.h"
#include "agent/price.h"

static struct fake *f;
static struct weir_meter_in *in[2];

static const char cards[] =
	"{\"rate_cards\":[{\"name\":\"list\",\"version\":\"1\",\"effective_from\":"
	"\"2020-01-01T00:00:00Z\",\"models\":[{\"meter\":\"storage_gb\",\"price\":{\"unit\":"
	"\"0.02\"},\"cost\":{\"unit\":\"0.01\"}}]}]}";

static int call_cards(struct weir_ledger *l, void *arg)
{
	struct weir_policy *p = arg;
	int r = 0;

	for (size_t i = 0; !r && i < p->n_cards; i++)
		r = weir_ledger_card(l, p->cards[i], &p->cards[i]->id, NULL);
	return r;
}

static int setup(void **state)
{
	struct weir_error err = { "" };

	f = fake_new(NULL);
	fake_write(f->policies, "20.json", cards);
	if (f->view.reload(f, f->policies, &err))
		fail_msg("%s", err.text);
	assert_int_equal(weir_writer_call(f->view.writer, call_cards, f->policy), 0);
	snprintf(store, sizeof(store), "%s/nats", f->dir);
	pick_port();
	return 0;
}

static void stop(size_t i)
{
	weir_meter_in_stop(in[i]);
	in[i] = NULL;
}

static int teardown(void **state)
{
	stop(0);
	stop(1);
	server_end(SIGTERM);
	fake_free(f);
	return 0;
}

static void start(size_t i, const char *node, const char *subject)
{
	static struct weir_nats_config c[2];
	struct weir_error err = { "" };

	snprintf(c[i].url, sizeof(c[i].url), "%s", url);
	snprintf(c[i].usage_subject, sizeof(c[i].usage_subject), "%s", subject);
	if (weir_meter_in_start(&c[i], node, &f->view, &in[i], &err))
		fail_msg("%s", err.text);
}

static struct weir_meter_in_status status(size_t i)
{
	struct weir_meter_in_status s;

	weir_meter_in_status(in[i], &s);
	return s;
}

#define WAIT(condition)                                                                            \
	for (unsigned waited_ms = 0; !(condition); waited_ms += 5) {                               \
		if (waited_ms >= PATIENCE_MS)                                                      \
			fail_msg("waited for %s; %s", #condition, status(0).warning);              \
		pause_ms(5);                                                                       \
	}

static void wait_ready(size_t i)
{
	WAIT(status(i).ready);
}

static void wait_warning(size_t i, const char *words)
{
	for (unsigned ms = 0; !strstr(status(i).warning, words); ms += 5) {
		if (ms >= PATIENCE_MS)
			fail_msg("no warning of \"%s\", but: %s", words, status(i).warning);
		pause_ms(5);
	}
}

static void report(const char *subject, const char *text)
{
	jsErrCode code = 0;

	look();
	assert_int_equal(js_Publish(NULL, js, subject, text, (int)strlen(text), NULL, &code),
			 NATS_OK);
	look_away();
}

static uint64_t queued(void)
{
	uint64_t n;

	look();
	n = stream_messages("USAGE");
	look_away();
	return n;
}

/* ------------------------------------------------------------- what the ledger has */

struct sum {
	unsigned n;
	int64_t price_nano;
	char last_key[64];
};

static int add(const struct weir_entry *e, void *ctx)
{
	struct sum *s = ctx;

	s->n++;
	s->price_nano += e->op->price_nano;
	snprintf(s->last_key, sizeof(s->last_key), "%s", e->op->key);
	return 0;
}

static struct sum entered(const char *tenant)
{
	struct weir_entry_query q = { .kinds = 1u << WEIR_ENTRY_METER };
	struct weir_error err = { "" };
	struct weir_reader *r = NULL;
	struct sum s = { 0 };

	if (weir_reader_open(f->db, &r, &err) ||
	    (tenant && weir_reader_tenant(r, tenant, &q.tenant, &err)) ||
	    weir_reader_entries(r, &q, add, &s, &err))
		fail_msg("%s", err.text);
	weir_reader_close(r);
	return s;
}

#define REPORT(id, quantity)                                                                       \
	"{\"id\":\"" id "\",\"dimension\":\"storage_gb\",\"quantity\":\"" quantity "\"}"

/* ------------------------------------------------------------------------- claims */

static void reports_are_entered_once_and_priced(void **state)
{
	server_start();
	start(0, "gpu-01", "usage.v1.>");
	wait_ready(0);
	report("usage.v1.acme", REPORT("a", "1.5"));
	report("usage.v1.globex.gpu-01", REPORT("b", "100"));
	report("usage.v1.acme", REPORT("a", "1.5"));
	report("usage.v1.acme", REPORT("c", "0.5"));
	WAIT(status(0).entered + status(0).repeated == 4);
	assert_int_equal(status(0).repeated, 1);
	assert_int_equal(status(0).refused, 0);
	assert_string_equal(status(0).warning, "");
	assert_int_equal(entered("acme").n, 2);
	assert_int_equal(entered("acme").price_nano, 40000000); /* 2 x 0.02 */
	assert_int_equal(entered("globex").price_nano, 2000000000);
	WAIT(!queued());
}

/* One that is there is used if it can be, and what is wrong with it is told. */
static void what_was_reported_before_is_entered_too(void **state)
{
	const char *subjects[1] = { "usage.v1.>" };
	jsStreamConfig c;

	server_start();
	look();
	jsStreamConfig_Init(&c);
	c.Name = "USAGE";
	c.Subjects = subjects;
	c.SubjectsLen = 1;
	c.Retention = js_WorkQueuePolicy;
	c.MaxAge = INT64_C(86400000000000);
	assert_int_equal(js_AddStream(NULL, js, &c, NULL, NULL), NATS_OK);
	look_away();
	report("usage.v1.acme", REPORT("early", "1"));
	start(0, "gpu-01", "usage.v1.*");
	WAIT(status(0).entered == 1);
	assert_string_equal(entered("acme").last_key, "early");
	wait_warning(0, "stream USAGE drops messages that are old");
}

static void bad_reports_are_told_and_hold_up_nothing(void **state)
{
	natsMsg *m = NULL;

	server_start();
	start(0, "gpu-01", "usage.v1.>");
	wait_ready(0);
	report("usage.v1.acme", "not json");
	report("usage.v1.acme", "");
	report("usage.v1.nobody", REPORT("b", "1"));
	report("usage.v1.acme", REPORT("c", "1"));
	report("usage.v1.acme", REPORT("c", "2")); /* the same id, another quantity */
	report("usage.v1.acme", REPORT("d", "1"));
	WAIT(status(0).entered == 2 && status(0).refused == 4);
	WAIT(!queued());
	assert_int_equal(entered(NULL).n, 2);
	look();
	assert_int_equal(stream_messages("USAGE_REFUSED"), 4);
	assert_int_equal(js_GetMsg(&m, js, "USAGE_REFUSED", 3, NULL, NULL), NATS_OK);
	assert_string_equal(natsMsg_GetSubject(m), "usage_refused.v1.nobody.gpu-01");
	assert_true(message_has(m, "tenant \\\"nobody\\\": no such tenant"));
	assert_true(message_has(m, "\"message\":\"{\\\"id\\\":\\\"b\\\","));
	natsMsg_Destroy(m);
	assert_int_equal(
		js_GetLastMsg(&m, js, "USAGE_REFUSED", "usage_refused.v1.acme.gpu-01", NULL, NULL),
		NATS_OK);
	assert_true(message_has(m, "\\\"quantity\\\":\\\"2\\\""));
	natsMsg_Destroy(m);
	look_away();
	assert_non_null(strstr(status(0).refusal, "acme: "));
}

/* Of what no card prices it is known that it was used. */
static void an_unknown_dimension_is_entered_unpriced(void **state)
{
	server_start();
	start(0, "gpu-01", "usage.v1.>");
	wait_ready(0);
	report("usage.v1.acme", "{\"id\":\"a\",\"dimension\":\"papers\",\"quantity\":\"3\"}");
	WAIT(status(0).entered == 1);
	assert_int_equal(entered("acme").price_nano, 0);
	assert_int_equal(f->last_op.flags & WEIR_OP_UNPRICED, WEIR_OP_UNPRICED);
}

/* n reports that are fetched together: they are there before anybody asks. Some are wrong, some
 * come twice. */
static void report_many(unsigned n)
{
	char text[128];

	look();
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text),
			 "{\"id\":\"m-%u\",\"dimension\":\"storage_gb\",\"quantity\":\"1\"}", i);
		assert_int_equal(
			js_Publish(NULL, js, "usage.v1.acme", text, (int)strlen(text), NULL, NULL),
			NATS_OK);
	}
	assert_int_equal(js_Publish(NULL, js, "usage.v1.acme", REPORT("m-1", "1"),
				    (int)strlen(REPORT("m-1", "1")), NULL, NULL),
			 NATS_OK);
	assert_int_equal(js_Publish(NULL, js, "usage.v1.acme",
				    REPORT("m-2", "77"), /* the id of another */
				    (int)strlen(REPORT("m-2", "77")), NULL, NULL),
			 NATS_OK);
	look_away();
}

/* The consumer, the streams and n reports (and two), and nobody there. */
static void leave_many(unsigned n)
{
	server_start();
	start(0, "gpu-01", "usage.v1.>");
	wait_ready(0);
	stop(0);
	report_many(n);
}

static void what_comes_together_is_committed_together(void **state)
{
	leave_many(100);
	f->groups = 0;
	start(0, "gpu-01", "usage.v1.>");
	WAIT(!queued());
	assert_int_equal(status(0).entered, 100);
	assert_int_equal(status(0).repeated, 1);
	assert_int_equal(status(0).refused, 1);
	assert_non_null(strstr(status(0).refusal, "was used for another write"));
	assert_int_equal(entered("acme").n, 100);
	assert_int_equal(entered("acme").price_nano, 2000000000);
	assert_in_range(f->groups, 1, 10);
}

static int post_and_kill_server(void *ctx, struct weir_ledger *l, struct weir_post *posts, size_t n,
				struct weir_error *err)
{
	int r = fake_post_all(ctx, l, posts, n, err);

	f->view.post_all = fake_post_all;
	server_end(SIGKILL);
	return r;
}

/* They are durable, and NATS was never told: as when the agent dies in between. Nor does the agent
 * that they are given to again know of it. */
static void what_could_not_be_acknowledged_is_entered_once(void **state)
{
	unsigned n;

	leave_many(40);
	f->view.post_all = post_and_kill_server;
	start(0, "gpu-01", "usage.v1.>");
	WAIT(strstr(status(0).warning, "reported usage waits there"));
	n = entered("acme").n;
	assert_in_range(n, 1, 40);
	stop(0);
	server_start();
	start(0, "gpu-01", "usage.v1.>");
	WAIT(!queued());
	assert_int_equal(entered("acme").n, 40);
	assert_int_equal(entered("acme").price_nano, 800000000);
	assert_int_equal(status(0).entered, 40 - n);
	assert_in_range(status(0).repeated, n, n + 1); /* those, and the one that came twice */
}

static int post_fails(void *ctx, struct weir_ledger *l, struct weir_post *posts, size_t n,
		      struct weir_error *err)
{
	return weir_fail(err, EIO, "weir.db: disk I/O error");
}

/* One that the ledger chokes on. */
static int post_fails_with_3(void *ctx, struct weir_ledger *l, struct weir_post *posts, size_t n,
			     struct weir_error *err)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(posts[i].op.key, "m-3"))
			return weir_fail(err, EBADMSG, "an entry is damaged");
	return fake_post_all(ctx, l, posts, n, err);
}

static void one_that_cannot_be_entered_holds_up_no_other(void **state)
{
	leave_many(20);
	f->view.post_all = post_fails_with_3;
	start(0, "gpu-01", "usage.v1.>");
	WAIT(entered("acme").n == 19);
	wait_warning(0, "cannot be entered: an entry is damaged");
	assert_int_equal(queued(), 1);
	f->view.post_all = fake_post_all;
	WAIT(!queued());
	assert_int_equal(entered("acme").n, 20);
	assert_int_equal(entered("acme").price_nano, 400000000);
}

static void while_the_ledger_takes_nothing_reports_wait(void **state)
{
	server_start();
	f->view.post_all = post_fails;
	start(0, "gpu-01", "usage.v1.>");
	wait_ready(0);
	report("usage.v1.acme", REPORT("a", "1"));
	report("usage.v1.acme", REPORT("b", "1"));
	wait_warning(0, "cannot be entered: weir.db: disk I/O error");
	assert_true(status(0).retried > 0);
	assert_int_equal(status(0).refused, 0);
	assert_int_equal(queued(), 2);
	f->view.post_all = fake_post_all;
	WAIT(status(0).entered == 2);
	WAIT(!status(0).warning[0]);
	assert_int_equal(entered("acme").n, 2);
}

/* A report that two ledgers enter is billed twice. */
static void a_second_node_takes_none_of_what_the_first_takes(void **state)
{
	server_start();
	start(0, "gpu-01", "usage.v1.>");
	wait_ready(0);
	start(1, "gpu-02", "usage.v1.*.gpu-02");
	wait_warning(1, "another consumer of USAGE takes some of it: weir-gpu-01 (usage.v1.>)");
	report("usage.v1.acme.gpu-02", REPORT("a", "1"));
	WAIT(status(0).entered == 1);
	assert_int_equal(status(1).entered, 0);
	assert_false(status(1).ready);
}

static void nodes_that_divide_the_subjects_enter_each_its_own(void **state)
{
	server_start();
	start(0, "gpu-01", "usage.v1.*.gpu-01");
	wait_ready(0);
	start(1, "gpu-02", "usage.v1.*.gpu-02");
	wait_ready(1);
	report("usage.v1.acme.gpu-01", REPORT("a", "1"));
	report("usage.v1.acme.gpu-02", REPORT("b", "1"));
	report("usage.v1.globex.gpu-02", REPORT("c", "1"));
	WAIT(status(0).entered == 1 && status(1).entered == 2);
	assert_int_equal(status(0).repeated + status(1).repeated, 0);
}

static void another_ledgers_consumer_is_left_alone(void **state)
{
	jsConsumerInfo *ci = NULL;
	jsConsumerConfig c;

	server_start();
	start(0, "gpu-01", "usage.v1.>");
	wait_ready(0);
	stop(0);
	look();
	assert_int_equal(js_DeleteConsumer(js, "USAGE", "weir-gpu-01", NULL, NULL), NATS_OK);
	jsConsumerConfig_Init(&c);
	c.Durable = "weir-gpu-01";
	c.Description = "Weir: usage for ledger of another machine";
	c.FilterSubject = "usage.v1.>";
	c.AckPolicy = js_AckExplicit;
	assert_int_equal(js_AddConsumer(NULL, js, "USAGE", &c, NULL, NULL), NATS_OK);
	look_away();
	report("usage.v1.acme", REPORT("a", "1"));
	start(0, "gpu-01", "usage.v1.>");
	wait_warning(0, "consumer weir-gpu-01 of USAGE is not this ledger's");
	assert_int_equal(queued(), 1);
	look();
	assert_int_equal(js_GetConsumerInfo(&ci, js, "USAGE", "weir-gpu-01", NULL, NULL), NATS_OK);
	assert_string_equal(ci->Config->Description, c.Description);
	jsConsumerInfo_Destroy(ci);
	/* Somebody decides that the other one is gone for good. */
	assert_int_equal(js_DeleteConsumer(js, "USAGE", "weir-gpu-01", NULL, NULL), NATS_OK);
	look_away();
	WAIT(status(0).entered == 1);
}

static void a_stream_that_is_no_work_queue_is_reported_and_left_alone(void **state)
{
	server_start();
	make_stream("USAGE", "usage.v1.>", 0);
	report("usage.v1.acme", REPORT("a", "1"));
	start(0, "gpu-01", "usage.v1.>");
	wait_warning(0, "stream USAGE is not a work queue");
	assert_int_equal(queued(), 1);
	assert_int_equal(entered(NULL).n, 0);
}

/* A refusal that nobody can see would be usage lost. */
static void without_room_for_refusals_nothing_is_taken(void **state)
{
	server_start();
	make_stream("OTHER", "usage_refused.v1.>", 0);
	start(0, "gpu-01", "usage.v1.>");
	wait_warning(0, "stream USAGE_REFUSED is not there and could not be made");
	assert_false(status(0).ready);
	look();
	assert_int_equal(js_DeleteStream(js, "OTHER", NULL, NULL), NATS_OK);
	look_away();
	wait_ready(0);
}

static void a_deleted_consumer_is_made_again(void **state)
{
	server_start();
	start(0, "gpu-01", "usage.v1.>");
	wait_ready(0);
	look();
	assert_int_equal(js_DeleteConsumer(js, "USAGE", "weir-gpu-01", NULL, NULL), NATS_OK);
	look_away();
	report("usage.v1.acme", REPORT("a", "1"));
	WAIT(status(0).entered == 1);
}

static void without_nats_it_says_so_and_stops_quickly(void **state)
{
	uint64_t before;

	start(0, "gpu-01", "usage.v1.>");
	wait_warning(0, "reported usage waits there");
	assert_non_null(strstr(status(0).warning, port));
	before = weir_mono_ns();
	stop(0);
	assert_true(weir_mono_ns() - before < UINT64_C(5000000000));
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(reports_are_entered_once_and_priced),
		CLAIM(what_was_reported_before_is_entered_too),
		CLAIM(bad_reports_are_told_and_hold_up_nothing),
		CLAIM(an_unknown_dimension_is_entered_unpriced),
		CLAIM(what_comes_together_is_committed_together),
		CLAIM(what_could_not_be_acknowledged_is_entered_once),
		CLAIM(one_that_cannot_be_entered_holds_up_no_other),
		CLAIM(while_the_ledger_takes_nothing_reports_wait),
		CLAIM(a_second_node_takes_none_of_what_the_first_takes),
		CLAIM(nodes_that_divide_the_subjects_enter_each_its_own),
		CLAIM(another_ledgers_consumer_is_left_alone),
		CLAIM(a_stream_that_is_no_work_queue_is_reported_and_left_alone),
		CLAIM(without_room_for_refusals_nothing_is_taken),
		CLAIM(a_deleted_consumer_is_made_again),
		CLAIM(without_nats_it_says_so_and_stops_quickly),
	};
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	nats_Close();
	return failed;
}
