/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl usage. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent/usage_by.h"
#include "ctl.h"

/* In the table's order. What is rare has a column only where there is some of it. */
static const struct column {
	const char *name, *field;
	bool rare;
} columns[] = {
	{ ">REQUESTS", "requests", false },
	{ ">METERS", "meters", true },
	{ ">REFUSED", "refused", true },
	{ ">INPUT", "input_tokens", false },
	{ ">CACHE READ", "cache_read_tokens", true },
	{ ">CACHE WRITE", "cache_write_tokens", true },
	{ ">AUDIO", "audio_tokens", true },
	{ ">IMAGE", "image_tokens", true },
	{ ">OUTPUT", "output_tokens", false },
	{ ">REASONING", "reasoning_tokens", true },
	{ ">ESTIMATED", "estimated", true },
	{ ">PARTIAL", "partial", true },
	{ ">DEGRADED", "degraded", true },
	{ ">UNJUDGED", "unjudged", true },
	{ ">UNBILLED", "unbilled", true },
	{ ">UNPRICED", "unpriced", true },
	{ ">PRICE", "price", false },
	{ ">REFUNDED", "refunded", true },
	{ ">COST", "cost", false },
};
#define COLUMNS (sizeof(columns) / sizeof(*columns))
#define MOST	(COLUMNS + 4) /* key, tenant, first, last */

static bool is_any(const json_t *v)
{
	return json_is_string(v) ? strcmp(json_string_value(v), "0") : json_integer_value(v) != 0;
}

static bool wanted(const struct column *c, const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		if (is_any(json_object_get(row, c->field)))
			return true;
	}
	return !c->rare;
}

static void put_row(struct ctl_table *t, const json_t *row, const char *key, bool session,
		    const bool *shown)
{
	char text[CTL_CELL];

	if (key)
		ctl_table_cell(t, key);
	else
		ctl_table_field(t, row, "key");
	if (session) {
		ctl_table_field(t, row, "tenant");
		ctl_table_cell(t, ctl_when(row, "first", text));
		ctl_table_cell(t, ctl_when(row, "last", text));
	}
	for (size_t i = 0; i < COLUMNS; i++) {
		if (shown[i])
			ctl_table_field(t, row, columns[i].field);
	}
}

/* "cost_center" is headed COST CENTER. */
static void heading(const char *by, char out[static CTL_CELL])
{
	size_t n = 0;

	for (; by[n] && n < CTL_CELL - 1; n++)
		out[n] = by[n] == '_' ? ' ' : (char)toupper((unsigned char)by[n]);
	out[n] = 0;
}

/* by: what the rows are of; total: of all rows, NULL: none is shown. */
static void print_rows(const json_t *rows, const char *by, const json_t *total)
{
	bool session = !strcmp(by, "session"), shown[COLUMNS];
	char first[CTL_CELL];
	const char *names[MOST] = { first };
	size_t n = 1, i;
	struct ctl_table *t;
	const json_t *row;

	heading(by, first);
	if (session) {
		names[n++] = "TENANT";
		names[n++] = "FIRST";
		names[n++] = "LAST";
	}
	for (i = 0; i < COLUMNS; i++) {
		shown[i] = wanted(&columns[i], rows);
		if (shown[i])
			names[n++] = columns[i].name;
	}
	t = ctl_table_new(n, names);
	json_array_foreach(rows, i, row)
	{
		put_row(t, row, NULL, session, shown);
	}
	if (total && json_array_size(rows) > 1)
		put_row(t, total, "total", session, shown);
	ctl_table_print(t, total ? "nothing was used" : "no usage");
}

static void print_walk(struct ctl *c, const json_t *rows, const json_t *result)
{
	char by[CTL_CELL], from[CTL_CELL], to[CTL_CELL];
	bool month = !ctl_value(c, "--since"), open = !ctl_value(c, "--until");

	ctl_text(result, "by", by);
	printf("by %s%s%s, used from %s%s%s%s\n\n", by, c->n_args ? ", of " : "",
	       c->n_args ? c->args[0] : "", ctl_when(result, "since", from), open ? " on" : " to ",
	       open ? "" : ctl_when(result, "until", to), month ? " (this month, UTC)" : "");
	print_rows(rows, by, json_object_get(result, "total"));
}

static int take_row(json_t *item, void *ctx)
{
	if (!ctl_progress(item) && json_array_append(ctx, item))
		return ctl_fail(CTL_REFUSED, "out of memory");
	return CTL_DONE;
}

static int check_by(const char *by)
{
	char all[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < WEIR_USAGE_KEY_MAX; i++) {
		if (!by || !strcmp(by, weir_usage_key_names[i]))
			return CTL_DONE;
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s",
				      !i			    ? ""
				      : i + 1 == WEIR_USAGE_KEY_MAX ? " or "
								    : ", ",
				      weir_usage_key_names[i]);
	}
	return ctl_fail(CTL_USAGE, "--by: \"%.64s\": usage is shown by %s", by, all);
}

int ctl_usage(struct ctl *c)
{
	const char *since = ctl_value(c, "--since"), *until = ctl_value(c, "--until");
	char from[WEIR_TIME_TEXT], to[WEIR_TIME_TEXT];
	json_t *rows, *result = NULL, *o;
	int r = check_by(ctl_value(c, "--by"));

	if (!r && since)
		r = ctl_time("--since", since, -1, from);
	if (!r && until)
		r = ctl_time("--until", until, -1, to);
	if (r)
		return r;
	rows = json_array();
	o = ctl_op(c, "usage");
	ctl_set(o, "by", ctl_value(c, "--by"));
	ctl_set(o, "since", since ? from : NULL);
	ctl_set(o, "until", until ? to : NULL);
	ctl_progress_ask(o);
	r = ctl_request(c, o, take_row, rows, &result);
	/* Of tenants, of all time, they are the result; of a walk they came one by one. */
	if (!r && c->json)
		r = ctl_print_json(json_is_array(result) ? result : rows);
	else if (!r && json_is_array(result))
		print_rows(result, "tenant", NULL);
	else if (!r)
		print_walk(c, rows, result);
	json_decref(result);
	json_decref(rows);
	return r;
}
