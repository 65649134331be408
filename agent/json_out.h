/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON, written forwards into a buffer that the caller made large enough: no
 * tree, no allocation. For what is written a hundred thousand times a second;
 * everything else uses jansson.
 *
 * Room to allow for: a name and its punctuation, and 6 bytes per byte of a
 * string, 24 of a number, 32 of a time.
 */
#ifndef WEIR_JSON_OUT_H
#define WEIR_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_out {
	char *p;    /* next byte */
	bool comma; /* a value stands before, in this object or array */
};

/* name: of a member, written as it is; NULL in an array and at the top. */
void weir_out_open(struct weir_out *o, const char *name, char bracket);
void weir_out_close(struct weir_out *o, char bracket);
/* n bytes, whatever they are: escaped, and what is not UTF-8 becomes U+FFFD. */
void weir_out_str(struct weir_out *o, const char *name, const char *s, size_t n);
void weir_out_cstr(struct weir_out *o, const char *name, const char *s);
void weir_out_int(struct weir_out *o, const char *name, int64_t v);
void weir_out_u64(struct weir_out *o, const char *name, uint64_t v);
void weir_out_bool(struct weir_out *o, const char *name, bool v);
void weir_out_null(struct weir_out *o, const char *name);
/* Nano-credits as a decimal string; RFC 3339; µs as milliseconds with decimals. */
void weir_out_money(struct weir_out *o, const char *name, int64_t nano);
void weir_out_time(struct weir_out *o, const char *name, uint64_t wall_ns);
void weir_out_millis(struct weir_out *o, const char *name, uint64_t us);
/* "/weir/<ledger>/<node>" */
void weir_out_source(struct weir_out *o, const char *name, const char *ledger, const char *node);

#endif
