#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a flood of one tenant costs the others: p50 and p99 of a neighbour's short requests while
one tenant floods SYNs and while one floods requests that are refused, beside quiet, in turns, so
that what the machine does besides falls on all of them alike. The same without Weir tells what
the flood costs by itself: flooder, clients, server and what is measured share the CPUs.

    neighbours.py [--rounds 5] [--seconds 4] [--syns 20000] [--asks 2000] [--realtime]

--realtime: what is measured (the neighbour's client and the server) runs before all other
tasks, so that only what the kernel does for the flood comes between.

The requests are asked at a fixed rate and counted from when they were due (tests/bench/loadgen).
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import time

from soak import End, Soak  # puts weirlab in reach
from weirlab import Lab, LabError  # noqa: E402
from weirlab.lab import BUILD, PORT, SERVER4, interrupt_on_signals, run
from weirlab.raw_http import head

RATE, CONNECTIONS = 500, 32
SYNS_BY, ASKS_BY, NEIGHBOUR = 1, 7, 2  # tenants; 7 may have one request at a time
FLOODS = ("quiet", "syns", "refused")


class Neighbours:
    def __init__(self, lab, seconds, syns, asks, realtime=False):
        self.lab, self.seconds = lab, seconds
        self.first = ["chrt", "-f", "1"] if realtime else []
        self.soak = Soak(lab, 100, 2000, 200, unknown=0, syns=0, aborts=5, closes=20, asks=100)
        self.soak.start()
        self.soak.watch.finish()
        if realtime:
            run("chrt", "-f", "-p", "1", self.soak.server.process.pid)
        self.request = lab.dir / "request"
        body = json.dumps({"model": "llama-3.3-70b-instruct", "max_tokens": 4,
                           "messages": [{"role": "user", "content": "how are you"}]}).encode()
        self.request.write_bytes(head("POST", "/v1/chat/completions", f"sk-soak-{NEIGHBOUR}",
                                      len(body), ("X-Soak: 9 4 -1",)) + body)
        client = [BUILD / "tests/soak/soak_client", SERVER4, PORT, "tenants=1"]
        self.floods = {
            "syns": End(lab, "client", "syns", [*client, f"first={SYNS_BY}", f"syns={syns}"]),
            # One stream holds the tenant's only place; what it asks besides is refused.
            "refused": End(lab, "client", "refused",
                           [*client, f"first={ASKS_BY}", "connections=1000", f"asks={asks}",
                            f"opens={asks}", "rest=0", "streams=1", "pieces=60000"])}

    def background(self):
        self.soak.client.say("run")
        time.sleep(5)  # its connections and streams

    def measure(self, flood):
        """p50 and p99 in us, and the share of the CPUs in use, during one flood."""
        end = self.floods.get(flood)
        if end:
            before = end.say("run")
            time.sleep(1)  # it begins
        busy = Busy()
        done = self.lab.in_client(*self.first, BUILD / "tests/bench/loadgen", SERVER4, PORT, RATE,
                                  self.seconds, CONNECTIONS, self.request)
        result = json.loads(done.stdout)
        result["busy"] = busy.share()
        if end:
            after = end.say("quiet")
            result["flood"] = (after["syns"] - before["syns"] + after["asked"] - before["asked"]
                               ) / (self.seconds + 1)
            time.sleep(0.5)
        if result["refused"] or result["failed"]:
            raise AssertionError(f"the neighbour was not served: {result}")
        return result


class Busy:
    """CPU time in use, as a share of all there is."""

    def __init__(self):
        self.since = self._read()

    @staticmethod
    def _read():
        fields = list(map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]))
        return sum(fields), fields[3] + fields[4]

    def share(self):
        total, idle = (b - a for a, b in zip(self.since, self._read()))
        return 1 - idle / max(total, 1)


def rounds(n, **flood):
    """All measurements: (with Weir or without, flood) -> results."""
    found = {}
    with Lab() as lab:
        nb = Neighbours(lab, **flood)
        nb.background()
        for i in range(n):
            for weir in (True, False):
                if not weir:
                    lab.detach()
                elif i:
                    lab.start_agent()
                for name in ("quiet", "syns", "quiet", "refused"):
                    found.setdefault((weir, name), []).append(nb.measure(name))
                print(f"  round {i + 1} {'with' if weir else 'without'} Weir", file=sys.stderr)
    return found


def medians(results):
    return {key: statistics.median(r[key] for r in results) for key in ("p50", "p99", "busy")}


def table(found):
    """Text, and the ratio of p99 beside quiet by (weir, flood)."""
    lines, ratios = [], {}
    for weir in (True, False):
        quiet = medians(found[weir, "quiet"])
        for name in FLOODS:
            m = medians(found[weir, name])
            rate = statistics.median(r.get("flood", 0) for r in found[weir, name])
            ratios[weir, name] = m["p99"] / quiet["p99"]
            lines.append(f"{'Weir' if weir else 'no Weir':8} {name:8} {rate:7.0f}/s  "
                         f"p50 {m['p50']:7.0f} us  p99 {m['p99']:7.0f} us  "
                         f"x{ratios[weir, name]:.2f}  CPUs {m['busy']:.0%} busy")
    return "\n".join(lines), ratios


def main():
    p = argparse.ArgumentParser()
    for name, value in (("rounds", 5), ("seconds", 4), ("syns", 20000), ("asks", 2000)):
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--realtime", action="store_true")
    args = p.parse_args()
    interrupt_on_signals()
    try:
        text, ratios = table(rounds(args.rounds, seconds=args.seconds, syns=args.syns,
                                    asks=args.asks, realtime=args.realtime))
    except (AssertionError, LabError) as e:
        print(f"neighbours: {e}", file=sys.stderr)
        sys.exit(1)
    print(text)
    # All of it runs on the same CPUs, so a flood costs the neighbours what it takes to send it.
    worst = max(r for (weir, _), r in ratios.items() if weir)
    if worst > 2 and (os.cpu_count() or 1) > 1:
        print(f"neighbours: p99 is {worst:.2f} times as long during a flood", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
