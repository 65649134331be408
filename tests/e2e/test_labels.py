# SPDX-License-Identifier: Apache-2.0
"""What requests say that they are for, in x-weir-session and x-weir-feature, is in the ledger; and a
price depends on it only if a trusted source said so (agent/ledger.md, 22)."""
import json

import pytest
from checks import events_of
from weirlab import policy, wait_for
from weirlab.lab import CLIENT4
from weirlab.raw_http import Response, chat_body, head

CHAT = "/v1/chat/completions"
CARD = {"name": "list", "version": "1", "effective_from": "2020-01-01T00:00:00Z", "models": [
    {"match": "*", "price": {"session": "2", "input": "0", "output": "0"}}]}
POLICY = policy.document({"open": {}}, {"acme": ("open", "sk-acme")}, cards=[CARD])
LONGEST = "s" * 63


def ask(lab, *headers, cut=0):
    """One request; its head is sent in two parts, `cut` bytes into the first label."""
    body = json.dumps(chat_body(1)).encode()
    text = head("POST", CHAT, "sk-acme", len(body), headers) + body
    at = text.index(b"x-weir-") + cut if cut else len(text)
    with lab.connect() as sock:
        for part in (text[:at], text[at:]):
            sock.sendall(part)
        assert Response(sock).read_head().json()


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
