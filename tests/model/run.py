#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Random histories through the model and through the agent's ledger: equal to the nano.

    run.py DRIVER --histories 1000 --seed 1 [--jobs 2] [--minutes 15]
    run.py DRIVER --one SEED        one history again, shrunk if it differs
"""

import argparse
import contextlib
import fcntl
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time

from histories import Maker
from ledger_model import Ledger, Refused

ORDERED = ("usage", "deduct", "meter")  # in which order they take decides what is refunded


# ---------------------------------------------------------------------------- the model


class Model:
    """Does operations, and says what came of each as the driver does."""

    def __init__(self, begin):
        self.begin, self.done = begin, []
        self.ledger = self.fresh()

    def fresh(self):
        return Ledger(range(1, len(self.begin["tenants"]) + 1), self.begin["cards"])

    def apply(self, op):
        ledger = self.ledger
        if op["op"] == "append":
            return {"known": sum(not ledger.usage(row) for row in op["rows"])}
        if op["op"] == "post":
            entry, repeated = ledger.post({k: v for k, v in op.items() if k != "op"}, op["now"])
            return {"seq": entry.seq, "repeated": repeated, "moved": moved(op, entry)}
        if op["op"] == "advance":
            ledger.advance(op["now"])
        if op["op"] == "threshold":
            ledger.thresholds[op["wallet"]] = op["below"], op["ask"]
        if op["op"] == "reopen":
            ledger.thresholds = {}
        if op["op"] == "state":
            return {"wallets": [wallet_state(ledger, w) for w in op["wallets"]]}
        return {}

    def do(self, op):
        before, steps = len(self.ledger.entries), self.ledger.steps
        try:
            said = {"error": None} | self.apply(op)
            self.done.append(op)
        except Refused as refused:
            said = {"error": str(refused)}
            if self.ledger.steps != steps:  # what fell due on the way is not entered either
                self.ledger = self.fresh()
                for was in self.done:
                    self.apply(was)
        if "seq" in said:
            said["balance"] = self.ledger.balance(self.ledger.entries[said["seq"] - 1].wallet)
        if op["op"] != "state":
            said["entries"] = [entry_text(e) for e in self.ledger.entries[before:]]
        return said


def moved(op, entry):
    """What the asker is told that it came to."""
    return {"refund": entry.amount, "void": -entry.amount, "meter": entry.says.get("price")}.get(
        op["kind"], op.get("amount"))


def wallet_state(ledger, wallet):
    return {
        "balance": ledger.balance(wallet),
        "told": ledger.balance(wallet),
        "debt": ledger.debt.get(wallet, 0),
        "lots": [[x.number, x.source, x.priority, x.effective, x.expires, x.created, x.voided,
                  x.amount, x.pending, x.remaining, x.expired] for x in ledger.lots_of(wallet)],
    }


def entry_text(e):
    out = {"seq": e.seq, "kind": e.kind, "time": e.time, "tenant": e.tenant, "wallet": e.wallet,
           "amount": e.amount, "before": e.before, "after": e.after,
           "moves": [list(m) for m in e.moves]}
    out |= {k: list(v) if isinstance(v, tuple) else v for k, v in e.says.items()}
    return out


# --------------------------------------------------------------------------- the driver


class Died(Exception):
    pass


class Driver:
    """The agent's ledger in a process of its own, its databases in memory."""

    def __init__(self, program):
        self.program, self.process = program, None

    def start(self):
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.mkdtemp(prefix="weir-model-", dir=shm)
        self.errors = open(os.path.join(self.folder, "stderr"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [self.program, self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors)
        for pipe in (self.process.stdin, self.process.stdout):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)  # a history and its answer fit

    def stop(self):
        """What it said on stderr."""
        if not self.process:
            return ""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait()
        self.process.stdout.close()
        self.errors.seek(0)
        said = self.errors.read() + (f" (status {status})" if status else "")
        self.errors.close()
        shutil.rmtree(self.folder)
        self.process = None
        return said

    def run(self, ops):
        """What came of each operation."""
        if not self.process:
            self.start()
        try:
            text = "\n".join(json.dumps(op) for op in ops) + "\n\n"
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
            lines = [self.process.stdout.readline() for _ in ops]
        except BrokenPipeError:
            lines = [b""]
        if lines[-1]:
            return [json.loads(line) for line in lines]
        raise Died(self.stop().strip()[-600:])


# ---------------------------------------------------------------------------- comparing


def alike(want, got):
    """Of what the model says, what the driver says otherwise; None: nothing."""
    for key, value in want.items():
        other = got.get(key)
        if key == "moves" and want["kind"] not in ORDERED:
            value, other = sorted(value), sorted(other)
        if key == "entries":
            if len(value) != len(other):
                return f"{len(value)} entries, not {len(other)}"
            for mine, its in zip(value, other):
                trouble = alike(mine, its)
                if trouble:
                    return f"entry {mine['seq']} ({mine['kind']}): {trouble}"
        elif value != other:
            return f"{key}: {value}, not {other}"
    return None


def ending(verify):
    state = {"op": "state", "wallets": [1, 2, 3, 4]}
    return [state, {"op": "reopen"}, state, {"op": "rebuild"}, state] + (
        [{"op": "verify"}] if verify else [])


def expected(ops):
    model = Model(ops[0])
    return [{}] + [model.do(op) for op in ops[1:]]


def difference(driver, ops, want=None):
    """(number of the operation, what differs), or None."""
    want = want or expected(ops)
    try:
        got = driver.run(ops)
    except Died as died:
        return len(ops) - 1, f"the driver died: {died}", None, None
    for i, (mine, its) in enumerate(zip(want, got)):
        trouble = alike(mine, its)
        if trouble:
            return i, trouble, mine, its
    return None


def make(seed, verify):
    """A history, and what the model says to it."""
    maker = Maker(seed)
    begin = maker.begin()
    model = Model(begin)
    ops, want = [begin], [{}]
    for _ in range(maker.rng.randint(10, 40)):
        op = maker.next(model.ledger)
        ops.append(op)
        want.append(model.do(op))
    for op in ending(verify):
        ops.append(op)
        want.append(model.do(op))
    return ops, want


def smaller(ops):
    """Histories with a little less in them."""
    for i in reversed(range(1, len(ops))):
        yield ops[:i] + ops[i + 1:]
    for i, op in enumerate(ops):
        for j in range(len(op.get("rows", [])) if len(op.get("rows", [])) > 1 else 0):
            rows = op["rows"][:j] + op["rows"][j + 1:]
            yield ops[:i] + [op | {"rows": rows}] + ops[i + 1:]
    cards = ops[0]["cards"]
    for i, card in enumerate(cards):
        yield [ops[0] | {"cards": cards[:i] + cards[i + 1:]}] + ops[1:]
        for j in range(len(card["models"]) if len(card["models"]) > 1 else 0):
            less = card | {"models": card["models"][:j] + card["models"][j + 1:]}
            yield [ops[0] | {"cards": cards[:i] + [less] + cards[i + 1:]}] + ops[1:]


def shrink(driver, ops, seconds=60):
    end = time.monotonic() + seconds
    found = difference(driver, ops)
    ops = ops[: found[0] + 1]
    shrunk = True
    while shrunk and time.monotonic() < end:
        shrunk = False
        for less in smaller(ops):
            now = difference(driver, less)
            if now and (now[2] is None) == (found[2] is None):
                ops, found, shrunk = less[: now[0] + 1], now, True
                break
    return ops, found


def report(seed, ops, found, out=sys.stdout):
    print(f"\nseed {seed}: operation {found[0]}: {found[1]}", file=out)
    for op in ops:
        print("  ", json.dumps(op), file=out)
    print("  model: ", json.dumps(found[2]), file=out)
    print("  ledger:", json.dumps(found[3]), file=out, flush=True)


# --------------------------------------------------------------------------------- main


def work(args, first, results):
    """Every args.jobs-th seed."""
    driver = Driver(args.driver)
    counts = [0, 0, 0, 0]  # histories, operations, entries, different ones
    end = time.monotonic() + args.minutes * 60
    told = time.monotonic()
    try:
        for seed in range(args.seed + first, args.seed + args.histories, args.jobs):
            ops, want = make(seed, args.verify)
            found = difference(driver, ops, want)
            counts[0] += 1
            counts[1] += len(ops)
            counts[2] += sum(len(w.get("entries", [])) for w in want)
            if found:
                report(seed, *shrink(driver, ops))
                counts[3] += 1
            if time.monotonic() > end or counts[3] >= args.stop_after:
                break
            if first == 0 and time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"model: about {counts[0] * args.jobs} histories so far", file=sys.stderr)
    finally:
        driver.stop()
    results.put(counts)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("driver")
    p.add_argument("--histories", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--one", type=int)
    p.add_argument("--no-verify", dest="verify", action="store_false")
    p.add_argument("--stop-after", type=int, default=3)
    args = p.parse_args()
    if args.one is not None:
        args.seed, args.histories, args.jobs = args.one, 1, 1

    began = time.monotonic()
    results = multiprocessing.Queue()
    jobs = [multiprocessing.Process(target=work, args=(args, i, results))
            for i in range(args.jobs)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    if any(job.exitcode for job in jobs):
        sys.exit("model: a process failed")
    done, operations, entries, bad = (sum(x) for x in zip(*(results.get() for _ in jobs)))
    print(f"model: {done} histories (seeds from {args.seed}), {operations} operations, "
          f"{entries} entries, {bad} differ; {time.monotonic() - began:.0f} s")
    if bad or done < args.histories:
        sys.exit(1)


if __name__ == "__main__":
    main()
