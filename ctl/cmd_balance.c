/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl credit balance, credit breakage. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static bool is_zero(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return !text || !strcmp(text, "0");
}

/* Why a grant gives nothing now; "" for one that gives. */
static void state_of(const json_t *g, char out[static CTL_CELL])
{
	char when[CTL_CELL];

	out[0] = 0;
	if (json_is_true(json_object_get(g, "voided")))
		snprintf(out, CTL_CELL, "voided");
	else if (!is_zero(g, "pending"))
		snprintf(out, CTL_CELL, "not yet");
	else if (!is_zero(g, "expired"))
		snprintf(out, CTL_CELL, "%s expired", ctl_text(g, "expired", when));
	else if (is_zero(g, "remaining"))
		snprintf(out, CTL_CELL, "used up");
}

static bool gives(const json_t *g)
{
	return !is_zero(g, "remaining") || !is_zero(g, "pending");
}

static void show_grant(struct ctl_table *t, const json_t *g)
{
	char text[CTL_CELL];

	snprintf(text, sizeof(text), "#%" PRId64, ctl_int(g, "seq"));
	ctl_table_cell(t, text);
	ctl_table_field(t, g, "amount");
	ctl_table_field(t, g, is_zero(g, "pending") ? "remaining" : "pending");
	ctl_table_field(t, g, "priority");
	ctl_table_field(t, g, "source");
	ctl_table_cell(t, ctl_when(g, "expires_at", text));
	state_of(g, text);
	ctl_table_cell(t, text);
}

static void show_head(const json_t *b)
{
	char tenant[CTL_CELL], wallet[CTL_CELL], balance[CTL_CELL], reserved[CTL_CELL],
		text[CTL_CELL];

	ctl_text(b, "tenant", tenant);
	ctl_text(b, "wallet", wallet);
	if (strcmp(tenant, wallet))
		printf("%s pays for %s; what follows is the credit of %s\n", wallet, tenant,
		       wallet);
	printf("%s: balance %s, reserved %s, debt %s", wallet, ctl_text(b, "balance", balance),
	       ctl_text(b, "reserved", reserved), ctl_text(b, "debt", text));
	if (!is_zero(b, "pending"))
		printf(", not usable yet %s", ctl_text(b, "pending", text));
	printf("\n\n");
}

static int show_balance(struct ctl *c, const json_t *b)
{
	static const char *const names[] = { "GRANT",  ">AMOUNT", ">LEFT", ">PRI",
					     "SOURCE", "EXPIRES", "STATE" };
	struct ctl_table *t = ctl_table_new(7, names);
	bool all = ctl_value(c, "--all");
	char when[CTL_CELL];
	size_t i, hidden = 0;
	const json_t *g;

	show_head(b);
	/* In the order in which they are used. */
	json_array_foreach(json_object_get(b, "grants"), i, g)
	{
		if (all || gives(g))
			show_grant(t, g);
		else
			hidden++;
	}
	ctl_table_print(t, hidden ? NULL : "no grants");
	/* Apart, as two times are too wide for a row. */
	json_array_foreach(json_object_get(b, "grants"), i, g)
	{
		if (!is_zero(g, "pending"))
			printf("#%" PRId64 " can be used from %s\n", ctl_int(g, "seq"),
			       ctl_when(g, "effective_at", when));
	}
	if (hidden)
		printf("%zu more used up, expired or voided (--all)\n", hidden);
	return CTL_DONE;
}

int ctl_credit_balance(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "credit.balance"), show_balance);
}

static void show_sums(struct ctl_table *t, const char *key, const json_t *s)
{
	ctl_table_cell(t, key);
	ctl_table_field(t, s, "expired");
	ctl_table_field(t, s, "late");
	ctl_table_field(t, s, "voided");
	ctl_table_field(t, s, "breakage");
}

static int show_breakage(struct ctl *c, const json_t *b)
{
	static const char *const by_source[] = { "SOURCE", ">EXPIRED", ">USED LATE", ">VOIDED",
						 ">BREAKAGE" };
	static const char *const by_month[] = { "MONTH", ">EXPIRED", ">USED LATE", ">VOIDED",
						">BREAKAGE" };
	static const char *const by_tenant[] = { "WALLET", ">EXPIRED", ">USED LATE", ">VOIDED",
						 ">BREAKAGE" };
	const json_t *rows = json_object_get(b, "rows"), *row;
	char by[CTL_CELL], key[CTL_CELL];
	struct ctl_table *t;
	size_t i;

	ctl_text(b, "by", by);
	t = ctl_table_new(5, !strcmp(by, "month")    ? by_month
			     : !strcmp(by, "tenant") ? by_tenant
						     : by_source);
	json_array_foreach(rows, i, row)
	{
		show_sums(t, ctl_text(row, "key", key), row);
	}
	if (json_array_size(rows) > 1)
		show_sums(t, "all", json_object_get(b, "total"));
	ctl_table_print(t, "no breakage");
	return CTL_DONE;
}

int ctl_credit_breakage(struct ctl *c)
{
	static const char *const spans[][2] = { { "--since", "since" }, { "--until", "until" } };
	json_t *o = ctl_op(c, "credit.breakage");
	char at[WEIR_TIME_TEXT];

	ctl_set(o, "by", ctl_value(c, "--by"));
	for (size_t i = 0; i < 2; i++) {
		const char *text = ctl_value(c, spans[i][0]);

		if (text && ctl_time(spans[i][0], text, -1, at)) {
			json_decref(o);
			return CTL_USAGE;
		}
		ctl_set(o, spans[i][1], text ? at : NULL);
	}
	return ctl_show(c, o, show_breakage);
}
