# SPDX-License-Identifier: Apache-2.0
"""Random histories: a few wallets, two price lists, and a clock that does not behave.

What is done next is chosen by what the model's ledger holds, so that refunds find something to
refund and lots are hit on the very instant they expire. A history is a list of operations, each
with its own clock; any sublist of it is one too, which is what shrinking needs.
"""

import random
from datetime import datetime

from calendar_model import DAY, HOUR, NS

TENANTS = ["acme", "acme-team", "postpaid", "whale"]
ACME, TEAM, POSTPAID, WHALE = 1, 2, 3, 4
WALLET = {ACME: ACME, TEAM: ACME, POSTPAID: POSTPAID, WHALE: WHALE}
TIER = {ACME: "pro", TEAM: "free", POSTPAID: "enterprise", WHALE: "pro"}
NAME = dict(enumerate(TENANTS, 1))

ZONES = ["UTC", "Europe/Berlin", "America/Havana", "Asia/Beirut", "America/St_Johns",
         "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo"]
# Days before something happens: clocks change, a month or a year ends, a day is left out.
STARTS = ["2026-03-07", "2026-03-27", "2026-04-04", "2026-10-23", "2026-10-30", "2026-12-30",
          "2028-02-27", "2027-01-14", "2018-11-02", "2019-02-15", "2011-12-28", "2010-11-05",
          "2026-06-29", "2026-08-15"]

MODELS = ["llama-70b", "llama-8b", "qwen", "bge-m3", "vision-1", ""]
PATHS = ["/v1/chat/completions", "/v1/embeddings", "/v1/reports", "/v1/audio/speech"]
METERS = ["storage_gb", "gpu_seconds", "documents", "unheard_of"]


def day(text):
    return int(datetime.fromisoformat(text + "T00:00:00+00:00").timestamp()) * NS


def rfc3339(ns):
    return datetime.utcfromtimestamp(ns // NS).isoformat() + "Z"


# ------------------------------------------------------------------------------- cards


def price(rng, dear=True):
    return rng.choice(["0.5", "0.05", "0.000001", "0.333333333", "1.5", "3", "0.000000001",
                       "0.0125", "0"] if dear else ["0.1", "0.01", "0.000000007", "0"])


def steps(rng, pools=True):
    ends = sorted(rng.sample([1, 10, 500, 1000, 4096, 20000, 100000], rng.randint(1, 3)))
    out = {"steps": [{"up_to": e, "price": price(rng)} for e in ends] + [{"price": price(rng)}],
           "mode": rng.choice(["graduated", "volume"])}
    if pools and rng.random() < 0.3:
        out["pool"] = "group-a"
    return out


def rates(rng):
    out = {"input": price(rng), "output": price(rng), "per": rng.choice([1, 3, 1000, 1000000])}
    for d in ("cache_read", "cache_write", "audio", "image", "reasoning"):
        if rng.random() < 0.3:
            out[d] = price(rng)
    for d in ("request", "second", "session"):
        if rng.random() < 0.2:
            out[d] = price(rng)
    for d in ("input", "output", "cache_read", "request"):
        if d in out and rng.random() < 0.3:
            out[d] = steps(rng)
    return out


def cost(rng):
    return {"input": price(rng, False), "output": price(rng, False), "per": 1000}


def bands(rng):
    ends = sorted(rng.sample([100, 1000, 8192, 32768], rng.randint(1, 3)))
    times = ["1", "1.8", "3.2", "0.5", "5"]
    return [{"up_to": e, "multiplier": rng.choice(times)} for e in ends] + [
        {"multiplier": rng.choice(times)}]


def request_entry(rng, **conditions):
    entry = dict(conditions)
    if rng.random() < 0.15:
        entry |= {"cost": cost(rng), "markup": rng.choice(["0.4", "2.333", "-0.5", "0"])}
    else:
        entry["price"] = rates(rng)
        if rng.random() < 0.3:
            entry["multiplier"] = rng.choice(["1.5", "0.333", "2"])
        if rng.random() < 0.6:
            entry["cost"] = cost(rng)
    volume = any(isinstance(v, dict) and v["mode"] == "volume"
                 for v in entry.get("price", {}).values())
    if not volume and rng.random() < 0.3:  # a month's volume has no one band
        entry["bands"] = bands(rng)
    return entry


def value_entry(rng):
    return {"path": "/v1/reports", "status": rng.choice([200, "2xx"]), "unit": "report",
            "price": {"request": price(rng)}}


def meter_entry(rng, name):
    per_unit = steps(rng) if rng.random() < 0.4 else price(rng)
    return {"meter": name, "price": {"unit": per_unit, "per": rng.choice([1, 3, 1000])},
            "cost": {"unit": price(rng, False)}}


def models(rng):
    out = [request_entry(rng, match="llama-*"), request_entry(rng, match="llama-8b")]
    if rng.random() < 0.5:
        out.append(request_entry(rng, match="qwen", path="/v1/chat/*"))
    if rng.random() < 0.4:
        out.append(value_entry(rng))
    if rng.random() < 0.6:
        out.append(request_entry(rng, match="default"))
    out += [meter_entry(rng, m) for m in METERS[:3] if rng.random() < 0.7]
    rng.shuffle(out)
    return out


def cards(rng, start):
    out = []
    for name, scope in (("list", {}), rng.choice([("deal", {"tenants": ["acme"]}),
                                                  ("deal", {"tiers": ["free"]}),
                                                  ("deal", {"services": ["llm"]})])):
        since = start - 400 * DAY
        first = models(rng)
        for version in range(rng.randint(1, 3)):
            card = {"name": name, "version": f"v{version}", "effective_from": rfc3339(since),
                    "models": first if version == 0 or rng.random() < 0.3 else again(rng, first)}
            card |= scope
            if rng.random() < 0.4:
                card["discounts"] = {"pro": "0.1", "free": rng.choice(["0.333", "1"])}
            if rng.random() < 0.2:
                card |= {"currency": "USD", "credit_price": rng.choice(["0.01", "0.003", "7"]),
                         "cost_unit": "currency"}
            out.append(card)
            since = start + rng.randint(-2 * DAY, 20 * DAY) // NS * NS
            if any(c["effective_from"] == rfc3339(since) for c in out):
                break
    return out


def again(rng, entries):
    """The next version: the same conditions, other prices; counters go on."""
    out = []
    for entry in entries:
        if "meter" in entry:
            out.append(meter_entry(rng, entry["meter"]))
        elif "unit" in entry:
            out.append(entry | {"price": {"request": price(rng)}})
        else:
            keep = {k: entry[k] for k in ("match", "path", "status") if k in entry}
            out.append(request_entry(rng, **keep))
    return out


# -------------------------------------------------------------------------- operations


class Maker:
    """Makes operations one after the other; `ledger` is the model that has done those before."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.now = day(self.rng.choice(STARTS)) + self.rng.randint(0, 3 * DAY)
        self.cards = cards(self.rng, self.now)
        self.serial = 0
        self.last_row = None
        self.last_post = None
        self.kinds = self.rng.choice([USUAL, USUAL, USUAL, SCHEDULES, MANY_ROWS])

    def begin(self):
        return {"op": "begin", "tenants": TENANTS, "cards": self.cards}

    def tick(self):
        rng = self.rng
        self.now += rng.choice([
            0, 1, rng.randint(1, 60 * NS), rng.randint(1, HOUR), rng.randint(1, 12 * HOUR),
            rng.randint(1, DAY), rng.randint(1, 3 * DAY)])
        if rng.random() < 0.04:
            self.now += rng.randint(1, 70) * DAY
        if rng.random() < 0.05:
            self.now -= rng.randint(1, 30 * HOUR)

    def next(self, ledger):
        self.tick()
        coming = [d[0] for d in ledger.due() if d[0] < self.now + 40 * DAY]
        if coming and self.rng.random() < 0.15:  # on the instant itself, or just beside it
            self.now = self.rng.choice(coming) + self.rng.choice([-1, 0, 0, 1])
        kind = self.rng.choice(self.kinds)
        op = getattr(self, kind)(ledger)
        if op["op"] == "post" and self.rng.random() < 0.03 and self.last_post:
            op = self.last_post | {"now": self.now}
            if self.rng.random() < 0.5 and "amount" in op:
                op = op | {"amount": op["amount"] ^ 1}
        if op["op"] == "post":
            self.last_post = op
        return op

    def post(self, kind, **fields):
        self.serial += 1
        if "amount" in fields:
            fields["amount"] = min(fields["amount"], 2**63 - 1)
        return {"op": "post", "kind": kind, "now": self.now, "key": f"key-{self.serial}",
                "tenant": ACME} | fields

    def amount(self):
        rng = self.rng
        return rng.choice([1, rng.randint(1, 10**9), rng.randint(1, 10**11), 10**10,
                           rng.randint(1, 10**13), rng.randint(1, 10**14), 10**13])

    def wallet(self):
        return self.rng.choice([ACME, ACME, ACME, POSTPAID])

    def grant(self, ledger):
        rng = self.rng
        effective = rng.choice([0, 0, 0, self.now - rng.randint(0, 5 * DAY),
                                self.now + rng.randint(0, 3 * DAY), self.now + 1])
        expires = 0
        if rng.random() < 0.6:
            expires = max(self.now, effective) + rng.choice([
                1, rng.randint(1, HOUR), rng.randint(1, 3 * DAY), 30 * DAY, 40 * DAY])
        same = [x.expires for x in ledger.lots.values() if x.expires > max(self.now, effective)]
        if same and rng.random() < 0.3:
            expires = rng.choice(same)
        return self.post("grant", tenant=self.wallet(), amount=self.amount(),
                         source=rng.choice(["paid", "promo", "trial"]),
                         priority=rng.choice([0, 50, 100, 100, 100, 255]), effective=effective,
                         expires=expires)

    def whale(self, ledger):
        rng = self.rng
        amount = rng.choice([2**63 - 1, 5 * 10**18, 4 * 10**18, 10**9])
        kind = rng.choice(["grant", "grant", "adjust", "deduct"])
        if kind == "grant":
            return self.post(kind, tenant=WHALE, amount=amount, source="paid", priority=100,
                             effective=0, expires=0)
        if kind == "deduct":
            return self.post(kind, tenant=WHALE, amount=amount, overage=rng.choice([0, 2**62]),
                             allow_debt=False)
        return self.post(kind, tenant=WHALE, amount=amount)

    def adjust(self, ledger):
        return self.post("adjust", tenant=self.wallet(),
                         amount=self.amount() * self.rng.choice([1, -1, -1]))

    def deduct(self, ledger):
        wallet = self.wallet()
        balance = ledger.balance(wallet)
        amount = self.rng.choice([self.amount(), max(1, balance), max(1, balance + 1),
                                  max(1, balance // 2), max(1, balance // 3)])
        return self.post("deduct", tenant=wallet, amount=amount,
                         overage=self.rng.choice([0, 0, 1, 10**9]),
                         allow_debt=self.rng.random() < 0.3)

    def void(self, ledger):
        taken = [x.number for x in ledger.lots.values() if 0 < x.remaining < x.amount]
        of = self.rng.choice(taken or sorted(ledger.lots) or [1])
        if self.rng.random() < 0.1:
            of = self.rng.randint(0, len(ledger.entries) + 1)
        owner = ledger.lots[of].wallet if of in ledger.lots else self.wallet()
        return self.post("void", tenant=owner, of=of, schedule=False)

    def stop(self, ledger):
        of = self.rng.choice(sorted(ledger.schedules) or [1])
        owner = ledger.schedules[of].wallet if of in ledger.schedules else self.wallet()
        return self.post("void", tenant=owner, of=of, schedule=True)

    def refund(self, ledger):
        rng = self.rng
        took = [e for e in ledger.entries if e.amount < 0 and
                e.kind in ("usage", "deduct", "meter", "true_up")]
        if not took or rng.random() < 0.05:
            return self.post("refund", tenant=self.wallet(), amount=rng.choice([0, 1]),
                             of=rng.randint(0, len(ledger.entries) + 1), as_grant=False)
        lotted = [e for e in took if any(m[1] in ledger.lots and (
            ledger.lots[m[1]].voided or ledger.lots[m[1]].is_expired(self.now)) for m in e.moves)]
        entry = rng.choice(lotted or took if rng.random() < 0.5 else took)
        left = -entry.amount - ledger.refunded.get(entry.seq, 0)
        amount = rng.choice([0, 0, left, left + 1, max(1, left // 2), max(1, left // 3), 1])
        return self.post("refund", tenant=entry.wallet, amount=amount, of=entry.seq,
                         as_grant=rng.random() < 0.4)

    def schedule(self, ledger):
        rng = self.rng
        effective = rng.choice([0, 0, self.now + rng.randint(0, 40 * DAY), self.now])
        roll_max = rng.choice([0, 0, self.amount(), 10**10])
        return self.post("schedule", tenant=self.wallet(), amount=self.amount(),
                         source=rng.choice(["paid", "promo", "trial"]),
                         priority=rng.choice([50, 100, 200]), effective=effective,
                         every=rng.choice(["day", "week", "month"]), zone=rng.choice(ZONES),
                         roll_max=roll_max,
                         roll_min=min(roll_max, rng.choice([0, 0, self.amount()])))

    def row(self, ledger):
        rng = self.rng
        self.serial += 1
        tenant = rng.choice([ACME, ACME, TEAM, TEAM, POSTPAID])
        ended = self.now - rng.choice([0, 0, 1, rng.randint(0, NS)])
        started = ended - rng.choice([0, 1, rng.randint(1, 30 * NS), rng.randint(1, HOUR)])
        if rng.random() < 0.12:  # late: seen long after it was
            started -= rng.choice([rng.randint(1, DAY), rng.randint(1, 3 * DAY), 31 * DAY])
            ended = rng.choice([ended, started + NS])
        q = {"input": self.count(), "output": self.count(), "request": 1,
             "second": ended - started}
        for d in ("cache_read", "cache_write", "audio", "image", "reasoning"):
            if rng.random() < 0.3:
                q[d] = self.count()
        if rng.random() < 0.02:
            q["output"] = rng.choice([2**62, -5])  # more than fits; what cannot be
        row = {"id": f"{started:016x}{self.serial:016x}", "number": tenant, "name": NAME[tenant],
               "tenant": NAME[tenant], "tier": TIER[tenant], "wallet": WALLET[tenant],
               "service": rng.choice(["llm", "other"]), "started": started, "ended": ended,
               "model": rng.choice(MODELS), "path": rng.choice(PATHS),
               "status": rng.choice([200, 200, 201, 429]), "quantities": q,
               "session": rng.choice(["", "s1", "s2"]), "trusted": rng.random() < 0.8,
               "billable": rng.random() < 0.95, "posted": self.posted(tenant)}
        if self.last_row and rng.random() < 0.1:  # the same thing again, soon, or found late
            begun = self.last_row["started"] + rng.choice([0, rng.randint(0, 25 * HOUR), DAY])
            ended = rng.choice([begun, begun + NS, max(begun, self.now)])
            row = self.last_row | {"id": row["id"], "quantities": q | {"second": ended - begun},
                                   "started": begun, "ended": ended}
        return row

    def posted(self, tenant):
        """Of one tenant the policy changes now and then."""
        return tenant != POSTPAID or self.rng.random() < 0.2

    def count(self):
        rng = self.rng
        return rng.choice([0, 1, rng.randint(0, 50), rng.randint(0, 2000), rng.randint(0, 60000)])

    def append(self, ledger):
        rows = [self.row(ledger) for _ in range(self.rng.choice([1, 1, 2, 4]))]
        if self.last_row and self.rng.random() < 0.08:
            rows.append(self.last_row)
        self.last_row = self.rng.choice(rows)
        return {"op": "append", "rows": rows}

    def meter(self, ledger):
        rng = self.rng
        tenant = rng.choice([ACME, TEAM, POSTPAID])
        started = rng.choice([0, self.now - rng.randint(0, 2 * DAY), self.now - 31 * DAY])
        return self.post("meter", tenant=tenant, name=NAME[tenant], tier=TIER[tenant],
                         wallet=WALLET[tenant], service="llm", dimension=rng.choice(METERS),
                         quantity=rng.choice([1, 10**9, rng.randint(1, 10**12), 10**13]),
                         started=started, model="", posted=self.posted(tenant))

    def advance(self, ledger):
        return {"op": "advance", "now": self.now}

    def threshold(self, ledger):
        return {"op": "threshold", "wallet": self.wallet(),
                "below": self.rng.choice([0, 10**9, 5 * 10**9, -(10**9)]), "ask": 10**10}

    def reopen(self, ledger):
        return {"op": "reopen"}

    def bad(self, ledger):
        """What nobody may ask for."""
        rng = self.rng
        good = getattr(self, rng.choice(["grant", "adjust", "deduct", "schedule"]))(ledger)
        wrong = rng.choice([{"tenant": 77}, {"amount": 0}, {"amount": -1}, {"source": "adjust"},
                            {"zone": "Europe/Berlim"}, {"zone": ""}, {"every": ""},
                            {"expires": self.now - 1}, {"expires": self.now},
                            {"effective": self.now + 9, "expires": self.now + 9},
                            {"roll_min": 5, "roll_max": 4}, {"roll_min": -1}, {"roll_max": -1},
                            {"effective": self.now - 1}, {"key": ""}])
        return good | {k: v for k, v in wrong.items() if k in good}


USUAL = (["append"] * 8 + ["grant"] * 5 + ["deduct"] * 2 + ["refund"] * 4 + ["void"] * 2 +
         ["meter"] * 2 + ["adjust", "schedule", "stop", "advance", "threshold", "bad", "whale"])
SCHEDULES = (["append"] * 3 + ["schedule"] * 3 + ["advance"] * 4 + ["deduct"] * 3 +
             ["grant", "stop", "refund", "refund", "adjust", "void", "reopen"])
MANY_ROWS = ["append"] * 12 + ["meter"] * 3 + ["grant", "refund", "advance", "advance", "reopen"]
