# SPDX-License-Identifier: Apache-2.0
"""Bodies held to rules: what the server reads after Weir rewrote it, and what is
refused. The server's log has the body byte by byte."""
import json
import re

import pytest
from checks import wait_events
from weirlab import Lab, policy
from weirlab.clients import Sdk
from weirlab.origins import STACKS, Origin
from weirlab.raw_http import Response, chat_body, head
from weirlab.wire import Exchange

CHAT = "/v1/chat/completions"
ASKED, FALLBACK = "llama-3.3-70b-instruct", "llama-3.1-8b"
CARD = {**policy.CARD, "models": [*policy.CARD["models"], {
    "match": f"{FALLBACK}*", "price": {"input": "0.001", "output": "0.001", "per": 1000}}]}
TIERS = {
    "rewrite": {"max_output_tokens": 50},
    "refuse": {"max_output_tokens": 50, "on_max_output": "refuse"},
    "input": {"max_input_tokens": 100},
    "degrade": {"credit": "hard", "on_exhausted": "degrade", "fallback_model": FALLBACK,
                "reserve_output_tokens": 16},
    "both": {"credit": "hard", "on_exhausted": "degrade", "fallback_model": FALLBACK,
             "reserve_output_tokens": 16, "max_output_tokens": 50},
}
POLICY = policy.document(TIERS, {name: (name, f"sk-{name}") for name in TIERS}, [CARD])


class Bench:
    def __init__(self, lab, origin):
        self.lab, self.origin = lab, origin

    def verdicts(self):
        return self.lab.ctl("status")["verdicts"]

    def ask(self, tier, body, cuts=(), framing=None):
        """Send one request, cut in these places of its body (None: behind the head); its
        status, what came back, and the server's requests."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = ["Content-Type: application/json"]
        if framing:
            whole = head("POST", CHAT, f"sk-{tier}", extra=[*lines, "Transfer-Encoding: chunked"])
            data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
        else:
            whole = head("POST", CHAT, f"sk-{tier}", len(data))
        at = [0, *(len(whole) + (c or 0) for c in cuts), len(whole) + len(data)]
        parts = [(whole + data)[a:b] for a, b in zip(at, at[1:])]
        sock = self.lab.connect(port=self.origin.port)
        exchange, mark = Exchange(sock), self.origin.mark()
        exchange.send(parts)
        exchange.finish(self.origin, mark)
        status = int(exchange.received.split()[1]) if exchange.received else 0
        return status, exchange.received, self.origin.seen(exchange.peer, mark)

    def server_read(self, tier, body, cuts=(), framing=None):
        """Of an admitted one: the body as the server had it. Its length never changes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, answer, seen = self.ask(tier, data, cuts, framing)
        assert status == 200 and len(seen) == 1, answer
        if not framing:
            assert seen[0].all("content-length") == [str(len(data))]
        assert len(seen[0].body) == len(data)
        return seen[0].body

    def refusal(self, tier, body, reason, status=400, **how):
        before = self.verdicts().get(reason, 0)
        got, answer, seen = self.ask(tier, body, **how)
        assert got == status and seen == [], answer
        assert self.verdicts()[reason] == before + 1
        return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


@pytest.fixture(scope="module", params=STACKS)
def bench(request):
    with Lab() as lab:
        services = [{"name": request.param, "port": STACKS[request.param], "api": "openai"}]
        lab.start_agent(POLICY, services=services)
        origin = Origin(lab, request.param)
        yield Bench(lab, origin)
        origin.close()
    assert lab.leftovers() == []


def with_limit(value, key="max_tokens", first=True):
    """A body with this key, before or after its messages (the SDKs send what they are given)."""
    limit, rest = {key: value}, {"model": ASKED, "messages": [{"role": "user", "content": "one"}]}
    return {**limit, **rest} if first else {**rest, **limit}


# -------------------------------------------------------- max_output_tokens

@pytest.mark.parametrize("key", ("max_tokens", "max_completion_tokens", "max_output_tokens"))
@pytest.mark.parametrize("first", (True, False), ids=("in front", "behind the messages"))
def test_too_large_a_limit_is_lowered_in_place(bench, key, first):
    before = bench.verdicts()["rewrite_max_tokens"]
    body = with_limit(4096, key, first)
    assert json.loads(bench.server_read("rewrite", body)) == {**body, key: 50}
    assert bench.verdicts()["rewrite_max_tokens"] == before + 1


@pytest.mark.parametrize("value", (1, 50, 0, -4096, None, True, [4096], {"max_tokens": 4096}))
def test_a_limit_that_is_small_or_none_is_left_alone(bench, value):
    data = json.dumps(with_limit(value)).encode()
    assert bench.server_read("rewrite", data).encode() == data


def test_what_is_not_the_bodys_own_key_is_left_alone(bench):
    body = {"model": ASKED, "metadata": {"max_tokens": 4096}, "max_tokens_x": 4096,
            "messages": [{"role": "user", "content": '{"max_tokens": 4096}', "max_tokens": 4096},
                         {"role": "user", "content": "\\\", \"max_tokens\": 4096"}]}
    data = json.dumps(body).encode()
    assert bench.server_read("rewrite", data).encode() == data


def test_every_time_the_key_comes(bench):
    text = b'{"max_tokens": 9, "max_tokens":100, "model": "x", "messages": [], "max_tokens" : 51 }'
    assert bench.server_read("rewrite", text).encode() == text.replace(
        b"100", b"50 ").replace(b"51", b"50")


@pytest.mark.parametrize("text", (b"51", b"4096", b"1000000000000", b"99999999999999999999999",
                                  b"0050", b"1e9", b"4096.5", b"1E2", b"51.0", b'"4096"', b"+99", b"NaN"))
def test_no_spelling_gets_by(bench, text):
    """Rewritten or refused; the server never reads more than the limit."""
    data = b'{"model": "x", "messages": [], "max_tokens": %s}' % text
    status, answer, seen = bench.ask("rewrite", data)
    assert status in (200, 400)
    if status == 200:
        assert int(re.search(r'"max_tokens": *([0-9]+) *}', seen[0].body)[1]) <= 50
    else:
        assert seen == [] and b"max_tokens_exceeded" in answer


@pytest.mark.parametrize("text", (b'"max\\u005ftokens"', b'"\\u006dax_tokens"', b'"a\\/b"'))
def test_escapes_in_a_key_are_refused(bench, text):
    bench.refusal("rewrite", b'{"model": "x", "messages": [], %s: 4096}' % text, "body")


@pytest.mark.parametrize("text", (b'{"model": "x",\0"max_tokens": 4096, "messages": []}',
                                  b'\xef\xbb\xbf{"max_tokens": 4096, "messages": []}',
                                  b'{\x0c"max_tokens": 4096, "messages": []}'))
def test_bytes_that_json_does_not_have_are_refused(bench, text):
    bench.refusal("rewrite", text, "body")


def test_refused_where_the_tier_says_so(bench):
    error = bench.refusal("refuse", with_limit(51), "max_output_tokens")
    assert "50" in error["message"]
    data = json.dumps(with_limit(50)).encode()
    assert bench.server_read("refuse", data).encode() == data


def test_body_apart_from_its_head_and_in_pieces(bench):
    body = with_limit(4096, first=False)
    data = json.dumps(body).encode()
    for cuts in ([None], [None, 10], [None, 1, 2, 3], [20], [len(data) - 9]):
        assert json.loads(bench.server_read("rewrite", data, cuts))["max_tokens"] == 50, cuts


def test_cut_anywhere_in_key_or_value(bench):
    """Rewritten, or refused where the value itself is cut; never let by."""
    data = json.dumps(with_limit(4096, first=False)).encode()
    value = data.index(b"4096")
    for at in range(value - 16, len(data)):
        status, answer, seen = bench.ask("rewrite", data, [at])
        if value < at <= value + 4:  # at its end, too: a digit could follow
            assert status == 400 and b"max_tokens_exceeded" in answer and not [
                r for r in seen if r.body is not None], at
        else:
            assert status == 200 and json.loads(seen[0].body)["max_tokens"] == 50, at


def test_limit_behind_a_long_prompt(bench):
    """The messages fill many segments, as the SDKs order them."""
    body = {"model": ASKED, "messages": [{"role": "user", "content": "word \"max_tokens\": 9 " * 8000}],
            "max_tokens": 4096}
    read = json.loads(bench.server_read("rewrite", body))
    assert read == {**body, "max_tokens": 50}


def test_chunked_body_cannot_be_held_to_it(bench):
    bench.refusal("rewrite", with_limit(4096), "length_required", 411, framing="chunked")


def test_openai_sdk_is_cut_off_at_the_limit(lab):
    """End to end: the answer is as long as the limit, and says so."""
    lab.start_agent(POLICY)
    sdk = Sdk(lab, "sk-rewrite")
    for stream in (False, True):
        done = sdk.call(tokens=200, stream=stream, include_usage=True, prompt="word " * 5000)
        assert done["ok"] and done["usage"]["completion_tokens"] == 50
    events = wait_events(lab, 2)
    assert [e["output_tokens"] for e in events] == [50, 50]
    assert [e["max_tokens_requested"] for e in events] == [200, 200]


# --------------------------------------------------------- max_input_tokens

def test_too_long_a_prompt_is_refused_by_its_length(bench):
    """Four bytes a token, of the whole body."""
    fits = json.dumps(chat_body(2)).encode().ljust(403)
    assert bench.server_read("input", fits).encode() == fits
    error = bench.refusal("input", fits.ljust(408), "max_input_tokens")
    assert error["code"] == "context_length_exceeded"


# ------------------------------------------------------------ on_exhausted

def test_out_of_credit_goes_on_with_the_fallback_model(bench):
    body = {**chat_body(2), "temperature": 1}
    data = json.dumps(body).encode()
    before = bench.verdicts()["rewrite_model"]
    read = bench.server_read("degrade", data)
    assert json.loads(read) == {**body, "model": FALLBACK}
    assert read.encode() == data.replace(f'"{ASKED}"'.encode(),
                                         f'"{FALLBACK}"'.encode().ljust(len(ASKED) + 2))
    assert bench.verdicts()["rewrite_model"] == before + 1


def test_model_behind_long_messages_and_cut(bench):
    body = {"messages": [{"role": "user", "content": '"model": "x" ' * 4000, "model": "y"}],
            "max_tokens": 2, "model": ASKED}
    data = json.dumps(body).encode()
    for cuts in ([], [None], [None, 100]):
        assert json.loads(bench.server_read("degrade", data, cuts)) == {**body, "model": FALLBACK}
    status, answer, seen = bench.ask("degrade", data, [data.rindex(ASKED.encode()) + 4])
    assert status == 429 and not [r for r in seen if r.body is not None], answer


@pytest.mark.parametrize("body", ({"model": "short", "messages": []}, {"messages": []}),
                         ids=("too short", "not there"))
def test_model_that_cannot_be_replaced_is_refused(bench, body):
    bench.refusal("degrade", body, "fallback_model", 429)


def test_with_credit_the_model_is_left_alone_and_then_degrades(lab):
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "both", "0.05")
    sdk = Sdk(lab, "sk-both")
    models = []
    for _ in range(4):
        done = sdk.call(tokens=20, prompt="one two")
        assert done["ok"], done
        wait_events(lab, len(models) + 1)
        models.append(lab.served("sk-both")[-1]["model"])
    assert models == [ASKED, FALLBACK, FALLBACK, FALLBACK]
    events = wait_events(lab, 4)
    assert [e["model"] for e in events] == models
    assert [e["model_requested"] for e in events] == [ASKED] * 4
    assert [e.get("degraded", False) for e in events] == [False, True, True, True]


def test_both_rules_at_once(bench):
    body = {"messages": [], "max_tokens": 900, "model": ASKED}
    assert json.loads(bench.server_read("both", body)) == {**body, "max_tokens": 50,
                                                           "model": FALLBACK}


def test_requests_kept_alive_are_each_held_to_it(bench):
    sock = bench.lab.connect(port=bench.origin.port)
    mark = bench.origin.mark()
    peer = "%s:%d" % sock.getsockname()
    for value in (4096, 3, 99):
        data = json.dumps(with_limit(value)).encode()
        sock.sendall(head("POST", CHAT, "sk-rewrite", len(data)) + data)
        assert Response(sock).read_head().body()
    sock.close()
    bench.origin.caught_up(peer)
    read = [json.loads(r.body)["max_tokens"] for r in bench.origin.seen(peer, mark)]
    assert read == [50, 3, 50]
