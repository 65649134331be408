/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_lines.h"

#include <stdbool.h>
#include <string.h>

/* In the order they are named; the last first, since each goes to its chain's front. */
static void chain(struct weir_config *c, uint32_t n)
{
	uint32_t at;

	memset(c->line_first, 0, sizeof(c->line_first));
	c->line_short = 0;
	for (uint32_t i = n; i-- > 0;) {
		struct weir_line_name *name = &c->line_names[i];

		if (name->mask[0] != ~UINT64_C(0)) {
			name->next = (uint16_t)c->line_short;
			c->line_short = i + 1;
			continue;
		}
		at = weir_line_hash(name->word[0]);
		name->next = c->line_first[at];
		c->line_first[at] = (uint8_t)(i + 1);
	}
}

static bool same(const struct weir_line_name *a, const struct weir_line_name *b)
{
	return !memcmp(a->word, b->word, sizeof(a->word)) &&
	       !memcmp(a->mask, b->mask, sizeof(a->mask)) && a->len == b->len &&
	       a->flags == b->flags;
}

void weir_lines_store(struct weir_config *c,
		      const struct weir_line_name names[static WEIR_LINE_NAMES], uint32_t n,
		      uint64_t bits)
{
	bool changed = c->n_line_names != n || c->line_bits != bits;

	for (uint32_t i = 0; i < n && !changed; i++)
		changed = !same(&c->line_names[i], &names[i]);
	if (!changed)
		return;
	/* None for a moment: a line is then not told. */
	__atomic_store_n(&c->n_line_names, 0, __ATOMIC_SEQ_CST);
	memcpy(c->line_names, names, sizeof(c->line_names));
	chain(c, n);
	c->line_bits = bits;
	__atomic_store_n(&c->n_line_names, n, __ATOMIC_SEQ_CST);
}
