#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a limit of connections per source costs a SYN: Weir beside nftables and iptables doing the
same, and beside nothing and an XDP program that only passes.

Each contestant guards a namespace of its own, in which a listener whose accept queue is full drops
every SYN that reaches it: so the kernel answers nothing, and its own counter says how many came
through. Each source may have one connection, or one a minute. Two cases:

  let in    one SYN from each of the sources, none of which was seen before
  refused   SYNs from all of them at random, as fast as a generator on the other CPU makes them

The receiving device polls in a kernel thread (threaded NAPI) on a CPU of its own; the figure is
that thread's CPU time per packet. Rounds are interleaved, figures are medians.

  firewalls.py [--rounds 5] [--sources 100000] [--only NAME...]"""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.dont_write_bytecode = True

from weirlab import Lab, LabError, policy, wait_for  # noqa: E402
from weirlab.lab import BUILD, PORT, SERVER4, interrupt_on_signals, run  # noqa: E402

SENDER_CPU, RECEIVER_CPU = 0, 1
LET_IN_PER_SECOND = 150_000  # what every contestant keeps up with
REFUSED_MS = 300
MAX_CONNTRACK = 200_000  # the kernel's default for all of a namespace is 262,144
FEW = 1000  # packets received, that a figure would not be worth telling of
OTHERS = 50  # packets that are none of ours: ARP, neighbour discovery
TOLERATED = 0.01  # of refused SYNs that get through: a source has one more a minute
NFT_TABLE = """table ip bench {{
  counter refused {{ }}
{chains}}}
"""
# Each has its set of sources, and its hook: before connections are followed, or after.
NFT_CHAIN = """
  set {name}_of {{ type ipv4_addr; size 1048576; flags {flags}; }}
  chain {name} {{
    type filter hook prerouting priority {priority};
    tcp dport {port} tcp flags & (fin|syn|rst|ack) == syn \\
      add @{name}_of {{ ip saddr {statement} }} counter name refused drop
  }}
"""


def source(n):
    return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def threads(name):
    """Kernel threads that poll a device of that name, in whatever namespace."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().startswith(f"napi/{name}-"):
                found.add(int(path.parent.name))
        except OSError:  # a process that ended meanwhile
            pass
    return found


class Contestant:
    """A laboratory with SYNs coming in; subclasses put something in their way."""
    refuses = False

    def __init__(self, name, sources):
        self.name, self.sources = name, sources
        self.seen = {"let in": [], "refused": []}
        self.lab = Lab(native=False)

    def __enter__(self):
        self.lab.__enter__()
        try:
            self._make()
        except BaseException:
            self.lab.close()
            raise
        return self

    def __exit__(self, *_):
        self.lab.close()

    def _make(self):
        lab = self.lab
        lab.ip(lab.server_ns, "route", "add", "10.0.0.0/8", "dev", "eth0")
        lab.in_server("ethtool", "-K", "eth0", "gro", "on")  # gives it NAPI
        self._fill_accept_queue()
        self.guard()
        before = threads("eth0")
        run("ip", "netns", "exec", lab.server_ns, "sh", "-c",
            "echo 1 > /sys/class/net/eth0/threaded")
        made = threads("eth0") - before
        if len(made) != 1:
            raise LabError(f"{self.name}: {len(made)} polling threads of a veth with one queue")
        self.thread = made.pop()
        os.sched_setaffinity(self.thread, {RECEIVER_CPU})
        os.setpriority(os.PRIO_PROCESS, self.thread, -20)
        self.mac = self._link()["address"]

    def _fill_accept_queue(self):
        self.listener = self.lab.socket(where="server")
        self.listener.bind((SERVER4, PORT))
        self.listener.listen(0)
        self.waiting = self.lab.connect()

    def guard(self):
        """Put the limiter in place."""

    def counted(self):
        """SYNs that the limiter itself says it dropped, or None."""

    # ------------------------------------------------------------- one measurement

    def _link(self):
        return json.loads(self.lab.in_server("ip", "-j", "-s", "link", "show", "eth0").stdout)[0]

    def _received(self):
        return self._link()["stats64"]["rx"]["packets"]

    def _reached_listener(self):
        text = self.lab.in_server("cat", "/proc/net/netstat").stdout.splitlines()
        names, values = (line.split() for line in text[:2])
        return int(values[names.index("ListenOverflows")])

    def _cpu_ns(self):
        return int(pathlib.Path(f"/proc/{self.thread}/schedstat").read_text().split()[0])

    def _figures(self):
        return [self._received(), self._reached_listener(), self._cpu_ns(), self.counted() or 0]

    def _quiet(self):
        last = -1

        def same():
            nonlocal last
            before, last = last, self._received()
            return before == last
        wait_for(same, "the receiver to be done", 20, 0.01)

    def send(self, first, count, *how):
        """(packets received, of them let in, CPU ns, refused by its own account)"""
        before = self._figures()
        self.lab.in_client("nice", "-n", -20, "taskset", "-c", SENDER_CPU,
                           BUILD / "tests/bench/synflood", "eth0", self.mac, SERVER4, PORT,
                           source(first), count, *how)
        self._quiet()
        return [b - a for a, b in zip(before, self._figures())]

    def let_in(self, first, count):
        received, let_in, ns, _ = self.send(first, count, "each", LET_IN_PER_SECOND)
        # A busy machine loses many to a full ring: those are let in when refused() begins.
        if received < FEW or abs(let_in - received) > OTHERS:
            raise LabError(f"{self.name}: of {count} new sources {received} SYNs came and "
                           f"{let_in} were let in")
        self.seen["let in"].append(ns / received)

    def _use_up(self):
        """Whoever has not had its connection, or may have another by now, takes it."""
        for _ in range(10):
            received, let_in, *_ = self.send(1, self.sources, "each", LET_IN_PER_SECOND)
            if received > self.sources / 2 and let_in < self.sources * TOLERATED / 10:
                return
        raise LabError(f"{self.name}: of {received} SYNs {let_in} are still let in")

    def refused(self):
        if self.refuses:
            self._use_up()
        received, let_in, ns, counted = self.send(1, self.sources, "random", REFUSED_MS)
        if received < FEW:
            raise LabError(f"{self.name}: only {received} SYNs came")
        if self.refuses and (let_in > TOLERATED * received or
                             abs(counted + let_in - received) > OTHERS):
            raise LabError(f"{self.name}: of {received} SYNs over the limit {let_in} were let in, "
                           f"and it counted {counted} refused")
        if not self.refuses and abs(let_in - received) > OTHERS:
            raise LabError(f"{self.name}: of {received} SYNs {let_in} reached the listener")
        self.seen["refused"].append(ns / received)


class XdpPass(Contestant):
    def guard(self):
        self.lab.add_foreign_xdp("server")


class Weir(Contestant):
    refuses = True
    LIMITS = {"connections": 1, "connect_rate": {"per_minute": 1, "burst": 1}, "on_limit": "drop"}

    def __init__(self, name, sources, xdp):
        super().__init__(name, sources)
        self.xdp = xdp

    def guard(self):
        lab = self.lab
        lab.write_policy(policy.document(
            {"limited": self.LIMITS},
            {f"t{n}": {"tier": "limited", "sources": [f"{source(n)}/32"]}
             for n in range(1, self.sources + 1)}))
        lab.write_config(nats=False, xdp=self.xdp, max_tenants=self.sources + 1024,
                         max_flows=4 * self.sources)
        lab.start_agent()

    def counted(self):
        verdicts = self.lab.ctl("status")["verdicts"]
        return verdicts["connections"] + verdicts["connect_rate"] + verdicts["half_open"]


class Nft(Contestant):
    refuses = True
    COUNT = {"name": "count", "priority": "mangle", "flags": "dynamic",
             "statement": "ct count over 1"}
    RATE = {"name": "rate", "priority": "raw", "flags": "dynamic,timeout; timeout 1h",
            "statement": "limit rate over 1/minute burst 1 packets"}

    def __init__(self, name, sources, *chains):
        super().__init__(name, sources)
        self.rules = NFT_TABLE.format(
            chains="".join(NFT_CHAIN.format(port=PORT, **chain) for chain in chains))

    def guard(self):
        rules = self.lab.dir / "rules.nft"
        rules.write_text(self.rules)
        self.lab.in_server("nft", "-f", rules)
        keep_connections(self.lab)

    def counted(self):
        listing = self.lab.in_server("nft", "-j", "list", "counter", "ip", "bench", "refused")
        return json.loads(listing.stdout)["nftables"][1]["counter"]["packets"]


class Iptables(Contestant):
    refuses = True

    def __init__(self, name, sources, *rules):
        """rules: (table, match...)"""
        super().__init__(name, sources)
        self.rules = rules

    def _run(self, *args):
        return self.lab.in_server("iptables-legacy", *args).stdout

    def guard(self):
        for table, *match in self.rules:
            self._run("-t", table, "-A", "PREROUTING", "-p", "tcp", "--dport", PORT, "--syn",
                      *match, "-j", "DROP")
        keep_connections(self.lab)

    def counted(self):
        return sum(int(row.split()[0]) for table, *_ in self.rules
                   for row in self._run("-t", table, "-nvxL", "PREROUTING").splitlines()
                   if " DROP " in row)


def keep_connections(lab):
    """What conntrack follows is half open, and must not go while it is measured."""
    path = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_syn_sent"
    lab.in_server("sh", "-c", f"echo 3600 > {path}")


def contestants(sources):
    connlimit = ["mangle", "-m", "connlimit", "--connlimit-above", "1"]
    hashlimit = ["raw", "-m", "hashlimit", "--hashlimit-name", "weirbench", "--hashlimit-mode",
                 "srcip", "--hashlimit-above", "1/minute", "--hashlimit-burst", "1",
                 "--hashlimit-htable-size", sources, "--hashlimit-htable-max", 4 * sources,
                 "--hashlimit-htable-expire", 3600000]
    return [
        Contestant("nothing", sources),
        XdpPass("an XDP program that only passes", sources),
        Weir("weir, both limits, native XDP", sources, "native"),
        Weir("weir, both limits, generic XDP", sources, "generic"),
        Weir("weir, both limits, TC", sources, "off"),
        Nft("nftables, ct count", sources, Nft.COUNT),
        Nft("nftables, limit rate", sources, Nft.RATE),
        Nft("nftables, both", sources, Nft.COUNT, Nft.RATE),
        Iptables("iptables, connlimit", sources, connlimit),
        Iptables("iptables, hashlimit", sources, hashlimit),
        Iptables("iptables, both", sources, connlimit, hashlimit),
    ]


def measure(found, args):
    block = args.sources // args.rounds
    for case in ("let in", "refused"):
        for n in range(args.rounds):
            turn = n % len(found)
            for one in found[turn:] + found[:turn]:
                if case == "let in":
                    one.let_in(1 + n * block, block)
                else:
                    one.refused()
            print(f"  {case}: round {n + 1} of {args.rounds}", file=sys.stderr)


def report(found, args):
    weir = next((one for one in found if isinstance(one, Weir)), None)
    print(f"\nSYNs of {args.sources} sources, ns of the receiving CPU       "
          "let in  of weir's     refused  of weir's    a second")
    for one in found:
        line = f"  {one.name:<50}"
        for case in one.seen:
            ns = statistics.median(one.seen[case])
            share = ns / statistics.median(weir.seen[case]) if weir else float("nan")
            line += f"{ns:12.0f}{share:11.2f}"
        print(f"{line}{1e9 / ns:12.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sources", type=int, default=100_000)
    parser.add_argument("--only", nargs="+")
    args = parser.parse_args()
    if args.sources > MAX_CONNTRACK:
        parser.error(f"conntrack has no room for more than {MAX_CONNTRACK} sources")
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(one) for one in contestants(args.sources)
                 if not args.only or any(word in one.name for word in args.only)]
        measure(found, args)
    report(found, args)


if __name__ == "__main__":
    interrupt_on_signals()
    try:
        main()
    except LabError as e:
        sys.exit(f"firewalls: {e}")
