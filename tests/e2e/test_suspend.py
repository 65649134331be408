# SPDX-License-Identifier: Apache-2.0
"""Switches: a tenant that is suspended, a node that enforces nothing; both outlive the
agent, and neither stops metering."""
import contextlib
import json
import re
import sqlite3
import threading

import pytest
from checks import events_of, wait_events
from weirlab import policy, wait_for
from weirlab.raw_http import chat_body, send

CHAT = "/v1/chat/completions"
TREE = policy.document(
    {"open": {"credit": "none"}},
    {"team": ("open", "sk-team"),
     "acme": {"tier": "open", "parent": "team", "keys": [policy.hash_key("sk-acme")]},
     "other": ("open", "sk-other")})
LIMITED = policy.document(
    {"tight": {"requests": {"per_minute": 1, "burst": 1}, "credit": "hard"}},
    {"acme": ("tight", "sk-acme")})


def ask(lab, key, sock=None, **body):
    """One request, on a connection of its own unless one is given; its answer, read whole."""
    own = sock or lab.connect()
    try:
        answer = send(own, "POST", CHAT, key, chat_body(2, **body))
        answer.text = answer.body().decode()
        return answer
    finally:
        if not sock:
            own.close()


def status_of(lab, key):
    return ask(lab, key).status


def stream(lab, key, **body):
    """An answer that has begun and goes on, or hangs (hold=1), with its socket."""
    sock = lab.connect()
    answer = send(sock, "POST", CHAT, key, chat_body(stream=True, include_usage=True, **body))
    assert answer.status == 200
    pieces = answer.chunks()
    next(pieces)
    return sock, pieces


def assert_reset(sock, pieces):
    """Cut, not left hanging: the socket's own time-out would be another error."""
    sock.settimeout(10)
    with pytest.raises(ConnectionResetError):
        for _ in pieces:
            pass
    sock.close()


def test_the_next_request_is_refused_of_the_tenant_and_of_all_below_it(lab):
    lab.start_agent(TREE)
    with lab.connect() as sock:
        assert ask(lab, "sk-acme", sock).status == 200
        done = lab.ctl("tenant", "suspend", "team", "--reason", "unpaid", "--id", "s-1")
        assert (done["suspended"], done["repeated"], done["cut"]) == (True, False, None)
        refused = ask(lab, "sk-acme", sock)  # on the very connection that was let in
    error = json.loads(refused.text)["error"]
    assert (refused.status, error["code"]) == (403, "account_suspended")
    assert "retry-after" not in refused.headers  # waiting does not help
    assert [status_of(lab, key) for key in ("sk-team", "sk-acme", "sk-other")] == [403, 403, 200]

    why = wait_for(lambda: lab.ctl("why", "acme"), "the refusal")
    assert {(w["reason"], w["limit_of"], w["shadow"]) for w in why} == {
        ("suspended", "team", False)}
    shown = {t["tenant"]: (t["suspended"], t["suspended_by"]) for t in lab.ctl("tenant", "list")}
    assert shown == {"team": (True, "team"), "acme": (False, "team"), "other": (False, None)}
    assert "suspended by team" in lab.weirctl("tenant", "list").stdout
    suspension = lab.ctl("tenant", "show", "team")["suspension"]
    assert suspension["reason"] == "unpaid" and suspension["actor"] == "root"
    levels = lab.ctl("tenant", "show", "acme")["levels"]
    assert [(v["level"], v["name"], v["suspended"]) for v in levels] == [
        ("own", "acme", False), ("parent", "team", True)]
    assert lab.ctl("status")["tenants"]["suspended"] == 1

    again = lab.ctl("tenant", "suspend", "team", "--reason", "unpaid", "--id", "s-1")
    assert again["repeated"] is True
    conflict = lab.weirctl("tenant", "suspend", "other", "--id", "s-1", check=False)
    assert conflict.returncode == 1 and "s-1" in conflict.stderr
    assert status_of(lab, "sk-other") == 200

    assert lab.ctl("tenant", "resume", "team")["suspended"] is False
    assert [status_of(lab, key) for key in ("sk-team", "sk-acme")] == [200, 200]
    assert lab.ctl("tenant", "show", "team")["suspension"] is None


def test_a_suspension_holds_in_shadow_too_but_not_with_enforcement_off(lab):
    lab.start_agent(policy.document({"watched": {"shadow": True, "concurrency": 1}},
                                    {"acme": ("watched", "sk-acme")}))
    lab.ctl("tenant", "suspend", "acme")
    assert status_of(lab, "sk-acme") == 403
    lab.ctl("enforce", "off")
    assert status_of(lab, "sk-acme") == 200
    refusals = wait_for(lambda: (w := lab.ctl("why", "acme")) and len(w) == 2 and w, "both")
    assert [(w["reason"], w["shadow"]) for w in refusals] == [("suspended", True),
                                                              ("suspended", False)]
    lab.ctl("enforce", "on")
    assert status_of(lab, "sk-acme") == 403


def test_connections_of_a_suspended_source_are_reset(lab):
    lab.start_agent(policy.document({"open": {}}, {
        "acme": {"tier": "open", "sources": ["10.77.0.0/24"]}}))
    lab.connect().close()
    lab.ctl("tenant", "suspend", "acme")
    with pytest.raises(ConnectionRefusedError):
        lab.connect()
    lab.ctl("tenant", "resume", "acme")
    lab.connect().close()


def test_without_now_what_is_under_way_ends_in_peace(lab):
    lab.start_agent(TREE)
    sock, pieces = stream(lab, "sk-acme", hold=1)
    lab.ctl("tenant", "suspend", "acme")
    assert status_of(lab, "sk-acme") == 403
    lab.admin("release")
    assert b"[DONE]" in b"".join(pieces)
    sock.close()
    (event,) = wait_events(lab, 1, "acme")
    assert event["usage_source"] == "reported"


@pytest.mark.parametrize("suspended", ("acme", "team"))
def test_now_cuts_a_stream_that_flows_and_one_that_is_silent(lab, suspended):
    lab.start_agent(TREE)
    flowing = stream(lab, "sk-acme", tokens=100000, delay_ms=2)
    silent = stream(lab, "sk-acme", tokens=4, hold=1)
    others = stream(lab, "sk-other", tokens=4, hold=1)
    assert lab.ctl("tenant", "show", "acme")["requests_open"] == 2
    done = lab.ctl("tenant", "suspend", suspended, "--now", "--reason", "abuse")
    assert done["suspended"] and done["cut"] == 2 and done["warning"] is None
    assert 1 <= done["destroyed"] <= 2  # the one that flows may be gone by then
    assert_reset(*flowing)
    assert_reset(*silent)

    def quiet():
        shown = lab.ctl("tenant", "show", "acme")
        live = shown["live"]
        return (live["inflight"], live["connections"], live["reserved_tokens"],
                shown["requests_open"]) == (0, 0, 0, 0)
    wait_for(quiet, "the slots to be given back")
    # What was produced until then is billed, as of an answer that a client cut.
    events = wait_events(lab, 2, "acme")
    assert {(e["usage_source"], e["billable"]) for e in events} == {("partial", True)}
    assert all(e["output_tokens"] >= 1 for e in events)
    assert max(e["output_tokens"] for e in events) < 100000
    # Nobody else's: it is still there and ends well.
    lab.admin("release")
    sock, pieces = others
    assert b"[DONE]" in b"".join(pieces)
    sock.close()
    lab.ctl("tenant", "resume", suspended)
    assert status_of(lab, "sk-acme") == 200


def test_now_leaves_nothing_in_flight_under_load(lab):
    """Requests that are being judged in the very moment are cut like the rest."""
    lab.start_agent(TREE)
    over, begun, ends, late = threading.Event(), [], [], []

    def client():
        while not over.is_set():
            suspended = done.is_set()
            with lab.connect() as sock:
                try:
                    answer = send(sock, "POST", CHAT, "sk-acme",
                                  chat_body(100000, stream=True, delay_ms=5))
                    begun.append(answer.status)
                    if answer.status == 200 and suspended:
                        late.append(answer.status)
                    for n, _ in enumerate(answer.chunks()):
                        if n == 20 and not suspended:
                            break  # the client itself goes: others come all the time
                    ends.append("closed")
                except ConnectionError:
                    ends.append("reset")

    done = threading.Event()
    clients = [threading.Thread(target=client) for _ in range(8)]
    for thread in clients:
        thread.start()
    wait_for(lambda: begun.count(200) > 30, "traffic")
    lab.ctl("tenant", "suspend", "acme", "--now")
    done.set()
    refused = begun.count(403)
    wait_for(lambda: begun.count(403) > refused + 20, "refusals of every client")
    wait_for(lambda: lab.ctl("tenant", "show", "acme")["live"]["inflight"] == 0, "the end of all")
    over.set()
    for thread in clients:
        thread.join(20)
        assert not thread.is_alive()  # no stream hangs on
    assert late == [] and "reset" in ends
    live = wait_for(lambda: (t := lab.ctl("tenant", "show", "acme")["live"]) and
                    not t["connections"] and t, "the connections to go")
    assert (live["inflight"], live["half_open"], live["reserved_tokens"]) == (0, 0, 0)


def test_a_suspension_outlives_kill_9_and_holds_meanwhile(lab):
    lab.start_agent(TREE)
    lab.ctl("tenant", "suspend", "team", "--reason", "unpaid")
    lab.ctl("tenant", "suspend", "other")
    lab.ctl("tenant", "resume", "other")
    lab.kill_agent()
    assert [status_of(lab, key) for key in ("sk-acme", "sk-other")] == [403, 200]
    lab.start_agent()
    assert [status_of(lab, key) for key in ("sk-acme", "sk-other")] == [403, 200]
    assert lab.ctl("tenant", "show", "team")["suspension"]["reason"] == "unpaid"
    # A clean stop takes the maps along: then it comes from the ledger alone.
    assert lab.stop_agent() == 0
    assert status_of(lab, "sk-acme") == 200
    lab.start_agent()
    assert [status_of(lab, key) for key in ("sk-team", "sk-acme", "sk-other")] == [403, 403, 200]
    # A policy that is put in force anew changes nothing about it.
    lab.weirctl("policy", "apply")
    assert status_of(lab, "sk-acme") == 403
    lab.ctl("tenant", "resume", "team")
    assert status_of(lab, "sk-acme") == 200


def throw(lab, tenant, on, seen):
    """What an agent that died right after its commit leaves behind."""
    with contextlib.closing(sqlite3.connect(lab.dir / "state" / "weir.db")) as db, db:
        db.execute("INSERT INTO switches (id, name, tenant, is_on, now, time, actor, reason)"
                   " SELECT ?, 'suspended', idx, ?, 0, 1, 'root', '' FROM tenant WHERE name = ?",
                   (seen, on, tenant))


def test_a_throw_that_was_committed_but_not_in_force_is_made_good_at_start(lab):
    lab.start_agent(TREE)
    lab.ctl("tenant", "suspend", "other", "--id", "first")
    assert [status_of(lab, key) for key in ("sk-acme", "sk-other")] == [200, 403]
    lab.kill_agent()
    throw(lab, "acme", True, "second")
    throw(lab, "other", False, "third")
    assert [status_of(lab, key) for key in ("sk-acme", "sk-other")] == [200, 403]  # the kernel's
    lab.start_agent()
    assert [status_of(lab, key) for key in ("sk-acme", "sk-other")] == [403, 200]
    again = lab.ctl("tenant", "suspend", "acme", "--id", "second")
    assert again["repeated"] and again["suspended"]


def warnings_of(lab):
    return [w for w in lab.ctl("status")["warnings"] if "enforcement is off" in w]


def test_enforce_off_lets_all_pass_and_meters_it(lab):
    lab.start_agent(LIMITED)
    lab.ctl("credit", "grant", "acme", "100")
    assert [status_of(lab, "sk-acme") for _ in range(2)] == [200, 429]
    assert warnings_of(lab) == []
    done = lab.ctl("enforce", "off", "--reason", "drill")
    assert done["enforcing"] is False and done["configured"] is True
    assert [status_of(lab, "sk-acme") for _ in range(4)] == [200] * 4
    assert ask(lab, "sk-nobody").status == 200
    events = wait_events(lab, 5, "acme")
    assert all(policy.nano(e["price"]) > 0 for e in events)
    balance = wait_for(lambda: (b := lab.ctl("credit", "balance", "acme"))["reserved"] == "0" and b,
                       "settlement")
    spent = sum(policy.nano(e["price"]) for e in events)
    assert policy.nano(balance["balance"]) == 100 * policy.NANO - spent
    # What would have been refused is told apart from what was.
    why = lab.ctl("why", "acme")
    assert {(w["reason"], w["shadow"]) for w in why} == {("requests", True), ("requests", False)}
    (usage,) = lab.ctl("usage", "acme")
    assert (usage["requests"], usage["refused"]) == (5, 1)
    metrics = lab.http("/metrics")[1].splitlines()
    series = 'refused_total{tenant="acme",reason="requests"}'
    assert f"weir_tenant_{series} 1" in metrics and f"weir_tenant_shadow_{series} 4" in metrics
    assert "weir_enforcing 0" in metrics
    (warning,) = warnings_of(lab)
    assert re.search(r"since \d{4}-\d\d-\d\dT\S+Z: .*\(by root: drill\)", warning)

    lab.kill_agent()
    assert status_of(lab, "sk-acme") == 200
    lab.start_agent()
    assert status_of(lab, "sk-acme") == 200 and len(warnings_of(lab)) == 1
    assert lab.stop_agent() == 0
    lab.start_agent()
    assert [status_of(lab, "sk-acme") for _ in range(2)] == [200, 200]
    wait_events(lab, 9, "acme")

    assert lab.ctl("enforce", "on")["enforcing"] is True
    statuses = [status_of(lab, "sk-acme") for _ in range(3)]
    assert statuses[-1] == 429 and ask(lab, "sk-nobody").status == 401
    assert warnings_of(lab) == []
    shown = lab.ctl("enforce")
    assert [h["on"] for h in shown["history"]] == [True, False]


def test_agent_json_says_off_whatever_the_switch_says(lab):
    lab.start_agent(LIMITED, enforce=False)
    done = lab.ctl("enforce", "on")
    assert (done["enforcing"], done["configured"], done["switch"]["on"]) == (False, False, True)
    lab.ctl("credit", "grant", "acme", "100")
    assert [status_of(lab, "sk-acme") for _ in range(3)] == [200] * 3
    (warning,) = warnings_of(lab)
    assert "agent.json" in warning
    assert len(wait_events(lab, 3, "acme")) == len(events_of(lab))
