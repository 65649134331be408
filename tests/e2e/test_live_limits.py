# SPDX-License-Identifier: Apache-2.0
"""A limit that is raised or lowered holds from the next request on, and what is used
stays used (bpf/limits.md, 15): `policy apply` and SIGHUP, while others go on."""
import threading
import time

import pytest
from limit_lab import MINUTE_MS, LimitLab, document, reservation, slow, tenant
from weirlab import policy, wait_for

POLICY = document(
    tenant("busy"),
    tenant("gauge", concurrency=4),
    tenant("sockets", sources=["10.80.1.0/24"], connections=3),
    tenant("opener", sources=["10.80.2.0/24"], connect_rate=slow(5)),
    tenant("asker-apply", requests=slow(10)), tenant("asker-sighup", requests=slow(10)),
    tenant("shrunk", requests=slow(10)), tenant("fresh", requests=slow(3)),
    tenant("hammered", requests=slow(20)),
    tenant("reader", tokens=slow(100)),
    tenant("buyer", credit="hard", reserve_output_tokens=10),
    tenant("narrow", concurrency=2), tenant("wide", concurrency=3),
    tenant("moved", parent="narrow"), tenant("stays", parent="narrow"),
    tenant("scoped", services={"llm": {"concurrency": 1}}))


class Busy:
    """Somebody without limits, all the while: each of their requests is answered."""

    def __init__(self, lab):
        self.lab, self.stop, self.statuses, self.failed = lab, threading.Event(), [], []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stop.wait(0.01):
                self.statuses.append(self.lab.ask("busy").status)
        except Exception as e:  # told by finish()
            self.failed.append(e)

    def finish(self):
        self.stop.set()
        self.thread.join(30)
        assert not self.failed and set(self.statuses) == {200}


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.own("10.80.0.0/16")
        made.guard(POLICY, nats=False)
        busy = Busy(made)
        try:
            yield made
        finally:
            busy.finish()
            print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
        made.settled("busy", len(busy.statuses))
        made.quiet("busy")
    assert made.leftovers() == []


def admitted(lab, name, n=40):
    """How many are let in before the first refusal."""
    for done in range(n):
        if lab.ask(name).status != 200:
            return done
    return n


def held(lab, name):
    return lab.hold_all(name, 8)


# ------------------------------------------------------------------ gauges

def test_concurrency_raised_and_lowered(lab):
    streams = held(lab, "gauge")
    assert len(streams) == 4
    lab.change("gauge", concurrency=6)
    streams += held(lab, "gauge")
    assert len(streams) == 6 and lab.live("gauge")["inflight"] == 6
    lab.change("gauge", concurrency=2)
    for open_ in (5, 4, 3, 2):  # none new until it is below
        refused = lab.ask("gauge")
        assert refused.status == 429 and refused.figures() == [open_ + 1, 2]
        streams.pop().close()
        lab.gauge("gauge", "inflight", open_)
    assert lab.ask("gauge").status == 429
    streams.pop().close()
    lab.gauge("gauge", "inflight", 1)
    assert lab.ask("gauge").status == 200
    lab.change("gauge")  # no limit at all
    more = held(lab, "gauge")
    assert len(more) == 8
    for one in streams + more:
        one.close()
    lab.gauge("gauge", "inflight", 0)


def connections(lab, name, source, n):
    """As many of n as are let in."""
    made = []
    for _ in range(n):
        try:
            made.append(lab.connect(4, source))
        except ConnectionRefusedError:
            pass
    return made


def test_connections_raised_and_lowered(lab):
    def count(n):
        lab.gauge("sockets", "connections", n)
    socks = connections(lab, "sockets", "10.80.1.1", 6)
    assert len(socks) == 3
    lab.change("sockets", connections=5)
    socks += connections(lab, "sockets", "10.80.1.2", 6)
    assert len(socks) == 5
    lab.change("sockets", connections=2)
    for n in (4, 3, 2):
        assert not connections(lab, "sockets", "10.80.1.1", 1)
        socks.pop().close()
        count(n)
    assert not connections(lab, "sockets", "10.80.1.1", 1)
    socks.pop().close()
    count(1)
    socks += connections(lab, "sockets", "10.80.1.1", 3)
    assert len(socks) == 2
    for sock in socks:
        sock.close()
    count(0)


# ----------------------------------------------------------------- buckets

def test_connect_rate_keeps_what_is_used(lab):
    def opened(n):
        made = connections(lab, "opener", "10.80.2.1", n)
        for sock in made:
            sock.close()
        return len(made)
    assert opened(4) == 4
    lab.change("opener", connect_rate={"per_minute": 2, "burst": 10})
    assert opened(20) == 6
    lab.change("opener", connect_rate=slow(8))
    assert opened(3) == 0
    lab.change("opener", connect_rate=slow(12))
    assert opened(20) == 2


@pytest.mark.parametrize("how", ("apply", "sighup"))
def test_requests_raised(lab, how):
    name = f"asker-{how}"
    assert [lab.ask(name).status for _ in range(7)] == [200] * 7
    lab.change(name, how, requests={"per_minute": 2, "burst": 20})
    assert lab.live(name)["requests_remaining"] == 13
    assert admitted(lab, name) == 13
    assert lab.ask(name).figures()[:2] == [2, 20]


def test_requests_lowered_below_what_is_used(lab):
    first = lab.ask("shrunk")
    assert admitted(lab, "shrunk", 6) == 6  # seven are used
    lab.change("shrunk", requests=slow(5))
    refused = lab.ask("shrunk")
    assert refused.status == 429 and refused.figures()[:2] == [1, 5]
    wait, gone = int(refused.headers["retry-after-ms"]), refused.had_ms - first.asked_ms
    assert 3 * MINUTE_MS - gone - 2 <= wait <= 3 * MINUTE_MS
    lab.change("shrunk", requests=slow(10))
    assert admitted(lab, "shrunk") == 3


def test_a_limit_that_goes_is_forgotten_and_one_that_comes_starts_full(lab):
    assert admitted(lab, "fresh") == 3
    lab.change("fresh")
    assert lab.live("fresh")["requests_remaining"] is None
    assert admitted(lab, "fresh", 10) == 10
    lab.change("fresh", requests=slow(4))
    assert admitted(lab, "fresh") == 4


def test_nothing_is_lost_or_given_twice_under_fire(lab):
    """Four clients ask as fast as they can while size and speed of the bucket change."""
    done, stop = [], threading.Event()

    def fire():
        while not stop.is_set():
            done.append(lab.ask("hammered").status)
    threads = [threading.Thread(target=fire) for _ in range(4)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        for size, speed in ((20, 1), (40, 2), (30, 1), (60, 3), (50, 2), (80, 1), (120, 3)):
            lab.change("hammered", requests={"per_minute": speed, "burst": size})
            # Until this one is used up too. Lowered, it is already.
            seen = len(done)
            wait_for(lambda: len(done) > seen + 4 and done[-4:] == [429] * 4, "refusals", 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    refilled = int((time.monotonic() - began) * 3 / 60)  # at its fastest
    assert set(done) == {200, 429}
    assert 120 <= done.count(200) <= 120 + refilled


def test_tokens_used_stay_used(lab):
    def left(n):
        lab.gauge("reader", "tokens_remaining", n)
    assert lab.ask("reader", tokens=57).status == 200
    left(40)
    lab.change("reader", tokens=slow(200))
    left(140)
    lab.change("reader", tokens={"per_minute": 4, "burst": 200})
    left(140)
    lab.change("reader", tokens=slow(50))
    left(0)
    refused = lab.ask("reader")
    assert refused.status == 429 and refused.figures()[:2] == [1, 50]
    lab.change("reader", tokens=slow(100))
    left(40)
    assert lab.ask("reader", tokens=7).status == 200
    left(30)


def test_overage_raised_and_lowered(lab):
    """What may be owed, in requests: each reserves the same."""
    def buyer(credit, owed=0):
        lab.change("buyer", credit=credit, overage_limit=policy.credits(owed),
                   reserve_output_tokens=10)
    each = reservation(10, hold=1)
    lab.ctl("credit", "grant", "buyer", policy.credits(2 * each))
    streams = held(lab, "buyer")
    assert len(streams) == 2 and policy.nano(lab.live("buyer")["reserved"]) == 2 * each
    buyer("soft", 3 * each)
    streams += held(lab, "buyer")
    assert len(streams) == 5
    buyer("soft", each)
    assert not lab.hold("buyer")
    buyer("soft", 4 * each - 1)
    assert not lab.hold("buyer")
    buyer("soft", 4 * each)
    streams += held(lab, "buyer")
    assert len(streams) == 6
    buyer("hard")
    assert not lab.hold("buyer")
    for one in streams:
        one.close()
    lab.gauge("buyer", "reserved", "0")


# --------------------------------------------------------- parents and scopes

def test_a_new_parent_is_charged_for_what_is_new(lab):
    old = held(lab, "moved")
    assert len(old) == 2 and not lab.hold("stays")
    lab.change("moved", parent="wide")
    assert lab.live("narrow")["inflight"] == 2 and lab.live("wide")["inflight"] == 0
    new = held(lab, "moved")
    assert len(new) == 3 and not lab.hold("stays")
    assert [lab.live(n)["inflight"] for n in ("moved", "narrow", "wide")] == [5, 2, 3]
    for one in old:
        one.close()
    lab.gauge("narrow", "inflight", 0)
    assert lab.live("wide")["inflight"] == 3
    lab.hold("stays").close()
    lab.change("moved", parent=None)
    for one in new:
        one.close()
    for name in ("moved", "narrow", "wide", "stays"):
        lab.gauge(name, "inflight", 0)
        lab.gauge(name, "connections", 0)


def test_a_scope_comes_changes_and_goes(lab):
    first = lab.hold("scoped")
    assert first and not lab.hold("scoped")
    lab.change("scoped", services={"llm": {"concurrency": 2}})
    second = lab.hold("scoped")
    assert second and not lab.hold("scoped")
    lab.change("scoped")
    third = lab.hold("scoped")
    lab.change("scoped", services={"llm": {"concurrency": 1}})
    first.close()
    second.close()
    lab.gauge("scoped", "inflight", 1)
    # The third was let in when there was no scope: nothing of it counts there.
    fourth = lab.hold("scoped")
    assert fourth and not lab.hold("scoped")
    third.close()
    fourth.close()
    lab.gauge("scoped", "inflight", 0)
    assert lab.ask("scoped").status == 200
