# SPDX-License-Identifier: Apache-2.0
"""A TCP client made by hand: every segment as the test wants it, wrong ones too.

It speaks through a packet socket in the client's namespace, from addresses that
its kernel does not have, so that nobody else answers what comes back. It resends
nothing and acknowledges only in recv(), ack() and close(): what a network would
lose, a test does not send, or does not acknowledge.

    wire = Wire(lab)
    conn = wire.connect()
    conn.sendall(request)
    Response(conn).read_head()
"""
import ctypes
import itertools
import json
import os
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .lab import CLONE_NEWNET, PORT, SERVER4, SERVER6, LabError, _libc

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FLAGS = {FIN: "FIN", SYN: "SYN", RST: "RST", PSH: "PSH", ACK: "ACK"}
RAW4, RAW6 = "10.77.9.1", "fd77::9:1"
WRAP = 1 << 32

END, NOP, MSS, WSCALE, SACK_OK, SACK, TIMESTAMP, MPTCP, FASTOPEN = 0, 1, 2, 3, 4, 5, 8, 30, 34

SOL_PACKET, PACKET_AUXDATA, TP_STATUS_CSUMNOTREADY = 263, 8, 1 << 3

# Not the same ones in each run: the sockets of all namespaces are told of by one tracepoint.
_ports = itertools.count(random.randrange(2000, 30000))


def socket_in(ns, *args):
    """A socket that lives in a namespace: a namespace belongs to a thread."""
    def make():
        fd = os.open(f"/run/netns/{ns}", os.O_RDONLY)
        try:
            if _libc.setns(fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)
        return socket.socket(*args)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def listen(lab, port, family=4, protocol=0, receive_buffer=None):
    """A server socket for the test to serve by hand."""
    sock = socket_in(lab.server_ns, socket.AF_INET if family == 4 else socket.AF_INET6,
                     socket.SOCK_STREAM, protocol)
    sock.settimeout(5)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.bind((SERVER4 if family == 4 else SERVER6, port))
    sock.listen(16)
    return sock


def before(a, b):
    """Is sequence number a before b?"""
    return (a - b) % WRAP >= WRAP // 2


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def option(kind, value=b""):
    return bytes((kind, len(value) + 2)) + value


def timestamp(value, echo):
    return bytes((NOP, NOP)) + option(TIMESTAMP, struct.pack("!II", value % WRAP, echo))


def sack(*blocks):
    return bytes((NOP, NOP)) + option(SACK, b"".join(struct.pack("!II", a % WRAP, b % WRAP)
                                                    for a, b in blocks))


def parse_options(data):
    found = {}
    while data and data[0] != END:
        if data[0] == NOP:
            data = data[1:]
            continue
        assert len(data) >= 2 and 2 <= data[1] <= len(data), f"broken TCP option {data!r}"
        found[data[0]] = data[2:data[1]]
        data = data[data[1]:]
    return found


@dataclass
class Segment:
    """One that came. sound: its checksums are right; None where the sender's kernel left them
    to a device, and no device ever filled them in."""
    seq: int
    ack: int
    flags: int
    window: int
    options: dict
    payload: bytes
    sound: bool

    @property
    def end(self):
        return (self.seq + len(self.payload) + bool(self.flags & SYN) +
                bool(self.flags & FIN)) % WRAP

    @property
    def times(self):
        """Its time stamp and what it echoes, or None."""
        return struct.unpack("!II", self.options[TIMESTAMP]) if TIMESTAMP in self.options else None

    def __str__(self):
        names = "+".join(n for bit, n in FLAGS.items() if self.flags & bit)
        return f"{names} {self.seq}:{self.end} ack {self.ack} {self.payload[:40]!r}"


class Wire:
    """The client's end of the cable."""

    def __init__(self, lab):
        self.lab = lab
        self.mac = self._mac(lab.in_client)
        self.server_mac = self._mac(lab.in_server)
        hexed = ":".join(f"{b:02x}" for b in self.mac)
        for address in (RAW4, RAW6):  # nobody answers ARP or neighbour solicitations for these
            lab.ip(lab.server_ns, "neigh", "replace", address, "lladdr", hexed, "dev", "eth0",
                   "nud", "permanent")
        self.connections = []

    @staticmethod
    def _mac(run_inside):
        (link,) = json.loads(run_inside("ip", "-j", "link", "show", "dev", "eth0").stdout)
        return bytes.fromhex(link["address"].replace(":", ""))

    def reach(self, prefix):
        """The server's answers to any address of this IPv4 prefix come here, and to nobody."""
        self.lab.ip(self.lab.server_ns, "route", "replace", prefix, "via", RAW4)

    def raw(self, *args, **kwargs):
        conn = RawTcp(self, *args, **kwargs)
        self.connections.append(conn)
        return conn

    def connect(self, *args, **kwargs):
        return self.raw(*args, **kwargs).handshake()

    def close(self):
        """Leave nothing open behind, whatever the tests left."""
        while self.connections:
            self.connections.pop().drop()


class RawTcp:
    """One connection. Counts of sequence space are kept as they are on the wire."""

    def __init__(self, wire, family=4, port=PORT, sport=None, isn=None, mss=1460, wscale=7,
                 sack_ok=True, timestamps=True, window=65535, extra=b"", source=None):
        self.wire, self.family, self.port = wire, family, port
        self.sport = sport or next(_ports)
        self.mss, self.window, self.timestamps = mss, window, timestamps
        self._ends = [socket.inet_pton(socket.AF_INET if family == 4 else socket.AF_INET6, a)
                      for a in ((source or RAW4, SERVER4) if family == 4 else
                                (source or RAW6, SERVER6))]
        self._offer = option(MSS, struct.pack("!H", mss)) + extra
        if sack_ok:
            self._offer += option(SACK_OK)
        if wscale is not None:
            self._offer += bytes((NOP,)) + option(WSCALE, bytes((wscale,)))
        self.isn = random.getrandbits(32) if isn is None else isn % WRAP
        self.snd_una = self.snd_nxt = self.isn
        self.rcv_nxt = self.acked = 0  # what came in order; what we say came
        self.tsval, self.tsecr = random.getrandbits(31), 0
        self.received = b""  # in order, not yet handed out by recv()
        self.peer_fin = self.peer_rst = False
        protocol = 0x0800 if family == 4 else 0x86dd
        self._sock = socket_in(wire.lab.client_ns, socket.AF_PACKET, socket.SOCK_RAW,
                               socket.htons(protocol))
        self._sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._sock.bind(("eth0", protocol))

    # --------------------------------------------------------------- sending

    def put(self, payload=b"", flags=ACK, seq=None, ack=None, window=None, options=None,
            tsval=None, bad_sum=False, bad_ip_sum=False):
        """A segment that changes nothing of what we know. options: None is those that an open
        connection has."""
        if options is None:
            options = b""
            if self.timestamps and not flags & RST:
                if tsval is None:
                    self.tsval += 1
                    tsval = self.tsval
                options = timestamp(tsval, self.tsecr)
        options += bytes(-len(options) % 4)
        ack = self.acked if ack is None else ack
        tcp = struct.pack("!HHIIBBHHH", self.sport, self.port,
                          (self.snd_nxt if seq is None else seq) % WRAP,
                          ack % WRAP if flags & ACK else 0, (20 + len(options)) << 2, flags,
                          self.window if window is None else window, 0, 0) + options + payload
        total = self._tcp_sum(tcp, *self._ends)
        tcp = tcp[:16] + struct.pack("!H", total ^ 0x5555 if bad_sum else total) + tcp[18:]
        src, dst = self._ends
        if self.family == 4:
            ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0) + src + dst
            total = checksum(ip)
            ip = ip[:10] + struct.pack("!H", total ^ 0x5555 if bad_ip_sum else total) + ip[12:]
        else:
            ip = struct.pack("!IHBB", 0x60000000, len(tcp), 6, 64) + src + dst
        protocol = b"\x08\x00" if self.family == 4 else b"\x86\xdd"
        self._sock.send(self.wire.server_mac + self.wire.mac + protocol + ip + tcp)

    def send(self, payload=b"", flags=ACK, **how):
        """A segment at the next sequence number; goes on behind it."""
        self.put(payload, flags | (PSH if payload else 0), **how)
        self.snd_nxt = (self.snd_nxt + len(payload) + bool(flags & (SYN | FIN))) % WRAP

    def sendall(self, data):
        for at in range(0, len(data), self.mss - 12):
            self.send(data[at:at + self.mss - 12])

    def ack(self, **how):
        """Acknowledge all that came."""
        self.acked = self.rcv_nxt
        self.put(**how)

    def probe(self, garbage=b"\0"):
        """A keepalive probe: a byte that was acknowledged long ago, or none."""
        self.put(garbage, seq=self.snd_una - 1)

    @staticmethod
    def _tcp_sum(tcp, src, dst):
        return checksum(src + dst + struct.pack("!II", len(tcp), 6) + tcp)

    # ------------------------------------------------------------- receiving

    def _parse(self, frame, ready):
        src, dst = self._ends
        if self.family == 4:
            size = (frame[14] & 15) * 4
            ip, ends, protocol = frame[14:14 + size], (frame[26:30], frame[30:34]), frame[23]
            tcp = frame[14 + size:14 + struct.unpack("!H", frame[16:18])[0]]
            sound = checksum(ip) == 0
        else:
            ends, protocol = (frame[22:38], frame[38:54]), frame[20]
            tcp = frame[54:54 + struct.unpack("!H", frame[18:20])[0]]
            sound = True
        if ends != (dst, src) or protocol != 6:
            return None
        sport, dport, seq, ack, off, flags, window = struct.unpack("!HHIIBBH", tcp[:16])
        if (sport, dport) != (self.port, self.sport):
            return None
        off = (off >> 4) * 4
        assert 20 <= off <= len(tcp)
        sound = sound and self._tcp_sum(tcp, dst, src) == 0 if ready else None
        return Segment(seq, ack, flags & 0x1f, window, parse_options(tcp[20:off]), tcp[off:], sound)

    def _arrival(self, deadline):
        """The next segment of this connection, or None when the time is up."""
        while (left := deadline - time.monotonic()) > 0:
            self._sock.settimeout(left)
            try:
                frame, aux, _, _ = self._sock.recvmsg(1 << 17, 64)
            except TimeoutError:
                break
            status = struct.unpack_from("=I", aux[0][2])[0] if aux else 0
            segment = self._parse(frame, not status & TP_STATUS_CSUMNOTREADY)
            if segment:
                return segment
        return None

    def _take_in(self, s):
        if s.sound is False:
            raise AssertionError(f"wrong checksum: {s}")
        if s.flags & RST:
            self.peer_rst = True
            return
        if s.flags & ACK and before(self.snd_una, s.ack) and not before(self.snd_nxt, s.ack):
            self.snd_una = s.ack
        if s.times and not before(self.rcv_nxt, s.seq):
            self.tsecr = s.times[0]
        known = (self.rcv_nxt - s.seq) % WRAP
        if s.flags & SYN or known > len(s.payload):
            return
        self.received += s.payload[known:]
        self.rcv_nxt = (s.seq + len(s.payload)) % WRAP
        if s.flags & FIN:
            self.peer_fin = True
            self.rcv_nxt = (self.rcv_nxt + 1) % WRAP

    def next(self, what="a segment", test=lambda s: True, seconds=3):
        """The next segment that passes the test. All that come are taken in, none is
        acknowledged."""
        deadline, seen = time.monotonic() + seconds, []
        while segment := self._arrival(deadline):
            self._take_in(segment)
            if test(segment):
                return segment
            seen.append(str(segment))
        raise LabError(f"waited {seconds:g} s for {what}; came: {seen}")

    def until_acked(self):
        """Wait until the peer has acknowledged all that we sent."""
        if self.snd_una != self.snd_nxt:
            self.next("an ACK of all", lambda s: self.snd_una == self.snd_nxt or s.flags & RST)
        if self.peer_rst:
            raise ConnectionResetError("reset by peer")

    def until_taken(self, piece, seconds=10):
        """The ACK of `piece`, sent last, or one that closes the window; what of it the peer had
        no room for is sent again every half second."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                return self.next("an ACK", lambda s: s.ack == self.snd_nxt or not s.window, 0.5)
            except LabError:
                left = (self.snd_nxt - self.snd_una) % WRAP
                self.put(piece[-left:], ACK | PSH, seq=self.snd_una)
        raise LabError(f"the peer takes no more, its window open, for {seconds:g} s")

    def until_reset(self):
        if not self.peer_rst:
            return self.next("a RST", lambda s: s.flags & RST)

    def recv(self, size):
        """As a socket's: some bytes in order, acknowledged; none once the peer is done."""
        while not self.received:
            if self.peer_rst:
                raise ConnectionResetError("reset by peer")
            if self.peer_fin:
                return b""
            known = self.rcv_nxt
            self.next("data")
            if self.rcv_nxt != known:
                self.ack()
        data, self.received = self.received[:size], self.received[size:]
        return data

    # ------------------------------------------------------- opening, closing

    def syn(self, **how):
        options = self._offer
        if self.timestamps:
            self.tsval += 1
            options += timestamp(self.tsval, 0)
        self.put(flags=SYN, seq=self.isn, options=options, **how)
        self.snd_nxt = (self.isn + 1) % WRAP

    def syn_ack(self):
        answer = self.next("a SYN-ACK", lambda s: s.flags & SYN and s.ack == self.snd_nxt or
                           s.flags & RST)
        if answer.flags & RST:
            raise ConnectionRefusedError("reset at connect")
        self.rcv_nxt = self.acked = answer.end
        self.tsecr = answer.times[0] if answer.times else 0
        self.timestamps = bool(answer.times)
        return answer

    def handshake(self):
        self.syn()
        self.syn_ack()
        self.ack()
        return self

    def close(self):
        """In order: our FIN acknowledged, the peer's too."""
        self.acked = self.rcv_nxt
        self.send(flags=ACK | FIN)
        self.until_acked()
        if not self.peer_fin:
            self.next("a FIN", lambda s: self.peer_fin)
        if self.acked != self.rcv_nxt:
            self.ack()
        self._forget()

    def reset(self):
        self.put(flags=RST | ACK, ack=self.rcv_nxt)
        self._forget()

    def drop(self):
        """Whatever state it is in: gone, and said so."""
        if self._sock.fileno() >= 0:
            self.reset()

    def _forget(self):
        self._sock.close()
