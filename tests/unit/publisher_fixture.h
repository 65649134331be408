/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publisher between a ledger of its own (fake_agent.h) and a nats-server of its own
 * (nats_fixture.h), either of which a test may end and start again.
 */
#ifndef WEIR_PUBLISHER_FIXTURE_H
#define WEIR_PUBLISHER_FIXTURE_H

#include "fake_agent.h"
#include "nats_fixture.h"

#include "agent/ledger_read.h"
#include "agent/publisher.h"

static struct fake *f;
static struct weir_publisher *p; /* read by the writer's thread */
static struct weir_publisher *stopped[8];
static size_t n_stopped;

static void on_commit(void *ctx, struct weir_ledger *l, uint64_t newest)
{
	if (p)
		weir_publisher_wake(p);
}

static int setup(void **state)
{
	const struct weir_writer_options o = { .on_commit = on_commit };

	p = NULL;
	f = fake_new(&o);
	snprintf(store, sizeof(store), "%s/nats", f->dir);
	pick_port();
	return 0;
}

static int teardown(void **state)
{
	weir_publisher_stop(p, 0);
	server_end(SIGTERM);
	weir_writer_stop(f->view.writer);
	f->view.writer = NULL;
	weir_publisher_free(p);
	p = NULL;
	while (n_stopped)
		weir_publisher_free(stopped[--n_stopped]);
	fake_free(f);
	return 0;
}

static inline void publisher_start(void)
{
	struct weir_error err = { "" };
	struct weir_publisher *made;
	static struct weir_nats_config c;

	snprintf(c.url, sizeof(c.url), "%s", url);
	if (weir_publisher_start(&c, "gpu-01", &f->view, &made, &err))
		fail_msg("%s", err.text);
	p = made;
}

static inline void publisher_end(unsigned drain_ms)
{
	assert_true(n_stopped < sizeof(stopped) / sizeof(stopped[0]));
	weir_publisher_stop(p, drain_ms);
	stopped[n_stopped++] = p;
	p = NULL;
}

static inline struct weir_publisher_status status(void)
{
	struct weir_publisher_status s;

	weir_publisher_status(p, &s);
	return s;
}

static inline void wait_drained(void)
{
	for (unsigned ms = 0;; ms += 5) {
		struct weir_publisher_status s = status();

		if (s.connected && !s.backlog)
			return;
		if (ms >= PATIENCE_MS)
			fail_msg("backlog %llu, connected %d: %s", (unsigned long long)s.backlog,
				 s.connected, s.warning);
		pause_ms(5);
	}
}

static inline void wait_warning(const char *words)
{
	for (unsigned ms = 0; !strstr(status().warning, words); ms += 5) {
		if (ms >= PATIENCE_MS)
			fail_msg("no warning of \"%s\", but: %s", words, status().warning);
		pause_ms(5);
	}
}

static inline int call_post(struct weir_ledger *l, void *arg)
{
	struct weir_error err = { "" };
	struct weir_done done;
	int r = weir_ledger_post(l, arg, weir_wall_ns(), &done, &err);

	if (r)
		fprintf(stderr, "post: %s\n", err.text);
	return r;
}

/* Of tenant 1. */
static inline void post(enum weir_entry_kind kind, int64_t nano, const char *key)
{
	struct weir_op op = {
		.kind = (uint8_t)kind, .tenant = 1, .wallet = 1, .priority = 100, .actor = "test"
	};

	if (kind == WEIR_ENTRY_METER) {
		op.flags = WEIR_OP_UNPRICED;
		op.quantity_nano = nano;
		op.started_ns = weir_wall_ns();
		strcpy(op.dimension, "storage_gb");
	} else {
		op.amount_nano = nano;
	}
	snprintf(op.key, sizeof(op.key), "%s", key);
	assert_int_equal(weir_writer_call(f->view.writer, call_post, &op), 0);
}

/* --------------------------------------------------------- the streams and the ledger */

static const char *const streams[][2] = { { "METER", "meter" },
					  { "ALERT", "alert" },
					  { "LEDGER", "ledger" } };

static char ledger_suffix[10];

/* Each stream holds exactly the entries of the ledger that it is for, in its order. */
static int compare(const struct weir_entry *e, void *ctx)
{
	bool usage = e->kind == WEIR_ENTRY_USAGE || e->kind == WEIR_ENTRY_METER;
	size_t which = usage ? 0 : e->kind == WEIR_ENTRY_TOP_UP ? 1 : 2;
	uint64_t *at = (uint64_t *)ctx + which;
	natsMsg *m = NULL;
	char id[33], want[64];
	const char *got = NULL;

	assert_int_equal(js_GetMsg(&m, js, streams[which][0], ++*at, NULL, NULL), NATS_OK);
	weir_hex(e->id.b, sizeof(e->id.b), id);
	assert_int_equal(natsMsgHeader_Get(m, "Nats-Msg-Id", &got), NATS_OK);
	assert_memory_equal(got, id, 32);
	/* What falls due at one instant may have the same id in two ledgers. */
	assert_string_equal(got + 32, usage ? "" : ledger_suffix);
	snprintf(want, sizeof(want), "%s.v1.%s.gpu-01", streams[which][1], e->tenant_name);
	assert_string_equal(natsMsg_GetSubject(m), want);
	assert_non_null(memmem(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), id, 32));
	natsMsg_Destroy(m);
	return 0;
}

static inline void assert_stream_is_the_ledger(void)
{
	struct weir_entry_query q = { .from_seq = 0 };
	struct weir_reader *r = NULL;
	uint64_t n[3] = { 0 };

	look();
	assert_int_equal(weir_reader_open(f->db, &r, NULL), 0);
	snprintf(ledger_suffix, sizeof(ledger_suffix), "-%.8s", weir_reader_ledger_id(r));
	assert_int_equal(weir_reader_entries(r, &q, compare, n, NULL), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(stream_messages(streams[i][0]), n[i]);
	weir_reader_close(r);
	look_away();
}

#endif
