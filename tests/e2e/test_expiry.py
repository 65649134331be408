# SPDX-License-Identifier: Apache-2.0
"""Credit ends at its instant, whoever runs (bpf/limits.md, 19): the kernel holds the next expiry
of each wallet. What was asked for before goes on and is paid by it; the ledger says when it was."""
import datetime
import time

import pytest
from checks import assert_metered, wait_events
from weirlab import policy, wait_for
from weirlab.raw_http import chat_body, send

CHAT = "/v1/chat/completions"
POLICY = policy.document({"paid": {"credit": "hard", "reserve_output_tokens": 16}},
                         {"acme": ("paid", "sk-acme"), "rich": ("paid", "sk-rich")})
LASTS_S = 5  # from the grant on: for what comes before it, on a slow machine


def ask(lab, tenant):
    """When it was sent, when it was answered, the status, its words."""
    with lab.connect() as sock:
        sent = time.time_ns()
        answer = send(sock, "POST", CHAT, f"sk-{tenant}", chat_body(1))
        body = answer.body().decode()
        return sent, time.time_ns(), answer.status, body


def grant_until(lab, tenant, ends, amount):
    second = datetime.datetime.fromtimestamp(ends // 10**9, datetime.timezone.utc)
    lab.ctl("credit", "grant", tenant, amount, "--source", "promo",
            "--expires", f"{second:%Y-%m-%dT%H:%M:%S}.{ends % 10**9:09d}Z")


def ask_past(lab, instant, more=5):
    """Both, one after the other, until some were sent behind it. Not as many as there could be:
    while no agent runs, nothing that is reserved comes back, and the ring fills."""
    asked = {"acme": [], "rich": []}
    while sum(a[0] >= instant for a in asked["acme"]) < more:
        for tenant, answers in asked.items():
            answers.append(ask(lab, tenant))
        time.sleep(0.02)
    return asked


def before_and_after(asked, instant):
    """Statuses of those that were answered before it, and of those sent behind it."""
    return ({a[2] for a in asked if a[1] < instant}, {a[2] for a in asked if a[0] >= instant})


def instant_of(entry):
    whole, _, rest = entry["time"].rstrip("Z").partition(".")
    seconds = datetime.datetime.fromisoformat(whole + "+00:00").timestamp()
    return int(seconds) * 10**9 + int(rest.ljust(9, "0") or 0)


def expired_at(lab, tenant, ends):
    """What did, by the ledger: one entry, of that instant."""
    entry, = [e for e in lab.ctl_lines("ledger", tenant) if e["kind"] == "expire"]
    assert instant_of(entry) == ends
    return -policy.nano(entry["amount"])


def balance_of(lab, tenant):
    wait_for(lambda: lab.ctl("credit", "balance", tenant)["reserved"] == "0", "settlement")
    balance = lab.ctl("credit", "balance", tenant)
    assert balance["debt"] == "0"
    assert lab.ctl("tenant", "show", tenant)["live"]["balance"] == balance["balance"]
    return policy.nano(balance["balance"])


@pytest.mark.parametrize("down", (True, False), ids=("down", "up"))
def test_credit_ends_at_its_instant_and_no_other(lab, down):
    """All of acme's ends, and of rich's two grants one."""
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "rich", "50")
    ends = time.time_ns() + LASTS_S * 10**9 + 1
    for tenant in ("acme", "rich"):
        grant_until(lab, tenant, ends, "1000")
    with lab.connect() as sock:
        running = send(sock, "POST", CHAT, "sk-acme",
                       chat_body(3, stream=True, include_usage=True, hold=1))
        assert running.status == 200
        if down:
            lab.kill_agent()
        asked = ask_past(lab, ends)
        assert before_and_after(asked["acme"], ends) == ({200}, {429})
        assert before_and_after(asked["rich"], ends) == ({200}, {200})
        assert "insufficient_quota" in asked["acme"][-1][3]
        assert "balance 0 credits" in asked["acme"][-1][3] or not down
        lab.admin("release")
        assert running.body().endswith(b"[DONE]\n\n")
    if down:
        lab.start_agent()
    served = lab.served()
    assert len(served) == 1 + sum(a[2] == 200 for answers in asked.values() for a in answers)
    assert_metered(wait_events(lab, len(served)), served)
    # The stream began before it, and is paid by it although it ended behind it.
    assert balance_of(lab, "acme") == 0
    assert 0 < balance_of(lab, "rich") < 50 * 10**9
    for tenant in ("acme", "rich"):
        assert 0 < expired_at(lab, tenant, ends) < 1000 * 10**9
    assert lab.weirctl("ledger", "verify").returncode == 0
    assert ask(lab, "acme")[2] == 429
    lab.ctl("credit", "grant", "acme", "1")
    assert ask(lab, "acme")[2] == 200
