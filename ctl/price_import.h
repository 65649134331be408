/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LiteLLM's model_prices_and_context_window.json as a rate card. What its providers charge is
 * our cost, in their currency; what we charge is that and a markup. Every figure is taken
 * from the text, exactly. What a card cannot say is listed by model and field.
 */
#ifndef WEIR_PRICE_IMPORT_H
#define WEIR_PRICE_IMPORT_H

#include <jansson.h>
#include <stddef.h>

#include "agent/util.h"

/* All but provider and match must be there. */
struct price_import {
	const char *name, *version, *effective_from; /* of the card */
	const char *currency;			     /* "USD" */
	const char *credit_price;		     /* what a credit costs, in it: "0.01" */
	const char *markup;			     /* over cost: "0.4" */
	const char
		*provider; /* only of this litellm_provider; "P/" is taken off names; NULL: all */
	const char *match; /* only models that one of these globs, with commas between,
			    * matches; NULL: all */
};

struct price_imported {
	char *card;    /* a policy file with the card; the caller's to free */
	size_t models; /* looked at: of that provider, and matched */
	size_t entries;
	json_t *skipped; /* [{"model","field","why","imported"}]; imported: the rest of it is there
			  */
};

/* 0, or -EINVAL, -ENOENT (nothing to import), -ENOMEM; where: what errors call the text. */
int price_import(const char *text, size_t len, const char *where, const struct price_import *how,
		 struct price_imported *out, struct weir_error *err);
void price_imported_free(struct price_imported *p);

#endif
