// SPDX-License-Identifier: Apache-2.0
/*
 * What goes into each kind of event, and in which order. How JSON is spelt is
 * json_out.h's business. A field whose value is not known is left out.
 */
#include "agent/event.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/entry_json.h"
#include "agent/entry_out.h"
#include "agent/event_priv.h"
#include "agent/json_out.h"
#include "agent/money.h"
#include "agent/request_type.h"
#include "bpf/weir_abi.h"

size_t weir_event_names_bytes(const struct weir_event_origin *from, const char *tenant)
{
	return WEIR_EVENT_BYTE *
	       (strlen(from->ledger_id) + strlen(from->node) + 3 * strlen(tenant));
}

/* -------------------------------------------------------------- parts of events */

static void put_count(struct weir_out *o, const char *name, int64_t v)
{
	if (v != WEIR_UNKNOWN)
		weir_out_int(o, name, v);
}

static void put_text(struct weir_out *o, const char *name, const char *s, size_t max)
{
	size_t n = strnlen(s, max);

	if (n)
		weir_out_str(o, name, s, n);
}

void weir_event_envelope(struct weir_out *o, const struct weir_event_origin *from, const char *id,
			 const char *type, const char *subject, uint64_t time_ns)
{
	weir_out_open(o, NULL, '{');
	weir_out_cstr(o, "specversion", "1.0");
	weir_out_cstr(o, "id", id);
	weir_out_source(o, "source", from->ledger_id, from->node);
	weir_out_cstr(o, "type", type);
	weir_out_cstr(o, "subject", subject);
	weir_out_time(o, "time", time_ns);
	weir_out_cstr(o, "datacontenttype", "application/json");
	weir_out_open(o, "data", '{');
}

/* ----------------------------------------------------------------------- usage */

static void put_usage(struct weir_out *o, const struct weir_row *r)
{
	static const char *const sources[] = {
		[WEIR_USAGE_REPORTED] = "reported",
		[WEIR_USAGE_ESTIMATED] = "estimated",
		[WEIR_USAGE_PARTIAL] = "partial",
	};

	put_count(o, "input_tokens", r->usage.input);
	put_count(o, "cache_read_tokens", r->usage.cache_read);
	put_count(o, "cache_write_tokens", r->usage.cache_write);
	put_count(o, "output_tokens", r->usage.output);
	put_count(o, "reasoning_tokens", r->usage.reasoning);
	put_count(o, "audio_tokens", r->audio);
	put_count(o, "image_tokens", r->image);
	if (r->usage_source < sizeof(sources) / sizeof(sources[0]) && sources[r->usage_source])
		weir_out_cstr(o, "usage_source", sources[r->usage_source]);
	if (r->flags2 & (WEIR_ROW_INPUT_GUESSED | WEIR_ROW_OUTPUT_GUESSED)) {
		weir_out_open(o, "estimated_counts", '[');
		if (r->flags2 & WEIR_ROW_INPUT_GUESSED)
			weir_out_cstr(o, NULL, "input");
		if (r->flags2 & WEIR_ROW_OUTPUT_GUESSED)
			weir_out_cstr(o, NULL, "output");
		weir_out_close(o, ']');
	}
	if (r->flags & WEIR_ROW_LOST_BYTES)
		weir_out_bool(o, "lost_bytes", true);
}

/* What of its answer, and of whether it is billed, was not as usual. */
static void put_course(struct weir_out *o, const struct weir_row *r)
{
	if (r->flags2 & WEIR_ROW_LEFT)
		weir_out_bool(o, "left", true);
	if (r->flags2 & (WEIR_ROW_ABORT_FREE | WEIR_ROW_ABORT_FULL))
		weir_out_cstr(o, "abort", r->flags2 & WEIR_ROW_ABORT_FREE ? "free" : "full");
	if (r->flags2 & WEIR_ROW_RETRY_FREE)
		weir_out_bool(o, "retry_free", true);
	if (r->flags2 & WEIR_ROW_CACHE_FREE)
		weir_out_bool(o, "cache_free", true);
	if (r->flags2 & WEIR_ROW_ENCODED)
		weir_out_bool(o, "encoded", true);
	if (r->retry_count)
		weir_out_u64(o, "retry_count", r->retry_count);
	if (r->cache_status < WEIR_CACHE_STATUS_MAX && weir_cache_status_names[r->cache_status])
		weir_out_cstr(o, "cache_status", weir_cache_status_names[r->cache_status]);
}

static void put_request(struct weir_out *o, const char *service, const struct weir_row *r)
{
	const char *type = weir_request_type(r->path, strnlen(r->path, sizeof(r->path)));

	if (service)
		weir_out_cstr(o, "service", service);
	if (type)
		weir_out_cstr(o, "request_type", type);
	put_text(o, "model_requested", r->model_requested, sizeof(r->model_requested));
	put_text(o, "model", r->model, sizeof(r->model));
	put_text(o, "model_version", r->model_version, sizeof(r->model_version));
	if (r->flags & WEIR_ROW_DEGRADED)
		weir_out_bool(o, "degraded", true);
	if (r->flags & WEIR_ROW_TOKENS_CUT && r->max_tokens_requested != WEIR_UNKNOWN)
		weir_out_int(o, "max_tokens_requested", r->max_tokens_requested);
	if (r->flags & WEIR_ROW_UNJUDGED)
		weir_out_bool(o, "unjudged", true);
	weir_out_bool(o, "stream", r->flags & WEIR_ROW_STREAM);
	if (r->status)
		weir_out_u64(o, "status", r->status);
	weir_out_bool(o, "billable", r->flags & WEIR_ROW_BILLABLE);
	put_usage(o, r);
	put_course(o, r);
	weir_out_time(o, "started_at", r->started_wall_ns);
	if (r->ttft_us)
		weir_out_millis(o, "ttft_ms", r->ttft_us);
	/* The wall clock may have been set back meanwhile. */
	if (r->ended_wall_ns >= r->started_wall_ns)
		weir_out_millis(o, "latency_ms", (r->ended_wall_ns - r->started_wall_ns) / 1000);
	/* What the server called its end, even if the client did not live to see it. */
	if (r->end_cause == WEIR_END_CUT)
		weir_out_bool(o, "cut", true);
	if (r->end_cause == WEIR_END_CUT && !r->finish_reason[0])
		weir_out_cstr(o, "finish_reason", "cut");
	else
		put_text(o, "finish_reason", r->finish_reason, sizeof(r->finish_reason));
}

static const char *name_or_unknown(const char *name)
{
	return name ? name : "unknown";
}

/* What it was for, as somebody said. What a client may write into a header is not proof. */
struct labels {
	const char *user, *team, *feature, *cost_center, *session; /* of the row's sizes */
	bool trusted;
};

static void put_labels(struct weir_out *o, const struct labels *l)
{
	const struct weir_row *size = NULL;

	put_text(o, "user", l->user, sizeof(size->user));
	put_text(o, "team", l->team, sizeof(size->team));
	put_text(o, "feature", l->feature, sizeof(size->feature));
	put_text(o, "cost_center", l->cost_center, sizeof(size->cost_center));
	put_text(o, "session", l->session, sizeof(size->session));
	if (l->user[0] || l->team[0] || l->feature[0] || l->cost_center[0] || l->session[0])
		weir_out_bool(o, "labels_trusted", l->trusted);
}

/* By which somebody else knows the request. */
static void put_foreign_ids(struct weir_out *o, const struct weir_row *r)
{
	static const uint8_t none[sizeof(r->trace_id)];
	char trace[2 * sizeof(r->trace_id) + 1];

	weir_hex(r->trace_id, sizeof(r->trace_id), trace);
	if (memcmp(r->trace_id, none, sizeof(none)))
		weir_out_cstr(o, "trace_id", trace);
	put_text(o, "client_request_id", r->client_request_id, sizeof(r->client_request_id));
}

/* From the top of the tree down to who used it, as the tree was then. */
static void put_path(struct weir_out *o, const char *path, const char *tenant)
{
	weir_out_open(o, "path", '[');
	for (const char *name = path ? path : tenant, *end; name; name = end) {
		end = path ? strchr(name, '/') : NULL;
		weir_out_str(o, NULL, name, end ? (size_t)(end - name) : strlen(name));
		if (end)
			end++;
	}
	weir_out_close(o, ']');
}

/* By which a subscriber sees that nothing is missing. */
static void put_place(struct weir_out *o, const struct weir_entry *e,
		      const struct weir_event_origin *from)
{
	weir_out_u64(o, "ledger_seq", e->seq);
	if (from->previous_seq != WEIR_EVENT_UNKNOWN_SEQ)
		weir_out_u64(o, "previous_seq", from->previous_seq);
}

/* The end of the path is who used it, the wallet is who pays. */
static void put_tenant(struct weir_out *o, const struct weir_entry *e,
		       const struct weir_event_origin *from)
{
	const char *tenant = name_or_unknown(e->tenant_name);

	weir_out_cstr(o, "tenant", tenant);
	put_path(o, from->path, tenant);
	if (e->wallet != e->tenant)
		weir_out_cstr(o, "wallet", name_or_unknown(e->wallet_name));
}

/* What it costs, and who gave the credit. */
struct bill {
	bool unpriced;
	uint32_t discount_milli;
	int64_t price_nano, cost_nano;
};

static void put_bill(struct weir_out *o, const struct weir_entry *e, const struct weir_priced *p,
		     const struct bill *b)
{
	if (p->card)
		weir_put_card(o, p);
	if (p->card && weir_card_unit(p->card, p->entry))
		weir_out_str(o, "unit", weir_card_unit(p->card, p->entry),
			     strnlen(weir_card_unit(p->card, p->entry), WEIR_OUT_NAME_MAX));
	if (p->card && b->discount_milli)
		weir_out_money(o, "discount", (int64_t)b->discount_milli * (WEIR_NANO / 1000));
	if (b->unpriced)
		weir_out_bool(o, "unpriced", true);
	weir_out_money(o, "price", b->price_nano);
	weir_out_money(o, "cost", b->cost_nano);
	if (p->card)
		weir_put_lines(o, p);
	weir_put_burn(o, e);
}

static void put_row(struct weir_out *o, const struct weir_entry *e,
		    const struct weir_event_origin *from, const struct weir_priced *p)
{
	const struct weir_row *r = e->row;

	put_text(o, "response_id", r->response_id, sizeof(r->response_id));
	put_tenant(o, e, from);
	put_labels(o, &(struct labels){ r->user, r->team, r->feature, r->cost_center, r->session,
					r->flags & WEIR_ROW_TRUSTED });
	put_foreign_ids(o, r);
	put_request(o, from->service, r);
	put_bill(o, e, p,
		 &(struct bill){ r->flags & WEIR_ROW_UNPRICED, r->discount_milli, r->price_nano,
				 r->cost_nano });
	put_place(o, e, from);
}

static uint64_t metered_at(const struct weir_entry *e)
{
	return e->op->started_ns ? e->op->started_ns : e->time_ns;
}

static void put_meter(struct weir_out *o, const struct weir_entry *e,
		      const struct weir_event_origin *from, const struct weir_priced *p)
{
	const struct weir_op *op = e->op;

	put_text(o, "usage_id", op->key, sizeof(op->key));
	put_tenant(o, e, from);
	put_labels(o, &(struct labels){ "", "", op->feature, "", op->session,
					op->flags & WEIR_OP_TRUSTED });
	put_text(o, "dimension", op->dimension, sizeof(op->dimension));
	weir_out_money(o, "quantity", op->quantity_nano);
	put_text(o, "model", op->model, sizeof(op->model));
	weir_out_bool(o, "billable", true);
	weir_out_cstr(o, "usage_source", "reported");
	weir_out_time(o, "started_at", metered_at(e));
	if (op->flags & WEIR_OP_NOW)
		weir_out_bool(o, "started_at_assumed", true);
	put_text(o, "reason", op->reason, sizeof(op->reason));
	put_bill(o, e, p,
		 &(struct bill){ op->flags & WEIR_OP_UNPRICED, op->discount_milli, op->price_nano,
				 op->cost_nano });
	put_place(o, e, from);
}

static void put_top_up(struct weir_out *o, const struct weir_entry *e,
		       const struct weir_event_origin *from)
{
	weir_out_cstr(o, "tenant", name_or_unknown(e->tenant_name));
	weir_out_cstr(o, "wallet", name_or_unknown(e->wallet_name));
	weir_out_money(o, "balance", e->balance_after_nano);
	weir_out_money(o, "threshold", e->op->threshold_nano);
	weir_out_money(o, "ask", e->op->amount_nano);
	put_place(o, e, from);
}

static size_t bytes_for(const struct weir_entry *e, const struct weir_event_origin *from)
{
	const char *tenant = name_or_unknown(e->tenant_name);

	return WEIR_EVENT_FIXED_BYTES + weir_event_names_bytes(from, tenant) +
	       WEIR_EVENT_BYTE * (2 * strlen(from->path ? from->path : tenant) +
				  strlen(name_or_unknown(e->wallet_name)) +
				  (from->service ? strlen(from->service) : 0) + WEIR_OUT_NAME_MAX) +
	       WEIR_OUT_CARD_BYTES + WEIR_OUT_LINES_BYTES + e->n_moves * WEIR_OUT_MOVE_BYTES;
}

const char *weir_event_topic(const struct weir_entry *e)
{
	switch (e->kind) {
	case WEIR_ENTRY_USAGE:
		return e->row ? "meter" : NULL;
	case WEIR_ENTRY_METER:
		return e->op ? "meter" : NULL;
	case WEIR_ENTRY_TOP_UP:
		return e->op ? "alert" : NULL;
	default:
		return e->op && e->kind < WEIR_ENTRY_KIND_MAX ? "ledger" : NULL;
	}
}

void weir_event_subject(const struct weir_entry *e, const char *node,
			char out[static WEIR_EVENT_SUBJECT])
{
	const char *topic = weir_event_topic(e);

	if (e->tenant_name)
		snprintf(out, WEIR_EVENT_SUBJECT, "%s.v1.%s.%s", topic ? topic : "none",
			 e->tenant_name, node);
	else
		snprintf(out, WEIR_EVENT_SUBJECT, "%s.v1.~%u.%s", topic ? topic : "none", e->tenant,
			 node);
}

/* What moves credit and is no usage: whoever bills from events needs it whole. */
static int ledger_json(const struct weir_entry *e, const struct weir_event_origin *from,
		       const char *id, struct weir_text *out)
{
	const char *tenant = name_or_unknown(e->tenant_name);
	size_t head = WEIR_EVENT_FIXED_BYTES + weir_event_names_bytes(from, tenant), len;
	struct weir_out o;
	int r = weir_entry_json(e, NULL, out);

	len = out->len;
	if (!r)
		r = weir_text_reserve(out, 2 * head + len);
	if (r)
		return r;
	/* Out of the way of what is written before it; without its opening bracket, which the
	 * envelope has written. */
	memmove(out->p + head, out->p, len);
	o = (struct weir_out){ .p = out->p };
	weir_event_envelope(&o, from, id, "weir.ledger.v1", tenant, e->time_ns);
	/* And without its closing one: its place in the lane stands behind. */
	memmove(o.p, out->p + head + 1, len - 2);
	o.p += len - 2;
	o.comma = true;
	put_place(&o, e, from);
	weir_out_close(&o, '}');
	weir_out_close(&o, '}');
	weir_text_end(out, o.p);
	return 0;
}

int weir_event_json(const struct weir_entry *e, const struct weir_event_origin *from,
		    const struct weir_card *card, struct weir_text *out)
{
	const char *type = "weir.usage.v1";
	struct weir_priced priced;
	struct weir_out o;
	uint64_t at_ns;
	char id[2 * WEIR_ID_BYTES + 1];

	if (!weir_event_topic(e))
		return -EINVAL;
	weir_hex(e->id.b, WEIR_ID_BYTES, id);
	if (!strcmp(weir_event_topic(e), "ledger"))
		return ledger_json(e, from, id, out);
	if (weir_text_reserve(out, bytes_for(e, from)))
		return -ENOMEM;
	weir_entry_priced(e, card, &priced);
	at_ns = e->time_ns;
	if (e->kind == WEIR_ENTRY_USAGE)
		at_ns = e->row->ended_wall_ns;
	else if (e->kind == WEIR_ENTRY_METER)
		at_ns = metered_at(e);
	else
		type = "weir.topup.v1";
	o = (struct weir_out){ .p = out->p };
	weir_event_envelope(&o, from, id, type, name_or_unknown(e->tenant_name), at_ns);
	if (e->kind != WEIR_ENTRY_TOP_UP)
		weir_out_cstr(&o, "request_id", id);
	if (e->kind == WEIR_ENTRY_USAGE)
		put_row(&o, e, from, &priced);
	else if (e->kind == WEIR_ENTRY_METER)
		put_meter(&o, e, from, &priced);
	else
		put_top_up(&o, e, from);
	weir_out_close(&o, '}');
	weir_out_close(&o, '}');
	weir_text_end(out, o.p);
	return 0;
}
