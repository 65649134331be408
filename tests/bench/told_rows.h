/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of kernel_bench.c for what is told to user space besides answers: lines of an SDK's head, a
 * request's body; and what of vectors is not. Each beside the same with nothing of it asked for.
 */
#ifndef BENCH_TOLD_ROWS_H
#define BENCH_TOLD_ROWS_H

#include "agent/labels.h"

enum { VECTORS = 2 << 20, VECTORS_SEGMENT = 1448, VECTORS_RUNS = 15, TOLD_BODY = 1024 };
enum { VECTORS_PACKETS = (VECTORS + VECTORS_SEGMENT - 1) / VECTORS_SEGMENT + 1 };

/* As openai-python sends it; with a body of n bytes. */
static int sdk_head(char *out, size_t size, const char *path, const char *lines, int n)
{
	return snprintf(
		out, size,
		"POST %s HTTP/1.1\r\nHost: llm:8000\r\nAccept-Encoding: gzip, deflate, zstd\r\n"
		"Connection: keep-alive\r\nAccept: application/json\r\n"
		"Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.1\r\n"
		"X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 2.8.1\r\n"
		"X-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n"
		"X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.13.5\r\n"
		"Authorization: Bearer " BENCH_KEY "\r\nX-Stainless-Async: false\r\n%s"
		"x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n"
		"Content-Length: %d\r\n\r\n",
		path, lines, n);
}

/* The agent's own names, or none. */
static void tell_lines(bool on)
{
	struct weir_line_name names[WEIR_LINE_NAMES] = {};
	static struct weir_label_config labels;
	uint32_t n = 0;
	uint64_t bits = 0;

	weir_label_config_default(&labels);
	if (on)
		n = weir_label_lines(&labels, names, &bits);
	weir_lines_store(lab.config, names, n, bits);
}

static size_t told(uint8_t type)
{
	size_t n = 0;

	for (size_t i = 0; i < lab.n_records; i++)
		n += ((const struct weir_record *)lab.records[i].bytes)->type == type;
	return n;
}

/* What the last request told: so many records of that type, or the row is of something else. */
static void told_must_be(uint8_t type, size_t n)
{
	ring_buffer__consume(lab.ring);
	lab.n_records = 0;
	client_ns(&requests.request, requests.told, requests.told_len, NULL);
	ring_buffer__consume(lab.ring);
	if (told(type) != n)
		die("other records than the row is of");
	server_ns(&requests.request, no_content, sizeof(no_content) - 1);
	drain();
}

static double told_each(void)
{
	static double v[EACH];
	uint64_t before = lab.tenants[PLAIN].admitted;

	for (int k = 0; k < EACH; k++) {
		v[k] = client_ns(&requests.request, requests.told, requests.told_len, NULL);
		server_ns(&requests.request, no_content, sizeof(no_content) - 1);
	}
	drain();
	if (lab.tenants[PLAIN].admitted != before + EACH)
		die("not every request was admitted");
	return median(v, EACH);
}

static double sdk_lines(bool on, const char *lines, size_t n)
{
	double ns;

	requests.told_len =
		sdk_head(requests.told, sizeof(requests.told), "/v1/chat/completions", lines, 0);
	tell_lines(on);
	told_must_be(WEIR_REC_LINE, n);
	ns = told_each();
	tell_lines(false);
	return ns;
}

#define USER_LINE "x-weir-user: alice@example.com\r\n"
#define TRACE_LINES                                                                                \
	"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"                 \
	"baggage: user.id=alice,team=search,session.id=4711\r\nx-request-id: 7d9f0c3a\r\n"

static double sdk_none(void)
{
	return sdk_lines(false, USER_LINE, 0);
}

static double sdk_one(void)
{
	return sdk_lines(true, USER_LINE, 1);
}

static double sdk_zero(void)
{
	return sdk_lines(true, "", 0);
}

static double sdk_four(void)
{
	return sdk_lines(true, USER_LINE TRACE_LINES, 4);
}

static double asked_body(uint32_t asked_bytes)
{
	double ns;
	size_t n;

	n = sdk_head(requests.told, sizeof(requests.told), "/v1/chat/completions", "", TOLD_BODY);
	memset(requests.told + n, 'x', TOLD_BODY);
	requests.told_len = n + TOLD_BODY;
	lab.config->asked_bytes = asked_bytes;
	told_must_be(WEIR_REC_ASKED, asked_bytes ? 1 : 0);
	ns = told_each();
	lab.config->asked_bytes = 0;
	return ns;
}

static double body_untold(void)
{
	return asked_body(0);
}

static double body_told(void)
{
	return asked_body(4096);
}

/* All segments of an answer of 2 MB. */
static double vectors(const char *path, bool skipped)
{
	static char head[256];
	static double v[VECTORS_RUNS];
	uint64_t before = counter(WEIR_TAP_SKIPPED);
	struct conn *c = &requests.answer;

	for (int k = 0; k < VECTORS_RUNS; k++) {
		size_t n = sdk_head(requests.told, sizeof(requests.told), path, "", 0), left;

		client_ns(c, requests.told, n, NULL);
		n = sprintf(head, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", VECTORS);
		v[k] = server_ns(c, head, n);
		for (left = VECTORS; left; left -= n) {
			n = left < VECTORS_SEGMENT ? left : VECTORS_SEGMENT;
			v[k] += server_ns(c, requests.vectors, n);
		}
		drain();
	}
	if ((counter(WEIR_TAP_SKIPPED) != before) != skipped)
		die("vectors were shipped that had to be skipped, or the other way");
	return median(v, VECTORS_RUNS);
}

static double vectors_all(void)
{
	return vectors("/v1/other", false);
}

static double vectors_skipped(void)
{
	return vectors("/v1/embeddings", true);
}

static void told_rows_begin(void)
{
	memset(requests.vectors, '7', sizeof(requests.vectors));
}

#endif
