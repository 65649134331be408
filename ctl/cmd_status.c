/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl status, weirctl version. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static void show_interfaces(const json_t *list)
{
	static const char *const names[] = { "INTERFACE", "XDP", "TC", "NEIGHBOURS" };
	struct ctl_table *t = ctl_table_new(4, names);
	const json_t *f, *n;
	size_t i, j;

	json_array_foreach(list, i, f)
	{
		char all[CTL_CELL] = "", one[CTL_CELL];

		ctl_table_field(t, f, "name");
		ctl_table_field(t, f, "xdp_mode");
		ctl_table_field(t, f, "tc_mode");
		json_array_foreach(json_object_get(f, "neighbours"), j, n)
			snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
				 j ? ", " : "", ctl_text(n, NULL, one));
		ctl_table_cell(t, all[0] ? all : "none");
	}
	ctl_table_print(t, "no interface");
}

static void show_verdicts(const json_t *verdicts)
{
	static const char *const names[] = { "VERDICT", ">COUNT" };
	struct ctl_table *t = ctl_table_new(2, names);
	const char *name;
	json_t *n;

	json_object_foreach((json_t *)verdicts, name, n)
	{
		if (!json_integer_value(n))
			continue;
		ctl_table_cell(t, name);
		ctl_table_field(t, n, NULL);
	}
	ctl_table_print(t, "no verdict yet");
}

/* All of it, and the three maps that take most. */
static void show_memory(const json_t *memory)
{
	const json_t *by_map = json_object_get(memory, "by_map");
	json_int_t under = INT64_MAX;
	char text[CTL_CELL];

	ctl_bytes((uint64_t)ctl_int(memory, "maps"), text);
	printf("memory       %s of maps in the kernel", text);
	for (int i = 0; i < 3; i++) {
		const char *name, *most = NULL;
		json_int_t bytes = 0;
		json_t *v;

		json_object_foreach((json_t *)by_map, name, v)
		{
			if (json_integer_value(v) <= bytes || json_integer_value(v) >= under)
				continue;
			bytes = json_integer_value(v);
			most = name;
		}
		if (!most)
			break;
		under = bytes;
		ctl_bytes((uint64_t)bytes, text);
		printf(", %s %s", most, text);
	}
	putchar('\n');
}

static void show_ledger(const json_t *ledger)
{
	const json_t *spill = json_object_get(ledger, "spill");
	const json_t *full = json_object_get(ledger, "full_in_s");
	char since[CTL_CELL], used[CTL_CELL], max[CTL_CELL], left[CTL_CELL] = "";

	if (!json_is_object(ledger))
		return;
	if (json_is_true(json_object_get(ledger, "healthy"))) {
		printf("ledger       written, %lld entries, %lld requests wait\n",
		       (long long)ctl_int(ledger, "newest"), (long long)ctl_int(ledger, "waiting"));
		return;
	}
	ctl_bytes((uint64_t)ctl_int(spill, "used"), used);
	ctl_bytes((uint64_t)ctl_int(spill, "max"), max);
	if (json_is_integer(full))
		ctl_duration((uint64_t)json_integer_value(full), left);
	printf("ledger       NOT written since %s, %lld requests wait, spill %s of %s%s%s%s\n",
	       ctl_text(ledger, "since", since), (long long)ctl_int(ledger, "waiting"), used, max,
	       left[0] ? ", full in " : "", left,
	       json_is_true(json_object_get(ledger, "heartbeat")) ? "" : ", no heartbeat");
}

static void show_clock(const json_t *clock)
{
	if (!json_is_object(clock))
		return;
	if (json_is_true(json_object_get(clock, "held")))
		printf("clock        stepped by %lld s, NOT followed\n",
		       (long long)ctl_int(clock, "step_s"));
	else
		printf("clock        %s\n", json_is_true(json_object_get(clock, "synchronised"))
						    ? "synchronised"
						    : "NOT synchronised");
}

/* What 99 of 100 requests stay below. */
static void show_lag(const json_t *lag)
{
	static const struct {
		const char *field, *text;
	} steps[] = { { "settled", "balance moved" },
		      { "committed", "in the ledger" },
		      { "published", "acknowledged by NATS" } };
	size_t shown = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		const json_t *us = json_object_get(json_object_get(lag, steps[i].field), "p99_us");

		if (!json_is_integer(us))
			continue;
		printf("%s%s within %g ms", shown++ ? ", " : "delay        ", steps[i].text,
		       (double)json_integer_value(us) / 1000);
	}
	if (shown)
		printf(" (99 of 100)\n");
}

static void show_nats(const json_t *nats)
{
	static const struct {
		const char *field, *text;
	} counts[] = { { "resent", "sent again" },
		       { "again", "published anew" },
		       { "skipped", "skipped" } };
	const json_t *usage = json_object_get(nats, "usage");
	char oldest[CTL_CELL];

	if (!json_is_object(nats)) {
		printf("nats         not configured\n");
		return;
	}
	printf("nats         %s, backlog %lld, acknowledged %lld",
	       json_is_true(json_object_get(nats, "connected")) ? "connected" : "not connected",
	       (long long)ctl_int(nats, "backlog"), (long long)ctl_int(nats, "acked"));
	ctl_duration((uint64_t)ctl_int(nats, "lag_ms") / 1000, oldest);
	if (ctl_int(nats, "backlog"))
		printf(", oldest %s, %lld/s", oldest, (long long)ctl_int(nats, "rate"));
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		if (ctl_int(nats, counts[i].field))
			printf(", %s %lld", counts[i].text,
			       (long long)ctl_int(nats, counts[i].field));
	putchar('\n');
	if (json_is_object(usage))
		printf("usage        %s, %lld reports wait, %lld entered, %lld refused\n",
		       json_is_true(json_object_get(usage, "ready")) ? "taken" : "NOT taken",
		       (long long)ctl_int(usage, "waiting"), (long long)ctl_int(usage, "entered"),
		       (long long)ctl_int(usage, "refused"));
}

static int show(struct ctl *c, const json_t *s)
{
	const json_t *ring = json_object_get(s, "ring"), *nats = json_object_get(s, "nats");
	const json_t *flows = json_object_get(s, "flows"), *tenants = json_object_get(s, "tenants");
	const json_t *drift = json_object_get(s, "drift");
	char a[CTL_CELL], b[CTL_CELL], v[CTL_CELL];
	const json_t *w;
	size_t i;

	ctl_duration((uint64_t)ctl_int(s, "uptime_s"), a);
	printf("weir on %s: ", ctl_text(s, "node", b));
	printf("instance %s, ", ctl_text(s, "instance", b));
	printf("version %s, pid %lld, up %s\n\n", ctl_text(s, "version", v),
	       (long long)ctl_int(s, "pid"), a);
	show_interfaces(json_object_get(s, "interfaces"));
	ctl_bytes((uint64_t)ctl_int(ring, "used"), a);
	ctl_bytes((uint64_t)ctl_int(ring, "bytes"), b);
	printf("\nlimits       %s\n",
	       json_is_true(json_object_get(json_object_get(s, "enforce"), "enforcing"))
		       ? "enforced"
		       : "NOT enforced");
	printf("connections  %lld of %lld, %lld half-open\n", (long long)ctl_int(flows, "used"),
	       (long long)ctl_int(flows, "max"), (long long)ctl_int(flows, "half_open"));
	printf("tenants      %lld of %lld, %lld suspended\n", (long long)ctl_int(tenants, "used"),
	       (long long)ctl_int(tenants, "max"), (long long)ctl_int(tenants, "suspended"));
	printf("ring         %s of %s, %lld records lost\n", a, b,
	       (long long)ctl_int(ring, "lost"));
	show_memory(json_object_get(s, "memory"));
	show_ledger(json_object_get(s, "ledger"));
	show_nats(nats);
	show_lag(json_object_get(s, "lag"));
	show_clock(json_object_get(s, "clock"));
	printf("drift        %lld connections, %lld gauges put right in %lld comparisons\n",
	       (long long)ctl_int(drift, "reaped"),
	       (long long)(ctl_int(drift, "corrected_connections") +
			   ctl_int(drift, "corrected_half_open") +
			   ctl_int(drift, "corrected_inflight")),
	       (long long)ctl_int(drift, "sweeps"));
	putchar('\n');
	show_verdicts(json_object_get(s, "verdicts"));
	json_array_foreach(json_object_get(s, "warnings"), i, w)
	{
		/* Longer than a cell; the agent has made it clean. */
		printf("%swarning: %s\n", i ? "" : "\n", json_string_value(w));
	}
	return CTL_DONE;
}

int ctl_status(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "status"), show);
}

int ctl_version(struct ctl *c)
{
	if (c->json)
		printf("{\"version\":\"%s\"}\n", WEIR_VERSION);
	else
		printf("weirctl %s\n", WEIR_VERSION);
	return CTL_DONE;
}
