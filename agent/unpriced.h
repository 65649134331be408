/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was used and no card had a price for (table `unpriced`), against the cards that are in
 * force now: is it priced by now, for everybody?
 */
#ifndef WEIR_UNPRICED_H
#define WEIR_UNPRICED_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger_read.h"
#include "policy.h"

/* "meter:storage_gb" is a meter's name behind this; anything else a model's. */
#define WEIR_UNPRICED_METER "meter:"

/* Has every tenant of the policy a card in force at now_ns (wall) that prices it? Who used it
 * is not known: a card for one tenant is no price for the others. service: NULL: none. */
bool weir_unpriced_is_priced(const struct weir_policy *p, const char *what, const char *service,
			     uint64_t now_ns);

/* Name of a service by its number, NULL: it has none. */
const char *weir_unpriced_service(const char *const *services, size_t n, uint16_t number);

#endif
