// SPDX-License-Identifier: Apache-2.0
/*
 * Field by field, as event.c writes them. The text comes from a server: a field of another type
 * than ours, or longer than its place in a row, makes it no event of ours.
 */
#include "agent/event_read.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "agent/money.h"
#include "bpf/weir_abi.h"

/* ------------------------------------------------------------------ fields */

/* The first wrong field ends it; what is read after it is of no use. */
struct reading {
	const json_t *at;
	const char *wrong; /* name of a field */
};

static void fail(struct reading *r, const char *name)
{
	if (!r->wrong)
		r->wrong = name;
}

static void text(struct reading *r, const char *name, char *out, size_t cap)
{
	const json_t *v = json_object_get(r->at, name);
	size_t n = json_string_length(v);

	if (!v)
		return;
	if (!json_is_string(v) || n > cap || memchr(json_string_value(v), 0, n))
		fail(r, name);
	else
		memcpy(out, json_string_value(v), n); /* NUL padded where it is shorter */
}

/* Of arrays of chars that a row pads and an op ends with NUL. */
#define FULL(r, name, field)  text(r, name, field, sizeof(field))
#define ENDED(r, name, field) text(r, name, field, sizeof(field) - 1)

static bool truth(struct reading *r, const char *name)
{
	const json_t *v = json_object_get(r->at, name);

	if (v && !json_is_boolean(v))
		fail(r, name);
	return json_is_true(v);
}

static int64_t integer(struct reading *r, const char *name, int64_t none, int64_t max)
{
	const json_t *v = json_object_get(r->at, name);
	int64_t n = json_integer_value(v);

	if (!v)
		return none;
	if (json_is_integer(v) && n >= 0 && n <= max)
		return n;
	fail(r, name);
	return none;
}

static int64_t money(struct reading *r, const char *name)
{
	const json_t *v = json_object_get(r->at, name);
	int64_t nano = 0;

	if (v && (!json_is_string(v) || weir_money_parse(json_string_value(v), &nano)))
		fail(r, name);
	return nano;
}

static uint64_t instant(struct reading *r, const char *name)
{
	const json_t *v = json_object_get(r->at, name);
	uint64_t ns = 0;

	if (!json_is_string(v) || weir_time_parse(json_string_value(v), &ns) || ns > INT64_MAX)
		fail(r, name);
	return ns;
}

/* Milliseconds with decimals. A duration, no money: jansson's double is exact enough. */
static uint32_t millis_us(struct reading *r, const char *name)
{
	const json_t *v = json_object_get(r->at, name);
	double ms = json_number_value(v);

	if (!v)
		return 0;
	if (json_is_number(v) && ms >= 0 && ms * 1000 < UINT32_MAX)
		return (uint32_t)(ms * 1000 + 0.5);
	fail(r, name);
	return 0;
}

static uint8_t choice(struct reading *r, const char *name, const char *const *names, size_t n)
{
	const json_t *v = json_object_get(r->at, name);

	for (size_t i = 0; v && i < n; i++)
		if (names[i] && json_is_string(v) && !strcmp(names[i], json_string_value(v)))
			return (uint8_t)i;
	if (v)
		fail(r, name);
	return 0;
}

static bool is(struct reading *r, const char *name, const char *value)
{
	const json_t *v = json_object_get(r->at, name);

	return json_is_string(v) && !strcmp(json_string_value(v), value);
}

/* ------------------------------------------------------------------ parts of it */

static void read_counts(struct reading *r, struct weir_row *row)
{
	static const char *const sources[] = {
		[WEIR_USAGE_REPORTED] = "reported",
		[WEIR_USAGE_ESTIMATED] = "estimated",
		[WEIR_USAGE_PARTIAL] = "partial",
	};
	const json_t *guessed = json_object_get(r->at, "estimated_counts"), *v;
	size_t i;

	row->usage.input = integer(r, "input_tokens", WEIR_UNKNOWN, INT64_MAX);
	row->usage.cache_read = integer(r, "cache_read_tokens", WEIR_UNKNOWN, INT64_MAX);
	row->usage.cache_write = integer(r, "cache_write_tokens", WEIR_UNKNOWN, INT64_MAX);
	row->usage.output = integer(r, "output_tokens", WEIR_UNKNOWN, INT64_MAX);
	row->usage.reasoning = integer(r, "reasoning_tokens", WEIR_UNKNOWN, INT64_MAX);
	row->audio = integer(r, "audio_tokens", WEIR_UNKNOWN, INT64_MAX);
	row->image = integer(r, "image_tokens", WEIR_UNKNOWN, INT64_MAX);
	row->usage_source =
		choice(r, "usage_source", sources, sizeof(sources) / sizeof(sources[0]));
	json_array_foreach((json_t *)guessed, i, v)
	{
		const char *which = json_string_value(v);

		if (which && !strcmp(which, "input"))
			row->flags2 |= WEIR_ROW_INPUT_GUESSED;
		else if (which && !strcmp(which, "output"))
			row->flags2 |= WEIR_ROW_OUTPUT_GUESSED;
	}
}

static void read_flags(struct reading *r, struct weir_row *row)
{
	static const struct {
		const char *name;
		uint16_t flag;
		uint32_t flag2;
	} t[] = {
		{ "stream", WEIR_ROW_STREAM, 0 },	   { "billable", WEIR_ROW_BILLABLE, 0 },
		{ "unpriced", WEIR_ROW_UNPRICED, 0 },	   { "lost_bytes", WEIR_ROW_LOST_BYTES, 0 },
		{ "degraded", WEIR_ROW_DEGRADED, 0 },	   { "unjudged", WEIR_ROW_UNJUDGED, 0 },
		{ "labels_trusted", WEIR_ROW_TRUSTED, 0 }, { "left", 0, WEIR_ROW_LEFT },
		{ "retry_free", 0, WEIR_ROW_RETRY_FREE },  { "cache_free", 0, WEIR_ROW_CACHE_FREE },
		{ "encoded", 0, WEIR_ROW_ENCODED },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (!truth(r, t[i].name))
			continue;
		row->flags |= t[i].flag;
		row->flags2 |= t[i].flag2;
	}
	if (is(r, "abort", "free"))
		row->flags2 |= WEIR_ROW_ABORT_FREE;
	else if (is(r, "abort", "full"))
		row->flags2 |= WEIR_ROW_ABORT_FULL;
}

static void read_course(struct reading *r, struct weir_row *row)
{
	const char *trace = json_string_value(json_object_get(r->at, "trace_id"));

	FULL(r, "response_id", row->response_id);
	FULL(r, "model_requested", row->model_requested);
	FULL(r, "model", row->model);
	FULL(r, "model_version", row->model_version);
	FULL(r, "client_request_id", row->client_request_id);
	FULL(r, "user", row->user);
	FULL(r, "team", row->team);
	FULL(r, "feature", row->feature);
	FULL(r, "cost_center", row->cost_center);
	FULL(r, "session", row->session);
	if (trace && weir_unhex(trace, row->trace_id, sizeof(row->trace_id)))
		fail(r, "trace_id");
	row->status = (uint16_t)integer(r, "status", 0, UINT16_MAX);
	row->retry_count = (uint8_t)integer(r, "retry_count", 0, UINT8_MAX);
	row->cache_status =
		choice(r, "cache_status", weir_cache_status_names, WEIR_CACHE_STATUS_MAX);
	row->max_tokens_requested = integer(r, "max_tokens_requested", WEIR_UNKNOWN, INT64_MAX);
	if (row->max_tokens_requested != WEIR_UNKNOWN)
		row->flags |= WEIR_ROW_TOKENS_CUT;
	row->started_wall_ns = instant(r, "started_at");
	row->ttft_us = millis_us(r, "ttft_ms");
	row->end_cause = truth(r, "cut") ? WEIR_END_CUT : WEIR_END_RESPONSE;
	/* What nobody said is told as "cut". */
	if (row->end_cause != WEIR_END_CUT || !is(r, "finish_reason", "cut"))
		FULL(r, "finish_reason", row->finish_reason);
}

/* Who pays nothing moved nothing. */
static bool posted(const struct reading *r, int64_t price_nano)
{
	return !price_nano || json_array_size(json_object_get(r->at, "burn")) ||
	       json_object_get(r->at, "debt");
}

static void read_card(struct reading *r, struct weir_event_usage *out, uint32_t *entry,
		      uint32_t *discount_milli)
{
	struct reading card = { .at = json_object_get(r->at, "rate_card") };
	int64_t discount = money(r, "discount");

	if (discount < 0 || discount >= WEIR_NANO)
		fail(r, "discount");
	*discount_milli = (uint32_t)(discount / (WEIR_NANO / 1000));
	if (!card.at)
		return;
	ENDED(&card, "name", out->card);
	ENDED(&card, "version", out->version);
	*entry = (uint32_t)integer(&card, "entry", 0, UINT32_MAX);
	if (card.wrong || !out->card[0])
		fail(r, "rate_card");
}

static void read_request(struct reading *r, struct weir_event_usage *out)
{
	struct weir_row *row = &out->row;

	row->id = out->id;
	row->ended_wall_ns = out->time_ns;
	row->request_bytes = row->response_bytes = UINT64_MAX;
	ENDED(r, "service", out->service);
	read_counts(r, row);
	read_flags(r, row);
	read_course(r, row);
	read_card(r, out, &row->card_entry, &row->discount_milli);
	if (posted(r, out->price_nano))
		row->flags |= WEIR_ROW_POSTED;
}

static void read_report(struct reading *r, struct weir_event_usage *out)
{
	struct weir_op *op = &out->op;

	op->kind = WEIR_ENTRY_METER;
	ENDED(r, "usage_id", op->key);
	ENDED(r, "dimension", op->dimension);
	ENDED(r, "model", op->model);
	ENDED(r, "feature", op->feature);
	ENDED(r, "session", op->session);
	ENDED(r, "reason", op->reason);
	op->quantity_nano = money(r, "quantity");
	op->started_ns = instant(r, "started_at");
	if (truth(r, "labels_trusted"))
		op->flags |= WEIR_OP_TRUSTED;
	if (truth(r, "unpriced"))
		op->flags |= WEIR_OP_UNPRICED;
	if (truth(r, "started_at_assumed"))
		op->flags |= WEIR_OP_NOW;
	read_card(r, out, &op->card_entry, &op->discount_milli);
	if (posted(r, out->price_nano))
		op->flags |= WEIR_OP_POSTED;
	if (!op->key[0])
		fail(r, "usage_id");
	if (!op->dimension[0])
		fail(r, "dimension");
	if (op->quantity_nano <= 0)
		fail(r, "quantity");
}

static void read_data(struct reading *r, struct weir_event_usage *out)
{
	ENDED(r, "tenant", out->tenant);
	memcpy(out->wallet, out->tenant, sizeof(out->wallet));
	if (json_object_get(r->at, "wallet")) {
		memset(out->wallet, 0, sizeof(out->wallet));
		ENDED(r, "wallet", out->wallet);
	}
	if (!out->tenant[0] || !out->wallet[0])
		fail(r, "tenant");
	out->price_nano = money(r, "price");
	out->cost_nano = money(r, "cost");
	out->ledger_seq = (uint64_t)integer(r, "ledger_seq", 0, INT64_MAX);
	out->kind = json_object_get(r->at, "dimension") ? WEIR_ENTRY_METER : WEIR_ENTRY_USAGE;
	if (out->kind == WEIR_ENTRY_METER)
		read_report(r, out);
	else
		read_request(r, out);
}

int weir_event_read(const char *json, size_t n, struct weir_event_usage *out,
		    struct weir_error *err)
{
	json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL);
	struct reading event = { .at = root }, data = { .at = json_object_get(root, "data") };
	const char *id = json_string_value(json_object_get(root, "id"));
	struct weir_event_usage u = { 0 };
	int ret = 0;

	if (!is(&event, "type", "weir.usage.v1"))
		fail(&event, "type");
	if (!id || weir_unhex(id, u.id.b, sizeof(u.id.b)))
		fail(&event, "id");
	u.time_ns = instant(&event, "time");
	read_data(&data, &u);
	if (!root)
		ret = weir_fail(err, EINVAL, "event: not JSON");
	else if (event.wrong || data.wrong)
		ret = weir_fail(err, EINVAL, "event %.40s: \"%s\" is missing or not as ours",
				id ? id : "?", event.wrong ? event.wrong : data.wrong);
	else
		*out = u;
	json_decref(root);
	return ret;
}
