/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rows of kernel_bench.c are measured with: single runs of a program and their median,
 * a passing program to tell them over, packets of clients by number.
 */
#ifndef BENCH_H
#define BENCH_H

#define LAB_BENCH
#define LAB_TENANTS (1 << 20)
#define LAB_FLOWS   ((1 << 20) + (1 << 18))
#define LAB_KEYS    (1 << 20)
#define LAB_RING    (64 << 20)
#include "tests/bpf/lab.h"

#include <linux/bpf.h>
#include <sys/resource.h>

enum { HOT = 200000, EACH = 1500, ROUNDS_MAX = 99 };

static struct {
	int tc, xdp; /* programs that only pass */
	int rounds;
	const char *wanted;
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
	uint8_t out[FRAME_MAX * 2];
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

static uint64_t any(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* Client number i is the source 10.x.y.z. */
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

/* A head of n bytes with a 51-byte key (or none) near its end, as SDKs send it. */
static void make_head(char *out, int n, const char *key)
{
	static const char form[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: llm:8000\r\n"
				   "User-Agent: OpenAI/Python 1.2\r\nAccept: application/json\r\n"
				   "X-Pad: %0*d\r\nContent-Type: application/json\r\n"
				   "%s%s%sContent-Length: 0\r\n\r\n";
	const char *name = key ? "Authorization: Bearer " : "", *end = key ? "\r\n" : "";
	int without = snprintf(NULL, 0, form, 1, 0, name, key ? key : "", end);

	sprintf(out, form, n - without + 1, 0, name, key ? key : "", end);
	lab_must(strlen(out) == (size_t)n);
}

/* One packet of a connection, after which its stream has moved on. */
static double client_ns(struct conn *c, const void *bytes, size_t len, int *code)
{
	uint8_t frame[FRAME_MAX * 2];
	size_t n = conn_frame(c, true, TCP_PSH | TCP_ACK, c->next, c->sent, bytes, len, frame);

	c->next += len;
	return mean_ns(bpf_program__fd(lab.skel->progs.weir_ingress), frame, n, 1, code);
}

static double server_ns(struct conn *c, const void *bytes, size_t len)
{
	uint8_t frame[FRAME_MAX * 2];
	size_t n = conn_frame(c, false, TCP_PSH | TCP_ACK, c->sent, c->next, bytes, len, frame);

	c->sent += len;
	return mean_ns(bpf_program__fd(lab.skel->progs.weir_egress), frame, n, 1, NULL);
}

/* Of text in `cuts` segments of about the same size; the verdict on the last one. */
static double cut_ns(struct conn *c, const char *text, size_t cuts, int *code)
{
	size_t len = strlen(text), from = 0, to;
	double sum = 0;

	for (size_t i = 1; i <= cuts; i++) {
		to = len * i / cuts;
		sum += client_ns(c, text + from, to - from, code);
		from = to;
	}
	return sum;
}

static const char no_content[] = "HTTP/1.1 204 No Content\r\n\r\n";

static void drain(void)
{
	ring_buffer__consume(lab.ring);
	lab.n_records = 0;
}

#endif
