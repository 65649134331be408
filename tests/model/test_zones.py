# SPDX-License-Identifier: Apache-2.0
"""Boundaries of days, weeks and months (agent/calendar.c) against Python's zoneinfo: every zone
that there is, at random and around every change of its clocks."""

import random
from datetime import timedelta
from zoneinfo import ZoneInfo, available_timezones

from calendar_model import DAY, EPOCH, HOUR, NS, next_boundary

# GLib 2.74 takes the rule behind the last listed year, "IST-1GMT0,M10.5.0,M3.5.0/1", for a summer
# time of two hours: from 2038 on, Dublin's winters are wrong there.
UNTIL_2037 = ("Europe/Dublin", "Eire")
LISTED = 67 * 366 * DAY


def changes(zone, rng):
    """Days with a change of the clock, between 1970 and 2037."""
    zone, before = ZoneInfo(zone), None
    first = rng.randrange(20)
    for day in range(first, 24000, 20):
        offset = (EPOCH + timedelta(days=day)).astimezone(zone).utcoffset()
        if before is not None and offset != before:
            yield next(d for d in range(day - 20, day + 1) if (
                EPOCH + timedelta(days=d + 1)).astimezone(zone).utcoffset() != before)
        before = offset


def questions(rng):
    for zone in sorted(available_timezones()):
        if not zone[0].isupper() or zone == "Factory":
            continue
        ends = LISTED if zone in UNTIL_2037 else 2**63 - 62 * DAY
        instants = [rng.randrange(LISTED) for _ in range(2)] + [rng.randrange(ends)]
        days = list(changes(zone, rng))
        for day in rng.sample(days, min(2, len(days))):
            instants.append(day * DAY + rng.randrange(-30 * HOUR, 54 * HOUR))
        for instant in instants:
            yield {"op": "boundary", "zone": zone, "after": max(0, instant) // NS * NS
                   + rng.choice([0, 1, NS - 1]), "every": rng.choice(["day", "day", "week",
                                                                      "month"])}


def test_boundaries_are_those_of_zoneinfo(driver):
    asked = list(questions(random.Random(1)))
    assert len(asked) > 2000
    wrong = []
    for i in range(0, len(asked), 500):
        part = asked[i:i + 500]
        for q, got in zip(part, driver.run(part)):
            want = next_boundary(q["every"], q["zone"], q["after"])
            if got["next"] != want:
                wrong.append((q, want, got["next"]))
    assert not wrong
