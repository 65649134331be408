# SPDX-License-Identifier: Apache-2.0
"""weirctl's outputs, in the shapes that scripts may rely on (design.md section 5)."""
import json
import re
import subprocess

import pytest
from checks import wait_events
from weirlab import Lab, policy, wait_for
from weirlab.clients import Sdk
from weirlab.lab import BUILD, run
from weirlab.raw_http import chat_body, send

POLICY = policy.document(
    {"paid": {"credit": "hard", "requests": {"per_minute": 60, "burst": 3}},
     "open": {"tokens": {"per_minute": 1000000}}},
    {"acme": ("paid", "sk-acme"), "other": ("open", "sk-other")})
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
AMOUNT = re.compile(r"-?\d+(\.\d*[1-9])?")

time, amount = TIME.fullmatch, AMOUNT.fullmatch


def fields(thing, *names):
    """All of these, and nothing else that design.md does not name."""
    assert set(names) <= set(thing), set(names) - set(thing)
    return [thing[n] for n in names]


@pytest.fixture(scope="module")
def lab():
    """One tenant with a history: a grant, three requests, two refusals."""
    with Lab() as made:
        made.start_server()
        made.start_nats()
        made.start_agent(POLICY)
        made.ctl("credit", "grant", "acme", "7.5", "--source", "promo", "--reason", "welcome",
                 "--id", "grant-1")
        sdk = Sdk(made, "sk-acme")
        for n in range(5):
            sdk.call(tokens=n + 1, stream=n == 1)
        wait_events(made, 3)
        wait_for(lambda: made.ctl("why", "acme"), "the refusals")
        yield made
    assert made.leftovers() == []


def test_every_request_is_in_the_histogram_of_each_step(lab):
    def counts():
        text = lab.http("/metrics")[1]
        return [int(re.search(rf"^weir_{step}_seconds_count (\d+)$", text, re.M)[1])
                for step in ("settled", "committed", "published")]
    wait_for(lambda: counts() == [3, 3, 3], "three requests, each three times", 30)
    lag = lab.ctl("status")["lag"]
    assert [lag[step]["count"] for step in ("settled", "committed", "published")] == [3, 3, 3]
    assert lag["settled"]["p50_us"] <= lag["settled"]["p99_us"]
    assert "delay        balance moved within " in lab.weirctl("status").stdout


def test_status(lab):
    status = lab.ctl("status")
    instance, node, version, pid, uptime = fields(status, "instance", "node", "version", "pid",
                                                  "uptime_s")
    assert (instance, node, pid) == (lab.instance, "lab", lab.agent.pid)
    assert version and isinstance(uptime, int)
    (interface,) = status["interfaces"]
    assert fields(interface, "name", "xdp_mode", "neighbours") == ["eth0", "native", []]
    assert status["verdicts"]["admit_request"] == 3 and status["verdicts"]["requests"] == 2
    size, used, lost = fields(status["ring"], "bytes", "used", "lost")
    assert size == 4 << 20 and used >= 0 and lost == 0
    connected, _backlog, acked = fields(status["nats"], "connected", "backlog", "acked")
    assert connected is True and isinstance(acked, int)
    assert status["flows"]["max"] == 8192 and status["tenants"]["max"] == 1024
    assert status["tenants"]["used"] == 2
    (warning,) = lab.warnings()  # of the stream without usage
    assert warning.startswith("service llm ") and "--enable-force-include-usage" in warning
    assert status["flows"]["half_open"] == 0 and status["tenants"]["suspended"] == 0
    assert status["enforce"] == {"enforcing": True, "configured": True, "switch": None}
    assert 1 << 20 < status["memory"]["maps"] < 1 << 30


def test_usage(lab):
    (row,) = lab.ctl("usage", "acme")
    assert fields(row, "key", "requests", "refused", "input_tokens", "cache_read_tokens",
                  "cache_write_tokens", "output_tokens", "reasoning_tokens", "estimated",
                  "partial")[:3] == ["acme", 3, 2]
    assert row["estimated"] == 1  # the stream without usage
    assert amount(row["price"]) and amount(row["cost"])
    assert row in lab.ctl("usage", "--by", "tenant")


def test_credit_balance(lab):
    balance = lab.ctl("credit", "balance", "acme")
    name, left, reserved, debt = fields(balance, "tenant", "balance", "reserved", "debt")
    assert name == "acme" and amount(left) and reserved == "0" and debt == "0"
    (grant,) = balance["grants"]
    _id, whole, remaining, priority, effective, expires, source = fields(
        grant, "id", "amount", "remaining", "priority", "effective_at", "expires_at", "source")
    assert (whole, priority, expires, source) == ("7.5", 100, None, "promo")
    assert fields(grant, "pending", "expired", "voided", "seq")[:3] == ["0", "0", False]
    assert balance["wallet"] == "acme"
    assert remaining == left and time(effective)


def test_ledger(lab):
    entries = lab.ctl_lines("ledger", "acme")
    assert [e["kind"] for e in entries][0] == "grant" and len(entries) == 4
    before = 0
    for entry in entries:
        fields(entry, "seq", "time", "kind", "amount", "balance_before", "balance_after",
               "event_id", "rate_card", "lines", "burn", "actor", "prev_hash", "hash")
        assert time(entry["time"]) and re.fullmatch("[0-9a-f]{64}", entry["hash"])
        assert policy.nano(entry["balance_before"]) == before
        before += policy.nano(entry["amount"])
        assert policy.nano(entry["balance_after"]) == before
    assert credits_left(lab) == before
    verified = lab.weirctl("ledger", "verify")
    assert verified.returncode == 0 and verified.stdout.strip()


def credits_left(lab):
    return policy.nano(lab.ctl("credit", "balance", "acme")["balance"])


def test_events(lab):
    events = lab.ctl_lines("events", "--tenant", "acme")
    assert len(events) == 3
    for event in events:
        assert event["specversion"] == "1.0" and event["type"] == "weir.usage.v1"
        data = event["data"]
        fields(data, "request_id", "response_id", "tenant", "path", "service", "request_type",
               "model", "stream", "status", "billable", "input_tokens", "output_tokens",
               "usage_source", "started_at", "ttft_ms", "latency_ms", "finish_reason", "rate_card",
               "price", "cost", "lines", "burn", "ledger_seq")
        assert amount(data["price"]) and time(data["started_at"]) and data["path"] == ["acme"]
        assert 0 <= data["ttft_ms"] <= data["latency_ms"]
    assert lab.ctl_lines("events", "--tenant", "other") == []


def test_events_follow_shows_what_happens_next(lab):
    follower = subprocess.Popen([str(BUILD / "weirctl"), "--socket", str(lab.control), "events",
                                 "--follow", "--tenant", "other", "--json"],
                                stdout=subprocess.PIPE, text=True)
    try:
        assert Sdk(lab, "sk-other").call(tokens=2)["ok"]
        event = json.loads(follower.stdout.readline())
        assert event["subject"] == "other" and event["data"]["output_tokens"] == 2
    finally:
        follower.terminate()
        follower.wait()
        follower.stdout.close()


def test_tenant(lab):
    tenant = lab.ctl("tenant", "show", "acme")
    assert fields(tenant, "tenant", "tier", "parent", "suspended") == ["acme", "paid", None, False]
    assert tenant["limits"]["requests"]["per_minute"] == 60
    live = tenant["live"]
    connections, inflight, requests, _tokens, left, reserved = fields(
        live, "connections", "inflight", "requests_remaining", "tokens_remaining", "balance",
        "reserved")
    assert inflight == 0 and connections >= 0 and 0 <= requests <= 3
    assert policy.nano(left) == credits_left(lab) and reserved == "0"
    assert (live["half_open"], live["reserved_tokens"]) == (0, 0)
    assert (tenant["suspension"], tenant["requests"], tenant["requests_open"]) == (None, [], 0)
    (own,) = tenant["levels"]
    assert (own["level"], own["name"], own["inflight"]) == ("own", "acme", 0)
    limits = tenant["limits"]
    assert (limits["half_open"], limits["request_cost_cap"], limits["services"]) == (1024, None, {})
    names = [t["tenant"] for t in lab.ctl("tenant", "list")]
    assert names == ["acme", "other"]


def test_what_reserves_is_the_request_that_its_event_names(lab):
    with lab.connect() as sock:
        answer = send(sock, "POST", "/v1/chat/completions", "sk-other",
                      chat_body(3, stream=True, include_usage=True, hold=1))
        shown = lab.ctl("tenant", "show", "other")
        (request,) = shown["requests"]
        name, tenant, service, started, age, credits, tokens = fields(
            request, "request_id", "tenant", "service", "started_at", "age_ms", "credits", "tokens")
        assert (tenant, service, credits) == ("other", "llm", "0") and time(started)
        assert 0 <= age < 60000 and tokens == shown["live"]["reserved_tokens"] > 0
        assert shown["live"]["inflight"] == shown["requests_open"] == 1
        text = lab.weirctl("tenant", "show", "other").stdout
        assert name in text
        lab.admin("release")
        answer.body()
    event = wait_for(lambda: [e for e in lab.ctl_lines("events", "--tenant", "other")
                              if e["data"]["request_id"] == name], "its event")
    assert event[0]["data"]["usage_source"] == "reported"
    wait_for(lambda: lab.ctl("tenant", "show", "other")["live"]["reserved_tokens"] == 0,
             "settlement")


def test_why(lab):
    refusals = lab.ctl("why", "acme")
    for refusal in refusals:
        when, reason, limit, _value, _asked, retry, of, shadow = fields(
            refusal, "time", "reason", "limit", "value", "asked", "retry_after_ms", "limit_of",
            "shadow")
        assert (of, shadow) == ("acme", False)
        assert time(when) and reason == "requests" and limit == 60 and 0 < retry <= 1000
    assert lab.ctl("why", "other") == []


def test_policy_show(lab):
    shown = lab.ctl("policy", "show")
    assert set(shown["tenants"]) == {"acme", "other"} and set(shown["tiers"]) == {"paid", "open"}


def test_key_is_shown_once_works_and_can_be_revoked(lab):
    added = lab.ctl("key", "add", "other")
    key = added["key"]
    sdk = Sdk(lab, key)
    assert len(key) <= 55 and sdk.call(tokens=1)["ok"]
    listed = lab.weirctl("key", "list", "other", "--json").stdout
    assert key not in listed
    hashed = policy.hash_key(key)
    (row,) = [k for k in json.loads(listed) if k["key"] == hashed]
    assert row
    assert lab.weirctl("key", "revoke", "other", hashed).returncode == 0
    assert sdk.call(tokens=1)["error"]["status"] == 401


def test_errors_are_one_line_with_a_hint_and_an_exit_status(lab):
    for args, status, words in (
            (("tenant", "show", "acmee"), 1, ('"acmee"', 'did you mean "acme"')),
            (("credit", "grant", "nobody", "1"), 1, ("nobody",)),
            (("credit", "grant", "acme", "1.0000000001"), None, ("1.0000000001",)),
            (("credit", "grant", "acme", "-1"), None, ("-1",)),
            (("frobnicate",), 2, ("frobnicate",)),
            (("tenant",), 2, ("tenant",))):
        done = lab.weirctl(*args, check=False)
        assert done.returncode == status if status else done.returncode in (1, 2), args
        lines = done.stderr.strip().splitlines()
        assert lines and lines[0].startswith("weirctl: "), args
        assert all(w in lines[0] for w in words), lines[0]
    done = run(BUILD / "weirctl", "--socket", lab.dir / "no.sock", "status", check=False)
    assert done.returncode == 3 and "no.sock" in done.stderr


def test_text_output_is_for_people(lab):
    for args in (("status",), ("top",), ("usage",), ("usage", "--by", "model"), ("trace", "#2"),
                 ("tenant", "list"), ("tenant", "show", "acme"),
                 ("credit", "balance", "acme"), ("credit", "balance", "acme", "--all"),
                 ("credit", "packs"), ("credit", "recur", "list"), ("credit", "breakage"),
                 ("ledger", "acme"), ("events",), ("why", "acme"),
                 ("policy", "show"), ("key", "list", "acme"), ("enforce",)):
        assert lab.weirctl(*args).stdout.strip(), args
    assert "acme" in lab.weirctl("usage").stdout


def test_socket_is_for_root_and_the_group_only(lab):
    lab.dir.chmod(0o755)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                           "/usr/bin/python3", "-c",
                           "import socket,sys; s=socket.socket(socket.AF_UNIX);"
                           "s.connect(sys.argv[1]); s.sendall(b'{\"op\":\"status\"}\\n');"
                           "print(s.recv(4096).decode())", str(lab.control)],
                          capture_output=True, text=True)
    assert "instance" not in done.stdout


def test_metrics_and_healthz(lab):
    status, text = lab.http("/metrics")
    assert status == 200 and "# TYPE weir_" in text
    assert all(re.fullmatch(r'#.*|\w+(\{.*\})? [-+\d.eInfNa]+', line)
               for line in text.splitlines() if line)
    assert 'sk-' not in text
    assert lab.http("/healthz")[0] == 200
    assert lab.http("/nothing")[0] == 404
