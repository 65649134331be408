// SPDX-License-Identifier: Apache-2.0
/*
 * Who is not billed (metering.md, 17): a rule a function. There is an event all the same, and it
 * says why.
 */
#include "finish_priv.h"

/* Unless a card says so by its status. */
static bool is_free_error(const struct weir_row *row, const struct weir_pick *p)
{
	return row->status >= 400 && !(p->card && weir_card_names_status(p->card, p->entry));
}

static bool is_cache_hit(const struct weir_row *row)
{
	return row->cache_status == WEIR_CACHE_HIT || row->cache_status == WEIR_CACHE_STALE ||
	       row->cache_status == WEIR_CACHE_REVALIDATED;
}

static bool is_free_abort(const struct finish_case *c, const struct weir_row *row)
{
	return c->with->terms->abort == WEIR_ABORT_FREE && finish_aborted(c, row);
}

static uint32_t free_by_tier(const struct finish_case *c, const struct weir_row *row)
{
	return c->with->terms->free_cache_hits && is_cache_hit(row) ? WEIR_ROW_CACHE_FREE
	       : is_free_abort(c, row)				    ? WEIR_ROW_ABORT_FREE
	       : c->with->is_retry				    ? WEIR_ROW_RETRY_FREE
								    : 0;
}

bool finish_billable(const struct finish_case *c, struct weir_row *row, const struct weir_pick *p)
{
	uint32_t why;

	if (is_free_error(row, p))
		return false;
	why = free_by_tier(c, row);
	row->flags2 |= why;
	return !why;
}
