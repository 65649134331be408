/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl tenant. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static int collect(json_t *item, void *ctx)
{
	return json_array_append(ctx, item) ? ctl_fail(CTL_REFUSED, "out of memory") : CTL_DONE;
}

int ctl_tenant_list(struct ctl *c)
{
	static const char *const names[] = { "TENANT",	  "TIER",	">CONN",
					     ">INFLIGHT", ">REQS LEFT", ">TOKENS LEFT",
					     ">BALANCE",  ">RESERVED",	"STATE" };
	json_t *all = json_array(), *t;
	struct ctl_table *out;
	size_t i;
	int r = ctl_request(c, ctl_op(c, "tenant.list"), collect, all, NULL);

	if (!r && c->json) {
		r = ctl_print_json(all);
	} else if (!r) {
		out = ctl_table_new(9, names);
		json_array_foreach(all, i, t)
		{
			const json_t *live = json_object_get(t, "live");

			ctl_table_field(out, t, "tenant");
			ctl_table_field(out, t, "tier");
			ctl_table_field(out, live, "connections");
			ctl_table_field(out, live, "inflight");
			ctl_table_field(out, live, "requests_remaining");
			ctl_table_field(out, live, "tokens_remaining");
			ctl_table_field(out, live, "balance");
			ctl_table_field(out, live, "reserved");
			ctl_table_cell(out, json_is_true(json_object_get(t, "suspended"))
						    ? "suspended"
						    : "active");
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

static void section(const json_t *o, const char *title)
{
	const char *name;
	json_t *v;

	printf("\n%s\n", title);
	if (!json_is_object(o))
		printf("  none: it is not in the policy\n");
	json_object_foreach((json_t *)o, name, v)
	{
		char text[CTL_CELL], label[CTL_CELL];

		describe(v, text);
		snprintf(label, sizeof(label), "%s", name);
		for (char *p = label; *p; p++)
			*p = *p == '_' ? ' ' : *p;
		printf("  %-22s%s\n", label, text);
	}
}

static int show(struct ctl *c, const json_t *t)
{
	char name[CTL_CELL], tier[CTL_CELL];

	printf("%s, tier %s%s\n", ctl_text(t, "tenant", name), ctl_text(t, "tier", tier),
	       json_is_true(json_object_get(t, "suspended")) ? ", suspended" : "");
	section(json_object_get(t, "limits"), "limits");
	section(json_object_get(t, "live"), "live");
	return CTL_DONE;
}

int ctl_tenant_show(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "tenant.show"), show);
}
