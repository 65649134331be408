/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every module leans on. Small things without state, each useful to more
 * than one room; what belongs to one concept alone does not go here. The log is
 * in log.c.
 */
#include "util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------- errors, clean-up */

/* Bytes of the UTF-8 character at s; 0: none, -1: torn, the text ends inside it. */
static int utf8_len(const unsigned char *s)
{
	int want = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] > 0xf4)
		return 0;
	for (int i = 1; i < want; i++)
		if ((s[i] & 0xc0) != 0x80)
			return s[i] ? 0 : -1;
	/* overlong forms, surrogates and what is past U+10FFFF (RFC 3629, 4) */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return want;
}

/* An error is one line of UTF-8, whatever it quotes and wherever it was cut: it goes
 * to terminals, and into JSON, which knows no other text. */
static void make_plain(char *text)
{
	unsigned char *s = (unsigned char *)text;

	while (*s) {
		int n = utf8_len(s);

		if (n < 0) {
			*s = '\0'; /* was cut inside a character */
			return;
		}
		if (n == 0 || *s < ' ' || *s == 0x7f)
			*s = '?';
		s += n > 0 ? n : 1;
	}
}

int weir_fail(struct weir_error *err, int errnum, const char *fmt, ...)
{
	char text[sizeof(err->text)]; /* arguments may point into err */
	int saved = errno;
	va_list ap;

	if (!err)
		return -errnum;
	errno = errnum; /* for %m */
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	make_plain(text);
	memcpy(err->text, text, sizeof(text));
	errno = saved;
	return -errnum;
}

void weir_free_ptr(void *pp)
{
	void *p;

	memcpy(&p, pp, sizeof(p)); /* pp is a char **, a struct x **…: no aliasing games */
	free(p);
}

void weir_close_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

/* ------------------------------------------------------------------- time */

uint64_t weir_mono_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts) != 0)
		abort(); /* every Linux has it */
	return (uint64_t)ts.tv_sec * WEIR_SECOND + (uint64_t)ts.tv_nsec;
}

/* Days since 1970-01-01 of a Gregorian date, and back; the algorithms are Howard
 * Hinnant's (chrono-compatible low-level date algorithms), for years >= 0. libc's
 * timegm and gmtime_r take the zone lock, and this is asked for per event. */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	int64_t era;
	unsigned yoe, doy, doe;

	y -= m <= 2;
	era = y / 400;
	yoe = (unsigned)(y - era * 400);
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
}

static void civil_from_days(uint64_t days, unsigned *y, unsigned *m, unsigned *d)
{
	uint64_t z = days + 719468, era = z / 146097;
	unsigned doe = (unsigned)(z - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = (unsigned)(era * 400) + yoe + (*m <= 2);
}

static unsigned days_in_month(unsigned y, unsigned m)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

	return days[m - 1] + (m == 2 && leap);
}

/* n digits, and a character behind them. Not snprintf: an event has three times. */
static char *put_digits(char *p, unsigned v, int n, char then)
{
	for (int i = n; i; v /= 10)
		p[--i] = (char)('0' + v % 10);
	p[n] = then;
	return p + n + 1;
}

void weir_time_format(uint64_t wall_ns, char out[static WEIR_TIME_TEXT])
{
	uint64_t s = wall_ns / WEIR_SECOND;
	unsigned frac = (unsigned)(wall_ns % WEIR_SECOND), sod = (unsigned)(s % 86400);
	unsigned y, m, d;
	char *p = out;

	civil_from_days(s / 86400, &y, &m, &d);
	p = put_digits(put_digits(p, y % 10000, 4, '-'), m, 2, '-');
	p = put_digits(put_digits(p, d, 2, 'T'), sod / 3600, 2, ':');
	p = put_digits(put_digits(p, sod / 60 % 60, 2, ':'), sod % 60, 2, '.');
	if (!frac)
		p--; /* no point */
	else
		for (p = put_digits(p, frac, 9, '0'); p[-1] == '0';)
			p--;
	*p++ = 'Z';
	*p = '\0';
}

/* Exactly n digits at *p, moving it on; -1 if they are not there. */
static int digits(const char **p, int n)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return -1;
		v = v * 10 + (**p - '0');
	}
	return v;
}

static bool literal(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* "Z" or "+hh:mm" at *p, in seconds east of UTC. */
static bool zone(const char **p, int *east)
{
	int sign, h, m;

	*east = 0;
	if (literal(p, 'Z') || literal(p, 'z'))
		return true;
	sign = **p == '-' ? -1 : 1;
	if (!literal(p, '+') && !literal(p, '-'))
		return false;
	if ((h = digits(p, 2)) < 0 || h > 23 || !literal(p, ':') || (m = digits(p, 2)) < 0 ||
	    m > 59)
		return false;
	*east = sign * (h * 3600 + m * 60);
	return true;
}

int weir_time_parse(const char *text, uint64_t *wall_ns)
{
	const char *p = text;
	int y, mo, d, h, mi, s, east;
	uint64_t frac = 0, ns;
	int64_t secs;

	if ((y = digits(&p, 4)) < 0 || !literal(&p, '-') || (mo = digits(&p, 2)) < 1 || mo > 12 ||
	    !literal(&p, '-') || (d = digits(&p, 2)) < 1 ||
	    d > (int)days_in_month((unsigned)y, (unsigned)mo))
		return -EINVAL;
	if (!literal(&p, 'T') && !literal(&p, 't'))
		return -EINVAL;
	if ((h = digits(&p, 2)) < 0 || h > 23 || !literal(&p, ':') || (mi = digits(&p, 2)) < 0 ||
	    mi > 59 || !literal(&p, ':') || (s = digits(&p, 2)) < 0 || s > 59)
		return -EINVAL;
	if (literal(&p, '.')) {
		uint64_t unit = WEIR_SECOND / 10;
		int v = digits(&p, 1);

		if (v < 0)
			return -EINVAL;
		for (; v >= 0; v = digits(&p, 1), unit /= 10) {
			if (!unit)
				return -EINVAL;
			frac += (uint64_t)v * unit;
		}
	}
	if (!zone(&p, &east) || *p)
		return -EINVAL;

	secs = days_from_civil(y, (unsigned)mo, (unsigned)d) * 86400 + h * 3600 + mi * 60 + s -
	       east;
	if (secs < 0 || __builtin_mul_overflow((uint64_t)secs, WEIR_SECOND, &ns) ||
	    __builtin_add_overflow(ns, frac, &ns))
		return -EINVAL;
	*wall_ns = ns;
	return 0;
}

/* ------------------------------------------------------------------- text */

void weir_hex(const void *bytes, size_t n, char *out)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *b = bytes;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hex[b[i] >> 4];
		out[2 * i + 1] = hex[b[i] & 15];
	}
	out[2 * n] = '\0';
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int weir_unhex(const char *text, void *out, size_t n)
{
	uint8_t *b = out;

	if (strnlen(text, 2 * n + 1) != 2 * n)
		return -EINVAL;
	for (size_t i = 0; i < 2 * n; i++) /* look first: out stays as it is on an error */
		if (nibble(text[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)(nibble(text[2 * i]) << 4 | nibble(text[2 * i + 1]));
	return 0;
}

bool weir_name_ok(const char *name)
{
	size_t n = 0;

	if (!name)
		return false;
	for (; name[n]; n++) {
		char c = name[n];

		if (n == WEIR_NAME_BYTES - 1)
			return false;
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return n > 0;
}

/* Only the last star needs to be remembered: what an earlier one could still give
 * up, the last one can take as well. */
bool weir_glob(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			resume = text;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}
