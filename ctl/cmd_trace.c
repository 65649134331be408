/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl trace: one request on a screen; of several that have the id (a trace), one line each. */
#include <stdio.h>

#include "cmd_trace_text.h"
#include "ctl.h"

static void print_all(const json_t *items)
{
	static const char *const names[] = { "ADMITTED", "REQUEST", "TENANT", "MODEL",	">STATUS",
					     ">INPUT",	 ">OUTPUT", ">MS",    ">PRICE", "EVENT" };
	struct ctl_table *t = ctl_table_new(10, names);
	const json_t *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		const json_t *d = json_object_get(json_object_get(item, "event"), "data");
		const json_t *ms = json_object_get(d, "latency_ms");
		char text[CTL_CELL];

		ctl_table_cell(t, ctl_when_ms(json_object_get(item, "request"), "admitted", text));
		ctl_table_field(t, d, "request_id");
		ctl_table_field(t, d, "tenant");
		ctl_table_field(t, d, "model");
		ctl_table_field(t, d, "status");
		ctl_table_field(t, d, "input_tokens");
		ctl_table_field(t, d, "output_tokens");
		snprintf(text, sizeof(text), ms ? "%.1f" : "-", json_number_value(ms));
		ctl_table_cell(t, text);
		ctl_table_field(t, d, "price");
		ctl_table_field(t, json_object_get(item, "nats"), "state");
	}
	ctl_table_print(t, NULL);
}

static int take(json_t *item, void *ctx)
{
	if (!ctl_progress(item) && json_array_append(ctx, item))
		return ctl_fail(CTL_REFUSED, "out of memory");
	return CTL_DONE;
}

int ctl_trace(struct ctl *c)
{
	const char *since = ctl_value(c, "--since");
	json_t *items, *result = NULL, *o;
	char from[WEIR_TIME_TEXT];
	int r;

	if (since && ctl_time("--since", since, -1, from))
		return CTL_USAGE;
	o = ctl_op(c, "trace");
	ctl_set(o, "id", c->args[0]);
	ctl_set(o, "since", since ? from : NULL);
	ctl_progress_ask(o);
	items = json_array();
	r = ctl_request(c, o, take, items, &result);
	if (!r && c->json)
		r = ctl_print_json(items);
	else if (!r && json_array_size(items) == 1)
		ctl_trace_text(json_array_get(items, 0));
	else if (!r)
		print_all(items);
	if (!r && !c->json && json_is_true(json_object_get(result, "more")))
		printf("and more; --since narrows it\n");
	json_decref(result);
	json_decref(items);
	return r;
}
