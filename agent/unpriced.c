// SPDX-License-Identifier: Apache-2.0
/*
 * Asks the cards for every tenant, but for tenants of one tier only once: where no card of a
 * tenant's own takes part, all of them get the same answer.
 */
#include "unpriced.h"

#include <string.h>

#include "price.h"

static bool has_card_of_its_own(const struct weir_policy *p, const char *tenant)
{
	for (size_t i = 0; i < p->n_cards; i++) {
		const char *const *name = p->cards[i]->scope_names;

		if (p->cards[i]->scope != WEIR_SCOPE_TENANT)
			continue;
		for (; name && *name; name++) {
			if (!strcmp(*name, tenant))
				return true;
		}
	}
	return false;
}

bool weir_unpriced_is_priced(const struct weir_policy *p, const char *what, const char *service,
			     uint64_t now_ns)
{
	bool meter = !strncmp(what, WEIR_UNPRICED_METER, strlen(WEIR_UNPRICED_METER));
	struct weir_use use = {
		.service = service,
		.model = meter ? NULL : what,
		.meter = meter ? what + strlen(WEIR_UNPRICED_METER) : NULL,
		.status = 200,
		.started_ns = now_ns,
	};
	const char *priced_tier = NULL;
	struct weir_pick pick;

	for (size_t i = 0; i < p->n_tenants; i++) {
		const struct weir_tenant_policy *t = &p->tenants[i];
		bool own = has_card_of_its_own(p, t->name);

		if (!own && priced_tier && !strcmp(priced_tier, t->tier))
			continue;
		use.tenant = t->name;
		use.tier = t->tier;
		if (!weir_cards_pick(p->cards, p->n_cards, &use, &pick))
			return false;
		if (!own)
			priced_tier = t->tier;
	}
	/* Nobody to ask for: then what is for all. */
	use.tenant = use.tier = NULL;
	return p->n_tenants || weir_cards_pick(p->cards, p->n_cards, &use, &pick);
}

const char *weir_unpriced_service(const char *const *services, size_t n, uint16_t number)
{
	return number < n ? services[number] : NULL;
}
