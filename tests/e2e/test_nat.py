# SPDX-License-Identifier: Apache-2.0
"""The model server behind the guarded interface, in a namespace of its own: port
forwarding as `docker run -p` sets it up, over a veth and over a bridge, and a pod
whose address is routed. No socket of the host is involved: slots and connections
are given back by what is seen on the wire."""
import json
import socket
import struct

import pytest
from checks import assert_metered, wait_events
from test_restart import Load
from weirlab import policy, wait_for
from weirlab.lab import CLIENT4, CLIENT6, SERVER4, SERVER6, run
from weirlab.links import CHAT, ModelServer, add_veth, ask, connect, in_netns, ns_path
from weirlab.raw_http import Response, chat_body, head, send, shut

POLICY = policy.document(
    {"open": {}, "poor": {"credit": "hard"}, "one": {"connections": 1},
     "two": {"concurrency": 2}},
    {"acme": ("open", "sk-acme"), "poor": ("poor", "sk-poor"), "two": ("two", "sk-two"),
     "few": {"tier": "one", "sources": ["10.77.9.0/24"]}})
POD4, POD6 = "172.30.0.2", "fd30::2"
MODEL, SCRIPTED = 8000, 8001  # the pod's ports
WAYS = ("nat over a veth", "nat over a bridge", "routed")
CLOSES = ("client FIN", "server FIN", "client RST", "server RST")

NAT = """
table {ip} nat {{
	chain prerouting {{
		type nat hook prerouting priority -100
		{ip} daddr {host} tcp dport 18000 dnat to {to}:8000
		{ip} daddr {host} tcp dport 18001 dnat to {to}:8001
	}}
	chain input {{
		# else the host itself resets what conntrack will not translate
		type filter hook input priority 0
		ct state invalid drop
	}}
	chain postrouting {{
		type nat hook postrouting priority 100
		{masquerade} masquerade
	}}
}}
"""


class Pod:
    """A namespace behind the lab's server, and how a client gets to it."""

    def __init__(self, lab, way):
        self.lab, self.way = lab, way
        self.ns = f"{lab.name}p"
        self.port_of = (lambda port: port) if way == "routed" else (lambda port: port + 10000)
        run("ip", "netns", "add", self.ns)
        lab._undo.callback(run, "ip", "netns", "del", self.ns, check=False)
        self._wire()
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            lab.in_server("sysctl", "-qw", f"{key}=1")
        if way == "routed":
            lab.ip(lab.client_ns, "route", "add", "172.30.0.0/24", "via", SERVER4)
            lab.ip(lab.client_ns, "route", "add", "fd30::/64", "via", SERVER6)
        else:
            self._nat()
        self.server = ModelServer(lab, self.ns, MODEL, "pod")
        self._listeners = {}

    def _wire(self):
        lab, ns = self.lab, self.ns
        run("ip", "link", "add", "pod0", "netns", lab.server_ns, "type", "veth",
            "peer", "name", "eth0", "netns", ns)
        host_dev = "pod0"
        if self.way == "nat over a bridge":
            lab.ip(lab.server_ns, "link", "add", "br0", "type", "bridge")
            lab.ip(lab.server_ns, "link", "set", "pod0", "master", "br0")
            host_dev = "br0"
        for where, dev, host in ((lab.server_ns, host_dev, 1), (ns, "eth0", 2)):
            lab.ip(where, "addr", "add", f"172.30.0.{host}/24", "dev", dev)
            lab.ip(where, "addr", "add", f"fd30::{host}/64", "dev", dev, "nodad")
            lab.ip(where, "link", "set", dev, "up")
        lab.ip(lab.server_ns, "link", "set", "pod0", "up")
        lab.ip(ns, "link", "set", "lo", "up")
        lab.ip(ns, "route", "add", "default", "via", "172.30.0.1")
        lab.ip(ns, "-6", "route", "add", "default", "via", "fd30::1")

    def _nat(self):
        # Over the veth the pod sees the host as its client, over the bridge the client itself.
        path = self.lab.dir / "nat.nft"
        text = ""
        for ip, host, to, net in (("ip", SERVER4, POD4, "172.30.0.0/24"),
                                  ("ip6", SERVER6, f"[{POD6}]", "fd30::/64")):
            masquerade = ('oifname "pod0"' if self.way == "nat over a veth" else
                          f'{ip} saddr {net} oifname != "br0"')
            text += NAT.format(ip=ip, host=host, to=to, masquerade=masquerade)
        path.write_text(text)
        self.lab.in_server("nft", "-f", path)

    def start_agent(self, **fields):
        self.lab.start_agent(POLICY, xdp="auto", services=[
            {"name": "llm", "port": self.port_of(MODEL)},
            {"name": "scripted", "port": self.port_of(SCRIPTED)}], **fields)

    def address(self, family):
        if self.way == "routed":
            return POD4 if family == 4 else POD6
        return SERVER4 if family == 4 else SERVER6

    def connect(self, family=4, port=MODEL, source=None):
        return connect(ns_path(self.lab.client_ns), self.address(family), self.port_of(port),
                       source)

    def pair(self, family=4):
        """A connection of which the test holds both ends: client's, server's."""
        if family not in self._listeners:
            self._listeners[family] = in_netns(ns_path(self.ns), lambda: socket.create_server(
                ("0.0.0.0", SCRIPTED) if family == 4 else ("::", SCRIPTED),
                family=socket.AF_INET if family == 4 else socket.AF_INET6))
            self._listeners[family].settimeout(20)
        client = self.connect(family, SCRIPTED)
        server = self._listeners[family].accept()[0]
        server.settimeout(20)
        return client, server

    def live(self, tenant="acme"):
        return self.lab.ctl("tenant", "show", tenant)["live"]

    def in_use(self, tenant="acme"):
        live = self.live(tenant)
        return live["connections"], live["inflight"]

    def wait_in_use(self, connections, inflight, tenant="acme", seconds=10):
        wait_for(lambda: self.in_use(tenant) == (connections, inflight),
                 f"{connections} connections, {inflight} in flight", seconds)


@pytest.fixture(params=WAYS)
def behind(request, lab):
    return Pod(lab, request.param)


BODY = json.dumps(chat_body(1)).encode()
ANSWER = json.dumps({"id": "chatcmpl-1", "model": "llama-3.3-70b-instruct", "choices": [],
                     "usage": {"prompt_tokens": 3, "completion_tokens": 1,
                               "total_tokens": 4}}).encode()


def request(client, server, key="sk-acme"):
    """A request, read by the server to its last byte."""
    data = head("POST", CHAT, key, len(BODY)) + BODY
    client.sendall(data)
    got = b""
    while len(got) < len(data):
        part = server.recv(65536)
        assert part, "the server was cut off"
        got += part
    assert got == data


def answer(client, server):
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                   b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
    assert Response(client).read_head().json()["id"] == "chatcmpl-1"


def ended(sock):
    """The peer's FIN or RST has come."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def close(client, server, how):
    first, second = (client, server) if how.startswith("client") else (server, client)
    if how.endswith("RST"):
        shut(first)
    else:
        first.close()
    assert ended(second)
    second.close()


# --------------------------------------------------------------- what is judged

@pytest.mark.parametrize("family", (4, 6))
def test_requests_are_admitted_and_metered_or_refused_whole(behind, family):
    behind.start_agent()
    for n in range(3):
        assert ask(behind.connect(family), "sk-acme", tokens=3 + n)[0] == 200
        status, document = ask(behind.connect(family), "sk-poor")
        assert status == 429 and document["error"]["code"] == "insufficient_quota"
    with behind.connect(family) as sock:  # several on a connection, streams of many segments
        for n in range(2):
            reply = send(sock, "POST", CHAT, "sk-acme",
                         chat_body(100, prompt="x " * 20_000, stream=True, include_usage=True,
                                   pad=200))
            assert reply.status == 200 and reply.body().endswith(b"[DONE]\n\n")
    served = behind.server.served()
    assert {r["key"] for r in served} == {"sk-acme"} and behind.server.admin()["open"] == 0
    assert_metered(wait_events(behind.lab, 5), served)
    behind.wait_in_use(0, 0)
    behind.wait_in_use(0, 0, "poor")


def test_a_refused_request_is_never_seen_by_the_server(behind):
    behind.start_agent()
    client, server = behind.pair()
    with client, server:
        client.sendall(head("POST", CHAT, "sk-poor", len(BODY)) + BODY)
        reply = Response(client).read_head()
        assert reply.status == 429 and reply.json()["error"]["code"] == "insufficient_quota"
        with pytest.raises(ConnectionResetError):
            server.recv(1)
    behind.wait_in_use(0, 0, "poor")


def test_a_syn_over_the_limit_never_reaches_the_server(behind):
    behind.lab.ip(behind.lab.client_ns, "addr", "add", "10.77.9.1/16", "dev", "eth0")
    behind.start_agent()
    with behind.connect(source="10.77.9.1") as held:
        with pytest.raises(ConnectionRefusedError):
            behind.connect(source="10.77.9.1")
        assert send(held, "POST", CHAT, "sk-acme", chat_body(1)).status == 200
    wait_for(lambda: behind.live("few")["connections"] == 0, "the connection")
    with behind.connect(source="10.77.9.1"):
        pass


def test_metering_is_exact_under_load_and_across_a_kill(behind):
    behind.start_agent(ring_bytes=64 << 20)  # room for what comes while it starts

    class Through:
        """What Load needs of a lab."""
        connect = staticmethod(behind.connect)

    load = Load(Through, "sk-acme")
    for _ in range(2):
        load.more(30)
        behind.lab.kill_agent()
        load.more(30)
        behind.lab.start_agent()
    load.finish()
    assert set(load.statuses) == {200}
    assert_metered(wait_events(behind.lab, len(load.statuses)), behind.server.served())
    behind.wait_in_use(0, 0)


# ------------------------------------------------------------ what is given back

@pytest.mark.parametrize("family", (4, 6))
@pytest.mark.parametrize("how", CLOSES)
def test_an_idle_connection_is_given_back(behind, how, family):
    behind.start_agent()
    for _ in range(3):
        client, server = behind.pair(family)
        request(client, server)
        behind.wait_in_use(1, 1)
        answer(client, server)
        behind.wait_in_use(1, 0)
        close(client, server, how)
        behind.wait_in_use(0, 0)


@pytest.mark.parametrize("how", CLOSES)
def test_a_connection_with_a_request_in_flight_is_given_back(behind, how):
    behind.start_agent()
    for _ in range(3):
        client, server = behind.pair()
        request(client, server)
        behind.wait_in_use(1, 1)
        close(client, server, how)
        behind.wait_in_use(0, 0)
    pairs = [behind.pair() for _ in range(2)]
    for client, server in pairs:  # both places are there again
        request(client, server, "sk-two")
        answer(client, server)
    for client, server in pairs:
        close(client, server, how)
    behind.wait_in_use(0, 0, "two")


@pytest.mark.parametrize("how", CLOSES)
def test_it_is_given_back_while_no_agent_runs(behind, how):
    behind.start_agent()
    behind.lab.kill_agent()
    pairs = [behind.pair() for _ in range(2)]
    for client, server in pairs:
        request(client, server, "sk-two")
    third, unseen = behind.pair()
    with third, unseen:
        third.sendall(head("POST", CHAT, "sk-two", len(BODY)) + BODY)
        assert Response(third).read_head().status == 429
    for client, server in pairs:
        close(client, server, how)

    def one_more():
        client, server = behind.pair()
        with client, server:
            client.sendall(head("POST", CHAT, "sk-two", len(BODY)) + BODY)
            try:
                if not server.recv(65536):
                    return False
            except ConnectionResetError:
                return False
            answer(client, server)
            return True
    wait_for(one_more, "the places in flight")
    behind.lab.start_agent()
    behind.wait_in_use(0, 0, "two")


def test_a_half_closed_connection_keeps_its_place_till_the_answer_ends(behind):
    behind.start_agent()
    client, server = behind.pair()
    with client, server:
        request(client, server)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""  # so the FIN went past the guard
        assert behind.in_use() == (1, 1)
        answer(client, server)
        behind.wait_in_use(1, 0)
        (event,) = wait_events(behind.lab, 1)
        assert event["usage_source"] == "reported" and event["output_tokens"] == 1
    behind.wait_in_use(0, 0)


@pytest.mark.parametrize("during", ("idle", "in flight"))
def test_both_ends_vanish(behind, during):
    behind.start_agent(idle_timeout_s=2)
    client, server = behind.pair()
    request(client, server)
    if during == "idle":
        answer(client, server)
    behind.wait_in_use(1, 0 if during == "idle" else 1)
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR: closes without a word
        sock.close()
    behind.wait_in_use(0, 0, seconds=15)


def test_a_connection_that_is_used_is_not_idle(behind):
    behind.start_agent(idle_timeout_s=2)
    client, server = behind.pair()
    quiet = behind.pair()  # begun later: when it is given back, the first was old enough
    with client, server:
        request(client, server)
        answer(client, server)
        request(*quiet, "sk-two")
        answer(*quiet)

        def quiet_gone():
            request(client, server)
            answer(client, server)
            return behind.in_use("two") == (0, 0)
        wait_for(quiet_gone, "the quiet one to be given up", 15, every=0.3)
        assert behind.in_use() == (1, 0)
    for sock in quiet:
        sock.close()
    behind.wait_in_use(0, 0)


# ---------------------------------------------------------------------- forgery

def segment(source, destination, ports, seq, ack, flags):
    """A bare TCP segment with an IPv4 header, as anybody can make it."""
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    tcp = struct.pack("!HHIIBBHHH", *ports, seq % 2**32, ack % 2**32, 5 << 4, flags, 1024, 0, 0)

    def checksum(data):
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        return ~total & 0xffff
    total = checksum(addresses + struct.pack("!HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + addresses + tcp


def numbers(sock):
    """What the socket sends next and expects next (TCP_REPAIR: asked, not changed)."""
    tcp, repair, queue, seq = socket.IPPROTO_TCP, 19, 20, 21
    sock.setsockopt(tcp, repair, 1)
    found = []
    for which in (2, 1):  # send queue, receive queue
        sock.setsockopt(tcp, queue, which)
        found.append(sock.getsockopt(tcp, seq) % 2**32)
    sock.setsockopt(tcp, queue, 0)
    sock.setsockopt(tcp, repair, -1)  # off, without a window probe
    return found


def forge(ns, packet, to):
    def write():
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(packet, (to, 0))
    in_netns(ns_path(ns), write)


@pytest.mark.parametrize("flags", (0x04, 0x14, 0x11), ids=("RST", "RST ACK", "FIN ACK"))
@pytest.mark.parametrize("off", (1 << 30, -(1 << 20)), ids=("ahead", "behind"))
def test_a_forged_close_out_of_sequence_gives_nothing_back(behind, flags, off):
    """Else whoever knows the ports of a connection could free its place and be over the limit."""
    behind.start_agent()
    client, server = behind.pair()
    with client, server:
        request(client, server)
        answer(client, server)
        local, remote = client.getsockname(), client.getpeername()
        seq, ack = numbers(client)
        forge(behind.lab.client_ns, segment(CLIENT4, remote[0], (local[1], remote[1]),
                                            seq + off, ack, flags), remote[0])
        if behind.way == "routed":  # conntrack would not translate it back
            forge(behind.ns, segment(POD4, CLIENT4, (remote[1], local[1]), ack + off, seq, flags),
                  CLIENT4)
        request(client, server)  # on the same wires, so what was forged has been seen
        behind.wait_in_use(1, 1)
        answer(client, server)
        behind.wait_in_use(1, 0)
    behind.wait_in_use(0, 0)
