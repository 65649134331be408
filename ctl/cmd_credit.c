/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl credit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"

static int show_granted(struct ctl *c, const json_t *g)
{
	char amount[CTL_CELL], tenant[CTL_CELL], balance[CTL_CELL];

	printf("%s %s credits to %s; balance %s (entry %" PRId64 ")\n",
	       json_is_true(json_object_get(g, "repeated")) ? "had already granted" : "granted",
	       ctl_text(g, "amount", amount), ctl_text(g, "tenant", tenant),
	       ctl_text(g, "balance", balance), ctl_int(g, "seq"));
	if (c->id_made_up)
		printf("id %s\n", c->id);
	return CTL_DONE;
}

int ctl_credit_grant(struct ctl *c)
{
	const char *effective = ctl_value(c, "--effective"), *expires = ctl_value(c, "--expires");
	const char *priority = ctl_value(c, "--priority");
	char from[WEIR_TIME_TEXT], until[WEIR_TIME_TEXT], *end = "";
	long n = priority ? strtol(priority, &end, 10) : 0;
	json_t *o;

	if (*end || n < 0 || n > 255)
		return ctl_fail(CTL_USAGE, "--priority: \"%.64s\" is not a number from 0 to 255",
				priority);
	if (effective && ctl_time("--effective", effective, 1, from))
		return CTL_USAGE;
	if (expires && ctl_time("--expires", expires, 1, until))
		return CTL_USAGE;
	o = ctl_op(c, "credit.grant");
	ctl_set(o, "amount", c->args[1]);
	ctl_set(o, "source", ctl_value(c, "--source"));
	ctl_set(o, "effective", effective ? from : NULL);
	ctl_set(o, "expires", expires ? until : NULL);
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	if (priority)
		json_object_set_new(o, "priority", json_integer(n));
	return ctl_show(c, o, show_granted);
}

static int show_balance(struct ctl *c, const json_t *b)
{
	static const char *const names[] = { "GRANT",	  ">AMOUNT", ">REMAINING", ">PRIORITY",
					     "EFFECTIVE", "EXPIRES", "SOURCE" };
	struct ctl_table *t = ctl_table_new(7, names);
	char text[CTL_CELL];
	const json_t *g;
	size_t i;

	printf("%s: balance ", ctl_text(b, "tenant", text));
	printf("%s, reserved ", ctl_text(b, "balance", text));
	printf("%s, debt ", ctl_text(b, "reserved", text));
	printf("%s\n\n", ctl_text(b, "debt", text));
	json_array_foreach(json_object_get(b, "grants"), i, g)
	{
		ctl_table_field(t, g, "id");
		ctl_table_field(t, g, "amount");
		ctl_table_field(t, g, "remaining");
		ctl_table_field(t, g, "priority");
		ctl_table_cell(t, ctl_when(g, "effective_at", text));
		ctl_table_cell(t, ctl_when(g, "expires_at", text));
		ctl_table_field(t, g, "source");
	}
	ctl_table_print(t, "no grants");
	return CTL_DONE;
}

int ctl_credit_balance(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "credit.balance"), show_balance);
}
