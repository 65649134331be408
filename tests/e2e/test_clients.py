# SPDX-License-Identifier: Apache-2.0
"""The clients of record through Weir: each plain and streamed, on kept connections
and over a limit; what was metered is what the server says it served."""
import json
import re

import pytest
from checks import assert_metered, wait_events
from weirlab import policy, wait_for
from weirlab.clients import Anthropic
from weirlab.lab import CLIENT4, PORT, SERVER4
from weirlab.origins import STACKS, Origin
from weirlab.raw_http import Response, chat_body, send

KEY, OTHER, CHAT = "sk-acme", "sk-other", "/v1/chat/completions"
OPEN = policy.document({"open": {}}, {"acme": ("open", KEY), "other": ("open", OTHER)})
# A bucket of two that gives one a second: the third request waits for at most that long.
TIGHT = policy.document({"tight": {"requests": {"per_minute": 60, "burst": 2}}},
                        {"acme": ("tight", KEY)})
BODIES = [json.dumps(chat_body(n, stream=n % 2 == 0, include_usage=True)) for n in range(1, 7)]
POOLED = ("httpx", "httpx-async", "aiohttp", "fetch")


def calls(lab, library, bodies):
    """Run a client that sends these bodies one after the other; its lines."""
    argv = ([lab.node, lab.clients / "fetch.mjs"] if library == "fetch" else
            ["/usr/bin/python3", lab.clients / "pooled.py", library])
    done = lab.in_client(*argv, lab.base_url() + CHAT, KEY, *bodies)
    return [json.loads(line) for line in done.stdout.splitlines()]


def curl(lab, *options, port=PORT, target=CHAT, data=None):
    """One request by curl: status, HTTP version, body."""
    file = lab.dir / "curl-body"
    file.write_bytes(data or b"")
    argv = ["sh", "-c", 'exec curl -sS -w "\\n%{http_code} %{http_version} %{num_connects}" "$@" '
            '<"$0"', str(file), "-H", f"Authorization: Bearer {KEY}", "-H",
            "Content-Type: application/json", *options, f"http://{SERVER4}:{port}{target}"]
    text, _, last = lab.in_client(*argv).stdout.rpartition("\n")
    status, version, connects = last.split()
    return int(status), version, int(connects), text


def messages_body(tokens, stream=False):
    return {"model": "llama-3.3-70b-instruct", "max_tokens": tokens, "stream": stream,
            "messages": [{"role": "user", "content": "one two three"}]}


def verdict(lab, name):
    return lab.ctl("status")["verdicts"][name]


@pytest.mark.parametrize("library", POOLED)
def test_requests_of_a_pool_are_metered_each(lab, library):
    lab.start_agent(OPEN)
    answers = calls(lab, library, BODIES)
    assert [a["status"] for a in answers] == [200] * len(BODIES)
    assert_metered(wait_events(lab, len(BODIES)), lab.served(KEY))
    assert verdict(lab, "admit_connection") <= 2, "the pool keeps its connections"


@pytest.mark.parametrize("library", POOLED)
def test_pool_gets_the_429_and_may_come_back_when_it_says(lab, library):
    lab.start_agent(TIGHT)
    answers = calls(lab, library, BODIES[:3])
    assert [a["status"] for a in answers] == [200, 200, 429]
    assert answers[2]["retry_after"] == "1"
    assert json.loads(answers[2]["body"])["error"]["code"] == "rate_limit_exceeded"
    assert_metered(wait_events(lab, 2), lab.served(KEY))


def test_anthropic_sdk_plain_and_streamed(lab):
    lab.start_agent(OPEN, services=[{"name": "llm", "port": PORT, "api": "anthropic"}])
    sdk = Anthropic(lab, KEY)
    for n in range(1, 7):
        done = sdk.call("message", messages_body(n, stream=n % 2 == 0))
        assert done["ok"] and done["usage"]["output_tokens"] == n, done
    events = wait_events(lab, 6)
    assert_metered(events, lab.served(KEY))
    assert all(e["usage_source"] == "reported" for e in events)


def test_anthropic_sdk_raises_its_own_error_and_retries(lab):
    lab.start_agent(TIGHT, services=[{"name": "llm", "port": PORT, "api": "anthropic"}])
    sdk = Anthropic(lab, KEY)
    for _ in range(2):
        assert sdk.call("message", messages_body(1))["ok"]
    refused = sdk.call("message", messages_body(1))
    assert refused["attempts"] == [429], refused
    assert (refused["error"]["name"], refused["error"]["type"]) == (
        "RateLimitError", "rate_limit_error")
    assert refused["error"]["headers"]["retry-after"] == "1"
    # The next waits as told, and gets through.
    done = sdk.call("message", messages_body(1), retries=2)
    assert done["ok"] and done["attempts"] == [429, 200]
    assert_metered(wait_events(lab, 3), lab.served(KEY))


# -------------------------------------------------------------------- curl

def test_curl_in_the_forms_it_can_send(lab):
    lab.start_agent(OPEN)
    body = json.dumps(chat_body(3)).encode()
    for options, version in (((), "1.1"), (("--http1.0",), "1.0"),
                             (("-H", "Transfer-Encoding: chunked"), "1.1")):
        status, spoken, _, text = curl(lab, *options, "--data-binary", "@-", data=body)
        assert (status, spoken) == (200, "1.1"), text  # uvicorn answers 1.0 with 1.1
        assert json.loads(text)["usage"]["completion_tokens"] == 3, version
    status, _, _, text = curl(lab, "-X", "POST", "-T", "-", data=body)  # chunked, as it reads
    assert status == 200, text
    assert_metered(wait_events(lab, 4), lab.served(KEY))


def test_curl_uploads_a_megabyte_and_waits_for_100(lab):
    lab.start_agent(OPEN)
    body = json.dumps(chat_body(2, prompt="word " * 250000)).encode()
    status, _, _, text = curl(lab, "-H", "Expect: 100-continue", "--expect100-timeout", "30",
                              "--data-binary", "@-", data=body)
    assert status == 200 and json.loads(text)["usage"]["prompt_tokens"] == 250000
    assert_metered(wait_events(lab, 1), lab.served(KEY))


def test_curl_that_waits_for_100_gets_the_refusal(lab):
    lab.start_agent(TIGHT)
    body = json.dumps(chat_body(2, prompt="word " * 250000)).encode()
    seen = [curl(lab, "-H", "Expect: 100-continue", "--expect100-timeout", "30",
                 "--data-binary", "@-", data=body) for _ in range(3)]
    assert [s[0] for s in seen] == [200, 200, 429]
    assert json.loads(seen[2][3])["error"]["code"] == "rate_limit_exceeded"
    assert_metered(wait_events(lab, 2), lab.served(KEY))


def test_curl_keeps_its_connection(lab):
    lab.start_agent(OPEN)
    body = json.dumps(chat_body(3))
    url = lab.base_url() + CHAT
    one = ["-sS", "-H", f"Authorization: Bearer {KEY}", "-d", body, "-o", "/dev/null", "-w",
           "%{http_code} %{num_connects}\\n", url]
    done = lab.in_client("curl", *one, "--next", *one, "--next", *one)
    assert done.stdout.split("\n")[:3] == ["200 1", "200 0", "200 0"]
    assert_metered(wait_events(lab, 3), lab.served(KEY))


@pytest.mark.parametrize("stack", ("node", "nginx"))
def test_curl_that_asks_for_http2_is_served_as_http1(lab, stack):
    """By servers that pass over the Upgrade; uvicorn itself says 400 to it, Weir or not."""
    lab.start_agent(OPEN, services=[{"name": stack, "port": STACKS[stack], "api": "openai"}])
    origin = Origin(lab, stack)
    body = json.dumps(chat_body(3)).encode()
    status, version, _, text = curl(lab, "--http2", "--data-binary", "@-", data=body,
                                    port=origin.port)
    assert (status, version) == (200, "1.1"), text
    (event,) = wait_events(lab, 1)
    assert event["response_id"] == json.loads(text)["id"] and event["output_tokens"] == 3
    origin.close()


# ------------------------------------------------------- a gateway in front

@pytest.fixture
def gateway(lab):
    """nginx in the client's namespace, with a pool of connections to the model server."""
    text = (lab.clients / "gateway.conf").read_text()
    for name, value in (("DIR", lab.dir), ("SERVER", f"{SERVER4}:{PORT}")):
        text = text.replace(f"@{name}@", str(value))
    conf = lab.dir / "gateway.conf"
    conf.write_text(text)

    def start():
        child = lab.spawn(["/usr/sbin/nginx", "-c", conf, "-e", lab.log("gateway")], "client",
                          "gateway")

        def listening():
            assert child.poll() is None, lab.log("gateway").read_text()
            return lab.in_client("ss", "-Hltn", "sport = :9000").stdout.strip()
        wait_for(listening, "the gateway to listen")
        sock = lab.socket()
        sock.connect(("127.0.0.1", 9000))
        return sock
    return start


def test_gateway_mixes_tenants_on_its_connections(lab, gateway):
    lab.start_agent(OPEN)
    with gateway() as sock:
        for n in range(1, 13):
            answer = send(sock, "POST", CHAT, OTHER if n % 3 == 0 else KEY,
                          chat_body(n, stream=n % 2 == 0, include_usage=True))
            assert answer.status == 200 and answer.body()
    events = wait_events(lab, 12)
    for tenant, key in (("acme", KEY), ("other", OTHER)):
        assert_metered([e for e in events if e["tenant"] == tenant], lab.served(key))
    assert verdict(lab, "admit_connection") < 12, "connections were used again"


def test_one_tenants_limit_is_not_anothers_behind_a_gateway(lab, gateway):
    lab.start_agent(policy.document(
        {"open": {}, "tight": {"requests": {"per_minute": 1, "burst": 2}}},
        {"acme": ("tight", KEY), "other": ("open", OTHER)}))
    statuses = []
    with gateway() as sock:
        for n in range(10):
            answer = send(sock, "POST", CHAT, KEY if n % 2 == 0 else OTHER, chat_body(1))
            statuses.append(answer.status)
            answer.body()
    assert statuses[1::2] == [200] * 5, "other is not limited"
    assert statuses[0::2] == [200, 200, 429, 429, 429]
    events = wait_events(lab, 7)
    assert_metered([e for e in events if e["tenant"] == "acme"], lab.served(KEY))
    assert_metered([e for e in events if e["tenant"] == "other"], lab.served(OTHER))


def test_trusted_gateway_names_the_tenant(lab, gateway):
    lab.start_agent(OPEN, trusted_sources=[f"{CLIENT4}/32"])
    with gateway() as sock:
        for n in range(6):
            answer = send(sock, "POST", f"/named{CHAT}", None, chat_body(n + 1),
                          [f"x-customer: {'acme' if n % 2 == 0 else 'other'}"])
            assert answer.status == 200 and answer.body()
        answer = send(sock, "POST", f"/named{CHAT}", None, chat_body(1), ["x-customer: nobody"])
        assert answer.status == 401 and answer.json()["error"]
    events = wait_events(lab, 6)
    assert_metered(events, lab.served())
    assert [e["tenant"] for e in events] == ["acme", "other"] * 3


def test_gateway_that_is_not_trusted_names_nobody(lab, gateway):
    lab.start_agent(OPEN, trusted_sources=["10.77.200.0/24"])
    with gateway() as sock:
        answer = send(sock, "POST", f"/named{CHAT}", None, chat_body(1), ["x-customer: acme"])
        assert answer.status == 401 and answer.body()
    assert lab.served() == []


# -------------------------------------------------------------------- load

def test_wrk_has_no_errors_and_all_of_it_is_metered(lab):
    lab.start_agent(OPEN)
    done = lab.in_client("wrk", "-t1", "-c16", "-d2s", "-s", lab.clients / "load.lua",
                         lab.base_url() + CHAT)
    assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
    completed = int(re.search(r"(\d+) requests in", done.stdout)[1])
    assert completed > 50

    def settled():
        # wrk hangs up on what is in flight at its end: that is served, and metered, too.
        report = lab.admin()
        usage = lab.ctl("usage", "acme")
        return (report["open"] == 0 and usage and
                usage[0]["requests"] == len(report["requests"]) and usage[0])
    usage = wait_for(settled, "every request to be metered")
    assert completed <= usage["requests"] <= completed + 16
    assert lab.ctl("status")["ring"]["lost"] == 0
    assert lab.ctl("tenant", "show", "acme")["live"]["inflight"] == 0
