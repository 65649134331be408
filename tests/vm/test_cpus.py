# SPDX-License-Identifier: Apache-2.0
"""A CPU goes and comes back under load: no count is lost, no limit opens, nothing
passes unjudged."""
import pathlib
import threading
import time

import pytest
from limit_lab import LimitLab, document, slow, tenant
from weirlab import wait_for

CPU1 = pathlib.Path("/sys/devices/system/cpu/cpu1/online")
BURST = 12
ROUNDS = 4
POLICY = document(tenant("open"), tenant("bucket", requests=slow(BURST)),
                  tenant("few", concurrency=2, connections=6))
UNJUDGED = ("pass_untracked", "pass_internal", "pass_malformed", "tap_unjudged", "tap_lost",
            "end_lost", "drop_unjudged", "busy", "map_full")


@pytest.fixture(scope="module")
def lab():
    assert CPU1.read_text().strip() == "1", "this machine has one CPU"
    with LimitLab() as made:
        made.guard(POLICY, nats=False)
        try:
            yield made
        finally:
            CPU1.write_text("1")
        print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


class Load:
    """Asks without pause; how often each status came."""

    def __init__(self, lab, name, **how):
        self.counts, self.failed, self.stop = {}, [], threading.Event()
        self.lab, self.name, self.how = lab, name, how
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stop.is_set():
                status = self.lab.ask(self.name, **self.how).status
                self.counts[status] = self.counts.get(status, 0) + 1
        except Exception as e:  # told by finish()
            self.failed.append(e)

    @property
    def n(self):
        return sum(self.counts.values())

    def finish(self):
        self.stop.set()
        self.thread.join(120)
        assert not self.failed, self.failed
        return self.counts


def test_a_cpu_goes_and_comes_under_load(lab):
    streams = [lab.hold("few") for _ in range(2)]
    assert all(streams)
    began = time.monotonic()
    loads = [Load(lab, "open"), Load(lab, "open", stream=True), Load(lab, "bucket"),
             Load(lab, "few", stream=True, delay_ms=5, tokens=5)]
    try:
        for round_ in range(ROUNDS):
            for online in "01":
                CPU1.write_text(online)
                seen = [load.n for load in loads]
                wait_for(lambda: all(load.failed or load.n > n + 2
                                     for load, n in zip(loads, seen)), "requests", 60)
                assert lab.live("few")["inflight"] == 2
        wait_for(lambda: loads[2].failed or 429 in loads[2].counts, "the bucket to be used up", 60)
    finally:
        counts = [load.finish() for load in loads]
    assert counts[0].keys() == counts[1].keys() == {200}
    came_back = int((time.monotonic() - began) / 60)
    assert counts[2].keys() == {200, 429}
    assert BURST <= counts[2][200] <= BURST + came_back
    assert counts[3].keys() == {429}, "a third one was let in"
    lab.release(streams)
    for name in ("open", "bucket", "few"):
        lab.gauge(name, "inflight", 0, seconds=30)
        lab.gauge(name, "connections", 0, seconds=30)
    admitted = counts[0][200] + counts[1][200] + counts[2][200] + 2
    verdicts = lab.ctl("status")["verdicts"]
    assert verdicts["admit_request"] == admitted == len(lab.served())
    assert verdicts["requests"] == counts[2][429]
    assert verdicts["concurrency"] == counts[3][429]
    assert not {k: v for k, v in verdicts.items() if k in UNJUDGED and v}
    assert verdicts["flow_new"] == verdicts["flow_gone"]
    wait_for(lambda: len(lab.ctl_lines("events")) == admitted, "all events", 60)
    assert lab.ctl("status")["ring"]["lost"] == 0
