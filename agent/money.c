/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Money between text and nano-credits, and the one way to round it. What a thing
 * costs is price.c's; this file knows numbers only. No float anywhere.
 */
#include "money.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int weir_money_parse(const char *text, int64_t *nano)
{
	const char *p = text;
	bool negative = *p == '-', over = false;
	int64_t v = 0, unit = WEIR_NANO;

	if (negative)
		p++;
	if (!is_digit(*p) || (*p == '0' && is_digit(p[1])))
		return -EINVAL;

	/* Added up below zero, where int64 has one value more: INT64_MIN parses. An
	 * overflow is remembered, not returned: "99999999999x" is no number at all. */
	for (; is_digit(*p); p++)
		over |= __builtin_mul_overflow(v, 10, &v) ||
			__builtin_sub_overflow(v, *p - '0', &v);
	over |= __builtin_mul_overflow(v, WEIR_NANO, &v);
	if (*p == '.') {
		if (!is_digit(*++p))
			return -EINVAL;
		for (; is_digit(*p); p++) {
			if (unit == 1)
				return -EINVAL;
			unit /= 10;
			over |= __builtin_sub_overflow(v, (*p - '0') * unit, &v);
		}
	}
	if (*p)
		return -EINVAL;
	if (over || (!negative && __builtin_sub_overflow(INT64_C(0), v, &v)))
		return -ERANGE;
	*nano = v;
	return 0;
}

/* By hand: an event has a dozen amounts, and snprintf took a third of its time. */
void weir_money_format(int64_t nano, char out[static WEIR_MONEY_TEXT])
{
	uint64_t u = nano < 0 ? -(uint64_t)nano : (uint64_t)nano;
	uint64_t whole = u / (uint64_t)WEIR_NANO, frac = u % (uint64_t)WEIR_NANO;
	char digits[20], *p = out;
	int n = 0;

	if (nano < 0)
		*p++ = '-';
	do
		digits[n++] = (char)('0' + whole % 10);
	while (whole /= 10);
	while (n)
		*p++ = digits[--n];
	if (frac) {
		*p++ = '.';
		for (n = 9; n; frac /= 10)
			p[--n] = (char)('0' + frac % 10);
		for (n = 9; p[n - 1] == '0';)
			n--;
		p += n;
	}
	*p = '\0';
}

int weir_money_div(__int128 numerator, __int128 denominator, int64_t *out)
{
	__int128 q = numerator / denominator, r = numerator - q * denominator;
	int sign = numerator < 0 ? -1 : 1;

	if (r < 0)
		r = -r;
	/* r against denominator - r, not 2r: no overflow for any denominator */
	if (r > denominator - r || (r == denominator - r && q % 2 != 0))
		q += sign;
	if (q > INT64_MAX || q < INT64_MIN)
		return -ERANGE;
	*out = (int64_t)q;
	return 0;
}

int weir_money_scale(__int128 numerator, int64_t factor, __int128 denominator, int64_t *out)
{
	unsigned __int128 low, rest, by = (unsigned __int128)denominator;
	uint64_t q = 0;
	__int128 product;

	assert(numerator >= 0 && factor >= 0 && denominator > 0 && !(by >> 126));
	if (!__builtin_mul_overflow(numerator, factor, &product))
		return weir_money_div(product, denominator, out);
	/* rest x 2^64 + the lower half of low is the product: divided bit by bit, as on paper. */
	low = (unsigned __int128)(uint64_t)numerator * (uint64_t)factor;
	rest = ((unsigned __int128)numerator >> 64) * (uint64_t)factor + (low >> 64);
	if (rest >= by)
		return -ERANGE;
	for (int bit = 63; bit >= 0; bit--) {
		rest = rest << 1 | ((uint64_t)low >> bit & 1);
		q <<= 1;
		if (rest >= by) {
			rest -= by;
			q |= 1;
		}
	}
	if (q <= INT64_MAX && (rest > by - rest || (rest == by - rest && q % 2)))
		q++;
	if (q > INT64_MAX)
		return -ERANGE;
	*out = (int64_t)q;
	return 0;
}
