# SPDX-License-Identifier: Apache-2.0
"""What is left of the price: per tenant, model, feature, session and day, and when it is too
little."""
from checks import wait_events
from test_pricing import EMBED, MODEL, ask, card, policies
from weirlab import wait_for

# A credit costs us 0.003 and sells at 0.01: one call is one credit. An embedding takes the
# compute of five and is sold for one.
CREDIT = card(
    "list",
    {"match": "llama*", "price": {"request": "1"}, "cost": {"request": "0.003"}},
    {"path": EMBED, "price": {"request": "1"}, "cost": {"request": "0.015"}},
    {"meter": "storage_gb", "price": {"unit": "0.2"}, "cost": {"unit": "0.001"}},
    currency="USD", credit_price="0.01", cost_unit="currency", margin_floor="0.3")


def margin(lab, *args):
    result = lab.ctl("margin", *args)
    return {row["key"]: row for row in result["rows"]}, result["total"]


def embed(lab, key="sk-acme"):
    return ask(lab, key, path=EMBED, body={"model": "bge-m3", "input": "a b c"})


def test_a_credit_that_costs_a_third_of_its_price_has_a_margin_of_70_percent(lab):
    lab.start_agent(policies(CREDIT, tenants={"acme": ("paid", "sk-acme"),
                                              "globex": ("paid", "sk-globex")}))
    assert [ask(lab, tokens=9) for _ in range(2)] == [200, 200]
    assert embed(lab, "sk-globex") == 200
    wait_events(lab, 3)
    rows, total = margin(lab)
    acme, globex = rows["acme"], rows["globex"]
    assert (acme["requests"], acme["price"], acme["cost"]) == (2, "2", "0.6")
    assert (acme["margin"], acme["margin_percent"]) == ("1.4", "70")
    assert acme["currencies"] == [{"currency": "USD", "price": "0.02", "refunds": "0",
                                   "cost": "0.006", "margin": "0.014"}]
    # Five credits' compute in one call.
    assert (globex["price"], globex["cost"], globex["margin_percent"]) == ("1", "1.5", "-50")
    assert (total["price"], total["cost"], total["margin_percent"]) == ("3", "2.1", "30")
    models, _ = margin(lab, "--by", "model")
    assert {m: r["margin_percent"] for m, r in models.items()} == {MODEL: "70", "bge-m3": "-50"}
    only, _ = margin(lab, "globex", "--by", "model")
    assert set(only) == {"bge-m3"}
    table = lab.weirctl("margin").stdout
    assert "-50" in table and "0.014 USD" in table


def test_refunds_meters_features_and_days_are_in_the_margin(lab):
    lab.start_agent(policies(CREDIT))
    lab.ctl("credit", "grant", "acme", "10")
    assert ask(lab, tokens=9) == 200
    event = wait_events(lab, 1)[0]
    lab.ctl("credit", "refund", event["request_id"], "--amount", "0.5", "--reason", "test")
    for feature, session, at in (("rag", "s-1", "2026-11-03T10:00:00Z"),
                                 ("rag", "s-2", "2026-11-03T23:59:59Z"),
                                 ("chat", "s-1", "2026-11-04T00:00:00Z")):
        lab.ctl("meter", "add", "acme", "storage_gb", "5", "--feature", feature, "--session",
                session, "--at", at)
    everything = "--since", "2026-11-01"
    rows, _ = margin(lab, *everything)
    acme = rows["acme"]
    assert (acme["requests"], acme["meters"], acme["price"], acme["refunds"]) == (1, 3, "4", "0.5")
    assert (acme["cost"], acme["margin"]) == ("1.8", "1.7")
    assert acme["margin_percent"] == "48.57"  # of 3.5
    features, _ = margin(lab, "--by", "feature", *everything)
    assert {k: r["price"] for k, r in features.items()} == {"": "1", "rag": "2", "chat": "1"}
    sessions, _ = margin(lab, "--by", "session", *everything)
    assert {k: r["meters"] for k, r in sessions.items()} == {"": 0, "s-1": 2, "s-2": 1}
    models, _ = margin(lab, "--by", "model", *everything)
    assert models["meter:storage_gb"]["margin_percent"] == "50"
    assert (models[MODEL]["refunds"], models[MODEL]["margin"]) == ("0.5", "0.2")
    days, _ = margin(lab, "--by", "day", *everything)
    assert (days["2026-11-03"]["price"], days["2026-11-04"]["price"]) == ("2", "1")
    # Judged by when it was used, whenever it was entered.
    window, total = margin(lab, "--by", "day", "--since", "2026-11-03", "--until", "2026-11-04")
    assert set(window) == {"2026-11-03"} and total["price"] == "2"
    assert margin(lab, "--since", "2026-11-05", "--until", "2026-11-06")[0] == {}


def test_a_margin_below_its_floor_is_alarmed(lab):
    lab.start_agent(policies(CREDIT))
    assert ask(lab, tokens=9) == 200
    wait_events(lab, 1)
    series = 'weir_tenant_margin_below_floor{card="list",tenant="acme"} '

    def metrics():
        return lab.http("/metrics")[1]

    def warnings():
        return [w for w in lab.ctl("status")["warnings"] if w.startswith("margin")]
    wait_for(lambda: series + "0" in metrics(), "the watch to see the request")
    assert warnings() == []
    assert embed(lab) == 200 and embed(lab) == 200
    wait_events(lab, 3)
    # 3 credits for 3.3 of cost; the llama entry alone is well.
    wait_for(lambda: series + "1" in metrics(), "the alarm")
    told = wait_for(warnings, "the warning")
    assert "acme is at -10 % this month by card list, below its floor of 30 %" in " ".join(told)
    assert any("path=/v1/embeddings" in w and "-50 %" in w for w in told)
    assert not any("llama" in w for w in told)
    assert 'weir_tenant_month_cost_credits{card="list",tenant="acme"} 3.3' in metrics()
    assert "margin: acme is at" in lab.log("agent").read_text()
    # What was used before is known again after a restart.
    assert lab.stop_agent() == 0
    lab.start_agent()
    wait_for(warnings, "the warning after a restart")
