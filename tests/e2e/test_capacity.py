# SPDX-License-Identifier: Apache-2.0
"""As large as it gets: a million tenants and connections, four million keys; and what happens
when a map is full."""
import hashlib
import json
import os
import time

import pytest
from weirlab import policy, wait_for
from weirlab.lab import LabError
from weirlab.raw_http import chat_body, send

CHAT = "/v1/chat/completions"
# 200,000 take a minute on a machine that does nothing else: WEIR_CAPACITY_TENANTS=200000.
TENANTS, KEYS_EACH = int(os.environ.get("WEIR_CAPACITY_TENANTS", "20000")), 2


def key(tenant, n):
    return f"sk-{tenant}-{n}"


def big_policy():
    tenants = {f"t{i}": {"tier": "three", "keys": [
        "sha256:" + hashlib.sha256(key(i, n).encode()).hexdigest() for n in range(KEYS_EACH)]}
        for i in range(TENANTS)}
    return json.dumps(policy.document({"three": {"requests": {"per_minute": 1, "burst": 3}}},
                                      tenants))


def start(lab, seconds):
    """Start the agent; returns how long it took."""
    began = time.monotonic()
    log = lab.log("agent")
    start_at = log.stat().st_size if log.exists() else 0
    lab.spawn_agent()

    def ready():
        if lab.agent.poll() is not None:
            raise LabError(f"weir-agent ended:\n{log.read_text()[-2000:]}")
        return "ready" in log.read_text()[start_at:].splitlines()
    wait_for(ready, "weir-agent to be ready", seconds, every=0.05)
    return time.monotonic() - began


def rss_mib(lab):
    with open(f"/proc/{lab.agent.pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
    raise LabError("no VmRSS")


def ask(lab, api_key):
    with lab.connect() as sock:
        answer = send(sock, "POST", CHAT, api_key, chat_body(1))
        answer.body()
        return answer.status


def test_a_million_tenants_and_connections_and_four_million_keys(lab):
    lab.write_policy(policy.document({"three": {"requests": {"per_minute": 1, "burst": 3}}},
                                     {"t0": ("three", key(0, 0))}))
    lab.write_config(nats=False, max_tenants=1 << 20, max_flows=1 << 20, max_keys=4 << 20)
    empty = start(lab, 120)
    lab.kill_agent()

    lab.write_policy(big_policy())
    loaded = start(lab, 240)
    rss = rss_mib(lab)
    last = TENANTS - 1
    assert [ask(lab, key(last, n % KEYS_EACH)) for n in range(4)] == [200] * 3 + [429]
    assert ask(lab, key(last - 1, 1)) == 200
    assert ask(lab, key(TENANTS, 0)) == 401
    print(f"started empty in {empty:.1f} s; with {TENANTS} tenants and {TENANTS * KEYS_EACH} keys "
          f"in {loaded:.1f} s, RSS {rss} MiB")
    # The maps are shared memory of the kernel's: what the agent maps of them counts as its own.
    assert rss < 2048

    lab.kill_agent()
    again = start(lab, 240)
    print(f"restarted in {again:.1f} s")
    assert ask(lab, key(last, 0)) == 429, "the restart refilled the bucket"


def test_more_keys_than_there_is_room_for_names_the_field(lab):
    tenants = {"acme": {"tier": "t", "keys": [policy.hash_key(f"sk-{i}") for i in range(9)]}}
    lab.write_policy(policy.document({"t": {}}, tenants))
    lab.write_config(nats=False, max_keys=8)
    with pytest.raises(LabError, match="max_keys"):
        start(lab, 20)


def test_a_full_map_of_connections_is_counted_and_decided_by_policy(lab):
    """Who is to be shut when it cannot be judged is reset; others pass unfollowed."""
    lab.ip(lab.client_ns, "addr", "add", "10.77.0.9/16", "dev", "eth0")
    tenants = {"shut": {"tier": "shut", "sources": ["10.77.0.9/32"]},
               "open": {"tier": "open", "sources": ["10.77.0.1/32"]}}
    lab.start_agent(policy.document({"shut": {"on_agent_down": "closed"}, "open": {}}, tenants),
                    max_flows=64)
    socks = [lab.connect(source="10.77.0.1") for _ in range(64)]
    counters = lab.ctl("status")["verdicts"]
    assert counters.get("pass_untracked", 0) == 0
    over = [lab.connect(source="10.77.0.1") for _ in range(5)]
    for sock in over:
        assert send(sock, "POST", CHAT, None, chat_body(1)).status == 200
    with pytest.raises(ConnectionRefusedError):
        lab.connect(source="10.77.0.9")

    def counted():
        c = lab.ctl("status")["verdicts"]
        return c.get("pass_untracked", 0) >= 5 and c.get("map_full", 0) == 1
    wait_for(counted, "the counters")
    wait_for(lambda: lab.log("agent").read_text().count("max_flows") == 1, "one line in the log")
    for sock in socks + over:
        sock.close()

    def room():
        try:
            return lab.connect(source="10.77.0.9")
        except ConnectionRefusedError:
            return None
    with wait_for(room, "room") as sock:
        assert send(sock, "POST", CHAT, None, chat_body(1)).status == 200
