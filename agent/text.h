/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buffer of text that grows and is used again: what events and entries are
 * written into (json_out.h writes, this holds).
 */
#ifndef WEIR_TEXT_H
#define WEIR_TEXT_H

#include <stddef.h>

/* Start from all zero. p is NUL-ended once something was written whole; len excludes the NUL. */
struct weir_text {
	char *p;
	size_t len;
	size_t cap;
};

/* Room for so many bytes; what is there stays. 0 or -ENOMEM. */
int weir_text_reserve(struct weir_text *t, size_t want);
/* Ends what was written up to `end`, which lies within p. */
void weir_text_end(struct weir_text *t, char *end);
void weir_text_free(struct weir_text *t);

#endif
