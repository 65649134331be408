# SPDX-License-Identifier: Apache-2.0
"""No request reaches a model server that Weir did not judge, in whatever form it
comes. Each case of slip_cases.py goes to each server twice: past Weir, which
shows how the server reads it, and through it. `-s` prints how they read it."""
import collections

import pytest
from slip_cases import CASES, KEY, OTHER, Read, cut, post
from weirlab import Lab, policy, wait_for
from weirlab.origins import STACKS, Origin
from weirlab.wire import Exchange

POLICY = policy.document({"open": {}}, {"acme": ("open", KEY), "other": ("open", OTHER)})
JUDGED = ("admit_request", "admit_shadow")

Bench = collections.namedtuple("Bench", "lab origins table")


@pytest.fixture(scope="module")
def bench():
    with Lab() as lab:
        services = [{"name": n, "port": p, "api": "openai"} for n, p in STACKS.items()]
        lab.start_agent(POLICY, services=services)
        origins = {stack: Origin(lab, stack) for stack in STACKS}
        table = {}
        yield Bench(lab, origins, table)
        show(table)
        for origin in origins.values():
            origin.close()
    assert lab.leftovers() == []


def reading(seen, exchange):
    """How a server took it, in a few characters."""
    statuses = [part[:3].decode() for part in exchange.received.split(b"HTTP/1.1 ")[1:]]
    whole = [f"{r.method} {r.target}"[:24] + ("…" if len(r.target) > 22 else "") +
             (f" +{len(r.body)}" if r.body is not None else " +?") for r in seen]
    return f"{len(seen)} [{', '.join(whole)}] {' '.join(statuses)}"


def show(table):
    for name in dict.fromkeys(name for name, _ in table):
        print(f"\n{name}")
        for stack in STACKS:
            if (name, stack) in table:
                print(f"  {stack:10} {table[name, stack]}")


def differs(seen, read):
    """What a server saw that is not what Weir read, or None."""
    method, target = seen.method, seen.target
    # httptools and h11 keep the target as it came; an absolute one they may cut to its path.
    targets = {read.target, read.target.split("model.test", 1)[-1], read.target.split("#")[0]}
    if method.upper() != read.method.upper() or target not in targets:
        return f"{method} {target}"
    if read.key != seen.key.strip("\t"):  # httptools, nginx: a TAB behind a value is part of it
        return f"key {seen.key!r}, not {read.key!r}"
    if seen.body is not None and read.body is not None and \
            seen.body != read.body.decode("latin-1"):
        return f"body {seen.body[:200]!r}"
    return None


def slipped(seen, reads):
    """Requests that the server parsed and Weir did not read so."""
    found = [f"{s.method} {s.target}" for s in seen[len(reads):]]
    return found + [d for s, r in zip(seen, reads) if (d := differs(s, r))]


def converse(lab, origin, case, sock):
    sock.connect(("10.77.0.2", origin.port))
    exchange, mark = Exchange(sock), origin.mark()
    exchange.send(case.parts)
    exchange.finish(origin, mark)
    return exchange, origin.seen(exchange.peer, mark)


def verdicts(lab):
    return collections.Counter(lab.ctl("status")["verdicts"])


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_server_reads_what_the_rule_reads(bench, stack, case):
    """Past Weir: where the rule lets a form through, the server finds the same requests in it
    (or fewer: it may refuse what it likes)."""
    exchange, seen = converse(bench.lab, bench.origins[stack], case,
                              bench.lab.socket(where="server"))
    bench.table[case.name, stack] = reading(seen, exchange)
    if case.status or case.closed:
        return  # it does not get there: what the server would make of it is for the table
    assert slipped(seen, case.reads) == []


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_server_sees_only_what_was_judged(bench, stack, case):
    lab, origin = bench.lab, bench.origins[stack]
    before = verdicts(lab)
    exchange, seen = converse(lab, origin, case, lab.socket())
    went = verdicts(lab) - before
    assert slipped(seen, case.reads) == []
    assert sum(went[v] for v in JUDGED) == sum(not r.free for r in case.reads)
    assert went["pass_free"] == sum(r.free for r in case.reads)
    for verdict, times in case.counts.items():
        assert went[verdict] >= times if case.closed else went[verdict] == times, went
    if case.status:
        assert b"HTTP/1.1 %d " % case.status in exchange.received
        assert exchange.ended
    if case.closed:
        assert exchange.ended == "reset"
