# SPDX-License-Identifier: Apache-2.0
"""What answers cost that are not as they should be: left, broken off, repeated, out of a cache,
silent about their usage. The OpenAI and Anthropic Node SDKs against uvicorn; one agent for all,
and tenants of their own for each."""
import json

import pytest
from checks import assert_metered, events_of, wait_events
from weirlab import Lab, policy, wait_for
from weirlab.clients import Anthropic, Sdk
from weirlab.lab import PORT
from weirlab.raw_http import chat_body, send, shut

# Bytes of a token are learnt by model: of one of these, of the other nothing is known.
MODEL, LEARNT, LEFT = (f"llama-3.3-70b-{name}" for name in ("instruct", "learnt", "left"))
CHAT = "/v1/chat/completions"
RESERVED = 40
TIERS = {
    "produced": {},
    "full": {"abort": "full", "reserve_output_tokens": RESERVED},
    "free": {"abort": "free"},
    "lenient": {"bill_retries": False, "bill_cache_hits": False},
}
TENANTS = {"whole": "produced", "a-produced": "produced", "a-full": "full", "a-free": "free",
           "unsaid": "full", "again": "lenient", "paid-again": "produced", "left-again": "lenient",
           "tail": "lenient", "sdk": "lenient", "hides": "produced", "hit": "lenient",
           "paid-hit": "produced"}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def lab():
    with Lab() as made:
        made.start_server()
        made.start_agent(policy.document(TIERS, {
            name: (tier, f"sk-{name}") for name, tier in TENANTS.items()}))
        yield made
    assert made.leftovers() == []


def message_body(tokens, prompt="one two three", stream=False, **metadata):
    """As Anthropic has it."""
    body = chat_body(tokens, prompt, model=MODEL, **metadata)
    return {**body, "stream": stream}


def price_of(event, prompt, completion):
    assert policy.nano(event["price"]) == policy.price(event["model"], prompt, completion), event


def event_of(lab, tenant, n=1):
    """The newest of n events."""
    return wait_events(lab, n, tenant)[-1]


# ------------------------------------------------------------------------- whole

def test_plain_streamed_and_tool_calls_are_what_the_server_served(lab):
    openai, anthropic = Sdk(lab, "sk-whole"), Anthropic(lab, "sk-whole")
    tools = {"tools": TOOLS}
    for n, stream in ((3, False), (7, True)):
        assert openai.call(params=chat_body(n, stream=stream, include_usage=True))["ok"]
        done = openai.call(params={**chat_body(n + 1, stream=stream, include_usage=True), **tools})
        assert done["ok"] and done["pieces"] == (n + 1 if stream else 0)
        assert anthropic.call("message", message_body(n + 2, stream=stream))["ok"]
        assert anthropic.call("message", {**message_body(n + 3, stream=stream), **tools})["ok"]
    events = wait_events(lab, 8, "whole")
    assert_metered(events, lab.served("sk-whole"))
    assert {e["usage_source"] for e in events} == {"reported"}
    assert {e["finish_reason"] for e in events} == {"length", "tool_calls", "max_tokens",
                                                    "tool_use"}
    assert not any("left" in e or "abort" in e for e in events)


# --------------------------------------------------------------------------- left

@pytest.mark.parametrize("sdk, input_known", ((Sdk, False), (Anthropic, True)))
@pytest.mark.parametrize("tier", ("produced", "full", "free"))
def test_client_that_leaves_is_billed_by_its_tier(lab, tier, sdk, input_known):
    tenant = f"a-{tier}"
    before = len(events_of(lab, tenant))
    client = sdk(lab, f"sk-{tenant}")
    body = chat_body(50, stream=True, include_usage=sdk is Sdk, model=LEFT, hold=1)
    call = client.start("chat" if sdk is Sdk else "message", body)
    assert call.first.result(10)
    client.abort(call)
    assert not call.result()["ok"]
    event = event_of(lab, tenant, before + 1)
    assert event["usage_source"] == "partial" and event["left"]
    guessed = len(json.dumps(body, separators=(",", ":"))) // 4
    prompt = 3 if input_known else guessed
    assert event["input_tokens"] == prompt
    assert event["output_tokens"] == (50 if tier == "full" else 1)
    assert event.get("abort") == {"produced": None, "full": "full", "free": "free"}[tier]
    assert event["billable"] == (tier != "free")
    assert ("input" in event["estimated_counts"]) == (not input_known)
    if tier == "free":
        assert event["price"] == "0"
    else:
        price_of(event, prompt, event["output_tokens"])
    wait_for(lambda: lab.served(f"sk-{tenant}", "aborted"), "the server to notice")


def test_full_without_a_number_is_what_is_reserved(lab):
    client = Sdk(lab, "sk-unsaid")
    body = chat_body(50, stream=True, hold=1)
    del body["max_tokens"]
    call = client.start(params=body)
    assert call.first.result(10)
    client.abort(call)
    event = event_of(lab, "unsaid")
    assert (event["output_tokens"], event["abort"]) == (RESERVED, "full")


# -------------------------------------------------------------------------- again

@pytest.mark.parametrize("tenant, free", (("again", True), ("paid-again", False)))
def test_what_broke_off_may_be_asked_again(lab, tenant, free):
    """Three times, until it is whole; the fourth is paid, and may be asked again as well."""
    client = Sdk(lab, f"sk-{tenant}")
    body = chat_body(9, f"for {tenant}", stream=True, include_usage=True, cut_at=4, cuts=5)
    other = chat_body(9, f"of {tenant}", stream=True, include_usage=True)
    asked = [(body, False), (other, True), *[(body, False)] * 4, (body, True), (body, True)]
    for n, (params, whole) in enumerate(asked, 1):
        assert client.call(params=params)["ok"] == whole
        wait_events(lab, n, tenant)
    events = events_of(lab, tenant)
    want = [False, False, True, True, True, False, True, False]
    assert [e.get("retry_free", False) for e in events] == [free and w for w in want]
    for event, (_, whole) in zip(events, asked):
        assert "left" not in event
        assert (event["usage_source"], event["output_tokens"]) == (
            ("reported", 9) if whole else ("partial", 4))
        assert event["billable"] == (not event.get("retry_free", False))
        if event["billable"]:
            price_of(event, event["input_tokens"], event["output_tokens"])
        else:
            assert event["price"] == "0"
    if free:
        assert lab.ctl("status")["answers"]["retry_free"] >= 4


def test_plain_answer_without_its_tail_may_be_asked_again(lab):
    client = Sdk(lab, "sk-tail")
    body = chat_body(9, prompt="word " * 3000, cut_at=4)  # longer than a segment
    assert not client.call(params=body)["ok"]
    first = event_of(lab, "tail")
    assert first["usage_source"] == "partial" and first["billable"] and first["price"] != "0"
    assert client.call(params=body)["ok"]
    assert event_of(lab, "tail", 2)["retry_free"]


def test_who_left_asks_anew(lab):
    body = chat_body(9, stream=True, include_usage=True, hold=1)
    with lab.connect() as sock:
        for piece in send(sock, "POST", CHAT, "sk-left-again", body).chunks():
            if b"tok0" in piece:
                break
        shut(sock)
    assert event_of(lab, "left-again")["left"]
    lab.admin("release")
    assert Sdk(lab, "sk-left-again").call(params=body)["ok"]
    lab.admin("rearm")
    event = event_of(lab, "left-again", 2)
    assert event["billable"] and "retry_free" not in event


@pytest.mark.parametrize("sdk, op", ((Sdk, "chat"), (Anthropic, "message")))
def test_sdks_own_retry_says_so_and_is_billed_once(lab, sdk, op):
    before = len(events_of(lab, "sdk"))
    body = chat_body(5, prompt=f"for {op}", fails=1)
    done = sdk(lab, "sk-sdk").call(op, body, retries=2)
    assert done["ok"] and done["attempts"] == [500, 200], done
    failed, answered = wait_events(lab, before + 2, "sdk")[before:]
    assert (failed["status"], failed["billable"], failed["price"]) == (500, False, "0")
    assert (answered["status"], answered["billable"], answered["retry_count"]) == (200, True, 1)
    price_of(answered, 2, 5)


# ------------------------------------------------------------------------- silent

def test_who_hides_usage_is_estimated_and_named(lab):
    client = Sdk(lab, "sk-hides")
    prompts = [" ".join(f"word{n}" for n in range(start, start + 80)) for start in range(10, 60, 5)]
    for prompt in prompts:
        assert client.call(tokens=40, prompt=prompt, model=LEARNT)["usage"]
    silent = [client.call(tokens=40, prompt=prompts[3], model=LEARNT, usage=0),
              client.call(tokens=40, prompt=prompts[4], model=LEARNT, stream=True)]
    assert all(s["ok"] and not s["usage"] for s in silent)
    plain, streamed = wait_events(lab, len(prompts) + 2, "hides")[-2:]
    for event in (plain, streamed):
        assert event["usage_source"] == "estimated" and event["billable"]
        assert sorted(event["estimated_counts"]) == ["input", "output"]
        assert 76 <= event["input_tokens"] <= 84, "80, within the ratio that was learnt"
        price_of(event, event["input_tokens"], event["output_tokens"])
    assert 38 <= plain["output_tokens"] <= 42
    assert streamed["output_tokens"] == 40  # an event each

    warnings = [w for w in lab.ctl("status")["warnings"] if "usage" in w]
    (of_streams,) = [w for w in warnings if "streamed answers" in w]
    (of_plain,) = [w for w in warnings if "plain answers" in w]
    assert of_streams.startswith(f"service llm (port {PORT}): ")
    assert of_streams.endswith("start vLLM (0.11.1 or later) with --enable-force-include-usage")
    assert of_plain.startswith(f"service llm (port {PORT}): 1 of ")
    _, metrics = lab.http("/metrics")
    assert 'weir_usage_hidden{service="llm",form="plain"} 1\n' in metrics
    counted = {line.split(" ")[0]: int(line.split(" ")[1]) for line in metrics.splitlines()
               if line.startswith("weir_answers_total")}
    assert counted['weir_answers_total{usage="estimated"}'] >= 2
    assert counted['weir_answers_total{usage="reported"}'] >= len(prompts)


# --------------------------------------------------------------------- out of a cache

@pytest.mark.parametrize("tenant, free", (("hit", True), ("paid-hit", False)))
def test_cache_hit_is_billed_if_the_tier_says_so(lab, tenant, free):
    openai, anthropic = Sdk(lab, f"sk-{tenant}"), Anthropic(lab, f"sk-{tenant}")
    for cache in ("HIT", "MISS"):
        assert openai.call(tokens=5, cache=cache)["ok"]
        assert anthropic.call("message", message_body(5, stream=True, cache=cache))["ok"]
    events = wait_events(lab, 4, tenant)
    assert [e["cache_status"] for e in events] == ["hit", "hit", "miss", "miss"]
    for event in events:
        is_free = free and event["cache_status"] == "hit"
        assert event["billable"] != is_free and event["output_tokens"] == 5
        assert event.get("cache_free", False) == is_free
        assert policy.nano(event["price"]) == (0 if is_free else policy.price(MODEL, 3, 5))
