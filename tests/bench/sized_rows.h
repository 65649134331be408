/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of kernel_bench.c that are measured with ever more tenants and flows, on one CPU and
 * beside another one that does the same to the same tenants' other connections.
 *
 * A row is one operation; whose it is, is drawn anew each time. The other CPU does it in a
 * thread of its own for as long as the row is measured.
 */
#ifndef BENCH_SIZED_ROWS_H
#define BENCH_SIZED_ROWS_H

#include <pthread.h>

#include "node.h"

/* Who runs an operation: the CPU that is measured, or the other one. */
struct side {
	bool other;
	uint64_t random;
	uint32_t hot;  /* runs of one packet in a hot row */
	uint64_t done; /* operations */
	volatile bool stop;
	double (*one)(struct side *s);
	char head[512], head_4k[4200];
};

static struct side here = { .random = 88172645463325252ULL, .hot = HOT };
static struct side there = { .other = true, .random = 362436069362436069ULL, .hot = 1000 };

static uint32_t draw(struct side *s, enum kind kind)
{
	return 1 + any(&s->random) % how_many(kind);
}

/* -- operations: ns of one, over nothing yet */

/* What a line that both CPUs write costs on this machine: some share their caches. */
static double shared_add(struct side *s)
{
	static uint64_t shared __attribute__((aligned(WEIR_CACHE_LINE)));
	uint64_t began = now_ns();

	for (uint32_t i = 0; i < s->hot; i++)
		__sync_fetch_and_add(&shared, 1);
	return (double)(now_ns() - began) / s->hot;
}

static double nop_tc_hot(struct side *s)
{
	uint8_t frame[FRAME_MAX];

	return mean_ns(bench.tc, frame, syn_of(1, 1, frame), s->hot, NULL);
}

static double nop_xdp_hot(struct side *s)
{
	uint8_t frame[FRAME_MAX];

	return mean_ns(bench.xdp, frame, syn_of(1, 1, frame), s->hot, NULL);
}

static double nop_tc_each(struct side *s)
{
	uint8_t frame[FRAME_MAX];

	return mean_ns(bench.tc, frame, syn_of(draw(s, ASKS), 1, frame), 1, NULL);
}

static double nop_xdp_each(struct side *s)
{
	uint8_t frame[FRAME_MAX];

	return mean_ns(bench.xdp, frame, syn_of(draw(s, ASKS), 1, frame), 1, NULL);
}

/* Refused for a full gauge, dropped: source, tenant and counts are looked at, the frame stays
 * as it is. */
static double syn_refused(struct side *s, uint32_t i, uint32_t repeat)
{
	uint8_t frame[FRAME_MAX];
	double ns;
	int code;

	ns = mean_ns(bpf_program__fd(lab.skel->progs.weir_xdp), frame,
		     syn_of(i, 40000 + s->other, frame), repeat, &code);
	if (code != X_DROP)
		die("a SYN over its limit was not dropped");
	return ns;
}

static double syn_refused_hot(struct side *s)
{
	return syn_refused(s, 1, s->hot);
}

static double syn_refused_each(struct side *s)
{
	return syn_refused(s, draw(s, ASKS), 1);
}

/* As if it had never come: the next one is new again. */
static void forget_half_open(uint32_t i, uint16_t port)
{
	struct conn c = client_of(i, port);
	struct weir_flow_key key = flow_key(&c);
	struct weir_flow_view flow;

	if (!flow_of(&c, &flow))
		die("the flow of an admitted SYN");
	bpf_map_update_elem(bpf_map__fd(lab.skel->maps.free_slots), NULL, &flow.slot, BPF_ANY);
	bpf_map_delete_elem(bpf_map__fd(lab.skel->maps.flows), &key);
	__sync_fetch_and_add(&lab.tenants[i].connections, -1);
	__sync_fetch_and_add(&lab.tenants[i].half_open, -1);
}

/* Let in: a flow is made. */
static double syn_let_in(struct side *s)
{
	uint32_t i = draw(s, ASKS);
	uint16_t port = 40000 + s->other;
	uint8_t frame[FRAME_MAX];
	double ns;

	ns = mean_ns(bpf_program__fd(lab.skel->progs.weir_xdp), frame, syn_of(i, port, frame), 1,
		     NULL);
	forget_half_open(i, port);
	return ns;
}

/* A request; its answer and the client's ACK of that are not measured. */
static double ask(struct side *s, char *head, size_t cuts)
{
	enum kind kind = s->other ? OTHER_ASKS : ASKS;
	uint32_t i = draw(s, kind);
	struct conn c = conn_at(kind, i);
	char digits[KEY_DIGITS + 1];
	double ns;

	snprintf(digits, sizeof(digits), "%08x", i);
	memcpy(strstr(head, "sk-weir-") + KEY_DIGITS_AT, digits, KEY_DIGITS);
	ns = cut_ns(&c, head, cuts, NULL);
	server_ns(&c, no_content, sizeof(no_content) - 1);
	from_client(&c, TCP_ACK, c.next, c.sent, NULL, 0);
	conn_moved(kind, i, &c);
	return ns;
}

static double request_433(struct side *s)
{
	return ask(s, s->head, 1);
}

static double request_4k_in_3(struct side *s)
{
	return ask(s, s->head_4k, 3);
}

static double segment(struct side *s, size_t len)
{
	enum kind kind = s->other ? OTHER_STREAMS : STREAMS;
	uint32_t i = draw(s, kind);
	struct conn c = conn_at(kind, i);
	double ns = server_ns(&c, bench.body, len);

	conn_moved(kind, i, &c);
	return ns;
}

static double tapped_250(struct side *s)
{
	return segment(s, 250);
}

static double tapped_1400(struct side *s)
{
	return segment(s, 1400);
}

/* -- what rows need before and after */

static void refuse_all(bool on)
{
	node_connections(on ? 0 : 1000000);
}

/* -- rows */

enum { XDP_HOT, XDP_EACH, TC_HOT, TC_EACH, SIZED_BASES };

static const struct sized_row {
	const char *what;
	double (*one)(struct side *s);
	int over; /* index of the row it is told over, or -1 */
	int packets;
	int bar;
	enum weir_reason counts; /* one of them for each operation; 0: not asked */
	void (*set)(bool on);
} sized_rows[] = {
	{ "an XDP program that only passes, hot", nop_xdp_hot, -1, 1, 0, 0, NULL },
	{ "an XDP program that only passes", nop_xdp_each, -1, 1, 0, 0, NULL },
	{ "a TC program that only passes, hot", nop_tc_hot, -1, 1, 0, 0, NULL },
	{ "a TC program that only passes", nop_tc_each, -1, 1, 0, 0, NULL },
	{ "an atomic add to one word", shared_add, -1, 1, 0, 0, NULL },
	{ "SYN refused, one tenant, hot", syn_refused_hot, XDP_HOT, 1, 500, 0, refuse_all },
	{ "SYN refused", syn_refused_each, XDP_EACH, 1, 2000, WEIR_DENY_CONNECTIONS, refuse_all },
	{ "SYN let in", syn_let_in, XDP_EACH, 1, 2000, WEIR_ADMIT_CONNECTION, NULL },
	{ "request with key, 433 B head", request_433, TC_EACH, 1, 1200, WEIR_ADMIT_REQUEST, NULL },
	{ "  of tenants with scope, parent, its parent", request_433, TC_EACH, 1, 0,
	  WEIR_ADMIT_REQUEST, node_levels },
	{ "request with key, 4 KiB in 3 segments", request_4k_in_3, TC_EACH, 3, 3000,
	  WEIR_ADMIT_REQUEST, NULL },
	{ "tapped segment, 250 B", tapped_250, TC_EACH, 1, 180, WEIR_TAP_SHIPPED, NULL },
	{ "tapped segment, 1400 B", tapped_1400, TC_EACH, 1, 318, WEIR_TAP_SHIPPED, NULL },
};
enum { SIZED_ROWS = sizeof(sized_rows) / sizeof(sized_rows[0]) };

/* -- measuring them */

static void *run_there(void *arg)
{
	struct side *s = arg;
	cpu_set_t rest = lab.all_cpus;

	CPU_CLR(sched_getcpu(), &rest); /* where the one that is measured is: it is inherited */
	if (sched_setaffinity(0, sizeof(rest), &rest))
		die("the other CPU");
	while (!s->stop) {
		s->one(s);
		__atomic_store_n(&s->done, s->done + 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static bool is_hot(const struct sized_row *r)
{
	return r->one == nop_xdp_hot || r->one == nop_tc_hot || r->one == syn_refused_hot ||
	       r->one == shared_add;
}

/* Of tenant 1, once there is a row with levels. */
static void levels_were_charged(void)
{
	lab_must(lab.tenants[FIRST_TEAM + 1].request_tat_ns);
	lab_must(lab.tenants[FIRST_ORGANISATION + 1].request_tat_ns);
	lab_must(lab.tenants[FIRST_SCOPE + 1].request_tat_ns);
}

static double sized_ns(const struct sized_row *r, bool pair)
{
	static double v[EACH];
	uint64_t before = r->counts ? counter(r->counts) : 0;
	int n = is_hot(r) ? 1 : EACH;
	pthread_t thread;

	if (r->set)
		r->set(true);
	there.done = 0;
	there.stop = false;
	there.one = r->one;
	if (pair) {
		if (pthread_create(&thread, NULL, run_there, &there))
			die("a thread");
		while (__atomic_load_n(&there.done, __ATOMIC_RELAXED) < 20)
			;
	}
	for (int k = 0; k < n; k++)
		v[k] = r->one(&here);
	there.stop = true;
	if (pair)
		pthread_join(thread, NULL);
	drain();
	if (r->set)
		r->set(false);
	before += n + there.done;
	if (r->set == node_levels)
		levels_were_charged();
	if (r->counts && counter(r->counts) != before) {
		fprintf(stderr, "kernel_bench: %s, %u tenants%s: %lld %s too many\n", r->what,
			node.tenants, pair ? ", another CPU" : "",
			(long long)(counter(r->counts) - before), weir_reason_name(r->counts));
		exit(1);
	}
	return median(v, n);
}

static void sized_rows_begin(void)
{
	char key[KEY_LEN + 1];

	key_of(1, key);
	for (int i = 0; i < 2; i++) {
		struct side *s = i ? &there : &here;

		make_head(s->head, 433, key);
		make_head(s->head_4k, 4096, key);
	}
}

#endif
