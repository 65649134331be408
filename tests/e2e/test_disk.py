# SPDX-License-Identifier: Apache-2.0
"""The ledger cannot be written (agent/delivery.md, rules 3 to 8): a real file system that is full or
read-only, I/O errors by a VFS preloaded into the agent (tests/chaos/faulty_vfs.h), a database that
cannot be opened, a power loss. It is said, on_agent_down decides, it goes on by itself, and what was
served meanwhile is metered, each once."""
import contextlib
import ctypes
import mmap
import os
import re
import sqlite3

import pytest
from checks import assert_metered, totals
from limit_lab import LimitLab, document, reservation, tenant
from weirlab import LabError, policy, wait_for
from weirlab.lab import BUILD, run

TIMEOUT_S = 1
OUT = 10
TIERS = {"hold": {"on_agent_down": "hold", "credit": "hard", "reserve_output_tokens": OUT},
         "open": {"on_agent_down": "open", "credit": "hard", "reserve_output_tokens": OUT},
         "closed": {"on_agent_down": "closed"}}
POLICY = document(*(tenant(tier, tier) for tier in TIERS), tiers=TIERS)
EACH = reservation(OUT, 1, stream=False)
HELD = 8  # requests that can be in flight at a time
FOR_EVER = 2**64 - 1
WRITE, SYNC, TRUNCATE, DELETE = 1, 2, 4, 32
EIO, EROFS = 0, 3
FAULTS = {"eio": (WRITE | SYNC | TRUNCATE | DELETE, EIO, "check disk and kernel log"),
          "fsync": (SYNC, EIO, "check disk and kernel log"),
          "read-only": (WRITE | TRUNCATE | DELETE, EROFS, "not writable; check owner, mode and mount")}


class Faults(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("magic", "on", "ops", "files", "how", "one_in")]
    _fields_ += [(name, ctypes.c_uint64) for name in (
        "skip", "fail", "seed", "seen", "failed", "writes", "syncs", "truncates", "opened")]


class DiskLab(LimitLab):
    """The ledger on a file system of its own, of 6 MiB."""

    def __enter__(self):
        super().__enter__()
        try:
            self.small = self.dir / "small"
            self.small.mkdir()
            run("mount", "-t", "tmpfs", "-o", "size=6m", "weir-test", self.small)
            self._undo.callback(run, "umount", self.small)
            control = self.dir / "faults"
            control.write_bytes(bytes(ctypes.sizeof(Faults)))
            with open(control, "r+b") as f:
                self.faults = Faults.from_buffer(mmap.mmap(f.fileno(), ctypes.sizeof(Faults)))
            self.agent_env = {**os.environ, "LD_PRELOAD": str(BUILD / "tests/faulty_vfs.so"),
                              "WEIR_FAULTS": str(control)}
        except BaseException:
            self.close()
            raise
        return self

    @property
    def db(self):
        return self.small / "weir.db"

    @contextlib.contextmanager
    def failing(self, ops, how):
        f = self.faults
        f.ops, f.how, f.files, f.one_in, f.skip, f.fail = ops, how, 0, 0, 0, FOR_EVER
        f.seen = f.failed = 0
        f.on = 1
        try:
            yield
        finally:
            f.on = 0
        assert f.failed > 0

    @contextlib.contextmanager
    def full(self):
        """No byte left."""
        filler = self.small / "filler"
        with open(filler, "wb", buffering=0) as f:
            with contextlib.suppress(OSError):
                while True:
                    f.write(bytes(4096))
        try:
            yield
        finally:
            filler.unlink()

    def ledger(self):
        return self.ctl("status")["ledger"]

    def said(self):
        return self.log("agent").read_text()


@pytest.fixture(scope="module")
def lab():
    with DiskLab() as made:
        made.guard(POLICY, nats=False, agent_timeout_ms=TIMEOUT_S * 1000, state_dir=str(made.small))
        assert made.faults.opened > 0, "the agent's SQLite is not the one that fails"
        made.ctl("credit", "grant", "hold", policy.credits(HELD * EACH))
        made.ctl("credit", "grant", "open", policy.credits(20 * EACH))
        yield made
        print("--- agent log, its end\n" + made.said()[-6000:])
    assert made.leftovers() == []


def nothing_lost(lab):
    """Each served once, each paid once, nothing reserved."""
    for name in TIERS:
        served = lab.served(f"sk-{name}")
        events = lab.settled(name, len(served))
        assert_metered(events, served)
        lab.gauge(name, "reserved", "0")
        lab.gauge(name, "inflight", 0)
    assert lab.weirctl("ledger", "verify").returncode == 0
    assert lab.ctl("status")["ring"]["lost"] == 0


def await_outage(lab, what):
    """Requests until it is known; then what status says of it."""
    def known():
        assert lab.ask("open").status == 200
        return not (ledger := lab.ledger())["healthy"] and ledger
    ledger = wait_for(known, "the outage to be known")
    assert what in ledger["error"] and str(lab.db) in ledger["error"]
    assert ledger["since"] and ledger["room"] > 0 and ledger["spill"]["max"] > 0
    return ledger


def outage(lab, what):
    """While the ledger cannot be written."""
    said, waiting = lab.said().count(what), await_outage(lab, what)["waiting"]
    # As if the agent were dead: each tier as it says.
    answer = wait_for(lambda: (a := lab.ask("closed")).status == 503 and a, "the tier to close")
    assert answer.error["code"] == "service_unavailable"
    assert not lab.ledger()["heartbeat"]
    assert lab.ask("hold").status == 200
    assert lab.ask("open").status == 200
    wait_for(lambda: lab.ledger()["waiting"] >= waiting + 2, "requests to wait")
    assert any(w.startswith("ledger: not written since") for w in lab.warnings())
    # A write of somebody's is refused with the reason, and is no write.
    refused = lab.weirctl("credit", "grant", "hold", "1", "--id", f"in-{what}", check=False)
    assert refused.returncode == 1 and what in refused.stderr
    assert lab.said().count(what) <= said + 2, "once for each cause"


def well_again(lab):
    wait_for(lambda: lab.ledger()["healthy"], "the ledger to be written again", 15)
    wait_for(lambda: lab.ask("closed").status == 200, "the tier that is closed to come back", 5)
    wait_for(lambda: lab.ledger()["waiting"] == 0, "the queue to be empty")
    assert "ledger: writing again" in lab.said()
    nothing_lost(lab)


def test_a_disk_that_is_full(lab):
    pid = lab.agent.pid
    assert lab.ask("closed").status == 200
    with lab.full():
        outage(lab, "disk full; free some space")
    well_again(lab)
    assert lab.agent.poll() is None and lab.agent.pid == pid


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails(lab, fault):
    ops, how, what = FAULTS[fault]
    with lab.failing(ops, how):
        outage(lab, what)
    well_again(lab)


def test_without_a_request_it_is_known_too(lab):
    """By the sign of life, every 10 s; and it ends by itself."""
    failures = lab.ledger()["failures"]
    with lab.failing(WRITE, EIO):
        wait_for(lambda: lab.ledger()["failures"] > failures, "the outage to be known", 20)
        assert lab.ledger()["waiting"] == 0
    wait_for(lambda: lab.ledger()["healthy"], "its end", 15)


def test_hold_spends_what_there_is_and_no_more(lab):
    """The balance goes on being settled while nothing can be written."""
    with lab.full():
        await_outage(lab, "disk full")
        served, refused = 0, 0
        while served < 300 and refused < 2:
            answer = lab.ask("hold")
            if answer.status == 200:
                served, refused = served + 1, 0
            else:  # of those before some may not have been settled yet
                assert answer.error["code"] == "insufficient_quota"
                refused += 1
                lab.gauge("hold", "reserved", "0")
        assert refused == 2 and served > HELD
        balance = policy.nano(lab.live("hold")["balance"])
        assert 0 <= balance < EACH
    well_again(lab)
    spent = totals(lab.settled("hold", len(lab.served("sk-hold"))))["price"]
    assert policy.nano(lab.live("hold")["balance"]) == HELD * EACH - spent == balance


def test_killed_while_ill_and_started_on_a_full_disk(lab):
    """A start that cannot be is said and ends; limits go on; then all is there."""
    with lab.full():
        await_outage(lab, "disk full")
        for _ in range(3):
            assert lab.ask("open").status == 200
        stream = lab.hold("open")
        lab.kill_agent()
        with pytest.raises(LabError, match="disk full; free some space"):
            lab.start_agent()
        assert lab.agent.returncode == 1
        wait_for(lambda: lab.ask("closed").status == 503, "the tier to close", 5)
        assert lab.ask("open").status == 200
        lab.release([stream])
    lab.start_agent()
    assert "nothing is lost" in lab.said()
    well_again(lab)


def test_stopped_while_ill(lab):
    """At once, with its rows where they outlive it."""
    at = len(lab.said())
    with lab.full():
        await_outage(lab, "disk full")
        assert lab.stop_agent() == 0
    lab.start_agent()
    assert "Not in the ledger" not in lab.said()[at:]
    well_again(lab)


def test_a_database_that_is_not_one(lab):
    """Corrupt at the start: why, and what to do; put right, all is there."""
    lab.kill_agent()
    whole = {p: p.read_bytes() for p in lab.small.iterdir()}
    for path in whole:  # a WAL would put it right
        path.unlink()
    lab.db.write_bytes(b"x" * 8192)
    with pytest.raises(LabError, match="restore a backup, or move the file away"):
        lab.start_agent()
    assert lab.agent.returncode == 1
    assert lab.ask("open").status == 200
    for path, content in whole.items():
        if not path.name.endswith("-shm"):
            path.write_bytes(content)
    lab.start_agent()
    well_again(lab)


def test_a_power_loss_is_told_until_a_clean_start(lab):
    """The machine's boot is another than that of a run without an end."""
    assert lab.ask("open").status == 200
    lab.kill_agent()
    db = sqlite3.connect(lab.db)
    db.execute("UPDATE run SET boot = 'another', open = 7 WHERE ended = 0")
    db.commit()
    db.close()
    at = len(lab.said())
    lab.start_agent()
    assert re.search(r"machine went down .* the 7 requests that were open", lab.said()[at:])
    gap = lab.ctl("status")["gap"]
    assert gap["power_loss"] and gap["open"] == 7 and gap["from"] < gap["to"]
    assert lab.stop_agent() == 0
    lab.start_agent()
    assert lab.ctl("status")["gap"] is None
    nothing_lost(lab)
