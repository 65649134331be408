// SPDX-License-Identifier: Apache-2.0
#include "finish.h"

#include <stdio.h>
#include <string.h>

#include "plain_path.h"

#define BYTES_PER_TOKEN 4 /* the kernel's estimate of a request body (bpf/admit.h) */

static void put_be(uint8_t *p, uint64_t v, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, v >>= 8)
		p[i] = v;
}

void weir_request_id(uint64_t started_wall_ns, uint32_t boot, uint32_t slot, uint32_t ordinal,
		     struct weir_id *out)
{
	put_be(out->b, started_wall_ns, 8);
	put_be(out->b + 8, boot, 4);
	put_be(out->b + 12, slot, 3);
	put_be(out->b + 15, ordinal, 1);
}

static int64_t known(int64_t n)
{
	return n > 0 ? n : 0;
}

/* Nobody said how many: output from what the stream carried, input from the body's
 * length. Marked so by usage_source. Of an answer that is not whole the counts may be those
 * of its start: no fewer were produced than the stream has events. */
static void estimate(const struct weir_response_seen *seen, bool whole, uint64_t body_bytes,
		     struct weir_usage *u)
{
	int64_t produced = (int64_t)seen->chunks - known(u->reasoning);

	if (seen->chunks && (u->output == WEIR_UNKNOWN || (!whole && u->output < produced)))
		u->output = known(produced);
	if (u->input == WEIR_UNKNOWN && body_bytes != UINT64_MAX)
		u->input = body_bytes / BYTES_PER_TOKEN;
}

/* Which model answered: the one the answer names. One that names none came from what was
 * asked for, unless that was replaced: then nobody said, and it is priced like any model
 * that no card knows. */
static const char *model_of(const struct weir_body *body, const struct weir_response_seen *seen,
			    bool degraded)
{
	return seen->model[0] ? seen->model : degraded ? "" : body->model;
}

static void put_body(const struct weir_body *body, const struct weir_response_seen *seen,
		     struct weir_row *row)
{
	if (body->flags & WEIR_BODY_MODEL_REPLACED)
		row->flags |= WEIR_ROW_DEGRADED;
	if (body->flags & WEIR_BODY_TOKENS_CUT)
		row->flags |= WEIR_ROW_TOKENS_CUT;
	row->max_tokens_requested = body->max_tokens;
	memcpy(row->model_requested, body->model, sizeof(row->model_requested));
	snprintf(row->model, sizeof(row->model), "%s",
		 model_of(body, seen, row->flags & WEIR_ROW_DEGRADED));
}

/* The entry that a request is priced by; card NULL: none. */
static struct weir_pick pick(struct weir_pricing *pricing, const struct weir_terms *terms,
			     const struct weir_row *row)
{
	char path[sizeof(row->path)];
	struct weir_use use = { .tenant = terms->name,
				.tier = terms->tier,
				.model = row->model,
				.path = path,
				.status = row->status,
				.started_ns = row->started_wall_ns };
	struct weir_pick found = { 0 };

	weir_plain_path(row->path, path, sizeof(path));
	weir_pricing_pick(pricing, row->tenant, row->service, &use, &found);
	return found;
}

/* An error costs nothing, unless a card says so by its status. */
static bool is_billable(const struct weir_row *row, const struct weir_pick *p)
{
	return row->status < 400 || (p->card && weir_card_names_status(p->card, p->entry));
}

/* Neither does an answer without anything that is metered (a list of models), unless a card
 * prices its path. That one has no price is nothing to tell of. */
static bool is_priced(const struct weir_row *row, const struct weir_pick *p)
{
	return row->usage_source != WEIR_USAGE_NONE || row->status >= 400 ||
	       (p->card && weir_card_names_path(p->card, p->entry));
}

/* What it costs at most: the ledger, which knows counters and sessions, prices it for good. */
static void price(struct weir_row *row, const struct weir_pick *p)
{
	struct weir_quantities q;
	struct weir_charge charge;

	weir_quantities_of(row, true, &q);
	if (!p->card || weir_card_charge(p->card, p->entry, p->discount_milli, &q, NULL, &charge)) {
		row->flags |= WEIR_ROW_UNPRICED;
		return;
	}
	row->card_id = p->card->id;
	row->card_entry = p->entry;
	row->discount_milli = p->discount_milli;
	row->price_nano = charge.price_nano;
	row->cost_nano = charge.cost_nano;
}

/* The request line's words, which the kernel ships uncut. */
static void copy_word(char *to, size_t room, const char *from, size_t n)
{
	size_t len = 0;

	while (len < n && len < room - 1 && from[len] > ' ' && from[len] != '?' && from[len] < 127)
		len++;
	memset(to, 0, room);
	memcpy(to, from, len);
}

void weir_finish(const struct weir_open *open, const struct weir_rec_end *end,
		 const struct weir_terms *terms, struct weir_pricing *pricing, uint32_t boot,
		 struct weir_row *row)
{
	struct weir_response response;
	const struct weir_response_seen *seen = &response.seen;
	struct weir_pick found;

	memset(row, 0, sizeof(*row));
	weir_request_id(end->started_wall_ns, boot, end->h.slot, end->h.ordinal, &row->id);
	row->started_wall_ns = end->started_wall_ns;
	row->ended_wall_ns = end->started_wall_ns + (end->h.time_ns - end->started_ns);
	row->tenant = end->tenant;
	row->wallet = end->wallet;
	row->service = end->h.service;
	row->end_cause = end->h.flags;
	row->reserved_nano = end->reserved_nano;
	row->response_bytes = end->response_bytes;
	row->request_bytes = UINT64_MAX;
	row->max_tokens_requested = WEIR_UNKNOWN;
	row->usage = (struct weir_usage){ WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN,
					  WEIR_UNKNOWN };
	row->audio = row->image = WEIR_UNKNOWN;
	if (end->flags & WEIR_SLOT_SHADOW)
		row->flags |= WEIR_ROW_SHADOW;
	if (end->flags & WEIR_SLOT_DEGRADED)
		row->flags |= WEIR_ROW_DEGRADED;
	if (end->flags & WEIR_SLOT_UNJUDGED)
		row->flags |= WEIR_ROW_UNJUDGED;
	if (end->lost_bytes)
		row->flags |= WEIR_ROW_LOST_BYTES;
	if (terms->credit != WEIR_CREDIT_NONE)
		row->flags |= WEIR_ROW_POSTED;
	if (!open) {
		row->usage_source = WEIR_USAGE_PARTIAL;
		row->flags |= WEIR_ROW_LOST_BYTES;
		return;
	}
	response = open->response;
	/* A close may be an answer's own end. One that was cut has no end. */
	if (end->h.flags == WEIR_END_CLOSE)
		weir_response_close(&response);
	/* Bytes at the end that were never shipped leave no hole to be seen. */
	if (end->response_bytes > open->offset)
		weir_response_skip(&response, end->response_bytes - open->offset);
	row->status = seen->status;
	row->ttft_us = open->ttft_us;
	if (!(row->flags & WEIR_ROW_UNJUDGED)) /* of that one no request was seen */
		row->request_bytes = open->body_bytes;
	row->usage = seen->usage;
	row->audio = seen->audio;
	row->image = seen->image;
	row->usage_source = weir_response_source(&response);
	if (seen->stream)
		row->flags |= WEIR_ROW_STREAM;
	memcpy(row->client, open->client, sizeof(row->client));
	memcpy(row->session, open->session, sizeof(row->session));
	memcpy(row->feature, open->feature, sizeof(row->feature));
	if (open->trusted)
		row->flags |= WEIR_ROW_TRUSTED;
	copy_word(row->method, sizeof(row->method), open->method, sizeof(open->method));
	copy_word(row->path, sizeof(row->path), open->path, sizeof(open->path));
	put_body(&open->body, seen, row);
	memcpy(row->response_id, seen->response_id, sizeof(row->response_id));
	memcpy(row->finish_reason, seen->finish_reason, sizeof(row->finish_reason));
	if (seen->status < 200)
		return;
	found = pick(pricing, terms, row);
	if (!is_billable(row, &found))
		return;
	row->flags |= WEIR_ROW_BILLABLE;
	if (row->usage_source == WEIR_USAGE_ESTIMATED ||
	    (row->usage_source == WEIR_USAGE_PARTIAL && seen->chunks))
		estimate(seen, row->usage_source == WEIR_USAGE_ESTIMATED, row->request_bytes,
			 &row->usage);
	if (is_priced(row, &found))
		price(row, &found);
}

bool weir_finish_leaves_row(const struct weir_row *row)
{
	return row->end_cause != WEIR_END_REFUSED || row->flags & WEIR_ROW_BILLABLE;
}

bool weir_counts_moved(const struct weir_open *a, const struct weir_open *b)
{
	const struct weir_response_seen *x = &a->response.seen, *y = &b->response.seen;

	return x->chunks != y->chunks || x->audio != y->audio || x->image != y->image ||
	       memcmp(&x->usage, &y->usage, sizeof(x->usage));
}

int64_t weir_cost_so_far(const struct weir_open *open, const struct weir_runs *runs,
			 struct weir_pricing *pricing)
{
	const struct weir_response_seen *seen = &open->response.seen;
	struct weir_row row = {
		.tenant = runs->tenant,
		.service = runs->service,
		.status = seen->status,
		.started_wall_ns = open->started_wall_ns,
		.ended_wall_ns = open->started_wall_ns + runs->for_ns,
		.usage = seen->usage,
		.audio = seen->audio,
		.image = seen->image,
	};
	struct weir_quantities q;
	struct weir_charge charge;
	struct weir_pick found;

	if (seen->status < 200 || seen->status >= 400)
		return 0;
	copy_word(row.path, sizeof(row.path), open->path, sizeof(open->path));
	snprintf(row.model, sizeof(row.model), "%s", model_of(&open->body, seen, runs->degraded));
	found = pick(pricing, runs->terms, &row);
	if (!found.card)
		return 0;
	estimate(seen, false, open->body_bytes, &row.usage);
	/* Who else pays for the session is not known here, and to go on makes it no dearer. */
	weir_quantities_of(&row, false, &q);
	if (weir_card_charge(found.card, found.entry, found.discount_milli, &q, NULL, &charge))
		return 0;
	return charge.price_nano;
}

uint64_t weir_counted_tokens(const struct weir_row *row, uint32_t cached_weight_ppm)
{
	const struct weir_usage *u = &row->usage;
	unsigned __int128 sum = (unsigned __int128)known(u->cache_read) * cached_weight_ppm;

	sum = (sum + 999999) / 1000000;
	sum += (unsigned __int128)known(u->input) + known(u->cache_write) + known(u->output) +
	       known(u->reasoning) + known(row->audio) + known(row->image);
	return sum < UINT64_MAX ? (uint64_t)sum : UINT64_MAX;
}
