/* SPDX-License-Identifier: Apache-2.0 */
/* What the formats of events share, and the two that are JSON lines. */
#include "events_format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/money.h"
#include "agent/util.h"
#include "ctl.h"

static const char *const counts[] = { "input_tokens",	    "cache_read_tokens",
				      "cache_write_tokens", "output_tokens",
				      "reasoning_tokens",   "audio_tokens",
				      "image_tokens",	    NULL };

const char *const events_stripe_values[] = { "price",
					     "cost",
					     "input_tokens",
					     "cache_read_tokens",
					     "cache_write_tokens",
					     "output_tokens",
					     "reasoning_tokens",
					     "audio_tokens",
					     "image_tokens",
					     NULL };

const json_t *events_usage(const json_t *event)
{
	const char *type = json_string_value(json_object_get(event, "type"));

	return type && !strcmp(type, "weir.usage.v1") ? json_object_get(event, "data") : NULL;
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

const char *events_payer(const json_t *data)
{
	const char *wallet = json_string_value(json_object_get(data, "wallet"));

	return wallet ? wallet : text_of(data, "tenant");
}

int64_t events_nano(const json_t *o, const char *name)
{
	int64_t nano = 0;

	if (weir_money_parse(text_of(o, name), &nano))
		return 0;
	return nano;
}

bool events_time(const json_t *o, const char *name, uint64_t *ns)
{
	return !weir_time_parse(text_of(o, name), ns);
}

void events_exact(__int128 n, unsigned decimals, char out[static EVENTS_EXACT])
{
	char digits[EVENTS_EXACT], *end = digits + sizeof(digits), *p = end;
	bool negative = n < 0;

	/* At least one digit before the point; 39 at most in all, 28 where zeros are added. */
	do {
		int digit = (int)(n % 10);

		*--p = (char)('0' + (digit < 0 ? -digit : digit));
		n /= 10;
	} while (n || end - p <= (int)decimals);
	while (decimals && end[-1] == '0') {
		end--;
		decimals--;
	}
	snprintf(out, EVENTS_EXACT, "%s%.*s%s%.*s", negative ? "-" : "", (int)(end - p - decimals),
		 p, decimals ? "." : "", (int)decimals, end - decimals);
}

static int print_line(json_t *o)
{
	int r = o ? ctl_print_json(o) : ctl_fail(CTL_REFUSED, "out of memory");

	json_decref(o);
	return r;
}

/* ---------------------------------------------------------------------- Stripe */

/* Stripe takes whole numbers only: of amounts it is given nano-credits. */
static int64_t stripe_value(const json_t *data, const char *field)
{
	if (!strcmp(field, "price") || !strcmp(field, "cost"))
		return events_nano(data, field);
	return json_is_true(json_object_get(data, "billable")) ? ctl_int(data, field) : 0;
}

/* The body of POST /v1/billing/meter_events. The same event counted by two meters is two of
 * theirs: the field is part of the identifier. */
int events_stripe(const json_t *event, struct events_format *f)
{
	const json_t *data = events_usage(event);
	int64_t value = data ? stripe_value(data, f->value) : 0;
	uint64_t at_ns;

	if (!value || !events_time(data, "started_at", &at_ns))
		return CTL_DONE;
	return print_line(
		json_pack("{s:s,s:o,s:I,s:{s:s,s:o}}", "event_name", f->name, "identifier",
			  json_sprintf("%s-%s", text_of(event, "id"), f->value), "timestamp",
			  (json_int_t)(at_ns / WEIR_SECOND), "payload", "stripe_customer_id",
			  events_payer(data), "value", json_sprintf("%" PRId64, value)));
}

/* ------------------------------------------------------------------------ Lago */

static json_t *lago_properties(const json_t *data)
{
	static const char *const words[] = { "tenant",	  "service",  "model",	     "request_type",
					     "dimension", "quantity", "user",	     "team",
					     "feature",	  "price",    "cost_center", NULL };
	json_t *o = json_object();

	for (const char *const *p = words; *p; p++) {
		if (json_is_string(json_object_get(data, *p)))
			json_object_set(o, *p, json_object_get(data, *p));
	}
	for (const char *const *p = counts; *p; p++) {
		if (json_is_integer(json_object_get(data, *p)))
			json_object_set(o, *p, json_object_get(data, *p));
	}
	return o;
}

/* An element of POST /api/v1/events/batch. */
int events_lago(const json_t *event, struct events_format *f)
{
	const json_t *data = events_usage(event);
	char cents[EVENTS_EXACT], at[32];
	uint64_t at_ns;

	if (!data || !json_is_true(json_object_get(data, "billable")) ||
	    !events_time(data, "started_at", &at_ns))
		return CTL_DONE;
	events_exact((__int128)events_nano(data, "price") * f->rate_nano, 16, cents);
	snprintf(at, sizeof(at), "%" PRIu64 ".%03u", at_ns / WEIR_SECOND,
		 (unsigned)(at_ns % WEIR_SECOND / 1000000));
	return print_line(json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:o}", "transaction_id", text_of(event, "id"),
		"external_subscription_id", events_payer(data), "code", f->name, "timestamp", at,
		"precise_total_amount_cents", cents, "properties", lago_properties(data)));
}
