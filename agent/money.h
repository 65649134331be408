/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Money: nano-credits in int64_t, decimal strings outside. No float anywhere.
 */
#ifndef WEIR_MONEY_H
#define WEIR_MONEY_H

#include <stddef.h>
#include <stdint.h>

#define WEIR_NANO	INT64_C(1000000000)
#define WEIR_MONEY_TEXT 24 /* "-9223372036.854775808" and a NUL */

/* Parse a plain decimal ("12", "-0.5", "1.000000001") into nano-credits. JSON's
 * grammar for numbers without the exponent: no "+", no blanks, no ".5" or "5.", no
 * leading zeros; "-0" is 0. 0, -EINVAL if it is not one or has more than nine
 * decimals (zeros too), -ERANGE past int64. *nano is untouched on errors. */
int weir_money_parse(const char *text, int64_t *nano);

/* Write nano as the shortest plain decimal ("1.5", "0", "-0.000000001"). */
void weir_money_format(int64_t nano, char out[static WEIR_MONEY_TEXT]);

/* numerator / denominator (denominator > 0), rounded half to even. 0 or -ERANGE. */
int weir_money_div(__int128 numerator, __int128 denominator, int64_t *out);

/* numerator x factor / denominator (none below 0, denominator from 1 to 2^126), the same; exact
 * also where the product is of more than 128 bits. */
int weir_money_scale(__int128 numerator, int64_t factor, __int128 denominator, int64_t *out);

#endif
