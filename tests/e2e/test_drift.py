# SPDX-License-Identifier: Apache-2.0
"""What is counted is compared with what is there: a connection whose socket never came to be, or
went unseen, is given back; a gauge that is off is put right; nothing that lives is touched."""
import contextlib
import ctypes
import json
import mmap
import os
import socket
import struct

import pytest
from tcp_lab import (ACME, ANSWER, BOTH_FAMILIES, BY_HAND, DOCUMENT, SERVICES, Counted, Shared,
                     TcpLab, answered, kernel_connect, post, settled, take, whole)
from test_nat import WAYS, Pod, answer, request
from test_restart import Load
from weirlab import wait_for
from weirlab.lab import run
from weirlab.links import BPF_OBJ_GET, _bpf
from weirlab.rawtcp import RAW4, RAW6, listen

TENANT = 256  # bytes of struct weir_tenant; where its gauges are (weir_abi.h)
GAUGES = {"connections": 216, "inflight": 220, "half_open": 248}


def drift(lab):
    return lab.ctl("status")["drift"]


def rounds(lab, n):
    """Until n more rounds were begun and ended."""
    first = drift(lab)["sweeps"]
    wait_for(lambda: drift(lab)["sweeps"] >= first + 1 + n, f"{n} rounds", 60)


def log(lab):
    return lab.log("agent").read_text()


class Untouched:
    """A claim about the time since: nothing was given back, nothing corrected."""

    def __init__(self, lab):
        self.lab = lab
        self.before = self._now()

    def _now(self):
        now = drift(self.lab)
        return {k: now[k] for k in now if k == "reaped" or k == "failed" or
                k.startswith("corrected") or k == "reservations_off"}

    def check(self):
        assert self._now() == self.before, log(self.lab)[-2000:]


class SweptLab(TcpLab):
    def guard(self):
        # A request socket that the server cannot complete is forgotten after a second.
        self.in_server("sysctl", "-qw", "net.ipv4.tcp_synack_retries=0")
        self.start_agent(DOCUMENT, nats=False, services=SERVICES, sweep_interval_s=1)


class SharedSwept(Shared):
    def get(self):
        if not self.lab:
            self.lab = SweptLab().__enter__()
            self.lab.guard()
        return self.lab


@pytest.fixture(scope="module")
def shared():
    shared = SharedSwept()
    yield shared
    shared.close()


@pytest.fixture
def swept(shared, request):
    lab = shared.get()
    yield lab
    report = getattr(request.node, "report_call", None)
    if not report or report.failed:
        print("--- agent log, its end\n" + log(lab)[-3000:])
        shared.close()
    else:
        lab.wire.close()
        settled(lab)


# ------------------------------------------------------ connections without a socket

def never_accepted(lab, family, kept=True):
    """A handshake that the client completes and for which the server's queue has no room:
    after a second it forgets about it. kept: until then it has a request socket; else, with a SYN
    cookie, nothing."""
    with listen(lab, BY_HAND, family) as listener:
        if not kept:
            listener.listen(0)
        first, second = (lab.wire.raw(family, BY_HAND) for _ in range(2))
        for conn in (first, second):
            conn.syn()
            conn.syn_ack()
        listener.listen(0)
        first.ack()
        wait_for(lambda: lab.server_states(first) == ["ESTAB"], "the first")
        second.ack()
        second.send(post(b"{}"))
        wait_for(lambda: lab.live("acme")["inflight"] == 1, "the second one's request")
        assert lab.server_states(second) == (["SYN-RECV"] if kept else [])
        assert lab.live("acme")["connections"] == 2
        first.reset()
        wait_for(lambda: lab.live("acme")["connections"] == 1, "the first one's end")
        lab.server_forgot(second)
    return second


def released(lab, seconds=20):
    wait_for(lambda: lab.held() == (0, 0, 0), "all to be given back", seconds)


@BOTH_FAMILIES
@pytest.mark.parametrize("kept", (True, False), ids=("queued", "SYN cookie"))
def test_a_connection_whose_socket_never_came_to_be_is_given_back(swept, family, kept):
    """With the request that was sent on it."""
    counted, before = Counted(swept), drift(swept)
    conn = never_accepted(swept, family, kept)
    released(swept)
    counted.expect(drift_flow=1, close_released=2, admit_request=1, flow_gone=2)
    assert drift(swept)["reaped"] == before["reaped"] + 1
    address = RAW4 if family == 4 else RAW6
    assert f"connection of {address} port {conn.sport} to port {BY_HAND}: has no" in log(swept)


@contextlib.contextmanager
def deaf_to_closes(lab):
    """Both witnesses are off: no socket's end is seen, as if the kernel had told nobody."""
    for name in ("state", "sockops"):
        (lab.pins / "links" / name).unlink()

    def hears():
        """A connection that closes, before a round could have found it."""
        counted = Counted(lab)
        kernel_connect(lab).close()
        wait_for(lambda: counted["flow_gone"], "its end")
        return not counted["drift_flow"]
    first = drift(lab)["reaped"]
    wait_for(lambda: not hears(), "the witnesses to be off")  # a worker of the kernel takes them
    wait_for(lambda: drift(lab)["reaped"] == first + 1, "status to tell of that one")
    yield
    lab.stop_agent()
    lab.start_agent()


def close_all(conns):
    for conn in conns:
        conn.close()


def test_closes_that_nobody_saw_are_found(swept):
    """Hundreds, while others live on and new ones come."""
    lab, stay = swept, [kernel_connect(swept) for _ in range(20)]
    answered(stay[0])
    with deaf_to_closes(lab):
        counted, before = Counted(lab), drift(lab)
        close_all([kernel_connect(lab, family) for family in (4, 6) for _ in range(150)])
        wait_for(lambda: counted["drift_flow"] == 300, "300 to be given back", 30)
        come = [kernel_connect(lab) for _ in range(10)]
        rounds(lab, 3)
        assert lab.held() == (30, 0, 30)
        counted.expect(drift_flow=300, close_released=300, flow_new=310, flow_adopted=0)
        assert drift(lab)["reaped"] == before["reaped"] + 300
        assert "drift: and " in log(lab) and " more connections have no socket" in log(lab)
        for conn in stay + come:
            assert answered(conn)["usage"]
    close_all(stay + come)


# ------------------------------------------------------------------ nothing else

def test_what_lives_is_left_alone(swept):
    """Idle, half closed by either side, in flight, half open, and a load that comes and goes."""
    lab, untouched = swept, Untouched(swept)
    idle = [kernel_connect(lab, family) for family in (4, 6) for _ in range(10)]
    handshake = lab.wire.raw()
    handshake.syn()
    handshake.syn_ack()
    conn, server = lab.connect_by_hand()
    with server:
        conn.send(post(b"{}"))
        take(server, len(post(b"{}")))
        half, peer = lab.connect_by_hand(6)
        peer.shutdown(socket.SHUT_WR)  # FIN_WAIT2 with a user: stays
        half.next("a FIN", lambda s: half.peer_fin)
        half.ack()

        class Where:
            connect = staticmethod(lambda: kernel_connect(lab))
        load = Load(Where, ACME, aborts=True)
        rounds(lab, 4)
        load.finish()
        # The handshake's time may be over, or not.
        wait_for(lambda: lab.held() in ((22, 1, 22), (23, 1, 23)), "the load's end")
        untouched.check()
        assert drift(lab)["sockets"] >= 22
        server.sendall(ANSWER)
        whole(conn)
    conn.close()
    half.close()
    peer.close()
    for sock in idle:
        assert answered(sock)["usage"]
        sock.close()
    handshake.drop()
    untouched.check()


# ---------------------------------------------------------------------- gauges

class Gauge:
    """A tenant's entry in the pinned map, to write wrong figures into."""

    def __init__(self, lab, tenant):
        key = [f"{b:02x}" for b in tenant.encode().ljust(64, b"\0")]
        found = json.loads(run("bpftool", "-j", "map", "lookup", "pinned",
                               lab.pins / "maps" / "names", "key", "hex", *key).stdout)
        self.at = TENANT * struct.unpack("=I", bytes(int(b, 16) for b in found["value"]))[0]
        path = ctypes.create_string_buffer(os.fsencode(lab.pins / "maps" / "tenants") + b"\0")
        fd = _bpf(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))[0]
        self.memory = mmap.mmap(fd, 1024 * TENANT)
        os.close(fd)

    def add(self, gauge, n):
        at = self.at + GAUGES[gauge]
        (now,) = struct.unpack_from("=i", self.memory, at)
        struct.pack_into("=i", self.memory, at, now + n)

    def __getitem__(self, gauge):
        return struct.unpack_from("=i", self.memory, self.at + GAUGES[gauge])[0]


@pytest.mark.parametrize("gauge", GAUGES)
@pytest.mark.parametrize("by", (3, -2))
def test_a_gauge_that_is_off_is_corrected(swept, gauge, by):
    """To what there is, not to nothing: a connection with a request in flight stays counted."""
    lab, before = swept, drift(swept)
    conn, server = lab.connect_by_hand()
    with server:
        conn.send(post(b"{}"))
        take(server, len(post(b"{}")))
        entry = Gauge(lab, "acme")
        right = {g: entry[g] for g in GAUGES}
        assert right == {"connections": 1, "inflight": 1, "half_open": 0}
        entry.add(gauge, by)
        wait_for(lambda: {g: entry[g] for g in GAUGES} == right, f"{gauge} to be right", 20)
        after = wait_for(lambda: (d := drift(lab))[f"corrected_{gauge}"] and d, "status")
        assert {k: after[k] - before[k] for k in after if k.startswith("corrected")} == {
            f"corrected_{g}": int(g == gauge) for g in GAUGES}
        name = {"connections": "connections", "inflight": "requests in flight",
                "half_open": "half-open connections"}[gauge]
        assert (f'drift: tenant "acme": {name} were {abs(by)} too '
                f'{"high" if by > 0 else "low"} for 3 rounds, corrected') in log(lab)
        rounds(lab, 4)
        assert {g: entry[g] for g in GAUGES} == right
        server.sendall(ANSWER)
        whole(conn)
    conn.close()


def test_a_gauge_that_is_off_under_load_is_corrected(swept):
    lab, entry = swept, Gauge(swept, "acme")

    class Where:
        connect = staticmethod(lambda: kernel_connect(lab))
    load = Load(Where, ACME, aborts=True)
    entry.add("connections", 50)
    entry.add("inflight", 40)
    wait_for(lambda: entry["connections"] < 25 and entry["inflight"] < 20, "corrections", 60)
    load.finish()
    released(lab)


# ------------------------------------------------------------------- elsewhere

class Redirected(Pod):
    """A server on this very host, behind a redirect: its socket has another port than the wire."""

    def __init__(self, lab):
        self.lab, self.ns, self._listeners = lab, lab.server_ns, {}
        self.way, self.port_of = "redirected", lambda port: port + 10000
        path = lab.dir / "redirect.nft"
        path.write_text("".join(
            f"table {ip} nat {{ chain prerouting {{ type nat hook prerouting priority -100; "
            f"tcp dport 18001 redirect to :8001; }}; }}\n" for ip in ("ip", "ip6")))
        lab.in_server("nft", "-f", path)


class Bridged(Pod):
    """A server that the guarded device is only a bridge to; no IP of this host is between."""

    def __init__(self, lab):
        self.lab, self.ns, self._listeners = lab, f"{lab.name}p", {}
        self.way, self.port_of = "bridged", lambda port: port
        run("ip", "netns", "add", self.ns)
        lab._undo.callback(run, "ip", "netns", "del", self.ns, check=False)
        run("ip", "link", "add", "pod0", "netns", lab.server_ns, "type", "veth",
            "peer", "name", "eth0", "netns", self.ns)
        lab.ip(lab.server_ns, "link", "add", "br0", "type", "bridge")
        for dev in ("eth0", "pod0"):
            lab.ip(lab.server_ns, "link", "set", dev, "master", "br0")
        for dev in ("br0", "pod0"):
            lab.ip(lab.server_ns, "link", "set", dev, "up")
        lab.ip(self.ns, "addr", "add", "10.77.0.30/16", "dev", "eth0")
        lab.ip(self.ns, "addr", "add", "fd77::30/64", "dev", "eth0", "nodad")
        lab.ip(self.ns, "link", "set", "eth0", "up")

    def address(self, family):
        return "10.77.0.30" if family == 4 else "fd77::30"


ELSEWHERE = {**{way: lambda lab, way=way: Pod(lab, way) for way in WAYS},
             "redirected": Redirected, "bridged": Bridged}


@pytest.mark.parametrize("way", ELSEWHERE)
def test_a_connection_to_a_server_elsewhere_is_never_given_back(lab, way):
    """And neither is it held when it is over."""
    pod = ELSEWHERE[way](lab)
    pod.start_agent(sweep_interval_s=1)
    untouched = Untouched(lab)
    pairs = [pod.pair(family) for family in (4, 6)]
    for client, server in pairs:
        request(client, server)
    rounds(lab, 4)
    assert pod.in_use() == (2, 2) and drift(lab)["flows"] == 2
    for client, server in pairs:
        answer(client, server)
        client.close()
        server.close()
    pod.wait_in_use(0, 0)
    untouched.check()
