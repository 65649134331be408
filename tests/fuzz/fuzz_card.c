// SPDX-License-Identifier: Apache-2.0
/*
 * Any text as a rate card. What is taken is taken again from its canonical text, as the same
 * card; each of its entries is found by nobody but a use that it matches, charges any use
 * without an overflow, by lines that add up to where its counters move, and never more than
 * where the counters are not known.
 *
 * Input: the bytes of the quantities and the counters, a newline, the card.
 */
#include "agent/price.h"
#include "fuzz.h"

/* Where mutation starts: bytes would not become a card by themselves. */
static const char seed_card[] =
	"abcdefghijklmnopqrstuvwxyz0123456789\n"
	"{\"version\":\"1\",\"effective_from\":\"2026-11-01T00:00:00Z\",\"tenants\":[\"b\",\"a\"],"
	"\"currency\":\"USD\",\"credit_price\":\"0.01\",\"cost_unit\":\"currency\",\"margin_"
	"floor\":"
	"\"-0.5\",\"discounts\":{\"pro\":\"0.1\"},\"models\":[{\"match\":\"llama*\",\"path\":\"/v1/"
	"*\","
	"\"status\":\"2xx\",\"multiplier\":\"1.5\",\"bands\":[{\"up_to\":5,\"multiplier\":\"2\"},"
	"{\"multiplier\":\"3\"}],\"price\":{\"input\":{\"steps\":[{\"up_to\":5,\"price\":\"1\"},"
	"{\"up_to\":9,\"price\":\"3\"},{\"price\":\"2\"}],\"mode\":\"graduated\",\"pool\":\"p\"},"
	"\"second\":\"1\",\"session\":\"2\",\"per\":7},\"cost\":{\"input\":\"1\",\"audio\":\"2\"}},"
	"{\"match\":\"x\",\"markup\":\"0.4\",\"cost\":{\"output\":\"1\"}},{\"path\":\"/v1/x\","
	"\"unit\":\"r\",\"price\":{\"request\":\"1\"}},{\"match\":\"default\",\"price\":{"
	"\"output\":"
	"{\"mode\":\"volume\",\"steps\":[{\"up_to\":5,\"price\":\"1\"},{\"price\":\"2\"}]}}},"
	"{\"meter\":\"gb\",\"price\":{\"unit\":{\"mode\":\"volume\",\"steps\":[{\"up_to\":5,"
	"\"price\":\"1\"},{\"price\":\"2\"}]}},\"cost\":{\"unit\":\"1\"}}]}";

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	if (size < 64 && max >= sizeof(seed_card)) {
		memcpy(data, seed_card, sizeof(seed_card) - 1);
		size = sizeof(seed_card) - 1;
	}
	return LLVMFuzzerMutate(data, size, max);
}

static const struct weir_quantities nothing = {
	.of = { WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN,
		WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN }
};

static void check_lines(const struct weir_card *c, uint32_t entry, const struct weir_charge *charge,
			const struct weir_quantities *q)
{
	int64_t of[WEIR_DIM_MAX] = { 0 }, counted[WEIR_DIM_MAX] = { 0 };

	CHECK(charge->n_lines <= WEIR_LINES_MAX && charge->price_nano >= 0 &&
	      charge->cost_nano >= 0 && charge->factor >= 0);
	for (size_t i = 0; i < charge->n_lines; i++) {
		const struct weir_price_line *line = &charge->lines[i];

		CHECK(line->quantity > 0 && line->unit_nano >= 0 && line->per > 0);
		CHECK(line->priced_as == weir_card_priced_as(c, entry, line->dimension));
		of[line->dimension] += line->quantity;
		if (line->position >= 0)
			counted[line->priced_as] += line->quantity;
	}
	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		if (weir_card_priced_as(c, entry, (enum weir_dimension)d) != WEIR_DIM_MAX &&
		    q->of[d] != WEIR_UNKNOWN)
			CHECK(of[d] == q->of[d]);
		else
			CHECK(!of[d]);
		CHECK(counted[d] == charge->counted[d]);
	}
}

static void check_entry(const struct weir_card *c, uint32_t entry, const struct weir_quantities *q,
			const int64_t *positions, uint32_t discount)
{
	static struct weir_charge charge, dearest;
	const char *pool;
	int r = weir_card_charge(c, entry, discount, q, positions, &charge);
	int most = weir_card_charge(c, entry, discount, q, NULL, &dearest);

	CHECK(weir_card_entry_key(c, entry)[0]);
	if (!r)
		check_lines(c, entry, &charge, q);
	if (!r && !most)
		CHECK(charge.price_nano <= dearest.price_nano &&
		      charge.cost_nano == dearest.cost_nano);
	CHECK(!weir_card_charge(c, entry, discount, &nothing, positions, &charge));
	CHECK(!charge.price_nano && !charge.cost_nano && !charge.n_lines);
	for (int d = 0; d < WEIR_DIM_MAX; d++)
		if (weir_card_steps(c, entry, (enum weir_dimension)d, &pool) != WEIR_STEPS_NONE) {
			int64_t unit, per;

			weir_card_unit_at(c, entry, (enum weir_dimension)d, positions[d], &unit,
					  &per);
			CHECK(unit >= 0 && per > 0);
		}
}

static void check_card(struct weir_card *c, struct input *in)
{
	uint32_t discount = (uint32_t)take(in, 2) % 1001;
	struct weir_use use = { .model = "llama-3", .path = "/v1/x", .status = 200 };
	struct weir_reserve_price reserve;
	struct weir_quantities q;
	struct weir_pick pick;
	int64_t positions[WEIR_DIM_MAX];

	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		q.of[d] = (int64_t)(take_scaled(in) >> 1) - 1;
		positions[d] = (int64_t)(take_scaled(in) >> 1);
	}
	for (uint32_t i = 0; i < c->n_entries && i < 100; i++) {
		check_entry(c, i, &q, positions, discount);
		CHECK(weir_card_entry_at(c, i) < c->n_entries);
	}
	weir_card_reserve_price(c, discount, &reserve);
	CHECK(reserve.input_nano >= 0 && reserve.output_nano >= 0 && reserve.request_nano >= 0);
	use.started_ns = c->effective_from_ns;
	use.tenant = use.tier = use.service = c->scope_names ? c->scope_names[0] : "x";
	if (weir_cards_pick(&c, 1, &use, &pick))
		CHECK(pick.card == c && pick.entry < c->n_entries);
	CHECK(!weir_cards_check(&c, 1, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
	struct input in = { data, newline ? newline : data };
	struct weir_card *c = NULL, *again = NULL;
	struct weir_error err = { "" };
	size_t n;
	char *text;

	if (!newline)
		return 0;
	n = (size_t)(data + size - newline - 1);
	text = malloc(n + 1);
	CHECK(text);
	memcpy(text, newline + 1, n);
	text[n] = '\0';
	if (weir_card_parse(text, "fuzz", &c, &err)) {
		CHECK(!c && !strncmp(err.text, "fuzz", 4));
	} else {
		CHECK(!weir_card_parse(c->json, "again", &again, &err));
		CHECK(!strcmp(c->json, again->json) && !memcmp(c->sha256, again->sha256, 32));
		weir_card_free(again);
		check_card(c, &in);
		weir_card_free(c);
	}
	free(text);
	return 0;
}
