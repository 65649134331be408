# SPDX-License-Identifier: Apache-2.0
"""Somebody sets the clock, and nobody synchronises it (agent/delivery.md, 2): an hour is followed,
more than two are not, and credit that would have expired by the new time is there. The agent's
clock alone is set (tests/chaos/clock_shift.c); a whole machine's is in tests/vm/test_clock.py."""
import ctypes
import datetime
import mmap
import os

import pytest
from weirlab import Lab, policy, wait_for
from weirlab.lab import BUILD

POLICY = policy.document({"paid": {"credit": "hard"}}, {"acme": ("paid", "sk-acme")})
HOUR = 3600


@pytest.fixture
def clock():
    with Lab() as lab:
        path = lab.dir / "clock_shift"
        path.write_bytes(bytes(40))
        with open(path, "r+b") as f:
            shift = ctypes.c_int64.from_buffer(mmap.mmap(f.fileno(), 40))
        lab.agent_env = {**os.environ, "WEIR_CLOCK_SHIFT": str(path),
                         "LD_PRELOAD": str(BUILD / "tests/clock_shift.so")}
        lab.start_agent(POLICY, nats=False)
        yield Clock(lab, shift)
    assert lab.leftovers() == []


class Clock:
    def __init__(self, lab, shift):
        self.lab, self._shift, self._n = lab, shift, 0

    def set(self, hours):
        self._shift.value = int(hours * HOUR) * 10**9

    def status(self):
        return self.lab.ctl("status")["clock"]

    def warned(self):
        return [w for w in self.lab.warnings() if w.startswith("clock: it was set")]

    def ahead(self):
        """Hours that a new entry of the ledger is ahead of our clock."""
        self._n += 1
        self.lab.ctl("credit", "grant", "acme", "1", "--id", f"t{self._n}")
        at = self.lab.ctl_lines("ledger", "acme")[-1]["time"]
        now = datetime.datetime.now(datetime.timezone.utc)
        return round((datetime.datetime.fromisoformat(at[:19] + "+00:00") - now).total_seconds()
                     / HOUR, 1)

    def entries(self, kind):
        return [e for e in self.lab.ctl_lines("ledger", "acme") if e["kind"] == kind]


def test_a_long_step_is_not_followed_and_a_short_one_is(clock):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)
    clock.lab.ctl("credit", "grant", "acme", "5", "--expires", soon.strftime("%Y-%m-%dT%H:%M:%SZ"),
                  "--id", "short-lived")
    assert clock.ahead() == 0 and not clock.status()["held"]

    clock.set(3)
    wait_for(lambda: clock.status()["held"], "the step to be seen")
    assert clock.status()["step_s"] in range(3 * HOUR - 1, 3 * HOUR + 2)
    assert len(clock.warned()) == 1 and "not followed" in clock.warned()[0]
    assert clock.ahead() == 0 and not clock.entries("expire")

    clock.set(1)  # set back, but for an hour: believed
    wait_for(lambda: not clock.status()["held"], "the clock to be followed again")
    assert clock.ahead() == 1 and not clock.warned()

    clock.set(-24)  # ledger time does not go back, so it cannot show this
    wait_for(lambda: clock.status()["held"], "the step back to be seen")
    assert clock.status()["step_s"] in range(-25 * HOUR - 2, -25 * HOUR + 2)
    assert clock.ahead() == 1

    clock.set(2.9)  # less than two hours more than an hour: followed
    wait_for(lambda: clock.entries("expire"), "credit to expire by a time that is believed")
    assert not clock.status()["held"]

    # Started again, it believes the clock that it finds.
    clock.set(30)
    wait_for(lambda: clock.status()["held"], "the step to be seen")
    clock.lab.kill_agent()
    clock.lab.start_agent()
    assert not clock.status()["held"] and clock.ahead() == 30
    clock.lab.ctl("ledger", "verify")
