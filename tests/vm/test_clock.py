# SPDX-License-Identifier: Apache-2.0
"""The wall clock jumps by an hour, forth and back, while limits are in use: buckets,
which run by CLOCK_MONOTONIC, neither open nor lock; keys end by the wall clock.

What is not tested here: suspend to memory, which this machine cannot do. CLOCK_MONOTONIC
stands still meanwhile, so a bucket does not fill while the machine sleeps and nothing
that is open expires (tests/unit/test_gcra.c)."""
import contextlib
import time

import pytest
from limit_lab import MINUTE_MS, LimitLab, document, slow, tenant
from weirlab import policy, wait_for

HOUR = 3600
STEPS = pytest.mark.parametrize("step", (HOUR, -HOUR), ids=("forward", "back"))
POLICY = document(*(one for word in ("forward", "back") for one in (
    tenant(f"slow-{word}", requests=slow(6), tokens=slow(400), reserve_output_tokens=16),
    tenant(f"quick-{word}", requests={"per_minute": 6, "burst": 2}),
    tenant(f"down-{word}", requests=slow(4)),
    tenant(f"keys-{word}"))))


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.guard(POLICY, nats=False)
        yield made
        print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


def set_wall(seconds):
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + seconds)


@contextlib.contextmanager
def stepped(seconds):
    set_wall(seconds)
    try:
        yield
    finally:
        set_wall(-seconds)


def word(step):
    return "forward" if step > 0 else "back"


class Bucket:
    """A tenant's bucket of requests that gives back one a minute, and what it let in."""

    def __init__(self, lab, name, size):
        self.lab, self.name, self.size = lab, name, size
        self.first, self.taken = None, 0

    def take(self, **how):
        answer = self.lab.ask(self.name, **how)
        self.first = self.first or answer
        self.taken += answer.status == 200
        return answer

    def back(self):
        """Units that may have come back until now."""
        return (time.monotonic() * 1000 - self.first.asked_ms) / MINUTE_MS

    def use_up(self):
        """Exactly the rest is let in; the refusal says when the next one is."""
        while (answer := self.take()).status == 200:
            pass
        assert self.size <= self.taken <= self.size + int(self.back())
        assert 0 < int(answer.headers["retry-after-ms"]) <= MINUTE_MS

    def tokens_left(self, n):
        """n, or what came back meanwhile more."""
        wait_for(lambda: n <= self.lab.live(self.name)["tokens_remaining"] <= n + self.back() + 1,
                 f"{n} tokens to be left")


@STEPS
def test_buckets_neither_open_nor_lock(lab, step):
    name, quick = f"slow-{word(step)}", f"quick-{word(step)}"
    bucket = Bucket(lab, name, 5)  # of six: one is the stream's
    bucket.take(tokens=97)
    bucket.take()
    left = 400 - 100 - 4
    bucket.tokens_left(left)
    stream = lab.hold(name)  # spans the step
    assert stream
    with stepped(step):
        bucket.use_up()
        left -= 4 * (bucket.taken - 2) + 5
        while lab.ask(quick).status == 200:  # used up
            pass
        wait_for(lambda: lab.ask(quick).status == 200, "its bucket to fill", 20)
        lab.release([stream])
        events = lab.settled(name, bucket.taken + 1)
        bucket.tokens_left(left)
    bucket.tokens_left(left)
    bucket.use_up()
    for event in events:  # durations are of the clock that does not jump
        assert 0 <= event["ttft_ms"] <= event["latency_ms"] < HOUR * 1000 / 2
    lab.gauge(name, "inflight", 0)
    lab.gauge(name, "connections", 0)


@STEPS
def test_a_step_while_the_agent_is_dead(lab, step):
    bucket = Bucket(lab, f"down-{word(step)}", 4)
    bucket.take()
    bucket.take()
    lab.kill_agent()
    set_wall(step)
    try:
        bucket.take()
        lab.start_agent()
        bucket.use_up()
        lab.settled(bucket.name, bucket.taken)
    finally:
        set_wall(-step)
    bucket.use_up()


@STEPS
def test_keys_end_by_the_wall_clock(lab, step):
    """A key of half an hour: an hour on it is over; an hour back it is as good as ever."""
    name = f"keys-{word(step)}"
    key = lab.ctl("key", "add", name, "--expires", "30m")["key"]

    def status():
        return lab.ask(name, key=key).status
    assert status() == 200
    with stepped(step):
        wanted = 401 if step > 0 else 200
        wait_for(lambda: status() == wanted, f"status {wanted}", 30)
        time.sleep(0.5)  # until the agent has told the kernel, whichever way
        assert status() == wanted
        assert lab.ask(name).status == 200  # one that does not end
    wait_for(lambda: status() == 200, "the key to be good again", 30)


def test_nothing_was_lost_by_it(lab):
    assert lab.weirctl("ledger", "verify").returncode == 0
    served = lab.served()
    wait_for(lambda: len(lab.ctl_lines("events")) == len(served), "all events", 30)
    assert len({e["data"]["response_id"] for e in lab.ctl_lines("events")}) == len(served)
    assert policy.nano(lab.live("keys-back")["reserved"]) == 0
