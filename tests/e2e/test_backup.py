# SPDX-License-Identifier: Apache-2.0
"""A backup of an agent that is at work, put back after a disaster; months that can be sealed."""
import datetime
import os
import stat
import subprocess
import threading

from checks import wait_events
from weirlab import policy, wait_for
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
