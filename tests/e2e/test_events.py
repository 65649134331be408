# SPDX-License-Identifier: Apache-2.0
"""What subscribers get is what the ledger has: `weirctl events verify` finds whatever is not so."""
import csv
import io
import json
import threading
from fractions import Fraction

import pytest
from checks import wait_events
from weirlab import policy, wait_for
from weirlab.contract import check_event
from weirlab.clients import Sdk

POLICY = policy.document({"paid": {"credit": "hard"}}, {"acme": ("paid", "sk-acme")})
OTHER = "/weir/00000000-0000-0000-0000-000000000000/lab"


class Nats:
    """The NATS protocol by hand: what an operator, a broken disk or a stranger may do."""

    def __init__(self, lab):
        self.sock = lab.socket(where="server")
        self.sock.connect(("127.0.0.1", 4222))
        self.file = self.sock.makefile("rb")
        self.file.readline()  # INFO
        self.sock.sendall(b'CONNECT {"verbose":false}\r\nSUB _INBOX.t 1\r\n')

    def request(self, subject, body=""):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.sock.sendall(b"PUB %s _INBOX.t %d\r\n%s\r\n" % (subject.encode(), len(data), data))
        while True:
            line = self.file.readline().split()
            if line[0] == b"PING":
                self.sock.sendall(b"PONG\r\n")
            elif line[0] == b"MSG":
                answer = json.loads(self.file.read(int(line[-1]) + 2))
                assert "error" not in answer, answer
                return answer
            else:
                assert line[0] in (b"PONG", b"+OK"), line

    def plant(self, message, event):
        """Behind the agent's back, and without a message id."""
        return self.request(message["subject"], event)["seq"]

    def delete(self, seq):
        assert self.request("$JS.API.STREAM.MSG.DELETE.METER", {"seq": seq})["success"]

    def purge(self):
        assert self.request("$JS.API.STREAM.PURGE.METER")["success"]

    def close(self):
        self.file.close()
        self.sock.close()


def drained(lab):
    def quiet():
        nats = lab.ctl("status")["nats"]
        return nats["connected"] and not nats["backlog"]
    wait_for(quiet, "the backlog to drain", 30)


def verify(lab, ok=True):
    done = lab.weirctl("events", "verify", "--json", check=False)
    assert done.returncode == (0 if ok else 1), done.stderr
    seen = json.loads(done.stdout)
    assert seen["ok"] == ok
    assert bool(done.stderr) != ok
    return seen


def found(seen):
    return {(f["wrong"], f["ledger_seq"], f["stream_seq"]) for f in seen["findings"]}


@pytest.fixture
def worked(lab_nats):
    """Eight events of one request or report each, the last a report: messages 1 to 8."""
    lab = lab_nats
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "acme", "10")
    sdk = Sdk(lab, "sk-acme")
    for i in range(7):
        assert sdk.call(tokens=1 + i, stream=i % 2 == 0, include_usage=True)["ok"]
    wait_events(lab, 7)
    lab.ctl("meter", "add", "acme", "storage_gb", "1.5", "--id", "m1")
    drained(lab)
    return lab


def test_what_is_wrong_on_the_stream_is_found(worked):
    lab, nats = worked, Nats(worked)
    messages = lab.stream()
    events = [m["event"] for m in messages]
    seqs = [e["data"]["ledger_seq"] for e in events]
    seen = verify(lab)
    assert (seen["entries"], seen["events"], seen["same"]) == (8, 8, 8)
    assert (seen["from_seq"], seen["to_seq"], seen["tenants"]) == (1, seqs[-1], 1)
    assert seen["total"]["price_events"] == seen["total"]["price_entries"]

    # The same again; in other words, as an older agent would have told it.
    nats.plant(messages[1], events[1])
    seen = verify(lab, ok=False)
    assert found(seen) == {("doubled", seqs[1], 9)} and seen["doubled"] == 1

    # One is gone. Then it is there, with another price, or in another's name.
    nats.delete(3)
    seen = verify(lab, ok=False)
    assert ("missing", seqs[2], None) in found(seen) and seen["missing"] == 1
    assert [s["tenant"] for s in seen["sums"]] == ["acme"] and seen["tenants_wrong"] == 1
    altered = json.loads(json.dumps(events[2]))
    altered["data"]["price"] = "0.77"
    nats.plant(messages[2], altered)
    seen = verify(lab, ok=False)
    assert found(seen) == {("doubled", seqs[1], 9), ("different", seqs[2], 10)}
    assert any("price is \"0.77\"" in f["why"] for f in seen["findings"])
    assert seen["sums"][0]["price_events"] != seen["sums"][0]["price_entries"]

    # Nobody's: no such entry, not a usage entry, of another ledger, nothing at all.
    unknown = json.loads(json.dumps(events[3]))
    unknown["id"] = "00" * 16
    unknown["data"]["ledger_seq"] = 10 ** 6
    nats.plant(messages[3], unknown)
    unknown["data"]["ledger_seq"] = 1  # the grant
    nats.plant(messages[3], unknown)
    nats.plant(messages[3], {**events[3], "source": OTHER})
    nats.plant(messages[3], "{")
    seen = verify(lab, ok=False)
    assert found(seen) == {("doubled", seqs[1], 9), ("different", seqs[2], 10),
                           ("unknown", 10 ** 6, 11), ("unknown", 1, 12)}
    assert (seen["foreign"], seen["foreign_source"], seen["foreign_among"]) == (1, OTHER, True)
    assert seen["malformed"] == 1

    told = lab.weirctl("events", "verify", check=False)
    assert told.returncode == 1
    assert "0 missing, 1 doubled, 2 unknown, 1 different, 1 malformed" in told.stderr
    assert "do two agents have one \"node\"?" in told.stdout

    # Purged: somebody's decision, and the end of it.
    nats.purge()
    seen = verify(lab)
    assert seen["entries"] == 0 and seen["from_seq"] > seen["to_seq"]
    lab.ctl("meter", "add", "acme", "storage_gb", "2", "--id", "m2")
    drained(lab)
    seen = verify(lab)
    assert (seen["entries"], seen["events"], seen["same"]) == (1, 1, 1)
    nats.close()
    lab.stop_nats()
    told = lab.weirctl("events", "verify", check=False)
    assert told.returncode == 1 and "nats: " in told.stderr


def test_the_contract_takes_what_is_told_and_nothing_else(worked):
    lab = worked
    lab.ctl("credit", "refund", f"#{lab.stream()[0]['event']['data']['ledger_seq']}", "--id", "r1")
    drained(lab)
    events = [m["event"] for name in ("METER", "LEDGER") for m in lab.stream(name)]
    assert {e["type"] for e in events} == {"weir.usage.v1", "weir.ledger.v1"}
    previous = {"weir.usage.v1": 0, "weir.ledger.v1": 0}
    for event in events:
        data = check_event(event)["data"]
        assert data["previous_seq"] == previous[event["type"]]
        previous[event["type"]] = data["ledger_seq"]
    for change in ({"price": 0.5}, {"price": "0.50"}, {"price": "1e3"}, {"ledger_seq": 0},
                   {"previous_seq": -1}, {"input_tokens": -1}, {"input_tokens": "7"},
                   {"usage_source": "guessed"}, {"a_new_field": 1}, {"tenant": "a.b"},
                   {"started_at": "2026-11-21"}, {"lines": [{"dimension": "input"}]},
                   {"billable": False}):
        with pytest.raises(AssertionError):
            check_event({**events[0], "data": {**events[0]["data"], **change}})
    for field in ("id", "source", "subject", "time"):
        with pytest.raises(AssertionError):
            check_event({k: v for k, v in events[0].items() if k != field})


def test_it_may_be_looked_at_while_load_goes_on(worked):
    lab = worked
    stop = threading.Event()
    counts = []

    def load():
        sdk = Sdk(lab, "sk-acme")
        while not stop.is_set():
            calls = [sdk.start(tokens=2) for _ in range(8)]
            counts.append(sum(c.result()["ok"] for c in calls))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        wait_for(lambda: len(counts) > 2, "load")
        for _ in range(5):
            seen = verify(lab)
            assert seen["same"] == seen["events"] >= seen["entries"] >= 8
    finally:
        stop.set()
        thread.join()
    wait_events(lab, 8 + sum(counts))
    drained(lab)
    assert verify(lab)["entries"] == 8 + sum(counts)


COMPOUND = {"name": "list", "version": "2026-11", "effective_from": "2026-11-01T00:00:00Z",
            "models": [{"match": "llama*", "multiplier": "1.5",
                        "price": {"input": "0.000123", "cache_read": "0.25", "output": "1.5",
                                  "request": "0.01", "per": 1000}},
                       {"meter": "storage_gb", "price": {"unit": "0.02"}}],
            "discounts": {"paid": "0.1"}}


def test_others_are_told_in_their_words(lab):
    lab.start_agent(policy.document(
        {"paid": {"credit": "hard"}}, {"org": ("paid", "sk-org"), "acme": {
            "tier": "paid", "keys": [policy.hash_key("sk-acme")], "parent": "org",
            "wallet": "parent"}}, cards=[COMPOUND]))
    lab.ctl("credit", "grant", "org", "100")
    sdk = Sdk(lab, "sk-acme")
    for i in range(4):
        assert sdk.call(tokens=3 + i, prompt_tokens=40 + i)["ok"]
    wait_events(lab, 4)
    lab.ctl("meter", "add", "acme", "storage_gb", "1.5", "--id", "m1")
    events = lab.ctl_lines("events")
    assert [check_event(e)["type"] for e in events] == ["weir.usage.v1"] * 5
    prices = {e["id"]: Fraction(e["data"]["price"]) for e in events}

    def told(*words):
        return lab.weirctl("events", *words).stdout

    def lines(*words):
        return [json.loads(line) for line in told(*words).splitlines()]

    assert lines("--format", "cloudevents") == events

    stripe = lines("--format", "stripe", "--event-name", "weir")
    assert {m["identifier"]: Fraction(m["payload"]["value"]) for m in stripe} == {
        f"{id}-price": price * 10 ** 9 for id, price in prices.items()}
    assert {(m["event_name"], m["payload"]["stripe_customer_id"]) for m in stripe} == {
        ("weir", "org")}
    tokens = lines("--format", "stripe", "--value", "output_tokens")
    assert [int(m["payload"]["value"]) for m in tokens] == [
        e["data"]["output_tokens"] for e in events[:4]]

    lago = lines("--format", "lago", "--credit-price", "0.013")
    assert {m["transaction_id"]: Fraction(m["precise_total_amount_cents"]) for m in lago} == {
        id: price * 13 / 10 for id, price in prices.items()}
    assert {m["external_subscription_id"] for m in lago} == {"org"}

    rows = list(csv.DictReader(io.StringIO(told("--format", "focus", "--currency", "EUR",
                                                "--credit-price", "0.013"))))
    cost = dict.fromkeys(prices, Fraction(0))
    for row in rows:
        cost[row["x_EventId"]] += Fraction(row["BilledCost"])
        assert abs(Fraction(row["ContractedUnitPrice"]) * Fraction(row["PricingQuantity"]) -
                   Fraction(row["ContractedCost"])) <= Fraction(2, 10 ** 9)
        assert (row["BillingAccountId"], row["SubAccountId"]) == ("org", "acme")
    assert cost == {id: price * 13 / 1000 for id, price in prices.items()}
    assert len(rows) == 4 * 3 + 1 and len(rows[0]) == 34
    assert {r["PricingUnit"] for r in rows} == {"1000 Tokens", "Requests", "Units"}

    for words in (["--format", "xml"], ["--format", "focus"], ["--format", "lago", "--json"],
                  ["--format", "stripe", "--value", "tokens"],
                  ["--format", "lago", "--credit-price", "0"]):
        done = lab.weirctl("events", *words, check=False)
        assert done.returncode == 2 and words[-2] in done.stderr
