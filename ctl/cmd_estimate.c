/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl price estimate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

/* An option's count into the request; the agent knows the bounds. */
static int set_count(struct ctl *c, json_t *o, const char *option, const char *field)
{
	const char *text = ctl_value(c, option);
	char *end = "";
	long long n = text ? strtoll(text, &end, 10) : 0;

	if (!text)
		return CTL_DONE;
	if (*end || n < 0)
		return ctl_fail(CTL_USAGE, "%s: \"%.64s\" is not a number of tokens", option, text);
	json_object_set_new(o, field, json_integer(n));
	return CTL_DONE;
}

static int make_request(struct ctl *c, json_t *o)
{
	static const struct {
		const char *option, *field;
	} counts[] = {
		{ "--input", "input" },		  { "--output", "output" },
		{ "--cache-read", "cache_read" }, { "--cache-write", "cache_write" },
		{ "--reasoning", "reasoning" },	  { "--audio", "audio" },
		{ "--image", "image" },
	};
	const char *when = ctl_value(c, "--at");
	char at[WEIR_TIME_TEXT];
	int r = CTL_DONE;

	if (!ctl_value(c, "--model") && !ctl_value(c, "--path"))
		return ctl_fail(CTL_USAGE, "price estimate: of what? give --model, or --path");
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts) && !r; i++)
		r = set_count(c, o, counts[i].option, counts[i].field);
	if (!r && when)
		r = ctl_time("--at", when, 1, at);
	ctl_set(o, "model", ctl_value(c, "--model"));
	ctl_set(o, "path", ctl_value(c, "--path"));
	ctl_set(o, "tenant", ctl_value(c, "--tenant"));
	ctl_set(o, "service", ctl_value(c, "--service"));
	ctl_set(o, "seconds", ctl_value(c, "--seconds"));
	ctl_set(o, "at", when ? at : NULL);
	if (ctl_value(c, "--session-begins"))
		json_object_set_new(o, "session_begins", json_true());
	return r;
}

static void show_lines(const json_t *e)
{
	static const char *const names[] = { "DIMENSION", "PRICED AS", ">QUANTITY", ">PRICE",
					     ">PER",	  ">FROM",     ">AMOUNT" };
	struct ctl_table *t = ctl_table_new(7, names);
	const json_t *l;
	size_t i;

	json_array_foreach(json_object_get(e, "lines"), i, l)
	{
		ctl_table_field(t, l, "dimension");
		ctl_table_field(t, l, "priced_as");
		ctl_table_field(t, l, "quantity");
		ctl_table_field(t, l, "unit_price");
		ctl_table_field(t, l, "per");
		ctl_table_field(t, l, "position");
		ctl_table_field(t, l, "amount");
	}
	ctl_table_print(t, "nothing is charged");
}

static void show_total(const json_t *e)
{
	const json_t *in = json_object_get(e, "in_currency");
	char a[CTL_CELL], b[CTL_CELL];

	ctl_text(e, "factor", a);
	if (strcmp(a, "1"))
		printf("\nfactor  %s", a);
	printf("\nprice   %s credits", ctl_text(e, "price", a));
	if (in)
		printf(" (%s %s)", ctl_text(in, "price", a), ctl_text(in, "currency", b));
	printf("\ncost    %s credits", ctl_text(e, "cost", a));
	if (in)
		printf(" (%s %s)", ctl_text(in, "cost", a), ctl_text(in, "currency", b));
	ctl_text(e, "margin_percent", a);
	printf("\nmargin  %s%s\n", a, strcmp(a, "-") ? " %" : "");
}

static void show_priced(const json_t *e)
{
	const json_t *card = json_object_get(e, "rate_card");
	char a[CTL_CELL], b[CTL_CELL];

	printf("priced by %s/%s, ", ctl_text(card, "name", a), ctl_text(card, "version", b));
	printf("entry %s (%s)\n", ctl_text(card, "entry", a), ctl_text(card, "key", b));
	ctl_text(e, "lines_in", a);
	printf("%s%s\n", strcmp(a, "credits") ? "lines in " : "", strcmp(a, "credits") ? a : "");
	show_lines(e);
	show_total(e);
}

int ctl_price_estimate(struct ctl *c)
{
	const char *model = ctl_value(c, "--model"), *path = ctl_value(c, "--path");
	json_t *o = ctl_op(c, "price.estimate"), *e = NULL;
	bool priced;
	int r = make_request(c, o);

	if (r) {
		json_decref(o);
		return r;
	}
	r = ctl_request(c, o, NULL, NULL, &e);
	if (r)
		return r;
	priced = json_is_true(json_object_get(e, "priced"));
	if (c->json)
		ctl_print_json(e);
	else if (priced)
		show_priced(e);
	json_decref(e);
	if (!priced)
		return ctl_fail(CTL_REFUSED, "%.128s: unpriced: no card in force then has a price",
				model ? model : path);
	return CTL_DONE;
}
