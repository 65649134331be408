/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rate card from JSON: what holds for all of it, and its identity. Its entries
 * are card_entry.c's; what a thing costs by it is price.c's.
 */
#include "card.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "money.h"

#define VERSION_MAX	63
#define SCOPE_NAMES_MAX 10000
#define FLOOR_MIN	(-1000000 * WEIR_NANO)

int card_milli(const struct weir_json *at, int64_t min, int64_t max, int64_t *milli,
	       struct weir_error *err)
{
	int64_t nano;
	int r = weir_json_decimal(at, min, max, &nano, err);

	if (r)
		return r;
	if (nano % (WEIR_NANO / CARD_MILLI))
		return weir_json_refuse(at, err, "has more than three decimals");
	*milli = nano / (WEIR_NANO / CARD_MILLI);
	return 0;
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

/* ------------------------------------------------------------------------ scope */

static int compare_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int read_names(const struct weir_json *at, struct weir_card *c, struct weir_error *err)
{
	int r = weir_json_array(at, 1, SCOPE_NAMES_MAX, err);
	size_t n = json_array_size(at->v);
	struct card_entries *entries = c->entries;
	struct weir_json item;
	const char *name;
	char **names;

	if (r)
		return r;
	names = calloc(n + 1, sizeof(*names));
	if (!names)
		return weir_fail(err, ENOMEM, "out of memory");
	c->scope_names = (const char *const *)names;
	for (size_t i = 0; i < n; i++) {
		item = weir_json_element(at, i);
		r = weir_json_name(&item, &name, err);
		if (r)
			return r;
		names[i] = strdup(name);
		if (!names[i])
			return weir_fail(err, ENOMEM, "out of memory");
	}
	entries->n_scope = n;
	qsort(names, n, sizeof(*names), compare_name);
	for (size_t i = 1; i < n; i++)
		if (!strcmp(names[i - 1], names[i]))
			return weir_json_fail(at, err, "has \"%s\" twice", names[i]);
	return 0;
}

static int read_scope(const struct weir_json *at, struct weir_card *c, struct weir_error *err)
{
	static const struct {
		const char *field;
		enum weir_card_scope scope;
	} scopes[] = { { "tenants", WEIR_SCOPE_TENANT },
		       { "tiers", WEIR_SCOPE_TIER },
		       { "services", WEIR_SCOPE_SERVICE } };
	const char *seen = NULL;
	struct weir_json child;

	for (size_t i = 0; i < sizeof(scopes) / sizeof(*scopes); i++) {
		int r;

		if (!weir_json_get(at, scopes[i].field, &child))
			continue;
		if (seen)
			return weir_json_fail(&child, err,
					      "a card is for \"%s\" or \"%s\", not for both", seen,
					      scopes[i].field);
		seen = scopes[i].field;
		c->scope = scopes[i].scope;
		r = read_names(&child, c, err);
		if (r)
			return r;
	}
	return 0;
}

/* ------------------------------------------------------------------------ money */

static int read_currency(const struct weir_json *at, char out[static 4], struct weir_error *err)
{
	const char *text = json_string_value(at->v);

	if (!text || strlen(text) != 3 || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
		return weir_json_refuse(at, err, "is not a currency of three letters (\"USD\")");
	memcpy(out, text, 4);
	return 0;
}

static int read_money(const struct weir_json *at, struct weir_card *c, struct weir_error *err)
{
	static const char *const units[] = { "credit", "currency", NULL };
	struct card_entries *entries = c->entries;
	struct weir_json child;
	int r = 0, unit = 0;

	if (weir_json_get(at, "currency", &child))
		r = read_currency(&child, c->currency, err);
	if (!r && weir_json_get(at, "credit_price", &child)) {
		if (!c->currency[0])
			return weir_json_refuse(&child, err, "is of no \"currency\"");
		r = weir_json_decimal(&child, 1, INT64_MAX, &c->credit_price_nano, err);
	} else if (!r && c->currency[0]) {
		return weir_json_fail(at, err,
				      "has a \"currency\" and no \"credit_price\", which says what "
				      "a credit costs in it");
	}
	if (!r && weir_json_get(at, "cost_unit", &child)) {
		r = weir_json_choice(&child, units, &unit, err);
		if (!r && unit && !c->credit_price_nano)
			return weir_json_refuse(&child, err, "needs a \"credit_price\"");
	}
	entries->cost_in_currency = unit;
	c->margin_floor_milli = INT64_MIN;
	if (!r && weir_json_get(at, "margin_floor", &child))
		r = card_milli(&child, FLOOR_MIN, WEIR_NANO, &c->margin_floor_milli, err);
	return r;
}

static int compare_discount(const void *a, const void *b)
{
	return strcmp(((const struct card_discount *)a)->tier,
		      ((const struct card_discount *)b)->tier);
}

static int read_discounts(const struct weir_json *at, struct card_discounts *out,
			  struct weir_error *err)
{
	struct weir_json item;
	const char *tier;
	json_t *v;
	int r = weir_json_map(at, err);

	if (r)
		return r;
	out->v = calloc(json_object_size(at->v) + 1, sizeof(*out->v));
	if (!out->v)
		return weir_fail(err, ENOMEM, "out of memory");
	json_object_foreach(at->v, tier, v)
	{
		int64_t milli = 0;

		item = weir_json_member(at, tier, v);
		if (!weir_name_ok(tier))
			return weir_json_fail(&item, err, "is not the name of a tier");
		r = card_milli(&item, 0, WEIR_NANO, &milli, err);
		if (r)
			return r;
		out->v[out->n].milli = (uint32_t)milli;
		out->v[out->n].tier = strdup(tier);
		if (!out->v[out->n++].tier)
			return weir_fail(err, ENOMEM, "out of memory");
	}
	qsort(out->v, out->n, sizeof(*out->v), compare_discount);
	return 0;
}

/* ------------------------------------------------------------------------ whole */

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

static int read_identity(const struct weir_json *at, struct weir_card *c, struct weir_error *err)
{
	const char *name = WEIR_CARD_NAME, *version = NULL;
	struct weir_json child;
	int r = 0;

	if (weir_json_get(at, "name", &child))
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
	return 0;
}

static void free_card(struct weir_card **c)
{
	weir_card_free(*c);
}

int weir_card_from(const struct weir_json *at, struct weir_card **out, struct weir_error *err)
{
	static const char *const fields[] = { "version",   "effective_from", "models",
					      "name",	   "tenants",	     "tiers",
					      "services",  "currency",	     "credit_price",
					      "cost_unit", "margin_floor",   "discounts",
					      NULL };
	WEIR_CLEANUP(free_card) struct weir_card *c = calloc(1, sizeof(*c));
	struct weir_json child;
	int r;

	if (!c || !(c->entries = calloc(1, sizeof(struct card_entries))) ||
	    !(c->discounts = calloc(1, sizeof(struct card_discounts))))
		return weir_fail(err, ENOMEM, "out of memory");
	r = weir_json_object(at, fields, err);
	for (size_t i = 0; i < 3 && !r; i++) /* the first three must be there */
		if (!json_object_get(at->v, fields[i]))
			return weir_json_fail(at, err, "has no \"%s\"", fields[i]);
	if (!r)
		r = read_identity(at, c, err);
	if (!r)
		r = read_scope(at, c, err);
	if (!r)
		r = read_money(at, c, err);
	if (!r && weir_json_get(at, "discounts", &child))
		r = read_discounts(&child, c->discounts, err);
	if (!r && weir_json_get(at, "models", &child))
		r = card_entries_read(&child, c, err);
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
	struct card_discounts *discounts;

	if (!c)
		return;
	card_entries_free(c->entries, c->n_entries);
	discounts = c->discounts;
	for (size_t i = 0; discounts && i < discounts->n; i++)
		free(discounts->v[i].tier);
	if (discounts)
		free(discounts->v);
	free(discounts);
	for (size_t i = 0; c->scope_names && c->scope_names[i]; i++)
		free((char *)c->scope_names[i]);
	free((void *)c->scope_names);
	free((char *)c->name);
	free((char *)c->version);
	free(c->json);
	free(c);
}
