/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl tenant. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static int collect(json_t *item, void *ctx)
{
	return json_array_append(ctx, item) ? ctl_fail(CTL_REFUSED, "out of memory") : CTL_DONE;
}

/* "suspended" itself, or by whom above. */
static void state(const json_t *t, char out[static CTL_CELL])
{
	const char *by = json_string_value(json_object_get(t, "suspended_by"));

	if (json_is_true(json_object_get(t, "suspended")) || !by)
		snprintf(out, CTL_CELL, "%s", by ? "suspended" : "active");
	else
		snprintf(out, CTL_CELL, "suspended by %.70s", by);
}

int ctl_tenant_list(struct ctl *c)
{
	static const char *const names[] = { "TENANT",	  "TIER",	"PARENT",	">CONN",
					     ">INFLIGHT", ">REQS LEFT", ">TOKENS LEFT", ">BALANCE",
					     ">RESERVED", "STATE" };
	json_t *all = json_array(), *t;
	struct ctl_table *out;
	char text[CTL_CELL];
	size_t i;
	int r = ctl_request(c, ctl_op(c, "tenant.list"), collect, all, NULL);

	if (!r && c->json) {
		r = ctl_print_json(all);
	} else if (!r) {
		out = ctl_table_new(10, names);
		json_array_foreach(all, i, t)
		{
			const json_t *live = json_object_get(t, "live");

			ctl_table_field(out, t, "tenant");
			ctl_table_field(out, t, "tier");
			ctl_table_field(out, t, "parent");
			ctl_table_field(out, live, "connections");
			ctl_table_field(out, live, "inflight");
			ctl_table_field(out, live, "requests_remaining");
			ctl_table_field(out, live, "tokens_remaining");
			ctl_table_field(out, live, "balance");
			ctl_table_field(out, live, "reserved");
			state(t, text);
			ctl_table_cell(out, text);
		}
		ctl_table_print(out, "no tenants in the policy");
	}
	json_decref(all);
	return r;
}

/* "60 per_minute, burst 10"; "-" where there is no limit. */
static void describe(const json_t *v, char out[static CTL_CELL])
{
	const char *name;
	json_t *m;

	if (!json_is_object(v)) {
		ctl_text(v, NULL, out);
		return;
	}
	out[0] = 0;
	json_object_foreach((json_t *)v, name, m)
	{
		char one[CTL_CELL], words[CTL_CELL];
		size_t n = strlen(out);

		snprintf(words, sizeof(words), "%s", name);
		for (char *p = words; *p; p++)
			*p = *p == '_' ? ' ' : *p;
		ctl_text(m, NULL, one);
		if (!strncmp(name, "per_", 4))
			snprintf(out + n, CTL_CELL - n, "%s%.20s %.20s", n ? ", " : "", one, words);
		else
			snprintf(out + n, CTL_CELL - n, "%s%.20s %.20s", n ? ", " : "", words, one);
	}
}

static void print_field(const char *name, const json_t *v)
{
	char text[CTL_CELL], label[CTL_CELL];

	describe(v, text);
	snprintf(label, sizeof(label), "%s", name);
	for (char *p = label; *p; p++)
		*p = *p == '_' ? ' ' : *p;
	printf("  %-22s%s\n", label, text);
}

/* Only what a service has a limit for; all else is the tenant's. */
static void print_services(const json_t *services)
{
	const char *service, *name;
	json_t *o, *v;

	json_object_foreach((json_t *)services, service, o)
	{
		json_object_foreach(o, name, v)
		{
			char label[CTL_CELL];

			if (json_is_null(v) || json_is_false(v))
				continue;
			snprintf(label, sizeof(label), "%.40s: %.40s", service, name);
			print_field(label, v);
		}
	}
}

static void section(const json_t *o, const char *title)
{
	const char *name;
	json_t *v;

	printf("\n%s\n", title);
	if (!json_is_object(o))
		printf("  none: it is not in the policy\n");
	json_object_foreach((json_t *)o, name, v)
	{
		if (strcmp(name, "services"))
			print_field(name, v);
		else
			print_services(v);
	}
}

static void show_levels(const json_t *levels)
{
	static const char *const names[] = { "LEVEL",	     "NAME",	     ">CONN",
					     ">HALF-OPEN",   ">INFLIGHT",    ">REQS LEFT",
					     ">TOKENS LEFT", ">TOKENS HELD", "STATE" };
	struct ctl_table *t = ctl_table_new(9, names);
	const json_t *l;
	size_t i;

	json_array_foreach(levels, i, l)
	{
		ctl_table_field(t, l, "level");
		ctl_table_field(t, l, "name");
		ctl_table_field(t, l, "connections");
		ctl_table_field(t, l, "half_open");
		ctl_table_field(t, l, "inflight");
		ctl_table_field(t, l, "requests_remaining");
		ctl_table_field(t, l, "tokens_remaining");
		ctl_table_field(t, l, "reserved_tokens");
		ctl_table_cell(t, json_is_true(json_object_get(l, "suspended")) ? "suspended"
				  : json_is_true(json_object_get(l, "shadow"))	? "shadow"
										: "active");
	}
	putchar('\n');
	ctl_table_print(t, "no level");
}

/* What holds the reservations. */
static void show_requests(const json_t *o)
{
	static const char *const names[] = { "REQUEST IN FLIGHT", "TENANT", "SERVICE", ">AGE",
					     ">CREDITS",	  ">TOKENS" };
	const json_t *list = json_object_get(o, "requests"), *q;
	int64_t all = ctl_int(o, "requests_open");
	struct ctl_table *t = ctl_table_new(6, names);
	size_t i;

	json_array_foreach(list, i, q)
	{
		char age[CTL_CELL];

		ctl_duration((uint64_t)ctl_int(q, "age_ms") / 1000, age);
		ctl_table_field(t, q, "request_id");
		ctl_table_field(t, q, "tenant");
		ctl_table_field(t, q, "service");
		ctl_table_cell(t, age);
		ctl_table_field(t, q, "credits");
		ctl_table_field(t, q, "tokens");
	}
	putchar('\n');
	ctl_table_print(t, "no request in flight");
	if (all > (int64_t)json_array_size(list))
		printf("and %" PRId64 " more\n", all - (int64_t)json_array_size(list));
}

static int show(struct ctl *c, const json_t *t)
{
	const json_t *s = json_object_get(t, "suspension");
	char text[CTL_CELL];

	printf("%s, ", ctl_text(t, "tenant", text));
	printf("tier %s", ctl_text(t, "tier", text));
	if (json_is_string(json_object_get(t, "parent")))
		printf(", below %s", ctl_text(t, "parent", text));
	if (json_is_string(json_object_get(t, "wallet")) &&
	    !json_equal(json_object_get(t, "wallet"), json_object_get(t, "tenant")))
		printf(", paid by %s", ctl_text(t, "wallet", text));
	if (json_is_object(s)) {
		printf(", suspended since %s", ctl_when(s, "since", text));
		printf(" by %s", ctl_text(s, "actor", text));
		if (json_is_string(json_object_get(s, "reason")))
			printf(": %s", ctl_text(s, "reason", text));
	} else if (json_is_string(json_object_get(t, "suspended_by")))
		printf(", suspended by %s", ctl_text(t, "suspended_by", text));
	putchar('\n');
	section(json_object_get(t, "limits"), "limits");
	section(json_object_get(t, "live"), "live");
	show_levels(json_object_get(t, "levels"));
	show_requests(t);
	return CTL_DONE;
}

int ctl_tenant_show(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "tenant.show"), show);
}
