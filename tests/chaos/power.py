# SPDX-License-Identifier: Apache-2.0
"""The machine goes down: of the ledger's files only what was synced is left, of the kernel's maps
and of the agent's memory nothing. NATS is elsewhere and stays. What was open is lost, and the last
group that was not committed; nothing that anybody was told: no entry that could be read, no event,
no grant."""
import ctypes
import sqlite3

from account import Differences
from weirlab import wait_for
from weirlab.lab import BUILD, run

RUN = "/run/weir"


class Power:
    """Goes on with a node. rounds: of (ms of load, seed of what is torn; 0: nothing is)."""

    def __init__(self, chaos, rounds):
        self.node, self.account, self.lab = chaos.node, chaos.account, chaos.node.lab
        self.rounds, self.lost, self.before = rounds, 0, 0
        self.synced = self.lab.dir / "synced"
        self._library = ctypes.CDLL(str(BUILD / "tests/faulty_vfs.so"))
        self._library.faulty_vfs_lose.argtypes = ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64

    def run(self):
        self.node.close_connections()
        self.account.settle()
        self.account.read_served()
        self.before = len(self.account.served) - len(self.account.read_ledger(0))  # lost otherwise
        self.lab.stop_agent()
        self.lab.detach()
        self.synced.mkdir(exist_ok=True)
        self.lab.agent_env["WEIR_FAULTS_SYNCED"] = str(self.synced)
        self.node.start_agent()
        for ms, seed in self.rounds:
            self.round(ms, seed)

    def round(self, ms, seed):
        node, account = self.node, self.account
        node.say("run")
        wait_for(lambda: node.streams() > node.sizes["long"]["streams"] // 2, "streams", 30)
        node.pause(ms)
        known = {e["id"]: e for e in account.read_ledger(0)}
        node.kill_agent()
        node.close_connections()
        account.read_served()
        self.lose(seed)
        log = self.lab.log("agent")
        before = log.stat().st_size
        node.start_agent()
        self.check(known, log.read_bytes()[before:].decode(errors="replace"))

    def lose(self, seed):
        db = self.lab.dir / "state" / "weir.db"
        r = self._library.faulty_vfs_lose(str(db).encode(), str(self.synced).encode(), seed)
        assert r == 0, f"faulty_vfs_lose: {r}"
        for name in (".state", ".state.spill"):
            run("rm", "-f", f"{RUN}/{self.lab.instance}{name}")
        run("rm", "-rf", self.lab.pins)
        run(BUILD / "weir-agent", "--detach", "--config", self.lab.config_path, check=False)
        with sqlite3.connect(db) as opened:
            opened.execute("UPDATE run SET boot = 'before' || boot")
        opened.close()

    def check(self, known, log):
        d, account = Differences(), self.account
        if status := account.settle():
            d.add("not done after 90 s", str({k: status[k] for k in ("ring", "nats")}))
        events = account.read_ledger(len(known))
        account.read_stream(d)
        account.compare_stream(d, events)
        account.compare_lane(d, events)
        account.compare_others(d)
        account.compare_tenants(d, events)
        account.verify(d)
        now = {e["id"]: e for e in events}
        d.all_of("was in the ledger, and is not", sorted(known.keys() - now.keys()))
        d.all_of("another in the ledger now", [i for i, e in known.items() if now.get(i, e) != e])
        if "the machine went down" not in log:
            d.add("nobody is told", log[-1500:])
        if d:
            raise AssertionError(f"after a power loss:\n{d}")
        self.lost = len(account.served) - len(now) - self.before
