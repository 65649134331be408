/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver says: entries, wallets and results as lines of JSON. */
#ifndef WEIR_TEST_MODEL_SAY_H
#define WEIR_TEST_MODEL_SAY_H

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger.h"
#include "agent/ledger_read.h"
#include "agent/price.h"

#define CARDS_MAX 32

static struct {
	char path[256], fresh[256];
	struct weir_ledger *ledger;
	struct weir_reader *reader;
	struct weir_card *cards[CARDS_MAX];
	size_t n_cards;
	uint64_t shown; /* entries that were printed */
} d;

/* Trouble that no history may lead to. */
static void must(int ret, const char *what, const struct weir_error *err)
{
	if (!ret)
		return;
	fprintf(stderr, "driver: %s: %s (%s)\n", what, err ? err->text : "", strerror(-ret));
	exit(3);
}

static const char *const purses[] = { "remaining", "expired", "pending", "debt" };

static void print_card(uint32_t id, uint32_t entry)
{
	const struct weir_card *card = weir_reader_card(d.reader, id);

	if (card)
		printf(",\"card\":[\"%s\",\"%s\",%" PRIu32 "]", card->name, card->version, entry);
}

static int print_entry(const struct weir_entry *e, void *ctx)
{
	const char *comma = ctx;

	printf("%s{\"seq\":%" PRIu64 ",\"kind\":\"%s\",\"time\":%" PRIu64 ",\"tenant\":%" PRIu32
	       ",\"wallet\":%" PRIu32 ",\"amount\":%" PRId64 ",\"before\":%" PRId64
	       ",\"after\":%" PRId64 ",\"session\":%s",
	       e->seq == d.shown + 1 ? "" : comma, e->seq, weir_entry_kind_names[e->kind],
	       e->time_ns, e->tenant, e->wallet, e->amount_nano, e->balance_before_nano,
	       e->balance_after_nano, e->session_begins ? "true" : "false");
	printf(",\"moves\":[");
	for (size_t i = 0; i < e->n_moves; i++)
		printf("%s[\"%s\",%" PRIu64 ",%" PRId64 "]", i ? "," : "",
		       purses[e->moves[i].purse], e->moves[i].lot, e->moves[i].nano);
	printf("],\"positions\":{");
	for (size_t i = 0; i < e->n_positions; i++)
		printf("%s\"%s\":%" PRId64, i ? "," : "",
		       weir_dimension_names[e->positions[i].dimension], e->positions[i].at);
	printf("}");
	if (e->row) {
		printf(",\"price\":%" PRId64 ",\"cost\":%" PRId64 ",\"unpriced\":%s",
		       e->row->price_nano, e->row->cost_nano,
		       e->row->flags & WEIR_ROW_UNPRICED ? "true" : "false");
		print_card(e->row->card_id, e->row->card_entry);
	}
	if (e->op) {
		printf(",\"price\":%" PRId64 ",\"cost\":%" PRId64 ",\"unpriced\":%s,\"of\":%" PRIu64
		       ",\"rolled\":%" PRId64 ",\"expires\":%" PRIu64 ",\"effective\":%" PRIu64
		       ",\"threshold\":%" PRId64 ",\"asked\":%" PRId64,
		       e->op->price_nano, e->op->cost_nano,
		       e->op->flags & WEIR_OP_UNPRICED ? "true" : "false", e->op->of,
		       e->op->rolled_nano, e->op->expires_ns, e->op->effective_ns,
		       e->op->threshold_nano, e->op->amount_nano);
		print_card(e->op->card_id, e->op->card_entry);
	}
	printf("}");
	return 0;
}

static void print_new_entries(void)
{
	struct weir_entry_query q = { .from_seq = d.shown + 1, .limit = SIZE_MAX };
	struct weir_error err = { "" };

	printf("\"entries\":[");
	if (weir_ledger_newest(d.ledger) > d.shown)
		must(weir_reader_entries(d.reader, &q, print_entry, ",", &err), "reading", &err);
	d.shown = weir_ledger_newest(d.ledger);
	printf("]");
}

static void print_wallet(uint32_t wallet)
{
	struct weir_error err = { "" };
	struct weir_balance b;

	/* As of the last entry: nothing has fallen due since 1970. */
	must(weir_reader_balance(d.reader, wallet, 0, &b, &err), "reading a balance", &err);
	printf("{\"balance\":%" PRId64 ",\"told\":%" PRId64 ",\"debt\":%" PRId64 ",\"lots\":[",
	       b.balance_nano, weir_ledger_balance(d.ledger, wallet), b.debt_nano);
	for (size_t i = 0; i < b.n_lots; i++) {
		const struct weir_lot *l = &b.lots[i];

		printf("%s[%" PRIu64 ",\"%s\",%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s,%" PRId64
		       ",%" PRId64 ",%" PRId64 ",%" PRId64 "]",
		       i ? "," : "", l->seq, weir_grant_source_names[l->source], l->priority,
		       l->effective_ns, l->expires_ns, l->created_ns, l->voided ? "true" : "false",
		       l->amount, l->pending, l->remaining, l->expired);
	}
	printf("]}");
	weir_balance_clear(&b);
}

static void print_state(const json_t *op)
{
	json_t *wallet;
	size_t i;

	printf("\"wallets\":[");
	json_array_foreach(json_object_get(op, "wallets"), i, wallet)
	{
		if (i)
			putchar(',');
		print_wallet((uint32_t)json_integer_value(wallet));
	}
	printf("]");
}

/* --------------------------------------------------------------------------------- main */

static void print_result(int ret, const char *said)
{
	const char *name = ret ? strerrorname_np(-ret) : NULL;
	json_t *why = json_string(said);
	char *quoted = why ? json_dumps(why, JSON_ENCODE_ANY) : NULL;

	/* An error without a word is none. */
	if (ret)
		printf("{\"error\":\"%s\",\"said\":%s,", said[0] && name ? name : "?",
		       quoted ? quoted : "null");
	else
		printf("{\"error\":null,");
	free(quoted);
	json_decref(why);
}

#endif
