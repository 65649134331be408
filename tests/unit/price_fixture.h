/* SPDX-License-Identifier: Apache-2.0 */
/* Cards and quantities for the tests of what things cost. */
#ifndef WEIR_PRICE_FIXTURE_H
#define WEIR_PRICE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/money.h"
#include "agent/price.h"

#define U WEIR_UNKNOWN

/* A card with these fields beside version and time, and these entries. */
static inline struct weir_card *card_of(const char *fields, const char *models)
{
	static char json[65536];
	struct weir_card *c = NULL;
	struct weir_error err;
	int n = snprintf(json, sizeof(json),
			 "{\"version\": \"v1\", \"effective_from\": \"2026-11-01T00:00:00Z\", "
			 "%s%s\"models\": [%s]}",
			 fields, fields[0] ? ", " : "", models);

	assert_true(n > 0 && (size_t)n < sizeof(json));
	if (weir_card_parse(json, "t.json: rate_cards[0]", &c, &err))
		fail_msg("%s\n%s", err.text, json);
	return c;
}

static inline struct weir_card *card_with(const char *models)
{
	return card_of("", models);
}

static inline int64_t nano(const char *text)
{
	int64_t n;

	assert_int_equal(weir_money_parse(text, &n), 0);
	return n;
}

/* Of nothing else anything is known. */
static inline struct weir_quantities tokens(int64_t input, int64_t cache_read, int64_t cache_write,
					    int64_t output, int64_t reasoning)
{
	return (struct weir_quantities){ .of = { input, cache_read, cache_write, U, U, output,
						 reasoning, 1, U, 0, U } };
}

static inline struct weir_quantities none_but(enum weir_dimension d, int64_t quantity)
{
	struct weir_quantities q = { .of = { U, U, U, U, U, U, U, U, U, U, U } };

	q.of[d] = quantity;
	return q;
}

static inline struct weir_charge charged(const struct weir_card *c, uint32_t entry,
					 struct weir_quantities q, const int64_t *positions)
{
	struct weir_charge charge;

	assert_int_equal(weir_card_charge(c, entry, 0, &q, positions, &charge), 0);
	return charge;
}

/* By the first entry of a card of these, with all counters at 0. */
static inline struct weir_charge charge_of(const char *models, struct weir_quantities q)
{
	static const int64_t positions[WEIR_DIM_MAX];
	struct weir_card *c = card_with(models);
	struct weir_charge charge = charged(c, 0, q, positions);

	weir_card_free(c);
	return charge;
}

#endif
