/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Did you mean": the nearest of some names to one that was mistyped.
 */
#ifndef WEIR_SUGGEST_H
#define WEIR_SUGGEST_H

#include <stddef.h>

struct weir_suggest {
	const char *wanted;
	const char *best; /* NULL: nothing is near enough; else one of those offered */
	unsigned distance;
};

void weir_suggest_init(struct weir_suggest *s, const char *wanted);
/* name must live as long as best is used. */
void weir_suggest_offer(struct weir_suggest *s, const char *name);

#endif
