# SPDX-License-Identifier: Apache-2.0
"""The forms in which requests and answers come, against the real server."""
import json

import pytest
from checks import assert_metered, wait_events
from weirlab import policy, wait_for
from weirlab.clients import Sdk
from weirlab.raw_http import Response, chat_body, head, send

CHAT = "/v1/chat/completions"
KEY = "sk-acme"
OPEN = policy.document({"open": {}}, {"acme": ("open", KEY)})
BODY = json.dumps(chat_body(3)).encode()
JSON = "Content-Type: application/json"


def chunked(data):
    return b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"


def http10(body):
    return (f"POST {CHAT} HTTP/1.0\r\nAuthorization: Bearer {KEY}\r\n{JSON}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


STREAM = json.dumps(chat_body(3, stream=True, include_usage=True)).encode()
FORMS = {
    "in one segment": [head("POST", CHAT, KEY, len(BODY)) + BODY],
    "head and body apart": [head("POST", CHAT, KEY, len(BODY)), BODY],
    "body in pieces": [head("POST", CHAT, KEY, len(BODY)), BODY[:9], BODY[9:50], BODY[50:]],
    "chunked body": [head("POST", CHAT, KEY, extra=[JSON, "Transfer-Encoding: chunked"]) +
                     chunked(BODY)],
    "connection: close": [head("POST", CHAT, KEY, len(BODY), ["Connection: close"]) + BODY],
    "HTTP/1.0": [http10(BODY)],
    "HTTP/1.0, answer ends with the connection": [http10(STREAM)],
    "large head": [head("POST", CHAT, KEY, len(BODY), ["Cookie: " + "c" * 1000]) + BODY],
}


@pytest.fixture(scope="module")
def shared():
    from weirlab import Lab
    with Lab() as lab:
        lab.start_server()
        lab.start_agent(OPEN, nats=False)
        yield lab
    assert lab.leftovers() == []


@pytest.mark.parametrize("form", FORMS)
def test_request_is_admitted_and_metered(shared, form):
    lab = shared
    before = len(lab.served())
    pieces = FORMS[form]
    with lab.connect() as sock:
        for piece in pieces:
            segments = received(lab)
            sock.sendall(piece)
            if piece is not pieces[-1]:
                wait_for(lambda: received(lab) > segments, "the segment to arrive alone")
        answer = Response(sock).read_head()
        assert answer.status == 200 and answer.body()
    events = wait_events(lab, before + 1)
    assert_metered(events, lab.served())
    assert events[-1]["usage_source"] == "reported"


def received(lab):
    """Packets that the server's end took in."""
    (line,) = [li for li in lab.in_server("cat", "/proc/self/net/dev").stdout.splitlines()
               if "eth0:" in li]
    return int(line.split()[2])


def test_head_over_two_segments_is_judged_with_its_second(lab):
    lab.start_agent(OPEN)
    request = head("POST", CHAT, KEY, len(BODY)) + BODY
    with lab.connect() as sock:
        sock.sendall(request[:60])
        wait_for(lambda: lab.ctl("status")["verdicts"]["pass_head_part"], "the first half")
        assert lab.ctl("status")["verdicts"]["admit_request"] == 0
        sock.sendall(request[60:])
        assert Response(sock).read_head().status == 200
    assert_metered(wait_events(lab, 1), lab.served())


def test_pipelined_requests_never_slip_by_unjudged(lab):
    lab.start_agent(OPEN)
    request = head("POST", CHAT, KEY, len(BODY)) + BODY
    with lab.connect() as sock:
        sock.sendall(request + request)
        with pytest.raises(ConnectionError):
            Response(sock).read_head().body()
            Response(sock).read_head()
    assert lab.ctl("status")["verdicts"]["drop_pipelined"] >= 1
    assert len(lab.served()) <= 1


def test_models_and_health_are_free(lab):
    lab.start_agent(policy.document({"none": {"requests": {"per_minute": 1, "burst": 1}}},
                                    {"acme": ("none", KEY)}))
    with lab.connect() as sock:
        for _ in range(5):
            assert send(sock, "GET", "/v1/models", KEY).json()["data"]
            assert send(sock, "GET", "/health").status == 200
        assert send(sock, "POST", CHAT, KEY, chat_body(1)).status == 200
    assert_metered(wait_events(lab, 1), lab.served())


def test_many_streams_and_large_answers_are_metered_exactly(lab):
    lab.start_agent(OPEN)
    sdk = Sdk(lab, KEY)
    calls = [sdk.start(tokens=20 + n % 7, stream=True, include_usage=True, delay_ms=2)
             for n in range(200)]
    calls.append(sdk.start(tokens=1000, pad=1000, stream=True, include_usage=True))
    calls.append(sdk.start(tokens=1000, pad=2000))
    calls.append(sdk.start("embedding", {"model": "bge-m3", "input": ["one two"] * 100,
                                         "encoding_format": "float"}))
    assert all(c.result()["ok"] for c in calls)
    events = wait_events(lab, len(calls))
    assert_metered(events, lab.served())
    assert all(e["usage_source"] == "reported" for e in events)
    assert lab.ctl("status")["ring"]["lost"] == 0
    assert lab.ctl("status")["verdicts"]["tap_skipped"] > 0  # vectors, of which usage is the end
    assert not any(e.get("lost_bytes") for e in events)
