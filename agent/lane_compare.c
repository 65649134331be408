/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two events, member by member. What somebody bills by must be equal; what an agent of another
 * version says besides (a label more, a field that is new) may differ.
 */
#include "lane_compare.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "money.h"

static const char *const envelope[] = { "specversion", "id",   "source", "type",
					"subject",     "time", NULL };

static const char *const billed[] = { "request_id",
				      "tenant",
				      "wallet",
				      "status",
				      "billable",
				      "price",
				      "cost",
				      "rate_card",
				      "unit",
				      "discount",
				      "unpriced",
				      "lines",
				      "usage_source",
				      "input_tokens",
				      "cache_read_tokens",
				      "cache_write_tokens",
				      "output_tokens",
				      "audio_tokens",
				      "reasoning_tokens",
				      "image_tokens",
				      "model",
				      "usage_id",
				      "dimension",
				      "quantity",
				      "started_at",
				      "abort",
				      "retry_free",
				      "cache_free",
				      NULL };

/* What follows from its place in the ledger. */
static const char *const placed[] = { "ledger_seq", "previous_seq", "burn", "debt", NULL };

static void show(const json_t *v, char *out, size_t room)
{
	weir_autofree char *text = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	snprintf(out, room, "%s", text ? text : "nothing");
}

/* False, and why: one of the members differs. */
static bool equal(const json_t *a, const json_t *b, const char *const *names, char *why)
{
	for (; *names; names++) {
		const json_t *x = json_object_get(a, *names), *y = json_object_get(b, *names);
		char left[64], right[64];

		if (x == y || (x && y && json_equal(x, y)))
			continue;
		if (!x && !strcmp(*names, "previous_seq"))
			continue;
		show(x, left, sizeof(left));
		show(y, right, sizeof(right));
		snprintf(why, WEIR_LANE_WHY, "%s is %s on the stream, %s in the ledger", *names,
			 left, right);
		return false;
	}
	return true;
}

void weir_lane_compare(const char *stream, size_t n, const char *ledger, size_t m, bool again,
		       struct weir_lane_compared *out)
{
	weir_autojson json_t *a = NULL, *b = NULL;
	const json_t *x, *y;

	*out = (struct weir_lane_compared){ .alike = WEIR_LANE_SAME };
	if (n == m && !memcmp(stream, ledger, n))
		return;
	out->alike = WEIR_LANE_DIFFERENT;
	snprintf(out->why, sizeof(out->why), "it is not strict JSON");
	a = json_loadb(stream, n, JSON_REJECT_DUPLICATES, NULL);
	b = json_loadb(ledger, m, 0, NULL);
	x = json_object_get(a, "data");
	y = json_object_get(b, "data");
	if (!json_is_object(x) || !json_is_object(y))
		return;
	if (!equal(a, b, envelope, out->why) || !equal(x, y, billed, out->why) ||
	    (!again && !equal(x, y, placed, out->why)))
		return;
	out->why[0] = 0;
	out->alike = WEIR_LANE_REWORDED;
	out->unlinked = !json_object_get(x, "previous_seq");
}

int weir_lane_price(const char *json, size_t n, char tenant[static 64], int64_t *nano)
{
	weir_autojson json_t *o = json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *data = json_object_get(o, "data");
	const char *name = json_string_value(json_object_get(data, "tenant"));
	const char *price = json_string_value(json_object_get(data, "price"));

	if (!name || !weir_name_ok(name) || !price || weir_money_parse(price, nano))
		return -EBADMSG;
	snprintf(tenant, 64, "%s", name);
	return 0;
}
