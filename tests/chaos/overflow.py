# SPDX-License-Identifier: Apache-2.0
"""The ring too small for what happens while nobody reads it: records are lost, and that is the one
thing here that may be. Then nothing is missing in silence: what was served is in an event, or in a
counter that says so, and an event that is not whole says that it is not."""
import json

from account import Differences
from weirlab import policy, wait_for

RING_BYTES = 64 << 10  # the least there can be


class Overflow:
    """Goes on with a node, whose agent is taken off and comes back with another ring."""

    def __init__(self, chaos, rounds):
        self.node, self.account, self.lab = chaos.node, chaos.account, chaos.node.lab
        self.rounds = rounds  # of (how, ms): who reads the ring is stopped or dead for so long
        self.lost = {}

    def run(self):
        node, account = self.node, self.account
        node.close_connections()  # of the old maps
        account.read_served()
        self.before = set(account.served), {e["id"] for e in account.check()}
        self.lab.stop_agent()
        self.lab.detach()
        self.lab.write_config(ring_bytes=RING_BYTES, max_flows=8192)
        node.start_agent()
        node.say("run")
        for how, ms in self.rounds:
            wait_for(lambda: node.streams() > node.sizes["long"]["streams"] // 2, "streams", 30)
            with self.lab.agent_down(how):
                node.pause(ms)
            node.killed["agent"] += how == "SIGKILL"
        node.load_ends(cut=True)
        self.check()

    def check(self):
        d, account = Differences(), self.account
        if status := account.settle():
            d.add("not done after 90 s", json.dumps({k: status[k] for k in ("ring", "nats")}))
        account.read_served()
        lost = self.lab.ctl("status")["verdicts"]["end_lost"]
        events = account.read_ledger(len(account.served) - lost)
        account.read_stream(d)
        account.compare_stream(d, events)
        account.compare_lane(d, events)
        account.compare_others(d)
        account.compare_tenants(d, events)
        account.verify(d)
        self.reconcile(d, [e["data"] for e in events if e["id"] not in self.before[1]])
        if d:
            raise AssertionError(f"after the ring overflowed:\n{d}")

    def reconcile(self, d, events):
        """Served = events + those whose END the kernel says it had no room for."""
        status = self.lab.ctl("status")
        verdicts = status["verdicts"]
        served = {i: s for i, s in self.account.served.items() if i not in self.before[0]}
        found, nameless, not_whole = set(), 0, 0
        for data in events:
            name = data.get("client_request_id")
            not_whole += data["usage_source"] != "reported"
            if name is None:
                nameless += 1
                if not data.get("lost_bytes"):
                    d.add("no name, and no word that bytes were lost", json.dumps(data)[:600])
            elif name not in served or name in found:
                d.add("nobody served it, or it is metered twice", json.dumps(data)[:600])
            else:
                found.add(name)
                self.compare(d, name, served[name], data)
        self.lost = {"served": len(served), "events": len(events), "end_lost": verdicts["end_lost"],
                     "tap_lost": verdicts["tap_lost"], "not_whole": not_whole, "nameless": nameless}
        if not verdicts["tap_lost"]:
            d.add("the ring did not overflow", str(self.lost))
        if len(served) != len(events) + verdicts["end_lost"]:
            d.add("missing in silence", f"{self.lost}, admitted {verdicts['admit_request']}")
        if status["ring"]["lost"] < verdicts["end_lost"] or not any(
                "ring" in w for w in status["warnings"]):
            d.add("nobody is told", f"{status['ring']}, {status['warnings']}")

    def compare(self, d, name, served, data):
        counts = data.get("input_tokens"), data.get("output_tokens", 0)
        right = data["tenant"] == served.tenant
        if data["usage_source"] == "reported":
            want = served.prompt, served.completion
            right = right and served.done and counts == want
            right = right and policy.nano(data["price"]) == self.account.price(*want)
        elif served.done and not data.get("lost_bytes"):
            right = False
        if not right:
            d.add("metered otherwise than served", f"{name}: {served}, {json.dumps(data)[:600]}")
