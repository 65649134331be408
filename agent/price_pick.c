/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which card prices something (ledger.md, 16), and what a card says of its entries. Pure.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"

/* ------------------------------------------------------------------ in force, for whom */

static const struct weir_card *later(const struct weir_card *c, struct weir_card *const *cards,
				     size_t n, uint64_t until_ns)
{
	for (size_t i = 0; i < n; i++)
		if (cards[i] != c && cards[i]->effective_from_ns <= until_ns &&
		    cards[i]->effective_from_ns > c->effective_from_ns &&
		    !strcmp(cards[i]->name, c->name))
			return cards[i];
	return NULL;
}

static int compare_name(const void *key, const void *name)
{
	return strcmp(key, *(const char *const *)name);
}

static bool is_for(const struct weir_card *c, const char *name)
{
	const struct card_entries *e = c->entries;

	return name && name[0] &&
	       bsearch(name, c->scope_names, e->n_scope, sizeof(name), compare_name);
}

static bool covers(const struct weir_card *c, const struct weir_use *use)
{
	switch (c->scope) {
	case WEIR_SCOPE_TENANT:
		return is_for(c, use->tenant);
	case WEIR_SCOPE_TIER:
		return is_for(c, use->tier);
	case WEIR_SCOPE_SERVICE:
		return is_for(c, use->service);
	default:
		return true;
	}
}

static bool in_force(const struct weir_card *c, struct weir_card *const *cards, size_t n,
		     uint64_t at_ns)
{
	return c->effective_from_ns <= at_ns && !later(c, cards, n, at_ns);
}

size_t weir_cards_in_force(struct weir_card *const *cards, size_t n, uint64_t at_ns,
			   struct weir_card **out)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		if (in_force(cards[i], cards, n, at_ns))
			out[found++] = cards[i];
	return found;
}

bool weir_cards_pick(struct weir_card *const *cards, size_t n, const struct weir_use *use,
		     struct weir_pick *out)
{
	for (int scope = WEIR_SCOPE_TENANT; scope >= WEIR_SCOPE_ALL; scope--)
		for (size_t i = 0; i < n; i++) {
			const struct weir_card *c = cards[i];
			int entry;

			if ((int)c->scope != scope || !covers(c, use) ||
			    !in_force(c, cards, n, use->started_ns))
				continue;
			entry = card_find(c, use);
			if (entry < 0)
				continue;
			*out = (struct weir_pick){ .card = c,
						   .entry = (uint32_t)entry,
						   .discount_milli =
							   weir_card_discount(c, use->tier) };
			return true;
		}
	return false;
}

/* ----------------------------------------------------------------- for a reservation */

/* Does it price every request that it is asked about? */
static bool prices_all(const struct weir_card *c)
{
	const struct card_entries *e = c->entries;

	for (uint32_t i = e->globs; i < e->meters; i++)
		if (!e->v[e->order[i]].model.glob)
			return true;
	return false;
}

size_t weir_cards_for(struct weir_card *const *cards, size_t n, const struct weir_use *use,
		      const struct weir_card **out, size_t max)
{
	bool any_service = !use->service, all = false;
	size_t found = 0;

	for (int scope = WEIR_SCOPE_TENANT; scope >= WEIR_SCOPE_ALL && !all; scope--)
		for (size_t i = 0; i < n && found < max; i++) {
			const struct weir_card *c = cards[i];
			bool one_of_many = scope == WEIR_SCOPE_SERVICE && any_service;

			if ((int)c->scope != scope || (!one_of_many && !covers(c, use)) ||
			    !in_force(c, cards, n, use->started_ns))
				continue;
			out[found++] = c;
			all = all || (!one_of_many && prices_all(c));
		}
	return found;
}

/* ---------------------------------------------------------------------------- check */

/* From when on it is not in force any more. */
static uint64_t ends_ns(const struct weir_card *c, struct weir_card *const *cards, size_t n)
{
	uint64_t end = UINT64_MAX;

	for (size_t i = 0; i < n; i++)
		if (cards[i]->effective_from_ns > c->effective_from_ns &&
		    cards[i]->effective_from_ns < end && !strcmp(cards[i]->name, c->name))
			end = cards[i]->effective_from_ns;
	return end;
}

/* For whom both are: a name, "" for all; NULL: for nobody. Names are sorted. */
static const char *both_for(const struct weir_card *a, const struct weir_card *b)
{
	const char *const *pa = a->scope_names, *const *pb = b->scope_names;

	if (a->scope != b->scope)
		return NULL;
	if (a->scope == WEIR_SCOPE_ALL)
		return "";
	while (*pa && *pb) {
		int order = strcmp(*pa, *pb);

		if (!order)
			return *pa;
		if (order < 0)
			pa++;
		else
			pb++;
	}
	return NULL;
}

static int check_two(const struct weir_card *a, const struct weir_card *b, struct weir_error *err)
{
	static const char *const whose[] = { "everybody", "service", "tier", "tenant" };
	const char *name = both_for(a, b);

	if (!name)
		return 0;
	return weir_fail(err, EINVAL,
			 "rate_cards: \"%s\" %s and \"%s\" %s are both for %s%s%s%s at one time: "
			 "take it out of one of them",
			 a->name, a->version, b->name, b->version, whose[a->scope],
			 name[0] ? " \"" : "", name, name[0] ? "\"" : "");
}

int weir_cards_check(struct weir_card *const *cards, size_t n, struct weir_error *err)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t end = ends_ns(cards[i], cards, n);

		for (size_t j = 0; j < n; j++) {
			int r;

			/* j begins while i is in force; of two that begin at once, once. */
			if (cards[j]->effective_from_ns < cards[i]->effective_from_ns ||
			    cards[j]->effective_from_ns >= end ||
			    (cards[j]->effective_from_ns == cards[i]->effective_from_ns &&
			     j <= i) ||
			    !strcmp(cards[i]->name, cards[j]->name))
				continue;
			r = check_two(cards[i], cards[j], err);
			if (r)
				return r;
		}
	}
	return 0;
}

/* --------------------------------------------------------------------- what it says */

uint32_t weir_card_discount(const struct weir_card *c, const char *tier)
{
	const struct card_discounts *d = c->discounts;
	size_t low = 0, high = d->n;

	while (tier && low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(tier, d->v[middle].tier);

		if (!order)
			return d->v[middle].milli;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return 0;
}

bool weir_card_has_discount(const struct weir_card *c, uint32_t milli)
{
	const struct card_discounts *d = c->discounts;

	for (size_t i = 0; i < d->n; i++)
		if (d->v[i].milli == milli)
			return true;
	return !milli;
}

const char *weir_card_entry_key(const struct weir_card *c, uint32_t entry)
{
	return card_entry(c, entry)->key;
}

bool weir_card_has_session(const struct weir_card *c, uint32_t entry)
{
	const struct card_entry *e = card_entry(c, entry);

	return e->price.priced_as[WEIR_DIM_SESSION] != WEIR_DIM_MAX ||
	       e->cost.priced_as[WEIR_DIM_SESSION] != WEIR_DIM_MAX;
}

bool weir_card_names_path(const struct weir_card *c, uint32_t entry)
{
	return card_entry(c, entry)->path.glob;
}

bool weir_card_names_status(const struct weir_card *c, uint32_t entry)
{
	return card_entry(c, entry)->status;
}

const char *weir_card_unit(const struct weir_card *c, uint32_t entry)
{
	return card_entry(c, entry)->unit;
}

enum weir_steps weir_card_steps(const struct weir_card *c, uint32_t entry, enum weir_dimension d,
				const char **pool)
{
	const struct card_entry *e = card_entry(c, entry);

	if (pool)
		*pool = e->steps ? e->steps[d].pool : NULL;
	return e->steps ? e->steps[d].mode : WEIR_STEPS_NONE;
}

enum weir_dimension weir_card_priced_as(const struct weir_card *c, uint32_t entry,
					enum weir_dimension d)
{
	return (enum weir_dimension)card_entry(c, entry)->price.priced_as[d];
}
