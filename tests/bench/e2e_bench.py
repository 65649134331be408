#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What limiting costs end to end: the same model server, asked directly, through Weir, through
nginx limit_req and through a HAProxy stick-table, over the same veth pair, in turns. Two rows: a
fixed rate that leaves the machine room (latency added, CPU per request), and as fast as client and
server can (share of the unguarded throughput). Medians over the rounds; ratios are per round.

  e2e_bench.py [--rounds 5] [--seconds 3] [--only fixed|saturated]"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.dont_write_bytecode = True

from weirlab import Lab, LabError, policy, wait_for  # noqa: E402
from weirlab.lab import BUILD, SERVER4, interrupt_on_signals, stop  # noqa: E402
from weirlab.raw_http import chat_body, head  # noqa: E402

KEY = "sk-bench-0123456789abcdefghijklmnopqrstuvwxyz"
PATH = "/v1/chat/completions"
RATE, CONNECTIONS = 5000, 32
PORTS = {"direct": 8000, "weir": 8000, "weir_nats": 8000, "nginx": 8001, "haproxy": 8002}
NAMES = {"direct": "no limiter", "weir": "weir", "weir_nats": "weir, NATS on the same cores",
         "nginx": "nginx limit_req", "haproxy": "HAProxy stick-table"}
HUGE = 1_000_000_000  # every limit is checked, none is met
POLICY = policy.document(
    {"bench": {"connections": 100000, "concurrency": 100000,
               "connect_rate": {"per_second": 1000000}, "requests": {"per_minute": HUGE},
               "tokens": {"per_minute": HUGE}, "credit": "hard",
               "reserve_output_tokens": 64}}, {"bench": ("bench", KEY)})
ANSWER = json.dumps({
    "id": "chatcmpl-7f1c9d3e5b", "object": "chat.completion", "created": 1795000000,
    "model": "llama-3.3-70b-instruct",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 24},
                 "logprobs": None, "finish_reason": "length", "stop_reason": None}],
    "usage": {"prompt_tokens": 3, "total_tokens": 27, "completion_tokens": 24,
              "prompt_tokens_details": None}}, separators=(",", ":"))

NGINX = """daemon off; worker_processes 1; pid {dir}/{name}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path {dir}/{name}-b; proxy_temp_path {dir}/{name}-p;
  fastcgi_temp_path {dir}/{name}-f;
  uwsgi_temp_path {dir}/{name}-u; scgi_temp_path {dir}/{name}-s;
  {body} }}"""
MODEL = """server {{ listen 8000;
    location / {{ default_type application/json; return 200 '{answer}'; }} }}"""
LIMIT_REQ = """limit_req_zone $http_authorization zone=keys:10m rate=1000000r/s;
  upstream model { server 127.0.0.1:8000; keepalive 64; keepalive_requests 1000000000; }
  server { listen 8001; location / { limit_req zone=keys burst=100000 nodelay;
    proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; } }"""
HAPROXY = """global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
frontend limit
  bind :8002
  stick-table type string len 64 size 100k expire 60s store http_req_rate(10s)
  http-request track-sc0 hdr(authorization)
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }
  default_backend model
backend model
  http-reuse always
  server model 127.0.0.1:8000
"""
WRK_LUA = """wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{body}'
"""


def start_servers(lab):
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    for name, port, body in (("model", 8000, MODEL.format(answer=ANSWER)),
                             ("limit_req", 8001, LIMIT_REQ)):
        path = lab.dir / f"{name}.conf"
        path.write_text(NGINX.format(dir=lab.dir, name=name, body=body))
        child = lab.spawn([nginx, "-c", path], "server", name)
        lab.await_listening(child, port, name, name)
    path = lab.dir / "haproxy.cfg"
    path.write_text(HAPROXY)
    child = lab.spawn(["/usr/sbin/haproxy", "-f", path, "-db"], "server", "haproxy")
    lab.await_listening(child, 8002, "haproxy", "haproxy")
    body = json.dumps(chat_body(24), separators=(",", ":"))
    (lab.dir / "request").write_bytes(head("POST", PATH, KEY, len(body)) + body.encode())
    (lab.dir / "post.lua").write_text(WRK_LUA.format(key=KEY, body=body))


def cpu_ns(lab):
    """CPU time of everything in the server's namespace but NATS: servers, limiters, agent. What
    the kernel does for a packet is charged to the task that sent or received it."""
    total = 0
    for pid in lab.in_server("ip", "netns", "pids", lab.server_ns).stdout.split():
        if lab.nats and int(pid) == lab.nats.pid:
            continue
        for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(path.read_text().split()[0])
    return total


def fixed(lab, port, seconds):
    before = cpu_ns(lab)
    done = lab.in_client(BUILD / "tests/bench/loadgen", SERVER4, port, RATE, seconds, CONNECTIONS,
                         lab.dir / "request")
    figures = json.loads(done.stdout)
    if figures["answers"] != figures["sent"]:
        raise LabError(f"not every request was answered: {figures}")
    figures["cpu_us"] = ((cpu_ns(lab) - before) / 1000 + figures["cpu_us"]) / figures["answers"]
    return figures


def saturated(lab, port, seconds):
    done = lab.in_client("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s",
                         lab.dir / "post.lua", f"http://{SERVER4}:{port}{PATH}")
    if "Non-2xx" in done.stdout:
        raise LabError(f"some were refused:\n{done.stdout}")
    return {"answers": int(re.search(r"(\d+) requests in", done.stdout)[1]),
            "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])}


class Guard:
    """Weir in the path while a measurement runs; afterwards all must be metered (and published)."""

    def __init__(self, lab, nats):
        self.lab, self.nats, self.first = lab, nats, True
        self.state = lab.dir / f"state-{nats}"
        self.rss_kib = self.lost = 0

    def start(self):
        self.state.mkdir(exist_ok=True)
        self.lab.start_agent(POLICY, nats=self.nats, ring_bytes=64 << 20,
                             state_dir=str(self.state))
        if self.first:
            self.lab.ctl("credit", "grant", "bench", "1000000000")
            self.first = False

    def requests(self):
        return self.lab.ctl("usage", "bench")[0]["requests"]

    def run(self, measure, port, seconds):
        lab = self.lab
        self.start()
        before = self.requests()
        figures = measure(lab, port, seconds)
        # wrk leaves without waiting for what is under way: those are metered too. An END record
        # that found the ring full is a request that no row will tell of.
        def metered():
            unseen = lab.ctl("status")["verdicts"]["end_lost"]
            return self.requests() - before + unseen >= figures["answers"]
        wait_for(metered, "the ledger", 60, 0.2)
        self.lost += lab.ctl("status")["ring"]["lost"]
        if self.nats:
            wait_for(lambda: lab.ctl("status")["nats"]["backlog"] == 0, "the backlog", 120, 0.2)
        text = pathlib.Path(f"/proc/{lab.agent.pid}/status").read_text()
        self.rss_kib = max(self.rss_kib, int(re.search(r"RssAnon:\s+(\d+)", text)[1]))
        stop(lab.agent)
        lab.detach()
        return figures


def rounds(lab, guards, measure, args):
    """One dict of figures per target and round."""
    seen = {name: [] for name in PORTS}
    for n in range(args.rounds):
        names = list(PORTS)
        turn = n % len(names)
        for name in names[turn:] + names[:turn]:
            run = guards[name].run if name in guards else lambda m, *rest: m(lab, *rest)
            seen[name].append(run(measure, PORTS[name], args.seconds))
        print(f"  round {n + 1} of {args.rounds}", file=sys.stderr)
    return seen


def median(rows, key, base=None, combine=None):
    values = [r[key] for r in rows]
    if base is not None:
        values = [combine(v, b[key]) for v, b in zip(values, base)]
    return statistics.median(values)


def difference(a, b):
    return a - b


def ratio(a, b):
    return a / b


def print_fixed(seen):
    print(f"\n{RATE} requests/s, {CONNECTIONS} connections    p50 µs  p99 µs   "
          "added p50  added p99   CPU µs/request added")
    for name, rows in seen.items():
        base = seen["direct"]
        print(f"  {NAMES[name]:<32}{median(rows, 'p50'):9.1f}{median(rows, 'p99'):8.1f}"
              f"{median(rows, 'p50', base, difference):11.1f}"
              f"{median(rows, 'p99', base, difference):11.1f}"
              f"{median(rows, 'cpu_us', base, difference):16.1f}")
    print("  bar for weir                                           ≤ 5       ≤ 30             ≤ 7")


def print_saturated(seen):
    print(f"\nsaturated, 1 client thread, {CONNECTIONS} connections    requests/s   of unguarded")
    for name, rows in seen.items():
        print(f"  {NAMES[name]:<42}{median(rows, 'rps'):12.0f}"
              f"{100 * median(rows, 'rps', seen['direct'], ratio):12.0f} %")
    print("  bar for weir                                                        ≥ 75 %")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", choices=("fixed", "saturated"))
    args = parser.parse_args()
    with Lab(native=False) as lab:  # what "auto" picks on veth: the gate in TC
        start_servers(lab)
        lab.start_nats()
        guards = {"weir": Guard(lab, False), "weir_nats": Guard(lab, True)}
        if args.only != "saturated":
            print_fixed(rounds(lab, guards, fixed, args))
        if args.only != "fixed":
            print_saturated(rounds(lab, guards, saturated, args))
        lost = sum(g.lost for g in guards.values())
        rss_mib = max(g.rss_kib for g in guards.values()) / 1024
        print(f"\nring.lost {lost}; every other request was metered and, with NATS, published; "
              f"agent RssAnon at most {rss_mib:.1f} MiB.")


if __name__ == "__main__":
    interrupt_on_signals()
    try:
        main()
    except LabError as e:
        sys.exit(f"e2e_bench: {e}")
