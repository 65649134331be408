// SPDX-License-Identifier: Apache-2.0
/*
 * A day's first instant is the first one whose local date is not before it. Said so, it holds
 * where midnight is skipped (Havana, Beirut), where it comes twice (St. John's went back from
 * 00:01) and where a whole day is missing (Apia, 30 December 2011: its boundary is the next
 * day's).
 *
 * GTimeZone tells which interval of equal offset an instant is in, but not where one begins: that
 * is bisected, on the few days that have two.
 */
#include "agent/calendar.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)
#define DAY_S	  INT64_C(86400)
/* No zone has been further from UTC since 1970 (-12 to +14 hours). */
#define OFFSET_MAX_S (16 * INT64_C(3600))
/* GDate counts from 1 January of year 1, which is its day 1. */
#define JULIAN_1970 INT64_C(719163)

const char *const weir_every_names[] = { "", "day", "week", "month", NULL };

/* ------------------------------------------------------------------------ zones */

/* What was worked out last: for any instant from `from` on and before `next`, it is `next`. */
struct last {
	uint64_t from, next;
};

struct zone {
	GTimeZone *tz;
	struct last last[WEIR_EVERY_MONTH + 1];
};

/* Zones in use, by name; never dropped. There are 600 in the world. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* TSan sees it, unlike a GMutex */
static GHashTable *zones;

/* GLib also takes offsets ("+02:00"), rules ("EST5EDT,M3.2.0,M11.1.0") and the folders with leap
 * seconds ("right/UTC"). None of them is a zone of the database, whose names begin with a capital.
 */
static bool name_ok(const char *zone)
{
	size_t n =
		strspn(zone, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/+-");

	return zone[0] >= 'A' && zone[0] <= 'Z' && !zone[n] && n < 48;
}

/* Where GLib looks. "UTC" it knows by itself. */
static bool in_database(const char *zone)
{
	const char *dir = g_getenv("TZDIR");
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/%s", dir ? dir : "/usr/share/zoneinfo", zone);

	return !strcmp(zone, "UTC") || (n < (int)sizeof(path) && !access(path, R_OK));
}

/* With the lock held. NULL: no such zone. */
static struct zone *find(const char *name)
{
	struct zone *z;
	GTimeZone *tz;

	if (!zones)
		zones = g_hash_table_new(g_str_hash, g_str_equal);
	z = g_hash_table_lookup(zones, name);
	if (z)
		return z;
	if (!name_ok(name) || !in_database(name))
		return NULL;
	tz = g_time_zone_new_identifier(name);
	if (!tz)
		return NULL;
	z = g_new0(struct zone, 1);
	z->tz = tz;
	g_hash_table_insert(zones, g_strdup(name), z);
	return z;
}

int weir_zone_check(const char *zone)
{
	bool there;

	pthread_mutex_lock(&lock);
	there = find(zone);
	pthread_mutex_unlock(&lock);
	return there ? 0 : -EINVAL;
}

/* ------------------------------------------------------------------------- days */

static int interval_at(GTimeZone *tz, int64_t t)
{
	return g_time_zone_find_interval(tz, G_TIME_TYPE_UNIVERSAL, t);
}

/* The first instant of an interval that begins in (from, to]. */
static int64_t interval_begin(GTimeZone *tz, int interval, int64_t from, int64_t to)
{
	while (to - from > 1) {
		int64_t mid = from + (to - from) / 2;

		if (interval_at(tz, mid) < interval)
			from = mid;
		else
			to = mid;
	}
	return to;
}

/* The first instant whose local date is `day` (since 1970) or a later one. */
static int64_t day_begin(GTimeZone *tz, int64_t day)
{
	int64_t local = day * DAY_S;
	int64_t from = local - OFFSET_MAX_S, to = local + OFFSET_MAX_S;
	int first = interval_at(tz, from), last = interval_at(tz, to);

	for (int i = first; i < last; i++) {
		int64_t begin = i == first ? from : interval_begin(tz, i, from, to);
		int64_t end = interval_begin(tz, i + 1, from, to);
		int64_t t = MAX(begin, local - g_time_zone_get_offset(tz, i));

		if (t < end)
			return t;
	}
	to = first == last ? from : interval_begin(tz, last, from, to);
	return MAX(to, local - g_time_zone_get_offset(tz, last));
}

static int64_t local_day(GTimeZone *tz, int64_t t)
{
	int64_t local = t + g_time_zone_get_offset(tz, interval_at(tz, t));

	return local / DAY_S - (local % DAY_S < 0);
}

/* The first day after `day` that begins a period. */
static int64_t next_period(enum weir_every every, int64_t day)
{
	GDate d;

	if (every == WEIR_EVERY_DAY)
		return day + 1;
	g_date_clear(&d, 1);
	g_date_set_julian(&d, (guint32)(day + JULIAN_1970));
	if (every == WEIR_EVERY_WEEK)
		return day + 8 - (int)g_date_get_weekday(&d); /* Monday is 1 */
	g_date_set_day(&d, 1);
	g_date_add_months(&d, 1);
	return (int64_t)g_date_get_julian(&d) - JULIAN_1970;
}

/* Where midnight comes twice, an instant of the evening before may lie behind the next day's
 * beginning already: then it is the one after that. */
static int64_t boundary_after(GTimeZone *tz, enum weir_every every, int64_t after)
{
	int64_t day = local_day(tz, after), begin;

	do {
		day = next_period(every, day);
		begin = day_begin(tz, day);
	} while (begin <= after);
	return begin;
}

int weir_calendar_next(enum weir_every every, const char *zone, uint64_t after_ns,
		       uint64_t *next_ns)
{
	struct last *last;
	struct zone *z;
	int ret = 0;

	if (every < WEIR_EVERY_DAY || every > WEIR_EVERY_MONTH)
		return -EINVAL;
	if (after_ns > INT64_MAX)
		return -ERANGE;
	pthread_mutex_lock(&lock);
	z = find(zone);
	if (!z) {
		pthread_mutex_unlock(&lock);
		return -EINVAL;
	}
	last = &z->last[every];
	if (after_ns < last->from || after_ns >= last->next) {
		int64_t next = boundary_after(z->tz, every, (int64_t)(after_ns / SECOND_NS));

		if (next > INT64_MAX / (int64_t)SECOND_NS)
			ret = -ERANGE;
		else
			*last = (struct last){ after_ns, (uint64_t)next * SECOND_NS };
	}
	if (!ret)
		*next_ns = last->next;
	pthread_mutex_unlock(&lock);
	return ret;
}

/* ----------------------------------------------------------------- months in UTC */

uint32_t weir_month_of(uint64_t ns)
{
	GDate d;

	g_date_clear(&d, 1);
	g_date_set_julian(&d, (guint32)((int64_t)(ns / SECOND_NS) / DAY_S + JULIAN_1970));
	return (uint32_t)(g_date_get_year(&d) - 1970) * 12 + (uint32_t)g_date_get_month(&d) - 1;
}

uint64_t weir_month_start_ns(uint32_t month)
{
	GDate d;

	g_date_clear(&d, 1);
	g_date_set_dmy(&d, 1, (GDateMonth)(month % 12 + 1), (GDateYear)(1970 + month / 12));
	return (uint64_t)((int64_t)g_date_get_julian(&d) - JULIAN_1970) * (uint64_t)DAY_S *
	       SECOND_NS;
}
