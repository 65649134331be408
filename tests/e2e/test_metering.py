# SPDX-License-Identifier: Apache-2.0
"""Every answer becomes one event, with the counts the server itself gave, priced
to the last nano-credit."""
import pytest
from checks import assert_metered, events_of, totals, wait_events
from weirlab import policy, wait_for
from weirlab.clients import Sdk, usage_events
from weirlab.raw_http import chat_body, send, shut

OPEN = policy.document({"open": {}}, {"acme": ("open", "sk-acme"), "other": ("open", "sk-other")})
PREPAID = policy.document({"paid": {"credit": "hard", "reserve_output_tokens": 16}},
                          {"acme": ("paid", "sk-acme")})


def words(n):
    return " ".join(["word"] * n)


def test_plain_and_streamed_completions_are_metered_exactly(lab_nats):
    lab = lab_nats
    lab.start_agent(OPEN)
    sdk = Sdk(lab, "sk-acme")
    for prompt, tokens, stream in ((1, 1, False), (7, 5, True), (300, 64, False), (41, 33, True)):
        done = sdk.call(prompt=words(prompt), tokens=tokens, stream=stream, include_usage=True)
        assert done["ok"] and done["usage"]["prompt_tokens"] == prompt
    for stream in (False, True):
        params = {"model": "llama-3.3-70b-instruct", "prompt": words(9), "max_tokens": 6,
                  "stream": stream}
        if stream:
            params["stream_options"] = {"include_usage": True}
        assert sdk.call("completion", params)["ok"]
    assert sdk.call("embedding", {"model": "bge-m3", "input": [words(5), words(8)]})["ok"]

    served = lab.served("sk-acme")
    assert len(served) == 7
    events = wait_events(lab, 7)
    assert_metered(events, served)
    assert all(e["usage_source"] == "reported" and e["billable"] for e in events)
    # What NATS holds is the same, and each message is named by its event's id.
    wait_for(lambda: lab.ctl("status")["nats"]["backlog"] == 0, "the backlog to drain")
    stream = lab.stream()
    assert_metered(usage_events(stream, "acme"), served)
    assert all(m["msg_id"] == m["event"]["id"] for m in stream)
    assert {m["subject"] for m in stream} == {"meter.v1.acme.lab"}


def test_event_is_a_cloudevent(lab_nats):
    lab = lab_nats
    lab.start_agent(OPEN)
    with lab.connect() as sock:
        answer = send(sock, "POST", "/v1/chat/completions", "sk-acme", chat_body(3)).json()
    wait_events(lab, 1)
    wait_for(lambda: lab.ctl("status")["nats"]["backlog"] == 0, "the backlog to drain")
    (message,) = lab.stream()
    event = message["event"]
    assert event["specversion"] == "1.0" and event["type"] == "weir.usage.v1"
    assert event["subject"] == "acme" and event["source"].startswith("/weir/")
    assert event["source"].endswith("/lab")
    data = event["data"]
    assert data["response_id"] == answer["id"] and data["tenant"] == "acme"
    assert data["model"] == "llama-3.3-70b-instruct" and data["status"] == 200
    assert data["finish_reason"] == "length" and data["service"] == "llm"
    assert data["started_at"] <= event["time"]
    assert isinstance(data["price"], str) and data["rate_card"]


def test_cached_tokens_have_their_own_count_and_price(lab):
    lab.start_agent(OPEN)
    sdk = Sdk(lab, "sk-acme")
    sdk.call(prompt=words(50), tokens=4, cached=32)
    sdk.call(prompt=words(50), tokens=4, cached=48, stream=True, include_usage=True)
    events = wait_events(lab, 2)
    assert [e["cache_read_tokens"] for e in events] == [32, 48]
    assert [e["input_tokens"] for e in events] == [18, 2]
    assert_metered(events, lab.served("sk-acme"))


def test_stream_without_usage_is_counted_and_marked_estimated(lab):
    lab.start_agent(OPEN)
    Sdk(lab, "sk-acme").call(tokens=25, stream=True)
    (event,) = wait_events(lab, 1)
    assert event["usage_source"] == "estimated"
    assert event["output_tokens"] == 25  # one token a chunk


def test_aborted_stream_is_billed_for_what_was_seen(lab):
    lab.start_agent(OPEN)
    sdk = Sdk(lab, "sk-acme")
    call = sdk.start(tokens=50, stream=True, include_usage=True, hold=1)
    assert call.first.result(10)
    sdk.abort(call)
    call.result()
    (event,) = wait_events(lab, 1)
    (served,) = wait_for(lambda: lab.served("sk-acme", "aborted"), "the server to notice")
    assert event["usage_source"] == "partial"
    assert event["output_tokens"] == served["completion"] == 1


def test_killed_client_releases_and_is_metered(lab):
    lab.start_agent(OPEN)
    sock = lab.connect()
    answer = send(sock, "POST", "/v1/chat/completions", "sk-acme",
                  chat_body(9, stream=True, hold=1))
    for piece in answer.chunks():
        if b"tok0" in piece:
            break
    assert lab.ctl("tenant", "show", "acme")["live"]["inflight"] == 1
    shut(sock)
    wait_for(lambda: lab.ctl("tenant", "show", "acme")["live"]["inflight"] == 0, "the slot")
    (event,) = wait_events(lab, 1)
    assert event["usage_source"] == "partial"


def test_refusal_by_the_server_itself_is_an_event_without_price(lab):
    lab.start_agent(PREPAID)
    lab.ctl("credit", "grant", "acme", "5")
    with lab.connect() as sock:
        assert send(sock, "POST", "/v1/chat/completions", "sk-acme", {"model": "x"}).status == 400
    (event,) = wait_events(lab, 1)
    assert event["status"] == 400 and not event["billable"] and event["price"] == "0"
    balance = lab.ctl("credit", "balance", "acme")
    assert balance["balance"] == "5" and balance["reserved"] == "0"


def test_keep_alive_requests_are_told_apart(lab):
    lab.start_agent(OPEN)
    with lab.connect() as sock:
        for n in range(1, 21):
            key = "sk-acme" if n % 2 else "sk-other"
            send(sock, "POST", "/v1/chat/completions", key,
                 chat_body(n, stream=n % 3 == 0, include_usage=True)).body()
    events = wait_events(lab, 20)
    assert_metered([e for e in events if e["tenant"] == "acme"], lab.served("sk-acme"))
    assert_metered([e for e in events if e["tenant"] == "other"], lab.served("sk-other"))


@pytest.mark.parametrize("family", (4, 6))
@pytest.mark.parametrize("xdp", ("native", "off"))
def test_ledger_events_usage_and_balance_agree_to_the_nano(lab, family, xdp):
    lab.start_agent(PREPAID, xdp=xdp)
    lab.ctl("credit", "grant", "acme", "10")
    sdk = Sdk(lab, "sk-acme", family)
    calls = [sdk.start(tokens=n, prompt=words(3 * n), stream=n % 2 == 0, include_usage=True)
             for n in range(1, 31)]
    calls += [sdk.start("embedding", {"model": "bge-m3", "input": words(n)}) for n in range(1, 11)]
    assert all(c.result()["ok"] for c in calls)
    served = lab.served("sk-acme")
    assert len(served) == 40
    events = wait_events(lab, 40)
    assert_metered(events, served)

    spent = sum(policy.price(r["model"], r["prompt"], r["completion"]) for r in served)
    assert totals(events)["price"] == spent
    (usage,) = lab.ctl("usage", "acme")
    assert usage["requests"] == 40 and usage["refused"] == 0
    assert usage["input_tokens"] == sum(r["prompt"] for r in served)
    assert usage["output_tokens"] == sum(r["completion"] for r in served)
    assert policy.nano(usage["price"]) == spent
    balance = lab.ctl("credit", "balance", "acme")
    assert policy.nano(balance["balance"]) == 10 * policy.NANO - spent
    assert balance["reserved"] == "0" and balance["debt"] == "0"
    entries = lab.ctl_lines("ledger", "acme")
    assert sum(policy.nano(e["amount"]) for e in entries) == policy.nano(balance["balance"])
    assert lab.weirctl("ledger", "verify").returncode == 0
    live = lab.ctl("tenant", "show", "acme")["live"]
    assert live["inflight"] == 0 and policy.nano(live["reserved"]) == 0
    assert policy.nano(live["balance"]) == policy.nano(balance["balance"])
    assert events_of(lab, "acme") == events
