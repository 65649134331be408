# SPDX-License-Identifier: Apache-2.0
"""Three accounts of one thing: what the model server wrote down that it served, what the ledger
has, what the stream has. Read each by its own way, then compared, event by event."""
import collections
import json
import time

from node import names
from weirlab import LabError, policy, wait_for

MODEL = "llama-3.3-70b-instruct"
SHOWN = 6  # differences of a kind that are told in full

Served = collections.namedtuple("Served", "tenant prompt completion stream done")


class Differences:
    """What is not as it should be, by kind."""

    def __init__(self):
        self._found = collections.defaultdict(list)

    def add(self, kind, text):
        self._found[kind].append(text)

    def all_of(self, kind, things):
        for thing in things:
            self.add(kind, thing)

    def __str__(self):
        lines = []
        for kind, found in self._found.items():
            lines.append(f"{kind}: {len(found)}")
            lines += [f"    {text}" for text in found[:SHOWN]]
        return "\n".join(lines)

    def __bool__(self):
        return bool(self._found)


class Account:
    """Of one node. The server's book and the stream only grow: of those, what is new is read."""

    def __init__(self, node):
        self.node, self.lab = node, node.lab
        self.served = {}  # x-request-id: Served
        self.stream = {}  # event's id: its ledger_seq
        self.inversions = 0  # events behind one of a higher ledger_seq: sent again
        self.others = {"LEDGER": {}, "ALERT": {}}  # event's id: the event
        self.entries = 0  # that are LEDGER's
        self._new = []  # of the stream, since the last check
        self._book_at, self._highest = 0, 0
        self._at = collections.Counter()  # how far each stream is read
        self._prices = {}

    def price(self, *counts):
        if counts not in self._prices:
            self._prices[counts] = policy.price(MODEL, *counts)
        return self._prices[counts]

    # ----------------------------------------------------------------- reading

    def settle(self):
        """Until the agent has nothing more to do with what is over, or time is up: then it is among
        the differences."""
        def idle():
            s = self.lab.ctl("status")
            return (not s["ring"]["used"] and s["nats"]["connected"] and not s["nats"]["backlog"]
                    and not any(self._gauges()))
        try:
            wait_for(idle, "the agent to be done", 90, every=0.1)
        except LabError:
            return self.lab.ctl("status")
        return None

    def _gauges(self):
        """What is not 0 and should be."""
        for t in self.lab.ctl("tenant", "list"):
            live = t["live"]
            for gauge in ("inflight", "reserved", "reserved_tokens"):
                if live[gauge] not in (0, "0", None):
                    yield f"{t['tenant']}: {gauge} is {live[gauge]}"

    def read_served(self):
        with open(self.node.book, encoding="ascii") as book:
            book.seek(self._book_at)
            for line in iter(book.readline, ""):
                name, t, prompt, completion, stream, end = line.split()
                self.served[name.replace("soak-", "req-")] = Served(
                    f"t{t}", int(prompt), int(completion), stream == "1", end == "done")
            self._book_at = book.tell()

    def read_stream(self, d):
        self._new = []
        with self.node.wire() as wire:
            self._read_others(wire, d)
            for m in wire.read("METER", self._at["METER"] + 1):
                self._at["METER"] = m.seq
                event = json.loads(m.data)
                name, seq = event["id"], event["data"]["ledger_seq"]
                if name in self.stream:
                    d.add("twice on the stream", f"{name}, ledger_seq {seq}, again at {m.seq}")
                if name != m.msg_id or m.subject != f"meter.v1.{event['subject']}.lab":
                    d.add("a message of another event", f"{m.subject} {m.msg_id}: {name}")
                self.inversions += seq < self._highest
                self._highest = max(self._highest, seq)
                self.stream[name] = seq
                self._new.append(event)

    def _read_others(self, wire, d):
        for stream, events in self.others.items():
            for m in wire.read(stream, self._at[stream] + 1):
                self._at[stream] = m.seq
                event = json.loads(m.data)
                if event["id"] in events:
                    d.add(f"twice on {stream}", f"{event['id']} again at {m.seq}")
                events[event["id"]] = event

    def paying(self):
        return names(self.node.tenants, "paid") + names(self.node.tenants, "poor")

    def compare_others(self, d):
        """What is on LEDGER is an entry, the same, and names the one before it. Some may have been
        skipped."""
        entries, before = {}, {}
        for tenant in self.paying():
            entries.update((e["seq"], e) for e in self.lab.ctl_lines("ledger", tenant)
                           if e["kind"] not in ("usage", "meter", "top_up"))
        for seq, last in zip(sorted(entries), [0, *sorted(entries)]):
            before[seq] = last
        for event in self.others["LEDGER"].values():
            data = dict(event["data"])
            seq, previous = data.pop("ledger_seq", data["seq"]), data.pop("previous_seq", None)
            right = entries.get(seq) == data and previous in (None, before.get(seq))
            if not right:
                d.add("another entry on LEDGER than in the ledger", json.dumps(event)[:900])
        self.entries = len(entries)

    def read_ledger(self, at_least):
        """Its usage events in order, once there are so many, or time is up."""
        deadline = time.monotonic() + 20
        while True:
            events = [e for e in self.lab.ctl_lines("events") if e["type"] == "weir.usage.v1"]
            if len(events) >= at_least or time.monotonic() > deadline:
                return events
            time.sleep(0.5)

    # --------------------------------------------------------------- comparing

    def check(self):
        """The three, compared: nothing is missing anywhere, nothing is twice, nothing differs."""
        d = Differences()
        if status := self.settle():
            d.add("not done after 90 s", json.dumps({k: status[k] for k in ("ring", "nats")}))
        self.node.grants.join_all()
        self.read_served()
        events = self.read_ledger(len(self.served))
        self.read_stream(d)
        self.compare_stream(d, events)
        self.compare_served(d, events)
        self.compare_lane(d, events)
        self.compare_others(d)
        self.compare_tenants(d, events)
        self.compare_counters(d, len(events))
        self.verify(d)
        if d:
            raise AssertionError(str(d))
        return events

    def compare_stream(self, d, events):
        ledger = {e["id"]: e for e in events}
        if len(ledger) != len(events):
            d.add("twice in the ledger", f"{len(events)} entries, {len(ledger)} ids")
        d.all_of("in the ledger, not on the stream",
                 [f"{i} ledger_seq {ledger[i]['data']['ledger_seq']}"
                  for i in sorted(ledger.keys() - self.stream.keys())])
        d.all_of("on the stream, not in the ledger",
                 [f"{i} ledger_seq {self.stream[i]}"
                  for i in sorted(self.stream.keys() - ledger.keys())])
        for event in self._new:
            if ledger.get(event["id"], event) != event:
                d.add("another event in the ledger than on the stream",
                      f"{event}\n      {ledger[event['id']]}")

    def compare_served(self, d, events):
        seen = set()
        for e in events:
            data = e["data"]
            name = data.get("client_request_id")
            if name not in self.served:
                d.add("an event of what nobody served", json.dumps(data)[:600])
            elif name in seen:
                d.add("an answer metered twice", f"{name}: {data['request_id']}")
            else:
                seen.add(name)
                self.compare_event(d, name, self.served[name], data)
        d.all_of("served, and in no event",
                 [f"{i}: {self.served[i]}" for i in sorted(self.served.keys() - seen)])

    def compare_event(self, d, name, served, data):
        counts = data.get("input_tokens"), data.get("output_tokens", 0)
        right = (data["tenant"], data["stream"]) == (served.tenant, served.stream)
        price = policy.nano(data["price"])
        if served.done:
            want = served.prompt, served.completion
            right = (right and data["usage_source"] == "reported" and counts == want and
                     price == self.price(*want))
        else:  # what was sent last nobody may have read
            right = right and data["usage_source"] == "partial" and counts[1] <= served.completion
        if not right or data["model"] != MODEL:
            d.add("metered otherwise than served", f"{name}: {served}, {json.dumps(data)[:600]}")

    def compare_lane(self, d, events):
        """previous_seq links each event to the one before it."""
        before = 0
        for e in events:
            data = e["data"]
            if "previous_seq" in data and data["previous_seq"] != before:
                d.add("previous_seq", f"{e['id']}: {data['previous_seq']}, not {before}")
            before = data["ledger_seq"]

    def compare_tenants(self, d, events):
        d.all_of("not given back", self._gauges())
        balance = collections.Counter()
        for tenant, nano in self.node.grants.given.values():
            balance[tenant] += nano
        for e in events:
            balance[e["subject"]] -= policy.nano(e["data"]["price"])
        paying = set(self.paying())
        for t in self.lab.ctl("tenant", "list"):
            name, live = t["tenant"], t["live"]
            if name in paying and policy.nano(live["balance"]) != balance[name]:
                d.add("balances", f"{name}: {live['balance']}, the events make "
                                  f"{policy.credits(balance[name])}")

    def compare_counters(self, d, n_events):
        """The kernel's, since its maps were made."""
        status = self.lab.ctl("status")
        verdicts = status["verdicts"]
        for name in ("tap_lost", "end_lost", "tap_hole", "map_full", "pass_internal"):
            if verdicts[name]:
                d.add("counters", f"{name} is {verdicts[name]}")
        if verdicts["admit_request"] != n_events:
            d.add("counters", f"{verdicts['admit_request']} admitted, {n_events} events")
        drift = status["drift"]
        wrong = ["failed", "reservations_off", *(k for k in drift if k.startswith("corrected_"))]
        d.all_of("drift", [f"{k} is {drift[k]}" for k in wrong if drift[k]])

    def verify(self, d):
        """What the agent's own two checks say of it."""
        for what in ("ledger", "events"):
            done = self.lab.weirctl(what, "verify", check=False)
            if done.returncode:
                d.add(f"weirctl {what} verify", done.stdout[-1500:] + done.stderr[-500:])
