/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many requests at the same instant, on all processors: every limit admits what
 * it says to the last one, and what is refused or lost to a race leaves nothing
 * behind.
 */
#include <pthread.h>

#include "tests/bpf/lab.h"

enum { THREADS = 4, EACH = 100, ALL = THREADS * EACH, FRAME = 512 };

static uint8_t frames[ALL][FRAME];
static size_t lens[ALL];
static struct conn conns[ALL];
static int codes[ALL];
static pthread_barrier_t start;

static void *run_all(void *arg)
{
	size_t first = (size_t)arg * EACH;
	int fd = bpf_program__fd(lab.skel->progs.weir_ingress);

	/* The others of this test run on other CPUs. */
	sched_setaffinity(0, sizeof(lab.all_cpus), &lab.all_cpus);
	pthread_barrier_wait(&start);
	for (size_t i = first; i < first + EACH; i++) {
		uint8_t out[FRAME_MAX];
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frames[i], .data_size_in = lens[i],
			    .data_out = out, .data_size_out = sizeof(out), .repeat = 1);

		codes[i] = bpf_prog_test_run_opts(fd, &opts) ? -99 : (int)opts.retval;
	}
	return NULL;
}

/* All connections send their request at once. Returns how many were admitted. */
static int all_at_once(const char *key)
{
	pthread_t threads[THREADS];
	int admitted = 0;

	for (int i = 0; i < ALL; i++) {
		const char *text = chat(key);

		conns[i] = open_conn("198.51.100.90", "192.0.2.1");
		lens[i] = conn_frame(&conns[i], true, TCP_PSH | TCP_ACK, conns[i].next,
				     conns[i].sent, text, strlen(text), frames[i]);
	}
	pthread_barrier_init(&start, NULL, THREADS);
	for (size_t t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, run_all, (void *)t), 0);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int i = 0; i < ALL; i++) {
		assert_true(codes[i] == OUT_PASS || codes[i] == OUT_REDIRECT);
		admitted += codes[i] == OUT_PASS;
	}
	return admitted;
}

/* All connections are gone, by the client's reset or the server's FIN and the sweep. */
static void all_gone(void)
{
	uint8_t frame[64] = {};

	for (int i = 0; i < ALL; i++) {
		if (codes[i] == OUT_REDIRECT)
			from_client(&conns[i], TCP_RST, conns[i].next, conns[i].sent, NULL, 0);
		else
			from_server(&conns[i], TCP_SYN | TCP_ACK, conns[i].sent + 999, 0, NULL, 0);
	}
	lab.config->half_open_ns = 0;
	run(lab.skel->progs.weir_sweep, frame, sizeof(frame));
	assert_int_equal(counter(WEIR_FLOW_NEW), counter(WEIR_FLOW_GONE));
}

static struct weir_tenant *tenant_with(const char *key)
{
	uint32_t index;
	struct weir_tenant *t = new_tenant(&index);

	add_key(key, index, 0);
	return t;
}

static uint64_t busy(void)
{
	return counter(WEIR_DENY_BUSY) - lab.before[WEIR_DENY_BUSY];
}

static void concurrency_admits_exactly_its_limit_of_simultaneous_requests(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct weir_tenant *t = tenant_with("sk-race-conc");
		int admitted;

		lab_reset(NULL);
		t->flags |= WEIR_TENANT_LIMIT_INFLIGHT;
		t->max_inflight = 37;
		admitted = all_at_once("sk-race-conc");
		assert_int_equal(admitted, 37);
		assert_int_equal(t->inflight, 37);
		assert_int_equal(t->admitted, 37);
		assert_int_equal(t->refused, ALL - 37);
		assert_int_equal(t->connections, ALL);
		all_gone();
		assert_int_equal(t->inflight, 0);
		assert_int_equal(t->connections, 0);
	}
}

static void credit_is_never_spent_twice(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct weir_tenant *t = tenant_with("sk-race-credit");
		int admitted;

		lab_reset(NULL);
		t->flags |= WEIR_TENANT_CREDIT;
		t->reserve_nano_per_request = 10;
		t->ceiling_nano = 505;
		admitted = all_at_once("sk-race-credit");
		/* Fifty fit; one that lost every race may have found room taken that was
		 * given back. */
		assert_true(admitted <= 50);
		assert_true(admitted == 50 || busy());
		assert_int_equal(t->reserved_nano, admitted * 10);
		assert_int_equal(t->inflight, admitted);
		all_gone();
		assert_int_equal(t->inflight, 0);
	}
}

static void what_is_lost_to_a_race_is_rolled_back_in_full(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct weir_tenant *t = tenant_with("sk-race-all");
		uint64_t tat = now_ns() + 3600 * SECOND;
		int admitted;

		lab_reset(NULL);
		t->flags |= WEIR_TENANT_CREDIT | WEIR_TENANT_LIMIT_INFLIGHT |
			    WEIR_TENANT_LIMIT_REQUESTS | WEIR_TENANT_LIMIT_CONNS |
			    WEIR_TENANT_LIMIT_CONN_RATE;
		t->max_inflight = 60;
		t->max_connections = ALL;
		t->request_interval_ns = SECOND;
		t->request_burst = 1000000;
		t->request_tat_ns = tat;
		t->connect_interval_ns = SECOND;
		t->connect_burst = 1000000;
		t->connect_tat_ns = tat;
		t->reserve_nano_per_request = 10;
		t->ceiling_nano = 505;
		admitted = all_at_once("sk-race-all");
		assert_true(admitted <= 50);
		assert_int_equal(t->inflight, admitted);
		assert_int_equal(t->reserved_nano, admitted * 10);
		/* Whole tokens: as many as were admitted, no more and no fewer. */
		assert_int_equal(t->request_tat_ns, tat + admitted * SECOND);
		assert_int_equal(t->connect_tat_ns, tat + admitted * SECOND);
		all_gone();
		assert_int_equal(t->inflight, 0);
		assert_int_equal(t->connections, 0);
	}
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup(f, lab_reset)
	const struct CMUnitTest tests[] = {
		CLAIM(concurrency_admits_exactly_its_limit_of_simultaneous_requests),
		CLAIM(credit_is_never_spent_twice),
		CLAIM(what_is_lost_to_a_race_is_rolled_back_in_full),
	};

	lab_open();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
