/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thing costs by an entry of a rate card (ledger.md, 18 to 20): lines, one sum, factors,
 * one rounding. Pure: no clock, no state, no memory of its own.
 */
#include "price.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "card.h"
#include "money.h"

const char *const weir_dimension_names[WEIR_DIM_MAX] = {
	[WEIR_DIM_INPUT] = "input",
	[WEIR_DIM_CACHE_READ] = "cache_read",
	[WEIR_DIM_CACHE_WRITE] = "cache_write",
	[WEIR_DIM_AUDIO] = "audio",
	[WEIR_DIM_IMAGE] = "image",
	[WEIR_DIM_OUTPUT] = "output",
	[WEIR_DIM_REASONING] = "reasoning",
	[WEIR_DIM_REQUEST] = "request",
	[WEIR_DIM_SECOND] = "second",
	[WEIR_DIM_SESSION] = "session",
	[WEIR_DIM_UNIT] = "unit",
};

void weir_quantities_of(const struct weir_row *row, bool session_begins,
			struct weir_quantities *out)
{
	uint64_t ns = row->ended_wall_ns > row->started_wall_ns
			      ? row->ended_wall_ns - row->started_wall_ns
			      : 0;

	*out = (struct weir_quantities){
		.of = {
			[WEIR_DIM_INPUT] = row->usage.input,
			[WEIR_DIM_CACHE_READ] = row->usage.cache_read,
			[WEIR_DIM_CACHE_WRITE] = row->usage.cache_write,
			[WEIR_DIM_AUDIO] = row->audio,
			[WEIR_DIM_IMAGE] = row->image,
			[WEIR_DIM_OUTPUT] = row->usage.output,
			[WEIR_DIM_REASONING] = row->usage.reasoning,
			[WEIR_DIM_REQUEST] = 1,
			[WEIR_DIM_SECOND] = ns < INT64_MAX ? (int64_t)ns : INT64_MAX,
			[WEIR_DIM_SESSION] = session_begins,
			[WEIR_DIM_UNIT] = WEIR_UNKNOWN,
		},
	};
}

/* ---------------------------------------------------------------------- factors */

static uint32_t band_milli(const struct card_entry *e, const struct weir_quantities *q)
{
	__int128 total = 0;
	size_t i = 0;

	if (!e->n_bands)
		return CARD_MILLI;
	for (int d = WEIR_DIM_INPUT; d <= WEIR_DIM_IMAGE; d++)
		if (q->of[d] != WEIR_UNKNOWN)
			total += q->of[d];
	while (i < e->n_bands - 1 && total > e->bands[i].up_to)
		i++;
	return e->bands[i].milli;
}

/* Three numbers of three decimals: at most 1e7, 1e7 and 1e3 thousandths. */
static int64_t factor_of(const struct card_entry *e, uint32_t band, uint32_t discount)
{
	return (int64_t)e->milli * band * (CARD_MILLI - discount);
}
_Static_assert((int64_t)CARD_MILLI *CARD_MILLI *CARD_MILLI == WEIR_FACTOR, "factors");

/* What a sum in the card's unit of cost is divided by to be credits, when it is multiplied with
 * a factor: a credit is 1e9 nano, and so is a factor of 1. */
static int64_t divisor(const struct weir_card *c, bool in_currency)
{
	return in_currency ? c->credit_price_nano : WEIR_FACTOR;
}

/* ------------------------------------------------------------------------ lines */

static const struct card_step *step_at(const struct card_steps *s, int64_t count)
{
	const struct card_step *step = s->v;

	while (step->up_to < count)
		step++; /* the last one has no end */
	return step;
}

static void add_line(struct weir_charge *out, const struct card_rates *rates, enum weir_dimension d,
		     int64_t quantity, int64_t unit_nano, int64_t position)
{
	assert(out->n_lines < WEIR_LINES_MAX); /* card_rates_read saw to it */
	out->lines[out->n_lines++] = (struct weir_price_line){
		.dimension = d,
		.priced_as = (enum weir_dimension)rates->priced_as[d],
		.quantity = quantity,
		.unit_nano = unit_nano,
		.per = card_per(rates, d),
		.position = position,
	};
}

/* All of it by the step that its end falls into. */
static int add_volume(struct weir_charge *out, const struct card_entry *e, enum weir_dimension d,
		      int64_t quantity, int64_t at)
{
	enum weir_dimension as = (enum weir_dimension)e->price.priced_as[d];
	const struct card_step *step = step_at(&e->steps[as], at + quantity);
	struct weir_volume *v = &out->volume[as];
	__int128 weighted = (__int128)quantity * out->factor, charged;

	if (__builtin_mul_overflow(weighted, step->unit_nano, &charged) ||
	    __builtin_add_overflow(v->weighted, weighted, &v->weighted) ||
	    __builtin_add_overflow(v->charged, charged, &v->charged))
		return -ERANGE;
	add_line(out, &e->price, d, quantity, step->unit_nano, at);
	return 0;
}

/* Each unit by the step that it falls into. */
static void add_graduated(struct weir_charge *out, const struct card_entry *e,
			  enum weir_dimension d, int64_t quantity, int64_t at)
{
	const struct card_steps *steps = &e->steps[e->price.priced_as[d]];

	while (quantity) {
		const struct card_step *step = step_at(steps, at + 1);
		int64_t room = step->up_to - at, n = quantity < room ? quantity : room;

		add_line(out, &e->price, d, n, step->unit_nano, at);
		at += n;
		quantity -= n;
	}
}

static int add_dimension(struct weir_charge *out, const struct card_entry *e, enum weir_dimension d,
			 int64_t quantity, const int64_t *positions)
{
	enum weir_dimension as = (enum weir_dimension)e->price.priced_as[d];
	int64_t at, end;

	if (!e->steps || !e->steps[as].n || !positions) {
		add_line(out, &e->price, d, quantity, e->price.unit_nano[d], -1);
		return 0;
	}
	if (positions[as] < 0 || __builtin_add_overflow(positions[as], out->counted[as], &at) ||
	    __builtin_add_overflow(at, quantity, &end))
		return -ERANGE;
	out->counted[as] += quantity;
	if (e->steps[as].mode == WEIR_STEPS_VOLUME)
		return add_volume(out, e, d, quantity, at);
	add_graduated(out, e, d, quantity, at);
	return 0;
}

/* ------------------------------------------------------------------------- sums */

/* quantity x unit, in parts of 1 / rates->common. A product of two int64 fits. */
static int add_part(const struct card_rates *rates, enum weir_dimension d, int64_t quantity,
		    int64_t unit_nano, __int128 *sum)
{
	int64_t per = card_per(rates, d);
	__int128 part = (__int128)quantity * unit_nano;

	if ((per != rates->common && __builtin_mul_overflow(part, rates->common / per, &part)) ||
	    __builtin_add_overflow(*sum, part, sum))
		return -ERANGE;
	return 0;
}

/* Most prices are without a factor, and short divisions are quick. */
static int to_credits(__int128 sum, int64_t factor, int64_t common, int64_t by, int64_t *nano)
{
	if (factor == by)
		return weir_money_div(sum, common, nano);
	return weir_money_scale(sum, factor, (__int128)common * by, nano);
}

static int reckon_price(const struct weir_card *c, const struct card_entry *e,
			struct weir_charge *out)
{
	__int128 sum = 0;

	for (size_t i = 0; i < out->n_lines; i++) {
		const struct weir_price_line *line = &out->lines[i];

		if (add_part(&e->price, line->dimension, line->quantity, line->unit_nano, &sum))
			return -ERANGE;
	}
	return to_credits(sum, out->factor, e->price.common, divisor(c, e->in_currency),
			  &out->price_nano);
}

static int reckon_cost(const struct weir_card *c, const struct card_entry *e,
		       const struct weir_quantities *q, int64_t *nano)
{
	bool in_currency = ((const struct card_entries *)c->entries)->cost_in_currency;
	const struct card_rates *rates = &e->cost;
	__int128 sum = 0;

	for (int d = 0; d < WEIR_DIM_MAX; d++)
		if (rates->priced_as[d] != WEIR_DIM_MAX && q->of[d] != WEIR_UNKNOWN &&
		    add_part(rates, (enum weir_dimension)d, q->of[d], rates->unit_nano[d], &sum))
			return -ERANGE;
	return to_credits(sum, WEIR_FACTOR, rates->common, divisor(c, in_currency), nano);
}

int weir_card_charge(const struct weir_card *c, uint32_t entry, uint32_t discount_milli,
		     const struct weir_quantities *q, const int64_t positions[WEIR_DIM_MAX],
		     struct weir_charge *out)
{
	const struct card_entry *e = card_entry(c, entry);
	struct weir_charge charge;
	int r = 0;

	/* All but the lines, which are most of it. */
	memset(&charge, 0, offsetof(struct weir_charge, lines));
	if (discount_milli > CARD_MILLI)
		return -ERANGE;
	for (int d = 0; d < WEIR_DIM_MAX; d++)
		if (q->of[d] < 0 && q->of[d] != WEIR_UNKNOWN)
			return -ERANGE;
	charge.factor = factor_of(e, band_milli(e, q), discount_milli);
	charge.lines_credit_nano = e->in_currency ? c->credit_price_nano : 0;
	for (int d = 0; d < WEIR_DIM_MAX && !r; d++)
		if (e->price.priced_as[d] != WEIR_DIM_MAX && q->of[d] > 0)
			r = add_dimension(&charge, e, (enum weir_dimension)d, q->of[d], positions);
	if (!r)
		r = reckon_price(c, e, &charge);
	if (!r)
		r = reckon_cost(c, e, q, &charge.cost_nano);
	if (r)
		return r;
	memcpy(out, &charge,
	       offsetof(struct weir_charge, lines) + charge.n_lines * sizeof(*charge.lines));
	return 0;
}

/* ------------------------------------------------------------------------ steps */

void weir_card_unit_at(const struct weir_card *c, uint32_t entry, enum weir_dimension d,
		       int64_t total, int64_t *unit_nano, int64_t *per)
{
	const struct card_entry *e = card_entry(c, entry);

	*unit_nano = e->steps && e->steps[d].n ? step_at(&e->steps[d], total)->unit_nano
					       : e->price.unit_nano[d];
	*per = card_per(&e->price, d);
}

int weir_volume_price(__int128 numerator, int64_t per, int64_t *nano)
{
	return weir_money_div(numerator, (__int128)per * WEIR_FACTOR, nano);
}

/* ------------------------------------------------------------------ reservations */

/* The dearer of *most and what one of this dimension costs, rounded up: a reservation must not
 * fall short. The product is below 2^120. */
static void raise_to(int64_t *most, const struct weir_card *c, const struct card_entry *e,
		     enum weir_dimension d, int64_t factor)
{
	__int128 per = (__int128)card_per(&e->price, d) * divisor(c, e->in_currency);
	__int128 nano = (__int128)e->price.unit_nano[d] * factor;
	__int128 each = nano / per + (nano % per != 0);

	if (each > *most)
		*most = each < INT64_MAX ? (int64_t)each : INT64_MAX;
}

void card_dearest(const struct weir_card *c, struct weir_reserve_price *out)
{
	struct weir_reserve_price most = { 0 };

	for (size_t i = 0; i < c->n_entries; i++) {
		const struct card_entry *e = card_entry(c, (uint32_t)i);
		uint32_t band = e->n_bands ? 0 : CARD_MILLI;
		int64_t factor, session = 0, request = 0;

		if (e->meter)
			continue;
		for (size_t b = 0; b < e->n_bands; b++)
			if (e->bands[b].milli > band)
				band = e->bands[b].milli;
		factor = factor_of(e, band, 0);
		for (enum weir_dimension d = WEIR_DIM_INPUT; d <= WEIR_DIM_IMAGE; d++)
			raise_to(&most.input_nano, c, e, d, factor);
		raise_to(&most.output_nano, c, e, WEIR_DIM_OUTPUT, factor);
		raise_to(&most.output_nano, c, e, WEIR_DIM_REASONING, factor);
		raise_to(&request, c, e, WEIR_DIM_REQUEST, factor);
		raise_to(&session, c, e, WEIR_DIM_SESSION, factor);
		if (__builtin_add_overflow(request, session, &request))
			request = INT64_MAX;
		if (request > most.request_nano)
			most.request_nano = request;
	}
	*out = most;
}

/* Rounded up once more. INT64_MAX stands for more than that. */
static int64_t less_discount(int64_t nano, uint32_t milli)
{
	if (nano == INT64_MAX && milli < CARD_MILLI)
		return nano;
	return (int64_t)(((__int128)nano * (CARD_MILLI - milli) + CARD_MILLI - 1) / CARD_MILLI);
}

void weir_card_reserve_price(const struct weir_card *c, uint32_t discount_milli,
			     struct weir_reserve_price *out)
{
	const struct weir_reserve_price *most = &((const struct card_entries *)c->entries)->dearest;

	assert(discount_milli <= CARD_MILLI);
	*out = (struct weir_reserve_price){
		.input_nano = less_discount(most->input_nano, discount_milli),
		.output_nano = less_discount(most->output_nano, discount_milli),
		.request_nano = less_discount(most->request_nano, discount_milli),
	};
}
