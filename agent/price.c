/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request costs by a rate card: which entry, which lines, one sum, one
 * rounding. Pure: no clock, no state, no memory of its own.
 */
#include "price.h"

#include <errno.h>
#include <string.h>

#include "card.h"
#include "money.h"

const char *const weir_dimension_names[WEIR_DIM_MAX] = {
	[WEIR_DIM_INPUT] = "input",
	[WEIR_DIM_CACHE_READ] = "cache_read",
	[WEIR_DIM_CACHE_WRITE] = "cache_write",
	[WEIR_DIM_OUTPUT] = "output",
	[WEIR_DIM_REASONING] = "reasoning",
	[WEIR_DIM_REQUEST] = "request",
};

const struct weir_card *weir_card_at(struct weir_card *const *cards, size_t n, uint64_t at_ns)
{
	const struct weir_card *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (cards[i]->effective_from_ns <= at_ns &&
		    !strcmp(cards[i]->name, WEIR_CARD_NAME) &&
		    (!best || cards[i]->effective_from_ns >= best->effective_from_ns))
			best = cards[i];
	return best;
}

int weir_card_entry(const struct weir_card *c, const char *model)
{
	const struct card_entry *entries = c->entries;

	for (size_t k = 0; k < c->n_entries; k++) {
		const struct card_entry *e = &entries[entries[k].by_rank];

		if (e->fallback ||
		    (e->exact ? !strcmp(e->match, model) : weir_glob(e->match, model)))
			return (int)entries[k].by_rank;
	}
	return -1;
}

/*
 * The sum over the dimensions, exact: all of them but `request` are per `per`, so
 * that is the common denominator. A product of two int64 fits __int128; sums and the
 * request's share are checked.
 */
static int sum(const struct card_rates *rates, const int64_t quantity[WEIR_DIM_MAX], int64_t *nano)
{
	__int128 total = 0, part;

	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		if (rates->priced_as[d] == WEIR_DIM_MAX || quantity[d] == WEIR_UNKNOWN)
			continue;
		part = (__int128)quantity[d] * rates->unit_nano[d];
		if (d == WEIR_DIM_REQUEST)
			part *= rates->per; /* quantity 1, so below 2^63 x 1e9 */
		if (__builtin_add_overflow(total, part, &total))
			return -ERANGE;
	}
	return weir_money_div(total, rates->per, nano);
}

int weir_card_charge(const struct weir_card *c, int entry, const struct weir_usage *u,
		     struct weir_charge *out)
{
	const struct card_entry *e = (const struct card_entry *)c->entries + entry;
	const struct card_rates *price = &e->price;
	const int64_t quantity[WEIR_DIM_MAX] = {
		[WEIR_DIM_INPUT] = u->input,
		[WEIR_DIM_CACHE_READ] = u->cache_read,
		[WEIR_DIM_CACHE_WRITE] = u->cache_write,
		[WEIR_DIM_OUTPUT] = u->output,
		[WEIR_DIM_REASONING] = u->reasoning,
		[WEIR_DIM_REQUEST] = 1,
	};
	struct weir_charge charge = { 0 };
	int r;

	for (int d = 0; d < WEIR_DIM_MAX; d++)
		if (quantity[d] < 0 && quantity[d] != WEIR_UNKNOWN)
			return -ERANGE;
	r = sum(price, quantity, &charge.price_nano);
	if (!r)
		r = sum(&e->cost, quantity, &charge.cost_nano);
	if (r)
		return r;
	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		if (price->priced_as[d] == WEIR_DIM_MAX || quantity[d] <= 0)
			continue;
		charge.lines[charge.n_lines++] = (struct weir_price_line){
			.dimension = (enum weir_dimension)d,
			.priced_as = (enum weir_dimension)price->priced_as[d],
			.quantity = quantity[d],
			.unit_nano = price->unit_nano[d],
			.per = d == WEIR_DIM_REQUEST ? 1 : price->per,
		};
	}
	*out = charge;
	return 0;
}

/* The dearer of *most and what one of this dimension costs, rounded up: a reservation
 * must not fall short. */
static void raise_to(int64_t *most, const struct card_rates *rates, enum weir_dimension d)
{
	int64_t unit = rates->unit_nano[d], per = d == WEIR_DIM_REQUEST ? 1 : rates->per;
	int64_t each = unit / per + (unit % per != 0);

	if (each > *most)
		*most = each;
}

void weir_card_reserve_price(const struct weir_card *c, struct weir_reserve_price *out)
{
	const struct card_entry *entries = c->entries;

	*out = (struct weir_reserve_price){ 0 };
	for (size_t i = 0; i < c->n_entries; i++) {
		const struct card_rates *price = &entries[i].price;

		raise_to(&out->input_nano, price, WEIR_DIM_INPUT);
		raise_to(&out->input_nano, price, WEIR_DIM_CACHE_READ);
		raise_to(&out->input_nano, price, WEIR_DIM_CACHE_WRITE);
		raise_to(&out->output_nano, price, WEIR_DIM_OUTPUT);
		raise_to(&out->output_nano, price, WEIR_DIM_REASONING);
		raise_to(&out->request_nano, price, WEIR_DIM_REQUEST);
	}
}
