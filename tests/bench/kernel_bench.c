/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel programs cost, by BPF_PROG_TEST_RUN, beside a program that only
 * passes.
 *
 * A test run repeats one packet on one buffer. That is right for a packet the
 * program neither changes nor remembers: "hot" rows repeat it 200,000 times and
 * take the mean. Whatever moves a flow's state on (a request, a response segment,
 * a SYN that is let in) would be a retransmission the second time; "each" rows
 * run every packet once, with the next one's sequence number or address, and take
 * the median of the single runs. The clock is then read around one run, which the
 * passing program's row, measured alike, contains too; the difference is what is
 * told. Where a figure is the sum over the segments of one request, the difference is
 * to as many runs of the passing program. Between two such runs lies a system call, so caches are
 * warm but not hot: "each" figures are higher than a busy interface's.
 *
 * Rounds of all rows are interleaved; the figure is the median over rounds.
 *
 *   kernel_bench [TENANTS [ROW]]
 *
 * TENANTS: as many tenants and flows, a million if not given. ROW: only rows with this
 * text in their names, for a profiler to look at.
 */
#define LAB_BENCH
#define LAB_TENANTS (1 << 20)
#define LAB_FLOWS   ((1 << 20) + (1 << 18))
#define LAB_RING    (64 << 20)
#include "tests/bpf/lab.h"

#include <linux/bpf.h>
#include <sys/resource.h>

enum { ROUNDS = 9, HOT = 200000, EACH = 1500 };

static struct {
	int tc, xdp; /* programs that only pass */
	uint32_t tenants;
	const char *wanted;
	uint64_t random;
	uint8_t body[1400];
} bench;

static int nop(enum bpf_prog_type type, int verdict)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = verdict },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(type, "nop", "GPL", code, 2, NULL);

	if (fd < 0)
		die("the passing program");
	return fd;
}

static double mean_ns(int prog, const uint8_t *frame, size_t len, uint32_t repeat, int *code)
{
	static uint8_t out[FRAME_MAX * 2];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = repeat);

	if (bpf_prog_test_run_opts(prog, &opts))
		die("test run");
	if (code)
		*code = (int)opts.retval;
	return opts.duration;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

static uint64_t any(void)
{
	bench.random ^= bench.random << 13;
	bench.random ^= bench.random >> 7;
	return bench.random ^= bench.random << 17;
}

/* -- a node with many tenants: number i is the source 10.x.y.z */

static struct conn client_of(uint32_t i, uint16_t port)
{
	struct conn c = { .server = "192.0.2.1", .client_port = port, .server_port = PORT };

	snprintf(c.client, sizeof(c.client), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
	c.next = 1000;
	c.sent = 5000;
	c.has_ts = true;
	return c;
}

static size_t syn_of(uint32_t i, uint16_t port, uint8_t *frame)
{
	struct conn c = client_of(i, port);

	return conn_frame(&c, true, TCP_SYN, c.next, 0, NULL, 0, frame);
}

/* Tenants from..to with a source each, and a connection of each. */
static void populate(uint32_t from, uint32_t to)
{
	int fd = bpf_map__fd(lab.skel->maps.sources);
	int xdp = bpf_program__fd(lab.skel->progs.weir_xdp), code;
	uint8_t frame[FRAME_MAX];

	for (uint32_t i = from; i < to; i++) {
		struct weir_tenant *t = &lab.tenants[i];
		struct weir_source s = { .prefix_len = 128 };
		bool v6;
		char text[20];

		snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
		address(text, s.addr, &v6);
		if (bpf_map_update_elem(fd, &s, &i, BPF_ANY))
			die("a source");
		*t = (struct weir_tenant){
			.flags = WEIR_TENANT_LIVE | WEIR_TENANT_LIMIT_CONNS |
				 WEIR_TENANT_LIMIT_CONN_RATE,
			.wallet = i,
			.max_connections = 1000000,
			.connect_interval_ns = 1,
			.connect_burst = SECOND,
		};
		mean_ns(xdp, frame, syn_of(i, 30000, frame), 1, &code);
		if (code != X_PASS)
			die("a SYN of a new tenant was refused");
	}
}

/* -- rows */

static double nop_tc_hot(void)
{
	uint8_t frame[FRAME_MAX];

	return mean_ns(bench.tc, frame, syn_of(7, 1, frame), HOT, NULL);
}

static double nop_xdp_hot(void)
{
	uint8_t frame[FRAME_MAX];

	return mean_ns(bench.xdp, frame, syn_of(7, 1, frame), HOT, NULL);
}

static double each(int prog)
{
	static double v[EACH];
	uint8_t frame[FRAME_MAX];
	size_t n = syn_of(7, 1, frame);

	for (int i = 0; i < EACH; i++)
		v[i] = mean_ns(prog, frame, n, 1, NULL);
	return median(v, EACH);
}

static double nop_tc_each(void)
{
	return each(bench.tc);
}

static double nop_xdp_each(void)
{
	return each(bench.xdp);
}

static double other_port(struct bpf_program *prog, bool from_client)
{
	struct conn c = client_of(7, 999);
	uint8_t frame[FRAME_MAX];
	size_t n;

	c.server_port = 443;
	n = conn_frame(&c, from_client, TCP_ACK, 1, 1, bench.body, 100, frame);
	return mean_ns(bpf_program__fd(prog), frame, n, HOT, NULL);
}

static double other_port_in(void)
{
	return other_port(lab.skel->progs.weir_ingress, true);
}

static double other_port_out(void)
{
	return other_port(lab.skel->progs.weir_egress, false);
}

static double other_port_xdp(void)
{
	return other_port(lab.skel->progs.weir_xdp, true);
}

/* Refused for a full gauge, dropped: source, tenant and counts are looked at, the
 * frame stays as it is. */
static double syn_refused_hot(void)
{
	struct weir_tenant *t = &lab.tenants[7];
	uint8_t frame[FRAME_MAX];
	uint32_t flags = t->flags;
	double ns;
	int code;

	t->max_connections = 0;
	t->flags |= WEIR_TENANT_DROP;
	ns = mean_ns(bpf_program__fd(lab.skel->progs.weir_xdp), frame, syn_of(7, 2, frame), HOT,
		     &code);
	t->max_connections = 1000000;
	t->flags = flags;
	if (code != X_DROP)
		die("a SYN over its limit was not dropped");
	return ns;
}

/* Sent again: the flow is found. */
static double syn_again_hot(void)
{
	uint8_t frame[FRAME_MAX];

	return mean_ns(bpf_program__fd(lab.skel->progs.weir_xdp), frame, syn_of(7, 30000, frame),
		       HOT, NULL);
}

static void forget_half_open(uint32_t i, uint16_t port)
{
	struct weir_flow_key key = { .client_port_be = htons(port), .server_port_be = htons(PORT) };
	struct conn c = client_of(i, port);
	union {
		struct weir_flow_view view;
		uint8_t value[256]; /* the kernel's own goes on behind it */
	} flow;
	bool v6;

	address(c.client, key.client, &v6);
	address(c.server, key.server, &v6);
	if (bpf_map_lookup_elem(bpf_map__fd(lab.skel->maps.flows), &key, &flow))
		die("the flow of an admitted SYN");
	bpf_map_update_elem(bpf_map__fd(lab.skel->maps.free_slots), NULL, &flow.view.slot, BPF_ANY);
	bpf_map_delete_elem(bpf_map__fd(lab.skel->maps.flows), &key);
	__sync_fetch_and_add(&lab.tenants[i].connections, -1);
	__sync_fetch_and_add(&lab.tenants[i].half_open, -1);
}

/* Let in: a flow is made. Every one of another tenant, at random. */
static double syn_admitted_each(void)
{
	static double v[EACH];
	uint8_t frame[FRAME_MAX];

	for (int k = 0; k < EACH; k++) {
		uint32_t i = 1 + any() % (bench.tenants - 1);

		v[k] = mean_ns(bpf_program__fd(lab.skel->progs.weir_xdp), frame,
			       syn_of(i, 40000, frame), 1, NULL);
		forget_half_open(i, 40000);
	}
	return median(v, EACH);
}

/* Sent again, every one of another tenant at random. */
static double syn_again_each(void)
{
	static double v[EACH];
	uint8_t frame[FRAME_MAX];

	for (int k = 0; k < EACH; k++) {
		uint32_t i = 1 + any() % (bench.tenants - 1);

		v[k] = mean_ns(bpf_program__fd(lab.skel->progs.weir_xdp), frame,
			       syn_of(i, 30000, frame), 1, NULL);
	}
	return median(v, EACH);
}

static void let_all_have(uint32_t connections)
{
	for (uint32_t i = 1; i < bench.tenants; i++) {
		lab.tenants[i].max_connections = connections;
		lab.tenants[i].flags |= WEIR_TENANT_DROP;
	}
}

/* Refused and dropped, every one of another tenant at random. All of them are
 * changed before, so that none is warm for having been changed. */
static double syn_refused_each(void)
{
	static double v[EACH];
	uint8_t frame[FRAME_MAX];

	let_all_have(0);
	for (int k = 0; k < EACH; k++) {
		uint32_t i = 1 + any() % (bench.tenants - 1);
		int code;

		v[k] = mean_ns(bpf_program__fd(lab.skel->progs.weir_xdp), frame,
			       syn_of(i, 40000, frame), 1, &code);
		if (code != X_DROP)
			die("a SYN over its limit was not dropped");
	}
	let_all_have(1000000);
	return median(v, EACH);
}

static void drain(void)
{
	ring_buffer__consume(lab.ring);
	lab.n_records = 0;
}

#include "tests/bench/request_rows.h"

enum base { NOTHING, TC_HOT, XDP_HOT, TC_EACH, XDP_EACH };

static const struct row {
	const char *what;
	double (*measure)(void);
	enum base over; /* index of the row it is told over, plus one */
	int bar;
	int packets; /* that the figure is the sum of */
} rows[] = {
	{ "a TC program that only passes, hot", nop_tc_hot, NOTHING, 0, 1 },
	{ "an XDP program that only passes, hot", nop_xdp_hot, NOTHING, 0, 1 },
	{ "a TC program that only passes, each", nop_tc_each, NOTHING, 0, 1 },
	{ "an XDP program that only passes, each", nop_xdp_each, NOTHING, 0, 1 },
	{ "unguarded port, TC ingress, hot", other_port_in, TC_HOT, 0, 1 },
	{ "unguarded port, TC egress, hot", other_port_out, TC_HOT, 0, 1 },
	{ "unguarded port, XDP, hot", other_port_xdp, XDP_HOT, 0, 1 },
	{ "SYN refused, hot", syn_refused_hot, XDP_HOT, 500, 1 },
	{ "SYN sent again, hot", syn_again_hot, XDP_HOT, 500, 1 },
	{ "SYN sent again, random tenants, each", syn_again_each, XDP_EACH, 2000, 1 },
	{ "SYN refused, random tenants, each", syn_refused_each, XDP_EACH, 2000, 1 },
	{ "SYN let in, random tenants, each", syn_admitted_each, XDP_EACH, 2000, 1 },
	{ "request by source, 371 B head, each", request_by_source, TC_EACH, 0, 1 },
	{ "request with key, 433 B head, each", request_433, TC_EACH, 1200, 1 },
	{ "request with key, 433 B in 3 segments, each", request_433_in_3, TC_EACH, 0, 3 },
	{ "request with key, 433 B in 8 segments, each", request_433_in_8, TC_EACH, 0, 8 },
	{ "request with key, 3.4 KiB head, each", request_3k4, TC_EACH, 3000, 1 },
	{ "request with key, 4 KiB in 3 segments, each", request_4k_in_3, TC_EACH, 3000, 3 },
	{ "request with key, 4 KiB in 8 segments, each", request_4k_in_8, TC_EACH, 3000, 8 },
	{ "request with key, 16 KB in 5 segments, each", request_16k_in_5, TC_EACH, 0, 5 },
	{ "request with key, 16 KB in 12 segments, each", request_16k_in_12, TC_EACH, 0, 12 },
	{ "request refused, 433 B head, each", refused_433, TC_EACH, 0, 1 },
	{ "request refused, 4 KiB in 3 segments, each", refused_4k_in_3, TC_EACH, 0, 3 },
	{ "chunked body, 1400 B of a large chunk, each", chunk_data, TC_EACH, 0, 1 },
	{ "chunked body, a chunk of 1400 B, each", chunk_whole, TC_EACH, 0, 1 },
	{ "body under rules, 1400 B of text, each", rules_text, TC_EACH, 0, 1 },
	{ "body under rules, 1400 B of messages, each", rules_messages, TC_EACH, 0, 1 },
	{ "body under rules, whole, left alone, each", rules_whole, TC_EACH, 0, 1 },
	{ "body under rules, whole, rewritten, each", rules_rewritten, TC_EACH, 0, 1 },
	{ "answer's head, each", answer_in_1, TC_EACH, 0, 1 },
	{ "answer's head in 2 segments, each", answer_in_2, TC_EACH, 0, 2 },
	{ "tapped segment, 250 B, each", segment_250, TC_EACH, 180, 1 },
	{ "tapped segment, 1400 B, each", segment_1400, TC_EACH, 318, 1 },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]), SYN_FIRST = 7, SYN_LAST = 11 };

static bool to_measure(int r, int first, int last)
{
	if (r < 4)
		return true; /* what the others are told over */
	return r >= first && r <= last && strstr(rows[r].what, bench.wanted);
}

/* Rows first..last and the passing ones, interleaved. */
static void measure(int first, int last, const char *note)
{
	static double v[ROWS][ROUNDS];

	for (int round = 0; round < ROUNDS; round++)
		for (int r = 0; r < ROWS; r++)
			if (to_measure(r, first, last))
				v[r][round] = rows[r].measure();
	for (int r = 0; r < ROWS; r++) {
		double ns, base;

		if (!to_measure(r, first, last))
			continue;
		ns = median(v[r], ROUNDS);
		base = rows[r].over ? median(v[rows[r].over - 1], ROUNDS) : 0;
		base *= rows[r].packets;
		if (r < first)
			continue;
		printf("%-46s %8.0f", rows[r].what, ns);
		if (rows[r].over)
			printf(" %8.0f", ns - base);
		if (rows[r].bar)
			printf(" %8d", rows[r].bar);
		printf("%s%s\n", *note ? "   " : "", note);
	}
	if (!first && !*bench.wanted)
		printf("%-46s %8s %8.0f %8d\n", "unguarded port, both hooks of TC", "",
		       median(v[4], ROUNDS) + median(v[5], ROUNDS) - 2 * median(v[0], ROUNDS), 40);
}

int main(int argc, char **argv)
{
	static const uint32_t counts[] = { 1000, 65536, 1000000 };
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	uint32_t have = 1, most = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;

	setrlimit(RLIMIT_MEMLOCK, &all);
	if (most < 1000 || most >= LAB_TENANTS) {
		fprintf(stderr, "usage: kernel_bench [TENANTS, 1000 to %d [ROW]]\n",
			LAB_TENANTS - 1);
		return 2;
	}
	bench.wanted = argc > 2 ? argv[2] : "";
	lab_open();
	lab_reset(NULL);
	lab.config->prefix_lens[0] = 128;
	lab.config->n_prefix_lens = 1;
	lab.config->half_open_ns = ~0ULL;
	bench.tc = nop(BPF_PROG_TYPE_SCHED_CLS, -1);
	bench.xdp = nop(BPF_PROG_TYPE_XDP, X_PASS);
	bench.random = 88172645463325252ULL;
	memset(bench.body, 'x', sizeof(bench.body));

	printf("\n%-46s %8s %8s %8s\n", "median of 9 interleaved rounds, ns", "run", "over", "bar");
	for (size_t i = 0; i < 3 && counts[i] <= most; i++) {
		char note[64];

		bench.tenants = counts[i];
		populate(have, counts[i]);
		have = counts[i];
		if (!i)
			measure(0, 6, "");
		snprintf(note, sizeof(note), "%u tenants and flows", counts[i]);
		measure(SYN_FIRST, SYN_LAST, note);
	}
	request_rows_begin();
	measure(SYN_LAST + 1, ROWS - 1, "");
	return 0;
}
