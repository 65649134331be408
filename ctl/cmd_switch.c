/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl tenant suspend, tenant resume, enforce. */
#include <inttypes.h>
#include <stdio.h>

#include "ctl.h"

static void print_id(const struct ctl *c)
{
	if (c->id_made_up)
		printf("id %s\n", c->id);
}

static int show_suspended(struct ctl *c, const json_t *r)
{
	bool on = json_is_true(json_object_get(r, "suspended"));
	char tenant[CTL_CELL];

	printf("%s is %s%s\n", ctl_text(r, "tenant", tenant),
	       on ? "suspended, and all below it" : "not suspended",
	       json_is_true(json_object_get(r, "repeated")) ? " (this id was used before)" : "");
	if (json_is_integer(json_object_get(r, "cut")))
		printf("%" PRId64 " answers cut", ctl_int(r, "cut"));
	if (json_is_integer(json_object_get(r, "destroyed")))
		printf(", %" PRId64 " sockets destroyed", ctl_int(r, "destroyed"));
	if (json_is_integer(json_object_get(r, "cut")))
		putchar('\n');
	print_id(c);
	if (json_is_string(json_object_get(r, "warning"))) {
		fflush(stdout);
		/* Longer than a cell; the agent has made it clean. */
		fprintf(stderr, "weirctl: %s\n", json_string_value(json_object_get(r, "warning")));
	}
	return CTL_DONE;
}

int ctl_tenant_suspend(struct ctl *c)
{
	json_t *o = ctl_op(c, "tenant.suspend");

	ctl_set(o, "reason", ctl_value(c, "--reason"));
	if (ctl_value(c, "--now"))
		json_object_set_new(o, "now", json_true());
	return ctl_show(c, o, show_suspended);
}

int ctl_tenant_resume(struct ctl *c)
{
	json_t *o = ctl_op(c, "tenant.resume");

	ctl_set(o, "reason", ctl_value(c, "--reason"));
	return ctl_show(c, o, show_suspended);
}

/* -- the node */

static void show_state(const json_t *r)
{
	const json_t *last = json_object_get(r, "switch");
	char when[CTL_CELL], actor[CTL_CELL], reason[CTL_CELL];

	if (json_is_true(json_object_get(r, "enforcing")))
		printf("limits are enforced\n");
	else
		printf("enforcement is off%s: nothing is refused, all is metered\n",
		       json_is_true(json_object_get(r, "configured"))
			       ? ""
			       : " by \"enforce\" in agent.json, whatever the switch says");
	if (json_is_object(last))
		printf("switched %s %s by %s%s%s\n",
		       json_is_true(json_object_get(last, "on")) ? "on" : "off",
		       ctl_when(last, "since", when), ctl_text(last, "actor", actor),
		       json_is_string(json_object_get(last, "reason")) ? ": " : "",
		       json_is_string(json_object_get(last, "reason"))
			       ? ctl_text(last, "reason", reason)
			       : "");
}

static int show_enforce(struct ctl *c, const json_t *r)
{
	static const char *const names[] = { "SWITCHED", "TO", "BY", "REASON", "ID" };
	const json_t *history = json_object_get(r, "history"), *s;
	struct ctl_table *t;
	char when[CTL_CELL];
	size_t i;

	show_state(r);
	if (json_array_size(history) < 2)
		return CTL_DONE;
	putchar('\n');
	t = ctl_table_new(5, names);
	json_array_foreach(history, i, s)
	{
		ctl_table_cell(t, ctl_when(s, "since", when));
		ctl_table_cell(t, json_is_true(json_object_get(s, "on")) ? "on" : "off");
		ctl_table_field(t, s, "actor");
		ctl_table_field(t, s, "reason");
		ctl_table_field(t, s, "id");
	}
	ctl_table_print(t, NULL);
	return CTL_DONE;
}

int ctl_enforce_show(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "enforce.show"), show_enforce);
}

static int show_set(struct ctl *c, const json_t *r)
{
	show_state(r);
	print_id(c);
	return CTL_DONE;
}

static int set(struct ctl *c, bool on)
{
	json_t *o = ctl_op(c, "enforce.set");

	json_object_set_new(o, "on", json_boolean(on));
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	return ctl_show(c, o, show_set);
}

int ctl_enforce_off(struct ctl *c)
{
	return set(c, false);
}

int ctl_enforce_on(struct ctl *c)
{
	return set(c, true);
}
