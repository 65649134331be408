# SPDX-License-Identifier: Apache-2.0
"""Rate cards on real requests: whom they are for, what they price by, what they never reprice."""
import time
from fractions import Fraction

from checks import wait_events
from weirlab import policy, wait_for
from weirlab.raw_http import chat_body, send

CHAT, EMBED, COMPLETIONS = "/v1/chat/completions", "/v1/embeddings", "/v1/completions"
MODEL = "llama-3.3-70b-instruct"
EFFECTIVE = "2026-11-01T00:00:00Z"


def card(name, *models, **fields):
    return {"name": name, "version": "1", "effective_from": EFFECTIVE, "models": list(models),
            **fields}


def per_request(price, **match):
    return {**(match or {"match": "default"}), "price": {"request": price}}


def policies(*cards, tiers=None, tenants=None):
    return policy.document(tiers or {"paid": {"credit": "soft", "overage_limit": "1000"}},
                           tenants or {"acme": ("paid", "sk-acme")}, cards)


def ask(lab, key="sk-acme", path=CHAT, words=3, body=None, **how):
    with lab.connect() as sock:
        answer = send(sock, "POST", path, key, body or chat_body(prompt="w " * words, **how))
        answer.body()
        return answer.status


def usage(lab, n):
    """Data of the usage events, which are n, in order."""
    return wait_events(lab, n)


def apply(lab, document):
    lab.write_policy(document)
    lab.ctl("policy", "apply")


def test_the_card_of_the_tenant_comes_before_tier_service_and_all(lab):
    cards = [card("all", per_request("1")), card("svc", per_request("2"), services=["llm"]),
             card("pro", per_request("3"), tiers=["pro"]),
             card("vip", per_request("4"), tenants=["acme"])]
    tenants = {"acme": ("pro", "sk-acme"), "globex": ("pro", "sk-globex"),
               "initech": ("paid", "sk-initech")}
    tiers = {"paid": {"credit": "none"}, "pro": {"credit": "none"}}
    lab.start_agent(policies(*cards, tiers=tiers, tenants=tenants))
    for key in ("sk-acme", "sk-globex", "sk-initech"):
        assert ask(lab, key, tokens=5) == 200
    by_tenant = {e["tenant"]: e for e in usage(lab, 3)}
    assert {t: (e["price"], e["rate_card"]["name"]) for t, e in by_tenant.items()} == {
        "acme": ("4", "vip"), "globex": ("3", "pro"), "initech": ("2", "svc")}
    listed = {c["name"]: c for c in lab.ctl("price", "list")}
    assert listed["vip"]["scope"] == "tenant" and listed["vip"]["for"] == ["acme"]
    assert {c["state"] for c in listed.values()} == {"in_force"}
    assert lab.ctl("ledger", "verify")["ok"]


def test_a_new_version_never_reprices_the_past(lab):
    old = card("list", per_request("1"))
    lab.start_agent(policies(old))
    assert ask(lab, tokens=5) == 200
    assert usage(lab, 1)[0]["price"] == "1"
    now = time.time()
    begins = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 2))
    new = {**card("list", per_request("2")), "version": "2", "effective_from": begins}
    apply(lab, policies(old, new))
    states = {c["version"]: c["state"] for c in lab.ctl("price", "list")}
    assert states["1"] in ("in_force", "replaced") and set(states) == {"1", "2"}
    wait_for(lambda: time.time() > now + 3, "the new version to begin")
    assert ask(lab, tokens=5) == 200
    assert [e["price"] for e in usage(lab, 2)] == ["1", "2"]
    # Gone from the files, kept for ever: the past is still recomputed by it.
    apply(lab, policies(new))
    states = {c["version"]: c["state"] for c in lab.ctl("price", "list")}
    assert states == {"1": "not_in_files", "2": "in_force"}
    assert lab.ctl("price", "show", "list/1")["models"] == old["models"]
    proof = lab.ctl("ledger", "verify")
    assert proof["ok"] and proof["repriced"] == 2


def test_a_card_that_was_used_cannot_be_changed(lab):
    lab.start_agent(policies(card("list", per_request("1"))))
    lab.write_policy(policies(card("list", per_request("2"))))
    refused = lab.weirctl("policy", "apply", check=False)
    assert refused.returncode == 1 and "list" in refused.stderr
    assert ask(lab, tokens=5) == 200
    assert usage(lab, 1)[0]["price"] == "1"


def test_credits_by_action_and_a_value_metric(lab):
    """simple 1, complex 5 credits; a report is a unit, whatever its tokens."""
    lab.start_agent(policies(card(
        "list",
        per_request("1", match="llama*"),
        per_request("5", path="/v1/embeddings"),
        {"path": "/v1/completions", "status": "2xx", "unit": "clinical-report",
         "price": {"request": "12.5"}})))
    assert ask(lab, tokens=7) == 200
    assert ask(lab, path=EMBED, body={"model": "bge-m3", "input": "a b c"}) == 200
    assert ask(lab, path=COMPLETIONS, body={"model": MODEL, "prompt": "a", "max_tokens": 40}) == 200
    # The server takes it for the same path, and so does the price.
    assert ask(lab, path="/v1/%63ompletions",
               body={"model": MODEL, "prompt": "a", "max_tokens": 40}) == 200
    prices = [(e["price"], e["rate_card"]["entry"]) for e in usage(lab, 4)]
    assert prices == [("1", 0), ("5", 1), ("12.5", 2), ("12.5", 2)]
    shown = lab.weirctl("price", "show", "list").stdout
    order = [shown.index(word) for word in ("/v1/completions", "/v1/embeddings", "match=llama*")]
    assert len(set(order)) == 3 and max(order) == order[2]  # paths are tried first
    assert "clinical-report" in shown


GRADUATED = card("list", {
    "match": "llama*",
    "price": {"output": {"steps": [{"up_to": 100, "price": "0.005"}, {"up_to": 250,
                                                                      "price": "0.004"},
                                   {"price": "0.001"}], "mode": "graduated"}, "per": 1}})


def graduated(position, n):
    """What n tokens from a position on cost, by the card above."""
    total = Fraction(0)
    for i in range(position, position + n):
        total += Fraction("0.005") if i < 100 else Fraction("0.004") if i < 250 else \
            Fraction("0.001")
    return policy.credits(int(total * policy.NANO))


def test_graduated_prices_count_over_many_requests(lab):
    lab.start_agent(policies(GRADUATED))
    for i in range(5):
        estimate = lab.ctl("price", "estimate", "--model", MODEL, "--output", "60",
                           "--tenant", "acme")
        assert estimate["lines"][0]["position"] == 60 * i
        assert ask(lab, tokens=60) == 200
        assert usage(lab, i + 1)[-1]["price"] == estimate["price"]
    assert [e["price"] for e in usage(lab, 5)] == [graduated(60 * i, 60) for i in range(5)]
    # Of nobody, from the first step on.
    free = lab.ctl("price", "estimate", "--model", MODEL, "--output", "150")
    assert free["price"] == graduated(0, 150)
    assert lab.ctl("ledger", "verify")["ok"]


COMPOUND = card("list", {
    "match": "llama*",
    "price": {"input": "0.5", "cache_read": "0.25", "output": "1.5", "request": "0.01",
              "per": 1000},
    "cost": {"input": "0.1", "output": "0.4", "per": 1000}, "multiplier": "1.5",
    "bands": [{"up_to": 100, "multiplier": "1"}, {"up_to": 1000, "multiplier": "1.8"},
              {"multiplier": "3.2"}]}, discounts={"paid": "0.1"}, currency="USD",
    credit_price="0.01")


def test_an_estimate_is_what_the_request_then_costs(lab):
    lab.start_agent(policies(COMPOUND))
    for i, (prompt, cached, tokens) in enumerate(((50, 0, 10), (500, 200, 33), (2000, 0, 1))):
        estimate = lab.ctl("price", "estimate", "--model", MODEL, "--tenant", "acme", "--input",
                           str(prompt - cached), "--cache-read", str(cached), "--output",
                           str(tokens))
        assert ask(lab, tokens=tokens, words=prompt, cached=cached) == 200
        done = usage(lab, i + 1)[-1]
        assert (done["input_tokens"], done["output_tokens"]) == (prompt - cached, tokens)
        assert (done["price"], done["cost"]) == (estimate["price"], estimate["cost"])
        assert done["rate_card"]["version"] == estimate["rate_card"]["version"]
        band = Fraction("1.8") if 100 < prompt <= 1000 else Fraction("3.2") if prompt > 1000 else 1
        exact = (Fraction("0.0005") * (prompt - cached) + Fraction("0.00025") * cached +
                 Fraction("0.0015") * tokens + Fraction("0.01")) * Fraction("1.35") * band
        assert done["price"] == policy.credits(policy.half_even(exact * policy.NANO))
        assert Fraction(estimate["in_currency"]["price"]) == Fraction(done["price"]) / 100


def test_an_unknown_model_is_alarmed_until_a_card_prices_it(lab):
    bge = card("list", per_request("1", match="bge*"))
    lab.start_agent(policies(bge))
    assert ask(lab, tokens=5) == 200
    done = usage(lab, 1)[0]
    assert done["unpriced"] and done["price"] == "0"
    [row] = lab.ctl("price", "unpriced")
    assert (row["kind"], row["model"], row["service"], row["count"]) == ("model", MODEL, "llm", 1)

    def warned():
        return any("unpriced" in w and MODEL in w for w in lab.ctl("status")["warnings"])
    wait_for(warned, "the warning")
    assert f'weir_unpriced_total{{what="{MODEL}",service="llm"}} 1' in lab.http("/metrics")[1]
    assert f"unpriced: {MODEL}" in lab.log("agent").read_text()
    estimate = lab.weirctl("price", "estimate", "--model", MODEL, check=False)
    assert estimate.returncode == 1 and "unpriced" in estimate.stderr
    apply(lab, policies(bge, {**card("list", per_request("1")), "version": "2",
                              "effective_from": "2026-11-02T00:00:00Z"}))
    assert lab.ctl("price", "unpriced") == []
    wait_for(lambda: not warned(), "the warning to go")
    assert ask(lab, tokens=5) == 200
    assert [e["price"] for e in usage(lab, 2)] == ["0", "1"]  # the past stays as it was


METERS = card(
    "list", per_request("1"),
    {"meter": "storage_gb", "price": {"unit": "0.02"}, "cost": {"unit": "0.005"}},
    {"meter": "gpu_seconds", "match": "h100*", "price": {"unit": "0.5"}},
    {"meter": "documents", "price": {"unit": {"steps": [{"up_to": 10, "price": "1"},
                                                        {"price": "0.5"}],
                                              "mode": "graduated"}}})


def test_meters_are_priced_by_the_same_cards(lab):
    lab.start_agent(policies(METERS))
    lab.ctl("credit", "grant", "acme", "100")
    one = lab.ctl("meter", "add", "acme", "storage_gb", "12.5", "--id", "s1", "--feature", "rag")
    assert (one["price"], one["cost"], one["balance"]) == ("0.25", "0.0625", "99.75")
    assert one["rate_card"]["key"] == "meter=storage_gb"
    again = lab.ctl("meter", "add", "acme", "storage_gb", "12.5", "--id", "s1", "--feature", "rag")
    assert again["repeated"] and again["seq"] == one["seq"]
    other = lab.weirctl("meter", "add", "acme", "storage_gb", "13", "--id", "s1", check=False)
    assert other.returncode == 1 and "s1" in other.stderr
    gpu = lab.ctl("meter", "add", "acme", "gpu_seconds", "0.000000003", "--model", "h100-80")
    assert gpu["price"] == "0.000000002"  # 1.5 nano-credits, half to even
    assert [lab.ctl("meter", "add", "acme", "documents", "8")["price"] for _ in range(2)] == [
        "8", "5"]  # 2 at 1, 6 at 0.5
    free = lab.ctl("meter", "add", "acme", "gpu_seconds", "3", "--model", "a100")
    assert free["unpriced"] and free["price"] == "0" and free["rate_card"] is None
    assert [(u["kind"], u["meter"]) for u in lab.ctl("price", "unpriced")] == [
        ("meter", "gpu_seconds")]
    assert policy.nano(lab.ctl("credit", "balance", "acme")["balance"]) == policy.nano(
        "86.749999998")
    assert lab.ctl("ledger", "verify")["ok"]


def test_a_meter_that_makes_no_sense_is_refused_and_nothing_written(lab):
    lab.start_agent(policies(METERS))
    for words, told in ((("acme", "storage_gb", "0"), "0"), (("acme", "storage_gb", "-1"), "-1"),
                        (("acme", "storage_gb", "1e3"), "decimal"),
                        (("acme", "storage_gb", "NaN"), "decimal"),
                        (("acme", "storage_gb", "0.0000000001"), "nine"),
                        (("acme", "storage_gb", "99999999999"), "9223372036"),
                        (("acme", "Storage GB", "1"), "dimension"),
                        (("acmee", "storage_gb", "1"), "acme"),
                        (("acme", "storage_gb", "1", "--at", "2099-01-01"), "future"),
                        (("acme", "storage_gb", "1", "--model", "m" * 64), "model")):
        done = lab.weirctl("meter", "add", *words, check=False)
        assert done.returncode == 1 and told in done.stderr, (words, done.stderr)
    assert lab.ctl_lines("ledger", "acme") == []


def test_an_imported_card_prices_requests(lab, tmp_path):
    prices = tmp_path / "prices.json"
    prices.write_text('{"%s": {"mode": "chat", "litellm_provider": "vllm", "input_cost_per_token": '
                      '1.5e-07, "output_cost_per_token": 6.0e-07, "output_cost_per_image": 0.1}}'
                      % MODEL)
    lab.start_agent(policies(card("other", per_request("7"), services=["none"])))
    folder = lab.dir / "policies"
    done = lab.ctl("price", "import", str(prices), "-o", str(folder / "20-imported.json"),
                   "--effective-from", EFFECTIVE, "--version", "llm-1", "--markup", "0.5",
                   "--credit-price", "0.001")
    assert done["entries"] == 1 and [n["field"] for n in done["skipped"]] == [
        "output_cost_per_image"]
    assert lab.weirctl("policy", "check", str(folder)).returncode == 0
    lab.ctl("policy", "apply")
    assert ask(lab, tokens=10, words=7) == 200
    done = usage(lab, 1)[0]
    cost = (Fraction("1.5e-7") * 7 + Fraction("6e-7") * 10) / Fraction("0.001")
    assert policy.nano(done["cost"]) == cost * policy.NANO
    assert policy.nano(done["price"]) == cost * Fraction("1.5") * policy.NANO
    # It stands beside what is there, never on it.
    over = lab.weirctl("price", "import", str(prices), "-o", str(folder / "20-imported.json"),
                       check=False)
    assert over.returncode == 1 and "exists" in over.stderr


def test_a_session_is_paid_once_if_its_id_is_to_be_believed(lab):
    """A flat price for an agent's many calls; the names that a client gives itself save nothing."""
    sessions = card("list", {"match": "llama*", "price": {"session": "10", "request": "0.5"},
                             "cost": {"request": "1"}})
    lab.start_agent(policies(sessions), trusted_sources=["10.77.0.1/32"])
    first = lab.ctl("price", "estimate", "--model", MODEL, "--session-begins")
    later = lab.ctl("price", "estimate", "--model", MODEL)
    assert (first["price"], later["price"]) == ("10.5", "0.5")

    def call(session, family=4):
        with lab.connect(family) as sock:
            send(sock, "POST", CHAT, "sk-acme", chat_body(5),
                 extra=(f"x-weir-session: {session}", "x-weir-feature: triage")).body()
    for i, (session, family) in enumerate((("a", 4), ("a", 4), ("b", 4), ("a", 4), ("a", 6),
                                           ("a", 6))):
        call(session, family)
        wait_events(lab, i + 1)  # one after the other: which is the first is no accident
    assert [e["price"] for e in usage(lab, 6)] == ["10.5", "0.5", "10.5", "0.5", "10.5", "10.5"]
    rows = {r["key"]: r for r in lab.ctl("margin", "--by", "session")["rows"]}
    assert (rows["a"]["price"], rows["a"]["margin_percent"]) == ("32.5", "84.62")
    assert lab.ctl("margin", "--by", "feature")["rows"][0]["key"] == "triage"
    assert lab.ctl("ledger", "verify")["ok"]
