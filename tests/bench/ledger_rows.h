/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger of made-up requests, for ledger_bench.c and ledger_fill.c: every row is one
 * organisation's, whose lots pay for a thousand teams.
 */
#ifndef LEDGER_ROWS_H
#define LEDGER_ROWS_H

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/ledger.h"
#include "agent/price.h"
#include "agent/store.h"

enum { GROUP = 4096, TEAMS = 1000, LOTS = 20 };

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
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, err.text);
	exit(1);
}

static uint64_t any(void)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

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

#endif
