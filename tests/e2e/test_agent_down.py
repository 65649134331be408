# SPDX-License-Identifier: Apache-2.0
"""The agent is stopped or killed: each tier's on_agent_down decides (bpf/limits.md,
14). What was served meanwhile is metered once it is back, and nothing twice."""
import time

import pytest
from checks import assert_metered, totals
from limit_lab import LimitLab, document, input_tokens, reservation, slow, tenant
from weirlab import policy, wait_for

TIMEOUT_S = 1
OUT = 10  # tokens reserved for each answer
WAYS = ("SIGSTOP", "SIGKILL")
TIERS = {mode: {"on_agent_down": mode, "credit": "hard", "reserve_output_tokens": OUT,
                "requests": slow(12), "concurrency": 3} for mode in ("hold", "open")}
TIERS["closed"] = {"on_agent_down": "closed"}
TIERS["thrifty"] = {"on_agent_down": "hold", "tokens": slow(500), "reserve_output_tokens": 90}
TIERS["spender"] = {"on_agent_down": "open", "tokens": slow(30)}
POLICY = document(
    *(tenant(f"{tier}-{way.lower()}", tier) for tier in TIERS for way in WAYS),
    *(tenant(f"{mode}-child-{way.lower()}", mode, f"bounded-{way.lower()}")
      for mode in ("hold", "open") for way in WAYS),
    *(tenant(f"bounded-{way.lower()}", requests=slow(4), on_agent_down="closed") for way in WAYS),
    tiers=TIERS)
EACH = reservation(OUT, 1, stream=False)
EACH_TOKENS = input_tokens(1, stream=False)


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.guard(POLICY, nats=False, agent_timeout_ms=TIMEOUT_S * 1000)
        yield made
        print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


def grant(lab, name, n):
    """Credit for n requests."""
    lab.ctl("credit", "grant", name, policy.credits(n * EACH))


def asked(lab, name, n=20):
    """Statuses of up to n requests, the first refusal the last of them."""
    answers = []
    while len(answers) < n and (not answers or answers[-1].status == 200):
        answers.append(lab.ask(name))
    return answers


def metered(lab, name, n):
    """Each served once, each paid once, nothing reserved."""
    served = lab.served(f"sk-{name}")
    assert len(served) == n
    events = lab.settled(name, n)
    assert_metered(events, served)
    lab.gauge(name, "reserved", "0")
    lab.gauge(name, "inflight", 0)
    return totals(events)["price"]


@pytest.mark.parametrize("way", WAYS)
def test_each_tier_as_it_says(lab, way):
    hold, open_, closed = (f"{mode}-{way.lower()}" for mode in ("hold", "open", "closed"))
    thrifty, spender = f"thrifty-{way.lower()}", f"spender-{way.lower()}"
    for name in (hold, open_):
        grant(lab, name, 5)
    assert lab.ask(spender, tokens=30).status == 200  # three over
    lab.gauge(spender, "tokens_remaining", 0)
    assert lab.ask(closed).status == 200
    lab.settled(closed, 1)
    refused = lab.verdict("agent_down")

    with lab.agent_down(way):
        began_ms = time.monotonic() * 1000
        answers = [lab.ask(closed)]
        while answers[-1].status == 200:
            # Its last sign of life was before: from then on none may be let in.
            assert answers[-1].asked_ms < began_ms + TIMEOUT_S * 1000
            answers.append(lab.ask(closed))
        answer = answers[-1]
        assert answer.status == 503 and answer.error["code"] == "service_unavailable"
        assert int(answer.headers["retry-after"]) >= 1
        assert 0 < int(answer.headers["retry-after-ms"]) <= 60_000

        # hold: all goes on against the last figures. Nothing is settled, so what is spent is
        # bounded by what can be reserved.
        answers = asked(lab, hold)
        assert [a.status for a in answers] == [200] * 5 + [429]
        assert answers[-1].error["code"] == "insufficient_quota"
        answers = asked(lab, thrifty)
        fits = -(-500 // (EACH_TOKENS + 90))
        assert [a.status for a in answers] == [200] * fits + [429]
        assert answers[-1].limit == "token rate"

        # open: credit and tokens are not looked at; the rest is.
        streams = lab.hold_all(open_, 5)
        assert len(streams) == 3
        assert lab.ask(open_).limit == "concurrency"
        lab.release(streams)
        wait_for(lambda: (a := lab.ask(open_)).status == 200 and a, "a slot")
        answers = asked(lab, open_)
        assert answers[-1].limit == "request rate" and len(answers) == 12 - 3 - 1 + 1
        assert lab.ask(spender).status == 200

        # A tenant's own setting counts at all levels: the parent's "closed" is the parent's.
        children = [f"hold-child-{way.lower()}", f"open-child-{way.lower()}"]
        assert lab.ask(children[0]).error["code"] == "insufficient_quota"
        assert [lab.ask(children[1]).status for _ in range(4)] == [200] * 4
        assert lab.ask(children[1]).limit == "request rate"

    wait_for(lambda: lab.ask(closed).status == 200, "the tier that is closed to come back", 5)
    assert lab.verdict("agent_down") > refused
    before = 5 * EACH
    for name, n in ((hold, 5), (open_, 12)):
        price = metered(lab, name, n)
        assert policy.nano(lab.live(name)["balance"]) == before - price
    for name in (closed, thrifty, spender, children[1]):
        metered(lab, name, len(lab.served(f"sk-{name}")))
    assert lab.weirctl("ledger", "verify").returncode == 0
    assert lab.ctl("status")["ring"]["lost"] == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_that_runs_meanwhile_is_not_touched(lab, way):
    """Not even of a tier that is closed: it was let in."""
    name = f"closed-{way.lower()}"
    n = len(lab.served(f"sk-{name}"))
    stream = lab.hold(name)
    with lab.agent_down(way):
        wait_for(lambda: lab.ask(name).status == 503, "the tier to close", 3 * TIMEOUT_S,
                 every=0.1)
        lab.release([stream])
        served = len(lab.served(f"sk-{name}"))
    assert served > n
    metered(lab, name, served)


def test_a_short_stop_is_not_noticed(lab):
    """Shorter than agent_timeout: nobody is refused, nothing lost."""
    name = "closed-sigstop"
    n = len(lab.served(f"sk-{name}"))
    refused = lab.verdict("agent_down")
    for round_ in range(3):
        with lab.agent_down("SIGSTOP"):
            until = time.monotonic() + TIMEOUT_S / 3
            while time.monotonic() < until:
                assert lab.ask(name).status == 200
                n += 1
        wait_for(lambda: lab.ctl("status")["pid"], f"the agent, {round_}")
        time.sleep(0.15)  # a heartbeat
    assert lab.verdict("agent_down") == refused
    assert len(lab.served(f"sk-{name}")) == n
    lab.settled(name, n)
