# SPDX-License-Identifier: Apache-2.0
"""No request reaches a model server that Weir did not judge, in whatever form it
comes. Each case of slip_cases.py goes to each server twice: past Weir, which
shows how the server reads it, and through it. `-s` prints how they read it."""
import collections
import concurrent.futures

import pytest
from checks import events_of
from slip_cases import CASES, CHAT, KEY, OTHER, PREFACE, WEBSOCKET, Case, Read, cut, get, post
from weirlab import Lab, policy, wait_for
from weirlab.lab import CLIENT4, SERVER4
from weirlab.origins import STACKS, Origin
from weirlab.wire import ANSWER, Exchange

POLICY = policy.document({"open": {}}, {"acme": ("open", KEY), "other": ("open", OTHER)})
JUDGED = ("admit_request", "admit_shadow")

Bench = collections.namedtuple("Bench", "lab origins table pool")


@pytest.fixture(scope="module")
def bench():
    with Lab() as lab:
        services = [{"name": n, "port": p, "api": "openai"} for n, p in STACKS.items()]
        lab.start_agent(POLICY, services=services)
        origins = {stack: Origin(lab, stack) for stack in STACKS}
        table = {}
        with concurrent.futures.ThreadPoolExecutor(len(STACKS)) as pool:
            yield Bench(lab, origins, table, pool)
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


def converse(origin, case, sock):
    """Send a case's parts to one server; what came back, and what the server saw."""
    sock.connect((SERVER4, origin.port))
    exchange, mark = Exchange(sock), origin.mark()
    exchange.send(case.parts)
    exchange.finish(origin, mark)
    return exchange, origin.seen(exchange.peer, mark)


def converse_all(bench, case, where):
    """With every server at once: stack -> (exchange, seen)."""
    done = {stack: bench.pool.submit(converse, origin, case, bench.lab.socket(where=where))
            for stack, origin in bench.origins.items() if stack in (case.only or STACKS)}
    return {stack: future.result() for stack, future in done.items()}


def verdicts(lab):
    return collections.Counter(lab.ctl("status")["verdicts"])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_server_reads_what_the_rule_reads(bench, case):
    """Past Weir: where the rule lets a form through, each server finds the same requests in it
    (or fewer: it may refuse what it likes)."""
    slips = {}
    for stack, (exchange, seen) in converse_all(bench, case, "server").items():
        bench.table[case.name, stack] = reading(seen, exchange)
        slips[stack] = slipped(seen, case.reads)
    if case.status or case.closed:
        return  # it does not get there: what a server would make of it is for the table
    assert not any(slips.values()), slips


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_server_sees_only_what_was_judged(bench, case):
    """Through Weir: the rule is the same whichever server is behind, so are the verdicts."""
    before = verdicts(bench.lab)
    done = converse_all(bench, case, "client")
    went = verdicts(bench.lab) - before
    slips = {stack: slipped(seen, case.reads) for stack, (_, seen) in done.items()}
    assert not any(slips.values()), slips
    judged = sum(not r.free for r in case.reads) * len(done)
    assert sum(went[v] for v in JUDGED) == judged, went
    assert went["pass_free"] == len(case.reads) * len(done) - judged, went
    for verdict, times in case.counts.items():
        # A peer whose connection was closed may send again what fell, and be counted again.
        assert (went[verdict] >= times * len(done) if case.closed
                else went[verdict] == times * len(done)), went
    for stack, (exchange, _) in done.items():
        if case.status:
            assert b"HTTP/1.1 %d " % case.status in exchange.received, stack
            assert exchange.ended, stack
        if case.closed:
            assert exchange.ended == "reset", stack


def test_every_answer_that_was_served_was_metered(bench):
    """All that the cases before this one had answered, by the name in the answer."""
    through = [r for origin in bench.origins.values()
               for peer, requests in origin.connections().items()
               if peer.startswith(f"{CLIENT4}:") for r in requests if r.id]
    judged = {r.id: r for r in through if not is_free(r)}
    assert judged
    wait_for(lambda: not bench.lab.ctl("status")["ring"]["used"], "the ring to be read")
    metered = {e.get("response_id") for e in events_of(bench.lab)}
    assert not set(judged) - metered, [judged[i] for i in set(judged) - metered][:3]


def is_free(request):
    return request.method == "OPTIONS" or request.target.split("?")[0].startswith(
        ("/health", "/metrics", "/v1/models", "/ping", "/version")) and not request.key


HEAD_BYTES = post("Cookie: s=" + "c" * 150)


def test_head_may_be_cut_anywhere(bench):
    """Every place of a head of some 400 bytes, a connection each."""
    head_len = HEAD_BYTES.index(b"\r\n\r\n") + 4
    before = verdicts(bench.lab)
    for at in range(1, head_len):
        origin = list(bench.origins.values())[at % len(STACKS)]
        whole = Case("cut", tuple(cut(HEAD_BYTES, at)), (Read(),))
        _, seen = converse(origin, whole, bench.lab.socket())
        assert len(seen) == 1 and not slipped(seen, whole.reads), at
    went = verdicts(bench.lab) - before
    assert went["admit_request"] == head_len - 1
    assert went["pass_head_part"] == head_len - 1


def test_refused_head_may_be_cut_anywhere(bench):
    """No server sees a whole head, wherever the cut is."""
    request = post("X-A : 1", key="sk-nobody")
    head_len = request.index(b"\r\n\r\n") + 4
    before = verdicts(bench.lab)
    for at in range(1, head_len):
        origin = list(bench.origins.values())[at % len(STACKS)]
        exchange, seen = converse(origin, Case("cut", tuple(cut(request, at))),
                                  bench.lab.socket())
        assert seen == [] and b"HTTP/1.1 400 " in exchange.received, at
    went = verdicts(bench.lab) - before
    # node says 400 to a part that ends in "X-A ", before the rest is there: nobody's answer.
    assert went["malformed"] + went["tap_unjudged"] == head_len - 1
    assert not went["admit_request"]


# ------------------------------------------- with settings of their own

@pytest.fixture
def permissive():
    """A tenant, by key and by source, whose tier passes other protocols."""
    document = policy.document({"any": {"other_protocols": "pass"}}, {
        "acme": {"tier": "any", "keys": [policy.hash_key(KEY)], "sources": ["10.77.0.0/24"]}})
    with Lab() as lab:
        services = [{"name": n, "port": p, "api": "openai"} for n, p in STACKS.items()]
        lab.start_agent(document, services=services, head_timeout_ms=1000)
        origins = {stack: Origin(lab, stack) for stack in STACKS}
        with concurrent.futures.ThreadPoolExecutor(len(STACKS)) as pool:
            yield Bench(lab, origins, {}, pool)
        for origin in origins.values():
            origin.close()
    assert lab.leftovers() == []


BEHIND = post(key=OTHER)


@pytest.mark.parametrize("parts", (
    (b"PRI * HTTP/2.0\r\n\r\n", BEHIND), (b"PRI * HTTP/2.0\r\n\r\n" + BEHIND,),
    (PREFACE, BEHIND), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", b"X\r\n\r\n" + BEHIND),
    (get("model.test:443", method="CONNECT", key=KEY), BEHIND),
    (get("/v1/realtime", *WEBSOCKET, key=KEY), ANSWER, BEHIND)), ids=(
        "half a preface", "half a preface and a request", "preface", "preface that ends wrong",
        "CONNECT", "websocket that is not taken up"))
def test_other_protocols_are_no_way_round(permissive, parts):
    """Where a tier passes h2c and upgrades, and the server speaks neither: what it reads as
    HTTP/1.1 after all was judged, or is not answered."""
    lab = permissive.lab
    before = verdicts(lab)
    done = converse_all(permissive, Case("other", parts), "client")
    went = verdicts(lab) - before
    served = sum(r.target == CHAT and r.body is not None for _, seen in done.values()
                 for r in seen)
    assert served <= went["admit_request"] + went["drop_unjudged"] + went[
        "unknown_key"], {s: seen for s, (_, seen) in done.items()}
    for stack, (exchange, seen) in done.items():
        assert sum(r.target == CHAT for r in seen) == 0 or OTHER not in {
            r.key for r in seen}, stack  # sk-other is nobody's here


def test_head_that_never_ends_is_closed(permissive):
    """With its first segment after head_timeout_ms, both ends."""
    lab, origin = permissive.lab, permissive.origins["h11"]
    exchange, mark = Exchange(lab.connect(port=origin.port)), origin.mark()
    exchange.send([b"POST /v1/chat/completions HTTP/1.1\r\nHost: model"])
    wait_for(lambda: not exchange.send([b"x"]), "the connection to be closed", every=0.1)
    assert exchange.ended == "reset" and origin.seen(exchange.peer, mark) == []
    assert lab.ctl("status")["verdicts"]["head_expired"] == 1
