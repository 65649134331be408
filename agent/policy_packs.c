/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credit packs: the catalogue that `credit sell` sells from. What a sale does is the
 * ledger's; here is what a pack may say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ledger_entry.h"
#include "policy_read.h"

#define DAYS_MAX 36500

static int read_amounts(const struct weir_json *at, struct weir_pack *p, struct weir_error *err)
{
	struct weir_json child;
	int64_t sum;
	int r;

	if (!weir_json_get(at, "amount", &child))
		return weir_json_fail(at, err, "has no \"amount\"");
	r = weir_json_decimal(&child, 1, INT64_MAX, &p->amount_nano, err);
	if (!r && weir_json_get(at, "bonus", &child)) {
		r = weir_json_decimal(&child, 0, INT64_MAX, &p->bonus_nano, err);
		if (!r && __builtin_add_overflow(p->amount_nano, p->bonus_nano, &sum))
			return weir_json_refuse(&child, err, "and \"amount\" together do not fit");
	}
	return r;
}

/* ISO 4217's form; which of them are in use is not ours to know. */
static int read_currency(const struct weir_json *at, char out[static 4], struct weir_error *err)
{
	const char *text;
	int r = weir_json_string(at, 3, &text, err);

	if (r)
		return r;
	if (strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
		return weir_json_refuse(at, err, "is not three capital letters, as \"USD\"");
	memcpy(out, text, 4);
	return 0;
}

static int read_price(const struct weir_json *at, struct weir_pack *p, struct weir_error *err)
{
	struct weir_json price, currency;
	bool has_price = weir_json_get(at, "price", &price);
	bool has_currency = weir_json_get(at, "currency", &currency);
	int r = 0;

	if (has_price)
		r = weir_json_decimal(&price, 0, INT64_MAX, &p->price_nano, err);
	if (!r && has_currency)
		r = read_currency(&currency, p->currency, err);
	if (!r && has_price && !has_currency)
		return weir_json_refuse(&price, err, "needs a \"currency\"");
	return r;
}

static int read_terms(const struct weir_json *at, struct weir_pack *p, struct weir_error *err)
{
	static const char *const sources[] = { [WEIR_GRANT_PAID] = "paid",
					       [WEIR_GRANT_PROMO] = "promo",
					       [WEIR_GRANT_TRIAL] = "trial",
					       NULL };
	int source = WEIR_GRANT_PAID;
	int64_t days = 0, priority = 100;
	struct weir_json child;
	int r = 0;

	if (weir_json_get(at, "expires_days", &child) && !json_is_null(child.v))
		r = weir_json_int(&child, 1, DAYS_MAX, &days, err);
	if (!r && weir_json_get(at, "source", &child))
		r = weir_json_choice(&child, sources, &source, err);
	if (!r && weir_json_get(at, "priority", &child))
		r = weir_json_int(&child, 0, UINT8_MAX, &priority, err);
	p->expires_days = (uint32_t)days;
	p->source = (uint8_t)source;
	p->priority = (uint8_t)priority;
	return r;
}

static int read_pack(const struct weir_json *at, struct weir_arena *arena, struct weir_pack *p,
		     struct weir_error *err)
{
	static const char *const fields[] = { "amount",	      "bonus",	"price",    "currency",
					      "expires_days", "source", "priority", NULL };
	int r;

	if (!weir_name_ok(at->key))
		return weir_json_fail(at, err, "\"%s\" is not a name of 1 to 63 of a-z 0-9 _ -",
				      at->key);
	p->name = weir_arena_text(arena, at->key);
	if (!p->name)
		return weir_fail(err, ENOMEM, "out of memory");
	r = weir_json_object(at, fields, err);
	if (!r)
		r = read_amounts(at, p, err);
	if (!r)
		r = read_price(at, p, err);
	return r ? r : read_terms(at, p, err);
}

static int compare_pack(const void *a, const void *b)
{
	return strcmp(((const struct weir_pack *)a)->name, ((const struct weir_pack *)b)->name);
}

int policy_packs_read(const struct policy_files *f, struct weir_arena *arena, struct weir_policy *p,
		      struct weir_error *err)
{
	size_t n = json_object_size(f->items[POLICY_PACKS]), i = 0;
	struct policy_place place;
	const char *name;
	json_t *v;
	int r;

	p->packs = weir_arena_alloc(arena, n, sizeof(*p->packs));
	if (!p->packs)
		return weir_fail(err, ENOMEM, "out of memory");
	json_object_foreach(f->items[POLICY_PACKS], name, v)
	{
		if (!policy_place(f, POLICY_PACKS, name, &place))
			abort(); /* it is being listed */
		r = read_pack(&place.item, arena, &p->packs[i++], err);
		if (r)
			return r;
	}
	qsort(p->packs, n, sizeof(*p->packs), compare_pack);
	p->n_packs = n;
	return 0;
}

static int compare_name(const void *name, const void *pack)
{
	return strcmp(name, ((const struct weir_pack *)pack)->name);
}

const struct weir_pack *weir_policy_pack(const struct weir_policy *p, const char *name)
{
	return p->n_packs ? bsearch(name, p->packs, p->n_packs, sizeof(*p->packs), compare_name)
			  : NULL;
}
