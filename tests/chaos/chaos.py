#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Everything that may die dies, at instants drawn from a seed, under load; then what the stream
has, what the ledger has and what was served are compared.

    chaos.py --seed 1 [--kills 200] [--tenants 24] [--only PHASE] [--plan]

The plan is printed first. What fails says how to run it again."""
import argparse
import collections
import pathlib
import shutil
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "soak"), str(HERE)]

from weirlab import Lab, LabError, wait_for  # noqa: E402
from weirlab.lab import BUILD, interrupt_on_signals  # noqa: E402

from account import Account  # noqa: E402
from node import Node, names  # noqa: E402
from overflow import Overflow  # noqa: E402
from plan import DISK, Plan  # noqa: E402
from power import Power  # noqa: E402


class Chaos:
    """A plan, and the node that it is done to. cut: once long streams have run to their end, those
    that are open at a phase's end are cut."""

    def __init__(self, lab, plan, tenants, say=lambda line: None, cut=False, **sizes):
        self.plan, self.say, self.cut = plan, say, cut
        self.node = Node(lab, tenants, plan.seed, **sizes)
        self.account = Account(self.node)
        self.ran, self.checks, self.most_open = collections.Counter(), 0, 0
        self.overflow = self.power = None
        self.began = time.monotonic()

    def run(self, only=None, between=lambda: None):
        """between: called after the phases, before records are lost on purpose."""
        self.node.start()
        for number, phase in enumerate(self.plan.phases, 1):
            if only in (None, number):
                self.phase(number, phase)
        between()
        if self.plan.overflow:
            self.overflow = Overflow(self, self.plan.overflow)
            self.overflow.run()
            self.say(f"overflow: {self.overflow.lost}")
        if self.plan.power:
            self.power = Power(self, self.plan.power)
            self.power.run()

    def phase(self, number, events):
        marks = [time.monotonic()]
        self.node.say("run")
        for at, event in enumerate(events, 1):
            try:
                self.node.do(event)
            except (AssertionError, LabError) as e:
                raise AssertionError(f"phase {number}, event {at} ({event}): {e}") from e
            self.ran[event.kind] += 1
            self.most_open = max(self.most_open, self.node.streams())
        marks.append(time.monotonic())
        if self.cut:
            some = self.node.sizes["long"]["streams"] // 2
            wait_for(lambda: self.node.say("report")["long"]["ended"] >= some, "long streams", 30)
        self.node.load_ends(self.cut)
        marks.append(time.monotonic())
        try:
            n = len(self.account.check())
        except AssertionError as e:
            raise AssertionError(f"after phase {number}:\n{e}") from e
        self.checks += 1
        marks.append(time.monotonic())
        took = [f"{b - a:.0f} s" for a, b in zip(marks, marks[1:])]
        killed = self.node.killed
        self.say(f"phase {number}: {len(events)} events, {n} requests so far, each served, entered "
                 f"and published once; kills so far: agent {killed['agent']}, nats-server "
                 f"{killed['nats']}; took {' + '.join(took)} (events, streams to end, comparing), "
                 f"{marks[-1] - self.began:.0f} s in all")

    def table(self):
        node, account = self.node, self.account
        done = sum(s.done for s in account.served.values())
        rows = [
            ("seed", f"{self.plan.seed}, {time.monotonic() - self.began:.0f} s"),
            ("kill -9", f"{sum(node.killed.values())}: agent {node.killed['agent']}, nats-server "
                        f"{node.killed['nats']}"),
            ("events", ", ".join(f"{kind} {n}" for kind, n in sorted(self.ran.items()))),
            ("disk", f"{node.hit} operations failed; {node.in_vain} starts ended for that, and "
                     "said so"),
            ("clock", f"{node.shifted} readings of a clock an hour off"),
            ("grants", f"{len(node.grants.given)}, {node.grants.tries} tries"),
            ("load", f"{len(account.served)} requests served, {done} whole, "
                     f"{len(account.served) - done} cut short; up to {self.most_open} streams at a "
                     "time"),
            ("compared", f"{self.checks} times: stream = ledger = served, none lost, none twice; "
                         f"balances = grants - prices; reserved 0, in flight 0"),
            ("others", f"LEDGER {len(account.others['LEDGER'])} events of {account.entries} "
                       f"entries, ALERT {len(account.others['ALERT'])}: none twice (what waits too "
                       "long for NATS is skipped there)"),
            ("order", f"{account.inversions} events behind a later one"),
        ]
        if self.overflow:
            n = self.overflow.lost
            rows.append(("ring full", f"{len(self.plan.overflow)} times: {n['served']} served = "
                         f"{n['events']} events ({n['not_whole']} not whole, which say so) + "
                         f"{n['end_lost']} that `end_lost` counts; {n['tap_lost']} records lost"))
        if self.power:
            rows.append(("power loss", f"{len(self.plan.power)} times: no entry, event or grant "
                         f"that was seen is gone; {self.power.lost} answers are in none: they "
                         "were open, or not committed"))
        return "\n".join(f"{name:12}{text}" for name, text in rows)


def keep(lab, seed):
    """What there is to look at, of a lab that is about to go."""
    kept = BUILD / "chaos" / str(seed)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(lab.dir, kept, ignore=shutil.ignore_patterns("*.sock"))
    return kept


def again(args):
    """The command that does the same plan once more."""
    rest = f"--tenants {args.tenants} --window {args.window:g}"
    rest += f" --only {args.only}" if args.only else ""
    rest += "".join(f" --without {kind}" for kind in args.without)
    return f'make chaos SEED={args.seed} KILLS={args.kills} CHAOS_ARGS="{rest}"'


def main():
    p = argparse.ArgumentParser()
    for name, value in (("seed", 1), ("kills", 200), ("tenants", 24)):
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--only", type=int, help="this phase of the plan alone")
    p.add_argument("--plan", action="store_true", help="print the plan, and do nothing")
    p.add_argument("--window", type=float, default=2, help="seconds that METER remembers ids for")
    p.add_argument("--without", action="append", default=[], metavar="KIND")
    args = p.parse_args()
    without = args.without if (BUILD / "tests/faulty_vfs.so").exists() else [*args.without, *DISK]
    plan = Plan(args.seed, args.kills, names(args.tenants, "poor"), without)
    print(f"seed {args.seed}\n{plan}", flush=True)
    if args.plan:
        return
    interrupt_on_signals()
    with Lab() as lab:
        chaos = Chaos(lab, plan, args.tenants, lambda line: print(line, flush=True),
                      window_ns=int(args.window * 1e9))
        try:
            chaos.run(args.only)
            print(chaos.table())
        except (AssertionError, LabError) as e:
            print(f"chaos: {e}\nlogs, ledger and stream are in {keep(lab, args.seed)}\n"
                  f"again: {again(args)}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
