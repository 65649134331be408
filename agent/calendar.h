/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boundaries of days, weeks and months in a time zone (ledger.md, 12), and months in UTC.
 * GLib knows the zones: libc has no thread-safe ones. Times are Unix nanoseconds.
 */
#ifndef WEIR_CALENDAR_H
#define WEIR_CALENDAR_H

#include <stdint.h>

/* Stored in ledgers: append only. */
enum weir_every { WEIR_EVERY_NEVER, WEIR_EVERY_DAY, WEIR_EVERY_WEEK, WEIR_EVERY_MONTH };
extern const char *const weir_every_names[]; /* "day", "week", "month"; NULL-ended, from 0 = "" */

/* Is it a zone of the time zone database ("Europe/Berlin", "UTC")? 0 or -EINVAL. */
int weir_zone_check(const char *zone);

/* The first boundary after an instant. 0; -EINVAL: no such zone; -ERANGE: past the year 2262. */
int weir_calendar_next(enum weir_every every, const char *zone, uint64_t after_ns,
		       uint64_t *next_ns);

/* The month of an instant, in UTC: 0 is January 1970. And where it begins. */
uint32_t weir_month_of(uint64_t ns);
uint64_t weir_month_start_ns(uint32_t month);

#endif
