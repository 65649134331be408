# SPDX-License-Identifier: Apache-2.0
"""The node that things happen to: a laboratory with agent, nats-server, a model server that writes
down what it served, and clients; and each kind of event of a plan, done to it."""
import contextlib
import ctypes
import mmap
import os
import queue
import signal
import threading
import time

from nats_wire import Wire
from soak import KEYED, OWN, End, prefix
from weirlab import policy, wait_for
from weirlab.lab import BUILD, CLIENT4, PORT, SERVER4

STREAMS = "METER", "LEDGER", "ALERT"
WINDOW_NS = 2_000_000_000  # of these, made beforehand: any outage of some seconds is longer
RING_BYTES = 32 << 20
RICH, POOR = "1000000", "3"

# Pieces and gap make 15 s, of every one.
LONG = {"connections": 400, "streams": 300, "pieces": 60, "gap": 250, "even": 1, "asks": 0,
        "aborts": 2, "opens": 2000}
SHORT = {"connections": 200, "streams": 30, "pieces": 20, "gap": 20, "asks": 80, "unknown": 1,
         "aborts": 3, "closes": 10, "opens": 500}


class ClockShift(ctypes.Structure):
    """clock_shift.h"""
    _fields_ = [("shift_ns", ctypes.c_int64)] + [(name, ctypes.c_uint64) for name in (
        "clocks", "waits", "timers", "stepped")]


class Faults(ctypes.Structure):
    """faulty_vfs.h"""
    _fields_ = [(name, ctypes.c_uint32) for name in (
        "magic", "on", "ops", "files", "how", "one_in")]
    _fields_ += [(name, ctypes.c_uint64) for name in (
        "skip", "fail", "seed", "seen", "failed", "writes", "syncs", "truncates", "opened")]


WRITE, SYNC, TRUNCATE, SHM = 1, 2, 4, 64
EIO, ENOSPC, TORN = 0, 1, 2
FOR_EVER = 2**64 - 1
FAULTS = {"disk-full": (WRITE | TRUNCATE | SHM, ENOSPC), "disk-eio": (WRITE | SYNC | TRUNCATE, EIO),
          "disk-fsync": (SYNC, EIO), "disk-torn": (WRITE, TORN)}


def mapped(path, layout):
    """A struct in a file that others map too."""
    with open(path, "wb") as f:
        f.write(bytes(ctypes.sizeof(layout)))
    fd = os.open(path, os.O_RDWR)
    try:
        return layout.from_buffer(mmap.mmap(fd, ctypes.sizeof(layout)))
    finally:
        os.close(fd)


def document(tenants):
    """Who has credit (paid), who is often out of it (poor), and who has none and wants none; what
    holds while there is no agent differs."""
    tiers = {"paid": {"credit": "hard", "reserve_output_tokens": 64},
             "poor": {"credit": "hard", "reserve_output_tokens": 64, "on_agent_down": "closed",
                      "topup": {"below": "1", "ask": "5"}},
             "open": {"on_agent_down": "open"}, "held": {}}
    return policy.document(tiers, {
        f"t{t}": {"tier": tier_of(t), "keys": [policy.hash_key(f"sk-soak-{t}")],
                  "sources": [prefix(OWN, t)]} for t in range(1, tenants + 1)})


def tier_of(t):
    return ("paid", "poor", "open", "held")[t % 4]


def names(tenants, tier):
    return [f"t{t}" for t in range(1, tenants + 1) if tier_of(t) == tier]


class Grants(threading.Thread):
    """Grants credit, whoever is dead meanwhile: each has an id, and is repeated until it is in."""

    def __init__(self, lab):
        super().__init__(daemon=True)
        self.lab, self.given, self.failed, self.tries = lab, {}, [], 0
        self._queue = queue.Queue()
        self.start()

    def put(self, tenant, amount, key, twice=False):
        for _ in range(1 + twice):
            self._queue.put((tenant, amount, key))

    def run(self):
        while True:
            self._give(*self._queue.get())
            self._queue.task_done()

    def _give(self, tenant, amount, key):
        deadline = time.monotonic() + 60
        while True:
            self.tries += 1
            done = self.lab.weirctl("credit", "grant", tenant, amount, "--id", key, check=False)
            if done.returncode == 0:
                self.given[key] = tenant, policy.nano(str(amount))
                return
            if time.monotonic() > deadline:
                self.failed.append(f"grant {key} to {tenant}: {done.returncode}: {done.stderr}")
                return
            time.sleep(0.05)

    def join_all(self):
        wait_for(lambda: not self._queue.unfinished_tasks, "the grants", 70)
        assert not self.failed, self.failed


class Node:
    """size: what LONG and SHORT are to be instead, by name."""

    def __init__(self, lab, tenants, seed, long=LONG, short=SHORT, window_ns=WINDOW_NS):
        self.lab, self.tenants, self.seed, self.window_ns = lab, tenants, seed, window_ns
        self.sizes = {"long": long, "short": short}
        self.killed = {"agent": 0, "nats": 0}
        # Readings of a clock that was off; operations that failed; starts on a disk that failed.
        self.shifted = self.hit = self.in_vain = 0

    # ------------------------------------------------------------------ set up

    def start(self, **config):
        lab = self.lab
        lab.ip(lab.server_ns, "route", "add", "10.96.0.0/11", "via", CLIENT4)
        for net in (OWN, KEYED):
            lab.ip(lab.client_ns, "route", "add", "local", net, "dev", "lo")
        lab.in_server("sysctl", "-qw", "net.core.somaxconn=65535",
                      "net.ipv4.tcp_max_syn_backlog=65535")
        self.book = lab.dir / "served"
        self.server = End(lab, "server", "soak_server",
                          [BUILD / "tests/soak/soak_server", PORT, self.book])
        lab.await_listening(self.server.process, PORT, "soak_server", "soak_server")
        self._preload()
        lab.start_nats()
        with self.wire() as wire:
            for name in STREAMS:
                wire.make_stream(name, f"{name.lower()}.v1.>", duplicate_window=self.window_ns)
        lab.start_agent(document(self.tenants), options=["--keep"],
                        **{"ring_bytes": RING_BYTES, "max_flows": 8192, **config})
        self.grants = Grants(lab)
        for tier, amount in (("paid", RICH), ("poor", POOR)):
            for name in names(self.tenants, tier):
                self.grants.put(name, amount, f"first-{name}")
        self.grants.join_all()
        self.clients = {name: End(lab, "client", name, [
            BUILD / "tests/soak/soak_client", SERVER4, PORT, f"tenants={self.tenants}",
            f"seed={self.seed}", *(f"{k}={v}" for k, v in size.items())])
            for name, size in self.sizes.items()}

    def _preload(self):
        """The agent's clock and disk are ours to spoil."""
        lab = self.lab
        clock, faults = lab.dir / "clock_shift", lab.dir / "faults"
        self.clock, self.faults = mapped(clock, ClockShift), mapped(faults, Faults)
        libraries = [BUILD / "tests/clock_shift.so"]
        env = {**os.environ, "WEIR_CLOCK_SHIFT": str(clock)}
        self.has_faults = (BUILD / "tests/faulty_vfs.so").exists()
        if self.has_faults:
            libraries.append(BUILD / "tests/faulty_vfs.so")
            env["WEIR_FAULTS"] = str(faults)
        lab.agent_env = {**env, "LD_PRELOAD": ":".join(map(str, libraries))}

    @contextlib.contextmanager
    def wire(self):
        sock = self.lab.socket(where="server")
        sock.connect(("127.0.0.1", 4222))
        wire = Wire(sock)
        try:
            yield wire
        finally:
            wire.close()

    # -------------------------------------------------------------------- load

    def say(self, command):
        return {name: end.say(command) for name, end in self.clients.items()}

    def streams(self):
        """How many are open: it is what the load is about."""
        return sum(c["streams"] for c in self.say("report").values())

    def load_ends(self, cut=False):
        """Nobody asks anything new; what runs ends, the 15-second streams too, or those are cut."""
        self.say("quiet")

        def over(*what):
            return not any(c[w] for c in self.say("report").values() for w in what)
        wait_for(lambda: over("short", "connecting"), "short answers", 30, every=0.05)
        if cut:
            self.say("drain")
        wait_for(lambda: over("streams"), "the streams", 60, every=0.05)
        wait_for(lambda: self.server.say("report")["n_asking"] == 0, "the server to be idle", 30)
        return self.server.say("flush")

    def close_connections(self):
        """None is left, on either side; what was being answered is cut."""
        self.say("drain")
        wait_for(lambda: not any(c["n_open"] for c in self.say("report").values()), "clients", 30)
        self.server.say("drain")
        self.server.say("flush")

    # ------------------------------------------------------------------ events

    def do(self, event):
        time.sleep(event.after_ms / 1000)  # the load itself
        if self.lab.agent.poll() is not None:
            raise AssertionError(f"the agent ended by itself: {self.lab.agent.returncode}")
        getattr(self, "do_" + event.kind.replace("-", "_"))(**event.how)

    @staticmethod
    def pause(ms):
        time.sleep(ms / 1000)  # what was planned: nothing waits for it

    def kill_agent(self):
        self.lab.kill_agent()
        self.killed["agent"] += 1

    def kill_nats(self):
        self.lab.nats.kill()
        self.lab.nats.wait()
        self.killed["nats"] += 1

    def start_agent(self):
        self.lab.start_agent(options=["--keep"])

    def start_in_vain(self):
        """On a disk that fails: it says why and ends, or gets by; it never ends otherwise."""
        lab = self.lab
        before = lab.log("agent").stat().st_size
        lab.spawn_agent(options=["--keep"])
        self.pause(300)
        if lab.agent.poll() is None:
            self.kill_agent()
            return
        said = lab.log("agent").read_bytes()[before:].decode(errors="replace")
        assert lab.agent.returncode == 1 and "weir.db" in said, (lab.agent.returncode, said)
        self.in_vain += 1

    def do_kill_agent(self, down, again):
        self.kill_agent()
        self.pause(down)
        for ms in again:
            self.lab.spawn_agent(options=["--keep"])
            self.pause(ms)
            self.kill_agent()
        self.start_agent()

    def do_kill_nats(self, down):
        self.kill_nats()
        self.pause(down)
        self.lab.start_nats()

    def do_kill_both(self, first, between, down, back):
        order = [self.kill_agent, self.kill_nats]
        for kill in order if first == "agent" else reversed(order):
            kill()
            self.pause(between)
        self.pause(down)
        order = [self.start_agent, self.lab.start_nats]
        for start in order if back == "agent" else reversed(order):
            start()

    def do_restart(self, down):
        status = self.lab.stop_agent()
        assert status == 0, f"SIGTERM: the agent ended with {status}"
        self.pause(down)
        self.start_agent()

    def do_stop(self, **how):
        with self.lab.agent_down("SIGSTOP"):
            self.pause(how["for"])

    def do_nats_away(self, inside, **how):
        """For longer than METER remembers ids; the agent killed in the middle of it or not."""
        end = time.monotonic() + how["for"] / 1000
        self.kill_nats()
        for ms in inside:
            self.pause(ms)
            self.kill_agent()
            self.start_agent()
        self.pause(max(0, end - time.monotonic()) * 1000)
        self.lab.start_nats()

    def do_nats_stop(self, kill, **how):
        """It hangs, with all that was sent to it in its socket."""
        self.lab.nats.send_signal(signal.SIGSTOP)
        try:
            self.pause(how["for"])
            if kill:
                self.kill_agent()
                self.start_agent()
        finally:
            self.lab.nats.send_signal(signal.SIGCONT)

    def do_clock(self, by, inside, **how):
        before = self.clock.clocks
        self.clock.shift_ns += by * 1_000_000
        self.pause(how["for"] / 2)
        if inside == "kill-agent":
            self.do_kill_agent(0, ())
        elif inside == "term-agent":
            self.do_restart(0)
        elif inside == "kill-nats":
            self.do_kill_nats(0)
        self.pause(how["for"] / 2)
        assert self.clock.clocks > before, "the agent did not read the clock that was shifted"
        self.shifted += self.clock.clocks - before
        self.clock.shift_ns = 0

    def do_grant(self, tenant, amount, id, twice):
        self.grants.put(tenant, amount, id, twice)

    def _disk(self, kind, skip, seed=0):
        f = self.faults
        f.on = 0
        f.ops, f.how = FAULTS[kind]
        f.files, f.one_in, f.skip, f.fail, f.seed = 0, 1, skip, FOR_EVER, seed
        f.seen = f.failed = 0
        f.on = 1

    def _disk_well(self):
        self.faults.on = 0
        self.hit += self.faults.failed

    def _do_disk(self, kind, skip, kill, **how):
        self._disk(kind, skip)
        self.pause(how["for"])
        self.felt(kind)
        if kill:
            self.kill_agent()
            self.start_in_vain()
        self._disk_well()
        if kill:
            self.start_agent()

    def felt(self, kind):
        wait_for(lambda: self.faults.failed, f"{kind} to be felt", 10)

    def do_disk_full(self, **how):
        self._do_disk("disk-full", **how)

    def do_disk_eio(self, **how):
        self._do_disk("disk-eio", **how)

    def do_disk_fsync(self, **how):
        self._do_disk("disk-fsync", **how)

    def do_disk_torn(self, skip, seed, down):
        self._disk("disk-torn", skip, seed)
        self.felt("disk-torn")
        self.kill_agent()
        self._disk_well()
        self.pause(down)
        self.start_agent()
