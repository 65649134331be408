/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_lines.h"

#include <stdbool.h>
#include <string.h>

/* The last first, since each goes to its chain's front: in the order they are named. */
static void chain(struct weir_config *c, uint32_t n)
{
	uint8_t shorts = 0;

	for (uint32_t i = n; i-- > 0;)
		if (c->line_names[i].mask[0] != ~UINT64_C(0)) {
			c->line_names[i].next = shorts;
			shorts = (uint8_t)(i + 1);
		}
	memset(c->line_first, shorts, sizeof(c->line_first));
	for (uint32_t i = n; i-- > 0;) {
		uint8_t *first = &c->line_first[weir_line_hash(c->line_names[i].word[0])];

		if (c->line_names[i].mask[0] != ~UINT64_C(0))
			continue;
		c->line_names[i].next = *first;
		*first = (uint8_t)(i + 1);
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
	memset(c->line_first, 0, sizeof(c->line_first));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(c->line_names, names, sizeof(c->line_names));
	chain(c, n);
	c->line_bits = bits;
	c->n_line_names = n;
}
