# SPDX-License-Identifier: Apache-2.0
"""Boundaries of schedules (agent/ledger.md, 12), looked for instant by instant with zoneinfo."""

from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

NS = 10**9
HOUR = 3600 * NS
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@lru_cache(None)
def is_zone(name):
    return name in available_timezones()


def local_date(zone, second):
    return (EPOCH + timedelta(seconds=second)).astimezone(ZoneInfo(zone)).date()


@lru_cache(None)
def first_instant(zone, day):
    """The first second whose local date is `day`, or later if there was no such day."""
    second = (day - date(1970, 1, 1)).days * 86400 - 16 * 3600
    while local_date(zone, second) < day:
        second += 3600
    second -= 3 * 3600  # the day may have begun, for a minute, before clocks went back
    while local_date(zone, second) < day:
        second += 60
    second -= 60
    while local_date(zone, second) < day:
        second += 1
    return second


def begins_period(every, day):
    return {"day": True, "week": day.weekday() == 0, "month": day.day == 1}[every]


@lru_cache(1 << 16)
def boundary_after(every, zone, after_second):
    day = local_date(zone, after_second)
    while True:
        day += timedelta(days=1)
        if begins_period(every, day) and first_instant(zone, day) > after_second:
            return first_instant(zone, day)


def next_boundary(every, zone, after_ns):
    return boundary_after(every, zone, after_ns // NS) * NS


def month_of(ns):
    """(year, month) in UTC."""
    when = EPOCH + timedelta(seconds=ns // NS)
    return when.year, when.month


def month_end(month):
    """The first instant after a month."""
    year, number = month
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=timezone.utc)
    return int((following - EPOCH).total_seconds()) * NS
