// SPDX-License-Identifier: Apache-2.0
/*
 * The ledger's figures: rows priced and made durable by the appender itself, and what is made of
 * ten million of them. Every row is one organisation's, whose lots pay for a thousand teams, so
 * that it is also the wallet with ten million entries.
 *
 *   ledger_bench [ROWS [FOLDER]]    the folder is on a disk, and is emptied again
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/find_entry.h"
#include "agent/ledger_read.h"
#include "agent/usage_by.h"
#include "ledger_rows.h"

enum { ROWS = 10000000, TIMES = 201 };

static double wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
	return cpu_of(CLOCK_PROCESS_CPUTIME_ID);
}

static void say(const char *what, double value, const char *unit, const char *bar)
{
	printf("%-58s %12.3g %-10s %s\n", what, value, unit, bar);
	fflush(stdout);
}

/* ------------------------------------------------------------------ building */

/* Rows from one number up to another; making them up does not count. */
static void append(struct bench *b, uint64_t from, uint64_t to, const char *what)
{
	double appending = 0, busy = 0;
	uint64_t n_rows = to - from;
	size_t known;

	while (from < to) {
		size_t n = 0;
		double w, c;

		for (; n < GROUP && from < to; n++, from++)
			b->rows[n] = row(b, from);
		w = wall();
		c = cpu();
		must(weir_ledger_append(b->l, b->rows, n, &known, &err), "appending");
		busy += cpu() - c;
		appending += wall() - w;
	}
	say(what, (double)n_rows / appending, "rows/s", "bar 1e+05");
	say("  per core", (double)n_rows / busy, "rows/s", "bar 1e+05");
}

static void build(struct bench *b)
{
	struct stat st;

	append(b, 0, b->n / 20, "priced by steps and sessions, durably committed: wall");
	append(b, b->n / 20, b->n, "priced and durably committed: wall");
	weir_ledger_close(b->l);
	if (!stat(b->path, &st))
		say("database, per row", (double)st.st_size / (double)b->n, "B", "");
}

/* ------------------------------------------------------------------ reading */

static void start_up(struct bench *b)
{
	double w = wall();

	must(weir_ledger_open(b->path, &b->l, &err), "opening");
	say("start-up", wall() - w, "s", "bar 2");
	weir_ledger_close(b->l);
}

static int by_size(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

static void balance(struct bench *b, struct weir_reader *rd)
{
	double v[TIMES];

	for (int i = 0; i < TIMES; i++) {
		struct weir_balance got;
		double w = wall();

		must(weir_reader_balance(rd, b->org, weir_wall_ns(), &got, &err), "balance");
		v[i] = (wall() - w) * 1e3;
		weir_balance_clear(&got);
	}
	qsort(v, TIMES, sizeof(v[0]), by_size);
	say("balance of the wallet of all of them, median", v[TIMES / 2], "ms", "bar 1");
	say("balance of the wallet of all of them, worst of 201", v[TIMES - 1], "ms", "");
}

/* Two threads: the one that has more to do is the bound where both have a core of their own. */
static void verify(struct weir_reader *rd, bool replay)
{
	double w = wall(), c = cpu(), mine = cpu_of(CLOCK_THREAD_CPUTIME_ID), other;
	struct weir_verify v;

	must(replay ? weir_reader_verify(rd, &v, &err) : weir_reader_verify_chain(rd, &v, &err),
	     "verify");
	w = wall() - w;
	c = cpu() - c;
	mine = cpu_of(CLOCK_THREAD_CPUTIME_ID) - mine;
	other = c - mine;
	say(replay ? "verify, with prices, burns, balances: wall" : "verify, chain: wall",
	    (double)v.entries / w, "rows/s", replay ? "" : "bar 1e+06");
	say("  by the CPU of its busier thread", (double)v.entries / (mine > other ? mine : other),
	    "rows/s", "");
	say("  CPU of both", c / (double)v.entries * 1e6, "us/row", "");
}

static int add_use(const struct weir_margin_item *i, void *ctx)
{
	return weir_usage_by_add(ctx, i);
}

/* What `weirctl usage --by` reads: every entry, decoded and added up. */
static void usage(const struct bench *b, struct weir_reader *rd, enum weir_usage_key key)
{
	struct weir_usage_by *u = weir_usage_by_new(key);
	static const struct weir_margin_query all;
	double w = wall(), c = cpu();
	char what[64];

	must(weir_margin_walk(rd, &all, add_use, u, &err), "usage");
	snprintf(what, sizeof(what), "usage by %s: wall", weir_usage_key_names[key]);
	say(what, (double)b->n / (wall() - w), "rows/s", "");
	say("  by CPU", (double)b->n / (cpu() - c), "rows/s", "");
	if (weir_usage_by_total(u)->requests != (int64_t)b->n)
		must(-1, "usage: not every row was counted");
	weir_usage_by_free(u);
}

/* What `weirctl trace` reads to find the id of a server's answer: here there is none of it. */
static void trace(const struct bench *b, struct weir_reader *rd)
{
	struct weir_find f = { .id = "chatcmpl-that-nobody-ever-had" };
	double w = wall(), c = cpu();
	size_t found;

	must(weir_find_entries(rd, &f, &found, &err), "trace");
	say("trace, past entries that are not it: wall", (double)b->n / (wall() - w), "rows/s", "");
	say("  by CPU", (double)b->n / (cpu() - c), "rows/s", "");
}

int main(int argc, char **argv)
{
	static struct bench b;
	char dir[200], name[300];
	struct weir_reader *rd;

	b.n = argc > 1 ? strtoull(argv[1], NULL, 10) : ROWS;
	snprintf(dir, sizeof(dir), "%s/weir-bench-XXXXXX", argc > 2 ? argv[2] : "/var/tmp");
	if (!b.n || !mkdtemp(dir)) {
		fprintf(stderr, "usage: ledger_bench [ROWS [FOLDER]]\n");
		return 2;
	}
	snprintf(b.path, sizeof(b.path), "%s/weir.db", dir);
	printf("%-58s %12" PRIu64 "\n", "rows, in groups of 4096", b.n);
	open_ledger(&b);
	grant(&b);
	build(&b);
	start_up(&b);
	must(weir_reader_open(b.path, &rd, &err), "opening to read");
	balance(&b, rd);
	usage(&b, rd, WEIR_USAGE_BY_HOUR);
	usage(&b, rd, WEIR_USAGE_BY_TENANT);
	trace(&b, rd);
	verify(rd, false);
	verify(rd, true);
	weir_reader_close(rd);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", b.path,
			 (const char *const[]){ "", "-wal", "-shm" }[i]);
		unlink(name);
	}
	return rmdir(dir) ? 1 : 0;
}
