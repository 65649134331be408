# SPDX-License-Identifier: Apache-2.0
"""The agent dies, stops, comes back: limits hold meanwhile, nothing is lost and
nothing is billed twice."""
import json
import signal
import threading
import time

import pytest
from checks import assert_metered, events_of, totals, wait_events
from weirlab import policy, wait_for
from weirlab.clients import Sdk, usage_events
from weirlab.lab import BUILD, PORT, run
from weirlab.raw_http import chat_body, send, shut

CHAT = "/v1/chat/completions"
POLICY = policy.document(
    {"paid": {"credit": "hard", "reserve_output_tokens": 16},
     "slow": {"requests": {"per_minute": 60, "burst": 5}, "concurrency": 2},
     "once": {"requests": {"per_minute": 1, "burst": 5}}},  # no restart takes a minute
    {"acme": ("paid", "sk-acme"), "slow": ("slow", "sk-slow"), "once": ("once", "sk-once")})


class Load:
    """Clients that ask without pause until told to stop: plain, streamed, and, if `aborts`, every
    seventh goes away in the middle of its stream."""

    def __init__(self, lab, key, threads=3, aborts=False):
        self.lab, self.key, self.aborts = lab, key, aborts
        self.stop, self.statuses, self.aborted, self.failed = threading.Event(), [], [], []
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, seed):
        n = seed
        try:
            while not self.stop.is_set():
                with self.lab.connect() as sock:
                    for _ in range(5):
                        n += 1
                        if not self._ask(sock, n):
                            break
        except OSError as e:
            self.failed.append(e)

    def _ask(self, sock, n):
        """One request; False when the connection is of no more use."""
        if self.aborts and n % 7 == 0:
            answer = send(sock, "POST", CHAT, self.key,
                          chat_body(40, stream=True, include_usage=True, delay_ms=5))
            for _, _piece in zip(range(n % 5), answer.chunks()):
                pass
            self.aborted.append(n)
            if n % 2:
                shut(sock)
            return False
        answer = send(sock, "POST", CHAT, self.key,
                      chat_body(1 + n % 9, stream=n % 2 == 0, include_usage=True, delay_ms=n % 3))
        answer.body()
        self.statuses.append(answer.status)
        return answer.status == 200

    def more(self, n=40):
        """Let n more requests be answered."""
        seen = len(self.statuses)
        wait_for(lambda: len(self.statuses) >= seen + n or self.failed, "load")

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(30)
        assert not self.failed, self.failed


def test_kill_9_under_load_loses_nothing_and_bills_nothing_twice(lab_nats):
    lab = lab_nats
    lab.start_agent(POLICY, ring_bytes=32 << 20)  # room for what a slow machine lets pile up
    lab.ctl("credit", "grant", "acme", "1000")
    load = Load(lab, "sk-acme", aborts=True)
    for n in range(8):
        load.more()
        lab.kill_agent()
        load.more()
        if n % 2:  # killed again, while it starts
            lab.spawn_agent()
            load.more(n)
            lab.kill_agent()
        lab.start_agent()
    load.more()
    load.finish()

    assert set(load.statuses) == {200} and load.aborted
    wait_for(lambda: lab.admin()["open"] == 0, "the server to notice the aborts")
    served, aborted = lab.served("sk-acme"), lab.served("sk-acme", "aborted")
    assert len(served) + len(aborted) == len(load.statuses) + len(load.aborted)
    events = wait_events(lab, len(served) + len(aborted), "acme")
    whole = [e for e in events if e["usage_source"] == "reported"]
    assert_metered(whole, served)
    cut = {e["response_id"]: e for e in events if e["usage_source"] == "partial"}
    assert set(cut) == {r["id"] for r in aborted}
    assert all(cut[r["id"]].get("output_tokens", 0) <= r["completion"] for r in aborted)
    balance = wait_for(lambda: (b := lab.ctl("credit", "balance", "acme"))["reserved"] == "0" and b,
                       "settlement")
    assert policy.nano(balance["balance"]) == 1000 * policy.NANO - totals(events)["price"]
    assert lab.weirctl("ledger", "verify").returncode == 0
    wait_for(lambda: lab.ctl("status")["nats"]["backlog"] == 0, "the backlog to drain")
    stream = lab.stream()
    assert len(stream) == len(events) and usage_events(stream, "acme") == events
    status = lab.ctl("status")
    assert status["ring"]["lost"] == 0
    assert status["verdicts"]["admit_request"] == len(events), "admitted, and not in the ledger"
    live = lab.ctl("tenant", "show", "acme")["live"]
    assert (live["connections"], live["inflight"]) == (0, 0)


def test_limits_hold_while_the_agent_is_dead(lab):
    lab.start_agent(POLICY)
    sdk = Sdk(lab, "sk-once")
    lab.kill_agent()
    done = [sdk.call(tokens=1) for _ in range(20)]
    assert sum(d["ok"] for d in done) == 5
    assert all(d["attempts"] == [429] for d in done if not d["ok"])
    lab.start_agent()
    events = wait_events(lab, 5)
    assert_metered(events, lab.served("sk-once"))
    assert not sdk.call(tokens=1)["ok"], "the bucket was refilled by the restart"


def test_slots_are_freed_while_the_agent_is_dead(lab):
    document = policy.document({"two": {"concurrency": 2}}, {"acme": ("two", "sk-acme")})
    lab.start_agent(document)
    lab.kill_agent()

    def stream(**how):
        sock = lab.connect()
        answer = send(sock, "POST", CHAT, "sk-acme",
                      chat_body(2, stream=True, include_usage=True, **how))
        if answer.status != 200:
            sock.close()
        return sock, answer

    def wave():
        running = [s for s in (stream(hold=1) for _ in range(10)) if s[1].status == 200]
        assert len(running) == 2
        return running

    def one_more():
        sock, answer = stream()
        with sock:
            return answer.status == 200 and answer.body()

    for sock, _ in wave():
        sock.close()
    wait_for(lambda: lab.admin()["open"] == 0, "the server to notice")
    wait_for(one_more, "the slots")
    running = wave()
    lab.admin("release")
    for sock, answer in running:
        with sock:
            assert answer.body().endswith(b"[DONE]\n\n")
    lab.start_agent()
    wait_for(lambda: lab.ctl("tenant", "show", "acme")["live"]["inflight"] == 0, "the slots")


def test_a_stream_that_spans_a_kill_is_metered_whole(lab):
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "acme", "10")
    sdk = Sdk(lab, "sk-acme")
    call = sdk.start(tokens=40, stream=True, include_usage=True, hold=1)
    call.first.result(10)
    lab.kill_agent()
    lab.start_agent()
    lab.kill_agent()
    lab.admin("release")
    assert call.result()["ok"]
    lab.start_agent()
    events = wait_events(lab, 1)
    assert_metered(events, lab.served("sk-acme"))
    assert events[0]["usage_source"] == "reported"


def test_sigterm_stops_cleanly_and_keeps_what_was_metered(lab):
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "acme", "10")
    load = Load(lab, "sk-acme", threads=2)
    load.more()
    load.finish()
    assert lab.stop_agent() == 0
    assert not lab.control.exists()
    lab.start_agent()
    assert_metered(wait_events(lab, len(load.statuses)), lab.served("sk-acme"))


def test_detach_takes_everything_down_and_traffic_goes_on(lab):
    lab.start_agent(POLICY)
    assert lab.pins.is_dir()
    sdk = Sdk(lab, "sk-slow")
    while sdk.call(tokens=1)["ok"]:
        pass
    lab.stop_agent()
    lab.detach()
    assert not lab.pins.exists()
    hooks = json.loads(lab.in_server("bpftool", "net", "show", "-j").stdout)[0]
    assert hooks["xdp"] == [] and hooks["tc"] == []
    assert sdk.call(tokens=1)["ok"], "a limit outlived the detach"
    assert lab.detach() is None  # again: nothing to do, no complaint


@pytest.mark.parametrize("mode, status", (("hold", 429), ("open", 200), ("closed", 503)))
def test_tier_decides_what_holds_without_an_agent(lab, mode, status):
    document = policy.document({"paid": {"credit": "hard", "on_agent_down": mode}},
                               {"acme": ("paid", "sk-acme")})
    lab.start_agent(document, agent_timeout_ms=1000)

    def ask():
        with lab.connect() as sock:
            return send(sock, "POST", CHAT, "sk-acme", chat_body(1)).status
    assert ask() == 429  # no credit
    lab.kill_agent()
    wait_for(lambda: ask() == status, f"status {status}", 5)
    lab.start_agent()
    wait_for(lambda: ask() == 429, "the limit", 5)


def test_keep_leaves_limits_in_force_after_a_clean_stop(lab):
    lab.start_agent(POLICY, options=["--keep"])
    sdk = Sdk(lab, "sk-slow")
    assert lab.stop_agent() == 0
    done = [sdk.call(tokens=1)["ok"] for _ in range(8)]
    assert done.count(True) >= 5 and not done[-1]
    lab.start_agent()
    assert_metered(wait_events(lab, done.count(True)), lab.served("sk-slow"))


def test_a_clean_stop_without_keep_takes_everything_off(lab):
    lab.start_agent(POLICY)
    sdk = Sdk(lab, "sk-once")
    assert [sdk.call(tokens=1)["ok"] for _ in range(6)] == [True] * 5 + [False]
    assert lab.stop_agent() == 0
    assert not lab.pins.exists()
    hooks = json.loads(lab.in_server("bpftool", "net", "show", "-j").stdout)[0]
    assert hooks["xdp"] == [] and hooks["tc"] == []
    assert sdk.call(tokens=1)["ok"], "a limit outlived the agent"


def test_a_second_agent_of_an_instance_is_refused(lab):
    lab.start_agent(POLICY)
    second = run(*lab.inside("server"), BUILD / "weir-agent", "--config", lab.config_path,
                 check=False)
    assert second.returncode == 1
    assert f'instance "{lab.instance}": another weir-agent runs it' in second.stderr
    assert lab.ctl("status")["pid"] == lab.agent.pid
    sdk = Sdk(lab, "sk-once")
    assert [sdk.call(tokens=1)["ok"] for _ in range(6)] == [True] * 5 + [False]


def test_a_limit_changes_under_load_without_losing_what_was_counted(lab):
    """Raised, lowered, raised by SIGHUP while clients ask without pause."""
    def tiers(burst, concurrency):
        return {**POLICY, "tiers": {**POLICY["tiers"],
                                    "once": {"requests": {"per_minute": 1, "burst": burst}},
                                    "slow": {"concurrency": concurrency}}}

    def reload(document):
        lab.write_policy(document)
        lines = lab.log("agent").read_text().count("is in force")
        lab.agent.send_signal(signal.SIGHUP)
        wait_for(lambda: lab.log("agent").read_text().count("is in force") > lines, "the policy")

    lab.start_agent(tiers(5, 2))
    lab.ctl("credit", "grant", "acme", "1000")
    load, sdk = Load(lab, "sk-acme", threads=2), Sdk(lab, "sk-once")
    running = [Sdk(lab, "sk-slow").start(tokens=2, stream=True, include_usage=True, hold=1)
               for _ in range(2)]
    for call in running:
        call.first.result(10)
    assert [sdk.call(tokens=1)["ok"] for _ in range(6)] == [True] * 5 + [False]
    assert not Sdk(lab, "sk-slow").call(tokens=1)["ok"]
    load.more()
    reload(tiers(8, 3))  # five are used of eight now, two of three
    assert [sdk.call(tokens=1)["ok"] for _ in range(4)] == [True] * 3 + [False]
    assert Sdk(lab, "sk-slow").call(tokens=1)["ok"]
    load.more()
    reload(tiers(5, 1))
    assert not sdk.call(tokens=1)["ok"] and not Sdk(lab, "sk-slow").call(tokens=1)["ok"]
    lab.admin("release")
    assert all(call.result()["ok"] for call in running)
    assert Sdk(lab, "sk-slow").call(tokens=1)["ok"]
    load.finish()
    assert set(load.statuses) == {200}
    served = lab.served()
    assert_metered(wait_events(lab, len(served)), served)
    assert lab.ctl("status")["verdicts"]["admit_request"] == len(served)


def test_other_ports_at_a_restart_are_guarded_from_then_on(lab):
    """A port that is taken off the list is nobody's any more, one that comes is guarded; counts
    of what stays go on."""
    lab.start_agent(POLICY)
    sdk = Sdk(lab, "sk-once")
    assert all(sdk.call(tokens=1)["ok"] for _ in range(5))
    lab.kill_agent()
    lab.write_config(nats=False, services=[{"name": "other", "port": 9100}])
    lab.start_agent()
    assert sdk.call(tokens=1)["ok"], "the port is not guarded any more"
    lab.kill_agent()
    lab.write_config(nats=False, services=[{"name": "other", "port": 9100},
                                           {"name": "llm", "port": PORT}])
    lab.start_agent()
    assert not sdk.call(tokens=1)["ok"], "the bucket was refilled"
    wait_events(lab, 5)


def test_detach_of_a_running_agent_is_refused(lab):
    lab.start_agent(POLICY)
    done = run(BUILD / "weir-agent", "--detach", "--config", lab.config_path, check=False)
    assert done.returncode == 1 and lab.instance in done.stderr
    assert lab.ctl("status")["pid"] == lab.agent.pid


def test_sighup_reads_the_policies_again(lab):
    lab.start_agent(POLICY)
    assert Sdk(lab, "sk-new").call(tokens=1)["error"]["status"] == 401
    lab.write_policy({**POLICY, "tenants": {**POLICY["tenants"], "new": {
        "tier": "slow", "keys": [policy.hash_key("sk-new")]}}})
    lab.agent.send_signal(signal.SIGHUP)
    wait_for(lambda: "new" in lab.ctl("policy", "show")["tenants"], "the policy")
    assert Sdk(lab, "sk-new").call(tokens=1)["ok"]


def test_open_connections_live_on_across_a_restart(lab):
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "acme", "10")
    with lab.connect() as sock:
        assert send(sock, "POST", CHAT, "sk-acme", chat_body(2)).json()
        lab.kill_agent()
        assert send(sock, "POST", CHAT, "sk-acme", chat_body(3)).json()
        lab.start_agent()
        assert send(sock, "POST", CHAT, "sk-acme", chat_body(4)).json()
    assert_metered(wait_events(lab, 3), lab.served("sk-acme"))
    assert [e["output_tokens"] for e in events_of(lab)] == [2, 3, 4]
