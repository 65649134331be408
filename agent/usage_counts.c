// SPDX-License-Identifier: Apache-2.0
/*
 * Counts that overlap to disjoint ones.
 */
#include "usage_counts.h"

#include <string.h>

void weir_counts_init(struct weir_counts *c)
{
	int i;

	memset(c, 0, sizeof(*c));
	for (i = 0; i < WEIR_COUNTS; i++)
		c->of[i] = WEIR_UNKNOWN;
}

void weir_counts_set(struct weir_counts *c, enum weir_count what, uint8_t place, int64_t n)
{
	if (c->from[what] && c->from[what] < place)
		return;
	c->of[what] = n;
	c->from[what] = place;
	c->loose |= 1u << what;
}

void weir_counts_forget(struct weir_counts *c, enum weir_count what, uint8_t place)
{
	if (c->from[what] == place)
		weir_counts_set(c, what, 0, WEIR_UNKNOWN);
}

void weir_counts_forget_place(struct weir_counts *c, uint8_t place)
{
	int i;

	for (i = 0; i < WEIR_COUNTS; i++)
		weir_counts_forget(c, i, place);
}

void weir_counts_document(struct weir_counts *c)
{
	int i;

	memset(c->from, 0, sizeof(c->from));
	for (i = 0; c->loose; i++, c->loose >>= 1)
		if (c->loose & 1)
			c->of[i] = WEIR_UNKNOWN;
}

void weir_counts_lost(struct weir_counts *c)
{
	weir_counts_document(c);
	c->settled = 0;
}

bool weir_counts_any(const struct weir_counts *c)
{
	int i;

	for (i = 0; i < WEIR_COUNTS; i++)
		if (c->from[i])
			return true;
	return false;
}

/* The first that is known. */
static int64_t known(int64_t a, int64_t b)
{
	return a != WEIR_UNKNOWN ? a : b;
}

/* Take the part out of the whole. A part that claims more is cut to it: the sum
 * that is billed stays what the server called its total. */
static int64_t take_out(int64_t *whole, int64_t part)
{
	if (part == WEIR_UNKNOWN || *whole == WEIR_UNKNOWN)
		return part;
	if (part > *whole)
		part = *whole;
	*whole -= part;
	return part;
}

/* A sum of which a part is not known is not known. */
static int64_t add(int64_t a, int64_t b)
{
	int64_t sum;

	if (a == WEIR_UNKNOWN || b == WEIR_UNKNOWN || __builtin_add_overflow(a, b, &sum))
		return WEIR_UNKNOWN;
	return sum;
}

static int64_t output_of(const int64_t *of)
{
	return known(of[WEIR_COUNT_COMPLETION],
		     known(of[WEIR_COUNT_OUTPUT], of[WEIR_COUNT_NATIVE_OUTPUT]));
}

/* The prompt, and whether what came from a cache is beside it. */
static int64_t prompt_of(const int64_t *of, bool *beside)
{
	*beside = false;
	if (of[WEIR_COUNT_PROMPT] != WEIR_UNKNOWN)
		return of[WEIR_COUNT_PROMPT];
	if (of[WEIR_COUNT_INPUT] != WEIR_UNKNOWN) {
		*beside = of[WEIR_COUNT_CACHED] == WEIR_UNKNOWN &&
			  of[WEIR_COUNT_CACHE_WRITE] == WEIR_UNKNOWN;
		return of[WEIR_COUNT_INPUT];
	}
	if (of[WEIR_COUNT_NATIVE_PROMPT] != WEIR_UNKNOWN)
		return of[WEIR_COUNT_NATIVE_PROMPT];
	if (output_of(of) == WEIR_UNKNOWN && of[WEIR_COUNT_TOTAL] != WEIR_UNKNOWN)
		return of[WEIR_COUNT_TOTAL];
	*beside = true;
	return of[WEIR_COUNT_NATIVE_FRESH];
}

static bool any_known(const struct weir_usage *u)
{
	return u->input != WEIR_UNKNOWN || u->output != WEIR_UNKNOWN ||
	       u->cache_read != WEIR_UNKNOWN || u->cache_write != WEIR_UNKNOWN ||
	       u->reasoning != WEIR_UNKNOWN;
}

void weir_counts_settle(struct weir_counts *c, struct weir_response_seen *seen)
{
	const int64_t *of = c->of;
	int64_t read = known(of[WEIR_COUNT_CACHED], of[WEIR_COUNT_READ_BESIDE]);
	int64_t write = known(of[WEIR_COUNT_CACHE_WRITE], of[WEIR_COUNT_WRITE_BESIDE]);
	struct weir_usage *out = &seen->usage;
	bool beside;

	c->loose = 0;
	c->settled = 1;
	read = known(read, of[WEIR_COUNT_NATIVE_CACHED]);
	out->input = prompt_of(of, &beside);
	out->cache_read = beside ? read : take_out(&out->input, read);
	out->cache_write = beside ? write : take_out(&out->input, write);
	seen->audio = take_out(&out->input, of[WEIR_COUNT_AUDIO]);
	seen->image = take_out(&out->input, of[WEIR_COUNT_IMAGE]);
	out->output = output_of(of);
	out->reasoning = take_out(&out->output, of[WEIR_COUNT_REASONING]);
	if (c->banked) {
		out->input = add(out->input, c->base.input);
		out->cache_read = add(out->cache_read, c->base.cache_read);
		out->cache_write = add(out->cache_write, c->base.cache_write);
		out->output = add(out->output, c->base.output);
		out->reasoning = add(out->reasoning, c->base.reasoning);
	}
	seen->has_usage = any_known(out);
}

void weir_counts_bank(struct weir_counts *c, const struct weir_response_seen *seen)
{
	uint8_t settled = c->settled;

	weir_counts_init(c);
	c->base = seen->usage;
	c->banked = 1;
	c->settled = settled;
}
