/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entry of a card something is priced by (ledger.md, 17). Entries are kept in the order
 * in which they are tried: first those that name a path or a status; then, from `exact`, models
 * by their whole name, sorted by it, so that thousands of them cost a dozen comparisons; from
 * `globs` the other models and the default; from `meters` what prices no request.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"
#include "util.h"

/* ---------------------------------------------------------------------- ranking */

static int compare_key(const void *pa, const void *pb, void *entries)
{
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
	int order = strcmp(((struct card_entry *)entries)[a].key,
			   ((struct card_entry *)entries)[b].key);

	return order ? order : a < b ? -1 : 1;
}

/* The one that says more first: exact, longest literal, none at all last. */
static int compare_condition(const struct card_condition *a, const struct card_condition *b)
{
	if (!a->glob != !b->glob)
		return a->glob ? -1 : 1;
	if (a->exact != b->exact)
		return a->exact ? -1 : 1;
	if (a->literal != b->literal)
		return a->literal > b->literal ? -1 : 1;
	return 0;
}

/* A number, a hundred, none. */
static int compare_status(uint16_t a, uint16_t b)
{
	int ra = a >= 200 ? 0 : a ? 1 : 2, rb = b >= 200 ? 0 : b ? 1 : 2;

	return ra - rb;
}

static bool model_only(const struct card_entry *e)
{
	return !e->path.glob && !e->status;
}

static int compare_rank(const void *pa, const void *pb, void *entries)
{
	uint32_t ia = *(const uint32_t *)pa, ib = *(const uint32_t *)pb;
	const struct card_entry *a = (struct card_entry *)entries + ia;
	const struct card_entry *b = (struct card_entry *)entries + ib;
	int order;

	if (!a->meter != !b->meter)
		return a->meter ? 1 : -1;
	order = compare_condition(&a->path, &b->path);
	if (!order)
		order = compare_status(a->status, b->status);
	if (order)
		return order;
	/* Of names that are equal to no other name any order will do. */
	if (!a->meter && model_only(a) && a->model.exact && b->model.exact)
		return strcmp(a->model.glob, b->model.glob);
	order = compare_condition(&a->model, &b->model);
	return order ? order : ia < ib ? -1 : 1;
}

int card_entries_rank(struct card_entries *e, size_t n, size_t *first, size_t *second)
{
	uint32_t at = 0;

	for (size_t i = 0; i < n; i++)
		e->order[i] = (uint32_t)i;
	qsort_r(e->order, n, sizeof(*e->order), compare_key, e->v);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(e->v[e->order[i - 1]].key, e->v[e->order[i]].key) != 0)
			continue;
		*first = e->order[i - 1];
		*second = e->order[i];
		return -EINVAL;
	}
	qsort_r(e->order, n, sizeof(*e->order), compare_rank, e->v);
	while (at < n && !e->v[e->order[at]].meter && !model_only(&e->v[e->order[at]]))
		at++;
	e->exact = at;
	while (at < n && !e->v[e->order[at]].meter && e->v[e->order[at]].model.exact)
		at++;
	e->globs = at;
	while (at < n && !e->v[e->order[at]].meter)
		at++;
	e->meters = at;
	return 0;
}

uint32_t weir_card_entry_at(const struct weir_card *c, size_t rank)
{
	return ((const struct card_entries *)c->entries)->order[rank];
}

/* ---------------------------------------------------------------------- finding */

static bool holds(const struct card_condition *c, const char *text)
{
	if (!c->glob)
		return true;
	if (!text || !text[0])
		return false;
	return c->exact ? !strcmp(c->glob, text) : weir_glob(c->glob, text);
}

static bool status_holds(uint16_t wanted, uint16_t status)
{
	return !wanted || wanted == status || (wanted < 200 && wanted == status / 100);
}

static int find_exact(const struct card_entries *e, const char *model)
{
	uint32_t low = e->exact, high = e->globs;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = strcmp(model, e->v[e->order[middle]].model.glob);

		if (!order)
			return (int)e->order[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}

static int find_meter(const struct card_entries *e, size_t n, const struct weir_use *use)
{
	for (size_t i = e->meters; i < n; i++) {
		const struct card_entry *entry = &e->v[e->order[i]];

		if (!strcmp(entry->meter, use->meter) && holds(&entry->model, use->model))
			return (int)e->order[i];
	}
	return -1;
}

int card_find(const struct weir_card *c, const struct weir_use *use)
{
	const struct card_entries *e = c->entries;
	int found;

	if (use->meter)
		return find_meter(e, c->n_entries, use);
	for (size_t i = 0; i < e->exact; i++) {
		const struct card_entry *entry = &e->v[e->order[i]];

		if (status_holds(entry->status, use->status) && holds(&entry->path, use->path) &&
		    holds(&entry->model, use->model))
			return (int)e->order[i];
	}
	found = use->model ? find_exact(e, use->model) : -1;
	if (found >= 0)
		return found;
	for (size_t i = e->globs; i < e->meters; i++)
		if (holds(&e->v[e->order[i]].model, use->model))
			return (int)e->order[i];
	return -1;
}
