// SPDX-License-Identifier: Apache-2.0
#include "tally.h"

#include <stdbool.h>
#include <stddef.h>

static void count(uint64_t *n)
{
	__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

void weir_tally_note(struct weir_tally *t, const struct weir_row *row)
{
	const struct {
		uint64_t *n;
		bool holds;
	} counts[] = {
		{ &t->lost, row->flags & WEIR_ROW_LOST_BYTES },
		{ &t->left, row->flags2 & WEIR_ROW_LEFT },
		{ &t->input_guessed, row->flags2 & WEIR_ROW_INPUT_GUESSED },
		{ &t->output_guessed, row->flags2 & WEIR_ROW_OUTPUT_GUESSED },
		{ &t->retry_free, row->flags2 & WEIR_ROW_RETRY_FREE },
		{ &t->cache_free, row->flags2 & WEIR_ROW_CACHE_FREE },
		{ &t->abort_free, row->flags2 & WEIR_ROW_ABORT_FREE },
		{ &t->abort_full, row->flags2 & WEIR_ROW_ABORT_FULL },
		{ &t->encoded, row->flags2 & WEIR_ROW_ENCODED },
	};

	if (row->usage_source < sizeof(t->sources) / sizeof(*t->sources))
		count(&t->sources[row->usage_source]);
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		if (counts[i].holds)
			count(counts[i].n);
}

void weir_tally_read(const struct weir_tally *t, struct weir_tally *out)
{
	const uint64_t *from = (const uint64_t *)t;
	uint64_t *to = (uint64_t *)out;

	_Static_assert(sizeof(*t) % sizeof(*from) == 0, "counts and nothing else");
	for (size_t i = 0; i < sizeof(*t) / sizeof(*from); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}
