# SPDX-License-Identifier: Apache-2.0
"""NATS is where events go, not what anything depends on."""
from checks import assert_metered, wait_events
from weirlab import policy, wait_for
from weirlab.clients import Sdk, Subscriber, usage_events

POLICY = policy.document({"paid": {"credit": "hard", "requests": {"per_minute": 60, "burst": 40}}},
                         {"acme": ("paid", "sk-acme")})


def backlog(lab):
    return lab.ctl("status")["nats"]["backlog"]


def drained(lab):
    wait_for(lambda: lab.ctl("status")["nats"]["connected"] and backlog(lab) == 0,
             "the backlog to drain", 20)


def start(lab, **config):
    lab.start_agent(POLICY, **config)
    lab.ctl("credit", "grant", "acme", "10")
    return Sdk(lab, "sk-acme")


def work(lab, sdk, n):
    """n requests, the last of them in the ledger."""
    before = len(lab.served("sk-acme"))
    for i in range(n):
        assert sdk.call(tokens=1 + i, stream=i % 2 == 0, include_usage=True)["ok"]
    wait_events(lab, before + n)


def test_everything_works_without_nats(lab):
    sdk = start(lab, nats=False)
    work(lab, sdk, 5)
    assert_metered(wait_events(lab, 5), lab.served())
    assert lab.ctl("usage", "acme")[0]["requests"] == 5
    assert lab.http("/healthz")[0] == 200


def test_unreachable_nats_is_a_warning_and_its_backlog_is_published_later(lab):
    sdk = start(lab, nats=True)
    work(lab, sdk, 5)
    status = lab.ctl("status")
    assert not status["nats"]["connected"] and status["nats"]["backlog"] >= 5
    assert any("127.0.0.1:4222" in w or "NATS" in w for w in status["warnings"])
    lab.start_nats()
    drained(lab)
    assert_metered(usage_events(lab.stream()), lab.served())


def test_backlog_is_published_once_nats_is_back(lab_nats):
    lab = lab_nats
    sdk = start(lab)
    work(lab, sdk, 4)
    drained(lab)
    lab.stop_nats()
    wait_for(lambda: not lab.ctl("status")["nats"]["connected"], "the agent to notice")
    work(lab, sdk, 6)
    assert backlog(lab) >= 6
    lab.start_nats()
    drained(lab)
    messages = lab.stream()
    assert_metered(usage_events(messages), lab.served())
    assert len(messages) == 10, "an event was stored twice"


def test_agent_restart_repeats_no_event(lab_nats):
    lab = lab_nats
    sdk = start(lab)
    for _ in range(3):
        work(lab, sdk, 4)
        lab.kill_agent()
        lab.start_agent()
    drained(lab)
    assert len(lab.stream()) == 12
    assert_metered(usage_events(lab.stream()), lab.served())


def test_refusals_are_told_by_tenant_reason_and_second(lab_nats):
    lab = lab_nats
    lab.start_agent(policy.document({"slow": {"requests": {"per_minute": 1, "burst": 2}}},
                                    {"acme": ("slow", "sk-acme")}))
    subscriber = Subscriber(lab, "deny.v1.>")
    sdk = Sdk(lab, "sk-acme")
    refused = [c for c in [sdk.call(tokens=1) for _ in range(12)] if not c["ok"]]
    assert len(refused) == 10
    wait_for(lambda: sum(m["event"]["data"]["count"] for m in subscriber.messages) == 10, "10 told")
    for message in subscriber.messages:
        assert message["subject"] == "deny.v1.acme.lab"
        assert message["event"]["type"] == "weir.denied.v1"
        data = message["event"]["data"]
        assert (data["reason"], data["limit_of"], data["shadow"]) == ("requests", "acme", False)
    subscriber.close()


def test_a_balance_that_runs_low_asks_for_more_once(lab_nats):
    lab = lab_nats
    lab.start_agent(policy.document(
        {"paid": {"credit": "hard", "topup": {"below": "2", "ask": "50"}}},
        {"acme": ("paid", "sk-acme")}))
    lab.ctl("credit", "grant", "acme", "3")
    lab.ctl("credit", "deduct", "acme", "0.5", "--id", "d1")
    lab.ctl("credit", "deduct", "acme", "1", "--id", "d2")  # below it
    lab.ctl("credit", "deduct", "acme", "1", "--id", "d3")  # it was asked for already
    lab.ctl("credit", "grant", "acme", "10")
    lab.ctl("credit", "deduct", "acme", "9", "--id", "d4")  # and again
    drained(lab)
    told = lab.stream("ALERT")
    assert [m["subject"] for m in told] == ["alert.v1.acme.lab"] * 2
    assert [m["event"]["type"] for m in told] == ["weir.topup.v1"] * 2
    data = [m["event"]["data"] for m in told]
    assert [(d["tenant"], d["balance"], d["threshold"], d["ask"]) for d in data] == [
        ("acme", "1.5", "2", "50"), ("acme", "1.5", "2", "50")]
    assert data[0]["ledger_seq"] < data[1]["ledger_seq"]
    assert lab.stream() == [], "a deduct is no usage of a request"
    assert lab.ctl("status")["nats"]["alerts"] == 2
    entries = lab.stream("LEDGER")
    assert [m["event"]["type"] for m in entries] == ["weir.ledger.v1"] * 6
    assert [m["event"]["data"]["kind"] for m in entries] == [
        "grant", "deduct", "deduct", "deduct", "grant", "deduct"]
    listed = {e["seq"]: e for e in lab.ctl_lines("ledger", "acme")}
    previous = 0
    for entry in (m["event"]["data"] for m in entries):
        seq = entry["seq"]
        assert entry == {**listed[seq], "ledger_seq": seq, "previous_seq": previous}
        previous = seq
    shown = [e for e in lab.ctl_lines("events") if e["type"] == "weir.topup.v1"]
    assert [e["data"] for e in shown] == data


def test_reported_usage_is_published_like_a_request(lab_nats):
    lab = lab_nats
    sdk = start(lab)
    work(lab, sdk, 1)
    lab.ctl("meter", "add", "acme", "storage_gb", "2", "--id", "m1", "--feature", "search")
    drained(lab)
    request, meter = [m["event"]["data"] for m in lab.stream()]
    assert (meter["usage_id"], meter["dimension"], meter["quantity"]) == ("m1", "storage_gb", "2")
    # No card has a price for it, and that is said.
    assert (meter["unpriced"], meter["price"], meter["feature"]) == (True, "0", "search")
    assert "dimension" not in request and request["ledger_seq"] < meter["ledger_seq"]
