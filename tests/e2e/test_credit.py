# SPDX-License-Identifier: Apache-2.0
"""Prepaid credit: never spent twice, refused in words the SDK knows."""
from checks import wait_events
from weirlab import policy, wait_for
from weirlab.clients import Sdk
from weirlab.raw_http import chat_body, send

PREPAID = policy.document({"paid": {"credit": "hard", "reserve_output_tokens": 10}},
                          {"acme": ("paid", "sk-acme")})
TOKENS = 100
PRICE = policy.price("llama-3.3-70b-instruct", 3, TOKENS)


def balance(lab):
    return lab.ctl("credit", "balance", "acme")


def quiet(lab):
    """Balance once every request is settled."""
    return wait_for(lambda: (b := balance(lab))["reserved"] == "0" and b, "settlement")


def test_simultaneous_requests_cannot_spend_the_same_credit(lab):
    lab.start_agent(PREPAID)
    lab.ctl("credit", "grant", "acme", "0.5", "--reason", "test")
    body = chat_body(TOKENS, stream=True, include_usage=True, hold=1)
    socks, statuses = [], []
    for _ in range(30):  # all of them stay open
        socks.append(sock := lab.connect())
        answer = send(sock, "POST", "/v1/chat/completions", "sk-acme", body)
        statuses.append((answer, answer.status))
    admitted = [a for a, status in statuses if status == 200]
    reserved = policy.nano(balance(lab)["reserved"])
    each = reserved // len(admitted)
    assert 0 < each < PRICE and reserved == each * len(admitted)
    assert len(admitted) == policy.nano("0.5") // each
    lab.admin("release")
    for answer in admitted:
        answer.body()
    wait_events(lab, len(admitted))
    after = quiet(lab)
    spent = len(admitted) * PRICE
    assert policy.nano(after["balance"]) == policy.nano("0.5") - spent
    assert policy.nano(after["debt"]) == spent - policy.nano("0.5")
    assert spent - policy.nano("0.5") <= len(admitted) * (PRICE - each)  # the promised bound
    for sock in socks:
        sock.close()


def test_exhausted_credit_is_a_quota_error_that_is_not_retried(lab):
    lab.start_agent(PREPAID)
    sdk = Sdk(lab, "sk-acme")
    refused = sdk.call(tokens=TOKENS, retries=2)
    error = refused["error"]
    assert refused["attempts"] == [429]  # x-should-retry: false is obeyed
    assert (error["name"], error["code"], error["type"]) == (
        "RateLimitError", "insufficient_quota", "insufficient_quota")
    assert error["headers"]["x-should-retry"] == "false"
    lab.ctl("credit", "grant", "acme", "1")
    assert sdk.call(tokens=TOKENS)["ok"]
    wait_events(lab, 1)
    assert policy.nano(quiet(lab)["balance"]) == policy.NANO - PRICE


def test_credit_runs_out_and_a_grant_repays_the_debt_first(lab):
    lab.start_agent(PREPAID)
    lab.ctl("credit", "grant", "acme", "0.4")
    sdk = Sdk(lab, "sk-acme")
    done = 0
    while sdk.call(tokens=TOKENS)["ok"]:
        done += 1
        wait_events(lab, done)
        wait_for(lambda: balance(lab)["reserved"] == "0", "settlement")
        assert done < 10
    after = balance(lab)
    assert policy.nano(after["balance"]) == policy.nano("0.4") - done * PRICE
    lab.ctl("credit", "grant", "acme", "1")
    assert policy.nano(balance(lab)["balance"]) == policy.nano("1.4") - done * PRICE
    assert balance(lab)["debt"] == "0"
    assert sdk.call(tokens=TOKENS)["ok"]


def test_a_grant_with_the_same_id_is_given_once(lab):
    lab.start_agent(PREPAID)
    for _ in range(3):
        lab.ctl("credit", "grant", "acme", "2", "--id", "order-1")
    assert balance(lab)["balance"] == "2"
    conflict = lab.weirctl("credit", "grant", "acme", "3", "--id", "order-1", check=False)
    assert conflict.returncode == 1 and "order-1" in conflict.stderr
    assert balance(lab)["balance"] == "2"


def test_balance_survives_a_restart(lab):
    lab.start_agent(PREPAID)
    lab.ctl("credit", "grant", "acme", "1")
    with lab.connect() as sock:
        send(sock, "POST", "/v1/chat/completions", "sk-acme", chat_body(TOKENS)).body()
    wait_events(lab, 1)
    before = quiet(lab)
    assert lab.stop_agent() == 0
    lab.start_agent()
    assert quiet(lab) == before
    assert policy.nano(before["balance"]) == policy.NANO - PRICE
