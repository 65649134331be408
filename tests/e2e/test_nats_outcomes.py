# SPDX-License-Identifier: Apache-2.0
"""A stream that is full, sealed, gone, short of what it acknowledged, not as it must be, or shared
with another ledger; a server that takes no such payload: each has one outcome (agent/delivery.md,
rules 13 to 17), and in the end every event is on the stream once.

One laboratory and one agent for all; each case leaves METER as it is to be, and drained."""
import contextlib
import json

import pytest
from checks import assert_metered, events_of
from nats_lab import JsError, Server
from weirlab import Lab, policy, wait_for
from weirlab.clients import usage_events
from weirlab.raw_http import chat_body, send

CHAT = "/v1/chat/completions"
POLICY = policy.document({"paid": {"credit": "hard"}}, {"acme": ("paid", "sk-acme")})
HOUR = 3600 * 10**9


class Outcomes:
    """The laboratory, its server, and a client of that."""

    def __init__(self, lab):
        self.lab, self.server = lab, Server(lab)
        self.server.start()
        self.js, self.limited = self.server.client(), False

    def again(self, **options):
        """The server is started again, as it may be meanwhile."""
        self.js.close()
        self.server.start(**options)
        self.js, self.limited = self.server.client(), bool(options)

    def reset(self):
        """Whatever a case left: a server without limits, and METER without any."""
        if self.limited or self.lab.nats.poll() is not None:
            self.server.kill()
            self.again()
        try:
            config = self.js.stream()["config"]
            if config != {**config, **self.made}:
                self.js.js("STREAM.DELETE.METER")
        except JsError:  # none is there: the agent makes one
            pass

    def work(self, n=3):
        """n requests, each in the ledger."""
        before = len(self.lab.served())
        with self.lab.connect() as sock:
            for i in range(n):
                answer = send(sock, "POST", CHAT, "sk-acme", chat_body(1 + i % 5))
                assert answer.status == 200 and answer.body()
        wait_for(lambda: len(events_of(self.lab)) == before + n, "the ledger to have them",
                 every=0.05)

    @property
    def status(self):
        return self.lab.ctl("status")["nats"]

    def told(self, *words, seconds=10):
        """The warning that has all these words, once there is one."""
        def warned():
            return next((w for w in self.lab.ctl("status")["warnings"]
                         if all(word in w for word in words)), None)
        return wait_for(warned, f"a warning of {words}", seconds, every=0.05)

    def well(self, seconds=12):
        """All is published, and nothing is said against the stream."""
        wait_for(lambda: (s := self.status)["connected"] and s["backlog"] == 0, "the backlog to drain",
                 seconds, every=0.05)

    def stream(self, name="METER"):
        return self.js.dump(name)

    def published(self, n, node="lab", seconds=20):
        """Usage of a node on the stream in ledger order (what was lost is behind what was not), once
        there are n; each is one message."""
        def enough():
            with contextlib.suppress(JsError):  # there is none yet
                found = [m for m in self.stream() if m["subject"].endswith(f".{node}")]
                return found if len(found) >= n else None
        found = wait_for(enough, f"{n} events on the stream", seconds, every=0.1)
        assert len(found) == n
        events = [m["event"]["data"] for m in found]
        assert usage_events(found) == events, "an event is twice on the stream"
        return sorted(events, key=lambda e: e["ledger_seq"])

    def whole(self):
        """Events on the stream = ledger = served; each once, linked up."""
        events = events_of(self.lab)
        assert_metered(events, self.lab.served())
        assert self.published(len(events)) == events
        self.well()
        done = self.lab.weirctl("events", "verify", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        previous = 0
        for event in events:
            assert event["previous_seq"] == previous
            previous = event["ledger_seq"]
        assert self.lab.weirctl("ledger", "verify").returncode == 0


@pytest.fixture(scope="module")
def lab_outcomes():
    with Lab() as lab:
        lab.start_server()
        made = Outcomes(lab)
        lab.start_agent(POLICY)
        lab.ctl("credit", "grant", "acme", "1000")
        made.well()
        made.made = made.js.stream()["config"]
        yield made
        made.js.close()
    assert lab.leftovers() == []


@pytest.fixture
def case(lab_outcomes, request):
    lab_outcomes.reset()
    lab_outcomes.work()
    lab_outcomes.well()
    yield lab_outcomes
    report = getattr(request.node, "report_call", None)
    if report and report.failed:
        print("--- agent log, its end\n" + lab_outcomes.lab.log("agent").read_text()[-4000:])


def test_a_full_stream_is_waited_for(case):
    case.js.edit("METER", max_msgs=case.js.stream()["state"]["messages"] + 2)
    case.work(5)
    case.told("METER", "is full", "max_msgs")
    assert case.status["backlog"] == 3
    case.js.edit("METER", max_msgs=-1)
    case.whole()


def test_a_message_too_large_for_the_stream_is_waited_for(case):
    case.js.edit("METER", max_msg_size=200)
    case.work(2)
    case.told("METER", "size exceeds")
    case.js.edit("METER", max_msg_size=-1)
    case.whole()


def test_a_payload_too_large_for_the_server_is_waited_for(case):
    case.server.kill()
    case.work(2)
    case.again(max_payload=700)
    case.told("max_payload of 700", "usage waits")
    case.lab.ctl("credit", "grant", "acme", "1", "--reason", "in between")
    assert case.status["backlog"] == 3
    case.server.kill()
    case.again()
    case.whole()


def test_what_is_no_usage_does_not_wait_for_its_stream(case):
    """It is counted, and in the ledger all the same."""
    case.well()
    before, skipped = len(case.stream("LEDGER")), case.status["skipped"]
    case.js.edit("LEDGER", max_msgs=before)
    case.lab.ctl("credit", "grant", "acme", "1")
    case.work(2)
    case.well()
    assert case.status["skipped"] == skipped + 1
    case.told("LEDGER", "is full", "max_msgs")
    case.js.edit("LEDGER", max_msgs=-1)
    case.whole()
    assert len(case.stream("LEDGER")) == before


def test_a_sealed_stream_is_waited_for_and_published_anew_when_it_is_another(case):
    """Sealed for ever: all that helps is to delete it."""
    case.js.edit("METER", sealed=True)
    case.work(2)
    case.told("METER", "sealed")
    before = len(case.stream())
    case.js.js("STREAM.DELETE.METER")
    case.whole()
    assert len(case.stream()) == before + 2


def test_a_deleted_stream_is_made_again_and_gets_all_that_it_had(case):
    case.js.js("STREAM.DELETE.METER")
    case.work(2)
    case.whole()


def test_a_purged_stream_gets_nothing_again(case):
    case.js.js("STREAM.PURGE.METER")
    case.work(2)
    assert case.published(2) == events_of(case.lab)[-2:]
    case.js.js("STREAM.DELETE.METER")
    case.work(1)
    case.whole()


def test_a_server_that_starts_empty_gets_all_that_it_had(case):
    case.server.kill()
    case.server.forget()
    case.work(2)
    case.again()
    case.whole()


def test_a_server_that_lost_its_tail_gets_it_again(case):
    case.work(20)
    case.well()
    before = case.js.last()
    case.server.kill()
    case.server.lose_tail()
    case.again()
    case.whole()
    assert case.js.last() >= before


def test_what_another_node_publishes_does_not_hide_that_the_tail_was_lost(case):
    """Sequence numbers are given again: the cursor's is another's message now."""
    case.work(20)
    case.well()
    before = case.js.last()
    case.server.kill()
    case.server.lose_tail()
    with case.lab.agent_down("SIGSTOP"):
        case.again()
        while case.js.last() < before + 5:
            case.js.publish("meter.v1.acme.other", {"of": "another node"})
    events = events_of(case.lab)
    assert case.published(len(events)) == events
    case.js.js("STREAM.DELETE.METER")
    case.work(1)
    case.whole()


def test_no_trust_in_the_duplicate_window(case):
    """It is tiny; the agent dies before its cursor is stored, and NATS in the middle of it."""
    case.js.js("STREAM.DELETE.METER")
    case.js.js("STREAM.CREATE.METER", {**case.made, "duplicate_window": 100 * 10**6})
    case.work(1)
    assert "hour" in case.told("METER", "remembers ids")
    for n in range(3):
        before = case.js.last()
        case.work(5 + n)
        if n == 1:
            case.server.kill()
            case.again()
        else:
            wait_for(lambda: case.js.last() > before, "events on the stream", every=0.001)
            case.lab.kill_agent()
            case.lab.start_agent()
    case.whole()


def test_a_stream_that_is_not_as_it_must_be_is_told_of_and_never_changed(case):
    for config, words, published in (
            ({"duplicate_window": 60 * 10**9}, "remembers ids", True),
            ({"discard": "old", "max_msgs": 10**6}, "drops its oldest", True),
            ({"no_ack": True}, "no_ack", False),
            ({"subjects": ["meter.v1.acme.*"]}, "does not take", False)):
        with case.lab.agent_down("SIGSTOP"):
            case.js.js("STREAM.DELETE.METER")
            case.js.js("STREAM.CREATE.METER", {**case.made, **config})
        case.work(1)
        case.told("METER", words)
        if published:
            case.whole()
        else:
            assert case.status["backlog"] >= 1
        shown = case.js.stream()["config"]
        assert shown == {**shown, **config}
    case.js.js("STREAM.DELETE.METER")
    case.whole()


def test_two_ledgers_with_one_node_name_are_told_of(case):
    """Within 10 s, and at each new connection."""
    (last,) = case.stream()[-1:]
    event = {**last["event"], "source": "/weir/00000000000000000000000000000000/lab"}
    case.js.publish(last["subject"], json.dumps(event, separators=(",", ":")), msg_id="another-ledger")
    case.server.kill()
    case.again()
    case.told("METER", "another ledger", "/weir/00000000000000000000000000000000/lab", seconds=30)
    case.js.js("STREAM.DELETE.METER")
    case.work(1)
    case.whole()
