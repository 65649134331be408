# SPDX-License-Identifier: Apache-2.0
"""The ledger by agent/ledger.md: what every entry does, in plain Python integers.

It shares nothing with the agent but the rules, whose numbers are in the comments. It looks
through everything it knows whenever it is asked anything: slow, and that is the point.
"""

import json

import card_model
from calendar_model import DAY, HOUR, is_zone, month_end, month_of, next_boundary
from ledger_things import ADJUST, PAID, PROMO, REFUND, TRIAL, TRUE_UP, Entry, Lot, Schedule

INT64_MAX = 2**63 - 1

REFUNDABLE = ("usage", "deduct", "meter", "true_up")
# What somebody asks for. More credit is asked for behind what falls due with it.
ACTS = ("grant", "void", "refund", "adjust", "deduct", "meter", "schedule")


class Refused(Exception):
    """What was asked is refused, with that error; nothing is entered."""


class Ledger:
    def __init__(self, tenants, cards=()):
        self.known = set(tenants)  # their numbers
        self.cards = list(cards)
        self.time = 0
        self.steps = 0  # how often anything fell due
        self.entries = []
        self.lots = {}
        self.debt = {}
        self.schedules = {}
        self.refunded = {}
        self.counters = {}
        self.volumes = {}
        self.sessions = {}
        self.thresholds = {}
        self.asked = {}
        self.keys = {}
        self.ids = set()

    # ------------------------------------------------------------------ wallets

    def lots_of(self, wallet):
        return sorted((x for x in self.lots.values() if x.wallet == wallet), key=Lot.burn_order)

    def live_lots_of(self, wallet):
        return sorted((x for x in self.lots.values() if x.wallet == wallet and
                       (x.remaining or x.expired)), key=Lot.burn_order)

    def balance(self, wallet):
        remaining = sum(x.remaining for x in self.lots.values() if x.wallet == wallet)
        return remaining - self.debt.get(wallet, 0)

    def enter(self, kind, instant, tenant, wallet, amount=0, moves=(), lot=None, **says):
        """Make an entry: its moves, all that changes lots and debt, happen here."""
        if not self.fits(wallet, moves):
            raise Refused("ERANGE")
        entry = Entry(len(self.entries) + 1, kind, max(instant, self.time), tenant, wallet, amount)
        entry.moves = [m for m in moves if m[2]]
        entry.says = says
        entry.before = self.balance(wallet)
        if lot:
            lot.number, lot.created = entry.seq, entry.time
            self.lots[lot.number] = lot
        for purse, number, nano in entry.moves:
            if purse == "debt":
                self.debt[wallet] = self.debt.get(wallet, 0) + nano
                assert self.debt[wallet] >= 0
            else:
                of = self.lots[number]
                setattr(of, purse, getattr(of, purse) + nano)
                assert getattr(of, purse) >= 0
                assert of.pending + of.remaining + of.expired <= of.amount
        entry.after = self.balance(wallet)
        self.entries.append(entry)
        self.time = entry.time
        if wallet in self.asked and entry.after >= self.asked[wallet]:
            del self.asked[wallet]
        if kind not in ACTS:
            self.ask_for_more(wallet)
        return entry

    def ask_for_more(self, wallet):  # 11a
        below, ask = self.thresholds.get(wallet, (None, 0))
        if below is None or self.balance(wallet) >= below or wallet in self.asked:
            return
        self.asked[wallet] = below
        self.enter("top_up", self.time, wallet, wallet, asked=ask, threshold=below)

    def coming(self):
        """The seq that the next entry will have."""
        return len(self.entries) + 1

    def fits(self, wallet, moves):
        """Does what the wallet has and owes fit 63 bits after them? (5)"""
        has = sum(x.pending + x.remaining for x in self.lots.values() if x.wallet == wallet)
        has += sum(m[2] for m in moves if m[0] in ("pending", "remaining"))
        owes = self.debt.get(wallet, 0) + sum(m[2] for m in moves if m[0] == "debt")
        return max(has, owes) <= INT64_MAX

    def grant_moves(self, wallet, number, amount):  # 4
        repaid = min(self.debt.get(wallet, 0), amount)
        return [("remaining", number, amount - repaid), ("debt", 0, -repaid)]

    def take(self, wallet, nano, started, time):  # 6
        moves = []
        for lot in self.live_lots_of(wallet):
            if lot.voided or lot.effective > started or lot.expires and started >= lot.expires:
                continue
            if not lot.is_expired(time):
                purse, there = "remaining", lot.remaining
            elif time < lot.expires + DAY:
                purse, there = "expired", lot.expired
            else:
                continue
            taken = min(nano, there)
            if taken:
                moves.append((purse, lot.number, -taken))
                nano -= taken
        if nano:
            moves.append(("debt", 0, nano))
        return moves

    # ------------------------------------------------------------------ what falls due (2)

    def due(self, to=INT64_MAX):
        """(instant, class, number, what to do) of all that will fall due by then, in no order."""
        running = {s.number for s in self.schedules.values() if not s.stopped}
        for lot in self.lots.values():
            if lot.pending:
                yield lot.effective, 2, lot.number, lambda lot=lot: self.activate(lot)
            if lot.remaining and lot.expires and lot.schedule not in running:
                yield lot.expires, 0, lot.number, lambda lot=lot: self.expire(lot)
        for number in running:
            s = self.schedules[number]
            if s.begun and s.next <= to and s.rolled_at != s.next and any(self.roll_of(s)[:2]):
                yield s.next, 0, s.number, lambda s=s: self.roll(s)
            yield s.next, 1, s.number, lambda s=s: self.recur(s)
        for key in self.volumes:
            counter, tenant = key
            when = month_end(counter[-1]) + HOUR
            number = ("|".join(counter[:-1]), tenant)
            yield when, 3, number, lambda key=key, when=when: self.true_up(key, when)

    def advance(self, to):
        while True:
            coming = min((d for d in self.due(to) if d[0] <= to), key=lambda d: d[:3], default=None)
            if not coming:
                return
            self.steps += 1
            coming[3]()

    def expire(self, lot):  # 7
        self.enter("expire", lot.expires, lot.wallet, lot.wallet, -lot.remaining,
                   [("remaining", lot.number, -lot.remaining),
                    ("expired", lot.number, lot.remaining)], of=lot.number)

    def activate(self, lot):  # 4
        self.enter("activate", lot.effective, lot.wallet, lot.wallet, 0,
                   [("pending", lot.number, -lot.pending),
                    *self.grant_moves(lot.wallet, lot.number, lot.pending)], of=lot.number)

    def roll_of(self, s):  # 13
        """What is left of a schedule's grants, what of it is rolled, and the lots."""
        lots = [x for x in self.lots.values() if x.schedule == s.number and x.remaining]
        lots.sort(key=Lot.burn_order)
        left = sum(x.remaining for x in lots)
        return left, min(s.roll_max, max(left, s.roll_min)), lots

    def roll(self, s):  # 13
        left, rolled, lots = self.roll_of(s)
        moves, wanted, number = [], rolled, self.coming()
        for lot in lots:
            kept = min(lot.remaining, wanted)
            wanted -= kept
            moves += [("remaining", lot.number, -lot.remaining),
                      ("expired", lot.number, lot.remaining - kept)]
        made = None
        if rolled:
            moves.append(("remaining", number, rolled))
            made = Lot(0, s.wallet, rolled, s.source, s.priority,
                       min((x.effective for x in lots), default=s.next),
                       next_boundary(s.every, s.zone, s.next), 0, s.number)
        s.rolled_at = s.next
        self.enter("expire", s.next, s.wallet, s.wallet, rolled - left, moves, made,
                   of=s.number, rolled=rolled)

    def recur(self, s):  # 12
        begin, end = s.next, next_boundary(s.every, s.zone, s.next)
        lot = Lot(0, s.wallet, s.amount, s.source, s.priority, begin, end, 0, s.number)
        s.begun, s.next = True, end
        self.enter("recur", begin, s.wallet, s.wallet, s.amount,
                   self.grant_moves(s.wallet, self.coming(), s.amount), lot,
                   of=s.number, expires=end)

    def true_up(self, key, when):  # 21
        (counter, tenant), volume = key, self.volumes.pop(key)
        *_, dimension, _ = counter
        amount = 0
        for (card, number), sums in volume.items():
            prices = prices_of(self.cards[card], number)
            _, steps, _ = card_model.steps_of(prices, dimension)
            unit, per = card_model.unit_at(steps, self.counters[counter]), card_model.per(
                prices, dimension)
            amount += round(sums["weighted"] * unit / per) - round(sums["charged"] / per)
        newest = volume[max(volume)]  # by number of card, then of entry
        wallet, posted, time = newest["wallet"], newest["posted"], max(when, self.time)
        moves, lot = [], None
        if posted and amount > 0:
            moves = self.take(wallet, amount, time, time)
        elif posted and amount < 0:
            moves = self.grant_moves(wallet, self.coming(), -amount)
            lot = Lot(0, wallet, -amount, TRUE_UP, 100, when, 0, 0)
        self.enter("true_up", when, tenant, wallet, -amount if posted else 0, moves, lot,
                   price=amount)

    # ------------------------------------------------------------------ usage

    def counter_of(self, card, number, dimension, pool, tenant, started):  # 20
        entry = card["models"][number]
        return (f"pool={pool}" if pool else f"tenant={tenant}", card.get("name", "list"),
                card_model.conditions(entry), dimension, month_of(started))

    def price(self, use, quantities, billable=True):
        """What it costs by the cards, counters and sessions as they stand; and what counts it,
        once it is known whether it is posted."""
        nothing = {"card": None, "price": 0, "cost": 0, "positions": {}, "session": False,
                   "unpriced": billable}
        found = card_model.pick(self.cards, use) if billable else None
        if not found:
            return nothing, lambda posted: None
        card, number = found
        tenant, started, time = use["number"], use["started"], use["time"]

        begins = False
        if card_model.has_session(card, number):  # 22
            session = None
            begins = True
            if use.get("session") and use.get("trusted"):
                session = (tenant, use["session"], card.get("name", "list"),
                           card_model.conditions(card["models"][number]))
                first = self.sessions.get(session)
                begins = first is None or time >= first + 2 * DAY or started >= first + DAY
            quantities = quantities | {"session": 1 if begins else 0}

        def counter(dimension):
            prices = prices_of(card, number)
            pool = card_model.steps_of(prices, dimension)[2]
            return self.counter_of(card, number, dimension, pool, tenant, started)

        try:
            charge = card_model.charge(
                card, number, card_model.discount_milli(card, use["tier"]), quantities,
                lambda d: self.counters.get(counter(d), 0))
        except card_model.Unfit:  # 23
            return nothing, lambda posted: None

        def count(posted):
            if begins and session:
                self.sessions[session] = started
            for dimension, by in charge.counted.items():
                self.counters[counter(dimension)] = charge.positions[dimension] + by
            for dimension, weighted, unit in charge.volume:
                version = self.cards.index(card), number
                self.count_volume(counter(dimension), use | {"posted": posted}, version,
                                  weighted, unit)

        return {"card": (card.get("name", "list"), card["version"], number),
                "price": charge.price, "cost": charge.cost, "positions": charge.positions,
                "session": begins, "unpriced": False}, count

    def count_volume(self, counter, use, version, weighted, unit):
        if max(use["time"], self.time) >= month_end(counter[-1]) + HOUR:
            return  # its month is closed: not trued up again
        volume = self.volumes.setdefault((counter, use["number"]), {})
        sums = volume.setdefault(version, {"weighted": 0, "charged": 0})
        sums["wallet"], sums["posted"] = use["wallet"], use["posted"]
        sums["weighted"] += weighted
        sums["charged"] += weighted * unit

    def usage(self, row):
        """A finished request. False: its id is known."""
        if row["id"] in self.ids:
            return False
        time = max(row["ended"], self.time)
        self.advance(time)
        self.ids.add(row["id"])
        use = row | {"time": time}
        priced, count = self.price(use, row["quantities"], row["billable"])
        posted = row["posted"]
        moves = self.take(row["wallet"], priced["price"], row["started"], time) if posted else []
        if not self.fits(row["wallet"], moves):
            posted, moves = False, []  # a debt that does not fit: kept, and nobody pays
        self.enter("usage", row["ended"], row["number"], row["wallet"],
                   -priced["price"] if posted else 0, moves, **priced)
        count(posted)
        return True

    # ------------------------------------------------------------------ what somebody asks for

    def post(self, op, now):
        """The entry that comes of it, or Refused. Asked again: the same, and True."""
        said = {k: v for k, v in op.items() if k not in ("key", "now", "overage")}
        content = json.dumps(said, sort_keys=True)
        if op["key"] in self.keys:
            was, entry = self.keys[op["key"]]
            if was != content:
                raise Refused("EEXIST")
            return entry, True
        time = max(now, self.time)
        self.check(op, now)
        self.advance(time)
        entry = getattr(self, "post_" + op["kind"])(op, now, time)
        self.keys[op["key"]] = content, entry
        self.advance(self.time)  # what it began may be due at once
        self.ask_for_more(entry.wallet)
        return entry, False

    def check(self, op, now):
        kind, amount = op["kind"], op.get("amount", 0)
        if not op["key"]:
            raise Refused("EINVAL")
        if op["tenant"] not in self.known:
            raise Refused("ENOENT")
        if kind in ("grant", "schedule", "deduct") and amount <= 0:
            raise Refused("EINVAL")
        if kind == "adjust" and not amount or kind == "refund" and amount < 0:
            raise Refused("EINVAL")
        if kind in ("grant", "schedule") and op["source"] not in (PAID, PROMO, TRIAL):
            raise Refused("EINVAL")
        if kind == "schedule":
            if op["every"] not in ("day", "week", "month") or not is_zone(op["zone"]):
                raise Refused("EINVAL")
            if not 0 <= op["roll_min"] <= op["roll_max"]:
                raise Refused("EINVAL")
            if op["effective"] and op["effective"] < now:  # 15
                raise Refused("EINVAL")
        if kind == "grant":
            effective, expires = op["effective"] or now, op["expires"]
            if max(effective, expires) > INT64_MAX:
                raise Refused("EINVAL")
            if expires and expires <= max(effective, now):
                raise Refused("EINVAL")

    def post_grant(self, op, now, time):
        amount, wallet = op["amount"], op["tenant"]
        effective = op["effective"] or now
        lot = Lot(0, wallet, amount, op["source"], op["priority"], effective, op["expires"], 0)
        moves = [("pending", self.coming(), amount)]
        if effective <= time:
            moves = self.grant_moves(wallet, self.coming(), amount)
        return self.enter("grant", now, wallet, wallet, amount, moves, lot)

    def post_adjust(self, op, now, time):
        amount, wallet = op["amount"], op["tenant"]
        if amount < 0:
            return self.enter("adjust", now, wallet, wallet, amount,
                              self.take(wallet, -amount, time, time))
        lot = Lot(0, wallet, amount, ADJUST, 100, now, 0, 0)
        return self.enter("adjust", now, wallet, wallet, amount,
                          self.grant_moves(wallet, self.coming(), amount), lot)

    def post_deduct(self, op, now, time):  # 9
        amount, wallet = op["amount"], op["tenant"]
        if self.balance(wallet) + op["overage"] < amount and not op["allow_debt"]:
            raise Refused("ENODATA")
        return self.enter("deduct", now, wallet, wallet, -amount,
                          self.take(wallet, amount, time, time))

    def post_void(self, op, now, time):  # 8, 14
        wallet, of = op["tenant"], op["of"]
        schedule, lot = self.schedules.get(of), self.lots.get(of)
        if op["schedule"]:
            if not schedule or schedule.wallet != wallet:
                raise Refused("ENOENT")
            if schedule.stopped:
                raise Refused("EINVAL")
            schedule.stopped = True
            return self.enter("void", now, wallet, wallet, 0, of=of)
        if not lot or lot.wallet != wallet:
            raise Refused("ENOENT")
        rest = lot.pending + lot.remaining
        if not rest:
            raise Refused("EINVAL")
        lot.voided = True
        return self.enter("void", now, wallet, wallet, -rest,
                          [("pending", of, -lot.pending), ("remaining", of, -lot.remaining)],
                          of=of)

    def post_refund(self, op, now, time):  # 11
        wallet, of = op["tenant"], op["of"]
        if not 0 < of <= len(self.entries):
            raise Refused("ENOENT")
        entry = self.entries[of - 1]
        if entry.wallet != wallet or entry.amount >= 0 or entry.kind not in REFUNDABLE:
            raise Refused("EINVAL")
        before = self.refunded.get(of, 0)
        q = op["amount"] or -entry.amount - before
        if not 0 < q <= -entry.amount - before:
            raise Refused("EINVAL")
        # What it took, one after the other, last first; [before, before + q) of it comes back.
        moves, own, at = [], 0, 0
        for purse, number, nano in reversed(entry.took()):
            part = max(0, min(at + nano, before + q) - max(at, before))
            at += nano
            if purse == "debt":
                repaid = min(part, self.debt.get(wallet, 0))
                moves.append(("debt", 0, -repaid))
                own += part - repaid
                continue
            lot = self.lots[number]
            if not lot.voided and not lot.is_expired(time):
                moves.append(("remaining", number, part))
            elif op["as_grant"]:
                own += part
            elif not lot.voided:
                moves.append(("expired", number, part))
        made = None
        if own:
            moves.append(("remaining", self.coming(), own))
            made = Lot(0, wallet, own, REFUND, 100, now, 0, 0)
        entry = self.enter("refund", now, wallet, wallet, q, moves, made, of=of)
        self.refunded[of] = before + q
        return entry

    def post_schedule(self, op, now, time):  # 12, 15
        wallet, starts = op["tenant"], op["effective"] or now
        entry = self.enter("schedule", now, wallet, wallet)
        self.schedules[entry.seq] = Schedule(
            entry.seq, wallet, op["amount"], op["source"], op["priority"], op["every"],
            op["zone"], op["roll_min"], op["roll_max"], starts)
        return entry

    def post_meter(self, op, now, time):
        started = op["started"] or now
        use = op | {"number": op["tenant"], "tenant": op["name"], "started": started,
                    "time": time, "meter": op["dimension"]}
        priced, count = self.price(use, {"unit": op["quantity"]})
        posted = op["posted"]
        moves = self.take(op["wallet"], priced["price"], started, time) if posted else []
        entry = self.enter("meter", now, op["tenant"], op["wallet"],
                           -priced["price"] if posted else 0, moves, **priced)
        count(posted)
        return entry


def prices_of(card, number):
    entry = card["models"][number]
    return entry["cost"] if "markup" in entry else entry["price"]
