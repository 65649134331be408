# SPDX-License-Identifier: Apache-2.0
"""`make chaos`, short: seven kills and one of each other fault under plain answers, streams and
15-second streams; then stream, ledger and what was served are one and the same. The plan by hand:
make chaos SEED=1019 KILLS=7 CHAOS_ARGS="--tenants 8"."""
import pathlib
import sys

import pytest
from weirlab import Lab

CHAOS = pathlib.Path(__file__).resolve().parents[1] / "chaos"
sys.path += [str(CHAOS.parent / "soak"), str(CHAOS)]

import chaos  # noqa: E402
from account import Differences  # noqa: E402
from node import LONG, SHORT, names  # noqa: E402
from plan import Plan  # noqa: E402

SEED, KILLS, TENANTS = 1019, 7, 8


@pytest.fixture
def bare_lab():
    """A laboratory without the model server: chaos brings its own."""
    with Lab() as made:
        yield made
        if made.log("agent").exists():  # shown if it failed
            print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


def each_difference_is_seen(account):
    """The comparisons can fail: with an event less, one twice, another price."""
    events = account.read_ledger(0)
    paid = next(i for i, e in enumerate(events) if e["data"].get("burn"))
    event = events[paid]
    dearer = {**event, "data": {**event["data"], "price": "1000"}}

    def differences(changed):
        d = Differences()
        account.compare_stream(d, changed)
        account.compare_served(d, changed)
        account.compare_lane(d, changed)
        account.compare_tenants(d, changed)
        return str(d)

    assert differences(events) == ""
    less = differences(events[:paid] + events[paid + 1:])
    for kind in ("served, and in no event: 1", "on the stream, not in the ledger: 1",
                 "previous_seq: 1", "balances: 1"):
        assert kind in less, less
    twice = differences(events + [event])
    assert "twice in the ledger: 1" in twice and "an answer metered twice: 1" in twice, twice
    assert "metered otherwise than served: 1" in differences(
        events[:paid] + [dearer] + events[paid + 1:])


def test_nothing_is_lost_and_nothing_is_twice_whatever_dies(bare_lab):
    plan = Plan(SEED, KILLS, names(TENANTS, "poor"))
    print(plan)
    run = chaos.Chaos(bare_lab, plan, TENANTS, print, cut=True, long={**LONG, "streams": 150},
                      short={**SHORT, "asks": 50})
    run.run(between=lambda: each_difference_is_seen(run.account))
    print(run.table())
    assert sum(run.node.killed.values()) >= KILLS and run.node.hit and run.node.shifted
