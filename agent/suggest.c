/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nearness is Damerau-Levenshtein distance (optimal string alignment): a slip
 * of the keyboard is one letter wrong, missing, doubled or swapped. Names longer
 * than the table are not compared; no one mistypes those by hand.
 */
#include "suggest.h"

#include <string.h>

#define LONGEST 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned rows[3][LONGEST + 1];
	unsigned *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= nb; j++)
		last[j] = (unsigned)j;
	memset(rows[0], 0, sizeof(rows[0]));
	for (size_t i = 1; i <= na; i++) {
		unsigned *t;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			row[j] = min3(last[j] + 1, row[j - 1] + 1,
				      last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		t = before;
		before = last;
		last = row;
		row = t;
	}
	return last[nb];
}

void weir_suggest_init(struct weir_suggest *s, const char *wanted)
{
	size_t n = strlen(wanted);

	s->wanted = wanted;
	s->best = NULL;
	/* A third of the letters may be wrong, three at most. */
	s->distance = (unsigned)(n < 3 ? 1 : n < 9 ? n / 3 : 3) + 1;
}

void weir_suggest_offer(struct weir_suggest *s, const char *name)
{
	size_t na = strlen(s->wanted), nb = strlen(name);
	size_t apart = na > nb ? na - nb : nb - na;
	unsigned d;

	if (na > LONGEST || nb > LONGEST || apart >= s->distance)
		return;
	d = distance(s->wanted, na, name, nb);
	if (d < s->distance) {
		s->distance = d;
		s->best = name;
	}
}
