/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entry of which card prices a request, as weir_cards_pick says, for whoever asks a
 * hundred thousand times a second: which cards are in force, and which of them are for a
 * tenant and a service, is found once and remembered. One thread's.
 */
#ifndef WEIR_PRICING_H
#define WEIR_PRICING_H

#include <stddef.h>
#include <stdint.h>

#include "price.h"
#include "util.h"

struct weir_pricing;

/* services: their names by number ([0] is nobody's), which must live as long as *out. */
int weir_pricing_new(const char *const *services, size_t n_services, struct weir_pricing **out,
		     struct weir_error *err);
void weir_pricing_free(struct weir_pricing *p); /* NULL is fine */

/* The cards that hold from now on, until the next call. serial: which policy they are of; when
 * it is the one of last time nothing is done. */
void weir_pricing_set(struct weir_pricing *p, struct weir_card *const *cards, size_t n,
		      uint64_t serial);

/* use->service is filled in. tenant: the number of use->tenant, which has use->tier. */
bool weir_pricing_pick(struct weir_pricing *p, uint32_t tenant, uint16_t service,
		       struct weir_use *use, struct weir_pick *out);

#endif
