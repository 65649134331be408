# SPDX-License-Identifier: Apache-2.0
"""What the TCP tests share: a laboratory with a hand-made client on its wire, one
port served by uvicorn and one that the test serves itself; requests that are
admitted and refused; and the claim each test ends with, that nothing is held."""
import json
import socket
from contextlib import suppress

import pytest
from checks import events_of, total_input
from weirlab import Lab, LabError, policy, wait_for
from weirlab.lab import PORT, SERVER4, SERVER6
from weirlab.raw_http import Response, chat_body, head
from weirlab.rawtcp import Wire, listen

CHAT = "/v1/chat/completions"
BY_HAND = 8001  # guarded, served by the test
UNGUARDED = 8002
ACME, OTHER, BROKE = "sk-acme", "sk-other", "sk-broke"
DOCUMENT = policy.document(
    {"open": {}, "paid": {"credit": "hard", "reserve_output_tokens": 16}},
    {"acme": {"tier": "open", "keys": [policy.hash_key(ACME)],
              "sources": ["10.77.0.0/16", "fd77::/64"]},
     "other": ("open", OTHER),
     "broke": ("paid", BROKE)})  # no grant, ever: each of its requests is a 429
SERVICES = [{"name": "llm", "port": PORT, "api": "openai"},
            {"name": "by-hand", "port": BY_HAND, "api": "openai"}]
BOTH_FAMILIES = pytest.mark.parametrize("family", (4, 6))


class TcpLab(Lab):
    def __enter__(self):
        super().__enter__()
        self.wire = None
        try:
            # Each probe and each stray segment is answered, not two a second; TFO is served.
            self.in_server("sysctl", "-qw", "net.ipv4.tcp_invalid_ratelimit=0",
                           "net.ipv4.tcp_fastopen=0x403")
            self.start_server()
            self.wire = Wire(self)
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        if self.wire:
            self.wire.close()
        super().close()

    def guard(self):
        self.start_agent(DOCUMENT, nats=False, services=SERVICES)

    def connect_by_hand(self, family=4, receive_buffer=None, **how):
        """A raw connection and the server's end of it."""
        with listen(self, BY_HAND, family, receive_buffer=receive_buffer) as listener:
            conn = self.wire.connect(family, BY_HAND, **how)
            accepted, _ = listener.accept()
        accepted.settimeout(5)
        return conn, accepted

    def server_states(self, conn):
        """States of the server's sockets for a client's port: [] is none."""
        port = conn.sport if hasattr(conn, "sport") else conn.getsockname()[1]
        lines = self.in_server("ss", "-Htan", f"dport = :{port}").stdout.splitlines()
        return [line.split()[0] for line in lines]

    def server_forgot(self, conn):
        wait_for(lambda: not self.server_states(conn), "the server to forget the connection")

    def live(self, tenant):
        return self.ctl("tenant", "show", tenant)["live"]

    def held(self):
        """What is held by anybody: connections, requests in flight, flow entries."""
        lives = [self.live(t) for t in ("acme", "other", "broke")]
        return (sum(v["connections"] for v in lives), sum(v["inflight"] for v in lives),
                self.ctl("status")["flows"]["used"])


class Shared:
    """One laboratory for many tests, made anew after one that failed."""

    def __init__(self):
        self.lab = None

    def get(self):
        if not self.lab:
            self.lab = TcpLab().__enter__()
            self.lab.guard()
        return self.lab

    def close(self):
        lab, self.lab = self.lab, None
        if lab:
            lab.close()
            assert lab.leftovers() == []


@pytest.fixture(scope="module")
def shared():
    shared = Shared()
    yield shared
    shared.close()


@pytest.fixture
def tcp(shared, request):
    lab = shared.get()
    yield lab
    report = getattr(request.node, "report_call", None)
    if not report or report.failed:
        shared.close()
    else:
        lab.wire.close()


@pytest.fixture
def unguarded():
    """A laboratory whose agent the test starts."""
    with TcpLab() as lab:
        yield lab
    assert lab.leftovers() == []


class Counted:
    """How often each verdict was given since now."""

    def __init__(self, lab):
        self.lab = lab
        self.began = self._now()

    def _now(self):
        return self.lab.ctl("status")["verdicts"]

    def __getitem__(self, name):
        return self._now()[name] - self.began[name]

    def expect(self, **verdicts):
        """Exactly that many, once all are there."""
        def got():
            now = self._now()
            return {name: now[name] - self.began[name] for name in verdicts}
        with suppress(LabError):  # told below, with figures
            wait_for(lambda: all(got()[n] >= v for n, v in verdicts.items()), "verdicts", 2)
        counts = got()
        assert counts == verdicts, f"counted {counts}, expected {verdicts}"


def settled(lab):
    """Nobody holds anything any more."""
    with suppress(LabError):
        wait_for(lambda: lab.held() == (0, 0, 0), "gauges", 3)
    held = lab.held()
    assert held == (0, 0, 0), f"connections, in flight, flows: {held}"


def closed(lab, conn):
    """After Weir closed both ends of a connection served by hand: nothing is held but the entry
    that answers for it, and the client's port can be used again."""
    wait_for(lambda: lab.held()[:2] == (0, 0), "gauges", 3)
    again, server = lab.connect_by_hand(conn.family, sport=conn.sport, isn=conn.snd_nxt + 100_000)
    with server:
        again.send(post(b"{}"))
        take(server, len(post(b"{}")))
        server.sendall(ANSWER)
        whole(again)
    again.close()
    settled(lab)


def ask(key=ACME, tokens=2, extra=(), **how):
    """A request, whole."""
    body = json.dumps(chat_body(tokens, **how)).encode()
    return head("POST", CHAT, key, len(body), extra) + body


def post(body, key=ACME):
    return head("POST", CHAT, key, len(body)) + body


def metered(lab, n, since):
    """The events of n answers more than since, by what the server says."""
    events = wait_for(lambda: (e := events_of(lab))[since + n - 1:] and e, "events")[since:]
    assert len(events) == n
    by_id = {r["id"]: r for r in lab.served()}
    for event in events:
        record = by_id[event["response_id"]]
        assert event["usage_source"] == "reported"
        assert (total_input(event), event["output_tokens"]) == (record["prompt"],
                                                                record["completion"])


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def answered(conn, key=ACME):
    """Ask once and read the answer."""
    conn.sendall(ask(key))
    return whole(conn)


def whole(conn, status=200):
    """The answer, read to its end."""
    answer = Response(conn).read_head()
    body = answer.json()
    assert answer.status == status, body
    return body


def refusal(conn):
    """The 429, read to the connection's end."""
    body = whole(conn, 429)
    assert body["error"]["code"] == "insufficient_quota"
    assert conn.recv(1) == b""
    return body


def take(sock, size):
    """Exactly so many bytes, at the server's end."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"the connection ended after {data!r}"
        data += piece
    return data


def was_reset(sock):
    """The server's end was reset before any byte came."""
    try:
        data = sock.recv(4096)
    except ConnectionResetError:
        return True
    raise AssertionError(f"the server was given {data!r}")


def kernel_connect(lab, family=4, port=PORT, sport=None):
    """The client kernel's own TCP, from a port of choice."""
    sock = lab.socket(family)
    sock.settimeout(10)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sport:
        sock.bind(("0.0.0.0" if family == 4 else "::", sport))
    sock.connect((SERVER4 if family == 4 else SERVER6, port))
    return sock
