/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl margin. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static void put_row(struct ctl_table *t, const json_t *row, const char *key, bool currency)
{
	static const char *const fields[] = { "requests", "meters", "unpriced", "price",
					      "refunds",  "cost",   "margin" };
	char text[CTL_CELL], more[2 * CTL_CELL] = "";
	const json_t *in;
	size_t i;

	if (key)
		ctl_table_cell(t, key);
	else
		ctl_table_field(t, row, "key");
	for (i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		ctl_table_field(t, row, fields[i]);
	ctl_table_field(t, row, "margin_percent");
	if (!currency)
		return;
	json_array_foreach(json_object_get(row, "currencies"), i, in)
	{
		size_t n = strlen(more);

		snprintf(more + n, sizeof(more) - n, "%s%s ", i ? ", " : "",
			 ctl_text(in, "margin", text));
		n = strlen(more);
		snprintf(more + n, sizeof(more) - n, "%s", ctl_text(in, "currency", text));
	}
	ctl_table_cell(t, more[0] ? more : "-");
}

static int show(const json_t *result)
{
	static const char *const names[] = { "KEY",	  ">REQUESTS",	 ">METERS", ">UNPRICED",
					     ">PRICE",	  ">REFUNDS",	 ">COST",   ">MARGIN",
					     ">MARGIN %", ">IN CURRENCY" };
	const json_t *total = json_object_get(result, "total"), *rows, *row;
	bool currency = json_array_size(json_object_get(total, "currencies"));
	struct ctl_table *t = ctl_table_new(currency ? 10 : 9, names);
	char by[CTL_CELL], from[CTL_CELL], to[CTL_CELL];
	size_t i;

	rows = json_object_get(result, "rows");
	ctl_text(result, "by", by);
	ctl_when(result, "until", to);
	printf("by %s, used from %s%s%s\n\n", by, ctl_when(result, "since", from),
	       strcmp(to, "-") ? " to " : " on", strcmp(to, "-") ? to : "");
	json_array_foreach(rows, i, row)
	{
		const char *key = json_string_value(json_object_get(row, "key"));

		put_row(t, row, key && *key ? NULL : "(none)", currency);
	}
	if (json_array_size(rows) > 1)
		put_row(t, total, "total", currency);
	ctl_table_print(t, "nothing was used");
	return CTL_DONE;
}

int ctl_margin(struct ctl *c)
{
	const char *since = ctl_value(c, "--since"), *until = ctl_value(c, "--until");
	char from[WEIR_TIME_TEXT], to[WEIR_TIME_TEXT];
	json_t *o, *result = NULL;
	int r;

	if (since && ctl_time("--since", since, -1, from))
		return CTL_USAGE;
	if (until && ctl_time("--until", until, -1, to))
		return CTL_USAGE;
	o = ctl_op(c, "margin");
	ctl_set(o, "by", ctl_value(c, "--by"));
	ctl_set(o, "since", since ? from : NULL);
	ctl_set(o, "until", until ? to : NULL);
	ctl_progress_ask(o);
	r = ctl_request(c, o, ctl_progress_item, NULL, &result);
	if (!r)
		r = c->json ? ctl_print_json(result) : show(result);
	json_decref(result);
	return r;
}
