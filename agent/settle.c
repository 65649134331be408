// SPDX-License-Identifier: Apache-2.0
#include "settle.h"

#include "account.h"
#include "finish.h"

/* The time that these tokens take of a level's bucket. */
static uint64_t debt_ns(const struct weir_terms *terms, const struct weir_row *row)
{
	unsigned __int128 tokens;

	if (!terms->tokens.count)
		return 0;
	tokens = weir_counted_tokens(row, terms->cached_weight_ppm);
	tokens *= terms->tokens.period_ns;
	tokens = (tokens + terms->tokens.count - 1) / terms->tokens.count;
	/* A server that reports more has lost its mind; the sum must not wrap. */
	return tokens < WEIR_DEBT_MAX_NS ? (uint64_t)tokens : WEIR_DEBT_MAX_NS;
}

/* One level, if it was not before: a crash may have come between two of them. */
static bool settle_level(struct weir_kernel *k, const struct weir_enforce *e, uint32_t level,
			 const struct weir_rec_end *rec, const struct weir_row *row, uint64_t pos)
{
	const struct weir_terms *terms = weir_enforce_terms(e, level);
	struct weir_settlement s = {
		.ring_pos = pos,
		.released_nano = level == rec->wallet ? rec->reserved_nano : 0,
		.released_tokens = rec->reserved_tokens,
		/* When they were used, which after a restart is a while ago. */
		.now_ns = rec->h.time_ns,
	};

	if (!terms)
		return false;
	s.tokens_ns = debt_ns(terms, row);
	return weir_settle(&k->tenants[level], &s);
}

/* Credit at the wallet alone, which may be none of the levels. */
bool weir_settle_levels(struct weir_kernel *k, const struct weir_enforce *e,
			const struct weir_rec_end *rec, const struct weir_row *row, uint64_t pos)
{
	bool now, paid = false, wallet_done = false;

	for (size_t i = 0; i < WEIR_LEVELS; i++) {
		uint32_t level = i ? rec->others[i - 1] : rec->tenant;

		if (i && level == WEIR_NO_TENANT)
			continue;
		now = settle_level(k, e, level, rec, row, pos);
		if (level == rec->wallet) {
			wallet_done = true;
			paid = now;
		}
	}
	if (!wallet_done && rec->wallet < k->max_tenants) {
		struct weir_settlement s = { .ring_pos = pos, .released_nano = rec->reserved_nano };

		paid = weir_settle(&k->tenants[rec->wallet], &s);
	}
	return paid;
}
