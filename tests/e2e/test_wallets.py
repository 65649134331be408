# SPDX-License-Identifier: Apache-2.0
"""One credit for many: who pays, from when to when, and never more than there is."""
import datetime
import threading
import time

import pytest
from checks import events_of, totals
from limit_lab import LimitLab, document, reservation, tenant
from weirlab import policy, wait_for

OUT = 10
HELD = 2  # tokens that a held stream answers with
EACH = reservation(OUT, hold=1)
CLIENTS, TEAMS, DEDUCTORS = 64, 8, 4


def paid_by(wallet, made):
    """The tenant, with a wallet."""
    for one in made.values():
        one["wallet"] = wallet
    return made


MISSPELT = {"name": "vectors", "version": "1", "effective_from": "2026-11-01T00:00:00Z",
            "services": ["embd"], "models": [{"match": "*", "price": {"input": "9"}}]}
POLICY = document(
    tenant("org", "paid"),
    paid_by("parent", tenant("small", "paid", "org", concurrency=1)),
    paid_by("parent", tenant("big", "paid", "org")),
    paid_by("parent", tenant("postpaid", "open", "org")),
    tenant("bank", "owing"), paid_by("bank", tenant("guest", "paid")),
    tenant("old", "paid"), tenant("new", "paid"), paid_by("old", tenant("mover", "paid")),
    tenant("brief", "paid"), tenant("orphan", "paid"), tenant("asker", "asks"),
    *(tenant(f"crowd{k}", "paid") for k in range(2)),
    *(paid_by(f"crowd{k}", tenant(f"team{k}-{i}", "paid")) for k in range(2) for i in range(TEAMS)),
    tiers={"paid": {"credit": "hard", "reserve_output_tokens": OUT},
           "owing": {"credit": "soft", "overage_limit": "5", "reserve_output_tokens": OUT},
           "asks": {"credit": "hard", "reserve_output_tokens": OUT,
                    "topup": {"below": "5", "ask": "50"}}},
    cards=(policy.CARD, MISSPELT))


@pytest.fixture(scope="module")
def lab():
    with LimitLab() as made:
        made.guard(POLICY, nats=False)
        yield made
        print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
        print(made.weirctl("ledger", "verify", check=False))
    assert made.leftovers() == []


def price(tokens):
    """Of a request of ask() or hold()."""
    return policy.price("llama-3.3-70b-instruct", 3, tokens)


def grant(lab, name, nano, *options):
    return lab.ctl("credit", "grant", name, policy.credits(nano), *options)


def balance(lab, name):
    return policy.nano(lab.ctl("credit", "balance", name)["balance"])


def settled(lab, name):
    """The balance once nothing of it is reserved, and ledger and kernel agree in it."""
    def done():
        ledger, live = lab.ctl("credit", "balance", name), lab.live(name)
        return (live["reserved"] == ledger["reserved"] == "0" and
                live["balance"] == ledger["balance"])
    wait_for(done, f"all that {name} pays to be settled", every=0.05)
    return balance(lab, name)


def entries(lab, name, kind):
    return [e for e in lab.ctl_lines("ledger", name) if e["kind"] == kind]


def refused(lab, *args):
    done = lab.weirctl(*args, check=False)
    assert done.returncode == 1, done
    return done.stderr


# ----------------------------------------------------------------- who pays

def test_an_organisation_pays_for_its_teams_which_keep_their_limits(lab):
    grant(lab, "org", 3 * EACH)
    assert lab.ask("big").status == 200
    grant(lab, "org", price(1))  # what that took
    lab.settled("big", 1)
    held = [lab.hold("small")]
    assert lab.ask("small").limit == "concurrency"  # its own, whatever there is to spend
    held += [lab.hold("big"), lab.hold("big")]
    assert all(held)
    last = lab.ask("big")
    assert (last.status, last.error["code"]) == (429, "insufficient_quota")
    shown = lab.ctl("tenant", "show", "small")
    assert shown["wallet"] == "org"
    assert policy.nano(shown["live"]["reserved"]) == 3 * EACH
    assert lab.ask("postpaid").status == 200  # has no credit to run out of
    assert "org" in lab.weirctl("tenant", "show", "small").stdout.splitlines()[0]
    lab.release(held)
    assert settled(lab, "org") == 3 * EACH - 3 * price(HELD)
    for name, n in (("small", 1), ("big", 3)):
        events = lab.settled(name, n)
        assert {e["wallet"] for e in events} == {"org"}
        assert lab.ctl("credit", "balance", name)["wallet"] == "org"
    assert policy.nano(lab.settled("postpaid", 1)[0]["price"]) == price(1)


def test_a_card_for_no_service_is_told_of_and_prices_nothing(lab):
    (line,) = [t for t in lab.log("agent").read_text().splitlines() if '"vectors"' in t]
    assert 'is for service "embd"' in line and 'did you mean "embed"?' in line


def test_credit_for_who_is_paid_for_is_refused(lab):
    before = lab.ctl("ledger", "verify")["entries"]
    for words in (("grant", "small", "5"), ("adjust", "small", "+5", "--reason", "x"),
                  ("deduct", "small", "5")):
        error = refused(lab, "credit", *words)
        assert "small" in error and "org" in error
    assert lab.ctl("ledger", "verify")["entries"] == before


def test_a_named_wallet_pays_down_to_its_own_overage(lab):
    assert lab.ask("guest").status == 200  # of nothing but what the bank may owe
    assert settled(lab, "bank") == -price(1)
    assert lab.ctl("tenant", "show", "guest")["live"]["balance"] == policy.credits(-price(1))
    lab.weirctl("credit", "deduct", "bank", policy.credits(policy.nano("5") - price(1) - EACH))
    (held,) = [lab.hold("guest")]
    assert lab.ask("guest").error["code"] == "insufficient_quota"
    # What is reserved cannot be taken by others either.
    assert "0 is left" in refused(lab, "credit", "deduct", "bank", "0.000000001")
    lab.release([held])
    assert settled(lab, "bank") == EACH - price(HELD) - policy.nano("5")


def test_a_wallet_that_changes_leaves_what_is_in_flight_where_it_was(lab):
    grant(lab, "old", 2 * EACH)
    grant(lab, "new", 2 * EACH)
    before = lab.hold("mover")
    lab.document["tenants"]["mover"]["wallet"] = "new"
    lab.apply()
    after = lab.hold("mover")
    for name in ("old", "new"):
        lab.gauge(name, "reserved", policy.credits(EACH))
    lab.document["tenants"]["mover"]["wallet"] = "self"
    lab.apply()
    assert lab.ask("mover").error["code"] == "insufficient_quota"  # nothing of its own
    lab.release([before, after])
    for name in ("old", "new"):
        assert settled(lab, name) == 2 * EACH - price(HELD)
    assert [e["wallet"] for e in lab.settled("mover", 2)].count("old") == 1
    lab.document["tenants"]["mover"]["wallet"] = "nobody"
    assert "tenants.mover.wallet" in refused(lab, "policy", "apply",
                                             lab.write_policy(lab.document, "bad"))
    assert lab.ctl("tenant", "show", "mover")["wallet"] == "mover"
    lab.document["tenants"]["mover"]["wallet"] = "old"


# ----------------------------------------------------------------- the exact instant

CLOCKS = 0.002  # s that the kernel's time may be off: it is told once a second, and may be slewed


def moment(seconds):
    """An instant some seconds from now, to the millisecond, as text and as time.time()."""
    at = round(time.time() + seconds, 3)
    ms = round(at * 1000) // 10 * 10 + 7  # as the ledger writes it: without zeros at its end
    whole = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return whole.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z", ms / 1000


def ask_across(lab, name, at):
    """Ask until the instant has passed, and see that it divides the answers. How many were
    given."""
    given = after = 0
    while after < 3:
        asked = time.time()
        status = lab.ask(name).status
        had = time.time()
        if had < at - CLOCKS:
            assert status == 200
        elif asked >= at + CLOCKS:
            assert status == 429
            after += 1
        given += status == 200
        time.sleep(0.02)
    assert given  # or it was over before it began
    return given


def assert_expired(lab, name, at_text, amount, given, held):
    """What began before the instant was paid from what expired then, the rest is gone."""
    assert settled(lab, name) == 0
    shown = lab.ctl("credit", "balance", name)
    assert shown["debt"] == "0"
    events = lab.settled(name, given + held)
    spent = totals(events)["price"]
    assert spent == given * price(1) + held * price(HELD)
    (entry,) = entries(lab, name, "expire")
    assert entry["time"] == at_text
    # What came into the ledger behind that took its share from what had expired.
    before = [e for e in entries(lab, name, "usage") if e["seq"] < entry["seq"]]
    late = [e for e in entries(lab, name, "usage") if e["seq"] > entry["seq"]]
    assert -policy.nano(entry["amount"]) == amount + sum(policy.nano(e["amount"]) for e in before)
    assert late and all(e["balance_before"] == e["balance_after"] == "0" for e in late)


def test_credit_expires_at_its_instant_but_for_what_is_in_flight(lab):
    at_text, at = moment(2.5)
    grant(lab, "brief", policy.nano("50"), "--expires", at_text)
    held = lab.hold("brief")
    given = ask_across(lab, "brief", at)
    lab.release([held])
    assert_expired(lab, "brief", at_text, policy.nano("50"), given, 1)


def test_credit_expires_at_its_instant_with_nobody_there_to_enter_it(lab):
    at_text, at = moment(4)
    grant(lab, "orphan", policy.nano("50"), "--expires", at_text)
    held = lab.hold("orphan")
    assert lab.ask("orphan").status == 200
    with lab.agent_down("SIGKILL"):
        given = 1 + ask_across(lab, "orphan", at)
        lab.release([held])
    assert_expired(lab, "orphan", at_text, policy.nano("50"), given, 1)


# ----------------------------------------------------------------- many

TOKENS = 40
CROWD_PRICE, CROWD_EACH = price(TOKENS), reservation(OUT, tokens=TOKENS, stream=False)


class Crowd:
    """64 clients, of tenants that one wallet pays for, and others who deduct from it: all of them
    until it has nothing left for them."""

    def __init__(self, lab, number, requests):
        self.lab, self.wallet = lab, f"crowd{number}"
        self.teams = [f"team{number}-{i}" for i in range(TEAMS)]
        self.granted = requests * CROWD_PRICE
        self.answers, self.deducted, self.lock = [], {}, threading.Lock()
        self.begun = threading.Event()  # of two that race for the wallet the slower is let begin
        grant(lab, self.wallet, self.granted)
        self.threads = [threading.Thread(target=self.client, args=(i,)) for i in range(CLIENTS)]
        self.threads += [threading.Thread(target=self.deduct, args=(i,)) for i in range(DEDUCTORS)]
        for thread in self.threads:
            thread.start()

    def client(self, i):
        status = 200
        assert self.begun.wait(60)
        while status == 200:
            status = self.lab.ask(self.teams[i % TEAMS], tokens=TOKENS, stream=False).status
            with self.lock:
                self.answers.append(status)

    def deduct(self, i):
        for n in range(1000):
            words = ("credit", "deduct", self.wallet, "0.01", "--id", f"{self.wallet}-{i}-{n}")
            # Unreachable, or nobody knows what came of it: asked again, under the same id.
            while (done := self.lab.weirctl(*words, check=False)).returncode in (3, 4):
                time.sleep(0.01)
            if done.returncode:
                assert done.returncode == 1 and "cannot be deducted" in done.stderr, done
                return
            with self.lock:
                self.deducted[words] = policy.nano("0.01")
            self.begun.set()

    def reached(self, answers):
        wait_for(lambda: len(self.answers) >= answers, f"{answers} answers", 60)

    def end(self):
        """What is left, when every client was told that there is nothing."""
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive()
        assert set(self.answers) == {200, 429} and self.deducted
        left = settled(self.lab, self.wallet)
        events = [e for team in self.teams for e in events_of(self.lab, team)]
        assert len(events) == self.answers.count(200)
        assert {e["wallet"] for e in events} == {self.wallet}
        assert totals(events)["price"] == len(events) * CROWD_PRICE
        assert totals(events)["price"] + sum(self.deducted.values()) == self.granted - left
        assert len(entries(self.lab, self.wallet, "deduct")) == len(self.deducted)
        assert self.lab.ctl("ledger", "verify")["ok"]
        return left


def test_64_clients_of_one_wallet_spend_what_is_there(lab):
    assert CROWD_PRICE > CROWD_EACH  # so that there is something to overspend
    assert Crowd(lab, 0, 800).end() < CROWD_EACH  # nobody was refused while there was enough


def test_of_64_at_once_so_many_are_let_in_as_one_wallet_has_credit_for(lab):
    """The bound that is promised: price less reservation, of each in flight."""
    each, n = reservation(OUT, tokens=TOKENS, hold=1), 20
    before = settled(lab, "crowd0")  # what the clients above have left, or owe
    grant(lab, "crowd0", n * each + each - 1 - before)
    held = lab.at_once([f"team0-{i % TEAMS}" for i in range(CLIENTS)], tokens=TOKENS)
    assert len(held) == n
    assert "cannot be deducted" in refused(lab, "credit", "deduct", "crowd0", policy.credits(each))
    lab.release(held)
    left = settled(lab, "crowd0")
    assert left == n * each + each - 1 - n * CROWD_PRICE
    assert 0 > left >= -n * (CROWD_PRICE - each)


def test_nothing_is_spent_twice_when_the_agent_is_killed_among_them(lab):
    crowd = Crowd(lab, 1, 800)
    for answers in (150, 350):
        crowd.reached(answers)
        with lab.agent_down("SIGKILL"):
            crowd.reached(answers + 20)
    crowd.end()


# ----------------------------------------------------------------- top-ups

def test_a_top_up_is_asked_for_once_a_crossing(lab):
    def asked():
        return [policy.nano(e["asked"]) for e in entries(lab, "asker", "top_up")]

    grant(lab, "asker", policy.nano("5") + price(1))
    assert lab.ask("asker").status == 200
    assert settled(lab, "asker") == policy.nano("5") and asked() == []
    for _ in range(3):
        assert lab.ask("asker").status == 200
    assert settled(lab, "asker") < policy.nano("5")
    assert asked() == [policy.nano("50")]
    lab.apply()  # the threshold is told anew
    assert lab.ask("asker").status == 200
    settled(lab, "asker")
    assert len(asked()) == 1
    grant(lab, "asker", policy.nano("1"))
    lab.weirctl("credit", "deduct", "asker", "1")
    assert len(asked()) == 2
