/* SPDX-License-Identifier: Apache-2.0 */
/* Exact decimals out of the text of floating point numbers. */
#include "exact.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/money.h"

#define EXPONENT_MAX 400
#define POWERS_MAX   38 /* of ten, that __int128 holds */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* One more digit of the number; zeros wait until a digit after them needs them. */
struct digits {
	uint64_t value;
	unsigned zeros;
	int exponent; /* of the last digit in value */
	bool over;
};

static void add_digit(struct digits *d, char c)
{
	if (c == '0') {
		d->zeros += d->value != 0;
		return;
	}
	for (; d->zeros && !d->over; d->zeros--)
		d->over |= __builtin_mul_overflow(d->value, 10, &d->value);
	d->over |= __builtin_mul_overflow(d->value, 10, &d->value) ||
		   __builtin_add_overflow(d->value, (uint64_t)(c - '0'), &d->value);
}

static int parse_exponent(const char **p, int *exponent)
{
	bool negative;
	int v = 0;

	(*p)++;
	negative = **p == '-';
	if (**p == '-' || **p == '+')
		(*p)++;
	if (!is_digit(**p))
		return -EINVAL;
	for (; is_digit(**p); (*p)++)
		v = v > EXPONENT_MAX ? v : v * 10 + (**p - '0');
	*exponent = negative ? -v : v;
	return 0;
}

int exact_parse(const char *text, struct exact *out)
{
	const char *p = text;
	bool negative = *p == '-';
	struct digits d = { .value = 0 };
	int decimals = 0, exponent = 0;

	if (negative)
		p++;
	if (!is_digit(*p) || (*p == '0' && is_digit(p[1])))
		return -EINVAL;
	for (; is_digit(*p); p++)
		add_digit(&d, *p);
	if (*p == '.') {
		if (!is_digit(*++p))
			return -EINVAL;
		for (; is_digit(*p); p++) {
			add_digit(&d, *p);
			if (decimals <= EXPONENT_MAX)
				decimals++;
		}
	}
	if ((*p == 'e' || *p == 'E') && parse_exponent(&p, &exponent))
		return -EINVAL;
	if (*p)
		return -EINVAL;
	if (!d.value) {
		*out = (struct exact){ 0, 0 };
		return 0;
	}
	exponent += (int)d.zeros - decimals;
	if (d.over || exponent > EXPONENT_MAX || exponent < -EXPONENT_MAX)
		return -ERANGE;
	if (negative)
		return -EDOM;
	*out = (struct exact){ d.value, exponent };
	return 0;
}

/* v * 10^n. -ERANGE if it does not fit. */
static int scale(__int128 v, int n, __int128 *out)
{
	for (; n > 0; n--) {
		if (__builtin_mul_overflow(v, 10, &v))
			return -ERANGE;
	}
	*out = v;
	return 0;
}

int exact_nano(struct exact x, int shift, int64_t *nano, bool *whole)
{
	int e = x.exponent + shift + 9;
	__int128 v = x.digits, one = 1;

	if (!x.digits) {
		*nano = 0;
		*whole = true;
		return 0;
	}
	/* Below half of the last place whatever the digits are. */
	if (e < -POWERS_MAX) {
		*nano = 0;
		*whole = false;
		return 0;
	}
	if (scale(v, e > 0 ? e : 0, &v) || scale(one, e < 0 ? -e : 0, &one))
		return -ERANGE;
	*whole = v % one == 0;
	return weir_money_div(v, one, nano);
}

int exact_ratio_milli(struct exact a, struct exact b, int64_t *milli)
{
	int e = a.exponent - b.exponent + 3;
	__int128 n = a.digits, d = b.digits;

	if (!b.digits)
		return -EDOM;
	if (scale(n, e > 0 ? e : 0, &n) || scale(d, e < 0 ? -e : 0, &d))
		return -ERANGE;
	if (n % d)
		return -EDOM;
	if (n / d > INT64_MAX)
		return -ERANGE;
	*milli = (int64_t)(n / d);
	return 0;
}

char *exact_quote_numbers(const char *text, size_t len, size_t *n)
{
	char *out = NULL;
	FILE *f = open_memstream(&out, n);
	bool inside = false;

	if (!f)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (inside && c == '\\' && i + 1 < len) {
			fputc(c, f);
			c = text[++i];
		} else if (c == '"') {
			inside = !inside;
		} else if (!inside && (c == '-' || is_digit(c))) {
			fputs("\"#", f);
			for (; i < len && (is_digit(text[i]) || text[i] == '-' || text[i] == '+' ||
					   text[i] == '.' || text[i] == 'e' || text[i] == 'E');
			     i++)
				fputc(text[i], f);
			i--;
			c = '"';
		}
		fputc(c, f);
	}
	if (fclose(f)) {
		free(out);
		return NULL;
	}
	return out;
}
