# SPDX-License-Identifier: Apache-2.0
"""Worked examples, every number by hand: what a finance team would check on paper."""

import json
import os

from card_model import nano

POLICIES = os.path.join(os.path.dirname(__file__), "..", "..", "policies")


def card(*models, version="v1", since="2025-01-01T00:00:00Z", **fields):
    return {"name": "list", "version": version, "effective_from": since,
            "models": list(models)} | fields


def steps(mode, *pairs, **fields):
    """("0.005", 1000000) … the last without an end."""
    out = [{"price": p[0]} | ({"up_to": p[1]} if len(p) > 1 else {}) for p in pairs]
    return {"mode": mode, "steps": out} | fields


GRADUATED = {"match": "m", "price": {
    "input": steps("graduated", ("0.005", 10**6), ("0.004", 10**7), ("0.003",)), "per": 1000}}
VOLUME = {"match": "m", "price": {
    "input": steps("volume", ("0.005", 10**6), ("0.004",)), "per": 1000}}


# ------------------------------------------------------------------------------ steps


def test_graduated_each_unit_has_the_price_of_its_own_step(ledger):
    """The first 1 M at 0.005 per 1 k, the next 9 M at 0.004."""
    acme = ledger(card(GRADUATED))
    prices = [acme.use(f"2026-01-{d} 12:00", input=n)["price"] for d, n in (
        ("05", 600_000),  # 600 x 0.005
        ("06", 600_000),  # 400 x 0.005 + 200 x 0.004
        ("07", 8_800_000),  # 8800 x 0.004, to 10 M exactly
        ("08", 1_000))]  # behind the last step
    assert prices == [nano("3"), nano("2.8"), nano("35.2"), nano("0.003")]
    assert acme.balance() == -nano("41.003")
    assert acme.use("2026-02-01 00:00", input=1_000)["price"] == nano("0.005")  # a new month


def test_one_request_over_all_steps(ledger):
    acme = ledger(card(GRADUATED))
    # 1 M x 0.005 + 9 M x 0.004 + 2 M x 0.003, per 1 k
    assert acme.use("2026-01-05 12:00", input=12_000_000)["price"] == nano("47")


def test_volume_is_settled_when_the_month_closes(ledger):
    acme = ledger(card(VOLUME))
    assert acme.use("2026-01-05 12:00", input=600_000)["price"] == nano("3")  # 600 x 0.005
    assert acme.use("2026-01-06 12:00", input=600_000)["price"] == nano("2.4")  # 600 x 0.004
    assert acme.advance("2026-02-01 00:59") == []
    (entry,) = acme.advance("2026-02-01 01:00")
    # all 1200 at 0.004 is 4.8, charged were 5.4
    assert (entry["kind"], entry["price"], entry["amount"]) == (
        "true_up", -nano("0.6"), nano("0.6"))
    assert acme.balance() == -nano("4.8")


def test_volume_that_went_up_is_charged(ledger):
    dearer = {"match": "m", "price": {"input": steps("volume", ("0.004", 10**6), ("0.005",)),
                                      "per": 1000}}
    acme = ledger(card(dearer))
    acme.grant("10", "2026-01-01 00:00")
    acme.use("2026-01-05 12:00", input=600_000)  # 2.4
    acme.use("2026-01-06 12:00", input=600_000)  # 3
    (entry,) = acme.advance("2026-02-01 01:00")
    assert (entry["price"], entry["amount"]) == (nano("0.6"), -nano("0.6"))
    assert acme.balance() == nano("4")  # 1200 x 0.005 is 6


def test_late_events_count_in_their_own_month(ledger):
    acme = ledger(card(GRADUATED))
    acme.use("2026-01-31 12:00", input=999_000)
    acme.use("2026-02-01 12:00", input=5_000)
    late = acme.use("2026-01-31 23:59", entered="2026-02-02 00:00", input=2_000)
    assert late["positions"] == {"input": 999_000}
    assert late["price"] == nano("0.009")  # 1 x 0.005 + 1 x 0.004
    assert acme.use("2026-02-03 12:00", input=1_000)["positions"] == {"input": 5_000}


def test_what_is_late_for_the_true_up_is_not_trued_up(ledger):
    acme = ledger(card(VOLUME))
    acme.use("2026-01-31 12:00", input=1_000_000)  # 5
    late = acme.use("2026-01-31 23:59", entered="2026-02-02 00:00", input=1_000)
    assert late["price"] == nano("0.004")
    assert [e["kind"] for e in acme.advance("2026-03-02 00:00")] == []


def test_a_pool_is_counted_together_and_settled_apart(ledger):
    pooled = {"match": "m", "price": {
        "input": steps("volume", ("0.005", 10**6), ("0.004",), pool="both"), "per": 1000}}
    both = ledger(card(pooled))
    both.use("2026-01-05 12:00", input=800_000)  # 4
    other = both.use("2026-01-06 12:00", tenant="other", input=400_000)
    assert (other["positions"], other["price"]) == ({"input": 800_000}, nano("1.6"))
    entries = both.advance("2026-02-01 01:00")
    # acme: 800 x 0.004 - 4; the other has paid 0.004 already: settled at nothing
    assert [(e["tenant"], e["amount"]) for e in entries] == [(1, nano("0.8")), (3, 0)]


# ----------------------------------------------------------------------------- versions


def test_a_new_version_never_reprices_the_past_and_counters_go_on(ledger):
    dearer = {"match": "m", "price": {
        "input": steps("graduated", ("0.05", 10**6), ("0.04",)), "per": 1000}}
    acme = ledger(card(GRADUATED), card(dearer, version="v2", since="2026-01-15T00:00:00Z"))
    first = acme.use("2026-01-14 12:00", input=999_000)
    late = acme.use("2026-01-14 23:59", entered="2026-01-16 12:00", input=500)
    new = acme.use("2026-01-16 12:00", input=1_000)
    assert (first["price"], first["card"]) == (nano("4.995"), ["list", "v1", 0])
    assert (late["price"], late["card"]) == (nano("0.0025"), ["list", "v1", 0])
    assert (new["price"], new["card"]) == (nano("0.045"), ["list", "v2", 0])  # 500 + 500
    assert new["positions"] == {"input": 999_500}


def test_the_nearest_scope_prices(ledger):
    flat = [{"match": "m", "price": {"request": p}} for p in ("1", "2", "3", "4")]
    cards = [card(flat[0]), card(flat[1], services=["llm"]) | {"name": "s"},
             card(flat[2], tiers=["pro"]) | {"name": "p"},
             card(flat[3], tenants=["acme"]) | {"name": "a"}]
    by_all = ledger(cards[0])
    assert by_all.use("2026-01-05 12:00")["price"] == nano("1")
    everyone = ledger(*cards)
    assert everyone.use("2026-01-05 12:00", tier="pro")["price"] == nano("4")
    assert everyone.use("2026-01-05 12:00", tenant="other", tier="pro")["price"] == nano("3")
    assert everyone.use("2026-01-05 12:00", tenant="other")["price"] == nano("2")


# ------------------------------------------------------------------------- what is sold

COMPOUND = {
    "match": "m",
    "price": {"input": "0.5", "cache_read": "0.25", "output": "1.5", "request": "0.01",
              "per": 1000},
    "bands": [{"up_to": 8192, "multiplier": "1"}, {"up_to": 32768, "multiplier": "1.8"},
              {"up_to": 131072, "multiplier": "3.2"}, {"multiplier": "5"}],
}


def test_a_compound_price_with_context_bands(ledger):
    acme = ledger(card(COMPOUND, discounts={"pro": "0.1"}))
    day = "2026-01-05 12:00"
    # 4.096 + 1.5 + 0.01
    assert acme.use(day, input=8192, output=1000)["price"] == nano("5.606")
    # (4.0965 + 1.5 + 0.01) x 1.8
    assert acme.use(day, input=8193, output=1000)["price"] == nano("10.0917")
    # cached tokens are context too: (4 + 0.04825 + 1.5 + 0.01) x 1.8
    assert acme.use(day, input=8000, cache_read=193, output=1000)["price"] == nano("10.00485")
    # (16.3845 + 1.5 + 0.01) x 3.2
    assert acme.use(day, input=32769, output=1000)["price"] == nano("57.2624")
    # (65.5365 + 1.5 + 0.01) x 5
    assert acme.use(day, input=131073, output=1000)["price"] == nano("335.2325")
    # a tenth off: 10.0917 x 0.9
    assert acme.use(day, tier="pro", input=8193, output=1000)["price"] == nano("9.08253")


def test_a_credit_is_a_call_or_1000_tokens_or_a_document(ledger):
    acme = ledger(card({"path": "/v1/simple", "price": {"request": "1"}},
                       {"path": "/v1/complex", "price": {"request": "5"}},
                       {"match": "m", "price": {"input": "1", "output": "1", "per": 1000}},
                       {"meter": "documents", "price": {"unit": "1", "per": 1}}))
    day = "2026-01-05 12:00"
    assert acme.use(day, path="/v1/simple", input=9999)["price"] == nano("1")
    assert acme.use(day, path="/v1/complex", input=1)["price"] == nano("5")
    assert acme.use(day, input=700, output=300)["price"] == nano("1")
    assert acme.meter("2026-01-05 12:30", "documents", "3")["price"] == nano("3")


def test_a_report_is_billed_when_it_was_delivered(ledger):
    acme = ledger(card({"path": "/v1/reports", "status": 200, "unit": "clinical-report",
                        "price": {"request": "25"}},
                       {"match": "m", "price": {"output": "1", "per": 1000}}))
    day = "2026-01-05 12:00"
    assert acme.use(day, path="/v1/reports", output=50_000)["price"] == nano("25")
    assert acme.use(day, path="/v1/reports", status=202, output=2_000)["price"] == nano("2")


def test_a_session_is_paid_once_in_24_hours(ledger):
    acme = ledger(card({"match": "m", "price": {"session": "2", "request": "0.1"}}))
    prices = [acme.use(when, session="agent-1")["price"] for when in (
        "2026-01-05 12:00", "2026-01-05 12:10", "2026-01-06 11:59", "2026-01-06 12:00")]
    assert prices == [nano("2.1"), nano("0.1"), nano("0.1"), nano("2.1")]
    # another session; none; one that anybody may claim
    assert acme.use("2026-01-06 12:10", session="agent-2")["price"] == nano("2.1")
    assert acme.use("2026-01-06 12:11")["price"] == nano("2.1")
    assert acme.use("2026-01-06 12:12", session="agent-1", trusted=False)["price"] == nano("2.1")


def margin(entry):
    return (entry["price"] - entry["cost"]) * 100 / entry["price"]


def test_margins(ledger):
    """A credit costs 0.003 and sells at 0.01; then one call takes five credits' worth."""
    acme = ledger(card({"match": "m", "price": {"request": "0.01"},
                        "cost": {"output": "0.003", "per": 1000}}))
    one = acme.use("2026-01-05 12:00", output=1000)
    five = acme.use("2026-01-05 12:10", output=5000)
    assert (one["price"], one["cost"], margin(one)) == (nano("0.01"), nano("0.003"), 70)
    assert (five["price"], five["cost"], margin(five)) == (nano("0.01"), nano("0.015"), -50)


def test_a_markup_over_cost(ledger):
    acme = ledger(card({"match": "m", "cost": {"input": "0.1", "output": "0.4", "per": 1000},
                        "markup": "0.4"}))
    entry = acme.use("2026-01-05 12:00", input=1000, output=500)
    assert (entry["cost"], entry["price"]) == (nano("0.3"), nano("0.42"))


def test_one_rounding_half_to_even(ledger):
    acme = ledger(card({"match": "m", "price": {"input": "0.000000001", "output": "0.000000001",
                                                "per": 2}}))
    day = "2026-01-05 12:00"
    assert acme.use(day, input=1)["price"] == 0  # a half nano, to even
    assert acme.use(day, input=3)["price"] == 2  # one and a half
    assert acme.use(day, input=1, output=1)["price"] == 1  # two halves are rounded once


# ------------------------------------------------------------------------------- credit


def test_promotional_credit_goes_before_paid_and_paid_stays_when_it_expires(ledger):
    acme = ledger(card({"match": "m", "price": {"request": "6"}}))
    paid = acme.grant("50", "2026-01-01 00:00")
    promo = acme.grant("10", "2026-01-01 00:00", source="promo", expires="2026-01-10 00:00")
    assert acme.use("2026-01-09 12:00")["moves"] == [["remaining", promo, -nano("6")]]
    # begun before it expired: it still pays, as far as it goes
    late = acme.use("2026-01-09 23:59", entered="2026-01-10 00:05")
    assert late["moves"] == [["expired", promo, -nano("4")], ["remaining", paid, -nano("2")]]
    assert acme.use("2026-01-10 00:06")["moves"] == [["remaining", paid, -nano("6")]]
    assert acme.balance() == nano("42")


def test_an_expired_promotion_is_gone_and_paid_credit_is_not(ledger):
    acme = ledger(card({"match": "m", "price": {"request": "6"}}))
    acme.grant("50", "2026-01-01 00:00")
    promo = acme.grant("10", "2026-01-01 00:00", source="promo", expires="2026-01-10 00:00")
    acme.advance("2026-01-09 23:59")
    assert acme.balance() == nano("60")
    (entry,) = acme.advance("2026-01-10 00:00")
    assert (entry["kind"], entry["of"], entry["amount"]) == ("expire", promo, -nano("10"))
    assert acme.balance() == nano("50")


def test_packs_of_50_200_and_500(ledger):
    """At 0.01 a credit, with a bonus of a tenth on the largest, which goes first."""
    acme = ledger(card({"match": "m", "price": {"request": "60000"}}))
    small = acme.grant("5000", "2026-01-01 00:00", expires="2027-01-01 00:00")
    middle = acme.grant("20000", "2026-02-01 00:00", expires="2027-02-01 00:00")
    large = acme.grant("50000", "2026-03-01 00:00", expires="2027-03-01 00:00")
    bonus = acme.grant("5000", "2026-03-01 00:00", source="promo", expires="2027-03-01 00:00")
    assert acme.balance() == nano("80000")
    assert acme.use("2026-03-05 12:00")["moves"] == [
        ["remaining", small, -nano("5000")], ["remaining", middle, -nano("20000")],
        ["remaining", bonus, -nano("5000")], ["remaining", large, -nano("30000")]]


def schedule(ledger, when, roll_min="0", roll_max="0", zone="Europe/Berlin"):
    return ledger.post("schedule", when, amount=nano("100"), source="paid", priority=100,
                       effective=0, every="month", zone=zone, roll_min=nano(roll_min),
                       roll_max=nano(roll_max))["seq"]


def test_at_the_end_of_the_month_some_of_the_rest_stays(ledger):
    acme = ledger(card({"match": "m", "price": {"request": "60"}}))
    of = schedule(acme, "2026-01-15 12:00", roll_max="30")
    acme.use("2026-01-20 12:00")
    assert acme.balance() == nano("40")
    # February begins in Berlin
    expire, recur = acme.advance("2026-01-31 23:00")
    assert (expire["kind"], expire["of"], expire["rolled"], expire["amount"]) == (
        "expire", of, nano("30"), -nano("10"))
    assert (recur["kind"], recur["amount"]) == ("recur", nano("100"))
    assert acme.balance() == nano("130")
    # Nothing is used: of 130 again 30 stay. Summer time began meanwhile.
    acme.advance("2026-02-28 23:00")
    assert acme.balance() == nano("130")
    assert acme.advance("2026-03-31 21:59") == []
    assert len(acme.advance("2026-03-31 22:00")) == 2
    assert acme.balance() == nano("130")


def test_a_minimum_rolls_over_even_when_all_is_used(ledger):
    acme = ledger(card({"match": "m", "price": {"request": "100"}}))
    schedule(acme, "2026-01-15 12:00", roll_min="20", roll_max="50", zone="UTC")
    acme.use("2026-01-20 12:00")
    assert acme.balance() == 0
    acme.advance("2026-02-01 00:00")
    assert acme.balance() == nano("120")


def test_boundaries_that_passed_while_nobody_looked(ledger):
    acme = ledger(card({"match": "m", "price": {"request": "1"}}))
    schedule(acme, "2026-01-15 12:00", zone="UTC")
    entries = acme.advance("2026-04-10 00:00")
    assert [e["kind"] for e in entries] == ["expire", "recur"] * 3
    assert acme.balance() == nano("100")


def test_a_refund_goes_back_to_where_it_came_from(ledger):
    acme = ledger(card({"match": "m", "price": {"request": "30"}}))
    promo = acme.grant("10", "2026-01-01 00:00", source="promo", expires="2026-01-10 00:00")
    paid = acme.grant("15", "2026-01-01 00:00")
    used = acme.use("2026-01-05 12:00")  # promo 10, paid 15, debt 5
    assert acme.balance() == -nano("5")
    first = acme.post("refund", "2026-01-05 13:00", of=used["seq"], amount=nano("12"),
                      as_grant=False)
    assert first["entries"][-1]["moves"] == [["debt", 0, -nano("5")],
                                             ["remaining", paid, nano("7")]]
    # the promotion has expired by now: what goes back to it is expired with it
    rest = acme.post("refund", "2026-01-12 00:00", of=used["seq"], amount=0, as_grant=False)
    assert (rest["moved"], rest["balance"]) == (nano("18"), nano("15"))
    assert ["expired", promo, nano("10")] in rest["entries"][-1]["moves"]
    assert acme.post("refund", "2026-01-12 00:01", of=used["seq"], amount=1,
                     as_grant=False)["error"] == "EINVAL"


def test_a_deduct_is_refused_where_there_is_not_so_much(ledger):
    acme = ledger(card({"match": "m", "price": {"request": "1"}}))
    acme.grant("5", "2026-01-01 00:00")
    refused = acme.post("deduct", "2026-01-02 00:00", amount=nano("5") + 1, overage=0,
                        allow_debt=False)
    assert (refused["error"], refused["entries"], acme.balance()) == ("ENODATA", [], nano("5"))
    assert acme.post("deduct", "2026-01-02 00:00", amount=nano("6"), overage=nano("1"),
                     allow_debt=False)["error"] is None
    assert acme.state()["debt"] == nano("1")


# ------------------------------------------------------------------------ what is shipped


def shipped(name):
    with open(os.path.join(POLICIES, name), encoding="utf-8") as f:
        return json.load(f)


def test_the_default_tiers_are_those_of_the_price_list():
    tiers = shipped("10-tiers.json")["tiers"]
    free, paid = tiers["free"], tiers["pro"]
    assert (free["requests"]["per_minute"], free["tokens"]["per_minute"]) == (60, 100_000)
    assert (paid["requests"]["per_minute"], paid["tokens"]["per_minute"]) == (600, 1_000_000)


def test_the_default_card_prices_with_the_numbers_it_shows(ledger):
    cards = shipped("20-rate-cards.json")["rate_cards"]
    acme = ledger(*cards)
    entry = next(e for c in cards for e in c["models"] if e.get("match") == "llama-3.3-70b*")
    assert (entry["price"]["input"], entry["price"]["output"]) == ("0.5", "1.5")
    used = acme.use("2026-12-01 12:00", model="llama-3.3-70b-instruct", input=2000, output=1000)
    assert used["price"] == nano("2.5")
