/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl price list, show, unpriced. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static const char *state_words(const json_t *card)
{
	static const struct {
		const char *state, *words;
	} all[] = {
		{ "in_force", "in force" },
		{ "to_come", "to come" },
		{ "replaced", "replaced" },
		{ "not_in_files", "no longer in files" },
	};
	const char *state = json_string_value(json_object_get(card, "state"));

	for (size_t i = 0; state && i < sizeof(all) / sizeof(*all); i++) {
		if (!strcmp(all[i].state, state))
			return all[i].words;
	}
	return "-";
}

/* "tier pro, team" */
static const char *scope_words(const json_t *card, char out[static CTL_CELL])
{
	const json_t *names = json_object_get(card, "for"), *n;
	char one[CTL_CELL];
	size_t i;

	ctl_text(card, "scope", out);
	json_array_foreach(names, i, n) snprintf(out + strlen(out), CTL_CELL - strlen(out), "%s%s",
						 i ? ", " : " ", ctl_text(n, NULL, one));
	return out;
}

static int show_list(struct ctl *c, const json_t *cards)
{
	static const char *const names[] = { "CARD",	 "VERSION", "STATE",  "FOR",	"EFFECTIVE",
					     ">ENTRIES", "CREDIT",  ">FLOOR", "SHA-256" };
	struct ctl_table *t = ctl_table_new(9, names);
	char text[CTL_CELL], more[2 * CTL_CELL];
	const json_t *card;
	size_t i;

	json_array_foreach(cards, i, card)
	{
		ctl_table_field(t, card, "name");
		ctl_table_field(t, card, "version");
		ctl_table_cell(t, state_words(card));
		ctl_table_cell(t, scope_words(card, text));
		ctl_table_cell(t, ctl_when(card, "effective_from", text));
		ctl_table_field(t, card, "entries");
		if (json_is_string(json_object_get(card, "credit_price"))) {
			snprintf(more, sizeof(more), "%s ", ctl_text(card, "credit_price", text));
			strcat(more, ctl_text(card, "currency", text));
			ctl_table_cell(t, more);
		} else {
			ctl_table_cell(t, "-");
		}
		ctl_table_field(t, card, "margin_floor");
		snprintf(more, 13, "%s", ctl_text(card, "sha256", text));
		ctl_table_cell(t, more);
	}
	ctl_table_print(t, "no rate card");
	return CTL_DONE;
}

int ctl_price_list(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "price.list"), show_list);
}

/* ---------------------------------------------------------------------------- show */

/* One dimension's price: "0.5", or its steps: "0.005 to 1000000, then 0.004 (graduated)". */
static void put_price(const char *name, const json_t *price, char *out, size_t room)
{
	const json_t *steps = json_object_get(price, "steps"), *step;
	char text[CTL_CELL];
	size_t n = strlen(out), i;

	n += (size_t)snprintf(out + n, room - n, "%s%s ", n ? ", " : "", name);
	if (n >= room)
		return;
	if (!steps) {
		snprintf(out + n, room - n, "%s", ctl_text(price, NULL, text));
		return;
	}
	json_array_foreach(steps, i, step)
	{
		n += (size_t)snprintf(out + n, room - n, "%s%s", i ? ", then " : "",
				      ctl_text(step, "price", text));
		if (n < room && json_object_get(step, "up_to"))
			n += (size_t)snprintf(out + n, room - n, " to %s",
					      ctl_text(step, "up_to", text));
		if (n >= room)
			return;
	}
	snprintf(out + n, room - n, " (%s)", ctl_text(price, "mode", text));
}

static void put_prices(const json_t *prices, char *out, size_t room)
{
	const char *name;
	char text[CTL_CELL];
	json_t *v;
	size_t n;

	out[0] = 0;
	json_object_foreach((json_t *)prices, name, v)
	{
		if (strcmp(name, "per"))
			put_price(name, v, out, room);
	}
	n = strlen(out);
	v = json_object_get(prices, "per");
	if (json_is_integer(v) && json_integer_value(v) != 1 && n < room)
		snprintf(out + n, room - n, " per %s", ctl_text(v, NULL, text));
}

static void put_factors(const json_t *e, char *out, size_t room)
{
	const json_t *bands = json_object_get(e, "bands"), *b;
	char text[CTL_CELL];
	size_t n = 0, i;

	out[0] = 0;
	if (json_object_get(e, "markup"))
		n += (size_t)snprintf(out + n, room - n, "cost + %s of it ",
				      ctl_text(e, "markup", text));
	if (json_object_get(e, "multiplier"))
		n += (size_t)snprintf(out + n, room - n, "x %s ", ctl_text(e, "multiplier", text));
	json_array_foreach(bands, i, b)
	{
		if (n >= room)
			return;
		n += (size_t)snprintf(out + n, room - n, "%sx %s",
				      i ? ", " : "input: ", ctl_text(b, "multiplier", text));
		if (n < room && json_object_get(b, "up_to"))
			n += (size_t)snprintf(out + n, room - n, " to %s",
					      ctl_text(b, "up_to", text));
	}
}

static int show_card(struct ctl *c, const json_t *row)
{
	const json_t *card = json_object_get(row, "card"), *at;
	const json_t *models = json_object_get(card, "models");
	char a[CTL_CELL], b[CTL_CELL], text[512];
	const char *tier, *unit;
	json_t *v;
	size_t i;

	if (c->json)
		return ctl_print_json(card);
	printf("%s/%s: ", ctl_text(row, "name", a), ctl_text(row, "version", b));
	printf("%s, for %s, effective from %s\n", state_words(row), scope_words(row, a),
	       ctl_when(row, "effective_from", b));
	if (json_is_string(json_object_get(row, "credit_price")))
		printf("a credit is %s %s\n", ctl_text(row, "credit_price", a),
		       ctl_text(row, "currency", b));
	if (json_is_string(json_object_get(row, "margin_floor")))
		printf("margin floor %s\n", ctl_text(row, "margin_floor", a));
	json_object_foreach(json_object_get(card, "discounts"), tier, v)
		printf("tier %s has %s off\n", tier, ctl_text(v, NULL, a));
	ctl_text(card, "cost_unit", a);
	unit = strcmp(a, "currency") ? "" : ctl_text(row, "currency", b);
	printf("sha-256 %s\n\ntried in this order:\n", ctl_text(row, "sha256", a));
	json_array_foreach(json_object_get(row, "entries"), i, at)
	{
		const json_t *e = json_array_get(models, (size_t)ctl_int(at, "entry"));

		printf("%4zu  entry %" PRId64 "  %s\n", i + 1, ctl_int(at, "entry"),
		       ctl_text(at, "key", a));
		if (json_object_get(e, "unit"))
			printf("      bills    one %s\n", ctl_text(e, "unit", a));
		if (json_object_get(e, "price")) {
			put_prices(json_object_get(e, "price"), text, sizeof(text));
			printf("      price    %s\n", text);
		}
		put_factors(e, text, sizeof(text));
		if (text[0])
			printf("      %s  %s\n",
			       json_object_get(e, "markup") ? "price  " : "factor ", text);
		if (json_object_get(e, "cost")) {
			put_prices(json_object_get(e, "cost"), text, sizeof(text));
			printf("      cost     %s%s%s\n", text, *unit ? ", in " : "", unit);
		}
	}
	return CTL_DONE;
}

int ctl_price_show(struct ctl *c)
{
	json_t *o = ctl_op(c, "price.show"), *row = NULL;
	int r;

	ctl_set(o, "card", c->args[0]);
	r = ctl_request(c, o, NULL, NULL, &row);
	if (!r)
		r = show_card(c, row);
	json_decref(row);
	return r;
}

/* ------------------------------------------------------------------------ unpriced */

static int show_unpriced(struct ctl *c, const json_t *rows)
{
	static const char *const names[] = {
		"METER", "MODEL", "SERVICE", ">TIMES", "FIRST", "LAST"
	};
	struct ctl_table *t = ctl_table_new(6, names);
	char text[CTL_CELL];
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *model = json_string_value(json_object_get(row, "model"));

		ctl_table_field(t, row, "meter");
		ctl_table_cell(t, model && *model		  ? model
				  : json_object_get(row, "meter") ? "-"
								  : "(none named)");
		ctl_table_field(t, row, "service");
		ctl_table_field(t, row, "count");
		ctl_table_cell(t, ctl_when(row, "first", text));
		ctl_table_cell(t, ctl_when(row, "last", text));
	}
	ctl_table_print(t, "all that was used has a price");
	return CTL_DONE;
}

int ctl_price_unpriced(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "price.unpriced"), show_unpriced);
}
