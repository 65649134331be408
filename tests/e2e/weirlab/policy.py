# SPDX-License-Identifier: Apache-2.0
"""Policies the demo and the tests enforce, and what they make a request cost,
reckoned here from the files alone, in exact arithmetic."""
import hashlib
from fractions import Fraction

NANO = 10**9

CARD = {
    "name": "list", "version": "2026-11", "effective_from": "2026-11-01T00:00:00Z",
    "models": [
        {"match": "llama-3.3-70b*",
         "price": {"input": "0.5", "output": "1.5", "cache_read": "0.25", "per": 1000},
         "cost": {"input": "0.1", "output": "0.4", "per": 1000}},
        # A price whose nano-credits do not come out whole: rounding is seen.
        {"match": "bge-*", "price": {"input": "0.000000123", "output": "0", "per": 7}},
    ],
}


def hash_key(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def document(tiers, tenants, cards=(CARD,), **rest):
    """A policy document. tenants: name -> (tier, key) or a whole tenant object."""
    whole = {name: t if isinstance(t, dict) else {"tier": t[0], "keys": [hash_key(t[1])]}
             for name, t in tenants.items()}
    return {"tiers": tiers, "tenants": whole, "rate_cards": list(cards), **rest}


def nano(text):
    """A decimal string of credits as whole nano-credits; anything finer is an error."""
    value = Fraction(text) * NANO
    assert value.denominator == 1, f"{text} is finer than a nano-credit"
    return int(value)


def credits(value):
    """Whole nano-credits as a decimal string of credits."""
    sign, value = "-" if value < 0 else "", abs(value)
    text = f"{sign}{value // NANO}.{value % NANO:09d}"
    return text.rstrip("0").rstrip(".")


def half_even(value):
    return round(value)  # Python rounds a Fraction half to even


def price(model, prompt, completion, cached=0, card=CARD):
    """What a request costs in nano-credits: one rounding per request."""
    for entry in card["models"]:
        match = entry["match"]
        if model == match or (match.endswith("*") and model.startswith(match[:-1])):
            p = entry["price"]
            total = (Fraction(p["input"]) * (prompt - cached) +
                     Fraction(p.get("cache_read", p["input"])) * cached +
                     Fraction(p["output"]) * completion)
            return half_even(total * NANO / p["per"])
    raise KeyError(model)
