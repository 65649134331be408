// SPDX-License-Identifier: Apache-2.0
/*
 * A request is over: its row is queued, then it is settled. The order is consumer.c's to explain.
 */
#include <errno.h>

#include "account.h"
#include "finish.h"
#include "fold.h"
#include "settle.h"

/* Everywhere it was charged; and what it is known to cost so far is off the ceiling, until the
 * ledger says what it was. */
static void settle(struct weir_fold *f, const struct weir_rec_end *rec, const struct weir_row *row,
		   uint64_t pos)
{
	int64_t posted = row->flags & WEIR_ROW_POSTED ? row->price_nano : 0;
	bool now = weir_settle_levels(f->kernel, f->enforce, rec, row, pos);

	if (now && !f->recovering)
		weir_ceiling_add(&f->kernel->tenants[rec->wallet], rec->reserved_nano - posted,
				 -posted);
	if (!f->recovering)
		weir_lag_note(f->lag, rec->h.time_ns, weir_mono_ns());
}

/* What is known of the request that ended; NULL where its REQUEST was lost. */
struct ended {
	const struct weir_open *open;
	const struct weir_asked *asked;
	uint64_t key[2]; /* of its retries */
	bool has_key;
};

static struct ended find(struct weir_fold *f, const struct weir_rec_end *rec, bool wants_key)
{
	struct ended e = { .open = weir_state_open_of(f->state, rec->h.slot),
			   .asked = weir_state_asked_of(f->state, rec->h.slot) };
	uint64_t body[2];

	if (e.open->started_wall_ns != rec->started_wall_ns || e.open->ordinal != rec->h.ordinal) {
		weir_fold_count(&f->n.orphans);
		return (struct ended){ 0 };
	}
	if (!wants_key || !weir_asked_hash(&e.asked->text, e.asked->body_bytes, body))
		return e;
	weir_retry_key(rec->tenant, e.asked->path, body, e.key);
	e.has_key = true;
	return e;
}

/* The row; that of a retry which is not billed, if it is one. Only what would cost something is
 * asked, for each that is takes one of a few. */
static void make_row(struct weir_fold *f, const struct weir_rec_end *rec, const struct ended *e,
		     const struct weir_terms *terms, uint64_t end, struct weir_row *row)
{
	struct weir_finish_with with = { .terms = terms,
					 .pricing = f->pricing,
					 .learnt = f->learnt,
					 .boot = f->kernel->config->instance_boot };

	weir_finish(e->open, e->asked, rec, &with, row);
	if (!e->has_key || !(row->flags & WEIR_ROW_BILLABLE) || row->price_nano <= 0 ||
	    !weir_retries_take(weir_state_retries(f->state), e->key, row->started_wall_ns, end))
		return;
	with.is_retry = true;
	weir_finish(e->open, e->asked, rec, &with, row);
}

static bool is_whole(const struct weir_row *row)
{
	return row->usage_source == WEIR_USAGE_REPORTED ||
	       row->usage_source == WEIR_USAGE_ESTIMATED;
}

/* What later requests are judged by, and status tells. */
static void remember(struct weir_fold *f, const struct ended *e, const struct weir_row *row,
		     uint64_t end)
{
	struct weir_retries *retries = weir_state_retries(f->state);

	if (e->has_key && weir_finish_broke_off(row))
		weir_retries_note(retries, e->key, row->ended_wall_ns, end);
	if (row->flags2 & WEIR_ROW_RETRY_FREE && is_whole(row))
		weir_retries_done(retries, e->key, end);
	weir_hidden_note(f->hidden, row, e->asked);
	weir_tally_note(&f->tally, row);
	weir_learnt_note(f->learnt, row, e->open ? e->open->response.seen.text_bytes : 0);
}

int weir_fold_end(struct weir_fold *f, const struct weir_rec_end *rec, uint64_t end)
{
	const struct weir_terms *terms = weir_enforce_terms(f->enforce, rec->tenant);
	struct weir_row row = { 0 };
	struct ended e;

	if (!terms)
		goto ended;
	/* Nobody's leave no row: let through unlimited, with enforcement off. But what their
	 * entry reserved is given back like any other's. */
	if (rec->tenant != WEIR_NO_TENANT) {
		e = find(f, rec, terms->free_retries);
		make_row(f, rec, &e, terms, end, &row);
		if (weir_finish_leaves_row(&row)) {
			if (!weir_state_put_row(f->state, &row))
				return -EAGAIN;
			weir_fold_count(&f->n.rows);
			remember(f, &e, &row, end);
		}
		if (e.open)
			weir_fold_forget(f, rec->h.slot);
	}
	settle(f, rec, &row, end);
ended:
	weir_fold_count(&f->n.ended);
	return 0;
}
