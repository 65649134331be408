# SPDX-License-Identifier: Apache-2.0
"""Shadow: what would be refused is counted and told, and goes on (bpf/limits.md, 12).
The cap on what one request may cost: a stream is cut short, and what it produced is
billed. What is switched by command is in test_suspend.py."""
import pytest
from limit_lab import LimitLab, document, input_tokens, slow, tenant
from weirlab import policy, wait_for
from weirlab.clients import Subscriber
from weirlab.raw_http import chat_body, send

CHAT = "/v1/chat/completions"
MODEL = "llama-3.3-70b-instruct"
TIERS = {
    "shadow": {"shadow": True, "concurrency": 1, "requests": slow(2), "tokens": slow(30),
               "connections": 1, "connect_rate": slow(2), "credit": "hard"},
    "capped": {"request_cost_cap": "0.1"},
}
POLICY = document(
    *(tenant(name, "shadow") for name in ("concurrency", "requests", "tokens", "credit",
                                          "connections")),
    tenant("by-source", shadow=True, sources=["10.80.1.0/24"], connections=1),
    tenant("by-rate", shadow=True, sources=["10.80.2.0/24"], connect_rate=slow(2)),
    tenant("shadow-parent", shadow=True, requests=slow(2)),
    tenant("hard-child", "open", "shadow-parent", requests=slow(4)),
    tenant("hard-parent", requests=slow(2)),
    tenant("shadow-child", "open", "hard-parent", shadow=True, requests=slow(1)),
    tenant("soon", "open", requests=slow(2)),
    tenant("endless", "capped"), tenant("brief", "capped"), tenant("plain"),
    tenant("paid", "capped", credit="hard"), tenant("raised", "capped"),
    tiers=TIERS)


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.own("10.80.0.0/16")
        made.start_nats()
        made.guard(POLICY)
        made.told = Subscriber(made, "deny.v1.>")
        try:
            yield made
        finally:
            made.told.close()
            print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


# ------------------------------------------------------------------ shadow

def only(lab, name, limit):
    """Of the tier's limits, this one alone."""
    gone = dict.fromkeys(("concurrency", "requests", "tokens", "connections", "connect_rate"))
    lab.change(name, **{k: v for k, v in gone.items() if k != limit},
               **({} if limit == "credit" else {"credit": "none"}))


def would_have(lab, name, reason, n, limit_of=None):
    """n times it would have been refused, which was counted and told, and was not."""
    why = lab.why(name, reason)
    assert (why["shadow"], why["limit_of"]) == (True, limit_of or name)
    assert not [u for u in lab.ctl("usage", name) if u["refused"]]

    def event():
        return [m["event"]["data"] for m in list(lab.told.messages)
                if m["subject"].startswith(f"deny.v1.{name}.")
                and m["event"]["data"]["reason"] == reason]
    wait_for(lambda: sum(e["count"] for e in event()) == n, f"{n} refusals to be told", every=0.1)
    assert all(e["shadow"] is True and e["limit_of"] == (limit_of or name) for e in event())


def test_concurrency_in_shadow(lab):
    only(lab, "concurrency", "concurrency")
    streams = lab.hold_all("concurrency", 4)
    assert len(streams) == 4 and lab.live("concurrency")["inflight"] == 4
    lab.release(streams)
    lab.gauge("concurrency", "inflight", 0)
    lab.settled("concurrency", 4)
    would_have(lab, "concurrency", "concurrency", 3)


def test_requests_in_shadow_take_nothing_once_it_is_used_up(lab):
    only(lab, "requests", "requests")
    seen = lab.verdict("admit_shadow")
    assert [lab.ask("requests").status for _ in range(6)] == [200] * 6
    assert lab.verdict("admit_shadow") == seen + 4
    lab.settled("requests", 6)
    would_have(lab, "requests", "requests", 4)
    # Two are used, not six: what would have been refused took no token.
    lab.change("requests", shadow=False, requests=slow(5), concurrency=None, tokens=None,
               connections=None, connect_rate=None, credit="none")
    assert [lab.ask("requests").status for _ in range(4)] == [200] * 3 + [429]


def test_tokens_in_shadow(lab):
    only(lab, "tokens", "tokens")
    assert lab.ask("tokens", tokens=40).status == 200
    lab.gauge("tokens", "tokens_remaining", 0)
    assert [lab.ask("tokens").status for _ in range(3)] == [200] * 3
    lab.settled("tokens", 4)
    would_have(lab, "tokens", "tokens", 3)


def test_credit_in_shadow(lab):
    only(lab, "credit", "credit")
    assert [lab.ask("credit", tokens=10).status for _ in range(2)] == [200] * 2
    lab.settled("credit", 2)
    lab.gauge("credit", "reserved", "0")
    spent = 2 * policy.price(MODEL, 3, 10)
    assert policy.nano(lab.live("credit")["balance"]) == -spent
    would_have(lab, "credit", "credit", 2)


def test_connections_by_key_in_shadow(lab):
    only(lab, "connections", "connections")
    streams = lab.hold_all("connections", 3)
    assert len(streams) == 3 and lab.live("connections")["connections"] == 3
    lab.release(streams)
    lab.gauge("connections", "connections", 0)
    would_have(lab, "connections", "connections", 2)


@pytest.mark.parametrize("name, address, reason", (
    ("by-source", "10.80.1.1", "connections"), ("by-rate", "10.80.2.1", "connect_rate")))
def test_connections_by_source_in_shadow(lab, name, address, reason):
    socks = [lab.connect(4, address) for _ in range(5)]
    assert lab.live(name)["connections"] == 5
    for sock in socks:
        sock.close()
    lab.gauge(name, "connections", 0)
    would_have(lab, name, reason, {"connections": 4, "connect_rate": 3}[reason])


def test_a_parent_in_shadow_does_not_shadow_its_child(lab):
    assert [lab.ask("hard-child").status for _ in range(5)] == [200] * 4 + [429]
    wait_for(lambda: {(r["limit_of"], r["shadow"]) for r in lab.ctl("why", "hard-child")} == {
        ("shadow-parent", True), ("hard-child", False)}, "both levels in why")
    assert lab.ctl("usage", "hard-child")[0]["refused"] == 1


def test_nor_a_child_its_parent(lab):
    assert [lab.ask("shadow-child").status for _ in range(3)] == [200, 200, 429]
    wait_for(lambda: len({r["limit_of"] for r in lab.ctl("why", "shadow-child")}) == 2,
             "both to be told")


def test_shadow_is_switched_while_traffic_runs(lab):
    assert [lab.ask("soon").status for _ in range(3)] == [200, 200, 429]
    lab.change("soon", shadow=True, requests=slow(2))
    assert [lab.ask("soon").status for _ in range(3)] == [200] * 3
    lab.change("soon", requests=slow(2))
    assert lab.ask("soon").status == 429


# ---------------------------------------------------------------- cost cap

def stream(lab, name, tokens, **how):
    """Chunks of a stream that the client got, and how it ended."""
    sock = lab.connect()
    got = b""
    with sock:
        answer = send(sock, "POST", CHAT, f"sk-{name}",
                      chat_body(tokens, stream=True, include_usage=True, **how))
        assert answer.status == 200
        try:
            for piece in answer.chunks():
                got += piece
        except ConnectionResetError:
            return got.count(b'"tok') + got.count(b" tok"), "reset"
    return got.count(b" tok"), "done"


def within_cap(name_tokens, cap):
    """Tokens of output that a request may have before its cost passes the cap."""
    price = policy.CARD["models"][0]["price"]
    left = policy.nano(cap) - name_tokens * policy.nano(price["input"]) // price["per"]
    return left * price["per"] // policy.nano(price["output"])


def test_a_stream_is_cut_when_it_costs_too_much(lab):
    cuts = lab.verdict("drop_cut")
    got, end = stream(lab, "endless", 2000, delay_ms=4)
    assert end == "reset" and got > 0
    # Any later token would have cost more than the cap.
    floor = within_cap(input_tokens(2000, delay_ms=4), "0.1")
    assert floor <= got < 2000
    wait_for(lambda: lab.served("sk-endless", "aborted"), "the server to be told")
    (record,) = lab.served("sk-endless", "aborted")
    (event,) = lab.settled("endless", 1)
    assert event["usage_source"] == "partial" and event["billable"] is True
    assert event["cut"] is True and event["finish_reason"] == "cut"
    assert got <= event["output_tokens"] <= record["completion"] < 2000
    assert policy.nano(event["price"]) == policy.price(MODEL, event["input_tokens"],
                                                       event["output_tokens"])
    assert policy.nano(event["price"]) > policy.nano("0.1")
    assert lab.verdict("drop_cut") > cuts
    lab.gauge("endless", "inflight", 0)
    lab.gauge("endless", "connections", 0)
    assert lab.ask("endless").status == 200  # the next request is another one


def test_below_the_cap_nothing_is_cut(lab):
    n = within_cap(input_tokens(20, delay_ms=4), "0.1") - 5
    assert stream(lab, "brief", n, delay_ms=4) == (n, "done")
    assert stream(lab, "plain", 300, delay_ms=1) == (300, "done")
    (event,) = lab.settled("brief", 1)
    assert (event["output_tokens"], event["usage_source"]) == (n, "reported")
    assert not event.get("cut") and event["finish_reason"] == "length"


def test_cuts_are_paid_for_and_hold_no_credit(lab):
    lab.ctl("credit", "grant", "paid", "5")
    for n in (1, 2):
        assert stream(lab, "paid", 2000, delay_ms=4)[1] == "reset"
        events = lab.settled("paid", n)
    lab.gauge("paid", "reserved", "0")
    spent = sum(policy.nano(e["price"]) for e in events)
    assert policy.nano(lab.live("paid")["balance"]) == policy.nano("5") - spent
    entries = [e for e in lab.ctl_lines("ledger", "paid") if e["kind"] != "grant"]
    assert [policy.nano(e["amount"]) for e in entries] == [
        -policy.nano(e["price"]) for e in events]


def test_a_cap_that_is_raised_or_taken_away(lab):
    """It holds for what runs: a stream under way is held to the cap in force."""
    lab.change("raised", request_cost_cap=None)
    assert stream(lab, "raised", 150, delay_ms=1) == (150, "done")
    held = lab.hold("raised", tokens=2000, delay_ms=4)
    lab.change("raised", request_cost_cap="0.2")
    lab.admin("release")
    with pytest.raises(ConnectionResetError):
        held.answer.body()
    held.close()
    lab.admin("rearm")
    (_, event) = lab.settled("raised", 2)
    assert event["usage_source"] == "partial" and policy.nano(event["price"]) > policy.nano("0.2")
