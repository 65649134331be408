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

/* What table `unpriced` says: "meter:storage_gb" is a meter, "meter:gpu_seconds/a100" one of a
 * model; anything else is a model. Copied into the buffers; "": none. */
struct weir_unpriced_what {
	char meter[64], model[128];
};
void weir_unpriced_split(const char *what, struct weir_unpriced_what *out);

/* Has every tenant of the policy a card in force at now_ns (wall) that prices it? Who used it
 * is not known: a card for one tenant is no price for the others. service: NULL: none. */
bool weir_unpriced_is_priced(const struct weir_policy *p, const char *what, const char *service,
			     uint64_t now_ns);

/* Name of a service by its number, NULL: it has none. */
const char *weir_unpriced_service(const char *const *services, size_t n, uint16_t number);

#endif
