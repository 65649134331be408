// SPDX-License-Identifier: Apache-2.0
/*
 * What goes into each kind of event, and in which order. How JSON is spelt is
 * json_out.h's business. A field whose value is not known is left out.
 */
#include "agent/event.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "agent/entry_out.h"
#include "agent/json_out.h"
#include "bpf/weir_abi.h"

/* Without burns, card lines and names; a byte of a string takes six at most. */
#define FIXED_BYTES 8192
#define NAME_BYTES  6

/* Names that come from outside, each as often as an event has it. */
static size_t names_bytes(const struct weir_event_origin *from, const char *tenant)
{
	return NAME_BYTES * (strlen(from->ledger_id) + strlen(from->node) + 3 * strlen(tenant));
}

/* -------------------------------------------------------------- parts of events */

/* By the end of the path, whatever prefix a gateway put before it. */
static const char *request_type(const char *path, size_t n)
{
	static const struct {
		const char *end, *type;
	} types[] = {
		{ "/chat/completions", "chat" }, { "/completions", "completion" },
		{ "/embeddings", "embedding" },	 { "/responses", "response" },
		{ "/messages", "message" },	 { "/rerank", "rerank" },
		{ "/score", "score" },		 { "/api/chat", "chat" },
		{ "/generate", "generate" },	 { "/generate_stream", "generate" },
		{ "/models", "models" },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size_t len = strlen(types[i].end);

		if (n >= len && !memcmp(path + n - len, types[i].end, len))
			return types[i].type;
	}
	return NULL;
}

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

/* The attributes every CloudEvent has, up to the opened data. */
static void put_envelope(struct weir_out *o, const struct weir_event_origin *from, const char *id,
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
	if (r->usage_source < sizeof(sources) / sizeof(sources[0]) && sources[r->usage_source])
		weir_out_cstr(o, "usage_source", sources[r->usage_source]);
}

static void put_request(struct weir_out *o, const char *service, const struct weir_row *r)
{
	const char *type = request_type(r->path, strnlen(r->path, sizeof(r->path)));

	if (service)
		weir_out_cstr(o, "service", service);
	if (type)
		weir_out_cstr(o, "request_type", type);
	put_text(o, "model_requested", r->model_requested, sizeof(r->model_requested));
	put_text(o, "model", r->model, sizeof(r->model));
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

int weir_event_json(const struct weir_entry *e, const struct weir_event_origin *from,
		    const struct weir_card *card, struct weir_text *out)
{
	const char *tenant = e->tenant_name ? e->tenant_name : "unknown";
	const struct weir_row *r = e->row;
	const char *service = NULL;
	struct weir_priced priced;
	struct weir_out o;
	char id[2 * WEIR_ID_BYTES + 1];

	if (!r)
		return -EINVAL;
	if (r->service < from->n_services && from->services)
		service = from->services[r->service];
	if (weir_text_reserve(out, FIXED_BYTES + names_bytes(from, tenant) +
					   NAME_BYTES * (service ? strlen(service) : 0) +
					   WEIR_OUT_CARD_BYTES + WEIR_OUT_LINES_BYTES +
					   e->n_moves * WEIR_OUT_MOVE_BYTES))
		return -ENOMEM;
	weir_entry_priced(e, card, &priced);
	weir_hex(e->id.b, WEIR_ID_BYTES, id);
	o = (struct weir_out){ .p = out->p };
	put_envelope(&o, from, id, "weir.usage.v1", tenant, r->ended_wall_ns);
	weir_out_cstr(&o, "request_id", id);
	put_text(&o, "response_id", r->response_id, sizeof(r->response_id));
	weir_out_cstr(&o, "tenant", tenant);
	weir_out_open(&o, "path", '[');
	weir_out_cstr(&o, NULL, tenant);
	weir_out_close(&o, ']');
	put_request(&o, service, r);
	if (priced.card)
		weir_put_card(&o, &priced);
	if (r->flags & WEIR_ROW_UNPRICED)
		weir_out_bool(&o, "unpriced", true);
	weir_out_money(&o, "price", r->price_nano);
	weir_out_money(&o, "cost", r->cost_nano);
	if (priced.card)
		weir_put_lines(&o, &priced);
	weir_put_burn(&o, e);
	weir_out_u64(&o, "ledger_seq", e->seq);
	weir_out_close(&o, '}');
	weir_out_close(&o, '}');
	weir_text_end(out, o.p);
	return 0;
}

/* -------------------------------------------------------------------- refusals */

/* Fields end in a NUL each, so that no two sets run together. */
static int denied_id(const struct weir_denied *d, const struct weir_event_origin *from,
		     char id[static WEIR_DENIED_ID_TEXT])
{
	const char *const parts[] = { from->ledger_id,
				      from->node,
				      d->tenant,
				      d->reason,
				      d->limit_of ? d->limit_of : "",
				      d->shadow ? "shadow" : "" };
	uint64_t second = d->first_wall_ns / 1000000000;
	uint8_t hash[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
	for (size_t i = 0; ok && i < sizeof(parts) / sizeof(parts[0]); i++)
		ok = EVP_DigestUpdate(ctx, parts[i], strlen(parts[i]) + 1) == 1;
	ok = ok && EVP_DigestUpdate(ctx, &second, sizeof(second)) == 1 &&
	     EVP_DigestFinal_ex(ctx, hash, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	if (!ok)
		return -ENOMEM;
	weir_hex(hash, WEIR_ID_BYTES, id);
	return 0;
}

int weir_event_denied_json(const struct weir_denied *d, const struct weir_event_origin *from,
			   struct weir_text *out, char id_out[WEIR_DENIED_ID_TEXT])
{
	char id[WEIR_DENIED_ID_TEXT];
	struct weir_out o;

	if (weir_text_reserve(out, FIXED_BYTES + names_bytes(from, d->tenant) +
					   NAME_BYTES * (d->limit_of ? strlen(d->limit_of) : 0)) ||
	    denied_id(d, from, id))
		return -ENOMEM;
	o = (struct weir_out){ .p = out->p };
	put_envelope(&o, from, id, "weir.denied.v1", d->tenant, d->last_wall_ns);
	weir_out_cstr(&o, "tenant", d->tenant);
	weir_out_cstr(&o, "reason", d->reason);
	if (d->limit_is_nano)
		weir_out_money(&o, "limit", d->limit);
	else
		weir_out_int(&o, "limit", d->limit);
	if (d->limit_of)
		weir_out_cstr(&o, "limit_of", d->limit_of);
	weir_out_bool(&o, "shadow", d->shadow);
	weir_out_u64(&o, "count", d->count);
	weir_out_time(&o, "first", d->first_wall_ns);
	weir_out_time(&o, "last", d->last_wall_ns);
	weir_out_close(&o, '}');
	weir_out_close(&o, '}');
	if (id_out)
		memcpy(id_out, id, sizeof(id));
	weir_text_end(out, o.p);
	return 0;
}
