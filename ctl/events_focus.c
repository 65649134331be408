/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage events as FOCUS 1.2 rows (CSV, RFC 4180): a row per line of the charge. Rows of an event
 * add up to its price exactly: the last one has what rounding of the others left. An event without
 * lines costs nothing, or one row has it all.
 */
#include "events_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/money.h"
#include "agent/util.h"
#include "ctl.h"

enum column {
	BILLED_COST,
	BILLING_ACCOUNT_ID,
	BILLING_ACCOUNT_NAME,
	BILLING_CURRENCY,
	BILLING_PERIOD_END,
	BILLING_PERIOD_START,
	CHARGE_CATEGORY,
	CHARGE_CLASS,
	CHARGE_DESCRIPTION,
	CHARGE_FREQUENCY,
	CHARGE_PERIOD_END,
	CHARGE_PERIOD_START,
	CONSUMED_QUANTITY,
	CONSUMED_UNIT,
	CONTRACTED_COST,
	CONTRACTED_UNIT_PRICE,
	EFFECTIVE_COST,
	INVOICE_ISSUER,
	LIST_COST,
	LIST_UNIT_PRICE,
	PRICING_CATEGORY,
	PRICING_QUANTITY,
	PRICING_UNIT,
	PROVIDER,
	PUBLISHER,
	SERVICE_CATEGORY,
	SERVICE_NAME,
	SERVICE_SUBCATEGORY,
	SKU_ID,
	SKU_PRICE_ID,
	SUB_ACCOUNT_ID,
	SUB_ACCOUNT_NAME,
	TAGS,
	X_EVENT_ID,
	COLUMNS
};

static const char *const names[COLUMNS] = {
	[BILLED_COST] = "BilledCost",
	[BILLING_ACCOUNT_ID] = "BillingAccountId",
	[BILLING_ACCOUNT_NAME] = "BillingAccountName",
	[BILLING_CURRENCY] = "BillingCurrency",
	[BILLING_PERIOD_END] = "BillingPeriodEnd",
	[BILLING_PERIOD_START] = "BillingPeriodStart",
	[CHARGE_CATEGORY] = "ChargeCategory",
	[CHARGE_CLASS] = "ChargeClass",
	[CHARGE_DESCRIPTION] = "ChargeDescription",
	[CHARGE_FREQUENCY] = "ChargeFrequency",
	[CHARGE_PERIOD_END] = "ChargePeriodEnd",
	[CHARGE_PERIOD_START] = "ChargePeriodStart",
	[CONSUMED_QUANTITY] = "ConsumedQuantity",
	[CONSUMED_UNIT] = "ConsumedUnit",
	[CONTRACTED_COST] = "ContractedCost",
	[CONTRACTED_UNIT_PRICE] = "ContractedUnitPrice",
	[EFFECTIVE_COST] = "EffectiveCost",
	[INVOICE_ISSUER] = "InvoiceIssuerName",
	[LIST_COST] = "ListCost",
	[LIST_UNIT_PRICE] = "ListUnitPrice",
	[PRICING_CATEGORY] = "PricingCategory",
	[PRICING_QUANTITY] = "PricingQuantity",
	[PRICING_UNIT] = "PricingUnit",
	[PROVIDER] = "ProviderName",
	[PUBLISHER] = "PublisherName",
	[SERVICE_CATEGORY] = "ServiceCategory",
	[SERVICE_NAME] = "ServiceName",
	[SERVICE_SUBCATEGORY] = "ServiceSubcategory",
	[SKU_ID] = "SkuId",
	[SKU_PRICE_ID] = "SkuPriceId",
	[SUB_ACCOUNT_ID] = "SubAccountId",
	[SUB_ACCOUNT_NAME] = "SubAccountName",
	[TAGS] = "Tags",
	[X_EVENT_ID] = "x_EventId",
};

/* A row being filled; "" is null. */
struct row {
	char cell[COLUMNS][768];
};

static void set(struct row *r, enum column c, const char *text)
{
	snprintf(r->cell[c], sizeof(r->cell[c]), "%s", text ? text : "");
}

static void set_exact(struct row *r, enum column c, __int128 n, unsigned decimals)
{
	char text[EVENTS_EXACT];

	events_exact(n, decimals, text);
	set(r, c, text);
}

static void print_csv(const char *text)
{
	if (!text[strcspn(text, ",\"\r\n")]) {
		fputs(text, stdout);
		return;
	}
	putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	putchar('"');
}

static void print_row(const struct row *r)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		if (i)
			putchar(',');
		print_csv(r->cell[i]);
	}
	putchar('\n');
}

void events_focus_head(struct events_format *f)
{
	if (f->headed)
		return;
	f->headed = true;
	for (size_t i = 0; i < COLUMNS; i++)
		printf("%s%s", i ? "," : "", names[i]);
	putchar('\n');
}

/* ---------------------------------------------------------- what an event's rows share */

static void set_second(struct row *r, enum column c, time_t at)
{
	struct tm t;

	gmtime_r(&at, &t);
	strftime(r->cell[c], sizeof(r->cell[c]), "%Y-%m-%dT%H:%M:%SZ", &t);
}

static void set_month(struct row *r, time_t at)
{
	struct tm t;

	gmtime_r(&at, &t);
	strftime(r->cell[BILLING_PERIOD_START], sizeof(r->cell[0]), "%Y-%m-01T00:00:00Z", &t);
	t.tm_mday = 1;
	t.tm_year += t.tm_mon == 11;
	t.tm_mon = (t.tm_mon + 1) % 12;
	strftime(r->cell[BILLING_PERIOD_END], sizeof(r->cell[0]), "%Y-%m-01T00:00:00Z", &t);
}

/* Of whole seconds; the end is exclusive. */
static bool set_times(struct row *r, const json_t *event, const json_t *data)
{
	uint64_t from_ns, to_ns;
	time_t from, to;

	if (!events_time(data, "started_at", &from_ns) || !events_time(event, "time", &to_ns))
		return false;
	from = (time_t)(from_ns / WEIR_SECOND);
	to = (time_t)((to_ns + WEIR_SECOND - 1) / WEIR_SECOND);
	set_second(r, CHARGE_PERIOD_START, from);
	set_second(r, CHARGE_PERIOD_END, to > from ? to : from + 1);
	set_month(r, from);
	return true;
}

static void set_tags(struct row *r, const json_t *data)
{
	static const char *const tags[] = { "user",	   "team",    "feature",
					    "cost_center", "session", NULL };
	json_t *o = json_object();
	char *text = NULL;

	for (const char *const *p = tags; *p; p++) {
		if (json_object_get(data, *p))
			json_object_set(o, *p, json_object_get(data, *p));
	}
	if (json_object_size(o))
		text = json_dumps(o, JSON_COMPACT);
	set(r, TAGS, text);
	free(text);
	json_decref(o);
}

static const char *string_of(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static void set_common(struct row *r, const json_t *event, const json_t *data,
		       const struct events_format *f)
{
	const char *service = string_of(data, "service");

	set(r, BILLING_ACCOUNT_ID, events_payer(data));
	set(r, BILLING_ACCOUNT_NAME, events_payer(data));
	set(r, BILLING_CURRENCY, f->currency);
	set(r, CHARGE_CATEGORY, "Usage");
	set(r, CHARGE_FREQUENCY, "Usage-Based");
	set(r, INVOICE_ISSUER, f->issuer);
	set(r, PROVIDER, f->issuer);
	set(r, PUBLISHER, f->issuer);
	set(r, PRICING_CATEGORY, "Standard");
	set(r, SERVICE_CATEGORY, "AI and Machine Learning");
	set(r, SERVICE_SUBCATEGORY, "Generative AI");
	set(r, SERVICE_NAME, service ? service : "LLM inference");
	set(r, SUB_ACCOUNT_ID, string_of(data, "tenant"));
	set(r, SUB_ACCOUNT_NAME, string_of(data, "tenant"));
	set(r, X_EVENT_ID, string_of(event, "id"));
	set_tags(r, data);
}

/* -------------------------------------------------------------------------- a line */

static const char *unit_of(const char *dimension)
{
	if (!strcmp(dimension, "request"))
		return "Requests";
	if (!strcmp(dimension, "second"))
		return "Seconds";
	if (!strcmp(dimension, "session"))
		return "Sessions";
	return !strcmp(dimension, "unit") ? "Units" : "Tokens";
}

static void set_names(struct row *r, const json_t *data, const char *dimension)
{
	const json_t *card = json_object_get(data, "rate_card");
	const char *meter = string_of(data, "dimension"), *model = string_of(data, "model");
	char text[512];

	if (meter)
		snprintf(text, sizeof(text), "meter:%s%s%s", meter, model ? "/" : "",
			 model ? model : "");
	else
		snprintf(text, sizeof(text), "%s/%s", model ? model : "unknown", dimension);
	set(r, SKU_ID, text);
	snprintf(r->cell[CHARGE_DESCRIPTION], sizeof(r->cell[0]), "Usage of %s", text);
	if (!card)
		return;
	snprintf(text, sizeof(text), "%.128s/%.128s/%" PRId64 "/%s", string_of(card, "name"),
		 string_of(card, "version"), ctl_int(card, "entry"), dimension);
	set(r, SKU_PRICE_ID, text);
}

/* per as a power of ten: -1 if it is none. */
static int zeros_of(int64_t per)
{
	int n = 0;

	for (; per > 1 && per % 10 == 0; per /= 10)
		n++;
	return per == 1 ? n : -1;
}

static __int128 quantity_nano(const json_t *line)
{
	const json_t *q = json_object_get(line, "quantity");

	return json_is_integer(q) ? (__int128)json_integer_value(q) * WEIR_NANO
				  : events_nano(line, "quantity");
}

/* unit_price x factor x rate, both factors in nano; nothing where that does not fit. */
static void set_unit_prices(struct row *r, const json_t *line, int64_t factor, int64_t rate)
{
	__int128 n = (__int128)events_nano(line, "unit_price") * rate, contracted;

	set_exact(r, LIST_UNIT_PRICE, n, 18);
	if (!__builtin_mul_overflow(n, (__int128)factor, &contracted))
		set_exact(r, CONTRACTED_UNIT_PRICE, contracted, 27);
}

static void set_line(struct row *r, const json_t *line, int64_t factor, int64_t rate)
{
	const char *dimension = string_of(line, "dimension");
	int64_t per = ctl_int(line, "per");
	__int128 quantity = quantity_nano(line);
	int zeros = zeros_of(per);

	set_exact(r, CONSUMED_QUANTITY, quantity, 9);
	set(r, CONSUMED_UNIT, unit_of(dimension));
	set_exact(r, LIST_COST, (__int128)events_nano(line, "amount") * rate, 18);
	set(r, LIST_UNIT_PRICE, "");
	set(r, CONTRACTED_UNIT_PRICE, "");
	if (zeros < 0) { /* not to be told in so many of them */
		set_exact(r, PRICING_QUANTITY, quantity, 9);
		set(r, PRICING_UNIT, unit_of(dimension));
		return;
	}
	set_exact(r, PRICING_QUANTITY, quantity, 9 + (unsigned)zeros);
	if (zeros)
		snprintf(r->cell[PRICING_UNIT], sizeof(r->cell[0]), "%" PRId64 " %s", per,
			 unit_of(dimension));
	else
		set(r, PRICING_UNIT, unit_of(dimension));
	set_unit_prices(r, line, factor, rate);
}

static void set_costs(struct row *r, int64_t nano, int64_t rate)
{
	set_exact(r, BILLED_COST, (__int128)nano * rate, 18);
	set(r, EFFECTIVE_COST, r->cell[BILLED_COST]);
	set(r, CONTRACTED_COST, r->cell[BILLED_COST]);
}

/* What the line is of the price, before what rounding leaves. */
static int64_t share_of(const json_t *line, int64_t factor)
{
	int64_t nano;

	if (weir_money_div((__int128)events_nano(line, "amount") * factor, WEIR_NANO, &nano))
		return 0;
	return nano;
}

static void print_lines(struct row *r, const json_t *data, const struct events_format *f)
{
	const json_t *card = json_object_get(data, "rate_card"), *line;
	const json_t *lines = json_object_get(data, "lines");
	int64_t factor = json_object_get(card, "factor") ? events_nano(card, "factor") : WEIR_NANO;
	int64_t left = events_nano(data, "price");
	size_t i;

	json_array_foreach(lines, i, line)
	{
		bool last = i + 1 == json_array_size(lines);
		int64_t share = last ? left : share_of(line, factor);

		if (!string_of(line, "dimension"))
			continue;
		left -= share;
		set_names(r, data, string_of(line, "dimension"));
		set_line(r, line, factor, f->rate_nano);
		set_costs(r, share, f->rate_nano);
		print_row(r);
	}
}

/* What has a price and nobody can say any more of what. */
static void print_whole(struct row *r, const json_t *data, const struct events_format *f)
{
	set_names(r, data, "request");
	set(r, CONSUMED_QUANTITY, "1");
	set(r, CONSUMED_UNIT, "Requests");
	set(r, PRICING_QUANTITY, "1");
	set(r, PRICING_UNIT, "Requests");
	set_costs(r, events_nano(data, "price"), f->rate_nano);
	set(r, LIST_COST, r->cell[BILLED_COST]);
	print_row(r);
}

int events_focus(const json_t *event, struct events_format *f)
{
	const json_t *data = events_usage(event);
	struct row *r;

	events_focus_head(f);
	if (!data)
		return CTL_DONE;
	r = calloc(1, sizeof(*r));
	if (!r)
		return ctl_fail(CTL_REFUSED, "out of memory");
	if (set_times(r, event, data)) {
		set_common(r, event, data, f);
		if (json_array_size(json_object_get(data, "lines")))
			print_lines(r, data, f);
		else if (events_nano(data, "price"))
			print_whole(r, data, f);
	}
	free(r);
	fflush(stdout);
	return CTL_DONE;
}
