#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The soak: thousands of connections and streams of hundreds of tenants, with churn, aborts and
floods, and the kernel's gauges beside what the two ends have open.

    soak.py [--seconds 120] [--connections 10000] [--streams 2000] [--tenants 500] [--seed 1]
            [--kills 0]

At every sample each gauge is within its bounds. Every few seconds the churn pauses: then each
gauge is exactly what client and server have open, tenant by tenant, for parents and scopes too.
At the end all is 0, and each row of the ledger is what the server served."""
import argparse
import collections
import ipaddress
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from weirlab import Lab, policy, wait_for  # noqa: E402
from weirlab.lab import (BUILD, CLIENT4, PORT, SERVER4, LabError,  # noqa: E402
                         interrupt_on_signals, run)

sys.path.insert(0, str(HERE))
from gauges import Flows, Layouts, Tenants, entry_numbers  # noqa: E402

OWN, SYNS, KEYED = "10.96.0.0/13", "10.104.0.0/13", "10.112.0.0/13"  # soak.h
SERVICE = 1
LIMIT_CONNS, LIMIT_INFLIGHT, COUNTED = 1 << 5, 1 << 6, 1 << 0
TEAM, ORG = 10, 50  # tenants of one


def prefix(net, t):
    base = int(ipaddress.ip_network(net).network_address)
    return f"{ipaddress.ip_address(base + t * 256)}/24"


def document(tenants):
    """The policy: most tenants roomy, some tight, half of them in teams of organisations, some
    with limits of their own for the service."""
    roomy = {"connections": 1000, "concurrency": 200, "half_open": 64,
             "requests": {"per_second": 1000, "burst": 1000},
             "tokens": {"per_minute": 100_000_000, "burst": 10_000_000}}
    tiers = {
        "roomy": roomy,
        "paid": {**roomy, "credit": "hard", "reserve_output_tokens": 64},
        "few-connections": {**roomy, "connections": 5},
        "few-requests": {**roomy, "requests": {"per_minute": 60, "burst": 5}},
        "one-at-a-time": {**roomy, "concurrency": 1},
        "scoped": {**roomy, "services": {"llm": {"concurrency": 2, "connections": 500}}},
        "team": {"concurrency": 30, "connections": 10_000},
        "org": {"requests": {"per_second": 5000, "burst": 5000}, "connections": 100_000},
    }
    special = {3: "paid", 5: "few-connections", 6: "few-requests", 7: "one-at-a-time",
               8: "scoped", 9: "paid", 13: "paid", 18: "scoped"}
    document = {}
    for t in range(1, tenants + 1):
        tenant = {"tier": special.get(t % 20, "roomy"), "keys": [policy.hash_key(f"sk-soak-{t}")],
                  "sources": [prefix(OWN, t), prefix(SYNS, t)]}
        if t % 2:
            tenant["parent"] = f"team-{t // TEAM}"
        document[f"t{t}"] = tenant
    for k in range(tenants // TEAM + 1):
        document[f"team-{k}"] = {"tier": "team", "parent": f"org-{k * TEAM // ORG}"}
    for k in range(tenants // ORG + 1):
        document[f"org-{k}"] = {"tier": "org"}
    return policy.document(tiers, document)


class End:
    """The client or the server: a process that takes commands and answers in JSON."""

    def __init__(self, lab, where, name, argv):
        self.process = lab.spawn(argv, where, name, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)
        self.name, self._log = name, lab.log(name)

    def say(self, command="report"):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError) as e:
            raise LabError(f"{self.name} is gone: {self._log.read_text()[-2000:]}") from e


class Watch(threading.Thread):
    """Samples the gauges until told to stop, and keeps what was out of bounds."""

    def __init__(self, soak, every=0.02):
        super().__init__(daemon=True)
        self.soak, self.every, self.wrong = soak, every, []
        self.samples, self.most = 0, collections.Counter()
        self._halt = threading.Event()

    def run(self):
        try:
            while not self._halt.wait(self.every):
                self._look(self.soak.tenants.sample())
                self.samples += 1
        except Exception as e:  # shown by finish(), or nobody would know
            self.wrong.append(f"the watch ended: {e!r}")

    def finish(self):
        self._halt.set()
        self.join()

    def _complain(self, entry, text):
        if len(self.wrong) < 50:
            self.wrong.append(f"sample {self.samples}, {self.soak.called(entry)}: {text}")

    def _look(self, sample):
        column = self.soak.tenants.column
        flags = column(sample, "flags")
        for gauge, limit, bit in (("connections", "max_connections", LIMIT_CONNS),
                                  ("inflight", "max_inflight", LIMIT_INFLIGHT),
                                  ("half_open", "max_half_open", ~0)):
            values, limits = column(sample, gauge), column(sample, limit)
            self.most[gauge] = max(self.most[gauge], max(values))
            for i, value in enumerate(values):
                if value and (value < 0 or (flags[i] & bit and limits[i] and value > limits[i])):
                    self._complain(i, f"{gauge} is {value}, of {limits[i]} at most")
        for i in self.soak.entries:
            if min(self.soak.tenants.reserved(sample, i)) < 0 and self._still_negative(i):
                self._complain(i, f"reserved is {self.soak.tenants.reserved(sample, i)}")

    def _still_negative(self, entry):
        """A copy that was torn by a settlement is not below 0 three times in a row."""
        return all(min(self.soak.tenants.reserved(self.soak.tenants.sample(), entry)) < 0
                   for _ in range(3))


class Soak:
    """One laboratory with everything in it."""

    def __init__(self, lab, tenants, connections, streams, seed=1, pieces=40, gap=250,
                 interrupts=False, **rates):
        self.interrupts = interrupts
        self.lab, self.n = lab, tenants
        self.size = {"connections": connections, "streams": streams, "pieces": pieces, "gap": gap,
                     "asks": connections // 10, "unknown": 5 + connections // 1000,
                     "aborts": streams // 40, "closes": connections // 50,
                     "syns": tenants // 5, "seed": seed, **rates}
        self.quiet_points, self.slowest = 0, 0.0
        self.kills = 0

    # ------------------------------------------------------------------ set up

    def start(self):
        lab = self.lab
        lab.ip(lab.server_ns, "route", "add", "10.96.0.0/11", "via", CLIENT4)
        for net in (OWN, KEYED):
            lab.ip(lab.client_ns, "route", "add", "local", net, "dev", "lo")
        lab.in_server("sysctl", "-qw", "net.core.somaxconn=65535",
                      "net.ipv4.tcp_max_syn_backlog=65535")
        lab.in_client("sysctl", "-qw", "net.ipv4.ip_forward=0")
        if self.interrupts:
            cpus = (1 << min(os.cpu_count(), 32)) - 1
            for ns in (lab.client_ns, lab.server_ns):
                run("ip", "netns", "exec", ns, "sh", "-c",
                    f"echo {cpus:x} > /sys/class/net/eth0/queues/rx-0/rps_cpus")
        self.book = lab.dir / "served"
        self.server = End(lab, "server", "soak_server",
                          [BUILD / "tests/soak/soak_server", PORT, self.book])
        lab.await_listening(self.server.process, PORT, "soak_server", "soak_server")
        lab.start_agent(document(self.n), max_flows=32768, max_tenants=4096, ring_bytes=32 << 20)
        for t in range(1, self.n + 1):
            if t % 20 in (3, 9, 13):  # the last one's is soon used up
                lab.weirctl("credit", "grant", f"t{t}", "1" if t % 20 == 13 else "100000")
        self._open_maps()
        self.client = End(lab, "client", "soak_client",
                          [BUILD / "tests/soak/soak_client", SERVER4, PORT, f"tenants={self.n}",
                           *(f"{k}={v}" for k, v in self.size.items())])
        self.watch = Watch(self)
        self.watch.start()

    def _open_maps(self):
        layouts = Layouts()
        by_name, by_scope = entry_numbers(self.lab.pins)
        self.tenants, self.flows = Tenants(self.lab.pins, layouts), Flows(self.lab.pins, layouts)
        self.entry = [0] + [by_name[f"t{t}"] for t in range(1, self.n + 1)]
        self.scopes = {by_name.get(f"t{t}"): by_scope[by_name[f"t{t}"], SERVICE]
                       for t in range(1, self.n + 1) if (by_name[f"t{t}"], SERVICE) in by_scope}
        self.names = {0: "nobody", **{n: name for name, n in by_name.items()}}
        self.names.update({n: f"{self.names[e]}@llm" for e, n in self.scopes.items()})
        self.entries = sorted(self.names)
        self.tenants.entries = self.entries[-1] + 1
        assert len(self.scopes) == sum(t % 10 == 8 for t in range(1, self.n + 1))

    def called(self, entry):
        return self.names.get(entry, f"entry {entry}")

    # ------------------------------------------------------------------- truth

    def truth(self, counts):
        """Counts by tenant's number, as entries of the map, parents and scopes included."""
        parents = self.tenants.column(self.tenants.sample(), "parent")
        total = collections.Counter()
        for t, n in enumerate(counts):
            if not n:
                continue
            entry = self.entry[t]
            total[entry] += n
            if entry in self.scopes:
                total[self.scopes[entry]] += n
            while entry and (entry := parents[entry]):
                total[entry] += n
        return total

    def sockets(self):
        """The server's sockets by state, as the kernel lists them."""
        found = collections.defaultdict(set)
        for line in self.lab.in_server("ss", "-Htan", f"sport = :{PORT}").stdout.splitlines():
            state, _, _, _, peer = line.split()[:5]
            address, _, port = peer.rpartition(":")
            if state not in ("LISTEN", "TIME-WAIT"):
                found[state].add((address.strip("[]").removeprefix("::ffff:"), int(port)))
        return found

    def differences(self, no_handshakes):
        """What is not as it should be at this quiet moment: lines of text."""
        served, asked = self.server.say(), self.client.say()
        sample = self.tenants.sample()
        column = {name: self.tenants.column(sample, name)
                  for name in ("connections", "inflight", "half_open", "admitted")}
        lines = []

        def compare(what, got, want, entries=self.entries):
            lines.extend(f"{self.called(e)}: {what} is {got[e]}, the server has {want[e]}"
                         for e in entries if got[e] != want[e])

        half_open = self.truth_of_half_open(column["half_open"])
        compare("connections", column["connections"],
                self.truth(served["open"]) + half_open)
        compare("inflight", column["inflight"], self.truth(served["asking"]))
        compare("admitted", column["admitted"], self.truth(served["requests"]), self.entry)
        for t in range(self.n + 1):
            theirs, ours = at(asked["open"], t), at(served["open"], t)
            if theirs > ours:
                lines.append(f"t{t}: the client has {theirs} connections, the server {ours}")
        if served["n_open"] > asked["n_open"] + asked["vanished"]:
            lines.append(f"the server has {served['n_open']} connections, the client "
                         f"{asked['n_open']}, and {asked['vanished']} vanished")
        if no_handshakes:
            lines += [f"{self.called(e)}: half_open is {column['half_open'][e]}"
                      for e in self.entries if column["half_open"][e]]
            lines += self.flow_differences()
        return lines

    def truth_of_half_open(self, gauge):
        """As the map has it, checked against the sockets apart: parents hold their children's."""
        total = collections.Counter()
        for t, entry in enumerate(self.entry):
            if gauge[entry]:
                total += self.truth([0] * t + [gauge[entry]])
        return total

    def flow_differences(self):
        """Connections that the kernel follows and those that there are."""
        sockets = set().union(*(peers for state, peers in self.sockets().items()
                                if state != "SYN-RECV"))
        flows = self.flows.read()
        counted = {who for who, (_, flags, _) in flows.items() if flags & COUNTED}
        lines = [f"{who}: {flows[who]} has no socket" for who in sorted(counted - sockets)[:20]]
        lines += [f"{who}: socket without a flow" for who in sorted(sockets - counted)[:20]]
        return lines

    # -------------------------------------------------------------------- runs

    def run_for(self, seconds):
        self.client.say("run")
        time.sleep(seconds)  # the churn itself
        return self.client.say()

    def quiet(self, no_handshakes=False):
        """Pause the churn, and compare."""
        self.client.say("quiet")
        wait_for(lambda: (c := self.client.say())["connecting"] + c["short"] == 0,
                 "short requests to be answered", 10)
        self.server.say("pause")
        began = time.monotonic()
        limit = 12 if no_handshakes else 3
        while (lines := self.differences(no_handshakes)) and time.monotonic() - began < limit:
            time.sleep(0.05)
        if lines:
            raise AssertionError("\n".join(
                [f"quiet point {self.quiet_points}, after {limit} s of quiet:", *lines[:40]]))
        self.quiet_points += 1
        if not no_handshakes:
            self.slowest = max(self.slowest, time.monotonic() - began)
        self.server.say("go")

    def kill(self):
        """kill -9 of the agent, with traffic going on, and a new one."""
        self.client.say("run")
        self.lab.kill_agent()
        time.sleep(1)  # some traffic that nobody reads the records of
        self.lab.start_agent()
        self.kills += 1

    def drain(self):
        """Everything ends; all gauges are 0 then."""
        self.client.say("drain")
        self.server.say("go")
        time.sleep(0.5)  # for what is under way: the answers to nobody
        self.server.say("drain")
        self.served, self.asked = self.server.say("flush"), self.client.say()

        def left():
            sample = self.tenants.sample()
            lines = [f"{self.called(i)}: {name} is {n}"
                     for name in ("connections", "inflight", "half_open")
                     for i, n in enumerate(self.tenants.column(sample, name)) if n]
            lines += [f"{self.called(i)}: reserved is {r}" for i in self.entries
                      if any(r := self.tenants.reserved(sample, i))]
            used = self.lab.ctl("status")["flows"]["used"]
            return lines + [f"flows: {used} of {len(self.flows.read())}"] * bool(used)

        deadline = time.monotonic() + 30
        while (lines := left()) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.watch.finish()
        assert not lines, "at the end:\n" + "\n".join(lines[:40])
        assert not self.watch.wrong, "\n".join(self.watch.wrong)

    def check_ends(self):
        """What the ends say of themselves, and the counters of what must not happen."""
        status = self.lab.ctl("status")
        assert status["ring"]["lost"] == 0, status["ring"]
        for name in ("tap_hole", "end_lost", "tap_lost", "drift_flow", "busy", "map_full",
                     "pass_untracked", "pass_internal", "tap_unjudged", "drop_unjudged",
                     "pass_malformed", "malformed", "drop_changed", "drop_pipelined"):
            assert not status["verdicts"].get(name), (name, status["verdicts"][name])
        drift = status["drift"]
        assert not any(drift[k] for k in ("failed", "reaped", "reservations_off")), drift
        assert not any(n for k, n in drift.items() if k.startswith("corrected_")), drift
        self.sweeps = drift["sweeps"]
        assert not self.served["bad"] and not self.served["stalled"], self.served
        assert not self.asked["torn"] and not self.asked["failed"], self.asked
        self.refused = sum(n for code, n in self.asked["answers"].items() if code != "200")
        told = self.tenants.column(self.tenants.sample(), "refused")
        # Besides what the client was told, only SYNs whose sender was not there to be told.
        silent = sum(told) - self.refused - self.asked["connect_refused"]
        assert 0 <= silent <= self.asked["syns"], (silent, self.asked)

    def check_ledger(self):
        """Row by row: what the server served, who asked, what it costs."""
        book = {}
        for line in self.book.read_text().splitlines():
            name, t, prompt, completion, stream, end = line.split()
            book[name] = int(t), int(prompt), int(completion), stream == "1", end
        wait_for(lambda: self.lab.ctl("status")["ring"]["used"] == 0, "the ring to be read", 30)
        prices, seen, self.revenue = {}, collections.Counter(), 0
        events = wait_for(lambda: (e := usage_rows(self.lab)) and len(e) >= len(book) and e,
                          f"{len(book)} rows", 30, every=1)
        for e in events:
            assert "response_id" in e, e
            t, prompt, completion, stream, end = book.pop(e["response_id"])
            assert e["tenant"] == f"t{t}" and e["stream"] == stream, (e, t, stream)
            seen[end] += 1
            price = policy.nano(e["price"])
            self.revenue += price
            if end == "done":
                key = prompt, completion
                if key not in prices:
                    prices[key] = policy.price("llama-3.3-70b-instruct", *key)
                assert (e["input_tokens"], e["output_tokens"], price) == (*key, prices[key]), e
                assert e["usage_source"] == "reported", e
            else:
                assert e["usage_source"] == "partial", e
                assert e.get("output_tokens", 0) <= completion, (e, completion)
        assert not book, f"{len(book)} requests without a row, as {next(iter(book.items()))}"
        self.rows = seen

    def table(self, seconds):
        n = self.asked
        rows = [
            ("churn", f"{seconds} s, {self.n} tenants, {self.size['connections']} connections, "
                      f"{self.size['streams']} streams, seed {self.size['seed']}"),
            ("connections", f"{n['connected']} opened, {n['closed']} idle ones closed, "
                            f"{n['vanished']} vanished, {n['connect_refused']} refused, "
                            f"{self.served['idle_closed']} timed out"),
            ("requests", f"{n['asked']} asked, {n['streamed']} of them streams: "
                         f"{n['aborted']} aborted; {self.refused} refused "
                         f"{ {k: v for k, v in n['answers'].items() if k != '200'} }"),
            ("half-open", f"{n['syns']} handshakes never completed"),
            ("agent", f"killed {self.kills} times"),
            ("samples", f"{self.watch.samples}, none out of bounds; most of one tenant: "
                        + ", ".join(f"{k} {v}" for k, v in self.watch.most.items())),
            ("quiet points", f"{self.quiet_points}, every gauge exact; "
                             f"slowest {self.slowest * 1000:.0f} ms after the last packet"),
            ("at the end", "connections, in flight, half-open, reserved, flows: all 0; ring lost 0; "
                           f"{self.sweeps} sweeps found no drift"),
            ("ledger", f"{sum(self.rows.values())} rows, each as served "
                       f"({self.rows['done']} whole, {self.rows['aborted']} cut short), "
                       f"{policy.credits(self.revenue)} credits"),
        ]
        return "\n".join(f"{name:14}{text}" for name, text in rows)


def at(counts, t):
    return counts[t] if t < len(counts) else 0


def usage_rows(lab):
    return [{**e["data"], "tenant": e["subject"]} for e in lab.ctl_lines("events")
            if e["type"] == "weir.usage.v1"]


def soak(lab, seconds, tenants, connections, streams, seed=1, kills=0, phase=6, **rates):
    """The whole of it. Returns the table; AssertionError says what was not right."""
    s = Soak(lab, tenants, connections, streams, seed, **rates)
    s.start()
    s.client.say("run")
    wait_for(lambda: s.client.say()["n_open"] >= connections * 9 // 10, "the connections", 60)
    wait_for(lambda: s.client.say()["streams"] >= streams * 8 // 10, "the streams", 60)
    end = time.monotonic() + seconds
    kill_at = [end - seconds * (i + 1) / (kills + 1) for i in range(kills)]
    while time.monotonic() < end:
        now = s.run_for(min(phase, max(0.5, end - time.monotonic())))
        if kill_at and time.monotonic() > kill_at[-1]:
            kill_at.pop()
            s.kill()
        s.quiet(no_handshakes=s.quiet_points % 4 == 3)
        print(f"  quiet point {s.quiet_points}: {now['n_open']} connections, "
              f"{now['streams']} streams", file=sys.stderr)
    s.quiet(no_handshakes=True)
    s.drain()
    s.check_ends()
    s.check_ledger()
    return s.table(seconds)


def main():
    p = argparse.ArgumentParser()
    for name, value in (("seconds", 120), ("connections", 10000), ("streams", 2000),
                        ("tenants", 500), ("seed", 1), ("kills", 0)):
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--interrupts", action="store_true",
                   help="packets come by interrupt, as from a NIC (RPS), not with the sender")
    args = p.parse_args()
    interrupt_on_signals()
    with Lab() as lab:
        try:
            print(soak(lab, args.seconds, args.tenants, args.connections, args.streams, args.seed,
                       args.kills, interrupts=args.interrupts))
        except (AssertionError, LabError) as e:
            log = lab.log("agent")
            print(f"soak: {e}", *([f"the agent's log ends:\n{log.read_text()[-3000:]}"]
                                  if log.exists() else []), sep="\n", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
