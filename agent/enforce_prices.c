// SPDX-License-Identifier: Apache-2.0
#include "enforce_prices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suggest.h"
#include "util.h"

/* -- which cards */

/* The newest version that the policy has of a name begins here. */
static uint64_t newest_of(const struct weir_policy *p, const char *name)
{
	uint64_t newest_ns = 0;

	for (size_t i = 0; i < p->n_cards; i++)
		if (!strcmp(p->cards[i]->name, name) && p->cards[i]->effective_from_ns > newest_ns)
			newest_ns = p->cards[i]->effective_from_ns;
	return newest_ns;
}

int weir_cards_load(const struct weir_policy *p, struct weir_ledger *l, struct weir_card ***out,
		    size_t *n_out, struct weir_error *err)
{
	weir_autofree const char **names = calloc(p->n_cards + 1, sizeof(*names));
	struct weir_card **v;
	size_t n, n_names = 0, kept = 0;
	int r;

	if (!names)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < p->n_cards; i++) {
		size_t j = 0;

		while (j < n_names && strcmp(names[j], p->cards[i]->name) != 0)
			j++;
		if (j == n_names)
			names[n_names++] = p->cards[i]->name;
	}
	r = weir_ledger_cards_of(l, names, n_names, &v, &n, err);
	if (r)
		return r;
	for (size_t i = 0; i < n; i++)
		if (v[i]->effective_from_ns <= newest_of(p, v[i]->name))
			v[kept++] = v[i];
		else
			weir_card_free(v[i]);
	*out = v;
	*n_out = kept;
	return 0;
}

/* -- reservations */

static bool is_service(const struct weir_config_service *services, size_t n, const char *name,
		       struct weir_suggest *near)
{
	weir_suggest_init(near, name);
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(services[i].name, name))
			return true;
		weir_suggest_offer(near, services[i].name);
	}
	return false;
}

/* Might it price a request here? One for services that are all elsewhere does not. */
static bool is_for_us(const struct weir_card *c, const struct weir_agent_config *cfg)
{
	struct weir_suggest near;

	if (c->scope != WEIR_SCOPE_SERVICE)
		return true;
	for (const char *const *s = c->scope_names; s && *s; s++)
		if (is_service(cfg->services, cfg->n_services, *s, &near))
			return true;
	return false;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Also what the cards of these ask, of who uses them. Whatever the service: who may ask of
 * one may ask of another, and the reservation must do for all. */
static int raise_by(const struct weir_prices *v, const struct weir_use *use,
		    struct weir_reserve_price *price)
{
	struct weir_card *const *cards = v->policy->cards;
	size_t n = v->policy->n_cards;
	weir_autofree const struct weir_card **found = calloc(n + 1, sizeof(*found));
	struct weir_reserve_price one;
	size_t n_found;

	if (!found)
		return -ENOMEM;
	n_found = weir_cards_for(cards, n, use, found, n);
	for (size_t i = 0; i < n_found; i++) {
		if (!is_for_us(found[i], v->cfg))
			continue;
		weir_card_reserve_price(found[i], weir_card_discount(found[i], use->tier), &one);
		price->input_nano = larger(price->input_nano, one.input_nano);
		price->output_nano = larger(price->output_nano, one.output_nano);
		price->request_nano = larger(price->request_nano, one.request_nano);
	}
	return 0;
}

static int by_name(const void *name, const void *at)
{
	return strcmp(name, *(const char *const *)at);
}

static int compare_name(const void *a, const void *b)
{
	return by_name(*(const char *const *)a, b);
}

/* Tenants that a card names: of a million, few. */
static int list_own(struct weir_prices *v)
{
	const struct weir_policy *p = v->policy;
	size_t n = 0;

	for (int pass = 0; pass < 2; pass++) {
		if (pass)
			v->own = calloc(n + 1, sizeof(*v->own));
		if (pass && !v->own)
			return -ENOMEM;
		for (size_t i = 0; i < p->n_cards; i++) {
			if (p->cards[i]->scope != WEIR_SCOPE_TENANT)
				continue;
			for (const char *const *s = p->cards[i]->scope_names; s && *s; s++) {
				n += !pass;
				if (pass)
					v->own[v->n_own++] = *s;
			}
		}
	}
	qsort(v->own, v->n_own, sizeof(*v->own), compare_name);
	return 0;
}

int weir_prices_make(const struct weir_policy *p, const struct weir_agent_config *cfg,
		     uint64_t at_ns, struct weir_prices *out)
{
	struct weir_prices v = { .policy = p, .cfg = cfg, .at_ns = at_ns };
	int r = list_own(&v);

	v.tiers = calloc(p->n_tiers + 1, sizeof(*v.tiers));
	if (!v.tiers)
		r = -ENOMEM;
	for (size_t i = 0; i < p->n_tiers && !r; i++) {
		const struct weir_use use = { .tier = p->tiers[i], .started_ns = at_ns };

		r = raise_by(&v, &use, &v.tiers[i]);
	}
	if (r)
		weir_prices_free(&v);
	else
		*out = v;
	return r;
}

void weir_prices_free(struct weir_prices *v)
{
	free(v->tiers);
	free(v->own);
	*v = (struct weir_prices){ 0 };
}

void weir_prices_of(const struct weir_prices *v, const struct weir_tenant_policy *t,
		    struct weir_reserve_price *out)
{
	const struct weir_use use = { .tenant = t->name, .tier = t->tier, .started_ns = v->at_ns };
	const char **tier = bsearch(t->tier, v->policy->tiers, v->policy->n_tiers,
				    sizeof(*v->policy->tiers), by_name);

	*out = v->tiers[tier - v->policy->tiers];
	/* All cards, not only its own: of a card's name the latest version is in force, whomever
	 * it is for. Without memory the others' prices hold, as if its card had no entries. */
	if (bsearch(t->name, v->own, v->n_own, sizeof(*v->own), by_name) && raise_by(v, &use, out))
		weir_log(WEIR_WARN, "tenant %s: out of memory: its rate card is not reserved by",
			 t->name);
}

/* -- warnings */

void weir_prices_warn(const struct weir_policy *p, const struct weir_agent_config *cfg)
{
	struct weir_suggest near;

	for (size_t i = 0; i < p->n_cards; i++) {
		const struct weir_card *c = p->cards[i];

		if (c->scope != WEIR_SCOPE_SERVICE)
			continue;
		for (const char *const *s = c->scope_names; s && *s; s++) {
			if (is_service(cfg->services, cfg->n_services, *s, &near))
				continue;
			weir_log(WEIR_WARN,
				 "policy: rate card \"%s\" version \"%s\" is for service \"%s\", "
				 "which agent.json does not have%s%s%s",
				 c->name, c->version, *s, near.best ? " (did you mean \"" : "",
				 near.best ? near.best : "",
				 near.best ? "\"?)" : ": it prices nothing there on this node");
		}
	}
}
