/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LiteLLM's fields, by tables: what a card can say, and what it cannot and why. A field about
 * money that is in neither is told as not known, so that a new one is never lost in silence.
 */
#include "litellm.h"

#include <inttypes.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a card can say. More than one field may mean the same. */
static const struct {
	const char *field;
	enum weir_dimension dimension;
} sayable[] = {
	{ "input_cost_per_token", WEIR_DIM_INPUT },
	{ "output_cost_per_token", WEIR_DIM_OUTPUT },
	{ "cache_read_input_token_cost", WEIR_DIM_CACHE_READ },
	{ "input_cost_per_token_cache_hit", WEIR_DIM_CACHE_READ },
	{ "cache_creation_input_token_cost", WEIR_DIM_CACHE_WRITE },
	{ "output_cost_per_reasoning_token", WEIR_DIM_REASONING },
	{ "input_cost_per_audio_token", WEIR_DIM_AUDIO },
	{ "input_cost_per_image_token", WEIR_DIM_IMAGE },
	{ "input_cost_per_request", WEIR_DIM_REQUEST },
};
#define N_SAYABLE (sizeof(sayable) / sizeof(*sayable))

/* And what it cannot, by words in the field's name; the first that fits. main: what the model
 * does is not billed right without it. */
static const struct {
	const char *word, *why;
	bool main;
} unsayable[] = {
	{ "_priority", "of another service tier, which nobody tells us", false },
	{ "_flex", "of another service tier, which nobody tells us", false },
	{ "_batches", "of batches, which do not come as requests", false },
	{ "_above_1hr", "how long a cache entry is kept is not told", false },
	{ "regional_processing", "depends on a region, which nobody tells us", false },
	{ "search_context", "of a tool: its calls are not counted", false },
	{ "code_interpreter", "of a tool: its calls are not counted", false },
	{ "file_search", "of a tool: its calls are not counted", false },
	{ "computer_use", "of a tool: its calls are not counted", false },
	{ "vector_store", "of a tool: its calls are not counted", false },
	{ "_dbu_", "in another unit than the currency", false },
	{ "output_cost_per_audio_token", "audio that is made is not told from other output", true },
	{ "output_cost_per_image_token", "images made are not told from other output", true },
	{ "audio_token_cost", "cached audio is not told from other cached input", false },
	{ "per_image", "images are not counted, their tokens are", true },
	{ "per_pixel", "pixels are not counted", true },
	{ "per_character", "characters are not counted", true },
	{ "per_video", "seconds of video are not counted", true },
	{ "per_audio", "seconds of audio are not counted", true },
	{ "per_second", "seconds of what is made are not counted", true },
	{ "per_page", "pages are not counted", true },
	{ "per_query", "units of search are not counted", true },
	{ "", "not known to this program", true },
};

void litellm_note(struct litellm_model *m, const char *field, const char *why)
{
	m->failed |= json_array_append_new(m->notes,
					   json_pack("{s:s,s:s,s:s,s:b}", "model", m->name, "field",
						     field, "why", why, "imported", 0)) != 0;
}

void litellm_leave_out(struct litellm_model *m, const char *field, const char *why)
{
	litellm_note(m, field, why);
	m->left_out = true;
}

/* ------------------------------------------------------------------------ fields */

bool litellm_is_text(const struct litellm_model *m)
{
	static const char *const modes[] = { "",	  "chat",      "completion",
					     "responses", "embedding", "moderation" };

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (!strcmp(m->mode, modes[i]))
			return true;
	}
	return false;
}

/* A price that says something: what costs nothing need not be said. */
static bool is_nothing(const json_t *v)
{
	struct exact x;
	const json_t *inner;
	const char *key;
	size_t i;

	if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, inner)
		{
			if (!is_nothing(inner))
				return false;
		}
		return true;
	}
	if (json_is_array(v)) {
		json_array_foreach(v, i, inner)
		{
			if (!is_nothing(inner))
				return false;
		}
		return true;
	}
	if (json_is_string(v) && json_string_value(v)[0] == '#')
		return !exact_parse(json_string_value(v) + 1, &x) && !x.digits;
	return json_is_null(v);
}

/* A number into *out; 1: it is null. Else -EINVAL, and the model is left out. */
static int number(struct litellm_model *m, const char *field, const json_t *v, struct exact *out)
{
	int r = -EINVAL;

	if (json_is_null(v))
		return 1;
	if (json_is_string(v) && json_string_value(v)[0] == '#')
		r = exact_parse(json_string_value(v) + 1, out);
	if (r)
		litellm_leave_out(m, field,
				  r == -EDOM ? "is below zero"
				  : r == -ERANGE
					  ? "has more than 19 digits, or is out of all bounds"
					  : "is not a number");
	return r;
}

static struct litellm_level *level_at(struct litellm_model *m, uint64_t above)
{
	for (size_t i = 0; i < m->n_levels; i++) {
		if (m->levels[i].above == above)
			return &m->levels[i];
	}
	if (m->n_levels == LITELLM_LEVELS)
		return NULL;
	m->levels[m->n_levels] = (struct litellm_level){ .above = above };
	return &m->levels[m->n_levels++];
}

/* "…_above_200k_tokens": the field before it, and 200000; the field itself, and 0. */
static bool split_level(const char *field, char *base, size_t room, uint64_t *above)
{
	const char *at = strstr(field, "_above_");
	int n = 0;

	*above = 0;
	if (at && (sscanf(at, "_above_%4" SCNu64 "k_tokens%n", above, &n) != 1 || !n || at[n]))
		return false;
	*above *= 1000;
	snprintf(base, room, "%.*s", (int)(at ? at - field : (int)strlen(field)), field);
	return true;
}

static int dimension_of(const char *field)
{
	for (size_t i = 0; i < N_SAYABLE; i++) {
		if (!strcmp(sayable[i].field, field))
			return sayable[i].dimension;
	}
	return -1;
}

static void put_price(struct litellm_model *m, const char *field, const json_t *v, int dimension,
		      uint64_t above)
{
	struct litellm_level *l;
	struct exact x;

	if (number(m, field, v, &x))
		return;
	l = level_at(m, above);
	if (!l) {
		litellm_leave_out(m, field, "has too many levels of context length");
		return;
	}
	if (l->has[dimension] &&
	    (l->price[dimension].digits != x.digits || l->price[dimension].exponent != x.exponent))
		litellm_leave_out(m, field, "contradicts another price for the same");
	l->has[dimension] = true;
	l->price[dimension] = x;
}

/* [{"range": [0, 256000], "input_cost_per_token": …}, …] */
static void put_tiers(struct litellm_model *m, const json_t *tiers)
{
	const json_t *tier, *v;
	const char *key;
	struct exact from;
	int64_t above;
	bool whole;
	size_t i;

	json_array_foreach(tiers, i, tier)
	{
		v = json_array_get(json_object_get(tier, "range"), 0);
		if (!v || number(m, "tiered_pricing", v, &from) ||
		    exact_nano(from, -9, &above, &whole) || !whole) {
			litellm_leave_out(m, "tiered_pricing", "has no range of input tokens");
			return;
		}
		json_object_foreach((json_t *)tier, key, v)
		{
			int d = dimension_of(key);

			if (d >= 0)
				put_price(m, key, v, d, (uint64_t)above);
			else if (strcmp(key, "range") && !is_nothing(v))
				litellm_note(m, "tiered_pricing", "has a price not known here");
		}
	}
}

/* Of a model that is billed by the time it runs; where something of a length is made, these
 * are its seconds. */
static bool put_seconds(struct litellm_model *m, const char *field, const json_t *v)
{
	if ((strcmp(field, "input_cost_per_second") && strcmp(field, "output_cost_per_second")) ||
	    !litellm_is_text(m))
		return false;
	put_price(m, field, v, WEIR_DIM_SECOND, 0);
	return true;
}

static void put_field(struct litellm_model *m, const char *field, const json_t *v)
{
	char base[96];
	uint64_t above;
	size_t i = 0;
	int d;

	if (!strstr(field, "cost") && !strstr(field, "pric") && !strstr(field, "uplift"))
		return;
	if (!strcmp(field, "tiered_pricing")) {
		put_tiers(m, v);
		return;
	}
	d = split_level(field, base, sizeof(base), &above) ? dimension_of(base) : -1;
	if (d >= 0) {
		put_price(m, field, v, d, above);
		return;
	}
	if (is_nothing(v) || put_seconds(m, field, v))
		return;
	if (!strcmp(field, "input_cost_per_query") && !strcmp(m->mode, "search")) {
		put_price(m, field, v, WEIR_DIM_REQUEST, 0);
		return;
	}
	while (!strstr(field, unsayable[i].word))
		i++;
	litellm_note(m, field, unsayable[i].why);
	m->left_out |= unsayable[i].main && !litellm_is_text(m);
}

static int by_above(const void *a, const void *b)
{
	uint64_t x = ((const struct litellm_level *)a)->above,
		 y = ((const struct litellm_level *)b)->above;

	return (x > y) - (x < y);
}

void litellm_read(struct litellm_model *m, json_t *o)
{
	const char *field;
	json_t *v;

	json_object_foreach(o, field, v) put_field(m, field, v);
	qsort(m->levels, m->n_levels, sizeof(*m->levels), by_above);
}
