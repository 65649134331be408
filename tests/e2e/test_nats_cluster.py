# SPDX-License-Identifier: Apache-2.0
"""Three nats-servers and streams of three replicas: leaders die and are cut off, by either side of
the agent, and all three start again, under load. Afterwards the accounts of `make chaos` agree: what
the stream has, what the ledger has, what was served. nats-server 2.9 may lose what it has
acknowledged when a leader was cut off and comes back (agent/delivery.md, 12a): that is why.

WEIR_CLUSTER_ROUNDS: how often all of it is done; `make chaos` does it more than once."""
import contextlib
import os
import pathlib
import sys
import time

import pytest
from nats_lab import Cluster, JsError
from weirlab import Lab, LabError, wait_for

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path += [str(TESTS / "soak"), str(TESTS / "chaos")]

from account import Account  # noqa: E402
from node import Node  # noqa: E402

ROUNDS = int(os.environ.get("WEIR_CLUSTER_ROUNDS", 1))
TENANTS, SEED = 8, 1
LOAD = {"connections": 60, "streams": 20, "pieces": 20, "gap": 20, "asks": 60, "aborts": 2,
        "opens": 200}


class ClusterLab(Lab):
    """What a Lab calls its nats-server is three of them."""

    def start_nats(self):
        self.cluster = Cluster(self)
        self.nats_url = self.cluster.urls
        self.nats = self.cluster.process[0]


class Reader:
    """What an account reads with: from whichever server has it, when the cluster is able to."""

    def __init__(self, cluster):
        self.cluster = cluster

    def make_stream(self, *_, **_config):
        """The agent does."""

    def read(self, stream, from_seq):
        def read():
            with contextlib.suppress(OSError, JsError, LabError), \
                    self.cluster.client(self.cluster.wait_leader(), 5) as js:
                return [list(js.read(stream, from_seq))]
            return None
        return wait_for(read, f"{stream} to be read", 60, every=0.2)[0]


class ClusterNode(Node):
    @contextlib.contextmanager
    def wire(self):
        yield Reader(self.lab.cluster)

    def _preload(self):
        """Clock and disk are left alone here."""


class ForgetfulReader(Reader):
    """Streams that forget ids at once, as a leader does that never had the message. (A window that
    is shortened later is so on one replica before another: nats-server 2.9 then keeps what differs.)"""

    def make_stream(self, name, subject, **_config):
        wait_for(lambda: self.cluster.ask(0, lambda js: js.js(f"STREAM.CREATE.{name}", {
            "name": name, "subjects": [subject], "retention": "limits", "discard": "new",
            "storage": "file", "num_replicas": 3, "duplicate_window": 200_000_000})),
            f"{name} to be made", 30)


class ForgetfulNode(ClusterNode):
    @contextlib.contextmanager
    def wire(self):
        yield ForgetfulReader(self.lab.cluster)


class WholeAccount(Account):
    """Streams are read from their beginning each time: the later part may have become another."""

    def read_stream(self, d):
        self.stream, self._highest = {}, 0
        self.others = {stream: {} for stream in self.others}
        self._at.clear()
        super().read_stream(d)


def dropped(js, seq):
    """Asked for again if the answer did not come: it is gone once it is not there."""
    with contextlib.suppress(JsError):
        js.js("STREAM.MSG.DELETE.METER", {"seq": seq})
    try:
        js.get("METER", seq=seq)
    except JsError as e:
        return e.code == 10037
    return False


class Trouble:
    """What is done to the cluster, under load."""

    def __init__(self, lab, node):
        self.lab, self.cluster, self.node = lab, lab.cluster, node
        self.began, self.log, self.grants = time.monotonic(), [], 0

    def note(self, text):
        self.log.append(f"{time.monotonic() - self.began:5.1f} s: {text}")

    def load(self, n=200):
        """n more requests are asked, and somebody is given credit."""
        self.grants += 1
        self.node.grants.put("t4", "1", f"grant-{self.grants}")
        asked = self.asked()
        wait_for(lambda: self.asked() >= asked + n, "load", 30, every=0.05)

    def asked(self):
        return sum(c["asked"] for c in self.node.say("report").values())

    def acknowledged(self):
        """Of usage; from when it is called, more."""
        before = self.lab.ctl("status")["nats"]["acked"]
        wait_for(lambda: self.lab.ctl("status")["nats"]["acked"] > before, "events to be taken", 60,
                 every=0.05)

    def leader_killed(self):
        leader = self.cluster.wait_leader()
        self.cluster.kill(leader)
        self.load()
        to = self.cluster.wait_leader(but=leader)
        self.note(f"leader {leader} killed; now {to}")
        self.acknowledged()
        self.note("goes on")
        self.cluster.start(leader)
        self.whole()

    def leader_cut_off(self):
        """From the two others, with the agent on its side, which then finds them. When it is back,
        there is another leader."""
        leader = wait_for(lambda: [s] if (s := self.cluster.agents_server()) is not None else None,
                          "the agent to be connected")[0]
        self.cluster.make_leader(leader)
        self.cluster.cut(leader)
        self.note(f"leader {leader} is cut off, with the agent")
        self.load()
        to = self.cluster.wait_leader(but=leader)
        self.note(f"{to} leads the others")
        self.load()
        self.acknowledged()
        self.note(f"the agent is at {self.cluster.agents_server()}")
        assert self.cluster.agents_server() != leader
        self.cluster.heal(leader)
        self.load()
        self.whole()

    def whole(self):
        self.cluster.wait_whole()
        self.note("all replicas are current")

    def lose_acknowledged(self, n=3):
        """As a leader that comes back may, but for certain: messages that were acknowledged are
        gone, no connection breaks, and their ids are not known any more."""
        again = self.lab.ctl("status")["nats"]["again"]
        self.load()
        self.acknowledged()
        last = wait_for(lambda: self.cluster.ask(self.cluster.wait_leader(), lambda js: js.last()),
                        "METER's end", 30)
        assert last > 2 * n
        for seq in range(last - n, last):
            wait_for(lambda seq=seq: self.cluster.ask(self.cluster.wait_leader(),
                                                      lambda js: dropped(js, seq)),
                     f"message {seq} to be gone", 30)
        self.note(f"{n} acknowledged events are taken away")
        self.load()
        wait_for(lambda: self.lab.ctl("status")["nats"]["again"] >= again + n,
                 "them to be published again", 90, every=0.2)
        self.note("published again")

    def leader_left_out(self):
        """From the two others, one of which has the agent."""
        leader = self.cluster.wait_leader()
        if leader == self.cluster.agents_server():
            leader = (leader + 1) % 3
            self.cluster.make_leader(leader)
        self.cluster.cut(leader, clients=True)
        self.load()
        self.cluster.wait_leader(but=leader)
        self.acknowledged()
        self.cluster.heal(leader)
        self.note(f"leader {leader} was cut off from all")
        self.whole()

    def one_away(self, seconds):
        """One that does not lead, for so long."""
        leader = self.cluster.wait_leader()
        away = (leader + 1) % 3
        self.cluster.kill(away)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.load()
        self.acknowledged()
        self.cluster.start(away)
        self.note(f"{away} away for {seconds} s")
        self.whole()

    def all_killed(self):
        for node in self.cluster.nodes:
            self.cluster.kill(node)
        self.load()
        for node in self.cluster.nodes:
            self.cluster.start(node)
        self.acknowledged()
        self.note("all three killed")
        self.whole()


@pytest.fixture
def cluster_lab():
    with ClusterLab() as made:
        yield made
        if made.log("agent").exists():  # shown if it failed
            print("--- agent log, its end\n" + made.log("agent").read_text()[-4000:])
    assert made.leftovers() == []


def settled(account, seconds=90):
    """The accounts agree; if something acknowledged was lost, once that was found and sent again."""
    last = []

    def agree():
        try:
            return account.check()
        except AssertionError as e:
            last[:] = [e]
            return None
    try:
        return wait_for(agree, "the accounts to agree", seconds, every=1)
    except LabError:
        raise last[0] from None


def test_no_event_is_lost_or_twice_whatever_a_cluster_goes_through(cluster_lab):
    lab = cluster_lab
    node = ClusterNode(lab, TENANTS, SEED, long={**LOAD, "asks": 0}, short=LOAD)
    node.start(nats={"replicas": 3})
    made = wait_for(lambda: lab.cluster.ask(0, lambda js: js.stream()["config"]), "METER", 30)
    assert made["num_replicas"] == 3
    trouble, account = Trouble(lab, node), WholeAccount(node)
    try:
        for _ in range(ROUNDS):
            node.say("run")
            trouble.leader_killed()
            trouble.leader_cut_off()
            trouble.all_killed()
            if ROUNDS > 1:
                trouble.leader_left_out()
                trouble.one_away(20)
            node.load_ends(cut=True)
            events = settled(account)
            done = lab.weirctl("events", "verify", check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            trouble.note(f"{len(events)} events, each once")
    finally:
        print("\n".join(trouble.log), lab.ctl("status")["nats"])
        for server in lab.cluster.nodes:
            print(server, lab.cluster.ask(server, lambda js: js.stream()["state"]))


def test_what_a_cluster_acknowledged_and_lost_is_published_again(cluster_lab):
    lab = cluster_lab
    node = ForgetfulNode(lab, TENANTS, SEED, long={**LOAD, "asks": 0}, short=LOAD)
    node.start(nats={"replicas": 3})
    trouble, account = Trouble(lab, node), WholeAccount(node)
    try:
        node.say("run")
        trouble.lose_acknowledged()
        node.load_ends(cut=True)
        events = settled(account)
        done = lab.weirctl("events", "verify", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        trouble.note(f"{len(events)} events, each once")
    finally:
        print("\n".join(trouble.log), lab.ctl("status")["nats"])
