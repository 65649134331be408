/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy as a whole: the parts put together, checked against each other, kept
 * as long as someone holds it. It decides nothing about a request.
 */
#include "policy.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"
#include "policy_read.h"

/* What a policy owns beside the cards: everything its pointers lead to. */
struct storage {
	struct weir_arena arena;
	struct policy_tier *tiers;
};

/* ------------------------------------------------------------------------ tiers */

static int compare_tier(const void *a, const void *b)
{
	return strcmp(((const struct policy_tier *)a)->name, ((const struct policy_tier *)b)->name);
}

static int read_tiers(const struct policy_files *f, struct weir_policy *p, struct weir_error *err)
{
	struct storage *st = p->storage;
	size_t n = json_object_size(f->items[POLICY_TIERS]), i = 0;
	struct policy_place place;
	struct policy_tier *t;
	const char *name;
	json_t *v;
	int r;

	st->tiers = weir_arena_alloc(&st->arena, n, sizeof(*st->tiers));
	p->tiers = weir_arena_alloc(&st->arena, n, sizeof(*p->tiers));
	if (!st->tiers || !p->tiers)
		return weir_fail(err, ENOMEM, "out of memory");
	json_object_foreach(f->items[POLICY_TIERS], name, v)
	{
		t = &st->tiers[i++];
		if (!policy_place(f, POLICY_TIERS, name, &place))
			abort(); /* it is being listed */
		if (!weir_name_ok(name))
			return weir_json_fail(&place.item, err,
					      "\"%s\" is not a name of 1 to 63 of a-z 0-9 _ -",
					      name);
		t->name = weir_arena_text(&st->arena, name);
		if (!t->name)
			return weir_fail(err, ENOMEM, "out of memory");
		policy_limits_init(&t->limits);
		r = policy_limits_read(&place.item, &t->limits, err);
		if (!r)
			r = policy_scopes_read(&place.item, &st->arena, &t->scopes, err);
		if (r)
			return r;
	}
	qsort(st->tiers, n, sizeof(*st->tiers), compare_tier);
	for (i = 0; i < n; i++)
		p->tiers[i] = st->tiers[i].name;
	p->n_tiers = n;
	return 0;
}

/* ------------------------------------------------------------------ who is nobody */

static int read_top(const struct policy_files *f, struct weir_policy *p, struct weir_error *err)
{
	static const char *const words[] = { "refuse", "default", NULL };
	const struct weir_tenant_policy *t;
	struct policy_place place;
	const char *name;
	int unknown = 0, r;

	if (policy_place(f, POLICY_TOP, "default_tenant", &place) && !json_is_null(place.item.v)) {
		r = weir_json_name(&place.item, &name, err);
		if (r)
			return r;
		t = weir_policy_tenant(p, name);
		if (!t)
			return policy_no_tenant(p, &place.item, name, err);
		p->default_tenant = t->name;
	}
	if (!policy_place(f, POLICY_TOP, "unknown_key", &place))
		return 0;
	r = weir_json_choice(&place.item, words, &unknown, err);
	if (r)
		return r;
	if (unknown && !p->default_tenant)
		return weir_json_refuse(&place.item, err, "needs a \"default_tenant\"");
	p->unknown_key_default = unknown;
	return 0;
}

/* ------------------------------------------------------------------------- cards */

static int check_card(const struct weir_json *at, const struct weir_policy *p,
		      const struct weir_card *c, struct weir_error *err)
{
	struct weir_json child;

	for (size_t i = 0; i < p->n_cards; i++) {
		const struct weir_card *other = p->cards[i];

		if (strcmp(other->name, c->name) != 0)
			continue;
		if (!strcmp(other->version, c->version)) {
			weir_json_get(at, "version", &child);
			return weir_json_refuse(&child, err,
						"is a version of \"%s\" that is defined already",
						c->name);
		}
		if (other->effective_from_ns == c->effective_from_ns) {
			weir_json_get(at, "effective_from", &child);
			return weir_json_refuse(&child, err,
						"is when version \"%s\" takes effect too",
						other->version);
		}
	}
	return 0;
}

static int read_cards_of(const struct weir_json *at, struct weir_policy *p, struct weir_error *err)
{
	struct weir_card *c, **cards;
	struct weir_json item;
	int r = weir_json_array(at, 0, 1000, err);

	if (r)
		return r;
	cards = realloc(p->cards, (p->n_cards + json_array_size(at->v) + 1) * sizeof(*cards));
	if (!cards)
		return weir_fail(err, ENOMEM, "out of memory");
	p->cards = cards;
	for (size_t i = 0; i < json_array_size(at->v); i++) {
		item = weir_json_element(at, i);
		r = weir_card_from(&item, &c, err);
		if (r)
			return r;
		r = check_card(&item, p, c, err);
		if (r) {
			weir_card_free(c);
			return r;
		}
		p->cards[p->n_cards++] = c;
	}
	return 0;
}

/* No two instants of a name are equal; of two names, the order of the files holds. */
static int compare_card(const void *a, const void *b)
{
	const struct weir_card *ca = *(struct weir_card *const *)a;
	const struct weir_card *cb = *(struct weir_card *const *)b;

	if (ca->effective_from_ns != cb->effective_from_ns)
		return ca->effective_from_ns < cb->effective_from_ns ? -1 : 1;
	return strcmp(ca->name, cb->name);
}

static int read_cards(const struct policy_files *f, struct weir_policy *p, struct weir_error *err)
{
	struct weir_json root, at;
	int r = 0;

	for (size_t i = 0; i < f->n && !r; i++) {
		root = weir_json_root(f->documents[i], f->names[i], false);
		if (weir_json_get(&root, "rate_cards", &at))
			r = read_cards_of(&at, p, err);
	}
	if (!r && p->n_cards)
		qsort(p->cards, p->n_cards, sizeof(*p->cards), compare_card);
	return r ? r : weir_cards_check(p->cards, p->n_cards, err);
}

/* ---------------------------------------------------------------- whole and text */

/* The merged document: every top-level field is there, so that a reader need not know
 * the defaults. */
static int write_json(const struct policy_files *f, struct weir_policy *p, struct weir_error *err)
{
	weir_autojson json_t *cards = json_array(), *all = NULL;
	int r = cards ? 0 : -1;

	for (size_t i = 0; i < f->n && !r; i++) {
		json_t *some = json_object_get(f->documents[i], "rate_cards");

		if (some)
			r = json_array_extend(cards, some);
	}
	all = json_pack("{s:O, s:O, s:s?, s:s, s:O, s:O}", "tiers", f->items[POLICY_TIERS],
			"tenants", f->items[POLICY_TENANTS], "default_tenant", p->default_tenant,
			"unknown_key", p->unknown_key_default ? "default" : "refuse", "rate_cards",
			cards, "packs", f->items[POLICY_PACKS]);
	if (!r && all)
		p->json = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	return p->json ? 0 : weir_fail(err, ENOMEM, "out of memory");
}

static int read_all(const char *dir, struct weir_policy *p, struct weir_error *err)
{
	WEIR_CLEANUP(policy_files_free) struct policy_files f = { 0 };
	struct storage *st = p->storage;
	int r = policy_files_read(dir, &f, err);

	if (!r)
		r = read_tiers(&f, p, err);
	if (!r)
		r = policy_tenants_read(&f, st->tiers, &st->arena, p, err);
	if (!r)
		r = read_top(&f, p, err);
	if (!r)
		r = read_cards(&f, p, err);
	if (!r)
		r = policy_packs_read(&f, &st->arena, p, err);
	if (!r)
		r = write_json(&f, p, err);
	return r;
}

int weir_policy_load(const char *dir, struct weir_policy **out, struct weir_error *err)
{
	struct weir_policy *p = calloc(1, sizeof(*p));
	struct storage *st = calloc(1, sizeof(*st));
	static uint64_t serials;
	int r;

	if (!p || !st) {
		free(p);
		free(st);
		return weir_fail(err, ENOMEM, "out of memory");
	}
	p->storage = st;
	p->refs = 1;
	p->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
	r = read_all(dir, p, err);
	/* The trees of 10 k tenants are ten times the policy made of them: without this
	 * they stay in the heap as free memory for as long as the agent lives. */
	malloc_trim(0);
	if (r)
		weir_policy_unref(p);
	else
		*out = p;
	return r;
}

struct weir_policy *weir_policy_ref(struct weir_policy *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void weir_policy_unref(struct weir_policy *p)
{
	struct storage *st;

	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	st = p->storage;
	for (size_t i = 0; i < p->n_cards; i++)
		weir_card_free(p->cards[i]);
	free(p->cards);
	free(p->json);
	weir_arena_free(&st->arena);
	free(st);
	free(p);
}

static int compare_name(const void *name, const void *tenant)
{
	return strcmp(name, ((const struct weir_tenant_policy *)tenant)->name);
}

const struct weir_tenant_policy *weir_policy_tenant(const struct weir_policy *p, const char *name)
{
	return p->n_tenants
		       ? bsearch(name, p->tenants, p->n_tenants, sizeof(*p->tenants), compare_name)
		       : NULL;
}
