/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel programs cost, by BPF_PROG_TEST_RUN, beside a program that only
 * passes.
 *
 * A test run repeats one packet on one buffer. That is right for a packet the
 * program neither changes nor remembers: "hot" rows repeat it 200,000 times and
 * take the mean. Whatever moves a flow's state on (a request, a response segment,
 * a SYN that is let in) would be a retransmission the second time; all other
 * rows run every packet once, of another tenant and flow, and take the median of
 * 1,500 single runs. The clock is then read around one run, which the
 * passing program's row, measured alike, contains too; the difference is what is
 * told. Where a figure is the sum over the segments of one request, the difference is
 * to as many runs of the passing program. Between two such runs lies a system call, so caches
 * are warm but not hot: these figures are higher than a busy interface's.
 *
 * Rounds of all rows are interleaved; the figure is the median over rounds.
 *
 *   kernel_bench [ROUNDS [TENANTS [ROW]]]
 *
 * TENANTS: at most as many tenants and flows, a million if not given. ROW: only rows with this
 * text in their names, for a profiler to look at.
 */
#include "tests/bench/sized_rows.h"

#include "tests/bench/request_rows.h"

#include "tests/bench/told_rows.h"

/* Requests and answers with as many tenants as there are. */
static const struct row {
	const char *what;
	double (*measure)(void);
	int bar;
	int packets; /* that the figure is the sum of */
} rows[] = {
	{ "request by source, 371 B head", request_by_source, 0, 1 },
	{ "request with key, 433 B in 3 segments", request_433_in_3, 0, 3 },
	{ "request with key, 433 B in 8 segments", request_433_in_8, 0, 8 },
	{ "request with key, 3.4 KiB head", request_3k4, 3000, 1 },
	{ "request with key, 4 KiB in 8 segments", request_4k_in_8, 3000, 8 },
	{ "request with key, 16 KB in 5 segments", request_16k_in_5, 0, 5 },
	{ "request with key, 16 KB in 12 segments", request_16k_in_12, 0, 12 },
	{ "request refused, 433 B head", refused_433, 0, 1 },
	{ "request refused, 4 KiB in 3 segments", refused_4k_in_3, 0, 3 },
	{ "chunked body, 1400 B of a large chunk", chunk_data, 0, 1 },
	{ "chunked body, a chunk of 1400 B", chunk_whole, 0, 1 },
	{ "body under rules, 1400 B of text", rules_text, 0, 1 },
	{ "body under rules, 1400 B of messages", rules_messages, 0, 1 },
	{ "body under rules, whole, left alone", rules_whole, 0, 1 },
	{ "body under rules, whole, rewritten", rules_rewritten, 0, 1 },
	{ "answer's head", answer_in_1, 0, 1 },
	{ "answer's head in 2 segments", answer_in_2, 0, 2 },
	{ "SDK's head, nothing told", sdk_none, 0, 1 },
	{ "SDK's head, wanted lines, none there", sdk_zero, 0, 1 },
	{ "SDK's head, one line told", sdk_one, 0, 1 },
	{ "SDK's head, four lines told", sdk_four, 0, 1 },
	{ "SDK's head and 1 KiB of body, not told", body_untold, 0, 1 },
	{ "SDK's head and 1 KiB of body, told", body_told, 0, 1 },
	{ "vectors, 2 MB in 1,450 segments, all told", vectors_all, 0, VECTORS_PACKETS },
	{ "vectors, 2 MB in 1,450 segments, skipped", vectors_skipped, 0, VECTORS_PACKETS },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const uint32_t sizes[] = { 1, 1000, 100000, 1000000 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static bool wanted(const char *what)
{
	return strstr(what, bench.wanted);
}

static double over(double ns, double base, int packets)
{
	return ns - base * packets;
}

/* -- packets of other ports */

static double other_port(struct bpf_program *prog, bool from_client)
{
	struct conn c = client_of(1, 999);
	uint8_t frame[FRAME_MAX];
	size_t n;

	c.server_port = 443;
	n = conn_frame(&c, from_client, TCP_ACK, 1, 1, bench.body, 100, frame);
	return mean_ns(bpf_program__fd(prog), frame, n, HOT, NULL);
}

static void measure_other_ports(void)
{
	static double tc[ROUNDS_MAX], xdp[ROUNDS_MAX], in[ROUNDS_MAX], out[ROUNDS_MAX],
		gate[ROUNDS_MAX];
	double both;

	for (int n = 0; n < bench.rounds; n++) {
		tc[n] = nop_tc_hot(&here);
		xdp[n] = nop_xdp_hot(&here);
		in[n] = other_port(lab.skel->progs.weir_ingress, true);
		out[n] = other_port(lab.skel->progs.weir_egress, false);
		gate[n] = other_port(lab.skel->progs.weir_xdp, true);
	}
	both = over(median(in, bench.rounds) + median(out, bench.rounds), median(tc, bench.rounds),
		    2);
	printf("%-46s %8.0f %41d\n", "unguarded port, both hooks of TC, hot", both, 40);
	printf("%-46s %8.0f\n", "unguarded port, XDP, hot",
	       over(median(gate, bench.rounds), median(xdp, bench.rounds), 1));
}

/* -- rows by size: on one CPU, beside another */

static double sized[2][SIZED_ROWS][SIZES][ROUNDS_MAX];

static bool to_measure(int r)
{
	return r < SIZED_BASES || wanted(sized_rows[r].what);
}

static int measure_sizes(uint32_t most)
{
	int n = 0;

	for (; n < SIZES && sizes[n] <= most; n++) {
		node_grow(sizes[n]);
		for (int round = 0; round < bench.rounds; round++)
			for (int r = 0; r < SIZED_ROWS; r++)
				for (int k = 0; to_measure(r) && k < 2; k++) {
					int pair = (k + round) % 2;

					sized[pair][r][n][round] = sized_ns(&sized_rows[r], pair);
				}
	}
	return n;
}

static void print_sized(int r, int pair, int n)
{
	const struct sized_row *row = &sized_rows[r];

	printf("%-46s", pair ? "  beside another CPU" : row->what);
	for (int i = 0; i < n; i++) {
		double ns = median(sized[pair][r][i], bench.rounds);

		if (row->over >= 0)
			ns = over(ns, median(sized[pair][row->over][i], bench.rounds),
				  row->packets);
		printf(" %8.0f", ns);
	}
	if (row->bar && !pair)
		printf(" %*d", 9 * (SIZES - n) + 5, row->bar);
	printf("\n");
}

static void print_sizes(int n)
{
	printf("\n%-46s", "ns over a program that only passes; tenants:");
	for (int i = 0; i < n; i++)
		printf(" %8u", sizes[i]);
	printf(" %*s\n", 9 * (SIZES - n) + 5, "bar");
	for (int r = 0; r < SIZED_ROWS; r++)
		for (int pair = 0; to_measure(r) && pair < 2; pair++)
			print_sized(r, pair, n);
}

/* -- the others */

static void measure_rows(void)
{
	static double v[ROWS][ROUNDS_MAX], base[ROUNDS_MAX];

	request_rows_begin();
	told_rows_begin();
	for (int round = 0; round < bench.rounds; round++) {
		base[round] = sized_ns(&sized_rows[TC_EACH], false);
		for (int r = 0; r < ROWS; r++)
			if (wanted(rows[r].what))
				v[r][round] = rows[r].measure();
	}
	printf("\n%-46s %8s\n", "the same, with as many tenants as the last", "ns");
	for (int r = 0; r < ROWS; r++) {
		if (!wanted(rows[r].what))
			continue;
		printf("%-46s %8.0f", rows[r].what,
		       over(median(v[r], bench.rounds), median(base, bench.rounds),
			    rows[r].packets));
		if (rows[r].bar)
			printf(" %8d", rows[r].bar);
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	uint32_t most = argc > 2 ? strtoul(argv[2], NULL, 10) : PLENTY;

	setrlimit(RLIMIT_MEMLOCK, &all);
	bench.rounds = argc > 1 ? atoi(argv[1]) : 9;
	bench.wanted = argc > 3 ? argv[3] : "";
	if (most < 1000 || most > PLENTY || bench.rounds < 1 || bench.rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: kernel_bench [ROUNDS [TENANTS, 1000 to %d [ROW]]]\n",
			PLENTY);
		return 2;
	}
	lab_open();
	lab_reset(NULL);
	lab.config->prefix_lens[0] = 128;
	lab.config->n_prefix_lens = 1;
	lab.config->half_open_ns = 5 * SECOND; /* as the agent has it */
	close(lab.wire);		       /* nobody reads what is sent to the servers */
	bench.tc = nop(BPF_PROG_TYPE_SCHED_CLS, -1);
	bench.xdp = nop(BPF_PROG_TYPE_XDP, X_PASS);
	memset(bench.body, 'x', sizeof(bench.body));
	node_begin();
	sized_rows_begin();
	printf("\nmedians of %d interleaved rounds\n", bench.rounds);
	if (wanted("unguarded port"))
		measure_other_ports();
	fflush(stdout);
	print_sizes(measure_sizes(most));
	fflush(stdout);
	measure_rows();
	return 0;
}
