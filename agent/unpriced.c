// SPDX-License-Identifier: Apache-2.0
/*
 * Asks the cards once for each tier. What a tier's cards price, they price for all in it: a card
 * of a tenant's own comes first, but where it has no entry the next one is asked.
 */
#include "unpriced.h"

#include <stdio.h>
#include <string.h>

#include "price.h"

#define METER "meter:"

void weir_unpriced_split(const char *what, struct weir_unpriced_what *out)
{
	size_t n = 0;

	*out = (struct weir_unpriced_what){ .meter = "" };
	if (strncmp(what, METER, strlen(METER))) {
		snprintf(out->model, sizeof(out->model), "%s", what);
		return;
	}
	what += strlen(METER);
	n = strcspn(what, "/");
	snprintf(out->meter, sizeof(out->meter), "%.*s", (int)n, what);
	if (what[n])
		snprintf(out->model, sizeof(out->model), "%s", what + n + 1);
}

static bool prices(const struct weir_policy *p, struct weir_use *use, const char *tenant,
		   const char *tier)
{
	struct weir_pick pick;

	use->tenant = tenant;
	use->tier = tier;
	return weir_cards_pick(p->cards, p->n_cards, use, &pick);
}

/* Where the tier has no price, each of its tenants must have one of its own. */
static bool prices_each(const struct weir_policy *p, struct weir_use *use, const char *tier)
{
	for (size_t i = 0; i < p->n_tenants; i++) {
		if (!strcmp(p->tenants[i].tier, tier) && !prices(p, use, p->tenants[i].name, tier))
			return false;
	}
	return true;
}

bool weir_unpriced_is_priced(const struct weir_policy *p, const char *what, const char *service,
			     uint64_t now_ns)
{
	struct weir_unpriced_what of;
	struct weir_use use = {
		.service = service,
		.model = of.model,
		.status = 200,
		.started_ns = now_ns,
	};

	weir_unpriced_split(what, &of);
	use.meter = of.meter[0] ? of.meter : NULL;

	/* Nobody to ask for: then what is for all. */
	if (!p->n_tenants)
		return prices(p, &use, NULL, NULL);
	for (size_t i = 0; i < p->n_tiers; i++) {
		if (!prices(p, &use, NULL, p->tiers[i]) && !prices_each(p, &use, p->tiers[i]))
			return false;
	}
	return true;
}

const char *weir_unpriced_service(const char *const *services, size_t n, uint16_t number)
{
	return number < n ? services[number] : NULL;
}
