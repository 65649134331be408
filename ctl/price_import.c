/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From LiteLLM's price file to a rate card. A model is one entry, matched by its exact name.
 * One whose main price a card cannot say (an image, a page, a second of audio) is left out
 * whole: then it is unpriced and alarmed, which is better than a price that is wrong.
 */
#include "price_import.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/money.h"
#include "agent/price.h"
#include "litellm.h"

#define MODEL_MAX 63 /* bytes of a model's name that a request keeps (agent/row.h) */
#define PER	  6  /* prices are per 10^6 tokens */

struct import {
	const struct price_import *how;
	struct price_imported *out;
	json_t *entries; /* by name */
	bool failed;	 /* out of memory */
};

/* ------------------------------------------------------------------------- entry */

/* One factor for all that a level costs more than the first one. */
static bool factor_of(const struct litellm_level *first, const struct litellm_level *l,
		      int64_t *milli)
{
	bool any = false;

	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		struct exact price = l->has[d] ? l->price[d] : first->price[d];
		int64_t f;

		if (!first->has[d] || !first->price[d].digits) {
			if (l->has[d] && price.digits)
				return false;
			continue;
		}
		if (exact_ratio_milli(price, first->price[d], &f) || (any && f != *milli))
			return false;
		*milli = f;
		any = true;
	}
	return any;
}

/* [{"up_to": 200000, "multiplier": "1"}, {"multiplier": "2"}]; NULL: there are none. */
static json_t *bands_of(struct litellm_model *of)
{
	json_t *bands;
	char text[WEIR_MONEY_TEXT];
	int64_t milli = 1000;

	if (of->n_levels < 2)
		return NULL;
	bands = json_array();
	for (size_t i = 0; i < of->n_levels; i++) {
		json_t *band = json_object();

		if (i && !factor_of(&of->levels[0], &of->levels[i], &milli)) {
			char field[48];

			snprintf(field, sizeof(field), "above %" PRIu64 " tokens",
				 of->levels[i].above);
			litellm_note(of, field,
				     "not all prices rise by the same factor: there it costs too "
				     "little");
			json_decref(band);
			json_decref(bands);
			return NULL;
		}
		weir_money_format(milli * (WEIR_NANO / 1000), text);
		if (i + 1 < of->n_levels)
			json_object_set_new(band, "up_to",
					    json_integer((json_int_t)of->levels[i + 1].above));
		json_object_set_new(band, "multiplier", json_string(text));
		json_array_append_new(bands, band);
	}
	litellm_note(of, "cost", "by context length raises the price, but not our cost");
	return bands;
}

static json_t *cost_of(struct litellm_model *of)
{
	const struct litellm_level *l = &of->levels[0];
	json_t *cost = json_object();
	char text[WEIR_MONEY_TEXT];
	int64_t nano;
	bool whole;

	for (int d = 0; d < WEIR_DIM_MAX; d++) {
		bool each = d == WEIR_DIM_REQUEST || d == WEIR_DIM_SECOND;

		if (!l->has[d])
			continue;
		if (exact_nano(l->price[d], each ? 0 : PER, &nano, &whole)) {
			litellm_leave_out(of, weir_dimension_names[d],
					  "is more than a card can say");
			continue;
		}
		if (!whole)
			litellm_note(of, weir_dimension_names[d],
				     each ? "was rounded to nine decimals"
					  : "was rounded to nine decimals per 1000000");
		weir_money_format(nano, text);
		json_object_set_new(cost, weir_dimension_names[d], json_string(text));
	}
	json_object_set_new(cost, "per", json_integer(1000000));
	return cost;
}

static void put_entry(struct import *m, struct litellm_model *of)
{
	const struct litellm_level *l = &of->levels[0];
	json_t *cost, *bands, *entry;

	if (!of->n_levels || l->above) {
		litellm_leave_out(of, "", "no price that a card can say");
		return;
	}
	if (litellm_is_text(of) && l->has[WEIR_DIM_INPUT] != l->has[WEIR_DIM_OUTPUT] &&
	    strcmp(of->mode, "embedding") && strcmp(of->mode, "moderation"))
		litellm_note(of, l->has[WEIR_DIM_INPUT] ? "output" : "input",
			     "has no price: it is free");
	cost = cost_of(of);
	bands = bands_of(of);
	entry = json_pack("{s:s,s:o,s:s}", "match", of->name, "cost", cost, "markup",
			  m->how->markup);
	if (entry && bands)
		json_object_set_new(entry, "bands", bands);
	if (of->left_out)
		json_decref(entry);
	else
		m->failed |= json_object_set_new(m->entries, of->name, entry) != 0;
}

/* ------------------------------------------------------------------------ models */

static bool wanted(const struct price_import *how, const char *name)
{
	weir_autofree char *globs = how->match ? strdup(how->match) : NULL;
	char *rest = globs;

	for (char *glob = strsep(&rest, ","); glob; glob = strsep(&rest, ",")) {
		if (weir_glob(glob, name))
			return true;
	}
	return !how->match;
}

static bool can_match(struct import *m, struct litellm_model *of)
{
	if (!of->name[0] || strlen(of->name) > MODEL_MAX)
		litellm_leave_out(of, "",
				  "its name is longer than 63 bytes: no request keeps so much");
	else if (strpbrk(of->name, "*?") || !strcmp(of->name, "default"))
		litellm_leave_out(of, "", "its name is a pattern");
	else if (json_object_get(m->entries, of->name))
		litellm_leave_out(of, "", "is there twice; the first was taken");
	return !of->left_out;
}

static void put_model(struct import *m, const char *name, json_t *o)
{
	const char *provider = json_string_value(json_object_get(o, "litellm_provider"));
	const char *mode = json_string_value(json_object_get(o, "mode"));
	const char *only = m->how->provider;
	struct litellm_model of = { .name = name,
				    .mode = mode ? mode : "",
				    .notes = m->out->skipped };
	size_t prefix = only ? strlen(only) : 0, noted = json_array_size(of.notes);

	if (!strcmp(name, "sample_spec") || (only && (!provider || strcmp(provider, only))))
		return;
	if (only && !strncmp(name, only, prefix) && name[prefix] == '/')
		of.name = name + prefix + 1;
	if (!wanted(m->how, of.name))
		return;
	m->out->models++;
	if (!json_is_object(o))
		litellm_leave_out(&of, "", "is not an object");
	else if (can_match(m, &of)) {
		litellm_read(&of, o);
		put_entry(m, &of);
	}
	m->failed |= of.failed;
	for (size_t i = noted; !of.left_out && i < json_array_size(of.notes); i++)
		json_object_set_new(json_array_get(of.notes, i), "imported", json_true());
}

/* -------------------------------------------------------------------------- card */

/* One entry a line, so that two versions can be compared by eye and by diff. */
static char *write_card(const struct price_import *how, json_t *entries, bool whole_file)
{
	const struct {
		const char *name, *value;
	} fields[] = {
		{ "name", how->name },
		{ "version", how->version },
		{ "effective_from", how->effective_from },
		{ "currency", how->currency },
		{ "credit_price", how->credit_price },
		{ "cost_unit", "currency" },
	};
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	const char *name, *comma = "";
	json_t *e;

	if (!f)
		return NULL;
	fputs(whole_file ? "{ \"rate_cards\": [\n" : "", f);
	fputs("{ ", f);
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		json_t *text = json_string(fields[i].value);

		fprintf(f, "\"%s\": ", fields[i].name);
		json_dumpf(text, f, JSON_ENCODE_ANY);
		fputs(",\n  ", f);
		json_decref(text);
	}
	fputs("\"models\": [", f);
	json_object_foreach(entries, name, e)
	{
		fprintf(f, "%s\n", comma);
		json_dumpf(e, f, 0);
		comma = ",";
	}
	fputs("\n] }", f);
	fputs(whole_file ? " ]\n}\n" : "", f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static int finish(struct import *m, const char *where, struct weir_error *err)
{
	weir_autofree char *card = NULL;
	struct weir_card *parsed = NULL;
	char name[96];
	int r;

	m->out->entries = json_object_size(m->entries);
	if (m->failed)
		return weir_fail(err, ENOMEM, "%s: out of memory", where);
	if (!m->out->entries)
		return weir_fail(err, ENOENT, "%s: no model that can be imported (of %zu)", where,
				 m->out->models);
	card = write_card(m->how, m->entries, false);
	m->out->card = write_card(m->how, m->entries, true);
	if (!card || !m->out->card)
		return weir_fail(err, ENOMEM, "%s: out of memory", where);
	/* By the reader that the agent has: what comes out is good, or it does not come out. */
	snprintf(name, sizeof(name), "card %.63s", m->how->name);
	r = weir_card_parse(card, name, &parsed, err);
	weir_card_free(parsed);
	return r;
}

void price_imported_free(struct price_imported *p)
{
	free(p->card);
	json_decref(p->skipped);
	*p = (struct price_imported){ NULL };
}

int price_import(const char *text, size_t len, const char *where, const struct price_import *how,
		 struct price_imported *out, struct weir_error *err)
{
	struct price_imported done = { .skipped = json_array() };
	struct import m = { .how = how, .out = &done, .entries = json_object() };
	json_error_t e;
	size_t n = 0;
	weir_autofree char *quoted = exact_quote_numbers(text, len, &n);
	json_t *all = quoted ? json_loadb(quoted, n, JSON_REJECT_DUPLICATES, &e) : NULL, *o;
	const char *name;
	int r;

	if (!quoted || !done.skipped || !m.entries)
		r = weir_fail(err, ENOMEM, "%s: out of memory", where);
	else if (!json_is_object(all))
		r = weir_fail(err, EINVAL, "%s: line %d: %s", where, all ? 1 : e.line,
			      all ? "not an object of models" : e.text);
	else {
		json_object_foreach(all, name, o) put_model(&m, name, o);
		r = finish(&m, where, err);
	}
	json_decref(all);
	json_decref(m.entries);
	if (r) {
		price_imported_free(&done);
		return r;
	}
	*out = done;
	return 0;
}
