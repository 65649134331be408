/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rest of a JSON object of which the middle is missing: where may a key of it begin? Only a
 * place that may be one is found here; whether it was one is known when the object that it is in
 * ends where the document does (metering.md, "behind a hole").
 */
#ifndef WEIR_JSON_TAIL_H
#define WEIR_JSON_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "json_text.h"

/* Plain data; all zero: nothing is known of what came before. */
struct weir_json_tail {
	uint8_t phase;
	uint8_t last;  /* byte that was no blank; 0: not known */
	uint8_t again; /* the quote that ended what may be a key may begin one as well */
	uint8_t gap;   /* and blanks follow it */
};

/* On from *p, which moves, to the next key that may be the object's own. True: it is in text, and
 * its colon was read. */
bool weir_json_tail_next(struct weir_json_tail *t, struct weir_string *text, const uint8_t **p,
			 const uint8_t *end);

#endif
