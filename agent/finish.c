// SPDX-License-Identifier: Apache-2.0
/*
 * From records and parsers to a row. What is guessed is in finish_guess.c, who is not billed in
 * finish_free.c.
 */
#include "finish.h"

#include <stdio.h>
#include <string.h>

#include "finish_priv.h"
#include "plain_path.h"

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

/* ------------------------------------------------------------- what was asked for */

/* The request line's words, which the kernel ships uncut. */
static void copy_word(char *to, size_t room, const char *from, size_t n)
{
	size_t len = 0;

	while (len < n && len < room - 1 && from[len] > ' ' && from[len] != '?' && from[len] < 127)
		len++;
	memset(to, 0, room);
	memcpy(to, from, len);
}

static void put_labels(const struct weir_labels *l, struct weir_row *row)
{
	memcpy(row->user, l->user, sizeof(row->user));
	memcpy(row->team, l->team, sizeof(row->team));
	memcpy(row->cost_center, l->cost_center, sizeof(row->cost_center));
	memcpy(row->session, l->session, sizeof(row->session));
	memcpy(row->feature, l->feature, sizeof(row->feature));
	memcpy(row->client_request_id, l->request_id, sizeof(row->client_request_id));
	memcpy(row->trace_id, l->trace_id, sizeof(row->trace_id));
	row->retry_count = l->retry_count;
	if (l->trusted)
		row->flags |= WEIR_ROW_TRUSTED;
}

/* What rules have read of a body is what the client wrote; what the scan reads is what the
 * server got. They differ where rules changed it: then only the former will do. */
static void put_body(const struct weir_asked *asked, struct weir_row *row)
{
	const struct weir_body *body = &asked->body;
	const struct weir_asked_text *text = &asked->text;
	const char *model = body->model;

	if (body->flags & WEIR_BODY_MODEL_REPLACED)
		row->flags |= WEIR_ROW_DEGRADED;
	if (body->flags & WEIR_BODY_TOKENS_CUT)
		row->flags |= WEIR_ROW_TOKENS_CUT;
	if (!model[0] && !(row->flags & WEIR_ROW_DEGRADED))
		model = text->model;
	memcpy(row->model_requested, model, sizeof(row->model_requested));
	row->max_tokens_requested = body->max_tokens;
	if (body->max_tokens == WEIR_UNKNOWN && !(row->flags & WEIR_ROW_TOKENS_CUT))
		row->max_tokens_requested = text->max_tokens;
}

/* asked may be NULL. After the slot's flags. */
static void put_asked(const struct weir_asked *asked, struct weir_row *row)
{
	row->request_bytes = UINT64_MAX;
	row->max_tokens_requested = WEIR_UNKNOWN;
	if (!asked)
		return;
	if (!(row->flags & WEIR_ROW_UNJUDGED)) /* of that one no request was seen */
		row->request_bytes = asked->body_bytes;
	memcpy(row->client, asked->client, sizeof(row->client));
	copy_word(row->method, sizeof(row->method), asked->method, sizeof(asked->method));
	copy_word(row->path, sizeof(row->path), asked->path, sizeof(asked->path));
	put_labels(&asked->labels, row);
	put_body(asked, row);
}

/* ------------------------------------------------------------------ what was answered */

/* Which model answered: the one the answer names. One that names none came from what was
 * asked for, unless that was replaced: then nobody said, and it is priced like any model
 * that no card knows. */
static const char *model_of(const struct weir_row *row, const struct weir_response_seen *seen)
{
	return seen->model[0]			? seen->model
	       : row->flags & WEIR_ROW_DEGRADED ? ""
						: row->model_requested;
}

/* After what was asked for. */
static void put_answer(const struct weir_response_seen *seen, struct weir_row *row)
{
	row->status = seen->status;
	row->usage = seen->usage;
	row->audio = seen->audio;
	row->image = seen->image;
	row->cache_status = seen->cache_status;
	if (seen->stream)
		row->flags |= WEIR_ROW_STREAM;
	if (seen->coding != WEIR_BODY_PLAIN)
		row->flags2 |= WEIR_ROW_ENCODED;
	snprintf(row->model, sizeof(row->model), "%s", model_of(row, seen));
	memcpy(row->model_version, seen->model_version, sizeof(row->model_version));
	memcpy(row->response_id, seen->response_id, sizeof(row->response_id));
	memcpy(row->finish_reason, seen->finish_reason, sizeof(row->finish_reason));
	if (seen->request_id[0])
		memcpy(row->client_request_id, seen->request_id, sizeof(row->client_request_id));
}

/* ---------------------------------------------------------------------- what it costs */

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

/* An answer without anything that is metered (a list of models) costs nothing, unless a card
 * prices its path. That one has no price is nothing to tell of. */
static bool is_priced(const struct weir_row *row, const struct weir_pick *p)
{
	return row->usage_source != WEIR_USAGE_NONE || row->status >= 400 ||
	       (p->card && weir_card_names_path(p->card, p->entry));
}

/* By the ledger, which knows counters and sessions, it is priced for good. 0, or -ERANGE. */
static int charge(const struct weir_row *row, const struct weir_pick *p, bool session_begins,
		  struct weir_charge *out)
{
	struct weir_quantities q;

	weir_quantities_of(row, session_begins, &q);
	return weir_card_charge(p->card, p->entry, p->discount_milli, &q, NULL, out);
}

/* What it costs at most. */
static void price(struct weir_row *row, const struct weir_pick *p)
{
	struct weir_charge sum;

	if (!p->card || charge(row, p, true, &sum)) {
		row->flags |= WEIR_ROW_UNPRICED;
		return;
	}
	row->card_id = p->card->id;
	row->card_entry = p->entry;
	row->discount_milli = p->discount_milli;
	row->price_nano = sum.price_nano;
	row->cost_nano = sum.cost_nano;
}

/* ------------------------------------------------------------------------- the whole */

static void put_end(const struct weir_rec_end *end, const struct weir_finish_with *with,
		    struct weir_row *row)
{
	weir_request_id(end->started_wall_ns, with->boot, end->h.slot, end->h.ordinal, &row->id);
	row->started_wall_ns = end->started_wall_ns;
	row->ended_wall_ns = end->started_wall_ns + (end->h.time_ns - end->started_ns);
	row->tenant = end->tenant;
	row->wallet = end->wallet;
	row->service = end->h.service;
	row->end_cause = end->h.flags;
	row->reserved_nano = end->reserved_nano;
	row->response_bytes = end->response_bytes;
	if (end->flags & WEIR_SLOT_SHADOW)
		row->flags |= WEIR_ROW_SHADOW;
	if (end->flags & WEIR_SLOT_DEGRADED)
		row->flags |= WEIR_ROW_DEGRADED;
	if (end->flags & WEIR_SLOT_UNJUDGED)
		row->flags |= WEIR_ROW_UNJUDGED;
	if (end->lost_bytes)
		row->flags |= WEIR_ROW_LOST_BYTES;
	if (with->terms->credit != WEIR_CREDIT_NONE)
		row->flags |= WEIR_ROW_POSTED;
}

/* The answer as it is now that nothing more comes. */
static void close_response(const struct weir_open *open, const struct weir_rec_end *end,
			   struct weir_response *out)
{
	*out = open->response;
	/* A close may be an answer's own end. One that was cut, or left, has no end. */
	if (end->h.flags == WEIR_END_CLOSE && !(end->flags & WEIR_SLOT_LEFT))
		weir_response_close(out);
	/* Bytes at the end that were never shipped leave no hole to be seen. */
	if (end->response_bytes > open->offset)
		weir_response_skip(out, end->response_bytes - open->offset);
}

void weir_finish(const struct weir_open *open, const struct weir_asked *asked,
		 const struct weir_rec_end *end, const struct weir_finish_with *with,
		 struct weir_row *row)
{
	struct weir_response response;
	struct finish_case c = { .seen = &response.seen, .asked = asked, .with = with };
	struct weir_pick found;

	memset(row, 0, sizeof(*row));
	put_end(end, with, row);
	put_asked(asked, row);
	if (!open) {
		row->usage = (struct weir_usage){ WEIR_UNKNOWN, WEIR_UNKNOWN, WEIR_UNKNOWN,
						  WEIR_UNKNOWN, WEIR_UNKNOWN };
		row->audio = row->image = WEIR_UNKNOWN;
		row->usage_source = WEIR_USAGE_PARTIAL;
		row->flags |= WEIR_ROW_LOST_BYTES;
		return;
	}
	close_response(open, end, &response);
	put_answer(c.seen, row);
	row->ttft_us = open->ttft_us;
	row->usage_source = finish_source(&c, row, weir_response_source(&response));
	/* Wherever they were, they may have said otherwise. */
	if (end->lost_bytes && row->usage_source != WEIR_USAGE_NONE)
		row->usage_source = WEIR_USAGE_PARTIAL;
	if (finish_left(&c, end))
		row->flags2 |= WEIR_ROW_LEFT;
	if (c.seen->status < 200)
		return;
	finish_guess(&c, row);
	if (with->terms->abort == WEIR_ABORT_FULL && finish_aborted(&c, row))
		finish_guess_full(&c, row);
	found = pick(with->pricing, with->terms, row);
	if (!finish_billable(&c, row, &found))
		return;
	row->flags |= WEIR_ROW_BILLABLE;
	if (is_priced(row, &found))
		price(row, &found);
}

/* One that was cut, by the agent or for its request's body, is the tenant's own doing; and one
 * of which we did not see all may have been whole. */
bool weir_finish_broke_off(const struct weir_row *row)
{
	return row->usage_source == WEIR_USAGE_PARTIAL && row->end_cause == WEIR_END_CLOSE &&
	       !(row->flags2 & WEIR_ROW_LEFT) && !(row->flags & WEIR_ROW_LOST_BYTES) &&
	       row->price_nano > 0;
}

bool weir_finish_leaves_row(const struct weir_row *row)
{
	return row->end_cause != WEIR_END_REFUSED || row->flags & WEIR_ROW_BILLABLE;
}

/* -------------------------------------------------------------------- while it runs */

bool weir_counts_moved(const struct weir_open *a, const struct weir_open *b)
{
	const struct weir_response_seen *x = &a->response.seen, *y = &b->response.seen;

	return x->chunks != y->chunks || x->text_bytes != y->text_bytes || x->audio != y->audio ||
	       x->image != y->image || memcmp(&x->usage, &y->usage, sizeof(x->usage));
}

int64_t weir_cost_so_far(const struct weir_open *open, const struct weir_asked *asked,
			 const struct weir_runs *runs, const struct weir_finish_with *with)
{
	struct finish_case c = { .seen = &open->response.seen, .asked = asked, .with = with };
	struct weir_row row = {
		.tenant = runs->tenant,
		.service = runs->service,
		.started_wall_ns = open->started_wall_ns,
		.ended_wall_ns = open->started_wall_ns + runs->for_ns,
		.usage_source = WEIR_USAGE_PARTIAL,
		.flags = runs->degraded ? WEIR_ROW_DEGRADED : 0,
	};
	struct weir_charge sum;
	struct weir_pick found;

	put_asked(asked, &row);
	put_answer(c.seen, &row);
	if (row.status < 200 || row.status >= 400)
		return 0;
	finish_guess(&c, &row);
	found = pick(with->pricing, with->terms, &row);
	if (!found.card || !finish_billable(&c, &row, &found))
		return 0;
	/* Who else pays for the session is not known here, and to go on makes it no dearer. */
	return charge(&row, &found, false, &sum) ? 0 : sum.price_nano;
}

uint64_t weir_counted_tokens(const struct weir_row *row, uint32_t cached_weight_ppm)
{
	const struct weir_usage *u = &row->usage;
	unsigned __int128 sum = (unsigned __int128)finish_known(u->cache_read) * cached_weight_ppm;

	sum = (sum + 999999) / 1000000;
	sum += (unsigned __int128)finish_known(u->input) + finish_known(u->cache_write) +
	       finish_known(u->output) + finish_known(u->reasoning) + finish_known(row->audio) +
	       finish_known(row->image);
	return sum < UINT64_MAX ? (uint64_t)sum : UINT64_MAX;
}
