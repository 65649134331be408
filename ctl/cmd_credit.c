/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weirctl credit: what gives, takes and undoes. Schedules are cmd_recur.c's, balances and
 * breakage cmd_balance.c's.
 */
#include "cmd_credit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------- options */

int ctl_write_time(struct ctl *c, json_t *o, const char *option, const char *field)
{
	const char *text = ctl_value(c, option);
	char at[WEIR_TIME_TEXT];
	size_t n = strlen(c->again);

	if (!text)
		return CTL_DONE;
	if (ctl_time(option, text, 1, at))
		return CTL_USAGE;
	ctl_set(o, field, at);
	/* A span, which has no dash, is another time when it is repeated, and so another write. */
	if (!strchr(text, '-'))
		snprintf(c->again + n, sizeof(c->again) - n, " %s %s", option, at);
	return CTL_DONE;
}

int ctl_write_terms(struct ctl *c, json_t *o)
{
	const char *priority = ctl_value(c, "--priority");
	char *end = "";
	long n = priority ? strtol(priority, &end, 10) : 0;

	if (*end || n < 0 || n > 255)
		return ctl_fail(CTL_USAGE, "--priority: \"%.64s\" is not a number from 0 to 255",
				priority);
	if (priority)
		json_object_set_new(o, "priority", json_integer(n));
	ctl_set(o, "source", ctl_value(c, "--source"));
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	return CTL_DONE;
}

int ctl_written(struct ctl *c, const json_t *w)
{
	char balance[CTL_CELL];

	printf("; balance %s (entry %" PRId64 "%s)\n", ctl_text(w, "balance", balance),
	       ctl_int(w, "seq"),
	       json_is_true(json_object_get(w, "repeated")) ? ", done before: this id was used"
							    : "");
	if (c->id_made_up)
		printf("id %s\n", c->id);
	return CTL_DONE;
}

/* request is freed when the command line was wrong. */
static int send_or_drop(struct ctl *c, int wrong, json_t *request,
			int (*show)(struct ctl *c, const json_t *result))
{
	if (!wrong)
		return ctl_show(c, request, show);
	json_decref(request);
	return wrong;
}

/* ------------------------------------------------------------------ giving, taking */

static int show_granted(struct ctl *c, const json_t *g)
{
	char amount[CTL_CELL], tenant[CTL_CELL];

	printf("granted %s credits to %s", ctl_text(g, "amount", amount),
	       ctl_text(g, "tenant", tenant));
	return ctl_written(c, g);
}

int ctl_credit_grant(struct ctl *c)
{
	json_t *o = ctl_op(c, "credit.grant");
	int r = ctl_write_terms(c, o);

	if (!r)
		r = ctl_write_time(c, o, "--effective", "effective");
	if (!r)
		r = ctl_write_time(c, o, "--expires", "expires");
	ctl_set(o, "amount", c->args[1]);
	ctl_set(o, "cost_basis", ctl_value(c, "--cost-basis"));
	ctl_set(o, "currency", ctl_value(c, "--currency"));
	return send_or_drop(c, r, o, show_granted);
}

static int show_adjusted(struct ctl *c, const json_t *a)
{
	char amount[CTL_CELL], tenant[CTL_CELL];

	ctl_text(a, "amount", amount);
	printf("adjusted %s by %s%s credits", ctl_text(a, "tenant", tenant),
	       amount[0] == '-' ? "" : "+", amount);
	return ctl_written(c, a);
}

int ctl_credit_adjust(struct ctl *c)
{
	const char *amount = c->args[1];
	json_t *o;

	if (!ctl_value(c, "--reason"))
		return ctl_fail(CTL_USAGE, "credit adjust: needs --reason: it stays in the ledger");
	o = ctl_op(c, "credit.adjust");
	/* "+5" is how people write it, and no number in JSON. */
	ctl_set(o, "amount", amount[0] == '+' && amount[1] != '-' ? amount + 1 : amount);
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	return ctl_show(c, o, show_adjusted);
}

static int show_deducted(struct ctl *c, const json_t *d)
{
	char amount[CTL_CELL], tenant[CTL_CELL];

	printf("deducted %s credits from %s", ctl_text(d, "amount", amount),
	       ctl_text(d, "tenant", tenant));
	return ctl_written(c, d);
}

int ctl_credit_deduct(struct ctl *c)
{
	json_t *o = ctl_op(c, "credit.deduct");

	ctl_set(o, "amount", c->args[1]);
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	if (ctl_value(c, "--allow-debt"))
		json_object_set_new(o, "allow_debt", json_true());
	return ctl_show(c, o, show_deducted);
}

/* -------------------------------------------------------------------------- packs */

static int show_packs(struct ctl *c, const json_t *rows)
{
	static const char *const names[] = { "PACK",	 ">AMOUNT",	  ">BONUS", ">PRICE",
					     "CURRENCY", ">EXPIRES DAYS", "SOURCE", ">PRIORITY" };
	static const char *const fields[] = { "pack",	  "amount",	  "bonus",  "price",
					      "currency", "expires_days", "source", "priority" };
	struct ctl_table *t = ctl_table_new(8, names);
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		for (size_t f = 0; f < 8; f++)
			ctl_table_field(t, row, fields[f]);
	}
	ctl_table_print(t, "no packs in the policy");
	return CTL_DONE;
}

int ctl_credit_packs(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "credit.packs"), show_packs);
}

static int show_sold(struct ctl *c, const json_t *s)
{
	const json_t *bonus = json_object_get(s, "bonus");
	char pack[CTL_CELL], amount[CTL_CELL], tenant[CTL_CELL], price[CTL_CELL],
		currency[CTL_CELL], text[CTL_CELL];

	printf("sold pack %s to %s: %s credits", ctl_text(s, "pack", pack),
	       ctl_text(s, "tenant", tenant), ctl_text(s, "amount", amount));
	if (json_is_string(json_object_get(s, "currency")))
		printf(" for %s %s", ctl_text(s, "price", price),
		       ctl_text(s, "currency", currency));
	if (json_is_object(bonus))
		printf(" and a bonus of %s", ctl_text(bonus, "amount", text));
	if (json_is_string(json_object_get(s, "expires_at")))
		printf(", until %s", ctl_when(s, "expires_at", text));
	return ctl_written(c, s);
}

int ctl_credit_sell(struct ctl *c)
{
	json_t *o = ctl_op(c, "credit.sell");

	ctl_set(o, "pack", c->args[1]);
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	return ctl_show(c, o, show_sold);
}

/* ------------------------------------------------------------------------- undoing */

static int show_voided(struct ctl *c, const json_t *v)
{
	char amount[CTL_CELL], tenant[CTL_CELL];

	printf("voided grant #%" PRId64 " of %s, %s credits of it were left",
	       ctl_int(v, "grant_seq"), ctl_text(v, "tenant", tenant),
	       ctl_text(v, "amount", amount));
	return ctl_written(c, v);
}

int ctl_credit_void(struct ctl *c)
{
	json_t *o = ctl_op(c, "credit.void");

	ctl_set(o, "grant", c->args[0]);
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	return ctl_show(c, o, show_voided);
}

static int show_refunded(struct ctl *c, const json_t *f)
{
	char amount[CTL_CELL], tenant[CTL_CELL];

	printf("refunded %s credits of entry #%" PRId64 " to %s", ctl_text(f, "amount", amount),
	       ctl_int(f, "of_seq"), ctl_text(f, "tenant", tenant));
	return ctl_written(c, f);
}

int ctl_credit_refund(struct ctl *c)
{
	json_t *o = ctl_op(c, "credit.refund");

	ctl_set(o, "entry", c->args[0]);
	ctl_set(o, "amount", ctl_value(c, "--amount"));
	ctl_set(o, "reason", ctl_value(c, "--reason"));
	if (ctl_value(c, "--as-grant"))
		json_object_set_new(o, "as_grant", json_true());
	return ctl_show(c, o, show_refunded);
}
