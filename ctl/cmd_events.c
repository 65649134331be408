/* SPDX-License-Identifier: Apache-2.0 */
/* weirctl events, weirctl why. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/money.h"
#include "ctl.h"
#include "events_format.h"

/* What was not as usual, at the line's end. */
static void print_notes(const json_t *d)
{
	char text[CTL_CELL];

	if (json_is_true(json_object_get(d, "degraded")))
		printf(", degraded from %s", ctl_text(d, "model_requested", text));
	if (json_object_get(d, "max_tokens_requested"))
		printf(", max_tokens cut from %s", ctl_text(d, "max_tokens_requested", text));
	if (json_is_true(json_object_get(d, "unjudged")))
		printf(", unjudged");
	if (json_is_true(json_object_get(d, "cut")))
		printf(", cut");
	if (json_is_true(json_object_get(d, "left")))
		printf(", client left");
	if (json_is_string(json_object_get(d, "abort")))
		printf(", abort %s", ctl_text(d, "abort", text));
	if (json_is_true(json_object_get(d, "lost_bytes")))
		printf(", bytes lost");
	if (json_is_true(json_object_get(d, "retry_free")))
		printf(", free retry");
	if (json_is_true(json_object_get(d, "cache_free")))
		printf(", free of a cache");
	if (json_is_true(json_object_get(d, "unpriced")))
		printf(", unpriced");
}

static void print_request(const json_t *d)
{
	char model[CTL_CELL], in[CTL_CELL], out[CTL_CELL], price[CTL_CELL], source[CTL_CELL];

	printf("%3" PRId64 "  %-24s  in %-7s out %-7s price %-14s %s", ctl_int(d, "status"),
	       ctl_text(d, "model", model), ctl_text(d, "input_tokens", in),
	       ctl_text(d, "output_tokens", out), ctl_text(d, "price", price),
	       ctl_text(d, "usage_source", source));
	print_notes(d);
}

/* Usage that no request was. */
static void print_meter(const json_t *d)
{
	char dimension[CTL_CELL], quantity[CTL_CELL], price[CTL_CELL], id[CTL_CELL];

	printf("  -  %-24s  %-18s price %-14s id %s", ctl_text(d, "dimension", dimension),
	       ctl_text(d, "quantity", quantity), ctl_text(d, "price", price),
	       ctl_text(d, "usage_id", id));
	print_notes(d);
}

static void print_top_up(const json_t *d)
{
	char balance[CTL_CELL], threshold[CTL_CELL], ask[CTL_CELL];

	printf("top-up: balance %s is below %s, asks for %s", ctl_text(d, "balance", balance),
	       ctl_text(d, "threshold", threshold), ctl_text(d, "ask", ask));
}

/* One line per event; the whole of it is there with --json. */
static int print_event(json_t *e, void *ctx)
{
	const json_t *d = json_object_get(e, "data");
	const char *type = json_string_value(json_object_get(e, "type"));
	char when[CTL_CELL], tenant[CTL_CELL];

	*(bool *)ctx = true;
	printf("%-20s  %-16s  ", ctl_when(e, "time", when), ctl_text(e, "subject", tenant));
	if (type && !strcmp(type, "weir.topup.v1"))
		print_top_up(d);
	else if (json_object_get(d, "dimension"))
		print_meter(d);
	else
		print_request(d);
	putchar('\n');
	fflush(stdout);
	return CTL_DONE;
}

/* ------------------------------------------------------------------------ formats */

static const struct {
	const char *name;
	int (*write)(const json_t *event, struct events_format *f);
} formats[] = {
	{ "cloudevents", NULL },
	{ "stripe", events_stripe },
	{ "lago", events_lago },
	{ "focus", events_focus },
};

struct writing {
	int (*write)(const json_t *event, struct events_format *f);
	struct events_format format;
};

static int write_event(json_t *e, void *ctx)
{
	struct writing *w = ctx;

	return w->write ? w->write(e, &w->format) : ctl_print_item(e, NULL);
}

static int choose_value(const struct ctl *c, struct events_format *f)
{
	const char *value = ctl_value(c, "--value");

	f->value = value ? value : "price";
	for (const char *const *p = events_stripe_values; *p; p++) {
		if (!strcmp(*p, f->value))
			return CTL_DONE;
	}
	return ctl_fail(CTL_USAGE,
			"--value: \"%.64s\" is not price, cost or a count such as output_tokens",
			f->value);
}

static bool is_currency(const char *text)
{
	return text && strlen(text) == 3 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}

static int choose_money(const struct ctl *c, struct events_format *f, bool focus)
{
	const char *rate = ctl_value(c, "--credit-price");

	f->rate_nano = WEIR_NANO;
	if (rate && (weir_money_parse(rate, &f->rate_nano) || f->rate_nano <= 0))
		return ctl_fail(CTL_USAGE,
				"--credit-price: \"%.64s\" is not a decimal above 0, such as "
				"0.01",
				rate);
	f->currency = ctl_value(c, "--currency");
	if (focus && !f->currency)
		return ctl_fail(CTL_USAGE,
				"--format focus: wants --currency, such as USD: costs are in one "
				"(and --credit-price, unless a credit is 1 of it)");
	if (f->currency && !is_currency(f->currency))
		return ctl_fail(CTL_USAGE, "--currency: \"%.16s\" is not a code such as USD",
				f->currency);
	return CTL_DONE;
}

static int choose_format(const struct ctl *c, struct writing *w, bool *any)
{
	const char *format = ctl_value(c, "--format"), *name = ctl_value(c, "--event-name");
	const char *issuer = ctl_value(c, "--issuer");
	size_t i = 0;
	int r;

	*any = format;
	if (!format)
		return CTL_DONE;
	while (i < sizeof(formats) / sizeof(formats[0]) && strcmp(formats[i].name, format))
		i++;
	if (i == sizeof(formats) / sizeof(formats[0]))
		return ctl_fail(CTL_USAGE,
				"--format: \"%.64s\" is not cloudevents, stripe, lago or focus",
				format);
	if (c->json && formats[i].write)
		return ctl_fail(CTL_USAGE, "--json: does not go with --format %s", format);
	w->write = formats[i].write;
	w->format.name = name ? name : "weir_usage";
	w->format.issuer = issuer ? issuer : "Weir";
	r = choose_value(c, &w->format);
	return r ? r : choose_money(c, &w->format, formats[i].write == events_focus);
}

static json_t *events_request(struct ctl *c, const char *from, long long limit)
{
	json_t *o = ctl_op(c, "events");

	ctl_set(o, "tenant", ctl_value(c, "--tenant"));
	ctl_set(o, "since", from);
	if (limit)
		json_object_set_new(o, "limit", json_integer(limit));
	if (ctl_value(c, "--follow"))
		json_object_set_new(o, "follow", json_true());
	return o;
}

int ctl_events(struct ctl *c)
{
	const char *since = ctl_value(c, "--since"), *limit = ctl_value(c, "--limit");
	struct writing w = { .write = NULL };
	char from[WEIR_TIME_TEXT], *end = "";
	long long n = limit ? strtoll(limit, &end, 10) : 1;
	bool any = false, formatted;
	json_t *o;
	int r;

	if (*end || n < 1)
		return ctl_fail(CTL_USAGE, "--limit: \"%.64s\" is not a number from 1", limit);
	if (limit && ctl_value(c, "--follow"))
		return ctl_fail(CTL_USAGE, "--limit: does not go with --follow");
	if (since && ctl_time("--since", since, -1, from))
		return CTL_USAGE;
	r = choose_format(c, &w, &formatted);
	if (r)
		return r;
	o = events_request(c, since ? from : NULL, limit ? n : 0);
	if (formatted)
		r = ctl_request(c, o, write_event, &w, NULL);
	else
		r = ctl_request(c, o, c->json ? ctl_print_item : print_event, &any, NULL);
	if (!r && w.write == events_focus)
		events_focus_head(&w.format);
	if (!r && !c->json && !any && !formatted)
		printf("no events\n");
	return r;
}

static int show_why(struct ctl *c, const json_t *rows)
{
	static const char *const names[] = { "TIME",   "REASON", "LIMIT OF",	   ">LIMIT",
					     ">VALUE", ">ASKED", ">RETRY AFTER MS" };
	struct ctl_table *t = ctl_table_new(7, names);
	char when[CTL_CELL], reason[CTL_CELL];
	const json_t *r;
	size_t i;

	json_array_foreach(rows, i, r)
	{
		size_t n;

		ctl_text(r, "reason", reason);
		n = strlen(reason);
		if (json_is_true(json_object_get(r, "shadow")))
			snprintf(reason + n, sizeof(reason) - n, " (shadow)");
		ctl_table_cell(t, ctl_when(r, "time", when));
		ctl_table_cell(t, reason);
		ctl_table_field(t, r, "limit_of");
		ctl_table_field(t, r, "limit");
		ctl_table_field(t, r, "value");
		ctl_table_field(t, r, "asked");
		ctl_table_field(t, r, "retry_after_ms");
	}
	ctl_table_print(t, "no refusals since the agent started");
	return CTL_DONE;
}

int ctl_why(struct ctl *c)
{
	return ctl_show(c, ctl_op(c, "why"), show_why);
}
