/* SPDX-License-Identifier: Apache-2.0 */
/* Within a rate card: reading what each dimension costs. For card_entry.c. */
#ifndef WEIR_CARD_RATES_H
#define WEIR_CARD_RATES_H

#include "card.h"

/* Nothing is charged. */
void card_rates_none(struct card_rates *r);

/* A "price" or a "cost" that has these fields only. steps: NULL where it may have none; else
 * *steps is NULL, and allocated if there are any, on errors too. */
int card_rates_read(const struct weir_json *at, const char *const *fields, struct card_rates *rates,
		    struct card_steps **steps, struct weir_error *err);
void card_steps_free(struct card_steps *steps);

#endif
