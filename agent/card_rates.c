/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each dimension costs, from the "price" or "cost" of an entry: flat or in
 * steps, fall-backs between dimensions resolved once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"
#include "card_rates.h"

#define PER_MAX	       1000000000
#define STEPS_MAX      WEIR_LINES_MAX
#define UP_TO_MAX      INT64_C(1000000000000000)
#define UP_TO_MAX_NANO INT64_C(9000000000) /* of what is counted in 1e-9 */

static const enum weir_dimension parents[WEIR_DIM_MAX] = {
	[WEIR_DIM_INPUT] = WEIR_DIM_INPUT,	 [WEIR_DIM_CACHE_READ] = WEIR_DIM_INPUT,
	[WEIR_DIM_CACHE_WRITE] = WEIR_DIM_INPUT, [WEIR_DIM_AUDIO] = WEIR_DIM_INPUT,
	[WEIR_DIM_IMAGE] = WEIR_DIM_INPUT,	 [WEIR_DIM_OUTPUT] = WEIR_DIM_OUTPUT,
	[WEIR_DIM_REASONING] = WEIR_DIM_OUTPUT,	 [WEIR_DIM_REQUEST] = WEIR_DIM_REQUEST,
	[WEIR_DIM_SECOND] = WEIR_DIM_SECOND,	 [WEIR_DIM_SESSION] = WEIR_DIM_SESSION,
	[WEIR_DIM_UNIT] = WEIR_DIM_UNIT,
};

void card_rates_none(struct card_rates *r)
{
	r->per = r->common = 1;
	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		r->unit_nano[d] = 0;
		r->priced_as[d] = WEIR_DIM_MAX;
	}
}

void card_steps_free(struct card_steps *steps)
{
	for (int d = 0; steps && d < WEIR_DIM_MAX; d++) {
		free(steps[d].pool);
		free(steps[d].v);
	}
	free(steps);
}

/* ------------------------------------------------------------------------ steps */

static int read_step(const struct weir_json *at, bool last, enum weir_dimension d, int64_t above,
		     struct card_step *out, struct weir_error *err)
{
	static const char *const fields[] = { "up_to", "price", NULL };
	bool nano = d == WEIR_DIM_SECOND || d == WEIR_DIM_UNIT;
	struct weir_json child;
	int64_t up_to;
	int r = weir_json_object(at, fields, err);

	if (r)
		return r;
	out->up_to = INT64_MAX;
	if (weir_json_get(at, "up_to", &child)) {
		if (last)
			return weir_json_refuse(&child, err,
						"bounds the last step, which has to have no end");
		r = weir_json_int(&child, 1, nano ? UP_TO_MAX_NANO : UP_TO_MAX, &up_to, err);
		if (r)
			return r;
		out->up_to = nano ? up_to * (int64_t)WEIR_SECOND : up_to;
		if (out->up_to <= above)
			return weir_json_refuse(&child, err, "is not above the step before it");
	} else if (!last) {
		return weir_json_fail(at, err, "has no \"up_to\", and steps behind it");
	}
	if (!weir_json_get(at, "price", &child))
		return weir_json_fail(at, err, "has no \"price\"");
	return weir_json_decimal(&child, 0, INT64_MAX, &out->unit_nano, err);
}

/* {"steps": [...], "mode": ..., "pool": ...}; *dearest: of all steps. */
static int read_steps(const struct weir_json *at, enum weir_dimension d, struct card_steps *out,
		      int64_t *dearest, struct weir_error *err)
{
	static const char *const fields[] = { "steps", "mode", "pool", NULL };
	static const char *const modes[] = { "graduated", "volume", NULL };
	struct weir_json child, item;
	const char *pool;
	int mode = 0, r = weir_json_object(at, fields, err);

	if (!r && weir_json_get(at, "mode", &child))
		r = weir_json_choice(&child, modes, &mode, err);
	out->mode = mode ? WEIR_STEPS_VOLUME : WEIR_STEPS_GRADUATED;
	if (!r && weir_json_get(at, "pool", &child)) {
		r = weir_json_name(&child, &pool, err);
		out->pool = r ? NULL : strdup(pool);
		if (!r && !out->pool)
			return weir_fail(err, ENOMEM, "out of memory");
	}
	if (r)
		return r;
	if (!weir_json_get(at, "steps", &child))
		return weir_json_fail(at, err, "has no \"steps\"");
	r = weir_json_array(&child, 1, STEPS_MAX, err);
	if (r)
		return r;
	out->v = calloc(json_array_size(child.v), sizeof(*out->v));
	if (!out->v)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t n = json_array_size(child.v); out->n < n && !r; out->n++) {
		struct card_step *s = &out->v[out->n];

		item = weir_json_element(&child, out->n);
		r = read_step(&item, out->n == n - 1, d, out->n ? s[-1].up_to : 0, s, err);
		if (!r && s->unit_nano > *dearest)
			*dearest = s->unit_nano;
	}
	return r;
}

/* ------------------------------------------------------------------------ rates */

/* The least common multiple of two numbers to 1e18, one of which divides the other or is
 * 1e9 at most: it fits. */
static int64_t common_multiple(int64_t a, int64_t b)
{
	int64_t x = a, y = b;

	while (y) {
		int64_t rest = x % y;

		x = y;
		y = rest;
	}
	return a / x * b;
}

static void resolve(struct card_rates *rates)
{
	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		enum weir_dimension parent = parents[d];

		if (rates->priced_as[d] != d && rates->priced_as[parent] == parent) {
			rates->priced_as[d] = (uint8_t)parent;
			rates->unit_nano[d] = rates->unit_nano[parent];
		}
		if (rates->priced_as[d] != WEIR_DIM_MAX)
			rates->common = common_multiple(rates->common,
							card_per(rates, (enum weir_dimension)d));
	}
}

/* A step may end within a quantity: then it has two lines. */
static size_t most_lines(const struct card_rates *rates, const struct card_steps *steps)
{
	size_t n = 0;

	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		if (rates->priced_as[d] != WEIR_DIM_MAX)
			n++;
		if (steps && steps[d].n)
			n += steps[d].n - 1;
	}
	return n;
}

static int read_dimension(const struct weir_json *at, enum weir_dimension d,
			  struct card_rates *rates, struct card_steps **steps,
			  struct weir_error *err)
{
	rates->priced_as[d] = (uint8_t)d;
	if (!steps || !json_is_object(at->v))
		return weir_json_decimal(at, 0, INT64_MAX, &rates->unit_nano[d], err);
	if (!*steps)
		*steps = calloc(WEIR_DIM_MAX, sizeof(**steps));
	if (!*steps)
		return weir_fail(err, ENOMEM, "out of memory");
	return read_steps(at, d, &(*steps)[d], &rates->unit_nano[d], err);
}

int card_rates_read(const struct weir_json *at, const char *const *fields, struct card_rates *rates,
		    struct card_steps **steps, struct weir_error *err)
{
	struct weir_json child;
	bool any = false;
	int r;

	card_rates_none(rates);
	r = weir_json_object(at, fields, err);
	if (!r && weir_json_get(at, "per", &child))
		r = weir_json_int(&child, 1, PER_MAX, &rates->per, err);
	for (int d = 0; d < WEIR_DIM_MAX && !r; d++) {
		if (!weir_json_get(at, weir_dimension_names[d], &child))
			continue;
		r = read_dimension(&child, (enum weir_dimension)d, rates, steps, err);
		any = true;
	}
	if (r)
		return r;
	if (!any)
		return weir_json_fail(at, err, "prices nothing (what is free says \"%s\": \"0\")",
				      fields[0]);
	resolve(rates);
	if (most_lines(rates, steps ? *steps : NULL) > WEIR_LINES_MAX)
		return weir_json_fail(at, err,
				      "has so many steps that one charge could have more "
				      "than %d lines",
				      WEIR_LINES_MAX);
	return 0;
}
