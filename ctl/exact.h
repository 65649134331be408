/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number as somebody's JSON has it ("1.5e-07"), kept exactly: digits and a power of ten,
 * never a double. For prices that come from elsewhere as floating point.
 */
#ifndef WEIR_EXACT_H
#define WEIR_EXACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/util.h"

/* digits x 10^exponent; no zero at the end of digits, 0 is 0 x 10^0. */
struct exact {
	uint64_t digits;
	int exponent;
};

/* By JSON's grammar for numbers. 0; -EINVAL: it is none; -EDOM: below zero; -ERANGE: more
 * digits than 19, or an exponent past 400. */
int exact_parse(const char *text, struct exact *out);

/* x * 10^shift as nano, rounded half to even; *whole says if it came out without. -ERANGE. */
int exact_nano(struct exact x, int shift, int64_t *nano, bool *whole);

/* a / b, in thousandths. -EDOM: b is 0, or it does not come out whole; -ERANGE. */
int exact_ratio_milli(struct exact a, struct exact b, int64_t *milli);

/*
 * JSON text with every number outside of strings made a string that begins with '#', so that
 * a reader of JSON hands on what was written and not what became of it. malloc'd, *n its
 * length; NULL: out of memory.
 */
char *exact_quote_numbers(const char *text, size_t len, size_t *n);

#endif
