# SPDX-License-Identifier: Apache-2.0
"""Another version of the agent takes over under load, newer or older: nothing passes unjudged,
no count is lost, connections and streams live on. The other version is the same agent of an ABI
made up (tests/next): fields moved, wider, new, maps of other sizes; or of a schema made up."""
import re
import signal
import sqlite3
import subprocess
import threading

import pytest
from checks import assert_metered, events_of, wait_events
from test_restart import Load
from weirlab import policy, wait_for
from weirlab.lab import BUILD
from weirlab.raw_http import chat_body, send

CHAT = "/v1/chat/completions"
NOW, NEXT = BUILD / "weir-agent", BUILD / "tests" / "weir-agent-next"
SCHEMA = BUILD / "tests" / "weir-agent-schema"  # of a later schema of the database
POLICY = policy.document(
    {"paid": {"credit": "hard", "reserve_output_tokens": 16},
     "ten": {"requests": {"per_minute": 1, "burst": 10}},  # no test takes a minute
     "two": {"concurrency": 2}},
    {"acme": ("paid", "sk-acme"), "ten": ("ten", "sk-ten"), "two": ("two", "sk-two"),
     "broke": ("paid", "sk-broke")})
MIGRATED = re.compile(r"of ABI (\d) are migrated to ABI (\d).* held for (\d+) ms")


class Agent:
    """Which version runs, and how it is put in the place of the other."""

    def __init__(self, lab):
        self.lab = lab
        lab.spawn_agent = self._spawn
        self.binary = NOW

    def _spawn(self, options=()):
        self.lab.made_agent = True
        self.lab.agent = self.lab.spawn([self.binary, "--config", self.lab.config_path,
                                         "--keep", *options], "server", "agent")

    def start(self, binary, document=None, **fields):
        self.binary = binary
        self.lab.start_agent(document, **fields)

    def migrations(self):
        """(from, to, ms) of each, as logged."""
        return [tuple(map(int, m)) for m in MIGRATED.findall(self.lab.log("agent").read_text())]


class Prober:
    """Asks again and again for what must never be let through; what it got is kept."""

    def __init__(self, lab, key):
        self.lab, self.key = lab, key
        self.stop, self.statuses = threading.Event(), []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stop.is_set():
            try:
                with self.lab.connect() as sock:
                    for _ in range(4):
                        answer = send(sock, "POST", CHAT, self.key, chat_body(1))
                        answer.body()
                        self.statuses.append(answer.status)
                        self.stop.wait(0.02)  # the others are to get on, too
            except OSError:
                pass  # refused connections are closed behind the answer

    def more(self, n=5):
        seen = len(self.statuses)
        wait_for(lambda: len(self.statuses) >= seen + n, "probes", 20)

    def finish(self):
        self.stop.set()
        self.thread.join(30)
        return set(self.statuses)


def ask(lab, key):
    with lab.connect() as sock:
        answer = send(sock, "POST", CHAT, key, chat_body(1))
        answer.body()
        return answer.status


def stop(lab, how):
    if how == "kill":
        lab.kill_agent()
    else:
        assert lab.stop_agent() == 0


@pytest.mark.parametrize("how", ("kill", "keep"))
def test_upgrade_and_downgrade_under_load_lose_and_let_through_nothing(lab, how):
    agent = Agent(lab)
    # Room for all that happens on a slow machine while no agent runs.
    agent.start(NOW, POLICY, ring_bytes=32 << 20)
    lab.ctl("credit", "grant", "acme", "1000")
    assert [ask(lab, "sk-ten") for _ in range(7)] == [200] * 7
    streams = []
    for _ in range(2):
        sock = lab.connect()
        streams.append((sock, send(sock, "POST", CHAT, "sk-two",
                                   chat_body(3, stream=True, include_usage=True, hold=1))))
    assert [s[1].status for s in streams] == [200, 200] and ask(lab, "sk-two") == 429

    load, broke, third = Load(lab, "sk-acme"), Prober(lab, "sk-broke"), Prober(lab, "sk-two")
    for binary in (NEXT, NOW, NEXT, NOW):
        load.more()
        stop(lab, how)
        load.more()
        agent.start(binary)
        broke.more()
        third.more()
    load.more()
    assert agent.migrations() and [m[:2] for m in agent.migrations()] == [(5, 6), (6, 5)] * 2
    print("held for ms:", [m[2] for m in agent.migrations()])

    assert [ask(lab, "sk-ten") for _ in range(4)] == [200] * 3 + [429]
    assert broke.finish() == {429} and third.finish() == {429}
    lab.admin("release")
    for sock, answer in streams:
        with sock:
            assert answer.body().endswith(b"[DONE]\n\n")
    load.finish()
    assert set(load.statuses) == {200}
    assert not lab.served("sk-broke") and len(lab.served("sk-ten")) == 10

    served = lab.served()
    assert len(served) == len(load.statuses) + 12
    assert lab.ctl("status")["ring"]["lost"] == 0
    assert_metered(wait_events(lab, len(served)), served)
    assert lab.ctl("status")["verdicts"]["admit_request"] == len(served)
    wait_for(lambda: lab.ctl("credit", "balance", "acme")["reserved"] == "0", "settlement")
    for tenant in ("acme", "ten", "two", "broke"):
        wait_for(lambda t=tenant: all(lab.ctl("tenant", "show", t)["live"][gauge] == 0
                                      for gauge in ("connections", "inflight")), f"{tenant}: gauges")
    assert lab.weirctl("ledger", "verify").returncode == 0


def test_an_upgrade_carries_open_requests_and_connections_that_close_meanwhile(lab):
    """Kept-alive connections are used again, those that go while nobody runs are given back."""
    agent = Agent(lab)
    agent.start(NOW, POLICY)
    lab.ctl("credit", "grant", "acme", "10")
    kept = [lab.connect() for _ in range(8)]
    for sock in kept:
        assert send(sock, "POST", CHAT, "sk-acme", chat_body(1)).json()
    assert lab.ctl("tenant", "show", "acme")["live"]["connections"] == 8
    lab.kill_agent()
    for sock in kept[:3]:
        sock.close()
    agent.start(NEXT)
    assert lab.ctl("tenant", "show", "acme")["live"]["connections"] == 5
    for sock in kept[3:]:
        assert send(sock, "POST", CHAT, "sk-acme", chat_body(2)).json()
        sock.close()
    assert_metered(wait_events(lab, 13), lab.served("sk-acme"))
    wait_for(lambda: lab.ctl("tenant", "show", "acme")["live"]["connections"] == 0, "the gauge")


def test_bigger_maps_at_a_restart_keep_what_is_in_them(lab):
    agent = Agent(lab)
    agent.start(NOW, POLICY, max_tenants=64, max_flows=256)
    assert [ask(lab, "sk-ten") for _ in range(7)] == [200] * 7
    with lab.connect() as sock:
        running = send(sock, "POST", CHAT, "sk-two",
                       chat_body(3, stream=True, include_usage=True, hold=1))
        assert running.status == 200
        lab.kill_agent()
        lab.write_config(nats=False, max_tenants=4096, max_flows=16384)
        agent.start(NOW)
        assert lab.ctl("tenant", "show", "two")["live"]["inflight"] == 1
        lab.admin("release")
        assert running.body().endswith(b"[DONE]\n\n")
    assert [ask(lab, "sk-ten") for _ in range(4)] == [200] * 3 + [429]
    assert_metered(wait_events(lab, 11), lab.served())
    assert [m[:2] for m in agent.migrations()] == [(5, 5)]
    # Smaller ones are refused, and nothing is changed by that.
    lab.kill_agent()
    lab.write_config(nats=False, max_tenants=64, max_flows=16384)
    with pytest.raises(Exception, match="max_tenants: map tenants .* has 4096 entries"):
        agent.start(NOW)
    assert ask(lab, "sk-ten") == 429
    lab.write_config(nats=False, max_tenants=4096, max_flows=16384)
    agent.start(NOW)
    assert len(events_of(lab)) == 11
    assert lab.agent.send_signal(signal.SIGTERM) is None and lab.agent.wait(15) == 0


def database(lab):
    return sqlite3.connect(f"file:{lab.dir}/state/weir.db?mode=rw", uri=True, timeout=0,
                           isolation_level=None)


def schema(lab):
    with database(lab) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def is_migrating(lab):
    """Somebody holds the database for longer than a look at its version takes."""
    with database(lab) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
            return False
        except sqlite3.OperationalError as e:
            assert "locked" in str(e)
            return True


def test_a_migration_under_load_is_done_or_not_begun_and_the_way_back_is_refused(lab):
    agent = Agent(lab)
    agent.start(NOW, POLICY, ring_bytes=32 << 20)
    lab.ctl("credit", "grant", "acme", "1000")
    backup = lab.dir / "before.db"
    now = schema(lab)
    load = Load(lab, "sk-acme")
    load.more()
    entries = lab.ctl("ledger", "verify")["entries"]
    assert lab.weirctl("backup", backup).returncode == 0

    # Killed while the log is being rewritten, at two places: it is the old one, all of it.
    for later in (1, 20):
        lab.kill_agent()
        agent.binary = SCHEMA
        lab.spawn_agent()
        wait_for(lambda: is_migrating(lab), "the migration")
        load.more(later)  # requests go on by on_agent_down
        assert is_migrating(lab), "it was over already: make schema.sed slower"
        lab.kill_agent()
        assert schema(lab) == now
        agent.start(NOW)
        verified = lab.ctl("ledger", "verify")
        assert verified["ok"] and verified["entries"] >= entries
        entries = verified["entries"]
    load.more()

    lab.kill_agent()
    agent.start(SCHEMA)
    assert schema(lab) == now + 1
    load.more()
    assert lab.ctl("ledger", "verify")["ok"]

    # The way back: it says why, and what to do, and ends without having touched anything.
    lab.kill_agent()
    load.more(5)
    refused = subprocess.run([*lab.inside("server"), NOW, "--config", lab.config_path],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                             check=False)
    assert refused.returncode == 1
    assert f"schema {now + 1} is newer than this program knows ({now})" in refused.stderr
    assert "start the newer agent, or restore the backup" in refused.stderr
    assert schema(lab) == now + 1
    load.more(5)
    agent.start(SCHEMA)
    load.more()
    load.finish()
    assert set(load.statuses) == {200}
    served = lab.served()
    assert len(served) == len(load.statuses)
    assert lab.ctl("status")["ring"]["lost"] == 0
    assert_metered(wait_events(lab, len(served)), served)
    wait_for(lambda: lab.ctl("credit", "balance", "acme")["reserved"] == "0", "settlement")
    assert lab.ctl("ledger", "verify")["ok"]

    # What the message offers: the backup of before, with the older agent.
    assert lab.stop_agent() == 0
    done = subprocess.run([*lab.inside("server"), NOW, "--restore", backup, "--config",
                           lab.config_path], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    agent.start(NOW)
    assert schema(lab) == now and lab.ctl("ledger", "verify")["ok"]
