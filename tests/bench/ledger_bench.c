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
#include "agent/ledger.h"
#include "agent/ledger_read.h"
#include "agent/price.h"
#include "agent/store.h"
#include "agent/usage_by.h"

enum { GROUP = 4096, TEAMS = 1000, LOTS = 20, ROWS = 10000000, TIMES = 201 };

#define SECOND UINT64_C(1000000000)

/* Four prices of a usual card; and one whose price depends on what came before: two counters a
 * request, one of them trued up, and sessions. A twentieth of the rows is by that. */
static const char usual[] =
	"{\"name\":\"usual\",\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\","
	"\"models\":[{\"match\":\"llama*\",\"price\":{\"input\":\"0.5\",\"cache_read\":\"0.05\","
	"\"output\":\"1.5\",\"reasoning\":\"1.5\",\"per\":1000000},"
	"\"cost\":{\"input\":\"0.2\",\"output\":\"0.6\",\"per\":1000000}}]}";

static const char stepped[] =
	"{\"name\":\"stepped\",\"version\":\"1\",\"effective_from\":\"2020-01-01T00:00:00Z\","
	"\"models\":[{\"match\":\"llama*\",\"price\":{\"session\":\"0.01\",\"per\":1000000,"
	"\"input\":{\"mode\":\"graduated\",\"steps\":[{\"up_to\":1000000,\"price\":\"0.5\"},"
	"{\"price\":\"0.4\"}]},"
	"\"output\":{\"mode\":\"volume\",\"steps\":[{\"up_to\":1000000,\"price\":\"1.5\"},"
	"{\"price\":\"1.2\"}]}}}]}";

static struct weir_error err;

static void must(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "ledger_bench: %s: %s\n", what, err.text);
	exit(1);
}

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

static uint64_t any(void)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

/* ------------------------------------------------------------------ building */

struct bench {
	char path[256];
	struct weir_ledger *l;
	uint32_t org, team[TEAMS], usual, stepped;
	uint64_t t0, n;
	struct weir_row rows[GROUP];
};

static struct weir_row row(struct bench *b, uint64_t i)
{
	bool usual = i >= b->n / 20;
	uint64_t r = any(), started = b->t0 + i * 100000; /* 10 k requests a second */
	struct weir_row row = {
		.started_wall_ns = started,
		.ended_wall_ns = started + SECOND + r % SECOND,
		.ttft_us = 100000 + r % 100000,
		.tenant = b->team[i % TEAMS],
		.wallet = b->org,
		.service = 0,
		.status = 200,
		.usage_source = WEIR_USAGE_REPORTED,
		.flags = WEIR_ROW_BILLABLE | WEIR_ROW_POSTED | WEIR_ROW_STREAM | WEIR_ROW_TRUSTED,
		.card_id = usual ? b->usual : b->stepped,
		.usage = { 500 + r % 4000, r >> 20 & 1023, 0, 100 + (r >> 32) % 900, WEIR_UNKNOWN },
		.audio = WEIR_UNKNOWN,
		.image = WEIR_UNKNOWN,
		.reserved_nano = 1000000,
		.request_bytes = 1000 + r % 10000,
		.response_bytes = 5000 + r % 50000,
		.client = { [10] = 0xff, [11] = 0xff, [12] = 10, [15] = 7 },
		.method = "POST",
		.path = "/v1/chat/completions",
		.model = "llama-3.3-70b",
		.finish_reason = "stop",
		.model_requested = "llama-3.3-70b",
		.max_tokens_requested = 1024,
	};

	snprintf(row.response_id, sizeof(row.response_id), "chatcmpl-%016" PRIx64 "%016" PRIx64, r,
		 i);
	if (!usual)
		snprintf(row.session, sizeof(row.session), "agent-%" PRIu64, i / (20 * TEAMS));
	for (int k = 0; k < 8; k++) {
		row.id.b[k] = (uint8_t)(started >> (56 - 8 * k));
		row.id.b[8 + k] = (uint8_t)(i >> (56 - 8 * k));
	}
	return row;
}

static uint32_t store_card(struct bench *b, const char *json)
{
	struct weir_card *card;
	uint32_t id;

	must(weir_card_parse(json, "bench", &card, &err), "the card");
	must(weir_ledger_card(b->l, card, &id, &err), "storing the card");
	weir_card_free(card);
	return id;
}

static void open_ledger(struct bench *b)
{
	char name[64];

	must(weir_ledger_open(b->path, &b->l, &err), "opening");
	must(weir_ledger_tenant(b->l, "org", &b->org, &err), "naming");
	for (int i = 0; i < TEAMS; i++) {
		snprintf(name, sizeof(name), "team-%d", i);
		must(weir_ledger_tenant(b->l, name, &b->team[i], &err), "naming");
	}
	b->usual = store_card(b, usual);
	b->stepped = store_card(b, stepped);
	b->t0 = weir_wall_ns();
}

static void grant(struct bench *b)
{
	for (int i = 0; i < LOTS; i++) {
		struct weir_done done;
		struct weir_op op = { .kind = WEIR_ENTRY_GRANT,
				      .tenant = b->org,
				      .wallet = b->org,
				      .priority = (uint8_t)(100 + i),
				      .amount_nano = INT64_C(100000) * 1000000000 };

		snprintf(op.key, sizeof(op.key), "grant-%d", i);
		must(weir_ledger_post(b->l, &op, weir_wall_ns(), &done, &err), "granting");
	}
}

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
