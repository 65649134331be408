# SPDX-License-Identifier: Apache-2.0
"""A backup of an agent that is at work, put back after a disaster; months that can be sealed."""
import datetime
import os
import stat
import subprocess
import threading

from checks import wait_events
from weirlab import policy, wait_for
from weirlab.clients import usage_events
from weirlab.lab import BUILD
from weirlab.raw_http import chat_body, send

POLICY = policy.document({"open": {"credit": "hard"}}, {"acme": ("open", "sk-acme")})


class Load:
    """Requests one after the other on connections of their own, until it is ended."""

    def __init__(self, lab, threads=3):
        self.answered = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(lab,)) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, lab):
        with lab.connect() as sock:
            while not self._stop.is_set():
                assert send(sock, "POST", "/v1/chat/completions", "sk-acme",
                            chat_body(2)).status == 200
                with self._lock:
                    self.answered += 1

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.answered


def restore(lab, file):
    return subprocess.run([*lab.inside("server"), str(BUILD / "weir-agent"), "--restore", str(file),
                           "--config", str(lab.config_path)], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=60, check=False)


def balance(lab):
    return policy.nano(lab.ctl("credit", "balance", "acme")["balance"])


def entries(lab):
    return [e["seq"] for e in lab.ctl_lines("ledger", "acme")]


def test_backup_under_load_is_put_back(lab):
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "acme", "1000")
    file = lab.dir / "backup.db"
    load = Load(lab)
    wait_for(lambda: len(entries(lab)) > 50, "entries")
    # In the folder that weirctl was called in, as everybody would.
    made = subprocess.run([BUILD / "weirctl", "--socket", lab.control, "backup", "backup.db",
                           "--json"], cwd=lab.dir, capture_output=True, text=True, check=True)
    before = load.answered
    wait_for(lambda: load.answered > before + 50, "requests after the backup")
    served = load.end()
    wait_events(lab, served)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert not (lab.dir / "backup.db.part").exists()
    assert '"newest"' in made.stdout
    whole = entries(lab)
    assert len(whole) == served + 1

    # It is not replaced by mistake, and neither is any other file.
    again = lab.weirctl("backup", file, check=False)
    assert again.returncode == 1 and "--force" in again.stderr
    other = lab.weirctl("backup", lab.config_path, "--force", check=False)
    assert other.returncode == 1 and "not a backup" in other.stderr
    assert "services" in lab.config_path.read_text()

    # Not under an agent that runs.
    refused = restore(lab, file)
    assert refused.returncode == 1 and "another weir-agent runs" in refused.stderr
    assert entries(lab) == whole

    # The disaster: the agent dies and its database is garbage.
    lab.kill_agent()
    database = lab.dir / "state" / "weir.db"
    database.write_bytes(b"garbage" * 4096)
    done = restore(lab, file)
    assert done.returncode == 0, done.stderr
    assert "up to entry" in done.stdout and "what was there is" in done.stdout
    assert list(database.parent.glob("weir.db.before-*"))
    lab.start_agent()
    kept = entries(lab)
    assert kept == whole[:len(kept)] and 50 <= len(kept) - 1 < served
    assert lab.ctl("ledger", "verify")["ok"]
    # The credit is that of the backup, and requests go on from there.
    left = balance(lab)
    with lab.connect() as sock:
        assert send(sock, "POST", "/v1/chat/completions", "sk-acme", chat_body(2)).status == 200
    wait_for(lambda: balance(lab) < left, "the charge")
    assert lab.ctl("ledger", "verify")["ok"]


def drained(lab):
    wait_for(lambda: lab.ctl("status")["nats"]["connected"]
             and lab.ctl("status")["nats"]["backlog"] == 0, "the backlog to drain", 30)


def usage_ids(lab):
    return [e["id"] for e in lab.ctl_lines("events")]


def stream_ids(lab):
    return [m["event"]["id"] for m in lab.stream()]


def is_told(lab, *what):
    log = lab.log("agent").read_text()
    return all(w in log for w in what)


def test_what_a_restored_ledger_lacks_comes_back_from_the_stream(lab_nats):
    """Usage is entered again, once, and not published again; acts of others are told, and can be
    repeated under their ids; then every balance is what it was."""
    lab = lab_nats
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "acme", "1000")
    file = lab.dir / "backup.db"
    load = Load(lab)
    wait_for(lambda: load.answered > 20, "requests before the backup")
    assert lab.weirctl("backup", file).returncode == 0
    before = load.answered
    wait_for(lambda: load.answered > before + 30, "requests after the backup")
    lab.ctl("credit", "grant", "acme", "7", "--id", "order-9")
    lab.ctl("meter", "add", "acme", "storage_gb", "1.5", "--id", "day-1")
    served = load.end()
    wait_events(lab, served + 1)
    drained(lab)
    ids, left, newest = usage_ids(lab), balance(lab), entries(lab)[-1]
    assert sorted(stream_ids(lab)) == sorted(ids) and len(ids) == served + 1

    lab.kill_agent()
    assert restore(lab, file).returncode == 0
    lab.start_agent()
    drained(lab)
    assert is_told(lab, "entered again from the stream", "grant 7 of acme --id order-9")
    assert sorted(usage_ids(lab)) == sorted(ids)
    assert sorted(stream_ids(lab)) == sorted(ids), "published again, or not at all"
    assert entries(lab)[-1] == newest - 1
    assert balance(lab) == left - policy.nano("7")
    assert lab.ctl("ledger", "verify")["ok"]
    lab.ctl("events", "verify")
    # Repeated under their ids, acts are there once.
    for _ in range(2):
        lab.ctl("credit", "grant", "acme", "7", "--id", "order-9")
        lab.ctl("meter", "add", "acme", "storage_gb", "1.5", "--id", "day-1")
    assert balance(lab) == left

    # It goes on from there, and a start that finds nothing to do says nothing.
    with lab.connect() as sock:
        assert send(sock, "POST", "/v1/chat/completions", "sk-acme", chat_body(2)).status == 200
    wait_events(lab, served + 2)
    drained(lab)
    assert lab.stop_agent() == 0
    lab.start_agent()
    drained(lab)
    ids = usage_ids(lab)
    assert sorted(stream_ids(lab)) == sorted(ids) and len(ids) == served + 2
    left = balance(lab)

    # The same with NATS away at the start: nothing is published until the stream was looked at,
    # requests are served all the same. Files that somebody copied are recognised, too.
    lab.kill_agent()
    lab.stop_nats()
    assert restore(lab, file).returncode == 0
    lab.start_agent()
    assert is_told(lab, "is looked at when NATS can be had")
    with lab.connect() as sock:
        assert send(sock, "POST", "/v1/chat/completions", "sk-acme", chat_body(2)).status == 200
    lab.start_nats()
    drained(lab)
    known = usage_ids(lab)
    assert sorted(stream_ids(lab)) == sorted(known) and len(known) == served + 3
    assert set(ids) < set(known)
    lab.ctl("credit", "grant", "acme", "7", "--id", "order-9")
    usage = {e["request_id"]: policy.nano(e["price"]) for e in usage_events(lab.stream())}
    lab.ctl("events", "verify")
    assert balance(lab) == left - sum(usage[i] for i in set(known) - set(ids))
    assert lab.ctl("ledger", "verify")["ok"]


def test_a_file_that_is_no_backup_is_not_put_back(lab):
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "acme", "5")
    lab.stop_agent()
    (lab.dir / "letter").write_text("dear")
    for bad, says in (("nowhere.db", "No such file"), ("letter", "not a database")):
        refused = restore(lab, lab.dir / bad)
        assert refused.returncode == 1 and says in refused.stderr
        assert bad in refused.stderr and len(refused.stderr.splitlines()) == 1
    lab.start_agent()
    assert balance(lab) == policy.nano("5")


def test_only_a_month_that_is_over_is_sealed(lab):
    lab.start_agent(POLICY)
    lab.ctl("credit", "grant", "acme", "5")
    today = datetime.datetime.now(datetime.timezone.utc)
    for month, says in ((f"{today:%Y-%m}", "not over"), ("2020-01", "nothing to seal"),
                        ("2020-13", "not a month"), ("yesterday", "not a month")):
        refused = lab.weirctl("ledger", "seal", month, check=False)
        assert refused.returncode == 1 and says in refused.stderr, month
    assert entries(lab) == [1]
