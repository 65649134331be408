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

#include "agent/json_out.h"
#include "agent/price.h"
#include "bpf/weir_abi.h"

/* Without burns, card lines and names; a byte of a string takes six at most. */
#define FIXED_BYTES 8192
#define BURN_BYTES  80
#define LINE_BYTES  192
#define NAME_BYTES  6

void weir_text_free(struct weir_text *t)
{
	free(t->p);
	*t = (struct weir_text){ 0 };
}

static int reserve(struct weir_text *t, size_t want)
{
	size_t cap = t->cap ? t->cap : 4096;
	char *p;

	if (want <= t->cap)
		return 0;
	while (cap < want)
		cap *= 2;
	p = realloc(t->p, cap);
	if (!p)
		return -ENOMEM;
	t->p = p;
	t->cap = cap;
	return 0;
}

/* Names that come from outside, each as often as an event has it. */
static size_t names_bytes(const struct weir_event_origin *from, const char *tenant)
{
	return NAME_BYTES * (strlen(from->ledger_id) + strlen(from->node) + 3 * strlen(tenant));
}

static int finish(struct weir_text *t, const struct weir_out *o)
{
	*o->p = '\0';
	t->len = (size_t)(o->p - t->p);
	return 0;
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

static void put_burns(struct weir_out *o, const struct weir_entry *e)
{
	weir_out_open(o, "burn", '[');
	for (size_t i = 0; i < e->n_burns; i++) {
		weir_out_open(o, NULL, '{');
		weir_out_u64(o, "grant_seq", e->burns[i].grant);
		weir_out_money(o, "amount", e->burns[i].nano);
		weir_out_close(o, '}');
	}
	weir_out_close(o, ']');
}

/* Which card and entry priced it; NULL where nothing did. */
static const struct weir_card *priced_by(const struct weir_entry *e, const struct weir_card *card)
{
	const struct weir_row *r = e->row;

	if (!r || !card || !(r->flags & WEIR_ROW_BILLABLE) || r->flags & WEIR_ROW_UNPRICED ||
	    r->card_entry >= card->n_entries)
		return NULL;
	return card;
}

static void put_card(struct weir_out *o, const struct weir_card *card, const struct weir_row *r)
{
	weir_out_open(o, "rate_card", '{');
	weir_out_str(o, "name", card->name, strnlen(card->name, 128));
	weir_out_str(o, "version", card->version, strnlen(card->version, 128));
	weir_out_u64(o, "entry", r->card_entry);
	weir_out_close(o, '}');
}

static void put_lines(struct weir_out *o, const struct weir_card *card, const struct weir_row *r)
{
	struct weir_charge charge;

	if (weir_card_charge(card, (int)r->card_entry, &r->usage, &charge))
		charge.n_lines = 0;
	weir_out_open(o, "lines", '[');
	for (size_t i = 0; i < charge.n_lines; i++) {
		const struct weir_price_line *line = &charge.lines[i];

		weir_out_open(o, NULL, '{');
		weir_out_cstr(o, "dimension", weir_dimension_names[line->dimension]);
		if (line->priced_as != line->dimension)
			weir_out_cstr(o, "priced_as", weir_dimension_names[line->priced_as]);
		weir_out_int(o, "quantity", line->quantity);
		weir_out_money(o, "unit_price", line->unit_nano);
		weir_out_int(o, "per", line->per);
		weir_out_close(o, '}');
	}
	weir_out_close(o, ']');
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
	struct weir_out o;
	char id[2 * WEIR_ID_BYTES + 1];

	if (!r)
		return -EINVAL;
	if (r->service < from->n_services && from->services)
		service = from->services[r->service];
	if (reserve(out, FIXED_BYTES + names_bytes(from, tenant) +
				 NAME_BYTES * (service ? strlen(service) : 0) +
				 WEIR_DIM_MAX * LINE_BYTES + e->n_burns * BURN_BYTES))
		return -ENOMEM;
	card = priced_by(e, card);
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
	if (card)
		put_card(&o, card, r);
	if (r->flags & WEIR_ROW_UNPRICED)
		weir_out_bool(&o, "unpriced", true);
	weir_out_money(&o, "price", r->price_nano);
	weir_out_money(&o, "cost", r->cost_nano);
	if (card)
		put_lines(&o, card, r);
	put_burns(&o, e);
	if (e->debt_nano)
		weir_out_money(&o, "debt", e->debt_nano);
	weir_out_u64(&o, "ledger_seq", e->seq);
	weir_out_close(&o, '}');
	weir_out_close(&o, '}');
	return finish(out, &o);
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

	if (reserve(out, FIXED_BYTES + names_bytes(from, d->tenant) +
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
	return finish(out, &o);
}

/* --------------------------------------------------------------------- entries */

static void put_grant(struct weir_out *o, const struct weir_grant *g)
{
	static const char *const sources[] = {
		[WEIR_GRANT_PAID] = "paid",
		[WEIR_GRANT_PROMO] = "promo",
		[WEIR_GRANT_TRIAL] = "trial",
	};

	weir_out_open(o, "grant", '{');
	weir_out_str(o, "id", g->key, strnlen(g->key, sizeof(g->key)));
	if (g->source < sizeof(sources) / sizeof(sources[0]))
		weir_out_cstr(o, "source", sources[g->source]);
	weir_out_u64(o, "priority", g->priority);
	weir_out_time(o, "effective_at", g->effective_ns);
	if (g->expires_ns)
		weir_out_time(o, "expires_at", g->expires_ns);
	put_text(o, "reason", g->reason, sizeof(g->reason));
	weir_out_close(o, '}');
}

int weir_entry_json(const struct weir_entry *e, const struct weir_card *card, struct weir_text *out)
{
	struct weir_out o;
	char hex[2 * WEIR_HASH_BYTES + 1];

	if (reserve(out, FIXED_BYTES + WEIR_DIM_MAX * LINE_BYTES + e->n_burns * BURN_BYTES))
		return -ENOMEM;
	card = priced_by(e, card);
	o = (struct weir_out){ .p = out->p };
	weir_out_open(&o, NULL, '{');
	weir_out_u64(&o, "seq", e->seq);
	weir_out_time(&o, "time", e->time_ns);
	weir_out_cstr(&o, "kind",
		      e->kind < WEIR_ENTRY_KIND_MAX ? weir_entry_kind_names[e->kind] : "");
	weir_out_money(&o, "amount", e->amount_nano);
	weir_out_money(&o, "balance_before", e->balance_before_nano);
	weir_out_money(&o, "balance_after", e->balance_after_nano);
	weir_hex(e->id.b, WEIR_ID_BYTES, hex);
	weir_out_cstr(&o, "event_id", hex);
	if (card) {
		put_card(&o, card, e->row);
		put_lines(&o, card, e->row);
	} else {
		weir_out_null(&o, "rate_card");
		weir_out_open(&o, "lines", '[');
		weir_out_close(&o, ']');
	}
	put_burns(&o, e);
	if (e->debt_nano)
		weir_out_money(&o, "debt", e->debt_nano);
	if (e->grant)
		put_grant(&o, e->grant);
	weir_out_cstr(&o, "actor", e->actor);
	weir_hex(e->prev_hash, WEIR_HASH_BYTES, hex);
	weir_out_cstr(&o, "prev_hash", hex);
	weir_hex(e->hash, WEIR_HASH_BYTES, hex);
	weir_out_cstr(&o, "hash", hex);
	weir_out_close(&o, '}');
	return finish(out, &o);
}
