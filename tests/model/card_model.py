# SPDX-License-Identifier: Apache-2.0
"""Rate cards by agent/ledger.md, 4: which entry prices a thing, and what it costs.

A card is the dict that a policy file has, prices as decimal strings. Nothing is worked out ahead:
every price is looked up in the text of its card. Slow, and easy to compare with the rules.
"""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

NANO = 10**9
INT64_MAX = 2**63 - 1

INPUTS = ("input", "cache_read", "cache_write", "audio", "image")
DIMENSIONS = INPUTS + ("output", "reasoning", "request", "second", "session", "unit")
PARENT = {
    "cache_read": "input",
    "cache_write": "input",
    "audio": "input",
    "image": "input",
    "reasoning": "output",
}


@lru_cache(None)
def nano(text):
    """A decimal string in billionths."""
    value = Decimal(text) * NANO
    assert value == int(value), text
    return int(value)


@lru_cache(None)
def instant(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * NANO


def glob(pattern, text):
    """* and ?; of the whole."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return glob(pattern[1:], text) or bool(text) and glob(pattern, text[1:])
    return bool(text) and pattern[0] in ("?", text[0]) and glob(pattern[1:], text[1:])


def literal(pattern):
    """How many characters come before the first wildcard."""
    places = [i for i, c in enumerate(pattern) if c in "*?"]
    return places[0] if places else len(pattern)


def is_exact(pattern):
    return literal(pattern) == len(pattern)


# ---------------------------------------------------------------------------- which


def covers(card, use):
    """How near a card is to whom it is for: 0 the nearest; None: it is not for them."""
    for near, kind in enumerate(("tenant", "tier", "service")):
        if kind + "s" in card:
            return near if use[kind] in card[kind + "s"] else None
    return 3


ANY = (None, "default", "*")


def matches(entry, use):
    if ("meter" in entry) != (use.get("meter") is not None):
        return False
    if "meter" in entry and entry["meter"] != use["meter"]:
        return False
    match = entry.get("match")
    if match not in ANY and not (use.get("model") and glob(match, use["model"])):
        return False
    if "path" in entry and not glob(entry["path"], use.get("path") or ""):
        return False
    status = str(entry.get("status", ""))
    if status:
        if status.endswith("xx"):
            return use.get("status", 0) // 100 == int(status[0])
        return use.get("status", 0) == int(status)
    return True


def how_specific(entry):
    """Sorts the entry to be asked first to the front; equal ones stay as listed."""
    path = entry.get("path")
    match = entry.get("match")
    status = str(entry.get("status", ""))
    return (
        path is None,
        path is not None and not is_exact(path),
        -literal(path) if path is not None else 0,
        (not status, status.endswith("xx")),
        match in ANY or not is_exact(match),
        -literal(match) if match not in ANY else 0,
        match in ANY,
    )


def pick(cards, use):
    """(card, number of the entry), or None."""
    in_force = {}
    for card in cards:
        since = instant(card["effective_from"])
        name = card.get("name", "list")
        if since > use["started"]:
            continue
        if name not in in_force or instant(in_force[name]["effective_from"]) < since:
            in_force[name] = card
    for_it = [c for c in in_force.values() if covers(c, use) is not None]
    for card in sorted(for_it, key=lambda c: covers(c, use)):
        found = [i for i, e in enumerate(card["models"]) if matches(e, use)]
        if found:
            return card, min(found, key=lambda i: how_specific(card["models"][i]))
    return None


def conditions(entry):
    """What an entry is in all versions of its card."""
    return " ".join(f"{k}={entry[k]}" for k in ("match", "path", "status", "meter") if k in entry)


# ---------------------------------------------------------------------------- how much


def discount_milli(card, tier):
    off = card.get("discounts", {}).get(tier, "0")
    return nano(off) // 10**6


def is_number(dimension):
    """Counted one by one: "per" does not divide it."""
    return dimension in ("request", "session")


def per(prices, dimension):
    """What a quantity is divided by: seconds and units come in billionths."""
    if is_number(dimension):
        return 1
    if dimension == "second":
        return NANO
    return int(prices.get("per", 1)) * (NANO if dimension == "unit" else 1)


def priced_as(prices, dimension):
    """The dimension whose price it has; None: it is not charged."""
    for d in (dimension, PARENT.get(dimension)):
        if d in prices:
            return d
    return None


def steps_of(prices, dimension):
    """("graduated" or "volume", [(up_to or None, unit)], pool or None); None where it is flat."""
    price = prices[dimension]
    if isinstance(price, str):
        return None
    scale = NANO if dimension in ("second", "unit") else 1
    return (
        price["mode"],
        [(s["up_to"] * scale if "up_to" in s else None, nano(s["price"])) for s in price["steps"]],
        price.get("pool"),
    )


def unit_at(steps, count):
    for up_to, unit in steps:
        if up_to is None or count <= up_to:
            return unit
    raise AssertionError("the last step has an end")


def graduated(steps, position, quantity):
    """Σ units x price, each unit by its own step."""
    total, begin = 0, 0
    for up_to, unit in steps:
        end = position + quantity if up_to is None else min(up_to, position + quantity)
        total += max(0, end - max(begin, position)) * unit
        begin = begin if up_to is None else up_to
    return total


def factor(card, entry, quantities, milli):
    total = sum(quantities.get(d) or 0 for d in INPUTS)
    value = Fraction(entry.get("multiplier", "1")) * Fraction(1000 - milli, 1000)
    if "markup" in entry:
        value *= 1 + Fraction(entry["markup"])
        if card.get("cost_unit") == "currency":
            value /= Fraction(card["credit_price"])
    for band in entry.get("bands", []):
        if "up_to" not in band or total <= band["up_to"]:
            return value * Fraction(band["multiplier"])
    return value


class Unfit(Exception):
    """A price or a counter that does not fit, or a count that makes no sense."""


class Charge:
    def __init__(self):
        self.price = self.cost = 0
        self.positions = {}  # of dimensions with steps: where they stood
        self.counted = {}  # how far their counters move
        self.volume = []  # (dimension, quantity x factors, unit)


def fitting(value):
    value = round(value)  # half to even
    if not 0 <= value <= INT64_MAX:
        raise Unfit
    return value


def charge(card, number, milli, quantities, position_of):
    """position_of: where the counter of a dimension stands."""
    entry = card["models"][number]
    cost = entry.get("cost", {})
    prices = cost if "markup" in entry else entry["price"]
    out = Charge()
    total, total_cost, times = Fraction(0), Fraction(0), factor(card, entry, quantities, milli)
    for dimension in DIMENSIONS:
        if dimension in prices and steps_of(prices, dimension):
            out.positions[dimension] = position_of(dimension)

    for dimension in DIMENSIONS:
        quantity = quantities.get(dimension)
        if quantity is None:
            continue
        if quantity < 0:
            raise Unfit
        own = priced_as(cost, dimension)
        if own:
            total_cost += Fraction(quantity * nano(cost[own]), per(cost, dimension))
        own = priced_as(prices, dimension)
        if not own:
            continue
        stepped = steps_of(prices, own)
        if not stepped:
            total += Fraction(quantity * nano(prices[own]), per(prices, dimension))
            continue
        kind, steps, _ = stepped
        if out.positions[own] + out.counted.get(own, 0) + quantity > INT64_MAX:
            raise Unfit
        at = out.positions[own] + out.counted.get(own, 0)
        if kind == "graduated":
            total += Fraction(graduated(steps, at, quantity), per(prices, dimension))
        else:
            unit = unit_at(steps, at + quantity)
            total += Fraction(quantity * unit, per(prices, dimension))
            if quantity:
                out.volume.append((own, quantity * times, unit))
        out.counted[own] = out.counted.get(own, 0) + quantity
    if card.get("cost_unit") == "currency":
        total_cost /= Fraction(card["credit_price"])
    out.price, out.cost = fitting(total * times), fitting(total_cost)
    return out


def has_session(card, number):
    return "session" in card["models"][number].get("price", {})
