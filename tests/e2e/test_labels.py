# SPDX-License-Identifier: Apache-2.0
"""What requests say that they are for (agent/metering.md, 3) is in the ledger: from headers, baggage
and bodies, in parts or whole; and a price depends on it only if a trusted source said so
(agent/ledger.md, 22)."""
import json

import pytest
from checks import events_of, wait_events
from weirlab import policy, wait_for
from weirlab.clients import Sdk
from weirlab.lab import CLIENT4
from weirlab.raw_http import Response, chat_body, head

CHAT = "/v1/chat/completions"
CARD = {"name": "list", "version": "1", "effective_from": "2020-01-01T00:00:00Z", "models": [
    {"match": "*", "price": {"session": "2", "input": "0", "output": "0"}}]}
POLICY = policy.document({"open": {}}, {"acme": ("open", "sk-acme")}, cards=[CARD])
LONGEST = "s" * 63


TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"traceparent: 00-{TRACE}-{PARENT}-01"


def ask(lab, *headers, cut=0, cuts=(), **fields):
    """One request; it is sent in parts: `cut` bytes into the first label, or at `cuts`."""
    body = json.dumps(chat_body(1) | fields).encode()
    text = head("POST", CHAT, "sk-acme", len(body), headers) + body
    cuts = [text.index(b"x-weir-") + cut] if cut else list(cuts)
    with lab.connect() as sock:
        for start, end in zip([0] + cuts, cuts + [len(text)]):
            sock.sendall(text[start:end])
        assert Response(sock).read_head().json()
    return text


def metered(lab, n):
    """Of each request: session, feature, are they to be believed, what it cost."""
    events = wait_for(lambda: (e := events_of(lab, "acme")) and len(e) >= n and e, "events")
    assert len(events) == n
    return [(e.get("session"), e.get("feature"), e.get("labels_trusted"), e["price"])
            for e in events]


@pytest.mark.parametrize("trusted", (True, False), ids=("gateway", "anybody"))
def test_a_session_is_paid_once_if_it_is_to_be_believed(lab, trusted):
    lab.start_agent(POLICY, **({"trusted_sources": [f"{CLIENT4}/32"]} if trusted else {}))
    ask(lab, "x-weir-session: s-1", "x-weir-feature: chat")
    ask(lab, "X-Weir-Feature: summary", "X-Weir-Session: s-1")
    ask(lab, "x-weir-session: s-1", "x-weir-feature: chat", cut=18)
    ask(lab, f"x-weir-session: {LONGEST}")
    ask(lab, "x-weir-session: two words", "x-weir-feature: chat")
    ask(lab)
    again = "0" if trusted else "2"
    assert metered(lab, 6) == [
        ("s-1", "chat", trusted, "2"),
        ("s-1", "summary", trusted, again),
        ("s-1", "chat", trusted, again),
        (LONGEST, None, trusted, "2"),
        (None, "chat", trusted, "2"),  # of no session that has a name: one of its own
        (None, None, None, "2"),
    ]
    assert lab.weirctl("ledger", "verify").returncode == 0


LABELS = ("user", "team", "cost_center", "session", "feature", "trace_id", "client_request_id",
          "retry_count")


def said(event):
    """The labels of an event, as far as it has them."""
    return {name: event[name] for name in LABELS if name in event}


def check(lab, cases):
    """Of each case: header lines, fields of the body, and the labels it must have."""
    for headers, fields, _ in cases:
        ask(lab, *headers, **fields)
    for event, (headers, fields, want) in zip(wait_events(lab, len(cases), "acme"), cases):
        assert said(event) == want, (headers, fields)


EVERY = ("X-Weir-User: ann", "x-weir-team:ml", "x-weir-cost-center: cc-7", "x-weir-session: s-1",
         "X-WEIR-FEATURE:  chat", TRACEPARENT, "X-Request-Id: r-1", "x-stainless-retry-count: 2")
EVERY_SAID = {"user": "ann", "team": "ml", "cost_center": "cc-7", "session": "s-1",
              "feature": "chat", "trace_id": TRACE, "client_request_id": "r-1", "retry_count": 2}
BAGGAGE = "baggage: user.id=ann,team = ml;secret=1, cost_center=cc%2D7,session.id=s-1,feature=chat"
BAGGAGE_SAID = {name: EVERY_SAID[name]
                for name in ("user", "team", "cost_center", "session", "feature")}


def test_labels_are_of_headers_then_baggage_then_the_body(lab):
    lab.start_agent(POLICY)
    check(lab, [
        (EVERY, {}, EVERY_SAID),
        ((BAGGAGE,), {}, BAGGAGE_SAID),
        ((BAGGAGE.replace("baggage", "BagGage"), *EVERY), {"user": "body"}, EVERY_SAID),
        ((), {"user": "body"}, {"user": "body"}),
        ((), {"metadata": {"user_id": "m"}}, {"user": "m"}),
        ((), {"metadata": {"user_id": "m"}, "user": "body"}, {"user": "body"}),
        (("baggage: enduser.id=ann",), {"user": "body"}, {"user": "ann"}),
        ((), {"user": "two words"}, {}),
        ((), {"messages": [{"role": "user", "content": "x", "user": "inner"}]}, {}),
        # Behind a prompt that is longer than what is read of a body it is not seen.
        ((), {"messages": [{"role": "user", "content": "x" * 5000}], "user": "body"}, {}),
        # Twice there, or no value that can be one: none, and nobody else is asked.
        (("x-weir-user: ann", "X-Weir-User: ann"), {}, {}),
        (("x-weir-user: ann", "x-weir-user: bob", "x-weir-team: ml"), {"user": "b"}, {"team": "ml"}),
        (("x-weir-user: \u00e4", "baggage: user.id=ann"), {}, {}),
        ((f"x-weir-user: {LONGEST}",), {}, {"user": LONGEST}),
        ((f"x-weir-user: {LONGEST}s",), {}, {}),
        (("baggage: team=a,team=b,feature=f",), {}, {"feature": "f"}),
        (("baggage: team=a", "baggage: feature=f"), {}, {"team": "a", "feature": "f"}),
        ((f"traceparent: 00-{'0' * 32}-{PARENT}-01",), {}, {}),
        (("x-stainless-retry-count: 0",), {}, {}),
        (("x-stainless-retry-count: 1000",), {}, {"retry_count": 255}),
        # A line is shipped to 488 bytes: of a longer one, the last member is not believed.
        (("baggage: team=ml,x=" + "y" * 500 + ",feature=f",), {}, {"team": "ml"}),
        ((f"x-weir-team: {'t' * 600}",), {}, {}),
        (("x-weir-teams: a", "x-weir-tea: b", "xx-weir-team: c"), {}, {}),
        ((), {}, {}),
    ])
    # And cut anywhere in the head or the body, and in three, they are the same.
    before = len(events_of(lab, "acme"))
    headers = (BAGGAGE.replace("user.id=ann,", ""), *EVERY[5:])
    text = ask(lab, *headers, user="body")
    cuts = [(at,) for at in range(20, len(text), 23)]
    cuts += [(at, at + 9, at + 30) for at in range(60, text.index(b"\r\n\r\n"), 61)]
    for at in cuts:
        assert ask(lab, *headers, cuts=at, user="body") == text
    for event in wait_events(lab, before + len(cuts) + 1, "acme", 30)[before:]:
        assert said(event) == EVERY_SAID | {"user": "body"}
    assert lab.weirctl("ledger", "verify").returncode == 0


def test_names_are_those_of_the_configuration(lab):
    lab.start_agent(POLICY, labels={
        "user": ["X-User", "from"], "team": [], "session": ["x-user"], "request_id": ["x-corr"],
        "baggage": {"feature": ["app.Feature"], "user": []},
        "body_user": False, "body_bytes": 0})
    check(lab, [
        (("x-user: ann", "From: bob"), {}, {"user": "ann", "session": "ann"}),
        (("from:bob", "x-weir-user: ann", "x-weir-session: s", "baggage: user.id=eve"), {},
         {"user": "bob"}),
        (("x-weir-team: ml", "baggage: team=ml,app.Feature=f,app.feature=g"), {},
         {"team": "ml", "feature": "f"}),
        (("x-corr: c-1", "x-request-id: r-1"), {"user": "body"}, {"client_request_id": "c-1"}),
        ((TRACEPARENT, "x-weir-cost-center: cc"), {}, {"trace_id": TRACE, "cost_center": "cc"}),
    ])


def test_the_sdk_says_that_it_retries(lab):
    """The OpenAI Node SDK, refused once for its rate."""
    tiers = {"slow": {"requests": {"per_second": 1, "burst": 1}}}
    lab.start_agent(policy.document(tiers, {"acme": ("slow", "sk-acme")}))
    sdk = Sdk(lab, "sk-acme")
    params = chat_body(1) | {"user": "ann"}
    calls = [sdk.start(params=params, retries=3) for _ in range(2)]
    answers = [call.result() for call in calls]
    sdk.close()
    assert sorted(answer["attempts"][0] for answer in answers) == [200, 429], answers
    events = wait_events(lab, 2, "acme")
    assert [said(e) for e in events] == [
        {"user": "ann"}, {"user": "ann", "retry_count": max(len(a["attempts"]) for a in answers) - 1}]
