// SPDX-License-Identifier: Apache-2.0
/*
 * What answers cost the agent, in CPU time of the one thread that does it: the figures are those of
 * a core, and hold when others are busy. From their bytes to their counts; then, as "folded", from
 * the kernel's records to finished rows, with all that lies between. Rounds of all rows are
 * interleaved; the figure is the median. Data is larger than a core's own cache, as what comes
 * through the kernel's ring is. Every answer's counts are looked at.
 *
 *   parse_bench [ROUNDS [ROW]]    ROW: only rows with this text in their names, for a profiler
 */
#include <time.h>

#include "agent/response.h"

#include "tests/bench/answers.h"
#include "tests/bench/fold_node.h"

enum {
	ROUNDS_MAX = 99,
	STREAMS = 32,
	TOKENS = 1000,
	FOLDED_TOKENS = 100,
	SMALLS = 8192,
	VECTORS = 64
};

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct {
	struct answer stream[3][STREAMS]; /* by coding */
	struct answer small[2][SMALLS];
	struct answer numbers, base64, numbers_gzip;
	struct weir_decoders *decoders;
	struct node *node;
	struct scene streams, smalls;
} here;

static void make_all(void)
{
	static struct answer folded[STREAMS];
	struct weir_error err;

	for (int i = 0; i < STREAMS; i++)
		make_stream(&folded[i], FOLDED_TOKENS, AS_IS);
	scene_make(&here.streams, folded, STREAMS);
	for (int i = 0; i < STREAMS; i++)
		for (enum answer_coding c = AS_IS; c <= IN_ZSTD; c++)
			make_stream(&here.stream[c][i], TOKENS, c);
	for (int i = 0; i < SMALLS; i++)
		for (enum answer_coding c = AS_IS; c <= IN_GZIP; c++)
			make_small(&here.small[c][i], c);
	make_embeddings(&here.numbers, VECTORS, 0, AS_IS);
	make_embeddings(&here.base64, VECTORS, 1, AS_IS);
	make_embeddings(&here.numbers_gzip, VECTORS, 0, IN_GZIP);
	if (weir_decoders_new(32 << 20, &here.decoders, &err))
		die_of(err.text);
	scene_make(&here.smalls, here.small[AS_IS], SMALLS);
	here.node = node_new(here.decoders);
}

/* ------------------------------------------------------------------ feeding */

static void must_be_right(const struct weir_response *r, const struct answer *a)
{
	const struct weir_response_seen *s = &r->seen;

	if (!s->done || s->bad || s->status != 200 || s->usage.input != a->input ||
	    (a->output && s->usage.output != a->output) ||
	    weir_response_source(r) != WEIR_USAGE_REPORTED) {
		fprintf(stderr,
			"parse_bench: status %u, done %u, bad %u, %lld in, %lld out; not %u, %u\n",
			s->status, s->done, s->bad, (long long)s->usage.input,
			(long long)s->usage.output, a->input, a->output);
		exit(1);
	}
}

/* In pieces of so many bytes; 0: as the server wrote it. */
static void feed(const struct answer *a, size_t piece)
{
	struct weir_response r;
	size_t at = 0;

	weir_response_init(&r, false);
	for (uint32_t i = 0; at < a->n; i++) {
		size_t n = piece ? piece : a->ends[i] - at;

		if (n > a->n - at)
			n = a->n - at;
		at += weir_response_feed(&r, here.decoders, a->p + at, n);
	}
	weir_response_end(&r, here.decoders);
	must_be_right(&r, a);
}

/* Bytes a second: of the answer as it is fed, or of the text that is in it when it is compressed
 * and so the larger one. About 32 MB of it. */
static double bytes_per_s(const struct answer *a, size_t n, size_t piece)
{
	double t = cpu(), bytes = 0;

	for (size_t i = 0; bytes < 32e6; i++) {
		feed(&a[i % n], piece);
		bytes += (double)(a[i % n].text > a[i % n].n ? a[i % n].text : a[i % n].n);
	}
	return bytes / (cpu() - t);
}

/* ------------------------------------------------------------------ rows */

static double stream_as_written(void)
{
	return bytes_per_s(here.stream[AS_IS], STREAMS, 0);
}

static double stream_4k(void)
{
	return bytes_per_s(here.stream[AS_IS], STREAMS, 4096);
}

static double stream_gzip(void)
{
	return bytes_per_s(here.stream[IN_GZIP], STREAMS, 0);
}

static double stream_zstd(void)
{
	return bytes_per_s(here.stream[IN_ZSTD], STREAMS, 0);
}

static double answers_per_s(const struct answer *a)
{
	double t = cpu();

	for (int i = 0; i < 2 * SMALLS; i++)
		feed(&a[i % SMALLS], 0);
	return 2 * SMALLS / (cpu() - t);
}

static double small(void)
{
	return answers_per_s(here.small[AS_IS]);
}

static double small_gzip(void)
{
	return answers_per_s(here.small[IN_GZIP]);
}

static double embeddings(void)
{
	return bytes_per_s(&here.numbers, 1, 4096);
}

static double embeddings_base64(void)
{
	return bytes_per_s(&here.base64, 1, 4096);
}

static double embeddings_gzip(void)
{
	return bytes_per_s(&here.numbers_gzip, 1, 4096);
}

static double streams_folded(void)
{
	double t = cpu();

	scene_fold(here.node, &here.streams);
	return (double)here.streams.fed / (cpu() - t);
}

static double records_folded(void)
{
	double t = cpu();

	scene_fold(here.node, &here.streams);
	return (double)here.streams.records / (cpu() - t);
}

static double smalls_folded(void)
{
	double t = cpu();

	for (int i = 0; i < 8; i++)
		scene_fold(here.node, &here.smalls);
	return 8 * (double)here.smalls.rows / (cpu() - t);
}

static const struct row {
	const char *what;
	double (*measure)(void);
	const char *unit;
	double scale, bar;
} rows[] = {
	{ "chat stream, a record an event (260 B)", stream_as_written, "GB/s", 1e9, 1 },
	{ "chat stream, in 4 KiB pieces", stream_4k, "GB/s", 1e9, 1 },
	{ "chat stream, gzip, flushed an event; of its text", stream_gzip, "GB/s", 1e9, 0 },
	{ "chat stream, zstd, flushed an event; of its text", stream_zstd, "GB/s", 1e9, 0 },
	{ "short answer, 600 B", small, "k/s", 1e3, 300 },
	{ "short answer, gzip", small_gzip, "k/s", 1e3, 0 },
	{ "embeddings, 2 MB of numbers, 4 KiB pieces", embeddings, "GB/s", 1e9, 2 },
	{ "embeddings in base64, 4 KiB pieces", embeddings_base64, "GB/s", 1e9, 2 },
	{ "embeddings, gzip; of its text", embeddings_gzip, "GB/s", 1e9, 0 },
	{ "folded: 1,024 streams in turn", streams_folded, "GB/s", 1e9, 0 },
	{ "folded: records of these", records_folded, "k/s", 1e3, 0 },
	{ "folded: short requests, 5 records each, to a row", smalls_folded, "k/s", 1e3, 0 },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double got[ROWS][ROUNDS_MAX];
	int rounds = argc > 1 ? atoi(argv[1]) : 15;
	const char *wanted = argc > 2 ? argv[2] : "";

	if (rounds < 1 || rounds > ROUNDS_MAX)
		die_of("ROUNDS is 1 to 99");
	make_all();
	for (int n = 0; n < rounds; n++)
		for (int r = 0; r < ROWS; r++)
			if (strstr(rows[r].what, wanted))
				got[r][n] = rows[r].measure();
	for (int r = 0; r < ROWS; r++) {
		double median;

		if (!strstr(rows[r].what, wanted))
			continue;
		qsort(got[r], (size_t)rounds, sizeof(got[r][0]), by_size);
		median = got[r][rounds / 2] / rows[r].scale;
		printf("%-58s %12.3g %-5s", rows[r].what, median, rows[r].unit);
		if (rows[r].bar > 0)
			printf(" bar %g%s", rows[r].bar, median < rows[r].bar ? ": BELOW" : "");
		printf("\n");
	}
	weir_decoders_free(here.decoders);
	return 0;
}
