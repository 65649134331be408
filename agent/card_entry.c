/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a rate card from JSON: what has to match, and what it costs then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"
#include "card_rates.h"
#include "money.h"

#define ENTRIES_MAX  10000
#define MATCH_MAX    127
#define ROW_PATH_MAX 62 /* of a row's path one byte more is kept: what is cut fits no exact one */
#define METER_MAX    47
#define KEY_MAX	     255 /* only one full of blanks is longer */
#define BANDS_MAX    32
#define BAND_MAX     INT64_C(1000000000000000)
/* The product of two such, and of a discount, in 1e-9, is far from the end of int64. */
#define FACTOR_MAX (10000 * WEIR_NANO)

/* A counter is known by owner or pool, card, conditions and dimension (ledger.md, 20), a
 * session by card, conditions and its id. */
_Static_assert(KEY_MAX + 3 * WEIR_NAME_BYTES + 32 < WEIR_COUNTER_TEXT, "a counter's name");
_Static_assert(ROW_PATH_MAX + 2 <= sizeof(((struct weir_row *)0)->path), "an exact path");

/* ------------------------------------------------------------------- conditions */

static int read_glob(const struct weir_json *at, size_t max, struct card_condition *out,
		     struct weir_error *err)
{
	const char *text;
	int r = weir_json_string(at, max, &text, err);

	if (r)
		return r;
	out->literal = strcspn(text, "*?");
	out->exact = !text[out->literal];
	out->glob = strdup(text);
	return out->glob ? 0 : weir_fail(err, ENOMEM, "out of memory");
}

/* "default" and "*" are no condition: they hold for a model that nobody named, too. */
static int read_match(const struct weir_json *at, struct card_condition *out,
		      struct weir_error *err)
{
	const char *text = json_string_value(at->v);

	if (text && (!strcmp(text, "default") || !strcmp(text, "*")))
		return 0;
	return read_glob(at, MATCH_MAX, out, err);
}

static int read_path(const struct weir_json *at, struct card_condition *out, struct weir_error *err)
{
	int r = read_glob(at, ROW_PATH_MAX, out, err);

	if (!r && out->glob[0] != '/' && out->glob[0] != '*' && out->glob[0] != '?')
		return weir_json_refuse(at, err, "does not begin with \"/\", as every path does");
	return r;
}

static int read_status(const struct weir_json *at, uint16_t *out, struct weir_error *err)
{
	static const char *const hundreds[] = { "2xx", "3xx", "4xx", "5xx", NULL };
	int64_t status;
	int r, hundred;

	if (json_is_string(at->v)) {
		r = weir_json_choice(at, hundreds, &hundred, err);
		status = hundred + 2;
	} else {
		r = weir_json_int(at, 200, 599, &status, err);
	}
	if (!r)
		*out = (uint16_t)status;
	return r;
}

static int read_name(const struct weir_json *at, size_t max, char **out, struct weir_error *err)
{
	const char *name;
	int r = weir_json_name(at, &name, err);

	if (!r && strlen(name) > max)
		return weir_json_refuse(at, err, "is longer than %zu bytes", max);
	if (r)
		return r;
	*out = strdup(name);
	return *out ? 0 : weir_fail(err, ENOMEM, "out of memory");
}

/* " name=text" with nothing in it that could be taken for the next condition, or for what
 * stands beside it in the name of a counter or a session. */
static void put_key(FILE *f, const char *name, const char *text)
{
	fprintf(f, "%s%s=", ftell(f) ? " " : "", name);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == '\\' || *p == '|')
			fprintf(f, "\\x%02x", (unsigned char)*p);
		else
			fputc(*p, f);
}

static int make_key(const struct weir_json *at, struct card_entry *e, struct weir_error *err)
{
	char status[8];
	size_t size;
	FILE *f = open_memstream(&e->key, &size);
	bool bad;

	if (!f)
		return weir_fail(err, ENOMEM, "out of memory");
	if (e->model.glob)
		put_key(f, "match", e->model.glob);
	else if (!e->path.glob && !e->meter)
		put_key(f, "match", "default");
	if (e->path.glob)
		put_key(f, "path", e->path.glob);
	if (e->status) {
		snprintf(status, sizeof(status), e->status < 200 ? "%uxx" : "%u", e->status);
		put_key(f, "status", status);
	}
	if (e->meter)
		put_key(f, "meter", e->meter);
	bad = ferror(f);
	if (fclose(f) || bad)
		return weir_fail(err, ENOMEM, "out of memory");
	if (size > KEY_MAX)
		return weir_json_fail(at, err,
				      "its conditions are %zu bytes long as one text, "
				      "%d at most may be",
				      size, KEY_MAX);
	return 0;
}

static int read_conditions(const struct weir_json *at, struct card_entry *e, struct weir_error *err)
{
	static const char *const not_of_meters[] = { "path", "status", "unit", "bands" };
	struct weir_json match, path, meter, child;
	bool has_match = weir_json_get(at, "match", &match);
	bool has_path = weir_json_get(at, "path", &path);
	bool has_meter = weir_json_get(at, "meter", &meter);
	int r = 0;

	if (!has_match && !has_path && !has_meter)
		return weir_json_fail(at, err, "has no \"match\", \"path\" or \"meter\"");
	if (has_match)
		r = read_match(&match, &e->model, err);
	if (!r && has_path)
		r = read_path(&path, &e->path, err);
	if (!r && weir_json_get(at, "status", &child))
		r = read_status(&child, &e->status, err);
	if (!r && has_meter)
		r = read_name(&meter, METER_MAX, &e->meter, err);
	for (size_t i = 0; i < 4 && has_meter && !r; i++)
		if (weir_json_get(at, not_of_meters[i], &child))
			r = weir_json_fail(&child, err,
					   "an entry with \"meter\" has none: it is "
					   "about no request");
	if (!r && weir_json_get(at, "unit", &child)) {
		if (!has_path)
			return weir_json_refuse(&child, err,
						"needs a \"path\": which answers are one");
		r = read_name(&child, WEIR_NAME_BYTES - 1, &e->unit, err);
	}
	return r ? r : make_key(at, e, err);
}

/* ---------------------------------------------------------------------- factors */

static int read_bands(const struct weir_json *at, struct card_entry *e, struct weir_error *err)
{
	static const char *const fields[] = { "up_to", "multiplier", NULL };
	int r = weir_json_array(at, 1, BANDS_MAX, err);
	size_t n = json_array_size(at->v);

	if (r)
		return r;
	if (e->unit)
		return weir_json_fail(at, err,
				      "an entry with \"unit\" is priced whatever its "
				      "tokens");
	e->bands = calloc(n, sizeof(*e->bands));
	if (!e->bands)
		return weir_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		struct weir_json band = weir_json_element(at, i), child;
		int64_t milli;

		r = weir_json_object(&band, fields, err);
		if (r)
			return r;
		e->bands[i].up_to = INT64_MAX;
		if (weir_json_get(&band, "up_to", &child)) {
			if (i == n - 1)
				return weir_json_refuse(&child, err,
							"bounds the last band, which has to have "
							"no end");
			r = weir_json_int(&child, 1, BAND_MAX, &e->bands[i].up_to, err);
			if (!r && i && e->bands[i].up_to <= e->bands[i - 1].up_to)
				r = weir_json_refuse(&child, err,
						     "is not above the band before it");
		} else if (i != n - 1) {
			r = weir_json_fail(&band, err, "has no \"up_to\", and bands behind it");
		}
		if (r)
			return r;
		if (!weir_json_get(&band, "multiplier", &child))
			return weir_json_fail(&band, err, "has no \"multiplier\"");
		r = card_milli(&child, 0, FACTOR_MAX, &milli, err);
		if (r)
			return r;
		e->bands[i].milli = (uint32_t)milli;
	}
	e->n_bands = n;
	return 0;
}

static int read_factors(const struct weir_json *at, struct card_entry *e, struct weir_error *err)
{
	struct weir_json child;
	int64_t milli = CARD_MILLI;
	int r = 0;

	if (weir_json_get(at, "markup", &child)) {
		r = card_milli(&child, -WEIR_NANO, FACTOR_MAX - WEIR_NANO, &milli, err);
		milli += CARD_MILLI;
		if (!r && weir_json_get(at, "multiplier", &child))
			return weir_json_refuse(&child, err,
						"is beside a \"markup\": multiply it into that");
	} else if (weir_json_get(at, "multiplier", &child)) {
		r = card_milli(&child, 0, FACTOR_MAX, &milli, err);
	}
	e->milli = (uint32_t)milli;
	if (r || !weir_json_get(at, "bands", &child))
		return r;
	for (int d = 0; e->steps && d < WEIR_DIM_MAX; d++)
		if (e->steps[d].mode == WEIR_STEPS_VOLUME)
			return weir_json_fail(&child, err,
					      "stand beside steps by volume (%s): a month's "
					      "volume has no one band",
					      weir_dimension_names[d]);
	return read_bands(&child, e, err);
}

/* ------------------------------------------------------------------------ prices */

static const char *const of_requests[] = { "input",  "cache_read", "cache_write", "audio",
					   "image",  "output",	   "reasoning",	  "request",
					   "second", "session",	   "per",	  NULL };
static const char *const of_meters[] = { "unit", "per", NULL };
static const char *const of_units[] = { "request", NULL };

static int read_price(const struct weir_json *at, bool cost_in_currency, struct card_entry *e,
		      struct weir_error *err)
{
	const char *const *fields = e->meter ? of_meters : of_requests;
	struct weir_json price, markup, cost;
	bool has_price = weir_json_get(at, "price", &price);
	bool has_markup = weir_json_get(at, "markup", &markup);
	bool has_cost = weir_json_get(at, "cost", &cost);
	int r = 0;

	card_rates_none(&e->cost);
	if (!has_price && !has_markup)
		return weir_json_fail(at, err, "has no \"price\"");
	if (has_price && has_markup)
		return weir_json_refuse(&markup, err, "is beside a \"price\": say one of them");
	if (has_markup && !has_cost)
		return weir_json_refuse(&markup, err, "is over no \"cost\"");
	if (has_markup && e->unit)
		return weir_json_refuse(&markup, err,
					"is beside a \"unit\", which has a price per request");
	if (has_price)
		r = card_rates_read(&price, e->unit ? of_units : fields, &e->price, &e->steps, err);
	if (!r && has_cost)
		r = card_rates_read(&cost, fields, &e->cost, NULL, err);
	if (has_markup) {
		e->price = e->cost;
		e->in_currency = cost_in_currency;
	}
	return r;
}

static int read_entry(const struct weir_json *at, const struct weir_card *c, struct card_entry *e,
		      struct weir_error *err)
{
	static const char *const fields[] = { "match",	    "price", "cost", "path",
					      "status",	    "meter", "unit", "markup",
					      "multiplier", "bands", NULL };
	int r = weir_json_object(at, fields, err);

	if (!r)
		r = read_conditions(at, e, err);
	if (!r)
		r = read_price(at, ((const struct card_entries *)c->entries)->cost_in_currency, e,
			       err);
	return r ? r : read_factors(at, e, err);
}

int card_entries_read(const struct weir_json *at, struct weir_card *c, struct weir_error *err)
{
	struct card_entries *entries = c->entries;
	size_t n = json_array_size(at->v), first, second;
	struct weir_json item, match;
	int r = weir_json_array(at, 1, ENTRIES_MAX, err);

	if (r)
		return r;
	entries->v = calloc(n, sizeof(*entries->v));
	entries->order = calloc(n, sizeof(*entries->order));
	if (!entries->v || !entries->order)
		return weir_fail(err, ENOMEM, "out of memory");
	c->n_entries = n;
	for (size_t i = 0; i < n; i++) {
		item = weir_json_element(at, i);
		r = read_entry(&item, c, &entries->v[i], err);
		if (r)
			return r;
	}
	if (!card_entries_rank(entries, n, &first, &second)) {
		card_dearest(c, &entries->dearest);
		return 0;
	}
	item = weir_json_element(at, second);
	if (json_object_get(item.v, "path") || json_object_get(item.v, "status") ||
	    !weir_json_get(&item, "match", &match))
		return weir_json_fail(&item, err, "matches what entry [%zu] does already", first);
	return weir_json_refuse(&match, err, "matches what entry [%zu] does already", first);
}

void card_entries_free(struct card_entries *entries, size_t n)
{
	if (!entries)
		return;
	for (size_t i = 0; entries->v && i < n; i++) {
		struct card_entry *e = &entries->v[i];

		free(e->key);
		free(e->model.glob);
		free(e->path.glob);
		free(e->meter);
		free(e->unit);
		free(e->bands);
		card_steps_free(e->steps);
	}
	free(entries->v);
	free(entries->order);
	free(entries);
}
