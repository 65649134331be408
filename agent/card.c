/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate card from JSON: its fields, their bounds, fall-backs between dimensions
 * resolved once. What a request costs by it is price.c's.
 */
#include "card.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define PER_MAX	    1000000000
#define VERSION_MAX 63
#define MATCH_MAX   127
#define ENTRIES_MAX 10000

static const enum weir_dimension parents[WEIR_DIM_MAX] = {
	[WEIR_DIM_INPUT] = WEIR_DIM_INPUT,	 [WEIR_DIM_CACHE_READ] = WEIR_DIM_INPUT,
	[WEIR_DIM_CACHE_WRITE] = WEIR_DIM_INPUT, [WEIR_DIM_OUTPUT] = WEIR_DIM_OUTPUT,
	[WEIR_DIM_REASONING] = WEIR_DIM_OUTPUT,	 [WEIR_DIM_REQUEST] = WEIR_DIM_REQUEST,
};

static void no_rates(struct card_rates *r)
{
	r->per = 1;
	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		r->unit_nano[d] = 0;
		r->priced_as[d] = WEIR_DIM_MAX;
	}
}

static int read_rates(const struct weir_json *at, struct card_rates *rates, struct weir_error *err)
{
	const char *fields[WEIR_DIM_MAX + 2] = { NULL };
	struct weir_json child;
	bool any = false;
	int r;

	for (int d = 0; d < WEIR_DIM_MAX; d++)
		fields[d] = weir_dimension_names[d];
	fields[WEIR_DIM_MAX] = "per";
	no_rates(rates);
	r = weir_json_object(at, fields, err);
	if (!r && weir_json_get(at, "per", &child))
		r = weir_json_int(&child, 1, PER_MAX, &rates->per, err);
	for (int d = 0; d < WEIR_DIM_MAX && !r; d++) {
		if (!weir_json_get(at, weir_dimension_names[d], &child))
			continue;
		r = weir_json_decimal(&child, 0, INT64_MAX, &rates->unit_nano[d], err);
		rates->priced_as[d] = (uint8_t)d;
		any = true;
	}
	if (r)
		return r;
	if (!any)
		return weir_json_fail(at, err,
				      "prices nothing (a free model says \"input\": \"0\")");
	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		enum weir_dimension parent = parents[d];

		if (rates->priced_as[d] == d || rates->priced_as[parent] != parent)
			continue;
		rates->priced_as[d] = (uint8_t)parent;
		rates->unit_nano[d] = rates->unit_nano[parent];
	}
	return 0;
}

static int read_entry(const struct weir_json *at, struct card_entry *e, struct weir_error *err)
{
	static const char *const fields[] = { "match", "price", "cost", NULL };
	struct weir_json child;
	const char *match;
	int r = weir_json_object(at, fields, err);

	if (r)
		return r;
	if (!weir_json_get(at, "match", &child))
		return weir_json_fail(at, err, "has no \"match\"");
	r = weir_json_string(&child, MATCH_MAX, &match, err);
	if (r)
		return r;
	e->fallback = !strcmp(match, "default") || !strcmp(match, "*");
	e->literal = e->fallback ? 0 : strcspn(match, "*?");
	e->exact = !e->fallback && !match[e->literal];
	e->match = strdup(match);
	if (!e->match)
		return weir_fail(err, ENOMEM, "out of memory");

	if (!weir_json_get(at, "price", &child))
		return weir_json_fail(at, err, "has no \"price\"");
	r = read_rates(&child, &e->price, err);
	if (r)
		return r;
	if (weir_json_get(at, "cost", &child))
		return read_rates(&child, &e->cost, err);
	no_rates(&e->cost);
	return 0;
}

/* Most specific first: exact, longest literal prefix, as listed; the fall-back last. */
static int compare_rank(const void *pa, const void *pb, void *entries)
{
	uint32_t ia = *(const uint32_t *)pa, ib = *(const uint32_t *)pb;
	const struct card_entry *a = (struct card_entry *)entries + ia;
	const struct card_entry *b = (struct card_entry *)entries + ib;

	if (a->fallback != b->fallback)
		return a->fallback ? 1 : -1;
	if (a->exact != b->exact)
		return a->exact ? -1 : 1;
	if (a->literal != b->literal)
		return a->literal > b->literal ? -1 : 1;
	return ia < ib ? -1 : 1;
}

static int rank_entries(struct card_entry *entries, size_t n, struct weir_error *err)
{
	weir_autofree uint32_t *order = calloc(n, sizeof(*order));

	if (!order)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof(*order), compare_rank, entries);
	for (size_t i = 0; i < n; i++)
		entries[i].by_rank = order[i];
	return 0;
}

static int read_entries(const struct weir_json *at, struct weir_card *c, struct weir_error *err)
{
	size_t n = json_array_size(at->v);
	struct card_entry *entries = calloc(n, sizeof(*entries));
	struct weir_json item, match;
	int r;

	if (!entries)
		return weir_fail(err, ENOMEM, "out of memory");
	c->entries = entries;
	c->n_entries = n;
	for (size_t i = 0; i < n; i++) {
		item = weir_json_element(at, i);
		r = read_entry(&item, &entries[i], err);
		if (r)
			return r;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(entries[j].match, entries[i].match) ||
			    (entries[j].fallback && entries[i].fallback)) {
				weir_json_get(&item, "match", &match);
				return weir_json_refuse(&match, err,
							"matches what entry [%zu] does already", j);
			}
	}
	return rank_entries(entries, n, err);
}

/* Letters, digits, dot, dash, underscore: a version is quoted in invoices and paths. */
static int read_version(const struct weir_json *at, const char **out, struct weir_error *err)
{
	const char *text;
	int r = weir_json_string(at, VERSION_MAX, &text, err);

	if (r)
		return r;
	if (text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
		return weir_json_refuse(at, err, "is not a version of a-z A-Z 0-9 . _ -");
	*out = text;
	return 0;
}

static int read_effective(const struct weir_json *at, uint64_t *ns, struct weir_error *err)
{
	if (!json_is_string(at->v) || weir_time_parse(json_string_value(at->v), ns))
		return weir_json_refuse(
			at, err, "is not a time such as \"2026-11-01T00:00:00Z\" (RFC 3339)");
	return 0;
}

/* The text that is kept and hashed, so that the same card written in another order is
 * the same card. */
static int canonical(const struct weir_json *at, struct weir_card *c, struct weir_error *err)
{
	weir_autojson json_t *copy = json_copy(at->v);

	if (!copy || json_object_set_new(copy, "name", json_string(c->name)))
		return weir_fail(err, ENOMEM, "out of memory");
	c->json = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	if (!c->json)
		return weir_fail(err, ENOMEM, "out of memory");
	SHA256((const unsigned char *)c->json, strlen(c->json), c->sha256);
	return 0;
}

static void free_card(struct weir_card **c)
{
	weir_card_free(*c);
}

int weir_card_from(const struct weir_json *at, struct weir_card **out, struct weir_error *err)
{
	static const char *const fields[] = { "name", "version", "effective_from", "models", NULL };
	WEIR_CLEANUP(free_card) struct weir_card *c = calloc(1, sizeof(*c));
	const char *name = WEIR_CARD_NAME, *version = NULL;
	struct weir_json child;
	int r;

	if (!c)
		return weir_fail(err, ENOMEM, "out of memory");
	r = weir_json_object(at, fields, err);
	for (size_t i = 1; fields[i] && !r; i++)
		if (!json_object_get(at->v, fields[i]))
			return weir_json_fail(at, err, "has no \"%s\"", fields[i]);
	if (!r && weir_json_get(at, "name", &child))
		r = weir_json_name(&child, &name, err);
	if (!r && weir_json_get(at, "version", &child))
		r = read_version(&child, &version, err);
	if (!r && weir_json_get(at, "effective_from", &child))
		r = read_effective(&child, &c->effective_from_ns, err);
	if (r)
		return r;
	c->name = strdup(name);
	c->version = strdup(version);
	if (!c->name || !c->version)
		return weir_fail(err, ENOMEM, "out of memory");
	if (weir_json_get(at, "models", &child)) {
		r = weir_json_array(&child, 1, ENTRIES_MAX, err);
		if (!r)
			r = read_entries(&child, c, err);
	}
	if (!r)
		r = canonical(at, c, err);
	if (r)
		return r;
	*out = c;
	c = NULL;
	return 0;
}

int weir_card_parse(const char *json, const char *where, struct weir_card **out,
		    struct weir_error *err)
{
	weir_autojson json_t *v = NULL;
	struct weir_json root;
	int r = weir_json_parse(json, strlen(json), where, &v, err);

	if (r)
		return r;
	root = weir_json_root(v, where, true);
	return weir_card_from(&root, out, err);
}

void weir_card_free(struct weir_card *c)
{
	struct card_entry *entries;

	if (!c)
		return;
	entries = c->entries;
	for (size_t i = 0; entries && i < c->n_entries; i++)
		free(entries[i].match);
	free(entries);
	free((char *)c->name);
	free((char *)c->version);
	free(c->json);
	free(c);
}
