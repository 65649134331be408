# SPDX-License-Identifier: Apache-2.0
"""A flood of SYNs from one tenant's prefix costs that tenant's new connections and
nothing else (bpf/limits.md, 9); one from nobody's costs nobody."""
import threading
import time

import pytest
from limit_lab import CHAT, LimitLab, document, tenant
from weirlab import wait_for
from weirlab.flood import Flood
from weirlab.raw_http import chat_body, send
from weirlab.rawtcp import RAW4, Wire

SYNS = 20_000
BOUND = 1024  # half_open of a tier that says nothing
MAX_FLOWS = 8192
NOBODYS = MAX_FLOWS // 4
POLICY = document(tenant("flooder", sources=["10.90.0.0/16", f"{RAW4}/32"]),
                  tenant("other", sources=["10.80.1.0/24"], connections=64),
                  tenant("keyed"))
HALF_OPEN_S = 5


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.own("10.80.1.0/24")
        made.guard(POLICY, nats=False, max_flows=MAX_FLOWS)
        yield made
        print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


@pytest.fixture
def wire(lab):
    made = Wire(lab)
    yield made
    made.close()


class Bystander:
    """Connects, asks, closes, again and again. Source address and key are whose it is."""

    def __init__(self, lab, source, key):
        self.lab, self.source, self.key = lab, source, key
        self.done, self.failed, self.stop = 0, [], threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stop.wait(0.01):
                with self.lab.connect(4, self.source) as sock:
                    answer = send(sock, "POST", CHAT, self.key, chat_body(1))
                    answer.body()
                    assert answer.status == 200
                self.done += 1
        except Exception as e:  # told by finish()
            self.failed.append(e)

    def finish(self):
        self.stop.set()
        self.thread.join(30)
        assert not self.failed, self.failed
        return self.done


def under_flood(lab, flood, watch=lambda: None):
    """Requests that three bystanders had answered while it went on: another tenant by source, a
    key from an address of nobody's, the same key from the other tenant's."""
    by = [Bystander(lab, "10.80.1.1", None), Bystander(lab, None, "sk-keyed"),
          Bystander(lab, "10.80.1.2", "sk-keyed")]
    before = [b.done for b in by]

    def each():
        """Nobody waits for the end of it."""
        now = [b.done for b in by]
        watch()
        wait_for(lambda: all(b.failed or b.done > n for b, n in zip(by, now)), "bystanders", 30)
    try:
        flood.send(each)
    finally:
        done = [b.finish() for b in by]
    assert all(d > b for d, b in zip(done, before))
    return sum(done)


def all_goes_back(lab):
    for name in ("flooder", "other", "keyed"):
        lab.gauge(name, "connections", 0, seconds=4 * HALF_OPEN_S)
        assert (lab.live(name)["half_open"], lab.live(name)["inflight"]) == (0, 0)
    wait_for(lambda: lab.ctl("status")["flows"]["used"] == 0, "all flows", 4 * HALF_OPEN_S)


def test_floods_cost_only_whose_addresses_they_have(lab, wire):
    """One from a tenant's prefix, one from nobody's. The tenant's are dropped beyond its bound;
    nobody's pass unfollowed beyond theirs, and who completes is taken in and judged."""
    conn = wire.raw()  # the flooder's own client, of before
    assert send(conn.handshake(), "POST", CHAT, "sk-flooder", chat_body(1)).json()
    denied, passed = lab.verdict("half_open"), lab.verdict("pass_half_open")
    seen = []

    def watch():
        seen.append((lab.live("flooder")["half_open"], lab.ctl("status")["flows"]["used"]))
    flood = Flood(wire, SYNS, "10.90.0.0/16", "10.91.0.0/16")
    began = time.monotonic()
    answered = under_flood(lab, flood, watch)
    assert max(half for half, _ in seen) == BOUND
    assert NOBODYS < max(flows for _, flows in seen) <= BOUND + NOBODYS + 64
    # Every five seconds there are places again, for as many.
    times = 1 + int((time.monotonic() - began) / HALF_OPEN_S)
    assert lab.verdict("half_open") - denied >= SYNS - BOUND * times
    assert lab.verdict("pass_half_open") - passed >= SYNS - (NOBODYS + 64) * times
    assert lab.verdict("map_full") == 0 and answered >= 3 * len(flood.frames) / 1000

    # Who had a connection keeps it.
    assert send(conn, "POST", CHAT, "sk-flooder", chat_body(1)).json()
    conn.close()
    all_goes_back(lab)
    wire.connect().close()
    assert lab.why("flooder", "half_open")["limit_of"] == "flooder"
    lab.settled("flooder", 2)


def test_floods_without_an_agent(lab, wire):
    flood = Flood(wire, SYNS // 4, "10.90.0.0/16", "10.91.0.0/16")
    with lab.agent_down("SIGKILL"):
        under_flood(lab, flood)
    assert lab.verdict("map_full") == 0
    all_goes_back(lab)
