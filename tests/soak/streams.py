#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Very many streams open at a time, through one agent: what they take of its memory, and that each
is one event with the counts that the server sent.

    streams.py [--streams 10000] [--tenants 50] [--seed 1]

Time stands still at the server until every stream is open and has begun to answer; only then do
they go on, all of them, and end."""
import argparse
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from weirlab import Lab, policy, wait_for  # noqa: E402
from weirlab.lab import (BUILD, CLIENT4, PORT, SERVER4, LabError,  # noqa: E402
                         interrupt_on_signals)

sys.path.insert(0, str(HERE))
from soak import KEYED, OWN, End, Soak, prefix  # noqa: E402

BAR_MIB = 64


def memory(pid):
    """What is mapped in KiB, by what it is of. Maps of the kernel's programs are the kernel's memory,
    and are there whether an agent looks or not."""
    found = {"all": 0, "maps": 0, "state": 0, "anonymous": 0}
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if not word.endswith(":"):
            name = line.split(maxsplit=5)[5:] or [""]
            of = ("maps" if "bpf-map" in name[0] else
                  "state" if name[0].endswith(".state") else None)
        elif word == "Rss:":
            found["all"] += int(rest.split()[0])
            if of:
                found[of] += int(rest.split()[0])
        elif word == "Anonymous:" and not of:
            found["anonymous"] += int(rest.split()[0])
    found["counted"] = found["all"] - found["maps"]
    return found


class Streams(Soak):
    """The soak's two ends with nothing but streams, none of which is left or refused."""

    def start(self):
        lab = self.lab
        lab.ip(lab.server_ns, "route", "add", "10.96.0.0/11", "via", CLIENT4)
        for net in (OWN, KEYED):
            lab.ip(lab.client_ns, "route", "add", "local", net, "dev", "lo")
        lab.in_server("sysctl", "-qw", "net.core.somaxconn=65535",
                      "net.ipv4.tcp_max_syn_backlog=65535")
        self.book = lab.dir / "served"
        self.server = End(lab, "server", "soak_server",
                          [BUILD / "tests/soak/soak_server", PORT, self.book])
        lab.await_listening(self.server.process, PORT, "soak_server", "soak_server")
        lab.start_agent(policy.document({"open": {}}, {
            f"t{t}": {"tier": "open", "keys": [policy.hash_key(f"sk-soak-{t}")],
                      "sources": [prefix(OWN, t)]} for t in range(1, self.n + 1)}),
            max_flows=16384, ring_bytes=16 << 20)
        self.idle = memory(lab.agent.pid)
        self.client = End(lab, "client", "soak_client",
                          [BUILD / "tests/soak/soak_client", SERVER4, PORT, f"tenants={self.n}",
                           *(f"{k}={v}" for k, v in self.size.items())])

    def open_all(self):
        n = self.size["streams"]
        self.server.say("pause")
        self.client.say("run")
        wait_for(lambda: self.server.say()["n_asking"] == n, f"{n} open streams", 90, every=0.1)
        assert self.client.say("quiet")["streams"] == n
        inflight = sum(self.live(t)["inflight"] for t in range(1, self.n + 1))
        assert inflight == n, f"the kernel has {inflight} in flight"
        self.settled()
        self.open = memory(self.lab.agent.pid)

    def live(self, t):
        return self.lab.ctl("tenant", "show", f"t{t}")["live"]

    def settled(self):
        wait_for(lambda: self.lab.ctl("status")["ring"]["used"] == 0, "the ring to be read", 30)

    def end_all(self):
        """The most that it takes while they run is looked at; then all are over."""
        n = self.size["streams"]
        self.most = self.open
        began = time.monotonic()
        self.server.say("go")

        def over():
            self.most = max(self.most, memory(self.lab.agent.pid), key=lambda m: m["counted"])
            return self.server.say()["done"] == n and self.client.say()["ended"] == n
        wait_for(over, "the streams to end", 120, every=0.1)
        self.took = time.monotonic() - began
        self.served, self.asked = self.server.say("flush"), self.client.say()
        assert self.served["aborted"] == 0 and self.asked["asked"] == n, (self.served, self.asked)
        self.settled()

    def check(self):
        assert all(not any(self.live(t)[k] for k in ("inflight",)) for t in range(1, self.n + 1))
        status = self.lab.ctl("status")
        assert status["ring"]["lost"] == 0, status["ring"]
        self.check_ledger()
        assert self.rows == {"done": self.size["streams"]}, self.rows
        assert self.most["counted"] <= BAR_MIB << 10, f"KiB: {self.most}"

    def table(self):
        def text(m):
            return (f"{m['counted'] / 1024:.1f} MiB ({m['anonymous'] / 1024:.1f} anonymous, "
                    f"{m['state'] / 1024:.1f} state file), and {m['maps'] / 1024:.1f} of kernel maps")
        rows = [("streams", f"{self.size['streams']} open at a time, of {self.n} tenants; each one "
                            f"event, counts and price as served"),
                ("agent, idle", text(self.idle)), ("all open", text(self.open)),
                ("while they ran", f"{text(self.most)}; bar {BAR_MIB} MiB"),
                ("their end", f"{self.took:.1f} s, {sum(self.rows.values())} rows")]
        return "\n".join(f"{name:16}{value}" for name, value in rows)


def open_streams(lab, streams, tenants=50, seed=1, pieces=8, gap=1000):
    """The whole of it. Returns the table; AssertionError says what was not right."""
    s = Streams(lab, tenants, streams, streams, seed, pieces, gap, asks=0, unknown=0, aborts=0,
                closes=0, syns=0, opens=4000)
    s.start()
    s.open_all()
    s.end_all()
    s.check()
    return s.table()


def main():
    p = argparse.ArgumentParser()
    for name, value in (("streams", 10000), ("tenants", 50), ("seed", 1)):
        p.add_argument(f"--{name}", type=int, default=value)
    args = p.parse_args()
    interrupt_on_signals()
    with Lab() as lab:
        try:
            print(open_streams(lab, args.streams, args.tenants, args.seed))
        except (AssertionError, LabError) as e:
            log = lab.log("agent")
            print(f"streams: {e}", *([f"the agent's log ends:\n{log.read_text()[-3000:]}"]
                                     if log.exists() else []), sep="\n", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
