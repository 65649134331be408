# SPDX-License-Identifier: Apache-2.0
"""What clients experience at a limit: the stock SDK's own error, a whole answer
even in the middle of an upload, a reset at connect."""
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from checks import wait_events
from weirlab import policy, wait_for
from weirlab.clients import Sdk
from weirlab.raw_http import Response, chat_body, head, send

CHAT = "/v1/chat/completions"
BOTH_FAMILIES = pytest.mark.parametrize("family", (4, 6))
GATES = pytest.mark.parametrize("xdp", ("native", "generic", "off"))


def one_tier(**limits):
    return policy.document({"limited": limits}, {"acme": ("limited", "sk-acme")})


def by_source(limits):
    return policy.document({"limited": limits}, {
        "acme": {"tier": "limited", "sources": ["10.77.5.0/24", "fd77::5:0/112"]},
        "other": {"tier": "limited", "sources": ["10.77.6.0/24"]}})


def live(lab, tenant="acme"):
    return lab.ctl("tenant", "show", tenant)["live"]


@BOTH_FAMILIES
def test_sdk_raises_its_rate_limit_error_and_retry_after_is_true(lab, family):
    lab.start_agent(one_tier(requests={"per_minute": 60, "burst": 3}))
    sdk = Sdk(lab, "sk-acme", family)
    assert all(sdk.call(tokens=1)["ok"] for _ in range(3))
    refused = sdk.call(tokens=1)
    error = refused["error"]
    assert not refused["ok"] and refused["attempts"] == [429]
    assert (error["name"], error["status"]) == ("RateLimitError", 429)
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")
    assert "60" in error["message"] and "sk-acme" not in error["message"]
    headers = error["headers"]
    wait_ms = int(headers["retry-after-ms"])
    assert headers["retry-after"] == "1" and 0 < wait_ms <= 1000
    assert headers["x-ratelimit-limit-requests"]
    assert headers["x-ratelimit-remaining-requests"] == "0"
    time.sleep(wait_ms / 1000)  # this wait is the claim
    assert sdk.call(tokens=1)["ok"]
    assert len(lab.served("sk-acme")) == 4


def test_sdk_with_its_default_retries_gets_through_by_itself(lab):
    lab.start_agent(one_tier(requests={"per_minute": 120, "burst": 2}))
    sdk = Sdk(lab, "sk-acme")
    done = [sdk.call(tokens=1, retries=2) for _ in range(3)]
    assert all(d["ok"] for d in done)
    assert done[2]["attempts"] == [429, 200]


def test_token_rate_is_charged_after_the_fact(lab):
    lab.start_agent(one_tier(tokens={"per_minute": 600, "burst": 100}))
    sdk = Sdk(lab, "sk-acme")
    assert sdk.call(tokens=200)["ok"]  # a debt of about 103 tokens, ten a second
    refused = wait_for(lambda: (r := sdk.call(tokens=1)) and not r["ok"] and r, "the debt", 3)
    assert refused["error"]["type"] == "tokens"
    assert refused["error"]["code"] == "rate_limit_exceeded"
    assert int(refused["error"]["headers"]["retry-after-ms"]) <= 12_000


@pytest.mark.parametrize("expect", ("Expect:", "Expect: 100-continue"))
def test_curl_reads_its_429_in_the_middle_of_a_4_mb_upload(lab, expect):
    lab.start_agent(one_tier(requests={"per_minute": 1, "burst": 1}))
    assert Sdk(lab, "sk-acme").call(tokens=1)["ok"]
    upload = lab.dir / "upload"
    upload.write_bytes(json.dumps(chat_body(prompt="x " * (2 << 20))).encode())
    done = lab.in_client("curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}", "-H", expect,
                         "-H", "Authorization: Bearer sk-acme", "-H",
                         "Content-Type: application/json", "--data-binary", f"@{upload}",
                         lab.base_url() + CHAT, check=False)
    assert done.returncode == 0, done.stderr
    body, status = done.stdout.rsplit("\n", 1)
    assert status == "429"
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"


@BOTH_FAMILIES
def test_client_that_sends_all_before_it_reads_gets_its_429(lab, family):
    lab.start_agent(one_tier(requests={"per_minute": 1, "burst": 1}))
    body = json.dumps(chat_body(prompt="x " * (2 << 20))).encode()
    with lab.connect(family) as sock:
        assert send(sock, "POST", CHAT, "sk-acme", chat_body(1)).status == 200
    with lab.connect(family) as sock:
        sock.sendall(head("POST", CHAT, "sk-acme", len(body)))
        sock.sendall(body)
        answer = Response(sock).read_head()
        assert answer.status == 429
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        assert sock.recv(1) == b""  # and the connection is closed in order
    assert lab.admin()["bad"] == 0 and len(lab.served()) == 1


@GATES
@BOTH_FAMILIES
def test_source_over_its_connection_limit_is_reset_at_connect(lab, family, xdp):
    ours, theirs = ("10.77.5.1", "10.77.6.1") if family == 4 else ("fd77::5:1", None)
    for address in filter(None, (ours, theirs)):
        plen = "16" if family == 4 else "64"
        lab.ip(lab.client_ns, "addr", "add", f"{address}/{plen}", "dev", "eth0",
               *(["nodad"] if family == 6 else []))
    lab.start_agent(by_source({"connections": 3}), xdp=xdp)
    (interface,) = lab.ctl("status")["interfaces"]
    assert interface["xdp_mode"] == xdp
    held = [lab.connect(family, ours) for _ in range(3)]
    assert live(lab)["connections"] == 3
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            lab.connect(family, ours)
        assert time.monotonic() - began < 0.5
    assert send(held[0], "POST", CHAT, None, chat_body(1)).status == 200
    if theirs:
        lab.connect(family, theirs).close()
    held.pop().close()
    wait_for(lambda: live(lab)["connections"] == 2, "the connection's slot")
    held.append(lab.connect(family, ours))
    for sock in held:
        sock.close()
    wait_for(lambda: live(lab)["connections"] == 0, "all slots")


@GATES
def test_connect_rate_resets_what_is_too_fast(lab, xdp):
    lab.ip(lab.client_ns, "addr", "add", "10.77.5.1/16", "dev", "eth0")
    lab.start_agent(by_source({"connect_rate": {"per_second": 1, "burst": 4}}), xdp=xdp)
    began, admitted = time.monotonic(), 0
    for _ in range(20):
        try:
            lab.connect(4, "10.77.5.1").close()
            admitted += 1
        except ConnectionRefusedError:
            pass
    assert 4 <= admitted <= 4 + int(time.monotonic() - began) + 1


@BOTH_FAMILIES
def test_concurrency_admits_exactly_n_of_50_streams_again_and_again(lab, family):
    limit = 7
    lab.start_agent(one_tier(concurrency=limit))
    sdk = Sdk(lab, "sk-acme", family)

    def wave():
        calls = [sdk.start(tokens=3, stream=True, hold=1) for _ in range(50)]
        for call in calls:
            call.first.result(20)
        refused = [c for c in calls if c.end.done()]
        running = [c for c in calls if not c.end.done()]
        assert len(running) == limit and lab.admin()["open"] == limit
        assert live(lab)["inflight"] == limit
        for call in refused:
            error = call.result()["error"]
            assert (error["name"], error["code"]) == ("RateLimitError", "rate_limit_exceeded")
        return running

    def all_free():
        wait_for(lambda: live(lab)["inflight"] == 0, "the slots")

    running = wave()
    lab.admin("release")
    assert all(c.result()["ok"] for c in running)
    all_free()
    lab.admin("reset")
    for call in wave():
        sdk.abort(call)
        call.result()
    all_free()
    lab.admin("reset")
    running = wave()
    lab.admin("release")
    assert all(c.result()["ok"] for c in running)
    all_free()


def test_refused_requests_use_up_nothing(lab):
    lab.start_agent(one_tier(concurrency=1, requests={"per_minute": 1, "burst": 3}))
    sdk = Sdk(lab, "sk-acme")
    held = sdk.start(tokens=2, stream=True, hold=1)
    held.first.result(10)
    for _ in range(10):
        error = sdk.call(tokens=1)["error"]
        assert "concurren" in error["message"].lower()
    lab.admin("release")
    assert held.result()["ok"]
    assert live(lab)["requests_remaining"] == 2
    assert sdk.call(tokens=1)["ok"] and sdk.call(tokens=1)["ok"]
    assert not sdk.call(tokens=1)["ok"]


def test_unknown_key_and_nobody_are_refused_with_401(lab):
    lab.start_agent(one_tier())
    error = Sdk(lab, "sk-nobody-knows").call(tokens=1)["error"]
    assert (error["name"], error["status"]) == ("AuthenticationError", 401)
    assert error["code"] == "invalid_api_key" and "sk-nobody" not in error["message"]
    with lab.connect() as sock:
        assert send(sock, "POST", CHAT, None, chat_body(1)).status == 401
    assert lab.served() == []


def test_requests_of_a_source_and_of_the_default_tenant(lab):
    lab.ip(lab.client_ns, "addr", "add", "10.77.5.1/16", "dev", "eth0")
    document = by_source({"requests": {"per_minute": 1, "burst": 1}})
    document["default_tenant"] = "other"
    lab.start_agent(document)
    for source, statuses in (("10.77.5.1", [200, 429]), (None, [200, 429])):
        for status in statuses:
            with lab.connect(4, source) as sock:
                assert send(sock, "POST", CHAT, None, chat_body(1)).status == status
    wait_events(lab, 2)
    requests = {u["key"]: (u["requests"], u["refused"]) for u in lab.ctl("usage")}
    assert requests == {"acme": (1, 1), "other": (1, 1)}


def test_reply_survives_a_burst_of_refused_clients(lab):
    lab.start_agent(one_tier(requests={"per_minute": 1, "burst": 1}))

    def status(_):
        with lab.connect() as sock:
            return send(sock, "POST", CHAT, "sk-acme", chat_body(1)).status
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(status, range(200)))
    assert statuses.count(200) == 1 and statuses.count(429) == 199
    wait_for(lambda: live(lab)["connections"] == 0, "the connections")
    assert lab.ctl("usage", "acme")[0]["refused"] == 199


def test_garbage_reaches_the_server_untouched_and_is_counted(lab):
    lab.start_agent(one_tier())
    with lab.connect() as sock:
        sock.sendall(b"\x16\x03\x01\x00\xa5 not http at all \r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert b"400 Bad Request" in sock.recv(4096)  # uvicorn's own words
    assert lab.ctl("status")["verdicts"]["pass_tls"] >= 1
