# SPDX-License-Identifier: Apache-2.0
"""What is in flight is set aside, in credit and in tokens alike (bpf/limits.md, 6 to
8): of many at once only so many are let in as there is something left for, and each
is settled once, whatever dies in between."""
import threading

import pytest
from checks import assert_metered, totals
from limit_lab import LimitLab, document, input_tokens, reservation, slow, tenant
from weirlab import policy, wait_for
from weirlab.raw_http import shut

OUT = 50
AT_ONCE = 8
POLICY = document(
    tenant("one", "paid"), tenant("few", "paid"), tenant("debtor", "paid"),
    tenant("brimful", tokens=slow(1), reserve_output_tokens=OUT),
    tenant("bucket", tokens=slow(1000), reserve_output_tokens=OUT),
    tenant("wordy", "read"), tenant("cut", "read", max_output_tokens=60),
    tenant("short", "read"), tenant("killed", "paid", tokens=slow(10**6)), tenant("gone", "paid"),
    tenant("late", "paid"),
    tiers={"paid": {"credit": "hard", "reserve_output_tokens": OUT},
           "read": {"credit": "hard", "reserve_output_tokens": OUT, "max_output_tokens": 100000,
                    "tokens": slow(10**6)}})
EACH = reservation(OUT, hold=1)
EACH_TOKENS = input_tokens(hold=1) + OUT


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.guard(POLICY, nats=False)
        yield made
        print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


def grant(lab, name, nano):
    lab.ctl("credit", "grant", name, policy.credits(nano))


def at_once(lab, name, n=AT_ONCE, **how):
    return lab.at_once([name] * n, **how)


def shown(lab, name):
    """What `tenant show` says is reserved: credits, tokens, and by how many requests. Their sum
    is the whole."""
    tenant_ = lab.ctl("tenant", "show", name)
    by = tenant_["requests"]
    nano, tokens = sum(policy.nano(r["credits"]) for r in by), sum(r["tokens"] for r in by)
    assert nano == policy.nano(tenant_["live"]["reserved"])
    assert tokens == tenant_["live"]["reserved_tokens"]
    assert all(r["tenant"] == name and r["started_at"] and r["request_id"] for r in by)
    assert tenant_["requests_open"] == len(by)
    return nano, tokens, len(by)


def settled(lab, name, n, granted):
    """n answers: each paid once, nothing reserved."""
    events = lab.settled(name, n)
    lab.gauge(name, "reserved", "0")
    lab.gauge(name, "inflight", 0)
    assert policy.nano(lab.live(name)["balance"]) == granted - totals(events)["price"]
    assert shown(lab, name) == (0, 0, 0)
    return events


# ------------------------------------------------------------------ at once

def test_credit_for_one_is_given_to_one(lab):
    grant(lab, "one", EACH)
    held = at_once(lab, "one")
    assert len(held) == 1
    assert shown(lab, "one") == (EACH, 0, 1)  # no limit of its is in tokens
    assert policy.nano(lab.live("one")["balance"]) == EACH
    lab.release(held)
    settled(lab, "one", 1, EACH)


def test_a_nano_short_of_four_is_three(lab):
    grant(lab, "few", 4 * EACH - 1)
    held = at_once(lab, "few")
    assert len(held) == 3
    lab.release(held)
    settled(lab, "few", 3, 4 * EACH - 1)


def test_one_token_left_lets_one_in(lab):
    """Its reservation need not fit; nobody else finds anything left."""
    held = at_once(lab, "brimful")
    assert len(held) == 1
    assert lab.live("brimful")["reserved_tokens"] == EACH_TOKENS
    lab.release(held)
    lab.gauge("brimful", "reserved_tokens", 0)
    lab.gauge("brimful", "tokens_remaining", 0)
    assert lab.ask("brimful").limit == "token rate"


def test_a_bucket_is_shared_out_by_reservations(lab):
    fits = -(-1000 // EACH_TOKENS)  # the last finds the rest
    held = at_once(lab, "bucket", 2 * fits)
    assert len(held) == fits
    assert lab.live("bucket")["reserved_tokens"] == fits * EACH_TOKENS
    lab.release(held)
    lab.gauge("bucket", "reserved_tokens", 0)
    lab.gauge("bucket", "tokens_remaining", 1000 - fits * 5)  # three words in, two out


def test_what_one_costs_more_than_it_reserved_is_owed(lab):
    """The bound that is promised: price less reservation, of each in flight."""
    each = reservation(OUT, tokens=900, hold=1)
    grant(lab, "debtor", each)
    (stream,) = at_once(lab, "debtor", tokens=900)
    lab.release([stream])
    events = settled(lab, "debtor", 1, each)
    price = policy.price("llama-3.3-70b-instruct", 3, 900)
    assert totals(events)["price"] == price > each
    assert lab.ask("debtor").error["code"] == "insufficient_quota"


# ----------------------------------------------------------- max_tokens is seen

def test_max_tokens_of_a_body_that_is_read_is_what_is_reserved(lab):
    each = reservation(700, tokens=700, hold=1)
    grant(lab, "wordy", 2 * each)
    held = at_once(lab, "wordy", tokens=700)
    assert len(held) == 2
    assert shown(lab, "wordy") == (2 * each, 2 * (input_tokens(700, hold=1) + 700), 2)
    lab.release(held)
    settled(lab, "wordy", 2, 2 * each)


def test_what_it_is_lowered_to_is_reserved(lab):
    each = reservation(60, tokens=5000, hold=1)
    grant(lab, "cut", each)
    held = at_once(lab, "cut", tokens=5000)
    assert len(held) == 1 and shown(lab, "cut")[0] == each
    lab.release(held)
    (event,) = settled(lab, "cut", 1, each)
    assert event["output_tokens"] == 60


def test_max_tokens_that_cannot_be_paid_is_refused_and_uses_nothing(lab):
    grant(lab, "short", reservation(200, tokens=200, stream=False))
    refused = lab.ask("short", tokens=201)
    assert refused.status == 429 and refused.error["code"] == "insufficient_quota"
    assert shown(lab, "short") == (0, 0, 0) and lab.live("short")["inflight"] == 0
    assert lab.ask("short", tokens=200).status == 200


# ----------------------------------------------------------------- kill -9

def test_killed_in_the_middle_it_is_settled_once(lab):
    grant(lab, "killed", 3 * EACH)
    held = at_once(lab, "killed")
    assert len(held) == 3
    for _ in range(2):
        with lab.agent_down("SIGKILL"):
            pass
        assert shown(lab, "killed") == (3 * EACH, 3 * EACH_TOKENS, 3)
    lab.release(held)
    assert_metered(settled(lab, "killed", 3, 3 * EACH), lab.served("sk-killed"))


def test_what_ends_while_nobody_is_there_is_settled_once(lab):
    """One comes to its end, one is aborted, one goes on."""
    grant(lab, "gone", 3 * EACH)
    held = at_once(lab, "gone")
    with lab.agent_down("SIGKILL"):
        assert lab.hold("gone") is None
        shut(held.pop().sock)
        wait_for(lambda: lab.served("sk-gone", "aborted"), "the server to notice")
        # Nothing is settled: what it held is not given to anybody.
        assert lab.hold("gone") is None
        lab.release(held)
    with lab.agent_down("SIGKILL"):
        pass
    events = settled(lab, "gone", 3, 3 * EACH)
    assert_metered([e for e in events if e["usage_source"] == "reported"], lab.served("sk-gone"))
    assert lab.weirctl("ledger", "verify").returncode == 0


def test_killed_between_the_end_and_the_next_one(lab):
    """Again and again, wherever in its work the agent is."""
    n = 24
    grant(lab, "late", n * EACH)
    for round_ in range(3):
        threads = [threading.Thread(target=lambda: lab.ask("late", tokens=2)) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(lab.served("sk-late")) > 8 * round_, "answers", every=0.001)
        with lab.agent_down("SIGKILL"):
            for thread in threads:
                thread.join(30)
    assert_metered(settled(lab, "late", n, n * EACH), lab.served("sk-late"))
