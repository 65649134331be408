#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""From the byte on the wire to the event's acknowledgement: how soon a balance moves and an event is
out, how many events a second go out, and how long it takes after a kill -9 until all is where it
belongs. What the agent says of itself is held against what is seen from outside: the balance in the
kernel's map, the messages that the server counts.

  delivery_bench.py [--rounds 1] [--backlog 1000000] [--only latency|publish|replicas|queue]"""
import argparse
import contextlib
import json
import pathlib
import re
import sqlite3
import statistics
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/bench")]
sys.dont_write_bytecode = True

from e2e_bench import ANSWER, MODEL, NGINX  # noqa: E402
from weirlab import Lab, LabError, policy, wait_for  # noqa: E402
from weirlab.lab import BUILD, SERVER4, interrupt_on_signals, stop  # noqa: E402
from weirlab.raw_http import chat_body, head  # noqa: E402

PATH = "/v1/chat/completions"
KEYS = {name: f"sk-{name}-0123456789abcdefghijklmnopqrstuvwxyz" for name in ("probe", "load")}
HUGE = 1_000_000_000  # every limit is checked, none is met
TIER = {"connections": 100000, "concurrency": 100000, "requests": {"per_minute": HUGE},
        "tokens": {"per_minute": HUGE}, "credit": "hard", "reserve_output_tokens": 64}
POLICY = policy.document({"bench": TIER}, {n: ("bench", key) for n, key in KEYS.items()})
RATE = 2000
BAR_SETTLED_MS = 5
SEEN = {"settled": "weir_settled_seconds", "committed": "weir_committed_seconds",
        "published": "weir_published_seconds"}


# ----------------------------------------------------------------------- the laboratory

@contextlib.contextmanager
def laboratory():
    with Lab(native=False) as lab:  # what "auto" picks on veth: the gate in TC
        conf = lab.dir / "model.conf"
        conf.write_text(NGINX.format(dir=lab.dir, name="model", body=MODEL.format(answer=ANSWER)))
        child = lab.spawn(["/usr/sbin/nginx", "-c", conf], "server", "model")
        lab.await_listening(child, 8000, "model", "model")
        body = json.dumps(chat_body(24), separators=(",", ":"))
        for name, key in KEYS.items():
            (lab.dir / name).write_bytes(head("POST", PATH, key, len(body)) + body.encode())
        yield lab


def start_nats(lab, n):
    """One server, or a cluster of them; each says what it holds at port 8222 + its number."""
    for i in range(n):
        conf = [f'port: {4222 + i}', f'http: {8222 + i}', f'server_name: n{i}',
                f'jetstream {{ store_dir: "{lab.dir}/nats{i}" }}']
        if n > 1:
            routes = ", ".join(f'"nats://127.0.0.1:{6222 + k}"' for k in range(n))
            conf.append(f"cluster {{ name: bench, port: {6222 + i}, routes: [{routes}] }}")
        path = lab.dir / f"nats{i}.conf"
        path.write_text("\n".join(conf))
        child = lab.spawn(["nats-server", "-c", path], "server", f"nats{i}")
        lab.await_listening(child, 4222 + i, "nats-server", f"nats{i}")
    lab.nats_url = [f"nats://127.0.0.1:{4222 + i}" for i in range(n)]
    if n > 1:
        wait_for(lambda: monitor(lab, "jsz").get("meta_cluster", {}).get("leader"), "a leader", 30)


def monitor(lab, what):
    done = lab.in_server("curl", "-s", f"http://127.0.0.1:8222/{what}", check=False)
    return json.loads(done.stdout or "{}")


def stored(lab, stream="METER"):
    """What the server says the stream holds: messages, replicas."""
    for account in monitor(lab, "jsz?streams=1&config=1").get("account_details", []):
        for s in account.get("stream_detail", []):
            if s["name"] == stream:
                return s["state"]["messages"], s["config"]["num_replicas"]
    return 0, 0


def start(lab, **config):
    started = time.monotonic()
    lab.start_agent(POLICY, ring_bytes=64 << 20, **config)
    return time.monotonic() - started


def again(lab):
    started = time.monotonic()
    lab.start_agent()
    return time.monotonic() - started


def fill(lab, rows):
    start(lab, nats=False)  # its cards are older than the rows
    stop(lab.agent)
    lab.in_server(BUILD / "tests/bench/ledger_fill", lab.dir / "state/weir.db", rows)


# --------------------------------------------------------------------------- histograms

def histograms(lab):
    """Of each: (upper bound, how many up to it)."""
    text = lab.http("/metrics")[1]
    return {short: [(float(le), int(n)) for le, n in
                    re.findall(rf'^{name}_bucket{{le="([^"]+)"}} (\d+)$', text, re.M)]
            for short, name in SEEN.items()}


def quantile(before, after, q):
    """In ms, of what came between two looks; within a bucket as Prometheus reckons it."""
    counts = [(le, n - m) for (le, n), (_, m) in zip(after, before)]
    rank, low, below = q * counts[-1][1], 0.0, 0
    for le, n in counts:
        if n >= rank and n > below:
            return 1e3 * (low + (le - low) * (rank - below) / (n - below))
        low, below = le, n
    return float("nan")


def percentile(values, q):
    return sorted(values)[int(q * (len(values) - 1))]


# -------------------------------------------------------------------------- the figures

def say(what, value, unit, bar=""):
    print(f"{what:<66}{value:>12.3g} {unit:<10} {bar}", flush=True)


def number_of(lab, tenant):
    db = sqlite3.connect(f"file:{lab.dir}/state/weir.db?mode=ro", uri=True)
    with contextlib.closing(db):
        return db.execute("SELECT idx FROM tenant WHERE name = ?", (tenant,)).fetchone()[0]


def probe(lab, requests, pause_us):
    """Delays in ms from the answer's end to the moved balance."""
    done = lab.in_client(BUILD / "tests/bench/balance_probe", lab.pins / "maps/tenants",
                         number_of(lab, "probe"), SERVER4, 8000, requests, pause_us,
                         lab.dir / "probe")
    seen = json.loads(done.stdout)
    if seen["unmoved"]:
        raise LabError(f"{seen['unmoved']} answers moved no balance within a second")
    return [us / 1e3 for us in seen["us"]]


def drained(lab):
    return lab.ctl("status")["nats"]["backlog"] == 0


def wait_drained(lab, seconds=300):
    started = time.monotonic()
    wait_for(lambda: lab.ctl("status")["nats"]["connected"] and drained(lab), "the backlog",
             seconds, 0.05)
    return time.monotonic() - started


def wait_stored(lab, n, seconds=300):
    started = time.monotonic()
    wait_for(lambda: stored(lab)[0] >= n, f"{n} messages", seconds, 0.05)
    return time.monotonic() - started


def load(lab, rate, seconds):
    done = lab.in_client(BUILD / "tests/bench/loadgen", SERVER4, 8000, rate, seconds, 32,
                         lab.dir / "load")
    figures = json.loads(done.stdout)
    if figures["answers"] != figures["sent"]:
        raise LabError(f"not every request was answered: {figures}")
    return figures["answers"]


def one_latency(lab, name, rate, requests, pause_us):
    """One row of figures, with so many requests a second beside the probe's."""
    background = threading.Thread(target=load, args=(lab, rate, requests * pause_us / 8e5))
    before = histograms(lab)
    if rate:
        background.start()
        time.sleep(0.2)
    outside = probe(lab, requests, pause_us)
    if rate:
        background.join()
    wait_drained(lab)
    after = histograms(lab)
    found = {f"outside {q}": percentile(outside, p) for q, p in (("p50", .5), ("p99", .99))}
    for what in SEEN:
        for q, p in (("p50", .5), ("p99", .99)):
            found[f"{what} {q}"] = quantile(before[what], after[what], p)
    return found


def latency(args):
    rows = {"idle": (0, 300, 16000), f"{RATE} requests/s": (RATE, 250, 16000)}
    seen = {name: [] for name in rows}
    with laboratory() as lab:
        start_nats(lab, 1)
        start(lab, nats=True)
        for tenant in KEYS:
            lab.ctl("credit", "grant", tenant, "1000000000")
        probe(lab, 20, 1000)  # connections, streams, caches
        for _ in range(args.rounds):
            for name, row in rows.items():
                seen[name].append(one_latency(lab, name, *row))
    names = {"outside": "answer's end to the moved balance, seen from outside",
             "settled": "usage seen to the moved balance",
             "committed": "request's end to its durable entry",
             "published": "request's end (wire) to the PubAck"}
    for name, found in seen.items():
        for what, text in names.items():
            for q in ("p50", "p99"):
                say(f"{text}, {name}, {q}",
                    statistics.median(f[f"{what} {q}"] for f in found), "ms",
                    f"bar {BAR_SETTLED_MS}" if q == "p99" and what in ("settled", "outside")
                    else "")


def publish(args):
    """Rows that are not published, and the agent is killed in the midst of them."""
    n = args.backlog
    with laboratory() as lab:
        fill(lab, n)
        start_nats(lab, 1)
        say(f"start to ready, {n} rows not published", start(lab, nats=True), "s")
        before = time.monotonic()
        wait_for(lambda: stored(lab)[0] > n / 10, "a tenth to be published", 120, 0.05)
        lab.kill_agent()
        left = n - stored(lab)[0]
        killed = time.monotonic()
        say("after kill -9, start to ready", again(lab), "s")
        wait_stored(lab, n)
        took = time.monotonic() - killed
        wait_drained(lab)
        say(f"after kill -9, start to all of {left} published", took, "s")
        if stored(lab)[0] != n:
            raise LabError(f"the stream has {stored(lab)[0]} messages of {n} rows")
        say("events published, one server (R1), with the kill",
            n / (killed + took - before), "events/s")
        say("events published, one server (R1)", left / took, "events/s")


def replicas(args):
    n = max(args.backlog // 10, 1000)
    with laboratory() as lab:
        fill(lab, n)
        start_nats(lab, 3)
        start(lab, nats={"replicas": 3})
        first = stored(lab)[0]
        took = wait_stored(lab, n)
        have, copies = stored(lab)
        if (have, copies) != (n, 3):
            raise LabError(f"the stream has {have} messages of {n} rows, {copies} replicas")
        say("events published, three servers (R3)", (n - first) / took, "events/s")


def queue(args):
    """The database is locked, finished requests fill all the room there is for them, and the agent
    is killed: until all are in the ledger."""
    with laboratory() as lab:
        start(lab, nats=False, spill_bytes=1 << 20)
        lab.ctl("credit", "grant", "load", "1000000000")
        load(lab, 1000, 0.5)
        db = sqlite3.connect(lab.dir / "state/weir.db", isolation_level=None)
        with contextlib.closing(db):
            db.execute("BEGIN IMMEDIATE")
            waiting = load(lab, 6000, args.queue / 6000)
            lab.kill_agent()
            db.execute("ROLLBACK")
        took = again(lab)
        say(f"after kill -9 with {waiting} finished requests not in the ledger, to ready", took, "s")
        entries = lab.ctl("usage", "load")[0]["requests"]
        if entries != 500 + waiting:
            raise LabError(f"{entries} requests are in the ledger, not {500 + waiting}")
        lost = lab.ctl("status")["ring"]["lost"]
        if lost:
            raise LabError(f"{lost} records had no room in the ring")


PARTS = {"latency": latency, "publish": publish, "replicas": replicas, "queue": queue}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    parser.add_argument("--queue", type=int, default=20000)
    parser.add_argument("--only", choices=PARTS)
    args = parser.parse_args()
    for name, part in PARTS.items():
        if args.only in (None, name):
            part(args)


if __name__ == "__main__":
    interrupt_on_signals()
    try:
        main()
    except LabError as e:
        sys.exit(f"delivery_bench: {e}")
