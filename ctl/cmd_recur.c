/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl credit recur, recur list, recur stop. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd_credit.h"

static int show_scheduled(struct ctl *c, const json_t *s)
{
	char amount[CTL_CELL], tenant[CTL_CELL], every[CTL_CELL], zone[CTL_CELL];

	printf("schedule #%" PRId64 ": %s credits every %s (%s) for %s", ctl_int(s, "seq"),
	       ctl_text(s, "amount", amount), ctl_text(s, "every", every),
	       ctl_text(s, "zone", zone), ctl_text(s, "tenant", tenant));
	return ctl_written(c, s);
}

int ctl_credit_recur(struct ctl *c)
{
	json_t *o;

	if (!ctl_value(c, "--every"))
		return ctl_fail(CTL_USAGE, "credit recur: needs --every: day, week or month");
	o = ctl_op(c, "credit.recur");
	if (ctl_write_terms(c, o) || ctl_write_time(c, o, "--starts", "starts")) {
		json_decref(o);
		return CTL_USAGE;
	}
	ctl_set(o, "amount", c->args[1]);
	ctl_set(o, "every", ctl_value(c, "--every"));
	ctl_set(o, "zone", ctl_value(c, "--zone"));
	ctl_set(o, "rollover_min", ctl_value(c, "--rollover-min"));
	ctl_set(o, "rollover_max", ctl_value(c, "--rollover-max"));
	return ctl_show(c, o, show_scheduled);
}

static void put_schedule(struct ctl_table *t, const json_t *s)
{
	char text[CTL_CELL], low[CTL_CELL], high[CTL_CELL];

	snprintf(text, sizeof(text), "#%" PRId64, ctl_int(s, "schedule_seq"));
	ctl_table_cell(t, text);
	ctl_table_field(t, s, "tenant");
	ctl_table_field(t, s, "amount");
	ctl_table_field(t, s, "every");
	ctl_table_field(t, s, "zone");
	snprintf(text, sizeof(text), "%.40s to %.40s", ctl_text(s, "rollover_min", low),
		 ctl_text(s, "rollover_max", high));
	ctl_table_cell(t, strcmp(high, "0") ? text : "-");
	ctl_table_cell(t, json_is_true(json_object_get(s, "stopped")) ? "stopped"
								      : ctl_when(s, "next", text));
}

static int collect(json_t *item, void *ctx)
{
	return json_array_append(ctx, item) ? ctl_fail(CTL_REFUSED, "out of memory") : CTL_DONE;
}

int ctl_credit_recur_list(struct ctl *c)
{
	static const char *const names[] = { "SCHEDULE", "TENANT",   ">AMOUNT", "EVERY",
					     "ZONE",	 "ROLLOVER", "NEXT" };
	json_t *all = json_array(), *s;
	struct ctl_table *t;
	size_t i;
	int r = ctl_request(c, ctl_op(c, "credit.schedules"), collect, all, NULL);

	if (!r && c->json) {
		r = ctl_print_json(all);
	} else if (!r) {
		t = ctl_table_new(7, names);
		json_array_foreach(all, i, s)
		{
			put_schedule(t, s);
		}
		ctl_table_print(t, "no schedules");
	}
	json_decref(all);
	return r;
}

static int show_stopped(struct ctl *c, const json_t *s)
{
	char tenant[CTL_CELL];

	printf("stopped schedule #%" PRId64 " of %s; what it has granted stays",
	       ctl_int(s, "schedule_seq"), ctl_text(s, "tenant", tenant));
	return ctl_written(c, s);
}

int ctl_credit_recur_stop(struct ctl *c)
{
	json_t *o = ctl_op(c, "credit.stop");

	ctl_set(o, "schedule", c->args[0]);
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	return ctl_show(c, o, show_stopped);
}
