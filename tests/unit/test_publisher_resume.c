/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims about resuming (delivery.md, 13 and 14), against a real nats-server that forgets ids at
 * once, so that nothing here is owed to its duplicate window: each entry is on the stream once.
 */
#include "publisher_fixture.h"

#include <dirent.h>
#include <sys/stat.h>

#define FORGETS_NS INT64_C(100000000)
#define MAX_LOOKED 20000

/* ----------------------------------------------------------------- what there is */

static char (*found)[33];
static size_t n_found;

static int by_text(const void *a, const void *b)
{
	return memcmp(a, b, 33);
}

/* Ids on METER of this node, sorted. */
static void find_ids(void)
{
	jsStreamInfo *si = NULL;
	uint64_t last;

	look();
	assert_int_equal(js_GetStreamInfo(&si, js, "METER", NULL, NULL), NATS_OK);
	last = si->State.LastSeq;
	found = realloc(found, MAX_LOOKED * sizeof(*found));
	n_found = 0;
	for (uint64_t i = si->State.FirstSeq; i && i <= last; i++) {
		natsMsg *m = NULL;
		const char *id = NULL;

		if (js_GetMsg(&m, js, "METER", i, NULL, NULL) != NATS_OK)
			continue;
		assert_int_equal(natsMsgHeader_Get(m, "Nats-Msg-Id", &id), NATS_OK);
		assert_true(n_found < MAX_LOOKED);
		if (strstr(natsMsg_GetSubject(m), ".gpu-01"))
			snprintf(found[n_found++], 33, "%s", id);
		natsMsg_Destroy(m);
	}
	jsStreamInfo_Destroy(si);
	look_away();
	qsort(found, n_found, sizeof(*found), by_text);
}

struct wanted {
	char (*id)[33];
	size_t n;
};

static int want(const struct weir_entry *e, void *ctx)
{
	struct wanted *w = ctx;

	w->id = realloc(w->id, (w->n + 1) * sizeof(*w->id));
	weir_hex(e->id.b, sizeof(e->id.b), w->id[w->n++]);
	return 0;
}

/* Usage from that entry on is on METER, each once, and nothing else of this node. */
static void assert_each_once(uint64_t from_seq)
{
	struct weir_entry_query q = { .from_seq = from_seq,
				      .kinds = 1u << WEIR_ENTRY_USAGE | 1u << WEIR_ENTRY_METER };
	struct weir_reader *r = NULL;
	struct wanted w = { 0 };

	assert_int_equal(weir_reader_open(f->db, &r, NULL), 0);
	assert_int_equal(weir_reader_entries(r, &q, want, &w, NULL), 0);
	weir_reader_close(r);
	qsort(w.id, w.n, sizeof(*w.id), by_text);
	find_ids();
	assert_int_equal(n_found, w.n);
	for (size_t i = 0; i < w.n; i++)
		assert_memory_equal(found[i], w.id[i], 32);
	free(w.id);
	free(found);
	found = NULL;
}

/* METER with these limits; 0: none. */
static void make_meter(int64_t max_age_ns, int64_t max_msgs, bool update)
{
	const char *subjects[1] = { "meter.v1.>" };
	jsStreamConfig c;

	look();
	jsStreamConfig_Init(&c);
	c.Name = "METER";
	c.Subjects = subjects;
	c.SubjectsLen = 1;
	c.Duplicates = FORGETS_NS;
	c.MaxAge = max_age_ns;
	c.MaxMsgs = max_msgs ? max_msgs : -1;
	c.Discard = js_DiscardNew;
	if (update)
		assert_int_equal(js_UpdateStream(NULL, js, &c, NULL, NULL), NATS_OK);
	else
		assert_int_equal(js_AddStream(NULL, js, &c, NULL, NULL), NATS_OK);
	look_away();
}

/* Until the server has forgotten all ids there are: it takes one again. */
static void wait_forgotten(void)
{
	pause_ms(2 * FORGETS_NS / 1000000);
}

static int call_cursor(struct weir_ledger *l, void *arg)
{
	static const char *const name[] = { "nats" };

	return weir_ledger_stream_cursors_set(l, name, arg, 1, NULL);
}

static struct weir_stream_cursor cursor(void)
{
	struct weir_stream_cursor c;
	struct weir_reader *r = NULL;

	assert_int_equal(weir_reader_open(f->db, &r, NULL), 0);
	assert_int_equal(weir_reader_stream_cursor(r, "nats", &c, NULL), 0);
	weir_reader_close(r);
	return c;
}

/* What the server stored last is gone, as after a power loss: half of the newest file. */
static void lose_tail(void)
{
	char path[256], newest[300] = "";
	struct dirent *d;
	struct stat st;
	DIR *dir;

	server_end(SIGKILL);
	snprintf(path, sizeof(path), "%s/jetstream/$G/streams/METER/msgs", store);
	dir = opendir(path);
	assert_non_null(dir);
	while ((d = readdir(dir))) {
		char name[300];

		snprintf(name, sizeof(name), "%s/%.40s", path, d->d_name);
		if (strstr(name, ".blk"))
			strcpy(newest, name);
		else if (strstr(name, ".idx") || strstr(name, ".fss"))
			unlink(name);
	}
	closedir(dir);
	assert_int_equal(stat(newest, &st), 0);
	assert_int_equal(truncate(newest, st.st_size / 2), 0);
	server_start();
}

/* ------------------------------------------------------------------------- claims */

static void what_is_on_the_lane_is_not_sent_again(void **state)
{
	struct weir_stream_cursor c;

	server_start();
	make_meter(0, 0, false);
	publisher_start();
	fake_requests(f, 1, 0, 1000);
	wait_drained();
	publisher_end(1000);
	c = cursor();
	assert_int_equal(c.seq, 1000);
	assert_int_equal(c.stream_seq, 1000);
	assert_int_not_equal(c.made_ns, 0);
	/* As a crash leaves it: a cursor of a while ago. */
	c.seq = 400;
	c.stream_seq = c.stream_from = 400;
	assert_int_equal(weir_writer_call(f->view.writer, call_cursor, &c), 0);
	fake_requests(f, 1, 1000, 100);
	wait_forgotten();
	publisher_start();
	wait_drained();
	assert_int_equal(status().known, 600);
	assert_int_equal(status().acked, 100);
	assert_stream_is_the_ledger();
}

/* A ledger of before streams' numbers were stored. */
static void a_cursor_that_knows_no_stream_is_enough(void **state)
{
	struct weir_stream_cursor c = { .seq = 4800 };

	server_start();
	make_meter(0, 0, false);
	publisher_start();
	fake_requests(f, 1, 0, 4000);
	fake_requests(f, 1, 4000, 2000);
	wait_drained();
	publisher_end(1000);
	assert_int_equal(weir_writer_call(f->view.writer, call_cursor, &c), 0);
	wait_forgotten();
	publisher_start();
	wait_drained();
	assert_int_equal(status().known, 1200);
	assert_int_equal(status().acked, 0);
	assert_stream_is_the_ledger();
}

static void a_server_killed_under_load_gets_each_once(void **state)
{
	unsigned at = 0;

	server_start();
	make_meter(0, 0, false);
	publisher_start();
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 10; i++) {
			fake_requests(f, 1, at, 200);
			at += 200;
			if (i == 3 + round)
				server_end(SIGKILL);
		}
		wait_forgotten();
		server_start();
	}
	wait_drained();
	assert_each_once(1);
}

/* Events wait in its socket meanwhile, and are stored after they were given up. */
static void a_server_that_does_not_answer_for_long_gets_each_once(void **state)
{
	server_start();
	make_meter(0, 0, false);
	publisher_start();
	fake_requests(f, 1, 0, 100);
	wait_drained();
	kill(server, SIGSTOP);
	fake_requests(f, 1, 100, 500);
	for (unsigned ms = 0; !status().retried && ms < PATIENCE_MS; ms += 5)
		pause_ms(5);
	kill(server, SIGCONT);
	assert_int_not_equal(status().retried, 0);
	wait_drained();
	assert_each_once(1);
}

static void a_lost_tail_is_told_and_published_again(void **state)
{
	server_start();
	make_meter(0, 0, false);
	publisher_start();
	fake_requests(f, 1, 0, 3000);
	wait_drained();
	lose_tail();
	fake_requests(f, 1, 3000, 10);
	wait_drained();
	assert_in_range(status().again, 1, 3000);
	assert_each_once(1);
}

static void a_lost_tail_that_others_wrote_over_is_seen(void **state)
{
	server_start();
	make_meter(0, 0, false);
	publisher_start();
	fake_requests(f, 1, 0, 500);
	wait_drained();
	publisher_end(1000);
	lose_tail();
	look();
	for (unsigned i = 0; i < 600; i++) {
		char id[40];
		jsPubOptions o;

		jsPubOptions_Init(&o);
		snprintf(id, sizeof(id), "%032u", i);
		o.MsgId = id;
		assert_int_equal(js_Publish(NULL, js, "meter.v1.acme.gpu-02", "{}", 2, &o, NULL),
				 NATS_OK);
	}
	look_away();
	publisher_start();
	wait_drained();
	assert_in_range(status().again, 1, 500);
	assert_each_once(1);
}

static void a_stream_made_again_gets_what_is_not_too_old(void **state)
{
	server_start();
	make_meter(0, 0, false);
	publisher_start();
	fake_requests(f, 1, 0, 50);
	post(WEIR_ENTRY_METER, 1, "now");
	wait_drained();
	publisher_end(1000);
	look();
	assert_int_equal(js_DeleteStream(js, "METER", NULL, NULL), NATS_OK);
	look_away();
	/* The requests ended long ago, the report is of now. */
	make_meter(INT64_C(3600000000000), 0, false);
	publisher_start();
	wait_drained();
	assert_int_equal(status().again, 1);
	assert_each_once(51);
}

static void a_server_that_comes_back_empty_gets_all_again(void **state)
{
	char away[128];

	server_start();
	publisher_start();
	post(WEIR_ENTRY_GRANT, 5, "g1");
	fake_requests(f, 1, 0, 30);
	wait_drained();
	server_end(SIGKILL);
	snprintf(away, sizeof(away), "%s.away", store);
	assert_int_equal(rename(store, away), 0);
	server_start();
	post(WEIR_ENTRY_GRANT, 5, "g2");
	wait_drained();
	assert_stream_is_the_ledger();
	/* And it stays so: the cursor is of the new one. */
	publisher_end(1000);
	publisher_start();
	wait_drained();
	assert_int_equal(status().again, 0);
	assert_int_equal(status().acked, 0);
	assert_stream_is_the_ledger();
}

static void a_purge_is_left_alone(void **state)
{
	server_start();
	make_meter(0, 0, false);
	publisher_start();
	fake_requests(f, 1, 0, 50);
	wait_drained();
	publisher_end(1000);
	look();
	assert_int_equal(js_PurgeStream(js, "METER", NULL, NULL), NATS_OK);
	look_away();
	fake_requests(f, 1, 50, 5);
	publisher_start();
	wait_drained();
	assert_int_equal(status().again, 0);
	assert_each_once(51);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CLAIM(what_is_on_the_lane_is_not_sent_again),
		CLAIM(a_cursor_that_knows_no_stream_is_enough),
		CLAIM(a_server_killed_under_load_gets_each_once),
		CLAIM(a_server_that_does_not_answer_for_long_gets_each_once),
		CLAIM(a_lost_tail_is_told_and_published_again),
		CLAIM(a_lost_tail_that_others_wrote_over_is_seen),
		CLAIM(a_stream_made_again_gets_what_is_not_too_old),
		CLAIM(a_server_that_comes_back_empty_gets_all_again),
		CLAIM(a_purge_is_left_alone),
	};
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	nats_Close();
	return failed;
}
