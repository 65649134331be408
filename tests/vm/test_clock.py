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
    tenant(f"slow-{word}", requests=slow(6), tokens=slow(400)),
    tenant(f"quick-{word}", requests={"per_second": 1, "burst": 2}),
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


@STEPS
def test_buckets_neither_open_nor_lock(lab, step):
    name, quick = f"slow-{word(step)}", f"quick-{word(step)}"
    first = lab.ask(name, tokens=97)
    assert [lab.ask(name).status for _ in range(2)] == [200] * 2
    left = 400 - 100 - 2 * 4
    lab.gauge(name, "tokens_remaining", left)
    stream = lab.hold(name)  # spans the step
    assert stream
    with stepped(step):
        assert [lab.ask(name).status for _ in range(3)] == [200, 200, 429]
        refused = lab.ask(name)
        wait, gone = int(refused.headers["retry-after-ms"]), refused.had_ms - first.asked_ms
        assert MINUTE_MS - gone - 2 <= wait <= MINUTE_MS
        lab.gauge(name, "tokens_remaining", left - 2 * 4)
        while lab.ask(quick).status == 200:  # used up
            pass
        refused = lab.ask(quick)
        if refused.status == 429:
            assert int(refused.headers["retry-after-ms"]) <= 1000
        wait_for(lambda: lab.ask(quick).status == 200, "its bucket to fill", 30)
        lab.release([stream])
        events = lab.settled(name, 6)
    lab.gauge(name, "tokens_remaining", left - 2 * 4 - 5)
    assert lab.ask(name).status == 429
    for event in events:  # durations are of the clock that does not jump
        assert 0 <= event["ttft_ms"] <= event["latency_ms"] < HOUR * 1000 / 2
    lab.quiet(name)


@STEPS
def test_a_step_while_the_agent_is_dead(lab, step):
    name = f"down-{word(step)}"
    assert [lab.ask(name).status for _ in range(2)] == [200] * 2
    lab.kill_agent()
    set_wall(step)
    try:
        assert lab.ask(name).status == 200
        lab.start_agent()
        assert [lab.ask(name).status for _ in range(2)] == [200, 429]
        lab.settled(name, 4)
        assert lab.live(name)["requests_remaining"] == 0
    finally:
        set_wall(-step)
    assert lab.ask(name).status == 429


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
